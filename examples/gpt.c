/* Trains a small GPT on a text, and writes more of it. Without arguments: on English sentences that
 * a small grammar makes up, in about a minute.
 *
 *     gpt
 *     gpt --text book.txt --minutes 30 --save book.safetensors --prompt "It was"
 *     gpt --model book.safetensors --prompt "It was" --tokens 200
 *     gpt --model book.safetensors --minutes 60 --save book.safetensors       (goes on) */
#include "blame.h"
#include "clock.h"
#include "grammar.h"
#include "interrupt.h"
#include "libtensor.h"
#include "options.h"
#include "output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- settings -------------------------------------------------------------------------------- */

typedef struct settings {
    const char *text;
    int64_t     vocab, d, heads, layers, length, rows, warmup, seed;
    double      lr, dropout;
} settings;

static settings s = { .vocab = 1000, .d = 128, .heads = 4, .layers = 4, .length = 128, .rows = 16,
                      .warmup = 100, .seed = 1, .lr = 2e-3 };

static const char *model, *save, *prompt = "";
static int64_t     steps, threads, tokens = 100, top_k;
static double      minutes, temperature = 0.8, top_p = 1;

/* What a file remembers comes first. */
enum { N_REMEMBERED = 10 };
static const cli_option options[] = {
    { CLI_TEXT, "text", &s.text, "FILE", "what to train on; also .gz [made-up sentences]" },
    OPTION_VOCAB(&s.vocab, ""),
    OPTION_D_MODEL(&s.d, ""),
    OPTION_HEADS(&s.heads, ""),
    OPTION_LAYERS(&s.layers, ""),
    { CLI_COUNT, "length", &s.length, "N", "tokens that the model sees at once" },
    { CLI_COUNT, "rows", &s.rows, "N", "windows of that length in a batch" },
    OPTION_LR(&s.lr, "; it rises for 100 steps, then falls"),
    OPTION_DROPOUT(&s.dropout, "[0]"),
    OPTION_SEED(&s.seed),
    { CLI_INT, "steps", &steps, "N", "in all, of earlier runs too [600, without --model]" },
    OPTION_MINUTES(&minutes, ", instead"),
    { CLI_TEXT, "model", &model, "FILE", "what --save wrote: write with it, or go on training" },
    { CLI_TEXT, "save", &save, "FILE", "keep model, tokenizer and the state of the training" },
    { CLI_TEXT, "prompt", &prompt, "TEXT", "the beginning of what is written" },
    { CLI_COUNT, "tokens", &tokens, "N", "of what is written" },
    { CLI_REAL, "temperature", &temperature, "X", "0: the likeliest token each time" },
    { CLI_INT, "top-k", &top_k, "N", "draw from the likeliest N alone; 0: from all" },
    { CLI_PART, "top-p", &top_p, "P", "draw from the likeliest that have this probability" },
    OPTION_THREADS(&threads),
};
enum { N_OPTIONS = sizeof options / sizeof *options };

/* Of these a model has those that it was made with. */
static const char *const fixed = "vocab|d-model|heads|layers|length";

/* ---- text ------------------------------------------------------------------------------------ */

static char *make_up(tn_ctx *ctx, size_t *length)
{
    enum { SENTENCES = 40000 };
    char *text = tn_alloc(ctx, (size_t)SENTENCES * GRAMMAR_LINE), french[GRAMMAR_LINE];
    uint64_t state = (uint64_t)s.seed;
    *length = 0;
    for (int i = 0; text && i < SENTENCES; i++) {
        grammar_pair(&state, french, text + *length);
        *length += strlen(text + *length);
        text[(*length)++] = '\n';
    }
    return text;
}

/* On lines, which keep words from being joined over their ends. */
static tn_tokenizer *train_tokenizer(tn_ctx *ctx, const char *text, size_t length)
{
    int64_t n = 1, at = 0;
    for (size_t i = 0; i < length; i++) n += text[i] == '\n';
    tn_text *lines = tn_alloc(ctx, (size_t)n * sizeof *lines);
    for (const char *p = text, *end = text + length; lines && p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop + 1 : end;
        lines[at++] = (tn_text){ p, (size_t)(stop - p) };
        p = stop;
    }
    tn_tokenizer *t =
        lines ? tn_tokenizer_train(ctx, lines, at, &(tn_tokenizer_options){ .vocab = s.vocab })
              : NULL;
    tn_free(ctx, lines);
    return t;
}

