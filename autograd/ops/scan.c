/* Ops that walk along one axis: cumsum, argmax, argmin. The input is seen as [outer, n, inner]. */
#include "autograd/ops/build.h"
#include "tensor/reduce.h"

/* ---- what they share ------------------------------------------------------------------------- */

enum { COLUMNS = 256, TASK_ELEMENTS = 1 << 14 };

typedef struct scan_plan {
    tn_dtype    dtype;
    const void *x;
    void       *y;
    int64_t     outer, n, inner;
    int64_t     tiles, per_task; /* a unit is a tile of up to COLUMNS columns of one outer */
    bool        flag;            /* cumsum: from the end; arg: of the largest */
    const tn_kernels *kernels;
} scan_plan;

static scan_plan plan_scan(const tn_exec *e, int64_t axis, bool flag)
{
    const tn_shape *s = &e->in[0].shape;
    scan_plan p = { .dtype = e->in[0].dtype, .x = e->in[0].data, .y = e->out[0].data, .outer = 1,
                    .n = s->dim[axis], .inner = 1, .flag = flag,
                    .kernels = tn__ctx_kernels(e->ctx) };
    for (int d = 0; d < axis; d++) p.outer *= s->dim[d];
    for (int d = (int)axis + 1; d < s->rank; d++) p.inner *= s->dim[d];
    p.tiles = (p.inner + COLUMNS - 1) / COLUMNS;
    int64_t unit = (p.n + 1) * (p.inner < COLUMNS ? p.inner + 1 : COLUMNS);
    p.per_task = unit < TASK_ELEMENTS ? TASK_ELEMENTS / unit : 1;
    return p;
}

static void run_scan(const tn_exec *e, scan_plan *p, tn_task task)
{
    int64_t units = p->outer * p->tiles;
    tn_parallel_for(e->ctx, (units + p->per_task - 1) / p->per_task, task, p);
}

/* Calls fn(p, outer, first column, columns) for the units of a task. */
#define SCAN_TASK(name, fn)                                                                        \
    static void name(void *arg, int64_t task, int worker)                                          \
    {                                                                                              \
        const scan_plan *p = arg;                                                                  \
        int64_t          u = task * p->per_task, end = u + p->per_task, all = p->outer * p->tiles; \
        (void)worker;                                                                              \
        for (; u < end && u < all; u++) {                                                          \
            int64_t first = u % p->tiles * COLUMNS, left = p->inner - first;                       \
            fn(p, u / p->tiles, first, left < COLUMNS ? left : COLUMNS);                           \
        }                                                                                          \
    }

static tn_status number_infer(tn_infer *c, int64_t axis, int *known)
{
    if (!tn_dtype_is_float(c->in[0].dtype) && !tn_dtype_is_index(c->in[0].dtype))
        return tn_infer_fail(c, TN_ERR_DTYPE, "not of f32, f64, i32 or i64: cast it first");
    return tn_infer_axis(c, axis, c->in[0].shape.rank, known);
}

/* ---- cumsum ---------------------------------------------------------------------------------- */

/* reverse: y[i] is the sum of x[i ..]: the transpose of the plain one. */
#define CUMSUM_ATTRS(F) F(cumsum, i64, axis) F(cumsum, flag, reverse)
TN_ATTRS(cumsum, CUMSUM_ATTRS)

static tn_status cumsum_infer(tn_infer *c)
{
    int axis;
    if (number_infer(c, ((const cumsum_attrs *)c->attrs)->axis, &axis) != TN_OK)
        return tn_ctx_status(c->ctx);
    c->out[0] = c->in[0];
    return TN_OK;
}

