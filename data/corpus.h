/* A corpus: pairs of lines, read from `source TAB target` and held in memory. */
#ifndef TN_DATA_CORPUS_H
#define TN_DATA_CORPUS_H

#include "data/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_corpus tn_corpus;

typedef struct tn_corpus_options {
    bool   swap;        /* the file's columns are target and source */
    bool   lenient;     /* skip lines that are not pairs, and count them, instead of failing */
    bool   allow_empty; /* a side may have no text */
    size_t max_line;    /* bytes of a line; 0: 65,536 */
    size_t limit;       /* bytes of the file, unpacked; 0: 16 GiB */
} tn_corpus_options;

/* Reads a file of pairs: plain or gzip, UTF-8, lines that end in LF or CRLF, one tab in each, some
 * text on both sides of it. options may be NULL.
 * NULL: TN_ERR_FORMAT with the line ("pairs.tsv:17: expected one tab, found 0"), and those
 * of tn_text_load. */
TN_API tn_corpus *tn_corpus_load(tn_ctx *ctx, const char *path, const tn_corpus_options *options);

/* The same from memory, which is copied; `name` stands for the path in messages. */
TN_API tn_corpus *tn_corpus_parse(tn_ctx *ctx, const char *name, const char *text, size_t length,
                                  const tn_corpus_options *options);

TN_API void tn_corpus_free(tn_corpus *corpus); /* NULL is fine */

TN_API int64_t tn_corpus_size(const tn_corpus *corpus);    /* pairs */
TN_API int64_t tn_corpus_skipped(const tn_corpus *corpus); /* lines that `lenient` left out */

/* Side by side: source i and target i are a pair. Both arrays have tn_corpus_size elements, the
 * targets follow the sources in memory, and they live as long as the corpus. */
TN_API const tn_text *tn_corpus_sources(const tn_corpus *corpus);
TN_API const tn_text *tn_corpus_targets(const tn_corpus *corpus);

#ifdef __cplusplus
}
#endif
#endif
