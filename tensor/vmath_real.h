/* The functions of tensor/vmath.h that read the same in f32 and f64. vmath.h includes this file
 * once for each, with
 *   R, U     float and uint32_t, or double and uint64_t
 *   M(name)  tn__name_f32 or tn__name_f64
 *   PICK(a, b)  a in f32, b in f64
 *   MANTISSA, BIAS   stored bits of the mantissa and bias of the exponent
 * No guard: it is a template. */

#define FMA(a, b, c) M(fma)(a, b, c, fused)
#define PAIR         PICK(tn__pair_f32, tn__pair_f64)
#define INF          PICK(__builtin_inff(), __builtin_inf())
#define NOT_A_NUMBER PICK(__builtin_nanf(""), __builtin_nan(""))
#define SIGN_BIT     ((U)1 << PICK(31, 63))
#define SMALLEST     PICK(0x1p-126f, 0x1p-1022) /* of the normal numbers */
#define MAGIC        PICK(0x1.8p23f, 0x1.8p52)  /* x + MAGIC rounds x to an integer, in its low bits */

/* ---- sign, order, classes ---------------------------------------------------------------- */

TN_INLINE R M(abs)(R x) { return M(of_bits)(M(bits)(x) & ~SIGN_BIT); }

TN_INLINE R M(copysign)(R x, R y)
{
    return M(of_bits)((M(bits)(x) & ~SIGN_BIT) | (M(bits)(y) & SIGN_BIT));
}

/* -1, 0 or 1; NaN of NaN. */
TN_INLINE R M(sign)(R x)
{
    const R s = x > 0 ? (R)1 : (R)-1;
    return x < 0 || x > 0 ? s : x + 0;
}

/* NaN if either is; of zeros, any. */
TN_INLINE R M(min)(R x, R y) { return x <= y || x != x ? x : y; }
TN_INLINE R M(max)(R x, R y) { return x >= y || x != x ? x : y; }

TN_INLINE int M(isnan)(R x) { return (U)(M(bits)(x) << 1) > (U)(M(bits)(INF) << 1); }
TN_INLINE int M(isinf)(R x) { return (U)(M(bits)(x) << 1) == (U)(M(bits)(INF) << 1); }
TN_INLINE int M(isfinite)(R x) { return (U)(M(bits)(x) << 1) < (U)(M(bits)(INF) << 1); }

/* ---- to integers ------------------------------------------------------------------------- */

/* Half to even. */
TN_INLINE R M(round)(R x, int fused)
{
    if (fused) return PICK(__builtin_rintf, __builtin_rint)(x);
    const R big = PICK(0x1p23f, 0x1p52), a = M(abs)(x), r = (a + big) - big;
    return M(copysign)(a < big ? r : a, x);
}

TN_INLINE R M(floor)(R x, int fused)
{
    if (fused) return PICK(__builtin_floorf, __builtin_floor)(x);
    const R r = M(round)(x, 0);
    return M(copysign)(r > x ? r - 1 : r, x);
}

TN_INLINE R M(ceil)(R x, int fused)
{
    if (fused) return PICK(__builtin_ceilf, __builtin_ceil)(x);
    const R r = M(round)(x, 0);
    return M(copysign)(r < x ? r + 1 : r, x);
}

TN_INLINE R M(trunc)(R x, int fused)
{
    if (fused) return PICK(__builtin_truncf, __builtin_trunc)(x);
    const R a = M(abs)(x), r = M(round)(a, 0);
    return M(copysign)(r > a ? r - 1 : r, x);
}

/* ---- roots ------------------------------------------------------------------------------- */

TN_INLINE R M(sqrt)(R x) { return PICK(__builtin_sqrtf, __builtin_sqrt)(x); }
TN_INLINE R M(rsqrt)(R x) { return 1 / M(sqrt)(x); }

/* ---- exponentials ------------------------------------------------------------------------ */

/* e^(x + dx) = 2^n (1 + r + tail) with |r| <= ln(2) / 2: Cody and Waite's reduction, whose first
 * part of ln(2) is so short that n times it is exact on every level. */
typedef struct M(exp_parts) {
    R n, r, tail;
} M(exp_parts);

TN_INLINE M(exp_parts) M(exp_split)(R x, R dx, int fused)
{
    const R n = FMA(x, PICK(1.44269504f, 1.4426950408889634), MAGIC) - MAGIC;
    const R a = FMA(n, -PICK(LN2_HI_F32, LN2_HI_F64), x);
    const R b = FMA(n, -PICK(LN2_LO_F32, LN2_LO_F64), dx);
    const PAIR r = M(fast_sum)(a, b);
    return (M(exp_parts)){ n, r.hi, FMA(r.hi * r.hi, M(poly_exp)(r.hi, fused), r.lo) };
}

