/* What an optimizer does to a parameter, as ops: elementwise, all of a parameter's state in one
 * pass, so that a compiled update reads and writes each number once, in place. They are state
 * transitions and not functions to differentiate. Scalars that change from step to step are
 * operands of rank 0. */
#include "autograd/ops/update.h"

#include "autograd/ops/elementwise.h"

#include <math.h>

#define ADAM_UPDATE_ATTRS(F)                                                                       \
    F(adam_update, f64, beta1) F(adam_update, f64, beta2) F(adam_update, f64, eps)                 \
    F(adam_update, flag, decoupled)
TN_ATTRS(adam_update, ADAM_UPDATE_ATTRS)

#define MOMENTUM_UPDATE_ATTRS(F)                                                                   \
    F(momentum_update, f64, momentum) F(momentum_update, flag, nesterov)
TN_ATTRS(momentum_update, MOMENTUM_UPDATE_ATTRS)

/* ---- kernels --------------------------------------------------------------------------------- */

enum { SQUARE_LANES = 16 };

#define R       float
#define M(name) name##_f32
#include "autograd/ops/update_real.h"
#undef R
#undef M
#define R       double
#define M(name) name##_f64
#include "autograd/ops/update_real.h"
#undef R
#undef M

#define KERNEL(level, target, fused, name, type)                                                   \
    target static void name##_##type##_##level(const tn_span_args *args) { name##_##type(args); }
#define SPAN(name)                                                                                 \
    TN_EACH_LEVEL(KERNEL, name, f32)                                                               \
    TN_EACH_LEVEL(KERNEL, name, f64)                                                               \
    static const tn_span name##_span = { { [TN_F32] = TN_LEVELS_OF(name, f32),                     \
                                           [TN_F64] = TN_LEVELS_OF(name, f64) } };
SPAN(adam_update)
SPAN(sgd_update)
SPAN(momentum_update)
SPAN(clear)
SPAN(sum_squares)

/* ---- inference and cost ---------------------------------------------------------------------- */

/* The first n_full inputs have one shape and dtype, which every output has too; the rest are
 * scalars of that dtype. */
static tn_status update_infer(tn_infer *c, int n_full)
{
    tn_status s = tn_infer_float(c, 0);
    for (int i = 1; s == TN_OK && i < c->n_in; i++) {
        if (c->in[i].dtype != c->in[0].dtype)
            s = tn_infer_fail(c, TN_ERR_DTYPE, "input %d is %s, the parameter is %s", i,
                              tn_dtype_name(c->in[i].dtype), tn_dtype_name(c->in[0].dtype));
        else if (i < n_full && !tn_shape_equal(&c->in[i].shape, &c->in[0].shape))
            s = tn_infer_fail(c, TN_ERR_SHAPE, "input %d has not the parameter's shape", i);
        else if (i >= n_full && c->in[i].shape.rank != 0)
            s = tn_infer_fail(c, TN_ERR_SHAPE, "input %d has rank %d, not 0", i,
                              c->in[i].shape.rank);
    }
    for (int i = 0; s == TN_OK && i < c->n_out; i++) c->out[i] = c->in[0];
    return s;
}

static void update_cost(const tn_infer *c, tn_cost *cost, double flops)
{
    cost->flops = flops * (double)tn_shape_size(&c->in[0].shape);
}

/* RULES(op, inputs of full size, flops an element): its inference and cost. UPDATE: its common
 * lines. */
#define RULES(op, n_full, flops)                                                                   \
    static tn_status op##_infer(tn_infer *c) { return update_infer(c, n_full); }                   \
    static void op##_cost(const tn_infer *c, tn_cost *cost) { update_cost(c, cost, flops); }
#define UPDATE(op, n_in, outs)                                                                     \
    .arity = n_in, .n_out = outs, .flags = TN_INPLACE_OK | TN_NOT_DIFFERENTIABLE,                  \
    .infer = op##_infer, .cost = op##_cost, .span = &op##_span, .ref = op##_ref

static double *ref_out(const tn_ref *r, int k) { return (double *)r->out[k]; }

/* ---- Adam ------------------------------------------------------------------------------------ */

/* Kingma & Ba 2015, algorithm 1, with the bias corrections in rate = lr / (1 - b1^t) and
 * root = 1 / sqrt(1 - b2^t); decoupled decay, lr times the weight decay, as Loshchilov & Hutter
 * 2019. */
RULES(adam_update, 4, 14)

static void adam_update_ref(const tn_ref *r)
{
    const adam_update_attrs *a = r->attrs;
    int64_t                  n = tn_shape_size(&r->out_type[0].shape);
    double scale = tn__ref_at(r, 4, 0), rate = tn__ref_at(r, 5, 0), root = tn__ref_at(r, 6, 0);
    double decay = tn__ref_at(r, 7, 0);
    for (int64_t i = 0; i < n; i++) {
        double w = tn__ref_at(r, 0, i), g = scale * tn__ref_at(r, 3,
                                                               i) + (a->decoupled ? 0 : decay * w);
        double m = a->beta1 * tn__ref_at(r, 1, i) + (1 - a->beta1) * g;
        double v = a->beta2 * tn__ref_at(r, 2, i) + (1 - a->beta2) * g * g;
        ref_out(r, 0)[i] = (a->decoupled ? w - decay * w
                            : w) - rate * m / (sqrt(v) * root + a->eps);
        ref_out(r, 1)[i] = m;
        ref_out(r, 2)[i] = v;
    }
}

