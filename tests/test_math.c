/* The vector mathematics, at each level that the CPU has: errors within the stated bounds, special
 * values, the same bits with FMA, any number of elements. bench/math.c looks at every float. */
#include "check.h"
#include "math_list.h"

enum { N = 1000 };

static uint64_t state;

static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int top_level(void)
{
#if defined __x86_64__
    return tn_cpu_detect();
#else
    return TN_CPU_BASE;
#endif
}

static const math_function *find(const char *name)
{
    for (int k = 0; k < MATH_N_FUNCTIONS; k++)
        if (!strcmp(math_functions[k].name, name)) return &math_functions[k];
    return NULL;
}

static void apply_n(const math_function *f, int is_f64, int level, int64_t n, const void *x,
                    const void *y, void *out)
{
    f->span->fn[is_f64 ? TN_F64 : TN_F32][level](
        &(tn_span_args){ .n = n, .in = { x, y, x }, .out = { out } });
}

/* One value at one level. */
static double value(const math_function *f, int is_f64, int level, double x, double y)
{
    float xs = (float)x, ys = (float)y, s;
    double d;
    if (is_f64)
        apply_n(f, 1, level, 1, &x, &y, &d);
    else
        apply_n(f, 0, level, 1, &xs, &ys, &s), d = s;
    return d;
}

/* ---- accuracy ------------------------------------------------------------------------------ */

/* A third of all bit patterns, a third between lo and hi, a third close to lo or hi. */
static double sample(const math_function *f, int is_f64, int i)
{
    const uint64_t u = random_bits();
    const double d = is_f64 ? tn__of_bits_f64(u) : tn__of_bits_f32((uint32_t)u);
    const double part = i % 3 == 1 ? (double)(u >> 11) * 0x1p-53 : ldexp(1.0, -(int)(u % 64));
    const double between = f->lo + (f->hi - f->lo) * (u & 64 ? part : 1 - part);
    return i % 3 == 0 ? d : is_f64 ? between : (float)between;
}

static void check_accuracy(const math_function *f, int is_f64, int blocks)
{
    static double x[N], y[N], got[N];
    static float xs[N], ys[N], gots[N];
    struct {
        double error, x, y;
        long double got, want;
    } worst[TN_N_CPU_LEVELS] = { { 0 } };
    for (int block = 0; block < blocks; block++) {
        for (int i = 0; i < N; i++) {
            xs[i] = (float)(x[i] = sample(f, is_f64, i));
            ys[i] = (float)(y[i] = sample(f, is_f64, i / 3));
        }
        for (int level = TN_CPU_BASE; level <= top_level(); level++) {
            if (is_f64)
                apply_n(f, 1, level, N, x, y, got);
            else
                apply_n(f, 0, level, N, xs, ys, gots);
            for (int i = 0; i < N; i++) {
                const long double g = is_f64 ? got[i] : gots[i];
                const long double want = is_f64 ? f->ref_l(x[i], y[i]) : f->ref(xs[i], ys[i]);
                const double e = math_error(g, want, is_f64, f->floor);
                if (!(e > worst[level].error)) continue;
                worst[level].error = e, worst[level].x = x[i], worst[level].y = y[i];
                worst[level].got = g, worst[level].want = want;
            }
        }
    }
    for (int level = TN_CPU_BASE; level <= top_level(); level++)
        CHECK_MSG(worst[level].error <= f->ulp[is_f64],
                  "%s %s level %d (%.17g, %.17g): expected %.17Lg, got %.17Lg, error %.3f ulp, "
                  "tolerance %g",
                  f->name, is_f64 ? "f64" : "f32", level, worst[level].x, worst[level].y,
                  worst[level].want, worst[level].got, worst[level].error, f->ulp[is_f64]);
}

/* References are computed in long double, which valgrind rounds to double; and its vectors give NaN
 * other signs. */
#define NEEDS_EXACT_REFERENCES()                                                                   \
    do {                                                                                           \
        if (getenv("TN_VALGRIND")) SKIP("valgrind computes long double as double");                \
    } while (0)

