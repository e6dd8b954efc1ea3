/* Training programs: gradients, clipping, update and averages, as graph.
 *
 * Scalars are computed once a step, in f64, from variables; what they come to is rounded to the
 * parameters' dtype at the end. The step counter is one of them, so a resumed run has the same
 * bits. */
#include "autograd/internal.h"
#include "nn/optimizer_internal.h"

#include <string.h>

typedef struct building {
    tn_graph     *g;
    tn_optimizer *opt;
    tn_node     **grad;      /* by slot; NULL: not reached */
    tn_node     **out;       /* outputs of the program */
    int           n_out;
    tn_node      *t;         /* 1 + updates so far, f64 */
    tn_node      *scale;     /* of gradients: 1 / count, and clipping; in the parameters' dtype */
    tn_node      *rate[TN_PARAM_GROUPS], *decay[TN_PARAM_GROUPS][2]; /* of vectors, of matrices */
    tn_node      *root, *average_rate;
    tn_node      *guard;
    bool          knows_trained; /* before this program */
    bool         *trains;        /* by slot: this program does */
} building;

static tn_node *number(const building *b, double value)
{
    return tn_full(b->g, TN_F64, TN_SCALAR, value);
}

static tn_node *to_dtype(const building *b, tn_node *x)
{
    return tn_cast(x, tn_params_dtype(b->opt->params));
}

/* ---- scalars --------------------------------------------------------------------------------- */

static void require_finite(building *b, tn_node *x)
{
    tn_node *finite = tn_isfinite(x);
    b->guard = b->guard ? tn_logical_and(b->guard, finite) : finite;
}

/* Of all gradients, f64. */
static tn_node *sum_squares(const building *b)
{
    enum { MOST = 4096 }; /* inputs of an op */
    int       n = 0;
    tn_node **list = tn_alloc(b->opt->ctx, (size_t)b->opt->n_slots * sizeof *list), *sum = NULL;
    for (int i = 0; list && i < b->opt->n_slots; i++)
        if (b->grad[i]) list[n++] = b->grad[i];
    for (int i = 0; i < n; i += MOST) {
        tn_node *part = tn__sum_squares(list + i, n - i < MOST ? n - i : MOST);
        sum = i ? tn_add(sum, part) : part;
    }
    tn_free(b->opt->ctx, list);
    return sum;
}

/* The factor on every gradient, from their common norm and the number that they are divided by. */
static void make_scale(building *b, tn_node *count, bool skip_nonfinite)
{
    tn_optimizer *opt = b->opt;
    tn_node      *scale = number(b, 1), *zero = number(b, 0);
    if (count) scale = tn_where(tn_le(count, zero), zero, tn_reciprocal(count)); /* NaN stays */
    if (opt->clips || skip_nonfinite) {
        tn_node *norm = tn_mul(tn_sqrt(sum_squares(b)), scale);
        b->out[b->n_out++] = tn_assign(opt->grad_norm, norm);
        if (skip_nonfinite) require_finite(b, norm);
        if (opt->clips) { /* most / (norm + 1e-6), at most 1 */
            tn_node *most = tn_read(b->g, opt->clip_norm), *one = number(b, 1);
            tn_node *factor = tn_minimum(tn_div(most, tn_add_scalar(norm, 1e-6)), one);
            scale = tn_mul(scale, tn_where(tn_gt(most, zero), factor, one));
        }
    }
    b->scale = to_dtype(b, scale);
}

/* Learning rate and decay of a group: Adam's rate has the bias correction 1 / (1 - beta1^t) in
 * it. */
static void make_group(building *b, int group)
{
    tn_optimizer           *opt = b->opt;
    const tn_group_options *o = &opt->group[group];
    tn_node *lr = tn_scale(tn_read(b->g, opt->lr), o->lr_scale), *rate = lr;
    tn_node *decay = tn_scale(tn_read(b->g, opt->weight_decay), o->decay_scale);
    if (opt->kind != TN__SGD && opt->adam.beta1 > 0)
        rate = tn_div(lr, tn_affine(tn_pow(number(b, opt->adam.beta1), b->t), -1, 1));
    if (opt->kind == TN__ADAMW) decay = tn_mul(lr, decay);
    b->rate[group] = to_dtype(b, rate);
    b->decay[group][1] = to_dtype(b, decay);
    b->decay[group][0] = opt->decay_all ? b->decay[group][1] : to_dtype(b, number(b, 0));
}

