/* The product with a matrix whose panels were packed before (tensor/gemm_panels.h): B passes by
 * once, as it lies in memory, each panel a block of k at a time, which stays in L1 while the strips
 * of A pass. Included by gemm_tile.h.
 *
 * With few rows the next block must come fast: each strip fetches its share of it, as many lines in
 * a turn as that takes, from four places by turns. What a core asks for itself is bound to a dozen
 * lines at a time; the look-ahead of L2 adds to that, and has four places to go on from. With more
 * strips, those by hand fetch one place after the other, a line a turn. */

/* Vectors of a panel, as many as strips by hand have; rows of a strip, at most; rows of which all
 * sums of two panels fit in registers. */
#undef PANEL_NV
#undef PANEL_MR
#undef PANEL_ROWS
#if defined TILES_BY_HAND && STRIPS_NV > NV
#  define PANEL_NV   STRIPS_NV
#  define PANEL_MR   6
#  define PANEL_ROWS 3
#else
#  define PANEL_NV   NV
#  define PANEL_MR   MR
#  define PANEL_ROWS 1
#endif

enum {
    PANEL_WIDTH = PANEL_NV * LANES,
    PANEL_PLACES = TN__GEMM_PANEL_PLACES,
    /* steps of k of a block, which is to take half of an L1, or most of one of 48 KiB */
    PANEL_DEPTH = (LANES == 16 ? 32 << 10 : 16 << 10) / (PANEL_WIDTH * (int)sizeof(T)) / 32 * 32,
    PANEL_SOON = LANES == 16 ? 512 : 256, /* elements ahead that a few rows fetch */
    PANEL_DEEP = 4 /* steps in a turn: what counts and points takes ports of multiply-adds */
};

/* A with rows that lie tn__gemm_a_row(k) apart, so that those of a strip spread over L1. */
static void NAME(panels_pack)(void *dst, const void *a, int64_t a_row, int64_t a_col, int64_t m,
                              int64_t k)
{
    NAME(pack)(dst, a, a_col, a_row, k, tn__gemm_a_row(k, sizeof(T)), m, 1);
}

/* What a strip gets: k steps of rows a_row apart and b [k][PANEL_NV vectors] into c, which is added
 * to where `adds`. It fetches n_ahead lines, `each` in a turn, from PANEL_PLACES places by turns:
 * place_step elements apart, from ahead on. */
typedef struct NAME(panel_args) {
    int64_t  k, a_row, c_row;
    const T *a, *b, *ahead;
    T       *c;
    int64_t  place_step, n_ahead, each;
    bool     adds;
} NAME(panel_args);

/* Decoding is f32, and fast enough to be worth its own tiles above the baseline: else plain ones
 * will do. */
#undef PANEL_TILES
#if !defined F64 && (defined __AVX2__ || defined __aarch64__)
#  define PANEL_TILES
#endif

#ifdef PANEL_TILES

/* mr rows x PANEL_NV vectors. */
TN_INLINE void NAME(panel_tile)(const NAME(panel_args) *t, const int mr)
{
    enum { GROUP = 3, GROUPS = (PANEL_MR + GROUP - 1) / GROUP };
    VEC           acc[PANEL_MR][PANEL_NV], b_now[PANEL_NV];
    const T      *a[GROUPS], *b = t->b, *ahead = t->ahead;
    T            *c = t->c;
    const int64_t c_row = t->c_row, place_step = t->place_step, each = t->each;
    int64_t       a_row = t->a_row;
    const int64_t places_end = PANEL_PLACES * place_step;
    int64_t       n_ahead = t->n_ahead, place = 0, fetches = t->adds ? 0 : mr;
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int v = 0; v < PANEL_NV; v++)
            acc[i][v] = t->adds ? v_load(c + v * LANES) : v_zero();
        c += c_row;
        HIDE(c);
    }
    c = t->c;

