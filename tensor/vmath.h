/* Vector mathematics: what the expressions of span kernels (tensor/span.h) are made of.
 *
 * Each function is inlined, branch-free arithmetic for float and double, so that the compiler
 * vectorises a loop over it at any level; none calls the C library. With fused multiply-add (AVX2,
 * AVX-512, NEON) the results have the same bits, but for the sign and payload of NaN; without it
 * they may differ, within the same bounds. The macros pick the type by their argument's and take
 * from their scope the constant tn__fused, which every span kernel has.
 *
 * NaN gives NaN; infinities, signed zeros, subnormal numbers and overflow are as in C's annex F.
 * Largest errors, in units of the last place, that tests/test_math.c allows; bench/math.c measures
 * them, on all 2^32 floats if it is told to:
 *
 *                                            f32    f64
 *   exp, exp2, log, log2, log10, log1p       1      1.1
 *   expm1, cosh, asinh, acosh, atanh         1.5    1.5
 *   sinh                                     2      2
 *   sin, cos, tan, |x| <= 2^45               0.51   1.25    beyond: NaN; see the .._far functions
 *   asin, acos                               1      1
 *   atan, atan2                              1.5    1.5
 *   tanh, erf                                1.5    1.5
 *   sigmoid, softplus, log_sigmoid           2.25   2
 *   erfc, norm_cdf                           3.75   3.75
 *   norm_pdf                                 1.75   1.75
 *   silu                                     3      3       while e^x is normal
 *   gelu                                     4.25   4.25    while norm_cdf is normal
 *   gelu_tanh                                6      6       of 0.1 where it is less than that
 *   silu_grad, gelu_grad, gelu_tanh_grad     2      2       of 1 where they are less than that
 *   logaddexp                                1.5    1.5     of 1 where it is less than that
 *   pow, cbrt, hypot                         1      1.25
 *   rsqrt                                    1.5    1.5
 *   sqrt; fmod, remainder, |x / y| < 2^50    0.5    0.5     beyond: undefined; see fmod_far
 *   round (half to even), floor, ceil, trunc, abs, sign, copysign, min and max: exact
 */
#ifndef TN_TENSOR_VMATH_H
#define TN_TENSOR_VMATH_H

#include "tensor/vmath_base.h"
#include "tensor/vmath_poly.h"

/* The words that the templates vmath_real.h and vmath_normal.h are written with, given back to
 * whoever had another use for them: real; word, its bits; pair, two of it; FN(name), tn__name_f32
 * or tn__name_f64; PICK(a, b), a in f32 and b in f64; K(name), a constant of vmath_poly.h. */
#pragma push_macro("real")
#pragma push_macro("word")
#pragma push_macro("pair")
#pragma push_macro("FN")
#pragma push_macro("PICK")
#pragma push_macro("K")
#pragma push_macro("FMA")
#undef real
#undef word
#undef pair
#undef FN
#undef PICK
#undef K
#undef FMA
#define K(name)      PICK(TN__##name##_F32, TN__##name##_F64)
#define FMA(a, b, c) FN(fma)(a, b, c, fused)

#define TN__INF       PICK(__builtin_inff(), __builtin_inf())
#define TN__NAN       PICK(__builtin_nanf(""), __builtin_nan(""))
#define TN__SIGN_BIT  ((word)1 << PICK(31, 63))
#define TN__SMALLEST  PICK(0x1p-126f, 0x1p-1022) /* of the normal numbers */
#define TN__TINY      PICK(0x1p-13f, 0x1p-28)    /* its square is nothing beside 1 */
#define TN__INTEGERS  PICK(0x1p23f, 0x1p52)      /* from here on there are only integers */
#define TN__MAGIC     PICK(0x1.8p23f, 0x1.8p52)  /* x + that: x rounded, in the low bits */
#define TN__EXP_MAGIC (TN__MAGIC + 2 * TN__BIAS) /* the same with room for two exponent fields */

/* For log(x) = k log(2) + log(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), of a normal x > 0: bits
 * that begin with the exponent field of k; and from these, 1 + f. */
