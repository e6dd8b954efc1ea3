/* Trains a Transformer to translate. Without arguments: French to English, of a corpus that a small
 * grammar makes up, in about two minutes; then it translates sentences that it was never shown.
 *
 *     transformer_train
 *     transformer_train --train pairs.tsv.gz --valid valid.tsv --size small --minutes 60
 *         --save run */
#include "blame.h"
#include "corpora.h"
#include "folder.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"
#include "training.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- settings -------------------------------------------------------------------------------- */

typedef struct settings {
    const char *train, *valid, *test, *size, *schedule, *layout, *save;
    int64_t     vocab, d, heads, ff, layers, max_length;
    double      dropout, attention_dropout, lr, weight_decay, label_smoothing, clip, ema, beta2;
    int64_t warmup, tokens, accumulate, steps, valid_every, report_every, seed, threads, beam,
        n_test, n_pairs;
    int64_t     save_every, patience, epochs;
    double      minutes;
    bool        swap, post_norm, bleu, profile, recompute;
} settings;

/* What is 0, NULL or negative here is settled by settle(), once it is known whether there is a
 * corpus. */
static settings s = { .steps = -1,
                      .dropout = -1,
                      .attention_dropout = -1,
                      .label_smoothing = 0.1,
                      .clip = 1,
                      .beta2 = 0.98,
                      .seed = 1,
                      .accumulate = 1,
                      .beam = 0,
                      .layout = "packed",
                      .warmup = -1 };

static const char *resume; /* never in the file itself */

static const cli_option options[] = {
    { CLI_HEADING, "data: without --train, a made-up corpus", NULL, NULL, NULL },
    { CLI_TEXT, "train", &s.train, "FILE",
      "pairs to train on: a source, a tab and a target on each line; also .gz" },
    { CLI_TEXT, "valid", &s.valid, "FILE", "pairs to validate on" },
    { CLI_TEXT, "test", &s.test, "FILE", "pairs to translate at the end, for BLEU" },
    { CLI_FLAG, "swap", &s.swap, NULL, "the columns are target and source" },
    { CLI_COUNT, "pairs", &s.n_pairs, "N", "pairs of the made-up corpus [40000]" },
    OPTION_VOCAB(&s.vocab, " [8000; made-up corpus: 600]"),
    { CLI_COUNT, "max-length", &s.max_length, "N", "longest sentence in tokens [128]" },
    { CLI_HEADING, "model", NULL, NULL, NULL },
    { CLI_TEXT, "size", &s.size, "NAME",
      "micro (d 32, 1+1), nano (128, 4+4), tiny (128, 2+2), small (256, 3+3), base (512, 6+6) "
      "[small; made-up corpus: tiny]" },
    OPTION_D_MODEL(&s.d, ", instead of the size's"),
    OPTION_HEADS(&s.heads, ", likewise"),
    { CLI_COUNT, "ff", &s.ff, "N", "width inside the feed-forward blocks, likewise" },
    OPTION_LAYERS(&s.layers, " on each side, likewise"),
    OPTION_DROPOUT(&s.dropout, "[0.1]"),
    { CLI_DECAY, "attention-dropout", &s.attention_dropout, "P", "of attention weights [0]" },
    { CLI_FLAG, "post-norm", &s.post_norm, NULL, "norms after the residual sums" },
    { CLI_HEADING, "training", NULL, NULL, NULL },
    { CLI_INT, "steps", &s.steps, "N",
      "updates; 0: until --minutes or --epochs are over [0; made-up corpus, without these: 1000]" },
    { CLI_INT, "epochs", &s.epochs, "N", "passes over the pairs, instead of --steps [0]" },
    OPTION_MINUTES(&s.minutes, "; linear and cosine schedules end with it"),
    { CLI_COUNT, "tokens", &s.tokens, "N",
      "of a batch, on each side [4096; made-up corpus: 2048]" },
    { CLI_BATCHES, "accumulate", &s.accumulate, "N", "batches of an update" },
    { CLI_TEXT, "layout", &s.layout, "NAME", "packed or padded batches" },
    OPTION_LR(&s.lr, " [0.003; of noam a factor, 1]"),
    { CLI_TEXT, "schedule", &s.schedule, "NAME",
      "constant, linear, cosine, isqrt or noam [linear]" },
    { CLI_INT, "warmup", &s.warmup, "N",
      "steps in which the rate rises [1000; made-up corpus: 100]" },
    { CLI_PART, "label-smoothing", &s.label_smoothing, "X",
      "what a target gives to all classes alike" },
    { CLI_REAL, "clip", &s.clip, "X", "norm that gradients are clipped to; 0: not" },
    { CLI_REAL, "weight-decay", &s.weight_decay, "X", "[0]" },
    { CLI_DECAY, "beta2", &s.beta2, "X", "of Adam" },
    { CLI_DECAY, "ema", &s.ema, "X",
      "decay of an average of the weights, which is then validated and used [off]" },
    { CLI_FLAG, "recompute", &s.recompute, NULL,
      "compute the layers again for backward instead of keeping them: less memory, more time" },
    OPTION_SEED(&s.seed),
    OPTION_THREADS(&s.threads),
    { CLI_HEADING, "looking and keeping", NULL, NULL, NULL },
    { CLI_TEXT, "save", &s.save, "DIR",
      "keep the last state there, and the best model: last and best.safetensors; they must not be "
      "there yet" },
    { CLI_TEXT, "resume", &resume, "DIR",
      "go on where a training was, with its options; others may be given, but not of the model, "
      "the batches and the seed" },
    { CLI_COUNT, "save-every", &s.save_every, "N", "steps [as valid-every]" },
    { CLI_COUNT, "report-every", &s.report_every, "N", "steps [100]" },
    { CLI_COUNT, "valid-every", &s.valid_every, "N", "steps [1000]" },
    { CLI_INT, "patience", &s.patience, "N",
      "end after so many validations in a row that are no better [never]" },
    { CLI_FLAG, "bleu", &s.bleu, NULL, "validate with BLEU too" },
    { CLI_FLAG, "profile", &s.profile, NULL,
      "show at the end where the time of a training step goes" },
    { CLI_BEAM, "beam", &s.beam, "N", "width of the search for the test [5; made-up corpus: 1]" },
    { CLI_COUNT, "test-pairs", &s.n_test, "N", "how many are translated at the end [1000]" },
};

