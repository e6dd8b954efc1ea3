#!/usr/bin/env python3
"""Values and gradients of PyTorch, for every op that it has too: what test_references.c compares with.

    python3 ops.py > ops.h        (needs torch; the result is committed)

Inputs are formulas that both sides compute: element i of input k is lo + (hi - lo) (1 + sin(1.7 i + 2.3 k + 0.9)) / 2; integers
are (7 i + 3 + k) mod n. The cotangent's element i is cos(0.7 i + 0.3). A case is the C expression, PyTorch's, and its inputs:
(shape, lo, hi) of floats, (shape, n) of indices, (shape,) of bools."""
import math
import torch
import torch.nn.functional as F

A = (3, 4)  # the usual shape
unary = [  # libtensor's name, PyTorch's function, range
    ("neg", torch.neg, -2, 2), ("abs", torch.abs, -2, 2), ("sign", torch.sign, -2, 2), ("reciprocal", torch.reciprocal, 0.3, 2),
    ("square", torch.square, -2, 2), ("sqrt", torch.sqrt, 0.1, 4), ("rsqrt", torch.rsqrt, 0.1, 4), ("exp", torch.exp, -3, 3),
    ("exp2", torch.exp2, -3, 3), ("expm1", torch.expm1, -1, 1), ("log", torch.log, 0.1, 9), ("log2", torch.log2, 0.1, 9),
    ("log10", torch.log10, 0.1, 9), ("log1p", torch.log1p, -0.9, 4), ("sin", torch.sin, -9, 9), ("cos", torch.cos, -9, 9),
    ("tan", torch.tan, -1.4, 1.4), ("asin", torch.asin, -0.95, 0.95), ("acos", torch.acos, -0.95, 0.95), ("atan", torch.atan, -5, 5),
    ("sinh", torch.sinh, -3, 3), ("cosh", torch.cosh, -3, 3), ("tanh", torch.tanh, -3, 3), ("asinh", torch.asinh, -5, 5),
    ("acosh", torch.acosh, 1.1, 5), ("atanh", torch.atanh, -0.9, 0.9), ("erf", torch.erf, -3, 3), ("erfc", torch.erfc, -3, 3),
    ("floor", torch.floor, -3, 3), ("ceil", torch.ceil, -3, 3), ("round", torch.round, -3, 3), ("trunc", torch.trunc, -3, 3),
    ("frac", torch.frac, -3, 3), ("relu", F.relu, -2, 2), ("relu6", F.relu6, -3, 9), ("selu", F.selu, -3, 3), ("gelu", F.gelu, -3, 3),
    ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), -3, 3), ("sigmoid", torch.sigmoid, -5, 5),
    ("log_sigmoid", F.logsigmoid, -5, 5), ("silu", F.silu, -5, 5), ("softplus", lambda x: F.softplus(x, threshold=1e9), -5, 5),
    ("mish", F.mish, -5, 5), ("hard_sigmoid", F.hardsigmoid, -5, 5), ("hard_swish", F.hardswish, -5, 5),
    ("hard_tanh", F.hardtanh, -2, 2), ("softsign", F.softsign, -5, 5),
]
cases = [(f"tn_{n}(x[0])", f, [(A, lo, hi)]) for n, f, lo, hi in unary]
binary = [
    ("add", torch.add, -2, 2), ("sub", torch.sub, -2, 2), ("mul", torch.mul, -2, 2), ("div", torch.div, 0.5, 2),
    ("pow", torch.pow, 0.3, 2), ("atan2", torch.atan2, -2, 2), ("hypot", torch.hypot, -2, 2), ("fmod", torch.fmod, 0.3, 5),
    ("remainder", torch.remainder, 0.3, 5), ("maximum", torch.maximum, -2, 2), ("minimum", torch.minimum, -2, 2),
    ("logaddexp", torch.logaddexp, -4, 4), ("copysign", torch.copysign, -2, 2),
]
for n, f, lo, hi in binary:
    cases.append((f"tn_{n}(x[0], x[1])", f, [(A, lo, hi), (A, lo, hi)]))
    cases.append((f"tn_{n}(x[0], x[1])", f, [((3, 1), lo, hi), ((2, 1, 4), lo, hi)]))
