/* Cross-entropy of rows of logits with class targets, and its gradient. */
#include "tensor/kernels/loss.h"
#include "tensor/kernels/simd.h"

#include <math.h>

#ifndef TN_REAL

#define TN_REAL f32
#include "tensor/kernels/loss.c"
#undef TN_REAL
#define TN_REAL f64
#include "tensor/kernels/loss.c"
#undef TN_REAL

#else

#include "tensor/kernels/rows.h"

static bool TN_R(ignored)(const tn__cross_entropy *a, int64_t target)
{
    return a->has_ignore && target == a->ignore;
}

/* What is subtracted before exp: the maximum, rounded down; 0 of a row of -inf alone. */
TN_INLINE T TN_R(shift_of)(T max) { return max == (T)-INFINITY ? 0 : tn__floor(max); }

/* Probabilities so small are 0 in gradients: what they would be multiplied by makes subnormal
 * numbers of them, at a hundred times the cost of others. */
static const T TN_R(least) = sizeof(T) == 4 ? (T)0x1p-80 : (T)0x1p-900;

/* loss and nll of row r, from l = log sum e^(x - shift). */
static void TN_R(row_losses)(const tn__cross_entropy *a, int64_t r, T x_target, T x_sum, T shift,
                             T l)
{
    const T e = (T)a->smoothing, nll = (shift - x_target) + l;
    ((T *)a->nll)[r] = nll;
    ((T *)a->loss)[r] = e == 0 ? nll : (1 - e) * nll + e * ((shift - x_sum / (T)a->n) + l);
}

/* What is subtracted from row r; 0 of one that is ignored. */
__attribute__((noinline)) static T TN_R(shift_of_row)(const tn__cross_entropy *a, int64_t r)
{
    if (TN_R(ignored)(a, tn__target_at(a->target, a->target_dtype, r))) return 0;
    return TN_R(shift_of)(TN_R(row_max)((const T *)a->logits + r * a->n, a->n));
}

/* loss, nll, shift and log_sum of row r; where e is not NULL, e = e^(x - shift) too (it may be
 * x). */
static void TN_R(forward_row)(const tn__cross_entropy *a, int64_t r, T shift, T *e,
                              tn__queue *queue)
{
    const T      *x = (const T *)a->logits + r * a->n;
    const int64_t target = tn__target_at(a->target, a->target_dtype, r);
    T             l = 0;
    if (TN_R(ignored)(a, target)) {
        ((T *)a->nll)[r] = ((T *)a->loss)[r] = 0;
    } else {
        const T x_target = x[target], x_sum = a->smoothing > 0 ? TN_R(row_sum)(x, a->n) : 0;
        l = tn__log(TN_R(row_exp)(x, e, a->n, shift, queue));
        TN_R(row_losses)(a, r, x_target, x_sum, shift, l);
    }
    ((T *)a->shift)[r] = shift, ((T *)a->log_sum)[r] = l;
}

/* p = e^(x - shift) e^-log_sum; e: the first of them, NULL: it is made of x, again.
 * dlogits = (dloss + dnll + dlog_sum) p - dloss s / n, and at the target - (1 - s) dloss - dnll,
 * s the smoothing. */
static void TN_R(backward_row)(const tn__cross_entropy *a, int64_t r, const T *e,
                               TN_R(far_rows) *far)
{
    const int64_t n = a->n, target = tn__target_at(a->target, a->target_dtype, r);
    const T      *x = (const T *)a->logits + r * n;
    T            *to = (T *)a->dlogits + r * n, *dx = TN_R(row_begin)(far, to);
    if (TN_R(ignored)(a, target)) {
        for (int64_t i = 0; i < n; i++) to[i] = 0;
        return;
    }
    const T   s = (T)a->smoothing, dloss = ((const T *)a->dloss)[r], dnll = ((const T *)a->dnll)[r];
    const vec all = v_set(dloss + dnll + ((const T *)a->dlog_sum)[r]);
    const vec u = v_set(-(dloss * (s / (T)n))), m = v_set(((const T *)a->shift)[r]);
    const vec c = v_set(tn__exp(-((const T *)a->log_sum)[r]));
    for (int64_t at = 0, part; at < n; at += part) {
        T *made = TN_R(part_begin)(far, dx + at);
        part = TN_R(part_of)(far, n - at);
        for (int64_t i = 0; i < part; i += v_lanes) {
            tn__queue_run(&far->queue, 1);
            vec p = e ? v_load_part(e + at + i, part - i, 0)
                      : v_exp(v_sub(v_load_part(x + at + i, part - i, 0), m));
            p = v_drop_below(v_mul(p, c), TN_R(least));
            v_store_part(made + i, part - i, v_fma(p, all, u));
        }
        if (target >= at && target < at + part) made[target - at] -= (1 - s) * dloss + dnll;
        TN_R(part_end)(far, dx + at, part, x + at, x + at, n);
    }
    TN_R(row_end)(far, to, n, x + n, x + n); /* the next row is being looked at already */
}