/* ---- the model and its file ------------------------------------------------------------------ */

typedef struct work {
    tn_ctx       *ctx;
    tn_tokenizer *tokenizer;
    tn_params    *p;
    tn_gpt       *m;
    tn_optimizer *opt;
    tn_batches_position position;
    uint64_t      fingerprint; /* of the windows that the position is in; 0: not known */
    bool          is_kept;     /* in `save`, as it was after this many steps: */
    int64_t       kept;
} work;

static tn_status keep(work *w, tn_batches_position at)
{
    char   position[80];
    size_t length = 0;
    char  *tokenizer = tn_tokenizer_pack(w->tokenizer, &length);
    char  *settings_text = cli_write("", options, N_REMEMBERED);
    snprintf(position, sizeof position, w->fingerprint ? "%lld %lld %llx" : "%lld %lld",
             (long long)at.epoch, (long long)at.batch, (unsigned long long)w->fingerprint);
    const tn_metadata texts[] = { { "gpt", settings_text },
                                  { "tokenizer", tokenizer },
                                  { "position", position } };
    if (!settings_text) tn_fail(w->ctx, TN_ERR_MEMORY, "no memory for the settings to save");
    else if (tokenizer) tn_checkpoint_save(save, w->p, w->opt, texts, 3);
    tn_free(w->ctx, tokenizer), free(settings_text);
    if (tn_ctx_status(w->ctx) != TN_OK) return tn_ctx_status(w->ctx);
    w->is_kept = true, w->kept = tn_optimizer_steps(w->opt);
    return TN_OK;
}

/* The settings of a file, before there is a context: its seed is one of them. What is returned
 * holds their texts, and is to be freed; NULL, said on stderr: there are none. */
static char *recall_settings(void)
{
    tn_ctx         *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_safetensors *f = ctx ? tn_safetensors_open(ctx, model) : NULL;
    const char     *text = f ? tn_safetensors_metadata(f, "gpt") : NULL;
    char           *kept = text ? strdup(text) : NULL;
    if (!f) fprintf(stderr, "gpt: %s\n", ctx ? tn_error(ctx) : "no context");
    if (text && !kept) fprintf(stderr, "gpt: no memory\n");
    else if (f && (!text || !cli_read(kept, options, N_REMEMBERED))) {
        fprintf(stderr, "gpt: %s: it has no gpt\n", model);
        free(kept), kept = NULL;
    }
    tn_safetensors_close(f), tn_ctx_free(ctx);
    return kept;
}

/* Files of before have no fingerprint. */
static bool read_position(const char *text, work *w)
{
    long long          epoch, batch;
    unsigned long long fingerprint = 0;
    int                n = 0;
    if (sscanf(text, "%lld %lld%n", &epoch, &batch, &n) != 2) return false;
    text += n;
    if (sscanf(text, " %llx%n", &fingerprint, &n) == 1) text += n;
    w->position = (tn_batches_position){ epoch, batch };
    w->fingerprint = fingerprint;
    return !*text && epoch >= 0 && epoch < (long long)1 << 53 && batch >= 0;
}

/* A file may say that its model is of any size: one that is larger than what is in the file is not
 * made. Counts the matrices. */
static tn_status check_size(const work *w, const tn_safetensors *f)
{
    const double vocab = (double)tn_tokenizer_vocab(w->tokenizer), d = (double)s.d,
                 need = d * (vocab + (double)s.length + 12 * d * (double)s.layers);
    double       have = 0;
    for (int i = 0; i < tn_safetensors_count(f); i++) {
        const tn_type t = tn_safetensors_type(f, i);
        if (t.dtype != TN_N_DTYPES) have += (double)tn_shape_size(&t.shape);
    }
    if (need <= have) return TN_OK;
    return tn_fail(w->ctx, TN_ERR_FORMAT,
                   "%s: a model of %.0f numbers or more, and %.0f are in it", model, need, have);
}

