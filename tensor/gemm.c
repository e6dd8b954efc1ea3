/* The matrix product: its tasks and what they pack; gemm_plan.c plans it, and the kernels do the
 * arithmetic.
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

enum { NEAR_BYTES = 1 << 13 }; /* of C, that stay in L1 until their epilogue */

/* What a worker keeps packed, so that its next task may use it again: of A either all blocks of k
 * so far, up to a_end, or the last one. */
typedef struct worker_state {
    int64_t     a_key, a_end;
    const void *fetched; /* the block of A that is on its way into L2 */
} worker_state;

/* At the head of scratch: tasks may outlast tn__gemm_run. */
typedef struct run {
    tn__gemm_plan plan;
    char         *shared, *own;
    int64_t       batch, j0, j1, k0, k1; /* the superblock at hand (shared), else of all */
} run;

enum { RUN_BYTES = (sizeof(run) + LINE - 1) / LINE * LINE };

/* ---- tasks ------------------------------------------------------------------------------- */

/* The epilogue in the caller's terms: flips back, and cuts folded rows into their products. */
static void emit(const tn__gemm_plan *p, int64_t batch, int64_t i0, int64_t i1, int64_t j0,
                 int64_t j1, int worker)
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

static const void *at(const void *p, int64_t element, size_t size)
{
    return (const char *)p + element * (int64_t)size;
}

/* The operands of product number `batch`. */
static void operands(const tn__gemm_plan *p, int64_t batch, const void **a, const void **b,
                     void **c)
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
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
    worker_state        *state = state_of(r, worker);
    const int64_t        first = p->a_keeps ? r->k0 : k0; /* of the blocks that are kept */
    const int64_t        key = 1 + (batch * g->m + i0) * (g->k + 1) + first;
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
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
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
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
    worker_state        *state = state_of(r, worker);
    const int64_t        k1 = k0 + x->k;
    const bool           is_last = k1 == r->k1;
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
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
    const void          *a, *b;
    void                *c;
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
static bool has_whole_products(const tn__gemm_plan *p)
{
    const tn_gemm *g = &p->g;
    return p->kernels->blocks && g->batch_rank > 0 && p->n_rows * p->n_cols == 1 &&
           g->k <= p->kc && p->a_direct && g->m <= TN__GEMM_FEW_STRIPS * p->mr &&
           (p->b_direct || g->n <= tn__gemm_slab(p->width, p->kernels->lanes));
}

/* Products [first, end) of such a task. */
static void whole_products(const run *r, int64_t first, int64_t end, int worker)
{
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
    const int            last = g->batch_rank - 1;
    const int64_t        bytes = max(g->m * g->n * (int64_t)p->size, 1);
    const int64_t        most = g->epilogue ? max(NEAR_BYTES / bytes, 1) : end;
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
    const run           *r = arg;
    const tn__gemm_plan *p = &r->plan;
    const int64_t        each = p->n_rows * p->n_cols, rest = task % each;
    const int64_t        first = task / each * p->group, end = min(first + p->group, p->n_batch);
    const int64_t        next = min(rest + 1, each - 1) / p->n_cols;
    if (has_whole_products(p)) {
        whole_products(r, first, end, worker);
        return;
    }
    for (int64_t batch = first; batch < end; batch++)
        rectangle(r, batch, rest / p->n_cols, rest % p->n_cols * p->nt, next, worker);
}

static void shared_task(void *arg, int64_t task, int worker)
{
    const run           *r = arg;
    const tn__gemm_plan *p = &r->plan;
    const int64_t        n_cols = col_cuts(p, r->j1 - r->j0, p->nt);
    const int64_t        next = min((task + 1) / n_cols, p->n_rows - 1);
    rectangle(r, r->batch, task / n_cols, r->j0 + task % n_cols * p->nt, next, worker);
}

/* One slab of the superblock, of one block of k. */
static void pack_task(void *arg, int64_t task, int worker)
{
    const run           *r = arg;
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
    const int64_t        slab = tn__gemm_slab(p->width, p->kernels->lanes);
    const int64_t        slabs = col_cuts(p, r->j1 - r->j0, slab);
    const int64_t        j = r->j0 + task % slabs * slab, k0 = r->k0 + task / slabs * p->kc;
    const int64_t        n = col_end(p, j, slab, r->j1) - j, k = min(p->kc, r->k1 - k0);
    const int64_t        width = up(r->j1 - r->j0, p->kernels->lanes);
    const void          *a, *b;
    void                *c;
    (void)worker;
    operands(p, r->batch, &a, &b, &c);
    p->kernels->pack_b((void *)at(r->shared, (k0 - r->k0) * width + (j - r->j0) * k, p->size),
                       at(b, k0 * g->b_row + j * g->b_col, p->size), g->b_row, g->b_col, n, k,
                       p->width, p->b_scale);
}

static void run_shared(tn_ctx *ctx, run *r)
{
    const tn__gemm_plan *p = &r->plan;
    const tn_gemm       *g = &p->g;
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

static bool run_blis(const tn__gemm_plan *p)
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
    tn__gemm_plan p;
    tn__gemm_plan_make(&p, ctx, g);
    return max_size(RUN_BYTES + tn__gemm_plan_bound(&p, ctx),
                    tn__gemm_stream_scratch(ctx, g));
}

void tn__gemm_run(tn_ctx *ctx, const tn_gemm *g, void *scratch)
{
    if (tn__gemm_streams(ctx, g)) {
        tn__gemm_stream_run(ctx, g, scratch);
        return;
    }
    run           *r = scratch;
    tn__gemm_plan *p = &r->plan;
    tn__gemm_plan_make(p, ctx, g);
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
