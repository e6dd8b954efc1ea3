/* The tokenizer: its tables, encoding by merging the pair of the lowest id until none is left, and
 * decoding by copying the bytes of each id. */
#include "data/bpe.h"
#include "tensor/internal.h"

#include <string.h>

enum { CACHE_SIZE = 1 << 14, CACHE_BYTES = 30, CACHE_IDS = 8 };

/* A piece that was encoded before. Direct-mapped: a newer piece takes the place of an older one. */
typedef struct cache_line {
    uint8_t length, n; /* 0: empty */
    uint8_t bytes[CACHE_BYTES];
    int32_t ids[CACHE_IDS];
} cache_line;

/* One slot of the table of merges; id 0: empty. */
typedef struct merge_slot {
    int32_t left, right, id;
} merge_slot;

struct tn_tokenizer {
    tn_ctx     *ctx;
    int64_t     n_merges, max_merges;
    int32_t   (*part)[2]; /* [max_merges]: what each merge joins */
    size_t     *token;    /* [256 + max_merges + 1]: where each token starts, and the end */
    char       *bytes;    /* of all tokens */
    int64_t     room;     /* of bytes */
    merge_slot *slots;    /* [mask + 1]: (left, right) -> id, open addressing */
    uint64_t    mask;
    cache_line *cache;    /* [CACHE_SIZE] */
};

/* ---- tables ------------------------------------------------------------------------------ */

uint64_t tn__piece_hash(const unsigned char *s, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, word = 0;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = tn__mix64(h ^ word);
    }
    word = 0;
    memcpy(&word, s, n);
    return tn__mix64(h ^ word);
}

