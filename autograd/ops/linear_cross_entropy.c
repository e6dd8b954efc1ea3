/* Cross-entropy of logits = x w^T + b, whose logits are made some rows at a time and never all
 * there.
 *
 * In a training graph the same pass makes the gradients, while each chunk's logits are in the
 * cache: the cotangent of the summed loss is one number that multiplies everything, so dx, dw and
 * db are outputs of the op, for a cotangent of 1. Chunks go one after another, each a product over
 * all threads, so dw is one chain of additions whose order the shapes fix. Rows that are ignored
 * are left out before the products. */
#include "autograd/ops/loss.h"
#include "tensor/gemm.h"

#include <string.h>

#define LINEAR_CROSS_ENTROPY_ATTRS(F)                                                              \
    F(linear_cross_entropy, f64, smoothing) F(linear_cross_entropy, flag, has_ignore)              \
    F(linear_cross_entropy, i64, ignore) F(linear_cross_entropy, flag, w_rows)                     \
    F(linear_cross_entropy, flag, has_bias) F(linear_cross_entropy, flag, with_grad)
TN_ATTRS(linear_cross_entropy, LINEAR_CROSS_ENTROPY_ATTRS)

/* Logits of a chunk: CHUNK_BYTES of them, but so many rows that w, which each chunk reads twice and
 * dw, which it reads and writes, are worth the trip. */
enum { CHUNK_BYTES = 4 << 20, LEAST_ROWS = 256, MOST_ROWS = 1024, TASK = 16384, COLUMNS = 4096 };

static cross_entropy_attrs loss_of(const linear_cross_entropy_attrs *a)
{
    return (cross_entropy_attrs){ a->smoothing, a->has_ignore, a->ignore };
}

/* ---- inference ------------------------------------------------------------------------------- */

static int count_outputs(const void *attrs, int n_in)
{
    const linear_cross_entropy_attrs *a = attrs;
    (void)n_in;
    return a->with_grad ? 5 + a->has_bias : 3;
}

