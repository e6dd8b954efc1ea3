/* Making batches as they are planned, here and now or ahead in a thread. All memory is had when the
 * batches are made, sized for the largest of them, so that making one cannot fail. */
#include "data/batch_plan.h"
#include "data/bpe.h"
#include "tensor/internal.h"

#include <pthread.h>
#include <string.h>

#define MAX_EPOCH ((int64_t)1 << 62) /* one more is still a number */

/* The memory of one side of a batch; see tn_batch for the fields. */
typedef struct side {
    int32_t *in, *out; /* out: targets only */
    int32_t *lengths, *offsets, *places;
    uint8_t *keep;
} side;

/* A batch and its memory. */
typedef struct slot {
    tn_batch            batch;
    side                src, tgt;
    int64_t            *index;
    tn_batches_position after; /* of the batch that follows */
} slot;

struct tn_batches {
    tn_ctx             *ctx;
    tn_token_pairs      pairs;
    tn__batch_plan      plan;
    tn_batches_position making; /* what make_batch makes next */
    tn_batches_position next;   /* what the caller gets next */
    slot                slots[2];
    int                 current; /* the caller's; the other one is filled ahead */

    bool            has_thread, must_stop;
    bool            is_wanted; /* the other slot is being filled */
    pthread_t       thread;
    pthread_mutex_t lock; /* of must_stop and is_wanted */
    pthread_cond_t  changed;
};

/* ---- one batch --------------------------------------------------------------------------- */

/* The ids of one sentence of a side, cut to the longest allowed. */
typedef struct sentence {
    const int32_t *ids;
    int64_t        n;
} sentence;

static sentence sentence_of(const int32_t *ids, const int64_t *at, int64_t pair, int64_t most)
{
    int64_t n = at[pair + 1] - at[pair];
    return (sentence){ ids + at[pair], n < most ? n : most };
}

/* Ids with something before and after them (TN_PAD_ID: nothing); gives how many that makes. */
static int64_t put(int32_t *to, int32_t before, sentence s, int32_t after)
{
    int64_t n = 0;
    if (before != TN_PAD_ID) to[n++] = before;
    if (s.n > 0) memcpy(to + n, s.ids, (size_t)s.n * sizeof *to);
    n += s.n;
    if (after != TN_PAD_ID) to[n++] = after;
    return n;
}

/* Where a row of a side starts, and its length: padded, rows of `length` tokens; packed, end to
 * end. Fills in all that does not depend on ids: lengths, offsets, places and what is kept. */
static void lay_row(side *s, bool is_packed, int64_t row, int64_t *at, int64_t n, int64_t length)
{
    s->lengths[row] = (int32_t)n;
    if (is_packed) {
        s->offsets[row] = (int32_t)*at;
        for (int64_t i = 0; i < n; i++) s->places[*at + i] = (int32_t)i;
    }
    if (n > 0) memset(s->keep + *at, 1, (size_t)n);
    *at += is_packed ? n : length;
}

/* The rows after the pairs: empty. If packed, padding behind them is in no row. */
static void lay_padding(side *s, bool is_packed, const tn_batch *batch, int64_t at, int64_t length)
{
    for (int64_t row = batch->pairs; row < batch->rows; row++) s->lengths[row] = 0;
    if (!is_packed) return;
    for (int64_t row = batch->pairs; row <= batch->rows; row++) s->offsets[row] = (int32_t)at;
    /* whatever its length, padding is within a model's positions */
    for (int64_t i = at; i < length; i++) s->places[i] = 0;
}

static void clear_side(side *s, int64_t n)
{
    memset(s->in, 0, (size_t)n * sizeof *s->in); /* TN_PAD_ID */
    if (s->out) memset(s->out, 0, (size_t)n * sizeof *s->out);
    memset(s->keep, 0, (size_t)n);
}

static void fill_rows(tn_batches *b, slot *s, int64_t first)
{
    const tn__batch_plan *p = &b->plan;
    tn_batch             *batch = &s->batch;
    bool                  is_packed = p->o.layout == TN_BATCH_PACKED;
    int32_t               source_end = p->o.source_eos ? TN_EOS_ID : TN_PAD_ID;
    int64_t               src = 0, tgt = 0; /* where the row starts */
    for (int64_t row = 0; row < batch->pairs; row++) {
        int64_t  pair = p->pair[p->order[first + row]];
        sentence x = sentence_of(b->pairs.src, b->pairs.src_at, pair, p->o.max_length);
        sentence y = sentence_of(b->pairs.tgt, b->pairs.tgt_at, pair, p->o.max_length);
        int64_t  n_src = put(s->src.in + src, TN_PAD_ID, x, source_end);
        int64_t  n_tgt = put(s->tgt.in + tgt, TN_BOS_ID, y, TN_PAD_ID);
        put(s->tgt.out + tgt, TN_PAD_ID, y, TN_EOS_ID);
        lay_row(&s->src, is_packed, row, &src, n_src, batch->src_length);
        lay_row(&s->tgt, is_packed, row, &tgt, n_tgt, batch->tgt_length);
        batch->src_tokens += n_src, batch->tgt_tokens += n_tgt;
        s->index[row] = pair;
    }
    for (int64_t row = batch->pairs; row < batch->rows; row++) s->index[row] = -1;
    lay_padding(&s->src, is_packed, batch, src, batch->src_length);
    lay_padding(&s->tgt, is_packed, batch, tgt, batch->tgt_length);
}

