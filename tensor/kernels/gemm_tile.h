/* The micro-kernels of one dtype at one level and the loops around them; see gemm_kernels.h for the
 * layouts. A tile keeps its elements of C in registers while k runs, each as one chain of fused
 * multiply-adds in rising order of k: no tile shape changes a bit. Included once per dtype, with T,
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

/* acc += x b in acc's own register: gcc makes chains of accumulators, which it then moves about in
 * the ports of the multiply-adds. */
#if defined V_FMA_NAME && !defined __clang__
#  define ADD_PRODUCT(acc, x, b) __asm__(V_FMA_NAME " %2, %1, %0" : "+v"(acc) : "v"(x), "v"(b))
#else
#  define ADD_PRODUCT(acc, x, b) ((acc) = v_fma(x, b, acc))
#endif

/* Keeps loads from being moved up, where they would take the registers of accumulators: gcc
 * schedules for that on AArch64. */
#if defined __aarch64__
#  define IN_ORDER() __asm__ volatile("" ::: "memory")
#else
#  define IN_ORDER() (void)0
#endif

enum { IN_LINE = 64 / (int)sizeof(T) }; /* elements in a cache line */

/* Keeps the compiler from deriving one pointer from another again. */
#define HIDE(p) __asm__("" : "+r"(p))

/* What a tile gets: k steps of A[i, p] = a[i a_row + p a_step] (one of the two is 1) and of B's row
 * p at b + p b_step; C at c. `part` is how many lanes of the last vector are in use. next_a and
 * next_c are where the tile after this one begins: they are fetched into L1 meanwhile, row by row;
 * then what is needed later into L2: `n_ahead` cache lines, `ahead_cols` in each row of `ahead`.
 * One at a time: a burst of them would keep the loads of the tile waiting. (Strips by hand leave
 * the next rows of A to the machine, and those of C, where a row is one line, fetch at once.) */
typedef struct NAME(tile_args) {
    int64_t  k, a_step, b_step, c_row;
    const T *a, *b, *next_a;
    T       *c, *next_c;
    const T *ahead;
    int64_t  ahead_row, ahead_cols, n_ahead;
    T        beta;
    int      part;
} NAME(tile_args);

typedef void (*NAME(tile_fn))(const NAME(tile_args) *t);

/* The body of every tile: mr rows x nv vectors; is_part: the one vector is masked; by_rows: a_step
 * is from one row of A to the next and k is contiguous, else it is from one k to the next. */
