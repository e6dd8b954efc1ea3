/* Running a program: memory is bound once, then a run feeds nothing, looks nothing up and allocates
 * nothing. Steps that compute come first; what changes variables comes last and cannot fail. */
#include "autograd/program.h"

#include <math.h>
#include <string.h>

/* ---- arenas ---------------------------------------------------------------------------------- */

tn_arena *tn_arena_new(tn_ctx *ctx)
{
    tn_arena *a = ctx ? tn_alloc(ctx, sizeof *a) : NULL;
    if (a) a->ctx = ctx;
    return a;
}

void tn_arena_free(tn_arena *arena)
{
    if (!arena) return;
    tn_ctx *ctx = arena->ctx;
    tn_free(ctx, arena->data), tn_free(ctx, arena);
}

size_t tn_arena_bytes(const tn_arena *arena) { return arena ? arena->bytes : 0; }

static tn_status arena_reserve(tn_arena *a, size_t bytes)
{
    if (bytes <= a->bytes) return TN_OK;
    tn_free(a->ctx, a->data); /* nothing in it outlives a run */
    a->bytes = 0, a->version++;
    a->data = tn__alloc_touched(a->ctx, bytes); /* here, so that no run meets a page first */
    if (!a->data) return tn_ctx_status(a->ctx);
    a->bytes = bytes;
    return TN_OK;
}

/* ---- binding --------------------------------------------------------------------------------- */

static void *buffer_data(const tn_program *p, int b)
{
    const tn__buffer *x = &p->buffers[tn__buffer_root(p, b)];
    switch (x->kind) {
    case TN__ARENA: return (char *)p->arena->data + x->offset;
    case TN__VARIABLE: return tn_variable_data(p->slots[x->slot]);
    default: return x->data;
    }
}

static void *value_data(const tn_program *p, int v)
{
    const tn__value *x = &p->values[v];
    return (char *)buffer_data(p,
                               x->buffer) + x->layout.offset *
                               (int64_t)tn_dtype_size(x->type.dtype);
}

static tn_status bind(tn_program *p)
{
    tn_status s = arena_reserve(p->arena, p->arena_bytes);
    if (s != TN_OK) return s;
    if (p->is_bound && p->arena_version == p->arena->version) return TN_OK;
    for (int64_t i = 0; i < p->n_steps; i++)
        for (int k = 0; k < tn__step_tensors(&p->steps[i]); k++)
            p->steps[i].tensors[k].data = value_data(p, p->steps[i].values[k]);
    p->is_bound = true, p->arena_version = p->arena->version;
    return TN_OK;
}

/* The whole need is known: where it is over the limit, that is what is said. */
static tn_status check_room(const tn_program *p)
{
    const size_t room = tn__ctx_room(p->ctx), given = p->arena->bytes;
    const size_t arena = p->arena_bytes > given ? tn__block_bytes(p->arena_bytes) : 0;
    const size_t back = arena && given ? tn__block_bytes(given) : 0;
    size_t       need = arena;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        const tn__buffer *b = &p->buffers[i];
        if (b->kind == TN__INPUT || b->kind == TN__OUTPUT) need += tn__block_bytes(b->bytes + 1);
    }
    if (need <= back || need - back <= room) return TN_OK;
    return tn_fail(p->ctx, TN_ERR_LIMIT, "tn_compile: the program needs %zu bytes, %zu of them for "
                   "intermediates; the memory limit leaves %zu", need, arena, room + back);
}

tn_status tn__program_bind_memory(tn_program *p)
{
    if (!p->arena) {
        p->arena = tn_arena_new(p->ctx);
        if (!p->arena) return tn_ctx_status(p->ctx);
        p->owns_arena = true;
    }
    if (check_room(p) != TN_OK) return TN_ERR_LIMIT;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        tn__buffer *b = &p->buffers[i];
        if (b->kind != TN__INPUT && b->kind != TN__OUTPUT) continue;
        b->data = tn_alloc(p->ctx, b->bytes + 1);
        if (!b->data) return tn_ctx_status(p->ctx);
    }
    return bind(p);
}

void tn_program_free(tn_program *p)
{
    if (!p) return;
    tn_ctx *ctx = p->ctx;
    for (int64_t i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].kind != TN__PANELS) tn_free(ctx, p->buffers[i].data);
    if (p->owns_arena) tn_arena_free(p->arena);
    for (tn__block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        tn_free(ctx, b);
    }
    tn_free(ctx, p->values), tn_free(ctx, p->buffers), tn_free(ctx, p->steps);
    tn_free(ctx, p->commits), tn_free(ctx, p->slots), tn_free(ctx, p);
}

