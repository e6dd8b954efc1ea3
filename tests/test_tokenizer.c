/* The tokenizer: pieces, training against a plain trainer, lossless round trips, the file format
 * and what it refuses. */
#include "check.h"
#include "failing.h"
#include "data/bpe.h"

#include <inttypes.h>
#include <unistd.h>

enum { MAX_TEXT = 4096 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static const char sample[] =
    "the cat sat on the mat. The cats sat on the mats, the cat's mat!  aaaa aaaaa aaa\n"
    "l'été dernier, l’hiver prochain; c'est l'heure d'été... (2010, 2011, 12345)\n"
    "使用文件 使用文件夹，文件。 GTK GTK+ 2.0\n";

static const char *temporary(void)
{
    static char path[256];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/tn_tokenizer_%ld", dir ? dir : "/tmp", (long)getpid());
    return path;
}

static tn_tokenizer *train_sample(tn_ctx *ctx, int64_t vocab)
{
    tn_text text = tn_text_of(sample);
    return tn_tokenizer_train(ctx, &text, 1, &(tn_tokenizer_options){ .vocab = vocab });
}

/* ---- pieces ------------------------------------------------------------------------------ */

TEST(tokenizer, pieces)
{
    static const struct { const char *text, *pieces; } cases[] = {
        { "Il y a 1234 l'eau...", "Il| y| a| 123|4| l'|eau|..." },
        { "don't 'quoted' dogs' l’eau", "don'|t| '|quoted|'| dogs|'| l’|eau" },
        { "a  b   c", "a| | b|  | c" },
        { "  \n x\t\ty \n", "  \n| x|\t\t|y| \n" },
        { " ", " " }, { "  ", "  " }, { "a ", "a| " },
        { "foo(bar[1]);", "foo|(|bar|[|1|]);" },
        { "用GTK文件。", "用|GTK|文件|。" },
        { "\xc3\xa9t\xc3\xa9\xc2\xa0: \xc2\xab", "\xc3\xa9t\xc3\xa9|\xc2\xa0:| \xc2\xab" },
        { "a\xff\xfe" "b\xc3", "a|\xff\xfe|b|\xc3" },
        { "１２３４ 1", "１２３|４| 1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned char *s = (const unsigned char *)cases[i].text;
        size_t               n = strlen(cases[i].text), out = 0;
        char                 got[128];
        for (size_t at = 0, size; at < n; at += size) {
            size = tn__piece(s + at, n - at);
            if (at > 0) got[out++] = '|';
            memcpy(got + out, s + at, size);
            out += size;
        }
        got[out] = 0;
        CHECK_STR(got, cases[i].pieces);
    }
}

TEST(tokenizer, long_pieces)
{
    unsigned char text[300];
    memset(text, 'a', sizeof text);
    CHECK_INT(tn__piece(text, sizeof text), 64);
    memset(text, ' ', sizeof text);
    CHECK_INT(tn__piece(text, sizeof text), 64);
    text[0] = 'x';
    for (size_t i = 1; i + 3 <= sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 3);
    memcpy(text, " ", 1);
    CHECK_INT(tn__piece(text, 298), 64); /* a space and 21 characters of 3 bytes */
    for (size_t i = 0; i + 3 <= sizeof text; i += 3) memcpy(text + i, "\xe6\x96\x87", 3);
    CHECK_INT(tn__piece(text, sizeof text), 63); /* a character is not cut */
}

/* ---- training ---------------------------------------------------------------------------- */

/* What training should do, without tables: all pairs are counted anew for every merge. */
typedef struct plain_word {
    int32_t ids[TN__MAX_PIECE];
    int     n;
} plain_word;

static plain_word plain[MAX_TEXT];

static int plain_words(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t               left = strlen(text);
    int                  n = 0;
    while (left > 0) {
        size_t size = tn__piece(s, left);
        for (size_t i = 0; i < size; i++) plain[n].ids[i] = 4 + s[i];
        plain[n++].n = (int)size;
        s += size, left -= size;
    }
    return n;
}

static int64_t plain_count(int n_words, int32_t left, int32_t right)
{
    int64_t count = 0;
    for (int w = 0; w < n_words; w++)
        for (int i = 0; i + 1 < plain[w].n; i++)
            count += plain[w].ids[i] == left && plain[w].ids[i + 1] == right;
    return count;
}

/* The most frequent pair, on ties the one of the lower ids. */
static int64_t plain_best(int n_words, int32_t best[2])
{
    int64_t most = 0;
    for (int w = 0; w < n_words; w++)
        for (int i = 0; i + 1 < plain[w].n; i++) {
            int32_t l = plain[w].ids[i], r = plain[w].ids[i + 1];
            int64_t count = plain_count(n_words, l, r);
            if (count < most || (count == most && (l > best[0] || (l == best[0] && r >= best[1]))))
                continue;
            most = count, best[0] = l, best[1] = r;
        }
    return most;
}

static void plain_merge(int n_words, const int32_t part[2], int32_t id)
{
    for (int w = 0; w < n_words; w++) {
        int to = 0;
        for (int i = 0; i < plain[w].n; i++) {
            bool is_pair =
                i + 1 < plain[w].n && plain[w].ids[i] == part[0] && plain[w].ids[i + 1] == part[1];
            plain[w].ids[to++] = is_pair ? id : plain[w].ids[i];
            i += is_pair;
        }
        plain[w].n = to;
    }
}

static void check_training(const char *text, int64_t vocab, int64_t min_count)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_text       t = tn_text_of(text);
    tn_tokenizer *k = tn_tokenizer_train(
        ctx, &t, 1, &(tn_tokenizer_options){.vocab = vocab, .min_count = min_count});
    REQUIRE(k);
    int     n = plain_words(text);
    int64_t id = TN_MIN_VOCAB;
    for (; id < vocab; id++) {
        int32_t want[2] = { INT32_MAX, INT32_MAX }, got[2];
        int64_t count = plain_best(n, want);
        if (count < (min_count ? min_count : 2)) break;
        if (id >= tn_tokenizer_vocab(k)) break;
        tn__tokenizer_merge(k, id, got);
        CHECK_MSG(got[0] == want[0] && got[1] == want[1],
                  "merge %" PRId64 ": expected %d %d (%" PRId64 " times), got %d %d", id, want[0],
                  want[1], count, got[0], got[1]);
        plain_merge(n, want, (int32_t)id);
    }
    CHECK_INT(tn_tokenizer_vocab(k), id);

    /* Encoding cuts the text that it was trained on as training did. */
    static int32_t ids[MAX_TEXT];
    int64_t        n_ids = tn_tokenizer_encode(k, text, strlen(text), ids, MAX_TEXT), at = 0;
    for (int w = 0; w < n; w++)
        for (int i = 0; i < plain[w].n; i++, at++)
            CHECK_MSG(at < n_ids && ids[at] == plain[w].ids[i],
                      "id %" PRId64 ": expected %d, got %d", at, plain[w].ids[i], ids[at]);
    CHECK_INT(n_ids, at);
    tn_tokenizer_free(k);
    tn_ctx_free(ctx);
}

TEST(tokenizer, training_equals_plain_training)
{
    check_training(sample, 380, 0);
    check_training(sample, 300, 0);
    check_training("aaaa aaaaa aaaaaaa aaabaaab baab abab abababab", 300, 1);
    check_training("low low low low low lower lower newest newest newest newest newest newest "
                   "widest widest widest",
                   300, 2);
    check_training("", 300, 1);
    uint32_t random = 7;
    for (int round = 0; round < 30; round++) {
        char   text[400];
        size_t n = 50 + next_random(&random) % 340;
        for (size_t i = 0; i < n; i++) text[i] = "aabbc d"[next_random(&random) % 7];
        text[n] = 0;
        check_training(text, 300, 1 + round % 3);
    }
}

TEST(tokenizer, known_merges)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_text       texts[] = { tn_text_of("ab ab ab abc"), tn_text_of("abc") };
    tn_tokenizer *t = tn_tokenizer_train(ctx, texts, 2, NULL);
    REQUIRE(t);
    /* ab 5 times; " ab" 3 times; "ab" + c 2 times, but once as " ab" + c by then: no more. */
    CHECK_INT(tn_tokenizer_vocab(t), TN_MIN_VOCAB + 2);
    tn_text ab = tn_tokenizer_token(t, 260), space_ab = tn_tokenizer_token(t, 261);
    CHECK(ab.length == 2 && memcmp(ab.bytes, "ab", 2) == 0);
    CHECK(space_ab.length == 3 && memcmp(space_ab.bytes, " ab", 3) == 0);
    int32_t ids[8];
    CHECK_INT(tn_tokenizer_encode(t, "abc ab", 6, ids, 8), 3);
    CHECK(ids[0] == 260 && ids[1] == 4 + 'c' && ids[2] == 261);
    CHECK_INT(tn_tokenizer_token(t, TN_EOS_ID).length, 0);
    CHECK_INT(tn_tokenizer_token(t, -1).length, 0);
    CHECK_INT(tn_tokenizer_token(t, 262).length, 0);
    tn_tokenizer_free(t);
    tn_ctx_free(ctx);
}