#define PANEL_STEP(o)                                                                              \
    do {                                                                                           \
        UNROLL for (int v = 0; v < PANEL_NV; v++) b_now[v] = v_load(b + v * LANES);                \
        b += PANEL_WIDTH;                                                                          \
        UNROLL for (int i = 0; i < mr; i++) {                                                      \
            if (TURN > 2 && i % GROUP) HIDE(a_row);                                                \
            const VEC x = v_all(a[i / GROUP][i % GROUP * a_row + (o)]);                            \
            UNROLL for (int v = 0; v < PANEL_NV; v++) {                                            \
                ADD_PRODUCT(acc[i][v], x, b_now[v]);                                               \
            }                                                                                      \
            IN_ORDER();                                                                            \
        }                                                                                          \
    } while (0)

    int64_t k = t->k;
    UNROLL for (int g = 0; g * GROUP < mr; g++) a[g] = t->a + g * GROUP * a_row;
    for (; k >= PANEL_DEEP; k -= PANEL_DEEP) {
        if (fetches > 0) { /* where the result goes */
            fetches--;
            UNROLL for (int v = 0; v < PANEL_NV; v += IN_LINE / LANES)
                __builtin_prefetch(c + v * LANES, 1);
            c += c_row;
        } else if (n_ahead > 0) {
            n_ahead -= each;
            NO_UNROLL for (int64_t e = each; e > 0; e--) {
                __builtin_prefetch(ahead + place, 0, 2);
                place += place_step;
                if (place >= places_end) place = 0, ahead += IN_LINE;
            }
        }
        PANEL_STEP(0);
        PANEL_STEP(1);
        PANEL_STEP(2);
        PANEL_STEP(3);
        UNROLL for (int g = 0; g * GROUP < mr; g++) {
            a[g] += PANEL_DEEP;
            HIDE(a[g]);
        }
    }
    NO_UNROLL for (; k > 0; k--) {
        PANEL_STEP(0);
        UNROLL for (int g = 0; g * GROUP < mr; g++) a[g]++;
    }
#undef PANEL_STEP

    c = t->c;
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int v = 0; v < PANEL_NV; v++) v_store(c + v * LANES, acc[i][v]);
        c += c_row;
        HIDE(c);
    }
}

