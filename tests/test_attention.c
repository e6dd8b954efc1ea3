/* Attention against a naive loop in f64: every mask, lengths past several blocks, packed rows,
 * grouped heads, dropout; its gradients likewise; the same bits for any number of threads, on AVX2
 * and AVX-512 and in any split of the kernels; memory around the outputs untouched. */
#include "attention_case.h"
#include "check.h"
#include "libtensor.h"

#include "autograd/ops/attention.h"
#include "autograd/program.h"
#include "tensor/internal.h"

#include <math.h>

/* ---- values ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    problem     p;
} cases[] = {
    { "one block", { 2, 5, 7, 2, 2, 4, 3, .range = 1 } },
    { "whole vectors", { 1, 64, 64, 2, 2, 64, 64, .range = 1 } },
    { "odd everywhere", { 1, 67, 131, 3, 3, 17, 33, .range = 2 } },
    { "many blocks", { 1, 150, 400, 1, 1, 24, 40, .range = 3 } },
    { "large scores", { 1, 40, 300, 2, 2, 8, 8, .range = 30 } },
    { "causal", { 2, 70, 70, 2, 2, 16, 16, .causal = true, .range = 1 } },
    { "causal, many blocks", { 1, 300, 300, 1, 1, 5, 6, .causal = true, .range = 1 } },
    { "causal, more keys", { 1, 9, 40, 1, 1, 5, 6, .causal = true, .range = 1 } },
    { "causal, fewer keys", { 1, 140, 40, 1, 1, 5, 6, .causal = true, .range = 1 } },
    { "one query", { 2, 1, 133, 4, 2, 32, 32, .range = 1 } },
    { "grouped heads", { 2, 35, 50, 6, 2, 16, 20, .causal = true, .range = 1 } },
    { "key padding", { 3, 20, 37, 2, 2, 8, 8, .keep_rank = 2, .range = 1 } },
    { "keep [b, tq, tk]", { 2, 33, 140, 2, 2, 8, 8, .keep_rank = 3, .range = 1 } },
    { "keep [b, h, tq, tk], causal", { 2, 33, 33, 2, 1, 8, 8, .causal = true, .keep_rank = 4,
                                       .range = 1 } },
    { "bias [tq, tk]", { 2, 37, 70, 2, 2, 8, 8, .bias_rank = 2, .range = 1 } },
    { "bias [h, tq, tk], causal", { 2, 40, 40, 3, 3, 8, 8, .causal = true, .bias_rank = 3,
                                    .range = 1 } },
    { "bias [b, 1, 1, tk]", { 2, 70, 90, 2, 2, 8, 8, .bias_rank = 4, .keep_rank = 2, .range = 1 } },
    { "lengths", { 4, 20, 140, 2, 2, 8, 8, .has_lengths = true, .lengths = { 0, 1, 133, 140 },
                   .range = 1 } },
    { "cache", { 3, 4, 50, 2, 1, 8, 8, .causal = true, .has_lengths = true,
                 .lengths = { 4, 17, 50 }, .range = 1 } },
    { "padded, causal", { 3, 20, 20, 2, 2, 8, 8, .causal = true, .has_lengths = true,
                          .lengths = { 20, 3, 0 }, .range = 1 } },
    { "packed", { 3, 60, 60, 2, 2, 8, 8, .is_packed = true, .lengths = { 30, 0, 25 },
                  .range = 1 } },
    { "packed, causal", { 4, 200, 200, 2, 1, 20, 16, .causal = true, .is_packed = true,
                          .lengths = { 1, 130, 7, 40 }, .range = 1 } },
    { "packed, two lengths", { 3, 50, 90, 2, 2, 8, 8, .causal = true, .is_packed = true,
                               .lengths = { 10, 20, 15 },
                               .k_lengths = { 40, 5, 30 }, .range = 1 } },
    { "few heads, many keys", { 1, 40, 1200, 1, 1, 8, 8, .range = 1 } },
    { "many queries and heads", { 2, 600, 20, 9, 3, 4, 3, .range = 1 } },
    { "no queries", { 2, 0, 5, 2, 2, 4, 4, .range = 1 } },
    { "no keys", { 2, 5, 0, 2, 2, 4, 4, .causal = true, .range = 1 } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

TEST(attention, equals_the_naive_loop)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    for (int i = 0; i < N_CASES; i++) {
        numbers n = numbers_of(&cases[i].p);
        results want = naive(&cases[i].p, &n), wide, narrow;
        tn_status s = run(&cases[i].p, &n, ctx, TN_F64, false, &wide);
        CHECK_MSG(s == TN_OK, "%s: %s", cases[i].name, tn_error(ctx));
        check_close(cases[i].name, &wide, &want, cases[i].p.range > 10 ? 1e-11 : 1e-13);
        s = run(&cases[i].p, &n, ctx, TN_F32, false, &narrow);
        CHECK_MSG(s == TN_OK, "%s: %s", cases[i].name, tn_error(ctx));
        check_close(cases[i].name, &narrow, &want, cases[i].p.range > 10 ? 1e-3 : 1e-5);
        tn_clear_error(ctx);
        results_free(&want), results_free(&wide), results_free(&narrow), numbers_free(&n);
    }
    tn_ctx_free(ctx);
}

TEST(attention, equals_its_composition)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    for (int i = 0; i < N_CASES; i++) {
        if (cases[i].p.is_packed) continue; /* the op table's samples compare those */
        numbers n = numbers_of(&cases[i].p);
        results a, b;
        tn_status s = run(&cases[i].p, &n, ctx, TN_F64, false, &a),
            t = run(&cases[i].p, &n, ctx, TN_F64, true, &b);
        CHECK_MSG(s == TN_OK && t == TN_OK, "%s: %s", cases[i].name, tn_error(ctx));
        check_close(cases[i].name, &a, &b, 1e-11);
        tn_clear_error(ctx);
        results_free(&a), results_free(&b), numbers_free(&n);
    }
    tn_ctx_free(ctx);
}

