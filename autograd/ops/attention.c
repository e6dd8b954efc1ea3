/* Attention as one op, and its gradients as another: shapes, rules, samples. attention_run.c runs
 * them, attention_compose.c is the same in primitives. */
#include "autograd/ops/attention.h"

static const tn_attr_field attention_fields[] = {
#define TN_X(op, kind, field) { #field, TN_ATTR_##kind, offsetof(tn__attention_attrs, field) },
    ATTENTION_ATTRS(TN_X)
#undef TN_X
        { NULL, TN_ATTR_END, 0 }
};
#define ATTENTION_ATTRS_OF .attrs = attention_fields, .attrs_size = sizeof(tn__attention_attrs)

/* ---- shapes -------------------------------------------------------------------------------- */

static tn_status infer_offsets(tn_infer *c, int i, const char *name)
{
    if (i < 0) return TN_OK;
    if (c->in[i].dtype != TN_I32)
        return tn_infer_fail(c, TN_ERR_DTYPE, "%s must be i32, not %s", name,
                             tn_dtype_name(c->in[i].dtype));
    if (c->in[i].shape.rank != 1 || c->in[i].shape.dim[0] < 1)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%s must be [segments + 1]", name);
    return TN_OK;
}

/* in[i] broadcasts to [b, h, tq, tk], with rank 4. */
static tn_status infer_mask(tn_infer *c, int i, tn_dtype dtype, const tn__attention_sizes *s,
                            const char *name)
{
    if (i < 0) return TN_OK;
    const int64_t   dims[4] = { s->b, s->h, s->tq, s->tk };
    const tn_shape *m = &c->in[i].shape;
    if (c->in[i].dtype != dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "%s must be %s, not %s", name, tn_dtype_name(dtype),
                             tn_dtype_name(c->in[i].dtype));
    for (int d = 0; d < 4; d++)
        if (m->rank != 4 || (m->dim[d] != 1 && m->dim[d] != dims[d])) {
            char text[96];
            return tn_infer_fail(c, TN_ERR_SHAPE,
                                 "%s %s does not broadcast to [%lld,%lld,%lld,%lld]",
                                 name, tn_shape_text(m, text, sizeof text), (long long)dims[0],
                                 (long long)dims[1], (long long)dims[2], (long long)dims[3]);
        }
    return TN_OK;
}

static tn_status infer_heads(tn_infer *c, const tn__attention_attrs *a)
{
    const tn_shape *q = &c->in[0].shape, *k = &c->in[1].shape, *v = &c->in[2].shape;
    const int       rank = a->has_q_offsets ? 3 : 4;
    if (q->rank != rank || k->rank != rank || v->rank != rank)
        return tn_infer_fail(c, TN_ERR_SHAPE, "q, k and v must be %s", rank == 3
                             ? "[rows, heads, size] where there are offsets"
                             : "[batch, length, heads, size], or packed with q_offsets");
    if (c->in[0].dtype != c->in[1].dtype || c->in[0].dtype != c->in[2].dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "q, k and v differ");
    if (rank == 4 && (q->dim[0] != k->dim[0] || q->dim[0] != v->dim[0]))
        return tn_infer_fail(c, TN_ERR_SHAPE, "batch sizes %lld, %lld and %lld differ",
                             (long long)q->dim[0], (long long)k->dim[0], (long long)v->dim[0]);
    const int64_t h = q->dim[rank - 2], hk = k->dim[rank - 2];
    if (k->dim[rank - 3] != v->dim[rank - 3] || hk != v->dim[rank - 2])
        return tn_infer_fail(c, TN_ERR_SHAPE, "k and v differ in length or heads");
    if (q->dim[rank - 1] != k->dim[rank - 1])
        return tn_infer_fail(c, TN_ERR_SHAPE, "head sizes %lld of q and %lld of k differ",
                             (long long)q->dim[rank - 1], (long long)k->dim[rank - 1]);
    if (hk == 0 ? h != 0 : h % hk != 0)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%lld key heads do not divide %lld heads",
                             (long long)hk, (long long)h);
    return tn_infer_float(c, 0);
}

