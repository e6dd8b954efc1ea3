/* Random numbers in bulk: Philox over 16 blocks at a time, and the draws made from its words. Plain
 * multiplications and additions only, never fused, so that every level gives the same bits. */
#include "tensor/kernels/kernels.h"

#include <string.h>
#if defined __x86_64__
#  include <immintrin.h>
#endif

#define M0 0xd2511f53u /* multipliers and key increments of Philox 4x32 */
#define M1 0xcd9e8d57u
#define W0 0x9e3779b9u
#define W1 0xbb67ae85u

#if defined __GNUC__
#  define IN_MEMORY(x) __asm__("" : "+m"(x))
#else
#  define IN_MEMORY(x)
#endif

/* ---- words ------------------------------------------------------------------------------- */

#if defined __x86_64__

/* A vector holds words of LANES blocks in the low halves of its 64-bit lanes: that is where the
 * multiplication wants them and leaves its low result. The high halves hold rubbish. */
#  if defined __AVX512F__
#    define LANES        8
typedef __m512i V;
#    define SET1(x)      _mm512_set1_epi64((long long)(x))
#    define IOTA2()      _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0)
#    define ADD(a, b)    _mm512_add_epi64(a, b)
#    define MUL(a, b)    _mm512_mul_epu32(a, b)
#    define HIGH(a)      _mm512_shuffle_epi32(a, (_MM_PERM_ENUM)0xf5)
#    define LOW_UP(a)    _mm512_shuffle_epi32(a, (_MM_PERM_ENUM)0xa0)
#    define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#    define BLEND(a, b)  _mm512_mask_mov_epi32(a, 0xaaaa, b)
#    define STORE(p, v)  _mm512_storeu_si512(p, v)
#  elif defined __AVX2__
#    define LANES        4
typedef __m256i V;
#    define SET1(x)      _mm256_set1_epi64x((long long)(x))
#    define IOTA2()      _mm256_set_epi64x(6, 4, 2, 0)
#    define ADD(a, b)    _mm256_add_epi64(a, b)
#    define MUL(a, b)    _mm256_mul_epu32(a, b)
#    define HIGH(a)      _mm256_shuffle_epi32(a, 0xf5)
#    define LOW_UP(a)    _mm256_shuffle_epi32(a, 0xa0)
#    define XOR3(a, b, c) _mm256_xor_si256(a, made(_mm256_xor_si256(b, c)))
#    define BLEND(a, b)  _mm256_blend_epi32(a, b, 0xaa)
#    define STORE(p, v)  _mm256_storeu_si256((__m256i *)(p), v)

/* A compiler takes the last term first, and then each round waits for one operation more. */
TN_INLINE V made(V x)
{
#    if defined __GNUC__
    __asm__("" : "+x"(x));
#    endif
    return x;
}
#  else
#    define LANES        2
typedef __m128i V;
#    define SET1(x)      _mm_set1_epi64x((long long)(x))
#    define IOTA2()      _mm_set_epi64x(2, 0)
#    define ADD(a, b)    _mm_add_epi64(a, b)
#    define MUL(a, b)    _mm_mul_epu32(a, b)
#    define HIGH(a)      _mm_shuffle_epi32(a, 0xf5)
#    define LOW_UP(a)    _mm_shuffle_epi32(a, 0xa0)
#    define XOR3(a, b, c) _mm_xor_si128(_mm_xor_si128(b, c), a)
#    define BLEND(a, b)                                                                            \
        _mm_xor_si128(_mm_and_si128(_mm_xor_si128(a, b), _mm_set_epi32(-1, 0, -1, 0)), a)
#    define STORE(p, v)  _mm_storeu_si128((__m128i *)(p), v)
#  endif

