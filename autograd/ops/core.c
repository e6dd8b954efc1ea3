/* The ops that hold a graph together: inputs, constants, variables, and what steers gradients. */
#include "autograd/internal.h"

#include <string.h>

/* Leaves have no kernel: the program points at their memory. Their attribute structs are in
 * internal.h, since compile reads them; here are the field tables. */
#define TN_FIELDS(op, LIST)                                                                        \
    static const tn_attr_field op##_fields[] = { LIST(TN_ATTR_FIELD) { NULL, TN_ATTR_END, 0 } };
TN_FIELDS(input, INPUT_ATTRS)
TN_FIELDS(constant, CONSTANT_ATTRS)
TN_FIELDS(full, FULL_ATTRS)
TN_FIELDS(read, READ_ATTRS)
TN_FIELDS(assign, ASSIGN_ATTRS)

#define TYPE_FROM_ATTRS(op)                                                                        \
    static tn_status op##_infer(tn_infer *c)                                                       \
    {                                                                                              \
        const op##_attrs *a = c->attrs;                                                            \
        if (tn_dtype_size(a->dtype) == 0)                                                          \
            return tn_infer_fail(c, TN_ERR_DTYPE, "unknown dtype %d", (int)a->dtype);              \
        c->out[0] = (tn_type){ a->dtype, a->shape };                                               \
        return TN_OK;                                                                              \
    }
TYPE_FROM_ATTRS(input)
TYPE_FROM_ATTRS(constant)
TYPE_FROM_ATTRS(full)

static tn_status full_checked(tn_infer *c)
{
    const full_attrs *a = c->attrs;
    return tn__holds(a->dtype, a->value) ? full_infer(c) : tn__cannot_hold(c, a->dtype, a->value);
}

TN_OP_DEFINE(input, .doc = "a value that the host feeds", .infer = input_infer, TN_ATTRS_OF(input),
             .flags = TN_NOT_DIFFERENTIABLE);
TN_OP_DEFINE(constant, .doc = "numbers known while building", .infer = constant_infer,
             TN_ATTRS_OF(constant), .flags = TN_NOT_DIFFERENTIABLE);
TN_OP_DEFINE(full, .doc = "one number everywhere", .infer = full_checked, TN_ATTRS_OF(full),
             .flags = TN_NOT_DIFFERENTIABLE);

tn_node *tn_input(tn_graph *g, const char *name, tn_dtype dtype, tn_shape shape)
{
    if (!g) return NULL;
    if (!name || !*name) {
        tn_fail(g->ctx, TN_ERR_ARG, "tn_input: an input needs a name");
        return NULL;
    }
    for (int64_t i = 0; i < g->n_inputs; i++) {
        const input_attrs *a = g->inputs[i]->call->attrs;
        if (strcmp(a->name, name) != 0) continue;
        tn_fail(g->ctx, TN_ERR_ARG, "tn_input: there is an input %s already", name);
        return NULL;
    }
    char *kept = tn__graph_alloc(g, strlen(name) + 1);
    if (!kept || !tn__grow(g->ctx, &g->inputs, g->n_inputs, &g->cap_inputs, sizeof *g->inputs))
        return NULL;
    input_attrs a = { .index = g->n_inputs, .name = strcpy(kept, name), .dtype = dtype,
                      .shape = shape };
    tn_node    *x = tn_apply_in(g, &tn_op_input, NULL, 0, &a, NULL);
    if (x) g->inputs[g->n_inputs++] = x;
    return x;
}

tn_node *tn_constant(tn_graph *g, tn_dtype dtype, tn_shape shape, const void *data)
{
    if (!g) return NULL;
    if (!data && tn_shape_size(&shape) != 0) {
        tn_fail(g->ctx, TN_ERR_ARG, "tn_constant: no data");
        return NULL;
    }
    bool is_sane = shape.rank >= 0 && shape.rank <= TN_MAX_RANK &&
        tn_shape_size(&shape) <= (int64_t)1 << 46;
    for (int d = 0; is_sane && d < shape.rank; d++) is_sane = shape.dim[d] >= 0;
    if (!is_sane) return tn_full(g, dtype, shape, 0); /* refuses it, with the numbers */
    constant_attrs a = { .dtype = dtype, .shape = shape };
    int64_t        n = tn_shape_size(&shape);
    size_t         bytes = n > 0 ? (size_t)n * tn_dtype_size(dtype) : 0;
    /* blocks of a graph are 16-byte aligned, which is enough for any dtype */
    a.data = tn__graph_alloc(g, bytes + 1);
    if (!a.data) return NULL;
    if (bytes) memcpy(a.data, data, bytes);
    return tn_apply_in(g, &tn_op_constant, NULL, 0, &a, NULL);
}

tn_node *tn_full(tn_graph *g, tn_dtype dtype, tn_shape shape, double value)
{
    return tn_apply_in(g, &tn_op_full, NULL, 0, &(full_attrs){ value, dtype, shape }, NULL);
}

/* ---- variables ------------------------------------------------------------------------------- */

