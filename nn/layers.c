/* The layers: each a few parameters and a line of computation. */
#include "nn/layers.h"

/* The layer's name, kept by the set; what is made until tn_params_pop stands behind it. */
static const char *open_layer(tn_params *p, const char *name)
{
    if (p && (!name || !*name)) tn_fail(tn_params_ctx(p), TN_ERR_ARG, "a layer needs a name");
    tn_params_push(p, "%s", name ? name : "");
    return tn_params_text(p, name);
}

/* The graph of x, in the layer's scope until tn_scope_pop. */
static tn_graph *enter(tn_node *x, const char *name)
{
    tn_graph *g = tn_node_graph(x);
    tn_scope_push(g, "%s", name ? name : "layer");
    return g;
}

/* ---- Linear ---------------------------------------------------------------------------------------- */

tn_linear tn_linear_new_with(tn_params *p, const char *name, int64_t in, int64_t out,
                             const tn_linear_options *options)
{
    tn_linear_options o = options ? *options : (tn_linear_options){ 0 };
    tn_init           usual = tn_init_linear(in);
    tn_linear         l = { .name = open_layer(p, name) };
    l.w = tn_param(p, "w", TN_SHAPE(in, out), o.w ? o.w : &usual);
    if (!o.no_bias && !(l.b = tn_param(p, "b", TN_SHAPE(out), o.b ? o.b : &usual))) l.w = NULL;
    tn_params_pop(p);
    return l;
}

tn_linear tn_linear_new(tn_params *p, const char *name, int64_t in, int64_t out)
{
    return tn_linear_new_with(p, name, in, out, NULL);
}

tn_node *tn_linear_apply(const tn_linear *l, tn_node *x)
{
    tn_graph *g = enter(x, l->name);
    tn_node  *y = tn_matmul(x, l->w);
    if (l->b) y = tn_add(y, l->b);
    tn_scope_pop(g);
    return y;
}
