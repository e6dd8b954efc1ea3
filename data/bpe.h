/* What splitting, training, encoding and the file format of the tokenizer share. */
#ifndef TN_DATA_BPE_H
#define TN_DATA_BPE_H

#include "data/internal.h"
#include "data/tokenizer.h"
#include "tensor/philox.h" /* tn__mix64 */

/* A piece is at most this long, and so is a token. Part of the format, as the splitting rule is. */
enum { TN__MAX_PIECE = 64, TN__MAX_VOCAB = 1 << 24 };

/* The length of the first piece of s, 0 < n bytes long. Merges never cross pieces. */
size_t tn__piece(const unsigned char *s, size_t n);

/* A tokenizer without merges, with room for n_merges of them. */
tn_tokenizer *tn__tokenizer_new(tn_ctx *ctx, int64_t n_merges);

/* Appends a merge, with the next id. TN_ERR_FORMAT with the reason in *why if it is no merge: an id
 * that is special or not there yet, a token longer than a piece, a pair that is there already. */
tn_status tn__tokenizer_add(tn_tokenizer *t, int64_t left, int64_t right, const char **why);

/* The two parts of a merge's id. */
void tn__tokenizer_merge(const tn_tokenizer *t, int64_t id, int32_t part[2]);

tn_ctx *tn__tokenizer_ctx(const tn_tokenizer *t);

/* A good hash of a piece (at most TN__MAX_PIECE bytes). */
uint64_t tn__piece_hash(const unsigned char *s, size_t n);

#endif
