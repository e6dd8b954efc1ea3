/* Compiling: from the nodes that are wanted to a program. The passes, in order:
 *   collect   which calls the outputs need
 *   share     common subexpressions: equal ops of equal inputs and attributes are one call
 *   lower     calls become items over values; views become layouts, copies are put in where a
 *             kernel needs its input contiguous
 *   recompute gradients read copies of what chosen scopes computed (recompute.c)
 *   pack      products with weights that stay the same read them from panels (panels.c)
 *   pair      cross-entropy and its gradient read the logits once (pair.c)
 *   nest      parts of concatenations are written where they belong (nest.c)
 *   fuse      items become steps (fuse.c)
 *   plan      lifetimes, memory (plan.c)
 * None of them changes a bit of any result. */
#include "autograd/panels.h"
#include "autograd/program.h"

#include <stdlib.h>
#include <string.h>

typedef struct compiler {
    tn_ctx      *ctx;
    tn_graph    *g;
    tn_program  *p;
    tn__lowered  l;
    bool        *needed;     /* by call */
    tn_node    **canon;      /* by node: the node that stands for it */
    int         *value_of;   /* by node; -1 */
    int         *contiguous; /* by value: its contiguous copy; -1 */
    int64_t      cap_contiguous;
    bool         is_gradient; /* the call that is lowered now */
} compiler;

/* ---- small things of programs ---------------------------------------------------------------- */

void *tn__program_alloc(tn_program *p, size_t size)
{
    tn_graph shell = { .ctx = p->ctx, .blocks = p->blocks };
    void    *at = tn__graph_alloc(&shell, size);
    p->blocks = shell.blocks;
    return at;
}

bool tn__layout_is_contiguous(const tn_layout *l)
{
    int64_t stride = 1;
    if (tn_shape_size(&l->shape) == 0) return true;
    for (int d = l->shape.rank - 1; d >= 0; d--) {
        if (l->shape.dim[d] == 1) continue;
        if (l->stride[d] != stride) return false;
        stride *= l->shape.dim[d];
    }
    return true;
}

tn_layout tn__layout_of(const tn_shape *s)
{
    tn_layout l = { .shape = *s };
    tn_shape_strides(s, l.stride);
    return l;
}

int tn__buffer_new(tn_program *p, tn__buffer_kind kind, size_t bytes)
{
    if (!tn__grow(p->ctx, &p->buffers, p->n_buffers, &p->cap_buffers, sizeof *p->buffers))
        return -1;
    p->buffers[p->n_buffers] = (tn__buffer){ .kind = kind, .bytes = bytes, .first = -1, .last = -1,
                                             .alias = -1, .slot = -1 };
    return (int)p->n_buffers++;
}

int tn__value_new(tn_program *p, tn_type type, const tn_layout *layout, int buffer)
{
    if (buffer < 0) return -1;
    if (!tn__grow(p->ctx, &p->values, p->n_values, &p->cap_values, sizeof *p->values)) return -1;
    p->values[p->n_values] = (tn__value){ .type = type, .layout = *layout, .buffer = buffer };
    return (int)p->n_values++;
}

static size_t type_bytes(const tn_type *t)
{
    return (size_t)tn_shape_size(&t->shape) * tn_dtype_size(t->dtype);
}

/* A new contiguous value in a buffer of its own. */
static int fresh_value(tn_program *p, tn_type type, tn__buffer_kind kind)
{
    tn_layout layout = tn__layout_of(&type.shape);
    return tn__value_new(p, type, &layout, tn__buffer_new(p, kind, type_bytes(&type)));
}

static int slot_of(tn_program *p, tn_node *variable)
{
    for (int64_t i = 0; i < p->n_slots; i++)
        if (p->slots[i] == variable) return (int)i;
    if (!tn__grow(p->ctx, &p->slots, p->n_slots, &p->cap_slots, sizeof *p->slots)) return -1;
    p->slots[p->n_slots] = variable;
    return (int)p->n_slots++;
}

/* ---- collect and share ----------------------------------------------------------------------- */

static tn_node *canonical(const compiler *c, tn_node *x) { return c->canon[x->id]; }

/* What an op reads: of an assign, the value that is assigned. Only an assign that is an output is
 * one that commits. */
static tn_node *operand(const compiler *c, tn_node *x)
{
    for (x = canonical(c, x); x->call->op == &tn_op_assign;) x = canonical(c, x->call->in[0]);
    return x;
}

