/* The error function, the normal distribution and the activations: a template like vmath_real.h.
 *
 * With the exponential e = e^(-x^2), erfc(x) = e / (sqrt(pi) x + n / d) for x >= 0, where n and d
 * are polynomials of positive coefficients, so that no sum loses digits; as e d / (sqrt(pi) x d +
 * n) most of d's error cancels. The same holds for the tail of the normal distribution with e^(-x^2
 * / 2). The exponential needs the square of x exactly: with h the upper half of x, that is h^2 and
 * (x - h) (x + h). */

/* e^(-c x^2), c = 1 or 1/2. */
TN_INLINE FN(exp_parts) FN(gauss_split)(real x, real c, int fused)
{
    const real h = FN(upper)(x);
    return FN(exp_split)(-c * h * h, -c * ((x - h) * (x + h)), fused);
}

/* g times an exponential. */
TN_INLINE real FN(times_exp)(real g, FN(exp_parts) e, int fused)
{
    const pair s = FN(fast_sum)(1, e.r);
    return FN(exp_scale)(FMA(g, s.hi, g * (s.lo + e.tail)), e.k);
}

/* e^(x^2) erfc(x) for x >= 0. */
TN_INLINE real FN(erfcx)(real x, int fused)
{
    const real n = FN(poly_erfc_num)(x, fused), d = FN(poly_erfc_den)(x, fused);
    return d / FMA(K(ROOT_PI) * x, d, n);
}

/* e^(x^2 / 2) P(X > x) of the normal distribution, for x >= 0. */
TN_INLINE real FN(mills)(real x, int fused)
{
    const real n = FN(poly_normal_num)(x, fused), d = FN(poly_normal_den)(x, fused);
    return d / FMA(K(ROOT_2PI) * x, d, n);
}

TN_INLINE real FN(erfc)(real x, int fused)
{
    const real a = FN(abs)(x), c = FN(keep_nan)(FN(at_most)(a, PICK(10.25f, 27.5)), x);
    const real t = FN(times_exp)(FN(erfcx)(c, fused), FN(gauss_split)(c, 1, fused), fused);
    return x < 0 ? 2 - t : t;
}

/* Beyond 1 the rest to 1 is small, so that plain arithmetic does. */
TN_INLINE real FN(erf)(real x, int fused)
{
    const real a = FN(abs)(x), c = FN(keep_nan)(FN(at_most)(a, PICK(4, 6)), x);
    const FN(exp_parts) e = FN(exp_split)(-c * c, 0, fused);
    const real g = FN(erfcx)(c, fused) * FN(exp_unit)(e.k, 0);
    const real outer = 1 - FMA(g, e.r + e.tail, g), inner = FMA(a, FN(poly_erf)(a * a, fused), a);
    return FN(copysign)(a < 1 ? inner : outer, x);
}

/* P(X <= x) of the normal distribution, and its density at x. */
typedef struct FN(normal_values) {
    real cdf, pdf;
} FN(normal_values);

TN_INLINE FN(normal_values) FN(normal)(real x, int fused)
{
    const real c = FN(keep_nan)(FN(at_most)(FN(abs)(x), PICK(14.5f, 38.75)), x);
    const FN(exp_parts) e = FN(gauss_split)(c, (real)0.5, fused);
    const real y = FN(times_exp)(FN(mills)(c, fused), e, fused);
    return (FN(normal_values)){ x > 0 ? 1 - y : y, FN(times_exp)(K(INV_ROOT_2PI), e, fused) };
}

TN_INLINE real FN(norm_cdf)(real x, int fused) { return FN(normal)(x, fused).cdf; }
TN_INLINE real FN(norm_pdf)(real x, int fused) { return FN(normal)(x, fused).pdf; }

/* ---- activations ------------------------------------------------------------------------- */

