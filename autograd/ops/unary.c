/* Functions of one operand, elementwise, with their derivatives; and the casts between dtypes.
 * Outside of its domain a function is NaN, as in C; gradients there and at poles follow their
 * formulas. */
#include "autograd/ops/elementwise.h"

#include "tensor/half.h"

#if defined __x86_64__
#  include <immintrin.h>
#endif

#define LN2     0.69314718055994530942
#define LN10    2.30258509299404568402
#define SQRT_PI 1.77245385090551602730

/* ---- sign and size --------------------------------------------------------------------------- */

SPAN_WRAP(neg, -x)
REF(neg, -x)
VJP(neg, tn_neg(dy))
TN_OP_DEFINE(neg, .doc = "-x", ELEMENTWISE(neg, 1), .vjp = neg_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } } }, { .in = { { 0 } } },
               { .in = { { 2, -1 } } },
               { .in = { { 5 } }, .dtype = { TN_I32 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 5 } }, .dtype = { TN_I64 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 5 } }, .dtype = { TN_U8 }, .fails = TN_ERR_DTYPE, .message = "u8" }));
UNARY_FN(neg)

/* |x|; the least integer has none, and stays. */
TN_SPAN_FLOATS(abs, tn_no_attrs, tn__abs(x))
TN_EACH_LEVEL(TN_SPAN_FN, abs, i32, uint32_t, uint32_t, tn_no_attrs, x >> 31 ? -x : x)
TN_EACH_LEVEL(TN_SPAN_FN, abs, i64, uint64_t, uint64_t, tn_no_attrs, x >> 63 ? -x : x)
SPAN_OF_NUM(abs)
REF(abs, fabs(x))
VJP(abs, tn_mul(dy, tn_sign(x)))
TN_OP_DEFINE(abs, .doc = "|x|; gradient 0 at 0", ELEMENTWISE(abs, 1), .vjp = abs_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 },
               { .in = { { 9 } }, .dtype = { TN_I32 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 9 } }, .dtype = { TN_I64 }, .int_lo = -9, .int_hi = 9 }));
UNARY_FN(abs)

TN_SPAN_NUM(sign, x > 0 ? 1 : x < 0 ? -1 : x)
REF(sign, (x > 0) - (x < 0))
VJP(sign, NULL)
TN_OP_DEFINE(sign, .doc = "-1, 0 or 1; NaN of NaN; gradient 0", ELEMENTWISE(sign, 1),
    .vjp = sign_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 },
               { .in = { { 9 } }, .dtype = { TN_I32 }, .int_lo = -2, .int_hi = 2 },
               { .in = { { 9 } }, .dtype = { TN_I64 }, .int_lo = -2, .int_hi = 2 }));
UNARY_FN(sign)

/* ---- powers and roots ------------------------------------------------------------------------ */

TN_SPAN(reciprocal, 1 / x)
REF(reciprocal, 1 / x)
VJP(reciprocal, tn_neg(tn_mul(dy, tn_square(y))))
TN_OP_DEFINE(reciprocal, .doc = "1 / x", ELEMENTWISE(reciprocal, 1), .vjp = reciprocal_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 2 },
               { .in = { { 67 } }, .lo = -9, .hi = -0.5 }));
UNARY_FN(reciprocal)

SPAN_WRAP(square, x * x)
REF(square, x * x)
VJP(square, tn_mul(dy, tn_scale(x, 2)))
TN_OP_DEFINE(square, .doc = "x^2", ELEMENTWISE(square, 1), .vjp = square_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -9, .hi = 9 },
               { .in = { { 9 } }, .dtype = { TN_I32 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 9 } }, .dtype = { TN_I64 }, .int_lo = -9, .int_hi = 9 }));
UNARY_FN(square)

TN_SPAN(sqrt, tn__sqrt(x))
REF(sqrt, sqrt(x))
VJP(sqrt, tn_div(dy, tn_scale(y, 2)))
TN_OP_DEFINE(sqrt, .doc = "sqrt(x)", ELEMENTWISE(sqrt, 1), .vjp = sqrt_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 2 },
               { .in = { { 67 } }, .lo = 0.5, .hi = 1e3 }));
