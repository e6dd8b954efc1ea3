/* Every kernel of the table, once. X(name, return type, parameters). Included by kernels.h. */
#define TN_KERNEL_LIST(X)                                                                          \
    TN_KERNELS_GEMM(X)                                                                             \
    TN_KERNELS_NORM(X)                                                                             \
    TN_KERNELS_LOSS(X)                                                                             \
    TN_KERNELS_TOP(X)                                                                              \
    TN_KERNELS_DROPOUT(X)                                                                          \
    TN_KERNELS_RANDOM(X)                                                                           \
    TN_KERNELS_SOFTMAX(X)                                                                          \
    TN_KERNELS_REDUCE(X)                                                                           \
    TN_KERNELS_STREAM(X)                                                                           \
    TN_KERNELS_ATTENTION(X)

/* gemm_f32.c, gemm_f64.c: the micro-kernels and packing of tensor/gemm.h */
#define TN_KERNELS_GEMM(X)                                                                         \
    X(gemm_f32, const struct tn__gemm_kernels *, (void))                                           \
    X(gemm_f64, const struct tn__gemm_kernels *, (void))

/* random.c: words [64 group, 64 (group + n)) of the sequence of tensor/philox.h, and the draws */
#define TN_KERNELS_RANDOM(X)                                                                       \
    X(philox_row, void, (uint64_t key, uint64_t run, uint64_t group, int64_t n, uint32_t *w))      \
    X(random_uniform_f32, void, (const struct tn__draw *d))                                        \
    X(random_uniform_f64, void, (const struct tn__draw *d))                                        \
    X(random_normal_f32, void, (const struct tn__draw *d))                                         \
    X(random_normal_f64, void, (const struct tn__draw *d))                                         \
    X(random_bernoulli, void, (const struct tn__draw *d))

struct tn__columns;

/* softmax.c: over contiguous rows of n; log: the logarithm of it; is_far: written past the
 * caches; or down columns, as tensor/kernels/softmax.h has them. Outputs may be the first input's
 * memory. */
#define TN_KERNELS_SOFTMAX(X) TN_KERNELS_SOFTMAX_(X, f32) TN_KERNELS_SOFTMAX_(X, f64)
#define TN_KERNELS_SOFTMAX_(X, t)                                                                  \
    X(softmax_rows_##t, void,                                                                      \
      (const void *x, void *y, int64_t rows, int64_t n, bool log, bool is_far))                    \
    X(softmax_grad_rows_##t, void,                                                                 \
      (const void *dy, const void *y, void *dx, int64_t rows, int64_t n, bool log, bool is_far))   \
    X(softmax_columns_##t, void, (const struct tn__columns *a))                                    \
    X(softmax_grad_columns_##t, void, (const struct tn__columns *a))

/* reduce.c: rows and columns of tensor/reduce.h, `stride` elements from row to row */
#define TN_KERNELS_REDUCE(X)                                                                       \
    X(reduce_rows_f32, void, TN_REDUCE_PARAMS)                                                     \
    X(reduce_rows_f64, void, TN_REDUCE_PARAMS)                                                     \
    X(reduce_cols_f32, void, TN_REDUCE_PARAMS)                                                     \
    X(reduce_cols_f64, void, TN_REDUCE_PARAMS)
#define TN_REDUCE_PARAMS                                                                           \
    (int kind, const void *x, int64_t stride, int64_t rows, int64_t n, void *out)

/* stream.c: see tensor/stream.h; dst[i][j] = src[j][i] of 16 x 16 items of 4 bytes, rows a and b
 * bytes apart */
#define TN_KERNELS_STREAM(X)                                                                       \
    X(stream, void, TN_STREAM_PARAMS)                                                              \
    X(stream_near, void, TN_STREAM_PARAMS)                                                         \
    X(transpose_32, void, (void *dst, int64_t a, const void *src, int64_t b))
#define TN_STREAM_PARAMS                                                                           \
    (void *to, const void *from, size_t bytes, const char *const *ahead, int n_ahead)

/* attention.c: queries [i0, i1) of one head; keys [j0, j1) of one head, backward; the bias of it */
#define TN_KERNELS_ATTENTION(X) TN_KERNELS_ATTENTION_(X, f32) TN_KERNELS_ATTENTION_(X, f64)
#define TN_KERNELS_ATTENTION_(X, t)                                                                \
    X(attention_##t, void, (const tn__attention *a, int64_t i0, int64_t i1, void *scratch))        \
    X(attention_grad_##t, void,                                                                    \
      (const tn__attention *a, int64_t j0, int64_t j1, bool adds, void *scratch))                  \
    X(attention_bias_grad_##t, void,                                                               \
      (const tn__attention *a, int64_t i0, int64_t i1, void *dbias, int64_t row, int64_t col,      \
       void *scratch))

struct tn__norm;
struct tn__cross_entropy;
struct tn__top;
struct tn_span_args;

/* norm.c: rows [begin, end) of tensor/kernels/norm.h; grad sets dgamma and dbeta to their sums;
 * deviation: y [rows] = sum((x - mean)^2) */
#define TN_KERNELS_NORM(X) TN_KERNELS_NORM_(X, f32) TN_KERNELS_NORM_(X, f64)
#define TN_KERNELS_NORM_(X, t)                                                                     \
    X(norm_rows_##t, void, (const struct tn__norm *a, int64_t begin, int64_t end))                 \
    X(norm_grad_rows_##t, void, (const struct tn__norm *a, int64_t begin, int64_t end))            \
    X(deviation_rows_##t, void, (const struct tn__norm *a, int64_t begin, int64_t end))

/* loss.c: rows [begin, end) of tensor/kernels/loss.h; sum[j] += x[0][j] + x[1][j] + .. in this
 * order */
#define TN_KERNELS_LOSS(X) TN_KERNELS_LOSS_(X, f32) TN_KERNELS_LOSS_(X, f64)
#define TN_KERNELS_LOSS_(X, t)                                                                     \
    X(cross_entropy_rows_##t, void,                                                                \
      (const struct tn__cross_entropy *a, int64_t begin, int64_t end))                             \
    X(cross_entropy_step_rows_##t, void,                                                           \
      (const struct tn__cross_entropy *a, int64_t begin, int64_t end))                             \
    X(add_rows_##t, void, (const void *x, int64_t rows, int64_t stride, int64_t n, void *sum))

/* top.c: the two passes over a row of tensor/kernels/top.h, and the pick among what they found */
#define TN_KERNELS_TOP(X) TN_KERNELS_TOP_(X, f32) TN_KERNELS_TOP_(X, f64)
#define TN_KERNELS_TOP_(X, t)                                                                      \
    X(top_lanes_##t, void, (struct tn__top * t))                                                   \
    X(top_find_##t, int64_t, (struct tn__top * t))                                                 \
    X(top_pick_##t, void,                                                                          \
      (const struct tn__top *t, int64_t found, void *values, int64_t *positions))

/* dropout.c: a span; attributes are tensor/kernels/dropout.h */
#define TN_KERNELS_DROPOUT(X)                                                                      \
    X(dropout_f32, void, (const struct tn_span_args *args))                                        \
    X(dropout_f64, void, (const struct tn_span_args *args))
