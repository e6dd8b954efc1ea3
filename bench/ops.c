/* Operations that memory bandwidth bounds: elementwise chains, norms, softmax, dropout, reductions,
 * copies, embeddings, losses, the optimizer. Each on data that fits the caches and on data that
 * does not: milliseconds, GB/s of the bytes that must move (every input read once, every output
 * written once), and how much longer that is than the machine's own bandwidth allows, measured in
 * turns.
 *
 *     bench_ops --threads 2 [--only softmax] [--mib 1024] [--json]
 *
 * bench/peers/torch_ops.py runs the same operations in PyTorch. */
#include "libtensor.h"
#include "options.h"
#include "peak.h"
#include "tensor/internal.h"

#include <stdio.h>

enum { COLUMNS = 1024, MAX_ROUNDS = 101 };

/* A program to be timed, and what it needs to live. */
typedef struct job {
    tn_ctx       *ctx;
    tn_graph     *g;
    int64_t       n; /* elements of the operands, a multiple of COLUMNS */
    tn_node      *out[4];
    int           n_out;
    tn_params    *p; /* of the optimizer */
    tn_optimizer *opt;
    tn_program   *program;
} job;

/* ---- the operations: each says how many arrays of n floats must be read and written ---------- */

static tn_node *input(job *j, const char *name)
{
    return tn_input(j->g, name, TN_F32, TN_SHAPE(j->n / COLUMNS, COLUMNS));
}

static void give(job *j, tn_node *out) { j->out[j->n_out++] = out; }

/* y, and the gradients of it with cotangent dy. */
static void give_both(job *j, tn_node *y, tn_node *const *wrt, int n)
{
    tn_node *d[3] = { NULL };
    give(j, y);
    tn_grad(y, input(j, "dy"), wrt, n, d);
    for (int i = 0; i < n; i++) give(j, d[i]);
}

static void make_add(job *j) { give(j, tn_add(input(j, "x"), input(j, "y"))); }
static void make_exp(job *j) { give(j, tn_exp(input(j, "x"))); }
static void make_tanh(job *j) { give(j, tn_tanh(input(j, "x"))); }
static void make_gelu(job *j) { give(j, tn_gelu_tanh(input(j, "x"))); }
static void make_gelu_both(job *j)
{
    tn_node *x = input(j, "x");
    give_both(j, tn_gelu_tanh(x), &x, 1);
}

static void make_chain(job *j)
{
    tn_node *x = input(j, "x"), *y = input(j, "y");
    give(j, tn_sub(tn_scale(tn_relu(tn_add(tn_mul(x, y), x)), 0.5), y));
}

static void make_bias_relu_dropout(job *j)
{
    tn_node *b = tn_input(j->g, "b", TN_F32, TN_SHAPE(COLUMNS));
    give(j, tn_dropout(tn_relu(tn_add(input(j, "x"), b)), 0.1));
}

static void norm_of(job *j, tn_node *v[3])
{
    v[0] = input(j, "x");
    v[1] = tn_input(j->g, "gamma", TN_F32, TN_SHAPE(COLUMNS));
    v[2] = tn_input(j->g, "beta", TN_F32, TN_SHAPE(COLUMNS));
}

static void make_layer_norm(job *j)
{
    tn_node *v[3];
    norm_of(j, v);
    give(j, tn_layer_norm(v[0], v[1], v[2], 1e-5));
}

static void make_layer_norm_both(job *j)
{
    tn_node *v[3];
    norm_of(j, v);
    give_both(j, tn_layer_norm(v[0], v[1], v[2], 1e-5), v, 3);
}

static void make_softmax(job *j) { give(j, tn_softmax(input(j, "x"), -1)); }
static void make_softmax_axis0(job *j)
{
    give(j, tn_softmax(tn_input(j->g, "x", TN_F32, TN_SHAPE(COLUMNS, j->n / COLUMNS)), 0));
}

static void make_softmax_both(job *j)
{
    tn_node *x = input(j, "x");
    give_both(j, tn_softmax(x, -1), &x, 1);
}

static void make_dropout(job *j) { give(j, tn_dropout(input(j, "x"), 0.1)); }
static void make_dropout_both(job *j)
{
    tn_node *x = input(j, "x");
    give_both(j, tn_dropout(x, 0.1), &x, 1);
}

