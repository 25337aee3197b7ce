// One over the norms of rows of q and k.
//
//   r_i = 1 / max(|x_i|, 1e-12)
//
// Shapes    q [B, H, Tq, Dk]   k [B, G, Tk, Dk]   norms [B, H, Tq] then [B, G, Tk]
// Dispatch  x = rows / THREADS, y = heads of q or k, z = B; once for q, once for k
// Numerics  f32 accumulation
// Source    the normalisation of Liu et al. 2022, Swin Transformer V2, section 3.2

import package::attention::problem::{HEAD_DIM, PACKED_Q, PACKED_K, params, q_start, k_start, sequence_of_query, sequence_of_key};
import package::attention::scale::{key_norms_of};
import package::attention::keys::{PAGED, QUANTISED, QUANTISED_Q, key_at, k_row, scales_of, k_factor, q_factor};
import package::shared::inputs::{q4};
import package::shared::kv::{key4};
import package::shared::grid::{workgroup_of};

const OF_KEYS: bool = false;
const THREADS: u32 = 64u;

@group(0) @binding(9) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let row = params.first_row + group.x * THREADS + thread;
    let head = params.first_head + group.y;
    let batch = params.first_batch + group.z;
    var rows = params.q_len;
    var to = (batch * params.q_heads + head) * rows;
    var from_row = params.q_base + batch * params.q_batch + head * params.q_head + min(row, rows - 1u) * params.q_row;
    var factor = 1.0;
    if OF_KEYS {
        rows = params.kv_len;
        to = key_norms_of(batch, head);
        let key = min(row, rows - 1u);
        if PAGED {
            from_row = k_row(params.k_base + head * params.k_head, key_at(batch, key));
        } else {
            from_row = params.k_base + batch * params.k_batch + head * params.k_head + key * params.k_row;
        }
        if QUANTISED {
            var entry = batch;
            var place = key;
            if PACKED_K {
                entry = sequence_of_key(key);
                place = key - k_start(entry);
            }
            factor = k_factor(scales_of(entry, head), place);
        }
    } else if QUANTISED_Q {
        var entry = batch;
        var place = min(row, rows - 1u);
        if PACKED_Q {
            entry = sequence_of_query(place);
            place = place - min(q_start(entry), place);
        }
        factor = q_factor(entry, head, place);
    }
    var square = 0.0;
    for (var d = 0u; d < HEAD_DIM; d += 4u) {
        var x: vec4f;
        if OF_KEYS {
            x = key4(from_row, d);
        } else {
            x = q4(from_row, d);
        }
        square += dot(x, x);
    }
    if row < rows {
        norms[to + row] = 1.0 / max(sqrt(square) * abs(factor), 1e-12);
    }
}
