/* UTF-8 as bytes: what texts, names and what is written of them must be. */
#ifndef TN_TENSOR_UTF8_H
#define TN_TENSOR_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The offset of the first byte that is not part of well-formed UTF-8; length if there is none. */
size_t tn__utf8_check(const char *bytes, size_t length);

/* Decodes the code point at s, 0 < n bytes long: *size is its bytes. A byte that is not part of
 * well-formed UTF-8 gives -1 and size 1. */
int32_t tn__utf8_next(const unsigned char *s, size_t n, size_t *size);

/* Is all of a text that ends with a NUL well-formed? */
bool tn__is_utf8(const char *text);

#endif
