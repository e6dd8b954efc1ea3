/* Reading pairs and texts: what is read, what is refused and where, gzip, mutated files. */
#include "check.h"
#include "failing.h"
#include "data/corpus.h"
#include "data/internal.h"

#include <unistd.h>

/* printf 'un\tone\ndeux\ttwo\n' | gzip -9n */
static const unsigned char pairs_gz[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x2b, 0xcd, 0xe3, 0xcc,
    0xcf, 0x4b, 0xe5, 0x4a, 0x49, 0x2d, 0xad, 0xe0, 0x2c, 0x29, 0xcf, 0xe7, 0x02, 0x00,
    0x0c, 0x26, 0x38, 0xec, 0x10, 0x00, 0x00, 0x00,
};
static const char pairs_text[] = "un\tone\ndeux\ttwo\n";

static char temporary[256];

/* Puts bytes into a file of this test and gives its path. */
static const char *file_of(const void *bytes, size_t n)
{
    const char *dir = getenv("TMPDIR");
    snprintf(temporary, sizeof temporary, "%s/tn_corpus_%ld", dir ? dir : "/tmp", (long)getpid());
    FILE *f = fopen(temporary, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n)
        check_fail(__FILE__, __LINE__, "cannot write %s", temporary);
    if (f) fclose(f);
    return temporary;
}

static void check_text(tn_text got, const char *want)
{
    CHECK_MSG(got.length == strlen(want) && memcmp(got.bytes, want, got.length) == 0,
              "expected \"%s\", got \"%.*s\"", want, (int)got.length, got.bytes);
}

static tn_corpus *parse(tn_ctx *ctx, const char *text, const tn_corpus_options *o)
{
    return tn_corpus_parse(ctx, "pairs.tsv", text, strlen(text), o);
}

TEST(corpus, pairs)
{
    tn_ctx    *ctx = tn_ctx_new(NULL);
    tn_corpus *c =
        parse(ctx, "\xef\xbb\xbfun\tone\r\ndeux mots\ttwo words\n\xc3\xa9t\xc3\xa9\tsummer", NULL);
    REQUIRE(c);
    CHECK_INT(tn_corpus_size(c), 3);
    const tn_text *s = tn_corpus_sources(c), *t = tn_corpus_targets(c);
    CHECK(t == s + 3);
    check_text(s[0], "un"), check_text(t[0], "one");
    check_text(s[1], "deux mots"), check_text(t[1], "two words");
    check_text(s[2], "\xc3\xa9t\xc3\xa9"), check_text(t[2], "summer");
    tn_corpus_free(c);

    c = parse(ctx, "un\tone\ndeux\ttwo\n", &(tn_corpus_options){ .swap = true });
    REQUIRE(c);
    check_text(tn_corpus_sources(c)[1], "two"), check_text(tn_corpus_targets(c)[0], "un");
    tn_corpus_free(c);

    c = parse(ctx, "", NULL);
    REQUIRE(c);
    CHECK_INT(tn_corpus_size(c), 0);
    tn_corpus_free(c);
    tn_corpus_free(NULL);
    CHECK_STR(tn_error(ctx), "");
    tn_ctx_free(ctx);
}

TEST(corpus, refused_lines)
{
    static const struct { const char *text, *message; } bad[] = {
        { "a\tb\nc d\n", "pairs.tsv:2: expected one tab, found 0" },
        { "a\tb\tc\n", "pairs.tsv:1: expected one tab, found 2" },
        { "a\tb\n\n", "pairs.tsv:2: expected one tab, found 0 in an empty line" },
        { "a\tb\n\tc\n", "pairs.tsv:2: the source has no text" },
        { "a\tb\r\nc\t\r\n", "pairs.tsv:2: the target has no text" },
        { "a\tb\nc\t\xff\n", "pairs.tsv:2: not UTF-8: byte 0xff at column 3" },
        { "caf\xc3\tb\n", "pairs.tsv:1: not UTF-8: byte 0xc3 at column 4" },
        { "a\xed\xa0\x80\tb\n", "pairs.tsv:1: not UTF-8: byte 0xed at column 2" },
        { "a\xc0\xaf\tb\n", "pairs.tsv:1: not UTF-8: byte 0xc0 at column 2" },
        { "a\xf4\x90\x80\x80\tb\n", "pairs.tsv:1: not UTF-8: byte 0xf4 at column 2" },
        { "a\tb\n0123456789\tabcdefgh\n", "pairs.tsv:2: 19 bytes, more than the limit of 16" },
    };
    tn_ctx *ctx = tn_ctx_new(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!parse(ctx, bad[i].text, &(tn_corpus_options){ .max_line = 16 }));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        CHECK_STR(tn_error(ctx), bad[i].message);
        tn_clear_error(ctx);
    }
    CHECK(!tn_corpus_parse(ctx, "nul.tsv", "a\0b\tc\n", 6, NULL));
    CHECK_STR(tn_error(ctx), "nul.tsv:1: NUL at column 2");
    tn_clear_error(ctx);
    CHECK(!parse(ctx, "a\tb\n", &(tn_corpus_options){ .limit = 3 }));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    tn_clear_error(ctx);
    CHECK(!tn_corpus_load(ctx, NULL, NULL));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    CHECK(!tn_corpus_load(NULL, "x", NULL));
    tn_ctx_free(ctx);
}

