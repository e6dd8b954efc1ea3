/* Batches of windows of one long text, as a language model is fed. */
#ifndef TN_DATA_WINDOWS_H
#define TN_DATA_WINDOWS_H

#include "data/batches.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_windows tn_windows;

typedef struct tn_windows_options {
    int64_t  rows;    /* windows of a batch; 0: 8 */
    int64_t  length;  /* tokens of a window; 0: 128 */
    bool     ordered; /* not shuffled, and all of the text: for evaluation */
    uint64_t seed;    /* of the shuffling; 0: the context's */
} tn_windows_options;

/* One batch, valid until the next call. Its shape is always the same: where an ordered text ends
 * before a row does, the rest is TN_PAD_ID. */
typedef struct tn_window_batch {
    int64_t        rows, length;
    const int32_t *in, *out;                 /* [rows, length]; out is in, one token later */
    int64_t        tokens;                   /* of out that are not padding */
    int64_t        epoch, number, n_batches; /* batch `number` of n_batches in this epoch */
    bool           is_last;                  /* of its epoch */
} tn_window_batch;

/* Windows of n tokens, which must stay until tn_windows_free. They do not overlap, and start at an
 * offset that is drawn anew each epoch, as their order is; what is left over at the end waits for
 * another epoch. options may be NULL. NULL: TN_ERR_ARG (a text too short for a batch),
 * TN_ERR_MEMORY. */
TN_API tn_windows *tn_windows_new(tn_ctx *ctx, const int32_t *tokens, int64_t n,
                                  const tn_windows_options *options);
TN_API void        tn_windows_free(tn_windows *w); /* NULL is fine */

/* As tn_batches_next, tn_batches_tell and tn_batches_seek. */
TN_API const tn_window_batch *tn_windows_next(tn_windows *w);
TN_API tn_batches_position    tn_windows_tell(const tn_windows *w);
TN_API tn_status              tn_windows_seek(tn_windows *w, tn_batches_position position);

#ifdef __cplusplus
}
#endif
#endif
