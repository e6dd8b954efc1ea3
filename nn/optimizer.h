/* Optimizers: made once from a parameter set, shared by every program that trains it. All they
 * remember is variables, made at once and enumerable by name: moments, averages, accumulated
 * gradients, counters, and the scalars that the host sets between runs. */
#ifndef TN_NN_OPTIMIZER_H
#define TN_NN_OPTIMIZER_H

#include "autograd/ops.h" /* TN_NONE */
#include "nn/params.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_optimizer tn_optimizer;

/* What a parameter group does differently. 0: as it is (1); TN_NONE: not at all. */
typedef struct tn_group_options {
    double lr_scale, decay_scale; /* multiply the learning rate and the weight decay */
} tn_group_options;

/* What the options of every optimizer begin with. Here and below TN_NONE is none where 0 is a
 * default, and other negative numbers are refused (TN_ERR_ARG). */
#define TN_OPTIMIZER_OPTIONS                                                                       \
    double lr;            /* 0: 1e-3; no TN_NONE, but tn_optimizer_set_lr makes it 0 */            \
    double clip_norm;     /* gradients are scaled to a common norm of at most this; 0: no */       \
    double ema_decay;     /* averages: a = decay a + (1 - decay) w, at first the new w; 0: no */   \
    bool   ema_ramp;      /* decay is at most (1 + t) / (10 + t) in step t = 0, 1, .. */           \
    bool   accumulate;    /* memory to accumulate gradients in, for tn_accumulate_step */          \
    bool   decay_all;     /* weight decay also of vectors (biases, norms), as PyTorch does */      \
    tn_group_options group[TN_PARAM_GROUPS]; /* by tn_params_set_group */

/* g = dw + weight_decay w;  u = momentum u + g;  w -= lr u, with Nesterov's lr (g + momentum u).
 * All zeros but lr: plain gradient descent. */
typedef struct tn_sgd_options {
    TN_OPTIMIZER_OPTIONS
    double momentum;     /* 0: none */
    double weight_decay; /* 0: none */
    bool   nesterov;     /* with a momentum only */
} tn_sgd_options;

/* Adam (Kingma & Ba 2015); AdamW (Loshchilov & Hutter 2019) decays weights by lr weight_decay w,
 * Adam adds weight_decay w to the gradient. The bias correction counts the updates of the
 * optimizer, where PyTorch counts those of each parameter: one that joins late (unfrozen, or first
 * trained by another program) begins with steps of up to 3 lr, and an optimizer of its own with
 * lr. */
typedef struct tn_adam_options {
    TN_OPTIMIZER_OPTIONS
    double beta1, beta2; /* 0: 0.9 and 0.999; TN_NONE: no memory */
    double eps;          /* 0: 1e-8 */
    double weight_decay; /* 0: 0.01 of AdamW, none of Adam; TN_NONE: none */
} tn_adam_options;
typedef tn_adam_options tn_adamw_options;

TN_API tn_optimizer *tn_sgd_new(tn_params *p, const tn_sgd_options *options); /* NULL: defaults */
TN_API tn_optimizer *tn_adam_new(tn_params *p, const tn_adam_options *options);
TN_API tn_optimizer *tn_adamw_new(tn_params *p, const tn_adamw_options *options);
TN_API void          tn_optimizer_free(tn_optimizer *opt); /* before its parameters; NULL is fine */

/* Between runs. The last two need an optimizer that was made with the option (TN_ERR_STATE). What
 * is negative or not finite is refused (TN_ERR_ARG in the context) and changes nothing. */
TN_API void      tn_optimizer_set_lr(tn_optimizer *opt, double lr);
TN_API double    tn_optimizer_lr(const tn_optimizer *opt);
TN_API void      tn_optimizer_set_weight_decay(tn_optimizer *opt, double weight_decay);
TN_API tn_status tn_optimizer_set_clip_norm(tn_optimizer *opt, double norm); /* 0: no clipping */
TN_API tn_status tn_optimizer_set_ema_decay(tn_optimizer *opt, double decay);

TN_API int64_t tn_optimizer_steps(const tn_optimizer *opt); /* updates so far */
/* training runs so far, micro-batches too */
TN_API int64_t tn_optimizer_runs(const tn_optimizer *opt);

