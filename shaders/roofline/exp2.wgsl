// exp2 rate: CHAINS independent chains a lane, x <- exp2(-x), which tends to 0.6411857.
//
// Shapes    result [lanes], each the sum of a lane's chains
// Dispatch  x = any number of workgroups
// Numerics  f32

import package::roofline::probe::{params, result};

const THREADS: u32 = 64u;
const CHAINS: u32 = 4u;
const UNROLL_STEPS: u32 = 4u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u) {
    var chain: array<f32, CHAINS>;
    for (var c = 0u; c < CHAINS; c += 1u) {
        chain[c] = params.offset / f32(id.x + c + 1u);
    }
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        for (var step = 0u; step < UNROLL_STEPS; step += 1u) {
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = exp2(-chain[c]);
            }
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < CHAINS; c += 1u) {
        sum += chain[c];
    }
    result[id.x] = sum;
}
