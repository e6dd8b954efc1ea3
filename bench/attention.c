/* Attention, forward and with its gradients, against the machine's peak measured in the same run:
 *
 *     bench_attention --sizes "small;model" --dropout 0.1 --threads 2 --json
 *
 * q, k and v lie side by side in the rows of one projection, as a layer makes them. FLOPs count the
 * products alone, 4 b h t^2 d forward and 2.5 times that for the gradients, half of it where
 * causal. */
#include "libtensor.h"
#include "options.h"
#include "peak.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { MAX_SIZES = 128, MAX_REPEATS = 101 };

typedef struct bench_size {
    int64_t batch, length, heads, d; /* d of a head */
    bool    causal;
} bench_size;

typedef struct options {
    int64_t      threads, repeats;
    const char  *list, *level_name;
    double       ms, dropout;
    bool         f64, json;
    tn_cpu_level level;
    tn_dtype     dtype;
    bench_size   sizes[MAX_SIZES];
    int          n_sizes;
} options;

/* ---- the list ---------------------------------------------------------------------------- */

static void add(options *o, int64_t batch, int64_t length, int64_t heads, int64_t d, bool causal)
{
    if (o->n_sizes < MAX_SIZES)
        o->sizes[o->n_sizes++] = (bench_size){ batch, length, heads, d, causal };
}

/* False: there is no group of that name. */
static bool add_group(options *o, const char *name)
{
    const int before = o->n_sizes;
    if (!strcmp(name, "small"))
        for (int64_t t = 16; t <= 256; t *= 2)
            for (int64_t d = 32; d <= 128; d *= 2) add(o, 1024 / t, t, 512 / d, d, false);
    if (!strcmp(name, "model")) { /* of bench_train_step */
        static const bench_size models[] = {
            { 32, 32, 4, 32, false }, { 32, 32, 4, 32, true }, { 32, 48, 4, 64, false },
            { 32, 48, 4, 64, true },  { 16, 64, 8, 64, false }, { 16, 64, 8, 64, true },
            { 8, 256, 6, 64, true },  { 4, 64, 12, 64, true },
        };
        for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
            const bench_size *m = &models[i];
            add(o, m->batch, m->length, m->heads, m->d, m->causal);
        }
    }
    if (!strcmp(name, "long"))
        for (int64_t t = 512; t <= 4096; t *= 2)
            add(o, 1, t, 8, 64, false), add(o, 1, t, 8, 64, true);
    if (!strcmp(name, "odd"))
        add(o, 16, 37, 8, 40, false), add(o, 16, 61, 8, 64, true), add(o, 8, 100, 8, 80, true);
    return o->n_sizes > before;
}

