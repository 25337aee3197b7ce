// Rate of subgroup broadcasts, each with the FMA that uses it: x <- own + scale * broadcast(x).
//
// Shapes    result [lanes], each the sum of a lane's chains; `own` is 0 to 3 times offset, by the lane's number mod 4
// Dispatch  x = any number of workgroups
// Numerics  f32
//
// Lanes 0 to 3 are read, which every subgroup has. Lanes differ in `own`, or else compilers would find that all lanes
// hold the same value and leave the broadcasts out.

import package::roofline::probe::{params, result};

const THREADS: u32 = 64u;
const CHAINS: u32 = 8u;
// Each of four broadcasts.
const UNROLL_STEPS: u32 = 2u;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let own = params.offset * f32(lane % 4u);
    let scale = params.scale;
    var chain: array<f32, CHAINS>;
    for (var c = 0u; c < CHAINS; c += 1u) {
        chain[c] = f32(thread + c);
    }
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        for (var step = 0u; step < UNROLL_STEPS; step += 1u) {
            // The lane to read has to be a constant even where the loop is not unrolled.
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = fma(subgroupBroadcast(chain[c], 0u), scale, own);
            }
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = fma(subgroupBroadcast(chain[c], 1u), scale, own);
            }
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = fma(subgroupBroadcast(chain[c], 2u), scale, own);
            }
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = fma(subgroupBroadcast(chain[c], 3u), scale, own);
            }
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < CHAINS; c += 1u) {
        sum += chain[c];
    }
    result[group.x * THREADS + thread] = sum;
}