TN_OP_DEFINE(adam_update,
             .doc = "w, m, v, dw, scale, rate, root, decay -> w, m, v: one step of Adam or AdamW",
    UPDATE(adam_update, 8, 3), TN_ATTRS_OF(adam_update),
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 }, { 2, 3 }, { 2, 3 } }, .lo = 0.1, .hi = 1,
                 .attrs = &(adam_update_attrs){ 0.9, 0.999, 1e-8, true } },
               { .in = { { 67 }, { 67 }, { 67 }, { 67 } }, .lo = 0.01, .hi = 2,
                 .attrs = &(adam_update_attrs){ 0.8, 0.95, 1e-3, false } },
               { .in = { { -1 }, { -1 }, { -1 }, { -1 } },
                 .attrs = &(adam_update_attrs){ 0.9, 0.999, 1e-8, true } },
               { .in = { { 3 }, { 3 }, { 4 }, { 3 } },
                 .attrs = &(adam_update_attrs){ 0.9, 0.999, 1e-8, true },
                 .fails = TN_ERR_SHAPE, .message = "input 2" },
               { .in = { { 3 }, { 3 }, { 3 }, { 3 }, { 3 } },
                 .attrs = &(adam_update_attrs){ 0.9, 0.999, 1e-8, true },
                 .fails = TN_ERR_SHAPE, .message = "rank 1" }));

void tn__adam_update(const tn__adam *adam, tn_node *w, tn_node *m, tn_node *v, tn_node *dw,
                     tn_node *scale, tn_node *rate, tn_node *root, tn_node *decay, tn_node *out[3])
{
    adam_update_attrs a = { adam->beta1, adam->beta2, adam->eps, adam->decoupled };
    tn_apply_multi(&tn_op_adam_update, (tn_node *[]){ w, m, v, dw, scale, rate, root, decay }, 8,
                   &a, out);
}

/* ---- gradient descent ------------------------------------------------------------------------ */

RULES(sgd_update, 2, 5)

static void sgd_update_ref(const tn_ref *r)
{
    int64_t n = tn_shape_size(&r->out_type[0].shape);
    double  scale = tn__ref_at(r, 2, 0), rate = tn__ref_at(r, 3, 0), decay = tn__ref_at(r, 4, 0);
    for (int64_t i = 0; i < n; i++) {
        double w = tn__ref_at(r, 0, i);
        ref_out(r, 0)[i] = w - rate * (scale * tn__ref_at(r, 1, i) + decay * w);
    }
}

TN_OP_DEFINE(sgd_update, .doc = "w, dw, scale, rate, decay -> w - rate (scale dw + decay w)",
    UPDATE(sgd_update, 5, 1),
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } },
               { .in = { { 67 }, { 67 } }, .lo = -9, .hi = 9 },
               { .in = { { -1, 3 }, { -1, 3 } } },
               { .in = { { 2 }, { 2 } }, .dtype = { TN_F32, TN_I32 }, .fails = TN_ERR_DTYPE,
                 .message = "i32" }));

tn_node *tn__sgd_update(tn_node *w, tn_node *dw, tn_node *scale, tn_node *rate, tn_node *decay)
{
    return tn_apply(&tn_op_sgd_update, (tn_node *[]){ w, dw, scale, rate, decay }, 5, NULL);
}

RULES(momentum_update, 3, 9)

static void momentum_update_ref(const tn_ref *r)
{
    const momentum_update_attrs *a = r->attrs;
    int64_t                      n = tn_shape_size(&r->out_type[0].shape);
    double scale = tn__ref_at(r, 3, 0), rate = tn__ref_at(r, 4, 0), decay = tn__ref_at(r, 5, 0);
    for (int64_t i = 0; i < n; i++) {
        double w = tn__ref_at(r, 0, i), g = scale * tn__ref_at(r, 2, i) + decay * w;
        double u = a->momentum * tn__ref_at(r, 1, i) + g;
        ref_out(r, 0)[i] = w - rate * (a->nesterov ? g + a->momentum * u : u);
        ref_out(r, 1)[i] = u;
    }
}

TN_OP_DEFINE(momentum_update,
             .doc = "w, u, dw, scale, rate, decay -> w, u: one step with momentum (Nesterov's)",
    UPDATE(momentum_update, 6, 2), TN_ATTRS_OF(momentum_update),
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 }, { 2, 3 } },
                 .attrs = &(momentum_update_attrs){ 0.9, false } },
               { .in = { { 67 }, { 67 }, { 67 } }, .lo = -9, .hi = 9,
                 .attrs = &(momentum_update_attrs){ 0.5, true } },
               { .in = { { -1 }, { -1 }, { -1 } }, .attrs = &(momentum_update_attrs){ 0.9, true } },
               { .in = { { 3 }, { 3 }, { 2, 3 } }, .attrs = &(momentum_update_attrs){ 0.9, true },
                 .fails = TN_ERR_SHAPE, .message = "input 2" }));

