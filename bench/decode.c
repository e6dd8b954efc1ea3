/* Translating real sentences: tokens a second of greedy and of beam search. The weights are random,
 * and the row of eos is zeros, so that nothing ends before its length, which is that of its source:
 * a last step then finds that all that may follow is eos. Each step counts as a token. Sentences of
 * like lengths go together.
 *
 *     bench_decode --text pairs.tsv --size base --beam 5 --batch 32 [--export FILE]
 *
 * --export writes weights and sources, with which bench/peers/ct2_decode.py does the same work. */
#include "models.h"
#include "options.h"
#include "peak.h"
#include "sentences.h"

#include <stdio.h>
#include <sys/resource.h>

enum { MAX_REPEATS = 101, MAX_SOURCE = 200 };

typedef struct options {
    const tn_bench_size *size;
    const char          *size_name, *text, *export_to;
    int64_t              threads, repeats, beam, batch, sentences, at_once;
    bool                 json;
} options;

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ .size_name = "base", .threads = 2, .repeats = 3, .beam = 1, .batch = 32,
                    .sentences = 1000 };
    const char      *about = "Translating real sentences: tokens a second.";
    const cli_option table[] = {
        TN_BENCH_TEXT(&o->text),
        TN_BENCH_PAIR_SIZE(&o->size_name),
        TN_BENCH_THREADS(&o->threads),
        { CLI_INT, "beam", &o->beam, "N", "hypotheses that go on; 1: greedy" },
        { CLI_INT, "batch", &o->batch, "N", "sentences at a time" },
        { CLI_INT, "at-once", &o->at_once, "N", "batches, by parts of the threads; 0: as many" },
        TN_BENCH_SENTENCES(&o->sentences),
        { CLI_INT, "repeats", &o->repeats, "N", "samples, median taken" },
        { CLI_TEXT, "export", &o->export_to, "FILE", "weights and sources go there" },
        TN_BENCH_JSON(&o->json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    o->size = tn_bench_pair_size_of(o->size_name);
    bool ok = o->size && tn_bench_is_within("threads", o->threads, 1, TN_BENCH_MAX_THREADS) &&
              tn_bench_is_within("repeats", o->repeats, 1, MAX_REPEATS) &&
              tn_bench_is_within("beam", o->beam, 1, INT32_MAX) &&
              tn_bench_is_within("batch", o->batch, 1, INT32_MAX) &&
              tn_bench_is_within("at-once", o->at_once, 0, TN_BENCH_MAX_THREADS);
    if (o->at_once == 0) o->at_once = o->threads;
    return ok ? TN_BENCH_GO_ON : 2;
}

static int64_t length_of(const tn_token_pairs *pairs, int64_t i)
{
    return pairs->src_at[i + 1] - pairs->src_at[i];
}

static const tn_token_pairs *sorted; /* by length, for qsort alone */

static int by_length(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    int64_t d = length_of(sorted, x) - length_of(sorted, y);
    return d ? (d > 0) - (d < 0) : (x > y) - (x < y);
}

/* The sources by length. Those that are translated together are cut to the shortest of them, so
 * that everyone makes the same tokens, whether they let a sentence of a group end before the others
 * or not. All end in eos, as models are trained. */
static int32_t *make_sources(const tn_token_pairs *pairs, int64_t batch, int32_t eos, int64_t *at)
{
    int32_t *ids = malloc((size_t)(pairs->src_at[pairs->n] + pairs->n) * sizeof *ids);
    int64_t *order = malloc((size_t)pairs->n * sizeof *order);
    at[0] = 0, sorted = pairs;
    for (int64_t i = 0; order && i < pairs->n; i++) order[i] = i;
    if (order) qsort(order, (size_t)pairs->n, sizeof *order, by_length);
    for (int64_t i = 0; ids && order && i < pairs->n; i++) {
        int64_t n = length_of(pairs, order[i / batch * batch]);
        if (n >= MAX_SOURCE) n = MAX_SOURCE - 1;
        memcpy(ids + at[i], pairs->src + pairs->src_at[order[i]], (size_t)n * sizeof *ids);
        ids[at[i] + n] = eos;
        at[i + 1] = at[i] + n + 1;
    }
    if (!order) free(ids), ids = NULL;
    free(order);
    return ids;
}

static tn_status export_work(tn_ctx *ctx, const char *path, const tn_params *p, const int32_t *ids,
                             const int64_t *at, int64_t n)
{
    int                     count = tn_params_count(p);
    tn_safetensors_entry   *e = tn_alloc(ctx, (size_t)(count + 2) * sizeof *e);
    for (int i = 0; e && i < count; i++) {
        tn_node *v = tn_params_at(p, i);
        e[i] = (tn_safetensors_entry){ tn_variable_name(v), tn_node_type(v), tn_variable_data(v) };
    }
    if (e) {
        e[count] = (tn_safetensors_entry){ "sources.ids", { TN_I32, TN_SHAPE(at[n]) }, ids };
        e[count + 1] = (tn_safetensors_entry){ "sources.at", { TN_I64, TN_SHAPE(n + 1) }, at };
        tn_safetensors_write(ctx, path, e, count + 2, NULL, 0);
    }
    tn_free(ctx, e);
    return tn_ctx_status(ctx);
}

static double cpu_now(void) /* seconds of all threads: what neighbours disturb less */
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tn_status measure(tn_ctx *ctx, const options *o, const tn_transformer *m, const int32_t *ids,
                         const int64_t *at, int64_t n)
{
    static double        seconds[MAX_REPEATS], cpu[MAX_REPEATS];
    tn_translate_options options = { .beam = o->beam, .batch = o->batch, .max_ratio = 1,
                                     .max_extra = TN_NONE, .is_fixed = true,
                                     .at_once = o->at_once };
    tn_translator       *t = tn_translator_new(m, &options);
    int64_t              tokens = 0;
    uint32_t             hash = 0;
    bool                 ok = t && tn_translate(t, ids, at, n);
    for (int r = 0; ok && r < o->repeats; r++) {
        double                begin = tn_bench_now(), cpu_begin = cpu_now();
        const tn_translation *y = tn_translate(t, ids, at, n);
        seconds[r] = tn_bench_now() - begin, cpu[r] = cpu_now() - cpu_begin;
        ok = y != NULL;
        for (int64_t i = tokens = 0; ok && i < n; i++) {
            tokens += y[i].n + 1;
            for (int64_t k = 0; k < y[i].n; k++) hash = hash * 31 + (uint32_t)y[i].ids[k];
        }
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double s = tn_bench_median(seconds, (int)o->repeats), mib = (double)use.ru_maxrss / 1024;
    double busy = tn_bench_median(cpu, (int)o->repeats);
    if (ok)
        printf(o->json ? "{\"size\": \"%s\", \"beam\": %lld, \"batch\": %lld, \"threads\": %d, "
                         "\"at_once\": %lld, \"sentences\": %lld, \"tokens\": %lld, "
                         "\"seconds\": %.3f, \"cpu_s\": %.3f, \"tok_s\": %.1f, "
                         "\"rss_mib\": %.1f, \"hash\": \"%08x\"}\n"
                       : "%s, beam %lld, batch %lld, %d threads, %lld at once: %lld sentences, "
                         "%lld tokens in %.3f s (%.3f s of CPU): %.1f tokens/s; rss %.1f MiB, "
                         "ids %08x\n",
               o->size->name, (long long)o->beam, (long long)o->batch, tn_ctx_threads(ctx),
               (long long)o->at_once, (long long)n, (long long)tokens, s, busy,
               (double)tokens / s, mib, hash);
    tn_translator_free(t);
    return tn_ctx_status(ctx);
}

static tn_status run(tn_ctx *ctx, const options *o)
{
    tn_token_pairs *pairs = tn_bench_sentences(ctx, o->text, o->sentences, o->size->vocab);
    tn_params      *p = tn_params_new(ctx, TN_F32);
    tn_transformer_config c = tn_bench_transformer(o->size, 0);
    tn_transformer *m = tn_transformer_new(p, &c);
    int64_t        *at = pairs ? malloc((size_t)(pairs->n + 1) * sizeof *at) : NULL;
    int32_t        *ids = at && m ? make_sources(pairs, o->batch, (int32_t)m->config.eos_id, at)
        : NULL;
    if (ids) {
        float *table = tn_variable_data(m->target.w);
        memset(table + m->config.eos_id * c.d_model, 0, (size_t)c.d_model * sizeof *table);
        if (!o->export_to || export_work(ctx, o->export_to, p, ids, at, pairs->n) == TN_OK)
            measure(ctx, o, m, ids, at, pairs->n);
    }
    free(ids), free(at);
    tn_transformer_free(m), tn_params_free(p), tn_token_pairs_free(ctx, pairs);
    return tn_ctx_status(ctx);
}

int main(int argc, char **argv)
{
    options o;
    int     end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
    if (!o.text) {
        printf("bench_decode: skipped: no sentences (--text PAIRS.tsv: source TAB target)\n");
        return tn_bench_end(77);
    }
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)o.threads, .seed = 1 });
    int     code = !ctx || run(ctx, &o) != TN_OK;
    if (code) fprintf(stderr, "bench_decode: %s\n", ctx ? tn_error(ctx) : "no context");
    tn_ctx_free(ctx);
    return tn_bench_end(code);
}
