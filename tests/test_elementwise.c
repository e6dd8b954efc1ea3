/* Elementwise ops where the op table's random samples do not go: special values, edges of
 * gradients, casts, wrapping integers, exact remainders, broadcasting by hand, what is refused. */
#include "check.h"

#include "autograd/ops.h"
#include "tensor/half.h"
#include "tensor/random.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* ---- a graph to try things in ---------------------------------------------------------------- */

typedef struct trial {
    tn_ctx *ctx;
    tn_graph *g;
} trial;

static trial trial_at(tn_cpu_level level)
{
    trial t = {.ctx = tn_ctx_new(&(tn_ctx_options){.threads = 2, .cpu = level})};
    t.g = tn_graph_new(t.ctx, TN_TRAIN);
    return t;
}

static trial trial_new(void) { return trial_at(TN_CPU_AUTO); }

static void trial_end(trial *t)
{
    CHECK_STR(tn_error(t->ctx), "");
    tn_graph_free(t->g), tn_ctx_free(t->ctx);
}

static void store(tn_dtype d, void *p, int64_t i, double v)
{
    switch (d) {
    case TN_F32: ((float *)p)[i] = (float)v; break;
    case TN_F64: ((double *)p)[i] = v; break;
    case TN_I32: ((int32_t *)p)[i] = (int32_t)v; break;
    case TN_I64: ((int64_t *)p)[i] = (int64_t)v; break;
    case TN_F16: ((uint16_t *)p)[i] = tn_f16_from_f32((float)v); break;
    case TN_BF16: ((uint16_t *)p)[i] = tn_bf16_from_f32((float)v); break;
    default: ((uint8_t *)p)[i] = (uint8_t)v; break;
    }
}

static double load(tn_dtype d, const void *p, int64_t i)
{
    switch (d) {
    case TN_F32: return ((const float *)p)[i];
    case TN_F64: return ((const double *)p)[i];
    case TN_I32: return ((const int32_t *)p)[i];
    case TN_I64: return (double)((const int64_t *)p)[i];
    case TN_F16: return tn_f32_from_f16(((const uint16_t *)p)[i]);
    case TN_BF16: return tn_f32_from_bf16(((const uint16_t *)p)[i]);
    default: return ((const uint8_t *)p)[i];
    }
}

/* A constant of any shape from doubles. */
__attribute__((noinline)) static tn_node *constant(trial *t, tn_dtype d, tn_shape s,
                                                   const double *v)
{
    int64_t n = tn_shape_size(&s);
    void *data = malloc((size_t)n * 8 + 1);
    for (int64_t i = 0; i < n; i++) store(d, data, i, v[i]);
    tn_node *x = tn_constant(t->g, d, s, data);
    free(data);
    return x;
}

#define VECTOR(t, d, ...)                                                                          \
    constant(t, d, tn_shape_of(1, (int64_t[]){COUNT(((double[]){__VA_ARGS__}))}),                  \
             (double[]){__VA_ARGS__})

/* Equal, zeros by their signs too, both NaN, or within a tolerance relative to max(1, |want|). */
static bool is_like(double got, double want, double tolerance)
{
    if (isnan(want)) return isnan(got);
    if (got == want) return want != 0 || signbit(got) == signbit(want) || tolerance > 0;
    return fabs(got - want) <= tolerance * fmax(1, fabs(want));
}

