/* The training of a translation model: programs by shape, steps, learning rates, validation. */
#ifndef EXAMPLES_TRAINING_H
#define EXAMPLES_TRAINING_H

#include "translation.h"

#include <signal.h>

typedef struct training_options {
    bool    packed;
    int64_t tokens, max_length;      /* of a batch's side, of a sentence */
    int64_t accumulate;              /* batches of an update */
    double  label_smoothing, lr, clip, weight_decay, ema; /* 0: off */
    double  beta2;
    tn_schedule_kind schedule;
    int64_t warmup, steps, epochs;   /* steps and epochs 0: until the time is over */
    double  seconds;                 /* 0: no limit; else linear and cosine end with it */
    int64_t patience;                /* ends after so many validations no better; 0: never */
    uint64_t seed;
    bool     profile;                /* measure each op of the training programs */
    /* the layers' insides, for backward, instead of keeping them */
    bool     recompute;
    /* a number that becomes 1 or more where an update is to be given up; NULL: none */
    const volatile sig_atomic_t *interrupted;
} training_options;

typedef struct training {
    translation      *t;
    training_options  o;
    tn_token_pairs   *pairs, *valid_pairs;
    tn_batches       *batches, *valid;
    tn_optimizer     *optimizer;
    tn_program_cache *programs;
    tn_program       *update, *last; /* last: what the latest training batch ran */
    /* of the weights, where there is one: what is validated and saved as best */
    translation       average;
    int64_t           step;
    int64_t           per_epoch;   /* of epochs: batches of the first; of others about as many */
    double            spent;       /* seconds of training, of earlier runs too */
    double            best;        /* perplexity */
    uint64_t          best_of;     /* the pairs it is of, as a fingerprint; 0: not known */
    int64_t           stale;       /* validations since the best one */
    bool              is_best_other; /* it was of other pairs than those to validate on now */
    double            sum, nll, count, tokens, seconds; /* since the last report */
    int64_t           reported;    /* steps since then */
    int64_t           skipped;     /* steps with gradients that are not finite */
    int64_t           skipped_now; /* of them, the latest in a row */
} training;

tn_status training_begin(training *r, translation *t, const tn_corpus *train,
                         const tn_corpus *valid, const training_options *o);
void      training_end(training *r);

bool      training_is_over(const training *r);
/* Steps in all, 0: not known. Of epochs, by the batches that are left of them. */
int64_t   training_steps(const training *r);
double    training_rate(const training *r); /* the learning rate of the next step */
/* An update. One of several batches may be given up between them, interrupted or for the time that
 * is over: then r->step stays, and all is as before but the time spent. */
tn_status training_step(training *r);

/* Prints what came of the steps since the last report. */
void training_report(training *r);

/* Where the training is, as lines "name=value": what weights and optimizer do not know themselves.
 * And back to there, before the first step, with weights and optimizer from a file; the options
 * that the training was begun with hold, not those in the file. An average, clipping and
 * accumulating may begin or end there; an average begins with the weights of the file. */
void      training_tell(const training *r, char *text, size_t size);
tn_status training_resume(training *r, const char *path, const char *text);

/* Perplexity of the validation pairs, by the average if there is one. An error if it is not finite:
 * the training has diverged. */
tn_status training_validate(training *r, double *perplexity);

/* Is the model worth keeping? An error if the loss of the next batch is not finite: an update may
 * be, and spoil the weights. Changes nothing. */
tn_status training_check(training *r);

/* What is validated: the average of the weights, brought up to date, or the weights. */
const translation *training_model(training *r);

#endif
