"""Random attention problems, and what they come to, from the definition."""

import types

import numpy as np

import expressions
import serving
from tensors import rearranged, stored

LENGTHS = [1, 2, 5, 15, 16, 17, 31, 33, 47, 63, 64, 65, 90, 127, 129, 200]
HEADS = [(1, 1), (2, 2), (2, 1), (4, 2), (6, 2), (3, 3)]
WIDTHS = [(64, 64), (32, 32), (16, 16), (8, 24), (40, 40), (64, 100), (17, 5), (128, 128)]


def kernel(rng):
    """What is compiled into a kernel: texts, widths, types."""
    pick = lambda of: of[rng.integers(len(of))]
    mask, score = int(rng.integers(len(expressions.MASKS))), 0
    if rng.random() < 0.6:
        score = int(rng.integers(len(expressions.SCORES)))
    dim, value_dim = pick(WIDTHS)
    reads_positions = expressions.MASKS[mask][2] in ("doc", "seg")
    lengths = rng.random() < 0.35 and not reads_positions
    c = types.SimpleNamespace(
        mask=mask, score=score, dim=dim, value_dim=value_dim,
        dtype=pick(["f32", "f32", "f32", "f16", "bf16"]), layout=pick(["bhtd", "bhtd", "bthd"]),
        sinks=rng.random() < 0.15, norm=rng.random() < 0.1, head_scale=rng.random() < 0.1,
        kv_len=lengths, q_len=lengths and rng.random() < 0.4,
        # Lists of blocks go beside any mask but the structural ones that a list would repeat.
        blocks=not lengths and rng.random() < 0.15,
        tables=expressions.MASKS[mask][2] or expressions.SCORES[score][2],
    )
    serving.draw(rng, c)
    return c


def pool(rng, name, shape):
    return rng.standard_normal(shape) * {"small": 0.3, "large": 3.0}.get(name, 1.0)


