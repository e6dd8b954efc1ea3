/* Parts: the ops whose outputs are views of parts of their input (slice, split, unfold), and what
 * is composed of them: elements picked, turned round, rolled, or kept on one side of a diagonal.
 * Views of all of an input are in shape.c. */
#include "autograd/ops/build.h"
#include "autograd/ops/view.h"

/* ---- slice ----------------------------------------------------------------------------------- */

/* Elements begin, begin + step, .., `count` of them, of one axis. */
#define SLICE_ATTRS(F)                                                                             \
    F(slice, i64, axis) F(slice, i64, begin) F(slice, i64, count) F(slice, i64, step)
TN_ATTRS(slice, SLICE_ATTRS)

/* Are begin, begin + step, .. (count of them) all in [0, n)? */
static bool steps_inside(int64_t begin, int64_t count, int64_t step, int64_t n)
{
    if (count == 0) return true;
    if (count < 0 || count > n || begin < 0 || begin >= n) return false;
    if (count == 1) return true; /* any step will do */
    if (step >= n || step <= -n) return false;
    int64_t room = step > 0 ? (n - 1 - begin) / step : step < 0 ? begin / -step : 0;
    return count - 1 <= room;
}

static tn_status slice_infer(tn_infer *c)
{
    const slice_attrs *a = c->attrs;
    const tn_shape    *s = &c->in[0].shape;
    int                axis;
    if (tn_infer_axis(c, a->axis, s->rank, &axis) != TN_OK) return tn_ctx_status(c->ctx);
    if (a->step == 0) return tn_infer_fail(c, TN_ERR_ARG, "the step is 0");
    if (!steps_inside(a->begin, a->count, a->step, s->dim[axis]))
        return tn_infer_fail(
            c, TN_ERR_ARG, "%lld elements from %lld in steps of %lld are not all in [0, %lld)",
            (long long)a->count, (long long)a->begin, (long long)a->step, (long long)s->dim[axis]);
    c->out[0] = c->in[0];
    c->out[0].shape.dim[axis] = a->count;
    return TN_OK;
}

static bool slice_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    const slice_attrs *a = attrs;
    int                axis = tn_axis((int)a->axis, in->shape.rank);
    (void)index;
    *out = *in;
    if (a->count > 0) out->offset += a->begin * in->stride[axis];
    if (a->count > 1) out->stride[axis] *= a->step;
    out->shape.dim[axis] = a->count;
    return true;
}

static void slice_vjp(tn_vjp *c)
{
    const slice_attrs *a = c->attrs;
    c->din[0] = tn__spread(c->dout[0], a->axis, a->begin, a->step, tn_dim(c->in[0], (int)a->axis));
}

static bool slice_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    const slice_attrs *a = r->attrs;
    int                rank = r->out_type[k].shape.rank;
    memcpy(in, at, sizeof *in * (size_t)rank);
    in[tn_axis((int)a->axis, rank)] = a->begin + at[tn_axis((int)a->axis, rank)] * a->step;
    return true;
}
REF_MOVE(slice)

#define SLICE(...) &(const slice_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(slice,
    .doc = "count elements of one axis, from begin in steps: x[begin : .. : step]",
    .arity = 1, TN_ATTRS_OF(slice), .infer = slice_infer, .view = slice_view, .vjp = slice_vjp,
    .ref = slice_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 5, 3 } }, .attrs = SLICE(0, 1, 3, 1) },
               { .in = { { 2, 7 } }, .attrs = SLICE(1, 6, 4, -2) },
               { .in = { { 2, 5, 2 } }, .attrs = SLICE(-2, 0, 2, 3) },
               { .in = { { 4 } }, .attrs = SLICE(0, 0, 0, 1) },
               { .in = { { -1, 3 } }, .attrs = SLICE(1, 1, 1, 1) },
               { .in = { { 4 } }, .attrs = SLICE(0, 2, 3, 1), .fails = TN_ERR_ARG,
                 .message = "3 elements from 2 in steps of 1 are not all in [0, 4)" },
               { .in = { { 4 } }, .attrs = SLICE(1, 0, 1, 1), .fails = TN_ERR_ARG,
                 .message = "slice: [4]: axis 1 is not in [-1, 1)" }));

