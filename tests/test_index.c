/* Indexing: rows and elements by index, sums in a fixed order, sorting, and wrong indices. */
#include "values.h"

#define S    TN_SHAPE
#define NONE ((const double[]){ 0 })

TEST(index, index_select)
{
    begin();
    tn_node *x = iota(TN_F64, S(3, 2)), *i = I32(S(4), 2, 0, 2, 1);
    CHECK_VALUES(tn_index_select(x, 0, i), S(4, 2), 4, 5, 0, 1, 4, 5, 2, 3);
    CHECK_VALUES(tn_index_select(x, -1, numbers(TN_I64, S(1), (double[]){ 1 })), S(3, 1), 1, 3, 5);
    CHECK_VALUES(tn_index_select(tn_transpose(x, 0, 1), 1, i), S(2, 4), 4, 0, 4, 2, 5, 1, 5, 3);
    CHECK_VALUES(tn_index_select(numbers(TN_BOOL, S(2), (double[]){ 1, 0 }), 0, I32(S(3), 1, 0, 0)),
                 S(3), 0, 1, 1);
    CHECK_VALUES(gradient(tn_index_select(x, 0, i), iota(TN_F64, S(4, 2)), x), S(3, 2), 2, 3, 6, 7,
                 4, 6);
    CHECK_REFUSED(!tn_index_select(x, 2, i), TN_ERR_ARG, "axis 2 is not in [-2, 2)");
    CHECK_REFUSED(!tn_index_select(x, 0, x), TN_ERR_DTYPE, "input 1 is f64, not i32 or i64");
    CHECK_REFUSED(!tn_index_select(x, 0, I32(S(1, 1), 0)), TN_ERR_SHAPE,
                  "the index has rank 2, not 1");
    end();
}

TEST(index, embedding)
{
    begin();
    tn_node *w = iota(TN_F64, S(4, 2)), *i = I32(S(2, 3), 1, 3, 1, 0, 1, 3);
    CHECK_VALUES(tn_embedding(w, i, -1), S(2, 3, 2), 2, 3, 6, 7, 2, 3, 0, 1, 2, 3, 6, 7);
    CHECK_VALUES(gradient(tn_embedding(w, i, -1), NULL, w), S(4, 2), 1, 1, 3, 3, 0, 0, 2, 2);
    CHECK_VALUES(gradient(tn_embedding(w, i, 1), NULL, w), S(4, 2), 1, 1, 0, 0, 0, 0, 2, 2);
    CHECK_VALUES(tn_embedding(w, i, 1), S(2, 3, 2), 2, 3, 6, 7, 2, 3, 0, 1, 2, 3, 6, 7);
    CHECK_REFUSED(!tn_embedding(w, i, 4), TN_ERR_ARG, "padding_idx 4 is not in [-1, 4)");
    CHECK_REFUSED(!tn_embedding(i, w, -1), TN_ERR_DTYPE, "input 1 is f64");
    /* second order: the gradient of <dw, v> with respect to dy, zero where the index is padding */
    tn_node *dy = iota(TN_F64, S(2, 3, 2)), *dw = NULL, *v = iota(TN_F64, S(4, 2));
    REQUIRE(tn_grad(tn_embedding(w, i, 1), dy, &w, 1, &dw) == TN_OK);
    CHECK_VALUES(gradient(dw, v, dy), S(2, 3, 2), 0, 0, 6, 7, 0, 0, 0, 1, 0, 0, 6, 7);
    end();
}

TEST(index, one_hot)
{
    begin();
    CHECK_VALUES(tn_one_hot(I32(S(2), 2, 0), 3, TN_F32), S(2, 3), 0, 0, 1, 1, 0, 0);
    CHECK_VALUES(tn_one_hot(I32(S(1, 2), 0, 1), 2, TN_BOOL), S(1, 2, 2), 1, 0, 0, 1);
    CHECK_REFUSED(!tn_one_hot(iota(TN_F32, S(2)), 2, TN_F32), TN_ERR_DTYPE, "not i32 or i64");
    end();
}

