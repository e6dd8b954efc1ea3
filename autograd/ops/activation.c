/* Activations, elementwise. Where training would otherwise pay for several passes, backward is
 * an op of its own (relu_grad, gelu_grad, ..) that reads the result rather than the operand if
 * either would do, so that the operand may be freed; its own gradient is a rule or an expansion,
 * for second order. */
#include "autograd/internal.h"
#include "autograd/ops/elementwise.h"
#include "tensor/kernels/dropout.h"

static tn_node *apply2(const tn_op *op, tn_node *x, tn_node *y, const void *attrs)
{
    return tn_apply(op, (tn_node *[]){ x, y }, 2, attrs);
}

/* ---- relu ------------------------------------------------------------------------------------ */

TN_SPAN(relu_grad, x <= 0 ? 0 : y)
REF(relu_grad, x <= 0 ? 0 : y)
VJP2(relu_grad, NULL, apply2(&tn_op_relu_grad, x, g, NULL))
TN_OP_DEFINE(relu_grad, .doc = "dy where y > 0, else 0: dx of y = relu(x); operands y, dy",
    ELEMENTWISE(relu_grad, 2), .vjp = relu_grad_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } }, { .in = { { 67 }, { 67 } } }));

TN_SPAN(relu, x < 0 ? 0 : x)
REF(relu, x < 0 ? 0 : x)

/* Behind dropout, dy = dropout(g) is zero where z = dropout(y) is, and z > 0 where y > 0 is kept:
 * then dx = g / (1 - p) where z > 0. So y is not kept for backward beside z, and no mask is made
 * again. */
static void relu_vjp(tn_vjp *c)
{
    tn_node        *y = c->out[0], *dy = c->dout[0];
    const tn__call *call = dy->call;
    if (!call || call->op != &tn_op_dropout) {
        c->din[0] = apply2(&tn_op_relu_grad, y, dy, NULL);
        return;
    }
    const double p = ((const tn__dropout *)call->attrs)->p;
    tn_node     *z = tn_apply(&tn_op_dropout, &y, 1, call->attrs); /* shared with the forward one */
    c->din[0] = tn_affine(apply2(&tn_op_relu_grad, z, call->in[0], NULL), 1 / (1 - p), 0);
}

TN_OP_DEFINE(relu, .doc = "max(x, 0); gradient 0 at 0", ELEMENTWISE(relu, 1), .vjp = relu_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 }, { .in = { { 0 } } },
               { .in = { { -1, 2 } } }));
UNARY_FN(relu)

/* ---- hard_tanh, relu6: between two bounds, with gradient 0 at them (clamp's is 1) ------------ */

#define HARD_TANH_ATTRS(F) F(hard_tanh, f64, lo) F(hard_tanh, f64, hi)
TN_ATTRS(hard_tanh, HARD_TANH_ATTRS)

TN_SPAN_ATTRS(hard_tanh_grad, hard_tanh_attrs, x <= (T)attrs.lo || x >= (T)attrs.hi ? 0 : y)
REF_ATTRS(hard_tanh_grad, hard_tanh_attrs, x <= attrs.lo || x >= attrs.hi ? 0 : y)
VJP2(hard_tanh_grad, NULL, apply2(&tn_op_hard_tanh_grad, x, g, c->attrs))
TN_OP_DEFINE(hard_tanh_grad,
    .doc = "dy where lo < y < hi, else 0: dx of y = hard_tanh(x), from x or y; operands y, dy",
    ELEMENTWISE(hard_tanh_grad, 2), TN_ATTRS_OF(hard_tanh), .vjp = hard_tanh_grad_vjp,
    TN_SAMPLES({ .in = { { 67 }, { 67 } }, .attrs = &(hard_tanh_attrs){ -0.5, 0.5 } }));

/* dy where lo < x < hi, else 0. */
static tn_node *inside(tn_node *x, tn_node *dy, double lo, double hi)
{
    return apply2(&tn_op_hard_tanh_grad, x, dy, &(hard_tanh_attrs){ .lo = lo, .hi = hi });
}

TN_SPAN_ATTRS(hard_tanh, hard_tanh_attrs,
              x < (T)attrs.lo ? (T)attrs.lo : x > (T)attrs.hi ? (T)attrs.hi : x)
