/* Batches of sentence pairs, as a translation model is fed: within a budget of tokens, of like
 * lengths, in an order that depends on (seed, epoch) alone, so that a run is resumed exactly. */
#ifndef TN_DATA_BATCHES_H
#define TN_DATA_BATCHES_H

#include "data/token_pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_batches tn_batches;

typedef enum tn_batch_layout {
    TN_BATCH_PADDED, /* [n, t]: a row a sentence, pad after it */
    TN_BATCH_PACKED  /* [t]: sentences end to end, with their offsets */
} tn_batch_layout;

typedef struct tn_batches_options {
    tn_batch_layout layout;
    int64_t  tokens;       /* budget of each side. Padded: rows times the longer of the two padded
                            * lengths; packed: tokens end to end. 0: 4,096 */
    int64_t  max_rows;     /* rows of a batch; 0: as the budget allows */
    int64_t  max_length;   /* ids of a sentence, bos and eos not counted; 0: 256, or less if
                            * the budget has no room for that */
    bool     crop;         /* cut longer sentences to max_length, instead of leaving the pair out */
    int64_t  round_length; /* padded lengths, or packed totals, are multiples of this; 0: 8 */
    int64_t  round_rows;   /* rows are a multiple of this, by empty rows at the end; 0: 1 */
    bool     fixed_shapes; /* as few shapes as can be. Padded: both sides have one length, and each
                            * length one number of rows; packed: one shape for all, with max_rows
                            * rows (0: tokens / 8) */
    bool     source_eos;   /* sources end in eos too */
    bool     ordered;      /* not shuffled: the same batches each epoch, the shortest first if
                            * padded, and like pairs in the corpus's order */
    bool     prefetch;     /* a thread makes the next batch while this one is used */
    uint64_t seed;         /* of the shuffling; 0: the context's */
} tn_batches_options;

/* One batch. Its rows are `pairs` sentence pairs, and empty rows. Shapes are [rows, src_length] and
 * [rows, tgt_length] if padded, [src_length] and [tgt_length] if packed: then what is padding, at
 * the end, is in no row, and attention passes it by. The arrays are valid until the next call of
 * tn_batches_next or tn_batches_seek. */
typedef struct tn_batch {
    int64_t        rows, pairs;
    int64_t        src_length, tgt_length;
    const int32_t *src;                       /* a sentence (and eos, if asked for) */
    const int32_t *tgt_in;                    /* bos and the sentence */
    const int32_t *tgt_out;                   /* the sentence and eos */
    const int32_t *src_lengths, *tgt_lengths; /* [rows]: tokens of each pair; 0 for other rows */
    const uint8_t *src_keep, *tgt_keep;       /* bool, like src and tgt_in: false where pad */
    /* [rows + 1]: where each row starts, and the last one ends; packed only */
    const int32_t *src_offsets, *tgt_offsets;
    /* of each token in its row, from 0 (of padding: 0); packed only */
    const int32_t *src_places, *tgt_places;
    const int64_t *index;                     /* [rows]: the pair's number in the corpus, or -1 */
    int64_t        src_tokens, tgt_tokens;    /* sums of the lengths: what is not padding */
    int64_t        epoch, number, n_batches;  /* batch `number` of n_batches in this epoch */
    bool           is_last;                   /* of its epoch */
} tn_batch;

/* Which batch comes next. Saved and set again, it continues a run exactly. */
typedef struct tn_batches_position {
    int64_t epoch, batch;
} tn_batches_position;

/* Batches of pairs, which must stay until tn_batches_free. options may be NULL.
 * NULL: TN_ERR_ARG (options that do not fit each other, no pair left, offsets that fall),
 * TN_ERR_MEMORY. */
TN_API tn_batches *tn_batches_new(tn_ctx *ctx, const tn_token_pairs *pairs,
                                  const tn_batches_options *options);

TN_API void tn_batches_free(tn_batches *b); /* NULL is fine */

/* The next batch; after an epoch's last comes the first of the next epoch. Never NULL (but for a
 * NULL b) and, once made, allocates nothing. */
TN_API const tn_batch *tn_batches_next(tn_batches *b);

TN_API tn_batches_position tn_batches_tell(const tn_batches *b);

/* TN_ERR_INDEX, with nothing changed, if the epoch has no such batch. */
TN_API tn_status tn_batches_seek(tn_batches *b, tn_batches_position position);

TN_API int64_t tn_batches_pairs(const tn_batches *b);   /* pairs of an epoch */
TN_API int64_t tn_batches_dropped(const tn_batches *b); /* pairs left out for their length */

/* A hash of ids and options: a position has a meaning only where this is the same. */
TN_API uint64_t tn_batches_fingerprint(const tn_batches *b);

#ifdef __cplusplus
}
#endif
#endif
