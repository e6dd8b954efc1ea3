/* What the kernels of softmax.c that go down columns are given: neighbouring columns of one slab
 * [n, stride], cut into tiles of `width` of them. */
#ifndef TN_KERNELS_SOFTMAX_H
#define TN_KERNELS_SOFTMAX_H

#include "tensor/base.h"

/* The largest width; rooms, of n rows of width, rounded up to 64 bytes, and then a gap of so many
 * times 64 bytes. */
enum { TN_SOFTMAX_COLUMNS = 512, TN_SOFTMAX_ROOMS = 2, TN_SOFTMAX_GAP = 21 };

typedef struct tn__columns {
    const void *x, *dy; /* of the gradient: y, dy */
    void       *y;      /* of the gradient: dx; it may be the memory of an input */
    int64_t     n, stride, columns, width;
    bool        log;    /* the logarithm of it */
    bool        is_far; /* y goes past the caches */
    void       *room;
} tn__columns;

#endif