REF_ATTRS(hard_tanh, hard_tanh_attrs, x < attrs.lo ? attrs.lo : x > attrs.hi ? attrs.hi : x)
VJP(hard_tanh, apply2(&tn_op_hard_tanh_grad, y, dy, c->attrs))
TN_OP_DEFINE(hard_tanh, .doc = "x, but at least lo and at most hi; gradient 0 at the bounds",
    ELEMENTWISE(hard_tanh, 1),
    TN_ATTRS_OF(hard_tanh), .vjp = hard_tanh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3, .attrs = &(hard_tanh_attrs){ -1, 1 } },
               { .in = { { 67 } }, .lo = -9, .hi = 9, .attrs = &(hard_tanh_attrs){ 0, 6 } }));
tn_node *tn_hard_tanh(tn_node *x)
{
    return tn_apply(&tn_op_hard_tanh, &x, 1, &(hard_tanh_attrs){ .lo = -1, .hi = 1 });
}

tn_node *tn_relu6(tn_node *x)
{
    return tn_apply(&tn_op_hard_tanh, &x, 1, &(hard_tanh_attrs){ .lo = 0, .hi = 6 });
}

/* ---- leaky_relu ------------------------------------------------------------------------------ */

#define LEAKY_RELU_ATTRS(F) F(leaky_relu, f64, slope)
TN_ATTRS(leaky_relu, LEAKY_RELU_ATTRS)

TN_SPAN_ATTRS(leaky_relu_grad, leaky_relu_attrs, x > 0 ? y : y * (T)attrs.slope)
REF_ATTRS(leaky_relu_grad, leaky_relu_attrs, x > 0 ? y : y * attrs.slope)
VJP2(leaky_relu_grad, NULL, apply2(&tn_op_leaky_relu_grad, x, g, c->attrs))
TN_OP_DEFINE(leaky_relu_grad,
    .doc = "dy where x > 0, else slope dy: dx of leaky_relu(x); operands x, dy",
    ELEMENTWISE(leaky_relu_grad, 2), TN_ATTRS_OF(leaky_relu), .vjp = leaky_relu_grad_vjp,
    TN_SAMPLES({ .in = { { 67 }, { 67 } }, .attrs = &(leaky_relu_attrs){ 0.1 } }));

TN_SPAN_ATTRS(leaky_relu, leaky_relu_attrs, x > 0 ? x : x * (T)attrs.slope)
REF_ATTRS(leaky_relu, leaky_relu_attrs, x > 0 ? x : x * attrs.slope)
static void leaky_relu_vjp(tn_vjp *c) /* with a positive slope the result has the operand's sign */
{
    bool     same_sign = ((const leaky_relu_attrs *)c->attrs)->slope > 0;
    tn_node *side = same_sign ? c->out[0] : c->in[0];
    c->din[0] = apply2(&tn_op_leaky_relu_grad, side, c->dout[0], c->attrs);
}

TN_OP_DEFINE(leaky_relu, .doc = "x where x > 0, else slope x", ELEMENTWISE(leaky_relu, 1),
    TN_ATTRS_OF(leaky_relu), .vjp = leaky_relu_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = &(leaky_relu_attrs){ 0.1 } },
               { .in = { { 67 } }, .lo = -9, .hi = 9, .attrs = &(leaky_relu_attrs){ -0.5 } },
               { .in = { { 67 } }, .attrs = &(leaky_relu_attrs){ 0 } }));
tn_node *tn_leaky_relu(tn_node *x, double slope)
{
    return tn_apply(&tn_op_leaky_relu, &x, 1, &(leaky_relu_attrs){ .slope = slope });
}

/* ---- elu, selu, celu: a line above 0, an exponential below ----------------------------------- */

#define ELU_ATTRS(F) F(elu, f64, alpha) F(elu, f64, scale) F(elu, f64, rate)
TN_ATTRS(elu, ELU_ATTRS)

