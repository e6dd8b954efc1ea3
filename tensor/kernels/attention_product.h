/* Products of blocks that are in the caches, for attention.c, which includes this once per dtype. A
 * tile of C is held in registers while the sum runs: each element is one chain of fused
 * multiply-adds in rising order, whatever the tile. Meanwhile the rows of the next block or head
 * are fetched: they lie far apart, where no hardware looks ahead, and the last cache is slow. */

#include "tensor/kernels/strips.h"

#undef IS_BY_HAND
#undef FETCH_LINES
#ifdef STRIPS_BY_HAND
#  define FETCH_LINES (sizeof(T) == 4 ? STRIPS_LINES : 2)
#  define IS_BY_HAND(nv, rows) (sizeof(T) == 4 && (nv) == NV && (rows) >= 5)
#else
#  define FETCH_LINES 2
#  define IS_BY_HAND(nv, rows) false
#endif

/* Rows and vecs of the largest tiles, and how many steps of the sum are unrolled: a step of many
 * multiply-adds needs none. Tiles that are wide have fewer rows: they load the least for each
 * multiply-add, and so take the least power and run the fastest. Where the only row of a product
 * would be too few chains, it has tiles of ROW_NV vecs. */
#undef NV
#undef ROW_NV
#undef MR
#undef MOST_ROWS
#undef DEEP
#if defined __AVX512F__
#  define NV     4
#  define ROW_NV NV
#  define MR     12
#  define DEEP   1
#  define MOST_ROWS(nv) ((nv) == 4 ? 6 : (nv) == 3 ? 8 : 12)
#elif defined __AVX2__
#  define NV   1
#  define ROW_NV 4
#  define MR   6
#  define DEEP ((int)sizeof(T) == 8 ? 2 : 4) /* a shared core issues little beside multiply-adds */
#  define MOST_ROWS(nv) MR
#elif defined __aarch64__
#  define NV   1
#  define ROW_NV NV
#  define MR   6
#  define DEEP 2
#  define MOST_ROWS(nv) MR
#else
#  define NV   1
#  define ROW_NV NV
#  define MR   2
#  define DEEP 2
#  define MOST_ROWS(nv) MR
#endif

/* Loops over a tile must vanish, or its accumulators live in memory. */
#undef UNROLL
#if defined __clang__
#  define UNROLL _Pragma("clang loop unroll(full)")
#else
#  define UNROLL _Pragma("GCC unroll 16")
#endif

/* Of loops over what is left, which compilers would else write out as often as they may run. */
#undef ONE_BY_ONE
#if defined __clang__
#  define ONE_BY_ONE _Pragma("clang loop unroll(disable)")
#else
#  define ONE_BY_ONE _Pragma("GCC unroll 1")
#endif

/* Keeps an accumulator in its register: gcc gives chains of them to others and runs out. */
#undef STAY
#if defined __clang__ || !defined __x86_64__
#  define STAY(v) (void)0
#else
#  define STAY(v) __asm__("" : "+v"(v))
#endif

/* Keeps loads from being moved up, where they would take the registers of accumulators: gcc
 * does. */
#undef IN_ORDER
#define IN_ORDER() __asm__ volatile("" ::: "memory")

/* Keeps the compiler from deriving one pointer from another again. */
#undef HIDE
#define HIDE(p) __asm__("" : "+r"(p))

/* ---- fetching -------------------------------------------------------------------------------- */

/* Memory on its way into the second cache, by pairs of lines (or lines, where strips by hand fetch
 * one a turn), down the rows and then the next pair of each. A tile takes one in so many of its
 * steps, since more at once would stand in the way of what it loads itself. */
enum { TN_R(fetch_bytes) = 64 * FETCH_LINES };

typedef struct TN_R(fetcher) {
    const tn__attention_fetch *soon, *end;
    int64_t                    row, byte; /* the next pair of *soon */
    int64_t                    due, rate; /* pairs and pairs a step, times 256 */
} TN_R(fetcher);

/* All of it by the time that most of `work` multiply-adds of vecs is done. */
static TN_R(fetcher) TN_R(fetcher_of)(const tn__attention_fetch *soon, int n, int64_t work)
{
    int64_t pairs = 0, steps = work / (DEEP * MR * NV) + 1;
    for (int i = 0; i < n; i++)
        pairs += soon[i].rows * ((soon[i].bytes + TN_R(fetch_bytes) - 1) / TN_R(fetch_bytes));
    return (TN_R(fetcher)){ .soon = soon, .end = soon + n, .rate = pairs * 5 / 4 * 256 / steps };
}

