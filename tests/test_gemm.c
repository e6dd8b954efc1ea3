/* The matrix product against a plain chain of fused multiply-adds: the same bits on every level
 * that has them and for any number of threads, near on the others; memory around C untouched; the
 * epilogue over each element once, when it is final. */
#include "check.h"

#include "tensor/gemm.h"
#include "tensor/gemm_panels.h"
#include "tensor/internal.h"

#define GUARD 1e30
enum { GUARD_BYTES = 1 << 16 }; /* behind the scratch */

/* A case: sizes, how operands lie, scalars, batch. */
typedef struct gemm_case {
    tn_dtype dtype;
    int64_t  m, n, k;
    bool     ta, tb;       /* stored transposed */
    int64_t  pad;          /* added to each leading dimension */
    double   alpha, beta;
    int64_t  batch[2];     /* 0: none */
    int      shared_a, shared_b; /* bit i: stride 0 in batch dimension i */
    bool     gaps;         /* neither stride of A or B is 1 */
    bool     heads;        /* batch 1 lies inside of a row, as heads of attention do */
    bool     panels;       /* B was packed before */
} gemm_case;

static double value(uint64_t i) /* in [-1, 1), about 20 bits */
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i ^= i >> 29;
    i *= 0xbf58476d1ce4e5b9u;
    return (double)(int64_t)(i >> 44) / (1 << 19) - 1;
}

