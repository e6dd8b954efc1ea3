/* The host's side of beam search: which hypotheses go on. Knows neither model nor programs. */
#ifndef TN_MODELS_BEAM_H
#define TN_MODELS_BEAM_H

#include "models/decode.h"

typedef struct tn__ended {
    double  log_prob, score;
    int64_t step, beam; /* its last token is that of this beam in the step before */
    bool    is_cut;
} tn__ended;

/* One sentence. At step t each of k beams has a last token; what the model says of the next one is
 * given to tn__beam_advance. */
typedef struct tn__beam {
    int64_t    k, n_best, limit; /* limit: tokens at most, eos not counted */
    double     alpha;
    int32_t    eos;
    bool       is_done;
    int64_t    n_ended;
    tn__ended *ended;    /* [n_best], best first */
    double    *log_prob; /* [k] of beams; -inf: not there */
    double    *room;     /* [k] */
    int32_t   *token;    /* [limit, k]: what beam j got in step t */
    int32_t   *parent;   /* [limit, k]: which beam it was before */
} tn__beam;

/* candidates of beam j, falling: id[j n + i] with log probability p[j n + i]; of beams that are
 * there. False, and nothing has changed: of a beam not even the first is finite. */
bool tn__beam_advance(tn__beam *b, int64_t t, const int64_t *id, const double *p, int64_t n);

/* The ids of an ended hypothesis: out[e->step]. */
void tn__beam_trace(const tn__beam *b, const tn__ended *e, int32_t *out);

#endif
