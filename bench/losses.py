#!/usr/bin/env python3
"""Do our losses follow PyTorch's? From the same weights on the same random batches, without dropout: the losses of the first
steps of both, and how far apart they are. Ends with status 1 where a step is further away than --tolerance.

    python3 bench/losses.py --build build --sizes tiny,small,base,gpt8k,gpt2      (needs torch)"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))

args = argparse.ArgumentParser()
args.add_argument("--build", default="build")
args.add_argument("--sizes", default="tiny,small,base,gpt8k,gpt2")
args.add_argument("--steps", type=int, default=20)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--tolerance", type=float, default=1e-4)
args.add_argument("--verbose", action="store_true", help="print every loss")
args = args.parse_args()

import torch  # behind --help, which needs none
from model import Model, random_batch, write_safetensors

torch.set_num_threads(args.threads)
print("| size | PyTorch's first and last loss | ours | largest difference | relative |\n| --- | --- | --- | --- | --- |")
far = False
for size in args.sizes.split(","):
    torch.manual_seed(1)
    model = Model(size, 0.0).train()
    numbers = torch.Generator().manual_seed(2)
    batches = [random_batch(size, numbers) for _ in range(args.steps)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "replay.safetensors")
        tensors = {name: x for name, x in model.weights()}
        for i, name in enumerate(("src", "tgt", "next")):
            tensors["batch." + name] = torch.stack([b[i] for b in batches]).int()
        write_safetensors(path, tensors)
        del tensors
        program = os.path.join(args.build, "bench", "bench_train_step")
        out = subprocess.run([program, "--size", size, "--dropout", "0", "--threads", str(args.threads), "--replay", path],
                             capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    ours = [float(line) for line in out.stdout.split()]
    optimizer, theirs = model.optimizer(), []
    for batch in batches:
        loss = model(*batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        theirs.append(loss.item())
    if args.verbose:
        for i, (x, y) in enumerate(zip(theirs, ours)):
            print(f"  {i} {x:.6f} {y:.6f} {y - x:+.1e}")
    worst = max(abs(x - y) for x, y in zip(theirs, ours))
    relative = max(abs(x - y) / x for x, y in zip(theirs, ours))
    far |= relative > args.tolerance or len(ours) != len(theirs)
    print(f"| {size} | {theirs[0]:.5f}, {theirs[-1]:.5f} | {ours[0]:.5f}, {ours[-1]:.5f} | {worst:.1e} | {relative:.1e} |", flush=True)
sys.exit(far)
