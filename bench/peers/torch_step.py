#!/usr/bin/env python3
"""One training step in PyTorch, of the sizes of bench_train_step: prints one line of JSON.

    python3 torch_step.py --size tiny --threads 2 --steps 10 [--compile] [--dropout 0]

Eager mode uses scaled_dot_product_attention and the fused optimizer, PyTorch's fastest of each on CPUs."""
import argparse
import json
import math
import os
import resource
import statistics
import time


def since_start():
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


SIZES = {  # d, heads, ff, layers, batch, source, target, vocabulary
    "tiny": (128, 4, 512, 2, 32, 32, 32, 8000),
    "small": (256, 4, 1024, 3, 32, 48, 48, 8000),
    "base": (512, 8, 2048, 6, 16, 64, 64, 8000),
    "gpt8k": (384, 6, 1536, 6, 8, 0, 256, 8000),
    "gpt2": (768, 12, 3072, 12, 4, 0, 64, 50257),
}
args = argparse.ArgumentParser()
args.add_argument("--size", default="tiny", choices=SIZES)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--steps", type=int, default=10)
args.add_argument("--warmup", type=int, default=2)
args.add_argument("--dropout", type=float, default=-1)
args.add_argument("--compile", action="store_true")
args = args.parse_args()

import torch
from torch import nn
import torch.nn.functional as F

torch.set_num_threads(args.threads)
torch.manual_seed(1)
D, H, FF, L, B, TS, TT, V = SIZES[args.size]
gpt = TS == 0
P = args.dropout if args.dropout >= 0 else 0.0 if gpt else 0.1


class Attention(nn.Module):
    def __init__(self, cross=False):
        super().__init__()
        self.first = nn.Linear(D, D) if cross else nn.Linear(D, 3 * D)
        self.memory = nn.Linear(D, 2 * D) if cross else None
        self.out = nn.Linear(D, D)

    def forward(self, x, memory=None, keep=None, causal=False):
        if self.memory is None:
            q, k, v = self.first(x).chunk(3, -1)
        else:
            q, (k, v) = self.first(x), self.memory(memory).chunk(2, -1)
        q, k, v = (t.view(B, -1, H, D // H).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, is_causal=causal, dropout_p=P if self.training else 0.0)
        return self.out(y.transpose(1, 2).reshape(B, -1, D))


class Layer(nn.Module):
    def __init__(self, cross):
        super().__init__()
        self.self = Attention()
        self.cross = Attention(True) if cross else None
        self.inner, self.outer = nn.Linear(D, FF), nn.Linear(FF, D)
        self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(3 if cross else 2))

    def feed_forward(self, x):
        if gpt:
            return self.outer(F.gelu(self.inner(x), approximate="tanh"))
        return self.outer(F.dropout(F.relu(self.inner(x)), P, self.training))

    def forward(self, x, keep=None, memory=None, memory_keep=None, causal=False):
        def add(x, part):
            return x + F.dropout(part, P, self.training)

        x = add(x, self.self(self.norms[0](x), keep=keep, causal=causal))
        if self.cross is not None:
            x = add(x, self.cross(self.norms[1](x), memory, memory_keep))
        return add(x, self.feed_forward(self.norms[-1](x)))


def sinusoids(n):
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, D, 2) / D)
    return torch.stack((angle.sin(), angle.cos()), -1).reshape(n, D)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(V, D)
        nn.init.normal_(self.embedding.weight, std=0.02 if gpt else D**-0.5)
        self.encoder = nn.ModuleList(Layer(False) for _ in range(0 if gpt else L))
        self.decoder = nn.ModuleList(Layer(not gpt) for _ in range(L))
        self.encoder_norm, self.decoder_norm = (None if gpt else nn.LayerNorm(D)), nn.LayerNorm(D)
        if gpt:
            self.positions = nn.Parameter(torch.randn(1024 if D == 768 else TT, D) * 0.02)
        else:
            self.register_buffer("positions", sinusoids(max(TS, TT)))

    def embed(self, ids):
        x = self.embedding(ids) if gpt else self.embedding(ids) * math.sqrt(D)
        return F.dropout(x + self.positions[: ids.shape[1]], P, self.training)

    def forward(self, src, tgt, following):
        memory = memory_keep = keep = None
        if not gpt:
            memory_keep = (src != 0)[:, None, None, :]
            keep = torch.ones(TT, TT, dtype=torch.bool).tril() & (tgt != 0)[:, None, None, :]
            memory = self.embed(src)
            for layer in self.encoder:
                memory = layer(memory, memory_keep)
            memory = self.encoder_norm(memory)
        x = self.embed(tgt)
        for layer in self.decoder:
            x = layer(x, keep, memory, memory_keep, causal=gpt)
        logits = F.linear(self.decoder_norm(x), self.embedding.weight).view(-1, V)
        if gpt:
            return F.cross_entropy(logits, following.view(-1))
        return F.cross_entropy(logits, following.view(-1), ignore_index=0, label_smoothing=0.1)


model = Model().train()
if gpt:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
else:
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
run = torch.compile(model) if args.compile else model
numbers = torch.Generator().manual_seed(2)
times, first, loss = [], 0, None
for i in range(args.warmup + args.steps):
    src = torch.randint(1, V, (B, max(TS, 1)), generator=numbers)
    tgt = torch.randint(1, V, (B, TT), generator=numbers)
    following = torch.randint(1, V, (B, TT), generator=numbers)
    begin = time.perf_counter()
    loss = run(src, tgt, following)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if i >= args.warmup:
        times.append(time.perf_counter() - begin)
    if i == 0:
        first = since_start()
print(json.dumps({
    "peer": "PyTorch " + torch.__version__ + (" compiled" if args.compile else ""), "size": args.size, "threads": args.threads,
    "step_ms": 1e3 * statistics.median(times), "params": sum(p.numel() for p in model.parameters()),
    "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "first_step_ms": 1e3 * first, "loss": loss.item()}))
