/* Initialisers: each fills an array from a stream of random numbers of its own. Large arrays are
 * filled by all threads; an element's value depends on its position alone. */
#include "nn/init.h"

#include "tensor/random.h"

#include <math.h>
#include <string.h>

/* A rank that is none has fans of 1; leading dimensions count to 2^62 at most. */
void tn_init_fans(tn_shape shape, int64_t *fan_in, int64_t *fan_out)
{
    int      r = shape.rank >= 0 && shape.rank <= TN_MAX_RANK ? shape.rank : 0;
    int64_t  in = r > 1 ? shape.dim[r - 2] : r == 1 ? shape.dim[0] : 1;
    int64_t  out = r > 0 ? shape.dim[r - 1] : 1;
    tn_shape leading = { .rank = r > 2 ? r - 2 : 0 };
    for (int i = 0; i < leading.rank; i++) leading.dim[i] = shape.dim[i];
    double n = (double)tn_shape_size(&leading), most = 0x1p62;
    if (fan_in) *fan_in = (int64_t)fmin((double)in * n, most);
    if (fan_out) *fan_out = (int64_t)fmin((double)out * n, most);
}

tn_init tn_init_zeros(void) { return (tn_init){ .kind = TN_INIT_CONSTANT }; }
tn_init tn_init_ones(void) { return tn_init_constant(1); }
tn_init tn_init_constant(double value) { return (tn_init){ .kind = TN_INIT_CONSTANT, .a = value }; }

tn_init tn_init_uniform(double lo, double hi)
{
    return (tn_init){ .kind = TN_INIT_UNIFORM, .a = lo, .b = hi };
}

tn_init tn_init_normal(double mean, double std)
{
    return (tn_init){ .kind = TN_INIT_NORMAL, .a = mean, .b = std };
}

tn_init tn_init_truncated_normal(double mean, double std)
{
    return (tn_init){ .kind = TN_INIT_TRUNCATED_NORMAL, .a = mean, .b = std };
}

tn_init tn_init_xavier_uniform(void) { return (tn_init){ .kind = TN_INIT_XAVIER_UNIFORM }; }
tn_init tn_init_xavier_normal(void) { return (tn_init){ .kind = TN_INIT_XAVIER_NORMAL }; }

tn_init tn_init_kaiming_uniform(void)
{
    return (tn_init){ .kind = TN_INIT_KAIMING_UNIFORM, .gain = sqrt(2) };
}

tn_init tn_init_kaiming_normal(void)
{
    return (tn_init){ .kind = TN_INIT_KAIMING_NORMAL, .gain = sqrt(2) };
}

tn_init tn_init_orthogonal(double gain)
{
    return (tn_init){ .kind = TN_INIT_ORTHOGONAL, .gain = gain };
}

tn_init tn_init_linear(int64_t in)
{
    double r = in > 0 ? 1 / sqrt((double)in) : 0;
    return tn_init_uniform(-r, r);
}

/* ---- filling --------------------------------------------------------------------------------- */

static void put(tn_dtype dtype, void *out, int64_t i, double x)
{
    if (dtype == TN_F32) ((float *)out)[i] = (float)x;
    else ((double *)out)[i] = x;
}

static double get(tn_dtype dtype, const void *out, int64_t i)
{
    return dtype == TN_F32 ? (double)((const float *)out)[i] : ((const double *)out)[i];
}

typedef struct filling {
    tn_init  init; /* constant, uniform or (truncated) normal */
    tn_rng   rng;
    tn_dtype dtype;
    int64_t  n;
    char    *out;
} filling;

enum { FILL_BLOCK = 1 << 16, MAX_DRAWS = 64 };

