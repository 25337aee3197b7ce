#!/usr/bin/env python3
"""Foveal on a driver that runs on the CPU beside CPU kernels of PyTorch and ONNX Runtime, on the same cores, in turn.

    pip install numpy torch onnxruntime onnx
    python3 compare.py [--rounds N] [--foveal PATH] [SHAPE]...        1x8x1024x64  1x32:8x1:4096x128

A shape is BxHxTxD; H may be H:G and T may be Tq:Tk. Every result is compared with f64 before it is timed. A round times each
library once, median of at least 30 calls; the table has medians of rounds. A library that is not installed is skipped, and said.
"""

import argparse
import functools
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
# Differences of the rows that are compared, relative to the root mean square of the result.
TOLERANCE = 1e-5
CALLS = 30
COMPARED_ROWS = 16


@dataclass(frozen=True)
class Shape:
    """Sizes of a problem: batch, query heads, key/value heads, queries, keys, width."""

    text: str
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    dim: int

    @classmethod
    def parse(cls, text):
        try:
            batch, heads, tokens, dim = text.split("x")
            pairs = [[int(n) for n in part.split(":")] for part in (heads, tokens)]
            if any(len(pair) > 2 for pair in pairs):
                raise ValueError
            (h, g), (q, k) = [(pair[0], pair[-1]) for pair in pairs]
            sizes = (int(batch), h, g, q, k, int(dim))
        except ValueError:
            sys.exit(f"SHAPE: expected BxHxTxD such as 1x8x1024x64 or 1x32:8x1:4096x128, got `{text}`")
        if min(sizes) < 1 or h % g:
            sys.exit(f"SHAPE: expected sizes of 1 and more, and H a multiple of G, got `{text}`")
        return cls(text, *sizes)

    def inputs(self):
        random = np.random.default_rng(7)
        normal = lambda heads, rows: random.standard_normal((self.batch, heads, rows, self.dim), dtype=np.float32)
        return normal(self.heads, self.queries), normal(self.kv_heads, self.keys), normal(self.kv_heads, self.keys)


def expected_rows(shape, q, k, v):
    """Some rows of o by the definition, in f64, as (head, query) and row."""
    random = np.random.default_rng(11)
    for _ in range(COMPARED_ROWS):
        head, query = int(random.integers(shape.heads)), int(random.integers(shape.queries))
        group = head // (shape.heads // shape.kv_heads)
        keys, values = k[0, group].astype(np.float64), v[0, group].astype(np.float64)
        scores = keys @ q[0, head, query].astype(np.float64) / np.sqrt(shape.dim)
        weights = np.exp(scores - scores.max())
        yield (head, query), weights @ values / weights.sum()


def check(name, shape, inputs, o):
    pairs = [(o[0, head, query], row) for (head, query), row in expected_rows(shape, *inputs)]
    error = np.sqrt(np.mean([np.mean((got - row) ** 2) for got, row in pairs]))
    scale = np.sqrt(np.mean([np.mean(row**2) for _, row in pairs]))
    if not error <= TOLERANCE * scale:
        sys.exit(f"{name}, {shape.text}: off by {error / scale:.1e} of its root mean square, at most {TOLERANCE:.0e} expected")


def median_ms(call):
    for _ in range(3):
        call()
    times = []
    while len(times) < CALLS:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


@functools.cache
def imported(name):
    """A module, or why there is none: installed in part, some fail with other errors than ImportError, and the first time only."""
    try:
        return importlib.import_module(name), None
    except Exception as error:
        return None, f"{name} cannot be imported: {error}"


def needed(*names):
    for name in names:
        module, reason = imported(name)
        if reason:
            raise ImportError(reason)
        yield module


def torch_peer(shape, inputs):
    (torch,) = needed("torch")
    q, k, v = (torch.from_numpy(x) for x in inputs)
    attention = torch.nn.functional.scaled_dot_product_attention

    def call():
        with torch.inference_mode():
            return attention(q, k, v, enable_gqa=shape.heads != shape.kv_heads)

    check("torch", shape, inputs, call().numpy())
    return call


def onnx_peer(shape, inputs):
    onnxruntime, onnx = needed("onnxruntime", "onnx")
    helper = onnx.helper
    if shape.heads != shape.kv_heads:
        raise NotImplementedError("MultiHeadAttention takes as many key/value heads as query heads")
    names = ["q", "k", "v"]
    node = helper.make_node("MultiHeadAttention", names, ["o"], domain="com.microsoft", num_heads=shape.heads)
    width = shape.heads * shape.dim
    sizes = {"q": shape.queries, "k": shape.keys, "v": shape.keys, "o": shape.queries}
    info = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [shape.batch, sizes[name], width])
    graph = helper.make_graph([node], "attention", [info(name) for name in names], [info("o")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # [B, H, T, D] becomes [B, T, H D].
    feeds = {
        name: np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(shape.batch, -1, width)
        for name, x in zip(names, inputs)
    }
    call = lambda: session.run(["o"], feeds)[0]
    o = call().reshape(shape.batch, shape.queries, shape.heads, shape.dim).transpose(0, 2, 1, 3)
    check("onnxruntime", shape, inputs, o)
    return call


def foveal_ms(binary, shape):
    """Foveal's own measurement; `bench` has compared the result with its f64 reference."""
    command = [binary, "bench", "attention", "--shape", shape.text, "--repeat", str(CALLS), "--no-roofline", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"foveal: exit status {done.returncode}\n{done.stderr}")
    (row,) = json.loads(done.stdout)["results"]
    return row["median_ms"], row["variant"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", metavar="SHAPE", nargs="*", default=["1x8x1024x64", "1x32:8x1:4096x128"])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, at least 1 (default: 3)")
    parser.add_argument("--foveal", default=str(ROOT / "target/release/foveal"), help="the command (default: target/release/foveal)")
    options = parser.parse_args()
    if options.rounds < 1:
        sys.exit(f"--rounds: expected at least 1, got {options.rounds}")
    if not os.access(options.foveal, os.X_OK):
        sys.exit(f"--foveal: {options.foveal} is not there; build it with: cargo build --release")
    for text in options.shapes:
        shape = Shape.parse(text)
        inputs = shape.inputs()
        peers = {}
        for name, make in [("torch", torch_peer), ("onnxruntime", onnx_peer)]:
            try:
                peers[name] = make(shape, inputs)
            except (ImportError, NotImplementedError) as reason:
                print(f"SKIPPED: {name}, {text}: {str(reason)[:160]}", file=sys.stderr)
        times = {"foveal": [], **{name: [] for name in peers}}
        for _ in range(options.rounds):
            ms, variant = foveal_ms(options.foveal, shape)
            times["foveal"].append(ms)
            for name, call in peers.items():
                times[name].append(median_ms(call))
        ours = statistics.median(times["foveal"])
        print(f"{text} f32, medians of {options.rounds}")
        for name, all_ms in times.items():
            ms = statistics.median(all_ms)
            print(f"  {name:12} {ms:9.3f} ms" + (f"   its time over Foveal's {ms / ours:.2f}" if name != "foveal" else f"   {variant}"))


if __name__ == "__main__":
    main()
