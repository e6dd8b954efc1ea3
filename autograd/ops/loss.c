/* Losses. Cross-entropy is one op over rows of logits, and its gradient another; the rest are
 * compositions, written so that nothing overflows and no difference of near numbers is taken.
 * linear_cross_entropy.c has the loss of a projection whose logits are never all there. */
#include "autograd/ops/loss.h"
#include "tensor/stream.h"

#include <math.h>
#include <string.h>

/* ---- targets --------------------------------------------------------------------------------- */

int64_t tn__count_targets(tn_ctx *ctx, const char *name, const tn_tensor *target,
                          const cross_entropy_attrs *a, int64_t n_classes)
{
    const int64_t n = tn_shape_size(&target->shape);
    int64_t       count = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = tn__target_at(target->data, target->dtype, i);
        if (a->has_ignore && t == a->ignore) continue;
        count++;
        if (t >= 0 && t < n_classes) continue;
        tn_fail(ctx, TN_ERR_INDEX, "%s: target[%lld] is %lld, not in [0, %lld)", name, (long long)i,
                (long long)t, (long long)n_classes);
        return -1;
    }
    return count;
}

tn_status tn__infer_cross_entropy(tn_infer *c, const cross_entropy_attrs *a, int target)
{
    if (!(a->smoothing >= 0 && a->smoothing <= 1))
        return tn_infer_fail(c, TN_ERR_ARG, "label_smoothing is %g, not in [0, 1]", a->smoothing);
    return tn_infer_index(c, target);
}

/* ---- cross_entropy: rows of logits, or their gradient ---------------------------------------- */

#define CROSS_ENTROPY_FIELDS                                                                       \
    .attrs = cross_entropy_fields, .attrs_size = sizeof(cross_entropy_attrs)

static const tn_attr_field cross_entropy_fields[] = {
    CROSS_ENTROPY_ATTRS(TN_ATTR_FIELD) { NULL, TN_ATTR_END, 0 }
};

enum { TASK = 16384 };

typedef struct job {
    tn__cross_entropy a;
    void (*rows)(const tn__cross_entropy *a, int64_t begin, int64_t end);
    int64_t n_rows, step;
} job;

static void rows_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t begin = task * j->step, end = begin + j->step;
    (void)worker;
    j->rows(&j->a, begin, end < j->n_rows ? end : j->n_rows);
}

/* What forward and backward have in common: in[0] logits [n, v], in[1] target [n]. */
static tn_status run_rows(tn_exec *e, job *j)
{
    const cross_entropy_attrs *at = e->attrs;
    const tn_shape            *s = &e->in[0].shape;
    if (tn__count_targets(e->ctx, "cross_entropy", &e->in[1], at, s->dim[1]) < 0)
        return tn_ctx_status(e->ctx);
    j->a.n = s->dim[1], j->a.smoothing = at->smoothing;
    j->a.has_ignore = at->has_ignore, j->a.ignore = at->ignore;
    j->a.logits = e->in[0].data, j->a.target = e->in[1].data, j->a.target_dtype = e->in[1].dtype;
    j->n_rows = s->dim[0];
    j->step = (TASK + j->a.n) / (j->a.n + 1);
    if (j->a.is_far)
        j->step = tn__stream_rows(j->n_rows, j->a.n * (int64_t)tn_dtype_size(e->in[0].dtype),
                                  tn_ctx_threads(e->ctx), j->step);
    tn_parallel_for(e->ctx, (j->n_rows + j->step - 1) / j->step, rows_task, j);
    return TN_OK;
}

static tn_status infer_logits(tn_infer *c)
{
    const tn_shape *s = &c->in[0].shape, *t = &c->in[1].shape;
    if (tn_infer_float(c, 0) != TN_OK || tn__infer_cross_entropy(c, c->attrs, 1) != TN_OK)
        return tn_ctx_status(c->ctx);
    if (s->rank != 2 || t->rank != 1 || t->dim[0] != s->dim[0])
        return tn_infer_fail(c, TN_ERR_SHAPE, "logits [n, v] and target [n] are needed");
    return TN_OK;
}

