/* BLEU and chrF: both count the n-grams that a hypothesis has in common with its references, over a
 * whole corpus, and divide at the end. */
#include "data/metrics.h"
#include "data/mteval.h"
#include "tensor/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_REFS = 1024 };

static tn_status check_arguments(tn_ctx *ctx, const char *who, const tn_text *hyps,
                                 const tn_text *refs, int64_t n, int n_refs, const void *score)
{
    if (n < 0 || n_refs < 1 || n_refs > MAX_REFS || n > INT64_MAX / MAX_REFS)
        return tn_fail(ctx, TN_ERR_ARG, "%s: %lld sentences with %d references", who, (long long)n,
                       n_refs);
    if (!score || (n > 0 && (!hyps || !refs)))
        return tn_fail(ctx, TN_ERR_ARG, "%s: NULL %s", who, score ? "texts" : "score");
    for (int64_t i = 0; i < n; i++)
        if (!hyps[i].bytes && hyps[i].length > 0)
            return tn_fail(ctx, TN_ERR_ARG, "%s: hypothesis %lld is NULL", who, (long long)i);
    for (int64_t i = 0; i < n * n_refs; i++)
        if (!refs[i].bytes && refs[i].length > 0)
            return tn_fail(ctx, TN_ERR_ARG, "%s: reference %lld is NULL", who, (long long)i);
    return TN_OK;
}

/* ---- BLEU --------------------------------------------------------------------------------
 *
 * n-grams are 1 to 4 words. Where hypotheses are shorter than references there is a penalty.
 * Smoothing "exp" (NIST): the k-th order without a match counts as 1 / 2^k of a match. */

/* Memory for one sentence after the other. */
typedef struct scratch {
    tn_ctx    *ctx;
    tn__mteval mteval;
    tn__words  words;
    tn__units  units;   /* of the hypothesis, then of each reference */
    int64_t   *at;      /* [n_refs + 2]: where in units each starts */
    tn__ngrams ngrams;
} scratch;

/* Of the references' lengths the one nearest to the hypothesis's, on ties the shorter. */
static int64_t nearest_length(const scratch *s, int n_refs)
{
    int64_t hyp = s->at[1] - s->at[0], best = s->at[2] - s->at[1];
    for (int r = 1; r < n_refs; r++) {
        int64_t length = s->at[r + 2] - s->at[r + 1];
        int64_t near = llabs(best - hyp), here = llabs(length - hyp);
        if (here < near || (here == near && length < best)) best = length;
    }
    return best;
}

/* Text k of a sentence: 0 is the hypothesis, then the references. */
static tn__units units_of(const scratch *s, int k)
{
    return (tn__units){ .id = s->units.id + s->at[k], .n = s->at[k + 1] - s->at[k] };
}

static bool add_sentence(scratch *s, tn_bleu_tokenizer tokenizer, const tn_text *hyp,
                         const tn_text *refs, int64_t stride, int n_refs, tn_bleu_score *score)
{
    s->units.n = 0;
    for (int k = 0; k <= n_refs; k++) {
        tn_text text = k == 0 ? *hyp : refs[(k - 1) * stride];
        if (!tn__mteval_words(&s->mteval, tokenizer, text, &s->words, &s->units)) return false;
        s->at[k + 1] = s->units.n;
    }
    if (s->units.n == 0) return true;
    if (!tn__ngrams_reset(&s->ngrams, TN_BLEU_ORDER * s->units.n)) return false;
    for (int order = 1; order <= TN_BLEU_ORDER; order++) {
        tn__units hypothesis = units_of(s, 0);
        for (int r = 1; r <= n_refs; r++) {
            tn__units reference = units_of(s, r);
            tn__ngrams_reference(&s->ngrams, &reference, order);
        }
        score->n_match[order - 1] += tn__ngrams_match(&s->ngrams, &hypothesis, order);
        if (hypothesis.n >= order) score->n_total[order - 1] += hypothesis.n - order + 1;
    }
    score->hyp_length += s->at[1];
    score->ref_length += nearest_length(s, n_refs);
    return true;
}

