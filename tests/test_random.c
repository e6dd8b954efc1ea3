/* Random numbers: published answers, the same bits on every level and however a range is split, and
 * distributions within fixed bounds (the sequences are fixed, so nothing here is left to luck). */
#include "check.h"

#include "tensor/context.h"
#include "tensor/cpu.h"
#include "tensor/philox.h"
#include "tensor/random.h"

static const tn_rng rng1 = { .seed = 1, .stream = 2, .run = 3 };

static uint64_t checksum(const void *p, size_t n)
{
    uint64_t h = 0;
    const unsigned char *byte = p;
    for (size_t i = 0; i < n; i++) h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
    return h;
}

#define check_bits(p, n, want)                                                                     \
    CHECK_MSG(checksum(p, n) == want, #p ": expected the sum %016llx, got %016llx",                \
              (unsigned long long)want, (unsigned long long)checksum(p, n))

/* ---- Philox ------------------------------------------------------------------------------ */

/* kat_vectors of Random123 1.14 (Salmon et al.), philox4x32 10. */
TEST(philox, known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } kat[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        tn_philox(kat[i].counter, kat[i].key, out);
        for (int j = 0; j < 4; j++)
            CHECK_MSG(out[j] == kat[i].want[j], "vector %d word %d: expected %08x, got %08x", i, j,
                      kat[i].want[j], out[j]);
    }
}

/* The kernels of every level that this CPU has, against tn_philox and the mapping of philox.h. */
TEST(philox, rows_of_every_level)
{
    static const uint64_t groups[] = { 0, 5, (UINT64_C(1) << 28) - 1, UINT64_C(0x123456789abcdef) };
    const uint64_t        key = UINT64_C(0xfedcba9876543210), run = UINT64_C(0x1122334455667788);
    for (int level = TN_CPU_BASE; level <= (int)tn_cpu_detect(); level++)
        for (int g = 0; g < 4; g++) {
            uint32_t w[3 * 64 + 8];
            memset(w, 0x5a, sizeof w);
            tn__cpu_kernels((tn_cpu_level)level)->philox_row(key, run, groups[g], 3, w);
            for (uint64_t i = 0; i < 3 * 64; i++) {
                uint64_t block = (groups[g] * 64 + i) / 64 * 16 + i % 16;
                uint32_t c[4] = { (uint32_t)block, (uint32_t)(block >> 32), 0x55667788,
                                  0x11223344 };
                tn_philox(c, (uint32_t[2]){ 0x76543210, 0xfedcba98 }, c);
                CHECK_MSG(w[i] == c[i / 16 % 4], "%s group %llx word %d: expected %08x, got %08x",
                          tn_cpu_level_name((tn_cpu_level)level), (unsigned long long)groups[g],
                          (int)i, c[i / 16 % 4], w[i]);
            }
            for (int i = 3 * 64; i < 3 * 64 + 8; i++) CHECK_INT(w[i], 0x5a5a5a5a);
        }
}

/* These values are a promise: files and papers rest on a seed meaning the same for ever. */
TEST(philox, the_sequence_stays)
{
    CHECK(tn__rng_key(1, 2) == UINT64_C(0x081a5c1377856b73));
    CHECK(tn_hash_text(0, "encoder.0.ff1") == UINT64_C(0xcad54475b4e7fbf8));
    CHECK(tn_random_u64(rng1, 0) == UINT64_C(0x7ba9665c41c97c86));
    float   f[1000];
    double  d[1000];
    uint8_t b[1000];
    int64_t p[1000];
    tn_random_uniform(rng1, 7, 1000, TN_F32, f, -1, 3);
    check_bits(f, sizeof f, UINT64_C(0xdf4548da2785fecb));
    tn_random_uniform(rng1, 7, 1000, TN_F64, d, -1, 3);
    check_bits(d, sizeof d, UINT64_C(0xaacf25b7e320d8fa));
    tn_random_normal(rng1, 7, 1000, TN_F32, f, 0, 0.02);
    check_bits(f, sizeof f, UINT64_C(0x4e61a8cb56373369));
    tn_random_normal(rng1, 7, 1000, TN_F64, d, 0, 0.02);
    check_bits(d, sizeof d, UINT64_C(0x8e040038f7c46bf6));
    tn_random_bernoulli(rng1, 7, 1000, b, 0.1);
    check_bits(b, sizeof b, UINT64_C(0x8641927792ff84e1));
    tn_random_permutation(rng1, 1000, p);
    check_bits(p, sizeof p, UINT64_C(0x608d294454a269a8));
}

