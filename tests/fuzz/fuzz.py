#!/usr/bin/env python3
"""Random problems against an implementation in numpy that shares no code with Foveal. See README.md."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np

import append
import attention
import combine
import linear
from tensors import read, write

OPERATORS = {"attention": attention, "linear": linear, "append": append, "combine": combine}
# So many problems have one kernel: compiling is what takes time.
PER_KERNEL = 25
# Own tolerance, for results of `foveal run`: this much of the root mean square, and so many times what f32 in numpy is off.
OWN = {"f32": 3e-5, "f16": 1.5e-3, "bf16": 1.2e-2}
TIMES_NUMPY = 16.0


def draw(operator, seed, index, fancy):
    """Problem `index`: the same whatever else is drawn."""
    name = zlib.crc32(operator.encode())
    kernel = OPERATORS[operator].kernel(np.random.default_rng([seed, name, 1, index // PER_KERNEL]))
    rng = np.random.default_rng([seed, name, 2, index])
    return kernel, *OPERATORS[operator].problem(kernel, rng, fancy)


def make(operator, seed, index, fancy, path):
    kernel, tensors, options, outputs = draw(operator, seed, index, fancy)
    expected = {f"{name}_f64": np.ascontiguousarray(exact, dtype=np.float64) for name, (exact, _) in outputs.items()}
    write(path, {**tensors, **expected}, options)
    return kernel, options, outputs


def largest(dtype):
    return {"f16": 65504.0, "bf16": 3.3895e38, "f32": 3.4028e38}[dtype]


def differs(name, got, exact, single, dtype):
    """What is wrong with an output of that type, by this tool's own tolerance; nothing if nothing is."""
    if got.shape != exact.shape:
        return f"{name}: shape {got.shape}, expected {exact.shape}"
    with np.errstate(all="ignore"):
        # An infinity that infinite inputs made may be NaN: infinity times what underflows. Not in lse.
        lenient = np.isinf(exact) & np.isnan(got) if name != "lse" else np.zeros(got.shape, bool)
        over = (abs(exact) > 0.99 * largest(dtype)) & np.isinf(got)
        special = ~np.isfinite(exact) | ~np.isfinite(got)
        same = (np.isnan(exact) & np.isnan(got)) | (exact == got) | lenient | over
        if not same[special].all():
            at = np.argwhere(special & ~same)[0]
            return f"{name}{at.tolist()}: got {got[tuple(at)]}, expected {exact[tuple(at)]} ({(special & ~same).sum()} such)"
        good = ~special
        if not good.any():
            return None
        scale = np.sqrt((exact[good] ** 2).mean())
        own = np.where(np.isfinite(single[good]), single[good].astype(np.float64) - exact[good], 0)
        # lse is judged absolutely; its size says nothing of its error.
        allowed = OWN[dtype] * (scale if name != "lse" else 1 + scale) + TIMES_NUMPY * np.sqrt((own**2).mean()) + 1e-7
        error = np.sqrt(((got[good] - exact[good]) ** 2).mean())
        worst = abs(got - exact)
        worst[special] = 0
        at = np.unravel_index(worst.argmax(), worst.shape)
        most = 60 * allowed + 60 * abs(own).max()
        if error > allowed or worst.max() > most:
            return f"{name}: error {error:.2e}, allowed {allowed:.2e}; {list(map(int, at))}: got {got[at]}, expected {exact[at]}"
    return None


def foveal(command, *arguments):
    ran = subprocess.run([*command, *map(str, arguments), "--json"], capture_output=True, text=True)
    try:
        return ran.returncode, json.loads(ran.stdout), ran.stderr
    except json.JSONDecodeError:
        return ran.returncode, None, ran.stderr


