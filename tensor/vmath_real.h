/* The functions of tensor/vmath.h that read the same in f32 and f64, but for those made of the
 * error function (vmath_normal.h). vmath.h includes this file once for each and says what real,
 * FN(name) and the other names stand for. No guard: it is a template. */

/* ---- sign, order, classes ---------------------------------------------------------------- */

TN_INLINE real FN(abs)(real x) { return FN(of_bits)(FN(bits)(x) & ~TN__SIGN_BIT); }

TN_INLINE real FN(copysign)(real x, real y)
{
    return FN(of_bits)((FN(bits)(x) & ~TN__SIGN_BIT) | (FN(bits)(y) & TN__SIGN_BIT));
}

TN_INLINE real FN(sign)(real x)
{
    const real s = x > 0 ? (real)1 : (real)-1;
    return x < 0 || x > 0 ? s : x;
}

TN_INLINE real FN(min)(real x, real y) { return x <= y || x != x ? x : y; }
TN_INLINE real FN(max)(real x, real y) { return x >= y || x != x ? x : y; }

/* x not above hi > 0, and x not below lo < 0; NaN may become the bound. As integers floats are in
 * order (positive ones as signed, negative ones backwards as unsigned), and their minimum is one
 * instruction, while a choice by comparison takes four. */
TN_INLINE real FN(at_most)(real x, real hi)
{
#if TN__MANTISSA == 23
    const int32_t u = (int32_t)FN(bits)(x), h = (int32_t)FN(bits)(hi);
    return FN(of_bits)((word)(u < h ? u : h));
#else
    return x > hi ? hi : x;
#endif
}

TN_INLINE real FN(at_least)(real x, real lo)
{
#if TN__MANTISSA == 23
    const word u = FN(bits)(x), l = FN(bits)(lo);
    return FN(of_bits)(u < l ? u : l);
#else
    return x < lo ? lo : x;
#endif
}

/* All bits if c holds, else none; and a choice by such a mask. Two ternaries on one condition would
 * be compiled into two copies of all that lies between them; a mask is not. */
TN_INLINE word FN(mask)(int c) { return c ? ~(word)0 : 0; }
TN_INLINE real FN(masked)(word mask, real a) { return FN(of_bits)(FN(bits)(a) & mask); }
TN_INLINE real FN(choose)(word mask, real a, real b)
{
    return FN(of_bits)((FN(bits)(a) & mask) | (FN(bits)(b) & ~mask));
}

/* y, or NaN if x is. */
TN_INLINE real FN(keep_nan)(real y, real x) { return FN(of_bits)(FN(bits)(y) | FN(mask)(x != x)); }

/* x within [lo, hi], lo < 0 < hi; NaN of NaN. */
TN_INLINE real FN(clamp)(real x, real lo, real hi)
{
    return FN(keep_nan)(FN(at_least)(FN(at_most)(x, hi), lo), x);
}

TN_INLINE int FN(isnan)(real x) { return x != x; }
TN_INLINE int FN(isinf)(real x) { return FN(abs)(x) == TN__INF; }
TN_INLINE int FN(isfinite)(real x) { return FN(abs)(x) < TN__INF; }

/* ---- to integers ------------------------------------------------------------------------- */

TN_INLINE real FN(round)(real x, int fused)
{
    if (fused) return PICK(__builtin_rintf, __builtin_rint)(x);
    const real a = FN(abs)(x), r = (a + TN__INTEGERS) - TN__INTEGERS;
    return FN(copysign)(a < TN__INTEGERS ? r : a, x);
}

TN_INLINE real FN(floor)(real x, int fused)
{
    if (fused) return PICK(__builtin_floorf, __builtin_floor)(x);
    const real r = FN(round)(x, 0);
    return FN(copysign)(r > x ? r - 1 : r, x);
}

TN_INLINE real FN(ceil)(real x, int fused)
{
    if (fused) return PICK(__builtin_ceilf, __builtin_ceil)(x);
    const real r = FN(round)(x, 0);
    return FN(copysign)(r < x ? r + 1 : r, x);
}

TN_INLINE real FN(trunc)(real x, int fused)
{
    if (fused) return PICK(__builtin_truncf, __builtin_trunc)(x);
    const real a = FN(abs)(x), r = FN(round)(a, 0);
    return FN(copysign)(r > a ? r - 1 : r, x);
}