/* n rows from `first` on. */
static tn__attention_fetch TN_R(rows_soon)(const void *base, int64_t first, int64_t row, int64_t n,
                                           int64_t depth)
{
    const int64_t size = sizeof(T);
    return (tn__attention_fetch){ (const char *)base + first * row * size, row * size, n,
                                  depth * size };
}

/* What a tile of so many steps is to fetch: n pairs from *at on, *row bytes apart. */
TN_INLINE int64_t TN_R(fetches)(TN_R(fetcher) *f, int64_t steps, const char **at, int64_t *row)
{
    if (f->soon == f->end) return 0;
    int64_t n = f->soon->rows - f->row;
    f->due += steps * f->rate;
    if (n > f->due >> 8) n = f->due >> 8;
    if (n > steps) n = steps;
    *at = f->soon->at + f->row * f->soon->row + f->byte, *row = f->soon->row;
    f->due -= n << 8, f->row += n;
    if (f->row == f->soon->rows) {
        f->row = 0;
        if ((f->byte += TN_R(fetch_bytes)) >= f->soon->bytes) f->soon++, f->byte = 0;
    }
    return n;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

TN_INLINE vec TN_R(all)(T x)
{
    vec a;
    for (int r = 0; r < regs; r++) a.r[r] = x - (reg){ 0 }; /* x - 0 is x, and costs nothing */
    return a;
}

#include "tensor/kernels/attention_exp2.h"

typedef struct TN_R(tile_args) {
    const T           *a, *b;
    T                 *c;
    int64_t            a_row, a_step, b_row, c_row, depth;
    const T           *start; /* what sums start from, NULL: 0 */
    int64_t            start_row;
    int64_t            n_fetches, fetch_row;
    const char        *fetch;
} TN_R(tile_args);

typedef void (*TN_R(tile_fn))(const TN_R(tile_args) *t);

/* mr rows x nv vecs of C = start + A B. A[r, k] is at r a_row + k a_step. */
TN_INLINE void TN_R(tile)(const TN_R(tile_args) *t, const int mr, const int nv)
{
    enum { GROUP = 4, GROUPS = (MR + GROUP - 1) / GROUP, LANES = TN__BITS / 8 / sizeof(T) };
    const int          nr = nv * regs, deep = nv > NV ? 1 : DEEP;
    reg                acc[MR][ROW_NV * regs], bx[ROW_NV * regs];
    const int64_t      a_step = t->a_step, b_row = t->b_row;
    int64_t            at[GROUP] = { 0, t->a_row, 2 * t->a_row, 3 * t->a_row };
    const T           *a[GROUPS], *b = t->b, *start = t->start;
    const char        *fetch = t->fetch;
    int64_t            n_fetches = t->n_fetches;
    T                 *c = t->c;
    UNROLL for (int r = 0; r < mr; r++) UNROLL for (int x = 0; x < nr; x++) acc[r][x] = (reg){ 0 };
    if (start) {
        UNROLL for (int r = 0; r < mr; r++) {
            UNROLL for (int x = 0; x < nr; x++) acc[r][x] = TN_R(reg_load)(start + x * LANES);
            start += t->start_row;
            HIDE(start);
        }
    }

#define STEP()                                                                                     \
    do {                                                                                           \
        UNROLL for (int x = 0; x < nr; x++) bx[x] = TN_R(reg_load)(b + x * LANES);                 \
        b += b_row;                                                                                \
        UNROLL for (int r = 0; r < mr; r++) {                                                      \
            const reg ax = a[r / GROUP][at[r % GROUP]] - (reg){ 0 };                               \
            UNROLL for (int x = 0; x < nr; x++) {                                                  \
                reg sum = TN_R(reg_fma)(ax, bx[x], acc[r][x]);                                     \
                STAY(sum);                                                                         \
                acc[r][x] = sum;                                                                   \
            }                                                                                      \
            IN_ORDER();                                                                            \
        }                                                                                          \
        UNROLL for (int g = 0; g * GROUP < mr; g++) {                                              \
            a[g] += a_step;                                                                        \
            HIDE(a[g]);                                                                            \
        }                                                                                          \
    } while (0)

    /* A few pointers and strides reach all rows with one address each. */
    UNROLL for (int g = 0; g * GROUP < mr; g++) a[g] = t->a + g * GROUP * t->a_row;
    UNROLL for (int g = 1; g < GROUP; g++)
        if (g < mr) HIDE(at[g]);
    int64_t k = t->depth;
    for (; k >= deep; k -= deep) {
        if (n_fetches > 0) {
            __builtin_prefetch(fetch, 0, 2);
            if (TN_R(fetch_bytes) > 64) __builtin_prefetch(fetch + 64, 0, 2);
            fetch += t->fetch_row, n_fetches--;
        }
        UNROLL for (int s = 0; s < deep; s++) STEP();
    }
    if (deep > 1) ONE_BY_ONE for (; k > 0; k--) STEP();
#undef STEP

    UNROLL for (int r = 0; r < mr; r++) {
        UNROLL for (int x = 0; x < nr; x++) TN_R(reg_store)(c + x * LANES, acc[r][x]);
        c += t->c_row;
        HIDE(c);
    }
}

#undef TILES
#if MR == 12
#  define TILES(X)                                                                                 \
      X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7) X(1, 8) X(1, 9) X(1, 10) X(1, 11)    \
      X(1, 12) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(2, 5) X(2, 6) X(2, 7) X(2, 8) X(2, 9) X(2, 10)    \
      X(2, 11) X(2, 12) X(3, 1) X(3, 2) X(3, 3) X(3, 4) X(3, 5) X(3, 6) X(3, 7) X(3, 8) X(4, 1)    \
      X(4, 2) X(4, 3) X(4, 4) X(4, 5) X(4, 6)