/* Tokenizer and position of a file. */
static tn_status recall(work *w)
{
    tn_safetensors *f = tn_safetensors_open(w->ctx, model);
    const char     *tokenizer = f ? tn_safetensors_metadata(f, "tokenizer") : NULL;
    const char     *position = f ? tn_safetensors_metadata(f, "position") : NULL;
    if (f && (!tokenizer || !position || !read_position(position, w)))
        tn_fail(w->ctx, TN_ERR_FORMAT, "%s: it has no tokenizer, or no position", model);
    else if (f)
        w->tokenizer = tn_tokenizer_unpack(w->ctx, model, tokenizer, strlen(tokenizer));
    if (w->tokenizer) check_size(w, f);
    tn_safetensors_close(f);
    return tn_ctx_status(w->ctx);
}

/* Found out before the training that it would waste. */
static tn_status check_prompt(work *w)
{
    const size_t  length = strlen(prompt);
    int32_t      *ids = tn_alloc(w->ctx, (length + 1) * sizeof *ids);
    const int64_t n =
        ids ? tn_tokenizer_encode(w->tokenizer, prompt, length, ids, (int64_t)length) : 0;
    tn_free(w->ctx, ids);
    if (n <= s.length) return tn_ctx_status(w->ctx);
    return tn_fail(w->ctx, TN_ERR_ARG, "--prompt has %lld tokens: more than --length %lld",
                   (long long)n, (long long)s.length);
}

static tn_status make_model(work *w)
{
    if (check_prompt(w) != TN_OK) return tn_ctx_status(w->ctx);
    w->p = tn_params_new(w->ctx, TN_F32);
    w->m = tn_gpt_new(w->p, &(tn_gpt_config){ .vocab = tn_tokenizer_vocab(w->tokenizer),
                                              .d_model = s.d, .n_heads = s.heads,
                                              .n_layers = s.layers, .max_length = s.length,
                                              .dropout = s.dropout });
    w->opt = tn_adamw_new(w->p, &(tn_adamw_options){ .lr = s.lr, .beta2 = 0.98, .clip_norm = 1 });
    if (!model || tn_ctx_status(w->ctx) != TN_OK) return tn_ctx_status(w->ctx);
    if (tn_checkpoint_load(model, w->p, w->opt) != TN_OK) return tn_ctx_status(w->ctx);
    w->is_kept = save && strcmp(save, model) == 0, w->kept = tn_optimizer_steps(w->opt);
    return TN_OK;
}

/* ---- training -------------------------------------------------------------------------------- */

static tn_program *build(work *w, bool trains)
{
    tn_graph     *g = tn_graph_new(w->ctx, trains ? TN_TRAIN : TN_EVAL);
    tn_sequence   in = { .ids = tn_input(g, "in", TN_I32, TN_SHAPE(s.rows, s.length)) };
    tn_node      *out = tn_input(g, "out", TN_I32, TN_SHAPE(s.rows, s.length));
    tn_program   *p = NULL;
    tn_loss_parts loss;
    const tn_cross_entropy_options o = { .has_ignore = true, .ignore_index = TN_PAD_ID };
    if (tn_gpt_loss(w->m, &in, out, &o, &loss) == TN_OK) {
        tn_node *outputs[] = { loss.sum, loss.count };
        if (trains)
            p = tn_train_step_with(g, loss.sum, w->opt,
                                   &(tn_train_step_options){ .count = loss.count,
                                                             .outputs = &outputs[1],
                                                             .n_outputs = 1,
                                                             .skip_nonfinite = true });
        else p = tn_compile(g, outputs, 2, NULL);
    }
    tn_graph_free(g);
    return p;
}

/* Adds a batch's loss and tokens. */
static tn_status run(tn_program *p, const tn_window_batch *b, double *sum, double *count)
{
    const size_t bytes = (size_t)(b->rows * b->length) * sizeof(int32_t);
    tn_feed_name(p, "in", b->in, bytes), tn_feed_name(p, "out", b->out, bytes);
    const tn_status status = tn_run(p);
    if (status != TN_OK) return status;
    *sum += *(const float *)tn_output(p, 0), *count += *(const float *)tn_output(p, 1);
    return TN_OK;
}

/* Weights that are spoilt stay so: no batch has finite gradients any more. */
enum { REPORT_EVERY = 100, MOST_SKIPPED = 50 };

static tn_status diverged(work *w, const char *what)
{
    return tn_fail(w->ctx, TN_ERR_STATE,
                   "the training has diverged: after step %lld %s. A lower --lr than %g may help",
                   (long long)tn_optimizer_steps(w->opt), what, s.lr);
}

