/* Reductions of a strided view over some of its axes.
 *
 * The tree of a reduction depends on the lengths of the shape alone: axes that are neighbours count
 * as one, and such groups are reduced one after another, the innermost first. A group at the end of
 * the shape is cut into blocks of TN__ROW_BLOCK elements: element i of a block goes to lane i mod
 * 64 (f32) or 32 (f64), the lanes are combined half against half. Any other group is cut into
 * blocks of TN__COL_BLOCK rows, which are combined in rising order. Where there is more than one
 * block, their results are reduced in the same way. Strides, threads and vector width change no
 * bit. */
#ifndef TN_TENSOR_REDUCE_H
#define TN_TENSOR_REDUCE_H

#include "tensor/context.h"

enum { TN__ROW_BLOCK = 4096, TN__COL_BLOCK = 64 };

typedef enum tn__reduce_kind {
    TN__SUM,        /* integers wrap around */
    TN__SUM_SQUARE,
    TN__PROD,
    TN__MAX,        /* NaN if any element is */
    TN__MIN
} tn__reduce_kind;

/* The dtypes that tn__reduce takes: f32, f64, i32, i64, and u8 and bool for MAX and MIN. */
bool tn__reduce_takes(tn__reduce_kind kind, tn_dtype dtype);

/* Bytes of scratch for reducing x (its data is not looked at) over the axes whose bit is set. */
size_t tn__reduce_scratch(const tn_ctx *ctx, const tn_tensor *x, unsigned axes);

/* out: contiguous, the dims that are not reduced in their order. A sum of nothing is 0, a product
 * 1; a maximum or minimum of nothing is the least or largest value of the dtype. */
void tn__reduce(tn_ctx *ctx, tn__reduce_kind kind, const tn_tensor *x, unsigned axes, void *out,
                void *scratch);

#endif
