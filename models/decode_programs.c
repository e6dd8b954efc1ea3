/* Programs that translate a group of n sentences, of fixed shapes, and their caches in variables.
 *
 * The sources are encoded once, by a program of nearly their own length, and each decoder layer's
 * keys and values of the memory are written to variables. These have room for more than most
 * sources need (lengths say what is there, and what is not used costs nothing), so that a few sets
 * of caches and programs serve all groups. Then one program is run for each target token. Its
 * queries are the k beams of each sentence: q [n, k, h, dh]. In step t each layer writes the k new
 * keys and values of a sentence to rows t k .. t k + k - 1 of its cache [n, length k, h, dh]. Beams
 * are never copied: which rows are a beam's past is in `keep` [n, k, length k], which the host
 * keeps. The memory is there once for all beams. In the first step all beams are alike: it has a
 * program of its own, of one beam. A step may be of fewer sentences than the caches have room for:
 * those of their first rows. */
#include "models/decode_group.h"

#include <math.h>
#include <stdio.h>

/* Tokens of sources for which the encoder's weights, too, had better be packed once than by each
 * of its runs. */
enum { PANELS_MOST = 128 };

/* ---- programs -------------------------------------------------------------------------------- */

/* Of caches that have room for more sentences. */
static tn_node *first_sentences(tn_node *cache, int64_t n)
{
    return cache ? tn_slice(cache, 0, 0, n, 1) : NULL;
}

/* [n, length k, h, dh] with the k rows of this step, in place; the row of a single beam k times. */
static tn_node *write_rows(tn_node *cache, tn_node *rows, const tn_attention_layer *l, int64_t k,
                           tn_node *position)
{
    tn_shape s = tn_node_shape(rows);
    if (!rows) return NULL;
    rows = tn_reshape(rows, TN_SHAPE(s.dim[0], s.dim[1], l->n_kv_heads, l->head_size));
    if (s.dim[1] != k) rows = tn_expand(rows, TN_SHAPE(s.dim[0], k, l->n_kv_heads, l->head_size));
    return first_sentences(tn_write_rows(cache, rows, position), s.dim[0]);
}

/* x [n, k, d] attends to all that came before: mask says which rows of the cache that is. */
static tn_node *self_attention(const tn_attention_layer *l, tn_node *x,
                               const tn_attention_cache *cache, int64_t beams, tn_node *position,
                               const tn_attention_mask *mask)
{
    tn_node *part[3] = { NULL }, *y = NULL;
    int64_t  n = l->n_heads * l->head_size, nk = l->n_kv_heads * l->head_size;
    TN_SCOPE(tn_node_graph(x), "%s", l->name) {
        tn_split(tn_linear_apply(&l->qkv, x), -1, (const int64_t[]){ n, nk, nk }, 3, part);
        tn_node *q = part[0] ? tn_reshape(part[0], TN_SHAPE(tn_dim(x, 0), tn_dim(x, 1), l->n_heads,
                                                            l->head_size))
                             : NULL;
        tn_node *k = write_rows(cache->k, part[1], l, beams, position),
                *v = write_rows(cache->v, part[2], l, beams, position);
        y = tn_linear_apply(&l->out, tn_flatten(tn_attention(q, k, v, mask, NULL), -2, -1));
    }
    return y;
}

/* For the sentences of x. */
static tn_node *memory_of(tn_node *cache, tn_node *x)
{
    return x ? first_sentences(tn_read(tn_node_graph(x), cache), tn_dim(x, 0)) : NULL;
}

static tn_node *decoder_step(const tn__decoder *d, const tn__decode_group *g, tn_node *x,
                             tn_node *position, const tn_attention_mask *self,
                             const tn_attention_mask *cross)
{
    const tn_transformer *m = d->m;
    for (int64_t i = 0; i < m->decoder.n_layers; i++) {
        const tn_decoder_layer *l = &m->decoder.layers[i];
        bool                    post = l->is_post_norm;
        tn_node                *h = tn_block_before(&l->norm1, post, x);
        h = self_attention(&l->self, h, &g->cache[i], d->o.beam, position, self);
        x = tn_block_after(&l->norm1, post, x, h, 0);
        h = tn_block_before(&l->norm2, post, x);
        h = tn_attention_apply_keys(&l->cross, h, memory_of(g->memory_k[i], x),
                                    memory_of(g->memory_v[i], x), cross);
        x = tn_block_after(&l->norm2, post, x, h, 0);
        h = tn_block_before(&l->norm3, post, x);
        x = tn_block_after(&l->norm3, post, x, tn_feed_forward_apply(&l->ff, h), 0);
    }
    return m->decoder.norm.gamma ? tn_norm_apply(&m->decoder.norm, x) : x;
}

