/* Arithmetic on two or three operands, elementwise. Integers wrap around; floats follow IEEE
 * 754, so a division by zero is an infinity or a NaN and never an error. Gradients at the edges
 * (ties, zeros) are PyTorch's; where they differ, the rule says so. */
#include "autograd/ops/elementwise.h"


/* ---- constants beside a node ----------------------------------------------------------------- */

tn_node *tn_full_like(tn_node *x, double value)
{
    if (!x) return NULL;
    if (!tn_node_graph(x)) {
        tn_fail(tn_node_ctx(x), TN_ERR_STATE,
                "full_like: variable \"%s\" is in no graph: give its tn_read", tn_variable_name(x));
        return NULL;
    }
    return tn_full(tn_node_graph(x), tn_node_dtype(x), tn_node_shape(x), value);
}

tn_node *tn_zeros_like(tn_node *x) { return tn_full_like(x, 0); }

tn_node *tn_scalar_like(tn_node *x, double value)
{
    if (!x) return NULL;
    if (!tn_node_graph(x)) {
        tn_fail(tn_node_ctx(x), TN_ERR_STATE,
                "scalar_like: variable \"%s\" is in no graph: give its tn_read",
                tn_variable_name(x));
        return NULL;
    }
    return tn_full(tn_node_graph(x), tn_node_dtype(x), TN_SCALAR, value);
}

/* ---- add, sub, mul, div ---------------------------------------------------------------------- */

SPAN_WRAP(add, x + y)
REF(add, x + y)
VJP2(add, g, g)
TN_OP_DEFINE(add, .doc = "x + y", ELEMENTWISE(add, 2), .vjp = add_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 4, 1, 3 }, { 2, 1 } } },                 /* both broadcast */
               { .in = { { 0 }, { 3 } } },
               { .in = { { 67 }, { 67 } }, .lo = -100, .hi = 100 },
               { .in = { { -1, 3 }, { 1, 3 } } },
               { .in = { { 5 }, { 5 } }, .dtype = { TN_I32, TN_I32 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 19 }, { 1 } }, .dtype = { TN_I64, TN_I64 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 2, 3 }, { 4, 5 } }, .fails = TN_ERR_SHAPE, .message = "[2,3]" },
               { .in = { { 3 }, { 3 } }, .dtype = { TN_I32, TN_I64 }, .fails = TN_ERR_DTYPE,
                 .message = "i64" },
               { .in = { { 3 }, { 3 } }, .dtype = { TN_BOOL, TN_BOOL }, .fails = TN_ERR_DTYPE,
                 .message = "bool" }));
BINARY_FN(add)

SPAN_WRAP(sub, x - y)
REF(sub, x - y)
VJP2(sub, g, tn_neg(g))
TN_OP_DEFINE(sub, .doc = "x - y", ELEMENTWISE(sub, 2), .vjp = sub_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 3 }, { 2, 1 } } },
               { .in = { { 130 }, { 0 } } },
               { .in = { { 5 }, { 5 } }, .dtype = { TN_I32, TN_I32 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 5 }, { 5 } }, .dtype = { TN_I64, TN_I64 }, .int_lo = -9, .int_hi = 9 }));
BINARY_FN(sub)

SPAN_WRAP(mul, x * y)
REF(mul, x * y)
VJP2(mul, tn_mul(g, y), tn_mul(g, x))
TN_OP_DEFINE(mul, .doc = "x y", ELEMENTWISE(mul, 2), .vjp = mul_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 2, 3 }, { 3 } }, .lo = -10, .hi = 10 },
               { .in = { { 0 }, { 67 } } },
               { .in = { { 5 }, { 5 } }, .dtype = { TN_I32, TN_I32 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 5 }, { 5 } }, .dtype = { TN_I64, TN_I64 }, .int_lo = -9, .int_hi = 9 }));
BINARY_FN(mul)

