/* Looking for the largest of a row, and the logarithm of the sum of its exponentials, in two passes
 * over it: the maxima of interleaved parts promise that so many are not less than one of them;
 * those are found while the exponentials are added. */
#include "tensor/kernels/top.h"
#include "tensor/kernels/simd.h"
#include "tensor/stream.h"

#include <math.h>
#include <string.h>

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

#if !defined __AVX2__

__attribute__((noinline)) static uint32_t TN_R(lanes_from)(const T *lane, T x)
{
    uint32_t bits = 0;
    for (int i = 0; i < v_lanes; i++) bits |= (uint32_t)(lane[i] >= x) << i;
    return bits;
}

__attribute__((noinline)) static uint32_t TN_R(lanes_above)(const T *lane, T x)
{
    uint32_t bits = 0;
    for (int i = 0; i < v_lanes; i++) bits |= (uint32_t)(lane[i] > x) << i;
    return bits;
}

#endif

/* A bit for each lane that is larger, or just as large if is_equal; NaN is neither. */
TN_INLINE uint32_t TN_R(lanes_over)(vec a, T x, const bool is_equal)
{
    uint32_t bits = 0;
#if defined __AVX512F__
    const vec b = v_set(x);
    bits = is_equal ? (uint32_t)TN_CAT(TN__MM(cmp), mask)(a.r[0], b.r[0], _CMP_GE_OQ)
                    : (uint32_t)TN_CAT(TN__MM(cmp), mask)(a.r[0], b.r[0], _CMP_GT_OQ);
#elif defined __AVX2__
    const vec b = v_set(x);
    for (int r = 0; r < 2; r++)
        bits |= (uint32_t)TN__MM(movemask)(is_equal ? TN__MM(cmp)(a.r[r], b.r[r], _CMP_GE_OQ)
                                                    : TN__MM(cmp)(a.r[r], b.r[r], _CMP_GT_OQ))
                << r * (v_lanes / 2);
#else
    const T *lane = (const T *)(const void *)&a;
    bits = is_equal ? TN_R(lanes_from)(lane, x) : TN_R(lanes_above)(lane, x);
#endif
    return bits;
}

/* The same of 4 v_lanes numbers. */
TN_INLINE uint64_t TN_R(all_over)(const T *p, T x)
{
    uint64_t bits = 0;
    for (int k = 0; k < 4; k++)
        bits |= (uint64_t)TN_R(lanes_over)(v_load(p + k * v_lanes), x, true) << k * v_lanes;
    return bits;
}

/* The k-th largest of the parts' maxima: not above the k-th largest of all, and not far below, so
 * that few are left to pick from. Parts are put together while there are three times as many as
 * that. -inf: k is too large for looking to pay. */
TN_INLINE T TN_R(bound)(vec *most, int64_t k, int64_t n)
{
    T   lanes[4 * v_lanes], best = (T)-INFINITY;
    int vecs = 4;
    if (k > 4 * v_lanes || 8 * k > n) return best;
    for (; vecs > 1 && vecs * v_lanes >= 3 * k; vecs /= 2)
        for (int i = 0; i < vecs / 2; i++) most[i] = v_max(most[i], most[i + vecs / 2]);
    for (int i = 0; i < vecs; i++) v_store(lanes + i * v_lanes, most[i]);
    for (int l = 0; l < vecs * v_lanes; l++) { /* the largest that k of them reach */
        int reach = 0;
        for (int i = 0; i < vecs; i++)
            reach += __builtin_popcount(TN_R(lanes_over)(most[i], lanes[l], true));
        const T x = reach >= k ? lanes[l] : (T)-INFINITY;
        best = x > best ? x : best;
    }
    return best;
}

/* Asks for two of the four cache lines of the next row that lie like these at i. */
TN_INLINE void TN_R(ask_for_next)(const struct tn__top *t, int64_t i)
{
    const char *next = (const char *)((const T *)t->x + t->n + i);
    __builtin_prefetch(next), __builtin_prefetch(next + TN_LINE);
}

