/* Reading pairs. The text stays where it was read; a pair is two spans of it. */
#include "data/corpus.h"
#include "data/internal.h"
#include "tensor/internal.h"

#include <stdio.h>
#include <string.h>

struct tn_corpus {
    tn_ctx  *ctx;
    char    *bytes; /* the whole file */
    tn_text *text;  /* [2 * n]: the sources, then the targets */
    int64_t  n, skipped;
};

enum { MAX_LINE = 65536, WHY_SIZE = 96 };

/* Splits a line into its two columns; false with the reason in why. */
static bool split_line(const char *line, size_t length, const tn_corpus_options *o, tn_text side[2],
                       char why[WHY_SIZE])
{
    size_t max = o->max_line ? o->max_line : MAX_LINE, bad;
    int    tabs = 0;
    if (length > max)
        return snprintf(why, WHY_SIZE, "%zu bytes, more than the limit of %zu", length, max), false;
    if ((bad = tn__utf8_check(line, length)) < length)
        return snprintf(why, WHY_SIZE, "not UTF-8: byte 0x%02x at column %zu",
                        (unsigned char)line[bad], bad + 1), false;
    const char *tab = memchr(line, '\t', length), *end = line + length, *nul;
    if ((nul = memchr(line, 0, length)))
        return snprintf(why, WHY_SIZE, "NUL at column %zu", (size_t)(nul - line) + 1), false;
    for (const char *p = tab; p; p = memchr(p + 1, '\t', (size_t)(end - p) - 1)) tabs++;
    if (tabs != 1)
        return snprintf(why, WHY_SIZE, "expected one tab, found %d%s", tabs,
                        length == 0 ? " in an empty line" : ""), false;
    side[o->swap] = (tn_text){ line, (size_t)(tab - line) };
    side[!o->swap] = (tn_text){ tab + 1, (size_t)(end - tab) - 1 };
    if (!o->allow_empty && (side[0].length == 0 || side[1].length == 0))
        return snprintf(why, WHY_SIZE, "the %s has no text", side[0].length ? "target" : "source"),
               false;
    return true;
}

static int64_t count_lines(const char *bytes, size_t length)
{
    int64_t n = 0;
    for (const char *p = bytes, *end = bytes + length; p < end; n++) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        p = lf ? lf + 1 : end;
    }
    return n;
}

/* Fills c->text from c->bytes. */
static tn_status parse_lines(tn_corpus *c, const char *name, size_t length,
                             const tn_corpus_options *o)
{
    char        why[WHY_SIZE];
    const char *p = c->bytes, *end = p + length;
    if (length >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) p += 3; /* byte order mark */
    int64_t n_lines = count_lines(p, (size_t)(end - p));
    c->text = tn__array_new(c->ctx, n_lines, 2 * sizeof *c->text);
    if (!c->text) return TN_ERR_MEMORY;
    tn_text *targets = c->text + n_lines;
    for (int64_t line = 1; p < end; line++) {
        const char *lf = memchr(p, '\n', (size_t)(end - p)), *stop = lf ? lf : end;
        tn_text     side[2];
        size_t      n = (size_t)(stop - p);
        if (n > 0 && p[n - 1] == '\r') n--;
        if (split_line(p, n, o, side, why))
            c->text[c->n] = side[0], targets[c->n++] = side[1];
        else if (o->lenient)
            c->skipped++;
        else
            return tn_fail(c->ctx, TN_ERR_FORMAT, "%s:%lld: %s", name, (long long)line, why);
        p = lf ? lf + 1 : end;
    }
    memmove(c->text + c->n, targets, (size_t)c->n * sizeof *targets);
    return TN_OK;
}

/* Takes `bytes` over, also when it fails. */
static tn_corpus *corpus_of(tn_ctx *ctx, const char *name, char *bytes, size_t length,
                            const tn_corpus_options *options)
{
    tn_corpus_options o = options ? *options : (tn_corpus_options){ 0 };
    tn_corpus        *c = tn_alloc(ctx, sizeof *c);
    if (!c) {
        tn_free(ctx, bytes);
        return NULL;
    }
    c->ctx = ctx;
    c->bytes = bytes;
    if (parse_lines(c, name, length, &o) != TN_OK) {
        tn_corpus_free(c);
        return NULL;
    }
    return c;
}

tn_corpus *tn_corpus_load(tn_ctx *ctx, const char *path, const tn_corpus_options *options)
{
    size_t length = 0;
    if (!ctx || !path) {
        tn_fail(ctx, TN_ERR_ARG, "corpus_load: NULL path");
        return NULL;
    }
    char *bytes = tn__file_read(ctx, path, options ? options->limit : 0, &length);
    return bytes ? corpus_of(ctx, path, bytes, length, options) : NULL;
}

tn_corpus *tn_corpus_parse(tn_ctx *ctx, const char *name, const char *text, size_t length,
                           const tn_corpus_options *options)
{
    if (!ctx || !name || (!text && length > 0)) {
        tn_fail(ctx, TN_ERR_ARG, "corpus_parse: NULL %s", name ? "text" : "name");
        return NULL;
    }
    if (options && options->limit && length > options->limit) {
        tn_fail(ctx, TN_ERR_LIMIT, "%s: longer than the limit of %zu bytes", name, options->limit);
        return NULL;
    }
    char *bytes = tn__alloc_pages(ctx, length + 1);
    if (!bytes) return NULL;
    if (length > 0) memcpy(bytes, text, length);
    bytes[length] = 0;
    return corpus_of(ctx, name, bytes, length, options);
}

void tn_corpus_free(tn_corpus *c)
{
    if (!c) return;
    tn_free(c->ctx, c->text);
    tn_free(c->ctx, c->bytes);
    tn_free(c->ctx, c);
}

int64_t        tn_corpus_size(const tn_corpus *c) { return c ? c->n : 0; }
int64_t        tn_corpus_skipped(const tn_corpus *c) { return c ? c->skipped : 0; }
const tn_text *tn_corpus_sources(const tn_corpus *c) { return c ? c->text : NULL; }
const tn_text *tn_corpus_targets(const tn_corpus *c) { return c ? c->text + c->n : NULL; }
