/* The functions that put ops into a graph. Names, argument order and broadcasting are NumPy's; axes
 * may be negative; dtypes are never promoted. On failure each gives NULL and the context has the
 * message; a NULL input gives NULL. Nodes belong to the graph. A variable may stand for its value
 * beside a node; where there is none, tn_read(g, x) says which graph is meant.
 *
 * Shapes in comments: x [.., n] has any leading dimensions. "elementwise" means that operands
 * broadcast and the result has their dtype. */
#ifndef TN_AUTOGRAD_OPS_H
#define TN_AUTOGRAD_OPS_H

#include "autograd/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- arithmetic, elementwise (ops/arithmetic.c); f32, f64, i32, i64 where marked # --------------
 * Integers wrap around. */

TN_API tn_node *tn_add(tn_node *x, tn_node *y);           /* # x + y */
TN_API tn_node *tn_sub(tn_node *x, tn_node *y);           /* # x - y */
TN_API tn_node *tn_mul(tn_node *x, tn_node *y);           /* # x y */
TN_API tn_node *tn_div(tn_node *x, tn_node *y);           /* x / y */
TN_API tn_node *tn_pow(tn_node *x, tn_node *y);           /* x^y */
TN_API tn_node *tn_atan2(tn_node *y, tn_node *x);         /* angle of (x, y); gradient 0 at 0 */
TN_API tn_node *tn_hypot(tn_node *x, tn_node *y);         /* sqrt(x^2 + y^2) */
TN_API tn_node *tn_fmod(tn_node *x, tn_node *y);          /* remainder with the sign of x */
TN_API tn_node *tn_remainder(tn_node *x, tn_node *y);     /* with the sign of y, as Python's % */
TN_API tn_node *tn_floor_divide(tn_node *x, tn_node *y);  /* floor(x / y) */
TN_API tn_node *tn_maximum(tn_node *x, tn_node *y);       /* # NaN if either is; ties share dy */
TN_API tn_node *tn_minimum(tn_node *x, tn_node *y);       /* # likewise */
TN_API tn_node *tn_logaddexp(tn_node *x, tn_node *y);     /* log(e^x + e^y) */
TN_API tn_node *tn_copysign(tn_node *x, tn_node *y);      /* |x| with the sign of y */
TN_API tn_node *tn_lerp(tn_node *x, tn_node *y, tn_node *t); /* x + t (y - x) */
TN_API tn_node *tn_affine(tn_node *x, double a, double b);   /* # a x + b; i32, i64: a, b whole */
TN_API tn_node *tn_add_scalar(tn_node *x, double c);         /* # x + c: affine(x, 1, c) */
TN_API tn_node *tn_scale(tn_node *x, double c);              /* # c x: affine(x, c, 0) */
TN_API tn_node *tn_pow_scalar(tn_node *x, double c);         /* x^c */

/* One value of x's dtype and graph, of rank 0: to be broadcast against x. */
TN_API tn_node *tn_scalar_like(tn_node *x, double value);
TN_API tn_node *tn_full_like(tn_node *x, double value); /* of x's shape and dtype */
TN_API tn_node *tn_zeros_like(tn_node *x);

/* ---- one operand, elementwise (ops/unary.c) -------------------------------------------------- */

