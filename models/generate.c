/* Generating: programs of fixed shapes over caches in variables, and drawing on the host.
 *
 * The prompt goes through the model once, in pieces of a few lengths, with caches of one row, which
 * are then copied for each continuation. After that one program is run for each token. What it
 * draws from are softmax's probabilities in f64, and which number is drawn depends on the seed, the
 * call, the continuation and its token alone. */
#include "models/generate.h"

#include "tensor/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 1024, ROUND_LENGTH = 64, N_PIECES = 3 };
static const int64_t piece_lengths[N_PIECES] = { 128, 16, 1 }; /* tokens of a prompt at a time */

/* Caches of some rows, and the programs that go with them. */
typedef struct stream {
    int64_t             rows;
    tn_params          *set;   /* of the caches */
    tn_attention_cache *cache; /* [n_layers]: [rows, length, h, dh] */
    tn_program         *piece[N_PIECES], *step;
} stream;

/* A token that may be drawn. */
typedef struct candidate {
    double  p;
    int32_t id;
} candidate;

struct tn_generator {
    const tn_gpt       *m;
    tn_ctx             *ctx;
    tn_generate_options o;
    tn_arena           *arena;
    int64_t             length;      /* positions that the caches have room for */
    stream              prompt, all; /* of one row; of all continuations */
    int64_t             calls;
    candidate          *candidates;  /* [vocab] */
    tn_generation      *out;         /* [n]; their ids are in one block */
    int32_t            *ids, *now;   /* [n, max_tokens]; [n]: the token that is fed */
};

/* ---- programs -------------------------------------------------------------------------------- */

/* x [rows, t, d] behind what the caches hold. */
static tn_node *blocks(const tn_generator *g, const stream *s, tn_node *x, tn_node *position)
{
    const tn_encoder *e = &g->m->blocks;
    for (int64_t i = 0; i < e->n_layers; i++) {
        const tn_encoder_layer *l = &e->layers[i];
        tn_node *h = tn_block_before(&l->norm1, l->is_post_norm, x);
        h = tn_attention_decode(&l->self, h, &s->cache[i], position, NULL, NULL);
        x = tn_block_after(&l->norm1, l->is_post_norm, x, h, 0);
        h = tn_feed_forward_apply(&l->ff, tn_block_before(&l->norm2, l->is_post_norm, x));
        x = tn_block_after(&l->norm2, l->is_post_norm, x, h, 0);
    }
    return e->norm.gamma ? tn_norm_apply(&e->norm, x) : x;
}

/* Takes t ids of each row. Gives what the last one leads to: with_token, the probabilities of the
 * next token at the temperature, and their logarithms at 1, [rows, vocab] in f64. */
static tn_program *build(const tn_generator *g, const stream *s, int64_t t, bool with_token)
{
    tn_graph *graph = tn_graph_new(g->ctx, TN_EVAL);
    tn_node  *ids = tn_input(graph, "ids", TN_I32, TN_SHAPE(s->rows, t));
    tn_node  *places = tn_input(graph, "places", TN_I32, TN_SHAPE(s->rows, t));
    tn_node  *position = tn_input(graph, "position", TN_I32, TN_SCALAR);
    tn_node  *x = tn_embedding_apply(&g->m->embedding, ids);
    x = blocks(g, s, tn_positions_apply(&g->m->positions, x, places), position);
    tn_node *out[2] = { tn_select(x, 1, t - 1), NULL };
    if (with_token) {
        tn_node *logits = tn_cast(tn_gpt_logits(g->m, out[0]), TN_F64);
        double   temperature = g->o.temperature == TN_NONE ? 1 : g->o.temperature;
        out[0] = tn_softmax(tn_scale(logits, 1 / temperature), -1);
        out[1] = tn_log_softmax(logits, -1);
    }
    const bool  is_whole = out[0] && (out[1] || !with_token);
    tn_program *p = is_whole ? tn_compile(graph, out, with_token ? 2 : 1,
                                          &(tn_compile_options){ .arena = g->arena })
                             : NULL;
    tn_graph_free(graph);
    return p;
}

static void stream_clear(tn_ctx *ctx, stream *s)
{
    for (int i = 0; i < N_PIECES; i++) tn_program_free(s->piece[i]);
    tn_program_free(s->step), tn_params_free(s->set), tn_free(ctx, s->cache);
    *s = (stream){ 0 };
}

