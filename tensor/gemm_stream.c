/* Planning products of few rows: who streams which columns; see kernels/gemm_stream.h for the
 * work. */
#include "tensor/gemm_stream.h"

#include "tensor/gemm_cuts.h"

enum {
    ROWS_MOST = 80, /* with more, packing B for tiles is worth it; */
    ROWS_FEW = 4,   /* the same where one vector of columns is taken at once */
    ROWS_TINY = 8,  /* with more, A is worth packing for columns that are FLAT times as many */
    FLAT = 8,
    WIDTH_MOST = 2048,  /* columns of a task */
    WIDTH_LEAST = 64,
    BLOCK_LEAST = 64,   /* columns of C that stay in L1 */
    TURNED_ROWS_MOST = 8, /* the same where B must be turned */
    TURNED = TN__GEMM_STREAM_COLS * TN__GEMM_STREAM_TURN * 8, /* bytes */
};

typedef struct run {
    const tn_gemm         *g;
    const tn__gemm_kernels *kernels;
    char                  *scratch;
    size_t                 a_bytes, own_bytes;
    int64_t                width, block;
} run;

/* A matrix that may well be in the second cache is faster by tiles; so is one in the last cache
 * where registers hold but one vector of its columns (AVX2: 1.5 to 3 times), for all but the fewest
 * rows that are in memory. */
bool tn__gemm_streams(const tn_ctx *ctx, const tn_gemm *g)
{
    const tn__caches caches = tn__ctx_caches(ctx);
    const int64_t    bytes = g->n * g->k * (int64_t)tn_dtype_size(g->dtype);
    const bool       is_wide = kernels_of(ctx, g->dtype)->stream_vectors > 1;
    const bool is_flat = g->m <= (is_wide ? ROWS_MOST : ROWS_FEW) &&
                         (g->m <= ROWS_TINY || g->n >= FLAT * g->m) &&
                         bytes >= (is_wide ? caches.l2 / 8 : caches.l3 / 4);
    const bool by_rows = g->b_col == 1 && g->b_row >= g->n && is_flat;
    const bool by_cols = g->b_row == 1 && g->b_col >= g->k && bytes >= caches.l2 / 8 &&
                         g->m <= (is_wide ? TURNED_ROWS_MOST : 1);
    return (by_rows || by_cols) && g->batch_rank == 0 && g->beta == 0 && g->m >= 1 &&
           g->n >= WIDTH_LEAST && g->k >= TN__GEMM_STREAM_DEPTH;
}

/* Of one worker: A packed, and the sums. */
static size_t a_bytes(const tn_gemm *g)
{
    return (size_t)up(min(g->m, ROWS_MOST) * g->k * (int64_t)tn_dtype_size(g->dtype), LINE);
}

static size_t sum_bytes(const tn_gemm *g)
{
    return (size_t)up(min(g->m, ROWS_MOST) * 2 * WIDTH_MOST * (int64_t)tn_dtype_size(g->dtype),
                      LINE) + TURNED;
}

size_t tn__gemm_stream_scratch(const tn_ctx *ctx, const tn_gemm *g)
{
    if (g->batch_rank || g->beta != 0) return 0;
    return (size_t)tn_ctx_threads(ctx) * (a_bytes(g) + sum_bytes(g));
}

static void task(void *arg, int64_t index, int worker)
{
    const run     *r = arg;
    const tn_gemm *g = r->g;
    const int64_t  size = (int64_t)tn_dtype_size(g->dtype), j = index * r->width;
    char          *own = r->scratch + (size_t)worker * r->own_bytes;
    const int64_t  at = j * g->b_col * size;
    const bool     is_direct = g->m == 1 && g->a_col == 1 && g->alpha == 1;
    tn__gemm_stream x = { .m = g->m, .n = min(r->width, g->n - j), .k = g->k,
                          .a = is_direct ? g->a : own,
                          .b = (const char *)g->b + at, .b_row = g->b_row, .b_col = g->b_col,
                          .c = (char *)g->c + j * size, .c_row = g->c_row,
                          .turned = own + r->a_bytes,
                          .sums = own + r->a_bytes + TURNED, .block = r->block };
    if (!is_direct) r->kernels->stream_pack(own, g->a, g->a_row, g->a_col, g->m, g->k, g->alpha);
    r->kernels->stream(&x);
    if (g->epilogue) g->epilogue(g->epilogue_arg, 0, 0, g->m, j, j + x.n, worker);
}

void tn__gemm_stream_run(tn_ctx *ctx, const tn_gemm *g, void *scratch)
{
    const int64_t threads = tn_ctx_threads(ctx), size = (int64_t)tn_dtype_size(g->dtype);
    const int64_t least = max(min(threads, g->n / WIDTH_LEAST), 1),
        rounds = cuts(g->n, WIDTH_MOST * least);
    run           r = { .g = g, .kernels = kernels_of(ctx, g->dtype), .scratch = scratch,
                        .a_bytes = a_bytes(g) };
    r.own_bytes = r.a_bytes + sum_bytes(g);
    r.width = min(up(cuts(g->n, rounds * least), LINE / size), WIDTH_MOST);
    r.block = tn__ctx_caches(ctx).l1d / 2 / (g->m * size) / BLOCK_LEAST * BLOCK_LEAST;
    const int64_t blocks = cuts(r.width, max(r.block, BLOCK_LEAST));
    r.block = up(cuts(r.width, blocks), BLOCK_LEAST);
    tn_parallel_for(ctx, cuts(g->n, r.width), task, &r);
}
