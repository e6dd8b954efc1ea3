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
 * ends of spans, would be most of the library. Here there is one copy, for blocks of 64 elements;
 * the last block is filled up. An element for which `rare` is true gets rare_expr (of x and y).
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
    target static void name##_##type##_##level(const tn_span_args *args)                           \
    {                                                                                              \
        typedef T_ T;                                                                              \
        enum { tn__fused = fused };                                                                \
        const Attrs attrs = *(const Attrs *)(args->attrs ? args->attrs : args);                    \
        (void)attrs;                                                                               \
        for (int64_t first = 0; first < args->n; first += SPAN_BLOCK) {                            \
            const int64_t left = args->n - first;                                                  \
            const T      *in0 = (const T *)args->in[0] + first;                                    \
            const T      *in1 = (const T *)args->in[1] + first;                                    \
            T            *out = (T *)args->out[0] + first;                                         \
            T             room[n_in][SPAN_BLOCK], other[SPAN_BLOCK];                               \
            uint64_t      which = 0;                                                               \
            int           is_rare = 0;                                                             \
            if (left < SPAN_BLOCK) {                                                               \
                in0 = (const T *)span_fill(room[0], in0, left, sizeof(T));                         \
                if (n_in > 1) in1 = (const T *)span_fill(room[n_in - 1], in1, left, sizeof(T));    \
                out = room[0];                                                                     \
            }                                                                                      \
            for (int i = 0; i < SPAN_BLOCK; i++) {                                                 \
                TN_UNUSED const T x = in0[i], y = in1[n_in > 1 ? i : 0];                           \
                is_rare |= (rare);                                                                 \
            }                                                                                      \
            for (int i = 0; is_rare && i < SPAN_BLOCK; i++) {                                      \
                TN_UNUSED const T x = in0[i], y = in1[n_in > 1 ? i : 0];                           \
                if (rare) other[i] = (T)(rare_expr), which |= (uint64_t)1 << i;                    \
            }                                                                                      \
            SPAN_ROLLED                                                                            \
            TN_IVDEP                                                                               \
            for (int i = 0; i < SPAN_BLOCK; i++) {                                                 \
                TN_UNUSED const T x = in0[i], y = in1[n_in > 1 ? i : 0];                           \
                out[i] = (T)(expr);                                                                \
            }                                                                                      \
            for (int i = 0; which; i++, which >>= 1)                                               \
                if (which & 1) out[i] = other[i];                                                  \
            if (left < SPAN_BLOCK)                                                                 \
                __builtin_memcpy((T *)args->out[0] + first, out, (size_t)left * sizeof(T));        \
        }                                                                                          \
    }

enum { SPAN_BLOCK = 64 };

#if defined __clang__
#  define SPAN_ROLLED _Pragma("clang loop unroll(disable)")
#else
#  define SPAN_ROLLED _Pragma("GCC unroll 1")
#endif

/* The n elements of a last block, and the first of them again up to its end: numbers as good as
 * the rest, where what lies in memory might be slow to compute with. */
__attribute__((noinline, unused)) static const void *span_fill(void *room, const void *in,
                                                               int64_t n, size_t size)
{
    char *to = room;
    __builtin_memcpy(to, in, (size_t)n * size);
    for (size_t i = (size_t)n; i < SPAN_BLOCK; i++) __builtin_memcpy(to + i * size, in, size);
    return room;
}

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
    static void op##_vjp(tn_vjp *c)                                                                \
    {                                                                                              \
        TN_UNUSED tn_node *x = c->in[0], *y = c->out[0], *dy = c->dout[0];                         \
        c->din[0] = (dx);                                                                          \
    }

/* The rule of out = f(x, y), with cotangent g. */
#define VJP2(op, dx, dy)                                                                           \
    static void op##_vjp(tn_vjp *c)                                                                \
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

/* Operand k, broadcast, at element i of the result; 0 of an operand that is not there. */
TN_INLINE double tn__ref_at(const tn_ref *r, int k, int64_t i)
{
    if (k >= r->n_in) return 0;
    const tn_type  *t = &r->in_type[k];
    const tn_shape *s = &r->out_type[0].shape;
    int64_t         at = 0, stride = 1;
    for (int d = s->rank - 1, e = t->shape.rank - 1; e >= 0; d--, e--) {
        int64_t index = i % s->dim[d];
        i /= s->dim[d];
        if (t->shape.dim[e] != 1) at += index * stride;
        stride *= t->shape.dim[e];
    }
    if (t->dtype == TN_BOOL) return ((const uint8_t *)r->in[k])[at];
    if (t->dtype == TN_U8 || tn_dtype_is_index(t->dtype))
        return (double)((const int64_t *)r->in[k])[at];
    return ((const double *)r->in[k])[at];
}

TN_INLINE void tn__ref_put(const tn_ref *r, int64_t i, double value)
{
    tn_dtype t = r->out_type[0].dtype;
    if (t == TN_BOOL)
        ((uint8_t *)r->out[0])[i] = value != 0;
    else if (t == TN_U8 || tn_dtype_is_index(t))
        ((int64_t *)r->out[0])[i] = (int64_t)value;
    else
        ((double *)r->out[0])[i] = value;
}

/* REF(hypot, hypot(x, y)): the naive reference hypot_ref, one element at a time in f64. */
#define REF(op, expr) REF_ATTRS(op, tn_no_attrs, expr)

/* The same for an op whose attribute struct is Attrs: the expression reads attrs.field. */
#define REF_ATTRS(op, Attrs, expr)                                                                 \
    static void op##_ref(const tn_ref *r)                                                          \
    {                                                                                              \
        TN_UNUSED const Attrs *a = r->attrs;                                                       \
        TN_UNUSED const Attrs  attrs = a ? *a : (Attrs){ 0 };                                      \
        int64_t                n = tn_shape_size(&r->out_type[0].shape);                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            TN_UNUSED const double x = tn__ref_at(r, 0, i), y = tn__ref_at(r, 1, i),               \
                                   z = tn__ref_at(r, 2, i);                                        \
            tn__ref_put(r, i, (expr));                                                             \
        }                                                                                          \
    }

#endif
