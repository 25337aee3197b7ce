// Attention of few rows, forward: keys and values are streamed once for all rows of a key/value head.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// Shapes    q [B, H, Tq, Dk]   k [B, G, Tk, Dk]   v [B, G, Tk, Dv]   o [B, H, Tq, Dv]   lse [B, H, Tq]
//           with SPLITS o [splits, B, H, Tq, Dv] and lse [splits, B, H, Tq], which `combine` merges
// Dispatch  x = tiles of ROWS rows, each in `splits` parts of its keys; y = heads (folded), z = B
// Storage   registers: of each row the thread's slices of q and o. Workgroup memory where lanes or groups of them meet: without
//           subgroups 4 THREADS KEYS ROWS bytes, to merge groups 16 THREADS MERGED bytes, and some for each row
// Numerics  f32 accumulation; scores in base 2, or natural where an expression or a sink wants them (see softmax.wgsl)
// Source    Dao et al. 2023, Flash-Decoding; Milakov and Gimelshein 2018
//
// LANES neighbouring threads are a group. They share a key, each with every LANES-th vector of q, k, v and o, so that their loads
// lie side by side. A group takes KEYS keys at a time, with a softmax of its own, and groups are merged once, at the end.
//
// A weight of zero does not hide a value that is NaN. All is done as if values were finite, and done again if a sum is not: once
// to mark columns that see such a value, once with zeros in place of such values and NaN in marked columns.

import package::attention::problem::{HEAD_DIM, VALUE_DIM, params, kv_head, k_head_offset, v_head_offset, batch_of, last_key, keys_of_tile};
import package::attention::blocks::{KV_BLOCK, place_of, visits_of, first_key};
import package::attention::softmax::{HIDES};
import package::attention::keys::{QUANTISED, KeyAt, scales_of, table_at};
import package::attention::scale::{NORMALISE, key_norms_of};
import package::attention::decode_loads::{PAGE_OF_GROUP, load_rows, find_keys, load_keys, load_values};
import package::attention::decode_steps::{Step, part_of, clear_rows, multiply_row, sum_of_lanes, weigh, spread_weights, write_partial_sums, write_scores, read_weights, add_values, has_odd, any_thread, clear_marked};
import package::attention::decode_writes::{finish_rows};
import package::attention::decode_merge::{merge_in_subgroup, merge_in_memory, sum_over_keys};
import package::shared::grid::{workgroup_of};

// Subgroups, whose threads agree without a barrier, are narrower than what the compiler can see.
diagnostic(off, subgroup_uniformity);

const THREADS: u32 = 64u;
const ROWS: u32 = 4u;
// Threads that share a key, and keys that they take at a time.
const LANES: u32 = 8u;
const KEYS: u32 = 4u;
// Whether the threads of a group are in one subgroup: neighbours, in order, from a multiple of LANES on.
const SUBGROUPS: bool = false;
// Whether the workgroup is one subgroup.
const ONE_SUBGROUP: bool = false;
// Vectors of o that groups merge at a time, in workgroup memory.
const MERGED: u32 = 1u;
// Whether results are parts, to be merged.
const SPLITS: bool = false;

const GROUPS: u32 = THREADS / LANES;
// Whether the threads of a group meet in workgroup memory: one alone has nothing to tell.
const IN_MEMORY: bool = !SUBGROUPS && LANES > 1u;
// Neighbours that are left with the score of the same key.
const APART: u32 = max(LANES / KEYS, 1u);
// Keys of a step.
const CHUNK: u32 = GROUPS * KEYS;
// Vectors of a row that a thread has.
const K_VECTORS: u32 = (HEAD_DIM / 4u + LANES - 1u) / LANES;
const V_VECTORS: u32 = (VALUE_DIM / 4u + LANES - 1u) / LANES;
const_assert THREADS % LANES == 0u && KV_BLOCK % CHUNK == 0u;
const_assert IN_MEMORY || LANES % KEYS == 0u;
const_assert SUBGROUPS || !ONE_SUBGROUP;

