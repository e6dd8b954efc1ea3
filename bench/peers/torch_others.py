#!/usr/bin/env python3
"""A training step of the models of bench_others in PyTorch: one line of JSON for each.

    python3 torch_others.py --models "mlp;lstm" --threads 2

Layers are PyTorch's own where it has them (LSTM, GRU, convolutions, encoder layers); Adam is fused."""
import argparse
import json
import resource
import statistics
import time

args = argparse.ArgumentParser()
args.add_argument("--models", default="all")
args.add_argument("--threads", type=int, default=2)
args.add_argument("--repeats", type=int, default=11)
args.add_argument("--ms", type=float, default=50, help="least length of a sample")
args = args.parse_args()

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(args.threads)


def indices(n, limit):
    return torch.arange(n) * 2654435761 % limit


def classified(model, x, limit):
    """The model, and its cross-entropy."""
    target = indices(len(x), limit)
    return model, lambda: F.cross_entropy(model(x), target)


def mlp():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return classified(model, torch.rand(256, 784), 10)


def small_mlp():
    layers = [layer for _ in range(4) for layer in (nn.Linear(64, 64), nn.Tanh())]
    model, x, y = nn.Sequential(*layers, nn.Linear(64, 1)), torch.rand(32, 64), torch.rand(32, 1)
    return model, lambda: F.mse_loss(model(x), y)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.steps, self.out = kind(256, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.out(self.steps(x)[0][:, -1])


def lstm():
    return classified(Recurrent(nn.LSTM), torch.rand(32, 64, 256), 10)


def gru():
    return classified(Recurrent(nn.GRU), torch.rand(32, 64, 256), 10)


def cnn():
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 5 * 64, 128), nn.ReLU(), nn.Linear(128, 10))
    return classified(model, torch.rand(64, 1, 28, 28), 10)


def normed_convolution(n, out, size, step):
    return nn.Sequential(nn.Conv2d(n, out, size, step, size // 2, bias=False), nn.BatchNorm2d(out))


class Residual(nn.Module):
    def __init__(self, n, out, step):
        super().__init__()
        self.past = normed_convolution(n, out, 1, step) if step > 1 else nn.Identity()
        self.block = nn.Sequential(normed_convolution(n, out, 3, step), nn.ReLU(), normed_convolution(out, out, 3, 1))

    def forward(self, x):
        return (self.block(x) + self.past(x)).relu()


def resnet():
    model = nn.Sequential(normed_convolution(3, 32, 3, 1), nn.ReLU(), Residual(32, 32, 1), Residual(32, 64, 2),
                          Residual(64, 128, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return classified(model, torch.rand(32, 3, 32, 32), 10)


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(192, 3, 768, 0, "gelu", batch_first=True, norm_first=True)
        self.patches, self.places = nn.Linear(48, 192), nn.Parameter(torch.zeros(64, 192))
        self.encoder = nn.TransformerEncoder(layer, 4, nn.LayerNorm(192), enable_nested_tensor=False)
        self.out = nn.Linear(192, 10)

    def forward(self, x):
        x = x.view(-1, 8, 4, 8, 4, 3).transpose(2, 3).reshape(-1, 64, 48)
        return self.out(self.encoder(self.patches(x) + self.places).mean(1))


def vit():
    return classified(Vit(), torch.rand(32, 32, 32, 3), 10)


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.out = nn.ModuleList(nn.Linear(64, 64) for _ in range(2)), nn.Linear(64, 16)
        self.source, self.target = indices(80000, 10000), indices(80000, 9997)

    def forward(self, x):
        for layer in self.layers:
            sent = layer(x).index_select(0, self.source)
            x = torch.zeros_like(x).index_add(0, self.target, sent).relu()
        return self.out(x)


def graph():
    return classified(Graph(), torch.rand(10000, 64), 16)


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.mean, self.log_var = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.back, self.out = nn.Linear(20, 400), nn.Linear(400, 784)

    def forward(self, x):
        h = self.enter(x).relu()
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        kl = 0.5 * (mean.square() + log_var.exp() - (log_var + 1)).sum()
        return F.binary_cross_entropy_with_logits(self.out(self.back(z).relu()), x, reduction="sum") + kl


def vae():
    model, x = Vae(), torch.rand(128, 784)
    return model, lambda: model(x)


def factors():
    model = nn.ModuleList([nn.Embedding(50000, 64), nn.Embedding(10000, 64)])
    users, items, y = indices(4096, 50000), indices(4096, 10000), torch.rand(4096)
    return model, lambda: F.mse_loss((model[0](users) * model[1](items)).sum(1), y)


def contrast():
    model = nn.ModuleList(nn.Sequential(nn.Linear(512, 256), nn.GELU(), nn.Linear(256, 128)) for _ in range(2))
    x, target = [torch.rand(512, 512) for _ in range(2)], torch.arange(512)

    def loss():
        a, b = (F.normalize(tower(side)) for tower, side in zip(model, x))
        scores = 10 * a @ b.T
        return F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)
    return model, loss


class Temporal(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(64, 64, 3, dilation=2 ** i) for i in range(4))

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = x + layer(F.pad(x, (2 * 2 ** i, 0))).relu()
        return x


def temporal():
    model, x, y = Temporal(), torch.rand(16, 64, 512), torch.rand(16, 64, 512)
    return model, lambda: F.mse_loss(model(x), y)


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(256) for _ in range(4))
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(d, h), nn.GELU(), nn.Linear(h, d))
                                   for _ in range(2) for d, h in ((196, 128), (256, 512)))

    def forward(self, x):
        for i in range(0, 4, 2):
            x = x + self.parts[i](self.norms[i](x).transpose(1, 2)).transpose(1, 2)
            x = x + self.parts[i + 1](self.norms[i + 1](x))
        return x


def mixer():
    model, x = Mixer(), torch.rand(16, 196, 256)
    return model, lambda: model(x).square().mean()


MODELS = (mlp, small_mlp, lstm, gru, cnn, resnet, vit, graph, vae, factors, contrast, temporal, mixer)
BY_NAME = {make.__name__: make for make in MODELS}


def seconds(run, n):
    begin = time.perf_counter()
    for _ in range(n):
        run()
    return (time.perf_counter() - begin) / n


for name in BY_NAME if args.models == "all" else args.models.split(";"):
    model, loss = BY_NAME[name]()
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step():
        adam.zero_grad(set_to_none=True)
        loss().backward()
        adam.step()

    seconds(step, 3)
    n = int(1e-3 * args.ms / seconds(step, 1)) + 1
    print(json.dumps({
        "peer": "PyTorch " + torch.__version__, "model": name, "threads": args.threads,
        "step_ms": 1e3 * statistics.median(seconds(step, n) for _ in range(args.repeats)),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
