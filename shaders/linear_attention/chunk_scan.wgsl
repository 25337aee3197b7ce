// States at the starts of chunks, from what each chunk adds.
//
//   S_(c+1) = S_c + total_c S_c + H_c          H_c is replaced by S_c
//
// Shapes    H, S [HV, slots, Dk, Dv]   states [N, HV, Dk, Dv]
// Dispatch  x = vectors of four columns of a state / THREADS, y = value heads, z = sequences
// Storage   none; a thread carries four columns of one channel from chunk to chunk
// Numerics  f32; a state loses exp(G) - 1 of itself, see `loss`
// Source    Blelloch 1990, with one thread for each element instead of a tree: there are thousands of elements

import package::linear_attention::problem::{GATE, params, sequence_at, state_of};
import package::linear_attention::chunk::{chunks_of, first_slot_of, pair_of};
import package::linear_attention::chunk_decays::{row_total, channel_totals};
import package::linear_attention::state::{state4, put_state4};

@group(0) @binding(17) var<storage, read_write> states: array<vec4f>;

const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
const THREADS: u32 = 64u;
const STATE_IN: bool = false;
const STATE_OUT: bool = false;
// Chunks whose sums are loaded together: they do not wait for each other, only what is made of them does.
const BATCH: u32 = 4u;

const VECTORS: u32 = HEAD_DIM * VALUE_DIM / 4u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let own = group.x * THREADS + thread;
    if own >= VECTORS {
        return;
    }
    let pair_sequence = params.first_sequence + group.z;
    let head = params.first_head + group.y;
    let sequence = sequence_at(pair_sequence);
    let chunks = chunks_of(sequence);
    let first = pair_of(head, first_slot_of(pair_sequence));
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
                if GATE != 0u {
                    state = fma(state, vec4f(total[u]), state);
                }
                state += added[u];
            }
        }
    }
    if STATE_OUT {
        put_state4(state_at, channel, column, state);
    }
}
