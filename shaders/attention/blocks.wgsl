// Which key blocks a tile of rows visits.
//
// With lists, a tile visits the blocks of its list, those first of which some elements are hidden; without, all keys from
// the first to the last that it sees, and every element is tested. A *step* is as many keys as a kernel takes at a time.

import package::attention::problem::{KV_LENGTHS, Q_LENGTHS, PACKED_Q, SHARED_PREFIX, params, place_of_slot};

const LISTS: bool = false;
// Without lists: whether the last tile follows the first, then come the second and the last but one, and so on. Where each
// tile takes longer than the one before, every stretch of them then has its share of the work.
const ZIGZAG: bool = false;
// Whether rows and keys are taken in an order of its own, in which those that see each other lie close together: the lists
// then count places in that order.
const TOKEN_ORDER: bool = false;
// Whether blocks with hidden elements have a bit for each.
const ELEMENT_BITS: bool = false;
// Whether a dispatch visits a part of the keys only, whose results are merged later: a segment. It counts the keys of the
// blocks that there are to visit, whole blocks at a time.
const SPLIT_KV: bool = false;
// Keys of a block: a multiple of a step, and of 32.
const KV_BLOCK: u32 = 64u;
// Words of bits that a row has for a block.
const WORDS: u32 = KV_BLOCK / 32u;
// Rows of a tile, which are those of a block's bits.
const TILE: u32 = 64u;

// All of them count from the beginning of `lists`:
//   order_at     the lists in the order of work
//   first_at     [list] its first entry         entries_at   [entry] a block of keys
//   partial_at   [list] how many of its entries are blocks with hidden elements      count_at   [list] how many there are
//   positions_at [place] which query, and which key, is taken there
//   bits_of_at   [list] the first of its blocks of bits      bits_at   [block][row of the tile][KV_BLOCK / 32] a bit a key
@group(0) @binding(6) var<storage, read> lists: array<u32>;

// The query or key in a place.
fn position_of(place: u32) -> u32 {
    if TOKEN_ORDER {
        return lists[params.positions_at + place];
    }
    return place;
}

// A workgroup's tile, head and batch entry, relative to those that the dispatch begins with; and its list, or its part of a shared
// prefix.
struct Place {
    group: vec3u,
    list: u32,
}

fn place_of(workgroup: vec3u) -> Place {
    if PACKED_Q {
        return Place(place_of_slot(workgroup), 0u);
    }
    if LISTS {
        let list = lists[params.order_at + workgroup.x];
        let over_tiles = list / params.list_tiles;
        let group = vec3u(list % params.list_tiles, over_tiles % params.list_heads + workgroup.y,
            over_tiles / params.list_heads + workgroup.z);
        return Place(group, list);
    }
    if SHARED_PREFIX {
        return Place(workgroup, workgroup.z);
    }
    if ZIGZAG {
        let pair = workgroup.x / 2u;
        let tile = select(pair, params.list_tiles - 1u - pair, workgroup.x % 2u == 1u);
        return Place(vec3u(tile, workgroup.yz), 0u);
    }
    return Place(workgroup, 0u);
}

// A tile's visits: the entries of its list from `entry` on, in steps from `first_step` to before `steps`. Those before
// `partial_steps` may have hidden elements. `bits` is where the bits of the first entry lie.
struct Visits {
    entry: u32,
    first_step: u32,
    partial_steps: u32,
    steps: u32,
    bits: u32,
}

fn visits_of(list: u32, keys: u32, step_keys: u32) -> Visits {
    if SHARED_PREFIX {
        let from_key = list * params.keys_of_part;
        let end = min(min(keys, params.prefix), from_key + params.keys_of_part);
        let steps = (end + step_keys - 1u) / step_keys;
        return Visits(0u, from_key / step_keys, steps, steps, 0u);
    }
    if LISTS {
        let of_block = KV_BLOCK / step_keys;
        var bits = 0u;
        if ELEMENT_BITS {
            bits = params.bits_at + lists[params.bits_of_at + list] * (TILE * WORDS);
        }
        var steps = lists[params.count_at + list] * of_block;
        if Q_LENGTHS || KV_LENGTHS {
            // Where there is no key, none can stand in for others.
            steps = select(steps, 0u, keys == 0u);
        }
        return segment_of(Visits(lists[params.first_at + list], 0u, lists[params.partial_at + list] * of_block, steps, bits),
            step_keys);
    }
    let steps = (keys + step_keys - 1u) / step_keys;
    return segment_of(Visits(0u, 0u, steps, steps, 0u), step_keys);
}

fn segment_of(visits: Visits, step_keys: u32) -> Visits {
    if SPLIT_KV {
        return Visits(visits.entry, params.visit_from / step_keys, visits.partial_steps,
            min(visits.steps, params.visit_end / step_keys), visits.bits);
    }
    return visits;
}

fn first_key(visits: Visits, step: u32, step_keys: u32) -> u32 {
    if LISTS {
        let of_block = KV_BLOCK / step_keys;
        return lists[params.entries_at + visits.entry + step / of_block] * KV_BLOCK + step % of_block * step_keys;
    }
    return step * step_keys;
}

// Where the bits of the step's entry begin. Entries without hidden elements have none: theirs are not looked at.
fn bits_of_step(visits: Visits, step: u32, step_keys: u32) -> u32 {
    let entry = min(step, max(visits.partial_steps, 1u) - 1u) / (KV_BLOCK / step_keys);
    return visits.bits + entry * (TILE * WORDS);
}

// The bits of the 32 keys of a block, `key` among them, that a row of the tile has.
fn word_of_bits(bits: u32, row: u32, key: u32) -> u32 {
    return lists[bits + row * WORDS + key % KV_BLOCK / 32u];
}

// Which of these of a word's keys are visible.
fn visible_by_word(word: u32, keys: vec4u) -> vec4<bool> {
    return ((vec4u(word) >> (keys & vec4u(31u))) & vec4u(1u)) != vec4u(0u);
}

// Whether the keys, which lie in one aligned group of four, are visible to a row of the tile.
fn visible_by_bits(bits: u32, row: u32, keys: vec4u) -> vec4<bool> {
    return visible_by_word(word_of_bits(bits, row, keys.x), keys);
}