/* Saves, if the loss of the next batch is finite: an update may be, and spoil the weights. look: a
 * program that only evaluates. */
static tn_status check_and_keep(work *w, tn_windows *windows, tn_program *look)
{
    const tn_batches_position at = tn_windows_tell(windows);
    double                    sum = 0, count = 0;
    if (run(look, tn_windows_next(windows), &sum, &count) != TN_OK) return tn_ctx_status(w->ctx);
    if (!isfinite(sum)) return diverged(w, "the loss is not finite");
    tn_windows_seek(windows, at);
    return save ? keep(w, at) : tn_ctx_status(w->ctx);
}

static void tell_stopped(void)
{
    if (!save) {
        printf("stopped; nothing is saved without --save\n");
        return;
    }
    printf("stopped; to go on: gpt --model ");
    output_word(save);
    if (minutes > 0) printf(" --minutes %g --save ", minutes);
    else printf(" --steps %lld --save ", (long long)steps);
    output_word(save);
    printf("\n");
}

/* What came of the n steps since the last report, in `seconds`; left: steps, or seconds where time
 * is the limit. */
static void report(int64_t step, int64_t n, double sum, double count, double seconds, double left)
{
    if (minutes <= 0) left *= seconds / (double)n;
    left = fmax(0, fmin(left, 5999999)); /* whose minutes have 5 digits */
    printf("step %lld  loss ", (long long)step), output_number(sum / count, 3);
    printf("  perplexity "), output_number(exp(sum / count), 2);
    printf("  %.0f tokens/s  left %d:%02d\n", count / seconds, (int)left / 60, (int)left % 60);
    fflush(stdout);
}

static tn_windows *windows_of(work *w, const int32_t *ids, int64_t n, bool ordered)
{
    char        what[512];
    tn_windows *windows =
        tn_windows_new(w->ctx, ids, n, &(tn_windows_options){ .rows = s.rows, .length = s.length,
                                                              .ordered = ordered });
    snprintf(what, sizeof what, "--text %.300s with --rows %lld and --length %lld",
             s.text ? s.text : "(made up)", (long long)s.rows, (long long)s.length);
    if (!windows && tn_ctx_status(w->ctx) == TN_ERR_ARG) blame(w->ctx, what);
    return windows;
}

/* Of all that the order of windows comes from (FNV-1a). Never 0. */
static uint64_t fingerprint_of(const int32_t *ids, int64_t n)
{
    uint64_t      h = 0xcbf29ce484222325;
    const int64_t from[] = { n, s.rows, s.length, s.seed };
    for (int i = 0; i < 4; i++) h = (h ^ (uint64_t)from[i]) * 0x100000001b3;
    for (int64_t i = 0; i < n; i++) h = (h ^ (uint32_t)ids[i]) * 0x100000001b3;
    return h ? h : 1;
}

/* To where the file was. In other windows its number means nothing: they begin with an epoch that
 * has not been yet. */
static void find_position(work *w, tn_windows *windows, const int32_t *ids, int64_t n)
{
    const uint64_t was = w->fingerprint, is = fingerprint_of(ids, n);
    w->fingerprint = is;
    if (!was || was == is) {
        if (tn_windows_seek(windows, w->position) == TN_OK) return;
        if (was) blame(w->ctx, model);
        else tn_clear_error(w->ctx);
    }
    if (tn_ctx_status(w->ctx) != TN_OK) return;
    w->position = (tn_batches_position){ w->position.epoch + 1, 0 };
    tn_windows_seek(windows, w->position);
    printf("another --text, --rows or --seed than before: epoch %lld begins\n",
           (long long)w->position.epoch);
}

