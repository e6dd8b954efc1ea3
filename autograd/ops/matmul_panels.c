/* The matrix product with a matrix that was packed in panels before: what compile makes of products
 * with weights that stay the same (panels.c). Panels of another width than the kernels' own are
 * plain products each. */
#include "autograd/panels.h"

#include "autograd/program.h"
#include "tensor/gemm_panels.h"

static const tn_attr_field matmul_panels_fields[] = { MATMUL_PANELS_ATTRS(TN_ATTR_FIELD){
    NULL, TN_ATTR_END, 0 } };

static tn_status matmul_panels_infer(tn_infer *c)
{
    const tn_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    const int64_t   n = ((const matmul_panels_attrs *)c->attrs)->n;
    for (int i = 0; i < 2; i++)
        if (tn_infer_float(c, i) != TN_OK || tn_infer_rank(c, i, i ? 3 : 1) != TN_OK)
            return tn_ctx_status(c->ctx);
    if (c->in[0].dtype != c->in[1].dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "dtypes differ");
    if (b->rank != 3)
        return tn_infer_fail(c, TN_ERR_SHAPE, "rank %d of panels, not 3", b->rank);
    if (a->dim[a->rank - 1] != b->dim[1])
        return tn_infer_fail(c, TN_ERR_SHAPE, "inner dimensions %lld and %lld differ",
                             (long long)a->dim[a->rank - 1], (long long)b->dim[1]);
    if (n < 0 || n > b->dim[0] * b->dim[2] || n <= (b->dim[0] - 1) * b->dim[2])
        return tn_infer_fail(c, TN_ERR_SHAPE, "%lld columns in %lld panels of %lld", (long long)n,
                             (long long)b->dim[0], (long long)b->dim[2]);
    c->out[0] = c->in[0];
    c->out[0].shape.dim[a->rank - 1] = n;
    return TN_OK;
}

/* A's leading dimensions lie evenly: they are but more rows. */
static void describe(const tn_exec *e, tn_gemm *g)
{
    const tn_tensor *a = &e->in[0], *c = &e->out[0];
    const int        last = a->shape.rank - 1;
    *g = (tn_gemm){ .dtype = a->dtype, .m = 1, .n = c->shape.dim[last], .k = a->shape.dim[last],
                    .alpha = 1, .a = a->data, .b = e->in[1].data, .c = c->data,
                    .a_row = a->shape.dim[last], .a_col = a->stride[last],
                    .c_row = c->shape.dim[last] };
    for (int d = last - 1; d >= 0; d--) {
        if (a->shape.dim[d] != 1 && g->m == 1) g->a_row = a->stride[d];
        g->m *= a->shape.dim[d];
    }
    if (g->k == 1) g->a_col = 1;
}

/* The product with panel p alone. */
static tn_gemm one_panel(const tn_gemm *g, int64_t p, int64_t width)
{
    tn_gemm       x = *g;
    const int64_t size = (int64_t)tn_dtype_size(g->dtype), j = p * width;
    x.n = g->n - j < width ? g->n - j : width;
    x.b = (const char *)g->b + j * g->k * size, x.b_row = width, x.b_col = 1;
    x.c = (char *)g->c + j * size, x.epilogue = NULL;
    return x;
}

static bool has_own_width(const tn_exec *e)
{
    const tn_tensor *b = &e->in[1];
    return b->shape.dim[2] == tn__gemm_panel_width(e->ctx, b->dtype) && b->shape.dim[1] > 0;
}

static size_t matmul_panels_scratch(const tn_exec *e)
{
    tn_gemm g;
    describe(e, &g);
    if (has_own_width(e)) return tn__gemm_panels_scratch(e->ctx, &g);
    g.n = e->in[1].shape.dim[2], g.b_row = g.n, g.b_col = 1;
    return tn__gemm_scratch(e->ctx, &g);
}