static void collect(compiler *c, tn_node *const *outputs, int n, tn_node *guard)
{
    memset(c->needed, 0, (size_t)c->g->n_calls);
    for (int i = 0; i < n; i++) c->needed[canonical(c, outputs[i])->call->id] = true;
    if (guard) c->needed[operand(c, guard)->call->id] = true;
    for (int64_t i = c->g->n_calls - 1; i >= 0; i--) {
        const tn__call *call = c->g->calls[i];
        if (!c->needed[i]) continue;
        for (int k = 0; k < call->n_in; k++) c->needed[operand(c, call->in[k])->call->id] = true;
    }
}

static uint64_t call_hash(const compiler *c, const tn__call *call)
{
    uint64_t h = tn__mix((uint64_t)(uintptr_t)call->op, (uint64_t)call->n_in);
    for (int k = 0; k < call->n_in; k++) h = tn__mix(h, (uint64_t)operand(c, call->in[k])->id);
    return call->attrs ? tn__attrs_hash(call->op, call->attrs, h) : h;
}

static bool call_equal(const compiler *c, const tn__call *a, const tn__call *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out) return false;
    for (int k = 0; k < a->n_in; k++)
        if (operand(c, a->in[k]) != operand(c, b->in[k])) return false;
    return tn__attrs_equal(a->op, a->attrs, b->attrs);
}

/* Open addressing over the needed calls; the first of equals stands for the rest. */
static tn_status share(compiler *c)
{
    int64_t size = 64;
    while (size < 2 * c->g->n_calls) size *= 2;
    tn__call **table = tn_alloc(c->ctx, (size_t)size * sizeof *table);
    if (!table) return TN_ERR_MEMORY;
    for (int64_t i = 0; i < c->g->n_calls; i++) {
        tn__call *call = c->g->calls[i];
        if (!c->needed[i] || call->op == &tn_op_assign) continue;
        if (call->op == &tn_op_alias || call->op == &tn_op_stop_gradient) {
            c->canon[call->out[0].id] = operand(c, call->in[0]);
            continue;
        }
        if (call->op->flags & TN_UPDATES) continue; /* others may have written since the first */
        uint64_t at = call_hash(c, call) & (uint64_t)(size - 1);
        while (table[at] && !call_equal(c, table[at], call)) at = (at + 1) & (uint64_t)(size - 1);
        if (!table[at]) table[at] = call;
        for (int k = 0; k < call->n_out; k++) c->canon[call->out[k].id] = &table[at]->out[k];
    }
    tn_free(c->ctx, table);
    return TN_OK;
}

/* ---- lower ----------------------------------------------------------------------------------- */

static tn__item *item_new(compiler *c, const tn_op *op, const void *attrs, const char *scope,
                          int n_in, int n_out)
{
    tn__lowered *l = &c->l;
    if (!tn__grow(c->ctx, &l->items, l->n, &l->cap, sizeof *l->items)) return NULL;
    int  *room = tn__program_alloc(c->p, (size_t)(n_in + n_out) * sizeof *room);
    char *text = tn__program_alloc(c->p, strlen(scope) + 1);
    void *kept = tn__program_alloc(c->p, op->attrs_size + 8);
    if (!room || !text || !kept) return NULL;
    strcpy(text, scope);
    if (attrs) memcpy(kept, attrs, op->attrs_size);
    l->items[l->n] = (tn__item){ .op = op, .attrs = kept, .scope = text, .n_in = n_in,
                                 .n_out = n_out, .in = room, .out = room + n_in,
                                 .is_gradient = c->is_gradient };
    return &l->items[l->n++];
}

/* An item that copies value v into a new contiguous one; its number, or -1. */
static int copy_value(compiler *c, int v, tn__buffer_kind kind, const char *scope)
{
    tn__item *it = item_new(c, &tn_op_copy, NULL, scope, 1, 1);
    if (!it) return -1;
    it->in[0] = v;
    int out = fresh_value(c->p, c->p->values[v].type, kind);
    return it->out[0] = out;
}

static int contiguous_value(compiler *c, int v, const char *scope)
{
    if (tn__layout_is_contiguous(&c->p->values[v].layout)) return v;
    int64_t old = c->cap_contiguous;
    while (v >= c->cap_contiguous) {
        if (!tn__grow(c->ctx, &c->contiguous, c->cap_contiguous, &c->cap_contiguous, sizeof(int)))
            return -1;
        for (int64_t i = old; i < c->cap_contiguous; i++) c->contiguous[i] = -1;
        old = c->cap_contiguous;
    }
    if (c->contiguous[v] < 0) c->contiguous[v] = copy_value(c, v, TN__ARENA, scope);
    return c->contiguous[v];
}