static double get(const void *p, tn_dtype d, int64_t i)
{
    return d == TN_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void set(void *p, tn_dtype d, int64_t i, double x)
{
    if (d == TN_F32)
        ((float *)p)[i] = (float)x;
    else
        ((double *)p)[i] = x;
}

static void *fresh(tn_dtype d, int64_t n, double (*f)(uint64_t), uint64_t salt)
{
    void *p = malloc((size_t)(n + 1) * tn_dtype_size(d));
    for (int64_t i = 0; i < n; i++) set(p, d, i, f ? f((uint64_t)i + salt) : GUARD);
    return p;
}

/* What the epilogue sees. */
typedef struct coverage {
    const tn_gemm *g;
    uint8_t       *count; /* of each element of each product */
    const double  *want;  /* NULL: do not compare */
    int64_t        wrong;
} coverage;

static int64_t c_offset(const tn_gemm *g, int64_t batch)
{
    int64_t at = 0;
    for (int i = g->batch_rank - 1; i >= 0; i--) {
        at += batch % g->batch_dim[i] * g->c_batch[i];
        batch /= g->batch_dim[i];
    }
    return at;
}

static void cover(void *arg, int64_t batch, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                  int worker)
{
    coverage      *v = arg;
    const tn_gemm *g = v->g;
    (void)worker;
    for (int64_t i = i0; i < i1; i++)
        for (int64_t j = j0; j < j1; j++) {
            int64_t e = (batch * g->m + i) * g->n + j;
            v->count[e]++;
            double got = get(g->c, g->dtype, c_offset(g, batch) + i * g->c_row + j);
            if (v->want && got != v->want[e]) __atomic_fetch_add(&v->wrong, 1, __ATOMIC_RELAXED);
        }
}

static void describe(const gemm_case *t, char *text, size_t size)
{
    snprintf(text, size, "%s %s%s %lldx%lldx%lld pad %lld alpha %g beta %g batch %lld,%lld%s%s",
             tn_dtype_name(t->dtype), t->ta ? "T" : "N", t->tb ? "T" : "N", (long long)t->m,
             (long long)t->n, (long long)t->k, (long long)t->pad, t->alpha, t->beta,
             (long long)t->batch[0], (long long)t->batch[1], t->gaps ? " gaps" : "",
             t->heads ? " heads" : "");
}

typedef struct operands {
    tn_gemm g;
    void   *a, *b, *c;
    int64_t n_c, n_batch;
} operands;

static operands make(const gemm_case *t)
{
    operands o = { .n_batch = 1 };
    int64_t  gap = t->gaps ? 3 : 1, heads = t->heads ? t->batch[1] : 1;
    int64_t  lda = ((t->ta ? t->m : t->k) * heads + t->pad) * gap;
    int64_t  ldb = ((t->tb ? t->k : t->n) * heads + t->pad) * gap;
    int64_t  na = lda * (t->ta ? t->k : t->m), nb = ldb * (t->tb ? t->n : t->k);
    int64_t  ldc = t->n + t->pad, nc = ldc * t->m;
    tn_gemm *g = &o.g;
    *g = (tn_gemm){ .dtype = t->dtype, .m = t->m, .n = t->n, .k = t->k,
                    .alpha = t->alpha, .beta = t->beta, .c_row = ldc,
                    .a_row = t->ta ? gap : lda, .a_col = t->ta ? lda : gap,
                    .b_row = t->tb ? gap : ldb, .b_col = t->tb ? ldb : gap };
    for (int i = 1; i >= 0; i--) {
        if (!t->batch[i]) continue;
        g->batch_rank = i + 1 > g->batch_rank ? i + 1 : g->batch_rank;
        g->batch_dim[i] = t->batch[i];
        bool inside = t->heads && i == 1;
        g->a_batch[i] = t->shared_a >> i & 1 ? 0 : inside ? (t->ta ? t->m : t->k) : na;
        g->b_batch[i] = t->shared_b >> i & 1 ? 0 : inside ? (t->tb ? t->k : t->n) : nb;
        g->c_batch[i] = nc;
        if (!(t->shared_a >> i & 1) && !inside) na *= t->batch[i];
        if (!(t->shared_b >> i & 1) && !inside) nb *= t->batch[i];
        nc *= t->batch[i];
        o.n_batch *= t->batch[i];
    }
    o.n_c = nc;
    g->a = o.a = fresh(t->dtype, na, value, 1);
    g->b = o.b = fresh(t->dtype, nb, value, 1000003);
    g->c = o.c = fresh(t->dtype, nc, NULL, 0);
    return o;
}

static void fill_c(const operands *o)
{
    for (int64_t i = 0; i < o->n_c; i++) set(o->c, o->g.dtype, i, GUARD);
    for (int64_t q = 0; q < o->n_batch; q++)
        for (int64_t i = 0; i < o->g.m; i++)
            for (int64_t j = 0; j < o->g.n; j++)
                set(o->c, o->g.dtype, c_offset(&o->g, q) + i * o->g.c_row + j,
                    o->g.beta == 0 ? NAN : value((uint64_t)(q * 7919 + i * 131 + j)));
}

/* [n_batch, m, n]; from C as it is filled. */
static double *reference(const operands *o)
{
    const tn_gemm *g = &o->g;
    double        *want = malloc((size_t)(o->n_batch * g->m * g->n + 1) * sizeof *want);
    for (int64_t q = 0; q < o->n_batch; q++) {
        int64_t rest = q, ao = 0, bo = 0;
        for (int d = g->batch_rank - 1; d >= 0; d--) {
            ao += rest % g->batch_dim[d] * g->a_batch[d];
            bo += rest % g->batch_dim[d] * g->b_batch[d];
            rest /= g->batch_dim[d];
        }
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                double c = get(g->c, g->dtype, c_offset(g, q) + i * g->c_row + j), y;
                if (g->dtype == TN_F32) {
                    const float *a = (const float *)g->a + ao + i * g->a_row;
                    const float *b = (const float *)g->b + bo + j * g->b_col;
                    float        x = g->beta == 0 ? 0 : (float)g->beta * (float)c;
                    for (int64_t p = 0; p < g->k; p++)
                        x = __builtin_fmaf((float)g->alpha * a[p * g->a_col], b[p * g->b_row], x);
                    y = x;
                } else {
                    const double *a = (const double *)g->a + ao + i * g->a_row;
                    const double *b = (const double *)g->b + bo + j * g->b_col;
                    y = g->beta == 0 ? 0 : g->beta * c;
                    for (int64_t p = 0; p < g->k; p++)
                        y = __builtin_fma(g->alpha * a[p * g->a_col], b[p * g->b_row], y);
                }
                want[(q * g->m + i) * g->n + j] = y;
            }
    }
    return want;
}

