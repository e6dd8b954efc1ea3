/* One sample of one op made concrete: its inputs as numbers, its graph in a dtype and a layout. */
#ifndef TN_TESTS_OP_CASE_H
#define TN_TESTS_OP_CASE_H

#include "libtensor.h"
#include "tensor/half.h"

#include <stdlib.h>

enum { CASE_MOST = 4096 };

/* How the inputs lie in memory; the op must not notice. */
typedef enum op_layout {
    LAYOUT_PLAIN,
    LAYOUT_PERMUTED, /* stored with dims reversed, permuted back */
    LAYOUT_SLICED,   /* every second element of something larger */
    LAYOUT_FLIPPED,  /* stored backwards along the last axis */
    N_LAYOUTS
} op_layout;

static const char *const op_layout_name[] = { "plain", "permuted", "sliced", "flipped" };

typedef struct op_case {
    const tn_op     *op;
    const tn_sample *sample;
    int              n;
    tn_type          type[TN_SAMPLE_IN]; /* floats as f64 */
    void            *data[TN_SAMPLE_IN]; /* contiguous */
    op_layout        layout;
    int              output;             /* which output to look at; -1: the sum of all floats */
} op_case;

__attribute__((unused)) static tn_shape sample_shape(const uint8_t *dims)
{
    tn_shape s = { 0 };
    for (; dims[s.rank] != 0; s.rank++)
        s.dim[s.rank] = dims[s.rank] == (uint8_t)-1 ? 0 : dims[s.rank];
    return s;
}

static int case_arity(const tn_op *op, const tn_sample *s) { return s->n_in ? s->n_in : op->arity; }

/* Fills input i of a case whose types are set. */
static void case_fill(op_case *c, int i)
{
    const tn_sample *s = c->sample;
    int64_t          n = tn_shape_size(&c->type[i].shape);
    tn_rng           rng = { 11, (uint64_t)i + 1, 0 };
    c->data[i] = calloc((size_t)n + 1, 8);
    double  lo = s->lo, hi = s->hi;
    int64_t int_lo = s->int_lo, int_hi = s->int_hi;
    if (lo == 0 && hi == 0) lo = -1, hi = 1;
    if (int_lo == 0 && int_hi == 0) int_hi = 2;
    if (c->type[i].dtype == TN_F64 && s->distinct) {
        int64_t *order = calloc((size_t)n + 1, sizeof *order);
        tn_random_permutation(rng, n, order);
        for (int64_t k = 0; k < n; k++)
            ((double *)c->data[i])[k] = lo + (hi - lo) *
                ((double)order[k] + (i + 0.7) / (c->n + 1)) / (double)n;
        free(order);
    } else if (c->type[i].dtype == TN_F64) {
        tn_random_uniform(rng, 0, n, TN_F64, c->data[i], lo, hi);
    } else {
        for (int64_t k = 0; k < n; k++) {
            int64_t x = int_lo + (int64_t)(tn_random_u64(rng, k) % (uint64_t)(int_hi - int_lo));
            if (c->type[i].dtype == TN_I32) ((int32_t *)c->data[i])[k] = (int32_t)x;
            else if (c->type[i].dtype == TN_I64) ((int64_t *)c->data[i])[k] = x;
            else ((uint8_t *)c->data[i])[k] = (uint8_t)(x & 1);
        }
    }
}

__attribute__((unused)) static op_case case_new(const tn_op *op, const tn_sample *s)
{
    op_case c = { .op = op, .sample = s, .n = case_arity(op, s), .output = 0 };
    for (int i = 0; i < c.n; i++) {
        c.type[i] = (tn_type){ s->dtype[i] == TN_F32 ? TN_F64 : s->dtype[i],
                               sample_shape(s->in[i]) };
        case_fill(&c, i);
    }
    return c;
}

__attribute__((unused)) static void case_free(op_case *c)
{
    for (int i = 0; i < c->n; i++) free(c->data[i]);
}

/* ---- layouts: what is fed, and the node that undoes it --------------------------------------- */

static tn_type stored_type(const op_case *c, int i)
{
    tn_type t = c->type[i];
    int     r = t.shape.rank;
    if (c->layout == LAYOUT_PERMUTED)
        for (int d = 0; d < r; d++) t.shape.dim[d] = c->type[i].shape.dim[r - 1 - d];
    if (c->layout == LAYOUT_SLICED)
        for (int d = 0; d < r; d++) t.shape.dim[d] *= 2;
    return t;
}

static tn_node *undo_layout(const op_case *c, tn_node *x)
{
    int r = tn_rank(x), axes[TN_MAX_RANK];
    if (r == 0) return x;
    switch (c->layout) {
    case LAYOUT_PERMUTED:
        for (int d = 0; d < r; d++) axes[d] = r - 1 - d;
        return tn_permute(x, axes, r);
    case LAYOUT_SLICED:
        for (int d = 0; d < r; d++) x = tn_slice(x, d, 0, INT64_MAX, 2);
        return x;
    case LAYOUT_FLIPPED: return tn_flip(x, -1);
    default: return x;
    }
}