TN_INLINE void NAME(tile)(const NAME(tile_args) *t, const int nv, const int mr, const bool is_part,
                          const bool by_rows)
{
    enum { GROUP = 3, GROUPS = (MR + GROUP - 1) / GROUP, LINE = IN_LINE / LANES };
    /* steps in a turn of the loop; edges are not worth the code */
    const int     deep = nv == 1 ? 1 : 2;
    VEC           acc[MR][8], b_now[8];
    const PART    part = v_part(t->part);
    const int64_t c_row = t->c_row, b_step = t->b_step, a_step = t->a_step;
    const T      *b = t->b, *a[GROUPS], *next_a = t->next_a;
    int64_t       k = t->k, fetches = mr;
    T            *c = t->c, *next_c = t->next_c;
    const T      *ahead = t->ahead;
    int64_t       n_ahead = t->n_ahead, ahead_col = 0;
    const int64_t ahead_end = t->ahead_cols * IN_LINE;

    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_zero();
    if (t->beta != 0) {
        const VEC beta = v_all(t->beta);
        UNROLL for (int i = 0; i < mr; i++) {
            UNROLL for (int v = 0; v < nv; v++)
                acc[i][v] = v_mul(beta, is_part ? v_load_part(c, part) : v_load(c + v * LANES));
            c += c_row;
            HIDE(c);
        }
        c = t->c;
    }

#define GEMM_STEP(o)                                                                               \
    do {                                                                                           \
        UNROLL for (int v = 0; v < nv; v++)                                                        \
            b_now[v] = is_part && HAS_PART_LOADS ? v_load_part(b, part) : v_load(b + v * LANES);   \
        b += b_step;                                                                               \
        UNROLL for (int i = 0; i < mr; i++) {                                                      \
            const VEC x = v_all(by_rows ? a[i / GROUP][i % GROUP * a_step + (o)] : a[0][i]);       \
            UNROLL for (int v = 0; v < nv; v++) {                                                  \
                ADD_PRODUCT(acc[i][v], x, b_now[v]);                                               \
            }                                                                                      \
            IN_ORDER();                                                                            \
        }                                                                                          \
        if (!by_rows) a[0] += a_step;                                                              \
    } while (0)

    /* GROUPS pointers and one stride reach all rows with an address of base + {0, 1, 2} strides. */
    UNROLL for (int g = 0; g * GROUP < mr; g++) a[g] = t->a + g * GROUP * a_step;
    for (; k >= deep; k -= deep) {
        if (fetches > 0) {
            fetches--;
            __builtin_prefetch(next_a);
            next_a += by_rows ? a_step : IN_LINE;
            UNROLL for (int v = 0; v < nv; v += LINE) __builtin_prefetch(next_c + v * LANES, 1);
            next_c += c_row;
        } else if (n_ahead > 0) {
            n_ahead--;
            __builtin_prefetch(ahead + ahead_col, 0, 2);
            ahead_col += IN_LINE;
            if (ahead_col >= ahead_end) ahead_col = 0, ahead += t->ahead_row;
        }
        GEMM_STEP(0);
        if (deep == 2) GEMM_STEP(1);
        if (by_rows) UNROLL for (int g = 0; g * GROUP < mr; g++) {
            a[g] += deep;
            HIDE(a[g]);
        }
    }
    NO_UNROLL for (; k > 0; k--) {
        GEMM_STEP(0);
        if (by_rows) UNROLL for (int g = 0; g * GROUP < mr; g++) a[g]++;
    }
#undef GEMM_STEP

    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int v = 0; v < nv; v++) {
            if (is_part)
                v_store_part(c, part, acc[i][v]);
            else
                v_store(c + v * LANES, acc[i][v]);
        }
        c += c_row;
        HIDE(c);
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
#elif defined PARTS_ARE_FREE
#  define TILES(X) ROWS(X, 2)
#elif defined TILES_BY_HAND
#  define TILES(X) ROWS(X, 1) X(2, 1) X(2, 2) X(2, 3) X(2, 4)
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
#ifndef NV_WIDE
#  define NV_WIDE 0
#  define ROWS_WIDE(nv) 0
#  define TILES_ROWS(X)
#endif
TILES(WHOLE_COLS) TILES(WHOLE_ROWS) TILES_WIDE(WHOLE_COLS) TILES_ROWS(WHOLE_ROWS)
ROWS(PART_COLS, 1) ROWS(PART_ROWS, 1)

/* Of whole vectors, called with part = LANES: [by rows][vectors - 1][rows - 1]. Of a part of one:
 * [by rows][rows - 1]. */
static const NAME(tile_fn) NAME(whole)[2][8][MR] = {
#define ENTRY_COLS(nv, mr) [0][nv - 1][mr - 1] = NAME(tile_##nv##x##mr##_whole_cols),
#define ENTRY_ROWS(nv, mr) [1][nv - 1][mr - 1] = NAME(tile_##nv##x##mr##_whole_rows),
    TILES(ENTRY_COLS) TILES_WIDE(ENTRY_COLS) TILES(ENTRY_ROWS) TILES_ROWS(ENTRY_ROWS)
#ifdef PARTS_ARE_FREE
#  define SERVE_COLS(nv, mr) [0][0][mr - 1] = NAME(tile_1x##mr##_part_cols),
#  define SERVE_ROWS(nv, mr) [1][0][mr - 1] = NAME(tile_1x##mr##_part_rows),
    ROWS(SERVE_COLS, 1) ROWS(SERVE_ROWS, 1)
#endif
};
static const NAME(tile_fn) NAME(part)[2][MR] = {
#define PART_ENTRY_COLS(nv, mr) [0][mr - 1] = NAME(tile_##nv##x##mr##_part_cols),
#define PART_ENTRY_ROWS(nv, mr) [1][mr - 1] = NAME(tile_##nv##x##mr##_part_rows),
    ROWS(PART_ENTRY_COLS, 1) ROWS(PART_ENTRY_ROWS, 1)
};

static int NAME(width)(int64_t m) { return WIDE(m) * LANES; }

static int NAME(rows)(int64_t width)
{
    const int64_t nv = width / LANES;
    (void)nv;
    return ROWS_WIDE(nv) ? ROWS_WIDE(nv) : MR;
}

static bool NAME(has_rows)(int64_t width)
{
    const int64_t nv = width / LANES;
    return nv <= NV || ROWS_WIDE(nv);
}

