/* Attention's public functions, and the composition of primitives that it equals: its reference in
 * tests, what second order differentiates, and what shows the weights. */
#include "autograd/ops/attention.h"
#include "tensor/kernels/dropout.h"

#include <math.h>

/* ---- what may be attended to ----------------------------------------------------------------- */

static tn_node *and_of(tn_node *a, tn_node *b) { return !a ? b : !b ? a : tn_logical_and(a, b); }

static tn_node *positions(tn_graph *g, int64_t n, int axis_after)
{
    tn_node *p = tn_arange(g, TN_I32, n, 0, 1);
    return axis_after ? tn_unsqueeze(p, -1) : p;
}

/* More keys than queries, where lengths are known when run: the last query stands at the last
 * key. */
static tn_node *cache_offset(tn_node *n_keys, tn_node *n_queries)
{
    return tn_maximum(tn_sub(n_keys, n_queries), tn_scalar_like(n_keys, 0));
}

/* bool, broadcasts to [b, h, tq, tk]; NULL: everything. */
static tn_node *allowed_padded(tn_graph *g, const tn__attention_attrs *a, tn_node *const *in)
{
    const tn__attention_at at = tn__attention_inputs(a);
    const int64_t          tq = tn_dim(in[0], 1), tk = tn_dim(in[1], 1);
    tn_node               *allowed = at.keep >= 0 ? in[at.keep] : NULL, *last = NULL;
    if (at.k_lengths >= 0) {
        tn_node *n = tn_reshape(in[at.k_lengths], TN_SHAPE(tn_dim(in[0], 0), 1, 1, 1));
        allowed = and_of(allowed, tn_lt(positions(g, tk, 0), n));
        if (a->causal) last = cache_offset(n, tn_scalar_like(n, (double)tq));
    }
    if (a->causal) {
        tn_node *i = positions(g, tq, 1);
        allowed = and_of(allowed, tn_le(positions(g, tk, 0), last ? tn_add(i, last) : i));
    }
    if (at.bias >= 0) {
        tn_node *bias = tn_stop_gradient(in[at.bias]);
        allowed = and_of(allowed, tn_gt(bias, tn_scalar_like(bias, -INFINITY)));
    }
    return allowed;
}

/* For each of n rows: which segment it is in, from 1 on; 0 and past the last: none. */
static tn_node *segment_of(tn_graph *g, tn_node *offsets, int64_t n)
{
    const int axis = -1;
    return tn_sum(tn_cast(tn_ge(positions(g, n, 1), offsets), TN_I32), &axis, 1, false);
}

/* offsets[segment - 1 + next] of each row [n]; 0 of rows in no segment. */
static tn_node *offset_of(tn_graph *g, tn_node *offsets, tn_node *segment, int next)
{
    const int     axis = -1;
    const int64_t n = tn_dim(offsets, 0) - 1;
    tn_node      *is = tn_eq(tn_unsqueeze(segment, 1), tn_arange(g, TN_I32, n, 1, 1));
    tn_node      *each = tn_mul(tn_cast(is, TN_I32), tn_slice(offsets, 0, next, n + next, 1));
    return tn_sum(each, &axis, 1, false);
}

/* bool [n, m] of packed rows. */
static tn_node *allowed_packed(tn_graph *g, const tn__attention_attrs *a, tn_node *const *in)
{
    const tn__attention_at at = tn__attention_inputs(a);
    const int64_t          n = tn_dim(in[0], 0), m = tn_dim(in[1], 0);
    tn_node *qo = in[at.q_offsets], *ko = at.k_offsets >= 0 ? in[at.k_offsets] : qo;
    tn_node *qs = segment_of(g, qo, n), *ks = segment_of(g, ko, m);
    tn_node *is_in = tn_logical_and(tn_ge(ks, tn_scalar_like(ks, 1)),
                                    tn_lt(ks, tn_scalar_like(ks, (double)tn_dim(qo, 0))));
    tn_node *allowed = tn_logical_and(tn_eq(tn_unsqueeze(qs, 1), ks), is_in);
    if (!a->causal) return allowed;
    tn_node *q0 = offset_of(g, qo, qs, 0), *nq = tn_sub(offset_of(g, qo, qs, 1), q0);
    tn_node *nk = tn_sub(offset_of(g, ko, qs, 1), offset_of(g, ko, qs, 0));
    tn_node *last = tn_add(tn_sub(positions(g, n, 0), q0), cache_offset(nk, nq));
    tn_node *j = tn_sub(positions(g, m, 0), offset_of(g, ko, ks, 0));
    return tn_logical_and(allowed, tn_le(j, tn_unsqueeze(last, 1)));
}