static tn_status infer(tn_infer *c)
{
    const linear_cross_entropy_attrs *a = c->attrs;
    const cross_entropy_attrs         loss = loss_of(a);
    const tn_shape                   *x = &c->in[0].shape, *w = &c->in[1].shape,
        *t = &c->in[2].shape;
    const tn_dtype                    dtype = c->in[0].dtype;
    if (tn_infer_float(c, 0) != TN_OK || tn__infer_cross_entropy(c, &loss, 2) != TN_OK)
        return tn_ctx_status(c->ctx);
    if (c->n_in != 3 + a->has_bias)
        return tn_infer_fail(c, TN_ERR_ARG, "%d inputs do not fit the attributes", c->n_in);
    if (x->rank != 2 || w->rank != 2 || t->rank != 1 || t->dim[0] != x->dim[0])
        return tn_infer_fail(c, TN_ERR_SHAPE,
                             "x [n, d], w [v, d] or [d, v], and target [n] are needed");
    const int64_t v = w->dim[a->w_rows ? 0 : 1], d = w->dim[a->w_rows ? 1 : 0];
    if (d != x->dim[1])
        return tn_infer_fail(c, TN_ERR_SHAPE, "inner dimensions %lld and %lld differ",
                             (long long)x->dim[1], (long long)d);
    if (a->has_bias && (c->in[3].shape.rank != 1 || c->in[3].shape.dim[0] != v))
        return tn_infer_fail(c, TN_ERR_SHAPE, "the bias is not [%lld]", (long long)v);
    if (c->in[1].dtype != dtype || (a->has_bias && c->in[3].dtype != dtype))
        return tn_infer_fail(c, TN_ERR_DTYPE, "dtypes differ");
    for (int k = 0; k < 3; k++) c->out[k] = (tn_type){ dtype, TN_SCALAR };
    if (!a->with_grad) return TN_OK;
    c->out[3] = c->in[0], c->out[4] = c->in[1];
    if (a->has_bias) c->out[5] = c->in[3];
    return TN_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct job {
    tn_ctx                           *ctx;
    const linear_cross_entropy_attrs *at;
    tn_dtype                          dtype;
    size_t                            size;         /* of an element */
    int64_t                           n, d, v, rows, count; /* rows of a chunk; rows that count */
    const char                       *x, *w, *bias;
    const tn_tensor                  *target;
    char                             *dx, *dw, *db;
    char                             *logits;       /* [rows, v], then their gradient */
    char                             *x_chunk, *dx_chunk; /* [rows, d], where rows are left out */
    char                             *loss, *nll;   /* [n] */
    int64_t                          *row, *label;  /* of each row that counts */
    void                             *gemm;
    tn__cross_entropy                 a;            /* of this chunk */
    void (*step_rows)(const tn__cross_entropy *a, int64_t begin, int64_t end);
    void (*add_rows)(const void *x, int64_t rows, int64_t stride, int64_t n, void *sum);
    int64_t                           m, task;      /* rows of this chunk; of a task */
} job;

/* The three products of a chunk of m rows. */
static tn_gemm logits_gemm(const job *j, const char *x, int64_t m)
{
    const bool r = j->at->w_rows;
    return (tn_gemm){ .dtype = j->dtype, .m = m, .n = j->v, .k = j->d, .alpha = 1, .a = x,
                      .a_row = j->d,
                      .a_col = 1, .b = j->w, .b_row = r ? 1 : j->v, .b_col = r ? j->d : 1,
                      .c = j->logits, .c_row = j->v };
}

static tn_gemm dx_gemm(const job *j, char *dx, int64_t m)
{
    const bool r = j->at->w_rows;
    return (tn_gemm){ .dtype = j->dtype, .m = m, .n = j->d, .k = j->v, .alpha = 1, .a = j->logits,
                      .a_row = j->v, .a_col = 1, .b = j->w, .b_row = r ? j->d : 1,
                      .b_col = r ? 1 : j->v, .c = dx, .c_row = j->d };
}

static tn_gemm dw_gemm(const job *j, const char *x, int64_t m, bool more)
{
    tn_gemm g = { .dtype = j->dtype, .k = m, .alpha = 1, .beta = more, .c = j->dw };
    if (j->at->w_rows) { /* [v, d] += dlogits^T x */
        g.m = j->v, g.n = j->d, g.a = j->logits, g.a_row = 1, g.a_col = j->v;
        g.b = x, g.b_row = j->d, g.b_col = 1, g.c_row = j->d;
    } else { /* [d, v] += x^T dlogits */
        g.m = j->d, g.n = j->v, g.a = x, g.a_row = 1, g.a_col = j->d;
        g.b = j->logits, g.b_row = j->v, g.b_col = 1, g.c_row = j->v;
    }
    return g;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Chunks of `rows` rows at most, of nearly equal size. */
static int64_t cut_evenly(int64_t n, int64_t rows)
{
    const int64_t chunks = rows > 0 ? (n + rows - 1) / rows : 0;
    return chunks > 0 ? (n + chunks - 1) / chunks : 0;
}

/* The most rows of a chunk, from shapes alone: half as many again rather than a small rest. */
static int64_t rows_of_chunk(int64_t n, int64_t v, size_t size)
{
    int64_t rows = CHUNK_BYTES / (int64_t)size / (v > 0 ? v : 1);
    rows = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
    const int64_t chunks = (n + rows / 2) / rows;
    return chunks > 1 ? (n + chunks - 1) / chunks : n;
}

/* Everything that shapes say, and the scratch laid out from `scratch` (NULL: only measured). */
static size_t lay_out(job *j, const tn_exec *e, char *scratch)
{
    const linear_cross_entropy_attrs *at = e->attrs;
    const tn_shape                   *x = &e->in[0].shape, *w = &e->in[1].shape;
    size_t                            used = 0;
    *j = (job){ .ctx = e->ctx, .at = at, .dtype = e->in[0].dtype, .n = x->dim[0], .d = x->dim[1],
                .v = w->dim[at->w_rows ? 0 : 1], .size = tn_dtype_size(e->in[0].dtype) };
    j->rows = rows_of_chunk(j->n, j->v, j->size);
    /* the first chunk's dw may go another way than those that are added to it */
    const tn_gemm g[] = { logits_gemm(j, NULL, j->rows), dx_gemm(j, NULL, j->rows),
                          dw_gemm(j, NULL, j->rows, false), dw_gemm(j, NULL, j->rows, true) };
    size_t gemm = 0;
    for (int i = 0; i < (at->with_grad ? 4 : 1); i++)
        gemm = larger(gemm, tn__gemm_scratch(e->ctx, &g[i]));
#define ROOM(field, bytes)                                                                         \
    do {                                                                                           \
        j->field = (void *)((uintptr_t)scratch + used);                                            \
        used += ((size_t)(bytes) + 63) / 64 * 64;                                                  \
    } while (0)
    ROOM(gemm, gemm);
    ROOM(logits, (size_t)(j->rows * j->v) * j->size);
    ROOM(loss, (size_t)j->n * j->size);
    ROOM(nll, (size_t)j->n * j->size);
    ROOM(label, (size_t)j->n * sizeof *j->label);
    ROOM(row, (size_t)j->n * sizeof *j->row);
    if (at->has_ignore) ROOM(x_chunk, (size_t)(j->rows * j->d) * j->size);
    if (at->has_ignore && at->with_grad) ROOM(dx_chunk, (size_t)(j->rows * j->d) * j->size);
#undef ROOM
    return used;
}

static size_t scratch(const tn_exec *e)
{
    job j;
    return lay_out(&j, e, NULL);
}

/* Lists the rows that count. */
static void list_rows(job *j)
{
    int64_t k = 0;
    for (int64_t i = 0; i < j->n; i++) {
        const int64_t t = tn__target_at(j->target->data, j->target->dtype, i);
        if (j->at->has_ignore && t == j->at->ignore) continue;
        j->row[k] = i, j->label[k++] = t;
    }
}

static void rows_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t begin = task * j->task, end = begin + j->task;
    (void)worker;
    j->step_rows(&j->a, begin, end < j->m ? end : j->m);
}

static void bias_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t first = task * COLUMNS, n = j->v - first < COLUMNS ? j->v - first : COLUMNS;
    (void)worker;
    j->add_rows(j->logits + (size_t)first * j->size, j->m, j->v, n,
                j->db + (size_t)first * j->size);
}

