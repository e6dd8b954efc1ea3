/* A decoder-only language model, as GPT-2 is one (Radford et al. 2019): pre-norm blocks with causal
 * attention, learned positions, GELU, and the embedding as the output's matrix.
 *
 *     tn_gpt *m = tn_gpt_new(p, &(tn_gpt_config){ .vocab = 8000, .d_model = 384,
 *                                                 .n_heads = 6, .n_layers = 6 });
 *     tn_gpt_loss(m, &tokens, next, NULL, &loss);
 */
#ifndef TN_MODELS_GPT_H
#define TN_MODELS_GPT_H

#include "models/transformer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeros are GPT-2 with 124M parameters, without dropout. */
typedef struct tn_gpt_config {
    int64_t vocab;             /* 0: 50257 */
    int64_t d_model;           /* 0: 768 */
    int64_t n_heads;           /* 0: 12 */
    int64_t d_ff;              /* 0: 4 d_model */
    int64_t n_layers;          /* 0: 12 */
    int64_t max_length;        /* positions; 0: 1024 */
    double  dropout;           /* of embeddings and of what parts add; 0: none */
    double  attention_dropout; /* of attention weights; 0: none */
} tn_gpt_config;

typedef struct tn_gpt {
    tn_gpt_config      config; /* with the defaults filled in */
    tn_ctx            *ctx;
    tn_embedding_layer embedding;
    tn_positions       positions;
    tn_encoder         blocks; /* an encoder that is causal */
} tn_gpt;

/* Makes the parameters in a set, which outlives the model. NULL: TN_ERR_ARG, TN_ERR_MEMORY. */
TN_API tn_gpt *tn_gpt_new(tn_params *p, const tn_gpt_config *config);
TN_API void    tn_gpt_free(tn_gpt *m); /* NULL is fine */

/* The map for tn_import from Hugging Face's GPT2LMHeadModel ("transformer." as the prefix) and
 * GPT2Model. *n: how many rules (n may be NULL). */
TN_API const tn_import_rule *tn_gpt2_rules(int *n);

TN_API tn_node *tn_gpt_apply(const tn_gpt *m, const tn_sequence *tokens); /* [.., d_model] */
TN_API tn_node *tn_gpt_logits(const tn_gpt *m, tn_node *x); /* [.., d] -> [.., vocab] */

/* Loss of predicting next (i32, the shape of the ids: them, one place later). options: label
 * smoothing, what to ignore; may be NULL. tokens->lengths is not looked at: no token sees what is
 * behind it, and padding in next counts unless it is what options say to ignore. */
TN_API tn_status tn_gpt_loss(const tn_gpt *m, const tn_sequence *tokens, tn_node *next,
                             const tn_cross_entropy_options *options, tn_loss_parts *loss);

#ifdef __cplusplus
}
#endif
#endif
