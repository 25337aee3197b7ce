// Merging the groups of a workgroup, each of which has seen keys of its own.

import package::kernel::{THREADS, ROWS, LANES, KEYS, GROUPS, MERGED, V_VECTORS};
import package::attention::problem::{WRITE_LSE, row_at, row_count, batch_of};
import package::attention::softmax::{FIRST_ROW_MAX, weight};
import package::attention::decode_steps::{Outputs, UNROLL_KEYS_APART, exchanged};
import package::attention::decode_writes::{row_end, o_row_of, put_vector, put_row_lse};

// Workgroup memory: [vector][component][thread] of o, [group][row] of maxima and sums, and each row's factor of o.
var<workgroup> merging: array<f32, MERGED * 4u * THREADS>;
var<workgroup> maxima: array<f32, GROUPS * ROWS>;
var<workgroup> totals: array<f32, GROUPS * ROWS>;
var<workgroup> factors: array<f32, ROWS>;

const OUTPUTS: u32 = ROWS * V_VECTORS;

// Where each lane has summed weights of one key: those of a group.
fn sum_over_keys(row_sum: ptr<function, array<f32, ROWS>>) {
    for (var r = 0u; r < ROWS; r += 1u) {
        for (var apart = LANES / 2u; apart >= UNROLL_KEYS_APART; apart /= 2u) {
            row_sum[r] += exchanged(row_sum[r], apart);
        }
    }
}

// Merges the groups of a workgroup that is one subgroup.
fn merge_in_subgroup(
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, ROWS>>,
    row_sum: ptr<function, array<f32, ROWS>>,
) {
    for (var apart = LANES; apart < THREADS; apart *= 2u) {
        for (var r = 0u; r < ROWS; r += 1u) {
            let other_max = subgroupShuffleXor(row_max[r], apart);
            let new_max = max(row_max[r], other_max);
            let mine = weight(row_max[r], new_max);
            let theirs = weight(other_max, new_max);
            row_max[r] = new_max;
            row_sum[r] = row_sum[r] * mine + subgroupShuffleXor(row_sum[r], apart) * theirs;
            for (var c = 0u; c < V_VECTORS; c += 1u) {
                o[r][c] = o[r][c] * mine + subgroupShuffleXor(o[r][c], apart) * theirs;
            }
        }
    }
}

// Merges groups in workgroup memory, and writes the rows.
fn merge_in_memory(
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, ROWS>>,
    row_sum: ptr<function, array<f32, ROWS>>,
    group: vec3u,
    first_row: u32,
    split: u32,
    thread: u32,
) {
    let lane = thread % LANES;
    if lane == 0u {
        for (var r = 0u; r < ROWS; r += 1u) {
            maxima[thread / LANES * ROWS + r] = row_max[r];
            totals[thread / LANES * ROWS + r] = row_sum[r];
        }
    }
    workgroupBarrier();
    // A thread a row.
    for (var r = thread; r < ROWS; r += THREADS) {
        var new_max = FIRST_ROW_MAX;
        for (var from_group = 0u; from_group < GROUPS; from_group += 1u) {
            new_max = max(new_max, maxima[from_group * ROWS + r]);
        }
        var total = 0.0;
        for (var from_group = 0u; from_group < GROUPS; from_group += 1u) {
            let by = weight(maxima[from_group * ROWS + r], new_max);
            total += totals[from_group * ROWS + r] * by;
            totals[from_group * ROWS + r] = by;
        }
        let row = row_at(first_row + r, group);
        let end = row_end(new_max, total, row);
        factors[r] = end.x;
        if WRITE_LSE && first_row + r < row_count(batch_of(group)) {
            put_row_lse(row, split, end.y);
        }
    }
    workgroupBarrier();
    for (var r = 0u; r < ROWS; r += 1u) {
        let by = totals[thread / LANES * ROWS + r];
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            o[r][c] *= by;
        }
    }
    for (var first = 0u; first < OUTPUTS; first += MERGED) {
        for (var i = 0u; i < MERGED; i += 1u) {
            if first + i < OUTPUTS {
                let value = o[(first + i) / V_VECTORS][(first + i) % V_VECTORS];
                let at = i * (4u * THREADS) + thread;
                merging[at] = value.x;
                merging[at + THREADS] = value.y;
                merging[at + 2u * THREADS] = value.z;
                merging[at + 3u * THREADS] = value.w;
            }
        }
        workgroupBarrier();
        for (var out = thread; out < min(MERGED, OUTPUTS - first) * LANES; out += THREADS) {
            let at = out / LANES * (4u * THREADS) + lane;
            var sum = vec4f();
            for (var from_group = 0u; from_group < GROUPS; from_group += 1u) {
                let value = at + from_group * LANES;
                sum += vec4f(merging[value], merging[value + THREADS], merging[value + 2u * THREADS], merging[value + 3u * THREADS]);
            }
            let output = first + out / LANES;
            let r = output / V_VECTORS;
            if first_row + r < row_count(batch_of(group)) {
                let from_row = o_row_of(row_at(first_row + r, group), split);
                put_vector(from_row, output % V_VECTORS * LANES + lane, sum * factors[r]);
            }
        }
        workgroupBarrier();
    }
}