/* Weights and values to four digits. */
TEST(attention, worked_example)
{
    static const double q[] = { 0.336690366, 0.128809407, 0.234462366, 0.230333030, -1.122856379,
                                -0.186328292 };
    static const double k[] = { 2.208201408, -0.637997031, 0.461657226, 0.267350882, 0.534904659,
                                0.809357226 };
    static const double v[] = { 1.110290289, -1.689798951, -0.988959908, 0.957971811, 1.322135091,
                                0.817189753 };
    static const double weights[] = { 0.4028, 0.2886, 0.3086, 0.3538, 0.3069, 0.3393, 0.1303,
                                      0.4630, 0.4067 };
    static const double values[] = { 0.5698, -0.1520, 0.5379, -0.0265, 0.2246, 0.5556 };
    tn_ctx   *ctx = tn_ctx_new(NULL);
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_shape  s = TN_SHAPE(1, 3, 1, 2);
    tn_node  *qn = tn_constant(g, TN_F64, s, q), *kn = tn_constant(g, TN_F64, s, k),
        *vn = tn_constant(g, TN_F64, s, v), *w;
    double    y[6], z[6], got[9];
    CHECK_INT(tn_eval(tn_attention(qn, kn, vn, NULL, NULL), y, sizeof y), TN_OK);
    CHECK_INT(tn_eval(tn_attention_with_weights(qn, kn, vn, NULL, NULL, &w), z, sizeof z), TN_OK);
    CHECK_INT(tn_eval(w, got, sizeof got), TN_OK);
    for (int i = 0; i < 6; i++) CHECK_NEAR(y[i], values[i], 5e-5);
    for (int i = 0; i < 6; i++) CHECK_NEAR(z[i], y[i], 1e-14);
    for (int i = 0; i < 9; i++) CHECK_NEAR(got[i], weights[i], 5e-5);
    tn_graph_free(g), tn_ctx_free(ctx);
}

/* ---- properties ------------------------------------------------------------------------------ */

static void reversed_keys(const problem *p, double *x, int64_t row)
{
    for (int64_t b = 0; b < p->b; b++)
        for (int64_t j = 0; j < p->tk / 2; j++)
            for (int64_t d = 0; d < row; d++) {
                double *u = x + (b * p->tk + j) * row + d,
                    *w = x + (b * p->tk + p->tk - 1 - j) * row + d, t = *u;
                *u = *w, *w = t;
            }
}

TEST(attention, order_of_keys_does_not_matter)
{
    const problem p = { 2, 10, 300, 2, 2, 8, 8, .range = 1 };
    tn_ctx       *ctx = tn_ctx_new(NULL);
    numbers       n = numbers_of(&p);
    results       a, b;
    CHECK_INT(run(&p, &n, ctx, TN_F64, false, &a), TN_OK);
    reversed_keys(&p, n.k, p.hk * p.dh), reversed_keys(&p, n.v, p.hk * p.dv);
    CHECK_INT(run(&p, &n, ctx, TN_F64, false, &b), TN_OK);
    reversed_keys(&p, b.out[2], p.hk * p.dh), reversed_keys(&p, b.out[3], p.hk * p.dv);
    check_close("reversed keys", &a, &b, 1e-13);
    results_free(&a), results_free(&b), numbers_free(&n), tn_ctx_free(ctx);
}

