/* Planning an epoch. Padded batches are cut from the pairs sorted by length, those of one length
 * group shuffled among themselves; packed ones from all pairs shuffled; then the batches are
 * shuffled. The order of the groups never changes, so neither does the number of padded batches. */
#include "data/batch_plan.h"
#include "tensor/internal.h"
#include "tensor/random.h"

#include <string.h>

enum { DEFAULT_TOKENS = 4096, DEFAULT_MAX_LENGTH = 256, DEFAULT_ROUND = 8, PACKED_ROW = 8 };

static int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- options ----------------------------------------------------------------------------- */

static bool fill_defaults(tn_ctx *ctx, tn_batches_options *o)
{
    if (o->tokens < 0 || o->max_rows < 0 || o->max_length < 0 || o->round_length < 0 ||
        o->round_rows < 0 || o->tokens > 1 << 30 || o->round_length > 1 << 30 ||
        o->round_rows > 1 << 30 || o->max_rows > 1 << 30 ||
        (o->layout != TN_BATCH_PADDED && o->layout != TN_BATCH_PACKED)) {
        tn_fail(ctx, TN_ERR_ARG, "batches: an option is negative or over 2^30");
        return false;
    }
    if (o->tokens == 0) o->tokens = DEFAULT_TOKENS;
    if (o->round_length == 0) o->round_length = DEFAULT_ROUND;
    if (o->round_rows == 0) o->round_rows = 1;
    if (o->seed == 0) o->seed = tn_ctx_seed(ctx);
    if (o->layout == TN_BATCH_PACKED) o->tokens = o->tokens / o->round_length * o->round_length;
    if (o->layout == TN_BATCH_PACKED && o->fixed_shapes && o->max_rows == 0)
        o->max_rows = round_up(larger(o->tokens / PACKED_ROW, 1), o->round_rows);
    if (o->max_rows) { /* more rows than tokens are never needed */
        int64_t enough = round_up(o->tokens, o->round_rows);
        o->max_rows = o->max_rows > enough ? enough : o->max_rows / o->round_rows * o->round_rows;
    }
    return true;
}

/* The longest sentence (with bos or eos) that makes a batch by itself. */
static int64_t longest_row(const tn_batches_options *o)
{
    int64_t rows = o->layout == TN_BATCH_PADDED ? o->round_rows : 1;
    return o->tokens / rows / o->round_length * o->round_length;
}

static bool check_options(tn_ctx *ctx, tn_batches_options *o, bool has_max_rows)
{
    int64_t longest, asked = o->tokens;
    if (!fill_defaults(ctx, o)) return false;
    longest = longest_row(o);
    if (o->max_length == 0)
        o->max_length = longest - 1 < DEFAULT_MAX_LENGTH ? longest - 1 : DEFAULT_MAX_LENGTH;
    if (o->max_length < 1 || o->max_length >= longest) {
        tn_fail(ctx, TN_ERR_ARG, "batches: a budget of %lld tokens has no room for a sentence of "
                "%lld and one more, in multiples of %lld tokens and %lld rows",
                (long long)(asked ? asked : o->tokens), (long long)larger(o->max_length, 1),
                (long long)o->round_length, (long long)o->round_rows);
        return false;
    }
    if (has_max_rows && o->max_rows < 1) {
        tn_fail(ctx, TN_ERR_ARG, "batches: max_rows has no room for a pair in multiples of %lld",
                (long long)o->round_rows);
        return false;
    }
    return true;
}

/* ---- groups ------------------------------------------------------------------------------ */

/* Sorts n keys of 64 bits, with what belongs to them, by their bytes from the last to the first;
 * equal keys stay as they are. */
static void sort_keys(uint64_t *key, int32_t *value, uint64_t *key2, int32_t *value2, int64_t n)
{
    for (int shift = 0; shift < 64; shift += 8) { /* 8 passes: ends where it began */
        int64_t at[257] = { 0 };
        for (int64_t i = 0; i < n; i++) at[(key[i] >> shift & 255) + 1]++;
        for (int d = 0; d < 256; d++) at[d + 1] += at[d];
        for (int64_t i = 0; i < n; i++) {
            int64_t to = at[key[i] >> shift & 255]++;
            key2[to] = key[i], value2[to] = value[i];
        }
        uint64_t *k = key;
        int32_t  *v = value;
        key = key2, key2 = k, value = value2, value2 = v;
    }
}

/* Pairs of one key need the same room. First the longer side, which the budget counts; then how
 * much longer the source is, so that both sides of a batch are of one length each. */
static uint64_t key_of(const tn_batches_options *o, int64_t src, int64_t tgt)
{
    int64_t s = round_up(larger(src, 1), o->round_length), t = round_up(tgt, o->round_length);
    if (o->layout == TN_BATCH_PACKED) return 0;
    uint64_t difference = o->fixed_shapes ? 0 : (uint64_t)(s - t + INT32_MAX);
    return (uint64_t)larger(s, t) << 32 | difference;
}

