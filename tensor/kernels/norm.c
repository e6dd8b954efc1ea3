/* Layer and RMS normalisation of rows. A row is read from memory once and kept in the first-level
 * cache for the passes over it. */
#include "tensor/kernels/norm.h"
#include "tensor/kernels/simd.h"

#include <math.h>

#ifndef TN_REAL

#define TN_REAL f32
#include "tensor/kernels/norm.c"
#undef TN_REAL
#define TN_REAL f64
#include "tensor/kernels/norm.c"
#undef TN_REAL

#else

#include "tensor/kernels/rows.h"

/* Sum of (x - mean)^2, with some lines of the queue meanwhile. */
static T TN_R(row_square)(const T *x, int64_t n, T mean, tn__queue *queue)
{
    const vec m = v_set(mean);
    vec       s[4] = { v_set(0), v_set(0), v_set(0), v_set(0) };
    int64_t   i = 0;
    for (; i + 4 * v_lanes <= n; i += 4 * v_lanes) {
        tn__queue_run(queue, 4);
        for (int k = 0; k < 4; k++) {
            vec d = v_sub(v_load(x + i + k * v_lanes), m);
            s[k] = v_fma(d, d, s[k]);
        }
    }
    for (; i < n; i += v_lanes) { /* lanes that are not there: mean - mean = 0 */
        vec d = v_sub(v_load_part(x + i, n - i, mean), m);
        s[0] = v_fma(d, d, s[0]);
    }
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

/* y = (x - mean) rstd gamma + beta from element i, of which `left` are in the row. Called with left
 * constant but for the last block, and with constant flags, so that no choice is left in the
 * loop. */
TN_INLINE void TN_R(norm_block)(const T *x, const T *gamma, const T *beta, T *y, int64_t i,
                                int64_t left, vec mean, vec rstd, bool has_gamma, bool has_beta)
{
    vec h = v_mul(v_sub(v_load_part(x + i, left, 0), mean), rstd);
    if (has_gamma && has_beta)
        h = v_fma(h, v_load_part(gamma + i, left, 0), v_load_part(beta + i, left, 0));
    else if (has_gamma)
        h = v_mul(h, v_load_part(gamma + i, left, 0));
    else if (has_beta)
        h = v_add(h, v_load_part(beta + i, left, 0));
    v_store_part(y + i, left, h);
}

#define NORM_ROW(has_gamma, has_beta)                                                              \
    do {                                                                                           \
        for (; i + v_lanes <= n; i += v_lanes)                                                     \
            TN_R(norm_block)(x, gamma, beta, y, i, v_lanes, m, s, has_gamma, has_beta);            \
        if (i < n) TN_R(norm_block)(x, gamma, beta, y, i, n - i, m, s, has_gamma, has_beta);       \
    } while (0)

static void TN_R(norm_row)(const T *x, const T *gamma, const T *beta, T *y, int64_t n, vec m, vec s)
{
    int64_t i = 0;
    if (gamma && beta)
        NORM_ROW(true, true);
    else if (gamma)
        NORM_ROW(true, false);
    else if (beta)
        NORM_ROW(false, true);
    else
        NORM_ROW(false, false);
}
#undef NORM_ROW

void TN_KR(norm_rows)(const struct tn__norm *a, int64_t begin, int64_t end)
{
    const int64_t n = a->n;
    T            *mean = a->mean, *rstd = a->rstd;
    TN_R(far_rows) far;
    TN_R(far_begin)(&far, a->is_far, n);
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)a->x + r * n;
        const T  m = a->rms ? 0 : TN_R(row_sum)(x, n) / (T)n;
        const T  s = 1 / tn__sqrt(TN_R(row_square)(x, n, m, &far.queue) / (T)n + (T)a->eps);
        T      *y = (T *)a->y + r * n, *made = TN_R(row_begin)(&far, y);
        for (int64_t at = 0, part; at < n; at += part) {
            const T *gamma = a->gamma ? (const T *)a->gamma + at : NULL;
            const T *beta = a->beta ? (const T *)a->beta + at : NULL;
            part = TN_R(part_of)(&far, n - at);
            TN_R(norm_row)(x + at, gamma, beta, TN_R(part_begin)(&far, made + at), part, v_set(m),
                           v_set(s));
            TN_R(part_end)(&far, made + at, part, x + at, x + at, n);
        }
        TN_R(row_end)(&far, y, n, x, x);
        if (!a->rms) mean[r] = m;
        rstd[r] = s;
    }
    TN_R(far_end)(&far);
}

void TN_KR(deviation_rows)(const struct tn__norm *a, int64_t begin, int64_t end)
{
    const int64_t n = a->n;
    for (int64_t r = begin; r < end; r++) {
        const T    *x = (const T *)a->x + r * n;
        const char *next = (const char *)(x + n);
        tn__queue   queue = { NULL, NULL, { next, next }, n * (int64_t)sizeof(T) / TN_LINE };
        ((T *)a->y)[r] = TN_R(row_square)(x, n, TN_R(row_sum)(x, n) / (T)n, &queue);
    }
}

