/* Whole files: read (plain or gzip), and written so that a crash leaves the old one. */
#include "data/internal.h"
#include "tensor/file.h"
#include "tensor/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#if !defined _WIN32
#  include <unistd.h>
#endif
#if defined TN_HAVE_ZLIB
#  include <zlib.h>
#endif

#define READ_LIMIT (SIZE_MAX / 4 < (uint64_t)16 << 30 ? SIZE_MAX / 4 : (size_t)((uint64_t)16 << 30))
#define FIRST_SIZE ((size_t)64 << 10)

/* Some bytes that grow to at most `limit`, with room for a NUL after them. */
typedef struct bytes {
    tn_ctx     *ctx;
    const char *name;
    char       *at;
    size_t      length, room, limit;
} bytes;

static bool bytes_fit(const bytes *b)
{
    if (b->length <= b->limit) return true;
    tn_fail(b->ctx, TN_ERR_LIMIT, "%s: longer than the limit of %zu bytes", b->name, b->limit);
    return false;
}

/* Room for at least one byte more than b->length (and the NUL). `guess` is what may come in all;
 * one byte more than the limit has room, so that a text of just the limit is told from a longer. */
static bool bytes_reserve(bytes *b, size_t guess)
{
    if (!bytes_fit(b)) return false;
    if (b->length < b->room) return true;
    if (guess < FIRST_SIZE || guess > b->limit) guess = FIRST_SIZE;
    size_t room = b->room ? b->room + b->room / 2 : guess;
    if (room > b->limit + 1) room = b->limit + 1;
    char *grown = tn__alloc_pages(b->ctx, room + 1);
    if (!grown) return false;
    if (b->at) memcpy(grown, b->at, b->length);
    tn_free(b->ctx, b->at);
    b->at = grown;
    b->room = room;
    return true;
}

/* ---- gzip -------------------------------------------------------------------------------- */

#if defined TN_HAVE_ZLIB

static voidpf zlib_alloc(voidpf ctx, uInt n, uInt size)
{
    return tn__array_new(ctx, (int64_t)n, size ? size : 1);
}

static void zlib_free(voidpf ctx, voidpf block) { tn_free(ctx, block); }

static tn_status gzip_fail(bytes *b, const z_stream *z, int code, size_t offset)
{
    if (code == Z_MEM_ERROR) return tn_fail(b->ctx, TN_ERR_MEMORY, "%s: out of memory", b->name);
    if (code == Z_BUF_ERROR || code == Z_OK)
        return tn_fail(b->ctx, TN_ERR_FORMAT, "%s: truncated gzip: ends at byte %zu, after %zu "
                       "bytes of text", b->name, offset, b->length);
    return tn_fail(b->ctx, TN_ERR_FORMAT, "%s: corrupt gzip at byte %zu: %s", b->name, offset,
                   z->msg ? z->msg : "bad data");
}

/* Unpacks member after member until the input ends. */
static tn_status gunzip_into(bytes *b, z_stream *z, const unsigned char *packed, size_t n_packed)
{
    size_t at = 0; /* of the input */
    size_t guess = 0;
    if (n_packed >= 18) /* the last four bytes: the length of the last member, modulo 2^32 */
        for (int i = 4; i-- > 0;) guess = guess << 8 | packed[n_packed - 4 + (size_t)i];
    if (guess / 1032 > n_packed) guess = 0; /* more than deflate can pack: not to be believed */
    for (;;) {
        if (!bytes_reserve(b, guess + 1)) return TN_ERR_LIMIT;
        size_t in = n_packed - at, out = b->room - b->length;
        z->next_in = (Bytef *)(uintptr_t)(packed + at);
        z->avail_in = in > UINT32_MAX ? UINT32_MAX : (uInt)in;
        z->next_out = (Bytef *)b->at + b->length;
        z->avail_out = out > UINT32_MAX ? UINT32_MAX : (uInt)out;
        int code = inflate(z, Z_NO_FLUSH);
        b->length = (size_t)((char *)z->next_out - b->at);
        size_t used = (size_t)(z->next_in - (packed + at));
        at += used;
        if (code == Z_STREAM_END) {
            if (at == n_packed) return bytes_fit(b) ? TN_OK : TN_ERR_LIMIT;
            if (inflateReset(z) != Z_OK) return gzip_fail(b, z, Z_DATA_ERROR, at);
        } else if (code != Z_OK || (at == n_packed && z->avail_out > 0)) {
            if (code == Z_BUF_ERROR && z->avail_out == 0) continue; /* only room was missing */
            return gzip_fail(b, z, code, at);
        }
    }
}