/* ---- the composition ------------------------------------------------------------------------- */

/* q, k, v (and y, dy) as [b, h, rows, size], and the scores [b, h, tq, tk]: -inf where masked. */
typedef struct parts {
    const tn__attention_attrs *a;
    bool     is_packed;
    int64_t  h, hk;
    tn_node *q, *k, *v, *scores, *allowed;
} parts;

/* [b, t, hk, d] or packed [t, hk, d] -> [b, h, t, d]; head j is head j / (h / hk) of x. */
static tn_node *by_head(const parts *p, tn_node *x)
{
    if (p->is_packed) x = tn_unsqueeze(x, 0);
    const int64_t b = tn_dim(x, 0), t = tn_dim(x, 1), hk = tn_dim(x, 2), d = tn_dim(x, 3);
    x = tn_permute(x, (const int[]){ 0, 2, 1, 3 }, 4);
    if (!x || hk == p->h) return x;
    x = tn_expand(tn_unsqueeze(x, 2), TN_SHAPE(b, hk, p->h / hk, t, d));
    return tn_reshape(x, TN_SHAPE(b, p->h, t, d));
}

/* The other way: sums over the heads that share one of n. */
static tn_node *from_heads(const parts *p, tn_node *x, int64_t n)
{
    const int     axis = 2;
    const int64_t b = tn_dim(x, 0), t = tn_dim(x, 2), d = tn_dim(x, 3);
    if (!x) return NULL;
    if (n != p->h) x = tn_sum(tn_reshape(x, TN_SHAPE(b, n, p->h / n, t, d)), &axis, 1, false);
    x = tn_permute(x, (const int[]){ 0, 2, 1, 3 }, 4);
    return p->is_packed ? tn_squeeze(x, 0) : x;
}

static parts parts_of(tn_graph *g, const tn__attention_attrs *a, tn_node *const *in)
{
    const tn__attention_at at = tn__attention_inputs(a);
    const bool             is_packed = a->has_q_offsets;
    parts p = { .a = a, .is_packed = is_packed, .h = tn_dim(in[0], -2), .hk = tn_dim(in[1], -2) };
    p.allowed = is_packed ? allowed_packed(g, a, in) : allowed_padded(g, a, in);
    p.q = by_head(&p, in[0]), p.k = by_head(&p, in[1]), p.v = by_head(&p, in[2]);
    p.scores = tn_scale(tn_matmul(p.q, tn_transpose(p.k, -1, -2)), a->scale);
    if (at.bias >= 0) p.scores = tn_add(p.scores, in[at.bias]);
    if (p.allowed) p.scores = tn_where(p.allowed, p.scores, tn_scalar_like(p.scores, -INFINITY));
    return p;
}

/* The dropout op with the stream of this attention: weight (b, h, i, j) has the same random
 * number. */
static tn_node *drop(const parts *p, tn_node *weights)
{
    if (p->a->p == 0) return weights;
    return tn_apply(&tn_op_dropout, &weights, 1,
                    &(tn__dropout){ .p = p->a->p, .stream = p->a->stream });
}