R = [((2, 3, 4), -2, 2)]
cases += [
    ("tn_lerp(x[0], x[1], x[2])", torch.lerp, [(A, -1, 1)] * 3),
    ("tn_clamp(x[0], -0.5, 0.8)", lambda x: torch.clamp(x, -0.5, 0.8), [(A, -2, 2)]),
    ("tn_leaky_relu(x[0], 0.1)", lambda x: F.leaky_relu(x, 0.1), [(A, -2, 2)]),
    ("tn_elu(x[0], 1.3)", lambda x: F.elu(x, 1.3), [(A, -2, 2)]), ("tn_celu(x[0], 1.3)", lambda x: F.celu(x, 1.3), [(A, -2, 2)]),
    ("tn_pow_scalar(x[0], 2.5)", lambda x: x ** 2.5, [(A, 0.2, 2)]), ("tn_affine(x[0], 3, -1)", lambda x: 3 * x - 1, [(A, -2, 2)]),
    ("tn_where(x[0], x[1], x[2])", torch.where, [(A,), (A, -1, 1), (A, -1, 1)]),
    ("tn_masked_fill(x[0], x[1], -7)", lambda x, m: x.masked_fill(m, -7), [(A, -1, 1), ((4,),)]),
    ("tn_sum(x[0], (int[]){ 0, 2 }, 2, false)", lambda x: x.sum((0, 2)), R), ("tn_sum_all(x[0])", torch.sum, R),
    ("tn_mean(x[0], (int[]){ 1 }, 1, true)", lambda x: x.mean(1, keepdim=True), R),
    ("tn_prod(x[0], (int[]){ -1 }, 1, false)", lambda x: x.prod(-1), R),
    ("tn_max(x[0], (int[]){ 1, 2 }, 2, false)", lambda x: x.amax((1, 2)), R), ("tn_min(x[0], (int[]){ 0 }, 1, false)", lambda x: x.amin(0), R),
    ("tn_var(x[0], (int[]){ 2 }, 1, false, 1)", lambda x: x.var(2, unbiased=True), R),
    ("tn_std(x[0], (int[]){ 0, 1 }, 2, false, 0)", lambda x: x.std((0, 1), unbiased=False), R),
    ("tn_norm(x[0], (int[]){ 1 }, 1, false)", lambda x: x.norm(dim=1), R),
    ("tn_logsumexp(x[0], (int[]){ 0, 2 }, 2, true)", lambda x: x.logsumexp((0, 2), keepdim=True), R),
    ("tn_cumsum(x[0], 1)", lambda x: x.cumsum(1), R),
    ("tn_reshape(x[0], TN_SHAPE(4, -1))", lambda x: x.reshape(4, -1), R),
    ("tn_permute(x[0], (int[]){ 2, 0, 1 }, 3)", lambda x: x.permute(2, 0, 1), R), ("tn_transpose(x[0], 0, -1)", lambda x: x.transpose(0, -1), R),
    ("tn_expand(x[0], TN_SHAPE(5, 3, 4))", lambda x: x.expand(5, 3, 4), [((3, 1), -1, 1)]),
    ("tn_squeeze(x[0], 1)", lambda x: x.squeeze(1), [((3, 1, 2), -1, 1)]), ("tn_unsqueeze(x[0], -1)", lambda x: x.unsqueeze(-1), R),
    ("tn_flatten(x[0], 0, 1)", lambda x: x.flatten(0, 1), R), ("tn_slice(x[0], 2, 1, 4, 2)", lambda x: x[:, :, 1:4:2], R),
    ("tn_select(x[0], 1, -1)", lambda x: x[:, -1], R), ("tn_concat(x, 2, 1)", lambda x, y: torch.cat((x, y), 1), R + [((2, 1, 4), -1, 1)]),
    ("tn_stack(x, 2, 1)", lambda x, y: torch.stack((x, y), 1), R + R), ("tn_flip(x[0], 2)", lambda x: x.flip(2), R),
    ("tn_roll(x[0], 2, 3)", lambda x: x.roll(3, 2), R), ("tn_pad(x[0], 1, 2, 1, 0.5)", lambda x: F.pad(x, (0, 0, 2, 1), value=0.5), R),
    ("tn_tril(x[0], 1)", lambda x: x.tril(1), R), ("tn_triu(x[0], -1)", lambda x: x.triu(-1), R),
    ("tn_unfold(x[0], 2, 3, 1)", lambda x: x.unfold(2, 3, 1), R),
    ("tn_matmul(x[0], x[1])", torch.matmul, [((2, 3, 4), -1, 1), ((4, 5), -1, 1)]),
    ("tn_matmul(x[0], x[1])", torch.matmul, [((2, 1, 3, 4), -1, 1), ((3, 4, 2), -1, 1)]),
    ("tn_matmul(x[0], x[1])", torch.matmul, [((4,), -1, 1), ((4, 5), -1, 1)]),
    ('tn_einsum("bik,bjk->bij", x, 2)', lambda x, y: torch.einsum("bik,bjk->bij", x, y), [((2, 3, 4), -1, 1), ((2, 5, 4), -1, 1)]),
    ('tn_einsum("ij,jk,kl->il", x, 3)', lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z), [((2, 3), -1, 1), ((3, 4), -1, 1), ((4, 2), -1, 1)]),
    ('tn_einsum("ii->i", x, 1)', lambda x: torch.einsum("ii->i", x), [((4, 4), -1, 1)]),
    ("tn_outer(x[0], x[1])", torch.outer, [((3,), -1, 1), ((4,), -1, 1)]),
    ("tn_index_select(x[0], 1, x[1])", lambda x, i: x.index_select(1, i), R + [((5,), 3)]),
    ("tn_gather(x[0], 1, x[1])", lambda x, i: x.gather(1, i), R + [((2, 2, 4), 3)]),
    ("tn_scatter_add(x[0], 1, x[1], x[2])", lambda x, i, s: x.scatter_add(1, i, s), R + [((2, 2, 4), 3), ((2, 2, 4), -1, 1)]),
    ("tn_embedding(x[0], x[1], 2)", lambda w, i: F.embedding(i, w, padding_idx=2), [((5, 3), -1, 1), ((2, 4), 5)]),
    ("tn_softmax(x[0], -1)", lambda x: x.softmax(-1), R), ("tn_softmax(x[0], 0)", lambda x: x.softmax(0), R),
    ("tn_log_softmax(x[0], 1)", lambda x: x.log_softmax(1), R),
    ("tn_layer_norm(x[0], x[1], x[2], 1e-5)", lambda x, g, b: F.layer_norm(x, (4,), g, b, 1e-5), R + [((4,), 0.5, 1.5), ((4,), -1, 1)]),
    ("tn_rms_norm(x[0], x[1], 1e-6)", lambda x, g: F.rms_norm(x, (4,), g, 1e-6), R + [((4,), 0.5, 1.5)]),
    ("tn_mse(x[0], x[1], TN_MEAN)", F.mse_loss, [(A, -1, 1), (A, -1, 1)]),
    ("tn_bce_with_logits(x[0], x[1], TN_SUM)", lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"), [(A, -3, 3), (A, 0, 1)]),
    ("tn_kl_div(x[0], x[1], TN_SUM)", lambda x, y: F.kl_div(x, y, reduction="sum"), [(A, -3, 0), (A, 0.1, 1)]),
    ("tn_cross_entropy(x[0], x[1], NULL)", F.cross_entropy, [((5, 6), -3, 3), ((5,), 6)]),
    ("tn_cross_entropy(x[0], x[1], &(tn_cross_entropy_options){ .label_smoothing = 0.1, .has_ignore = true, .ignore_index = 2 })",
     lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1, ignore_index=2), [((5, 6), -3, 3), ((5,), 6)]),
    ("tn_cross_entropy(x[0], x[1], &(tn_cross_entropy_options){ .reduction = TN_NONE })",
     lambda x, y: F.cross_entropy(x, y, reduction="none"), [((5, 6), -3, 3), ((5,), 6)]),
]
heads = lambda *t: [x.transpose(1, 2) for x in t]
Q, K = ((2, 3, 2, 4), -1, 1), ((2, 5, 2, 4), -1, 1)
cases += [
    ("tn_attention(x[0], x[1], x[2], NULL, NULL)", lambda q, k, v: F.scaled_dot_product_attention(*heads(q, k, v)).transpose(1, 2), [Q, K, K]),
    ("tn_attention(x[0], x[1], x[2], &(tn_attention_mask){ .causal = true }, NULL)",
     lambda q, k, v: F.scaled_dot_product_attention(*heads(q, k, v), is_causal=True).transpose(1, 2), [Q, Q, Q]),
    ("tn_attention(x[0], x[1], x[2], &(tn_attention_mask){ .keep = x[3] }, NULL)",
     lambda q, k, v, m: F.scaled_dot_product_attention(*heads(q, k, v), attn_mask=m[:, None]).transpose(1, 2), [Q, K, K, ((2, 3, 5),)]),
    ("tn_attention(x[0], x[1], x[2], &(tn_attention_mask){ .bias = x[3] }, &(tn_attention_options){ .scale = 0.7 })",
     lambda q, k, v, b: F.scaled_dot_product_attention(*heads(q, k, v), attn_mask=b, scale=0.7).transpose(1, 2), [Q, K, K, ((2, 1, 3, 5), -1, 1)]),
]


