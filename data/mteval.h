/* The words of a sentence, as sacreBLEU's tokenizers find them. */
#ifndef TN_DATA_MTEVAL_H
#define TN_DATA_MTEVAL_H

#include "data/metrics.h"
#include "data/ngrams.h"

/* A sentence on its way through the rules: each reads one buffer and writes the other. */
typedef struct tn__mteval {
    tn_ctx *ctx;
    char   *text, *next;
    int64_t n, room_text, room_next;
} tn__mteval;

/* Appends the numbers of a sentence's words to *u. False if there is no memory. */
bool tn__mteval_words(tn__mteval *m, tn_bleu_tokenizer tokenizer, tn_text sentence,
                      tn__words *words, tn__units *u);
void tn__mteval_clear(tn__mteval *m);

#endif
