/* The matrix product: C = alpha A B + beta C, for f32 and f64, over any strides of A and B with one
 * of the two equal to 1 (so all four transposes), batched with broadcasting.
 *
 * Each element of C is one chain of fused multiply-adds over k in rising order. It starts from 0
 * (beta = 0) or from beta * C, and a later block of k goes on from the stored partial: so blocking,
 * threads and vector width change no bit. alpha multiplies A as it is packed. */
#ifndef TN_TENSOR_GEMM_H
#define TN_TENSOR_GEMM_H

#include "tensor/context.h"

/* Called when rows [i0, i1) x columns [j0, j1) of product number `batch` are final and still in the
 * cache: what is fused behind a product runs here. Each element is covered exactly once. */
typedef void (*tn_gemm_epilogue)(void *arg, int64_t batch, int64_t i0, int64_t i1, int64_t j0,
                                 int64_t j1, int worker);

typedef struct tn_gemm {
    tn_dtype    dtype;
    int64_t     m, n, k;
    double      alpha, beta;
    const void *a, *b;
    void       *c;
    int64_t     a_row, a_col;           /* strides in elements: A[i, k] at a + i a_row + k a_col */
    int64_t     b_row, b_col;           /* B[k, j] */
    int64_t     c_row;                  /* C[i, j] at c + i c_row + j */
    int         batch_rank;             /* 0: one product */
    int64_t     batch_dim[TN_MAX_RANK]; /* strides of 0 broadcast A or B */
    int64_t     a_batch[TN_MAX_RANK], b_batch[TN_MAX_RANK], c_batch[TN_MAX_RANK];
    tn_gemm_epilogue epilogue;          /* NULL: none */
    void            *epilogue_arg;
    bool             leaves;            /* as tn__parallel_for: all of this stays until a join */
} tn_gemm;

/* Bytes of scratch that tn__gemm_run needs with these sizes (or smaller ones, strides being the
 * same) and the context's threads. Reads no operand. */
size_t tn__gemm_scratch(const tn_ctx *ctx, const tn_gemm *g);

/* Runs it on the context's threads. scratch is aligned to 64. Any of m, n, k may be 0 (k = 0 gives
 * beta C). Strides are not checked. */
void tn__gemm_run(tn_ctx *ctx, const tn_gemm *g, void *scratch);

#endif