static merge_slot *slot_of(const tn_tokenizer *t, int32_t left, int32_t right)
{
    uint64_t i = tn__mix64((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & t->mask;
    while (t->slots[i].id && (t->slots[i].left != left || t->slots[i].right != right))
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

tn_tokenizer *tn__tokenizer_new(tn_ctx *ctx, int64_t n_merges)
{
    tn_tokenizer *t = tn_alloc(ctx, sizeof *t);
    uint64_t      n_slots = 16;
    if (!t) return NULL;
    while (n_slots < 2 * (uint64_t)n_merges) n_slots *= 2;
    t->ctx = ctx;
    t->max_merges = n_merges;
    t->mask = n_slots - 1;
    t->part = tn__array_new(ctx, n_merges, sizeof *t->part);
    t->token = tn__array_new(ctx, 256 + n_merges + 1, sizeof *t->token);
    t->slots = tn__array_new(ctx, (int64_t)n_slots, sizeof *t->slots);
    t->cache = tn__array_new(ctx, CACHE_SIZE, sizeof *t->cache);
    if (!t->part || !t->token || !t->slots || !t->cache ||
        !tn__array_grow(ctx, &t->bytes, &t->room, 256, 1)) {
        tn_tokenizer_free(t);
        return NULL;
    }
    for (int i = 0; i < 256; i++) t->bytes[i] = (char)i, t->token[i + 1] = (size_t)i + 1;
    return t;
}

void tn_tokenizer_free(tn_tokenizer *t)
{
    if (!t) return;
    tn_free(t->ctx, t->part);
    tn_free(t->ctx, t->token);
    tn_free(t->ctx, t->bytes);
    tn_free(t->ctx, t->slots);
    tn_free(t->ctx, t->cache);
    tn_free(t->ctx, t);
}

static size_t token_length(const tn_tokenizer *t, int64_t id)
{
    return t->token[id - TN_N_SPECIAL_IDS + 1] - t->token[id - TN_N_SPECIAL_IDS];
}

static const char *token_bytes(const tn_tokenizer *t, int64_t id)
{
    return t->bytes + t->token[id - TN_N_SPECIAL_IDS];
}

static const char *why_no_merge(const tn_tokenizer *t, int64_t left, int64_t right)
{
    int64_t vocab = tn_tokenizer_vocab(t);
    if (t->n_merges == t->max_merges) return "more merges than were announced";
    if (left < TN_N_SPECIAL_IDS || right < TN_N_SPECIAL_IDS) return "a special id cannot be merged";
    if (left >= vocab || right >= vocab) return "an id that is not below that of the merge";
    if (token_length(t, left) + token_length(t, right) > TN__MAX_PIECE)
        return "a token longer than a piece";
    if (slot_of(t, (int32_t)left, (int32_t)right)->id) return "the same pair as an earlier merge";
    return NULL;
}

tn_status tn__tokenizer_add(tn_tokenizer *t, int64_t left, int64_t right, const char **why)
{
    if ((*why = why_no_merge(t, left, right))) return TN_ERR_FORMAT;
    size_t  a = token_length(t, left), b = token_length(t, right);
    size_t  end = t->token[256 + t->n_merges];
    int32_t l = (int32_t)left, r = (int32_t)right;
    int64_t need = (int64_t)(end + a + b);
    if (!tn__array_grow(t->ctx, &t->bytes, &t->room, need, 1)) return TN_ERR_MEMORY;
    memcpy(t->bytes + end, token_bytes(t, left), a);
    memcpy(t->bytes + end + a, token_bytes(t, right), b);
    *slot_of(t, l, r) = (merge_slot){ l, r, (int32_t)(TN_MIN_VOCAB + t->n_merges) };
    t->part[t->n_merges][0] = l, t->part[t->n_merges][1] = r;
    t->token[256 + ++t->n_merges] = end + a + b;
    return TN_OK;
}

void tn__tokenizer_merge(const tn_tokenizer *t, int64_t id, int32_t part[2])
{
    memcpy(part, t->part[id - TN_MIN_VOCAB], sizeof t->part[0]);
}

tn_ctx *tn__tokenizer_ctx(const tn_tokenizer *t) { return t->ctx; }
int64_t tn_tokenizer_vocab(const tn_tokenizer *t) { return t ? TN_MIN_VOCAB + t->n_merges : 0; }

tn_text tn_tokenizer_token(const tn_tokenizer *t, int64_t id)
{
    if (!t || id < TN_N_SPECIAL_IDS || id >= tn_tokenizer_vocab(t)) return (tn_text){ "", 0 };
    return (tn_text){ token_bytes(t, id), token_length(t, id) };
}

/* ---- encoding ---------------------------------------------------------------------------- */

/* The id that joins two neighbours; INT32_MAX if none does. */
static int32_t joined(const tn_tokenizer *t, int32_t left, int32_t right)
{
    int32_t id = slot_of(t, left, right)->id;
    return id ? id : INT32_MAX;
}

/* Merges within one piece: of all neighbours, those that training joined first, from the left. */
static int encode_piece(const tn_tokenizer *t, const unsigned char *s, size_t length, int32_t *ids)
{
    int32_t join[TN__MAX_PIECE]; /* [i]: what joins ids i and i + 1 */
    int     n = (int)length;
    for (int i = 0; i < n; i++) ids[i] = TN_N_SPECIAL_IDS + s[i];
    for (int i = 0; i + 1 < n; i++) join[i] = joined(t, ids[i], ids[i + 1]);
    for (;;) {
        int     at = 0;
        int32_t best = INT32_MAX;
        for (int i = 0; i + 1 < n; i++)
            if (join[i] < best) best = join[i], at = i;
        if (best == INT32_MAX) return n;
        ids[at] = best;
        n--;
        memmove(ids + at + 1, ids + at + 2, (size_t)(n - at - 1) * sizeof *ids);
        if (at + 1 < n) memmove(join + at, join + at + 1, (size_t)(n - at - 1) * sizeof *join);
        if (at > 0) join[at - 1] = joined(t, ids[at - 1], best);
        if (at + 1 < n) join[at] = joined(t, best, ids[at + 1]);
    }
}

/* The same through the cache; *result is there until the next call. */
static int encode_cached(const tn_tokenizer *t, const unsigned char *s, size_t length,
                         int32_t scratch[TN__MAX_PIECE], const int32_t **result)
{
    *result = scratch;
    if (length > CACHE_BYTES) return encode_piece(t, s, length, scratch);
    cache_line *line = &t->cache[tn__piece_hash(s, length) % CACHE_SIZE];
    if (line->length == length && memcmp(line->bytes, s, length) == 0) {
        *result = line->ids;
        return line->n;
    }
    int n = encode_piece(t, s, length, scratch);
    if (n > CACHE_IDS) return n;
    line->length = (uint8_t)length, line->n = (uint8_t)n;
    memcpy(line->bytes, s, length);
    memcpy(line->ids, scratch, (size_t)n * sizeof *scratch);
    return n;
}

int64_t tn_tokenizer_encode(tn_tokenizer *t, const char *text, size_t length, int32_t *ids,
                            int64_t capacity)
{
    const unsigned char *s = (const unsigned char *)text;
    int32_t              scratch[TN__MAX_PIECE];
    const int32_t       *result;
    int64_t              n_ids = 0;
    if (!t || !text) return 0;
    if (!ids) capacity = 0;
    for (size_t i = 0, size; i < length; i += size) {
        size = tn__piece(s + i, length - i);
        int     n = encode_cached(t, s + i, size, scratch, &result);
        int64_t room = capacity - n_ids, fits = n < room ? n : room;
        if (fits > 0) memcpy(ids + n_ids, result, (size_t)fits * sizeof *ids);
        n_ids += n;
    }
    return n_ids;
}

/* ---- decoding ---------------------------------------------------------------------------- */

int64_t tn_tokenizer_decode(const tn_tokenizer *t, const int32_t *ids, int64_t n, char *text,
                            size_t capacity)
{
    size_t  length = 0;
    int64_t vocab = tn_tokenizer_vocab(t);
    if (!t || (!ids && n > 0)) return -1;
    if (!text) capacity = 0;
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= vocab) {
            tn_fail(t->ctx, TN_ERR_INDEX, "tokenizer_decode: id %d at %lld is not in [0, %lld)",
                    (int)ids[i], (long long)i, (long long)vocab);
            return -1;
        }
        tn_text token = tn_tokenizer_token(t, ids[i]);
        size_t  room = length + 1 < capacity ? capacity - 1 - length : 0;
        size_t  fits = token.length < room ? token.length : room;
        if (fits > 0) memcpy(text + length, token.bytes, fits);
        length += token.length;
    }
    if (capacity > 0) text[length < capacity ? length : capacity - 1] = 0;
    return (int64_t)length;
}
