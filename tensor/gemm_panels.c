/* Planning products with packed panels: who computes which of them; see kernels/gemm_panels.h for
 * the work. */
#include "tensor/gemm_panels.h"

#include "tensor/gemm_cuts.h"

#include <string.h>

enum {
    TASKS = 4,           /* of a thread, so that who is late may be helped */
    TASK_WORK = 1 << 18, /* multiply-adds that are worth a task: 3 us, */
    ROWS_LEAST = 12,     /* of so many rows at least: with fewer, B takes as long to come */
    ROWS_MOST = 64, /* at a time: then the columns of C that they share stay in L2 */
    A_BYTES_MOST = 1 << 19,
    SETS_BYTES = 1024, /* rows so far apart, or twice, share a quarter of the sets of L1 or less */
    C_BYTES_MOST = 1 << 17, /* of a task of a thread that is alone: an epilogue finds them in L2 */
};

typedef struct run {
    const tn_gemm          *g;
    const tn__gemm_kernels *kernels;
    char                   *scratch, *to;
    size_t                  own_bytes;
    int64_t                 each; /* panels of a task */
    int64_t                 i0, m; /* rows at hand */
    int64_t                 tasks, threads;
    bool                    turns; /* shares are worked off from the end */
} run;

int64_t tn__gemm_panel_width(const tn_ctx *ctx, tn_dtype dtype)
{
    return kernels_of(ctx, dtype)->panel_width;
}

static const char *at(const void *p, int64_t element, int64_t size)
{
    return (const char *)p + element * size;
}

static void make_task(void *arg, int64_t index, int worker)
{
    const run     *r = arg;
    const tn_gemm *g = r->g;
    const int64_t  size = (int64_t)tn_dtype_size(g->dtype), width = r->kernels->panel_width;
    const int64_t  j = index * width, n = min(width, g->n - j);
    const char    *b = at(g->b, j * g->b_col, size);
    char          *to = r->to + j * g->k * size;
    (void)worker;
    if (n == width) {
        r->kernels->pack_b(to, b, g->b_row, g->b_col, n, g->k, width, 1);
        return;
    }
    for (int64_t p = 0; p < g->k; p++, to += width * size) {
        memset(to, 0, (size_t)(width * size));
        for (int64_t l = 0; l < n; l++)
            memcpy(to + l * size, at(b, p * g->b_row + l * g->b_col, size), (size_t)size);
    }
}

void tn__gemm_panels_make(tn_ctx *ctx, void *panels, const tn_gemm *g)
{
    run r = { .g = g, .kernels = kernels_of(ctx, g->dtype), .to = panels };
    if (g->k > 0) tn_parallel_for(ctx, cuts(g->n, r.kernels->panel_width), make_task, &r);
}

/* Rows that are packed at a time: a worker's panels pass by once for each of these. */
static int64_t rows_of(const tn_gemm *g)
{
    const int64_t row = max(g->k * (int64_t)tn_dtype_size(g->dtype), 1);
    const int64_t most = min(ROWS_MOST, max(A_BYTES_MOST / row, 16));
    return min(g->m, most);
}

/* May A be used where it lies? Not if its rows would push each other out of L1. */
static bool is_direct(const tn_gemm *g)
{
    const int64_t row = g->a_row * (int64_t)tn_dtype_size(g->dtype);
    return g->a_col == 1 && (g->m == 1 || row % SETS_BYTES != 0);
}

/* Of one worker: A by rows, and before it which of them they are. */
static size_t own_bytes(const tn_gemm *g)
{
    const int64_t size = (int64_t)tn_dtype_size(g->dtype);
    return (size_t)(up(rows_of(g) * tn__gemm_a_row(g->k, (size_t)size) * size, LINE) + 2 * LINE);
}

size_t tn__gemm_panels_scratch(const tn_ctx *ctx, const tn_gemm *g)
{
    return (size_t)tn_ctx_threads(ctx) * own_bytes(g);
}

/* The task that stands where `index` does if each worker's share is turned round. */
static int64_t turned(int64_t index, int64_t n, int64_t threads)
{
    int64_t w = index * threads / n;
    while (n * (w + 1) / threads <= index) w++;
    return n * w / threads + n * (w + 1) / threads - 1 - index;
}

static void task(void *arg, int64_t index, int worker)
{
    const run      *r = arg;
    const tn_gemm  *g = r->g;
    const int64_t   size = (int64_t)tn_dtype_size(g->dtype);
    const int64_t   width = r->each * r->kernels->panel_width;
    const int64_t   j = width * (r->turns ? turned(index, r->tasks, r->threads) : index);
    char           *own = r->scratch + (size_t)worker * r->own_bytes;
    int64_t        *packed = (int64_t *)(void *)own; /* the rows that are there */
    tn__gemm_panels x = { .m = r->m, .n = min(width, g->n - j), .k = g->k, .a = own + LINE,
                          .a_row = tn__gemm_a_row(g->k, (size_t)size),
                          .b = at(g->b, j * g->k, size), .c_row = g->c_row };
    x.c = (void *)at(g->c, r->i0 * g->c_row + j, size);
    if (is_direct(g))
        x.a = at(g->a, r->i0 * g->a_row, size), x.a_row = g->a_row;
    else if (*packed != r->i0)
        r->kernels->panels_pack(own + LINE, at(g->a, r->i0 * g->a_row, size), g->a_row, g->a_col,
                                r->m, g->k);
    *packed = r->i0;
    r->kernels->panels(&x);
    if (g->epilogue)
        g->epilogue(g->epilogue_arg, 0, r->i0, r->i0 + r->m, j, j + x.n, worker);
}

/* Panels of a task so that they go side by side, unless a thread would then have more to do. */
static int64_t side_by_side(int64_t each, int64_t panels, int64_t threads)
{
    for (int64_t places = TN__GEMM_PANEL_PLACES; places > 1; places /= 2) {
        const int64_t most = up(each, places) * cuts(cuts(panels, up(each, places)), threads);
        if (most * threads <= panels + panels / 8) return up(each, places);
    }
    return each;
}

void tn__gemm_panels_run(tn_ctx *ctx, const tn_gemm *g, void *scratch, bool turns)
{
    const int64_t threads = tn_ctx_threads(ctx);
    run           r = { .g = g, .kernels = kernels_of(ctx, g->dtype), .scratch = scratch };
    if (g->m == 0 || g->n == 0) return;
    const int64_t panels = cuts(g->n, r.kernels->panel_width);
    const int64_t step = cuts(g->m, cuts(g->m, rows_of(g)));
    const int64_t worth = max(max(g->m, ROWS_LEAST) * g->n * g->k / TASK_WORK, 1);
    const int64_t bytes = step * g->n * (int64_t)tn_dtype_size(g->dtype);
    const int64_t most = threads > 1 ? TASKS * threads : cuts(bytes, C_BYTES_MOST);
    const int64_t tasks = min(min(worth, most), panels);
    r.own_bytes = own_bytes(g), r.each = cuts(panels, tasks);
    if (g->m < ROWS_LEAST) r.each = side_by_side(r.each, panels, threads);
    r.turns = turns, r.threads = threads, r.tasks = cuts(panels, r.each);
    for (int64_t w = 0; w < threads; w++)
        *(int64_t *)(void *)(r.scratch + (size_t)w * r.own_bytes) = -1;
    for (r.i0 = 0; r.i0 < g->m; r.i0 += r.m) {
        r.m = min(step, g->m - r.i0);
        tn_parallel_for(ctx, r.tasks, task, &r);
    }
}
