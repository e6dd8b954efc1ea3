/* An optimizer from inside: optimizer.c keeps its state, train_step.c makes programs of it. */
#ifndef TN_NN_OPTIMIZER_INTERNAL_H
#define TN_NN_OPTIMIZER_INTERNAL_H

#include "autograd/ops/update.h"
#include "nn/optimizer.h"

typedef enum tn__optimizer_kind { TN__SGD, TN__ADAM, TN__ADAMW } tn__optimizer_kind;

/* What is kept for one parameter. */
typedef struct tn__slot_state {
    tn_node *param;
    int      index;        /* in the parameter set */
    tn_node *m, *v;        /* Adam's moments; m alone: momentum */
    tn_node *accumulated;  /* sum of gradients so far */
    tn_node *average;      /* of the parameter's own name, so that it can be bound in its place */
    bool     is_reached;   /* by an accumulating program */
    bool     is_trained;   /* by a program that updates, or by what a file says */
} tn__slot_state;

typedef struct tn__named_state {
    char    *name;
    tn_node *variable;
} tn__named_state;

struct tn_optimizer {
    tn_ctx            *ctx;
    tn_params         *params;
    tn__optimizer_kind kind;
    tn__adam           adam;
    double             momentum;
    bool               nesterov, ema_ramp, accumulate, decay_all, clips, averages;
    tn_group_options   group[TN_PARAM_GROUPS];
    tn_node           *lr, *weight_decay, *clip_norm, *ema_decay; /* f64 scalars */
    tn_node           *step, *run;                                /* i64 scalars */
    tn_node           *accumulated_count, *grad_norm;             /* f64 scalars */
    tn__slot_state    *slots;
    int                n_slots, cap_slots;
    tn__named_state   *states;
    int                n_states, cap_states;
};

/* Makes the state of trainable parameters that have none yet. */
tn_status tn__optimizer_extend(tn_optimizer *opt);

/* Is it known which slots are trained? Not of an optimizer whose state was set by hand, before the
 * first program. */
bool tn__optimizer_knows_trained(const tn_optimizer *opt);

/* A slot's average, or the parameter itself where that was never trained. */
tn_node *tn__optimizer_kept(const tn_optimizer *opt, const tn__slot_state *slot);

/* The same, and the parameter where no update reaches it now: it is frozen, or there was none. */
tn_node *tn__optimizer_average(const tn_optimizer *opt, const tn__slot_state *slot);

#endif
