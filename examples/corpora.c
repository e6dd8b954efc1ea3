/* Corpora of the translation examples. */
#include "corpora.h"

#include "grammar.h"

#include <stdio.h>
#include <string.h>

void corpora_free(corpora *c)
{
    tn_corpus_free(c->train), tn_corpus_free(c->valid), tn_corpus_free(c->test);
}

tn_corpus *corpus_of_file(tn_ctx *ctx, const char *path, bool swap)
{
    tn_corpus *c = tn_corpus_load(ctx, path, &(tn_corpus_options){ .swap = swap });
    if (!c || tn_corpus_size(c) > 0) return c;
    tn_fail(ctx, TN_ERR_FORMAT, "%s: there are no pairs in it", path);
    tn_corpus_free(c);
    return NULL;
}

tn_corpus *corpus_made_up(tn_ctx *ctx, int64_t n, int first_part, int last_part, uint64_t seed)
{
    char *text = tn_alloc(ctx, (size_t)n * 2 * GRAMMAR_LINE), french[GRAMMAR_LINE],
         english[GRAMMAR_LINE];
    size_t  used = 0, slots = 1;
    while (slots < 2 * (size_t)n) slots *= 2;
    size_t *seen = tn_alloc(ctx, slots * sizeof *seen); /* where a French sentence begins, and 1 */
    for (int64_t have = 0, tries = 0; text && seen && have < n; tries++) {
        if (tries > 100000 + 100 * have) {
            tn_fail(ctx, TN_ERR_ARG, "the made-up corpus has no %lld different pairs of this kind",
                    (long long)n);
            break;
        }
        grammar_pair(&seed, french, english);
        int part = grammar_part(french);
        if (part < first_part || part > last_part) continue;
        size_t length = strlen(french), at = 5381;
        for (size_t i = 0; i < length; i++) at = at * 33 + (unsigned char)french[i];
        while (seen[at % slots] && (memcmp(text + seen[at % slots] - 1, french, length) != 0 ||
                                    text[seen[at % slots] - 1 + length] != '\t'))
            at++;
        if (seen[at % slots]) continue;
        seen[at % slots] = used + 1, have++;
        used += (size_t)sprintf(text + used, "%s\t%s\n", french, english);
    }
    bool       ok = text && seen && tn_ctx_status(ctx) == TN_OK;
    tn_corpus *corpus = ok ? tn_corpus_parse(ctx, "grammar", text, used, NULL) : NULL;
    tn_free(ctx, text), tn_free(ctx, seen);
    return corpus;
}