/* With the positions from the decoder's table, if they are not learned. */
static tn_node *embed_target(const tn__decoder *d, tn_node *ids, tn_node *places)
{
    tn_transformer m = *d->m;
    if (!m.target_positions.w) m.target_positions.w = d->positions;
    return tn_transformer_embed_target(&m, ids, places);
}

/* What is never a next token has -inf added to its logit. */
static tn_node *forbid(tn_ctx *ctx, const tn_transformer *m, tn_graph *g, tn_dtype dtype)
{
    int64_t  v = m->config.tgt_vocab;
    float   *bias = tn_alloc(ctx, (size_t)v * sizeof *bias);
    tn_node *x = NULL;
    if (bias) {
        bias[m->config.pad_id] = -INFINITY;
        if (m->config.bos_id != m->config.eos_id) bias[m->config.bos_id] = -INFINITY;
        x = tn_constant(g, TN_F32, TN_SHAPE(v), bias);
    }
    tn_free(ctx, bias);
    return dtype == TN_F32 ? x : tn_cast(x, dtype);
}

/* Candidates of each of k beams: their log probabilities and ids, [n, k, n_candidates]. */
static tn_program *build_step(const tn__decoder *d, const tn__decode_group *g, int64_t n, int64_t k)
{
    const tn_transformer *m = d->m;
    tn_graph *graph = tn_graph_new(d->ctx, TN_EVAL);
    tn_node  *ids = tn_input(graph, "ids", TN_I32, TN_SHAPE(n, k));
    tn_node  *places = tn_input(graph, "places", TN_I32, TN_SHAPE(n, k));
    tn_node  *position = tn_input(graph, "position", TN_I32, TN_SCALAR);
    tn_attention_mask self = { .k_lengths = tn_input(graph, "cached", TN_I32, TN_SHAPE(n)) };
    tn_attention_mask cross = { .k_lengths = tn_input(graph, "lengths", TN_I32, TN_SHAPE(n)) };
    if (k > 1) self.keep = tn_input(graph, "keep", TN_BOOL, TN_SHAPE(n, k, g->length * k));
    tn_node *x = embed_target(d, ids, places);
    tn_node *logits = tn_transformer_logits(m, decoder_step(d, g, x, position, &self, &cross));
    tn_node *out[2] = { NULL };
    tn_log_topk(logits, forbid(d->ctx, m, graph, tn_node_dtype(logits)), d->n_candidates, &out[0],
                &out[1]);
    out[0] = tn_cast(out[0], TN_F64);
    const tn_compile_options o = { .arena = d->arena, .panels = d->panels };
    tn_program *p = out[0] && out[1] ? tn_compile(graph, out, 2, &o) : NULL;
    tn_graph_free(graph);
    return p;
}

/* An output for which a cache must be written; the whole of it would be copied out. */
static tn_node *written(tn_node *cache)
{
    return cache ? tn_slice(tn_slice(cache, 0, 0, 1, 1), 1, 0, 1, 1) : NULL;
}

