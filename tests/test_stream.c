/* What is written past the caches (tensor/stream.h) has the same bits as what is not: rows and
 * spans of lengths that are no whole lines, at every level, on one thread and three. */
#include "check.h"
#include "libtensor.h"
#include "tensor/internal.h"
#include "tensor/stream.h"

enum { MOST_OUT = 24 };

typedef int (*make_outputs)(tn_graph *g, tn_dtype dtype, tn_node **out);

static tn_node *numbers(tn_graph *g, tn_dtype dtype, tn_shape shape, double lo)
{
    tn_node *x = tn_arange(g, dtype, tn_shape_size(&shape), lo, 0.37);
    return tn_reshape(tn_sin(x), shape);
}

static int rows_of(tn_graph *g, tn_dtype dtype, int64_t rows, int64_t n, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(rows, n), 0),
        *dy = numbers(g, dtype, TN_SHAPE(rows, n), 5);
    tn_node *gamma = numbers(g, dtype, TN_SHAPE(n), 1), *beta = numbers(g, dtype, TN_SHAPE(n), 2);
    tn_node *d[3] = { NULL };
    tn_grad(tn_layer_norm(x, gamma, beta, 1e-5), dy, (tn_node *[]){ x, gamma, beta }, 3, d);
    out[0] = tn_softmax(x, -1), out[1] = tn_layer_norm(x, gamma, beta, 1e-5), out[2] = d[0],
        out[3] = d[1];
    return 4;
}

static int short_rows(tn_graph *g, tn_dtype t, tn_node **out) { return rows_of(g, t, 37, 19, out); }
static int even_rows(tn_graph *g, tn_dtype t, tn_node **out) { return rows_of(g, t, 41, 256, out); }
static int odd_rows(tn_graph *g, tn_dtype t, tn_node **out) { return rows_of(g, t, 33, 1001, out); }
static int long_rows(tn_graph *g, tn_dtype t, tn_node **out) { return rows_of(g, t, 3, 5003, out); }

static int softmaxes(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(13, 67, 131), 0),
        *dy = numbers(g, dtype, TN_SHAPE(13, 67, 131), 3);
    for (int axis = 1; axis < 3; axis++)
        tn_grad(tn_softmax(x, axis), dy, &x, 1, &out[axis - 1]);
    tn_grad(tn_log_softmax(x, -1), dy, &x, 1, &out[2]);
    out[3] = tn_log_softmax(x, 1);
    return 4;
}

/* Softmax down columns of several tiles: of the columns from 505 on as among all of them. */
static int tiles(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *all = numbers(g, dtype, TN_SHAPE(7, 1301), 0), *sum = NULL;
    tn_node *dy = numbers(g, dtype, TN_SHAPE(7, 1301), 3), *y[4] = { NULL };
    for (int part = 0; part < 2; part++) {
        tn_node *x = part ? tn_slice(all, 1, 505, 1301, 1) : all;
        tn_node *d = part ? tn_slice(dy, 1, 505, 1301, 1) : dy;
        y[2 * part] = tn_softmax(x, 0);
        tn_grad(tn_log_softmax(x, 0), d, &x, 1, &y[2 * part + 1]);
    }
    for (int k = 0; k < 2; k++) {
        tn_node *apart = tn_sum_all(tn_abs(tn_sub(tn_slice(y[k], 1, 505, 1301, 1), y[2 + k])));
        sum = sum ? tn_add(sum, apart) : apart;
    }
    out[0] = sum, out[1] = y[0], out[2] = y[1];
    return 3;
}

static int cross_entropies(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(50, 333), 0), *target = tn_arange(g, TN_I32, 50, 0, 3);
    out[0] = tn_cross_entropy(x, target, &(tn_cross_entropy_options){ .label_smoothing = 0.1 });
    tn_grad(out[0], NULL, &x, 1, &out[1]);
    return 2;
}

