/* The matrix product against the peak of the machine and, where they are installed, against
 * OpenBLAS, BLIS and oneDNN: GFLOP/s, all measured in turns in one run, medians. */
#include "options.h"
#include "peak.h"
#include "tensor/gemm.h"
#include "tensor/internal.h"

#include <dlfcn.h>
#include <stdio.h>

enum { MAX_SIZES = 256, MAX_PEERS = 3, MAX_REPEATS = 101, MAX_COUNTS = 4 };

typedef struct bench_size {
    int64_t batch, m, n, k;
    bool    ta, tb;
} bench_size;

/* ---- peers ------------------------------------------------------------------------------- */

typedef void (*cblas_fn)(int order, int ta, int tb, int m, int n, int k, float alpha,
                         const float *a, int lda, const float *b, int ldb, float beta, float *c,
                         int ldc);
typedef int (*dnnl_fn)(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha,
                       const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                       float *c, int64_t ldc);

typedef struct peer {
    const char *name;
    cblas_fn    cblas;
    dnnl_fn     dnnl;
    void (*set_threads)(int n);
} peer;

static int open_peers(peer *peers)
{
    static const struct {
        const char *name, *file, *fn, *threads;
    } known[] = {
        { "OpenBLAS", "libopenblas.so.0", "cblas_sgemm", "openblas_set_num_threads" },
        { "BLIS", "libblis.so.4", "cblas_sgemm", "bli_thread_set_num_threads" },
        { "oneDNN", "libdnnl.so.2", "dnnl_sgemm", "omp_set_num_threads" },
    };
    int n = 0;
    for (int i = 0; i < MAX_PEERS; i++) {
        void *lib = dlopen(known[i].file, RTLD_NOW | RTLD_LOCAL);
        void *fn = lib ? dlsym(lib, known[i].fn) : NULL;
        if (!fn) continue;
        void *threads = dlsym(lib, known[i].threads);
        peers[n] = (peer){ .name = known[i].name };
        memcpy(i == 2 ? (void *)&peers[n].dnnl : (void *)&peers[n].cblas, &fn, sizeof fn);
        memcpy(&peers[n++].set_threads, &threads, sizeof threads);
    }
    return n;
}

static void run_peer(const peer *p, const bench_size *s, const float *a, const float *b, float *c)
{
    int64_t lda = s->ta ? s->m : s->k, ldb = s->tb ? s->k : s->n;
    for (int64_t i = 0; i < s->batch; i++, a += s->m * s->k, b += s->k * s->n, c += s->m * s->n) {
        if (p->dnnl)
            p->dnnl(s->ta ? 'T' : 'N', s->tb ? 'T' : 'N', s->m, s->n, s->k, 1, a, lda, b, ldb, 0, c,
                    s->n);
        else
            p->cblas(101, s->ta ? 112 : 111, s->tb ? 112 : 111, (int)s->m, (int)s->n, (int)s->k, 1,
                     a, (int)lda, b, (int)ldb, 0, c, (int)s->n);
    }
}

/* ---- ours -------------------------------------------------------------------------------- */

static tn_gemm product(const bench_size *s, tn_dtype dtype, const void *a, const void *b, void *c)
{
    return (tn_gemm){ .dtype = dtype, .m = s->m, .n = s->n, .k = s->k, .alpha = 1, .a = a, .b = b,
                      .c = c, .a_row = s->ta ? 1 : s->k, .a_col = s->ta ? s->m : 1,
                      .b_row = s->tb ? 1 : s->n, .b_col = s->tb ? s->k : 1, .c_row = s->n,
                      .batch_rank = s->batch > 1, .batch_dim = { s->batch },
                      .a_batch = { s->m * s->k }, .b_batch = { s->k * s->n },
                      .c_batch = { s->m * s->n } };
}

/* ---- the list ---------------------------------------------------------------------------- */

typedef struct options {
    const char  *thread_list, *list, *level_name;
    int          threads[MAX_COUNTS], n_threads;
    int64_t      repeats;
    double       ms; /* of one sample at least */
    bool         f64, json, peers;
    tn_cpu_level level;
    tn_dtype     dtype;
    bench_size   sizes[MAX_SIZES];
    int          n_sizes, n_left_out;
} options;

static void add(options *o, int64_t batch, int64_t m, int64_t n, int64_t k, const char *kind)
{
    if (o->n_sizes == MAX_SIZES) o->n_left_out++;
    else o->sizes[o->n_sizes++] = (bench_size){ batch, m, n, k, kind[0] == 'T', kind[1] == 'T' };
}

