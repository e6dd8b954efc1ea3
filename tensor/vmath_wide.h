/* f32 functions whose inner steps lose digits, computed in f64 with polynomials of about 2^-30 to
 * 2^-37: what is left is the rounding to f32, and there is room to spare in the exponent. */
#ifndef TN_TENSOR_VMATH_WIDE_H
#define TN_TENSOR_VMATH_WIDE_H

/* ---- trigonometric functions ------------------------------------------------------------- */

/* x - n pi / 2 for an integer |n| <= 2^46. */
TN_INLINE double tn__less_half_pi_wide(double x, double n, int fused)
{
    const tn__pair_f64 a = tn__two_prod_f64(n, TN__HALF_PI_1_F64, fused);
    const double r =
        fused ? __builtin_fma(-n, TN__HALF_PI_1_F64, x) : (x - a.hi) - a.lo; /* exact */
    return tn__fma_f64(n, -TN__HALF_PI_2_F64, r, fused);
}

/* sin(r), |r| <= 1.6: half a period, so that one polynomial does. */
TN_INLINE double tn__sin_half_wide(double r, int fused)
{
    const double z = r * r;
    return r * tn__fma_f64(z, tn__poly_sin_f32_wide(z, fused), 1, fused);
}

/* sin(x) = (-1)^m sin(x - m pi), m = round(x / pi) */
TN_INLINE float tn__sin_f32(float x, int fused)
{
    const double d = x, magic = 0x1.8p52, m = tn__fma_f64(d, TN__INV_PI_F64, magic, fused);
    const double y = tn__sin_half_wide(tn__less_half_pi_wide(d, 2 * (m - magic), fused), fused);
    return tn__near_or_nan_f32(x, (float)tn__flip_by_f64(y, m, 0));
}

/* cos(x) = -(-1)^m sin(x - (m + 1/2) pi), m = round(x / pi - 1/2) */
TN_INLINE float tn__cos_f32(float x, int fused)
{
    const double d = x, magic = 0x1.8p52, m = tn__fma_f64(d, TN__INV_PI_F64, -0.5, fused) + magic;
    const double y = tn__sin_half_wide(tn__less_half_pi_wide(d, 2 * (m - magic) + 1, fused), fused);
    return tn__near_or_nan_f32(x, (float)-tn__flip_by_f64(y, m, 0));
}

TN_INLINE float tn__tan_f32(float x, int fused)
{
    const double d = x, magic = 0x1.8p52, n = tn__fma_f64(d, TN__TWO_OVER_PI_F64, magic, fused);
    const double r = tn__less_half_pi_wide(d, n - magic, fused), z = r * r;
    const double s = r * tn__fma_f64(z, tn__poly_sin_quarter_f32_wide(z, fused), 1, fused);
    const double c =
        tn__fma_f64(z * z, tn__poly_cos_quarter_f32_wide(z, fused), 1 - 0.5 * z, fused);
    const int is_odd = tn__flip_by_f64(1, n, 0) < 0;
    const double y = (is_odd ? -c : s) / (is_odd ? s : c);
    return tn__near_or_nan_f32(x, (float)y);
}

/* ---- exponentials ------------------------------------------------------------------------ */

/* e^x for |x| <= 700. */
TN_INLINE double tn__exp_wide(double x, int fused)
{
    const double magic = 0x1.8p52 + 1023, t = tn__fma_f64(x, TN__LOG2E_F64, magic, fused);
    const double r = tn__fma_f64(t - magic, -TN__LN2_F64, x, fused);
    const double y = 1 + tn__fma_f64(r * r, tn__poly_exp_f32_wide(r, fused), r, fused);
    return y * tn__of_bits_f64(tn__bits_f64(t) << 52);
}

/* log(x) of a normal x > 0. */
TN_INLINE double tn__log_wide(double x, int fused)
{
    const uint64_t root_half = UINT64_C(0x3fe6a09e667f3bcd), mantissa = (UINT64_C(1) << 52) - 1;
    const uint64_t u = tn__bits_f64(x) + (UINT64_C(0x3ff0000000000000) - root_half);
    const double k = tn__of_field_f64(u >> 52, 1023);
    const double f = tn__of_bits_f64((u & mantissa) + root_half) - 1, s = f / (2 + f), z = s * s;
    const double l = tn__fma_f64(s * z, tn__poly_atanh_f32_wide(z, fused), s + s, fused);
    return tn__fma_f64(k, TN__LN2_F64, l, fused);
}

TN_INLINE float tn__pow_f32(float x, float y, int fused)
{
    const double a = tn__abs_f32(x), t = y * tn__log_special_f64(a, tn__log_wide(a, fused));
    const float r = (float)tn__exp_wide(tn__clamp_f64(t, -110, 90), fused);
    return tn__pow_special_f32(x, y, r, fused);
}

#endif
