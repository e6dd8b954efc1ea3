/* sin, cos and tan. Near: |x| <= 2^45, branch-free; n pi / 2 is taken from x with pi / 2 in three
 * parts (Cody and Waite 1980), the first product exact. Far: one at a time, with 1280 bits of 2 /
 * pi (Payne and Hanek 1983). f32 is in vmath_wide.h. */
#ifndef TN_TENSOR_VMATH_TRIG_H
#define TN_TENSOR_VMATH_TRIG_H

#define TN__TRIG_NEAR 0x1p45

/* x - n pi / 2 as a pair, for an integer |n| <= 2^46 that leaves less than 2. */
TN_INLINE tn__pair_f64 tn__less_half_pi_f64(double x, double n, int fused)
{
    const tn__pair_f64 a = tn__two_prod_f64(n, TN__HALF_PI_1_F64, fused);
    const tn__pair_f64 b = tn__two_prod_f64(n, TN__HALF_PI_2_F64, fused);
    const double r =
        fused ? __builtin_fma(-n, TN__HALF_PI_1_F64, x) : (x - a.hi) - a.lo; /* exact */
    const tn__pair_f64 s = tn__two_sum_f64(r, -b.hi);
    return tn__fast_sum_f64(s.hi, s.lo - tn__fma_f64(n, TN__HALF_PI_3_F64, b.lo, fused));
}

/* y, the function at x, if x is near; else NaN. */
TN_INLINE double tn__near_or_nan_f64(double x, double y)
{
    return tn__of_bits_f64(tn__bits_f64(y) | (tn__abs_f64(x) <= TN__TRIG_NEAR ? 0 : ~UINT64_C(0)));
}

TN_INLINE float tn__near_or_nan_f32(float x, float y)
{
    return tn__of_bits_f32(tn__bits_f32(y) |
                           (tn__abs_f32(x) <= (float)TN__TRIG_NEAR ? 0 : ~UINT32_C(0)));
}

/* x with its sign changed if bit `bit` is set in the integer n, which has 1.5 2^52 added. */
TN_INLINE double tn__flip_by_f64(double x, double n, int bit)
{
    return tn__of_bits_f64(tn__bits_f64(x) ^ (tn__bits_f64(n) >> bit) << 63);
}

/* sin(r + dr) and cos(r + dr), |r| <= 0.8, as hi + lo: lo is small but not beyond hi's digits. */
TN_INLINE tn__pair_f64 tn__sin_quarter_f64(double r, double dr, int fused)
{
    const double z = r * r;
    return (tn__pair_f64){ r, tn__fma_f64(r * z, tn__poly_sin_quarter_f64(z, fused), dr, fused) };
}

TN_INLINE tn__pair_f64 tn__cos_quarter_f64(double r, double dr, int fused)
{
    const tn__pair_f64 z = tn__two_prod_f64(r, r, fused), c = tn__fast_sum_f64(1, -0.5 * z.hi);
    const double p = z.hi * z.hi * tn__poly_cos_quarter_f64(z.hi, fused);
    return (tn__pair_f64){ c.hi, c.lo + (p - tn__fma_f64(r, dr, 0.5 * z.lo, fused)) };
}

/* sin(r + n pi / 2) for an integer n that has 1.5 2^52 added. */
TN_INLINE double tn__sin_turned_f64(tn__pair_f64 r, double n, int fused)
{
    const tn__pair_f64 s = tn__sin_quarter_f64(r.hi, r.lo, fused),
                       c = tn__cos_quarter_f64(r.hi, r.lo, fused);
    const int is_odd = tn__flip_by_f64(1, n, 0) < 0;
    return tn__flip_by_f64((is_odd ? c.hi : s.hi) + (is_odd ? c.lo : s.lo), n, 1);
}

/* tan(r), or -1 / tan(r) if n is odd. */
TN_INLINE double tn__tan_turned_f64(tn__pair_f64 r, double n, int fused)
{
    tn__pair_f64 s = tn__sin_quarter_f64(r.hi, r.lo, fused),
                 c = tn__cos_quarter_f64(r.hi, r.lo, fused);
    s = tn__fast_sum_f64(s.hi, s.lo), c = tn__fast_sum_f64(c.hi, c.lo);
    const int is_odd = tn__flip_by_f64(1, n, 0) < 0;
    const tn__pair_f64 p = { is_odd ? -c.hi : s.hi, is_odd ? -c.lo : s.lo };
    const tn__pair_f64 q = { is_odd ? s.hi : c.hi, is_odd ? s.lo : c.lo };
    const double inv = 1 / q.hi, t = p.hi * inv;
    const tn__pair_f64 tq = tn__two_prod_f64(t, q.hi, fused);
    return tn__fma_f64(((p.hi - tq.hi) - tq.lo) + (p.lo - t * q.lo), inv, t, fused);
}

TN_INLINE double tn__sin_f64(double x, int fused)
{
    const double magic = 0x1.8p52, n = tn__fma_f64(x, TN__TWO_OVER_PI_F64, magic, fused);
    const double y = tn__sin_turned_f64(tn__less_half_pi_f64(x, n - magic, fused), n, fused);
    const double zero =
        tn__of_bits_f64(tn__bits_f64(y) | (x == 0 ? tn__bits_f64(x) : 0)); /* +-0 of +-0 */
    return tn__near_or_nan_f64(x, zero);
}