static void expect_at(int line, const char *what, tn_node *y, const double *want, int n,
                      double tolerance)
{
    if (!y) {
        check_fail(__FILE__, line, "%s: no node", what);
        return;
    }
    tn_type type = tn_node_type(y);
    int64_t size = tn_shape_size(&type.shape);
    size_t bytes = (size_t)size * tn_dtype_size(type.dtype);
    void *got = malloc(bytes + 1);
    CHECK_MSG(size == n, "line %d: %s: expected %d elements, got %lld", line, what, n,
              (long long)size);
    if (tn_eval(y, got, bytes) != TN_OK)
        check_fail(__FILE__, line, "%s: %s", what, tn_error(tn_node_ctx(y)));
    else
        for (int64_t i = 0; i < size && i < n; i++) {
            double g = load(type.dtype, got, i);
            if (!is_like(g, want[i], tolerance))
                check_fail(__FILE__, line, "%s [%d], %s: expected %.17g, got %.17g, tolerance %g",
                           what, (int)i, tn_dtype_name(type.dtype), want[i], g, tolerance);
        }
    free(got);
}
#define EXPECT_NEAR(y, tolerance, ...)                                                             \
    expect_at(__LINE__, #y, y, (double[]){__VA_ARGS__}, COUNT(((double[]){__VA_ARGS__})), tolerance)
#define EXPECT(y, ...) EXPECT_NEAR(y, 0, __VA_ARGS__)

/* d sum(y) / dx */
static tn_node *grad(tn_node *y, tn_node *x)
{
    tn_node *dx = NULL;
    tn_grad(y, tn_full_like(y, 1), &x, 1, &dx);
    return dx;
}

/* The call failed with this status and these words; the context is clear again. */
#define REFUSED(t, call, status, words)                                                            \
    do {                                                                                           \
        CHECK_MSG(!(call), "%s: expected NULL", #call);                                            \
        CHECK_STR(tn_status_text(tn_ctx_status((t)->ctx)), tn_status_text(status));                \
        CHECK_CONTAINS(tn_error((t)->ctx), words);                                                 \
        tn_clear_error((t)->ctx);                                                                  \
    } while (0)

/* ---- special values -------------------------------------------------------------------------- */

#define PI  3.14159265358979323846
#define LN2 0.69314718055994530942
#define ANY 12345 /* not checked: an infinity times a zero, which may be taken either way */

TEST(elementwise, special_values)
{
    if (getenv("TN_VALGRIND")) SKIP("valgrind computes vectors with NaN and -0 in another way");
    static const struct {
        const char *name;
        tn_node *(*f)(tn_node *);
        double neg_zero, inf, neg_inf;
    } rows[] = {
#define ROW(f, a, b, c) {#f, tn_##f, a, b, c}
        ROW(neg, 0, -INFINITY, INFINITY),
        ROW(abs, 0, INFINITY, INFINITY),
        ROW(sign, -0.0, 1, -1),
        ROW(reciprocal, -INFINITY, 0, -0.0),
        ROW(square, 0, INFINITY, INFINITY),
        ROW(sqrt, -0.0, INFINITY, NAN),
        ROW(rsqrt, -INFINITY, 0, NAN),
        ROW(cbrt, -0.0, INFINITY, -INFINITY),
        ROW(exp, 1, INFINITY, 0),
        ROW(exp2, 1, INFINITY, 0),
        ROW(expm1, -0.0, INFINITY, -1),
        ROW(log, -INFINITY, INFINITY, NAN),
        ROW(log2, -INFINITY, INFINITY, NAN),
        ROW(log10, -INFINITY, INFINITY, NAN),
        ROW(log1p, -0.0, INFINITY, NAN),
        ROW(sin, -0.0, NAN, NAN),
        ROW(cos, 1, NAN, NAN),
        ROW(tan, -0.0, NAN, NAN),
        ROW(asin, -0.0, NAN, NAN),
        ROW(acos, PI / 2, NAN, NAN),
        ROW(atan, -0.0, PI / 2, -PI / 2),
        ROW(sinh, -0.0, INFINITY, -INFINITY),
        ROW(cosh, 1, INFINITY, INFINITY),
        ROW(tanh, -0.0, 1, -1),
        ROW(asinh, -0.0, INFINITY, -INFINITY),
        ROW(acosh, NAN, INFINITY, NAN),
        ROW(atanh, -0.0, NAN, NAN),
        ROW(erf, -0.0, 1, -1),
        ROW(erfc, 1, 0, 2),
        ROW(floor, -0.0, INFINITY, -INFINITY),
        ROW(ceil, -0.0, INFINITY, -INFINITY),
        ROW(round, -0.0, INFINITY, -INFINITY),
        ROW(trunc, -0.0, INFINITY, -INFINITY),
        ROW(frac, 0, NAN, NAN),
        ROW(relu, -0.0, INFINITY, 0),
        ROW(relu6, -0.0, 6, 0),
        ROW(selu, -0.0, INFINITY, -1.7580993408473766),
        ROW(gelu, -0.0, INFINITY, ANY),
        ROW(gelu_tanh, -0.0, INFINITY, ANY),
        ROW(sigmoid, 0.5, 1, 0),
        ROW(log_sigmoid, -LN2, -0.0, -INFINITY),
        ROW(softplus, LN2, INFINITY, 0),
        ROW(silu, -0.0, INFINITY, ANY),
        ROW(mish, -0.0, INFINITY, ANY),
        ROW(hard_sigmoid, 0.5, 1, 0),
        ROW(hard_swish, -0.0, INFINITY, 0),
        ROW(hard_tanh, -0.0, 1, -1),
        ROW(softsign, -0.0, NAN, NAN),
#undef ROW
    };
    for (tn_cpu_level level = TN_CPU_BASE; level <= tn_cpu_detect(); level++)
        for (int wide = 0; wide < 2; wide++) {
            trial t = trial_at(level);
            double x[37]; /* each value in the vector body and in the tail */
            for (int i = 0; i < 37; i++) x[i] = (double[]){-0.0, INFINITY, -INFINITY, NAN}[i % 4];
            tn_node *v = constant(&t, wide ? TN_F64 : TN_F32, TN_SHAPE(37), x);
            for (int r = 0; r < COUNT(rows); r++) {
                double got[37], tolerance = wide ? 1e-15 : 1e-6;
                tn_node *y = tn_cast(rows[r].f(v), TN_F64);
                if (tn_eval(y, got, sizeof got) != TN_OK) {
                    check_fail(__FILE__, __LINE__, "%s: %s", rows[r].name, tn_error(t.ctx));
                    break;
                }
                for (int i = 0; i < 37; i++) {
                    double want =
                        (double[]){rows[r].neg_zero, rows[r].inf, rows[r].neg_inf, NAN}[i % 4];
                    bool ok = want == ANY || is_like(got[i], want, want == 0 ? 0 : tolerance);
                    CHECK_MSG(ok,
                              "%s(%g), %s at %s, element %d: expected %g, got %.17g, tolerance %g",
                              rows[r].name, x[i], wide ? "f64" : "f32", tn_cpu_level_name(level), i,
                              want, got[i], tolerance);
                }
            }
            trial_end(&t);
        }
}

TEST(elementwise, two_operand_special_values)
{
    for (tn_cpu_level level = TN_CPU_BASE; level <= tn_cpu_detect(); level++)
        for (tn_dtype d = TN_F32; d <= TN_F64; d++) {
            trial t = trial_at(level);
            tn_node *x = VECTOR(&t, d, NAN, 1, NAN, INFINITY, -INFINITY, 2);
            tn_node *y = VECTOR(&t, d, 1, NAN, NAN, INFINITY, INFINITY, 2);
            EXPECT(tn_maximum(x, y), NAN, NAN, NAN, INFINITY, INFINITY, 2);
            EXPECT(tn_minimum(x, y), NAN, NAN, NAN, INFINITY, -INFINITY, 2);
            EXPECT(tn_logaddexp(VECTOR(&t, d, -INFINITY, INFINITY, INFINITY, -INFINITY, NAN),
                                VECTOR(&t, d, -INFINITY, INFINITY, -INFINITY, 3, 1)),
                   -INFINITY, INFINITY, INFINITY, 3, NAN);
            EXPECT_NEAR(tn_logaddexp(VECTOR(&t, d, 0, 1000, -1000), VECTOR(&t, d, 0, 1000, -1000)),
                        1e-6, LN2, 1000 + LN2, -1000 + LN2);
            EXPECT(tn_copysign(VECTOR(&t, d, 1, -2, 0, NAN), VECTOR(&t, d, -0.0, 3, -1, -1)), -1, 2,
                   -0.0, NAN);
            EXPECT(tn_pow(VECTOR(&t, d, 0, 0, -0.0, -2, -2, -8, 2, 1, NAN, INFINITY),
                          VECTOR(&t, d, 0, -1, 3, 2, 3, 0.5, -2, NAN, 0, -1)),
                   1, INFINITY, -0.0, 4, -8, NAN, 0.25, 1, 1, 0);
            EXPECT_NEAR(tn_atan2(VECTOR(&t, d, 0, 0, 1, -1, INFINITY, 1),
                                 VECTOR(&t, d, 1, -1, 0, 0, INFINITY, INFINITY)),
                        2e-7, 0, PI, PI / 2, -PI / 2, PI / 4, 0);
            EXPECT_NEAR(tn_hypot(VECTOR(&t, d, 3, 0, INFINITY, 3e30), VECTOR(&t, d, 4, 0, 1, 4e30)),
                        1e-6, 5, 0, INFINITY, 5e30);
            EXPECT(tn_div(VECTOR(&t, d, 1, -1, 0), VECTOR(&t, d, 0, 0, 0)), INFINITY, -INFINITY,
                   NAN);
            EXPECT(tn_scale(VECTOR(&t, d, -0.0, 0, 3), 2), -0.0, 0, 6);
            EXPECT(tn_clamp(VECTOR(&t, d, NAN, -INFINITY, INFINITY, 0.5), -1, 1), NAN, -1, 1, 0.5);
            EXPECT(tn_isnan(x), 1, 0, 1, 0, 0, 0);
            EXPECT(tn_isinf(x), 0, 0, 0, 1, 1, 0);
            EXPECT(tn_isfinite(x), 0, 1, 0, 0, 0, 1);
            EXPECT(tn_eq(x, y), 0, 0, 0, 1, 0, 1);
            EXPECT(tn_ne(x, y), 1, 1, 1, 0, 1, 0);
            EXPECT(tn_le(x, y), 0, 0, 0, 1, 1, 1);
            EXPECT(tn_gt(x, y), 0, 0, 0, 0, 0, 0);
            trial_end(&t);
        }
}

TEST(elementwise, rounding_halves)
{
    for (tn_cpu_level level = TN_CPU_BASE; level <= tn_cpu_detect(); level++)
        for (tn_dtype d = TN_F32; d <= TN_F64; d++) {
            trial t = trial_at(level);
            tn_node *x = VECTOR(&t, d, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 8388607.5, -0.25, 0x1p100);
            EXPECT(tn_round(x), -2, -2, -0.0, 0, 2, 2, 8388608, -0.0, 0x1p100);
            EXPECT(tn_floor(VECTOR(&t, d, -2.5, -0.25, 2.75, 3)), -3, -1, 2, 3);
            EXPECT(tn_ceil(VECTOR(&t, d, -2.5, -0.25, 2.25, 3)), -2, -0.0, 3, 3);
            EXPECT(tn_trunc(VECTOR(&t, d, -2.5, -0.25, 2.75, 3)), -2, -0.0, 2, 3);
            EXPECT(tn_frac(VECTOR(&t, d, -2.5, 2.75, 3)), -0.5, 0.75, 0);
            trial_end(&t);
        }
}

/* ---- integers -------------------------------------------------------------------------------- */

TEST(elementwise, integers_wrap_around)
{
    trial t = trial_new();
    int32_t a[] = {INT32_MAX, INT32_MIN, 65536, -7}, b[] = {1, -1, 65536, 3}, got[4];
    int64_t c[] = {INT64_MAX, INT64_MIN, INT64_C(1) << 32, -7}, e[] = {1, -1, INT64_C(1) << 32, 3},
            big[4];
    tn_node *x = tn_constant(t.g, TN_I32, TN_SHAPE(4), a),
            *y = tn_constant(t.g, TN_I32, TN_SHAPE(4), b);
    tn_node *u = tn_constant(t.g, TN_I64, TN_SHAPE(4), c),
            *v = tn_constant(t.g, TN_I64, TN_SHAPE(4), e);
#define EXPECT_I32(node, ...)                                                                      \
    do {                                                                                           \
        REQUIRE(tn_eval(node, got, sizeof got) == TN_OK);                                          \
        for (int i = 0; i < 4; i++) CHECK_INT(got[i], ((int64_t[]){__VA_ARGS__})[i]);              \
    } while (0)
#define EXPECT_I64(node, ...)                                                                      \
    do {                                                                                           \
        REQUIRE(tn_eval(node, big, sizeof big) == TN_OK);                                          \
        for (int i = 0; i < 4; i++) CHECK_INT(big[i], ((int64_t[]){__VA_ARGS__})[i]);              \
    } while (0)
    EXPECT_I32(tn_add(x, y), INT32_MIN, INT32_MAX, 131072, -4);
    EXPECT_I32(tn_sub(y, x), INT32_MIN + 2, INT32_MAX, 0, 10);
    EXPECT_I32(tn_mul(x, y), INT32_MAX, INT32_MIN, 0, -21);
    EXPECT_I32(tn_neg(x), -INT32_MAX, INT32_MIN, -65536, 7);
    EXPECT_I32(tn_abs(x), INT32_MAX, INT32_MIN, 65536, 7);
    EXPECT_I32(tn_square(x), 1, 0, 0, 49);
    EXPECT_I32(tn_sign(x), 1, -1, 1, -1);
    EXPECT_I32(tn_maximum(x, y), INT32_MAX, -1, 65536, 3);
    EXPECT_I32(tn_minimum(x, y), 1, INT32_MIN, 65536, -7);
    EXPECT_I32(tn_affine(x, -2, 1), 3, 1, -131071, 15);
    EXPECT_I64(tn_add(u, v), INT64_MIN, INT64_MAX, INT64_C(1) << 33, -4);
    EXPECT_I64(tn_mul(u, v), INT64_MAX, INT64_MIN, 0, -21);
    EXPECT_I64(tn_abs(u), INT64_MAX, INT64_MIN, INT64_C(1) << 32, 7);
    EXPECT_I64(tn_maximum(u, v), INT64_MAX, -1, INT64_C(1) << 32, 3);
    EXPECT_I64(tn_add_scalar(u, -1), INT64_MAX - 1, INT64_MAX, (INT64_C(1) << 32) - 1, -8);
    trial_end(&t);
}

/* ---- casts ----------------------------------------------------------------------------------- */

TEST(elementwise, casts)
{
    static const struct {
        tn_dtype from;
        double x;
        tn_dtype to;
        double want;
    } rows[] = {
        {TN_F32,  2.75,           TN_I32,  2             },
        {TN_F32,  -2.75,          TN_I32,  -2            },
        {TN_F32,  NAN,            TN_I32,  0             },
        {TN_F32,  1e20,           TN_I32,  INT32_MAX     },
        {TN_F32,  -1e20,          TN_I32,  INT32_MIN     },
        {TN_F32,  -INFINITY,      TN_I64,  -0x1p63       },
        {TN_F64,  1e300,          TN_I64,  0x1p63        },
        {TN_F64,  2147483647.5,   TN_I32,  INT32_MAX     },
        {TN_F64,  -0.9,           TN_I32,  0             },
        {TN_F64,  1e15 + 0.5,     TN_I64,  1e15          },
        {TN_F64,  NAN,            TN_I64,  0             },
        {TN_F64,  300,            TN_U8,   255           },
        {TN_F64,  -3,             TN_U8,   0             },
        {TN_F32,  254.9,          TN_U8,   254           },
        {TN_F32,  NAN,            TN_U8,   0             },
        {TN_F32,  -0.0,           TN_BOOL, 0             },
        {TN_F32,  0.1,            TN_BOOL, 1             },
        {TN_F64,  NAN,            TN_BOOL, 1             },
        {TN_F64,  1e-320,         TN_BOOL, 1             },
        {TN_F64,  0.1,            TN_F32,  0.1f          },
        {TN_F64,  1e300,          TN_F32,  INFINITY      },
        {TN_F32,  0.1f,           TN_F64,  0.1f          },
        {TN_F32,  -0.0,           TN_F64,  -0.0          },
        {TN_F64,  -NAN,           TN_F32,  NAN           },
        {TN_F32,  1 + 0x1p-11,    TN_F16,  1             },
        {TN_F32,  65519,          TN_F16,  65504         },
        {TN_F32,  65520,          TN_F16,  INFINITY      },
        {TN_F64,  0x1p-25,        TN_F16,  0             },
        {TN_F64,  0x3p-25,        TN_F16,  0x1p-23       },
        {TN_F32,  NAN,            TN_F16,  NAN           },
        {TN_F32,  1 + 0x1p-8,     TN_BF16, 1             },
        {TN_F64,  1 + 0x3p-8,     TN_BF16, 1 + 0x1p-6    },
        {TN_F64,  1e39,           TN_BF16, INFINITY      },
        {TN_F16,  0.333251953125, TN_F32,  0.333251953125},
        {TN_F16,  -INFINITY,      TN_F64,  -INFINITY     },
        {TN_F16,  2.5,            TN_I32,  2             },
        {TN_F16,  NAN,            TN_I64,  0             },
        {TN_F16,  -7,             TN_U8,   0             },
        {TN_F16,  0x1p-24,        TN_BOOL, 1             },
        {TN_F16,  3,              TN_BF16, 3             },
        {TN_BF16, -1.5,           TN_F16,  -1.5          },
        {TN_BF16, 1e38,           TN_F32,  0x1.2cp126    },
        {TN_BF16, 1e10,           TN_I32,  INT32_MAX     },
        {TN_BF16, NAN,            TN_F64,  NAN           },
        {TN_I32,  -1,             TN_U8,   255           },
        {TN_I32,  257,            TN_U8,   1             },
        {TN_I32,  -5,             TN_BOOL, 1             },
        {TN_I32,  0,              TN_BOOL, 0             },
        {TN_I32,  INT32_MIN,      TN_I64,  INT32_MIN     },
        {TN_I32,  16777217,       TN_F32,  16777216      },
        {TN_I32,  16777217,       TN_F64,  16777217      },
        {TN_I32,  2049,           TN_F16,  2048          },
        {TN_I32,  100000,         TN_F16,  INFINITY      },
        {TN_I64,  4294967297,     TN_I32,  1             },
        {TN_I64,  2147483648,     TN_I32,  INT32_MIN     },
        {TN_I64,  -1,             TN_F32,  -1            },
        {TN_I64,  4294967296,     TN_BOOL, 1             },
        {TN_I64,  4294967296,     TN_U8,   0             },
        {TN_I64,  257,            TN_BF16, 256           },
        {TN_U8,   200,            TN_I32,  200           },
        {TN_U8,   200,            TN_F32,  200           },
        {TN_U8,   7,              TN_BOOL, 1             },
        {TN_U8,   255,            TN_F16,  255           },
        {TN_U8,   255,            TN_BF16, 255           },
        {TN_U8,   255,            TN_I64,  255           },
        {TN_BOOL, 1,              TN_F32,  1             },
        {TN_BOOL, 1,              TN_F64,  1             },
        {TN_BOOL, 0,              TN_I64,  0             },
        {TN_BOOL, 1,              TN_U8,   1             },
        {TN_BOOL, 1,              TN_F16,  1             },
        {TN_BOOL, 1,              TN_BF16, 1             },
    };
    for (tn_cpu_level level = TN_CPU_BASE; level <= tn_cpu_detect(); level++) {
        trial t = trial_at(level);
        for (int r = 0; r < COUNT(rows); r++) {
            enum { N = 1100 }; /* more than two blocks of the casts by way of another dtype */
            double x[N];
            for (int i = 0; i < N; i++) x[i] = rows[r].x;
            tn_node *y = tn_cast(constant(&t, rows[r].from, TN_SHAPE(N), x), rows[r].to);
            CHECK_INT(tn_node_dtype(y), rows[r].to);
            char data[N * 8];
            REQUIRE(tn_eval(y, data, N * tn_dtype_size(rows[r].to)) == TN_OK);
            for (int i = 0; i < N; i++) {
                double got = load(rows[r].to, data, i);
                if (is_like(got, rows[r].want, 0)) continue;
                check_fail(__FILE__, __LINE__,
                           "%s %.17g to %s at %s, element %d: expected %.17g, got %.17g",
                           tn_dtype_name(rows[r].from), rows[r].x, tn_dtype_name(rows[r].to),
                           tn_cpu_level_name(level), i, rows[r].want, got);
                break;
            }
        }
        trial_end(&t);
    }
}

TEST(elementwise, cast_gradients)
{
    trial t = trial_new();
    tn_node *x = VECTOR(&t, TN_F64, 1, 2, 3);
    EXPECT(grad(tn_scale(tn_cast(x, TN_F32), 3), x), 3, 3, 3);
    EXPECT(grad(tn_cast(tn_cast(x, TN_F16), TN_F64), x), 1, 1, 1);
    CHECK(tn_cast(x, TN_F64) == x);
    /* no gradient through integers */
    tn_node *dx = NULL, *whole = tn_cast(tn_cast(x, TN_I32), TN_F64);
    CHECK_INT(tn_grad(whole, tn_full_like(whole, 1), &x, 1, &dx), TN_ERR_GRAD);
    tn_clear_error(t.ctx);
    REFUSED(&t, tn_cast(x, TN_N_DTYPES), TN_ERR_DTYPE, "8 is no dtype");
    trial_end(&t);
}

/* ---- remainders ------------------------------------------------------------------------------ */

TEST(elementwise, remainders_by_hand)
{
    for (tn_dtype d = TN_F32; d <= TN_F64; d++) {
        trial t = trial_new();
        tn_node *x = VECTOR(&t, d, 7, -7, 7, -7, 5.5, 6, -6, 1, -1, 0, INFINITY, 1, -0.0);
        tn_node *y = VECTOR(&t, d, 3, 3, -3, -3, 2, 3, 3, INFINITY, INFINITY, 0, 2, NAN, -2);
        EXPECT(tn_fmod(x, y), 1, -1, 1, -1, 1.5, 0, -0.0, 1, -1, NAN, NAN, NAN, -0.0);
        EXPECT(tn_remainder(x, y), 1, 2, -2, -1, 1.5, 0, 0, 1, INFINITY, NAN, NAN, NAN, -0.0);
        EXPECT(tn_floor_divide(x, y), 2, -3, -3, 2, 2, 2, -2, 0, -1, NAN, NAN, NAN, 0);
        EXPECT(tn_floor_divide(VECTOR(&t, d, 1, -1), VECTOR(&t, d, 0, 0)), INFINITY, -INFINITY);
        trial_end(&t);
    }
}

/* f64: any bits; f32 likewise. The remainder is exact, so it must be the C library's, bit for bit.
 */
TEST(elementwise, fmod_is_exact)
{
    enum { N = 4000 };
    static double x[N], y[N], got[N];
    static float xf[N], yf[N], gotf[N];
    tn_rng rng = {.seed = 1};
    for (int i = 0; i < N; i++) {
        uint64_t a = tn_random_u64(rng, 2 * i), b = tn_random_u64(rng, 2 * i + 1);
        if (i % 2) b = (b >> 12) | (a >> 52 << 52); /* near exponents */
        uint32_t af = (uint32_t)a, bf = (uint32_t)(b >> 32);
        memcpy(&x[i], &a, 8), memcpy(&y[i], &b, 8), memcpy(&xf[i], &af, 4), memcpy(&yf[i], &bf, 4);
    }
    trial t = trial_new();
    REQUIRE(tn_eval(tn_fmod(tn_constant(t.g, TN_F64, TN_SHAPE(N), x),
                            tn_constant(t.g, TN_F64, TN_SHAPE(N), y)),
                    got, sizeof got) == TN_OK);
    REQUIRE(tn_eval(tn_fmod(tn_constant(t.g, TN_F32, TN_SHAPE(N), xf),
                            tn_constant(t.g, TN_F32, TN_SHAPE(N), yf)),
                    gotf, sizeof gotf) == TN_OK);
    for (int i = 0; i < N; i++) {
        double want = fmod(x[i], y[i]), wantf = fmodf(xf[i], yf[i]);
        CHECK_MSG(is_like(got[i], want, 0), "fmod(%a, %a): expected %a, got %a", x[i], y[i], want,
                  got[i]);
        CHECK_MSG(is_like(gotf[i], wantf, 0), "f32 fmod(%a, %a): expected %a, got %a", xf[i], yf[i],
                  wantf, gotf[i]);
    }
    trial_end(&t);
}

/* ---- gradients at the edges ------------------------------------------------------------------ */

TEST(elementwise, gradients_at_edges)
{
    trial t = trial_new();
    tn_dtype d = TN_F64;
    tn_node *x = VECTOR(&t, d, -1, 0, 1), *zero = tn_scalar_like(x, 0);
    EXPECT(grad(tn_abs(x), x), -1, 0, 1);
    EXPECT(grad(tn_relu(x), x), 0, 0, 1);
    EXPECT(grad(tn_sign(x), x), 0, 0, 0);
    EXPECT(grad(tn_clamp(x, -1, 1), x), 1, 1, 1);
    EXPECT(grad(tn_hard_tanh(x), x), 0, 1, 0);
    tn_node *six = VECTOR(&t, d, 0, 3, 6);
    EXPECT(grad(tn_relu6(six), six), 0, 1, 0);
    EXPECT(grad(tn_leaky_relu(x, 0.25), x), 0.25, 0.25, 1);
    EXPECT(grad(tn_leaky_relu(x, -0.25), x), -0.25, -0.25, 1);
    EXPECT_NEAR(grad(tn_elu(x, 2), x), 1e-15, 2 * exp(-1), 2, 1);
    EXPECT(grad(tn_maximum(x, zero), x), 0, 0.5, 1);
    EXPECT(grad(tn_maximum(x, zero), zero), 1.5);
    EXPECT(grad(tn_minimum(x, zero), x), 1, 0.5, 0);
    EXPECT(grad(tn_floor(x), x), 0, 0, 0);
    EXPECT(grad(tn_frac(x), x), 1, 1, 1);

    tn_node *p = VECTOR(&t, d, 0, 4);
    EXPECT(grad(tn_sqrt(p), p), INFINITY, 0.25);
    EXPECT(grad(tn_pow_scalar(p, 2), p), 0, 8);
    EXPECT(grad(tn_pow_scalar(p, 0), p), 0, 0);
    EXPECT(grad(tn_pow_scalar(p, 1), p), 1, 1);
    EXPECT_NEAR(grad(tn_pow_scalar(p, 1.5), p), 1e-15, 0, 3);

    tn_node *b = VECTOR(&t, d, 0, 0, 0, -2, -2, 2), *e = VECTOR(&t, d, 0, 1, 2, 2, 3, 3);
    EXPECT_NEAR(grad(tn_pow(b, e), b), 1e-14, 0, 1, 0, -4, 12, 12);
    EXPECT_NEAR(grad(tn_pow(b, e), e), 1e-14, 0, 0, 0, 0, 0, 8 * LN2);
    EXPECT_NEAR(grad(grad(tn_pow(b, e), b), b), 1e-14, 0, 0, 2, 2, -12, 12);

    tn_node *n = VECTOR(&t, d, NAN, 1);
    EXPECT(grad(tn_relu(n), n), 1, 1);
    EXPECT(grad(tn_copysign(x, tn_scalar_like(x, -1)), x), 1, -0.0, -1);
    trial_end(&t);
}

TEST(elementwise, second_derivatives_by_hand)
{
    trial t = trial_new();
    tn_node *x = VECTOR(&t, TN_F64, -1.5, 0.5, 2);
#define TWICE(f) grad(grad(f, x), x)
    EXPECT(TWICE(tn_relu(x)), 0, 0, 0);
    EXPECT_NEAR(TWICE(tn_tanh(x)), 1e-14, -2 * tanh(-1.5) / pow(cosh(-1.5), 2),
                -2 * tanh(0.5) / pow(cosh(0.5), 2), -2 * tanh(2) / pow(cosh(2), 2));
    EXPECT_NEAR(TWICE(tn_elu(x, 1)), 1e-14, exp(-1.5), 0, 0);
    EXPECT_NEAR(TWICE(tn_hard_swish(x)), 1e-14, 1. / 3, 1. / 3, 1. / 3);
#define GELU2(v) ((2 - (v) * (v)) * exp(-0.5 * (v) * (v)) / sqrt(2 * PI))
    EXPECT_NEAR(TWICE(tn_gelu(x)), 1e-14, GELU2(-1.5), GELU2(0.5), GELU2(2));
    EXPECT_NEAR(TWICE(tn_pow_scalar(x, 3)), 1e-14, -9, 3, 12);
    trial_end(&t);
}

/* ---- broadcasting by hand -------------------------------------------------------------------- */

TEST(elementwise, broadcasting)
{
    for (tn_dtype d = TN_F32; d <= TN_I64; d++) {
        trial t = trial_new();
        tn_node *x = constant(&t, d, TN_SHAPE(2, 1, 3), (double[]){1, 2, 3, 4, 5, 6});
        tn_node *y = constant(&t, d, TN_SHAPE(2, 1), (double[]){10, 20});
        tn_node *s = tn_add(x, y);
        tn_shape shape = tn_node_shape(s), want = TN_SHAPE(2, 2, 3);
        CHECK(tn_shape_equal(&shape, &want));
        EXPECT(s, 11, 12, 13, 21, 22, 23, 14, 15, 16, 24, 25, 26);
        EXPECT(tn_mul(y, tn_scalar_like(y, 3)), 30, 60);
        tn_node *row = VECTOR(&t, TN_BOOL, 1, 0, 1);
        EXPECT(tn_masked_fill(x, row, 9), 9, 2, 9, 9, 5, 9);
        EXPECT(tn_where(constant(&t, TN_BOOL, TN_SHAPE(2, 1, 1), (double[]){1, 0}), x, y), 1, 2, 3,
               1, 2, 3, 10, 10, 10, 20, 20, 20);
        EXPECT(tn_lt(x, constant(&t, d, TN_SHAPE(2, 1, 1), (double[]){2, 6})), 1, 0, 0, 1, 1, 0);
        tn_node *none = constant(&t, d, TN_SHAPE(0, 3), NULL);
        tn_shape zero = tn_node_shape(tn_mul(none, tn_scalar_like(none, 2)));
        CHECK_INT(tn_shape_size(&zero), 0);
        CHECK_INT(tn_eval(tn_neg(none), &(char){0}, 0), TN_OK);
        trial_end(&t);
    }
}

TEST(elementwise, broadcast_gradients)
{
    trial t = trial_new();
    tn_node *x = constant(&t, TN_F64, TN_SHAPE(2, 3), (double[]){1, 2, 3, 4, 5, 6});
    tn_node *y = constant(&t, TN_F64, TN_SHAPE(2, 1), (double[]){10, 20});
    tn_node *z = VECTOR(&t, TN_F64, 7, 8, 9);
    tn_node *m = constant(&t, TN_BOOL, TN_SHAPE(2, 1), (double[]){1, 0});
    EXPECT(grad(tn_mul(x, y), y), 6, 15);
    EXPECT(grad(tn_div(x, y), x), 1. / 10, 1. / 10, 1. / 10, 1. / 20, 1. / 20, 1. / 20);
    EXPECT(grad(tn_where(m, x, z), x), 1, 1, 1, 0, 0, 0);
    EXPECT(grad(tn_where(m, x, z), z), 1, 1, 1);
    EXPECT(grad(tn_masked_fill(x, m, 5), x), 0, 0, 0, 1, 1, 1);
    EXPECT(grad(tn_lerp(x, z, tn_scalar_like(x, 0.25)), z), 0.5, 0.5, 0.5);
    trial_end(&t);
}

/* A fill of an infinity must not meet the gradient: the masked score of an attention. */
TEST(elementwise, masked_infinity_has_no_gradient)
{
    trial t = trial_new();
    tn_node *x = VECTOR(&t, TN_F32, 1, 2), *m = VECTOR(&t, TN_BOOL, 0, 1);
    tn_node *y = tn_exp(tn_masked_fill(x, m, -INFINITY));
    EXPECT_NEAR(y, 1e-6, exp(1), 0);
    EXPECT_NEAR(grad(y, x), 1e-6, exp(1), 0);
    trial_end(&t);
}

/* ---- selection of other dtypes --------------------------------------------------------------- */

TEST(elementwise, where_of_every_dtype)
{
    trial t = trial_new();
    tn_node *m = VECTOR(&t, TN_BOOL, 1, 0, 0, 1, 1);
    for (tn_dtype d = 0; d < TN_N_DTYPES; d++) {
        tn_node *x = VECTOR(&t, d, 1, 1, 1, 0, 1), *y = VECTOR(&t, d, 0, 0, 1, 0, 0);
        EXPECT(tn_where(m, x, y), 1, 0, 1, 0, 1);
    }
    trial_end(&t);
}

/* ---- what is refused ------------------------------------------------------------------------- */

TEST(elementwise, wrong_dtypes)
{
    trial t = trial_new();
    tn_node *f = VECTOR(&t, TN_F32, 1, 2), *w = VECTOR(&t, TN_F64, 1, 2),
            *i = VECTOR(&t, TN_I32, 1, 2);
    tn_node *l = VECTOR(&t, TN_I64, 1, 2), *u = VECTOR(&t, TN_U8, 1, 2),
            *m = VECTOR(&t, TN_BOOL, 1, 0);
    tn_node *h = VECTOR(&t, TN_F16, 1, 2);
    REFUSED(&t, tn_add(f, w), TN_ERR_DTYPE, "dtypes f32 and f64 differ: tn_cast");
    REFUSED(&t, tn_mul(i, l), TN_ERR_DTYPE, "dtypes i32 and i64 differ");
    REFUSED(&t, tn_lt(f, i), TN_ERR_DTYPE, "dtypes f32 and i32 differ");
    REFUSED(&t, tn_lerp(f, f, w), TN_ERR_DTYPE, "dtypes f32 and f64 differ");
    REFUSED(&t, tn_div(i, i), TN_ERR_DTYPE, "i32");
    REFUSED(&t, tn_exp(l), TN_ERR_DTYPE, "i64");
    REFUSED(&t, tn_relu(i), TN_ERR_DTYPE, "i32");
    REFUSED(&t, tn_add(u, u), TN_ERR_DTYPE, "u8");
    REFUSED(&t, tn_add(m, m), TN_ERR_DTYPE, "bool");
    REFUSED(&t, tn_add(h, h), TN_ERR_DTYPE, "f16");
    REFUSED(&t, tn_isnan(i), TN_ERR_DTYPE, "i32");
    REFUSED(&t, tn_logical_and(f, f), TN_ERR_DTYPE, "f32");
    REFUSED(&t, tn_logical_not(u), TN_ERR_DTYPE, "u8");
    REFUSED(&t, tn_where(u, f, f), TN_ERR_DTYPE, "u8, not bool");
    REFUSED(&t, tn_where(m, f, w), TN_ERR_DTYPE, "dtypes f32 and f64 differ");
    REFUSED(&t, tn_masked_fill(f, f, 0), TN_ERR_DTYPE, "f32, not bool");
    REFUSED(&t, tn_masked_fill(h, m, 0), TN_ERR_DTYPE, "cast it first");
    CHECK_INT(tn_ctx_status(t.ctx), TN_OK);
    trial_end(&t);
}

TEST(elementwise, wrong_shapes_and_numbers)
{
    trial t = trial_new();
    tn_node *x = constant(&t, TN_F32, TN_SHAPE(2, 3), (double[]){1, 2, 3, 4, 5, 6});
    tn_node *y = VECTOR(&t, TN_F32, 1, 2), *m = VECTOR(&t, TN_BOOL, 1, 0),
            *i = VECTOR(&t, TN_I32, 1, 2);
    REFUSED(&t, tn_add(x, y), TN_ERR_SHAPE, "[2,3] x [2]");
    REFUSED(&t, tn_where(m, x, x), TN_ERR_SHAPE, "[2]");
    REFUSED(&t, tn_masked_fill(y, tn_gt(x, x), 0), TN_ERR_SHAPE,
            "the mask does not broadcast to x");
    REFUSED(&t, tn_clamp(x, 2, 1), TN_ERR_ARG, "2 and 1");
    REFUSED(&t, tn_clamp(x, NAN, 1), TN_ERR_ARG, "nan");
    REFUSED(&t, tn_elu(x, -1), TN_ERR_ARG, "alpha -1");
    REFUSED(&t, tn_celu(x, 0), TN_ERR_ARG, "rate inf");
    REFUSED(&t, tn_scale(i, 0.5), TN_ERR_ARG, "0.5 is not a whole number");
    REFUSED(&t, tn_add_scalar(i, 1e300), TN_ERR_ARG, "1e+300");
    REFUSED(&t, tn_masked_fill(i, m, -INFINITY), TN_ERR_ARG, "i32 cannot hold -inf");
    REFUSED(&t, tn_masked_fill(i, m, 2147483648.0), TN_ERR_ARG, "i32 cannot hold");
    CHECK(!tn_add(NULL, x) && !tn_relu(NULL) && !tn_where(m, NULL, x) && !tn_scalar_like(NULL, 1) &&
          !tn_cast(NULL, TN_F32));
    CHECK_INT(tn_ctx_status(t.ctx), TN_OK); /* a NULL operand says nothing */
    tn_node *v = tn_variable_new(t.ctx, "w", TN_F32, TN_SHAPE(2));
    REFUSED(&t, tn_scalar_like(v, 1), TN_ERR_STATE, "\"w\"");
    REFUSED(&t, tn_zeros_like(v), TN_ERR_STATE, "\"w\"");
    tn_variable_free(v);
    trial_end(&t);
}

TEST_MAIN