/* One of --sizes. */
static bool add_part(void *to, const char *s)
{
    options    *o = to;
    int64_t     x[4];
    const char *rest;
    if (tn_bench_numbers(s, x, 4, &rest) == 4 && (!*rest || !strcmp(rest, "c"))) {
        add(o, x[0], x[1], x[2], x[3], *rest == 'c');
    } else if (!add_group(o, s)) {
        fprintf(stderr, "--sizes %s: neither batch,length,heads,head_size[,c] nor a group\n", s);
        return false;
    }
    return true;
}

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ .threads = 2, .repeats = 11, .ms = 5, .list = "small;model" };
    const char *about =
        "Attention, forward and with gradients, and its share of the machine's peak.\n"
        "LIST is separated by ';': batch,length,heads,head_size[,c] (c: causal), or a group:\n"
        "small, model, long, odd.";
    const cli_option table[] = {
        { CLI_TEXT, "sizes", &o->list, "LIST", "of q, k and v" },
        { CLI_REAL, "dropout", &o->dropout, "P", "of the weights (0)" },
        TN_BENCH_THREADS(&o->threads),
        { CLI_INT, "repeats", &o->repeats, "N", "samples of each, median taken" },
        { CLI_REAL, "ms", &o->ms, "X", "least length of a sample" },
        TN_BENCH_LEVEL("level", &o->level_name),
        { CLI_FLAG, "f64", &o->f64, NULL, "double precision" },
        TN_BENCH_JSON(&o->json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    o->dtype = o->f64 ? TN_F64 : TN_F32;
    bool ok = tn_bench_is_within("threads", o->threads, 1, TN_BENCH_MAX_THREADS) &&
              tn_bench_is_within("repeats", o->repeats, 1, MAX_REPEATS) &&
              tn_bench_is_sample(o->ms) &&
              tn_bench_level_of("level", o->level_name, &o->level) &&
              tn_bench_each_of("sizes", o->list, add_part, o);
    return ok ? TN_BENCH_GO_ON : 2;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* Blocks on large pages, where the system has them: as in the arena of a training step. */
static void *large_alloc(void *user, size_t size, size_t align)
{
    const size_t page = (size_t)2 << 20;
    void        *block = NULL;
    (void)user;
    if (size >= page / 16) align = page, size = (size + page - 1) / page * page;
    if (posix_memalign(&block, align, size) != 0) return NULL;
#if defined __linux__
    if (size >= page) madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
}

static void large_free(void *user, void *block, size_t size)
{
    (void)user, (void)size;
    free(block);
}

/* ---- measuring --------------------------------------------------------------------------- */

/* Programs that make y, and y with the gradient of all of its inputs. */
typedef struct bench {
    tn_graph   *graph;
    tn_program *forward, *both;
} bench;

static void fill(float *x, double *wide, tn_dtype dtype, tn_shape shape)
{
    const int64_t n = tn_shape_size(&shape);
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)(i * 7919 % 1009) / 504.5 - 1;
        if (dtype == TN_F32) x[i] = (float)v;
        else wide[i] = v;
    }
}

static void feed(tn_program *p, const char *name, tn_dtype dtype, tn_shape shape)
{
    void *data = tn_input_data(p, name);
    if (data) fill(data, data, dtype, shape);
}

static bool build(bench *b, tn_ctx *ctx, const options *o, const bench_size *s)
{
    const int64_t width = s->heads * s->d;
    const tn_shape all = TN_SHAPE(s->batch, s->length, 3 * width);
    const tn_shape by_head = TN_SHAPE(s->batch, s->length, s->heads, s->d);
    tn_node *part[3], *out[4];
    b->graph = tn_graph_new(ctx, TN_TRAIN);
    tn_node *x = tn_input(b->graph, "qkv", o->dtype, all),
        *dy = tn_input(b->graph, "dy", o->dtype, by_head);
    if (tn_split(x, -1, (const int64_t[]){ width, width, width }, 3, part) != TN_OK) return false;
    for (int i = 0; i < 3; i++) part[i] = tn_reshape(part[i], by_head);
    out[0] = tn_attention(part[0], part[1], part[2], &(tn_attention_mask){ .causal = s->causal },
                          &(tn_attention_options){ .dropout = o->dropout });
    if (tn_grad(out[0], dy, part, 3, out + 1) != TN_OK) return false;
    b->forward = tn_compile(b->graph, out, 1, NULL);
    b->both = tn_compile(b->graph, out, 4, NULL);
    if (!b->forward || !b->both) return false;
    feed(b->forward, "qkv", o->dtype, all);
    feed(b->both, "qkv", o->dtype, all), feed(b->both, "dy", o->dtype, by_head);
    return true;
}

/* Seconds of one run, of a sample of n. */
static double sample(tn_program *p, int n)
{
    double t = tn_bench_now();
    for (int i = 0; i < n; i++) tn_run(p);
    return (tn_bench_now() - t) / n;
}

static int runs_for(tn_program *p, double seconds)
{
    sample(p, 1);
    double t = sample(p, 1);
    return t >= seconds ? 1 : (int)(seconds / (t + 1e-9)) + 1;
}

typedef struct figures {
    double forward, both;                       /* medians, seconds */
    double forward_least, both_least;
    double gflop, peak_gflops, arena_mib;
} figures;