static void make_sum(job *j) { give(j, tn_sum_all(input(j, "x"))); }
static void make_sum_rows(job *j) { give(j, tn_sum(input(j, "x"), (const int[]){ 1 }, 1, false)); }
static void make_sum_columns(job *j)
{
    give(j, tn_sum(input(j, "x"), (const int[]){ 0 }, 1, false));
}

static void make_var_rows(job *j)
{
    give(j, tn_var(input(j, "x"), (const int[]){ 1 }, 1, false, 1));
}

static void make_transpose(job *j) { give(j, tn_contiguous(tn_transpose(input(j, "x"), 0, 1))); }
static void make_permute(job *j)
{
    tn_node *x = tn_input(j->g, "x", TN_F32, TN_SHAPE(j->n / (COLUMNS * 64), 64, COLUMNS / 64, 64));
    give(j, tn_contiguous(tn_transpose(x, 1, 2)));
}

static void make_concat(job *j)
{
    tn_node *x = input(j, "x"), *half[2] = { NULL };
    tn_split(x, 1, (const int64_t[]){ COLUMNS / 2, COLUMNS / 2 }, 2, half);
    give(j, tn_concat((tn_node *[]){ half[1], half[0] }, 2, 1));
}

static tn_node *indices(job *j)
{
    return tn_input(j->g, "index", TN_I32, TN_SHAPE(j->n / COLUMNS));
}

static void make_embedding(job *j) { give(j, tn_embedding(input(j, "x"), indices(j), -1)); }
static void make_embedding_backward(job *j)
{
    tn_node *x = input(j, "x"), *d = NULL;
    tn_grad(tn_embedding(x, indices(j), -1), input(j, "dy"), &x, 1, &d);
    give(j, d);
}

static void make_cross_entropy_both(job *j)
{
    tn_node *x = input(j, "x"), *d = NULL, *loss = tn_cross_entropy(x, indices(j), NULL);
    tn_grad(loss, NULL, &x, 1, &d);
    give(j, loss), give(j, d);
}

static void make_topk(job *j)
{
    tn_topk(input(j, "x"), 10, -1, &j->out[0], &j->out[1]);
    j->n_out = 2;
}

/* The update alone: gradients were accumulated before. */
static void make_adam(job *j)
{
    j->p = tn_params_new(j->ctx, TN_F32);
    tn_node *w = tn_param(j->p, "w", TN_SHAPE(j->n / COLUMNS, COLUMNS), NULL);
    j->opt = tn_adam_new(j->p, &(tn_adam_options){ .lr = 1e-3, .accumulate = true });
    tn_program *add = tn_accumulate_step(j->g, tn_sum_all(tn_mul(input(j, "x"), w)), j->opt, NULL);
    if (tn_input_data(add, "x")) tn_run(add);
    tn_program_free(add);
    j->program = tn_update_step(j->opt, NULL);
}

static const struct {
    const char *name;
    void (*make)(job *j);
    double read, written; /* arrays of n floats */
} ops[] = {
    { "add", make_add, 2, 1 },
    { "exp", make_exp, 1, 1 },
    { "tanh", make_tanh, 1, 1 },
    { "gelu", make_gelu, 1, 1 },
    { "gelu, both", make_gelu_both, 3, 2 },
    { "chain of 5", make_chain, 2, 1 },
    { "bias, relu, dropout", make_bias_relu_dropout, 1, 1 },
    { "layer norm", make_layer_norm, 1, 1 },
    { "layer norm, both", make_layer_norm_both, 3, 2 },
    { "softmax", make_softmax, 1, 1 },
    { "softmax, axis 0", make_softmax_axis0, 1, 1 },
    { "softmax, both", make_softmax_both, 3, 2 },
    { "dropout", make_dropout, 1, 1 },
    { "dropout, both", make_dropout_both, 2, 2 },
    { "sum", make_sum, 1, 0 },
    { "sum of rows", make_sum_rows, 1, 0 },
    { "sum of columns", make_sum_columns, 1, 0 },
    { "variance of rows", make_var_rows, 1, 0 },
    { "transpose", make_transpose, 1, 1 },
    { "permute", make_permute, 1, 1 },
    { "concat", make_concat, 1, 1 },
    { "embedding", make_embedding, 1, 1 },
    { "embedding, backward", make_embedding_backward, 1, 1 },
    { "cross-entropy, both", make_cross_entropy_both, 1, 1 },
    { "top 10", make_topk, 1, 0 },
    { "adam", make_adam, 4, 4 }, /* w, m, v, the gradient, which is cleared */
};
enum { N_OPS = sizeof ops / sizeof ops[0] };

