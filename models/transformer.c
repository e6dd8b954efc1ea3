/* The Transformer, assembled. */
#include "models/transformer.h"

/* TN_NONE in a complete configuration is no dropout. */
static double rate(double dropout) { return dropout > 0 ? dropout : 0; }

/* ---- parameters ------------------------------------------------------------------------------ */

static tn_embedding_layer embedding_new(tn_params *p, const char *name, int64_t vocabulary,
                                        const tn_transformer_config *c)
{
    return tn_embedding_new(p, name, vocabulary, c->d_model,
                            &(tn_embedding_options){ .has_padding = true, .padding_idx = c->pad_id,
                                                     .scale_sqrt_d = true });
}

static void positions_new(tn_transformer *m, tn_params *p)
{
    const tn_transformer_config *c = &m->config;
    if (c->learned_positions) {
        m->source_positions =
            tn_positions_learned(p, "source_positions", c->max_length, c->d_model);
        m->target_positions =
            tn_positions_learned(p, "target_positions", c->max_length, c->d_model);
    } else {
        m->source_positions = tn_positions_sinusoidal(p, "positions", c->max_length, c->d_model);
        m->target_positions = m->source_positions;
    }
}

tn_transformer *tn_transformer_new(tn_params *p, const tn_transformer_config *config)
{
    tn_ctx *ctx = p ? tn_params_ctx(p) : NULL;
    if (p && !config) tn_fail(ctx, TN_ERR_ARG, "tn_transformer_new: there is no configuration");
    if (!p || !config) return NULL;
    tn_transformer_config c = *config;
    if (tn_transformer_config_complete(ctx, &c) != TN_OK) return NULL;
    tn_transformer *m = tn_alloc(ctx, sizeof *m);
    if (!m) return NULL;
    m->config = c, m->ctx = ctx;
    tn_init          xavier = tn_init_xavier_uniform();
    tn_block_options block = { .d_model = c.d_model,
                               .n_heads = c.n_heads,
                               .d_ff = c.d_ff,
                               .dropout = rate(c.dropout),
                               .attention_dropout = rate(c.attention_dropout),
                               .activation = c.activation,
                               .is_post_norm = c.post_norm,
                               .norm_eps = c.norm_eps };
    m->target = embedding_new(p, c.separate_source ? "target" : "embedding", c.tgt_vocab, &c);
    m->source = c.separate_source ? embedding_new(p, "source", c.src_vocab, &c) : m->target;
    positions_new(m, p);
    m->encoder = tn_encoder_new(p, "encoder", c.n_encoder, &block);
    m->decoder = tn_decoder_new(p, "decoder", c.n_decoder, &block);
    if (c.separate_output)
        m->output = tn_linear_new_with(p, "output", c.d_model, c.tgt_vocab,
                                       &(tn_linear_options){ .no_bias = true, .w = &xavier });
    if (tn_ctx_status(ctx) == TN_OK) return m;
    tn_transformer_free(m);
    return NULL;
}

void tn_transformer_free(tn_transformer *m)
{
    if (!m) return;
    tn_encoder_clear(m->ctx, &m->encoder), tn_decoder_clear(m->ctx, &m->decoder);
    tn_free(m->ctx, m);
}

/* ---- computation ----------------------------------------------------------------------------- */

static tn_node *embed(const tn_transformer *m, const tn_embedding_layer *table,
                      const tn_positions *positions, const char *scope, tn_node *ids,
                      tn_node *places)
{
    tn_node *x = NULL;
    TN_SCOPE(tn_node_graph(ids), "%s", scope) {
        x = tn_positions_apply(positions, tn_embedding_apply(table, ids), places);
        x = tn_dropout(x, rate(m->config.dropout));
    }
    return x;
}

tn_node *tn_transformer_embed_source(const tn_transformer *m, tn_node *ids, tn_node *places)
{
    return m ? embed(m, &m->source, &m->source_positions, "source", ids, places) : NULL;
}

tn_node *tn_transformer_embed_target(const tn_transformer *m, tn_node *ids, tn_node *places)
{
    return m ? embed(m, &m->target, &m->target_positions, "target", ids, places) : NULL;
}

/* Attention to a whole sequence, from itself. */
static tn_attention_mask mask_of(const tn_sequence *s)
{
    return s->offsets ? (tn_attention_mask){ .q_offsets = s->offsets }
                      : (tn_attention_mask){ .k_lengths = s->lengths };
}

/* Packed sequences need their places; without them every token would have a position of its own. */
static bool is_usable(const tn_transformer *m, const tn_sequence *s)
{
    if (!m || !s || !s->ids) return false;
    if (!s->offsets == !s->places) return true;
    tn_fail(m->ctx, TN_ERR_ARG,
            "transformer: packed sequences have offsets and places, padded ones neither");
    return false;
}

tn_node *tn_transformer_encode(const tn_transformer *m, const tn_sequence *source)
{
    if (!is_usable(m, source)) return NULL;
    tn_attention_mask mask = mask_of(source);
    tn_node          *x = tn_transformer_embed_source(m, source->ids, source->places);
    return tn_encoder_apply(&m->encoder, x, &mask);
}

/* Causal attention needs no mask of the target's padding: that comes last in each row, so that only
 * padding attends to it. */
tn_node *tn_transformer_decode(const tn_transformer *m, tn_node *memory, const tn_sequence *source,
                               const tn_sequence *target)
{
    if (!memory || !is_usable(m, source) || !is_usable(m, target)) return NULL;
    if (!source->offsets != !target->offsets) {
        tn_fail(m->ctx, TN_ERR_ARG, "transformer: one side is packed and the other padded");
        return NULL;
    }
    tn_attention_mask self = { .causal = true, .q_offsets = target->offsets },
                      cross = mask_of(source);
    if (target->offsets) cross.q_offsets = target->offsets, cross.k_offsets = source->offsets;
    tn_node *x = tn_transformer_embed_target(m, target->ids, target->places);
    return tn_decoder_apply(&m->decoder, x, memory, &self, &cross);
}

tn_node *tn_transformer_logits(const tn_transformer *m, tn_node *x)
{
    if (!m || !x) return NULL;
    return m->output.w ? tn_linear_apply(&m->output, x) : tn_embedding_logits(&m->target, x);
}

tn_status tn_transformer_loss(const tn_transformer *m, const tn_sequence *source,
                              const tn_sequence *target, tn_node *next, double label_smoothing,
                              tn_loss_parts *loss)
{
    if (m && !loss) return tn_fail(m->ctx, TN_ERR_ARG, "tn_transformer_loss: no room for the loss");
    if (loss) *loss = (tn_loss_parts){ NULL, NULL, NULL };
    if (!m) return TN_ERR_ARG;
    tn_node *x = tn_transformer_decode(m, tn_transformer_encode(m, source), source, target);
    bool     tied = !m->output.w;
    if (!x || !next) return tn_ctx_status(m->ctx) ? tn_ctx_status(m->ctx) : TN_ERR_ARG;
    return tn_linear_cross_entropy(x, tied ? m->target.w : m->output.w, tied, NULL, next,
                                   &(tn_cross_entropy_options){ .label_smoothing = label_smoothing,
                                                                .has_ignore = true,
                                                                .ignore_index = m->config.pad_id },
                                   loss);
}