/* Maxima that rise from block to block, by less and by more than what sums are rescaled for. */
TEST(attention, rising_scores)
{
    const problem p = { 1, 40, 500, 1, 1, 8, 8, .range = 2 };
    tn_ctx       *ctx = tn_ctx_new(NULL);
    numbers       n = numbers_of(&p);
    results       wide, narrow;
    for (int64_t i = 0; i < p.tk * p.dh; i++) n.k[i] *= (double)(float)(i / p.dh) / 40;
    results want = naive(&p, &n);
    CHECK_INT(run(&p, &n, ctx, TN_F64, false, &wide), TN_OK);
    CHECK_INT(run(&p, &n, ctx, TN_F32, false, &narrow), TN_OK);
    check_close("rising scores, f64", &wide, &want, 1e-12);
    check_close("rising scores, f32", &narrow, &want, 1e-4);
    results_free(&want), results_free(&wide), results_free(&narrow);
    numbers_free(&n), tn_ctx_free(ctx);
}

/* Is a key hidden from all queries? Two whole blocks are, and all keys of the last batch row. */
static bool is_hidden(int64_t b, int64_t j)
{
    return b == 2 || j < 64 || (j >= 128 && j < 192) || value((uint64_t)(b * 1000 + j)) < 0.2;
}

/* Numbers for p, of which the first queries and their masks do not depend on how many there are. */
static numbers numbers_with_hidden_keys(const problem *p)
{
    const int64_t row = p->h * p->dh;
    numbers       n = numbers_of(p);
    for (int64_t b = 0; b < p->b; b++)
        for (int64_t i = 0; i < p->tq; i++) {
            for (int64_t d = 0; d < row; d++)
                n.q[(b * p->tq + i) * row + d] = value((uint64_t)((b * 50 + i) * row + d));
            for (int64_t j = 0; j < p->tk; j++)
                n.keep[(b * p->tq + i) * p->tk + j] = i != 3 && !is_hidden(b, j) &&
                    value((uint64_t)((b * 50 + i) * p->tk + j)) > -0.3;
        }
    return n;
}

/* What the first `queries` of each batch row gave in a and b. */
static bool same_values(const problem *p, const results *a, const problem *q, const results *b,
                        int64_t queries)
{
    const int64_t row = p->h * p->dv;
    for (int64_t s = 0; s < p->b; s++)
        if (memcmp(a->out[0] + s * p->tq * row, b->out[0] + s * q->tq * row,
                   (size_t)(queries * row) * sizeof(double)) != 0)
            return false;
    return true;
}

/* Of few queries the keys that are hidden from all of them are left out: not a bit changes by it,
 * and what is in their rows does not matter, as most of a block's keys are hidden here. */
TEST(attention, few_queries_leave_hidden_keys_out)
{
    const problem few = { 3, 5, 230, 2, 1, 24, 40, .keep_rank = 3, .range = 1 };
    const problem many = { 3, 25, 230, 2, 1, 24, 40, .keep_rank = 3, .range = 1 };
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    for (int wide = 0; wide < 2; wide++) {
        const tn_dtype dtype = wide ? TN_F64 : TN_F32;
        numbers        n = numbers_with_hidden_keys(&few), m = numbers_with_hidden_keys(&many);
        results        want = naive(&few, &n), got, more, spoilt;
        CHECK_INT(run(&few, &n, ctx, dtype, false, &got), TN_OK);
        check_close("hidden keys", &got, &want, wide ? 1e-13 : 1e-5);
        CHECK_INT(run(&many, &m, ctx, dtype, false, &more), TN_OK);
        CHECK(same_values(&few, &got, &many, &more, few.tq));
        for (int64_t b = 0; b < few.b; b++)
            for (int64_t j = 0; j < few.tk; j++)
                if (is_hidden(b, j))
                    n.k[(b * few.tk + j) * few.dh] = n.v[(b * few.tk + j) * few.dv] = NAN;
        CHECK_INT(run(&few, &n, ctx, dtype, false, &spoilt), TN_OK);
        CHECK(same_values(&few, &got, &few, &spoilt, few.tq));
        results_free(&want), results_free(&got), results_free(&more), results_free(&spoilt);
        numbers_free(&n), numbers_free(&m);
    }
    tn_ctx_free(ctx);
}