static tn_status lower_leaf(compiler *c, tn__call *call)
{
    tn_program *p = c->p;
    tn_node    *x = &call->out[0];
    int         v = -1;
    if (call->op == &tn_op_input) {
        const input_attrs *a = call->attrs;
        tn__program_input *in = &p->inputs[p->n_inputs];
        in->name = p->known[a->index].name;
        v = fresh_value(p, x->type, TN__INPUT);
        in->node = x, in->type = x->type;
        in->buffer = v < 0 ? -1 : p->values[v].buffer;
        p->n_inputs++;
    } else if (call->op == &tn_op_read) {
        const read_attrs *a = call->attrs;
        int               slot = slot_of(p, a->variable);
        v = slot < 0 ? -1 : fresh_value(p, x->type, TN__VARIABLE);
        if (v >= 0) p->buffers[p->values[v].buffer].slot = slot;
    } else {
        bool      one = call->op == &tn_op_full;
        tn_layout layout = tn__layout_of(&x->type.shape);
        if (one) memset(layout.stride, 0, sizeof layout.stride);
        size_t bytes = one ? tn_dtype_size(x->type.dtype) : type_bytes(&x->type);
        int    b = tn__buffer_new(p, TN__CONSTANT, bytes);
        if (b < 0 || !(p->buffers[b].data = tn_alloc(c->ctx, bytes + 1))) return TN_ERR_MEMORY;
        if (one)
            tn__store(x->type.dtype, p->buffers[b].data, 0,
                      ((const full_attrs *)call->attrs)->value);
        else memcpy(p->buffers[b].data, ((const constant_attrs *)call->attrs)->data, bytes);
        v = tn__value_new(p, x->type, &layout, b);
    }
    c->value_of[x->id] = v;
    return v < 0 ? TN_ERR_MEMORY : TN_OK;
}

static tn_status lower_view(compiler *c, tn__call *call)
{
    int in = c->value_of[operand(c, call->in[0])->id];
    for (int k = 0; k < call->n_out; k++) {
        tn_layout out = { .shape = call->out[k].type.shape };
        tn_layout from = c->p->values[in].layout;
        if (!call->op->view(call->attrs, &from, &out, k)) {
            in = contiguous_value(c, in, call->scope);
            if (in < 0) return TN_ERR_MEMORY;
            from = c->p->values[in].layout;
            out = (tn_layout){ .shape = call->out[k].type.shape };
            if (!call->op->view(call->attrs, &from, &out, k))
                return tn_fail(c->ctx, TN_ERR_UNSUPPORTED, "%s: no view of a contiguous input",
                               call->op->name);
        }
        out.shape = call->out[k].type.shape;
        int v = tn__value_new(c->p, call->out[k].type, &out, c->p->values[in].buffer);
        if (v < 0) return TN_ERR_MEMORY;
        c->value_of[call->out[k].id] = v;
    }
    return TN_OK;
}

static bool last_stride_is_one(const tn_layout *l)
{
    int r = l->shape.rank;
    return r == 0 || l->shape.dim[r - 1] <= 1 || l->stride[r - 1] == 1;
}

/* As a matrix product's packing needs it. */
static bool some_last_stride_is_one(const tn_layout *l)
{
    int r = l->shape.rank;
    return last_stride_is_one(l) || (r > 1 && (l->shape.dim[r - 2] <= 1 || l->stride[r - 2] == 1));
}

/* Would v be read from the variable that is written in place, while that happens? */
static bool is_of_variable(const compiler *c, int v, int written)
{
    const int buffer = c->p->values[written].buffer;
    return c->p->values[v].buffer == buffer && c->p->buffers[buffer].kind == TN__VARIABLE;
}

/* Is each element of the memory at most one of these? */
static bool is_one_to_one(const tn_layout *l)
{
    for (int d = 0; d < l->shape.rank; d++) {
        int64_t reach = 0, step = llabs(l->stride[d]); /* of all dimensions with smaller steps */
        for (int e = 0; e < l->shape.rank; e++) {
            const int64_t other = llabs(l->stride[e]);
            if (other < step || (other == step && e < d)) reach += (l->shape.dim[e] - 1) * other;
        }
        if (l->shape.dim[d] > 1 && step <= reach) return false;
    }
    return true;
}

