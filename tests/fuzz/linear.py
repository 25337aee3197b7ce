"""Random linear attention problems, and what they come to, token by token from the definition."""

import types

import numpy as np

from tensors import rearranged, stored

LENGTHS = [1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 200, 300]
HEADS = [(1, 1), (2, 2), (2, 4), (1, 3), (3, 3)]
WIDTHS = [(64, 64), (32, 32), (16, 16), (8, 24), (40, 33), (128, 64), (17, 5)]


def kernel(rng):
    """What is compiled into a kernel: the rule and what goes with it."""
    pick = lambda of: of[rng.integers(len(of))]
    rarely = lambda often: rng.integers(often) == 0
    dim, value_dim = pick(WIDTHS)
    c = types.SimpleNamespace(
        rule=pick(["add", "add", "delta", "delta", "dplr"]), gate=pick(["none", "constant", "scalar", "scalar", "vector", "vector"]),
        dim=dim, value_dim=value_dim, dtype=pick(["f32", "f32", "f32", "f16", "bf16"]), layout=pick(["bhtd", "bthd"]),
        direction=pick(["forward", "forward", "forward", "reverse", "both"]), state_layout=pick(["kv", "kv", "vk"]),
        steps=1, erase=False, bonus=False, sums=False, feature="identity", causal=True, dt=False, skip=False, decay=False,
        packed=False, padded=False, state_in=False, z_in=False,
    )
    c.state_in = c.direction != "both" and bool(rng.integers(2))
    if c.rule == "delta":
        c.steps, c.erase = pick([1, 1, 1, 2, 3]), rarely(5)
        if not c.erase and rarely(5):
            c.feature = "l2norm"
    if c.rule == "add":
        c.bonus = rarely(6)
        if c.bonus:
            c.dt, c.skip = rarely(3), c.direction != "both" and rarely(3)
        else:
            c.sums = rarely(3)
            maps = ["elu1", "softmax"] if c.sums else ["identity", "identity", "relu", "elu1", "relu2", "silu", "l2norm", "softmax"]
            c.feature = pick(maps)
            c.z_in = c.sums and c.state_in and bool(rng.integers(2))
            c.dt = not c.sums and rarely(4)
            c.skip = c.direction != "both" and rarely(4)
            c.decay = c.gate == "vector" and not c.dt and not c.sums and rarely(2)
            if c.decay:
                c.feature = "identity"
            if rarely(4):
                c.causal, c.gate, c.skip, c.decay, c.direction = False, "none", False, False, "forward"
    if rarely(4):
        c.packed = True
    elif rarely(5):
        c.padded = True
    # Queries a state, where it has more than one; and what is kept of states on the way.
    c.queries = pick([1, 2, 3]) if rarely(4) else 0
    c.shared_beta = c.rule == "delta" and rarely(4)
    c.state_dtype = pick(["f16", "bf16"]) if c.causal and rarely(4) else "f32"
    kept = c.causal and c.direction != "both" and not c.sums and c.dim * c.value_dim <= 64 * 64
    c.every = int(pick([1, 5, 16, 64, 64, 100])) if kept and rarely(5) else 0
    c.window = int(pick([1, 2, 7, 16])) if kept and rarely(6) else 0
    c.types = {name: c.state_dtype for name in ("state_out", "states", "window_states")}
    return c


def feature(name, x):
    if name == "relu":
        return np.maximum(x, 0)
    if name == "relu2":
        return np.maximum(x, 0) ** 2
    if name == "elu1":
        # Not np.where on the result of exp alone: NaN stays NaN in both branches.
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    if name == "silu":
        return x / (1 + np.exp(-x))
    if name == "l2norm":
        return x / np.maximum(np.sqrt((x * x).sum(-1, keepdims=True)), 1e-12).astype(x.dtype)
    if name == "softmax":
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    return x


def gates(rng, shape):
    kind = rng.integers(5)
    if kind == 0:
        g = np.zeros(shape)
    elif kind == 1:
        g = np.where(rng.random(shape) < 0.5, 0, -rng.uniform(3, 20, shape))
    elif kind == 2:
        g = np.where(rng.random(shape) < 0.1, -1e4, -rng.uniform(0, 0.1, shape))
    else:
        g = -np.log1p(np.exp(-rng.standard_normal(shape) * 2)) * rng.choice([0.02, 0.25, 1.0])
    return g.astype(np.float32)