static void make_scalars(building *b, tn_node *count, bool skip_nonfinite)
{
    tn_optimizer *opt = b->opt;
    tn_node      *steps = tn_cast(tn_read(b->g, opt->step), TN_F64);
    b->t = tn_add_scalar(steps, 1);
    b->out[b->n_out++] = tn_assign(opt->step, tn_add_scalar(tn_read(b->g, opt->step), 1));
    make_scale(b, count, skip_nonfinite);
    if (opt->kind != TN__SGD)
        b->root = to_dtype(b, opt->adam.beta2 > 0
                                  ? tn_rsqrt(
                                        tn_affine(tn_pow(number(b, opt->adam.beta2), b->t), -1, 1))
                                  : number(b, 1));
    if (opt->averages) { /* 1 - decay; the first average is the first weights themselves */
        tn_node *rate = tn_affine(tn_read(b->g, opt->ema_decay), -1, 1), *zero = number(b, 0);
        if (opt->ema_ramp) rate = tn_maximum(rate, tn_div(number(b, 9), tn_add_scalar(steps, 10)));
        b->average_rate = to_dtype(b, tn_where(tn_eq(steps, zero), number(b, 1), rate));
    }
}

/* ---- updates --------------------------------------------------------------------------------- */

/* Returns the parameter's new value. */
static tn_node *update(building *b, int slot, tn_node *dw)
{
    tn_optimizer         *opt = b->opt;
    const tn__slot_state *s = &opt->slots[slot];
    int                   group = tn_params_group(opt->params, s->index);
    tn_node              *w = tn_read(b->g, s->param), *m = s->m, *v = s->v, *out[3] = { NULL };
    if (!b->rate[group]) make_group(b, group);
    tn_node *rate = b->rate[group], *decay = b->decay[group][tn_rank(w) > 1];
    if (opt->kind != TN__SGD)
        tn__adam_update(&opt->adam, w, m, v, dw, b->scale, rate, b->root, decay, out);
    else if (m)
        tn__momentum_update(opt->momentum, opt->nesterov, w, m, dw, b->scale, rate, decay, out);
    else
        out[0] = tn__sgd_update(w, dw, b->scale, rate, decay);
    const bool is_known = b->knows_trained || tn_optimizer_steps(opt) == 0;
    if (s->average && is_known && !s->is_trained) /* until now w was its own average */
        tn_variable_set(s->average, tn_variable_data(s->param), tn_variable_bytes(s->param));
    b->trains[slot] = true;
    b->out[b->n_out++] = tn_assign(s->param, out[0]);
    if (m) b->out[b->n_out++] = tn_assign(m, out[1]);
    if (v) b->out[b->n_out++] = tn_assign(v, out[2]);
    if (s->average)
        b->out[b->n_out++] = tn_assign(s->average, tn_lerp(s->average, out[0], b->average_rate));
    return out[0];
}

/* ---- common to the three programs ------------------------------------------------------------ */

static tn_status begin(building *b, const tn_train_step_options *o)
{
    tn_optimizer *opt = b->opt;
    tn_status     s = tn__optimizer_extend(opt);
    if (s != TN_OK) return s;
    if (o->n_outputs < 0 || (o->n_outputs > 0 && !o->outputs))
        return tn_fail(opt->ctx, TN_ERR_ARG, "tn_train_step: %d outputs, and no list of them",
                       o->n_outputs);
    if (opt->n_slots == 0)
        return tn_fail(opt->ctx, TN_ERR_GRAD, "tn_train_step: no parameter is trainable");
    b->grad = tn_alloc(opt->ctx, (size_t)opt->n_slots * sizeof *b->grad);
    b->out = tn_alloc(opt->ctx, (size_t)(6 * opt->n_slots + o->n_outputs + 8) * sizeof *b->out);
    b->guard = o->guard;
    b->knows_trained = tn__optimizer_knows_trained(opt);
    b->trains = tn_alloc(opt->ctx, (size_t)opt->n_slots);
    return b->grad && b->out && b->trains ? TN_OK : tn_ctx_status(opt->ctx);
}

static bool is_trainable(const tn_optimizer *opt, int slot)
{
    return tn_params_is_trainable(opt->params, opt->slots[slot].index);
}

