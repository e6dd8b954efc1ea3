/* The attention layer: project, split into heads, attend, join, project. */
#include "nn/attention.h"

#include "nn/internal.h"

#include <math.h>

typedef struct heads {
    tn_node *q, *k, *v; /* [b, t, heads, dh], or packed [n, heads, dh] */
} heads;

static tn_node *refuse(const tn_attention_layer *l, const tn_node *x, const char *message)
{
    char     text[96];
    tn_shape s = tn_node_shape(x);
    if (x)
        tn_fail(tn_node_ctx(x), TN_ERR_SHAPE, "attention %s: x %s: %s", l->name ? l->name : "?",
                tn_shape_text(&s, text, sizeof text), message);
    return NULL;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static bool settle_rotary(tn_attention_layer *l, tn_ctx *ctx, bool is_self, double base)
{
    l->rotary = base;
    const bool is_base = base > 0 && base < INFINITY;
    if (base == 0 || (is_self && is_base && l->head_size % 2 == 0)) return true;
    return tn_fail(ctx, TN_ERR_ARG,
                   "attention %s: rotary %g: it is a base over 0, of self-attention with heads of "
                   "an even size", l->name, base) == TN_OK;
}

/* Fills in the sizes of heads; false if they do not fit. */
static bool settle_heads(tn_attention_layer *l, tn_ctx *ctx, int64_t d,
                         const tn_attention_layer_options *o)
{
    const int64_t most = (int64_t)1 << 40; /* of h dh */
    l->n_kv_heads = o->n_kv_heads ? o->n_kv_heads : l->n_heads;
    if (l->n_heads < 1 || l->n_kv_heads < 1 || l->n_heads % l->n_kv_heads != 0)
        return tn_fail(ctx, TN_ERR_ARG, "attention %s: %lld key heads do not divide %lld heads",
                       l->name, (long long)l->n_kv_heads, (long long)l->n_heads) == TN_OK;
    if (!o->head_size && d % l->n_heads != 0)
        return tn_fail(ctx, TN_ERR_ARG,
                       "attention %s: d_model %lld is not a multiple of %lld heads",
                       l->name, (long long)d, (long long)l->n_heads) == TN_OK;
    l->head_size = o->head_size ? o->head_size : d / l->n_heads;
    if (l->head_size < 0 || l->head_size > most / l->n_heads)
        return tn_fail(ctx, TN_ERR_SHAPE, "attention %s: there are no %lld heads of size %lld",
                       l->name, (long long)l->n_heads, (long long)l->head_size) == TN_OK;
    return true;
}

tn_attention_layer tn_attention_new(tn_params *p, const char *name, int64_t d, int64_t n_heads,
                                    const tn_attention_layer_options *options)
{
    tn_attention_layer_options o = options ? *options : (tn_attention_layer_options){ 0 };
    tn_attention_layer l = { .name = tn__open_layer(p, name), .n_heads = n_heads,
                             .dropout = o.dropout };
    int64_t            memory = o.d_memory ? o.d_memory : d;
    if (!l.name) return l;
    const bool is_self = !o.is_cross && memory == d;
    if (!settle_heads(&l, tn_params_ctx(p), d, &o) ||
        !settle_rotary(&l, tn_params_ctx(p), is_self, o.rotary)) {
        tn_params_pop(p);
        return l;
    }
    int64_t           inner = n_heads * l.head_size, inner_kv = l.n_kv_heads * l.head_size;
    tn_init           one = tn_init_xavier_uniform(), part = one, zeros = tn_init_zeros();
    tn_linear_options linear = { .no_bias = o.no_bias, .w = o.w ? o.w : &one, .b = &zeros };
    tn_linear_options several = { .no_bias = o.no_bias, .w = o.w ? o.w : &part, .b = &zeros };
    part.fan_out = inner;
    if (is_self) {
        l.qkv = tn_linear_new_with(p, "qkv", d, inner + 2 * inner_kv, &several);
    } else {
        l.q = tn_linear_new_with(p, "q", d, inner, &linear);
        l.kv = tn_linear_new_with(p, "kv", memory, 2 * inner_kv, &several);
    }
    l.out = tn_linear_new_with(p, "out", inner, d, &linear);
    tn_params_pop(p);
    return l;
}

/* ---- projections ----------------------------------------------------------------------------- */

/* The last dimension [n dh] as [n, dh]. */
static tn_node *by_head(const tn_attention_layer *l, tn_node *x, int64_t n)
{
    tn_shape s = tn_node_shape(x);
    if (!x) return NULL;
    if (s.rank == TN_MAX_RANK) return refuse(l, x, "no room for a dimension of heads");
    s.dim[s.rank - 1] = n, s.dim[s.rank++] = l->head_size;
    return tn_reshape(x, s);
}

static void project_memory(const tn_attention_layer *l, tn_node *memory, heads *h)
{
    tn_node *part[2] = { NULL };
    int64_t  n = l->n_kv_heads * l->head_size;
    tn_split(tn_linear_apply(&l->kv, memory), -1, (const int64_t[]){ n, n }, 2, part);
    h->k = by_head(l, part[0], l->n_kv_heads), h->v = by_head(l, part[1], l->n_kv_heads);
}

/* index: of the positions; NULL: from 0 on. */
static heads project_self(const tn_attention_layer *l, tn_node *x, tn_node *index)
{
    tn_node *part[3] = { NULL };
    int64_t  n = l->n_heads * l->head_size, nk = l->n_kv_heads * l->head_size;
    tn_split(tn_linear_apply(&l->qkv, x), -1, (const int64_t[]){ n, nk, nk }, 3, part);
    heads h = { by_head(l, part[0], l->n_heads), by_head(l, part[1], l->n_kv_heads),
                by_head(l, part[2], l->n_kv_heads) };
    if (l->rotary != 0)
        h.q = tn_rotary(h.q, index, l->rotary), h.k = tn_rotary(h.k, index, l->rotary);
    return h;
}

/* [b, t, h, dh] -> [b, t, h dh] -> out */
static tn_node *join(const tn_attention_layer *l, tn_node *y)
{
    return tn_linear_apply(&l->out, tn_flatten(y, -2, -1));
}

static tn_node *attend(const tn_attention_layer *l, const heads *h, const tn_attention_mask *mask,
                       tn_node **weights)
{
    tn_attention_options o = { .dropout = l->dropout };
    return weights ? tn_attention_with_weights(h->q, h->k, h->v, mask, &o, weights)
                   : tn_attention(h->q, h->k, h->v, mask, &o);
}

static tn_graph *enter(const tn_attention_layer *l, tn_node *x)
{
    tn_graph *g = tn_node_graph(x);
    tn_scope_push(g, "%s", l->name ? l->name : "attention");
    return g;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* As [b, t, d]: leading dimensions together, or a batch of one. */
static tn_node *as_batch(const tn_attention_layer *l, tn_node *x)
{
    int r = tn_rank(x);
    if (r < 2) return refuse(l, x, "it is [.., t, d]");
    return r == 3 ? x : r == 2 ? tn_unsqueeze(x, 0) : tn_flatten(x, 0, r - 3);
}

static tn_node *apply(const tn_attention_layer *l, tn_node *x, tn_node *memory,
                      const tn_attention_mask *mask, tn_node **weights)
{
    bool is_self = l->qkv.w != NULL, is_packed = mask && mask->q_offsets;
    if (!x) return NULL;
    if (!is_self && !memory && l->q.w) return refuse(l, x, "cross-attention needs a memory");
    if (!is_self && !memory) return NULL;
    if (is_self && memory && memory != x)
        return refuse(l, x,
                      "self-attention takes its memory from x: make the layer with .is_cross");
    tn_node *rows = is_packed ? x : as_batch(l, x);
    heads    h = { .q = NULL };
    if (is_self) {
        h = project_self(l, rows, NULL);
    } else {
        h.q = by_head(l, tn_linear_apply(&l->q, rows), l->n_heads);
        project_memory(l, is_packed ? memory : as_batch(l, memory), &h);
    }
    tn_node *y = join(l, attend(l, &h, mask, weights));
    return rows == x ? y : tn_reshape(y, tn_node_shape(x));
}

tn_node *tn_attention_apply_weights(const tn_attention_layer *l, tn_node *x, tn_node *memory,
                                    const tn_attention_mask *mask, tn_node **weights)
{
    if (weights) *weights = NULL;
    if (!l) return tn__no_layer(x, "tn_attention_apply");
    tn_graph *g = enter(l, x);
    tn_node  *y = apply(l, x, memory, mask, weights);
    tn_scope_pop(g);
    return y;
}

tn_node *tn_attention_apply(const tn_attention_layer *l, tn_node *x, tn_node *memory,
                            const tn_attention_mask *mask)
{
    return tn_attention_apply_weights(l, x, memory, mask, NULL);
}

/* ---- decoding -------------------------------------------------------------------------------- */

tn_status tn_attention_keys(const tn_attention_layer *l, tn_node *memory, tn_node **k, tn_node **v)
{
    heads h = { .q = NULL };
    if (k) *k = NULL;
    if (v) *v = NULL;
    if (!l || !k || !v) {
        tn__no_layer(memory, l ? "tn_attention_keys, or what it gives" : "tn_attention_keys");
        return TN_ERR_ARG;
    }
    tn_graph *g = enter(l, memory);
    if (l->kv.w) project_memory(l, memory, &h);
    else refuse(l, memory, "keys are made apart only by cross-attention");
    tn_scope_pop(g);
    *k = h.k, *v = h.v;
    return h.k && h.v ? TN_OK : memory ? tn_ctx_status(tn_node_ctx(memory)) : TN_ERR_ARG;
}

tn_node *tn_attention_apply_keys(const tn_attention_layer *l, tn_node *x, tn_node *k, tn_node *v,
                                 const tn_attention_mask *mask)
{
    if (!x || !k || !v) return NULL;
    if (!l) return tn__no_layer(x, "tn_attention_apply_keys");
    tn_graph *g = enter(l, x);
    heads     h = { .k = k, .v = v };
    tn_node  *y = NULL;
    if (l->q.w) {
        h.q = by_head(l, tn_linear_apply(&l->q, x), l->n_heads);
        y = join(l, attend(l, &h, mask, NULL));
    } else {
        refuse(l, x, "keys are given only to cross-attention");
    }
    tn_scope_pop(g);
    return y;
}

tn_attention_cache tn_attention_cache_new(tn_params *p, const char *name,
                                          const tn_attention_layer *l,
                                          int64_t batch, int64_t length)
{
    tn_attention_cache c = { NULL, NULL };
    if (p && !l) tn_fail(tn_params_ctx(p), TN_ERR_ARG, "tn_attention_cache_new: the layer is NULL");
    if (!l || !tn__open_layer(p, name)) return c;
    tn_shape s = TN_SHAPE(batch, length, l->n_kv_heads, l->head_size);
    c.k = tn_buffer(p, "k", tn_params_dtype(p), s);
    c.v = tn_buffer(p, "v", tn_params_dtype(p), s);
    tn_params_pop(p);
    return c;
}

/* The cache with the new rows behind what is there. */
static tn_node *append(tn_node *cache, tn_node *rows, tn_node *position, tn_node *parents,
                       tn_node **assign)
{
    if (!cache || !rows) return NULL;
    if (!parents) return tn_write_rows(cache, rows, position);
    tn_node *now = tn_index_select(tn_read(tn_node_graph(rows), cache), 0, parents);
    now = tn_write_rows(now, rows, position);
    *assign = tn_assign(cache, now);
    return now;
}

tn_node *tn_attention_decode(const tn_attention_layer *l, tn_node *x,
                             const tn_attention_cache *cache,
                             tn_node *position, tn_node *parents, tn_node *assigns[2])
{
    tn_node *unwanted[2];
    if (!assigns) assigns = unwanted;
    assigns[0] = assigns[1] = NULL;
    if (!x || !position) return NULL;
    if (!l || !cache)
        return tn__no_layer(x, l ? "tn_attention_decode, or its cache" : "tn_attention_decode");
    if (!l->qkv.w) return refuse(l, x, "decoding with a cache is for self-attention");
    if (parents && assigns == unwanted) return refuse(l, x, "parents need assigns");
    tn_graph *g = enter(l, x);
    position = tn_read(g, position);
    tn_node *index = l->rotary != 0 ? tn_add(tn_arange(g, TN_I32, tn_dim(x, -2), 0, 1),
                                             tn_cast(position, TN_I32))
                                    : NULL;
    heads    h = project_self(l, x, index);
    h.k = append(cache->k, h.k, position, parents, &assigns[0]);
    h.v = append(cache->v, h.v, position, parents, &assigns[1]);
    tn_node *length = tn_add_scalar(position, (double)tn_dim(x, 1));
    tn_attention_mask mask = { .causal = true,
                               .k_lengths = tn_expand(length, TN_SHAPE(tn_dim(x, 0))) };
    tn_node          *y = mask.k_lengths ? join(l, attend(l, &h, &mask, NULL)) : NULL;
    tn_scope_pop(g);
    return y;
}