TEST(math, accuracy_f32)
{
    NEEDS_EXACT_REFERENCES();
    state = 1;
    for (int k = 0; k < MATH_N_FUNCTIONS; k++) check_accuracy(&math_functions[k], 0, 20);
}

TEST(math, accuracy_f64)
{
    NEEDS_EXACT_REFERENCES();
    state = 2;
    for (int k = 0; k < MATH_N_FUNCTIONS; k++) check_accuracy(&math_functions[k], 1, 10);
}

TEST(math, stays_in_range)
{
    static const char *const names[] = { "tanh", "erf", "sin", "cos", "sigmoid", "norm_cdf" };
    for (int k = 0; k < 6; k++) {
        const double least = k < 4 ? -1 : 0;
        for (int level = TN_CPU_BASE; level <= top_level(); level++)
            for (int i = -3000; i <= 3000; i++) {
                const double s = value(find(names[k]), 0, level, i * 0.01, 0),
                             d = value(find(names[k]), 1, level, i * 0.01, 0);
                CHECK_MSG(s >= least && s <= 1, "%s(%g): expected within [%g, 1], got %.17g",
                          names[k], i * 0.01, least, s);
                CHECK_MSG(d >= least && d <= 1, "%s(%g): expected within [%g, 1], got %.17g",
                          names[k], i * 0.01, least, d);
            }
    }
}

/* ---- the same bits --------------------------------------------------------------------------- */

TEST(math, fused_levels_agree)
{
    if (top_level() < TN_CPU_AVX512) SKIP("needs AVX-512");
    static double x[N], y[N], a[N], b[N];
    static float xs[N], ys[N], as[N], bs[N];
    state = 3;
    for (int k = 0; k < MATH_N_FUNCTIONS; k++) {
        const math_function *f = &math_functions[k];
        for (int i = 0; i < N; i++) {
            x[i] = sample(f, 1, i), y[i] = sample(f, 1, i / 3);
            xs[i] = (float)sample(f, 0, i), ys[i] = (float)sample(f, 0, i / 3);
        }
        apply_n(f, 1, TN_CPU_AVX2, N, x, y, a), apply_n(f, 1, TN_CPU_AVX512, N, x, y, b);
        apply_n(f, 0, TN_CPU_AVX2, N, xs, ys, as), apply_n(f, 0, TN_CPU_AVX512, N, xs, ys, bs);
        for (int i = 0; i < N; i++) {
            CHECK_MSG(!memcmp(&a[i], &b[i], sizeof a[i]) || (a[i] != a[i] && b[i] != b[i]),
                      "%s(%a, %a): avx2 %a, avx512 %a", f->name, x[i], y[i], a[i], b[i]);
            CHECK_MSG(!memcmp(&as[i], &bs[i], sizeof as[i]) || (as[i] != as[i] && bs[i] != bs[i]),
                      "%s(%a, %a): avx2 %a, avx512 %a", f->name, xs[i], ys[i], as[i], bs[i]);
        }
    }
}

/* A tail uses the body's formula, in place too, and nothing is written beyond it. */
TEST(math, any_length)
{
    static float xs[80], ys[80], alls[80], outs[80];
    static double x[80], y[80], all[80], out[80];
    state = 4;
    for (int k = 0; k < MATH_N_FUNCTIONS; k++) {
        const math_function *f = &math_functions[k];
        for (int i = 0; i < 80; i++) {
            xs[i] =
                (float)(x[i] = f->lo + (f->hi - f->lo) * (double)(random_bits() >> 11) * 0x1p-53);
            ys[i] =
                (float)(y[i] = f->lo + (f->hi - f->lo) * (double)(random_bits() >> 11) * 0x1p-53);
        }
        for (int level = TN_CPU_BASE; level <= top_level(); level++) {
            apply_n(f, 0, level, 80, xs, ys, alls), apply_n(f, 1, level, 80, x, y, all);
            for (int n = 0; n < 70; n += n < 4 ? 1 : 3) {
                memcpy(outs, xs, sizeof xs), memcpy(out, x, sizeof x);
                apply_n(f, 0, level, n, outs + 1, ys + 1, outs + 1),
                    apply_n(f, 1, level, n, out + 1, y + 1, out + 1);
                const size_t m = (size_t)n;
                CHECK_MSG(!memcmp(outs + 1, alls + 1, 4 * m) &&
                              !memcmp(outs + 1 + n, xs + 1 + n, 4 * (79 - m)),
                          "%s f32 level %d: %d elements in place differ from 80", f->name, level,
                          n);
                CHECK_MSG(!memcmp(out + 1, all + 1, 8 * m) &&
                              !memcmp(out + 1 + n, x + 1 + n, 8 * (79 - m)),
                          "%s f64 level %d: %d elements in place differ from 80", f->name, level,
                          n);
            }
        }
    }
}

