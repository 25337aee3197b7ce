// How many turns an invocation's loops make: a driver may end them when they have made too many, and say nothing.
//
// Shapes    nests [workgroups, 3]: turns of a loop, of one within it, and of one after both   counts [workgroups] all turns made
// Dispatch  x = one workgroup a nest

@group(0) @binding(0) var<storage, read> nests: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3u) {
    let outer = nests[group.x * 3u];
    let inner = nests[group.x * 3u + 1u];
    let after = nests[group.x * 3u + 2u];
    // What a turn adds depends on those before it, so that no compiler finds the sum without making them.
    var turns = 0u;
    for (var i = 0u; i < outer; i += 1u) {
        turns += 1u;
        for (var j = 0u; j < inner; j += 1u) {
            turns += 1u + (turns >> 31u);
        }
    }
    for (var i = 0u; i < after; i += 1u) {
        turns += 1u + (turns >> 31u);
    }
    counts[group.x] = turns;
}
