/* What the files of attention share: the attributes, and where the optional inputs are. */
#ifndef TN_AUTOGRAD_OPS_ATTENTION_H
#define TN_AUTOGRAD_OPS_ATTENTION_H

#include "autograd/op.h"
#include "autograd/ops.h"

/* Of attention and attention_grad. has_*: which optional inputs follow q, k, v, in this order. keep
 * and bias have rank 4, each dim that of [b, h, tq, tk] or 1. */
#define ATTENTION_ATTRS(F)                                                                         \
    F(attention, flag, causal)                                                                     \
    F(attention, f64, scale)                                                                       \
    F(attention, f64, p)                                                                           \
    F(attention, stream, stream)                                                                   \
    F(attention, flag, has_keep)                                                                   \
    F(attention, flag, has_bias)                                                                   \
    F(attention, flag, has_q_offsets)                                                              \
    F(attention, flag, has_k_offsets)                                                              \
    F(attention, flag, has_k_lengths)                                                              \
    F(attention, flag, has_dlse)   /* of attention_grad: the cotangent of lse is given */          \
    F(attention, flag, wants_bias) /* of attention_grad: the bias has a gradient */

typedef struct tn__attention_attrs {
#define TN_X(op, kind, field) tn_attr_##kind field;
    ATTENTION_ATTRS(TN_X)
#undef TN_X
} tn__attention_attrs;

/* Positions of the inputs; -1: not there. */
typedef struct tn__attention_at {
    int keep, bias, q_offsets, k_offsets, k_lengths;
    int n;                  /* inputs of attention */
    int y, lse, dy, dlse;   /* those that attention_grad has after them */
    int n_grad;
} tn__attention_at;

TN_INLINE tn__attention_at tn__attention_inputs(const tn__attention_attrs *a)
{
    tn__attention_at at = { .n = 3 };
    at.keep = a->has_keep ? at.n++ : -1;
    at.bias = a->has_bias ? at.n++ : -1;
    at.q_offsets = a->has_q_offsets ? at.n++ : -1;
    at.k_offsets = a->has_k_offsets ? at.n++ : -1;
    at.k_lengths = a->has_k_lengths ? at.n++ : -1;
    at.y = at.n, at.lse = at.n + 1, at.dy = at.n + 2, at.n_grad = at.n + 3;
    at.dlse = a->has_dlse ? at.n_grad++ : -1;
    return at;
}

/* Sizes of one call. Packed: b is the number of segments, tq and tk are all rows. */
typedef struct tn__attention_sizes {
    bool    is_packed;
    int64_t b, tq, tk, h, hk, dh, dv;
} tn__attention_sizes;

TN_INLINE tn__attention_sizes tn__attention_sizes_of(const tn__attention_attrs *a,
                                                     const tn_shape *q,
                                                     const tn_shape *k, const tn_shape *v,
                                                     const tn_shape *offsets)
{
    const int     r = a->has_q_offsets ? 0 : 1; /* where the rows are */
    const int64_t n = offsets ? offsets->dim[0] - 1 : 0;
    return (tn__attention_sizes){
        .is_packed = a->has_q_offsets, .b = a->has_q_offsets ? n : q->dim[0], .tq = q->dim[r],
        .tk = k->dim[r], .h = q->dim[r + 1], .hk = k->dim[r + 1], .dh = q->dim[r + 2],
        .dv = v->dim[r + 2]
    };
}

/* attention_run.c: the kernels over batch, heads and chunks of rows. */
tn_status tn__attention_run(tn_exec *e);
tn_status tn__attention_grad_run(tn_exec *e);
size_t    tn__attention_run_scratch(const tn_exec *e);
size_t    tn__attention_grad_run_scratch(const tn_exec *e);

/* The composition of primitives that attention equals. weights is NULL or gets [b, h, tq, tk]. */
typedef struct tn__attention_nodes {
    tn_node *y, *lse, *weights;
} tn__attention_nodes;

tn__attention_nodes tn__attention_compose(tn_graph *g, const tn__attention_attrs *attrs,
                                          tn_node *const *in);

/* Likewise of attention_grad: a function of all of its inputs, y and lse too. */
void tn__attention_grad_compose(tn_graph *g, const tn__attention_attrs *attrs, tn_node *const *in,
                                tn_node **out);

#endif
