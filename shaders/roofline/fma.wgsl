// FMA rate: CHAINS independent chains a lane, x <- x * scale + offset, UNROLL_STEPS times a turn.
//
// Shapes    result [lanes], each the sum of a lane's chains; with scale 1/2 and offset 1 all chains end at 2
// Dispatch  x = any number of workgroups
// Numerics  f32
//
// Drivers that run shaders on the CPU blend loop-carried values with the execution mask once a turn, and every FMA
// waits for the one before it in its chain: how many chains and steps are best is found by trying.

import package::roofline::probe::{params, result};

const THREADS: u32 = 64u;
const CHAINS: u32 = 8u;
const UNROLL_STEPS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let y = params.scale;
    let x = params.offset;
    var chain: array<f32, CHAINS>;
    for (var c = 0u; c < CHAINS; c += 1u) {
        chain[c] = f32(id.x + c) * y;
    }
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        for (var step = 0u; step < UNROLL_STEPS; step += 1u) {
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = fma(chain[c], y, x);
            }
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < CHAINS; c += 1u) {
        sum += chain[c];
    }
    result[id.x] = sum;
}