/* ---- roots ------------------------------------------------------------------------------- */

TN_INLINE real FN(sqrt)(real x) { return PICK(__builtin_sqrtf, __builtin_sqrt)(x); }
TN_INLINE real FN(rsqrt)(real x) { return 1 / FN(sqrt)(x); }

/* sqrt(x + dx) as a pair, for x in the middle of the range; the second part is 0 for x = 0. */
TN_INLINE pair FN(sqrt_pair)(real x, real dx, int fused)
{
    const real s = FN(sqrt)(x);
    const pair q = FN(two_prod)(s, s, fused);
    const real ds = (((x - q.hi) - q.lo) + dx) / (s + s);
    return (pair){ s, s > 0 ? ds : 0 };
}

/* n - bias as real, for an exponent field n. */
TN_INLINE real FN(of_field)(word n, int bias)
{
    return FN(of_bits)(n | FN(bits)(TN__INTEGERS)) - (TN__INTEGERS + bias);
}

/* x, or x 2^shift if it is subnormal: so it is normal either way. */
typedef struct FN(normal_parts) {
    real x, shift;
} FN(normal_parts);

TN_INLINE FN(normal_parts) FN(normalise)(real x)
{
    const word is_subnormal = FN(mask)(x < TN__SMALLEST), shift = TN__MANTISSA;
    const real unit = FN(of_bits)(FN(bits)(1) + (is_subnormal & shift << TN__MANTISSA));
    return (FN(normal_parts)){ x * unit, FN(masked)(is_subnormal, TN__MANTISSA) };
}

/* 2^n for an integer n that keeps it normal. */
TN_INLINE real FN(pow2)(real n)
{
    return FN(of_bits)((FN(bits)(n + TN__MAGIC) + TN__BIAS) << TN__MANTISSA);
}

/* With x = 2^(3 q) y, 1/2 <= y < 4: r = y^(-1/3) from a polynomial and one step of third order
 * (and, in f64, one of first), then y r^2 with its own error made up for. */
TN_INLINE real FN(cbrt)(real x, int fused)
{
    const real third = (real)0.33333333333333333, ninths = (real)0.22222222222222222;
    const real a = FN(abs)(x);
    const FN(normal_parts) p = FN(normalise)(a);
    const word u = FN(bits)(p.x), fraction = u & (((word)1 << TN__MANTISSA) - 1);
    const real e = FN(of_field)(u >> TN__MANTISSA, TN__BIAS) - p.shift;
    const real q = FMA(e, third, TN__MAGIC) - TN__MAGIC;
    const real y = FN(of_bits)(fraction | FN(bits)(1)) * FN(pow2)(e - 3 * q);
    real r = FN(poly_icbrt)(y, fused), h = FMA(-y * r, r * r, 1);
    r = FMA(r * h, FMA(h, FMA(h, (real)0.17283950617283951, ninths), third), r);
    if (TN__MANTISSA > 23) {
        h = FMA(-y * r, r * r, 1);
        r = FMA(r * h, third, r);
    }
    const real c = y * r * r;
    const pair c2 = FN(two_prod)(c, c, fused), c3 = FN(two_prod)(c2.hi, c, fused);
    const real rest = ((y - c3.hi) - c3.lo) - c2.lo * c;
    const real s = FMA(rest * third, r * r, c) * FN(pow2)(q);
    return a > 0 && a < TN__INF ? FN(copysign)(s, x) : x;
}

/* Scaled by powers of two, so that the squares stay within the range. */
TN_INLINE real FN(hypot)(real x, real y, int fused)
{
    const real a = FN(abs)(x), b = FN(abs)(y), hi = a > b ? a : b, lo = a > b ? b : a;
    const int is_huge = hi > PICK(0x1p50f, 0x1p400), is_little = hi < PICK(0x1p-30f, 0x1p-400);
    const real up = PICK(0x1p70f, 0x1p600), down = PICK(0x1p-70f, 0x1p-600);
    const real to = is_huge ? down : is_little ? up : 1, m = hi * to, n = lo * to;
    const real back = is_huge ? up : is_little ? down : 1;
    const pair p = FN(two_prod)(m, m, fused), q = FN(two_prod)(n, n, fused);
    const pair s = FN(fast_sum)(p.hi, q.hi);
    const pair r = FN(sqrt_pair)(s.hi, s.lo + (p.lo + q.lo), fused);
    const real h = hi + lo > 0 ? (r.hi + r.lo) * back : a + b; /* both 0, or a NaN */
    return a == TN__INF || b == TN__INF ? TN__INF : h;
}

