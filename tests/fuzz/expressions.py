"""Masks and scores: each text beside what docs/EXPRESSIONS.md says that it means, in numpy.

Functions take a place `p` whose b, h, g, q, k, nq, nk, qp broadcast to [B, H, Tq, Tk], and tables by name."""

import math

import numpy as np


def slopes(heads):
    """ALiBi's slopes (Press et al. 2022)."""
    nearest = 2 ** math.floor(math.log2(heads))
    powers = [2 ** (-8 * (i + 1) / nearest) for i in range(nearest)]
    odd = [2 ** (-8 * (i + 1) / (2 * nearest)) for i in range(0, 2 * nearest, 2)]
    return np.array(powers + odd[: heads - nearest])


def look(table, *indices):
    """A dimension of size 1 broadcasts."""
    return table[tuple(np.zeros_like(i) if size == 1 else i for i, size in zip(indices, table.shape))]


def window(p, left, right):
    return (p.qp - left <= p.k) & (p.k <= p.qp + right)


def raster(p, width):
    return p.q % width - p.k % width, p.q // width - p.k // width


def disc(p, width, radius):
    dx, dy = raster(p, width)
    return dx * dx + dy * dy < radius * radius


def local(p, width, rx, ry):
    dx, dy = raster(p, width)
    return (abs(dx) <= rx) & (abs(dy) <= ry)


def causal(p):
    return p.k <= p.qp


# Text, meaning, tables. Tables: doc (ids of positions), seg (ids of queries and keys), m (u8 of all pairs), n (an int an entry).
MASKS = [
    ("", lambda p: True, ""),
    ("causal", causal, ""),
    ("causal_top_left", lambda p: p.k <= p.q, ""),
    ("window(7, 0)", lambda p: window(p, 7, 0), ""),
    ("causal & window(20, 0)", lambda p: causal(p) & window(p, 20, 0), ""),
    ("window(12, 5)", lambda p: window(p, 12, 5), ""),
    ("causal & (window(16, 0) | sinks(4))", lambda p: causal(p) & (window(p, 16, 0) | (p.k < 4)), ""),
    ("causal & k >= 3", lambda p: causal(p) & (p.k >= 3), ""),
    ("k <= qp", causal, ""),
    ("k < nk - 5", lambda p: p.k < p.nk - 5, ""),
    ("q < nq - 1 & k != q", lambda p: (p.q < p.nq - 1) & (p.k != p.q), ""),
    ("prefix(9) | causal", lambda p: (p.k < 9) | causal(p), ""),
    ("blocks(16)", lambda p: p.q // 16 == p.k // 16, ""),
    ("causal & blocks(24)", lambda p: causal(p) & (p.q // 24 == p.k // 24), ""),
    ("shifted_blocks(16, 5)", lambda p: (p.q + 5) // 16 == (p.k + 5) // 16, ""),
    ("dilated(3)", lambda p: (p.qp - p.k) % 3 == 0, ""),
    ("causal & dilated(2)", lambda p: causal(p) & ((p.qp - p.k) % 2 == 0), ""),
    ("strided(4, 3) | window(3, 3)", lambda p: (p.k // 4 % 3 == 0) | window(p, 3, 3), ""),
    ("disc(8, 3)", lambda p: disc(p, 8, 3), ""),
    ("local(12, 2, 3)", lambda p: local(p, 12, 2, 3), ""),
    ("(q + k) % 3 != 1", lambda p: (p.q + p.k) % 3 != 1, ""),
    ("k < 20 + 7 * h | q < 2", lambda p: (p.k < 20 + 7 * p.h) | (p.q < 2), ""),
    ("!(k > qp) & (h % 2 == 0 | k % 2 == 0)", lambda p: causal(p) & ((p.h % 2 == 0) | (p.k % 2 == 0)), ""),
    ("abs(q - k) < 15 | g == 1", lambda p: (abs(p.q - p.k) < 15) | (p.g == 1), ""),
    ("same(qseg, kseg)", lambda p: p.t["kseg"][p.k] == p.t["qseg"][p.q], "seg"),
    ("causal & same(doc)", lambda p: causal(p) & (look(p.t["doc"], p.b, p.qp) == look(p.t["doc"], p.b, p.k)), "doc"),
    ("m[b, h, q, k] == 1", lambda p: look(p.t["m"], p.b, p.h, p.q, p.k) == 1, "m"),
    ("causal & m[b, h, q, k] != 0", lambda p: causal(p) & (look(p.t["m"], p.b, p.h, p.q, p.k) != 0), "m"),
    ("k < n[b]", lambda p: p.k < look(p.t["n"], p.b), "n"),
    ("k <= q + n[b] - 10", lambda p: p.k <= p.q + look(p.t["n"], p.b) - 10, "n"),
]
# Tables: bias (f32 of all pairs), rel (f32 [H, 33]), pad (f32 of keys: 0 or much less).
SCORES = [
    ("", lambda p, s: s, ""),
    ("s + 700.0", lambda p, s: s + 700.0, ""),
    ("s * 0.5 - 450.0", lambda p, s: s * 0.5 - 450.0, ""),
    ("s - 10000.0 * max(min(k - 9, 1), 0)", lambda p, s: s - 10000.0 * np.clip(p.k - 9, 0, 1), ""),
    ("s + (q - k)", lambda p, s: s + (p.q - p.k), ""),
    ("s - 0.05 * abs(qp - k)", lambda p, s: s - 0.05 * abs(p.qp - p.k), ""),
    ("s + bias[b, h, q, k]", lambda p, s: s + look(p.t["bias"], p.b, p.h, p.q, p.k), "bias"),
    ("s + rel[h, clamp(k - qp, -16, 16) + 16]", lambda p, s: s + p.t["rel"][p.h, np.clip(p.k - p.qp, -16, 16) + 16], "rel"),
    ("s + pad[b, k]", lambda p, s: s + look(p.t["pad"], p.b, p.k), "pad"),
    ("max(s + pad[b, k], -1000.0)", lambda p, s: np.maximum(s + look(p.t["pad"], p.b, p.k), -1000.0), "pad"),
    ("softcap(5.0)", lambda p, s: 5 * np.tanh(s / 5), ""),
    ("softcap(30.0) + bias[b, h, q, k]", lambda p, s: 30 * np.tanh(s / 30) + look(p.t["bias"], p.b, p.h, p.q, p.k), "bias"),
    ("alibi", lambda p, s: s - p.slope[p.h] * abs(p.qp - p.k), ""),
    ("s * (1.0 + 0.25 * h) + 0.5", lambda p, s: s * (1.0 + 0.25 * p.h) + 0.5, ""),
    ("exp(min(s, 2.0))", lambda p, s: np.exp(np.minimum(s, 2.0)), ""),
    ("abs(s) - sqrt(abs(s) + 1.0)", lambda p, s: abs(s) - np.sqrt(abs(s) + 1.0), ""),
    ("s / (1.0 + 0.1 * abs(q - k))", lambda p, s: s / (1.0 + 0.1 * abs(p.q - p.k)), ""),
    ("s + (q - k) % 5", lambda p, s: s + (p.q - p.k) % 5, ""),
    ("log(s * s + 0.25)", lambda p, s: np.log(s * s + 0.25), ""),
]
