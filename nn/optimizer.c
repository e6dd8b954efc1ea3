/* The state of optimizers: variables and their names. */
#include "nn/optimizer_internal.h"

#include "autograd/internal.h"

#include <math.h>
#include <string.h>

static const char *const kind_names[] = { "sgd", "adam", "adamw" };

/* 0 is the default, TN_NONE is none; other negative numbers stay, to be refused. */
static double option(double value, double otherwise)
{
    return value == 0 ? otherwise : value == TN_NONE ? 0 : value;
}

/* ---- variables ------------------------------------------------------------------------------- */

static bool grow(tn_ctx *ctx, void *array, int n, int *capacity, size_t size)
{
    int64_t wide = *capacity;
    bool    ok = tn__grow(ctx, array, n, &wide, size);
    *capacity = (int)wide;
    return ok;
}

/* A new variable, entered under the name "prefix" "name"; its own name is that too, or `own`. */
static tn_node *state(tn_optimizer *opt, const char *prefix, const char *name, const char *own,
                      tn_dtype dtype, tn_shape shape)
{
    size_t length = strlen(prefix) + strlen(name) + 1;
    if (!grow(opt->ctx, &opt->states, opt->n_states, &opt->cap_states, sizeof *opt->states))
        return NULL;
    char *full = tn_alloc(opt->ctx, length);
    if (!full) return NULL;
    strcat(strcpy(full, prefix), name);
    tn_node *v = tn_variable_new(opt->ctx, own ? own : full, dtype, shape);
    if (!v) {
        tn_free(opt->ctx, full);
        return NULL;
    }
    opt->states[opt->n_states++] = (tn__named_state){ full, v };
    return v;
}

static tn_node *scalar(tn_optimizer *opt, const char *name, tn_dtype dtype, double value)
{
    tn_node *v = state(opt, "optimizer.", name, NULL, dtype, TN_SCALAR);
    tn_variable_fill(v, value);
    return v;
}

/* All but the first n. */
static void drop_states(tn_optimizer *opt, int n)
{
    while (opt->n_states > n) {
        const tn__named_state *last = &opt->states[--opt->n_states];
        tn_variable_free(last->variable), tn_free(opt->ctx, last->name);
    }
}

static bool has_slot(const tn_optimizer *opt, const tn_node *param)
{
    for (int i = 0; i < opt->n_slots; i++)
        if (opt->slots[i].param == param) return true;
    return false;
}

static tn_status add_slot(tn_optimizer *opt, int index)
{
    tn_node       *w = tn_params_at(opt->params, index);
    const char    *name = tn_variable_name(w);
    tn_dtype       dtype = tn_node_dtype(w);
    tn_shape       shape = tn_node_shape(w);
    const int      before = opt->n_states;
    tn__slot_state s = { .param = w, .index = index };
    bool           ok = grow(opt->ctx, &opt->slots, opt->n_slots, &opt->cap_slots,
                             sizeof *opt->slots);
    if (ok && opt->kind != TN__SGD) {
        ok = (s.m = state(opt, "adam.m.", name, NULL, dtype, shape)) &&
             (s.v = state(opt, "adam.v.", name, NULL, dtype, shape));
    } else if (ok && opt->momentum > 0) {
        ok = (s.m = state(opt, "sgd.momentum.", name, NULL, dtype, shape)) != NULL;
    }
    if (ok && opt->accumulate)
        ok = (s.accumulated = state(opt, "accumulated.", name, NULL, dtype, shape)) != NULL;
    if (ok && opt->averages) {
        s.average = state(opt, "ema.", name, name, dtype, shape);
        ok = s.average && tn_variable_set(s.average, tn_variable_data(w),
                                          tn_variable_bytes(w)) == TN_OK;
    }
    if (!ok) {
        drop_states(opt, before); /* the next try makes all of them */
        return tn_ctx_status(opt->ctx);
    }
    opt->slots[opt->n_slots++] = s;
    return TN_OK;
}

