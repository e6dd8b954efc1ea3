#!/usr/bin/env python3
"""Ours and theirs by turns in one run: medians, spread and ratios, as the Markdown of docs/benchmarks.md.

    bench/compare.py --build build --sizes tiny,small,base --rounds 5 > figures.md

Without --python it makes a virtual environment in --venv and installs PyTorch there."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
args = argparse.ArgumentParser()
args.add_argument("--build", default="build")
args.add_argument("--sizes", default="tiny,small,base")
args.add_argument("--rounds", type=int, default=5)
args.add_argument("--steps", type=int, default=6)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--compiled", action="store_true", help="also torch.compile (a minute more each)")
args.add_argument("--python", help="a Python that has torch")
args.add_argument("--venv", default=os.path.expanduser("~/.cache/libtensor-peers"))
args = args.parse_args()


def python_with_torch():
    if args.python:
        return args.python
    python = os.path.join(args.venv, "bin", "python")
    if not os.path.exists(python):
        print("making", args.venv, "with PyTorch", file=sys.stderr)
        venv.create(args.venv, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
    return python


def run(command):
    print("+", " ".join(command), file=sys.stderr)
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{command[0]} failed:\n{out.stderr}")
    return json.loads(out.stdout.strip().splitlines()[-1])


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


python = python_with_torch()
ours = os.path.join(args.build, "bench", "bench_train_step")
common = ["--threads", str(args.threads), "--steps", str(args.steps)]
print(f"Machine: {cpu_name()}, {os.cpu_count()} CPUs; {args.threads} threads, medians (least to most) of {args.rounds} "
      f"alternations of {args.steps} steps each.\n")
print("| size | libtensor, ms | PyTorch, ms | ratio | GFLOP/s | peak, GFLOP/s | share | MiB beyond 16 B a parameter: ours, theirs, ratio "
      "| first step, ms: ours, theirs |")
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
for size in args.sizes.split(","):
    a, b = [], []
    for _ in range(args.rounds):
        a.append(run([ours, "--size", size, "--json"] + common))
        peers = [run([python, os.path.join(HERE, "peers", "torch_step.py"), "--size", size] + common)]
        if args.compiled:
            peers.append(run([python, os.path.join(HERE, "peers", "torch_step.py"), "--size", size, "--compile"] + common))
        b.append(min(peers, key=lambda r: r["step_ms"]))
    column = lambda rows, key: [r[key] for r in rows]
    ratios = [y["step_ms"] / x["step_ms"] for x, y in zip(a, b)]
    flops, peak = statistics.median(column(a, "gflops")), statistics.median(column(a, "peak_gflops"))
    beyond = [statistics.median(r["rss_mib"] - 16 * r["params"] / 2**20 for r in rows) for rows in (a, b)]
    print(f"| {size} | {spread(column(a, 'step_ms'))} | {spread(column(b, 'step_ms'))} | {spread(ratios, 2)} | {flops:.0f} | {peak:.0f} "
          f"| {100 * flops / peak:.0f} % | {beyond[0]:.0f}, {beyond[1]:.0f}, {beyond[0] / beyond[1]:.2f} "
          f"| {statistics.median(column(a, 'first_step_ms')):.0f}, {statistics.median(column(b, 'first_step_ms')):.0f} |", flush=True)
