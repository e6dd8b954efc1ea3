/* Reductions: values by hand, what they do with NaN, infinities, ties and nothing, gradients at
 * awkward points, and bits that depend on lengths alone. */
#include "values.h"

#include "tensor/reduce.h"

#define S    TN_SHAPE
#define NONE ((const double[]){ 0 })
#define AXES(...)                                                                                  \
    (const int[]){ __VA_ARGS__ }, (int)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

TEST(reduce, sums)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3, 2));
    CHECK_VALUES(tn_sum(x, AXES(-1), false), S(2, 3), 1, 5, 9, 13, 17, 21);
    CHECK_VALUES(tn_sum(x, AXES(1), false), S(2, 2), 6, 9, 24, 27);
    CHECK_VALUES(tn_sum(x, AXES(0), true), S(1, 3, 2), 6, 8, 10, 12, 14, 16);
    CHECK_VALUES(tn_sum(x, AXES(2, 0), false), S(3), 14, 22, 30);
    CHECK_VALUES(tn_sum(x, AXES(2, 0), true), S(1, 3, 1), 14, 22, 30);
    CHECK_VALUES(tn_sum(x, NULL, 0, true), S(1, 1, 1), 66);
    CHECK_VALUES(tn_sum_all(x), TN_SCALAR, 66);
    CHECK_VALUES(tn_sum_all(tn_sum_all(x)), TN_SCALAR, 66);
    CHECK_VALUES(tn_mean_all(x), TN_SCALAR, 5.5);
    CHECK_VALUES(tn_mean(x, AXES(1), false), S(2, 2), 2, 3, 8, 9);
    CHECK_VALUES(tn_sum_square(x, AXES(2, 1), false), S(2), 55, 451);
    CHECK_VALUES(tn_sum(tn_permute(x, AXES(2, 0, 1)), AXES(0, 2), false), S(2), 15, 51);
    CHECK_VALUES(tn_sum(tn_flip(tn_slice(x, 1, 0, 3, 2), 0), AXES(1), false), S(2, 2), 16, 18, 4,
                 6);
    CHECK_VALUES(tn_sum(tn_expand(F64(S(2, 1), 1, 2), S(2, 3)), AXES(1), false), S(2), 3, 6);
    CHECK_VALUES(tn_sum(I32(S(3), 1, 2, -5), AXES(0), false), TN_SCALAR, -2);
    CHECK_VALUES(gradient(tn_sum(x, AXES(0, 2), false), F64(S(3), 1, 2, 3), x), S(2, 3, 2), 1, 1, 2,
                 2, 3, 3,
                 1, 1, 2, 2, 3, 3);
    end();
}

TEST(reduce, refusals)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3));
    CHECK_REFUSED(!tn_sum(x, AXES(2), false), TN_ERR_ARG, "sum: [2,3]: axis 2 is not in [-2, 2)");
    CHECK_REFUSED(!tn_sum(x, AXES(0, -2), false), TN_ERR_ARG, "axis 0 is listed twice");
    CHECK_REFUSED(!tn_sum(x, NULL, 2, false), TN_ERR_ARG, "no list of them");
    CHECK_REFUSED(!tn_sum(x, AXES(0, 1, 0, 1, 0, 1, 0, 1, 0), false), TN_ERR_ARG,
                  "more than 8 axes");
    CHECK_REFUSED(!tn_sum_all(numbers(TN_BOOL, S(1), NONE)), TN_ERR_DTYPE,
                  "sum: bool[1]: not of f32");
    CHECK_REFUSED(!tn_mean_all(I32(S(2), 1, 2)), TN_ERR_DTYPE, "mean: i32[2]: not f32 or f64");
    CHECK_REFUSED(!tn_logsumexp(I32(S(2), 1, 2), NULL, 0, false), TN_ERR_DTYPE, "logsumexp");
    CHECK_REFUSED(!tn_norm(I32(S(2), 1, 2), NULL, 0, false), TN_ERR_DTYPE, "norm");
    CHECK_REFUSED(!tn_var(x, NULL, 0, false, -1), TN_ERR_ARG, "var: [2,3]: ddof -1");
    CHECK_REFUSED(!tn_any(x, NULL, 0, false), TN_ERR_DTYPE, "any: f64[2,3]: not bool");
    CHECK_REFUSED(!tn_max(numbers(TN_F64, S(2, 0), NONE), AXES(1), false), TN_ERR_SHAPE,
                  "max: [2,0]: max of no elements");
    CHECK_REFUSED(!tn_argmax(numbers(TN_F64, S(0), NONE), 0, false), TN_ERR_SHAPE,
                  "argmax of no elements");
    CHECK_REFUSED(!tn_cumsum(x, -3), TN_ERR_ARG, "cumsum: [2,3]: axis -3 is not in [-2, 2)");
    CHECK_REFUSED(!tn_sum_to(x, S(2)), TN_ERR_SHAPE, "sum_to: [2,3]: [2] does not broadcast to it");
    CHECK(tn_sum_all(NULL) == NULL && tn_var(NULL, NULL, 0, false, 0) == NULL && tn_std(NULL, NULL,
        0, false, 0) == NULL);
    end();
}

