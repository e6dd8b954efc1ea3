/* Looking for the largest of a row, and the logarithm of the sum of its exponentials, in two passes
 * over it: the maxima of interleaved parts promise that so many are not less than one of them;
 * those are found while the exponentials are added. */
#include "tensor/kernels/top.h"
#include "tensor/kernels/simd.h"

#include <math.h>

#ifndef TN_REAL
#  define TN_REAL f32
#  define TN__P   ps /* for TN__MM of simd.h */
#  include "tensor/kernels/top.c"
#  undef TN_REAL
#  undef TN__P
#  define TN_REAL f64
#  define TN__P   pd
#  include "tensor/kernels/top.c"
#else

/* A bit for each lane that is not less; NaN is. */
TN_INLINE uint32_t TN_R(lanes_from)(vec a, T least)
{
    uint32_t bits = 0;
#if defined __AVX512F__
    bits = (uint32_t)TN_CAT(TN__MM(cmp), mask)(a.r[0], v_set(least).r[0], _CMP_GE_OQ);
#elif defined __AVX2__
    for (int r = 0; r < 2; r++)
        bits |= (uint32_t)TN__MM(movemask)(TN__MM(cmp)(a.r[r], v_set(least).r[r], _CMP_GE_OQ))
                << r * (v_lanes / 2);
#else
    for (int i = 0; i < v_lanes; i++)
        bits |= (uint32_t)(((const T *)(const void *)&a)[i] >= least) << i;
#endif
    return bits;
}

/* y = x + bias, and the largest of each part. NaN is no number here. */
void TN_KR(top_lanes)(struct tn__top *t)
{
    const T  none = (T)-INFINITY;
    const T *x = t->x, *bias = t->bias;
    vec      most[4] = { v_set(none), v_set(none), v_set(none), v_set(none) };
    T       *y = t->y, lanes[4 * v_lanes];
    int64_t  i = 0;
    for (; i + 4 * v_lanes <= t->n; i += 4 * v_lanes)
        for (int k = 0; k < 4; k++) {
            vec a = v_load(x + i + k * v_lanes);
            if (bias) v_store(y + i + k * v_lanes, a = v_add(a, v_load(bias + i + k * v_lanes)));
            most[k] = v_max(a, most[k]);
        }
    for (; i < t->n; i += v_lanes) {
        vec a = v_load_part(x + i, t->n - i, none);
        if (bias) v_store_part(y + i, t->n - i, a = v_add(a, v_load_part(bias + i, t->n - i, 0)));
        most[0] = v_max(a, most[0]);
    }
    for (int k = 0; k < 4; k++) v_store(lanes + k * v_lanes, most[k]);
    for (int l = 0; l < TN_TOP_LANES; l++)
        t->most[l] = l < 4 * v_lanes ? (double)lanes[l] : (double)none;
    const T max = v_hmax(v_max(v_max(most[0], most[1]), v_max(most[2], most[3])));
    t->shift = max == none ? 0 : (double)tn__floor(max);
}

/* Puts down where the lanes are that are not less; how many have been found. */
TN_INLINE int64_t TN_R(put_down)(const struct tn__top *t, int64_t found, int64_t i, vec a)
{
    for (uint32_t bits = TN_R(lanes_from)(a, (T)t->least); bits; bits &= bits - 1)
        t->at[found++] = i + __builtin_ctz(bits);
    return found;
}

/* Where numbers from `least` on are, in rising order; returns how many. The sum is row_exp's of
 * rows.h: the same bits. */
int64_t TN_KR(top_find)(struct tn__top *t)
{
    const T  *y = t->y, least = (T)t->least;
    const vec shift = v_set((T)t->shift);
    vec       s[4] = { v_set(0), v_set(0), v_set(0), v_set(0) };
    int64_t   i = 0, found = 0;
    for (; i + 4 * v_lanes <= t->n; i += 4 * v_lanes) {
        vec      a[4];
        uint32_t any = 0;
        for (int k = 0; k < 4; k++) a[k] = v_load(y + i + k * v_lanes);
        for (int k = 0; k < 4; k++) any |= TN_R(lanes_from)(a[k], least);
        if (any)
            for (int k = 0; k < 4; k++) found = TN_R(put_down)(t, found, i + k * v_lanes, a[k]);
        if (t->with_sum)
            for (int k = 0; k < 4; k++) s[k] = v_add(s[k], v_exp(v_sub(a[k], shift)));
    }
    for (; i < t->n; i += v_lanes) {
        const vec a = v_load_part(y + i, t->n - i, (T)NAN);
        found = TN_R(put_down)(t, found, i, a);
        const vec b = v_load_part(y + i, t->n - i, (T)-INFINITY);
        if (t->with_sum) s[0] = v_add(s[0], v_exp(v_sub(b, shift)));
    }
    t->log_sum = (double)tn__log(v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3]))));
    return found;
}

#endif
