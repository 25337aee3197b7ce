// New rows of k or v, rotated, into a cache of real numbers.
//
//   cache[b, g, slot(p)] = rope(x[b, g, t], p)      p = end - new + t, for t < new
//
// Shapes    x (bound as v) [B, G, T, D] or [B, T, G, D]   cache (bound as o) [B, G, S, D] or [B, S, G, D], or
//           [pages, G, page, D] or [pages, page, G, D]
// Dispatch  x = T WIDTH / 4 / THREADS, y = G, z = B; a thread four elements
// Storage   only the rows that have a place are written
// Numerics  f32; a copy is exact, see shared/rope for the rotation
// Source    Kwon et al. 2023, PagedAttention; Su et al. 2021, RoFormer

import package::append::problem::{append, WIDTH, NOWHERE, new_rows, end_of, first_position, slot_of, row_of, new_row4, row4};
import package::shared::grid::{workgroup_of};
import package::shared::output::{put_o4};

const THREADS: u32 = 64u;
const VECTORS = WIDTH / 4u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let batch = append.first_batch + group.z;
    let head = append.first_head + group.y;
    let item = group.x * THREADS + thread;
    let t = append.first_row + item / VECTORS;
    if t >= new_rows(batch) {
        return;
    }
    let slot = slot_of(first_position(batch) + i32(t), end_of(batch));
    let row = row_of(batch, head, slot);
    if row == NOWHERE {
        return;
    }
    let column = item % VECTORS * 4u;
    put_o4(row, column, new_row4(batch, head, t, column));
}