UNARY_FN(sqrt)

TN_SPAN(rsqrt, tn__rsqrt(x))
REF(rsqrt, 1 / sqrt(x))
VJP(rsqrt, tn_mul(tn_scale(dy, -0.5), tn_mul(y, tn_square(y))))
TN_OP_DEFINE(rsqrt, .doc = "1 / sqrt(x)", ELEMENTWISE(rsqrt, 1), .vjp = rsqrt_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 2 },
               { .in = { { 67 } }, .lo = 0.5, .hi = 1e3 }));
UNARY_FN(rsqrt)

SPAN_MATH(cbrt, 1, tn__cbrt(x))
REF(cbrt, cbrt(x))
VJP(cbrt, tn_div(dy, tn_scale(tn_square(y), 3)))
TN_OP_DEFINE(cbrt, .doc = "cube root of x, negative x too", ELEMENTWISE(cbrt, 1), .vjp = cbrt_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 2 },
               { .in = { { 67 } }, .lo = -1e3, .hi = -0.5 }));
UNARY_FN(cbrt)

/* ---- exponentials and logarithms ------------------------------------------------------------- */

SPAN_MATH(exp, 1, tn__exp(x))
REF(exp, exp(x))
VJP(exp, tn_mul(dy, y))
TN_OP_DEFINE(exp, .doc = "e^x", ELEMENTWISE(exp, 1), .vjp = exp_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -60, .hi = 0 }));
UNARY_FN(exp)

SPAN_MATH(exp2, 1, tn__exp2(x))
REF(exp2, exp2(x))
VJP(exp2, tn_mul(dy, tn_scale(y, LN2)))
TN_OP_DEFINE(exp2, .doc = "2^x", ELEMENTWISE(exp2, 1), .vjp = exp2_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -60, .hi = 0 }));
UNARY_FN(exp2)

SPAN_MATH(expm1, 1, tn__expm1(x))
REF(expm1, expm1(x))
VJP(expm1, tn_mul(dy, tn_add_scalar(y, 1)))
TN_OP_DEFINE(expm1, .doc = "e^x - 1, exact for small x", ELEMENTWISE(expm1, 1), .vjp = expm1_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -1e-4, .hi = 1e-4 }));
UNARY_FN(expm1)

SPAN_MATH(log, 1, tn__log(x))
REF(log, log(x))
VJP(log, tn_div(dy, x))
TN_OP_DEFINE(log, .doc = "ln(x)", ELEMENTWISE(log, 1), .vjp = log_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 3 },
               { .in = { { 67 } }, .lo = 1, .hi = 1e6 }));
UNARY_FN(log)

SPAN_MATH(log2, 1, tn__log2(x))
REF(log2, log2(x))
VJP(log2, tn_div(dy, tn_scale(x, LN2)))
TN_OP_DEFINE(log2, .doc = "log2(x)", ELEMENTWISE(log2, 1), .vjp = log2_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 3 },
               { .in = { { 67 } }, .lo = 1, .hi = 1e6 }));
UNARY_FN(log2)

SPAN_MATH(log10, 1, tn__log10(x))
REF(log10, log10(x))
VJP(log10, tn_div(dy, tn_scale(x, LN10)))
TN_OP_DEFINE(log10, .doc = "log10(x)", ELEMENTWISE(log10, 1), .vjp = log10_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 3 },
               { .in = { { 67 } }, .lo = 1, .hi = 1e6 }));
UNARY_FN(log10)

SPAN_MATH(log1p, 1, tn__log1p(x))
REF(log1p, log1p(x))
VJP(log1p, tn_div(dy, tn_add_scalar(x, 1)))
TN_OP_DEFINE(log1p, .doc = "ln(1 + x), exact for small x", ELEMENTWISE(log1p, 1), .vjp = log1p_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -0.5, .hi = 3 },
               { .in = { { 67 } }, .lo = -1e-4, .hi = 1e-4 }));
