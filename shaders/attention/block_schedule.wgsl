// Making lists of blocks on the device, for masks that read tables: the layout they share with blocks.wgsl, which reads it.
//
// Every list has room for all blocks of keys, so that no list has to wait for another's length.

import package::attention::problem::{params};
import package::attention::blocks::{TILE};
import package::attention::hooks::{Element, hook_mask_mod};

struct Lists {
    // How many there are, how many of them lie along y, and how many blocks of keys.
    lists: u32, row: u32, kv_blocks: u32,
    // [list][block of keys] 0 if no element is visible, 1 if some are, 2 if all are.
    classes_at: u32,
}

@group(0) @binding(14) var<uniform> sizes: Lists;
@group(0) @binding(6) var<storage, read_write> made: array<u32>;

// The list of a workgroup: there may be more than lie along one axis.
fn list_of(workgroup: vec3u) -> u32 {
    return workgroup.y + workgroup.z * sizes.row;
}

// The first element of a list's tile. Heads are not folded: a row is a query.
fn first_of(list: u32) -> Element {
    let over_tiles = list / params.list_tiles;
    return Element(over_tiles / params.list_heads, over_tiles % params.list_heads, list % params.list_tiles * TILE, 0u);
}

// Whether the four keys from `key` on exist, and are visible `down` rows below the first.
fn visible_from(first: Element, down: u32, key: u32) -> vec4<bool> {
    let keys = vec4u(key) + vec4u(0u, 1u, 2u, 3u);
    let inside = min(keys, vec4u(params.kv_len - 1u));
    let query = first.query + down;
    let at = Element(first.batch, first.head, min(query, params.q_len - 1u), key);
    return hook_mask_mod(at, inside) & (keys < vec4u(params.kv_len)) & vec4<bool>(query < params.q_len);
}

// Whether those four keys do not exist: what lies beyond the last neither hides a block nor shows one.
fn outside(first: Element, down: u32, key: u32) -> vec4<bool> {
    let keys = vec4u(key) + vec4u(0u, 1u, 2u, 3u);
    return (keys >= vec4u(params.kv_len)) | vec4<bool>(first.query + down >= params.q_len);
}