/* The order of the texts does not matter, and neither does who trains. */
TEST(tokenizer, training_is_deterministic)
{
    tn_ctx       *ctx = tn_ctx_new(NULL), *other = tn_ctx_new(NULL);
    tn_text       texts[6];
    size_t        n_a, n_b;
    for (int i = 0; i < 6; i++) texts[i] = (tn_text){ sample + 36 * i, 36 };
    tn_tokenizer *a = tn_tokenizer_train(ctx, texts, 6, NULL);
    for (int i = 0; i < 6; i++) texts[5 - i] = (tn_text){ sample + 36 * i, 36 };
    tn_tokenizer *b = tn_tokenizer_train(other, texts, 6, NULL);
    REQUIRE(a && b);
    char *pack_a = tn_tokenizer_pack(a, &n_a), *pack_b = tn_tokenizer_pack(b, &n_b);
    CHECK(tn_tokenizer_vocab(a) > 280);
    CHECK(n_a == n_b && memcmp(pack_a, pack_b, n_a) == 0);
    CHECK(pack_a[n_a] == 0 && strlen(pack_a) == n_a);
    tn_free(ctx, pack_a), tn_free(other, pack_b);
    tn_tokenizer_free(a), tn_tokenizer_free(b);
    tn_ctx_free(ctx), tn_ctx_free(other);
}