/* The gradients of y with respect to what is trainable now. */
static tn_status differentiate(building *b, tn_node *y)
{
    tn_optimizer *opt = b->opt;
    int           n = 0, reached = 0;
    int          *slot = tn_alloc(opt->ctx, (size_t)opt->n_slots * sizeof *slot);
    tn_node     **wrt = tn_alloc(opt->ctx, (size_t)opt->n_slots * 2 * sizeof *wrt);
    tn_status     s = slot && wrt ? TN_OK : tn_ctx_status(opt->ctx);
    for (int i = 0; s == TN_OK && i < opt->n_slots; i++) {
        if (!is_trainable(opt, i)) continue;
        slot[n] = i, wrt[n++] = opt->slots[i].param;
    }
    const tn_shape shape = tn_node_shape(y);
    char           text[96];
    if (s == TN_OK && tn_shape_size(&shape) != 1)
        s = tn_fail(opt->ctx, TN_ERR_SHAPE,
                    "tn_train_step: the loss is %s, not one number: tn_mean_all, tn_sum_all",
                    tn_shape_text(&shape, text, sizeof text));
    if (s == TN_OK) s = tn_grad_or_none(y, NULL, wrt, n, wrt + opt->n_slots);
    for (int k = 0; s == TN_OK && k < n; k++) {
        b->grad[slot[k]] = wrt[opt->n_slots + k];
        reached += b->grad[slot[k]] != NULL;
    }
    if (s == TN_OK && reached == 0)
        s = tn_fail(opt->ctx, TN_ERR_GRAD,
                    "tn_train_step: the loss depends on none of the optimizer's %d trainable "
                    "parameters: %s%s", n, n > 0 ? tn_variable_name(wrt[0]) : "they are frozen",
                    n > 1 ? ", ..." : "");
    tn_free(opt->ctx, slot), tn_free(opt->ctx, wrt);
    return s;
}

static tn_node *as_count(const building *b, tn_node *count)
{
    if (!count) return NULL;
    if (tn_rank(count) != 0) {
        tn_fail(b->opt->ctx, TN_ERR_SHAPE, "tn_train_step: the count has rank %d, not 0",
                tn_rank(count));
        return NULL;
    }
    return tn_cast(count, TN_F64);
}

/* A NULL without an error in the context is one that nothing explains. */
static tn_status unexplained(tn_ctx *ctx, const char *what)
{
    return tn_ctx_status(ctx) != TN_OK ? tn_ctx_status(ctx)
                                       : tn_fail(ctx, TN_ERR_ARG, "tn_train_step: %s is NULL",
                                                 what);
}

static tn_status check(tn_graph *g, const tn_node *loss, const tn_optimizer *opt)
{
    tn_ctx *ctx = opt ? opt->ctx : g ? tn_graph_ctx(g) : tn_node_ctx(loss);
    if (!ctx) return TN_ERR_ARG;
    if (g && opt && !loss && tn_ctx_status(ctx) == TN_OK)
        return tn__fail_null(g, "tn_train_step: the loss");
    if (!g || !loss || !opt)
        return unexplained(ctx, !opt ? "the optimizer" : !g ? "the graph" : "the loss");
    if (tn_node_graph(loss) != g)
        return tn_fail(ctx, TN_ERR_ARG, "tn_train_step: the loss is of another graph");
    if (tn_graph_ctx(g) != opt->ctx)
        return tn_fail(ctx, TN_ERR_ARG,
                       "tn_train_step: graph and optimizer are of different contexts");
    return tn_ctx_status(ctx);
}

static tn_program *finish(building *b, tn_status s, const tn_train_step_options *o, tn_node *run)
{
    tn_ctx     *ctx = b->opt->ctx;
    tn_program *p = NULL;
    if (s == TN_OK) s = tn_ctx_status(ctx);
    if (s == TN_OK)
        p = tn_compile(b->g, b->out, b->n_out,
                       &(tn_compile_options){ .guard = b->guard, .run = run, .arena = o->arena,
                                              .no_fusion = o->no_fusion, .no_reuse = o->no_reuse,
                                              .recompute = o->recompute });
    for (int i = 0; p && i < b->opt->n_slots; i++) b->opt->slots[i].is_trained |= b->trains[i];
    tn_free(ctx, b->grad), tn_free(ctx, b->out), tn_free(ctx, b->trains);
    return p;
}

static void first_outputs(building *b, tn_node *loss, const tn_train_step_options *o)
{
    b->out[b->n_out++] = loss;
    for (int i = 0; i < o->n_outputs; i++) b->out[b->n_out++] = o->outputs[i];
    if (o->skip_nonfinite) require_finite(b, loss);
}

/* ---- the three programs ---------------------------------------------------------------------- */

static const tn_train_step_options no_options;

