// Outputs of linear attention that is not causal: every token reads its sequence's last state.
//
//   o_t = scale * S^T q_t / (scale * z^T q_t + eps)
//
// Shapes    q [B, H, T, Dk]   o [B, HV, T, Dv]   S [N, HV, Dk, Dv]   z [N, 1, HV, Dk]
// Dispatch  x = tokens / ROWS, y = value heads, z = sequences; a workgroup of LANES x ROWS threads
// Storage   none; a thread keeps four columns of one token's output
// Numerics  f32
// Source    Katharopoulos et al. 2020, equation 6

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, params, sequence_at, query_row, output_row, state_of, sums_of};
import package::linear_attention::state::{state4};
import package::linear_attention::sums::{NORMALISE, z_at};
import package::shared::inputs::{q4};
import package::shared::output::{put_o4};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

// Threads along the columns and along the tokens.
const LANES: u32 = 16u;
const ROWS: u32 = 4u;

@compute @workgroup_size(LANES * ROWS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let pair_sequence = params.first_sequence + group.z;
    let sequence = sequence_at(pair_sequence);
    let head = params.first_head + group.y;
    let place = group.x * ROWS + thread / LANES;
    if place >= sequence.len {
        return;
    }
    let token = sequence.start + place;
    let q_at = query_row(sequence.batch, head, token);
    let state_at = state_of(pair_sequence, head);
    let sums_at = sums_of(pair_sequence, head);
    for (var column = thread % LANES * 4u; column < VALUE_DIM; column += LANES * 4u) {
        var o: vec4f;
        var denominator = 0.0;
        for (var d = 0u; d < HEAD_DIM; d += 4u) {
            let q = q4(q_at, d) * params.scale;
            for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                o = fma(vec4f(q[c]), state4(state_at, d + c, column), o);
                if NORMALISE {
                    denominator += q[c] * z_at(sums_at, d + c);
                }
            }
        }
        if NORMALISE {
            o /= denominator + params.eps;
        }
        put_o4(output_row(sequence.batch, head, token), column, o);
    }
}
