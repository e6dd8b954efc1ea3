/* Windows of a text in an order that is a function of (seed, epoch). */
#include "data/windows.h"
#include "data/internal.h"
#include "tensor/internal.h"
#include "tensor/random.h"

#include <string.h>

enum { DEFAULT_ROWS = 8, DEFAULT_LENGTH = 128 };

struct tn_windows {
    tn_ctx             *ctx;
    tn_windows_options  o; /* without zeros */
    const int32_t      *tokens;
    int64_t             n, n_windows, n_batches;
    int32_t            *in, *out;
    int64_t            *order; /* [n_windows]; NULL if ordered */
    int64_t             epoch, offset; /* that order is of, -1: none yet; of the first window */
    tn_batches_position next;
    tn_window_batch     batch;
};

/* How many windows and batches there are. A shuffled epoch leaves room for any offset below the
 * length of a window, so that the number is always the same. */
static bool count_windows(tn_windows *w)
{
    int64_t targets = w->n - 1, length = w->o.length; /* the first token is nobody's target */
    if (w->o.ordered) {
        w->n_windows = targets > 0 ? (targets + length - 1) / length : 0;
        w->n_batches = (w->n_windows + w->o.rows - 1) / w->o.rows;
    } else {
        w->n_windows = targets >= length ? (targets - length + 1) / length : 0;
        w->n_batches = w->n_windows / w->o.rows;
    }
    if (w->n_batches > 0) return true;
    tn_fail(w->ctx, TN_ERR_ARG, "windows: %lld tokens are too few for %lld windows of %lld",
            (long long)w->n, (long long)w->o.rows, (long long)length);
    return false;
}

static bool check_options(tn_ctx *ctx, const int32_t *tokens, int64_t n, tn_windows_options *o)
{
    if (o->rows == 0) o->rows = DEFAULT_ROWS;
    if (o->length == 0) o->length = DEFAULT_LENGTH;
    if (o->seed == 0) o->seed = tn_ctx_seed(ctx);
    if (n >= 0 && (tokens || n == 0) && o->rows > 0 && o->length > 0 && o->rows <= 1 << 24 &&
        o->length <= (1 << 30) / o->rows) return true;
    tn_fail(ctx, TN_ERR_ARG, "windows: NULL tokens, or more than 2^30 of them in a batch");
    return false;
}

tn_windows *tn_windows_new(tn_ctx *ctx, const int32_t *tokens, int64_t n,
                           const tn_windows_options *options)
{
    tn_windows_options o = options ? *options : (tn_windows_options){ 0 };
    if (!ctx || !check_options(ctx, tokens, n, &o)) return NULL;
    tn_windows *w = tn_alloc(ctx, sizeof *w);
    if (!w) return NULL;
    *w = (tn_windows){ .ctx = ctx, .o = o, .tokens = tokens, .n = n, .epoch = -1 };
    if (count_windows(w)) {
        w->in = tn__array_new(ctx, o.rows * o.length, sizeof *w->in);
        w->out = w->in ? tn__array_new(ctx, o.rows * o.length, sizeof *w->out) : NULL;
        if (!o.ordered && w->out) w->order = tn__array_new(ctx, w->n_windows, sizeof *w->order);
    }
    if (w->out && (w->order || o.ordered)) return w;
    tn_windows_free(w);
    return NULL;
}

void tn_windows_free(tn_windows *w)
{
    if (!w) return;
    tn_free(w->ctx, w->in);
    tn_free(w->ctx, w->out);
    tn_free(w->ctx, w->order);
    tn_free(w->ctx, w);
}

static void shuffle(tn_windows *w, int64_t epoch)
{
    tn_rng rng = { w->o.seed, tn_hash_text(0, "windows.order"), (uint64_t)epoch };
    if (w->o.ordered || w->epoch == epoch) return;
    tn_random_permutation(rng, w->n_windows, w->order);
    rng.stream = tn_hash_text(0, "windows.offset");
    w->offset = (int64_t)(tn_random_u64(rng, 0) % (uint64_t)w->o.length);
    w->epoch = epoch;
}

/* Row `row` is window k, as far as the text goes; gives its targets. */
static int64_t fill_row(tn_windows *w, int64_t row, int64_t k)
{
    int64_t first = w->offset + k * w->o.length, n = w->n - 1 - first;
    size_t  at = (size_t)(row * w->o.length), length = (size_t)w->o.length;
    if (n < 0) n = 0;
    if (n > w->o.length) n = w->o.length;
    memset(w->in + at, 0, length * sizeof *w->in); /* TN_PAD_ID */
    memset(w->out + at, 0, length * sizeof *w->out);
    if (n == 0) return 0;
    memcpy(w->in + at, w->tokens + first, (size_t)n * sizeof *w->in);
    memcpy(w->out + at, w->tokens + first + 1, (size_t)n * sizeof *w->out);
    return n;
}

const tn_window_batch *tn_windows_next(tn_windows *w)
{
    if (!w) return NULL;
    tn_batches_position at = w->next;
    int64_t             n = 0;
    shuffle(w, at.epoch);
    for (int64_t row = 0; row < w->o.rows; row++) {
        int64_t k = at.batch * w->o.rows + row;
        n += fill_row(w, row, w->o.ordered ? k : w->order[k]);
    }
    w->batch = (tn_window_batch){ .rows = w->o.rows, .length = w->o.length,
                                  .in = w->in, .out = w->out, .tokens = n,
                                  .epoch = at.epoch, .number = at.batch,
                                  .n_batches = w->n_batches,
                                  .is_last = at.batch + 1 == w->n_batches };
    w->next = w->batch.is_last ? (tn_batches_position){ at.epoch + 1, 0 }
                               : (tn_batches_position){ at.epoch, at.batch + 1 };
    return &w->batch;
}

tn_batches_position tn_windows_tell(const tn_windows *w)
{
    return w ? w->next : (tn_batches_position){ 0, 0 };
}

tn_status tn_windows_seek(tn_windows *w, tn_batches_position position)
{
    if (!w) return TN_ERR_ARG;
    if (position.epoch < 0 || position.epoch > (int64_t)1 << 62 || position.batch < 0 ||
        position.batch >= w->n_batches)
        return tn_fail(w->ctx, TN_ERR_INDEX, "windows_seek: no batch %lld in epoch %lld, of %lld",
                       (long long)position.batch, (long long)position.epoch,
                       (long long)w->n_batches);
    w->next = position;
    return TN_OK;
}
