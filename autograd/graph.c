/* Building: graphs, scopes, and the one function through which every op call is appended. */
#include "autograd/internal.h"

#include "tensor/random.h"

#include <stdarg.h>
#include <string.h>

enum { BLOCK_SIZE = 64 * 1024 };

bool tn__grow(tn_ctx *ctx, void *array, int64_t n, int64_t *capacity, size_t size)
{
    if (n < *capacity) return true;
    int64_t wanted = *capacity ? 2 * *capacity : 16;
    void   *old, *new = tn_alloc(ctx, (size_t)wanted * size);
    if (!new) return false;
    memcpy(&old, array, sizeof old);
    if (old) memcpy(new, old, (size_t)n * size);
    tn_free(ctx, old);
    memcpy(array, &new, sizeof new);
    *capacity = wanted;
    return true;
}

void *tn__graph_alloc(tn_graph *g, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    tn__block *b = g->blocks;
    if (!b || b->used + size > b->size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        b = tn_alloc(g->ctx, sizeof *b + 64 + room);
        if (!b) return NULL;
        b->next = g->blocks, b->size = room, b->used = 0;
        g->blocks = b;
    }
    void *p = (char *)b + 64 + b->used;
    b->used += size;
    return p;
}

static const char *copy_text(tn_graph *g, const char *text)
{
    char *p = tn__graph_alloc(g, strlen(text) + 1);
    return p ? strcpy(p, text) : NULL;
}

tn_graph *tn_graph_new(tn_ctx *ctx, tn_mode mode)
{
    if (!ctx) return NULL;
    if (mode != TN_TRAIN && mode != TN_EVAL) {
        tn_fail(ctx, TN_ERR_ARG, "tn_graph_new: mode %d is neither TN_TRAIN nor TN_EVAL",
                (int)mode);
        return NULL;
    }
    tn_graph *g = tn_alloc(ctx, sizeof *g);
    if (!g) return NULL;
    g->ctx = ctx, g->mode = mode;
    if (!tn__grow(ctx, &g->scopes, 0, &g->cap_scopes, sizeof *g->scopes)) {
        tn_graph_free(g);
        return NULL;
    }
    g->scopes[0] = (tn__scope){ .path = "", .hash = tn_hash_text(0, "") };
    g->n_scopes = 1;
    return g;
}

void tn_graph_free(tn_graph *g)
{
    if (!g) return;
    tn_ctx *ctx = g->ctx;
    for (tn__block *b = g->blocks, *next; b; b = next) {
        next = b->next;
        tn_free(ctx, b);
    }
    tn_free(ctx, g->calls), tn_free(ctx, g->reads), tn_free(ctx, g->inputs);
    tn_free(ctx, g->scopes), tn_free(ctx, g->stack);
    tn_free(ctx, g);
}

tn_ctx *tn_graph_ctx(const tn_graph *g) { return g ? g->ctx : NULL; }
tn_mode tn_graph_mode(const tn_graph *g) { return g ? g->mode : TN_EVAL; }
size_t  tn_graph_calls(const tn_graph *g) { return g ? (size_t)g->n_calls : 0; }

/* ---- nodes --------------------------------------------------------------------------------- */

tn_type   tn_node_type(const tn_node *x) { return x ? x->type : (tn_type){ 0 }; }
tn_dtype  tn_node_dtype(const tn_node *x) { return x ? x->type.dtype : TN_F32; }
tn_shape  tn_node_shape(const tn_node *x) { return x ? x->type.shape : (tn_shape){ 0 }; }
int       tn_rank(const tn_node *x) { return x ? x->type.shape.rank : 0; }
tn_graph *tn_node_graph(const tn_node *x) { return x ? x->graph : NULL; }

int64_t tn_dim(const tn_node *x, int axis)
{
    int a = x ? tn_axis(axis, x->type.shape.rank) : -1;
    return a < 0 ? 0 : x->type.shape.dim[a];
}

