/* Reductions over axes. sum, sum_square, prod, max, min, any and all are primitives on the trees of
 * tensor/reduce.h; mean, var, std, norm and logsumexp are composed of them. cumsum, argmax and
 * argmin are in scan.c. */
#include "autograd/ops/build.h"
#include "autograd/ops/elementwise.h"
#include "tensor/reduce.h"

/* ---- what reductions share ------------------------------------------------------------------- */

#define REDUCE_ATTRS(F) F(reduce, shape, axes) F(reduce, flag, keep_dims)
TN_ATTRS(reduce, REDUCE_ATTRS)

/* The axes as a set of bits. */
static unsigned axes_set(const tn_shape *axes)
{
    unsigned set = 0;
    for (int i = 0; i < axes->rank; i++) set |= 1u << axes->dim[i];
    return set;
}

static tn_status reduce_shape(tn_infer *c, tn_dtype dtype)
{
    const reduce_attrs *a = c->attrs;
    const tn_shape     *s = &c->in[0].shape;
    unsigned            set = 0;
    if (a->axes.rank < 0)
        return tn_infer_fail(c, TN_ERR_ARG, "more than %d axes, or no list of them", TN_MAX_RANK);
    for (int i = 0; i < a->axes.rank; i++) {
        int axis;
        if (tn_infer_axis(c, a->axes.dim[i], s->rank, &axis) != TN_OK) return tn_ctx_status(c->ctx);
        if (set >> axis & 1) return tn_infer_fail(c, TN_ERR_ARG, "axis %d is listed twice", axis);
        set |= 1u << axis;
    }
    for (int i = 0; i < a->axes.rank; i++)
        if (a->axes.dim[i] < 0)
            return tn_infer_fail(c, TN_ERR_ARG, "axis %lld in attributes",
                                 (long long)a->axes.dim[i]);
    tn_shape out = { 0 };
    for (int d = 0; d < s->rank; d++) {
        if (!(set >> d & 1)) out.dim[out.rank++] = s->dim[d];
        else if (a->keep_dims) out.dim[out.rank++] = 1;
    }
    c->out[0] = (tn_type){ dtype, out };
    return TN_OK;
}

static tn_status number_infer(tn_infer *c)
{
    if (!tn__reduce_takes(TN__SUM, c->in[0].dtype))
        return tn_infer_fail(c, TN_ERR_DTYPE, "not of f32, f64, i32 or i64: cast it first");
    return reduce_shape(c, c->in[0].dtype);
}

/* The extreme of nothing is refused; of nothing for no result it is not. */
static tn_status extreme_infer(tn_infer *c)
{
    if (!tn__reduce_takes(TN__MAX, c->in[0].dtype) || c->in[0].dtype == TN_BOOL)
        return tn_infer_fail(c, TN_ERR_DTYPE, "not of f32, f64, i32, i64 or u8");
    if (reduce_shape(c, c->in[0].dtype) != TN_OK) return tn_ctx_status(c->ctx);
    if (tn_shape_size(&c->in[0].shape) == 0 && tn_shape_size(&c->out[0].shape) > 0)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%s of no elements", c->op->name);
    return TN_OK;
}

static tn_status bool_infer(tn_infer *c)
{
    if (c->in[0].dtype != TN_BOOL) return tn_infer_fail(c, TN_ERR_DTYPE, "not bool");
    return reduce_shape(c, TN_BOOL);
}

static tn_status run_kind(tn_exec *e, tn__reduce_kind kind)
{
    const reduce_attrs *a = e->attrs;
    tn__reduce(e->ctx, kind, &e->in[0], axes_set(&a->axes), e->out[0].data, e->scratch);
    return TN_OK;
}

static tn_status sum_run(tn_exec *e) { return run_kind(e, TN__SUM); }
static tn_status sum_square_run(tn_exec *e) { return run_kind(e, TN__SUM_SQUARE); }
static tn_status prod_run(tn_exec *e) { return run_kind(e, TN__PROD); }
static tn_status max_run(tn_exec *e) { return run_kind(e, TN__MAX); } /* of bools: any */
static tn_status min_run(tn_exec *e) { return run_kind(e, TN__MIN); } /* all */

static size_t reduce_scratch(const tn_exec *e)
{
    const reduce_attrs *a = e->attrs;
    return tn__reduce_scratch(e->ctx, &e->in[0], axes_set(&a->axes));
}

/* What was reduced, with its axes back at size 1: y or dy, ready to be broadcast against x. */
static tn_node *with_axes(tn_vjp *c, tn_node *y)
{
    const reduce_attrs *a = c->attrs;
    return a->keep_dims ? y : tn_reshape(y, tn__kept_shape(c->in[0], &a->axes));
}

