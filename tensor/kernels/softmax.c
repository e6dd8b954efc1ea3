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

/* Of a long row the exponentials are made twice: that is less work than to keep them in memory. */
static void TN_R(long_softmax_row)(const T *x, T *y, int64_t n, TN_R(far_rows) *far)
{
    const T   shift = TN_R(shift_of)(TN_R(row_max)(x, n));
    const vec m = v_set(shift), c = v_set(TN_R(inverse_of)(TN_R(row_exp)(x, NULL, n, shift,
                                                                         &far->queue)));
    for (int64_t at = 0, part; at < n; at += part) {
        T *to = TN_R(part_begin)(far, y + at);
        part = TN_R(part_of)(far, n - at);
        for (int64_t i = 0; i < part; i += v_lanes)
            v_store_part(to + i, part - i,
                         v_mul(v_exp(v_sub(v_load_part(x + at + i, part - i, 0), m)), c));
        TN_R(part_end)(far, y + at, part, x + at, x + at, n);
    }
}

static void TN_R(softmax_row)(const T *x, const T *unused, T *y, int64_t n, TN_R(far_rows) *far)
{
    (void)unused;
    if (tn__streams && far->is_long) {
        TN_R(long_softmax_row)(x, y, n, far);
        return;
    }
    T       sum = TN_R(row_exp)(x, y, n, TN_R(shift_of)(TN_R(row_max)(x, n)), &far->queue);
    vec     c = v_set(TN_R(inverse_of)(sum));
    int64_t i = 0;
    for (; i + v_lanes <= n; i += v_lanes) {
        tn__queue_run(&far->queue, 1);
        v_store(y + i, v_mul(v_load(y + i), c));
    }
    v_store_part(y + i, n - i, v_mul(v_load_part(y + i, n - i, 0), c));
}

/* (x - max) - log(sum): max + log(sum) would lose the small one. A row of -inf alone stays. */
static void TN_R(log_softmax_row)(const T *x, const T *unused, T *y, int64_t n, TN_R(far_rows) *far)
{
    (void)unused;
    const T   shift = TN_R(shift_of)(TN_R(row_max)(x, n));
    const T   sum = TN_R(row_exp)(x, NULL, n, shift, &far->queue);
    const vec m = v_set(shift), l = v_set(sum == 0 ? 0 : tn__log(sum));
    for (int64_t at = 0, part; at < n; at += part) {
        T *to = TN_R(part_begin)(far, y + at);
        part = TN_R(part_of)(far, n - at);
        for (int64_t i = 0; i < part; i += v_lanes)
            v_store_part(to + i, part - i,
                         v_sub(v_sub(v_load_part(x + at + i, part - i, 0), m), l));
        TN_R(part_end)(far, y + at, part, x + at, x + at, n);
    }
}

/* dx = y (dy - sum(y dy)) */
static void TN_R(softmax_grad_row)(const T *dy, const T *y, T *dx, int64_t n, TN_R(far_rows) *far)
{
    const vec s = v_set(TN_R(row_dot)(dy, y, n, &far->queue));
    for (int64_t at = 0, part; at < n; at += part) {
        const T *p = y + at, *g = dy + at;
        T       *to = TN_R(part_begin)(far, dx + at);
        part = TN_R(part_of)(far, n - at);
        for (int64_t i = 0; i < part; i += v_lanes)
            v_store_part(to + i, part - i, v_mul(v_load_part(p + i, part - i, 0),
                                                 v_sub(v_load_part(g + i, part - i, 0), s)));
        TN_R(part_end)(far, dx + at, part, g, p, n);
    }
}

/* dx = dy - e^y sum(dy) */
static void TN_R(log_softmax_grad_row)(const T *dy, const T *y, T *dx, int64_t n,
                                       TN_R(far_rows) *far)
{
    const vec s = v_set(-TN_R(row_sum)(dy, n));
    for (int64_t at = 0, part; at < n; at += part) {
        const T *l = y + at, *g = dy + at;
        T       *to = TN_R(part_begin)(far, dx + at);
        part = TN_R(part_of)(far, n - at);
        for (int64_t i = 0; i < part; i += v_lanes) {
            tn__queue_run(&far->queue, 1);
            v_store_part(to + i, part - i, v_fma(v_exp(v_load_part(l + i, part - i, 0)), s,
                                                 v_load_part(g + i, part - i, 0)));
        }
        TN_R(part_end)(far, dx + at, part, g, l, n);
    }
}

/* Each row of y from those of x0 and x1. */
static void TN_R(each_row)(void (*row)(const T *x0, const T *x1, T *y, int64_t n,
                                       TN_R(far_rows) *far),
                           const T *x0, const T *x1, T *y, int64_t rows, int64_t n, bool is_far)
{
    TN_R(far_rows) far;
    TN_R(far_begin)(&far, is_far, n);
    for (int64_t r = 0; r < rows; r++, x0 += n, x1 += n, y += n) {
        row(x0, x1, TN_R(row_begin)(&far, y), n, &far);
        TN_R(row_end)(&far, y, n, x0, x1);
    }
    TN_R(far_end)(&far);
}

void TN_KR(softmax_rows)(const void *x, void *y, int64_t rows, int64_t n, bool log, bool is_far)
{
    TN_R(each_row)(log ? TN_R(log_softmax_row) : TN_R(softmax_row), x, x, y, rows, n, is_far);
}