static tn_status lower_kernel(compiler *c, tn__call *call)
{
    unsigned flags = call->op->flags;
    int      in[64], *ins = in;
    if (call->n_in > 64 && !(ins = tn__program_alloc(c->p, (size_t)call->n_in * sizeof *ins)))
        return TN_ERR_MEMORY;
    for (int k = 0; k < call->n_in; k++) {
        int              v = c->value_of[operand(c, call->in[k])->id];
        const tn_layout *layout = &c->p->values[v].layout;
        bool any = call->op->span || (flags & TN_STRIDED) ||
                   ((flags & TN_PREFIX_STRIDED) && last_stride_is_one(layout)) ||
                   ((flags & TN_MATRIX_STRIDED) && some_last_stride_is_one(layout));
        ins[k] = any ? v : contiguous_value(c, v, call->scope);
        if (ins[k] >= 0 && k > 0 && (flags & TN_UPDATES) && is_of_variable(c, ins[k], ins[0]))
            ins[k] = copy_value(c, ins[k], TN__ARENA, call->scope);
        if (ins[k] < 0) return TN_ERR_MEMORY;
    }
    tn__item *it = item_new(c, call->op, call->attrs, call->scope, call->n_in, call->n_out);
    if (!it) return TN_ERR_MEMORY;
    memcpy(it->in, ins, (size_t)call->n_in * sizeof *ins);
    for (int k = 0; k < call->n_out; k++) {
        const tn__value *old = k == 0 && (flags & TN_UPDATES) ? &c->p->values[ins[0]] : NULL;
        bool             in_place = old && c->p->buffers[old->buffer].kind == TN__VARIABLE &&
                         is_one_to_one(&old->layout);
        tn_layout        layout = in_place ? old->layout : tn__layout_of(&call->out[k].type.shape);
        int v = in_place ? tn__value_new(c->p, call->out[k].type, &layout, old->buffer)
                         : fresh_value(c->p, call->out[k].type, TN__ARENA);
        it->out[k] = c->value_of[call->out[k].id] = v;
        if (v < 0) return TN_ERR_MEMORY;
    }
    return TN_OK;
}

static tn_status lower_assign(compiler *c, tn__call *call)
{
    tn_program *p = c->p;
    tn_node    *variable = ((const assign_attrs *)call->attrs)->variable;
    int         slot = slot_of(p, variable);
    if (slot < 0) return TN_ERR_MEMORY;
    for (int64_t i = 0; i < p->n_commits; i++)
        if (p->commits[i].slot == slot)
            return tn_fail(c->ctx, TN_ERR_ARG, "tn_compile: variable %s is assigned twice",
                           tn_variable_name(variable));
    if (!tn__grow(c->ctx, &p->commits, p->n_commits, &p->cap_commits, sizeof *p->commits))
        return TN_ERR_MEMORY;
    /* another variable's old value may change before it is copied: take a copy of it in time */
    int v = c->value_of[operand(c, call->in[0])->id];
    if (p->buffers[p->values[v].buffer].kind == TN__VARIABLE)
        v = copy_value(c, v, TN__ARENA, call->scope);
    else
        v = contiguous_value(c, v, call->scope);
    if (v < 0) return TN_ERR_MEMORY;
    p->commits[p->n_commits++] = (tn__commit){ .value = v, .slot = slot };
    return TN_OK;
}

/* Rows go into a variable in the middle of a run: what else reads it keeps its turn. */
static tn_status mark_staying(compiler *c)
{
    const tn_program *p = c->p;
    bool             *is_written = tn_alloc(c->ctx, (size_t)p->n_buffers + 1);
    if (!is_written) return TN_ERR_MEMORY;
    for (int64_t i = 0; i < c->l.n; i++) {
        const tn__item *it = &c->l.items[i];
        if (!(it->op->flags & TN_UPDATES)) continue;
        const int b = p->values[it->out[0]].buffer;
        is_written[b] |= p->buffers[b].kind == TN__VARIABLE;
    }
    for (int64_t i = 0; i < c->l.n; i++) {
        tn__item *it = &c->l.items[i];
        for (int k = 0; k < it->n_in; k++) it->stays |= is_written[p->values[it->in[k]].buffer];
    }
    tn_free(c->ctx, is_written);
    return TN_OK;
}

