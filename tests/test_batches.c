/* Batches: every pair once an epoch, in rows that are what they should be, within the budget, in an
 * order that seed and epoch give, with or without a thread, from the start or resumed. */
#include "check.h"
#include "failing.h"
#include "data/batches.h"
#include "data/windows.h"

enum { MAX_PAIRS = 600, MAX_IDS = 30000 };

/* Pairs of random lengths and ids. */
typedef struct some_pairs {
    int32_t        src[MAX_IDS], tgt[MAX_IDS];
    int64_t        src_at[MAX_PAIRS + 1], tgt_at[MAX_PAIRS + 1];
    tn_token_pairs pairs;
} some_pairs;

static some_pairs some; /* of the last make_pairs */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static const tn_token_pairs *make_pairs(int64_t n, int longest, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t n_src = next_random(&seed) % (uint32_t)(longest + 1);
        int64_t n_tgt = (n_src * 3 / 4 + next_random(&seed) % 8) % (longest + 1);
        some.src_at[i + 1] = some.src_at[i] + n_src, some.tgt_at[i + 1] = some.tgt_at[i] + n_tgt;
        for (int64_t k = some.src_at[i]; k < some.src_at[i + 1]; k++)
            some.src[k] = 4 + (int32_t)(next_random(&seed) % 1000);
        for (int64_t k = some.tgt_at[i]; k < some.tgt_at[i + 1]; k++)
            some.tgt[k] = 4 + (int32_t)(next_random(&seed) % 1000);
    }
    some.pairs = (tn_token_pairs){ n, some.src, some.tgt, some.src_at, some.tgt_at };
    return &some.pairs;
}

/* ---- what a batch should be -------------------------------------------------------------- */

/* Checks n ids of a row, and that `room` ids after them are pad. */
static void check_ids(const char *what, const int32_t *got, int32_t before, const int32_t *ids,
                      int64_t n, int32_t after, int64_t room)
{
    int64_t k = 0;
    if (before) CHECK_MSG(got[k] == before, "%s: expected %d first, got %d", what, before, got[k]);
    k += before != 0;
    for (int64_t i = 0; i < n; i++, k++)
        CHECK_MSG(got[k] == ids[i], "%s: id %lld: expected %d, got %d", what, (long long)i, ids[i],
                  got[k]);
    if (after) CHECK_MSG(got[k] == after, "%s: expected %d last, got %d", what, after, got[k]);
    k += after != 0;
    for (; k < room; k++)
        CHECK_MSG(got[k] == TN_PAD_ID, "%s: expected pad at %lld, got %d", what, (long long)k,
                  got[k]);
}

static void check_keep(const uint8_t *keep, const int32_t *places, int64_t n, int64_t room)
{
    for (int64_t i = 0; i < room; i++) {
        CHECK_INT(keep[i], i < n);
        if (places && i < n) CHECK_INT(places[i], i);
    }
}

/* Row `row` of a batch is the pair that it says. */
static void check_row(const tn_batch *b, const tn_token_pairs *p, const tn_batches_options *o,
                      int64_t row)
{
    bool    is_packed = o->layout == TN_BATCH_PACKED;
    int64_t i = b->index[row], most = o->max_length ? o->max_length : 256;
    int32_t end = o->source_eos ? TN_EOS_ID : 0;
    int64_t n_src = p->src_at[i + 1] - p->src_at[i], n_tgt = p->tgt_at[i + 1] - p->tgt_at[i];
    int64_t s = is_packed ? b->src_offsets[row] : row * b->src_length;
    int64_t t = is_packed ? b->tgt_offsets[row] : row * b->tgt_length;
    CHECK(o->crop || (n_src <= most && n_tgt <= most));
    if (n_src > most) n_src = most;
    if (n_tgt > most) n_tgt = most;
    CHECK_INT(b->src_lengths[row], n_src + o->source_eos);
    CHECK_INT(b->tgt_lengths[row], n_tgt + 1);
    int64_t src_room = is_packed ? b->src_offsets[row + 1] - s : b->src_length;
    int64_t tgt_room = is_packed ? b->tgt_offsets[row + 1] - t : b->tgt_length;
    if (is_packed) CHECK_INT(src_room, b->src_lengths[row]);
    if (is_packed) CHECK_INT(tgt_room, b->tgt_lengths[row]);
    check_ids("src", b->src + s, 0, p->src + p->src_at[i], n_src, end, src_room);
    check_ids("tgt_in", b->tgt_in + t, TN_BOS_ID, p->tgt + p->tgt_at[i], n_tgt, 0, tgt_room);
    check_ids("tgt_out", b->tgt_out + t, 0, p->tgt + p->tgt_at[i], n_tgt, TN_EOS_ID, tgt_room);
    check_keep(b->src_keep + s, is_packed ? b->src_places + s : NULL, n_src + (end != 0), src_room);
    check_keep(b->tgt_keep + t, is_packed ? b->tgt_places + t : NULL, n_tgt + 1, tgt_room);
}