tn_status tn__optimizer_extend(tn_optimizer *opt)
{
    tn_status s = TN_OK;
    for (int i = 0; s == TN_OK && i < tn_params_count(opt->params); i++)
        if (tn_params_is_trainable(opt->params, i) && !has_slot(opt, tn_params_at(opt->params, i)))
            s = add_slot(opt, i);
    return s;
}

/* ---- new and free ---------------------------------------------------------------------------- */

typedef struct common_options {
    TN_OPTIMIZER_OPTIONS
} common_options;

static bool is_fraction(double x) { return x >= 0 && x < 1; }
static bool is_rate(double x) { return x >= 0 && isfinite(x); }

typedef struct named {
    const char *name;
    double      value;
} named;

static tn_optimizer *refuse(tn_ctx *ctx, const char *kind, const named *option, const char *range)
{
    tn_fail(ctx, TN_ERR_ARG, "tn_%s_new: %s is %g, not %s", kind, option->name, option->value,
            range);
    return NULL;
}

static tn_optimizer *optimizer_new(tn_params *p, tn__optimizer_kind kind, const common_options *o,
                                   double weight_decay, double momentum, const tn__adam *adam)
{
    tn_ctx     *ctx = tn_params_ctx(p);
    const char *name = kind_names[kind];
    double      lr = option(o->lr, 1e-3), ema = option(o->ema_decay, 0),
                clip_norm = option(o->clip_norm, 0);
    if (!p) return NULL;
    const named rates[] = { { "lr", o->lr }, { "clip_norm", clip_norm }, { "eps", adam->eps },
                            { "weight_decay", weight_decay } };
    const named fractions[] = { { "ema_decay", ema }, { "momentum", momentum },
                                { "beta1", adam->beta1 }, { "beta2", adam->beta2 } };
    for (int i = 0; i < 4; i++) {
        if (!is_rate(rates[i].value)) return refuse(ctx, name, &rates[i], "0 or more, and finite");
        if (!is_fraction(fractions[i].value)) return refuse(ctx, name, &fractions[i], "in [0, 1)");
    }
    tn_group_options group[TN_PARAM_GROUPS];
    for (int i = 0; i < TN_PARAM_GROUPS; i++) {
        const named scales[] = { { "lr_scale", option(o->group[i].lr_scale, 1) },
                                 { "decay_scale", option(o->group[i].decay_scale, 1) } };
        for (int k = 0; k < 2; k++)
            if (!is_rate(scales[k].value))
                return refuse(ctx, name, &scales[k], "0 or more, and finite");
        group[i] = (tn_group_options){ scales[0].value, scales[1].value };
    }
    tn_optimizer *opt = tn_alloc(ctx, sizeof *opt);
    if (!opt) return NULL;
    opt->ctx = ctx, opt->params = p, opt->kind = kind, opt->adam = *adam, opt->momentum = momentum;
    opt->ema_ramp = o->ema_ramp, opt->accumulate = o->accumulate, opt->decay_all = o->decay_all;
    opt->clips = clip_norm > 0, opt->averages = ema > 0;
    memcpy(opt->group, group, sizeof group);
    bool ok = (opt->step = scalar(opt, "step", TN_I64, 0)) &&
              (opt->run = scalar(opt, "run", TN_I64, 0)) &&
              (opt->lr = scalar(opt, "lr", TN_F64, lr)) &&
              (opt->weight_decay = scalar(opt, "weight_decay", TN_F64, weight_decay));
    if (ok && opt->clips)
        ok = (opt->clip_norm = scalar(opt, "clip_norm", TN_F64, clip_norm)) != NULL;
    if (ok && opt->averages) ok = (opt->ema_decay = scalar(opt, "ema_decay", TN_F64, ema)) != NULL;
    if (ok && opt->accumulate)
        ok = (opt->accumulated_count = scalar(opt, "accumulated_count", TN_F64, 0)) != NULL;
    opt->grad_norm = ok ? tn_variable_new(ctx, "optimizer.grad_norm", TN_F64, TN_SCALAR) : NULL;
    ok = opt->grad_norm != NULL;
    if (ok) tn_variable_fill(opt->grad_norm, NAN);
    if (ok && tn__optimizer_extend(opt) == TN_OK) return opt;
    tn_optimizer_free(opt);
    return NULL;
}

