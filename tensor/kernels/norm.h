/* What the kernels of norm.c and softmax-with-target losses (loss.c) are given. Pointers of float
 * type are to the kernel's dtype, rows are contiguous. */
#ifndef TN_KERNELS_NORM_H
#define TN_KERNELS_NORM_H

#include "tensor/base.h"

/* y = (x - mean) rstd gamma + beta by rows of n; rms: mean is 0. gamma and beta [n] may be NULL. */
typedef struct tn__norm {
    int64_t     n;
    bool        rms;
    double      eps;
    const void *x, *gamma, *beta;
    void       *y, *mean, *rstd;   /* [rows, n], [rows], [rows]; mean is NULL with rms */
    const void *dy;                /* backward: reads x, gamma, mean, rstd and dy, */
    void       *dx;                /* writes dx, */
    bool        is_far;            /* y or dx is written past the caches */
    /* and sums over its rows into these [n], each NULL if not wanted */
    void       *dgamma, *dbeta;
} tn__norm;

#endif