/* Rows [first, first + m) of those that count. */
static void run_chunk(job *j, int64_t first, int64_t m)
{
    const size_t line = (size_t)j->d * j->size;
    const bool   all = j->count == j->n;
    const char  *x = all ? j->x + (size_t)first * line : j->x_chunk;
    for (int64_t i = 0; !all && i < m; i++)
        memcpy(j->x_chunk + (size_t)i * line, j->x + (size_t)j->row[first + i] * line, line);
    tn_gemm g = logits_gemm(j, x, m);
    tn__gemm_run(j->ctx, &g, j->gemm);

    j->m = m;
    j->a.target = j->label + first, j->a.dlogits = j->logits;
    j->a.loss = j->loss + (size_t)first * j->size, j->a.nll = j->nll + (size_t)first * j->size;
    tn_parallel_for(j->ctx, (m + j->task - 1) / j->task, rows_task, j);
    if (!j->at->with_grad) return;

    char *dx = all ? j->dx + (size_t)first * line : j->dx_chunk;
    g = dx_gemm(j, dx, m);
    tn__gemm_run(j->ctx, &g, j->gemm);
    for (int64_t i = 0; !all && i < m; i++)
        memcpy(j->dx + (size_t)j->row[first + i] * line, dx + (size_t)i * line, line);
    g = dw_gemm(j, x, m, first > 0);
    tn__gemm_run(j->ctx, &g, j->gemm);
    if (j->db) tn_parallel_for(j->ctx, (j->v + COLUMNS - 1) / COLUMNS, bias_task, j);
}

/* Sums of a few thousand numbers, in order and in f64. */
static double sum_of(const job *j, const char *x)
{
    double sum = 0;
    for (int64_t i = 0; i < j->count; i++)
        sum += j->dtype == TN_F32 ? (double)((const float *)(const void *)x)[i]
                                  : ((const double *)(const void *)x)[i];
    return sum;
}

static void put(const tn_tensor *out, double x)
{
    if (out->dtype == TN_F32) *(float *)out->data = (float)x;
    else *(double *)out->data = x;
}