/* Elements outside of a +- 2 b are drawn again, each from the streams of its later draws. */
static void cut_tails(const filling *f, int64_t first, int64_t n)
{
    char  *out = f->out + first * (int64_t)tn_dtype_size(f->dtype);
    double most = 2 * fabs(f->init.b);
    for (int64_t i = 0; i < n; i++) {
        double x = get(f->dtype, out, i);
        tn_rng again = f->rng;
        for (int draw = 1; fabs(x - f->init.a) > most && draw < MAX_DRAWS; draw++) {
            again.run = (uint64_t)draw;
            tn_random_normal(again, first + i, 1, f->dtype,
                             out + i * (int64_t)tn_dtype_size(f->dtype),
                             f->init.a, f->init.b);
            x = get(f->dtype, out, i);
        }
    }
}

static void fill_block(void *arg, int64_t task, int worker)
{
    const filling *f = arg;
    int64_t        first = task * FILL_BLOCK,
        n = f->n - first < FILL_BLOCK ? f->n - first : FILL_BLOCK;
    void          *out = f->out + first * (int64_t)tn_dtype_size(f->dtype);
    (void)worker;
    switch (f->init.kind) {
    case TN_INIT_UNIFORM:
        tn_random_uniform(f->rng, first, n, f->dtype, out, f->init.a, f->init.b);
        break;
    case TN_INIT_NORMAL:
    case TN_INIT_TRUNCATED_NORMAL:
        tn_random_normal(f->rng, first, n, f->dtype, out, f->init.a, f->init.b);
        if (f->init.kind == TN_INIT_TRUNCATED_NORMAL) cut_tails(f, first, n);
        break;
    default:
        for (int64_t i = 0; i < n; i++) put(f->dtype, out, i, f->init.a);
    }
}

static void fill(tn_ctx *ctx, const tn_init *init, tn_dtype dtype, int64_t n, uint64_t stream,
                 void *out)
{
    filling f = { .init = *init, .rng = { .seed = tn_ctx_seed(ctx), .stream = stream },
                  .dtype = dtype, .n = n, .out = out };
    tn_parallel_for(ctx, (n + FILL_BLOCK - 1) / FILL_BLOCK, fill_block, &f);
}

/* ---- orthogonal ------------------------------------------------------------------------------ */

static double dot(const double *x, const double *y, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i] * y[i];
    return s;
}

/* Makes the rows of q [rows, n], rows <= n, orthonormal: Gram-Schmidt, twice for each row (Giraud
 * et al. 2005: twice is enough). */
static void orthonormal_rows(double *q, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) {
        double *x = q + r * n;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t k = 0; k < r; k++) {
                double c = dot(x, q + k * n, n);
                for (int64_t i = 0; i < n; i++) x[i] -= c * q[k * n + i];
            }
        }
        double norm = sqrt(dot(x, x, n));
        for (int64_t i = 0; norm > 0 && i < n; i++) x[i] /= norm;
    }
}