/* False: there is no group of that name. */
static bool add_group(options *o, const char *name)
{
    const int                before = o->n_sizes;
    static const char *const kinds[] = { "NN", "NT", "TN", "TT" };
    if (!strcmp(name, "squares") || !strcmp(name, "all"))
        for (int64_t n = 512; n <= 2048; n *= 2)
            for (int i = 0; i < 4; i++) add(o, 1, n, n, n, kinds[i]);
    if (!strcmp(name, "huge"))
        for (int i = 0; i < 4; i++) add(o, 1, 4096, 4096, 4096, kinds[i]);
    if (!strcmp(name, "small") || !strcmp(name, "all"))
        for (int64_t n = 32; n <= 384; n += n < 128 ? 32 : 128)
            for (int i = 0; i < 4; i++) add(o, 1, n, n, n, kinds[i]);
    if (!strcmp(name, "attention") || !strcmp(name, "all")) {
        static const int64_t t[] = { 16, 32, 64, 128, 256 };
        for (int i = 0; i < 5; i++)
            for (int64_t d = 32; d <= 128; d *= 2) {
                add(o, 4096 / t[i], t[i], t[i], d, "NT"); /* Q K^T */
                add(o, 4096 / t[i], t[i], d, t[i], "NN"); /* P V */
                add(o, 4096 / t[i], t[i], d, t[i], "TN"); /* P^T dO */
            }
    }
    if (!strcmp(name, "model") || !strcmp(name, "all")) {
        static const int64_t d[] = { 128, 256, 512 }, rows[] = { 1024, 1536, 1024 };
        for (int i = 0; i < 3; i++) {
            add(o, 1, rows[i], d[i], d[i], "NN");
            add(o, 1, rows[i], 4 * d[i], d[i], "NN");
            add(o, 1, rows[i], d[i], 4 * d[i], "NT");
            add(o, 1, d[i], 4 * d[i], rows[i], "TN");
            add(o, 1, rows[i], 8000, d[i], "NN");
            add(o, 1, rows[i], d[i], 8000, "NT");
            add(o, 1, d[i], 8000, rows[i], "TN");
        }
    }
    if (!strcmp(name, "thin") || !strcmp(name, "all")) {
        static const int64_t m[] = { 1, 2, 4, 8, 16, 32 };
        for (int i = 0; i < 6; i++) {
            add(o, 1, m[i], 4096, 4096, "NN");
            add(o, 1, m[i], 4096, 4096, "NT");
            add(o, 1, m[i], 512, 512, "NN");
            add(o, 1, m[i], 512, 512, "NT");
        }
        add(o, 1, 4096, 1, 4096, "NN"), add(o, 1, 4096, 1, 4096, "TN");
        add(o, 1, 4096, 10, 128, "NN"), add(o, 1, 4096, 16, 512, "NN");
    }
    if (!strcmp(name, "odd")) {
        add(o, 1, 100, 100, 100, "NN"), add(o, 1, 127, 129, 131, "NT");
        add(o, 1, 333, 333, 333, "NN"), add(o, 1, 1000, 1000, 1000, "NN");
        add(o, 1, 1023, 1025, 1027, "TN"), add(o, 1, 65, 65, 65, "NN");
        add(o, 1, 17, 1000, 300, "NN"), add(o, 1, 1000, 17, 300, "NN");
        add(o, 64, 50, 50, 64, "NT"), add(o, 64, 50, 64, 50, "NN");
    }
    return o->n_sizes > before || o->n_left_out > 0;
}

/* One of --sizes. */
static bool add_part(void *to, const char *s)
{
    options    *o = to;
    int64_t     x[4] = { 0, 0, 0, 1 }; /* m, n, k, batch */
    const char *kind;
    int         got = tn_bench_numbers(s, x, 4, &kind);
    if (!*kind) kind = "NN";
    if (got >= 3 && strlen(kind) == 2 && strspn(kind, "NT") == 2) {
        add(o, x[3], x[0], x[1], x[2], kind);
    } else if (!add_group(o, s)) {
        fprintf(stderr, "--sizes %s: neither m,n,k[,batch][,NT] nor a group\n", s);
        return false;
    }
    if (o->n_left_out) fprintf(stderr, "--sizes: more than %d products\n", (int)MAX_SIZES);
    return o->n_left_out == 0;
}