/* A sum of nothing but zeros is +0, with the zeros of hidden keys in it or without. */
TEST(attention, zeros_have_one_sign)
{
    tn_ctx *ctx = tn_ctx_new(NULL);
    for (int64_t queries = 1; queries < 20; queries += 16) {
        float   k[70] = { [64] = 300 }, v[70], q[17] = { 1 }, y[17];
        uint8_t keep[70] = { [0] = 1, [64] = 1 };
        for (int j = 0; j < 70; j++) v[j] = j == 0 ? -1 : j == 64 ? -0.0f : 1;
        tn_graph *g = tn_graph_new(ctx, TN_EVAL);
        tn_attention_mask mask = { .keep = tn_constant(g, TN_BOOL, TN_SHAPE(1, 70), keep) };
        tn_node  *all = tn_attention(tn_constant(g, TN_F32, TN_SHAPE(1, queries, 1, 1), q),
                                     tn_constant(g, TN_F32, TN_SHAPE(1, 70, 1, 1), k),
                                     tn_constant(g, TN_F32, TN_SHAPE(1, 70, 1, 1), v), &mask, NULL);
        CHECK_INT(tn_eval(all, y, (size_t)queries * sizeof *y), TN_OK);
        CHECK_MSG(y[0] == 0 && !signbit(y[0]), "%d queries: %g", (int)queries, (double)y[0]);
        tn_graph_free(g);
    }
    tn_ctx_free(ctx);
}

/* Scores so far apart that most weights are 0, and so large that nothing near them is exact. */
TEST(attention, scores_far_apart)
{
    const problem p = { 1, 70, 500, 1, 1, 8, 8, .range = 2 };
    tn_ctx       *ctx = tn_ctx_new(NULL);
    for (double by = 40; by < 1e8; by *= 1e3) {
        numbers n = numbers_of(&p);
        results wide, narrow;
        for (int64_t i = 0; i < p.tk * p.dh; i++) n.k[i] *= by;
        results want = naive(&p, &n);
        CHECK_INT(run(&p, &n, ctx, TN_F64, false, &wide), TN_OK);
        check_close("scores far apart, f64", &wide, &want, by * 1e-12);
        results_free(&want), results_free(&wide);
        for (int64_t i = 0; i < p.tk * p.dh; i++) n.k[i] = (double)(float)(n.k[i % p.dh] * 1e4);
        want = naive(&p, &n); /* all scores of a query are the same: a mean of the values */
        CHECK_INT(run(&p, &n, ctx, TN_F32, false, &narrow), TN_OK);
        for (int64_t i = 0; i < want.size[0]; i++)
            CHECK_NEAR(narrow.out[0][i], want.out[0][i], 1e-5);
        results_free(&want), results_free(&narrow), numbers_free(&n);
    }
    tn_ctx_free(ctx);
}

/* The same rows packed and padded: the same bits. */
TEST(attention, packed_equals_padded)
{
    const problem packed = { 3, 170, 170, 2, 2, 8, 8, .causal = true, .is_packed = true,
                             .lengths = { 30, 5, 135 }, .range = 1 };
    const problem padded = { 3, 135, 135, 2, 2, 8, 8, .causal = true, .has_lengths = true,
                             .lengths = { 30, 5, 135 }, .range = 1 };
    const int64_t row = 16;
    tn_ctx       *ctx = tn_ctx_new(NULL);
    numbers       n = numbers_of(&packed), m = numbers_of(&padded);
    double       *from[] = { n.q, n.k, n.v, n.dy }, *to[] = { m.q, m.k, m.v, m.dy };
    results       a, b;
    for (int x = 0; x < 4; x++)
        for (int64_t s = 0, at = 0; s < 3; at += packed.lengths[s++])
            memcpy(to[x] + s * 135 * row, from[x] + at * row,
                   (size_t)(packed.lengths[s] * row) * sizeof(double));
    for (int64_t s = 0; s < 3; s++) /* no cotangent where there is no query */
        memset(m.dy + (s * 135 + packed.lengths[s]) * row, 0,
               (size_t)((135 - packed.lengths[s]) * row) * sizeof(double));
    CHECK_INT(run(&packed, &n, ctx, TN_F32, false, &a), TN_OK);
    CHECK_INT(run(&padded, &m, ctx, TN_F32, false, &b), TN_OK);
    for (int x = 0; x < 4; x++)
        for (int64_t s = 0, at = 0; s < 3; at += packed.lengths[s++])
            CHECK_MSG(memcmp(b.out[x] + s * 135 * row, a.out[x] + at * row,
                             (size_t)(packed.lengths[s] * row) * sizeof(double)) == 0,
                      "output %d of segment %d has other bits", x, (int)s);
    results_free(&a), results_free(&b), numbers_free(&n), numbers_free(&m), tn_ctx_free(ctx);
}