static tn_node *reduce(const tn_op *op, tn_node *x, const int *axes, int n, bool keep_dims)
{
    if (!x) return NULL;
    return tn_apply(op, &x, 1, &(reduce_attrs){ tn__axes_of(x, axes, n), keep_dims });
}

#define REDUCE_FN(op)                                                                              \
    tn_node *tn_##op(tn_node *x, const int *axes, int n_axes, bool keep_dims)                      \
    {                                                                                              \
        return reduce(&tn_op_##op, x, axes, n_axes, keep_dims);                                    \
    }

/* The naive reference of y = y op x, from `start`. */
#define REDUCE_REF(op, start, expr)                                                                \
    static void op##_ref(const tn_ref *r)                                                          \
    {                                                                                              \
        int64_t n_out = tn_shape_size(&r->out_type[0].shape);                                      \
        for (int64_t i = 0; i < n_out; i++) tn__ref_put(r, i, start);                              \
        int64_t n = tn_shape_size(&r->in_type[0].shape);                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            int64_t j = reduced_index(r, i);                                                       \
            double  y = tn__ref_get(r->out_type[0].dtype, r->out[0], j);                           \
            double  x = tn__ref_get(r->in_type[0].dtype, r->in[0], i);                             \
            tn__ref_put(r, j, (expr));                                                             \
        }                                                                                          \
    }

/* Where input element i goes. */
static int64_t reduced_index(const tn_ref *r, int64_t i)
{
    const tn_shape *s = &r->in_type[0].shape;
    unsigned        set = axes_set(&((const reduce_attrs *)r->attrs)->axes);
    int64_t         j = 0, stride = 1;
    for (int d = s->rank - 1; d >= 0; d--) {
        if (!(set >> d & 1)) j += i % s->dim[d] * stride, stride *= s->dim[d];
        i /= s->dim[d];
    }
    return j;
}

#define OVER(keep, ...) &(const reduce_attrs){ { __VA_ARGS__ }, keep }
#define REDUCTION(name, more_flags)                                                                \
    .arity = 1, .flags = TN_STRIDED | (more_flags), TN_ATTRS_OF(reduce), .run = name##_run,        \
    .scratch = reduce_scratch, .cost = tn__cost_of_input

/* Rows, columns, the middle, both ends, all; tails of vectors; more than one block of rows. */
#define REDUCE_SAMPLES                                                                             \
    { .in = { { 3, 4 } }, .attrs = OVER(false, 1, { 1 }) },                                        \
    { .in = { { 3, 4 } }, .attrs = OVER(true, 1, { 0 }) },                                         \
    { .in = { { 2, 3, 4 } }, .attrs = OVER(false, 1, { 1 }) },                                     \
    { .in = { { 2, 3, 4 } }, .attrs = OVER(true, 2, { 0, 2 }) },                                   \
    { .in = { { 2, 3, 1, 2 } }, .attrs = OVER(false, 4, { 0, 1, 2, 3 }) },                         \
    { .in = { { 0 } }, .attrs = OVER(false, 0, { 0 }) },                                           \
    { .in = { { 2, 67 } }, .attrs = OVER(false, 1, { 1 }) },                                       \
    { .in = { { 67, 2 } }, .attrs = OVER(false, 1, { 0 }) },                                       \
    { .in = { { 2, 3 } }, .attrs = OVER(false, 1, { 2 }), .fails = TN_ERR_ARG,                     \
      .message = "[2,3]: axis 2 is not in [-2, 2)" },                                              \
    { .in = { { 2, 3 } }, .attrs = OVER(false, 2, { 1, 1 }), .fails = TN_ERR_ARG,                  \
      .message = "axis 1 is listed twice" }

/* ---- sums ------------------------------------------------------------------------------------ */

static void sum_vjp(tn_vjp *c)
{
    c->din[0] = tn_expand(with_axes(c, c->dout[0]), tn_node_shape(c->in[0]));
}

REDUCE_REF(sum, 0, y + x)

TN_OP_DEFINE(sum,
    .doc = "y = sum of x over axes",
    REDUCTION(sum, 0), .infer = number_infer, .vjp = sum_vjp, .ref = sum_ref,
    TN_SAMPLES(REDUCE_SAMPLES, { .in = { { 2, -1, 3 } }, .attrs = OVER(false, 1, { 1 }) },
               { .in = { { 2, -1, 3 } }, .attrs = OVER(false, 1, { 0 }) },
               { .in = { { 3, 4 } }, .dtype = { TN_I32 }, .attrs = OVER(false, 1, { 0 }),
                 .int_hi = 9 },
               { .in = { { 3 } }, .dtype = { TN_BOOL }, .attrs = OVER(false, 1, { 0 }),
                 .fails = TN_ERR_DTYPE, .message = "sum: bool[3]: not of f32, f64, i32 or i64" }));