/* ---- special values -------------------------------------------------------------------------- */

#define INF INFINITY
#define PI  3.14159265358979323846

/* clang-format off: a table, packed.
 * Values that hold to the bit in both types (after rounding to f32), the sign of zero included. */
static const struct {
    const char *name;
    double x, y, want;
} specials[] = {
    { "exp", 0, 0, 1 }, { "exp", -INF, 0, 0 }, { "exp", INF, 0, INF }, { "exp", NAN, 0, NAN },
    { "exp", 1000, 0, INF }, { "exp", -1000, 0, 0 }, { "exp2", 10, 0, 1024 },
    { "exp2", -126, 0, 0x1p-126 }, { "exp2", -149, 0, 0x1p-149 }, { "exp2", 1024, 0, INF },
    { "exp2", -INF, 0, 0 }, { "expm1", -0.0, 0, -0.0 }, { "expm1", -INF, 0, -1 },
    { "expm1", INF, 0, INF }, { "expm1", -100, 0, -1 }, { "expm1", 1e-40, 0, 1e-40 },
    { "expm1", NAN, 0, NAN }, { "log", 1, 0, 0 }, { "log", 0, 0, -INF }, { "log", -0.0, 0, -INF },
    { "log", -1, 0, NAN }, { "log", INF, 0, INF }, { "log", -INF, 0, NAN }, { "log", NAN, 0, NAN },
    { "log2", 0x1p-149, 0, -149 }, { "log2", 8, 0, 3 }, { "log2", 0, 0, -INF },
    { "log10", 1000, 0, 3 }, { "log10", 1, 0, 0 }, { "log10", -2, 0, NAN },
    { "log1p", -1, 0, -INF }, { "log1p", -2, 0, NAN }, { "log1p", -0.0, 0, -0.0 },
    { "log1p", INF, 0, INF }, { "log1p", 1e-40, 0, 1e-40 }, { "log1p", NAN, 0, NAN },
    { "sin", 0, 0, 0 }, { "sin", -0.0, 0, -0.0 }, { "sin", INF, 0, NAN }, { "sin", NAN, 0, NAN },
    { "sin", 1e-40, 0, 1e-40 }, { "cos", 0, 0, 1 }, { "cos", -INF, 0, NAN },
    { "tan", -0.0, 0, -0.0 }, { "tan", INF, 0, NAN }, { "asin", -0.0, 0, -0.0 },
    { "asin", 1, 0, PI / 2 }, { "asin", -1, 0, -PI / 2 }, { "asin", 1.5, 0, NAN },
    { "acos", 1, 0, 0 }, { "acos", -1, 0, PI }, { "acos", 0, 0, PI / 2 }, { "acos", -1.5, 0, NAN },
    { "acos", NAN, 0, NAN }, { "atan", -0.0, 0, -0.0 }, { "atan", INF, 0, PI / 2 },
    { "atan", -INF, 0, -PI / 2 }, { "atan", 1, 0, PI / 4 }, { "atan", 1e-40, 0, 1e-40 },
    { "atan", NAN, 0, NAN }, { "sinh", -0.0, 0, -0.0 }, { "sinh", INF, 0, INF },
    { "sinh", -800, 0, -INF }, { "sinh", NAN, 0, NAN }, { "cosh", 0, 0, 1 },
    { "cosh", -INF, 0, INF }, { "cosh", 800, 0, INF }, { "cosh", NAN, 0, NAN },
    { "tanh", -0.0, 0, -0.0 }, { "tanh", INF, 0, 1 }, { "tanh", -INF, 0, -1 },
    { "tanh", 1e-40, 0, 1e-40 }, { "tanh", NAN, 0, NAN }, { "asinh", -0.0, 0, -0.0 },
    { "asinh", -INF, 0, -INF }, { "asinh", NAN, 0, NAN }, { "acosh", 1, 0, 0 },
    { "acosh", 0.5, 0, NAN }, { "acosh", INF, 0, INF }, { "acosh", -INF, 0, NAN },
    { "acosh", NAN, 0, NAN }, { "atanh", 1, 0, INF }, { "atanh", -1, 0, -INF },
    { "atanh", 2, 0, NAN }, { "atanh", -0.0, 0, -0.0 }, { "atanh", NAN, 0, NAN },
    { "sigmoid", 0, 0, 0.5 }, { "sigmoid", INF, 0, 1 }, { "sigmoid", -INF, 0, 0 },
    { "sigmoid", NAN, 0, NAN }, { "erf", -0.0, 0, -0.0 }, { "erf", INF, 0, 1 },
    { "erf", -INF, 0, -1 }, { "erf", NAN, 0, NAN }, { "erfc", 0, 0, 1 }, { "erfc", INF, 0, 0 },
    { "erfc", -INF, 0, 2 }, { "erfc", NAN, 0, NAN }, { "sqrt", -0.0, 0, -0.0 },
    { "sqrt", -1, 0, NAN }, { "sqrt", INF, 0, INF }, { "sqrt", 0x1p-140, 0, 0x1p-70 },
    { "rsqrt", 4, 0, 0.5 }, { "rsqrt", 0, 0, INF }, { "rsqrt", INF, 0, 0 }, { "cbrt", -27, 0, -3 },
    { "cbrt", -0.0, 0, -0.0 }, { "cbrt", INF, 0, INF }, { "cbrt", 0x1p-147, 0, 0x1p-49 },
    { "cbrt", NAN, 0, NAN }, { "softplus", -INF, 0, 0 }, { "softplus", INF, 0, INF },
    { "softplus", 1000, 0, 1000 }, { "softplus", NAN, 0, NAN }, { "log_sigmoid", INF, 0, -0.0 },
    { "log_sigmoid", -INF, 0, -INF }, { "log_sigmoid", -1000, 0, -1000 }, { "silu", -INF, 0, -0.0 },
    { "silu", INF, 0, INF }, { "silu", 0, 0, 0 }, { "silu", NAN, 0, NAN },
    { "silu_grad", INF, 0, 1 }, { "silu_grad", -INF, 0, 0 }, { "silu_grad", 0, 0, 0.5 },
    { "silu_grad", NAN, 0, NAN }, { "norm_cdf", 0, 0, 0.5 }, { "norm_cdf", INF, 0, 1 },
    { "norm_cdf", -INF, 0, 0 }, { "norm_cdf", NAN, 0, NAN }, { "norm_pdf", INF, 0, 0 },
    { "norm_pdf", NAN, 0, NAN }, { "gelu", -INF, 0, -0.0 }, { "gelu", INF, 0, INF },
    { "gelu", -0.0, 0, -0.0 }, { "gelu", NAN, 0, NAN }, { "gelu_grad", INF, 0, 1 },
    { "gelu_grad", 0, 0, 0.5 }, { "gelu_grad", NAN, 0, NAN }, { "gelu_tanh", -INF, 0, -0.0 },
    { "gelu_tanh", INF, 0, INF }, { "gelu_tanh", NAN, 0, NAN }, { "gelu_tanh_grad", INF, 0, 1 },
    { "gelu_tanh_grad", 0, 0, 0.5 }, { "gelu_tanh_grad", NAN, 0, NAN }, { "round", 0.5, 0, 0 },
    { "round", 1.5, 0, 2 }, { "round", 2.5, 0, 2 }, { "round", -0.5, 0, -0.0 },
    { "round", -1.5, 0, -2 }, { "round", 8388607.5, 0, 8388608 }, { "round", 1e30, 0, 1e30 },
    { "round", -INF, 0, -INF }, { "round", NAN, 0, NAN }, { "floor", -0.0, 0, -0.0 },
    { "floor", -0.25, 0, -1 }, { "floor", 0.75, 0, 0 }, { "floor", 1e30, 0, 1e30 },
    { "floor", INF, 0, INF }, { "ceil", -0.25, 0, -0.0 }, { "ceil", 0.25, 0, 1 },
    { "ceil", 1e-40, 0, 1 }, { "ceil", NAN, 0, NAN }, { "trunc", -0.75, 0, -0.0 },
    { "trunc", -1.75, 0, -1 }, { "trunc", 1.75, 0, 1 }, { "trunc", -INF, 0, -INF },
    { "abs", -0.0, 0, 0 }, { "abs", -INF, 0, INF }, { "abs", NAN, 0, NAN },
    { "sign", -0.0, 0, -0.0 }, { "sign", -INF, 0, -1 }, { "sign", 1e-40, 0, 1 },
    { "sign", NAN, 0, NAN }, { "min", NAN, 1, NAN }, { "min", 1, NAN, NAN },
    { "min", -INF, 1, -INF }, { "min", 2, 1, 1 }, { "max", NAN, 1, NAN }, { "max", 1, NAN, NAN },
    { "max", -INF, 1, 1 }, { "max", 2, 1, 2 }, { "copysign", 3, -0.0, -3 },
    { "copysign", -INF, 1, INF }, { "copysign", 0, -1, -0.0 },
    { "pow", 2, 0.5, 1.41421356237309504880 }, { "pow", -2, 3, -8 }, { "pow", -2, 2, 4 },
    { "pow", -2, 0.5, NAN }, { "pow", 3, 4, 81 }, { "pow", 0, 0, 1 }, { "pow", NAN, 0, 1 },
    { "pow", 1, NAN, 1 }, { "pow", NAN, 1, NAN }, { "pow", 2, NAN, NAN }, { "pow", -1, INF, 1 },
    { "pow", -1, -INF, 1 }, { "pow", 0, -1, INF }, { "pow", -0.0, -1, -INF },
    { "pow", -0.0, -2, INF }, { "pow", -0.0, 3, -0.0 }, { "pow", -0.0, 0.5, 0 },
    { "pow", 0, INF, 0 }, { "pow", 0, -INF, INF }, { "pow", 0.5, INF, 0 },
    { "pow", 0.5, -INF, INF }, { "pow", 2, INF, INF }, { "pow", 2, -INF, 0 },
    { "pow", INF, 0.5, INF }, { "pow", INF, -1, 0 }, { "pow", -INF, 3, -INF },
    { "pow", -INF, -3, -0.0 }, { "pow", -INF, 0.5, INF }, { "pow", -INF, 2, INF },
    { "pow", 2, 5000, INF }, { "pow", 2, -5000, 0 }, { "pow", -2, 5001, -INF },
    { "pow", -2, -5001, -0.0 }, { "pow", 2, -149, 0x1p-149 }, { "atan2", 0, 1, 0 },
    { "atan2", -0.0, 1, -0.0 }, { "atan2", 0, -1, PI }, { "atan2", -0.0, -1, -PI },
    { "atan2", 0, 0, 0 }, { "atan2", -0.0, 0, -0.0 }, { "atan2", 0, -0.0, PI },
    { "atan2", -0.0, -0.0, -PI }, { "atan2", 1, 0, PI / 2 }, { "atan2", -1, -0.0, -PI / 2 },
    { "atan2", INF, INF, PI / 4 }, { "atan2", INF, -INF, 3 * PI / 4 },
    { "atan2", -INF, -INF, -3 * PI / 4 }, { "atan2", 1, INF, 0 }, { "atan2", -1, -INF, -PI },
    { "atan2", INF, 1, PI / 2 }, { "atan2", NAN, 1, NAN }, { "atan2", 1, NAN, NAN },
    { "atan2", 1e38, 1e38, PI / 4 }, { "hypot", 3, -4, 5 }, { "hypot", 0, 0, 0 },
    { "hypot", INF, NAN, INF }, { "hypot", NAN, -INF, INF }, { "hypot", NAN, 1, NAN },
    { "hypot", 0x1p-140, 0, 0x1p-140 }, { "hypot", 0x3p126, 0x4p125, 0x3.9b05688c2b3e6cp126 },
    { "hypot", 1, 0, 1 }, { "logaddexp", -INF, -INF, -INF }, { "logaddexp", INF, INF, INF },
    { "logaddexp", INF, -INF, INF }, { "logaddexp", 3, -INF, 3 }, { "logaddexp", NAN, 1, NAN },
    { "logaddexp", 1, NAN, NAN }, { "logaddexp", -1000, 1000, 1000 }, { "fmod", 5.5, 2, 1.5 },
    { "fmod", -5.5, 2, -1.5 }, { "fmod", 5.5, -2, 1.5 }, { "fmod", -4, 2, -0.0 },
    { "fmod", 1, INF, 1 }, { "fmod", INF, 1, NAN }, { "fmod", 1, 0, NAN }, { "fmod", NAN, 1, NAN },
    { "fmod", 0x1p120, 3, 1 }, { "fmod", 0x1p-149, 1, 0x1p-149 }, { "remainder", 5.5, 2, 1.5 },
    { "remainder", -5.5, 2, 0.5 }, { "remainder", 5.5, -2, -0.5 }, { "remainder", -4, 2, 0 },
    { "remainder", 4, -2, -0.0 }, { "remainder", 1, 0, NAN }, { "remainder", -1, INF, INF },
    { "remainder", 1, NAN, NAN },
};
/* clang-format on */

