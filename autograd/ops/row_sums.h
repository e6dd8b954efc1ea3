/* Rows that are sums of rows of another array, picked by index: what adding rows into a fresh array
 * comes to, seen from the result. Each row is written once, so it may go past the caches. */
#ifndef TN_OPS_ROW_SUMS_H
#define TN_OPS_ROW_SUMS_H

#include "autograd/op.h"

/* y[o][r] = base[o][r] + src[o][i] + src[o][i'] + .. over the i of index[i] = r, in rising order;
 * y and base [outer, rows, inner], src [outer, n, inner], each contiguous. */
typedef struct tn__row_sums {
    tn_dtype    dtype;
    void       *y;
    const void *base, *src;
    bool        base_is_one;   /* base is one number for all */
    int64_t    *index;         /* [n], in [0, rows); overwritten */
    int64_t    *first;         /* scratch of `rows` numbers */
    int64_t     skip;          /* sources of this index are left out; -1: none */
    int64_t     outer, n, rows, inner;
    bool        is_far;        /* past the caches */
} tn__row_sums;

void tn__row_sums_run(tn_ctx *ctx, const tn__row_sums *s);

/* Half of a row of `inner` numbers, rounded up to 16 of them: for rows that two threads share. */
TN_INLINE int64_t tn__row_half(int64_t inner) { return (inner + 31) / 32 * 16; }

#endif