/* ---- measuring ------------------------------------------------------------------------------- */

typedef struct options {
    int64_t     threads, rounds;
    double      mib; /* of data out of cache, at most */
    const char *only;
    bool        json;
} options;

/* Three arrays to measure bandwidth with. */
typedef struct memory {
    char  *a, *b, *c;
    size_t bytes; /* of each */
} memory;

static void fill(tn_program *p, const char *name, int64_t n)
{
    float   *x = tn_input_data(p, name);
    uint32_t r = 1;
    for (int64_t i = 0; x && i < n; i++) {
        r = r * 1664525u + 1013904223u;
        x[i] = (float)(r >> 8) * 0x1p-23f - 1;
    }
}

static tn_status job_new(tn_ctx *ctx, int op, int64_t n, job *j)
{
    *j = (job){ .ctx = ctx, .g = tn_graph_new(ctx, TN_TRAIN), .n = n };
    ops[op].make(j);
    if (!j->program) j->program = tn_compile(j->g, j->out, j->n_out, NULL);
    if (!j->program) return tn_ctx_status(ctx);
    fill(j->program, "x", n), fill(j->program, "y", n), fill(j->program, "dy", n);
    fill(j->program, "gamma", COLUMNS), fill(j->program, "beta", COLUMNS);
    fill(j->program, "b", COLUMNS);
    int32_t *index = tn_input_data(j->program, "index");
    int64_t  rows = n / COLUMNS, most = rows < COLUMNS ? rows : COLUMNS; /* also classes */
    if (ops[op].make != make_cross_entropy_both) most = rows;
    for (int64_t i = 0; index && i < rows; i++) index[i] = (int32_t)(i * 7919 % most);
    return tn_run(j->program);
}

static void job_clear(job *j)
{
    tn_program_free(j->program), tn_graph_free(j->g);
    tn_optimizer_free(j->opt), tn_params_free(j->p);
}

static double seconds_of(const job *j, int runs)
{
    double t = tn_bench_now();
    for (int i = 0; i < runs; i++) tn_run(j->program);
    return (tn_bench_now() - t) / runs;
}

/* Seconds that the bytes take at the machine's bandwidth: reading alone, or the faster of copy and
 * triad. Of one sample. */
static double allowed_seconds(tn_ctx *ctx, const memory *m, double read, double written,
                              double gbps[3])
{
    gbps[0] = tn_bench_gbps(ctx, NULL, m->a, m->bytes);
    gbps[1] = tn_bench_gbps(ctx, m->b, m->a, m->bytes);
    gbps[2] = tn_bench_triad_gbps(ctx, m->c, m->a, m->b, m->bytes);
    double best = gbps[1] > gbps[2] ? gbps[1] : gbps[2];
    return (read + written) * 4e-9 / (written > 0 ? best : gbps[0]);
}

static tn_status measure(tn_ctx *ctx, const options *o, int op, int64_t n, const char *where,
                         const memory *m)
{
    static double t[MAX_ROUNDS], allowed[MAX_ROUNDS], gbps[3][MAX_ROUNDS];
    const int     rounds = (int)o->rounds;
    job           j;
    tn_status     status = job_new(ctx, op, n, &j);
    if (status == TN_OK) {
        double read = ops[op].read * (double)n, written = ops[op].written * (double)n;
        double once = seconds_of(&j, 1), bytes = 4 * (read + written);
        int    runs = once < 2e-3 ? (int)(2e-3 / (once + 1e-7)) + 1 : 1;
        for (int r = 0; r < rounds; r++) {
            double now[3];
            allowed[r] = allowed_seconds(ctx, m, read, written, now);
            for (int k = 0; k < 3; k++) gbps[k][r] = now[k];
            t[r] = seconds_of(&j, runs);
        }
        double s = tn_bench_median(t, rounds), ideal = tn_bench_median(allowed, rounds), g[3];
        for (int k = 0; k < 3; k++) g[k] = tn_bench_median(gbps[k], rounds);
        printf(o->json ? "{\"op\": \"%s\", \"data\": \"%s\", \"mib\": %.2f, \"ms\": %.4f, "
                         "\"gbps\": %.2f, \"times_allowed\": %.3f, \"read\": %.1f, "
                         "\"copy\": %.1f, \"triad\": %.1f, \"n\": %lld}\n"
                       : "%-22s %-6s %8.2f MiB %9.3f ms %7.2f GB/s  %5.2fx of what bandwidth "
                         "allows (read %.1f, copy %.1f, triad %.1f); %lld elements\n",
               ops[op].name, where, bytes / 1048576, 1e3 * s, bytes / s * 1e-9, s / ideal, g[0],
               g[1], g[2], (long long)n);
        fflush(stdout);
    }
    job_clear(&j);
    return status;
}

