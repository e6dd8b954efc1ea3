/* What the kernels of loss.c are given. Pointers of float type are to the kernel's dtype; rows of
 * logits are contiguous, n classes each. */
#ifndef TN_KERNELS_LOSS_H
#define TN_KERNELS_LOSS_H

#include "tensor/base.h"

typedef struct tn__cross_entropy {
    int64_t     n;
    double      smoothing;              /* e in loss = (1 - e) nll + e mean(-log p) */
    bool        has_ignore;
    int64_t     ignore;                 /* rows with this target give 0 everywhere */
    const void *target;                 /* [rows], in [0, n) where not ignored */
    tn_dtype    target_dtype;           /* i32 or i64 */
    const void *logits;
    void       *loss, *nll;             /* [rows]; loss NULL: backward alone */
    void       *shift, *log_sum;
        /* log p = (logits - shift) - log_sum; shift is a whole number,
                                           so that it is constant under differentiation */
    const void *dloss, *dnll, *dlog_sum;
    void       *dlogits;                /* NULL: forward alone */
    const void *bias;                   /* of the fused step: added to the logits; NULL: none */
    bool        with_grad;
    bool        is_far;                 /* dlogits of the gradient go past the caches */
} tn__cross_entropy;

TN_INLINE int64_t tn__target_at(const void *target, tn_dtype dtype, int64_t i)
{
    return dtype == TN_I32 ? ((const int32_t *)target)[i] : ((const int64_t *)target)[i];
}

#endif
