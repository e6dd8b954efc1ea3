/* The functions of tensor/vmath.h with their references, for tests/test_math.c and bench/math.c,
 * and a span kernel of each. A reference is one type-generic expression, evaluated in double for
 * f32 and in long double for f64. */
#ifndef TN_TESTS_MATH_LIST_H
#define TN_TESTS_MATH_LIST_H

#include "tensor/span.h"

#include <math.h>
#include <string.h>
#include <tgmath.h>

/* X(name, reference, lo, hi, ulp32, ulp64, floor): between lo and hi the function is worth a dense
 * look (for one of two numbers, both are there); the largest errors that tensor/vmath.h allows; |y|
 * less than floor counts as floor, near a zero that comes of a difference. */
#define MATH_LIST_1(X)                                                                             \
    X(exp, exp(x), -80, 80, 1, 1.1, 0)                                                             \
    X(exp2, exp2(x), -100, 100, 1, 1.1, 0)                                                         \
    X(expm1, expm1(x), -10, 10, 1.5, 1.5, 0)                                                       \
    X(log, log(x), 0, 10, 1, 1, 0)                                                                 \
    X(log2, log2(x), 0, 10, 1, 1, 0)                                                               \
    X(log10, log10(x), 0, 10, 1, 1, 0)                                                             \
    X(log1p, log1p(x), -1, 10, 1, 1, 0)                                                            \
    X(asin, asin(x), -1, 1, 1, 1, 0)                                                               \
    X(acos, acos(x), -1, 1, 1, 1, 0)                                                               \
    X(atan, atan(x), -5, 5, 1.5, 1.5, 0)                                                           \
    X(sinh, sinh(x), -10, 10, 2, 2, 0)                                                             \
    X(cosh, cosh(x), -10, 10, 1.5, 1.5, 0)                                                         \
    X(tanh, tanh(x), -5, 5, 1.5, 1.5, 0)                                                           \
    X(asinh, asinh(x), -10, 10, 1.5, 1.5, 0)                                                       \
    X(acosh, acosh(x), 1, 10, 1.5, 1.5, 0)                                                         \
    X(atanh, atanh(x), -1, 1, 1.5, 1.5, 0)                                                         \
    X(sigmoid, 1 / (1 + exp(-x)), -20, 20, 2, 2, 0)                                                \
    X(erf, erf(x), -3, 3, 1.5, 1.5, 0)                                                             \
    X(erfc, erfc(x), -3, 9, 3.5, 3.75, 0)                                                          \
    X(sqrt, sqrt(x), 0, 10, 0.5, 0.5, 0)                                                           \
    X(rsqrt, 1 / sqrt(x), 0, 10, 1.5, 1.5, 0)                                                      \
    X(cbrt, cbrt(x), -10, 10, 1, 1, 0)                                                             \
    X(softplus, x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)), -20, 20, 2.25, 2, 0)                   \
    X(log_sigmoid, x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x)), -20, 20, 2.25, 2, 0)               \
    X(silu, math_silu(x), -20, 20, 3, 3, 1e-30)                                                    \
    X(silu_grad, math_silu_grad(x), -20, 20, 1.5, 1.5, 1)                                          \
    X(norm_pdf, math_norm_pdf(x), -10, 10, 1.75, 1.75, 0)                                          \
    X(norm_cdf, math_norm_cdf(x), -10, 5, 3.75, 3.75, 0)                                           \
    X(gelu, math_gelu(x), -10, 5, 4.25, 4.25, 1e-30)                                               \
    X(gelu_grad, math_gelu_grad(x), -5, 5, 1.5, 1.5, 1)                                            \
    X(gelu_tanh, math_gelu_tanh(x), -5, 5, 6, 6, 0.1)                                              \
    X(gelu_tanh_grad, math_gelu_tanh_grad(x), -5, 5, 2, 2, 1)                                      \
    X(round, rint(x), -10, 10, 0, 0, 0)                                                            \
    X(floor, floor(x), -10, 10, 0, 0, 0)                                                           \
    X(ceil, ceil(x), -10, 10, 0, 0, 0)                                                             \
    X(trunc, trunc(x), -10, 10, 0, 0, 0)                                                           \
    X(abs, fabs(x), -10, 10, 0, 0, 0)                                                              \
    X(sign, x > 0 ? 1 : x < 0 ? -1 : x, -10, 10, 0, 0, 0)

#define MATH_LIST_1_FAR(X)                                                                         \
    X(sin, sin(x), -20, 20, 0.51, 1, 0)                                                            \
    X(cos, cos(x), -20, 20, 0.51, 1, 0)                                                            \
    X(tan, tan(x), -20, 20, 0.51, 1.25, 0)