TN_API tn_node *tn_neg(tn_node *x);        /* # */
TN_API tn_node *tn_abs(tn_node *x);        /* # gradient sign(x), 0 at 0 */
TN_API tn_node *tn_sign(tn_node *x);       /* # -1, 0, 1 */
TN_API tn_node *tn_reciprocal(tn_node *x);
TN_API tn_node *tn_square(tn_node *x);     /* # */
TN_API tn_node *tn_sqrt(tn_node *x);
TN_API tn_node *tn_rsqrt(tn_node *x);      /* 1 / sqrt(x) */
TN_API tn_node *tn_cbrt(tn_node *x);
TN_API tn_node *tn_exp(tn_node *x);
TN_API tn_node *tn_exp2(tn_node *x);
TN_API tn_node *tn_expm1(tn_node *x);
TN_API tn_node *tn_log(tn_node *x);
TN_API tn_node *tn_log2(tn_node *x);
TN_API tn_node *tn_log10(tn_node *x);
TN_API tn_node *tn_log1p(tn_node *x);
TN_API tn_node *tn_sin(tn_node *x);
TN_API tn_node *tn_cos(tn_node *x);
TN_API tn_node *tn_tan(tn_node *x);
TN_API tn_node *tn_asin(tn_node *x);
TN_API tn_node *tn_acos(tn_node *x);
TN_API tn_node *tn_atan(tn_node *x);
TN_API tn_node *tn_sinh(tn_node *x);
TN_API tn_node *tn_cosh(tn_node *x);
TN_API tn_node *tn_tanh(tn_node *x);
TN_API tn_node *tn_asinh(tn_node *x);
TN_API tn_node *tn_acosh(tn_node *x);
TN_API tn_node *tn_atanh(tn_node *x);
TN_API tn_node *tn_erf(tn_node *x);
TN_API tn_node *tn_erfc(tn_node *x);
TN_API tn_node *tn_floor(tn_node *x);      /* these four: gradient 0 */
TN_API tn_node *tn_ceil(tn_node *x);
TN_API tn_node *tn_round(tn_node *x);      /* half to even */
TN_API tn_node *tn_trunc(tn_node *x);
TN_API tn_node *tn_frac(tn_node *x);       /* x - trunc(x) */
TN_API tn_node *tn_clamp(tn_node *x, double lo, double hi); /* gradient 1 at the bounds too */
TN_API tn_node *tn_cast(tn_node *x, tn_dtype dtype);
    /* any to any; float to int truncates, and goes no further than the int does (NaN: 0); int to a
     * narrower int keeps the low bits; to bool: is it not 0? Gradients flow between floats, 16-bit
     * ones too (but not through what picks 16-bit rows by index: cast first). */

/* ---- activations, elementwise (ops/activation.c) --------------------------------------------- */

TN_API tn_node *tn_relu(tn_node *x);
TN_API tn_node *tn_relu6(tn_node *x);
TN_API tn_node *tn_leaky_relu(tn_node *x, double slope);
TN_API tn_node *tn_elu(tn_node *x, double alpha);
TN_API tn_node *tn_selu(tn_node *x);
TN_API tn_node *tn_gelu(tn_node *x);       /* x Phi(x), by erf */
TN_API tn_node *tn_gelu_tanh(tn_node *x);  /* its tanh approximation */
TN_API tn_node *tn_sigmoid(tn_node *x);
TN_API tn_node *tn_log_sigmoid(tn_node *x);
TN_API tn_node *tn_silu(tn_node *x);       /* x sigmoid(x) */
TN_API tn_node *tn_softplus(tn_node *x);   /* log(1 + e^x) */
TN_API tn_node *tn_mish(tn_node *x);       /* x tanh(softplus(x)) */
TN_API tn_node *tn_hard_sigmoid(tn_node *x); /* clamp(x / 6 + 1/2, 0, 1) */
TN_API tn_node *tn_hard_swish(tn_node *x);
TN_API tn_node *tn_hard_tanh(tn_node *x);  /* clamp(x, -1, 1) */
TN_API tn_node *tn_softsign(tn_node *x);   /* x / (1 + |x|) */
TN_API tn_node *tn_celu(tn_node *x, double alpha);

/* ---- comparisons and logic (ops/compare.c): bool results, no gradient ------------------------ */