/* ---- exponentials ------------------------------------------------------------------------ */

/* e^(x + dx) = 2^n (1 + r + tail) with |r| <= ln(2) / 2 (Cody and Waite 1980). The low bits of k
 * are n + 2 TN__BIAS, ready to be put into an exponent. */
typedef struct FN(exp_parts) {
    word k;
    real r, tail;
} FN(exp_parts);

TN_INLINE FN(exp_parts) FN(exp_split)(real x, real dx, int fused)
{
    const real t = FMA(x, K(LOG2E), TN__EXP_MAGIC), n = t - TN__EXP_MAGIC;
    const real a = FMA(n, -K(LN2_HI), x), b = FMA(n, -K(LN2_LO), dx); /* n LN2_HI is exact */
    const pair r = FN(fast_sum)(a, b);
    return (FN(exp_parts)){ FN(bits)(t), r.hi, FMA(r.hi * r.hi, FN(poly_exp)(r.hi, fused), r.lo) };
}

/* 2^n, and 2^(n - shift), where that is a normal number. */
TN_INLINE real FN(exp_unit)(word k, int shift)
{
    return FN(of_bits)((k - (word)(TN__BIAS + shift)) << TN__MANTISSA);
}

/* x 2^n, rounded once, for |n| up to twice the largest exponent. */
TN_INLINE real FN(exp_scale)(real x, word k)
{
    const word half = k >> 1;
    return x * FN(of_bits)(half << TN__MANTISSA) * FN(of_bits)((k - half) << TN__MANTISSA);
}

/* (1 + x) 2^n likewise. */
TN_INLINE real FN(exp_scale_1p)(real x, word k, int fused)
{
    const word half = k >> 1;
    const real unit = FN(of_bits)(half << TN__MANTISSA);
    return FMA(x, unit, unit) * FN(of_bits)((k - half) << TN__MANTISSA);
}

TN_INLINE real FN(exp)(real x, int fused)
{
    const real c = FN(clamp)(x, PICK(-104, -746), PICK(89, 710));
    const real t = FMA(c, K(LOG2E), TN__EXP_MAGIC), n = t - TN__EXP_MAGIC;
    const real r = FMA(n, -K(LN2_LO), FMA(n, -K(LN2_HI), c));
    return FN(exp_scale_1p)(FMA(r * r, FN(poly_exp)(r, fused), r), FN(bits)(t), fused);
}

/* e^x for x <= 0. */
TN_INLINE real FN(exp_negative)(real x, int fused)
{
    const real c = FN(keep_nan)(FN(at_least)(x, PICK(-104, -746)), x);
    const FN(exp_parts) p = FN(exp_split)(c, 0, fused);
    const pair s = FN(fast_sum)((real)1, p.r);
    return FN(exp_scale)(s.hi + (s.lo + p.tail), p.k);
}

TN_INLINE real FN(exp2)(real x, int fused)
{
    const real c = FN(clamp)(x, PICK(-151, -1076), PICK(129, 1025)), t = c + TN__EXP_MAGIC;
    const real f = c - (t - TN__EXP_MAGIC), r = f * K(LN2);
    const real dr = FMA(f, K(LN2_REST), fused ? FMA(f, K(LN2), -r) : 0);
    return FN(exp_scale_1p)(r + FMA(r * r, FN(poly_exp)(r, fused), dr), FN(bits)(t), fused);
}

/* (e^x - 1) / 2^shift as a pair, for |x| where 2^(n - shift) is a normal number. */
TN_INLINE pair FN(expm1_pair)(real x, int shift, int fused)
{
    const FN(exp_parts) e = FN(exp_split)(x, 0, fused);
    const real s = FN(exp_unit)(e.k, shift), unit = FN(exp_unit)(2 * TN__BIAS, shift);
    const pair h = FN(fast_sum)(s - unit, s * e.r); /* n = 0 or |2^n - 1| > |2^n r| */
    return (pair){ h.hi, FMA(s, e.tail, h.lo) };
}