static tn_status run(tn_exec *e)
{
    const linear_cross_entropy_attrs *at = e->attrs;
    const tn_kernels                 *k = tn__ctx_kernels(e->ctx);
    const cross_entropy_attrs         loss = loss_of(at);
    job                               j;
    lay_out(&j, e, e->scratch);
    j.count = tn__count_targets(e->ctx, "linear_cross_entropy", &e->in[2], &loss, j.v);
    if (j.count < 0) return tn_ctx_status(e->ctx);
    const bool is_f32 = j.dtype == TN_F32;
    j.x = e->in[0].data, j.w = e->in[1].data, j.target = &e->in[2];
    j.bias = at->has_bias ? e->in[3].data : NULL;
    j.step_rows = is_f32 ? k->cross_entropy_step_rows_f32 : k->cross_entropy_step_rows_f64;
    j.add_rows = is_f32 ? k->add_rows_f32 : k->add_rows_f64;
    j.a = (tn__cross_entropy){ .n = j.v, .smoothing = at->smoothing, .target_dtype = TN_I64,
                               .bias = j.bias, .with_grad = at->with_grad };
    j.task = (TASK + j.v) / (j.v + 1);
    if (at->with_grad) {
        j.dx = e->out[3].data, j.dw = e->out[4].data, j.db = at->has_bias ? e->out[5].data : NULL;
        if (j.count < j.n) memset(j.dx, 0, (size_t)(j.n * j.d) * j.size);
        if (j.count == 0) memset(j.dw, 0, (size_t)(j.v * j.d) * j.size);
        if (j.db) memset(j.db, 0, (size_t)j.v * j.size);
    }
    list_rows(&j);
    const int64_t rows = cut_evenly(j.count, j.rows);
    for (int64_t i = 0; i < j.count; i += rows)
        run_chunk(&j, i, j.count - i < rows ? j.count - i : rows);
    put(&e->out[0], sum_of(&j, j.loss)), put(&e->out[1], sum_of(&j, j.nll));
    put(&e->out[2], (double)j.count);
    return TN_OK;
}

static void cost(const tn_infer *c, tn_cost *cost)
{
    const linear_cross_entropy_attrs *a = c->attrs;
    const double                      logits = (double)c->in[0].shape.dim[0] *
                                          (double)c->in[1].shape.dim[a->w_rows ? 0 : 1];
    cost->flops = logits * ((a->with_grad ? 6.0 : 2.0) * (double)c->in[0].shape.dim[1] + 12);
}

/* ---- differentiation ------------------------------------------------------------------------- */

/* All logits at once, from ops that can be differentiated again and again. */
static void expand(tn_expansion *c)
{
    const linear_cross_entropy_attrs *a = c->attrs;
    const cross_entropy_attrs         loss = loss_of(a);
    tn_node *x = c->in[0], *w = c->in[1], *target = c->in[2], *row[4];
    tn_node *vd = a->w_rows ? w : tn_transpose(w, 0, 1);
    tn_node *logits = tn_matmul(x, tn_transpose(vd, 0, 1));
    if (a->has_bias) logits = tn_add(logits, c->in[3]);
    if (!tn_apply_multi(&tn_op_cross_entropy_rows, (tn_node *[]){ logits, target }, 2, &loss, row))
        return;
    c->out[0] = tn_sum_all(row[0]), c->out[1] = tn_sum_all(row[1]);
    tn_node *one = tn_full_like(row[0], 1), *zero = tn_full_like(row[0], 0);
    if (a->has_ignore) {
        tn_node *keep = tn__counts(c->graph, target, a->ignore);
        c->out[2] = tn_sum_all(tn_cast(keep, tn_node_dtype(x)));
    } else {
        c->out[2] = tn_scalar_like(x, (double)tn_dim(x, 0));
    }
    if (!a->with_grad) return;
    tn_node *g = tn_apply(&tn_op_cross_entropy_rows_grad,
                          (tn_node *[]){ logits, target, row[2], row[3], one, zero, zero }, 7,
                          &loss);
    c->out[3] = tn_matmul(g, vd);
    c->out[4] = a->w_rows ? tn_matmul(tn_transpose(g, 0, 1), x)
        : tn_matmul(tn_transpose(x, 0, 1), g);
    if (a->has_bias) c->out[5] = tn_sum_to(g, tn_node_shape(c->in[3]));
}

/* The rule of any cotangents: that of the expansion, built on aliases of the inputs. */
static void expansion_vjp(tn_vjp *c)
{
    tn_node *in[4] = { NULL }, *out[6] = { NULL };
    for (int i = 0; i < c->n_in; i++) in[i] = tn__alias(c->in[i]);
    expand(&(tn_expansion){ .graph = c->graph, .op = c->op, .attrs = c->attrs, .n_in = c->n_in,
                            .n_out = c->n_out, .in = in, .out = out });
    if (tn_ctx_status(tn_graph_ctx(c->graph)) == TN_OK)
        tn__backward(c->graph, out, c->dout, c->n_out, in, c->n_in, c->din, NULL);
}