TEST(index, index_add)
{
    begin();
    tn_node *x = iota(TN_F64, S(3, 2)), *src = F64(S(4, 2), 10, 20, 30, 40, 50, 60, 70, 80);
    tn_node *i = I32(S(4), 2, 0, 2, 2), *y = tn_index_add(x, 0, i, src);
    CHECK_VALUES(y, S(3, 2), 30, 41, 2, 3, 134, 165);
    CHECK_VALUES(gradient(y, x, src), S(4, 2), 4, 5, 0, 1, 4, 5, 4, 5);
    CHECK_VALUES(tn_index_add(I32(S(1, 2), 1, 1), 1, I32(S(3), 1, 1, 0), I32(S(1, 3), 5, 6, 7)),
                 S(1, 2), 8, 12);
    CHECK_VALUES(tn_index_add(tn_full(g, TN_F64, S(2), 3), 0, I32(S(0), 0),
                              numbers(TN_F64, S(0), NONE)), S(2), 3, 3);
    CHECK_REFUSED(!tn_index_add(x, 0, i, x), TN_ERR_SHAPE, "the source is not [4,2]");
    CHECK_REFUSED(!tn_index_add(x, 0, i, tn_cast(src, TN_F32)), TN_ERR_DTYPE,
                  "inputs 0 and 2 differ in dtype");
    end();
}

TEST(index, gather_and_scatter_add)
{
    begin();
    tn_node *x = iota(TN_F64, S(2, 3)), *i = I32(S(2, 2), 2, 0, 1, 1);
    CHECK_VALUES(tn_gather(x, 1, i), S(2, 2), 2, 0, 4, 4);
    CHECK_VALUES(gradient(tn_gather(x, 1, i), F64(S(2, 2), 1, 2, 3, 4), x), S(2, 3), 2, 0, 1, 0, 7,
                 0);
    CHECK_VALUES(tn_gather(x, 0, I32(S(3, 2), 1, 0, 0, 1, 1, 1)), S(3, 2), 3, 1, 0, 4, 3, 4);
    CHECK_VALUES(tn_gather(tn_transpose(x, 0, 1), 0, I32(S(1, 2), 2, 1)), S(1, 2), 2, 4);
    tn_node *src = F64(S(2, 2), 10, 20, 30, 40), *y = tn_scatter_add(x, 1, i, src);
    CHECK_VALUES(y, S(2, 3), 20, 1, 12, 3, 74, 5);
    CHECK_VALUES(gradient(y, x, src), S(2, 2), 2, 0, 4, 4);
    CHECK_VALUES(tn_scatter_add(x, 0, I32(S(2, 3), 0, 0, 1, 1, 0, 1),
                                tn_full(g, TN_F64, S(2, 3), 10)), S(2, 3),
                 10, 21, 2, 13, 4, 25);
    x = tn_full(g, TN_F64, S(5, 0), 0), i = tn_full(g, TN_I32, S(300, 0), 0); /* of no columns */
    CHECK_VALUES(tn_scatter_add(x, 0, i, tn_full(g, TN_F64, S(300, 0), 0)), S(5, 0), 0);
    CHECK_VALUES(gradient(tn_gather(x, 0, i), NULL, x), S(5, 0), 0);
    x = iota(TN_F64, S(2, 3)), i = I32(S(2, 2), 2, 0, 1, 1);
    CHECK_REFUSED(!tn_gather(x, 0, I32(S(2), 0, 1)), TN_ERR_SHAPE,
                  "gather: [2,3] x [2]: the index has rank 1, not 2");
    CHECK_REFUSED(!tn_scatter_add(x, 1, i, x), TN_ERR_SHAPE, "index and source differ in shape");
    end();
}

/* ---- wrong indices --------------------------------------------------------------------------- */

/* A run that fails changes nothing, says where, and the next one works. */
TEST(index, out_of_range_is_an_error_of_the_run)
{
    begin();
    tn_node *w = tn_variable_new(ctx, "w", TN_F32, S(8000, 4)), *i = tn_input(g, "i", TN_I32,
        S(3, 9));
    REQUIRE(tn_variable_fill(w, 2) == TN_OK);
    tn_node    *y = tn_embedding(w, i, -1);
    tn_node    *out[] = { tn_assign(w, tn_scale(tn_read(g, w), 3)), tn_sum_all(y) };
    tn_program *p = tn_compile(g, out, 2, NULL);
    REQUIRE(p);
    int32_t index[27] = { 0 };
    for (int k = 0; k < 27; k++) index[k] = 7999 - k;
    index[17] = 8000, index[25] = -1;
    REQUIRE(tn_feed(p, i, index, sizeof index) == TN_OK);
    CHECK_INT(tn_run(p), TN_ERR_INDEX);
    CHECK_CONTAINS(tn_error(ctx), "embedding: index 8000 at position 17 is outside [0, 8000)");
    tn_clear_error(ctx);
    CHECK_NEAR(((float *)tn_variable_data(w))[5], 2, 0);
    index[17] = 1;
    tn_feed(p, i, index, sizeof index);
    CHECK_INT(tn_run(p), TN_ERR_INDEX);
    CHECK_CONTAINS(tn_error(ctx), "index -1 at position 25");
    tn_clear_error(ctx);
    index[25] = 1;
    tn_feed(p, i, index, sizeof index);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(tn_item(p, out[1]), 2 * 27 * 4, 0);
    CHECK_NEAR(((float *)tn_variable_data(w))[5], 6, 0);
    tn_program_free(p);
    tn_variable_free(w);
    end();
}

