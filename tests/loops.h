/* For tests of ops against plain loops: numbers drawn, constants of them, results as doubles. */
#ifndef TN_TESTS_LOOPS_H
#define TN_TESTS_LOOPS_H

#include "check.h"
#include "libtensor.h"

static tn_ctx *new_ctx(int threads, tn_cpu_level cpu)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 3, .cpu = cpu });
}

static double *numbers(int64_t n, uint64_t stream, double lo, double hi)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    tn_random_uniform((tn_rng){ 1, stream, 0 }, 0, n, TN_F64, x, lo, hi);
    return x;
}

/* x as a constant of the dtype. */
static tn_node *constant(tn_graph *g, tn_dtype dtype, tn_shape shape, const double *x)
{
    int64_t n = tn_shape_size(&shape);
    if (dtype == TN_F64) return tn_constant(g, dtype, shape, x);
    float *f = malloc((size_t)(n + 1) * sizeof *f);
    for (int64_t i = 0; i < n; i++) f[i] = (float)x[i];
    tn_node *c = tn_constant(g, dtype, shape, f);
    free(f);
    return c;
}

/* Runs and gives each output as doubles; they are freed by the caller. */
static bool run_all(tn_ctx *ctx, tn_graph *g, tn_node *const *out, int n, double **y)
{
    tn_program *p = tn_compile(g, out, n, NULL);
    bool        ok = p && tn_run(p) == TN_OK;
    CHECK_MSG(ok, "%s", tn_error(ctx));
    for (int k = 0; k < n; k++) {
        tn_type t = ok ? tn_output_type(p, k) : (tn_type){ 0 };
        int64_t size = ok ? tn_shape_size(&t.shape) : 0;
        y[k] = calloc((size_t)size + 1, sizeof **y);
        for (int64_t i = 0; i < size; i++)
            y[k][i] = t.dtype == TN_F32 ? (double)((const float *)tn_output(p, k))[i]
                                        : ((const double *)tn_output(p, k))[i];
    }
    tn_program_free(p);
    return ok;
}

static void free_all(double **y, int n)
{
    for (int k = 0; k < n; k++) free(y[k]);
}

/* Largest |got - want| / max(1, |want|). */
static double worst(const double *got, const double *want, int64_t n)
{
    double w = 0;
    for (int64_t i = 0; i < n; i++) {
        double e = fabs(got[i] - want[i]) / fmax(1, fabs(want[i]));
        if (got[i] != want[i] && !(e <= w)) w = isnan(e) ? INFINITY : e;
    }
    return w;
}

#endif