TEST(reduce, of_nothing)
{
    begin();
    tn_node *x = numbers(TN_F64, S(2, 0, 3), NONE);
    CHECK_VALUES(tn_sum(x, AXES(1), false), S(2, 3), 0, 0, 0, 0, 0, 0);
    CHECK_VALUES(tn_prod(x, AXES(1, 2), false), S(2), 1, 1);
    CHECK_VALUES(tn_sum(x, AXES(0), false), S(0, 3), 0);
    CHECK_VALUES(tn_max(x, AXES(0), false), S(0, 3), 0);
    CHECK_VALUES(tn_mean(x, AXES(1, 2), false), S(2), NAN, NAN);
    CHECK_VALUES(tn_any(tn_isnan(x), AXES(1), false), S(2, 3), 0, 0, 0, 0, 0, 0);
    CHECK_VALUES(tn_all(tn_isnan(x), AXES(1), false), S(2, 3), 1, 1, 1, 1, 1, 1);
    CHECK_VALUES(tn_cumsum(x, 1), S(2, 0, 3), 0);
    CHECK_VALUES(gradient(tn_sum(x, AXES(1), false), NULL, x), S(2, 0, 3), 0);
    end();
}

TEST(reduce, extremes)
{
    begin();
    tn_node *x = F64(S(2, 4), 3, -1, 3, 2, -INFINITY, NAN, 7, 1);
    CHECK_VALUES(tn_max(x, AXES(1), false), S(2), 3, NAN);
    CHECK_VALUES(tn_min(x, AXES(0), false), S(4), -INFINITY, NAN, 3, 1);
    CHECK_VALUES(tn_max(I32(S(3), -5, -7, -6), NULL, 0, false), TN_SCALAR, -5);
    CHECK_VALUES(tn_min(numbers(TN_U8, S(3), (double[]){ 200, 3, 9 }), NULL, 0, false), TN_SCALAR,
                 3);
    CHECK_VALUES(tn_max(F64(S(2), -INFINITY, -INFINITY), NULL, 0, false), TN_SCALAR, -INFINITY);
    /* ties share: by rows, then over everything */
    tn_node *t = F64(S(2, 3), 1, 4, 4, 4, 2, 0);
    CHECK_VALUES(gradient(tn_max(t, AXES(1), false), F64(S(2), 6, 10), t), S(2, 3), 0, 3, 3, 10, 0,
                 0);
    CHECK_NEARLY(gradient(tn_max(t, NULL, 0, false), NULL, t), S(2, 3), 1e-15, 0, 1. / 3, 1. / 3,
                 1. / 3, 0, 0);
    CHECK_VALUES(gradient(tn_min(t, AXES(0), true), NULL, t), S(2, 3), 1, 0, 0, 0, 1, 1);
    CHECK_VALUES(gradient(tn_max(x, AXES(1), false), F64(S(2), 6, 10), x), S(2, 4), 3, 0, 3, 0, 0,
                 10, 0, 0); /* the second row's is NaN */
    /* NaN wherever it stands in a long row, and in a column */
    double *row = calloc(300, sizeof *row);
    for (int at = 0; at < 300; at += 23) {
        row[at] = NAN;
        CHECK_VALUES(tn_max(numbers(TN_F32, S(300), row), AXES(0), false), TN_SCALAR, NAN);
        CHECK_VALUES(tn_min(numbers(TN_F64, S(300, 1), row), AXES(0), false), S(1), NAN);
        row[at] = 0;
    }
    free(row);
    end();
}

