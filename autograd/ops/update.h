/* Ops of optimizers, for nn/optimizer.c: one call updates all of a parameter's state. */
#ifndef TN_AUTOGRAD_OPS_UPDATE_H
#define TN_AUTOGRAD_OPS_UPDATE_H

#include "autograd/ops.h"

typedef struct tn__adam {
    double beta1, beta2, eps;
    bool   decoupled; /* decay shrinks the weight (AdamW); otherwise it is an L2 penalty */
} tn__adam;

/* out: w, m, v. w, m, v, dw have one shape; scale (of dw), rate, root and decay are scalars:
 *   g = scale dw [+ decay w],  m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
 *   w = [(1 - decay)] w - rate m / (sqrt(v) root + eps) */
void tn__adam_update(const tn__adam *adam, tn_node *w, tn_node *m, tn_node *v, tn_node *dw,
                     tn_node *scale, tn_node *rate, tn_node *root, tn_node *decay, tn_node *out[3]);

/* w - rate (scale dw + decay w) */
tn_node *tn__sgd_update(tn_node *w, tn_node *dw, tn_node *scale, tn_node *rate, tn_node *decay);

/* out: w, u. g = scale dw + decay w, u = momentum u + g, w = w - rate (nesterov ? g + momentum u :
 * u) */
void tn__momentum_update(double momentum, bool nesterov, tn_node *w, tn_node *u, tn_node *dw,
                         tn_node *scale, tn_node *rate, tn_node *decay, tn_node *out[2]);

/* Zeros of x's shape. `after` (of that shape) is not looked at: it puts the clearing behind what
 * computes it, so that both can be done in one pass over x's variable. */
tn_node *tn__clear(tn_node *x, tn_node *after);

/* Sum of the squares of all elements of n nodes, in f64: f64 scalar. n > 0. */
tn_node *tn__sum_squares(tn_node *const *x, int n);

#endif
