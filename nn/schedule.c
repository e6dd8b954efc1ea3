/* Learning-rate schedules. */
#include "nn/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846

/* How far s is on the way from the end of the warm-up to the last step, in [0, 1]. */
static double progress(const tn_schedule *c, double s)
{
    double start = (double)c->warmup, end = (double)c->total;
    if (end <= start) return s > start ? 1 : 0;
    return s <= start ? 0 : s >= end ? 1 : (s - start) / (end - start);
}

double tn_schedule_lr(const tn_schedule *c, int64_t step)
{
    if (!c) return NAN;
    double s = step < 1 ? 1 : (double)step, warmup = (double)c->warmup;
    double rise = s < warmup ? s / warmup : 1, left;
    switch (c->kind) {
    case TN_SCHEDULE_LINEAR: left = 1 - progress(c, s); break;
    case TN_SCHEDULE_COSINE: left = 0.5 * (1 + cos(PI * progress(c, s))); break;
    case TN_SCHEDULE_INV_SQRT:
        if (warmup < 1) warmup = 1;
        return c->lr * (s < warmup ? s / warmup : sqrt(warmup / s));
    case TN_SCHEDULE_NOAM:
        if (warmup < 1) warmup = 1;
        return (c->lr == 0 ? 1 : c->lr) / sqrt(c->d_model > 0 ? (double)c->d_model : 1) *
               fmin(1 / sqrt(s), s / (warmup * sqrt(warmup)));
    default: return c->lr * rise;
    }
    return c->lr * rise * (c->floor + (1 - c->floor) * left);
}
