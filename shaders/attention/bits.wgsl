// A bit for every element of the blocks that have hidden ones.
//
// Shapes    bits [list][entry][row of the tile][KV_BLOCK / 32], bit j of word w for key 32 w + j of the block
// Dispatch  x = blocks of keys, y x z = lists
// Storage   none

import package::attention::problem::{params};
import package::attention::blocks::{KV_BLOCK, WORDS, TILE};
import package::attention::block_schedule::{list_of, sizes, made, first_of, visible_from};
import package::shared::vector::{bits_of};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_of(dispatched);
    let list = list_of(workgroup);
    if list >= sizes.lists {
        return;
    }
    if workgroup.x >= made[params.partial_at + list] {
        return;
    }
    let entry = list * sizes.kv_blocks + workgroup.x;
    let first_key = made[params.entries_at + entry] * KV_BLOCK;
    let first = first_of(list);
    for (var word = thread; word < TILE * WORDS; word += THREADS) {
        var bits = 0u;
        for (var quad = 0u; quad < 8u; quad += 1u) {
            let visible = visible_from(first, word / WORDS, first_key + word % WORDS * 32u + quad * 4u);
            bits |= bits_of(visible) << (quad * 4u);
        }
        made[params.bits_at + entry * TILE * WORDS + word] = bits;
    }
}
