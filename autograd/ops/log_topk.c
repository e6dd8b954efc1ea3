/* The likeliest classes of rows of logits: topk of log_softmax, without its rows. A row is read
 * twice, by kernels that look for the largest and add the exponentials at once. */
#include "autograd/ops/sort.h"

#include <math.h>

#define LOG_TOPK_ATTRS(F) F(log_topk, i64, k)
TN_ATTRS(log_topk, LOG_TOPK_ATTRS)

static tn_status log_topk_infer(tn_infer *c)
{
    const int64_t   k = ((const log_topk_attrs *)c->attrs)->k;
    const tn_shape *s = &c->in[0].shape;
    if (tn_infer_float(c, 0) != TN_OK) return tn_ctx_status(c->ctx);
    if (s->rank < 1) return tn_infer_fail(c, TN_ERR_SHAPE, "there is no axis");
    const int64_t n = s->dim[s->rank - 1];
    if (c->n_in == 2 && (c->in[1].shape.rank != 1 || c->in[1].shape.dim[0] != n))
        return tn_infer_fail(c, TN_ERR_SHAPE, "the bias is not [%lld]", (long long)n);
    if (c->n_in == 2 && c->in[1].dtype != c->in[0].dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "dtypes differ");
    if (k < 0 || k > n)
        return tn_infer_fail(c, TN_ERR_ARG, "k is %lld, the axis has %lld", (long long)k,
                             (long long)n);
    c->out[0] = c->in[0];
    c->out[0].shape.dim[s->rank - 1] = k;
    c->out[1] = (tn_type){ TN_I64, c->out[0].shape };
    return TN_OK;
}

typedef struct job {
    const tn_kernels *kernels;
    tn_dtype          dtype;
    const char       *x, *bias;
    char             *values;
    int64_t          *positions;
    int64_t           n, k, size;
    char             *room;
    size_t            per_worker;
} job;

/* log p of a class: as far below that of the first as its logit is. */
static void to_log_p(const tn__top *t, tn_dtype dtype, int64_t k, void *values)
{
    float  *v = values;
    double *w = values;
    if (dtype == TN_F32) {
        const float first = v[0], nll = ((float)t->shift - first) + (float)t->log_sum;
        for (int64_t i = 0; i < k; i++) v[i] = v[i] == -INFINITY ? v[i] : (v[i] - first) - nll;
    } else {
        const double first = w[0], nll = (t->shift - first) + t->log_sum;
        for (int64_t i = 0; i < k; i++) w[i] = w[i] == -INFINITY ? w[i] : (w[i] - first) - nll;
    }
}

static void row_task(void *arg, int64_t row, int worker)
{
    const job  *j = arg;
    const bool  is_f32 = j->dtype == TN_F32;
    char       *room = j->room + (size_t)worker * j->per_worker;
    const char *x = j->x + row * j->n * j->size;
    char       *items = room + (j->bias ? (j->n * j->size + 63) / 64 * 64 : 0);
    void       *values = j->values + row * j->k * j->size;
    tn__top     t = { .n = j->n, .k = j->k, .x = x, .bias = j->bias, .with_sum = true,
                      .at = (int64_t *)(void *)(items + j->n * TN__TOPK_ITEM),
                      .y = j->bias ? room : (void *)(uintptr_t)x };
    (is_f32 ? j->kernels->top_lanes_f32 : j->kernels->top_lanes_f64)(&t);
    const bool is_bound = t.least != -INFINITY;
    if (!is_bound) t.least = INFINITY;
    int64_t found = (is_f32 ? j->kernels->top_find_f32 : j->kernels->top_find_f64)(&t);
    if (!is_bound) found = -1;
    tn__topk_row(j->kernels, &t, j->dtype, found, values, j->positions + row * j->k, items);
    to_log_p(&t, j->dtype, j->k, values);
}

/* A row with its bias, and what sorting it takes. */
static size_t bytes_of(const tn_exec *e)
{
    const tn_shape *s = &e->in[0].shape;
    const size_t    n = (size_t)s->dim[s->rank - 1], size = tn_dtype_size(e->in[0].dtype);
    return (e->n_in > 1 ? (n * size + 63) / 64 * 64 : 0) + 2 * n * TN__TOPK_ITEM;
}

static size_t log_topk_scratch(const tn_exec *e)
{
    return bytes_of(e) * (size_t)tn_ctx_threads(e->ctx);
}

static tn_status log_topk_run(tn_exec *e)
{
    const tn_shape *s = &e->in[0].shape;
    job j = { .kernels = tn__ctx_kernels(e->ctx), .dtype = e->in[0].dtype, .x = e->in[0].data,
              .bias = e->n_in > 1 ? e->in[1].data : NULL, .values = e->out[0].data,
              .positions = e->out[1].data, .n = s->dim[s->rank - 1],
              .k = ((const log_topk_attrs *)e->attrs)->k, .room = e->scratch };
    j.size = (int64_t)tn_dtype_size(j.dtype), j.per_worker = bytes_of(e);
    if (j.k > 0) tn_parallel_for(e->ctx, tn_shape_size(s) / j.n, row_task, &j);
    return TN_OK;
}

static void log_topk_expand(tn_expansion *c)
{
    tn_node *x = c->n_in > 1 ? tn_add(c->in[0], c->in[1]) : c->in[0];
    tn_topk(tn_log_softmax(x, -1), ((const log_topk_attrs *)c->attrs)->k, -1, &c->out[0],
            &c->out[1]);
}

static void log_topk_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 12 * (double)tn_shape_size(&c->in[0].shape);
}

#define K(k) .attrs = &(const log_topk_attrs){ k }
TN_OP_DEFINE(log_topk,
    .doc = "the k largest of log_softmax(x + bias) along the last axis, falling; and their places",
    .arity = 1, .max_arity = 2, .n_out = 2, TN_ATTRS_OF(log_topk), .infer = log_topk_infer,
    .run = log_topk_run, .scratch = log_topk_scratch, .expand = log_topk_expand,
    .cost = log_topk_cost,
    TN_SAMPLES({ .in = { { 7 } }, K(3), .distinct = true },
               { .in = { { 2, 5 }, { 5 } }, .n_in = 2, K(5) },
               { .in = { { 2, 3, 140 } }, K(4), .lo = -9, .hi = 9, .distinct = true },
               { .in = { { 3, 201 }, { 201 } }, .n_in = 2, K(2), .lo = -9, .hi = 9 },
               { .in = { { 2, 3 } }, K(0) },
               { .in = { { -1, 3 } }, K(2) },
               { .in = { { 2, 3 } }, K(4), .fails = TN_ERR_ARG,
                 .message = "log_topk: [2,3]: k is 4, the axis has 3" },
               { .in = { { 2, 3 }, { 4 } }, .n_in = 2, K(1), .fails = TN_ERR_SHAPE,
                 .message = "the bias is not [3]" }));

tn_status tn_log_topk(tn_node *x, tn_node *bias, int64_t k, tn_node **values, tn_node **indices)
{
    tn_node *in[2] = { x, bias }, *out[2] = { NULL, NULL };
    if (values) *values = NULL;
    if (indices) *indices = NULL;
    if (!x) return TN_ERR_ARG;
    if (!tn_apply_multi(&tn_op_log_topk, in, bias ? 2 : 1, &(log_topk_attrs){ k }, out))
        return tn_ctx_status(tn_node_ctx(x));
    if (values) *values = out[0];
    if (indices) *indices = out[1];
    return TN_OK;
}