typedef struct size {
    const char *name;
    int64_t     d, heads, ff, layers;
} size;

enum { N_OPTIONS = sizeof options / sizeof *options };

/* Of these a training that goes on has those that it began with. */
static const char *const fixed = "swap|pairs|vocab|max-length|size|d-model|heads|ff|layers|dropout|"
                                 "attention-dropout|post-norm|tokens|layout|seed|save";

static const size sizes[] = {
    { "micro", 32, 2, 64, 1 },
    { "nano", 128, 4, 256, 4 },
    { "tiny", 128, 4, 512, 2 },
    { "small", 256, 4, 1024, 3 },
    { "base", 512, 8, 2048, 6 },
};

static const char      *const schedules = "constant|linear|cosine|isqrt|noam";
static tn_schedule_kind schedule;

#define DEFAULT(field, value)                                                                      \
    if (!s.field) s.field = (value)

/* The numbers of what has a name. */
static bool choose(int *which)
{
    int kind = cli_choice("schedule", s.schedule, schedules);
    int layout = cli_choice("layout", s.layout, "packed|padded");
    *which = cli_choice("size", s.size, "micro|nano|tiny|small|base");
    schedule = (tn_schedule_kind)kind;
    return *which >= 0 && kind >= 0 && layout >= 0;
}

/* A fifth of the training at most, once its steps are known. */
static void settle_warmup(int64_t steps)
{
    if (s.warmup >= 0) return;
    s.warmup = s.train ? 1000 : 100;
    if (steps && s.warmup > steps / 5) s.warmup = steps / 5;
}

