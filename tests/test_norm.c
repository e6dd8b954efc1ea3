/* Softmax and the norms beyond what the op table drives: rows of many lengths against plain loops,
 * rows with nothing in them, numbers of bad manners, many rows at once, and the exponential they
 * are made of. */
#include "loops.h"

#define TN_LEVEL base
#include "tensor/kernels/simd.h"

/* ---- the exponential ------------------------------------------------------------------------- */

TEST(simd, exp_is_within_an_ulp)
{
    double worst32 = 0, worst64 = 0;
    for (int i = 0; i < 200000; i += 8) {
        float  x32[16];
        double x64[8], u[8];
        tn_random_uniform((tn_rng){ 1, 1, 0 }, i, 8, TN_F64, u, 0, 1);
        for (int k = 0; k < 8; k++)
            x32[k] = x32[8 + k] = (float)(-87.3 * u[k]), x64[k] = -708.3 * u[k];
        float  y32[16];
        double y64[8];
        v_store_f32(y32, v_exp_f32(v_load_f32(x32)));
        v_store_f64(y64, v_exp_f64(v_load_f64(x64)));
        for (int k = 0; k < 8; k++) {
            double e = exp((double)x32[k]), f = exp(x64[k]);
            worst32 = fmax(worst32, fabs((double)y32[k] - e) / ldexp(1, ilogb(e) - 23));
            worst64 = fmax(worst64, fabs(y64[k] - f) / ldexp(1, ilogb(f) - 52));
        }
    }
    CHECK_MSG(worst32 < 1.2, "f32: expected within 1.2 ulp, got %g", worst32);
    CHECK_MSG(worst64 < 1.5, "f64: expected within 1.5 ulp, got %g", worst64);
}

TEST(simd, exp_at_the_edges)
{
    const double x[] = { 0, -0.0, -INFINITY, -1e30, -800, NAN, 1, -1e-20 };
    const double want[] = { 1, 1, 0, 0, 0, NAN, 2.718281828459045, 1 };
    float        a[16];
    double       y[8];
    for (int i = 0; i < 16; i++) a[i] = (float)x[i % 8];
    v_store_f32(a, v_exp_f32(v_load_f32(a)));
    v_store_f64(y, v_exp_f64(v_load_f64(x)));
    for (int i = 0; i < 8; i++) {
        CHECK_NEAR((double)a[i], want[i], 3e-7);
        CHECK_NEAR(y[i], want[i], 1e-15);
    }
}

TEST(simd, parts_of_blocks_touch_nothing_else)
{
    for (int n = 0; n <= 16; n++) {
        float x[16], y[18];
        for (int i = 0; i < 16; i++) x[i] = (float)(i + 1);
        for (int i = 0; i < 18; i++) y[i] = -1;
        v_store_part_f32(y + 1, n, v_load_part_f32(x, n, 7));
        for (int i = 0; i < 18; i++) CHECK_NEAR((double)y[i], i >= 1 && i <= n ? i : -1, 0);
        v_store_f32(y, v_load_part_f32(x, n, 7));
        for (int i = 0; i < 16; i++) CHECK_NEAR((double)y[i], i < n ? i + 1 : 7, 0);
        CHECK_NEAR((double)v_sum_f32(v_load_part_f32(x, n, 0)), n * (n + 1) / 2, 0);
        CHECK_NEAR((double)v_hmax_f32(v_load_part_f32(x, n, -5)), n ? n : -5, 0);
        CHECK_NEAR((double)v_hmin_f32(v_load_part_f32(x, n, 50)), n ? 1 : 50, 0);
    }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* [outer, n, inner]: y and dx of softmax or its logarithm, by plain loops. */
static void softmax_loops(const double *x, const double *dy, int64_t outer, int64_t n,
                          int64_t inner, bool log_,
                          double *y, double *dx)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < inner; c++) {
            const int64_t at = o * n * inner + c;
            double        max = -INFINITY, sum = 0, dot = 0;
            for (int64_t i = 0; i < n; i++) max = fmax(max, x[at + i * inner]);
            for (int64_t i = 0; i < n; i++) sum += exp(x[at + i * inner] - max);
            for (int64_t i = 0; i < n; i++) {
                const int64_t k = at + i * inner;
                y[k] = log_ ? x[k] - max - log(sum) : exp(x[k] - max) / sum;
                dot += log_ ? dy[k] : dy[k] * y[k];
            }
            for (int64_t i = 0; i < n; i++) {
                const int64_t k = at + i * inner;
                dx[k] = log_ ? dy[k] - exp(y[k]) * dot : y[k] * (dy[k] - dot);
            }
        }
}