#include "tensor/kernels/gemm_pack.h"

/* ---- blocks ------------------------------------------------------------------------------ */

/* total in `of` shares that differ by one at most, one after the other: total (s + 1) / of less
 * total s / of, without a division for each. */
typedef struct NAME(shares) {
    int64_t least, more, of, rest;
} NAME(shares);

static NAME(shares) NAME(shares_of)(int64_t total, int64_t of)
{
    if (of < 1) of = 1;
    return (NAME(shares)){ total / of, total % of, of, 0 };
}

TN_INLINE int64_t NAME(share)(NAME(shares) *s)
{
    s->rest += s->more;
    if (s->rest < s->of) return s->least;
    s->rest -= s->of;
    return s->least + 1;
}

/* What is to be on its way into L2 while a panel is computed: the next slab of B, or the next panel
 * where B is packed. n_rows rows of `cols` lines, of which each of the next n tiles fetches its
 * share: some rows, or, of strips by hand, a line of each row from row_now on. */
typedef struct NAME(ahead) {
    const T     *src;
    int64_t      row, n_rows, cols, n, row_now;
    NAME(shares) share;
} NAME(ahead);

/* n_lines x k of an operand as rows of cache lines, for n tiles. */
static NAME(ahead) NAME(ahead_of)(const T *src, int64_t line, int64_t step, int64_t n_lines,
                                  int64_t k, int64_t n)
{
    const bool    flat = line == 1;
    const int64_t into = (int64_t)((uintptr_t)src / sizeof(T) % IN_LINE);
    const int64_t cols = (into + (flat ? n_lines : k) + IN_LINE - 1) / IN_LINE;
    src -= into;
    const int64_t n_rows = flat ? k : n_lines;
    return (NAME(ahead)){ .src = src, .row = flat ? step : line, .n_rows = n_rows, .cols = cols,
                          .n = n, .share = NAME(shares_of)(n_rows, n) };
}

/* Gives the tile at hand its part. */
static void NAME(fetch_part)(NAME(tile_args) *t, NAME(ahead) *ahead)
{
    t->n_ahead = 0;
    if (ahead->n <= 0) return;
    ahead->n--;
    const int64_t rows = NAME(share)(&ahead->share);
    t->ahead = ahead->src, ahead->src += rows * ahead->row;
    t->ahead_row = ahead->row, t->ahead_cols = ahead->cols;
    t->n_ahead = rows * ahead->cols;
}

/* A strip of `rows` of A against a panel of w columns. */
static __attribute__((noinline)) void NAME(strip)(NAME(tile_args) *t, bool by_rows, int64_t w,
                                                  int64_t rows)
{
    const int part = (int)(w % LANES);
    t->part = LANES;
    for (int64_t left = w / LANES, v; left > 0; left -= v) {
        v = NAME(whole)[by_rows][left - 1][rows - 1] ? left : left - 1;
        NAME(whole)[by_rows][v - 1][rows - 1](t);
        t->b += v * LANES, t->c += v * LANES;
    }
    if (!part) return;
    t->part = part;
    NAME(part)[by_rows][rows - 1](t);
}

/* Strips of A from the top down against one panel. */
typedef struct NAME(strips) {
    tn__gemm_cut cut;
    const T     *a;
    T           *c;
    int64_t      m, a_row; /* a_row: from one row of A to the next, packed or not */
    bool         by_rows, is_packed, has_near_c; /* C need not be fetched */
} NAME(strips);

/* What a_step of a tile is for a strip of so many rows. */
TN_INLINE int64_t NAME(a_step)(const tn__gemm_block *g, const NAME(strips) *x, int64_t rows)
{
    return x->by_rows ? x->a_row : x->is_packed ? rows : g->a_col;
}

#ifdef TILES_BY_HAND

/* Lines (or pairs of neighbours) down what is ahead, as many as a strip has turns: where there are
 * fewer rows, those after them too. */
static tn__strip strip_of(NAME(ahead) *ahead, const void *none, int64_t k)
{
    const int64_t turns = k / 4;
    if (ahead->n <= 0 || ahead->cols <= 0) return (tn__strip){ none, 0, turns, k % 4 };
    const T *line = ahead->src + ahead->row_now * ahead->row;
    ahead->n--, ahead->row_now += turns;
    if (ahead->row_now >= ahead->n_rows) { /* from neighbouring lines to the next ones */
        ahead->row_now = 0, ahead->cols -= STRIPS_LINES, ahead->src += STRIPS_LINES * IN_LINE;
    }
    return (tn__strip){ (const char *)line, ahead->row * (int64_t)sizeof(T), turns, k % 4 };
}

