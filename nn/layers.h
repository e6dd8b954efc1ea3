/* Layers: parameters in an open struct, computation in a line. `new` makes the parameters in a set,
 * under the layer's name; `apply` builds the computation on a node, in a scope of the same name.
 *
 * Like all of building: a failure gives NULL parameters, NULL passes through, and the context has
 * the first error. Structs are plain values; their nodes belong to the set and may be shared
 * (tied). */
#ifndef TN_NN_LAYERS_H
#define TN_NN_LAYERS_H

#include "autograd/ops.h"
#include "nn/params.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Linear: y = x w + b --------------------------------------------------------------------- */

typedef struct tn_linear {
    const char *name;
    tn_node    *w; /* [in, out] */
    tn_node    *b; /* [out], or NULL */
} tn_linear;

typedef struct tn_linear_options {
    bool           no_bias;
    const tn_init *w, *b; /* initial values; NULL: PyTorch's, U(-1 / sqrt(in), 1 / sqrt(in)) */
} tn_linear_options;

TN_API tn_linear tn_linear_new(tn_params *p, const char *name, int64_t in, int64_t out);
TN_API tn_linear tn_linear_new_with(tn_params *p, const char *name, int64_t in, int64_t out,
                                    const tn_linear_options *options);
TN_API tn_node  *tn_linear_apply(const tn_linear *l, tn_node *x); /* x [.., in] -> [.., out] */

/* ---- Embedding: rows of a table -------------------------------------------------------------- */

typedef struct tn_embedding_layer {
    const char *name;
    tn_node    *w;           /* [vocabulary, d] */
    int64_t     padding_idx; /* this row begins as zeros, and no index changes it; -1: none */
    double      scale;       /* of the output */
} tn_embedding_layer;

typedef struct tn_embedding_options {
    bool    has_padding;
    int64_t padding_idx;
    bool    scale_sqrt_d; /* the output is multiplied by sqrt(d), as in Vaswani et al. 2017 */
    double  std;          /* of the initial N(0, std^2); 0: 1, or 1 / sqrt(d) with scale_sqrt_d;
                           * negative: TN_ERR_ARG */
} tn_embedding_options;

TN_API tn_embedding_layer tn_embedding_new(tn_params *p, const char *name, int64_t vocabulary,
                                           int64_t d, const tn_embedding_options *options);
/* [..] -> [.., d] */
TN_API tn_node *tn_embedding_apply(const tn_embedding_layer *l, tn_node *index);
/* The table as an output layer: x [.., d] -> logits [.., vocabulary] = x w^T, unscaled. */
TN_API tn_node *tn_embedding_logits(const tn_embedding_layer *l, tn_node *x);

/* ---- norms over the last dimension ----------------------------------------------------------- */

typedef struct tn_norm_layer {
    const char *name;
    tn_node    *gamma, *beta; /* [d]; ones and zeros at first; beta NULL of RMS norm */
    double      eps;
    bool        is_rms;
} tn_norm_layer;

TN_API tn_norm_layer tn_layer_norm_new(tn_params *p, const char *name, int64_t d); /* eps 1e-5 */
TN_API tn_norm_layer tn_rms_norm_new(tn_params *p, const char *name, int64_t d);   /* eps 1e-6 */
TN_API tn_node      *tn_norm_apply(const tn_norm_layer *l, tn_node *x); /* either kind */
TN_API tn_node      *tn_layer_norm_apply(const tn_norm_layer *l, tn_node *x);
TN_API tn_node      *tn_rms_norm_apply(const tn_norm_layer *l, tn_node *x);

/* ---- batch norm: Ioffe & Szegedy 2015 -------------------------------------------------------- */

typedef struct tn_batch_norm {
    const char *name;
    tn_node    *gamma, *beta; /* [d]: ones and zeros at first */
    tn_node    *mean, *var;   /* [d], buffers: what an EVAL graph uses; zeros and ones at first */
    double      eps, momentum;
} tn_batch_norm;

TN_API tn_batch_norm tn_batch_norm_new(tn_params *p, const char *name, int64_t d);
    /* eps 1e-5, momentum 0.1, as PyTorch's */

