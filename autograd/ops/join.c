/* Ops that move elements into a new place: copy, concat, pad (the transpose of slice), fold (that
 * of unfold), and arange, which makes them. Inputs are read where they lie, of any strides. */
#include "autograd/ops/build.h"
#include "autograd/ops/view.h"
#include "autograd/program.h"
#include "tensor/copy.h"

/* The part of out that is x's, from `first` along the axis, in steps. */
static tn_tensor part_of(const tn_tensor *out, const tn_tensor *x, int axis, int64_t first,
                         int64_t step)
{
    tn_tensor part = *out;
    part.shape = x->shape;
    part.data = (char *)out->data + first * out->stride[axis] * (int64_t)tn_dtype_size(out->dtype);
    if (x->shape.dim[axis] > 1) part.stride[axis] *= step;
    return part;
}

/* ---- copy ------------------------------------------------------------------------------------ */

static tn_status copy_infer(tn_infer *c)
{
    c->out[0] = c->in[0];
    return TN_OK;
}

static tn_status copy_run(tn_exec *e)
{
    tn__copy(e->ctx, &e->out[0], &e->in[0]);
    return TN_OK;
}

static void copy_vjp(tn_vjp *c) { c->din[0] = c->dout[0]; }

static bool copy_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    memcpy(in, at, sizeof *in * (size_t)r->out_type[k].shape.rank);
    return true;
}

REF_MOVE(copy)

TN_OP_DEFINE(copy,
    .doc = "y = x, contiguous in memory",
    .arity = 1, .flags = TN_STRIDED, .infer = copy_infer, .run = copy_run, .vjp = copy_vjp,
    .ref = copy_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 3, 4 } } }, { .in = { { 67, 33 } } }, { .in = { { 2, 3, 5, 2 } } },
               { .in = { { 0 } } }, { .in = { { 3, -1 } } }));

tn_node *tn_contiguous(tn_node *x) { return tn_apply(&tn_op_copy, &x, 1, NULL); }

/* ---- concat ---------------------------------------------------------------------------------- */

static const tn_attr_field concat_fields[] = { CONCAT_ATTRS(TN_ATTR_FIELD) { NULL, TN_ATTR_END,
                                                                             0 } };

static tn_status concat_infer(tn_infer *c)
{
    const concat_attrs *a = c->attrs;
    tn_type             out = c->in[0];
    int                 axis;
    if (tn_infer_axis(c, a->axis, out.shape.rank, &axis) != TN_OK) return tn_ctx_status(c->ctx);
    for (int i = 1; i < c->n_in; i++) {
        tn_shape s = c->in[i].shape;
        int64_t  n = s.rank == out.shape.rank ? s.dim[axis] : 0;
        if (c->in[i].dtype != out.dtype)
            return tn_infer_fail(c, TN_ERR_DTYPE, "inputs 0 and %d differ in dtype", i);
        if (s.rank == out.shape.rank) s.dim[axis] = out.shape.dim[axis];
        if (!tn_shape_equal(&s, &out.shape))
            return tn_infer_fail(c, TN_ERR_SHAPE,
                                 "input %d differs from those before it in more than axis %d", i,
                                 axis);
        if (n > ((int64_t)1 << 46) - out.shape.dim[axis])
            return tn_infer_fail(c, TN_ERR_SHAPE, "more than 2^46 elements");
        out.shape.dim[axis] += n;
    }
    c->out[0] = out;
    return TN_OK;
}

static tn_status concat_run(tn_exec *e)
{
    int     axis = tn_axis((int)((const concat_attrs *)e->attrs)->axis, e->out[0].shape.rank);
    int64_t first = 0;
    for (int i = 0; i < e->n_in; i++) {
        tn_tensor part = part_of(&e->out[0], &e->in[i], axis, first, 1);
        tn__copy(e->ctx, &part, &e->in[i]);
        first += e->in[i].shape.dim[axis];
    }
    return TN_OK;
}