/* Of strips [s, to) against a panel of STRIPS_NV vectors those of five and six rows, which come
 * first; the one after them is returned. */
static int64_t strips_by_hand(const tn__gemm_block *g, const NAME(strips) *x,
                              const NAME(tile_args) *t, NAME(ahead) *even, NAME(ahead) *odd,
                              int64_t s, int64_t to)
{
    enum { SIZE = (int)sizeof(T), MOST = 32, LINE_PAIR = 128 };
    tn__strip each[3 * MOST];
    while (s < to) { /* strips of as many rows, as far as there is room for lines */
        const int64_t same = s < x->cut.more && to > x->cut.more ? x->cut.more : to;
        const int64_t n = same - s < MOST ? same - s : MOST, i = tn__gemm_strip(&x->cut, s);
        const int64_t rows = x->cut.least + (s < x->cut.more);
        if (rows < 5) return s;
        char *const c = (char *)(x->c + i * g->c_row);
        tn__strips  y = { .strips = n, .each = each,
                          .a_at = (const char *)(x->a + i * x->a_row),
                          .a_step = NAME(a_step)(g, x, rows) * SIZE,
                          .next_a = rows * x->a_row * SIZE, .b_at = (const char *)t->b,
                          .b_step = t->b_step * SIZE, .c = c, .c_row = g->c_row * SIZE,
                          .next_c = rows * g->c_row * SIZE, .start = c,
                          .start_row = g->c_row * SIZE, .next_start = rows * g->c_row * SIZE,
                          .beta = t->beta };
        /* where the next result goes is fetched with the first turns, if that leaves some, or at
         * once: four lines of each row would keep loads waiting, one does not */
        const bool spreads = !x->has_near_c && STRIPS_LINES == 2 && g->k >= 16 * rows;
        tn__strip *e = each;
        y.fetches = !x->has_near_c && !spreads;
        for (int64_t q = 0; q < n; q++) {
            const char *next = c + (q + 1) * y.next_c;
            for (int half = 0; half < 2 * spreads; half++)
                *e++ = (tn__strip){ next + half * LINE_PAIR, y.c_row, rows, -1 };
            *e++ = strip_of((s + q) % 2 ? odd : even, y.a_at, g->k - spreads * 8 * rows);
        }
        tn__strips_run(&y, x->by_rows, rows);
        s += n;
    }
    return s;
}

#endif

/* Strips [s, to), one tile or a few after the other; what is ahead is fetched from `even` and `odd`
 * by turns. */
static void NAME(run_strips)(const tn__gemm_block *g, const NAME(strips) *x, NAME(tile_args) *t,
                             NAME(ahead) *even, NAME(ahead) *odd, int64_t s, int64_t to, int64_t w)
{
    const T *b = t->b;
    /* most panels are one tile wide */
    const NAME(tile_fn) *const tiles = w % LANES ? NULL : NAME(whole)[x->by_rows][w / LANES - 1];
    t->part = LANES;
#ifdef TILES_BY_HAND
    if (w == STRIPS_NV * LANES) s = strips_by_hand(g, x, t, even, odd, s, to);
#endif
    for (int64_t i = tn__gemm_strip(&x->cut, s), end; s < to; s++, i = end) {
        end = tn__gemm_strip(&x->cut, s + 1);
        NAME(fetch_part)(t, s % 2 ? odd : even);
        t->a = x->a + i * x->a_row;
        t->a_step = NAME(a_step)(g, x, end - i);
        t->b = b;
        t->c = x->c + i * g->c_row;
        t->next_c = end < x->m ? x->c + end * g->c_row : x->c + w;
        t->next_a = end < x->m ? x->a + end * x->a_row : x->a;
        if (tiles && tiles[end - i - 1])
            tiles[end - i - 1](t);
        else
            NAME(strip)(t, x->by_rows, w, end - i);
    }
    t->b = b;
}

/* All strips of A against one panel: it stays in L1 while they pass. The first panel packs each
 * strip before its use while the next one is on its way. */
