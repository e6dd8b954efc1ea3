/* Differentiation: reverse mode that appends gradient nodes to the same graph. One walk over the
 * calls in falling order of id; each op's vjp rule is asked once, with the sum of the cotangents of
 * its outputs. Broadcasting is undone here, in one place, for all rules. */
#include "autograd/internal.h"
#include "autograd/ops/view.h"

#include <string.h>

/* The gradient of a slice, kept until all of those of the same node are known. */
typedef struct part {
    struct part *next;
    tn_node     *d;
    int          axis;
    int64_t      begin, count;
} part;

/* A cotangent that is a product, kept likewise. */
typedef struct product {
    struct product *next;
    tn_node        *d;
    int64_t         rows; /* of this one and the next ones */
} product;

/* What the walk knows about the nodes that there were when it began. */
typedef struct walk {
    tn_graph *g;
    int64_t   n_nodes, first_call, last_call;
    bool     *depends; /* by node: is or depends on some wrt, through floats */
    tn_node **cot;     /* by node: the cotangent so far */
    part    **parts;   /* by node: and of parts of it, by axis and begin */
    product **products; /* by node: and the products, the last one first */
} walk;

static bool carries_gradient(const tn_node *x)
{
    tn_dtype d = x->type.dtype;
    return d == TN_F32 || d == TN_F64 || d == TN_F16 || d == TN_BF16;
}

static void mark_dependents(walk *w)
{
    for (int64_t i = w->first_call; i <= w->last_call; i++) {
        const tn__call *c = w->g->calls[i];
        if (c->op->flags & TN_STOPS_GRADIENT) continue;
        const int first = c->op == &tn_op_custom_grad; /* y, for which the rule stands */
        bool      any = false;
        for (int k = first; k < c->n_in && !any; k++) any = w->depends[c->in[k]->id];
        for (int k = 0; any && k < c->n_out; k++)
            if (carries_gradient(&c->out[k])) w->depends[c->out[k].id] = true;
    }
}

static bool is_zero(const tn_node *x)
{
    return x->call && x->call->op == &tn_op_full &&
        ((const full_attrs *)x->call->attrs)->value == 0;
}

/* Are its rows added to nothing but zeros, as those of an embedding's gradient are? */
static bool is_scattered(const tn_node *x)
{
    return x->call && x->call->op == &tn_op_index_add && is_zero(x->call->in[0]);
}

/* a + b; where one of them is rows in a sea of zeros, they are added to the other, so that a table
 * that is used several times (tied embeddings) has one dense gradient and not one for each use. */
static tn_node *add_gradients(tn_node *a, tn_node *b)
{
    const tn_dtype d = a->type.dtype;
    if (!tn_dtype_is_float(d)) /* 16-bit floats are summed in f32 */
        return tn_cast(tn_add(tn_cast(a, TN_F32), tn_cast(b, TN_F32)), d);
    const tn_node *rows = is_scattered(b) ? b : is_scattered(a) ? a : NULL;
    if (!rows) return tn_add(a, b);
    const tn__call *c = rows->call;
    return tn_apply(c->op, (tn_node *[]){ rows == b ? a : b, c->in[1], c->in[2] }, 3, c->attrs);
}

static tn_status add_to(walk *w, const tn_node *x, tn_node *dx)
{
    tn_node **sum = &w->cot[x->id];
    if (dx) *sum = *sum ? add_gradients(*sum, dx) : dx;
    return dx && *sum ? TN_OK : tn_ctx_status(w->g->ctx);
}

/* ---- products -------------------------------------------------------------------------------- */

/* A matrix that is multiplied by few rows many times, as in each step of a recurrence, has one
 * product over all of these rows, and not a sum of as many products. */

/* The sum of the last of x's products, as one. */
static tn_node *join_products(walk *w, const tn_node *x)
{
    enum { MOST = 4096 }; /* inputs of an op */
    product  *p = w->products[x->id];
    int       n = 0;
    for (product *q = p; q && n < MOST; q = q->next) n++;
    tn_node **a = tn_alloc(w->g->ctx, (size_t)(2 * n) * sizeof *a), **b, *y = p->d;
    if (!a) return NULL;
    b = a + n;
    for (int i = 0; i < n; i++) {
        product *next = p->next;
        a[i] = tn_transpose(p->d->call->in[0], 0, 1), b[i] = p->d->call->in[1];
        tn_free(w->g->ctx, p);
        w->products[x->id] = p = next;
    }
    if (n > 1) y = tn_matmul(tn_transpose(tn_concat(a, n, 0), 0, 1), tn_concat(b, n, 0));
    tn_free(w->g->ctx, a);
    return y;
}

