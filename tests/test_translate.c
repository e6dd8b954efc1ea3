/* Translating: decoding with a cache against decoding in full, and beam search against trying
 * everything. (test_decode.c has several batches at once.) */
#include "check.h"
#include "models/beam.h"
#include "failing.h"
#include "libtensor.h"
#include "tiny_transformer.h"

#include <math.h>

/* log p(.. | source, prefix) of the next token, by decoding the whole prefix; pad and bos left
 * out. */
static void next_log_probs(const fixture *f, const int32_t *source, int64_t n_source,
                           const int32_t *prefix, int64_t n, double *out)
{
    int64_t     v = f->model->config.tgt_vocab;
    int32_t     ids[32] = { 2 };
    double      logits[32 * 16], sum = 0;
    tn_graph   *g = tn_graph_new(f->ctx, TN_EVAL);
    if (n > 0) memcpy(ids + 1, prefix, (size_t)n * sizeof *ids);
    tn_sequence s = { .ids = ints(g, TN_SHAPE(1, n_source), source) },
                t = { .ids = ints(g, TN_SHAPE(1, n + 1), ids) };
    tn_node *y = tn_transformer_logits(
        f->model, tn_transformer_decode(f->model, tn_transformer_encode(f->model, &s), &s, &t));
    CHECK_INT(tn_eval(y, logits, (size_t)((n + 1) * v) * sizeof *logits), TN_OK);
    for (int64_t i = 0; i < v; i++)
        out[i] = i == 0 || i == 2 ? -INFINITY : logits[n * v + i], sum += exp(out[i]);
    for (int64_t i = 0; i < v; i++) out[i] -= log(sum);
    tn_graph_free(g);
}

TEST(decoding, greedy_is_full_decoding)
{
    static const int32_t ids[] = { 4, 5, 6, 3, 7, 3, 8, 8, 5, 3, 5, 3 };
    static const int64_t at[] = { 0, 4, 6, 10, 12 };
    for (int variant = 0; variant < 2; variant++) {
        fixture               f;
        tn_transformer_config c = tiny();
        c.n_decoder = 2, c.post_norm = variant == 1, c.learned_positions = variant == 1;
        if (!open_fixture(&f, &c, TN_F64)) return;
        tn_translator        *t = tn_translator_new(f.model, &(tn_translate_options){ .batch = 3 });
        const tn_translation *y = tn_translate(t, ids, at, 4);
        CHECK_MSG(y != NULL, "%s", tn_error(f.ctx));
        for (int i = 0; y && i < 4; i++) {
            double  p[VOCAB], sum = 0;
            int32_t prefix[32];
            int64_t n = 0, source = at[i + 1] - at[i],
                    limit = 2 * source + 10 < 15 ? 2 * source + 10 : 15;
            for (;; n++) {
                int best = 0;
                next_log_probs(&f, ids + at[i], source, prefix, n, p);
                for (int k = 1; k < VOCAB; k++) best = p[k] > p[best] ? k : best;
                if (best == 3) sum += p[3];
                if (best == 3 || n == limit) break;
                sum += p[best], prefix[n] = best;
            }
            CHECK_INT(y[i].n, n);
            CHECK(y[i].n == n && memcmp(y[i].ids, prefix, (size_t)n * sizeof *prefix) == 0);
            CHECK_NEAR(y[i].log_prob, sum, 1e-10);
            CHECK(y[i].is_cut == (n == limit));
        }
        tn_translator_free(t);
        close_fixture(&f);
    }
}

typedef struct found {
    int32_t ids[2];
    int64_t n;
    double  log_prob, score;
} found;