typedef struct report {
    int64_t calls, last, total, stop_at;
} report;

static bool note_progress(void *user, int64_t done, int64_t total)
{
    report *r = user;
    r->calls++, r->last = done, r->total = total;
    return done < r->stop_at;
}

TEST(tokenizer, utf8)
{
    CHECK(tn_text_is_utf8(tn_text_of("caf\303\251")) && tn_text_is_utf8((tn_text){ 0 }));
    CHECK(!tn_text_is_utf8(tn_text_of("caf\351")));
}

TEST(tokenizer, progress_and_arguments)
{
    tn_ctx              *ctx = tn_ctx_new(NULL);
    report               r = { .stop_at = 1000 };
    tn_tokenizer_options o = {.vocab = 350, .min_count = 1, .progress = note_progress, .user = &r};
    tn_text              text = tn_text_of(sample), bad[] = { text, { NULL, 3 } };
    tn_tokenizer        *t = tn_tokenizer_train(ctx, &text, 1, &o);
    CHECK(t && r.calls > 1 && r.last == 90 && r.total == 90);
    tn_tokenizer_free(t);
    r.stop_at = 20;
    CHECK(!tn_tokenizer_train(ctx, &text, 1, &o));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_CANCELLED);
    tn_clear_error(ctx);
    CHECK(!tn_tokenizer_train(ctx, &text, 1, &(tn_tokenizer_options){ .vocab = 259 }));
    CHECK_STR(tn_error(ctx), "tokenizer_train: a vocabulary of 259 is not in [260, 16777216]");
    tn_clear_error(ctx);
    CHECK(!tn_tokenizer_train(ctx, bad, 2, NULL));
    CHECK_STR(tn_error(ctx), "tokenizer_train: text 1 is NULL");
    tn_clear_error(ctx);
    CHECK(!tn_tokenizer_train(ctx, NULL, 2, NULL));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    CHECK(!tn_tokenizer_train(NULL, &text, 1, NULL));
    tn_tokenizer_free(NULL);
    tn_ctx_free(ctx);
}

/* ---- round trips ------------------------------------------------------------------------- */

static void check_round_trip(tn_tokenizer *t, const char *text, size_t n)
{
    static int32_t ids[MAX_TEXT];
    static char    back[MAX_TEXT + 1];
    int64_t        n_ids = tn_tokenizer_encode(t, text, n, ids, MAX_TEXT);
    CHECK(n_ids <= (int64_t)n);
    CHECK_INT(tn_tokenizer_decode(t, ids, n_ids, back, sizeof back), n);
    CHECK_MSG(memcmp(back, text, n) == 0 && back[n] == 0, "expected \"%.*s\", got \"%s\"", (int)n,
              text, back);
}