/* The rows after the pairs hold nothing but padding. */
static void check_padding_rows(const tn_batch *b, bool is_packed)
{
    for (int64_t row = b->pairs; row < b->rows; row++) {
        CHECK_INT(b->index[row], -1);
        CHECK_INT(b->src_lengths[row], 0);
        CHECK_INT(b->tgt_lengths[row], 0);
    }
    int64_t s = is_packed ? b->src_offsets[b->pairs] : b->pairs * b->src_length;
    int64_t t = is_packed ? b->tgt_offsets[b->pairs] : b->pairs * b->tgt_length;
    int64_t rows = is_packed ? 1 : b->rows;
    check_ids("src", b->src + s, 0, NULL, 0, 0, rows * b->src_length - s);
    check_ids("tgt_in", b->tgt_in + t, 0, NULL, 0, 0, rows * b->tgt_length - t);
    check_ids("tgt_out", b->tgt_out + t, 0, NULL, 0, 0, rows * b->tgt_length - t);
    check_keep(b->src_keep + s, NULL, 0, rows * b->src_length - s);
    check_keep(b->tgt_keep + t, NULL, 0, rows * b->tgt_length - t);
    if (!is_packed) return;
    CHECK_INT(b->src_offsets[0], 0);
    for (int64_t row = b->pairs; row <= b->rows; row++) { /* padding is in none */
        CHECK_INT(b->src_offsets[row], b->src_tokens);
        CHECK_INT(b->tgt_offsets[row], b->tgt_tokens);
    }
}

static void check_batch(const tn_batch *b, const tn_token_pairs *p, const tn_batches_options *o,
                        int *seen)
{
    bool    is_packed = o->layout == TN_BATCH_PACKED;
    int64_t step = o->round_length ? o->round_length : 8, n_src = 0, n_tgt = 0;
    int64_t longest = b->src_length > b->tgt_length ? b->src_length : b->tgt_length;
    CHECK(b->pairs > 0 && b->pairs <= b->rows);
    CHECK(!o->max_rows || b->rows <= o->max_rows);
    CHECK_INT(b->rows % (o->round_rows ? o->round_rows : 1), 0);
    CHECK_INT(b->src_length % step, 0);
    CHECK_INT(b->tgt_length % step, 0);
    CHECK((is_packed ? longest : b->rows * longest) <= o->tokens);
    CHECK((b->src_offsets != NULL) == is_packed && (b->src_places != NULL) == is_packed);
    for (int64_t row = 0; row < b->pairs; row++) {
        check_row(b, p, o, row);
        n_src += b->src_lengths[row], n_tgt += b->tgt_lengths[row];
        seen[b->index[row]]++;
    }
    check_padding_rows(b, is_packed);
    CHECK_INT(b->src_tokens, n_src);
    CHECK_INT(b->tgt_tokens, n_tgt);
    if (o->fixed_shapes && !is_packed) CHECK_INT(b->src_length, b->tgt_length);
}

