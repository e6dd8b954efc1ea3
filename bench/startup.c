/* From the start of main to the first step done, by phases: milliseconds, and page faults (a large
 * page is one). Building makes parameters, optimizer and graph; compiling differentiates the graph
 * and touches the arena (its faults are counted with the building). "Then" are five more steps.
 *
 *     bench_startup --size tiny|small|base|gpt8k|gpt2 --threads 2 [--json] */
#include "models.h"
#include "options.h"
#include "peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct phase {
    const char *name;
    double      ms;
    long        faults;
} phase;

typedef struct clock_of_phases {
    phase  list[8];
    int    n;
    double last;
    long   faults;
} clock_of_phases;

static long faults_so_far(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_minflt;
}

static void ends(clock_of_phases *c, const char *name)
{
    double t = tn_bench_now();
    long   faults = faults_so_far();
    c->list[c->n++] = (phase){ name, 1e3 * (t - c->last), faults - c->faults };
    c->last = tn_bench_now(), c->faults = faults;
}

static int print(const clock_of_phases *c, const char *size, double step_ms, bool json)
{
    double sum = 0;
    for (int i = 0; i < c->n - 1; i++) sum += c->list[i].ms;
    printf(json ? "{\"size\": \"%s\", \"first_ms\": %.2f, \"step_ms\": %.2f, \"beyond_ms\": %.2f, "
                : "%s: first step after %.1f ms, a steady step is %.1f, beyond it %.1f\n",
           size, sum, step_ms, sum - step_ms);
    for (int i = 0; i < c->n; i++)
        printf(json ? "%s{\"phase\": \"%s\", \"ms\": %.2f, \"faults\": %ld}"
                    : "%s  %-10s %9.2f ms %8ld page faults\n",
               !json ? "" : i ? ", " : "\"phases\": [", c->list[i].name, c->list[i].ms,
               c->list[i].faults);
    if (json) puts("]}");
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int run(tn_ctx *ctx, const tn_bench_size *size, clock_of_phases *c, bool json)
{
    enum { STEPS = 5 };
    tn_bench_model m = { 0 };
    double         times[STEPS];
    ends(c, "context");
    tn_status s = tn_bench_model_new(ctx, size, -1, &m);
    c->last += m.compile_seconds; /* for the time alone: faults are of both */
    ends(c, "build");
    c->list[c->n++] = (phase){ "compile", 1e3 * m.compile_seconds, 0 };
    for (int i = 0; s == TN_OK && i <= STEPS; i++) {
        tn_bench_feed_random(&m, size, i);
        double begin = tn_bench_now();
        s = tn_run(m.step);
        if (i) times[i - 1] = tn_bench_now() - begin;
        else ends(c, "first_run");
    }
    ends(c, "then"); /* no page is new */
    if (s != TN_OK) fprintf(stderr, "bench_startup: %s\n", tn_error(ctx));
    qsort(times, STEPS, sizeof *times, compare);
    if (s == TN_OK) print(c, size->name, 1e3 * times[STEPS / 2], json);
    tn_bench_model_clear(&m);
    return s != TN_OK;
}

int main(int argc, char **argv)
{
    clock_of_phases c = { .last = tn_bench_now(), .faults = faults_so_far() };
    const char     *name = "tiny";
    int64_t         threads = 2;
    bool            json = false;
    const char *about = "From the start of main to the first step done, by phases.";
    const cli_option table[] = {
        TN_BENCH_SIZE(&name),
        TN_BENCH_THREADS(&threads),
        TN_BENCH_JSON(&json),
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    const tn_bench_size *size = tn_bench_size_of(name);
    if (!size || !tn_bench_is_within("threads", threads, 1, TN_BENCH_MAX_THREADS)) return 2;
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)threads, .seed = 1 });
    if (!ctx) return 1;
    int code = run(ctx, size, &c, json);
    tn_ctx_free(ctx);
    return tn_bench_end(code);
}
