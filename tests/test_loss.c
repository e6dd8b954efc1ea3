/* Losses beyond what the op table drives: reductions, smoothing and ignored targets against plain
 * loops, targets out of range, rows that do not count, the fused projection against all its logits,
 * and the edges of the compositions. */
#include "loops.h"

#include "autograd/program.h"
#include "tensor/gemm.h"
#include "tensor/internal.h"

static int32_t *targets(int64_t n, int64_t n_classes)
{
    int32_t *t = malloc((size_t)(n + 1) * sizeof *t);
    for (int64_t i = 0; i < n; i++)
        t[i] = (int32_t)(tn_random_u64((tn_rng){ 1, 99, 0 }, i) % (uint64_t)n_classes);
    return t;
}

static const tn_reduction reductions[] = { TN_MEAN, TN_SUM, TN_NONE };

/* ---- cross_entropy --------------------------------------------------------------------------- */

/* Sum of the losses; row losses and d sum / d logits, by plain loops. */
static double loss_loops(const double *x, const int32_t *t, int64_t n, int64_t v,
                         const tn_cross_entropy_options *o,
                         double *loss, double *dx, double *nll, double *count)
{
    const double e = o->label_smoothing;
    double       total = 0;
    *nll = *count = 0;
    for (int64_t r = 0; r < n; r++, x += v, dx += v) {
        double max = -INFINITY, sum = 0, mean = 0;
        loss[r] = 0;
        for (int64_t j = 0; j < v; j++) dx[j] = 0;
        if (o->has_ignore && t[r] == o->ignore_index) continue;
        for (int64_t j = 0; j < v; j++) max = fmax(max, x[j]), mean += x[j] / (double)v;
        for (int64_t j = 0; j < v; j++) sum += exp(x[j] - max);
        for (int64_t j = 0; j < v; j++)
            dx[j] = exp(x[j] - max) / sum - e / (double)v - (j == t[r] ? 1 - e : 0);
        const double row_nll = max + log(sum) - x[t[r]];
        loss[r] = (1 - e) * row_nll + e * (max + log(sum) - mean);
        total += loss[r], *nll += row_nll, *count += 1;
    }
    return total;
}

static void check_cross_entropy(tn_ctx *ctx, tn_dtype dtype, int64_t n, int64_t v,
                                const tn_cross_entropy_options *o,
                                double range)
{
    double        *x = numbers(n * v, 1, -range, range), *got[6];
    double        *loss = calloc((size_t)n + 1, 8), *dx = calloc((size_t)(n * v) + 1, 8), nll,
        count;
    int32_t       *t = targets(n, v);
    tn_graph      *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node       *in = constant(g, dtype, TN_SHAPE(n, v), x),
        *target = tn_constant(g, TN_I32, TN_SHAPE(n), t), *out[6];
    tn_loss_parts  parts;
    double         want = loss_loops(x, t, n, v, o, loss, dx, &nll, &count);
    tn_cross_entropy_options all = *o;
    for (int k = 0; k < 3; k++) {
        all.reduction = reductions[k];
        out[k] = tn_cross_entropy(in, target, &all);
    }
    CHECK(tn_cross_entropy_parts(in, target, o, &parts) == TN_OK);
    out[3] = parts.nll, out[4] = parts.count;
    CHECK(tn_grad(parts.sum, NULL, &in, 1, &out[5]) == TN_OK);
    if (run_all(ctx, g, out, 6, got)) {
        const double tolerance = dtype == TN_F32 ? 2e-5 : 1e-12;
        CHECK_NEAR(got[0][0], want / fmax(count, 1), tolerance * fmax(1, fabs(want)));
        CHECK_NEAR(got[1][0], want, tolerance * fmax(1, fabs(want)));
        CHECK(worst(got[2], loss, n) <= tolerance);
        CHECK_NEAR(got[3][0], nll, tolerance * fmax(1, nll));
        CHECK_NEAR(got[4][0], count, 0);
        CHECK_MSG(worst(got[5], dx, n * v) <= tolerance, "[%d,%d]: gradient differs by %g", (int)n,
                  (int)v, worst(got[5], dx, n * v));
    }
    free_all(got, 6);
    tn_graph_free(g);
    free(x), free(loss), free(dx), free(t);
}