/* Elements that differ by more than the tolerance, guards among them. */
static int64_t count_wrong(const operands *o, const double *want, double tolerance, double *worst)
{
    const tn_gemm *g = &o->g;
    uint8_t       *is_c = calloc((size_t)o->n_c + 1, 1);
    int64_t        wrong = 0;
    *worst = 0;
    for (int64_t q = 0; q < o->n_batch; q++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                int64_t at = c_offset(g, q) + i * g->c_row + j;
                double  w = want[(q * g->m + i) * g->n + j], x = get(g->c, g->dtype, at);
                is_c[at] = 1;
                if (!(fabs(x - w) <= *worst)) *worst = fabs(x - w);
                wrong += !(fabs(x - w) <= tolerance);
            }
    double guard = g->dtype == TN_F32 ? (double)(float)GUARD : GUARD;
    for (int64_t i = 0; i < o->n_c; i++) wrong += !is_c[i] && get(g->c, g->dtype, i) != guard;
    free(is_c);
    return wrong;
}

static tn_ctx *contexts[TN_N_CPU_LEVELS][4];

static tn_ctx *context(tn_cpu_level level, int threads)
{
    tn_ctx **ctx = &contexts[level][threads];
    if (!*ctx) *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = threads, .cpu = level });
    return *ctx;
}

static bool is_fused(tn_cpu_level level)
{
#if defined TN_BLIS
    (void)level;
    return false; /* its order is its own */
#elif defined __aarch64__
    (void)level;
    return true;
#else
    return level >= TN_CPU_AVX2;
#endif
}

/* B in panels, which reach not a byte further than they say. */
static void *packed(tn_ctx *ctx, const tn_gemm *g)
{
    const int64_t width = tn__gemm_panel_width(ctx, g->dtype);
    const int64_t n = (g->n + width - 1) / width * width;
    const size_t  bytes = (size_t)(n * g->k) * tn_dtype_size(g->dtype);
    char         *panels = NULL;
    bool          intact = true;
    if (posix_memalign((void **)&panels, 64, bytes + GUARD_BYTES) != 0) abort();
    memset(panels, 0xff, bytes + GUARD_BYTES);
    tn__gemm_panels_make(ctx, panels, g);
    for (size_t i = 0; i < GUARD_BYTES; i++) intact &= (unsigned char)panels[bytes + i] == 0xff;
    CHECK_MSG(intact, "panels of %lldx%lld: writes behind them", (long long)g->k, (long long)g->n);
    return panels;
}

