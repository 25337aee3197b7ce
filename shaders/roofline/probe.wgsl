// Parts that all measurements of an adapter's rates share: the length of the loop, and a result that keeps the work
// alive.

struct Params {
    // Turns of the measured loop.
    turns: u32,
    // Run-time values, so that nothing can be computed ahead of time.
    scale: f32,
    offset: f32,
    // Elements of `data`, a power of two.
    data_len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<f32>; // [workgroups, THREADS]