#define TN__ROOT_HALF     PICK(0x3f3504f3u, UINT64_C(0x3fe6a09e667f3bcd))
#define TN__LOG_BITS(x)   (FN(bits)(x) + (((word)TN__BIAS << TN__MANTISSA) - TN__ROOT_HALF))
#define TN__LOG_NEAR_1(u) FN(of_bits)(((u) & (((word)1 << TN__MANTISSA) - 1)) + TN__ROOT_HALF)

#define real         float
#define word         uint32_t
#define pair         tn__pair_f32
#define FN(name)     tn__##name##_f32
#define PICK(a, b)   a
#define TN__MANTISSA 23  /* stored bits of the mantissa */
#define TN__BIAS     127 /* of the exponent field */
#include "tensor/vmath_real.h"
#include "tensor/vmath_normal.h"
#undef real
#undef word
#undef pair
#undef FN
#undef PICK
#undef TN__MANTISSA
#undef TN__BIAS

#define real         double
#define word         uint64_t
#define pair         tn__pair_f64
#define FN(name)     tn__##name##_f64
#define PICK(a, b)   b
#define TN__MANTISSA 52
#define TN__BIAS     1023
#include "tensor/vmath_real.h"
#include "tensor/vmath_normal.h"
#undef TN__MANTISSA
#undef TN__BIAS

#pragma pop_macro("real")
#pragma pop_macro("word")
#pragma pop_macro("pair")
#pragma pop_macro("FN")
#pragma pop_macro("PICK")
#pragma pop_macro("K")
#pragma pop_macro("FMA")

#include "tensor/vmath_trig.h"
#include "tensor/vmath_pow.h"
#include "tensor/vmath_wide.h"

#define TN__BY_TYPE(name, x) _Generic((x), float: tn__##name##_f32, double: tn__##name##_f64)

#define tn__abs(x)         TN__BY_TYPE(abs, x)(x)
#define tn__sign(x)        TN__BY_TYPE(sign, x)(x) /* -1, 1, or x where that is a zero or NaN */
#define tn__isnan(x)       TN__BY_TYPE(isnan, x)(x)
#define tn__isinf(x)       TN__BY_TYPE(isinf, x)(x)
#define tn__isfinite(x)    TN__BY_TYPE(isfinite, x)(x)
#define tn__sqrt(x)        TN__BY_TYPE(sqrt, x)(x)
#define tn__rsqrt(x)       TN__BY_TYPE(rsqrt, x)(x)
#define tn__copysign(x, y) TN__BY_TYPE(copysign, (x) + (y))(x, y)
#define tn__min(x, y)      TN__BY_TYPE(min, (x) + (y))(x, y) /* NaN if either is NaN */
#define tn__max(x, y)      TN__BY_TYPE(max, (x) + (y))(x, y)

#define tn__round(x) TN__BY_TYPE(round, x)(x, tn__fused)
#define tn__floor(x) TN__BY_TYPE(floor, x)(x, tn__fused)
#define tn__ceil(x)  TN__BY_TYPE(ceil, x)(x, tn__fused)
#define tn__trunc(x) TN__BY_TYPE(trunc, x)(x, tn__fused)

#define tn__exp(x)          TN__BY_TYPE(exp, x)(x, tn__fused)
#define tn__exp2(x)         TN__BY_TYPE(exp2, x)(x, tn__fused)
#define tn__expm1(x)        TN__BY_TYPE(expm1, x)(x, tn__fused)
#define tn__log(x)          TN__BY_TYPE(log, x)(x, tn__fused)
#define tn__log2(x)         TN__BY_TYPE(log2, x)(x, tn__fused)
#define tn__log10(x)        TN__BY_TYPE(log10, x)(x, tn__fused)
#define tn__log1p(x)        TN__BY_TYPE(log1p, x)(x, tn__fused)
#define tn__logaddexp(x, y) TN__BY_TYPE(logaddexp, (x) + (y))(x, y, tn__fused) /* log(e^x + e^y) */
#define tn__pow(x, y)       TN__BY_TYPE(pow, (x) + (y))(x, y, tn__fused)
#define tn__cbrt(x)         TN__BY_TYPE(cbrt, x)(x, tn__fused)
#define tn__hypot(x, y)     TN__BY_TYPE(hypot, (x) + (y))(x, y, tn__fused)

