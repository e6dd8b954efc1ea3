/* Softmax and its logarithm, forward and backward, over contiguous rows or down the columns of a
 * slab. A row is read from memory once: the later passes find it in the cache. */
#include "tensor/kernels/simd.h"
#include "tensor/kernels/softmax.h"

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
        if (i % (4 * v_lanes) == 0) tn__queue_run(&far->queue, 4);
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

/* Columns are taken a tile at a time: at most TN_SOFTMAX_COLUMNS of them, read along the rows of
 * memory, once, into a room [n, width] where the passes are: rows that lie a power of two apart
 * would throw each other out of the cache. While the rows of one tile are read, those of the tile
 * before are worked on and those of the one before that are written: so memory is busy all the
 * time. A row that is written makes room for one that is read. Each column's sum is one chain down
 * the column. */

enum { TN_R(rows_ahead) = 12 };

typedef struct TN_R(tile) {
    int64_t width, row; /* columns; elements of a row of the room, in whole blocks */
    T      *room[2];    /* the gradient has two */
    T       m[TN_SOFTMAX_COLUMNS], s[TN_SOFTMAX_COLUMNS]; /* largest, sum; then shift and factor */
} TN_R(tile);

/* An empty tile with its first room in this place. The rooms begin a few lines apart: what lies a
 * page apart is mistaken for the same by what looks for it among the last stores. */
static void TN_R(tile_begin)(TN_R(tile) *t, const struct tn__columns *a, int64_t number, int place)
{
    const int64_t left = a->columns - number * a->width;
    t->row = (a->width + v_lanes - 1) / v_lanes * v_lanes;
    t->width = left < a->width ? left : a->width;
    for (int k = 0; k < 2; k++)
        t->room[k] = (T *)a->room + (place ^ k) * (a->n * t->row + TN_SOFTMAX_GAP * v_lanes);
    for (int64_t c = 0; c < t->width; c += v_lanes)
        v_store(t->m + c, v_set((T)-INFINITY)), v_store(t->s + c, v_set(0));
}

/* Asks for the row that comes a few after this one of a tile, be it of the next tile; below the end
 * too, since that harms nobody. */
TN_INLINE void TN_R(next_row)(const T *x, const struct tn__columns *a, int64_t number, int64_t i)
{
    const bool is_over = i + TN_R(rows_ahead) >= a->n;
    const T *next = x + (i + TN_R(rows_ahead) - (is_over ? a->n : 0)) * a->stride +
        (number + is_over) * a->width;
    for (int64_t c = 0; c < a->width; c += v_lanes) __builtin_prefetch(next + c, 0, 2);
}

/* Row i of the first pass: into the room, and the largest of each column. */
static void TN_R(read_row)(TN_R(tile) *t, const struct tn__columns *a, int64_t number, int64_t i)
{
    const T *x = (const T *)a->x + i * a->stride + number * a->width;
    T       *keep = t->room[0] + i * t->row;
    TN_R(next_row)(a->x, a, number, i);
    for (int64_t c = 0; c < t->width; c += v_lanes) {
        vec v = v_load_part(x + c, t->width - c, 0);
        v_store(keep + c, v);
        v_store(t->m + c, v_max(v_load(t->m + c), v));
    }
}

/* The second pass: e^(x - m) or, log, x - m in the room, and the sums of the exponentials. */
static void TN_R(exp_row)(TN_R(tile) *t, int64_t i, bool log)
{
    T *keep = t->room[0] + i * t->row;
    for (int64_t c = 0; c < t->width; c += v_lanes) {
        vec d = v_sub(v_load(keep + c), v_load(t->m + c)), e = v_exp(d);
        v_store(keep + c, log ? d : e);
        v_store(t->s + c, v_add(v_load(t->s + c), e));
    }
}

