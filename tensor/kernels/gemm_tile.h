/* The micro-kernels and the packing of one dtype at one level; see gemm_kernels.h for the layouts.
 * A tile keeps its elements of C in registers while k runs, each as one chain of fused
 * multiply-adds in rising order of k: no tile shape changes a bit. Included once per dtype, with T
 * NAME and KERNELS (and F64) defined. */
#include "tensor/kernels/gemm_kernels.h"
#include "tensor/kernels/kernels.h"

#include <string.h>
#if defined __x86_64__
#  include <immintrin.h>
#elif defined __aarch64__
#  include <arm_neon.h>
#endif

#include "tensor/kernels/gemm_vec.h"

/* Loops over a tile must vanish, or its accumulators live in memory. */
#if defined __clang__
#  define UNROLL    _Pragma("clang loop unroll(full)")
#  define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#  define UNROLL    _Pragma("GCC unroll 16")
#  define NO_UNROLL _Pragma("GCC unroll 1")
#endif

/* Keeps the compiler from deriving one pointer from another again. */
#define HIDE(p) __asm__("" : "+r"(p))

/* What a tile gets: k steps of A[i, p] = a[i a_row + p a_step] (one of the two is 1) and of B's row
 * p at b + p b_step; C at c. `part` is how many lanes of the last vector are in use. */
typedef struct NAME(tile_args) {
    int64_t  k, a_step, b_step, c_row;
    const T *a, *b;
    T       *c;
    T        beta;
    int      part;
    T       *next_c; /* the tile after this one, to be fetched meanwhile */
} NAME(tile_args);

typedef void (*NAME(tile_fn))(const NAME(tile_args) *t);

/* The body of every tile: mr rows x nv vectors; is_part: the one vector is masked; by_rows: a_step
 * is from one row of A to the next and k is contiguous, else it is from one k to the next. */
TN_INLINE void NAME(tile)(const NAME(tile_args) *t, const int nv, const int mr, const bool is_part,
                          const bool by_rows)
{
    enum { GROUP = 3, GROUPS = (MR + GROUP - 1) / GROUP, DEEP = 4,
           LINE = 64 / (LANES * (int)sizeof(T)) }; /* vectors in a cache line */
    VEC           acc[MR][8], b_now[8];
    const PART    part = v_part(t->part);
    const int64_t c_row = t->c_row, b_step = t->b_step, a_step = t->a_step;
    const T      *b = t->b, *a[GROUPS];
    int64_t       k = t->k;
    T            *c = t->c;

    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_zero();
    if (t->beta != 0) {
        const VEC beta = v_all(t->beta);
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) {
            const T *p = c + i * c_row + v * LANES;
            acc[i][v] = v_mul(beta, is_part ? v_load_part(p, part) : v_load(p));
        }
    }
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v += LINE)
        __builtin_prefetch(t->next_c + i * c_row + v * LANES, 1);

#define GEMM_STEP(o)                                                                               \
    do {                                                                                           \
        UNROLL for (int v = 0; v < nv; v++)                                                        \
            b_now[v] = is_part && HAS_PART_LOADS ? v_load_part(b, part) : v_load(b + v * LANES);   \
        b += b_step;                                                                               \
        UNROLL for (int i = 0; i < mr; i++) {                                                      \
            const VEC x = v_all(by_rows ? a[i / GROUP][i % GROUP * a_step + (o)] : a[0][i]);       \
            UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(x, b_now[v], acc[i][v]);         \
        }                                                                                          \
        if (!by_rows) a[0] += a_step;                                                              \
    } while (0)

    /* GROUPS pointers and one stride reach all rows with an address of base + {0, 1, 2} strides. */
    UNROLL for (int g = 0; g * GROUP < mr; g++) a[g] = t->a + g * GROUP * a_step;
    if (by_rows) {
        for (; k >= DEEP; k -= DEEP) {
            GEMM_STEP(0);
            GEMM_STEP(1);
            GEMM_STEP(2);
            GEMM_STEP(3);
            UNROLL for (int g = 0; g * GROUP < mr; g++) {
                a[g] += DEEP;
                HIDE(a[g]);
            }
        }
    } else {
        for (; k >= 2; k -= 2) {
            GEMM_STEP(0);
            GEMM_STEP(0);
        }
    }
    NO_UNROLL for (; k > 0; k--) {
        GEMM_STEP(0);
        if (by_rows) UNROLL for (int g = 0; g * GROUP < mr; g++) a[g]++;
    }
#undef GEMM_STEP

    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) {
        T *p = c + i * c_row + v * LANES;
        if (is_part)
            v_store_part(p, part, acc[i][v]);
        else
            v_store(p, acc[i][v]);
    }
}

