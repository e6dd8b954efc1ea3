/* Span kernels: an elementwise kernel is one expression, applied to n contiguous elements.
 *
 *     TN_SPAN(tanh, tn__tanh(x))
 *
 * compiles the expression for f32 and f64 at each instruction-set level of the target (through
 * function attributes, so that a user's own op gets them too, with no help from a build system) and
 * defines `static const tn_span tanh_span`. In the expression x, y, z are the operands, T their
 * type, and tn__exp, tn__tanh, .. the vector mathematics of tensor/vmath.h. The compiler vectorises
 * the loop; an operation on one element never looks at another, so every level gives the same bits.
 *
 * Compile with -O2 or more, -fno-math-errno -fno-trapping-math -ffp-contract=off. */
#ifndef TN_TENSOR_SPAN_H
#define TN_TENSOR_SPAN_H

#include "tensor/context.h"
#if !defined __cplusplus /* kernels are written in C; a C++ program may still pass ops on */
#  include "tensor/vmath.h"
#endif

enum { TN_SPAN_MAX_IN = 8, TN_SPAN_MAX_OUT = 4 };

/* One block of an elementwise kernel. An output may be the same memory as an input of its size.
 * Operands that the op does not have are set to in[0], so that they may be loaded and ignored. */
typedef struct tn_span_args {
    int64_t     n;                      /* elements in this block */
    /* row-major index of the first of them in the whole result */
    int64_t     first;
    const void *in[TN_SPAN_MAX_IN];
    void       *out[TN_SPAN_MAX_OUT];
    const void *attrs;                  /* the op's attributes */
    uint64_t    seed, run;              /* of random ops; their stream is an attribute */
} tn_span_args;

typedef void (*tn_span_fn)(const tn_span_args *args);

/* The kernels of one op by dtype of its first float (or else first) operand, and by level. A dtype
 * without kernels is refused when the graph is built. */
typedef struct tn_span {
    tn_span_fn fn[TN_N_DTYPES][TN_N_CPU_LEVELS];
} tn_span;

/* Before a loop: iterations do not depend on each other; the loop is not to be unrolled. */
#if defined __clang__
#  define TN_IVDEP  _Pragma("clang loop vectorize(assume_safety)")
#  define TN_ROLLED _Pragma("clang loop unroll(disable)")
#elif defined __GNUC__
#  define TN_IVDEP  _Pragma("GCC ivdep")
#  define TN_ROLLED _Pragma("GCC unroll 1")
#else
#  define TN_IVDEP
#  define TN_ROLLED
#endif

#if defined __x86_64__ && defined __GNUC__
#  define TN_TARGET_BASE
#  define TN_TARGET_AVX2 __attribute__((target("avx2,fma,bmi2,f16c")))
#  if defined __clang__
#    define TN_TARGET_AVX512                                                                       \
        __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,f16c"),            \
                       min_vector_width(512)))
#  else
#    define TN_TARGET_AVX512                                                                       \
        __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,f16c,"             \
                              "prefer-vector-width=512")))
#  endif
#  define TN_LEVELS_OF(name, type)                                                                 \
      { NULL, name##_##type##_base, name##_##type##_avx2, name##_##type##_avx512 }
/* X(level, target attribute, has fused multiply-add) */
#  define TN_EACH_LEVEL(X, ...)                                                                    \
      X(base, TN_TARGET_BASE, 0, __VA_ARGS__)                                                      \
      X(avx2, TN_TARGET_AVX2, 1, __VA_ARGS__)                                                      \
      X(avx512, TN_TARGET_AVX512, 1, __VA_ARGS__)
#else
#  define TN_LEVELS_OF(name, type)                                                                 \
      { NULL, name##_##type##_base, name##_##type##_base, name##_##type##_base }
#  if defined __aarch64__
#    define TN_EACH_LEVEL(X, ...) X(base, , 1, __VA_ARGS__)
#  else
#    define TN_EACH_LEVEL(X, ...) X(base, , 0, __VA_ARGS__)
#  endif
#endif

/* The body of one kernel. tn__fused tells tensor/vmath.h at compile time whether this level has
 * fused multiply-add; it is a constant that the inlined functions fold away. */
#define TN_SPAN_FN(level, target, fused, name, type, ctype, otype, Attrs, expr)                    \
    TN_UNUSED target static void name##_##type##_##level(const tn_span_args *args)                 \
    {                                                                                              \
        typedef ctype T;                                                                           \
        enum { tn__fused = fused };                                                                \
        const T     *in0 = (const T *)args->in[0];                                                 \
        const T     *in1 = (const T *)args->in[1];                                                 \
        const T     *in2 = (const T *)args->in[2];                                                 \
        otype       *out = (otype *)args->out[0];                                                  \
        const Attrs  attrs = *(const Attrs *)(args->attrs ? args->attrs : args);                   \
        const int64_t n = args->n;                                                                 \
        (void)attrs;                                                                               \
        TN_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            TN_UNUSED const T x = in0[i], y = in1[i], z = in2[i];                                  \
            out[i] = (otype)(expr);                                                                \
        }                                                                                          \
    }

#define TN_SPAN_FLOATS(name, Attrs, expr)                                                          \
    TN_EACH_LEVEL(TN_SPAN_FN, name, f32, float, float, Attrs, expr)                                \
    TN_EACH_LEVEL(TN_SPAN_FN, name, f64, double, double, Attrs, expr)

#define TN_SPAN_INTS(name, Attrs, expr)                                                            \
    TN_EACH_LEVEL(TN_SPAN_FN, name, i32, int32_t, int32_t, Attrs, expr)                            \
    TN_EACH_LEVEL(TN_SPAN_FN, name, i64, int64_t, int64_t, Attrs, expr)

typedef struct tn_no_attrs {
    char none;
} tn_no_attrs;

/* f32 and f64 in, the same out. */
#define TN_SPAN(name, expr) TN_SPAN_ATTRS(name, tn_no_attrs, expr)

/* The same for an op whose attribute struct is Attrs: the expression reads attrs.field. */
#define TN_SPAN_ATTRS(name, Attrs, expr)                                                           \
    TN_SPAN_FLOATS(name, Attrs, expr)                                                              \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64) } };