#define MATH_LIST_2(X)                                                                             \
    X(pow, pow(x, y), 0, 10, 1, 1.25, 0)                                                           \
    X(atan2, atan2(x, y), -10, 10, 1.5, 1.5, 0)                                                    \
    X(hypot, hypot(x, y), -10, 10, 1, 1, 0)                                                        \
    X(logaddexp, math_logaddexp(x, y), 0, 10, 1.5, 1.5, 1)                                         \
    X(min, x < y || x != x ? x : y != y ? y : y, -10, 10, 0, 0, 0)                                 \
    X(max, x > y || x != x ? x : y != y ? y : y, -10, 10, 0, 0, 0)                                 \
    X(copysign, copysign(x, y), -10, 10, 0, 0, 0)

#define MATH_LIST_2_FAR(X)                                                                         \
    X(fmod, fmod(x, y), -10, 10, 0, 0, 0)                                                          \
    X(remainder, math_remainder(x, y), -10, 10, 0.51, 0.51, 0)

/* ---- references without a name in <math.h> ----------------------------------------------- */

#define MATH_REFERENCES(F, suffix)                                                                 \
    static inline F math_silu_##suffix(F x) { return x < -11000 ? -0.0 : x / (1 + exp(-x)); }      \
    static inline F math_silu_grad_##suffix(F x)                                                   \
    {                                                                                              \
        const F e = exp(-fabs(x)), s = 1 / (1 + e), t = e / (1 + e);                               \
        return fabs(x) > 11000 ? x > 0 : x > 0 ? s + x * s * t : t + x * s * t;                    \
    }                                                                                              \
    static inline F math_norm_pdf_##suffix(F x)                                                    \
    {                                                                                              \
        const F h = x * x, dh = fma(x, x, -h);               /* the square exactly */              \
        return fabs(x) > 200 ? 0 : exp(-h / 2) * (1 - dh / 2) * (F)0.398942280401432677939946L;    \
    }                                                                                              \
    static inline F math_norm_cdf_##suffix(F x)                                                    \
    {                                                                                              \
        const F c = 0.707106781186547524400844362104849039L, dc = -fma(c, c, (F)-0.5) * c;         \
        const F z = -x * c, dz = fma(-x, c, -z) - x * dc, y = erfc(z) / 2; /* z + dz exactly */    \
        return z > 1 && y > 0 ? y * (1 - 2 * (z + 1 / (2 * z)) * dz) : y;                          \
    }                                                                                              \
    static inline F math_gelu_##suffix(F x)                                                        \
    {                                                                                              \
        return x < -200 ? -0.0 : x * math_norm_cdf_##suffix(x);                                    \
    }                                                                                              \
    static inline F math_gelu_grad_##suffix(F x)                                                   \
    {                                                                                              \
        return fabs(x) > 200 ? x > 0 : math_norm_cdf_##suffix(x) + x * math_norm_pdf_##suffix(x);  \
    }                                                                                              \
    static inline F math_gelu_tanh_##suffix(F x)                                                   \
    {                                                                                              \
        const F c = 1.59576912160573071175978423973752747L;                                        \
        return x < -100 ? -0.0 : x > 100 ? x : x / (1 + exp(-c * (x + (F)0.044715L * x * x * x))); \
    }                                                                                              \
    static inline F math_gelu_tanh_grad_##suffix(F x)                                              \
    {                                                                                              \
        const F c = 1.59576912160573071175978423973752747L, b = 0.044715L;                         \
        if (fabs(x) > 40) return x > 0;                                                            \
        const F u = c * (x + b * x * x * x), s = 1 / (1 + exp(-u)), t = 1 / (1 + exp(u));          \
        return s + x * s * t * c * (1 + 3 * b * x * x);                                            \
    }                                                                                              \
    static inline F math_logaddexp_##suffix(F x, F y)                                              \
    {                                                                                              \
        const F big = x > y ? x : y, small = x > y ? y : x;                                        \
        return x != x || y != y ? x + y : x == y ? x + log((F)2) : big + log1p(exp(small - big));  \
    }                                                                                              \
    static inline F math_remainder_##suffix(F x, F y)                                              \
    {                                                                                              \
        const F m = fmod(x, y);                                                                    \
        return m == 0 ? copysign(m, y) : (m < 0) != (y < 0) ? m + y : m;                           \
    }
MATH_REFERENCES(double, d)
MATH_REFERENCES(long double, l)

#define MATH_BY_TYPE(name, x)  _Generic((x), double: math_##name##_d, long double: math_##name##_l)
#define math_silu(x)           MATH_BY_TYPE(silu, x)(x)
#define math_silu_grad(x)      MATH_BY_TYPE(silu_grad, x)(x)
#define math_norm_pdf(x)       MATH_BY_TYPE(norm_pdf, x)(x)
#define math_norm_cdf(x)       MATH_BY_TYPE(norm_cdf, x)(x)
#define math_gelu(x)           MATH_BY_TYPE(gelu, x)(x)
#define math_gelu_grad(x)      MATH_BY_TYPE(gelu_grad, x)(x)
#define math_gelu_tanh(x)      MATH_BY_TYPE(gelu_tanh, x)(x)
#define math_gelu_tanh_grad(x) MATH_BY_TYPE(gelu_tanh_grad, x)(x)
#define math_logaddexp(x, y)   MATH_BY_TYPE(logaddexp, x)(x, y)
#define math_remainder(x, y)   MATH_BY_TYPE(remainder, x)(x, y)