/* T adds as U does: integers wrap around. */
#define CUMSUM(T, U)                                                                               \
    do {                                                                                           \
        const T *x = (const T *)p->x + at;                                                         \
        T       *y = (T *)p->y + at, sum = 0;                                                      \
        for (int64_t r = 0; p->inner == 1 && r < p->n; r++)                                        \
            y[r * step] = sum = (T)((U)sum + (U)x[r * step]);                                      \
        if (p->inner == 1) break;                                                                  \
        for (int64_t j = 0; j < columns; j++) y[j] = x[j];                                         \
        for (int64_t r = 1; r < p->n; r++) {                                                       \
            x += step, y += step;                                                                  \
            for (int64_t j = 0; j < columns; j++) y[j] = (T)((U)y[j - step] + (U)x[j]);            \
        }                                                                                          \
    } while (0)

static void cumsum_columns(const scan_plan *p, int64_t outer, int64_t first, int64_t columns)
{
    int64_t at = outer * p->n * p->inner + first, step = p->inner;
    if (p->flag) at += (p->n - 1) * p->inner, step = -step;
    switch (p->dtype) {
    case TN_F32: CUMSUM(float, float); break;
    case TN_F64: CUMSUM(double, double); break;
    case TN_I32: CUMSUM(int32_t, uint32_t); break;
    default: CUMSUM(int64_t, uint64_t); break;
    }
}
SCAN_TASK(cumsum_task, cumsum_columns)

static tn_status cumsum_run(tn_exec *e)
{
    const cumsum_attrs *a = e->attrs;
    scan_plan           p = plan_scan(e, tn_axis((int)a->axis, e->in[0].shape.rank), a->reverse);
    if (p.n > 0) run_scan(e, &p, cumsum_task);
    return TN_OK;
}

static void cumsum_vjp(tn_vjp *c)
{
    const cumsum_attrs *a = c->attrs;
    c->din[0] = tn_apply(&tn_op_cumsum, &c->dout[0], 1, &(cumsum_attrs){ a->axis, !a->reverse });
}

static void cumsum_ref(const tn_ref *r)
{
    const cumsum_attrs *a = r->attrs;
    const tn_shape     *s = &r->in_type[0].shape;
    int                 axis = tn_axis((int)a->axis, s->rank);
    int64_t             stride = 1, n = s->dim[axis], size = tn_shape_size(s);
    for (int d = axis + 1; d < s->rank; d++) stride *= s->dim[d];
    for (int64_t i = 0; i < size; i++) {
        int64_t at = i / stride % n, from = a->reverse ? at : 0, to = a->reverse ? n - 1 : at;
        double  sum = 0;
        for (int64_t k = from; k <= to; k++) {
            int64_t j = i + (k - at) * stride;
            sum += tn_dtype_is_float(r->in_type[0].dtype) ? ((const double *)r->in[0])[j]
                                                          : (double)((const int64_t *)r->in[0])[j];
        }
        if (tn_dtype_is_float(r->out_type[0].dtype)) ((double *)r->out[0])[i] = sum;
        else ((int64_t *)r->out[0])[i] = (int64_t)sum;
    }
}

#define ALONG(...) &(const cumsum_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(cumsum,
    .doc = "running sums along an axis: y[i] = x[0] + .. + x[i]",
    .arity = 1, .flags = TN_INPLACE_OK, TN_ATTRS_OF(cumsum), .infer = cumsum_infer,
    .run = cumsum_run, .vjp = cumsum_vjp, .ref = cumsum_ref, .cost = tn__cost_of_input,
    TN_SAMPLES({ .in = { { 5 } }, .attrs = ALONG(0, false) },
               { .in = { { 3, 4 } }, .attrs = ALONG(0, true) },
               { .in = { { 2, 3, 2 } }, .attrs = ALONG(-2, false) },
               { .in = { { 2, 67 } }, .attrs = ALONG(1, true) },
               { .in = { { 2, -1 } }, .attrs = ALONG(1, false) },
               { .in = { { 4 } }, .dtype = { TN_I32 }, .attrs = ALONG(0, false), .int_hi = 9 },
               { .in = { { 0 } }, .attrs = ALONG(0, false), .fails = TN_ERR_ARG,
                 .message = "cumsum: []: axis 0 is not in" }));