/* Two epochs, all of their batches. */
static void check_epochs(tn_ctx *ctx, const tn_token_pairs *p, const tn_batches_options *o)
{
    tn_batches *b = tn_batches_new(ctx, p, o);
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(b);
    CHECK_INT(tn_batches_pairs(b) + tn_batches_dropped(b), p->n);
    uint64_t allocations = tn_ctx_allocations(ctx);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        int             seen[MAX_PAIRS] = { 0 };
        int64_t         n_seen = 0, number = 0;
        const tn_batch *batch;
        do {
            tn_batches_position at = tn_batches_tell(b);
            batch = tn_batches_next(b);
            CHECK(at.epoch == epoch && at.batch == number);
            CHECK(batch->epoch == epoch && batch->number == number);
            check_batch(batch, p, o, seen);
            CHECK_INT(batch->is_last, ++number == batch->n_batches);
        } while (!batch->is_last && number < 10000);
        for (int64_t i = 0; i < p->n; i++) n_seen += seen[i] == 1;
        CHECK_INT(n_seen, tn_batches_pairs(b));
    }
    CHECK_INT(tn_ctx_allocations(ctx), allocations);
    tn_batches_free(b);
}

/* ---- tests ------------------------------------------------------------------------------- */

TEST(batches, all_options)
{
    tn_ctx               *ctx = tn_ctx_new(NULL);
    const tn_token_pairs *p = make_pairs(400, 40, 5);
    for (int bits = 0; bits < 512; bits++) {
        tn_batches_options o = {
            .layout = bits & 1 ? TN_BATCH_PACKED : TN_BATCH_PADDED,
            .tokens = bits & 2 ? 200 : 1000,
            .fixed_shapes = bits & 4,
            .round_rows = bits & 8 ? 4 : 0,
            .round_length = bits & 16 ? 1 : 0,
            .max_length = bits & 32 ? 20 : 40,
            .crop = bits & 64,
            .ordered = bits & 128,
            .source_eos = bits & 128,
            .prefetch = bits & 256,
            .max_rows = bits & 256 ? 9 : 0,
        };
        check_epochs(ctx, p, &o);
    }
    tn_ctx_free(ctx);
}

TEST(batches, edges)
{
    static const struct { int64_t n; int longest; tn_batches_options o; } cases[] = {
        { 1, 5, { .tokens = 8 } },
        { 50, 0, { .tokens = 64 } }, /* empty sentences */
        { 50, 0, { .tokens = 8, .layout = TN_BATCH_PACKED } },
        { 50, 7, { .tokens = 8, .layout = TN_BATCH_PACKED, .round_length = 1 } },
        { 500, 30, { .tokens = 100000 } }, /* one batch */
        { 500, 30, { .tokens = 100000, .fixed_shapes = true } },
        { 500, 30, { .tokens = 31, .round_length = 1 } }, /* one row */
        { 50, 1, { .tokens = 6, .layout = TN_BATCH_PACKED, .round_length = 2,
                   .fixed_shapes = true } },
    };
    tn_ctx *ctx = tn_ctx_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_epochs(ctx, make_pairs(cases[i].n, cases[i].longest, 1), &cases[i].o);
    tn_ctx_free(ctx);
}

TEST(batches, corpus_to_rows)
{
    static const char text[] = "a b\tx y z\nc\tw\n";
    tn_ctx         *ctx = tn_ctx_new(NULL);
    tn_corpus      *c = tn_corpus_parse(ctx, "x", text, sizeof text - 1, NULL);
    tn_tokenizer   *t = tn_tokenizer_train(ctx, NULL, 0, NULL);
    tn_token_pairs *p = tn_token_pairs_encode(ctx, c, t, t);
    tn_corpus_free(c);
    REQUIRE(p);
    CHECK_INT(p->n, 2);
    tn_batches *b = tn_batches_new(ctx, p, &(tn_batches_options){
        .ordered = true, .round_length = 1, .tokens = 12, .source_eos = true });
    REQUIRE(b);
    enum { A = 4 + 'a', B, C, W = 4 + 'w', X, Y, Z, S = 4 + ' ' };
    static const int32_t src[] = { C, 3, 0, 0, A, S, B, 3 };
    static const int32_t in[] = { 2, W, 0, 0, 0, 0, 2, X, S, Y, S, Z };
    static const int32_t out[] = { W, 3, 0, 0, 0, 0, X, S, Y, S, Z, 3 };
    const tn_batch      *x = tn_batches_next(b);
    CHECK(x->rows == 2 && x->pairs == 2 && x->src_length == 4 && x->tgt_length == 6 && x->is_last);
    CHECK(memcmp(x->src, src, sizeof src) == 0);
    CHECK(memcmp(x->tgt_in, in, sizeof in) == 0);
    CHECK(memcmp(x->tgt_out, out, sizeof out) == 0);
    CHECK(x->index[0] == 1 && x->index[1] == 0);
    CHECK(x->src_tokens == 6 && x->tgt_tokens == 8);
    tn_batches_free(b);
    tn_token_pairs_free(ctx, p);
    tn_tokenizer_free(t);
    tn_ctx_free(ctx);
}

