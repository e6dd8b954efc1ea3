/* Random ops. What they draw is a pure function of the context's seed, the op's stream, the run and
 * the element (tensor/philox.h): a copy of the op with the same stream draws the same again. */
#include "autograd/ops/build.h"
#include "tensor/kernels/dropout.h"
#include "tensor/philox.h"

#include <math.h>

/* ---- dropout --------------------------------------------------------------------------------- */

TN_ATTRS(dropout, DROPOUT_ATTRS)

_Static_assert(sizeof(dropout_attrs) == sizeof(tn__dropout) &&
               offsetof(dropout_attrs, stream) == offsetof(tn__dropout, stream),
               "the kernels read the attributes as a tn__dropout");

static const tn_span dropout_span = { { [TN_F32] = TN_LEVELS_OF(tn__dropout, f32),
                                        [TN_F64] = TN_LEVELS_OF(tn__dropout, f64) } };

static tn_status dropout_infer(tn_infer *c)
{
    const double p = ((const dropout_attrs *)c->attrs)->p;
    if (!(p >= 0 && p < 1)) return tn_infer_fail(c, TN_ERR_ARG, "p is %g, not in [0, 1)", p);
    return tn_infer_same(c);
}

/* The same elements of dy, by the same scale: linear, and the mask is made again. */
static void dropout_vjp(tn_vjp *c) { c->din[0] = tn_apply(&tn_op_dropout, c->dout, 1, c->attrs); }

static void dropout_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 2.0 * (double)tn_shape_size(&c->in[0].shape);
}

#define DROP(p) .attrs = &(dropout_attrs){ p, 77 }

TN_OP_DEFINE(dropout, .doc = "0 with probability p, else x / (1 - p)", .arity = 1,
    .flags = TN_INPLACE_OK | TN_RANDOM, TN_ATTRS_OF(dropout), .infer = dropout_infer,
    .span = &dropout_span, .vjp = dropout_vjp, .cost = dropout_cost,
    TN_SAMPLES({ .in = { { 2, 3 } }, DROP(0.5) },
               { .in = { { 67 } }, DROP(0.1) },
               { .in = { { 3, 130 } }, DROP(0.9) },
               { .in = { { 3 } }, DROP(0) },
               { .in = { { 3 } }, DROP(1), .fails = TN_ERR_ARG,
                 .message = "p is 1, not in [0, 1)" },
               { .in = { { 3 } }, DROP(-0.1), .fails = TN_ERR_ARG, .message = "-0.1" },
               { .in = { { 3 } }, DROP(0.1), .dtype = { TN_I32 }, .fails = TN_ERR_DTYPE,
                 .message = "i32" }));

tn_node *tn_dropout(tn_node *x, double p)
{
    tn_graph *g = tn__graph_of("dropout", x);
    if (!g) return NULL;
    bool none = p == 0 || (tn_graph_mode(g) == TN_EVAL && p > 0 && p < 1);
    if (none && tn_dtype_is_float(tn_node_dtype(x))) return x;
    return tn_apply(&tn_op_dropout, &x, 1, &(dropout_attrs){ .p = p });
}

/* ---- numbers from nothing -------------------------------------------------------------------- */

/* Uniform: a, b are lo, hi. Normal: mean, standard deviation. */
#define RANDOM_ATTRS(F)                                                                            \
    F(random, dtype, dtype) F(random, shape, shape) F(random, f64, a) F(random, f64, b)            \
    F(random, stream, stream)
TN_ATTRS(random, RANDOM_ATTRS)

static tn_status infer_random(tn_infer *c)
{
    const random_attrs *a = c->attrs;
    if (!tn_dtype_is_float(a->dtype))
        return tn_infer_fail(c, TN_ERR_DTYPE, "%s is not f32 or f64", tn_dtype_name(a->dtype));
    if (a->shape.rank < 0 || tn_shape_size(&a->shape) < 0)
        return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d or a negative dimension", TN_MAX_RANK);
    c->out[0] = (tn_type){ a->dtype, a->shape };
    return TN_OK;
}

typedef struct job {
    void   (*fill)(const tn__draw *d);
    tn__draw draw;
    size_t   size;
} job;

enum { TASK = 1 << 15 }; /* a multiple of every group */

