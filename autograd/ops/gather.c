/* Elements by index along an axis: gather takes them, scatter_add adds them (its transpose), in
 * rising order of the source, whoever adds them, so that the bits are fixed. */
#include "autograd/ops/build.h"
#include "autograd/ops/index_inputs.h"
#include "tensor/copy.h"

#include <string.h>

enum { CHUNK = 4096, LINES = 16 }; /* elements of a task; lines that share cache lines */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

#define GATHER_ATTRS(F) F(gather, i64, axis)
TN_ATTRS(gather, GATHER_ATTRS)

/* The index has x's rank, and along other axes no more than x's size. */
static tn_status gather_shapes(tn_infer *c)
{
    const tn_shape *x = &c->in[0].shape, *index = &c->in[1].shape;
    int             axis;
    if (tn_infer_index(c, 1) != TN_OK) return tn_ctx_status(c->ctx);
    if (tn_infer_axis(c, ((const gather_attrs *)c->attrs)->axis, x->rank, &axis) != TN_OK)
        return tn_ctx_status(c->ctx);
    if (x->rank != index->rank)
        return tn_infer_fail(c, TN_ERR_SHAPE, "the index has rank %d, not %d", index->rank,
                             x->rank);
    bool fits = true;
    for (int d = 0; fits && d < x->rank; d++) fits = d == axis || index->dim[d] <= x->dim[d];
    if (fits) return TN_OK;
    return tn_infer_fail(c, TN_ERR_SHAPE, "the index must fit into the first on every axis but %d",
                         axis);
}

static tn_status gather_infer(tn_infer *c)
{
    if (gather_shapes(c) != TN_OK) return tn_ctx_status(c->ctx);
    c->out[0] = (tn_type){ c->in[0].dtype, c->in[1].shape };
    return TN_OK;
}

/* Units are lines along the axis (scatter: so that one thread meets all that goes to one place) or,
 * of the last dim, whole rows: element k of a unit is at index i + k step, and meets the element of
 * x at x + k x_step + index x_axis. */
typedef struct line_plan {
    tn_dtype       dtype;
    void          *x;         /* read by gather, added to by scatter_add */
    void          *y;         /* written by gather, read by scatter_add */
    const int64_t *index;
    tn__odometer   lines;     /* a: into the index, b: into x */
    int64_t        n_lines, n, step, x_step, x_axis, per_task;
    bool           adds, is_wide; /* lines that are neighbours in memory are taken together */
} line_plan;

/* Lines run along dimension `along`. */
static line_plan plan_lines(const tn_shape *x, const tn_shape *index, int axis, int along)
{
    line_plan p = { .n = index->dim[along], .n_lines = 1 };
    int64_t   x_stride[TN_MAX_RANK], stride[TN_MAX_RANK];
    tn_shape_strides(x, x_stride), tn_shape_strides(index, stride);
    for (int d = 0; d < x->rank; d++) {
        if (d == along) continue;
        int k = p.lines.rank++;
        p.lines.n[k] = index->dim[d];
        p.lines.a_stride[k] = stride[d], p.lines.b_stride[k] = d == axis ? 0 : x_stride[d];
        p.n_lines *= index->dim[d];
    }
    p.step = stride[along], p.x_step = along == axis ? 0 : x_stride[along],
    p.x_axis = x_stride[axis];
    p.per_task = CHUNK / (p.n + 1) + 1;
    return p;
}

#define GATHER_LINE(T)                                                                             \
    do {                                                                                           \
        T       *y = (T *)p->y + at.a;                                                             \
        const T *x = (const T *)p->x + at.b;                                                       \
        for (int64_t k = 0; k < n; k++) y[k * step] = x[k * x_step + index[k * step] * x_axis];    \
    } while (0);                                                                                   \
    break

#define SCATTER_LINE(T, U)                                                                         \
    do {                                                                                           \
        T       *x = (T *)p->x + at.b;                                                             \
        const T *y = (const T *)p->y + at.a;                                                       \
        for (int64_t k = 0; k < n; k++)                                                            \
            for (int64_t j = k * step; j < k * step + wide; j++) {                                 \
                T *to = x + (j - k * step) + k * x_step + index[j] * x_axis;                       \
                *to = (T)((U)*to + (U)y[j]);                                                       \
            }                                                                                      \
    } while (0);                                                                                   \
    break

