// New rows of q, rotated by the positions of the rows that are appended with them.
//
//   q_rotated[b, h, t] = rope(q[b, h, t], p)      p = end - new + t
//
// Shapes    q (bound as v) and q_rotated (bound as o) [B, H, T, D] or [B, T, H, D]
// Dispatch  x = T WIDTH / 4 / THREADS, y = H, z = B; a thread four elements
// Numerics  f32; see shared/rope
// Source    Su et al. 2021, RoFormer

import package::append::problem::{append, WIDTH, new_row4, row4};
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
    if t >= append.len {
        return;
    }
    let column = item % VECTORS * 4u;
    let row = batch * append.cache_batch + head * append.cache_head + t * append.cache_row;
    put_o4(row, column, new_row4(batch, head, t, column));
}