/* Below 0, y = scale alpha (e^(rate x) - 1), so dy/dx = rate (y + scale alpha). */
TN_SPAN_ATTRS(elu_grad, elu_attrs,
              x > 0 ? y * (T)attrs.scale
                    : y * ((T)attrs.rate * (x + (T)(attrs.scale * attrs.alpha))))
REF_ATTRS(elu_grad, elu_attrs,
          x > 0 ? y * attrs.scale : y * attrs.rate * (x + attrs.scale * attrs.alpha))
static void elu_grad_vjp(tn_vjp *c)
{
    tn_node *y = c->in[0], *dy = c->in[1], *g = c->dout[0];
    double   rate = ((const elu_attrs *)c->attrs)->rate;
    if (c->want[0])
        c->din[0] = tn_masked_fill(tn_scale(tn_mul(g, dy), rate),
                                   tn_gt(y, tn_scalar_like(y, 0)), 0);
    if (c->want[1]) c->din[1] = apply2(&tn_op_elu_grad, y, g, c->attrs);
}

TN_OP_DEFINE(elu_grad,
    .doc = "scale dy where y > 0, else rate (y + scale alpha) dy: dx of y = elu(x); operands y, dy",
    ELEMENTWISE(elu_grad, 2), TN_ATTRS_OF(elu), .vjp = elu_grad_vjp,
    TN_SAMPLES({ .in = { { 67 }, { 67 } }, .attrs = &(elu_attrs){ 1.5, 1.1, 0.7 } }));

static tn_status elu_infer(tn_infer *c)
{
    const elu_attrs *at = c->attrs; /* y tells the sign of x then, which is what elu_grad goes by */
    if (!(at->alpha >= 0 && at->scale > 0 && at->rate > 0 && at->rate < INFINITY))
        return tn_infer_fail(c, TN_ERR_ARG, "alpha %g must be 0 or more, scale %g and rate %g more",
                             at->alpha, at->scale, at->rate);
    return tn_infer_same(c);
}

SPAN_MATH_ATTRS(elu, 1, elu_attrs,
                x > 0 ? x * (T)attrs.scale
                      : (T)(attrs.scale * attrs.alpha) * tn__expm1(x * (T)attrs.rate))
REF_ATTRS(elu, elu_attrs,
          x > 0 ? x * attrs.scale : attrs.scale * attrs.alpha * expm1(x * attrs.rate))
VJP(elu, apply2(&tn_op_elu_grad, y, dy, c->attrs))
TN_OP_DEFINE(elu,
    .doc = "scale x where x > 0, else scale alpha (e^(rate x) - 1): elu, selu and celu",
    .arity = 1, .flags = TN_INPLACE_OK, TN_ATTRS_OF(elu),
    .infer = elu_infer, .span = &elu_span, .vjp = elu_vjp, .ref = elu_ref,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = &(elu_attrs){ 1, 1, 1 } },
               { .in = { { 67 } }, .lo = -9, .hi = 9, .attrs = &(elu_attrs){ 1.5, 1.1, 0.7 } },
               { .in = { { 67 } }, .attrs = &(elu_attrs){ 0, 1, 1 } },
               { .in = { { 3 } }, .attrs = &(elu_attrs){ -1, 1, 1 }, .fails = TN_ERR_ARG,
                 .message = "alpha -1" }));
tn_node *tn_elu(tn_node *x, double alpha)
{
    return tn_apply(&tn_op_elu, &x, 1, &(elu_attrs){ .alpha = alpha, .scale = 1, .rate = 1 });
}
/* The constants for which mean 0 and variance 1 are kept (Klambauer et al. 2017,
 * "Self-normalizing neural networks"). */
tn_node *tn_selu(tn_node *x)
{
    elu_attrs selu = { .alpha = 1.6732632423543772848, .scale = 1.0507009873554804934, .rate = 1 };
    return tn_apply(&tn_op_elu, &x, 1, &selu);
}

tn_node *tn_celu(tn_node *x, double alpha)
{
    return tn_apply(&tn_op_elu, &x, 1,
                    &(elu_attrs){ .alpha = alpha, .scale = 1, .rate = 1 / alpha });
}

/* ---- sigmoid and what is made of it ---------------------------------------------------------- */