/* The first slot from `first` on whose variable has this name, or -1. */
static int64_t slot_named(const tn_program *p, int64_t first, const char *name)
{
    for (int64_t s = first; s < p->n_slots; s++)
        if (strcmp(tn_variable_name(p->slots[s]), name) == 0) return s;
    return -1;
}

static bool same_name(const tn_node *a, const tn_node *b)
{
    return a && b && strcmp(tn_variable_name(a), tn_variable_name(b)) == 0;
}

static tn_status check_counter(const tn_program *p, const tn_node *v)
{
    if (v->type.dtype == TN_I64 && tn_shape_size(&v->type.shape) == 1) return TN_OK;
    return tn_fail(p->ctx, TN_ERR_DTYPE, "tn_program_bind: %s, the run counter, is not one i64",
                   tn_variable_name(v));
}

/* May v stand for the variable of slot s, which has its name? */
static tn_status check_slot(const tn_program *p, int64_t s, const tn_node *v)
{
    const char    *name = tn_variable_name(v);
    const tn_type *old = &p->slots[s]->type;
    if (v->type.dtype != old->dtype)
        return tn_fail(p->ctx, TN_ERR_DTYPE, "tn_program_bind: %s is %s, the program's is %s", name,
                       tn_dtype_name(v->type.dtype), tn_dtype_name(old->dtype));
    if (!tn_shape_equal(&v->type.shape, &old->shape))
        return tn_fail(p->ctx, TN_ERR_SHAPE, "tn_program_bind: the shape of %s differs", name);
    if (slot_named(p, s + 1, name) >= 0)
        return tn_fail(p->ctx, TN_ERR_ARG,
                       "tn_program_bind: two variables of the program are named %s", name);
    return TN_OK;
}

tn_status tn_program_bind(tn_program *p, tn_node *const *variables, int n)
{
    if (!p) return TN_ERR_ARG;
    tn_status status = TN_OK;
    for (int i = 0; i < n; i++)
        if (!variables || !tn_is_variable(variables[i]))
            return tn_fail(p->ctx, TN_ERR_ARG, "tn_program_bind: number %d is %s", i,
                           variables && variables[i] ? "not a variable" : "NULL");
    for (int i = 0; status == TN_OK && i < n; i++) /* look at all of them before changing one */
        if (same_name(variables[i], p->run_counter)) status = check_counter(p, variables[i]);
    for (int64_t s = 0; s < p->n_slots; s++)
        for (int i = 0; status == TN_OK && i < n; i++)
            if (same_name(variables[i], p->slots[s])) status = check_slot(p, s, variables[i]);
    if (status != TN_OK) return status;
    for (int i = 0; i < n; i++) {
        if (same_name(variables[i], p->run_counter)) p->run_counter = variables[i];
        for (int64_t s = 0; s < p->n_slots; s++)
            if (same_name(variables[i], p->slots[s])) p->slots[s] = variables[i];
    }
    p->is_bound = false;
    return bind(p);
}

/* ---- inputs and outputs ---------------------------------------------------------------------- */

static tn_status feed(tn_program *p, tn__program_input *in, const void *data, size_t bytes)
{
    size_t wanted = (size_t)tn_shape_size(&in->type.shape) * tn_dtype_size(in->type.dtype);
    char   text[96];
    if (bytes != wanted)
        return tn_fail(p->ctx, TN_ERR_ARG, "tn_feed: input %s is %s %s, %zu bytes, not %zu",
                       in->name, tn_dtype_name(in->type.dtype),
                       tn_shape_text(&in->type.shape, text, sizeof text),
                       wanted, bytes);
    if (!data && bytes) return tn_fail(p->ctx, TN_ERR_ARG, "tn_feed: input %s: no data", in->name);
    if (bytes) memcpy(p->buffers[in->buffer].data, data, bytes);
    in->is_fed = true;
    return TN_OK;
}

static tn__program_input *input_named(const tn_program *p, const char *name)
{
    for (int64_t i = 0; name && i < p->n_inputs; i++)
        if (strcmp(p->inputs[i].name, name) == 0) return &p->inputs[i];
    return NULL;
}

tn_status tn_feed(tn_program *p, const tn_node *input, const void *data, size_t bytes)
{
    if (!p) return TN_ERR_ARG;
    for (int64_t i = 0; input && i < p->n_inputs; i++)
        if (p->inputs[i].node == input) return feed(p, &p->inputs[i], data, bytes);
    if (!input) return tn_fail(p->ctx, TN_ERR_ARG, "tn_feed: the input is NULL");
    for (int64_t i = 0; i < p->n_known; i++)
        if (p->known[i].node == input) return TN_OK; /* the outputs do not need it */
    return tn_fail(p->ctx, TN_ERR_ARG, "tn_feed: not an input of the program's graph");
}

