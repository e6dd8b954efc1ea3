/* What tensor/gemm.c asks of a level: packing, and the product of blocks that are in the caches.
 *
 * A tile is mr x nr elements of C held in registers. A's rows are cut in strips of at most mr rows,
 * B's columns in panels of nr columns (the last may be narrower). Packed, a strip is [k][rows] and
 * a panel is [k][width], width rounded up to whole vectors, one after the other: the strip from row
 * i starts at element i k, the panel from column j at element j k. */
#ifndef TN_KERNELS_GEMM_KERNELS_H
#define TN_KERNELS_GEMM_KERNELS_H

#include "tensor/base.h"

/* C = beta C + A B over one block of k; beta = 0 does not read C. */
typedef struct tn__gemm_block {
    int64_t     m, n, k;
    const void *a, *b;
    void       *c;
    int64_t     a_row, a_col; /* direct: strides of A, one of them 1; packed: a_col = 0, a_row = k */
    int64_t     b_row, b_col; /* direct: b_col = 1; packed: b_row = 0, b_col = k */
    int64_t     c_row;
    int64_t     width;        /* of a panel: nr, or what wide() gave */
    double      beta;
} tn__gemm_block;

typedef struct tn__gemm_kernels tn__gemm_kernels;
struct tn__gemm_kernels {
    int  mr, nr, lanes;    /* lanes of a vector */
    bool has_part_loads;   /* B may be used where it lies even if n % lanes != 0 */

    /* Columns of a panel for products of m rows: wider than nr where m is too small for enough
     * independent chains. */
    int (*width)(int64_t m);

    /* dst[p][l] = scale * src[l line + p step] for l < n_lines, p < k; dst has rows of `width`
     * elements, and those past n_lines are finite. May write lanes - 1 elements too many at the
     * end, so strips are packed in rising order. */
    void (*pack)(void *dst, const void *src, int64_t line, int64_t step, int64_t n_lines,
                 int64_t width, int64_t k, double scale);

    void (*block)(const tn__gemm_block *block);
};

/* Strip s of the n in which m rows are cut: sizes differ by at most one. */
TN_INLINE int64_t tn__gemm_strips(int64_t m, int mr) { return (m + mr - 1) / mr; }
TN_INLINE int64_t tn__gemm_strip(int64_t m, int64_t n, int64_t s) { return m * s / n; }

#endif