static tn_status stream_new(tn_generator *g, stream *s, int64_t rows)
{
    const tn_encoder *e = &g->m->blocks;
    s->rows = rows;
    s->set = tn_params_new(g->ctx, tn_node_dtype(g->m->embedding.w));
    s->cache = tn_alloc(g->ctx, (size_t)e->n_layers * sizeof *s->cache);
    if (!s->set || !s->cache) return tn_ctx_status(g->ctx);
    for (int64_t i = 0; i < e->n_layers; i++) {
        char name[32];
        snprintf(name, sizeof name, "%lld", (long long)i);
        s->cache[i] = tn_attention_cache_new(s->set, name, &e->layers[i].self, rows, g->length);
        if (!s->cache[i].k || !s->cache[i].v) return tn_ctx_status(g->ctx);
    }
    s->step = build(g, s, 1, true);
    return s->step ? TN_OK : tn_ctx_status(g->ctx);
}

/* Caches for so many positions. */
static tn_status make_room(tn_generator *g, int64_t length)
{
    const int64_t most = g->m->config.max_length;
    if (length <= g->length) return TN_OK;
    length = (length + ROUND_LENGTH - 1) / ROUND_LENGTH * ROUND_LENGTH;
    if (length < 2 * g->length) length = 2 * g->length; /* seldom again */
    stream_clear(g->ctx, &g->prompt), stream_clear(g->ctx, &g->all);
    g->length = length < most ? length : most;
    tn_status s = stream_new(g, &g->prompt, 1);
    if (s == TN_OK && g->o.n > 1) s = stream_new(g, &g->all, g->o.n);
    if (s != TN_OK) g->length = 0;
    return s;
}

/* ---- running --------------------------------------------------------------------------------- */

/* n ids for a program that takes `all` of them from a position on: of each row one, or of one row
 * n and then zeros. What those leave in the cache lies behind all that is attended to, and is
 * overwritten. */
static tn_status run(const tn_generator *g, const stream *s, tn_program *p, const int32_t *ids,
                     int64_t n, int64_t all, int64_t position)
{
    const int64_t last = g->m->config.max_length - 1;
    int32_t      *places = tn_input_data(p, "places"), *to = tn_input_data(p, "ids");
    int32_t      *at = tn_input_data(p, "position");
    if (!places || !to || !at) return tn_fail(g->ctx, TN_ERR_ARG, "tn_generate: an input is gone");
    *at = (int32_t)position;
    for (int64_t i = 0; i < all; i++) {
        const int64_t place = s->rows == 1 ? position + i : position;
        to[i] = i < n ? ids[i] : 0;
        places[i] = (int32_t)(place < last ? place : last);
    }
    return tn_run(p);
}

/* All of the prompt but its last token, into caches of one row. */
static tn_status read_prompt(tn_generator *g, const int32_t *prompt, int64_t n)
{
    stream   *s = &g->prompt;
    tn_status status = TN_OK;
    for (int64_t at = 0; status == TN_OK && at < n - 1;) {
        const int64_t left = n - 1 - at;
        int           k = 0;
        while (k < N_PIECES - 1 &&
               (piece_lengths[k] >= 2 * left || at + piece_lengths[k] > g->length))
            k++;
        const int64_t all = piece_lengths[k], some = all < left ? all : left;
        if (!s->piece[k] && !(s->piece[k] = build(g, s, all, false))) return tn_ctx_status(g->ctx);
        status = run(g, s, s->piece[k], prompt + at, some, all, at);
        at += some;
    }
    return status;
}

