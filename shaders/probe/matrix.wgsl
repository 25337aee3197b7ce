// A product of matrices of the subgroup, and how many lanes share them: a driver chooses that by the kernel.
//
// Shapes    given [2][SIDE][SIDE] f16: A, then B   results [SIDE][SIDE] A B, then the lanes of the subgroup
// Dispatch  one workgroup of THREADS threads

import package::shared::matrix::{SIDE, MatrixA, MatrixB, MatrixC};

const THREADS: u32 = 32u;

@group(0) @binding(0) var<storage, read> given: array<f16>;
@group(0) @binding(1) var<storage, read_write> results: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(subgroup_size) lanes: u32) {
    // A variable: from loads alone naga does not see that the module has matrices.
    var c: MatrixC;
    let a = coopLoadT<MatrixA>(&given[0], SIDE);
    let b = coopLoadT<MatrixB>(&given[SIDE * SIDE], SIDE);
    c = coopMultiplyAdd(a, b, c);
    coopStoreT(c, &results[0], SIDE);
    if thread == 0u {
        results[SIDE * SIDE] = f32(lanes);
    }
}
