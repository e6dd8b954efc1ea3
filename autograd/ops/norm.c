/* Layer and RMS normalisation over the last dimension, and the sum that a variance is made of. A
 * norm's forward op also gives each row's mean and reciprocal standard deviation, which the
 * backward op takes: x is read once in each direction.
 *
 * dgamma and dbeta are sums over rows: rows are cut into blocks by a rule that knows only the
 * shape, each block is summed by itself, and the blocks' sums are added in order. */
#include "autograd/ops/build.h"
#include "tensor/kernels/norm.h"
#include "tensor/stream.h"

#include <math.h>
#include <string.h>

#define NORM_ATTRS(F) F(norm, f64, eps) F(norm, flag, has_gamma) F(norm, flag, has_beta)
TN_ATTRS(norm, NORM_ATTRS)

enum { TASK = 16384, MOST_BLOCKS = 64, LEAST_BLOCK = 8192, COLUMNS = 1024 };

/* ---- inference ------------------------------------------------------------------------------- */

static tn_shape rows_of(const tn_shape *x) /* [.., d] -> [..] */
{
    tn_shape s = *x;
    s.rank--, s.dim[s.rank] = 0;
    return s;
}

static tn_status infer_vector(tn_infer *c, int i, const char *name, const tn_type *x)
{
    const tn_type *t = &c->in[i];
    const int64_t  d = x->shape.dim[x->shape.rank - 1];
    char           text[96];
    if (t->dtype != x->dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "%s is %s, x is %s", name, tn_dtype_name(t->dtype),
                             tn_dtype_name(x->dtype));
    if (t->shape.rank != 1 || t->shape.dim[0] != d)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%s is %s, not [%lld]", name,
                             tn_shape_text(&t->shape, text, sizeof text), (long long)d);
    return TN_OK;
}

static tn_status infer_norm(tn_infer *c, int n_stats)
{
    const norm_attrs *a = c->attrs;
    const tn_type    *x = &c->in[0];
    int               i = 1;
    if (tn_infer_float(c, 0) != TN_OK || tn_infer_rank(c, 0, 1) != TN_OK)
        return tn_ctx_status(c->ctx);
    if (!(a->eps >= 0 && a->eps < INFINITY))
        return tn_infer_fail(c, TN_ERR_ARG, "eps is %g, not a number from 0", a->eps);
    if (c->n_in != 1 + a->has_gamma + a->has_beta)
        return tn_infer_fail(c, TN_ERR_ARG, "%d inputs do not fit the attributes", c->n_in);
    if (a->has_gamma && infer_vector(c, i++, "gamma", x) != TN_OK) return tn_ctx_status(c->ctx);
    if (a->has_beta && infer_vector(c, i, "beta", x) != TN_OK) return tn_ctx_status(c->ctx);
    c->out[0] = *x;
    for (int k = 1; k <= n_stats; k++) c->out[k] = (tn_type){ x->dtype, rows_of(&x->shape) };
    return TN_OK;
}

/* dy, x, the statistics, gamma if there is one -> dx, dgamma, dbeta */
static tn_status infer_grad(tn_infer *c, int n_stats)
{
    const norm_attrs *a = c->attrs;
    const tn_type    *x = &c->in[0];
    int               k = 1;
    if (tn_infer_float(c, 0) != TN_OK || tn_infer_rank(c, 0, 1) != TN_OK)
        return tn_ctx_status(c->ctx);
    if (c->n_in != 2 + n_stats + a->has_gamma)
        return tn_infer_fail(c, TN_ERR_ARG, "%d inputs do not fit the attributes", c->n_in);
    const tn_shape rows = rows_of(&x->shape);
    for (int i = 1; i < 2 + n_stats; i++)
        if (c->in[i].dtype != x->dtype || !tn_shape_equal(&c->in[i].shape,
                                                          i == 1 ? &x->shape : &rows))
            return tn_infer_fail(c, TN_ERR_SHAPE, "x and its statistics do not fit dy");
    if (a->has_gamma && infer_vector(c, c->n_in - 1, "gamma", x) != TN_OK)
        return tn_ctx_status(c->ctx);
    const tn_shape vector = { 1, { x->shape.dim[x->shape.rank - 1] } };
    c->out[0] = *x;
    if (a->has_gamma) c->out[k++] = (tn_type){ x->dtype, vector };
    if (a->has_beta) c->out[k] = (tn_type){ x->dtype, vector };
    return TN_OK;
}