tn_node *tn_cumsum(tn_node *x, int axis)
{
    int a = tn_axis(axis, tn_rank(x));
    return tn_apply(&tn_op_cumsum, &x, 1, &(cumsum_attrs){ a < 0 ? axis : a, false });
}

/* ---- argmax, argmin -------------------------------------------------------------------------- */

#define ARG_ATTRS(F) F(arg, i64, axis) F(arg, flag, keep_dims)
TN_ATTRS(arg, ARG_ATTRS)

static tn_status arg_infer(tn_infer *c)
{
    const arg_attrs *a = c->attrs;
    int              axis;
    if (number_infer(c, a->axis, &axis) != TN_OK) return tn_ctx_status(c->ctx);
    tn_shape s = c->in[0].shape;
    int64_t  n = s.dim[axis];
    if (a->keep_dims) {
        s.dim[axis] = 1;
    } else {
        for (int d = axis; d < s.rank - 1; d++) s.dim[d] = s.dim[d + 1];
        s.rank--;
    }
    if (n == 0 && tn_shape_size(&s) > 0)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%s of no elements", c->op->name);
    c->out[0] = (tn_type){ TN_I64, s };
    return TN_OK;
}

/* Is x better than the best so far? The first NaN is better than any number, and the last word. */
#define IS_BETTER(x, best)                                                                         \
    ((p->flag ? (x) > (best) : (x) < (best)) || ((x) != (x) && (best) == (best)))

#define ARG_COLUMNS(T)                                                                             \
    do {                                                                                           \
        const T *x = (const T *)p->x + outer * p->n * p->inner + first;                            \
        T        best[COLUMNS];                                                                    \
        for (int64_t j = 0; j < columns; j++) best[j] = x[j], y[j] = 0;                            \
        for (int64_t r = 1; r < p->n; r++) {                                                       \
            x += p->inner;                                                                         \
            for (int64_t j = 0; j < columns; j++)                                                  \
                if (IS_BETTER(x[j], best[j])) best[j] = x[j], y[j] = r;                            \
        }                                                                                          \
    } while (0)

/* A row of floats: its extreme by the kernel of reductions, then where that stands first (where it
 * is NaN: the first NaN). */
#define ARG_ROW(T, reduce_rows)                                                                    \
    do {                                                                                           \
        const T *x = (const T *)p->x + outer * p->n;                                               \
        T        best;                                                                             \
        reduce_rows(p->flag ? TN__MAX : TN__MIN, x, 0, 1, p->n, &best);                            \
        for (int64_t i = 0; i < p->n; i += COLUMNS) {                                              \
            int64_t end = i + COLUMNS < p->n ? i + COLUMNS : p->n, j = i;                          \
            int     any = 0;                                                                       \
            for (; j < end; j++) any |= (x[j] == best) | (x[j] != x[j]);                           \
            if (!any) continue;                                                                    \
            for (j = i; !(x[j] == best || x[j] != x[j]);) j++;                                     \
            y[0] = j;                                                                              \
            break;                                                                                 \
        }                                                                                          \
    } while (0)

static void arg_columns(const scan_plan *p, int64_t outer, int64_t first, int64_t columns)
{
    int64_t *y = (int64_t *)p->y + outer * p->inner + first;
    bool     is_row = p->inner == 1;
    switch (p->dtype) {
    case TN_F32:
        if (is_row) ARG_ROW(float, p->kernels->reduce_rows_f32);
        else ARG_COLUMNS(float);
        break;
    case TN_F64:
        if (is_row) ARG_ROW(double, p->kernels->reduce_rows_f64);
        else ARG_COLUMNS(double);
        break;
    case TN_I32: ARG_COLUMNS(int32_t); break;
    default: ARG_COLUMNS(int64_t); break;
    }
}
SCAN_TASK(arg_task, arg_columns)