/* Runs the case on one level and so many threads; want: the reference. */
static void check_on(const gemm_case *t, const operands *given, const double *want,
                     tn_cpu_level level, int threads)
{
    operands      o = *given;
    const int64_t n = o.n_batch * t->m * t->n;
    tn_ctx       *ctx = context(level, threads);
    const bool    fused = is_fused(level);
    const double  eps = t->dtype == TN_F32 ? 1.2e-7 : 2.3e-16;
    const double  tolerance = fused ? 0 : eps * (double)(t->k + 4) * (2 + fabs(t->alpha));
    coverage      v = { &o.g, calloc((size_t)n + 1, 1), fused ? want : NULL, 0 };
    char          text[256], *scratch = NULL;
    double        worst;
    describe(t, text, sizeof text);
    fill_c(&o);
    o.g.epilogue = cover, o.g.epilogue_arg = &v;
    void  *panels = t->panels ? packed(ctx, &o.g) : NULL;
    size_t scratch_size = panels ? tn__gemm_panels_scratch(ctx, &o.g) : tn__gemm_scratch(ctx, &o.g);
    if (posix_memalign((void **)&scratch, 64, scratch_size + GUARD_BYTES) != 0) abort();
    memset(scratch, 0xff, scratch_size + GUARD_BYTES); /* NaNs: what is not packed must not count */
    if (panels) o.g.b = panels, tn__gemm_panels_run(ctx, &o.g, scratch, threads & 1);
    else tn__gemm_run(ctx, &o.g, scratch);
    int64_t wrong = count_wrong(&o, want, tolerance, &worst), missed = 0;
    for (int64_t i = 0; i < n; i++) missed += v.count[i] != 1;
    CHECK_MSG(wrong == 0, "%s, %s, %d threads: %lld elements differ, worst by %g, tolerance %g",
              text, tn_cpu_level_name(level), threads, (long long)wrong, worst, tolerance);
    CHECK_MSG(missed == 0 && v.wrong == 0,
              "%s, %s, %d threads: epilogue: %lld elements not covered once, %lld not final", text,
              tn_cpu_level_name(level), threads, (long long)missed, (long long)v.wrong);
    bool intact = true;
    for (size_t i = 0; i < GUARD_BYTES; i++)
        intact &= (unsigned char)scratch[scratch_size + i] == 0xff;
    CHECK_MSG(intact, "%s: writes behind its scratch of %zu bytes", text, scratch_size);
    free(scratch), free(panels);
    free(v.count);
}

/* On all levels, or only on one, with each number of threads in the mask. */
static void run_levels(const gemm_case *t, int threads_mask, tn_cpu_level least)
{
    operands o = make(t);
    fill_c(&o);
    double *want = reference(&o);
    for (int level = (int)least; level <= (int)tn_cpu_detect(); level++)
        for (int threads = 1; threads <= 3; threads++)
            if (threads_mask >> threads & 1) check_on(t, &o, want, (tn_cpu_level)level, threads);
    free(want), free(o.a), free(o.b), free(o.c);
}

static void run_case(const gemm_case *t, int threads_mask)
{
    run_levels(t, threads_mask, TN_CPU_BASE);
}

static const int64_t sizes[] = { 1, 2, 3, 5, 7, 13, 15, 16, 17, 31, 33, 63, 65, 100, 130 };
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* Every pair of sizes appears in (m, n), k walking along; transposes and scalars change in turn. */
static void sweep(tn_dtype dtype)
{
    static const double scalars[][2] = { { 1, 0 }, { 1, 1 }, { 0.37, 0 }, { 1, -0.6 },
                                         { -2, 0.3 } };
    int turn = 0;
    for (int i = 0; i < N_SIZES; i++)
        for (int j = 0; j < N_SIZES; j++)
            for (int x = 0; x < 4; x++, turn++) {
                gemm_case t = { .dtype = dtype, .m = sizes[i], .n = sizes[j],
                                .k = sizes[(i * 4 + j * 7 + x * 2) % N_SIZES], .ta = x & 1,
                                .tb = x >> 1, .pad = turn % 3 ? turn % 5 : 0,
                                .alpha = scalars[turn % 5][0], .beta = scalars[turn % 5][1] };
                run_case(&t, turn % 2 ? 1 << 1 : 1 << 2 | (turn % 4 == 0) << 3);
            }
}

TEST(gemm, sizes_f32) { sweep(TN_F32); }
TEST(gemm, sizes_f64) { sweep(TN_F64); }

/* Past blocks of k and rectangles of tasks: all transposes, the same bits on 1, 2, 3 threads. The
 * last two are products whose workers pack B each for itself, and for all. */