static int count_gradients(const void *attrs, int n_in)
{
    const norm_attrs *a = attrs;
    (void)n_in;
    return 1 + a->has_gamma + a->has_beta;
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct job {
    tn__norm  norm;
    void    (*rows)(const tn__norm *a, int64_t begin, int64_t end);
    void    (*add_rows)(const void *x, int64_t rows, int64_t stride, int64_t n, void *sum);
    int64_t   n_rows, step;     /* rows of a task; a block of rows in the backward pass */
    size_t    size;             /* of an element */
    char     *parts;            /* sums of each block: [blocks, vectors, n] */
    int64_t   n_blocks, n_vectors;
    char     *sum[2];           /* dgamma and dbeta */
} job;

static int64_t count_rows(const tn_shape *x)
{
    int64_t rows = 1;
    for (int d = 0; d < x->rank - 1; d++) rows *= x->dim[d];
    return rows;
}

static void rows_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t begin = task * j->step, end = begin + j->step;
    (void)worker;
    j->rows(&j->norm, begin, end < j->n_rows ? end : j->n_rows);
}

static tn_status run_norm(tn_exec *e, bool rms)
{
    const norm_attrs *a = e->attrs;
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    const tn_shape   *s = &e->in[0].shape;
    job               j = { .norm = { .n = s->dim[s->rank - 1], .rms = rms, .eps = a->eps },
                            .rows = e->in[0].dtype == TN_F32 ? k->norm_rows_f32 : k->norm_rows_f64,
                            .n_rows = count_rows(s) };
    j.norm.x = e->in[0].data, j.norm.y = e->out[0].data;
    j.norm.gamma = a->has_gamma ? e->in[1].data : NULL;
    j.norm.beta = a->has_beta ? e->in[e->n_in - 1].data : NULL;
    j.norm.mean = rms ? NULL : e->out[1].data;
    j.norm.rstd = e->out[rms ? 1 : 2].data;
    j.norm.is_far = tn__is_far(e);
    j.step = (TASK + j.norm.n) / (j.norm.n + 1);
    if (j.norm.is_far)
        j.step = tn__stream_rows(j.n_rows, j.norm.n * (int64_t)tn_dtype_size(e->in[0].dtype),
                                 tn_ctx_threads(e->ctx), j.step);
    tn_parallel_for(e->ctx, (j.n_rows + j.step - 1) / j.step, rows_task, &j);
    return TN_OK;
}

/* Rows of a block: depends on the shape alone. */
static int64_t block_rows(int64_t rows, int64_t n)
{
    int64_t least = (LEAST_BLOCK + n) / (n + 1), even = (rows + MOST_BLOCKS - 1) / MOST_BLOCKS;
    return even > least ? even : least;
}

static size_t grad_scratch(const tn_exec *e)
{
    const norm_attrs *a = e->attrs;
    const tn_shape   *s = &e->in[0].shape;
    const int64_t     n = s->dim[s->rank - 1], rows = count_rows(s), block = block_rows(rows, n);
    return (size_t)((rows + block - 1) / block * (a->has_gamma + a->has_beta) * n) *
           tn_dtype_size(e->in[0].dtype);
}

static void block_task(void *arg, int64_t block, int worker)
{
    const job *j = arg;
    tn__norm   a = j->norm;
    char      *part = j->parts + (size_t)(block * j->n_vectors * a.n) * j->size;
    (void)worker;
    if (j->sum[0]) a.dgamma = part;
    if (j->sum[1]) a.dbeta = part + (size_t)((j->n_vectors - 1) * a.n) * j->size;
    const int64_t begin = block * j->step, end = begin + j->step;
    j->rows(&a, begin, end < j->n_rows ? end : j->n_rows);
}

static void sum_task(void *arg, int64_t task, int worker)
{
    const job    *j = arg;
    const int64_t n = j->norm.n, first = task * COLUMNS, left = n - first,
        count = left < COLUMNS ? left : COLUMNS;
    (void)worker;
    for (int v = 0, at = 0; v < 2; v++) {
        if (!j->sum[v]) continue;
        char *sum = j->sum[v] + (size_t)first * j->size;
        memset(sum, 0, (size_t)count * j->size);
        j->add_rows(j->parts + (size_t)(at++ * n + first) * j->size, j->n_blocks, j->n_vectors * n,
                    count, sum);
    }
}

