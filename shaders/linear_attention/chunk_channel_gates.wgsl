// Decays within chunks of every channel: of each row, and from each to the chunk's start and end.
//
//   decay_r = exp(g_r)   pre_r = exp(g_first + .. + g_r)   suf_r = exp(g_(r+1) + .. + g_last)   total: the step of exp(all)
//
// Shapes    g [HV], [B, HV, T] or [B, HV, T, Dk]   gates [HV, slots, 3 * CHUNK + 1, Dk]: decay, pre, suf of each row, total
// Dispatch  x = slots, y = value heads
// Storage   a thread keeps 16 rows of a channel in registers; sums of 16 go through workgroup memory
// Numerics  f32; both sums begin at their end of the chunk, so that none is a difference
// Source    Yang et al. 2024, Gated Linear Attention, section 4

import package::linear_attention::problem::{HEAD_DIM, GATE, gate_of, channel_gate_of, decay, decay_step};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};
import package::linear_attention::chunk_decays::{DECAY, PRE, SUF};

@group(0) @binding(16) var<storage, read_write> gates_out: array<f32>;

const CHANNELS: u32 = 64u;
const ROWS: u32 = 16u;
const THREADS: u32 = CHANNELS * (CHUNK / ROWS);

var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, 1u);
    if work.chunk.rows == 0u {
        return;
    }
    let lane = thread % CHANNELS;
    let block = thread / CHANNELS;
    let first = work.pair * (3u * CHUNK + 1u);
    for (var slice = 0u; slice < HEAD_DIM; slice += CHANNELS) {
        let channel = slice + lane;
        let inside = min(channel, HEAD_DIM - 1u);
        var log: array<f32, ROWS>;
        var sum = 0.0;
        for (var i = 0u; i < ROWS; i += 1u) {
            let row = row_of(work.chunk, block * ROWS + i);
            var x = 0.0;
            if GATE == 1u {
                x = gate_of(work.batch, work.head, row.token);
            } else if GATE == 2u {
                x = channel_gate_of(work.batch, work.head, row.token, inside);
            }
            log[i] = select(0.0, x, row.gated);
            sum += log[i];
        }
        workgroupBarrier();
        sums[thread] = sum;
        workgroupBarrier();
        var before = 0.0;
        var after = 0.0;
        for (var b = 0u; b < CHUNK / ROWS; b += 1u) {
            before += select(0.0, sums[b * CHANNELS + lane], b < block);
            after += select(0.0, sums[b * CHANNELS + lane], b > block);
        }
        if channel < HEAD_DIM {
            if block == 0u {
                gates_out[(first + 3u * CHUNK) * HEAD_DIM + channel] = decay_step(sum + after);
            }
            for (var i = 0u; i < ROWS; i += 1u) {
                let row = first + block * ROWS + i;
                before += log[i];
                gates_out[(row + DECAY * CHUNK) * HEAD_DIM + channel] = decay(log[i]);
                gates_out[(row + PRE * CHUNK) * HEAD_DIM + channel] = decay(before);
            }
            for (var i = 0u; i < ROWS; i += 1u) {
                let row = first + block * ROWS + ROWS - 1u - i;
                gates_out[(row + SUF * CHUNK) * HEAD_DIM + channel] = decay(after);
                after += log[ROWS - 1u - i];
            }
        }
    }
}