static bool set_threads(options *o, const char *list)
{
    int64_t     x[MAX_COUNTS];
    const char *rest;
    o->n_threads = tn_bench_numbers(list, x, MAX_COUNTS, &rest);
    if (o->n_threads < 1 || *rest) {
        fprintf(stderr, "--threads %s: not a list of 1 to %d numbers\n", list, (int)MAX_COUNTS);
        return false;
    }
    for (int i = 0; i < o->n_threads; i++) {
        if (!tn_bench_is_within("threads", x[i], 1, TN_BENCH_MAX_THREADS)) return false;
        o->threads[i] = (int)x[i];
    }
    return true;
}

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ .thread_list = "1,2", .list = "squares;small", .repeats = 11, .ms = 5 };
    const char *about =
        "GFLOP/s of the matrix product, and its share of the machine's peak.\n"
        "LIST is separated by ';': m,n,k[,NT] or m,n,k,batch[,NT] (N: as it is, T: transposed),\n"
        "or a group: squares, huge, small, attention, model, thin, odd, all.";
    const cli_option table[] = {
        { CLI_TEXT, "threads", &o->thread_list, "LIST", "numbers of threads, one after the other" },
        { CLI_TEXT, "sizes", &o->list, "LIST", "of products" },
        { CLI_INT, "repeats", &o->repeats, "N", "samples of each, median taken" },
        { CLI_REAL, "ms", &o->ms, "X", "least length of a sample" },
        TN_BENCH_LEVEL("level", &o->level_name),
        { CLI_FLAG, "f64", &o->f64, NULL, "double precision" },
        { CLI_FLAG, "peers", &o->peers, NULL,
          "also OpenBLAS, BLIS, oneDNN, where they are found (f32)" },
        TN_BENCH_JSON(&o->json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    o->dtype = o->f64 ? TN_F64 : TN_F32;
    bool ok = set_threads(o, o->thread_list) &&
              tn_bench_is_within("repeats", o->repeats, 1, MAX_REPEATS) &&
              tn_bench_is_sample(o->ms) &&
              tn_bench_level_of("level", o->level_name, &o->level) &&
              tn_bench_each_of("sizes", o->list, add_part, o);
    return ok ? TN_BENCH_GO_ON : 2;
}

/* ---- measuring --------------------------------------------------------------------------- */

typedef struct bench {
    tn_ctx     *ctx;
    const peer *peer; /* NULL: ours */
    bench_size  s;
    tn_gemm     g;
    void       *scratch;
} bench;

static double flops(const bench_size *s)
{
    return 2.0 * (double)s->batch * (double)s->m * (double)s->n * (double)s->k;
}

static void once(const bench *b)
{
    if (b->peer)
        run_peer(b->peer, &b->s, b->g.a, b->g.b, b->g.c);
    else
        tn__gemm_run(b->ctx, &b->g, b->scratch);
}

/* GFLOP/s of one sample of n runs. */
static double sample(const bench *b, int n)
{
    double t = tn_bench_now();
    for (int i = 0; i < n; i++) once(b);
    return flops(&b->s) * n / (tn_bench_now() - t) * 1e-9;
}

static int runs_for(const bench *b, double seconds)
{
    once(b);
    double t = tn_bench_now();
    once(b);
    t = tn_bench_now() - t;
    return t >= seconds ? 1 : (int)(seconds / (t + 1e-9)) + 1;
}

static void fill(void *p, size_t n, size_t size, size_t period)
{
    for (size_t i = 0; i < n; i++) {
        double x = (double)(i % period) / (double)period - 0.5;
        if (size == 4)
            ((float *)p)[i] = (float)x;
        else
            ((double *)p)[i] = x;
    }
}

static void measure(const options *o, tn_ctx *ctx, const bench_size *s, const peer *peers,
                    int n_peers, double read_gbps)
{
    const int      n = (int)o->repeats;
    const size_t   size = tn_dtype_size(o->dtype);
    const size_t   na = (size_t)(s->batch * s->m * s->k), nb = (size_t)(s->batch * s->k * s->n),
                   nc = (size_t)(s->batch * s->m * s->n);
    void          *a = tn_alloc(ctx, na * size), *b = tn_alloc(ctx, nb * size),
                  *c = tn_alloc(ctx, nc * size);
    static double  gf[MAX_PEERS + 1][MAX_REPEATS], peak[MAX_REPEATS], share[MAX_REPEATS];
    bench          all[MAX_PEERS + 1];
    int            runs[MAX_PEERS + 1];
    if (!a || !b || !c) {
        fprintf(stderr, "%s\n", tn_error(ctx));
        exit(1);
    }
    fill(a, na, size, 127);
    fill(b, nb, size, 113);
    tn_gemm g = product(s, o->dtype, a, b, c);
    void   *scratch = tn__alloc_pages(ctx, tn__gemm_scratch(ctx, &g));
    for (int i = 0; i <= n_peers; i++) {
        all[i] = (bench){ ctx, i ? &peers[i - 1] : NULL, *s, g, scratch };
        runs[i] = runs_for(&all[i], 1e-3 * o->ms);
    }
    for (int r = 0; r < n; r++) {
        double before = tn_bench_peak_gflops(ctx, TN_CPU_AUTO);
        for (int i = 0; i <= n_peers; i++) gf[i][r] = sample(&all[i], runs[i]);
        peak[r] = (before + tn_bench_peak_gflops(ctx, TN_CPU_AUTO)) / 2 * (size == 8 ? 0.5 : 1);
        share[r] = gf[0][r] / peak[r];
    }
    double ours = tn_bench_median(gf[0], n), top = tn_bench_median(peak, n);
    int    high = n * 9 / 10; /* what most samples of a disturbed machine stay below */
    double undisturbed = gf[0][high] / peak[high];
    double bytes = (double)(na + nb + nc) * (double)size, roof = flops(s) / bytes * read_gbps;
    double best = 0, of_roof = ours / (bytes > 32e6 && roof < top ? roof : top);
    char   kind[3] = { s->ta ? 'T' : 'N', s->tb ? 'T' : 'N', 0 };
    if (o->json)
        printf("{\"dtype\":\"%s\",\"level\":\"%s\",\"threads\":%d,\"batch\":%lld,\"m\":%lld,"
               "\"n\":%lld,\"k\":%lld,\"kind\":\"%s\",\"gflops\":%.2f,\"peak\":%.2f,"
               "\"share\":%.4f,\"of_roof\":%.4f,\"best\":%.4f",
               tn_dtype_name(o->dtype), tn_cpu_level_name(tn_ctx_cpu(ctx)), tn_ctx_threads(ctx),
               (long long)s->batch, (long long)s->m, (long long)s->n,
               (long long)s->k, kind, ours,
               top, tn_bench_median(share, n), of_roof, undisturbed);
    else
        printf("%dT %4lld x %5lld %5lld %5lld %s %8.1f %8.1f %5.1f%% %5.1f%% %5.1f%%",
               tn_ctx_threads(ctx), (long long)s->batch, (long long)s->m, (long long)s->n,
               (long long)s->k, kind, ours,
               top, 100 * tn_bench_median(share, n), 100 * of_roof, 100 * undisturbed);
    for (int i = 1; i <= n_peers; i++) {
        double theirs = tn_bench_median(gf[i], n);
        if (theirs > best) best = theirs;
        printf(o->json ? ",\"%s\":%.2f" : "  %s %.1f", peers[i - 1].name, theirs);
    }
    if (n_peers) printf(o->json ? ",\"ratio\":%.3f" : "  %.2fx", ours / best);
    printf(o->json ? "}\n" : "\n");
    fflush(stdout);
    tn_free(ctx, a), tn_free(ctx, b), tn_free(ctx, c), tn_free(ctx, scratch);
}

int main(int argc, char **argv)
{
    static options o;
    peer           peers[MAX_PEERS];
    int            end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
    int n_peers = o.peers && o.dtype == TN_F32 ? open_peers(peers) : 0;
    for (int i = 0; i < o.n_threads; i++) {
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = o.threads[i], .cpu = o.level });
        if (!ctx) return 1;
        const size_t bytes = (size_t)128 << 20;
        void        *memory = tn_alloc(ctx, bytes);
        double       gbps[5];
        if (!memory) return 1;
        memset(memory, 1, bytes);
        for (int r = 0; r < 5; r++) gbps[r] = tn_bench_gbps(ctx, NULL, memory, bytes);
        tn_free(ctx, memory);
        double read = tn_bench_median(gbps, 5);
        for (int p = 0; p < n_peers; p++)
            if (peers[p].set_threads) peers[p].set_threads(o.threads[i]);
        if (!o.json)
            printf("level %s, %d thread(s), memory read %.1f GB/s\n"
                   "     batch     m     n     k     GFLOP/s     peak  share of roof, of the 90th "
                   "percentiles\n",
                   tn_cpu_level_name(tn_ctx_cpu(ctx)), o.threads[i], read);
        for (int s = 0; s < o.n_sizes; s++) measure(&o, ctx, &o.sizes[s], peers, n_peers, read);
        tn_ctx_free(ctx);
    }
    return tn_bench_end(0);
}
