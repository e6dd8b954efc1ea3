/* A byte-level BPE tokenizer: trains on text, encodes, decodes losslessly (any bytes at all), and
 * is saved in the format of docs/tokenizer-format.md. */
#ifndef TN_DATA_TOKENIZER_H
#define TN_DATA_TOKENIZER_H

#include "data/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Ids: four special ones, then the 256 bytes, then one for each merge in the order of training. A
 * byte-level tokenizer never gives TN_UNK_ID; it is there because models expect one. */
enum { TN_PAD_ID, TN_UNK_ID, TN_BOS_ID, TN_EOS_ID, TN_N_SPECIAL_IDS };
enum { TN_MIN_VOCAB = TN_N_SPECIAL_IDS + 256 };

typedef struct tn_tokenizer tn_tokenizer;

typedef struct tn_tokenizer_options {
    int64_t     vocab;     /* ids in all, TN_MIN_VOCAB or more; 0: 8,000 */
    int64_t     min_count; /* a pair that occurs less often is not merged; 0: 2 */
    tn_progress progress;  /* called now and then with merges done and wanted; NULL: none */
    void       *user;      /* of progress */
} tn_tokenizer_options;

/* Trains on n texts (a corpus's sources, its targets, or both). Where no pair is left that occurs
 * min_count times, the vocabulary is smaller than asked for. The same texts give the same
 * tokenizer.
 * NULL: TN_ERR_ARG (vocab out of range), TN_ERR_CANCELLED, TN_ERR_MEMORY. */
TN_API tn_tokenizer *tn_tokenizer_train(tn_ctx *ctx, const tn_text *texts, int64_t n,
                                        const tn_tokenizer_options *options);

TN_API void tn_tokenizer_free(tn_tokenizer *t); /* NULL is fine */

TN_API int64_t tn_tokenizer_vocab(const tn_tokenizer *t);

/* The bytes of an id; none for a special id or one out of range. They live as long as t. */
TN_API tn_text tn_tokenizer_token(const tn_tokenizer *t, int64_t id);

/* Writes the ids of a text, without bos or eos, and gives their number, which is never more than
 * length; those beyond capacity are counted but not written. Neither fails nor allocates. t keeps a
 * cache, so that only one thread at a time may use it. */
TN_API int64_t tn_tokenizer_encode(tn_tokenizer *t, const char *text, size_t length, int32_t *ids,
                                   int64_t capacity);

/* Writes the text of n ids and a NUL, cut to capacity bytes in all, and gives the text's whole
 * length. Special ids have no text. -1 with TN_ERR_INDEX: an id is out of range. */
TN_API int64_t tn_tokenizer_decode(const tn_tokenizer *t, const int32_t *ids, int64_t n, char *text,
                                   size_t capacity);

/* A file in the format of docs/tokenizer-format.md; saving replaces an older one at one stroke.
 * TN_ERR_IO, TN_ERR_FORMAT with the line and the reason, TN_ERR_MEMORY. */
TN_API tn_status     tn_tokenizer_save(const tn_tokenizer *t, const char *path);
TN_API tn_tokenizer *tn_tokenizer_load(tn_ctx *ctx, const char *path);

/* The same bytes in memory, and a NUL behind them: to put into a checkpoint, say. tn_free(ctx, ..)
 * frees what pack gives; `name` stands for the path in messages. */
TN_API char         *tn_tokenizer_pack(const tn_tokenizer *t, size_t *length);
TN_API tn_tokenizer *tn_tokenizer_unpack(tn_ctx *ctx, const char *name, const char *bytes,
                                         size_t length);

#ifdef __cplusplus
}
#endif
#endif
