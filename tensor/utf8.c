/* Well-formed UTF-8: which bytes are, and which code points they stand for. */
#include "tensor/utf8.h"

#include <string.h>

/* Well-formed as in the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing past
 * U+10FFFF. */
int32_t tn__utf8_next(const unsigned char *s, size_t n, size_t *size)
{
    unsigned lead = s[0], low = 0x80, high = 0xbf;
    size_t   more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
    *size = 1;
    if (lead < 0x80) return (int32_t)lead;
    if (more == 0 || n <= more) return -1;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    int32_t code = (int32_t)(lead & (0x3fu >> more));
    for (size_t i = 1; i <= more; i++, low = 0x80, high = 0xbf) {
        if (s[i] < low || s[i] > high) return -1;
        code = code << 6 | (s[i] & 0x3f);
    }
    *size = more + 1;
    return code;
}

size_t tn__utf8_check(const char *bytes, size_t length)
{
    const unsigned char *s = (const unsigned char *)bytes;
    size_t               i = 0, size;
    while (i < length) {
        uint64_t word;
        while (length - i >= 8 && (memcpy(&word, s + i, 8), !(word & 0x8080808080808080u))) i += 8;
        if (i == length) break;
        if (s[i] < 0x80)
            i++;
        else if (tn__utf8_next(s + i, length - i, &size) < 0)
            return i;
        else
            i += size;
    }
    return length;
}

bool tn__is_utf8(const char *text) { return !text[tn__utf8_check(text, strlen(text))]; }
