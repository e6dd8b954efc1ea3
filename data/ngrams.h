/* Counting n-grams of numbered units (words or characters) in a hypothesis and its references. */
#ifndef TN_DATA_NGRAMS_H
#define TN_DATA_NGRAMS_H

#include "data/internal.h"

/* A growing array of units. */
typedef struct tn__units {
    int32_t *id;
    int64_t  n, room;
} tn__units;

bool tn__units_push(tn_ctx *ctx, tn__units *u, int32_t id);

/* Distinct words and their numbers. */
typedef struct tn__words {
    tn_ctx  *ctx;
    char    *bytes; /* of all words, end to end */
    int64_t  n_bytes, room_bytes;
    int64_t *at; /* [n + 1]: where each starts */
    int64_t  n, room_at;
    int32_t *slots; /* [mask + 1]: number of a word, or -1 */
    uint64_t mask;
} tn__words;

/* The number of a word, which is new if need be; -1 if there is no memory. */
int32_t tn__words_number(tn__words *w, const char *bytes, size_t length);
void    tn__words_clear(tn__words *w);

/* An n-gram: the units are somewhere in a tn__units that stays as it is meanwhile. */
typedef struct tn__ngram {
    const int32_t *units;
    int32_t        n, hyp, ref, now; /* now: in the reference being counted; ref: the most of any */
} tn__ngram;

typedef struct tn__ngrams {
    tn_ctx    *ctx;
    tn__ngram *slots;
    int64_t    room;
    uint64_t   mask;
} tn__ngrams;

/* Forgets all and makes room for so many n-grams. False if there is no memory. */
bool tn__ngrams_reset(tn__ngrams *g, int64_t n);

/* Counts the n-grams of one order in a reference. */
void tn__ngrams_reference(tn__ngrams *g, const tn__units *u, int order);

/* Counts those of the hypothesis and gives how many match: each n-gram as often as the reference
 * has it that has it most often. */
int64_t tn__ngrams_match(tn__ngrams *g, const tn__units *u, int order);

#endif
