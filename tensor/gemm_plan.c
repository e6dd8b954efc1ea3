/* Planning a product: folded and flipped forms first, then the tile, what is packed, and the
 * cuts. */
#include "tensor/gemm_plan.h"

#include <string.h>

enum {
    PAGE = 4096,
    KC_MOST = 512,          /* of a block of k */
    KB_LEAST = 1024,        /* of a superblock, where k goes so far */
    B_BYTES_MOST = 4 << 20, /* of B packed for all; more only for rounding */
    B_BYTES_LEAST = 1 << 20,
    ROW_BYTES_MOST = 1024,  /* of B where it lies */
    A_BYTES_MOST = 5 << 18, /* of A that a worker keeps packed */
    A_BYTES_NEAR = 5 << 17, /* of A, used where it lies, that may pass by for each panel */
    ROWS_MANY = 112,        /* for which it is worth it that B passes by from beyond L2 */
    FAR_PANELS = 8,         /* that are worth it to fetch A anew from far */
    TASK_WORK = 1 << 20,    /* floating-point operations that are worth a task */
};

/* The size of equal cuts of n, none over `most`, in whole units. */
static int64_t even(int64_t n, int64_t most, int64_t unit)
{
    if (n <= most) return n;
    return up(cuts(n, cuts(n, max(most / unit * unit, unit))), unit);
}

/* Drops batch dimensions of size 1, and makes rows of the last ones where one B serves them all and
 * A's and C's rows go on from one product to the next. */
static void fold_batch(tn__gemm_plan *p)
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
static void flip(tn__gemm_plan *p)
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
static bool is_spread(const tn__gemm_plan *p, const tn__caches *caches, int64_t stride, int64_t n)
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

static void choose_tile(tn__gemm_plan *p, const tn__caches *caches)
{
    const tn__gemm_kernels *kn = p->kernels;
    const tn_gemm          *g = &p->g;
    const bool              is_far = g->a_col != 1 && g->m * g->k * (int64_t)p->size > caches->l2;
    p->width = width_of(kn, g->n, is_far);
    p->mr = kn->rows(p->width);
    if (g->m <= p->mr) p->width = kn->width(g->m);
}

/* Columns of a panel as far as L1 is to hold it: wide ones may be larger, and come out of L2. */
static int64_t near_columns(const tn__gemm_plan *p)
{
    return p->g.m > p->mr ? p->kernels->nr : p->width;
}

/* Operands are used where they lie if the kernel can, nothing scales them, and they do not crowd
 * one place of L1: for B that matters less, since the tile asks for two lines at a time, which come
 * from L2 as fast. */
static void choose_direct(tn__gemm_plan *p, const tn__caches *caches)
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
static int64_t rows_in(const tn__gemm_plan *p, int64_t bytes)
{
    return bytes / (tn__gemm_a_row(p->kc, p->size) * (int64_t)p->size) / p->mr * p->mr;
}

/* Those that fill a quarter of L2. */
static int64_t rows_for_l2(const tn__gemm_plan *p, const tn__caches *caches)
{
    return max(rows_in(p, caches->l2 / 4), 4 * p->mr);
}

/* Rows of A that pass by at once, a block of k at a time, where a worker packs columns of B for
 * them. What is used where it lies may be more than L2 has room for: it is on its way in time, and
 * to pack B once more costs more. */
static int64_t rows_at_once(const tn__gemm_plan *p, const tn__caches *caches)
{
    return max(2 * rows_for_l2(p, caches), p->a_direct ? rows_in(p, A_BYTES_NEAR) : 0);
}

/* Whether these are all. */
static bool is_low(const tn__gemm_plan *p, const tn__caches *caches)
{
    return p->g.m <= rows_at_once(p, caches);
}

/* Whether a worker can keep all of A for its next columns. */
static bool is_short(const tn__gemm_plan *p)
{
    return p->g.m * p->g.k * (int64_t)p->size <= A_BYTES_MOST;
}

/* A wide product of few rows is better cut into columns: A is read, and packed, by every worker,
 * but B only once. */
static bool is_wide(const tn__gemm_plan *p, const tn__caches *caches)
{
    return p->g.n > p->g.m && is_low(p, caches) && is_short(p);
}

/* Workers that each pack columns of B need not wait for one another, nor fetch from the last cache
 * what others have packed. But all of A comes to each, so these columns must be enough; and where A
 * is packed, each does that anew for each cut of the columns. */
static bool packs_alone(const tn__gemm_plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    const int64_t  each = g->n / threads / p->width; /* panels of a worker */
    const bool     pays = p->a_direct ? each >= 2 : each >= 4 && each <= 2 * FAR_PANELS;
    return is_wide(p, caches) || (pays && is_low(p, caches) && (g->n > g->m || g->k >= g->m));
}

/* Columns that the busiest thread computes if n are cut by nt, and the rows as planned. */
static int64_t busiest(const tn__gemm_plan *p, int64_t n, int64_t nt, int threads)
{
    return cuts(p->n_rows * cuts(n, nt), threads) * nt;
}

/* Cuts m x n into rectangles: A's rows and C's rectangle fit L2, all threads get as much to do as
 * far as the sizes allow, and in more pieces than threads, that who is late may be helped. Where no
 * task packs B, more rows are the cheaper pieces; else more columns, for which A is packed once. */
