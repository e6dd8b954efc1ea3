/* Dropout and random nodes: the mask is the documented sequence, bit by bit; it keeps the right
 * share; backward sees the mask of forward; nodes and runs differ; threads, levels and fusion do
 * not matter. */
#include "check.h"
#include "libtensor.h"
#include "tensor/kernels/dropout.h"
#include "tensor/philox.h"

static tn_ctx *new_ctx(int threads, tn_cpu_level cpu)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 42, .cpu = cpu });
}

/* H[e] of tensor/philox.h, one block at a time. */
static uint32_t half_of(uint64_t key, uint64_t run, int64_t e)
{
    int64_t  i = e / 2, block = i / 64 * 16 + i % 16;
    uint32_t c[4] = { (uint32_t)block, (uint32_t)(block >> 32), (uint32_t)run,
                      (uint32_t)(run >> 32) };
    tn__philox4x32(c, (uint32_t)key, (uint32_t)(key >> 32));
    return c[i / 16 % 4] >> 16 * (e & 1) & 0xffff;
}

static bool run_one(tn_ctx *ctx, tn_graph *g, tn_node *y, void *out, size_t bytes)
{
    tn_program *p = tn_compile(g, &y, 1, NULL);
    bool        ok = p && tn_run(p) == TN_OK && tn_fetch(p, y, out, bytes) == TN_OK;
    CHECK_MSG(ok, "%s", tn_error(ctx));
    tn_program_free(p);
    return ok;
}

static void check_mask(tn_ctx *ctx, tn_dtype dtype, tn_shape shape, double p)
{
    const tn__dropout attrs = { p, 1234 };
    const uint64_t    key = tn__rng_key(tn_ctx_seed(ctx), attrs.stream);
    const int64_t     n = tn_shape_size(&shape);
    tn_graph         *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node          *x = tn_full(g, dtype, shape, 3), *y = tn_apply(&tn_op_dropout, &x, 1, &attrs);
    double           *out = calloc((size_t)n + 1, 8);
    int               wrong = 0;
    if (run_one(ctx, g, y, out, (size_t)n * tn_dtype_size(dtype)))
        for (int64_t e = 0; e < n; e++) {
            bool   drop = half_of(key, 0, e) < tn__threshold16(p);
            double got = dtype == TN_F64 ? out[e] : (double)((float *)out)[e];
            double want = drop ? 0 : dtype == TN_F64 ? 3 * (1 / (1 - p))
                : (double)(3 * (float)(1 / (1 - p)));
            wrong += got != want;
        }
    CHECK_MSG(wrong == 0, "%d elements, p %g: expected the documented mask, %d differ", (int)n, p,
              wrong);
    free(out);
    tn_graph_free(g);
}

TEST(dropout, the_mask_is_the_documented_sequence)
{
    const tn_cpu_level level[] = { TN_CPU_BASE, TN_CPU_AVX2, TN_CPU_AVX512 };
    for (int l = 0; l < 3; l++) {
        if (l && level[l] > tn_cpu_detect()) break;
        tn_ctx *ctx = new_ctx(2, level[l]);
        for (int d = 0; d < 2; d++) {
            tn_dtype t = d ? TN_F64 : TN_F32;
            check_mask(ctx, t, TN_SHAPE(7), 0.5);
            check_mask(ctx, t, TN_SHAPE(3, 300), 0.1);
            check_mask(ctx, t, TN_SHAPE(130, 513), 0.3);
            check_mask(ctx, t, TN_SHAPE(100000), 0.9);
            check_mask(ctx, t, TN_SHAPE(1000), 0.9999999);
            check_mask(ctx, t, TN_SHAPE(1000), 1e-9);
            check_mask(ctx, t, TN_SHAPE(5, 0), 0.5);
        }
        tn_ctx_free(ctx);
    }
}

TEST(dropout, keeps_its_share)
{
    enum { N = 1 << 20 };
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    float  *y = calloc(N, sizeof *y);
    for (int k = 1; k < 10; k += 4) {
        const double p = k / 10.0;
        tn_graph    *g = tn_graph_new(ctx, TN_TRAIN);
        if (run_one(ctx, g, tn_dropout(tn_full(g, TN_F32, TN_SHAPE(N), 1), p), y, N * sizeof *y)) {
            double kept = 0, pairs = 0;
            for (int i = 0; i < N; i++) kept += y[i] != 0;
            for (int i = 1; i < N; i++) pairs += y[i] != 0 && y[i - 1] != 0;
            const double q = 1 - p, deviation = sqrt(p * q * N);
            CHECK_NEAR(kept, q * N, 4 * deviation); /* 4 standard deviations: fixed seed, no luck */
            CHECK_NEAR(pairs, q * q * N, 6 * deviation);
        }
        tn_graph_free(g);
    }
    free(y);
    tn_ctx_free(ctx);
}