TN_SPAN(sigmoid_grad, y * (x * (1 - x)))
REF(sigmoid_grad, y * x * (1 - x))
VJP2(sigmoid_grad, tn_mul(tn_mul(g, y), tn_affine(x, -2, 1)),
     apply2(&tn_op_sigmoid_grad, x, g, NULL))
TN_OP_DEFINE(sigmoid_grad, .doc = "dy y (1 - y): dx of y = sigmoid(x); operands y, dy",
    ELEMENTWISE(sigmoid_grad, 2), .vjp = sigmoid_grad_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } }, { .in = { { 67 }, { 67 } } }));

SPAN_MATH(sigmoid, 1, tn__sigmoid(x))
REF(sigmoid, 1 / (1 + exp(-x)))
VJP(sigmoid, apply2(&tn_op_sigmoid_grad, y, dy, NULL))
TN_OP_DEFINE(sigmoid, .doc = "1 / (1 + e^-x)", ELEMENTWISE(sigmoid, 1), .vjp = sigmoid_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -20, .hi = 20 },
               { .in = { { 4 } }, .lo = 50, .hi = 99 }, { .in = { { 4 } }, .lo = -99, .hi = -50 }));
UNARY_FN(sigmoid)

SPAN_MATH(softplus, 1, tn__softplus(x))
REF(softplus, fmax(x, 0) + log1p(exp(-fabs(x))))
VJP(softplus, tn_mul(dy, tn_sigmoid(x)))
TN_OP_DEFINE(softplus, .doc = "log(1 + e^x)", ELEMENTWISE(softplus, 1), .vjp = softplus_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -30, .hi = 30 },
               { .in = { { 4 } }, .lo = 500, .hi = 999 }));
UNARY_FN(softplus)

SPAN_MATH(log_sigmoid, 1, tn__log_sigmoid(x))
REF(log_sigmoid, fmin(x, 0) - log1p(exp(-fabs(x))))
VJP(log_sigmoid, tn_mul(dy, tn_sigmoid(tn_neg(x))))
TN_OP_DEFINE(log_sigmoid, .doc = "log(1 / (1 + e^-x))", ELEMENTWISE(log_sigmoid, 1),
    .vjp = log_sigmoid_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -30, .hi = 30 },
               { .in = { { 4 } }, .lo = -999, .hi = -500 }));
UNARY_FN(log_sigmoid)

SPAN_MATH(silu_grad, 2, y * tn__silu_grad(x))
REF(silu_grad, y * (1 + x * (1 - 1 / (1 + exp(-x)))) / (1 + exp(-x)))
static void silu_grad_expand(tn_expansion *c)
{
    tn_node *x = c->in[0], *s = tn_sigmoid(x);
    c->out[0] = tn_mul(c->in[1], tn_add(s, tn_mul(x, tn_mul(s, tn_affine(s, -1, 1)))));
}

TN_OP_DEFINE(silu_grad,
    .doc = "dy (s + x s (1 - s)), s = sigmoid(x): dx of silu(x); operands x, dy",
    ELEMENTWISE(silu_grad, 2), .expand = silu_grad_expand,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 }, { 67 } }, .lo = -9, .hi = 9 }));

SPAN_MATH(silu, 1, tn__silu(x))
REF(silu, x / (1 + exp(-x)))
VJP(silu, apply2(&tn_op_silu_grad, x, dy, NULL))
TN_OP_DEFINE(silu, .doc = "x sigmoid(x)", ELEMENTWISE(silu, 1), .vjp = silu_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -20, .hi = 20 }));
UNARY_FN(silu)

/* With q = e^-|x|, tanh(softplus(x)) = ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1) is n / (n + d) with
 * n = 1 + 2 q, d = 2 q^2 for x > 0, and n = q^2 + 2 q, d = 2 else: nothing overflows and nothing
 * cancels. */