/* x sigmoid(x), and its derivative s (1 + x (1 - s)). */
TN_INLINE real FN(silu)(real x, int fused)
{
    return FN(at_least)(x, PICK(-104, -746)) * FN(sigmoid)(x, fused);
}

TN_INLINE real FN(silu_grad)(real x, int fused)
{
    const real c = FN(clamp)(x, PICK(-110, -760), PICK(110, 760));
    const pair s = FN(sigmoid_both)(c, fused);
    return FMA(c * s.hi, s.lo, s.hi);
}

/* x P(X <= x), and its derivative P(X <= x) + x p(x). */
TN_INLINE real FN(gelu)(real x, int fused)
{
    return FN(at_least)(x, PICK(-14.5f, -38.75)) * FN(normal)(x, fused).cdf;
}

TN_INLINE real FN(gelu_grad)(real x, int fused)
{
    const FN(normal_values) p = FN(normal)(x, fused);
    return FMA(FN(clamp)(x, PICK(-14.5f, -38.75), PICK(14.5f, 38.75)), p.pdf, p.cdf);
}

/* x (1 + tanh(u / 2)) / 2 = x sigmoid(u) with u = sqrt(8 / pi) (x + 0.044715 x^3), and its
 * derivative s + x s (1 - s) du/dx. Far from 0 the one is x or nothing and the other 1 or 0, so
 * that e^-u need be right only where it and 1 / e^-u are normal numbers. */
#define TN__GELU_FAR PICK(10, 21)

#if TN__MANTISSA == 23

/* e^-u in two factors, of which the second is a power of two or infinity; z = x^2. */
TN_INLINE pair FN(gelu_exp)(real x, real z, int fused)
{
    const real u = x * FMA(z, -K(GELU_CUBE_LOG2E), -K(ROOT_8_PI_LOG2E));
    const real v = FN(at_least)(FN(at_most)(u, 128), -126);
    const real t = v + TN__POWER_MAGIC, n = t - TN__POWER_MAGIC;
    return (pair){ FN(exp2_part)(v - n, fused), FN(exp2_unit)(t) };
}

TN_INLINE real FN(gelu_tanh)(real x, int fused)
{
    const pair e = FN(gelu_exp)(x, x * x, fused);
    return (x < -TN__GELU_FAR ? -TN__GELU_FAR : x) / FMA(e.hi, e.lo, 1);
}

#else

/* e^-u for x between those bounds, in one factor. */
TN_INLINE pair FN(gelu_exp)(real x, real z, int fused)
{
    const real u = x * FMA(z, -K(GELU_CUBE), -K(ROOT_8_PI));
    const real t = FMA(u, K(LOG2E), TN__EXP_MAGIC), n = t - TN__EXP_MAGIC;
    const real r = FMA(n, -K(LN2_LO), FMA(n, -K(LN2_HI), u)), unit = FN(exp_unit)(FN(bits)(t), 0);
    return (pair){ FMA(FMA(r * r, FN(poly_exp)(r, fused), r), unit, unit), 1 };
}

TN_INLINE real FN(gelu_tanh)(real x, int fused)
{
    const real a = FN(at_least)(x, -TN__GELU_FAR), c = FN(at_most)(a, TN__GELU_FAR);
    const real y = a / (1 + FN(gelu_exp)(c, c * c, fused).hi);
    return FN(keep_nan)(FN(choose)(FN(mask)(x < -TN__GELU_FAR), -(real)0, y), x);
}

#endif

TN_INLINE real FN(gelu_tanh_grad)(real x, int fused)
{
    const real c = FN(at_most)(FN(at_least)(x, -TN__GELU_FAR), TN__GELU_FAR), z = c * c;
    const pair p = FN(gelu_exp)(c, z, fused);
    const real e = p.hi * p.lo, s = 1 / (1 + e);
    return FN(keep_nan)(FMA(c * s * (e * s), FMA(z, 3 * K(GELU_CUBE), K(ROOT_8_PI)), s), x);
}
#undef TN__GELU_FAR
