/* Learning-rate schedules, and the cache of programs. */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

static void check_rates(const char *name, const tn_schedule *s, const int64_t *steps,
                        const double *want, int n)
{
    for (int i = 0; i < n; i++) {
        double got = tn_schedule_lr(s, steps[i]);
        CHECK_MSG(check_is_near(got, want[i], 1e-15),
                  "%s, step %lld: expected %.17g, got %.17g, tolerance 1e-15", name,
                  (long long)steps[i], want[i], got);
    }
}

TEST(schedule, tables)
{
    const int64_t steps[] = { 0, 1, 5, 10, 15, 20, 25, 30, 40 };
#define RATES(name, s, ...)                                                                        \
    check_rates(name, &(tn_schedule)s, steps, (const double[]){ __VA_ARGS__ }, 9)
#define S(...) { __VA_ARGS__ }
    RATES("constant", S(.lr = 2), 2, 2, 2, 2, 2, 2, 2, 2, 2);
    RATES("constant with warm-up", S(.lr = 2, .warmup = 10), 0.2, 0.2, 1, 2, 2, 2, 2, 2, 2);
    RATES("linear", S(TN_SCHEDULE_LINEAR, .lr = 2, .warmup = 10, .total = 30), 0.2, 0.2, 1, 2, 1.5,
          1, 0.5, 0, 0);
    RATES("linear with a floor", S(TN_SCHEDULE_LINEAR, .lr = 2, .warmup = 10, .total = 30,
                                   .floor = 0.5), 0.2, 0.2, 1, 2,
          1.75, 1.5, 1.25, 1, 1);
    RATES("cosine", S(TN_SCHEDULE_COSINE, .lr = 2, .warmup = 10, .total = 30), 0.2, 0.2, 1, 2,
          1 + sqrt(0.5), 1, 1 - sqrt(0.5), 0, 0);
    RATES("cosine with a floor", S(TN_SCHEDULE_COSINE, .lr = 1, .total = 20, .floor = 0.1),
          0.55 + 0.45 * cos(M_PI / 20),
          0.55 + 0.45 * cos(M_PI / 20), 0.55 + 0.45 * sqrt(0.5), 0.55, 0.55 - 0.45 * sqrt(0.5), 0.1,
          0.1, 0.1, 0.1);
    RATES("inverse sqrt", S(TN_SCHEDULE_INV_SQRT, .lr = 2, .warmup = 10), 0.2, 0.2, 1, 2,
          2 * sqrt(10 / 15.0), sqrt(2), 2 * sqrt(0.4), 2 / sqrt(3), 1);
    RATES("noam", S(TN_SCHEDULE_NOAM, .warmup = 10, .d_model = 64),
          1 / 8.0 * pow(10, -1.5), 1 / 8.0 * pow(10, -1.5), 5 / 8.0 * pow(10, -1.5),
          1 / 8.0 / sqrt(10), 1 / 8.0 / sqrt(15), 1 / 8.0 / sqrt(20), 1 / 8.0 / 5,
          1 / 8.0 / sqrt(30), 1 / 8.0 / sqrt(40));
}

/* ---- the cache ------------------------------------------------------------------------------- */

typedef struct builder {
    tn_ctx *ctx;
    int     built;
} builder;

/* The sum of a vector of key[0] numbers, squared. */
static tn_program *build(void *user, const int64_t *key, int n, tn_arena *arena)
{
    builder *b = user;
    b->built++;
    if (n < 1 || key[0] < 0) return NULL;
    tn_graph   *g = tn_graph_new(b->ctx, TN_EVAL);
    tn_node    *y = tn_sum_all(tn_exp(tn_matmul(tn_input(g, "x", TN_F32, TN_SHAPE(key[0], 4)),
                                                tn_full(g, TN_F32, TN_SHAPE(4, 4), 0))));
    tn_program *p = tn_compile(g, &y, 1, &(tn_compile_options){ .arena = arena });
    tn_graph_free(g);
    return p;
}

static double run(tn_program_cache *cache, int64_t n)
{
    tn_program *p = tn_program_cache_get(cache, &n, 1);
    if (!tn_input_data(p, "x") || tn_run(p) != TN_OK) return NAN;
    return *(const float *)tn_output(p, 0);
}

TEST(program_cache, keeps_the_latest)
{
    tn_ctx           *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    builder           b = { .ctx = ctx };
    tn_program_cache *cache = tn_program_cache_new(ctx, 2, build, &b);
    CHECK_NEAR(run(cache, 2), 8, 0);
    CHECK_NEAR(run(cache, 3), 12, 0);
    CHECK_NEAR(run(cache, 2), 8, 0);
    CHECK_INT(b.built, 2);
    CHECK_NEAR(run(cache, 50), 200, 0); /* in the place of 3; the shared arena grows */
    CHECK_NEAR(run(cache, 2), 8, 0);
    CHECK_INT(b.built, 3);
    CHECK_NEAR(run(cache, 3), 12, 0);
    CHECK_INT(b.built, 4);
    CHECK_INT(tn_program_cache_count(cache), 2);
    CHECK_INT(tn_program_cache_misses(cache), 4);
    CHECK(tn_arena_bytes(tn_program_cache_arena(cache)) > 0);
    /* keys of other lengths are others */
    CHECK(tn_program_cache_get(cache, (const int64_t[]){ 3, 0 }, 2) != NULL);
    CHECK_INT(b.built, 5);
    tn_program_cache_clear(cache);
    CHECK_INT(tn_program_cache_count(cache), 0);
    CHECK_NEAR(run(cache, 2), 8, 0);
    tn_program_cache_free(cache), tn_ctx_free(ctx);
}

TEST(program_cache, errors)
{
    tn_ctx           *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    builder           b = { .ctx = ctx };
    tn_program_cache *cache = tn_program_cache_new(ctx, 0, build, &b);
    int64_t           key[9] = { -1 };
    CHECK(tn_program_cache_get(cache, key, 1) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "the build function gave NULL");
    tn_clear_error(ctx);
    CHECK_INT(tn_program_cache_count(cache), 0);
    CHECK(tn_program_cache_get(cache, key, 9) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "9 numbers");
    tn_clear_error(ctx);
    CHECK(tn_program_cache_get(cache, NULL, 0) == NULL);
    tn_clear_error(ctx);
    CHECK(tn_program_cache_new(ctx, 2, NULL, NULL) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    tn_program_cache_free(cache), tn_ctx_free(ctx);
}

static bool cache_two(tn_ctx *ctx)
{
    builder           b = { .ctx = ctx };
    tn_program_cache *cache = tn_program_cache_new(ctx, 1, build, &b);
    bool              ok = run(cache, 2) == 8 && run(cache, 30) == 120 && run(cache, 2) == 8;
    tn_program_cache_free(cache);
    return ok;
}

TEST(program_cache, every_allocation_may_fail) { check_each_allocation(cache_two); }

TEST_MAIN
