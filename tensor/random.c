/* The public face of random numbers: keys, bulk draws by the kernels of this CPU, permutations. */
#include "tensor/random.h"

#include "tensor/cpu.h"
#include "tensor/philox.h"

void tn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] };
    tn__philox4x32(c, key[0], key[1]);
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

uint64_t tn_hash_text(uint64_t h, const char *text)
{
    h ^= UINT64_C(0xcbf29ce484222325); /* FNV-1a's offset and prime */
    for (const char *p = text ? text : ""; *p; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    return tn__mix64(h);
}

/* ---- draws ------------------------------------------------------------------------------- */

/* Every level draws the same bits, so the highest is used, whatever a context is held to. */
static const tn_kernels *kernels(void) { return tn__cpu_kernels(tn_cpu_detect()); }

static tn__draw draw_of(tn_rng rng, int64_t first, int64_t n, void *out, double a, double b)
{
    return (tn__draw){ .key = tn__rng_key(rng.seed, rng.stream), .run = rng.run,
                       .first = (uint64_t)first, .n = out ? n : 0, .out = out, .a = a, .b = b };
}

void tn_random_uniform(tn_rng rng, int64_t first, int64_t n, tn_dtype dtype, void *out, double lo,
                       double hi)
{
    tn__draw d = draw_of(rng, first, n, out, lo, hi);
    if (dtype == TN_F32) kernels()->random_uniform_f32(&d);
    if (dtype == TN_F64) kernels()->random_uniform_f64(&d);
}

void tn_random_normal(tn_rng rng, int64_t first, int64_t n, tn_dtype dtype, void *out, double mean,
                      double std)
{
    tn__draw d = draw_of(rng, first, n, out, mean, std);
    if (dtype == TN_F32) kernels()->random_normal_f32(&d);
    if (dtype == TN_F64) kernels()->random_normal_f64(&d);
}

void tn_random_bernoulli(tn_rng rng, int64_t first, int64_t n, uint8_t *out, double p)
{
    tn__draw d = draw_of(rng, first, n, out, p, 0);
    kernels()->random_bernoulli(&d);
}

/* Word i of the sequence, alone. */
static uint32_t word_at(uint64_t key, uint64_t run, uint64_t i)
{
    uint64_t block = i / 64 * 16 + i % 16;
    uint32_t c[4] = { (uint32_t)block, (uint32_t)(block >> 32), (uint32_t)run,
                      (uint32_t)(run >> 32) };
    tn__philox4x32(c, (uint32_t)key, (uint32_t)(key >> 32));
    return c[i / 16 % 4];
}

uint64_t tn_random_u64(tn_rng rng, int64_t element)
{
    uint64_t key = tn__rng_key(rng.seed, rng.stream), i = 2 * (uint64_t)element;
    return word_at(key, rng.run, i) | (uint64_t)word_at(key, rng.run, i + 1) << 32;
}

/* ---- permutations ------------------------------------------------------------------------ */

/* The 64-bit elements of a sequence in order, a group at a time. */
typedef struct u64_reader {
    const tn_kernels *k;
    uint64_t          key, run, group;
    int               used;
    uint32_t          w[TN_GROUP_WORDS];
} u64_reader;

static uint64_t next_u64(u64_reader *r)
{
    if (r->used == TN_GROUP_U64S) {
        r->k->philox_row(r->key, r->run, r->group++, 1, r->w);
        r->used = 0;
    }
    int i = r->used++;
    return r->w[2 * i] | (uint64_t)r->w[2 * i + 1] << 32;
}

/* Uniform in [0, n), n > 0: the next element whose low bits (as many as n - 1 has) are below n. */
static uint64_t next_below(u64_reader *r, uint64_t n, uint64_t mask)
{
    uint64_t x;
    do x = next_u64(r) & mask;
    while (x >= n);
    return x;
}

/* Fisher and Yates' shuffle in Durstenfeld's order: from the last place down, each is swapped with
 * a place at or before it. */
void tn_random_permutation(tn_rng rng, int64_t n, int64_t *out)
{
    u64_reader r = { .k = kernels(), .key = tn__rng_key(rng.seed, rng.stream), .run = rng.run,
                     .used = TN_GROUP_U64S };
    uint64_t   mask = 1;
    if (!out) return;
    for (int64_t i = 0; i < n; i++) out[i] = i;
    while (mask < (uint64_t)n) mask = mask << 1 | 1;
    for (int64_t i = n - 1; i > 0; i--) {
        while (mask >> 1 >= (uint64_t)i) mask >>= 1; /* the least 2^k - 1 that is i or more */
        int64_t j = (int64_t)next_below(&r, (uint64_t)i + 1, mask), t = out[i];
        out[i] = out[j], out[j] = t;
    }
}
