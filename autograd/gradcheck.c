/* Checking gradients against signed central differences, in f64.
 *
 * With y = f(x) and a fixed random cotangent c, the scalar s(x) = <c, y> has the gradient that
 * reverse mode gives; each of its elements is compared with (s(x + h) - s(x - h)) / 2h. Order 2
 * does the same with s2(x) = <t, grad s(x)>, t fixed and random. A random cotangent makes wrong
 * signs, factors and missing sums show, where a sum would let some cancel. */
#include "autograd/program.h"

#include "tensor/random.h"

#include <math.h>
#include <string.h>

/* The program of one order: fed with x, gives s and ds/dx. */
typedef struct checked {
    tn_graph   *g;
    tn_program *p;
    tn_node    *in[64], *grad[64], *s;
    int         n_grads;
    int         which[64]; /* input of each gradient */
} checked;

static bool is_checked(const tn_type *t, const tn_gradcheck_options *o, int i)
{
    return tn_dtype_is_float(t->dtype) && !(o->no_grad && o->no_grad[i]);
}

/* <c, x> for a random c from the given stream, |c| in [0.5, 1.5]. */
static tn_node *random_dot(tn_graph *g, tn_node *x, uint64_t seed, uint64_t stream)
{
    tn_type  t = tn_node_type(x);
    int64_t  n = tn_shape_size(&t.shape);
    double  *c = tn_alloc(g->ctx, (size_t)n * sizeof *c + 8);
    if (!c) return NULL;
    tn_random_uniform((tn_rng){ seed, stream, 0 }, 0, n, TN_F64, c, 0.5, 1.5);
    for (int64_t i = 0; i < n; i++)
        if (tn_random_u64((tn_rng){ seed, stream, 1 }, i) & 1) c[i] = -c[i];
    tn_node *s = tn_sum_all(tn_mul(x, tn_constant(g, TN_F64, t.shape, c)));
    tn_free(g->ctx, c);
    return s;
}

static tn_node *scalar_of(checked *k, tn_node *y, const tn_gradcheck_options *o, int order)
{
    tn_node *s = random_dot(k->g, y, o->seed, 1);
    if (order == 1 || !s) return s;
    tn_node *grad[64], *sum = NULL;
    if (tn_grad_or_none(s, NULL, k->grad, k->n_grads, grad) != TN_OK) return NULL;
    for (int i = 0; i < k->n_grads; i++) {
        if (!grad[i]) continue;
        tn_node *term = random_dot(k->g, grad[i], o->seed, 2 + (uint64_t)i);
        sum = sum ? tn_add(sum, term) : term;
    }
    return sum ? sum : tn_full(k->g, TN_F64, TN_SCALAR, 0);
}

/* Builds f and its gradients into a program whose outputs are s and the gradients. */
static tn_status prepare(checked *k, tn_ctx *ctx, tn_build build, void *user, int n,
                         const tn_type *types, const tn_gradcheck_options *o, int order)
{
    k->g = tn_graph_new(ctx, o->mode);
    if (!k->g) return tn_ctx_status(ctx);
    char name[16];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "x%d", i);
        k->in[i] = tn_input(k->g, name, types[i].dtype, types[i].shape);
    }
    tn_node *y = build(k->g, k->in, user);
    if (!y) return tn_ctx_status(ctx) != TN_OK ? tn_ctx_status(ctx)
                                               : tn_fail(ctx, TN_ERR_ARG,
                                                         "tn_gradcheck: build gave NULL");
    y = tn__as_value(k->g, y);
    if (!y) return tn_ctx_status(ctx);
    if (y->type.dtype != TN_F64)
        return tn_fail(ctx, TN_ERR_DTYPE, "tn_gradcheck: the value is %s, not f64",
                       tn_dtype_name(y->type.dtype));
    for (int i = 0; i < n; i++)
        if (is_checked(&types[i], o, i)) k->which[k->n_grads] = i, k->grad[k->n_grads++] = k->in[i];
    if (k->n_grads == 0)
        return tn_fail(ctx, TN_ERR_ARG, "tn_gradcheck: there is no input to check");
    k->s = scalar_of(k, y, o, order);
    if (!k->s) return tn_ctx_status(ctx);
    tn_node *wrt[64], *outputs[65] = { k->s };
    memcpy(wrt, k->grad, sizeof wrt);
    tn_status s = tn_grad_or_none(k->s, NULL, wrt, k->n_grads, k->grad);
    if (s != TN_OK) return s;
    for (int i = 0; i < k->n_grads; i++) { /* no path: the gradient must be numerically zero too */
        if (!k->grad[i]) k->grad[i] = tn_full(k->g, TN_F64, wrt[i]->type.shape, 0);
        outputs[i + 1] = k->grad[i];
    }
    k->p = tn_compile(k->g, outputs, k->n_grads + 1, NULL);
    return k->p ? TN_OK : tn_ctx_status(ctx);
}

