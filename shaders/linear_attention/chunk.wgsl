// Chunks: runs of CHUNK rows of a sequence, and where what is computed of them lies.
//
// A chunk has a *slot*. Sequence s owns slots from floor(start * STEPS / CHUNK) + s on if sequences are packed, which is never
// more than it needs; slots in between are idle. Scratch has room for each pair of a value head and a slot.

import package::shared::grid::{workgroup_of};
import package::linear_attention::problem::{RAGGED, PADDED, STEPS, Sequence, params, cu_seqlens, sequence_at, place_of};

const CHUNK: u32 = 64u;

struct Chunk {
    sequence: Sequence,
    // The sequence's number among all.
    index: u32,
    slot: u32,
    // The chunk's first row within the sequence, and how many it has: none if the slot is idle.
    first: u32, rows: u32,
}

fn first_slot_of(index: u32) -> u32 {
    if RAGGED {
        return u32(clamp(cu_seqlens[index], 0, i32(params.len))) * STEPS / CHUNK + index;
    }
    return (index - params.piece_sequence) * params.chunks;
}

fn chunks_of(sequence: Sequence) -> u32 {
    return (sequence.len * STEPS + CHUNK - 1u) / CHUNK;
}

// The chunk of that number of a sequence.
fn chunk_of(sequence: Sequence, index: u32, number: u32) -> Chunk {
    let first = number * CHUNK;
    let rows = sequence.len * STEPS;
    return Chunk(sequence, index, first_slot_of(index) + number, first, min(max(rows, first) - first, CHUNK));
}

// The chunk of a slot.
fn chunk_at(slot: u32) -> Chunk {
    var index = params.piece_sequence;
    if RAGGED {
        var end = params.sequences;
        while end - index > 1u {
            let middle = (index + end) / 2u;
            if first_slot_of(middle) <= slot {
                index = middle;
            } else {
                end = middle;
            }
        }
    } else {
        index += slot / params.chunks;
    }
    return chunk_of(sequence_at(index), index, slot - first_slot_of(index));
}

struct Row {
    token: u32,
    // Of k, v and beta.
    row: u32,
    // Whether there is such a row, whether it changes the state, whether its token's gate acts before it, and whether its
    // token's output is read after it.
    exists: bool,
    kept: bool,
    gated: bool,
    emits: bool,
}

// The j-th row of a chunk. Beyond the last, the last stands in and is not kept.
fn row_of(chunk: Chunk, j: u32) -> Row {
    let i = chunk.first + min(j, chunk.rows - 1u);
    let place = place_of(chunk.sequence, i / STEPS);
    let token = chunk.sequence.start + place;
    let exists = j < chunk.rows;
    // Rows are looked up often: `&&` would be a branch each time, and drivers that run on the CPU take minutes over hundreds.
    var kept = exists;
    if PADDED {
        kept = exists & (place < chunk.sequence.kept);
    }
    var gated = kept;
    var emits = exists;
    if STEPS > 1u {
        gated = kept & (i % STEPS == 0u);
        emits = exists & (i % STEPS == STEPS - 1u);
    }
    return Row(token, token * STEPS + i % STEPS, exists, kept, gated, emits);
}

// The place of a segment and value head in scratch.
fn segment_of(sequence: u32, head: u32, segment: u32) -> u32 {
    return ((head - params.piece_head) * params.piece_sequences + sequence - params.piece_sequence) * params.segments + segment;
}

// The place of a slot and value head in scratch.
fn pair_of(head: u32, slot: u32) -> u32 {
    return (head - params.piece_head) * params.slots + slot;
}

// A workgroup's part of a pass over all chunks.
struct Work {
    chunk: Chunk,
    batch: u32, head: u32,
    // The place of the chunk and the head in scratch.
    pair: u32,
    // Which of the chunk's tiles.
    tile: u32,
}

fn work_of(dispatched: vec3u, tiles: u32) -> Work {
    let group = workgroup_of(dispatched);
    let chunk = chunk_at(params.first_slot + group.x / tiles);
    let head = params.first_head + group.y;
    return Work(chunk, chunk.sequence.batch, head, pair_of(head, chunk.slot), group.x % tiles);
}
