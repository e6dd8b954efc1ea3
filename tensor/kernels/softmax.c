/* Softmax and its logarithm, forward and backward, over contiguous rows or down the columns of a
 * slab. A row is read from memory once: the later passes find it in the cache. */
#include "tensor/kernels/simd.h"

#include <math.h>

#ifndef TN_REAL

#define TN_REAL f32
#include "tensor/kernels/softmax.c"
#undef TN_REAL
#define TN_REAL f64
#include "tensor/kernels/softmax.c"
#undef TN_REAL

#else

#include "tensor/kernels/rows.h"

/* What is subtracted from a row before exp: its maximum; of a row of -inf alone 0, so that the sum
 * is 0 and not NaN. */
TN_INLINE T TN_R(shift_of)(T max) { return max == (T)-INFINITY ? 0 : max; }

/* The factor that makes a row of exponentials sum to 1; a row of zeros stays. */
TN_INLINE T TN_R(inverse_of)(T sum) { return sum == 0 ? 0 : 1 / sum; }

static void TN_R(softmax_row)(const T *x, T *y, int64_t n)
{
    T       sum = TN_R(row_exp)(x, y, n, TN_R(shift_of)(TN_R(row_max)(x, n)));
    vec     c = v_set(TN_R(inverse_of)(sum));
    int64_t i = 0;
    for (; i + v_lanes <= n; i += v_lanes) v_store(y + i, v_mul(v_load(y + i), c));
    v_store_part(y + i, n - i, v_mul(v_load_part(y + i, n - i, 0), c));
}

/* (x - max) - log(sum): max + log(sum) would lose the small one. A row of -inf alone stays. */
static void TN_R(log_softmax_row)(const T *x, T *y, int64_t n)
{
    T       shift = TN_R(shift_of)(TN_R(row_max)(x, n)), sum = TN_R(row_exp)(x, NULL, n, shift);
    vec     m = v_set(shift), l = v_set(sum == 0 ? 0 : tn__log(sum));
    int64_t i = 0;
    for (; i + v_lanes <= n; i += v_lanes) v_store(y + i, v_sub(v_sub(v_load(x + i), m), l));
    v_store_part(y + i, n - i, v_sub(v_sub(v_load_part(x + i, n - i, 0), m), l));
}

void TN_KR(softmax_rows)(const void *x, void *y, int64_t rows, int64_t n, bool log)
{
    for (int64_t r = 0; r < rows; r++)
        (log ? TN_R(log_softmax_row) : TN_R(softmax_row))((const T *)x + r * n, (T *)y + r * n, n);
}

/* dx = y (dy - sum(y dy)) */
static void TN_R(softmax_grad_row)(const T *dy, const T *y, T *dx, int64_t n)
{
    vec     s = v_set(TN_R(row_dot)(dy, y, n));
    int64_t i = 0;
    for (; i + v_lanes <= n; i += v_lanes)
        v_store(dx + i, v_mul(v_load(y + i), v_sub(v_load(dy + i), s)));
    v_store_part(dx + i, n - i,
                 v_mul(v_load_part(y + i, n - i, 0), v_sub(v_load_part(dy + i, n - i, 0), s)));
}

/* dx = dy - e^y sum(dy) */
static void TN_R(log_softmax_grad_row)(const T *dy, const T *y, T *dx, int64_t n)
{
    vec     s = v_set(-TN_R(row_sum)(dy, n));
    int64_t i = 0;
    for (; i + v_lanes <= n; i += v_lanes)
        v_store(dx + i, v_fma(v_exp(v_load(y + i)), s, v_load(dy + i)));
    v_store_part(dx + i, n - i,
                 v_fma(v_exp(v_load_part(y + i, n - i, 0)), s, v_load_part(dy + i, n - i, 0)));
}

void TN_KR(softmax_grad_rows)(const void *dy, const void *y, void *dx, int64_t rows, int64_t n,
                              bool log)
{
    for (int64_t r = 0; r < rows; r++)
        (log ? TN_R(log_softmax_grad_row) : TN_R(softmax_grad_row))(
            (const T *)dy + r * n, (const T *)y + r * n, (T *)dx + r * n, n);
}

/* ---- columns: elements of one softmax lie `stride` apart ----------------------------------- */

/* width <= TN_SOFTMAX_COLUMNS columns at once. Memory is read along its rows, once, into room
 * [n, width], where the passes are: rows that lie a power of two apart would throw each other out of
 * the cache. Each column's sum is one chain down the column. */
void TN_KR(softmax_columns)(const void *x_, void *y_, int64_t n, int64_t stride, int64_t width,
                            bool log, void *room)
{
    const T      *x = x_;
    T            *y = y_, *keep = room, m[TN_SOFTMAX_COLUMNS], s[TN_SOFTMAX_COLUMNS];
    const int64_t row = (width + v_lanes - 1) / v_lanes * v_lanes;
    for (int64_t c = 0; c < row; c += v_lanes)
        v_store(m + c, v_set((T)-INFINITY)), v_store(s + c, v_set(0));
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec v = v_load_part(x + i * stride + c, width - c, 0);
            v_store(keep + i * row + c, v);
            v_store(m + c, v_max(v_load(m + c), v));
        }
    for (int64_t c = 0; c < row; c++) m[c] = TN_R(shift_of)(m[c]);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec d = v_sub(v_load(keep + i * row + c), v_load(m + c)), e = v_exp(d);
            v_store(keep + i * row + c, log ? d : e);
            v_store(s + c, v_add(v_load(s + c), e));
        }
    for (int64_t c = 0; c < row; c++)
        s[c] = !log ? TN_R(inverse_of)(s[c]) : s[c] == 0 ? 0 : tn__log(s[c]);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec v = v_load(keep + i * row + c), f = v_load(s + c);
            v_store_part(y + i * stride + c, width - c, log ? v_sub(v, f) : v_mul(v, f));
        }
}

/* room [2, n, width] */
void TN_KR(softmax_grad_columns)(const void *dy_, const void *y_, void *dx_, int64_t n,
                                 int64_t stride, int64_t width, bool log, void *room)
{
    const int64_t row = (width + v_lanes - 1) / v_lanes * v_lanes;
    const T      *dy = dy_, *y = y_;
    T            *dx = dx_, *g = room, *p = g + n * row, s[TN_SOFTMAX_COLUMNS];
    for (int64_t c = 0; c < row; c += v_lanes) v_store(s + c, v_set(0));
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec vg = v_load_part(dy + i * stride + c, width - c, 0);
            vec vp = v_load_part(y + i * stride + c, width - c, 0);
            v_store(g + i * row + c, vg), v_store(p + i * row + c, vp);
            v_store(s + c, log ? v_add(v_load(s + c), vg) : v_fma(vg, vp, v_load(s + c)));
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec vg = v_load(g + i * row + c), vp = v_load(p + i * row + c), vs = v_load(s + c);
            vec v = log ? v_sub(vg, v_mul(v_exp(vp), vs)) : v_mul(vp, v_sub(vg, vs));
            v_store_part(dx + i * stride + c, width - c, v);
        }
}

#endif
