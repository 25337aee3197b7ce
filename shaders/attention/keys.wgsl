// Where the row of a key lies, and what the integers in it, or in a query, stand for.

import package::attention::problem::{params};
import package::attention::entry_tables::{page_number_at, k_scale_at, v_scale_at, q_scale_of};

// Whether keys and values lie in pages of PAGE keys. A page that does not exist hides its keys.
const PAGED: bool = false;
const PAGE: u32 = 16u;
// Whether keys and values are integers, with a scale for QUANT_BLOCK of them.
const QUANTISED: bool = false;
const QUANT_BLOCK: u32 = 64u;
// Whether queries are integers too, with a scale for as many of them.
const QUANTISED_Q: bool = false;

// A key's page and its number within: without pages, there is one.
struct KeyAt {
    page: u32,
    slot: u32,
}

fn table_at(batch: u32, key: u32) -> i32 {
    return page_number_at(batch * params.pages_of_entry + key / PAGE);
}

// A key in a page of that number, or in another if there is no such page.
fn key_in_page(page: i32, key: u32) -> KeyAt {
    return KeyAt(u32(clamp(page, 0, i32(params.pages) - 1)), key % PAGE);
}

fn key_at(batch: u32, key: u32) -> KeyAt {
    if PAGED {
        return key_in_page(table_at(batch, key), key);
    }
    return KeyAt(0u, key);
}

// The row of a key, given where the head's rows begin.
fn k_row(first: u32, at: KeyAt) -> u32 {
    if PAGED {
        return first + at.page * params.k_batch + at.slot * params.k_row;
    }
    return first + at.slot * params.k_row;
}

fn v_row(first: u32, at: KeyAt) -> u32 {
    if PAGED {
        return first + at.page * params.v_batch + at.slot * params.v_row;
    }
    return first + at.slot * params.v_row;
}

fn page_exists(page: i32) -> bool {
    return (page >= 0) & (page < i32(params.pages));
}

// Whether the key's page exists.
fn is_stored(batch: u32, key: u32) -> bool {
    return page_exists(table_at(batch, key));
}

fn are_stored(batch: u32, keys: vec4u) -> vec4<bool> {
    return vec4<bool>(is_stored(batch, keys.x), is_stored(batch, keys.y), is_stored(batch, keys.z), is_stored(batch, keys.w));
}

// Where the scales of a key/value head begin.
fn scales_of(batch: u32, kv_head: u32) -> u32 {
    return (batch * (params.q_heads / params.group) + kv_head) * params.scales_of_head;
}

fn k_factor(scales: u32, key: u32) -> f32 {
    return k_scale_at(scales + min(key / QUANT_BLOCK, params.scales_of_head - 1u));
}

fn v_factor(scales: u32, key: u32) -> f32 {
    return v_scale_at(scales + min(key / QUANT_BLOCK, params.scales_of_head - 1u));
}

// Rows beyond the last packed sequence see no key: any scale will do.
fn q_factor(batch: u32, head: u32, query: u32) -> f32 {
    let scales = (min(batch, params.sequences - 1u) * params.q_heads + head) * params.q_scales_of_head;
    return q_scale_of(scales + min(query / QUANT_BLOCK, params.q_scales_of_head - 1u));
}
