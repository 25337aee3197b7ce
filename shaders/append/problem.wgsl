// Where new rows of a cache go: what the kernels of append are told, and the places that follow from it.
//
// Entry b has new_rows(b) new rows, and end(b) rows with them; its new row t is at position end - new_rows + t.

import package::shared::inputs::{v4};
import package::shared::rope::{ROPE, rope_factors, rope_partner4, rope_turned4};

// Width of a row, rounded up to a multiple of four.
const WIDTH: u32 = 64u;
// Whether tensors say how many rows an entry has, and how many of them are new.
const KV_LENGTHS: bool = false;
const Q_LENGTHS: bool = false;
// The kind of cache: a ring, pages, or contiguous.
const RING: bool = false;
const PAGED: bool = false;
// Whether a tensor says the positions for the rotation.
const POSITIONS: bool = false;
const_assert WIDTH % 4u == 0u;
const_assert !(RING && PAGED);

// No place.
const NOWHERE: u32 = 0xffffffffu;

struct Append {
    // New rows, slots of an entry.
    len: u32, slots: u32,
    // Slots of a page, places of an entry in the table, pages.
    page: u32, places: u32, pages: u32,
    // Workgroups count from here.
    first_batch: u32, first_head: u32, first_row: u32,
    // Strides of batch entry, head and row: of the new rows, and of the cache, where a page stands for an entry.
    row_batch: u32, row_head: u32, row_row: u32,
    cache_batch: u32, cache_head: u32, cache_row: u32,
    // Slots that share a scale, how many such blocks an entry has, heads.
    quant_block: u32, blocks: u32, heads: u32,
}

@group(0) @binding(0) var<uniform> append: Append;
@group(0) @binding(5) var<storage, read> kv_lengths: array<i32>; // [B]
@group(0) @binding(6) var<storage, read> q_lengths: array<i32>; // [B]
@group(0) @binding(7) var<storage, read> block_table: array<i32>; // [B, places]
@group(0) @binding(9) var<storage, read> positions: array<i32>; // [B, T]

fn new_rows(batch: u32) -> u32 {
    if Q_LENGTHS {
        return u32(clamp(q_lengths[batch], 0, i32(append.len)));
    }
    return append.len;
}

// Rows of an entry, the new ones included.
fn end_of(batch: u32) -> i32 {
    if KV_LENGTHS {
        return max(kv_lengths[batch], 0);
    }
    return i32(new_rows(batch));
}

// The position of an entry's first new row; below 0 where it has more new rows than rows.
fn first_position(batch: u32) -> i32 {
    return end_of(batch) - i32(new_rows(batch));
}

// The slot of a position of an entry that ends at `end`.
fn slot_of(position: i32, end: i32) -> u32 {
    if RING {
        // In a ring the last rows win.
        let lost = (position < 0) | (position < end - i32(append.slots));
        return select(u32(max(position, 0)) % append.slots, NOWHERE, lost);
    }
    return select(u32(max(position, 0)), NOWHERE, (position < 0) | (position >= i32(append.slots)));
}

// Where the row of a slot begins in the cache.
fn row_of(batch: u32, head: u32, slot: u32) -> u32 {
    if PAGED {
        let at = min(slot / append.page, append.places - 1u);
        let page = block_table[batch * append.places + at];
        let none = (slot == NOWHERE) | (page < 0) | (page >= i32(append.pages));
        let row = u32(max(page, 0)) * append.cache_batch + head * append.cache_head + slot % append.page * append.cache_row;
        return select(row, NOWHERE, none);
    }
    let row = batch * append.cache_batch + head * append.cache_head + slot * append.cache_row;
    return select(row, NOWHERE, slot == NOWHERE);
}

// Four elements of a new row. `v` is bound to k, v or q.
fn row4(from_row: u32, column: u32) -> vec4f {
    return v4(from_row, column);
}

// The same, rotated.
fn new_row4(batch: u32, head: u32, t: u32, column: u32) -> vec4f {
    let from_row = batch * append.row_batch + head * append.row_head + t * append.row_row;
    let x = row4(from_row, column);
    if ROPE == 0u {
        return x;
    }
    var position: i32;
    if POSITIONS {
        position = positions[batch * append.len + t];
    } else {
        position = first_position(batch) + i32(t);
    }
    return rope_turned4(x, rope_partner4(x, from_row, column, WIDTH), rope_factors(column, position));
}
