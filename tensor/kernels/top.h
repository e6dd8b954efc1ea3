/* What the kernels of top.c are given: one row of n floats or doubles. */
#ifndef TN_KERNELS_TOP_H
#define TN_KERNELS_TOP_H

#include "tensor/base.h"

enum { TN_TOP_LANES = 64 }; /* of f64 half as many are used */

typedef struct tn__top {
    int64_t     n;
    const void *x, *bias; /* bias NULL: none */
    void       *y;        /* x + bias, where there is one; else x itself, which is only read */
    double      most[TN_TOP_LANES]; /* the largest of each of these parts; -inf of none */
    double      least;    /* what is looked for */
    int64_t    *at;       /* where it is found: room for n */
    bool        with_sum;
    double      shift, log_sum; /* the largest of all, rounded down; log sum e^(y - shift) */
} tn__top;

#endif