TEST(index, every_op_checks)
{
    begin();
    tn_node *x = iota(TN_F64, S(3, 2)), *bad = I32(S(2), 1, 3), *low = I32(S(2), -1, 0);
    tn_node *bad2 = I32(S(2, 2), 0, 1, 2, 3), *ones = tn_full(g, TN_F64, S(2, 2), 1);
    double   room[16];
    struct {
        tn_node    *y;
        const char *message;
    } cases[] = {
        { tn_index_select(x, 0, bad), "index_select: index 3 at position 1 is outside [0, 3)" },
        { tn_index_select(x, 1, low), "index_select: index -1 at position 0 is outside [0, 2)" },
        { tn_index_add(x, 0, bad, ones), "index_add: index 3 at position 1" },
        { tn_gather(x, 0, bad2), "gather: index 3 at position 3 is outside [0, 3)" },
        { tn_scatter_add(x, 0, bad2, ones), "scatter_add: index 3 at position 3" },
        { tn_one_hot(bad, 3, TN_F64), "one_hot: index 3 at position 1 is outside [0, 3)" },
        { tn_index_select(numbers(TN_F64, S(0, 2), NONE), 0, bad),
          "index 1 at position 0 is outside [0, 0)" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        tn_shape s = tn_node_shape(cases[k].y);
        CHECK_INT(tn_eval(cases[k].y, room, (size_t)tn_shape_size(&s) * sizeof *room),
                  TN_ERR_INDEX);
        CHECK_CONTAINS(tn_error(ctx), cases[k].message);
        tn_clear_error(ctx);
        CHECK_VALUES(tn_sum_all(x), TN_SCALAR, 15);
    }
    end();
}

/* ---- fixed order ----------------------------------------------------------------------------- */

/* The bits of an embedding's gradient, on one thread or many: sums in rising order of position. */
/* Sums of rows of d numbers. */
static void check_sums(int64_t d)
{
    enum { V = 50, N = 2000 };
    const size_t size = (size_t)(V * d) * sizeof(float);
    float       *dy = calloc((size_t)(N * d), sizeof *dy), *want = malloc(size),
        *got = malloc(size);
    int32_t     *index = calloc(N, sizeof *index);
    for (int64_t i = 0; i < V * d; i++) want[i] = 0;
    tn_random_uniform((tn_rng){ 3, 1, 0 }, 0, N * d, TN_F32, dy, -1, 1);
    for (int i = 0; i < N; i++) { /* a few rows get most of it */
        uint64_t r = tn_random_u64((tn_rng){ 3, 2, 0 }, i);
        index[i] = (int32_t)(r % 4 ? r / 7 % 3 : r / 5 % V);
        for (int64_t j = 0; j < d; j++) want[index[i] * d + j] += dy[i * d + j];
    }
    for (int threads = 1; threads <= 5; threads += 2) {
        ctx = tn_ctx_new(&(tn_ctx_options){ .threads = threads });
        g = tn_graph_new(ctx, TN_TRAIN);
        tn_node *w = tn_full(g, TN_F32, S(V, d), 1), *dw = NULL;
        tn_node *cot = tn_constant(g, TN_F32, S(N, d), dy), *at = tn_constant(g, TN_I32, S(N),
            index);
        REQUIRE(tn_grad(tn_embedding(w, at, -1), cot, &w, 1, &dw) == TN_OK);
        REQUIRE(tn_eval(dw, got, size) == TN_OK);
        CHECK_MSG(memcmp(got, want, size) == 0, "%d columns, %d threads: other bits", (int)d,
                  threads);
        /* the same through scatter_add, element by element */
        tn_node *wide = tn_expand(tn_unsqueeze(at, 1), S(N, d));
        REQUIRE(tn_eval(tn_scatter_add(tn_zeros_like(w), 0, wide, cot), got,
                        size) == TN_OK);
        CHECK_MSG(memcmp(got, want, size) == 0,
                  "scatter_add, %d columns, %d threads: other bits", (int)d, threads);
        /* and where a result that nobody else wants is added to in place */
        tn_node *zeros = tn_sum(tn_full(g, TN_F32, S(2, V, d), 0), (const int[]){ 0 }, 1, false);
        tn_node *sum = tn_add_scalar(tn_index_add(tn_add_scalar(zeros, 0), 0, at, cot), 0);
        REQUIRE(tn_eval(sum, got, size) == TN_OK);
        CHECK_MSG(memcmp(got, want, size) == 0,
                  "index_add, %d columns, %d threads: other bits", (int)d, threads);
        end();
    }
    free(dy), free(want), free(got), free(index);
}

/* Tiles of columns: none, whole ones, and one column more than they would hold. */
TEST(index, gradients_add_in_rising_order)
{
    static const int64_t columns[] = { 1, 256, 257, 300, 545 };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) check_sums(columns[i]);
}

