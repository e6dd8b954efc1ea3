/* BLEU and chrF against the numbers of sacreBLEU 2.6.0 for the same texts:
 *
 *     BLEU(tokenize=.., effective_order=..).corpus_score(hypotheses, references)
 *     CHRF().corpus_score(hypotheses, references)
 */
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

static const char *const en_hyp[] = {
    "The cat sat on the mat.",
    "It costs $3,500.00 (or 2-3 times as much), doesn't it?",
    "A quick brown fox jumps over the lazy dog - twice!",
    "Nothing in common here",
};
static const char *const en_ref[] = {
    "The cat is sitting on the mat.",
    "It costs $3,500.00 (or 2 to 3 times as much), does it not?",
    "The quick brown fox jumped over the lazy dog - twice!",
    "Completely different words, all of them",
    "A cat sat upon the mat.",
    "That is $3,500.00, i.e. 2-3 times more, isn't it?",
    "A quick brown fox jumps over lazy dogs twice!",
    "Nothing here",
};
static const char *const fr_hyp[] = {
    "L’équipe a gagné\302\240: 3,5 à 2.",
    "«\342\200\257Bonjour\342\200\257», dit-il.",
    "C'est l'été, n'est-ce pas ?",
};
static const char *const fr_ref[] = {
    "L’équipe a perdu\302\240: 3,5 à 2...",
    "«\342\200\257Bonsoir\342\200\257», dit-elle.",
    "C'était l'été, n'est-ce pas ?",
};
static const char *const zh_hyp[] = {
    "从那之后发生了什么事？",
    "网格的高度 (grid)",
    "选择“文件”…保存",
};
static const char *const zh_ref[] = {
    "从那之后又发生了什么事？",
    "网格高度 (grid)",
    "点击“文件”…另存为",
};
static const char *const odd_hyp[] = {
    "&quot;R&amp;D&quot; &lt;b&gt; &amp;lt; x",
    "a line-\nbroken in two\nlines here",
    "one<skipped> two three four five  ",
    "1.5.2-3 ...a,b,,c 4-",
    "tab\tand\342\200\203wide\343\200\200spaces",
};
static const char *const odd_ref[] = {
    "\"R&D\" <b> < y",
    "a linebroken in two lines here",
    "one two three four five six",
    "1.5.2 -3 ... a , b , , c 4 -",
    "tab and wide spaces",
};
#define LIST(...) (const char *const[]){ __VA_ARGS__ }