/* One query at a time against a growing cache gives the bits of the whole. */
/* The gradient of rows [n, h, 3 dh] that hold q, k and v side by side: the rows that no segment has
 * are zeros, whatever was in the memory before. */
TEST(attention, rows_of_no_segment_have_no_gradient)
{
    enum { N = 40, H = 2, D = 8, ALL = N * H * 3 * D };
    const int32_t offsets[2] = { 1, 37 };
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_graph     *g = tn_graph_new(ctx, TN_EVAL);
    tn_node *x = tn_sin(tn_reshape(tn_arange(g, TN_F32, ALL, 1, .37), TN_SHAPE(N, H, 3 * D)));
    tn_node *part[3], *dx;
    REQUIRE(tn_split(x, -1, (int64_t[]){ D, D, D }, 3, part) == TN_OK);
    tn_node *y = tn_attention(part[0], part[1], part[2],
                              &(tn_attention_mask){
                                  .q_offsets = tn_constant(g, TN_I32, TN_SHAPE(2), offsets) },
                              NULL);
    REQUIRE(tn_grad(y, tn_cos(y), &x, 1, &dx) == TN_OK);
    tn_node    *twice = tn_scale(dx, 2);
    tn_program *p = tn_compile(g, &twice, 1, NULL);
    REQUIRE(p);
    memset(p->arena->data, 0x3f, p->arena_bytes);
    CHECK_INT(tn_run(p), TN_OK);
    const float *got = tn_output(p, 0);
    for (int i = 0; i < ALL; i++) {
        const int row = i / (H * 3 * D);
        if (row < offsets[0] || row >= offsets[1]) CHECK_MSG(got[i] == 0, "element %d", i);
    }
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(attention, cached_decoding_equals_the_whole)
{
    enum { T_ = 140, H = 2, D = 16 };
    const problem whole = { 1, T_, T_, H, H, D, D, .causal = true, .range = 1 };
    tn_ctx       *ctx = tn_ctx_new(NULL);
    numbers       n = numbers_of(&whole);
    results       want;
    CHECK_INT(run(&whole, &n, ctx, TN_F32, false, &want), TN_OK);
    for (int i = 0; i < T_; i += 23) {
        problem one = { 1, 1, T_, H, H, D, D, .causal = true, .has_lengths = true,
                        .lengths = { i + 1 }, .range = 1 };
        numbers m = n;
        results got;
        m.q = n.q + i * H * D, m.dy = n.dy + i * H * D;
        CHECK_INT(run(&one, &m, ctx, TN_F32, false, &got), TN_OK);
        CHECK_MSG(memcmp(got.out[0], want.out[0] + i * H * D, H * D * sizeof(double)) == 0,
                  "query %d has other bits", i);
        results_free(&got);
    }
    results_free(&want), numbers_free(&n), tn_ctx_free(ctx);
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* The op with a stream of our own, and the dropout op on ones with the same: the masks must
 * agree. */
static void check_dropout(tn_ctx *ctx, const problem *p)
{
    numbers   n = numbers_of(p);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    const int64_t size = batch(p) * p->h * p->tq * p->tk;
    built     x = build(p, &n, g, TN_F64, false);
    const tn__attention_attrs attrs = { .causal = p->causal, .scale = 1 / sqrt((double)p->dh),
                                        .p = p->p, .stream = 99, .has_q_offsets = p->is_packed };
    tn_node *in[4] = { x.q, x.k, x.v, x.mask.q_offsets }, *out[4], *wrt[3] = { x.q, x.k, x.v };
    struct {
        double   p;
        uint64_t stream;
    } dropout = { p->p, 99 };
    tn_node *ones = tn_full(g, TN_F64, TN_SHAPE(batch(p), p->h, p->tq, p->tk), 1);
    tn_node *mask = tn_apply(&tn_op_dropout, &ones, 1, &dropout);
    out[0] = tn_apply(&tn_op_attention, in, 3 + p->is_packed, &attrs);
    n.kept = calloc((size_t)size + 1, sizeof(double));
    CHECK_INT(tn_grad(out[0], x.dy, wrt, 3, out + 1), TN_OK);
    tn_program *program = tn_compile(g, (tn_node *[]){ out[0], out[1], out[2], out[3], mask }, 5,
                                     NULL);
    CHECK_MSG(program && tn_run(program) == TN_OK, "%s", tn_error(ctx));
    if (program) {
        results got = results_new(p);
        for (int i = 0; i < 4; i++)
            to_double(got.out[i], tn_output(program, i), got.size[i], TN_F64);
        to_double(n.kept, tn_output(program, 4), size, TN_F64);
        results want = naive(p, &n);
        check_close("dropout", &got, &want, 1e-12);
        results_free(&got), results_free(&want);
    }
    tn_program_free(program), tn_graph_free(g), numbers_free(&n);
}

TEST(attention, drops_what_the_dropout_op_drops)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 5 });
    static const problem list[] = {
        { 2, 40, 64, 2, 2, 8, 8, .p = 0.1, .range = 1 },
        { 2, 33, 71, 3, 3, 8, 8, .p = 0.5, .causal = true, .range = 1 },
        { 1, 70, 300, 2, 1, 8, 8, .p = 0.9, .range = 1 },
        { 3, 60, 60, 2, 2, 8, 8, .p = 0.3, .causal = true, .is_packed = true,
          .lengths = { 30, 4, 20 }, .range = 1 },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) check_dropout(ctx, &list[i]);
    tn_ctx_free(ctx);
}