static tn_status arg_run(tn_exec *e, bool largest)
{
    const arg_attrs *a = e->attrs;
    scan_plan        p = plan_scan(e, tn_axis((int)a->axis, e->in[0].shape.rank), largest);
    if (p.n > 0) run_scan(e, &p, arg_task);
    return TN_OK;
}

static tn_status argmax_run(tn_exec *e) { return arg_run(e, true); }
static tn_status argmin_run(tn_exec *e) { return arg_run(e, false); }

static void arg_ref(const tn_ref *r, bool largest)
{
    const tn_shape *s = &r->in_type[0].shape;
    int             axis = tn_axis((int)((const arg_attrs *)r->attrs)->axis, s->rank);
    int64_t         n = s->dim[axis], inner = 1, outer = 1;
    bool            is_float = tn_dtype_is_float(r->in_type[0].dtype);
    for (int d = 0; d < axis; d++) outer *= s->dim[d];
    for (int d = axis + 1; d < s->rank; d++) inner *= s->dim[d];
    for (int64_t i = 0; i < outer * inner; i++) {
        double  best = 0;
        int64_t at = 0;
        for (int64_t k = 0; k < n; k++) {
            int64_t j = (i / inner * n + k) * inner + i % inner;
            double x =
                is_float ? ((const double *)r->in[0])[j] : (double)((const int64_t *)r->in[0])[j];
            if (k == 0 || (largest ? x > best : x < best)) best = x, at = k;
        }
        ((int64_t *)r->out[0])[i] = at;
    }
}

static void argmax_ref(const tn_ref *r) { arg_ref(r, true); }
static void argmin_ref(const tn_ref *r) { arg_ref(r, false); }

#define ARG_OF(...) &(const arg_attrs){ __VA_ARGS__ }
#define ARG_SAMPLES                                                                                \
    { .in = { { 5 } }, .attrs = ARG_OF(0, false), .distinct = true },                              \
    { .in = { { 3, 4 } }, .attrs = ARG_OF(0, true), .distinct = true },                            \
    { .in = { { 2, 3, 2 } }, .attrs = ARG_OF(-2, false), .distinct = true },                       \
    { .in = { { 4, 3 } }, .dtype = { TN_I32 }, .attrs = ARG_OF(1, false), .int_hi = 3 },           \
    { .in = { { -1, 3 } }, .attrs = ARG_OF(1, false) },                                            \
    { .in = { { 3, -1 } }, .attrs = ARG_OF(1, false), .fails = TN_ERR_SHAPE,                       \
      .message = "of no elements" }

TN_OP_DEFINE(argmax,
    .doc = "index of the largest element along an axis, the first of equals; a NaN is larger",
    .arity = 1, .flags = TN_NOT_DIFFERENTIABLE, TN_ATTRS_OF(arg), .infer = arg_infer,
    .run = argmax_run, .ref = argmax_ref, .cost = tn__cost_of_input, TN_SAMPLES(ARG_SAMPLES));

TN_OP_DEFINE(argmin,
    .doc = "index of the smallest element along an axis, the first of equals; a NaN is smaller",
    .arity = 1, .flags = TN_NOT_DIFFERENTIABLE, TN_ATTRS_OF(arg), .infer = arg_infer,
    .run = argmin_run, .ref = argmin_ref, .cost = tn__cost_of_input, TN_SAMPLES(ARG_SAMPLES));

static tn_node *arg_of(const tn_op *op, tn_node *x, int axis, bool keep_dims)
{
    int a = tn_axis(axis, tn_rank(x));
    return tn_apply(op, &x, 1, &(arg_attrs){ a < 0 ? axis : a, keep_dims });
}

tn_node *tn_argmax(tn_node *x, int axis, bool keep_dims)
{
    return arg_of(&tn_op_argmax, x, axis, keep_dims);
}
tn_node *tn_argmin(tn_node *x, int axis, bool keep_dims)
{
    return arg_of(&tn_op_argmin, x, axis, keep_dims);
}
