/* What all ways of planning a product stand on (gemm_plan.c, gemm_stream.c, gemm_panels.c): the
 * sizes of cuts, and the kernels of a dtype. */
#ifndef TN_TENSOR_GEMM_CUTS_H
#define TN_TENSOR_GEMM_CUTS_H

#include "tensor/internal.h"
#include "tensor/kernels/gemm_kernels.h"

enum { LINE = 64 }; /* bytes of a cache line */

static inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

/* How many cuts of `size` cover n, and n in whole units. */
static inline int64_t cuts(int64_t n, int64_t size) { return n <= 0 ? 0 : (n + size - 1) / size; }
static inline int64_t up(int64_t n, int64_t unit) { return cuts(n, unit) * unit; }

static inline const tn__gemm_kernels *kernels_of(const tn_ctx *ctx, tn_dtype dtype)
{
    const tn_kernels *kernels = tn__ctx_kernels(ctx);
    return dtype == TN_F64 ? kernels->gemm_f64() : kernels->gemm_f32();
}

#endif
