/* What cross-entropy and its fusion with the projection before it share. */
#ifndef TN_AUTOGRAD_OPS_LOSS_H
#define TN_AUTOGRAD_OPS_LOSS_H

#include "autograd/ops/build.h"
#include "tensor/kernels/loss.h"

#define CROSS_ENTROPY_ATTRS(F)                                                                     \
    F(cross_entropy, f64, smoothing) F(cross_entropy, flag, has_ignore)                            \
    F(cross_entropy, i64, ignore)

typedef struct cross_entropy_attrs {
    CROSS_ENTROPY_ATTRS(TN_ATTR_MEMBER)
} cross_entropy_attrs;

/* Of the options (NULL: the defaults); an ignore_index that a target of this dtype can't have is
 * none. */
cross_entropy_attrs tn__cross_entropy_attrs(const tn_cross_entropy_options *o, tn_dtype target);

/* The attributes are sane and in[target] is of integers. */
tn_status tn__infer_cross_entropy(tn_infer *c, const cross_entropy_attrs *a, int target);

/* x [.., d] -> [n, d], target [..] -> [n]; false, with the message, if they do not fit. */
bool tn__flatten_rows(const char *name, tn_node **x, tn_node **target);

/* True where the target is not the one to ignore. */
tn_node *tn__counts(tn_graph *g, tn_node *target, int64_t ignore);

/* How many targets count; -1, with the position and the value of the first that is out of range. */
int64_t tn__count_targets(tn_ctx *ctx, const char *name, const tn_tensor *target,
                          const cross_entropy_attrs *a, int64_t n_classes);

#endif
