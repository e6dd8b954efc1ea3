/* The decoder-only model: an encoder's blocks with causal attention. */
#include "models/gpt.h"

#include <math.h>

static tn_status complete(tn_ctx *ctx, tn_gpt_config *c)
{
    if (c->vocab == 0) c->vocab = 50257;
    if (c->d_model == 0) c->d_model = 768;
    if (c->n_heads == 0) c->n_heads = 12;
    if (c->d_ff == 0 && c->d_model > 0 && c->d_model <= 1 << 24) c->d_ff = 4 * c->d_model;
    if (c->n_layers == 0) c->n_layers = 12;
    if (c->max_length == 0) c->max_length = 1024;
    const struct {
        const char *name;
        int64_t     value;
    } sizes[] = {
        { "vocab", c->vocab },
        { "d_model", c->d_model },
        { "n_heads", c->n_heads },
        { "d_ff", c->d_ff },
        { "n_layers", c->n_layers },
        { "max_length", c->max_length }
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > 1 << 24)
            return tn_fail(ctx, TN_ERR_ARG, "gpt: %s %lld is not in [1, %d]", sizes[i].name,
                           (long long)sizes[i].value, 1 << 24);
    if (c->d_model % c->n_heads != 0)
        return tn_fail(ctx, TN_ERR_ARG, "gpt: d_model %lld is not a multiple of %lld heads",
                       (long long)c->d_model, (long long)c->n_heads);
    if (!(c->dropout >= 0 && c->dropout < 1) ||
        !(c->attention_dropout >= 0 && c->attention_dropout < 1))
        return tn_fail(ctx, TN_ERR_ARG, "gpt: dropout %g or attention_dropout %g is not in [0, 1)",
                       c->dropout, c->attention_dropout);
    return TN_OK;
}

/* What adds to the residual stream starts smaller, by 1 / sqrt(2 layers): its sum has then the size
 * of the embedding (Radford et al. 2019, 2.3). */
static void shrink(tn_params *p, tn_node *w, double factor)
{
    size_t n = w ? tn_variable_bytes(w) / tn_dtype_size(tn_params_dtype(p)) : 0;
    void  *data = n ? tn_variable_data(w) : NULL;
    for (size_t i = 0; i < n; i++)
        if (tn_params_dtype(p) == TN_F32) ((float *)data)[i] *= (float)factor;
        else ((double *)data)[i] *= factor;
}

tn_gpt *tn_gpt_new(tn_params *p, const tn_gpt_config *config)
{
    tn_ctx       *ctx = p ? tn_params_ctx(p) : NULL;
    tn_gpt_config c = config ? *config : (tn_gpt_config){ 0 };
    if (!p || complete(ctx, &c) != TN_OK) return NULL;
    tn_gpt *m = tn_alloc(ctx, sizeof *m);
    if (!m) return NULL;
    tn_init          normal = tn_init_normal(0, 0.02);
    tn_block_options block = { .d_model = c.d_model,
                               .n_heads = c.n_heads,
                               .d_ff = c.d_ff,
                               .dropout = c.dropout,
                               .attention_dropout = c.attention_dropout,
                               .activation = TN_ACTIVATION_GELU_TANH,
                               .w = &normal };
    m->config = c, m->ctx = ctx;
    m->embedding = tn_embedding_new(p, "embedding", c.vocab, c.d_model,
                                    &(tn_embedding_options){ .std = 0.02 });
    m->positions = tn_positions_learned(p, "positions", c.max_length, c.d_model);
    m->blocks = tn_encoder_new(p, "blocks", c.n_layers, &block);
    for (int64_t i = 0; i < m->blocks.n_layers; i++) {
        double factor = 1 / sqrt(2 * (double)c.n_layers);
        shrink(p, m->blocks.layers[i].self.out.w, factor);
        shrink(p, m->blocks.layers[i].ff.out.w, factor);
    }
    if (tn_ctx_status(ctx) == TN_OK) return m;
    tn_gpt_free(m);
    return NULL;
}

void tn_gpt_free(tn_gpt *m)
{
    if (!m) return;
    tn_encoder_clear(m->ctx, &m->blocks);
    tn_free(m->ctx, m);
}

tn_node *tn_gpt_apply(const tn_gpt *m, const tn_sequence *tokens)
{
    if (!m || !tokens || !tokens->ids) return NULL;
    if (!tokens->offsets != !tokens->places) { /* every token would have a position of its own */
        tn_fail(m->ctx, TN_ERR_ARG,
                "gpt: packed sequences have offsets and places, padded ones neither");
        return NULL;
    }
    tn_attention_mask mask = { .causal = true, .q_offsets = tokens->offsets };
    tn_node *x = tn_positions_apply(&m->positions, tn_embedding_apply(&m->embedding, tokens->ids),
                                    tokens->places);
    return tn_encoder_apply(&m->blocks, tn_dropout(x, m->config.dropout), &mask);
}

tn_node *tn_gpt_logits(const tn_gpt *m, tn_node *x)
{
    return m ? tn_embedding_logits(&m->embedding, x) : NULL;
}

tn_status tn_gpt_loss(const tn_gpt *m, const tn_sequence *tokens, tn_node *next,
                      const tn_cross_entropy_options *options, tn_loss_parts *loss)
{
    if (m && !loss) return tn_fail(m->ctx, TN_ERR_ARG, "tn_gpt_loss: no room for the loss");
    if (loss) *loss = (tn_loss_parts){ NULL, NULL, NULL };
    tn_node *x = tn_gpt_apply(m, tokens);
    if (!x || !next) return m && tn_ctx_status(m->ctx) ? tn_ctx_status(m->ctx) : TN_ERR_ARG;
    return tn_linear_cross_entropy(x, m->embedding.w, true, NULL, next, options, loss);
}
