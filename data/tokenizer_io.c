/* The tokenizer's file format, docs/tokenizer-format.md: a text of merges with a checksum. What is
 * read may have been made by anyone: each line is checked before it is believed. */
#include "data/bpe.h"
#include "tensor/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char magic[] = "libtensor-tokenizer 1\n", kind[] = "kind byte-bpe\n",
                  split[] = "split 1\n", specials[] = "specials pad unk bos eos\n";

enum { MERGE_TEXT = 2 * 8 + 2 }; /* two ids below TN__MAX_VOCAB, a space, a line feed */

/* CRC-32 of IEEE 802.3, as zlib, gzip and PNG have it; four bits at a time. */
static uint32_t crc32_of(const char *bytes, size_t n)
{
    uint32_t table[16], crc = 0xffffffff;
    for (uint32_t i = 0; i < 16; i++) {
        table[i] = i;
        for (int k = 0; k < 4; k++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
    }
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* ---- writing ----------------------------------------------------------------------------- */

char *tn_tokenizer_pack(const tn_tokenizer *t, size_t *length)
{
    if (!t || !length) {
        if (t) tn_fail(tn__tokenizer_ctx(t), TN_ERR_ARG, "tokenizer_pack: NULL length");
        return NULL;
    }
    int64_t vocab = tn_tokenizer_vocab(t), n_merges = vocab - TN_MIN_VOCAB;
    size_t  room = 256 + (size_t)n_merges * MERGE_TEXT, n;
    char   *text = tn_alloc(tn__tokenizer_ctx(t), room);
    if (!text) return NULL;
    n = (size_t)snprintf(text, room, "%s%s%s%smerges %" PRId64 "\n", magic, kind, split, specials,
                         n_merges);
    for (int64_t id = TN_MIN_VOCAB; id < vocab; id++) {
        int32_t part[2];
        tn__tokenizer_merge(t, id, part);
        n += (size_t)snprintf(text + n, room - n, "%" PRId32 " %" PRId32 "\n", part[0], part[1]);
    }
    n += (size_t)snprintf(text + n, room - n, "crc32 %08" PRIx32 "\n", crc32_of(text, n));
    *length = n;
    return text;
}

tn_status tn_tokenizer_save(const tn_tokenizer *t, const char *path)
{
    size_t length;
    if (!t) return TN_ERR_ARG;
    tn_ctx *ctx = tn__tokenizer_ctx(t);
    if (!path) return tn_fail(ctx, TN_ERR_ARG, "tokenizer_save: NULL path");
    char *text = tn_tokenizer_pack(t, &length);
    if (!text) return TN_ERR_MEMORY;
    tn_status status = tn__file_write(ctx, path, text, length);
    tn_free(ctx, text);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------- */

typedef struct reader {
    tn_ctx     *ctx;
    const char *name, *at, *end;
    long long   line;
} reader;

TN_PRINTF(2, 3) static tn_status refuse(const reader *r, const char *format, ...)
{
    char    why[160];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return tn_fail(r->ctx, TN_ERR_FORMAT, "%s:%lld: %s", r->name, r->line, why);
}

/* Takes some fixed text. */
static bool take(reader *r, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0) return false;
    r->at += n;
    return true;
}

static tn_status take_line(reader *r, const char *text)
{
    if (!take(r, text)) return refuse(r, "expected \"%.*s\"", (int)strlen(text) - 1, text);
    r->line++;
    return TN_OK;
}

/* Takes a decimal number of up to 8 digits, as it is written: no sign, no leading zeros. */
static bool take_number(reader *r, int64_t *value)
{
    const char *start = r->at;
    *value = 0;
    while (r->at < r->end && r->at - start < 8 && *r->at >= '0' && *r->at <= '9')
        *value = *value * 10 + (*r->at++ - '0');
    return r->at > start && (*start != '0' || r->at == start + 1);
}

static tn_status read_header(reader *r, int64_t *n_merges)
{
    tn_status s = take_line(r, magic);
    if (s == TN_OK) s = take_line(r, kind);
    if (s == TN_OK) s = take_line(r, split);
    if (s == TN_OK) s = take_line(r, specials);
    if (s != TN_OK) return s;
    if (!take(r, "merges ") || !take_number(r, n_merges) || !take(r, "\n"))
        return refuse(r, "expected \"merges\" and their number");
    if (*n_merges > TN__MAX_VOCAB - TN_MIN_VOCAB || *n_merges > (r->end - r->at) / 4)
        return refuse(r, "%lld merges cannot be in the %lld bytes that follow",
                      (long long)*n_merges, (long long)(r->end - r->at));
    r->line++;
    return TN_OK;
}

static tn_status read_merges(reader *r, tn_tokenizer *t, int64_t n_merges)
{
    for (int64_t i = 0; i < n_merges; i++, r->line++) {
        int64_t     left, right;
        const char *why = NULL;
        if (!take_number(r, &left) || !take(r, " ") || !take_number(r, &right) || !take(r, "\n"))
            return refuse(r, "expected two ids: merge %lld of %lld", (long long)i + 1,
                          (long long)n_merges);
        tn_status s = tn__tokenizer_add(t, left, right, &why);
        if (s == TN_ERR_FORMAT)
            return refuse(r, "%lld and %lld: %s", (long long)left, (long long)right, why);
        if (s != TN_OK) return s;
    }
    return TN_OK;
}

static tn_status read_checksum(reader *r, const char *start)
{
    char     text[32];
    uint32_t crc = crc32_of(start, (size_t)(r->at - start));
    snprintf(text, sizeof text, "crc32 %08" PRIx32 "\n", crc);
    if (!take(r, text))
        return refuse(r, "expected \"crc32 %08" PRIx32 "\": the file is damaged or was edited",
                      crc);
    if (r->at != r->end)
        return refuse(r, "%lld bytes after the checksum", (long long)(r->end - r->at));
    return TN_OK;
}

tn_tokenizer *tn_tokenizer_unpack(tn_ctx *ctx, const char *name, const char *bytes, size_t length)
{
    int64_t n_merges;
    if (!ctx || !name || (!bytes && length > 0)) {
        tn_fail(ctx, TN_ERR_ARG, "tokenizer_unpack: NULL %s", name ? "bytes" : "name");
        return NULL;
    }
    if (!bytes) bytes = "";
    reader r = { .ctx = ctx, .name = name, .at = bytes, .end = bytes + length, .line = 1 };
    if (read_header(&r, &n_merges) != TN_OK) return NULL;
    tn_tokenizer *t = tn__tokenizer_new(ctx, n_merges);
    if (!t) return NULL;
    if (read_merges(&r, t, n_merges) == TN_OK && read_checksum(&r, bytes) == TN_OK) return t;
    tn_tokenizer_free(t);
    return NULL;
}

tn_tokenizer *tn_tokenizer_load(tn_ctx *ctx, const char *path)
{
    size_t length = 0;
    if (!ctx || !path) {
        tn_fail(ctx, TN_ERR_ARG, "tokenizer_load: NULL path");
        return NULL;
    }
    char *bytes = tn__file_read(ctx, path, (size_t)1 << 30, &length);
    if (!bytes) return NULL;
    tn_tokenizer *t = tn_tokenizer_unpack(ctx, path, bytes, length);
    tn_free(ctx, bytes);
    return t;
}