TEST(philox, keys_and_texts_differ)
{
    uint64_t k[6] = { tn__rng_key(0, 0), tn__rng_key(0, 1), tn__rng_key(1, 0), tn__rng_key(1, 1),
                      tn__rng_key(UINT64_MAX, 0), tn__rng_key(0, UINT64_MAX) };
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++) CHECK_MSG(k[i] != k[j], "keys %d and %d are the same", i, j);
    CHECK(tn_hash_text(0, "a") != tn_hash_text(0, "b"));
    CHECK(tn_hash_text(0, "a") != tn_hash_text(1, "a"));
    CHECK(tn_hash_text(0, "ab") != tn_hash_text(tn_hash_text(0, "a"), "b")); /* each is finalised */
    CHECK(tn_hash_text(5, NULL) == tn_hash_text(5, ""));
    CHECK(tn_hash_text(0, "") != 0);
}

/* ---- levels and splits ------------------------------------------------------------------- */

typedef void (*draw_fn)(const tn__draw *d);

enum { N_DRAWS = 5 };

static draw_fn draw_of(const tn_kernels *k, int i)
{
    draw_fn fn[N_DRAWS] = { k->random_uniform_f32, k->random_uniform_f64, k->random_normal_f32,
                            k->random_normal_f64, k->random_bernoulli };
    return fn[i];
}

TEST(draws, every_level_gives_the_same_bits)
{
    enum { N = 20000 };
    static double a[N], b[N];
    for (int i = 0; i < N_DRAWS; i++) {
        tn__draw d = { .key = 77, .run = 5, .first = 33, .n = N, .out = a, .a = 0.25, .b = 1.75 };
        memset(a, 0, sizeof a);
        draw_of(&tn__kernels_base, i)(&d);
        for (int level = TN_CPU_AVX2; level <= (int)tn_cpu_detect(); level++) {
            d.out = b;
            memset(b, 0, sizeof b);
            draw_of(tn__cpu_kernels((tn_cpu_level)level), i)(&d);
            CHECK_MSG(!memcmp(a, b, sizeof a), "draw %d: %s differs from base", i,
                      tn_cpu_level_name((tn_cpu_level)level));
        }
    }
}

/* One of the public fills by number, so that splits can be tried on all of them. */
static size_t fill(int kind, int64_t first, int64_t n, void *out)
{
    switch (kind) {
    case 0: tn_random_uniform(rng1, first, n, TN_F32, out, -1, 1); return 4;
    case 1: tn_random_uniform(rng1, first, n, TN_F64, out, -1, 1); return 8;
    case 2: tn_random_normal(rng1, first, n, TN_F32, out, 0, 1); return 4;
    case 3: tn_random_normal(rng1, first, n, TN_F64, out, 0, 1); return 8;
    default: tn_random_bernoulli(rng1, first, n, out, 0.4); return 1;
    }
}

