/* What the families of elementwise ops share, so that an op's block says only what is its own:
 * the span (its kernel), the reference, the vjp rule, the descriptor's common lines, the public
 * function. In all of them x, y, z stand for the operands. */
#ifndef TN_AUTOGRAD_OPS_ELEMENTWISE_H
#define TN_AUTOGRAD_OPS_ELEMENTWISE_H

#include "autograd/op.h"
#include "autograd/ops.h"
#include "tensor/vmath.h"

#include <math.h> /* for the references alone: kernels never call libm */

/* ---- kernels --------------------------------------------------------------------------------- */

/* TN_SPAN_NUM for arithmetic that can leave the range of an integer: it wraps around, as
 * NumPy's. */
#define SPAN_WRAP(name, expr)                                                                      \
    TN_SPAN_FLOATS(name, tn_no_attrs, expr)                                                        \
    TN_EACH_LEVEL(TN_SPAN_FN, name, i32, uint32_t, uint32_t, tn_no_attrs, expr)                    \
    TN_EACH_LEVEL(TN_SPAN_FN, name, i64, uint64_t, uint64_t, tn_no_attrs, expr)                    \
    SPAN_OF_NUM(name)

/* Mathematics: expressions so long that the compiler's second and third copies of them, for the
 * ends of spans, would be most of the library. Here there is one copy, name_blocks_f32_avx2, for
 * whole blocks of 64 elements; tn__span_blocks calls it, and fills up the last block. An element
 * for which `rare` is true gets rare_expr (of x and y).
 *     SPAN_MATH(pow, 2, tn__pow(x, y))   2: operands */
#define SPAN_MATH(name, n_in, expr)             SPAN_MATH_ATTRS(name, n_in, tn_no_attrs, expr)
#define SPAN_MATH_ATTRS(name, n_in, Attrs, expr) SPAN_MATH_OF(name, n_in, Attrs, 0, 0, expr)
#define SPAN_MATH_RARE(name, n_in, rare, rare_expr, expr)                                          \
    SPAN_MATH_OF(name, n_in, tn_no_attrs, rare, rare_expr, expr)
#define SPAN_MATH_OF(name, n_in, Attrs, rare, rare_expr, expr)                                     \
    TN_EACH_LEVEL(SPAN_MATH_FN, name, f32, float, n_in, Attrs, rare, rare_expr, expr)              \
    TN_EACH_LEVEL(SPAN_MATH_FN, name, f64, double, n_in, Attrs, rare, rare_expr, expr)             \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64) } };

#define SPAN_MATH_FN(level, target, fused, name, type, T_, n_in, Attrs, rare, rare_expr, expr)     \
    target static void name##_blocks_##type##_##level(const tn_span_args *args)                    \
    {                                                                                              \
        typedef T_ T;                                                                              \
        enum { tn__fused = fused };                                                                \
        const Attrs attrs = *(const Attrs *)(args->attrs ? args->attrs : args);                    \
        const T    *in0 = (const T *)args->in[0], *in1 = (const T *)args->in[1];                   \
        T          *out = (T *)args->out[0], other[SPAN_BLOCK];                                    \
        (void)attrs, (void)other;                                                                  \
        for (int64_t n = args->n; n > 0;                                                           \
             n -= SPAN_BLOCK, in0 += SPAN_BLOCK, in1 += SPAN_BLOCK, out += SPAN_BLOCK) {           \
            uint64_t which = 0;                                                                    \
            int      is_rare = 0;                                                                  \
            for (int i = 0; i < SPAN_BLOCK; i++) {                                                 \
                TN_UNUSED const T x = in0[i], y = in1[n_in > 1 ? i : 0];                           \
                is_rare |= (rare);                                                                 \
            }                                                                                      \
            for (int i = 0; is_rare && i < SPAN_BLOCK; i++) {                                      \
                TN_UNUSED const T x = in0[i], y = in1[n_in > 1 ? i : 0];                           \
                if (rare) other[i] = (T)(rare_expr), which |= (uint64_t)1 << i;                    \
            }                                                                                      \
            TN_ROLLED                                                                              \
            TN_IVDEP                                                                               \
            for (int i = 0; i < SPAN_BLOCK; i++) {                                                 \
                TN_UNUSED const T x = in0[i], y = in1[n_in > 1 ? i : 0];                           \
                out[i] = (T)(expr);                                                                \
            }                                                                                      \
            for (int i = 0; which; i++, which >>= 1)                                               \
                if (which & 1) out[i] = other[i];                                                  \
        }                                                                                          \
    }                                                                                              \
    static void name##_##type##_##level(const tn_span_args *args)                                  \
    {                                                                                              \
        tn__span_blocks(args, n_in, sizeof(T_), name##_blocks_##type##_##level);                   \
    }

enum { SPAN_BLOCK = 64 };

/* A span of n_in operands and a result, all of `size` bytes an element, by a kernel that takes
 * whole blocks. */
void tn__span_blocks(const tn_span_args *args, int n_in, size_t size, tn_span_fn blocks);

/* The table of an op with kernels for f32, f64, i32 and i64. */
#define SPAN_OF_NUM(name)                                                                          \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64),                     \
                                           [TN_I32] = TN_LEVELS_OF(name, i32),                     \
                                           [TN_I64] = TN_LEVELS_OF(name, i64) } };