TEST(attention, evaluation_drops_nothing)
{
    tn_ctx   *ctx = tn_ctx_new(NULL);
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    problem   p = { 1, 6, 6, 1, 1, 4, 4, .p = 0.5, .range = 1 };
    numbers   n = numbers_of(&p);
    double    y[24];
    built     x = build(&p, &n, g, TN_F64, false);
    CHECK_INT(tn_eval(x.y, y, sizeof y), TN_OK);
    results want = naive(&p, &n);
    for (int i = 0; i < 24; i++) CHECK_NEAR(y[i], want.out[0][i], 1e-14);
    results_free(&want), numbers_free(&n), tn_graph_free(g), tn_ctx_free(ctx);
}

/* ---- bits ------------------------------------------------------------------------------------ */

static void check_bits(const char *what, tn_ctx_options a, tn_ctx_options b)
{
    tn_ctx *one = tn_ctx_new(&a), *two = tn_ctx_new(&b);
    for (int i = 0; i < N_CASES; i++)
        for (int d = 0; d < 2; d++) {
            problem p = cases[i].p;
            numbers n = numbers_of(&p);
            results x, y;
            p.p = i % 2 ? 0.2 : 0;
            CHECK_INT(run(&p, &n, one, d ? TN_F32 : TN_F64, false, &x), TN_OK);
            CHECK_INT(run(&p, &n, two, d ? TN_F32 : TN_F64, false, &y), TN_OK);
            CHECK_MSG(same_bits(&x, &y), "%s: %s, %s: other bits", what, cases[i].name,
                      d ? "f32" : "f64");
            results_free(&x), results_free(&y), numbers_free(&n);
        }
    tn_ctx_free(one), tn_ctx_free(two);
}

TEST(attention, threads_change_no_bit)
{
    check_bits("1 and 2 threads", (tn_ctx_options){ .threads = 1 },
               (tn_ctx_options){ .threads = 2 });
    check_bits("1 and 3 threads", (tn_ctx_options){ .threads = 1 },
               (tn_ctx_options){ .threads = 3 });
}