static void fill_task(void *arg, int64_t task, int worker)
{
    const job *j = arg;
    tn__draw   d = j->draw;
    (void)worker;
    d.first = (uint64_t)task * TASK;
    d.out = (char *)d.out + (size_t)d.first * j->size;
    d.n = d.n - (int64_t)d.first < TASK ? d.n - (int64_t)d.first : TASK;
    j->fill(&d);
}

static tn_status run_random(tn_exec *e, void (*fill_f32)(const tn__draw *d),
                            void (*fill_f64)(const tn__draw *d))
{
    const random_attrs *a = e->attrs;
    job j = { .fill = a->dtype == TN_F32 ? fill_f32 : fill_f64, .size = tn_dtype_size(a->dtype) };
    j.draw = (tn__draw){ .key = tn__rng_key(e->seed, a->stream), .run = e->run, .a = a->a,
                         .b = a->b, .n = tn_shape_size(&e->out[0].shape), .out = e->out[0].data };
    tn_parallel_for(e->ctx, (j.draw.n + TASK - 1) / TASK, fill_task, &j);
    return TN_OK;
}

static void random_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 10.0 * (double)tn_shape_size(&c->out[0].shape);
}

static tn_status random_uniform_infer(tn_infer *c)
{
    const random_attrs *a = c->attrs;
    if (!(a->a < a->b && a->b - a->a < INFINITY))
        return tn_infer_fail(c, TN_ERR_ARG, "[%g, %g) is no range", a->a, a->b);
    return infer_random(c);
}

static tn_status random_uniform_run(tn_exec *e)
{
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    return run_random(e, k->random_uniform_f32, k->random_uniform_f64);
}

#define NUMBERS(a, b, ...) .attrs = &(random_attrs){ TN_F32, { __VA_ARGS__ }, a, b, 78 }

TN_OP_DEFINE(random_uniform, .doc = "numbers in [lo, hi), new ones in each run",
    .flags = TN_RANDOM | TN_NOT_DIFFERENTIABLE, TN_ATTRS_OF(random), .infer = random_uniform_infer,
    .run = random_uniform_run, .cost = random_cost,
    TN_SAMPLES({ NUMBERS(-1, 3, 2, { 3, 50 }) },
               { NUMBERS(0, 1, 2, { 3, 0 }) },
               { NUMBERS(1, 1, 1, { 3 }), .fails = TN_ERR_ARG, .message = "[1, 1)" }));

static tn_status random_normal_infer(tn_infer *c)
{
    const random_attrs *a = c->attrs;
    if (!(a->b >= 0 && a->b < INFINITY && fabs(a->a) < INFINITY))
        return tn_infer_fail(c, TN_ERR_ARG, "mean %g, standard deviation %g", a->a, a->b);
    return infer_random(c);
}

static tn_status random_normal_run(tn_exec *e)
{
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    return run_random(e, k->random_normal_f32, k->random_normal_f64);
}

TN_OP_DEFINE(random_normal, .doc = "numbers of the normal distribution, new ones in each run",
    .flags = TN_RANDOM | TN_NOT_DIFFERENTIABLE, TN_ATTRS_OF(random), .infer = random_normal_infer,
    .run = random_normal_run, .cost = random_cost,
    TN_SAMPLES({ NUMBERS(1, 2, 2, { 3, 50 }) },
               { NUMBERS(0, 1, 2, { 0, 3 }) },
               { NUMBERS(0, -1, 1, { 3 }), .fails = TN_ERR_ARG, .message = "deviation -1" }));

tn_node *tn_random_uniform_node(tn_graph *g, tn_dtype dtype, tn_shape shape, double lo, double hi)
{
    return tn_apply_in(g, &tn_op_random_uniform, NULL, 0,
                       &(random_attrs){ .dtype = dtype, .shape = shape, .a = lo, .b = hi }, NULL);
}

tn_node *tn_random_normal_node(tn_graph *g, tn_dtype dtype, tn_shape shape, double mean, double std)
{
    return tn_apply_in(g, &tn_op_random_normal, NULL, 0,
                       &(random_attrs){ .dtype = dtype, .shape = shape, .a = mean, .b = std },
                       NULL);
}