bool tn__slice_part(const tn__call *c, int *axis, int64_t *begin, int64_t *count)
{
    if (c->op != &tn_op_slice) return false;
    const slice_attrs *a = c->attrs;
    *axis = tn_axis((int)a->axis, c->in[0]->type.shape.rank), *begin = a->begin, *count = a->count;
    return a->step == 1 && a->count > 0;
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) { return x < lo ? lo : x > hi ? hi : x; }

/* The first element and the number of them of Python's x[begin:end:step] over n elements. */
static slice_attrs python_slice(int64_t axis, int64_t begin, int64_t end, int64_t step, int64_t n)
{
    slice_attrs a = { .axis = axis, .step = step };
    int64_t     lo = step < 0 ? -1 : 0, hi = step < 0 ? n - 1 : n, width;
    begin = clamp(begin < 0 ? begin + n : begin, lo, hi);
    end = clamp(end < 0 ? end + n : end, lo, hi);
    width = step < 0 ? begin - end : end - begin;
    if (step == INT64_MIN) step++;
    if (width > 0 && step) a.count = (width - 1) / (step < 0 ? -step : step) + 1;
    if (a.count > 0) a.begin = begin;
    if (a.count <= 1 && step) a.step = 1;
    return a;
}

tn_node *tn_slice(tn_node *x, int axis, int64_t begin, int64_t end, int64_t step)
{
    if (!x) return NULL;
    slice_attrs a = python_slice(axis, begin, end, step, tn_dim(x, axis));
    int         known = tn_axis(axis, tn_rank(x));
    if (known >= 0) a.axis = known;
    if (known >= 0 && step == 1 && a.count == tn_dim(x, axis) && tn_node_graph(x)) return x;
    return tn_apply(&tn_op_slice, &x, 1, &a);
}

tn_node *tn_select(tn_node *x, int axis, int64_t index)
{
    if (!x) return NULL;
    int     a = tn_axis(axis, tn_rank(x));
    int64_t n = tn_dim(x, axis), i = index < 0 ? index + n : index;
    if (a < 0)
        return tn__refuse("select", x, TN_ERR_ARG, "axis %d is not in [%d, %d)", axis, -tn_rank(x),
                          tn_rank(x));
    if (i < 0 || i >= n)
        return tn__refuse("select", x, TN_ERR_ARG, "index %lld is not in [%lld, %lld)",
                          (long long)index, (long long)-n, (long long)n);
    return tn_squeeze(tn_apply(&tn_op_slice, &x, 1, &(slice_attrs){ a, i, 1, 1 }), a);
}

tn_node *tn_flip(tn_node *x, int axis)
{
    if (!x) return NULL;
    int64_t n = tn_dim(x, axis);
    int     a = tn_axis(axis, tn_rank(x));
    if (a < 0)
        return tn__refuse("flip", x, TN_ERR_ARG, "axis %d is not in [%d, %d)", axis, -tn_rank(x),
                          tn_rank(x));
    return tn_slice(x, a, n - 1, INT64_MIN, -1);
}

tn_node *tn_roll(tn_node *x, int axis, int64_t shift)
{
    if (!x) return NULL;
    int64_t n = tn_dim(x, axis);
    int     a = tn_axis(axis, tn_rank(x));
    if (a < 0)
        return tn__refuse("roll", x, TN_ERR_ARG, "axis %d is not in [%d, %d)", axis, -tn_rank(x),
                          tn_rank(x));
    int64_t by = n ? (shift % n + n) % n : 0, cut = n - by; /* x[cut] comes first */
    if (by == 0 && tn_node_graph(x)) return x;
    return tn_concat((tn_node *[]){ tn_slice(x, a, cut, n, 1), tn_slice(x, a, 0, cut, 1) }, 2, a);
}