TN_API tn_node *tn_eq(tn_node *x, tn_node *y);
TN_API tn_node *tn_ne(tn_node *x, tn_node *y);
TN_API tn_node *tn_lt(tn_node *x, tn_node *y);
TN_API tn_node *tn_le(tn_node *x, tn_node *y);
TN_API tn_node *tn_gt(tn_node *x, tn_node *y);
TN_API tn_node *tn_ge(tn_node *x, tn_node *y);
TN_API tn_node *tn_logical_and(tn_node *x, tn_node *y); /* of bools */
TN_API tn_node *tn_logical_or(tn_node *x, tn_node *y);
TN_API tn_node *tn_logical_xor(tn_node *x, tn_node *y);
TN_API tn_node *tn_logical_not(tn_node *x);
TN_API tn_node *tn_isnan(tn_node *x);
TN_API tn_node *tn_isinf(tn_node *x);
TN_API tn_node *tn_isfinite(tn_node *x);
TN_API tn_node *tn_where(tn_node *condition, tn_node *x, tn_node *y); /* bool ? x : y */
TN_API tn_node *tn_masked_fill(tn_node *x, tn_node *mask, double value); /* where mask is true */

/* ---- reductions (ops/reduce.c) ------------------------------------------------------------------
 * axes: a list of n_axes axes; NULL with 0 means all. keep_dims leaves dimensions of size 1.
 * sum, sum_square, prod, cumsum, argmax, argmin: f32, f64, i32, i64; max and min u8, too; any and
 * all: bool; the others f32 and f64. Of no elements max, min, logsumexp, argmax and argmin are
 * refused (TN_ERR_SHAPE), and mean, var and std NaN. */

TN_API tn_node *tn_sum(tn_node *x, const int *axes, int n_axes, bool keep_dims);
TN_API tn_node *tn_sum_square(tn_node *x, const int *axes, int n_axes, bool keep_dims); /* of x^2 */
TN_API tn_node *tn_mean(tn_node *x, const int *axes, int n_axes, bool keep_dims);
TN_API tn_node *tn_prod(tn_node *x, const int *axes, int n_axes, bool keep_dims);
TN_API tn_node *tn_max(tn_node *x, const int *axes, int n_axes, bool keep_dims); /* ties share dy */
TN_API tn_node *tn_min(tn_node *x, const int *axes, int n_axes, bool keep_dims);
TN_API tn_node *tn_var(tn_node *x, const int *axes, int n_axes, bool keep_dims, int ddof);
TN_API tn_node *tn_std(tn_node *x, const int *axes, int n_axes, bool keep_dims, int ddof);
TN_API tn_node *tn_norm(tn_node *x, const int *axes, int n_axes, bool keep_dims); /* of order 2 */
TN_API tn_node *tn_logsumexp(tn_node *x, const int *axes, int n_axes, bool keep_dims);
TN_API tn_node *tn_any(tn_node *x, const int *axes, int n_axes, bool keep_dims); /* of bools */
TN_API tn_node *tn_all(tn_node *x, const int *axes, int n_axes, bool keep_dims);
TN_API tn_node *tn_argmax(tn_node *x, int axis, bool keep_dims); /* i64; the first of equals */
TN_API tn_node *tn_argmin(tn_node *x, int axis, bool keep_dims);
TN_API tn_node *tn_cumsum(tn_node *x, int axis);
TN_API tn_node *tn_sum_all(tn_node *x);  /* to rank 0 */
TN_API tn_node *tn_mean_all(tn_node *x);
/* Sums x down to a shape that broadcasts to x's: the transpose of broadcasting. */
TN_API tn_node *tn_sum_to(tn_node *x, tn_shape shape);

/* ---- shapes (ops/shape.c, slice.c, join.c): views where the memory allows it; any dtype ------ */

TN_API tn_node *tn_reshape(tn_node *x, tn_shape shape);      /* one dimension may be -1 */
TN_API tn_node *tn_permute(tn_node *x, const int *axes, int n); /* out dim i is x's dim axes[i] */
TN_API tn_node *tn_transpose(tn_node *x, int axis0, int axis1);
TN_API tn_node *tn_expand(tn_node *x, tn_shape shape);       /* broadcasts x to the shape */
TN_API tn_node *tn_squeeze(tn_node *x, int axis);            /* drops a dimension of size 1 */
TN_API tn_node *tn_unsqueeze(tn_node *x, int axis);          /* a dimension of size 1 before axis */
TN_API tn_node *tn_flatten(tn_node *x, int first, int last); /* dims first..last become one */
TN_API tn_node *tn_slice(tn_node *x, int axis, int64_t begin, int64_t end, int64_t step);
    /* Python's x[begin:end:step] on one axis: negative begin and end count from the end, out of
     * range is cut; step may be negative, not 0. INT64_MAX (end) and INT64_MIN: to the very end. */