static bool is_pair_kept(tn__batch_plan *p, const tn_token_pairs *pairs, int64_t i, int64_t *src,
                         int64_t *tgt)
{
    *src = pairs->src_at[i + 1] - pairs->src_at[i];
    *tgt = pairs->tgt_at[i + 1] - pairs->tgt_at[i];
    bool fits = *src <= p->o.max_length && *tgt <= p->o.max_length;
    if (*src > p->o.max_length) *src = p->o.max_length;
    if (*tgt > p->o.max_length) *tgt = p->o.max_length;
    *src += p->o.source_eos;
    *tgt += 1; /* bos, or eos */
    return fits || p->o.crop;
}

static bool check_pairs(tn_ctx *ctx, const tn_token_pairs *pairs)
{
    if (!pairs || pairs->n < 0 || pairs->n > INT32_MAX - 1 ||
        (pairs->n > 0 && (!pairs->src_at || !pairs->tgt_at || !pairs->src || !pairs->tgt))) {
        tn_fail(ctx, TN_ERR_ARG, "batches: %s", pairs && pairs->n > INT32_MAX - 1
                ? "more than 2^31 pairs" : "NULL pairs");
        return false;
    }
    for (int64_t i = 0; i < pairs->n; i++) {
        if (pairs->src_at[i] >= 0 && pairs->src_at[i] <= pairs->src_at[i + 1] &&
            pairs->tgt_at[i] >= 0 && pairs->tgt_at[i] <= pairs->tgt_at[i + 1]) continue;
        tn_fail(ctx, TN_ERR_ARG, "batches: the offsets of pair %lld fall", (long long)i);
        return false;
    }
    return true;
}

/* Lays the pairs that are kept down by group; key and key2 are scratch of pairs->n. */
static void make_groups(tn__batch_plan *p, const tn_token_pairs *pairs, uint64_t *key,
                        uint64_t *key2)
{
    int64_t src, tgt;
    for (int64_t i = 0; i < pairs->n; i++) {
        if (!is_pair_kept(p, pairs, i, &src, &tgt)) continue;
        key[p->n] = key_of(&p->o, src, tgt);
        p->pair[p->n++] = (int32_t)i;
    }
    p->n_dropped = pairs->n - p->n;
    sort_keys(key, p->pair, key2, p->order, p->n);
    for (int64_t k = 0; k < p->n; k++) {
        is_pair_kept(p, pairs, p->pair[k], &src, &tgt);
        p->src[k] = (int32_t)src, p->tgt[k] = (int32_t)tgt;
        if (k == 0 || key[k] != key[k - 1]) p->group_at[p->n_groups++] = (int32_t)k;
        p->group[k] = (int32_t)p->n_groups - 1;
    }
    p->group_at[p->n_groups] = (int32_t)p->n;
}

static bool alloc_plan(tn__batch_plan *p, int64_t n)
{
    p->pair = tn__array_new(p->ctx, n, sizeof *p->pair);
    p->src = tn__array_new(p->ctx, n, sizeof *p->src);
    p->tgt = tn__array_new(p->ctx, n, sizeof *p->tgt);
    p->group = tn__array_new(p->ctx, n, sizeof *p->group);
    p->group_at = tn__array_new(p->ctx, n + 1, sizeof *p->group_at);
    p->fill = tn__array_new(p->ctx, n, sizeof *p->fill);
    p->permutation = tn__array_new(p->ctx, n, sizeof *p->permutation);
    p->order = tn__array_new(p->ctx, n, sizeof *p->order);
    p->start = tn__array_new(p->ctx, n + 1, sizeof *p->start);
    p->sequence = tn__array_new(p->ctx, n, sizeof *p->sequence);
    return p->pair && p->src && p->tgt && p->group && p->group_at && p->fill && p->permutation &&
           p->order && p->start && p->sequence;
}

bool tn__batch_plan_init(tn__batch_plan *p, tn_ctx *ctx, const tn_token_pairs *pairs,
                         const tn_batches_options *options)
{
    *p = (tn__batch_plan){ .ctx = ctx, .epoch = -1 };
    if (options) p->o = *options;
    if (!check_pairs(ctx, pairs) || !check_options(ctx, &p->o, p->o.max_rows != 0)) return false;
    if (!alloc_plan(p, pairs->n)) return false;
    uint64_t *key = tn__array_new(ctx, pairs->n, sizeof *key);
    uint64_t *key2 = key ? tn__array_new(ctx, pairs->n, sizeof *key2) : NULL;
    if (key2) make_groups(p, pairs, key, key2);
    bool ok = key2 != NULL;
    tn_free(ctx, key);
    tn_free(ctx, key2);
    if (ok && p->n == 0) {
        if (pairs->n == 0) tn_fail(ctx, TN_ERR_ARG, "batches: there are no pairs");
        else
            tn_fail(ctx, TN_ERR_ARG, "batches: no pairs are left: all %lld have a sentence of more "
                    "than %lld tokens", (long long)p->n_dropped, (long long)p->o.max_length);
        return false;
    }
    return ok;
}

