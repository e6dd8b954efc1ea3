/* What the functions share that put several ops into a graph, or look at their arguments first; and
 * what kernels ask. */
#ifndef TN_AUTOGRAD_OPS_BUILD_H
#define TN_AUTOGRAD_OPS_BUILD_H

#include "autograd/internal.h"

/* Fails as an op of this name with the input x would: "chunk: [7,2]: <message> (scope)". NULL. */
tn_node *tn__refuse(const char *name, const tn_node *x, tn_status status, const char *format, ...)
    TN_PRINTF(4, 5);

/* The graph of x; NULL, with the error in the context, if x is a variable (without it if NULL). */
tn_graph *tn__graph_of(const char *name, const tn_node *x);

/* The axes of a reduction over x: sorted, none twice, none negative, where the list allows that;
 * otherwise as they came, for the op's inference to refuse. No axes (NULL, 0) are all. */
tn_shape tn__axes_of(const tn_node *x, const int *axes, int n);

/* x's shape with those axes at size 1. */
tn_shape tn__kept_shape(const tn_node *x, const tn_shape *axes);

/* Should out[0] be written past the caches? Not over an input, whose lines are there. */
bool tn__is_far(const tn_exec *e);

#endif
