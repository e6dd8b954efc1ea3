/* The matrix product: planning, blocking and threads; the kernels do the arithmetic.
 *
 * C is cut in rectangles, each computed by one task: for every block of kc values of k, A's rows
 * are packed (or used where they lie) for L2, B's columns come in panels for L1, and the epilogue
 * runs on the rectangle after the last block. Large products pack B first, shared by all tasks, in
 * superblocks of kb x nb; tasks of small ones, and of those with few rows, pack what they need by
 * themselves. Each element of C is one chain over k whatever the cut, so plans differ in speed
 * only. */
#include "tensor/gemm.h"

#include "tensor/gemm_plan.h"
#include "tensor/gemm_stream.h"

#include <string.h>

enum {
    PAGE = 4096,
    KC_MOST = 512,         /* of a block of k */
    KB_LEAST = 1024,       /* of a superblock, where k goes so far */
    B_BYTES_MOST = 4 << 20, /* of B packed for all; more only for rounding */
    B_BYTES_LEAST = 1 << 20,
    ROW_BYTES_MOST = 1024, /* of B where it lies */
    A_BYTES_MOST = 5 << 18, /* of A that a worker keeps packed */
    A_BYTES_NEAR = 5 << 17, /* of A, used where it lies, that may pass by for each panel */
    ROWS_MANY = 112,       /* for which it is worth it that B passes by from beyond L2 */
    FAR_PANELS = 8,        /* that are worth it to fetch A anew from far */
    TASK_WORK = 1 << 20,   /* floating-point operations that are worth a task */
    NEAR_BYTES = 1 << 13,  /* of C, that stay in L1 until their epilogue */
};

typedef struct plan {
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
} plan;

/* What a worker keeps packed, so that its next task may use it again: of A either all blocks of k
 * so far, up to a_end, or the last one. */
typedef struct worker_state {
    int64_t     a_key, a_end;
    const void *fetched; /* the block of A that is on its way into L2 */
} worker_state;

/* At the head of scratch: tasks may outlast tn__gemm_run. */
typedef struct run {
    plan    plan;
    char   *shared, *own;
    int64_t batch, j0, j1, k0, k1; /* the superblock at hand (shared), else of all */
} run;

enum { RUN_BYTES = (sizeof(run) + LINE - 1) / LINE * LINE };

/* ---- arithmetic -------------------------------------------------------------------------- */

/* The size of equal cuts of n, none over `most`, in whole units. */
static int64_t even(int64_t n, int64_t most, int64_t unit)
{
    if (n <= most) return n;
    return up(cuts(n, cuts(n, max(most / unit * unit, unit))), unit);
}

static const void *at(const void *p, int64_t element, size_t size)
{
    return (const char *)p + element * (int64_t)size;
}

/* Cuts of n columns by tn__gemm_cut_end. */
static int64_t col_cuts(const plan *p, int64_t n, int64_t size)
{
    return max(cuts(n - p->kernels->lanes, size), 1);
}

static int64_t col_end(const plan *p, int64_t j, int64_t size, int64_t n)
{
    return tn__gemm_cut_end(j, size, n, p->kernels->lanes);
}

/* Where the rectangles of a row begin. */
static int64_t row_at(const plan *p, int64_t row)
{
    return min(p->strips * row / p->n_rows * p->mr, p->g.m);
}

/* ---- planning ---------------------------------------------------------------------------- */

/* Drops batch dimensions of size 1, and makes rows of the last ones where one B serves them all and
 * A's and C's rows go on from one product to the next. */
static void fold_batch(plan *p)
{
    tn_gemm *g = &p->g;
    int      rank = 0;
    p->fold = g->m;
    for (int i = 0; i < g->batch_rank; i++) {
        if (g->batch_dim[i] == 1) continue;
        g->batch_dim[rank] = g->batch_dim[i];
        g->a_batch[rank] = g->a_batch[i];
        g->b_batch[rank] = g->b_batch[i];
        g->c_batch[rank++] = g->c_batch[i];
    }
    for (; rank > 0; rank--) {
        int i = rank - 1;
        if (g->b_batch[i] != 0 || g->a_batch[i] != g->m * g->a_row ||
            g->c_batch[i] != g->m * g->c_row)
            break;
        g->m *= g->batch_dim[i];
    }
    g->batch_rank = rank;
}