static tn_status cross_entropy_rows_infer(tn_infer *c)
{
    if (infer_logits(c) != TN_OK) return tn_ctx_status(c->ctx);
    for (int k = 0; k < 4; k++) c->out[k] = (tn_type){ c->in[0].dtype, c->in[1].shape };
    return TN_OK;
}

static tn_status cross_entropy_rows_run(tn_exec *e)
{
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    job j = { .rows = e->in[0].dtype == TN_F32 ? k->cross_entropy_rows_f32
              : k->cross_entropy_rows_f64 };
    j.a.loss = e->out[0].data, j.a.nll = e->out[1].data;
    j.a.shift = e->out[2].data, j.a.log_sum = e->out[3].data;
    return run_rows(e, &j);
}

static tn_node *zeros_of(tn_node *like) { return tn_full_like(like, 0); }

/* shift is constant but for jumps: its cotangent, dout[2], has nowhere to go. */
static void cross_entropy_rows_vjp(tn_vjp *c)
{
    tn_node *d[4], *zero = NULL;
    for (int k = 0; k < 4; k++) {
        if (!c->dout[k] && !zero) zero = zeros_of(c->out[0]);
        d[k] = c->dout[k] ? c->dout[k] : zero;
    }
    c->din[0] = tn_apply(&tn_op_cross_entropy_rows_grad,
                         (tn_node *[]){ c->in[0], c->in[1], c->out[2], c->out[3], d[0], d[1],
                                        d[3] }, 7, c->attrs);
}

/* Target classes as ones in a row of zeros: [n] -> [n, v]. */
static tn_node *ones_at(tn_node *target, int64_t n_classes, tn_dtype dtype)
{
    tn_node *classes = tn_arange(tn_node_graph(target), tn_node_dtype(target), n_classes, 0, 1);
    return tn_cast(tn_eq(tn_unsqueeze(target, -1), classes), dtype);
}

tn_node *tn__counts(tn_graph *g, tn_node *target, int64_t ignore)
{
    if (tn_node_dtype(target) != TN_I64) target = tn_cast(target, TN_I64); /* ignore may be any */
    return tn_ne(target, tn_constant(g, TN_I64, TN_SCALAR, &ignore)); /* tn_full takes a double */
}

/* True where the target counts; NULL if all do. */
static tn_node *counts(tn_graph *g, tn_node *target, const cross_entropy_attrs *a)
{
    return a->has_ignore ? tn__counts(g, target, a->ignore) : NULL;
}

static tn_node *zero_unless(tn_node *condition, tn_node *x)
{
    return condition ? tn_where(condition, x, tn_scalar_like(x, 0)) : x;
}

static const int last_axis = -1;

static void cross_entropy_rows_expand(tn_expansion *c)
{
    const cross_entropy_attrs *a = c->attrs;
    const tn_dtype             dtype = tn_node_dtype(c->in[0]);
    tn_node *shift = tn_floor(tn_max(c->in[0], &last_axis, 1, true)), *x = tn_sub(c->in[0], shift);
    tn_node *log_sum = tn_log(tn_sum(tn_exp(x), &last_axis, 1, false));
    tn_node *ones = ones_at(c->in[1], tn_dim(c->in[0], -1), dtype),
        *keep = counts(c->graph, c->in[1], a);
    tn_node *nll = tn_sub(log_sum, tn_sum(tn_mul(x, ones), &last_axis, 1, false));
    tn_node *even = tn_sub(log_sum, tn_mean(x, &last_axis, 1, false));
    tn_node *loss = tn_add(tn_scale(nll, 1 - a->smoothing), tn_scale(even, a->smoothing));
    c->out[0] = zero_unless(keep, loss), c->out[1] = zero_unless(keep, nll);
    c->out[2] = zero_unless(keep, tn_squeeze(shift, -1)), c->out[3] = zero_unless(keep, log_sum);
}