/* Checks q, k, v and the optional inputs. */
static tn_status infer_inputs(tn_infer *c, const tn__attention_attrs *a, const tn__attention_at *at,
                              tn__attention_sizes *s)
{
    if (!(a->p >= 0 && a->p < 1))
        return tn_infer_fail(c, TN_ERR_ARG, "dropout %g is not in [0, 1)", a->p);
    if (!(a->scale - a->scale == 0))
        return tn_infer_fail(c, TN_ERR_ARG, "the scale is %g", a->scale);
    tn_status status = infer_heads(c, a);
    if (!status) status = infer_offsets(c, at->q_offsets, "q_offsets");
    if (!status) status = infer_offsets(c, at->k_offsets, "k_offsets");
    if (status) return status;
    if (a->has_k_offsets && !a->has_q_offsets)
        return tn_infer_fail(c, TN_ERR_ARG, "k_offsets without q_offsets");
    if (a->has_k_offsets && c->in[at->q_offsets].shape.dim[0] != c->in[at->k_offsets].shape.dim[0])
        return tn_infer_fail(c, TN_ERR_SHAPE, "q_offsets and k_offsets differ in length");
    *s = tn__attention_sizes_of(a, &c->in[0].shape, &c->in[1].shape, &c->in[2].shape,
                  a->has_q_offsets ? &c->in[at->q_offsets].shape : NULL);
    if (s->is_packed && (a->has_keep || a->has_bias || a->has_k_lengths))
        return tn_infer_fail(c, TN_ERR_UNSUPPORTED, "packed rows take no keep, bias or k_lengths");
    if (s->is_packed && !a->has_k_offsets && s->tq != s->tk)
        return tn_infer_fail(c, TN_ERR_SHAPE, "%lld rows of q and %lld of k without k_offsets",
                             (long long)s->tq, (long long)s->tk);
    if (a->has_k_lengths) {
        const tn_type *l = &c->in[at->k_lengths];
        if (l->dtype != TN_I32)
            return tn_infer_fail(c, TN_ERR_DTYPE, "k_lengths must be i32, not %s",
                                 tn_dtype_name(l->dtype));
        if (l->shape.rank != 1 || l->shape.dim[0] != s->b)
            return tn_infer_fail(c, TN_ERR_SHAPE, "k_lengths must be [%lld], one a batch row",
                                 (long long)s->b);
    }
    status = infer_mask(c, at->keep, TN_BOOL, s, "keep");
    return status ? status : infer_mask(c, at->bias, c->in[0].dtype, s, "bias");
}

static tn_shape lse_shape(const tn__attention_sizes *s)
{
    return s->is_packed ? TN_SHAPE(s->h, s->tq) : TN_SHAPE(s->b, s->h, s->tq);
}

static tn_status attention_infer(tn_infer *c)
{
    const tn__attention_attrs *a = c->attrs;
    const tn__attention_at     at = tn__attention_inputs(a);
    tn__attention_sizes        s;
    if (c->n_in != at.n) return tn_infer_fail(c, TN_ERR_ARG, "%d inputs, not %d", c->n_in, at.n);
    tn_status status = infer_inputs(c, a, &at, &s);
    if (status) return status;
    c->out[0] = c->in[0];
    c->out[0].shape.dim[c->out[0].shape.rank - 1] = s.dv;
    c->out[1] = (tn_type){ c->in[0].dtype, lse_shape(&s) };
    return TN_OK;
}

static tn_status attention_grad_infer(tn_infer *c)
{
    const tn__attention_attrs *a = c->attrs;
    const tn__attention_at     at = tn__attention_inputs(a);
    tn__attention_sizes        s;
    if (c->n_in != at.n_grad)
        return tn_infer_fail(c, TN_ERR_ARG, "%d inputs, not %d", c->n_in, at.n_grad);
    tn_status status = infer_inputs(c, a, &at, &s);
    if (status) return status;
    if (a->wants_bias && !a->has_bias) return tn_infer_fail(c, TN_ERR_ARG, "there is no bias");
    for (int i = at.y; i < c->n_in; i++)
        if (c->in[i].dtype != c->in[0].dtype)
            return tn_infer_fail(c, TN_ERR_DTYPE, "y, lse or their cotangents differ from q");
    const tn_shape lse = lse_shape(&s);
    tn_shape       y = c->in[0].shape;
    y.dim[y.rank - 1] = s.dv;
    if (!tn_shape_equal(&c->in[at.lse].shape, &lse) || !tn_shape_equal(&c->in[at.y].shape, &y) ||
        !tn_shape_equal(&c->in[at.dy].shape, &y) ||
        (a->has_dlse && !tn_shape_equal(&c->in[at.dlse].shape, &lse)))
        return tn_infer_fail(c, TN_ERR_SHAPE, "y, lse or their cotangents do not fit");
    for (int i = 0; i < 3; i++) c->out[i] = c->in[i];
    if (a->wants_bias) c->out[3] = c->in[at.bias];
    return TN_OK;
}

static int attention_grad_outputs(const void *attrs, int n_in)
{
    (void)n_in;
    return ((const tn__attention_attrs *)attrs)->wants_bias ? 4 : 3;
}