static void check_softmax(tn_ctx *ctx, tn_dtype dtype, int64_t outer, int64_t n, int64_t inner,
                          bool log_)
{
    const int64_t size = outer * n * inner;
    double       *x = numbers(size, 1, -5, 5), *dy = numbers(size, 2, -1, 1), *got[2];
    double       *y = calloc((size_t)size, 8), *dx = calloc((size_t)size, 8);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_shape      shape = TN_SHAPE(outer, n, inner);
    tn_node      *in = constant(g, dtype, shape, x), *out[2];
    out[0] = log_ ? tn_log_softmax(in, 1) : tn_softmax(in, 1);
    CHECK(tn_grad(out[0], constant(g, dtype, shape, dy), &in, 1, &out[1]) == TN_OK);
    softmax_loops(x, dy, outer, n, inner, log_, y, dx);
    if (run_all(ctx, g, out, 2, got)) {
        const double tolerance = dtype == TN_F32 ? 2e-5 : 1e-12;
        for (int k = 0; k < 2; k++) {
            double w = worst(got[k], k ? dx : y, size);
            CHECK_MSG(w <= tolerance, "[%d,%d,%d] %s, %s: expected within %g, got %g", (int)outer,
                      (int)n, (int)inner, log_ ? "log" : "plain", k ? "gradient" : "value",
                      tolerance, w);
        }
    }
    free_all(got, 2);
    tn_graph_free(g);
    free(x), free(dy), free(y), free(dx);
}

TEST(softmax, equals_plain_loops)
{
    const int64_t shapes[][3] = { { 3, 1, 1 },  { 5, 7, 1 },     { 2, 16, 1 },   { 3, 64, 1 },
                                  { 3, 67, 1 }, { 300, 131, 1 }, { 2, 5003, 1 }, { 2, 3, 5 },
                                  { 1, 40, 64 }, { 3, 9, 700 },  { 40, 8, 33 },  { 1, 3000, 70 } };
    tn_ctx       *ctx = new_ctx(2, TN_CPU_AUTO);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int k = 0; k < 4; k++)
            check_softmax(ctx, k & 1 ? TN_F32 : TN_F64, shapes[i][0], shapes[i][1], shapes[i][2],
                          k >> 1);
    tn_ctx_free(ctx);
}

TEST(softmax, a_row_of_minus_infinity_gives_zeros)
{
    tn_ctx *ctx = new_ctx(1, TN_CPU_AUTO);
    for (int k = 0; k < 4; k++) {
        const int axis = k & 1;
        double    x[6 * 6], dy[6 * 6], *y[3];
        for (int i = 0; i < 36; i++) { /* one row (or column) is masked; elsewhere one element is */
            int row = axis ? i / 6 : i % 6, at = axis ? i % 6 : i / 6;
            x[i] = row == 2 || at == 4 ? -INFINITY : i * 0.1, dy[i] = i;
        }
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_dtype  dtype = k & 2 ? TN_F32 : TN_F64;
        tn_node  *in = constant(g, dtype, TN_SHAPE(6, 6), x), *out[3] = { tn_softmax(in, axis) };
        CHECK(tn_grad(out[0], constant(g, dtype, TN_SHAPE(6, 6), dy), &in, 1, &out[1]) == TN_OK);
        out[2] = tn_log_softmax(in, axis);
        if (run_all(ctx, g, out, 3, y)) {
            for (int r = 0; r < 6; r++) {
                double sum = 0;
                for (int i = 0; i < 6; i++) {
                    int at = axis ? r * 6 + i : i * 6 + r;
                    sum += y[0][at];
                    CHECK(isfinite(y[1][at]));
                    if (r == 2 || i == 4) CHECK_NEAR(y[0][at], 0, 0);
                    if (r == 2 || i == 4) CHECK_NEAR(y[1][at], 0, 0);
                    if (r == 2 || i == 4) CHECK_NEAR(y[2][at], -INFINITY, 0);
                }
                CHECK_NEAR(sum, r == 2 ? 0 : 1, 1e-6);
            }
        }
        free_all(y, 3);
        tn_graph_free(g);
    }
    tn_ctx_free(ctx);
}