static void NAME(column)(const tn__gemm_block *g, NAME(tile_args) *t, NAME(ahead) *ahead,
                         NAME(ahead) *next, int64_t j, int64_t w)
{
    const bool    packs = g->a_packed && !g->has_packed_a && j == 0;
    const bool    fetches = j == 0 && !g->has_packed_a && !g->is_near && g->n > 4 * g->width;
    const bool    by_rows = g->a_row != 1 && g->a_col == 1 && NAME(has_rows)(g->width);
    const int     mr = NAME(rows)(g->width);
    const int64_t packed_row = by_rows ? tn__gemm_a_row(g->k, sizeof(T)) : g->k;
    NAME(strips)  x = { .cut = tn__gemm_cut_of(g->m, mr), .c = (T *)g->c + j, .m = g->m,
                        .a = g->a_packed ? g->a_packed : g->a, .by_rows = by_rows,
                        .is_packed = g->a_packed, .a_row = g->a_packed ? packed_row : g->a_row };
    for (int64_t n = x.cut.n, s = 0, to; s < n; s = to) {
        NAME(ahead) strips = { 0 };
        to = (packs || fetches) && s + STRIPS < n ? s + STRIPS : n;
        if (packs) NAME(pack_strips)(g, by_rows, &x.cut, s, to);
        if (fetches) { /* the next strips, read for the first time */
            const int64_t first = tn__gemm_strip(&x.cut, to);
            const int64_t rows = g->m - first < STRIPS * mr ? g->m - first : STRIPS * mr;
            strips = NAME(ahead_of)((const T *)g->a + first * g->a_row, g->a_row, g->a_col, rows,
                                    g->k, STRIPS);
        }
        NAME(run_strips)(g, &x, t, fetches ? &strips : ahead, fetches ? &strips : next, s, to, w);
    }
}

/* The next block of A comes with every other of the n strips. It comes late, or what this block
 * streams through L2 would push it out again: in the last half of the panels, or as many as it
 * takes. */
static NAME(ahead) NAME(plan_next)(const tn__gemm_block *g, int64_t n, int64_t *next_j)
{
    const int64_t panels = (g->n + g->width - 1) / g->width, each = n / 2;
    NAME(ahead)   next = NAME(ahead_of)(g->next_a, g->a_row, g->a_col, g->next_m, g->next_k, 1);
    const int64_t lines = next.n_rows * next.cols;
    const int64_t fit = each * (g->k / TURN - MR); /* a line for a turn of a tile's loop */
    const int64_t take = fit > 0 ? (lines + fit - 1) / fit : panels, half = (panels + 1) / 2;
    const int64_t in = take < half ? half : take < panels ? take : panels;
    next.n = each * in, next.share = NAME(shares_of)(next.n_rows, next.n);
    *next_j = (panels - in) * g->width;
    return next;
}

static void NAME(block)(const tn__gemm_block *g)
{
    const int64_t   n = tn__gemm_cut_of(g->m, NAME(rows)(g->width)).n;
    const int64_t   slab = tn__gemm_slab(g->width, LANES);
    const bool      packs = g->b_packed && !g->has_packed_b;
    NAME(tile_args) t = { .k = g->k, .c_row = g->c_row, .beta = (T)g->beta };
    NAME(ahead)     ahead = { 0 }, next = { 0 }, none = { 0 };
    int64_t         next_j = g->n; /* from which panel on the next block is fetched */
    int64_t         slab_j = 0, slab_end = packs ? 0 : g->n;
    if (g->next_a) next = NAME(plan_next)(g, n, &next_j);
    for (int64_t j = 0, w; j < g->n; j += w) {
        w = tn__gemm_panel(g->n - j, g->width, NV_WIDE * LANES, LANES);
        const int64_t whole = (w + LANES - 1) / LANES * LANES;
        if (j == slab_end) {
            const T *b = (const T *)g->b + j * g->b_col;
            slab_j = j, slab_end = tn__gemm_cut_end(j, slab, g->n, LANES);
            NAME(pack_b)(g->b_packed, b, g->b_row, g->b_col, slab_end - j, g->k, g->width,
                         g->b_scale);
            /* the next slab, after the last one the first of the next block of k */
            const bool    more = slab_end < g->n;
            const T      *after = more ? b + (slab_end - j) * g->b_col : g->next_b;
            const int64_t left = more ? g->n - slab_end : g->n;
            const int64_t here = (slab_end - j + g->width - 1) / g->width; /* panels */
            ahead = none;
            if (after)
                ahead = NAME(ahead_of)(after, g->b_col, g->b_row, left < slab ? left : slab, g->k,
                                       here * ((n + 1) / 2));
        } else if (g->has_packed_b) {
            ahead = NAME(ahead_of)((const T *)g->b_packed + (j + w) * g->k, 1, w, w, g->k,
                                   (n + 1) / 2);
        } else if (!g->b_packed) {
            ahead = NAME(ahead_of)((const T *)g->b + j + w, 1, g->b_row, w, g->k,
                                   j + w < g->n ? (n + 1) / 2 : 0);
        }
        t.b_step = g->b_packed ? whole : g->b_row;
        t.b = (g->b_packed ? (const T *)g->b_packed : (const T *)g->b) +
              (g->has_packed_b ? j * g->k : g->b_packed ? (j - slab_j) * g->k : j);
        NAME(column)(g, &t, &ahead, j >= next_j ? &next : &none, j, w);
    }
}

