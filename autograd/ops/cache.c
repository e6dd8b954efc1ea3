/* Decoding caches: rows written into a variable at a run-time position. The cache is not copied:
 * where it is a variable the rows are written in place when the step runs, before the run commits.
 * That breaks no promise as long as readers take a length, committed or fed, that hides rows past
 * it. */
#include "autograd/internal.h"
#include "tensor/copy.h"

static tn_status write_rows_infer(tn_infer *c)
{
    const tn_shape *cache = &c->in[0].shape, *rows = &c->in[1].shape;
    if (c->in[0].dtype != c->in[1].dtype) return tn_infer_fail(c, TN_ERR_DTYPE, "dtypes differ");
    if (c->in[2].dtype != TN_I32 || c->in[2].shape.rank != 0)
        return tn_infer_fail(c, TN_ERR_DTYPE, "the position is not an i32 scalar");
    bool fits = cache->rank >= 2 && cache->rank == rows->rank && rows->dim[1] <= cache->dim[1] &&
                rows->dim[0] <= cache->dim[0];
    for (int d = 2; fits && d < cache->rank; d++) fits = cache->dim[d] == rows->dim[d];
    if (!fits)
        return tn_infer_fail(c, TN_ERR_SHAPE, "rows [n, r, ..] do not fit a cache [b, t, ..]");
    c->out[0] = c->in[0];
    return TN_OK;
}

static tn_status write_rows_run(tn_exec *e)
{
    const tn_tensor *cache = &e->in[0], *rows = &e->in[1];
    tn_tensor       *out = &e->out[0];
    int64_t          at = *(const int32_t *)e->in[2].data, r = rows->shape.dim[1],
        t = cache->shape.dim[1];
    if (at < 0 || at > t - r)
        return tn_fail(e->ctx, TN_ERR_INDEX, "write_rows: rows %lld to %lld of a cache of %lld",
                       (long long)at, (long long)(at + r), (long long)t);
    tn_tensor place = *out;
    place.shape = rows->shape;
    place.data = (char *)out->data + at * out->stride[1] * (int64_t)tn_dtype_size(out->dtype);
    if (out->data != cache->data) tn__copy(e->ctx, out, cache);
    tn__copy(e->ctx, &place, rows);
    return TN_OK;
}

static void write_rows_ref(const tn_ref *r)
{
    const tn_shape *cache = &r->in_type[0].shape, *rows = &r->in_type[1].shape;
    int64_t         n = tn_shape_size(cache), t = cache->dim[1], m = rows->dim[1], row = 1;
    int64_t         batch = rows->dim[0];
    for (int d = 2; d < cache->rank; d++) row *= cache->dim[d];
    int64_t at = *(const int64_t *)r->in[2];
    for (int64_t i = 0; i < n; i++) {
        int64_t k = i / row % t - at, b = i / row / t;
        bool    is_new = b < batch && k >= 0 && k < m;
        ((double *)r->out[0])[i] = is_new ? ((const double *)r->in[1])[(b * m + k) * row + i % row]
                                          : ((const double *)r->in[0])[i];
    }
}

TN_OP_DEFINE(write_rows,
    .doc = "cache [b, t, ..] with rows [n, r, ..] at [: n, position : position + r]",
    .arity = 3, .flags = TN_NOT_DIFFERENTIABLE | TN_STRIDED | TN_CAN_FAIL | TN_UPDATES,
    .infer = write_rows_infer, .run = write_rows_run, .ref = write_rows_ref,
    TN_SAMPLES({ .in = { { 3, 5, 3 }, { 2, 2, 3 }, { 0 } }, .dtype = { [2] = TN_I32 },
                 .int_lo = 1, .int_hi = 4 },
               { .in = { { 1, 4 }, { 1, 1 }, { 0 } }, .dtype = { [2] = TN_I32 },
                 .int_lo = 3, .int_hi = 4 },
               { .in = { { 2, 5, 3 }, { 2, 6, 3 }, { 0 } }, .dtype = { [2] = TN_I32 },
                 .fails = TN_ERR_SHAPE, .message = "do not fit" },
               { .in = { { 2, 5 }, { 2, 2 }, { 0 } }, .dtype = { [2] = TN_I32 },
                 .int_lo = 4, .int_hi = 5,
                 .fails = TN_ERR_INDEX, .message = "rows 4 to 6 of a cache of 5" }));

tn_node *tn_write_rows(tn_node *cache, tn_node *rows, tn_node *position)
{
    return tn_apply(&tn_op_write_rows, (tn_node *[]){ cache, rows, position }, 3, NULL);
}