#define tn__sin(x)      TN__BY_TYPE(sin, x)(x, tn__fused)
#define tn__cos(x)      TN__BY_TYPE(cos, x)(x, tn__fused)
#define tn__tan(x)      TN__BY_TYPE(tan, x)(x, tn__fused)
#define tn__asin(x)     TN__BY_TYPE(asin, x)(x, tn__fused)
#define tn__acos(x)     TN__BY_TYPE(acos, x)(x, tn__fused)
#define tn__atan(x)     TN__BY_TYPE(atan, x)(x, tn__fused)
#define tn__atan2(y, x) TN__BY_TYPE(atan2, (y) + (x))(y, x, tn__fused)

#define tn__sinh(x)  TN__BY_TYPE(sinh, x)(x, tn__fused)
#define tn__cosh(x)  TN__BY_TYPE(cosh, x)(x, tn__fused)
#define tn__tanh(x)  TN__BY_TYPE(tanh, x)(x, tn__fused)
#define tn__asinh(x) TN__BY_TYPE(asinh, x)(x, tn__fused)
#define tn__acosh(x) TN__BY_TYPE(acosh, x)(x, tn__fused)
#define tn__atanh(x) TN__BY_TYPE(atanh, x)(x, tn__fused)

#define tn__erf(x)      TN__BY_TYPE(erf, x)(x, tn__fused)
#define tn__erfc(x)     TN__BY_TYPE(erfc, x)(x, tn__fused)
#define tn__norm_pdf(x) TN__BY_TYPE(norm_pdf, x)(x, tn__fused) /* e^(-x^2 / 2) / sqrt(2 pi) */
#define tn__norm_cdf(x) TN__BY_TYPE(norm_cdf, x)(x, tn__fused) /* erfc(-x / sqrt(2)) / 2 */

/* Activations and, named .._grad, their derivatives by x. */
#define tn__sigmoid(x)        TN__BY_TYPE(sigmoid, x)(x, tn__fused)
#define tn__softplus(x)       TN__BY_TYPE(softplus, x)(x, tn__fused)    /* log(1 + e^x) */
#define tn__log_sigmoid(x)    TN__BY_TYPE(log_sigmoid, x)(x, tn__fused) /* -softplus(-x) */
#define tn__silu(x)           TN__BY_TYPE(silu, x)(x, tn__fused)        /* x sigmoid(x) */
#define tn__silu_grad(x)      TN__BY_TYPE(silu_grad, x)(x, tn__fused)
#define tn__gelu(x)           TN__BY_TYPE(gelu, x)(x, tn__fused) /* x norm_cdf(x) */
#define tn__gelu_grad(x)      TN__BY_TYPE(gelu_grad, x)(x, tn__fused)
#define tn__gelu_tanh(x)      TN__BY_TYPE(gelu_tanh, x)(x, tn__fused)
#define tn__gelu_tanh_grad(x) TN__BY_TYPE(gelu_tanh_grad, x)(x, tn__fused)

/* With the sign of x, as in C; and with the sign of y, as Python's %. */
#define tn__fmod(x, y)      TN__BY_TYPE(fmod, (x) + (y))(x, y, tn__fused)
#define tn__remainder(x, y) TN__BY_TYPE(remainder, (x) + (y))(x, y, tn__fused)

/* Far arguments, one at a time: right for all is
 *     TN_SPAN_RARE(sin, tn__trig_is_far(x), tn__sin_far(x), tn__sin(x)) */
#define tn__trig_is_far(x)      TN__BY_TYPE(trig_is_far, x)(x)
#define tn__sin_far(x)          TN__BY_TYPE(sin_far, x)(x)
#define tn__cos_far(x)          TN__BY_TYPE(cos_far, x)(x)
#define tn__tan_far(x)          TN__BY_TYPE(tan_far, x)(x)
#define tn__fmod_is_far(x, y)   TN__BY_TYPE(fmod_is_far, (x) + (y))(x, y, tn__fused)
#define tn__fmod_far(x, y)      TN__BY_TYPE(fmod_far, (x) + (y))(x, y)
#define tn__remainder_far(x, y) TN__BY_TYPE(remainder_far, (x) + (y))(x, y)

#endif