/* An empty text has no ids, and what begins a corpus may be one (clang's sanitizer tells of an
 * offset from NULL). */
TEST(batches, empty_texts_first)
{
    static const char text[] = "\tx\n\t\nab\t\n";
    tn_ctx         *ctx = tn_ctx_new(NULL);
    tn_corpus      *c = tn_corpus_parse(ctx, "x", text, sizeof text - 1,
                                        &(tn_corpus_options){ .allow_empty = true });
    tn_tokenizer   *t = tn_tokenizer_train(ctx, NULL, 0, NULL);
    tn_token_pairs *p = tn_token_pairs_encode(ctx, c, t, t);
    REQUIRE(p);
    CHECK_INT(p->n, 3);
    CHECK(p->src_at[1] == 0 && p->src_at[2] == 0 && p->src_at[3] == 2);
    CHECK(p->tgt_at[1] == 1 && p->tgt_at[2] == 1 && p->tgt_at[3] == 1);
    CHECK(p->src[0] == 4 + 'a' && p->src[1] == 4 + 'b' && p->tgt[0] == 4 + 'x');
    tn_token_pairs_free(ctx, p);
    tn_tokenizer_free(t);
    tn_corpus_free(c);
    tn_ctx_free(ctx);
}

/* What a batch is, in one number. */
static uint64_t digest(const tn_batch *b)
{
    uint64_t h = (uint64_t)(b->rows * 1000003 + b->src_length * 1009 + b->tgt_length);
    for (int64_t i = 0; i < b->rows; i++) h = h * 31 + (uint64_t)b->index[i];
    for (int64_t i = 0; i < b->src_length; i++) h = h * 31 + (uint64_t)b->src[i];
    for (int64_t i = 0; i < b->tgt_length; i++) h = h * 31 + (uint64_t)b->tgt_out[i];
    return h;
}

enum { N_STEPS = 150 };

static void digests(tn_batches *b, uint64_t *out)
{
    for (int i = 0; i < N_STEPS; i++) out[i] = digest(tn_batches_next(b));
}

static int count_equal(const uint64_t *a, const uint64_t *b)
{
    int n = 0;
    for (int i = 0; i < N_STEPS; i++) n += a[i] == b[i];
    return n;
}

TEST(batches, seeds)
{
    tn_ctx               *ctx = tn_ctx_new(&(tn_ctx_options){ .seed = 7 });
    const tn_token_pairs *p = make_pairs(500, 30, 9);
    uint64_t              first[N_STEPS], again[N_STEPS];
    for (int layout = 0; layout < 2; layout++) {
        uint64_t           seeds[] = { 0, 7, 8 }; /* the context's, the same, another */
        tn_batches_options o = { .layout = (tn_batch_layout)layout, .tokens = 512,
                                 .max_length = 30 };
        for (int i = 0; i < 3; i++)
            for (int ahead = 0; ahead < 2; ahead++) {
                o.seed = seeds[i], o.prefetch = ahead;
                tn_batches *b = tn_batches_new(ctx, p, &o);
                REQUIRE(b);
                digests(b, again);
                if (i == 0 && !ahead) memcpy(first, again, sizeof first);
                int equal = count_equal(first, again);
                CHECK_MSG(i < 2 ? equal == N_STEPS : equal < N_STEPS / 4,
                          "seed %d, thread %d: %d of %d batches equal", (int)seeds[i], ahead, equal,
                          N_STEPS);
                tn_batches_free(b);
            }
    }
    tn_ctx_free(ctx);
}

