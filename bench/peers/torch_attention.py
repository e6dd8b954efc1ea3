#!/usr/bin/env python3
"""Attention in PyTorch, of the sizes of bench_attention: one line of JSON for each size.

    python3 torch_attention.py --sizes "16,64,8,64;1,4096,8,64,c" --dropout 0 --threads 2

q, k and v are views of one projection, as in torch_step.py; gradients flow into it."""
import argparse
import json
import resource
import statistics
import time

GROUPS = {
    "small": [(1024 // t, t, 512 // d, d, False) for t in (16, 32, 64, 128, 256) for d in (32, 64, 128)],
    "model": [(32, 32, 4, 32, False), (32, 32, 4, 32, True), (32, 48, 4, 64, False), (32, 48, 4, 64, True),
              (16, 64, 8, 64, False), (16, 64, 8, 64, True), (8, 256, 6, 64, True), (4, 64, 12, 64, True)],
    "long": [(1, t, 8, 64, causal) for t in (512, 1024, 2048, 4096) for causal in (False, True)],
    "odd": [(16, 37, 8, 40, False), (16, 61, 8, 64, True), (8, 100, 8, 80, True)],
}
args = argparse.ArgumentParser()
args.add_argument("--sizes", default="small;model")
args.add_argument("--dropout", type=float, default=0)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--repeats", type=int, default=11)
args.add_argument("--ms", type=float, default=5, help="least length of a sample")
args = args.parse_args()

import torch
import torch.nn.functional as F

torch.set_num_threads(args.threads)


def sizes():
    for part in args.sizes.split(";"):
        if part in GROUPS:
            yield from GROUPS[part]
        else:
            fields = part.split(",")
            yield tuple(int(x) for x in fields[:4]) + (fields[4:5] == ["c"],)


def seconds(run, n):
    begin = time.perf_counter()
    for _ in range(n):
        run()
    return (time.perf_counter() - begin) / n


def measure(run):
    run()
    n = max(1, int(args.ms * 1e-3 / seconds(run, 1)) + 1)
    return statistics.median(seconds(run, n) for _ in range(args.repeats))


for b, t, h, d, causal in sizes():
    x = torch.rand(b, t, 3 * h * d).requires_grad_()
    dy = torch.rand(b, t, h, d)

    def forward():
        q, k, v = (part.view(b, t, h, d).transpose(1, 2) for part in x.chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=args.dropout).transpose(1, 2)

    def only_forward():
        with torch.no_grad():
            forward()

    def both():
        x.grad = None
        forward().backward(dy)

    f, fb = measure(only_forward), measure(both)
    gflop = (2e-9 if causal else 4e-9) * b * h * t * t * d
    print(json.dumps({
        "peer": "PyTorch " + torch.__version__, "batch": b, "length": t, "heads": h, "d": d, "causal": int(causal),
        "dropout": args.dropout, "threads": args.threads, "forward_ms": 1e3 * f, "both_ms": 1e3 * fb,
        "forward_gflops": gflop / f, "both_gflops": 3.5 * gflop / fb,
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
