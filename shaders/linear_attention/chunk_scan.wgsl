// States at the starts of chunks, from what each chunk adds.
//
//   S_(c+1) = exp(G_c) S_c + H_c          H_c is replaced by S_c, sums of keys likewise
//
// Shapes    H, S [HV, slots, Dk, Dv]   states [N, HV, Dk, Dv]   sums [HV, slots, Dk]
// Dispatch  x = vectors of four columns of a state (and of four sums) / THREADS, y = value heads, z = sequences
// Storage   none; a thread carries four columns of one channel from chunk to chunk
// Numerics  f32; how states decay: `decay_step`
// Source    Blelloch 1990, with one thread for each element instead of a tree: there are thousands of elements

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, STATE_IN, STATE_OUT, CHECKPOINTS, STEPS, GATE, params, sequence_at, state_of, sums_of, checkpoint_of, last_checkpoint, decayed};
import package::linear_attention::chunk::{CHUNK, chunks_of, first_slot_of, pair_of};
import package::linear_attention::chunk_decays::{row_total, channel_totals};
import package::linear_attention::sums::{NORMALISE, SUMS_IN, SUMS_OUT, z_at, put_z};
import package::linear_attention::state::{state4, put_state4, put_checkpoint4};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

@group(0) @binding(17) var<storage, read_write> states: array<vec4f>;
@group(0) @binding(21) var<storage, read_write> sums: array<vec4f>;

const THREADS: u32 = 64u;
// Chunks whose sums are loaded together: they do not wait for each other, only what is made of them does.
const BATCH: u32 = 4u;

const VECTORS: u32 = HEAD_DIM * VALUE_DIM / 4u;

// Sums of four channels' keys, from chunk to chunk.
fn scan_sums(pair_sequence: u32, head: u32, first: u32, chunks: u32, channel: u32) {
    let sums_at = sums_of(pair_sequence, head);
    var z: vec4f;
    if SUMS_IN {
        for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
            z[c] = z_at(sums_at, channel + c);
        }
    }
    for (var c = 0u; c < chunks; c += 1u) {
        let at = ((first + c) * HEAD_DIM + channel) / 4u;
        let added = sums[at];
        sums[at] = z;
        if GATE == 1u {
            z = decayed(z, vec4f(row_total(first + c)));
        } else if GATE == 2u {
            z = decayed(z, channel_totals(first + c, channel, HEAD_DIM));
        }
        z += added;
    }
    if SUMS_OUT {
        for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
            put_z(sums_at, channel + c, z[c]);
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let own = group.x * THREADS + thread;
    let pair_sequence = params.first_sequence + group.z;
    let head = params.first_head + group.y;
    let sequence = sequence_at(pair_sequence);
    let chunks = chunks_of(sequence);
    let first = pair_of(head, first_slot_of(pair_sequence));
    if own >= VECTORS {
        if NORMALISE {
            let channel = (own - VECTORS) * 4u;
            if channel < HEAD_DIM {
                scan_sums(pair_sequence, head, first, chunks, channel);
            }
        }
        return;
    }
    let channel = own * 4u / VALUE_DIM;
    let column = own * 4u % VALUE_DIM;
    let state_at = state_of(pair_sequence, head);

    var state: vec4f;
    if STATE_IN {
        state = state4(state_at, channel, column);
    }
    for (var c = 0u; c < chunks; c += BATCH) {
        var added: array<vec4f, BATCH>;
        var total: array<f32, BATCH>;
        for (var u = 0u; u < BATCH; u += 1u) {
            let pair = first + min(c + u, chunks - 1u);
            added[u] = states[pair * VECTORS + own];
            if GATE == 1u {
                total[u] = row_total(pair);
            } else if GATE == 2u {
                total[u] = channel_totals(pair, channel / 4u * 4u, HEAD_DIM)[channel % 4u];
            }
        }
        for (var u = 0u; u < BATCH; u += 1u) {
            if c + u < chunks {
                states[(first + c + u) * VECTORS + own] = state;
                if CHECKPOINTS {
                    let rows = (c + u) * CHUNK;
                    if rows > 0u && rows % params.checkpoint_rows == 0u {
                        let entry = rows / params.checkpoint_rows - 1u;
                        put_checkpoint4(checkpoint_of(pair_sequence, entry, head), channel, column, state);
                    }
                }
                if GATE != 0u {
                    state = decayed(state, vec4f(total[u]));
                }
                state += added[u];
            }
        }
    }
    if CHECKPOINTS {
        for (var entry = last_checkpoint(sequence.len * STEPS); entry < params.checkpoints; entry += 1u) {
            put_checkpoint4(checkpoint_of(pair_sequence, entry, head), channel, column, state);
        }
    }
    if STATE_OUT {
        put_state4(state_at, channel, column, state);
    }
}