/* From wherever a run stops, another goes on as it would have. */
TEST(batches, resume)
{
    tn_ctx               *ctx = tn_ctx_new(NULL);
    const tn_token_pairs *p = make_pairs(300, 30, 3);
    uint64_t              whole[N_STEPS];
    for (int kind = 0; kind < 8; kind++) {
        tn_batches_options o = { .layout = kind & 1 ? TN_BATCH_PACKED : TN_BATCH_PADDED,
                                 .tokens = 400, .max_length = 30, .prefetch = kind & 2,
                                 .ordered = kind & 4 };
        tn_batches *a = tn_batches_new(ctx, p, &o), *b = tn_batches_new(ctx, p, &o);
        REQUIRE(a && b);
        CHECK(tn_batches_fingerprint(a) == tn_batches_fingerprint(b));
        digests(a, whole);
        CHECK_INT(tn_batches_seek(a, (tn_batches_position){ 0, 0 }), TN_OK);
        for (int i = 0; i < N_STEPS; i++) {
            tn_batches_position at = tn_batches_tell(a);
            CHECK_INT(tn_batches_seek(b, at), TN_OK);
            for (int k = i; k < N_STEPS && k < i + 3; k++)
                CHECK_MSG(digest(tn_batches_next(b)) == whole[k],
                          "kind %d: resumed at %d, batch %d is another", kind, i, k);
            CHECK(digest(tn_batches_next(a)) == whole[i]);
        }
        tn_batches_position here = tn_batches_tell(a);
        uint64_t            next = digest(tn_batches_next(a));
        CHECK_INT(tn_batches_seek(a, here), TN_OK);
        tn_batches_position bad[] = { { 0, -1 }, { -1, 0 }, { 5, 1 << 20 } };
        for (int i = 0; i < 3; i++) {
            CHECK_INT(tn_batches_seek(a, bad[i]), TN_ERR_INDEX);
            CHECK_CONTAINS(tn_error(ctx), "batches_seek: no batch ");
            tn_clear_error(ctx);
        }
        CHECK(tn_batches_tell(a).epoch == here.epoch && tn_batches_tell(a).batch == here.batch);
        CHECK(digest(tn_batches_next(a)) == next);
        tn_batches_free(a), tn_batches_free(b);
    }
    tn_ctx_free(ctx);
}

TEST(batches, fingerprint)
{
    tn_ctx               *ctx = tn_ctx_new(NULL);
    const tn_token_pairs *p = make_pairs(50, 10, 3);
    tn_batches_options    o[] = { { .tokens = 100 }, { .tokens = 104 },
                                  { .tokens = 100, .seed = 1 }, { .tokens = 100, .crop = true } };
    uint64_t              f[5];
    for (int i = 0; i < 5; i++) {
        if (i == 4) some.tgt[20]++;
        tn_batches *b = tn_batches_new(ctx, p, &o[i % 4]);
        REQUIRE(b);
        f[i] = tn_batches_fingerprint(b);
        for (int k = 0; k < i; k++) CHECK(f[k] != f[i]);
        tn_batches_free(b);
    }
    tn_ctx_free(ctx);
}

