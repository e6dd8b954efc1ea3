/* The product with packed panels, and the pass of compile that puts it in. */
#ifndef TN_AUTOGRAD_PANELS_H
#define TN_AUTOGRAD_PANELS_H

#include "autograd/op.h"

#define MATMUL_PANELS_ATTRS(F) F(matmul_panels, i64, n)
typedef struct matmul_panels_attrs {
    MATMUL_PANELS_ATTRS(TN_ATTR_MEMBER)
} matmul_panels_attrs;

tn_ctx *tn__panels_ctx(const tn_panels *panels);

#endif