static int by_score(const void *a, const void *b)
{
    double x = ((const found *)a)->score, y = ((const found *)b)->score;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* All translations of at most two tokens: none, 1 or 2 of unk, 4 and 5. */
static int try_everything(const fixture *f, const int32_t *source, int64_t n, double alpha,
                          found *all)
{
    static const int32_t words[] = { 1, 4, 5 };
    int                  count = 0;
    double               p0[6], p1[6], p2[6];
    next_log_probs(f, source, n, NULL, 0, p0);
    all[count++] = (found){ { 0 }, 0, p0[3], 0 };
    for (int i = 0; i < 3; i++) {
        int32_t prefix[2] = { words[i], 0 };
        next_log_probs(f, source, n, prefix, 1, p1);
        all[count++] = (found){ { words[i] }, 1, p0[words[i]] + p1[3], 0 };
        for (int j = 0; j < 3; j++) {
            prefix[1] = words[j];
            next_log_probs(f, source, n, prefix, 2, p2);
            all[count++] = (found){
                {words[i], words[j]},
                2, p0[words[i]] + p1[words[j]] + p2[3], 0
            };
        }
    }
    for (int i = 0; i < count; i++)
        all[i].score = all[i].log_prob / pow((5.0 + (double)all[i].n + 1) / 6, alpha);
    qsort(all, (size_t)count, sizeof *all, by_score);
    return count;
}

TEST(decoding, beam_is_trying_everything)
{
    static const int32_t ids[] = { 4, 5, 3, 5, 3 };
    static const int64_t at[] = { 0, 3, 5 };
    fixture               f;
    tn_transformer_config c = tiny();
    found                 all[16];
    enum { BEST = 5 };
    c.src_vocab = 6;
    if (!open_fixture(&f, &c, TN_F64)) return;
    tn_translator *t = tn_translator_new(
        f.model,
        &(tn_translate_options){
            .beam = 32, .n_best = BEST, .max_ratio = 1e-9, .max_extra = 2, .length_penalty = 1.5 });
    const tn_translation *y = tn_translate(t, ids, at, 2);
    CHECK_MSG(y != NULL, "%s", tn_error(f.ctx));
    for (int i = 0; y && i < 2; i++) {
        int n = try_everything(&f, ids + at[i], at[i + 1] - at[i], 1.5, all);
        CHECK_INT(n, 13);
        for (int j = 0; j < BEST; j++) {
            const tn_translation *got = &y[i * BEST + j];
            CHECK_NEAR(got->score, all[j].score, 1e-10);
            CHECK_INT(got->n, all[j].n);
            CHECK(got->n == all[j].n &&
                  memcmp(got->ids, all[j].ids, (size_t)got->n * sizeof *got->ids) == 0);
        }
    }
    tn_translator_free(t);
    close_fixture(&f);
}

/* Beam search with prefixes decoded in full, as it is told in a textbook: the reference of the
 * cache. */
/* In the last step each candidate is looked at for ends: what cannot go on takes no place. */
TEST(decoding, ends_at_the_limit_are_found)
{
    static const int64_t first[] = { 5, 6, 2, 7 }, last[] = { 7, 8, 2, 9, 7, 8, 2, 9 };
    static const double  p[] = { -0.1, -0.2, -5, -9 },
                         q[] = { -0.1, -0.2, -1, -3, -0.1, -0.2, -1, -3 };
    double    log_prob[2] = { 0, -INFINITY }, room[2];
    int32_t   token[4] = { 0 }, parent[4] = { 0 }, ids[1];
    tn__ended ended[1];
    tn__beam  b = { .k = 2, .n_best = 1, .limit = 1, .eos = 2, .ended = ended, .token = token,
                    .log_prob = log_prob, .room = room, .parent = parent };
    CHECK(tn__beam_advance(&b, 0, first, p, 4) && !b.is_done);
    CHECK(tn__beam_advance(&b, 1, last, q, 4) && b.is_done);
    CHECK_INT(b.n_ended, 1);
    CHECK(!ended[0].is_cut);
    CHECK_NEAR(ended[0].log_prob, -1.1, 1e-15);
    tn__beam_trace(&b, &ended[0], ids);
    CHECK_INT(ids[0], 5);
}

TEST(decoding, beams_keep_their_past)
{
    enum { K = 3, LIMIT = 6 };
    static const int32_t ids[] = { 4, 5, 6, 7, 3 };
    static const int64_t at[] = { 0, 5 };
    fixture               f;
    tn_transformer_config c = tiny();
    if (!open_fixture(&f, &c, TN_F64)) return;
    tn_translator *t = tn_translator_new(
        f.model, &(tn_translate_options){ .beam = K, .max_ratio = 1e-9, .max_extra = LIMIT });
    const tn_translation *y = tn_translate(t, ids, at, 1);
    int32_t prefix[K][LIMIT] = { { 0 } }, best_ids[LIMIT] = { 0 };
    double  sum[K] = { 0, -INFINITY, -INFINITY }, best = -INFINITY;
    int64_t best_n = -1;
    for (int64_t n = 0; n <= LIMIT; n++) {
        double  all[K * VOCAB], p[VOCAB], next_sum[K];
        int32_t next_prefix[K][LIMIT] = { { 0 } };
        int     live = 0;
        for (int j = 0; j < K; j++) {
            next_log_probs(&f, ids, 5, prefix[j], n, p);
            for (int k = 0; k < VOCAB; k++) all[j * VOCAB + k] = sum[j] + p[k];
        }
        for (int rank = 0; live < K; rank++) {
            int top = 0;
            for (int i = 1; i < K * VOCAB; i++) top = all[i] > all[top] ? i : top;
            double  s = all[top], score = s / pow((5.0 + (double)n + 1) / 6, 0.6);
            int     from = top / VOCAB, word = top % VOCAB;
            all[top] = -INFINITY;
            if (s == -INFINITY) break;
            if (word == 3) {
                if ((rank < K || n == LIMIT) && score > best)
                    best = score, best_n = n, memcpy(best_ids, prefix[from], sizeof best_ids);
                continue;
            }
            if (n < LIMIT)
                memcpy(next_prefix[live], prefix[from], sizeof next_prefix[live]),
                    next_prefix[live][n] = word;
            next_sum[live++] = s;
        }
        for (int j = 0; j < K; j++) sum[j] = j < live ? next_sum[j] : -INFINITY;
        memcpy(prefix, next_prefix, sizeof prefix);
    }
    CHECK_MSG(y && best_n >= 0, "nothing ended: %s", tn_error(f.ctx));
    if (y && best_n >= 0) {
        CHECK_INT(y->n, best_n);
        CHECK_NEAR(y->score, best, 1e-10);
        CHECK(y->n == best_n && memcmp(y->ids, best_ids, (size_t)best_n * sizeof *best_ids) == 0);
    }
    tn_translator_free(t);
    close_fixture(&f);
}

/* A source's translation does not depend on those beside it: the same bits. */
TEST(decoding, alone_as_in_company)
{
    static const int32_t ids[] = { 4, 5, 6, 3, 7, 3, 8, 8, 5, 3, 5, 3 };
    static const int64_t at[] = { 0, 4, 6, 10, 12 };
    fixture               f;
    tn_transformer_config c = tiny();
    if (!open_fixture(&f, &c, TN_F32)) return;
    tn_translator        *many = tn_translator_new(f.model, &(tn_translate_options){ .beam = 4 });
    tn_translator *one =
        tn_translator_new(f.model, &(tn_translate_options){ .beam = 4, .batch = 1 });
    const tn_translation *y = tn_translate(many, ids, at, 4), *z = tn_translate(one, ids, at, 4);
    CHECK_MSG(y && z, "%s", tn_error(f.ctx));
    for (int i = 0; y && z && i < 4; i++) {
        CHECK(y[i].n == z[i].n &&
              memcmp(y[i].ids, z[i].ids, (size_t)y[i].n * sizeof *y[i].ids) == 0);
        CHECK(y[i].score == z[i].score);
    }
    tn_translator_free(many), tn_translator_free(one);
    close_fixture(&f);
}

/* What a translator keeps of the weights follows them; and a limit without extra tokens. */
TEST(decoding, reads_weights_at_each_call)
{
    static const int32_t ids[] = { 4, 5, 6, 3 };
    static const int64_t at[] = { 0, 4 };
    fixture               f;
    tn_transformer_config c = tiny();
    if (!open_fixture(&f, &c, TN_F64)) return;
    tn_translate_options o = { .max_ratio = 0.5, .max_extra = TN_NONE };
    tn_translator       *t = tn_translator_new(f.model, &o);
    const tn_translation *y = tn_translate(t, ids, at, 1);
    CHECK(y && y->n <= 2);
    double *table = tn_variable_data(f.model->target.w);
    for (int i = 0; i < VOCAB * 4; i++) table[i] *= i / 4 % 2 ? 1.5 : 0.5; /* d_model 4 */
    tn_translator *fresh = tn_translator_new(f.model, &o);
    const tn_translation *want = tn_translate(fresh, ids, at, 1);
    y = tn_translate(t, ids, at, 1);
    CHECK(y && want && y->n == want->n && y->log_prob == want->log_prob);
    tn_translator_free(t), tn_translator_free(fresh);
    close_fixture(&f);
}

/* Numbers that a file may hold, and whose products are infinite: an error, not an empty text. */
TEST(decoding, scores_that_are_not_finite)
{
    static const int32_t ids[] = { 4, 5, 3, 7, 8, 6, 3 };
    static const int64_t at[] = { 0, 3, 7 };
    for (int beam = 1; beam <= 4; beam += 3)
        for (int at_once = 1; at_once <= 2; at_once++) {
            fixture               f;
            tn_transformer_config c = tiny();
            if (!open_fixture(&f, &c, TN_F32)) return;
            tn_translator *t = tn_translator_new(
                f.model, &(tn_translate_options){ .beam = beam, .n_best = beam, .batch = 1,
                                                  .at_once = at_once });
            const tn_translation *y = tn_translate(t, ids, at, 2);
            for (int i = 0; y && i < 2 * beam; i++) CHECK(isfinite(y[i].score) || !y[i].ids);
            tn_variable_fill(f.model->target.w, 3e38);
            CHECK(!tn_translate(t, ids, at, 2));
            CHECK_INT(tn_ctx_status(f.ctx), TN_ERR_ARG);
            CHECK_CONTAINS(tn_error(f.ctx), "the scores of its tokens are not finite");
            tn_clear_error(f.ctx);
            tn_translator_free(t);
            close_fixture(&f);
        }
}

static bool same_ids(const tn_translation *x, const tn_translation *y)
{
    return x->n == y->n && memcmp(x->ids, y->ids, (size_t)x->n * sizeof *x->ids) == 0;
}

/* Asking for more translations changes not the first, and gives none twice; what was cut, and has
 * not paid for its end, stands behind what ended. */
TEST(decoding, more_translations_of_the_same)
{
    static const int32_t ids[] = { 4, 5, 3, 5, 3, 7, 6, 6, 3 };
    static const int64_t at[] = { 0, 3, 5, 9 };
    for (int extra = 1; extra < 5; extra++) {
        fixture               f;
        tn_transformer_config c = tiny();
        if (!open_fixture(&f, &c, TN_F64)) return;
        tn_translate_options o = { .beam = 4, .n_best = 1, .max_ratio = TN_NONE,
                                   .max_extra = extra };
        tn_translator *one = tn_translator_new(f.model, &o);
        o.n_best = 4;
        tn_translator        *more = tn_translator_new(f.model, &o);
        const tn_translation *x = tn_translate(one, ids, at, 3);
        const tn_translation *y = tn_translate(more, ids, at, 3);
        for (int i = 0; x && y && i < 3; i++)
            for (int j = 0; j < 4 && y[4 * i + j].ids; j++) {
                const tn_translation *got = &y[4 * i + j];
                if (j == 0) CHECK(same_ids(&x[i], got) && x[i].is_cut == got->is_cut);
                CHECK(j == 0 || got->is_cut >= got[-1].is_cut);
                for (int k = 0; k < j; k++) CHECK(!same_ids(&y[4 * i + k], got));
            }
        CHECK_MSG(x && y, "%s", tn_error(f.ctx));
        tn_translator_free(one), tn_translator_free(more);
        close_fixture(&f);
    }
}

TEST(decoding, wrong_options)
{
    fixture               f;
    tn_transformer_config c = tiny();
    static const int32_t  ids[20] = { 4 };
    if (!open_fixture(&f, &c, TN_F32)) return;
    CHECK(!tn_translator_new(f.model, &(tn_translate_options){ .beam = 33 }));
    CHECK_CONTAINS(tn_error(f.ctx), "beam 33 is not in [1, 32]");
    tn_clear_error(f.ctx);
    CHECK(!tn_translator_new(f.model, &(tn_translate_options){ .beam = 2, .n_best = 3 }));
    CHECK_CONTAINS(tn_error(f.ctx), "n_best 3 is not in [1, 2]");
    tn_clear_error(f.ctx);
    CHECK(!tn_translator_new(f.model, &(tn_translate_options){ .batch = INT64_MAX }));
    CHECK_CONTAINS(tn_error(f.ctx), "batch 9223372036854775807");
    tn_clear_error(f.ctx);
    tn_translator *t = tn_translator_new(f.model, NULL);
    for (int i = 0; i < 2; i++) { /* the second time no program has to be built */
        CHECK(tn_translate(t, ids, (const int64_t[]){ 0, 1 }, 1) != NULL);
        tn_fail(f.ctx, TN_ERR_GUARD, "of before");
    }
    tn_clear_error(f.ctx);
    CHECK(!tn_translate(t, ids, (const int64_t[]){ 0, 17 }, 1));
    CHECK_CONTAINS(tn_error(f.ctx), "source 0 has 17 tokens; the model has 16 positions");
    tn_clear_error(f.ctx);
    CHECK(tn_translate(t, NULL, (const int64_t[]){ 0 }, 0) != NULL);
    tn_translator_free(t);
    close_fixture(&f);
}

/* ---- without memory -------------------------------------------------------------------------- */

static bool make_and_translate(tn_ctx *ctx)
{
    static const int32_t  ids[] = { 4, 5, 3, 7, 3 };
    tn_transformer_config c = tiny();
    tn_params            *p = tn_params_new(ctx, TN_F32);
    tn_transformer       *m = tn_transformer_new(p, &c);
    tn_translator *t = tn_translator_new(
        m, &(tn_translate_options){ .beam = 2, .max_ratio = 1e-9, .max_extra = 2 });
    bool                  ok = tn_translate(t, ids, (const int64_t[]){ 0, 3, 5 }, 2) != NULL;
    tn_translator_free(t);
    tn_transformer_free(m);
    tn_params_free(p);
    return ok;
}

TEST(decoding, each_allocation_may_fail) { check_each_allocation(make_and_translate); }

TEST_MAIN
