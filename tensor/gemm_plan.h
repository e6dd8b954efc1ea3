/* How a product is cut: rectangles of C for tasks, blocks of k, panels of columns; what is packed,
 * by whom, and how much room that takes. gemm.c runs such plans, which differ in speed only. */
#ifndef TN_TENSOR_GEMM_PLAN_H
#define TN_TENSOR_GEMM_PLAN_H

#include "tensor/gemm.h"
#include "tensor/gemm_cuts.h"

typedef struct tn__gemm_plan {
    tn_gemm                 g; /* as computed: folded and flipped forms of what was asked for */
    const tn__gemm_kernels *kernels;
    size_t                  size;       /* of an element */
    double                  a_scale, b_scale;
    bool                    is_flipped; /* computes C^T = B^T A^T */
    int64_t                 fold;       /* rows of one product where a batch was folded into m */
    int64_t                 n_batch;
    int64_t                 width, mr;  /* of a panel; of a strip, at most */
    bool                    is_shared, a_direct, b_direct;
    int64_t                 kc, mt, nt; /* block of k; rectangle of a task, at most */
    int64_t                 kb, nb;     /* superblock of B that is packed for all */
    int64_t                 n_rows, n_cols; /* rectangles down and across (of a superblock) */
    int64_t                 strips;         /* of A, which they differ by one in at most */
    int64_t                 group;          /* products of one task */
    bool                    a_keeps;    /* a worker keeps all blocks of its rows of A */
    int64_t                 a_block;    /* bytes of one packed block of A */
    size_t                  shared_bytes, own_bytes, a_bytes;
} tn__gemm_plan;

/* Where there is nothing to compute, n_batch, m or n is 0, and nothing else is planned. */
void tn__gemm_plan_make(tn__gemm_plan *p, const tn_ctx *ctx, const tn_gemm *g);

/* Bytes of scratch for any product of these strides that is not larger in any direction: callers
 * measure once and then run on fewer rows. */
size_t tn__gemm_plan_bound(const tn__gemm_plan *p, const tn_ctx *ctx);

/* Cuts of n columns by tn__gemm_cut_end. */
static inline int64_t col_cuts(const tn__gemm_plan *p, int64_t n, int64_t size)
{
    return max(cuts(n - p->kernels->lanes, size), 1);
}

static inline int64_t col_end(const tn__gemm_plan *p, int64_t j, int64_t size, int64_t n)
{
    return tn__gemm_cut_end(j, size, n, p->kernels->lanes);
}

/* Where the rectangles of a row begin. */
static inline int64_t row_at(const tn__gemm_plan *p, int64_t row)
{
    return min(p->strips * row / p->n_rows * p->mr, p->g.m);
}

#endif
