/* What the families of elementwise ops share and what is no macro: the end of a span whose kernel
 * takes whole blocks, and the loop of their references. */
#include "autograd/ops/elementwise.h"

#include <string.h>

/* ---- spans in whole blocks ------------------------------------------------------------------- */

/* The last block: its n elements, and the first of them again up to the block's end: numbers as
 * good as the rest, where what lies in memory might be slow to compute with. */
static void span_end(const tn_span_args *args, int n_in, size_t size, tn_span_fn blocks)
{
    double       room[2][SPAN_BLOCK], result[SPAN_BLOCK];
    int64_t      n = args->n % SPAN_BLOCK, first = args->n - n;
    tn_span_args end = *args;
    end.n = SPAN_BLOCK, end.out[0] = result;
    for (int k = 0; k < n_in; k++) {
        const char *from = (const char *)args->in[k] + (size_t)first * size;
        char       *to = (char *)room[k];
        memcpy(to, from, (size_t)n * size);
        for (size_t i = (size_t)n; i < SPAN_BLOCK; i++) memcpy(to + i * size, from, size);
        end.in[k] = to;
    }
    if (n_in == 1) end.in[1] = end.in[0];
    blocks(&end);
    memcpy((char *)args->out[0] + (size_t)first * size, result, (size_t)n * size);
}

void tn__span_blocks(const tn_span_args *args, int n_in, size_t size, tn_span_fn blocks)
{
    const int64_t end = args->n % SPAN_BLOCK;
    if (end == 0) {
        blocks(args);
        return;
    }
    if (args->n >= SPAN_BLOCK) {
        tn_span_args whole = *args;
        whole.n -= end;
        blocks(&whole);
    }
    span_end(args, n_in, size, blocks);
}

/* ---- references ------------------------------------------------------------------------------ */

double tn__ref_get(tn_dtype dtype, const void *data, int64_t i)
{
    if (dtype == TN_BOOL) return ((const uint8_t *)data)[i];
    if (dtype == TN_U8 || tn_dtype_is_index(dtype)) return (double)((const int64_t *)data)[i];
    return ((const double *)data)[i];
}

double tn__ref_at(const tn_ref *r, int k, int64_t i)
{
    if (k >= r->n_in) return 0;
    const tn_type  *t = &r->in_type[k];
    const tn_shape *s = &r->out_type[0].shape;
    int64_t         at = 0, stride = 1;
    for (int d = s->rank - 1, e = t->shape.rank - 1; e >= 0; d--, e--) {
        int64_t index = i % s->dim[d];
        i /= s->dim[d];
        if (t->shape.dim[e] != 1) at += index * stride;
        stride *= t->shape.dim[e];
    }
    return tn__ref_get(t->dtype, r->in[k], at);
}

void tn__ref_put(const tn_ref *r, int64_t i, double value)
{
    tn_dtype t = r->out_type[0].dtype;
    if (t == TN_BOOL)
        ((uint8_t *)r->out[0])[i] = value != 0;
    else if (t == TN_U8 || tn_dtype_is_index(t))
        ((int64_t *)r->out[0])[i] = (int64_t)value;
    else
        ((double *)r->out[0])[i] = value;
}

void tn__ref_each(const tn_ref *r, double (*value)(double x, double y, double z, const void *attrs))
{
    int64_t n = tn_shape_size(&r->out_type[0].shape);
    for (int64_t i = 0; i < n; i++) {
        double x = tn__ref_at(r, 0, i), y = tn__ref_at(r, 1, i), z = tn__ref_at(r, 2, i);
        tn__ref_put(r, i, value(x, y, z, r->attrs));
    }
}
