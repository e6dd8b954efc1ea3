/* Translating one group of sentences: what the host does between the runs of its programs. As
 * sentences end, the others close ranks in the caches, and steps are of fewer rows. */
#include "models/decode_group.h"

#include "tensor/internal.h"

#include <math.h>
#include <string.h>

enum { ROUND_SOURCE = 4, LEAST_ROOM = 32, LEAST_BEAMS = 8 };

/* What the host keeps of a group while it is translated. */
typedef struct search {
    int64_t   n, k, length;
    int64_t   rows;    /* of the caches that steps are of */
    tn__beam *beams;   /* [n] */
    int64_t  *index;   /* [n]: which source */
    int64_t  *slot;    /* [rows]: which of the n; -1: none */
    double   *log_prob, *room;
    tn__ended *ended;
    int32_t  *token, *parent; /* [n, length, k] */
    int32_t  *source;         /* [n]: lengths */
    int32_t  *ids, *places, *cached, *lengths; /* [rows, k] or [rows]: to be fed */
    uint8_t  *keep;           /* [rows, k, length k]; NULL: of one beam */
    uint8_t  *keep_room;      /* [k, length k] */
} search;

static void search_clear(tn_ctx *ctx, search *s)
{
    void *blocks[] = { s->beams,  s->index,  s->slot,    s->source,   s->log_prob,
                       s->room,   s->ended,  s->token,   s->parent,   s->ids,
                       s->places, s->cached, s->lengths, s->keep,    s->keep_room };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tn_free(ctx, blocks[i]);
}

static tn_status search_new(const tn__decoder *d, search *s)
{
    size_t rows = (size_t)s->rows, k = (size_t)s->k, length = (size_t)s->length;
    s->beams = tn_alloc(d->ctx, rows * sizeof *s->beams);
    s->index = tn_alloc(d->ctx, rows * sizeof *s->index);
    s->slot = tn_alloc(d->ctx, rows * sizeof *s->slot);
    s->source = tn_alloc(d->ctx, rows * sizeof *s->source);
    s->log_prob = tn_alloc(d->ctx, rows * k * sizeof *s->log_prob);
    s->room = tn_alloc(d->ctx, k * sizeof *s->room);
    s->ended = tn_alloc(d->ctx, rows * (size_t)d->o.n_best * sizeof *s->ended);
    s->token = tn_alloc(d->ctx, rows * length * k * sizeof *s->token);
    s->parent = tn_alloc(d->ctx, rows * length * k * sizeof *s->parent);
    s->ids = tn_alloc(d->ctx, rows * k * sizeof *s->ids);
    s->places = tn_alloc(d->ctx, rows * k * sizeof *s->places);
    s->cached = tn_alloc(d->ctx, rows * sizeof *s->cached);
    s->lengths = tn_alloc(d->ctx, rows * sizeof *s->lengths);
    if (k > 1) s->keep = tn_alloc(d->ctx, rows * k * length * k);
    s->keep_room = tn_alloc(d->ctx, k * length * k);
    const void *all[] = { s->beams, s->index, s->slot, s->source, s->log_prob, s->room, s->ended,
                          s->token, s->parent, s->ids, s->places, s->cached, s->lengths,
                          k > 1 ? s->keep : s->keep_room, s->keep_room };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i]) return tn_ctx_status(d->ctx);
    return TN_OK; /* an older error may stand */
}

/* Tokens that a translation of `source` tokens may have, eos not counted. */
static int64_t limit_of(const tn__decoder *d, int64_t source)
{
    int64_t extra = d->o.max_extra == TN_NONE ? 0 : d->o.max_extra;
    double  limit = (double)source * d->o.max_ratio + (double)extra;
    int64_t most = d->m->config.max_length - 1;
    return limit < (double)most ? (int64_t)limit : most;
}

static void begin_sentence(const tn__decoder *d, search *s, int64_t row, int64_t length)
{
    tn__beam *b = &s->beams[row];
    *b = (tn__beam){ .k = s->k,
                     .n_best = d->o.n_best,
                     .limit = limit_of(d, length),
                     .eos = (int32_t)d->m->config.eos_id,
                     .alpha = d->o.length_penalty > 0 ? d->o.length_penalty : 0,
                     .ended = s->ended + row * d->o.n_best,
                     .log_prob = s->log_prob + row * s->k,
                     .room = s->room,
                     .token = s->token + row * s->length * s->k,
                     .parent = s->parent + row * s->length * s->k };
    for (int64_t j = 1; j < s->k; j++) b->log_prob[j] = -INFINITY;
    s->source[row] = (int32_t)length;
}

