/* Translating with a Transformer: greedy search and beam search, with a cache of keys and values.
 *
 *     tn_translator        *t = tn_translator_new(m, &(tn_translate_options){ .beam = 5 });
 *     const tn_translation *y = tn_translate(t, ids, at, n);    // y[i]: of source i
 */
#ifndef TN_MODELS_DECODE_H
#define TN_MODELS_DECODE_H

#include "models/transformer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_translate_options {
    int64_t beam;           /* hypotheses that go on at each place, at most 32; 0 or 1: greedy */
    int64_t n_best;         /* translations of each source; at most beam; 0: 1 */
    double  length_penalty; /* alpha: the score is log p / ((5 + length) / 6)^alpha, eos counted, Wu
                               et al. 2016, eq. 14; 0: 0.6; TN_NONE: no penalty */
    /* a translation has at most max_ratio tokens for each of the source, .. */
    double  max_ratio;
    int64_t max_extra;      /* .. and this many; 0: 2 and 10; TN_NONE of these: none. Never more
                               than there are positions */
    int64_t batch;          /* sources that are translated together; 0: 32 */
    int64_t at_once;        /* batches that are translated at the same time, each by its share of
                               the threads, where there are as many, or all as one batch, if that
                               is small: more tokens a second for as many times the caches; at most
                               the threads; 0: they, but 4 at most */
    bool    is_fixed;       /* the parameters stay as they are while the translator lives: they are
                               packed for the decoder's products once, and not at each call */
} tn_translate_options;

typedef struct tn_translation {
    const int32_t *ids; /* without bos and eos; NULL: there is none */
    int64_t        n;
    double         log_prob; /* of the ids and eos together, among tokens but pad and bos */
    double         score;    /* log_prob over the length penalty */
    bool           is_cut;   /* it reached the most tokens and did not end */
} tn_translation;

typedef struct tn_translator tn_translator;

/* Programs and caches to translate with the model, which must stay until the translator is freed.
 * It reads the parameters as they are at each call, unless they are said to be fixed. One set of
 * caches for each shape is kept, a few at most. options may be NULL.
 * NULL: TN_ERR_ARG, TN_ERR_MEMORY. */
TN_API tn_translator *tn_translator_new(const tn_transformer *m,
                                        const tn_translate_options *options);
TN_API void           tn_translator_free(tn_translator *t); /* NULL is fine */

/* Translates n sources: source i is ids[at[i]] .. ids[at[i + 1] - 1], ending in eos if the model
 * was trained so. Translation j (of n_best, best first, those that are cut behind those that ended)
 * of source i is at [i n_best + j] and valid until the next call. What comes of a source does not
 * depend on those beside it. NULL: TN_ERR_ARG (a source too long; scores that are not finite, as of
 * huge weights), TN_ERR_INDEX (an id that is none), TN_ERR_MEMORY, TN_ERR_CANCELLED,
 * TN_ERR_BUSY. */
TN_API const tn_translation *tn_translate(tn_translator *t, const int32_t *ids, const int64_t *at,
                                          int64_t n);

#ifdef __cplusplus
}
#endif
#endif
