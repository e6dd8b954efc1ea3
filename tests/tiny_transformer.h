/* A tiny Transformer, for tests of the model and of what translates with it. */
#ifndef TN_TESTS_TINY_TRANSFORMER_H
#define TN_TESTS_TINY_TRANSFORMER_H

#include "check.h"
#include "libtensor.h"

enum { VOCAB = 9 };

typedef struct fixture {
    tn_ctx         *ctx;
    tn_params      *params;
    tn_transformer *model;
} fixture;

static tn_transformer_config tiny(void)
{
    return (tn_transformer_config){ .src_vocab = VOCAB,
                                    .d_model = 4,
                                    .n_heads = 2,
                                    .d_ff = 6,
                                    .n_encoder = 1,
                                    .n_decoder = 1,
                                    .max_length = 16,
                                    .dropout = TN_NONE,
                                    .activation = TN_ACTIVATION_GELU };
}

static bool open_fixture(fixture *f, const tn_transformer_config *config, tn_dtype dtype)
{
    f->ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 11 });
    f->params = tn_params_new(f->ctx, dtype);
    f->model = tn_transformer_new(f->params, config);
    CHECK_MSG(f->model != NULL, "%s", tn_error(f->ctx));
    return f->model != NULL;
}

static void close_fixture(fixture *f)
{
    tn_transformer_free(f->model);
    tn_params_free(f->params);
    CHECK_INT(tn_ctx_memory(f->ctx), 0);
    tn_ctx_free(f->ctx);
}

static tn_node *ints(tn_graph *g, tn_shape shape, const int32_t *data)
{
    return tn_constant(g, TN_I32, shape, data);
}

#endif
