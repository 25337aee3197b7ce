// Rate of matrix units: CHAINS independent chains of products a subgroup, UNROLL_STEPS times a turn, f16 added in f32.
//
// Shapes    result [lanes], each an element's sum over a subgroup's chains: with offset 1, SIDE for every product
// Dispatch  x = any number of workgroups; a workgroup is one subgroup
// Numerics  sums of SIDE are exact up to 2^24 SIDE

import package::roofline::probe::{params, result};
import package::shared::matrix::{SIDE, MatrixA, MatrixB, MatrixC};

const THREADS: u32 = 32u;
const CHAINS: u32 = 4u;
const UNROLL_STEPS: u32 = 4u;

var<workgroup> ones: array<f16, SIDE * SIDE>;
var<workgroup> sums: array<f32, SIDE * SIDE>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
    for (var i = thread; i < SIDE * SIDE; i += THREADS) {
        ones[i] = f16(params.offset);
    }
    workgroupBarrier();
    let a = coopLoadT<MatrixA>(&ones[0], SIDE);
    let b = coopLoad<MatrixB>(&ones[0], SIDE);
    var chain: array<MatrixC, CHAINS>;
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        for (var step = 0u; step < UNROLL_STEPS; step += 1u) {
            for (var c = 0u; c < CHAINS; c += 1u) {
                chain[c] = coopMultiplyAdd(a, b, chain[c]);
            }
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < CHAINS; c += 1u) {
        workgroupBarrier();
        coopStoreT(chain[c], &sums[0], SIDE);
        workgroupBarrier();
        sum += sums[thread % (SIDE * SIDE)];
    }
    result[id.x] = sum;
}