TEST(dropout, backward_sees_the_mask_of_forward)
{
    enum { N = 5000 };
    tn_ctx   *ctx = new_ctx(2, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_full(g, TN_F32, TN_SHAPE(N), 1), *out[2],
        *dy = tn_full(g, TN_F32, TN_SHAPE(N), 2);
    out[0] = tn_dropout(x, 0.4);
    CHECK(tn_grad(out[0], dy, &x, 1, &out[1]) == TN_OK);
    tn_program *p = tn_compile(g, out, 2, NULL);
    REQUIRE(p && tn_run(p) == TN_OK);
    const float *y = tn_output(p, 0), *dx = tn_output(p, 1);
    for (int i = 0; i < N; i++) CHECK_NEAR((double)dx[i], 2 * (double)y[i], 0);
    tn_program_free(p);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* dx of z = dropout(relu(x)) is made from z alone: the program holds one mask, and x of either
 * sign, zero, dropped or kept gives what the two rules give one after the other. */
TEST(dropout, behind_relu_backward_reads_the_dropped_result)
{
    enum { N = 1000 };
    const double p = 0.25;
    tn_ctx      *ctx = new_ctx(2, TN_CPU_AUTO);
    tn_graph    *g = tn_graph_new(ctx, TN_TRAIN);
    float        in[N];
    char         text[4096] = "";
    int          masks = 0, wrong = 0;
    for (int i = 0; i < N; i++) in[i] = (float)(i % 7 - 3);
    tn_node *x = tn_constant(g, TN_F32, TN_SHAPE(N), in), *dy = tn_full(g, TN_F32, TN_SHAPE(N), -2),
        *out[2];
    out[0] = tn_dropout(tn_relu(x), p);
    CHECK(tn_grad(out[0], dy, &x, 1, &out[1]) == TN_OK);
    tn_program *program = tn_compile(g, out, 2, NULL);
    REQUIRE(program && tn_run(program) == TN_OK);
    const float *z = tn_output(program, 0), *dx = tn_output(program, 1),
        scale = (float)(1 / (1 - p));
    for (int i = 0; i < N; i++) wrong += dx[i] != (z[i] > 0 ? -2 * scale : 0);
    CHECK_MSG(wrong == 0, "%d of %d gradients differ from dy / (1 - p) where z > 0, else 0", wrong,
              N);
    FILE *file = fmemopen(text, sizeof text - 1, "w");
    tn_program_dump(program, file);
    fclose(file);
    for (const char *at = text; (at = strstr(at, "dropout")); at++) masks++;
    CHECK_MSG(masks == 1, "expected one mask, got %d in\n%s", masks, text);
    tn_program_free(program);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(dropout, nodes_scopes_and_runs_differ)
{
    enum { N = 1000 };
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_full(g, TN_F32, TN_SHAPE(N), 1),
        *out[3] = { tn_dropout(x, 0.5), tn_dropout(x, 0.5) };
    tn_node  *run = tn_variable_new(ctx, "run", TN_I64, TN_SCALAR);
    TN_SCOPE(g, "block") out[2] = tn_dropout(x, 0.5);
    tn_program *p = tn_compile(g, out, 3, &(tn_compile_options){ .run = run });
    REQUIRE(p && tn_run(p) == TN_OK);
    float *first = malloc(N * sizeof *first);
    memcpy(first, tn_output(p, 0), N * sizeof *first);
    const float *y[3] = { tn_output(p, 0), tn_output(p, 1), tn_output(p, 2) };
    int          same[4] = { 0 };
    for (int i = 0; i < N; i++) same[0] += y[0][i] == y[1][i], same[1] += y[0][i] == y[2][i];
    CHECK_INT(*(int64_t *)tn_variable_data(run), 1);
    REQUIRE(tn_run(p) == TN_OK);
    y[0] = tn_output(p, 0);
    for (int i = 0; i < N; i++) same[2] += y[0][i] == first[i];
    const int64_t zero = 0;
    CHECK(tn_variable_set(run, &zero, sizeof zero) == TN_OK);
    REQUIRE(tn_run(p) == TN_OK);
    y[0] = tn_output(p, 0);
    for (int i = 0; i < N; i++) same[3] += y[0][i] == first[i];
    for (int k = 0; k < 3; k++)
        CHECK_MSG(abs(same[k] - N / 2) < 80, "masks %d: expected half alike, got %d of %d", k,
                  same[k], N);
    CHECK_INT(same[3], N); /* the same run: the same mask */
    free(first);
    tn_program_free(p);
    tn_variable_free(run);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* In a chain, behind a product, in rows of any length: the mask is that of the element. */
TEST(dropout, fusion_and_threads_change_nothing)
{
    enum { M = 37, N = 301 };
    static float y[6][M * N], a[M * 8], b[8 * N];
    int          n = 0;
    tn_random_normal((tn_rng){ 1, 1, 0 }, 0, M * 8, TN_F32, a, 0, 1);
    tn_random_normal((tn_rng){ 1, 2, 0 }, 0, 8 * N, TN_F32, b, 0, 1);
    for (int threads = 1; threads <= 3; threads++)
        for (int apart = 0; apart < 2; apart++, n++) {
            tn_ctx   *ctx = new_ctx(threads, TN_CPU_AUTO);
            tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
            tn_node  *x = tn_matmul(tn_constant(g, TN_F32, TN_SHAPE(M, 8), a),
                                    tn_constant(g, TN_F32, TN_SHAPE(8, N), b));
            x = tn_add(tn_dropout(tn_affine(x, 2, 1), 0.3), tn_full(g, TN_F32, TN_SHAPE(N), 0.5));
            tn_program *p = tn_compile(g, &x, 1, &(tn_compile_options){ .no_fusion = apart });
            CHECK(p && tn_run(p) == TN_OK && tn_fetch(p, x, y[n], sizeof y[n]) == TN_OK);
            CHECK_MSG(memcmp(y[n], y[0], sizeof y[0]) == 0, "%d threads, fusion %s: other bits",
                      threads, apart ? "off" : "on");
            tn_program_free(p);
            tn_graph_free(g);
            tn_ctx_free(ctx);
        }
}

TEST(dropout, is_its_input_where_nothing_drops)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *train = tn_graph_new(ctx, TN_TRAIN), *eval = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_full(train, TN_F32, TN_SHAPE(3), 1),
        *z = tn_full(eval, TN_F32, TN_SHAPE(3), 1);
    CHECK(tn_dropout(x, 0) == x && tn_dropout(x, 0.5) != x);
    CHECK(tn_dropout(z, 0.5) == z && tn_dropout(z, 0) == z);
    const double wrong[] = { 1, 1.5, -0.1, NAN };
    for (int i = 0; i < 8; i++) {
        CHECK(!tn_dropout(i & 1 ? z : x, wrong[i / 2]));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
        CHECK_CONTAINS(tn_error(ctx), "not in [0, 1)");
        tn_clear_error(ctx);
    }
    tn_node *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(3));
    CHECK(!tn_dropout(w, 0.5));
    CHECK_CONTAINS(tn_error(ctx), "tn_read");
    tn_clear_error(ctx);
    CHECK(!tn_dropout(NULL, 0.5) && tn_ctx_status(ctx) == TN_OK);
    tn_variable_free(w);
    tn_graph_free(train), tn_graph_free(eval);
    tn_ctx_free(ctx);
}

TEST(random_nodes, have_their_moments)
{
    enum { N = 1 << 18 };
    tn_ctx   *ctx = new_ctx(2, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    float    *x = calloc(N, sizeof *x);
    for (int k = 0; k < 2; k++) {
        tn_node *node = k ? tn_random_normal_node(g, TN_F32, TN_SHAPE(512, 512), 2, 3)
                          : tn_random_uniform_node(g, TN_F32, TN_SHAPE(512, 512), -1, 3);
        double   mean = 0, var = 0, lo = INFINITY, hi = -INFINITY;
        if (!run_one(ctx, g, node, x, N * sizeof *x)) continue;
        for (int i = 0; i < N; i++)
            mean += (double)x[i] / N, lo = fmin(lo, (double)x[i]), hi = fmax(hi, (double)x[i]);
        for (int i = 0; i < N; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean) / N;
        CHECK_NEAR(mean, k ? 2 : 1, 0.03);
        CHECK_NEAR(var, k ? 9 : 16.0 / 12, k ? 0.15 : 0.02);
        CHECK(k ? lo < -8 && hi > 12 : lo >= -1 && hi < 3);
    }
    free(x);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST_MAIN