static void cut(tn__gemm_plan *p, const tn__caches *caches, int threads, int64_t n)
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
static void plan_own(tn__gemm_plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    cut(p, caches, threads, g->n);
    p->kb = g->k;
    p->group = min(1 + TASK_WORK / 2 / (p->mt * p->nt * max(g->k, 1)),
                   cuts(p->n_batch, 8 * threads));
    if (p->n_rows * p->n_cols > 1) p->group = 1;
}

/* B is packed once for all, in superblocks that fit the last cache. */
static void plan_shared(tn__gemm_plan *p, const tn__caches *caches, int threads)
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
static bool is_worth_sharing(const tn__gemm_plan *p, const tn__caches *caches, int threads)
{
    const tn_gemm *g = &p->g;
    const int64_t  work = g->m * g->n * max(g->k, 1);
    return !p->b_direct && !packs_alone(p, caches, threads) && g->m >= 8 * p->kernels->mr &&
           g->k > 16 && g->n > p->width && work >= (p->n_batch == 1 ? 2 : 16) * TASK_WORK;
}

/* Each term grows with m, n and k, and is no less than what a plan can ask for. */
size_t tn__gemm_plan_bound(const tn__gemm_plan *p, const tn_ctx *ctx)
{
    const tn_gemm *g = &p->g;
    const int64_t  l2 = tn__ctx_caches(ctx).l2, threads = tn_ctx_threads(ctx);
    const int64_t  mr = p->kernels->mr, lanes = p->kernels->lanes, size = (int64_t)p->size;
    const int64_t  kc = min(g->k, KC_MOST), slab = (4 * TN__GEMM_SLAB + 1) * lanes;
    const int64_t  a_most = max(A_BYTES_MOST, l2 / 2 + /* cut() takes twice rows_for_l2 */
                                9 * mr * tn__gemm_a_row(KC_MOST, p->size) * size);
    const int64_t  a = min(a_most, up(g->m + mr, mr) * (2 * g->k + 64) * size);
    const int64_t  b = min(up(g->n, lanes) + lanes, slab) * kc * size;
    const int64_t  b_most = 2 * B_BYTES_MOST + 2 * slab * (KB_LEAST + KC_MOST) * size;
    const int64_t  can_share = g->m >= 4 * mr;
    const int64_t  shared = can_share * min(b_most, (g->n + slab) * (g->k + KC_MOST) * size);
    return (size_t)(up(shared, LINE) + threads * (3 * LINE + up(a, LINE) + up(b, LINE)));
}

/* The block of k. A panel may be larger than L1, as it comes out of L2 as fast; then there are
 * fewer tiles, and fewest if k is not cut at all. Where columns of A are packed, L2 has enough to
 * do: their rows in memory may all be at a few places of it. */
static void choose_depth(tn__gemm_plan *p, const tn__caches *caches)
{
    const tn_gemm *g = &p->g;
    const int64_t  room = g->a_col == 1 ? caches->l1d * 3 / 2 : caches->l1d * 2 / 3;
    const int64_t  fit = room / (near_columns(p) * (int64_t)p->size);
    p->kc = even(g->k, min(max(g->k <= fit * 4 / 3 ? g->k : fit, 32), KC_MOST), 4);
}

/* What a worker packs. */
static void measure(tn__gemm_plan *p)
{
    const int64_t size = (int64_t)p->size, blocks = cuts(p->kb, max(p->kc, 1));
    const int64_t lanes = p->kernels->lanes, slab = tn__gemm_slab(p->width, lanes);
    const bool    packs_b = !p->is_shared && !p->b_direct;
    const int64_t b = up((min(up(p->nt, lanes), slab) + lanes) * p->kc * size, LINE);
    p->a_block = up(p->mt * tn__gemm_a_row(p->kc, p->size) * size, LINE);
    p->a_keeps = p->n_cols > 1 && p->a_block * blocks <= A_BYTES_MOST;
    p->a_bytes = p->a_direct ? 0 : (size_t)(p->a_block * (p->a_keeps ? blocks : 1));
    p->own_bytes = LINE + p->a_bytes + (packs_b ? (size_t)b : 0);
}

void tn__gemm_plan_make(tn__gemm_plan *p, const tn_ctx *ctx, const tn_gemm *g)
{
    const tn__caches caches = tn__ctx_caches(ctx);
    const int        threads = tn_ctx_threads(ctx);
    *p = (tn__gemm_plan){ .g = *g, .size = tn_dtype_size(g->dtype), .a_scale = g->alpha,
                          .b_scale = 1, .kernels = kernels_of(ctx, g->dtype), .n_batch = 1 };
    fold_batch(p);
    flip(p);
    for (int i = 0; i < p->g.batch_rank; i++) p->n_batch *= p->g.batch_dim[i];
    if (p->n_batch == 0 || p->g.m == 0 || p->g.n == 0) return;
    choose_tile(p, &caches);
    choose_depth(p, &caches);
    choose_direct(p, &caches);
    if (is_worth_sharing(p, &caches, threads))
        plan_shared(p, &caches, threads);
    else
        plan_own(p, &caches, threads);
    measure(p);
}