static void run_epilogue(void *arg, int64_t batch, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                         int worker)
{
    const tn__epilogue *x = arg;
    (void)batch;
    if (j0 == 0 && j1 == x->n) {
        tn__chain_span(&x->run, i0 * x->n, (i1 - i0) * x->n, worker);
        return;
    }
    for (int64_t i = i0; i < i1; i++) tn__chain_span(&x->run, i * x->n + j0, j1 - j0, worker);
}

static tn_status matmul_panels_run(tn_exec *e)
{
    tn_gemm       g;
    tn__epilogue *x = (tn__epilogue *)(uintptr_t)e->epilogue;
    describe(e, &g);
    if (x) x->m = g.m, x->n = g.n;
    if (has_own_width(e)) {
        if (x) g.epilogue = run_epilogue, g.epilogue_arg = x;
        tn__gemm_panels_run(e->ctx, &g, e->scratch, e->run & 1);
        return TN_OK;
    }
    for (int64_t p = 0; p < e->in[1].shape.dim[0]; p++) {
        const tn_gemm one = one_panel(&g, p, e->in[1].shape.dim[2]);
        tn__gemm_run(e->ctx, &one, e->scratch);
    }
    if (x) run_epilogue(x, 0, 0, g.m, 0, g.n, 0);
    return TN_OK;
}

static void matmul_panels_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = 2.0 * (double)tn_shape_size(&c->out[0].shape) * (double)c->in[1].shape.dim[1];
}

static void matmul_panels_ref(const tn_ref *r)
{
    const tn_shape *b = &r->in_type[1].shape;
    const int64_t   n = ((const matmul_panels_attrs *)r->attrs)->n, k = b->dim[1], w = b->dim[2];
    const int64_t   m = n ? tn_shape_size(&r->out_type[0].shape) / n : 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double s = 0;
            for (int64_t p = 0; p < k; p++)
                s += ((const double *)r->in[0])[i * k + p] *
                     ((const double *)r->in[1])[(j / w * k + p) * w + j % w];
            ((double *)r->out[0])[i * n + j] = s;
        }
}

#define N(x) .attrs = &(const matmul_panels_attrs) { x }
TN_OP_DEFINE(matmul_panels,
             .doc = "y = a b: [.., k] x panels [p, k, w] of b -> [.., n], (p - 1) w < n <= p w",
             .arity = 2, .flags = TN_EPILOGUE | TN_NOT_DIFFERENTIABLE,
             TN_ATTRS_OF(matmul_panels), .infer = matmul_panels_infer, .run = matmul_panels_run,
             .scratch = matmul_panels_scratch, .cost = matmul_panels_cost, .ref = matmul_panels_ref,
             TN_SAMPLES({ .in = { { 3, 4 }, { 2, 4, 3 } }, N(5) },
                        { .in = { { 2, 3, 5 }, { 1, 5, 32 } }, N(32) },
                        { .in = { { 17, 9 }, { 3, 9, 32 } }, N(70) },
                        { .in = { { 33, 140 }, { 2, 140, 16 } }, N(23) },
                        { .in = { { 7, 3 }, { 4, 3, 8 } }, N(32) },
                        { .in = { { 5 }, { 2, 5, 12 } }, N(13) },
                        { .in = { { 5, 2, 3 }, { 2, 3, 6 } }, N(12) },
                        { .in = { { -1, 3 }, { 2, 3, 16 } }, N(20) },
                        { .in = { { 3, -1 }, { 1, -1, 16 } }, N(5) },
                        { .in = { { 3, 4 }, { 2, 5, 3 } }, N(5), .fails = TN_ERR_SHAPE,
                          .message = "inner dimensions 4 and 5 differ" },
                        { .in = { { 3, 4 }, { 2, 4, 3 } }, N(3), .fails = TN_ERR_SHAPE,
                          .message = "3 columns in 2 panels of 3" },
                        { .in = { { 3, 4 }, { 4, 3 } }, N(3), .fails = TN_ERR_SHAPE,
                          .message = "rank 2" },
                        { .in = { { 3, 4 }, { 1, 4, 3 } }, .dtype = { TN_F32, TN_I64 }, N(3),
                          .fails = TN_ERR_DTYPE, .message = "i64" }));