/* A single column that lies like a row is computed as one. */
static void flip(plan *p)
{
    tn_gemm *g = &p->g, old = p->g;
    if (g->n != 1 || g->m == 1 || g->c_row != 1) return;
    p->is_flipped = true;
    g->m = 1, g->n = old.m;
    g->a = old.b, g->a_row = old.b_col, g->a_col = old.b_row;
    g->b = old.a, g->b_row = old.a_col, g->b_col = old.a_row;
    g->c_row = old.m;
    memcpy(g->a_batch, old.b_batch, sizeof g->a_batch);
    memcpy(g->b_batch, old.a_batch, sizeof g->b_batch);
    p->a_scale = 1;
    p->b_scale = g->alpha;
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b, b = r;
    }
    return a;
}

/* Whether n rows, `stride` elements apart, spread well over the sets of an L1 whose ways are a page
 * each: they take no more than two thirds of the ways at any place. */
static bool is_spread(const plan *p, const tn__caches *caches, int64_t stride, int64_t n)
{
    int64_t bytes = stride * (int64_t)p->size;
    return n * gcd(bytes < 0 ? -bytes : bytes, PAGE) <= caches->l1d * 2 / 3;
}

/* Columns of a panel for many rows. Wide ones have the better tiles, but shorter strips: which is
 * not worth it where these come from far, by columns of A, for two panels, or where a good part of
 * n would be left to panels of one vector or two. */
static int64_t width_of(const tn__gemm_kernels *kn, int64_t n, bool is_far)
{
    const int64_t vectors = cuts(n, kn->lanes), wide = kn->nr_wide / kn->lanes;
    if (wide == 0 || vectors <= kn->nr / kn->lanes) return kn->nr;
    if (is_far && vectors <= 2 * wide) return kn->nr;
    if (vectors == wide * 3 / 2) return kn->nr_wide * 3 / 2;
    const bool is_even = vectors % wide == 0 || vectors % wide == wide - 1;
    return is_even || vectors > 3 * wide ? kn->nr_wide : kn->nr;
}

static void choose_tile(plan *p, const tn__caches *caches)
{
    const tn__gemm_kernels *kn = p->kernels;
    const tn_gemm          *g = &p->g;
    const bool              is_far = g->a_col != 1 && g->m * g->k * (int64_t)p->size > caches->l2;
    p->width = width_of(kn, g->n, is_far);
    p->mr = kn->rows(p->width);
    if (g->m <= p->mr) p->width = kn->width(g->m);
}

/* Columns of a panel as far as L1 is to hold it: wide ones may be larger, and come out of L2. */
static int64_t near_columns(const plan *p)
{
    return p->g.m > p->mr ? p->kernels->nr : p->width;
}

/* Operands are used where they lie if the kernel can, nothing scales them, and they do not crowd
 * one place of L1: for B that matters less, since the tile asks for two lines at a time, which come
 * from L2 as fast. */
static void choose_direct(plan *p, const tn__caches *caches)
{
    const tn_gemm          *g = &p->g;
    const tn__gemm_kernels *kn = p->kernels;
    const int64_t           size = (int64_t)p->size;
    const int64_t           few = 2 * near_columns(p);
    const bool a_rows = g->a_col == 1 && g->a_row != 0 && kn->has_rows(p->width) &&
                        (g->n <= few || is_spread(p, caches, g->a_row, p->mr));
    const bool a_cols = g->a_row == 1 && g->a_col != 0 &&
                        (g->n <= few || is_spread(p, caches, g->a_col, min(g->k, p->kc)));
    p->a_direct = p->a_scale == 1 && (a_rows || a_cols);
    p->b_direct = p->b_scale == 1 && g->b_col == 1 && g->b_row != 0 &&
                  (g->n % kn->lanes == 0 || kn->has_part_loads) &&
                  (g->m <= 2 * kn->mr || g->b_row * size <= ROW_BYTES_MOST);
}

