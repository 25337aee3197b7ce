// Which blocks of agents each block of agents attends to: counts and indices, as Foveal reads them.

@group(0) @binding(0) var<uniform> world: World;
// Of each sorted agent, in steps of the lattice: where it looks, and where it is.
@group(0) @binding(1) var<storage, read> spots: array<vec4f>;
// Of each block the least and greatest of where its agents look; then of where they are.
@group(0) @binding(2) var<storage, read_write> boxes: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> counts: array<i32>;
@group(0) @binding(4) var<storage, read_write> indices: array<i32>;
// Reach of each list, squared: agents no further than this from where an agent of the block looks are in it.
@group(0) @binding(5) var<storage, read_write> reaches: array<f32>;

const THREADS: u32 = 64u;
// The heads' radii in steps of the lattice, squared: 4 and 1.5 units, where weights have fallen to 2^-8 and 2^-9.
const REACH = array<f32, HEADS>(4096.0, 576.0);
// How often a radius is halved between what fits and what does not.
const ROUNDS: u32 = 12u;

@compute @workgroup_size(THREADS)
fn bound(@builtin(global_invocation_id) thread: vec3u) {
    let block = thread.x;
    if block >= world.blocks {
        return;
    }
    let first = block * BLOCK;
    var least = spots[first];
    var greatest = least;
    for (var at = first + 1u; at < min(first + BLOCK, world.agents); at += 1u) {
        least = min(least, spots[at]);
        greatest = max(greatest, spots[at]);
    }
    boxes[2u * block] = vec4f(least.xy, greatest.xy);
    boxes[2u * block + 1u] = vec4f(least.zw, greatest.zw);
}

// Distances are of whole steps, and squared: exact.
fn from_box(spot: vec2f, box: vec4f) -> f32 {
    let apart = max(max(box.xy - spot, spot - box.zw), vec2f(0.0));
    return dot(apart, apart);
}

fn between(a: vec4f, b: vec4f) -> f32 {
    let apart = max(max(b.xy - a.zw, a.xy - b.zw), vec2f(0.0));
    return dot(apart, apart);
}

// The box of where the agents of a block look, or, as the second head does not look ahead, of where they are.
fn box_of_queries(head: u32, block: u32) -> vec4f {
    return boxes[2u * block + u32(head > 0u)];
}

// Whether any agent of one block may be within reach of one of another: of its box, as well as the other way round.
fn touch(head: u32, queries: u32, keys: u32, reach: f32) -> bool {
    let looks = box_of_queries(head, queries);
    let there = boxes[2u * keys + 1u];
    if between(looks, there) > reach {
        return false;
    }
    var near = false;
    for (var at = queries * BLOCK; at < min((queries + 1u) * BLOCK, world.agents) && !near; at += 1u) {
        near = from_box(select(spots[at].zw, spots[at].xy, head == 0u), there) <= reach;
    }
    if !near {
        return false;
    }
    for (var at = keys * BLOCK; at < min((keys + 1u) * BLOCK, world.agents); at += 1u) {
        if from_box(spots[at].zw, looks) <= reach {
            return true;
        }
    }
    return false;
}

// Writes the blocks within reach, the agents' own one first, as far as there is room. Returns how many there are.
fn fill(list: u32, reach: f32) -> u32 {
    let head = list / world.blocks;
    let own = list % world.blocks;
    indices[list * world.most] = i32(own);
    var count = 1u;
    for (var block = 0u; block < world.blocks; block += 1u) {
        if block != own && touch(head, own, block, reach) {
            if count < world.most {
                indices[list * world.most + count] = i32(block);
            }
            count += 1u;
        }
    }
    return count;
}

@compute @workgroup_size(THREADS)
fn list(@builtin(global_invocation_id) thread: vec3u) {
    let list = thread.x;
    if list >= HEADS * world.blocks {
        return;
    }
    var reach = REACH[list / world.blocks];
    var count = fill(list, reach);
    if count > world.most {
        // The nearest that there is room for: those within the largest radius that fits.
        var fits = -1.0;
        var too_far = reach;
        for (var round = 0u; round < ROUNDS; round += 1u) {
            let middle = floor(0.5 * (max(fits, 0.0) + too_far));
            if fill(list, middle) > world.most {
                too_far = middle;
            } else {
                fits = middle;
            }
        }
        reach = fits;
        count = min(fill(list, max(reach, 0.0)), world.most);
    }
    counts[list] = i32(count);
    reaches[list] = reach;
}