tn_program *tn_train_step_with(tn_graph *g, tn_node *loss, tn_optimizer *opt,
                               const tn_train_step_options *options)
{
    const tn_train_step_options *o = options ? options : &no_options;
    building                     b = { .g = g, .opt = opt };
    if (check(g, loss, opt) != TN_OK) return NULL;
    tn_status s = begin(&b, o);
    if (s == TN_OK) s = differentiate(&b, loss);
    if (s == TN_OK) {
        int depth = tn_scope_depth(g);
        tn_scope_push(g, "update");
        first_outputs(&b, loss, o);
        make_scalars(&b, as_count(&b, o->count), o->skip_nonfinite);
        for (int i = 0; i < opt->n_slots; i++)
            if (b.grad[i]) update(&b, i, b.grad[i]);
        tn_scope_restore(g, depth);
    }
    return finish(&b, s, o, opt->run);
}

tn_program *tn_train_step(tn_graph *g, tn_node *loss, tn_optimizer *opt)
{
    return tn_train_step_with(g, loss, opt, NULL);
}

static tn_status needs_accumulators(const tn_optimizer *opt)
{
    if (opt->accumulate) return TN_OK;
    return tn_fail(opt->ctx, TN_ERR_STATE,
                   "the optimizer was made without .accumulate");
}

tn_program *tn_accumulate_step(tn_graph *g, tn_node *sum, tn_optimizer *opt,
                               const tn_train_step_options *options)
{
    const tn_train_step_options *o = options ? options : &no_options;
    building                     b = { .g = g, .opt = opt };
    if (check(g, sum, opt) != TN_OK || needs_accumulators(opt) != TN_OK) return NULL;
    tn_status s = begin(&b, o);
    if (s == TN_OK) s = differentiate(&b, sum);
    if (s == TN_OK) {
        int depth = tn_scope_depth(g);
        tn_scope_push(g, "accumulate");
        first_outputs(&b, sum, o);
        if (o->skip_nonfinite) require_finite(&b, sum_squares(&b));
        tn_node *count = o->count ? as_count(&b, o->count) : number(&b, 1);
        if (o->skip_nonfinite && o->count) require_finite(&b, count);
        b.out[b.n_out++] = tn_assign(opt->accumulated_count, tn_add(opt->accumulated_count, count));
        for (int i = 0; i < opt->n_slots; i++) {
            if (!b.grad[i]) continue;
            tn_node *total = opt->slots[i].accumulated;
            b.out[b.n_out++] = tn_assign(total, tn_add(total, b.grad[i]));
        }
        tn_scope_restore(g, depth);
    }
    bool *reached = s == TN_OK ? tn_alloc(opt->ctx, (size_t)opt->n_slots) : NULL;
    for (int i = 0; reached && i < opt->n_slots; i++) reached[i] = b.grad[i] != NULL;
    tn_program *p = finish(&b, s == TN_OK && !reached ? TN_ERR_MEMORY : s, o, opt->run);
    for (int i = 0; p && i < opt->n_slots; i++) opt->slots[i].is_reached |= reached[i];
    tn_free(opt->ctx, reached);
    return p;
}

tn_program *tn_update_step(tn_optimizer *opt, const tn_train_step_options *options)
{
    tn_train_step_options o = options ? *options : no_options;
    if (!opt || tn_ctx_status(opt->ctx) != TN_OK || needs_accumulators(opt) != TN_OK) return NULL;
    o.n_outputs = 0, o.guard = NULL, o.count = NULL, o.recompute = NULL;
    building  b = { .g = tn_graph_new(opt->ctx, TN_TRAIN), .opt = opt };
    tn_status s = b.g ? begin(&b, &o) : tn_ctx_status(opt->ctx);
    int       reached = 0;
    if (s == TN_OK) {
        tn_node *count = tn_read(b.g, opt->accumulated_count);
        for (int i = 0; i < opt->n_slots; i++) {
            if (!opt->slots[i].is_reached || !is_trainable(opt, i)) continue;
            b.grad[i] = tn_read(b.g, opt->slots[i].accumulated), reached++;
        }
        if (reached == 0)
            s = tn_fail(opt->ctx, TN_ERR_STATE, "tn_update_step: no program accumulates gradients "
                        "of what is trainable now: make those first");
        if (s == TN_OK) make_scalars(&b, count, o.skip_nonfinite);
        if (s == TN_OK)
            b.out[b.n_out++] = tn_assign(opt->accumulated_count, tn__clear(count, count));
    }
    for (int i = 0; s == TN_OK && i < opt->n_slots; i++) {
        tn__slot_state *slot = &opt->slots[i];
        if (!slot->is_reached) continue;
        tn_node *total = tn_read(b.g, slot->accumulated);
        tn_node *after = b.grad[i] ? update(&b, i, b.grad[i]) : total;
        b.out[b.n_out++] = tn_assign(slot->accumulated, tn__clear(total, after));
    }
    tn_program *p = finish(&b, s, &o, NULL);
    tn_graph_free(b.g);
    return p;
}
