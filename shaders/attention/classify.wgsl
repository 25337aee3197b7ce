// Which blocks of keys hold visible elements for a tile of queries, and which of them hold hidden ones.
//
// Shapes    classes [list][block of keys], lists [batch or 1, head or 1, tile of queries]
// Dispatch  x = blocks of keys, y x z = lists
// Storage   two flags of workgroup memory
// Source    the partial and full blocks of Dong et al. 2024, Flex Attention, section 3

import package::attention::problem::{params};
import package::attention::blocks::{KV_BLOCK, TILE};
import package::attention::block_schedule::{list_of, sizes, made, first_of, visible_from, outside};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;
const QUADS: u32 = TILE * (KV_BLOCK / 4u);

var<workgroup> any_visible: atomic<u32>;
var<workgroup> any_hidden: atomic<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_of(dispatched);
    // Workgroups beyond the last list look at it once more, and find the same: lavapipe (Mesa 22.3) crashes over a return here,
    // which depends on uniforms alone.
    let list = min(list_of(workgroup), sizes.lists - 1u);
    // Workgroup memory holds anything at first.
    if thread == 0u {
        atomicStore(&any_visible, 0u);
        atomicStore(&any_hidden, 0u);
    }
    workgroupBarrier();
    let first = first_of(list);
    var seen = vec4<bool>(false);
    var hidden = vec4<bool>(false);
    for (var quad = thread; quad < QUADS; quad += THREADS) {
        let down = quad / (KV_BLOCK / 4u);
        let key = workgroup.x * KV_BLOCK + quad % (KV_BLOCK / 4u) * 4u;
        let visible = visible_from(first, down, key);
        seen = seen | visible;
        hidden = hidden | !(visible | outside(first, down, key));
    }
    if any(seen) {
        atomicStore(&any_visible, 1u);
    }
    if any(hidden) {
        atomicStore(&any_hidden, 1u);
    }
    workgroupBarrier();
    if thread == 0u {
        let class_of = select(0u, select(2u, 1u, atomicLoad(&any_hidden) != 0u), atomicLoad(&any_visible) != 0u);
        made[sizes.classes_at + list * sizes.kv_blocks + workgroup.x] = class_of;
    }
}