TEST(loss, cross_entropy_equals_plain_loops)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    const tn_cross_entropy_options options[] = { { 0 }, { .label_smoothing = 0.1 },
                                                 { .has_ignore = true, .ignore_index = 1 },
                                                 { .label_smoothing = 0.3, .has_ignore = true,
                                                   .ignore_index = 0 },
                                                 { .has_ignore = true, .ignore_index = -100 } };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        for (int d = 0; d < 2; d++) {
            tn_dtype t = d ? TN_F32 : TN_F64;
            check_cross_entropy(ctx, t, 5, 3, &options[i], 2);
            check_cross_entropy(ctx, t, 200, 130, &options[i], 8);
            check_cross_entropy(ctx, t, 7, 5003, &options[i], 8);
            check_cross_entropy(ctx, t, 0, 3, &options[i], 2);
        }
    check_cross_entropy(ctx, TN_F64, 4, 50, &options[1], 1e4); /* huge logits */
    tn_ctx_free(ctx);
}

TEST(loss, huge_logits_lose_nothing)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    double    x[] = { 10000.5, 10000, -3e38, 3e30, 1, -INFINITY }, *y[2];
    int32_t   t[] = { 1, 0 };
    tn_node  *in = constant(g, TN_F32, TN_SHAPE(2, 3), x), *out[2];
    out[0] = tn_cross_entropy(in, tn_constant(g, TN_I32, TN_SHAPE(2), t),
                              &(tn_cross_entropy_options){ .reduction = TN_NONE });
    CHECK(tn_grad(tn_sum_all(out[0]), NULL, &in, 1, &out[1]) == TN_OK);
    if (run_all(ctx, g, out, 2, y)) {
        const double p = 1 / (1 + exp(-0.5)), want[] = { p, -p, 0, 0, 0, 0 };
        CHECK_NEAR(y[0][0], -log(1 - p), 1e-6);
        CHECK_NEAR(y[0][1], 0, 0);
        for (int i = 0; i < 6; i++) CHECK_NEAR(y[1][i], want[i], 1e-6);
    }
    free_all(y, 2);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(loss, targets_that_do_not_count)
{
    tn_ctx       *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    const int64_t t[] = { -100, -100, -100 };
    /* nothing of an ignored row is looked at */
    double        x[] = { 1, 2, NAN, INFINITY, 0, 1 }, *y[5];
    const tn_cross_entropy_options o = { .has_ignore = true, .ignore_index = -100,
                                         .label_smoothing = 0.1 };
    tn_node      *in = constant(g, TN_F32, TN_SHAPE(3, 2), x),
        *target = tn_constant(g, TN_I64, TN_SHAPE(3), t), *out[5];
    tn_node      *w = constant(g, TN_F32, TN_SHAPE(2, 2), x);
    tn_loss_parts parts;
    out[0] = tn_cross_entropy(in, target, &o);
    CHECK(tn_grad(out[0], NULL, &in, 1, &out[1]) == TN_OK);
    CHECK(tn_linear_cross_entropy(in, w, true, NULL, target, &o, &parts) == TN_OK);
    out[2] = parts.sum;
    CHECK(tn_grad(parts.sum, NULL, (tn_node *[]){ in, w }, 2, &out[3]) == TN_OK);
    if (run_all(ctx, g, out, 5, y)) {
        CHECK_NEAR(y[0][0], 0, 0);
        CHECK_NEAR(y[2][0], 0, 0);
        for (int i = 0; i < 6; i++) CHECK_NEAR(y[1][i], 0, 0);
        for (int i = 0; i < 6; i++) CHECK_NEAR(y[3][i], 0, 0);
        for (int i = 0; i < 4; i++) CHECK_NEAR(y[4][i], 0, 0);
    }
    free_all(y, 5);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* The mean is over the others, also where no double is the index to ignore. */
TEST(loss, targets_to_ignore_may_be_any_number)
{
    const int64_t ignore[] = { INT64_MIN, INT64_MAX, ((int64_t)1 << 53) + 1 };
    const double  x[6] = { 0 };
    for (int k = 0; k < 3; k++) {
        tn_ctx       *ctx = new_ctx(1, TN_CPU_AUTO);
        tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
        const int64_t t[] = { 0, 1, ignore[k] };
        tn_node      *in = constant(g, TN_F64, TN_SHAPE(3, 2), x);
        tn_node      *target = tn_constant(g, TN_I64, TN_SHAPE(3), t), *out[2];
        double       *y[2];
        tn_loss_parts parts;
        const tn_cross_entropy_options o = { .has_ignore = true, .ignore_index = ignore[k] };
        CHECK(tn_cross_entropy_parts(in, target, &o, &parts) == TN_OK);
        out[0] = tn_cross_entropy(in, target, &o), out[1] = parts.count;
        if (run_all(ctx, g, out, 2, y)) {
            CHECK_NEAR(y[0][0], log(2), 1e-15);
            CHECK_NEAR(y[1][0], 2, 0);
        }
        free_all(y, 2);
        tn_graph_free(g);
        tn_ctx_free(ctx);
    }
}

TEST(loss, wrong_targets_are_refused_with_their_place)
{
    tn_ctx   *ctx = new_ctx(2, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    int32_t   t[] = { 0, 2, 1, 7 };
    tn_node  *x = tn_full(g, TN_F32, TN_SHAPE(2, 2, 3), 1),
        *target = tn_constant(g, TN_I32, TN_SHAPE(2, 2), t), *out[2];
    out[0] = tn_cross_entropy(x, target, NULL);
    tn_loss_parts parts;
    CHECK(tn_linear_cross_entropy(x, tn_full(g, TN_F32, TN_SHAPE(3, 5), 1), false, NULL, target,
                                  NULL, &parts) == TN_OK);
    out[1] = parts.sum;
    for (int k = 0; k < 2; k++) {
        tn_program *p = tn_compile(g, &out[k], 1, NULL);
        REQUIRE(p);
        CHECK_INT(tn_run(p), TN_ERR_INDEX);
        CHECK_CONTAINS(tn_error(ctx), k ? "target[3] is 7, not in [0, 5)"
                       : "target[3] is 7, not in [0, 3)");
        tn_clear_error(ctx);
        tn_program_free(p);
    }
    CHECK(!tn_cross_entropy(x, tn_constant(g, TN_I32, TN_SHAPE(4), t), NULL));
    CHECK_CONTAINS(tn_error(ctx), "the target is [4]");
    tn_clear_error(ctx);
    CHECK(!tn_cross_entropy(x, target, &(tn_cross_entropy_options){ .label_smoothing = -0.5 }));
    CHECK_CONTAINS(tn_error(ctx), "label_smoothing is -0.5");
    tn_clear_error(ctx);
    CHECK(!tn_cross_entropy(x, target,
                            &(tn_cross_entropy_options){ .reduction = (tn_reduction)9 }));
    CHECK_CONTAINS(tn_error(ctx), "9");
    tn_clear_error(ctx);
    CHECK(!tn_cross_entropy(NULL, target, NULL) && !tn_cross_entropy(x, NULL, NULL) &&
          tn_ctx_status(ctx) == TN_OK);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* ---- linear_cross_entropy: against all its logits -------------------------------------------- */

typedef struct linear_case {
    int64_t n, d, v;
    bool    w_rows, bias, train;
    tn_cross_entropy_options o;
} linear_case;

/* sum, nll, count, dx, dw and, with a bias, db. */
static int linear_graph(tn_graph *g, const linear_case *c, tn_dtype dtype, bool fused,
                        tn_node **out)
{
    double  *data[] = { numbers(c->n * c->d, 1, -1, 1), numbers(c->v * c->d, 2, -1, 1),
                        numbers(c->v, 3, -1, 1) };
    int32_t *t = targets(c->n, c->v);
    tn_shape shape = c->w_rows ? TN_SHAPE(c->v, c->d) : TN_SHAPE(c->d, c->v);
    tn_node *wrt[3] = { constant(g, dtype, TN_SHAPE(c->n, c->d), data[0]),
                        constant(g, dtype, shape, data[1]),
                        constant(g, dtype, TN_SHAPE(c->v), data[2]) };
    tn_node *target = tn_constant(g, TN_I32, TN_SHAPE(c->n), t);
    tn_loss_parts parts;
    if (fused) {
        tn_linear_cross_entropy(wrt[0], wrt[1], c->w_rows, c->bias ? wrt[2] : NULL, target, &c->o,
                                &parts);
    } else {
        tn_node *logits = tn_matmul(wrt[0], c->w_rows ? tn_transpose(wrt[1], 0, 1) : wrt[1]);
        tn_cross_entropy_parts(c->bias ? tn_add(logits, wrt[2]) : logits, target, &c->o, &parts);
    }
    out[0] = parts.sum, out[1] = parts.nll, out[2] = parts.count;
    CHECK(tn_grad(tn_div(parts.sum, parts.count), NULL, wrt, c->bias ? 3 : 2, out + 3) == TN_OK);
    free_all(data, 3), free(t);
    return c->bias ? 6 : 5;
}

static void check_linear(tn_ctx *ctx, const linear_case *c, tn_dtype dtype)
{
    double        *y[2][6];
    const int64_t  size[] = { 1, 1, 1, c->n * c->d, c->v * c->d, c->v };
    int            n = 0;
    for (int k = 0; k < 2; k++) {
        tn_graph *g = tn_graph_new(ctx, c->train ? TN_TRAIN : TN_EVAL);
        tn_node  *out[6];
        n = linear_graph(g, c, dtype, k == 0, out);
        run_all(ctx, g, out, n, y[k]);
        tn_graph_free(g);
    }
    for (int k = 0; k < n; k++) {
        double w = worst(y[0][k], y[1][k], size[k]), tolerance = dtype == TN_F32 ? 1e-5 : 1e-12;
        CHECK_MSG(w <= tolerance, "n %d, d %d, v %d: result %d: expected within %g, got %g",
                  (int)c->n, (int)c->d, (int)c->v, k, tolerance, w);
    }
    free_all(y[0], n), free_all(y[1], n);
}

TEST(loss, linear_cross_entropy_equals_the_product_and_its_loss)
{
    const tn_cross_entropy_options plain = { 0 },
        full = { .label_smoothing = 0.1, .has_ignore = true, .ignore_index = 3 };
    const linear_case cases[] = { { 5, 4, 7, true, false, true, plain },
                                  { 5, 4, 7, false, true, true, full },
                                  { 500, 8, 4001, true, true, true, full },
                                  { 500, 8, 4001, false, false, true, plain },
                                  { 2500, 5, 30, true, true, true, full },
                                  { 300, 6, 50, false, true, false, full } };
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_linear(ctx, &cases[i], TN_F64);
        check_linear(ctx, &cases[i], TN_F32);
    }
    tn_ctx_free(ctx);
}

/* The first chunk's dw is a product of its own, the others are added to it: there is room for both,
 * on any number of threads. */
TEST(loss, linear_cross_entropy_has_room_for_all_its_products)
{
    enum { N = 1024, D = 80, V = 128 };
    tn_ctx   *ctx = new_ctx(64, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(N, D)),
        *w = tn_input(g, "w", TN_F32, TN_SHAPE(D, V)),
        *t = tn_input(g, "t", TN_I32, TN_SHAPE(N)), *dw;
    tn_loss_parts parts;
    CHECK(tn_linear_cross_entropy(x, w, false, NULL, t, NULL, &parts) == TN_OK);
    CHECK(tn_grad(parts.sum, NULL, &w, 1, &dw) == TN_OK);
    tn_program *p = tn_compile(g, &dw, 1, NULL);
    REQUIRE(p);
    const tn_gemm first = { .dtype = TN_F32, .m = D, .n = V, .k = N, .alpha = 1, .a_row = 1,
                            .a_col = D, .b_row = V, .b_col = 1, .c_row = V };
    size_t room = 0;
    for (int64_t i = 0; i < p->n_steps; i++)
        if (p->steps[i].op == &tn_op_linear_cross_entropy)
            room = p->buffers[p->steps[i].scratch].bytes;
    const size_t needed = tn__gemm_scratch(ctx, &first);
    CHECK_MSG(room >= needed, "expected room for %zu bytes, got %zu", needed, room);
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(loss, linear_cross_entropy_never_has_all_logits)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    int32_t   t[8192] = { 0 };
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(8192, 16)),
        *w = tn_input(g, "w", TN_F32, TN_SHAPE(20000, 16)), *out[3];
    tn_loss_parts parts;
    CHECK(tn_linear_cross_entropy(x, w, true, NULL, tn_constant(g, TN_I32, TN_SHAPE(8192), t), NULL,
                                  &parts) == TN_OK);
    out[0] = parts.sum;
    CHECK(tn_grad(parts.sum, NULL, (tn_node *[]){ x, w }, 2, &out[1]) == TN_OK);
    tn_program *p = tn_compile(g, out, 3, NULL);
    REQUIRE(p);
    const double all = 8192.0 * 20000 * 4, arena = (double)tn_program_stats_of(p).arena_bytes;
    CHECK_MSG(arena < all / 10, "expected under a tenth of the logits' %g MB, got %g MB", all / 1e6,
              arena / 1e6);
    tn_program_free(p);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* ---- cross-entropy and its gradient in one step ---------------------------------------------- */

typedef struct pair_case {
    int64_t      n, v;
    tn_dtype     dtype;
    int          threads;
    tn_cpu_level cpu;
    bool         of_square; /* the loss is squared, so its cotangent depends on it */
    bool         streams;
} pair_case;

/* perplexities, loss and the gradient of logits, which like the targets are made in the program and
 * may be overwritten. */
static int pair_graph(tn_graph *g, const pair_case *c, tn_node **out)
{
    double  *x = numbers(c->n * c->v, 1, -4, 4);
    int32_t *t = targets(c->n, c->v);
    tn_node *logits = tn_scale(constant(g, c->dtype, TN_SHAPE(c->n, c->v), x), 1.5);
    tn_node *target = tn_cast(tn_cast(tn_constant(g, TN_I32, TN_SHAPE(c->n), t), TN_I64), TN_I32);
    tn_node *rows = tn_cross_entropy(logits, target, &(tn_cross_entropy_options){
        .label_smoothing = 0.1, .has_ignore = true, .ignore_index = 2, .reduction = TN_NONE });
    out[0] = tn_exp(rows), out[1] = tn_mean_all(rows);
    if (c->of_square) out[1] = tn_square(out[1]);
    tn_grad(out[1], NULL, &logits, 1, &out[2]);
    free(x), free(t);
    return 3;
}

static bool dump_has(const tn_program *p, const char *text)
{
    char  line[4096];
    bool  found = false;
    FILE *file = tmpfile();
    if (!file) return false;
    tn_program_dump(p, file);
    rewind(file);
    while (fgets(line, sizeof line, file)) found |= strstr(line, text) != NULL;
    fclose(file);
    return found;
}

static void check_pair(const pair_case *c)
{
    tn_ctx   *ctx = new_ctx(c->threads, c->cpu);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *out[3] = { NULL };
    tn__ctx_stream_from(ctx, c->streams ? 0 : INT64_MAX);
    const int   n = pair_graph(g, c, out);
    tn_program *p = tn_compile(g, out, n, NULL);
    tn_program *apart = tn_compile(g, out, n, &(tn_compile_options){ .no_fusion = true });
    CHECK_MSG(p && apart && tn_run(p) == TN_OK && tn_run(apart) == TN_OK, "%s", tn_error(ctx));
    for (int k = 0; p && apart && k < n; k++) {
        const tn_type type = tn_output_type(p, k);
        const size_t  size = (size_t)tn_shape_size(&type.shape) * tn_dtype_size(type.dtype);
        CHECK_MSG(memcmp(tn_output(p, k), tn_output(apart, k), size) == 0,
                  "[%lld, %lld], %s, %s: output %d has other bits", (long long)c->n,
                  (long long)c->v, tn_dtype_name(c->dtype), tn_cpu_level_name(c->cpu), k);
    }
    CHECK(!p || dump_has(p, "cross_entropy_both") == !c->of_square);
    CHECK(!apart || !dump_has(apart, "cross_entropy_both"));
    tn_program_free(p), tn_program_free(apart), tn_graph_free(g), tn_ctx_free(ctx);
}

/* Of several losses in a row each is a pair with its gradient. */
TEST(loss, losses_in_a_row_are_pairs)
{
    enum { N = 4 };
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *target = tn_full(g, TN_I32, TN_SHAPE(3), 1), *x[N], *out[N], *sum = NULL;
    for (int i = 0; i < N; i++)
        x[i] = tn_sin(tn_reshape(tn_arange(g, TN_F32, 12, i, 0.37), TN_SHAPE(3, 4)));
    for (int i = 0; i < N; i++) {
        tn_node *loss = tn_cross_entropy(x[i], target, NULL);
        sum = sum ? tn_add(sum, loss) : loss;
    }
    REQUIRE(tn_grad(sum, NULL, x, N, out) == TN_OK);
    tn_program *p = tn_compile(g, out, N, NULL);
    REQUIRE(p);
    CHECK(dump_has(p, "cross_entropy_both") && !dump_has(p, "cross_entropy_rows"));
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

/* What reads the losses, and a cache before rows go into it, is not moved behind that. */
TEST(loss, rows_are_written_between_forward_and_backward)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_node  *cache = tn_variable_new(ctx, "cache", TN_F32, TN_SHAPE(1, 4));
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_sin(tn_reshape(tn_arange(g, TN_F32, 12, 1, 0.37), TN_SHAPE(4, 3)));
    tn_node  *dx = NULL, *target = tn_full(g, TN_I32, TN_SHAPE(4), 1);
    tn_node  *rows = tn_cross_entropy(x, target,
                                      &(tn_cross_entropy_options){ .reduction = TN_NONE });
    tn_node  *early = tn_add(tn_read(g, cache), tn_scale(tn_sum_all(rows), 0));
    tn_node  *late = tn_write_rows(cache, tn_full(g, TN_F32, TN_SHAPE(1, 2), 5),
                                   tn_full(g, TN_I32, TN_SCALAR, 0));
    REQUIRE(tn_grad(tn_mean_all(rows), NULL, &x, 1, &dx) == TN_OK);
    tn_program *p = tn_compile(g, (tn_node *[]){ early, late, dx }, 3, NULL);
    REQUIRE(p && tn_run(p) == TN_OK);
    CHECK_NEAR(((const float *)tn_output(p, 0))[0], 0, 0);
    CHECK_NEAR(((const float *)tn_output(p, 1))[0], 5, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(cache), tn_ctx_free(ctx);
}

TEST(loss, forward_and_backward_in_one_step)
{
    static const int64_t shape[][2] = { { 300, 7 }, { 5, 2600 }, { 130, 67 }, { 1, 1 }, { 0, 3 } };
    for (int l = TN_CPU_BASE; l <= (int)tn_cpu_detect(); l++)
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 8; k++)
                check_pair(&(pair_case){ shape[i][0], shape[i][1], k & 1 ? TN_F64 : TN_F32,
                                         k & 2 ? 3 : 1, (tn_cpu_level)l, false, k & 4 });
    check_pair(&(pair_case){ 40, 9, TN_F32, 2, tn_cpu_detect(), true, false });
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void check_bits(int threads_a, tn_cpu_level cpu_a, int threads_b, tn_cpu_level cpu_b,
                       tn_dtype dtype)
{
    const linear_case c = { 700, 40, 3001, true, true, true,
                            { .label_smoothing = 0.1, .has_ignore = true, .ignore_index = 3 } };
    const int64_t     size[] = { 1, 1, 1, c.n * c.d, c.v * c.d, c.v };
    double           *y[2][12];
    int               n = 0;
    for (int k = 0; k < 2; k++) {
        tn_ctx   *ctx = new_ctx(k ? threads_b : threads_a, k ? cpu_b : cpu_a);
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_node  *out[12];
        n = linear_graph(g, &c, dtype, true, out);
        n += linear_graph(g, &c, dtype, false, out + n);
        run_all(ctx, g, out, n, y[k]);
        tn_graph_free(g);
        tn_ctx_free(ctx);
    }
    for (int i = 0; i < n; i++)
        CHECK_MSG(memcmp(y[0][i], y[1][i], (size_t)size[i % 6] * 8) == 0,
                  "result %d: %d threads on %s and %d on %s differ",
                  i, threads_a, tn_cpu_level_name(cpu_a), threads_b, tn_cpu_level_name(cpu_b));
    free_all(y[0], n), free_all(y[1], n);
}

TEST(loss, threads_and_levels_change_no_bit)
{
    tn_cpu_level best = tn_cpu_detect();
    check_bits(1, best, 2, best, TN_F64);
    check_bits(1, best, 3, best, TN_F32);
    if (best >= TN_CPU_AVX512) check_bits(2, TN_CPU_AVX2, 3, TN_CPU_AVX512, TN_F32);
}

/* ---- compositions ---------------------------------------------------------------------------- */

TEST(loss, mse)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    double    a[] = { 1, 2, 3, 4 }, b[] = { 1, 0, 5, 4.5 }, *y[4];
    tn_node  *x = constant(g, TN_F64, TN_SHAPE(4), a), *z = constant(g, TN_F64, TN_SHAPE(4), b),
        *out[4];
    for (int k = 0; k < 3; k++) out[k] = tn_mse(x, z, reductions[k]);
    CHECK(tn_grad(out[0], NULL, &x, 1, &out[3]) == TN_OK);
    if (run_all(ctx, g, out, 4, y)) {
        const double want[] = { 0, 4, 4, 0.25 };
        CHECK_NEAR(y[0][0], 8.25 / 4, 1e-15);
        CHECK_NEAR(y[1][0], 8.25, 1e-15);
        for (int i = 0; i < 4; i++) CHECK_NEAR(y[2][i], want[i], 1e-15);
        for (int i = 0; i < 4; i++) CHECK_NEAR(y[3][i], 2 * (a[i] - b[i]) / 4, 1e-15);
    }
    free_all(y, 4);
    CHECK(!tn_mse(x, z, (tn_reduction)7));
    CHECK_CONTAINS(tn_error(ctx), "mse");
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(loss, bce_with_logits)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    double    a[] = { 0, 0, 3, -3, 800, -800, 800, 30 }, b[] = { 0, 1, 0.3, 1, 1, 0, 0, 1 }, *y[2];
    for (int d = 0; d < 2; d++) {
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_dtype  dtype = d ? TN_F32 : TN_F64;
        tn_node  *x = constant(g, dtype, TN_SHAPE(8), a), *z = constant(g, dtype, TN_SHAPE(8), b),
            *out[2];
        out[0] = tn_bce_with_logits(x, z, TN_NONE);
        CHECK(tn_grad(tn_sum_all(out[0]), NULL, &x, 1, &out[1]) == TN_OK);
        if (run_all(ctx, g, out, 2, y))
            for (int i = 0; i < 8; i++) {
                double s = 1 / (1 + exp(-a[i])), tolerance = d ? 1e-6 : 1e-14;
                double want = (1 - b[i]) * (fmax(a[i], 0) + log1p(exp(-fabs(a[i])))) +
                              b[i] * (fmax(-a[i], 0) + log1p(exp(-fabs(a[i]))));
                CHECK_NEAR(y[0][i], want, tolerance * fmax(1, want));
                CHECK_NEAR(y[1][i], s - b[i], tolerance);
                if (i == 7) CHECK_NEAR(y[0][i] / want, 1, d ? 1e-5 : 1e-12); /* e^-30 is not lost */
            }
        free_all(y, 2);
        tn_graph_free(g);
    }
    tn_ctx_free(ctx);
}

TEST(loss, kl_div)
{
    tn_ctx   *ctx = new_ctx(1, TN_CPU_AUTO);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    double    a[] = { log(0.5), log(0.25), log(0.25), -INFINITY }, b[] = { 0.2, 0.8, 0, 0 }, *y[4];
    tn_node  *in[2] = { constant(g, TN_F64, TN_SHAPE(4), a), constant(g, TN_F64, TN_SHAPE(4), b) },
        *out[4];
    out[0] = tn_kl_div(in[0], in[1], TN_SUM), out[1] = tn_kl_div(in[0], in[1], TN_MEAN);
    CHECK(tn_grad(out[0], NULL, in, 2, &out[2]) == TN_OK);
    if (run_all(ctx, g, out, 4, y)) {
        double want = 0;
        for (int i = 0; i < 2; i++) want += b[i] * (log(b[i]) - a[i]);
        CHECK_NEAR(y[0][0], want, 1e-14);
        CHECK_NEAR(y[1][0], want / 4, 1e-14);
        for (int i = 0; i < 4; i++) CHECK_NEAR(y[2][i], -b[i], 1e-15);
        for (int i = 0; i < 2; i++) CHECK_NEAR(y[3][i], log(b[i]) - a[i] + 1, 1e-14);
        CHECK(isfinite(y[3][2]) && isfinite(y[3][3]));
    }
    free_all(y, 4);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST_MAIN
