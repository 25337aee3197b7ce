// Products of tiles: a thread owns 4 rows and 4 columns of the sums.
//
// Operands lie in the kernel's workgroup memory, as vectors of four rows or four columns of one step: those of rows from 0 on,
// as [step][row / 4], those of columns from `columns` on, as [step][column / 4]. Each pair of loads feeds 16 FMAs.

import package::kernel::{stage, BATCH};

// Four rows of four columns, as four columns of four rows.
fn stage_transposed(at: u32, step: u32, a: vec4f, b: vec4f, c: vec4f, d: vec4f) {
    stage[at] = vec4f(a.x, b.x, c.x, d.x);
    stage[at + step] = vec4f(a.y, b.y, c.y, d.y);
    stage[at + 2u * step] = vec4f(a.z, b.z, c.z, d.z);
    stage[at + 3u * step] = vec4f(a.w, b.w, c.w, d.w);
}

// sums[r] += a[r] * b
fn rank1_update(sums: ptr<function, array<vec4f, 4>>, a: ptr<function, vec4f>, b: ptr<function, vec4f>) {
    for (var r = 0u; r < 4u; r += 1u) {
        sums[r] = fma(vec4f(a[r]), *b, sums[r]);
    }
}

// The operands of BATCH steps.
fn load_batch(
    a: ptr<function, array<vec4f, BATCH>>, b: ptr<function, array<vec4f, BATCH>>,
    step: u32, row_lane: u32, row_lanes: u32, columns: u32, lane: u32, lanes: u32,
) {
    for (var i = 0u; i < BATCH; i += 1u) {
        a[i] = stage[(step + i) * row_lanes + row_lane];
        b[i] = stage[columns + (step + i) * lanes + lane];
    }
}

// BATCH steps: their operands are loaded together and used last first, as the wait for the last covers all of them.
fn rank1_updates(
    sums: ptr<function, array<vec4f, 4>>,
    step: u32, row_lane: u32, row_lanes: u32, columns: u32, lane: u32, lanes: u32,
) {
    var a: array<vec4f, BATCH>;
    var b: array<vec4f, BATCH>;
    load_batch(&a, &b, step, row_lane, row_lanes, columns, lane, lanes);
    for (var i = 0u; i < BATCH; i += 1u) {
        rank1_update(sums, &a[BATCH - 1u - i], &b[BATCH - 1u - i]);
    }
}
