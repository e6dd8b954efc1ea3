/* Translating several batches at once, each with a part of the context: the same bits as one after
 * the other, and errors that are the context's. (test_translate.c checks what is translated.) */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

#include <string.h>

enum { VOCAB = 11, N = 9 };

static const int32_t ids[] = { 4, 5, 6, 3, 7, 3, 8, 8, 5, 3, 5, 3, 9, 3, 4, 3, 6, 7, 8,
                               9, 10, 3, 4, 4, 3, 10, 9, 8, 7, 6, 5, 4, 3, 3 };
static const int64_t at[N + 1] = { 0, 4, 6, 10, 12, 14, 16, 22, 25, 33 };

typedef struct fixture {
    tn_params      *p;
    tn_transformer *m;
} fixture;

static bool begin(fixture *f, tn_ctx *ctx)
{
    const tn_transformer_config c = { .src_vocab = VOCAB, .d_model = 8, .n_heads = 2, .d_ff = 8,
                                      .n_encoder = 1, .n_decoder = 2, .max_length = 16 };
    f->p = tn_params_new(ctx, TN_F32);
    f->m = tn_transformer_new(f->p, &c);
    return f->m != NULL;
}

static void end(fixture *f) { tn_transformer_free(f->m), tn_params_free(f->p); }

static void check_same(const tn_translation *y, const tn_translation *want, int64_t n)
{
    CHECK(y && want);
    for (int64_t i = 0; y && want && i < n; i++) {
        CHECK_INT(y[i].n, want[i].n);
        CHECK(y[i].n == want[i].n && (y[i].ids != NULL) == (want[i].ids != NULL));
        CHECK(!y[i].ids || memcmp(y[i].ids, want[i].ids, (size_t)y[i].n * sizeof *ids) == 0);
        CHECK(memcmp(&y[i].score, &want[i].score, sizeof y[i].score) == 0);
    }
}

/* Beams of two widths, with which two batches of two are one of four, and are parts. */
TEST(decode, at_once_as_one_by_one)
{
    for (int64_t beam = 1; beam <= 5; beam += 4) {
        fixture f;
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 3, .seed = 5 });
        REQUIRE(begin(&f, ctx));
        tn_translate_options o = { .beam = beam, .n_best = beam > 1 ? 2 : 1, .batch = 2,
                                   .at_once = 1 };
        tn_translator       *one = tn_translator_new(f.m, &o);
        const tn_translation *want = tn_translate(one, ids, at, N);
        for (o.at_once = 2; o.at_once <= 9; o.at_once += 7) { /* 9: there are no more than three */
            tn_translator *t = tn_translator_new(f.m, &o);
            for (int again = 0; again < 2; again++) {
                const tn_translation *y = tn_translate(t, ids, at, N);
                CHECK_MSG(y && want, "%s", tn_error(ctx));
                check_same(y, want, N * o.n_best);
            }
            check_same(tn_translate(t, ids, at, 1), want, o.n_best); /* too few: with all threads */
            tn_translator_free(t);
        }
        tn_translator_free(one), end(&f);
        CHECK_INT(tn_ctx_memory(ctx), 0);
        tn_ctx_free(ctx);
    }
}

/* Batches of which one row a sentence is enough to be parts. */
TEST(decode, greedy_in_parts_as_one_by_one)
{
    enum { TIMES = 3 };
    int32_t many[TIMES * sizeof ids / sizeof *ids];
    int64_t many_at[TIMES * N + 1];
    for (int64_t i = 0; i <= TIMES * N; i++) many_at[i] = i / N * at[N] + at[i % N];
    for (int64_t i = 0; i < many_at[TIMES * N]; i++) many[i] = ids[i % at[N]];
    fixture f;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 5 });
    REQUIRE(begin(&f, ctx));
    tn_translate_options  o = { .batch = 9, .at_once = 1 };
    tn_translator        *one = tn_translator_new(f.m, &o);
    o.at_once = 2;
    tn_translator *t = tn_translator_new(f.m, &o);
    check_same(tn_translate(t, many, many_at, TIMES * N),
               tn_translate(one, many, many_at, TIMES * N), TIMES * N);
    tn_translator_free(t), tn_translator_free(one), end(&f), tn_ctx_free(ctx);
}

/* As sentences of a batch end, the others take their places: what comes is what each gives
 * alone. */
TEST(decode, ranks_close)
{
    enum { SENTENCES = 26 };
    int32_t source[SENTENCES * 10];
    int64_t from[SENTENCES + 1] = { 0 }, shortest = INT64_MAX, longest = 0;
    for (int i = 0; i < SENTENCES; i++) {
        const int n = 1 + i * 7 % 9;
        for (int k = 0; k < n; k++) source[from[i] + k] = 4 + (i * 5 + k * k) % (VOCAB - 4);
        source[from[i] + n] = 3, from[i + 1] = from[i] + n + 1;
    }
    fixture f;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 7 });
    REQUIRE(begin(&f, ctx));
    for (int64_t beam = 1; beam <= 3; beam += 2) {
        tn_translate_options o = { .beam = beam, .batch = 1, .at_once = 1, .max_ratio = 1,
                                   .max_extra = 3 };
        tn_translator *alone = tn_translator_new(f.m, &o);
        o.batch = SENTENCES;
        tn_translator        *many = tn_translator_new(f.m, &o);
        const tn_translation *y = tn_translate(many, source, from, SENTENCES);
        check_same(y, tn_translate(alone, source, from, SENTENCES), SENTENCES);
        for (int i = 0; y && i < SENTENCES; i++) {
            shortest = y[i].n < shortest ? y[i].n : shortest;
            longest = y[i].n > longest ? y[i].n : longest;
        }
        CHECK_MSG(longest >= shortest + 6, "all end at about the same time");
        tn_translator_free(many), tn_translator_free(alone);
    }
    end(&f), tn_ctx_free(ctx);
}

TEST(decode, at_once_fails_and_goes_on)
{
    static const int32_t strange[] = { 4, 5, 6, 3, 7, 99, 8, 8, 5, 3, 5, 3, 9, 3 };
    fixture              f;
    tn_ctx              *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    REQUIRE(begin(&f, ctx));
    const tn_translate_options o = { .beam = 5, .batch = 2, .at_once = 2 };
    tn_translator             *t = tn_translator_new(f.m, &o);
    CHECK(!tn_translate(t, strange, at, 5));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_INDEX);
    CHECK_CONTAINS(tn_error(ctx), "99");
    tn_clear_error(ctx);
    tn_cancel(ctx);
    CHECK(!tn_translate(t, ids, at, N));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_CANCELLED);
    tn_clear_error(ctx);
    CHECK_MSG(tn_translate(t, ids, at, N) != NULL, "%s", tn_error(ctx));
    tn_translator_free(t);
    CHECK(!tn_translator_new(f.m, &(tn_translate_options){ .at_once = -1 }));
    CHECK_CONTAINS(tn_error(ctx), "-1 batches at once");
    end(&f), tn_ctx_free(ctx);
}

static bool live(tn_ctx *ctx)
{
    fixture        f;
    tn_translator *t = NULL;
    const tn_translate_options o = { .beam = 5, .batch = 2, .at_once = 2, .max_ratio = 1e-9,
                                     .max_extra = 2 };
    bool ok = begin(&f, ctx);
    if (ok) t = tn_translator_new(f.m, &o);
    ok = tn_translate(t, ids, at, 4) != NULL;
    tn_translator_free(t), end(&f);
    return ok;
}

TEST(decode, each_allocation_may_fail) { check_each_allocation_of(live, 2); }

TEST_MAIN