/* Keeps dx, a cotangent of x, if it is a product whose operands are no larger than the sum; joins
 * the kept ones first where those of all would be four times as large (and SMALL elements): they
 * stay in memory. */
static bool keep_product(walk *w, const tn_node *x, tn_node *dx)
{
    enum { SMALL = 1 << 16 };
    const tn__call *c = dx->call;
    if (!c || c->op != &tn_op_matmul || tn_rank(dx) != 2) return false;
    const int64_t m = tn_dim(dx, 0), n = tn_dim(dx, 1), k = tn_dim(c->in[0], 1);
    product     **at = &w->products[x->id], *one;
    if (k * (m + n) > 2 * m * n) return false;
    if (*at && ((*at)->rows + k) * (m + n) > 4 * m * n + SMALL)
        add_to(w, x, join_products(w, x));
    one = tn_alloc(w->g->ctx, sizeof *one);
    if (!one) return true; /* the context has the error */
    *one = (product){ *at, dx, k + (*at ? (*at)->rows : 0) };
    *at = one;
    return true;
}

/* ---- cotangents ------------------------------------------------------------------------------ */

static tn_status add_cotangent(walk *w, const tn_node *x, tn_node *dx, const tn_op *op)
{
    if (!dx) return tn_ctx_status(w->g->ctx);
    dx = tn__as_value(w->g, dx);
    if (!dx) return tn_ctx_status(w->g->ctx);
    if (dx->graph != w->g)
        return tn_fail(w->g->ctx, TN_ERR_GRAD,
                       "gradient of %s: the rule gave a node of another graph", op->name);
    if (dx->type.dtype != x->type.dtype)
        return tn_fail(w->g->ctx, TN_ERR_GRAD, "gradient of %s: the rule gave %s, not %s", op->name,
                       tn_dtype_name(dx->type.dtype), tn_dtype_name(x->type.dtype));
    if (!tn_shape_equal(&dx->type.shape, &x->type.shape))
        dx = tn_dtype_is_float(x->type.dtype)
                 ? tn_sum_to(dx, x->type.shape)
                 : tn_cast(tn_sum_to(tn_cast(dx, TN_F32), x->type.shape), x->type.dtype);
    if (!dx) return tn_ctx_status(w->g->ctx);
    return keep_product(w, x, dx) ? tn_ctx_status(w->g->ctx) : add_to(w, x, dx);
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* A node that is read in many parts, as a sequence is step by step, has one concatenation of their
 * gradients, and not a sum of as many tensors of its whole size. */

/* Keeps the gradient of the slice that c is. false: it is none, or c's rule must do. */
static bool keep_part(walk *w, const tn__call *c)
{
    part p = { .d = w->cot[c->out[0].id] }, **at;
    if (!tn__slice_part(c, &p.axis, &p.begin, &p.count)) return false;
    for (at = &w->parts[c->in[0]->id]; *at; at = &(*at)->next)
        if (p.axis < (*at)->axis || (p.axis == (*at)->axis && p.begin <= (*at)->begin)) break;
    part *one = tn_alloc(w->g->ctx, sizeof *one);
    if (!one) return true; /* the context has the error */
    p.next = *at, *one = p, *at = one;
    return true;
}

/* Takes from x's parts a run of one axis that do not overlap: spread alone, or joined with zeros
 * between them. */
static tn_node *join_parts(walk *w, const tn_node *x)
{
    enum { MOST = 2000 }; /* with gaps, no more inputs than an op may have */
    tn_ctx   *ctx = w->g->ctx;
    part    **at = &w->parts[x->id];
    const int axis = (*at)->axis;
    int64_t   first = (*at)->begin, end = 0;
    int       n = 0, n_in = 0;
    tn_node **in = tn_alloc(ctx, sizeof *in * (2 * MOST + 1)), *y = NULL;
    for (bool ok = in != NULL; *at && (*at)->axis == axis && n < MOST;) {
        part *p = *at;
        if (p->begin < end) {
            at = &p->next;
            continue;
        }
        if (ok && p->begin > end) {
            tn_shape gap = x->type.shape;
            gap.dim[axis] = p->begin - end;
            in[n_in++] = tn_full(w->g, x->type.dtype, gap, 0);
        }
        if (ok) in[n_in++] = p->d;
        end = p->begin + p->count, n++;
        *at = p->next, tn_free(ctx, p);
    }
    tn_shape rest = x->type.shape;
    rest.dim[axis] -= end;
    if (in && n == 1) y = tn__spread(in[n_in - 1], axis, first, 1, x->type.shape.dim[axis]);
    else if (in) {
        if (rest.dim[axis] > 0) in[n_in++] = tn_full(w->g, x->type.dtype, rest, 0);
        y = tn_concat(in, n_in, axis);
    }
    tn_free(ctx, in);
    return y;
}

/* Adds what was kept of x's parts and products to its cotangent. */
static tn_status add_kept(walk *w, const tn_node *x)
{
    tn_status s = tn_ctx_status(w->g->ctx);
    while (s == TN_OK && w->parts[x->id]) s = add_cotangent(w, x, join_parts(w, x), x->call->op);
    while (s == TN_OK && w->products[x->id]) s = add_to(w, x, join_products(w, x));
    return s;
}

/* din of an op that has no rule but an expansion: the expansion is built on aliases of the inputs,
 * which stand for them as independent variables, and differentiated. */
static tn_status expansion_vjp(tn_vjp *v)
{
    tn_graph *g = v->graph;
    tn_node **room = tn_alloc(g->ctx, (size_t)(v->n_in + v->n_out) * sizeof *room);
    if (!room) return TN_ERR_MEMORY;
    tn_node **in = room, **out = room + v->n_in;
    for (int i = 0; i < v->n_in; i++) in[i] = tn__alias(v->in[i]);
    v->op->expand(&(tn_expansion){ .graph = g, .op = v->op, .attrs = v->attrs, .n_in = v->n_in,
                                .n_out = v->n_out, .in = in, .out = out });
    tn_status s = tn_ctx_status(g->ctx);
    for (int i = 0; s == TN_OK && i < v->n_out; i++) {
        const tn_type *t = &v->out[i]->type;
        if (!v->dout[i]) continue;
        out[i] = tn__as_value(g, out[i]);
        if (!out[i] || out[i]->graph != g || out[i]->type.dtype != t->dtype ||
            !tn_shape_equal(&out[i]->type.shape, &t->shape))
            s = tn_fail(g->ctx, TN_ERR_GRAD, "%s: its expansion is another tensor", v->op->name);
    }
    if (s == TN_OK) s = tn__backward(g, out, v->dout, v->n_out, in, v->n_in, v->din, NULL);
    tn_free(g->ctx, room);
    return s;
}

static tn_status differentiate_call(walk *w, tn__call *c)
{
    tn_graph *g = w->g;
    bool      any = false;
    for (int k = 0; k < c->n_out; k++)
        if (add_kept(w, &c->out[k]) != TN_OK) return tn_ctx_status(g->ctx);
    for (int k = 0; k < c->n_out && !any; k++) any = w->cot[c->out[k].id] != NULL;
    if (!any) return TN_OK;
    if (c->n_in == 1 && w->depends[c->in[0]->id] && carries_gradient(c->in[0]) && keep_part(w, c))
        return tn_ctx_status(g->ctx);

    int       n = c->n_in + c->n_out;
    tn_node **room = tn_alloc(g->ctx, (size_t)(2 * n + 1) * sizeof *room);
    bool     *want = tn_alloc(g->ctx, (size_t)c->n_in + 1);
    tn_status s = room && want ? TN_OK : TN_ERR_MEMORY;
    if (s == TN_OK) {
        tn_node **out = room, **dout = room + c->n_out, **din = room + 2 * c->n_out;
        bool      wanted = false;
        for (int k = 0; k < c->n_out; k++) out[k] = &c->out[k], dout[k] = w->cot[c->out[k].id];
        for (int k = 0; k < c->n_in; k++)
            wanted |= want[k] = w->depends[c->in[k]->id] && carries_gradient(c->in[k]) &&
                                !(c->op->flags & TN_STOPS_GRADIENT);
        tn_vjp v = { .graph = g, .op = c->op, .attrs = c->attrs, .n_in = c->n_in, .n_out = c->n_out,
                     .in = c->in, .out = out, .dout = dout, .want = want, .din = din };
        if (!wanted) {
            /* a leaf that is differentiated with respect to, or nothing asked */
        } else if (c->op->flags & TN_NOT_DIFFERENTIABLE) {
            s = tn_fail(g->ctx, TN_ERR_GRAD, "%s is not differentiable%s%s", c->op->name,
                        *c->scope ? ", in " : "", c->scope);
        } else if (c->op->vjp) {
            c->op->vjp(&v);
            s = tn_ctx_status(g->ctx);
        } else if (c->op->expand) {
            s = expansion_vjp(&v);
        } else {
            s = tn_fail(g->ctx, TN_ERR_GRAD,
                        "%s has neither a vjp rule nor an expansion nor the mark",
                        c->op->name);
        }
        for (int k = 0; wanted && s == TN_OK && k < c->n_in; k++)
            if (want[k]) s = add_cotangent(w, c->in[k], din[k], c->op);
    }
    tn_free(g->ctx, room), tn_free(g->ctx, want);
    return s;
}

tn_status tn__backward(tn_graph *g, tn_node *const *y, tn_node *const *dy, int n_y,
                       tn_node *const *wrt, int n, tn_node **grad, bool *depends)
{
    walk w = { .g = g, .n_nodes = g->n_nodes, .first_call = INT64_MAX, .last_call = -1 };
    for (int i = 0; i < n; i++) grad[i] = NULL;
    g->differentiating++;
    w.depends = tn_alloc(g->ctx, (size_t)w.n_nodes + 1);
    w.cot = tn_alloc(g->ctx, (size_t)w.n_nodes * sizeof *w.cot + 1);
    w.parts = tn_alloc(g->ctx, (size_t)w.n_nodes * sizeof *w.parts + 1);
    w.products = tn_alloc(g->ctx, (size_t)w.n_nodes * sizeof *w.products + 1);
    tn_status s = w.depends && w.cot && w.parts && w.products ? TN_OK : TN_ERR_MEMORY;
    for (int i = 0; s == TN_OK && i < n; i++) {
        if (!wrt[i]) continue;
        w.depends[wrt[i]->id] = true;
        if (wrt[i]->call->id < w.first_call) w.first_call = wrt[i]->call->id;
    }
    for (int i = 0; s == TN_OK && i < n_y; i++) {
        if (!y[i] || !dy[i]) continue;
        s = add_cotangent(&w, y[i], dy[i], y[i]->call->op);
        if (y[i]->call->id > w.last_call) w.last_call = y[i]->call->id;
    }
    if (s == TN_OK) {
        mark_dependents(&w);
        int depth = tn_scope_depth(g);
        tn_scope_push(g, "grad");
        for (int64_t i = w.last_call; s == TN_OK && i >= w.first_call; i--) {
            tn__call *c = g->calls[i];
            s = differentiate_call(&w, c);
        }
        tn_scope_restore(g, depth);
    }
    for (int i = 0; s == TN_OK && i < n; i++) {
        if (!wrt[i]) continue;
        grad[i] = w.cot[wrt[i]->id];
        if (!depends) continue;
        depends[i] = false;
        for (int k = 0; k < n_y && !depends[i]; k++)
            depends[i] = y[k] && dy[k] && w.depends[y[k]->id];
    }
    g->differentiating--;
    for (int64_t i = 0; w.parts && i < w.n_nodes; i++)
        for (part *p = w.parts[i], *next; p; p = next) next = p->next, tn_free(g->ctx, p);
    for (int64_t i = 0; w.products && i < w.n_nodes; i++)
        for (product *p = w.products[i], *next; p; p = next) next = p->next, tn_free(g->ctx, p);
    tn_free(g->ctx, w.products);
    tn_free(g->ctx, w.parts), tn_free(g->ctx, w.depends), tn_free(g->ctx, w.cot);
    return s;
}

/* Does y depend on x through ops that carry gradients? A walk forward from x. */
static bool depends_on(tn_graph *g, const tn_node *y, const tn_node *x, bool *marks)
{
    if (!carries_gradient(x)) return false;
    memset(marks, 0, (size_t)g->n_nodes);
    walk w = { .g = g, .n_nodes = g->n_nodes, .first_call = x->call->id, .last_call = y->call->id,
               .depends = marks };
    marks[x->id] = true;
    mark_dependents(&w);
    return marks[y->id];
}

static const char *label(const tn_node *x)
{
    if (x->call && x->call->op == &tn_op_read)
        return tn_variable_name(((const read_attrs *)x->call->attrs)->variable);
    if (x->call && x->call->op == &tn_op_input) return ((const input_attrs *)x->call->attrs)->name;
    return x->call ? x->call->op->name : "?";
}

static tn_status check_lists(tn_ctx *ctx, const tn_node *y, tn_node *const *wrt, int n,
                             tn_node **grad)
{
    if (!y || !y->graph)
        return tn_fail(ctx, TN_ERR_ARG, "tn_grad: y is %s", y ? "a variable" : "NULL");
    if (n < 0 || (n > 0 && (!wrt || !grad)))
        return tn_fail(ctx, TN_ERR_ARG, "tn_grad: no list of %d nodes, or of their gradients", n);
    if (!carries_gradient(y))
        return tn_fail(ctx, TN_ERR_GRAD, "tn_grad: y is %s, not a float",
                       tn_dtype_name(y->type.dtype));
    return TN_OK;
}

/* The cotangent of a scalar. */
static tn_node *one_for(const tn_node *y)
{
    const long long n = (long long)tn_shape_size(&y->type.shape);
    if (n == 1) return tn_full(y->graph, y->type.dtype, y->type.shape, 1);
    tn_fail(y->graph->ctx, TN_ERR_SHAPE, "tn_grad: y has %lld elements: it needs a cotangent", n);
    return NULL;
}

static tn_status check_cotangent(const tn_node *y, const tn_node *dy)
{
    tn_ctx *ctx = y->graph->ctx;
    char    a[96], b[96];
    if (dy->graph != y->graph)
        return tn_fail(ctx, TN_ERR_ARG, "tn_grad: the cotangent is of another graph");
    if (dy->type.dtype != y->type.dtype)
        return tn_fail(ctx, TN_ERR_DTYPE, "tn_grad: the cotangent is %s, y is %s",
                       tn_dtype_name(dy->type.dtype), tn_dtype_name(y->type.dtype));
    if (!tn_shape_equal(&dy->type.shape, &y->type.shape))
        return tn_fail(ctx, TN_ERR_SHAPE, "tn_grad: the cotangent is %s, y is %s",
                       tn_shape_text(&dy->type.shape, a, sizeof a),
                       tn_shape_text(&y->type.shape, b, sizeof b));
    return TN_OK;
}

/* What y depends on without a gradient to show has one of zeros; the rest is an error. */
static tn_status fill_missing(const tn_node *y, tn_node *const *wrt, int n, tn_node **grad)
{
    tn_graph *g = y->graph;
    bool     *marks = NULL;
    tn_status s = TN_OK;
    for (int i = 0; s == TN_OK && i < n; i++) {
        if (grad[i]) continue;
        if (!marks) marks = tn_alloc(g->ctx, (size_t)(g->n_nodes + n) + 1);
        if (!marks) s = TN_ERR_MEMORY;
        else if (!depends_on(g, y, wrt[i], marks))
            s = tn_fail(g->ctx, TN_ERR_GRAD, "tn_grad: %s does not depend on %s", label(y),
                        label(wrt[i]));
        else if (!(grad[i] = tn_full(g, wrt[i]->type.dtype, wrt[i]->type.shape, 0)))
            s = tn_ctx_status(g->ctx);
    }
    tn_free(g->ctx, marks);
    return s;
}

static tn_status grad_of(tn_node *y, tn_node *dy, tn_node *const *wrt, int n, tn_node **grad,
                         bool none_is_error)
{
    for (int i = 0; grad && i < n; i++) grad[i] = NULL;
    tn_ctx *ctx = y ? tn_node_ctx(y) : n > 0 && wrt && wrt[0] ? tn_node_ctx(wrt[0]) : NULL;
    if (ctx && tn_ctx_status(ctx) != TN_OK) return tn_ctx_status(ctx);
    tn_status s = check_lists(ctx, y, wrt, n, grad);
    if (s != TN_OK) return s;
    tn_graph *g = y->graph;
    if (!dy && !(dy = one_for(y))) return tn_ctx_status(ctx);
    tn_node **at = tn_alloc(ctx, (size_t)(n + 1) * sizeof *at);
    if (!at) return tn_ctx_status(ctx);
    for (int i = 0; s == TN_OK && i < n; i++) {
        if (!wrt[i]) s = tn_fail(ctx, TN_ERR_ARG, "tn_grad: wrt[%d] is NULL", i);
        else if (!(at[i] = tn__as_value(g, wrt[i]))) s = tn_ctx_status(ctx);
        else if (at[i]->graph != g)
            s = tn_fail(ctx, TN_ERR_ARG, "tn_grad: wrt[%d] is of another graph", i);
    }
    if (s == TN_OK && !(dy = tn__as_value(g, dy))) s = tn_ctx_status(ctx);
    if (s == TN_OK) s = check_cotangent(y, dy);
    if (s == TN_OK) s = tn__backward(g, &y, &dy, 1, at, n, grad, NULL);
    if (s == TN_OK && none_is_error) s = fill_missing(y, at, n, grad);
    for (int i = 0; s != TN_OK && i < n; i++) grad[i] = NULL;
    tn_free(ctx, at);
    return s;
}

tn_status tn_grad(tn_node *y, tn_node *dy, tn_node *const *wrt, int n, tn_node **grad)
{
    return grad_of(y, dy, wrt, n, grad, true);
}

tn_status tn_grad_or_none(tn_node *y, tn_node *dy, tn_node *const *wrt, int n, tn_node **grad)
{
    return grad_of(y, dy, wrt, n, grad, false);
}

/* Forward mode by reverse mode twice: y's vjp is linear in its cotangent u, and the transpose of
 * that linear map is the Jacobian: jvp = d/du <vjp(u), dx>. */
tn_node *tn_jvp(tn_node *y, tn_node *const *x, tn_node *const *dx, int n)
{
    if (!y) return NULL;
    if (!y->graph || n < 1 || !x || !dx) {
        tn_fail(tn_node_ctx(y), TN_ERR_ARG,
                "tn_jvp: y is a variable, or no list of %d nodes and tangents", n);
        return NULL;
    }
    tn_graph *g = y->graph;
    for (int i = 0; i < n; i++) {
        char a[96], b[96];
        if (!x[i] || !dx[i]) continue;
        if (!carries_gradient(x[i])) {
            tn_fail(g->ctx, TN_ERR_GRAD, "tn_jvp: x %d is %s: no derivative goes along it", i,
                    tn_dtype_name(x[i]->type.dtype));
            return NULL;
        }
        if (dx[i]->type.dtype == x[i]->type.dtype &&
            tn_shape_equal(&dx[i]->type.shape, &x[i]->type.shape))
            continue;
        tn_fail(g->ctx, TN_ERR_SHAPE, "tn_jvp: tangent %d is %s %s, x is %s %s", i,
                tn_dtype_name(dx[i]->type.dtype),
                tn_shape_text(&dx[i]->type.shape, a, sizeof a), tn_dtype_name(x[i]->type.dtype),
                tn_shape_text(&x[i]->type.shape, b, sizeof b));
        return NULL;
    }
    tn_node  *u = tn__alias(tn_full(g, y->type.dtype, y->type.shape, 0)), *sum = NULL, *out = NULL;
    tn_node **grad = tn_alloc(g->ctx, (size_t)n * sizeof *grad);
    if (u && grad && tn_grad_or_none(y, u, x, n, grad) == TN_OK) {
        for (int i = 0; i < n; i++) {
            if (!grad[i] || !dx[i]) continue;
            tn_node *term = tn_sum_all(tn_mul(grad[i], dx[i]));
            sum = sum ? tn_add(sum, term) : term;
        }
        if (!sum) out = tn_full(g, y->type.dtype, y->type.shape, 0);
        else if (tn_grad_or_none(sum, NULL, &u, 1, &out) == TN_OK && !out)
            out = tn_full(g, y->type.dtype, y->type.shape, 0);
    }
    tn_free(g->ctx, grad);
    return out;
}