static void line_task(void *arg, int64_t task, int worker)
{
    const line_plan *p = arg;
    int64_t          u = task * p->per_task, end = least(u + p->per_task, p->n_lines);
    (void)worker;
    tn__odometer at = p->lines;
    tn__odometer_set(&at, u);
    const int64_t n = p->n, step = p->step, x_step = p->x_step, x_axis = p->x_axis;
    const int     last = at.rank - 1;
    for (int64_t wide; u < end; u += wide) {
        const int64_t *index = p->index + at.a;
        wide = p->is_wide ? least(end - u, at.n[last] - at.at[last]) : 1;
        switch (p->adds ? (int)p->dtype : -(int)tn_dtype_size(p->dtype)) {
        case -1: GATHER_LINE(uint8_t);
        case -2: GATHER_LINE(uint16_t);
        case -4: GATHER_LINE(uint32_t);
        case -8: GATHER_LINE(uint64_t);
        case TN_F32: SCATTER_LINE(float, float);
        case TN_F64: SCATTER_LINE(double, double);
        case TN_I32: SCATTER_LINE(int32_t, uint32_t);
        case TN_I64: SCATTER_LINE(int64_t, uint64_t);
        default: break;
        }
        for (int64_t j = 0; j < wide; j++) tn__odometer_next(&at);
    }
}

static void run_lines(tn_exec *e, line_plan *p)
{
    if (p->n > 0 && p->n_lines > 0)
        tn_parallel_for(e->ctx, (p->n_lines + p->per_task - 1) / p->per_task, line_task, p);
}

static tn_status gather_run(tn_exec *e)
{
    const tn_shape *x = &e->in[0].shape, *s = &e->in[1].shape;
    int             axis = tn_axis((int)((const gather_attrs *)e->attrs)->axis, x->rank);
    char           *scratch = e->scratch;
    const int64_t  *index;
    if (tn__indices(e, 1, x->dim[axis], &scratch, &index) != TN_OK) return TN_ERR_INDEX;
    line_plan p = plan_lines(x, s, axis, s->rank - 1);
    p.dtype = e->in[0].dtype, p.index = index;
    p.x = (void *)(uintptr_t)tn__plain(e, 0, &scratch), p.y = e->out[0].data;
    run_lines(e, &p);
    return TN_OK;
}

static void gather_vjp(tn_vjp *c)
{
    int axis = (int)((const gather_attrs *)c->attrs)->axis;
    c->din[0] = tn_scatter_add(tn_zeros_like(c->in[0]), axis, c->in[1], c->dout[0]);
}

/* The element of x that element i of the index points to. */
static int64_t ref_place(const tn_ref *r, int64_t i)
{
    const tn_shape *x = &r->in_type[0].shape, *s = &r->in_type[1].shape;
    int             axis = tn_axis((int)((const gather_attrs *)r->attrs)->axis, x->rank);
    int64_t         at[TN_MAX_RANK] = { 0 }, place = 0, rest = i;
    for (int d = s->rank - 1; d >= 0; d--) at[d] = rest % s->dim[d], rest /= s->dim[d];
    at[axis] = tn__ref_index(r, 1, i);
    for (int d = 0; d < x->rank; d++) place = place * x->dim[d] + at[d];
    return place;
}

static void gather_ref(const tn_ref *r)
{
    size_t size = r->in_type[0].dtype == TN_BOOL ? 1 : 8;
    for (int64_t i = 0; i < tn_shape_size(&r->in_type[1].shape); i++)
        memcpy((char *)r->out[0] + (size_t)i * size,
               (const char *)r->in[0] + (size_t)ref_place(r, i) * size, size);
}

#define GATHER(axis) &(const gather_attrs){ axis }
TN_OP_DEFINE(gather,
    .doc = "elements by index along an axis: y[i][j] = x[index[i][j]][j] (axis 0)",
    .arity = 2, .flags = TN_STRIDED | TN_CAN_FAIL, TN_ATTRS_OF(gather), .infer = gather_infer,
    .run = gather_run, .scratch = tn__take_scratch, .vjp = gather_vjp, .ref = gather_ref,
    .cost = tn__take_cost,
    TN_SAMPLES({ .in = { { 3, 4 }, { 2, 4 } }, INDEX(1), .int_hi = 3, .attrs = GATHER(0) },
               { .in = { { 3, 4 }, { 3, 6 } }, INDEX64(1), .int_hi = 4, .attrs = GATHER(-1) },
               { .in = { { 2, 3, 4 }, { 1, 5, 2 } }, INDEX(1), .int_hi = 3, .attrs = GATHER(1) },
               { .in = { { 5 }, { 3 } }, INDEX(1), .int_hi = 5, .attrs = GATHER(0) },
               { .in = { { 3, 4 }, { 3, -1 } }, INDEX(1), .attrs = GATHER(1) },
               { .in = { { 3, 4 }, { 3, 5 } }, INDEX(1), .attrs = GATHER(0), .fails = TN_ERR_SHAPE,
                 .message = "gather: [3,4] x [3,5]: the index must fit" }));