static void cross_entropy_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 12.0 * (double)tn_shape_size(&c->in[0].shape);
}

static void cross_entropy_rows_ref(const tn_ref *r)
{
    const cross_entropy_attrs *a = r->attrs;
    const int64_t              n = r->in_type[0].shape.dim[0], v = r->in_type[0].shape.dim[1];
    double                   **out = (double **)r->out;
    for (int64_t i = 0; i < n; i++) {
        const double *x = (const double *)r->in[0] + i * v;
        const int64_t t = ((const int64_t *)r->in[1])[i];
        double        max = -INFINITY, sum = 0, mean = 0;
        for (int k = 0; k < 4; k++) out[k][i] = 0;
        if (a->has_ignore && t == a->ignore) continue;
        for (int64_t j = 0; j < v; j++) max = fmax(max, x[j]), mean += x[j] / (double)v;
        for (int64_t j = 0; j < v; j++) sum += exp(x[j] - max);
        out[1][i] = max + log(sum) - x[t];
        out[0][i] = (1 - a->smoothing) * out[1][i] + a->smoothing * (max + log(sum) - mean);
        out[2][i] = floor(max), out[3][i] = max - floor(max) + log(sum);
    }
}

#define LOSS(e)      .attrs = &(cross_entropy_attrs){ e, false, 0 }, .dtype = { TN_F32, TN_I32 }
#define IGNORE(e, i) .attrs = &(cross_entropy_attrs){ e, true, i }, .dtype = { TN_F32, TN_I32 }

TN_OP_DEFINE(cross_entropy_rows,
    .doc = "logits [n, v], target [n] -> loss, nll, shift, log_sum [n]; "
           "log p = logits - shift - log_sum",
    .arity = 2, .n_out = 4, .flags = TN_CAN_FAIL, CROSS_ENTROPY_FIELDS,
    .infer = cross_entropy_rows_infer,
    .run = cross_entropy_rows_run, .vjp = cross_entropy_rows_vjp,
    .expand = cross_entropy_rows_expand,
    .cost = cross_entropy_cost, .ref = cross_entropy_rows_ref,
    TN_SAMPLES({ .in = { { 3, 5 }, { 3 } }, LOSS(0), .int_hi = 5 },
               { .in = { { 4, 3 }, { 4 } }, LOSS(0.1), .int_hi = 3, .lo = -5, .hi = 5 },
               { .in = { { 6, 3 }, { 6 } }, IGNORE(0.1, 1), .int_hi = 3 },
               { .in = { { 6, 3 }, { 6 } }, .attrs = &(cross_entropy_attrs){ 0, true, -100 },
                 .dtype = { TN_F32, TN_I64 }, .int_hi = 3 },
               { .in = { { 2, 67 }, { 2 } }, LOSS(0.2), .int_hi = 67 },
               { .in = { { 3, 4 }, { 3 } }, LOSS(0), .int_hi = 4, .lo = -1000, .hi = 1000 },
               { .in = { { 3, 1 }, { 3 } }, LOSS(0), .int_hi = 1 },
               { .in = { { 3, 4 }, { 3 } }, LOSS(0), .int_lo = 4, .int_hi = 5,
                 .fails = TN_ERR_INDEX, .message = "target[0] is 4, not in [0, 4)" },
               { .in = { { 3, 4 }, { 3 } }, LOSS(0), .int_lo = -1, .int_hi = 0,
                 .fails = TN_ERR_INDEX, .message = "target[0] is -1" },
               { .in = { { 3, 4 }, { 2 } }, LOSS(0), .fails = TN_ERR_SHAPE, .message = "[3,4]" },
               { .in = { { 3, 4 }, { 3 } }, LOSS(1.5), .fails = TN_ERR_ARG, .message = "1.5" },
               { .in = { { 3, 4 }, { 3 } }, .attrs = &(cross_entropy_attrs){ 0, false, 0 },
                 .fails = TN_ERR_DTYPE, .message = "input 1" }));

