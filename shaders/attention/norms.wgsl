// One over the norms of rows of q and k.
//
//   r_i = 1 / max(|x_i|, 1e-12)
//
// Shapes    q [B, H, Tq, Dk]   k [B, G, Tk, Dk]   norms [B, H, Tq] then [B, G, Tk]
// Dispatch  x = rows / THREADS, y = heads of q or k, z = B; once for q, once for k
// Numerics  f32 accumulation
// Source    the normalisation of Liu et al. 2022, Swin Transformer V2, section 3.2

import package::attention::problem::{params};
import package::shared::inputs::{q4, k4};
import package::shared::grid::{workgroup_of};

// Width, rounded up to a multiple of four.
const HEAD_DIM: u32 = 64u;
const THREADS: u32 = 64u;
const OF_KEYS: bool = false;

@group(0) @binding(9) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let row = params.first_row + group.x * THREADS + thread;
    let head = params.first_head + group.y;
    let batch = params.first_batch + group.z;
    var square = 0.0;
    if OF_KEYS {
        let from_row = params.k_base + batch * params.k_batch + head * params.k_head
            + min(row, params.kv_len - 1u) * params.k_row;
        for (var d = 0u; d < HEAD_DIM; d += 4u) {
            let x = k4(from_row, d);
            square += dot(x, x);
        }
        if row < params.kv_len {
            let kv_heads = params.q_heads / params.group;
            norms[params.key_norms_at + (batch * kv_heads + head) * params.kv_len + row] = 1.0 / max(sqrt(square), 1e-12);
        }
    } else {
        let from_row = params.q_base + batch * params.q_batch + head * params.q_head
            + min(row, params.q_len - 1u) * params.q_row;
        for (var d = 0u; d < HEAD_DIM; d += 4u) {
            let x = q4(from_row, d);
            square += dot(x, x);
        }
        if row < params.q_len {
            norms[(batch * params.q_heads + head) * params.q_len + row] = 1.0 / max(sqrt(square), 1e-12);
        }
    }
}
