#!/usr/bin/env python3
"""One hundred training steps of a small encoder-decoder in PyTorch: the losses that test_references.c follows.

    python3 train.py > train.h        (needs torch; the result is committed)

Weights and batches are made by formulas that both sides compute, so that nothing but losses is stored. Names, shapes and
layout are libtensor's: matrices are [in, out], qkv is one matrix with the columns of q, k and v."""
import math
import torch
import torch.nn.functional as F

V, D, H, FF, L, B, TS, TT = 20, 16, 2, 32, 2, 4, 7, 6
STEPS, LR, SMOOTHING = 100, 1e-3, 0.1


def parameter_shapes():
    yield "embedding.w", (V, D)
    for side in ("encoder", "decoder"):
        for i in range(L):
            p = f"{side}.{i}."
            for norm in ("norm1", "norm2") + (("norm3",) if side == "decoder" else ()):
                yield p + norm + ".gamma", (D,)
                yield p + norm + ".beta", (D,)
            yield p + "self.qkv.w", (D, 3 * D)
            yield p + "self.qkv.b", (3 * D,)
            yield p + "self.out.w", (D, D)
            yield p + "self.out.b", (D,)
            if side == "decoder":
                yield p + "cross.q.w", (D, D)
                yield p + "cross.q.b", (D,)
                yield p + "cross.kv.w", (D, 2 * D)
                yield p + "cross.kv.b", (2 * D,)
                yield p + "cross.out.w", (D, D)
                yield p + "cross.out.b", (D,)
            yield p + "ff.in.w", (D, FF)
            yield p + "ff.in.b", (FF,)
            yield p + "ff.out.w", (FF, D)
            yield p + "ff.out.b", (D,)
        yield side + ".norm.gamma", (D,)
        yield side + ".norm.beta", (D,)


def initial(name, shape):
    """0.25 sin(1.3 i + 0.37 s), s the sum of the name's bytes; 1 more for gammas."""
    s = sum(name.encode())
    n = math.prod(shape)
    x = torch.tensor([0.25 * math.sin(1.3 * i + 0.37 * s) for i in range(n)], dtype=torch.float64).reshape(shape)
    return x + 1 if name.endswith("gamma") else x


def batch(step):
    """Ids in [4, V), lengths in [2, T]; what is past a length is 0."""
    def ids(kind, t):
        x = torch.zeros(B, t, dtype=torch.long)
        lengths = [2 + (step * 3 + b * 5 + kind) % (t - 1) for b in range(B)]
        for b in range(B):
            for j in range(lengths[b]):
                x[b, j] = 4 + (step * 7 + b * 13 + j * 29 + kind * 5 + (j * b) % 3) % (V - 4)
        return x, lengths
    src, _ = ids(0, TS)
    tgt, lengths = ids(1, TT)
    tgt_in, nxt = torch.zeros_like(tgt), torch.zeros_like(tgt)
    for b in range(B):  # bos and all but the last; all but the first and eos
        n = lengths[b]
        tgt_in[b, 0] = 2
        tgt_in[b, 1:n] = tgt[b, : n - 1]
        nxt[b, : n - 1] = tgt[b, : n - 1]
        nxt[b, n - 1] = 3
    return src, tgt_in, nxt


def positions(t, dtype):
    pos = torch.arange(t, dtype=torch.float64)[:, None]
    freq = 10000.0 ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    e = torch.zeros(t, D, dtype=torch.float64)
    e[:, 0::2], e[:, 1::2] = torch.sin(pos * freq), torch.cos(pos * freq)
    return e.to(dtype)


def train(dtype):
    p = {n: initial(n, s).to(dtype).requires_grad_() for n, s in parameter_shapes()}
    optimizer = torch.optim.Adam(p.values(), LR, betas=(0.9, 0.98), eps=1e-9)

    def norm(name, x):
        return F.layer_norm(x, (D,), p[name + ".gamma"], p[name + ".beta"], 1e-5)

    def linear(name, x):
        return x @ p[name + ".w"] + p[name + ".b"]

    def attend(name, q, k, v, mask):
        q, k, v = (t.view(B, -1, H, D // H).transpose(1, 2) for t in (q, k, v))
        w = (q @ k.transpose(-1, -2)) / math.sqrt(D // H)
        y = torch.softmax(w.masked_fill(~mask, float("-inf")), -1) @ v
        return linear(name + ".out", y.transpose(1, 2).reshape(B, -1, D))

    def self_attention(name, x, mask):
        return attend(name, *linear(name + ".qkv", x).chunk(3, -1), mask)

    def feed_forward(name, x):
        return linear(name + ".out", torch.relu(linear(name + ".in", x)))

    def embed(ids):
        return p["embedding.w"][ids] * math.sqrt(D) + positions(ids.shape[1], dtype)

    losses = []
    for step in range(STEPS):
        src, tgt, nxt = batch(step)
        keys = (src != 0)[:, None, None, :]
        causal = torch.ones(TT, TT, dtype=torch.bool).tril() & (tgt != 0)[:, None, None, :]
        m = embed(src)
        for i in range(L):
            n = f"encoder.{i}."
            m = m + self_attention(n + "self", norm(n + "norm1", m), keys)
            m = m + feed_forward(n + "ff", norm(n + "norm2", m))
        m = norm("encoder.norm", m)
        x = embed(tgt)
        for i in range(L):
            n = f"decoder.{i}."
            x = x + self_attention(n + "self", norm(n + "norm1", x), causal)
            h = norm(n + "norm2", x)
            x = x + attend(n + "cross", linear(n + "cross.q", h), *linear(n + "cross.kv", m).chunk(2, -1), keys)
            x = x + feed_forward(n + "ff", norm(n + "norm3", x))
        logits = norm("decoder.norm", x) @ p["embedding.w"].T
        loss = F.cross_entropy(logits.reshape(-1, V), nxt.reshape(-1), ignore_index=0, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


torch.set_num_threads(1)
print("/* Made by train.py with PyTorch %s: losses of 100 steps, f64 and f32. */" % torch.__version__)
for name, dtype in (("f64", torch.float64), ("f32", torch.float32)):
    print("static const double train_losses_%s[100] = {" % name)
    values = train(dtype)
    for i in range(0, STEPS, 4):
        print("    " + " ".join("%.17g," % x for x in values[i : i + 4]))
    print("};")
