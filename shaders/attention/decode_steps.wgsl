// The steps of attention of few rows, on the rows of a workgroup.

import package::kernel::{THREADS, ROWS, LANES, KEYS, APART, SUBGROUPS, IN_MEMORY, ONE_SUBGROUP, SPLITS, GROUPS, K_VECTORS, V_VECTORS, FIRST, MARKING};
import package::attention::problem::{HEAD_DIM, VALUE_DIM, WRITE_LSE, params, Row, row_at, row_count, batch_of, q_row, o_row, num_visible_keys, lse, lse_at};
import package::attention::keys::{PAGED, PAGE, QUANTISED, KeyAt, key_at, key_in_page, page_exists, k_row, v_row, is_stored, k_factor, v_factor};
import package::shared::inputs::{q4};
import package::shared::kv::{key4, value4};
import package::shared::output::{put_o4};
import package::attention::hooks::{SCORE_MOD, MASK_MOD, Element, hook_score_mod, hook_mask_mod};
import package::attention::blocks::{TOKEN_ORDER, ELEMENT_BITS, position_of, bits_of_step, visible_by_bits, Visits};
import package::attention::softmax::{HIDES, FIRST_ROW_MAX, weight, is_hidden, inverse_of, lse_of};
import package::shared::math::{not_finite, finite_or_nan};
import package::attention::scale::{NORMALISE, SINKS, inverse_norms, row_scale, with_sink};

alias Queries = array<array<vec4f, K_VECTORS>, ROWS>;
alias Outputs = array<array<vec4f, V_VECTORS>, ROWS>;
alias Keys = array<array<vec4f, K_VECTORS>, KEYS>;
alias Values = array<array<vec4f, V_VECTORS>, KEYS>;

struct Splits {
    // Parts that the keys of a tile are divided into, tiles along x, and elements from one part of o, and of lse, to the next.
    splits: u32,
    tiles: u32,
    o_part: u32,
    lse_part: u32,
}

@group(0) @binding(14) var<uniform> splits: Splits;

// A workgroup as it would be without splits. Tiles are neighbours along x, since those of a head share its keys in caches.
struct Part {
    workgroup: vec3u,
    split: u32,
    splits: u32,
}

fn part_of(workgroup: vec3u) -> Part {
    if SPLITS {
        return Part(vec3u(workgroup.x % splits.tiles, workgroup.yz), workgroup.x / splits.tiles, splits.splits);
    }
    return Part(workgroup, 0u, 1u);
}

// A step of the keys: its number, and the first of its keys.
struct Step {
    visits: Visits,
    at: u32,
    first: u32,
    batch: u32,
    last: u32,
    k_norms: u32,
    scales: u32,
    // That of the group's keys, if it is one.
    page: i32,
}

// Whether a group is a quad.
const IN_QUADS: bool = SUBGROUPS && LANES == 4u;

// Whether a group's keys, which are neighbours, lie in one page.
const PAGE_OF_GROUP: bool = PAGED && !TOKEN_ORDER && PAGE % KEYS == 0u;

// Loops that halve a distance between lanes end with these: neighbours, and the nearest that have another key's score.
const UNROLL_NEIGHBOURS: u32 = 1u;
const UNROLL_KEYS_APART: u32 = APART;

// Workgroup memory: sums over a thread's part of d, as [lane][group][key][row], and scores, as [group][key][row].
const PAIRS: u32 = GROUPS * KEYS * ROWS;
var<workgroup> partial_sums: array<f32, LANES * PAIRS>;
var<workgroup> scores: array<f32, PAIRS>;
var<workgroup> found: array<u32, THREADS>;
var<workgroup> found_any: u32;

