/* Texts in, texts out. */
#include "translation.h"

#include <string.h>

void translation_free(translation *t)
{
    tn_transformer_free(t->model), tn_params_free(t->params), tn_tokenizer_free(t->tokenizer);
    t->model = NULL, t->params = NULL, t->tokenizer = NULL;
}

void free_texts(tn_ctx *ctx, char **texts, int64_t n)
{
    for (int64_t i = 0; texts && i < n; i++) tn_free(ctx, texts[i]), texts[i] = NULL;
}

/* Ids of all texts, each with eos. *ids and *at are to be freed. */
static tn_status encode_texts(const translation *t, const tn_text *texts, int64_t n, int32_t **ids, int64_t **at)
{
    int64_t most = t->model->config.max_length - 1, total = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t length = (int64_t)texts[i].length;
        total += (length < most ? length : most) + 1;
    }
    *ids = tn_alloc(t->ctx, (size_t)(total + 1) * sizeof **ids);
    *at = tn_alloc(t->ctx, (size_t)(n + 1) * sizeof **at);
    if (!*ids || !*at) return tn_ctx_status(t->ctx);
    for (int64_t i = 0; i < n; i++) {
        int32_t *to = *ids + (*at)[i];
        int64_t  length = tn_tokenizer_encode(t->tokenizer, texts[i].bytes, texts[i].length, to, most);
        if (length > most) length = most;
        to[length] = TN_EOS_ID;
        (*at)[i + 1] = (*at)[i] + length + 1;
    }
    return TN_OK;
}

static char *decode_text(const translation *t, const tn_translation *y)
{
    int64_t length = tn_tokenizer_decode(t->tokenizer, y->ids, y->n, NULL, 0);
    char   *text = length >= 0 ? tn_alloc(t->ctx, (size_t)length + 1) : NULL;
    if (text) tn_tokenizer_decode(t->tokenizer, y->ids, y->n, text, (size_t)length + 1);
    return text;
}

tn_status translate_texts(const translation *t, tn_translator *translator, int64_t n_best, const tn_text *texts,
                          int64_t n, char **out, double *scores)
{
    int32_t *ids = NULL;
    int64_t *at = NULL;
    memset(out, 0, (size_t)(n * n_best) * sizeof *out);
    const tn_translation *y = NULL;
    if (encode_texts(t, texts, n, &ids, &at) == TN_OK) y = tn_translate(translator, ids, at, n);
    for (int64_t i = 0; y && i < n * n_best; i++) {
        if (scores) scores[i] = y[i].score;
        if (y[i].ids && !(out[i] = decode_text(t, &y[i]))) y = NULL;
    }
    tn_free(t->ctx, ids), tn_free(t->ctx, at);
    if (y) return TN_OK;
    free_texts(t->ctx, out, n * n_best);
    return tn_ctx_status(t->ctx);
}
