/* Softmax and its logarithm along an axis. The last axis is rows in memory; another one is a slab
 * of [n, inner] whose columns are taken some at a time. A row of -inf alone gives zeros (of the
 * logarithm: -inf), not NaN. */
#include "autograd/ops/build.h"
#include "tensor/kernels/softmax.h"
#include "tensor/stream.h"

#include <math.h>

#define SOFTMAX_ATTRS(F) F(softmax, i64, axis)
TN_ATTRS(softmax, SOFTMAX_ATTRS)

/* ---- running ------------------------------------------------------------------------------- */

/* Elements of a task: enough to be worth a thread's while; tiles of a task, so that one is read
 * while another is written. */
enum { TASK = 16384, TASK_TILES = 32, L2_PART = 8 /* of it for a tile; a worker has two */ };

/* [outer, n, inner], the softmax along n. A task is `step` rows, or `step` tiles: `width` columns
 * of one slab [n, inner], brought together in the worker's room. */
typedef struct job {
    const tn_kernels *k;
    const char       *in[2];
    char             *out;
    bool              is_f32, is_log, is_grad, is_far;
    int64_t           outer, n, inner, width, per_slab, step; /* per_slab: tasks */
    char             *room;
    size_t            room_bytes;   /* of a worker */
} job;

static void rows_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t row = task * j->step, rows = j->outer - row < j->step ? j->outer - row : j->step;
    const int64_t at = row * j->n * (j->is_f32 ? 4 : 8);
    (void)worker;
    if (j->is_grad)
        (j->is_f32 ? j->k->softmax_grad_rows_f32 : j->k->softmax_grad_rows_f64)(
            j->in[0] + at, j->in[1] + at, j->out + at, rows, j->n, j->is_log, j->is_far);
    else
        (j->is_f32 ? j->k->softmax_rows_f32 : j->k->softmax_rows_f64)(j->in[0] + at, j->out + at,
                                                                      rows,
                                                                      j->n, j->is_log, j->is_far);
}

/* Some tiles of one slab. */
static void tiles_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t first = task % j->per_slab * j->step * j->width, left = j->inner - first;
    const int64_t at = (task / j->per_slab * j->n * j->inner + first) * (j->is_f32 ? 4 : 8);
    tn__columns   c = { .x = j->in[1] + at, .dy = j->in[0] + at, .y = j->out + at, .n = j->n,
                        .stride = j->inner, .width = j->width, .log = j->is_log,
                        .is_far = j->is_far, .room = j->room + (size_t)worker * j->room_bytes };
    c.columns = left < j->step * j->width ? left : j->step * j->width;
    if (j->is_grad)
        (j->is_f32 ? j->k->softmax_grad_columns_f32 : j->k->softmax_grad_columns_f64)(&c);
    else
        (j->is_f32 ? j->k->softmax_columns_f32 : j->k->softmax_columns_f64)(&c);
}

static int axis_of(const void *attrs, int rank)
{
    return tn_axis((int)((const softmax_attrs *)attrs)->axis, rank);
}

/* What shapes say. The tiles that a worker is at stay in the second-level cache together, but each
 * is a few lines wide at least. */
static job describe(const tn_exec *e, bool is_grad, bool is_log)
{
    const tn_shape *s = &e->in[0].shape;
    const int       axis = axis_of(e->attrs, s->rank);
    const int64_t   size = (int64_t)tn_dtype_size(e->in[0].dtype);
    job             j = { .is_f32 = size == 4, .is_log = is_log, .is_grad = is_grad, .outer = 1,
                          .n = s->dim[axis], .inner = 1 };
    for (int d = 0; d < axis; d++) j.outer *= s->dim[d];
    for (int d = axis + 1; d < s->rank; d++) j.inner *= s->dim[d];
    if (j.outer * j.n * j.inner == 0) j.outer = 0;
    if (j.outer == 0 || j.inner == 1) return j;
    j.width = (int64_t)tn__ctx_caches(e->ctx).l2 / L2_PART / (j.n * size) / 32 * 32;
    j.width = j.width < 32 ? 32 : j.width > TN_SOFTMAX_COLUMNS ? TN_SOFTMAX_COLUMNS : j.width;
    if (j.width > j.inner) j.width = j.inner;
    j.room_bytes = (size_t)(j.n * ((j.width * size + 63) / 64 * 64) + TN_SOFTMAX_GAP * 64) *
        TN_SOFTMAX_ROOMS;
    return j;
}