TN_SPAN(div, x / y)
REF(div, x / y)
static void div_vjp(tn_vjp *c)
{
    tn_node *dx = tn_div(c->dout[0], c->in[1]);
    if (c->want[0]) c->din[0] = dx;
    if (c->want[1]) c->din[1] = tn_neg(tn_mul(dx, c->out[0])); /* -(dy / y) (x / y): frees x */
}
TN_OP_DEFINE(div, .doc = "x / y", ELEMENTWISE(div, 2), .vjp = div_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.5, .hi = 2 },
               { .in = { { 2, 1, 3 }, { 4, 1 } }, .lo = -3, .hi = -0.5 },
               { .in = { { 0 }, { 67 } }, .lo = 0.5, .hi = 2 },
               { .in = { { 3 }, { 3 } }, .dtype = { TN_I32, TN_I32 }, .fails = TN_ERR_DTYPE,
                 .message = "i32" }));
BINARY_FN(div)

/* ---- affine: a x + b, with numbers known while building -------------------------------------- */

#define AFFINE_ATTRS(F) F(affine, f64, a) F(affine, f64, b)
TN_ATTRS(affine, AFFINE_ATTRS)

TN_SPAN_FLOATS(affine, affine_attrs, (T)attrs.a * x + (T)attrs.b)
TN_EACH_LEVEL(TN_SPAN_FN, affine, i32, uint32_t, uint32_t, affine_attrs,
              (T)(int64_t)attrs.a * x + (T)(int64_t)attrs.b)
TN_EACH_LEVEL(TN_SPAN_FN, affine, i64, uint64_t, uint64_t, affine_attrs,
              (T)(int64_t)attrs.a * x + (T)(int64_t)attrs.b)
SPAN_OF_NUM(affine)
REF_ATTRS(affine, affine_attrs, attrs.a * x + attrs.b)

static tn_status affine_infer(tn_infer *c)
{
    const affine_attrs *at = c->attrs;
    if (tn_dtype_is_index(c->in[0].dtype))
        for (int i = 0; i < 2; i++) {
            double v = i ? at->b : at->a;
            if (!(v > -0x1p53 && v < 0x1p53 && v == (double)(int64_t)v))
                return tn_infer_fail(c, TN_ERR_ARG,
                                     "%g is not a whole number under 2^53, and x is %s", v,
                                     tn_dtype_name(c->in[0].dtype));
        }
    return tn_infer_same(c);
}

static void affine_vjp(tn_vjp *c)
{
    c->din[0] = tn_scale(c->dout[0], ((const affine_attrs *)c->attrs)->a);
}

TN_OP_DEFINE(affine, .doc = "a x + b", .arity = 1, .flags = TN_INPLACE_OK, TN_ATTRS_OF(affine),
    .infer = affine_infer, .span = &affine_span, .vjp = affine_vjp, .ref = affine_ref,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = &(affine_attrs){ 2.5, -1 } },
               { .in = { { 67 } }, .attrs = &(affine_attrs){ -1e-3, 1e3 } },
               { .in = { { 3 } }, .attrs = &(affine_attrs){ 0, 3 } },
               { .in = { { 5 } }, .attrs = &(affine_attrs){ -2, 7 }, .dtype = { TN_I32 },
                 .int_lo = -9, .int_hi = 9 },
               { .in = { { 5 } }, .attrs = &(affine_attrs){ 3, -1 }, .dtype = { TN_I64 },
                 .int_lo = -9, .int_hi = 9 },
               { .in = { { 5 } }, .attrs = &(affine_attrs){ 0.5, 0 }, .dtype = { TN_I64 },
                 .fails = TN_ERR_ARG, .message = "0.5" },
               { .in = { { 5 } }, .attrs = &(affine_attrs){ 1, 1 }, .dtype = { TN_U8 },
                 .fails = TN_ERR_DTYPE, .message = "u8" }));

tn_node *tn_affine(tn_node *x, double a, double b)
{
    return tn_apply(&tn_op_affine, &x, 1, &(affine_attrs){ .a = a, .b = b });
}

tn_node *tn_add_scalar(tn_node *x, double c) { return tn_affine(x, 1, c); }

/* -0 is the number that changes nothing when added, not even the sign of a zero. */
tn_node *tn_scale(tn_node *x, double c) { return tn_affine(x, c, -0.0); }