/* log(sum(exp(scores))) by row [b, h, tq], and 0 where nothing may be attended to. */
static tn_node *lse_of(tn_graph *g, const parts *p)
{
    const int      axis = -1;
    const tn_shape s = tn_node_shape(p->scores);
    if (s.rank == 4 && s.dim[3] == 0)
        return tn_full(g, tn_node_dtype(p->scores), TN_SHAPE(s.dim[0], s.dim[1], s.dim[2]), 0);
    if (!p->allowed) return tn_logsumexp(p->scores, &axis, 1, false);
    tn_node *empty = tn_logical_not(tn_any(tn_expand(p->allowed, s), &axis, 1, true));
    tn_node *lse = tn_logsumexp(tn_masked_fill(p->scores, empty, 0), &axis, 1, false);
    return tn_masked_fill(lse, tn_squeeze(empty, -1), 0);
}

tn__attention_nodes tn__attention_compose(tn_graph *g, const tn__attention_attrs *a,
                                          tn_node *const *in)
{
    const parts         p = parts_of(g, a, in);
    tn__attention_nodes n = { .weights = tn_softmax(p.scores, -1), .lse = lse_of(g, &p) };
    if (p.is_packed) n.lse = tn_squeeze(n.lse, 0);
    n.y = from_heads(&p, tn_matmul(drop(&p, n.weights), p.v), p.h);
    return n;
}

/* As the kernels compute it, from the weights made again (see tensor/kernels/attention.c). */
void tn__attention_grad_compose(tn_graph *g, const tn__attention_attrs *a, tn_node *const *in,
                                tn_node **out)
{
    const int              axis = -1;
    const tn__attention_at at = tn__attention_inputs(a);
    const parts            p = parts_of(g, a, in);
    tn_node *y = by_head(&p, in[at.y]), *dy = by_head(&p, in[at.dy]);
    tn_node *lse = tn_unsqueeze(in[at.lse], -1), *delta = tn_sum(tn_mul(y, dy), &axis, 1, true);
    if (a->has_dlse) delta = tn_sub(delta, tn_unsqueeze(in[at.dlse], -1));
    tn_node *w = tn_exp(tn_sub(p.scores, lse));
    tn_node *dw = drop(&p, tn_matmul(dy, tn_transpose(p.v, -1, -2)));
    tn_node *ds = tn_mul(w, tn_sub(dw, delta)), *scaled = tn_scale(ds, a->scale);
    out[0] = from_heads(&p, tn_matmul(scaled, p.k), p.h);
    out[1] = from_heads(&p, tn_matmul(tn_transpose(scaled, -1, -2), p.q), p.hk);
    out[2] = from_heads(&p, tn_matmul(tn_transpose(drop(&p, w), -1, -2), dy), p.hk);
    if (a->wants_bias) out[3] = tn_sum_to(ds, tn_node_shape(in[at.bias]));
}

/* ---- public functions ------------------------------------------------------------------------ */

enum { MOST_INPUTS = 8 };

/* The arguments as an op wants them: attributes, and values of one graph. */
typedef struct arguments {
    tn__attention_attrs attrs;
    tn_graph           *graph;
    tn_node            *in[MOST_INPUTS];
    int                 n;
} arguments;

/* [b, tk], [tq, tk], [b, tq, tk] or [b, h, tq, tk] as rank 4. Of rank 2, the first dim is the batch
 * if it fits that. */
static tn_node *keep_of_rank_4(tn_node *keep, int64_t b)
{
    const tn_shape s = tn_node_shape(keep);
    switch (s.rank) {
    case 1: return tn_reshape(keep, TN_SHAPE(1, 1, 1, s.dim[0]));
    case 2: return tn_reshape(keep, s.dim[0] == b ||
                              s.dim[0] == 1 ? TN_SHAPE(s.dim[0], 1, 1, s.dim[1])
                                                                   : TN_SHAPE(1, 1, s.dim[0],
                                                                              s.dim[1]));
    case 3: return tn_reshape(keep, TN_SHAPE(s.dim[0], 1, s.dim[1], s.dim[2]));
    default: return keep;
    }
}