tn_optimizer *tn_sgd_new(tn_params *p, const tn_sgd_options *options)
{
    tn_sgd_options o = options ? *options : (tn_sgd_options){ 0 };
    common_options common;
    if (o.nesterov && option(o.momentum, 0) == 0)
        return refuse(tn_params_ctx(p), "sgd", &(named){ "momentum", 0 }, "what nesterov needs");
    memcpy(&common, &o, sizeof common); /* the fields that the options begin with */
    tn_optimizer *opt = optimizer_new(p, TN__SGD, &common, option(o.weight_decay, 0),
                                      option(o.momentum, 0), &(tn__adam){ 0 });
    if (opt) opt->nesterov = o.nesterov;
    return opt;
}

static tn_optimizer *adam_new(tn_params *p, const tn_adam_options *options, tn__optimizer_kind kind,
                              double weight_decay)
{
    tn_adam_options o = options ? *options : (tn_adam_options){ 0 };
    common_options  common;
    memcpy(&common, &o, sizeof common);
    tn__adam adam = { .beta1 = option(o.beta1, 0.9), .beta2 = option(o.beta2, 0.999),
                      .eps = option(o.eps, 1e-8), .decoupled = kind == TN__ADAMW };
    return optimizer_new(p, kind, &common, option(o.weight_decay, weight_decay), 0, &adam);
}

tn_optimizer *tn_adam_new(tn_params *p, const tn_adam_options *options)
{
    return adam_new(p, options, TN__ADAM, 0);
}

tn_optimizer *tn_adamw_new(tn_params *p, const tn_adamw_options *options)
{
    return adam_new(p, options, TN__ADAMW, 0.01);
}

void tn_optimizer_free(tn_optimizer *opt)
{
    if (!opt) return;
    drop_states(opt, 0);
    tn_variable_free(opt->grad_norm);
    tn_free(opt->ctx, opt->states), tn_free(opt->ctx, opt->slots), tn_free(opt->ctx, opt);
}

/* ---- between runs ---------------------------------------------------------------------------- */

static double value_of(const tn_node *v)
{
    return tn__load(tn_node_dtype(v), tn_variable_data(v), 0);
}

static tn_status set_option(tn_optimizer *opt, tn_node *variable, const char *name, double value)
{
    if (!variable)
        return tn_fail(opt->ctx, TN_ERR_STATE,
                       "tn_optimizer_set_%s: the optimizer was made without", name);
    if (!is_rate(value))
        return tn_fail(opt->ctx, TN_ERR_ARG, "tn_optimizer_set_%s: %g is not 0 or more, and finite",
                       name, value);
    return tn_variable_fill(variable, value);
}

void tn_optimizer_set_lr(tn_optimizer *opt, double lr)
{
    if (opt) set_option(opt, opt->lr, "lr", lr);
}

double tn_optimizer_lr(const tn_optimizer *opt) { return opt ? value_of(opt->lr) : NAN; }

void tn_optimizer_set_weight_decay(tn_optimizer *opt, double weight_decay)
{
    if (opt) set_option(opt, opt->weight_decay, "weight_decay", weight_decay);
}

tn_status tn_optimizer_set_clip_norm(tn_optimizer *opt, double norm)
{
    return opt ? set_option(opt, opt->clip_norm, "clip_norm", norm) : TN_ERR_ARG;
}

tn_status tn_optimizer_set_ema_decay(tn_optimizer *opt, double decay)
{
    if (!opt) return TN_ERR_ARG;
    if (opt->ema_decay && !is_fraction(decay))
        return tn_fail(opt->ctx, TN_ERR_ARG, "tn_optimizer_set_ema_decay: %g is not in [0, 1)",
                       decay);
    return set_option(opt, opt->ema_decay, "ema_decay", decay);
}

void tn_optimizer_clear_accumulated(tn_optimizer *opt)
{
    for (int i = 0; opt && i < opt->n_slots; i++) tn_variable_fill(opt->slots[i].accumulated, 0);
    if (opt) tn_variable_fill(opt->accumulated_count, 0);
}