/* s with element e of the input's buffer set to x. */
static tn_status value_at(checked *k, double *x, int64_t e, double at, double *s)
{
    double    old = x[e];
    x[e] = at;
    k->p->run = 0; /* the same random numbers each time */
    tn_status status = tn_run(k->p);
    x[e] = old;
    *s = status == TN_OK ? *(const double *)tn_output(k->p, 0) : 0;
    return status;
}

static tn_status compare(checked *k, tn_ctx *ctx, const tn_gradcheck_options *o, int order,
                         int n_inputs, const tn_type *types, const void *const *data,
                         tn_gradcheck_report *worst)
{
    char name[16];
    for (int i = 0; i < n_inputs; i++) {
        snprintf(name, sizeof name, "x%d", i);
        void  *x = tn_input_data(k->p, name);
        size_t bytes = (size_t)tn_shape_size(&types[i].shape) * tn_dtype_size(types[i].dtype);
        if (x && bytes) memcpy(x, data[i], bytes);
    }
    k->p->run = 0;
    tn_status s = tn_run(k->p);
    for (int j = 0; s == TN_OK && j < k->n_grads; j++) {
        int     i = k->which[j];
        int64_t n = tn_shape_size(&types[i].shape);
        double *analytic = tn_alloc(ctx, (size_t)n * sizeof *analytic + 8);
        if (!analytic) return TN_ERR_MEMORY;
        memcpy(analytic, tn_output(k->p, j + 1), (size_t)n * sizeof *analytic);
        snprintf(name, sizeof name, "x%d", i);
        double *x = tn_input_data(k->p, name);
        for (int64_t e = 0; s == TN_OK && x && e < n; e++) {
            double h = o->step * fmax(1, fabs(x[e])), hi = x[e] + h, lo = x[e] - h, up = 0,
                down = 0;
            s = value_at(k, x, e, hi, &up);
            if (s == TN_OK) s = value_at(k, x, e, lo, &down);
            double numeric = (up - down) / (hi - lo);
            double error = fabs(analytic[e] - numeric) / fmax(1, fabs(numeric));
            if (s == TN_OK && !(error <= worst->worst) && !isnan(worst->worst))
                *worst = (tn_gradcheck_report){ error, order, i, e, analytic[e], numeric };
        }
        tn_free(ctx, analytic);
        if (s == TN_OK) k->p->run = 0, s = tn_run(k->p); /* the unperturbed gradients again */
    }
    return s;
}

tn_status tn_gradcheck(tn_ctx *ctx, tn_build build, void *user, int n, const tn_type *types,
                       const void *const *data, const tn_gradcheck_options *options,
                       tn_gradcheck_report *report)
{
    tn_gradcheck_options o = options ? *options : (tn_gradcheck_options){ 0 };
    tn_gradcheck_report  worst = { 0 };
    if (!ctx) return TN_ERR_ARG;
    if (o.step == 0) o.step = 1e-5;
    if (o.tolerance == 0) o.tolerance = 1e-6;
    if (!build || n < 1 || n > 64 || !types || !data || o.order < 0 || o.order > 2)
        return tn_fail(ctx, TN_ERR_ARG, "tn_gradcheck: 1 to 64 inputs, order 1 or 2");
    for (int i = 0; i < n; i++) {
        if (types[i].dtype == TN_F32)
            return tn_fail(ctx, TN_ERR_DTYPE,
                           "tn_gradcheck: input %d is f32: gradients are checked in f64", i);
        if (!data[i] && tn_shape_size(&types[i].shape) > 0)
            return tn_fail(ctx, TN_ERR_ARG, "tn_gradcheck: input %d: no data", i);
    }
    tn_status s = TN_OK;
    for (int order = 1; s == TN_OK && order <= (o.order ? o.order : 1); order++) {
        checked *k = tn_alloc(ctx, sizeof *k);
        if (!k) return TN_ERR_MEMORY;
        s = prepare(k, ctx, build, user, n, types, &o, order);
        if (s == TN_OK) s = compare(k, ctx, &o, order, n, types, data, &worst);
        tn_program_free(k->p), tn_graph_free(k->g), tn_free(ctx, k);
    }
    if (report) *report = worst;
    if (s == TN_OK && !(worst.worst <= o.tolerance))
        s = tn_fail(ctx, TN_ERR_GRAD,
                    "tn_gradcheck: order %d, input %d, element %lld: the gradient is %.12g, "
                    "central differences give %.12g (relative error %.3g, tolerance %g)",
                    worst.order, worst.input, (long long)worst.element, worst.analytic,
                    worst.numeric, worst.worst, o.tolerance);
    return s;
}
