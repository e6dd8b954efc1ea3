/* Learning rates by step: pure functions, nothing to save but the step. */
#ifndef TN_NN_SCHEDULE_H
#define TN_NN_SCHEDULE_H

#include "tensor/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tn_schedule_kind {
    TN_SCHEDULE_CONSTANT, /* lr */
    TN_SCHEDULE_LINEAR,   /* from lr straight down to floor lr at the last step */
    TN_SCHEDULE_COSINE,   /* the same along half a cosine */
    TN_SCHEDULE_INV_SQRT, /* lr sqrt(warmup / s), warmup at least 1 */
    TN_SCHEDULE_NOAM      /* lr d_model^-1/2 min(s^-1/2, s warmup^-3/2): Vaswani et al. 2017, (3) */
} tn_schedule_kind;

typedef struct tn_schedule {
    tn_schedule_kind kind;
    double  lr;      /* the highest rate; of Noam a factor, 0: 1 */
    int64_t warmup;  /* steps in which the rate rises to it: lr s / warmup */
    int64_t total;   /* of linear and cosine: the last step, warm-up included; constant after it
                      * (0: the rate falls to its last right behind the warm-up) */
    double  floor;   /* of linear and cosine: the last rate, as a fraction of lr */
    int64_t d_model; /* of Noam */
} tn_schedule;

/* The rate of step s = 1, 2, .. (anything less counts as 1); NaN if there is no schedule. */
TN_API double tn_schedule_lr(const tn_schedule *schedule, int64_t step);

#ifdef __cplusplus
}
#endif
#endif
