/* One training step (forward, backward, Adam) of the sizes that peers are measured with: random tokens,
 * medians, and beside them the machine's peak, measured in the same run.
 *
 *     bench_train_step --size base --threads 2 --steps 10 --json
 *
 * FLOPs count the matrix products alone, forward times three, as every peer's script counts them. */
#include "libtensor.h"
#include "peak.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct bench_config {
    const char *name;
    bool        is_gpt;
    int64_t     d, heads, ff, layers, batch, src, tgt, vocab;
} bench_config;

static const bench_config configs[] = {
    { "tiny", false, 128, 4, 512, 2, 32, 32, 32, 8000 },
    { "small", false, 256, 4, 1024, 3, 32, 48, 48, 8000 },
    { "base", false, 512, 8, 2048, 6, 16, 64, 64, 8000 },
    { "gpt8k", true, 384, 6, 1536, 6, 8, 0, 256, 8000 },
    { "gpt2", true, 768, 12, 3072, 12, 4, 0, 64, 50257 },
};
enum { N_CONFIGS = sizeof configs / sizeof configs[0] };

typedef struct options {
    const bench_config *config;
    int                 threads, steps, warmup;
    double              dropout;
    bool                json, profile, dump, no_peak;
    tn_cpu_level        cpu;
} options;

static int usage(FILE *out, int code)
{
    fputs("usage: bench_train_step [--size tiny|small|base|gpt8k|gpt2] [--threads N] [--steps N] [--warmup N]\n"
          "       [--dropout P] [--cpu base|avx2|avx512] [--profile] [--dump] [--no-peak] [--json]\n",
          out);
    return code;
}

static bool parse(int argc, char **argv, options *o)
{
    *o = (options){ .config = &configs[0], .threads = 2, .steps = 10, .warmup = 2, .dropout = -1 };
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(a, "--json")) { o->json = true; continue; }
        if (!strcmp(a, "--profile")) { o->profile = true; continue; }
        if (!strcmp(a, "--dump")) { o->dump = true; continue; }
        if (!strcmp(a, "--no-peak")) { o->no_peak = true; continue; }
        if (!v) return false;
        i++;
        if (!strcmp(a, "--threads")) o->threads = atoi(v);
        else if (!strcmp(a, "--steps")) o->steps = atoi(v);
        else if (!strcmp(a, "--warmup")) o->warmup = atoi(v);
        else if (!strcmp(a, "--dropout")) o->dropout = atof(v);
        else if (!strcmp(a, "--cpu"))
            o->cpu = !strcmp(v, "base") ? TN_CPU_BASE : !strcmp(v, "avx2") ? TN_CPU_AVX2 : TN_CPU_AVX512;
        else if (!strcmp(a, "--size")) {
            int k = 0;
            while (k < N_CONFIGS && strcmp(configs[k].name, v) != 0) k++;
            if (k == N_CONFIGS) return false;
            o->config = &configs[k];
        } else return false;
    }
    return o->threads > 0 && o->steps > 0 && o->steps <= 1000;
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
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double gflop_of(const bench_config *c)
{
    double ns = (double)(c->batch * c->src), nt = (double)(c->batch * c->tgt), d = (double)c->d, ff = (double)c->ff;
    double l = (double)c->layers, b = (double)c->batch, ts = (double)c->src, tt = (double)c->tgt, v = (double)c->vocab;
    double linear = l * (ns * (4 * d * d + 2 * d * ff) + nt * (6 * d * d + 2 * d * ff) + ns * 2 * d * d) + nt * d * v;
    double attention = l * b * d * (2 * ts * ts + 2 * tt * tt + 2 * tt * ts);
    if (c->is_gpt) linear = l * nt * (4 * d * d + 2 * d * ff) + nt * d * v, attention = l * b * d * 2 * tt * tt;
    return 6e-9 * (linear + attention);
}

/* ---- the models -------------------------------------------------------------------------------- */

typedef struct model {
    tn_params      *p;
    tn_optimizer   *opt;
    tn_transformer *transformer;
    tn_gpt         *gpt;
    tn_graph       *g;
    tn_node        *src, *tgt, *next, *loss;
    tn_program     *step;
} model;

static tn_status build(tn_ctx *ctx, const options *o, model *m)
{
    const bench_config *c = o->config;
    double       p = o->dropout >= 0 ? o->dropout : c->is_gpt ? 0 : 0.1;
    tn_loss_parts parts = { 0 };
    m->p = tn_params_new(ctx, TN_F32);
    m->g = tn_graph_new(ctx, TN_TRAIN);
    m->tgt = tn_input(m->g, "tgt", TN_I32, TN_SHAPE(c->batch, c->tgt));
    m->next = tn_input(m->g, "next", TN_I32, TN_SHAPE(c->batch, c->tgt));
    if (c->is_gpt) {
        m->gpt = tn_gpt_new(m->p, &(tn_gpt_config){ .vocab = c->vocab, .d_model = c->d, .n_heads = c->heads,
                                                    .n_layers = c->layers, .d_ff = c->ff, .max_length = c->d == 768 ? 1024 : c->tgt,
                                                    .dropout = p,
                                                    .attention_dropout = p });
        m->opt = tn_adamw_new(m->p, &(tn_adamw_options){ .lr = 1e-4, .beta2 = 0.95, .weight_decay = 0.1 });
        if (tn_gpt_loss(m->gpt, &(tn_sequence){ .ids = m->tgt }, m->next, NULL, &parts) != TN_OK) return tn_ctx_status(ctx);
    } else {
        m->transformer = tn_transformer_new(
            m->p, &(tn_transformer_config){ .src_vocab = c->vocab, .d_model = c->d, .n_heads = c->heads,
                                            .d_ff = c->ff, .n_encoder = c->layers, .n_decoder = c->layers,
                                            .dropout = p > 0 ? p : TN_NONE });
        m->opt = tn_adam_new(m->p, &(tn_adam_options){ .lr = 1e-4, .beta2 = 0.98, .eps = 1e-9 });
        m->src = tn_input(m->g, "src", TN_I32, TN_SHAPE(c->batch, c->src));
        tn_node    *ls = tn_input(m->g, "src_lengths", TN_I32, TN_SHAPE(c->batch));
        tn_node    *lt = tn_input(m->g, "tgt_lengths", TN_I32, TN_SHAPE(c->batch));
        tn_sequence source = { .ids = m->src, .lengths = ls }, target = { .ids = m->tgt, .lengths = lt };
        if (tn_transformer_loss(m->transformer, &source, &target, m->next, 0.1, &parts) != TN_OK)
            return tn_ctx_status(ctx);
    }
    m->loss = tn_div(parts.sum, parts.count);
    m->step = tn_train_step(m->g, m->loss, m->opt);
    return m->step ? TN_OK : tn_ctx_status(ctx);
}