TEST(corpus, lenient)
{
    tn_ctx           *ctx = tn_ctx_new(NULL);
    tn_corpus_options o = { .lenient = true };
    tn_corpus        *c = parse(ctx, "a\tb\nnone\n\xff\tx\nc\td\n\te\nf\t\n\ng\th", &o);
    REQUIRE(c);
    CHECK_INT(tn_corpus_size(c), 3);
    CHECK_INT(tn_corpus_skipped(c), 5);
    CHECK(tn_corpus_targets(c) == tn_corpus_sources(c) + 3);
    check_text(tn_corpus_sources(c)[2], "g"), check_text(tn_corpus_targets(c)[1], "d");
    tn_corpus_free(c);
    o.allow_empty = true;
    c = parse(ctx, "a\tb\nnone\n\te\nf\t\n", &o);
    REQUIRE(c);
    CHECK_INT(tn_corpus_size(c), 3);
    CHECK_INT(tn_corpus_skipped(c), 1);
    tn_corpus_free(c);
    tn_ctx_free(ctx);
}

TEST(corpus, utf8)
{
    static const struct { const char *bytes; size_t n, want; } cases[] = {
        { "plain ascii, and long enough for words", 38, 38 },
        { "12345678\xc3\xa9 12345678\xe2\x82\xac 12345678\xf0\x9f\x98\x80", 36, 36 },
        { "12345678\x80", 9, 8 },           { "\xc2", 1, 0 },
        { "\xe0\x9f\xbf", 3, 0 },           { "\xe0\xa0\x80", 3, 3 },
        { "\xed\x9f\xbf", 3, 3 },           { "\xed\xa0\x80", 3, 0 },
        { "\xf0\x8f\xbf\xbf", 4, 0 },       { "\xf0\x90\x80\x80", 4, 4 },
        { "\xf4\x8f\xbf\xbf", 4, 4 },       { "\xf5\x80\x80\x80", 4, 0 },
        { "ab\xf0\x90\x80", 5, 2 },         { "", 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_INT(tn__utf8_check(cases[i].bytes, cases[i].n), cases[i].want);
    size_t size;
    CHECK_INT(tn__utf8_next((const unsigned char *)"\xf0\x9f\x98\x80", 4, &size), 0x1f600);
    CHECK_INT(size, 4);
    CHECK_INT(tn__utf8_next((const unsigned char *)"\xe2\x82\xac", 3, &size), 0x20ac);
}

TEST(corpus, files)
{
    tn_ctx    *ctx = tn_ctx_new(NULL);
    tn_corpus *c = tn_corpus_load(ctx, file_of(pairs_text, sizeof pairs_text - 1), NULL);
    REQUIRE(c);
    CHECK_INT(tn_corpus_size(c), 2);
    check_text(tn_corpus_targets(c)[1], "two");
    tn_corpus_free(c);
    CHECK(!tn_corpus_load(ctx, file_of("x\ty\nz\n", 6), NULL));
    CHECK_CONTAINS(tn_error(ctx), temporary);
    CHECK_CONTAINS(tn_error(ctx), ":2: expected one tab, found 0");
    tn_clear_error(ctx);
    CHECK(!tn_corpus_load(ctx, temporary, &(tn_corpus_options){ .limit = 5 }));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    tn_clear_error(ctx);
    CHECK(!tn_corpus_load(ctx, "/no/such/file.tsv", NULL));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_IO);
    CHECK_CONTAINS(tn_error(ctx), "cannot open /no/such/file.tsv: ");
    tn_clear_error(ctx);
    CHECK(!tn_corpus_load(ctx, "/tmp", NULL)); /* a directory */
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_IO);
    tn_clear_error(ctx);

    size_t n = 0;
    char  *text = tn_text_load(ctx, file_of("\xef\xbb\xbfone\r\ntwo\n", 12), 9, &n);
    REQUIRE(text == NULL); /* the limit is of what the file holds, mark and all */
    tn_clear_error(ctx);
    text = tn_text_load(ctx, temporary, 12, &n);
    REQUIRE(text);
    CHECK_INT(n, 9);
    CHECK_STR(text, "one\r\ntwo\n");
    tn_free(ctx, text);
    CHECK(!tn_text_load(ctx, file_of("one\ntwo\nth\xffree\n", 15), 0, &n));
    CHECK_CONTAINS(tn_error(ctx), ":3: not UTF-8: byte 0xff at offset 10");
    remove(temporary);
    tn_ctx_free(ctx);
}

