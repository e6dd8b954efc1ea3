/* Generating from a language model: against the whole sequence computed anew for each token, what
 * options say, what is drawn, and calls that are refused. */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

enum { VOCAB = 13, LENGTH = 200 };

typedef struct fixture {
    tn_ctx    *ctx;
    tn_params *p;
    tn_gpt    *m;
} fixture;

static tn_gpt *new_model(tn_params *p)
{
    return tn_gpt_new(p, &(tn_gpt_config){ .vocab = VOCAB, .d_model = 8, .n_heads = 2, .d_ff = 12,
                                           .n_layers = 2, .max_length = LENGTH });
}

/* Weights larger than at a model's beginning, so that the next token depends on what came. */
static bool open_fixture(fixture *f, int threads, tn_dtype dtype)
{
    f->ctx = tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 3 });
    f->p = tn_params_new(f->ctx, dtype);
    f->m = new_model(f->p);
    CHECK(f->m);
    for (int i = 0; f->m && i < tn_params_count(f->p); i++) {
        tn_node    *v = tn_params_at(f->p, i);
        const char *name = tn_variable_name(v);
        size_t      n = tn_variable_bytes(v) / tn_dtype_size(dtype), length = strlen(name);
        if (name[length - 1] != 'w') continue;
        const double factor = strstr(name, "embedding") ? 20 : 100;
        for (size_t k = 0; k < n; k++)
            if (dtype == TN_F64) ((double *)tn_variable_data(v))[k] *= factor;
            else ((float *)tn_variable_data(v))[k] *= (float)factor;
    }
    return f->m;
}

static void close_fixture(fixture *f)
{
    tn_gpt_free(f->m), tn_params_free(f->p), tn_ctx_free(f->ctx);
}

/* log p of what follows ids[0..n), from all of them at once. */
static void next_log_probs(const fixture *f, const int32_t *ids, int64_t n, double *out)
{
    tn_graph   *g = tn_graph_new(f->ctx, TN_EVAL);
    tn_sequence s = { .ids = tn_constant(g, TN_I32, TN_SHAPE(1, n), ids) };
    tn_node    *x = tn_select(tn_select(tn_gpt_apply(f->m, &s), 0, 0), 0, n - 1);
    tn_node    *y = tn_log_softmax(tn_cast(tn_gpt_logits(f->m, tn_unsqueeze(x, 0)), TN_F64), -1);
    CHECK_INT(tn_eval(y, out, VOCAB * sizeof *out), TN_OK);
    tn_graph_free(g);
}

static void make_prompt(int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)((5 * i + i * i / 7 + 2) % VOCAB);
}

static int likeliest(const double *p)
{
    int best = 0;
    for (int i = 1; i < VOCAB; i++)
        if (p[i] > p[best]) best = i;
    return best;
}

TEST(generate, greedy_is_the_likeliest_each_time)
{
    static const int64_t lengths[] = { 1, 2, 17, 150, 199, 200 };
    fixture              f;
    if (!open_fixture(&f, 2, TN_F64)) return;
    tn_generator *g = tn_generator_new(
        f.m, &(tn_generate_options){ .max_tokens = 20, .temperature = TN_NONE });
    int changes = 0;
    for (int k = 0; k < 6; k++) {
        int32_t       ids[LENGTH + 20];
        const int64_t n = lengths[k], limit = n + 20 <= LENGTH + 1 ? 20 : LENGTH + 1 - n;
        make_prompt(ids, n);
        const tn_generation *y = tn_generate(g, ids, n);
        double               p[VOCAB], sum = 0;
        REQUIRE(y);
        CHECK_INT(y->n, limit);
        CHECK(y->is_cut);
        for (int64_t t = 0; t < y->n; t++) {
            next_log_probs(&f, ids, n + t, p);
            CHECK_INT(y->ids[t], likeliest(p));
            sum += p[y->ids[t]];
            ids[n + t] = y->ids[t];
            changes += t > 0 && y->ids[t] != y->ids[t - 1];
        }
        CHECK_NEAR(y->log_prob, sum, 1e-9);
    }
    CHECK(changes > 10); /* or the test would show little */
    tn_generator_free(g);
    close_fixture(&f);
}