/* Slices rather than a split: only those that are wanted. */
static void concat_vjp(tn_vjp *c)
{
    int     axis = (int)((const concat_attrs *)c->attrs)->axis;
    int64_t first = 0;
    for (int i = 0; i < c->n_in; i++) {
        int64_t n = tn_dim(c->in[i], axis);
        if (c->want[i]) c->din[i] = tn_slice(c->dout[0], axis, first, first + n, 1);
        first += n;
    }
}

static void concat_ref(const tn_ref *r)
{
    const tn_shape *out = &r->out_type[0].shape;
    int             axis = tn_axis((int)((const concat_attrs *)r->attrs)->axis, out->rank);
    size_t          size = r->out_type[0].dtype == TN_BOOL ? 1 : 8;
    int64_t         outer = 1, inner = 1, first = 0;
    for (int d = 0; d < axis; d++) outer *= out->dim[d];
    for (int d = axis + 1; d < out->rank; d++) inner *= out->dim[d];
    for (int i = 0; i < r->n_in; i++) {
        int64_t n = r->in_type[i].shape.dim[axis];
        for (int64_t o = 0; o < outer; o++)
            for (int64_t k = 0; k < n * inner; k++)
                memcpy((char *)r->out[0] +
                           (size_t)((o * out->dim[axis] + first) * inner + k) * size,
                       (const char *)r->in[i] + (size_t)(o * n * inner + k) * size, size);
        first += n;
    }
}

#define CONCAT(axis) &(const concat_attrs){ axis }
TN_OP_DEFINE(concat,
    .doc = "inputs one after another along an axis",
    .arity = 1, .max_arity = -1, .flags = TN_STRIDED, TN_ATTRS_OF(concat), .infer = concat_infer,
    .run = concat_run, .vjp = concat_vjp, .ref = concat_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 2, 3 }, { 1, 3 } }, .n_in = 2, .attrs = CONCAT(0) },
               { .in = { { 2, 3 }, { 2, 1 }, { 2, 2 } }, .n_in = 3, .attrs = CONCAT(-1) },
               { .in = { { 2, 2, 3 }, { 2, 1, 3 } }, .n_in = 2, .attrs = CONCAT(1) },
               { .in = { { 4 } }, .n_in = 1, .attrs = CONCAT(0) },
               { .in = { { 2, -1 }, { 2, 3 } }, .n_in = 2, .attrs = CONCAT(1) },
               { .in = { { 2, 3 }, { 2, 4 } }, .n_in = 2, .attrs = CONCAT(0), .fails = TN_ERR_SHAPE,
                 .message = "concat: [2,3] x [2,4]: input 1 differs from those before it" },
               { .in = { { 2 }, { 2 } }, .n_in = 2, .dtype = { TN_F32, TN_I32 }, .attrs = CONCAT(0),
                 .fails = TN_ERR_DTYPE, .message = "inputs 0 and 1 differ in dtype" }));

tn_node *tn_concat(tn_node *const *x, int n, int axis)
{
    if (!x || n < 1) return NULL;
    int a = tn_axis(axis, tn_rank(x[0]));
    return tn_apply(&tn_op_concat, x, n, &(concat_attrs){ a < 0 ? axis : a });
}

tn_node *tn_stack(tn_node *const *x, int n, int axis)
{
    if (!x || n < 1 || !x[0]) return NULL;
    tn_ctx   *ctx = tn_node_ctx(x[0]);
    tn_shape  first = tn_node_shape(x[0]);
    tn_node **with_axis = tn_alloc(ctx, (size_t)n * sizeof *with_axis), *y = NULL;
    bool      ok = with_axis != NULL;
    const tn_node *other = NULL; /* one of the inputs that are no variables */
    for (int i = 0; i < n; i++)
        if (tn_node_graph(x[i])) other = x[i];
    for (int i = 0; ok && i < n; i++) {
        tn_shape s = tn_node_shape(x[i]);
        if (x[i] && !tn_shape_equal(&s, &first))
            tn__refuse("stack", x[0], TN_ERR_SHAPE, "input %d has another shape", i);
        else
            with_axis[i] = tn_unsqueeze(tn__beside(x[i], other), axis);
        ok = with_axis[i] != NULL;
    }
    if (ok) y = tn_concat(with_axis, n, tn_axis(axis, first.rank + 1));
    tn_free(ctx, with_axis);
    return y;
}

