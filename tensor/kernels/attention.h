/* Scaled-dot-product attention of one head, as its kernels see it: plain pointers and strides, no
 * batch and no graph. Kernels work on blocks of scores that stay in the L1 cache:
 *
 *   forward   panels of TN_ATTENTION_ROWS queries, blocks of TN_ATTENTION_KEYS keys
 *   backward  blocks of TN_ATTENTION_GRAD_ROWS queries and TN_ATTENTION_GRAD_KEYS keys
 *
 * A block of scores is held with the keys as its rows and the queries as lanes, so maxima, sums and
 * exponentials of the softmax never cross lanes, and a query's result depends on no other query.
 * The sizes are the same on every level: the place where the online softmax is rescaled is part of
 * the result. */
#ifndef TN_KERNELS_ATTENTION_H
#define TN_KERNELS_ATTENTION_H

#include "tensor/base.h"

/* Rows are counted in blocks of 64 bytes (16 lanes of f32, 8 of f64). */
enum {
    TN_ATTENTION_ROWS = 4,
    TN_ATTENTION_KEYS = 64,
    TN_ATTENTION_PANELS = 16, /* that share the reading of a block of keys */
    TN_ATTENTION_GRAD_ROWS = 4,
    TN_ATTENTION_GRAD_KEYS = 64,
    TN_ATTENTION_FEW = 16,    /* queries for which keys are picked */
    TN_ATTENTION_GRAD_RANGE = 512 /* keys that all queries are taken through before the next ones */
};

/* Rows of memory that are wanted soon: fetched into the second cache while products are made. */
typedef struct tn__attention_fetch {
    const char *at;
    int64_t     row, rows, bytes; /* from one row to the next; how many; of each */
} tn__attention_fetch;

/* Strides are in elements; the last dimension of q, k, v, y and of their gradients has stride 1. */
typedef struct tn__attention {
    int64_t        tq, tk, dh, dv;
    const void    *q, *k, *v;
    int64_t        q_row, k_row, v_row;
    double         scale;
    int64_t        diagonal;     /* query i may attend to keys 0 .. i + diagonal; tk: to all */
    const uint8_t *keep;         /* NULL: no mask. keep[i, j] at i keep_row + j keep_col */
    int64_t        keep_row, keep_col;
    const void    *bias;         /* NULL: none; added to the scaled scores */
    int64_t        bias_row, bias_col;
    double         p;            /* dropout: weight (i, j) is element first + i first_row + j */
    uint64_t       key, run;     /* of tensor/philox.h */
    uint64_t       first;
    int64_t        first_row;
    void          *y, *lse;      /* outputs of the forward kernel, inputs of the backward ones; */
    int64_t        y_row;        /* lse has stride 1, and is 0 for a query with nothing to attend */

    const void    *dy, *dlse;    /* dlse NULL: zero */
    int64_t        dy_row;
    void          *dq, *dk, *dv_out; /* dq is set, dk and dv may be added to */
    int64_t        dq_row, dk_row, dv_row;

    const tn__attention_fetch *soon;
    int                        n_soon;
} tn__attention;

/* Of few queries the forward kernel leaves out the keys that a mask hides from all of them, such as
 * the pasts of beams that were given up. Their weights would be 0: no bit changes. */
TN_INLINE bool tn__attention_picks_keys(const tn__attention *a)
{
    return a->keep && a->tq <= TN_ATTENTION_FEW && a->diagonal >= a->tk && !a->bias && a->p == 0;
}

/* Bytes of scratch of one call. */
TN_INLINE int64_t tn__attention_pad(int64_t n, int64_t size)
{
    const int64_t lanes = 64 / size;
    return (n + lanes - 1) / lanes * lanes;
}

TN_INLINE size_t tn__attention_scratch(const tn__attention *a, int64_t size)
{
    const int64_t rows = TN_ATTENTION_ROWS * 64 / size, keys = TN_ATTENTION_KEYS;
    const int64_t dh = tn__attention_pad(a->dh, size), dv = tn__attention_pad(a->dv, size);
    const int64_t panel = rows * (dh + dv + 6 + (a->p > 0 ? a->tk / 32 + 1 : 0));
    const int64_t all = (a->tq + rows - 1) / rows,
        panels = all < TN_ATTENTION_PANELS ? all : TN_ATTENTION_PANELS;
    return (size_t)(size * (panels * panel + rows * (keys + keys / 32) + keys * (dh + dv)));
}

TN_INLINE size_t tn__attention_grad_scratch(const tn__attention *a, int64_t size)
{
    const int64_t rows = TN_ATTENTION_GRAD_ROWS * 64 / size, keys = TN_ATTENTION_GRAD_KEYS;
    const int64_t dh = tn__attention_pad(a->dh, size), dv = tn__attention_pad(a->dv, size);
    const int64_t range = a->tk < TN_ATTENTION_GRAD_RANGE ? a->tk : TN_ATTENTION_GRAD_RANGE;
    const int64_t words = keys / 32 + (a->p > 0 ? range / 32 + 1 : 0);
    return (size_t)(size * (2 * range * (dh + dv) + rows *
                            (3 * dh + 2 * dv + 2 * keys + 2 + words)));
}

#endif
