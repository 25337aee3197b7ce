// How many turns an invocation's loops make: a driver may end them when they have made too many, and say nothing.
//
// Shapes    nest [3]: turns of a loop, of one within it, and of one after both   count [1]: all turns made
// Dispatch  one workgroup of one thread

@group(0) @binding(0) var<storage, read> nest: array<u32>;
@group(0) @binding(1) var<storage, read_write> count: array<u32>;

@compute @workgroup_size(1)
fn main() {
    let outer = nest[0];
    let inner = nest[1];
    let after = nest[2];
    // The addition of a turn depends on those before it, so that no compiler finds the sum without making them.
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
    count[0] = turns;
}
