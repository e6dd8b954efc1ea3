/* What training and translating share: a model with its tokenizer, texts in and texts out, and how
 * both are kept in a file. */
#ifndef EXAMPLES_TRANSLATION_H
#define EXAMPLES_TRANSLATION_H

#include "libtensor.h"

typedef struct translation {
    tn_ctx         *ctx;
    tn_params      *params;
    tn_transformer *model;
    tn_tokenizer   *tokenizer; /* of both languages */
} translation;

void translation_free(translation *t); /* not the context */

/* Bytes of memory that the machine has: what a context may take at most, so that a model too large
 * is refused. 0: not known. */
size_t memory_of_machine(void);

/* One safetensors file: the parameters, and as texts the model's configuration, the tokenizer and
 * what the caller wants to remember (NULL: nothing). With an optimizer, its state too. */
tn_status translation_save(const translation *t, const char *path, const tn_optimizer *optimizer,
                           const char *training);
tn_status translation_load(tn_ctx *ctx, const char *path, translation *t);

/* What the caller remembered, to be freed with tn_free(ctx, ..); NULL with the reason in the
 * context. */
char *translation_remembered(tn_ctx *ctx, const char *path);

/* The most tokens of a text that the model reads. */
int64_t translation_reads(const translation *t);

/* Translates n texts: out[i n_best + j] is translation j of text i (tn_free(ctx, ..) frees it), or
 * NULL if there are fewer. scores likewise, or NULL. Of a longer text it is that of
 * what the model reads. */
tn_status translate_texts(const translation *t, tn_translator *translator, int64_t n_best,
                          const tn_text *texts, int64_t n, char **out, double *scores);
void      free_texts(tn_ctx *ctx, char **texts, int64_t n);

/* Translates the first n pairs of a corpus. Gives BLEU and how many are word for word the
 * reference. */
bool translation_test(const translation *t, const tn_corpus *corpus, int64_t n, int64_t beam,
                      tn_bleu_score *bleu, int64_t *exact);

/* Prints each of up to 16 texts with its translation. */
bool translation_show(const translation *t, const tn_text *texts, int64_t n);

#endif