TN_API tn_node *tn_select(tn_node *x, int axis, int64_t index); /* x[.., index, ..]: without axis */
TN_API tn_node *tn_concat(tn_node *const *x, int n, int axis);  /* as all ops: at most 4096 */
TN_API tn_node *tn_stack(tn_node *const *x, int n, int axis);   /* along a new axis */
TN_API tn_status tn_split(tn_node *x, int axis, const int64_t *sizes, int n, tn_node **out);
TN_API tn_status tn_chunk(tn_node *x, int axis, int n, tn_node **out); /* n equal parts */
TN_API tn_node *tn_flip(tn_node *x, int axis);
TN_API tn_node *tn_roll(tn_node *x, int axis, int64_t shift);
TN_API tn_node *tn_pad(tn_node *x, int axis, int64_t before, int64_t after, double value);
TN_API tn_node *tn_tril(tn_node *x, int64_t diagonal); /* of the last two dims; not of f16, bf16 */
TN_API tn_node *tn_triu(tn_node *x, int64_t diagonal);
TN_API tn_node *tn_unfold(tn_node *x, int axis, int64_t size, int64_t step);
    /* sliding windows, a view: [.., n, ..] -> [.., (n - size) / step + 1, .., size] */
TN_API tn_node *tn_fold(tn_node *x, int axis, int64_t step, int64_t n);
    /* its transpose: windows of the last dim added up along the axis, which gets size n */
TN_API tn_node *tn_contiguous(tn_node *x);
TN_API tn_node *tn_arange(tn_graph *g, tn_dtype dtype, int64_t n, double start, double step);

/* ---- products (ops/matmul.c): f32 and f64 ---------------------------------------------------- */

TN_API tn_node *tn_matmul(tn_node *a, tn_node *b);
    /* [.., m, k] x [.., k, n] -> [.., m, n]; the earlier dims broadcast; rank 1 as in NumPy */
TN_API tn_node *tn_einsum(const char *equation, tn_node *const *x, int n);
    /* equation: "bik,bkj->bij"; ".." allowed */
TN_API tn_node *tn_outer(tn_node *a, tn_node *b);  /* [m], [n] -> [m, n] */

/* ---- indexing (ops/index.c, ops/gather.c): i32 or i64; negative ones fail when run -----------
 * What is picked: any dtype; what is added (scatter_add, index_add): f32, f64, i32, i64; what is
 * put in order (topk, sort): these and u8. */

TN_API tn_node *tn_index_select(tn_node *x, int axis, tn_node *index); /* index [n] */
TN_API tn_node *tn_gather(tn_node *x, int axis, tn_node *index);
    /* out[i][j] = x[index[i][j]][j] (axis 0): as PyTorch's gather; index has x's rank */
TN_API tn_node *tn_scatter_add(tn_node *x, int axis, tn_node *index, tn_node *src);
    /* x with src[i][j] added at [index[i][j]][j], in rising order of the source: fixed bits */
TN_API tn_node *tn_index_add(tn_node *x, int axis, tn_node *index, tn_node *src);
    /* x with src[.., i, ..] added at row index[i], in rising order of i: fixed bits */
TN_API tn_node *tn_one_hot(tn_node *index, int64_t n_classes, tn_dtype dtype); /* [..] -> [.., n] */
TN_API tn_node *tn_embedding(tn_node *weight, tn_node *index, int64_t padding_idx);
    /* weight [v, d], index [..] -> [.., d]; the row padding_idx gets no gradient (-1: none) */
TN_API tn_status tn_topk(tn_node *x, int64_t k, int axis, tn_node **values, tn_node **indices);
    /* the k largest, falling; equal values in the order of their positions; indices i64 */