TN_INLINE real FN(expm1)(real x, int fused)
{
    const real c = FN(clamp)(x, PICK(-20, -40), PICK(89, 710));
    const pair h = FN(expm1_pair)(c, 1, fused);
    return FN(abs)(x) < TN__TINY * TN__TINY ? x : (h.hi + h.lo) * 2;
}

/* With m = e^|x| - 1: sinh = (m + m / (m + 1)) / 2, cosh = (m + 1 + 1 / (m + 1)) / 2, and with
 * m = e^(2 |x|) - 1: tanh = m / (m + 2). */
TN_INLINE real FN(sinh)(real x, int fused)
{
    const real a = FN(abs)(x), c = FN(keep_nan)(FN(at_most)(a, PICK(89.5f, 710.6)), x);
    const pair h = FN(expm1_pair)(c, 2, fused), m = FN(fast_sum)(h.hi, h.lo);
    const real y = (m.hi + (m.hi / FMA(m.hi, (real)4, (real)1) + m.lo)) * 2;
    return a < TN__TINY ? x : FN(copysign)(y, x);
}

TN_INLINE real FN(cosh)(real x, int fused)
{
    const real a = FN(abs)(x), c = FN(keep_nan)(FN(at_most)(a, PICK(89.5f, 710.6)), x);
    const pair h = FN(expm1_pair)(c, 2, fused), e = FN(two_sum)(h.hi, (real)0.25);
    const real lo = e.lo + h.lo;
    return (e.hi + ((real)0.0625 / (e.hi + lo) + lo)) * 2;
}

#if TN__MANTISSA == 23
/* 2^f for |f| <= 1/2; and 2^n from t = n + TN__POWER_MAGIC for n from -126 on: of 128 infinity. */
#define TN__POWER_MAGIC (TN__MAGIC + TN__BIAS)
TN_INLINE real FN(exp2_part)(real f, int fused) { return FMA(f, FN(poly_exp2)(f, fused), 1); }
TN_INLINE real FN(exp2_unit)(real t) { return FN(of_bits)(FN(bits)(t) << TN__MANTISSA); }
#endif

/* In f32 from 0.6 on 1 - 2 / (e^(2 a) + 1), e^(2 a) = 2^(n + f): what 2^f adds to 2^n + 1 is so
 * small that its own rounding counts for little. */
TN_INLINE real FN(tanh)(real x, int fused)
{
#if TN__MANTISSA == 23
    const real a = FN(abs)(x), c = FN(at_most)(a, 10), z = a * a;
    const real t = FMA(c, 2 * K(LOG2E), TN__POWER_MAGIC), n = t - TN__POWER_MAGIC;
    const real r = (c - n * (K(LN2_HI) / 2)) - n * (K(LN2_LO) / 2);
    const real f = fused ? FMA(c, 2 * K(LOG2E), -n) : r * (2 * K(LOG2E)), unit = FN(exp2_unit)(t);
    const real outer = 1 - 2 / FMA(f * FN(poly_exp2)(f, fused), unit, unit + 1);
    const real inner = FMA(a * z, FN(poly_tanh)(z, fused), a);
    const real y = a >= 0.6f ? outer : inner; /* of NaN, NaN */
    return FN(of_bits)(FN(bits)(y) | (FN(bits)(x) & TN__SIGN_BIT));
#else
    const real a = FN(abs)(x), c = FN(keep_nan)(FN(at_most)(a, 20), x);
    const pair h = FN(expm1_pair)(2 * c, 0, fused), m = FN(fast_sum)(h.hi, h.lo);
    const pair d = FN(fast_sum)((real)2, m.hi);
    const word is_big = FN(mask)(m.hi > 2);
    const real q = FN(choose)(is_big, 2, m.hi) / d.hi, inv = FMA(q, (real)-0.5, (real)0.5);
    const real y = FN(choose)(is_big, 1 - q, FMA(FMA(-q, d.lo, m.lo), inv, q)); /* inv = 1 / d */
    return a < TN__TINY ? x : FN(copysign)(y, x);
#endif
}

/* s = 1 / (1 + e^-x) and 1 - s, from e = e^-|x| so that both tails keep their digits. The rounding
 * of d = 1 + e is made up for, with 1 / d good enough from a line. */