TEST(draws, any_split_gives_the_same_numbers)
{
    enum { N = 3000 };
    static char whole[N * 8 + 8], parts[N * 8 + 8];
    for (int kind = 0; kind < N_DRAWS; kind++)
        for (int64_t first = 0; first < 200; first += 39) {
            memset(whole, 0x5a, sizeof whole), memset(parts, 0x5a, sizeof parts);
            size_t  size = fill(kind, first, N, whole);
            int64_t at = 0, step = 1;
            while (at < N) {
                int64_t n = step < N - at ? step : N - at;
                fill(kind, first + at, n, parts + (size_t)at * size);
                at += n, step = step * 3 % 257 + 1;
            }
            CHECK_MSG(!memcmp(whole, parts, sizeof whole), "kind %d from %d: parts differ", kind,
                      (int)first);
            CHECK_INT(whole[N * size], 0x5a); /* nothing past the end */
        }
}

TEST(draws, far_elements_and_empty_ranges)
{
    float x[4] = { 9, 9, 9, 9 }, y[4];
    tn_random_normal(rng1, INT64_C(1) << 60, 4, TN_F32, x, 0, 1);
    tn_random_normal(rng1, (INT64_C(1) << 60) + 1, 3, TN_F32, y, 0, 1);
    CHECK(!memcmp(x + 1, y, 3 * sizeof *y));
    y[0] = 5;
    tn_random_uniform(rng1, 0, 0, TN_F32, y, 0, 1);
    tn_random_uniform(rng1, 0, -3, TN_F32, y, 0, 1);
    tn_random_uniform(rng1, 0, 4, TN_I32, y, 0, 1); /* not a float: left alone */
    CHECK_NEAR(y[0], 5, 0);
}

TEST(draws, seed_stream_and_run_matter)
{
    tn_rng   r[4] = { rng1, rng1, rng1, rng1 };
    uint64_t u[4];
    r[1].seed++, r[2].stream++, r[3].run++;
    for (int i = 0; i < 4; i++) u[i] = tn_random_u64(r[i], 0);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) CHECK(u[i] != u[j]);
}

TEST(draws, u64_is_two_words_of_the_row)
{
    uint32_t w[128];
    tn__kernels_base.philox_row(tn__rng_key(1, 2), 3, 0, 2, w);
    for (int e = 0; e < 64; e++)
        CHECK(tn_random_u64(rng1, e) == (w[2 * e] | (uint64_t)w[2 * e + 1] << 32));
}

/* ---- distributions ----------------------------------------------------------------------- */

enum { MANY = 1 << 20 };
static float  f32s[MANY];
static double f64s[MANY];

/* Draws MANY as doubles, whatever the dtype. */
static void draw_many(tn_dtype dtype, bool is_normal, double a, double b)
{
    void *out = dtype == TN_F32 ? (void *)f32s : (void *)f64s;
    (is_normal ? tn_random_normal : tn_random_uniform)(rng1, 0, MANY, dtype, out, a, b);
    if (dtype == TN_F32)
        for (int i = 0; i < MANY; i++) f64s[i] = (double)f32s[i];
}

static double moment(double about, int power)
{
    double sum = 0;
    for (int i = 0; i < MANY; i++) sum += pow(f64s[i] - about, power);
    return sum / MANY;
}

/* Bounds are five standard errors: sigma / sqrt(2^20) = sigma / 1024. */
TEST(distribution, uniform)
{
    for (int t = 0; t < 2; t++) {
        int bins[64] = { 0 };
        draw_many(t ? TN_F64 : TN_F32, false, 0, 1);
        for (int i = 0; i < MANY; i++) {
            REQUIRE(f64s[i] >= 0 && f64s[i] < 1);
            bins[(int)(f64s[i] * 64)]++;
        }
        CHECK_NEAR(moment(0, 1), 0.5, 5 * 0.2887 / 1024);
        CHECK_NEAR(moment(0.5, 2), 1.0 / 12, 5 * 0.0745 / 1024);
        double chi2 = 0, want = MANY / 64.0;
        for (int i = 0; i < 64; i++) chi2 += (bins[i] - want) * (bins[i] - want) / want;
        CHECK_NEAR(chi2, 63, 5 * 11.2); /* 63 degrees of freedom: sigma = sqrt(126) */
    }
}