/* Rows of A, in whole strips, of which a packed block of k takes so many bytes at most. */
static int64_t rows_in(const plan *p, int64_t bytes)
{
    return bytes / (tn__gemm_a_row(p->kc, p->size) * (int64_t)p->size) / p->mr * p->mr;
}

/* Those that fill a quarter of L2. */
static int64_t rows_for_l2(const plan *p, const tn__caches *caches)
{
    return max(rows_in(p, caches->l2 / 4), 4 * p->mr);
}

/* Rows of A that pass by at once, a block of k at a time, where a worker packs columns of B for
 * them. What is used where it lies may be more than L2 has room for: it is on its way in time, and
 * to pack B once more costs more. */
static int64_t rows_at_once(const plan *p, const tn__caches *caches)
{
    return max(2 * rows_for_l2(p, caches), p->a_direct ? rows_in(p, A_BYTES_NEAR) : 0);
}

/* Whether these are all. */
static bool is_low(const plan *p, const tn__caches *caches)
{
    return p->g.m <= rows_at_once(p, caches);
}

/* Whether a worker can keep all of A for its next columns. */
static bool is_short(const plan *p)
{
    return p->g.m * p->g.k * (int64_t)p->size <= A_BYTES_MOST;
}

/* A wide product of few rows is better cut into columns: A is read, and packed, by every worker,
 * but B only once. */
static bool is_wide(const plan *p, const tn__caches *caches)
{
    return p->g.n > p->g.m && is_low(p, caches) && is_short(p);
}

/* Workers that each pack columns of B need not wait for one another, nor fetch from the last cache
 * what others have packed. But all of A comes to each, so these columns must be enough; and where A
 * is packed, each does that anew for each cut of the columns. */
static bool packs_alone(const plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    const int64_t  each = g->n / threads / p->width; /* panels of a worker */
    const bool     pays = p->a_direct ? each >= 2 : each >= 4 && each <= 2 * FAR_PANELS;
    return is_wide(p, caches) || (pays && is_low(p, caches) && (g->n > g->m || g->k >= g->m));
}

/* Columns that the busiest thread computes if n are cut by nt, and the rows as planned. */
static int64_t busiest(const plan *p, int64_t n, int64_t nt, int threads)
{
    return cuts(p->n_rows * cuts(n, nt), threads) * nt;
}

/* Cuts m x n into rectangles: A's rows and C's rectangle fit L2, all threads get as much to do as
 * far as the sizes allow, and in more pieces than threads, that who is late may be helped. Where no
 * task packs B, more rows are the cheaper pieces; else more columns, for which A is packed once. */
static void cut(plan *p, const tn__caches *caches, int threads, int64_t n)
{
    const tn_gemm *g = &p->g;
    const int64_t  mr = p->mr, size = (int64_t)p->size, k = max(g->k, 1);
    const int64_t  least = max(g->m > p->kernels->mr ? 0 : 2 * p->width, 64);
    /* A that a worker does not keep passes by again for each cut of the columns */
    const int64_t  narrow = is_short(p) ? least
                                        : max(least, min(FAR_PANELS * p->width, n / threads));
    const int64_t  products = p->is_shared ? 1 : p->n_batch;
    const int64_t  worth = max(g->m * n * k / TASK_WORK, 1);
    const int64_t  wanted = threads > 1 && products < 3 * threads
                                ? min(cuts(3 * threads, products), worth) : 1;
    const bool     by_rows = p->is_shared || (p->b_direct && !is_wide(p, caches));
    const bool     is_near = k * n * size <= caches->l2 / 2; /* B, time and again */
    const int64_t  many = max(g->m / (is_near ? ROWS_MANY / 2 : ROWS_MANY), 1);
    int64_t        rows = cuts(g->m, by_rows ? rows_for_l2(p, caches) : rows_at_once(p, caches));
    if (by_rows) rows = max(rows, min(wanted, threads));
    if (by_rows && !p->a_direct) /* or A would be packed once more for each cut of the columns */
        rows = max(rows, min(cuts(g->m * n * size, caches->l2 / 2), many));
    int64_t cols = cuts(n, max(caches->l2 / 2 / cuts(g->m, rows) / size, narrow));
    if (by_rows && rows * cols < wanted) rows = max(rows, min(cuts(wanted, cols), many));
    if (by_rows && wanted > 1 && rows * cols % threads) rows = up(rows, threads);
    if (rows * cols < (by_rows ? min(wanted, threads) : wanted))
        cols = max(cols, min(cuts(wanted, rows), n / narrow));
    if (wanted > 1 && cols > 1 && rows % threads) cols = up(cols, threads);
    p->strips = cuts(g->m, mr);
    p->n_rows = min(rows, p->strips);
    p->mt = min(cuts(p->strips, p->n_rows) * mr, g->m);
    p->nt = even(n, cuts(n, cols), p->width);
    /* fewer, where they come out more even */
    const int64_t wider = min(n, up(cuts(n, cols), p->width));
    if (busiest(p, n, wider, threads) < busiest(p, n, p->nt, threads)) p->nt = wider;
    p->n_cols = col_cuts(p, n, p->nt);
}