/* Tiles of a task: some for each thread. */
static int64_t tiles_of_task(const job *j, int threads)
{
    const int64_t tiles = (j->inner + j->width - 1) / j->width;
    const int64_t most = j->outer * tiles / (4 * threads) + 1;
    const int64_t least = (TASK + j->n * j->width - 1) / (j->n * j->width);
    int64_t       step = least > TASK_TILES ? least : TASK_TILES;
    if (step > most) step = most > least ? most : least;
    return step < tiles ? step : tiles;
}

static size_t softmax_scratch(const tn_exec *e)
{
    return describe(e, false, false).room_bytes * (size_t)tn_ctx_threads(e->ctx);
}

static size_t softmax_grad_scratch(const tn_exec *e)
{
    return describe(e, true, false).room_bytes * (size_t)tn_ctx_threads(e->ctx);
}

static tn_status run_along(tn_exec *e, bool is_grad, bool is_log)
{
    job j = describe(e, is_grad, is_log);
    j.k = tn__ctx_kernels(e->ctx), j.room = e->scratch;
    j.in[0] = e->in[0].data, j.in[1] = e->in[e->n_in - 1].data, j.out = e->out[0].data;
    if (j.outer == 0) return TN_OK;
    j.is_far = tn__is_far(e);
    if (j.inner == 1) {
        j.step = (TASK + j.n - 1) / j.n;
        if (j.is_far)
            j.step = tn__stream_rows(j.outer, j.n * (j.is_f32 ? 4 : 8), tn_ctx_threads(e->ctx),
                                     j.step);
        tn_parallel_for(e->ctx, (j.outer + j.step - 1) / j.step, rows_task, &j);
    } else {
        j.step = tiles_of_task(&j, tn_ctx_threads(e->ctx));
        j.per_slab = (j.inner + j.step * j.width - 1) / (j.step * j.width);
        tn_parallel_for(e->ctx, j.outer * j.per_slab, tiles_task, &j);
    }
    return TN_OK;
}

/* ---- inference ------------------------------------------------------------------------------- */

static tn_status softmax_infer(tn_infer *c)
{
    int axis;
    if (tn_infer_float(c, 0) != TN_OK || tn_infer_rank(c, 0, 1) != TN_OK)
        return tn_ctx_status(c->ctx);
    if (tn_infer_axis(c, ((const softmax_attrs *)c->attrs)->axis, c->in[0].shape.rank,
                      &axis) != TN_OK)
        return tn_ctx_status(c->ctx);
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i].dtype != c->in[0].dtype || !tn_shape_equal(&c->in[i].shape, &c->in[0].shape))
            return tn_infer_fail(c, TN_ERR_SHAPE, "the inputs must be of one type");
    c->out[0] = c->in[0];
    return TN_OK;
}

/* exp counts as 8. */
static void softmax_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 12.0 * (double)tn_shape_size(&c->in[0].shape);
}

static tn_node *apply(const tn_op *op, tn_node *const *x, int n, int axis)
{
    int known = tn_axis(axis, tn_rank(x[0]));
    return tn_apply(op, x, n, &(softmax_attrs){ .axis = known < 0 ? axis : known });
}

/* ---- references: [outer, n, inner] in f64 ---------------------------------------------------- */

