/* Is a step's time affine in the number of tokens (at a fixed length) and in the number of layers?
 * Five points of each, measured in turns, medians; the line that fits them best, its R^2 and what
 * is left.
 *
 *     bench_affine --size small --threads 2 --rounds 7 */
#include "models.h"
#include "options.h"
#include "peak.h"

#include <math.h>
#include <stdio.h>

enum { N_POINTS = 5, MAX_ROUNDS = 101 };

/* t = a + b x: prints the points, the line and the residuals. */
static void fit(const char *what, const double *x, const double *t)
{
    double mx = 0, mt = 0, xx = 0, xt = 0, tt = 0, left = 0;
    for (int i = 0; i < N_POINTS; i++) mx += x[i] / N_POINTS, mt += t[i] / N_POINTS;
    for (int i = 0; i < N_POINTS; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        xt += (x[i] - mx) * (t[i] - mt), tt += (t[i] - mt) * (t[i] - mt);
    }
    double b = xt / xx, a = mt - b * mx;
    printf("%s:", what);
    for (int i = 0; i < N_POINTS; i++) {
        double r = t[i] - a - b * x[i];
        left += r * r;
        printf(" %.0f %.2f ms (%+.1f %%)%s", x[i], 1e3 * t[i], 100 * r / t[i],
               i + 1 < N_POINTS ? "," : "\n");
    }
    printf("    %.3f ms + %.5f ms for each, R^2 = %.5f\n", 1e3 * a, 1e3 * b, 1 - left / tt);
    fflush(stdout);
}

static tn_status sweep(tn_ctx *ctx, const char *what, const tn_bench_size *sizes, const double *x,
                       int rounds)
{
    static double  times[N_POINTS][MAX_ROUNDS];
    double         t[N_POINTS];
    tn_bench_model m[N_POINTS] = { { 0 } };
    tn_status      status = TN_OK;
    for (int i = 0; status == TN_OK && i < N_POINTS; i++)
        status = tn_bench_model_new(ctx, &sizes[i], -1, &m[i]);
    for (int r = -1; status == TN_OK && r < rounds; r++) /* round -1 warms up */
        for (int i = 0; status == TN_OK && i < N_POINTS; i++) {
            tn_bench_feed_random(&m[i], &sizes[i], r);
            double begin = tn_bench_now();
            status = tn_run(m[i].step);
            if (r >= 0) times[i][r] = tn_bench_now() - begin;
        }
    for (int i = 0; i < N_POINTS; i++) t[i] = tn_bench_median(times[i], rounds);
    if (status == TN_OK) fit(what, x, t);
    for (int i = 0; i < N_POINTS; i++) tn_bench_model_clear(&m[i]);
    return status;
}

int main(int argc, char **argv)
{
    const char *name = "tiny";
    int64_t     threads = 2, rounds = 7;
    const char *about = "A step's time over tokens and over layers, and the lines that fit.";
    const cli_option table[] = {
        TN_BENCH_SIZE(&name),
        TN_BENCH_THREADS(&threads),
        { CLI_INT, "rounds", &rounds, "N", "samples of each point, median taken" },
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    const tn_bench_size *c = tn_bench_size_of(name);
    if (!c || !tn_bench_is_within("threads", threads, 1, TN_BENCH_MAX_THREADS) ||
        !tn_bench_is_within("rounds", rounds, 1, MAX_ROUNDS))
        return 2;
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)threads, .seed = 1 });
    tn_bench_size batch[N_POINTS], layers[N_POINTS];
    double        tokens[N_POINTS], n_layers[N_POINTS];
    for (int i = 0; i < N_POINTS; i++) { /* half of the size to three halves */
        batch[i] = layers[i] = *c;
        batch[i].batch = c->batch * (i + 2) / 4;
        layers[i].layers = 1 + i * (c->layers > 4 ? 2 : 1);
        tokens[i] = (double)(batch[i].batch * (c->src + c->tgt));
        n_layers[i] = (double)layers[i].layers;
    }
    printf("%s, %d threads, medians of %d rounds\n", c->name, (int)threads, (int)rounds);
    if (!ctx || sweep(ctx, "tokens", batch, tokens, (int)rounds) != TN_OK ||
        sweep(ctx, "layers", layers, n_layers, (int)rounds) != TN_OK)
        fprintf(stderr, "bench_affine: %s\n", ctx ? tn_error(ctx) : "no context");
    int code = !ctx || tn_ctx_status(ctx) != TN_OK;
    tn_ctx_free(ctx);
    return tn_bench_end(code);
}