/* Forward where there is a loss, backward where there are dlogits; both of a row while it is in the
 * cache, with the same bits. The largest of the next row is looked for between the two: the
 * logarithm takes as long. */
void TN_KR(cross_entropy_rows)(const struct tn__cross_entropy *a, int64_t begin, int64_t end)
{
    TN_R(far_rows) far;
    TN_R(far_begin)(&far, a->dlogits && a->is_far, a->n);
    const bool keeps = a->loss && a->dlogits && !(tn__streams && far.is_long);
    T          shift = a->loss && begin < end ? TN_R(shift_of_row)(a, begin) : 0;
    for (int64_t r = begin; r < end; r++) {
        T *e = keeps ? TN_R(row_begin)(&far, (T *)a->dlogits + r * a->n) : NULL;
        if (!a->dlogits) { /* the next row is asked for meanwhile */
            const char *next = (const char *)((const T *)a->logits + (r + 1) * a->n);
            far.queue = (tn__queue){ NULL, NULL, { next, next },
                                     a->n * (int64_t)sizeof(T) / TN_LINE };
        }
        if (a->loss) {
            TN_R(forward_row)(a, r, shift, e, &far.queue);
            if (r + 1 < end) shift = TN_R(shift_of_row)(a, r + 1);
        }
        if (a->dlogits) TN_R(backward_row)(a, r, e, &far);
    }
    TN_R(far_end)(&far);
}

/* x += b. */
static void TN_R(row_add)(T *x, const T *b, int64_t n)
{
    for (int64_t i = 0; i < n; i += v_lanes)
        v_store_part(x + i, n - i, v_add(v_load_part(x + i, n - i, 0),
                                         v_load_part(b + i, n - i, 0)));
}

/* Forward and, with_grad, backward in one go, for dloss = 1: the logits (in dlogits) are
 * overwritten by their gradient p - (1 - e) onehot(target) - e / n. No row is ignored. */
void TN_KR(cross_entropy_step_rows)(const struct tn__cross_entropy *a, int64_t begin, int64_t end)
{
    const int64_t n = a->n;
    for (int64_t r = begin; r < end; r++) {
        T            *x = (T *)a->dlogits + r * n;
        const int64_t target = tn__target_at(a->target, a->target_dtype, r);
        const T       e = (T)a->smoothing;
        tn__queue     none = { .lines = 0 };
        if (a->bias) TN_R(row_add)(x, a->bias, n);
        const T shift = TN_R(shift_of)(TN_R(row_max)(x, n)), x_target = x[target];
        const T x_sum = e > 0 ? TN_R(row_sum)(x, n) : 0;
        const T sum = TN_R(row_exp)(x, a->with_grad ? x : NULL, n, shift, &none);
        TN_R(row_losses)(a, r, x_target, x_sum, shift, tn__log(sum));
        if (!a->with_grad) continue;
        const vec c = v_set(1 / sum), u = v_set(-(e / (T)n));
        int64_t   i = 0;
        for (; i + v_lanes <= n; i += v_lanes)
            v_store(x + i, v_fma(v_drop_below(v_load(x + i), TN_R(least)), c, u));
        v_store_part(x + i, n - i, v_fma(v_drop_below(v_load_part(x + i, n - i, 0), TN_R(least)), c,
                                         u));
        x[target] -= 1 - e;
    }
}

/* sum[j] += x[0][j] + x[1][j] + .., in this order: rows lie `stride` apart. */
void TN_KR(add_rows)(const void *x_, int64_t rows, int64_t stride, int64_t n, void *sum_)
{
    const T *x = x_;
    T       *sum = sum_;
    int64_t  j = 0;
    for (; j + 4 * v_lanes <= n; j += 4 * v_lanes) {
        vec s[4];
        for (int k = 0; k < 4; k++) s[k] = v_load(sum + j + k * v_lanes);
        for (int64_t r = 0; r < rows; r++)
            for (int k = 0; k < 4; k++)
                s[k] = v_add(s[k], v_load(x + r * stride + j + k * v_lanes));
        for (int k = 0; k < 4; k++) v_store(sum + j + k * v_lanes, s[k]);
    }
    for (; j < n; j += v_lanes) {
        vec s = v_load_part(sum + j, n - j, 0);
        for (int64_t r = 0; r < rows; r++) s = v_add(s, v_load_part(x + r * stride + j, n - j, 0));
        v_store_part(sum + j, n - j, s);
    }
}

#endif
