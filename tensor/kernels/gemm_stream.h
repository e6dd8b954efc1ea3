/* The product of few rows with a matrix that is read once, as it lies: B streams past in whole
 * rows, so that the machine's own look-ahead works, while the rows of C stay in L1. Included by
 * gemm_tile.h.
 *
 * A unit takes DEPTH rows of B, a vector or two wide, into registers and adds them to each row of C
 * in turn: a load and a store of C for DEPTH multiply-adds, each element still one chain in rising
 * order of k. Rows of C lie close together in a buffer, a line more than they are wide apart: at
 * the distance that they have in C, stores would stand in the way of loads 4 KiB from them.
 *
 * Where B lies by columns, some of them at a time are turned into a buffer in L1 first. */

enum {
    STREAM_DEPTH = TN__GEMM_STREAM_DEPTH,
#if defined __AVX512F__ || defined __aarch64__
    STREAM_NV = 2, /* with 32 registers */
#else
    STREAM_NV = 1,
#endif
    STREAM_RUN = 32, /* rows of B that pass by all blocks of columns before the next ones do */
    STREAM_COLS = TN__GEMM_STREAM_COLS, /* that are turned together, */
    STREAM_TURN = TN__GEMM_STREAM_TURN, /* so many rows at a time */
};

/* a [k / DEPTH][m][DEPTH], and what is left of k as [k % DEPTH][m]. */
static void NAME(stream_pack)(void *dst, const void *a, int64_t a_row, int64_t a_col, int64_t m,
                              int64_t k, double scale)
{
    const T *from = a, by = (T)scale;
    T       *to = dst;
    for (int64_t p = 0; p < k; p += STREAM_DEPTH) {
        const int64_t n = k - p < STREAM_DEPTH ? 1 : STREAM_DEPTH, end = n == 1 ? k : p + n;
        for (int64_t q = p; q < end; q += n)
            for (int64_t i = 0; i < m; i++)
                for (int64_t d = 0; d < n; d++) *to++ = by * from[i * a_row + (q + d) * a_col];
    }
}

/* What a unit gets: `left` is how many elements of its vector are there, where that is not
 * whole. */
typedef struct NAME(stream_args) {
    const T *a, *b;
    T       *c;
    int64_t  m, b_row, c_row, ahead; /* elements from b to what is needed next; 0: nothing is */
    int      left;
    bool     starts;
} NAME(stream_args);

TN_INLINE void NAME(stream_unit)(const NAME(stream_args) *u, const int depth, const int nv,
                                 const bool is_part)
{
    const PART    part = v_part(is_part ? u->left : 0);
    const int64_t c_row = u->c_row;
    const T      *a = u->a, *b = u->b, *ahead = u->b + u->ahead;
    T            *c = u->c;
    VEC           b_now[STREAM_DEPTH][STREAM_NV], acc[STREAM_NV];
    UNROLL for (int q = 0; q < depth; q++) {
        UNROLL for (int v = 0; v < nv; v++) {
            if (u->ahead) __builtin_prefetch(ahead + v * LANES);
            b_now[q][v] = is_part ? v_load_part(b, part) : v_load(b + v * LANES);
        }
        b += u->b_row, ahead += u->b_row;
    }
    for (int64_t i = 0; i < u->m; i++) {
        UNROLL for (int v = 0; v < nv; v++) acc[v] = u->starts ? v_zero() : v_load(c + v * LANES);
        UNROLL for (int q = 0; q < depth; q++) {
            const VEC x = v_all(a[q]);
            UNROLL for (int v = 0; v < nv; v++) {
                ADD_PRODUCT(acc[v], x, b_now[q][v]);
            }
        }
        UNROLL for (int v = 0; v < nv; v++) v_store(c + v * LANES, acc[v]);
        a += depth, c += c_row;
        HIDE(a);
    }
}

static void NAME(stream_whole)(const NAME(stream_args) *u)
{
    NAME(stream_unit)(u, STREAM_DEPTH, STREAM_NV, false);
}

static void NAME(stream_one)(const NAME(stream_args) *u)
{
    NAME(stream_unit)(u, STREAM_DEPTH, 1, false);
}

static void NAME(stream_part)(const NAME(stream_args) *u)
{
    NAME(stream_unit)(u, STREAM_DEPTH, 1, true);
}

static void NAME(stream_row)(const NAME(stream_args) *u) { NAME(stream_unit)(u, 1, 1, false); }
static void NAME(stream_row_part)(const NAME(stream_args) *u) { NAME(stream_unit)(u, 1, 1, true); }