/* w[16 i + j] = word i of block + j, j in [0, 2 LANES): vector a has the even j, b the odd ones. */
TN_INLINE void blocks(uint64_t block, uint64_t run, const uint64_t *keys, uint32_t *w)
{
    const V m0 = SET1(M0), m1 = SET1(M1);
    V       a0 = ADD(SET1(block & 0xffffffff), IOTA2()), b0 = ADD(a0, SET1(1));
    V       a1 = SET1(block >> 32), b1 = a1, a2 = SET1(run & 0xffffffff), b2 = a2;
    V       a3 = SET1(run >> 32), b3 = a3;
    for (int round = 0; round < 10; round++) {
        V x0 = SET1(keys[2 * round]), x1 = SET1(keys[2 * round + 1]);
        V p0 = MUL(a0, m0), p1 = MUL(a2, m1), q0 = MUL(b0, m0), q1 = MUL(b2, m1);
        a0 = XOR3(HIGH(p1), a1, x0), b0 = XOR3(HIGH(q1), b1, x0);
        a2 = XOR3(HIGH(p0), a3, x1), b2 = XOR3(HIGH(q0), b3, x1);
        a1 = p1, b1 = q1, a3 = p0, b3 = q0;
    }
    STORE(w, BLEND(a0, LOW_UP(b0)));
    STORE(w + 16, BLEND(a1, LOW_UP(b1)));
    STORE(w + 32, BLEND(a2, LOW_UP(b2)));
    STORE(w + 48, BLEND(a3, LOW_UP(b3)));
}

#else

#  define LANES 8

/* The same in plain C, for compilers to vectorise: NEON's umull fits it. */
TN_INLINE void blocks(uint64_t block, uint64_t run, const uint64_t *keys, uint32_t *w)
{
    uint32_t *c0 = w, *c1 = w + 16, *c2 = w + 32, *c3 = w + 48;
    for (uint32_t j = 0; j < 16; j++) {
        c0[j] = (uint32_t)block + j, c1[j] = (uint32_t)(block >> 32);
        c2[j] = (uint32_t)run, c3[j] = (uint32_t)(run >> 32);
    }
    for (int round = 0; round < 10; round++) {
        const uint32_t k0 = (uint32_t)keys[2 * round], k1 = (uint32_t)keys[2 * round + 1];
        for (int j = 0; j < 16; j++) {
            uint64_t p0 = (uint64_t)c0[j] * M0, p1 = (uint64_t)c2[j] * M1;
            c0[j] = (uint32_t)(p1 >> 32) ^ c1[j] ^ k0, c1[j] = (uint32_t)p1;
            c2[j] = (uint32_t)(p0 >> 32) ^ c3[j] ^ k1, c3[j] = (uint32_t)p0;
        }
    }
}

#endif

void TN_K(philox_row)(uint64_t key, uint64_t run, uint64_t group, int64_t n, uint32_t *w)
{
    /* In memory, from where a word gets into all lanes at no cost: from a scalar register, as
     * compilers would have it, it takes the unit that the rounds are waiting for. */
    uint64_t keys[20];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++, k0 += W0, k1 += W1)
        keys[2 * round] = k0, keys[2 * round + 1] = k1;
    IN_MEMORY(keys);
    for (int64_t i = 0; i < n; i++, w += TN_GROUP_WORDS)
        for (uint64_t j = 0; j < 16; j += 2 * LANES)
            blocks((group + (uint64_t)i) * 16 + j, run, keys, w + j);
}

/* ---- draws ------------------------------------------------------------------------------- */

/* Fills the numbers of one group, from its words, into v. */
typedef void (*fill_group)(const tn__draw *d, const uint32_t *w, void *v);

/* Runs fill over the groups that [first, first + n) touches. Groups at the ends are made whole, and
 * the part that is wanted is copied, so that any split of a range gives the same numbers. */
TN_INLINE void fill_range(const tn__draw *d, int64_t per_group, size_t size, fill_group fill)
{
    enum { GROUPS = 16 };
    uint32_t w[GROUPS * TN_GROUP_WORDS];
    union {
        float    f32[TN_GROUP_WORDS];
        double   f64[TN_GROUP_U64S];
        uint16_t two[TN_GROUP_WORDS];
    } v;
    char    *out = (char *)d->out;
    uint64_t group = d->first / (uint64_t)per_group;
    int64_t  skip = (int64_t)(d->first % (uint64_t)per_group), left = d->n;
    while (left > 0) {
        int64_t groups = (skip + left + per_group - 1) / per_group;
        if (groups > GROUPS) groups = GROUPS;
        TN_K(philox_row)(d->key, d->run, group, groups, w);
        for (int64_t g = 0; g < groups; g++, skip = 0) {
            int64_t take = per_group - skip < left ? per_group - skip : left;
            fill(d, w + g * TN_GROUP_WORDS, &v);
            memcpy(out, (char *)&v + (size_t)skip * size, (size_t)take * size);
            out += (size_t)take * size, left -= take;
        }
        group += (uint64_t)groups;
    }
}