int64_t tn_optimizer_steps(const tn_optimizer *opt)
{
    return opt ? *(int64_t *)tn_variable_data(opt->step) : 0;
}

int64_t tn_optimizer_runs(const tn_optimizer *opt)
{
    return opt ? *(int64_t *)tn_variable_data(opt->run) : 0;
}

double tn_optimizer_grad_norm(const tn_optimizer *opt)
{
    return opt ? value_of(opt->grad_norm) : NAN;
}

const char *tn_optimizer_kind(const tn_optimizer *opt) { return opt ? kind_names[opt->kind] : ""; }
tn_params  *tn_optimizer_params(const tn_optimizer *opt) { return opt ? opt->params : NULL; }

/* ---- state ----------------------------------------------------------------------------------- */

int tn_optimizer_state_count(const tn_optimizer *opt) { return opt ? opt->n_states : 0; }

tn_node *tn_optimizer_state_at(const tn_optimizer *opt, int i)
{
    return opt && i >= 0 && i < opt->n_states ? opt->states[i].variable : NULL;
}

const char *tn_optimizer_state_name(const tn_optimizer *opt, int i)
{
    return opt && i >= 0 && i < opt->n_states ? opt->states[i].name : "";
}

tn_node *tn_optimizer_state_find(const tn_optimizer *opt, const char *name)
{
    for (int i = 0; name && i < tn_optimizer_state_count(opt); i++)
        if (strcmp(opt->states[i].name, name) == 0) return opt->states[i].variable;
    return NULL;
}

/* ---- averages -------------------------------------------------------------------------------- */

bool tn__optimizer_knows_trained(const tn_optimizer *opt)
{
    bool any = false;
    for (int i = 0; i < opt->n_slots; i++) any |= opt->slots[i].is_trained;
    return any;
}

tn_node *tn__optimizer_kept(const tn_optimizer *opt, const tn__slot_state *slot)
{
    return slot->is_trained || !tn__optimizer_knows_trained(opt) ? slot->average : slot->param;
}

tn_node *tn__optimizer_average(const tn_optimizer *opt, const tn__slot_state *slot)
{
    const bool is_reached = tn_params_is_trainable(opt->params, slot->index) &&
        tn_optimizer_steps(opt) > 0;
    return is_reached ? tn__optimizer_kept(opt, slot) : slot->param;
}

static tn_status needs_averages(const tn_optimizer *opt)
{
    if (!opt) return TN_ERR_ARG;
    if (opt->averages) return TN_OK;
    return tn_fail(opt->ctx, TN_ERR_STATE, "the optimizer keeps no averages: set ema_decay");
}

tn_status tn_optimizer_bind_average(const tn_optimizer *opt, tn_program *program)
{
    tn_status s = needs_averages(opt);
    if (s != TN_OK) return s;
    if (!program) return tn_fail(opt->ctx, TN_ERR_ARG, "tn_optimizer_bind_average: no program");
    tn_node **list = tn_alloc(opt->ctx, (size_t)(opt->n_slots + 1) * sizeof *list);
    if (!list) return tn_ctx_status(opt->ctx);
    for (int i = 0; i < opt->n_slots; i++)
        list[i] = tn__optimizer_average(opt, &opt->slots[i]);
    s = tn_program_bind(program, list, opt->n_slots);
    tn_free(opt->ctx, list);
    return s;
}

tn_status tn_optimizer_copy_average(const tn_optimizer *opt, tn_params *to)
{
    tn_status s = needs_averages(opt);
    if (s == TN_OK && to != opt->params) s = tn_params_copy(to, opt->params);
    for (int i = 0; s == TN_OK && i < opt->n_slots; i++) {
        const tn_node *a = tn__optimizer_average(opt, &opt->slots[i]);
        tn_node       *w = tn_params_find(to, tn_variable_name(a));
        if (w != a) s = tn_variable_set(w, tn_variable_data(a), tn_variable_bytes(a));
    }
    return s;
}