/* Makes the batch at b->making in s and steps on. */
static void make_batch(tn_batches *b, slot *s)
{
    tn__batch_plan *p = &b->plan;
    tn__batch_plan_epoch(p, b->making.epoch);
    int64_t         k = p->sequence[b->making.batch], first = p->start[k], last = p->start[k + 1];
    tn__batch_shape shape = tn__batch_plan_shape(p, first, last);
    int64_t         rows = p->o.layout == TN_BATCH_PACKED ? 1 : shape.rows;
    bool            is_packed = p->o.layout == TN_BATCH_PACKED;
    s->batch = (tn_batch){
        .rows = shape.rows, .pairs = last - first,
        .src_length = shape.src, .tgt_length = shape.tgt,
        .src = s->src.in, .tgt_in = s->tgt.in, .tgt_out = s->tgt.out,
        .src_lengths = s->src.lengths, .tgt_lengths = s->tgt.lengths,
        .src_keep = s->src.keep, .tgt_keep = s->tgt.keep,
        .src_offsets = is_packed ? s->src.offsets : NULL,
        .tgt_offsets = is_packed ? s->tgt.offsets : NULL,
        .src_places = is_packed ? s->src.places : NULL,
        .tgt_places = is_packed ? s->tgt.places : NULL,
        .index = s->index,
        .epoch = b->making.epoch, .number = b->making.batch, .n_batches = p->n_batches,
        .is_last = b->making.batch + 1 == p->n_batches,
    };
    clear_side(&s->src, rows * shape.src);
    clear_side(&s->tgt, rows * shape.tgt);
    fill_rows(b, s, first);
    b->making = s->batch.is_last ? (tn_batches_position){ b->making.epoch + 1, 0 }
                                 : (tn_batches_position){ b->making.epoch, b->making.batch + 1 };
    s->after = b->making;
}

/* ---- the thread that works ahead --------------------------------------------------------- */