static void print(const options *o, const tn_ctx *ctx, const bench_size *s, const figures *f)
{
    const double forward_gflops = f->gflop / f->forward, both_gflops = 3.5 * f->gflop / f->both;
    long long    batch = s->batch, length = s->length, heads = s->heads, d = s->d;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    if (o->json)
        printf("{\"batch\":%lld,\"length\":%lld,\"heads\":%lld,\"d\":%lld,\"causal\":%d,"
               "\"dropout\":%g,\"dtype\":\"%s\",\"level\":\"%s\",\"threads\":%d,"
               "\"forward_ms\":%.4f,\"both_ms\":%.4f,\"forward_min\":%.4f,\"both_min\":%.4f,"
               "\"forward_gflops\":%.2f,\"both_gflops\":%.2f,\"peak_gflops\":%.2f,"
               "\"arena_mib\":%.2f,\"rss_mib\":%.1f}\n",
               batch, length, heads, d, s->causal, o->dropout, tn_dtype_name(o->dtype),
               tn_cpu_level_name(tn_ctx_cpu(ctx)), tn_ctx_threads(ctx), 1e3 * f->forward,
               1e3 * f->both, 1e3 * f->forward_least, 1e3 * f->both_least, forward_gflops,
               both_gflops, f->peak_gflops, f->arena_mib, (double)use.ru_maxrss / 1024);
    else
        printf("%4lld %5lld %3lld %4lld %-6s %9.3f %7.1f %5.1f%% %9.3f %7.1f %5.1f%% %8.1f\n",
               batch, length, heads, d, s->causal ? "causal" : "", 1e3 * f->forward, forward_gflops,
               100 * forward_gflops / f->peak_gflops, 1e3 * f->both, both_gflops,
               100 * both_gflops / f->peak_gflops, f->peak_gflops);
    fflush(stdout);
}

static void measure(const options *o, tn_ctx *ctx, const bench_size *s)
{
    static double forward[MAX_REPEATS], both[MAX_REPEATS], peak[MAX_REPEATS];
    bench         b = { 0 };
    if (!build(&b, ctx, o, s)) {
        fprintf(stderr, "bench_attention: %s\n", tn_error(ctx));
        exit(1);
    }
    const int    n_forward = runs_for(b.forward, 1e-3 * o->ms), n = (int)o->repeats;
    const int    n_both = runs_for(b.both, 1e-3 * o->ms);
    const double of_peak = o->dtype == TN_F64 ? 0.5 : 1;
    for (int r = 0; r < n; r++) {
        double before = tn_bench_peak_gflops(ctx, TN_CPU_AUTO);
        forward[r] = sample(b.forward, n_forward), both[r] = sample(b.both, n_both);
        peak[r] = of_peak * (before + tn_bench_peak_gflops(ctx, TN_CPU_AUTO)) / 2;
    }
    figures f = { .forward = tn_bench_median(forward, n), .both = tn_bench_median(both, n),
                  .peak_gflops = tn_bench_median(peak, n) };
    f.forward_least = forward[0], f.both_least = both[0]; /* medians have sorted them */
    f.gflop = (s->causal ? 2e-9 : 4e-9) * (double)s->batch * (double)s->heads *
              (double)s->length * (double)s->length * (double)s->d;
    f.arena_mib = (double)tn_program_stats_of(b.both).arena_bytes / 1048576;
    print(o, ctx, s, &f);
    tn_program_free(b.forward), tn_program_free(b.both), tn_graph_free(b.graph);
}

int main(int argc, char **argv)
{
    static options o;
    int            end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
    tn_ctx_options options = { .threads = (int)o.threads, .cpu = o.level, .seed = 1,
                               .allocator = { .alloc = large_alloc, .free = large_free } };
    tn_ctx        *ctx = tn_ctx_new(&options);
    if (!ctx) return 1;
    if (!o.json)
        printf("%s, %s, %d thread(s), dropout %g\n"
               "   b     t   h    d         forward GFLOP/s  peak  with gradients GFLOP/s peak  "
               "peak\n",
               tn_cpu_level_name(tn_ctx_cpu(ctx)), tn_dtype_name(o.dtype), tn_ctx_threads(ctx),
               o.dropout);
    for (int i = 0; i < o.n_sizes; i++) measure(&o, ctx, &o.sizes[i]);
    tn_ctx_free(ctx);
    return tn_bench_end(0);
}
