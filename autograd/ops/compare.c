/* Comparisons, logic and selection, elementwise. Comparisons give bools (0 or 1 in a byte),
 * which carry no gradient; with NaN all of them are false but x != y. */
#include "autograd/internal.h"
#include "autograd/ops/elementwise.h"

/* ---- comparisons: numbers, and bools with false < true --------------------------------------- */

#define COMPARISON(op, n)                                                                          \
    .arity = n, .flags = TN_NOT_DIFFERENTIABLE, .infer = tn_infer_test, .span = &op##_span,        \
    .ref = op##_ref
#define COMPARISON_SAMPLES                                                                         \
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },                                                   \
               { .in = { { 4, 1 }, { 3 } } },                                                      \
               { .in = { { 67 }, { 0 } } },                                                        \
               { .in = { { 9 }, { 9 } }, .dtype = { TN_I32, TN_I32 }, .int_lo = -1, .int_hi = 2 }, \
               { .in = { { 67 }, { 67 } }, .dtype = { TN_I64, TN_I64 }, .int_lo = -1,              \
                 .int_hi = 2 },                                                                    \
               { .in = { { 9 }, { 9 } }, .dtype = { TN_BOOL, TN_BOOL } },                          \
               { .in = { { 3 }, { 3 } }, .dtype = { TN_I32, TN_I64 }, .fails = TN_ERR_DTYPE,       \
                 .message = "i64" },                                                               \
               { .in = { { 2, 3 }, { 4 } }, .fails = TN_ERR_SHAPE, .message = "[4]" })

TN_SPAN_TEST(eq, x == y)
REF(eq, x == y)
TN_OP_DEFINE(eq, .doc = "x == y, a bool", COMPARISON(eq, 2), COMPARISON_SAMPLES);
BINARY_FN(eq)

TN_SPAN_TEST(ne, x != y)
REF(ne, x != y)
TN_OP_DEFINE(ne, .doc = "x != y, a bool", COMPARISON(ne, 2), COMPARISON_SAMPLES);
BINARY_FN(ne)

TN_SPAN_TEST(lt, x < y)
REF(lt, x < y)
TN_OP_DEFINE(lt, .doc = "x < y, a bool", COMPARISON(lt, 2), COMPARISON_SAMPLES);
BINARY_FN(lt)

TN_SPAN_TEST(le, x <= y)
REF(le, x <= y)
TN_OP_DEFINE(le, .doc = "x <= y, a bool", COMPARISON(le, 2), COMPARISON_SAMPLES);
BINARY_FN(le)

/* x > y is y < x: no op of its own. */
tn_node *tn_gt(tn_node *x, tn_node *y) { return tn_lt(y, x); }
tn_node *tn_ge(tn_node *x, tn_node *y) { return tn_le(y, x); }

/* ---- classes of floats ----------------------------------------------------------------------- */

/* Floats in, bool out. */
#define SPAN_CLASS(name, expr)                                                                     \
    TN_EACH_LEVEL(TN_SPAN_FN, name, f32, float, uint8_t, tn_no_attrs, expr)                        \
    TN_EACH_LEVEL(TN_SPAN_FN, name, f64, double, uint8_t, tn_no_attrs, expr)                       \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64) } };

SPAN_CLASS(isnan, tn__isnan(x))
REF(isnan, isnan(x) != 0)
TN_OP_DEFINE(isnan, .doc = "whether x is NaN", COMPARISON(isnan, 1),
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } } },
               { .in = { { 3 } }, .dtype = { TN_I32 }, .fails = TN_ERR_DTYPE, .message = "i32" }));
UNARY_FN(isnan)

SPAN_CLASS(isinf, tn__isinf(x))
REF(isinf, isinf(x) != 0)
TN_OP_DEFINE(isinf, .doc = "whether x is infinite, of either sign", COMPARISON(isinf, 1),
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } } }));
UNARY_FN(isinf)

SPAN_CLASS(isfinite, tn__isfinite(x))
REF(isfinite, isfinite(x) != 0)
TN_OP_DEFINE(isfinite, .doc = "whether x is neither infinite nor NaN", COMPARISON(isfinite, 1),
    TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 67 } } }));