REDUCE_FN(sum)

static void sum_square_vjp(tn_vjp *c)
{
    c->din[0] = tn_mul(c->in[0], tn_scale(with_axes(c, c->dout[0]), 2));
}

REDUCE_REF(sum_square, 0, y + x * x)

TN_OP_DEFINE(sum_square,
    .doc = "y = sum of x^2 over axes",
    REDUCTION(sum_square, 0), .infer = number_infer, .vjp = sum_square_vjp,
    .ref = sum_square_ref,
    TN_SAMPLES(REDUCE_SAMPLES, { .in = { { -1, 3 } }, .attrs = OVER(true, 1, { 0 }) }));
REDUCE_FN(sum_square)

/* ---- product --------------------------------------------------------------------------------- */

/* Halves times halves until one is left: a form whose derivatives of any order are right where
 * elements are 0, since nothing is ever divided. */
static void prod_expand(tn_expansion *c)
{
    const reduce_attrs *a = c->attrs;
    tn_node            *x = c->in[0];
    tn_shape            kept = tn__kept_shape(x, &a->axes), out = { 0 };
    unsigned            set = axes_set(&a->axes);
    int                 order[TN_MAX_RANK], n = 0, rank = tn_rank(x);
    for (int d = 0; d < rank; d++)
        if (!(set >> d & 1)) order[n++] = d, out.dim[out.rank++] = tn_dim(x, d);
    int first = n;
    for (int d = 0; d < rank; d++)
        if (set >> d & 1) order[n++] = d;
    int64_t left = 1;
    for (int d = first; d < rank; d++) left *= tn_dim(x, order[d]);
    tn_shape flat = { 2, { tn_shape_size(&out), left } };
    x = tn_reshape(tn_permute(x, order, rank), flat);
    if (left == 0) x = tn_full(c->graph, tn_node_dtype(x), TN_SHAPE(flat.dim[0], 1), 1);
    while (left > 1) {
        int64_t  half = left / 2;
        tn_node *part[3];
        if (tn_split(x, 1, (int64_t[]){ half, half, left % 2 }, 2 + (int)(left % 2), part) != TN_OK)
            return;
        x = tn_mul(part[0], part[1]);
        if (left % 2) x = tn_concat((tn_node *[]){ x, part[2] }, 2, 1);
        left -= half;
    }
    c->out[0] = tn_reshape(x, a->keep_dims ? kept : out);
}

REDUCE_REF(prod, 1, y * x)

TN_OP_DEFINE(prod,
    .doc = "y = product of x over axes",
    REDUCTION(prod, 0), .infer = number_infer, .expand = prod_expand, .ref = prod_ref,
    TN_SAMPLES(REDUCE_SAMPLES, { .in = { { 2, -1 } }, .attrs = OVER(false, 1, { 1 }) },
               { .in = { { 3, 4 } }, .dtype = { TN_I64 }, .attrs = OVER(false, 1, { 0 }),
                 .int_hi = 4 }));
REDUCE_FN(prod)

/* ---- extremes -------------------------------------------------------------------------------- */

/* dy in equal shares to all the elements that reached the extreme; a NaN does. */
static void extreme_vjp(tn_vjp *c)
{
    const reduce_attrs *a = c->attrs;
    tn_node            *x = c->in[0];
    tn_node            *is_it = tn_logical_or(tn_eq(x, with_axes(c, c->out[0])), tn_isnan(x));
    reduce_attrs        keep = { a->axes, true };
    tn_node            *ones = tn_cast(is_it, tn_node_dtype(x));
    tn_node            *count = tn_apply(&tn_op_sum, &ones, 1, &keep);
    tn_node            *share = tn_div(with_axes(c, c->dout[0]), count);
    c->din[0] = tn_where(is_it, share, tn_scalar_like(x, 0));
}

REDUCE_REF(max, -0x1p53, x > y || x != x ? x : y)
REDUCE_REF(min, 0x1p53, x < y || x != x ? x : y)

