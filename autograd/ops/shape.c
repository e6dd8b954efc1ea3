/* Shapes: the ops that are views of their input (reshape, permute, expand, slice, split, unfold),
 * and what is composed of them. A view says how its output lies in its input's memory; where it
 * cannot, the input is copied first. Ops that move elements are in join.c. */
#include "autograd/ops/build.h"
#include "autograd/ops/view.h"

/* ---- reshape --------------------------------------------------------------------------------- */

#define RESHAPE_ATTRS(F) F(reshape, shape, shape)
TN_ATTRS(reshape, RESHAPE_ATTRS)

static tn_status reshape_infer(tn_infer *c)
{
    const tn_shape *s = &((const reshape_attrs *)c->attrs)->shape;
    char            text[96];
    if (s->rank < 0) return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    for (int d = 0; d < s->rank; d++)
        if (s->dim[d] < 0)
            return tn_infer_fail(c, TN_ERR_SHAPE, "%s: dimension %d is %lld",
                                 tn_shape_text(s, text, sizeof text), d, (long long)s->dim[d]);
    int64_t n = tn_shape_size(&c->in[0].shape);
    if (tn_shape_size(s) != n)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%lld elements do not fit %s", (long long)n,
                             tn_shape_text(s, text, sizeof text));
    c->out[0] = (tn_type){ c->in[0].dtype, *s };
    return TN_OK;
}

/* Walks both shapes from the left in groups of dims of equal size; within a group the input must be
 * one evenly strided run, which the output's dims then divide. */
static bool reshape_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    const tn_shape *s = &((const reshape_attrs *)attrs)->shape;
    (void)index;
    *out = (tn_layout){ .shape = *s, .offset = in->offset };
    tn_shape_strides(s, out->stride);
    if (tn_shape_size(s) == 0) return true;
    int64_t n[TN_MAX_RANK], stride[TN_MAX_RANK];
    int     rank = 0;
    for (int d = 0; d < in->shape.rank; d++)
        if (in->shape.dim[d] != 1) n[rank] = in->shape.dim[d], stride[rank++] = in->stride[d];
    int i = 0, o = 0;
    while (i < rank) {
        int     i0 = i, o0 = o;
        int64_t a = n[i++], b = 1;
        while (b == 1 && o < s->rank) b = s->dim[o++];
        while (a != b) {
            if (a < b) a *= n[i++];
            else b *= s->dim[o++];
        }
        for (int k = i0; k + 1 < i; k++)
            if (stride[k] != n[k + 1] * stride[k + 1]) return false;
        int64_t step = stride[i - 1];
        for (int k = o - 1; k >= o0; k--) out->stride[k] = step, step *= s->dim[k];
    }
    return true;
}

static void reshape_vjp(tn_vjp *c) { c->din[0] = tn_reshape(c->dout[0], tn_node_shape(c->in[0])); }

static void reshape_ref(const tn_ref *r)
{
    size_t size = r->in_type[0].dtype == TN_BOOL ? 1 : 8;
    memcpy(r->out[0], r->in[0], (size_t)tn_shape_size(&r->in_type[0].shape) * size);
}

#define RESHAPE_TO(...) &(const reshape_attrs){ { __VA_ARGS__ } }
TN_OP_DEFINE(reshape,
    .doc = "the same elements in row-major order, in another shape",
    .arity = 1, TN_ATTRS_OF(reshape), .infer = reshape_infer, .view = reshape_view,
    .vjp = reshape_vjp, .ref = reshape_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 2, 6 } }, .attrs = RESHAPE_TO(2, { 3, 4 }) },
               { .in = { { 2, 3, 4 } }, .attrs = RESHAPE_TO(3, { 6, 2, 2 }) },
               { .in = { { 2, 3, 1, 4 } }, .attrs = RESHAPE_TO(4, { 1, 2, 12, 1 }) },
               { .in = { { 1, 1 } }, .attrs = RESHAPE_TO(0, { 0 }) },
               { .in = { { 3, -1 } }, .attrs = RESHAPE_TO(3, { 0, 5, 2 }) },
               { .in = { { 2, 3 } }, .attrs = RESHAPE_TO(2, { 4, 2 }), .fails = TN_ERR_SHAPE,
                 .message = "reshape: [2,3]: 6 elements do not fit [4,2]" }));

/* shape with its -1, if it has one that can be known, replaced. */
static tn_shape without_hole(tn_shape shape, int64_t n)
{
    int     hole = -1, holes = 0;
    int64_t rest = 1;
    for (int d = 0; d < shape.rank; d++) {
        if (shape.dim[d] == -1) hole = d, holes++;
        else if (shape.dim[d] > 0 && rest <= INT64_MAX / shape.dim[d]) rest *= shape.dim[d];
        else rest = 0;
    }
    if (holes == 1 && rest > 0 && n % rest == 0) shape.dim[hole] = n / rest;
    return shape;
}

