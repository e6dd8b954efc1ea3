/* For tests that write numbers down: constants in, values out, and what must be refused. */
#ifndef TN_TESTS_VALUES_H
#define TN_TESTS_VALUES_H

#include "check.h"

#include "autograd/internal.h"
#include "libtensor.h"

static tn_ctx   *ctx;
static tn_graph *g;

__attribute__((unused)) static void begin(void)
{
    ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 5 });
    g = tn_graph_new(ctx, TN_TRAIN);
}

__attribute__((unused)) static void end(void)
{
    CHECK_STR(tn_error(ctx), "");
    tn_graph_free(g);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* Constants of any dtype from doubles. */
__attribute__((unused)) static tn_node *numbers(tn_dtype dtype, tn_shape shape, const double *x)
{
    int64_t n = tn_shape_size(&shape);
    void   *data = calloc((size_t)n + 1, tn_dtype_size(dtype));
    for (int64_t i = 0; i < n; i++) tn__store(dtype, data, i, x[i]);
    tn_node *node = tn_constant(g, dtype, shape, data);
    free(data);
    return node;
}

#define F64(shape, ...) numbers(TN_F64, shape, (const double[]){ __VA_ARGS__ })
#define I32(shape, ...) numbers(TN_I32, shape, (const double[]){ __VA_ARGS__ })

/* 0, 1, 2, .. */
__attribute__((unused)) static tn_node *iota(tn_dtype dtype, tn_shape shape)
{
    return tn_reshape(tn_cast(tn_arange(g, TN_F64, tn_shape_size(&shape), 0, 1), dtype), shape);
}

/* The node's value as new memory; NULL if it cannot be had. */
__attribute__((unused)) static void *value_of(tn_node *x)
{
    tn_shape s = tn_node_shape(x);
    size_t   bytes = (size_t)tn_shape_size(&s) * tn_dtype_size(tn_node_dtype(x));
    void    *data = calloc(bytes + 1, 1);
    if (tn_eval(x, data, bytes) == TN_OK) return data;
    free(data);
    return NULL;
}

__attribute__((unused)) static void check_values(const char *file, int line, tn_node *y,
                                                 tn_shape shape,
                                                 const double *want, double tolerance)
{
    char     a[96], b[96];
    tn_shape s = tn_node_shape(y);
    void    *got = y ? value_of(y) : NULL;
    if (!got) {
        check_fail(file, line, "expected a value, got the error: %s", tn_error(ctx));
        return;
    }
    if (!tn_shape_equal(&s, &shape)) {
        check_fail(file, line, "expected shape %s, got %s", tn_shape_text(&shape, a, sizeof a),
                   tn_shape_text(&s, b, sizeof b));
    } else {
        for (int64_t i = 0; i < tn_shape_size(&s); i++) {
            double x = tn__load(tn_node_dtype(y), got, i);
            if (!check_is_near(x, want[i], tolerance))
                check_fail(file, line, "element %lld: expected %.17g, got %.17g, tolerance %g",
                           (long long)i,
                           want[i], x, tolerance);
        }
    }
    free(got);
}

#define CHECK_NEARLY(y, shape, tolerance, ...)                                                     \
    check_values(__FILE__, __LINE__, y, shape, (const double[]){ __VA_ARGS__ }, tolerance)
#define CHECK_VALUES(y, shape, ...) CHECK_NEARLY(y, shape, 0, __VA_ARGS__)

/* The expression is NULL (or a status that is not OK, with !), and the context says why. */
#define CHECK_REFUSED(failed, status, part)                                                        \
    do {                                                                                           \
        CHECK_MSG(failed, "not refused: %s", #failed);                                             \
        CHECK_INT(tn_ctx_status(ctx), status);                                                     \
        CHECK_CONTAINS(tn_error(ctx), part);                                                       \
        tn_clear_error(ctx);                                                                       \
    } while (0)

/* d <weights, y> / dx; weights NULL: ones. */
__attribute__((unused)) static tn_node *gradient(tn_node *y, tn_node *weights, tn_node *x)
{
    tn_node *dx = NULL;
    tn_grad(tn_sum_all(weights ? tn_mul(y, weights) : y), NULL, &x, 1, &dx);
    return dx;
}

#endif
