// Lists of the blocks that a tile visits, from their classes: in order, those with hidden elements before those without.
//
// Shapes    classes [list][block of keys]   entries [list][block of keys], of which the first are filled
// Dispatch  y x z = lists
// Storage   two counts a thread in workgroup memory
// Source    stable partition by prefix sums: Blelloch 1990, section 1.3

import package::attention::problem::{params};
import package::attention::block_schedule::{list_of, sizes, made};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;

// How many blocks with and without hidden elements come before a thread's, and in all.
var<workgroup> before: array<vec2u, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let list = list_of(workgroup_of(dispatched));
    if list >= sizes.lists {
        return;
    }
    let classes = sizes.classes_at + list * sizes.kv_blocks;
    let share = (sizes.kv_blocks + THREADS - 1u) / THREADS;
    let first = min(thread * share, sizes.kv_blocks);
    let end = min(first + share, sizes.kv_blocks);
    var count = vec2u(0u);
    for (var block = first; block < end; block += 1u) {
        let class_of = made[classes + block];
        count += vec2u(select(0u, 1u, class_of == 1u), select(0u, 1u, class_of == 2u));
    }
    before[thread] = count;
    workgroupBarrier();
    for (var reach = 1u; reach < THREADS; reach *= 2u) {
        var sum = before[thread];
        if thread >= reach {
            sum += before[thread - reach];
        }
        workgroupBarrier();
        before[thread] = sum;
        workgroupBarrier();
    }
    let all = before[THREADS - 1u];
    let mine = before[thread] - count;
    let entries = params.entries_at + list * sizes.kv_blocks;
    var partial_at = entries + mine.x;
    var full_at = entries + all.x + mine.y;
    for (var block = first; block < end; block += 1u) {
        let class_of = made[classes + block];
        if class_of == 1u {
            made[partial_at] = block;
            partial_at += 1u;
        }
        if class_of == 2u {
            made[full_at] = block;
            full_at += 1u;
        }
    }
    if thread == 0u {
        made[params.order_at + list] = list;
        made[params.first_at + list] = list * sizes.kv_blocks;
        made[params.partial_at + list] = all.x;
        made[params.count_at + list] = all.x + all.y;
        made[params.bits_of_at + list] = list * sizes.kv_blocks;
    }
}