/* Small products, and those of which no column of B is used twice: a task packs what it needs. */
static void plan_own(plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    cut(p, caches, threads, g->n);
    p->kb = g->k;
    p->group = min(1 + TASK_WORK / 2 / (p->mt * p->nt * max(g->k, 1)),
                   cuts(p->n_batch, 8 * threads));
    if (p->n_rows * p->n_cols > 1) p->group = 1;
}

/* B is packed once for all, in superblocks that fit the last cache. */
static void plan_shared(plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    const int64_t  size = (int64_t)p->size;
    const int64_t  most = min(max(caches->l3 / 4, B_BYTES_LEAST), B_BYTES_MOST) / size;
    p->is_shared = true;
    p->kb = even(g->k, max(KB_LEAST, most / g->n), p->kc);
    p->nb = even(g->n, max(most / p->kb, 4 * p->width), p->width);
    cut(p, caches, threads, p->nb);
    p->shared_bytes = (size_t)up(p->kb * (up(p->nb, p->kernels->lanes) + p->kernels->lanes) * size,
                                 LINE);
}

/* Packing B once for all pays where its columns would be packed for many rows time and again, and
 * waiting for the last slab is short beside the product. */
static bool is_worth_sharing(const plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    const int64_t  work = g->m * g->n * max(g->k, 1);
    return !p->b_direct && !packs_alone(p, caches, threads) && g->m >= 8 * p->kernels->mr &&
           g->k > 16 && g->n > p->width && work >= (p->n_batch == 1 ? 2 : 16) * TASK_WORK;
}

/* Scratch for any product of these strides that is not larger in any direction: callers measure
 * once and then run on fewer rows. Each term grows with m, n and k, and is no less than what a plan
 * can ask for. */
static size_t bound(const plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    const int64_t  mr = p->kernels->mr, lanes = p->kernels->lanes, size = (int64_t)p->size;
    const int64_t  kc = min(g->k, KC_MOST), slab = (4 * TN__GEMM_SLAB + 1) * lanes;
    const int64_t  a_most = max(A_BYTES_MOST, caches->l2 / 2 + /* cut() takes twice rows_for_l2 */
                                9 * mr * tn__gemm_a_row(KC_MOST, p->size) * size);
    const int64_t  a = min(a_most, up(g->m + mr, mr) * (2 * g->k + 64) * size);
    const int64_t  b = min(up(g->n, lanes) + lanes, slab) * kc * size;
    const int64_t  b_most = 2 * B_BYTES_MOST + 2 * slab * (KB_LEAST + KC_MOST) * size;
    const int64_t  can_share = g->m >= 4 * mr;
    const int64_t  shared = can_share * min(b_most, (g->n + slab) * (g->k + KC_MOST) * size);
    return (size_t)(up(shared, LINE) + threads * (3 * LINE + up(a, LINE) + up(b, LINE)));
}

