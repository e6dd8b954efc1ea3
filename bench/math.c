/* Accuracy and speed of the vector mathematics (tensor/vmath.h), at each level that the CPU has.
 *
 *     bench_math [--all] [--speed] [--accuracy] [--functions "exp;tanh"]
 *
 * Accuracy: the largest error in units of the last place, and where. f32 functions of one number
 * are compared with double on every 509th bit pattern, or with --all on all 2^32 (a minute or more
 * each); f64 and functions of two numbers with long double on random ones. Speed: elements per
 * second on blocks that stay in L1, the best of many runs. */
#include "options.h"
#include "tests/math_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK = 2048 };

typedef struct worst {
    double error;
    long double x, y, got, want;
} worst;

static uint64_t random_state = 1;

static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double random_between(double lo, double hi)
{
    return lo + (hi - lo) * ((double)(random_bits() >> 11) * 0x1p-53);
}

static void apply(const math_function *f, tn_dtype dtype, int level, const void *x, const void *y,
                  void *out)
{
    f->span->fn[dtype][level](&(tn_span_args){
        .n = BLOCK, .in = {x,  y, x },
             .out = { out}
    });
}

static void keep(worst *w, double error, long double x, long double y, long double got,
                 long double want)
{
    if (error > w->error) *w = (worst){ error, x, y, got, want };
}

static void report(const math_function *f, int is_f64, tn_cpu_level top, const worst *w)
{
    const worst *worst_of = &w[TN_CPU_BASE];
    printf("%-15s %s  ", f->name, is_f64 ? "f64" : "f32");
    for (int level = TN_CPU_BASE; level <= (int)top; level++) {
        printf("%s %.3f  ", tn_cpu_level_name((tn_cpu_level)level), w[level].error);
        if (w[level].error > worst_of->error) worst_of = &w[level];
    }
    printf("ulp%s", worst_of->error > f->ulp[is_f64] ? " OVER" : "");
    if (worst_of->error > 0) {
        printf("  x %.17Lg", worst_of->x);
        if (f->arity == 2) printf(" y %.17Lg", worst_of->y);
        printf(" got %.17Lg want %.17Lg", worst_of->got, worst_of->want);
    }
    printf("\n");
    fflush(stdout);
}

/* f32 functions of one number: every step-th bit pattern. */
static void every_f32(const math_function *f, int step, tn_cpu_level top, worst *w)
{
    static float x[BLOCK], got[BLOCK];
    static double want[BLOCK];
    for (uint64_t at = 0; at < UINT64_C(1) << 32; at += (uint64_t)BLOCK * (uint64_t)step) {
        for (int i = 0; i < BLOCK; i++) {
            const uint32_t u = (uint32_t)(at + (uint64_t)i * (uint64_t)step);
            memcpy(&x[i], &u, sizeof u);
            want[i] = f->ref(x[i], 0);
        }
        for (int level = TN_CPU_BASE; level <= (int)top; level++) {
            apply(f, TN_F32, level, x, x, got);
            for (int i = 0; i < BLOCK; i++)
                keep(&w[level], math_error_f32(got[i], want[i], f->floor), x[i], 0, got[i],
                     want[i]);
        }
    }
}

/* Random numbers: one half of all bit patterns, one between lo and hi, of these some near an end.
 */
static double random_number(const math_function *f, int is_f64, int i)
{
    const uint64_t u = random_bits();
    double d;
    float s;
    memcpy(&d, &u, sizeof d);
    memcpy(&s, &u, sizeof s);
    switch (i % 4) {
    case 0: return is_f64 ? d : s;
    case 1: return f->lo + ldexp(f->hi - f->lo, -(int)(u % 64));
    default: d = random_between(f->lo, f->hi); return is_f64 ? d : (float)d;
    }
}

static void random_pairs(const math_function *f, int is_f64, int blocks, tn_cpu_level top, worst *w)
{
    static union {
        float s[BLOCK];
        double d[BLOCK];
    } x, y, got;
    static long double want[BLOCK];
    for (int block = 0; block < blocks; block++) {
        for (int i = 0; i < BLOCK; i++) {
            const double a = random_number(f, is_f64, i), b = random_number(f, is_f64, i / 4);
            if (is_f64)
                x.d[i] = a, y.d[i] = b, want[i] = f->ref_l(a, b);
            else
                x.s[i] = (float)a, y.s[i] = (float)b, want[i] = f->ref(x.s[i], y.s[i]);
        }
        for (int level = TN_CPU_BASE; level <= (int)top; level++) {
            apply(f, is_f64 ? TN_F64 : TN_F32, level, &x, &y, &got);
            for (int i = 0; i < BLOCK; i++) {
                const long double a = is_f64 ? x.d[i] : x.s[i], b = is_f64 ? y.d[i] : y.s[i];
                const long double g = is_f64 ? got.d[i] : got.s[i];
                keep(&w[level], math_error(g, want[i], is_f64, f->floor), a, b, g, want[i]);
            }
        }
    }
}