/* The stored numbers of input i: element e of the logical array goes where undo_layout finds it. */
static void *stored_data(const op_case *c, int i)
{
    tn_type t = stored_type(c, i);
    int     r = t.shape.rank;
    size_t  size = tn_dtype_size(t.dtype);
    int64_t n = tn_shape_size(&c->type[i].shape), stride[TN_MAX_RANK];
    char   *out = calloc((size_t)tn_shape_size(&t.shape) + 1, size);
    tn_shape_strides(&t.shape, stride);
    for (int64_t e = 0; e < n; e++) {
        int64_t rest = e, at = 0;
        for (int d = r - 1; d >= 0; d--) {
            int64_t k = rest % c->type[i].shape.dim[d];
            rest /= c->type[i].shape.dim[d];
            if (c->layout == LAYOUT_PERMUTED) at += k * stride[r - 1 - d];
            else if (c->layout == LAYOUT_SLICED) at += 2 * k * stride[d];
            else if (c->layout == LAYOUT_FLIPPED && d == r - 1)
                at += (t.shape.dim[d] - 1 - k) * stride[d];
            else at += k * stride[d];
        }
        memcpy(out + (size_t)at * size, (char *)c->data[i] + (size_t)e * size, size);
    }
    return out;
}

/* The op applied to inputs that are stored in the case's layout; all outputs into out. */
static tn_node *case_apply(const op_case *c, tn_graph *g, tn_node *const *stored, tn_node **out)
{
    tn_node *in[TN_SAMPLE_IN];
    for (int i = 0; i < c->n; i++) in[i] = undo_layout(c, stored[i]);
    return tn_apply_in(g, c->op, in, c->n, c->sample->attrs, out);
}

static int case_outputs(const op_case *c)
{
    if (c->op->count_out) return c->op->count_out(c->sample->attrs, c->n);
    return c->op->n_out ? c->op->n_out : 1;
}

/* For tn_gradcheck: the float outputs that can be differentiated, flattened and joined. */
__attribute__((unused)) static tn_node *case_build(tn_graph *g, tn_node *const *in, void *user)
{
    const op_case *c = user;
    tn_node       *out[64], *parts[64];
    int            n = 0;
    if (!case_apply(c, g, in, out)) return NULL;
    for (int k = 0; k < case_outputs(c); k++)
        if (tn_node_dtype(out[k]) == TN_F64) parts[n++] = tn_reshape(out[k], TN_SHAPE(-1));
    if (n == 0) {
        tn_fail(tn_graph_ctx(g), TN_ERR_DTYPE, "%s has no float output", c->op->name);
        return NULL;
    }
    return n == 1 ? parts[0] : tn_concat(parts, n, 0);
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct case_result {
    tn_status status;
    int       n;
    tn_type   type[16];
    void     *data[16];
} case_result;

static void result_free(case_result *r)
{
    for (int i = 0; i < r->n; i++) free(r->data[i]);
    r->n = 0;
}

/* Element e of output k as a double. */
static double result_at(const case_result *r, int k, int64_t e)
{
    switch (r->type[k].dtype) {
    case TN_F32: return (double)((const float *)r->data[k])[e];
    case TN_F64: return ((const double *)r->data[k])[e];
    case TN_I32: return ((const int32_t *)r->data[k])[e];
    case TN_I64: return (double)((const int64_t *)r->data[k])[e];
    case TN_F16: return (double)tn_f32_from_f16(((const uint16_t *)r->data[k])[e]);
    case TN_BF16: return (double)tn_f32_from_bf16(((const uint16_t *)r->data[k])[e]);
    default: return ((const uint8_t *)r->data[k])[e];
    }
}

/* Runs the case with floats of the dtype; `expand` runs the op's expansion instead of its
 * kernel. */
static case_result case_run(const op_case *c, tn_ctx *ctx, tn_dtype dtype, bool expand,
                            const tn_compile_options *options)
{
    case_result r = { 0 };
    tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node    *in[TN_SAMPLE_IN], *out[64] = { 0 };
    tn_program *p = NULL;
    char        name[16];
    for (int i = 0; i < c->n; i++) {
        tn_type t = stored_type(c, i);
        snprintf(name, sizeof name, "x%d", i);
        in[i] = tn_input(g, name, t.dtype == TN_F64 ? dtype : t.dtype, t.shape);
    }
    int n = case_outputs(c);
    if (expand) {
        tn_node *logical[TN_SAMPLE_IN];
        for (int i = 0; i < c->n; i++) logical[i] = undo_layout(c, in[i]);
        c->op->expand(&(tn_expansion){ .graph = g, .op = c->op, .attrs = c->sample->attrs,
                                       .n_in = c->n, .n_out = n, .in = logical, .out = out });
    } else {
        case_apply(c, g, in, out);
    }
    if (n > 16) n = 16;
    if (tn_ctx_status(ctx) == TN_OK) p = tn_compile(g, out, n, options);
    for (int i = 0; p && i < c->n; i++) {
        tn_type t = stored_type(c, i);
        int64_t size = tn_shape_size(&t.shape);
        void   *data = stored_data(c, i);
        snprintf(name, sizeof name, "x%d", i);
        char *to = tn_input_data(p, name);
        if (to && t.dtype == TN_F64 && dtype == TN_F32)
            for (int64_t e = 0; e < size; e++)
                ((float *)(void *)to)[e] = (float)((double *)data)[e];
        else if (to) memcpy(to, data, (size_t)size * tn_dtype_size(t.dtype));
        free(data);
    }
    if (p) tn_run(p);
    r.status = tn_ctx_status(ctx);
    for (int k = 0; p && r.status == TN_OK && k < n; k++) {
        r.type[k] = tn_output_type(p, k);
        size_t bytes = (size_t)tn_shape_size(&r.type[k].shape) * tn_dtype_size(r.type[k].dtype);
        r.data[k] = malloc(bytes + 1);
        memcpy(r.data[k], tn_output(p, k), bytes);
        r.n = k + 1;
    }
    tn_program_free(p);
    tn_graph_free(g);
    return r;
}

#endif