/* logits, target, shift, log_sum, dloss, dnll, dlog_sum -> dlogits */
static tn_status cross_entropy_rows_grad_infer(tn_infer *c)
{
    if (infer_logits(c) != TN_OK) return tn_ctx_status(c->ctx);
    for (int i = 2; i < c->n_in; i++)
        if (c->in[i].dtype != c->in[0].dtype || !tn_shape_equal(&c->in[i].shape, &c->in[1].shape))
            return tn_infer_fail(c, TN_ERR_SHAPE, "input %d does not fit the target", i);
    c->out[0] = c->in[0];
    return TN_OK;
}

static tn_status cross_entropy_rows_grad_run(tn_exec *e)
{
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    const bool        is_f32 = e->in[0].dtype == TN_F32;
    job j = { .rows = is_f32 ? k->cross_entropy_rows_f32 : k->cross_entropy_rows_f64 };
    j.a.shift = e->in[2].data, j.a.log_sum = e->in[3].data, j.a.dlogits = e->out[0].data;
    j.a.is_far = tn__is_far(e);
    j.a.dloss = e->in[4].data, j.a.dnll = e->in[5].data, j.a.dlog_sum = e->in[6].data;
    return run_rows(e, &j);
}

static tn_node *column(tn_node *x) { return tn_unsqueeze(x, -1); }

static void cross_entropy_rows_grad_expand(tn_expansion *c)
{
    const cross_entropy_attrs *a = c->attrs;
    const int64_t              v = tn_dim(c->in[0], -1);
    tn_node *dloss = c->in[4], *dnll = c->in[5], *keep = counts(c->graph, c->in[1], a);
    tn_node *p = tn_exp(tn_sub(tn_sub(c->in[0], column(c->in[2])), column(c->in[3])));
    tn_node *ones = ones_at(c->in[1], v, tn_node_dtype(c->in[0]));
    tn_node *d = tn_mul(p, column(tn_add(tn_add(dloss, dnll), c->in[6])));
    d = tn_sub(d, tn_mul(ones, column(tn_add(tn_scale(dloss, 1 - a->smoothing), dnll))));
    d = tn_sub(d, column(tn_scale(dloss, a->smoothing / (v > 0 ? (double)v : 1))));
    c->out[0] = zero_unless(keep ? column(keep) : NULL, d);
}

TN_OP_DEFINE(cross_entropy_rows_grad,
    .doc = "logits, target, shift, log_sum, dloss, dnll, dlog_sum -> dlogits of cross_entropy_rows",
    .arity = 7, .flags = TN_CAN_FAIL | TN_INPLACE_OK, CROSS_ENTROPY_FIELDS,
    .infer = cross_entropy_rows_grad_infer, .run = cross_entropy_rows_grad_run,
    .expand = cross_entropy_rows_grad_expand, .cost = cross_entropy_cost,
    TN_SAMPLES({ .in = { { 3, 5 }, { 3 }, { 3 }, { 3 }, { 3 }, { 3 }, { 3 } }, LOSS(0),
                 .int_hi = 5 },
               { .in = { { 6, 3 }, { 6 }, { 6 }, { 6 }, { 6 }, { 6 }, { 6 } }, IGNORE(0.1, 1),
                 .int_hi = 3 },
               { .in = { { 2, 67 }, { 2 }, { 2 }, { 2 }, { 2 }, { 2 }, { 2 } }, LOSS(0.2),
                 .int_hi = 67 },
               { .in = { { 3, 5 }, { 3 }, { 3 }, { 2 }, { 3 }, { 3 }, { 3 } }, LOSS(0),
                 .fails = TN_ERR_SHAPE, .message = "input 3" }));

/* ---- both in one reading: what autograd/pair.c makes of the two ------------------------------ */

enum { MOST_ROWS = 128 }; /* of a block */

typedef struct both_job {
    tn__cross_entropy a;
    void (*rows)(const tn__cross_entropy *a, int64_t begin, int64_t end);
    void  *out[4]; /* loss, nll, shift, log_sum */
    size_t size;
    int64_t n_rows, block;
} both_job;

