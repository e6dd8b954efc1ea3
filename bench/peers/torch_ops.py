#!/usr/bin/env python3
"""The operations of bench_ops in PyTorch. Reads its lines of JSON (op, data, n) and prints one for each, with ms.

    build/bench/bench_ops --json | python3 bench/peers/torch_ops.py --threads 2"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

args = argparse.ArgumentParser()
args.add_argument("--threads", type=int, default=2)
args.add_argument("--rounds", type=int, default=5)
args = args.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(1)
COLUMNS = 1024


def both(fn):
    """Forward, and the gradients of its inputs with a cotangent."""
    def make(n):
        x, dy = rand(n).requires_grad_(), rand(n)
        wrt = [x] + [torch.rand(COLUMNS, requires_grad=True) for _ in range(2 if fn is norm else 0)]
        return lambda: torch.autograd.grad(fn(*wrt), wrt, dy)
    return make


def plain(fn, n_inputs=1):
    def make(n):
        x = [rand(n) for _ in range(n_inputs)]
        return lambda: fn(*x)
    return make


def rand(n):
    return torch.rand(n // COLUMNS, COLUMNS) * 2 - 1


def norm(x, gamma, beta):
    return F.layer_norm(x, (COLUMNS,), gamma, beta, 1e-5)


def indices(n, most=None):
    return torch.arange(n // COLUMNS) * 7919 % (most or n // COLUMNS)


def layer_norm(n):
    x, gamma, beta = rand(n), torch.rand(COLUMNS), torch.rand(COLUMNS)
    return lambda: norm(x, gamma, beta)


def bias_relu_dropout(n):
    x, b = rand(n), torch.rand(COLUMNS)
    return lambda: F.dropout(F.relu(x + b), 0.1, True)


def softmax_axis0(n):
    x = rand(n).view(COLUMNS, -1)
    return lambda: x.softmax(0)


def permute(n):
    x = rand(n).view(-1, 64, COLUMNS // 64, 64)
    return lambda: x.transpose(1, 2).contiguous()


def embedding(n):
    x, index = rand(n), indices(n)
    return lambda: F.embedding(index, x)


def embedding_backward(n):
    x, dy, index = rand(n).requires_grad_(), rand(n), indices(n)
    y = F.embedding(index, x)
    return lambda: torch.autograd.grad(y, x, dy, retain_graph=True)


def cross_entropy(n):
    x, index = rand(n).requires_grad_(), indices(n, min(n // COLUMNS, COLUMNS))
    return lambda: torch.autograd.grad(F.cross_entropy(x, index), x)


def adam(n):
    w = rand(n).requires_grad_()
    w.grad = rand(n)
    return torch.optim.Adam([w], 1e-3, fused=True).step


OPS = {
    "add": plain(lambda x, y: x + y, 2), "exp": plain(torch.exp), "tanh": plain(torch.tanh),
    "gelu": plain(lambda x: F.gelu(x, approximate="tanh")), "gelu, both": both(lambda x: F.gelu(x, approximate="tanh")),
    "chain of 5": plain(lambda x, y: F.relu(x * y + x) * 0.5 - y, 2), "bias, relu, dropout": bias_relu_dropout,
    "layer norm": layer_norm, "layer norm, both": both(norm), "softmax": plain(lambda x: x.softmax(-1)),
    "softmax, axis 0": softmax_axis0, "softmax, both": both(lambda x: x.softmax(-1)),
    "dropout": plain(lambda x: F.dropout(x, 0.1, True)), "dropout, both": both(lambda x: F.dropout(x, 0.1, True)),
    "sum": plain(torch.sum), "sum of rows": plain(lambda x: x.sum(1)), "sum of columns": plain(lambda x: x.sum(0)),
    "variance of rows": plain(lambda x: x.var(1)), "transpose": plain(lambda x: x.t().contiguous()), "permute": permute,
    "concat": plain(lambda x: torch.cat((x[:, COLUMNS // 2:], x[:, : COLUMNS // 2]), 1)), "embedding": embedding,
    "embedding, backward": embedding_backward, "cross-entropy, both": cross_entropy,
    "top 10": plain(lambda x: x.topk(10, -1)), "adam": adam,
}

for line in sys.stdin:
    row = json.loads(line)
    fn, times = OPS[row["op"]](row["n"]), []
    fn()
    begin = time.perf_counter()
    fn()
    runs = max(1, int(2e-3 / (time.perf_counter() - begin + 1e-7)))
    for _ in range(args.rounds):
        begin = time.perf_counter()
        for _ in range(runs):
            fn()
        times.append((time.perf_counter() - begin) / runs)
    row["torch_ms"] = 1e3 * statistics.median(times)
    print(json.dumps(row), flush=True)