/* ---- split ----------------------------------------------------------------------------------- */

#define SPLIT_ATTRS(F) F(split, i64, axis) F(split, shape, sizes)
TN_ATTRS(split, SPLIT_ATTRS)

static int split_count(const void *attrs, int n_in)
{
    (void)n_in;
    return ((const split_attrs *)attrs)->sizes.rank;
}

static tn_status split_infer(tn_infer *c)
{
    const split_attrs *a = c->attrs;
    const tn_shape    *s = &c->in[0].shape;
    int64_t            sum = 0;
    int                axis;
    if (tn_infer_axis(c, a->axis, s->rank, &axis) != TN_OK) return tn_ctx_status(c->ctx);
    for (int i = 0; i < a->sizes.rank; i++) {
        int64_t n = a->sizes.dim[i];
        if (n < 0 || n > s->dim[axis] - sum)
            return tn_infer_fail(c, TN_ERR_SHAPE,
                                 "part %d of size %lld does not fit axis %d of size %lld", i,
                                 (long long)n, axis, (long long)s->dim[axis]);
        sum += n;
        c->out[i] = c->in[0];
        c->out[i].shape.dim[axis] = n;
    }
    if (sum == s->dim[axis]) return TN_OK;
    return tn_infer_fail(c, TN_ERR_SHAPE, "the parts' sizes add up to %lld, axis %d has %lld",
                         (long long)sum, axis, (long long)s->dim[axis]);
}

static bool split_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    const split_attrs *a = attrs;
    int                axis = tn_axis((int)a->axis, in->shape.rank);
    *out = *in;
    for (int i = 0; i < index; i++) out->offset += a->sizes.dim[i] * in->stride[axis];
    out->shape.dim[axis] = a->sizes.dim[index];
    return true;
}

static void split_vjp(tn_vjp *c)
{
    const split_attrs *a = c->attrs;
    tn_node           *parts[TN_MAX_OUT];
    for (int i = 0; i < c->n_out; i++)
        parts[i] = c->dout[i] ? c->dout[i] : tn_zeros_like(c->out[i]);
    c->din[0] = tn_concat(parts, c->n_out, (int)a->axis);
}

static bool split_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    const split_attrs *a = r->attrs;
    int                rank = r->out_type[k].shape.rank;
    memcpy(in, at, sizeof *in * (size_t)rank);
    for (int i = 0; i < k; i++) in[tn_axis((int)a->axis, rank)] += a->sizes.dim[i];
    return true;
}
REF_MOVE(split)

#define SPLIT(axis, ...) &(const split_attrs){ axis, { __VA_ARGS__ } }
TN_OP_DEFINE(split,
    .doc = "consecutive parts of one axis",
    .arity = 1, .count_out = split_count, TN_ATTRS_OF(split), .infer = split_infer,
    .view = split_view, .vjp = split_vjp, .ref = split_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 6, 2 } }, .attrs = SPLIT(0, 3, { 1, 3, 2 }) },
               { .in = { { 2, 5 } }, .attrs = SPLIT(-1, 2, { 5, 0 }) },
               { .in = { { 2, 4, 3 } }, .attrs = SPLIT(1, 2, { 2, 2 }) },
               { .in = { { -1, 4 } }, .attrs = SPLIT(1, 2, { 1, 3 }) },
               { .in = { { 5 } }, .attrs = SPLIT(0, 2, { 2, 2 }), .fails = TN_ERR_SHAPE,
                 .message = "split: [5]: the parts' sizes add up to 4, axis 0 has 5" },
               { .in = { { 5 } }, .attrs = SPLIT(0, 2, { 4, 4 }), .fails = TN_ERR_SHAPE,
                 .message = "part 1 of size 4 does not fit axis 0 of size 5" }));

