"""How keys, values and queries of a batch are laid out for serving: packed sequences, pages, integers, a prefix that is shared."""

import numpy as np

from tensors import rearranged

PAGES = [16, 16, 32, 48]


def draw(rng, c):
    """What a kernel serves, beside its widths and expressions. `c` says already which lengths there are."""
    pick = lambda of: of[rng.integers(len(of))]
    c.page = pick(PAGES) if rng.random() < 0.2 else 0
    # Tables have the sizes of an entry, packed ones count from 0 in each.
    free = not (c.tables or c.kv_len or c.blocks)
    c.packed = pick(["q", "both", "both", "one"] + ([] if c.page else ["k"])) if free and rng.random() < 0.3 else ""
    if c.page and c.packed:
        c.packed = "q"
    even = c.dim % 2 == 0 and c.value_dim % 2 == 0
    c.integers = pick(["i8", "i8", "i4"] if even else ["i8"]) if rng.random() < 0.15 else ""
    c.quant_block = int(pick([1, 16, 32, 64, 100]))
    c.shared = not c.packed and not c.blocks and rng.random() < 0.2
    c.splits = int(pick([1, 2, 3, 8])) if not c.shared and rng.random() < 0.15 else 0


def lengths(rng, c, batch, q_len, kv_len, nq, nk):
    """The lengths of entries whose rows are packed."""
    if c.packed in ("q", "both", "one"):
        nq = rng.integers(0, q_len + 1, batch).astype(np.int32)
    if c.packed == "one":
        nq = np.minimum(nq, kv_len).astype(np.int32)
        return nq, nq
    if c.packed in ("k", "both"):
        nk = rng.integers(0, kv_len + 1, batch).astype(np.int32)
    return nq, nk


def integers(rng, c, shape, shared):
    """Integers [B, G, Tk, D], their scales [B, G, blocks], and what they stand for."""
    low, high = (-8, 8) if c.integers == "i4" else (-127, 128)
    whole = rng.integers(low, high, shape).astype(np.int8)
    # Packed keys have scales for all of them together.
    blocks = -(-shape[2] * (shape[0] if c.packed else 1) // c.quant_block)
    scales = (rng.uniform(0.2, 2.0, (*shape[:2], blocks)) / high).astype(np.float32)
    whole[:, :, :shared] = whole[0, :, :shared]
    scales[:, :, : -(-shared // c.quant_block)] = scales[0, :, : -(-shared // c.quant_block)]
    of_key = scales.astype(np.float64).repeat(c.quant_block, 2)[:, :, : shape[2]]
    return whole, scales, whole * of_key[..., None]


def nibbles(whole):
    """Two in a byte, the even element in its lower half."""
    halves = whole.astype(np.uint8) & 15
    return halves[..., ::2] | halves[..., 1::2] << 4


def borders(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def pack(tensor, counts, total):
    """Rows [B, heads, T, D] of entries with so many of them, one after the other: [1, heads, total, D]."""

    def one(dense):
        out = np.zeros((1, dense.shape[1], total, *dense.shape[3:]), dense.dtype)
        for entry, (first, end) in enumerate(zip(borders(counts), borders(counts)[1:])):
            out[0, :, first:end] = dense[entry, :, : end - first]
        return out

    return rearranged(tensor, one)


def page_table(rng, c, batch, columns, shared):
    """Pages of entries in any order, some of them missing, those of a prefix shared; and how many there are."""
    used = batch * columns
    count = used + int(rng.integers(3))
    table = rng.permutation(count)[:used].reshape(batch, columns).astype(np.int32)
    table[rng.random(table.shape) < 0.08] = -1
    table[:, : shared // c.page] = table[0, : shared // c.page]
    return table, count


def paged(tensor, table, count, page):
    """Rows [B, heads, T, D] in pools of pages [count, heads, page, D]."""

    def one(dense):
        out = np.zeros((count, dense.shape[1], page, dense.shape[3]), dense.dtype)
        for (entry, column), number in np.ndenumerate(table):
            if number >= 0:
                out[number] = dense[entry, :, column * page : (column + 1) * page]
        return out

    return rearranged(tensor, one)
