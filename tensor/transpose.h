/* The smallest transpose, of which others are made. */
#ifndef TN_TENSOR_TRANSPOSE_H
#define TN_TENSOR_TRANSPOSE_H

#include "tensor/base.h"

#include <string.h>

typedef uint32_t tn__word4 __attribute__((vector_size(16)));

/* dst[i][j] = src[j][i] of 4 x 4 items of 4 bytes: rows of dst lie a bytes apart, of src b. */
TN_INLINE void tn__transpose_4x4(char *dst, int64_t a, const char *src, int64_t b)
{
    tn__word4 r0, r1, r2, r3;
    memcpy(&r0, src, 16), memcpy(&r1, src + b, 16);
    memcpy(&r2, src + 2 * b, 16), memcpy(&r3, src + 3 * b, 16);
    const tn__word4 p0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    const tn__word4 p1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const tn__word4 p2 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const tn__word4 p3 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    r0 = __builtin_shufflevector(p0, p1, 0, 1, 4, 5);
    r1 = __builtin_shufflevector(p0, p1, 2, 3, 6, 7);
    r2 = __builtin_shufflevector(p2, p3, 0, 1, 4, 5);
    r3 = __builtin_shufflevector(p2, p3, 2, 3, 6, 7);
    memcpy(dst, &r0, 16), memcpy(dst + a, &r1, 16);
    memcpy(dst + 2 * a, &r2, 16), memcpy(dst + 3 * a, &r3, 16);
}

#endif
