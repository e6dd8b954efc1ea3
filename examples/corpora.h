/* Pairs to train a translation on: of a file, or made up. */
#ifndef EXAMPLES_CORPORA_H
#define EXAMPLES_CORPORA_H

#include "libtensor.h"

typedef struct corpora {
    tn_corpus *train, *valid, *test; /* the last two may be NULL */
} corpora;

void corpora_free(corpora *c);

/* NULL, with the reason in the context: also where there are no pairs in it. swap: the columns are
 * target and source. */
tn_corpus *corpus_of_file(tn_ctx *ctx, const char *path, bool swap);

/* n different pairs of the grammar, of its parts first_part .. last_part (grammar_part). */
tn_corpus *corpus_made_up(tn_ctx *ctx, int64_t n, int first_part, int last_part, uint64_t seed);

#endif
