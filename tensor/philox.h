/* The random sequence that everything random is made from. Internal: a kernel that draws (dropout)
 * calls the philox_row of its own level, and the mapping below is the same for all of them.
 *
 * A sequence is named by key = tn__rng_key(seed, stream) and run. It is one row of 32-bit words,
 *
 *     W[i] = word (i / 16) % 4 of Philox4x32-10(counter, key), counter.block = i / 64 * 16 + i % 16
 *
 * that is, 16 blocks at a time: their first words, then their second words, and so on, so that a
 * vector holds the same word of neighbouring blocks and nothing has to be shuffled. 16 blocks are a
 * group. counter = { block low, block high, run low, run high }; key = { low, high }. Element e is
 *
 *     of 16 bits  H[e] = half e % 2 of W[e / 2], the low half first      (dropout, bernoulli)
 *     of 32 bits  W[e]
 *     of 64 bits  U[e] = W[2 e] + 2^32 W[2 e + 1]
 *
 * An event of probability p happens at e if H[e] < tn__threshold16(p) = round(65536 p). Dropout of
 * probability p keeps e if not. */
#ifndef TN_TENSOR_PHILOX_H
#define TN_TENSOR_PHILOX_H

#include "tensor/base.h"

/* Elements in a group. */
enum { TN_GROUP_WORDS = 64, TN_GROUP_HALVES = 128, TN_GROUP_U64S = 32 };

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection that mixes all bits. */
TN_INLINE uint64_t tn__mix64(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* With one seed, different streams never share a key, nor different seeds with one stream. */
TN_INLINE uint64_t tn__rng_key(uint64_t seed, uint64_t stream)
{
    return tn__mix64(tn__mix64(seed + UINT64_C(0x9e3779b97f4a7c15)) ^ stream);
}

TN_INLINE uint32_t tn__threshold16(double p)
{
    return p >= 1 ? 65536 : p > 0 ? (uint32_t)(p * 65536 + 0.5) : 0;
}

/* Philox 4x32-10: ten rounds of two 32 x 32 -> 64 bit products (Salmon et al. 2011, 3.3). */
TN_INLINE void tn__philox4x32(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    uint32_t c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c0 * 0xd2511f53u, p1 = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u, k1 += 0xbb67ae85u;
    }
    c[0] = c0, c[1] = c1, c[2] = c2, c[3] = c3;
}

/* The 16-bit elements of a row of words made by philox_row: half(w, e) = H[128 group + e]. */
TN_INLINE uint32_t tn__half(const uint32_t *w, int64_t e)
{
    return w[e >> 1] >> 16 * (e & 1) & 0xffff;
}

/* One request to a random_* kernel: elements [first, first + n) of a sequence into out. a and b are
 * lo and hi, mean and standard deviation, or the probability. */
typedef struct tn__draw {
    uint64_t key, run, first;
    int64_t  n;
    void    *out;
    double   a, b;
} tn__draw;

#endif
