#!/usr/bin/env bash
# JAX 0.10.2 and MLX 0.32.4 (CPU): what attention gives a query that may see no key depends on how that was said.
#
# One problem, 6 keys, the third query sees none. Seen:
#
#   jax.nn.dot_product_attention   mask of bools            the mean of v over all 6 keys
#                                  bias of -inf             NaN
#                                  bias of finfo.min        the mean
#                                  key_value_seq_lengths 0  the mean over the padding
#   mlx.core.fast.scaled_dot_product_attention
#                                  mask of bools            the mean
#                                  bias of -inf             NaN
#                                  either, with sinks of 0  zeros
#
# And in both a NaN in a value that no query may see makes every row NaN, in JAX also one in the padding beyond
# key_value_seq_lengths; one in such a key does not. ONNX's and torch's operators give zeros for such rows instead.
# Exits with 1 if any of this changes, 2 if it could not be tried.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" || exit 2
"$work/venv/bin/pip" install --quiet 'jax==0.10.2' 'jaxlib==0.10.2' 'mlx[cpu]==0.32.4' 'numpy==2.4.6' || exit 2
cat >"$work/rows.py" <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import mlx.core as mx
import numpy as np

BLIND = 2
random = np.random.default_rng(0)
q, k, v = (random.standard_normal((1, 2, length, 8)).astype(np.float32) for length in (4, 6, 6))
shown = np.ones((1, 2, 4, 6), bool)
shown[:, :, BLIND] = False


def by_jax(k=k, v=v, **how):
    inner = [jnp.asarray(x.swapaxes(1, 2)) for x in (q, k, v)]
    return np.asarray(jax.nn.dot_product_attention(*inner, **how)).swapaxes(1, 2)


def by_mlx(k=k, v=v, **how):
    inner = [mx.array(x) for x in (q, k, v)]
    return np.asarray(mx.fast.scaled_dot_product_attention(*inner, scale=8**-0.5, **how))


def kind(o):
    row = o[0, :, BLIND]
    if np.isnan(row).all():
        return "nan"
    if not row.any():
        return "zeros"
    return "mean" if np.allclose(row, v[0].mean(1), atol=1e-5) else "other"


def bias(hidden):
    return np.where(shown, 0, hidden).astype(np.float32)


lowest = np.finfo(np.float32).min
spoiled = k.copy(), v.copy()
for x in spoiled:
    x[:, :, 5] = np.nan
last_hidden = np.ones_like(shown)
last_hidden[..., 5] = False
five = jnp.full(1, 5, jnp.int32)
sinks = mx.zeros(2)
seen = {
    "jax, bools": kind(by_jax(mask=jnp.asarray(shown))),
    "jax, -inf": kind(by_jax(bias=jnp.asarray(bias(-np.inf)))),
    "jax, finfo.min": kind(by_jax(bias=jnp.asarray(bias(lowest)))),
    "jax, length 0": kind(by_jax(key_value_seq_lengths=jnp.zeros(1, jnp.int32))),
    "mlx, bools": kind(by_mlx(mask=mx.array(shown))),
    "mlx, -inf": kind(by_mlx(mask=mx.array(bias(-np.inf)))),
    "mlx, finfo.min": kind(by_mlx(mask=mx.array(bias(lowest)))),
    "mlx, bools, sinks": kind(by_mlx(mask=mx.array(shown), sinks=sinks)),
    "mlx, -inf, sinks": kind(by_mlx(mask=mx.array(bias(-np.inf)), sinks=sinks)),
    "jax, NaN in a hidden value": np.isnan(by_jax(v=spoiled[1], mask=jnp.asarray(last_hidden))).any(),
    "jax, NaN in a hidden key": np.isnan(by_jax(k=spoiled[0], mask=jnp.asarray(last_hidden))).any(),
    "jax, NaN in a value beyond the length": np.isnan(by_jax(v=spoiled[1], key_value_seq_lengths=five)).any(),
    "mlx, NaN in a hidden value": np.isnan(by_mlx(v=spoiled[1], mask=mx.array(last_hidden))).any(),
    "mlx, NaN in a hidden key": np.isnan(by_mlx(k=spoiled[0], mask=mx.array(last_hidden))).any(),
}
expected = ["mean", "nan", "mean", "mean", "mean", "nan", "mean", "zeros", "zeros", True, False, True, True, False]
changed = [f"{name}: {got}, was {was}" for (name, got), was in zip(seen.items(), expected, strict=True) if got != was]
for name, got in seen.items():
    print(f"{name:40} {got}")
print("as stated" if not changed else "CHANGED: " + "; ".join(changed))
sys.exit(bool(changed))
PYTHON
"$work/venv/bin/python" "$work/rows.py"
