/* Vectors for the kernels. A `vec` is a block of 64 bytes, 16 lanes of f32 or 8 of f64, whatever
 * the registers are (one zmm, two ymm, four xmm or NEON ones): so a reduction written with it has
 * the same lanes, the same tree and the same bits on every level with fused multiply-add.
 *
 * A kernel file is a template. It includes this header, and then itself once per dtype:
 *
 *     #include "tensor/kernels/simd.h"
 *     #ifndef TN_REAL
 *     #  define TN_REAL f32
 *     #  include "tensor/kernels/softmax.c"
 *     #  undef TN_REAL
 *     #  define TN_REAL f64
 *     #  include "tensor/kernels/softmax.c"
 *     #else
 *     void TN_KR(softmax)(..) { .. }         // tn__softmax_f32_avx2, ..
 *     #endif
 *
 * In the template T is the element type, and vec and v_* belong to it. Loads and stores need no
 * alignment. The tail of a row is a block too: v_load_part fills its missing lanes with a value
 * that changes nothing (0 for a sum, -inf for a maximum). */
#ifndef TN_KERNELS_SIMD_H
#define TN_KERNELS_SIMD_H

#include "tensor/kernels/kernels.h"
#include "tensor/span.h"

/* The x87 rounds to 64 bits where vectors round to 24 or 53: gradients come out wrong. */
#if defined __i386__ && !defined __SSE2_MATH__
#  error "32-bit x86 needs -msse2 -mfpmath=sse"
#endif

#if defined __x86_64__
#  include <immintrin.h>
#elif defined __aarch64__
#  include <arm_neon.h>
#endif

/* What tensor/vmath.h asks: does this level have fused multiply-add? */
#if defined __FMA__ || defined __aarch64__
enum { tn__fused = 1 };
#else
enum { tn__fused = 0 };
#endif

/* x86-64's baseline is for machines without AVX2: its code is to be small. Blocks that are whole
 * and what is left of a row are one loop there. */
#if defined __x86_64__ && !defined __AVX2__
enum { tn__small = 1 };
#else
enum { tn__small = 0 };
#endif

#define TN_KR(name) TN_CAT(TN_CAT(tn__##name, TN_REAL), TN_LEVEL) /* tn__softmax_f32_avx2 */
#define TN_R(name)  TN_CAT(name, TN_REAL)                         /* a static helper: row_max_f32 */

#define T            TN_CAT(real, TN_REAL)
#define vec          TN_CAT(vec, TN_REAL)
#define v_lanes      TN_CAT(v_lanes, TN_REAL)      /* 16 or 8 */
#define v_set        TN_CAT(v_set, TN_REAL)        /* x in every lane */
#define v_load       TN_CAT(v_load, TN_REAL)
#define v_load_part  TN_CAT(v_load_part, TN_REAL)  /* p[0..n), 0 <= n <= v_lanes, then fill */
#define v_store      TN_CAT(v_store, TN_REAL)
#define v_store_part TN_CAT(v_store_part, TN_REAL) /* the first n lanes */
#define v_add        TN_CAT(v_add, TN_REAL)
#define v_sub        TN_CAT(v_sub, TN_REAL)
#define v_mul        TN_CAT(v_mul, TN_REAL)
#define v_div        TN_CAT(v_div, TN_REAL)
#define v_fma        TN_CAT(v_fma, TN_REAL)        /* a b + c, rounded once where the level can */
#define v_max        TN_CAT(v_max, TN_REAL)        /* a > b ? a : b, so b if either is NaN */
#define v_min        TN_CAT(v_min, TN_REAL)        /* a < b ? a : b */
#define v_drop_below TN_CAT(v_drop_below, TN_REAL) /* 0 in lanes less than a number; NaN stays */
#define v_sqrt       TN_CAT(v_sqrt, TN_REAL)
#define v_exp        TN_CAT(v_exp, TN_REAL)        /* e^x, made for x <= 0: see simd_real.h */
#define v_sum        TN_CAT(v_sum, TN_REAL)        /* pairs 8, then 4, 2, 1 apart (f64: from 4) */
#define v_hmax       TN_CAT(v_hmax, TN_REAL)       /* the largest lane, by the same tree */
#define v_hmin       TN_CAT(v_hmin, TN_REAL)

typedef float  real_f32;
typedef double real_f64;

/* n_*: one register of the level. */
#if defined __AVX512F__
#  define TN__BITS      512
#  define TN__MM(name)  TN_CAT(_mm512_##name, TN__P)
#elif defined __AVX2__
#  define TN__BITS      256
#  define TN__MM(name)  TN_CAT(_mm256_##name, TN__P)
#else
#  define TN__BITS      128
#  define TN__MM(name)  TN_CAT(_mm_##name, TN__P)
#endif

#define TN_REAL f32
#define TN__P   ps
#define TN__INT int32_t
#define TN__VQ(name) name##q_f32
#include "tensor/kernels/simd_real.h"
#undef TN_REAL
#undef TN__P
#undef TN__INT
#undef TN__VQ

#define TN_REAL f64
#define TN__P   pd
#define TN__INT int64_t
#define TN__VQ(name) name##q_f64
#include "tensor/kernels/simd_real.h"
#undef TN_REAL
#undef TN__P
#undef TN__INT
#undef TN__VQ

#endif
