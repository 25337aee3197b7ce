"""Random rows for caches, and what these hold then, row by row from the definition."""

import types

import numpy as np

from tensors import rearranged, stored


def kernel(rng):
    pick = lambda of: of[rng.integers(len(of))]
    c = types.SimpleNamespace(
        dims=tuple(int(pick([2, 4, 8, 17, 33, 64, 80, 128])) for _ in range(2)), dtype=pick(["f32", "f32", "f16", "bf16"]),
        layout=pick(["bhtd", "bthd"]), form=pick(["plain", "plain", "ring", "pages"]), page=int(pick([16, 16, 32])),
        kv_len=rng.random() < 0.8, rope=pick(["", "halves", "pairs"]), pos=False, q_rotated=False, rope_dim=0,
    )
    c.cached = pick([c.dtype, c.dtype, "f32", "f16", "bf16"])
    c.q_len = pick(["", "own", "same"]) if c.kv_len else pick(["", "own"])
    if c.rope:
        # An even part of the row.
        whole = c.dims[0] % 2 == 0
        c.rope_dim = 0 if whole and rng.random() < 0.5 else 2 * int(rng.integers(1, c.dims[0] // 2 + 1))
        c.pos, c.q_rotated = rng.random() < 0.3, rng.random() < 0.3
    c.types = {"k_cache": c.cached, "v_cache": c.cached, "q_rotated": c.dtype}
    return c


def problem(c, rng, fancy):
    pick = lambda of: of[rng.integers(len(of))]
    batch, heads, length = int(pick([1, 2, 3])), int(pick([1, 2, 3])), int(pick([1, 1, 2, 5, 17, 64, 70]))
    slots = int(pick([70, 71, 96, 128]))
    if c.form == "pages":
        slots = -(-slots // c.page) * c.page
    options, tensors = {"op": "append", "layout": c.layout}, {}
    room = 3 * slots if c.form == "ring" else slots
    new = rng.integers(0, length + 1, batch) if c.q_len else np.full(batch, length)
    ends = new
    if c.kv_len:
        ends = new if c.q_len == "same" else np.array([rng.integers(n, room + 1) for n in new])
        tensors["n"], options["kv_len"] = ends.astype(np.int32), "n"
    if c.q_len:
        name = "n" if c.q_len == "same" else "m"
        tensors[name], options["q_len"] = new.astype(np.int32), name
    positions = ends[:, None] - new[:, None] + np.arange(length)
    turned, base = positions, 10000.0
    if c.rope:
        options["rope"] = c.rope
        if c.rope_dim:
            options["rope_dim"] = c.rope_dim
        if rng.random() < 0.4:
            base = options["rope_base"] = 500000.0
        if c.pos:
            turned = rng.integers(0, 3000, (batch, length))
            tensors["pos"], options["pos"] = turned.astype(np.int32), "pos"

    k, v = (stored(rng.standard_normal((batch, heads, length, dim)), c.dtype) for dim in c.dims)
    table, shape = None, (batch, heads, slots)
    if c.form == "pages":
        columns = slots // c.page
        count = batch * columns + int(rng.integers(3))
        table = rng.permutation(count)[: batch * columns].reshape(batch, columns).astype(np.int32)
        # Pages behind an entry's rows need not be there.
        table[(np.arange(columns) * c.page >= ends[:, None]) & (rng.random(table.shape) < 0.5)] = -1
        tensors["table"], options["block_table"] = table, "table"
        shape = (count, heads, c.page)
    if c.form == "ring":
        options["ring"] = True
    caches = [stored(rng.standard_normal((*shape, dim)), c.cached) for dim in c.dims]

    outputs = {}
    order = (lambda x: np.ascontiguousarray(x.swapaxes(1, 2))) if c.layout == "bthd" else (lambda x: x)
    for name, (cache, old), (rows, values) in (("k", caches[0], k), ("v", caches[1], v)):
        results = []
        for real in (np.float64, np.float32):
            x = rotate(c, values, turned, base, real) if name == "k" else values
            results.append(order(written(c, old.copy(), x, positions, new, ends, slots, table)))
        outputs[f"{name}_cache"] = tuple(results)
        tensors[name], tensors[f"{name}_cache"] = rearranged(rows, order), rearranged(cache, order)
    if c.q_rotated:
        rows, values = stored(rng.standard_normal((batch, heads * int(pick([1, 2])), length, c.dims[0])), c.dtype)
        outputs["q_rotated"] = tuple(order(rotate(c, values, turned, base, real)) for real in (np.float64, np.float32))
        tensors["q"], options["q_rotated"] = rearranged(rows, order), True
    return tensors, options, outputs


def rotate(c, x, positions, base, real):
    """Pairs of elements turned by the angles p base^(-2 i / d), which are exact in either arithmetic."""
    x = x.astype(real)
    if not c.rope:
        return x
    dim = c.rope_dim or c.dims[0]
    angle = positions[:, None, :, None] * base ** (-2 * np.arange(dim // 2) / dim)
    cos, sin = np.cos(angle).astype(real), np.sin(angle).astype(real)
    half = dim // 2
    first, second = (slice(0, half), slice(half, dim)) if c.rope == "halves" else (slice(0, dim, 2), slice(1, dim, 2))
    a, b, out = x[..., first], x[..., second], x.copy()
    out[..., first], out[..., second] = a * cos - b * sin, a * sin + b * cos
    return out


def written(c, cache, x, positions, new, ends, slots, table):
    for entry in range(len(new)):
        for t in range(new[entry]):
            p = positions[entry, t]
            if p < 0:
                continue
            if c.form == "ring":
                if p >= ends[entry] - slots:
                    cache[entry, :, p % slots] = x[entry, :, t]
            elif p < slots:
                if c.form == "plain":
                    cache[entry, :, p] = x[entry, :, t]
                elif table[entry, p // c.page] >= 0:
                    cache[table[entry, p // c.page], :, p % c.page] = x[entry, :, t]
    return cache