/* What is not given, nor in the file of a training that goes on. */
static bool settle(void)
{
    bool made_up = !s.train;
    int  which;
    DEFAULT(size, made_up ? "tiny" : "small");
    DEFAULT(schedule, "linear");
    if (s.steps < 0) s.steps = made_up && s.minutes <= 0 && !s.epochs ? 1000 : 0;
    if (!choose(&which)) return false;
    DEFAULT(d, sizes[which].d);
    DEFAULT(heads, sizes[which].heads);
    DEFAULT(ff, sizes[which].ff);
    DEFAULT(layers, sizes[which].layers);
    DEFAULT(vocab, made_up ? 600 : 8000);
    DEFAULT(n_pairs, 40000);
    DEFAULT(max_length, 128);
    DEFAULT(tokens, made_up ? 2048 : 4096);
    DEFAULT(lr, schedule == TN_SCHEDULE_NOAM ? 1 : 3e-3);
    DEFAULT(report_every, 100);
    DEFAULT(valid_every, 1000);
    DEFAULT(save_every, s.valid_every);
    DEFAULT(beam, made_up ? 1 : 5);
    DEFAULT(n_test, 1000);
    if (s.dropout < 0) s.dropout = 0.1;
    if (s.attention_dropout < 0) s.attention_dropout = 0;
    return true;
}

/* Settings that do not go together, also where they are a file's and what is given beside it. */
static bool check(void)
{
    int which;
    if (!choose(&which)) return false;
    if (!s.train && (s.valid || s.test)) {
        fprintf(stderr, "transformer_train: --valid and --test want --train: the made-up corpus "
                        "has its own\n");
        return false;
    }
    if (s.steps == 0 && s.epochs == 0 && s.minutes <= 0) {
        fprintf(stderr, "transformer_train: say how long to train: --steps, --epochs or "
                        "--minutes\n");
        return false;
    }
    if (s.steps && s.epochs) {
        fprintf(stderr, "transformer_train: --steps %lld and --epochs %lld: one of them is to be "
                        "0\n", (long long)s.steps, (long long)s.epochs);
        return false;
    }
    if (s.patience && s.train && !s.valid) {
        fprintf(stderr, "transformer_train: --patience wants --valid\n");
        return false;
    }
    return !s.save || cli_can_write("transformer_train", options, N_OPTIONS);
}

/* ---- data ------------------------------------------------------------------------------------ */

static bool load_corpora(tn_ctx *ctx, corpora *c)
{
    if (s.train) {
        c->train = corpus_of_file(ctx, s.train, s.swap);
        if (s.valid) c->valid = corpus_of_file(ctx, s.valid, s.swap);
        if (s.test) c->test = corpus_of_file(ctx, s.test, s.swap);
    } else {
        c->train = corpus_made_up(ctx, s.n_pairs, 2, 15, (uint64_t)s.seed);
        c->valid = corpus_made_up(ctx, 500, 1, 1, (uint64_t)s.seed + 1);
        c->test = corpus_made_up(ctx, s.n_test, 0, 0, (uint64_t)s.seed + 2);
    }
    return tn_ctx_status(ctx) == TN_OK;
}

/* ---- keeping --------------------------------------------------------------------------------- */

static folder place; /* where it is saved */

static const char *const kept_files[] = { "last.safetensors", "best.safetensors" };
static const char *last_in(const char *path) { return folder_file(path, kept_files[0]); }

static bool open_place(tn_ctx *ctx)
{
    const char *why = s.save ? folder_open(&place, s.save, kept_files, 2, resume != NULL) : NULL;
    return !why || tn_fail(ctx, TN_ERR_IO, "cannot save to %s: %s", s.save, why) == TN_OK;
}

static int64_t saved = -1; /* the step that last.safetensors is of */

/* Where the training is, and behind that its options; to be freed. */
static char *state_text(const training *r)
{
    char        where[512];
    const char *kept = resume;
    training_tell(r, where, sizeof where);
    strcat(where, "options\n");
    resume = NULL;
    char *text = cli_write(where, options, N_OPTIONS);
    resume = kept;
    if (!text) tn_fail(r->t->ctx, TN_ERR_MEMORY, "no memory for the options to save");
    return text;
}

/* The state of the training. What was saved stays if the training has diverged. */
static bool save_last(training *r)
{
    if (training_check(r) != TN_OK) return false;
    if (!s.save) return true;
    char *text = state_text(r);
    bool  ok = text && translation_save(r->t, last_in(s.save), r->optimizer, text) == TN_OK;
    free(text);
    if (ok) saved = r->step;
    return ok;
}

