/* What the machine can do, measured in the same run as what is compared with it: the peak of fused
 * multiply-adds from registers, and the bandwidth of memory. Each call is one sample of a few
 * milliseconds on the context's threads; take medians of many, in turns with the thing measured. */
#ifndef TN_BENCH_PEAK_H
#define TN_BENCH_PEAK_H

#include "tensor/context.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined __x86_64__
#  include <immintrin.h>
#elif defined __aarch64__
#  include <arm_neon.h>
#endif

enum { TN_BENCH_SLICES = 8, TN_BENCH_STEPS = 10000 };

/* CLOCK_PROCESS_CPUTIME_ID leaves out what other processes take: for tuning on one thread. */
#ifndef TN_BENCH_CLOCK
#  define TN_BENCH_CLOCK CLOCK_MONOTONIC
#endif

TN_INLINE double tn_bench_now(void) /* seconds */
{
    struct timespec t;
    clock_gettime(TN_BENCH_CLOCK, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

TN_UNUSED static int tn_bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

TN_UNUSED static double tn_bench_median(double *x, int n) /* sorts x */
{
    qsort(x, (size_t)n, sizeof *x, tn_bench_compare);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* A loop of independent chains acc = acc * x + y, as many as hide the latency of every machine we
 * know. They start from different values, so that none is left out. */
#if defined __clang__
#  define TN_BENCH_UNROLL _Pragma("clang loop unroll(full)")
#else
#  define TN_BENCH_UNROLL _Pragma("GCC unroll 16")
#endif
#define TN_BENCH_CHAINS(V, chains, start, step, sum)                                               \
    V acc[chains];                                                                                 \
    TN_BENCH_UNROLL for (int i = 0; i < chains; i++) acc[i] = start * (float)(1 + i);              \
    for (int s = 0; s < TN_BENCH_STEPS; s++) {                                                     \
        TN_BENCH_UNROLL for (int i = 0; i < chains; i++) acc[i] = step;                            \
    }                                                                                              \
    TN_BENCH_UNROLL for (int i = 1; i < chains; i++) acc[0] = acc[0] + acc[i];                     \
    *sink = sum

#if defined __x86_64__
#  if defined __clang__
__attribute__((min_vector_width(512))) /* or it halves them */
#  endif
__attribute__((target("avx512f"))) TN_UNUSED static void tn_bench_fma_avx512(float *sink)
{
    const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    TN_BENCH_CHAINS(__m512, 12, x, _mm512_fmadd_ps(acc[i], x, y),
                    _mm_cvtss_f32(_mm512_castps512_ps128(acc[0])));
}
__attribute__((target("avx2,fma"))) TN_UNUSED static void tn_bench_fma_avx2(float *sink)
{
    const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    TN_BENCH_CHAINS(__m256, 12, x, _mm256_fmadd_ps(acc[i], x, y),
                    _mm_cvtss_f32(_mm256_castps256_ps128(acc[0])));
}
TN_UNUSED static void tn_bench_fma_base(float *sink)
{
    const __m128 x = _mm_set1_ps(0.999f), y = _mm_set1_ps(0.001f);
    TN_BENCH_CHAINS(__m128, 12, x, _mm_add_ps(_mm_mul_ps(acc[i], x), y), _mm_cvtss_f32(acc[0]));
}
#elif defined __aarch64__
TN_UNUSED static void tn_bench_fma_base(float *sink)
{
    const float32x4_t x = vdupq_n_f32(0.999f), y = vdupq_n_f32(0.001f);
    TN_BENCH_CHAINS(float32x4_t, 16, x, vfmaq_f32(y, acc[i], x), vgetq_lane_f32(acc[0], 0));
}
#else
TN_UNUSED static void tn_bench_fma_base(float *sink)
{
    TN_BENCH_CHAINS(float, 12, 1.0f, acc[i] * 0.999f + 0.001f, acc[0]);
}
#endif

typedef struct tn_bench_fma {
    void (*fn)(float *sink);
} tn_bench_fma;

TN_UNUSED static void tn_bench_fma_task(void *arg, int64_t task, int worker)
{
    const tn_bench_fma *f = arg;
    volatile float      keep;
    float               sink;
    (void)task, (void)worker;
    for (int i = 0; i < 2; i++) f->fn(&sink), keep = sink;
    (void)keep;
}

/* Peak of f32 in GFLOP/s on the context's threads with vectors of `level` (AUTO: the context's). It
 * is half of it in f64. */
TN_UNUSED static double tn_bench_peak_gflops(tn_ctx *ctx, tn_cpu_level level)
{
    double       flops = 12 * 2 * 4; /* a step of all chains */
    tn_bench_fma f = { tn_bench_fma_base };
    if (level == TN_CPU_AUTO) level = tn_ctx_cpu(ctx);
#if defined __x86_64__
    if (level == TN_CPU_AVX512) f.fn = tn_bench_fma_avx512, flops = 12 * 2 * 16;
    if (level == TN_CPU_AVX2) f.fn = tn_bench_fma_avx2, flops = 12 * 2 * 8;
#elif defined __aarch64__
    flops = 16 * 2 * 4;
#else
    flops = 12 * 2;
#endif
    const int tasks = TN_BENCH_SLICES * tn_ctx_threads(ctx);
    double    t = tn_bench_now();
    tn_parallel_for(ctx, tasks, tn_bench_fma_task, &f);
    t = tn_bench_now() - t;
    return flops * 2 * TN_BENCH_STEPS * tasks / t * 1e-9;
}

/* ---- memory ------------------------------------------------------------------------------ */

typedef struct tn_bench_memory {
    char  *to, *from, *more; /* to NULL: read only; more: to = from + s more */
    size_t slice;
} tn_bench_memory;

/* to = from + s more, n floats in whole cache lines. More than 1 MiB goes past the caches where the
 * machine can: reading the old lines would be a fourth stream. */
TN_UNUSED static void tn_bench_triad(float *to, const float *from, const float *more, size_t n)
{
#if defined __x86_64__
    for (size_t i = 0; n > (1 << 18) && i + 4 <= n; i += 4)
        _mm_stream_ps(to + i, _mm_add_ps(_mm_loadu_ps(from + i),
                                         _mm_mul_ps(_mm_set1_ps(0.5f), _mm_loadu_ps(more + i))));
    _mm_sfence();
    if (n > (1 << 18)) return;
#endif
    for (size_t i = 0; i < n; i++) to[i] = from[i] + 0.5f * more[i];
}

TN_UNUSED static void tn_bench_memory_task(void *arg, int64_t task, int worker)
{
    const tn_bench_memory *m = arg;
    const char            *from = m->from + (size_t)task * m->slice;
    (void)worker;
    if (m->more) {
        const size_t at = (size_t)task * m->slice;
        tn_bench_triad((float *)(m->to + at), (const float *)from, (const float *)(m->more + at),
                       m->slice / 4);
        return;
    }
    if (m->to) {
        memcpy(m->to + (size_t)task * m->slice, from, m->slice);
        return;
    }
    volatile uint64_t keep;
    uint64_t          sum[8] = { 0 };
    for (size_t i = 0; i + 64 <= m->slice; i += 64)
        for (size_t j = 0; j < 8; j++) {
            uint64_t x;
            memcpy(&x, from + i + 8 * j, 8);
            sum[j] += x;
        }
    keep = sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
    (void)keep;
}

/* GB/s of to = from + s more, each of `bytes` at 64-byte borders. */
TN_UNUSED static double tn_bench_triad_gbps(tn_ctx *ctx, void *to, void *from, void *more,
                                            size_t bytes)
{
    const int       tasks = TN_BENCH_SLICES * tn_ctx_threads(ctx);
    tn_bench_memory m = { to, from, more, bytes / (size_t)tasks / 64 * 64 };
    double          t = tn_bench_now();
    tn_parallel_for(ctx, tasks, tn_bench_memory_task, &m);
    t = tn_bench_now() - t;
    return (double)m.slice * tasks * (more ? 3 : to ? 2 : 1) / t * 1e-9;
}

/* GB/s of reading `bytes` at `from`, or of copying them to `to` (counting both). Give more than
 * four times the last cache to measure memory, less to measure a cache. */
TN_UNUSED static double tn_bench_gbps(tn_ctx *ctx, void *to, void *from, size_t bytes)
{
    return tn_bench_triad_gbps(ctx, to, from, NULL, bytes);
}

#endif