TN_INLINE uint64_t u64_of(const uint32_t *w, int i)
{
    return w[2 * i] | (uint64_t)w[2 * i + 1] << 32;
}

TN_INLINE float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

TN_INLINE double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

TN_INLINE uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

TN_INLINE uint64_t bits_of_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* x = lo + (hi - lo) u, u = top 24 (53) bits / 2^24 (2^53). Where the sum rounds up to hi, lo is
 * given instead: [lo, hi) is half open, and it is as rare as u = 0. */
TN_INLINE void uniform_f32(const tn__draw *d, const uint32_t *w, void *v)
{
    float *x = (float *)v, lo = (float)d->a, hi = (float)d->b, range = (float)(d->b - d->a);
    for (int i = 0; i < TN_GROUP_WORDS; i++) {
        float y = lo + range * ((float)(int32_t)(w[i] >> 8) * 0x1p-24f);
        x[i] = y < hi ? y : lo;
    }
}

TN_INLINE void uniform_f64(const tn__draw *d, const uint32_t *w, void *v)
{
    double *x = (double *)v, lo = d->a, hi = d->b, range = hi - lo;
    for (int i = 0; i < TN_GROUP_U64S; i++) {
        double y = lo + range * ((double)(int64_t)(u64_of(w, i) >> 11) * 0x1p-53);
        x[i] = y < hi ? y : lo;
    }
}

/* Box and Muller 1958: r = sqrt(-2 log u) at a uniform angle has independent normal coordinates.
 * They go to elements i and i + 16 of the group's 32 (f64: 32 elements; f32: twice 32).
 *
 * log u = e log 2 + 2 atanh(s), s = (m - 1) / (m + 1), u = 2^e m, m in [1/sqrt 2, sqrt 2).
 * The angle's top two bits are the quadrant; the others, signed, are t in [-pi/4, pi/4), whose sine
 * and cosine are Taylor's polynomials. Each series stops below half an ulp. */
TN_INLINE void normal_pair_f32(uint32_t wr, uint32_t wa, float *x, float *y)
{
    float    u = ((float)(int32_t)(wr >> 1) + 0.5f) * 0x1p-31f; /* in (0, 1] */
    int32_t  e = ((int32_t)bits_of(u) - 0x3f3504f3) >> 23;      /* bits of 1/sqrt 2 */
    float    m = float_of(bits_of(u) - ((uint32_t)e << 23));
    float    s = (m - 1) / (m + 1), z = s * s;
    float    p = 1 + z * (1.0f / 3 + z * (1.0f / 5 + z * (1.0f / 7 + z * (1.0f / 9))));
    float    log_u = (float)e * 0x1.62e430p-1f + 2 * s * p;
    float    r = __builtin_sqrtf(-2 * log_u);
    float    t = (float)(int32_t)(wa << 2) * (0x1.921fb6p-1f * 0x1p-31f), tt = t * t;
    float    sine = 1.0f / 362880, cosine = 1.0f / 40320;
    sine = sine * tt - 1.0f / 5040, cosine = cosine * tt - 1.0f / 720;
    sine = sine * tt + 1.0f / 120, cosine = cosine * tt + 1.0f / 24;
    sine = sine * tt - 1.0f / 6, cosine = cosine * tt - 0.5f;
    sine = t + t * tt * sine, cosine = 1 + tt * cosine;
    uint32_t q = wa >> 30, ab = bits_of(cosine), bb = bits_of(sine);
    uint32_t swap = (ab ^ bb) & (0 - (q & 1)); /* quadrant 0: c, s; 1: -s, c; 2: -c, -s; 3: s, -c */
    *x = r * float_of(ab ^ swap ^ ((q + 1) >> 1 & 1) << 31);
    *y = r * float_of(bb ^ swap ^ (q >> 1) << 31);
}