tn_node *tn_gather(tn_node *x, int axis, tn_node *index)
{
    int a = tn_axis(axis, tn_rank(x));
    return tn_apply(&tn_op_gather, (tn_node *[]){ x, index }, 2,
                    &(gather_attrs){ a < 0 ? axis : a });
}

static tn_status scatter_add_infer(tn_infer *c)
{
    if (tn__infer_addends(c) != TN_OK || gather_shapes(c) != TN_OK) return tn_ctx_status(c->ctx);
    if (!tn_shape_equal(&c->in[1].shape, &c->in[2].shape))
        return tn_infer_fail(c, TN_ERR_SHAPE, "index and source differ in shape");
    c->out[0] = c->in[0];
    return TN_OK;
}

static tn_status scatter_add_run(tn_exec *e)
{
    const tn_shape *x = &e->in[0].shape;
    int             axis = tn_axis((int)((const gather_attrs *)e->attrs)->axis, x->rank);
    char           *scratch = e->scratch;
    const int64_t  *index;
    if (tn__indices(e, 1, x->dim[axis], &scratch, &index) != TN_OK) return TN_ERR_INDEX;
    if (e->in[0].data != e->out[0].data) tn__copy(e->ctx, &e->out[0], &e->in[0]);
    line_plan p = plan_lines(x, &e->in[1].shape, axis, axis);
    p.dtype = e->in[0].dtype, p.index = index, p.adds = true;
    p.x = e->out[0].data, p.y = (void *)(uintptr_t)tn__plain(e, 2, &scratch);
    p.is_wide = axis < x->rank - 1;
    const int64_t most = (p.n_lines + tn_ctx_threads(e->ctx) - 1) / tn_ctx_threads(e->ctx);
    if (p.is_wide && p.per_task < LINES) p.per_task = least(LINES, most);
    run_lines(e, &p);
    return TN_OK;
}

static void scatter_add_vjp(tn_vjp *c)
{
    if (c->want[0]) c->din[0] = c->dout[0];
    if (c->want[2])
        c->din[2] = tn_gather(c->dout[0], (int)((const gather_attrs *)c->attrs)->axis, c->in[1]);
}

static void scatter_add_ref(const tn_ref *r)
{
    bool is_float = tn_dtype_is_float(r->in_type[0].dtype);
    memcpy(r->out[0], r->in[0], (size_t)tn_shape_size(&r->in_type[0].shape) * 8);
    for (int64_t i = 0; i < tn_shape_size(&r->in_type[1].shape); i++) {
        int64_t to = ref_place(r, i);
        if (is_float) ((double *)r->out[0])[to] += ((const double *)r->in[2])[i];
        else ((int64_t *)r->out[0])[to] += ((const int64_t *)r->in[2])[i];
    }
}

TN_OP_DEFINE(scatter_add,
    .doc = "x with src[i][j] added at [index[i][j]][j] (axis 0), in rising order of the source",
    .arity = 3, .flags = TN_STRIDED | TN_CAN_FAIL | TN_INPLACE_OK, TN_ATTRS_OF(gather),
    .infer = scatter_add_infer, .run = scatter_add_run, .scratch = tn__index_add_scratch,
    .vjp = scatter_add_vjp, .ref = scatter_add_ref, .cost = tn__index_add_cost,
    TN_SAMPLES({ .in = { { 3, 4 }, { 5, 4 }, { 5, 4 } }, INDEX(1), .int_hi = 3,
                 .attrs = GATHER(0) },
               { .in = { { 3, 4 }, { 2, 6 }, { 2, 6 } }, INDEX64(1), .int_hi = 4,
                 .attrs = GATHER(1) },
               { .in = { { 2, 3, 2 }, { 2, 4, 1 }, { 2, 4, 1 } }, INDEX(1), .int_hi = 3,
                 .attrs = GATHER(1) },
               { .in = { { 3 }, { -1 }, { -1 } }, INDEX(1), .attrs = GATHER(0) },
               { .in = { { 3, 4 }, { 2, 4 }, { 3, 4 } }, INDEX(1), .attrs = GATHER(0),
                 .fails = TN_ERR_SHAPE,
                 .message = "index and source differ in shape" }));

tn_node *tn_scatter_add(tn_node *x, int axis, tn_node *index, tn_node *src)
{
    int a = tn_axis(axis, tn_rank(x));
    return tn_apply(&tn_op_scatter_add, (tn_node *[]){ x, index, src }, 3,
                    &(gather_attrs){ a < 0 ? axis : a });
}