static const char *at_row(const void *x, int64_t row, size_t size)
{
    return (const char *)x + (size_t)row * size;
}

/* A block of rows. Its results may lie where its inputs do, so they are kept aside until it is
 * done. */
static void both_task(void *arg, int64_t task, int worker)
{
    const both_job *j = arg;
    const int64_t   row = task * j->block, n = j->n_rows - row < j->block ? j->n_rows - row
                                                                       : j->block;
    const size_t    size = j->size;
    double          made[4][MOST_ROWS];
    (void)worker;
    tn__cross_entropy a = j->a;
    a.logits = at_row(a.logits, row * a.n, size), a.dloss = at_row(a.dloss, row, size);
    a.dlogits = (void *)(uintptr_t)at_row(a.dlogits, row * a.n, size);
    a.dnll = at_row(a.dnll, row, size), a.dlog_sum = at_row(a.dlog_sum, row, size);
    a.target = at_row(a.target, row, tn_dtype_size(a.target_dtype));
    a.loss = made[0], a.nll = made[1], a.shift = made[2], a.log_sum = made[3];
    j->rows(&a, 0, n);
    for (int k = 0; k < 4; k++)
        memcpy((char *)j->out[k] + (size_t)row * size, made[k], (size_t)n * size);
}

static tn_status cross_entropy_both_run(tn_exec *e)
{
    const cross_entropy_attrs *at = e->attrs;
    const tn_kernels          *k = tn__ctx_kernels(e->ctx);
    const bool                 is_f32 = e->in[0].dtype == TN_F32;
    const int64_t              n = e->in[0].shape.dim[1], rows = e->in[0].shape.dim[0];
    both_job j = { .rows = is_f32 ? k->cross_entropy_rows_f32 : k->cross_entropy_rows_f64,
                   .size = is_f32 ? 4 : 8, .n_rows = rows };
    if (tn__count_targets(e->ctx, "cross_entropy", &e->in[1], at, n) < 0)
        return tn_ctx_status(e->ctx);
    j.a = (tn__cross_entropy){ .n = n, .smoothing = at->smoothing, .has_ignore = at->has_ignore,
                               .ignore = at->ignore, .logits = e->in[0].data,
                               .target = e->in[1].data, .target_dtype = e->in[1].dtype,
                               .dloss = e->in[2].data, .dnll = e->in[3].data,
                               .dlog_sum = e->in[4].data, .dlogits = e->out[0].data,
                               .is_far = tn__is_far(e) };
    for (int i = 0; i < 4; i++) j.out[i] = e->out[1 + i].data;
    j.block = tn__stream_rows(rows, n * (int64_t)j.size, tn_ctx_threads(e->ctx),
                              (TASK + n) / (n + 1));
    if (j.block > MOST_ROWS) j.block = MOST_ROWS;
    tn_parallel_for(e->ctx, (rows + j.block - 1) / j.block, both_task, &j);
    return TN_OK;
}

static tn_status cross_entropy_both_infer(tn_infer *c)
{
    if (infer_logits(c) != TN_OK) return tn_ctx_status(c->ctx);
    const tn_type row = { c->in[0].dtype, c->in[1].shape };
    for (int i = 2; i < c->n_in; i++)
        if (c->in[i].dtype != row.dtype || !tn_shape_equal(&c->in[i].shape, &row.shape))
            return tn_infer_fail(c, TN_ERR_SHAPE, "input %d does not fit the target", i);
    c->out[0] = c->in[0];
    for (int k = 1; k < 5; k++) c->out[k] = row;
    return TN_OK;
}

static void cross_entropy_both_expand(tn_expansion *c)
{
    if (!tn_apply_multi(&tn_op_cross_entropy_rows, c->in, 2, c->attrs, c->out + 1)) return;
    c->out[0] = tn_apply(&tn_op_cross_entropy_rows_grad,
                         (tn_node *[]){ c->in[0], c->in[1], c->out[3], c->out[4], c->in[2],
                                        c->in[3], c->in[4] }, 7, c->attrs);
}