static void make_plan(plan *p, const tn_ctx *ctx, const tn_gemm *g)
{
    const tn__caches caches = tn__ctx_caches(ctx);
    const int        threads = tn_ctx_threads(ctx);
    *p = (plan){ .g = *g, .size = tn_dtype_size(g->dtype), .a_scale = g->alpha, .b_scale = 1 };
    p->kernels = kernels_of(ctx, g->dtype);
    fold_batch(p);
    flip(p);
    p->n_batch = 1;
    for (int i = 0; i < p->g.batch_rank; i++) p->n_batch *= p->g.batch_dim[i];
    if (p->n_batch == 0 || p->g.m == 0 || p->g.n == 0) return;

    const int64_t size = (int64_t)p->size;
    choose_tile(p, &caches);
    /* a panel may be larger than L1, as it comes out of L2 as fast; then there are fewer tiles, and
     * fewest if k is not cut at all. Where columns of A are packed, L2 has enough to do: their rows
     * in memory may all be at a few places of it. */
    const int64_t room = p->g.a_col == 1 ? caches.l1d * 3 / 2 : caches.l1d * 2 / 3;
    const int64_t fit = room / (near_columns(p) * size);
    p->kc = even(p->g.k, min(max(p->g.k <= fit * 4 / 3 ? p->g.k : fit, 32), KC_MOST), 4);
    choose_direct(p, &caches);
    if (is_worth_sharing(p, &caches, threads))
        plan_shared(p, &caches, threads);
    else
        plan_own(p, &caches, threads);

    p->a_block = up(p->mt * tn__gemm_a_row(p->kc, p->size) * size, LINE);
    p->a_keeps = p->n_cols > 1 && p->a_block * cuts(p->kb, max(p->kc, 1)) <= A_BYTES_MOST;
    size_t a = p->a_direct ? 0 : (size_t)(p->a_block * (p->a_keeps ? cuts(p->kb, p->kc) : 1));
    const int64_t lanes = p->kernels->lanes, slab = tn__gemm_slab(p->width, p->kernels->lanes);
    size_t b = p->is_shared || p->b_direct
                   ? 0
                   : (size_t)up((min(up(p->nt, lanes), slab) + lanes) * p->kc * size, LINE);
    p->a_bytes = a;
    p->own_bytes = LINE + a + b;
}

/* ---- tasks ------------------------------------------------------------------------------- */

/* The epilogue in the caller's terms: flips back, and cuts folded rows into their products. */
static void emit(const plan *p, int64_t batch, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                 int worker)
{
    const tn_gemm *g = &p->g;
    const bool     flips = p->is_flipped;
    const int64_t  end = flips ? j1 : i1, col0 = flips ? i0 : j0, col1 = flips ? i1 : j1;
    const int64_t  folded = (flips ? g->n : g->m) / p->fold;
    if (!g->epilogue) return;
    for (int64_t row = flips ? j0 : i0, next; row < end; row = next) {
        const int64_t n = row / p->fold, first = n * p->fold;
        next = min(end, first + p->fold);
        g->epilogue(g->epilogue_arg, batch * folded + n, row - first, next - first, col0, col1,
                    worker);
    }
}

/* The operands of product number `batch`. */
static void operands(const plan *p, int64_t batch, const void **a, const void **b, void **c)
{
    const tn_gemm *g = &p->g;
    int64_t        ao = 0, bo = 0, co = 0;
    for (int i = g->batch_rank - 1; i >= 0; i--) {
        int64_t x = batch % g->batch_dim[i];
        batch /= g->batch_dim[i];
        ao += x * g->a_batch[i], bo += x * g->b_batch[i], co += x * g->c_batch[i];
    }
    *a = at(g->a, ao, p->size), *b = at(g->b, bo, p->size);
    *c = (void *)at(g->c, co, p->size);
}

static worker_state *state_of(const run *r, int worker)
{
    return (worker_state *)(r->own + (size_t)worker * r->plan.own_bytes);
}

