/* Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
 * easy as 1, 2, 3"). A number is a pure function of (seed, stream, run, element), so any part of a
 * sequence can be made by any thread, again, in any order. */
#ifndef TN_TENSOR_RANDOM_H
#define TN_TENSOR_RANDOM_H

#include "tensor/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One call of the generator: 128 bits of counter and 64 of key to 128 random bits. */
TN_API void tn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Which sequence: key = mix(seed, stream); counter = (element block, run). */
typedef struct tn_rng {
    uint64_t seed, stream, run;
} tn_rng;

/* 64-bit hash of a string (FNV-1a, then a finaliser), starting from h: the stream of a name. */
TN_API uint64_t tn_hash_text(uint64_t h, const char *text);

/* Fill out[0..n) of dtype f32 or f64 (others, and NULL: left alone) with elements first ..
 * first + n - 1 of the sequence. The same bits on every CPU, and however a range is split. */
TN_API void tn_random_uniform(tn_rng rng, int64_t first, int64_t n, tn_dtype dtype, void *out,
                              double lo, double hi); /* [lo, hi) */
TN_API void tn_random_normal(tn_rng rng, int64_t first, int64_t n, tn_dtype dtype, void *out,
                             double mean, double std);
/* P(1) = p, rounded to a multiple of 1 / 65536 */
TN_API void tn_random_bernoulli(tn_rng rng, int64_t first, int64_t n, uint8_t *out, double p);

TN_API void     tn_random_permutation(tn_rng rng, int64_t n, int64_t *out); /* of 0 .. n-1 */
TN_API uint64_t tn_random_u64(tn_rng rng, int64_t element);                 /* one raw element */

#ifdef __cplusplus
}
#endif
#endif