/* ---- pad ------------------------------------------------------------------------------------- */

/* `value` of size n along the axis, with x's elements at begin, begin + step, .. */
#define PAD_ATTRS(F)                                                                               \
    F(pad, i64, axis) F(pad, i64, begin) F(pad, i64, step) F(pad, i64, n) F(pad, f64, value)
TN_ATTRS(pad, PAD_ATTRS)

static tn_status pad_infer(tn_infer *c)
{
    const pad_attrs *a = c->attrs;
    int              axis;
    if (tn_infer_axis(c, a->axis, c->in[0].shape.rank, &axis) != TN_OK)
        return tn_ctx_status(c->ctx);
    int64_t count = c->in[0].shape.dim[axis], most = (int64_t)1 << 46;
    bool    ok = a->step != 0 && a->n >= count && a->n <= most && a->begin >= 0;
    if (ok && count > 0) ok = a->begin < a->n;
    if (ok && count > 1) {
        int64_t room = a->step > 0 ? (a->n - 1 - a->begin) / a->step : -(a->begin / a->step);
        ok = a->step > -most && count - 1 <= room;
    }
    if (!ok)
        return tn_infer_fail(c, TN_ERR_ARG,
                             "from %lld in steps of %lld: does not fit size %lld of axis %d",
                             (long long)a->begin, (long long)a->step, (long long)a->n, axis);
    if (!tn__holds(c->in[0].dtype, a->value))
        return tn__cannot_hold(c, c->in[0].dtype, a->value);
    c->out[0] = c->in[0];
    c->out[0].shape.dim[axis] = a->n;
    return TN_OK;
}

/* One value in out's places [first, first + n) along the axis. */
static void fill_part(tn_exec *e, int axis, int64_t first, int64_t n, void *value)
{
    tn_tensor one = { .dtype = e->out[0].dtype, .shape = e->out[0].shape, .data = value };
    one.shape.dim[axis] = n;
    tn_tensor part = part_of(&e->out[0], &one, axis, first, 1);
    tn__copy(e->ctx, &part, &one);
}

static tn_status pad_run(tn_exec *e)
{
    const pad_attrs *a = e->attrs;
    int              axis = tn_axis((int)a->axis, e->out[0].shape.rank);
    int64_t          count = e->in[0].shape.dim[axis];
    _Alignas(16) char value[16];
    tn__store(e->out[0].dtype, value, 0, a->value);
    bool is_dense = a->step == 1 || a->step == -1 || count == 1;
    if (count > 0 && is_dense) { /* only what x does not cover */
        int64_t first = a->step < 0 ? a->begin - (count - 1) : a->begin;
        fill_part(e, axis, 0, first, value);
        fill_part(e, axis, first + count, a->n - first - count, value);
    } else {
        tn__fill(e->ctx, e->out[0].data, tn_shape_size(&e->out[0].shape),
                 tn_dtype_size(e->out[0].dtype), value);
    }
    tn_tensor part = part_of(&e->out[0], &e->in[0], axis, count ? a->begin : 0, a->step);
    tn__copy(e->ctx, &part, &e->in[0]);
    return TN_OK;
}

static void pad_vjp(tn_vjp *c)
{
    const pad_attrs *a = c->attrs;
    int64_t          count = tn_dim(c->in[0], (int)a->axis), step = count > 1 ? a->step : 1;
    int64_t          end = a->begin + count * step;
    c->din[0] = tn_slice(c->dout[0], (int)a->axis, a->begin, end < 0 ? INT64_MIN : end, step);
}

