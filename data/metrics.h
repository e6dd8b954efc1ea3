/* How good translations are: corpus BLEU (Papineni et al. 2002) and chrF (Popovic 2015), with the
 * definitions and the numbers of sacreBLEU (Post 2018), case kept. */
#ifndef TN_DATA_METRICS_H
#define TN_DATA_METRICS_H

#include "data/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How BLEU finds words; sacreBLEU's name. */
typedef enum tn_bleu_tokenizer {
    TN_BLEU_13A,  /* "13a", of mteval-v13a: for languages with spaces */
    TN_BLEU_ZH,   /* "zh": each Chinese character is a word */
    TN_BLEU_CHAR, /* "char": each character is a word */
    TN_BLEU_NONE  /* "none": what white space separates */
} tn_bleu_tokenizer;

enum { TN_BLEU_ORDER = 4, TN_CHRF_ORDER = 6 };

typedef struct tn_metric_options {
    tn_bleu_tokenizer tokenizer;       /* of BLEU */
    bool              effective_order; /* of BLEU: leave out orders without n-grams: for single,
                                        * short sentences */
    int               n_refs;          /* references of each hypothesis; 0: 1 */
} tn_metric_options;

typedef struct tn_bleu_score {
    double  score;                    /* 0 to 100 */
    double  precision[TN_BLEU_ORDER]; /* percent, of 1- to 4-grams, smoothed ("exp") where 0 */
    double  brevity;                  /* the brevity penalty, 0 to 1 */
    int64_t n_match[TN_BLEU_ORDER], n_total[TN_BLEU_ORDER];
    int64_t hyp_length, ref_length;   /* in words */
} tn_bleu_score;

/* BLEU of n hypotheses. Reference r of hypothesis i is references[r * n + i]. options may be NULL.
 * TN_ERR_ARG, TN_ERR_MEMORY. */
TN_API tn_status tn_bleu(tn_ctx *ctx, const tn_text *hypotheses, const tn_text *references,
                         int64_t n, const tn_metric_options *options, tn_bleu_score *score);

/* "BLEU = 27.31 58.1/33.2/20.8/13.4 (BP = 1.000 ratio = 1.012 hyp_len = 1022 ref_len = 1010)", cut
 * to size bytes with the NUL. Gives buf. */
TN_API const char *tn_bleu_text(const tn_bleu_score *score, char *buf, size_t size);

/* chrF2 of n hypotheses, 0 to 100: character 1- to 6-grams without white space, recall counted
 * twice. */
TN_API tn_status tn_chrf(tn_ctx *ctx, const tn_text *hypotheses, const tn_text *references,
                         int64_t n, const tn_metric_options *options, double *score);

#ifdef __cplusplus
}
#endif
#endif