tn_status tn_feed_name(tn_program *p, const char *name, const void *data, size_t bytes)
{
    if (!p) return TN_ERR_ARG;
    tn__program_input *in = input_named(p, name);
    if (in) return feed(p, in, data, bytes);
    for (int64_t i = 0; name && i < p->n_known; i++)
        if (strcmp(p->known[i].name, name) == 0) return TN_OK;
    return tn_fail(p->ctx, TN_ERR_ARG, "tn_feed: no input is named %s", name ? name : "(null)");
}

void *tn_input_data(tn_program *p, const char *name)
{
    tn__program_input *in = p ? input_named(p, name) : NULL;
    if (!in) return NULL;
    in->is_fed = true; /* what the caller does before a run */
    return p->buffers[in->buffer].data;
}

const void *tn_output(const tn_program *p, int index)
{
    if (!p || index < 0 || index >= p->n_outputs) return NULL;
    const tn__program_output *o = &p->outputs[index];
    return o->value < 0 ? tn_variable_data(p->slots[o->slot]) : value_data(p, o->value);
}

tn_type tn_output_type(const tn_program *p, int index)
{
    if (!p || index < 0 || index >= p->n_outputs) return (tn_type){ 0 };
    return p->outputs[index].type;
}

static int output_of(const tn_program *p, const tn_node *x)
{
    for (int64_t i = 0; x && i < p->n_outputs; i++)
        if (p->outputs[i].node == x) return (int)i;
    return -1;
}

tn_status tn_fetch(tn_program *p, const tn_node *output, void *data, size_t bytes)
{
    if (!p) return TN_ERR_ARG;
    int i = output_of(p, output);
    if (i < 0) return tn_fail(p->ctx, TN_ERR_ARG, "tn_fetch: not an output of the program");
    if (!p->has_run)
        return tn_fail(p->ctx, TN_ERR_STATE, "tn_fetch: the program has not run to its end yet");
    const tn_type *t = &p->outputs[i].type;
    size_t         wanted = (size_t)tn_shape_size(&t->shape) * tn_dtype_size(t->dtype);
    if (bytes != wanted)
        return tn_fail(p->ctx, TN_ERR_ARG, "tn_fetch: output %d has %zu bytes, not %zu", i, wanted,
                       bytes);
    if (!data && bytes) return tn_fail(p->ctx, TN_ERR_ARG, "tn_fetch: no room for output %d", i);
    if (bytes) memcpy(data, tn_output(p, i), bytes);
    return TN_OK;
}

double tn_item(tn_program *p, const tn_node *output)
{
    if (!p) return NAN;
    int       i = output_of(p, output);
    tn_status s = TN_OK;
    if (i < 0) s = tn_fail(p->ctx, TN_ERR_ARG, "tn_item: not an output of the program");
    else if (!p->has_run)
        s = tn_fail(p->ctx, TN_ERR_STATE, "tn_item: the program has not run to its end yet");
    else if (tn_shape_size(&p->outputs[i].type.shape) != 1)
        s = tn_fail(p->ctx, TN_ERR_SHAPE, "tn_item: the output has not one element");
    if (s != TN_OK) return NAN;
    return tn__load(p->outputs[i].type.dtype, tn_output(p, i), 0);
}

/* ---- running --------------------------------------------------------------------------------- */

/* leaves: it may return while workers are at its last tasks. */
static tn_status run_step(tn_program *p, tn__step *s, uint64_t run, bool leaves)
{
    tn_tensor    *in = s->tensors, *out = in + s->n_in, *chain_in = out + s->n_out;
    tn__epilogue *e = &s->epilogue;
    if (s->chain)
        e->run = (tn__chain_run){
            .chain = s->chain, .in = chain_in, .out = chain_in + s->n_chain_in,
            .scratch = (char *)p->arena->data + p->buffers[s->chain_scratch].offset,
            .seed = tn_ctx_seed(p->ctx), .run = run };
    if (!s->kernel) {
        tn__chain_run_all(p->ctx, &e->run, leaves);
        return TN_OK;
    }
    tn_exec x = { .ctx = p->ctx, .op = s->op, .attrs = s->attrs, .n_in = s->n_in, .n_out = s->n_out,
                  .in = in, .out = out, .seed = tn_ctx_seed(p->ctx), .run = run,
                  .leaves = leaves };
    if (s->scratch >= 0) x.scratch = (char *)p->arena->data + p->buffers[s->scratch].offset;
    if (s->chain) {
        tn__chain_prepare(&e->run, tn_ctx_threads(p->ctx));
        x.epilogue = e;
    }
    return s->op->run(&x);
}

/* A step begins when all before it have ended, but for the last of them where it overlaps that
 * one. */
