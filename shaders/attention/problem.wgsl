// The attention problem: its uniform, and where rows of its tensors begin.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// Packed sequences lie one after the other: b is the number of one, and i or j counts from its first. Workgroups come in *slots*: a
// sequence has floor(end * fold / TILE) - floor(first * fold / TILE) + 1 of them, enough for its tiles, and a slot finds its sequence
// by where sequences begin. What lies beyond the last one is one more, which has no keys.
//
// A *row* of a kernel is one (head, query) pair of the heads that share its workgroup's keys: with `fold` heads folded
// together, rows run over head-in-group first, then over queries. Offsets and strides in elements.

import package::attention::blocks::{TOKEN_ORDER, TILE, position_of};
import package::attention::entry_tables::{q_length_at, kv_length_at};
import package::attention::keys::{PAGED};

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
    // Packed sequences; pages of a batch entry, and of all; scales of a key/value head.
    sequences: u32,
    pages_of_entry: u32, pages: u32,
    scales_of_head: u32,
    // Scales of a query head.
    q_scales_of_head: u32,
    // Where the small tensors begin in one that was gathered of them.
    q_lengths_at: u32, kv_lengths_at: u32, block_table_at: u32, k_scale_at: u32, v_scale_at: u32, q_scale_at: u32,
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
// Whether the tensors say where packed sequences begin instead, and the last one ends.
const PACKED_Q: bool = false;
const PACKED_K: bool = false;

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

// Queries of a batch entry that there are rows for.
fn queries_of(batch: u32) -> u32 {
    if PACKED_Q {
        return q_length(batch);
    }
    return params.q_len;
}

fn row_count(batch: u32) -> u32 {
    if PACK_GQA {
        return queries_of(batch) * params.fold;
    }
    return queries_of(batch);
}

fn last_row(batch: u32) -> u32 {
    if PACKED_Q {
        return max(row_count(batch), 1u) - 1u;
    }
    return row_count(batch) - 1u;
}

// A row beyond the last is moved onto the last, so that loads stay in range.
fn row_at(row: u32, group: vec3u) -> Row {
    let batch = params.first_batch + group.z;
    let inside = min(row, last_row(batch));
    let head = first_head(group);
    if PACK_GQA {
        let queries = max(queries_of(batch), 1u);
        return Row(batch, head + inside / queries, inside % queries);
    }
    return Row(batch, head, position_of(inside));
}

// Where a packed sequence of queries begins.
fn q_start(sequence: u32) -> u32 {
    // Nothing branches: masks ask for lengths element by element.
    let start = u32(clamp(q_length_at(min(sequence, params.sequences)), 0, i32(params.q_len)));
    return select(select(start, 0u, sequence == 0u), params.q_len, sequence > params.sequences);
}

fn k_start(sequence: u32) -> u32 {
    let start = u32(clamp(kv_length_at(min(sequence, params.sequences)), 0, i32(params.kv_len)));
    return select(start, 0u, sequence == 0u);
}

// Where a query's row lies: its stored batch entry, and its position there. A sequence without queries has a row that is read and
// not written.
struct StoredAt {
    batch: u32,
    position: u32,
}

fn stored_at(row: Row) -> StoredAt {
    if PACKED_Q {
        return StoredAt(0u, min(q_start(row.batch) + row.query, params.q_len - 1u));
    }
    return StoredAt(row.batch, row.query);
}

fn q_row(row: Row) -> u32 {
    let at = stored_at(row);
    return params.q_base + at.batch * params.q_batch + row.head * params.q_head + at.position * params.q_row;
}

// The row `ahead` rows after `row`, whose own offset is `offset`: no multiplication where rows are evenly spaced.
fn q_row_after(offset: u32, row: u32, ahead: u32, group: vec3u) -> u32 {
    if PACK_GQA || TOKEN_ORDER {
        return q_row(row_at(row + ahead, group));
    }
    let batch = params.first_batch + group.z;
    let last = Row(batch, first_head(group), last_row(batch));
    return min(offset + ahead * params.q_row, q_row(last));
}

fn o_row(row: Row) -> u32 {
    let at = stored_at(row);
    return params.o_base + at.batch * params.o_batch + row.head * params.o_head + at.position * params.o_row;
}

// The key/value head that a workgroup's rows share.
fn kv_head(group: vec3u) -> u32 {
    return first_head(group) / params.group;
}