/* Is it of the graph's context, or of the one that this is a part of? */
static tn_status check_context(tn_infer *c, const tn_node *variable)
{
    const tn_ctx *of = ((const tn__variable *)variable)->ctx;
    if (of == c->ctx || of == tn__ctx_whole(c->ctx)) return TN_OK;
    return tn_infer_fail(c, TN_ERR_ARG, "variable %s belongs to another context",
                         tn_variable_name(variable));
}

static tn_status read_infer(tn_infer *c)
{
    const read_attrs *a = c->attrs;
    c->out[0] = ((const tn_node *)a->variable)->type;
    return check_context(c, a->variable);
}

static tn_status assign_infer(tn_infer *c)
{
    const assign_attrs *a = c->attrs;
    const tn_node      *v = a->variable;
    if (c->in[0].dtype != v->type.dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "variable %s is %s, the value is %s",
                             tn_variable_name(v), tn_dtype_name(v->type.dtype),
                             tn_dtype_name(c->in[0].dtype));
    if (!tn_shape_equal(&c->in[0].shape, &v->type.shape)) {
        char text[96];
        return tn_infer_fail(c, TN_ERR_SHAPE, "variable %s is %s", tn_variable_name(v),
                             tn_shape_text(&v->type.shape, text, sizeof text));
    }
    c->out[0] = c->in[0];
    return check_context(c, v);
}

TN_OP_DEFINE(read, .doc = "the value of a variable at the start of the run", .infer = read_infer,
             TN_ATTRS_OF(read), .flags = TN_NOT_DIFFERENTIABLE);
static void alias_vjp(tn_vjp *c) { c->din[0] = c->dout[0]; }

TN_OP_DEFINE(assign, .doc = "the variable's new value, committed when the run ends well",
             .arity = 1,
             .infer = assign_infer, TN_ATTRS_OF(assign), .vjp = alias_vjp);

tn_node *tn_assign(tn_node *variable, tn_node *value)
{
    if (!variable || !value) return NULL;
    if (!tn_is_variable(variable)) {
        tn_fail(tn_node_ctx(variable), TN_ERR_ARG, "tn_assign: the target is not a variable");
        return NULL;
    }
    return tn_apply(&tn_op_assign, &value, 1, &(assign_attrs){ variable });
}

/* ---- names for values, and gradients steered ------------------------------------------------- */

static bool same_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    (void)attrs, (void)index;
    *out = *in;
    return true;
}

static tn_status first_infer(tn_infer *c)
{
    c->out[0] = c->in[0];
    return TN_OK;
}

#define VIEW_SAMPLES TN_SAMPLES({ .in = { { 2, 3 } } }, { .in = { { 0 } } })

TN_OP_DEFINE(alias, .doc = "y = x, by another name", .arity = 1, .infer = first_infer,
             .view = same_view, .vjp = alias_vjp, VIEW_SAMPLES);
TN_OP_DEFINE(stop_gradient, .doc = "y = x, as a constant", .arity = 1, .infer = first_infer,
             .view = same_view, .flags = TN_STOPS_GRADIENT | TN_NOT_DIFFERENTIABLE, VIEW_SAMPLES);

tn_node *tn__alias(tn_node *x) { return tn_apply(&tn_op_alias, &x, 1, NULL); }
tn_node *tn_stop_gradient(tn_node *x) { return tn_apply(&tn_op_stop_gradient, &x, 1, NULL); }

/* in[0] is y, in[1..] are the inputs of the rule; the value is y */
#define CUSTOM_GRAD_ATTRS(F) F(custom_grad, ptr, rule) F(custom_grad, ptr, user)
TN_ATTRS(custom_grad, CUSTOM_GRAD_ATTRS)

static void custom_grad_vjp(tn_vjp *c)
{
    const custom_grad_attrs *a = c->attrs;
    tn_custom_rule           rule;
    memcpy(&rule, &a->rule, sizeof rule); /* a function's address kept in an object pointer */
    rule(c->graph, c->in + 1, c->n_in - 1, c->out[0], c->dout[0], c->din + 1, a->user);
}

TN_OP_DEFINE(custom_grad, .doc = "y, with a gradient rule of its own", .arity = 1, .max_arity = -1,
             .infer = first_infer, .view = same_view, .vjp = custom_grad_vjp,
             TN_ATTRS_OF(custom_grad));

tn_node *tn_custom_grad(tn_node *y, tn_node *const *x, int n, tn_custom_rule rule, void *user)
{
    enum { MOST = 63 };
    if (!y) return NULL;
    if (n < 0 || n > MOST || (n && !x) || !rule) {
        tn_fail(tn_node_ctx(y), TN_ERR_ARG, "tn_custom_grad: %s",
                rule ? "a list of 0 to 63 inputs is needed" : "no rule");
        return NULL;
    }
    tn_node *in[MOST + 1] = { y };
    for (int i = 0; i < n; i++) in[i + 1] = x[i];
    custom_grad_attrs a = { .user = user };
    memcpy(&a.rule, &rule, sizeof rule);
    return tn_apply(&tn_op_custom_grad, in, n + 1, &a);
}