TN_API tn_status tn_log_topk(tn_node *x, tn_node *bias, int64_t k, tn_node **values,
                             tn_node **indices);
    /* topk of log_softmax(x + bias) along the last axis; bias [n] or NULL */
TN_API tn_status tn_sort(tn_node *x, int axis, bool descending, tn_node **values,
                         tn_node **indices);

/* ---- normalisation and softmax (ops/norm.c, ops/softmax.c): of the last dimension or an axis - */

TN_API tn_node *tn_softmax(tn_node *x, int axis);     /* a row of -inf alone gives zeros */
TN_API tn_node *tn_log_softmax(tn_node *x, int axis);
TN_API tn_node *tn_layer_norm(tn_node *x, tn_node *gamma, tn_node *beta, double eps);
    /* x [.., d]; gamma, beta [d], either may be NULL: (x - mean) / sqrt(var + eps) gamma + beta */
TN_API tn_node *tn_rms_norm(tn_node *x, tn_node *gamma, double eps);
    /* x / sqrt(mean(x^2) + eps) gamma */

/* ---- randomness (ops/random.c) --------------------------------------------------------------- */

TN_API tn_node *tn_dropout(tn_node *x, double p);
    /* TRAIN: 0 with probability p, else x / (1 - p); EVAL: x */
TN_API tn_node *tn_random_uniform_node(tn_graph *g, tn_dtype dtype, tn_shape shape, double lo,
                                       double hi);
TN_API tn_node *tn_random_normal_node(tn_graph *g, tn_dtype dtype, tn_shape shape, double mean,
                                      double std);

/* ---- attention (ops/attention.c) ------------------------------------------------------------- */

/* The one mask type. Everything at zero: no mask. A mask that is all false, a bias of -inf and a
 * length of 0 leave a query with nothing to attend: its result and its gradients are zeros. */
typedef struct tn_attention_mask {
    bool     causal;    /* query i attends to keys 0 .. i, itself included; where k_lengths or
                           k_offsets say that there are more keys than queries (a cache), to
                           0 .. i + keys - queries */
    tn_node *keep;      /* bool, true where attending is allowed: [b, tk] (key padding), [b, tq, tk]
                           or [b, h, tq, tk], each dim also 1; [tq, tk] where tq is neither b nor 1
                           (in doubt say [1, tq, tk]); or [tk] */
    tn_node *bias;      /* float, added to the scaled scores: broadcasts to [b, h, tq, tk] */
    tn_node *q_offsets; /* packed: i32 [n + 1]; segment s of q is rows q_offsets[s] ..
                           q_offsets[s+1], which see the keys of segment s; rows in no segment give
                           zeros */
    tn_node *k_offsets; /* likewise of k and v; NULL: q_offsets */
    tn_node *k_lengths; /* i32 [b]: keys at and past it are not there (padding, or free rows of a
                           cache) */
} tn_attention_mask;

typedef struct tn_attention_options {
    double scale;    /* 0: 1 / sqrt(head size) */
    double dropout;  /* of the weights, in TRAIN graphs */
} tn_attention_options;

/* softmax(q k^T scale + mask) v, by head, with an online softmax: no [tq, tk] matrix in memory.
 *   q [b, tq, h, dh], k [b, tk, hk, dh], v [b, tk, hk, dv] -> [b, tq, h, dv]; hk divides h, and
 *   head j of q sees head j / (h / hk) of k
 *   packed: q [n, h, dh], k and v [m, hk, ..] with offsets -> [n, h, dv]; causal is the only other
 *   mask
 * They may be slices of one [b, t, 3, h, dh]: only the last dimension must be contiguous to be read
 * in place. Lengths and offsets out of range are refused when run. mask and options may be NULL. */
TN_API tn_node *tn_attention(tn_node *q, tn_node *k, tn_node *v, const tn_attention_mask *mask,
                             const tn_attention_options *options);

/* The same with the weights written out, [b, h, tq, tk] (before dropout), as a composition of
 * primitives: for looking, and tn_attention's reference. weights may be NULL. Not for packed. */