def problem(kernel, rng, fancy):
    """Tensors, options and the expected outputs of one problem of a kernel. `fancy`: also what the newest build serves only."""
    pick = lambda of: of[rng.integers(len(of))]
    mask_text, mask_of, mask_tables = expressions.MASKS[kernel.mask]
    score_text, score_of, score_tables = expressions.SCORES[kernel.score]
    batch, (heads, kv_heads) = int(pick([1, 1, 2, 3])), pick(HEADS)
    q_len, kv_len = int(pick(LENGTHS)), int(pick(LENGTHS))
    if mask_tables == "doc":
        q_len, kv_len = min(q_len, kv_len), max(q_len, kv_len)
    dim, value_dim = kernel.dim, kernel.value_dim
    if kernel.page:
        kv_len = -(-kv_len // kernel.page) * kernel.page
    shared = int(rng.integers(0, kv_len + 1)) // max(kernel.page, 1) * max(kernel.page, 1) if kernel.shared else 0
    size = pick([0.3, 1.0, 1.0, 3.0])
    q = rng.standard_normal((batch, heads, q_len, dim)) * size
    k = rng.standard_normal((batch, kv_heads, kv_len, dim)) * pick([1.0, 1.0, 2.0])
    v = rng.standard_normal((batch, kv_heads, kv_len, value_dim)) * pick([1.0, 1.0, 0.01, 30.0]) + pick([0.0, 0.0, 2.0])
    if rng.random() < 0.05:
        q, k = q * 1e-6, k * 1e-6
    options, tensors = {"op": "attention", "layout": kernel.layout}, {}
    entries = lambda most: rng.integers(0 if fancy else 1, most + 1, batch).astype(np.int32)
    nq, nk = np.full(batch, q_len), np.full(batch, kv_len)
    if kernel.kv_len:
        nk = entries(kv_len)
        tensors["kl"], options["kv_len"] = nk, "kl"
    if kernel.q_len:
        nq = entries(q_len)
        tensors["ql"], options["q_len"] = nq, "ql"

    nq, nk = serving.lengths(rng, kernel, batch, q_len, kv_len, nq, nk)
    k_scales = v_scales = None
    if kernel.integers:
        k_whole, k_scales, k = serving.integers(rng, kernel, k.shape, shared)
        v_whole, v_scales, v = serving.integers(rng, kernel, v.shape, shared)
    p = types.SimpleNamespace(t={}, slope=expressions.slopes(heads))
    axis = lambda n, at: np.arange(n).reshape([n if i == at else 1 for i in range(4)])
    p.b, p.h, p.q, p.k = axis(batch, 0), axis(heads, 1), axis(q_len, 2), axis(kv_len, 3)
    p.g = p.h // (heads // kv_heads)
    p.nq, p.nk = nq.reshape(-1, 1, 1, 1).astype(np.int64), nk.reshape(-1, 1, 1, 1).astype(np.int64)
    p.qp = p.q + p.nk - p.nq
    some = lambda n: int(pick([1, n]))
    for table in (mask_tables, score_tables):
        if table == "doc":
            p.t["doc"] = np.sort(rng.integers(0, 5, (some(batch), kv_len)), axis=1).astype(np.int32)
        elif table == "seg":
            p.t["qseg"], p.t["kseg"] = (rng.integers(0, 3, n).astype(np.int32) for n in (q_len, kv_len))
        elif table == "m":
            shape = (some(batch), some(heads), q_len, kv_len)
            p.t["m"] = (rng.random(shape) < pick([0.1, 0.5, 0.9])).astype(np.uint8)
        elif table == "n":
            p.t["n"] = rng.integers(0, kv_len + 11, batch).astype(np.int32)
        elif table == "bias":
            shape = (some(batch), some(heads), some(q_len), kv_len)
            p.t["bias"] = (rng.standard_normal(shape) * pick([1.0, 1.0, 20.0])).astype(np.float32)
            if rng.random() < 0.3:
                p.t["bias"][rng.random(shape) < 0.2] = pick([-np.inf, -1e4, -1e9])
        elif table == "rel":
            p.t["rel"] = rng.standard_normal((heads, 33)).astype(np.float32)
        elif table == "pad":
            least = pick([-1e4, -np.inf, -1e9] + ([np.finfo(np.float32).min] if fancy else []))
            hidden = rng.random((some(batch), kv_len)) < pick([0.2, 0.8, 1.0])
            p.t["pad"] = np.where(hidden, least, 0.0).astype(np.float32)
    tensors.update(p.t)
    if mask_text:
        options["mask"] = mask_text
    if score_text:
        options["score"] = score_text

    visible = np.broadcast_to(mask_of(p), (batch, heads, q_len, kv_len)).copy()
    visible &= (p.q < p.nq) & (p.k < p.nk)
    table = None
    if kernel.page:
        table, pages = serving.page_table(rng, kernel, batch, kv_len // kernel.page, shared)
        visible &= (table >= 0).repeat(kernel.page, 1)[:, None, None, :]
    if kernel.blocks:
        q_block, kv_block = (int(pick([16, 32, 64])) for _ in range(2))
        rows, columns = -(-q_len // q_block), -(-kv_len // kv_block)
        of_lists = (some(batch), some(heads))
        if batch == heads:
            # Lists of one of them look like lists of the other.
            of_lists = pick([(1, 1), (batch, heads)])
        listed = rng.random((*of_lists, rows, columns)) < pick([0.3, 0.7])
        row_ptr = np.concatenate([[0], np.cumsum(listed.reshape(-1, columns).sum(1))])
        tensors["row_ptr"] = row_ptr.astype(np.int32)
        tensors["columns"] = np.nonzero(listed.reshape(-1, columns))[1].astype(np.int32)
        options["block_mask"] = {"q_block": q_block, "kv_block": kv_block, "row_ptr": "row_ptr", "index": "columns"}
        visible &= listed.repeat(q_block, 2)[:, :, :q_len].repeat(kv_block, 3)[..., :kv_len]
        if mask_text in ("causal", "causal_top_left") and not fancy:
            options["mask"] = f"({mask_text}) | false"

    # Keys that no query of an entry and kv head sees may hold anything; now and then one that some see does too.
    if rng.random() < 0.4 and not kernel.integers:
        odd = pick([np.nan, np.inf, -np.inf])
        unseen = ~visible.reshape(batch, kv_heads, -1, q_len, kv_len).any((2, 3))
        unseen[..., :shared] = unseen[..., :shared].all(0)
        v[unseen], k[unseen] = odd, pick([odd, 0.0])
    if rng.random() < (0.25 if fancy else 0.0) and not kernel.integers:
        odd = pick([np.nan, np.inf, -np.inf])
        at = tuple(int(rng.integers(n)) for n in (batch, kv_heads, kv_len))
        if rng.random() < 0.6:
            v[at + (slice(0, max(1, value_dim // 2)),)] = odd
        else:
            k[at] = np.nan
    k[:, :, :shared], v[:, :, :shared] = k[0, :, :shared], v[0, :, :shared]
    if "bias" in p.t and fancy and rng.random() < 0.3 and p.t["bias"].shape == visible.shape:
        p.t["bias"][~visible] = np.nan

    scale = 1 / np.sqrt(dim)
    if kernel.head_scale:
        scales = rng.uniform(0.05, 0.5, heads).astype(np.float32)
        tensors["scales"], options["scale"] = scales, "scales"
        scale = scales.astype(np.float64).reshape(1, -1, 1, 1)
    elif rng.random() < 0.3:
        scale = float(pick([0.1, 0.25, 1.0]))
        options["scale"] = scale
    sinks = None
    if kernel.sinks:
        sinks = rng.standard_normal(heads).astype(np.float32) * 2
        tensors["sinks"], options["sink_logits"] = sinks, "sinks"
    if kernel.norm:
        options["qk_norm"] = "l2"

    (sq, q), (sk, exact_k), (sv, exact_v) = (stored(x, kernel.dtype) for x in (q, k, v))
    if kernel.integers:
        sk, sv = (serving.nibbles(x) if kernel.integers == "i4" else x for x in (k_whole, v_whole))
        tensors["ks"], tensors["vs"] = k_scales, v_scales
        options |= {"k_scale": "ks", "v_scale": "vs", "quant_block": kernel.quant_block}
    else:
        k, v = exact_k, exact_v
    if shared:
        options["shared_prefix"] = shared
    if kernel.splits:
        options["splits"] = kernel.splits
    outputs = [compute(p, q, k, v, visible, scale, sinks, kernel.norm, score_of, real) for real in (np.float64, np.float32)]
    (o, lse), (o32, lse32) = outputs
    if kernel.page:
        tensors["table"], options["block_table"] = table, "table"
        sk, sv = (serving.paged(x, table, pages, kernel.page) for x in (sk, sv))
    if kernel.packed in ("q", "both", "one"):
        total = max(int(nq.sum()) + int(rng.integers(3)), 1)
        tensors["cu_q"], options["cu_seqlens_q"] = serving.borders(nq), "cu_q"
        sq = serving.pack(sq, nq, total)
        # Rows beyond the last sequence see no key.
        none = -np.inf if sinks is None else sinks.astype(np.float64)
        ends = lambda x: np.where(np.arange(total) < nq.sum(), x, np.broadcast_to(none, heads).reshape(1, heads, 1))
        o, o32 = (serving.pack(x, nq, total) for x in (o, o32))
        lse, lse32 = (ends(serving.pack(x, nq, total)) for x in (lse, lse32))
    if kernel.packed in ("k", "both", "one"):
        total = max(int(nk.sum()), 1) if kernel.packed != "one" else total
        borders = "cu_q" if kernel.packed == "one" else "cu_k"
        tensors[borders], options["cu_seqlens_k"] = serving.borders(nk), borders
        sk, sv = (serving.pack(x, nk, total) for x in (sk, sv))
    order = (lambda x: x.transpose(0, 2, 1, 3)) if kernel.layout == "bthd" else (lambda x: x)
    for name, tensor in (("q", sq), ("k", sk), ("v", sv)):
        tensors[name] = rearranged(tensor, order)
    return tensors, options, {"o": (order(o), order(o32)), "lse": (lse, lse32)}


def compute(p, q, k, v, visible, scale, sinks, norm, score_of, real):
    """o and lse in the arithmetic of `real`."""
    q, k, v = (x.astype(real) for x in (q, k, v))
    scale = np.asarray(scale, real)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat(group, 1), v.repeat(group, 1)
    with np.errstate(all="ignore"):
        if norm:
            q, k = (x / np.maximum(np.sqrt((x * x).sum(-1, keepdims=True)), real(1e-12)) for x in (q, k))
        s = (q @ k.swapaxes(-1, -2)) * scale
        if not np.isfinite(k).all():
            # A product of matrices need not keep what is not finite to its own columns.
            s = (q[:, :, :, None, :] * k[:, :, None, :, :]).sum(-1, dtype=real) * scale
        tables = {n: t.astype(real) if t.dtype.kind == "f" else t for n, t in p.t.items()}
        here = types.SimpleNamespace(**{**vars(p), "t": tables, "slope": p.slope.astype(real)})
        s = np.broadcast_to(score_of(here, s), visible.shape).astype(real)
        s = np.where(visible, s, -np.inf)
        largest = s.max(-1, initial=-np.inf)
        if sinks is not None:
            sink = np.broadcast_to(sinks.astype(real).reshape(1, -1, 1), largest.shape)
            largest = np.maximum(largest, sink)
        base = np.where(np.isneginf(largest), 0, largest)
        weights = np.exp(s - base[..., None])
        total = weights.sum(-1, dtype=real)
        if sinks is not None:
            total = total + np.exp(sink - base)
        lse = base + np.log(total)
        weights = weights / np.where(total == 0, 1, total)[..., None]
        # A value that is not finite makes NaN of its column wherever it is seen, however small its weight.
        odd = ~np.isfinite(v)
        o = weights @ np.where(odd, 0, v)
        if odd.any():
            o[((~np.isneginf(s)).astype(np.float64) @ odd.astype(np.float64)) > 0] = np.nan
        # Rows whose scores are NaN: all of o.
        o = np.where(np.isnan(lse)[..., None], np.nan, o)
    return o, lse