static void *work_ahead(void *arg)
{
    tn_batches *b = arg;
    pthread_mutex_lock(&b->lock);
    while (!b->must_stop) {
        if (!b->is_wanted) {
            pthread_cond_wait(&b->changed, &b->lock);
            continue;
        }
        slot *other = &b->slots[!b->current];
        pthread_mutex_unlock(&b->lock);
        make_batch(b, other); /* the caller keeps off plan, making and this slot meanwhile */
        pthread_mutex_lock(&b->lock);
        b->is_wanted = false;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Waits until the other slot is filled. */
static void wait_ahead(tn_batches *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->is_wanted) pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void want_ahead(tn_batches *b)
{
    pthread_mutex_lock(&b->lock);
    b->is_wanted = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static bool start_thread(tn_batches *b)
{
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->is_wanted = true;
    b->has_thread = pthread_create(&b->thread, NULL, work_ahead, b) == 0;
    if (b->has_thread) return true;
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    tn_fail(b->ctx, TN_ERR_MEMORY, "batches: cannot start a thread");
    return false;
}

static void stop_thread(tn_batches *b)
{
    if (!b->has_thread) return;
    pthread_mutex_lock(&b->lock);
    b->must_stop = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    b->has_thread = false;
}

/* ---- life -------------------------------------------------------------------------------- */

static bool alloc_side(tn_ctx *ctx, side *s, int64_t tokens, int64_t rows, bool has_out)
{
    s->in = tn__array_new(ctx, tokens, sizeof *s->in);
    if (has_out) s->out = tn__array_new(ctx, tokens, sizeof *s->out);
    s->places = tn__array_new(ctx, tokens, sizeof *s->places);
    s->keep = tn__array_new(ctx, tokens, sizeof *s->keep);
    s->lengths = tn__array_new(ctx, rows, sizeof *s->lengths);
    s->offsets = tn__array_new(ctx, rows + 1, sizeof *s->offsets);
    return s->in && (s->out || !has_out) && s->places && s->keep && s->lengths && s->offsets;
}

static void free_side(tn_ctx *ctx, side *s)
{
    tn_free(ctx, s->in);
    tn_free(ctx, s->out);
    tn_free(ctx, s->places);
    tn_free(ctx, s->keep);
    tn_free(ctx, s->lengths);
    tn_free(ctx, s->offsets);
}

static bool alloc_slot(tn_batches *b, slot *s)
{
    int64_t rows = tn__batch_plan_max_rows(&b->plan), tokens = b->plan.o.tokens;
    s->index = tn__array_new(b->ctx, rows, sizeof *s->index);
    return s->index && alloc_side(b->ctx, &s->src, tokens, rows, false) &&
           alloc_side(b->ctx, &s->tgt, tokens, rows, true);
}

tn_batches *tn_batches_new(tn_ctx *ctx, const tn_token_pairs *pairs,
                           const tn_batches_options *options)
{
    bool        is_ahead = options && options->prefetch;
    tn_batches *b = tn_alloc(ctx, sizeof *b);
    if (!b) return NULL;
    b->ctx = ctx;
    if (!tn__batch_plan_init(&b->plan, ctx, pairs, options) || !alloc_slot(b, &b->slots[0]) ||
        (is_ahead && !alloc_slot(b, &b->slots[1]))) {
        tn_batches_free(b);
        return NULL;
    }
    b->pairs = *pairs;
    if (is_ahead && !start_thread(b)) {
        tn_batches_free(b);
        return NULL;
    }
    return b;
}

void tn_batches_free(tn_batches *b)
{
    if (!b) return;
    stop_thread(b);
    for (int i = 0; i < 2; i++) {
        tn_free(b->ctx, b->slots[i].index);
        free_side(b->ctx, &b->slots[i].src);
        free_side(b->ctx, &b->slots[i].tgt);
    }
    tn__batch_plan_clear(&b->plan);
    tn_free(b->ctx, b);
}

const tn_batch *tn_batches_next(tn_batches *b)
{
    if (!b) return NULL;
    if (b->has_thread) {
        wait_ahead(b);
        b->current = !b->current;
        want_ahead(b);
    } else {
        make_batch(b, &b->slots[0]);
    }
    b->next = b->slots[b->current].after;
    return &b->slots[b->current].batch;
}

/* ---- position ---------------------------------------------------------------------------- */

tn_batches_position tn_batches_tell(const tn_batches *b)
{
    return b ? b->next : (tn_batches_position){ 0, 0 };
}

tn_status tn_batches_seek(tn_batches *b, tn_batches_position position)
{
    if (!b) return TN_ERR_ARG;
    if (b->has_thread) wait_ahead(b);
    if (position.epoch > MAX_EPOCH) position.batch = -1;
    else if (position.epoch >= 0) tn__batch_plan_epoch(&b->plan, position.epoch);
    if (position.epoch < 0 || position.batch < 0 || position.batch >= b->plan.n_batches)
        return tn_fail(b->ctx, TN_ERR_INDEX, "batches_seek: no batch %lld in epoch %lld, of %lld",
                       (long long)position.batch, (long long)position.epoch,
                       (long long)b->plan.n_batches);
    b->making = b->next = position;
    if (b->has_thread) want_ahead(b);
    return TN_OK;
}

int64_t tn_batches_pairs(const tn_batches *b) { return b ? b->plan.n : 0; }
int64_t tn_batches_dropped(const tn_batches *b) { return b ? b->plan.n_dropped : 0; }

static uint64_t mix_ids(uint64_t h, const int32_t *ids, const int64_t *at, int64_t i)
{
    h = tn__mix64(h ^ (uint64_t)(at[i + 1] - at[i])) + 1;
    for (int64_t k = at[i]; k < at[i + 1]; k++) h = tn__mix64(h ^ (uint32_t)ids[k]);
    return h;
}

uint64_t tn_batches_fingerprint(const tn_batches *b)
{
    if (!b) return 0;
    const tn_batches_options *o = &b->plan.o;
    const tn_token_pairs     *p = &b->pairs;
    /* 1: packed, when padding was a row of its own */
    const uint64_t layout = o->layout == TN_BATCH_PACKED ? 2 : 0;
    uint64_t h = 0, options[] = { layout, (uint64_t)o->tokens, (uint64_t)o->max_rows,
                                  (uint64_t)o->max_length, o->crop, (uint64_t)o->round_length,
                                  (uint64_t)o->round_rows, o->fixed_shapes, o->source_eos,
                                  o->ordered, o->seed, (uint64_t)p->n };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) h = tn__mix64(h ^ options[i]) + i;
    for (int64_t i = 0; i < p->n; i++) {
        h = mix_ids(h, p->src, p->src_at, i);
        h = mix_ids(h, p->tgt, p->tgt_at, i);
    }
    return h;
}