TEST(softmax, huge_numbers_are_fine_and_nan_stays)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    double    x[] = { 3e38, 3e38, -3e38, 0, -1e5, -1e5 + 1, -1e5, -1e30, NAN, 1, 2, -INFINITY, 0,
                      INFINITY, 0, 0 };
    double   *y[2];
    tn_node  *in = constant(g, TN_F32, TN_SHAPE(4, 4), x),
        *out[2] = { tn_softmax(in, 1), tn_log_softmax(in, 1) };
    if (run_all(ctx, g, out, 2, y)) {
        const double e = exp(1.0), want[] = { 0.5, 0.5, 0, 0, 1 / (2 + e), e / (2 + e), 1 / (2 + e),
                                              0 };
        for (int i = 0; i < 8; i++) CHECK_NEAR(y[0][i], want[i], 1e-6);
        CHECK_NEAR(y[1][0], log(0.5), 1e-6);
        CHECK_NEAR(y[1][5], log(want[5]), 1e-6);
        for (int i = 8; i < 16; i++)
            CHECK_MSG(isnan(y[0][i]), "element %d: expected NaN, got %g", i, y[0][i]);
    }
    free_all(y, 2);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* ---- norms ----------------------------------------------------------------------------------- */

typedef struct norm_case {
    int64_t rows, n;
    bool    rms, gamma, beta;
    double  lo, hi;
} norm_case;

/* y, dx, dgamma, dbeta by plain loops. */
static void norm_loops(const norm_case *c, const double *x, const double *dy, const double *gamma,
                       const double *beta, double **want)
{
    const double n = (double)c->n;
    for (int64_t j = 0; j < c->n; j++) want[2][j] = want[3][j] = 0;
    for (int64_t r = 0; r < c->rows; r++, x += c->n, dy += c->n) {
        double mean = 0, var = 0, c1 = 0, c2 = 0;
        for (int64_t j = 0; j < c->n && !c->rms; j++) mean += x[j] / n;
        for (int64_t j = 0; j < c->n; j++) var += (x[j] - mean) * (x[j] - mean) / n;
        const double rstd = 1 / sqrt(var + 1e-5);
        for (int64_t j = 0; j < c->n; j++) {
            double h = (x[j] - mean) * rstd, d = dy[j] * (c->gamma ? gamma[j] : 1);
            want[0][r * c->n + j] = h * (c->gamma ? gamma[j] : 1) + (c->beta ? beta[j] : 0);
            want[2][j] += dy[j] * h, want[3][j] += dy[j];
            c1 += c->rms ? 0 : d / n, c2 += d * h / n;
        }
        for (int64_t j = 0; j < c->n; j++) {
            double h = (x[j] - mean) * rstd, d = dy[j] * (c->gamma ? gamma[j] : 1);
            want[1][r * c->n + j] = rstd * (d - c1 - h * c2);
        }
    }
}