void tn__momentum_update(double momentum, bool nesterov, tn_node *w, tn_node *u, tn_node *dw,
                         tn_node *scale, tn_node *rate, tn_node *decay, tn_node *out[2])
{
    momentum_update_attrs a = { momentum, nesterov };
    tn_apply_multi(&tn_op_momentum_update, (tn_node *[]){ w, u, dw, scale, rate, decay }, 6, &a,
                   out);
}

/* ---- clearing -------------------------------------------------------------------------------- */

RULES(clear, 2, 0)
REF(clear, 0)
TN_OP_DEFINE(clear,
    .doc = "zeros of x's shape, once the other operand is there", UPDATE(clear, 2, 1),
    TN_SAMPLES({ .in = { { 2, 3 }, { 2, 3 } } }, { .in = { { 130 }, { 130 } } },
               { .in = { { 3 }, { 4 } }, .fails = TN_ERR_SHAPE, .message = "[4]" }));

tn_node *tn__clear(tn_node *x, tn_node *after)
{
    return tn_apply(&tn_op_clear, (tn_node *[]){ x, after }, 2, NULL);
}

/* ---- the global norm ------------------------------------------------------------------------- */

/* One loop over blocks of all inputs; the blocks' sums are added in order, in f64. */
enum { SQUARE_BLOCK = 1 << 15 };

static int64_t blocks_of(const tn_tensor *x)
{
    return (tn_shape_size(&x->shape) + SQUARE_BLOCK - 1) / SQUARE_BLOCK;
}

static void square_block(void *arg, int64_t task, int worker)
{
    const tn_exec *e = arg;
    int64_t        block = task;
    int            k = 0;
    (void)worker;
    while (block >= blocks_of(&e->in[k])) block -= blocks_of(&e->in[k++]);
    const tn_tensor *x = &e->in[k];
    int64_t          first = block * SQUARE_BLOCK, n = tn_shape_size(&x->shape) - first;
    tn_span_args     a = { .n = n < SQUARE_BLOCK ? n : SQUARE_BLOCK,
                           .out = { (double *)e->scratch + task } };
    a.in[0] = (const char *)x->data + first * (int64_t)tn_dtype_size(x->dtype);
    sum_squares_span.fn[x->dtype][tn_ctx_cpu(e->ctx)](&a);
}

static tn_status sum_squares_run(tn_exec *e)
{
    int64_t n = 0;
    double  sum = 0;
    for (int k = 0; k < e->n_in; k++) n += blocks_of(&e->in[k]);
    tn_parallel_for(e->ctx, n, square_block, e);
    for (int64_t i = 0; i < n; i++) sum += ((const double *)e->scratch)[i];
    *(double *)e->out[0].data = sum;
    return TN_OK;
}

static size_t sum_squares_scratch(const tn_exec *e)
{
    int64_t n = 0;
    for (int k = 0; k < e->n_in; k++) n += blocks_of(&e->in[k]);
    return (size_t)n * sizeof(double);
}

static tn_status sum_squares_infer(tn_infer *c)
{
    for (int i = 0; i < c->n_in; i++) {
        tn_status s = tn_infer_float(c, i);
        if (s != TN_OK) return s;
    }
    c->out[0] = (tn_type){ .dtype = TN_F64 };
    return TN_OK;
}

static void sum_squares_cost(const tn_infer *c, tn_cost *cost)
{
    for (int i = 0; i < c->n_in; i++) {
        cost->flops += 2 * (double)tn_shape_size(&c->in[i].shape);
    }
}

static void sum_squares_ref(const tn_ref *r)
{
    double sum = 0;
    for (int k = 0; k < r->n_in; k++)
        for (int64_t i = 0; i < tn_shape_size(&r->in_type[k].shape); i++)
            sum += ((const double *)r->in[k])[i] * ((const double *)r->in[k])[i];
    ref_out(r, 0)[0] = sum;
}

TN_OP_DEFINE(sum_squares,
    .doc = "the sum of the squares of all inputs' elements, in f64: the global norm's",
    .arity = 1, .max_arity = -1, .flags = TN_NOT_DIFFERENTIABLE, .infer = sum_squares_infer,
    .run = sum_squares_run, .scratch = sum_squares_scratch, .cost = sum_squares_cost,
    .ref = sum_squares_ref,
    TN_SAMPLES({ .in = { { 2, 3 } }, .n_in = 1 },
               { .in = { { 67 }, { -1 }, { 4, 5, 2 } }, .n_in = 3 },
               { .in = { { 130 }, { 0 } }, .n_in = 2, .lo = -100, .hi = 100 },
               { .in = { { 3 }, { 3 } }, .n_in = 2, .dtype = { TN_F32, TN_I32 },
                 .fails = TN_ERR_DTYPE, .message = "i32" }));

tn_node *tn__sum_squares(tn_node *const *x, int n)
{
    return tn_apply(&tn_op_sum_squares, x, n, NULL);
}