static void attention_cost(const tn_infer *c, tn_cost *cost)
{
    const tn__attention_attrs *a = c->attrs;
    const tn__attention_at     at = tn__attention_inputs(a);
    const tn__attention_sizes  s = tn__attention_sizes_of(a, &c->in[0].shape, &c->in[1].shape,
                                                          &c->in[2].shape,
                             a->has_q_offsets ? &c->in[at.q_offsets].shape : NULL);
    /* equal segments */
    const double n = s.is_packed ? (s.b > 0 ? 1.0 / (double)s.b : 0) : (double)s.b;
    const double products = c->op->n_out == 2 ? 2 : 5;
    cost->flops = products * n * (double)s.h * (double)s.tq * (double)s.tk * (double)(s.dh + s.dv) *
                  (a->causal ? 0.5 : 1);
}

/* ---- gradients ------------------------------------------------------------------------------- */

static void attention_vjp(tn_vjp *c)
{
    tn__attention_attrs    a = *(const tn__attention_attrs *)c->attrs;
    tn_node               *in[TN_SAMPLE_IN + 4], *out[4];
    const tn__attention_at at = tn__attention_inputs(&a);
    if (!c->dout[0] && !c->dout[1]) return;
    a.has_dlse = c->dout[1] != NULL;
    a.wants_bias = at.bias >= 0 && c->want[at.bias];
    for (int i = 0; i < at.n; i++) in[i] = c->in[i];
    in[at.n] = c->out[0], in[at.n + 1] = c->out[1];
    in[at.n + 2] = c->dout[0] ? c->dout[0] : tn_zeros_like(c->out[0]);
    in[at.n + 3] = c->dout[1];
    if (!tn_apply_multi(&tn_op_attention_grad, in, at.n + 3 + a.has_dlse, &a, out)) return;
    for (int i = 0; i < 3; i++) c->din[i] = out[i];
    if (a.wants_bias) c->din[at.bias] = out[3];
}

static void attention_expand(tn_expansion *c)
{
    const tn__attention_nodes n = tn__attention_compose(c->graph, c->attrs, c->in);
    c->out[0] = n.y, c->out[1] = n.lse;
}