/* gather, scatter_add and index_add along each axis of [36, 45, 5], of whole numbers: lines side by
 * side, rows of few elements, indices that lie ready and such that do not. */
TEST(index, along_each_axis)
{
    enum { A = 36, B = 45, C = 5, N = A * B * C };
    static float   x[N], src[N], taken[N], added[N], rows[N];
    static int64_t index[N];
    const int64_t  size[3] = { A, B, C }, stride[3] = { B * C, C, 1 };
    for (int k = 0; k < 3 * 4; k++) {
        const int axis = k % 3, narrow = k / 3 % 2, threads = k / 6 ? 3 : 1;
        ctx = tn_ctx_new(&(tn_ctx_options){ .threads = threads });
        g = tn_graph_new(ctx, TN_TRAIN);
        for (int i = 0; i < N; i++) {
            const tn_rng rng = { .seed = 3, .stream = (uint64_t)k };
            x[i] = added[i] = rows[i] = (float)(i % 101), src[i] = (float)(i * 7 % 103);
            index[i] = (int64_t)(tn_random_u64(rng, i) % (uint64_t)size[axis]);
        }
        for (int i = 0; i < N; i++) {
            const int64_t here = i / stride[axis] % size[axis];
            taken[i] = x[i + (index[i] - here) * stride[axis]];
            added[i + (index[i] - here) * stride[axis]] += src[i];
            rows[i + (index[here] - here) * stride[axis]] += src[i];
        }
        tn_node *at = tn_constant(g, TN_I64, S(A, B, C), index), *y;
        tn_node *line = tn_constant(g, TN_I64, S(size[axis]), index);
        if (narrow) at = tn_cast(at, TN_I32), line = tn_cast(line, TN_I32);
        tn_node *to = tn_constant(g, TN_F32, S(A, B, C), x);
        tn_node *from = tn_constant(g, TN_F32, S(A, B, C), src);
        const float *const want[3] = { taken, added, rows };
        for (int op = 0; op < 3; op++) {
            y = op == 0   ? tn_gather(to, axis, at)
                : op == 1 ? tn_scatter_add(to, axis, at, from)
                          : tn_index_add(to, axis, line, from);
            float *got = value_of(y);
            CHECK_MSG(got && memcmp(got, want[op], sizeof x) == 0, "op %d, axis %d, %d threads", op,
                      axis, threads);
            free(got);
        }
        end();
    }
}

/* ---- sorting --------------------------------------------------------------------------------- */

