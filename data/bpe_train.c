/* Training byte-level BPE (Sennrich et al. 2016): count the distinct pieces, then again and again
 * join the neighbours that occur together most often. Ties: the lower left id, then the lower right
 * id. Counts are kept up to date by visiting only the pieces that hold the pair being joined.
 *
 * Once made, a pair of neighbours only gets rarer, except while the newer of its two ids is being
 * made; so a heap whose entries may be too high, and are corrected when they come up, gives the
 * true maximum. */
#include "data/bpe.h"
#include "tensor/internal.h"

#include <string.h>

enum { DEFAULT_VOCAB = 8000, DEFAULT_MIN_COUNT = 2, REPORT_EVERY = 64, NONE = -1 };

/* A distinct piece. */
typedef struct word {
    const unsigned char *bytes; /* where it first stood in the texts */
    int64_t              count;
    int64_t              at;     /* its ids are t->ids[at ..] */
    int32_t              length; /* in bytes; then of its ids, which get fewer */
    uint32_t             hash;   /* for growing the table without reading the bytes again */
} word;

/* Two neighbouring ids. */
typedef struct pair {
    int32_t left, right;
    int64_t count; /* over all words, times how often these occur */
    int32_t list;  /* first of the nodes that name the words that hold it, or held it once */
} pair;

typedef struct node {
    int32_t word, next;
} node;

typedef struct heap_entry {
    int64_t count; /* the pair's, or more */
    int32_t pair;
} heap_entry;

typedef struct trainer {
    tn_ctx     *ctx;
    word       *words;
    int64_t     n_words, room_words;
    int32_t    *word_slots; /* [word_mask + 1]: index into words, or NONE */
    uint64_t    word_mask;
    int32_t    *ids;
    pair       *pairs;
    int64_t     n_pairs, room_pairs;
    int32_t    *pair_slots; /* [pair_mask + 1]: index into pairs, or NONE */
    uint64_t    pair_mask;
    node       *nodes;
    int64_t     n_nodes, room_nodes;
    int32_t     free_nodes; /* nodes to be used again */
    heap_entry *heap;
    int64_t     n_heap, room_heap;
} trainer;

static int32_t *new_slots(tn_ctx *ctx, uint64_t n)
{
    int32_t *slots = tn__array_new(ctx, (int64_t)n, sizeof *slots);
    if (slots) memset(slots, 0xff, n * sizeof *slots); /* NONE */
    return slots;
}

static tn_status too_many(trainer *t, const char *what)
{
    return tn_fail(t->ctx, TN_ERR_ARG, "tokenizer_train: more than 2^31 %s: train on less text",
                   what);
}

/* ---- counting words ---------------------------------------------------------------------- */

static tn_status grow_word_slots(trainer *t)
{
    uint64_t n = t->word_slots ? 2 * (t->word_mask + 1) : 1 << 12;
    int32_t *slots = new_slots(t->ctx, n);
    if (!slots) return TN_ERR_MEMORY;
    for (int64_t w = 0; w < t->n_words; w++) {
        uint64_t i = t->words[w].hash & (n - 1);
        while (slots[i] != NONE) i = (i + 1) & (n - 1);
        slots[i] = (int32_t)w;
    }
    tn_free(t->ctx, t->word_slots);
    t->word_slots = slots;
    t->word_mask = n - 1;
    return TN_OK;
}

static tn_status count_word(trainer *t, const unsigned char *s, size_t n)
{
    uint32_t hash = (uint32_t)tn__piece_hash(s, n);
    uint64_t i = hash & t->word_mask;
    for (; t->word_slots[i] != NONE; i = (i + 1) & t->word_mask) {
        word *w = &t->words[t->word_slots[i]];
        if (w->hash == hash && (size_t)w->length == n && memcmp(w->bytes, s, n) == 0)
            return w->count++, TN_OK;
    }
    if (t->n_words == INT32_MAX / 2) return too_many(t, "distinct words");
    if (!tn__array_grow(t->ctx, &t->words, &t->room_words, t->n_words + 1, sizeof *t->words))
        return TN_ERR_MEMORY;
    t->words[t->n_words] = (word){ .bytes = s, .count = 1, .length = (int32_t)n, .hash = hash };
    t->word_slots[i] = (int32_t)t->n_words++;
    return (uint64_t)t->n_words * 2 > t->word_mask ? grow_word_slots(t) : TN_OK;
}