// Loads the rows of q, a row a turn, while those before it move up: drivers that run on the CPU compile a load for milliseconds.
fn load_rows(
    q: ptr<function, Queries>,
    seen: ptr<function, array<u32, ROWS>>,
    head: ptr<function, array<u32, ROWS>>,
    query: ptr<function, array<u32, ROWS>>,
    group: vec3u,
    batch: u32,
    first_row: u32,
    lane: u32,
) {
    for (var turn = 0u; turn < ROWS; turn += 1u) {
        for (var r = 0u; r + 1u < ROWS; r += 1u) {
            for (var c = 0u; c < K_VECTORS; c += 1u) {
                q[r][c] = q[r + 1u][c];
            }
            seen[r] = seen[r + 1u];
            head[r] = head[r + 1u];
            query[r] = query[r + 1u];
        }
        let row = row_at(first_row + turn, group);
        let from_row = q_row(row);
        let scale = row_scale(row);
        for (var c = 0u; c < K_VECTORS; c += 1u) {
            let at = c * LANES + lane;
            q[ROWS - 1u][c] = q4(from_row, 4u * min(at, HEAD_DIM / 4u - 1u)) * select(0.0, scale, at < HEAD_DIM / 4u);
        }
        seen[ROWS - 1u] = num_visible_keys(batch, row.query);
        head[ROWS - 1u] = row.head;
        query[ROWS - 1u] = row.query;
    }
}

fn clear_rows(o: ptr<function, Outputs>, row_max: ptr<function, array<f32, ROWS>>, row_sum: ptr<function, array<f32, ROWS>>) {
    for (var r = 0u; r < ROWS; r += 1u) {
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            o[r][c] = vec4f();
        }
        row_max[r] = FIRST_ROW_MAX;
        row_sum[r] = 0.0;
    }
}

// Where a group's keys are. Beyond the last key it is that one again, or another of its page.
fn find_keys(at: ptr<function, array<KeyAt, KEYS>>, batch: u32, first: u32, last: u32, page: i32) {
    for (var j = 0u; j < KEYS; j += 1u) {
        if PAGE_OF_GROUP {
            at[j] = key_in_page(page, first + j);
        } else {
            at[j] = key_at(batch, position_of(min(first + j, last)));
        }
    }
}

// A thread's vectors of the group's keys: zeros beyond the row's end.
fn load_keys(k: ptr<function, Keys>, keys: ptr<function, array<KeyAt, KEYS>>, k_first: u32, lane: u32) {
    for (var j = 0u; j < KEYS; j += 1u) {
        let from_row = k_row(k_first, keys[j]);
        for (var c = 0u; c < K_VECTORS; c += 1u) {
            let at = c * LANES + lane;
            if K_VECTORS * LANES * 4u == HEAD_DIM {
                k[j][c] = key4(from_row, 4u * at);
            } else {
                k[j][c] = select(vec4f(), key4(from_row, 4u * min(at, HEAD_DIM / 4u - 1u)), at < HEAD_DIM / 4u);
            }
        }
    }
}

// The same of values. Those that are not finite become NaN at first. Marking, they are ones and all others zeros; then they are zeros.
fn load_values(
    v: ptr<function, Values>,
    keys: ptr<function, array<KeyAt, KEYS>>,
    v_first: u32,
    scales: u32,
    first: u32,
    last: u32,
    lane: u32,
    attempt: u32,
) {
    let kept = select(0xffffffffu, 0u, attempt == MARKING);
    let in_place_of_odd = select(select(0u, 0x3f800000u, attempt == MARKING), 0x7fc00000u, attempt == FIRST);
    for (var j = 0u; j < KEYS; j += 1u) {
        let from_row = v_row(v_first, keys[j]);
        var factor = 1.0;
        if QUANTISED {
            factor = v_factor(scales, position_of(min(first + j, last)));
        }
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            let at = c * LANES + lane;
            if V_VECTORS * LANES * 4u == VALUE_DIM {
                v[j][c] = value4(from_row, 4u * at);
            } else {
                v[j][c] = select(vec4f(), value4(from_row, 4u * min(at, VALUE_DIM / 4u - 1u)), at < VALUE_DIM / 4u);
            }
            if QUANTISED {
                v[j][c] *= factor;
            }
            if HIDES {
                let bits = bitcast<vec4u>(v[j][c]);
                let odd = (bits & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
                v[j][c] = bitcast<vec4f>(select(bits & vec4u(kept), vec4u(in_place_of_odd), odd));
            }
        }
    }
}