fn k_head_offset(group: vec3u) -> u32 {
    if PAGED {
        return params.k_base + kv_head(group) * params.k_head;
    }
    if PACKED_K {
        return params.k_base + kv_head(group) * params.k_head + k_start(batch_of(group)) * params.k_row;
    }
    return params.k_base + (params.first_batch + group.z) * params.k_batch + kv_head(group) * params.k_head;
}

fn v_head_offset(group: vec3u) -> u32 {
    if PAGED {
        return params.v_base + kv_head(group) * params.v_head;
    }
    if PACKED_K {
        return params.v_base + kv_head(group) * params.v_head + k_start(batch_of(group)) * params.v_row;
    }
    return params.v_base + (params.first_batch + group.z) * params.v_batch + kv_head(group) * params.v_head;
}

fn batch_of(group: vec3u) -> u32 {
    return params.first_batch + group.z;
}

fn q_length(batch: u32) -> u32 {
    if PACKED_Q {
        let first = q_start(batch);
        return max(q_start(batch + 1u), first) - first;
    }
    if Q_LENGTHS {
        return u32(clamp(q_length_at(batch), 0, i32(params.q_len)));
    }
    return params.q_len;
}

fn kv_length(batch: u32) -> u32 {
    var length = params.kv_len;
    if PACKED_K {
        let first = k_start(batch);
        length = max(k_start(batch + 1u), first) - first;
    } else if KV_LENGTHS {
        length = u32(clamp(kv_length_at(min(batch, params.sequences - 1u)), 0, i32(params.kv_len)));
    }
    if PACKED_Q {
        // Rows beyond the last sequence see no key.
        length = select(length, 0u, batch >= params.sequences);
    }
    return length;
}

// The last key, which stands in for those beyond it: what lies there may not be a number.
fn last_key(batch: u32) -> u32 {
    if KV_LENGTHS || PACKED_Q {
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
    if PACKED_Q {
        // Slots may be more than tiles.
        if first_row >= row_count(batch) {
            return TileKeys(0u, 0u);
        }
    }
    // With heads folded together rows are not in query order: any tile may hold the last query.
    if PACK_GQA {
        return TileKeys(num_visible_keys(batch, queries_of(batch) - 1u), num_visible_keys(batch, 0u));
    }
    let last = min(first_row + rows, queries_of(batch)) - 1u;
    if Q_LENGTHS {
        let inside = max(min(last + 1u, q_length(batch)), 1u) - 1u;
        let some = num_visible_keys(batch, max(first_row, inside));
        return TileKeys(some, min(num_visible_keys(batch, first_row), num_visible_keys(batch, last)));
    }
    return TileKeys(num_visible_keys(batch, last), num_visible_keys(batch, first_row));
}

fn lse_at(row: Row) -> u32 {
    let at = stored_at(row);
    return params.lse_base + at.batch * params.lse_batch + row.head * params.lse_head + at.position;
}

fn put_lse(row: Row, value: f32) {
    lse[lse_at(row)] = value;
}

// The packed sequence that a query is of: the last one that begins with it or before.
fn sequence_of_query(query: u32) -> u32 {
    var sequence = 0u;
    var beyond = params.sequences;
    for (; beyond - sequence > 1u; ) {
        let middle = (sequence + beyond) / 2u;
        if q_start(middle) <= query {
            sequence = middle;
        } else {
            beyond = middle;
        }
    }
    return sequence;
}

// The same of a key.
fn sequence_of_key(key: u32) -> u32 {
    var sequence = 0u;
    var beyond = params.sequences;
    for (; beyond - sequence > 1u; ) {
        let middle = (sequence + beyond) / 2u;
        if k_start(middle) <= key {
            sequence = middle;
        } else {
            beyond = middle;
        }
    }
    return sequence;
}

// The first slot of a packed sequence.
fn first_slot(sequence: u32) -> u32 {
    return q_start(sequence) * params.fold / TILE + sequence;
}

// A slot's tile, head and sequence: the last one that begins with it or before.
fn place_of_slot(workgroup: vec3u) -> vec3u {
    var sequence = 0u;
    var beyond = params.sequences + 1u;
    for (; beyond - sequence > 1u; ) {
        let middle = (sequence + beyond) / 2u;
        if first_slot(middle) <= workgroup.x {
            sequence = middle;
        } else {
            beyond = middle;
        }
    }
    return vec3u(workgroup.x - first_slot(sequence), workgroup.y, sequence);
}