static bool pad_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    const pad_attrs *a = r->attrs;
    int              rank = r->out_type[k].shape.rank, axis = tn_axis((int)a->axis, rank);
    int64_t          from = at[axis] - a->begin;
    memcpy(in, at, sizeof *in * (size_t)rank);
    in[axis] = from / a->step;
    return from % a->step == 0 && in[axis] >= 0 && in[axis] < r->in_type[0].shape.dim[axis];
}

static void pad_ref(const tn_ref *r)
{
    const pad_attrs *a = r->attrs;
    int64_t          n = tn_shape_size(&r->out_type[0].shape);
    tn_dtype         d = r->out_type[0].dtype;
    for (int64_t i = 0; i < n; i++) {
        if (d == TN_BOOL) ((uint8_t *)r->out[0])[i] = a->value != 0;
        else if (d == TN_U8 || tn_dtype_is_index(d)) ((int64_t *)r->out[0])[i] = (int64_t)a->value;
        else ((double *)r->out[0])[i] = a->value;
    }
    tn__ref_move(r, 0, pad_map);
}

#define PAD(...) &(const pad_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(pad,
    .doc = "value of size n along the axis, with x at begin, begin + step, ..",
    .arity = 1, .flags = TN_STRIDED, TN_ATTRS_OF(pad), .infer = pad_infer, .run = pad_run,
    .vjp = pad_vjp, .ref = pad_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = PAD(0, 1, 1, 4, 0.5) },
               { .in = { { 2, 3 } }, .attrs = PAD(-1, 4, -2, 6, 0) },
               { .in = { { 2, 2, 2 } }, .attrs = PAD(1, 1, 3, 5, -1) },
               { .in = { { 3 } }, .attrs = PAD(0, 2, -1, 5, 0) },
               { .in = { { 2, 1 } }, .attrs = PAD(1, 2, 7, 4, 0) },
               { .in = { { 2, -1 } }, .attrs = PAD(1, 0, 1, 3, 2) },
               { .in = { { 3 } }, .dtype = { TN_I32 }, .attrs = PAD(0, 0, 1, 5, 7) },
               { .in = { { 3 } }, .attrs = PAD(0, 0, 2, 4, 0), .fails = TN_ERR_ARG,
                 .message = "pad: [3]: from 0 in steps of 2: does not fit size 4 of axis 0" },
               { .in = { { 3 } }, .dtype = { TN_I32 }, .attrs = PAD(0, 0, 1, 4, 0.5),
                 .fails = TN_ERR_ARG,
                 .message = "i32 cannot hold 0.5" }));

tn_node *tn_pad(tn_node *x, int axis, int64_t before, int64_t after, double value)
{
    if (!x) return NULL;
    int64_t most = (int64_t)1 << 46;
    int     a = tn_axis(axis, tn_rank(x));
    if (before < 0 || after < 0 || before > most || after > most)
        return tn__refuse("pad", x, TN_ERR_ARG, "%lld before and %lld after", (long long)before,
                          (long long)after);
    return tn_apply(
        &tn_op_pad, &x, 1,
        &(pad_attrs){ a < 0 ? axis : a, before, 1, tn_dim(x, axis) + before + after, value });
}

tn_node *tn__spread(tn_node *x, int64_t axis, int64_t begin, int64_t step, int64_t n)
{
    return tn_apply(&tn_op_pad, &x, 1, &(pad_attrs){ axis, begin, step, n, 0 });
}

/* ---- fold ------------------------------------------------------------------------------------ */

/* x [.., windows, .., size]: window w is added at w step of the axis, which gets size n. */
#define FOLD_ATTRS(F) F(fold, i64, axis) F(fold, i64, step) F(fold, i64, n)
TN_ATTRS(fold, FOLD_ATTRS)

