/* Products with a matrix that stays the same from one to the next, as a model's weights do while it
 * decodes: it is packed once, in panels of as many columns as a tile has. */
#ifndef TN_TENSOR_GEMM_PANELS_H
#define TN_TENSOR_GEMM_PANELS_H

#include "tensor/gemm.h"

/* Columns of a panel, at the context's level. */
int64_t tn__gemm_panel_width(const tn_ctx *ctx, tn_dtype dtype);

/* B [k, n] of any strides, one of them 1, as [panels, k, width]; columns past n are 0. */
void tn__gemm_panels_make(tn_ctx *ctx, void *panels, const tn_gemm *g);

/* g, of one product with alpha 1, beta 0 and k > 0, its b being panels; the bits are those of
 * tn__gemm_run. `turns`: each worker goes over its columns from the last to the first. Who does so
 * in every other run finds in its L2 what the run before has read last. */
size_t tn__gemm_panels_scratch(const tn_ctx *ctx, const tn_gemm *g);
void   tn__gemm_panels_run(tn_ctx *ctx, const tn_gemm *g, void *scratch, bool turns);

#endif
