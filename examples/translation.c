/* A model with its tokenizer, in a file and at work. */
#include "translation.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

size_t memory_of_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : 0;
}

void translation_free(translation *t)
{
    tn_transformer_free(t->model), tn_params_free(t->params), tn_tokenizer_free(t->tokenizer);
    t->model = NULL, t->params = NULL, t->tokenizer = NULL;
}

void free_texts(tn_ctx *ctx, char **texts, int64_t n)
{
    for (int64_t i = 0; texts && i < n; i++) tn_free(ctx, texts[i]), texts[i] = NULL;
}

/* ---- in a file ------------------------------------------------------------------------------- */

tn_status translation_save(const translation *t, const char *path, const tn_optimizer *optimizer,
                           const char *training)
{
    char              config[2048];
    size_t            length = 0;
    char             *tokenizer = tn_tokenizer_pack(t->tokenizer, &length);
    const tn_metadata texts[] = { { "transformer", config },
                                  { "tokenizer", tokenizer },
                                  { "training", training } };
    tn_transformer_config_text(&t->model->config, config, sizeof config);
    if (tokenizer) tn_checkpoint_save(path, t->params, optimizer, texts, training ? 3 : 2);
    tn_free(t->ctx, tokenizer);
    return tn_ctx_status(t->ctx);
}

/* A file may say that its model is of any size: one that is larger than what is in the file is not
 * made. Counts the matrices, which every model of that configuration has. */
static tn_status check_size(tn_ctx *ctx, const tn_safetensors *file, const char *path,
                            const tn_transformer_config *c)
{
    const double d = (double)c->d_model, ff = 2 * d * (double)c->d_ff;
    double need = (double)c->tgt_vocab * d * (1 + c->separate_output) +
                  (double)c->n_encoder * (4 * d * d + ff) + (double)c->n_decoder * (8 * d * d + ff);
    if (c->separate_source) need += (double)c->src_vocab * d;
    if (c->learned_positions) need += 2 * (double)c->max_length * d;
    double have = 0;
    for (int i = 0; i < tn_safetensors_count(file); i++) {
        tn_type t = tn_safetensors_type(file, i);
        if (t.dtype != TN_N_DTYPES) have += (double)tn_shape_size(&t.shape);
    }
    if (need <= have) return TN_OK;
    return tn_fail(ctx, TN_ERR_FORMAT, "%s: a model of %.0f numbers or more, and %.0f are in it",
                   path, need, have);
}

static tn_status make_as_in(translation *t, const tn_safetensors *file, const char *path)
{
    const char *config = tn_safetensors_metadata(file, "transformer"),
               *tokenizer = tn_safetensors_metadata(file, "tokenizer");
    tn_transformer_config c;
    if (!config || !tokenizer)
        return tn_fail(t->ctx, TN_ERR_FORMAT, "%s: it has no transformer and tokenizer", path);
    tn_status s = tn_transformer_config_parse(t->ctx, config, &c);
    if (s == TN_OK) s = check_size(t->ctx, file, path, &c);
    if (s != TN_OK) return s;
    t->tokenizer = tn_tokenizer_unpack(t->ctx, path, tokenizer, strlen(tokenizer));
    if (!t->tokenizer) return tn_ctx_status(t->ctx);
    if (tn_tokenizer_vocab(t->tokenizer) > c.src_vocab ||
        tn_tokenizer_vocab(t->tokenizer) != c.tgt_vocab)
        return tn_fail(t->ctx, TN_ERR_FORMAT,
                       "%s: a tokenizer of %lld ids, and a model of %lld and %lld", path,
                       (long long)tn_tokenizer_vocab(t->tokenizer), (long long)c.src_vocab,
                       (long long)c.tgt_vocab);
    t->params = tn_params_new(t->ctx, TN_F32);
    t->model = tn_transformer_new(t->params, &c);
    return tn_ctx_status(t->ctx);
}