TEST(distribution, uniform_is_half_open)
{
    float  lo = 1, hi = nextafterf(1, 2); /* one number fits */
    float  f[256];
    double d[256];
    tn_random_uniform(rng1, 0, 256, TN_F32, f, lo, hi);
    tn_random_uniform(rng1, 0, 256, TN_F64, d, -3, nextafter(-3, 0));
    for (int i = 0; i < 256; i++) {
        CHECK_NEAR(f[i], lo, 0);
        CHECK_NEAR(d[i], -3, 0);
    }
    draw_many(TN_F32, false, -0.05, 0.1);
    for (int i = 0; i < MANY; i++) REQUIRE(f32s[i] >= -0.05f && f32s[i] < 0.1f);
}

TEST(distribution, normal)
{
    for (int t = 0; t < 2; t++) {
        int inside[4] = { 0 };
        draw_many(t ? TN_F64 : TN_F32, true, 0, 1);
        CHECK_NEAR(moment(0, 1), 0, 5.0 / 1024);
        CHECK_NEAR(moment(0, 2), 1, 5 * 1.4142 / 1024);
        CHECK_NEAR(moment(0, 3), 0, 5 * 3.873 / 1024);  /* sqrt 15 */
        CHECK_NEAR(moment(0, 4), 3, 5 * 9.798 / 1024);  /* sqrt 96 */
        for (int i = 0; i < MANY; i++)
            for (int s = 1; s < 4; s++) inside[s] += fabs(f64s[i]) < s;
        for (int s = 1; s < 4; s++) {
            double p = erf(s / sqrt(2)), sigma = sqrt(p * (1 - p)) / 1024;
            CHECK_NEAR((double)inside[s] / MANY, p, 5 * sigma);
        }
    }
}

/* Neighbours in every distance up to two groups are uncorrelated. */
TEST(distribution, normal_is_uncorrelated)
{
    draw_many(TN_F32, true, 0, 1);
    for (int lag = 1; lag <= 130; lag++) {
        double sum = 0;
        for (int i = 0; i + lag < MANY; i++) sum += f64s[i] * f64s[i + lag];
        CHECK_MSG(fabs(sum / MANY) < 5.0 / 1024, "lag %d: correlation %g", lag, sum / MANY);
    }
}

/* Each pair against Box and Muller's formula in libm, in f64. */
TEST(distribution, normal_is_box_muller)
{
    uint32_t w[64];
    float    f[64];
    double   d[32];
    for (int g = 0; g < 100; g++) {
        tn__kernels_base.philox_row(tn__rng_key(1, 2), 3, (uint64_t)g, 1, w);
        tn_random_normal(rng1, g * 64, 64, TN_F32, f, 0, 1);
        tn_random_normal(rng1, g * 32, 32, TN_F64, d, 0, 1);
        for (int i = 0; i < 64; i++) {
            int      j = i / 32 * 32 + i % 16; /* words j and j + 16 make elements j and j + 16 */
            double   r = sqrt(-2 * log(((w[j] >> 1) + 0.5) / 2147483648.0));
            uint32_t q = w[j + 16] >> 30;
            double   t = (int32_t)(w[j + 16] << 2) / 2147483648.0 * (M_PI / 4) + q * (M_PI / 2);
            CHECK_NEAR(f[i], r * (i % 32 < 16 ? cos(t) : sin(t)), 2e-6);
        }
        for (int i = 0; i < 32; i++) {
            int      j = i % 16;
            uint64_t u = w[2 * j] | (uint64_t)w[2 * j + 1] << 32;
            uint64_t v = w[2 * j + 32] | (uint64_t)w[2 * j + 33] << 32;
            double   r = sqrt(-2 * log(((double)(u >> 11) + 0.5) / 9007199254740992.0));
            double   t = (double)(int64_t)(v << 2) / 9223372036854775808.0 * (M_PI / 4);
            t += (double)(v >> 62) * (M_PI / 2);
            CHECK_NEAR(d[i], r * (i < 16 ? cos(t) : sin(t)), 4e-15);
        }
    }
}

