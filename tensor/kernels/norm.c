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

/* Sum of (x - mean)^2. */
static T TN_R(row_square)(const T *x, int64_t n, T mean)
{
    const vec m = v_set(mean);
    vec       s[4] = { v_set(0), v_set(0), v_set(0), v_set(0) };
    int64_t   i = 0;
    for (; i + 4 * v_lanes <= n; i += 4 * v_lanes)
        for (int k = 0; k < 4; k++) {
            vec d = v_sub(v_load(x + i + k * v_lanes), m);
            s[k] = v_fma(d, d, s[k]);
        }
    for (; i < n; i += v_lanes) { /* lanes that are not there: mean - mean = 0 */
        vec d = v_sub(v_load_part(x + i, n - i, mean), m);
        s[0] = v_fma(d, d, s[0]);
    }
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

/* Loads of row i .. that may be missing altogether. */
TN_INLINE vec TN_R(load_or)(const T *p, int64_t i, int64_t n, T other)
{
    return p ? v_load_part(p + i, n - i, other) : v_set(other);
}

void TN_KR(norm_rows)(const struct tn__norm *a, int64_t begin, int64_t end)
{
    const int64_t n = a->n;
    const T      *gamma = a->gamma, *beta = a->beta;
    T            *mean = a->mean, *rstd = a->rstd;
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)a->x + r * n;
        T       *y = (T *)a->y + r * n;
        T        m = a->rms ? 0 : TN_R(row_sum)(x, n) / (T)n;
        T        s = 1 / tn__sqrt(TN_R(row_square)(x, n, m) / (T)n + (T)a->eps);
        if (!a->rms) mean[r] = m;
        rstd[r] = s;
        const vec vm = v_set(m), vs = v_set(s);
        for (int64_t i = 0; i < n; i += v_lanes) {
            vec h = v_mul(v_sub(v_load_part(x + i, n - i, 0), vm), vs);
            h = v_fma(h, TN_R(load_or)(gamma, i, n, 1), TN_R(load_or)(beta, i, n, 0));
            v_store_part(y + i, n - i, h);
        }
    }
}

/* With h = (x - mean) rstd and g = dy gamma:
 *   dx = rstd (g - mean(g) - h mean(g h)),  dgamma += dy h,  dbeta += dy
 * where rms drops mean(g). */
static void TN_R(norm_grad_row)(const tn__norm *a, int64_t r, T *dgamma, T *dbeta)
{
    const int64_t n = a->n;
    const T      *x = (const T *)a->x + r * n, *dy = (const T *)a->dy + r * n, *gamma = a->gamma;
    T            *dx = (T *)a->dx + r * n;
    const T       mean = a->rms ? 0 : ((const T *)a->mean)[r], rstd = ((const T *)a->rstd)[r];
    const vec     m = v_set(mean), s = v_set(rstd);
    vec           sum = v_set(0), dot = v_set(0);
    for (int64_t i = 0; i < n; i += v_lanes) {
        vec d = v_load_part(dy + i, n - i, 0);
        vec h = v_mul(v_sub(v_load_part(x + i, n - i, mean), m), s);
        vec g = v_mul(d, TN_R(load_or)(gamma, i, n, 1));
        if (dgamma) v_store_part(dgamma + i, n - i, v_fma(d, h, v_load_part(dgamma + i, n - i, 0)));
        if (dbeta) v_store_part(dbeta + i, n - i, v_add(d, v_load_part(dbeta + i, n - i, 0)));
        sum = v_add(sum, g);
        dot = v_fma(g, h, dot);
    }
    const vec c1 = v_set(a->rms ? 0 : v_sum(sum) / (T)n), c2 = v_set(-(v_sum(dot) / (T)n));
    for (int64_t i = 0; i < n; i += v_lanes) {
        vec h = v_mul(v_sub(v_load_part(x + i, n - i, mean), m), s);
        vec g = v_mul(v_load_part(dy + i, n - i, 0), TN_R(load_or)(gamma, i, n, 1));
        v_store_part(dx + i, n - i, v_mul(s, v_fma(h, c2, v_sub(g, c1))));
    }
}

void TN_KR(norm_grad_rows)(const struct tn__norm *a, int64_t begin, int64_t end)
{
    T *dgamma = a->dgamma, *dbeta = a->dbeta;
    for (int64_t i = 0; dgamma && i < a->n; i++) dgamma[i] = 0;
    for (int64_t i = 0; dbeta && i < a->n; i++) dbeta[i] = 0;
    for (int64_t r = begin; r < end; r++) TN_R(norm_grad_row)(a, r, dgamma, dbeta);
}

#endif