UNARY_FN(log1p)

/* ---- trigonometry ---------------------------------------------------------------------------- */

SPAN_MATH_RARE(sin, 1, tn__trig_is_far(x), tn__sin_far(x), tn__sin(x))
REF(sin, sin(x))
VJP(sin, tn_mul(dy, tn_cos(x)))
TN_OP_DEFINE(sin, .doc = "sin(x)", ELEMENTWISE(sin, 1), .vjp = sin_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(sin)

SPAN_MATH_RARE(cos, 1, tn__trig_is_far(x), tn__cos_far(x), tn__cos(x))
REF(cos, cos(x))
VJP(cos, tn_neg(tn_mul(dy, tn_sin(x))))
TN_OP_DEFINE(cos, .doc = "cos(x)", ELEMENTWISE(cos, 1), .vjp = cos_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(cos)

SPAN_MATH_RARE(tan, 1, tn__trig_is_far(x), tn__tan_far(x), tn__tan(x))
REF(tan, tan(x))
VJP(tan, tn_mul(dy, tn_add_scalar(tn_square(y), 1)))
TN_OP_DEFINE(tan, .doc = "tan(x)", ELEMENTWISE(tan, 1), .vjp = tan_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -1, .hi = 1 },
               { .in = { { 67 } }, .lo = 2.2, .hi = 4 }));
UNARY_FN(tan)

SPAN_MATH(asin, 1, tn__asin(x))
REF(asin, asin(x))
VJP(asin, tn_mul(dy, tn_rsqrt(tn_affine(tn_square(x), -1, 1))))
TN_OP_DEFINE(asin, .doc = "arcsine, in [-pi/2, pi/2]", ELEMENTWISE(asin, 1), .vjp = asin_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -0.9, .hi = 0.9 },
               { .in = { { 67 } }, .lo = -0.4, .hi = 0.4 }));
UNARY_FN(asin)

SPAN_MATH(acos, 1, tn__acos(x))
REF(acos, acos(x))
VJP(acos, tn_neg(tn_mul(dy, tn_rsqrt(tn_affine(tn_square(x), -1, 1)))))
TN_OP_DEFINE(acos, .doc = "arccosine, in [0, pi]", ELEMENTWISE(acos, 1), .vjp = acos_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -0.9, .hi = 0.9 },
               { .in = { { 67 } }, .lo = -0.4, .hi = 0.4 }));
UNARY_FN(acos)

SPAN_MATH(atan, 1, tn__atan(x))
REF(atan, atan(x))
VJP(atan, tn_div(dy, tn_add_scalar(tn_square(x), 1)))
TN_OP_DEFINE(atan, .doc = "arctangent, in [-pi/2, pi/2]", ELEMENTWISE(atan, 1), .vjp = atan_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(atan)

/* ---- hyperbolic functions -------------------------------------------------------------------- */

SPAN_MATH(sinh, 1, tn__sinh(x))
REF(sinh, sinh(x))
VJP(sinh, tn_mul(dy, tn_cosh(x)))
TN_OP_DEFINE(sinh, .doc = "(e^x - e^-x) / 2", ELEMENTWISE(sinh, 1), .vjp = sinh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -1e-2, .hi = 1e-2 }));
UNARY_FN(sinh)

SPAN_MATH(cosh, 1, tn__cosh(x))
REF(cosh, cosh(x))
VJP(cosh, tn_mul(dy, tn_sinh(x)))
TN_OP_DEFINE(cosh, .doc = "(e^x + e^-x) / 2", ELEMENTWISE(cosh, 1), .vjp = cosh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -1e-2, .hi = 1e-2 }));
UNARY_FN(cosh)

/* dx of tanh from its result, in one pass. */
TN_SPAN(tanh_grad, y * (1 - x * x))
REF(tanh_grad, y * (1 - x * x))
static tn_node *tanh_grad(tn_node *y, tn_node *dy)
{
    return tn_apply(&tn_op_tanh_grad, (tn_node *[]){ y, dy }, 2, NULL);
}
VJP2(tanh_grad, tn_mul(g, tn_mul(y, tn_scale(x, -2))), tanh_grad(x, g))
TN_OP_DEFINE(tanh_grad, .doc = "dy (1 - y^2): dx of y = tanh(x); operands y, dy",
    ELEMENTWISE(tanh_grad, 2), .vjp = tanh_grad_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } }, { .in = { { 67 }, { 67 } } }));