/* Bits of the sample, of UTF-8 and of anything, mixed. */
static size_t random_text(uint32_t *random, char *text, size_t room)
{
    size_t n = 0;
    while (n + 16 < room && next_random(random) % 24) {
        size_t k = 1 + next_random(random) % 12, kind = next_random(random) % 4;
        for (size_t i = 0; kind == 0 && i < k; i++) text[n++] = (char)next_random(random);
        for (size_t i = 0; kind == 1 && i < k; i++)
            text[n++] = " \n\t'a1.\xe2"[next_random(random) % 8];
        if (kind > 1)
            memcpy(text + n, sample + next_random(random) % (sizeof sample - 12), k), n += k;
    }
    return n;
}

TEST(tokenizer, lossless)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_tokenizer *t = train_sample(ctx, 400), *bare = train_sample(ctx, TN_MIN_VOCAB);
    uint32_t      random = 3;
    char          text[MAX_TEXT];
    REQUIRE(t && bare);
    CHECK_INT(tn_tokenizer_vocab(bare), TN_MIN_VOCAB);
    for (int round = 0; round < 4000; round++)
        check_round_trip(round % 8 ? t : bare, text, random_text(&random, text, sizeof text));
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++)
            text[0] = (char)a, text[1] = (char)b, check_round_trip(t, text, 2);
    memset(text, 'a', sizeof text);
    check_round_trip(t, text, sizeof text);
    memset(text, 0, sizeof text);
    check_round_trip(t, text, sizeof text);
    check_round_trip(t, sample, sizeof sample - 1);
    uint64_t before = tn_ctx_allocations(ctx);
    check_round_trip(t, sample, sizeof sample - 1);
    CHECK_INT(tn_ctx_allocations(ctx), before);
    tn_tokenizer_free(t), tn_tokenizer_free(bare);
    tn_ctx_free(ctx);
}

TEST(tokenizer, capacity)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_tokenizer *t = train_sample(ctx, 300);
    int32_t       all[64], some[64];
    char          text[64];
    REQUIRE(t);
    int64_t n = tn_tokenizer_encode(t, sample, 60, all, 64);
    CHECK_INT(tn_tokenizer_encode(t, sample, 60, NULL, 0), n);
    for (int64_t room = 0; room < n; room++) {
        memset(some, 0xff, sizeof some);
        CHECK_INT(tn_tokenizer_encode(t, sample, 60, some, room), n);
        CHECK(memcmp(some, all, (size_t)room * sizeof *some) == 0);
        CHECK_INT(some[room], -1);
    }
    for (size_t room = 0; room <= 61; room++) {
        memset(text, 'X', sizeof text);
        CHECK_INT(tn_tokenizer_decode(t, all, n, text, room), 60);
        if (room > 0) CHECK(memcmp(text, sample, room - 1) == 0 && text[room - 1] == 0);
        CHECK(text[room] == 'X');
    }
    CHECK_INT(tn_tokenizer_decode(t, all, n, NULL, 0), 60);
    int32_t special[] = { TN_BOS_ID, 4 + 'h', TN_UNK_ID, 4 + 'i', TN_EOS_ID, TN_PAD_ID };
    CHECK_INT(tn_tokenizer_decode(t, special, 6, text, sizeof text), 2);
    CHECK_STR(text, "hi");
    special[3] = 300;
    CHECK_INT(tn_tokenizer_decode(t, special, 6, text, sizeof text), -1);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_INDEX);
    CHECK_STR(tn_error(ctx), "tokenizer_decode: id 300 at 3 is not in [0, 298)");
    tn_tokenizer_free(t);
    tn_ctx_free(ctx);
}

/* ---- the file ---------------------------------------------------------------------------- */

static void check_same(tn_ctx *ctx, const tn_tokenizer *a, const tn_tokenizer *b)
{
    size_t n_a = 0, n_b = 0;
    char  *x = tn_tokenizer_pack(a, &n_a), *y = tn_tokenizer_pack(b, &n_b);
    CHECK(x && y && n_a == n_b && memcmp(x, y, n_a) == 0);
    tn_free(ctx, x), tn_free(ctx, y);
}

