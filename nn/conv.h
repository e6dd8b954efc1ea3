/* Convolutions and pooling over the dimensions between the first and the last: x [b, n.., c] has
 * one to three of them (time; height and width; depth, height and width), and channels last.
 *
 * A convolution is windows of x times a matrix: what it computes is a composition of ops, and the
 * windows are the memory that it takes, kernel size times that of x (`.recompute` frees it until
 * backward). As with all layers, a failure gives NULL and the context has the first error. */
#ifndef TN_NN_CONV_H
#define TN_NN_CONV_H

#include "autograd/ops.h"
#include "nn/params.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TN_CONV_DIMS = 3 };

typedef struct tn_conv_options {
    int64_t        stride[TN_CONV_DIMS];   /* between windows, of each dimension; 0: 1 */
    int64_t        dilation[TN_CONV_DIMS]; /* between what one window reads; 0: 1 */
    int64_t        padding[TN_CONV_DIMS];  /* zeros before and behind (taken off, of a transposed
                                              one) */
    int64_t        extra[TN_CONV_DIMS];    /* of a transposed one: this much more at the end, less
                                              than stride (PyTorch's output_padding) */
    int64_t        groups; /* channels in so many parts, each for itself; 0: 1; in: depthwise */
    bool           no_bias;
    const tn_init *w, *b;  /* NULL: PyTorch's, U(-1 / sqrt(f), 1 / sqrt(f)), f = kernel size times
                              the input channels that an output sees */
} tn_conv_options;

typedef struct tn_conv {
    const char     *name;
    tn_node        *w; /* [kernel.., in / groups, out]; transposed: [kernel.., out / groups, in] */
    tn_node        *b; /* [out], or NULL */
    bool            is_transposed;
    tn_conv_options options;
} tn_conv;

/* kernel: TN_SHAPE(3), TN_SHAPE(3, 3), ..; options may be NULL. in and out must be multiples of
 * groups. */
TN_API tn_conv tn_conv_new(tn_params *p, const char *name, tn_shape kernel, int64_t in, int64_t out,
                           const tn_conv_options *options);

/* The transpose of a convolution from out to in channels: what its gradient does to dy. */
TN_API tn_conv tn_conv_transposed_new(tn_params *p, const char *name, tn_shape kernel, int64_t in,
                                      int64_t out, const tn_conv_options *options);

/* x [b, n.., in] -> [b, m.., out], for each dimension
 *   m = (n + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down;
 *   transposed: m = (n - 1) stride - 2 padding + dilation (kernel - 1) + 1 + extra.
 * A window is not flipped: y[i] = sum_j w[j] x[stride i + dilation j - padding], as in PyTorch. */
TN_API tn_node *tn_conv_apply(const tn_conv *l, tn_node *x);

typedef struct tn_pool_options {
    int64_t stride[TN_CONV_DIMS];  /* 0: the window's size */
    int64_t padding[TN_CONV_DIMS]; /* before and behind: -inf, of a mean zeros that count; at most
                                      half of the window */
} tn_pool_options;

/* The largest, and the mean, of windows: x [b, n.., c] -> [b, (n + 2 padding - size) / stride + 1
 * .., c]. options may be NULL. (Of all of x: tn_max, tn_mean.) */
TN_API tn_node *tn_max_pool(tn_node *x, tn_shape size, const tn_pool_options *options);
TN_API tn_node *tn_mean_pool(tn_node *x, tn_shape size, const tn_pool_options *options);

#ifdef __cplusplus
}
#endif
#endif
