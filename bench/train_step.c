/* One training step (forward, backward, Adam) of the sizes that peers are measured with: random
 * tokens, medians, and beside them the machine's peak, measured in the same run; how long compiling
 * takes, and finding a compiled program again.
 *
 *     bench_train_step --size base --threads 2 --steps 10 --json
 *     bench_train_step --replay FILE     weights and batches of bench/losses.py: prints each loss
 *
 * FLOPs count the matrix products alone, forward times three, as every peer's script counts
 * them. */
#include "models.h"
#include "options.h"
#include "peak.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_STEPS = 1000 };
#define PEAK_SECONDS 0.05

typedef struct options {
    tn_bench_size size;
    const char   *size_name, *cpu_name, *replay;
    int64_t       layers, batch; /* 0: the size's */
    int64_t       threads, steps, warmup;
    double        dropout; /* below 0: the reference's */
    bool          json, profile, dump, no_peak;
    tn_cpu_level  cpu;
} options;

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ .size_name = "tiny", .threads = 2, .steps = 10, .warmup = 2, .dropout = -1 };
    const char      *recompute = NULL;
    const char      *about = "One training step: forward, backward and Adam on random tokens.";
    const cli_option table[] = {
        TN_BENCH_SIZE(&o->size_name),
        { CLI_INT, "layers", &o->layers, "N", "instead of the size's, on each side" },
        { CLI_INT, "batch", &o->batch, "N", "likewise" },
        TN_BENCH_THREADS(&o->threads),
        { CLI_INT, "steps", &o->steps, "N", "that are timed" },
        { CLI_INT, "warmup", &o->warmup, "N", "steps before" },
        { CLI_REAL, "dropout", &o->dropout, "P", "(0.1; of gpt8k and gpt2 0)" },
        TN_BENCH_LEVEL("level", &o->cpu_name),
        { CLI_TEXT, "recompute", &recompute, "SCOPES", "such as \"encoder.*,decoder.*\"" },
        { CLI_TEXT, "replay", &o->replay, "FILE", "weights and batches of bench/losses.py" },
        { CLI_FLAG, "profile", &o->profile, NULL, "the time of each op" },
        { CLI_FLAG, "dump", &o->dump, NULL, "the program" },
        { CLI_FLAG, "no-peak", &o->no_peak, NULL, "leaves the machine's peak unmeasured" },
        TN_BENCH_JSON(&o->json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    const tn_bench_size *size = tn_bench_size_of(o->size_name);
    if (!size || !tn_bench_level_of("level", o->cpu_name, &o->cpu)) return 2;
    o->size = *size, o->size.recompute = recompute;
    if (o->layers) o->size.layers = o->layers;
    if (o->batch) o->size.batch = o->batch;
    bool ok = tn_bench_is_within("threads", o->threads, 1, TN_BENCH_MAX_THREADS) &&
              tn_bench_is_within("steps", o->steps, 1, MAX_STEPS) &&
              tn_bench_is_within("warmup", o->warmup, 0, MAX_STEPS) &&
              tn_bench_is_within("layers", o->size.layers, 1, INT32_MAX) &&
              tn_bench_is_within("batch", o->size.batch, 1, INT32_MAX);
    return ok ? TN_BENCH_GO_ON : 2;
}

/* Seconds since the process was started, by the system's account. */
static double since_start(void)
{
    FILE              *f = fopen("/proc/self/stat", "r");
    char               text[1024];
    unsigned long long ticks = 0;
    struct timespec    t;
    if (!f) return NAN;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *p = strrchr(text, ')');
    for (int i = 0; p && i < 20; i++) p = strchr(p + 1, ' ');
    if (!p || sscanf(p, "%llu", &ticks) != 1) return NAN;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec -
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* ---- the losses of given batches ------------------------------------------------------------- */

/* Batch `number` of the file's "batch.<name>" [n, b, t] goes to the input `name`. The file's count,
 * or -1 where it does not fit the program. */
static int64_t feed_batch(tn_bench_model *m, tn_safetensors *f, const char *name,
                          const tn_node *input, int64_t number)
{
    char full[32];
    snprintf(full, sizeof full, "batch.%s", name);
    int      i = tn_safetensors_find(f, full);
    tn_type  type = i >= 0 ? tn_safetensors_type(f, i) : (tn_type){ 0 };
    tn_shape one = tn_node_shape(input);
    if (i < 0 || type.dtype != TN_I32 || type.shape.rank != 3 || number >= type.shape.dim[0] ||
        type.shape.dim[1] != one.dim[0] || type.shape.dim[2] != one.dim[1])
        return -1;
    int64_t  each = one.dim[0] * one.dim[1], n = type.shape.dim[0];
    int32_t *all = malloc((size_t)(n * each) * sizeof *all);
    bool     ok = all && tn_safetensors_read(f, i, all, (size_t)(n * each) * sizeof *all) == TN_OK;
    ok = ok && tn_feed(m->step, input, all + number * each, (size_t)each * sizeof *all) == TN_OK;
    free(all);
    return ok ? n : -1;
}

static int replay(tn_ctx *ctx, const options *o, tn_bench_model *m)
{
    tn_safetensors *f = tn_safetensors_open(ctx, o->replay);
    int64_t         n = 1;
    if (!f || tn_checkpoint_load(o->replay, m->p, NULL) != TN_OK) n = -1;
    if (n > 0) tn_bench_feed_random(m, &o->size, 0); /* the lengths: whole rows */
    for (int64_t i = 0; i < n; i++) {
        if (m->src && feed_batch(m, f, "src", m->src, i) < 0) n = -1;
        if (n > 0 && feed_batch(m, f, "tgt", m->tgt, i) < 0) n = -1;
        if (n > 0) n = feed_batch(m, f, "next", m->next, i);
        if (n > 0 && tn_run(m->step) != TN_OK) n = -1;
        if (n > 0) printf("%.9g\n", tn_item(m->step, m->loss));
    }
    tn_safetensors_close(f);
    if (n > 0) return 0;
    fprintf(stderr, "bench_train_step: %s: %s\n", o->replay,
            tn_ctx_status(ctx) ? tn_error(ctx) : "its batches do not fit this size");
    return 1;
}

/* ---- the figures ----------------------------------------------------------------------------- */

/* A full cache of programs is searched for its last key: seconds a look-up. */
static tn_program *build_small(void *ctx, const int64_t *key, int n, tn_arena *arena)
{
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *y = tn_neg(tn_input(g, "x", TN_F32, TN_SHAPE(key[0] + n)));
    tn_program *p = y ? tn_compile(g, &y, 1, &(tn_compile_options){ .arena = arena }) : NULL;
    tn_graph_free(g);
    return p;
}

static double lookup_seconds(tn_ctx *ctx)
{
    enum { N = 32, LOOKUPS = 10000 };
    tn_program_cache *cache = tn_program_cache_new(ctx, N, build_small, ctx);
    for (int64_t i = 0; i < N; i++) tn_program_cache_get(cache, (int64_t[]){ i, 1 }, 2);
    double begin = tn_bench_now();
    for (int64_t i = 0; i < LOOKUPS; i++)
        tn_program_cache_get(cache, (int64_t[]){ N - 1 - (i & 1), 1 }, 2);
    double seconds = (tn_bench_now() - begin) / LOOKUPS;
    tn_program_cache_free(cache);
    return seconds;
}

typedef struct figures {
    double ms, least, most, peak, first, loss, lookup;
    long   faults; /* page faults in the measured steps */
} figures;

/* The peak over PEAK_SECONDS: long enough for the clock that a step sees, which a burst of
 * multiply-adds exceeds. */
static double sustained_peak(tn_ctx *ctx)
{
    const double begin = tn_bench_now();
    double       sum = 0;
    int          n = 0;
    do sum += 1 / tn_bench_peak_gflops(ctx, tn_ctx_cpu(ctx)), n++;
    while (tn_bench_now() - begin < PEAK_SECONDS);
    return n / sum;
}

static long faults_so_far(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_minflt + use.ru_majflt;
}

/* Steps and samples of the peak by turns: the clock wanders with the machine's neighbours. */
static tn_status measure(tn_ctx *ctx, const options *o, tn_bench_model *m, figures *f)
{
    static double times[MAX_STEPS], peaks[MAX_STEPS];
    for (int i = 0; i < o->warmup + o->steps; i++) {
        tn_bench_feed_random(m, &o->size, i);
        if (o->profile && i == o->warmup) tn_program_profile(m->step, true);
        const long   faults = faults_so_far();
        const double t = tn_bench_now();
        if (tn_run(m->step) != TN_OK) return tn_ctx_status(ctx);
        f->loss = tn_item(m->step, m->loss);
        if (i >= o->warmup) f->faults += faults_so_far() - faults;
        if (i >= o->warmup) times[i - o->warmup] = tn_bench_now() - t;
        if (i == 0) f->first = since_start();
        if (i >= o->warmup) peaks[i - o->warmup] = o->no_peak ? NAN : sustained_peak(ctx);
    }
    f->peak = o->no_peak ? NAN : tn_bench_median(peaks, (int)o->steps);
    f->ms = 1e3 * tn_bench_median(times, (int)o->steps);
    f->least = 1e3 * times[0], f->most = 1e3 * times[o->steps - 1];
    return TN_OK;
}

static void print(const options *o, tn_ctx *ctx, const tn_bench_model *m, const figures *f)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    tn_program_stats s = tn_program_stats_of(m->step);
    const int        threads = tn_ctx_threads(ctx), steps = (int)o->steps;
    const char      *name = o->size.name, *level = tn_cpu_level_name(tn_ctx_cpu(ctx));
    double           gflop = tn_bench_step_gflop(&o->size), rss = (double)use.ru_maxrss / 1024;
    double           gflops = gflop / f->ms * 1e3, arena = (double)s.arena_bytes / 1048576;
    double           compile_ms = 1e3 * m->compile_seconds, lookup_us = 1e6 * f->lookup;
    char             peak[32] = "null"; /* JSON has no NaN */
    if (!o->no_peak) snprintf(peak, sizeof peak, "%.2f", f->peak);
    if (o->json)
        printf("{\"size\": \"%s\", \"threads\": %d, \"cpu\": \"%s\", \"steps\": %d, "
               "\"step_ms\": %.3f, \"step_min\": %.3f, \"step_max\": %.3f, \"gflop\": %.2f, "
               "\"gflops\": %.2f, \"peak_gflops\": %s, \"params\": %lld, \"rss_mib\": %.1f, "
               "\"arena_mib\": %.1f, \"kept_arena_mib\": %.1f, \"recomputed_gflop\": %.2f, "
               "\"first_step_ms\": %.1f, \"compile_ms\": %.2f, \"lookup_us\": %.3f, "
               "\"page_faults\": %ld, \"loss\": %.5f}\n",
               name, threads, level, steps, f->ms, f->least, f->most, gflop, gflops, peak,
               (long long)tn_params_size(m->p), rss, arena, (double)s.kept_bytes / 1048576,
               1e-9 * s.recomputed_flops, f->first, compile_ms, lookup_us, f->faults, f->loss);
    else
        printf("%s, %d threads, %s: %.2f ms a step (min %.2f), %.1f GFLOP/s of a peak of %.1f "
               "(%.0f %%), arena %.1f MiB (%.1f without reuse), rss %.1f MiB, first step after "
               "%.0f ms, loss %.4f\n"
               "differentiating and compiling %.1f ms (%.2f steps), finding a program of 32 again "
               "%.3f us, %ld page faults in %d steps\n",
               name, threads, level, f->ms, f->least, gflops, f->peak, 1e2 * gflops / f->peak,
               arena, (double)s.no_reuse_bytes / 1048576, rss, f->first, f->loss, compile_ms,
               compile_ms / f->ms, lookup_us, f->faults, steps);
    if (s.recomputed_calls && !o->json)
        printf("recomputed %lld calls: %.2f GFLOP beyond %.2f (%.1f %%); arena %.1f MiB instead of "
               "%.1f\n",
               (long long)s.recomputed_calls, 1e-9 * s.recomputed_flops,
               1e-9 * (s.flops - s.recomputed_flops),
               1e2 * s.recomputed_flops / (s.flops - s.recomputed_flops), arena,
               (double)s.kept_bytes / 1048576);
}

int main(int argc, char **argv)
{
    options o;
    int     end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
    tn_ctx_options options = { .threads = (int)o.threads, .seed = 1, .cpu = o.cpu };
    tn_ctx        *ctx = tn_ctx_new(&options);
    tn_bench_model m = { 0 };
    figures        f = { 0 };
    int            code = 0;
    if (!ctx) return 1;
    if (tn_bench_model_new(ctx, &o.size, o.dropout, &m) == TN_OK && o.dump)
        tn_program_dump(m.step, stdout);
    if (tn_ctx_status(ctx) == TN_OK && o.replay) code = replay(ctx, &o, &m);
    else if (tn_ctx_status(ctx) == TN_OK && measure(ctx, &o, &m, &f) == TN_OK) {
        if (o.profile) tn_program_profile_dump(m.step, stdout);
        f.first *= 1e3;
        f.lookup = lookup_seconds(ctx);
        print(&o, ctx, &m, &f);
    }
    if (tn_ctx_status(ctx) != TN_OK && !o.replay) {
        fprintf(stderr, "bench_train_step: %s\n", tn_error(ctx));
        code = 1;
    }
    tn_bench_model_clear(&m);
    tn_ctx_free(ctx);
    return tn_bench_end(code);
}