#define ROWS_(X, nv)                                                                               \
    X(nv, 1) X(nv, 2) X(nv, 3) X(nv, 4) X(nv, 5) X(nv, 6)
#if MR == 14
#  define ROWS(X, nv)                                                                              \
      ROWS_(X, nv) X(nv, 7) X(nv, 8) X(nv, 9) X(nv, 10) X(nv, 11) X(nv, 12) X(nv, 13) X(nv, 14)
#elif MR == 8
#  define ROWS(X, nv) ROWS_(X, nv) X(nv, 7) X(nv, 8)
#else
#  define ROWS(X, nv) ROWS_(X, nv)
#endif
#if NV == 3
#  define TILES(X) ROWS(X, 1) ROWS(X, 2) ROWS(X, 3)
#else
#  define TILES(X) ROWS(X, 1) ROWS(X, 2)
#endif

#define TILE_FN(nv, mr, kind, part, rows)                                                          \
    static void NAME(tile_##nv##x##mr##kind)(const NAME(tile_args) *t)                             \
    {                                                                                              \
        NAME(tile)(t, nv, mr, part, rows);                                                         \
    }
#define WHOLE_COLS(nv, mr) TILE_FN(nv, mr, _whole_cols, false, false)
#define WHOLE_ROWS(nv, mr) TILE_FN(nv, mr, _whole_rows, false, true)
#define PART_COLS(nv, mr)  TILE_FN(nv, mr, _part_cols, true, false)
#define PART_ROWS(nv, mr)  TILE_FN(nv, mr, _part_rows, true, true)
TILES(WHOLE_COLS) TILES(WHOLE_ROWS) TILES_WIDE(WHOLE_COLS)
ROWS(PART_COLS, 1) ROWS(PART_ROWS, 1)

/* Of whole vectors: [by rows][vectors - 1][rows - 1]. Of a part of one: [by rows][rows - 1]. */
static const NAME(tile_fn) NAME(whole)[2][8][MR] = {
#define ENTRY_COLS(nv, mr) [0][nv - 1][mr - 1] = NAME(tile_##nv##x##mr##_whole_cols),
#define ENTRY_ROWS(nv, mr) [1][nv - 1][mr - 1] = NAME(tile_##nv##x##mr##_whole_rows),
    TILES(ENTRY_COLS) TILES_WIDE(ENTRY_COLS) TILES(ENTRY_ROWS)
};
static const NAME(tile_fn) NAME(part)[2][MR] = {
#define PART_ENTRY_COLS(nv, mr) [0][mr - 1] = NAME(tile_##nv##x##mr##_part_cols),
#define PART_ENTRY_ROWS(nv, mr) [1][mr - 1] = NAME(tile_##nv##x##mr##_part_rows),
    ROWS(PART_ENTRY_COLS, 1) ROWS(PART_ENTRY_ROWS, 1)
};

static int NAME(width)(int64_t m) { return WIDE(m) * LANES; }

/* ---- blocks ------------------------------------------------------------------------------ */

/* One column of tiles, from the top down: B's panel stays in L1 while A's strips pass. */
static void NAME(column)(const tn__gemm_block *g, const NAME(tile_fn) *fns, NAME(tile_args) *t)
{
    const bool    is_packed = g->a_col == 0, by_rows = !is_packed && g->a_row != 1;
    const int64_t n = tn__gemm_strips(g->m, MR);
    T *const      c = t->c;
    for (int64_t s = 0, i = 0, end; s < n; s++, i = end) {
        end = tn__gemm_strip(g->m, n, s + 1);
        t->a = (const T *)g->a + i * g->a_row;
        t->a_step = is_packed ? end - i : by_rows ? g->a_row : g->a_col;
        t->c = c + i * g->c_row;
        t->next_c = end < g->m ? c + end * g->c_row : c + g->width;
        fns[end - i - 1](t);
    }
}

static void NAME(block)(const tn__gemm_block *g)
{
    const bool by_rows = g->a_col != 0 && g->a_row != 1;
    NAME(tile_args) t = { .k = g->k, .c_row = g->c_row, .beta = (T)g->beta };
    for (int64_t j = 0; j < g->n; j += g->width) {
        const int64_t w = g->n - j < g->width ? g->n - j : g->width, nv = w / LANES;
        t.part = (int)(w % LANES);
        t.b = (const T *)g->b + j * g->b_col;
        t.b_step = g->b_row ? g->b_row : (w + LANES - 1) / LANES * LANES;
        t.c = (T *)g->c + j;
        if (nv) NAME(column)(g, NAME(whole)[by_rows][nv - 1], &t);
        if (!t.part) continue;
        t.b += nv * LANES;
        t.c = (T *)g->c + j + nv * LANES;
        NAME(column)(g, NAME(part)[by_rows], &t);
    }
}

/* ---- packing ----------------------------------------------------------------------------- */

/* Lines side by side in memory: rows of `width` elements are copied. */
static void NAME(pack_rows)(T *restrict dst, const T *restrict src, int64_t step, int64_t n_lines,
                            int64_t width, int64_t k, T scale)
{
    const int64_t whole = n_lines / LANES;
    const PART    part = v_part(n_lines % LANES);
    const VEC     by = v_all(scale);
    for (int64_t p = 0; p < k; p++, src += step, dst += width) {
        for (int64_t v = 0; v < whole; v++)
            v_store(dst + v * LANES, v_mul(by, v_load(src + v * LANES)));
        if (n_lines % LANES) { /* whole but for the last row, behind which others' data may lie */
            const VEC last = v_mul(by, v_load_part(src + whole * LANES, part));
            if (p < k - 1 || width % LANES == 0)
                v_store(dst + whole * LANES, last);
            else
                v_store_part(dst + whole * LANES, part, last);
        }
    }
}

/* LANES lines (those past n_lines repeat the last) x PIECE values of k, transposed. The pieces that
 * lie side by side after v_quads come from lines PIECE apart. */
TN_INLINE void NAME(pack_square)(T *dst, const T *src, const int64_t at[LANES], int64_t width, VEC by)
{
    enum { PIECE = 16 / (int)sizeof(T), QUADS = LANES / PIECE };
    VEC r[PIECE];
    UNROLL for (int i = 0; i < PIECE; i++) {
        int64_t row[QUADS];
        UNROLL for (int q = 0; q < QUADS; q++) row[q] = at[i + q * PIECE];
        r[i] = v_mul(by, v_quads(src, row));
    }
#ifdef F64
    v_store(dst, v_lo(r[0], r[1]));
    v_store(dst + width, v_hi(r[0], r[1]));
#else
    const VEC a = v_lo(r[0], r[1]), b = v_hi(r[0], r[1]), c = v_lo(r[2], r[3]), d = v_hi(r[2], r[3]);
    v_store(dst, v_lo2(a, c));
    v_store(dst + width, v_hi2(a, c));
    v_store(dst + 2 * width, v_lo2(b, d));
    v_store(dst + 3 * width, v_hi2(b, d));
#endif
}

/* Lines along k in memory: transposed, LANES lines at a time. Where the last of them would reach
 * past the row, they begin earlier; a row shorter than LANES is mended by the one after it. */
static void NAME(pack_lines)(T *dst, const T *src, int64_t line, int64_t n_lines, int64_t width,
                             int64_t k, T scale)
{
    enum { PIECE = 16 / (int)sizeof(T) };
    const VEC by = v_all(scale);
    for (int64_t next = 0; next < n_lines; next += LANES) {
        const int64_t l = next + LANES > width && width >= LANES ? width - LANES : next;
        int64_t at[LANES], p = 0;
        for (int i = 0; i < LANES; i++) at[i] = (l + i < n_lines ? l + i : n_lines - 1) * line;
        for (; p + PIECE <= k; p += PIECE)
            NAME(pack_square)(dst + p * width + l, src + p, at, width, by);
        for (; p < k; p++)
            for (int i = 0; i < LANES; i++) dst[p * width + l + i] = scale * src[at[i] + p];
    }
}

static void NAME(pack)(void *dst, const void *src, int64_t line, int64_t step, int64_t n_lines,
                       int64_t width, int64_t k, double scale)
{
    const T *from = src;
    if (line == 1)
        NAME(pack_rows)(dst, from, step, n_lines, width, k, (T)scale);
    else if (step == 1)
        NAME(pack_lines)(dst, from, line, n_lines, width, k, (T)scale);
    else
        for (int64_t p = 0; p < k; p++)
            for (int64_t l = 0; l < width; l++)
                ((T *)dst)[p * width + l] =
                    (T)scale * from[(l < n_lines ? l : n_lines - 1) * line + p * step];
}

const tn__gemm_kernels *KERNELS(void)
{
    static const tn__gemm_kernels kernels = {
        .mr = MR, .nr = NV * LANES, .lanes = LANES, .has_part_loads = HAS_PART_LOADS,
        .width = NAME(width), .pack = NAME(pack), .block = NAME(block),
    };
    return &kernels;
}