void TN_KR(softmax_grad_rows)(const void *dy, const void *y, void *dx, int64_t rows, int64_t n,
                              bool log, bool is_far)
{
    TN_R(each_row)(log ? TN_R(log_softmax_grad_row) : TN_R(softmax_grad_row), dy, y, dx, rows, n,
                   is_far);
}

/* ---- columns: elements of one softmax lie `stride` apart ----------------------------------- */

/* width <= TN_SOFTMAX_COLUMNS columns at once. Memory is read along its rows, once, into room
 * [n, width], where the passes are: rows that lie a power of two apart would throw each other out
 * of the cache. Each column's sum is one chain down the column. */

enum { TN_R(rows_ahead) = 6 };

/* Asks for the row that comes a few later; below the end too, since that harms nobody. */
TN_INLINE void TN_R(next_row)(const T *x, int64_t stride, int64_t width)
{
    tn__prefetch(x + TN_R(rows_ahead) * stride, width * (int64_t)sizeof(T));
}

/* Block c of a row of y: of a far one by way of `line`. */
TN_INLINE void TN_R(put)(T *y, T *line, int64_t c, int64_t width, vec v, bool is_far)
{
    if (tn__streams && is_far)
        v_store(line + c, v);
    else
        v_store_part(y + c, width - c, v);
}

TN_INLINE void TN_R(put_line)(T *y, const T *line, int64_t width, bool is_far)
{
    if (tn__streams && is_far) tn__stream(y, line, (size_t)width * sizeof(T), NULL, 0);
}

/* The second pass: e^(x - m) or, log, x - m in the room, and the sums of the exponentials. */
TN_INLINE void TN_R(exp_row)(T *keep, const T *m, T *s, int64_t row, bool log)
{
    for (int64_t c = 0; c < row; c += v_lanes) {
        vec d = v_sub(v_load(keep + c), v_load(m + c)), e = v_exp(d);
        v_store(keep + c, log ? d : e);
        v_store(s + c, v_add(v_load(s + c), e));
    }
}

void TN_KR(softmax_columns)(const void *x_, void *y_, int64_t n, int64_t stride, int64_t width,
                            bool log, bool is_far, void *room)
{
    const T      *x = x_;
    T            *y = y_, *keep = room, m[TN_SOFTMAX_COLUMNS], s[TN_SOFTMAX_COLUMNS];
    _Alignas(TN_LINE) T line[TN_SOFTMAX_COLUMNS];
    const int64_t row = (width + v_lanes - 1) / v_lanes * v_lanes;
    for (int64_t c = 0; c < row; c += v_lanes)
        v_store(m + c, v_set((T)-INFINITY)), v_store(s + c, v_set(0));
    for (int64_t i = 0; i < n; i++) {
        TN_R(next_row)(x + i * stride, stride, width);
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec v = v_load_part(x + i * stride + c, width - c, 0);
            v_store(keep + i * row + c, v);
            v_store(m + c, v_max(v_load(m + c), v));
        }
    }
    for (int64_t c = 0; c < row; c++) m[c] = TN_R(shift_of)(m[c]);
    for (int64_t i = 0; i < n; i++) TN_R(exp_row)(keep + i * row, m, s, row, log);
    for (int64_t c = 0; c < row; c++)
        s[c] = !log ? TN_R(inverse_of)(s[c]) : s[c] == 0 ? 0 : tn__log(s[c]);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec v = v_load(keep + i * row + c), f = v_load(s + c);
            TN_R(put)(y + i * stride, line, c, width, log ? v_sub(v, f) : v_mul(v, f), is_far);
        }
        TN_R(put_line)(y + i * stride, line, width, is_far);
    }
    if (is_far) tn__stream_end();
}

/* room [2, n, width] */
void TN_KR(softmax_grad_columns)(const void *dy_, const void *y_, void *dx_, int64_t n,
                                 int64_t stride, int64_t width, bool log, bool is_far, void *room)
{
    const int64_t row = (width + v_lanes - 1) / v_lanes * v_lanes;
    const T      *dy = dy_, *y = y_;
    T            *dx = dx_, *g = room, *p = g + n * row, s[TN_SOFTMAX_COLUMNS];
    _Alignas(TN_LINE) T line[TN_SOFTMAX_COLUMNS];
    for (int64_t c = 0; c < row; c += v_lanes) v_store(s + c, v_set(0));
    for (int64_t i = 0; i < n; i++) {
        TN_R(next_row)(dy + i * stride, stride, width),
            TN_R(next_row)(y + i * stride, stride, width);
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec vg = v_load_part(dy + i * stride + c, width - c, 0);
            vec vp = v_load_part(y + i * stride + c, width - c, 0);
            v_store(g + i * row + c, vg), v_store(p + i * row + c, vp);
            v_store(s + c, log ? v_add(v_load(s + c), vg) : v_fma(vg, vp, v_load(s + c)));
        }
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; c < row; c += v_lanes) {
            vec vg = v_load(g + i * row + c), vp = v_load(p + i * row + c), vs = v_load(s + c);
            vec v = log ? v_sub(vg, v_mul(v_exp(vp), vs)) : v_mul(vp, v_sub(vg, vs));
            TN_R(put)(dx + i * stride, line, c, width, v, is_far);
        }
        TN_R(put_line)(dx + i * stride, line, width, is_far);
    }
    if (is_far) tn__stream_end();
}

#endif
