/* Pairs of sentences as ids of tokens. */
#ifndef TN_DATA_TOKEN_PAIRS_H
#define TN_DATA_TOKEN_PAIRS_H

#include "data/corpus.h"
#include "data/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* n pairs, without bos or eos. The ids of source i are src[src_at[i]] .. src[src_at[i + 1] - 1],
 * and those of target i the same in tgt. Who has ids from elsewhere fills in
 * a struct of their own. */
typedef struct tn_token_pairs {
    int64_t        n;
    const int32_t *src, *tgt;       /* [src_at[n]], [tgt_at[n]] */
    const int64_t *src_at, *tgt_at; /* [n + 1], never falling */
} tn_token_pairs;

/* Encodes a corpus, which may be freed afterwards. The tokenizers may be the same one. NULL:
 * TN_ERR_MEMORY, TN_ERR_ARG. */
TN_API tn_token_pairs *tn_token_pairs_encode(tn_ctx *ctx, const tn_corpus *corpus,
                                             tn_tokenizer *source, tn_tokenizer *target);

TN_API void tn_token_pairs_free(tn_ctx *ctx, tn_token_pairs *pairs); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
