/* Real sentence pairs for benchmarks. */
#include "sentences.h"

#include <string.h>

enum { TRAINED_ON = 20000 }; /* texts, at most: enough for a tokenizer of like lengths */

/* Every so many-th pair, as a file of its own: the corpus has no other way to leave some out. */
static tn_corpus *spread(tn_ctx *ctx, const tn_corpus *all, int64_t n)
{
    const tn_text *src = tn_corpus_sources(all), *tgt = tn_corpus_targets(all);
    size_t         bytes = 1, at = 0;
    for (int64_t i = 0; i < tn_corpus_size(all); i++) bytes += src[i].length + tgt[i].length + 2;
    char *text = tn_alloc(ctx, bytes);
    for (int64_t i = 0; text && i < n; i++) {
        int64_t k = i * tn_corpus_size(all) / n;
        memcpy(text + at, src[k].bytes, src[k].length), at += src[k].length, text[at++] = '\t';
        memcpy(text + at, tgt[k].bytes, tgt[k].length), at += tgt[k].length, text[at++] = '\n';
    }
    tn_corpus *c = text ? tn_corpus_parse(ctx, "sentences", text, at, NULL) : NULL;
    tn_free(ctx, text);
    return c;
}

tn_token_pairs *tn_bench_sentences(tn_ctx *ctx, const char *path, int64_t most, int64_t vocab)
{
    tn_corpus      *corpus = tn_corpus_load(ctx, path, &(tn_corpus_options){ .lenient = true });
    tn_token_pairs *pairs = NULL;
    if (!corpus) return NULL;
    int64_t       n = tn_corpus_size(corpus), texts = 2 * n; /* targets stand behind the sources */
    if (n == 0) {
        tn_fail(ctx, TN_ERR_ARG, "%s: there are no pairs in it", path);
        tn_corpus_free(corpus);
        return NULL;
    }
    tn_tokenizer *t = tn_tokenizer_train(ctx, tn_corpus_sources(corpus),
                                         texts < TRAINED_ON ? texts : TRAINED_ON,
                                         &(tn_tokenizer_options){ .vocab = vocab });
    if (t && most > 0 && most < n) {
        tn_corpus *few = spread(ctx, corpus, most);
        tn_corpus_free(corpus), corpus = few;
    }
    if (t && corpus) pairs = tn_token_pairs_encode(ctx, corpus, t, t);
    tn_tokenizer_free(t), tn_corpus_free(corpus);
    return pairs;
}
