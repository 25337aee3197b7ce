// How many workgroups the kernel needs, where only the device knows how many queries there are.
//
// Shapes    q_lengths [B]   extent [3], the arguments of an indirect dispatch
// Dispatch  one workgroup of one thread

import package::attention::problem::{q_length};
import package::attention::blocks::{TILE};
import package::shared::grid::{workgroup_of};

struct Extent {
    heads: u32,
    batches: u32,
}

@group(0) @binding(14) var<uniform> sizes: Extent;
@group(0) @binding(1) var<storage, read_write> extent: array<u32>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) dispatched: vec3u) {
    var longest = 0u;
    // There is one workgroup, which has all of them.
    for (var batch = workgroup_of(dispatched).x; batch < sizes.batches; batch += 1u) {
        longest = max(longest, q_length(batch));
    }
    extent[0] = (longest + TILE - 1u) / TILE;
    extent[1] = sizes.heads;
    extent[2] = sizes.batches;
}