/* Nearly always only the sum has a cotangent, ds, and then din = ds times what the op has made. */
static void vjp(tn_vjp *c)
{
    const linear_cross_entropy_attrs *a = c->attrs;
    tn_node *made[6] = { NULL }, *const *out = c->out, *ds = c->dout[0];
    for (int k = 1; k < c->n_out; k++)
        if (c->dout[k] && k != 2) ds = NULL; /* the count is constant */
    if (!ds) {
        expansion_vjp(c);
        return;
    }
    if (!a->with_grad) {
        linear_cross_entropy_attrs with = *a;
        with.with_grad = true;
        if (!tn_apply_multi(&tn_op_linear_cross_entropy, c->in, c->n_in, &with, made)) return;
        out = made;
    }
    if (c->want[0]) c->din[0] = tn_mul(ds, out[3]);
    if (c->want[1]) c->din[1] = tn_mul(ds, out[4]);
    if (a->has_bias && c->want[3]) c->din[3] = tn_mul(ds, out[5]);
}

#define CASE(e, ignore, rows, bias, grad)                                                          \
    .attrs = &(linear_cross_entropy_attrs){ e, ignore >= 0, ignore, rows, bias, grad },            \
    .dtype = { TN_F32, TN_F32, TN_I32 }, .int_hi = 5

TN_OP_DEFINE(linear_cross_entropy,
    .doc = "x [n, d], w [v, d] or [d, v], target [n], b [v] -> "
           "sum, nll, count, dx, dw, db (for dsum = 1)",
    .arity = 3, .max_arity = 4, .count_out = count_outputs, .flags = TN_CAN_FAIL,
    TN_ATTRS_OF(linear_cross_entropy), .infer = infer, .run = run, .scratch = scratch, .vjp = vjp,
    .expand = expand, .cost = cost,
    TN_SAMPLES({ .in = { { 3, 4 }, { 5, 4 }, { 3 } }, .n_in = 3, CASE(0, -1, true, false, false) },
               { .in = { { 3, 4 }, { 5, 4 }, { 3 } }, .n_in = 3, CASE(0, -1, true, false, true) },
               { .in = { { 6, 2 }, { 2, 5 }, { 6 }, { 5 } }, .n_in = 4,
                 CASE(0.1, 1, false, true, true) },
               { .in = { { 6, 3 }, { 5, 3 }, { 6 }, { 5 } }, .n_in = 4,
                 CASE(0.2, 2, true, true, false) },
               { .in = { { 3, 5 }, { 5, 5 }, { 3 } }, .n_in = 3, CASE(0.1, -1, false, false, true),
                 .lo = -5, .hi = 5 },
               { .in = { { 3, 4 }, { 5, 3 }, { 3 } }, .n_in = 3, CASE(0, -1, true, false, true),
                 .fails = TN_ERR_SHAPE, .message = "inner dimensions 4 and 3 differ" },
               { .in = { { 3, 4 }, { 4, 4 }, { 3 } }, .n_in = 3, CASE(0, -1, true, false, true),
                 .int_lo = 4, .fails = TN_ERR_INDEX, .message = "target[0] is 4, not in [0, 4)" },
               { .in = { { 3, 4 }, { 5, 4 }, { 3 }, { 4 } }, .n_in = 4,
                 CASE(0, -1, true, true, true), .fails = TN_ERR_SHAPE,
                 .message = "bias is not [5]" }));

tn_status tn_linear_cross_entropy(tn_node *x, tn_node *w, bool w_rows, tn_node *b, tn_node *target,
                                  const tn_cross_entropy_options *options, tn_loss_parts *parts)
{
    tn_ctx  *ctx = tn_node_ctx(x ? x : target);
    tn_node *out[6] = { NULL };
    if (!parts) return tn_fail(ctx, TN_ERR_ARG, "linear_cross_entropy: no room for the parts");
    *parts = (tn_loss_parts){ 0 };
    if (!x || !w || !target) return tn_ctx_status(ctx) ? tn_ctx_status(ctx) : TN_ERR_ARG;
    if (!tn__flatten_rows("linear_cross_entropy", &x, &target)) return tn_ctx_status(ctx);
    tn_graph *g = tn_node_graph(x) ? tn_node_graph(x) : tn_node_graph(target);
    const cross_entropy_attrs loss = tn__cross_entropy_attrs(options, tn_node_dtype(target));
    const linear_cross_entropy_attrs a = { loss.smoothing, loss.has_ignore, loss.ignore, w_rows,
                                           b != NULL, g && tn_graph_mode(g) == TN_TRAIN };
    tn_node *in[4] = { x, w, target, b };
    if (!tn_apply_multi(&tn_op_linear_cross_entropy, in, b ? 4 : 3, &a, out))
        return tn_ctx_status(ctx);
    parts->sum = out[0];
    parts->nll = tn_stop_gradient(loss.smoothing == 0 ? out[0] : out[1]);
    parts->count = tn_stop_gradient(out[2]);
    return tn_ctx_status(ctx);
}