TEST(math, special_values)
{
    NEEDS_EXACT_REFERENCES();
    for (size_t k = 0; k < sizeof specials / sizeof *specials; k++)
        for (int is_f64 = 0; is_f64 < 2; is_f64++)
            for (int level = TN_CPU_BASE; level <= top_level(); level++) {
                const double got =
                    value(find(specials[k].name), is_f64, level, specials[k].x, specials[k].y);
                const double want = is_f64 ? specials[k].want : (float)specials[k].want;
                CHECK_MSG((got != got && want != want) ||
                              (got == want && !signbit(got) == !signbit(want)),
                          "%s %s level %d (%g, %g): expected %.17g, got %.17g", specials[k].name,
                          is_f64 ? "f64" : "f32", level, specials[k].x, specials[k].y, want, got);
            }
}

TN_SPAN(is_nan, tn__isnan(x))
TN_SPAN(is_inf, tn__isinf(x))
TN_SPAN(is_finite, tn__isfinite(x))

TEST(math, classes)
{
    const float x[] = { NAN, -NAN, INF, -INF, 0, -0.0f, 1e-45f, 3e38f };
    float nan[8], inf[8], finite[8];
    for (int level = TN_CPU_BASE; level <= top_level(); level++) {
        is_nan_span.fn[TN_F32][level](&(tn_span_args){ .n = 8, .in = { x, x, x }, .out = { nan } });
        is_inf_span.fn[TN_F32][level](&(tn_span_args){ .n = 8, .in = { x, x, x }, .out = { inf } });
        is_finite_span.fn[TN_F32][level](
            &(tn_span_args){ .n = 8, .in = { x, x, x }, .out = { finite } });
        for (int i = 0; i < 8; i++) {
            CHECK_INT(nan[i], i < 2);
            CHECK_INT(inf[i], i == 2 || i == 3);
            CHECK_INT(finite[i], i > 3);
        }
    }
}

