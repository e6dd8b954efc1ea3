"""The sizes of bench/models.c and their models in PyTorch: what its users would write, with scaled_dot_product_attention or
with plain products and softmax. Also their weights under libtensor's names, and safetensors files."""
import json
import math
import os
import struct
import time

import torch
from torch import nn
import torch.nn.functional as F

SIZES = {  # d, heads, ff, layers, batch, source, target, vocabulary
    "nano": (128, 4, 256, 4, 32, 32, 32, 8000),
    "tiny": (128, 4, 512, 2, 32, 32, 32, 8000),
    "small": (256, 4, 1024, 3, 32, 48, 48, 8000),
    "base": (512, 8, 2048, 6, 16, 64, 64, 8000),
    "gpt8k": (384, 6, 1536, 6, 8, 0, 256, 8000),
    "gpt2": (768, 12, 3072, 12, 4, 0, 64, 50257),
}


def since_start():
    """Seconds since the process was started, by the system's account."""
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class Attention(nn.Module):
    def __init__(self, d, heads, dropout, fused, cross=False):
        super().__init__()
        self.first = nn.Linear(d, d) if cross else nn.Linear(d, 3 * d)
        self.memory = nn.Linear(d, 2 * d) if cross else None
        self.out = nn.Linear(d, d)
        self.heads, self.dropout, self.fused = heads, dropout, fused

    def forward(self, x, memory=None, keep=None, causal=False):
        if self.memory is None:
            q, k, v = self.first(x).chunk(3, -1)
        else:
            q, (k, v) = self.first(x), self.memory(memory).chunk(2, -1)
        b, t, d = x.shape
        q, k, v = (y.view(b, -1, self.heads, d // self.heads).transpose(1, 2) for y in (q, k, v))
        p = self.dropout if self.training else 0.0
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, is_causal=causal, dropout_p=p)
        else:
            if causal:
                keep = torch.ones(t, t, dtype=torch.bool).tril()
            scores = (q @ k.transpose(-2, -1)) * (d // self.heads) ** -0.5
            if keep is not None:
                scores = scores.masked_fill(~keep, float("-inf"))
            y = F.dropout(scores.softmax(-1), p, self.training) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Layer(nn.Module):
    def __init__(self, d, heads, ff, dropout, fused, gpt, cross):
        super().__init__()
        self.self = Attention(d, heads, dropout, fused)
        self.cross = Attention(d, heads, dropout, fused, True) if cross else None
        self.inner, self.outer = nn.Linear(d, ff), nn.Linear(ff, d)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(3 if cross else 2))
        self.gpt, self.dropout = gpt, dropout

    def feed_forward(self, x):
        if self.gpt:
            return self.outer(F.gelu(self.inner(x), approximate="tanh"))
        return self.outer(F.dropout(F.relu(self.inner(x)), self.dropout, self.training))

    def forward(self, x, keep=None, memory=None, memory_keep=None, causal=False):
        def add(x, part):
            return x + F.dropout(part, self.dropout, self.training)

        x = add(x, self.self(self.norms[0](x), keep=keep, causal=causal))
        if self.cross is not None:
            x = add(x, self.cross(self.norms[1](x), memory, memory_keep))
        return add(x, self.feed_forward(self.norms[-1](x)))


def sinusoids(n, d):
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    return torch.stack((angle.sin(), angle.cos()), -1).reshape(n, d)


class Model(nn.Module):
    """Encoder-decoder with one embedding for source, target and output; or decoder only. The loss of a batch."""

    def __init__(self, size, dropout=-1.0, fused=True, max_length=0, vocabulary=0):
        super().__init__()
        d, heads, ff, layers, _, source, target, usual = SIZES[size]
        vocabulary = vocabulary or usual
        self.gpt, self.d, self.vocabulary = source == 0, d, vocabulary
        self.dropout = dropout if dropout >= 0 else 0.0 if self.gpt else 0.1
        part = (d, heads, ff, self.dropout, fused, self.gpt)
        self.embedding = nn.Embedding(vocabulary, d)
        nn.init.normal_(self.embedding.weight, std=0.02 if self.gpt else d**-0.5)
        self.encoder = nn.ModuleList(Layer(*part, False) for _ in range(0 if self.gpt else layers))
        self.decoder = nn.ModuleList(Layer(*part, not self.gpt) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = (None if self.gpt else nn.LayerNorm(d)), nn.LayerNorm(d)
        if self.gpt:
            self.positions = nn.Parameter(torch.randn(1024 if d == 768 else target, d) * 0.02)
        else:
            self.register_buffer("positions", sinusoids(max_length or max(source, target), d))

    def embed(self, ids):
        x = self.embedding(ids) if self.gpt else self.embedding(ids) * math.sqrt(self.d)
        return F.dropout(x + self.positions[: ids.shape[1]], self.dropout, self.training)

    def encode(self, src):
        keep = (src != 0)[:, None, None, :]
        x = self.embed(src)
        for layer in self.encoder:
            x = layer(x, keep)
        return self.encoder_norm(x), keep

    def decode(self, tgt, memory=None, memory_keep=None):
        """Of each place, what the output layer is applied to."""
        keep = None
        if not self.gpt:
            t = tgt.shape[1]
            keep = torch.ones(t, t, dtype=torch.bool).tril() & (tgt != 0)[:, None, None, :]
        x = self.embed(tgt)
        for layer in self.decoder:
            x = layer(x, keep, memory, memory_keep, causal=self.gpt)
        return self.decoder_norm(x)

    def forward(self, src, tgt, following):
        x = self.decode(tgt) if self.gpt else self.decode(tgt, *self.encode(src))
        logits = F.linear(x, self.embedding.weight).view(-1, self.vocabulary)
        if self.gpt:
            return F.cross_entropy(logits, following.view(-1))
        return F.cross_entropy(logits, following.view(-1), ignore_index=0, label_smoothing=0.1)

    def optimizer(self, fused=True):
        more = {"fused": True} if fused else {}
        if self.gpt:
            return torch.optim.AdamW(self.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.1, **more)
        return torch.optim.Adam(self.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-9, **more)

    def weights(self):
        """Name in libtensor -> tensor; matrices of linear layers are [in, out] there."""
        yield "embedding.w", self.embedding.weight
        if self.gpt:
            yield "positions.w", self.positions
        for side, layers, norm in (("encoder", self.encoder, self.encoder_norm), ("decoder", self.decoder, self.decoder_norm)):
            name = "blocks" if self.gpt else side
            for i, layer in enumerate(layers):
                parts = {"self.qkv": layer.self.first, "self.out": layer.self.out, "ff.in": layer.inner, "ff.out": layer.outer}
                if layer.cross is not None:
                    parts |= {"cross.q": layer.cross.first, "cross.kv": layer.cross.memory, "cross.out": layer.cross.out}
                for part, linear in parts.items():
                    yield f"{name}.{i}.{part}.w", linear.weight.t().contiguous()
                    yield f"{name}.{i}.{part}.b", linear.bias
                for j, part in enumerate(layer.norms):
                    yield f"{name}.{i}.norm{j + 1}.gamma", part.weight
                    yield f"{name}.{i}.norm{j + 1}.beta", part.bias
            if norm is not None:
                yield f"{name}.norm.gamma", norm.weight
                yield f"{name}.norm.beta", norm.bias


def random_batch(size, numbers):
    _, _, _, _, b, source, target, vocabulary = SIZES[size]
    return [torch.randint(1, vocabulary, (b, t), generator=numbers) for t in (max(source, 1), target, target)]


def write_safetensors(path, tensors):
    header, at = {}, 0
    arrays = {name: x.detach().contiguous().numpy() for name, x in tensors.items()}
    for name, x in arrays.items():
        header[name] = {"dtype": {"float32": "F32", "int32": "I32"}[x.dtype.name], "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in arrays.values():
            f.write(x.tobytes())