def problem(c, rng, fancy):
    pick = lambda of: of[rng.integers(len(of))]
    batch, (heads, value_heads), length = int(pick([1, 1, 2, 3])), pick(HEADS), int(pick(LENGTHS))
    if c.packed:
        batch = 1
    if c.decay:
        value_heads = heads
    rows, dim, value_dim = length * c.steps, c.dim, c.value_dim
    options = {"op": "linear", "layout": c.layout, "rule": c.rule, "gate": c.gate}
    storage, values = {}, types.SimpleNamespace(c=c, heads=heads, value_heads=value_heads, batch=batch, length=length)

    def put(name, array, dtype="f32"):
        """In the order [B, H, T, ..] here, in the layout's in the file."""
        tensor, numbers = stored(array, dtype)
        if array.ndim > 2 and c.layout == "bthd" and name not in ("state_in", "z_in"):
            if hasattr(tensor, "halves"):
                tensor.halves = tensor.halves.swapaxes(1, 2)
            else:
                tensor = tensor.swapaxes(1, 2)
        storage[name] = tensor
        return numbers

    lengths = None
    if c.padded:
        lengths = rng.integers(0, length + 1, batch).astype(np.int32)
        storage["lengths"], options["kv_len"] = lengths, "lengths"
    if c.packed:
        count = int(rng.integers(1, 6))
        cuts = np.sort(rng.integers(0, length + 1, count - 1))
        values.starts = np.concatenate([[0], cuts, [length]])
        storage["cu_seqlens"] = values.starts.astype(np.int32)
    values.lengths = lengths
    values.queries = c.queries
    q_heads = value_heads * c.queries or heads
    states = len(values.starts) - 1 if c.packed else batch

    normal = lambda *shape: rng.standard_normal(shape)
    q, k, v = normal(batch, q_heads, length, dim), normal(batch, heads, rows, dim), normal(batch, value_heads, rows, value_dim)
    if c.rule != "add":
        # Delta rules are for keys of length 1.
        k /= np.linalg.norm(k, axis=-1, keepdims=True)
        if rng.random() < 0.3 and rows > 3:
            k[:, :, 3::4] = k[:, :, 2 : rows - 1 : 4][:, :, : k[:, :, 3::4].shape[2]]
    v *= pick([1.0, 1.0, 0.01, 20.0])
    g = None
    if c.gate == "constant":
        g = np.broadcast_to(np.abs(gates(rng, (value_heads,)))[None, :, None, None] * -1, (batch, value_heads, length, 1)).copy()
    elif c.gate == "scalar":
        g = gates(rng, (batch, value_heads, length, 1))
    elif c.gate == "vector":
        g = gates(rng, (batch, value_heads, length, dim))
    if g is not None and g.max() > 0:
        g = np.minimum(g, 0)
    # Rows beyond a length are hidden from everything. NaN where it reaches something is defined too.
    if lengths is not None and rng.random() < 0.6:
        odd = pick([np.nan, np.inf])
        for entry, most in enumerate(lengths):
            k[entry, :, most * c.steps :] = odd
            # A skip brings a token's own value to its own output, seen or not.
            if not c.skip:
                v[entry, :, most * c.steps :] = odd
            if g is not None and c.gate != "constant" and fancy:
                g[entry, :, most:] = np.nan
    if fancy and rng.random() < 0.2:
        row, entry, head = int(rng.integers(rows)), int(rng.integers(batch)), int(rng.integers(min(heads, q_heads)))
        what = pick(["k", "v", "g", "q"])
        if what == "k":
            k[entry, head, row] = np.nan
        elif what == "v":
            v[entry, head, row, : max(1, value_dim // 2)] = np.nan
        elif what == "q":
            q[entry, head, row // c.steps, 0] = np.nan
        elif g is not None and c.gate != "constant":
            g[entry, head, row // c.steps] = np.nan
    values.q = put("q", q, c.dtype)
    values.k = None if c.decay else put("k", k, c.dtype)
    values.v = put("v", v, c.dtype)
    values.g = None
    if c.gate == "constant":
        storage["g"] = g[0, :, 0, 0].astype(np.float32)
        values.g = g.astype(np.float64)
    elif g is not None:
        values.g = g.astype(np.float64)
        stored_g = g.astype(np.float32)
        stored_g = stored_g[..., 0] if c.gate == "scalar" else stored_g
        storage["g"] = np.ascontiguousarray(stored_g.swapaxes(1, 2) if c.layout == "bthd" else stored_g)
    values.beta = None
    if c.rule == "delta":
        of_beta = (batch, 1 if c.shared_beta else value_heads, rows)
        values.beta = put("beta", rng.choice([0.0, 1.0, 2.0], of_beta) if rng.random() < 0.2 else rng.random(of_beta))
        values.beta = np.broadcast_to(values.beta, (batch, value_heads, rows))
        if c.shared_beta:
            options["shared_beta"] = True
    values.dt = put("dt", rng.random((batch, value_heads, rows))) if c.dt else None
    values.skip = put("d", normal(value_heads)) if c.skip else None
    values.u = put("u", normal(value_heads, dim)) if c.bonus else None
    if c.dt:
        options["dt"] = "dt"
    if c.skip:
        options["skip"] = "d"
    if c.bonus:
        options["bonus"] = "u"
    values.p = None
    if c.erase:
        p = normal(batch, heads, rows, dim)
        values.p, options["erase_key"] = put("p", p / np.linalg.norm(p, axis=-1, keepdims=True), c.dtype), "p"
    if c.rule == "dplr":
        a = normal(batch, heads, rows, dim)
        a /= np.linalg.norm(a, axis=-1, keepdims=True)
        values.a = put("a", -a, c.dtype)
        values.b_vector = put("b", a * rng.random((batch, heads, rows, 1)), c.dtype)
    if c.steps > 1:
        options["steps"] = int(c.steps)
    if c.feature != "identity":
        options["feature_map"] = c.feature
    if c.direction != "forward":
        options["direction"] = c.direction
    if not c.causal:
        options["causal"] = False
    if c.decay:
        options["key"] = "decay"
    if c.state_layout == "vk":
        options["state_layout"] = "vk"
    values.eps = 0.0
    if c.sums:
        values.eps = float(pick([1e-6, 1e-3]))
        options["normaliser"], options["eps"] = "sum", values.eps
    values.scale = 1 / np.sqrt(dim)
    if rng.random() < 0.3:
        values.scale = float(pick([0.1, 1.0]))
        options["scale"] = values.scale
    values.state = values.z = None
    if c.state_in:
        state, values.state = stored(normal(states, value_heads, dim, value_dim), c.state_dtype)
        turned = (lambda x: np.ascontiguousarray(x.swapaxes(2, 3))) if c.state_layout == "vk" else (lambda x: x)
        storage["state_in"] = rearranged(state, turned)
    if c.z_in:
        z = np.abs(normal(states, 1, value_heads, dim)).astype(np.float32)
        storage["z_in"], values.z = z, z[:, 0].astype(np.float64)

    values.window = min(c.window, length)
    if c.state_dtype != "f32":
        options["state_dtype"] = c.state_dtype
    if c.every:
        options["checkpoint_every"] = c.every
    if values.window:
        options["state_window"] = values.window

    with np.errstate(all="ignore"):
        exact, single = (compute(values, states, real) for real in (np.float64, np.float32))
    outputs = {"o": (exact[0], single[0])}
    if c.direction != "both":
        outputs["state_out"] = (exact[1], single[1])
        if c.sums:
            outputs["z_out"] = (exact[2], single[2])
    if c.every:
        outputs["states"] = (exact[3], single[3])
    if values.window:
        outputs["window_states"] = (exact[4], single[4])
    order = lambda name, x: x.swapaxes(1, 2) if name == "o" and c.layout == "bthd" else x
    turn = lambda name, x: x.swapaxes(-1, -2) if name in ("state_out", "states", "window_states") and c.state_layout == "vk" else x
    outputs = {name: tuple(turn(name, order(name, x)) for x in pair) for name, pair in outputs.items()}
    return storage, options, outputs


def compute(x, states, real):
    c = x.c
    group = x.value_heads // x.heads
    as_real = lambda a: None if a is None else np.asarray(a, real)
    q, v, g = as_real(x.q), as_real(x.v), as_real(x.g)
    if not x.queries:
        q = q.repeat(group, 1)
    each = x.queries or 1
    k = -np.expm1(g) if c.decay else as_real(x.k).repeat(group, 1)
    q, k = feature(c.feature, q), feature(c.feature, k)
    o = np.zeros((x.batch, x.value_heads * each, x.length, c.value_dim), real)
    every = -(-x.length // c.every) if c.every else 0
    states_out = np.zeros((states, every, x.value_heads, c.dim, c.value_dim), real)
    window_out = np.zeros((states, x.window, x.value_heads, c.dim, c.value_dim), real)
    state_out = np.zeros((states, x.value_heads, c.dim, c.value_dim), real)
    z_out = np.zeros((states, 1, x.value_heads, c.dim), real)
    ways = {"forward": [False], "reverse": [True], "both": [False, True]}[c.direction]
    for reverse in ways:
        for sequence in range(states):
            entry, begin, end = (0, x.starts[sequence], x.starts[sequence + 1]) if c.packed else (sequence, 0, x.length)
            for head in range(x.value_heads):
                for query in range(head * each, (head + 1) * each):
                    one = one_sequence(x, sequence, entry, head, begin, end, reverse, q[entry, query], k, v, g, real, group)
                    o[entry, query, begin:end] += one[0]
                state_out[sequence, head], z_out[sequence, 0, head] = one[1:3]
                after, changed = one[3:]
                for i in range(every):
                    states_out[sequence, i, head] = after[min((i + 1) * c.every, end - begin)]
                for i in range(x.window):
                    window_out[sequence, i, head] = changed[max(len(changed) - (x.window - i), 0)]
    return o, state_out, z_out, states_out, window_out


def one_sequence(x, sequence, entry, head, begin, end, reverse, q, k, v, g, real, group):
    c = x.c
    s = np.zeros((c.dim, c.value_dim), real) if x.state is None else x.state[sequence, head].astype(real)
    z = np.zeros(c.dim, real) if x.z is None else x.z[sequence, head].astype(real)
    o = np.zeros((end - begin, c.value_dim), real)
    # States after each token, and after each that changes it; the first one before all.
    after, changed = [s], [s]
    scale = real(x.scale)

    def read(row):
        out = scale * (row @ s)
        return out / (scale * (row @ z) + real(x.eps)) if c.sums else out

    order = range(end - begin)
    for i in reversed(order) if reverse else order:
        t = begin + i
        seen = x.lengths is None or i < x.lengths[entry]
        if c.bonus:
            own = (q[t] * x.u[head].astype(real)) @ k[entry, head, t] if seen else real(0)
            step = real(1) if x.dt is None else real(x.dt[entry, head, t])
            o[i] = scale * (q[t] @ s + (own * step * v[entry, head, t] if seen else 0))
        if seen:
            dt = real(1) if x.dt is None else real(x.dt[entry, head, t])
            if c.rule == "dplr":
                low = as_row(x.a, entry, head // group, t, real) @ s
            if g is not None:
                decay = np.exp(dt * g[entry, head, t])
                s, z = decay[:, None] * s, decay * z
            for j in range(t * c.steps, (t + 1) * c.steps):
                key, value = k[entry, head, j], dt * v[entry, head, j]
                if c.rule == "delta":
                    erase = key if x.p is None else as_row(x.p, entry, head // group, j, real)
                    value = real(x.beta[entry, head, j]) * (value - erase @ s)
                if c.rule == "dplr":
                    s = s + np.outer(as_row(x.b_vector, entry, head // group, j, real), low)
                s, z = s + np.outer(key, value), z + key
            changed.append(s)
        after.append(s)
        if c.causal and not c.bonus:
            o[i] = read(q[t])
    if x.skip is not None:
        o += real(x.skip[head]) * v[entry, head, begin:end]
    if not c.causal:
        o = np.stack([read(q[t]) for t in range(begin, end)]) if end > begin else o
    return o, s, z, after, changed


def as_row(tensor, entry, head, row, real):
    return tensor[entry, head, row].astype(real)