static tn_status train(work *w, const int32_t *ids, int64_t n)
{
    const double begin = now(), limit = 60 * minutes;
    double       sum = 0, count = 0, last = begin;
    tn_windows  *windows = windows_of(w, ids, n, false);
    tn_program *step = windows ? build(w, true) : NULL, *look = step ? build(w, false) : NULL;
    int         skipped = 0; /* in a row */
    int64_t     told = tn_optimizer_steps(w->opt); /* the step of the last report */
    if (look) find_position(w, windows, ids, n);
    while (tn_ctx_status(w->ctx) == TN_OK && !interrupted) {
        const int64_t k = tn_optimizer_steps(w->opt) + 1;
        const double  spent = now() - begin;
        if (limit > 0 ? spent >= limit : k > steps) break;
        const double done = limit > 0 ? spent / limit : (double)k / ((double)steps + 1);
        const double rise = (double)k / (double)s.warmup;
        tn_optimizer_set_lr(w->opt, s.lr * fmin(fmin(rise, 1), 1 - done));
        const tn_status status = run(step, tn_windows_next(windows), &sum, &count);
        if (status == TN_ERR_GUARD) { /* something is not finite: the weights are as they were */
            tn_clear_error(w->ctx);
            if (++skipped == MOST_SKIPPED) diverged(w, "no gradients are finite");
            continue;
        }
        if (status != TN_OK) break;
        skipped = 0;
        if (k % REPORT_EVERY) continue;
        report(k, k - told, sum, count, now() - last,
               limit > 0 ? limit - spent : (double)(steps - k));
        sum = count = 0, last = now(), told = k;
        if (save && check_and_keep(w, windows, look) != TN_OK) break;
    }
    if (tn_ctx_status(w->ctx) == TN_OK && check_and_keep(w, windows, look) == TN_OK) {
        if (interrupted) tell_stopped();
        else if (save) printf("saved in "), output_word(save), printf("\n");
    }
    tn_program_free(step), tn_program_free(look), tn_windows_free(windows);
    return tn_ctx_status(w->ctx);
}

/* Perplexity of a token, and bits of a byte of text. */
static tn_status validate(work *w, const int32_t *ids, int64_t n, size_t bytes)
{
    double      sum = 0, count = 0;
    tn_windows *windows = windows_of(w, ids, n, true);
    tn_program *p = windows ? build(w, false) : NULL;
    for (const tn_window_batch *b = NULL; p && !(b && b->is_last);) {
        b = tn_windows_next(windows);
        if (run(p, b, &sum, &count) != TN_OK) break;
    }
    if (tn_ctx_status(w->ctx) == TN_OK && !isfinite(sum))
        diverged(w, "the held-out loss is not finite");
    if (tn_ctx_status(w->ctx) == TN_OK) {
        printf("held-out: perplexity "), output_number(exp(sum / count), 2);
        printf(", %.3f bits a byte\n", sum / count * (double)n / (double)bytes / log(2));
    }
    tn_program_free(p), tn_windows_free(windows);
    return tn_ctx_status(w->ctx);
}

/* The last twentieth of the text is held out. What was trained is saved by then, so that Ctrl-C
 * ends what comes behind it at once. */
static tn_status learn(work *w)
{
    size_t   length = 0;
    char    *text = s.text ? tn_text_load(w->ctx, s.text, 0, &length) : make_up(w->ctx, &length);
    int32_t *ids = text ? tn_alloc(w->ctx, (length + 1) * sizeof *ids) : NULL;
    if (text && !w->tokenizer) w->tokenizer = train_tokenizer(w->ctx, text, length);
    if (ids && w->tokenizer && make_model(w) == TN_OK) {
        const size_t  cut = length - length / 20;
        const int64_t n = tn_tokenizer_encode(w->tokenizer, text, cut, ids, (int64_t)length);
        const int64_t rest = tn_tokenizer_encode(w->tokenizer, text + cut, length - cut, ids + n,
                                                 (int64_t)length - n);
        printf("%lld tokens, %lld held out; %lld parameters\n", (long long)n, (long long)rest,
               (long long)tn_params_size(w->p));
        if (train(w, ids, n) == TN_OK && rest > 1 && !interrupted) {
            interrupt_cancels(w->ctx);
            validate(w, ids + n, rest, length - cut);
        }
    }
    tn_free(w->ctx, ids), tn_free(w->ctx, text);
    return tn_ctx_status(w->ctx);
}

/* ---- writing --------------------------------------------------------------------------------- */