/* precision, brevity and score from the counts. */
static void finish(tn_bleu_score *b, bool effective_order)
{
    double  sum = 0, smooth = 1;
    int     order = 0;
    int64_t n_match = 0;
    for (int k = 0; k < TN_BLEU_ORDER; k++) n_match += b->n_match[k];
    b->brevity = 1;
    if (b->hyp_length < b->ref_length)
        b->brevity = b->hyp_length > 0
            ? exp(1 - (double)b->ref_length / (double)b->hyp_length) : 0;
    if (n_match == 0) return;
    for (; order < TN_BLEU_ORDER && b->n_total[order] > 0; order++) {
        double match = (double)b->n_match[order];
        if (b->n_match[order] == 0) match = 1 / (smooth *= 2);
        b->precision[order] = 100 * match / (double)b->n_total[order];
        sum += log(b->precision[order]);
    }
    if (order == TN_BLEU_ORDER || effective_order) b->score = b->brevity * exp(sum / order);
}

tn_status tn_bleu(tn_ctx *ctx, const tn_text *hyps, const tn_text *refs, int64_t n,
                  const tn_metric_options *options, tn_bleu_score *score)
{
    tn_metric_options o = options ? *options : (tn_metric_options){ 0 };
    int               n_refs = o.n_refs ? o.n_refs : 1;
    if (!ctx) return TN_ERR_ARG;
    tn_status status = check_arguments(ctx, "bleu", hyps, refs, n, n_refs, score);
    if (status == TN_OK && (unsigned)o.tokenizer > TN_BLEU_NONE)
        status = tn_fail(ctx, TN_ERR_ARG, "bleu: no tokenizer has the number %d", (int)o.tokenizer);
    if (status != TN_OK) return status;
    *score = (tn_bleu_score){ 0 };
    scratch s = { .ctx = ctx, .mteval = { .ctx = ctx }, .words = { .ctx = ctx },
                  .ngrams = { .ctx = ctx }, .at = tn__array_new(ctx, n_refs + 2, sizeof *s.at) };
    if (!s.at) status = TN_ERR_MEMORY;
    for (int64_t i = 0; i < n && status == TN_OK; i++)
        if (!add_sentence(&s, o.tokenizer, &hyps[i], &refs[i], n, n_refs, score))
            status = TN_ERR_MEMORY;
    if (status == TN_OK) finish(score, o.effective_order);
    tn__mteval_clear(&s.mteval);
    tn__words_clear(&s.words);
    tn_free(ctx, s.units.id);
    tn_free(ctx, s.at);
    tn_free(ctx, s.ngrams.slots);
    return status;
}

const char *tn_bleu_text(const tn_bleu_score *b, char *buf, size_t size)
{
    if (!buf || size == 0) return buf;
    if (!b) return buf[0] = 0, buf;
    double ratio = b->ref_length ? (double)b->hyp_length / (double)b->ref_length : 0;
    snprintf(buf, size, "BLEU = %.2f %.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %" PRId64
             " ref_len = %" PRId64 ")", b->score, b->precision[0], b->precision[1], b->precision[2],
             b->precision[3], b->brevity, ratio, b->hyp_length, b->ref_length);
    return buf;
}

/* ---- chrF --------------------------------------------------------------------------------
 *
 * n-grams are 1 to 6 characters, white space left out. Precision and recall are means over the
 * orders that both sides have; recall weighs beta^2 = 4 times as much. */

/* n-grams of each order: the hypothesis's (if the reference has any), the reference's, common. */
typedef struct chrf_counts {
    int64_t hyp[TN_CHRF_ORDER], ref[TN_CHRF_ORDER], match[TN_CHRF_ORDER];
} chrf_counts;

