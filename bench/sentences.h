/* Real sentence pairs for benchmarks: from a file of `source TAB target`, as ids of a tokenizer
 * that is trained on them. */
#ifndef TN_BENCH_SENTENCES_H
#define TN_BENCH_SENTENCES_H

#include "libtensor.h"

/* At most `most` pairs (0: all), spread evenly over the file, with a vocabulary of at most `vocab`.
 * NULL: the message is in the context. tn_token_pairs_free frees them. */
tn_token_pairs *tn_bench_sentences(tn_ctx *ctx, const char *path, int64_t most, int64_t vocab);

#endif