/* More parts than an op has outputs: split into groups, then those. */
static bool split_groups(tn_node *x, int axis, const int64_t *sizes, int n, tn_node **out)
{
    if (n <= TN_MAX_OUT) {
        split_attrs a = { axis, tn_shape_of(n, sizes) };
        return tn_apply_multi(&tn_op_split, &x, 1, &a, out) != NULL;
    }
    int         each = (n + TN_MAX_OUT - 1) / TN_MAX_OUT, groups = (n + each - 1) / each;
    split_attrs a = { axis, { .rank = groups } };
    for (int i = 0; i < n; i++) a.sizes.dim[i / each] += sizes[i];
    tn_node *part[TN_MAX_OUT];
    if (!tn_apply_multi(&tn_op_split, &x, 1, &a, part)) return false;
    for (int g = 0; g < groups; g++) {
        int first = g * each, count = n - first < each ? n - first : each;
        if (!split_groups(part[g], axis, sizes + first, count, out + first)) return false;
    }
    return true;
}

tn_status tn_split(tn_node *x, int axis, const int64_t *sizes, int n, tn_node **out)
{
    for (int i = 0; out && i < n; i++) out[i] = NULL;
    if (!x) return TN_ERR_ARG;
    tn_ctx *ctx = tn_node_ctx(x);
    int     a = tn_axis(axis, tn_rank(x));
    int64_t sum = 0, size = tn_dim(x, axis);
    if (!out || !sizes || n < 1) {
        tn__refuse("split", x, TN_ERR_ARG, n < 1 ? "%d parts" : "%d parts, but no list of them", n);
        return TN_ERR_ARG;
    }
    for (int i = 0; n > TN_MAX_OUT && i < n; i++) {
        if (sizes[i] >= 0 && sizes[i] <= size - sum) sum += sizes[i];
        else sum = size + 1;
    }
    if (n > TN_MAX_OUT && (a < 0 || sum != size)) {
        tn__refuse("split", x, TN_ERR_SHAPE,
                   "the sizes of %d parts do not add up to that of axis %d", n, axis);
        return TN_ERR_SHAPE;
    }
    if (split_groups(x, a < 0 ? axis : a, sizes, n, out)) return TN_OK;
    for (int i = 0; i < n; i++) out[i] = NULL;
    return tn_ctx_status(ctx);
}

tn_status tn_chunk(tn_node *x, int axis, int n, tn_node **out)
{
    for (int i = 0; out && i < n; i++) out[i] = NULL;
    if (!x) return TN_ERR_ARG;
    int64_t size = tn_dim(x, axis);
    tn_ctx *ctx = tn_node_ctx(x);
    if (n < 1 || (tn_axis(axis, tn_rank(x)) >= 0 && size % n)) {
        tn__refuse("chunk", x, TN_ERR_SHAPE, "axis %d of size %lld is not %d equal parts", axis,
                   (long long)size, n);
        return TN_ERR_SHAPE;
    }
    int64_t *sizes = tn_alloc(ctx, (size_t)n * sizeof *sizes);
    if (!sizes) return TN_ERR_MEMORY;
    for (int i = 0; i < n; i++) sizes[i] = size / n;
    tn_status s = tn_split(x, axis, sizes, n, out);
    tn_free(ctx, sizes);
    return s;
}

/* ---- unfold ---------------------------------------------------------------------------------- */

#define UNFOLD_ATTRS(F) F(unfold, i64, axis) F(unfold, i64, size) F(unfold, i64, step)
TN_ATTRS(unfold, UNFOLD_ATTRS)

static tn_status unfold_infer(tn_infer *c)
{
    const unfold_attrs *a = c->attrs;
    tn_shape            s = c->in[0].shape;
    int                 axis;
    if (tn_infer_axis(c, a->axis, s.rank, &axis) != TN_OK) return tn_ctx_status(c->ctx);
    if (a->size < 1 || a->size > s.dim[axis] || a->step < 1)
        return tn_infer_fail(c, TN_ERR_ARG,
                             "windows of %lld in steps of %lld over axis %d of size %lld",
                             (long long)a->size, (long long)a->step, axis, (long long)s.dim[axis]);
    if (s.rank == TN_MAX_RANK) return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    s.dim[axis] = (s.dim[axis] - a->size) / a->step + 1;
    s.dim[s.rank++] = a->size;
    c->out[0] = (tn_type){ c->in[0].dtype, s };
    return TN_OK;
}