static void cross_entropy_both_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 24.0 * (double)tn_shape_size(&c->in[0].shape);
}

TN_OP_DEFINE(cross_entropy_both,
    .doc = "logits, target, dloss, dnll, dlog_sum -> dlogits, loss, nll, shift, log_sum of "
           "cross_entropy_rows and its gradient",
    .arity = 5, .n_out = 5, .flags = TN_CAN_FAIL | TN_INPLACE_OK, CROSS_ENTROPY_FIELDS,
    .infer = cross_entropy_both_infer, .run = cross_entropy_both_run,
    .expand = cross_entropy_both_expand, .cost = cross_entropy_both_cost,
    TN_SAMPLES({ .in = { { 3, 5 }, { 3 }, { 3 }, { 3 }, { 3 } }, LOSS(0), .int_hi = 5 },
               { .in = { { 6, 3 }, { 6 }, { 6 }, { 6 }, { 6 } }, IGNORE(0.1, 1), .int_hi = 3 },
               { .in = { { 150, 67 }, { 150 }, { 150 }, { 150 }, { 150 } }, LOSS(0.2),
                 .int_hi = 67 },
               { .in = { { 3, 4 }, { 3 }, { 3 }, { 3 }, { 3 } }, LOSS(0), .int_lo = 4,
                 .int_hi = 5, .fails = TN_ERR_INDEX, .message = "target[0] is 4" },
               { .in = { { 3, 5 }, { 3 }, { 3 }, { 2 }, { 3 } }, LOSS(0), .fails = TN_ERR_SHAPE,
                 .message = "input 3" }));

/* ---- building it ----------------------------------------------------------------------------- */

cross_entropy_attrs tn__cross_entropy_attrs(const tn_cross_entropy_options *o, tn_dtype target)
{
    cross_entropy_attrs a = { 0 };
    if (!o) return a;
    a.smoothing = o->label_smoothing, a.has_ignore = o->has_ignore;
    a.ignore = o->has_ignore ? o->ignore_index : 0;
    if (target == TN_I32 && (a.ignore < INT32_MIN || a.ignore > INT32_MAX))
        a.has_ignore = false, a.ignore = 0;
    return a;
}

bool tn__flatten_rows(const char *name, tn_node **x, tn_node **target)
{
    if (!*x || !*target) return false;
    const tn_shape s = tn_node_shape(*x), t = tn_node_shape(*target);
    tn_shape       rows = s;
    char           text[96];
    if (s.rank > 0) rows.rank--, rows.dim[rows.rank] = 0;
    if (s.rank < 1 || !tn_shape_equal(&rows, &t)) {
        tn__refuse(name, *x, TN_ERR_SHAPE,
                   "the target is %s, not the shape without its last dimension",
                   tn_shape_text(&t, text, sizeof text));
        return false;
    }
    const int64_t n = tn_shape_size(&rows);
    if (s.rank != 2) {
        *x = tn_reshape(*x, TN_SHAPE(n, s.dim[s.rank - 1]));
        *target = tn_reshape(*target, TN_SHAPE(n));
    }
    return *x && *target;
}

static tn_node *number_that_count(tn_node *target, const cross_entropy_attrs *a, tn_node *like)
{
    tn_node *keep = counts(tn_node_graph(like), target, a);
    if (keep) return tn_sum_all(tn_cast(keep, tn_node_dtype(like)));
    return tn_scalar_like(like, (double)tn_dim(target, 0));
}