tn_node *tn_reshape(tn_node *x, tn_shape shape)
{
    tn_shape      from = tn_node_shape(x);
    reshape_attrs a = { without_hole(shape, tn_shape_size(&from)) };
    return tn_apply(&tn_op_reshape, &x, 1, &a);
}

tn_node *tn_squeeze(tn_node *x, int axis)
{
    if (!x) return NULL;
    tn_shape s = tn_node_shape(x);
    int      a = tn_axis(axis, s.rank);
    if (a < 0)
        return tn__refuse("squeeze", x, TN_ERR_ARG, "axis %d is not in [%d, %d)", axis, -s.rank,
                          s.rank);
    if (s.dim[a] != 1)
        return tn__refuse("squeeze", x, TN_ERR_SHAPE, "axis %d has size %lld, not 1", axis,
                          (long long)s.dim[a]);
    s.rank--;
    for (int d = a; d < s.rank; d++) s.dim[d] = s.dim[d + 1];
    return tn_reshape(x, s);
}

tn_node *tn_unsqueeze(tn_node *x, int axis)
{
    if (!x) return NULL;
    tn_shape s = tn_node_shape(x);
    int      a = tn_axis(axis, s.rank + 1);
    if (a < 0)
        return tn__refuse("unsqueeze", x, TN_ERR_ARG, "axis %d is not in [%d, %d)", axis,
                          -s.rank - 1, s.rank + 1);
    if (s.rank == TN_MAX_RANK)
        return tn__refuse("unsqueeze", x, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    for (int d = s.rank++; d > a; d--) s.dim[d] = s.dim[d - 1];
    s.dim[a] = 1;
    return tn_reshape(x, s);
}

tn_node *tn_flatten(tn_node *x, int first, int last)
{
    if (!x) return NULL;
    tn_shape s = tn_node_shape(x), out = { 0 };
    if (s.rank == 0) return tn_reshape(x, TN_SHAPE(1));
    int a = tn_axis(first, s.rank), b = tn_axis(last, s.rank);
    if (a < 0 || b < a)
        return tn__refuse("flatten", x, TN_ERR_ARG, "axes %d to %d are not a range in [%d, %d)",
                          first, last, -s.rank, s.rank);
    for (int d = 0; d < s.rank; d++) {
        if (d > a && d <= b) out.dim[out.rank - 1] *= s.dim[d];
        else out.dim[out.rank++] = s.dim[d];
    }
    return tn_reshape(x, out);
}

/* ---- permute --------------------------------------------------------------------------------- */

#define PERMUTE_ATTRS(F) F(permute, shape, axes)
TN_ATTRS(permute, PERMUTE_ATTRS)

static tn_status permute_infer(tn_infer *c)
{
    const tn_shape *axes = &((const permute_attrs *)c->attrs)->axes, *s = &c->in[0].shape;
    unsigned        seen = 0;
    bool            ok = axes->rank == s->rank;
    for (int d = 0; ok && d < s->rank; d++) {
        ok = axes->dim[d] >= 0 && axes->dim[d] < s->rank && !(seen >> axes->dim[d] & 1);
        if (ok) seen |= 1u << axes->dim[d];
    }
    if (!ok) {
        char text[96];
        return tn_infer_fail(c, TN_ERR_ARG, "axes %s are not a permutation of its %d dimensions",
                             tn_shape_text(axes, text, sizeof text), s->rank);
    }
    c->out[0] = c->in[0];
    for (int d = 0; d < s->rank; d++) c->out[0].shape.dim[d] = s->dim[axes->dim[d]];
    return TN_OK;
}

static bool permute_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    const tn_shape *axes = &((const permute_attrs *)attrs)->axes;
    (void)index;
    *out = *in;
    for (int d = 0; d < axes->rank; d++) {
        out->shape.dim[d] = in->shape.dim[axes->dim[d]];
        out->stride[d] = in->stride[axes->dim[d]];
    }
    return true;
}

static void permute_vjp(tn_vjp *c)
{
    const tn_shape *axes = &((const permute_attrs *)c->attrs)->axes;
    permute_attrs   back = { *axes };
    for (int d = 0; d < axes->rank; d++) back.axes.dim[axes->dim[d]] = d;
    c->din[0] = tn_apply(&tn_op_permute, &c->dout[0], 1, &back);
}

static bool permute_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    const tn_shape *axes = &((const permute_attrs *)r->attrs)->axes;
    (void)k;
    for (int d = 0; d < axes->rank; d++) in[axes->dim[d]] = at[d];
    return true;
}
REF_MOVE(permute)

