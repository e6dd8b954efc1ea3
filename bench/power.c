/* What loads among multiply-adds cost on AVX-512, where they all come from L1 and fill no port:
 * power, and so clock. Each mix is a loop of its own, which runs for some milliseconds, since the
 * clock is slow to change, by turns with the others; its GFLOP/s are the median and the best of
 * these times. A tile of m rows and n vectors has m n multiply-adds, m broadcasts and n vectors
 * loaded for each k. */
#include "options.h"
#include "peak.h"

#include <stdio.h>

enum { TURNS = 100000 /* 1 ms */, SETTLE = 3, ROUNDS_MOST = 1000 };

#if defined __x86_64__

#  define FMAS(registers)                                                                          \
      ".irp i," registers "\n\tvfmadd231ps %%zmm28, %%zmm29, %%zmm\\i\n\t.endr\n\t"
#  define FMAS_27                                                                                  \
      FMAS("0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26")
#  define FMAS_28 FMAS_27 FMAS("27")
#  define TIMES(n, line) ".rept " #n "\n\t" line "\n\t.endr\n\t"
#  define BROADCASTS(n)  TIMES(n, "vbroadcastss (%[from]), %%zmm30")
#  define VECTORS(n)     TIMES(n, "vmovups (%[from]), %%zmm30")
#  define PREFETCHES(n)  TIMES(n, "prefetcht0 (%[from])")

/* Two values of k in a turn. */
#  define MIX(name, lines)                                                                         \
      __attribute__((target("avx512f"))) static void name(const float *from)                       \
      {                                                                                            \
          long turns = TURNS;                                                                      \
          __asm__ volatile("vpxord %%zmm28, %%zmm28, %%zmm28\n\t"                                  \
                           "vpxord %%zmm29, %%zmm29, %%zmm29\n\t"                                  \
                           "1:\n\t" lines "dec %[turns]\n\tjnz 1b\n\t"                             \
                           "vzeroupper"                                                            \
                           : [turns] "+r"(turns)                                                   \
                           : [from] "r"(from)                                                      \
                           : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",       \
                             "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",   \
                             "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",        \
                             "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",        \
                             "xmm28", "xmm29", "xmm30");                                           \
      }
MIX(alone, FMAS_28 FMAS_28)
MIX(four_vectors, FMAS_28 VECTORS(4) FMAS_28 VECTORS(4))
MIX(fourteen_vectors, FMAS_28 VECTORS(14) FMAS_28 VECTORS(14))
MIX(tile_14x2, FMAS_28 BROADCASTS(14) VECTORS(2) FMAS_28 BROADCASTS(14) VECTORS(2))
MIX(tile_14x2_fetching, FMAS_28 BROADCASTS(14) VECTORS(2) PREFETCHES(1) FMAS_28 BROADCASTS(14)
    VECTORS(2))
MIX(tile_9x3, FMAS_27 BROADCASTS(9) VECTORS(3) FMAS_27 BROADCASTS(9) VECTORS(3))
MIX(tile_9x3_fetching, FMAS_27 BROADCASTS(9) VECTORS(3) PREFETCHES(1) FMAS_27 BROADCASTS(9)
    VECTORS(3))

static const struct mix {
    const char *name;
    int         fmas; /* in a turn */
    void      (*run)(const float *from);
} mixes[] = {
    { "multiply-adds alone", 56, alone },
    { "4 vectors to 28", 56, four_vectors },
    { "14 vectors to 28", 56, fourteen_vectors },
    { "a tile of 14 x 2", 56, tile_14x2 },
    { ".. that asks for a line in every other k", 56, tile_14x2_fetching },
    { "a tile of 9 x 3", 54, tile_9x3 },
    { ".. that asks for a line in every other k", 54, tile_9x3_fetching },
};
enum { N_MIXES = sizeof mixes / sizeof *mixes };

static void task(void *arg, int64_t index, int worker)
{
    static const _Alignas(64) float from[16];
    const struct mix *mix = arg;
    (void)index, (void)worker;
    mix->run(from);
}

static double sample(tn_ctx *ctx, const struct mix *mix)
{
    const int threads = tn_ctx_threads(ctx);
    double    t = tn_bench_now();
    tn_parallel_for(ctx, threads, task, (void *)(uintptr_t)mix);
    t = tn_bench_now() - t;
    return 32.0 * mix->fmas * TURNS * threads / t * 1e-9;
}

static int measure(tn_ctx *ctx, int64_t rounds)
{
    static double gflops[N_MIXES][ROUNDS_MOST];
    for (int64_t r = 0; r < rounds; r++)
        for (int m = 0; m < N_MIXES; m++)
            for (int i = 0; i < SETTLE; i++) gflops[m][r] = sample(ctx, &mixes[m]);
    printf("%d threads\n%-42s GFLOP/s, median   best\n", tn_ctx_threads(ctx), "");
    for (int m = 0; m < N_MIXES; m++) {
        const double median = tn_bench_median(gflops[m], (int)rounds);
        printf("%-42s %15.1f %6.1f\n", mixes[m].name, median, gflops[m][rounds - 1]);
    }
    return 0;
}

#endif

int main(int argc, char **argv)
{
    int64_t          threads = 1, rounds = 51;
    const cli_option table[] = {
        TN_BENCH_THREADS(&threads),
        { CLI_INT, "rounds", &rounds, "N", "by turns" },
    };
    const int end = tn_bench_parse(argc, argv, "What loads among multiply-adds cost (AVX-512).",
                                   table, (int)(sizeof table / sizeof *table));
    if (end != TN_BENCH_GO_ON) return end;
    if (!tn_bench_is_within("threads", threads, 1, TN_BENCH_MAX_THREADS) ||
        !tn_bench_is_within("rounds", rounds, 1, ROUNDS_MOST))
        return 2;
#if defined __x86_64__
    if (tn_cpu_detect() == TN_CPU_AVX512) {
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)threads });
        if (!ctx) return 1;
        const int status = measure(ctx, rounds);
        tn_ctx_free(ctx);
        return tn_bench_end(status);
    }
#endif
    puts("skipped: this CPU has no AVX-512");
    return tn_bench_end(0);
}