/* 2^n for an integer n that keeps it normal. */
TN_INLINE R M(pow2)(R n) { return M(of_bits)((M(bits)(n + MAGIC) + BIAS) << MANTISSA); }

/* x 2^n, rounded once, for |n| up to twice the largest exponent. */
TN_INLINE R M(scale)(R x, R n, int fused)
{
    const R half = FMA(n, (R)0.5, MAGIC) - MAGIC;
    return x * M(pow2)(half) * M(pow2)(n - half);
}

/* x within [lo, hi]; NaN of NaN. */
TN_INLINE R M(clamp)(R x, R lo, R hi)
{
    const R y = x > hi ? hi : x;
    return y < lo ? lo : y;
}

TN_INLINE R M(exp)(R x, int fused)
{
    const R c = M(clamp)(x, PICK(-104, -746), PICK(89, 710));
    const M(exp_parts) e = M(exp_split)(c, 0, fused);
    return M(scale)(1 + (e.r + e.tail), e.n, fused);
}

/* (e^x - 1) / 2 as a pair, for x in [-40, 710] (f64) or [-20, 89.5] (f32). */
TN_INLINE PAIR M(half_expm1)(R x, int fused)
{
    const M(exp_parts) e = M(exp_split)(x, 0, fused);
    const R s = M(pow2)(e.n - 1);
    const PAIR h = M(fast_sum)(s - (R)0.5, s * e.r);    /* exact: |2^n - 1| >= |2^n r| unless n = 0 */
    return (PAIR){ h.hi, FMA(s, e.tail, h.lo) };
}

TN_INLINE R M(expm1)(R x, int fused)
{
    const PAIR h = M(half_expm1)(M(clamp)(x, PICK(-20, -40), PICK(89, 710)), fused);
    const R    y = (h.hi + h.lo) * 2;
    return M(abs)(x) < PICK(1e-8f, 1e-17) ? x : y;
}

/* expm1(2 |x|) = h: tanh = h / (h + 2). */
TN_INLINE R M(tanh)(R x, int fused)
{
    const R    a = M(abs)(x), c = a > PICK(10, 20) ? PICK(10, 20) : a;
    const PAIR h = M(half_expm1)(2 * c, fused);
    const R    y = h.hi + h.lo;
    return a < PICK(1e-5f, 1e-9) ? x : M(copysign)(y / (1 + y), x);
}

/* 1 / (1 + e^-x), from e^-|x| so that both tails keep their digits. */
TN_INLINE R M(sigmoid)(R x, int fused)
{
    const R e = M(exp)(-M(abs)(x), fused);
    return (x < 0 ? e : 1) / (1 + e);
}

TN_INLINE R M(silu)(R x, int fused) { return x * M(sigmoid)(x, fused); }

/* ---- logarithms -------------------------------------------------------------------------- */

/* log(x) = k ln(2) + (f + tail), for 0 < x < inf, with sqrt(1/2) <= 1 + f <= sqrt(2). */
typedef struct M(log_parts) {
    R k, f, tail;
} M(log_parts);

/* log(1 + f) - f */
TN_INLINE R M(log_tail)(R f, int fused)
{
#if MANTISSA == 23
    return FMA(f * f * f, M(poly_log)(f, fused), f * f * (R)-0.5);
#else
    const R s = f / (2 + f), z = s * s, h = f * f * (R)0.5;  /* f = 2 s + s f, and s f = h - s h */
    return FMA(s, FMA(z, M(poly_atanh)(z, fused), h), -h);
#endif
}

TN_INLINE M(log_parts) M(log_split)(R x, int fused)
{
    const U root_half = PICK(0x3f3504f3u, 0x3fe6a09e667f3bcdu), one = (U)BIAS << MANTISSA;
    const R tiny = x < SMALLEST;
    const R y = tiny ? x * PICK(0x1p23f, 0x1p52) : x;
    const U u = M(bits)(y) + (one - root_half), n = u >> MANTISSA;
    const R f = M(of_bits)((u & (((U)1 << MANTISSA) - 1)) + root_half) - 1;
    const R k = M(of_bits)(n | M(bits)(PICK(0x1p23f, 0x1p52))) -
                (PICK(0x1p23f, 0x1p52) + BIAS + (tiny ? MANTISSA : 0));
    return (M(log_parts)){ k, f, M(log_tail)(f, fused) };
}