static void ref_along(const tn_ref *r, bool is_log)
{
    const tn_shape *s = &r->in_type[0].shape;
    const int       axis = axis_of(r->attrs, s->rank);
    const double   *x = r->in[0];
    double         *y = r->out[0];
    int64_t         inner = 1, n = s->dim[axis], all = tn_shape_size(s);
    for (int d = axis + 1; d < s->rank; d++) inner *= s->dim[d];
    for (int64_t first = 0; first < all; first++) {
        if (first / inner % n != 0) continue;
        double max = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++) max = fmax(max, x[first + i * inner]);
        for (int64_t i = 0; i < n; i++) sum += exp(x[first + i * inner] - max);
        for (int64_t i = 0; i < n; i++) {
            double p = x[first + i * inner] - max - log(sum);
            y[first + i * inner] = is_log ? p : exp(p);
        }
    }
}

static void softmax_ref(const tn_ref *r) { ref_along(r, false); }
static void log_softmax_ref(const tn_ref *r) { ref_along(r, true); }

/* ---- softmax --------------------------------------------------------------------------------- */

#define AXIS(n) .attrs = &(softmax_attrs){ n }

static tn_status softmax_run(tn_exec *e) { return run_along(e, false, false); }

static void softmax_vjp(tn_vjp *c)
{
    const softmax_attrs *a = c->attrs;
    c->din[0] = apply(&tn_op_softmax_grad, (tn_node *[]){ c->dout[0], c->out[0] }, 2, (int)a->axis);
}

static void softmax_expand(tn_expansion *c)
{
    const int axis = (int)((const softmax_attrs *)c->attrs)->axis;
    tn_node  *max = tn_stop_gradient(tn_max(c->in[0], &axis, 1, true));
    tn_node  *e = tn_exp(tn_sub(c->in[0], max));
    c->out[0] = tn_div(e, tn_sum(e, &axis, 1, true));
}

TN_OP_DEFINE(softmax, .doc = "e^x / sum(e^x) along an axis; a row of -inf gives zeros", .arity = 1,
    .flags = TN_INPLACE_OK, TN_ATTRS_OF(softmax), .infer = softmax_infer, .run = softmax_run,
    .scratch = softmax_scratch,
    .vjp = softmax_vjp, .expand = softmax_expand, .cost = softmax_cost, .ref = softmax_ref,
    TN_SAMPLES({ .in = { { 2, 5 } }, AXIS(-1) },
               { .in = { { 3, 4, 2 } }, AXIS(1), .lo = -4, .hi = 4 },
               { .in = { { 5, 3 } }, AXIS(0) },
               { .in = { { 67 } }, AXIS(0), .lo = -3, .hi = 3 },
               { .in = { { 2, 130 } }, AXIS(1), .lo = -3, .hi = 3 },
               { .in = { { 3, 67 } }, AXIS(0), .lo = -3, .hi = 3 },
               { .in = { { 3, 4 } }, AXIS(1), .lo = -1000, .hi = 1000 }, /* one takes all: dx = 0 */
               { .in = { { 4, 1 } }, AXIS(1) },
               { .in = { { 2, 3 } }, AXIS(2), .fails = TN_ERR_ARG, .message = "axis 2" },
               { .in = { { 0 } }, AXIS(-1), .fails = TN_ERR_SHAPE, .message = "rank 0" },
               { .in = { { 3 } }, AXIS(0), .dtype = { TN_I32 }, .fails = TN_ERR_DTYPE,
                 .message = "i32" }));

tn_node *tn_softmax(tn_node *x, int axis) { return apply(&tn_op_softmax, &x, 1, axis); }

static tn_status softmax_grad_run(tn_exec *e) { return run_along(e, true, false); }

static void softmax_grad_expand(tn_expansion *c)
{
    const int axis = (int)((const softmax_attrs *)c->attrs)->axis;
    tn_node  *dy = c->in[0], *y = c->in[1];
    c->out[0] = tn_mul(y, tn_sub(dy, tn_sum(tn_mul(dy, y), &axis, 1, true)));
}

