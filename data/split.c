/* Cutting text into the pieces within which BPE merges. The rule is part of the tokenizer's format
 * (docs/tokenizer-format.md, "split 1"): a change to it needs a new number there.
 *
 * A piece is one of
 *   - a run of letters, and the apostrophe between it and another letter (l'|eau, don'|t); of CJK
 *     characters; of other characters; or up to three digits; with the one space before it, if any;
 *   - a run of white space, less the last space if a piece follows it that takes it;
 * and at most TN__MAX_PIECE bytes long. */
#include "data/bpe.h"

#include <string.h>

typedef enum char_class { SPACE, LETTER, CJK, DIGIT, OTHER } char_class;

enum { MAX_DIGITS = 3 };

typedef struct range {
    int32_t first, last;
    int     class;
} range;

/* Code points from U+0080 that are not letters. What is in no range is a letter. */
static const range ranges[] = {
    { 0x0080, 0x00a9, OTHER },   { 0x00ab, 0x00b4, OTHER },   { 0x00b6, 0x00b9, OTHER },
    { 0x00bb, 0x00bf, OTHER },   { 0x00d7, 0x00d7, OTHER },   { 0x00f7, 0x00f7, OTHER },
    { 0x2000, 0x206f, OTHER },   { 0x20a0, 0x20cf, OTHER },   { 0x2190, 0x2bff, OTHER },
    { 0x2e00, 0x2e7f, OTHER },   { 0x2e80, 0x2fdf, CJK },     { 0x2ff0, 0x3004, OTHER },
    { 0x3005, 0x3007, CJK },     { 0x3008, 0x3020, OTHER },   { 0x3021, 0x3029, CJK },
    { 0x302a, 0x3030, OTHER },   { 0x3031, 0x303c, CJK },     { 0x303d, 0x3040, OTHER },
    { 0x3041, 0x312f, CJK },     { 0x31a0, 0x31ff, CJK },     { 0x3200, 0x33ff, OTHER },
    { 0x3400, 0x4dbf, CJK },     { 0x4dc0, 0x4dff, OTHER },   { 0x4e00, 0x9fff, CJK },
    { 0xf900, 0xfaff, CJK },     { 0xfe10, 0xfe6f, OTHER },   { 0xfeff, 0xff0f, OTHER },
    { 0xff10, 0xff19, DIGIT },   { 0xff1a, 0xff20, OTHER },   { 0xff3b, 0xff40, OTHER },
    { 0xff5b, 0xff65, OTHER },   { 0xff66, 0xff9f, CJK },     { 0xffe0, 0xffff, OTHER },
    { 0x1f000, 0x1faff, OTHER }, { 0x20000, 0x3ffff, CJK },
};

static char_class class_of_code(int32_t code)
{
    size_t low = 0, high = sizeof ranges / sizeof *ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code < ranges[middle].first)
            high = middle;
        else if (code > ranges[middle].last)
            low = middle + 1;
        else
            return (char_class)ranges[middle].class;
    }
    return LETTER;
}

/* Class and bytes of the character at s; a byte that is no UTF-8 is OTHER, by itself. */
static inline char_class class_at(const unsigned char *s, size_t n, size_t *size)
{
    unsigned c = s[0];
    *size = 1;
    if (c < 0x80) {
        if ((c | 0x20) - 'a' < 26) return LETTER;
        if (c - '0' < 10) return DIGIT;
        return c == ' ' || c - '\t' < 5 ? SPACE : OTHER;
    }
    int32_t code = tn__utf8_next(s, n, size);
    return code < 0 ? OTHER : class_of_code(code);
}

/* Bytes of the apostrophe at s (' or U+2019) that a letter follows; 0 if there is none. */
static size_t apostrophe_at(const unsigned char *s, size_t n)
{
    size_t size = s[0] == '\'' ? 1 : n > 3 && memcmp(s, "\xe2\x80\x99", 3) == 0 ? 3 : 0, next;
    return size && size < n && class_at(s + size, n - size, &next) == LETTER ? size : 0;
}

/* White space from s on; the last space is left to the piece that follows. */
static size_t space_run(const unsigned char *s, size_t n)
{
    size_t i = 0, size;
    while (i < n && i < TN__MAX_PIECE && class_at(s + i, n - i, &size) == SPACE) i++;
    bool is_followed = i < n && class_at(s + i, n - i, &size) != SPACE;
    return i > 1 && is_followed && s[i - 1] == ' ' ? i - 1 : i;
}

size_t tn__piece(const unsigned char *s, size_t n)
{
    size_t     i = 0, size;
    char_class class = class_at(s, n, &size), next;
    if (class == SPACE) {
        if (s[0] != ' ' || n == 1 || (class = class_at(s + 1, n - 1, &size)) == SPACE)
            return space_run(s, n);
        i = 1;
    }
    i += size;
    for (int count = 1; i < n && !(class == DIGIT && count == MAX_DIGITS); count++) {
        next = class_at(s + i, n - i, &size);
        if (next != class) size = class == LETTER ? apostrophe_at(s + i, n - i) : 0;
        if (size == 0 || i + size > TN__MAX_PIECE) break;
        i += size;
        if (next != class) break;
    }
    return i;
}