static tn_status encode(tn__decoder *d, tn__decode_group *g, search *s, int64_t width,
                        const int32_t *ids, const int64_t *at)
{
    tn_program *p = tn__decode_encoder_for(d, g, s->rows, width);
    int32_t    *source = p ? tn_input_data(p, "source") : NULL;
    if (!source) return tn_ctx_status(d->ctx) ? tn_ctx_status(d->ctx) : TN_ERR_ARG;
    for (int64_t i = 0; i < s->rows; i++) {
        int64_t n = 0;
        s->slot[i] = i < s->n ? i : -1;
        if (i < s->n) {
            int64_t from = at[s->index[i]];
            n = at[s->index[i] + 1] - from;
            memcpy(source + i * width, ids + from, (size_t)n * sizeof *source);
            begin_sentence(d, s, i, n);
        }
        s->lengths[i] = (int32_t)n;
        for (int64_t c = n; c < width; c++)
            source[i * width + c] = (int32_t)d->m->config.pad_id;
    }
    tn_status status =
        tn_feed_name(p, "lengths", s->lengths, (size_t)s->rows * sizeof *s->lengths);
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

/* What of keep is a sentence's. */
static size_t keep_size(const search *s) { return (size_t)(s->k * s->length * s->k); }

/* p: the group's program for k of the beams. */
static tn_status feed_step(const tn__decoder *d, tn_program *p, int64_t k, search *s, int64_t step)
{
    int32_t position = (int32_t)(step * s->k), bos = (int32_t)d->m->config.bos_id;
    for (int64_t i = 0; i < s->rows; i++) {
        const tn__beam *b = live_beam(s, i);
        s->cached[i] = b ? position + (int32_t)k : 0;
        s->lengths[i] = b ? s->source[s->slot[i]] : 0;
        if (b && s->keep) follow_parents(s, b, step, s->keep + (size_t)i * keep_size(s));
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
    if (status == TN_OK && k > 1)
        status = tn_feed_name(p, "keep", s->keep, (size_t)s->rows * keep_size(s));
    return status == TN_OK ? tn_feed_name(p, "lengths", s->lengths, each) : status;
}

static int64_t smaller(int64_t x, int64_t y) { return x < y ? x : y; }

/* Rows of the caches that steps for so many sentences are of: few different ones, as each has a
 * program; and not so few that a step takes as long as the weights take to pass by. */
static int64_t rows_for(int64_t live, int64_t k, int64_t most)
{
    int64_t rows = 1;
    while (rows < live || rows * k < LEAST_BEAMS) rows *= 2;
    if (rows % 16 == 0 && live <= rows / 4 * 3) rows = rows / 4 * 3;
    return smaller(rows, most);
}

/* A row of a cache has room for so many tokens, of which `used` are there. */
static void copy_row(const tn_node *cache, int64_t to, int64_t from, int64_t room, int64_t used)
{
    const size_t row = tn_variable_bytes(cache) / (size_t)tn_node_shape(cache).dim[0];
    char        *data = tn_variable_data(cache);
    memcpy(data + (size_t)to * row, data + (size_t)from * row,
           row / (size_t)room * (size_t)used);
}

/* The sentence of row `from` goes on in row `to`, after `steps` steps. */
static void move_sentence(const tn__decoder *d, const tn__decode_group *g, search *s, int64_t to,
                          int64_t from, int64_t steps)
{
    const int64_t source = s->source[s->slot[from]];
    for (int64_t l = 0; l < d->m->decoder.n_layers; l++) {
        copy_row(g->memory_k[l], to, from, g->source, source);
        copy_row(g->memory_v[l], to, from, g->source, source);
        copy_row(g->cache[l].k, to, from, g->length, steps);
        copy_row(g->cache[l].v, to, from, g->length, steps);
    }
    const size_t keep = keep_size(s);
    if (s->keep) memcpy(s->keep + (size_t)to * keep, s->keep + (size_t)from * keep, keep);
    s->slot[to] = s->slot[from];
}

/* Those behind the first `rows` rows that go on take the places of others that do not. */
static void close_ranks(const tn__decoder *d, const tn__decode_group *g, search *s, int64_t rows,
                        int64_t steps)
{
    int64_t to = 0;
    for (int64_t from = rows; from < s->rows; from++) {
        if (!live_beam(s, from)) continue;
        while (live_beam(s, to)) to++;
        move_sentence(d, g, s, to, from, steps);
    }
    s->rows = rows;
}

/* Not TN_OK where another of those that work at once has failed, or all are to be cancelled. */
static tn_status go_on(const tn__decoder *d)
{
    const tn_status status = d->status ? (tn_status)atomic_load(d->status) : TN_OK;
    if (status == TN_OK && d->status && tn__ctx_cancelled(d->m->ctx))
        tn_cancel(d->ctx); /* which the next run, and there is one, finds */
    return status;
}

TN_COLD static tn_status not_finite(const tn__decoder *d, int64_t source)
{
    return tn_fail(d->ctx, TN_ERR_ARG, "tn_translate: source %lld: the scores of its tokens are"
                   " not finite, with these weights", (long long)source);
}

static tn_status run_steps(tn__decoder *d, tn__decode_group *g, search *s)
{
    int64_t live = s->n;
    for (int64_t step = 0; live > 0; step++) {
        const int64_t rows = rows_for(live, s->k, g->rows);
        if (rows < s->rows) close_ranks(d, g, s, rows, step);
        const int64_t k = step == 0 ? 1 : s->k, width = k * d->n_candidates;
        tn_program   *program = tn__decode_step_for(d, g, s->rows, k);
        tn_status     status = program ? feed_step(d, program, k, s, step)
            : tn_ctx_status(d->ctx);
        if (status == TN_OK) status = go_on(d);
        if (status == TN_OK) status = tn_run(program);
        if (status != TN_OK) return status;
        const double  *p = tn_output(program, 0);
        const int64_t *id = tn_output(program, 1);
        live = 0;
        for (int64_t i = 0; i < s->rows; i++) {
            if (!live_beam(s, i)) continue;
            tn__beam *b = &s->beams[s->slot[i]];
            if (!tn__beam_advance(b, step, id + i * width, p + i * width, d->n_candidates))
                return not_finite(d, s->index[s->slot[i]]);
            live += !b->is_done;
        }
    }
    return TN_OK;
}

static tn_status keep_results(const tn__decoder *d, const search *s, tn_translation *out)
{
    for (int64_t i = 0; i < s->n; i++) {
        const tn__beam *b = &s->beams[i];
        for (int64_t r = 0; r < b->n_ended; r++) {
            const tn__ended *e = &b->ended[r];
            int32_t         *ids = tn_alloc(d->m->ctx, ((size_t)e->step + 1) * sizeof *ids);
            if (!ids) return tn_ctx_status(d->m->ctx);
            tn__beam_trace(b, e, ids);
            out[s->index[i] * d->o.n_best + r] =
                (tn_translation){ ids, e->step, e->log_prob, e->score, e->is_cut };
        }
    }
    return TN_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

/* Room for n tokens: powers of two, so that there are few sets of caches. */
static int64_t room_for(const tn__decoder *d, int64_t n)
{
    int64_t room = LEAST_ROOM;
    while (room < n) room *= 2;
    return smaller(room, d->m->config.max_length);
}

tn_status tn__decode_sources(tn__decoder *d, const tn__decode_source *order, int64_t n,
                             const int32_t *ids, const int64_t *at, tn_translation *out)
{
    int64_t source = order[n - 1].length, most = d->m->config.max_length, rows = 1;
    while (rows < n) rows *= 2;
    rows = smaller(rows, d->o.batch);
    int64_t length = room_for(d, limit_of(d, source) + 1);
    source = smaller(round_up(source > 0 ? source : 1, ROUND_SOURCE), most);
    tn__decode_group *g = tn__decode_group_for(d, rows, room_for(d, source), length);
    if (!g) return tn_ctx_status(d->ctx) ? tn_ctx_status(d->ctx) : TN_ERR_MEMORY;
    search    s = { .rows = rows_for(n, d->o.beam, rows), .n = n, .k = d->o.beam,
                    .length = length };
    tn_status status = search_new(d, &s);
    for (int64_t i = 0; status == TN_OK && i < n; i++) s.index[i] = order[i].index;
    if (status == TN_OK) status = encode(d, g, &s, source, ids, at);
    if (status == TN_OK) status = run_steps(d, g, &s);
    if (status == TN_OK) status = keep_results(d, &s, out);
    search_clear(d->ctx, &s);
    return status;
}
