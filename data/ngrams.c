/* Hash tables of words and of n-grams. */
#include "data/ngrams.h"
#include "data/bpe.h"
#include "tensor/internal.h"

#include <string.h>

bool tn__units_push(tn_ctx *ctx, tn__units *u, int32_t id)
{
    if (!tn__array_grow(ctx, &u->id, &u->room, u->n + 1, sizeof *u->id)) return false;
    u->id[u->n++] = id;
    return true;
}

/* ---- words ------------------------------------------------------------------------------- */

static int32_t *word_slot(const tn__words *w, const char *bytes, size_t length)
{
    uint64_t i = tn__piece_hash((const unsigned char *)bytes, length) & w->mask;
    for (; w->slots[i] >= 0; i = (i + 1) & w->mask) {
        const int64_t *at = w->at + w->slots[i];
        bool           has_length = (size_t)(at[1] - at[0]) == length;
        if (has_length && memcmp(w->bytes + at[0], bytes, length) == 0) break;
    }
    return &w->slots[i];
}

static bool grow_words(tn__words *w)
{
    uint64_t n = w->slots ? 2 * (w->mask + 1) : 1024;
    int32_t *slots = tn__array_new(w->ctx, (int64_t)n, sizeof *slots);
    if (!slots) return false;
    memset(slots, 0xff, n * sizeof *slots); /* -1 */
    tn_free(w->ctx, w->slots);
    w->slots = slots;
    w->mask = n - 1;
    for (int64_t i = 0; i < w->n; i++)
        *word_slot(w, w->bytes + w->at[i], (size_t)(w->at[i + 1] - w->at[i])) = (int32_t)i;
    return true;
}

int32_t tn__words_number(tn__words *w, const char *bytes, size_t length)
{
    if (!w->slots && !grow_words(w)) return -1;
    int32_t *slot = word_slot(w, bytes, length);
    if (*slot >= 0) return *slot;
    int64_t end = w->n_bytes + (int64_t)length;
    if (w->n == INT32_MAX / 2) {
        tn_fail(w->ctx, TN_ERR_ARG, "bleu: more than 2^30 distinct words");
        return -1;
    }
    if (!tn__array_grow(w->ctx, &w->bytes, &w->room_bytes, end, 1) ||
        !tn__array_grow(w->ctx, &w->at, &w->room_at, w->n + 2, sizeof *w->at)) return -1;
    memcpy(w->bytes + w->n_bytes, bytes, length);
    w->at[w->n] = w->n_bytes, w->at[w->n + 1] = w->n_bytes = end;
    *slot = (int32_t)w->n++;
    if (2 * (uint64_t)w->n > w->mask && !grow_words(w)) return -1;
    return (int32_t)w->n - 1;
}

void tn__words_clear(tn__words *w)
{
    tn_free(w->ctx, w->bytes);
    tn_free(w->ctx, w->at);
    tn_free(w->ctx, w->slots);
}

/* ---- n-grams ----------------------------------------------------------------------------- */

bool tn__ngrams_reset(tn__ngrams *g, int64_t n)
{
    int64_t size = 64;
    while (size < 2 * n) size *= 2;
    if (!tn__array_grow(g->ctx, &g->slots, &g->room, size, sizeof *g->slots)) return false;
    memset(g->slots, 0, (size_t)size * sizeof *g->slots);
    g->mask = (uint64_t)size - 1;
    return true;
}

static tn__ngram *ngram_at(tn__ngrams *g, const int32_t *units, int n)
{
    uint64_t h = (uint64_t)n;
    for (int i = 0; i < n; i++) h = tn__mix64(h * 0x9e3779b97f4a7c15u + (uint32_t)units[i]);
    for (h &= g->mask;; h = (h + 1) & g->mask) {
        tn__ngram *e = &g->slots[h];
        if (e->n == 0) *e = (tn__ngram){ .units = units, .n = n };
        if (e->n == n && memcmp(e->units, units, (size_t)n * sizeof *units) == 0) return e;
    }
}

void tn__ngrams_reference(tn__ngrams *g, const tn__units *u, int order)
{
    for (int64_t i = 0; i + order <= u->n; i++) {
        tn__ngram *e = ngram_at(g, u->id + i, order);
        if (++e->now > e->ref) e->ref = e->now;
    }
    for (int64_t i = 0; i + order <= u->n; i++) ngram_at(g, u->id + i, order)->now = 0;
}

int64_t tn__ngrams_match(tn__ngrams *g, const tn__units *u, int order)
{
    int64_t n_match = 0;
    for (int64_t i = 0; i + order <= u->n; i++) {
        tn__ngram *e = ngram_at(g, u->id + i, order);
        n_match += ++e->hyp <= e->ref;
    }
    return n_match;
}