/* Puts A's rows [i0, i0 + x->m) at k0 in x: where they lie, or in a buffer, where they may be. */
static void use_a(const run *r, tn__gemm_block *x, int worker, const void *a, int64_t batch,
                  int64_t i0, int64_t k0)
{
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    worker_state  *state = state_of(r, worker);
    const int64_t  first = p->a_keeps ? r->k0 : k0; /* of the blocks that are kept */
    const int64_t  key = 1 + (batch * g->m + i0) * (g->k + 1) + first;
    x->a = at(a, i0 * g->a_row + k0 * g->a_col, p->size);
    x->a_row = g->a_row, x->a_col = g->a_col, x->a_scale = p->a_scale;
    if (p->a_direct) return;
    if (state->a_key != key) state->a_key = key, state->a_end = first;
    x->a_packed = (char *)state + LINE + (k0 - first) / max(p->kc, 1) * p->a_block;
    x->has_packed_a = k0 < state->a_end;
    state->a_end = max(state->a_end, k0 + x->k);
}

/* The same for B's columns [j0, j0 + x->n), which may have been packed for all. */
static void use_b(const run *r, tn__gemm_block *x, int worker, const void *b, int64_t j0,
                  int64_t k0)
{
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    x->b = at(b, k0 * g->b_row + j0 * g->b_col, p->size);
    x->b_row = g->b_row, x->b_col = g->b_col, x->b_scale = p->b_scale;
    if (p->is_shared) {
        const int64_t width = up(r->j1 - r->j0, p->kernels->lanes);
        x->b_packed = (void *)at(r->shared, (k0 - r->k0) * width + (j0 - r->j0) * x->k, p->size);
        x->has_packed_b = true;
    } else if (!p->b_direct) {
        x->b_packed = (char *)state_of(r, worker) + LINE + p->a_bytes;
        x->next_b = k0 + x->k < r->k1 ? at(x->b, x->k * g->b_row, p->size) : NULL;
    }
}

/* What follows the block at k0 of a row of rectangles, if it is not there yet: the next of it, or
 * the first of the worker's next row. */
static void use_next_a(const run *r, tn__gemm_block *x, int worker, const void *a, int64_t row,
                       int64_t next_row, int64_t k0)
{
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    worker_state  *state = state_of(r, worker);
    const int64_t  k1 = k0 + x->k;
    const bool     is_last = k1 == r->k1;
    x->is_near = state->fetched == x->a;
    x->next_a = NULL;
    if (is_last ? next_row == row : p->a_keeps && k1 < state->a_end) return;
    const int64_t next = is_last ? next_row : row, k = is_last ? r->k0 : k1;
    const int64_t i = row_at(p, next);
    x->next_m = row_at(p, next + 1) - i, x->next_k = min(p->kc, r->k1 - k);
    x->next_a = state->fetched = at(a, i * g->a_row + k * g->a_col, p->size);
}

/* One rectangle of C over the k of the run, from column j0 on. The worker's next one is likely to
 * be in next_row. */
static void rectangle(const run *r, int64_t batch, int64_t row, int64_t j0, int64_t next_row,
                      int worker)
{
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    const void    *a, *b;
    void          *c;
    operands(p, batch, &a, &b, &c);
    const int64_t  i0 = row_at(p, row);
    tn__gemm_block x = { .m = row_at(p, row + 1) - i0, .n = col_end(p, j0, p->nt, r->j1) - j0,
                         .c_row = g->c_row, .width = p->width };
    x.c = (void *)at(c, i0 * g->c_row + j0, p->size);
    int64_t k0 = r->k0;
    do {
        x.k = min(p->kc, r->k1 - k0);
        x.beta = k0 == 0 ? g->beta : 1;
        use_a(r, &x, worker, a, batch, i0, k0);
        use_b(r, &x, worker, b, j0, k0);
        use_next_a(r, &x, worker, a, row, next_row, k0);
        p->kernels->block(&x);
        k0 += x.k;
    } while (k0 < r->k1);
    if (k0 == g->k) emit(p, batch, i0, i0 + x.m, j0, j0 + x.n, worker);
}

/* Whether a task has products as a whole, each in one block, A where it lies. */
static bool has_whole_products(const plan *p)
{
    const tn_gemm *g = &p->g;
    return p->kernels->blocks && g->batch_rank > 0 && p->n_rows * p->n_cols == 1 &&
           g->k <= p->kc && p->a_direct && g->m <= TN__GEMM_FEW_STRIPS * p->mr &&
           (p->b_direct || g->n <= tn__gemm_slab(p->width, p->kernels->lanes));
}

