/* Multi-head attention as a layer: projections around tn_attention, and the cache that decoding
 * keeps.
 *
 *     tn_attention_layer self = tn_attention_new(p, "self", d_model, n_heads, NULL);
 *     y = tn_attention_apply(&self, x, x, &(tn_attention_mask){ .causal = true });
 */
#ifndef TN_NN_ATTENTION_H
#define TN_NN_ATTENTION_H

#include "nn/layers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_attention_layer {
    const char *name;
    tn_linear   qkv;   /* self-attention: [d, (h + 2 hk) dh], the columns of q, then k, then v */
    tn_linear   q, kv; /* cross-attention: [d, h dh] and [d_memory, 2 hk dh] */
    tn_linear   out;   /* [h dh, d] */
    int64_t     n_heads, n_kv_heads, head_size; /* h, hk, dh */
    double      dropout; /* of the weights */
    double      rotary;  /* base of the positions that q and k are turned by (tn_rotary); 0: none */
} tn_attention_layer;

typedef struct tn_attention_layer_options {
    bool           is_cross;   /* keys and values come from another sequence */
    int64_t        d_memory;   /* its size; 0: d */
    int64_t        n_kv_heads; /* divides n_heads: each serves several; 0: n_heads */
    int64_t        head_size;  /* 0: d / n_heads, which must be whole */
    double         dropout;
    double         rotary;     /* base of rotary positions, such as 10,000; 0: none. For
                                  self-attention with heads of an even size */
    bool           no_bias;    /* biases start as zeros */
    const tn_init *w;          /* of all matrices; NULL: Xavier uniform, of q, k and v each with the
                                  fans of its own matrix [d, h dh] */
} tn_attention_layer_options;

/* Makes the parameters under `name`: of self-attention "qkv.w" and "qkv.b", of cross-attention
 * "q.w", "kv.w" and their biases; "out.w", "out.b". TN_ERR_ARG if the heads do not divide d or each
 * other, rotary does not fit, or the name is taken; then, the layer's name is NULL or applying it
 * gives NULL. */
TN_API tn_attention_layer tn_attention_new(tn_params *p, const char *name, int64_t d,
                                           int64_t n_heads,
                                           const tn_attention_layer_options *options);

/* x [.., t, d], memory [.., tk, d_memory] -> [.., t, d]; packed with offsets in the mask: x [n, d],
 * memory [m, d_memory]. Of self-attention, memory is x (or NULL). mask may be NULL; its batch is
 * that of the leading dimensions together. Rotary positions are counted along t, or along all n:
 * only their differences matter, and these are the same within a sentence. */
TN_API tn_node *tn_attention_apply(const tn_attention_layer *l, tn_node *x, tn_node *memory,
                                   const tn_attention_mask *mask);

/* The same with the weights [b, h, t, tk] written out: slower, for looking. Not for packed. */
TN_API tn_node *tn_attention_apply_weights(const tn_attention_layer *l, tn_node *x, tn_node *memory,
                                           const tn_attention_mask *mask, tn_node **weights);

/* ---- decoding -------------------------------------------------------------------------------- */

/* Keys and values [b, tk, hk, dh] of a memory [b, tk, d_memory], to be kept in variables while
 * decoding, and cross-attention to them. */
TN_API tn_status tn_attention_keys(const tn_attention_layer *l, tn_node *memory, tn_node **k,
                                   tn_node **v);
TN_API tn_node  *tn_attention_apply_keys(const tn_attention_layer *l, tn_node *x, tn_node *k,
                                         tn_node *v, const tn_attention_mask *mask);

/* What self-attention has seen so far: variables [b, length, hk, dh]. Make them in a set of their
 * own, so that they are not saved with the model. */
typedef struct tn_attention_cache {
    tn_node *k, *v;
} tn_attention_cache;
TN_API tn_attention_cache tn_attention_cache_new(tn_params *p, const char *name,
                                                 const tn_attention_layer *l, int64_t batch,
                                                 int64_t length);

/* Causal self-attention of t new positions x [b, t, d] to all before them and themselves. Their
 * keys and values are written into the cache in place (tn_write_rows).
 *   position: i32 scalar, of the first of them: how many the cache holds; the caller advances it
 *   parents:  i32 [b], the row of the cache that each row continues (beam search), or NULL:
 *             its own. Then the cache is re-ordered, and assigns must be among the outputs.
 *   assigns:  two nodes with parents (TN_ERR_SHAPE if there is no room); may be NULL without */
TN_API tn_node *tn_attention_decode(const tn_attention_layer *l, tn_node *x,
                                    const tn_attention_cache *cache, tn_node *position,
                                    tn_node *parents, tn_node *assigns[2]);

#ifdef __cplusplus
}
#endif
#endif
