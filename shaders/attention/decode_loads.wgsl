// Loads of attention of few rows: the rows of q once, and the keys and values of a step.

import package::kernel::{ROWS, LANES, KEYS, K_VECTORS, V_VECTORS, FIRST, MARKING};
import package::attention::problem::{HEAD_DIM, VALUE_DIM, row_at, q_row, num_visible_keys};
import package::attention::keys::{PAGED, PAGE, QUANTISED, KeyAt, key_at, key_in_page, k_row, v_row, v_factor};
import package::attention::operands::{query_row4, key_row4};
import package::shared::kv::{value4};
import package::attention::blocks::{TOKEN_ORDER, position_of};
import package::attention::softmax::{HIDES};
import package::attention::scale::{row_scale};

// Whether a group's keys, which are neighbours, lie in one page.
const PAGE_OF_GROUP: bool = PAGED && !TOKEN_ORDER && PAGE % KEYS == 0u;

alias Queries = array<array<vec4f, K_VECTORS>, ROWS>;
alias Keys = array<array<vec4f, K_VECTORS>, KEYS>;
alias Values = array<array<vec4f, V_VECTORS>, KEYS>;

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
            q[ROWS - 1u][c] = query_row4(from_row, 4u * min(at, HEAD_DIM / 4u - 1u)) * select(0.0, scale, at < HEAD_DIM / 4u);
        }
        seen[ROWS - 1u] = num_visible_keys(batch, row.query);
        head[ROWS - 1u] = row.head;
        query[ROWS - 1u] = row.query;
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
                k[j][c] = key_row4(from_row, 4u * at);
            } else {
                k[j][c] = select(vec4f(), key_row4(from_row, 4u * min(at, HEAD_DIM / 4u - 1u)), at < HEAD_DIM / 4u);
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