tn_node *tn_cross_entropy(tn_node *logits, tn_node *target, const tn_cross_entropy_options *options)
{
    const tn_reduction reduction = options ? options->reduction : TN_MEAN;
    const tn_shape     shape = tn_node_shape(target);
    if (!tn__flatten_rows("cross_entropy", &logits, &target)) return NULL;
    const cross_entropy_attrs a = tn__cross_entropy_attrs(options, tn_node_dtype(target));
    tn_node *loss = tn_apply(&tn_op_cross_entropy_rows, (tn_node *[]){ logits, target }, 2, &a);
    switch (reduction) {
    case TN_NONE: return shape.rank == 1 ? loss : tn_reshape(loss, shape);
    case TN_SUM: return tn_sum_all(loss);
    case TN_MEAN: break;
    default:
        return tn__refuse("cross_entropy", logits, TN_ERR_ARG, "no reduction has the number %d",
                          (int)reduction);
    }
    if (!loss) return NULL;
    tn_node *count = number_that_count(target, &a, loss);
    return tn_div(tn_sum_all(loss), tn_maximum(count, tn_scalar_like(loss, 1)));
}

tn_status tn_cross_entropy_parts(tn_node *logits, tn_node *target,
                                 const tn_cross_entropy_options *options, tn_loss_parts *parts)
{
    tn_ctx *ctx = tn_node_ctx(logits ? logits : target);
    if (!parts) return tn_fail(ctx, TN_ERR_ARG, "cross_entropy_parts: no room for the parts");
    *parts = (tn_loss_parts){ 0 };
    if (!logits || !target) return tn_ctx_status(ctx) ? tn_ctx_status(ctx) : TN_ERR_ARG;
    if (!tn__flatten_rows("cross_entropy_parts", &logits, &target)) return tn_ctx_status(ctx);
    const cross_entropy_attrs a = tn__cross_entropy_attrs(options, tn_node_dtype(target));
    tn_node *out[4];
    if (!tn_apply_multi(&tn_op_cross_entropy_rows, (tn_node *[]){ logits, target }, 2, &a, out))
        return tn_ctx_status(ctx);
    parts->sum = tn_sum_all(out[0]);
    parts->nll = tn_stop_gradient(a.smoothing == 0 ? parts->sum : tn_sum_all(out[1]));
    parts->count = number_that_count(target, &a, out[0]);
    return tn_ctx_status(ctx);
}

/* ---- compositions ---------------------------------------------------------------------------- */

static tn_node *reduce(const char *name, tn_node *loss, tn_reduction reduction)
{
    switch (reduction) {
    case TN_MEAN: return tn_mean_all(loss);
    case TN_SUM: return tn_sum_all(loss);
    case TN_NONE: return loss;
    }
    return tn__refuse(name, loss, TN_ERR_ARG, "no reduction has the number %d", (int)reduction);
}

tn_node *tn_mse(tn_node *x, tn_node *y, tn_reduction reduction)
{
    return reduce("mse", tn_square(tn_sub(x, y)), reduction);
}

/* -y log s(x) - (1 - y) log(1 - s(x)) = y softplus(-x) + (1 - y) softplus(x): no term is
 * negative. */
tn_node *tn_bce_with_logits(tn_node *x, tn_node *y, tn_reduction reduction)
{
    x = tn__beside(x, y), y = tn__beside(y, x);
    tn_node *no = tn_mul(tn_affine(y, -1, 1), tn_softplus(x)),
        *yes = tn_mul(y, tn_softplus(tn_neg(x)));
    return reduce("bce_with_logits", tn_add(yes, no), reduction);
}

/* q (log q - log p), and 0 where q is 0, whatever log p is: both are set to something finite there
 * first, so that no infinity comes near the gradient. */
tn_node *tn_kl_div(tn_node *log_p, tn_node *q, tn_reduction reduction)
{
    if (!log_p || !q) return NULL;
    tn_graph *g = tn_node_graph(q) ? tn_node_graph(q) : tn__graph_of("kl_div", log_p);
    if (!g) return NULL;
    const tn_dtype dtype = tn_node_dtype(q);
    tn_node       *zero = tn_full(g, dtype, TN_SCALAR, 0), *some = tn_ne(q, zero);
    tn_node       *log_q = tn_log(tn_where(some, q, tn_full(g, dtype, TN_SCALAR, 1)));
    tn_node       *loss = tn_mul(q, tn_sub(log_q, tn_where(some, log_p, zero)));
    return reduce("kl_div", loss, reduction);
}