/* The last pass, of a far row by way of `line`: it becomes y. */
static void TN_R(write_row)(const TN_R(tile) *t, const struct tn__columns *a, T *y, int64_t i,
                            bool is_grad)
{
    const T *keep = t->room[0] + i * t->row, *more = t->room[1] + i * t->row;
    const bool is_far = tn__streams && a->is_far;
    _Alignas(TN_LINE) T line[TN_SOFTMAX_COLUMNS];
    for (int64_t c = 0; c < t->width; c += v_lanes) {
        vec v = v_load(keep + c), f = v_load(t->s + c);
        if (is_grad) {
            const vec p = v_load(more + c);
            v = a->log ? v_sub(v, v_mul(v_exp(p), f)) : v_mul(p, v_sub(v, f));
        } else {
            v = a->log ? v_sub(v, f) : v_mul(v, f);
        }
        v_store_part(is_far ? line + c : y + c, is_far ? v_lanes : t->width - c, v);
    }
    if (is_far) tn__stream(y, line, (size_t)t->width * sizeof(T), NULL, 0);
}

void TN_KR(softmax_columns)(const struct tn__columns *a)
{
    const int64_t tiles = (a->columns + a->width - 1) / a->width;
    TN_R(tile)    t[3];
    for (int64_t b = 0; b < tiles + 2; b++) { /* tile b is read, b - 1 worked on, b - 2 written */
        TN_R(tile) *r = &t[b % 3], *e = &t[(b + 2) % 3], *w = &t[(b + 1) % 3];
        const bool reads = b < tiles, makes = b > 0 && b <= tiles, writes = b > 1;
        if (reads) TN_R(tile_begin)(r, a, b, b % 2);
        for (int64_t i = 0; i < a->n; i++) {
            if (writes)
                TN_R(write_row)(w, a, (T *)a->y + i * a->stride + (b - 2) * a->width, i, false);
            if (reads) TN_R(read_row)(r, a, b, i); /* to where that row has been */
            if (makes) TN_R(exp_row)(e, i, a->log);
        }
        for (int64_t c = 0; reads && c < r->width; c++) r->m[c] = TN_R(shift_of)(r->m[c]);
        for (int64_t c = 0; makes && c < e->width; c++)
            e->s[c] = !a->log ? TN_R(inverse_of)(e->s[c]) : e->s[c] == 0 ? 0 : tn__log(e->s[c]);
    }
    if (a->is_far) tn__stream_end();
}

/* Row i of dy and y into the rooms, and the sums that the gradient subtracts. */
static void TN_R(read_grad_row)(TN_R(tile) *t, const struct tn__columns *a, int64_t number,
                                int64_t i)
{
    const int64_t at = i * a->stride + number * a->width;
    const T      *dy = (const T *)a->dy + at, *y = (const T *)a->x + at;
    T            *g = t->room[0] + i * t->row, *p = t->room[1] + i * t->row;
    TN_R(next_row)(a->dy, a, number, i), TN_R(next_row)(a->x, a, number, i);
    for (int64_t c = 0; c < t->width; c += v_lanes) {
        vec vg = v_load_part(dy + c, t->width - c, 0), vp = v_load_part(y + c, t->width - c, 0);
        v_store(g + c, vg), v_store(p + c, vp);
        vec s = v_load(t->s + c);
        v_store(t->s + c, a->log ? v_add(s, vg) : v_fma(vg, vp, s));
    }
}

void TN_KR(softmax_grad_columns)(const struct tn__columns *a)
{
    const int64_t tiles = (a->columns + a->width - 1) / a->width;
    TN_R(tile)    t[2];
    for (int64_t b = 0; b < tiles + 1; b++) {
        if (b < tiles) TN_R(tile_begin)(&t[b % 2], a, b, 0);
        for (int64_t i = 0; i < a->n; i++) {
            if (b > 0)
                TN_R(write_row)(&t[(b + 1) % 2], a,
                                (T *)a->y + i * a->stride + (b - 1) * a->width, i, true);
            if (b < tiles) TN_R(read_grad_row)(&t[b % 2], a, b, i);
        }
    }
    if (a->is_far) tn__stream_end();
}

#endif