/* Pairs of like lengths come together, and shuffling reaches both pairs and batches. */
TEST(batches, little_padding_and_few_shapes)
{
    tn_ctx               *ctx = tn_ctx_new(NULL);
    const tn_token_pairs *p = make_pairs(600, 40, 1);
    int64_t               real = 0, padded = 0, n_shapes = 0, shape[64][2];
    int                   n_rising = 0;
    for (int fixed = 0; fixed < 2; fixed++) {
        tn_batches *b = tn_batches_new(ctx, p, &(tn_batches_options){
            .tokens = 512, .max_length = 40, .fixed_shapes = fixed });
        REQUIRE(b);
        int64_t         last = 0;
        const tn_batch *x;
        do {
            x = tn_batches_next(b);
            if (!fixed) {
                real += x->src_tokens + x->tgt_tokens;
                padded += x->rows * (x->src_length + x->tgt_length);
                n_rising += x->src_length >= last, last = x->src_length;
                if (x->is_last) CHECK(n_rising < x->n_batches * 3 / 4);
                continue;
            }
            int64_t k = 0;
            while (k < n_shapes && (shape[k][0] != x->rows || shape[k][1] != x->src_length)) k++;
            if (k == n_shapes && n_shapes < 64)
                shape[n_shapes][0] = x->rows, shape[n_shapes++][1] = x->src_length;
        } while (!x->is_last);
        tn_batches_free(b);
    }
    CHECK_MSG(padded < real * 4 / 3, "%lld tokens, %lld padded", (long long)real,
              (long long)padded);
    CHECK_MSG(n_shapes <= 6, "%lld shapes", (long long)n_shapes); /* 8, 16, .. 48 */
    tn_ctx_free(ctx);
}

TEST(batches, refused)
{
    static const struct { tn_batches_options o; const char *message; } cases[] = {
        { { .tokens = -1 }, "batches: an option is negative" },
        { { .tokens = 64, .max_length = 64 }, "batches: a budget of 64 tokens has no room for a "
          "sentence of 64 and one more, in multiples of 8 tokens and 1 rows" },
        { { .tokens = 7 }, "batches: a budget of 7 tokens has no room for a sentence of 1" },
        { { .tokens = 4, .layout = TN_BATCH_PACKED }, "batches: a budget of 4 tokens has no room" },
        { { .tokens = 64, .round_rows = 16 }, "batches: a budget of 64 tokens has no room" },
        { { .max_rows = 3, .round_rows = 4 }, "batches: max_rows has no room for a pair in" },
        { { .max_rows = 1, .round_rows = 2, .layout = TN_BATCH_PACKED },
          "batches: max_rows has no room for a" },
        { { .layout = (tn_batch_layout)7 }, "batches: an option is negative" },
    };
    tn_ctx               *ctx = tn_ctx_new(NULL);
    const tn_token_pairs *p = make_pairs(20, 30, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(!tn_batches_new(ctx, p, &cases[i].o));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
        CHECK_CONTAINS(tn_error(ctx), cases[i].message);
        tn_clear_error(ctx);
    }
    tn_token_pairs none = *p;
    none.n = 0;
    CHECK(!tn_batches_new(ctx, &none, NULL));
    CHECK_STR(tn_error(ctx), "batches: there are no pairs");
    tn_clear_error(ctx);
    CHECK(!tn_batches_new(ctx, NULL, NULL));
    CHECK_STR(tn_error(ctx), "batches: NULL pairs");
    tn_clear_error(ctx);
    some.tgt_at[7] = some.tgt_at[8] + 1;
    CHECK(!tn_batches_new(ctx, p, NULL));
    CHECK_STR(tn_error(ctx), "batches: the offsets of pair 7 fall");
    tn_batches_free(NULL);
    CHECK(!tn_batches_next(NULL));
    tn_ctx_free(ctx);
}

/* ---- windows of a text ------------------------------------------------------------------- */