static tn_status count_words(trainer *t, const tn_text *texts, int64_t n)
{
    tn_status status = grow_word_slots(t);
    for (int64_t i = 0; i < n && status == TN_OK; i++) {
        const unsigned char *s = (const unsigned char *)texts[i].bytes;
        size_t               left = texts[i].length;
        while (left > 0 && status == TN_OK) {
            size_t size = tn__piece(s, left);
            status = count_word(t, s, size);
            s += size, left -= size;
        }
    }
    tn_free(t->ctx, t->word_slots);
    t->word_slots = NULL;
    return status;
}

/* ---- pairs ------------------------------------------------------------------------------- */

static uint64_t pair_hash(int32_t left, int32_t right)
{
    return tn__mix64((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

static tn_status grow_pair_slots(trainer *t)
{
    uint64_t n = t->pair_slots ? 2 * (t->pair_mask + 1) : 1 << 14;
    int32_t *slots = new_slots(t->ctx, n);
    if (!slots) return TN_ERR_MEMORY;
    for (int64_t p = 0; p < t->n_pairs; p++) {
        uint64_t i = pair_hash(t->pairs[p].left, t->pairs[p].right) & (n - 1);
        while (slots[i] != NONE) i = (i + 1) & (n - 1);
        slots[i] = (int32_t)p;
    }
    tn_free(t->ctx, t->pair_slots);
    t->pair_slots = slots;
    t->pair_mask = n - 1;
    return TN_OK;
}

/* The index of a pair, which is made if it is new; NONE if there is no memory for it. */
static int32_t find_pair(trainer *t, int32_t left, int32_t right)
{
    uint64_t i = pair_hash(left, right) & t->pair_mask;
    for (; t->pair_slots[i] != NONE; i = (i + 1) & t->pair_mask) {
        const pair *p = &t->pairs[t->pair_slots[i]];
        if (p->left == left && p->right == right) return t->pair_slots[i];
    }
    if (t->n_pairs == INT32_MAX / 2) return too_many(t, "distinct pairs"), NONE;
    if (!tn__array_grow(t->ctx, &t->pairs, &t->room_pairs, t->n_pairs + 1, sizeof *t->pairs))
        return NONE;
    int32_t index = (int32_t)t->n_pairs++;
    t->pairs[index] = (pair){ .left = left, .right = right, .list = NONE };
    t->pair_slots[i] = index;
    if ((uint64_t)t->n_pairs * 2 > t->pair_mask && grow_pair_slots(t) != TN_OK) return NONE;
    return index;
}

/* Word w has the pair once more. */
static tn_status add_pair(trainer *t, int32_t left, int32_t right, int32_t w)
{
    int32_t p = find_pair(t, left, right), i = t->free_nodes;
    if (p == NONE) return TN_ERR_MEMORY;
    pair *q = &t->pairs[p];
    q->count += t->words[w].count;
    if (q->list != NONE && t->nodes[q->list].word == w) return TN_OK; /* named already */
    if (i != NONE) {
        t->free_nodes = t->nodes[i].next;
    } else {
        if (t->n_nodes == INT32_MAX) return too_many(t, "places of pairs");
        if (!tn__array_grow(t->ctx, &t->nodes, &t->room_nodes, t->n_nodes + 1, sizeof *t->nodes))
            return TN_ERR_MEMORY;
        i = (int32_t)t->n_nodes++;
    }
    t->nodes[i] = (node){ .word = w, .next = q->list };
    q->list = i;
    return TN_OK;
}

static tn_status remove_pair(trainer *t, int32_t left, int32_t right, int32_t w)
{
    int32_t p = find_pair(t, left, right);
    if (p == NONE) return TN_ERR_MEMORY;
    t->pairs[p].count -= t->words[w].count;
    return TN_OK;
}

/* Turns the words into ids of bytes and counts their pairs. */
static tn_status count_pairs(trainer *t)
{
    int64_t n = 0;
    for (int64_t w = 0; w < t->n_words; w++) t->words[w].at = n, n += t->words[w].length;
    t->ids = tn__array_new(t->ctx, n, sizeof *t->ids);
    if (!t->ids) return TN_ERR_MEMORY;
    tn_status status = grow_pair_slots(t);
    for (int64_t w = 0; w < t->n_words && status == TN_OK; w++) {
        const word *v = &t->words[w];
        int32_t    *ids = t->ids + v->at;
        for (int32_t i = 0; i < v->length; i++) ids[i] = TN_N_SPECIAL_IDS + v->bytes[i];
        for (int32_t i = 0; i + 1 < v->length && status == TN_OK; i++)
            status = add_pair(t, ids[i], ids[i + 1], (int32_t)w);
    }
    return status;
}

/* ---- the heap ---------------------------------------------------------------------------- */

/* a comes before b: more frequent, else the lower ids. */
static bool is_before(const trainer *t, heap_entry a, heap_entry b)
{
    const pair *p = &t->pairs[a.pair], *q = &t->pairs[b.pair];
    if (a.count != b.count) return a.count > b.count;
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static tn_status heap_push(trainer *t, int32_t p)
{
    heap_entry e = { .count = t->pairs[p].count, .pair = p };
    if (!tn__array_grow(t->ctx, &t->heap, &t->room_heap, t->n_heap + 1, sizeof *t->heap))
        return TN_ERR_MEMORY;
    int64_t i = t->n_heap++;
    for (; i > 0 && is_before(t, e, t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = e;
    return TN_OK;
}

/* Puts e in the place of the top. */
static void heap_replace_top(trainer *t, heap_entry e)
{
    int64_t i = 0, child;
    while ((child = 2 * i + 1) < t->n_heap) {
        if (child + 1 < t->n_heap && is_before(t, t->heap[child + 1], t->heap[child])) child++;
        if (!is_before(t, t->heap[child], e)) break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = e;
}

/* The most frequent pair, taken off the heap; NONE if none has min_count. */
static int32_t heap_pop(trainer *t, int64_t min_count)
{
    while (t->n_heap > 0) {
        heap_entry top = t->heap[0];
        int64_t    count = t->pairs[top.pair].count;
        if (count == top.count || count < min_count) {
            heap_entry last = t->heap[--t->n_heap];
            if (t->n_heap > 0) heap_replace_top(t, last);
            if (count >= min_count) return top.pair;
        } else {
            heap_replace_top(t, (heap_entry){ .count = count, .pair = top.pair });
        }
    }
    return NONE;
}

/* ---- merging ----------------------------------------------------------------------------- */

/* Joins (left, right) to `id` wherever word w has it, from the left, and moves the counts of the
 * neighbours along. What has been written already stands before `to`. */
static tn_status merge_in_word(trainer *t, int32_t w, int32_t left, int32_t right, int32_t id)
{
    word    *v = &t->words[w];
    int32_t *ids = t->ids + v->at, n = v->length, to = 0;
    tn_status s = TN_OK;
    for (int32_t i = 0; i < n && s == TN_OK; i++) {
        if (ids[i] != left || i + 1 >= n || ids[i + 1] != right) {
            ids[to++] = ids[i];
            continue;
        }
        if (to > 0) {
            s = remove_pair(t, ids[to - 1], left, w);
            if (s == TN_OK) s = add_pair(t, ids[to - 1], id, w);
        }
        if (s == TN_OK && i + 2 < n) {
            s = remove_pair(t, right, ids[i + 2], w);
            if (s == TN_OK) s = add_pair(t, id, ids[i + 2], w);
        }
        ids[to++] = id;
        i++;
    }
    v->length = to;
    return s;
}

static tn_status merge(trainer *t, int32_t p, int32_t id, int64_t min_count)
{
    int32_t   left = t->pairs[p].left, right = t->pairs[p].right;
    int64_t   first_new = t->n_pairs;
    tn_status s = TN_OK;
    int32_t   i = t->pairs[p].list;
    t->pairs[p].list = NONE;
    while (i != NONE && s == TN_OK) {
        node here = t->nodes[i];
        t->nodes[i].next = t->free_nodes;
        t->free_nodes = i;
        s = merge_in_word(t, here.word, left, right, id);
        i = here.next;
    }
    t->pairs[p].count = 0;
    for (int64_t q = first_new; q < t->n_pairs && s == TN_OK; q++)
        if (t->pairs[q].count >= min_count) s = heap_push(t, (int32_t)q);
    return s;
}

/* ---- the whole --------------------------------------------------------------------------- */

static tn_status train(trainer *t, tn_tokenizer *tokenizer, int64_t n_merges,
                       const tn_tokenizer_options *o)
{
    int64_t     min_count = o->min_count > 0 ? o->min_count : DEFAULT_MIN_COUNT;
    const char *why;
    tn_status   s = TN_OK;
    for (int64_t p = 0; p < t->n_pairs && s == TN_OK; p++)
        if (t->pairs[p].count >= min_count) s = heap_push(t, (int32_t)p);
    for (int64_t k = 0; k < n_merges && s == TN_OK; k++) {
        if (o->progress && k % REPORT_EVERY == 0 && !o->progress(o->user, k, n_merges))
            return tn_fail(t->ctx, TN_ERR_CANCELLED, "tokenizer_train: cancelled after %lld merges",
                           (long long)k);
        int32_t p = heap_pop(t, min_count);
        if (p == NONE) break;
        s = tn__tokenizer_add(tokenizer, t->pairs[p].left, t->pairs[p].right, &why);
        if (s == TN_OK) s = merge(t, p, (int32_t)(TN_MIN_VOCAB + k), min_count);
    }
    if (s == TN_OK && o->progress) o->progress(o->user, n_merges, n_merges);
    return s;
}

static void trainer_clear(trainer *t)
{
    tn_free(t->ctx, t->words);
    tn_free(t->ctx, t->word_slots);
    tn_free(t->ctx, t->ids);
    tn_free(t->ctx, t->pairs);
    tn_free(t->ctx, t->pair_slots);
    tn_free(t->ctx, t->nodes);
    tn_free(t->ctx, t->heap);
}

static tn_status check_texts(tn_ctx *ctx, const tn_text *texts, int64_t n, int64_t vocab)
{
    if (n < 0 || (!texts && n > 0))
        return tn_fail(ctx, TN_ERR_ARG, "tokenizer_train: NULL texts");
    for (int64_t i = 0; i < n; i++)
        if (!texts[i].bytes && texts[i].length > 0)
            return tn_fail(ctx, TN_ERR_ARG, "tokenizer_train: text %lld is NULL", (long long)i);
    if (vocab < TN_MIN_VOCAB || vocab > TN__MAX_VOCAB)
        return tn_fail(ctx, TN_ERR_ARG, "tokenizer_train: a vocabulary of %lld is not in [%d, %d]",
                       (long long)vocab, TN_MIN_VOCAB, TN__MAX_VOCAB);
    return TN_OK;
}

tn_tokenizer *tn_tokenizer_train(tn_ctx *ctx, const tn_text *texts, int64_t n,
                                 const tn_tokenizer_options *options)
{
    tn_tokenizer_options o = options ? *options : (tn_tokenizer_options){ 0 };
    int64_t              vocab = o.vocab ? o.vocab : DEFAULT_VOCAB;
    if (!ctx || check_texts(ctx, texts, n, vocab) != TN_OK) return NULL;
    tn_tokenizer *tokenizer = tn__tokenizer_new(ctx, vocab - TN_MIN_VOCAB);
    if (!tokenizer) return NULL;
    trainer   t = { .ctx = ctx, .free_nodes = NONE };
    tn_status s = count_words(&t, texts, n);
    if (s == TN_OK) s = count_pairs(&t);
    if (s == TN_OK) s = train(&t, tokenizer, vocab - TN_MIN_VOCAB, &o);
    trainer_clear(&t);
    if (s == TN_OK) return tokenizer;
    tn_tokenizer_free(tokenizer);
    return NULL;
}