/* False, and the reason checked, where the library has no zlib. */
static bool has_gzip(tn_ctx *ctx)
{
    tn_corpus *c = tn_corpus_load(ctx, file_of(pairs_gz, sizeof pairs_gz), NULL);
    if (!c) CHECK_INT(tn_ctx_status(ctx), TN_ERR_UNSUPPORTED);
    tn_clear_error(ctx);
    tn_corpus_free(c);
    return c != NULL;
}

TEST(corpus, gzip)
{
    enum { N = sizeof pairs_gz };
    tn_ctx *ctx = tn_ctx_new(NULL);
    if (!has_gzip(ctx)) {
        tn_ctx_free(ctx);
        SKIP("no zlib");
    }
    unsigned char twice[2 * N + 1];
    memcpy(twice, pairs_gz, N), memcpy(twice + N, pairs_gz, N), twice[2 * N] = 'x';
    tn_corpus *c = tn_corpus_load(ctx, file_of(twice, 2 * N), NULL);
    REQUIRE(c);
    CHECK_INT(tn_corpus_size(c), 4);
    check_text(tn_corpus_sources(c)[3], "deux");
    tn_corpus_free(c);
    CHECK(!tn_corpus_load(ctx, file_of(twice, 2 * N + 1), NULL));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
    tn_clear_error(ctx);
    CHECK(!tn_corpus_load(ctx, file_of(pairs_gz, N), &(tn_corpus_options){ .limit = 15 }));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    tn_clear_error(ctx);
    c = tn_corpus_load(ctx, temporary, &(tn_corpus_options){ .limit = 16 });
    CHECK(c);
    tn_corpus_free(c);
    for (size_t n = 2; n < N; n++) {
        CHECK(!tn_corpus_load(ctx, file_of(pairs_gz, n), NULL));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        CHECK_CONTAINS(tn_error(ctx), "truncated gzip");
        tn_clear_error(ctx);
    }
    /* Every flipped bit is noticed, but for those that say nothing about the text: in the header,
     * and between the end of the packed data and the next byte. */
    for (size_t bit = 16; bit < 8 * N; bit++) {
        memcpy(twice, pairs_gz, N);
        twice[bit / 8] ^= (unsigned char)(1 << bit % 8);
        c = tn_corpus_load(ctx, file_of(twice, N), NULL);
        CHECK_MSG(c ? bit < 80 || bit / 8 == N - 9 : tn_ctx_status(ctx) == TN_ERR_FORMAT,
                  "bit %zu flipped: expected TN_ERR_FORMAT, got \"%s\"", bit, tn_error(ctx));
        if (c) CHECK_INT(tn_corpus_size(c), 2);
        tn_corpus_free(c);
        tn_clear_error(ctx);
    }
    remove(temporary);
    tn_ctx_free(ctx);
}

/* Files that are anything at all: an answer or an error, and the same in lenient mode. */
TEST(corpus, mutated)
{
    static const char alphabet[] = "ab\t\n\r\xc3\xa9\xff\0";
    tn_ctx           *ctx = tn_ctx_new(NULL);
    uint32_t          random = 1;
    for (int round = 0; round < 3000; round++) {
        char   text[64];
        size_t n = 0;
        do {
            random = random * 1664525 + 1013904223;
            text[n++] = alphabet[(random >> 24) % (sizeof alphabet - 1)];
        } while (n < sizeof text && (random >> 8 & 31));
        tn_corpus *strict = tn_corpus_parse(ctx, "x", text, n, NULL);
        tn_corpus *c = tn_corpus_parse(ctx, "x", text, n, &(tn_corpus_options){ .lenient = true });
        REQUIRE(c);
        CHECK((strict != NULL) == (tn_corpus_skipped(c) == 0));
        for (int64_t i = 0; i < 2 * tn_corpus_size(c); i++) {
            tn_text t = tn_corpus_sources(c)[i];
            CHECK(t.length > 0 && !memchr(t.bytes, '\t', t.length) &&
                  !memchr(t.bytes, '\n', t.length));
        }
        tn_corpus_free(strict), tn_corpus_free(c);
        tn_clear_error(ctx);
    }
    tn_ctx_free(ctx);
}

static bool load_and_parse(tn_ctx *ctx)
{
    size_t     n;
    tn_corpus *c = tn_corpus_load(ctx, temporary, NULL), *d = c ? parse(ctx, "a\tb\n", NULL) : NULL;
    char      *text = d ? tn_text_load(ctx, temporary, 0, &n) : NULL;
    tn_corpus_free(c), tn_corpus_free(d), tn_free(ctx, text);
    return text != NULL;
}

TEST(corpus, no_memory)
{
    file_of(pairs_text, sizeof pairs_text - 1);
    check_each_allocation(load_and_parse);
    tn_ctx *ctx = tn_ctx_new(NULL);
    if (has_gzip(ctx)) check_each_allocation(load_and_parse);
    remove(temporary);
    tn_ctx_free(ctx);
}

TEST_MAIN