static tn_status lower(compiler *c)
{
    tn_status s = TN_OK;
    for (int64_t i = 0; s == TN_OK && i < c->g->n_calls; i++) {
        tn__call *call = c->g->calls[i];
        if (!c->needed[i] || canonical(c, &call->out[0]) != &call->out[0]) continue;
        const tn_op *op = call->op;
        c->is_gradient = call->is_gradient;
        if (op == &tn_op_input || op == &tn_op_constant || op == &tn_op_full || op == &tn_op_read) {
            s = lower_leaf(c, call);
            continue;
        }
        c->p->n_calls++;
        if (op == &tn_op_assign) s = lower_assign(c, call);
        else if (op->view) s = lower_view(c, call);
        else if (op->span || op->run) s = lower_kernel(c, call);
        else s = tn_fail(c->ctx, TN_ERR_UNSUPPORTED, "%s has no kernel", op->name);
    }
    return s;
}

/* A value that lies in host-visible memory of its own: v itself if its buffer can become that. */
static int make_output(compiler *c, int v)
{
    const tn__value *value = &c->p->values[v];
    tn__buffer      *b = &c->p->buffers[value->buffer];
    if (b->kind == TN__ARENA && value->layout.offset == 0 && b->bytes == type_bytes(&value->type) &&
        tn__layout_is_contiguous(&value->layout)) {
        b->kind = TN__OUTPUT;
        return v;
    }
    return copy_value(c, v, TN__OUTPUT, "");
}