// A row's products with the group's keys, over the thread's part of d. No function has the four products: drivers that run on the
// CPU pay for calls.
fn multiply_row(sums: ptr<function, array<f32, KEYS>>, q: ptr<function, array<vec4f, K_VECTORS>>, k: ptr<function, Keys>) {
    for (var j = 0u; j < KEYS; j += 1u) {
        for (var c = 0u; c < K_VECTORS; c += 1u) {
            sums[j] = fma(q[c].w, k[j][c].w, fma(q[c].z, k[j][c].z, fma(q[c].y, k[j][c].y, fma(q[c].x, k[j][c].x, sums[j]))));
        }
    }
}

// The score of an element from its product: -inf where it is hidden.
fn score_of(product: f32, step: Step, row_in_tile: u32, head: u32, query: u32, seen: u32, place: u32, stored: bool) -> f32 {
    let at = Element(step.batch, head, query, position_of(min(place, step.last)));
    var score = product;
    if QUANTISED {
        score *= k_factor(step.scales, at.key);
    }
    if NORMALISE {
        score *= inverse_norms[step.k_norms + at.key];
    }
    if SCORE_MOD {
        score = hook_score_mod(score, at);
    }
    let whole = step.at >= step.visits.partial_steps;
    var visible = place < seen;
    if PAGED {
        visible = visible & stored;
    }
    if MASK_MOD {
        visible = visible & (whole | hook_mask_mod(at, vec4u(at.key)).x);
    }
    if ELEMENT_BITS {
        let bits = bits_of_step(step.visits, step.at, GROUPS * KEYS);
        visible = visible & (whole | visible_by_bits(bits, row_in_tile, vec4u(place)).x);
    }
    return select(params.negative_infinity, score, visible);
}

// The weight of a score; marking, one if it is visible at all.
fn weight_of(score: f32, new_max: f32, marking: bool) -> f32 {
    if HIDES {
        return select(weight(score, new_max), select(1.0, 0.0, is_hidden(score)), marking);
    }
    return weight(score, new_max);
}

// Sums over the lanes, of one key each: the key lane / APART.
fn sum_of_lanes(sums: ptr<function, array<f32, KEYS>>, lane: u32) -> f32 {
    if LANES == 1u {
        return sums[0];
    }
    // Half of the lanes take half of the keys, and again.
    for (var half = KEYS / 2u; half > 0u; half /= 2u) {
        let upper = (lane & (half * APART)) != 0u;
        for (var j = 0u; j < half; j += 1u) {
            sums[j] = select(sums[j], sums[j + half], upper) + exchanged(select(sums[j + half], sums[j], upper), half * APART);
        }
    }
    var sum = sums[0];
    for (var apart = APART / 2u; apart >= UNROLL_NEIGHBOURS; apart /= 2u) {
        sum += exchanged(sum, apart);
    }
    return sum;
}

// Every thread makes a weight of its own key's product with a row.
fn weigh(
    own: ptr<function, f32>,
    rescale: ptr<function, f32>,
    row_max: ptr<function, f32>,
    row_sum: ptr<function, f32>,
    seen: u32,
    head: u32,
    query: u32,
    r: u32,
    step: Step,
    thread: u32,
    marking: bool,
) {
    let lane = thread % LANES;
    let place = step.first + thread / LANES * KEYS + lane / APART;
    var stored = true;
    if PAGE_OF_GROUP {
        stored = page_exists(step.page);
    } else if PAGED {
        stored = is_stored(step.batch, position_of(min(place, step.last)));
    }
    let score = score_of(*own, step, r, head, query, seen, place, stored);
    var new_max = max(*row_max, score);
    if LANES > 1u {
        for (var apart = LANES / 2u; apart >= UNROLL_KEYS_APART; apart /= 2u) {
            new_max = max(new_max, exchanged(new_max, apart));
        }
    }
    *rescale = select(weight(*row_max, new_max), 1.0, marking);
    *row_max = new_max;
    *own = weight_of(score, new_max, marking);
    *row_sum = fma(*row_sum, *rescale, *own);
}