static bool save_best(training *r)
{
    if (!s.save) return true;
    return translation_save(training_model(r), folder_file(s.save, kept_files[1]), NULL, NULL) ==
           TN_OK;
}

/* The options of a training that goes on: the file's, and over them what is given. */
static bool read_options(char *text, int argc, char **argv)
{
    const char *path = resume;
    if (!text || !cli_read(text, options, N_OPTIONS) || !settle()) {
        fprintf(stderr, "transformer_train: %s: the options in the file are not understood\n",
                last_in(path));
        return false;
    }
    s.save = path;
    return cli_parse_over(argc, argv, options, N_OPTIONS, fixed, path) == CLI_GO_ON && check();
}

/* What the file in the folder remembers: where it was (to be freed, and holding the options'
 * texts). In a context of its own: the seed of the real one is among the options. The folder is
 * held from here on, so that it stays what the training goes on with. */
static char *read_resumed(int argc, char **argv)
{
    bool        is_busy;
    const char *why = folder_hold(&place, resume, &is_busy);
    if (is_busy) return fprintf(stderr, "transformer_train: %s: %s\n", resume, why), NULL;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    char *text = ctx ? translation_remembered(ctx, last_in(resume)) : NULL;
    char *copy = text ? strdup(text) : NULL, *rest = copy ? strstr(copy, "options\n") : NULL;
    if (!copy)
        fprintf(stderr, "transformer_train: %s\n", ctx && !text ? tn_error(ctx) : "no memory");
    tn_free(ctx, text);
    tn_ctx_free(ctx);
    if (copy && read_options(rest ? rest + strlen("options\n") : NULL, argc, argv)) return copy;
    free(copy);
    return NULL;
}

/* ---- the model ------------------------------------------------------------------------------- */