/* Token i of the text is 100 + i, so that a window shows where it is from. */
TEST(windows, epochs)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .seed = 3 });
    int32_t text[500], first[2][500];
    for (int i = 0; i < 500; i++) text[i] = 100 + i;
    tn_windows *w = tn_windows_new(ctx, text, 500, &(tn_windows_options){
        .rows = 3, .length = 10 });
    REQUIRE(w);
    uint64_t allocations = tn_ctx_allocations(ctx);
    for (int epoch = 0; epoch < 2; epoch++) {
        int                    seen[500] = { 0 }, n_seen = 0;
        const tn_window_batch *b;
        do {
            b = tn_windows_next(w);
            CHECK(b->rows == 3 && b->length == 10 && b->tokens == 30 && b->n_batches == 16);
            for (int i = 0; i < 30; i++) {
                CHECK_INT(b->out[i], b->in[i] + 1);
                if (i % 10) CHECK_INT(b->in[i], b->in[i - 1] + 1);
                CHECK(b->in[i] >= 100 && b->out[i] < 600);
                n_seen += ++seen[b->in[i] - 100];
                first[epoch][b->number] = b->in[0];
            }
        } while (!b->is_last);
        CHECK_INT(n_seen, 480); /* each once: windows do not overlap */
    }
    CHECK(memcmp(first[0], first[1], 16 * sizeof first[0][0]) != 0);
    CHECK_INT(tn_ctx_allocations(ctx), allocations);
    for (int k = 15; k >= 0; k--) {
        CHECK_INT(tn_windows_seek(w, (tn_batches_position){ 1, k }), TN_OK);
        CHECK_INT(tn_windows_next(w)->in[0], first[1][k]);
    }
    CHECK(tn_windows_tell(w).epoch == 1 && tn_windows_tell(w).batch == 1);
    CHECK_INT(tn_windows_seek(w, (tn_batches_position){ 0, 16 }), TN_ERR_INDEX);
    tn_windows_free(w);
    tn_ctx_free(ctx);
}

TEST(windows, ordered)
{
    tn_ctx *ctx = tn_ctx_new(NULL);
    int32_t text[25];
    int     n = 0;
    for (int i = 0; i < 25; i++) text[i] = 100 + i;
    tn_windows *w = tn_windows_new(ctx, text, 25, &(tn_windows_options){
        .rows = 2, .length = 7, .ordered = true });
    REQUIRE(w);
    for (int batch = 0; batch < 2; batch++) {
        const tn_window_batch *b = tn_windows_next(w);
        for (int i = 0; i < 14; i++, n++) {
            CHECK_INT(b->in[i], n < 24 ? 100 + n : TN_PAD_ID);
            CHECK_INT(b->out[i], n < 24 ? 101 + n : TN_PAD_ID);
        }
        CHECK_INT(b->tokens, batch ? 10 : 14);
        CHECK_INT(b->is_last, batch);
    }
    tn_windows_free(w);
    for (int64_t few = 0; few < 20; few++) { /* two windows of 7, wherever they start */
        tn_clear_error(ctx);
        CHECK(!tn_windows_new(ctx, text, few, &(tn_windows_options){ .rows = 2, .length = 7 }));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    }
    CHECK_STR(tn_error(ctx), "windows: 19 tokens are too few for 2 windows of 7");
    tn_clear_error(ctx);
    CHECK(!tn_windows_new(ctx, NULL, 5, NULL));
    CHECK(!tn_windows_new(ctx, text, 25, &(tn_windows_options){ .rows = -1 }));
    tn_ctx_free(ctx);
}

/* ---- memory ------------------------------------------------------------------------------ */

static bool whole_life(tn_ctx *ctx)
{
    static const char  text[] = "one two\tun deux\nthree\ttrois\nfour\tquatre\n";
    tn_corpus         *c = tn_corpus_parse(ctx, "x", text, sizeof text - 1, NULL);
    int64_t            n = 2 * tn_corpus_size(c);
    tn_batches_options o = { .prefetch = true };
    tn_tokenizer      *t = c ? tn_tokenizer_train(ctx, tn_corpus_sources(c), n, NULL) : NULL;
    tn_token_pairs    *p = t ? tn_token_pairs_encode(ctx, c, t, t) : NULL;
    tn_batches        *b = p ? tn_batches_new(ctx, p, &o) : NULL;
    tn_windows_options few = { .rows = 1, .length = 2 };
    tn_windows        *w = b ? tn_windows_new(ctx, p->src, p->src_at[p->n], &few) : NULL;
    bool               ok = b && tn_batches_next(b) && w && tn_windows_next(w);
    tn_windows_free(w);
    tn_batches_free(b);
    tn_token_pairs_free(ctx, p);
    tn_tokenizer_free(t);
    tn_corpus_free(c);
    return ok;
}

TEST(batches, no_memory) { check_each_allocation(whole_life); }

TEST_MAIN
