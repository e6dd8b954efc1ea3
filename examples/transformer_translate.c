/* Translates lines with a model that transformer_train has saved.
 *
 *     echo "Je suis étudiant" | transformer_translate --model run/best.safetensors --beam 5 */
#include "lines.h"
#include "options.h"
#include "output.h"
#include "translation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct {
    const char *model;
    int64_t     beam, n_best, batch, threads;
    double      alpha;
} s = { .beam = 5, .n_best = 1, .batch = 64, .alpha = 0.6 };

static const cli_option options[] = {
    { CLI_TEXT, "model", &s.model, "FILE",
      "what transformer_train saved: best.safetensors or last.safetensors" },
    { CLI_BEAM, "beam", &s.beam, "N", "hypotheses that go on at each place; 1: greedy" },
    { CLI_BEAM, "n-best", &s.n_best, "N",
      "translations of each line; more than 1: as \"number score translation\", by tabs" },
    { CLI_REAL, "alpha", &s.alpha, "X", "of the length penalty; 0: none" },
    { CLI_COUNT, "batch", &s.batch, "N", "lines that are translated together" },
    OPTION_THREADS(&s.threads),
};

enum { TOLD = 5 }; /* lines that are cut, each with its number; then only how many they are */

/* Is the line longer than what the model reads? n_told: that were so before. */
static bool tell_cut(const translation *t, int64_t number, tn_text line, int64_t n_told)
{
    const int64_t most = translation_reads(t);
    if ((int64_t)line.length <= most) return false; /* nor has it more tokens */
    const int64_t n = tn_tokenizer_encode(t->tokenizer, line.bytes, line.length, NULL, 0);
    if (n > most && n_told < TOLD)
        fprintf(stderr,
                "transformer_translate: line %lld is cut: it has %lld tokens, the model reads"
                " %lld\n", (long long)number, (long long)n, (long long)most);
    return n > most;
}

/* In one line and column, whatever the model says: a control character is a space. */
static void print_text(const char *text)
{
    for (; *text; text++) putchar((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text);
    putchar('\n');
}

/* An empty line stays one: there is nothing to translate. */
static void print_line(int64_t number, tn_text source, char *const *out, const double *scores)
{
    for (int64_t j = 0; j < s.n_best; j++) {
        const char *text = source.length > 0 && out[j] ? out[j] : "";
        if (s.n_best > 1 && !out[j]) continue;
        if (s.n_best > 1) printf("%lld\t%.4f\t", (long long)number, scores[j]);
        print_text(text);
    }
}

/* The next lines, after so many; adds those that are too long to *n_cut. */
static bool read_lines(const translation *t, lines *l, int64_t number, int64_t *n_cut)
{
    if (!lines_next(l, 0))
        return tn_fail(t->ctx, TN_ERR_IO, "the standard input cannot be read: %s",
                       strerror(errno)) == TN_OK;
    for (int64_t i = 0; i < l->n; i++)
        *n_cut += tell_cut(t, number + i + 1, l->text[i], *n_cut);
    return true;
}

static bool translate_all(const translation *t)
{
    static lines l;
    int64_t number = 0, n_cut = 0, room = LINES_MOST * s.n_best;
    tn_translator *translator = tn_translator_new(
        t->model, &(tn_translate_options){ .beam = s.beam,
                                           .n_best = s.n_best,
                                           .batch = s.batch,
                                           .length_penalty = s.alpha > 0 ? s.alpha : TN_NONE,
                                           .is_fixed = true });
    char  **out = tn_alloc(t->ctx, (size_t)room * sizeof *out);
    double *scores = tn_alloc(t->ctx, (size_t)room * sizeof *scores);
    bool    ok = translator && out && scores;
    while (ok && !ferror(stdout) && (ok = read_lines(t, &l, number, &n_cut)) && l.n > 0) {
        ok = translate_texts(t, translator, s.n_best, l.text, l.n, out, scores) == TN_OK;
        for (int64_t i = 0; ok && i < l.n; i++)
            print_line(++number, l.text[i], out + i * s.n_best, scores + i * s.n_best);
        free_texts(t->ctx, out, l.n * s.n_best);
        fflush(stdout);
    }
    if (n_cut > TOLD)
        fprintf(stderr, "transformer_translate: %lld lines are cut\n", (long long)n_cut);
    lines_free(&l);
    tn_free(t->ctx, out), tn_free(t->ctx, scores);
    tn_translator_free(translator);
    return ok;
}

int main(int argc, char **argv)
{
    translation t = { 0 };
    const char *about =
        "Translates the lines of the standard input; none waits for the next. One of more tokens\n"
        "than the model reads is cut, which is said on stderr.";
    cli_result  given = cli_parse(argc, argv, about, options, sizeof options / sizeof *options);
    if (given != CLI_GO_ON) return output_end("transformer_translate", given == CLI_HELP ? 0 : 2);
    if (!s.model) return fprintf(stderr, "transformer_translate: which --model?\n"), 2;
    if (s.n_best > s.beam)
        return fprintf(stderr,
                       "transformer_translate: --n-best %lld is not in [1, %lld], the beam\n",
                       (long long)s.n_best, (long long)s.beam),
               2;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)s.threads,
                                                .memory_limit = memory_of_machine() });
    if (!ctx)
        return fprintf(stderr, "transformer_translate: no memory, or not so many --threads\n"), 1;
    bool ok = translation_load(ctx, s.model, &t) == TN_OK && translate_all(&t);
    if (!ok) fprintf(stderr, "transformer_translate: %s\n", tn_error(ctx));
    translation_free(&t);
    tn_ctx_free(ctx);
    return output_end("transformer_translate", ok ? 0 : 1);
}