/* The matrix is [product of the leading dims, last dim], whichever way it is longer. */
static tn_status fill_orthogonal(tn_ctx *ctx, double gain, tn_dtype dtype, tn_shape shape,
                                 uint64_t stream, void *out)
{
    int64_t n = tn_shape_size(&shape), cols = shape.dim[shape.rank - 1], rows = n / cols;
    bool    wide = rows <= cols;
    double *q = tn_alloc(ctx, (size_t)n * sizeof *q);
    if (!q) return tn_ctx_status(ctx);
    tn_init normal = tn_init_normal(0, 1);
    fill(ctx, &normal, TN_F64, n, stream, q);
    orthonormal_rows(q, wide ? rows : cols, wide ? cols : rows);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            put(dtype, out, r * cols + c, gain * q[wide ? r * cols + c : c * rows + r]);
    tn_free(ctx, q);
    return TN_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static double gain_of(const tn_init *init) { return init->gain == 0 ? 1 : init->gain; }

static tn_status check_request(tn_ctx *ctx, const tn_init *init, tn_dtype dtype,
                               const tn_shape *shape)
{
    bool is_shape = shape->rank >= 0 && shape->rank <= TN_MAX_RANK;
    char text[96];
    if (!ctx || !init) return tn_fail(ctx, TN_ERR_ARG, "tn_init_fill: no initialiser");
    if (!tn_dtype_is_float(dtype))
        return tn_fail(ctx, TN_ERR_DTYPE, "tn_init_fill: %s, not f32 or f64", tn_dtype_name(dtype));
    for (int i = 0; is_shape && i < shape->rank; i++) is_shape = shape->dim[i] >= 0;
    if (!is_shape || tn_shape_size(shape) > (int64_t)1 << 46)
        return tn_fail(ctx, TN_ERR_SHAPE, "tn_init_fill: %s is no shape, or over 2^46 elements",
                       tn_shape_text(shape, text, sizeof text));
    return TN_OK;
}

/* What an initialiser that goes by fans comes to: uniform or normal. Others stay as they are. */
static tn_init without_fans(const tn_init *init, tn_shape shape)
{
    int64_t in, out;
    tn_init_fans(shape, &in, &out);
    if (init->fan_in > 0) in = init->fan_in;
    if (init->fan_out > 0) out = init->fan_out;
    const double gain = gain_of(init), both = (double)in + (double)out;
    double       r;
    switch (init->kind) {
    case TN_INIT_XAVIER_UNIFORM: r = gain * sqrt(6 / both); return tn_init_uniform(-r, r);
    case TN_INIT_XAVIER_NORMAL: return tn_init_normal(0, gain * sqrt(2 / both));
    case TN_INIT_KAIMING_UNIFORM: r = gain * sqrt(3 / (double)in); return tn_init_uniform(-r, r);
    case TN_INIT_KAIMING_NORMAL: return tn_init_normal(0, gain / sqrt((double)in));
    default: return *init;
    }
}

static tn_status check_plain(tn_ctx *ctx, const tn_init *init)
{
    switch (init->kind) {
    case TN_INIT_CONSTANT: return TN_OK;
    case TN_INIT_UNIFORM:
        if (init->a <= init->b) return TN_OK;
        return tn_fail(ctx, TN_ERR_ARG, "tn_init_fill: %g to %g is no range", init->a, init->b);
    case TN_INIT_NORMAL:
    case TN_INIT_TRUNCATED_NORMAL:
        if (init->b >= 0) return TN_OK;
        return tn_fail(ctx, TN_ERR_ARG, "tn_init_fill: a deviation of %g", init->b);
    default:
        return tn_fail(ctx, TN_ERR_ARG, "unknown kind %d of initial values", (int)init->kind);
    }
}

tn_status tn_init_fill(tn_ctx *ctx, const tn_init *init, tn_dtype dtype, tn_shape shape,
                       uint64_t stream, void *out)
{
    tn_status     s = check_request(ctx, init, dtype, &shape);
    const int64_t n = tn_shape_size(&shape);
    if (s != TN_OK || n == 0) return s;
    if (!out)
        return tn_fail(ctx, TN_ERR_ARG, "tn_init_fill: no room for %lld numbers", (long long)n);
    const double gain = gain_of(init);
    if (init->kind != TN_INIT_CONSTANT &&
        !(isfinite(init->a) && isfinite(init->b) && isfinite(gain)))
        return tn_fail(ctx, TN_ERR_ARG, "tn_init_fill: %g, %g and gain %g: one is not finite",
                       init->a, init->b, gain);
    if (init->kind == TN_INIT_ORTHOGONAL && shape.rank < 2)
        return tn_fail(ctx, TN_ERR_SHAPE, "orthogonal initial values need a matrix, not rank %d",
                       shape.rank);
    if (init->kind == TN_INIT_ORTHOGONAL)
        return fill_orthogonal(ctx, gain, dtype, shape, stream, out);
    const tn_init plain = without_fans(init, shape);
    s = check_plain(ctx, &plain);
    if (s == TN_OK) fill(ctx, &plain, dtype, n, stream, out);
    return s;
}