/* Products [first, end) of such a task. */
static void whole_products(const run *r, int64_t first, int64_t end, int worker)
{
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    const int      last = g->batch_rank - 1;
    const int64_t  bytes = max(g->m * g->n * (int64_t)p->size, 1);
    const int64_t  most = g->epilogue ? max(NEAR_BYTES / bytes, 1) : end;
    for (int64_t batch = first, n; batch < end; batch += n) {
        const void *a, *b;
        void       *c;
        n = min(min(end - batch, most), g->batch_dim[last] - batch % g->batch_dim[last]);
        operands(p, batch, &a, &b, &c);
        tn__gemm_block x = { .m = g->m, .n = g->n, .k = g->k, .a = a, .b = b, .c = c,
                             .a_row = g->a_row, .a_col = g->a_col, .b_row = g->b_row,
                             .b_col = g->b_col, .b_scale = p->b_scale, .c_row = g->c_row,
                             .width = p->width, .beta = g->beta };
        if (!p->b_direct) x.b_packed = (char *)state_of(r, worker) + LINE + p->a_bytes;
        p->kernels->blocks(&x, n, g->a_batch[last], g->b_batch[last], g->c_batch[last]);
        for (int64_t i = batch; i < batch + n; i++) emit(p, i, 0, g->m, 0, g->n, worker);
    }
}

static void own_task(void *arg, int64_t task, int worker)
{
    const run    *r = arg;
    const plan   *p = &r->plan;
    const int64_t each = p->n_rows * p->n_cols, rest = task % each;
    const int64_t first = task / each * p->group, end = min(first + p->group, p->n_batch);
    const int64_t next = min(rest + 1, each - 1) / p->n_cols;
    if (has_whole_products(p)) {
        whole_products(r, first, end, worker);
        return;
    }
    for (int64_t batch = first; batch < end; batch++)
        rectangle(r, batch, rest / p->n_cols, rest % p->n_cols * p->nt, next, worker);
}

static void shared_task(void *arg, int64_t task, int worker)
{
    const run    *r = arg;
    const plan   *p = &r->plan;
    const int64_t n_cols = col_cuts(p, r->j1 - r->j0, p->nt);
    const int64_t next = min((task + 1) / n_cols, p->n_rows - 1);
    rectangle(r, r->batch, task / n_cols, r->j0 + task % n_cols * p->nt, next, worker);
}

/* One slab of the superblock, of one block of k. */
static void pack_task(void *arg, int64_t task, int worker)
{
    const run     *r = arg;
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    const int64_t  slab = tn__gemm_slab(p->width, p->kernels->lanes);
    const int64_t  slabs = col_cuts(p, r->j1 - r->j0, slab);
    const int64_t  j = r->j0 + task % slabs * slab, k0 = r->k0 + task / slabs * p->kc;
    const int64_t  n = col_end(p, j, slab, r->j1) - j, k = min(p->kc, r->k1 - k0);
    const int64_t  width = up(r->j1 - r->j0, p->kernels->lanes);
    const void    *a, *b;
    void          *c;
    (void)worker;
    operands(p, r->batch, &a, &b, &c);
    p->kernels->pack_b((void *)at(r->shared, (k0 - r->k0) * width + (j - r->j0) * k, p->size),
                       at(b, k0 * g->b_row + j * g->b_col, p->size), g->b_row, g->b_col, n, k,
                       p->width, p->b_scale);
}

static void run_shared(tn_ctx *ctx, run *r)
{
    const plan    *p = &r->plan;
    const tn_gemm *g = &p->g;
    for (r->batch = 0; r->batch < p->n_batch; r->batch++)
        for (r->j0 = 0; r->j0 < g->n; r->j0 = r->j1)
            for (r->k0 = 0; r->k0 < g->k; r->k0 = r->k1) {
                r->j1 = col_end(p, r->j0, p->nb, g->n);
                r->k1 = min(g->k, r->k0 + p->kb);
                const int64_t n = r->j1 - r->j0, slab = tn__gemm_slab(p->width, p->kernels->lanes);
                tn_parallel_for(ctx, col_cuts(p, n, slab) * cuts(r->k1 - r->k0, p->kc), pack_task,
                                r);
                const int64_t tasks = p->n_rows * col_cuts(p, n, p->nt);
                const bool is_last = r->batch + 1 == p->n_batch && r->j1 == g->n && r->k1 == g->k;
                tn__parallel_for(ctx, tasks, shared_task, r, is_last && g->leaves);
                if (is_last) return; /* r stays as it is */
            }
}

