#!/usr/bin/env python3
"""One training step in PyTorch, of the sizes of bench_train_step: prints one line of JSON.

    python3 torch_step.py --size tiny --threads 2 --steps 10 [--mode eager|fused|compiled] [--dropout 0]

eager: products and softmax written out; fused: scaled_dot_product_attention and the fused optimizer; compiled: the same
through torch.compile."""
import argparse
import json
import resource
import statistics
import time

from model import SIZES, Model, random_batch, since_start
import torch

args = argparse.ArgumentParser()
args.add_argument("--size", default="tiny", choices=SIZES)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--steps", type=int, default=10)
args.add_argument("--warmup", type=int, default=2)
args.add_argument("--dropout", type=float, default=-1)
args.add_argument("--mode", default="fused", choices=("eager", "fused", "compiled"))
args = args.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(1)
model = Model(args.size, args.dropout, args.mode != "eager").train()
optimizer = model.optimizer(args.mode != "eager")
run = torch.compile(model) if args.mode == "compiled" else model
numbers = torch.Generator().manual_seed(2)
times, first, loss = [], 0, None
for i in range(args.warmup + args.steps):
    batch = random_batch(args.size, numbers)
    begin = time.perf_counter()
    loss = run(*batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if i >= args.warmup:
        times.append(time.perf_counter() - begin)
    if i == 0:
        first = since_start()
print(json.dumps({
    "peer": f"PyTorch {torch.__version__.split('+')[0]} {args.mode}", "size": args.size, "threads": args.threads,
    "step_ms": 1e3 * statistics.median(times), "params": sum(p.numel() for p in model.parameters()),
    "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "first_step_ms": 1e3 * first, "loss": loss.item()}))