#define EXTREME_SAMPLES                                                                            \
    { .in = { { 3, 4 } }, .attrs = OVER(false, 1, { 1 }), .distinct = true },                      \
    { .in = { { 3, 4 } }, .attrs = OVER(true, 1, { 0 }), .distinct = true },                       \
    { .in = { { 2, 3, 4 } }, .attrs = OVER(false, 2, { 0, 2 }), .distinct = true },                \
    { .in = { { 0 } }, .attrs = OVER(false, 0, { 0 }) },                                           \
    { .in = { { 1, 67 } }, .attrs = OVER(false, 1, { 1 }), .distinct = true },                     \
    { .in = { { 67, 1 } }, .attrs = OVER(false, 1, { 0 }), .distinct = true },                     \
    { .in = { { 3, -1 } }, .attrs = OVER(false, 1, { 0 }) },                                       \
    { .in = { { 5 } }, .dtype = { TN_I32 }, .attrs = OVER(false, 1, { 0 }), .int_hi = 100 }

TN_OP_DEFINE(max,
    .doc = "y = largest of x over axes; NaN if there is one",
    REDUCTION(max, 0), .infer = extreme_infer, .vjp = extreme_vjp, .ref = max_ref,
    TN_SAMPLES(EXTREME_SAMPLES,
               { .in = { { 3, -1 } }, .attrs = OVER(false, 1, { 1 }), .fails = TN_ERR_SHAPE,
                 .message = "max: [3,0]: max of no elements" }));
REDUCE_FN(max)

TN_OP_DEFINE(min,
    .doc = "y = smallest of x over axes; NaN if there is one",
    REDUCTION(min, 0), .infer = extreme_infer, .vjp = extreme_vjp, .ref = min_ref,
    TN_SAMPLES(EXTREME_SAMPLES,
               { .in = { { -1, 3 } }, .attrs = OVER(false, 1, { 0 }), .fails = TN_ERR_SHAPE,
                 .message = "min: [0,3]: min of no elements" }));
REDUCE_FN(min)

/* ---- of bools -------------------------------------------------------------------------------- */

REDUCE_REF(any, 0, y || x)
REDUCE_REF(all, 1, y && x)

#define BOOL_SAMPLES                                                                               \
    { .in = { { 3, 2 } }, .dtype = { TN_BOOL }, .attrs = OVER(false, 1, { 1 }) },                  \
    { .in = { { 2, 70 } }, .dtype = { TN_BOOL }, .attrs = OVER(true, 1, { 0 }) },                  \
    { .in = { { -1, 3 } }, .dtype = { TN_BOOL }, .attrs = OVER(false, 1, { 0 }) },                 \
    { .in = { { 3 } }, .attrs = OVER(false, 1, { 0 }), .fails = TN_ERR_DTYPE,                      \
      .message = "not bool" }

TN_OP_DEFINE(any,
    .doc = "is any of x true, over axes",
    REDUCTION(max, TN_NOT_DIFFERENTIABLE), .infer = bool_infer, .ref = any_ref,
    TN_SAMPLES(BOOL_SAMPLES));
REDUCE_FN(any)

TN_OP_DEFINE(all,
    .doc = "are all of x true, over axes",
    REDUCTION(min, TN_NOT_DIFFERENTIABLE), .infer = bool_infer, .ref = all_ref,
    TN_SAMPLES(BOOL_SAMPLES));
REDUCE_FN(all)

/* ---- composed -------------------------------------------------------------------------------- */

/* How many elements of x go into one result; 0, with the error said, if x is not a float. */
static bool count_of(const char *name, tn_node *x, const tn_shape *axes, int64_t *count)
{
    if (!tn_dtype_is_float(tn_node_dtype(x))) {
        tn__refuse(name, x, TN_ERR_DTYPE, "not f32 or f64");
        return false;
    }
    *count = 1; /* may overflow where an axis is listed twice, which the sum refuses */
    for (int i = 0; i < axes->rank; i++)
        (void)__builtin_mul_overflow(*count, tn_dim(x, (int)axes->dim[i]), count);
    return true;
}

tn_node *tn_mean(tn_node *x, const int *axes, int n_axes, bool keep_dims)
{
    if (!x) return NULL;
    int64_t  n;
    tn_shape list = tn__axes_of(x, axes, n_axes);
    if (!count_of("mean", x, &list, &n)) return NULL;
    return tn_scale(tn_sum(x, axes, n_axes, keep_dims), 1 / (double)n);
}

/* Rows that stay in the second cache are read once, by an op of norm.c. */
enum { VAR_ROW = 1 << 15 };