TEST(tokenizer, save_and_load)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_tokenizer *t = train_sample(ctx, 350);
    REQUIRE(t);
    const char *path = temporary();
    CHECK_INT(tn_tokenizer_save(t, path), TN_OK);
    tn_tokenizer *back = tn_tokenizer_load(ctx, path);
    REQUIRE(back);
    check_same(ctx, t, back);
    check_round_trip(back, sample, sizeof sample - 1);
    int32_t a[400], b[400];
    int64_t n = tn_tokenizer_encode(t, sample, sizeof sample - 1, a, 400);
    CHECK_INT(tn_tokenizer_encode(back, sample, sizeof sample - 1, b, 400), n);
    CHECK(memcmp(a, b, (size_t)n * sizeof *a) == 0);
    tn_tokenizer_free(back);
    remove(path);
    CHECK(!tn_tokenizer_load(ctx, path));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_IO);
    tn_clear_error(ctx);
    CHECK_INT(tn_tokenizer_save(t, "/no/such/folder/x"), TN_ERR_IO);
    CHECK_CONTAINS(tn_error(ctx), "cannot write /no/such/folder/x: ");
    tn_tokenizer_free(t);
    tn_ctx_free(ctx);
}

#define HEAD "libtensor-tokenizer 1\nkind byte-bpe\nsplit 1\nspecials pad unk bos eos\n"

/* Written by hand from docs/tokenizer-format.md: what is on disk today must be read for ever. */
TEST(tokenizer, format)
{
    static const char file[] = HEAD "merges 3\n101 102\n260 103\n36 261\ncrc32 102fc280\n";
    tn_ctx           *ctx = tn_ctx_new(NULL);
    tn_tokenizer     *t = tn_tokenizer_unpack(ctx, "x", file, sizeof file - 1);
    size_t            n = 0;
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(t);
    CHECK_INT(tn_tokenizer_vocab(t), 263);
    tn_text token = tn_tokenizer_token(t, 262);
    CHECK(token.length == 4 && memcmp(token.bytes, " abc", 4) == 0);
    char *pack = tn_tokenizer_pack(t, &n);
    CHECK(n == sizeof file - 1 && memcmp(pack, file, n) == 0);
    tn_free(ctx, pack);
    tn_tokenizer_free(t);
    tn_ctx_free(ctx);
}

static uint32_t plain_crc32(const char *s, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)s[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

TEST(tokenizer, refused_files)
{
    /* A merge of 64 bytes cannot grow: aa, aaaa, .. 64 a's, then one more. */
    static const char growing[] =
        HEAD "merges 7\n101 101\n260 260\n"
                                  "261 261\n262 262\n263 263\n264 264\n265 101\n";
    static const struct { const char *file, *message; } cases[] = {
        { "", "x:1: expected \"libtensor-tokenizer 1\"" },
        { "libtensor-tokenizer 2\n", "x:1: expected \"libtensor-tokenizer 1\"" },
        { "libtensor-tokenizer 1\nkind word\n", "x:2: expected \"kind byte-bpe\"" },
        { "libtensor-tokenizer 1\nkind byte-bpe\nsplit 2\n", "x:3: expected \"split 1\"" },
        { "libtensor-tokenizer 1\nkind byte-bpe\nsplit 1\nspecials pad\n",
          "x:4: expected \"specials pad unk bos eos\"" },
        { HEAD "merges\n", "x:5: expected \"merges\" and their number" },
        { HEAD "merges 01\n", "x:5: expected \"merges\" and their number" },
        { HEAD "merges -1\n", "x:5: expected \"merges\" and their number" },
        { HEAD "merges 123456789\n", "x:5: expected \"merges\" and their number" },
        { HEAD "merges 99999999\n101 102\n",
          "x:5: 99999999 merges cannot be in the 8 bytes that follow" },
        { HEAD "merges 3\n101 102\n", "x:5: 3 merges cannot be in the 8 bytes that follow" },
        { HEAD "merges 1\n101  102\n", "x:6: expected two ids: merge 1 of 1" },
        { HEAD "merges 1\n101 102\r\n", "x:6: expected two ids: merge 1 of 1" },
        { HEAD "merges 1\n101 +102\n", "x:6: expected two ids: merge 1 of 1" },
        { HEAD "merges 2\n101 102\n260 10", "x:7: expected two ids: merge 2 of 2" },
        { HEAD "merges 1\n101 260\n",
          "x:6: 101 and 260: an id that is not below that of the merge" },
        { HEAD "merges 1\n3 101\n", "x:6: 3 and 101: a special id cannot be merged" },
        { HEAD "merges 2\n101 102\n101 102\n",
          "x:7: 101 and 102: the same pair as an earlier merge" },
        { growing, "x:12: 265 and 101: a token longer than a piece" },
        { HEAD "merges 1\n101 102\n", "the file is damaged or was edited" },
        { HEAD "merges 1\n101 102\ncrc32 00000000\n", "x:7: expected \"crc32 " },
    };
    tn_ctx *ctx = tn_ctx_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(!tn_tokenizer_unpack(ctx, "x", cases[i].file, strlen(cases[i].file)));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        CHECK_CONTAINS(tn_error(ctx), cases[i].message);
        tn_clear_error(ctx);
    }
    char tail[] = HEAD "merges 0\ncrc32 XXXXXXXX\nmore";
    size_t n = sizeof HEAD "merges 0\n" - 1;
    snprintf(tail + n, sizeof tail - n, "crc32 %08" PRIx32 "\nmore", plain_crc32(tail, n));
    CHECK(!tn_tokenizer_unpack(ctx, "x", tail, sizeof tail - 1));
    CHECK_STR(tn_error(ctx), "x:6: 4 bytes after the checksum");
    tn_clear_error(ctx);
    tn_tokenizer *t = tn_tokenizer_unpack(ctx, "x", tail, sizeof tail - 5);
    CHECK(t);
    tn_tokenizer_free(t);
    CHECK(!tn_tokenizer_unpack(ctx, NULL, tail, 3));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    tn_ctx_free(ctx);
}