TN_INLINE double tn__cos_f64(double x, int fused)
{
    const double magic = 0x1.8p52, n = tn__fma_f64(x, TN__TWO_OVER_PI_F64, magic, fused);
    return tn__near_or_nan_f64(
        x, tn__sin_turned_f64(tn__less_half_pi_f64(x, n - magic, fused), n + 1, fused));
}

TN_INLINE double tn__tan_f64(double x, int fused)
{
    const double magic = 0x1.8p52, n = tn__fma_f64(x, TN__TWO_OVER_PI_F64, magic, fused);
    const double y = tn__tan_turned_f64(tn__less_half_pi_f64(x, n - magic, fused), n, fused);
    return tn__near_or_nan_f64(x, tn__abs_f64(x) < 0x1p-28 ? x : y);
}

/* ---- far --------------------------------------------------------------------------------- */

/* Whether sin, cos and tan of x need tn__sin_far, ..: a span kernel looks at its whole block first.
 */
TN_INLINE int tn__trig_is_far_f64(double x) { return x > TN__TRIG_NEAR || x < -TN__TRIG_NEAR; }
TN_INLINE int tn__trig_is_far_f32(float x)
{
    return x > (float)TN__TRIG_NEAR || x < -(float)TN__TRIG_NEAR;
}

#if defined __GNUC__
#    define TN__COLD __attribute__((cold, noinline, unused))
#else
#    define TN__COLD
#endif

/* The upper half of a product. */
TN_INLINE uint64_t tn__mul_high_u64(uint64_t a, uint64_t b)
{
    const uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    const uint64_t mid = ah * bl + (al * bl >> 32), mid2 = al * bh + (uint32_t)mid;
    return ah * bh + (mid >> 32) + (mid2 >> 32);
}

/* 2 x / pi = n + r, |r| <= 1/2, of a finite |x| >= 2^45: r (pi / 2) as a pair, and n modulo 4. */
TN__COLD static tn__pair_f64 tn__far_half_pi(double x, int *n)
{
    static const uint64_t bits[] = { TN__TWO_OVER_PI_BITS };
    const uint64_t u = tn__bits_f64(x), m = (u & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    const int e = (int)(u >> 52 & 2047) - 1075;             /* |x| = m 2^e */
    const int at = e + 62, word = at / 64, shift = at % 64; /* bits of weight under 4 / 2^e */
    uint64_t w[3], f[3];
    for (int i = 0; i < 3; i++)
        w[i] = bits[word + i] << shift | (shift ? bits[word + i + 1] >> (64 - shift) : 0);
    /* f = m w modulo 2^192, whose first two bits are n */
    f[2] = m * w[2], f[1] = m * w[1] + tn__mul_high_u64(m, w[2]);
    f[0] = m * w[0] + tn__mul_high_u64(m, w[1]) + (f[1] < m * w[1]);
    const int q = (int)(f[0] >> 62), up = (int)(f[0] >> 61 & 1);
    f[0] = f[0] << 2 | f[1] >> 62, f[1] = f[1] << 2 | f[2] >> 62, f[2] <<= 2;
    if (up) f[0] = ~f[0], f[1] = ~f[1], f[2] = ~f[2];
    tn__pair_f64 r = { 0, 0 };
    for (int i = 5; i >= 0; i--) {
        const double part = (double)(uint32_t)(i & 1 ? f[i / 2] : f[i / 2] >> 32);
        const tn__pair_f64 s =
            tn__two_sum_f64(part * tn__of_bits_f64((uint64_t)(1023 - 32 * (i + 1)) << 52), r.hi);
        r = tn__fast_sum_f64(s.hi, s.lo + r.lo);
    }
    tn__pair_f64 y = tn__two_prod_f64(r.hi, TN__HALF_PI_F64, 0);
    y = tn__fast_sum_f64(y.hi, y.lo + (r.hi * TN__HALF_PI_REST_F64 + r.lo * TN__HALF_PI_F64));
    const int minus = (up != 0) != (x < 0);
    *n = (x < 0 ? -(q + up) : q + up) & 3;
    return (tn__pair_f64){ minus ? -y.hi : y.hi, minus ? -y.lo : y.lo };
}

/* sin(x + turn pi / 2) */
TN__COLD static double tn__sin_far_turned(double x, int turn)
{
    if (!(x - x == 0)) return x - x;
    int n;
    const tn__pair_f64 r = tn__far_half_pi(x, &n);
    return tn__sin_turned_f64(r, 0x1.8p52 + n + turn, 0);
}

TN__COLD static double tn__sin_far_f64(double x) { return tn__sin_far_turned(x, 0); }
TN__COLD static double tn__cos_far_f64(double x) { return tn__sin_far_turned(x, 1); }

TN__COLD static double tn__tan_far_f64(double x)
{
    if (!(x - x == 0)) return x - x;
    int n;
    const tn__pair_f64 r = tn__far_half_pi(x, &n);
    return tn__tan_turned_f64(r, 0x1.8p52 + n, 0);
}

TN__COLD static float tn__sin_far_f32(float x) { return (float)tn__sin_far_f64(x); }
TN__COLD static float tn__cos_far_f32(float x) { return (float)tn__cos_far_f64(x); }
TN__COLD static float tn__tan_far_f32(float x) { return (float)tn__tan_far_f64(x); }

#endif
