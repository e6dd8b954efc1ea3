/* Tokenization for BLEU. The rules are those of NIST's mteval-v13a script as sacreBLEU has them: a
 * few substitutions one after the other, each over the whole sentence, from the left, none looking
 * again at what it has just written; so they are kept as that, and not merged into one.
 *
 * Bytes do for all but white space and Chinese: what the rules look for is ASCII, and what they
 * insert goes before or after whole characters. Bytes that are no UTF-8 are taken as letters. */
#include "data/mteval.h"
#include "tensor/internal.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_stop(char c) { return c == '.' || c == ','; }

/* ASCII but letters, digits, apostrophe, comma, hyphen and stop: what is always a word. */
static bool is_symbol(char c)
{
    return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
           (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* ---- buffers ----------------------------------------------------------------------------- */

/* Room for what a rule writes: at most three bytes for each of one, and two more. */
static bool reserve_next(tn__mteval *m)
{
    return tn__array_grow(m->ctx, &m->next, &m->room_next, 3 * m->n + 2, 1);
}

/* What was written becomes the text. */
static void swap(tn__mteval *m, int64_t n)
{
    char   *text = m->text;
    int64_t room = m->room_text;
    m->text = m->next, m->next = text;
    m->room_text = m->room_next, m->room_next = room;
    m->n = n;
}

void tn__mteval_clear(tn__mteval *m)
{
    tn_free(m->ctx, m->text);
    tn_free(m->ctx, m->next);
}

/* ---- rules ------------------------------------------------------------------------------- */

/* Replaces some text by one that is no longer. */
static void replace(tn__mteval *m, const char *from, const char *to)
{
    int64_t n_from = (int64_t)strlen(from), n_to = (int64_t)strlen(to), out = 0;
    for (int64_t i = 0; i < m->n;) {
        if (m->n - i >= n_from && memcmp(m->text + i, from, (size_t)n_from) == 0) {
            memcpy(m->text + out, to, (size_t)n_to);
            i += n_from, out += n_to;
        } else {
            m->text[out++] = m->text[i++];
        }
    }
    m->n = out;
}

/* A space on both sides of each symbol. */
static bool split_symbols(tn__mteval *m)
{
    int64_t n = 0;
    if (!reserve_next(m)) return false;
    for (int64_t i = 0; i < m->n; i++) {
        char c = m->text[i];
        if (is_symbol(c)) m->next[n++] = ' ';
        m->next[n++] = c;
        if (is_symbol(c)) m->next[n++] = ' ';
    }
    swap(m, n);
    return true;
}

typedef bool (*is_pair)(char a, char b);

static bool is_stop_after(char a, char b) { return !is_digit(a) && is_stop(b); }
static bool is_stop_before(char a, char b) { return is_stop(a) && !is_digit(b); }
static bool is_dash_after(char a, char b) { return is_digit(a) && b == '-'; }

/* Finds two neighbours from the left and puts a space after the first of them, and one after the
 * second, or before the first. */
static bool split_pairs(tn__mteval *m, is_pair matches, bool before)
{
    int64_t n = 0;
    if (!reserve_next(m)) return false;
    for (int64_t i = 0; i < m->n; i++) {
        if (i + 1 == m->n || !matches(m->text[i], m->text[i + 1])) {
            m->next[n++] = m->text[i];
            continue;
        }
        if (before) m->next[n++] = ' ';
        m->next[n++] = m->text[i];
        m->next[n++] = ' ';
        m->next[n++] = m->text[++i];
        if (!before) m->next[n++] = ' ';
    }
    swap(m, n);
    return true;
}

static bool split_punctuation(tn__mteval *m)
{
    return split_symbols(m) && split_pairs(m, is_stop_after, false) &&
           split_pairs(m, is_stop_before, true) && split_pairs(m, is_dash_after, false);
}

static bool split_13a(tn__mteval *m)
{
    replace(m, "<skipped>", "");
    replace(m, "-\n", "");
    replace(m, "\n", " ");
    replace(m, "&quot;", "\"");
    replace(m, "&amp;", "&");
    replace(m, "&lt;", "<");
    replace(m, "&gt;", ">");
    if (!reserve_next(m)) return false;
    m->next[0] = ' ';
    memcpy(m->next + 1, m->text, (size_t)m->n);
    m->next[m->n + 1] = ' ';
    swap(m, m->n + 2);
    return split_punctuation(m);
}

/* ---- Chinese ----------------------------------------------------------------------------- */

/* What sacreBLEU's "zh" takes for Chinese. Two of its ranges are written with \u where five digits
 * follow, and so mean U+2001-2A6D and U+2F81-2FA1 instead of the planes above; the scores that
 * people publish have it so. */
static bool is_chinese(int32_t c)
{
    static const int32_t ranges[][2] = {
        { 0x2001, 0x2a6d }, { 0x2e80, 0x2fdf }, { 0x2ff0, 0x303f }, { 0x3100, 0x312f },
        { 0x31a0, 0x31bf }, { 0x31c0, 0x31ef }, { 0x3200, 0x33ff }, { 0x3400, 0x4db5 },
        { 0x4e00, 0x9fbb }, { 0xf900, 0xfa2d }, { 0xfa30, 0xfa6a }, { 0xfa70, 0xfad9 },
        { 0xfe10, 0xfe1f }, { 0xfe30, 0xfe4f }, { 0xff00, 0xffef },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

static int32_t code_at(const tn__mteval *m, int64_t i, size_t *size)
{
    return tn__utf8_next((const unsigned char *)m->text + i, (size_t)(m->n - i), size);
}

static bool split_zh(tn__mteval *m)
{
    int64_t n = 0;
    size_t  size, start = 0;
    if (!reserve_next(m)) return false;
    while ((int64_t)start < m->n && tn__is_space(code_at(m, (int64_t)start, &size))) start += size;
    for (int64_t i = (int64_t)start; i < m->n; i += (int64_t)size) {
        bool is_word = is_chinese(code_at(m, i, &size));
        if (is_word) m->next[n++] = ' ';
        memcpy(m->next + n, m->text + i, size);
        n += (int64_t)size;
        if (is_word) m->next[n++] = ' ';
    }
    swap(m, n);
    return split_punctuation(m);
}

/* ---- words ------------------------------------------------------------------------------- */

/* Copies the sentence, less white space at its end. */
static bool take(tn__mteval *m, tn_text sentence)
{
    const unsigned char *s = (const unsigned char *)sentence.bytes;
    size_t               size, end = 0;
    for (size_t i = 0; i < sentence.length; i += size)
        if (!tn__is_space(tn__utf8_next(s + i, sentence.length - i, &size))) end = i + size;
    if (!tn__array_grow(m->ctx, &m->text, &m->room_text, (int64_t)end + 1, 1)) return false;
    if (end > 0) memcpy(m->text, s, end);
    m->n = (int64_t)end;
    return true;
}

static bool push_word(tn__mteval *m, tn__words *words, tn__units *u, int64_t from, int64_t to)
{
    int32_t id = tn__words_number(words, m->text + from, (size_t)(to - from));
    return id >= 0 && tn__units_push(m->ctx, u, id);
}

/* What white space separates, or each character that is none. */
static bool push_words(tn__mteval *m, tn__words *words, tn__units *u, bool by_character)
{
    int64_t from = 0;
    size_t  size;
    for (int64_t i = 0; i < m->n; i += (int64_t)size) {
        bool is_space = tn__is_space(code_at(m, i, &size));
        bool is_end = (is_space || by_character) && i > from;
        if (is_end && !push_word(m, words, u, from, i)) return false;
        if (is_space)
            from = i + (int64_t)size;
        else if (by_character)
            from = i;
    }
    return from == m->n || push_word(m, words, u, from, m->n);
}

bool tn__mteval_words(tn__mteval *m, tn_bleu_tokenizer tokenizer, tn_text sentence,
                      tn__words *words, tn__units *u)
{
    if (!take(m, sentence)) return false;
    if (tokenizer == TN_BLEU_13A && !split_13a(m)) return false;
    if (tokenizer == TN_BLEU_ZH && !split_zh(m)) return false;
    return push_words(m, words, u, tokenizer == TN_BLEU_CHAR);
}