static void attention_grad_expand(tn_expansion *c)
{
    tn__attention_grad_compose(c->graph, c->attrs, c->in, c->out);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

#define A(...) &(const tn__attention_attrs) { .scale = 0.6, .stream = 77, __VA_ARGS__ }

TN_OP_DEFINE(attention,
    .doc = "softmax(q k^T scale + mask) v by head: q [b,tq,h,dh], k [b,tk,hk,dh], v [b,tk,hk,dv] "
           "-> [b,tq,h,dv], and the logarithm of each row's sum [b,h,tq]",
    .arity = 3, .max_arity = 8, .n_out = 2, .flags = TN_PREFIX_STRIDED | TN_CAN_FAIL | TN_RANDOM,
    ATTENTION_ATTRS_OF, .infer = attention_infer, .run = tn__attention_run,
    .scratch = tn__attention_run_scratch,
    .vjp = attention_vjp, .expand = attention_expand, .cost = attention_cost,
    TN_SAMPLES(
        { .in = { { 2, 3, 2, 4 }, { 2, 5, 2, 4 }, { 2, 5, 2, 3 } }, .attrs = A(.causal = false) },
        { .in = { { 2, 4, 2, 3 }, { 2, 4, 1, 3 }, { 2, 4, 1, 3 } }, .attrs = A(.causal = true) },
        { .in = { { 1, 3, 2, 4 }, { 1, 3, 2, 4 }, { 1, 3, 2, 4 } }, .lo = -9, .hi = 9,
          .attrs = A(.causal = true, .p = 0.25) },
        { .in = { { 2, 3, 1, 4 }, { 2, 4, 1, 4 }, { 2, 4, 1, 4 }, { 2, 1, 1, 4 } }, .n_in = 4,
          .dtype = { [3] = TN_BOOL }, .attrs = A(.has_keep = true) },
        { .in = { { 2, 3, 2, 4 }, { 2, 4, 2, 4 }, { 2, 4, 2, 2 }, { 1, 2, 3, 4 } }, .n_in = 4,
          .attrs = A(.has_bias = true) },
        { .in = { { 2, 3, 2, 4 }, { 2, 4, 2, 4 }, { 2, 4, 2, 2 }, { 2, 1, 3, 1 }, { 2, 1, 1, 4 },
                  { 2 } },
          .n_in = 6, .dtype = { [3] = TN_BOOL, [5] = TN_I32 }, .int_lo = 0, .int_hi = 5,
          .attrs = A(.causal = true, .p = 0.5, .has_keep = true, .has_bias = true,
                     .has_k_lengths = true) },
        { .in = { { 1, 67, 1, 17 }, { 1, 130, 1, 17 }, { 1, 130, 1, 33 } }, .attrs = A(.p = 0.1),
          .no_grad = { true, true, true } },
        { .in = { { 2, -1, 2, 4 }, { 2, 3, 2, 4 }, { 2, 3, 2, 3 } }, .attrs = A(.causal = false) },
        { .in = { { 2, 3, 2, 4 }, { 2, -1, 2, 4 }, { 2, -1, 2, 3 } }, .attrs = A(.causal = true) },
        { .in = { { 2, 3, 2, 4 }, { 2, 3, 2, 5 }, { 2, 3, 2, 3 } }, .attrs = A(.causal = false),
          .fails = TN_ERR_SHAPE, .message = "head sizes 4 of q and 5 of k differ" },
        { .in = { { 2, 3, 4, 4 }, { 2, 3, 3, 4 }, { 2, 3, 3, 4 } }, .attrs = A(.causal = false),
          .fails = TN_ERR_SHAPE, .message = "3 key heads do not divide 4 heads" },
        { .in = { { 2, 3, 4, 4 }, { 2, 3, 4, 4 }, { 2, 4, 4, 4 } }, .attrs = A(.causal = false),
          .fails = TN_ERR_SHAPE, .message = "k and v differ" },
        { .in = { { 2, 3, 4 }, { 2, 3, 4 }, { 2, 3, 4 } }, .attrs = A(.causal = false),
          .fails = TN_ERR_SHAPE, .message = "packed with q_offsets" },
        { .in = { { 2, 3, 1, 4 }, { 2, 4, 1, 4 }, { 2, 4, 1, 4 }, { 2, 1, 3, 5 } }, .n_in = 4,
          .dtype = { [3] = TN_BOOL }, .attrs = A(.has_keep = true), .fails = TN_ERR_SHAPE,
          .message = "keep [2,1,3,5] does not broadcast to [2,1,3,4]" },
        { .in = { { 2, 3, 1, 4 }, { 2, 3, 1, 4 }, { 2, 3, 1, 4 } }, .attrs = A(.p = 1),
          .fails = TN_ERR_ARG, .message = "dropout 1 is not in [0, 1)" }));

TN_OP_DEFINE(attention_grad,
    .doc = "gradients of attention: (q, k, v, [masks], y, lse, dy, [dlse]) -> dq, dk, dv, [dbias]",
    .arity = 6, .max_arity = 12, .n_out = 3, .count_out = attention_grad_outputs,
    .flags = TN_PREFIX_STRIDED | TN_STRIDED_OUT | TN_CAN_FAIL | TN_RANDOM, ATTENTION_ATTRS_OF,
    .infer = attention_grad_infer, .run = tn__attention_grad_run,
    .scratch = tn__attention_grad_run_scratch, .expand = attention_grad_expand,
    .cost = attention_cost,
    TN_SAMPLES(
        { .in = { { 2, 3, 2, 4 }, { 2, 5, 2, 4 }, { 2, 5, 2, 3 }, { 2, 3, 2, 3 }, { 2, 2, 3 },
                  { 2, 3, 2, 3 } },
          .attrs = A(.causal = false) },
        { .in = { { 2, 4, 2, 3 }, { 2, 4, 1, 3 }, { 2, 4, 1, 3 }, { 2, 4, 2, 3 }, { 2, 2, 4 },
                  { 2, 4, 2, 3 }, { 2, 2, 4 } },
          .n_in = 7, .attrs = A(.causal = true, .p = 0.25, .has_dlse = true) },
        { .in = { { 2, 3, 2, 4 }, { 2, 4, 2, 4 }, { 2, 4, 2, 2 }, { 1, 2, 3, 4 }, { 2, 3, 2, 2 },
                  { 2, 2, 3 },
                  { 2, 3, 2, 2 } }, .n_in = 7, .attrs = A(.has_bias = true, .wants_bias = true) },
        { .in = { { 2, 3, 1, 4 }, { 2, 4, 1, 4 }, { 2, 4, 1, 4 }, { 2, 1, 1, 4 }, { 2, 1, 3, 1 },
                  { 2, 3, 1, 4 },
                  { 2, 1, 3 }, { 2, 3, 1, 4 } }, .n_in = 8, .dtype = { [3] = TN_BOOL },
          .attrs = A(.has_keep = true, .has_bias = true, .wants_bias = true) },
        { .in = { { 1, 67, 1, 17 }, { 1, 130, 1, 17 }, { 1, 130, 1, 33 }, { 1, 67, 1, 33 },
                  { 1, 1, 67 }, { 1, 67, 1, 33 } }, .lo = -0.5, .hi = 0.5, .attrs = A(.p = 0.1),
          .no_grad = { true, true, true, true, true, true } },
        { .in = { { 2, 3, 2, 4 }, { 2, 5, 2, 4 }, { 2, 5, 2, 3 }, { 2, 3, 2, 3 }, { 2, 2, 4 },
                  { 2, 3, 2, 3 } },
          .attrs = A(.causal = false), .fails = TN_ERR_SHAPE, .message = "do not fit" }));