/* ---- BLIS -------------------------------------------------------------------------------- */

#if defined TN_BLIS

/* Of cblas.h, whose place differs from system to system. */
enum { CBLAS_ROW_MAJOR = 101, CBLAS_AS_IS = 111, CBLAS_TRANSPOSED = 112 };
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a,
                 int lda, const double *b, int ldb, double beta, double *c, int ldc);

/* How BLAS calls a matrix of rows x cols with these strides; false if it can't. */
static bool blas_form(int64_t row, int64_t col, int64_t rows, int64_t cols, int *form, int *ld)
{
    const bool    as_is = col == 1 && row >= max(cols, 1);
    const int64_t stride = as_is ? row : col;
    if (!as_is && !(row == 1 && col >= max(rows, 1))) return false;
    *form = as_is ? CBLAS_AS_IS : CBLAS_TRANSPOSED, *ld = (int)stride;
    return stride <= INT32_MAX;
}

static bool run_blis(const plan *p)
{
    const tn_gemm *g = &p->g;
    const int      m = (int)g->m, n = (int)g->n, k = (int)g->k;
    int            ta, tb, lda, ldb, ldc = (int)g->c_row;
    if (p->is_flipped || max(max(g->m, g->n), max(g->k, g->c_row)) > INT32_MAX || g->c_row < g->n ||
        !blas_form(g->a_row, g->a_col, g->m, g->k, &ta, &lda) ||
        !blas_form(g->b_row, g->b_col, g->k, g->n, &tb, &ldb))
        return false;
    for (int64_t batch = 0; batch < p->n_batch; batch++) {
        const void *a, *b;
        void       *c;
        operands(p, batch, &a, &b, &c);
        if (g->dtype == TN_F64)
            cblas_dgemm(CBLAS_ROW_MAJOR, ta, tb, m, n, k, g->alpha, a, lda, b, ldb, g->beta, c,
                        ldc);
        else
            cblas_sgemm(CBLAS_ROW_MAJOR, ta, tb, m, n, k, (float)g->alpha, a, lda, b, ldb,
                        (float)g->beta, c, ldc);
        emit(p, batch, 0, g->m, 0, g->n, 0);
    }
    return true;
}

#endif

/* ---- the library's functions ------------------------------------------------------------- */

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

size_t tn__gemm_scratch(const tn_ctx *ctx, const tn_gemm *g)
{
    const tn__caches caches = tn__ctx_caches(ctx);
    plan             p;
    make_plan(&p, ctx, g);
    return max_size(RUN_BYTES + bound(&p, &caches, tn_ctx_threads(ctx)),
                    tn__gemm_stream_scratch(ctx, g));
}

void tn__gemm_run(tn_ctx *ctx, const tn_gemm *g, void *scratch)
{
    if (tn__gemm_streams(ctx, g)) {
        tn__gemm_stream_run(ctx, g, scratch);
        return;
    }
    run  *r = scratch;
    plan *p = &r->plan;
    make_plan(p, ctx, g);
    if (p->n_batch == 0 || p->g.m == 0 || p->g.n == 0) return;
#if defined TN_BLIS
    if (run_blis(p)) return;
#endif
    r->shared = (char *)scratch + RUN_BYTES, r->own = r->shared + p->shared_bytes;
    r->batch = r->j0 = r->k0 = 0, r->j1 = p->g.n, r->k1 = p->g.k;
    for (int w = 0; w < tn_ctx_threads(ctx); w++) *state_of(r, w) = (worker_state){ 0 };
    if (p->is_shared)
        run_shared(ctx, r);
    else
        tn__parallel_for(ctx, cuts(p->n_batch, p->group) * p->n_rows * p->n_cols, own_task, r,
                         g->leaves);
}