TEST(gemm, past_blocks)
{
    static const int64_t shape[][3] = { { 130, 150, 1100 }, { 301, 333, 290 }, { 17, 700, 515 },
                                        { 600, 9, 410 }, { 64, 64, 1600 }, { 3, 517, 770 },
                                        { 140, 400, 900 }, { 800, 130, 750 } };
    for (int s = 0; s < 8; s++)
        for (int x = 0; x < 4; x++) {
            gemm_case t = { .dtype = (s + x) % 3 == 2 ? TN_F64 : TN_F32, .m = shape[s][0],
                            .n = shape[s][1], .k = shape[s][2], .ta = x & 1, .tb = x >> 1,
                            .pad = 3, .alpha = x == 1 ? 0.5 : 1, .beta = x == 2 ? 0.7 : 0 };
            run_case(&t, x == 0 || s == 6 ? 2 | 4 | 8 : 4);
        }
}

/* What is left of the columns behind whole panels, slabs and tasks: from nothing to just a panel,
 * where each worker packs B and where it is packed for all. */
TEST(gemm, last_panels)
{
    static const int64_t rest[] = { 0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47 };
    for (int r = 0; r < (int)(sizeof rest / sizeof *rest); r++)
        for (int x = 0; x < 6; x++) {
            gemm_case t = { .dtype = r % 3 == 1 ? TN_F64 : TN_F32, .m = x % 2 ? 20 : 260,
                            .n = 48 * (1 << x / 2 * 2) + rest[r], .k = x % 2 ? 40 : 200 + r,
                            .ta = x == 4, .tb = (x + r) % 2, .pad = r % 4, .alpha = 1 };
            run_case(&t, x < 3 ? 2 | 4 | 8 : 8);
        }
}

/* Few rows and a matrix that is not in the second cache, or in none: B streams past. */
TEST(gemm, few_rows)
{
    static const int64_t shape[][3] = { { 1, 2100, 260 }, { 2, 4099, 131 }, { 5, 513, 1030 },
                                        { 14, 2049, 270 },
                                        { 33, 1000, 517 }, { 64, 5003, 107 }, { 65, 700, 780 },
                                        { 1, 2100, 2109 }, { 3, 4099, 1100 }, { 4, 1031, 4300 } };
    for (int s = 0; s < 10; s++)
        for (int x = 0; x < 4; x++) {
            gemm_case t = { .dtype = (s + x) % 4 == 3 ? TN_F64 : TN_F32, .m = shape[s][0],
                            .n = shape[s][1],
                            .k = shape[s][2], .ta = x == 1, .tb = x >= 2, .pad = x,
                            .alpha = x == 2 ? 0.3 : 1 };
            run_case(&t, x == 0 ? 2 | 4 | 8 : 4);
        }
}

/* With B packed before: whole and cut panels, blocks of k, more strips than fit at a time. */
TEST(gemm, panels)
{
    static const int64_t shape[][3] = { { 1, 7, 5 },      { 1, 64, 128 },   { 5, 100, 300 },
                                        { 14, 33, 129 },  { 15, 31, 1 },    { 32, 96, 257 },
                                        { 33, 130, 256 }, { 160, 70, 140 }, { 70, 65, 2500 },
                                        { 29, 32, 64 },   { 3, 1, 40 },     { 300, 40, 600 },
                                        { 1, 230, 33 },   { 2, 230, 130 },  { 3, 233, 70 },
                                        { 2, 66, 9 } }; /* panels side by side */
    for (int s = 0; s < (int)(sizeof shape / sizeof *shape); s++)
        for (int x = 0; x < 4; x++) {
            gemm_case t = { .dtype = (s + x) % 3 == 2 ? TN_F64 : TN_F32, .m = shape[s][0],
                            .n = shape[s][1], .k = shape[s][2], .ta = x & 1, .tb = x >> 1,
                            .pad = x * 3, .alpha = 1, .panels = true };
            run_case(&t, s % 2 ? 1 << 1 | 1 << 3 : 1 << 1 | 1 << 2);
        }
}

TEST(gemm, batches)
{
    for (int x = 0; x < 4; x++)
        for (int share = 0; share < 16; share++) {
            gemm_case t = { .dtype = share & 1 ? TN_F64 : TN_F32, .m = 9 + share, .n = 33, .k = 20,
                            .ta = x & 1, .tb = x >> 1, .pad = share % 3, .alpha = 1, .beta = x == 3,
                            .batch = { 3, 4 }, .shared_a = share & 3, .shared_b = share >> 2 };
            run_case(&t, 2 | 4 | 8);
        }
}