// A row's weights of the group's keys, in all of its threads.
fn spread_weights(weights: ptr<function, array<f32, KEYS>>, own: f32, lane: u32) {
    if KEYS == 1u {
        weights[0] = own;
    } else if IN_QUADS {
        let all = vec4f(quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u));
        for (var j = 0u; j < KEYS; j += 1u) {
            weights[j] = all[j * APART];
        }
    } else {
        let first_lane = first_lane_of(lane);
        for (var j = 0u; j < KEYS; j += 1u) {
            weights[j] = subgroupShuffle(own, first_lane + j * APART);
        }
    }
}

// The value that the lane so far away holds. Within quads drivers that run on the CPU have it almost for nothing.
fn exchanged(value: f32, apart: u32) -> f32 {
    if IN_QUADS {
        if apart == 1u {
            return quadSwapX(value);
        }
        return quadSwapY(value);
    }
    return subgroupShuffleXor(value, apart);
}

// The subgroup's number of the group's first lane.
fn first_lane_of(lane: u32) -> u32 {
    if ONE_SUBGROUP && GROUPS == 1u {
        return 0u;
    }
    return subgroupExclusiveAdd(1u) - lane;
}

// Where a group's keys have their sums and scores.
fn write_partial_sums(q: ptr<function, Queries>, k: ptr<function, Keys>, thread: u32) {
    let first = thread % LANES * PAIRS + thread / LANES * (KEYS * ROWS);
    for (var r = 0u; r < ROWS; r += 1u) {
        var sums: array<f32, KEYS>;
        multiply_row(&sums, &q[r], k);
        for (var j = 0u; j < KEYS; j += 1u) {
            partial_sums[first + j * ROWS + r] = sums[j];
        }
    }
}

// A thread a score.
fn write_scores(step: Step, group: vec3u, first_row: u32, thread: u32) {
    for (var pair = thread; pair < PAIRS; pair += THREADS) {
        var product = 0.0;
        for (var lane = 0u; lane < LANES; lane += 1u) {
            product += partial_sums[lane * PAIRS + pair];
        }
        let row = row_at(first_row + pair % ROWS, group);
        let seen = num_visible_keys(step.batch, row.query);
        let place = step.first + pair / ROWS;
        var stored = true;
        if PAGED {
            stored = is_stored(step.batch, position_of(min(place, step.last)));
        }
        scores[pair] = score_of(product, step, pair % ROWS, row.head, row.query, seen, place, stored);
    }
}

// A row's weights of the group's keys, from their scores.
fn read_weights(
    weights: ptr<function, array<f32, KEYS>>,
    rescale: ptr<function, f32>,
    row_max: ptr<function, f32>,
    row_sum: ptr<function, f32>,
    r: u32,
    thread: u32,
    marking: bool,
) {
    let first = thread / LANES * (KEYS * ROWS) + r;
    var new_max = *row_max;
    for (var j = 0u; j < KEYS; j += 1u) {
        weights[j] = scores[first + j * ROWS];
        new_max = max(new_max, weights[j]);
    }
    *rescale = select(weight(*row_max, new_max), 1.0, marking);
    *row_max = new_max;
    *row_sum *= *rescale;
    for (var j = 0u; j < KEYS; j += 1u) {
        weights[j] = weight_of(weights[j], new_max, marking);
        *row_sum += weights[j];
    }
}

// Adds the group's weighted values to a row.
fn add_values(o: ptr<function, array<vec4f, V_VECTORS>>, weights: ptr<function, array<f32, KEYS>>, v: ptr<function, Values>, rescale: f32) {
    for (var c = 0u; c < V_VECTORS; c += 1u) {
        o[c] *= rescale;
        for (var j = 0u; j < KEYS; j += 1u) {
            o[c] = fma(vec4f(weights[j]), v[j][c], o[c]);
        }
    }
}