/* NumPy's broadcasting: dims of size 1 in front. */
static tn_node *bias_of_rank_4(tn_node *bias)
{
    const tn_shape s = tn_node_shape(bias);
    if (s.rank >= 4) return bias;
    int64_t dim[4] = { 1, 1, 1, 1 };
    for (int d = 0; d < s.rank; d++) dim[4 - s.rank + d] = s.dim[d];
    return tn_reshape(bias, tn_shape_of(4, dim));
}

/* Whichever of the inputs is not a variable says what the graph is. */
static tn_graph *graph_of(tn_node *const *x, int n)
{
    for (int i = 0; i < n; i++)
        if (x[i] && tn_node_graph(x[i])) return tn_node_graph(x[i]);
    if (x[0])
        tn_fail(tn_node_ctx(x[0]), TN_ERR_ARG,
                "attention: all inputs are variables, which belong to no "
                "graph: give one by tn_read(g, w)");
    return NULL;
}

static bool gather_arguments(arguments *r, tn_node *q, tn_node *k, tn_node *v,
                             const tn_attention_mask *mask, const tn_attention_options *options)
{
    const tn_attention_mask    m = mask ? *mask : (tn_attention_mask){ 0 };
    const tn_attention_options o = options ? *options : (tn_attention_options){ 0 };
    tn_node *all[] = { q, k, v, m.keep, m.bias, m.q_offsets, m.k_offsets, m.k_lengths };
    if (!q || !k || !v || !(r->graph = graph_of(all, MOST_INPUTS))) return false;
    const int64_t dh = tn_dim(q, -1);
    const bool    none = tn_graph_mode(r->graph) == TN_EVAL && o.dropout > 0 && o.dropout < 1;
    r->attrs = (tn__attention_attrs){
        .causal = m.causal, .scale = o.scale != 0 ? o.scale : dh > 0 ? 1 / sqrt((double)dh) : 1,
        .p = none ? 0 : o.dropout,
        .has_keep = m.keep, .has_bias = m.bias, .has_q_offsets = m.q_offsets,
        .has_k_offsets = m.k_offsets, .has_k_lengths = m.k_lengths
    };
    if (all[3]) all[3] = keep_of_rank_4(tn_read(r->graph, all[3]), tn_dim(q, 0));
    if (all[4]) all[4] = bias_of_rank_4(tn_read(r->graph, all[4]));
    const bool has[] = { true, true, true, r->attrs.has_keep, r->attrs.has_bias,
                         r->attrs.has_q_offsets, r->attrs.has_k_offsets, r->attrs.has_k_lengths };
    for (int i = 0; i < MOST_INPUTS; i++) {
        if (!has[i]) continue;
        if (!all[i] || !(r->in[r->n++] = tn_read(r->graph, all[i]))) return false;
    }
    return true;
}

tn_node *tn_attention(tn_node *q, tn_node *k, tn_node *v, const tn_attention_mask *mask,
                      const tn_attention_options *options)
{
    arguments r = { .n = 0 };
    if (!gather_arguments(&r, q, k, v, mask, options)) return NULL;
    return tn_apply(&tn_op_attention, r.in, r.n, &r.attrs);
}

tn_node *tn_attention_with_weights(tn_node *q, tn_node *k, tn_node *v,
                                   const tn_attention_mask *mask,
                                   const tn_attention_options *options, tn_node **weights)
{
    arguments r = { .n = 0 };
    if (weights) *weights = NULL;
    if (!gather_arguments(&r, q, k, v, mask, options)) return NULL;
    if (r.attrs.has_q_offsets) {
        tn_fail(tn_graph_ctx(r.graph), TN_ERR_UNSUPPORTED,
                "tn_attention_with_weights: not for packed rows: use tn_attention");
        return NULL;
    }
    if (!tn_apply(&tn_op_attention, r.in, r.n, &r.attrs)) return NULL; /* its checks; never run */
    const tn__attention_nodes n = tn__attention_compose(r.graph, &r.attrs, r.in);
    if (weights) *weights = n.weights;
    return n.y;
}