/* name_f32 or name_f64, by the type of x: for inline functions that a span's expression calls. */
#define BY_TYPE(name, x) _Generic((x), float: name##_f32, double: name##_f64)

/* ---- gradients ------------------------------------------------------------------------------- */

/* The rule of y = f(x): dx as a node made of x, y and dy. */
#define VJP(op, dx)                                                                                \
    TN_COLD static void op##_vjp(tn_vjp *c)                                                        \
    {                                                                                              \
        TN_UNUSED tn_node *x = c->in[0], *y = c->out[0], *dy = c->dout[0];                         \
        c->din[0] = (dx);                                                                          \
    }

/* The rule of out = f(x, y), with cotangent g. */
#define VJP2(op, dx, dy)                                                                           \
    TN_COLD static void op##_vjp(tn_vjp *c)                                                        \
    {                                                                                              \
        TN_UNUSED tn_node *x = c->in[0], *y = c->in[1], *out = c->out[0], *g = c->dout[0];         \
        if (c->want[0]) c->din[0] = (dx);                                                          \
        if (c->want[1]) c->din[1] = (dy);                                                          \
    }

/* ---- descriptor and public function ---------------------------------------------------------- */

#define ELEMENTWISE(op, n)                                                                         \
    .arity = n, .flags = TN_INPLACE_OK, .infer = tn_infer_same, .span = &op##_span, .ref = op##_ref

#define UNARY_FN(op)                                                                               \
    tn_node *tn_##op(tn_node *x) { return tn_apply(&tn_op_##op, &x, 1, NULL); }

#define BINARY_FN(op)                                                                              \
    tn_node *tn_##op(tn_node *x, tn_node *y)                                                       \
    {                                                                                              \
        return tn_apply(&tn_op_##op, (tn_node *[]){ x, y }, 2, NULL);                              \
    }

/* ---- references ------------------------------------------------------------------------------ */

/* Element i of a reference's operand or result of this dtype. */
double tn__ref_get(tn_dtype dtype, const void *data, int64_t i);

/* Operand k, broadcast, at element i of the result; 0 of an operand that is not there. */
double tn__ref_at(const tn_ref *r, int k, int64_t i);

/* Sets element i of the result, whatever its dtype. */
void tn__ref_put(const tn_ref *r, int64_t i, double value);

/* The whole result: value(x, y, z, attrs) of the operands, one element at a time in f64. */
void tn__ref_each(const tn_ref *r, double (*value)(double x, double y, double z,
                                                   const void *attrs));

/* REF(hypot, hypot(x, y)): the naive reference hypot_ref. */
#define REF(op, expr) REF_ATTRS(op, tn_no_attrs, expr)

/* The same for an op whose attribute struct is Attrs: the expression reads attrs.field. */
#define REF_ATTRS(op, Attrs, expr)                                                                 \
    TN_COLD static double op##_value(double x, double y, double z, const void *at)                 \
    {                                                                                              \
        TN_UNUSED const Attrs attrs = at ? *(const Attrs *)at : (Attrs){ 0 };                      \
        (void)x, (void)y, (void)z;                                                                 \
        return (double)(expr);                                                                     \
    }                                                                                              \
    static void op##_ref(const tn_ref *r) { tn__ref_each(r, op##_value); }

#endif