/* ---- hard arguments ---------------------------------------------------------------------- */

/* One function on arguments made for it, against long double, at every level. */
static void check_hard(const char *name, const double *x, const double *y)
{
    static double got[N];
    const math_function *f = find(name);
    for (int level = TN_CPU_BASE; level <= top_level(); level++) {
        apply_n(f, 1, level, N, x, y, got);
        for (int i = 0; i < N; i++) {
            const long double want = f->ref_l(x[i], y[i]);
            const double e = math_error(got[i], want, 1, 0);
            CHECK_MSG(e <= f->ulp[1],
                      "%s level %d (%a, %a): expected %.17Lg, got %.17g, error %.3f ulp", name,
                      level, x[i], y[i], want, got[i], e);
        }
    }
}

static double uniform(void) { return (double)(random_bits() >> 11) * 0x1p-52 - 1; } /* [-1, 1) */

/* x near 1 and y so large that the power fills the range: the logarithm needs more than 53 bits. */
TEST(math, pow_near_one)
{
    NEEDS_EXACT_REFERENCES();
    static double x[N], y[N];
    state = 5;
    for (int i = 0; i < N; i++) {
        x[i] = 1 + ldexp(uniform(), -1 - i % 45);
        y[i] = uniform() * 740 / log(x[i]);
    }
    check_hard("pow", x, y);
}