UNARY_FN(isfinite)

/* ---- logic, of bools alone ------------------------------------------------------------------- */

#define SPAN_LOGIC(name, expr)                                                                     \
    TN_EACH_LEVEL(TN_SPAN_FN, name, b8, uint8_t, uint8_t, tn_no_attrs, expr)                     \
    static const tn_span name##_span = { { [TN_BOOL] = TN_LEVELS_OF(name, b8) } };
#define LOGIC_SAMPLES                                                                              \
    TN_SAMPLES({ .in = { { 9 }, { 9 } }, .dtype = { TN_BOOL, TN_BOOL } },                          \
               { .in = { { 4, 1 }, { 3 } }, .dtype = { TN_BOOL, TN_BOOL } },                       \
               { .in = { { 130 }, { 0 } }, .dtype = { TN_BOOL, TN_BOOL } },                        \
               { .in = { { 3 }, { 3 } }, .dtype = { TN_U8, TN_U8 }, .fails = TN_ERR_DTYPE,         \
                 .message = "u8" })

SPAN_LOGIC(logical_and, (x != 0) & (y != 0))
REF(logical_and, x && y)
TN_OP_DEFINE(logical_and, .doc = "x and y, of bools", COMPARISON(logical_and, 2), LOGIC_SAMPLES);
BINARY_FN(logical_and)

SPAN_LOGIC(logical_or, (x != 0) | (y != 0))
REF(logical_or, x || y)
TN_OP_DEFINE(logical_or, .doc = "x or y, of bools", COMPARISON(logical_or, 2), LOGIC_SAMPLES);
BINARY_FN(logical_or)

SPAN_LOGIC(logical_xor, (x != 0) != (y != 0))
REF(logical_xor, !x != !y)
TN_OP_DEFINE(logical_xor, .doc = "x or y, not both; of bools", COMPARISON(logical_xor, 2),
    LOGIC_SAMPLES);
BINARY_FN(logical_xor)

SPAN_LOGIC(logical_not, x == 0)
REF(logical_not, !x)
TN_OP_DEFINE(logical_not, .doc = "not x, of bools", COMPARISON(logical_not, 1),
    TN_SAMPLES({ .in = { { 9 } }, .dtype = { TN_BOOL } },
               { .in = { { 130 } }, .dtype = { TN_BOOL } },
               { .in = { { 3 } }, .dtype = { TN_U8 }, .fails = TN_ERR_DTYPE, .message = "u8" }));
UNARY_FN(logical_not)

/* ---- selection: bytes of any dtype, by a bool ------------------------------------------------ */

/* One kernel of where: operands bool, T, T. */
#define WHERE_FN(level, target, fused, name, type, ctype)                                          \
    target static void name##_##type##_##level(const tn_span_args *args)                           \
    {                                                                                              \
        const uint8_t *condition = (const uint8_t *)args->in[0];                                   \
        const ctype   *in1 = (const ctype *)args->in[1], *in2 = (const ctype *)args->in[2];        \
        ctype         *out = (ctype *)args->out[0];                                                \
        const int64_t  n = args->n;                                                                \
        TN_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const ctype x = in1[i], y = in2[i];                                                    \
            out[i] = condition[i] ? x : y;                                                         \
        }                                                                                          \
    }

TN_EACH_LEVEL(WHERE_FN, where, b32, uint32_t)
TN_EACH_LEVEL(WHERE_FN, where, b64, uint64_t)
TN_EACH_LEVEL(WHERE_FN, where, b16, uint16_t)
TN_EACH_LEVEL(WHERE_FN, where, b8, uint8_t)

static const tn_span where_span = { {
    [TN_F32] = TN_LEVELS_OF(where, b32),
    [TN_F64] = TN_LEVELS_OF(where, b64),
    [TN_I32] = TN_LEVELS_OF(where, b32),
    [TN_I64] = TN_LEVELS_OF(where, b64),
    [TN_U8] = TN_LEVELS_OF(where, b8),
    [TN_BOOL] = TN_LEVELS_OF(where, b8),
    [TN_F16] = TN_LEVELS_OF(where, b16),
    [TN_BF16] = TN_LEVELS_OF(where, b16),
} };