/* The same for an expression that is right only where `rare` is false: a block with an element for
 * which it is true is computed one by one, that element by rare_expr. */
#define TN_SPAN_RARE(name, rare, rare_expr, expr)                                                  \
    TN_EACH_LEVEL(TN_SPAN_RARE_FN, name, f32, float, rare, rare_expr, expr)                        \
    TN_EACH_LEVEL(TN_SPAN_RARE_FN, name, f64, double, rare, rare_expr, expr)                       \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64) } };

#define TN_SPAN_RARE_FN(level, target, fused, name, type, ctype, rare, rare_expr, expr)            \
    TN_UNUSED target static void name##_##type##_##level(const tn_span_args *args)                 \
    {                                                                                              \
        typedef ctype T;                                                                           \
        enum { tn__fused = fused };                                                                \
        const T      *in0 = (const T *)args->in[0], *in1 = (const T *)args->in[1];                 \
        T            *out = (T *)args->out[0];                                                     \
        const int64_t n = args->n;                                                                 \
        int           is_rare = 0;                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                          \
            TN_UNUSED const T x = in0[i], y = in1[i];                                              \
            is_rare |= (rare);                                                                     \
        }                                                                                          \
        for (int64_t i = 0; is_rare && i < n; i++) {                                               \
            TN_UNUSED const T x = in0[i], y = in1[i];                                              \
            out[i] = (rare) ? (T)(rare_expr) : (T)(expr);                                          \
        }                                                                                          \
        if (is_rare) return;                                                                       \
        TN_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            TN_UNUSED const T x = in0[i], y = in1[i];                                              \
            out[i] = (T)(expr);                                                                    \
        }                                                                                          \
    }

/* f32, f64, i32 and i64 in, the same out: arithmetic without mathematics. */
#define TN_SPAN_NUM(name, expr)                                                                    \
    TN_SPAN_FLOATS(name, tn_no_attrs, expr)                                                        \
    TN_SPAN_INTS(name, tn_no_attrs, expr)                                                          \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64),                     \
                                           [TN_I32] = TN_LEVELS_OF(name, i32),                     \
                                           [TN_I64] = TN_LEVELS_OF(name, i64) } };

/* Any number in, bool (0 or 1) out: comparisons and classification. */
#define TN_SPAN_TEST(name, expr)                                                                   \
    TN_EACH_LEVEL(TN_SPAN_FN, name, f32, float, uint8_t, tn_no_attrs, expr)                        \
    TN_EACH_LEVEL(TN_SPAN_FN, name, f64, double, uint8_t, tn_no_attrs, expr)                       \
    TN_EACH_LEVEL(TN_SPAN_FN, name, i32, int32_t, uint8_t, tn_no_attrs, expr)                      \
    TN_EACH_LEVEL(TN_SPAN_FN, name, i64, int64_t, uint8_t, tn_no_attrs, expr)                      \
    TN_EACH_LEVEL(TN_SPAN_FN, name, u8, uint8_t, uint8_t, tn_no_attrs, expr)                       \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64),                     \
                                           [TN_I32] = TN_LEVELS_OF(name, i32),                     \
                                           [TN_I64] = TN_LEVELS_OF(name, i64),                     \
                                           [TN_U8] = TN_LEVELS_OF(name, u8),                       \
                                           [TN_BOOL] = TN_LEVELS_OF(name, u8) } };

#endif