static void accuracy(const math_function *f, int is_all, tn_cpu_level top)
{
    for (int is_f64 = 0; is_f64 < 2; is_f64++) {
        worst w[TN_N_CPU_LEVELS] = { { 0 } };
        if (f->arity == 1 && !is_f64)
            every_f32(f, is_all ? 1 : 509, top, w);
        else
            random_pairs(f, is_f64, is_all ? 4000 : 400, top, w);
        report(f, is_f64, top, w);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void speed(const math_function *f, tn_cpu_level top)
{
    static float xs[BLOCK], ys[BLOCK], outs[BLOCK];
    static double xd[BLOCK], yd[BLOCK], outd[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        xs[i] = (float)(xd[i] = random_between(f->lo, f->hi));
        ys[i] = (float)(yd[i] = random_between(f->lo, f->hi));
    }
    for (int is_f64 = 0; is_f64 < 2; is_f64++) {
        printf("%-15s %s  ", f->name, is_f64 ? "f64" : "f32");
        for (int level = TN_CPU_BASE; level <= (int)top; level++) {
            double best = 1;
            for (int repeat = 0; repeat < 30; repeat++) {
                const double start = seconds();
                for (int i = 0; i < 16; i++)
                    is_f64 ? apply(f, TN_F64, level, xd, yd, outd)
                           : apply(f, TN_F32, level, xs, ys, outs);
                const double s = (seconds() - start) / 16;
                if (s < best) best = s;
            }
            printf("%s %7.3f  ", tn_cpu_level_name((tn_cpu_level)level), BLOCK / best * 1e-9);
        }
        printf("10^9 elements/s\n");
    }
}

typedef struct options {
    bool        all, accuracy, speed;
    const char *list;
    bool        is_wanted[MATH_N_FUNCTIONS];
} options;

/* One of --functions. */
static bool add_function(void *to, const char *name)
{
    options *o = to;
    for (int k = 0; k < MATH_N_FUNCTIONS; k++)
        if (!strcmp(name, math_functions[k].name)) return o->is_wanted[k] = true;
    fprintf(stderr, "--functions %s: there is none of that name\n", name);
    return false;
}

static int parse(options *o, int argc, char **argv)
{
    *o = (options){ 0 };
    const char *about =
        "Accuracy and speed of the vector mathematics, at each level that the CPU has.\n"
        "LIST is separated by ';': exp;tanh.";
    const cli_option table[] = {
        { CLI_FLAG, "accuracy", &o->accuracy, NULL, "errors alone" },
        { CLI_FLAG, "speed", &o->speed, NULL, "elements a second alone" },
        { CLI_FLAG, "all", &o->all, NULL, "every f32: a minute or more for each function" },
        { CLI_TEXT, "functions", &o->list, "LIST", "names (all)" },
    };
    int end = tn_bench_parse(argc, argv, about, table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    for (int k = 0; !o->list && k < MATH_N_FUNCTIONS; k++) o->is_wanted[k] = true;
    if (o->list && !tn_bench_each_of("functions", o->list, add_function, o)) return 2;
    if (!o->accuracy && !o->speed) o->accuracy = o->speed = true;
    return TN_BENCH_GO_ON;
}

int main(int argc, char **argv)
{
    options o;
    int     end = parse(&o, argc, argv);
    if (end != TN_BENCH_GO_ON) return end;
#if defined __x86_64__
    const tn_cpu_level top = tn_cpu_detect();
#else
    const tn_cpu_level top = TN_CPU_BASE;
#endif
    for (int k = 0; k < MATH_N_FUNCTIONS; k++) {
        if (!o.is_wanted[k]) continue;
        if (o.accuracy) accuracy(&math_functions[k], o.all, top);
        if (o.speed) speed(&math_functions[k], top);
    }
    return tn_bench_end(0);
}