/* Rows [p, p + depth) of n columns of B, which lie at b, into sums. */
static void NAME(stream_rows)(const tn__gemm_stream *g, T *sums, int64_t c_row, int64_t p,
                              int depth, const T *b, int64_t b_row, int64_t n, bool fetches)
{
    NAME(stream_args) u = { .a = (const T *)g->a + p * g->m, .b = b, .c = sums, .m = g->m,
                            .b_row = b_row, .c_row = c_row, .ahead = fetches ? depth * b_row : 0,
                            .starts = p == 0 };
    int64_t l = 0;
    for (; depth > 1 && l + STREAM_NV * LANES <= n; l += STREAM_NV * LANES) {
        NAME(stream_whole)(&u);
        u.b += STREAM_NV * LANES, u.c += STREAM_NV * LANES;
    }
    for (; l < n; l += LANES, u.b += LANES, u.c += LANES) {
        const bool is_part = n - l < LANES;
        u.left = (int)(n - l);
        if (depth > 1) (is_part ? NAME(stream_part) : NAME(stream_one))(&u);
        else (is_part ? NAME(stream_row_part) : NAME(stream_row))(&u);
    }
}

/* C's columns [j, j + n) from their sums. */
static void NAME(stream_put)(const tn__gemm_stream *g, const T *sums, int64_t c_row, int64_t j,
                             int64_t n)
{
    for (int64_t i = 0; i < g->m; i++)
        memcpy((T *)g->c + i * g->c_row + j, sums + i * c_row, (size_t)n * sizeof(T));
}

/* sums is [blocks][m][block + gap]. */
static void NAME(stream_by_rows)(const tn__gemm_stream *g)
{
    const int64_t row = g->block + TN__GEMM_STREAM_GAP, run = g->block < g->n ? STREAM_RUN : g->k;
    T            *sums;
    for (int64_t p0 = 0; p0 < g->k; p0 += run) {
        const int64_t p1 = g->k - p0 < run ? g->k : p0 + run;
        sums = g->sums;
        for (int64_t j = 0; j < g->n; j += g->block, sums += g->m * row) {
            const int64_t n = g->n - j < g->block ? g->n - j : g->block;
            for (int64_t p = p0, depth; p < p1; p += depth) {
                depth = p1 - p < STREAM_DEPTH ? 1 : STREAM_DEPTH;
                NAME(stream_rows)(g, sums, row, p, (int)depth, (const T *)g->b + p * g->b_row + j,
                                  g->b_row, n, p + 2 * depth <= g->k);
            }
        }
    }
    sums = g->sums;
    for (int64_t j = 0; j < g->n; j += g->block, sums += g->m * row)
        NAME(stream_put)(g, sums, row, j, g->n - j < g->block ? g->n - j : g->block);
}

/* Part number `part` of the parts in which a block of so many columns and rows comes into L1. */
static void NAME(stream_fetch)(const T *b, int64_t b_col, int64_t cols, int64_t rows, int64_t part,
                               int64_t parts)
{
    for (int64_t j = cols * part / parts; j < cols * (part + 1) / parts; j++)
        for (int64_t p = 0; p < rows; p += IN_LINE) __builtin_prefetch(b + j * b_col + p);
}

/* The same where the columns of B are contiguous. sums is [m][COLS + gap], turned [TURN][COLS]. */
static void NAME(stream_by_cols)(const tn__gemm_stream *g)
{
    const int64_t row = STREAM_COLS + TN__GEMM_STREAM_GAP, b_col = g->b_col;
    const T      *b = g->b;
    T            *sums = g->sums, *turned = g->turned;
    for (int64_t j = 0; j < g->n; j += STREAM_COLS) {
        const int64_t n = g->n - j < STREAM_COLS ? g->n - j : STREAM_COLS;
        for (int64_t p0 = 0; p0 < g->k; p0 += STREAM_TURN) {
            const bool    is_last = g->k - p0 <= STREAM_TURN;
            const int64_t p1 = is_last ? g->k : p0 + STREAM_TURN, next_j = is_last ? j + n : j;
            const int64_t next_p = is_last ? 0 : p1, left = g->n - next_j;
            NAME(pack_lines)(turned, b + j * b_col + p0, b_col, n, STREAM_COLS, p1 - p0, 1);
            for (int64_t p = p0, depth; p < p1; p += depth) {
                depth = p1 - p < STREAM_DEPTH ? 1 : STREAM_DEPTH;
                NAME(stream_fetch)(b + next_j * b_col + next_p, b_col,
                                   left < STREAM_COLS ? left : STREAM_COLS,
                                   g->k - next_p < STREAM_TURN ? g->k - next_p : STREAM_TURN,
                                   (p - p0) / STREAM_DEPTH, STREAM_TURN / STREAM_DEPTH);
                NAME(stream_rows)(g, sums, row, p, (int)depth, turned + (p - p0) * STREAM_COLS,
                                  STREAM_COLS, n, false);
            }
        }
        NAME(stream_put)(g, sums, row, j, n);
    }
}

static void NAME(stream)(const tn__gemm_stream *g)
{
    if (g->b_col == 1) NAME(stream_by_rows)(g);
    else NAME(stream_by_cols)(g);
}
