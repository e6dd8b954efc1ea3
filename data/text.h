/* Text in memory: UTF-8 as bytes and a length (no terminator), and reading one text from a file,
 * plain or gzip. */
#ifndef TN_DATA_TEXT_H
#define TN_DATA_TEXT_H

#include "tensor/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Some text that belongs to someone else. */
typedef struct tn_text {
    const char *bytes;
    size_t      length;
} tn_text;

/* The text of a string that ends with a NUL. */
TN_API tn_text tn_text_of(const char *string);

/* Is it well-formed UTF-8, as names and texts in checkpoints have to be? */
TN_API bool tn_text_is_utf8(tn_text text);

/* How a long loop tells how far it is: done of total. False cancels it (TN_ERR_CANCELLED). */
typedef bool (*tn_progress)(void *user, int64_t done, int64_t total);

/* A whole file, for language models. Gzip is recognised by its first bytes and unpacked, where the
 * library was built with zlib. The text must be UTF-8; a byte order mark at its start is dropped,
 * nothing else is changed. *length bytes (and a NUL after them) that tn_free(ctx, ..) frees;
 * `limit` is the most bytes that it may have, unpacked (0: 16 GiB).
 * NULL: TN_ERR_IO, TN_ERR_FORMAT (bad gzip; not UTF-8, with the line), TN_ERR_LIMIT,
 * TN_ERR_UNSUPPORTED (gzip without zlib), TN_ERR_MEMORY. */
TN_API char *tn_text_load(tn_ctx *ctx, const char *path, size_t limit, size_t *length);

#ifdef __cplusplus
}
#endif
#endif