static const metric_case cases[] = {
    { "english", en_hyp, en_ref, 4, { 0 },
      .bleu = 51.135851093343852, .chrf = 60.527970964272669, .brevity = 0.88249690258459546,
      .n_match = { 31, 23, 17, 12 }, .n_total = { 40, 36, 32, 28 }, .lengths = { 40, 45 } },
    { "english, two references", en_hyp, en_ref, 4, { .n_refs = 2 },
      .bleu = 74.182042204736433, .chrf = 76.033502918958902, .brevity = 1,
      .n_match = { 37, 30, 22, 16 }, .n_total = { 40, 36, 32, 28 }, .lengths = { 40, 39 } },
    { "english, white space", en_hyp, en_ref, 4, { .tokenizer = TN_BLEU_NONE },
      .bleu = 34.577575908026219, .chrf = 60.527970964272669, .brevity = 0.82402996281288454,
      .n_match = { 21, 15, 9, 4 }, .n_total = { 31, 27, 23, 19 }, .lengths = { 31, 37 } },
    { "french", fr_hyp, fr_ref, 3, { 0 },
      .bleu = 47.087263120307327, .chrf = 58.720596750571232, .brevity = 0.90483741803595952,
      .n_match = { 16, 10, 6, 4 }, .n_total = { 20, 17, 14, 11 }, .lengths = { 20, 22 } },
    { "chinese", zh_hyp, zh_ref, 3, { .tokenizer = TN_BLEU_ZH },
      .bleu = 62.206863489149193, .chrf = 57.106577254014667, .brevity = 0.96491594437236994,
      .n_match = { 24, 18, 13, 9 }, .n_total = { 28, 25, 22, 19 }, .lengths = { 28, 29 } },
    { "chinese as characters", zh_hyp, zh_ref, 3, { .tokenizer = TN_BLEU_CHAR },
      .bleu = 66.909990592080192, .chrf = 57.106577254014667, .brevity = 0.96825667714391062,
      .n_match = { 27, 21, 16, 12 }, .n_total = { 31, 28, 25, 22 }, .lengths = { 31, 32 } },
    { "chinese as words", zh_hyp, zh_ref, 3, { 0 },
      .bleu = 53.728496591177098, .chrf = 57.106577254014667, .brevity = 1,
      .n_match = { 3, 2, 1, 0 }, .n_total = { 6, 3, 2, 1 }, .lengths = { 6, 6 } },
    { "odd", odd_hyp, odd_ref, 5, { 0 },
      .bleu = 87.460156279647691, .chrf = 75.276967622308348, .brevity = 1,
      .n_match = { 36, 30, 25, 20 }, .n_total = { 39, 34, 29, 24 }, .lengths = { 39, 39 } },
    { "the same", en_ref, en_ref, 4, { 0 },
      .bleu = 100.00000000000004, .chrf = 100, .brevity = 1,
      .n_match = { 45, 41, 37, 33 }, .n_total = { 45, 41, 37, 33 }, .lengths = { 45, 45 } },
    { "no match", LIST("a b c d e"), LIST("v w x y z"), 1, { 0 },
      .bleu = 0, .chrf = 0, .brevity = 1,
      .n_match = { 0, 0, 0, 0 }, .n_total = { 5, 4, 3, 2 }, .lengths = { 5, 5 } },
    { "no 4-gram", LIST("the cat sat on a mat", "b c"), LIST("the cat sat in a hat", "b d"), 2,
      { 0 },
      .bleu = 30.523679179039231, .chrf = 56.386717857306088, .brevity = 1,
      .n_match = { 5, 2, 1, 0 }, .n_total = { 8, 6, 4, 3 }, .lengths = { 8, 8 } },
    { "no 4-gram", LIST("the cat sat on a mat", "b c"), LIST("the cat sat in a hat", "b d"), 2,
      { .effective_order = true },
      .bleu = 30.523679179039231, .chrf = 56.386717857306088, .brevity = 1,
      .n_match = { 5, 2, 1, 0 }, .n_total = { 8, 6, 4, 3 }, .lengths = { 8, 8 } },
    { "only words match", LIST("a c b d"), LIST("a b c d"), 1, { 0 },
      .bleu = 22.59005009024613, .chrf = 25, .brevity = 1,
      .n_match = { 4, 0, 0, 0 }, .n_total = { 4, 3, 2, 1 }, .lengths = { 4, 4 } },
    { "too short for 4-grams", LIST("a b c", "d e"), LIST("a b c", "d f"), 2, { 0 },
      .bleu = 0, .chrf = 82.222222222222229, .brevity = 1,
      .n_match = { 4, 2, 1, 0 }, .n_total = { 5, 3, 1, 0 }, .lengths = { 5, 5 } },
    { "too short for 4-grams", LIST("a b c", "d e"), LIST("a b c", "d f"), 2,
      { .effective_order = true },
      .bleu = 81.096026607645342, .chrf = 82.222222222222229, .brevity = 1,
      .n_match = { 4, 2, 1, 0 }, .n_total = { 5, 3, 1, 0 }, .lengths = { 5, 5 } },
    { "brevity", LIST("a b c d"), LIST("a b c d e f g h"), 1, { 0 },
      .bleu = 36.787944117144249, .chrf = 41.859830924461413, .brevity = 0.36787944117144233,
      .n_match = { 4, 3, 2, 1 }, .n_total = { 4, 3, 2, 1 }, .lengths = { 4, 8 } },
    { "longer", LIST("a b c d e f g h"), LIST("a b c d"), 1, { 0 },
      .bleu = 34.572078464194092, .chrf = 74.226305609284324, .brevity = 1,
      .n_match = { 4, 3, 2, 1 }, .n_total = { 8, 7, 6, 5 }, .lengths = { 8, 4 } },
    { "empty hypothesis", LIST("", "a b c d e"), LIST("x y z", "a b c d f"), 2, { 0 },
      .bleu = 36.701246089612823, .chrf = 42.2279792746114, .brevity = 0.54881163609402639,
      .n_match = { 4, 3, 2, 1 }, .n_total = { 5, 4, 3, 2 }, .lengths = { 5, 8 } },
    { "empty reference", LIST("x y z", "a b c d e"), LIST("", "a b c d f"), 2, { 0 },
      .bleu = 49.999999999999993, .chrf = 54.333333333333336, .brevity = 1,
      .n_match = { 4, 3, 2, 1 }, .n_total = { 8, 6, 4, 2 }, .lengths = { 8, 5 } },
    { "all empty", LIST("", ""), LIST("", ""), 2, { 0 },
      .bleu = 0, .chrf = 0, .brevity = 1,
      .n_match = { 0, 0, 0, 0 }, .n_total = { 0, 0, 0, 0 }, .lengths = { 0, 0 } },
};

enum { MAX_TEXTS = 64 };

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
    texts_of(en_hyp, 4, hyp), texts_of(en_ref, 4, ref);
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
    texts_of(en_hyp, 4, hyp), texts_of(en_ref, 8, ref);
    tn_metric_options o = { .n_refs = 2 };
    bool              ok = tn_bleu(ctx, hyp, ref, 4, &o, &b) == TN_OK;
    return ok && tn_chrf(ctx, hyp, ref, 4, &o, &chrf) == TN_OK;
}

TEST(bleu, no_memory) { check_each_allocation(both_metrics); }

TEST_MAIN