static tn_status lower_outputs(compiler *c, tn_node *const *outputs, int n, tn_node *guard)
{
    tn_program *p = c->p;
    p->guard = -1;
    c->is_gradient = false;
    if (guard) {
        p->guard = make_output(c, c->value_of[operand(c, guard)->id]);
        if (p->guard < 0) return TN_ERR_MEMORY;
    }
    for (int i = 0; i < n; i++) {
        tn_node            *x = canonical(c, outputs[i]);
        tn__program_output *o = &p->outputs[i];
        *o = (tn__program_output){ .node = outputs[i], .type = x->type, .value = -1, .slot = -1 };
        if (x->call->op == &tn_op_assign)
            o->slot = slot_of(p, ((const assign_attrs *)x->call->attrs)->variable);
        else if ((o->value = make_output(c, c->value_of[x->id])) < 0) return TN_ERR_MEMORY;
        p->n_outputs++;
    }
    return TN_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static tn_status check_arguments(tn_graph *g, tn_node *const *outputs, int n,
                                 const tn_compile_options *o)
{
    tn_ctx *ctx = g->ctx;
    if (tn_ctx_status(ctx) != TN_OK) return tn_ctx_status(ctx);
    if (n < 1 || !outputs) return tn_fail(ctx, TN_ERR_ARG, "tn_compile: no outputs");
    for (int i = 0; i < n; i++) {
        if (!outputs[i]) {
            char what[40];
            snprintf(what, sizeof what, "tn_compile: output %d", i);
            return tn__fail_null(g, what);
        }
        if (outputs[i]->graph != g)
            return tn_fail(ctx, TN_ERR_ARG, "tn_compile: output %d is %s", i,
                           outputs[i]->graph ? "of another graph" : "a variable: use tn_read");
    }
    if (o->guard && (o->guard->graph != g || o->guard->type.dtype != TN_BOOL ||
                     tn_shape_size(&o->guard->type.shape) != 1))
        return tn_fail(ctx, TN_ERR_ARG, "tn_compile: the guard is not one bool of this graph");
    if (o->run && (!tn_is_variable(o->run) || o->run->type.dtype != TN_I64 ||
                   tn_shape_size(&o->run->type.shape) != 1))
        return tn_fail(ctx, TN_ERR_ARG, "tn_compile: the run counter is not one i64 variable");
    if (o->arena && o->arena->ctx != ctx)
        return tn_fail(ctx, TN_ERR_ARG, "tn_compile: the arena is of another context");
    if (o->panels && tn__panels_ctx(o->panels) != tn__ctx_whole(ctx))
        return tn_fail(ctx, TN_ERR_ARG, "tn_compile: the panels are of another context");
    return TN_OK;
}

static tn_status compile(compiler *c, tn_node *const *outputs, int n, const tn_compile_options *o)
{
    tn_graph   *g = c->g;
    tn_program *p = c->p;
    c->needed = tn_alloc(c->ctx, (size_t)g->n_calls + 1);
    c->canon = tn_alloc(c->ctx, (size_t)g->n_nodes * sizeof *c->canon + 1);
    c->value_of = tn_alloc(c->ctx, (size_t)g->n_nodes * sizeof *c->value_of + 1);
    p->inputs = tn__program_alloc(p, (size_t)(g->n_inputs + 1) * sizeof *p->inputs);
    p->outputs = tn__program_alloc(p, (size_t)n * sizeof *p->outputs);
    p->known = tn__program_alloc(p, (size_t)(g->n_inputs + 1) * sizeof *p->known);
    if (!c->needed || !c->canon || !c->value_of || !p->inputs || !p->known || !p->outputs)
        return TN_ERR_MEMORY;
    for (; p->n_known < g->n_inputs; p->n_known++) {
        const tn_node *x = g->inputs[p->n_known];
        const char    *name = ((const input_attrs *)x->call->attrs)->name;
        char          *copy = tn__program_alloc(p, strlen(name) + 1);
        if (!copy) return TN_ERR_MEMORY;
        p->known[p->n_known] = (tn__program_input){ .node = x, .name = strcpy(copy, name) };
    }
    for (int64_t i = 0; i < g->n_calls; i++)
        for (int k = 0; k < g->calls[i]->n_out; k++)
            c->canon[g->calls[i]->out[k].id] = &g->calls[i]->out[k];
    for (int64_t i = 0; i < g->n_nodes; i++) c->value_of[i] = -1;

    collect(c, outputs, n, o->guard);
    tn_status s = share(c);
    collect(c, outputs, n, o->guard);
    if (s == TN_OK) s = lower(c);
    if (s == TN_OK) s = lower_outputs(c, outputs, n, o->guard);
    if (s == TN_OK) s = mark_staying(c);
    if (s == TN_OK && o->recompute) s = tn__recompute(&c->l, g, o->recompute);
    if (s == TN_OK && o->panels) s = tn__use_panels(&c->l, o->panels);
    if (s == TN_OK) s = tn__pair(&c->l);
    if (s == TN_OK) s = tn__nest(&c->l);
    if (s == TN_OK) s = tn__fuse(&c->l);
    if (s == TN_OK) s = tn__plan(p, o->no_reuse, o->recompute != NULL);
    return s;
}

/* A program that is planned and has no memory yet. */
static tn_program *planned(tn_graph *g, tn_node *const *outputs, int n, const tn_compile_options *o)
{
    tn_program *p = tn_alloc(g->ctx, sizeof *p);
    if (!p) return NULL;
    p->ctx = g->ctx, p->guard = -1, p->run_counter = o->run, p->arena = o->arena;
    compiler  c = { .ctx = g->ctx, .g = g, .p = p, .l = { .p = p, .no_fusion = o->no_fusion } };
    tn_status s = compile(&c, outputs, n, o);
    tn_free(g->ctx, c.needed), tn_free(g->ctx, c.canon), tn_free(g->ctx, c.value_of);
    tn_free(g->ctx, c.contiguous), tn_free(g->ctx, c.l.items);
    p->kept_bytes = p->arena_bytes;
    if (s == TN_OK) return p;
    tn_program_free(p);
    return NULL;
}

tn_program *tn_compile(tn_graph *g, tn_node *const *outputs, int n,
                       const tn_compile_options *options)
{
    static const tn_compile_options defaults;
    if (!g) return NULL;
    if (!options) options = &defaults;
    if (check_arguments(g, outputs, n, options) != TN_OK) return NULL;
    tn_program *p = planned(g, outputs, n, options);
    if (p && options->recompute) { /* what it saves: planned without it */
        tn_compile_options o = *options;
        o.recompute = NULL;
        tn_program *plain = planned(g, outputs, n, &o);
        if (plain) p->kept_bytes = plain->arena_bytes;
        else tn_program_free(p), p = NULL;
        tn_program_free(plain);
    }
    if (!p || tn__program_bind_memory(p) != TN_OK) {
        tn_program_free(p);
        return NULL;
    }
    tn__note(p->ctx, TN_LOG_INFO, "compiled: %lld calls in %lld steps, %zu bytes of intermediates",
             (long long)p->n_calls, (long long)p->n_steps, p->arena_bytes);
    return p;
}
