/* The bottom of the vector mathematics: bits of a float, fused multiply-add where the level has it,
 * exact sums and products, and the rounding trick. Everything is branch-free and inlined, so that a
 * loop over it vectorises; `fused` is a compile-time constant in every use. */
#ifndef TN_TENSOR_VMATH_BASE_H
#define TN_TENSOR_VMATH_BASE_H

#include "tensor/base.h"

#include <stdint.h>

/* The unevaluated sum hi + lo, |lo| much smaller than |hi|. */
typedef struct tn__pair_f32 {
    float hi, lo;
} tn__pair_f32;

typedef struct tn__pair_f64 {
    double hi, lo;
} tn__pair_f64;

TN_INLINE uint32_t tn__bits_f32(float x)
{
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}

TN_INLINE uint64_t tn__bits_f64(double x)
{
    uint64_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}

TN_INLINE float tn__of_bits_f32(uint32_t u)
{
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

TN_INLINE double tn__of_bits_f64(uint64_t u)
{
    double x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

/* a * b + c, rounded once if fused and twice if not: never a call of the C library's fma. */
TN_INLINE float tn__fma_f32(float a, float b, float c, int fused)
{
    return fused ? __builtin_fmaf(a, b, c) : a * b + c;
}

TN_INLINE double tn__fma_f64(double a, double b, double c, int fused)
{
    return fused ? __builtin_fma(a, b, c) : a * b + c;
}

/* a + b exactly, if |a| >= |b| or a = 0 (Dekker 1971). */
TN_INLINE tn__pair_f32 tn__fast_sum_f32(float a, float b)
{
    const float s = a + b;
    return (tn__pair_f32){ s, (a - s) + b };
}

TN_INLINE tn__pair_f64 tn__fast_sum_f64(double a, double b)
{
    const double s = a + b;
    return (tn__pair_f64){ s, (a - s) + b };
}

/* a + b exactly (Knuth 1969). */
TN_INLINE tn__pair_f32 tn__two_sum_f32(float a, float b)
{
    const float s = a + b, t = s - a;
    return (tn__pair_f32){ s, (a - (s - t)) + (b - t) };
}

TN_INLINE tn__pair_f64 tn__two_sum_f64(double a, double b)
{
    const double s = a + b, t = s - a;
    return (tn__pair_f64){ s, (a - (s - t)) + (b - t) };
}

/* x without the lower half of its mantissa: the square of that is exact. */
TN_INLINE float tn__upper_f32(float x) { return tn__of_bits_f32(tn__bits_f32(x) & 0xfffff000u); }
TN_INLINE double tn__upper_f64(double x)
{
    return tn__of_bits_f64(tn__bits_f64(x) & 0xfffffffff8000000u);
}

/* a * b exactly, unless it overflows or a part of it is subnormal. */
TN_INLINE tn__pair_f32 tn__two_prod_f32(float a, float b, int fused)
{
    const float p = a * b, ah = tn__upper_f32(a), al = a - ah, bh = tn__upper_f32(b), bl = b - bh;
    return (tn__pair_f32){ p, fused ? __builtin_fmaf(a, b, -p)
                                    : (((ah * bh - p) + ah * bl) + al * bh) + al * bl };
}

TN_INLINE tn__pair_f64 tn__two_prod_f64(double a, double b, int fused)
{
    const double p = a * b, ah = tn__upper_f64(a), al = a - ah, bh = tn__upper_f64(b), bl = b - bh;
    return (tn__pair_f64){ p, fused ? __builtin_fma(a, b, -p)
                                    : (((ah * bh - p) + ah * bl) + al * bh) + al * bl };
}

#endif