void tn__batch_plan_clear(tn__batch_plan *p)
{
    void *blocks[] = { p->pair, p->src, p->tgt, p->group, p->group_at, p->fill, p->permutation,
                       p->order, p->start, p->sequence };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tn_free(p->ctx, blocks[i]);
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* What some pairs take: the longest of each side if padded, their sum if packed. */
typedef struct extent {
    int64_t pairs, src, tgt;
} extent;

static extent with_pair(const tn__batch_plan *p, extent e, int64_t k)
{
    if (p->o.layout == TN_BATCH_PACKED)
        return (extent){ e.pairs + 1, e.src + p->src[k], e.tgt + p->tgt[k] };
    return (extent){ e.pairs + 1, larger(e.src, p->src[k]), larger(e.tgt, p->tgt[k]) };
}

/* The shape of a batch, and whether it is within the budget. */
static bool shape_of(const tn_batches_options *o, extent e, tn__batch_shape *shape)
{
    bool    is_packed = o->layout == TN_BATCH_PACKED;
    int64_t src = round_up(larger(e.src, 1), o->round_length);
    int64_t tgt = round_up(e.tgt, o->round_length), longest = larger(src, tgt);
    int64_t rows = round_up(e.pairs, o->round_rows), most;
    if (is_packed)
        most = longest > o->tokens ? 0 : o->max_rows ? o->max_rows : INT64_MAX;
    else
        most = o->tokens / longest / o->round_rows * o->round_rows;
    if (o->max_rows && most > o->max_rows) most = o->max_rows;
    if (o->fixed_shapes) {
        rows = most;
        src = tgt = is_packed ? o->tokens : longest;
        *shape = (tn__batch_shape){ rows, src, tgt };
        return e.pairs <= rows;
    }
    *shape = (tn__batch_shape){ rows, src, tgt };
    return rows <= most;
}

tn__batch_shape tn__batch_plan_shape(const tn__batch_plan *p, int64_t first, int64_t last)
{
    tn__batch_shape shape = { 0, 0, 0 };
    extent          e = { 0, 0, 0 };
    for (int64_t i = first; i < last; i++) e = with_pair(p, e, p->order[i]);
    shape_of(&p->o, e, &shape);
    return shape;
}

/* A row has at least one token of target. */
int64_t tn__batch_plan_max_rows(const tn__batch_plan *p)
{
    int64_t most = round_up(p->o.tokens, p->o.round_rows);
    return p->o.max_rows > 0 && p->o.max_rows < most ? p->o.max_rows : most;
}

/* ---- an epoch ---------------------------------------------------------------------------- */

static tn_rng rng_of(const tn__batch_plan *p, const char *what, int64_t epoch)
{
    return (tn_rng){ p->o.seed, tn_hash_text(0, what), (uint64_t)epoch };
}

/* Shuffles each group: the elements are taken in the order of one permutation of all, and each goes
 * to its group's next place. */
static void order_pairs(tn__batch_plan *p, int64_t epoch)
{
    if (p->o.ordered) {
        for (int64_t k = 0; k < p->n; k++) p->order[k] = (int32_t)k;
        return;
    }
    tn_random_permutation(rng_of(p, "batches.pairs", epoch), p->n, p->permutation);
    memcpy(p->fill, p->group_at, (size_t)p->n_groups * sizeof *p->fill);
    for (int64_t i = 0; i < p->n; i++) {
        int32_t k = (int32_t)p->permutation[i];
        p->order[p->fill[p->group[k]]++] = k;
    }
}

static void cut_batches(tn__batch_plan *p)
{
    tn__batch_shape shape;
    extent          e = { 0, 0, 0 };
    p->n_batches = 0;
    p->start[0] = 0;
    for (int64_t i = 0; i < p->n; i++) {
        extent more = with_pair(p, e, p->order[i]);
        if (e.pairs > 0 && !shape_of(&p->o, more, &shape)) {
            p->start[++p->n_batches] = (int32_t)i;
            more = with_pair(p, (extent){ 0, 0, 0 }, p->order[i]);
        }
        e = more;
    }
    p->start[++p->n_batches] = (int32_t)p->n;
}

void tn__batch_plan_epoch(tn__batch_plan *p, int64_t epoch)
{
    if (p->epoch == epoch) return;
    order_pairs(p, epoch);
    cut_batches(p);
    if (!p->o.ordered)
        tn_random_permutation(rng_of(p, "batches.batches", epoch), p->n_batches, p->permutation);
    for (int64_t i = 0; i < p->n_batches; i++)
        p->sequence[i] = (int32_t)(p->o.ordered ? i : p->permutation[i]);
    p->epoch = epoch;
}