/* y = log of x > 0 made from a finite x; here 0, negative x, infinity and NaN get theirs. */
TN_INLINE R M(log_special)(R x, R y)
{
    const R a = x < INF ? y : x, bad = x == 0 ? -INF : NOT_A_NUMBER;
    return x > 0 ? a : bad;
}

TN_INLINE R M(log)(R x, int fused)
{
    const M(log_parts) p = M(log_split)(x, fused);
    const R lo = FMA(p.k, PICK(LN2_LO_F32, LN2_LO_F64), p.tail);
    return M(log_special)(x, FMA(p.k, PICK(LN2_HI_F32, LN2_HI_F64), lo + p.f));
}

/* ---- error function ---------------------------------------------------------------------- */

/* e^(x^2) erfc(x) for x >= 0, with x times scale given. */
TN_INLINE R M(erfcx)(R x, R k, int fused)
{
    const R s = 1 / (x + k), t = (x - k) * s;
    return M(poly_erfcx)(t, fused) * s;
}

/* erfc(a) for a >= 0. */
TN_INLINE R M(erfc_tail)(R a, int fused)
{
    const R c = a > PICK((R)10.1, (R)27.5) ? PICK((R)10.1, (R)27.5) : a, h = M(upper)(c);
    const M(exp_parts) e = M(exp_split)(-h * h, -(c - h) * (c + h), fused);
    const R g = M(erfcx)(c, (R)3.75, fused);
    return M(scale)(FMA(g, e.r + e.tail, g), e.n, fused);
}

TN_INLINE R M(erf)(R x, int fused)
{
    const R a = M(abs)(x), z = x * x;
    const R tail = 1 - M(erfc_tail)(a, fused);
    return a < 1 ? FMA(x, M(poly_erf)(z, fused), x) : M(copysign)(tail, x);
}

TN_INLINE R M(erfc)(R x, int fused)
{
    const R a = M(abs)(x), t = M(erfc_tail)(a, fused), z = x * x;
    const R small = 1 - FMA(x, M(poly_erf)(z, fused), x);
    return a < (R)0.5 ? small : x < 0 ? 2 - t : t;
}

/* The normal distribution: its density, and P(X <= x) = erfc(-x / sqrt(2)) / 2. */
TN_INLINE R M(norm_pdf)(R x, int fused)
{
    const R c = M(clamp)(x, -PICK(15, 40), PICK(15, 40)), h = M(upper)(c);
    const M(exp_parts) e = M(exp_split)((R)-0.5 * h * h, (R)-0.5 * (c - h) * (c + h), fused);
    const R g = PICK(0.398942280f, 0.39894228040143268);
    return M(scale)(FMA(g, e.r + e.tail, g), e.n, fused);
}

TN_INLINE R M(norm_cdf)(R x, int fused)
{
    const R a = M(abs)(x), c = a > PICK((R)14.5, (R)38.6) ? PICK((R)14.5, (R)38.6) : a, h = M(upper)(c);
    const M(exp_parts) e = M(exp_split)((R)-0.5 * h * h, (R)-0.5 * (c - h) * (c + h), fused);
    const R s = 1 / (c + PICK(5.30330086f, 5.3033008588991066)); /* 3.75 sqrt(2) */
    const R t = (c - PICK(5.30330086f, 5.3033008588991066)) * s;
    const R g = M(poly_erfcx)(t, fused) * s * PICK(0.707106781f, 0.70710678118654752);
    const R y = M(scale)(FMA(g, e.r + e.tail, g), e.n, fused);
    return x > 0 ? 1 - y : y;
}

/* x P(X <= x), and its derivative. */
TN_INLINE R M(gelu)(R x, int fused)
{
    const R y = x * M(norm_cdf)(x, fused);
    return x < PICK((R)-14.5, (R)-38.6) ? (R)-0.0 : y;
}

TN_INLINE R M(gelu_grad)(R x, int fused)
{
    return FMA(M(clamp)(x, -PICK(15, 40), PICK(15, 40)), M(norm_pdf)(x, fused), M(norm_cdf)(x, fused));
}

/* x sigmoid(2 u) = x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3). */
TN_INLINE R M(gelu_tanh)(R x, int fused)
{
    const R c = M(clamp)(x, PICK(-30, -100), PICK(30, 100)), z = c * c;
    const R u = c * FMA(z, PICK(0.0713548163f, 0.071354816272600252), PICK(1.59576912f, 1.5957691216057308));
    return x * M(sigmoid)(u, fused);
}

#undef FMA
#undef PAIR
#undef INF
#undef NOT_A_NUMBER
#undef SIGN_BIT
#undef SMALLEST
#undef MAGIC
