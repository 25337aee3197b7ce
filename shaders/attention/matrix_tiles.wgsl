// Keys and values as `matrix_pack` leaves them for `matrix`: f16, in tiles of KEYS keys, one after the other.
//
//   tile      [KEYS][KEY_WIDTH] of k, then [VALUE_WIDTH][KEYS] of v transposed, then FLAG_WIDTH elements, the first of which says
//             whether a value of the tile is not finite
//   tiles     [B][G][tiles of an entry]; of packed sequences [G][slots], where a sequence begins a tile of its own
//
// Keys, columns and whole rows that do not exist are zero: a weight of zero would not keep out what lies there. In the place of a
// value that is not finite stands -0, which no other value is.

import package::attention::problem::{HEAD_DIM, VALUE_DIM, PACKED_K, params, k_start};
import package::shared::matrix::{SIDE};

// Keys of a tile.
const KEYS: u32 = 32u;
const KEY_WIDTH: u32 = (HEAD_DIM + SIDE - 1u) / SIDE * SIDE;
const VALUE_WIDTH: u32 = (VALUE_DIM + SIDE - 1u) / SIDE * SIDE;
const VALUES_AT: u32 = KEYS * KEY_WIDTH;
const FLAG_AT: u32 = VALUES_AT + VALUE_WIDTH * KEYS;
const FLAG_WIDTH: u32 = 16u;
const PACKED_TILE: u32 = FLAG_AT + FLAG_WIDTH;
const_assert KEYS % SIDE == 0u;

// The first slot of a packed sequence's keys.
fn first_key_slot(sequence: u32) -> u32 {
    return k_start(sequence) / KEYS + sequence;
}

// The first tile of a batch entry's key/value head.
fn first_tile(batch: u32, kv_head: u32) -> u32 {
    if PACKED_K {
        return kv_head * (params.kv_len / KEYS + params.sequences + 1u) + first_key_slot(batch);
    }
    return (batch * (params.q_heads / params.group) + kv_head) * ((params.kv_len + KEYS - 1u) / KEYS);
}
