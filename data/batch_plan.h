/* Which pairs make up which batch of an epoch, and in what shape. */
#ifndef TN_DATA_BATCH_PLAN_H
#define TN_DATA_BATCH_PLAN_H

#include "data/batches.h"
#include "data/internal.h"

/* The n pairs that take part, each with what it takes of a batch, by length group; then the order
 * of one epoch. Group g is elements group_at[g] .. group_at[g + 1] - 1. */
typedef struct tn__batch_plan {
    tn_ctx            *ctx;
    tn_batches_options o;        /* without zeros */
    int64_t            n, n_dropped;
    int32_t           *pair;     /* [n]: number in the corpus */
    int32_t           *src, *tgt; /* [n]: tokens, with bos or eos */
    int32_t           *group;    /* [n] */
    int32_t           *group_at; /* [n_groups + 1] */
    int32_t           *fill;     /* [n_groups]: scratch */
    int64_t            n_groups;
    int64_t           *permutation; /* [n]: scratch */

    int64_t  epoch;    /* that the rest is of; -1: none yet */
    int64_t  n_batches;
    int32_t *order;    /* [n]: elements, batch after batch */
    int32_t *start;    /* [n_batches + 1]: in order */
    int32_t *sequence; /* [n_batches]: which of them comes when */
} tn__batch_plan;

typedef struct tn__batch_shape {
    int64_t rows, src, tgt; /* padded: rows and both lengths; packed: rows and both totals */
} tn__batch_shape;

/* Checks the options, fills in their defaults, and groups the pairs. False with the error in the
 * context; tn__batch_plan_clear either way. */
bool tn__batch_plan_init(tn__batch_plan *p, tn_ctx *ctx, const tn_token_pairs *pairs,
                         const tn_batches_options *options);
void tn__batch_plan_clear(tn__batch_plan *p);

/* Makes the order of an epoch: a pure function of (seed, epoch). Allocates nothing. */
void tn__batch_plan_epoch(tn__batch_plan *p, int64_t epoch);

/* The shape of the elements order[first .. last). */
tn__batch_shape tn__batch_plan_shape(const tn__batch_plan *p, int64_t first, int64_t last);

/* Rows and tokens of a side that no batch exceeds. */
int64_t tn__batch_plan_max_rows(const tn__batch_plan *p);

#endif