def batch(arguments, operator, indices, folder):
    """Checks problems by `foveal check --golden`, and some by `foveal run` and this tool's own comparison."""
    command, fancy = arguments.foveal.split(), not arguments.old
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    failures, skipped, runs = [], 0, 0
    made = {}
    for index in indices:
        path = folder / f"{operator}_{arguments.seed}_{index:06}.safetensors"
        made[path.stem] = (index, path, *make(operator, arguments.seed, index, fancy, path))

    def fail(stem, what):
        index, path, kernel, options, _ = made[stem]
        keep = arguments.work / "failed"
        keep.mkdir(exist_ok=True)
        shutil.copy(path, keep)
        failures.append({"index": index, "what": what, "file": str(keep / path.name), "options": options})

    code, document, complaint = foveal(command, "check", "--golden", folder)
    if document is None:
        for stem in made:
            fail(stem, f"check ended with {code}: {complaint.strip()[-400:]}")
        return failures, 0, 0, 0
    variants = 0
    for case in document["cases"]:
        variants += sum(variant["status"] == "passed" for variant in case["variants"])
        if case["status"] == "skipped":
            skipped += 1
        if case["status"] == "failed":
            bad = [f"{v['variant']}: {v['reason']}" for v in case["variants"] if v["status"] == "failed"]
            fail(case["name"], "; ".join(bad) or case["reason"])
    for stem, (index, path, kernel, options, outputs) in made.items():
        if index % arguments.run_every:
            continue
        result = folder / "out.safetensors"
        result.unlink(missing_ok=True)
        code, document, complaint = foveal(command, "run", "--input", path, "--output", result)
        runs += 1
        if code != 0:
            fail(stem, f"run ended with {code}: {complaint.strip()[-400:]}")
            continue
        got = read(result)
        for name, (exact, single) in outputs.items():
            if name in got:
                types = {"o": kernel.dtype, **getattr(kernel, "types", {})}
                what = differs(name, got[name], exact, single, types.get(name, "f32"))
                if what:
                    fail(stem, f"run by {document['variant']}: {what}")
    return failures, skipped, variants, runs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operator", choices=OPERATORS)
    parser.add_argument("--foveal", default="target/release/foveal", help="the command, with what goes before its arguments")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", type=int, help="one problem, by its number")
    parser.add_argument("--run-every", type=int, default=5, help="every n-th problem also by `run`, compared here")
    parser.add_argument("--old", action="store_true", help="leave away what builds before 0.2 do not serve")
    parser.add_argument("--work", type=Path, default=Path("target/fuzz"), help="what is done is kept here, and not done again")
    arguments = parser.parse_args()
    adapter = os.environ.get("FOVEAL_ADAPTER", "default")
    arguments.work = arguments.work / f"{arguments.operator}-{adapter}-{arguments.seed}"
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.only is not None:
        arguments.run_every = 1
        failures, *_ = batch(arguments, arguments.operator, [arguments.only], arguments.work / "only")
        for failure in failures:
            print(json.dumps(failure, indent=1))
        print("failed" if failures else "right")
        return 1 if failures else 0

    done_path = arguments.work / "done.json"
    done = json.loads(done_path.read_text()) if done_path.exists() else {}
    started, fresh = time.time(), 0
    for begin in range(0, arguments.count, PER_KERNEL):
        indices = range(begin, min(begin + PER_KERNEL, arguments.count))
        key = f"{indices.start}-{indices.stop}"
        if key not in done:
            failures, skipped, variants, runs = batch(arguments, arguments.operator, indices, arguments.work / "batch")
            done[key] = {"failures": failures, "skipped": skipped, "variants": variants, "runs": runs, "problems": len(indices)}
            temporary = done_path.with_suffix(".new")
            temporary.write_text(json.dumps(done))
            temporary.replace(done_path)
            fresh += len(indices)
            for failure in failures:
                print(f"{arguments.operator} seed {arguments.seed} --only {failure['index']}: {failure['what']}", flush=True)
        bad = sum(len(entry["failures"]) for entry in done.values())
        rate = fresh / max(time.time() - started, 1e-9)
        left = (arguments.count - indices.stop) / rate if rate else 0
        print(f"{indices.stop} of {arguments.count}, {bad} failures, {left / 60:.0f} min left", file=sys.stderr, flush=True)
    total = {name: sum(entry[name] for entry in done.values()) for name in ("problems", "variants", "runs", "skipped")}
    bad = sum(len(entry["failures"]) for entry in done.values())
    print(f"{arguments.operator}, seed {arguments.seed}, {adapter}: {total['problems']} problems, {total['variants']} right by a variant, "
          f"{total['runs']} runs, {total['skipped']} skipped, {bad} failures")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
