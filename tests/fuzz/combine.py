"""Random partial softmaxes, and what they are together, from the definition."""

import types

import numpy as np

from tensors import rearranged, stored


def kernel(rng):
    pick = lambda of: of[rng.integers(len(of))]
    return types.SimpleNamespace(
        dim=int(pick([1, 3, 4, 7, 16, 33, 64, 80, 128])), dtype=pick(["f32", "f16", "bf16"]),
        layout=pick(["bhtd", "bthd"]), sinks=rng.random() < 0.3,
    )


def problem(c, rng, fancy):
    pick = lambda of: of[rng.integers(len(of))]
    sizes = [1, 2, 3, 7, 16, 65], [1, 1, 2, 3], [1, 2, 3, 8], [1, 2, 17, 64, 90]
    parts, batch, heads, length = (int(pick(of)) for of in sizes)
    o = rng.standard_normal((parts, batch, heads, length, c.dim)) * pick([1.0, 1.0, 20.0])
    lse = (rng.standard_normal((parts, batch, heads, length)) * pick([1.0, 5.0, 60.0])).astype(np.float32)
    # Empty parts hold anything.
    empty = rng.random(lse.shape) < pick([0.0, 0.2, 0.9])
    lse[empty], o[empty] = -np.inf, pick([0.0, np.nan])
    if fancy and rng.random() < 0.3:
        at = tuple(int(rng.integers(n)) for n in lse.shape)
        if rng.random() < 0.5:
            lse[at] = np.nan
        else:
            o[at + (0,)] = pick([np.nan, np.inf])
    tensors, options = {}, {"op": "combine", "layout": c.layout}
    sinks = None
    if c.sinks:
        sinks = (rng.standard_normal(heads) * 3).astype(np.float32)
        tensors["sinks"], options["sink_logits"] = sinks, "sinks"
    storage, o = stored(o, c.dtype)
    (o, lse_all), (o32, lse32) = (compute(o, lse, sinks, real) for real in (np.float64, np.float32))
    order = (lambda x: np.ascontiguousarray(x.swapaxes(-2, -3))) if c.layout == "bthd" else (lambda x: x)
    tensors["o_parts"], tensors["lse_parts"] = rearranged(storage, order), lse
    return tensors, options, {"o": (order(o), order(o32)), "lse": (lse_all, lse32)}


def compute(o, lse, sinks, real):
    o, lse = o.astype(real), lse.astype(real)
    with np.errstate(all="ignore"):
        odd = np.isnan(lse).any(0)
        known = np.where(np.isnan(lse), -np.inf, lse)
        most = known.max(0)
        if sinks is not None:
            sinks = np.broadcast_to(sinks.astype(real)[:, None], most.shape)
            most = np.maximum(most, sinks)
        base = np.where(np.isneginf(most), 0, most)
        weights = np.exp(known - base)
        total = weights.sum(0)
        if sinks is not None:
            total = total + np.exp(sinks - base)
        seen = ~np.isneginf(lse)[..., None]
        spoilt = (seen & ~np.isfinite(o)).any(0)
        sums = (weights[..., None] * np.where(seen & np.isfinite(o), o, 0)).sum(0)
        out = sums / np.where(total == 0, 1, total)[..., None]
        out = np.where(spoilt | odd[..., None], np.nan, out)
        return out, np.where(odd, np.nan, base + np.log(total))