/* (x - mean) / sqrt(var + eps) gamma + beta of each channel, x [.., d]. In a TRAIN graph mean and
 * var are those of x over all its other dims, and assigns gets two nodes that move the buffers
 * towards them, b + momentum (x's - b), where x's var is divided by n - 1: they must be among the
 * outputs of the program. assigns may be NULL: the buffers stay. */
TN_API tn_node *tn_batch_norm_apply(const tn_batch_norm *l, tn_node *x, tn_node *assigns[2]);

/* ---- group norm: Wu & He 2018 ---------------------------------------------------------------- */

typedef struct tn_group_norm {
    const char *name;
    tn_node    *gamma, *beta; /* [d]: ones and zeros at first */
    int64_t     groups;
    double      eps;
} tn_group_norm;

/* d channels in groups of neighbours, as many in each; d groups: instance norm. eps 1e-5. Where
 * groups do not divide d, TN_ERR_ARG and a layer that applies to nothing. */
TN_API tn_group_norm tn_group_norm_new(tn_params *p, const char *name, int64_t groups, int64_t d);

/* (x - mean) / sqrt(var + eps) gamma + beta, x [b, n.., d]: mean and var (divided by their number)
 * are of one b and group, over all n and the group's channels. */
TN_API tn_node *tn_group_norm_apply(const tn_group_norm *l, tn_node *x);

/* ---- FeedForward: act(x w_in + b_in) w_out + b_out, row by row ------------------------------- */

typedef enum tn_activation {
    TN_ACTIVATION_RELU,
    TN_ACTIVATION_GELU,
    TN_ACTIVATION_GELU_TANH,
    TN_ACTIVATION_SILU
} tn_activation;
TN_API tn_node *tn_activate(tn_node *x, tn_activation activation);

typedef struct tn_feed_forward {
    const char   *name;
    tn_linear     in, out, gate; /* gate.w NULL if there is no gate */
    tn_activation activation;
    double        dropout;       /* behind the activation */
} tn_feed_forward;

typedef struct tn_feed_forward_options {
    tn_activation activation; /* 0: ReLU */
    double        dropout;
    bool          gated;      /* act(x w_in) (x w_gate) w_out: SwiGLU with SiLU; Shazeer 2020 */
    bool          no_bias;
    const tn_init *w;         /* of all matrices; NULL: Xavier uniform. Biases start as zeros */
} tn_feed_forward_options;

TN_API tn_feed_forward tn_feed_forward_new(tn_params *p, const char *name, int64_t d,
                                           int64_t d_inner, const tn_feed_forward_options *options);
/* [.., d] -> [.., d] */
TN_API tn_node *tn_feed_forward_apply(const tn_feed_forward *l, tn_node *x);

/* ---- positions ------------------------------------------------------------------------------- */

typedef struct tn_positions {
    const char *name;
    tn_node    *w; /* [length, d], learned; NULL: sinusoidal */
    int64_t     length, d;
} tn_positions;

/* PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos of the same; Vaswani et al. 2017,
 * 3.5. Learned ones start as N(0, 0.02^2). length: how many positions there are. */
TN_API tn_positions tn_positions_sinusoidal(tn_params *p, const char *name, int64_t length,
                                            int64_t d);
TN_API tn_positions tn_positions_learned(tn_params *p, const char *name, int64_t length, int64_t d);

/* x + the encoding of its positions. x [.., t, d] has positions 0 .. t-1, or those of index (i32 or
 * i64, x's shape without d, or what broadcasts with it): packed rows, cached decoding. */
TN_API tn_node *tn_positions_apply(const tn_positions *l, tn_node *x, tn_node *index);

/* x [.., t, h, d] with the pairs (i, i + d / 2) of each row turned by position base^(-2i / d):
 * rotary positions, of q and k in front of tn_attention (Su et al. 2021, in the order of Llama's
 * files). d is even. Positions are 0 .. t-1, or those of index (i32 or i64, x's shape without h and
 * d, or what broadcasts with it). base 0: 10,000. */
TN_API tn_node *tn_rotary(tn_node *x, tn_node *index, double base);

/* The sinusoidal table alone: out[n * d], positions 0 .. n-1. The same bits everywhere. */
TN_API void tn_sinusoidal_table(int64_t n, int64_t d, tn_dtype dtype, void *out);

#ifdef __cplusplus
}
#endif
#endif