static tn_status run_grad(tn_exec *e, bool rms)
{
    const norm_attrs *a = e->attrs;
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    const tn_shape   *s = &e->in[0].shape;
    const bool        is_f32 = e->in[0].dtype == TN_F32;
    job               j = { .norm = { .n = s->dim[s->rank - 1], .rms = rms, .dy = e->in[0].data,
                                      .x = e->in[1].data, .mean = rms ? NULL : e->in[2].data,
                                      .rstd = e->in[rms ? 2 : 3].data, .dx = e->out[0].data,
                                      .gamma = a->has_gamma ? e->in[e->n_in - 1].data : NULL },
                            .rows = is_f32 ? k->norm_grad_rows_f32 : k->norm_grad_rows_f64,
                            .add_rows = is_f32 ? k->add_rows_f32 : k->add_rows_f64,
                            .n_rows = count_rows(s), .size = tn_dtype_size(e->in[0].dtype),
                            .parts = e->scratch, .n_vectors = a->has_gamma + a->has_beta };
    if (a->has_gamma) j.sum[0] = e->out[1].data;
    if (a->has_beta) j.sum[1] = e->out[e->n_out - 1].data;
    j.norm.is_far = tn__is_far(e);
    j.step = block_rows(j.n_rows, j.norm.n);
    j.n_blocks = (j.n_rows + j.step - 1) / j.step;
    tn_parallel_for(e->ctx, j.n_blocks, block_task, &j);
    if (j.n_vectors > 0) tn_parallel_for(e->ctx, (j.norm.n + COLUMNS - 1) / COLUMNS, sum_task, &j);
    return TN_OK;
}

static void norm_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 8.0 * (double)tn_shape_size(&c->in[0].shape);
}

static void grad_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 16.0 * (double)tn_shape_size(&c->in[0].shape);
}

/* ---- compositions ---------------------------------------------------------------------------- */

static const int last_axis = -1;

static tn_node *mean_of(tn_node *x) { return tn_mean(x, &last_axis, 1, true); }
static tn_node *column(tn_node *x) { return tn_unsqueeze(x, -1); }

static tn_node *affine_of(const norm_attrs *a, tn_node *const *vectors, tn_node *y)
{
    if (a->has_gamma) y = tn_mul(y, *vectors++);
    return a->has_beta ? tn_add(y, *vectors) : y;
}

/* The backward op as a formula of its inputs; mean is NULL for rms. */
static void expand_grad(tn_expansion *c, tn_node *mean, tn_node *rstd)
{
    const norm_attrs *a = c->attrs;
    const tn_shape    x = tn_node_shape(c->in[1]), vector = TN_SHAPE(x.dim[x.rank - 1]);
    tn_node          *dy = c->in[0];
    tn_node *h = tn_mul(mean ? tn_sub(c->in[1], column(mean)) : c->in[1], column(rstd));
    tn_node *g = a->has_gamma ? tn_mul(dy, c->in[c->n_in - 1]) : dy;
    tn_node *dx = tn_sub(mean ? tn_sub(g, mean_of(g)) : g, tn_mul(h, mean_of(tn_mul(g, h))));
    int      k = 0;
    c->out[k++] = tn_mul(dx, column(rstd));
    if (a->has_gamma) c->out[k++] = tn_sum_to(tn_mul(dy, h), vector);
    if (a->has_beta) c->out[k] = tn_sum_to(dy, vector);
}

/* Sum of two nodes of which either may be NULL, for zero. */
static tn_node *plus(tn_node *x, tn_node *y) { return x && y ? tn_add(x, y) : x ? x : y; }

/* dx of the statistics, which only higher orders ask for:
 * d mean / dx = 1 / n,  d rstd / dx = -rstd^3 (x - mean) / n */
static tn_node *grad_of_statistics(tn_node *x, tn_node *mean, tn_node *rstd, tn_node *dmean,
                                   tn_node *drstd)
{
    const double n = (double)tn_dim(x, -1);
    tn_node     *dx = NULL;
    if (dmean) dx = tn_expand(column(tn_scale(dmean, 1 / n)), tn_node_shape(x));
    if (!drstd) return dx;
    tn_node *scale = tn_scale(tn_mul(drstd, tn_mul(rstd, tn_square(rstd))), -1 / n);
    return plus(dx, tn_mul(mean ? tn_sub(x, column(mean)) : x, column(scale)));
}