/* Next to multiples of pi / 2, where the reduction cancels. */
TEST(math, trigonometry_near_multiples)
{
    static double x[N];
    state = 6;
    for (int i = 0; i < N; i++)
        x[i] = (double)(1.57079632679489661923L * (long double)(random_bits() >> (20 + i % 43)));
    check_hard("sin", x, x), check_hard("cos", x, x), check_hard("tan", x, x);
}

TEST(math, remainders_of_every_quotient)
{
    static double x[N], y[N];
    state = 7;
    for (int i = 0; i < N; i++) {
        x[i] = ldexp(uniform(), (int)(random_bits() % 1000) - 500);
        y[i] = x[i] * ldexp(uniform(), -(i % 60));
    }
    check_hard("fmod", x, y), check_hard("remainder", x, y);
    for (int i = 0; i < N; i++) y[i] = ldexp(uniform(), (int)(random_bits() % 2000) - 1000);
    check_hard("fmod", x, y);
}

/* ---- far arguments --------------------------------------------------------------------------- */

/* Nearest to a multiple of pi / 2 of all doubles (Muller, Elementary Functions, 2006), 10^22, which
 * is a known trap, the edges of the near part, the largest. */
TEST(math, trigonometry_far)
{
    static const double x[] = { 6381956970095103.0 * 0x1p797,
                                1e22,
                                0x1p45,
                                0x1.0000000000001p45,
                                0x1.fffffffffffffp44,
                                -0x1p46,
                                0x1p120,
                                -0x1p52,
                                0x1p53,
                                1.7976931348623157e308 };
    static const char *const names[] = { "sin", "cos", "tan" };
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 10; i++)
            for (int level = TN_CPU_BASE; level <= top_level(); level++) {
                const math_function *f = find(names[k]);
                const long double want = f->ref_l(x[i], 0);
                const double got = value(f, 1, level, x[i], 0);
                CHECK_MSG(math_error(got, want, 1, 0) <= f->ulp[1],
                          "%s(%a): expected %.17Lg, got %.17g", names[k], x[i], want, got);
            }
    CHECK_NEAR(value(find("sin"), 1, TN_CPU_BASE, 1e22, 0), -0.8522008497671888017727, 1e-16);
    CHECK_NEAR(value(find("cos"), 1, TN_CPU_BASE, 6381956970095103.0 * 0x1p797, 0),
               -4.68716592425462761112e-19, 1e-34);
}

/* One far element leaves the others of its block as they were. */
TEST(math, far_beside_near)
{
    double x[40], near[40], both[40];
    for (int i = 0; i < 40; i++) x[i] = i * 0.37 - 5;
    for (int level = TN_CPU_BASE; level <= top_level(); level++) {
        x[20] = 1;
        apply_n(find("sin"), 1, level, 40, x, x, near);
        x[20] = 1e300;
        apply_n(find("sin"), 1, level, 40, x, x, both);
        near[20] = both[20];
        CHECK(!memcmp(near, both, sizeof near));
        CHECK_NEAR(both[20], sin(1e300), 1e-15);
    }
}

TEST_MAIN
