// Rate of loads from workgroup memory: neighbouring lanes load neighbouring elements.
//
// Shapes    result [lanes], each the number of elements that the lane loaded
// Dispatch  x = any number of workgroups
// Numerics  f32; counts are exact up to 2^24 a chain

import package::roofline::probe::{params, result};

const THREADS: u32 = 64u;
// Elements of workgroup memory, a power of two.
const LENGTH: u32 = 1024u;
// Loads under way at a time, each with a sum of its own.
const CHAINS: u32 = 8u;

const_assert (LENGTH & (LENGTH - 1u)) == 0u;

var<workgroup> tile: array<f32, LENGTH>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var i = thread; i < LENGTH; i += THREADS) {
        tile[i] = params.offset;
    }
    workgroupBarrier();
    var at = thread;
    var sum: array<f32, CHAINS>;
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        for (var c = 0u; c < CHAINS; c += 1u) {
            sum[c] += tile[(at + c * THREADS) & (LENGTH - 1u)];
        }
        // Odd, so that no compiler finds the addresses of a later turn to be those of an earlier one.
        at += 2u * THREADS + 1u;
    }
    var total = 0.0;
    for (var c = 0u; c < CHAINS; c += 1u) {
        total += sum[c];
    }
    result[group.x * THREADS + thread] = total;
}