static int long_losses(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(3, 5003), 0),
        *target = tn_arange(g, TN_I32, 3, 0, 2501);
    tn_node *dy = numbers(g, dtype, TN_SHAPE(3, 5003), 3);
    tn_grad(tn_cross_entropy(x, target, NULL), NULL, &x, 1, &out[0]);
    tn_grad(tn_log_softmax(x, -1), dy, &x, 1, &out[1]);
    tn_grad(tn_softmax(x, -1), dy, &x, 1, &out[2]);
    out[3] = tn_log_softmax(x, -1);
    return 4;
}

/* Broadcast rows and columns, several outputs, bools, random masks. */
static int chains(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(7, 31, 301), 0),
        *row = numbers(g, dtype, TN_SHAPE(301), 1);
    tn_node *column = numbers(g, dtype, TN_SHAPE(31, 1), 2),
        *y = numbers(g, dtype, TN_SHAPE(7, 31, 301), 9);
    out[0] = tn_dropout(tn_relu(tn_add(x, row)), 0.2);
    out[1] = tn_gt(tn_mul(x, column), y);
    out[2] = tn_tanh(tn_where(out[1], x, y));
    out[3] = tn_add(tn_exp(out[2]), tn_scale(row, 3));
    return 4;
}

static int wide_chains(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(9, 2048), 0),
        *row = numbers(g, dtype, TN_SHAPE(2048), 1);
    out[0] = tn_gelu_tanh(tn_add(x, row)), out[1] = tn_dropout(x, 0.5);
    return 2;
}

/* A chain of which every result is written. */
static int deep_chains(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(9, 1003), 0);
    for (int k = 0; k < MOST_OUT; k++) x = out[k] = k % 3 ? tn_add_scalar(x, 0.5) : tn_sin(x);
    return MOST_OUT;
}

static int copies(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *x = numbers(g, dtype, TN_SHAPE(61, 7, 130), 0), *part[2] = { NULL };
    tn_split(x, 2, (const int64_t[]){ 50, 80 }, 2, part);
    out[0] = tn_contiguous(tn_transpose(x, 0, 2)), out[1] = tn_contiguous(tn_transpose(x, 0, 1));
    out[2] = tn_concat((tn_node *[]){ part[1], part[0] }, 2, 2);
    out[3] = tn_contiguous(tn_flip(x, 1));
    return 4;
}

/* Rows with no source, one and several, onto zeros, numbers and a view that is copied. */
static int row_sums(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *w = numbers(g, dtype, TN_SHAPE(23, 301), 0);
    int32_t  rows[40];
    for (int i = 0; i < 40; i++) rows[i] = i * i * 9 % 23;
    tn_node *at = tn_constant(g, TN_I32, TN_SHAPE(5, 8), rows);
    tn_node *dy = numbers(g, dtype, TN_SHAPE(5, 8, 301), 4);
    tn_node *src = tn_reshape(dy, TN_SHAPE(40, 301)), *flat = tn_reshape(at, TN_SHAPE(40));
    tn_grad(tn_embedding(w, at, -1), dy, &w, 1, &out[0]);
    tn_grad(tn_embedding(w, at, 9), dy, &w, 1, &out[1]);
    out[2] = tn_index_add(w, 0, flat, src);
    out[3] = tn_index_add(tn_flip(w, 0), 0, flat, src);
    return 4;
}

/* Rows taken by index, rows of three lines and of less; and one row that gets all. */
static int takes(tn_graph *g, tn_dtype dtype, tn_node **out)
{
    tn_node *w = numbers(g, dtype, TN_SHAPE(29, 301), 0);
    tn_node *x = numbers(g, dtype, TN_SHAPE(29, 49), 2);
    int32_t  rows[70], same[70];
    for (int i = 0; i < 70; i++) rows[i] = i * i * 9 % 29, same[i] = 11;
    tn_node *at = tn_constant(g, TN_I32, TN_SHAPE(70), rows);
    tn_node *one = tn_constant(g, TN_I32, TN_SHAPE(70), same);
    out[0] = tn_embedding(w, at, -1), out[1] = tn_embedding(x, at, -1);
    out[2] = tn_index_select(w, 1, at);
    tn_grad(tn_embedding(w, one, -1), out[0], &w, 1, &out[3]);
    return 4;
}