TEST(distribution, normal_mean_and_deviation)
{
    draw_many(TN_F64, true, 10, 0.5);
    CHECK_NEAR(moment(0, 1), 10, 5 * 0.5 / 1024);
    CHECK_NEAR(moment(10, 2), 0.25, 5 * 0.25 * 1.4142 / 1024);
}

TEST(distribution, bernoulli)
{
    static uint8_t b[MANY];
    static const double ps[] = { 0, 1e-6, 0.1, 0.5, 0.9, 1, -3, 7 };
    for (int i = 0; i < 8; i++) {
        double p = ps[i] < 0 ? 0 : ps[i] > 1 ? 1 : ps[i], ones = 0;
        tn_random_bernoulli(rng1, 0, MANY, b, ps[i]);
        for (int j = 0; j < MANY; j++) {
            REQUIRE(b[j] <= 1);
            ones += b[j];
        }
        p = floor(p * 65536 + 0.5) / 65536;
        CHECK_NEAR(ones / MANY, p, 5 * sqrt(p * (1 - p)) / 1024);
    }
    tn_random_bernoulli(rng1, 0, 10, b, NAN);
    CHECK_INT(b[0] + b[1] + b[2] + b[3], 0);
}

/* The documented mapping, which dropout kernels share: one at e where H[e] < threshold. */
TEST(distribution, bernoulli_is_halves_below_the_threshold)
{
    uint32_t w[128];
    uint8_t  b[256];
    tn__kernels_base.philox_row(tn__rng_key(1, 2), 3, 0, 2, w);
    tn_random_bernoulli(rng1, 0, 256, b, 0.3);
    CHECK_INT(tn__threshold16(0.3), 19661);
    for (int e = 0; e < 256; e++) {
        uint32_t half = w[e / 2] >> (e % 2 ? 16 : 0) & 0xffff;
        CHECK_INT(tn__half(w, e), half);
        CHECK_INT(b[e], half < 19661);
    }
}

/* ---- permutations ------------------------------------------------------------------------ */

TEST(permutation, holds_each_number_once)
{
    for (int64_t n = 0; n < 5000; n = n < 70 ? n + 1 : n * 3 + 1) {
        int64_t *p = malloc((size_t)(n + 1) * sizeof *p);
        char    *seen = calloc((size_t)n + 1, 1);
        REQUIRE(p && seen);
        p[n] = -7;
        tn_random_permutation(rng1, n, p);
        for (int64_t i = 0; i < n; i++) {
            REQUIRE(p[i] >= 0 && p[i] < n);
            CHECK_MSG(!seen[p[i]], "n = %d: %d twice", (int)n, (int)p[i]);
            seen[p[i]] = 1;
        }
        CHECK_INT(p[n], -7);
        free(p), free(seen);
    }
}

/* All 24 orders of four, and each number in each place of twelve, are about as frequent. */
TEST(permutation, is_uniform)
{
    enum { RUNS = 24000 };
    int     orders[256] = { 0 }, places[12][12] = { { 0 } };
    int64_t p[12];
    tn_rng  r = rng1;
    for (r.run = 0; r.run < RUNS; r.run++) {
        tn_random_permutation(r, 4, p);
        orders[p[0] | p[1] << 2 | p[2] << 4 | p[3] << 6]++;
        tn_random_permutation(r, 12, p);
        for (int i = 0; i < 12; i++) places[i][p[i]]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 256; i++)
        if (orders[i]) chi2 += (orders[i] - 1000.0) * (orders[i] - 1000.0) / 1000;
    CHECK_NEAR(chi2, 23, 5 * 6.8); /* 23 degrees of freedom: sigma = sqrt 46 */
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < 12; j++) CHECK_NEAR(places[i][j], 2000, 5 * 43); /* p = 1/12 */
}

TEST_MAIN
