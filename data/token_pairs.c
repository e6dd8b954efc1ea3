/* Encoding a corpus: the ids of each side end to end, in memory that is just long enough. */
#include "data/token_pairs.h"
#include "data/internal.h"
#include "tensor/internal.h"

#include <string.h>

/* What tn_token_pairs_encode gives; the public struct comes first. */
typedef struct encoded {
    tn_token_pairs pairs;
    int32_t       *src, *tgt;
    int64_t       *src_at, *tgt_at;
} encoded;

/* Encodes one side into *ids and *at. */
static bool encode_side(tn_ctx *ctx, tn_tokenizer *t, const tn_text *text, int64_t n, int32_t **ids,
                        int64_t **at)
{
    int64_t room = 0, used = 0;
    if (!(*at = tn__array_new(ctx, n + 1, sizeof **at))) return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t most = (int64_t)text[i].length + 1; /* ids that it can have; and *ids is not NULL */
        if (!tn__array_grow(ctx, ids, &room, used + most, sizeof **ids)) return false;
        used += tn_tokenizer_encode(t, text[i].bytes, text[i].length, *ids + used, room - used);
        (*at)[i + 1] = used;
    }
    int32_t *exact = tn__array_new(ctx, used, sizeof *exact);
    if (!exact) return false;
    if (used > 0) memcpy(exact, *ids, (size_t)used * sizeof *exact);
    tn_free(ctx, *ids);
    *ids = exact;
    return true;
}

tn_token_pairs *tn_token_pairs_encode(tn_ctx *ctx, const tn_corpus *corpus, tn_tokenizer *source,
                                      tn_tokenizer *target)
{
    if (!ctx || !corpus || !source || !target) {
        tn_fail(ctx, TN_ERR_ARG, "token_pairs_encode: NULL %s", corpus ? "tokenizer" : "corpus");
        return NULL;
    }
    int64_t  n = tn_corpus_size(corpus);
    encoded *e = tn_alloc(ctx, sizeof *e);
    if (!e) return NULL;
    if (!encode_side(ctx, source, tn_corpus_sources(corpus), n, &e->src, &e->src_at) ||
        !encode_side(ctx, target, tn_corpus_targets(corpus), n, &e->tgt, &e->tgt_at)) {
        tn_token_pairs_free(ctx, &e->pairs);
        return NULL;
    }
    e->pairs = (tn_token_pairs){ n, e->src, e->tgt, e->src_at, e->tgt_at };
    return &e->pairs;
}

void tn_token_pairs_free(tn_ctx *ctx, tn_token_pairs *pairs)
{
    encoded *e = (encoded *)pairs;
    if (!e) return;
    tn_free(ctx, e->src);
    tn_free(ctx, e->tgt);
    tn_free(ctx, e->src_at);
    tn_free(ctx, e->tgt_at);
    tn_free(ctx, e);
}