#undef PANEL_EACH
#if PANEL_MR == 6
#  define PANEL_EACH(X) ROWS_(X, PANEL_NV)
#else
#  define PANEL_EACH(X) ROWS(X, PANEL_NV)
#endif
#define PANEL_FN(nv, mr)                                                                           \
    static void NAME(panel_tile_##mr)(const NAME(panel_args) *t) { NAME(panel_tile)(t, mr); }
#define PANEL_ENTRY(nv, mr) [mr - 1] = NAME(panel_tile_##mr),
PANEL_EACH(PANEL_FN)
static void (*const NAME(panel_tiles)[PANEL_MR])(const NAME(panel_args) *t) = {
    PANEL_EACH(PANEL_ENTRY)
};

#endif

/* With plain tiles: w columns, as the last panel of B may have fewer, and C no more. */
static void NAME(panel_edge)(const NAME(panel_args) *t, int64_t rows, int64_t w)
{
    const int64_t   nv = w / LANES;
    NAME(tile_args) x = { .k = t->k, .a_step = t->a_row, .b_step = PANEL_WIDTH, .c_row = t->c_row,
                          .a = t->a, .b = t->b, .next_a = t->a, .c = t->c, .next_c = t->c,
                          .beta = t->adds, .part = LANES };
    if (nv) NAME(whole)[1][nv - 1][rows - 1](&x);
    x.b += nv * LANES, x.c += nv * LANES, x.part = (int)(w % LANES);
    if (x.part) NAME(part)[1][rows - 1](&x);
}

/* Columns [0, w) of the panel at b. */
static void NAME(panel)(const tn__gemm_panels *g, const T *b, T *c, int64_t w)
{
    const tn__gemm_cut cut = tn__gemm_cut_of(g->m, PANEL_MR);
    const int64_t    n = cut.n;
    NAME(panel_args) t = { .a_row = g->a_row, .c_row = g->c_row, .b = b };
    for (int64_t p = 0; p < g->k; p += PANEL_DEPTH) {
        t.k = g->k - p < PANEL_DEPTH ? g->k - p : PANEL_DEPTH;
        t.place_step = t.k * PANEL_WIDTH / PANEL_PLACES, t.adds = p > 0;
        const int64_t rounds = (t.place_step + IN_LINE - 1) / IN_LINE;
        const int64_t turns = t.k / PANEL_DEEP * n - (t.adds ? 0 : g->m);
        t.each = turns > 0 ? (rounds * PANEL_PLACES + turns - 1) / turns : 0;
        int64_t s = 0;
#ifdef TILES_BY_HAND
        /* fewer strips do not fetch enough: STRIPS_LINES a turn */
        if (w == PANEL_WIDTH && n * STRIPS_LINES >= 3 * PANEL_WIDTH / IN_LINE) {
            const tn__gemm_block h = { .k = t.k, .c_row = g->c_row };
            const NAME(strips)   x = { .cut = cut, .a = (const T *)g->a + p, .c = c,
                                       .a_row = g->a_row, .by_rows = true, .has_near_c = true };
            NAME(tile_args)      tile = { .b = t.b, .b_step = PANEL_WIDTH, .beta = t.adds };
            const int64_t        piece = STRIPS_LINES * IN_LINE;
            NAME(ahead)          ahead = { .src = t.b + t.k * PANEL_WIDTH, .row = piece, .cols = 1,
                                           .n_rows = t.k * PANEL_WIDTH / piece, .n = n };
            s = strips_by_hand(&h, &x, &tile, &ahead, &ahead, 0, n);
        }
#endif
        for (int64_t i = tn__gemm_strip(&cut, s), end; s < n; s++, i = end) {
            const int64_t first = rounds * s / n;
            end = tn__gemm_strip(&cut, s + 1);
            t.a = (const T *)g->a + i * g->a_row + p, t.c = c + i * g->c_row;
            t.ahead = t.b + t.k * PANEL_WIDTH + first * IN_LINE;
            t.n_ahead = (rounds * (s + 1) / n - first) * PANEL_PLACES;
#ifdef PANEL_TILES
            if (w == PANEL_WIDTH) NAME(panel_tiles)[end - i - 1](&t);
            else
#endif
                NAME(panel_edge)(&t, end - i, w);
        }
        t.b += t.k * PANEL_WIDTH;
    }
}

/* A few rows by `places` whole panels at a time: there is nothing to wait for but memory, which
 * gives more from several places. */
TN_INLINE void NAME(panels_of_rows)(const tn__gemm_panels *g, const T *b, T *c, const int m,
                                    const int places)
{
    const int64_t step = g->k * PANEL_WIDTH;
    const T      *a = g->a;
    VEC           acc[PANEL_ROWS][PANEL_PLACES][PANEL_NV];
    UNROLL for (int i = 0; i < m; i++) UNROLL for (int q = 0; q < places; q++)
        UNROLL for (int v = 0; v < PANEL_NV; v++) acc[i][q][v] = v_zero();
    for (int64_t p = 0; p < g->k; p++, b += PANEL_WIDTH) {
        VEC x[PANEL_ROWS];
        UNROLL for (int i = 0; i < m; i++) x[i] = v_all(a[i * g->a_row + p]);
        UNROLL for (int q = 0; q < places; q++) {
            UNROLL for (int v = 0; v < PANEL_NV; v += IN_LINE / LANES)
                __builtin_prefetch(b + q * step + v * LANES + PANEL_SOON);
            UNROLL for (int v = 0; v < PANEL_NV; v++) {
                const VEC b_now = v_load(b + q * step + v * LANES);
                UNROLL for (int i = 0; i < m; i++) ADD_PRODUCT(acc[i][q][v], x[i], b_now);
            }
        }
    }
    UNROLL for (int i = 0; i < m; i++) UNROLL for (int q = 0; q < places; q++)
        UNROLL for (int v = 0; v < PANEL_NV; v++)
            v_store(c + i * g->c_row + (q * PANEL_NV + v) * LANES, acc[i][q][v]);
}

#define PANELS_OF_ROWS(m, places)                                                                  \
    static void NAME(panels_of_##m##x##places)(const tn__gemm_panels *g, const T *b, T *c)         \
    {                                                                                              \
        NAME(panels_of_rows)(g, b, c, m, places);                                                  \
    }
PANELS_OF_ROWS(1, 2)
PANELS_OF_ROWS(1, 4)
#if PANEL_ROWS > 1
PANELS_OF_ROWS(2, 2)
PANELS_OF_ROWS(3, 2)
#endif
/* [rows - 1][places / 2 - 1]; NULL: there are too many sums */
static void (*const NAME(panels_of)[PANEL_ROWS][2])(const tn__gemm_panels *, const T *, T *) = {
    { NAME(panels_of_1x2), NAME(panels_of_1x4) },
#if PANEL_ROWS > 1
    { NAME(panels_of_2x2) }, { NAME(panels_of_3x2) },
#endif
};

static void NAME(panels)(const tn__gemm_panels *g)
{
    const int64_t width = PANEL_WIDTH;
    int64_t       j = 0;
    for (int64_t places = 4; places >= 2 && g->m <= PANEL_ROWS; places -= 2) {
        void (*const run)(const tn__gemm_panels *, const T *, T *) =
            NAME(panels_of)[g->m - 1][places / 2 - 1];
        for (; run && j + places * width <= g->n; j += places * width)
            run(g, (const T *)g->b + j * g->k, (T *)g->c + j);
    }
    for (; j < g->n; j += width)
        NAME(panel)(g, (const T *)g->b + j * g->k, (T *)g->c + j,
                    g->n - j < width ? g->n - j : width);
}