tn_ctx *tn_node_ctx(const tn_node *x)
{
    if (!x) return NULL;
    return x->graph ? x->graph->ctx : ((const tn__variable *)x)->ctx;
}

/* ---- scopes -------------------------------------------------------------------------------- */

static tn__scope *scope_now(tn_graph *g)
{
    return &g->scopes[g->depth ? g->stack[g->depth - 1] : 0];
}

/* The index of a path, entered if it is new; 0 (the top) without memory. */
static int scope_find(tn_graph *g, const char *path)
{
    uint64_t h = tn_hash_text(0, path);
    for (int64_t i = 0; i < g->n_scopes; i++)
        if (g->scopes[i].hash == h && strcmp(g->scopes[i].path, path) == 0) return (int)i;
    const char *kept = copy_text(g, path);
    if (!kept || !tn__grow(g->ctx, &g->scopes, g->n_scopes, &g->cap_scopes, sizeof *g->scopes))
        return 0;
    g->scopes[g->n_scopes] = (tn__scope){ .path = kept, .hash = h };
    return (int)g->n_scopes++;
}

void tn_scope_push(tn_graph *g, const char *format, ...)
{
    if (!g || !tn__grow(g->ctx, &g->stack, g->depth, &g->cap_stack, sizeof *g->stack)) return;
    char        path[256];
    const char *outer = scope_now(g)->path;
    int         used = snprintf(path, sizeof path, "%s%s", outer, *outer ? "." : "");
    if (used < 0 || used >= (int)sizeof path) used = 0;
    va_list args;
    va_start(args, format);
    if (format) vsnprintf(path + used, sizeof path - (size_t)used, format, args);
    va_end(args);
    g->stack[g->depth] = scope_find(g, path);
    g->depth++;
}

int  tn_scope_depth(const tn_graph *g) { return g ? (int)g->depth : 0; }
void tn_scope_pop(tn_graph *g) { tn_scope_restore(g, tn_scope_depth(g) - 1); }

void tn_scope_restore(tn_graph *g, int depth)
{
    if (g && depth >= 0 && depth < g->depth) g->depth = depth;
}

/* ---- calls ---------------------------------------------------------------------------------- */

tn_status tn_infer_fail(tn_infer *c, tn_status status, const char *format, ...)
{
    char   text[400], shape[96];
    size_t used = (size_t)snprintf(text, sizeof text, "%s: ", c->op->name);
    for (int i = 0; i < c->n_in && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s", i ? " x " : "",
                                 status == TN_ERR_DTYPE ? tn_dtype_name(c->in[i].dtype) : "",
                                 tn_shape_text(&c->in[i].shape, shape, sizeof shape));
    if (c->n_in && used < sizeof text)
        used += (size_t)snprintf(text + used, sizeof text - used, ": ");
    if (used < sizeof text) {
        va_list args;
        va_start(args, format);
        vsnprintf(text + used, sizeof text - used, format, args);
        va_end(args);
    }
    return *c->scope ? tn_fail(c->ctx, status, "%s (%s)", text, c->scope)
                     : tn_fail(c->ctx, status, "%s", text);
}

static tn_node *read_of(tn_graph *g, tn_node *variable)
{
    for (int64_t i = 0; i < g->n_reads; i++)
        if (((const read_attrs *)g->reads[i]->call->attrs)->variable == variable)
            return g->reads[i];
    if (!tn__grow(g->ctx, &g->reads, g->n_reads, &g->cap_reads, sizeof *g->reads)) return NULL;
    tn_node *r = tn_apply_in(g, &tn_op_read, NULL, 0, &(read_attrs){ variable }, NULL);
    if (r) g->reads[g->n_reads++] = r;
    return r;
}

tn_node *tn__as_value(tn_graph *g, tn_node *x)
{
    if (!x || x->graph) return x;
    return read_of(g, x);
}

