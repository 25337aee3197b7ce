// Lists of blocks that the caller's passes left on the device, as the kernels read them: cut for their tiles.
//
// Shapes    counts [B or 1, H or 1, blocks of queries]   indices [B or 1, H or 1, blocks of queries, most]
// Dispatch  y x z = lists of tiles
// Numerics  integers. Indices and counts are not trusted: a block that does not exist is one beyond the last, all of whose
//           keys are hidden, and no list is longer than there is room for.
// Source    block masks as counts and indices: Dong et al. 2024, Flex Attention, section 3

import package::attention::problem::{params};
import package::attention::block_schedule::{list_of, sizes, made};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;
// Whether an expression says what is hidden within the blocks: then all of them may have hidden elements.
const TESTED: bool = false;

struct Given {
    // Room in each list, tiles of a block of queries, and blocks of the kernel in one of keys.
    max: u32, tiles: u32, blocks: u32,
    // How many blocks of queries, and of keys, there are.
    q_blocks: u32, given_kv_blocks: u32,
}

@group(0) @binding(15) var<uniform> given: Given;
@group(0) @binding(12) var<storage, read> counts: array<i32>;
@group(0) @binding(13) var<storage, read> indices: array<i32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let list = list_of(workgroup_of(dispatched));
    if list >= sizes.lists {
        return;
    }
    let tile = list % params.list_tiles;
    let from_list = list / params.list_tiles * given.q_blocks + tile / given.tiles;
    let count = u32(clamp(counts[from_list], 0, i32(given.max))) * given.blocks;
    let first = list * sizes.kv_blocks;
    for (var entry = thread; entry < count; entry += THREADS) {
        let index = u32(indices[from_list * given.max + entry / given.blocks]);
        let known = min(index, given.given_kv_blocks);
        made[params.entries_at + first + entry] = known * given.blocks + entry % given.blocks;
    }
    if thread == 0u {
        made[params.order_at + list] = list;
        made[params.first_at + list] = first;
        made[params.partial_at + list] = select(0u, count, TESTED);
        made[params.count_at + list] = count;
        made[params.bits_of_at + list] = 0u;
    }
}