/* All members of it. `name` is for messages. */
static char *gunzip(tn_ctx *ctx, const char *name, const unsigned char *packed, size_t n_packed,
                    size_t limit, size_t *length)
{
    bytes    b = { .ctx = ctx, .name = name, .limit = limit };
    z_stream z = { .zalloc = zlib_alloc, .zfree = zlib_free, .opaque = ctx };
    int      code = inflateInit2(&z, 15 + 16); /* 32 KiB window; +16: gzip only */
    if (code != Z_OK) {
        gzip_fail(&b, &z, code == Z_BUF_ERROR ? Z_DATA_ERROR : code, 0);
        return NULL;
    }
    tn_status status = gunzip_into(&b, &z, packed, n_packed);
    inflateEnd(&z);
    if (status != TN_OK) {
        tn_free(ctx, b.at);
        return NULL;
    }
    b.at[b.length] = 0;
    *length = b.length;
    return b.at;
}

#else

static char *gunzip(tn_ctx *ctx, const char *name, const unsigned char *packed, size_t n_packed,
                    size_t limit, size_t *length)
{
    (void)packed, (void)n_packed, (void)limit, (void)length;
    tn_fail(ctx, TN_ERR_UNSUPPORTED, "%s is gzip, and this library was built without zlib: unpack "
            "it first", name);
    return NULL;
}

#endif

/* ---- reading ----------------------------------------------------------------------------- */

/* The size that a file says it has; 0 where it does not tell (a pipe). Only a guess. */
static size_t size_of(FILE *file)
{
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : 0;
    rewind(file);
    return size > 0 ? (size_t)size : 0;
}

static bool is_gzip(const bytes *b)
{
    return b->length >= 2 && (unsigned char)b->at[0] == 0x1f && (unsigned char)b->at[1] == 0x8b;
}

/* Reads to the end. The limit is not for a packed file: it may be longer than what is in it. */
static bool read_into(bytes *b, FILE *file)
{
    size_t guess = size_of(file), got;
    do {
        if (!bytes_reserve(b, guess + 1)) return false;
        got = fread(b->at + b->length, 1, b->room - b->length, file);
        b->length += got;
        if (is_gzip(b)) b->limit = READ_LIMIT;
    } while (got > 0 || (!feof(file) && !ferror(file)));
    if (!ferror(file)) return true;
    tn_fail(b->ctx, TN_ERR_IO, "cannot read %s at byte %zu: %s", b->name, b->length,
            strerror(errno));
    return false;
}

char *tn__file_read(tn_ctx *ctx, const char *path, size_t limit, size_t *length)
{
    if (limit == 0 || limit > READ_LIMIT) limit = READ_LIMIT;
    bytes b = { .ctx = ctx, .name = path, .limit = limit };
    FILE *file = fopen(path, "rb");
    if (!file) {
        tn_fail(ctx, TN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    bool ok = read_into(&b, file);
    fclose(file);
    if (!ok) {
        tn_free(ctx, b.at);
        return NULL;
    }
    if (is_gzip(&b)) {
        char *text = gunzip(ctx, path, (unsigned char *)b.at, b.length, limit, length);
        tn_free(ctx, b.at);
        return text;
    }
    b.at[b.length] = 0;
    *length = b.length;
    return b.at;
}

/* ---- writing ----------------------------------------------------------------------------- */

tn_status tn__file_write(tn_ctx *ctx, const char *path, const void *data, size_t length)
{
    tn__new_file f;
    tn_status    s = tn__new_file_open(ctx, path, &f);
    if (s != TN_OK) return s;
    tn__new_file_write(&f, data, length);
    return tn__new_file_end(&f, true);
}
