#!/usr/bin/env python3
"""Writes tests/references/import.h: names and shapes of other frameworks' weights, and the logits they give.

    pip install torch transformers && python tests/references/import.py > tests/references/import.h

Weights are made by a formula of their names that both sides compute, so that only names, shapes and logits are stored."""
import math

import torch
from torch import nn
import transformers

VOCAB, D, HEADS, FF, LAYERS, LENGTH = 7, 4, 2, 6, 2, 5


def fill(module):
    """0.25 sin(1.3 i + 0.37 s), s the sum of the name's bytes; 1 more for the factors of norms. -> names and shapes"""
    shapes = []
    with torch.no_grad():
        for name, x in module.state_dict().items():
            s = sum(name.encode())
            plus = 1 if name.endswith("weight") and ("norm" in name or "ln_" in name) else 0
            n = x.numel()
            x.copy_(torch.tensor([0.25 * math.sin(1.3 * i + 0.37 * s) + plus for i in range(n)],
                                 dtype=torch.float64).reshape(x.shape))
            shapes.append((name, tuple(x.shape)))
    return shapes


def show(name, shapes, logits):
    print(f"static const import_tensor {name}_tensors[] = {{")
    for tensor, shape in shapes:
        print(f'    {{ "{tensor}", {{ {len(shape)}, {{ {", ".join(map(str, shape))} }} }} }},')
    print("};")
    x = logits.detach().flatten().tolist()
    print(f"static const double {name}_logits[{len(x)}] = {{")
    for i in range(0, len(x), 4):
        print("    " + ", ".join(f"{v:.17g}" for v in x[i:i + 4]) + ",")
    print("};")


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(VOCAB, D), nn.Embedding(VOCAB + 2, D)
        self.source_positions, self.target_positions = nn.Embedding(LENGTH, D), nn.Embedding(LENGTH, D)
        self.transformer = nn.Transformer(D, HEADS, LAYERS, LAYERS, FF, dropout=0, batch_first=True, norm_first=True)
        self.output = nn.Linear(D, VOCAB + 2, bias=False)

    def forward(self, src, tgt):
        x = self.source(src) * math.sqrt(D) + self.source_positions(torch.arange(src.shape[1]))
        y = self.target(tgt) * math.sqrt(D) + self.target_positions(torch.arange(tgt.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.shape[1], dtype=torch.float64)
        return self.output(self.transformer(x, y, tgt_mask=mask))


torch.set_default_dtype(torch.float64)
print(f"/* Made by import.py with PyTorch {torch.__version__} and transformers {transformers.__version__}. */")
gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(
    vocab_size=VOCAB, n_positions=LENGTH, n_embd=D, n_layer=LAYERS, n_head=HEADS, n_inner=FF)).double().eval()
shapes = fill(gpt2.transformer)
assert gpt2.lm_head.weight is gpt2.transformer.wte.weight
show("gpt2", shapes, gpt2(torch.tensor([[1, 6, 0, 2], [3, 3, 5, 4]])).logits)
translator = Translator().eval()
shapes = fill(translator)
with torch.no_grad():
    logits = translator(torch.tensor([[1, 6, 0, 2, 4], [3, 3, 5, 4, 2]]), torch.tensor([[2, 8, 1], [2, 4, 7]]))
show("translator", shapes, logits)
