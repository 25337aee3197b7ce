// The steps of attention of few rows, on the rows of a workgroup.

import package::kernel::{THREADS, ROWS, LANES, KEYS, APART, SUBGROUPS, IN_MEMORY, ONE_SUBGROUP, SPLITS, GROUPS, K_VECTORS, V_VECTORS};
import package::attention::problem::{SHARED_PREFIX, params, row_at, num_visible_keys};
import package::attention::keys::{PAGED, QUANTISED, page_exists, is_stored, k_factor};
import package::attention::hooks::{SCORE_MOD, MASK_MOD, Element, hook_score_mod, hook_mask_mod};
import package::attention::blocks::{ELEMENT_BITS, position_of, bits_of_step, visible_by_bits, Visits};
import package::attention::softmax::{HIDES, FIRST_ROW_MAX, weight, is_hidden};
import package::shared::math::{not_finite};
import package::attention::scale::{NORMALISE, inverse_norms};
import package::attention::decode_loads::{PAGE_OF_GROUP, Queries, Keys, Values};

alias Outputs = array<array<vec4f, V_VECTORS>, ROWS>;

struct Splits {
    // Parts that the keys of a tile are divided into, tiles along x, and elements from one part of o, and of lse, to the next.
    splits: u32,
    tiles: u32,
    o_part: u32,
    lse_part: u32,
    // Keys of a part, where each has the same number; 0 where they are shared evenly.
    keys: u32,
}

@group(0) @binding(14) var<uniform> splits: Splits;

// A workgroup as it would be without splits. Tiles are neighbours along x, since those of a head share its keys in caches.
struct Part {
    workgroup: vec3u,
    split: u32,
    splits: u32,
    keys: u32,
}

fn part_of(workgroup: vec3u) -> Part {
    if SPLITS {
        return Part(vec3u(workgroup.x % splits.tiles, workgroup.yz), workgroup.x / splits.tiles, splits.splits,
            splits.keys);
    }
    return Part(workgroup, 0u, 1u, 0u);
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

// Loops that halve a distance between lanes end with these: neighbours, and the nearest that have another key's score.
const UNROLL_NEIGHBOURS: u32 = 1u;
const UNROLL_KEYS_APART: u32 = APART;

// Workgroup memory: sums over a thread's part of d, as [lane][group][key][row], and scores, as [group][key][row].
const PAIRS: u32 = GROUPS * KEYS * ROWS;
var<workgroup> partial_sums: array<f32, LANES * PAIRS>;
var<workgroup> scores: array<f32, PAIRS>;
var<workgroup> found: array<u32, THREADS>;
var<workgroup> found_any: u32;

fn clear_rows(o: ptr<function, Outputs>, row_max: ptr<function, array<f32, ROWS>>, row_sum: ptr<function, array<f32, ROWS>>) {
    for (var r = 0u; r < ROWS; r += 1u) {
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            o[r][c] = vec4f();
        }
        row_max[r] = FIRST_ROW_MAX;
        row_sum[r] = 0.0;
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
fn score_of(
    product: f32, step: Step, row_in_tile: u32, entry: u32, head: u32, query: u32, seen: u32, place: u32, stored: bool,
) -> f32 {
    var batch = step.batch;
    if SHARED_PREFIX {
        batch = entry;
    }
    let at = Element(batch, head, query, position_of(min(place, step.last)));
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
    entry: u32,
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
    let score = score_of(*own, step, r, entry, head, query, seen, place, stored);
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
        let seen = num_visible_keys(row.batch, row.query);
        let place = step.first + pair / ROWS;
        var stored = true;
        if PAGED {
            stored = is_stored(step.batch, position_of(min(place, step.last)));
        }
        scores[pair] = score_of(product, step, pair % ROWS, row.batch, row.head, row.query, seen, place, stored);
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
