// Keys and values for `matrix`: rows of k and columns of v in f16, padded with zeros (see matrix_tiles).
//
// Shapes    k [B, G, Tk, Dk]   v [B, G, Tk, Dv]   packed [tiles][PACKED_TILE]
// Dispatch  x = tiles of KEYS keys (slots of packed sequences), y = key/value heads, z = B (1)
// Storage   a flag in workgroup memory
// Numerics  rounds to f16, as `narrow_f16` does: exact where k and v are f16
//
// A thread moves 4 keys of 4 columns at a time: both sides are read and written in vectors.

import package::attention::problem::{HEAD_DIM, VALUE_DIM, PACKED_K, params, kv_length, k_start};
import package::attention::blocks::{TOKEN_ORDER, position_of};
import package::attention::keys::{PAGED, key_at, k_row, v_row};
import package::attention::matrix_tiles::{KEYS, KEY_WIDTH, VALUE_WIDTH, VALUES_AT, FLAG_AT, PACKED_TILE, first_key_slot, first_tile};
import package::shared::kv::{key4, value4};
import package::shared::f16::{narrow_f16};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;
const QUADS: u32 = KEYS / 4u;

@group(0) @binding(18) var<storage, read_write> packed: array<vec2u>;

var<workgroup> any_odd: atomic<u32>;

// Where k and v of the workgroup's head begin, and the batch entry that keys are counted in.
struct Head {
    batch: u32,
    k_first: u32,
    v_first: u32,
}

// Four halves, the first lowest.
fn narrow4(value: vec4f) -> vec2u {
    return vec2u(narrow_f16(value.xy), narrow_f16(value.zw));
}

// Halves of a value: +0 for either zero, -0 for what is not finite in f16.
fn marked(halves: u32) -> u32 {
    let each = vec2u(halves & 0xffffu, halves >> 16u);
    let size = each & vec2u(0x7fffu);
    let kept = select(each, vec2u(0u), size == vec2u(0u));
    let result = select(kept, vec2u(0x8000u), size >= vec2u(0x7c00u));
    return result.x | (result.y << 16u);
}

fn is_odd(halves: u32) -> bool {
    return ((halves & 0x7c00u) == 0x7c00u) | ((halves & 0x7c000000u) == 0x7c000000u);
}

fn key_in(place: u32) -> u32 {
    if TOKEN_ORDER {
        return position_of(place);
    }
    return place;
}

fn key_row(head: Head, place: u32, column: u32, keys: u32) -> vec4f {
    if place < keys && column < HEAD_DIM {
        return key4(k_row(head.k_first, key_at(head.batch, key_in(place))), column);
    }
    return vec4f();
}

fn value_row(head: Head, place: u32, column: u32, keys: u32) -> vec4f {
    if place < keys && column < VALUE_DIM {
        return value4(v_row(head.v_first, key_at(head.batch, key_in(place))), column);
    }
    return vec4f();
}

// The packed sequence that a slot is of: the last one that begins with it or before.
fn sequence_of_slot(slot: u32) -> u32 {
    var sequence = 0u;
    var beyond = params.sequences;
    for (; beyond - sequence > 1u; ) {
        let middle = (sequence + beyond) / 2u;
        if first_key_slot(middle) <= slot {
            sequence = middle;
        } else {
            beyond = middle;
        }
    }
    return sequence;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_of(dispatched);
    var tile = params.first_row + workgroup.x;
    let kv_head = params.first_head + workgroup.y;
    var head = Head(params.first_batch + workgroup.z, params.k_base + kv_head * params.k_head,
        params.v_base + kv_head * params.v_head);
    if PACKED_K {
        head.batch = sequence_of_slot(tile);
        tile -= first_key_slot(head.batch);
        head.k_first += k_start(head.batch) * params.k_row;
        head.v_first += k_start(head.batch) * params.v_row;
    } else if !PAGED {
        head.k_first += head.batch * params.k_batch;
        head.v_first += head.batch * params.v_batch;
    }
    let keys = kv_length(head.batch);
    let to = (first_tile(head.batch, kv_head) + tile) * (PACKED_TILE / 4u);
    if thread == 0u {
        atomicStore(&any_odd, 0u);
    }
    workgroupBarrier();
    for (var i = thread; i < KEYS * (KEY_WIDTH / 4u); i += THREADS) {
        let row = i / (KEY_WIDTH / 4u);
        let column = i % (KEY_WIDTH / 4u) * 4u;
        packed[to + i] = narrow4(key_row(head, tile * KEYS + row, column, keys));
    }
    var odd = false;
    for (var i = thread; i < QUADS * (VALUE_WIDTH / 4u); i += THREADS) {
        let quad = i % QUADS;
        let column = i / QUADS * 4u;
        let place = tile * KEYS + quad * 4u;
        let a = value_row(head, place, column, keys);
        let b = value_row(head, place + 1u, column, keys);
        let c = value_row(head, place + 2u, column, keys);
        let d = value_row(head, place + 3u, column, keys);
        let at = to + VALUES_AT / 4u + column * QUADS + quad;
        let x = narrow4(vec4f(a.x, b.x, c.x, d.x));
        let y = narrow4(vec4f(a.y, b.y, c.y, d.y));
        let z = narrow4(vec4f(a.z, b.z, c.z, d.z));
        let w = narrow4(vec4f(a.w, b.w, c.w, d.w));
        packed[at] = vec2u(marked(x.x), marked(x.y));
        packed[at + QUADS] = vec2u(marked(y.x), marked(y.y));
        packed[at + 2u * QUADS] = vec2u(marked(z.x), marked(z.y));
        packed[at + 3u * QUADS] = vec2u(marked(w.x), marked(w.y));
        odd = odd | is_odd(x.x) | is_odd(x.y) | is_odd(y.x) | is_odd(y.y) | is_odd(z.x) | is_odd(z.y) | is_odd(w.x) | is_odd(w.y);
    }
    if odd {
        atomicOr(&any_odd, 1u);
    }
    workgroupBarrier();
    if thread == 0u {
        packed[to + FLAG_AT / 4u] = vec2u(select(0u, 0x3c00u, atomicLoad(&any_odd) != 0u), 0u);
    }
}
