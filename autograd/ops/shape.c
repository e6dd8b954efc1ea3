/* Shapes: the ops that lay all of their input out in another way, as views of it (reshape, permute,
 * expand), and what is composed of them. A view says how its output lies in its input's memory;
 * where it cannot, the input is copied first. Views of parts are in slice.c; ops that move
 * elements, in join.c. */
#include "autograd/ops/build.h"
#include "autograd/ops/view.h"

/* ---- reshape --------------------------------------------------------------------------------- */

#define RESHAPE_ATTRS(F) F(reshape, shape, shape)
TN_ATTRS(reshape, RESHAPE_ATTRS)

static tn_status reshape_infer(tn_infer *c)
{
    const tn_shape *s = &((const reshape_attrs *)c->attrs)->shape;
    char            text[96];
    int64_t         n = tn_shape_size(&c->in[0].shape);
    if (s->rank < 0 || s->rank > TN_MAX_RANK)
        return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    for (int d = 0; d < s->rank; d++) {
        if (s->dim[d] == -1)
            return tn_infer_fail(c, TN_ERR_SHAPE, "%lld elements do not say what -1 is in %s",
                                 (long long)n, tn_shape_text(s, text, sizeof text));
        if (s->dim[d] < 0)
            return tn_infer_fail(c, TN_ERR_SHAPE, "%s: dimension %d is %lld",
                                 tn_shape_text(s, text, sizeof text), d, (long long)s->dim[d]);
    }
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
    if (shape.rank > TN_MAX_RANK) return shape;
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
