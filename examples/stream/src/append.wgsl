// Appends both memories' outputs to their histories, and advances the clock. One workgroup in all, so that no other
// reads the clock while it changes.

const ROW = 512u;
const THREADS = 256u;

struct Clock {
    keys: i32,
    token: u32,
}

@group(0) @binding(0) var<storage, read> windowed: array<f32>;
@group(0) @binding(1) var<storage, read> linear: array<f32>;
@group(0) @binding(2) var<storage, read_write> clock: Clock;
// [tokens, ROW] each.
@group(0) @binding(3) var<storage, read_write> windowed_history: array<f32>;
@group(0) @binding(4) var<storage, read_write> linear_history: array<f32>;

@compute @workgroup_size(THREADS)
fn append(@builtin(local_invocation_index) thread: u32) {
    let token = clock.token;
    for (var at = thread; at < ROW; at += THREADS) {
        windowed_history[token * ROW + at] = windowed[at];
        linear_history[token * ROW + at] = linear[at];
    }
    storageBarrier();
    if thread == 0u {
        clock.token = token + 1u;
    }
}