#define MISH(R, sfx)                                                                               \
    TN_INLINE R mish_gate_##sfx(R x, R q)                                                          \
    {                                                                                              \
        R n = x > 0 ? 1 + 2 * q : q * (q + 2), d = x > 0 ? 2 * q * q : 2;                          \
        return n / (n + d);                                                                        \
    }                                                                                              \
    TN_INLINE R mish_slope_##sfx(R x, R q) /* t + x (1 - t^2) sigmoid(x) */                        \
    {                                                                                              \
        R n = x > 0 ? 1 + 2 * q : q * (q + 2), d = x > 0 ? 2 * q * q : 2, t = n / (n + d);         \
        return t + x * ((d / (n + d)) * (1 + t)) * ((x > 0 ? 1 : q) / (1 + q));                    \
    }
MISH(float, f32)
MISH(double, f64)

SPAN_MATH(mish_grad, 2, y * BY_TYPE(mish_slope, x)(x, tn__exp(-tn__abs(x))))
REF(mish_grad, y * (tanh(log1p(exp(x))) + x * (1 - pow(tanh(log1p(exp(x))), 2)) / (1 + exp(-x))))
static void mish_grad_expand(tn_expansion *c)
{
    tn_node *x = c->in[0], *t = tn_tanh(tn_softplus(x));
    tn_node *dt = tn_mul(tn_affine(tn_square(t), -1, 1), tn_sigmoid(x));
    c->out[0] = tn_mul(c->in[1], tn_add(t, tn_mul(x, dt)));
}

TN_OP_DEFINE(mish_grad,
    .doc = "dy (t + x (1 - t^2) sigmoid(x)), t = tanh(softplus(x)): dx of mish(x); operands x, dy",
    ELEMENTWISE(mish_grad, 2), .expand = mish_grad_expand,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 }, { 67 } }, .lo = -9, .hi = 9 }));

SPAN_MATH(mish, 1, x * BY_TYPE(mish_gate, x)(x, tn__exp(-tn__abs(x))))
REF(mish, x * tanh(log1p(exp(x))))
VJP(mish, apply2(&tn_op_mish_grad, x, dy, NULL))
TN_OP_DEFINE(mish, .doc = "x tanh(log(1 + e^x))", ELEMENTWISE(mish, 1), .vjp = mish_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -20, .hi = 20 }));
UNARY_FN(mish)

/* ---- gelu ------------------------------------------------------------------------------------ */

#define SQRT_HALF    0.70710678118654752440
#define INV_SQRT_2PI 0.39894228040143267794

SPAN_MATH(gelu_grad, 2, y * tn__gelu_grad(x))
REF(gelu_grad, y * (0.5 * erfc(-x * SQRT_HALF) + x * INV_SQRT_2PI * exp(-0.5 * x * x)))
static void gelu_grad_expand(tn_expansion *c)
{
    tn_node *x = c->in[0];
    tn_node *cdf = tn_scale(tn_erfc(tn_scale(x, -SQRT_HALF)), 0.5);
    tn_node *pdf = tn_scale(tn_exp(tn_scale(tn_square(x), -0.5)), INV_SQRT_2PI);
    c->out[0] = tn_mul(c->in[1], tn_add(cdf, tn_mul(x, pdf)));
}

TN_OP_DEFINE(gelu_grad, .doc = "dy (Phi(x) + x phi(x)): dx of gelu(x); operands x, dy",
    ELEMENTWISE(gelu_grad, 2), .expand = gelu_grad_expand,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 }, { 67 } }, .lo = -9, .hi = 9 }));

SPAN_MATH(gelu, 1, tn__gelu(x))
REF(gelu, 0.5 * x * erfc(-x * SQRT_HALF))
VJP(gelu, apply2(&tn_op_gelu_grad, x, dy, NULL))
TN_OP_DEFINE(gelu, .doc = "x Phi(x), Phi the normal distribution", ELEMENTWISE(gelu, 1),
    .vjp = gelu_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -9, .hi = 9 }));
UNARY_FN(gelu)

/* gelu_tanh = x s, s = sigmoid(2 u), 2 u = A x + B x^3 (A = 2 sqrt(2 / pi), B = 0.044715 A). */
#define GELU_A 1.59576912160573071176
#define GELU_B 0.07135481627260025010

SPAN_MATH(gelu_tanh_grad, 2, y * tn__gelu_tanh_grad(x))
static double gelu_tanh_slope_ref(double x)
{
    double t = tanh(0.5 * (GELU_A * x + GELU_B * x * x * x));
    return 0.5 * (1 + t) + 0.25 * x * (1 - t * t) * (GELU_A + 3 * GELU_B * x * x);
}