/* All outputs one after the other, in bytes; freed by the caller. */
static char *results(make_outputs make, tn_dtype dtype, int threads, tn_cpu_level cpu, bool streams,
                     size_t *bytes)
{
    tn_ctx   *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 3, .cpu = cpu });
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *out[MOST_OUT] = { NULL };
    tn__ctx_stream_from(ctx, streams ? 0 : INT64_MAX);
    int         n = make(g, dtype, out);
    tn_program *p = tn_compile(g, out, n, NULL);
    char       *all = NULL;
    *bytes = 0;
    CHECK_MSG(p && tn_run(p) == TN_OK, "%s", tn_error(ctx));
    for (int k = 0; p && k < n; k++) {
        tn_type t = tn_output_type(p, k);
        size_t  size = (size_t)tn_shape_size(&t.shape) * tn_dtype_size(t.dtype);
        all = realloc(all, *bytes + size);
        memcpy(all + *bytes, tn_output(p, k), size);
        *bytes += size;
    }
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
    return all;
}

static void check_levels(const char *name, make_outputs make)
{
    for (int l = TN_CPU_BASE; l <= (int)tn_cpu_detect(); l++)
        for (int d = 0; d < 2; d++) {
            tn_dtype dtype = d ? TN_F64 : TN_F32;
            size_t   n, m;
            char    *plain = results(make, dtype, 1, (tn_cpu_level)l, false, &n);
            for (int threads = 1; threads <= 3; threads += 2) {
                char *streamed = results(make, dtype, threads, (tn_cpu_level)l, true, &m);
                CHECK_MSG(n > 0 && n == m && memcmp(plain, streamed, n) == 0,
                          "%s, %s, %s, %d threads: expected the same bits", name,
                          tn_dtype_name(dtype), tn_cpu_level_name((tn_cpu_level)l), threads);
                free(streamed);
            }
            free(plain);
        }
}

TEST(stream, rows)
{
    check_levels("short rows", short_rows), check_levels("even rows", even_rows);
    check_levels("odd rows", odd_rows), check_levels("long rows", long_rows);
    check_levels("softmaxes", softmaxes), check_levels("cross-entropies", cross_entropies);
    check_levels("long losses", long_losses);
}

TEST(stream, tiles_of_columns)
{
    size_t n;
    check_levels("tiles of columns", tiles);
    for (int l = TN_CPU_BASE; l <= (int)tn_cpu_detect(); l++) {
        char *all = results(tiles, TN_F64, 2, (tn_cpu_level)l, false, &n);
        CHECK_MSG(n > 8 && *(const double *)(const void *)all == 0,
                  "%s: expected the same bits in any tile", tn_cpu_level_name((tn_cpu_level)l));
        free(all);
    }
}

TEST(stream, chains)
{
    check_levels("chains", chains), check_levels("wide chains", wide_chains);
    check_levels("deep chains", deep_chains);
}
TEST(stream, copies) { check_levels("copies", copies); }
TEST(stream, takes) { check_levels("takes", takes); }
TEST(stream, row_sums) { check_levels("row sums", row_sums); }

/* No byte before or after is touched, wherever the destination begins. */
TEST(stream, keeps_to_its_bytes)
{
    enum { ROOM = 600 };
    _Alignas(64) char to[ROOM], from[ROOM], want[ROOM];
    for (int i = 0; i < ROOM; i++) from[i] = (char)(i * 7 + 1);
    for (int begin = 0; begin < 130; begin += 3)
        for (int n = 0; n + begin <= ROOM; n += 1 + n / 5) {
            memset(to, 0, ROOM), memset(want, 0, ROOM);
            memcpy(want + begin, from, (size_t)n);
            tn__stream(to + begin, from, (size_t)n, NULL, 0);
            tn__stream_end();
            CHECK_MSG(memcmp(to, want, ROOM) == 0, "%d bytes at %d", n, begin);
        }
}

TEST_MAIN
