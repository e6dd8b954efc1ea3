/* Moving memory: memcpy past the caches with the widest stores of the level, a line in one store if
 * they can; and tiles of a transpose. */
#include "tensor/kernels/kernels.h"
#include "tensor/stream.h"

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

typedef uint32_t word4 __attribute__((vector_size(16)));

TN_INLINE void transpose_4x4(char *dst, int64_t a, const char *src, int64_t b)
{
    word4 r0, r1, r2, r3;
    memcpy(&r0, src, 16), memcpy(&r1, src + b, 16);
    memcpy(&r2, src + 2 * b, 16), memcpy(&r3, src + 3 * b, 16);
    word4 p0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    word4 p1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    word4 p2 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    word4 p3 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    r0 = __builtin_shufflevector(p0, p1, 0, 1, 4, 5);
    r1 = __builtin_shufflevector(p0, p1, 2, 3, 6, 7);
    r2 = __builtin_shufflevector(p2, p3, 0, 1, 4, 5);
    r3 = __builtin_shufflevector(p2, p3, 2, 3, 6, 7);
    memcpy(dst, &r0, 16), memcpy(dst + a, &r1, 16);
    memcpy(dst + 2 * a, &r2, 16), memcpy(dst + 3 * a, &r3, 16);
}

void TN_K(transpose_32)(void *dst, int64_t a, const void *src, int64_t b)
{
    for (int j = 0; j < 16; j += 4)
        for (int i = 0; i < 16; i += 4)
            transpose_4x4((char *)dst + i * a + 4 * j, a, (const char *)src + j * b + 4 * i, b);
}

#endif
