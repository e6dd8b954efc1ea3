/* Reductions of rows and of columns: the two loops under tensor/reduce.h, which says what trees
 * they must follow. Compiled per level, and here once per dtype. */
#include "tensor/kernels/simd.h"
#include "tensor/reduce.h"

#include <math.h>

/* Of a loop over the end of a row: it is written out, but not on x86-64's baseline, whose code is
 * to be small. */
#ifndef TAIL
#  if defined __x86_64__ && !defined __AVX2__
#    define TAIL TN_ROLLED
#  else
#    define TAIL
#  endif
#endif

#ifndef TN_REAL
#  define TN_REAL f32
#  include "tensor/kernels/reduce.c"
#  undef TN_REAL
#  define TN_REAL f64
#  include "tensor/kernels/reduce.c"
#  undef TN_REAL
#else

/* ---- one operation --------------------------------------------------------------------------- */

TN_INLINE T TN_R(neutral)(tn__reduce_kind kind)
{
    if (kind == TN__MAX) return -(T)INFINITY;
    return kind == TN__MIN ? (T)INFINITY : kind == TN__PROD ? 1 : 0;
}

/* x where it is beyond m or NaN, else m: so a NaN, once there, stays. */
TN_INLINE vec TN_R(extreme)(tn__reduce_kind kind, vec m, vec x)
{
    for (int r = 0; r < (int)(sizeof m.r / sizeof m.r[0]); r++) {
        __typeof__(m.r[0] > m.r[0]) take = kind == TN__MAX ? x.r[r] > m.r[r] : x.r[r] < m.r[r];
        take |= x.r[r] != x.r[r];
        m.r[r] = (__typeof__(m.r[0]))(((__typeof__(take))x.r[r] & take) |
                                      ((__typeof__(take))m.r[r] & ~take));
    }
    return m;
}

/* a with one more block of elements. */
TN_INLINE vec TN_R(step)(tn__reduce_kind kind, vec a, vec x)
{
    switch (kind) {
    case TN__SUM: return v_add(a, x);
    case TN__SUM_SQUARE: return v_add(a, v_mul(x, x));
    case TN__PROD: return v_mul(a, x);
    default: return TN_R(extreme)(kind, a, x);
    }
}

/* Two partial results in one. */
TN_INLINE vec TN_R(join)(tn__reduce_kind kind, vec a, vec b)
{
    return TN_R(step)(kind == TN__SUM_SQUARE ? TN__SUM : kind, a, b);
}

TN_INLINE T TN_R(join_lanes)(tn__reduce_kind kind, vec a)
{
    T x[v_lanes];
    if (kind == TN__SUM || kind == TN__SUM_SQUARE) return v_sum(a);
    v_store(x, a);
    for (int half = v_lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) {
            T y = x[i + half];
            if (kind == TN__PROD)
                x[i] *= y;
            else if ((kind == TN__MAX ? y > x[i] : y < x[i]) || y != y)
                x[i] = y;
        }
    return x[0];
}

/* ---- rows ------------------------------------------------------------------------------------ */

TN_INLINE T TN_R(reduce_row)(tn__reduce_kind kind, const T *x, int64_t n)
{
    enum { VECS = 4 };
    const T neutral = TN_R(neutral)(kind);
    vec     a[VECS];
    int64_t i = 0;
    if ((kind == TN__MAX || kind == TN__MIN) && n < v_lanes) { /* any order will do */
        T m = neutral;
        TN_ROLLED
        for (; i < n; i++) m = (kind == TN__MAX ? x[i] > m : x[i] < m) || x[i] != x[i] ? x[i] : m;
        return m;
    }
    for (int v = 0; v < VECS; v++) a[v] = v_set(neutral);
    for (; i + VECS * v_lanes <= n; i += VECS * v_lanes)
        for (int v = 0; v < VECS; v++) a[v] = TN_R(step)(kind, a[v], v_load(x + i + v * v_lanes));
    TAIL for (int v = 0; v < VECS; v++) {
        int64_t left = n - i - v * v_lanes;
        if (left <= 0) break;
        a[v] = TN_R(step)(kind, a[v],
                          left >= v_lanes ? v_load(x + i + v * v_lanes)
                                          : v_load_part(x + i + v * v_lanes, left, neutral));
    }
    a[0] = TN_R(join)(kind, a[0], a[2]), a[1] = TN_R(join)(kind, a[1], a[3]);
    return TN_R(join_lanes)(kind, TN_R(join)(kind, a[0], a[1]));
}

#define ROWS(kind)                                                                                 \
    case kind:                                                                                     \
        for (int64_t r = 0; r < rows; r++) o[r] = TN_R(reduce_row)(kind, p + r * stride, n);       \
        break;

/* out[r] = x[r][0], x[r][1], .. reduced; n <= TN__ROW_BLOCK */
void TN_KR(reduce_rows)(int kind, const void *x, int64_t stride, int64_t rows, int64_t n, void *out)
{
    const T *p = x;
    T       *o = out;
    switch (kind) {
        ROWS(TN__SUM)
        ROWS(TN__SUM_SQUARE)
        ROWS(TN__PROD)
        ROWS(TN__MAX)
        ROWS(TN__MIN)
    }
}
#undef ROWS

/* ---- columns --------------------------------------------------------------------------------- */

/* `rows` more rows into out[0..n), after what is in from[0], from[step], ..: out itself, or (step
 * 0) the neutral element again and again. Loops stay loops, for the size of the code. */
TN_INLINE void TN_R(add_rows)(tn__reduce_kind kind, const T *x, int64_t stride, int rows, int64_t n,
                              const T *from, int64_t step, T *out)
{
    const T neutral = TN_R(neutral)(kind);
    int64_t j = 0;
    for (; j + v_lanes <= n; j += v_lanes) {
        vec a = v_load(from + j * step);
        TN_ROLLED
        for (int r = 0; r < rows; r++) a = TN_R(step)(kind, a, v_load(x + r * stride + j));
        v_store(out + j, a);
    }
    if (j == n) return;
    vec a = v_load_part(from + j * step, n - j, neutral);
    TN_ROLLED
    for (int r = 0; r < rows; r++)
        a = TN_R(step)(kind, a, v_load_part(x + r * stride + j, n - j, neutral));
    v_store_part(out + j, n - j, a);
}

/* Eight rows at a time, so that out is read and written once for them, and a few streams of memory
 * are read in parallel. */
TN_INLINE void TN_R(reduce_columns)(tn__reduce_kind kind, const T *x, int64_t stride, int64_t rows,
                                    int64_t n, T *out)
{
    T neutral[v_lanes];
    v_store(neutral, v_set(TN_R(neutral)(kind)));
    for (int64_t r = 0; r < rows; r += 8)
        TN_R(add_rows)(kind, x + r * stride, stride, rows - r < 8 ? (int)(rows - r) : 8, n,
                       r ? out : neutral, r > 0, out);
}

#define COLS(kind)                                                                                 \
    case kind: TN_R(reduce_columns)(kind, x, stride, rows, n, out); break;

/* out[j] = x[0][j], x[1][j], .. reduced, in this order; 0 < rows <= TN__COL_BLOCK */
void TN_KR(reduce_cols)(int kind, const void *x, int64_t stride, int64_t rows, int64_t n, void *out)
{
    switch (kind) {
        COLS(TN__SUM)
        COLS(TN__SUM_SQUARE)
        COLS(TN__PROD)
        COLS(TN__MAX)
        COLS(TN__MIN)
    }
}
#undef COLS

#endif