tn_node *tn__beside(tn_node *x, const tn_node *other)
{
    return other && other->graph ? tn__as_value(other->graph, x) : x;
}

tn_node *tn_read(tn_graph *g, tn_node *variable)
{
    if (!g || !variable) return NULL;
    return tn__as_value(g, variable);
}

enum { MAX_CALL_IN = 4096 }; /* and outputs */

/* The graph of the inputs that are not variables; fails if there is none. */
static tn_graph *graph_of(const tn_op *op, tn_node *const *in, int n)
{
    for (int i = 0; i < n; i++)
        if (in[i]->graph) return in[i]->graph;
    if (n > 0)
        tn_fail(tn_node_ctx(in[0]), TN_ERR_ARG,
                "%s: all inputs are variables, which belong to no graph: give one by tn_read(g, w)",
                op->name);
    return NULL;
}

/* Can there be a call with these inputs, and so many outputs? No error where one of them is NULL:
 * it has been told. */
static bool can_apply(const tn_graph *g, const tn_op *op, tn_node *const *in, int n, int n_out)
{
    if (n < 0 || n > MAX_CALL_IN || n_out < 1 || n_out > MAX_CALL_IN) {
        tn_fail(g->ctx, TN_ERR_ARG,
                "%s: %d inputs and %d outputs: 0 to %d and 1 to %d are possible", op->name, n,
                n_out, MAX_CALL_IN, MAX_CALL_IN);
        return false;
    }
    for (int i = 0; i < n; i++)
        if (!in[i]) return false;
    for (int i = 0; i < n; i++)
        if (in[i]->graph && in[i]->graph != g) {
            tn_fail(g->ctx, TN_ERR_ARG, "%s: inputs are from different graphs: number %d is",
                    op->name, i);
            return false;
        }
    return true;
}

static void *copy_attrs(tn_graph *g, const tn_op *op, const void *attrs)
{
    char *p = tn__graph_alloc(g, op->attrs_size + 8);
    if (!p) return NULL;
    if (attrs) memcpy(p, attrs, op->attrs_size);
    for (const tn_attr_field *f = op->attrs; f && f->kind != TN_ATTR_END; f++) {
        if (f->kind != TN_ATTR_stream) continue;
        uint64_t stream;
        memcpy(&stream, p + f->offset, sizeof stream);
        if (stream) continue;
        tn__scope *s = scope_now(g);
        stream = tn__mix(s->hash, (uint64_t)s->n_random++);
        memcpy(p + f->offset, &stream, sizeof stream);
    }
    return p;
}

static bool types_are_sane(tn_infer *c)
{
    for (int i = 0; i < c->n_out; i++) {
        tn_shape *s = &c->out[i].shape;
        if (s->rank < 0 || s->rank > TN_MAX_RANK) {
            tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
            return false;
        }
        if (tn_dtype_size(c->out[i].dtype) == 0) {
            tn_infer_fail(c, TN_ERR_DTYPE, "there is no dtype %d", (int)c->out[i].dtype);
            return false;
        }
        int64_t size = 1;
        for (int d = 0; d < s->rank; d++) {
            if (s->dim[d] < 0) {
                tn_infer_fail(c, TN_ERR_SHAPE, "dimension %d would be %lld", d,
                              (long long)s->dim[d]);
                return false;
            }
            if (s->dim[d] && size > ((int64_t)1 << 46) / s->dim[d]) {
                tn_infer_fail(c, TN_ERR_SHAPE, "more than 2^46 elements");
                return false;
            }
            size *= s->dim[d] ? s->dim[d] : 1;
        }
    }
    return true;
}