TEST(index, sort)
{
    begin();
    tn_node *v, *i, *x = F64(S(2, 4), 3, NAN, -1, 3, 0, -0.0, INFINITY, -INFINITY);
    REQUIRE(tn_sort(x, 1, false, &v, &i) == TN_OK);
    CHECK_VALUES(v, S(2, 4), -1, 3, 3, NAN, -INFINITY, 0, -0.0, INFINITY);
    CHECK_VALUES(i, S(2, 4), 2, 0, 3, 1, 3, 0, 1, 2); /* equals in order, and -0 equals 0 */
    REQUIRE(tn_sort(x, -1, true, &v, &i) == TN_OK);
    CHECK_VALUES(v, S(2, 4), 3, 3, -1, NAN, INFINITY, 0, -0.0, -INFINITY);
    CHECK_VALUES(i, S(2, 4), 0, 3, 2, 1, 2, 0, 1, 3);
    REQUIRE(tn_sort(x, 0, false, &v, NULL) == TN_OK);
    CHECK_VALUES(v, S(2, 4), 0, -0.0, -1, -INFINITY, 3, NAN, INFINITY, 3);
    REQUIRE(tn_sort(numbers(TN_I64, S(3), (double[]){ 5, -7, 5 }), 0, true, &v, &i) == TN_OK);
    CHECK_VALUES(v, S(3), 5, 5, -7);
    CHECK_VALUES(i, S(3), 0, 2, 1);
    tn_node *y = F64(S(4), 0.3, 0.1, 0.4, 0.2);
    REQUIRE(tn_sort(y, 0, false, &v, NULL) == TN_OK);
    CHECK_VALUES(gradient(v, F64(S(4), 1, 2, 3, 4), y), S(4), 3, 1, 4, 2);
    CHECK_REFUSED(tn_sort(y, 1, false, &v, &i) != TN_OK, TN_ERR_ARG,
                  "sort: [4]: axis 1 is not in [-1, 1)");
    CHECK(v == NULL && i == NULL);
    CHECK_REFUSED(tn_sort(numbers(TN_BOOL, S(1), NONE), 0, false, &v, &i) != TN_OK, TN_ERR_DTYPE,
                  "sort: bool[1]");
    end();
}

TEST(index, topk)
{
    begin();
    tn_node *v, *i, *x = F64(S(2, 5), 1, 9, NAN, 9, 3, 2, 2, 2, 2, 2);
    REQUIRE(tn_topk(x, 3, 1, &v, &i) == TN_OK);
    CHECK_VALUES(v, S(2, 3), 9, 9, 3, 2, 2, 2);
    CHECK_VALUES(i, S(2, 3), 1, 3, 4, 0, 1, 2);
    CHECK_VALUES(gradient(v, F64(S(2, 3), 1, 2, 3, 4, 5, 6), x), S(2, 5), 0, 1, 0, 2, 3, 4, 5, 6, 0,
                 0);
    REQUIRE(tn_topk(x, 1, 0, &v, &i) == TN_OK);
    CHECK_VALUES(v, S(1, 5), 2, 9, 2, 9, 3);
    CHECK_VALUES(i, S(1, 5), 1, 0, 1, 0, 0);
    REQUIRE(tn_topk(x, 0, 1, &v, &i) == TN_OK);
    CHECK_VALUES(v, S(2, 0), 0);
    CHECK_REFUSED(tn_topk(x, 6, 1, &v, &i) != TN_OK, TN_ERR_ARG,
                  "topk: [2,5]: k is 6, the axis has 5");
    CHECK_REFUSED(tn_topk(x, -1, 1, &v, &i) != TN_OK, TN_ERR_ARG, "k is -1");
    end();
}