/* The nodes y, dx and, where there are gamma and beta, their gradients; how many. */
static int norm_graph(tn_graph *g, const norm_case *c, tn_dtype dtype, double *const *in,
                      tn_node **out)
{
    tn_shape shape = TN_SHAPE(c->rows, c->n), vector = TN_SHAPE(c->n);
    tn_node *wrt[3] = { constant(g, dtype, shape, in[0]) }, *dy = constant(g, dtype, shape, in[1]);
    tn_node *gamma = c->gamma ? constant(g, dtype, vector, in[2]) : NULL;
    tn_node *beta = c->beta ? constant(g, dtype, vector, in[3]) : NULL;
    int      n = 1;
    out[0] = c->rms ? tn_rms_norm(wrt[0], gamma, 1e-5) : tn_layer_norm(wrt[0], gamma, beta, 1e-5);
    if (gamma) wrt[n++] = gamma;
    if (beta) wrt[n++] = beta;
    CHECK(tn_grad(out[0], dy, wrt, n, out + 1) == TN_OK);
    return n + 1;
}

static void check_norm(tn_ctx *ctx, const norm_case *c, tn_dtype dtype, double tolerance)
{
    const int64_t size = c->rows * c->n;
    double *in[] = { numbers(size, 1, c->lo, c->hi), numbers(size, 2, -1, 1),
                     numbers(c->n, 3, 0, 2), numbers(c->n, 4, -1, 1) };
    double *want[] = { calloc((size_t)size + 1, 8), calloc((size_t)size + 1, 8),
                       calloc((size_t)c->n + 1, 8), calloc((size_t)c->n + 1, 8) };
    double *got[4] = { NULL };
    if (dtype == TN_F32) /* what the op is given */
        for (int64_t i = 0; i < size; i++) in[0][i] = (double)(float)in[0][i];
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *out[4];
    int       n = norm_graph(g, c, dtype, in, out);
    norm_loops(c, in[0], in[1], in[2], in[3], want);
    if (run_all(ctx, g, out, n, got))
        for (int k = 0; k < n; k++) {
            int    which = k == 2 && !c->gamma ? 3 : k;
            double w = worst(got[k], want[which], which < 2 ? size : c->n);
            CHECK_MSG(w <= tolerance, "[%d,%d] %s: result %d: expected within %g, got %g",
                      (int)c->rows, (int)c->n, c->rms ? "rms" : "layer", which, tolerance, w);
        }
    free_all(got, 4), free_all(in, 4), free_all(want, 4);
    tn_graph_free(g);
}

TEST(norm, equals_plain_loops)
{
    const norm_case cases[] = { { 4, 1, false, true, true, -1, 1 },
                                { 3, 7, false, true, true, -1, 1 },
                                { 5, 16, false, false, true, -1, 1 },
                                { 5, 67, false, true, false, -3, 3 },
                                { 1000, 33, false, true, true, -1, 1 },
                                { 70, 515, false, true, true, -1, 1 },
                                { 3, 2500, false, true, true, -1, 1 },
                                { 900, 40, true, true, false, -1, 1 },
                                { 3, 130, true, false, false, -1, 1 },
                                { 0, 5, false, true, true, -1, 1 },
                                { 1, 64, true, true, false, 5, 6 } };
    tn_ctx         *ctx = new_ctx(2, TN_CPU_AUTO);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_norm(ctx, &cases[i], TN_F64, 1e-11);
        check_norm(ctx, &cases[i], TN_F32, 1e-4);
    }
    /* a mean a thousand times the deviation: the variance is not a difference of squares */
    check_norm(ctx, &(norm_case){ 4, 512, false, true, true, 999.5, 1000.5 }, TN_F32, 2e-3);
    tn_ctx_free(ctx);
}

