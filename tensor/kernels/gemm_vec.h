/* Vectors of T at this level, for the template gemm_tile.h: included once per dtype, with T, NAME
 * and F64 (or not) defined. v_fma(a, b, c) is a b + c, rounded once where the level has fused
 * multiply-add. A PART is the number of lanes in use, in the form that masked accesses want.
 *
 * The largest tile is MR x NV vectors, sized for the level's registers; WIDE(m) is the best number
 * of vectors for m rows, and TILES_WIDE(X) lists, as X(vectors, rows), the tiles wider than NV;
 * other widths are left to two tiles. Where there is a NV_WIDE, panels of NV_WIDE vectors and of
 * half as many again serve products of many rows (A by rows: TILES_ROWS), too, in strips of
 * ROWS_WIDE: fewer loads and instructions come to a multiply-add than in MR x NV. A large tile
 * fetches a line of what is ahead in each TURN steps of k; TILES_BY_HAND says that the largest ones
 * are not left to the compiler (strips.h).
 *
 * A transposition starts from v_quads(p, o): 16-byte pieces at p[0] + o, p[1] + o, .. side by side;
 * v_lo and v_hi interleave lanes of two vectors within these pieces, v_lo2 and v_hi2 pairs. */

#include "tensor/kernels/strips.h"

#if defined __AVX512F__

#  define MR 14
#  define NV 2
#  define HAS_PART_LOADS true
#  define TURN 2
#  define PARTS_ARE_FREE /* masks cost nothing: tiles of a part of a vector serve whole ones too */
#  ifdef F64
#    define VEC     __m512d
#    define LANES   8
#    define PART    __mmask8
#    define V_(f)   _mm512_##f##_pd
#    define WIDE(m) ((m) <= 6 ? 4 : (m) <= 9 ? 3 : 2)
#    define TILES_WIDE(X)                                                                          \
        X(3, 1) X(4, 1) X(3, 2) X(4, 2) X(3, 3) X(4, 3) X(3, 4) X(4, 4) X(3, 5) X(4, 5) X(3, 6)    \
        X(4, 6) X(3, 7) X(3, 8) X(3, 9)
#    define v_first(p)        _mm512_castpd128_pd512(_mm_loadu_pd(p))
#    define v_insert(v, p, n) _mm512_insertf64x2(v, _mm_loadu_pd(p), n)
#  else
#    define VEC     __m512
#    define LANES   16
#    define PART    __mmask16
#    define V_(f)   _mm512_##f##_ps
#    define NV_WIDE 4 /* of doubles neither these nor the widest would be worth their code */
#    define ROWS_WIDE(nv) ((nv) == 4 ? 6 : (nv) == 6 ? 4 : 0)
#    define WIDE(m) ((m) <= 2 ? 8 : (m) <= 4 ? 6 : (m) <= 6 ? 4 : 2)
#    ifdef STRIPS_BY_HAND
#      define TILES_BY_HAND
#      define TILES_LARGEST(X)
#    else
#      define TILES_LARGEST(X) X(4, 5) X(4, 6)
#    endif
#    define TILES_ROWS(X)                                                                          \
        X(3, 1) X(4, 1) X(6, 1) X(3, 2) X(4, 2) X(6, 2) X(3, 3) X(4, 3) X(6, 3) X(3, 4) X(4, 4)    \
        X(6, 4) X(3, 5) X(3, 6) TILES_LARGEST(X)
#    define TILES_WIDE(X) TILES_ROWS(X) X(8, 1) X(8, 2)
#    define v_first(p)        _mm512_castps128_ps512(_mm_loadu_ps(p))
#    define v_insert(v, p, n) _mm512_insertf32x4(v, _mm_loadu_ps(p), n)
#    define v_lo2(a, b)                                                                            \
        _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#    define v_hi2(a, b)                                                                            \
        _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#  endif
#  define v_quads(p, o)                                                                            \
      v_insert(v_insert(v_insert(v_first((p)[0] + (o)), (p)[1] + (o), 1), (p)[2] + (o), 2),        \
               (p)[3] + (o), 3)
#  define v_part(n)             ((PART)((1u << (n)) - 1))
#  define v_load_part(p, m)     V_(maskz_loadu)(m, p)
#  define v_store_part(p, m, v) V_(mask_storeu)(p, m, v)

#elif defined __AVX2__ && defined __FMA__

#  define MR 6
#  define NV 2
#  define HAS_PART_LOADS true
#  define WIDE(m) ((m) <= 1 ? 8 : (m) <= 3 ? 4 : (m) <= 4 ? 3 : 2)
#  define TILES_WIDE(X)                                                                            \
      X(3, 1) X(4, 1) X(6, 1) X(8, 1) X(4, 2) X(4, 3) X(3, 4)