#ifdef F64 /* of doubles this would not be worth its code */
#  define BLOCKS NULL
#else
#  define BLOCKS NAME(blocks)
/* What column and block find out for each tile is known before all products here. */
static void NAME(blocks)(const tn__gemm_block *g, int64_t n, int64_t a_next, int64_t b_next,
                         int64_t c_next)
{
    const bool      by_rows = g->a_row != 1 && g->a_col == 1 && NAME(has_rows)(g->width);
    NAME(strips)    x = { .cut = tn__gemm_cut_of(g->m, NAME(rows)(g->width)), .by_rows = by_rows,
                          .a_row = g->a_row };
    const int64_t   strips = x.cut.n;
    const T        *a = g->a, *b = g->b;
    T              *c = g->c;
    int64_t         i[TN__GEMM_FEW_STRIPS + 1];
    NAME(tile_args) t = { .k = g->k, .c_row = g->c_row, .b_step = g->b_row, .beta = (T)g->beta,
                          .a_step = by_rows ? g->a_row : g->a_col };
    for (int64_t s = 0; s <= strips; s++) i[s] = tn__gemm_strip(&x.cut, s);
#ifdef TILES_BY_HAND
    NAME(ahead) none = { 0 };
#endif
    for (; n > 0; n--, a += a_next, b += b_next, c += c_next) {
        if (g->b_packed)
            NAME(pack_b)(g->b_packed, b, g->b_row, g->b_col, g->n, g->k, g->width, g->b_scale);
        for (int64_t j = 0, w; j < g->n; j += w) {
            w = tn__gemm_panel(g->n - j, g->width, NV_WIDE * LANES, LANES);
            const T *panel = g->b_packed ? (const T *)g->b_packed + j * g->k : b + j;
            if (g->b_packed) t.b_step = (w + LANES - 1) / LANES * LANES;
            int64_t s = 0;
#ifdef TILES_BY_HAND
            x.a = a, x.c = c + j, t.b = panel;
            if (w == STRIPS_NV * LANES) s = strips_by_hand(g, &x, &t, &none, &none, 0, strips);
#endif
            for (; s < strips; s++) {
                const bool is_last = s + 1 == strips, is_end = is_last && j + w == g->n;
                t.a = a + i[s] * g->a_row, t.b = panel, t.c = c + i[s] * g->c_row + j;
                t.next_a = is_end && n > 1 ? a + a_next : is_last ? a : a + i[s + 1] * g->a_row;
                t.next_c = is_end && n > 1 ? c + c_next
                    : is_last ? c + j : c + i[s + 1] * g->c_row + j;
                NAME(strip)(&t, by_rows, w, i[s + 1] - i[s]);
            }
        }
    }
}

#endif

#include "tensor/kernels/gemm_panels.h"
#include "tensor/kernels/gemm_stream.h"

const tn__gemm_kernels *KERNELS(void)
{
    static const tn__gemm_kernels kernels = {
        .mr = MR, .nr = NV * LANES, .nr_wide = NV_WIDE * LANES, .lanes = LANES,
        .has_part_loads = HAS_PART_LOADS,
        .width = NAME(width), .rows = NAME(rows), .has_rows = NAME(has_rows),
        .pack_b = NAME(pack_b), .block = NAME(block), .blocks = BLOCKS,
        .stream_pack = NAME(stream_pack), .stream = NAME(stream),
        .stream_vectors = STREAM_NV,
        .panels_pack = NAME(panels_pack), .panels = NAME(panels), .panel_width = PANEL_WIDTH,
    };
    return &kernels;
}
