/* What the files of this room share: growing arrays, whole files, what a space is. */
#ifndef TN_DATA_INTERNAL_H
#define TN_DATA_INTERNAL_H

#include "data/text.h"
#include "tensor/utf8.h"

/* Makes room for `need` elements of `size` bytes in *block, which has room for *capacity and keeps
 * its content. False, with the error in the context and *block as it was, if there is no memory. */
bool tn__array_grow(tn_ctx *ctx, void *block, int64_t *capacity, int64_t need, size_t size);

/* n elements of `size` bytes, zeroed, and at least one byte; NULL if there is no memory for it. */
void *tn__array_new(tn_ctx *ctx, int64_t n, size_t size);

/* A file's bytes, unpacked if they are gzip, and a NUL after them. See tn_text_load. */
char *tn__file_read(tn_ctx *ctx, const char *path, size_t limit, size_t *length);

/* Writes a file so that at any moment it is either what it was or complete, as tensor/file.h
 * has it. */
tn_status tn__file_write(tn_ctx *ctx, const char *path, const void *bytes, size_t length);

/* Python's str.isspace of a code point: what separates words in the metrics. */
bool tn__is_space(int32_t code);

#endif