fn has_odd(o: ptr<function, Outputs>) -> bool {
    var odd = false;
    for (var r = 0u; r < ROWS; r += 1u) {
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            odd = odd | any(not_finite(o[r][c]));
        }
    }
    return odd;
}

// Whether some thread says so, of those that wait for each other in every step.
fn any_thread(says: bool, thread: u32) -> bool {
    if SUBGROUPS {
        return subgroupAny(says);
    }
    if !IN_MEMORY {
        return says;
    }
    found[thread] = select(0u, 1u, says);
    workgroupBarrier();
    if thread == 0u {
        var any_found = 0u;
        for (var other = 0u; other < THREADS; other += 1u) {
            any_found |= found[other];
        }
        found_any = any_found;
    }
    return workgroupUniformLoad(&found_any) != 0u;
}

// Rows begin again: with NaN in columns that were marked, which then stays.
fn clear_marked(
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, ROWS>>,
    row_sum: ptr<function, array<f32, ROWS>>,
    marking: bool,
) {
    for (var r = 0u; r < ROWS; r += 1u) {
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            let marked = (o[r][c] > vec4f()) & vec4<bool>(marking);
            o[r][c] = bitcast<vec4f>(select(vec4u(), vec4u(0x7fc00000u), marked));
        }
        row_max[r] = FIRST_ROW_MAX;
        row_sum[r] = 0.0;
    }
}

// A row's factor of o, and its lse.
fn row_end(row_max: f32, row_sum: f32, row: Row) -> vec2f {
    if SINKS {
        let sunk = with_sink(row_max, row.head);
        let total = row_sum * sunk.y + sunk.z;
        return vec2f(sunk.y * inverse_of(total), lse_of(sunk.x, total));
    }
    return vec2f(inverse_of(row_sum), lse_of(row_max, row_sum));
}

// Where a row of o, or of a part of it, begins.
fn o_row_of(row: Row, split: u32) -> u32 {
    if SPLITS {
        return o_row(row) + split * splits.o_part;
    }
    return o_row(row);
}

// Writes four columns of a row, if it has them.
fn put_vector(from_row: u32, vector: u32, value: vec4f) {
    if vector < VALUE_DIM / 4u {
        put_o4(from_row, 4u * vector, finite_or_nan(value));
    }
}

fn put_row_lse(row: Row, split: u32, value: f32) {
    var at = lse_at(row);
    if SPLITS {
        at += split * splits.lse_part;
    }
    lse[at] = value;
}

// Writes the rows of the first group, whose results are those of all. They leave as they came: the first is written, the others
// move up.
fn finish_rows(
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, ROWS>>,
    row_sum: ptr<function, array<f32, ROWS>>,
    group: vec3u,
    first_row: u32,
    split: u32,
    thread: u32,
) {
    for (var turn = 0u; turn < ROWS; turn += 1u) {
        if (first_row + turn < row_count(batch_of(group))) & (thread < LANES) {
            let row = row_at(first_row + turn, group);
            let end = row_end(row_max[0], row_sum[0], row);
            let from_row = o_row_of(row, split);
            // Only the last vector may be beyond the row's end. SwiftShader compiles dozens of branches for minutes.
            for (var c = 0u; c < V_VECTORS; c += 1u) {
                if (c + 1u) * LANES * 4u <= VALUE_DIM {
                    put_o4(from_row, 4u * (c * LANES + thread), finite_or_nan(o[0][c] * end.x));
                } else {
                    put_vector(from_row, c * LANES + thread, o[0][c] * end.x);
                }
            }
            if WRITE_LSE && thread == 0u {
                put_row_lse(row, split, end.y);
            }
        }
        for (var r = 0u; r + 1u < ROWS; r += 1u) {
            for (var c = 0u; c < V_VECTORS; c += 1u) {
                o[r][c] = o[r + 1u][c];
            }
            row_max[r] = row_max[r + 1u];
            row_sum[r] = row_sum[r + 1u];
        }
    }
}
