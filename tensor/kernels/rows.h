/* What kernels do with one row in the cache: included by a kernel template, once per dtype. A sum
 * keeps four blocks of partial sums and adds them as (a + b) + (c + d), then v_sum's tree: its bits
 * depend on n alone. */
#include "tensor/stream.h"

/* The largest element, -inf of none. NaN may or may not win: what follows has the NaN again. */
TN_UNUSED static T TN_R(row_max)(const T *x, int64_t n)
{
    const T none = (T)-INFINITY;
    vec     a = v_set(none), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * v_lanes <= n; i += 4 * v_lanes) {
        a = v_max(a, v_load(x + i));
        b = v_max(b, v_load(x + i + v_lanes));
        c = v_max(c, v_load(x + i + 2 * v_lanes));
        d = v_max(d, v_load(x + i + 3 * v_lanes));
    }
    for (; i < n; i += v_lanes) a = v_max(a, v_load_part(x + i, n - i, none));
    return v_hmax(v_max(v_max(a, b), v_max(c, d)));
}

TN_UNUSED static T TN_R(row_sum)(const T *x, int64_t n)
{
    vec     a = v_set(0), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * v_lanes <= n; i += 4 * v_lanes) {
        a = v_add(a, v_load(x + i));
        b = v_add(b, v_load(x + i + v_lanes));
        c = v_add(c, v_load(x + i + 2 * v_lanes));
        d = v_add(d, v_load(x + i + 3 * v_lanes));
    }
    for (; i < n; i += v_lanes) a = v_add(a, v_load_part(x + i, n - i, 0));
    return v_sum(v_add(v_add(a, b), v_add(c, d)));
}

/* Sum of x y, with some lines of the queue meanwhile. */
TN_UNUSED static T TN_R(row_dot)(const T *x, const T *y, int64_t n, tn__queue *queue)
{
    vec     a = v_set(0), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * v_lanes <= n; i += 4 * v_lanes) {
        tn__queue_run(queue, 4);
        a = v_fma(v_load(x + i), v_load(y + i), a);
        b = v_fma(v_load(x + i + v_lanes), v_load(y + i + v_lanes), b);
        c = v_fma(v_load(x + i + 2 * v_lanes), v_load(y + i + 2 * v_lanes), c);
        d = v_fma(v_load(x + i + 3 * v_lanes), v_load(y + i + 3 * v_lanes), d);
    }
    for (; i < n; i += v_lanes)
        a = v_fma(v_load_part(x + i, n - i, 0), v_load_part(y + i, n - i, 0), a);
    return v_sum(v_add(v_add(a, b), v_add(c, d)));
}

/* Sum of e^(x - shift), with some lines of the queue meanwhile; where y is not NULL, y = e^(x -
 * shift) too (y may be x). */
TN_UNUSED static T TN_R(row_exp)(const T *x, T *y, int64_t n, T shift, tn__queue *queue)
{
    const vec m = v_set(shift);
    vec       s[4] = { v_set(0), v_set(0), v_set(0), v_set(0) };
    int64_t   i = 0;
    for (; i + 4 * v_lanes <= n; i += 4 * v_lanes) {
        tn__queue_run(queue, 3);
        for (int k = 0; k < 4; k++) {
            vec e = v_exp(v_sub(v_load(x + i + k * v_lanes), m));
            if (y) v_store(y + i + k * v_lanes, e);
            s[k] = v_add(s[k], e);
        }
    }
    for (; i < n; i += v_lanes) { /* e^-inf = 0 in the lanes that are not there */
        vec e = v_exp(v_sub(v_load_part(x + i, n - i, (T)-INFINITY), m));
        if (y) v_store_part(y + i, n - i, e);
        s[0] = v_add(s[0], e);
    }
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

/* ---- more rows than the caches hold: see tensor/stream.h ------------------------------------- */

enum { TN_R(room_size) = 8192 / sizeof(T), TN_R(part_size) = TN_STREAM_BLOCK / sizeof(T) };

/* A row is made in a room, and goes to memory while the next one is made; of a row that is too long
 * for that, the last pass goes there part by part. */
typedef struct TN_R(far_rows) {
    bool      is_far, is_long;
    int       which;
    tn__queue queue; /* for whoever has a pass of some work: a line for each block of elements */
    _Alignas(TN_LINE) T room[2][TN_R(room_size)];
} TN_R(far_rows);

TN_INLINE void TN_R(far_begin)(TN_R(far_rows) *f, bool is_far, int64_t n)
{
    f->is_far = tn__streams && is_far && n <= TN_R(room_size), f->which = 0, f->queue.lines = 0;
    f->is_long = tn__streams && is_far && n > TN_R(room_size);
}

/* Where to make y. */
TN_INLINE T *TN_R(row_begin)(TN_R(far_rows) *f, T *y)
{
    return tn__streams && f->is_far ? f->room[f->which] : y;
}

/* It is made, of these rows: those two further on are asked for next. */
TN_UNUSED static void TN_R(row_end)(TN_R(far_rows) *f, T *y, int64_t n, const T *x0, const T *x1)
{
    if (!tn__streams || !f->is_far) return;
    const char *made = (const char *)f->room[f->which];
    char       *to = (char *)y;
    int64_t     bytes = n * (int64_t)sizeof(T), head = -(intptr_t)to & (TN_LINE - 1);
    if (head > bytes) head = bytes;
    const int64_t lines = (bytes - head) / TN_LINE, tail = head + lines * TN_LINE;
    memcpy(to, made, (size_t)head), memcpy(to + tail, made + tail, (size_t)(bytes - tail));
    tn__queue_run(&f->queue, f->queue.lines);
    const char *next0 = (const char *)(x0 + 2 * n), *next1 = (const char *)(x1 + 2 * n);
    f->queue = (tn__queue){ to + head, made + head, { next0, next1 }, lines };
    f->which = !f->which;
}

TN_INLINE void TN_R(far_end)(TN_R(far_rows) *f)
{
    if (!tn__streams || !(f->is_far || f->is_long)) return;
    tn__queue_run(&f->queue, f->queue.lines);
    tn__stream_end();
}

/* Elements of the next part, of those that are left: all but for long rows. */
TN_INLINE int64_t TN_R(part_of)(const TN_R(far_rows) *f, int64_t left)
{
    return tn__streams && f->is_long && left > TN_R(part_size) ? TN_R(part_size) : left;
}

/* Where to make the part of y. */
TN_INLINE T *TN_R(part_begin)(TN_R(far_rows) *f, T *y)
{
    return tn__streams && f->is_long ? f->room[0] : y;
}

/* It is made, of these parts of rows of `row` elements: those of the next rows are asked for. */
TN_UNUSED static void TN_R(part_end)(TN_R(far_rows) *f, T *y, int64_t n, const T *x0, const T *x1,
                                     int64_t row)
{
    if (!tn__streams || !f->is_long) return;
    const char *next[2] = { (const char *)(x0 + row), (const char *)(x1 + row) };
    tn__stream(y, f->room[0], (size_t)n * sizeof(T), next, x0 == x1 ? 1 : 2);
}
