/* What padding costs: training on real sentence pairs of every length, tokens a second that are no
 * padding, in packed batches and in padded ones of the same budget.
 *
 *     bench_padding --text pairs.tsv --size small --tokens 2048 --batches 12 [--export FILE]
 *
 * Batches of both layouts are run by turns. Each is run once before it is timed, so that its
 * program is there. --export writes the padded batches, which bench/peers/torch_padding.py trains
 * on. */
#include "models.h"
#include "options.h"
#include "peak.h"
#include "sentences.h"

#include <stdio.h>

enum { MAX_BATCHES = 200, PADDED = 0, PACKED = 1, N_LAYOUTS };

typedef struct options {
    const tn_bench_size *size;
    const char          *size_name, *text, *export_to;
    int64_t              threads, batches, tokens, sentences;
    bool                 json;
} options;

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ .size_name = "small", .threads = 2, .batches = 12, .tokens = 2048,
                    .sentences = 20000 };
    const char *about = "Training on real sentence pairs: real tokens a second in packed batches, "
                        "and in padded ones.";
    const cli_option table[] = {
        TN_BENCH_TEXT(&o->text),
        TN_BENCH_PAIR_SIZE(&o->size_name),
        TN_BENCH_THREADS(&o->threads),
        { CLI_INT, "tokens", &o->tokens, "N", "of a batch, on each side" },
        { CLI_INT, "batches", &o->batches, "N", "that are timed" },
        TN_BENCH_SENTENCES(&o->sentences),
        { CLI_TEXT, "export", &o->export_to, "FILE", "the padded batches go there" },
        TN_BENCH_JSON(&o->json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    o->size = tn_bench_pair_size_of(o->size_name);
    bool ok = o->size && tn_bench_is_within("threads", o->threads, 1, TN_BENCH_MAX_THREADS) &&
              tn_bench_is_within("batches", o->batches, 1, MAX_BATCHES);
    return ok ? TN_BENCH_GO_ON : 2;
}

/* ---- one layout ------------------------------------------------------------------------------ */

typedef struct layout {
    bool              is_packed;
    tn_batches       *batches;
    tn_program_cache *programs;
    const tn_transformer *model;
    tn_optimizer     *optimizer;
    double            seconds;
    int64_t           real, all; /* tokens of both sides; with padding */
} layout;

static tn_sequence sequence(tn_graph *g, const char *side, bool is_packed, int64_t rows,
                            int64_t length)
{
    char        name[32];
    tn_sequence s = { .ids = NULL };
    s.ids = tn_input(g, side, TN_I32, is_packed ? TN_SHAPE(length) : TN_SHAPE(rows, length));
    snprintf(name, sizeof name, "%s.at", side);
    if (is_packed) {
        s.offsets = tn_input(g, name, TN_I32, TN_SHAPE(rows + 1));
        snprintf(name, sizeof name, "%s.places", side);
        s.places = tn_input(g, name, TN_I32, TN_SHAPE(length));
    } else {
        s.lengths = tn_input(g, name, TN_I32, TN_SHAPE(rows));
    }
    return s;
}

/* key: rows, source length, target length */
static tn_program *build(void *user, const int64_t *key, int n, tn_arena *arena)
{
    const layout *l = user;
    tn_graph     *g = tn_graph_new(l->model->ctx, TN_TRAIN);
    tn_sequence   source = sequence(g, "src", l->is_packed, key[0], key[1]);
    tn_sequence   target = sequence(g, "tgt", l->is_packed, key[0], key[2]);
    tn_node      *next = tn_input(g, "next", TN_I32, tn_node_shape(target.ids));
    tn_loss_parts loss;
    (void)n;
    tn_transformer_loss(l->model, &source, &target, next, 0.1, &loss);
    tn_train_step_options o = { .count = loss.count, .arena = arena };
    tn_program           *p = tn_train_step_with(g, loss.sum, l->optimizer, &o);
    tn_graph_free(g);
    return p;
}

static void feed(tn_program *p, const char *name, const int32_t *data, int64_t n)
{
    int32_t *to = tn_input_data(p, name); /* NULL: nothing depends on it */
    if (to) memcpy(to, data, (size_t)n * sizeof *data);
}

/* One step on the next batch; counts it if it is timed. */
static tn_status step(layout *l, bool is_timed)
{
    const tn_batch *b = tn_batches_next(l->batches);
    int64_t         key[3] = { b->rows, b->src_length, b->tgt_length };
    tn_program     *p = tn_program_cache_get(l->programs, key, 3);
    int64_t         rows = l->is_packed ? 1 : b->rows;
    double          begin = tn_bench_now();
    if (!p) return tn_ctx_status(l->model->ctx);
    feed(p, "src", b->src, rows * b->src_length), feed(p, "tgt", b->tgt_in, rows * b->tgt_length);
    feed(p, "next", b->tgt_out, rows * b->tgt_length);
    if (l->is_packed) {
        feed(p, "src.at", b->src_offsets, b->rows + 1),
            feed(p, "tgt.at", b->tgt_offsets, b->rows + 1);
        feed(p, "src.places", b->src_places, b->src_length);
        feed(p, "tgt.places", b->tgt_places, b->tgt_length);
    } else {
        feed(p, "src.at", b->src_lengths, b->rows), feed(p, "tgt.at", b->tgt_lengths, b->rows);
    }
    tn_status status = tn_run(p);
    if (is_timed) {
        l->seconds += tn_bench_now() - begin;
        l->real += b->src_tokens + b->tgt_tokens;
        l->all += rows * (b->src_length + b->tgt_length);
    }
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The first batches of the padded layout as "0.src", "0.tgt", "0.next", "1.src", .. */
static tn_status export_batches(tn_ctx *ctx, const options *o, tn_batches *batches)
{
    static tn_safetensors_entry e[3 * MAX_BATCHES];
    static char                 names[3 * MAX_BATCHES][16];
    int                         n = 3 * (int)o->batches;
    for (int i = 0; i < o->batches; i++) {
        const tn_batch *b = tn_batches_next(batches);
        const int32_t  *from[3] = { b->src, b->tgt_in, b->tgt_out };
        for (int k = 0; k < 3; k++) {
            static const char *const kinds[] = { "src", "tgt", "next" };
            int64_t length = k ? b->tgt_length : b->src_length;
            size_t  bytes = (size_t)(b->rows * length) * sizeof(int32_t);
            void   *copy = tn_alloc(ctx, bytes);
            snprintf(names[3 * i + k], sizeof names[0], "%d.%s", i, kinds[k]);
            if (copy) memcpy(copy, from[k], bytes);
            e[3 * i + k] = (tn_safetensors_entry){
                names[3 * i + k], { TN_I32, TN_SHAPE(b->rows, length) }, copy };
        }
    }
    if (tn_ctx_status(ctx) == TN_OK) tn_safetensors_write(ctx, o->export_to, e, n, NULL, 0);
    for (int i = 0; i < n; i++) tn_free(ctx, (void *)e[i].data);
    tn_batches_seek(batches, (tn_batches_position){ 0, 0 });
    return tn_ctx_status(ctx);
}

static void report(const options *o, const layout *l)
{
    const char *name = l->is_packed ? "packed" : "padded";
    double      rate = (double)l->real / l->seconds, share = (double)l->real / (double)l->all;
    printf(o->json ? "{\"layout\": \"%s\", \"size\": \"%s\", \"threads\": %d, \"tok_s\": %.1f, "
                     "\"real_share\": %.4f, \"tokens\": %lld, \"batches\": %d, "
                     "\"programs\": %lld}\n"
                   : "%s, %s, %d threads: %.1f real tokens/s; %.3f of all tokens are real; "
                     "%lld real tokens in %d batches, %lld programs\n",
           name, o->size->name, (int)o->threads, rate, share, (long long)l->real, (int)o->batches,
           (long long)tn_program_cache_misses(l->programs));
}

static tn_status run(tn_ctx *ctx, const options *o)
{
    tn_token_pairs *pairs = tn_bench_sentences(ctx, o->text, o->sentences, o->size->vocab);
    tn_params      *p = tn_params_new(ctx, TN_F32);
    tn_transformer_config c = tn_bench_transformer(o->size, 0.1);
    tn_transformer *m = tn_transformer_new(p, &c);
    tn_optimizer   *opt = tn_adam_new(p, &(tn_adam_options){ .lr = 1e-4, .beta2 = 0.98,
                                                             .eps = 1e-9 });
    layout          l[N_LAYOUTS] = { { .is_packed = false }, { .is_packed = true } };
    tn_status       status = pairs && m && opt ? TN_OK : tn_ctx_status(ctx);
    for (int k = 0; status == TN_OK && k < N_LAYOUTS; k++) {
        tn_batches_options b = { .layout = k == PACKED ? TN_BATCH_PACKED : TN_BATCH_PADDED,
                                 .tokens = o->tokens, .source_eos = true, .max_length = 128 };
        /* A few programs serve all packed batches where totals are rounded to a sixteenth. */
        if (k == PACKED) b.round_length = o->tokens / 16, b.round_rows = 64;
        l[k].batches = tn_batches_new(ctx, pairs, &b);
        l[k].programs = tn_program_cache_new(ctx, 64, build, &l[k]);
        l[k].model = m, l[k].optimizer = opt;
        status = tn_ctx_status(ctx);
    }
    if (status == TN_OK && o->export_to) status = export_batches(ctx, o, l[PADDED].batches);
    for (int pass = 0; status == TN_OK && pass < 2; pass++) {
        for (int i = 0; status == TN_OK && i < o->batches; i++)
            for (int k = 0; status == TN_OK && k < N_LAYOUTS; k++) status = step(&l[k], pass == 1);
        for (int k = 0; k < N_LAYOUTS; k++)
            tn_batches_seek(l[k].batches, (tn_batches_position){ 0, 0 });
    }
    for (int k = 0; k < N_LAYOUTS; k++) {
        if (status == TN_OK) report(o, &l[k]);
        tn_program_cache_free(l[k].programs), tn_batches_free(l[k].batches);
    }
    tn_optimizer_free(opt), tn_transformer_free(m), tn_params_free(p);
    tn_token_pairs_free(ctx, pairs);
    return status;
}

int main(int argc, char **argv)
{
    options o;
    int     end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
    if (!o.text) {
        printf("bench_padding: skipped: no sentences (--text PAIRS.tsv: source TAB target)\n");
        return tn_bench_end(77);
    }
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)o.threads, .seed = 1 });
    int     code = !ctx || run(ctx, &o) != TN_OK;
    if (code) fprintf(stderr, "bench_padding: %s\n", ctx ? tn_error(ctx) : "no context");
    tn_ctx_free(ctx);
    return tn_bench_end(code);
}