static tn_status where_infer(tn_infer *c)
{
    const tn_type *m = &c->in[0], *x = &c->in[1], *y = &c->in[2];
    if (m->dtype != TN_BOOL)
        return tn_infer_fail(c, TN_ERR_DTYPE, "the condition is %s, not bool",
                             tn_dtype_name(m->dtype));
    if (x->dtype != y->dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "dtypes %s and %s differ", tn_dtype_name(x->dtype),
                             tn_dtype_name(y->dtype));
    tn_shape both;
    if (!tn_shape_broadcast(&x->shape, &y->shape, &both) ||
        !tn_shape_broadcast(&m->shape, &both, &c->out[0].shape))
        return tn_infer_fail(c, TN_ERR_SHAPE, "shapes do not broadcast");
    c->out[0].dtype = x->dtype;
    return TN_OK;
}

REF(where, x != 0 ? y : z)

static void where_vjp(tn_vjp *c)
{
    tn_node *mask = c->in[0], *g = c->dout[0];
    if (c->want[1]) c->din[1] = tn_where(mask, g, tn_scalar_like(g, 0));
    if (c->want[2]) c->din[2] = tn_where(mask, tn_scalar_like(g, 0), g);
}

TN_OP_DEFINE(where, .doc = "x where the condition is true, else y; operands condition, x, y",
    .arity = 3, .infer = where_infer, .span = &where_span, .span_in = 1,
    .vjp = where_vjp, .ref = where_ref,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 }, { 2, 3 } }, .dtype = { TN_BOOL } },
               { .in = { { 4, 1 }, { 3 }, { 0 } }, .dtype = { TN_BOOL } },
               { .in = { { 1 }, { 67 }, { 67 } }, .dtype = { TN_BOOL } },
               { .in = { { 67 }, { 67 }, { 67 } }, .dtype = { TN_BOOL, TN_I32, TN_I32 },
                 .int_lo = -9, .int_hi = 9 },
               { .in = { { 9 }, { 9 }, { 9 } }, .dtype = { TN_BOOL, TN_I64, TN_I64 }, .int_lo = -9,
                 .int_hi = 9 },
               { .in = { { 130 }, { 130 }, { 130 } }, .dtype = { TN_BOOL, TN_BOOL, TN_BOOL } },
               { .in = { { 3 }, { 3 }, { 3 } }, .dtype = { TN_I32 }, .fails = TN_ERR_DTYPE,
                 .message = "not bool" },
               { .in = { { 3 }, { 3 }, { 3 } }, .dtype = { TN_BOOL, TN_I32, TN_I64 },
                 .fails = TN_ERR_DTYPE, .message = "i32 and i64" },
               { .in = { { 4 }, { 2, 3 }, { 3 } }, .dtype = { TN_BOOL }, .fails = TN_ERR_SHAPE,
                 .message = "[4]" }));
tn_node *tn_where(tn_node *condition, tn_node *x, tn_node *y)
{
    return tn_apply(&tn_op_where, (tn_node *[]){ condition, x, y }, 3, NULL);
}

/* ---- masked_fill: where with a number, so that no operand is needed for it ------------------- */

#define MASKED_FILL_ATTRS(F) F(masked_fill, f64, value)
TN_ATTRS(masked_fill, MASKED_FILL_ATTRS)

#define MASKED_FILL_FN(level, target, fused, name, type, ctype, number)                            \
    target static void name##_##type##_##level(const tn_span_args *args)                           \
    {                                                                                              \
        const ctype   *in = (const ctype *)args->in[0];                                            \
        const uint8_t *mask = (const uint8_t *)args->in[1];                                        \
        ctype         *out = (ctype *)args->out[0];                                                \
        const ctype    value = (ctype)(number)((const masked_fill_attrs *)args->attrs)->value;     \
        const int64_t  n = args->n;                                                                \
        TN_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const ctype x = in[i];                                                                 \
            out[i] = mask[i] ? value : x;                                                          \
        }                                                                                          \
    }

