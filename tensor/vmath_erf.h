/* The error function, its complement and the normal distribution, in f64; erf in f32, whose others are
 * in vmath_wide.h. e^(x^2) erfc(x) (x + 4) is a polynomial in t = (x - 4) / (x + 4) on the whole
 * half-line (after Shepherd and Laframboise 1981). The exponential needs the square of x exactly: with
 * h the upper half of x, that is h^2 and (x - h) (x + h). */
#ifndef TN_TENSOR_VMATH_ERF_H
#define TN_TENSOR_VMATH_ERF_H

/* e^(-c x^2), c = 1 or 1/2. */
TN_INLINE tn__exp_parts_f64 tn__gauss_split_f64(double x, double c, int fused)
{
    const double h = tn__upper_f64(x);
    return tn__exp_split_f64(-c * h * h, -c * ((x - h) * (x + h)), fused);
}

/* e^(x^2) erfc(x) of x >= 0, given x and 4 times one factor (k + dk = 4 factor), divided by factor. */
TN_INLINE tn__pair_f64 tn__erfcx_pair_f64(double x, double k, double dk, int fused)
{
    const tn__pair_f64 d = tn__two_sum_f64(x, k);
    const double       s = 1 / d.hi;
    const tn__pair_f64 sd = tn__two_prod_f64(s, d.hi, fused), p = tn__two_prod_f64(2 * k, s, fused);
    const double       ds = s * (((1 - sd.hi) - sd.lo) - s * (d.lo + dk));
    const tn__pair_f64 t = tn__fast_sum_f64(1, -p.hi);     /* 1 - 2 k / (x + k) */
    const double       dt = t.lo - (p.lo + tn__fma_f64(2 * k, ds, 2 * dk * s, fused));
    const tn__pair_f64 r = tn__two_prod_f64(t.hi, tn__poly_erfcx_rest_f64(t.hi, fused), fused);
    const tn__pair_f64 y = tn__two_sum_f64(TN__ERFCX_0_F64, r.hi), g = tn__two_prod_f64(y.hi, s, fused);
    const double       dy = tn__fma_f64(dt, tn__poly_erfcx_slope_f64(t.hi, fused), y.lo + (r.lo + TN__ERFCX_0_REST_F64), fused);
    return (tn__pair_f64){ g.hi, g.lo + tn__fma_f64(y.hi, ds, dy * s, fused) };
}

/* g times an exponential. */
TN_INLINE double tn__times_exp_f64(tn__pair_f64 g, tn__exp_parts_f64 e, int fused)
{
    const tn__pair_f64 s = tn__fast_sum_f64(1, e.r);
    const double       lo = tn__fma_f64(g.hi, s.lo + e.tail, g.lo * s.hi, fused);
    return tn__exp_scale_f64(tn__fma_f64(g.hi, s.hi, lo, fused), e.k);
}

/* erfc(a) for a >= 0. */
TN_INLINE double tn__erfc_tail_f64(double a, int fused)
{
    const double c = a > 27.5 ? 27.5 : a;
    return tn__times_exp_f64(tn__erfcx_pair_f64(c, 4, 0, fused), tn__gauss_split_f64(c, 1, fused), fused);
}

TN_INLINE double tn__erf_f64(double x, int fused)
{
    const double a = tn__abs_f64(x), near = tn__fma_f64(x, tn__poly_erf_f64(x * x, fused), x, fused);
    const double far = tn__copysign_f64(1 - tn__erfc_tail_f64(a, fused), x);
    return a < 1 ? near : far;
}

TN_INLINE double tn__erfc_f64(double x, int fused)
{
    const double a = tn__abs_f64(x), t = tn__erfc_tail_f64(a, fused);
    const double near = 1 - tn__fma_f64(x, tn__poly_erf_f64(x * x, fused), x, fused);
    return a < 0.5 ? near : x < 0 ? 2 - t : t;
}

/* The part beyond 1 is small, so plain arithmetic does. */
TN_INLINE float tn__erf_f32(float x, int fused)
{
    const float a = tn__abs_f32(x), near = tn__fma_f32(x, tn__poly_erf_f32(x * x, fused), x, fused);
    const float c = tn__keep_nan_f32(tn__at_most_f32(a, 4), x), s = 1 / (c + 4), g = s * tn__poly_erfcx_f32((c - 4) * s, fused);
    const tn__exp_parts_f32 e = tn__exp_split_f32(-c * c, 0, fused);
    const float t = tn__fma_f32(g, e.r + e.tail, g, fused) * tn__exp_unit_f32(e.k, 0);
    return a < 1 ? near : tn__copysign_f32(1 - t, x);
}

TN_INLINE double tn__norm_pdf_f64(double x, int fused)
{
    const tn__exp_parts_f64 e = tn__gauss_split_f64(tn__clamp_f64(x, -40, 40), 0.5, fused);
    return tn__times_exp_f64((tn__pair_f64){ TN__INV_ROOT_2PI_F64, TN__INV_ROOT_2PI_REST_F64 }, e, fused);
}

TN_INLINE double tn__norm_cdf_f64(double x, int fused)
{
    const double       a = tn__abs_f64(x), c = a > 38.6 ? 38.6 : a;
    const tn__pair_f64 g = tn__erfcx_pair_f64(c, TN__FOUR_ROOT2_F64, TN__FOUR_ROOT2_REST_F64, fused);
    const tn__pair_f64 h = tn__two_prod_f64(g.hi, TN__ROOT_HALF_F64, fused);
    const double       dh = tn__fma_f64(g.hi, TN__ROOT_HALF_REST_F64, g.lo * TN__ROOT_HALF_F64, fused);
    const double y = tn__times_exp_f64((tn__pair_f64){ h.hi, h.lo + dh }, tn__gauss_split_f64(c, 0.5, fused), fused);
    return x > 0 ? 1 - y : y;
}

TN_INLINE double tn__gelu_f64(double x, int fused)
{
    const double y = x * tn__norm_cdf_f64(x, fused);
    return x < -39 ? -0.0 : y;
}

TN_INLINE double tn__gelu_grad_f64(double x, int fused)
{
    const double c = tn__clamp_f64(x, -40, 40);
    return tn__fma_f64(c, tn__norm_pdf_f64(c, fused), tn__norm_cdf_f64(c, fused), fused);
}

#endif
