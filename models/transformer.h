/* The Transformer of Vaswani et al. 2017: an encoder of source tokens, a decoder of target tokens
 * that attends to it, and the probabilities of the next target token.
 *
 *     tn_transformer *m = tn_transformer_new(p, &(tn_transformer_config){ .src_vocab = 8000 });
 *     tn_loss_parts   loss;
 *     tn_transformer_loss(m, &source, &target, next, 0.1, &loss);
 */
#ifndef TN_MODELS_TRANSFORMER_H
#define TN_MODELS_TRANSFORMER_H

#include "models/blocks.h"
#include "nn/import.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a Transformer is. Zeros are the base model of the paper, but with norms before the parts,
 * which trains without care for the learning rate. TN_NONE in a dropout: none.
 * F(kind, field, default) */
#define TN_TRANSFORMER_FIELDS(F)                                                                   \
    F(i64, src_vocab, 0)              /* ids of sources; must be given */                          \
    F(i64, tgt_vocab, 0)              /* ids of targets; 0: src_vocab */                           \
    F(i64, d_model, 512)              /* a multiple of n_heads */                                  \
    F(i64, n_heads, 8)                                                                             \
    F(i64, d_ff, 0)                   /* inside of the feed-forward parts; 0: 4 d_model */         \
    F(i64, n_encoder, 6)              /* layers */                                                 \
    F(i64, n_decoder, 6)                                                                           \
    F(i64, max_length, 512)           /* positions at most, of sources and of targets */           \
    F(f64, dropout, 0.1)              /* of embeddings, behind activations, of what parts add */  \
    F(f64, attention_dropout, 0)      /* of attention weights; 0: as dropout */                    \
    F(activation, activation, 0)      /* ReLU */                                                   \
    F(f64, norm_eps, 1e-5)                                                                         \
    F(flag, post_norm, 0)             /* norms behind the residual sums, none at the end */        \
    F(flag, learned_positions, 0)     /* instead of sinusoidal */                                  \
    F(flag, separate_source, 0)       /* sources have an embedding of their own */                 \
    F(flag, separate_output, 0)       /* the output's matrix is not the target embedding */        \
    F(i64, pad_id, 0)                 /* these three as the tokenizer of data/ has them */        \
    F(i64, bos_id, 2)                                                                              \
    F(i64, eos_id, 3)

typedef struct tn_transformer_config {
#define TN_CONFIG_i64        int64_t
#define TN_CONFIG_f64        double
#define TN_CONFIG_flag       bool
#define TN_CONFIG_activation tn_activation
#define TN_X(kind, field, value) TN_CONFIG_##kind field;
    TN_TRANSFORMER_FIELDS(TN_X)
#undef TN_X
} tn_transformer_config;

/* Fills in defaults and checks. TN_ERR_ARG names the field and the numbers. */
TN_API tn_status tn_transformer_config_complete(tn_ctx *ctx, tn_transformer_config *config);

/* As lines "field=value", for checkpoints: gives the length (without the NUL), cut to size. */
TN_API size_t tn_transformer_config_text(const tn_transformer_config *config, char *text,
                                         size_t size);

/* Reads such lines; a field that is not there has its default. TN_ERR_FORMAT names the line. */
TN_API tn_status tn_transformer_config_parse(tn_ctx *ctx, const char *text,
                                             tn_transformer_config *config);

typedef struct tn_transformer {
    tn_transformer_config config; /* complete */
    tn_ctx               *ctx;
    tn_embedding_layer    source, target; /* the same table, if not separate */
    tn_positions          source_positions, target_positions; /* sinusoidal: the same */
    tn_encoder            encoder;
    tn_decoder            decoder;
    tn_linear             output; /* w [d_model, tgt_vocab]; NULL if it is the target embedding */
} tn_transformer;

/* Makes the parameters in a set, which outlives the model. NULL: TN_ERR_ARG, TN_ERR_MEMORY. */
TN_API tn_transformer *tn_transformer_new(tn_params *p, const tn_transformer_config *config);
TN_API void            tn_transformer_free(tn_transformer *m); /* NULL is fine */

/* The map for tn_import from a PyTorch module of the parts `embedding` (or `source` and `target`),
 * `transformer` (nn.Transformer with norm_first; of norms behind the sums, PyTorch has one more at
 * the end), and `output` (a Linear without bias) where it is not the embedding. *n: how many. */
TN_API const tn_import_rule *tn_transformer_rules(int *n);

/* Token ids in a graph, as batches have them (data/batches.h). */
typedef struct tn_sequence {
    tn_node *ids;     /* i32 [b, t]; packed: [n] */
    tn_node *lengths; /* i32 [b], padded: the rest of each row is padding; NULL: whole rows */
    tn_node *offsets; /* i32 [b + 1], packed: where each sequence starts; NULL: padded */
    tn_node *places;  /* i32 [n], packed: of each token in its sequence */
} tn_sequence;

/* [b, t, d_model], or packed [n, d_model]. */
TN_API tn_node *tn_transformer_encode(const tn_transformer *m, const tn_sequence *source);
TN_API tn_node *tn_transformer_decode(const tn_transformer *m, tn_node *memory,
                                      const tn_sequence *source, const tn_sequence *target);
/* [.., d_model] -> [.., tgt_vocab] */
TN_API tn_node *tn_transformer_logits(const tn_transformer *m, tn_node *x);

/* Embeddings of ids in [..], with positions (places NULL: by column) and dropout: what encoder and
 * decoder are fed. */
TN_API tn_node *tn_transformer_embed_source(const tn_transformer *m, tn_node *ids, tn_node *places);
TN_API tn_node *tn_transformer_embed_target(const tn_transformer *m, tn_node *ids, tn_node *places);

/* Loss of predicting `next` (i32, target's shape: its ids one place later, and eos), from target
 * (bos first). Padding in next does not count. */
TN_API tn_status tn_transformer_loss(const tn_transformer *m, const tn_sequence *source,
                                     const tn_sequence *target, tn_node *next,
                                     double label_smoothing, tn_loss_parts *loss);

#ifdef __cplusplus
}
#endif
#endif
