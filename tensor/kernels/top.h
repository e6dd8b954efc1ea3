/* What the kernels of top.c are given: one row of n floats or doubles. */
#ifndef TN_KERNELS_TOP_H
#define TN_KERNELS_TOP_H

#include "tensor/base.h"

enum { TN_TOP_FOUND = 64 }; /* so many at most can be put in order by their places */

typedef struct tn__top {
    int64_t     n, k;
    const void *x, *bias; /* bias NULL: none */
    void       *y;        /* x + bias, where there is one; else x itself, which is only read */
    double      least;    /* what is looked for: a number that at least k of the row reach, and not
                             many more; -inf: there is none, or k is too large for looking to pay */
    int64_t    *at;       /* where it is found: room for n */
    bool        with_sum;
    double      shift, log_sum; /* the largest of all, rounded down; log sum e^(y - shift) */
} tn__top;

#endif