const ATTEMPTS: u32 = select(1u, 3u, HIDES);
const FIRST: u32 = 0u;
const MARKING: u32 = 1u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let part = part_of(workgroup_of(dispatched));
    let place = place_of(part.workgroup);
    let group = place.group;
    let first_row = params.first_row + group.x * ROWS;
    let k_first = k_head_offset(group);
    let v_first = v_head_offset(group);
    let batch = batch_of(group);
    let last = last_key(batch);
    let keys = keys_of_tile(group, first_row, ROWS);
    var k_norms = 0u;
    if NORMALISE {
        k_norms = key_norms_of(batch, kv_head(group));
    }

    var scales = 0u;
    if QUANTISED {
        scales = scales_of(batch, kv_head(group));
    }

    // All splits but the last ones have as many steps: an even share of the entry's, or as many for every entry.
    let visits = visits_of(place.list, keys.some, CHUNK);
    let all_steps = max(visits.steps, visits.first_step) - visits.first_step;
    let share = select((all_steps + part.splits - 1u) / part.splits, part.keys / CHUNK, part.keys > 0u);
    let first_step = visits.first_step + min(part.split * share, all_steps);
    let end_step = min(first_step + share, visits.steps);

    let lane = thread % LANES;
    var q: array<array<vec4f, K_VECTORS>, ROWS>;
    var o: array<array<vec4f, V_VECTORS>, ROWS>;
    var row_max: array<f32, ROWS>;
    var row_sum: array<f32, ROWS>;
    var seen: array<u32, ROWS>;
    // Which rows these are; only hooks ask.
    var entry: array<u32, ROWS>;
    var head: array<u32, ROWS>;
    var query: array<u32, ROWS>;
    load_rows(&q, &seen, &entry, &head, &query, group, first_row, lane);
    clear_rows(&o, &row_max, &row_sum);

    for (var attempt = FIRST; attempt < ATTEMPTS; attempt += 1u) {
        let marking = attempt == MARKING;
        for (var at = first_step; at < end_step; at += 1u) {
            let first = first_key(visits, at, CHUNK);
            let mine = first + thread / LANES * KEYS;
            var page = 0;
            if PAGE_OF_GROUP {
                page = table_at(batch, min(mine, last));
            }
            let step = Step(visits, at, first, batch, last, k_norms, scales, page);
            // All loads come first, so that one wait covers them.
            var k: array<array<vec4f, K_VECTORS>, KEYS>;
            var v: array<array<vec4f, V_VECTORS>, KEYS>;
            var these: array<KeyAt, KEYS>;
            find_keys(&these, batch, mine, last, page);
            load_keys(&k, &these, k_first, lane);
            load_values(&v, &these, v_first, scales, mine, last, lane, attempt);
            if IN_MEMORY {
                write_partial_sums(&q, &k, thread);
                workgroupBarrier();
                write_scores(step, group, first_row, thread);
                workgroupBarrier();
            }
            for (var r = 0u; r < ROWS; r += 1u) {
                var weights: array<f32, KEYS>;
                var rescale = 1.0;
                if IN_MEMORY {
                    read_weights(&weights, &rescale, &row_max[r], &row_sum[r], r, thread, marking);
                } else {
                    var sums: array<f32, KEYS>;
                    multiply_row(&sums, &q[r], &k);
                    var own = sum_of_lanes(&sums, lane);
                    weigh(&own, &rescale, &row_max[r], &row_sum[r], seen[r], entry[r], head[r], query[r], r, step, thread, marking);
                    spread_weights(&weights, own, lane);
                }
                add_values(&o[r], &weights, &v, rescale);
            }
        }
        if HIDES && attempt + 1u < ATTEMPTS {
            let odd = has_odd(&o);
            if !any_thread(marking | odd, thread) {
                break;
            }
            clear_marked(&o, &row_max, &row_sum, marking);
        }
    }

    if !IN_MEMORY && LANES > 1u {
        sum_over_keys(&row_sum);
    }
    if GROUPS == 1u || ONE_SUBGROUP {
        if GROUPS > 1u {
            merge_in_subgroup(&o, &row_max, &row_sum);
        }
        finish_rows(&o, &row_max, &row_sum, group, first_row, part.split, thread);
    } else {
        merge_in_memory(&o, &row_max, &row_sum, group, first_row, part.split, thread);
    }
}