#define AXES(...) &(const permute_attrs){ { __VA_ARGS__ } }
TN_OP_DEFINE(permute,
    .doc = "dimensions in another order: y's dimension i is x's axes[i]",
    .arity = 1, TN_ATTRS_OF(permute), .infer = permute_infer, .view = permute_view,
    .vjp = permute_vjp, .ref = permute_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 2, 3 } }, .attrs = AXES(2, { 1, 0 }) },
               { .in = { { 2, 3, 4 } }, .attrs = AXES(3, { 2, 0, 1 }) },
               { .in = { { 2, 3, 2, 2 } }, .attrs = AXES(4, { 0, 2, 1, 3 }) },
               { .in = { { 67, 5 } }, .attrs = AXES(2, { 1, 0 }) },
               { .in = { { 0 } }, .attrs = AXES(0, { 0 }) },
               { .in = { { 2, -1 } }, .attrs = AXES(2, { 1, 0 }) },
               { .in = { { 2, 3 } }, .attrs = AXES(2, { 1, 1 }), .fails = TN_ERR_ARG,
                 .message = "permute: [2,3]: axes [1,1] are not a permutation" }));

tn_node *tn_permute(tn_node *x, const int *axes, int n)
{
    if (!x) return NULL;
    permute_attrs a = { .axes = { .rank = n < 0 || n > TN_MAX_RANK || (n && !axes) ? -1 : n } };
    for (int d = 0; d < a.axes.rank; d++) {
        int axis = tn_axis(axes[d], tn_rank(x));
        a.axes.dim[d] = axis < 0 ? axes[d] : axis;
    }
    return tn_apply(&tn_op_permute, &x, 1, &a);
}

tn_node *tn_transpose(tn_node *x, int axis0, int axis1)
{
    if (!x) return NULL;
    int rank = tn_rank(x), a = tn_axis(axis0, rank), b = tn_axis(axis1, rank), axes[TN_MAX_RANK];
    if (a < 0 || b < 0)
        return tn__refuse("transpose", x, TN_ERR_ARG, "axis %d is not in [%d, %d)",
                          a < 0 ? axis0 : axis1, -rank, rank);
    for (int d = 0; d < rank; d++) axes[d] = d == a ? b : d == b ? a : d;
    return tn_permute(x, axes, rank);
}

/* ---- expand ---------------------------------------------------------------------------------- */

#define EXPAND_ATTRS(F) F(expand, shape, shape)
TN_ATTRS(expand, EXPAND_ATTRS)

static tn_status expand_infer(tn_infer *c)
{
    const tn_shape *s = &((const expand_attrs *)c->attrs)->shape;
    tn_shape        both;
    char            text[96];
    if (s->rank < 0) return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    if (!tn_shape_broadcast(&c->in[0].shape, s, &both) || !tn_shape_equal(&both, s))
        return tn_infer_fail(c, TN_ERR_SHAPE, "does not broadcast to %s",
                             tn_shape_text(s, text, sizeof text));
    c->out[0] = (tn_type){ c->in[0].dtype, *s };
    return TN_OK;
}

static bool expand_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    const tn_shape *s = &((const expand_attrs *)attrs)->shape;
    int             lead = s->rank - in->shape.rank;
    (void)index;
    *out = (tn_layout){ .shape = *s, .offset = in->offset };
    for (int d = lead; d < s->rank; d++)
        out->stride[d] = in->shape.dim[d - lead] == 1 ? 0 : in->stride[d - lead];
    return true;
}

static void expand_vjp(tn_vjp *c) { c->din[0] = c->dout[0]; } /* summed by the caller */

static bool expand_map(const tn_ref *r, int k, const int64_t *at, int64_t *in)
{
    const tn_shape *from = &r->in_type[0].shape;
    int             lead = r->out_type[k].shape.rank - from->rank;
    for (int d = 0; d < from->rank; d++) in[d] = from->dim[d] == 1 ? 0 : at[d + lead];
    return true;
}
REF_MOVE(expand)

#define EXPAND_TO(...) &(const expand_attrs){ { __VA_ARGS__ } }
TN_OP_DEFINE(expand,
    .doc = "x broadcast to a shape",
    .arity = 1, TN_ATTRS_OF(expand), .infer = expand_infer, .view = expand_view,
    .vjp = expand_vjp, .ref = expand_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 3 } }, .attrs = EXPAND_TO(2, { 2, 3 }) },
               { .in = { { 2, 1, 3 } }, .attrs = EXPAND_TO(4, { 2, 2, 4, 3 }) },
               { .in = { { 0 } }, .attrs = EXPAND_TO(1, { 5 }) },
               { .in = { { 2, 1 } }, .attrs = EXPAND_TO(2, { 2, 0 }) },
               { .in = { { 2, 3 } }, .attrs = EXPAND_TO(2, { 2, 6 }), .fails = TN_ERR_SHAPE,
                 .message = "expand: [2,3]: does not broadcast to [2,6]" }));

tn_node *tn_expand(tn_node *x, tn_shape shape)
{
    return tn_apply(&tn_op_expand, &x, 1, &(expand_attrs){ shape });
}

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
    c->din[0] = tn__fold(c->dout[0], axis, a->step, tn_dim(c->in[0], axis));
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
