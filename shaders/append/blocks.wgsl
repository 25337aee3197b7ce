// New rows of k or v, rotated, into a quantised cache: the scales of the blocks that they lie in, and all rows of these.
//
//   scale = max(max |x| / N, |scale'| max |i'| / N)      i = round(x / scale), old rows round(i' scale' / scale)
//
// Shapes    x (bound as v) [B, G, T, D] or [B, T, G, D]   scales [B, G, blocks]   cache [B, G, S, D] or [B, S, G, D], or
//           [pages, G, page, D] or [pages, page, G, D], of BITS an element
// Dispatch  x = blocks that new rows may lie in, y = G, z = B; a workgroup a block, a thread a word of a row at a time
// Storage   a row is whole words. Blocks without new rows stay as they are.
// Numerics  f32. A new value that is not finite, or an old scale over old rows, makes the scale NaN: old integers stay, new
// ones are 0. A scale below the least normal number is 0.

import package::append::problem::{
    append, WIDTH, NOWHERE, RING, new_rows, end_of, first_position, slot_of, row_of, new_row4, row4
};
import package::shared::grid::{workgroup_of};
import package::shared::math::{is_finite};

// Bits of an element: 8, or 4 with the even element in the lower half of a byte.
const BITS: u32 = 8u;
const THREADS: u32 = 64u;
// Elements of a word, words of a row, vectors of four in a word.
const ELEMENTS = 32u / BITS;
const WORDS = WIDTH / ELEMENTS;
const UNROLL_FOURS = ELEMENTS / 4u;
const_assert BITS == 8u || BITS == 4u;
const_assert WIDTH % ELEMENTS == 0u;

// The largest integer.
const MOST = f32((1u << (BITS - 1u)) - 1u);
const LEAST_NORMAL: f32 = 1.1754943508222875e-38;

@group(0) @binding(4) var<storage, read_write> cache: array<u32>;
@group(0) @binding(10) var<storage, read_write> scales: array<f32>; // [B, G, blocks]

// Bits of the largest |x| of new rows, and the largest |i| of old ones, each plus one: 0 where there is no such row.
var<workgroup> largest_new: atomic<u32>;
var<workgroup> largest_old: atomic<u32>;

// Four integers of a word, from element `first` on.
fn integers_of(word: u32, first: u32) -> vec4i {
    let up = vec4u(32u - BITS) - (vec4u(0u, 1u, 2u, 3u) + vec4u(first)) * BITS;
    return bitcast<vec4i>(vec4u(word) << up) >> vec4u(32u - BITS);
}

// The same, as a word that has nothing else.
fn word_of(integers: vec4i, first: u32) -> u32 {
    let own = bitcast<vec4u>(integers) & vec4u((1u << BITS) - 1u);
    let four = own << ((vec4u(0u, 1u, 2u, 3u) + vec4u(first)) * BITS);
    return four.x | four.y | four.z | four.w;
}

fn rounded(x: vec4f) -> vec4i {
    return vec4i(clamp(round(x), vec4f(-MOST), vec4f(MOST)));
}

// A slot: the new row in it, or NOWHERE and whether it holds an old one.
struct Slot {
    t: u32,
    row: u32,
    old: bool,
}

fn slot_at(batch: u32, head: u32, slot: u32) -> Slot {
    let end = end_of(batch);
    let start = first_position(batch);
    // The new position in this slot, if there is one: the last that falls on it.
    var position = i32(slot);
    if RING {
        let back = (u32(max(end, 1)) - 1u + append.slots - slot) % append.slots;
        position = end - 1 - i32(back);
    }
    let is_new = (position >= max(start, 0)) & (position < end) & (slot < append.slots);
    let old = !is_new & (i32(slot) < start) & (slot < append.slots);
    let row = row_of(batch, head, select(NOWHERE, slot, is_new | old));
    return Slot(select(NOWHERE, u32(position - start), is_new), row, old);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let batch = append.first_batch + group.z;
    let head = append.first_head + group.y;
    let begin = u32(max(first_position(batch), 0));
    var block = begin / append.quant_block + append.first_row + group.x;
    if RING {
        // The first new row that stays.
        let stays = max(begin, u32(max(end_of(batch) - i32(append.slots), 0)));
        block = (stays % append.slots / append.quant_block + append.first_row + group.x) % append.blocks;
    }
    let inside = block < append.blocks;
    let scale_at = (batch * append.heads + head) * append.blocks + min(block, append.blocks - 1u);
    let was = scales[scale_at];
    let first_slot = block * append.quant_block;
    let items = select(0u, append.quant_block * WORDS, inside);
    if thread == 0u {
        atomicStore(&largest_new, 0u);
        atomicStore(&largest_old, 0u);
    }
    workgroupBarrier();

    for (var item = thread; item < items; item += THREADS) {
        let slot = slot_at(batch, head, first_slot + item / WORDS);
        let word = item % WORDS;
        if (slot.row != NOWHERE) & (slot.t != NOWHERE) {
            for (var i = 0u; i < UNROLL_FOURS; i += 1u) {
                let size = bitcast<vec4u>(new_row4(batch, head, slot.t, word * ELEMENTS + 4u * i)) & vec4u(0x7fffffffu);
                atomicMax(&largest_new, max(max(size.x, size.y), max(size.z, size.w)) + 1u);
            }
        } else if slot.row != NOWHERE {
            let held = cache[slot.row / ELEMENTS + word];
            for (var i = 0u; i < UNROLL_FOURS; i += 1u) {
                let size = abs(integers_of(held, 4u * i));
                atomicMax(&largest_old, u32(max(max(size.x, size.y), max(size.z, size.w))) + 1u);
            }
        }
    }
    workgroupBarrier();
    let of_new = atomicLoad(&largest_new);
    let of_old = atomicLoad(&largest_old);
    if of_new == 0u {
        return;
    }
    let size = bitcast<f32>(of_new - 1u);
    let integer = f32(max(of_old, 1u) - 1u);
    // Exactly the old scale where the largest integer says so.
    let kept = select(abs(was) * (integer / MOST), abs(was), integer == MOST);
    let odd = !is_finite(size) | ((of_old != 0u) & !is_finite(was));
    let scale = max(select(kept, 0.0, of_old == 0u), size / MOST);
    let zero = odd | (scale < LEAST_NORMAL);
    let divisor = select(scale, 1.0, zero);
    let factor = select(was / divisor, 1.0, was == scale);

    for (var item = thread; item < items; item += THREADS) {
        let slot = slot_at(batch, head, first_slot + item / WORDS);
        let word = item % WORDS;
        if slot.row == NOWHERE {
            continue;
        }
        let at = slot.row / ELEMENTS + word;
        var made = 0u;
        if slot.t != NOWHERE {
            for (var i = 0u; i < UNROLL_FOURS; i += 1u) {
                let x = new_row4(batch, head, slot.t, word * ELEMENTS + 4u * i);
                made |= word_of(rounded(select(x / divisor, vec4f(), vec4<bool>(zero))), 4u * i);
            }
        } else {
            let held = cache[at];
            for (var i = 0u; i < UNROLL_FOURS; i += 1u) {
                let x = vec4f(integers_of(held, 4u * i)) * factor;
                made |= word_of(rounded(select(x, vec4f(), vec4<bool>(zero))), 4u * i);
            }
            made = select(made, held, odd);
        }
        cache[at] = made;
    }
    if thread == 0u {
        let bits = select(bitcast<u32>(scale), 0u, zero);
        scales[scale_at] = bitcast<f32>(select(bits, 0x7fc00000u, odd));
    }
}