/* ---- lerp ------------------------------------------------------------------------------------ */

TN_SPAN(lerp, x + z * (y - x))
REF(lerp, x + z * (y - x))
static void lerp_vjp(tn_vjp *c)
{
    tn_node *x = c->in[0], *y = c->in[1], *t = c->in[2], *g = c->dout[0];
    if (c->want[0]) c->din[0] = tn_mul(g, tn_affine(t, -1, 1));
    if (c->want[1]) c->din[1] = tn_mul(g, t);
    if (c->want[2]) c->din[2] = tn_mul(g, tn_sub(y, x));
}
TN_OP_DEFINE(lerp, .doc = "x + t (y - x)", ELEMENTWISE(lerp, 3), .vjp = lerp_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 }, { 2, 3 } } },
               { .in = { { 2, 3 }, { 3 }, { 0 } }, .lo = 0, .hi = 1 },
               { .in = { { 67 }, { 67 }, { 1 } }, .lo = -5, .hi = 5 },
               { .in = { { 2, 3 }, { 3 }, { 4 } }, .fails = TN_ERR_SHAPE, .message = "[4]" }));
tn_node *tn_lerp(tn_node *x, tn_node *y, tn_node *t)
{
    return tn_apply(&tn_op_lerp, (tn_node *[]){ x, y, t }, 3, NULL);
}

/* ---- maximum, minimum ------------------------------------------------------------------------ */

/* dx of max(x, y): dy where x wins, half of it where they are equal. Of min(x, y) it is the
 * gradient of max with the operands exchanged. A NaN wins, on both sides. */
TN_SPAN(maximum_grad, x < y ? 0 : x == y ? z * (T)0.5 : z)
REF(maximum_grad, x < y ? 0 : x == y ? z / 2 : z)
static tn_node *maximum_grad(tn_node *x, tn_node *y, tn_node *dy)
{
    return tn_apply(&tn_op_maximum_grad, (tn_node *[]){ x, y, dy }, 3, NULL);
}
static void maximum_grad_vjp(tn_vjp *c) /* constant in x and y but for jumps */
{
    if (c->want[2]) c->din[2] = maximum_grad(c->in[0], c->in[1], c->dout[0]);
}
TN_OP_DEFINE(maximum_grad, .doc = "dy where x > y, dy / 2 where x = y, else 0: dx of max(x, y)",
    ELEMENTWISE(maximum_grad, 3), .vjp = maximum_grad_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 }, { 2, 3 } } },
               { .in = { { 3 }, { 2, 1 }, { 2, 3 } } }));

TN_SPAN_NUM(maximum, x > y || x != x ? x : y)
REF(maximum, x > y || x != x ? x : y)
VJP2(maximum, maximum_grad(x, y, g), maximum_grad(y, x, g))
TN_OP_DEFINE(maximum, .doc = "max(x, y); NaN if either is", ELEMENTWISE(maximum, 2),
    .vjp = maximum_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 4, 1 }, { 3 } } },
               { .in = { { 0 }, { 67 } } },
               { .in = { { 7 }, { 7 } }, .dtype = { TN_I32, TN_I32 }, .int_lo = -3, .int_hi = 3 },
               { .in = { { 7 }, { 7 } }, .dtype = { TN_I64, TN_I64 }, .int_lo = -3, .int_hi = 3 }));
BINARY_FN(maximum)

TN_SPAN_NUM(minimum, x < y || x != x ? x : y)
REF(minimum, x < y || x != x ? x : y)
VJP2(minimum, maximum_grad(y, x, g), maximum_grad(x, y, g))
TN_OP_DEFINE(minimum, .doc = "min(x, y); NaN if either is", ELEMENTWISE(minimum, 2),
    .vjp = minimum_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 4, 1 }, { 3 } } },
               { .in = { { 0 }, { 67 } } },
               { .in = { { 7 }, { 7 } }, .dtype = { TN_I32, TN_I32 }, .int_lo = -3, .int_hi = 3 },
               { .in = { { 7 }, { 7 } }, .dtype = { TN_I64, TN_I64 }, .int_lo = -3, .int_hi = 3 }));