SPAN_MATH(tanh, 1, tn__tanh(x))
REF(tanh, tanh(x))
VJP(tanh, tanh_grad(y, dy))
TN_OP_DEFINE(tanh, .doc = "(e^x - e^-x) / (e^x + e^-x)", ELEMENTWISE(tanh, 1), .vjp = tanh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -1e-2, .hi = 1e-2 },
               { .in = { { 4 } }, .lo = 20, .hi = 30 })); /* saturated: y = 1, dx = 0 */
UNARY_FN(tanh)

SPAN_MATH(asinh, 1, tn__asinh(x))
REF(asinh, asinh(x))
VJP(asinh, tn_mul(dy, tn_rsqrt(tn_add_scalar(tn_square(x), 1))))
TN_OP_DEFINE(asinh, .doc = "inverse of sinh", ELEMENTWISE(asinh, 1), .vjp = asinh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 },
               { .in = { { 67 } }, .lo = -1e-2, .hi = 1e-2 }));
UNARY_FN(asinh)

SPAN_MATH(acosh, 1, tn__acosh(x))
REF(acosh, acosh(x))
VJP(acosh, tn_mul(dy, tn_rsqrt(tn_add_scalar(tn_square(x), -1))))
TN_OP_DEFINE(acosh, .doc = "inverse of cosh, for x >= 1", ELEMENTWISE(acosh, 1), .vjp = acosh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 1.5, .hi = 3 },
               { .in = { { 67 } }, .lo = 1.5, .hi = 300 }));
UNARY_FN(acosh)

SPAN_MATH(atanh, 1, tn__atanh(x))
REF(atanh, atanh(x))
VJP(atanh, tn_div(dy, tn_affine(tn_square(x), -1, 1)))
TN_OP_DEFINE(atanh, .doc = "inverse of tanh, for |x| <= 1", ELEMENTWISE(atanh, 1), .vjp = atanh_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -0.9, .hi = 0.9 },
               { .in = { { 67 } }, .lo = -1e-2, .hi = 1e-2 }));
UNARY_FN(atanh)

/* ---- error function -------------------------------------------------------------------------- */

SPAN_MATH(erf, 1, tn__erf(x))
REF(erf, erf(x))
VJP(erf, tn_mul(dy, tn_scale(tn_exp(tn_neg(tn_square(x))), 2 / SQRT_PI)))
TN_OP_DEFINE(erf, .doc = "2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x",
    ELEMENTWISE(erf, 1), .vjp = erf_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -6, .hi = 6 }));
UNARY_FN(erf)

SPAN_MATH(erfc, 1, tn__erfc(x))
REF(erfc, erfc(x))
VJP(erfc, tn_mul(dy, tn_scale(tn_exp(tn_neg(tn_square(x))), -2 / SQRT_PI)))
TN_OP_DEFINE(erfc, .doc = "1 - erf(x), exact for large x", ELEMENTWISE(erfc, 1), .vjp = erfc_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -3, .hi = 3 }, { .in = { { 67 } }, .lo = -6, .hi = 6 }));
UNARY_FN(erfc)

/* ---- rounding -------------------------------------------------------------------------------- */