static bool unfold_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    const unfold_attrs *a = attrs;
    int                 axis = tn_axis((int)a->axis, in->shape.rank), last = in->shape.rank;
    (void)index;
    *out = *in;
    out->shape.dim[axis] = (in->shape.dim[axis] - a->size) / a->step + 1;
    if (out->shape.dim[axis] > 1) out->stride[axis] = in->stride[axis] * a->step;
    out->shape.dim[last] = a->size, out->stride[last] = in->stride[axis];
    out->shape.rank++;
    return true;
}

static void unfold_vjp(tn_vjp *c)
{
    const unfold_attrs *a = c->attrs;
    int                 axis = tn_axis((int)a->axis, tn_rank(c->in[0]));
    c->din[0] = tn_fold(c->dout[0], axis, a->step, tn_dim(c->in[0], axis));
}

static bool unfold_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    const unfold_attrs *a = r->attrs;
    int                 rank = r->in_type[0].shape.rank, axis = tn_axis((int)a->axis, rank);
    (void)k;
    memcpy(in, at, sizeof *in * (size_t)rank);
    in[axis] = at[axis] * a->step + at[rank];
    return true;
}
REF_MOVE(unfold)

#define UNFOLD(...) &(const unfold_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(unfold,
    .doc = "windows of an axis as a last dim: [.., n, ..] -> [.., (n - size) / step + 1, .., size]",
    .arity = 1, TN_ATTRS_OF(unfold), .infer = unfold_infer, .view = unfold_view, .vjp = unfold_vjp,
    .ref = unfold_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 6 } }, .attrs = UNFOLD(0, 3, 1) },
               { .in = { { 2, 7, 2 } }, .attrs = UNFOLD(1, 3, 2) },
               { .in = { { 3, 8 } }, .attrs = UNFOLD(-1, 2, 3) },
               { .in = { { -1, 4 } }, .attrs = UNFOLD(1, 4, 1) },
               { .in = { { 4 } }, .attrs = UNFOLD(0, 5, 1), .fails = TN_ERR_ARG,
                 .message = "unfold: [4]: windows of 5 in steps of 1 over axis 0 of size 4" }));

tn_node *tn_unfold(tn_node *x, int axis, int64_t size, int64_t step)
{
    int a = tn_axis(axis, tn_rank(x));
    return tn_apply(&tn_op_unfold, &x, 1, &(unfold_attrs){ a < 0 ? axis : a, size, step });
}

/* ---- triangles ------------------------------------------------------------------------------- */

/* 0 in x where column - row > diagonal (above) or < diagonal. */
static tn_node *triangle(const char *name, tn_node *x, int64_t diagonal, bool above)
{
    if (!x) return NULL;
    if (tn_rank(x) < 2)
        return tn__refuse(name, x, TN_ERR_SHAPE, "rank %d, at least 2 is needed", tn_rank(x));
    tn_graph *g = tn__graph_of(name, x);
    int64_t   rows = tn_dim(x, -2), columns = tn_dim(x, -1);
    diagonal = clamp(diagonal, -rows - 1, columns + 1);
    tn_dtype dtype = rows + columns < INT32_MAX / 2 ? TN_I32 : TN_I64;
    tn_node *row = tn_unsqueeze(tn_arange(g, dtype, rows, (double)diagonal, 1), 1);
    tn_node *column = tn_arange(g, dtype, columns, 0, 1);
    return tn_masked_fill(x, above ? tn_gt(column, row) : tn_lt(column, row), 0);
}

tn_node *tn_tril(tn_node *x, int64_t diagonal) { return triangle("tril", x, diagonal, true); }
tn_node *tn_triu(tn_node *x, int64_t diagonal) { return triangle("triu", x, diagonal, false); }