/* The first n positions of the prompt's caches, to each row. */
static void copy_caches(const tn_generator *g, int64_t n)
{
    for (int64_t i = 0; i < g->m->blocks.n_layers; i++) {
        const tn_node *from[2] = { g->prompt.cache[i].k, g->prompt.cache[i].v };
        tn_node       *to[2] = { g->all.cache[i].k, g->all.cache[i].v };
        for (int k = 0; k < 2; k++) {
            const size_t row = tn_variable_bytes(from[k]);
            for (int64_t r = 0; r < g->o.n; r++)
                memcpy((char *)tn_variable_data(to[k]) + (size_t)r * row,
                       tn_variable_data(from[k]), row / (size_t)g->length * (size_t)n);
        }
    }
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* Likeliest first; of equals, the lower id. */
static int by_probability(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static int32_t likeliest(const double *p, int64_t vocab)
{
    int64_t best = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (p[i] > p[best]) best = i;
    return (int32_t)best;
}

/* The tokens that may be drawn, and what their probabilities sum to. Those below (1 - top_p) /
 * vocab are in no nucleus: all of them together have less than 1 - top_p. Of top_k only so many are
 * kept that sorting them now and then is cheap. */
static int64_t choose(const tn_generator *g, const double *p, double *sum)
{
    const int64_t vocab = g->m->config.vocab;
    const int64_t most = g->o.top_k && g->o.top_k < vocab ? g->o.top_k : vocab;
    double        least = g->o.top_k ? 0 : (1 - g->o.top_p) / (double)vocab; /* of what may count */
    int64_t       n = 0;
    for (int64_t i = 0; i < vocab; i++) {
        if (!(p[i] > least)) continue;
        g->candidates[n++] = (candidate){ p[i], (int32_t)i };
        if (n < 2 * most) continue;
        qsort(g->candidates, (size_t)n, sizeof *g->candidates, by_probability);
        n = most, least = g->candidates[n - 1].p;
    }
    if (g->o.top_k || g->o.top_p < 1)
        qsort(g->candidates, (size_t)n, sizeof *g->candidates, by_probability);
    if (n > most) n = most;
    double all = 1; /* of what may be in the nucleus */
    if (g->o.top_k || g->o.top_p == 1) {
        all = 0;
        for (int64_t i = 0; i < n; i++) all += g->candidates[i].p;
    }
    *sum = all;
    if (g->o.top_p == 1) return n;
    const double enough = g->o.top_p * all;
    int64_t      taken = 0;
    for (*sum = 0; taken < n && (taken == 0 || *sum < enough); taken++)
        *sum += g->candidates[taken].p;
    return taken;
}

/* Token t of continuation i. */
static int32_t draw(const tn_generator *g, const double *p, int64_t i, int64_t t)
{
    const tn_rng rng = { .seed = g->o.seed ? g->o.seed : tn_ctx_seed(g->ctx),
                         .stream = tn_hash_text((uint64_t)i, "generate"),
                         .run = (uint64_t)g->calls };
    double       sum, at, uniform;
    if (g->o.temperature == TN_NONE) return likeliest(p, g->m->config.vocab);
    const int64_t n = choose(g, p, &sum);
    tn_random_uniform(rng, t, 1, TN_F64, &uniform, 0, 1);
    if (n == 0) return likeliest(p, g->m->config.vocab); /* of numbers that are none */
    at = uniform * sum;
    for (int64_t k = 0; k < n - 1; k++) {
        if (at < g->candidates[k].p) return g->candidates[k].id;
        at -= g->candidates[k].p;
    }
    return g->candidates[n - 1].id;
}

/* Adds the next token of each continuation that goes on. Returns how many still do; -1, with the
 * error in the context: what was drawn has no probability, of logits that are infinite or NaN. */
static int64_t take_tokens(tn_generator *g, const tn_program *step, int64_t limit)
{
    const int64_t vocab = g->m->config.vocab;
    const double *p = tn_output(step, 0), *log_p = tn_output(step, 1);
    int64_t       live = 0;
    for (int64_t i = 0; i < g->o.n; i++) {
        tn_generation *y = &g->out[i];
        if (!y->is_cut) continue; /* it has ended: until then it counts as cut */
        const int32_t id = draw(g, p + i * vocab, i, y->n);
        if (!(p[i * vocab + id] > 0)) {
            tn_fail(g->ctx, TN_ERR_ARG,
                    "tn_generate: the scores of token %lld are not finite, with these weights",
                    (long long)y->n);
            return -1;
        }
        g->now[i] = id;
        y->log_prob += log_p[i * vocab + id];
        y->is_cut = !(g->o.has_end && id == g->o.end);
        if (!y->is_cut) continue;
        g->ids[i * g->o.max_tokens + y->n++] = id;
        live += y->n < limit;
    }
    return live;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static tn_status complete(tn_ctx *ctx, const tn_gpt *m, tn_generate_options *o)
{
    if (o->n == 0) o->n = 1;
    if (o->max_tokens == 0) o->max_tokens = 64;
    if (o->max_tokens > m->config.max_length) o->max_tokens = m->config.max_length;
    if (o->temperature == 0) o->temperature = 1;
    if (o->top_p == 0) o->top_p = 1;
    if (o->n < 1 || o->n > MOST_ROWS || o->max_tokens < 1)
        return tn_fail(ctx, TN_ERR_ARG, "tn_generator_new: %lld continuations of %lld tokens",
                       (long long)o->n, (long long)o->max_tokens);
    const bool is_scale = o->temperature > 0 && o->temperature < INFINITY;
    if (!(is_scale && 1 / o->temperature < INFINITY) && o->temperature != TN_NONE)
        return tn_fail(ctx, TN_ERR_ARG, "tn_generator_new: the temperature is %g", o->temperature);
    if (o->top_k < 0 || !(o->top_p > 0 && o->top_p <= 1))
        return tn_fail(ctx, TN_ERR_ARG, "tn_generator_new: top_k is %lld, top_p %g",
                       (long long)o->top_k, o->top_p);
    return TN_OK;
}

tn_generator *tn_generator_new(const tn_gpt *m, const tn_generate_options *options)
{
    tn_generate_options o = options ? *options : (tn_generate_options){ 0 };
    if (!m || complete(m->ctx, m, &o) != TN_OK) return NULL;
    tn_generator *g = tn_alloc(m->ctx, sizeof *g);
    if (!g) return NULL;
    g->m = m, g->ctx = m->ctx, g->o = o;
    g->arena = tn_arena_new(m->ctx);
    g->candidates = tn_alloc(m->ctx, (size_t)m->config.vocab * sizeof *g->candidates);
    g->out = tn_alloc(m->ctx, (size_t)o.n * sizeof *g->out);
    g->ids = tn_alloc(m->ctx, (size_t)(o.n * o.max_tokens) * sizeof *g->ids);
    g->now = tn_alloc(m->ctx, (size_t)o.n * sizeof *g->now);
    if (g->arena && g->candidates && g->out && g->ids && g->now) return g;
    tn_generator_free(g);
    return NULL;
}

void tn_generator_free(tn_generator *g)
{
    if (!g) return;
    stream_clear(g->ctx, &g->prompt), stream_clear(g->ctx, &g->all);
    tn_free(g->ctx, g->candidates), tn_free(g->ctx, g->out), tn_free(g->ctx, g->ids);
    tn_free(g->ctx, g->now);
    tn_arena_free(g->arena);
    tn_free(g->ctx, g);
}

static tn_status check_prompt(const tn_generator *g, const int32_t *prompt, int64_t n)
{
    if (!prompt || n < 1 || n > g->m->config.max_length)
        return tn_fail(g->ctx, TN_ERR_ARG,
                       "tn_generate: a prompt of %lld tokens is not in [1, %lld]",
                       prompt ? (long long)n : 0, (long long)g->m->config.max_length);
    for (int64_t i = 0; i < n; i++)
        if (prompt[i] < 0 || prompt[i] >= g->m->config.vocab)
            return tn_fail(g->ctx, TN_ERR_ARG, "tn_generate: prompt[%lld] is %d, not in [0, %lld)",
                           (long long)i, (int)prompt[i], (long long)g->m->config.vocab);
    return TN_OK;
}

const tn_generation *tn_generate(tn_generator *g, const int32_t *prompt, int64_t n)
{
    if (!g || check_prompt(g, prompt, n) != TN_OK) return NULL;
    const int64_t room = g->m->config.max_length - n + 1; /* the last token is not fed */
    const int64_t limit = g->o.max_tokens < room ? g->o.max_tokens : room;
    if (make_room(g, n + limit - 1) != TN_OK || read_prompt(g, prompt, n) != TN_OK) return NULL;
    const stream *s = g->o.n > 1 ? &g->all : &g->prompt;
    if (g->o.n > 1) copy_caches(g, n - 1);
    for (int64_t i = 0; i < g->o.n; i++) {
        g->now[i] = prompt[n - 1];
        g->out[i] = (tn_generation){ .ids = g->ids + i * g->o.max_tokens, .is_cut = true };
    }
    int64_t live = g->o.n;
    for (int64_t t = 0; live > 0; t++) {
        if (run(g, s, s->step, g->now, g->o.n, g->o.n, n - 1 + t) != TN_OK) return NULL;
        live = take_tokens(g, s->step, limit);
    }
    if (live < 0) return NULL;
    g->calls++;
    return g->out;
}