/* ---- the table --------------------------------------------------------------------------- */

typedef struct math_function {
    const char    *name;
    const tn_span *span;
    int            arity;
    double         lo, hi, ulp[2], floor;
    double       (*ref)(double x, double y);
    long double  (*ref_l)(long double x, long double y);
} math_function;

#define MATH_SPAN_1(name, ...) TN_SPAN(math_##name, tn__##name(x))
#define MATH_SPAN_2(name, ...) TN_SPAN(math_##name, tn__##name(x, y))
MATH_LIST_1(MATH_SPAN_1)
MATH_LIST_2(MATH_SPAN_2)
TN_SPAN_RARE(math_sin, tn__trig_is_far(x), tn__sin_far(x), tn__sin(x))
TN_SPAN_RARE(math_cos, tn__trig_is_far(x), tn__cos_far(x), tn__cos(x))
TN_SPAN_RARE(math_tan, tn__trig_is_far(x), tn__tan_far(x), tn__tan(x))
TN_SPAN_RARE(math_fmod, tn__fmod_is_far(x, y), tn__fmod_far(x, y), tn__fmod(x, y))
TN_SPAN_RARE(math_remainder, tn__fmod_is_far(x, y), tn__remainder_far(x, y), tn__remainder(x, y))

#define MATH_REFERENCE(name, expr, ...)                                                            \
    static double math_ref_##name(double x, double y) { return (void)y, (expr); }                  \
    static long double math_ref_l_##name(long double x, long double y) { return (void)y, (expr); }
MATH_LIST_1(MATH_REFERENCE)
MATH_LIST_1_FAR(MATH_REFERENCE)
MATH_LIST_2(MATH_REFERENCE)
MATH_LIST_2_FAR(MATH_REFERENCE)

#define MATH_ENTRY(arity, name, lo, hi, ulp32, ulp64, floor)                                       \
    { #name, &math_##name##_span, arity, lo, hi, { ulp32, ulp64 }, floor, math_ref_##name,         \
      math_ref_l_##name },
#define MATH_ENTRY_1(name, expr, ...) MATH_ENTRY(1, name, __VA_ARGS__)
#define MATH_ENTRY_2(name, expr, ...) MATH_ENTRY(2, name, __VA_ARGS__)
static const math_function math_functions[] = {
    MATH_LIST_1(MATH_ENTRY_1) MATH_LIST_1_FAR(MATH_ENTRY_1)
    MATH_LIST_2(MATH_ENTRY_2) MATH_LIST_2_FAR(MATH_ENTRY_2)
};
enum { MATH_N_FUNCTIONS = sizeof math_functions / sizeof *math_functions };

/* ---- errors ------------------------------------------------------------------------------ */

/* |got - want| in units of the last of f32's 24 or f64's 53 bits at want, or at floor if it is
 * more. NaNs agree, infinity counts as the power of two that f32 or f64 misses, and (if floor is 0)
 * a zero of the other sign as 1000. */
static inline double math_error(long double got, long double want, int is_f64, double floor)
{
    if (got != got || want != want) return got != got && want != want ? 0 : INFINITY;
    if (got == 0 && want == 0) return floor > 0 || !signbit(got) == !signbit(want) ? 0 : 1000;
    const long double top = is_f64 ? 0x1p1023L * 2 : 0x1p128L;
    const long double g = got > top ? top : got < -top ? -top : got;
    const long double w = want > top ? top : want < -top ? -top : want;
    if (g == w) return 0;
    const long double a = fabsl(w) < floor ? floor : fabsl(w);
    int               e, least = is_f64 ? -1021 : -125;
    frexpl(a, &e);
    if (a == top) e--;
    return (double)ldexpl(fabsl(g - w), (is_f64 ? 53 : 24) - (e < least || a == 0 ? least : e));
}

/* The same for f32 with a normal want: without the cost of long double. */
static inline double math_error_f32(float got, double want, double floor)
{
    const double a = fabs(want);
    if (!(a > 0x1p-126) || !(a < 0x1p127) || a < floor) return math_error(got, want, 0, floor);
    uint64_t u;
    memcpy(&u, &a, sizeof u);
    u = (u & (UINT64_C(2047) << 52)) - (UINT64_C(23) << 52);
    double unit;
    memcpy(&unit, &u, sizeof unit);
    return fabs(got - want) / unit;
}

#endif