TEST(attention, avx2_and_avx512_give_the_same_bits)
{
    if (tn_cpu_detect() < TN_CPU_AVX512) SKIP("this CPU has no AVX-512");
    check_bits("AVX2 and AVX-512", (tn_ctx_options){ .cpu = TN_CPU_AVX2 },
               (tn_ctx_options){ .cpu = TN_CPU_AVX512 });
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Kernels write where they should and nowhere else: rows lie apart, with marks between them. */
static void check_guards(const tn_kernels *kernels, bool is_f32, int64_t tq, int64_t tk,
                         int64_t dh, int64_t dv)
{
    const int64_t size = is_f32 ? 4 : 8, gap = 3, qr = dh + gap, vr = dv + gap;
    const int64_t bytes[] = { tq * vr * size, tq * size, tq * qr * size, tk * qr * size,
                              tk * vr * size };
    const int64_t row[] = { vr, 1, qr, qr, vr }, used[] = { dv, 1, dh, dh, dv };
    const problem p = { 1, tq, tk, 1, 1, dh, dv, .range = 1 };
    numbers       n = numbers_of(&p);
    uint8_t      *out[5];
    void         *in[4];
    const double *from[4] = { n.q, n.k, n.v, n.dy };
    const int64_t count[4] = { tq * dh, tk * dh, tk * dv, tq * dv };
    for (int i = 0; i < 5; i++)
        out[i] = malloc((size_t)bytes[i] + 64), memset(out[i], 0xa5, (size_t)bytes[i] + 64);
    for (int i = 0; i < 4; i++) {
        in[i] = malloc((size_t)(count[i] * size) + 1);
        for (int64_t e = 0; e < count[i]; e++)
            is_f32 ? (void)(((float *)in[i])[e] = (float)from[i][e])
                : (void)(((double *)in[i])[e] = from[i][e]);
    }
    tn__attention a = { .tq = tq, .tk = tk, .dh = dh, .dv = dv, .q = in[0], .k = in[1], .v = in[2],
                        .q_row = dh, .k_row = dh,
                        .v_row = dv, .scale = 0.3, .diagonal = 0, .y = out[0], .lse = out[1],
                        .y_row = vr, .dy = in[3],
                        .dy_row = dv, .dq = out[2], .dk = out[3], .dv_out = out[4], .dq_row = qr,
                        .dk_row = qr, .dv_row = vr };
    size_t forward = tn__attention_scratch(&a, size),
        backward = tn__attention_grad_scratch(&a, size);
    size_t most = (forward > backward ? forward : backward) / 64 * 64 + 64;
    uint8_t *scratch = aligned_alloc(64, most + 64);
    memset(scratch + most, 0xa5, 64);
    (is_f32 ? kernels->attention_f32 : kernels->attention_f64)(&a, 0, tq, scratch);
    (is_f32 ? kernels->attention_grad_f32 : kernels->attention_grad_f64)(&a, 0, tk, false, scratch);
    for (int i = 0; i < 5; i++) {
        int64_t wrong = 0;
        for (int64_t b = 0; b < bytes[i] + 64; b++)
            if (b >= bytes[i] || b / size % row[i] >= used[i]) wrong += out[i][b] != 0xa5;
        CHECK_MSG(wrong == 0, "output %d of [%d, %d] x [%d, %d]: %d bytes beside it written", i,
                  (int)tq, (int)dh, (int)tk,
                  (int)dv, (int)wrong);
        free(out[i]);
    }
    for (int b = 0; b < 64; b++) CHECK(scratch[most + b] == 0xa5);
    for (int i = 0; i < 4; i++) free(in[i]);
    free(scratch), numbers_free(&n);
}

TEST(attention, kernels_write_their_outputs_alone)
{
    for (tn_cpu_level level = TN_CPU_BASE; level <= tn_cpu_detect(); level++) {
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .cpu = level });
        for (int d = 0; d < 2; d++) {
            check_guards(tn__ctx_kernels(ctx), d, 1, 1, 1, 1);
            check_guards(tn__ctx_kernels(ctx), d, 5, 9, 3, 7);
            check_guards(tn__ctx_kernels(ctx), d, 67, 130, 16, 32);
            check_guards(tn__ctx_kernels(ctx), d, 33, 129, 17, 31);
            check_guards(tn__ctx_kernels(ctx), d, 129, 65, 65, 8);
        }
        tn_ctx_free(ctx);
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

TEST(attention, bad_lengths_and_offsets_are_refused_when_run)
{
    static const struct {
        problem     p;
        int32_t     bad[4];
        const char *message;
    } list[] = {
        { { 2, 3, 4, 1, 1, 2, 2, .has_lengths = true, .range = 1 }, { 4, 5 },
          "k_lengths[1] = 5 is not in [0, 4]" },
        { { 2, 3, 4, 1, 1, 2, 2, .has_lengths = true, .range = 1 }, { -1, 2 },
          "k_lengths[0] = -1" },
        { { 2, 6, 6, 1, 1, 2, 2, .is_packed = true, .range = 1 }, { 4, 3 },
          "q_offsets[2] = 7 is not in [4, 6]" },
        { { 2, 6, 6, 1, 1, 2, 2, .is_packed = true, .range = 1 }, { 4, -2 },
          "q_offsets[2] = 2 is not in [4, 6]" },
    };
    tn_ctx *ctx = tn_ctx_new(NULL);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        problem p = list[i].p;
        numbers n = numbers_of(&p);
        results r;
        memcpy(p.lengths, list[i].bad, sizeof list[i].bad);
        CHECK_INT(run(&p, &n, ctx, TN_F32, false, &r), TN_ERR_INDEX);
        CHECK_CONTAINS(tn_error(ctx), list[i].message);
        tn_clear_error(ctx);
        results_free(&r), numbers_free(&n);
    }
    tn_ctx_free(ctx);
}