/* The vjp of both: applies the backward op to dy and adds what the statistics ask for. */
static void vjp_norm(tn_vjp *c, const tn_op *grad, bool rms)
{
    const norm_attrs *a = c->attrs;
    tn_node          *x = c->in[0], *mean = rms ? NULL : c->out[1], *rstd = c->out[rms ? 1 : 2];
    tn_node          *dmean = rms ? NULL : c->dout[1], *drstd = c->dout[rms ? 1 : 2];
    if (c->dout[0]) {
        tn_node *in[5], *out[3] = { NULL };
        int      n = 0, k = 0;
        in[n++] = c->dout[0], in[n++] = x;
        if (!rms) in[n++] = mean;
        in[n++] = rstd;
        if (a->has_gamma) in[n++] = c->in[1];
        tn_apply_multi(grad, in, n, a, out);
        c->din[0] = out[k++];
        if (a->has_gamma) c->din[1] = out[k++];
        if (a->has_beta) c->din[c->n_in - 1] = out[k];
    }
    if (dmean || drstd)
        c->din[0] = plus(c->din[0], grad_of_statistics(x, mean, rstd, dmean, drstd));
}

/* ---- references ------------------------------------------------------------------------------ */

static void ref_norm(const tn_ref *r, bool rms)
{
    const norm_attrs *a = r->attrs;
    const tn_shape   *s = &r->in_type[0].shape;
    const int64_t     n = s->dim[s->rank - 1], rows = count_rows(s);
    const double     *gamma = a->has_gamma ? r->in[1] : NULL,
        *beta = a->has_beta ? r->in[r->n_in - 1] : NULL;
    for (int64_t i = 0; i < rows; i++) {
        const double *x = (const double *)r->in[0] + i * n;
        double       *y = (double *)r->out[0] + i * n, mean = 0, var = 0;
        for (int64_t j = 0; j < n && !rms; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) var += (x[j] - mean) * (x[j] - mean) / (double)n;
        const double rstd = 1 / sqrt(var + a->eps);
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - mean) * rstd * (gamma ? gamma[j] : 1) + (beta ? beta[j] : 0);
        if (!rms) ((double *)r->out[1])[i] = mean;
        ((double *)r->out[rms ? 1 : 2])[i] = rstd;
    }
}

/* ---- layer_norm ------------------------------------------------------------------------------ */

#define ALL  .attrs = &(norm_attrs){ 1e-5, true, true }
#define NONE .attrs = &(norm_attrs){ 1e-5, false, false }

static tn_status layer_norm_infer(tn_infer *c) { return infer_norm(c, 2); }
static tn_status layer_norm_run(tn_exec *e) { return run_norm(e, false); }
static void      layer_norm_ref(const tn_ref *r) { ref_norm(r, false); }
static void      layer_norm_vjp(tn_vjp *c) { vjp_norm(c, &tn_op_layer_norm_grad, false); }

static void layer_norm_expand(tn_expansion *c)
{
    const norm_attrs *a = c->attrs;
    tn_node          *mean = mean_of(c->in[0]), *x = tn_sub(c->in[0], mean);
    tn_node          *rstd = tn_rsqrt(tn_add_scalar(mean_of(tn_square(x)), a->eps));
    c->out[0] = affine_of(a, c->in + 1, tn_mul(x, rstd));
    c->out[1] = tn_squeeze(mean, -1), c->out[2] = tn_squeeze(rstd, -1);
}

TN_OP_DEFINE(layer_norm,
    .doc = "x [.., d], gamma [d], beta [d] -> (x - mean) rstd gamma + beta, mean [..], rstd [..]",
    .arity = 1, .max_arity = 3, .n_out = 3, TN_ATTRS_OF(norm), .infer = layer_norm_infer,
    .run = layer_norm_run, .vjp = layer_norm_vjp, .expand = layer_norm_expand, .cost = norm_cost,
    .ref = layer_norm_ref, .ref_tolerance = 1e-11,
    TN_SAMPLES({ .in = { { 2, 5 }, { 5 }, { 5 } }, .n_in = 3, ALL },
               { .in = { { 3, 2, 4 } }, .n_in = 1, NONE, .lo = 3, .hi = 5 },
               { .in = { { 3, 4 }, { 4 } }, .n_in = 2,
                 .attrs = &(norm_attrs){ 1e-3, true, false } },
               { .in = { { 3, 4 }, { 4 } }, .n_in = 2, .attrs = &(norm_attrs){ 0, false, true } },
               { .in = { { 2, 67 }, { 67 }, { 67 } }, .n_in = 3, ALL },
               { .in = { { 130 } }, .n_in = 1, NONE },
               { .in = { { 3, 1 } }, .n_in = 1, NONE }, /* y = 0 */
               { .in = { { 2, 3 }, { 4 }, { 4 } }, .n_in = 3, ALL, .fails = TN_ERR_SHAPE,
                 .message = "gamma is [4], not [3]" },
               { .in = { { 0 } }, .n_in = 1, NONE, .fails = TN_ERR_SHAPE, .message = "rank 0" },
               { .in = { { 2 } }, .n_in = 1, .attrs = &(norm_attrs){ -1, false, false },
                 .fails = TN_ERR_ARG, .message = "eps is -1" }));