static bool make_model(tn_ctx *ctx, const tn_corpus *corpus, translation *t)
{
    t->ctx = ctx;
    t->tokenizer = tn_tokenizer_train(ctx, tn_corpus_sources(corpus), 2 * tn_corpus_size(corpus),
                                      &(tn_tokenizer_options){ .vocab = s.vocab });
    t->params = tn_params_new(ctx, TN_F32);
    t->model = tn_transformer_new(
        t->params,
        &(tn_transformer_config){ .src_vocab = tn_tokenizer_vocab(t->tokenizer),
                                  .d_model = s.d,
                                  .n_heads = s.heads,
                                  .d_ff = s.ff,
                                  .n_encoder = s.layers,
                                  .n_decoder = s.layers,
                                  .max_length = s.max_length + 2,
                                  .dropout = s.dropout > 0 ? s.dropout : TN_NONE,
                                  .post_norm = s.post_norm,
                                  .attention_dropout =
                                      s.attention_dropout > 0 ? s.attention_dropout : TN_NONE });
    return tn_ctx_status(ctx) == TN_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool tell_bleu(training *r, const corpora *c)
{
    tn_bleu_score bleu;
    int64_t       exact, n = tn_corpus_size(c->valid);
    if (n > s.n_test) n = s.n_test;
    if (!translation_test(training_model(r), c->valid, n, 1, &bleu, &exact)) return false;
    printf(", BLEU %.2f", bleu.score);
    return true;
}

/* Its line ends also where saving fails: the reason stands on one of its own. */
static bool validate(training *r, const corpora *c)
{
    double perplexity;
    if (training_validate(r, &perplexity) != TN_OK) return false;
    const bool is_best = perplexity < r->best;
    printf("step %lld  validation perplexity ", (long long)r->step);
    output_number(perplexity, 3);
    printf("%s", is_best ? ", the best" : "");
    if (is_best) r->best = perplexity, r->stale = 0;
    else r->stale++;
    const bool ok = (!is_best || save_best(r)) && (!s.bleu || tell_bleu(r, c));
    printf("\n");
    fflush(stdout);
    return ok;
}

static void tell_recomputed(const tn_program *p)
{
    tn_program_stats st = tn_program_stats_of(p);
    printf("recomputing: %.1f MiB for a batch instead of %.1f, for %.1f %% more work\n",
           (double)st.arena_bytes / 1048576, (double)st.kept_bytes / 1048576,
           100 * st.recomputed_flops / (st.flops - st.recomputed_flops));
}

static void tell_stopped(int64_t step)
{
    printf("\nstopped after step %lld; ", (long long)step);
    if (s.save) printf("to go on: transformer_train --resume "), output_word(s.save), printf("\n");
    else printf("nothing is saved without --save\n");
}

/* An update that was interrupted is none: r->step stays, and its batches come again. */
static bool train(training *r, const corpora *c)
{
    bool told = false, is_saved = false, is_over = training_is_over(r);
    while (!is_over && !interrupted) {
        const int64_t before = r->step;
        if (training_step(r) != TN_OK) return false;
        const bool is_new = r->step > before;
        is_over = training_is_over(r);
        if (is_new && (r->step % s.report_every == 0 || r->step == 1)) training_report(r);
        if (s.recompute && !told) told = true, tell_recomputed(r->last);
        const bool looks = is_over || (is_new && r->step % s.valid_every == 0);
        if (c->valid && looks && !validate(r, c)) return false;
        is_over = training_is_over(r);
        is_saved = is_new && r->step % s.save_every == 0;
        if (is_saved && !save_last(r)) return false;
    }
    if (!is_saved && !save_last(r)) return false;
    if (s.profile && r->last) tn_program_profile_dump(r->last, stdout);
    if (!c->valid && !save_best(r)) return false; /* the only one to choose from */
    if (s.patience && r->stale >= s.patience)
        printf("no better in %lld validation%s: it ends here\n", (long long)r->stale,
               output_s(r->stale));
    if (interrupted) tell_stopped(r->step);
    else if (s.save) printf("saved in "), output_word(s.save), printf("\n");
    return true;
}

/* ---- what came of it ------------------------------------------------------------------------- */

/* Ctrl-C ends it at once: what was trained is saved by now. */
static bool finish(training *r, const corpora *c)
{
    const translation *t = training_model(r);
    tn_bleu_score      bleu;
    char               text[160];
    int64_t            exact, n = c->test ? tn_corpus_size(c->test) : 0;
    if (n > s.n_test) n = s.n_test;
    if (!c->test) return true;
    if (!s.train) {
        tn_text first = tn_text_of("Je suis étudiant");
        if (!translation_show(t, &first, 1) ||
            !translation_show(t, tn_corpus_sources(c->test), n < 5 ? n : 5))
            return false;
    }
    if (!translation_test(t, c->test, n, s.beam, &bleu, &exact)) return false;
    printf("%s\n", tn_bleu_text(&bleu, text, sizeof text));
    printf("held-out: exact %.1f %% of %lld sentence%s\n", 100.0 * (double)exact / (double)n,
           (long long)n, output_s(n));
    return true;
}

/* What the batches could not be made of. */
static void blame_batches(tn_ctx *ctx, const training *r, bool has_valid)
{
    const char *option = r->batches ? "--valid" : "--train", *file = r->batches ? s.valid : s.train;
    char        what[512];
    if (tn_ctx_status(ctx) != TN_ERR_ARG || (r->batches && (r->valid || !has_valid))) return;
    snprintf(what, sizeof what, "%s %.300s with --tokens %lld and --max-length %lld",
             s.train ? option : "the made-up", s.train ? file : "corpus", (long long)s.tokens,
             (long long)s.max_length);
    blame(ctx, what);
}

/* The model: a new one, or as it was. */
static bool begin(tn_ctx *ctx, corpora *c, translation *t, training *r, const char *resumed)
{
    if (!open_place(ctx) || !load_corpora(ctx, c)) return false;
    const char *last = resume ? last_in(resume) : NULL;
    if (last ? translation_load(ctx, last, t) != TN_OK : !make_model(ctx, c->train, t))
        return false;
    training_options o = { .packed = strcmp(s.layout, "packed") == 0,
                           .tokens = s.tokens,
                           .max_length = s.max_length,
                           .accumulate = s.accumulate,
                           .label_smoothing = s.label_smoothing,
                           .lr = s.lr,
                           .clip = s.clip,
                           .weight_decay = s.weight_decay,
                           .ema = s.ema,
                           .beta2 = s.beta2,
                           .schedule = schedule,
                           .warmup = s.warmup,
                           .steps = s.steps,
                           .epochs = s.epochs,
                           .seconds = 60 * s.minutes,
                           .patience = s.patience,
                           .seed = (uint64_t)s.seed,
                           .profile = s.profile,
                           .recompute = s.recompute,
                           .interrupted = &interrupted };
    if (training_begin(r, t, c->train, c->valid, &o) != TN_OK) {
        blame_batches(ctx, r, c->valid != NULL);
        return false;
    }
    settle_warmup(training_steps(r));
    r->o.warmup = s.warmup;
    if (last && training_resume(r, last, resumed) != TN_OK) return false;
    const long long n_pairs = tn_batches_pairs(r->batches);
    printf("%lld pair%s, %lld left out for their length; vocabulary %lld; %lld parameters; %d "
           "thread%s, %s\n",
           n_pairs, output_s(n_pairs), (long long)tn_batches_dropped(r->batches),
           (long long)tn_tokenizer_vocab(t->tokenizer), (long long)tn_params_size(t->params),
           tn_ctx_threads(ctx), output_s(tn_ctx_threads(ctx)), tn_cpu_level_name(tn_ctx_cpu(ctx)));
    fflush(stdout);
    if (!last) return true;
    saved = r->step;
    printf("resumed after step %lld%s\n", (long long)r->step,
           training_is_over(r) ? ", where it ends: more --steps, --epochs, --minutes or "
                                 "--patience go on" : "");
    if (r->is_best_other)
        printf("other pairs to validate on: the best perplexity of before does not count\n");
    return true;
}

static void tell_failure(tn_ctx *ctx)
{
    const char *last = s.save ? last_in(s.save) : NULL;
    const tn_status status = tn_ctx_status(ctx);
    fprintf(stderr, "transformer_train: %s\n", tn_error(ctx));
    if (status == TN_ERR_LIMIT || status == TN_ERR_MEMORY)
        fprintf(stderr, "transformer_train: less memory is taken by fewer --tokens, by --recompute "
                        "and by a smaller model\n");
    if (saved >= 0 && place.is_held && access(last, F_OK) == 0) /* nobody else saved there */
        fprintf(stderr, "transformer_train: %s holds step %lld\n", last, (long long)saved);
}

int main(int argc, char **argv)
{
    corpora     c = { 0 };
    translation t = { 0 };
    training    r = { 0 };
    const char *about = "Trains a Transformer to translate. Without options: French to English, of "
                        "a made-up corpus.";
    cli_result  given = cli_parse(argc, argv, about, options, N_OPTIONS);
    if (given != CLI_GO_ON) return output_end("transformer_train", given == CLI_HELP ? 0 : 2);
    char *resumed = resume ? read_resumed(argc, argv) : NULL;
    if (resume ? !resumed : !settle() || !check()) return free(resumed), 2;
    tn_ctx *ctx =
        tn_ctx_new(&(tn_ctx_options){ .threads = (int)s.threads, .seed = (uint64_t)s.seed,
                                      .memory_limit = memory_of_machine() });
    if (!ctx) {
        fprintf(stderr, "transformer_train: no memory, or not so many --threads\n");
        return free(resumed), 1;
    }
    interrupt_catch();
    bool ok = begin(ctx, &c, &t, &r, resumed) && train(&r, &c);
    interrupt_cancels(ctx);
    if (ok && !interrupted) ok = finish(&r, &c);
    interrupt_cancels(NULL);
    if (!ok && interrupted && tn_ctx_status(ctx) == TN_ERR_CANCELLED) {
        printf("\nstopped while translating; the training is over%s%s\n",
               s.save ? " and saved in " : "", s.save ? s.save : "");
        ok = true;
    }
    if (!ok) tell_failure(ctx);
    training_end(&r);
    translation_free(&t);
    corpora_free(&c);
    tn_ctx_free(ctx);
    folder_close(&place);
    free(resumed);
    return output_end("transformer_train", !ok ? 1 : interrupt_status());
}
