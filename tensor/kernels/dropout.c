/* Dropout as a span kernel: out = in / (1 - p), or 0 where the element's 16 bits are less than
 * 65536 p. The mask is made as it is used and never stored: backward makes it again. */
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/simd.h"
#include "tensor/philox.h"

#include <string.h>

#ifndef TN_REAL

#define TN_REAL f32
#define TN__P   ps /* for TN__MM of simd.h */
#include "tensor/kernels/dropout.c"
#undef TN_REAL
#undef TN__P
#define TN_REAL f64
#define TN__P   pd
#include "tensor/kernels/dropout.c"
#undef TN_REAL
#undef TN__P

#else

/* One group: y[e] = H[e] < threshold ? 0 : x[e] scale, e in [0, 128); threshold < 65536. */
#if defined __AVX512F__

static void TN_R(drop_group)(const uint32_t *w, const T *x, T *y, uint32_t threshold, T scale)
{
    const __m512i least = _mm512_set1_epi16((short)threshold);
    const vec     c = v_set(scale);
    for (int i = 0; i < TN_GROUP_HALVES; i += 32) {
        __mmask32 keep = _mm512_cmpge_epu16_mask(_mm512_loadu_si512(w + i / 2), least);
        for (int k = 0; k < 32; k += v_lanes) {
            vec v = v_load(x + i + k);
            v.r[0] = TN__MM(maskz_mul)(keep, v.r[0], c.r[0]);
            v_store(y + i + k, v);
            keep = _kshiftri_mask32(keep, v_lanes);
        }
    }
}

#elif defined __AVX2__

static void TN_R(drop_group)(const uint32_t *w, const T *x, T *y, uint32_t threshold, T scale)
{
    const __m256i least = _mm256_set1_epi16((short)threshold);
    const vec     c = v_set(scale);
    for (int i = 0; i < TN_GROUP_HALVES; i += 16) {
        const __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(w + i / 2));
        int16_t       keep[16];
        _mm256_storeu_si256((__m256i *)(void *)keep,
                            _mm256_cmpeq_epi16(_mm256_max_epu16(h, least), h));
        for (int k = 0; k < 16; k += v_lanes) {
            vec v = v_mul(v_load(x + i + k), c);
            for (int r = 0; r < 2; r++) {
                const int16_t *m = keep + k + r * v_lanes / 2;
                const __m256i  mask =
                    sizeof(T) == 4
                         ? _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)m))
                         : _mm256_cvtepi16_epi64(_mm_loadl_epi64((const __m128i *)(const void *)m));
                const __m256i bits = _mm256_and_si256((__m256i)v.r[r], mask);
                memcpy(&v.r[r], &bits, sizeof bits);
            }
            v_store(y + i + k, v);
        }
    }
}

#else

static void TN_R(drop_group)(const uint32_t *w, const T *x, T *y, uint32_t threshold, T scale)
{
    for (int i = 0; i < TN_GROUP_WORDS; i++) {
        const T even = x[2 * i] * scale, odd = x[2 * i + 1] * scale;
        y[2 * i] = (w[i] & 0xffff) < threshold ? 0 : even;
        y[2 * i + 1] = w[i] >> 16 < threshold ? 0 : odd;
    }
}

#endif

/* Elements [skip, skip + n) of a group that is not wanted whole. */
static void TN_R(drop_part)(const uint32_t *w, const T *x, T *y, int64_t skip, int64_t n,
                            uint32_t threshold, T scale)
{
    T all[TN_GROUP_HALVES] = { 0 };
    memcpy(all + skip, x, (size_t)n * sizeof(T));
    TN_R(drop_group)(w, all, all, threshold, scale);
    memcpy(y, all + skip, (size_t)n * sizeof(T));
}

void TN_KR(dropout)(const tn_span_args *args)
{
    /* bits at once: few where making them is slow, so that it goes on while memory is waited for */
    enum { GROUPS = TN__BITS == 512 ? 8 : 2 };
    const tn__dropout *a = args->attrs;
    const uint64_t     key = tn__rng_key(args->seed, a->stream);
    const uint32_t     threshold = tn__threshold16(a->p);
    const T            scale = (T)(1 / (1 - a->p)), *x = args->in[0];
    T                 *y = args->out[0];
    uint32_t           w[GROUPS * TN_GROUP_WORDS];
    int64_t            group = args->first / TN_GROUP_HALVES, skip = args->first % TN_GROUP_HALVES;
    if (threshold > 65535) {
        memset(y, 0, (size_t)args->n * sizeof(T));
        return;
    }
    for (int64_t left = args->n; left > 0; group += GROUPS) {
        int64_t groups = (skip + left + TN_GROUP_HALVES - 1) / TN_GROUP_HALVES;
        if (groups > GROUPS) groups = GROUPS;
        TN_K(philox_row)(key, args->run, (uint64_t)group, groups, w);
        for (int64_t g = 0; g < groups; g++) {
            const int64_t take = TN_GROUP_HALVES - skip < left ? TN_GROUP_HALVES - skip : left;
            if (take == TN_GROUP_HALVES)
                TN_R(drop_group)(w + g * TN_GROUP_WORDS, x, y, threshold, scale);
            else
                TN_R(drop_part)(w + g * TN_GROUP_WORDS, x, y, skip, take, threshold, scale);
            x += take, y += take, left -= take, skip = 0;
        }
    }
}

#endif