TN_INLINE real FN(sigmoid_part)(real e, int is_tail, int fused)
{
    const pair d = FN(fast_sum)((real)1, e);
    const real q = (is_tail ? e : 1) / d.hi;
    return FMA(-q * d.lo, FMA(d.hi, (real)-0.5, (real)1.457), q);
}

TN_INLINE pair FN(sigmoid_both)(real x, int fused)
{
    const real e = FN(exp_negative)(-FN(abs)(x), fused);
    return (pair){ FN(sigmoid_part)(e, x < 0, fused), FN(sigmoid_part)(e, !(x < 0), fused) };
}

TN_INLINE real FN(sigmoid)(real x, int fused) { return FN(sigmoid_both)(x, fused).hi; }

/* ---- logarithms -------------------------------------------------------------------------- */

/* log(x) = k ln(2) + (f + tail) with sqrt(1/2) <= 1 + f <= sqrt(2). */
typedef struct FN(log_parts) {
    real k, f, tail;
} FN(log_parts);

/* log(1 + f) - f */
TN_INLINE real FN(log_tail)(real f, int fused)
{
#if TN__MANTISSA == 23
    return FMA(f * f * f, FN(poly_log)(f, fused), f * f * (real)-0.5);
#else
    const real s = f / (2 + f), z = s * s, h = f * f * (real)0.5; /* f = 2 s + s f, s f = h - s h */
    return FMA(s, FMA(z, FN(poly_atanh)(z, fused), h), -h);
#endif
}

TN_INLINE FN(log_parts) FN(log_split)(real x, int fused)
{
    const FN(normal_parts) p = FN(normalise)(x);
    const word u = TN__LOG_BITS(p.x);
    const real k = FN(of_field)(u >> TN__MANTISSA, TN__BIAS) - p.shift, f = TN__LOG_NEAR_1(u) - 1;
    return (FN(log_parts)){ k, f, FN(log_tail)(f, fused) };
}

/* y, the logarithm of x made as if 0 < x < inf, and then a finite number; 0, negative x, infinity
 * and NaN get theirs by adding -inf, NaN, and x. */
TN_INLINE real FN(log_special)(real x, real y)
{
    const word huge = FN(mask)(!(x < TN__INF)) & FN(bits)(x), negative = FN(mask)(x < 0);
    return (y + FN(masked)(FN(mask)(x == 0), -TN__INF)) + FN(of_bits)(huge | negative);
}

TN_INLINE real FN(log)(real x, int fused)
{
    const FN(log_parts) p = FN(log_split)(x, fused);
    const real lo = FMA(p.k, K(LN2_LO), p.tail);
    return FN(log_special)(x, FMA(p.k, K(LN2_HI), lo + p.f));
}

/* c log(x) with c ln(2) = k_hi + k_lo and c = c_hi + c_lo. */
TN_INLINE real FN(log_scaled)(real x, real k_hi, real k_lo, real c_hi, real c_lo, int fused)
{
    const FN(log_parts) p = FN(log_split)(x, fused);
    const real h = FN(upper)(p.f), l = (p.f - h) + p.tail;
    const pair s = FN(fast_sum)(p.k * k_hi, h * c_hi); /* both products exact */
    const real lo = FMA(p.k, k_lo, FMA(l, c_hi, FMA(p.f + p.tail, c_lo, s.lo)));
    return FN(log_special)(x, s.hi + lo);
}

TN_INLINE real FN(log2)(real x, int fused)
{
    return FN(log_scaled)(x, 1, 0, K(LOG2E_HI), K(LOG2E_LO), fused);
}

TN_INLINE real FN(log10)(real x, int fused)
{
    return FN(log_scaled)(x, K(LOG10_2_HI), K(LOG10_2_LO), K(LOG10E_HI), K(LOG10E_LO), fused);
}

/* log(1 + x + dx) for -1 < x < inf: 1 + f = 2^-k (1 + x), without the rounding of 1 + x. */
TN_INLINE real FN(log1p_pair)(real x, real dx, int fused)
{
    const word u = TN__LOG_BITS(1 + x), n = u >> TN__MANTISSA;
    const real k = FN(of_field)(n, TN__BIAS),
               s = FN(of_bits)(((word)(2 * TN__BIAS) - n) << TN__MANTISSA);
    const pair g = FN(two_sum)(x * s, s - 1);
    const int is_big = x > 64 * TN__INTEGERS;
    const real f = is_big ? TN__LOG_NEAR_1(u) - 1 : g.hi, df = is_big ? 0 : FMA(dx, s, g.lo);
    const real tail = FN(log_tail)(f, fused) + FMA(-f, df, df);
    return FMA(k, K(LN2_HI), FMA(k, K(LN2_LO), tail) + f);
}