tn_status translation_load(tn_ctx *ctx, const char *path, translation *t)
{
    *t = (translation){ .ctx = ctx };
    tn_safetensors *file = tn_safetensors_open(ctx, path);
    if (file && make_as_in(t, file, path) == TN_OK) tn_checkpoint_load(path, t->params, NULL);
    tn_safetensors_close(file);
    if (tn_ctx_status(ctx) != TN_OK) translation_free(t);
    return tn_ctx_status(ctx);
}

char *translation_remembered(tn_ctx *ctx, const char *path)
{
    tn_safetensors *file = tn_safetensors_open(ctx, path);
    const char     *text = file ? tn_safetensors_metadata(file, "training") : NULL;
    char           *copy = text ? tn_alloc(ctx, strlen(text) + 1) : NULL;
    if (copy) strcpy(copy, text);
    if (file && !text) tn_fail(ctx, TN_ERR_FORMAT, "%s: it is no state of a training", path);
    tn_safetensors_close(file);
    return copy;
}

/* ---- at work --------------------------------------------------------------------------------- */

int64_t translation_reads(const translation *t) { return t->model->config.max_length - 1; }

/* Ids of all texts, each with eos. *ids and *at are to be freed. */
static tn_status encode_texts(const translation *t, const tn_text *texts, int64_t n, int32_t **ids,
                              int64_t **at)
{
    int64_t most = translation_reads(t), total = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t length = (int64_t)texts[i].length;
        total += (length < most ? length : most) + 1;
    }
    *ids = tn_alloc(t->ctx, (size_t)(total + 1) * sizeof **ids);
    *at = tn_alloc(t->ctx, (size_t)(n + 1) * sizeof **at);
    if (!*ids || !*at) return tn_ctx_status(t->ctx);
    for (int64_t i = 0; i < n; i++) {
        int32_t *to = *ids + (*at)[i];
        int64_t length =
            tn_tokenizer_encode(t->tokenizer, texts[i].bytes, texts[i].length, to, most);
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
    for (int64_t i = 0; text && i < length; i++)
        if (!text[i]) text[i] = ' '; /* a NUL would end it */
    return text;
}

tn_status translate_texts(const translation *t, tn_translator *translator, int64_t n_best,
                          const tn_text *texts, int64_t n, char **out, double *scores)
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

bool translation_test(const translation *t, const tn_corpus *corpus, int64_t n, int64_t beam,
                      tn_bleu_score *bleu, int64_t *exact)
{
    const tn_text *sources = tn_corpus_sources(corpus), *targets = tn_corpus_targets(corpus);
    tn_translator *translator =
        tn_translator_new(t->model, &(tn_translate_options){ .beam = beam });
    char         **out = tn_alloc(t->ctx, (size_t)n * sizeof *out);
    tn_text       *texts = tn_alloc(t->ctx, (size_t)n * sizeof *texts);
    bool ok = translator && out && texts &&
              translate_texts(t, translator, 1, sources, n, out, NULL) == TN_OK;
    *exact = 0;
    for (int64_t i = 0; ok && i < n; i++) {
        texts[i] = tn_text_of(out[i] ? out[i] : "");
        *exact += texts[i].length == targets[i].length &&
            memcmp(texts[i].bytes, targets[i].bytes, targets[i].length) == 0;
    }
    ok = ok && tn_bleu(t->ctx, texts, targets, n, NULL, bleu) == TN_OK;
    free_texts(t->ctx, out, out ? n : 0);
    tn_free(t->ctx, out), tn_free(t->ctx, texts);
    tn_translator_free(translator);
    return ok;
}

bool translation_show(const translation *t, const tn_text *texts, int64_t n)
{
    tn_translator *translator = tn_translator_new(t->model, NULL);
    char          *out[16] = { NULL };
    bool ok = translator && translate_texts(t, translator, 1, texts, n, out, NULL) == TN_OK;
    for (int64_t i = 0; ok && i < n; i++)
        printf("%.*s -> %s\n", (int)texts[i].length, texts[i].bytes, out[i] ? out[i] : "");
    fflush(stdout);
    free_texts(t->ctx, out, n);
    tn_translator_free(translator);
    return ok;
}