/* Heads lie side by side in a row: no operand is contiguous, none is copied. */
TEST(gemm, heads)
{
    for (int x = 0; x < 4; x++)
        for (int d = 0; d < 2; d++) {
            gemm_case t = { .dtype = TN_F32, .m = d ? 64 : 37, .n = d ? 64 : 41, .k = d ? 32 : 64,
                            .ta = x & 1, .tb = x >> 1, .alpha = d ? 1 : 0.125, .beta = d,
                            .batch = { 2, 8 }, .heads = true };
            run_case(&t, 2 | 4 | 8);
        }
}

/* One B for all products, rows of A and C going on: computed as one tall product. */
TEST(gemm, folded)
{
    gemm_case t = { .dtype = TN_F32, .m = 12, .n = 100, .k = 70, .alpha = 1, .batch = { 5, 7 },
                    .shared_b = 3 };
    run_case(&t, 2 | 4 | 8);
    t.tb = true, t.beta = 1, t.dtype = TN_F64, t.n = 1;
    run_case(&t, 2 | 4 | 8);
    for (int share = 1; share < 3; share++) /* one column: flipped, and one of two dims folded */
        for (int m = 2; m < 200; m += 97) {
            t = (gemm_case){ .dtype = TN_F32, .m = m, .n = 1, .k = 3, .alpha = 1,
                             .batch = { 5, 7 }, .shared_b = share };
            run_case(&t, 2 | 4 | 8);
        }
}

TEST(gemm, any_strides)
{
    for (int x = 0; x < 4; x++) {
        gemm_case t = { .dtype = x & 1 ? TN_F64 : TN_F32, .m = 21, .n = 35, .k = 19, .ta = x & 1,
                        .tb = x >> 1, .alpha = 1, .gaps = true };
        run_case(&t, 2);
    }
}

/* A vector repeated along k (stride 0) by both operands. */
TEST(gemm, stride_of_zero)
{
    float   a[6] = { 1, 2, 3, 4, 5, 6 }, b[40], c[6 * 40];
    tn_gemm g = { .dtype = TN_F32, .m = 6, .n = 40, .k = 5, .alpha = 1, .a = a, .b = b, .c = c,
                  .a_row = 1, .a_col = 0, .b_row = 0, .b_col = 1, .c_row = 40 };
    for (int j = 0; j < 40; j++) b[j] = (float)j;
    tn_ctx *ctx = context(TN_CPU_AUTO, 2);
    char   *scratch = aligned_alloc(64, (tn__gemm_scratch(ctx, &g) + 127) / 64 * 64);
    tn__gemm_run(ctx, &g, scratch);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 40; j++) CHECK_NEAR(c[i * 40 + j], 5.0 * a[i] * j, 0);
    free(scratch);
}

TEST(gemm, nothing_to_do)
{
    for (int zero = 0; zero < 3; zero++)
        for (int x = 0; x < 2; x++) {
            gemm_case t = { .dtype = x ? TN_F64 : TN_F32, .m = zero == 0 ? 0 : 30,
                            .n = zero == 1 ? 0 : 20, .k = zero == 2 ? 0 : 10, .pad = 2, .alpha = 1,
                            .beta = x ? 0.5 : 0 };
            run_case(&t, 2 | 4);
            t.batch[0] = 3;
            run_case(&t, 2 | 4);
            t.n = 1;
            run_case(&t, 2 | 4);
        }
}

/* Blocks, scratch and what is streamed follow from the sizes of caches: the same bits, and nothing
 * written behind the scratch, on machines other than this one. */
