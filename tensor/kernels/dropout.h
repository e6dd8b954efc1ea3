/* The attributes of dropout, which its kernels read: 16 bits an element (tensor/philox.h). */
#ifndef TN_KERNELS_DROPOUT_H
#define TN_KERNELS_DROPOUT_H

#include <stdint.h>

#define DROPOUT_ATTRS(F) F(dropout, f64, p) F(dropout, stream, stream)

typedef struct tn__dropout {
    double   p;
    uint64_t stream;
} tn__dropout;

#endif
