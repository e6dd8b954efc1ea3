/* Functions of two numbers that need care: pow, and the remainders of a division. */
#ifndef TN_TENSOR_VMATH_POW_H
#define TN_TENSOR_VMATH_POW_H

/* ---- power ------------------------------------------------------------------------------- */

/* log(x) = hi + lo to about 2^-66, for 0 < x < inf: 2 atanh(s), s = f / (2 + f), with the first two
 * terms of the series in pairs. */
TN_INLINE tn__pair_f64 tn__log_pair_f64(double x, int fused)
{
    const tn__log_parts_f64 p = tn__log_split_f64(x, fused);
    const tn__pair_f64 d = tn__fast_sum_f64(2, p.f);
    const double inv = 1 / d.hi, s = p.f * inv;
    const tn__pair_f64 sd = tn__two_prod_f64(s, d.hi, fused);
    const double ds = (((p.f - sd.hi) - sd.lo) - s * d.lo) * inv;
    /* 2/3 s^3 */
    const tn__pair_f64 z = tn__two_prod_f64(s, s, fused), c = tn__two_prod_f64(s, z.hi, fused);
    const double dc = c.lo + tn__fma_f64(s, tn__fma_f64(2 * s, ds, z.lo, fused), z.hi * ds, fused);
    const tn__pair_f64 t = tn__two_prod_f64(c.hi, TN__TWO_THIRDS_F64, fused);
    const double dt =
        t.lo + tn__fma_f64(c.hi, TN__TWO_THIRDS_REST_F64, dc * TN__TWO_THIRDS_F64, fused);
    const double rest = s * z.hi * z.hi * tn__poly_atanh5_f64(z.hi, fused);
    const tn__pair_f64 a = tn__fast_sum_f64(2 * s, t.hi),
                       b = tn__fast_sum_f64(p.k * TN__LN2_HI_F64, a.hi);
    return tn__fast_sum_f64(
        b.hi, b.lo + (a.lo + (tn__fma_f64(p.k, TN__LN2_LO_F64, 2 * ds, fused) + (dt + rest))));
}

TN_INLINE double tn__pow_f64(double x, double y, int fused)
{
    const double a = tn__abs_f64(x);
    const tn__pair_f64 l = tn__log_pair_f64(a, fused);
    const double h = tn__log_special_f64(a, l.hi);
    const tn__pair_f64 p = tn__two_prod_f64(y, h, fused);
    const double t = tn__clamp_f64(p.hi, -746, 710), dt = p.hi == t ? p.lo + y * l.lo : 0;
    const tn__exp_parts_f64 e = tn__exp_split_f64(t, dt, fused);
    const tn__pair_f64 s = tn__fast_sum_f64(1, e.r);
    const double r = tn__exp_scale_f64(s.hi + (s.lo + e.tail), e.k);
    return tn__pow_special_f64(x, y, r, fused);
}

/* ---- remainders -------------------------------------------------------------------------- */

/* fmod and remainder are exact while |x / y| < 2^50 (and, without fused multiply-add, no partial
 * product leaves the range). Far from that a long division in integers takes over: a span kernel
 * looks at its whole block first. */
TN_INLINE int tn__fmod_is_far_f64(double x, double y, int fused)
{
    const double a = tn__abs_f64(x), b = tn__abs_f64(y);
    const int is_close = a < b * 0x1p50, is_extreme = (a > 0x1p1000) | (b < 0x1p-900);
    return fused ? !is_close : (!is_close) | is_extreme;
}

TN_INLINE int tn__fmod_is_far_f32(float x, float y, int fused)
{
    return tn__fmod_is_far_f64(x, y, fused);
}

/* a = m 2^(e - 1075) with a full m, for a finite a > 0 */
TN_INLINE uint64_t tn__mantissa_f64(double a, int *e)
{
    uint64_t m = tn__bits_f64(a);
    *e = (int)(m >> 52);
    m &= (UINT64_C(1) << 52) - 1;
    if (*e) return m | UINT64_C(1) << 52;
    for (*e = 1; !(m >> 52); --*e) m <<= 1;
    return m;
}

TN__COLD static double tn__fmod_far_f64(double x, double y)
{
    const double a = tn__abs_f64(x), b = tn__abs_f64(y), inf = __builtin_inf();
    if (!(a < inf) || !(b > 0)) return (x - x) / (x - x);
    if (a < b) return x;
    int ea, eb;
    uint64_t ma = tn__mantissa_f64(a, &ea), mb = tn__mantissa_f64(b, &eb);
    ma %= mb;
    for (int left = ea - eb; left > 0; left -= 11) ma = (ma << (left < 11 ? left : 11)) % mb;
    if (!ma) return tn__copysign_f64(0, x);
    for (; !(ma >> 52) && eb > 1; eb--) ma <<= 1;
    for (; eb < 1; eb++) ma >>= 1; /* exact: the remainder is a multiple */
    const double r =
        tn__of_bits_f64(ma >> 52 ? (ma & ((UINT64_C(1) << 52) - 1)) | (uint64_t)eb << 52 : ma);
    return tn__copysign_f64(r, x);
}

TN_INLINE double tn__fmod_f64(double x, double y, int fused)
{
    const double a = tn__abs_f64(x), b = tn__abs_f64(y), q = tn__trunc_f64(a / b, fused);
    const tn__pair_f64 p = tn__two_prod_f64(q, b, fused);
    const double r = fused ? __builtin_fma(-q, b, a) : (a - p.hi) - p.lo; /* exact */
    const double s = r < 0 ? r + b : r; /* q is right or 1 too large */
    return tn__copysign_f64(a < b ? a : s, x);
}

TN_INLINE float tn__fmod_f32(float x, float y, int fused)
{
    return (float)tn__fmod_f64(x, y, fused);
}
TN__COLD static float tn__fmod_far_f32(float x, float y) { return (float)tn__fmod_far_f64(x, y); }

/* The remainder of floor(x / y), with the sign of y, from that of trunc(x / y). */
TN_INLINE double tn__remainder_of_f64(double m, double y)
{
    const double turned = (m < 0) != (y < 0) ? m + y : m;
    return m == 0 ? tn__copysign_f64(m, y) : turned;
}

TN_INLINE double tn__remainder_f64(double x, double y, int fused)
{
    return tn__remainder_of_f64(tn__fmod_f64(x, y, fused), y);
}

TN_INLINE float tn__remainder_f32(float x, float y, int fused)
{
    return (float)tn__remainder_f64(x, y, fused);
}

TN__COLD static double tn__remainder_far_f64(double x, double y)
{
    return tn__remainder_of_f64(tn__fmod_far_f64(x, y), y);
}

TN__COLD static float tn__remainder_far_f32(float x, float y)
{
    return (float)tn__remainder_far_f64(x, y);
}

#endif
