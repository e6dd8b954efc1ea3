/* The functions of tensor/vmath.h that read the same in f32 and f64. vmath.h includes this file
 * once for each, with
 *   R, U             float and uint32_t, or double and uint64_t
 *   M(name)          tn__name_f32 or tn__name_f64
 *   PICK(a, b)       a in f32, b in f64
 *   MANTISSA, BIAS   stored bits of the mantissa, bias of the exponent
 * No guard: it is a template. */

#define FMA(a, b, c) M(fma)(a, b, c, fused)
#define PAIR         PICK(tn__pair_f32, tn__pair_f64)
#define C(name)      PICK(TN__##name##_F32, TN__##name##_F64)
#define INF          PICK(__builtin_inff(), __builtin_inf())
#define NOT_A_NUMBER PICK(__builtin_nanf(""), __builtin_nan(""))
#define SIGN_BIT     ((U)1 << PICK(31, 63))
#define SMALLEST     PICK(0x1p-126f, 0x1p-1022) /* of the normal numbers */
#define INTEGERS     PICK(0x1p23f, 0x1p52)      /* from here on there are only integers */
#define MAGIC        PICK(0x1.8p23f, 0x1.8p52)  /* x + MAGIC rounds x to an integer, in its low bits */
#define TINY         PICK((R)0x1p-13, (R)0x1p-28) /* its square is nothing beside 1 */

/* ---- sign, order, classes ---------------------------------------------------------------- */

TN_INLINE R M(abs)(R x) { return M(of_bits)(M(bits)(x) & ~SIGN_BIT); }

TN_INLINE R M(copysign)(R x, R y)
{
    return M(of_bits)((M(bits)(x) & ~SIGN_BIT) | (M(bits)(y) & SIGN_BIT));
}

TN_INLINE R M(sign)(R x)
{
    const R s = x > 0 ? (R)1 : (R)-1;
    return x < 0 || x > 0 ? s : x;
}

TN_INLINE R M(min)(R x, R y) { return x <= y || x != x ? x : y; }
TN_INLINE R M(max)(R x, R y) { return x >= y || x != x ? x : y; }

/* x not above hi > 0, and x not below lo < 0; NaN may become the bound. As integers floats are in order
 * (positive ones as signed, negative ones backwards as unsigned), and there the minimum is one
 * instruction, while a choice by comparison takes four. */
TN_INLINE R M(at_most)(R x, R hi)
{
#if MANTISSA == 23
    const int32_t u = (int32_t)M(bits)(x), h = (int32_t)M(bits)(hi);
    return M(of_bits)((U)(u < h ? u : h));
#else
    return x > hi ? hi : x;
#endif
}

TN_INLINE R M(at_least)(R x, R lo)
{
#if MANTISSA == 23
    const U u = M(bits)(x), l = M(bits)(lo);
    return M(of_bits)(u < l ? u : l);
#else
    return x < lo ? lo : x;
#endif
}

/* All bits if c holds, else none; and a choice by such a mask. Two ternaries on one condition would be
 * compiled into two copies of all that lies between them; a mask is not. */
TN_INLINE U M(mask)(int c) { return c ? ~(U)0 : 0; }
TN_INLINE R M(masked)(U mask, R a) { return M(of_bits)(M(bits)(a) & mask); }
TN_INLINE R M(choose)(U mask, R a, R b)
{
    return M(of_bits)((M(bits)(a) & mask) | (M(bits)(b) & ~mask));
}

/* y, or NaN if x is. */
TN_INLINE R M(keep_nan)(R y, R x) { return M(of_bits)(M(bits)(y) | M(mask)(x != x)); }

/* x within [lo, hi], lo < 0 < hi; NaN of NaN. */
TN_INLINE R M(clamp)(R x, R lo, R hi)
{
    return M(keep_nan)(M(at_least)(M(at_most)(x, hi), lo), x);
}

TN_INLINE int M(isnan)(R x) { return x != x; }
TN_INLINE int M(isinf)(R x) { return M(abs)(x) == INF; }
TN_INLINE int M(isfinite)(R x) { return M(abs)(x) < INF; }

/* ---- to integers ------------------------------------------------------------------------- */

