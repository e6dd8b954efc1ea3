/* What tests of layers share: tensors filled by a formula, and values compared with lists. */
#ifndef TN_TESTS_LAYERS_H
#define TN_TESTS_LAYERS_H

#include "check.h"
#include "libtensor.h"

TN_UNUSED static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 5 });
}

/* scale sin(0.7 i + offset), as the script that made PyTorch's numbers fills its tensors. */
TN_UNUSED static double fill_at(int64_t i, double offset, double scale)
{
    return scale * sin(0.7 * (double)i + offset);
}

TN_UNUSED static void fill(tn_node *variable, double offset, double scale)
{
    double *x = tn_variable_data(variable);
    for (size_t i = 0; i < tn_variable_bytes(variable) / sizeof *x; i++)
        x[i] = fill_at((int64_t)i, offset, scale);
}

TN_UNUSED static tn_node *filled(tn_graph *g, tn_shape shape, double offset)
{
    double data[512];
    int64_t n = tn_shape_size(&shape);
    for (int64_t i = 0; i < n && i < 512; i++) data[i] = fill_at(i, offset, 1);
    return n <= 512 ? tn_constant(g, TN_F64, shape, data) : NULL;
}

enum { MOST = 2048 };

TN_UNUSED static void check_values(const char *name, tn_node *x, const double *want, int64_t n,
                                   double tolerance)
{
    double   got[MOST];
    tn_shape s = tn_node_shape(x);
    if (!x || tn_shape_size(&s) != n || tn_eval(x, got, (size_t)n * sizeof *got) != TN_OK) {
        CHECK_MSG(false, "%s: no %lld numbers: %s", name, (long long)n,
                  x ? tn_error(tn_node_ctx(x)) : "NULL");
        return;
    }
    for (int64_t i = 0; i < n; i++)
        CHECK_MSG(check_is_near(got[i], want[i], tolerance),
                  "%s: element %lld: expected %.17g, got %.17g, tolerance %g",
                  name, (long long)i, want[i], got[i], tolerance);
}

#define COUNT(array)            (int64_t)(sizeof array / sizeof array[0])
#define CHECK_TORCH(name, x)    check_values(#name, x, torch_##name, COUNT(torch_##name), 1e-13)

/* Two nodes have the same numbers. */
TN_UNUSED static void check_same(const char *name, tn_node *x, tn_node *y, double tolerance)
{
    double   want[MOST];
    tn_shape s = tn_node_shape(y);
    int64_t  n = tn_shape_size(&s);
    CHECK_MSG(y && n <= MOST && tn_eval(y, want, (size_t)n * sizeof *want) == TN_OK, "%s: %s", name,
              y ? tn_error(tn_node_ctx(y)) : "NULL");
    if (y && n <= MOST) check_values(name, x, want, n, tolerance);
}

/* A context, an f64 set and an EVAL graph. */
typedef struct bench {
    tn_ctx    *ctx;
    tn_params *p;
    tn_graph  *g;
} bench;

TN_UNUSED static bench bench_new(void)
{
    tn_ctx *ctx = new_ctx(2);
    return (bench){ ctx, tn_params_new(ctx, TN_F64), tn_graph_new(ctx, TN_EVAL) };
}

TN_UNUSED static void bench_free(bench *b)
{
    tn_graph_free(b->g), tn_params_free(b->p), tn_ctx_free(b->ctx);
}

TN_UNUSED static bool is_constant(const tn_node *variable, double value)
{
    const double *x = tn_variable_data(variable);
    for (size_t i = 0; x && i < tn_variable_bytes(variable) / sizeof *x; i++)
        if (x[i] != value) return false;
    return x != NULL;
}

#endif