/* A span's kernel writes each of its outputs once for each element of its broadcast operands. */
static bool shapes_suit_span(tn_infer *c)
{
    tn_shape all = c->in[0].shape;
    bool     fits = c->op->span_in < c->n_in;
    for (int i = 1; fits && i < c->n_in; i++)
        fits = tn_shape_broadcast(&all, &c->in[i].shape, &all);
    for (int k = 0; fits && k < c->n_out; k++) fits = tn_shape_equal(&all, &c->out[k].shape);
    if (!fits)
        tn_infer_fail(c, TN_ERR_SHAPE, "infer gave other shapes than the span's operands make");
    return fits;
}

/* What gives the first input's memory as its own gives what lies there: a view elements of that
 * size, an op that writes rows a tensor of that type. */
static bool types_suit_memory(tn_infer *c)
{
    const bool is_view = c->op->view != NULL, updates = c->op->flags & TN_UPDATES;
    bool       fits = (!is_view && !updates) || c->n_in > 0;
    if (fits && updates)
        fits = c->out[0].dtype == c->in[0].dtype &&
               tn_shape_equal(&c->out[0].shape, &c->in[0].shape);
    for (int k = 0; fits && is_view && k < c->n_out; k++)
        fits = tn_dtype_size(c->out[k].dtype) == tn_dtype_size(c->in[0].dtype);
    if (!fits) tn_infer_fail(c, TN_ERR_DTYPE, "infer gave what its first input's memory is not");
    return fits;
}

/* Checks the inputs' number, infers the outputs' types. */
static bool infer(tn_graph *g, const tn_op *op, const void *attrs, const tn_type *in, int n_in,
                  tn_type *out, int n_out)
{
    tn_infer c = { .ctx = g->ctx, .op = op, .attrs = attrs, .n_in = n_in, .n_out = n_out,
                   .in = in, .out = out, .scope = scope_now(g)->path };
    int most = op->max_arity ? op->max_arity : op->arity;
    if (n_in < op->arity || (most >= 0 && n_in > most)) {
        tn_infer_fail(&c, TN_ERR_ARG, "%d inputs, not %d", n_in, op->arity);
        return false;
    }
    if (op->span && (n_in < 1 || n_in > TN_SPAN_MAX_IN || n_out > TN_SPAN_MAX_OUT)) {
        tn_infer_fail(&c, TN_ERR_ARG, "%d inputs and %d outputs of a span: 1 to %d and %d at most",
                      n_in, n_out, TN_SPAN_MAX_IN, TN_SPAN_MAX_OUT);
        return false;
    }
    if (!op->name || !op->infer || op->infer(&c) != TN_OK) {
        if (tn_ctx_status(g->ctx) == TN_OK) tn_infer_fail(&c, TN_ERR_SHAPE, "refused");
        return false;
    }
    if (op->span && n_in > op->span_in && !op->span->fn[in[op->span_in].dtype][TN_CPU_BASE]) {
        tn_infer_fail(&c, TN_ERR_DTYPE, "no kernel for %s", tn_dtype_name(in[op->span_in].dtype));
        return false;
    }
    return types_are_sane(&c) && (!op->span || shapes_suit_span(&c)) && types_suit_memory(&c);
}

static tn_node *append(tn_graph *g, const tn_op *op, const void *attrs, tn_node *const *in,
                       int n_in, const tn_type *out, int n_out)
{
    if (!tn__grow(g->ctx, &g->calls, g->n_calls, &g->cap_calls, sizeof *g->calls)) return NULL;
    tn__call *c = tn__graph_alloc(g, sizeof *c);
    tn_node **ins = tn__graph_alloc(g, (size_t)n_in * sizeof *ins);
    tn_node  *outs = tn__graph_alloc(g, (size_t)n_out * sizeof *outs);
    if (!c || !ins || !outs) return NULL;
    if (n_in) memcpy(ins, in, (size_t)n_in * sizeof *ins);
    for (int i = 0; i < n_out; i++)
        outs[i] = (tn_node){ .graph = g, .call = c, .index = i, .id = g->n_nodes++,
                             .type = out[i] };
    *c = (tn__call){ .op = op, .attrs = attrs, .n_in = n_in, .n_out = n_out, .in = ins, .out = outs,
                     .id = g->n_calls, .scope = scope_now(g)->path,
                     .is_gradient = g->differentiating > 0 };
    g->calls[g->n_calls++] = c;
    return outs;
}

