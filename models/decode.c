/* Translating: programs of fixed shapes, caches in variables, and beam search on the host.
 *
 * A group of n sources is encoded once, by a program of nearly their own length, and each decoder
 * layer's keys and values of the memory are written to variables. These have room for more than
 * most sources need (lengths say what is there, and what is not used costs nothing), so that a few
 * sets of caches and programs serve all groups. Then one program is run for each target token. Its
 * queries are the k beams of each sentence: q [n, k, h, dh]. In step t each layer writes the k new
 * keys and values of a sentence to rows t k .. t k + k - 1 of its cache [n, length k, h, dh]. Beams
 * are never copied: which rows are a beam's past is in `keep` [n, k, length k], which the host
 * keeps. The memory is there once for all beams. In the first step all beams are alike: it has a
 * program of its own, of one beam. When three quarters of the sentences are done, the others move
 * to smaller caches. */
#include "models/beam.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_GROUPS = 8, N_ENCODERS = 8, MAX_BEAM = 32, ROUND_SOURCE = 4, LEAST_ROOM = 32, SHRINK = 4 };

typedef struct encoder {
    int64_t     source; /* tokens of a source */
    int64_t     used;
    tn_program *program;
} encoder;

/* Caches and programs of one shape. */
typedef struct group {
    int64_t     rows, source, length; /* sentences; room for tokens of a source and of a target */
    int64_t     used;                 /* when, to find the one used longest ago; 0: free */
    tn_params  *set;                  /* of the caches */
    tn_node   **memory_k, **memory_v; /* [n_decoder]: [rows, source, h, dh] */
    tn_attention_cache *cache;        /* [n_decoder]: [rows, length k, h, dh] */
    encoder     encoders[N_ENCODERS];
    tn_program *first, *step; /* first: made when it is needed */
} group;

struct tn_translator {
    const tn_transformer *m;
    tn_ctx               *ctx;
    tn_translate_options  o;
    tn_arena             *arena;
    group                 groups[N_GROUPS];
    tn_panels            *panels; /* the decoder's weights as its steps read them */
    int64_t               clock, n_candidates; /* of each beam and step */
    tn_translation       *out;                 /* of the last call */
    int64_t               n_out;
};

/* ---- programs -------------------------------------------------------------------------------- */