static tn_status fold_infer(tn_infer *c)
{
    const fold_attrs *a = c->attrs;
    tn_shape          s = c->in[0].shape;
    int               axis;
    if (tn_infer_float(c, 0) != TN_OK || tn_infer_rank(c, 0, 2) != TN_OK)
        return tn_ctx_status(c->ctx);
    int64_t size = s.dim[--s.rank];
    if (tn_infer_axis(c, a->axis, s.rank, &axis) != TN_OK) return tn_ctx_status(c->ctx);
    if (a->axis < 0 || a->step < 1 || size < 1 || a->n < size ||
        (a->n - size) / a->step + 1 != s.dim[axis])
        return tn_infer_fail(
            c, TN_ERR_ARG, "%lld windows of %lld in steps of %lld do not cover size %lld",
            (long long)s.dim[axis], (long long)size, (long long)a->step, (long long)a->n);
    s.dim[axis] = a->n;
    c->out[0] = (tn_type){ c->in[0].dtype, s };
    return TN_OK;
}

/* Dims in front of the axis, and behind it: how many, how far apart in x. */
typedef struct fold_dims {
    int     rank;
    int64_t dim[TN_MAX_RANK], stride[TN_MAX_RANK], count; /* count: of all together */
} fold_dims;

typedef struct fold_plan {
    const tn_tensor *x;
    void            *y;
    fold_dims        outer, inner; /* inner without its innermost, */
    int64_t          run, run_stride; /* which is this long */
    int64_t          windows, window_stride, size, size_stride, step, n, per_task;
} fold_plan;

/* Dims first .. end - 1 of x, those that lie one behind the other as one. */
static fold_dims dims_of(const tn_tensor *x, int first, int end)
{
    fold_dims f = { .count = 1 };
    for (int d = first; d < end; d++) {
        const int64_t dim = x->shape.dim[d];
        f.count *= dim;
        if (dim == 1) continue;
        if (f.rank > 0 && f.stride[f.rank - 1] == dim * x->stride[d]) f.dim[f.rank - 1] *= dim;
        else f.dim[f.rank++] = dim;
        f.stride[f.rank - 1] = x->stride[d];
    }
    return f;
}

static int64_t offset_of(const fold_dims *f, int64_t i)
{
    int64_t offset = 0;
    for (int d = f->rank - 1; d > 0; d--) offset += i % f->dim[d] * f->stride[d], i /= f->dim[d];
    return f->rank > 0 ? offset + i * f->stride[0] : 0;
}

/* y[0 .. run) = n windows, rising, which stand `apart`, added to zeros */
#define FOLD_RUN(T)                                                                                \
    static void fold_run_##T(T *restrict y, const T *x, int64_t run, int64_t stride, int64_t n,    \
                             int64_t apart)                                                        \
    {                                                                                              \
        const T *a = x, *b = x + apart, *c = b + apart;                                            \
        if (stride == 1 && n == 3) {                                                               \
            for (int64_t i = 0; i < run; i++) y[i] = (0 + a[i]) + b[i] + c[i];                     \
            return;                                                                                \
        }                                                                                          \
        memset(y, 0, (size_t)run * sizeof *y);                                                     \
        for (int64_t w = 0; w < n; w++)                                                            \
            for (int64_t i = 0; i < run; i++) y[i] += x[w * apart + i * stride];                   \
    }
FOLD_RUN(float)
FOLD_RUN(double)

/* y[o][j][i] = sum over windows w that hold j, rising, of x[o][w][i][j - w step] */
static void fold_task(void *arg, int64_t task, int worker)
{
    const fold_plan *p = arg;
    const int64_t    rows = p->outer.count * p->n;
    const int64_t    apart = p->window_stride - p->step * p->size_stride;
    const size_t     size = tn_dtype_size(p->x->dtype);
    int64_t          row = task * p->per_task, end = row + p->per_task;
    (void)worker;
    for (; row < end && row < rows; row++) {
        int64_t o = row / p->n, j = row % p->n;
        int64_t first = j < p->size ? 0 : (j - p->size) / p->step + 1, last = j / p->step;
        if (last >= p->windows) last = p->windows - 1;
        const int64_t n = last - first + 1;
        const int64_t from = offset_of(&p->outer, o) + j * p->size_stride + first * apart;
        char         *y = (char *)p->y + (size_t)(row * p->inner.count * p->run) * size;
        for (int64_t i = 0; i < p->inner.count; i++, y += (size_t)p->run * size) {
            const int64_t at = from + offset_of(&p->inner, i);
            if (p->x->dtype == TN_F32)
                fold_run_float((float *)(void *)y, (const float *)p->x->data + at, p->run,
                               p->run_stride, n, apart);
            else
                fold_run_double((double *)(void *)y, (const double *)p->x->data + at, p->run,
                                p->run_stride, n, apart);
        }
    }
}