#elif MR == 6
#  define TILES(X) X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) TILES_WIDE(X)
#else
#  define TILES(X) X(1, 1) X(1, 2)
#endif

#undef TILES_WIDE
#if ROW_NV > NV
#  define TILES_WIDE(X) X(2, 1) X(4, 1)
#else
#  define TILES_WIDE(X)
#endif

#define TILE(nv, mr)                                                                               \
    static void TN_R(tile_##nv##x##mr)(const TN_R(tile_args) *t) { TN_R(tile)(t, mr, nv); }
TILES(TILE)
#undef TILE

/* [vecs - 1][rows - 1]; NULL: none, or by hand */
static const TN_R(tile_fn) TN_R(tiles)[ROW_NV][MR] = {
#define TILE(nv, mr) [nv - 1][mr - 1] = IS_BY_HAND(nv, mr) ? NULL : TN_R(tile_##nv##x##mr),
    TILES(TILE)
#undef TILE
};

/* ---- products -------------------------------------------------------------------------------- */

/* The three shapes of product: what are the rows of C, and what is summed over? Where masks are
 * causal, scores of keys past `first` + the query are known to be masked, and their weights to be
 * 0. */
typedef enum TN_R(kind) {
    TN_R(SCORES),    /* keys by queries as lanes: lanes from row - first on */
    TN_R(BY_KEY),    /* a row a key, a sum over queries: from row - first on */
    TN_R(BY_QUERY)   /* a row a query, a sum over keys: to first + row */
} TN_R(kind);

/* C = start + A B. C is [rows, cols vecs], B[k, x] at k b_row + x. A[r, k] is at r a_row + k; of a
 * product BY_QUERY at k a_row + r. */
typedef struct TN_R(product) {
    TN_R(kind) kind;
    T         *c;
    int64_t    c_row;
    const T   *a;
    int64_t    a_row;
    const T   *b;
    int64_t    b_row;
    int64_t    rows, cols, depth, first;
    const T   *start;           /* NULL: 0; c: C += A B */
    int64_t    start_row;
    TN_R(fetcher) *fetcher;
} TN_R(product);

/* Rows [r, r + n) and vecs [x, x + nv) of C, summed over [k0, k1). The rest of *t is set. */
TN_INLINE void TN_R(run_tile)(const TN_R(product) *p, TN_R(tile_args) *t, int64_t r, int64_t n,
                              int64_t x, int64_t nv, int64_t k0, int64_t k1)
{
    t->a = p->a + r * t->a_row + k0 * t->a_step;
    t->b = p->b + k0 * p->b_row + x * v_lanes;
    t->c = p->c + r * p->c_row + x * v_lanes;
    t->start = p->start ? p->start + r * p->start_row + x * v_lanes : NULL;
    t->depth = k1 > k0 ? k1 - k0 : 0;
    t->n_fetches = TN_R(fetches)(p->fetcher, t->depth / DEEP, &t->fetch, &t->fetch_row);
    TN_R(tiles)[nv - 1][n - 1](t);
}

#ifdef STRIPS_BY_HAND

/* A strip over k, which fetches as many pieces as it has turns, once so many are due. Where there
 * are fewer rows, those after them too. */
static tn__strip TN_R(strip_of)(TN_R(fetcher) *f, const void *none, int64_t k)
{
    const int64_t turns = k / 4;
    f->due += turns * (4 / DEEP) * f->rate;
    if (f->soon == f->end || f->due >> 8 < turns) return (tn__strip){ none, 0, turns, k % 4 };
    const char     *line = f->soon->at + f->row * f->soon->row + f->byte;
    const tn__strip strip = { line, f->soon->row, turns, k % 4 };
    f->due -= turns << 8, f->row += turns;
    if (f->row >= f->soon->rows) {
        f->row = 0;
        if ((f->byte += TN_R(fetch_bytes)) >= f->soon->bytes) f->soon++, f->byte = 0;
    }
    return strip;
}

/* So many strips of 5 or 6 rows and NV vecs, no more than a block has, from row r and vec x on,
 * down the rows or along the vecs, over [k0, k1); from one to the next, k0 and k1 grow by grow0 and
 * grow1. */
static void TN_R(run_strips)(const TN_R(product) *p, const TN_R(tile_args) *t, int64_t strips,
                             bool along, int64_t r, int64_t n, int64_t x, int64_t k0, int64_t k1,
                             int64_t grow0, int64_t grow1)
{
    enum { SIZE = (int)sizeof(T), MOST = 64 / 5 + 1 };
    _Static_assert(TN_ATTENTION_ROWS * v_lanes <= 64 && TN_ATTENTION_KEYS <= 64 &&
                       TN_ATTENTION_GRAD_ROWS * v_lanes <= 64 && TN_ATTENTION_GRAD_KEYS <= 64,
                   "a block has more strips");
    const int64_t down = along ? 0 : n * SIZE, aside = along ? NV * v_lanes * SIZE : 0;
    int64_t       k = k1 - k0;
    tn__strip     each[MOST];
    tn__strips    y = {
           .strips = strips, .each = each,
           .a_at = (const char *)(p->a + r * t->a_row + k0 * t->a_step),
           .a_step = (t->a_step == 1 ? t->a_row : t->a_step) * SIZE,
           .next_a = down * t->a_row + grow0 * t->a_step * SIZE,
           .b_at = (const char *)(p->b + k0 * p->b_row + x * v_lanes),
           .b_step = p->b_row * SIZE, .next_b = aside + grow0 * p->b_row * SIZE,
           .c = (char *)(p->c + r * p->c_row + x * v_lanes), .c_row = p->c_row * SIZE,
           .next_c = down * p->c_row + aside,
           .start = (const char *)(p->start ? p->start + r * p->start_row + x * v_lanes : NULL),
           .start_row = p->start_row * SIZE, .next_start = down * p->start_row + aside,
           .beta = p->start ? 1 : 0,
           .fetches = STRIPS_LINES == 1 }; /* four lines a row, which are near: too many at once */
    for (int64_t i = 0; i < strips; i++, k += grow1 - grow0)
        each[i] = TN_R(strip_of)(p->fetcher, y.a_at, k > 0 ? k : 0);
    tn__strips_run(&y, p->kind != TN_R(BY_QUERY), n);
}

#endif

/* Rows of the tiles that `rows` are cut in: n, and one more in the first `larger` ones. */
typedef struct TN_R(cut) {
    int64_t n, larger;
} TN_R(cut);

static TN_R(cut) TN_R(cut_of)(int64_t rows, int64_t nv)
{
    (void)nv;
    const uint32_t all = (uint32_t)rows, most = MOST_ROWS(nv), tiles = (all + most - 1) / most;
    return tiles ? (TN_R(cut)){ all / tiles, all % tiles } : (TN_R(cut)){ 1, 0 };
}

static TN_R(tile_args) TN_R(tile_args_of)(const TN_R(product) *p)
{
    const bool turned = p->kind == TN_R(BY_QUERY);
    return (TN_R(tile_args)){ .a_row = turned ? 1 : p->a_row, .a_step = turned ? p->a_row : 1,
                              .b_row = p->b_row, .c_row = p->c_row, .start_row = p->start_row };
}

#ifdef STRIPS_BY_HAND

/* Strips down from row r, as many before `end` as have its n rows and its sum, or sums that grow as
 * the rows do; cut->larger: of those after it. Takes them from the cut; their rows but for the
 * first n. */
static int64_t TN_R(run_column)(const TN_R(product) *p, const TN_R(tile_args) *t, TN_R(cut) *cut,
                                int64_t r, int64_t end, int64_t n, int64_t x)
{
    int64_t strips = n > cut->n ? cut->larger + 1 : (end - r) / n, alike = strips;
    int64_t k0 = 0, k1 = p->depth, grow0 = 0, grow1 = 0;
    if (p->kind == TN_R(BY_KEY)) {
        if (r < p->first) alike = (p->first - r) / n + 1;
        else k0 = r - p->first, grow0 = n;
    } else if (p->kind == TN_R(BY_QUERY) && p->first + r + n < k1) { /* of the first sum */
        alike = (k1 - (p->first + r + n)) / n + 1;
        k1 = p->first + r + n, grow1 = n;
    }
    if (alike < strips) strips = alike;
    TN_R(run_strips)(p, t, strips, false, r, n, x, k0, k1, grow0, grow1);
    if (n > cut->n) cut->larger -= strips - 1;
    return (strips - 1) * n;
}

#endif

/* Row by row of tiles: a row of A, which may lie far from the next one, is soon read again. */
static void TN_R(multiply_scores)(const TN_R(product) *p)
{
    TN_R(tile_args) t = TN_R(tile_args_of)(p);
    for (int64_t r = 0, end, n; r < p->rows; r = end) { /* rows that begin with the same vec */
        const int64_t x0 = r > p->first ? (r - p->first) / v_lanes : 0;
        const int64_t last = p->first + (x0 + 1) * v_lanes;
        end = last < p->rows ? last : p->rows;
        TN_R(cut) cut = TN_R(cut_of)(end - r, p->cols - x0 < NV ? p->cols - x0 : NV);
        for (; r < end; r += n) {
            n = cut.n + (cut.larger-- > 0);
            int64_t x = x0;
#ifdef STRIPS_BY_HAND
            const int64_t wide = (p->cols - x) / NV;
            if (p->cols - x == NV && IS_BY_HAND(NV, n)) { /* one column of them */
                r += TN_R(run_column)(p, &t, &cut, r, end, n, x);
                continue;
            }
            if (wide > 0 && IS_BY_HAND(NV, n)) {
                TN_R(run_strips)(p, &t, wide, true, r, n, x, 0, p->depth, 0, 0);
                x += wide * NV;
            }
#endif
            for (; x < p->cols; x += NV)
                TN_R(run_tile)(p, &t, r, n, x, p->cols - x < NV ? p->cols - x : NV, 0, p->depth);
        }
    }
}

/* Columns of tiles: these vecs of B stay in the first cache. */
static void TN_R(multiply_sums)(const TN_R(product) *p)
{
    TN_R(tile_args) t = TN_R(tile_args_of)(p);
    const int       most = p->rows == 1 ? ROW_NV : NV;
    for (int64_t x = 0, nv; x < p->cols; x += nv) {
        nv = p->cols - x < most ? p->cols - x : most;
        if (!TN_R(tiles)[nv - 1][0]) nv--;
        TN_R(cut) cut = TN_R(cut_of)(p->rows, nv);
        for (int64_t r = 0, n; r < p->rows; r += n) {
            int64_t k0 = 0, k1 = p->depth;
            n = cut.n + (cut.larger-- > 0);
#ifdef STRIPS_BY_HAND
            if (IS_BY_HAND(nv, n)) {
                r += TN_R(run_column)(p, &t, &cut, r, p->rows, n, x);
                continue;
            }
#endif
            if (p->kind == TN_R(BY_KEY) && r > p->first) k0 = r - p->first;
            if (p->kind == TN_R(BY_QUERY) && p->first + r + n < k1) k1 = p->first + r + n;
            TN_R(run_tile)(p, &t, r, n, x, nv, k0, k1);
        }
    }
}

static void TN_R(multiply)(TN_R(product) p)
{
    if (p.kind == TN_R(SCORES)) TN_R(multiply_scores)(&p);
    else TN_R(multiply_sums)(&p);
}
