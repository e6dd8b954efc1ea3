#!/usr/bin/env python3
"""One training step in JAX, jitted, of the sizes of bench_train_step: prints one line of JSON.

    python3 jax_step.py --size tiny --threads 2 --steps 10"""
import argparse
import json
import math
import os
import resource
import statistics
import time

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
args = args.parse_args()
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[: args.threads])  # XLA takes as many threads as there are CPUs

import jax
import jax.numpy as jnp

D, HEADS, FF, LAYERS, BATCH, SOURCE, TARGET, VOCABULARY = SIZES[args.size]
GPT = SOURCE == 0
DROPOUT = 0.0 if GPT else 0.1
BETA2, EPS, DECAY = (0.95, 1e-8, 0.1) if GPT else (0.98, 1e-9, 0.0)


def since_start():
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


# ---- parameters

keys = iter(jax.random.split(jax.random.PRNGKey(1), 1000))


def linear_new(n, m):
    bound = n**-0.5
    return {"w": jax.random.uniform(next(keys), (n, m), minval=-bound, maxval=bound), "b": jnp.zeros(m)}


def norm_new():
    return {"gamma": jnp.ones(D), "beta": jnp.zeros(D)}


def layer_new(cross):
    layer = {"qkv": linear_new(D, 3 * D), "out": linear_new(D, D), "in": linear_new(D, FF), "ff": linear_new(FF, D),
             "norm1": norm_new(), "norm2": norm_new()}
    if cross:
        layer |= {"q": linear_new(D, D), "kv": linear_new(D, 2 * D), "cross": linear_new(D, D), "norm3": norm_new()}
    return layer


params = {"embedding": jax.random.normal(next(keys), (VOCABULARY, D)) * (0.02 if GPT else D**-0.5),
          "encoder": [layer_new(False) for _ in range(0 if GPT else LAYERS)],
          "decoder": [layer_new(not GPT) for _ in range(LAYERS)], "norm": norm_new()}
if GPT:
    params["positions"] = jax.random.normal(next(keys), (1024 if D == 768 else TARGET, D)) * 0.02
else:
    params["encoder_norm"] = norm_new()


# ---- the loss

def linear(p, x):
    return x @ p["w"] + p["b"]


def norm(p, x):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * p["gamma"] + p["beta"]


def sinusoids(n):
    angle = jnp.arange(n)[:, None] * 10000.0 ** (-jnp.arange(0, D, 2) / D)
    return jnp.stack((jnp.sin(angle), jnp.cos(angle)), -1).reshape(n, D)


def loss_of(params, key, src, tgt, following):
    count = 0

    def drop(x):
        nonlocal count
        count += 1
        if DROPOUT == 0:
            return x
        return jnp.where(jax.random.bernoulli(jax.random.fold_in(key, count), 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0)

    def attend(out, q, k, v, keep):
        q, k, v = (x.reshape(BATCH, -1, HEADS, D // HEADS).transpose(0, 2, 1, 3) for x in (q, k, v))
        scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) * (D // HEADS) ** -0.5
        weights = drop(jax.nn.softmax(jnp.where(keep, scores, -1e30), -1))
        y = jnp.einsum("bhqk,bhkd->bhqd", weights, v)
        return linear(out, y.transpose(0, 2, 1, 3).reshape(BATCH, -1, D))

    def layer(p, x, keep, memory=None, memory_keep=None):
        x = x + drop(attend(p["out"], *jnp.split(linear(p["qkv"], norm(p["norm1"], x)), 3, -1), keep))
        if memory is not None:
            k, v = jnp.split(linear(p["kv"], memory), 2, -1)
            x = x + drop(attend(p["cross"], linear(p["q"], norm(p["norm2"], x)), k, v, memory_keep))
        y = linear(p["in"], norm(p["norm3" if memory is not None else "norm2"], x))
        y = jax.nn.gelu(y) if GPT else drop(jax.nn.relu(y))
        return x + drop(linear(p["ff"], y))

    def embed(ids):
        if GPT:
            return drop(params["embedding"][ids] + params["positions"][: ids.shape[1]])
        return drop(params["embedding"][ids] * math.sqrt(D) + sinusoids(ids.shape[1]))

    keep, memory, memory_keep = jnp.tril(jnp.ones((TARGET, TARGET), bool))[None, None], None, None
    if not GPT:
        memory_keep, keep = (src != 0)[:, None, None, :], keep & (tgt != 0)[:, None, None, :]
        memory = embed(src)
        for p in params["encoder"]:
            memory = layer(p, memory, memory_keep)
        memory = norm(params["encoder_norm"], memory)
    x = embed(tgt)
    for p in params["decoder"]:
        x = layer(p, x, keep, memory, memory_keep)
    log_p = jax.nn.log_softmax(norm(params["norm"], x) @ params["embedding"].T, -1)
    nll = -jnp.take_along_axis(log_p, following[..., None], -1)[..., 0]
    if GPT:
        return nll.mean()
    kept = following != 0
    return ((0.9 * nll - 0.1 * log_p.mean(-1)) * kept).sum() / kept.sum()


# ---- the step

def step(params, m, v, t, key, src, tgt, following):
    loss, grads = jax.value_and_grad(loss_of)(params, key, src, tgt, following)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
    scale1, scale2 = 1 / (1 - 0.9**t), 1 / (1 - BETA2**t)
    params = jax.tree.map(lambda p, m, v: p * (1 - 1e-4 * DECAY) - 1e-4 * m * scale1 / (jnp.sqrt(v * scale2) + EPS), params, m, v)
    return params, m, v, t, loss


step = jax.jit(step, donate_argnums=(0, 1, 2))
m, v, t = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.float32(0)
n_params = sum(p.size for p in jax.tree.leaves(params))
times, first, loss = [], 0, None
for i in range(args.warmup + args.steps):
    key = jax.random.fold_in(jax.random.PRNGKey(2), i)
    batch = [jax.random.randint(jax.random.fold_in(key, 10 + j), (BATCH, n), 1, VOCABULARY)
             for j, n in enumerate((max(SOURCE, 1), TARGET, TARGET))]
    jax.block_until_ready(batch)
    begin = time.perf_counter()
    params, m, v, t, loss = step(params, m, v, t, key, *batch)
    jax.block_until_ready((params, m, v, loss))
    if i >= args.warmup:
        times.append(time.perf_counter() - begin)
    if i == 0:
        first = since_start()
print(json.dumps({
    "peer": "JAX " + jax.__version__, "size": args.size, "threads": args.threads, "step_ms": 1e3 * statistics.median(times),
    "params": n_params, "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "first_step_ms": 1e3 * first,
    "loss": float(loss)}))