/* ---- backward ------------------------------------------------------------------------------ */

/* With h = (x - mean) rstd and g = dy gamma:
 *   dx = rstd (g - mean(g) - h mean(g h)),  dgamma += dy h,  dbeta += dy
 * where rms drops mean(g). */
typedef struct TN_R(grad_row) {
    const T *x, *dy, *gamma;
    T       *dx, *dgamma, *dbeta;
    vec      mean, rstd;
} TN_R(grad_row);

/* One block of the first pass: sums of g and g h. */
TN_INLINE void TN_R(grad_sums)(const TN_R(grad_row) *a, int64_t i, int64_t left, T fill, vec sum[2],
                               bool has_gamma)
{
    const vec dy = v_load_part(a->dy + i, left, 0);
    const vec h = v_mul(v_sub(v_load_part(a->x + i, left, fill), a->mean), a->rstd);
    const vec g = has_gamma ? v_mul(dy, v_load_part(a->gamma + i, left, 0)) : dy;
    if (a->dgamma)
        v_store_part(a->dgamma + i, left, v_fma(dy, h, v_load_part(a->dgamma + i, left, 0)));
    if (a->dbeta) v_store_part(a->dbeta + i, left, v_add(dy, v_load_part(a->dbeta + i, left, 0)));
    sum[0] = v_add(sum[0], g);
    sum[1] = v_fma(g, h, sum[1]);
}

/* One block of the second, to here: c1 = mean(g), c2 = -mean(g h). */
TN_INLINE void TN_R(grad_block)(const TN_R(grad_row) *a, int64_t i, int64_t left, T *to, vec c1,
                                vec c2, bool has_gamma)
{
    const vec dy = v_load_part(a->dy + i, left, 0);
    const vec h = v_mul(v_sub(v_load_part(a->x + i, left, 0), a->mean), a->rstd);
    const vec g = has_gamma ? v_mul(dy, v_load_part(a->gamma + i, left, 0)) : dy;
    v_store_part(to, left, v_mul(a->rstd, v_fma(h, c2, v_sub(g, c1))));
}

TN_INLINE void TN_R(norm_grad_row)(const TN_R(grad_row) *a, int64_t n, T mean, bool rms,
                                   bool has_gamma, TN_R(far_rows) *far)
{
    vec     sum[2] = { v_set(0), v_set(0) };
    int64_t i = 0;
    for (; !tn__small && i + v_lanes <= n; i += v_lanes) {
        tn__queue_run(&far->queue, 1);
        TN_R(grad_sums)(a, i, v_lanes, mean, sum, has_gamma);
    }
    for (; i < n; i += v_lanes) TN_R(grad_sums)(a, i, n - i, mean, sum, has_gamma);
    const vec c1 = v_set(rms ? 0 : v_sum(sum[0]) / (T)n), c2 = v_set(-(v_sum(sum[1]) / (T)n));
    for (int64_t at = 0, part; at < n; at += part) {
        T *to = TN_R(part_begin)(far, a->dx + at);
        part = TN_R(part_of)(far, n - at);
        for (i = 0; !tn__small && i + v_lanes <= part; i += v_lanes)
            TN_R(grad_block)(a, at + i, v_lanes, to + i, c1, c2, has_gamma);
        for (; i < part; i += v_lanes)
            TN_R(grad_block)(a, at + i, part - i, to + i, c1, c2, has_gamma);
        TN_R(part_end)(far, a->dx + at, part, a->x + at, a->dy + at, n);
    }
}

void TN_KR(norm_grad_rows)(const struct tn__norm *a, int64_t begin, int64_t end)
{
    const int64_t  n = a->n;
    TN_R(far_rows) far;
    TN_R(grad_row) row = { .gamma = a->gamma, .dgamma = a->dgamma, .dbeta = a->dbeta };
    TN_R(far_begin)(&far, a->is_far, n);
    for (int64_t i = 0; row.dgamma && i < n; i++) row.dgamma[i] = 0;
    for (int64_t i = 0; row.dbeta && i < n; i++) row.dbeta[i] = 0;
    for (int64_t r = begin; r < end; r++) {
        const T mean = a->rms ? 0 : ((const T *)a->mean)[r];
        T      *dx = (T *)a->dx + r * n;
        row.x = (const T *)a->x + r * n, row.dy = (const T *)a->dy + r * n;
        row.dx = TN_R(row_begin)(&far, dx);
        row.mean = v_set(mean), row.rstd = v_set(((const T *)a->rstd)[r]);
        if (a->gamma)
            TN_R(norm_grad_row)(&row, n, mean, a->rms, true, &far);
        else
            TN_R(norm_grad_row)(&row, n, mean, a->rms, false, &far);
        TN_R(row_end)(&far, dx, n, row.x, row.dy);
    }
    TN_R(far_end)(&far);
}

#endif