TEST(attention, masks_that_do_not_fit_are_refused_when_built)
{
    tn_ctx   *ctx = tn_ctx_new(NULL);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *q = tn_full(g, TN_F32, TN_SHAPE(2, 3, 1, 4), 1),
        *k = tn_full(g, TN_F32, TN_SHAPE(2, 5, 1, 4), 1);
    tn_node  *packed = tn_full(g, TN_F32, TN_SHAPE(6, 1, 4), 1),
        *offsets = tn_full(g, TN_I32, TN_SHAPE(3), 0);
    const struct {
        tn_node          *q, *k;
        tn_attention_mask mask;
        const char       *message;
    } list[] = {
        { q, k, { .keep = tn_full(g, TN_BOOL, TN_SHAPE(4, 5), 1) },
          "keep [1,1,4,5] does not broadcast to [2,1,3,5]" },
        { q, k, { .keep = tn_full(g, TN_F32, TN_SHAPE(2, 5), 1) }, "keep must be bool" },
        { q, k, { .bias = tn_full(g, TN_F64, TN_SHAPE(3, 5), 1) }, "bias must be f32, not f64" },
        { q, k, { .k_lengths = tn_full(g, TN_I32, TN_SHAPE(3), 1) }, "k_lengths must be [2]" },
        { q, k, { .k_offsets = offsets }, "k_offsets without q_offsets" },
        { packed, packed, { .q_offsets = offsets, .keep = tn_full(g, TN_BOOL, TN_SHAPE(1, 6), 1) },
          "packed rows take no keep" },
        { packed, packed, { .q_offsets = tn_full(g, TN_I64, TN_SHAPE(3), 0) },
          "q_offsets must be i32" },
        { packed, tn_full(g, TN_F32, TN_SHAPE(7, 1, 4), 1), { .q_offsets = offsets },
          "6 rows of q and 7 of k without k_offsets" },
        { packed, packed, { 0 }, "packed with q_offsets" },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        CHECK(!tn_attention(list[i].q, list[i].k, list[i].k, &list[i].mask, NULL));
        CHECK_CONTAINS(tn_error(ctx), list[i].message);
        tn_clear_error(ctx);
    }
    CHECK(!tn_attention(NULL, k, k, NULL, NULL) && !*tn_error(ctx)); /* NULL passes through */
    CHECK(!tn_attention_with_weights(packed, packed, packed,
                                     &(tn_attention_mask){ .q_offsets = offsets }, NULL, NULL));
    CHECK_CONTAINS(tn_error(ctx), "not for packed rows");
    tn_graph_free(g), tn_ctx_free(ctx);
}

/* keep of rank 2 is [b, tk] where that fits, and [tq, tk] otherwise. */
TEST(attention, keep_of_rank_two)
{
    static const uint8_t keep[] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 };
    static const double  v[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    tn_ctx   *ctx = tn_ctx_new(NULL);
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *mask = tn_constant(g, TN_BOOL, TN_SHAPE(3, 3), keep);
    for (int b = 1; b <= 3; b += 2) {
        tn_node *x = tn_constant(g, TN_F64, TN_SHAPE(b, 3, 1, 1), v),
            *y = tn_attention(x, x, x, &(tn_attention_mask){ .keep = mask }, NULL);
        double   got[9];
        CHECK_INT(tn_eval(y, got, (size_t)b * 24), TN_OK);
        for (int i = 0; i < 3 * b; i++)
            CHECK_NEAR(got[i], b == 1 ? v[i] : v[i / 3 * 3 + i / 3], 1e-14);
    }
    tn_graph_free(g), tn_ctx_free(ctx);
}

TEST_MAIN