BINARY_FN(minimum)

/* ---- powers ---------------------------------------------------------------------------------- */

SPAN_MATH(pow, 2, tn__pow(x, y))
REF(pow, pow(x, y))
static void pow_vjp(tn_vjp *c)
{
    tn_node *x = c->in[0], *y = c->in[1], *out = c->out[0], *g = c->dout[0];
    tn_node *zero = tn_scalar_like(g, 0), *one = tn_scalar_like(g, 1);
    if (c->want[0]) {
        /* y x^(y-1); where x = y = 0 that is 0 (x^0 is the constant 1) and not 0 inf */
        tn_node *base = tn_where(tn_logical_and(tn_eq(x, zero), tn_eq(y, zero)), one, x);
        c->din[0] = tn_mul(g, tn_mul(y, tn_pow(base, tn_add_scalar(y, -1))));
    }
    if (c->want[1]) {
        /* x^y log x where x > 0; at 0 it is 0 (of y > 0), and for a negative base there is no
         * derivative: 0, where PyTorch gives NaN */
        tn_node *pos = tn_gt(x, zero);
        c->din[1] = tn_mul(g, tn_mul(tn_where(pos, out, zero), tn_log(tn_where(pos, x, one))));
    }
}
TN_OP_DEFINE(pow, .doc = "x^y", ELEMENTWISE(pow, 2), .vjp = pow_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.5, .hi = 3 },
               { .in = { { 4, 1 }, { 3 } }, .lo = 0.1, .hi = 1 },
               { .in = { { 67 }, { 0 } }, .lo = 0.5, .hi = 4 }));
BINARY_FN(pow)

#define POW_SCALAR_ATTRS(F) F(pow_scalar, f64, exponent)
TN_ATTRS(pow_scalar, POW_SCALAR_ATTRS)