TN_OP_DEFINE(softmax_grad, .doc = "dy, y -> dx = y (dy - sum(dy y)) along an axis", .arity = 2,
    .flags = TN_INPLACE_OK, TN_ATTRS_OF(softmax), .infer = softmax_infer, .run = softmax_grad_run,
    .scratch = softmax_grad_scratch,
    .expand = softmax_grad_expand, .cost = softmax_cost,
    TN_SAMPLES({ .in = { { 2, 5 }, { 2, 5 } }, AXIS(1) },
               { .in = { { 3, 4, 2 }, { 3, 4, 2 } }, AXIS(1) },
               { .in = { { 2, 67 }, { 2, 67 } }, AXIS(1) },
               { .in = { { 3, 67 }, { 3, 67 } }, AXIS(0) },
               { .in = { { 2, 3 }, { 3, 2 } }, AXIS(0), .fails = TN_ERR_SHAPE,
                 .message = "one type" }));

/* ---- log_softmax ----------------------------------------------------------------------------- */

static tn_status log_softmax_run(tn_exec *e) { return run_along(e, false, true); }

static void log_softmax_vjp(tn_vjp *c)
{
    const softmax_attrs *a = c->attrs;
    c->din[0] = apply(&tn_op_log_softmax_grad, (tn_node *[]){ c->dout[0], c->out[0] }, 2,
                      (int)a->axis);
}

static void log_softmax_expand(tn_expansion *c)
{
    const int axis = (int)((const softmax_attrs *)c->attrs)->axis;
    tn_node  *x = tn_sub(c->in[0], tn_stop_gradient(tn_max(c->in[0], &axis, 1, true)));
    c->out[0] = tn_sub(x, tn_log(tn_sum(tn_exp(x), &axis, 1, true)));
}

TN_OP_DEFINE(log_softmax, .doc = "x - log(sum(e^x)) along an axis", .arity = 1,
    .flags = TN_INPLACE_OK, TN_ATTRS_OF(softmax), .infer = softmax_infer, .run = log_softmax_run,
    .scratch = softmax_scratch,
    .vjp = log_softmax_vjp, .expand = log_softmax_expand, .cost = softmax_cost,
    .ref = log_softmax_ref,
    TN_SAMPLES({ .in = { { 2, 5 } }, AXIS(-1) },
               { .in = { { 3, 4, 2 } }, AXIS(1), .lo = -4, .hi = 4 },
               { .in = { { 2, 130 } }, AXIS(1), .lo = -3, .hi = 3 },
               { .in = { { 3, 67 } }, AXIS(0), .lo = -3, .hi = 3 },
               { .in = { { 3, 4 } }, AXIS(1), .lo = -1000, .hi = 1000 },
               { .in = { { 4, 1 } }, AXIS(1) },
               { .in = { { 2, 3 } }, AXIS(-3), .fails = TN_ERR_ARG, .message = "axis -3" }));

tn_node *tn_log_softmax(tn_node *x, int axis) { return apply(&tn_op_log_softmax, &x, 1, axis); }

static tn_status log_softmax_grad_run(tn_exec *e) { return run_along(e, true, true); }

static void log_softmax_grad_expand(tn_expansion *c)
{
    const int axis = (int)((const softmax_attrs *)c->attrs)->axis;
    tn_node  *dy = c->in[0], *y = c->in[1];
    c->out[0] = tn_sub(dy, tn_mul(tn_exp(y), tn_sum(dy, &axis, 1, true)));
}

TN_OP_DEFINE(log_softmax_grad, .doc = "dy, y -> dx = dy - e^y sum(dy) along an axis", .arity = 2,
    .flags = TN_INPLACE_OK, TN_ATTRS_OF(softmax), .infer = softmax_infer,
    .run = log_softmax_grad_run,
    .scratch = softmax_grad_scratch,
    .expand = log_softmax_grad_expand, .cost = softmax_cost,
    TN_SAMPLES({ .in = { { 2, 5 }, { 2, 5 } }, AXIS(1) },
               { .in = { { 3, 4, 2 }, { 3, 4, 2 } }, AXIS(1) },
               { .in = { { 2, 67 }, { 2, 67 } }, AXIS(1) },
               { .in = { { 3, 67 }, { 3, 67 } }, AXIS(0) }));