TEST(gemm, caches_of_other_machines)
{
    static const tn__caches machine[] = { { 16 << 10, 128 << 10, 1 << 20 },
                                          { 32 << 10, 512 << 10, 8 << 20 },
                                          { 48 << 10, 2 << 20, 64 << 20 },
                                          { 64 << 10, 4 << 20, 8 << 20 },
                                          { 128 << 10, 16 << 20, 32 << 20 },
                                          { 256 << 10, 128 << 10, 1 << 20 } };
    static const int64_t    shape[][3] = { { 3900, 20, 512 }, { 70, 1300, 90 }, { 260, 130, 600 },
                                           { 20, 400, 1100 } };
    const tn_cpu_level      level = tn_cpu_detect();
    tn_ctx                 *ctx = context(level, 3);
    const tn__caches        own = tn__ctx_caches(ctx);
    for (int i = 0; i < 6; i++)
        for (int s = 0; s < 4; s++) {
            const int x = s ? (i + s) % 4 : 3; /* both packed by each worker */
            gemm_case t = { .dtype = s % 2 ? TN_F64 : TN_F32, .m = shape[s][0], .n = shape[s][1],
                            .k = shape[s][2],
                            .ta = x & 1, .tb = x >> 1, .pad = i % 2, .alpha = s % 2 ? 1 : 0.5 };
            tn__ctx_set_caches(ctx, machine[i]);
            run_levels(&t, 1 << 3, level);
        }
    tn__ctx_set_caches(ctx, own);
}

/* Callers measure once, for the most rows that they may have. */
TEST(gemm, scratch_for_smaller)
{
    static const int64_t n[] = { 1, 2, 5, 14, 15, 40, 150, 260, 300, 700, 1100, 2100, 4200 };
    enum { N = sizeof n / sizeof *n };
    for (int level = TN_CPU_BASE; level <= (int)tn_cpu_detect(); level++)
        for (int i = 0; i < N * N * N; i++) {
            tn_gemm g = { .dtype = i % 2 ? TN_F32 : TN_F64, .m = n[i % N], .n = n[i / N % N],
                          .k = n[i / N / N], .alpha = 1, .a_row = 5000, .a_col = 1, .b_row = 5000,
                          .b_col = 1, .c_row = 5000 };
            tn_ctx *ctx = context((tn_cpu_level)level, 2);
            size_t  all = tn__gemm_scratch(ctx, &g);
            for (int x = 1; x < 8; x++) {
                tn_gemm less = g;
                if (x & 1) less.m = (g.m + 1) / 2;
                if (x & 2) less.n = g.n - g.n / 3;
                if (x & 4) less.k = (g.k + 3) / 4;
                size_t need = tn__gemm_scratch(ctx, &less);
                CHECK_MSG(need <= all, "%lldx%lldx%lld: %zu bytes, but %lldx%lldx%lld: %zu",
                          (long long)g.m, (long long)g.n, (long long)g.k, all, (long long)less.m,
                          (long long)less.n, (long long)less.k, need);
            }
        }
}

/* NaN and infinity go through; a NaN in C does not where beta is 0 (fill_c puts them there). */
TEST(gemm, not_finite)
{
    float   a[4] = { 1, INFINITY, 0, 1 }, b[4] = { 1, 0, NAN, 2 }, c[4];
    tn_gemm g = { .dtype = TN_F32, .m = 2, .n = 2, .k = 2, .alpha = 1, .a = a, .b = b, .c = c,
                  .a_row = 2, .a_col = 1, .b_row = 2, .b_col = 1, .c_row = 2 };
    tn_ctx *ctx = context(TN_CPU_AUTO, 1);
    char   *scratch = aligned_alloc(64, (tn__gemm_scratch(ctx, &g) + 127) / 64 * 64);
    tn__gemm_run(ctx, &g, scratch);
    CHECK(isnan(c[0]));
    CHECK_NEAR(c[1], INFINITY, 0);
    CHECK(isnan(c[2]));
    CHECK_NEAR(c[3], 2, 0);
    free(scratch);
}

TEST_MAIN