/* For sources of at most `length` tokens. */
static tn_program *build_encode(const tn__decoder *d, const tn__decode_group *g, int64_t rows,
                                int64_t length)
{
    const tn_transformer *m = d->m;
    int         n = (int)m->decoder.n_layers;
    tn_graph   *graph = tn_graph_new(d->ctx, TN_EVAL);
    tn_node   **out = tn_alloc(d->ctx, (size_t)n * 2 * sizeof *out);
    tn_sequence source = { .ids = tn_input(graph, "source", TN_I32, TN_SHAPE(rows, length)),
                           .lengths = tn_input(graph, "lengths", TN_I32, TN_SHAPE(rows)) };
    tn_node    *memory = tn_transformer_encode(m, &source);
    tn_node    *begin = tn_full(graph, TN_I32, TN_SCALAR, 0);
    for (int i = 0; out && i < n; i++) {
        tn_node *k = NULL, *v = NULL;
        tn_attention_keys(&m->decoder.layers[i].cross, memory, &k, &v);
        out[2 * i] = written(tn_write_rows(g->memory_k[i], k, begin));
        out[2 * i + 1] = written(tn_write_rows(g->memory_v[i], v, begin));
    }
    const bool is_small = d->o.is_fixed && rows * length <= PANELS_MOST;
    const tn_compile_options o = { .arena = d->arena, .panels = is_small ? d->panels : NULL };
    tn_program *p = out && memory && tn_ctx_status(d->ctx) == TN_OK
                        ? tn_compile(graph, out, 2 * n, &o)
                        : NULL;
    tn_free(d->ctx, out);
    tn_graph_free(graph);
    return p;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void group_clear(tn_ctx *ctx, tn__decode_group *g)
{
    for (int i = 0; i < TN__DECODE_ENCODERS; i++) tn_program_free(g->encoders[i].program);
    for (int i = 0; i < TN__DECODE_STEPS; i++) tn_program_free(g->steps[i].program);
    tn_params_free(g->set);
    tn_free(ctx, g->memory_k), tn_free(ctx, g->memory_v), tn_free(ctx, g->cache);
    *g = (tn__decode_group){ 0 };
}

static tn_status make_caches(const tn__decoder *d, tn__decode_group *g)
{
    const tn_transformer *m = d->m;
    size_t n = (size_t)m->decoder.n_layers;
    g->set = tn_params_new(d->ctx, tn_node_dtype(m->target.w));
    g->memory_k = tn_alloc(d->ctx, n * sizeof *g->memory_k);
    g->memory_v = tn_alloc(d->ctx, n * sizeof *g->memory_v);
    g->cache = tn_alloc(d->ctx, n * sizeof *g->cache);
    if (!g->set || !g->memory_k || !g->memory_v || !g->cache) return TN_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        char                    name[32];
        const tn_decoder_layer *l = &m->decoder.layers[i];
        snprintf(name, sizeof name, "%d.memory", (int)i);
        tn_attention_cache memory =
            tn_attention_cache_new(g->set, name, &l->cross, g->rows, g->source);
        snprintf(name, sizeof name, "%d.cache", (int)i);
        g->cache[i] =
            tn_attention_cache_new(g->set, name, &l->self, g->rows, g->length * d->o.beam);
        g->memory_k[i] = memory.k, g->memory_v[i] = memory.v;
        if (!memory.k || !memory.v || !g->cache[i].k || !g->cache[i].v)
            return tn_ctx_status(d->ctx);
    }
    return TN_OK;
}

tn__decode_group *tn__decode_group_for(tn__decoder *d, int64_t rows, int64_t source,
                                       int64_t length)
{
    tn__decode_group *oldest = &d->groups[0];
    for (int i = 0; i < TN__DECODE_GROUPS; i++) {
        tn__decode_group *g = &d->groups[i];
        if (g->used && g->rows == rows && g->source == source && g->length == length)
            return g->used = ++d->clock, g;
        if (g->used < oldest->used) oldest = g;
    }
    group_clear(d->ctx, oldest);
    oldest->rows = rows, oldest->source = source, oldest->length = length;
    oldest->used = ++d->clock;
    if (make_caches(d, oldest) == TN_OK) return oldest;
    group_clear(d->ctx, oldest);
    return NULL;
}

typedef tn_program *build_fn(const tn__decoder *d, const tn__decode_group *g, int64_t rows,
                             int64_t width);

/* Of n programs, that of this shape; one that has to be made takes the oldest one's place. */
static tn_program *program_for(tn__decoder *d, const tn__decode_group *g, tn__decode_program *all,
                               int n, build_fn *build, int64_t rows, int64_t width)
{
    tn__decode_program *oldest = all;
    for (int i = 0; i < n; i++) {
        tn__decode_program *p = &all[i];
        if (p->program && p->rows == rows && p->width == width)
            return p->used = ++d->clock, p->program;
        if (p->used < oldest->used) oldest = p;
    }
    tn_program_free(oldest->program);
    *oldest = (tn__decode_program){ rows, width, ++d->clock, build(d, g, rows, width) };
    return oldest->program;
}

tn_program *tn__decode_encoder_for(tn__decoder *d, tn__decode_group *g, int64_t rows,
                                   int64_t width)
{
    return program_for(d, g, g->encoders, TN__DECODE_ENCODERS, build_encode, rows, width);
}

tn_program *tn__decode_step_for(tn__decoder *d, tn__decode_group *g, int64_t rows, int64_t beams)
{
    return program_for(d, g, g->steps, TN__DECODE_STEPS, build_step, rows, beams);
}

void tn__decode_groups_clear(tn__decoder *d)
{
    for (int i = 0; i < TN__DECODE_GROUPS; i++) group_clear(d->ctx, &d->groups[i]);
}