/* y = x + bias, and the bound of what is to be found. NaN is no number here. */
void TN_KR(top_lanes)(struct tn__top *t)
{
    const T  none = (T)-INFINITY;
    const T *x = t->x, *bias = t->bias;
    vec      most[4] = { v_set(none), v_set(none), v_set(none), v_set(none) };
    T       *y = t->y;
    int64_t  i = 0;
    for (; i + 4 * v_lanes <= t->n; i += 4 * v_lanes) {
        TN_R(ask_for_next)(t, i);
        for (int k = 0; k < 4; k++) {
            vec a = v_load(x + i + k * v_lanes);
            if (bias) v_store(y + i + k * v_lanes, a = v_add(a, v_load(bias + i + k * v_lanes)));
            most[k] = v_max(a, most[k]);
        }
    }
    for (; i < t->n; i += v_lanes) {
        vec a = v_load_part(x + i, t->n - i, none);
        if (bias) v_store_part(y + i, t->n - i, a = v_add(a, v_load_part(bias + i, t->n - i, 0)));
        most[0] = v_max(a, most[0]);
    }
    const T max = v_hmax(v_max(v_max(most[0], most[1]), v_max(most[2], most[3])));
    t->shift = max == none ? 0 : (double)tn__floor(max);
    t->least = (double)TN_R(bound)(most, t->k, t->n);
}

/* Puts down i + where the bits are; how many have been found. Two are put down in any case, since
 * nobody can foresee whether there are some: more are rare. */
TN_INLINE int64_t TN_R(put_down)(const struct tn__top *t, int64_t found, int64_t i, uint64_t bits)
{
    int64_t *at = t->at + found;
    found += __builtin_popcountll(bits);
    for (int n = 0; n < 2; n++, bits &= bits - 1)
        *at++ = i + __builtin_ctzll(bits | (uint64_t)1 << 63);
    for (; bits; bits &= bits - 1) *at++ = i + __builtin_ctzll(bits);
    return found;
}

/* Where numbers from `least` on are, in rising order; returns how many. The sum is row_exp's of
 * rows.h: the same bits. The next row is asked for. */
int64_t TN_KR(top_find)(struct tn__top *t)
{
    const T  *y = t->y, least = (T)t->least;
    const vec shift = v_set((T)t->shift);
    vec       s[4] = { v_set(0), v_set(0), v_set(0), v_set(0) };
    int64_t   i = 0, found = 0;
    for (; i + 4 * v_lanes <= t->n; i += 4 * v_lanes) {
        TN_R(ask_for_next)(t, i + 2 * v_lanes);
        found = TN_R(put_down)(t, found, i, TN_R(all_over)(y + i, least));
        if (t->with_sum)
            for (int k = 0; k < 4; k++)
                s[k] = v_add(s[k], v_exp(v_sub(v_load(y + i + k * v_lanes), shift)));
    }
    for (; i < t->n; i += v_lanes) {
        const vec b = v_load_part(y + i, t->n - i, (T)-INFINITY);
        uint32_t  bits = TN_R(lanes_over)(b, least, true);
        for (; bits; bits &= bits - 1) t->at[found++] = i + __builtin_ctz(bits);
        if (t->with_sum) s[0] = v_add(s[0], v_exp(v_sub(b, shift)));
    }
    if (t->with_sum)
        t->log_sum = (double)tn__log(v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3]))));
    return found;
}

/* The k largest of those that were found, at most TN_TOP_FOUND, falling; of equal ones the first
 * comes first. Each goes where as many are before it: nothing is moved, and no branch is wrong. */
void TN_KR(top_pick)(const struct tn__top *t, int64_t found, void *values, int64_t *positions)
{
    const T *y = t->y;
    T        x[TN_TOP_FOUND], sorted[TN_TOP_FOUND], *out = values;
    int64_t  place[TN_TOP_FOUND];
    for (int64_t i = 0; i < found; i++) x[i] = y[t->at[i]];
    for (int64_t i = found; i < TN_TOP_FOUND; i++) x[i] = (T)NAN;
    for (int64_t i = 0; i < found; i++) {
        int64_t before = 0;
        for (int64_t j = 0; j < found; j += v_lanes) {
            const vec      a = v_load(x + j);
            const uint64_t earlier = i <= j ? 0 : ~(uint64_t)0 >> (64 - (i - j > 63 ? 63 : i - j));
            before += __builtin_popcountll((TN_R(lanes_over)(a, x[i], true) & earlier) |
                                           TN_R(lanes_over)(a, x[i], false));
        }
        sorted[before] = x[i], place[before] = t->at[i];
    }
    memcpy(out, sorted, (size_t)t->k * sizeof(T));
    memcpy(positions, place, (size_t)t->k * sizeof *place);
}

#endif