TN_INLINE R M(round)(R x, int fused)
{
    if (fused) return PICK(__builtin_rintf, __builtin_rint)(x);
    const R a = M(abs)(x), r = (a + INTEGERS) - INTEGERS;
    return M(copysign)(a < INTEGERS ? r : a, x);
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

/* sqrt(x + dx) as a pair, for x in the middle of the range; the second part is 0 for x = 0. */
TN_INLINE PAIR M(sqrt_pair)(R x, R dx, int fused)
{
    const R    s = M(sqrt)(x);
    const PAIR q = M(two_prod)(s, s, fused);
    const R    ds = (((x - q.hi) - q.lo) + dx) / (s + s);
    return (PAIR){ s, s > 0 ? ds : 0 };
}

/* n - bias as R, for an exponent field n. */
TN_INLINE R M(of_field)(U n, int bias) { return M(of_bits)(n | M(bits)(INTEGERS)) - (INTEGERS + bias); }

/* x = 2^e y with 1 <= y < 2, for 0 < x < inf. */
typedef struct M(exponent_parts) {
    R e, y;
} M(exponent_parts);

TN_INLINE M(exponent_parts) M(exponent_split)(R x)
{
    const U is_subnormal = M(mask)(x < SMALLEST), one = M(bits)(1);
    const U u = M(bits)(x * M(of_bits)(one + (is_subnormal & (U)MANTISSA << MANTISSA)));
    const R e = M(of_field)(u >> MANTISSA, BIAS) - M(masked)(is_subnormal, MANTISSA);
    return (M(exponent_parts)){ e, M(of_bits)((u & (((U)1 << MANTISSA) - 1)) | one) };
}

/* 2^n for an integer n that keeps it normal. */
TN_INLINE R M(pow2)(R n) { return M(of_bits)((M(bits)(n + MAGIC) + BIAS) << MANTISSA); }

/* With x = 2^(3 q) y, 1/2 <= y < 4: r = y^(-1/3) from a polynomial and one step of third order (and,
 * in f64, one of first), then y r^2 with its own error made up for. */
TN_INLINE R M(cbrt)(R x, int fused)
{
    const R a = M(abs)(x);
    const M(exponent_parts) p = M(exponent_split)(a);
    const R q = FMA(p.e, (R)0.3333333333333333, MAGIC) - MAGIC, y = p.y * M(pow2)(p.e - 3 * q);
    R r = M(poly_icbrt)(y, fused), h = FMA(-y * r, r * r, (R)1);
    r = FMA(r * h, FMA(h, FMA(h, (R)0.1728395061728395, (R)0.2222222222222222), (R)0.3333333333333333), r);
    if (MANTISSA > 23) {
        h = FMA(-y * r, r * r, (R)1);
        r = FMA(r * h, (R)0.3333333333333333, r);
    }
    const R    c = y * r * r;
    const PAIR c2 = M(two_prod)(c, c, fused), c3 = M(two_prod)(c2.hi, c, fused);
    const R    rest = ((y - c3.hi) - c3.lo) - c2.lo * c;
    const R    s = FMA(rest * (R)0.3333333333333333, r * r, c) * M(pow2)(q);
    return a > 0 && a < INF ? M(copysign)(s, x) : x;
}

TN_INLINE R M(hypot)(R x, R y, int fused)
{
    const R    a = M(abs)(x), b = M(abs)(y), big = a > b ? a : b, small = a > b ? b : a;
    const R    up = PICK(0x1p70f, 0x1p600), down = PICK(0x1p-70f, 0x1p-600);
    const R    to = big > PICK(0x1p50f, 0x1p400) ? down : big < PICK(0x1p-30f, 0x1p-400) ? up : 1;
    const R    back = big > PICK(0x1p50f, 0x1p400) ? up : big < PICK(0x1p-30f, 0x1p-400) ? down : 1;
    const PAIR p = M(two_prod)(big * to, big * to, fused), q = M(two_prod)(small * to, small * to, fused);
    const PAIR s = M(fast_sum)(p.hi, q.hi), r = M(sqrt_pair)(s.hi, s.lo + (p.lo + q.lo), fused);
    const R    h = big + small > 0 ? (r.hi + r.lo) * back : a + b;  /* both 0, or a NaN */
    return a == INF || b == INF ? INF : h;
}

/* ---- exponentials ------------------------------------------------------------------------ */

/* e^(x + dx) = 2^n (1 + r + tail) with |r| <= ln(2) / 2 (Cody and Waite 1980). The low bits of k are
 * n + 2 BIAS, ready to be put into an exponent. */
typedef struct M(exp_parts) {
    U k;
    R r, tail;
} M(exp_parts);

#define EXP_MAGIC (MAGIC + 2 * BIAS)

TN_INLINE M(exp_parts) M(exp_split)(R x, R dx, int fused)
{
    const R    t = FMA(x, C(LOG2E), EXP_MAGIC), n = t - EXP_MAGIC;
    const R    a = FMA(n, -C(LN2_HI), x), b = FMA(n, -C(LN2_LO), dx);   /* n LN2_HI is exact */
    const PAIR r = M(fast_sum)(a, b);
    return (M(exp_parts)){ M(bits)(t), r.hi, FMA(r.hi * r.hi, M(poly_exp)(r.hi, fused), r.lo) };
}

/* 2^n, and 2^(n - shift), where that is a normal number. */
TN_INLINE R M(exp_unit)(U k, int shift) { return M(of_bits)((k - (U)(BIAS + shift)) << MANTISSA); }

/* x 2^n, rounded once, for |n| up to twice the largest exponent. */
TN_INLINE R M(exp_scale)(R x, U k)
{
    const U half = k >> 1;
    return x * M(of_bits)(half << MANTISSA) * M(of_bits)((k - half) << MANTISSA);
}

TN_INLINE R M(exp)(R x, int fused)
{
    const R c = M(clamp)(x, PICK(-104, -746), PICK(89, 710));
    const R t = FMA(c, C(LOG2E), EXP_MAGIC), n = t - EXP_MAGIC;
    const R r = FMA(n, -C(LN2_LO), FMA(n, -C(LN2_HI), c));
    return M(exp_scale)(1 + FMA(r * r, M(poly_exp)(r, fused), r), M(bits)(t));
}

/* e^x for x <= 0. */
TN_INLINE R M(exp_negative)(R x, int fused)
{
    const R c = M(keep_nan)(M(at_least)(x, PICK(-104, -746)), x);
    const M(exp_parts) p = M(exp_split)(c, 0, fused);
    const PAIR s = M(fast_sum)((R)1, p.r);
    return M(exp_scale)(s.hi + (s.lo + p.tail), p.k);
}

TN_INLINE R M(exp2)(R x, int fused)
{
    const R c = M(clamp)(x, PICK(-151, -1076), PICK(129, 1025)), t = c + EXP_MAGIC;
    const R f = c - (t - EXP_MAGIC), r = f * C(LN2);
    const R dr = FMA(f, C(LN2_REST), fused ? FMA(f, C(LN2), -r) : 0);
    return M(exp_scale)(1 + (r + FMA(r * r, M(poly_exp)(r, fused), dr)), M(bits)(t));
}

/* (e^x - 1) / 2^shift as a pair, for |x| where 2^(n - shift) is a normal number. */
TN_INLINE PAIR M(expm1_pair)(R x, int shift, int fused)
{
    const M(exp_parts) e = M(exp_split)(x, 0, fused);
    const R    unit = shift == 2 ? (R)0.25 : shift == 1 ? (R)0.5 : 1, s = M(exp_unit)(e.k, shift);
    const PAIR h = M(fast_sum)(s - unit, s * e.r);      /* n = 0 or |2^n - 1| > |2^n r| */
    return (PAIR){ h.hi, FMA(s, e.tail, h.lo) };
}

TN_INLINE R M(expm1)(R x, int fused)
{
    const R    c = M(clamp)(x, PICK(-20, -40), PICK(89, 710));
    const PAIR h = M(expm1_pair)(c, 1, fused);
    return M(abs)(x) < TINY * TINY ? x : (h.hi + h.lo) * 2;
}

/* With m = e^|x| - 1: sinh = (m + m / (m + 1)) / 2, cosh = (m + 1 + 1 / (m + 1)) / 2, and with
 * m = e^(2 |x|) - 1: tanh = m / (m + 2). */
TN_INLINE R M(sinh)(R x, int fused)
{
    const R    a = M(abs)(x), c = M(keep_nan)(M(at_most)(a, PICK((R)89.5, (R)710.6)), x);
    const PAIR h = M(expm1_pair)(c, 2, fused), m = M(fast_sum)(h.hi, h.lo);
    const R    y = (m.hi + (m.hi / FMA(m.hi, (R)4, (R)1) + m.lo)) * 2;
    return a < TINY ? x : M(copysign)(y, x);
}

TN_INLINE R M(cosh)(R x, int fused)
{
    const R    a = M(abs)(x), c = M(keep_nan)(M(at_most)(a, PICK((R)89.5, (R)710.6)), x);
    const PAIR h = M(expm1_pair)(c, 2, fused), e = M(two_sum)(h.hi, (R)0.25);
    const R    lo = e.lo + h.lo;
    return (e.hi + ((R)0.0625 / (e.hi + lo) + lo)) * 2;
}

TN_INLINE R M(tanh)(R x, int fused)
{
    const R a = M(abs)(x), c = M(keep_nan)(M(at_most)(a, PICK(10, 20)), x);
#if MANTISSA == 23
    const R t = FMA(c, 2 * C(LOG2E), EXP_MAGIC), n = t - EXP_MAGIC;
    const R r = FMA(n, -C(LN2_LO), FMA(n, -C(LN2_HI), 2 * c));
    const R m = FMA(r * r, M(poly_exp)(r, fused), r) + 1, z = a * a;
    const R big = 1 - 2 / FMA(m, M(exp_unit)(M(bits)(t), 0), (R)1);   /* 1 - 2 / (e^(2 a) + 1) */
    return M(copysign)(a < (R)0.6 ? FMA(a * z, M(poly_tanh)(z, fused), a) : big, x);
#else
    const PAIR h = M(expm1_pair)(2 * c, 0, fused), m = M(fast_sum)(h.hi, h.lo);
    const PAIR d = M(fast_sum)((R)2, m.hi);
    const U    is_big = M(mask)(m.hi > 2);
    const R    q = M(choose)(is_big, 2, m.hi) / d.hi, inv = FMA(q, (R)-0.5, (R)0.5);
    const R    y = M(choose)(is_big, 1 - q, FMA(FMA(-q, d.lo, m.lo), inv, q)); /* inv = 1 / d */
    return a < TINY ? x : M(copysign)(y, x);
#endif
}

/* s = 1 / (1 + e^-x) and 1 - s, from e = e^-|x| so that both tails keep their digits. The rounding
 * of d = 1 + e is made up for, with 1 / d good enough from a line. */
TN_INLINE R M(sigmoid_part)(R e, int is_tail, int fused)
{
    const PAIR d = M(fast_sum)((R)1, e);
    const R    q = (is_tail ? e : 1) / d.hi;
    return FMA(-q * d.lo, FMA(d.hi, (R)-0.5, (R)1.457), q);
}

TN_INLINE PAIR M(sigmoid_both)(R x, int fused)
{
    const R e = M(exp_negative)(-M(abs)(x), fused);
    return (PAIR){ M(sigmoid_part)(e, x < 0, fused), M(sigmoid_part)(e, !(x < 0), fused) };
}

TN_INLINE R M(sigmoid)(R x, int fused) { return M(sigmoid_both)(x, fused).hi; }

/* ---- logarithms -------------------------------------------------------------------------- */

/* log(x) = k ln(2) + (f + tail) with sqrt(1/2) <= 1 + f <= sqrt(2). */
typedef struct M(log_parts) {
    R k, f, tail;
} M(log_parts);

/* log(1 + f) - f */
TN_INLINE R M(log_tail)(R f, int fused)
{
#if MANTISSA == 23
    return FMA(f * f * f, M(poly_log)(f, fused), f * f * (R)-0.5);
#else
    const R s = f / (2 + f), z = s * s, h = f * f * (R)0.5;     /* f = 2 s + s f, s f = h - s h */
    return FMA(s, FMA(z, M(poly_atanh)(z, fused), h), -h);
#endif
}

/* k as an exponent field and 1 + f, of a positive normal number. */
#define ROOT_HALF_BITS PICK(0x3f3504f3u, 0x3fe6a09e667f3bcdu)
#define LOG_FIELD(x)   (M(bits)(x) + (((U)BIAS << MANTISSA) - ROOT_HALF_BITS))
#define LOG_NEAR_1(u)  M(of_bits)(((u) & (((U)1 << MANTISSA) - 1)) + ROOT_HALF_BITS)

TN_INLINE M(log_parts) M(log_split)(R x, int fused)
{
    const U is_subnormal = M(mask)(x < SMALLEST);
    const U u = LOG_FIELD(x * M(of_bits)(M(bits)(1) + (is_subnormal & (U)MANTISSA << MANTISSA)));
    const R k = M(of_field)(u >> MANTISSA, BIAS) - M(masked)(is_subnormal, MANTISSA);
    const R f = LOG_NEAR_1(u) - 1;
    return (M(log_parts)){ k, f, M(log_tail)(f, fused) };
}

/* y, the logarithm of x made as if 0 < x < inf, and then a finite number; 0, negative x, infinity and
 * NaN get theirs by adding -inf, NaN, and x. */
TN_INLINE R M(log_special)(R x, R y)
{
    const U huge = M(mask)(!(x < INF)) & M(bits)(x), negative = M(mask)(x < 0);
    return (y + M(masked)(M(mask)(x == 0), -INF)) + M(of_bits)(huge | negative);
}

TN_INLINE R M(log)(R x, int fused)
{
    const M(log_parts) p = M(log_split)(x, fused);
    const R lo = FMA(p.k, C(LN2_LO), p.tail);
    return M(log_special)(x, FMA(p.k, C(LN2_HI), lo + p.f));
}

/* c log(x) with c ln(2) = k_hi + k_lo and c = c_hi + c_lo. */
TN_INLINE R M(log_scaled)(R x, R k_hi, R k_lo, R c_hi, R c_lo, int fused)
{
    const M(log_parts) p = M(log_split)(x, fused);
    const R    h = M(upper)(p.f), l = (p.f - h) + p.tail;
    const PAIR s = M(fast_sum)(p.k * k_hi, h * c_hi);            /* both products exact */
    const R    lo = FMA(p.k, k_lo, FMA(l, c_hi, FMA(p.f + p.tail, c_lo, s.lo)));
    return M(log_special)(x, s.hi + lo);
}

TN_INLINE R M(log2)(R x, int fused)
{
    return M(log_scaled)(x, 1, 0, C(LOG2E_HI), C(LOG2E_LO), fused);
}

TN_INLINE R M(log10)(R x, int fused)
{
    return M(log_scaled)(x, C(LOG10_2_HI), C(LOG10_2_LO), C(LOG10E_HI), C(LOG10E_LO), fused);
}

/* log(1 + x + dx) for -1 < x < inf: 1 + f = 2^-k (1 + x), without the rounding of 1 + x. */
TN_INLINE R M(log1p_pair)(R x, R dx, int fused)
{
    const U    u = LOG_FIELD(1 + x), n = u >> MANTISSA;
    const R    k = M(of_field)(n, BIAS), s = M(of_bits)(((U)(2 * BIAS) - n) << MANTISSA);
    const PAIR near = M(two_sum)(x * s, s - 1);
    const int  is_big = x > 64 * INTEGERS;
    const R    f = is_big ? LOG_NEAR_1(u) - 1 : near.hi, df = is_big ? 0 : FMA(dx, s, near.lo);
    const R    tail = M(log_tail)(f, fused) + FMA(-f, df, df);
    return FMA(k, C(LN2_HI), FMA(k, C(LN2_LO), tail) + f);
}

TN_INLINE R M(log1p)(R x, int fused)
{
    const R y = M(log_special)(1 + x, M(log1p_pair)(x, 0, fused));
    return M(abs)(x) < TINY * TINY ? x : y;
}

/* log(1 + e^d) for d <= 0 */
TN_INLINE R M(log1p_exp)(R d, int fused)
{
    const R e = M(exp_negative)(d, fused);
    return FMA(e * e, M(poly_log1p_unit)(e - (R)0.5, fused), e);
}

/* log(1 + e^x), so that nothing overflows; log_sigmoid(x) = -softplus(-x). */
TN_INLINE R M(softplus)(R x, int fused)
{
    return (x > 0 ? x : 0) + M(log1p_exp)(-M(abs)(x), fused);
}

TN_INLINE R M(log_sigmoid)(R x, int fused) { return -M(softplus)(-x, fused); }

TN_INLINE R M(logaddexp)(R x, R y, int fused)
{
    const R d = x == y ? 0 : -M(abs)(x - y);            /* of equal infinities too */
    return M(max)(x, y) + M(log1p_exp)(d, fused);
}

/* asinh(a) = log1p(a + a^2 / (1 + sqrt(1 + a^2))); log(2 a) where a^2 is all. */
TN_INLINE R M(asinh)(R x, int fused)
{
    const int  is_big = M(abs)(x) > 1 / (TINY * TINY);
    const R    a = M(abs)(x), b = is_big ? 1 : a;
    const R    w = b * b / (1 + M(sqrt)(FMA(b, b, (R)1)));
    const PAIR t = M(fast_sum)(b, w);
    const R    y = M(log1p_pair)(is_big ? a : t.hi, is_big ? 0 : t.lo, fused) + (is_big ? C(LN2) : 0);
    const R    z = M(copysign)(y, x);
    return a > TINY && a < INF ? z : x;
}

/* acosh(x) = log1p(t + sqrt(t (t + 2))), t = x - 1; log(2 x) where x^2 is all. */
TN_INLINE R M(acosh)(R x, int fused)
{
    const int  is_big = x > 1 / (TINY * TINY);
    const R    t = is_big ? 1 : x - 1;                  /* exact where it matters */
    const PAIR v = M(two_prod)(t, t + 2, fused), s = M(sqrt_pair)(v.hi, v.lo, fused);
    const PAIR h = M(two_sum)(t, s.hi);
    const R    l = M(log1p_pair)(is_big ? x : h.hi, is_big ? 0 : h.lo + s.lo, fused);
    const R    y = x < INF ? l + (is_big ? C(LN2) : 0) : x;
    return x >= 1 ? y : NOT_A_NUMBER;
}

/* atanh(a) = log1p(2 a / (1 - a)) / 2 */
TN_INLINE R M(atanh)(R x, int fused)
{
    const R    a = M(abs)(x);
    const PAIR d = M(fast_sum)((R)1, -a);
    const R    q = 2 * a / d.hi;
    const PAIR p = M(two_prod)(q, d.hi, fused);
    const R    dq = (((2 * a - p.hi) - p.lo) - q * d.lo) / d.hi;
    const R    y = M(copysign)(M(log1p_pair)(q, dq, fused) / 2, x);
    const R    edge = a == 1 ? M(copysign)(INF, x) : NOT_A_NUMBER;
    return a < TINY ? x : a < 1 ? y : edge;
}

/* pow(x, y) from the parity of y and r = |x|^y, by the rules of C's annex F. */
TN_INLINE R M(pow_special)(R x, R y, R r, int fused)
{
    const R   half = y * (R)0.5, a = M(abs)(x);
    const int is_integer = M(round)(y, fused) == y;
    const int is_odd = is_integer && M(round)(half, fused) != half;
    const R   p = a == 1 ? 1 : r;
    const R   q = x < 0 && !is_integer && a < INF ? NOT_A_NUMBER : p;
    const R   s = M(of_bits)(M(bits)(q) ^ (is_odd ? M(bits)(x) & SIGN_BIT : 0)), n = x != x || y != y ? x + y : s;
    return y == 0 || x == 1 ? 1 : n;
}

/* ---- inverse trigonometric functions ----------------------------------------------------- */

/* asin of a in [0, 1/2]: x + tail; else pi / 2 - 2 asin(s), s = sqrt((1 - a) / 2). */
typedef struct M(asin_parts) {
    R s, tail;
} M(asin_parts);

TN_INLINE M(asin_parts) M(asin_split)(R a, int fused)
{
    const int  is_small = a < (R)0.5;
    const R    z = is_small ? a * a : (1 - a) * (R)0.5;
    const PAIR root = M(sqrt_pair)(z, 0, fused);
    const R    s = is_small ? a : root.hi;
    return (M(asin_parts)){ s, FMA(s * z, M(poly_asin)(z, fused), is_small ? 0 : root.lo) };
}

TN_INLINE R M(asin)(R x, int fused)
{
    const R a = M(abs)(x);
    const M(asin_parts) p = M(asin_split)(a, fused);
    const PAIR h = M(fast_sum)(C(HALF_PI), -2 * p.s);
    const R    big = h.hi + (h.lo + FMA(p.tail, (R)-2, C(HALF_PI_REST)));
    return M(copysign)(a < (R)0.5 ? p.s + p.tail : big, x);
}

TN_INLINE R M(acos)(R x, int fused)
{
    const R a = M(abs)(x);
    const M(asin_parts) p = M(asin_split)(a, fused);
    const R    sx = M(copysign)(p.s, x), tail = M(copysign)((R)1, x) * p.tail;
    const PAIR h = M(fast_sum)(C(HALF_PI), -sx);
    const R    middle = h.hi + (h.lo + (C(HALF_PI_REST) - tail));
    const R    right = 2 * (p.s + p.tail);
    const PAIR g = M(fast_sum)(2 * C(HALF_PI), -2 * p.s);
    const R    left = g.hi + (g.lo + 2 * (C(HALF_PI_REST) - p.tail));
    return a < (R)0.5 ? middle : x < 0 ? left : right;
}

/* pi / 4 times m, plus or minus atan(t), for |t| <= 1/2. */
TN_INLINE R M(atan_sum)(R m, R t, int fused)
{
    const R    z = t * t, tail = t * z * M(poly_atan)(z, fused);
    const PAIR s = M(fast_sum)(m * C(QUARTER_PI_HI), t);
    return s.hi + (s.lo + FMA(m, C(QUARTER_PI_LO), tail));
}

TN_INLINE R M(atan)(R x, int fused)
{
    const R   a = M(abs)(x);
    const int is_small = a < (R)0.5, is_big = a > 2;
    const R   p = is_small ? a : is_big ? -1 : a - 1, q = is_small ? 1 : is_big ? a : a + 1;
    const R   y = M(atan_sum)(is_small ? 0 : is_big ? 2 : 1, p / q, fused);
    return M(copysign)(y, x);
}

/* The angle of (x, y): of min / max, then turned back to its octant. */
TN_INLINE R M(atan2)(R y, R x, int fused)
{
    const R   a = M(abs)(y), b = M(abs)(x);
    const R   down = a > INTEGERS || b > INTEGERS ? (R)0.25 : 1;
    const R   big = (a > b ? a : b) * down, small = (a > b ? b : a) * down;
    const int is_middle = small + small > big || small == INF;
    const R   p = is_middle ? small - big : small, q = is_middle ? small + big : big;
    const R   t = small == big ? 0 : p / q;
    const R   m1 = is_middle ? 1 : 0, s1 = 1;
    const R   m2 = a > b ? 2 - m1 : m1, s2 = a > b ? -s1 : s1;
    const R   is_left = M(copysign)((R)1, x);
    const R   m3 = is_left < 0 ? 4 - m2 : m2, s3 = is_left < 0 ? -s2 : s2;
    const R   r = M(copysign)(M(atan_sum)(m3, s3 * t, fused), y);
    return x != x || y != y ? x + y : r;
}

/* ---- activations ------------------------------------------------------------------------- */

/* x sigmoid(x), and its derivative s (1 + x (1 - s)). */
TN_INLINE R M(silu)(R x, int fused)
{
    return M(at_least)(x, PICK(-104, -746)) * M(sigmoid)(x, fused);
}

TN_INLINE R M(silu_grad)(R x, int fused)
{
    const R    c = M(clamp)(x, PICK(-110, -760), PICK(110, 760));
    const PAIR s = M(sigmoid_both)(c, fused);
    return FMA(c * s.hi, s.lo, s.hi);
}

/* x (1 + tanh(u / 2)) / 2 = x sigmoid(u) with u = sqrt(8 / pi) (x + 0.044715 x^3), and its derivative
 * s + x s (1 - s) du/dx. */
TN_INLINE R M(gelu_tanh)(R x, int fused)
{
    const R c = M(clamp)(x, PICK(-12, -24), PICK(12, 24));
    const R s = M(sigmoid)(c * FMA(c * c, C(GELU_CUBE), C(ROOT_8_PI)), fused);
    return M(at_least)(x, PICK(-12, -24)) * s;
}

TN_INLINE R M(gelu_tanh_grad)(R x, int fused)
{
    const R c = M(clamp)(x, PICK(-12, -24), PICK(12, 24)), z = c * c;
    const PAIR s = M(sigmoid_both)(c * FMA(z, C(GELU_CUBE), C(ROOT_8_PI)), fused);
    return FMA(c * s.hi * s.lo, FMA(z, 3 * C(GELU_CUBE), C(ROOT_8_PI)), s.hi);
}

#undef FMA
#undef PAIR
#undef C
#undef INF
#undef NOT_A_NUMBER
#undef SIGN_BIT
#undef SMALLEST
#undef INTEGERS
#undef MAGIC
#undef EXP_MAGIC
#undef TINY
#undef ROOT_HALF_BITS
#undef LOG_FIELD
#undef LOG_NEAR_1