/* Forgets what was accumulated since the last update. */
TN_API void tn_optimizer_clear_accumulated(tn_optimizer *opt);

/* The common norm of all gradients in the last update, before clipping. NaN if neither clip_norm
 * nor skip_nonfinite made it known. */
TN_API double tn_optimizer_grad_norm(const tn_optimizer *opt);

/* ---- training programs ----------------------------------------------------------------------- */

typedef struct tn_train_step_options {
    /* scalar: gradients are divided by it (tokens, where loss is a sum); by 0 they are zeros */
    tn_node        *count;
    tn_node *const *outputs; /* also to be fetched: outputs 1 .. n_outputs of the program */
    int             n_outputs;
    tn_node        *guard;          /* bool scalar: commit only if it is true */
    bool            skip_nonfinite; /* commit only if the loss and all gradients are finite */
    tn_arena       *arena;          /* this and the rest as in tn_compile_options */
    bool            no_fusion, no_reuse;
    const char     *recompute;
} tn_train_step_options;

/* Forward, backward, clipping, update and averages as one program; output 0 is the loss. It trains
 * the parameters that are trainable now and that the loss depends on; the others stay as they are.
 * (Of an EVAL graph, too: then nothing is dropped, and norms use what they remember.)
 * TN_ERR_GRAD if there are none. A run whose guard is false gives TN_ERR_GUARD and changes nothing,
 * the numbers of random ops neither: fed the same it ends the same. Further runs need no
 * tn_clear_error, but building and compiling do, as after any error. */
TN_API tn_program *tn_train_step(tn_graph *g, tn_node *loss, tn_optimizer *opt);
TN_API tn_program *tn_train_step_with(tn_graph *g, tn_node *loss, tn_optimizer *opt,
                                      const tn_train_step_options *options);

/* Half of a step: adds the gradients of sum to the accumulators, and options->count (NULL: 1) to
 * their count. Any number of such programs, of any shapes, may run before an update. */
TN_API tn_program *tn_accumulate_step(tn_graph *g, tn_node *sum, tn_optimizer *opt,
                                      const tn_train_step_options *options);

/* The other half: divides what was accumulated by the count, clips, updates, averages, and clears
 * the accumulators. Make it after the accumulating programs: it updates what they reach and what
 * is trainable now; what was accumulated for a parameter that is frozen since is dropped. options
 * may be NULL; only skip_nonfinite, arena, no_fusion and no_reuse are looked at. */
TN_API tn_program *tn_update_step(tn_optimizer *opt, const tn_train_step_options *options);

/* ---- averages -------------------------------------------------------------------------------- */

/* The average of a parameter that no update reaches is the parameter itself: one that is frozen
 * now, that no program trains, and all of them before the first update. */

/* Points a program at the averages of the weights instead of the weights. To get back, bind the
 * parameters (tn_params_bind). TN_ERR_STATE if the optimizer keeps none. */
TN_API tn_status tn_optimizer_bind_average(const tn_optimizer *opt, tn_program *program);

/* Copies the averages to a set that is compatible with the optimizer's; buffers are copied from
 * there. */
TN_API tn_status tn_optimizer_copy_average(const tn_optimizer *opt, tn_params *to);

/* ---- state, for saving --------------------------------------------------------------------------
 * Everything that a resumed training needs beside the parameters: "optimizer.step",
 * "adam.m.<name>", "ema.<name>", .. : variables, to be read and set by tn_variable_data and
 * tn_variable_set. */

TN_API int         tn_optimizer_state_count(const tn_optimizer *opt);
TN_API tn_node    *tn_optimizer_state_at(const tn_optimizer *opt, int i);
TN_API const char *tn_optimizer_state_name(const tn_optimizer *opt, int i);
TN_API tn_node    *tn_optimizer_state_find(const tn_optimizer *opt, const char *name);

/* "sgd", "adam" or "adamw". */
TN_API const char *tn_optimizer_kind(const tn_optimizer *opt);
TN_API tn_params  *tn_optimizer_params(const tn_optimizer *opt);

#ifdef __cplusplus
}
#endif
#endif