static tn_status layer_norm_grad_infer(tn_infer *c) { return infer_grad(c, 2); }
static tn_status layer_norm_grad_run(tn_exec *e) { return run_grad(e, false); }
static void      layer_norm_grad_expand(tn_expansion *c) { expand_grad(c, c->in[2], c->in[3]); }

TN_OP_DEFINE(layer_norm_grad, .doc = "dy, x, mean, rstd, gamma -> dx, dgamma, dbeta of layer_norm",
    .arity = 4, .max_arity = 5, .count_out = count_gradients, .flags = TN_INPLACE_OK,
    TN_ATTRS_OF(norm),
    .infer = layer_norm_grad_infer, .run = layer_norm_grad_run, .scratch = grad_scratch,
    .expand = layer_norm_grad_expand, .cost = grad_cost,
    TN_SAMPLES({ .in = { { 2, 5 }, { 2, 5 }, { 2 }, { 2 }, { 5 } }, .n_in = 5, ALL },
               { .in = { { 3, 2, 4 }, { 3, 2, 4 }, { 3, 2 }, { 3, 2 } }, .n_in = 4, NONE },
               { .in = { { 5, 67 }, { 5, 67 }, { 5 }, { 5 }, { 67 } }, .n_in = 5, ALL,
                 .no_second = true }, /* slow */
               { .in = { { 3, 4 }, { 3, 4 }, { 3 }, { 3 } }, .n_in = 4,
                 .attrs = &(norm_attrs){ 0, false, true } },
               { .in = { { 3, 4 }, { 3, 4 }, { 3 }, { 4 } }, .n_in = 4, NONE, .fails = TN_ERR_SHAPE,
                 .message = "do not fit dy" }));

tn_node *tn_layer_norm(tn_node *x, tn_node *gamma, tn_node *beta, double eps)
{
    tn_node *in[3] = { x };
    int      n = 1;
    if (gamma) in[n++] = gamma;
    if (beta) in[n++] = beta;
    return tn_apply(&tn_op_layer_norm, in, n, &(norm_attrs){ eps, gamma != NULL, beta != NULL });
}

/* ---- rms_norm -------------------------------------------------------------------------------- */

static tn_status rms_norm_infer(tn_infer *c) { return infer_norm(c, 1); }
static tn_status rms_norm_run(tn_exec *e) { return run_norm(e, true); }
static void      rms_norm_ref(const tn_ref *r) { ref_norm(r, true); }
static void      rms_norm_vjp(tn_vjp *c) { vjp_norm(c, &tn_op_rms_norm_grad, true); }

static void rms_norm_expand(tn_expansion *c)
{
    const norm_attrs *a = c->attrs;
    tn_node          *rstd = tn_rsqrt(tn_add_scalar(mean_of(tn_square(c->in[0])), a->eps));
    c->out[0] = affine_of(a, c->in + 1, tn_mul(c->in[0], rstd));
    c->out[1] = tn_squeeze(rstd, -1);
}

#define GAMMA .attrs = &(norm_attrs){ 1e-6, true, false }

TN_OP_DEFINE(rms_norm,
             .doc = "x [.., d], gamma [d] -> x rstd gamma, rstd [..] = (mean(x^2) + eps)^-1/2",
    .arity = 1, .max_arity = 3, .n_out = 2, TN_ATTRS_OF(norm), .infer = rms_norm_infer,
    .run = rms_norm_run, .vjp = rms_norm_vjp, .expand = rms_norm_expand, .cost = norm_cost,
    .ref = rms_norm_ref, .ref_tolerance = 1e-11,
    TN_SAMPLES({ .in = { { 2, 5 }, { 5 } }, .n_in = 2, GAMMA },
               { .in = { { 3, 2, 4 } }, .n_in = 1, NONE, .lo = 3, .hi = 5 },
               { .in = { { 2, 67 }, { 67 } }, .n_in = 2, GAMMA },
               { .in = { { 130 } }, .n_in = 1, NONE },
               { .in = { { 2, 3 }, { 2 } }, .n_in = 2, GAMMA, .fails = TN_ERR_SHAPE,
                 .message = "gamma is [2], not [3]" }));