/* The most floats, in whole squares of COLUMNS if they are many, whose arrays fit in `bytes`. */
static int64_t elements(int op, double bytes)
{
    int64_t unit = COLUMNS * 64, n = (int64_t)(bytes / 4 / (ops[op].read + ops[op].written));
    return n < unit ? unit : n / unit * unit;
}

static tn_status run_set(tn_ctx *ctx, const options *o, double bytes, const char *where)
{
    memory    m = { .bytes = (size_t)bytes / 3 / 64 * 64 };
    tn_status status = TN_OK;
    m.a = tn_alloc(ctx, m.bytes), m.b = tn_alloc(ctx, m.bytes), m.c = tn_alloc(ctx, m.bytes);
    if (m.a && m.b && m.c) {
        memset(m.a, 1, m.bytes), memset(m.b, 1, m.bytes), memset(m.c, 1, m.bytes);
        for (int op = 0; op < N_OPS && status == TN_OK; op++)
            if (!o->only || strstr(ops[op].name, o->only))
                status = measure(ctx, o, op, elements(op, bytes), where, &m);
    }
    tn_free(ctx, m.a), tn_free(ctx, m.b), tn_free(ctx, m.c);
    return tn_ctx_status(ctx);
}

static bool names_an_op(const char *part)
{
    for (int op = 0; op < N_OPS; op++)
        if (strstr(ops[op].name, part)) return true;
    fprintf(stderr, "--only %s: no operation's name has it\n", part);
    return false;
}

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ .threads = 2, .rounds = 5, .mib = 512 };
    const char      *about = "Operations that memory bandwidth bounds, in cache and out of it.";
    const cli_option table[] = {
        TN_BENCH_THREADS(&o->threads),
        { CLI_TEXT, "only", &o->only, "TEXT", "operations whose name has it" },
        { CLI_INT, "rounds", &o->rounds, "N", "samples of each, median taken" },
        { CLI_REAL, "mib", &o->mib, "X",
          "most that one touches out of cache; four times that cache if less" },
        TN_BENCH_JSON(&o->json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    bool ok = tn_bench_is_within("threads", o->threads, 1, TN_BENCH_MAX_THREADS) &&
              tn_bench_is_within("rounds", o->rounds, 1, MAX_ROUNDS) &&
              (!o->only || names_an_op(o->only));
    if (ok && !(o->mib > 0)) fprintf(stderr, "--mib %g: it is over 0\n", o->mib), ok = false;
    return ok ? TN_BENCH_GO_ON : 2;
}

int main(int argc, char **argv)
{
    options o;
    int     end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)o.threads, .seed = 1 });
    if (!ctx) return 1;
    FILE     *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    long long kib = 0;
    if (f && fscanf(f, "%lld", &kib) != 1) kib = 0;
    if (f) fclose(f);
    double far = kib > 0 ? 4096.0 * (double)kib : 1e18, cap = o.mib * 1048576;
    double near = (double)tn__ctx_caches(ctx).l2 / 2 * (double)o.threads;
    if (!o.json)
        printf("%d threads, %s; in cache: %.1f MiB an operation, half of the second level; out: "
               "%.0f MiB%s (four times the last cache: %.0f)\n",
               tn_ctx_threads(ctx), tn_cpu_level_name(tn_ctx_cpu(ctx)), near / 1048576,
               (far < cap ? far : cap) / 1048576, far < cap ? "" : ", by --mib", far / 1048576);
    tn_status status = run_set(ctx, &o, near, "cache");
    if (status == TN_OK) status = run_set(ctx, &o, far < cap ? far : cap, "memory");
    if (status != TN_OK) fprintf(stderr, "bench_ops: %s\n", tn_error(ctx));
    tn_ctx_free(ctx);
    return tn_bench_end(status != TN_OK);
}