#  ifdef F64
#    define TURN    2
#    define VEC     __m256d
#    define LANES   4
#    define V_(f)   _mm256_##f##_pd
#    define v_first(p)        _mm256_castpd128_pd256(_mm_loadu_pd(p))
#    define v_insert(v, p, n) _mm256_insertf128_pd(v, _mm_loadu_pd(p), n)
#    define v_part(n)                                                                              \
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3))
#  else
#    define TURN    4
#    ifdef STRIPS_BY_HAND
#      define TILES_BY_HAND
#    endif
#    define VEC     __m256
#    define LANES   8
#    define V_(f)   _mm256_##f##_ps
#    define v_first(p)        _mm256_castps128_ps256(_mm_loadu_ps(p))
#    define v_insert(v, p, n) _mm256_insertf128_ps(v, _mm_loadu_ps(p), n)
#    define v_lo2(a, b)                                                                            \
        _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#    define v_hi2(a, b)                                                                            \
        _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#    define v_part(n)                                                                              \
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#  endif
#  define PART                  __m256i
#  define v_quads(p, o)         v_insert(v_first((p)[0] + (o)), (p)[1] + (o), 1)
#  define v_load_part(p, m)     V_(maskload)(p, m)
#  define v_store_part(p, m, v) V_(maskstore)(p, m, v)

#else /* 16-byte vectors of the compiler's own */

#  if defined __aarch64__
#    define MR 8
#    define NV 3
#    define WIDE(m) ((m) <= 2 ? 8 : (m) <= 4 ? 6 : (m) <= 6 ? 4 : 3)
#    define TILES_WIDE(X)                                                                          \
        X(4, 1) X(6, 1) X(8, 1) X(4, 2) X(6, 2) X(8, 2) X(4, 3) X(6, 3) X(4, 4) X(6, 4) X(4, 5)    \
        X(4, 6)
#  else
#    define MR 6
#    define NV 2
#    define WIDE(m) ((m) <= 1 ? 8 : (m) <= 2 ? 4 : 2)
#    define TILES_WIDE(X) X(3, 1) X(4, 1) X(6, 1) X(8, 1) X(3, 2) X(4, 2)
#  endif
#  define HAS_PART_LOADS false
#  define TURN 2
#  define LANES (16 / (int)sizeof(T))
#  define VEC   NAME(v128)
#  define PART  int
typedef T VEC __attribute__((vector_size(16)));

TN_INLINE VEC NAME(v_load128)(const T *p)
{
    VEC v;
    memcpy(&v, p, sizeof v);
    return v;
}

TN_INLINE void NAME(v_store128)(T *p, VEC v) { memcpy(p, &v, sizeof v); }

static VEC NAME(v_load_part128)(const T *p, int n)
{
    VEC v = { 0 };
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}

static void NAME(v_store_part128)(T *p, int n, VEC v)
{
    for (int i = 0; i < n; i++) p[i] = v[i];
}

#  define v_load                NAME(v_load128)
#  define v_store               NAME(v_store128)
#  define v_part(n)             ((int)(n))
#  define v_load_part(p, m)     NAME(v_load_part128)(p, m)
#  define v_store_part(p, m, v) NAME(v_store_part128)(p, m, v)
#  define v_zero()              ((VEC){ 0 })
#  define v_all(x)              (((VEC){ 0 }) + (x))
#  define v_mul(a, b)           ((a) * (b))
#  define v_quads(p, o)         v_load((p)[0] + (o))
#  ifdef F64
#    define v_lo(a, b)  __builtin_shufflevector(a, b, 0, 2)
#    define v_hi(a, b)  __builtin_shufflevector(a, b, 1, 3)
#    define V_NEON(f)   f##_f64
#  else
#    define v_lo(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#    define v_hi(a, b)  __builtin_shufflevector(a, b, 2, 6, 3, 7)
#    define v_lo2(a, b) __builtin_shufflevector(a, b, 0, 1, 4, 5)
#    define v_hi2(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#    define V_NEON(f)   f##_f32
#  endif
#  if defined __aarch64__
#    define v_fma(a, b, c) ((VEC)V_NEON(vfmaq)(c, b, a))
#  else
#    define v_fma(a, b, c) ((a) * (b) + (c))
#  endif

#endif

#ifdef V_ /* the same names on the x86 levels */
#  ifdef F64
#    define V_FMA_NAME "vfmadd231pd"
#  else
#    define V_FMA_NAME "vfmadd231ps"
#  endif
#  define v_load(p)      V_(loadu)(p)
#  define v_store(p, v)  V_(storeu)(p, v)
#  define v_zero()       V_(setzero)()
#  define v_all(x)       V_(set1)(x)
#  define v_mul(a, b)    V_(mul)(a, b)
#  define v_fma(a, b, c) V_(fmadd)(a, b, c)
#  define v_lo(a, b)     V_(unpacklo)(a, b)
#  define v_hi(a, b)     V_(unpackhi)(a, b)
#endif
