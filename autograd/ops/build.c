/* What op functions share: errors in the words of an op, graphs of inputs, lists of axes. */
#include "autograd/ops/build.h"

#include <stdarg.h>

tn_node *tn__refuse(const char *name, const tn_node *x, tn_status status, const char *format, ...)
{
    if (!x) return NULL;
    char    text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const tn_graph *g = x->graph;
    const tn_op     op = { .name = name };
    tn_infer        c = { .ctx = tn_node_ctx(x), .op = &op, .n_in = 1, .in = &x->type,
                          .scope = g && g->depth ? g->scopes[g->stack[g->depth - 1]].path : "" };
    tn_infer_fail(&c, status, "%s", text);
    return NULL;
}

tn_graph *tn__graph_of(const char *name, const tn_node *x)
{
    if (x && !x->graph)
        tn__refuse(name, x, TN_ERR_ARG,
                   "a variable belongs to no graph: give its value by tn_read(g, w)");
    return x ? x->graph : NULL;
}

tn_shape tn__axes_of(const tn_node *x, const int *axes, int n)
{
    int      rank = tn_rank(x);
    tn_shape list = { 0 };
    unsigned seen = 0;
    bool     sound = n >= 0 && n <= TN_MAX_RANK && (axes || n == 0);
    for (int i = 0; sound && i < n; i++) {
        int a = tn_axis(axes[i], rank);
        sound = a >= 0 && !(seen >> a & 1);
        if (sound) seen |= 1u << a;
    }
    if (!sound) {
        list.rank = n >= 0 && n <= TN_MAX_RANK && axes ? n : -1;
        for (int i = 0; i < list.rank; i++) list.dim[i] = axes[i];
        return list;
    }
    if (!axes) seen = (1u << rank) - 1;
    for (int d = 0; d < rank; d++)
        if (seen >> d & 1) list.dim[list.rank++] = d;
    return list;
}

tn_shape tn__kept_shape(const tn_node *x, const tn_shape *axes)
{
    tn_shape s = tn_node_shape(x);
    for (int i = 0; i < axes->rank; i++)
        if (axes->dim[i] >= 0 && axes->dim[i] < s.rank) s.dim[axes->dim[i]] = 1;
    return s;
}

bool tn__is_far(const tn_exec *e)
{
    const tn_tensor *out = &e->out[0];
    for (int i = 0; i < e->n_in; i++)
        if (e->in[i].data == out->data) return false;
    return tn__ctx_streams(e->ctx, tn_shape_size(&out->shape) * (int64_t)tn_dtype_size(out->dtype));
}