TEST(norm, rows_of_one_number_give_beta)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    double    x[20], gamma[10], beta[10], *y[1];
    for (int i = 0; i < 20; i++) x[i] = 3.5;
    for (int i = 0; i < 10; i++) gamma[i] = 2, beta[i] = i;
    tn_node *out = tn_layer_norm(constant(g, TN_F32, TN_SHAPE(2, 10), x),
                                 constant(g, TN_F32, TN_SHAPE(10), gamma),
                                 constant(g, TN_F32, TN_SHAPE(10), beta), 1e-5);
    if (run_all(ctx, g, &out, 1, y))
        for (int i = 0; i < 20; i++) CHECK_NEAR(y[0][i], i % 10, 0);
    free_all(y, 1);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(norm, wrong_inputs_are_refused)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_full(g, TN_F32, TN_SHAPE(2, 3), 1), *v = tn_full(g, TN_F64, TN_SHAPE(3), 1);
    CHECK(!tn_layer_norm(x, v, NULL, 1e-5));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_DTYPE);
    CHECK_CONTAINS(tn_error(ctx), "gamma is f64, x is f32");
    tn_clear_error(ctx);
    CHECK(!tn_layer_norm(x, NULL, tn_full(g, TN_F32, TN_SHAPE(4), 1), 1e-5));
    CHECK_CONTAINS(tn_error(ctx), "beta is [4], not [3]");
    tn_clear_error(ctx);
    CHECK(!tn_softmax(x, 2));
    CHECK_CONTAINS(tn_error(ctx), "axis 2 is not in [-2, 2)");
    tn_clear_error(ctx);
    CHECK(!tn_softmax(NULL, 0) && !tn_layer_norm(NULL, v, v, 1));
    CHECK_INT(tn_ctx_status(ctx), TN_OK);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* ---- the same bits --------------------------------------------------------------------------- */

/* Everything of this file at sizes that several tasks share, as one list of numbers. */
static int bits_graph(tn_graph *g, tn_dtype dtype, double *const *in, tn_node **out)
{
    const norm_case layer = { 300, 259, false, true, true, 0, 0 },
        rms = { 300, 259, true, true, false, 0, 0 };
    int             n = norm_graph(g, &layer, dtype, in, out);
    n += norm_graph(g, &rms, dtype, in, out + n);
    tn_node *x = constant(g, dtype, TN_SHAPE(300, 259), in[0]),
        *dy = constant(g, dtype, TN_SHAPE(300, 259), in[1]);
    for (int axis = 0; axis < 2; axis++) {
        tn_node *y[2] = { tn_softmax(x, axis), tn_log_softmax(x, axis) };
        for (int k = 0; k < 2; k++) {
            out[n++] = y[k];
            CHECK(tn_grad(y[k], dy, &x, 1, &out[n++]) == TN_OK);
        }
    }
    return n;
}

static void check_bits(int threads_a, tn_cpu_level cpu_a, int threads_b, tn_cpu_level cpu_b,
                       tn_dtype dtype)
{
    double *in[] = { numbers(300 * 259, 1, -2, 2), numbers(300 * 259, 2, -1, 1),
                     numbers(259, 3, 0, 2), numbers(259, 4, -1, 1) };
    double *y[2][16] = { { NULL } };
    int64_t size[16];
    int     n = 0;
    for (int k = 0; k < 2; k++) {
        tn_ctx   *ctx = new_ctx(k ? threads_b : threads_a, k ? cpu_b : cpu_a);
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_node  *out[16];
        n = bits_graph(g, dtype, in, out);
        for (int i = 0; i < n; i++) {
            tn_shape s = tn_node_shape(out[i]);
            size[i] = tn_shape_size(&s);
        }
        run_all(ctx, g, out, n, y[k]);
        tn_graph_free(g);
        tn_ctx_free(ctx);
    }
    for (int i = 0; i < n; i++)
        CHECK_MSG(memcmp(y[0][i], y[1][i], (size_t)size[i] * 8) == 0,
                  "result %d: %d threads on %s and %d on %s differ", i, threads_a,
                  tn_cpu_level_name(cpu_a),
                  threads_b, tn_cpu_level_name(cpu_b));
    free_all(y[0], n), free_all(y[1], n), free_all(in, 4);
}

TEST(norm, threads_and_levels_change_no_bit)
{
    tn_cpu_level best = tn_cpu_detect();
    for (int d = 0; d < 2; d++) {
        tn_dtype dtype = d ? TN_F32 : TN_F64;
        check_bits(1, best, 2, best, dtype);
        check_bits(1, best, 3, best, dtype);
        if (best >= TN_CPU_AVX512) check_bits(2, TN_CPU_AVX2, 3, TN_CPU_AVX512, dtype);
    }
}

TEST_MAIN