/* pow's kernel, with a block of the exponent. */
#define POW_SCALAR_FN(level, target, fused, type, T)                                               \
    static void pow_scalar_blocks_##type##_##level(const tn_span_args *args)                       \
    {                                                                                              \
        const T      e = (T)((const pow_scalar_attrs *)args->attrs)->exponent;                     \
        T            exponent[SPAN_BLOCK];                                                         \
        tn_span_args block = { .n = SPAN_BLOCK, .in = { NULL, exponent } };                        \
        for (int i = 0; i < SPAN_BLOCK; i++) exponent[i] = e;                                      \
        for (int64_t i = 0; i < args->n; i += SPAN_BLOCK) {                                        \
            block.in[0] = (const T *)args->in[0] + i, block.out[0] = (T *)args->out[0] + i;        \
            pow_blocks_##type##_##level(&block);                                                   \
        }                                                                                          \
    }                                                                                              \
    static void pow_scalar_##type##_##level(const tn_span_args *args)                              \
    {                                                                                              \
        tn__span_blocks(args, 1, sizeof(T), pow_scalar_blocks_##type##_##level);                   \
    }
TN_EACH_LEVEL(POW_SCALAR_FN, f32, float)
TN_EACH_LEVEL(POW_SCALAR_FN, f64, double)
static const tn_span pow_scalar_span = { { [TN_F32] = TN_LEVELS_OF(pow_scalar, f32),
                                           [TN_F64] = TN_LEVELS_OF(pow_scalar, f64) } };
REF_ATTRS(pow_scalar, pow_scalar_attrs, pow(x, attrs.exponent))
static void pow_scalar_vjp(tn_vjp *c)
{
    double e = ((const pow_scalar_attrs *)c->attrs)->exponent;
    if (e != 0) c->din[0] = tn_scale(tn_mul(c->dout[0], tn_pow_scalar(c->in[0], e - 1)), e);
}
TN_OP_DEFINE(pow_scalar, .doc = "x^c", ELEMENTWISE(pow_scalar, 1), TN_ATTRS_OF(pow_scalar),
    .vjp = pow_scalar_vjp,
    TN_SAMPLES({ .in = { { 2, 3 } }, .lo = 0.5, .hi = 3, .attrs = &(pow_scalar_attrs){ 1.7 } },
               { .in = { { 67 } }, .lo = 0.5, .hi = 3, .attrs = &(pow_scalar_attrs){ -2.5 } },
               { .in = { { 2, 3 } }, .lo = -3, .hi = -1, .attrs = &(pow_scalar_attrs){ 5 } },
               { .in = { { 3 } }, .attrs = &(pow_scalar_attrs){ 0 } }));

/* Exponents that are cheaper otherwise take their own ops. */
tn_node *tn_pow_scalar(tn_node *x, double c)
{
    if (c == 1) return x;
    if (c == 2) return tn_square(x);
    if (c == 3) return tn_mul(tn_square(x), x);
    if (c == 0.5) return tn_sqrt(x);
    if (c == -0.5) return tn_rsqrt(x);
    if (c == -1) return tn_reciprocal(x);
    return tn_apply(&tn_op_pow_scalar, &x, 1, &(pow_scalar_attrs){ c });
}

/* ---- angle and length ------------------------------------------------------------------------ */

/* The first operand is y, as in C. */
SPAN_MATH(atan2, 2, tn__atan2(x, y))
REF(atan2, atan2(x, y))
/* At the origin the gradient is 0, so that points of padding spoil nothing. */
static void atan2_vjp(tn_vjp *c)
{
    tn_node *y = c->in[0], *x = c->in[1], *d = tn_add(tn_square(x), tn_square(y));
    tn_node *g = tn_div(c->dout[0], tn_where(tn_eq(d, tn_scalar_like(d, 0)),
                                             tn_scalar_like(d, 1), d));
    if (c->want[0]) c->din[0] = tn_mul(g, x);
    if (c->want[1]) c->din[1] = tn_neg(tn_mul(g, y));
}
TN_OP_DEFINE(atan2, .doc = "angle of the point (x, y); operands y, x", ELEMENTWISE(atan2, 2),
    .vjp = atan2_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.3, .hi = 2 },
               { .in = { { 4, 1 }, { 3 } }, .lo = -2, .hi = -0.3 },
               { .in = { { 67 }, { 67 } }, .lo = 0.3, .hi = 30 }));
tn_node *tn_atan2(tn_node *y, tn_node *x)
{
    return tn_apply(&tn_op_atan2, (tn_node *[]){ y, x }, 2, NULL);
}

SPAN_MATH(hypot, 2, tn__hypot(x, y))
REF(hypot, hypot(x, y))
VJP2(hypot, tn_mul(g, tn_div(x, out)), tn_mul(g, tn_div(y, out)))
TN_OP_DEFINE(hypot, .doc = "sqrt(x^2 + y^2)", ELEMENTWISE(hypot, 2), .vjp = hypot_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.3, .hi = 2 },
               { .in = { { 4, 1 }, { 3 } }, .lo = -2, .hi = -0.3 },
               { .in = { { 67 }, { 0 } }, .lo = 0.3, .hi = 30 }));
BINARY_FN(hypot)

/* ---- remainders ------------------------------------------------------------------------------ */

/* Exact, as C's fmod. */
SPAN_MATH_RARE(fmod, 2, tn__fmod_is_far(x, y), tn__fmod_far(x, y), tn__fmod(x, y))
REF(fmod, fmod(x, y))
VJP2(fmod, g, tn_neg(tn_mul(g, tn_trunc(tn_div(x, y)))))
TN_OP_DEFINE(fmod, .doc = "x - y trunc(x / y)", ELEMENTWISE(fmod, 2), .vjp = fmod_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.3, .hi = 2 },
               { .in = { { 4, 1 }, { 3 } }, .lo = -2, .hi = -0.3 },
               { .in = { { 67 }, { 67 } }, .lo = 1, .hi = 3 }));
BINARY_FN(fmod)