TEST(generate, ends_where_told)
{
    fixture f;
    if (!open_fixture(&f, 1, TN_F32)) return;
    int32_t       prompt[5];
    tn_generator *g = tn_generator_new(
        f.m, &(tn_generate_options){ .max_tokens = 30, .temperature = TN_NONE });
    make_prompt(prompt, 5);
    const tn_generation *y = tn_generate(g, prompt, 5);
    REQUIRE(y && y->n == 30);
    int64_t first = 0; /* where the token of place 7 comes for the first time */
    while (y->ids[first] != y->ids[7]) first++;
    tn_generate_options o = { .max_tokens = 30, .temperature = TN_NONE, .has_end = true,
                              .end = y->ids[7] };
    tn_generator       *h = tn_generator_new(f.m, &o);
    const tn_generation *z = tn_generate(h, prompt, 5);
    REQUIRE(z);
    CHECK_INT(z->n, first);
    CHECK(!z->is_cut);
    for (int64_t t = 0; t < z->n; t++) CHECK_INT(z->ids[t], y->ids[t]);
    tn_generator_free(h), tn_generator_free(g);
    close_fixture(&f);
}

/* Continuation 1 of three, threads or not, is what it is of two; a seed is a sequence. */
TEST(generate, draws_depend_on_seed_call_and_place)
{
    int32_t first[2][3][25], prompt[40];
    make_prompt(prompt, 40);
    for (int k = 0; k < 2; k++) {
        fixture f;
        if (!open_fixture(&f, 1 + k, TN_F32)) return;
        tn_generator *g = tn_generator_new(
            f.m, &(tn_generate_options){ .n = 3 - k, .max_tokens = 25, .seed = 11 });
        const tn_generation *y = tn_generate(g, prompt, 40);
        REQUIRE(y);
        for (int i = 0; i < 3 - k; i++) memcpy(first[k][i], y[i].ids, sizeof first[k][i]);
        y = tn_generate(g, prompt, 40);
        REQUIRE(y);
        CHECK(memcmp(first[k][0], y[0].ids, sizeof first[k][0]) != 0); /* another call */
        tn_generator_free(g);
        close_fixture(&f);
    }
    for (int i = 0; i < 2; i++) CHECK(memcmp(first[0][i], first[1][i], sizeof first[0][i]) == 0);
    CHECK(memcmp(first[0][0], first[0][1], sizeof first[0][0]) != 0);
}

/* How often each token follows the prompt, of many draws. */
static void count(const fixture *f, const tn_generate_options *o, const int32_t *prompt, int64_t n,
                  double share[VOCAB])
{
    enum { CALLS = 20 };
    tn_generator *g = tn_generator_new(f->m, o);
    memset(share, 0, VOCAB * sizeof *share);
    for (int c = 0; c < CALLS; c++) {
        const tn_generation *y = tn_generate(g, prompt, n);
        REQUIRE(y);
        for (int64_t i = 0; i < o->n; i++) share[y[i].ids[0]] += 1.0 / (double)(CALLS * o->n);
    }
    tn_generator_free(g);
}

static int falling(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Shares of 20 x 500 draws against the probabilities that they are drawn from: five deviations. */
static void check_shares(const fixture *f, tn_generate_options o, const double *want,
                         const int32_t *prompt, int64_t n)
{
    double share[VOCAB];
    o.n = 500, o.max_tokens = 1;
    count(f, &o, prompt, n, share);
    for (int i = 0; i < VOCAB; i++) {
        CHECK_NEAR(share[i], want[i], 5 * sqrt(want[i] * (1 - want[i]) / 10000));
        if (want[i] == 0) CHECK_NEAR(share[i], 0, 0);
    }
}

TEST(generate, draws_from_what_options_leave)
{
    fixture f;
    int32_t prompt[9];
    double  p[VOCAB], sorted[VOCAB], want[VOCAB], sum = 0;
    if (!open_fixture(&f, 2, TN_F64)) return;
    make_prompt(prompt, 9);
    next_log_probs(&f, prompt, 9, p);
    for (int i = 0; i < VOCAB; i++) sorted[i] = want[i] = exp(p[i]);
    check_shares(&f, (tn_generate_options){ 0 }, want, prompt, 9);

    for (int i = 0; i < VOCAB; i++) sum += want[i] = exp(p[i] / 2.5);
    for (int i = 0; i < VOCAB; i++) want[i] /= sum;
    check_shares(&f, (tn_generate_options){ .temperature = 2.5 }, want, prompt, 9);

    qsort(sorted, VOCAB, sizeof *sorted, falling);
    for (int i = 0; i < VOCAB; i++)
        want[i] = exp(p[i]) >= sorted[2] ? exp(p[i]) / (sorted[0] + sorted[1] + sorted[2]) : 0;
    check_shares(&f, (tn_generate_options){ .top_k = 3 }, want, prompt, 9);

    const double enough = sorted[0] + sorted[1] / 2; /* the nucleus is the first two */
    for (int i = 0; i < VOCAB; i++)
        want[i] = exp(p[i]) >= sorted[1] ? exp(p[i]) / (sorted[0] + sorted[1]) : 0;
    check_shares(&f, (tn_generate_options){ .top_p = enough }, want, prompt, 9);
    check_shares(&f, (tn_generate_options){ .top_k = 5, .top_p = enough / (sorted[0] + sorted[1] +
                                            sorted[2] + sorted[3] + sorted[4]) }, want, prompt, 9);
    close_fixture(&f);
}

/* Weights whose products are infinite, or that are none. */
TEST(generate, scores_that_are_not_finite)
{
    const tn_generate_options o[] = {
        { .max_tokens = 4 }, { .max_tokens = 4, .temperature = TN_NONE },
        { .max_tokens = 4, .top_k = 3, .n = 2 }, { .max_tokens = 4, .top_p = 0.5 },
    };
    static const int32_t prompt[] = { 1, 2, 3 };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            fixture f;
            if (!open_fixture(&f, 1, TN_F32)) return;
            tn_generator *g = tn_generator_new(f.m, &o[i]);
            CHECK(tn_generate(g, prompt, 3) != NULL);
            tn_variable_fill(f.m->embedding.w, k ? NAN : 3e38);
            CHECK(!tn_generate(g, prompt, 3));
            CHECK_INT(tn_ctx_status(f.ctx), TN_ERR_ARG);
            CHECK_CONTAINS(tn_error(f.ctx), "the scores of token 0 are not finite");
            tn_generator_free(g);
            close_fixture(&f);
        }
}

