#!/usr/bin/env python3
"""The products of bench_gemm --json in PyTorch, which uses MKL on x86: reads its lines and adds "MKL", in GFLOP/s.

    build/bench/bench_gemm --json --peers --threads 2 | python3 bench/peers/torch_gemm.py"""
import json
import statistics
import sys
import time

import torch

name = "MKL" if torch.backends.mkl.is_available() else "PyTorch"
for line in sys.stdin:
    row = json.loads(line)
    if row["dtype"] != "f32":
        continue
    torch.set_num_threads(row["threads"])
    batch, m, n, k = (row[x] for x in ("batch", "m", "n", "k"))
    a = torch.rand(batch, k, m).transpose(1, 2) if row["kind"][0] == "T" else torch.rand(batch, m, k)
    b = torch.rand(batch, n, k).transpose(1, 2) if row["kind"][1] == "T" else torch.rand(batch, k, n)
    c = torch.empty(batch, m, n)
    a, b, c = (x.squeeze(0) for x in (a, b, c)) if batch == 1 else (a, b, c)
    multiply = torch.mm if batch == 1 else torch.bmm
    multiply(a, b, out=c)
    begin = time.perf_counter()
    multiply(a, b, out=c)
    runs, rates = max(1, int(5e-3 / (time.perf_counter() - begin + 1e-9)) + 1), []
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(runs):
            multiply(a, b, out=c)
        rates.append(2e-9 * batch * m * n * k * runs / (time.perf_counter() - begin))
    row[name] = round(statistics.median(rates), 2)
    print(json.dumps(row), flush=True)