TN_SPAN(floor, tn__floor(x))
REF(floor, floor(x))
VJP(floor, NULL)
TN_OP_DEFINE(floor, .doc = "largest whole number <= x; gradient 0", ELEMENTWISE(floor, 1),
    .vjp = floor_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -9, .hi = 9 },
               { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(floor)

TN_SPAN(ceil, tn__ceil(x))
REF(ceil, ceil(x))
VJP(ceil, NULL)
TN_OP_DEFINE(ceil, .doc = "smallest whole number >= x; gradient 0", ELEMENTWISE(ceil, 1),
    .vjp = ceil_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -9, .hi = 9 },
               { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(ceil)

TN_SPAN(round, tn__round(x))
REF(round, rint(x))
VJP(round, NULL)
TN_OP_DEFINE(round, .doc = "nearest whole number, halves to the even one; gradient 0",
    ELEMENTWISE(round, 1), .vjp = round_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -9, .hi = 9 },
               { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(round)

TN_SPAN(trunc, tn__trunc(x))
REF(trunc, trunc(x))
VJP(trunc, NULL)
TN_OP_DEFINE(trunc, .doc = "x without its fraction; gradient 0", ELEMENTWISE(trunc, 1),
    .vjp = trunc_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -9, .hi = 9 },
               { .in = { { 67 } }, .lo = -30, .hi = 30 }));
UNARY_FN(trunc)

TN_SPAN(frac, x - tn__trunc(x))
REF(frac, x - trunc(x))
VJP(frac, dy)
TN_OP_DEFINE(frac, .doc = "x - trunc(x)", ELEMENTWISE(frac, 1), .vjp = frac_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = -9, .hi = 9 },
               { .in = { { 67 } }, .lo = -100, .hi = 100 }));
UNARY_FN(frac)

/* ---- clamp ----------------------------------------------------------------------------------- */

#define CLAMP_ATTRS(F) F(clamp, f64, lo) F(clamp, f64, hi)
TN_ATTRS(clamp, CLAMP_ATTRS)

static tn_status clamp_infer(tn_infer *c)
{
    const clamp_attrs *at = c->attrs;
    if (!(at->lo <= at->hi))
        return tn_infer_fail(c, TN_ERR_ARG, "bounds %g and %g are in the wrong order", at->lo,
                             at->hi);
    return tn_infer_same(c);
}

TN_SPAN_ATTRS(clamp_grad, clamp_attrs, x < (T)attrs.lo || x > (T)attrs.hi ? 0 : y)
REF_ATTRS(clamp_grad, clamp_attrs, x < attrs.lo || x > attrs.hi ? 0 : y)
static tn_node *clamp_grad(tn_node *x, tn_node *dy, const clamp_attrs *attrs)
{
    return tn_apply(&tn_op_clamp_grad, (tn_node *[]){ x, dy }, 2, attrs);
}
VJP2(clamp_grad, NULL, clamp_grad(x, g, c->attrs))
TN_OP_DEFINE(clamp_grad, .doc = "dy where lo <= x <= hi, else 0: dx of clamp(x); operands x, dy",
    ELEMENTWISE(clamp_grad, 2), TN_ATTRS_OF(clamp), .vjp = clamp_grad_vjp,
    TN_SAMPLES({ .in = { { 67 }, { 67 } }, .attrs = &(clamp_attrs){ -0.5, 0.5 } }));

TN_SPAN_ATTRS(clamp, clamp_attrs, x < (T)attrs.lo ? (T)attrs.lo : x > (T)attrs.hi ? (T)attrs.hi : x)
REF_ATTRS(clamp, clamp_attrs, x < attrs.lo ? attrs.lo : x > attrs.hi ? attrs.hi : x)
VJP(clamp, clamp_grad(x, dy, c->attrs))
TN_OP_DEFINE(clamp, .doc = "x, but at least lo and at most hi; gradient 1 at the bounds",
    .arity = 1, .flags = TN_INPLACE_OK, TN_ATTRS_OF(clamp),
    .infer = clamp_infer, .span = &clamp_span, .vjp = clamp_vjp, .ref = clamp_ref,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = &(clamp_attrs){ -0.5, 0.5 } },
               { .in = { { 67 } }, .attrs = &(clamp_attrs){ 0, INFINITY } },
               { .in = { { 67 } }, .lo = -9, .hi = 9, .attrs = &(clamp_attrs){ -INFINITY, 3 } },
               { .in = { { 3 } }, .attrs = &(clamp_attrs){ 1, -1 }, .fails = TN_ERR_ARG,
                 .message = "1 and -1" },
               { .in = { { 3 } }, .attrs = &(clamp_attrs){ NAN, 1 }, .fails = TN_ERR_ARG,
                 .message = "nan" }));