/* Rows of few elements that are gathered, many at a time: the bits of a contiguous copy. */
TEST(reduce, windows_of_few)
{
    begin();
    const tn_dtype dtypes[] = { TN_F32, TN_F64, TN_I32, TN_I64, TN_U8 };
    for (int d = 0; d < 5; d++) {
        tn_node *x = tn_cast(tn_remainder(tn_scale(iota(TN_F64, S(3, 11, 150)), 7.25),
                                          tn_full(g, TN_F64, TN_SCALAR, 101)), dtypes[d]);
        for (int size = 2; size <= 6; size++) {
            tn_node *w = tn_unfold(tn_unfold(x, 1, size, 2), 2, size, 1), *whole = tn_contiguous(w);
            tn_node *y[2] = { tn_max(w, AXES(3, 4), false), tn_max(whole, AXES(3, 4), false) };
            for (int k = 0; k < 2; k++) {
                tn_shape shape = tn_node_shape(y[k]);
                char    *a = value_of(y[0]), *b = value_of(y[1]);
                CHECK(a && b && memcmp(a, b, (size_t)tn_shape_size(&shape) *
                                                 tn_dtype_size(dtypes[d])) == 0);
                free(a), free(b);
                if (dtypes[d] == TN_U8) break;
                y[0] = tn_sum(w, AXES(3, 4), false), y[1] = tn_sum(whole, AXES(3, 4), false);
            }
        }
    }
    end();
}

TEST(reduce, any_all_arg_cumsum)
{
    begin();
    tn_node *b = numbers(TN_BOOL, S(2, 3), (double[]){ 0, 0, 1, 1, 1, 1 });
    CHECK_VALUES(tn_any(b, AXES(0), false), S(3), 1, 1, 1);
    CHECK_VALUES(tn_all(b, AXES(1), true), S(2, 1), 0, 1);
    CHECK_VALUES(tn_all(b, NULL, 0, false), TN_SCALAR, 0);
    tn_node *x = F64(S(2, 4), 1, 5, 5, 0, 2, NAN, 9, NAN);
    CHECK_VALUES(tn_argmax(x, 1, false), S(2), 1, 1);
    CHECK_VALUES(tn_argmin(x, -1, true), S(2, 1), 3, 1);
    CHECK_VALUES(tn_argmax(x, 0, false), S(4), 1, 1, 1, 1);
    CHECK_VALUES(tn_argmin(I32(S(4), 3, 1, 2, 1), 0, false), TN_SCALAR, 1);
    CHECK_INT(tn_node_dtype(tn_argmax(x, 0, false)), TN_I64);
    tn_node *y = iota(TN_F64, S(2, 3));
    CHECK_VALUES(tn_cumsum(y, 1), S(2, 3), 0, 1, 3, 3, 7, 12);
    CHECK_VALUES(tn_cumsum(y, 0), S(2, 3), 0, 1, 2, 3, 5, 7);
    CHECK_VALUES(gradient(tn_cumsum(y, 1), F64(S(3), 1, 10, 100), y), S(2, 3), 111, 110, 100, 111,
                 110, 100);
    CHECK_VALUES(tn_cumsum(tn_transpose(y, 0, 1), 0), S(3, 2), 0, 3, 1, 7, 3, 12);
    end();
}

TEST(reduce, product_and_its_gradient_at_zeros)
{
    begin();
    tn_node *x = F64(S(3, 3), 2, 3, 4, 2, 0, 4, 0, 3, 0), *y = tn_prod(x, AXES(1), false);
    CHECK_VALUES(y, S(3), 24, 0, 0);
    tn_node *dx = gradient(y, NULL, x);
    CHECK_VALUES(dx, S(3, 3), 12, 8, 6, 0, 8, 0, 0, 0, 0);
    /* second order: d/dx <dx, w> with w = 1: sum over i != j of the product of the rest */
    CHECK_VALUES(gradient(dx, NULL, x), S(3, 3), 3 + 4, 2 + 4, 2 + 3, 4 + 0, 2 + 4, 2 + 0, 3 + 0, 0,
                 3 + 0);
    CHECK_VALUES(tn_prod(I32(S(2, 2), 3, 4, 5, 6), NULL, 0, false), TN_SCALAR, 360);
    CHECK_VALUES(gradient(tn_prod(x, NULL, 0, false), NULL, x), S(3, 3), 0, 0, 0, 0, 0, 0, 0, 0, 0);
    end();
}