static tn_status rms_norm_grad_infer(tn_infer *c) { return infer_grad(c, 1); }
static tn_status rms_norm_grad_run(tn_exec *e) { return run_grad(e, true); }
static void      rms_norm_grad_expand(tn_expansion *c) { expand_grad(c, NULL, c->in[2]); }

TN_OP_DEFINE(rms_norm_grad, .doc = "dy, x, rstd, gamma -> dx, dgamma of rms_norm",
    .arity = 3, .max_arity = 4, .count_out = count_gradients, .flags = TN_INPLACE_OK,
    TN_ATTRS_OF(norm),
    .infer = rms_norm_grad_infer, .run = rms_norm_grad_run, .scratch = grad_scratch,
    .expand = rms_norm_grad_expand, .cost = grad_cost,
    TN_SAMPLES({ .in = { { 2, 5 }, { 2, 5 }, { 2 }, { 5 } }, .n_in = 4, GAMMA },
               { .in = { { 3, 2, 4 }, { 3, 2, 4 }, { 3, 2 } }, .n_in = 3, NONE },
               { .in = { { 5, 67 }, { 5, 67 }, { 5 }, { 67 } }, .n_in = 4, GAMMA,
                 .no_second = true })); /* slow */

tn_node *tn_rms_norm(tn_node *x, tn_node *gamma, double eps)
{
    return tn_apply(&tn_op_rms_norm, (tn_node *[]){ x, gamma }, gamma ? 2 : 1,
                    &(norm_attrs){ eps, gamma != NULL, false });
}

/* ---- deviation: what a variance is made of, in one reading of x ------------------------------ */

static tn_status deviation_infer(tn_infer *c)
{
    if (tn_infer_float(c, 0) != TN_OK || tn_infer_rank(c, 0, 1) != TN_OK)
        return tn_ctx_status(c->ctx);
    c->out[0] = (tn_type){ c->in[0].dtype, rows_of(&c->in[0].shape) };
    return TN_OK;
}

static tn_status deviation_run(tn_exec *e)
{
    const tn_kernels *k = tn__ctx_kernels(e->ctx);
    const tn_shape   *s = &e->in[0].shape;
    job j = { .norm = { .n = s->dim[s->rank - 1], .x = e->in[0].data, .y = e->out[0].data },
              .rows = e->in[0].dtype == TN_F32 ? k->deviation_rows_f32 : k->deviation_rows_f64,
              .n_rows = count_rows(s) };
    j.step = (TASK + j.norm.n) / (j.norm.n + 1);
    tn_parallel_for(e->ctx, (j.n_rows + j.step - 1) / j.step, rows_task, &j);
    return TN_OK;
}

static void deviation_vjp(tn_vjp *c) /* the mean's part sums to 0 */
{
    tn_node *x = c->in[0];
    c->din[0] = tn_mul(tn_sub(x, mean_of(x)), column(tn_scale(c->dout[0], 2)));
}

static void deviation_expand(tn_expansion *c)
{
    c->out[0] = tn_sum_square(tn_sub(c->in[0], mean_of(c->in[0])), &last_axis, 1, false);
}

static void deviation_ref(const tn_ref *r)
{
    const tn_shape *s = &r->in_type[0].shape;
    const int64_t   n = s->dim[s->rank - 1], rows = count_rows(s);
    for (int64_t i = 0; i < rows; i++) {
        const double *x = (const double *)r->in[0] + i * n;
        double        mean = 0, sum = 0;
        for (int64_t j = 0; j < n; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) sum += (x[j] - mean) * (x[j] - mean);
        ((double *)r->out[0])[i] = sum;
    }
}

TN_OP_DEFINE(deviation, .doc = "x [.., d] -> [..], the sum of (x - mean)^2 over d", .arity = 1,
    .infer = deviation_infer, .run = deviation_run, .vjp = deviation_vjp,
    .expand = deviation_expand,
    .cost = norm_cost, .ref = deviation_ref, .ref_tolerance = 1e-11,
    TN_SAMPLES({ .in = { { 2, 5 } } }, { .in = { { 3, 2, 4 } }, .lo = 3, .hi = 5 },
               { .in = { { 130 } } }, { .in = { { 3, 1 } } },
               { .in = { { 0 } }, .fails = TN_ERR_SHAPE, .message = "rank 0" },
               { .in = { { 3 } }, .dtype = { TN_I32 }, .fails = TN_ERR_DTYPE, .message = "i32" }));
