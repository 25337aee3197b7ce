//! The specialiser's cost. Plans are specialised while an application starts or a page loads, several at once, so a large
//! kernel has to take milliseconds: `cargo test --release -p foveal-shaders --test speed -- --nocapture`.

use foveal_shaders::{Library, Request};

const KERNEL: &str = "
const ROWS: u32 = 16u;
const COLUMNS: u32 = 16u;
const UNROLL_SLICE: u32 = 12u;
const HEAD_DIM: u32 = 96u;
struct Params { rows: u32, stride: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;
var<workgroup> stage: array<f32, (ROWS + COLUMNS) * UNROLL_SLICE * 8u>;

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let first_row = (group.y * 8u + id.y) * ROWS;
    let first_column = (group.x * 8u + id.x) * COLUMNS;
    var sum: array<array<f32, COLUMNS>, ROWS>;
    for (var slice = 0u; slice < HEAD_DIM; slice += UNROLL_SLICE) {
        for (var d = 0u; d < UNROLL_SLICE; d++) {
            var a: array<f32, ROWS>;
            var b: array<f32, COLUMNS>;
            for (var r = 0u; r < ROWS; r++) {
                let at = (first_row + r) * params.stride + slice + d;
                a[r] = left[at];
            }
            for (var c = 0u; c < COLUMNS; c++) {
                b[c] = stage[(d * 8u + id.x) * COLUMNS + c];
            }
            for (var r = 0u; r < ROWS; r++) {
                for (var c = 0u; c < COLUMNS; c++) {
                    sum[r][c] = fma(a[r], b[c], sum[r][c]);
                }
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        for (var c = 0u; c < COLUMNS; c++) {
            if (first_row + r < params.rows) {
                product[(first_row + r) * params.stride + first_column + c] = sum[r][c] * params.scale;
            }
        }
    }
}
";

#[test]
fn four_thousand_statements_become_scalars() {
    let library = Library::empty().with_modules(&[("speed/kernel", KERNEL)]).unwrap();
    let kernel = crate::support::specialise(&library, &Request::new("speed/kernel"));
    assert_eq!(kernel.arrays_left, Vec::<String>::new());
    let statements = kernel.text.matches(';').count();
    assert!(statements > 4000, "{statements}");
}