static void feed_random(model *m, const bench_config *c, int64_t step)
{
    static const char *const names[] = { "src", "tgt", "next" };
    tn_rng rng = { 2, 5, (uint64_t)step };
    for (int k = 0; k < 3; k++) {
        int64_t  n = c->batch * (k == 0 ? c->src : c->tgt);
        int32_t *ids = tn_input_data(m->step, names[k]);
        for (int64_t i = 0; ids && i < n; i++)
            ids[i] = 1 + (int32_t)(tn_random_u64(rng, i + k * 1000000) % (uint64_t)(c->vocab - 1));
    }
    for (int k = 0; k < 2; k++) {
        int32_t *lengths = tn_input_data(m->step, k ? "tgt_lengths" : "src_lengths");
        for (int64_t i = 0; lengths && i < c->batch; i++) lengths[i] = (int32_t)(k ? c->tgt : c->src);
    }
}

int main(int argc, char **argv)
{
    options o;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help")) return usage(stdout, 0);
    if (!parse(argc, argv, &o)) return usage(stderr, 2);
    const bench_config *c = o.config;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = o.threads, .seed = 1, .cpu = o.cpu });
    model   m = { 0 };
    if (!ctx || build(ctx, &o, &m) != TN_OK) {
        fprintf(stderr, "bench_train_step: %s\n", ctx ? tn_error(ctx) : "no context");
        return 1;
    }
    if (o.dump) tn_program_dump(m.step, stdout);
    double times[1000], first = 0, loss = 0;
    for (int i = 0; i < o.warmup + o.steps; i++) {
        feed_random(&m, c, i);
        if (o.profile && i == o.warmup) tn_program_profile(m.step, true);
        double t = tn_bench_now();
        if (tn_run(m.step) != TN_OK) {
            fprintf(stderr, "bench_train_step: %s\n", tn_error(ctx));
            return 1;
        }
        loss = tn_item(m.step, m.loss);
        if (i >= o.warmup) times[i - o.warmup] = tn_bench_now() - t;
        if (i == 0) first = since_start();
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double           ms = 1e3 * tn_bench_median(times, o.steps), gflop = gflop_of(c);
    double           peak = o.no_peak ? NAN : tn_bench_peak_gflops(ctx, tn_ctx_cpu(ctx));
    tn_program_stats s = tn_program_stats_of(m.step);
    if (o.profile) tn_program_profile_dump(m.step, stdout);
    if (o.json)
        printf("{\"size\": \"%s\", \"threads\": %d, \"cpu\": \"%s\", \"steps\": %d, \"step_ms\": %.3f, \"step_min\": %.3f, "
               "\"step_max\": %.3f, \"gflop\": %.2f, \"gflops\": %.2f, \"peak_gflops\": %.2f, \"params\": %lld, "
               "\"rss_mib\": %.1f, \"arena_mib\": %.1f, \"first_step_ms\": %.1f, \"loss\": %.5f}\n",
               c->name, o.threads, tn_cpu_level_name(tn_ctx_cpu(ctx)), o.steps, ms, 1e3 * times[0],
               1e3 * times[o.steps - 1], gflop, gflop / ms * 1e3, peak, (long long)tn_params_size(m.p),
               (double)use.ru_maxrss / 1024, (double)s.arena_bytes / 1048576, 1e3 * first, loss);
    else
        printf("%s, %d threads, %s: %.2f ms a step (min %.2f), %.1f GFLOP/s of a peak of %.1f (%.0f %%), "
               "arena %.1f MiB (%.1f without reuse), rss %.1f MiB, first step after %.0f ms, loss %.4f\n",
               c->name, o.threads, tn_cpu_level_name(tn_ctx_cpu(ctx)), ms, 1e3 * times[0], gflop / ms * 1e3, peak,
               1e5 * gflop / ms / peak, (double)s.arena_bytes / 1048576, (double)s.no_reuse_bytes / 1048576,
               (double)use.ru_maxrss / 1024, 1e3 * first, loss);
    tn_program_free(m.step), tn_graph_free(m.g), tn_optimizer_free(m.opt);
    tn_transformer_free(m.transformer), tn_gpt_free(m.gpt), tn_params_free(m.p);
    tn_ctx_free(ctx);
    return 0;
}