static double chrf_score(const chrf_counts *c)
{
    double precision = 0, recall = 0, beta2 = 4;
    int    n_orders = 0;
    for (int k = 0; k < TN_CHRF_ORDER; k++) {
        if (c->hyp[k] == 0 || c->ref[k] == 0) continue;
        precision += (double)c->match[k] / (double)c->hyp[k];
        recall += (double)c->match[k] / (double)c->ref[k];
        n_orders++;
    }
    if (precision + recall == 0) return 0;
    precision /= n_orders, recall /= n_orders;
    return 100 * (1 + beta2) * precision * recall / (beta2 * precision + recall);
}

/* The characters of a text but white space; a byte that is no UTF-8 is a character of its own. */
static bool characters_of(tn_ctx *ctx, tn_text text, tn__units *u)
{
    const unsigned char *s = (const unsigned char *)text.bytes;
    size_t               size;
    u->n = 0;
    for (size_t i = 0; i < text.length; i += size) {
        int32_t code = tn__utf8_next(s + i, text.length - i, &size);
        if (code < 0) code = 0x110000 + s[i];
        if (!tn__is_space(code) && !tn__units_push(ctx, u, code)) return false;
    }
    return true;
}

static bool count_chrf(tn__ngrams *g, const tn__units *hyp, const tn__units *ref, chrf_counts *c)
{
    *c = (chrf_counts){ .hyp = { 0 } };
    if (!tn__ngrams_reset(g, TN_CHRF_ORDER * (hyp->n + ref->n))) return false;
    for (int k = 0; k < TN_CHRF_ORDER; k++) {
        if (ref->n <= k) continue;
        tn__ngrams_reference(g, ref, k + 1);
        c->match[k] = tn__ngrams_match(g, hyp, k + 1);
        c->hyp[k] = hyp->n > k ? hyp->n - k : 0;
        c->ref[k] = ref->n - k;
    }
    return true;
}

static void add_counts(chrf_counts *to, const chrf_counts *c)
{
    for (int k = 0; k < TN_CHRF_ORDER; k++) {
        to->hyp[k] += c->hyp[k];
        to->ref[k] += c->ref[k];
        to->match[k] += c->match[k];
    }
}

/* Memory for one sentence after the other. */
typedef struct chrf_scratch {
    tn_ctx    *ctx;
    tn__units  hyp, ref;
    tn__ngrams ngrams;
} chrf_scratch;

/* Adds the counts with the reference that gives the best score; of equals the first. */
static bool add_chrf(chrf_scratch *s, tn_text hyp, const tn_text *refs, int64_t stride, int n_refs,
                     chrf_counts *total)
{
    chrf_counts best = { .hyp = { 0 } }, c;
    double      best_score = -1;
    if (!characters_of(s->ctx, hyp, &s->hyp)) return false;
    for (int r = 0; r < n_refs; r++) {
        if (!characters_of(s->ctx, refs[r * stride], &s->ref) ||
            !count_chrf(&s->ngrams, &s->hyp, &s->ref, &c)) return false;
        if (chrf_score(&c) <= best_score) continue;
        best_score = chrf_score(&c);
        best = c;
    }
    add_counts(total, &best);
    return true;
}

tn_status tn_chrf(tn_ctx *ctx, const tn_text *hyps, const tn_text *refs, int64_t n,
                  const tn_metric_options *options, double *score)
{
    int         n_refs = options && options->n_refs ? options->n_refs : 1;
    chrf_counts total = { .hyp = { 0 } };
    if (!ctx) return TN_ERR_ARG;
    tn_status status = check_arguments(ctx, "chrf", hyps, refs, n, n_refs, score);
    if (status != TN_OK) return status;
    chrf_scratch s = { .ctx = ctx, .ngrams = { .ctx = ctx } };
    for (int64_t i = 0; i < n && status == TN_OK; i++)
        if (!add_chrf(&s, hyps[i], &refs[i], n, n_refs, &total)) status = TN_ERR_MEMORY;
    *score = chrf_score(&total);
    tn_free(ctx, s.hyp.id);
    tn_free(ctx, s.ref.id);
    tn_free(ctx, s.ngrams.slots);
    return status;
}
