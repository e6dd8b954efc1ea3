#!/usr/bin/env python3
"""The work of bench_decode in CTranslate2, float32: the same weights, sources and lengths. Prints one line of JSON.

    build/bench/bench_decode --text pairs.tsv --size base --export work.safetensors
    python3 bench/peers/ct2_decode.py work.safetensors --size base --beam 5 --batch 32 --threads 2

Groups are as bench_decode makes them: by length, and all of a group have the same. --at-once N translates N groups at a time,
each with its share of the threads; --products is what makes the matrix products (mkl or onednn)."""
import argparse
import json
import os
import resource
import statistics
import struct
import tempfile
import time

args = argparse.ArgumentParser()
args.add_argument("work")
args.add_argument("--size", default="base")
args.add_argument("--beam", type=int, default=1)
args.add_argument("--batch", type=int, default=32)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--repeats", type=int, default=3)
args.add_argument("--at-once", type=int, default=1)
args.add_argument("--products", default="mkl", choices=("mkl", "onednn"))
args = args.parse_args()
os.environ["CT2_USE_MKL"] = str(int(args.products == "mkl"))  # read when it is loaded

import ctranslate2
from ctranslate2.specs import TransformerSpec
import numpy as np

HEADS, LAYERS = {"tiny": (4, 2), "small": (4, 3), "base": (8, 6)}[args.size]

with open(args.work, "rb") as f:
    (length,) = struct.unpack("<Q", f.read(8))
    header, data = json.loads(f.read(length)), f.read()
header.pop("__metadata__", None)


def tensor(name):
    h = header[name]
    begin, end = h["data_offsets"]
    return np.frombuffer(data[begin:end], {"F32": "<f4", "I32": "<i4", "I64": "<i8"}[h["dtype"]]).reshape(h["shape"])


# ---- the model, in CTranslate2's terms: matrices are [out, in]

def linear(spec, name):
    spec.weight, spec.bias = np.ascontiguousarray(tensor(name + ".w").T), tensor(name + ".b")


def norm(spec, name):
    spec.gamma, spec.beta = tensor(name + ".gamma"), tensor(name + ".beta")


def feed_forward(spec, name, norm_name):
    norm(spec.layer_norm, norm_name)
    linear(spec.linear_0, name + ".in")
    linear(spec.linear_1, name + ".out")


embedding = tensor("embedding.w")
V, D = embedding.shape
spec = TransformerSpec.from_config((LAYERS, LAYERS), HEADS, pre_norm=True)
angle = np.arange(512)[:, None] * 10000.0 ** (-np.arange(0, D, 2) / D)
for side, name in ((spec.encoder, "encoder"), (spec.decoder, "decoder")):
    table = side.embeddings[0] if name == "encoder" else side.embeddings
    table.weight = embedding
    side.scale_embeddings = True
    side.position_encodings.encodings = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(512, D).astype(np.float32)
    norm(side.layer_norm, name + ".norm")
    for i, layer in enumerate(side.layer):
        at = f"{name}.{i}."
        norm(layer.self_attention.layer_norm, at + "norm1")
        linear(layer.self_attention.linear[0], at + "self.qkv")
        linear(layer.self_attention.linear[1], at + "self.out")
        if name == "decoder":
            norm(layer.attention.layer_norm, at + "norm2")
            for j, part in enumerate(("q", "kv", "out")):
                linear(layer.attention.linear[j], at + "cross." + part)
        feed_forward(layer.ffn, at + "ff", at + ("norm3" if name == "decoder" else "norm2"))
spec.decoder.projection.weight, spec.decoder.projection.bias = embedding, np.zeros(V, np.float32)
vocabulary = ["<pad>", "<unk>", "<s>", "</s>"] + [f"t{i}" for i in range(4, V)]
spec.register_source_vocabulary(vocabulary)
spec.register_target_vocabulary(vocabulary)

ids, at = tensor("sources.ids"), tensor("sources.at")
sources = sorted(([vocabulary[k] for k in ids[at[i]:at[i + 1]]] for i in range(len(at) - 1)), key=len)
groups = [sources[i:i + args.batch] for i in range(0, len(sources), args.batch)]
with tempfile.TemporaryDirectory() as folder:
    spec.validate()
    spec.save(folder)
    translator = ctranslate2.Translator(folder, device="cpu", compute_type="float32", inter_threads=args.at_once,
                                        intra_threads=max(args.threads // args.at_once, 1))
times, busy, tokens = [], [], 0
for r in range(args.repeats + 1):
    begin, cpu, tokens, running = time.perf_counter(), time.process_time(), 0, []
    for group in groups:
        n = len(group[-1]) + 1  # steps
        running += translator.translate_batch(group, beam_size=args.beam, min_decoding_length=n, max_decoding_length=n,
                                              length_penalty=0.6 if args.beam > 1 else 1, asynchronous=True)
    for sentence in running:
        tokens += len(sentence.result().hypotheses[0])
    times.append(time.perf_counter() - begin)
    busy.append(time.process_time() - cpu)
seconds = statistics.median(times[1:])
print(json.dumps({
    "peer": "CTranslate2 " + ctranslate2.__version__, "size": args.size, "beam": args.beam, "batch": args.batch, "threads": args.threads,
    "at_once": args.at_once, "products": args.products, "sentences": len(sources), "tokens": tokens, "seconds": seconds, "cpu_s": statistics.median(busy[1:]), "tok_s": tokens / seconds,
    "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