TEST(reduce, variance_and_norm)
{
    begin();
    tn_node *x = F64(S(2, 4), 1, 2, 3, 6, 5, 5, 5, 5);
    CHECK_NEARLY(tn_var(x, AXES(1), false, 0), S(2), 1e-14, 3.5, 0);
    CHECK_NEARLY(tn_var(x, AXES(-1), true, 1), S(2, 1), 1e-14, 14. / 3, 0);
    CHECK_NEARLY(tn_std(x, AXES(1), false, 0), S(2), 1e-14, sqrt(3.5), 0);
    CHECK_VALUES(tn_var(x, AXES(1), false, 4), S(2), INFINITY, NAN);
    double s = 4 * sqrt(3.5); /* of a constant row the gradient is 0, not NaN */
    CHECK_NEARLY(gradient(tn_std(x, AXES(1), false, 0), NULL, x), S(2, 4), 1e-14, -2 / s, -1 / s, 0,
                 3 / s, 0, 0,
                 0, 0);
    tn_node *v = F64(S(2, 2), 3, 4, 0, 0);
    CHECK_NEARLY(tn_norm(v, AXES(1), false), S(2), 1e-15, 5, 0);
    CHECK_NEARLY(gradient(tn_norm(v, AXES(1), false), NULL, v), S(2, 2), 1e-15, 0.6, 0.8, 0, 0);
    CHECK_VALUES(tn_norm(F64(S(2), NAN, 0), NULL, 0, false), TN_SCALAR, NAN);
    end();
}

TEST(reduce, logsumexp)
{
    begin();
    const double inf = INFINITY;
    tn_node *x = F64(S(5, 2), 1000, 1000, -1000, -1000, -inf, -inf, -inf, 3, inf, 0);
    double   l = log(2);
    CHECK_NEARLY(tn_logsumexp(x, AXES(1), false), S(5), 1e-12, 1000 + l, -1000 + l, -inf, 3, inf);
    CHECK_NEARLY(tn_logsumexp(x, AXES(1), true), S(5, 1), 1e-12, 1000 + l, -1000 + l, -inf, 3, inf);
    tn_node *rows = tn_slice(x, 0, 0, 4, 1);
    CHECK_NEARLY(gradient(tn_logsumexp(rows, AXES(1), false), NULL, rows), S(4, 2), 1e-15, 0.5, 0.5,
                 0.5, 0.5, 0, 0,
                 0, 1);
    CHECK_NEARLY(tn_logsumexp(F64(S(2, 2), 0, 0, 0, 0), NULL, 0, false), TN_SCALAR, 1e-15, log(4));
    end();
}

TEST(reduce, sum_to)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3, 2));
    CHECK(tn_sum_to(x, S(2, 3, 2)) == x);
    CHECK_VALUES(tn_sum_to(x, S(2)), S(2), 30, 36);
    CHECK_VALUES(tn_sum_to(x, S(3, 1)), S(3, 1), 14, 22, 30);
    CHECK_VALUES(tn_sum_to(x, TN_SCALAR), TN_SCALAR, 66);
    end();
}

/* A million times 0.1 in f32: a running sum would be wrong in the third digit. */
TEST(reduce, long_sums_are_accurate)
{
    begin();
    tn_node *x = tn_expand(tn_full(g, TN_F32, S(1), 0.1), S(1000, 1000));
    double   want = (double)0.1f * 1e6;
    CHECK_NEARLY(tn_sum_all(x), TN_SCALAR, 1e-6 * want, want);
    CHECK_NEARLY(tn_sum_all(tn_sum(x, AXES(0), false)), TN_SCALAR, 1e-6 * want, want);
    end();
}

/* ---- bits ------------------------------------------------------------------------------------ */

typedef struct bits_case {
    int      rank;
    int64_t  dim[4];
    unsigned axes;
} bits_case;

static const bits_case bits_cases[] = {
    { 2, { 37, 512 }, 2 },       { 2, { 300, 67 }, 1 },        { 2, { 3, 9001 }, 2 },
    { 2, { 5000, 130 }, 1 },     { 3, { 5, 70, 33 }, 2 },      { 4, { 3, 4, 5, 30 }, 13 },
    { 1, { 200000 }, 1 },        { 4, { 2, 70, 3, 65 }, 5 },   { 3, { 70, 70, 17 }, 3 },
    { 3, { 2, 3, 7 }, 6 },       { 2, { 9000, 1 }, 1 },        { 3, { 4, 66, 70 }, 6 },
};

