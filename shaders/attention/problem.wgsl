// The attention problem: its uniform, and where rows of its tensors begin.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// A *row* of a kernel is one (head, query) pair of the heads that share its workgroup's keys: with `fold` heads folded
// together, rows run over head-in-group first, then over queries. Offsets and strides in elements.

import package::attention::blocks::{ARRANGED, position_of};

struct Params {
    q_len: u32,
    kv_len: u32,
    q_heads: u32,
    // Query heads a key/value head serves, and how many of them share a workgroup (1 or all).
    group: u32,
    fold: u32,
    // Query i sees the keys below i + visible, if there are that many.
    visible: i32,
    // Factor of the scores, where each head has none of its own: in base 2, or natural if a hook makes it so.
    scale: f32,
    negative_infinity: f32,
    // Workgroups count from here when a problem is split over dispatches.
    first_batch: u32,
    first_head: u32,
    first_row: u32,
    // Where [0, 0, 0, 0] lies relative to the binding (modulo 2^32: a binding may begin later), then strides of batch,
    // head and position.
    q_base: u32, q_batch: u32, q_head: u32, q_row: u32,
    k_base: u32, k_batch: u32, k_head: u32, k_row: u32,
    v_base: u32, v_batch: u32, v_head: u32, v_row: u32,
    o_base: u32, o_batch: u32, o_head: u32, o_row: u32,
    lse_base: u32, lse_batch: u32, lse_head: u32,
    // Lists of blocks (see blocks.wgsl): tiles and heads that have one, and where their parts lie.
    list_tiles: u32, list_heads: u32,
    positions_at: u32,
    order_at: u32, first_at: u32, partial_at: u32, count_at: u32, entries_at: u32, bits_of_at: u32, bits_at: u32,
    // Where the norms of k begin (see scale.wgsl).
    key_norms_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>; // [B, H, Tq]

// Whether heads are folded together. Without it rows are queries, and no row needs a division.
const FOLD: bool = false;

// What a row is: its batch entry, its head and its query within the bound tensors.
struct Row {
    batch: u32,
    head: u32,
    query: u32,
}

// The first query head of a workgroup.
fn first_head(group: vec3u) -> u32 {
    if FOLD {
        return params.first_head + group.y * params.fold;
    }
    return params.first_head + group.y;
}

fn row_count() -> u32 {
    if FOLD {
        return params.q_len * params.fold;
    }
    return params.q_len;
}

// A row beyond the last is moved onto the last, so that loads stay in range.
fn row_at(row: u32, group: vec3u) -> Row {
    let inside = min(row, row_count() - 1u);
    let batch = params.first_batch + group.z;
    let head = first_head(group);
    if FOLD {
        return Row(batch, head + inside / params.q_len, inside % params.q_len);
    }
    return Row(batch, head, position_of(inside));
}

fn q_row(row: Row) -> u32 {
    return params.q_base + row.batch * params.q_batch + row.head * params.q_head + row.query * params.q_row;
}

// The row `ahead` rows after `row`, whose own offset is `offset`: no multiplication where rows are evenly spaced.
fn q_row_after(offset: u32, row: u32, ahead: u32, group: vec3u) -> u32 {
    if FOLD || ARRANGED {
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

// How many keys, from the first, query i sees.
fn keys_seen(query: u32) -> u32 {
    return u32(clamp(i32(query) + params.visible, 0, i32(params.kv_len)));
}

fn put_lse(row: Row, value: f32) {
    lse[params.lse_base + row.batch * params.lse_batch + row.head * params.lse_head + row.query] = value;
}