/* Rows of equals, of nothing but -inf, with NaN; long enough for looking, and too short for it. */
TEST(index, log_topk)
{
    begin();
    tn_node *v, *i, *x = F64(S(2, 4), 1, 2, 2, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                             -INFINITY);
    const double lse = log(exp(1) + 2 * exp(2));
    REQUIRE(tn_log_topk(x, NULL, 4, &v, &i) == TN_OK);
    CHECK_NEARLY(v, S(2, 4), 1e-12, 2 - lse, 2 - lse, 1 - lse, -INFINITY, -INFINITY, -INFINITY,
                 -INFINITY, -INFINITY);
    CHECK_VALUES(i, S(2, 4), 1, 2, 0, 3, 0, 1, 2, 3);
    tn_node *bias = F64(S(4), 0, -INFINITY, 0, 0);
    REQUIRE(tn_log_topk(tn_slice(x, 0, 0, 1, 1), bias, 2, &v, &i) == TN_OK);
    CHECK_NEARLY(v, S(1, 2), 1e-12, -log(1 + exp(-1)), -1 - log(1 + exp(-1)));
    CHECK_VALUES(i, S(1, 2), 2, 0);
    for (int dtype = TN_F32; dtype <= TN_F64; dtype++) {
        double row[300], sum = 0;
        for (int k = 0; k < 300; k++) row[k] = k * 37 % 300 / 16.0, sum += exp(row[k] - 18);
        tn_node *y = numbers((tn_dtype)dtype, S(300), row);
        REQUIRE(tn_log_topk(y, NULL, 3, &v, &i) == TN_OK);
        CHECK_VALUES(i, S(3), 227, 154, 81); /* 37 k = 299, 298, 297 modulo 300 */
        CHECK_NEARLY(tn_cast(tn_slice(v, 0, 0, 1, 1), TN_F64), S(1), 1e-6,
                     299 / 16.0 - 18 - log(sum));
        row[154] = NAN;
        REQUIRE(tn_topk(numbers((tn_dtype)dtype, S(300), row), 3, 0, NULL, &i) == TN_OK);
        CHECK_VALUES(i, S(3), 227, 81, 8);
        REQUIRE(tn_log_topk(numbers((tn_dtype)dtype, S(300), row), NULL, 2, &v, &i) == TN_OK);
        CHECK_VALUES(tn_cast(v, TN_F64), S(2), NAN, NAN);
    }
    end();
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Long rows of many equals; topk by picking (few) and by sorting (many) agrees with sort. */
TEST(index, long_rows_sort_stably)
{
    enum { N = 5003 };
    begin();
    float *x = calloc(N, sizeof *x), *sorted = calloc(N, sizeof *x);
    for (int i = 0; i < N; i++) sorted[i] = x[i] = (float)(tn_random_u64((tn_rng){ 1, 9, 0 },
        i) % 700) - 350;
    qsort(sorted, N, sizeof *sorted, by_value);
    tn_node *v, *at, *node = tn_constant(g, TN_F32, S(N), x);
    REQUIRE(tn_sort(node, 0, false, &v, &at) == TN_OK);
    float   *got = value_of(v);
    int64_t *from = value_of(at);
    REQUIRE(got && from);
    int wrong = 0;
    for (int i = 0; i < N; i++) {
        wrong += got[i] != sorted[i] || x[from[i]] != got[i];
        wrong += i > 0 && got[i] == got[i - 1] && from[i] < from[i - 1];
    }
    CHECK_INT(wrong, 0);
    free(got), free(from);
    tn_node *down, *down_at;
    REQUIRE(tn_sort(node, 0, true, &down, &down_at) == TN_OK);
    int64_t *want = value_of(down_at);
    for (int64_t k = 1; k < N; k = k * 4 + 3) {
        REQUIRE(tn_topk(node, k, 0, &v, &at) == TN_OK);
        int64_t *some = value_of(at);
        CHECK_MSG(some && memcmp(some, want, (size_t)k * sizeof *some) == 0, "top %lld",
                  (long long)k);
        free(some);
    }
    free(want), free(x), free(sorted);
    end();
}

/* topk picks from what few lanes promise: NaN, infinities and equals as sort has them. */
TEST(index, topk_of_few_numbers)
{
    enum { N = 613, KINDS = 5 };
    begin();
    float *x = calloc(KINDS * N, sizeof *x);
    for (int i = 0; i < KINDS * N; i++) {
        const float number = (float)(i * 7919 % 1000) - 500;
        const float kind[KINDS] = { i % 97 ? NAN : number, i % 60 ? -INFINITY : number,
                                    i % 64 < 3 ? number : -1e6f, (float)(i % 2) * 0.0f - 0.0f,
                                    i % 50 ? number : INFINITY };
        x[i] = kind[i / N];
    }
    tn_node *node = tn_constant(g, TN_F32, S(KINDS, N), x), *down, *down_at, *v, *at;
    REQUIRE(tn_sort(node, 1, true, &down, &down_at) == TN_OK);
    int64_t *want = value_of(down_at);
    for (int64_t k = 1; k <= 64; k = k * 3 / 2 + 1) {
        REQUIRE(tn_topk(k % 2 ? node : tn_cast(node, TN_F64), k, 1, &v, &at) == TN_OK);
        int64_t *some = value_of(at);
        for (int r = 0; some && r < KINDS; r++)
            CHECK_MSG(memcmp(some + r * k, want + r * N, (size_t)k * sizeof *some) == 0,
                      "top %lld of row %d", (long long)k, r);
        free(some);
    }
    free(want), free(x);
    end();
}

TEST_MAIN