static tn_status run_steps(tn_program *p, int64_t from, int64_t to, uint64_t run, bool may_stop)
{
    tn_status status = TN_OK;
    uint64_t  mark = 0, last_mark; /* where this step and the last one began */
    const bool is_well = tn_ctx_status(p->ctx) == TN_OK; /* an earlier error stands */
    for (int64_t i = from; status == TN_OK && i < to; i++) {
        tn__step *s = &p->steps[i];
        last_mark = mark, mark = tn__parallel_mark(p->ctx);
        tn__parallel_join(p->ctx, s->overlaps ? last_mark : TN__ALL);
        if (may_stop && tn__ctx_cancelled(p->ctx)) {
            status = tn_fail(p->ctx, TN_ERR_CANCELLED, "cancelled at step %lld of %lld",
                             (long long)i, (long long)p->n_steps);
            break;
        }
        const int64_t begin = p->profiling ? tn__now() : 0;
        status = run_step(p, s, run, i + 1 < to && s[1].overlaps && !p->profiling);
        if (status != TN_OK && tn_ctx_status(p->ctx) == TN_OK)
            tn_fail(p->ctx, status, "%s failed", s->op->name);
        if (status != TN_OK && is_well) tn__fail_in(p->ctx, s->scope);
        if (p->profiling) s->seconds += 1e-9 * (double)(tn__now() - begin), s->runs++;
    }
    tn__parallel_join(p->ctx, TN__ALL);
    return status;
}

static tn_status check_fed(const tn_program *p)
{
    for (int64_t i = 0; i < p->n_inputs; i++)
        if (!p->inputs[i].is_fed && tn_shape_size(&p->inputs[i].type.shape) > 0)
            return tn_fail(p->ctx, TN_ERR_STATE, "tn_run: input %s was never fed",
                           p->inputs[i].name);
    return TN_OK;
}

static void commit(tn_program *p, uint64_t run)
{
    run_steps(p, p->n_compute, p->n_steps, run, false);
    for (int64_t i = 0; i < p->n_commits; i++) {
        const tn__commit *c = &p->commits[i];
        char             *to = tn_variable_data(p->slots[c->slot]);
        const char       *from = value_data(p, c->value);
        if (to != from) memcpy(to, from, tn_variable_bytes(p->slots[c->slot]));
    }
    if (p->run_counter) ++*(int64_t *)tn_variable_data(p->run_counter);
    else p->run++;
}

tn_status tn_run(tn_program *p)
{
    if (!p) return TN_ERR_ARG;
    if (!tn__ctx_enter(p->ctx))
        return tn_fail(p->ctx, TN_ERR_BUSY, "tn_run: the context is running another program");
    uint64_t  run = p->run_counter ? (uint64_t)*(const int64_t *)tn_variable_data(p->run_counter)
        : p->run;
    tn_status s = check_fed(p);
    if (s == TN_OK) s = bind(p);
    if (s == TN_OK) s = run_steps(p, 0, p->n_compute, run, true);
    if (s == TN_OK && tn__ctx_cancelled(p->ctx))
        s = tn_fail(p->ctx, TN_ERR_CANCELLED, "cancelled before anything was changed");
    if (s == TN_OK && p->guard >= 0 && !*(const uint8_t *)value_data(p, p->guard))
        s = tn_fail(p->ctx, TN_ERR_GUARD,
                    "tn_run: the commit condition is false (a guard, or with skip_nonfinite a "
                    "loss or gradient that is not finite); nothing was changed");
    if (s == TN_OK) commit(p, run), p->has_run = true;
    tn__ctx_leave(p->ctx);
    return s;
}

/* ---- what is known before -------------------------------------------------------------------- */

tn_program_stats tn_program_stats_of(const tn_program *p)
{
    tn_program_stats s = { 0 };
    if (!p) return s;
    s.arena_bytes = p->arena_bytes, s.no_reuse_bytes = p->no_reuse_bytes;
    s.calls = p->n_calls, s.steps = p->n_steps;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        size_t bytes = p->buffers[i].bytes;
        if (p->buffers[i].kind == TN__INPUT) s.input_bytes += bytes;
        if (p->buffers[i].kind == TN__OUTPUT) s.output_bytes += bytes;
        if (p->buffers[i].kind == TN__CONSTANT) s.constant_bytes += bytes;
    }
    for (int64_t i = 0; i < p->n_slots; i++) s.variable_bytes += tn_variable_bytes(p->slots[i]);
    s.kept_bytes = p->kept_bytes;
    for (int64_t i = 0; i < p->n_steps; i++) {
        s.flops += p->steps[i].flops;
        s.recomputed_calls += p->steps[i].n_again, s.recomputed_flops += p->steps[i].flops_again;
    }
    return s;
}