# PyTorch keeps 1/6 and 1/alpha of these in single precision, also for f64
loose = {"tn_hard_sigmoid(x[0])": 1e-8, "tn_celu(x[0], 1.3)": 1e-7}


def make(k, spec):
    shape, n = spec[0], math.prod(spec[0])
    if len(spec) == 3:
        x = [spec[1] + (spec[2] - spec[1]) * (1 + math.sin(1.7 * i + 2.3 * k + 0.9)) / 2 for i in range(n)]
        return torch.tensor(x, dtype=torch.float64).reshape(shape).requires_grad_()
    if len(spec) == 2:
        return torch.tensor([(7 * i + 3 + k) % spec[1] for i in range(n)]).reshape(shape)
    return torch.tensor([(7 * i + 3 + k) % 3 != 0 for i in range(n)]).reshape(shape)


def numbers(t):
    return " ".join("%.17g," % v for v in t.detach().flatten().tolist()) or "0,"


def shape_text(s):
    return "{ %d, { %s } }" % (len(s), ", ".join(map(str, s)) or "0")


print("/* Made by ops.py with PyTorch %s. */" % torch.__version__)
rows = []
for c, (expr, fn, specs) in enumerate(cases):
    x = [make(k, s) for k, s in enumerate(specs)]
    y = fn(*x)
    dy = torch.cos(0.7 * torch.arange(y.numel(), dtype=torch.float64) + 0.3).reshape(y.shape)
    floats = [t for t in x if t.dtype == torch.float64]
    grads = torch.autograd.grad(y, floats, dy, allow_unused=True) if y.requires_grad else [None] * len(floats)
    grads = [torch.zeros_like(t) if g is None else g for t, g in zip(floats, grads)]
    print("static tn_node *case_%d(tn_node *const *x)\n{\n    return %s;\n}" % (c, expr))
    print("static const double case_%d_y[] = { %s };" % (c, numbers(y)))
    print("static const double case_%d_dx[] = { %s };" % (c, " ".join(numbers(g) for g in grads)))
    ins = ", ".join("{ %d, %s, %s, %s }" % (len(s), shape_text(s[0]), s[1] if len(s) > 1 else 0, s[2] if len(s) > 2 else 0) for s in specs)
    name = expr.replace('"', '\\"')
    rows.append('    { "%s", case_%d, %d, { %s }, %d, case_%d_y, case_%d_dx, %g },' % (name, c, len(specs), ins, y.numel(), c, c, loose.get(expr, 1e-12)))
print("static const reference_case reference_cases[] = {")
print("\n".join(rows))
print("};")