/* Mutated files, half of them with a checksum that fits again: refused, or a working tokenizer. */
TEST(tokenizer, mutated_files)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    tn_tokenizer *t = train_sample(ctx, 330);
    REQUIRE(t);
    size_t   n = 0;
    char    *pack = tn_tokenizer_pack(t, &n), file[2048];
    uint32_t random = 11;
    int      n_read = 0, n_refused = 0;
    REQUIRE(pack && n + 16 < sizeof file);
    for (int round = 0; round < 8000; round++) {
        size_t m = n;
        memcpy(file, pack, n);
        for (uint32_t k = next_random(&random) % 4; k-- > 0;) {
            size_t at = next_random(&random) % m;
            switch (next_random(&random) % 4) {
            case 0: file[at] = (char)next_random(&random); break;
            case 1: file[at] = "0123456789 \n"[next_random(&random) % 12]; break;
            case 2: memmove(file + at, file + at + 1, --m - at); break;
            default: memmove(file + at + 1, file + at, m++ - at); break;
            }
        }
        if (round % 16 == 0) m = next_random(&random) % (m + 1);
        if (round % 2 && m > 15)
            snprintf(file + m - 15, 16, "crc32 %08" PRIx32 "\n", plain_crc32(file, m - 15));
        char *exact = malloc(m + 1); /* so that a read past the end is noticed */
        memcpy(exact, file, m);
        tn_tokenizer *u = tn_tokenizer_unpack(ctx, "x", exact, m);
        free(exact);
        u ? n_read++ : n_refused++;
        if (u) check_round_trip(u, sample, sizeof sample - 1);
        else CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        tn_tokenizer_free(u);
        tn_clear_error(ctx);
    }
    CHECK_MSG(n_read > 500 && n_refused > 500, "%d read, %d refused", n_read, n_refused);
    tn_free(ctx, pack);
    tn_tokenizer_free(t);
    tn_ctx_free(ctx);
}

/* ---- memory ------------------------------------------------------------------------------ */

static bool whole_life(tn_ctx *ctx)
{
    int32_t       ids[64];
    const char *path = temporary();
    tn_tokenizer *t = train_sample(ctx, 300), *back = NULL;
    if (t && tn_tokenizer_encode(t, "the cat", 7, ids, 64) > 0 &&
        tn_tokenizer_save(t, path) == TN_OK)
        back = tn_tokenizer_load(ctx, path);
    bool ok = back != NULL;
    tn_tokenizer_free(t), tn_tokenizer_free(back);
    remove(path);
    return ok;
}

TEST(tokenizer, no_memory) { check_each_allocation(whole_life); }

TEST_MAIN
