// Decays within chunks, of every row to the chunk's start and end.
//
//   pre_r = exp(G_r)   suf_r = exp(G_last - G_r)   total: the step of exp(G_last)          G_r = g_first + .. + g_r
//
// Shapes    g [HV], [B, HV, T]   gates [HV, slots, CHUNK + 1, 4]: (pre, suf, log2(pre) as a whole number and its rest) for
//           each row, then total
// Dispatch  x = slots, y = value heads
// Storage   the chunk's gates in workgroup memory; a thread is a row
// Numerics  f32; logarithms are summed as whole numbers and rests, so that a gate of -1e4 leaves those after it as precise as
//           they were
// Source    Yang et al. 2024, Gated Linear Attention, section 4

import package::linear_attention::problem::{LOG2_E, gate_of, decay_step_of};
import package::shared::math::{is_nan};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};

@group(0) @binding(16) var<storage, read_write> gates_out: array<vec4f>;

var<workgroup> logs: array<f32, CHUNK>;

// 2^x; NaN for NaN.
fn power(x: f32) -> f32 {
    return select(exp2(min(x, 0.0)), x, is_nan(x));
}

@compute @workgroup_size(CHUNK)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, 1u);
    if work.chunk.rows == 0u {
        return;
    }
    let row = row_of(work.chunk, thread);
    logs[thread] = select(0.0, gate_of(work.batch, work.head, row.token), row.gated);
    workgroupBarrier();
    var whole = 0.0;
    var rest = 0.0;
    var sum = 0.0;
    var own: vec2f;
    for (var i = 0u; i < CHUNK; i += 1u) {
        sum += logs[i];
        let log2 = logs[i] * LOG2_E;
        rest += log2 - trunc(log2);
        whole += trunc(log2) + trunc(rest);
        rest -= trunc(rest);
        own = select(own, vec2f(whole, rest), i == thread);
    }
    let at = work.pair * (CHUNK + 1u);
    let pre = power(own.x + own.y);
    let suf = power((whole - own.x) + (rest - own.y));
    // NaN reaches rows by pre and suf: differences of whole numbers need numbers.
    gates_out[at + thread] = vec4f(pre, suf, select(own, vec2f(), is_nan(own.x + own.y)));
    if thread == 0u {
        gates_out[at + CHUNK] = vec4f(decay_step_of(sum, power(whole + rest)));
    }
}
