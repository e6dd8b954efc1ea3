/* Translating: sources by length, in groups, which are decoded one after the other with all
 * threads, or several at once with some threads each (decode_group.c says how a group is decoded,
 * decode_programs.c what runs then). What comes of a group is the same either way. */
#include "models/decode_group.h"

#include "tensor/internal.h"

#include <math.h>

/* Batches that are small enough are one larger batch: a step of so few rows takes as long as the
 * weights take to pass by, which parts would each wait for. */
enum { MAX_BEAM = 32, AT_ONCE = 4, MERGED_MOST = 16 /* rows of a step */ };

struct tn_translator {
    const tn_transformer *m;
    tn_ctx               *ctx;
    tn_translate_options  o;
    tn_panels            *panels;
    tn_params            *tables; /* of positions, where they are not learned */
    tn__decoder          *whole; /* with all threads */
    tn__decoder         **parts; /* [at_once], each with a part of the context; NULL: not yet */
    tn_translation       *out;   /* of the last call */
    int64_t               n_out;
};

/* ---- decoders -------------------------------------------------------------------------------- */

static void decoder_free(tn__decoder *d)
{
    if (!d) return;
    tn_ctx *ctx = d->ctx, *whole = d->m->ctx;
    tn__decode_groups_clear(d);
    tn_arena_free(d->arena);
    if (ctx != whole) tn_ctx_free(ctx);
    tn_free(whole, d);
}

/* With so many threads of the context; 0: with the context itself. */
static tn__decoder *decoder_new(const tn_translator *t, int threads)
{
    tn__decoder *d = tn_alloc(t->ctx, sizeof *d);
    tn_ctx      *ctx = d && threads ? tn__ctx_part(t->ctx, threads) : t->ctx;
    if (!d || !ctx) {
        tn_free(t->ctx, d);
        return NULL;
    }
    d->m = t->m, d->ctx = ctx, d->o = t->o, d->panels = t->panels;
    d->positions = tn_params_at(t->tables, 0);
    d->n_candidates = 2 * t->o.beam;
    if (d->n_candidates > t->m->config.tgt_vocab) d->n_candidates = t->m->config.tgt_vocab;
    d->arena = tn_arena_new(ctx);
    if (d->arena) return d;
    decoder_free(d);
    return NULL;
}