TN_INLINE real FN(log1p)(real x, int fused)
{
    const real y = FN(log_special)(1 + x, FN(log1p_pair)(x, 0, fused));
    return FN(abs)(x) < TN__TINY * TN__TINY ? x : y;
}

/* log(1 + e^d) for d <= 0 */
TN_INLINE real FN(log1p_exp)(real d, int fused)
{
    const real e = FN(exp_negative)(d, fused);
    return FMA(e * e, FN(poly_log1p_unit)(e - (real)0.5, fused), e);
}

/* log(1 + e^x), so that nothing overflows; log_sigmoid(x) = -softplus(-x). */
TN_INLINE real FN(softplus)(real x, int fused)
{
    return (x > 0 ? x : 0) + FN(log1p_exp)(-FN(abs)(x), fused);
}

TN_INLINE real FN(log_sigmoid)(real x, int fused) { return -FN(softplus)(-x, fused); }

TN_INLINE real FN(logaddexp)(real x, real y, int fused)
{
    const real d = x == y ? 0 : -FN(abs)(x - y); /* of equal infinities too */
    return FN(max)(x, y) + FN(log1p_exp)(d, fused);
}

/* asinh(a) = log1p(a + a^2 / (1 + sqrt(1 + a^2))); log(2 a) where a^2 is all. */
TN_INLINE real FN(asinh)(real x, int fused)
{
    const real a = FN(abs)(x);
    const int is_big = a > 1 / (TN__TINY * TN__TINY);
    const real b = is_big ? 1 : a, w = b * b / (1 + FN(sqrt)(FMA(b, b, 1)));
    const pair t = FN(fast_sum)(b, w);
    const real l = FN(log1p_pair)(is_big ? a : t.hi, is_big ? 0 : t.lo, fused);
    const real y = FN(copysign)(l + (is_big ? K(LN2) : 0), x);
    return a > TN__TINY && a < TN__INF ? y : x;
}

/* acosh(x) = log1p(t + sqrt(t (t + 2))), t = x - 1; log(2 x) where x^2 is all. */
TN_INLINE real FN(acosh)(real x, int fused)
{
    const int is_big = x > 1 / (TN__TINY * TN__TINY);
    const real t = is_big ? 1 : x - 1; /* exact where it matters */
    const pair v = FN(two_prod)(t, t + 2, fused), s = FN(sqrt_pair)(v.hi, v.lo, fused);
    const pair h = FN(two_sum)(t, s.hi);
    const real l = FN(log1p_pair)(is_big ? x : h.hi, is_big ? 0 : h.lo + s.lo, fused);
    const real y = x < TN__INF ? l + (is_big ? K(LN2) : 0) : x;
    return x >= 1 ? y : TN__NAN;
}

/* atanh(a) = log1p(2 a / (1 - a)) / 2 */
TN_INLINE real FN(atanh)(real x, int fused)
{
    const real a = FN(abs)(x);
    const pair d = FN(fast_sum)((real)1, -a);
    const real q = 2 * a / d.hi;
    const pair p = FN(two_prod)(q, d.hi, fused);
    const real dq = (((2 * a - p.hi) - p.lo) - q * d.lo) / d.hi;
    const real y = FN(copysign)(FN(log1p_pair)(q, dq, fused) / 2, x);
    const real edge = a == 1 ? FN(copysign)(TN__INF, x) : TN__NAN;
    return a < TN__TINY ? x : a < 1 ? y : edge;
}

/* pow(x, y) from the parity of y and r = |x|^y, by the rules of C's annex F. */
TN_INLINE real FN(pow_special)(real x, real y, real r, int fused)
{
    const real half = y * (real)0.5, a = FN(abs)(x);
    const int is_integer = FN(round)(y, fused) == y;
    const int is_odd = is_integer && FN(round)(half, fused) != half;
    const real p = a == 1 ? 1 : r;
    const real q = x < 0 && !is_integer && a < TN__INF ? TN__NAN : p;
    const real s = FN(of_bits)(FN(bits)(q) ^ (is_odd ? FN(bits)(x) & TN__SIGN_BIT : 0));
    const real n = x != x || y != y ? x + y : s;
    return y == 0 || x == 1 ? 1 : n;
}