static tn_status write_text(work *w)
{
    const size_t length = strlen(prompt);
    int32_t     *ids = tn_alloc(w->ctx, (length + 1) * sizeof *ids);
    int64_t      n = ids ? tn_tokenizer_encode(w->tokenizer, prompt, length, ids, (int64_t)length)
        : 0;
    if (ids && n == 0) n = tn_tokenizer_encode(w->tokenizer, "\n", 1, ids, 1); /* a new line */
    tn_generator *g = tn_generator_new(
        w->m, &(tn_generate_options){ .max_tokens = tokens, .top_k = top_k,
                                      .top_p = fmax(top_p, 1e-30), /* 0 stands for 1 */
                                      .temperature = temperature > 0 ? temperature : TN_NONE });
    const tn_generation *y = g ? tn_generate(g, ids, n) : NULL;
    const int64_t        size = y ? tn_tokenizer_decode(w->tokenizer, y->ids, y->n, NULL, 0) : -1;
    char                *text = size >= 0 ? tn_alloc(w->ctx, (size_t)size + 1) : NULL;
    if (text) {
        tn_tokenizer_decode(w->tokenizer, y->ids, y->n, text, (size_t)size + 1);
        printf("%s%s\n", prompt, text);
    }
    tn_generator_free(g);
    tn_free(w->ctx, ids), tn_free(w->ctx, text);
    return tn_ctx_status(w->ctx);
}

/* A model that is not trained: made as it was, and kept where it is asked for. */
static tn_status copy(work *w)
{
    return make_model(w) == TN_OK && save ? keep(w, w->position) : tn_ctx_status(w->ctx);
}

/* Where the model is to be kept is tried before anything is made. */
static tn_status check_save(tn_ctx *ctx)
{
    struct stat a, b;
    const char *why = save ? output_refused(save) : NULL;
    if (save && s.text && stat(save, &a) == 0 && stat(s.text, &b) == 0 && a.st_dev == b.st_dev &&
        a.st_ino == b.st_ino) why = "it is the --text";
    if (save && !why && !model && stat(save, &a) == 0 && S_ISREG(a.st_mode) && a.st_size > 0)
        why = "it is there: go on with --model, save to another file, or remove it";
    return why ? tn_fail(ctx, TN_ERR_IO, "cannot save to %s: %s", save, why) : TN_OK;
}

static void work_through(work *w, bool trains)
{
    if (model && recall(w) != TN_OK) return;
    if (check_save(w->ctx) != TN_OK || (trains ? learn(w) : copy(w)) != TN_OK || interrupted)
        return;
    interrupt_cancels(w->ctx);
    write_text(w);
}

static void tell_failure(const work *w)
{
    const char *why = w->ctx ? tn_error(w->ctx) : "no memory, or not so many --threads";
    fprintf(stderr, "%s%s\n", strncmp(why, "gpt: ", 5) == 0 ? "" : "gpt: ", why);
    if (w->is_kept) fprintf(stderr, "gpt: %s holds step %lld\n", save, (long long)w->kept);
}

int main(int argc, char **argv)
{
    const char *about = "Trains a GPT on a text and writes more of it.";
    cli_result  r = cli_parse(argc, argv, about, options, N_OPTIONS);
    if (r != CLI_GO_ON) return output_end("gpt", r == CLI_HELP ? 0 : 2);
    const char *text = s.text;
    if (model) s.text = NULL;
    char *remembered = model ? recall_settings() : NULL;
    if (model && !remembered) return 1;
    const bool is_other = text && !(s.text && strcmp(s.text, text) == 0);
    if (model && cli_parse_over(argc, argv, options, N_OPTIONS, fixed, model) != CLI_GO_ON)
        return free(remembered), 2;
    if (!steps && minutes <= 0 && !model) steps = 600;
    if (!steps && minutes <= 0 && is_other) {
        fprintf(stderr, "gpt: --text %s is for training: --steps or --minutes say how far\n", text);
        return free(remembered), 2;
    }
    if (save && !cli_can_write("gpt", options, N_REMEMBERED)) return free(remembered), 2;
    interrupt_catch();
    work w = { .ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)threads,
                                                    .seed = (uint64_t)s.seed }) };
    if (w.ctx) work_through(&w, steps || minutes > 0);
    interrupt_cancels(NULL);
    const tn_status status = w.ctx ? tn_ctx_status(w.ctx) : TN_ERR_MEMORY;
    const bool      ok = status == TN_OK || (status == TN_ERR_CANCELLED && interrupted);
    if (!ok) tell_failure(&w);
    tn_optimizer_free(w.opt), tn_gpt_free(w.m), tn_params_free(w.p);
    tn_tokenizer_free(w.tokenizer), tn_ctx_free(w.ctx);
    free(remembered);
    return output_end("gpt", !ok ? 1 : interrupt_status());
}