tn_node *tn_clamp(tn_node *x, double lo, double hi)
{
    return tn_apply(&tn_op_clamp, &x, 1, &(clamp_attrs){ .lo = lo, .hi = hi });
}

/* ---- cast ------------------------------------------------------------------------------------ */

#define CAST_ATTRS(F) F(cast, dtype, to)
TN_ATTRS(cast, CAST_ATTRS)

/* Numbers v to an integer: floats lose their fraction and stop at the ends of the range, NaN
 * gives 0 (C leaves both undefined); integers wrap around. */
#define I32_OF_REAL(v)                                                                             \
    ((v) >= 0x1p31f ? INT32_MAX : (v) >= -0x1p31f ? (int32_t)(v) : (v) < 0 ? INT32_MIN : 0)
#define I64_OF_REAL(v)                                                                             \
    ((v) >= 0x1p63f ? INT64_MAX : (v) >= -0x1p63f ? (int64_t)(v) : (v) < 0 ? INT64_MIN : 0)
#define U8_OF_REAL(v) ((v) >= 255 ? 255 : (v) > 0 ? (int32_t)(v) : 0)
#define I32_OF_INT(v) ((int32_t)(v))
#define I64_OF_INT(v) ((int64_t)(v))
#define U8_OF_INT(v)  ((uint8_t)(v))

/* One pair of dtypes: load() makes a number V of an element, expr an element of the number v. */
#define CAST_CASE(dtype, ctype, V, load, expr)                                                     \
    case dtype: {                                                                                  \
        ctype *out = (ctype *)args->out[0];                                                        \
        TN_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const V v = load(in[i]);                                                               \
            out[i] = (ctype)(expr);                                                                \
        }                                                                                          \
        break;                                                                                     \
    }
#define SAME(v)    (v)
#define IS_TRUE(v) ((v) != 0)

/* The rarer pairs go by way of a middle dtype, block by block. */
static void cast_twice(const tn_span_args *args, tn_span_fn first, tn_dtype middle,
                       tn_span_fn second, size_t size)
{
    enum { BLOCK = 512 };
    uint64_t     block[BLOCK];
    tn_dtype     to = ((const cast_attrs *)args->attrs)->to;
    cast_attrs   to_middle = { middle };
    tn_span_args one = *args, two = *args;
    one.attrs = &to_middle, one.out[0] = block, two.in[0] = block;
    for (int64_t at = 0; at < args->n; at += BLOCK) {
        one.n = two.n = args->n - at < BLOCK ? args->n - at : BLOCK;
        one.in[0] = (const char *)args->in[0] + (size_t)at * size;
        two.out[0] = (char *)args->out[0] + (size_t)at * tn_dtype_size(to);
        first(&one);
        second(&two);
    }
}

/* f16 to f32 and back: by the processor where it has that, with the same bits. */
#define TO_F16_base   CAST_CASE(TN_F16, uint16_t, float, SAME, tn_f16_from_f32(v))
#define FROM_F16_base CAST_CASE(TN_F32, float, float, tn_f32_from_f16, v)
#if defined TN_TARGET_AVX2
TN_TARGET_AVX2 static void eight_to_f16(const float *in, uint16_t *out)
{
    _mm_storeu_si128((__m128i *)(void *)out,
                     _mm256_cvtps_ph(_mm256_loadu_ps(in), _MM_FROUND_TO_NEAREST_INT));
}

TN_TARGET_AVX2 static void eight_from_f16(const uint16_t *in, float *out)
{
    _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)in)));
}

/* cast_eight of each eight, and of the last ones in a buffer. */
#  define F16_ROW(name, from, to, cast_eight)                                                      \
      TN_TARGET_AVX2 static void name(const from *in, to *out, int64_t n)                          \
      {                                                                                            \
          from left[8] = { 0 };                                                                    \
          to   made[8];                                                                            \
          for (; n >= 8; n -= 8, in += 8, out += 8) cast_eight(in, out);                           \
          memcpy(left, in, (size_t)n * sizeof *in);                                                \
          cast_eight(left, made);                                                                  \
          memcpy(out, made, (size_t)n * sizeof *out);                                              \
      }
