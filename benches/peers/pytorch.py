"""PyTorch's attention, measured as `foveal bench attention --json` measures Foveal's: checked, then the median of several runs.

    python3 pytorch.py [--dtype f32|f16] [--causal] [--repeat N] SHAPE...
    python3 pytorch.py --there          exits with 0 if PyTorch has a GPU here

Shapes are BxHxTxD. Times are of the device's own clock where it has one. f32 products are not rounded to fewer bits.
"""

import argparse
import json
import statistics
import sys
import time


def device(torch):
    for name in ("cuda", "xpu", "mps"):
        part = getattr(torch, name, None) or getattr(torch.backends, name, None)
        if part is not None and part.is_available():
            return name
    sys.exit("PyTorch has no GPU here")


def times(torch, name, run, repeat):
    """Milliseconds of each of `repeat` runs."""
    wait = getattr(torch, name).synchronize
    for _ in range(3):
        run()
    wait()
    taken = []
    for _ in range(repeat):
        if name == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            wait()
            taken.append(begin.elapsed_time(end))
        else:
            begin = time.perf_counter()
            run()
            wait()
            taken.append(1e3 * (time.perf_counter() - begin))
    return sorted(taken)


def right(torch, q, k, v, o, causal):
    """Whether the first head agrees with the definition in f64, on the CPU."""
    q, k, v, o = (t[0, 0].cpu().double() for t in (q, k, v, o))
    score = q @ k.T / q.shape[-1] ** 0.5
    if causal:
        score = score.masked_fill(torch.ones_like(score).triu(1).bool(), float("-inf"))
    expected = score.softmax(-1) @ v
    error = (o - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    return error.item() < 5e-3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="*", metavar="SHAPE")
    parser.add_argument("--dtype", choices=["f32", "f16"], default="f32")
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--there", action="store_true")
    args = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        sys.exit(f"PyTorch is not installed: {error}")
    name = device(torch)
    if args.there:
        return
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(1)
    dtype = torch.float32 if args.dtype == "f32" else torch.float16
    results = []
    for shape in args.shapes:
        batch, heads, length, dim = map(int, shape.split("x"))
        q, k, v = (torch.randn(batch, heads, length, dim, device=name, dtype=dtype) for _ in range(3))

        def run():
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=args.causal)

        checked = right(torch, q, k, v, run(), args.causal)
        taken = times(torch, name, run, args.repeat)
        pairs = length * (length + 1) / 2 if args.causal else length * length
        median = statistics.median(taken)
        results.append(
            {
                "op": "attention",
                "shape": shape,
                "dtype": args.dtype,
                "variant": f"PyTorch {torch.__version__}" + (" causal" if args.causal else ""),
                "median_ms": median,
                "p10_ms": taken[len(taken) // 10],
                "p90_ms": taken[-1 - len(taken) // 10],
                "gflops": 4 * batch * heads * pairs * dim / median / 1e6,
                "checked": checked,
            }
        )
    adapter = torch.cuda.get_device_name() if name == "cuda" else name
    print(json.dumps({"adapter": adapter, "results": results}, indent=1))
    sys.exit(not all(row["checked"] for row in results))


main()