static bool generate_once(tn_ctx *ctx)
{
    static const int32_t prompt[] = { 1, 2, 3 };
    tn_params           *p = tn_params_new(ctx, TN_F32);
    tn_gpt              *m = p ? new_model(p) : NULL;
    tn_generator *g = m ? tn_generator_new(m, &(tn_generate_options){ .n = 2, .max_tokens = 2 })
                        : NULL;
    const bool ok = g && tn_generate(g, prompt, 3);
    tn_generator_free(g), tn_gpt_free(m), tn_params_free(p);
    return ok;
}

TEST(generate, survives_lack_of_memory) { check_each_allocation(generate_once); }

TEST(generate, what_is_refused)
{
    static const struct {
        tn_generate_options o;
        const char         *message;
    } wrong[] = {
        { { .n = -1 }, "-1 continuations" },
        { { .n = 2000 }, "2000 continuations" },
        { { .max_tokens = -3 }, "of -3 tokens" },
        { { .temperature = -2 }, "temperature is -2" },
        { { .temperature = NAN }, "temperature is" },
        { { .temperature = INFINITY }, "temperature is inf" },
        { { .top_k = -1 }, "top_k is -1" },
        { { .top_p = 1.5 }, "top_p 1.5" },
        { { .top_p = -0.5 }, "top_p -0.5" },
    };
    int32_t ids[LENGTH + 1] = { 0 }, bad[2] = { 3, VOCAB };
    fixture f;
    if (!open_fixture(&f, 1, TN_F32)) return;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(!tn_generator_new(f.m, &wrong[i].o));
        CHECK_CONTAINS(tn_error(f.ctx), wrong[i].message);
        tn_clear_error(f.ctx);
    }
    CHECK(!tn_generator_new(NULL, NULL));
    tn_generator *g = tn_generator_new(f.m, NULL);
    CHECK(!tn_generate(NULL, ids, 1));
    CHECK(!tn_generate(g, ids, 0));
    CHECK_CONTAINS(tn_error(f.ctx), "a prompt of 0 tokens");
    tn_clear_error(f.ctx);
    CHECK(!tn_generate(g, NULL, 4));
    tn_clear_error(f.ctx);
    CHECK(!tn_generate(g, ids, LENGTH + 1));
    CHECK_CONTAINS(tn_error(f.ctx), "a prompt of 201 tokens is not in [1, 200]");
    tn_clear_error(f.ctx);
    CHECK(!tn_generate(g, bad, 2));
    CHECK_CONTAINS(tn_error(f.ctx), "prompt[1] is 13, not in [0, 13)");
    tn_clear_error(f.ctx);
    CHECK(tn_generate(g, ids, 2)); /* and it still works */
    tn_generator_free(g), tn_generator_free(NULL);
    close_fixture(&f);
}

TEST_MAIN
