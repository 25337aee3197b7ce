// The attention problem: its uniform, and where rows of its tensors begin.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// A *row* of a kernel is one (head, query) pair of the heads that share its workgroup's keys: with `fold` heads folded
// together, rows run over head-in-group first, then over queries. Offsets and strides in elements.

import package::attention::blocks::{TOKEN_ORDER, position_of};

struct Params {
    q_len: u32,
    kv_len: u32,
    q_heads: u32,
    // Query heads a key/value head serves, and how many of them share a workgroup (1 or all).
    group: u32,
    fold: u32,
    // Query i sees the keys below i + visible, if there are that many; where lengths are tensors, and `from_end` is 1, as
    // counted from the last ones.
    visible: i32,
    from_end: i32,
    // Factor of the scores, where each head has none of its own: in base 2, or natural if a hook makes it so.
    scale: f32,
    negative_infinity: f32,
    // Workgroups count from here when a problem is split over dispatches.
    first_batch: u32, first_head: u32, first_row: u32,
    // Where [0, 0, 0, 0] lies relative to the binding (modulo 2^32: a binding may begin later), then strides of batch,
    // head and position.
    q_base: u32, q_batch: u32, q_head: u32, q_row: u32,
    k_base: u32, k_batch: u32, k_head: u32, k_row: u32,
    v_base: u32, v_batch: u32, v_head: u32, v_row: u32,
    o_base: u32, o_batch: u32, o_head: u32, o_row: u32,
    lse_base: u32, lse_batch: u32, lse_head: u32,
    // Lists of blocks (see blocks.wgsl): tiles and heads that have one, and where their parts lie. Without lists, tiles are those
    // of the dispatch.
    list_tiles: u32, list_heads: u32,
    positions_at: u32,
    order_at: u32, first_at: u32, partial_at: u32, count_at: u32, entries_at: u32, bits_of_at: u32, bits_at: u32,
    // Where the norms of k begin (see scale.wgsl).
    key_norms_at: u32,
    // The keys that a segment visits, as they are counted along what there is to visit (see blocks.wgsl).
    visit_from: u32, visit_end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>; // [B, H, Tq]

// Widths, rounded up to multiples of four.
const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u;
const WRITE_LSE: bool = true;

// Whether each batch entry has as many queries, or keys, as a tensor says, of those that there is room for.
const Q_LENGTHS: bool = false;
const KV_LENGTHS: bool = false;
@group(0) @binding(10) var<storage, read> q_lengths: array<i32>; // [B]
@group(0) @binding(11) var<storage, read> kv_lengths: array<i32>; // [B]

// Whether heads are folded together. Without it rows are queries, and no row needs a division.
const PACK_GQA: bool = false;

// A row: its batch entry, its head and its query within the bound tensors.
struct Row {
    batch: u32,
    head: u32,
    query: u32,
}

// The first query head of a workgroup.
fn first_head(group: vec3u) -> u32 {
    if PACK_GQA {
        return params.first_head + group.y * params.fold;
    }
    return params.first_head + group.y;
}

fn row_count() -> u32 {
    if PACK_GQA {
        return params.q_len * params.fold;
    }
    return params.q_len;
}

// A row beyond the last is moved onto the last, so that loads stay in range.
fn row_at(row: u32, group: vec3u) -> Row {
    let inside = min(row, row_count() - 1u);
    let batch = params.first_batch + group.z;
    let head = first_head(group);
    if PACK_GQA {
        return Row(batch, head + inside / params.q_len, inside % params.q_len);
    }
    return Row(batch, head, position_of(inside));
}

fn q_row(row: Row) -> u32 {
    return params.q_base + row.batch * params.q_batch + row.head * params.q_head + row.query * params.q_row;
}

// The row `ahead` rows after `row`, whose own offset is `offset`: no multiplication where rows are evenly spaced.
fn q_row_after(offset: u32, row: u32, ahead: u32, group: vec3u) -> u32 {
    if PACK_GQA || TOKEN_ORDER {
        return q_row(row_at(row + ahead, group));
    }
    let last = Row(params.first_batch + group.z, first_head(group), params.q_len - 1u);
    return min(offset + ahead * params.q_row, q_row(last));
}

fn o_row(row: Row) -> u32 {
    return params.o_base + row.batch * params.o_batch + row.head * params.o_head + row.query * params.o_row;
}

// The key/value head that a workgroup's rows share.
fn kv_head(group: vec3u) -> u32 {
    return first_head(group) / params.group;
}

fn k_head_offset(group: vec3u) -> u32 {
    return params.k_base + (params.first_batch + group.z) * params.k_batch + kv_head(group) * params.k_head;
}

fn v_head_offset(group: vec3u) -> u32 {
    return params.v_base + (params.first_batch + group.z) * params.v_batch + kv_head(group) * params.v_head;
}

fn batch_of(group: vec3u) -> u32 {
    return params.first_batch + group.z;
}

fn q_length(batch: u32) -> u32 {
    if Q_LENGTHS {
        return u32(clamp(q_lengths[batch], 0, i32(params.q_len)));
    }
    return params.q_len;
}

fn kv_length(batch: u32) -> u32 {
    if KV_LENGTHS {
        return u32(clamp(kv_lengths[batch], 0, i32(params.kv_len)));
    }
    return params.kv_len;
}

// The last key, which stands in for those beyond it: what lies there may not be a number.
fn last_key(batch: u32) -> u32 {
    if KV_LENGTHS {
        return max(kv_length(batch), 1u) - 1u;
    }
    return params.kv_len - 1u;
}

// How many keys, from the first, query i sees: none if there is no such query.
fn num_visible_keys(batch: u32, query: u32) -> u32 {
    if Q_LENGTHS || KV_LENGTHS {
        let queries = q_length(batch);
        let keys = kv_length(batch);
        let missing = i32(params.q_len) - i32(queries) - (i32(params.kv_len) - i32(keys));
        let seen = clamp(i32(query) + params.visible + params.from_end * missing, 0, i32(keys));
        return select(0u, u32(seen), query < queries);
    }
    return u32(clamp(i32(query) + params.visible, 0, i32(params.kv_len)));
}

// Keys that some row of a tile sees, and keys that all of them see.
struct TileKeys {
    some: u32,
    every: u32,
}

fn keys_of_tile(group: vec3u, first_row: u32, rows: u32) -> TileKeys {
    let batch = batch_of(group);
    // With heads folded together rows are not in query order: any tile may hold the last query.
    if PACK_GQA {
        return TileKeys(num_visible_keys(batch, params.q_len - 1u), num_visible_keys(batch, 0u));
    }
    let last = min(first_row + rows, params.q_len) - 1u;
    if Q_LENGTHS {
        let inside = max(min(last + 1u, q_length(batch)), 1u) - 1u;
        let some = num_visible_keys(batch, max(first_row, inside));
        return TileKeys(some, min(num_visible_keys(batch, first_row), num_visible_keys(batch, last)));
    }
    return TileKeys(num_visible_keys(batch, last), num_visible_keys(batch, first_row));
}

fn put_lse(row: Row, value: f32) {
    lse[params.lse_base + row.batch * params.lse_batch + row.head * params.lse_head + row.query] = value;
}