F16_ROW(to_f16, float, uint16_t, eight_to_f16)
F16_ROW(from_f16, uint16_t, float, eight_from_f16)

#  define TO_F16_avx2     case TN_F16: to_f16(in, args->out[0], n); break;
#  define FROM_F16_avx2   case TN_F32: from_f16(in, args->out[0], n); break;
#  define TO_F16_avx512   TO_F16_avx2
#  define FROM_F16_avx512 FROM_F16_avx2
#endif

/* Everything of f32; all but the 16-bit floats of the other wide dtypes, whose way there is f32
 * (so they are rounded twice); of a narrow dtype, the wide one that holds all of its numbers.
 * kind: REAL or INT. */
#define CAST_WIDE_CASES(ctype, kind)                                                               \
    CAST_CASE(TN_F32, float, ctype, SAME, v)                                                       \
    CAST_CASE(TN_F64, double, ctype, SAME, v)                                                      \
    CAST_CASE(TN_I32, int32_t, ctype, SAME, I32_OF_##kind(v))                                      \
    CAST_CASE(TN_I64, int64_t, ctype, SAME, I64_OF_##kind(v))                                      \
    CAST_CASE(TN_U8, uint8_t, ctype, SAME, U8_OF_##kind(v))                                        \
    CAST_CASE(TN_BOOL, uint8_t, ctype, SAME, v != 0)

#define CAST_FN(level, target, type, ctype, cases)                                                 \
    target static void cast_##type##_##level(const tn_span_args *args)                             \
    {                                                                                              \
        const ctype  *in = (const ctype *)args->in[0];                                             \
        const int64_t n = args->n;                                                                 \
        switch (((const cast_attrs *)args->attrs)->to) {                                           \
            cases                                                                                  \
        }                                                                                          \
    }
#define CAST_F32(level, target, fused, unused)                                                     \
    CAST_FN(level, target, f32, float, CAST_WIDE_CASES(float, REAL)                                \
            TO_F16_##level                                                                         \
            CAST_CASE(TN_BF16, uint16_t, float, SAME, tn_bf16_from_f32(v)) default: break;)
#define CAST_WIDE(level, target, fused, type, ctype, kind)                                         \
    CAST_FN(level, target, type, ctype, CAST_WIDE_CASES(ctype, kind) default:                      \
            cast_twice(args, cast_##type##_##level, TN_F32, cast_f32_##level, sizeof(ctype));)
#define CAST_NARROW(level, target, fused, type, ctype, dtype, wide, wctype, load)                  \
    CAST_FN(level, target, type, ctype, CAST_CASE(dtype, wctype, wctype, load, v) default:         \
            cast_twice(args, cast_##type##_##level, dtype, cast_##wide##_##level, sizeof(ctype));)
#define CAST_F16(level, target, fused, unused)                                                     \
    CAST_FN(level, target, f16, uint16_t, FROM_F16_##level default:                                \
            cast_twice(args, cast_f16_##level, TN_F32, cast_f32_##level, sizeof(uint16_t));)

TN_EACH_LEVEL(CAST_F32, )
TN_EACH_LEVEL(CAST_WIDE, f64, double, REAL)
TN_EACH_LEVEL(CAST_WIDE, i32, int32_t, INT)
TN_EACH_LEVEL(CAST_WIDE, i64, int64_t, INT)
TN_EACH_LEVEL(CAST_NARROW, u8, uint8_t, TN_I32, i32, int32_t, SAME)
TN_EACH_LEVEL(CAST_NARROW, flag, uint8_t, TN_I32, i32, int32_t, IS_TRUE)
TN_EACH_LEVEL(CAST_F16, )
TN_EACH_LEVEL(CAST_NARROW, bf16, uint16_t, TN_F32, f32, float, tn_f32_from_bf16)

static const tn_span cast_span = { {
    [TN_F32] = TN_LEVELS_OF(cast, f32),
    [TN_F64] = TN_LEVELS_OF(cast, f64),
    [TN_I32] = TN_LEVELS_OF(cast, i32),
    [TN_I64] = TN_LEVELS_OF(cast, i64),
    [TN_U8] = TN_LEVELS_OF(cast, u8),
    [TN_BOOL] = TN_LEVELS_OF(cast, flag),
    [TN_F16] = TN_LEVELS_OF(cast, f16),
    [TN_BF16] = TN_LEVELS_OF(cast, bf16),
} };

static tn_status cast_infer(tn_infer *c)
{
    tn_dtype to = ((const cast_attrs *)c->attrs)->to;
    if ((unsigned)to >= TN_N_DTYPES)
        return tn_infer_fail(c, TN_ERR_DTYPE, "%d is no dtype", (int)to);
    c->out[0] = (tn_type){ .dtype = to, .shape = c->in[0].shape };
    return TN_OK;
}

static bool is_real(tn_dtype d) { return tn_dtype_is_float(d) || d == TN_F16 || d == TN_BF16; }

static double cast_to(tn_dtype to, double x)
{
    switch (to) {
    case TN_F32: return (float)x;
    case TN_F64: return x;
    case TN_F16: return tn_f32_from_f16(tn_f16_from_f32((float)x));
    case TN_BF16: return tn_f32_from_bf16(tn_bf16_from_f32((float)x));
    case TN_BOOL: return x != 0;
    case TN_U8: return fmin(fmax(trunc(x), 0), 255);
    default: return trunc(x);
    }
}
REF_ATTRS(cast, cast_attrs, cast_to(attrs.to, x))

/* Between floats the gradient is cast back; integers have none. */
static void cast_vjp(tn_vjp *c)
{
    tn_dtype from = tn_node_dtype(c->in[0]);
    if (is_real(from) && is_real(tn_node_dtype(c->out[0]))) c->din[0] = tn_cast(c->dout[0], from);
}

TN_OP_DEFINE(cast,
    .doc = "x as another dtype; floats to integers lose the fraction and saturate, NaN gives 0",
    .arity = 1, TN_ATTRS_OF(cast),
    .infer = cast_infer, .span = &cast_span, .vjp = cast_vjp, .ref = cast_ref,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = &(cast_attrs){ TN_F64 } },
               { .in = { { 67 } }, .lo = -99, .hi = 99, .attrs = &(cast_attrs){ TN_I32 },
                 .no_grad = { true } },
               { .in = { { 67 } }, .lo = -99, .hi = 99, .attrs = &(cast_attrs){ TN_I64 },
                 .no_grad = { true } },
               { .in = { { 67 } }, .lo = -99, .hi = 99, .attrs = &(cast_attrs){ TN_BOOL },
                 .no_grad = { true } },
               { .in = { { 67 } }, .dtype = { TN_I32 }, .int_lo = -99, .int_hi = 99,
                 .attrs = &(cast_attrs){ TN_F64 } },
               { .in = { { 67 } }, .dtype = { TN_I64 }, .int_lo = -99, .int_hi = 99,
                 .attrs = &(cast_attrs){ TN_F64 } },
               { .in = { { 67 } }, .dtype = { TN_I64 }, .int_lo = -99, .int_hi = 99,
                 .attrs = &(cast_attrs){ TN_I32 } },
               { .in = { { 3, 5 } }, .dtype = { TN_BOOL }, .attrs = &(cast_attrs){ TN_F64 } },
               { .in = { { 3 } }, .attrs = &(cast_attrs){ TN_N_DTYPES }, .fails = TN_ERR_DTYPE,
                 .message = "8" }));
tn_node *tn_cast(tn_node *x, tn_dtype dtype)
{
    if (x && tn_node_dtype(x) == dtype) return x;
    return tn_apply(&tn_op_cast, &x, 1, &(cast_attrs){ .to = dtype });
}
