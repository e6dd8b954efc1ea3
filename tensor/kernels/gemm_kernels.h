/* What tensor/gemm.c asks of a level: packing, and the product of blocks that are in the caches.
 *
 * A tile is mr x nr elements of C held in registers, or fewer rows of more columns. A's rows are
 * cut in strips of at most as many, B's columns in panels (tn__gemm_panel). A packed panel is
 * [k][width], its width rounded up to whole vectors; the panel from column j starts at element j k.
 * A is packed as it lies: rows that are contiguous in k become rows that are tn__gemm_a_row(k)
 * apart; otherwise a strip is [k][rows], and the strip from row i starts at element i k. */
#ifndef TN_KERNELS_GEMM_KERNELS_H
#define TN_KERNELS_GEMM_KERNELS_H

#include "tensor/base.h"

/* Panels of up to four vectors that are packed together; of wider ones there are fewer. */
enum { TN__GEMM_SLAB = 4 };

/* Of A, that products have at most which are computed many at a time. */
enum { TN__GEMM_FEW_STRIPS = 8 };

/* C = beta C + A B over one block of k; beta = 0 does not read C. An operand without a buffer is
 * used where it lies (then a_row or a_col is 1, and b_col is 1). With one it is packed there unless
 * it was before: A as a whole, B by slabs into the same place, each just before its use. */
typedef struct tn__gemm_block {
    int64_t     m, n, k;
    const void *a, *b;
    int64_t     a_row, a_col, b_row, b_col;
    void       *a_packed, *b_packed;        /* buffers or NULL */
    bool        has_packed_a, has_packed_b; /* they are full already */
    double      a_scale, b_scale;           /* multiply what is packed */
    void       *c;
    int64_t     c_row;
    int64_t     width; /* of a panel: nr, nr_wide, 3/2 of it, or what width() gave */
    double      beta;
    bool        is_near;        /* A is on its way into L2 already */
    const void *next_a;         /* of the block after this one, or NULL: its rows and k, with A's */
    int64_t     next_m, next_k; /* strides, come into L2 meanwhile */
    const void *next_b;         /* the same of B that is to be packed: the next block of k */
} tn__gemm_block;

/* Few rows of C = A B, B as it lies: kernels/gemm_stream.h. a is packed by stream_pack, or one
 * row. */
enum {
    TN__GEMM_STREAM_DEPTH = 8, /* rows of B that are in registers */
    TN__GEMM_STREAM_GAP = 16,  /* elements between rows of sums */
    TN__GEMM_STREAM_COLS = 32, /* columns that are turned together, so many rows at a time */
    TN__GEMM_STREAM_TURN = 128
};
typedef struct tn__gemm_stream {
    int64_t     m, n, k;
    const void *a, *b;
    int64_t     b_row, b_col;       /* one of them is 1 */
    void       *c, *sums, *turned;  /* sums: [blocks][m][block + gap]; turned: [TURN][COLS] */
    int64_t     c_row, block;       /* columns of which the sums stay in L1, whole vectors */
} tn__gemm_stream;

/* C = A B, B in panels that were packed before, A by contiguous rows: kernels/gemm_panels.h. */
enum { TN__GEMM_PANEL_PLACES = 4 }; /* panels that a few rows go through side by side */
typedef struct tn__gemm_panels {
    int64_t     m, n, k;
    const void *a, *b; /* b: [ceil(n / panel_width)][k][panel_width] */
    void       *c;
    int64_t     a_row, c_row;
} tn__gemm_panels;

typedef struct tn__gemm_kernels tn__gemm_kernels;
struct tn__gemm_kernels {
    int  mr, nr, nr_wide; /* nr_wide may be 0: there are no such tiles */
    int  lanes;           /* of a vector */
    bool has_part_loads;     /* B may be used where it lies even if n % lanes != 0 */

    /* Columns of a panel for products of m rows: wider than nr where m is too small for enough
     * independent chains. */
    int (*width)(int64_t m);
    /* Rows of a strip against panels of so many columns, for products of many rows. */
    int (*rows)(int64_t width);
    /* May A be used where it lies by contiguous rows, with panels of so many columns? */
    bool (*has_rows)(int64_t width);

    /* Packs scale * B[0..k, 0..n) in panels. */
    void (*pack_b)(void *dst, const void *b, int64_t b_row, int64_t b_col, int64_t n, int64_t k,
                   int64_t width, double scale);

    void (*block)(const tn__gemm_block *block);
    /* n small products, each so many elements after the one before: A where it lies, B too, or
     * packed as one slab. May be NULL. */
    void (*blocks)(const tn__gemm_block *block, int64_t n, int64_t a_next, int64_t b_next,
                   int64_t c_next);

    void (*stream_pack)(void *dst, const void *a, int64_t a_row, int64_t a_col, int64_t m,
                        int64_t k, double scale);
    void (*stream)(const tn__gemm_stream *stream);
    int64_t stream_vectors; /* of columns that it takes at once */
    int64_t panel_width;    /* of tn__gemm_panels */

    /* A by rows that lie tn__gemm_a_row(k) apart; up to a vector more is written behind them. */
    void (*panels_pack)(void *dst, const void *a, int64_t a_row, int64_t a_col, int64_t m,
                        int64_t k);
    void (*panels)(const tn__gemm_panels *panels);
};

/* m rows of A cut in n strips: the first `more` of them have a row more than `least`. */
typedef struct tn__gemm_cut {
    int64_t n, least, more;
} tn__gemm_cut;

TN_INLINE tn__gemm_cut tn__gemm_cut_of(int64_t m, int mr)
{
    const int64_t n = (m + mr - 1) / mr;
    return n ? (tn__gemm_cut){ n, m / n, m % n } : (tn__gemm_cut){ 0, 0, 0 };
}

/* The first row of strip s; of s = n: m. */
TN_INLINE int64_t tn__gemm_strip(const tn__gemm_cut *cut, int64_t s)
{
    return s * cut->least + (s < cut->more ? s : cut->more);
}

/* Columns of the panel that begins where `left` are left. A last panel of one vector has a load for
 * nearly each multiply-add: one that panels of three vectors, or wide ones, would leave gets a
 * vector of the panel before it. */
TN_INLINE int64_t tn__gemm_panel(int64_t left, int64_t width, int64_t nr_wide, int lanes)
{
    const bool leaves_one = left > width && left <= width + lanes;
    if (leaves_one && (width == 3 * lanes || width == nr_wide)) return width - lanes;
    return left < width ? left : width;
}

/* The end of the cut of `size` columns, whole panels, that begins at j, of n: no single vector is
 * left over behind it, so what is cut has the same panels as the whole. */
TN_INLINE int64_t tn__gemm_cut_end(int64_t j, int64_t size, int64_t n, int lanes)
{
    return n - j <= size + lanes ? n : j + size;
}

/* Columns of a slab. */
TN_INLINE int64_t tn__gemm_slab(int64_t width, int lanes)
{
    const int64_t panels = 2 * TN__GEMM_SLAB * lanes / width;
    return width * (width <= 4 * lanes ? TN__GEMM_SLAB : panels > 1 ? panels : 1);
}

/* From one packed row of A to the next: whole cache lines and one more, so that the rows of a strip
 * spread over the sets of L1. */
TN_INLINE int64_t tn__gemm_a_row(int64_t k, size_t size)
{
    int64_t line = 64 / (int64_t)size;
    return (k + line - 1) / line * line + line;
}

#endif
