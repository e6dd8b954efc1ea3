#!/usr/bin/env python3
"""Trains on the padded batches that bench_padding exported, in PyTorch: prints one line of JSON with real tokens a second.

    build/bench/bench_padding --text pairs.tsv --size small --export batches.safetensors
    python3 bench/peers/torch_padding.py batches.safetensors --size small --threads 2"""
import argparse
import json
import struct
import time

from model import Model
import torch

args = argparse.ArgumentParser()
args.add_argument("batches")
args.add_argument("--size", default="small")
args.add_argument("--threads", type=int, default=2)
args = args.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(1)

with open(args.batches, "rb") as f:
    (length,) = struct.unpack("<Q", f.read(8))
    header, data = json.loads(f.read(length)), f.read()
header.pop("__metadata__", None)


def tensor(name):
    begin, end = header[name]["data_offsets"]
    return torch.frombuffer(bytearray(data[begin:end]), dtype=torch.int32).reshape(header[name]["shape"]).long()


batches = [[tensor(f"{i}.{kind}") for kind in ("src", "tgt", "next")] for i in range(len(header) // 3)]
model = Model(args.size, max_length=512).train()
optimizer = model.optimizer()
seconds, real = 0.0, 0
for timed in (False, True):
    for src, tgt, following in batches:
        begin = time.perf_counter()
        model(src, tgt, following).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if timed:
            seconds += time.perf_counter() - begin
            real += int((src != 0).sum() + (following != 0).sum())
print(json.dumps({"peer": "PyTorch " + torch.__version__.split("+")[0], "size": args.size, "threads": args.threads, "tokens": real,
                  "tok_s": real / seconds}))