static tn_status fold_run(tn_exec *e)
{
    const fold_attrs *a = e->attrs;
    const tn_tensor  *x = &e->in[0];
    const int         axis = (int)a->axis, last = x->shape.rank - 1;
    fold_plan         p = { .x = x, .y = e->out[0].data, .outer = dims_of(x, 0, axis),
                            .inner = dims_of(x, axis + 1, last), .run = 1, .run_stride = 1,
                            .windows = x->shape.dim[axis], .window_stride = x->stride[axis],
                            .size = x->shape.dim[last], .size_stride = x->stride[last],
                            .step = a->step, .n = a->n };
    if (p.inner.count * p.outer.count == 0) return TN_OK;
    if (p.inner.rank > 0) {
        p.run = p.inner.dim[--p.inner.rank], p.run_stride = p.inner.stride[p.inner.rank];
        p.inner.count /= p.run;
    }
    int64_t terms = p.inner.count * p.run * (p.size / p.step + 1); /* of one row */
    p.per_task = terms < 16384 ? 16384 / terms : 1;
    tn_parallel_for(e->ctx, (p.outer.count * p.n + p.per_task - 1) / p.per_task, fold_task, &p);
    return TN_OK;
}

static void fold_vjp(tn_vjp *c)
{
    const fold_attrs *a = c->attrs;
    c->din[0] = tn_unfold(c->dout[0], (int)a->axis, tn_dim(c->in[0], -1), a->step);
}

static void fold_ref(const tn_ref *r)
{
    const fold_attrs *a = r->attrs;
    const tn_shape   *s = &r->in_type[0].shape;
    const double     *x = r->in[0];
    double           *y = r->out[0];
    int64_t           windows = s->dim[a->axis], size = s->dim[s->rank - 1], outer = 1, inner = 1;
    for (int d = 0; d < a->axis; d++) outer *= s->dim[d];
    for (int d = (int)a->axis + 1; d < s->rank - 1; d++) inner *= s->dim[d];
    for (int64_t i = 0; i < outer * a->n * inner; i++) y[i] = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t w = 0; w < windows; w++)
            for (int64_t i = 0; i < inner; i++)
                for (int64_t k = 0; k < size; k++)
                    y[(o * a->n + w * a->step + k) * inner + i] +=
                        x[((o * windows + w) * inner + i) * size + k];
}

#define FOLD(...) &(const fold_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(fold,
    .doc = "windows added up: the transpose of unfold, [.., windows, .., size] -> [.., n, ..]",
    .arity = 1, .flags = TN_STRIDED, TN_ATTRS_OF(fold), .infer = fold_infer, .run = fold_run,
    .vjp = fold_vjp, .ref = fold_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 4, 3 } }, .attrs = FOLD(0, 1, 6) },
               { .in = { { 2, 3, 2, 3 } }, .attrs = FOLD(1, 2, 8) },
               { .in = { { 2, 2, 2 } }, .attrs = FOLD(1, 5, 9) },
               { .in = { { -1, 2, 2 } }, .attrs = FOLD(1, 1, 3) },
               { .in = { { 4, 3 } }, .attrs = FOLD(0, 1, 7), .fails = TN_ERR_ARG,
                 .message = "fold: [4,3]: 4 windows of 3 in steps of 1 do not cover size 7" }));

/* Windows that lie one behind the other and leave nothing out: nothing is to be added. */
static tn_node *joined(tn_node *x, int axis)
{
    int axes[TN_MAX_RANK], n = 0, last = tn_rank(x) - 1;
    for (int i = 0; i < last; i++) {
        axes[n++] = i;
        if (i == axis) axes[n++] = last;
    }
    return tn_flatten(tn_permute(x, axes, n), axis, axis + 1);
}