static tn_status make_parts(tn_translator *t)
{
    if (!t->parts) t->parts = tn_alloc(t->ctx, (size_t)t->o.at_once * sizeof *t->parts);
    for (int64_t i = 0; t->parts && i < t->o.at_once; i++) {
        const int threads = tn_ctx_threads(t->ctx) / (int)t->o.at_once;
        if (!t->parts[i]) t->parts[i] = decoder_new(t, threads);
        if (!t->parts[i]) return TN_ERR_MEMORY;
    }
    return t->parts ? TN_OK : TN_ERR_MEMORY;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* One call. Groups are taken from the last, the longest, on. */
typedef struct call {
    tn_translator           *t;
    const tn__decode_source *order;
    const int32_t           *ids;
    const int64_t           *at;
    int64_t                  n;
    atomic_int_fast64_t      left; /* groups */
    atomic_int               status;
} call;

static tn_status translate_next(call *c, tn__decoder *d, int64_t number)
{
    const int64_t batch = c->t->o.batch, first = number * batch;
    const int64_t n = c->n - first < batch ? c->n - first : batch;
    return tn__decode_sources(d, c->order + first, n, c->ids, c->at, c->t->out);
}

/* A part's error is the context's. */
static void keep_error(call *c, const tn__decoder *d, tn_status status)
{
    if (tn_ctx_status(d->ctx) != TN_OK) status = tn_ctx_status(d->ctx);
    tn_fail(c->t->ctx, status, "%s", tn_ctx_status(d->ctx) ? tn_error(d->ctx)
                                                           : tn_status_text(status));
    tn_clear_error(d->ctx);
    atomic_store(&c->status, (int)status);
}

static void translate_task(void *arg, int64_t task, int worker)
{
    call        *c = arg;
    tn__decoder *d = c->t->parts[task];
    (void)worker;
    for (int64_t k; !atomic_load(&c->status) && (k = atomic_fetch_sub(&c->left, 1)) > 0;) {
        tn_status status = translate_next(c, d, k - 1);
        if (status != TN_OK) keep_error(c, d, status);
    }
}

static tn_status translate_at_once(call *c)
{
    tn_translator *t = c->t;
    tn_status      status = make_parts(t);
    if (status != TN_OK) return status;
    if (!tn__ctx_enter(t->ctx))
        return tn_fail(t->ctx, TN_ERR_BUSY, "tn_translate: the context is running a program");
    for (int64_t i = 0; i < t->o.at_once; i++) t->parts[i]->status = &c->status;
    tn_parallel_for(t->ctx, t->o.at_once, translate_task, c);
    for (int64_t i = 0; i < t->o.at_once; i++) t->parts[i]->status = NULL;
    tn__ctx_leave(t->ctx);
    return (tn_status)atomic_load(&c->status);
}

static tn_status translate_all(call *c)
{
    tn_status status = TN_OK;
    if (c->left >= c->t->o.at_once && c->t->o.at_once > 1) return translate_at_once(c);
    while (status == TN_OK && c->left > 0) status = translate_next(c, c->t->whole, --c->left);
    return status;
}

/* By length, shortest first: those of a group are done at about the same time. */
static tn__decode_source *sort_by_length(const tn_translator *t, const int64_t *at, int64_t n)
{
    int64_t    most = t->m->config.max_length, sum = 0;
    tn__decode_source *order = tn_alloc(t->ctx, (size_t)n * sizeof *order);
    int64_t   *count = tn_alloc(t->ctx, ((size_t)most + 2) * sizeof *count);
    for (int64_t i = 0; order && count && i < n; i++) count[at[i + 1] - at[i] + 1]++;
    for (int64_t l = 0; count && l <= most + 1; l++) sum += count[l], count[l] = sum;
    for (int64_t i = 0; order && count && i < n; i++)
        order[count[at[i + 1] - at[i]]++] = (tn__decode_source){ i, at[i + 1] - at[i] };
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
    tn__decode_source *order = sort_by_length(t, at, n);
    tn_status          status = t->out && order ? TN_OK : tn_ctx_status(t->ctx);
    if (t->out) t->n_out = n * t->o.n_best;
    if (status == TN_OK && !t->o.is_fixed) status = tn_panels_update(t->panels);
    for (int64_t i = 0; i < t->n_out; i++) t->out[i].score = t->out[i].log_prob = -INFINITY;
    call c = { .t = t, .order = order, .ids = ids, .at = at, .n = n };
    atomic_init(&c.left, (n + t->o.batch - 1) / t->o.batch), atomic_init(&c.status, TN_OK);
    if (status == TN_OK) status = translate_all(&c);
    tn_free(t->ctx, order);
    return status == TN_OK ? t->out : NULL;
}

/* ---- the translator -------------------------------------------------------------------------- */

static tn_status check_options(tn_ctx *ctx, tn_translate_options *o)
{
    if (o->beam == 0) o->beam = 1;
    if (o->n_best == 0) o->n_best = 1;
    if (o->length_penalty == 0) o->length_penalty = 0.6;
    if (o->max_ratio == 0) o->max_ratio = 2;
    if (o->max_ratio == TN_NONE) o->max_ratio = 0;
    if (o->max_extra == 0) o->max_extra = 10;
    if (o->batch == 0) o->batch = 32;
    if (o->at_once == 0) o->at_once = AT_ONCE;
    if (o->beam < 1 || o->beam > MAX_BEAM)
        return tn_fail(ctx, TN_ERR_ARG, "tn_translator_new: beam %lld is not in [1, %d]",
                       (long long)o->beam, MAX_BEAM);
    if (o->n_best < 1 || o->n_best > o->beam)
        return tn_fail(ctx, TN_ERR_ARG,
                       "tn_translator_new: n_best %lld is not in [1, %lld], the beam",
                       (long long)o->n_best, (long long)o->beam);
    if (o->at_once < 1)
        return tn_fail(ctx, TN_ERR_ARG, "tn_translator_new: %lld batches at once",
                       (long long)o->at_once);
    if (!(o->max_ratio >= 0 && o->max_ratio < 1e6) || o->max_extra < TN_NONE || o->batch < 1 ||
        o->batch > INT32_MAX ||
        !(o->length_penalty == TN_NONE || (o->length_penalty > 0 && o->length_penalty < 100)))
        return tn_fail(
            ctx, TN_ERR_ARG,
            "tn_translator_new: length_penalty %g, max_ratio %g, max_extra %lld, batch %lld: "
            "one is negative or too large",
            o->length_penalty, o->max_ratio, (long long)o->max_extra, (long long)o->batch);
    return TN_OK;
}

/* Of sinusoidal positions, which would else be a constant of each program. */
static tn_params *make_tables(const tn_transformer *m)
{
    const tn_positions *l = &m->target_positions;
    const tn_dtype      dtype = tn_node_dtype(m->target.w);
    tn_params          *set = tn_params_new(m->ctx, dtype);
    if (l->w || !set) return set;
    tn_node *table = tn_buffer(set, "positions", dtype, TN_SHAPE(l->length, l->d));
    if (table) {
        tn_sinusoidal_table(l->length, l->d, dtype, tn_variable_data(table));
        return set;
    }
    tn_params_free(set);
    return NULL;
}

tn_translator *tn_translator_new(const tn_transformer *m, const tn_translate_options *options)
{
    tn_translate_options o = options ? *options : (tn_translate_options){ 0 };
    if (!m || check_options(m->ctx, &o) != TN_OK) return NULL;
    tn_translator *t = tn_alloc(m->ctx, sizeof *t);
    if (!t) return NULL;
    if (o.at_once > tn_ctx_threads(m->ctx)) o.at_once = tn_ctx_threads(m->ctx);
    if (o.at_once > 1 && o.batch <= MERGED_MOST / (o.beam * o.at_once))
        o.batch *= o.at_once, o.at_once = 1;
    t->m = m, t->ctx = m->ctx, t->o = o;
    t->panels = tn_panels_new(m->ctx);
    t->tables = t->panels ? make_tables(m) : NULL;
    t->whole = t->tables ? decoder_new(t, 0) : NULL;
    if (t->whole) return t;
    tn_translator_free(t);
    return NULL;
}

void tn_translator_free(tn_translator *t)
{
    if (!t) return;
    for (int64_t i = 0; t->parts && i < t->o.at_once; i++) decoder_free(t->parts[i]);
    tn_free(t->ctx, t->parts);
    decoder_free(t->whole);
    tn_panels_free(t->panels);
    tn_params_free(t->tables);
    drop_results(t);
    tn_free(t->ctx, t);
}