/* Reduces x, of the given strides, on a context of its own. */
static void *reduce_on(tn_cpu_level cpu, int threads, tn__reduce_kind kind, const tn_tensor *x,
                       unsigned axes)
{
    tn_ctx *c = tn_ctx_new(&(tn_ctx_options){ .threads = threads, .cpu = cpu });
    int64_t n = 1;
    for (int d = 0; d < x->shape.rank; d++)
        if (!(axes >> d & 1)) n *= x->shape.dim[d];
    void *out = calloc((size_t)n + 1, 8), *scratch = NULL;
    if (posix_memalign(&scratch, 64, tn__reduce_scratch(c, x, axes) + 64) != 0) return out;
    tn__reduce(c, kind, x, axes, out, scratch);
    free(scratch);
    tn_ctx_free(c);
    return out;
}

/* The same numbers stored with the dims in another order and with gaps. */
static tn_tensor stored_otherwise(const tn_tensor *x, int turn)
{
    tn_tensor y = *x;
    int64_t   n = tn_shape_size(&x->shape), step = 1;
    size_t    size = tn_dtype_size(x->dtype);
    for (int k = 0; k < x->shape.rank; k++) {
        int d = (k + turn) % x->shape.rank;
        y.stride[d] = step;
        step *= x->shape.dim[d] + (k == 0);
    }
    y.data = calloc((size_t)step + 1, size);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0, rest = i;
        for (int d = x->shape.rank - 1; d >= 0; d--)
            at += rest % x->shape.dim[d] * y.stride[d], rest /= x->shape.dim[d];
        memcpy((char *)y.data + (size_t)at * size, (char *)x->data + (size_t)i * size, size);
    }
    return y;
}

TEST(reduce, bits_depend_on_lengths_alone)
{
    for (size_t c = 0; c < sizeof bits_cases / sizeof *bits_cases; c++) {
        for (int k = 0; k < 2 * 3; k++) {
            tn_dtype        dtype = k % 2 ? TN_F64 : TN_F32;
            tn__reduce_kind kind = (tn__reduce_kind[]){ TN__SUM, TN__SUM_SQUARE, TN__MAX }[k / 2];
            tn_shape        s = tn_shape_of(bits_cases[c].rank, bits_cases[c].dim);
            unsigned        axes = bits_cases[c].axes;
            int64_t         n = tn_shape_size(&s), n_out = 1;
            for (int d = 0; d < s.rank; d++) n_out *= axes >> d & 1 ? 1 : s.dim[d];
            void *data = calloc((size_t)n, 8);
            tn_random_uniform((tn_rng){ 1, c, 0 }, 0, n, dtype, data, -1, 1);
            tn_tensor x = tn_tensor_of(data, dtype, s);
            size_t    bytes = (size_t)n_out * tn_dtype_size(dtype);
            void     *want = reduce_on(TN_CPU_BASE, 1, kind, &x, axes);
            for (int level = TN_CPU_BASE; level <= TN_CPU_AVX512; level++) {
                void *got = reduce_on((tn_cpu_level)level, level, kind, &x, axes);
                CHECK_MSG(memcmp(got, want, bytes) == 0,
                          "case %zu, kind %d, %s: %s and %d threads differ", c, kind,
                          tn_dtype_name(dtype), tn_cpu_level_name((tn_cpu_level)level), level);
                free(got);
            }
            for (int turn = 0; turn < s.rank; turn++) {
                tn_tensor y = stored_otherwise(&x, turn);
                void     *got = reduce_on(TN_CPU_AUTO, 2, kind, &y, axes);
                CHECK_MSG(memcmp(got, want, bytes) == 0,
                          "case %zu, kind %d, %s: strides change bits", c, kind,
                          tn_dtype_name(dtype));
                free(got), free(y.data);
            }
            free(want), free(data);
        }
    }
}

/* Against a sum in long double. */
TEST(reduce, sums_of_every_length)
{
    begin();
    double *x = calloc(5000, sizeof *x);
    for (int i = 0; i < 5000; i++) x[i] = sin(i) + 0.1;
    for (int n = 1; n < 5000; n += n < 140 ? 1 : 397) {
        long double sum = 0;
        for (int i = 0; i < n; i++) sum += x[i];
        CHECK_NEARLY(tn_sum_all(numbers(TN_F64, S(n), x)), TN_SCALAR, 1e-12 * n, (double)sum);
        CHECK_NEARLY(tn_sum(numbers(TN_F64, S(n, 1), x), AXES(0), false), S(1), 1e-12 * n,
                     (double)sum);
    }
    free(x);
    end();
}

TEST_MAIN
