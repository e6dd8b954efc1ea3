/* Growing arrays, what a space is, and reading one text. */
#include "data/internal.h"
#include "tensor/internal.h"
#include "tensor/utf8.h"

#include <string.h>

tn_text tn_text_of(const char *string)
{
    return (tn_text){ string, string ? strlen(string) : 0 };
}

bool tn_text_is_utf8(tn_text text)
{
    return !text.length || (text.bytes && tn__utf8_check(text.bytes, text.length) == text.length);
}

/* ---- memory ------------------------------------------------------------------------------ */

void *tn__array_new(tn_ctx *ctx, int64_t n, size_t size)
{
    if (n < 0 || (uint64_t)n > SIZE_MAX / 2 / size) {
        tn_fail(ctx, TN_ERR_MEMORY, "out of memory: %lld elements of %zu bytes asked for",
                (long long)n, size);
        return NULL;
    }
    return tn_alloc(ctx, n ? (size_t)n * size : 1);
}

bool tn__array_grow(tn_ctx *ctx, void *block, int64_t *capacity, int64_t need, size_t size)
{
    void  *old, *grown;
    if (need <= *capacity) return true;
    int64_t wanted = *capacity < INT64_MAX / 4 ? *capacity + *capacity / 2 + 16 : need;
    if (wanted < need) wanted = need;
    grown = tn__array_new(ctx, wanted, size);
    if (!grown) return false;
    memcpy(&old, block, sizeof old); /* *block is some other type of pointer */
    if (old) memcpy(grown, old, (size_t)*capacity * size);
    tn_free(ctx, old);
    memcpy(block, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

/* ---- spaces ------------------------------------------------------------------------------ */

bool tn__is_space(int32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* ---- one text ---------------------------------------------------------------------------- */

static long long line_of(const char *bytes, size_t offset)
{
    long long line = 1;
    for (const char *p = bytes; (p = memchr(p, '\n', offset - (size_t)(p - bytes))); p++) line++;
    return line;
}

char *tn_text_load(tn_ctx *ctx, const char *path, size_t limit, size_t *length)
{
    size_t n = 0, bad;
    if (!ctx || !path || !length) {
        tn_fail(ctx, TN_ERR_ARG, "text_load: NULL %s", !path ? "path" : "length");
        return NULL;
    }
    char *text = tn__file_read(ctx, path, limit, &n);
    if (!text) return NULL;
    if ((bad = tn__utf8_check(text, n)) < n) {
        tn_fail(ctx, TN_ERR_FORMAT, "%s:%lld: not UTF-8: byte 0x%02x at offset %zu", path,
                line_of(text, bad), (unsigned char)text[bad], bad);
        tn_free(ctx, text);
        return NULL;
    }
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) memmove(text, text + 3, (n -= 3) + 1);
    *length = n;
    return text;
}
