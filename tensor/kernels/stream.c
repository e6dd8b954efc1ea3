/* Moving memory: memcpy past the caches with the widest stores of the level, a line in one store if
 * they can; and tiles of a transpose. */
#include "tensor/kernels/kernels.h"
#include "tensor/stream.h"
#include "tensor/transpose.h"

void TN_K(stream)(void *to, const void *from, size_t bytes, const char *const *ahead, int n_ahead)
{
    tn__stream(to, from, bytes, ahead, n_ahead);
}

void TN_K(stream_near)(void *to, const void *from, size_t bytes, const char *const *ahead,
                       int n_ahead)
{
    tn__stream_to(to, from, bytes, ahead, n_ahead, true);
}

/* ---- transposing ----------------------------------------------------------------------------- */

#if defined __AVX2__

/* 8 x 8: halves of rows j and j + 4 in one register, then pairs of rows, then pairs of those. */
TN_INLINE void transpose_8x8(char *dst, int64_t a, const char *src, int64_t b)
{
    for (int half = 0; half < 2; half++, src += 16, dst += 4 * a) {
        __m256 r[4];
        for (int j = 0; j < 4; j++)
            r[j] = _mm256_insertf128_ps(
                _mm256_castps128_ps256(_mm_loadu_ps((const float *)(const void *)(src + j * b))),
                _mm_loadu_ps((const float *)(const void *)(src + (j + 4) * b)), 1);
        const __m256 p0 = _mm256_unpacklo_ps(r[0], r[1]), p1 = _mm256_unpacklo_ps(r[2], r[3]);
        const __m256 q0 = _mm256_unpackhi_ps(r[0], r[1]), q1 = _mm256_unpackhi_ps(r[2], r[3]);
        _mm256_storeu_ps((float *)(void *)dst, _mm256_shuffle_ps(p0, p1, 0x44));
        _mm256_storeu_ps((float *)(void *)(dst + a), _mm256_shuffle_ps(p0, p1, 0xee));
        _mm256_storeu_ps((float *)(void *)(dst + 2 * a), _mm256_shuffle_ps(q0, q1, 0x44));
        _mm256_storeu_ps((float *)(void *)(dst + 3 * a), _mm256_shuffle_ps(q0, q1, 0xee));
    }
}

/* Both halves of a cache line of src at once: its rows may share a set of the first cache. */
void TN_K(transpose_32)(void *dst, int64_t a, const void *src, int64_t b)
{
    for (int j = 0; j < 16; j += 8)
        for (int i = 0; i < 16; i += 8)
            transpose_8x8((char *)dst + i * a + 4 * j, a, (const char *)src + j * b + 4 * i, b);
}

#else

void TN_K(transpose_32)(void *dst, int64_t a, const void *src, int64_t b)
{
    for (int j = 0; j < 16; j += 4)
        for (int i = 0; i < 16; i += 4)
            tn__transpose_4x4((char *)dst + i * a + 4 * j, a, (const char *)src + j * b + 4 * i, b);
}

#endif