REF(gelu_tanh_grad, y * gelu_tanh_slope_ref(x))
static void gelu_tanh_grad_expand(tn_expansion *c)
{
    tn_node *x = c->in[0], *z = tn_square(x);
    tn_node *s = tn_sigmoid(tn_mul(x, tn_affine(z, GELU_B, GELU_A)));
    tn_node *ds = tn_mul(tn_mul(s, tn_affine(s, -1, 1)), tn_affine(z, 3 * GELU_B, GELU_A));
    c->out[0] = tn_mul(c->in[1], tn_add(s, tn_mul(x, ds)));
}

TN_OP_DEFINE(gelu_tanh_grad, .doc = "dy times the derivative of gelu_tanh at x; operands x, dy",
    ELEMENTWISE(gelu_tanh_grad, 2), .expand = gelu_tanh_grad_expand,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 }, { 67 } }, .lo = -9, .hi = 9 }));

SPAN_MATH(gelu_tanh, 1, tn__gelu_tanh(x))
REF(gelu_tanh, 0.5 * x * (1 + tanh(0.5 * (GELU_A * x + GELU_B * x * x * x))))
VJP(gelu_tanh, apply2(&tn_op_gelu_tanh_grad, x, dy, NULL))
TN_OP_DEFINE(gelu_tanh, .doc = "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
    ELEMENTWISE(gelu_tanh, 1), .vjp = gelu_tanh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -9, .hi = 9 }));
UNARY_FN(gelu_tanh)

/* ---- piecewise relatives --------------------------------------------------------------------- */

TN_SPAN(hard_sigmoid, x <= -3 ? 0 : x >= 3 ? 1 : (x + 3) / 6)
REF(hard_sigmoid, fmin(fmax(x / 6 + 0.5, 0), 1))
VJP(hard_sigmoid, inside(x, tn_scale(dy, 1. / 6), -3, 3))
TN_OP_DEFINE(hard_sigmoid, .doc = "x / 6 + 1 / 2, but at least 0 and at most 1",
    ELEMENTWISE(hard_sigmoid, 1), .vjp = hard_sigmoid_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 }));
UNARY_FN(hard_sigmoid)

TN_SPAN(hard_swish_grad, x <= -3 ? 0 : x >= 3 ? y : y * (x / 3 + (T)0.5))
REF(hard_swish_grad, x <= -3 ? 0 : x >= 3 ? y : y * (x / 3 + 0.5))
VJP2(hard_swish_grad, inside(x, tn_scale(tn_mul(g, y), 1. / 3), -3, 3),
     apply2(&tn_op_hard_swish_grad, x, g, NULL))
TN_OP_DEFINE(hard_swish_grad,
    .doc = "0 where x <= -3, dy where x >= 3, else dy (x / 3 + 1 / 2): dx of hard_swish(x); "
           "of x, dy",
    ELEMENTWISE(hard_swish_grad, 2), .vjp = hard_swish_grad_vjp,
    TN_SAMPLES({ .in = { { 67 }, { 67 } }, .lo = -9, .hi = 9 }));

TN_SPAN(hard_swish, x <= -3 ? 0 : x >= 3 ? x : x * ((x + 3) / 6))
REF(hard_swish, x * fmin(fmax(x / 6 + 0.5, 0), 1))
VJP(hard_swish, apply2(&tn_op_hard_swish_grad, x, dy, NULL))
TN_OP_DEFINE(hard_swish, .doc = "x hard_sigmoid(x)", ELEMENTWISE(hard_swish, 1),
    .vjp = hard_swish_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 }));
UNARY_FN(hard_swish)

TN_SPAN(softsign, x / (1 + tn__abs(x)))
REF(softsign, x / (1 + fabs(x)))
VJP(softsign, tn_div(dy, tn_square(tn_add_scalar(tn_abs(x), 1))))
TN_OP_DEFINE(softsign, .doc = "x / (1 + |x|)", ELEMENTWISE(softsign, 1), .vjp = softsign_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 }));
UNARY_FN(softsign)