/* Attributes that are not given are zeros. */
static int outputs_of(const tn_op *op, const void *attrs, int n_in)
{
    static const max_align_t zeros[16];
    if (!op->count_out) return op->n_out ? op->n_out : 1;
    if (!attrs && op->attrs_size > sizeof zeros) return 0;
    return op->count_out(attrs ? attrs : zeros, n_in);
}

tn_node *tn_apply_in(tn_graph *g, const tn_op *op, tn_node *const *in, int n, const void *attrs,
                     tn_node **out)
{
    if (!op || (n > 0 && !in)) return NULL;
    int n_out = outputs_of(op, attrs, n);
    for (int i = 0; out && i < n_out; i++) out[i] = NULL;
    if (!g || !can_apply(g, op, in, n, n_out)) return NULL;

    tn_node  *small_in[16], **ins = n <= 16 ? small_in : tn_alloc(g->ctx, (size_t)n * sizeof *ins);
    tn_type   small_type[32], *types = n + n_out <= 32
                                           ? small_type
                                           : tn_alloc(g->ctx, (size_t)(n + n_out) * sizeof *types);
    tn_node  *made = NULL;
    bool      ok = ins && types;
    for (int i = 0; ok && i < n; i++) {
        ok = (ins[i] = tn__as_value(g, in[i])) != NULL;
        if (ok) types[i] = ins[i]->type;
    }
    if (ok) memset(types + n, 0, (size_t)n_out * sizeof *types);
    const void *kept = ok ? copy_attrs(g, op, attrs) : NULL;
    if (kept && infer(g, op, kept, types, n, types + n, n_out))
        made = append(g, op, kept, ins, n, types + n, n_out);
    if (ins != small_in) tn_free(g->ctx, ins);
    if (types != small_type) tn_free(g->ctx, types);
    for (int i = 0; made && out && i < n_out; i++) out[i] = &made[i];
    return made;
}

/* Keeps where a NULL came in, for tn__fail_null, unless an error tells why it is one. */
static TN_COLD void note_null(const tn_op *op, tn_node *const *in, int n, int null_in)
{
    for (int i = 0; i < n; i++) {
        tn_graph *g = in[i] ? in[i]->graph : NULL;
        if (!g || g->null_op || tn_ctx_status(g->ctx) != TN_OK) continue;
        g->null_op = op->name, g->null_scope = scope_now(g)->path, g->null_in = null_in;
    }
}

TN_COLD tn_status tn__fail_null(const tn_graph *g, const char *what)
{
    if (!g->null_op) return tn_fail(g->ctx, TN_ERR_ARG, "%s is NULL", what);
    const bool at_top = !*g->null_scope;
    return tn_fail(g->ctx, TN_ERR_ARG, "%s is NULL, as input %d of %s was%s%s%s", what, g->null_in,
                   g->null_op, at_top ? "" : " (", g->null_scope, at_top ? "" : ")");
}

tn_node *tn_apply_multi(const tn_op *op, tn_node *const *in, int n, const void *attrs,
                        tn_node **out)
{
    if (!op || (n > 0 && !in)) return NULL;
    int n_out = outputs_of(op, attrs, n);
    for (int i = 0; out && i < n_out; i++) out[i] = NULL;
    for (int i = 0; i < n; i++)
        if (!in[i]) return note_null(op, in, n, i), NULL;
    tn_graph *g = n > 0 ? graph_of(op, in, n) : NULL;
    return g ? tn_apply_in(g, op, in, n, attrs, out) : NULL;
}

tn_node *tn_apply(const tn_op *op, tn_node *const *in, int n, const void *attrs)
{
    return tn_apply_multi(op, in, n, attrs, NULL);
}
