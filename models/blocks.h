/* The blocks that Transformers are stacked from: an encoder layer, a decoder layer, and stacks of
 * them. With norms before each part (pre-norm, and one more at the end of the stack) or after it
 * (post-norm, as in Vaswani et al. 2017).
 *
 *     tn_encoder_layer l = tn_encoder_layer_new(p, "0", &(tn_block_options){ .d_model = 512,
 *                                                                            .n_heads = 8 });
 *     x = tn_encoder_layer_apply(&l, x, &mask);
 */
#ifndef TN_MODELS_BLOCKS_H
#define TN_MODELS_BLOCKS_H

#include "nn/attention.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_block_options {
    int64_t        d_model, n_heads; /* d_model is a multiple of n_heads */
    int64_t        d_ff;             /* 0: 4 d_model */
    double dropout; /* of what each part adds, and behind the activation; 0: none */
    double         attention_dropout; /* of the attention weights; 0: none */
    tn_activation  activation;
    bool           is_post_norm;
    double         norm_eps;         /* 0: 1e-5 */
    const tn_init *w;                /* of all matrices; NULL: Xavier uniform */
} tn_block_options;

typedef struct tn_encoder_layer {
    const char        *name;
    tn_attention_layer self;
    tn_feed_forward    ff;
    tn_norm_layer      norm1, norm2;
    double             dropout;
    bool               is_post_norm;
} tn_encoder_layer;

TN_API tn_encoder_layer tn_encoder_layer_new(tn_params *p, const char *name,
                                             const tn_block_options *options);
/* x [.., t, d], or packed [n, d] with offsets in the mask -> the same shape */
TN_API tn_node *tn_encoder_layer_apply(const tn_encoder_layer *l, tn_node *x,
                                       const tn_attention_mask *mask);

typedef struct tn_decoder_layer {
    const char        *name;
    tn_attention_layer self, cross;
    tn_feed_forward    ff;
    tn_norm_layer      norm1, norm2, norm3;
    double             dropout;
    bool               is_post_norm;
} tn_decoder_layer;

TN_API tn_decoder_layer tn_decoder_layer_new(tn_params *p, const char *name,
                                             const tn_block_options *options);
/* x [.., t, d], memory [.., tk, d]; mask: of self-attention (say causal), memory_mask: of memory */
TN_API tn_node *tn_decoder_layer_apply(const tn_decoder_layer *l, tn_node *x, tn_node *memory,
                                       const tn_attention_mask *mask,
                                       const tn_attention_mask *memory_mask);

/* What a layer's part is given, and what comes of it: norms before or after.
 *     h = tn_block_before(norm, is_post_norm, x);
 *     x = tn_block_after(norm, is_post_norm, x, part(h), dropout); */
TN_API tn_node *tn_block_before(const tn_norm_layer *norm, bool is_post_norm, tn_node *x);
TN_API tn_node *tn_block_after(const tn_norm_layer *norm, bool is_post_norm, tn_node *x,
                               tn_node *part, double dropout);

/* ---- stacks ---------------------------------------------------------------------------------- */

typedef struct tn_encoder {
    const char       *name;
    int64_t           n_layers;
    tn_encoder_layer *layers;
    tn_norm_layer     norm; /* at the end; gamma is NULL with post-norm */
} tn_encoder;

typedef struct tn_decoder {
    const char       *name;
    int64_t           n_layers;
    tn_decoder_layer *layers;
    tn_norm_layer     norm;
} tn_decoder;

/* Layers "<name>.0", "<name>.1", ... The arrays are of the set's context; clear frees them, and not
 * the parameters. */
TN_API tn_encoder tn_encoder_new(tn_params *p, const char *name, int64_t n_layers,
                                 const tn_block_options *options);
TN_API tn_decoder tn_decoder_new(tn_params *p, const char *name, int64_t n_layers,
                                 const tn_block_options *options);
TN_API void       tn_encoder_clear(tn_ctx *ctx, tn_encoder *e);
TN_API void       tn_decoder_clear(tn_ctx *ctx, tn_decoder *d);

/* As one layer's apply: x [.., t, d] (and memory [.., tk, d]), or packed, -> the shape of x; where
 * norms come first, one more stands at the end. */
TN_API tn_node *tn_encoder_apply(const tn_encoder *e, tn_node *x, const tn_attention_mask *mask);
TN_API tn_node *tn_decoder_apply(const tn_decoder *d, tn_node *x, tn_node *memory,
                                 const tn_attention_mask *mask,
                                 const tn_attention_mask *memory_mask);

#ifdef __cplusplus
}
#endif
#endif