TN_INLINE void normal_pair_f64(uint64_t wr, uint64_t wa, double *x, double *y)
{
    double   u = ((double)(int64_t)(wr >> 11) + 0.5) * 0x1p-53;
    int64_t  e = (int64_t)(bits_of_double(u) - UINT64_C(0x3fe6a09e667f3bcd)) >> 52;
    double   m = double_of(bits_of_double(u) - ((uint64_t)e << 52));
    double   s = (m - 1) / (m + 1), z = s * s, p = 1.0 / 23, sine = -1.0 / 1307674368000;
    for (int k = 21; k > 0; k -= 2) p = p * z + 1.0 / k;
    double log_u = (double)e * 0x1.62e42fefa39efp-1 + 2 * s * p;
    double r = __builtin_sqrt(-2 * log_u);
    double t = (double)((int64_t)(wa << 2) >> 11) * (0x1.921fb54442d18p-1 * 0x1p-52), tt = t * t;
    double cosine = 1.0 / 20922789888000;
    sine = sine * tt + 1.0 / 6227020800, cosine = cosine * tt - 1.0 / 87178291200;
    sine = sine * tt - 1.0 / 39916800, cosine = cosine * tt + 1.0 / 479001600;
    sine = sine * tt + 1.0 / 362880, cosine = cosine * tt - 1.0 / 3628800;
    sine = sine * tt - 1.0 / 5040, cosine = cosine * tt + 1.0 / 40320;
    sine = sine * tt + 1.0 / 120, cosine = cosine * tt - 1.0 / 720;
    sine = sine * tt - 1.0 / 6, cosine = cosine * tt + 1.0 / 24;
    sine = t + t * tt * sine, cosine = 1 + tt * (cosine * tt - 0.5);
    uint64_t q = wa >> 62, ab = bits_of_double(cosine), bb = bits_of_double(sine);
    uint64_t swap = (ab ^ bb) & (0 - (q & 1));
    *x = r * double_of(ab ^ swap ^ ((q + 1) >> 1 & 1) << 63);
    *y = r * double_of(bb ^ swap ^ (q >> 1) << 63);
}

TN_INLINE void normal_f32(const tn__draw *d, const uint32_t *w, void *v)
{
    float *x = (float *)v, mean = (float)d->a, std = (float)d->b;
    for (int h = 0; h < TN_GROUP_WORDS; h += 32)
        for (int i = h; i < h + 16; i++) {
            float a, b;
            normal_pair_f32(w[i], w[16 + i], &a, &b);
            x[i] = mean + std * a, x[16 + i] = mean + std * b;
        }
}

TN_INLINE void normal_f64(const tn__draw *d, const uint32_t *w, void *v)
{
    double *x = (double *)v, mean = d->a, std = d->b;
    for (int i = 0; i < 16; i++) {
        double a, b;
        normal_pair_f64(u64_of(w, i), u64_of(w, 16 + i), &a, &b);
        x[i] = mean + std * a, x[16 + i] = mean + std * b;
    }
}

/* Even elements are low halves and odd ones high halves: written so, both vectorise. */
TN_INLINE void bernoulli(const tn__draw *d, const uint32_t *w, void *v)
{
    uint16_t      *x = (uint16_t *)v; /* two answers each, the first in the lower address */
    const uint32_t threshold = tn__threshold16(d->a);
    for (int i = 0; i < TN_GROUP_WORDS; i++) {
        uint32_t even = (w[i] & 0xffff) < threshold, odd = w[i] >> 16 < threshold;
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x[i] = (uint16_t)(even << 8 | odd);
#else
        x[i] = (uint16_t)(odd << 8 | even);
#endif
    }
}

void TN_K(random_uniform_f32)(const tn__draw *d) { fill_range(d, 64, 4, uniform_f32); }
void TN_K(random_uniform_f64)(const tn__draw *d) { fill_range(d, 32, 8, uniform_f64); }
void TN_K(random_normal_f32)(const tn__draw *d) { fill_range(d, 64, 4, normal_f32); }
void TN_K(random_normal_f64)(const tn__draw *d) { fill_range(d, 32, 8, normal_f64); }
void TN_K(random_bernoulli)(const tn__draw *d) { fill_range(d, 128, 1, bernoulli); }