TN_API tn_node *tn_attention_with_weights(tn_node *q, tn_node *k, tn_node *v,
                                          const tn_attention_mask *mask,
                                          const tn_attention_options *options, tn_node **weights);

/* ---- caches (ops/cache.c) -------------------------------------------------------------------- */

/* cache [b, t, ..] with rows [n, r, ..], n <= b, written at [: n, position : position + r]; the
 * position is an i32 scalar. Where cache is (the read of) a variable, the rows go into it at once,
 * without a copy and before the run commits: what reads the cache must hide rows past a length
 * (k_lengths). It has no gradient. */
TN_API tn_node *tn_write_rows(tn_node *cache, tn_node *rows, tn_node *position);

/* ---- losses (ops/loss.c) --------------------------------------------------------------------- */

/* TN_NONE is negative, so that in the number fields of option structs it can say "none" too. */
typedef enum tn_reduction { TN_MEAN, TN_SUM, TN_NONE = -1 } tn_reduction;

typedef struct tn_cross_entropy_options {
    tn_reduction reduction;       /* MEAN divides by the number of targets that count */
    double       label_smoothing; /* e: (1 - e) nll + e mean over classes of -log p */
    int64_t      ignore_index;    /* targets with this value do not count; only if has_ignore */
    bool         has_ignore;
} tn_cross_entropy_options;

/* logits [.., v] float, target [..] i32 or i64 -> scalar, or [..] with TN_NONE (0 where ignored).
 * No target that counts: 0. options may be NULL. A target outside [0, v) is refused when run. */
TN_API tn_node *tn_cross_entropy(tn_node *logits, tn_node *target,
                                 const tn_cross_entropy_options *options);

/* What a training loop wants to know of a loss. */
typedef struct tn_loss_parts {
    tn_node *sum;   /* of the smoothed loss over targets that count, rank 0; differentiable */
    tn_node *nll;   /* of the plain -log p, rank 0; for perplexity, no gradient */
    tn_node *count; /* of targets that count, rank 0, the logits' dtype */
} tn_loss_parts;
TN_API tn_status tn_cross_entropy_parts(tn_node *logits, tn_node *target,
                                        const tn_cross_entropy_options *options,
                                        tn_loss_parts *parts);

/* The same of logits = x w^T + b (x [.., d], w [v, d] if w_rows, else [d, v]; b [v] or NULL)
 * without ever holding all the logits. In a TRAIN graph the same pass makes the gradients, asked
 * for or not. */
TN_API tn_status tn_linear_cross_entropy(tn_node *x, tn_node *w, bool w_rows, tn_node *b,
                                         tn_node *target, const tn_cross_entropy_options *options,
                                         tn_loss_parts *parts);

/* (x - y)^2; shapes are broadcast, [n, 1] and [n] to [n, n] */
TN_API tn_node *tn_mse(tn_node *x, tn_node *y, tn_reduction reduction);
TN_API tn_node *tn_bce_with_logits(tn_node *x, tn_node *y, tn_reduction reduction); /* stable */
TN_API tn_node *tn_kl_div(tn_node *log_p, tn_node *q, tn_reduction reduction);
    /* q (log q - log_p), 0 log 0 = 0; NaN of negative q */

/* ---- gradients ------------------------------------------------------------------------------- */

TN_API tn_node *tn_stop_gradient(tn_node *x); /* x, as a constant */

/* y with a gradient rule of its own: forward is y as it was built from x[0..n); backward calls rule
 * with the cotangent dy, and it sets dx[i] (NULL: zero); y, as the rule gets it, has this rule too
 * where its gradient is differentiated again. With respect to what else y was built from it has no
 * gradient. user is kept by address. */
typedef void (*tn_custom_rule)(tn_graph *g, tn_node *const *x, int n, tn_node *y, tn_node *dy,
                               tn_node **dx, void *user);
TN_API tn_node *tn_custom_grad(tn_node *y, tn_node *const *x, int n, tn_custom_rule rule,
                               void *user);

#ifdef __cplusplus
}
#endif
#endif