/* [n, length k, h, dh] with the k rows of this step, in place; the row of a single beam k times. */
static tn_node *write_rows(tn_node *cache, tn_node *rows, const tn_attention_layer *l, int64_t k,
                           tn_node *position)
{
    tn_shape s = tn_node_shape(rows);
    if (!rows) return NULL;
    rows = tn_reshape(rows, TN_SHAPE(s.dim[0], s.dim[1], l->n_kv_heads, l->head_size));
    if (s.dim[1] != k) rows = tn_expand(rows, TN_SHAPE(s.dim[0], k, l->n_kv_heads, l->head_size));
    return tn_write_rows(cache, rows, position);
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

static tn_node *decoder_step(const tn_translator *t, const group *g, tn_node *x, tn_node *position,
                             const tn_attention_mask *self, const tn_attention_mask *cross)
{
    const tn_transformer *m = t->m;
    for (int64_t i = 0; i < m->decoder.n_layers; i++) {
        const tn_decoder_layer *l = &m->decoder.layers[i];
        bool                    post = l->is_post_norm;
        tn_node                *h = tn_block_before(&l->norm1, post, x);
        h = self_attention(&l->self, h, &g->cache[i], t->o.beam, position, self);
        x = tn_block_after(&l->norm1, post, x, h, 0);
        h = tn_block_before(&l->norm2, post, x);
        h = tn_attention_apply_keys(&l->cross, h, g->memory_k[i], g->memory_v[i], cross);
        x = tn_block_after(&l->norm2, post, x, h, 0);
        h = tn_block_before(&l->norm3, post, x);
        x = tn_block_after(&l->norm3, post, x, tn_feed_forward_apply(&l->ff, h), 0);
    }
    return m->decoder.norm.gamma ? tn_norm_apply(&m->decoder.norm, x) : x;
}

/* What is never a next token has -inf added to its logit. */
static tn_node *forbid(const tn_transformer *m, tn_graph *g, tn_dtype dtype)
{
    int64_t  v = m->config.tgt_vocab;
    float   *bias = tn_alloc(m->ctx, (size_t)v * sizeof *bias);
    tn_node *x = NULL;
    if (bias) {
        bias[m->config.pad_id] = bias[m->config.bos_id] = -INFINITY;
        x = tn_constant(g, TN_F32, TN_SHAPE(v), bias);
    }
    tn_free(m->ctx, bias);
    return dtype == TN_F32 ? x : tn_cast(x, dtype);
}

/* Candidates of each of k beams: their log probabilities and ids, [n, k, n_candidates]. */
static tn_program *build_step(tn_translator *t, const group *g, int64_t k)
{
    const tn_transformer *m = t->m;
    tn_graph *graph = tn_graph_new(t->ctx, TN_EVAL);
    int64_t   n = g->rows;
    tn_node  *ids = tn_input(graph, "ids", TN_I32, TN_SHAPE(n, k));
    tn_node  *places = tn_input(graph, "places", TN_I32, TN_SHAPE(n, k));
    tn_node  *position = tn_input(graph, "position", TN_I32, TN_SCALAR);
    tn_attention_mask self = { .k_lengths = tn_input(graph, "cached", TN_I32, TN_SHAPE(n)) };
    tn_attention_mask cross = { .k_lengths = tn_input(graph, "lengths", TN_I32, TN_SHAPE(n)) };
    if (k > 1) self.keep = tn_input(graph, "keep", TN_BOOL, TN_SHAPE(n, k, g->length * k));
    tn_node *x = tn_transformer_embed_target(m, ids, places);
    tn_node *logits = tn_transformer_logits(m, decoder_step(t, g, x, position, &self, &cross));
    tn_node *values = NULL, *best = NULL, *first[2] = { NULL };
    logits = tn_add(logits, forbid(m, graph, tn_node_dtype(logits)));
    tn_topk(logits, t->n_candidates, -1, &values, &best);
    /* log p of a candidate: as far below the best as its logit is. The best's is the negative loss
     * of predicting it, which reads the logits once. */
    first[0] = tn_slice(values, -1, 0, 1, 1);
    first[1] = tn_cross_entropy(logits, tn_select(best, -1, 0),
                                &(tn_cross_entropy_options){ .reduction = TN_NONE });
    tn_node *out[2] = { tn_sub(tn_sub(values, first[0]), tn_unsqueeze(first[1], -1)), best };
    out[0] = tn_cast(out[0], TN_F64);
    const tn_compile_options o = { .arena = t->arena, .panels = t->panels };
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
static tn_program *build_encode(const tn_translator *t, const group *g, int64_t length)
{
    const tn_transformer *m = t->m;
    int         n = (int)m->decoder.n_layers;
    tn_graph   *graph = tn_graph_new(t->ctx, TN_EVAL);
    tn_node   **out = tn_alloc(t->ctx, (size_t)n * 2 * sizeof *out);
    tn_sequence source = { .ids = tn_input(graph, "source", TN_I32, TN_SHAPE(g->rows, length)),
                           .lengths = tn_input(graph, "lengths", TN_I32, TN_SHAPE(g->rows)) };
    tn_node    *memory = tn_transformer_encode(m, &source);
    tn_node    *begin = tn_full(graph, TN_I32, TN_SCALAR, 0);
    for (int i = 0; out && i < n; i++) {
        tn_node *k = NULL, *v = NULL;
        tn_attention_keys(&m->decoder.layers[i].cross, memory, &k, &v);
        out[2 * i] = written(tn_write_rows(g->memory_k[i], k, begin));
        out[2 * i + 1] = written(tn_write_rows(g->memory_v[i], v, begin));
    }
    tn_program *p = out && memory && tn_ctx_status(t->ctx) == TN_OK
                        ? tn_compile(graph, out, 2 * n, &(tn_compile_options){ .arena = t->arena })
                        : NULL;
    tn_free(t->ctx, out);
    tn_graph_free(graph);
    return p;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void group_clear(tn_ctx *ctx, group *g)
{
    for (int i = 0; i < N_ENCODERS; i++) tn_program_free(g->encoders[i].program);
    tn_program_free(g->first), tn_program_free(g->step);
    tn_params_free(g->set);
    tn_free(ctx, g->memory_k), tn_free(ctx, g->memory_v), tn_free(ctx, g->cache);
    *g = (group){ 0 };
}

static tn_status make_caches(const tn_translator *t, group *g)
{
    const tn_transformer *m = t->m;
    size_t n = (size_t)m->decoder.n_layers;
    g->set = tn_params_new(t->ctx, tn_node_dtype(m->target.w));
    g->memory_k = tn_alloc(t->ctx, n * sizeof *g->memory_k);
    g->memory_v = tn_alloc(t->ctx, n * sizeof *g->memory_v);
    g->cache = tn_alloc(t->ctx, n * sizeof *g->cache);
    if (!g->set || !g->memory_k || !g->memory_v || !g->cache) return TN_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        char                    name[32];
        const tn_decoder_layer *l = &m->decoder.layers[i];
        snprintf(name, sizeof name, "%d.memory", (int)i);
        tn_attention_cache memory =
            tn_attention_cache_new(g->set, name, &l->cross, g->rows, g->source);
        snprintf(name, sizeof name, "%d.cache", (int)i);
        g->cache[i] =
            tn_attention_cache_new(g->set, name, &l->self, g->rows, g->length * t->o.beam);
        g->memory_k[i] = memory.k, g->memory_v[i] = memory.v;
        if (!memory.k || !memory.v || !g->cache[i].k || !g->cache[i].v)
            return tn_ctx_status(t->ctx);
    }
    return TN_OK;
}

static group *group_for(tn_translator *t, int64_t rows, int64_t source, int64_t length)
{
    group *oldest = &t->groups[0];
    for (int i = 0; i < N_GROUPS; i++) {
        group *g = &t->groups[i];
        if (g->used && g->rows == rows && g->source == source && g->length == length)
            return g->used = ++t->clock, g;
        if (g->used < oldest->used) oldest = g;
    }
    group_clear(t->ctx, oldest);
    oldest->rows = rows, oldest->source = source, oldest->length = length;
    oldest->used = ++t->clock;
    if (make_caches(t, oldest) == TN_OK && (oldest->step = build_step(t, oldest, t->o.beam)))
        return oldest;
    group_clear(t->ctx, oldest);
    return NULL;
}

/* The group's program for sources of `source` tokens at most. */
static tn_program *encoder_for(tn_translator *t, group *g, int64_t source)
{
    encoder *oldest = &g->encoders[0];
    for (int i = 0; i < N_ENCODERS; i++) {
        encoder *e = &g->encoders[i];
        if (e->program && e->source == source) return e->used = ++t->clock, e->program;
        if (e->used < oldest->used) oldest = e;
    }
    tn_program_free(oldest->program);
    *oldest = (encoder){ source, ++t->clock, build_encode(t, g, source) };
    return oldest->program;
}

/* ---- one group of sentences ------------------------------------------------------------------ */

/* What the host keeps of a group while it is translated. */
typedef struct search {
    int64_t   n, k, length;
    int64_t   rows;    /* of the caches now */
    tn__beam *beams;   /* [n] */
    int64_t  *index;   /* [n]: which source */
    int64_t  *slot;    /* [rows]: which of the n; -1: none */
    double   *log_prob, *room;
    tn__ended *ended;
    int32_t  *token, *parent; /* [n, length, k] */
    int32_t  *source;         /* [n]: lengths */
    int32_t  *ids, *places, *cached, *lengths; /* [rows, k] or [rows]: to be fed */
    uint8_t  *keep_room; /* [k, length k] */
} search;

static void search_clear(tn_ctx *ctx, search *s)
{
    void *blocks[] = { s->beams,  s->index,  s->slot,    s->source,   s->log_prob,
                       s->room,   s->ended,  s->token,   s->parent,   s->ids,
                       s->places, s->cached, s->lengths, s->keep_room };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tn_free(ctx, blocks[i]);
}

static tn_status search_new(const tn_translator *t, search *s)
{
    size_t rows = (size_t)s->rows, k = (size_t)s->k, length = (size_t)s->length;
    s->beams = tn_alloc(t->ctx, rows * sizeof *s->beams);
    s->index = tn_alloc(t->ctx, rows * sizeof *s->index);
    s->slot = tn_alloc(t->ctx, rows * sizeof *s->slot);
    s->source = tn_alloc(t->ctx, rows * sizeof *s->source);
    s->log_prob = tn_alloc(t->ctx, rows * k * sizeof *s->log_prob);
    s->room = tn_alloc(t->ctx, k * sizeof *s->room);
    s->ended = tn_alloc(t->ctx, rows * (size_t)t->o.n_best * sizeof *s->ended);
    s->token = tn_alloc(t->ctx, rows * length * k * sizeof *s->token);
    s->parent = tn_alloc(t->ctx, rows * length * k * sizeof *s->parent);
    s->ids = tn_alloc(t->ctx, rows * k * sizeof *s->ids);
    s->places = tn_alloc(t->ctx, rows * k * sizeof *s->places);
    s->cached = tn_alloc(t->ctx, rows * sizeof *s->cached);
    s->lengths = tn_alloc(t->ctx, rows * sizeof *s->lengths);
    s->keep_room = tn_alloc(t->ctx, k * length * k);
    return tn_ctx_status(t->ctx);
}

/* Tokens that a translation of `source` tokens may have, eos not counted. */
static int64_t limit_of(const tn_translator *t, int64_t source)
{
    int64_t extra = t->o.max_extra == TN_NONE ? 0 : t->o.max_extra;
    double  limit = (double)source * t->o.max_ratio + (double)extra;
    int64_t most = t->m->config.max_length - 1;
    return limit < (double)most ? (int64_t)limit : most;
}

static void begin_sentence(const tn_translator *t, search *s, int64_t row, int64_t length)
{
    tn__beam *b = &s->beams[row];
    *b = (tn__beam){ .k = s->k,
                     .n_best = t->o.n_best,
                     .limit = limit_of(t, length),
                     .eos = (int32_t)t->m->config.eos_id,
                     .alpha = t->o.length_penalty > 0 ? t->o.length_penalty : 0,
                     .ended = s->ended + row * t->o.n_best,
                     .log_prob = s->log_prob + row * s->k,
                     .room = s->room,
                     .token = s->token + row * s->length * s->k,
                     .parent = s->parent + row * s->length * s->k };
    for (int64_t j = 1; j < s->k; j++) b->log_prob[j] = -INFINITY;
    s->source[row] = (int32_t)length;
}

static tn_status encode(tn_translator *t, group *g, search *s, int64_t width, const int32_t *ids,
                        const int64_t *at)
{
    tn_program *p = encoder_for(t, g, width);
    int32_t    *source = p ? tn_input_data(p, "source") : NULL;
    if (!source) return tn_ctx_status(t->ctx) ? tn_ctx_status(t->ctx) : TN_ERR_ARG;
    for (int64_t i = 0; i < g->rows; i++) {
        int64_t n = 0;
        s->slot[i] = i < s->n ? i : -1;
        if (i < s->n) {
            int64_t from = at[s->index[i]];
            n = at[s->index[i] + 1] - from;
            memcpy(source + i * width, ids + from, (size_t)n * sizeof *source);
            begin_sentence(t, s, i, n);
        }
        s->lengths[i] = (int32_t)n;
        for (int64_t c = n; c < width; c++)
            source[i * width + c] = (int32_t)t->m->config.pad_id;
    }
    tn_status status =
        tn_feed_name(p, "lengths", s->lengths, (size_t)g->rows * sizeof *s->lengths);
    return status == TN_OK ? tn_run(p) : status;
}

/* The rows of the cache that each beam has come through: those of the beam it was, and its own. */
static void follow_parents(const search *s, const tn__beam *b, int64_t t, uint8_t *keep)
{
    int64_t width = s->length * s->k, used = t * s->k;
    for (int64_t j = 0; j < s->k; j++)
        memcpy(s->keep_room + j * used, keep + j * width, (size_t)used);
    for (int64_t j = 0; j < s->k; j++) {
        int64_t from = t > 0 ? b->parent[(t - 1) * s->k + j] : j;
        memcpy(keep + j * width, s->keep_room + from * used, (size_t)used);
        memset(keep + j * width + used, 0, (size_t)s->k);
        keep[j * width + used + j] = 1;
    }
}

/* The sentence in a row that still goes on, or NULL. */
static const tn__beam *live_beam(const search *s, int64_t row)
{
    const tn__beam *b = s->slot[row] >= 0 ? &s->beams[s->slot[row]] : NULL;
    return b && !b->is_done ? b : NULL;
}

/* p: the group's program for k of the beams. */
static tn_status feed_step(const tn_translator *t, const group *g, tn_program *p, int64_t k,
                           search *s, int64_t step)
{
    uint8_t *keep = s->k > 1 ? tn_input_data(g->step, "keep") : NULL;
    int32_t  position = (int32_t)(step * s->k), bos = (int32_t)t->m->config.bos_id;
    if (s->k > 1 && !keep) return TN_ERR_ARG;
    for (int64_t i = 0; i < s->rows; i++) {
        const tn__beam *b = live_beam(s, i);
        s->cached[i] = b ? position + (int32_t)k : 0;
        s->lengths[i] = b ? s->source[s->slot[i]] : 0;
        if (b && keep) follow_parents(s, b, step, keep + i * s->k * s->length * s->k);
        for (int64_t j = 0; j < k; j++) {
            s->ids[i * k + j] = !b || step == 0 ? bos : b->token[(step - 1) * k + j];
            s->places[i * k + j] = (int32_t)step;
        }
    }
    size_t    each = (size_t)s->rows * sizeof(int32_t);
    tn_status status = tn_feed_name(p, "ids", s->ids, each * (size_t)k);
    if (status == TN_OK) status = tn_feed_name(p, "places", s->places, each * (size_t)k);
    if (status == TN_OK) status = tn_feed_name(p, "position", &position, sizeof position);
    if (status == TN_OK) status = tn_feed_name(p, "cached", s->cached, each);
    return status == TN_OK ? tn_feed_name(p, "lengths", s->lengths, each) : status;
}

static void copy_row(tn_node *to, int64_t to_row, const tn_node *from, int64_t from_row,
                     int64_t rows)
{
    size_t row = tn_variable_bytes(from) / (size_t)rows;
    memcpy((char *)tn_variable_data(to) + (size_t)to_row * row,
           (const char *)tn_variable_data(from) + (size_t)from_row * row, row);
}

/* Moves the sentences that go on to caches with fewer rows. */
static group *shrink(tn_translator *t, group *g, search *s)
{
    int64_t  rows = g->rows / SHRINK, to = 0, mask = s->k * s->length * s->k;
    group   *h = group_for(t, rows, g->source, g->length);
    uint8_t *keep[2] = { h && s->k > 1 ? tn_input_data(h->step, "keep") : NULL,
                         s->k > 1 ? tn_input_data(g->step, "keep") : NULL };
    if (!h) return NULL;
    for (int64_t i = 0; i < s->rows; i++) {
        if (!live_beam(s, i)) continue;
        for (int64_t l = 0; l < t->m->decoder.n_layers; l++) {
            copy_row(h->memory_k[l], to, g->memory_k[l], i, g->rows),
                copy_row(h->memory_v[l], to, g->memory_v[l], i, g->rows);
            copy_row(h->cache[l].k, to, g->cache[l].k, i, g->rows),
                copy_row(h->cache[l].v, to, g->cache[l].v, i, g->rows);
        }
        if (keep[0] && keep[1]) memcpy(keep[0] + to * mask, keep[1] + i * mask, (size_t)mask);
        s->slot[to++] = s->slot[i];
    }
    while (to < rows) s->slot[to++] = -1;
    s->rows = rows;
    return h;
}

static tn_program *first_step(tn_translator *t, group *g)
{
    if (!g->first) g->first = build_step(t, g, 1);
    return g->first;
}

static tn_status run_steps(tn_translator *t, group *g, search *s)
{
    int64_t live = s->n;
    for (int64_t step = 0; live > 0; step++) {
        if (live * SHRINK <= g->rows && g->rows % SHRINK == 0 && !(g = shrink(t, g, s)))
            return tn_ctx_status(t->ctx);
        const int64_t k = step == 0 ? 1 : s->k, width = k * t->n_candidates;
        tn_program   *program = k == s->k ? g->step : first_step(t, g);
        tn_status     status = program ? feed_step(t, g, program, k, s, step)
            : tn_ctx_status(t->ctx);
        if (status == TN_OK) status = tn_run(program);
        if (status != TN_OK) return status;
        const double  *p = tn_output(program, 0);
        const int64_t *id = tn_output(program, 1);
        live = 0;
        for (int64_t i = 0; i < s->rows; i++) {
            if (!live_beam(s, i)) continue;
            tn__beam *b = &s->beams[s->slot[i]];
            tn__beam_advance(b, step, id + i * width, p + i * width, t->n_candidates);
            live += !b->is_done;
        }
    }
    return TN_OK;
}

static tn_status keep_results(tn_translator *t, const search *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        const tn__beam *b = &s->beams[i];
        for (int64_t r = 0; r < b->n_ended; r++) {
            const tn__ended *e = &b->ended[r];
            int32_t         *ids = tn_alloc(t->ctx, ((size_t)e->step + 1) * sizeof *ids);
            if (!ids) return tn_ctx_status(t->ctx);
            tn__beam_trace(b, e, ids);
            t->out[s->index[i] * t->o.n_best + r] =
                (tn_translation){ ids, e->step, e->log_prob, e->score, e->is_cut };
        }
    }
    return TN_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

typedef struct by_length {
    int64_t index, length;
} by_length;

static int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
static int64_t smaller(int64_t x, int64_t y) { return x < y ? x : y; }

/* Room for n tokens: powers of two, so that there are few sets of caches. */
static int64_t room_for(const tn_translator *t, int64_t n)
{
    int64_t room = LEAST_ROOM;
    while (room < n) room *= 2;
    return smaller(room, t->m->config.max_length);
}

static tn_status translate_group(tn_translator *t, const by_length *order, int64_t n,
                                 const int32_t *ids, const int64_t *at)
{
    int64_t source = order[n - 1].length, most = t->m->config.max_length, rows = 1;
    while (rows < n) rows *= 2;
    rows = smaller(rows, t->o.batch);
    int64_t length = room_for(t, limit_of(t, source) + 1);
    source = smaller(round_up(source > 0 ? source : 1, ROUND_SOURCE), most);
    group  *g = group_for(t, rows, room_for(t, source), length);
    if (!g) return tn_ctx_status(t->ctx) ? tn_ctx_status(t->ctx) : TN_ERR_MEMORY;
    search    s = { .rows = rows, .n = n, .k = t->o.beam, .length = length };
    tn_status status = search_new(t, &s);
    for (int64_t i = 0; status == TN_OK && i < n; i++) s.index[i] = order[i].index;
    if (status == TN_OK) status = encode(t, g, &s, source, ids, at);
    if (status == TN_OK) status = run_steps(t, g, &s);
    if (status == TN_OK) status = keep_results(t, &s);
    search_clear(t->ctx, &s);
    return status;
}

/* By length, shortest first: those of a group are done at about the same time. */
static by_length *sort_by_length(const tn_translator *t, const int64_t *at, int64_t n)
{
    int64_t    most = t->m->config.max_length, sum = 0;
    by_length *order = tn_alloc(t->ctx, (size_t)n * sizeof *order);
    int64_t   *count = tn_alloc(t->ctx, ((size_t)most + 2) * sizeof *count);
    for (int64_t i = 0; order && count && i < n; i++) count[at[i + 1] - at[i] + 1]++;
    for (int64_t l = 0; count && l <= most + 1; l++) sum += count[l], count[l] = sum;
    for (int64_t i = 0; order && count && i < n; i++)
        order[count[at[i + 1] - at[i]]++] = (by_length){ i, at[i + 1] - at[i] };
    if (!count) tn_free(t->ctx, order), order = NULL;
    tn_free(t->ctx, count);
    return order;
}

static void drop_results(tn_translator *t)
{
    for (int64_t i = 0; i < t->n_out; i++) tn_free(t->ctx, (void *)t->out[i].ids);
    tn_free(t->ctx, t->out);
    t->out = NULL, t->n_out = 0;
}

static tn_status check_sources(const tn_translator *t, const int32_t *ids, const int64_t *at,
                               int64_t n)
{
    if (n < 0 || (n > 0 && (!ids || !at)))
        return tn_fail(t->ctx, TN_ERR_ARG, "tn_translate: no sources are given");
    for (int64_t i = 0; i < n; i++) {
        int64_t length = at[i + 1] - at[i];
        if (at[i] < 0)
            return tn_fail(t->ctx, TN_ERR_ARG, "tn_translate: source %lld is at %lld", (long long)i,
                           (long long)at[i]);
        if (length < 0 || length > t->m->config.max_length)
            return tn_fail(
                t->ctx, TN_ERR_ARG,
                "tn_translate: source %lld has %lld tokens; the model has %lld positions",
                (long long)i, (long long)length, (long long)t->m->config.max_length);
    }
    return TN_OK;
}

const tn_translation *tn_translate(tn_translator *t, const int32_t *ids, const int64_t *at,
                                   int64_t n)
{
    if (!t || check_sources(t, ids, at, n) != TN_OK) return NULL;
    drop_results(t);
    t->out = tn_alloc(t->ctx, (size_t)(n * t->o.n_best + 1) * sizeof *t->out);
    by_length *order = sort_by_length(t, at, n);
    tn_status  status = t->out && order ? TN_OK : tn_ctx_status(t->ctx);
    if (t->out) t->n_out = n * t->o.n_best;
    if (status == TN_OK && !t->o.is_fixed) status = tn_panels_update(t->panels);
    for (int64_t i = 0; i < t->n_out; i++) t->out[i].score = t->out[i].log_prob = -INFINITY;
    for (int64_t i = 0; status == TN_OK && i < n; i += t->o.batch)
        status = translate_group(t, order + i, smaller(t->o.batch, n - i), ids, at);
    tn_free(t->ctx, order);
    return status == TN_OK ? t->out : NULL;
}

static tn_status check_options(tn_ctx *ctx, tn_translate_options *o)
{
    if (o->beam == 0) o->beam = 1;
    if (o->n_best == 0) o->n_best = 1;
    if (o->length_penalty == 0) o->length_penalty = 0.6;
    if (o->max_ratio == 0) o->max_ratio = 2;
    if (o->max_extra == 0) o->max_extra = 10;
    if (o->batch == 0) o->batch = 32;
    if (o->beam < 1 || o->beam > MAX_BEAM)
        return tn_fail(ctx, TN_ERR_ARG, "tn_translator_new: beam %lld is not in [1, %d]",
                       (long long)o->beam, MAX_BEAM);
    if (o->n_best < 1 || o->n_best > o->beam)
        return tn_fail(ctx, TN_ERR_ARG,
                       "tn_translator_new: n_best %lld is not in [1, %lld], the beam",
                       (long long)o->n_best, (long long)o->beam);
    if (!(o->max_ratio >= 0 && o->max_ratio < 1e6) || o->max_extra < TN_NONE || o->batch < 1 ||
        !(o->length_penalty == TN_NONE || (o->length_penalty > 0 && o->length_penalty < 100)))
        return tn_fail(
            ctx, TN_ERR_ARG,
            "tn_translator_new: length_penalty %g, max_ratio %g, max_extra %lld, batch %lld: "
            "one is negative or too large",
            o->length_penalty, o->max_ratio, (long long)o->max_extra, (long long)o->batch);
    return TN_OK;
}

tn_translator *tn_translator_new(const tn_transformer *m, const tn_translate_options *options)
{
    tn_translate_options o = options ? *options : (tn_translate_options){ 0 };
    if (!m || check_options(m->ctx, &o) != TN_OK) return NULL;
    tn_translator *t = tn_alloc(m->ctx, sizeof *t);
    if (!t) return NULL;
    t->m = m, t->ctx = m->ctx, t->o = o;
    t->n_candidates = smaller(2 * o.beam, m->config.tgt_vocab);
    t->arena = tn_arena_new(m->ctx), t->panels = tn_panels_new(m->ctx);
    if (t->arena && t->panels) return t;
    tn_translator_free(t);
    return NULL;
}

void tn_translator_free(tn_translator *t)
{
    if (!t) return;
    for (int i = 0; i < N_GROUPS; i++) group_clear(t->ctx, &t->groups[i]);
    tn_panels_free(t->panels);
    tn_arena_free(t->arena);
    drop_results(t);
    tn_free(t->ctx, t);
}