TN_EACH_LEVEL(MASKED_FILL_FN, masked_fill, f32, float, double)
TN_EACH_LEVEL(MASKED_FILL_FN, masked_fill, f64, double, double)
TN_EACH_LEVEL(MASKED_FILL_FN, masked_fill, i32, int32_t, int64_t)
TN_EACH_LEVEL(MASKED_FILL_FN, masked_fill, i64, int64_t, int64_t)
TN_EACH_LEVEL(MASKED_FILL_FN, masked_fill, u8, uint8_t, int64_t)

static const tn_span masked_fill_span = { {
    [TN_F32] = TN_LEVELS_OF(masked_fill, f32),
    [TN_F64] = TN_LEVELS_OF(masked_fill, f64),
    [TN_I32] = TN_LEVELS_OF(masked_fill, i32),
    [TN_I64] = TN_LEVELS_OF(masked_fill, i64),
    [TN_U8] = TN_LEVELS_OF(masked_fill, u8),
    [TN_BOOL] = TN_LEVELS_OF(masked_fill, u8),
} };

static tn_status masked_fill_infer(tn_infer *c)
{
    const tn_type *x = &c->in[0], *m = &c->in[1];
    double         value = ((const masked_fill_attrs *)c->attrs)->value;
    if (m->dtype != TN_BOOL)
        return tn_infer_fail(c, TN_ERR_DTYPE, "the mask is %s, not bool", tn_dtype_name(m->dtype));
    if (x->dtype == TN_F16 || x->dtype == TN_BF16)
        return tn_infer_fail(c, TN_ERR_DTYPE, "%s is for storage: cast it first",
                             tn_dtype_name(x->dtype));
    if (!tn__holds(x->dtype, value)) return tn__cannot_hold(c, x->dtype, value);
    if (!tn_shape_broadcast(&x->shape, &m->shape, &c->out[0].shape) ||
        !tn_shape_equal(&x->shape, &c->out[0].shape))
        return tn_infer_fail(c, TN_ERR_SHAPE, "the mask does not broadcast to x");
    c->out[0].dtype = x->dtype;
    return TN_OK;
}

REF_ATTRS(masked_fill, masked_fill_attrs, y != 0 ? attrs.value : x)

static void masked_fill_vjp(tn_vjp *c) { c->din[0] = tn_masked_fill(c->dout[0], c->in[1], 0); }

TN_OP_DEFINE(masked_fill, .doc = "value where the mask is true, else x; operands x, mask",
    .arity = 2, .flags = TN_INPLACE_OK, TN_ATTRS_OF(masked_fill), .infer = masked_fill_infer,
    .span = &masked_fill_span, .vjp = masked_fill_vjp, .ref = masked_fill_ref,
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } }, .dtype = { TN_F32, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ 0 } },
               { .in = { { 2, 3, 4 }, { 3, 1 } }, .dtype = { TN_F32, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ 7.5 } },
               { .in = { { 67 }, { 0 } }, .dtype = { TN_F32, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ -1 } },
               { .in = { { 67 }, { 67 } }, .dtype = { TN_I32, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ -1 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 9 }, { 9 } }, .dtype = { TN_I64, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ -1 }, .int_lo = -9, .int_hi = 9 },
               { .in = { { 9 }, { 9 } }, .dtype = { TN_BOOL, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ 1 } },
               { .in = { { 3 }, { 2, 3 } }, .dtype = { TN_F32, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ 0 }, .fails = TN_ERR_SHAPE, .message = "[2,3]" },
               { .in = { { 3 }, { 3 } }, .dtype = { TN_F32, TN_I32 },
                 .attrs = &(masked_fill_attrs){ 0 }, .fails = TN_ERR_DTYPE, .message = "not bool" },
               { .in = { { 3 }, { 3 } }, .dtype = { TN_I32, TN_BOOL },
                 .attrs = &(masked_fill_attrs){ 0.5 }, .fails = TN_ERR_ARG, .message = "0.5" }));
tn_node *tn_masked_fill(tn_node *x, tn_node *mask, double value)
{
    return tn_apply(&tn_op_masked_fill, (tn_node *[]){ x, mask }, 2, &(masked_fill_attrs){ value });
}
