/* Copies between strided views: what makes a permuted, sliced or broadcast view contiguous, and
 * what places a part into a larger tensor. Element sizes are 1, 2, 4 or 8 bytes; dtypes are not
 * looked at. */
#ifndef TN_TENSOR_COPY_H
#define TN_TENSOR_COPY_H

#include "tensor/context.h"

/* dst = src on the context's threads. Shapes and element sizes are equal, the memory of the two
 * does not overlap, and no two elements of dst are in one place. */
void tn__copy(tn_ctx *ctx, const tn_tensor *dst, const tn_tensor *src);

/* Every element of a contiguous dst of n elements = *value. */
void tn__fill(tn_ctx *ctx, void *dst, int64_t n, size_t element, const void *value);

/* Elements [first, first + count) of src in row-major order, to contiguous dst; on this thread. */
void tn__copy_part(const tn_tensor *src, int64_t first, int64_t count, void *dst);

/* dst[i][j] = src[j][i] of rows x n items of `item` bytes; rows lie so many bytes apart. On this
 * thread, in blocks of cache lines. */
void tn__transpose(void *dst, int64_t dst_stride, int64_t rows, const void *src, int64_t src_stride,
                   int64_t n, int64_t item);

/* A position in a space of dims and the offset of that position under each of two sets of strides,
 * moved on by one without a division. */
typedef struct tn__odometer {
    int     rank;
    int64_t n[TN_MAX_RANK], a_stride[TN_MAX_RANK], b_stride[TN_MAX_RANK];
    int64_t at[TN_MAX_RANK];
    int64_t a, b;
} tn__odometer;

/* Puts it at row-major position i of its dims; rank, n and the strides are there. */
TN_INLINE void tn__odometer_set(tn__odometer *o, int64_t i)
{
    o->a = o->b = 0;
    for (int d = o->rank - 1; d >= 0; d--) {
        o->at[d] = i % o->n[d], i /= o->n[d];
        o->a += o->at[d] * o->a_stride[d], o->b += o->at[d] * o->b_stride[d];
    }
}

TN_INLINE void tn__odometer_next(tn__odometer *o)
{
    for (int d = o->rank - 1; d >= 0; d--) {
        o->a += o->a_stride[d], o->b += o->b_stride[d];
        if (++o->at[d] < o->n[d]) return;
        o->at[d] = 0;
        o->a -= o->n[d] * o->a_stride[d], o->b -= o->n[d] * o->b_stride[d];
    }
}

#endif
