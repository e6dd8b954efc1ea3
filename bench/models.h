/* The models that benchmarks run: what each size is, and its training step, the same work as
 * bench/peers/model.py. Linked into every benchmark that trains or decodes. */
#ifndef TN_BENCH_MODELS_H
#define TN_BENCH_MODELS_H

#include "libtensor.h"

typedef struct tn_bench_size {
    const char *name;
    bool        is_gpt; /* decoder only; src is 0 */
    int64_t     d, heads, ff, layers, batch, src, tgt, vocab;
    const char *recompute; /* scopes, as in tn_compile_options; NULL: none */
} tn_bench_size;

/* tiny, small, base, gpt8k or gpt2; of encoder-decoders alone. NULL: another name, and stderr says
 * what there is. */
const tn_bench_size *tn_bench_size_of(const char *name);
const tn_bench_size *tn_bench_pair_size_of(const char *name);

/* GFLOP of the matrix products of a training step, forward times three, as peers count them. */
double tn_bench_step_gflop(const tn_bench_size *c);

/* The configuration of an encoder-decoder of this size; dropout 0: none. */
tn_transformer_config tn_bench_transformer(const tn_bench_size *c, double dropout);

typedef struct tn_bench_model {
    tn_params      *p;
    tn_optimizer   *opt;
    tn_transformer *transformer;
    tn_gpt         *gpt;
    tn_graph       *g;
    tn_node        *src, *tgt, *next, *loss;
    tn_program     *step;
    double          compile_seconds; /* of differentiating and compiling */
} tn_bench_model;

/* Dropout below 0: the reference's, 0.1 of encoder-decoders and none of the others. */
tn_status tn_bench_model_new(tn_ctx *ctx, const tn_bench_size *c, double dropout,
                             tn_bench_model *m);
void      tn_bench_model_clear(tn_bench_model *m);

/* Feeds random ids in [1, vocab), whole rows; another batch for each number. */
void tn_bench_feed_random(tn_bench_model *m, const tn_bench_size *c, int64_t number);

#endif
