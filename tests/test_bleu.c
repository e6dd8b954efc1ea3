/* BLEU and chrF against the numbers of sacreBLEU 2.6.0 for the same texts, which the script
 * references/bleu.py has put into references/bleu.h. */
#include "check.h"
#include "failing.h"
#include "data/metrics.h"

typedef struct metric_case {
    const char        *name;
    const char *const *hyp, *const *ref; /* n hypotheses; n_refs times n references */
    int                n;
    tn_metric_options  options;
    double             bleu, chrf, brevity;
    int64_t            n_match[4], n_total[4], lengths[2];
} metric_case;

#include "references/bleu.h"

enum { MAX_TEXTS = 128 };

static void texts_of(const char *const *strings, int n, tn_text *out)
{
    for (int i = 0; i < n; i++) out[i] = tn_text_of(strings[i]);
}

TEST(bleu, equals_sacrebleu)
{
    tn_ctx *ctx = tn_ctx_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const metric_case *c = &cases[i];
        tn_text            hyp[MAX_TEXTS], ref[MAX_TEXTS];
        tn_bleu_score      b;
        double             chrf = -1;
        texts_of(c->hyp, c->n, hyp);
        texts_of(c->ref, c->n * (c->options.n_refs ? c->options.n_refs : 1), ref);
        CHECK_INT(tn_bleu(ctx, hyp, ref, c->n, &c->options, &b), TN_OK);
        CHECK_INT(tn_chrf(ctx, hyp, ref, c->n, &c->options, &chrf), TN_OK);
        CHECK_MSG(fabs(b.score - c->bleu) < 1e-9, "%s: expected BLEU %.12f, got %.12f", c->name,
                  c->bleu, b.score);
        CHECK_MSG(fabs(chrf - c->chrf) < 1e-9, "%s: expected chrF %.12f, got %.12f", c->name,
                  c->chrf, chrf);
        CHECK_NEAR(b.brevity, c->brevity, 1e-12);
        for (int k = 0; k < 4; k++)
            CHECK_MSG(b.n_match[k] == c->n_match[k] && b.n_total[k] == c->n_total[k],
                      "%s: %d-grams: expected %d of %d, got %d of %d", c->name, k + 1,
                      (int)c->n_match[k], (int)c->n_total[k], (int)b.n_match[k], (int)b.n_total[k]);
        CHECK_INT(b.hyp_length, c->lengths[0]);
        CHECK_INT(b.ref_length, c->lengths[1]);
    }
    tn_ctx_free(ctx);
}

TEST(bleu, text)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_text       hyp[4], ref[4];
    tn_bleu_score b;
    char          buf[128];
    texts_of(cases[0].hyp, 4, hyp), texts_of(cases[0].ref, 4, ref);
    CHECK_INT(tn_bleu(ctx, hyp, ref, 4, NULL, &b), TN_OK);
    CHECK_STR(tn_bleu_text(&b, buf, sizeof buf),
              "BLEU = 51.14 77.5/63.9/53.1/42.9 (BP = 0.882 ratio = 0.889 hyp_len = 40 "
              "ref_len = 45)");
    CHECK_STR(tn_bleu_text(&b, buf, 8), "BLEU = ");
    tn_ctx_free(ctx);
}

/* Any bytes give a score, and a text compared with itself the best one. */
TEST(bleu, any_bytes)
{
    static const char alphabet[] = "ab1., -\n&;\xc3\xa9\xe4\xb8\xad\xff";
    tn_ctx           *ctx = tn_ctx_new(NULL);
    uint32_t          random = 5;
    for (int round = 0; round < 2000; round++) {
        char          bytes[2][40];
        tn_text       text[2];
        tn_bleu_score b;
        double        chrf = -1;
        for (int k = 0; k < 2; k++) {
            size_t n = (random = random * 1664525 + 1013904223) >> 8 & 31;
            for (size_t i = 0; i < n; i++) {
                random = random * 1664525 + 1013904223;
                bytes[k][i] = alphabet[(random >> 16) % (sizeof alphabet - 1)];
            }
            text[k] = (tn_text){ bytes[k], n };
        }
        tn_metric_options o = { .tokenizer = (tn_bleu_tokenizer)(round % 4),
                                .effective_order = true };
        for (int k = 0; k < 2; k++) {
            CHECK_INT(tn_bleu(ctx, &text[0], &text[k], 1, &o, &b), TN_OK);
            CHECK_INT(tn_chrf(ctx, &text[0], &text[k], 1, &o, &chrf), TN_OK);
            CHECK(b.score >= 0 && b.score < 100.0001 && chrf >= 0 && chrf < 100.0001);
            if (k == 0 && b.hyp_length > 0) CHECK(b.score > 99.9999 && chrf > 99.9999);
        }
    }
    tn_ctx_free(ctx);
}

TEST(bleu, refused)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_text       good = tn_text_of("a"), bad = { NULL, 3 };
    tn_bleu_score b;
    double        chrf;
    CHECK_INT(tn_bleu(ctx, NULL, &good, 1, NULL, &b), TN_ERR_ARG);
    CHECK_STR(tn_error(ctx), "bleu: NULL texts");
    tn_clear_error(ctx);
    CHECK_INT(tn_bleu(ctx, &good, &good, 1, NULL, NULL), TN_ERR_ARG);
    CHECK_STR(tn_error(ctx), "bleu: NULL score");
    tn_clear_error(ctx);
    CHECK_INT(tn_chrf(ctx, &good, &bad, 1, NULL, &chrf), TN_ERR_ARG);
    CHECK_STR(tn_error(ctx), "chrf: reference 0 is NULL");
    tn_clear_error(ctx);
    CHECK_INT(tn_chrf(ctx, &good, &good, -1, NULL, &chrf), TN_ERR_ARG);
    tn_clear_error(ctx);
    tn_metric_options o = { .n_refs = -1 };
    CHECK_INT(tn_chrf(ctx, &good, &good, 1, &o, &chrf), TN_ERR_ARG);
    CHECK_STR(tn_error(ctx), "chrf: 1 sentences with -1 references");
    CHECK_INT(tn_bleu(NULL, &good, &good, 1, NULL, &b), TN_ERR_ARG);
    tn_clear_error(ctx);
    CHECK_INT(tn_bleu(ctx, NULL, NULL, 0, NULL, &b), TN_OK);
    CHECK_NEAR(b.score, 0, 0);
    tn_ctx_free(ctx);
}

static bool both_metrics(tn_ctx *ctx)
{
    tn_text       hyp[4], ref[8];
    tn_bleu_score b;
    double        chrf;
    texts_of(cases[1].hyp, 4, hyp), texts_of(cases[1].ref, 8, ref); /* two references */
    tn_metric_options o = { .n_refs = 2 };
    bool              ok = tn_bleu(ctx, hyp, ref, 4, &o, &b) == TN_OK;
    return ok && tn_chrf(ctx, hyp, ref, 4, &o, &chrf) == TN_OK;
}

TEST(bleu, no_memory) { check_each_allocation(both_metrics); }

TEST_MAIN