/* ---- inverse trigonometric functions ----------------------------------------------------- */

/* asin of a in [0, 1/2]: x + tail; else pi / 2 - 2 asin(s), s = sqrt((1 - a) / 2). */
typedef struct FN(asin_parts) {
    real s, tail;
} FN(asin_parts);

TN_INLINE FN(asin_parts) FN(asin_split)(real a, int fused)
{
    const int is_small = a < (real)0.5;
    const real z = is_small ? a * a : (1 - a) * (real)0.5;
    const pair root = FN(sqrt_pair)(z, 0, fused);
    const real s = is_small ? a : root.hi;
    return (FN(asin_parts)){ s, FMA(s * z, FN(poly_asin)(z, fused), is_small ? 0 : root.lo) };
}

TN_INLINE real FN(asin)(real x, int fused)
{
    const real a = FN(abs)(x);
    const FN(asin_parts) p = FN(asin_split)(a, fused);
    const pair h = FN(fast_sum)(K(HALF_PI), -2 * p.s);
    const real big = h.hi + (h.lo + FMA(p.tail, (real)-2, K(HALF_PI_REST)));
    return FN(copysign)(a < (real)0.5 ? p.s + p.tail : big, x);
}

TN_INLINE real FN(acos)(real x, int fused)
{
    const real a = FN(abs)(x);
    const FN(asin_parts) p = FN(asin_split)(a, fused);
    const real sx = FN(copysign)(p.s, x), tail = FN(copysign)((real)1, x) * p.tail;
    const pair h = FN(fast_sum)(K(HALF_PI), -sx);
    const real middle = h.hi + (h.lo + (K(HALF_PI_REST) - tail));
    const real right = 2 * (p.s + p.tail);
    const pair g = FN(fast_sum)(2 * K(HALF_PI), -2 * p.s);
    const real left = g.hi + (g.lo + 2 * (K(HALF_PI_REST) - p.tail));
    return a < (real)0.5 ? middle : x < 0 ? left : right;
}

/* pi / 4 times m, plus or minus atan(t), for |t| <= 1/2. */
TN_INLINE real FN(atan_sum)(real m, real t, int fused)
{
    const real z = t * t, tail = t * z * FN(poly_atan)(z, fused);
    const pair s = FN(fast_sum)(m * K(QUARTER_PI_HI), t);
    return s.hi + (s.lo + FMA(m, K(QUARTER_PI_LO), tail));
}

TN_INLINE real FN(atan)(real x, int fused)
{
    const real a = FN(abs)(x);
    const int is_big = a > 2, is_small = a < (real)0.5;
    const real p = is_small ? a : is_big ? -1 : a - 1, q = is_small ? 1 : is_big ? a : a + 1;
    const real y = FN(atan_sum)(is_small ? 0 : is_big ? 2 : 1, p / q, fused);
    return FN(copysign)(y, x);
}

/* The angle of (x, y): of min / max, then turned back to its octant. */
TN_INLINE real FN(atan2)(real y, real x, int fused)
{
    const real a = FN(abs)(y), b = FN(abs)(x);
    const real down = a > TN__INTEGERS || b > TN__INTEGERS ? (real)0.25 : 1;
    const real hi = (a > b ? a : b) * down, lo = (a > b ? b : a) * down;
    const int is_middle = lo + lo > hi || lo == TN__INF;
    const real p = is_middle ? lo - hi : lo, q = is_middle ? lo + hi : hi;
    const real t = lo == hi ? 0 : p / q;
    const real m1 = is_middle ? 1 : 0, s1 = 1;
    const real m2 = a > b ? 2 - m1 : m1, s2 = a > b ? -s1 : s1;
    const real is_left = FN(copysign)((real)1, x);
    const real m3 = is_left < 0 ? 4 - m2 : m2, s3 = is_left < 0 ? -s2 : s2;
    const real r = FN(copysign)(FN(atan_sum)(m3, s3 * t, fused), y);
    return x != x || y != y ? x + y : r;
}