tn_node *tn_fold(tn_node *x, int axis, int64_t step, int64_t n)
{
    int a = tn_axis(axis, tn_rank(x) - 1);
    if (x && a >= 0 && step > 0 && tn_dim(x, -1) == step && n % step == 0 &&
        n / step == tn_dim(x, a) && tn_dtype_is_float(tn_node_dtype(x)))
        return joined(x, a);
    return tn_apply(&tn_op_fold, &x, 1, &(fold_attrs){ a < 0 ? axis : a, step, n });
}

/* ---- arange ---------------------------------------------------------------------------------- */

#define ARANGE_ATTRS(F)                                                                            \
    F(arange, dtype, dtype) F(arange, i64, n) F(arange, f64, start) F(arange, f64, step)
TN_ATTRS(arange, ARANGE_ATTRS)

static tn_status arange_infer(tn_infer *c)
{
    const arange_attrs *a = c->attrs;
    double              last = a->start + (a->n > 0 ? (double)(a->n - 1) : 0) * a->step;
    if (!tn_dtype_is_float(a->dtype) && !tn_dtype_is_index(a->dtype))
        return tn_infer_fail(c, TN_ERR_DTYPE, "%s is not f32, f64, i32 or i64",
                             tn_dtype_name(a->dtype));
    if (a->n < 0) return tn_infer_fail(c, TN_ERR_ARG, "%lld elements", (long long)a->n);
    bool is_int = tn_dtype_is_index(a->dtype);
    if (!tn__holds(a->dtype, a->start) || !tn__holds(a->dtype, last) ||
        (is_int && !tn__holds(TN_I64, a->step)))
        return tn_infer_fail(c, TN_ERR_ARG, "%s cannot hold %g, %g, .. %g", tn_dtype_name(a->dtype),
                             a->start, a->start + a->step, last);
    c->out[0] = (tn_type){ a->dtype, { 1, { a->n } } };
    return TN_OK;
}

static tn_status arange_run(tn_exec *e)
{
    const arange_attrs *a = e->attrs;
    void               *y = e->out[0].data;
    for (int64_t i = 0; i < a->n; i++) {
        double value = a->start + (double)i * a->step;
        switch (a->dtype) {
        case TN_F32: ((float *)y)[i] = (float)value; break;
        case TN_F64: ((double *)y)[i] = value; break;
        case TN_I32: ((int32_t *)y)[i] = (int32_t)value; break;
        default: ((int64_t *)y)[i] = (int64_t)value; break;
        }
    }
    return TN_OK;
}

static void arange_ref(const tn_ref *r)
{
    const arange_attrs *a = r->attrs;
    for (int64_t i = 0; i < a->n; i++) {
        double value = a->start + (double)i * a->step;
        if (tn_dtype_is_index(a->dtype)) ((int64_t *)r->out[0])[i] = (int64_t)value;
        else ((double *)r->out[0])[i] = value;
    }
}

#define ARANGE(...) &(const arange_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(arange,
    .doc = "start, start + step, .. n numbers",
    .flags = TN_NOT_DIFFERENTIABLE, TN_ATTRS_OF(arange), .infer = arange_infer, .run = arange_run,
    .ref = arange_ref,
    TN_SAMPLES({ .attrs = ARANGE(TN_F64, 7, 0.5, 0.25) }, { .attrs = ARANGE(TN_I32, 5, 3, -2) },
               { .attrs = ARANGE(TN_I64, 0, 0, 1) },
               { .attrs = ARANGE(TN_I32, 3, 0.5, 1), .fails = TN_ERR_ARG,
                 .message = "i32 cannot hold 0.5, 1.5, .. 2.5" }));

tn_node *tn_arange(tn_graph *g, tn_dtype dtype, int64_t n, double start, double step)
{
    return tn_apply_in(g, &tn_op_arange, NULL, 0, &(arange_attrs){ dtype, n, start, step }, NULL);
}
