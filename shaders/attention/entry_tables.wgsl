// The small tensors that say what batch entries have: each in a binding of its own or, where those would be more than an adapter binds,
// all in one that a pass has gathered them into.

import package::attention::problem::{params};

const GATHERED: bool = false;

@group(0) @binding(10) var<storage, read> q_lengths: array<i32>; // [B], of packed sequences [B + 1]
@group(0) @binding(11) var<storage, read> kv_lengths: array<i32>; // the same
@group(0) @binding(12) var<storage, read> block_table: array<i32>; // [B, pages of an entry]
@group(0) @binding(13) var<storage, read> gathered: array<u32>;
@group(0) @binding(16) var<storage, read> k_scale: array<f32>; // [B, G, blocks of keys]
@group(0) @binding(17) var<storage, read> v_scale: array<f32>; // the same
@group(0) @binding(18) var<storage, read> q_scale: array<f32>; // [B, H, blocks of queries]

fn q_length_at(at: u32) -> i32 {
    if GATHERED {
        return bitcast<i32>(gathered[params.q_lengths_at + at]);
    }
    return q_lengths[at];
}

fn kv_length_at(at: u32) -> i32 {
    if GATHERED {
        return bitcast<i32>(gathered[params.kv_lengths_at + at]);
    }
    return kv_lengths[at];
}

fn page_number_at(at: u32) -> i32 {
    if GATHERED {
        return bitcast<i32>(gathered[params.block_table_at + at]);
    }
    return block_table[at];
}

fn k_scale_at(at: u32) -> f32 {
    if GATHERED {
        return bitcast<f32>(gathered[params.k_scale_at + at]);
    }
    return k_scale[at];
}

fn v_scale_at(at: u32) -> f32 {
    if GATHERED {
        return bitcast<f32>(gathered[params.v_scale_at + at]);
    }
    return v_scale[at];
}

fn q_scale_of(at: u32) -> f32 {
    if GATHERED {
        return bitcast<f32>(gathered[params.q_scale_at + at]);
    }
    return q_scale[at];
}
