// Copies a small tensor into the one that the kernel reads in place of several (see entry_tables.wgsl).
//
// Shapes    source [words]   gathered [all words]
// Dispatch  x = words / THREADS; a thread takes a word

import package::shared::grid::{workgroup_of};

struct Span {
    // Where the words go, and how many there are.
    to: u32,
    words: u32,
}

const THREADS: u32 = 64u;

@group(0) @binding(14) var<uniform> span: Span;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> gathered: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let word = workgroup_of(dispatched).x * THREADS + thread;
    if word < span.words {
        gathered[span.to + word] = source[word];
    }
}
