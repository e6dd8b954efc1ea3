/* sin, cos and tan: the argument is reduced by multiples of pi / 2 held in three parts. */
#ifndef TN_TENSOR_VMATH_TRIG_H
#define TN_TENSOR_VMATH_TRIG_H

#include "tensor/vmath_poly.h"

/* pi / 2 = P1 + P2 + P3; P1 and P2 are of 50 bits, so that an integer times them splits exactly. */
TN_INLINE double tn__sin_reduced_f64(double r, double dr, int fused)
{
    const double z = r * r, s = tn__poly_sin_f64(z, fused);
    return r + tn__fma_f64(r * z, s, dr, fused);
}

/* x - n pi / 2 as a pair, for an integer |n| < 2^49. */
TN_INLINE tn__pair_f64 tn__less_half_pi_f64(double x, double n, int fused)
{
    const double       p1 = 0x1.921fb54442d18p+0, p2 = 0x1.1a62633145c08p-54, p3 = -0x1.1f1976b7ed8fcp-106;
    const tn__pair_f64 a = tn__two_prod_f64(n, p1, fused), b = tn__two_prod_f64(n, p2, fused);
    const double       r = (x - a.hi) - a.lo;                   /* exact */
    const tn__pair_f64 s = tn__two_sum_f64(r, -b.hi);
    return tn__fast_sum_f64(s.hi, s.lo - tn__fma_f64(n, p3, b.lo, fused));
}

/* (-1)^(n / 2) x for an even integer n given with 1.5 2^52 added. */
TN_INLINE double tn__alternate_f64(double x, double n_magic)
{
    return tn__of_bits_f64(tn__bits_f64(x) ^ (tn__bits_f64(n_magic) << 63));
}

/* sin(x) = (-1)^m sin(x - m pi), m the nearest integer to x / pi. */
TN_INLINE double tn__sin_f64(double x, int fused)
{
    const double       magic = 0x1.8p52, m = tn__fma_f64(x, 0.31830988618379067, magic, fused);
    const tn__pair_f64 r = tn__less_half_pi_f64(x, 2 * (m - magic), fused);
    const double y = tn__alternate_f64(tn__sin_reduced_f64(r.hi, r.lo, fused), m);
    return x == 0 ? x : y;
}

/* cos(x) = -(-1)^m sin(x - (m + 1/2) pi) */
TN_INLINE double tn__cos_f64(double x, int fused)
{
    const double magic = 0x1.8p52;
    const double m = tn__fma_f64(tn__of_bits_f64(tn__bits_f64(x) & ~(UINT64_C(1) << 63)),
                                 0.31830988618379067, -0.5, fused) + magic;
    const tn__pair_f64 r =
        tn__less_half_pi_f64(tn__of_bits_f64(tn__bits_f64(x) & ~(UINT64_C(1) << 63)),
                             2 * (m - magic) + 1, fused);
    return -tn__alternate_f64(tn__sin_reduced_f64(r.hi, r.lo, fused), m);
}

TN_INLINE double tn__sin_reduced_f32(double r, int fused)
{
    const double z = r * r;
    return tn__fma_f64(r * z, tn__poly_sin_f32(z, fused), r, fused);
}

TN_INLINE float tn__sin_f32(float x, int fused)
{
    const double       d = x, magic = 0x1.8p52, m = tn__fma_f64(d, 0.31830988618379067, magic, fused);
    const tn__pair_f64 r = tn__less_half_pi_f64(d, 2 * (m - magic), fused);
    const double y = tn__alternate_f64(tn__sin_reduced_f32(r.hi, fused), m);
    return x == 0 ? x : (float)y;
}

TN_INLINE float tn__cos_f32(float x, int fused)
{
    const double       d = x, magic = 0x1.8p52, m = tn__fma_f64(d, 0.31830988618379067, -0.5, fused) + magic;
    const tn__pair_f64 r = tn__less_half_pi_f64(d, 2 * (m - magic) + 1, fused);
    return (float)-tn__alternate_f64(tn__sin_reduced_f32(r.hi, fused), m);
}

#endif