/* Exact but for the last rounding, as Python's x % y. */
SPAN_MATH_RARE(remainder, 2, tn__fmod_is_far(x, y), tn__remainder_far(x, y), tn__remainder(x, y))
REF(remainder, x - y * floor(x / y))
VJP2(remainder, g, tn_neg(tn_mul(g, tn_floor_divide(x, y))))
TN_OP_DEFINE(remainder, .doc = "x - y floor(x / y)", ELEMENTWISE(remainder, 2),
    .vjp = remainder_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.3, .hi = 2 },
               { .in = { { 4, 1 }, { 3 } }, .lo = -2, .hi = -0.3 },
               { .in = { { 67 }, { 67 } }, .lo = 1, .hi = 3 }));
BINARY_FN(remainder)

/* Python's x // y, of the exact remainder m = fmod(x, y): floor(x / y) where x / y itself may
 * have been rounded up to the next whole number. */
#define FLOOR_QUOTIENT(R, sfx)                                                                     \
    TN_INLINE R floor_quotient_##sfx(R x, R y, R m, int fused)                                     \
    {                                                                                              \
        R below = m != 0 && (m < 0) != (y < 0) ? 1 : 0;                                            \
        R q = tn__round_##sfx((x - m) / y, fused) - below;                                         \
        R ratio = x / y, signed_q = q == 0 ? tn__copysign_##sfx(0, ratio) : q;                     \
        return y == 0 ? ratio : signed_q;                                                          \
    }
FLOOR_QUOTIENT(float, f32)
FLOOR_QUOTIENT(double, f64)
#define floor_quotient(x, y, m) BY_TYPE(floor_quotient, x)(x, y, m, tn__fused)

SPAN_MATH_RARE(floor_divide, 2, tn__fmod_is_far(x, y), floor_quotient(x, y, tn__fmod_far(x, y)),
             floor_quotient(x, y, tn__fmod(x, y)))
REF(floor_divide, floor(x / y))
VJP2(floor_divide, NULL, NULL)
TN_OP_DEFINE(floor_divide, .doc = "floor(x / y)", ELEMENTWISE(floor_divide, 2),
    .vjp = floor_divide_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .lo = 0.3, .hi = 2 },
               { .in = { { 4, 1 }, { 3 } }, .lo = -2, .hi = -0.3 },
               { .in = { { 67 }, { 67 } }, .lo = 1, .hi = 3 }));
BINARY_FN(floor_divide)

/* ---- logaddexp, copysign --------------------------------------------------------------------- */

SPAN_MATH(logaddexp, 2, tn__logaddexp(x, y))
REF(logaddexp, x == y ? x + log(2) : fmax(x, y) + log1p(exp(-fabs(x - y))))

/* x - y; of equal infinities 0, so that each has half of the gradient: of -inf, log 0, there are
 * many in sums of probabilities. Other equals stay: the second derivative is 1/4 there. */
static tn_node *apart(tn_node *x, tn_node *y)
{
    return tn_masked_fill(tn_sub(x, y), tn_logical_and(tn_eq(x, y), tn_isinf(x)), 0);
}

VJP2(logaddexp, tn_mul(g, tn_sigmoid(apart(x, y))), tn_mul(g, tn_sigmoid(apart(y, x))))
TN_OP_DEFINE(logaddexp, .doc = "log(e^x + e^y)", ELEMENTWISE(logaddexp, 2), .vjp = logaddexp_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 4, 1 }, { 3 } }, .lo = -5, .hi = 5 },
               { .in = { { 67 }, { 0 } }, .lo = 700, .hi = 1000, .no_grad = { true, true } }));
BINARY_FN(logaddexp)

TN_SPAN(copysign, tn__copysign(x, y))
REF(copysign, copysign(x, y))
VJP2(copysign, tn_mul(g, tn_mul(tn_sign(x), tn_copysign(tn_scalar_like(g, 1), y))), NULL)
TN_OP_DEFINE(copysign, .doc = "|x| with the sign of y", ELEMENTWISE(copysign, 2),
    .vjp = copysign_vjp,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 4, 1 }, { 3 } }, .lo = -2, .hi = -0.1 },
               { .in = { { 67 }, { 0 } } }));
BINARY_FN(copysign)