tn_node *tn_var(tn_node *x, const int *axes, int n_axes, bool keep_dims, int ddof)
{
    if (!x) return NULL;
    int64_t  n;
    tn_shape list = tn__axes_of(x, axes, n_axes);
    if (!count_of("var", x, &list, &n)) return NULL;
    if (ddof < 0) return tn__refuse("var", x, TN_ERR_ARG, "ddof %d", ddof);
    const double scale = 1 / (double)(n > ddof ? n - ddof : 0);
    bool         is_last = n > 0 && n <= VAR_ROW;
    for (int i = 0; i < list.rank; i++) is_last &= list.dim[i] == tn_rank(x) - list.rank + i;
    if (is_last && list.rank > 0) {
        tn_shape rows = { .rank = 0 }, kept = tn__kept_shape(x, &list);
        while (rows.rank < tn_rank(x) - list.rank)
            rows.dim[rows.rank] = tn_dim(x, rows.rank), rows.rank++;
        rows.dim[rows.rank++] = n;
        tn_node *row = tn_reshape(x, rows);
        tn_node *y = tn_scale(tn_apply(&tn_op_deviation, &row, 1, NULL), scale);
        return keep_dims ? tn_reshape(y, kept) : y;
    }
    tn_node *from_mean = tn_sub(x, tn_mean(x, axes, n_axes, true));
    return tn_scale(tn_sum_square(from_mean, axes, n_axes, keep_dims), scale);
}

/* sqrt(s) with gradient 0, not NaN, where s is 0. */
static tn_node *safe_sqrt(tn_node *s)
{
    tn_node *is_zero = tn_eq(s, tn_scalar_like(s, 0));
    return tn_masked_fill(tn_sqrt(tn_masked_fill(s, is_zero, 1)), is_zero, 0);
}

tn_node *tn_std(tn_node *x, const int *axes, int n_axes, bool keep_dims, int ddof)
{
    tn_node *v = tn_var(x, axes, n_axes, keep_dims, ddof);
    return v ? safe_sqrt(v) : NULL;
}

tn_node *tn_norm(tn_node *x, const int *axes, int n_axes, bool keep_dims)
{
    int64_t  n;
    tn_shape list = tn__axes_of(x, axes, n_axes);
    if (!x || !count_of("norm", x, &list, &n)) return NULL;
    tn_node *s = tn_sum_square(x, axes, n_axes, keep_dims);
    return s ? safe_sqrt(s) : NULL;
}

/* log sum exp(x - m) + m with m the largest of x, or 0 where that is infinite. A row of -inf alone
 * gives -inf, and no gradient. */
tn_node *tn_logsumexp(tn_node *x, const int *axes, int n_axes, bool keep_dims)
{
    int64_t  n;
    tn_shape list = tn__axes_of(x, axes, n_axes);
    if (!x || !count_of("logsumexp", x, &list, &n)) return NULL;
    tn_node *m = tn_stop_gradient(tn_max(x, axes, n_axes, true));
    m = tn_masked_fill(m, tn_isinf(m), 0);
    tn_node *s = tn_sum(tn_exp(tn_sub(x, m)), axes, n_axes, true);
    if (!s) return NULL;
    tn_node *is_zero = tn_eq(s, tn_scalar_like(s, 0));
    tn_node *y = tn_add(tn_log(tn_masked_fill(s, is_zero, 1)), m);
    y = tn_masked_fill(y, is_zero, -INFINITY);
    if (keep_dims || !y) return y;
    tn_shape out = { 0 };
    for (int d = 0, i = 0; d < tn_rank(x); d++) {
        if (i < list.rank && list.dim[i] == d) i++;
        else out.dim[out.rank++] = tn_dim(x, d);
    }
    return tn_reshape(y, out);
}

tn_node *tn_sum_all(tn_node *x) { return tn_sum(x, NULL, 0, false); }
tn_node *tn_mean_all(tn_node *x) { return tn_mean(x, NULL, 0, false); }

tn_node *tn_sum_to(tn_node *x, tn_shape shape)
{
    if (!x) return NULL;
    tn_shape s = tn_node_shape(x), both;
    char     text[96];
    int      axes[TN_MAX_RANK], n = 0, lead = s.rank - shape.rank;
    if (shape.rank < 0 || !tn_shape_broadcast(&s, &shape, &both) || !tn_shape_equal(&both, &s))
        return tn__refuse("sum_to", x, TN_ERR_SHAPE, "%s does not broadcast to it",
                          tn_shape_text(&shape, text, sizeof text));
    for (int d = 0; d < s.rank; d++)
        if (d < lead || (shape.dim[d - lead] == 1 && s.dim[d] != 1)) axes[n++] = d;
    if (n > 0) x = tn_sum(x, axes, n, false);
    s = tn_node_shape(x);
    return x && !tn_shape_equal(&s, &shape) ? tn_reshape(x, shape) : x;
}
