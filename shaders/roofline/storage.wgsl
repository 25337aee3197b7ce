// Rate of loads from a storage buffer: neighbouring lanes load neighbouring elements, over and over or once.
//
// Shapes    data [data_len], all ones; result [lanes], each the number of elements that the lane loaded
// Dispatch  x = any number of workgroups
// Numerics  f32; counts are exact up to 2^24 a chain
//
// A small buffer stays in the nearest cache, and the rate is that of the load instruction. A buffer beyond all caches,
// loaded once, gives the rate of memory.

import package::roofline::probe::{params, result};

const THREADS: u32 = 64u;
// Loads under way at a time, each with a sum of its own.
const CHAINS: u32 = 8u;

@group(0) @binding(2) var<storage, read> data: array<f32>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let last = params.data_len - 1u;
    var at = group.x * params.turns * THREADS * CHAINS + thread;
    var sum: array<f32, CHAINS>;
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        for (var c = 0u; c < CHAINS; c += 1u) {
            sum[c] += data[(at + c * THREADS) & last];
        }
        at += THREADS * CHAINS;
    }
    var total = 0.0;
    for (var c = 0u; c < CHAINS; c += 1u) {
        total += sum[c];
    }
    result[group.x * THREADS + thread] = total;
}
