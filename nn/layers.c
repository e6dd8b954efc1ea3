/* The layers: each a few parameters and a line of computation. */
#include "nn/layers.h"

#include "nn/internal.h"
#include "tensor/vmath.h"

#include <math.h>
#include <string.h>

/* of the mathematics that makes tables: plain, so the same bits everywhere */
enum { tn__fused = 0 };

const char *tn__open_layer(tn_params *p, const char *name)
{
    if (p && (!name || !*name)) tn_fail(tn_params_ctx(p), TN_ERR_ARG, "a layer needs a name");
    const char *kept = name && *name ? tn_params_text(p, name) : NULL;
    if (kept) tn_params_push(p, "%s", kept);
    return kept;
}

tn_node *tn__no_layer(const tn_node *x, const char *call)
{
    if (x) tn_fail(tn_node_ctx(x), TN_ERR_ARG, "%s: the layer is NULL", call);
    return NULL;
}

bool tn__is_in_graph(const tn_node *x, const char *name)
{
    if (tn_node_graph(x)) return true;
    tn_fail(tn_node_ctx(x), TN_ERR_ARG, "%s: x is a variable: give it by tn_read(g, x)",
            name ? name : "a layer");
    return false;
}

/* The graph of x, in the layer's scope until tn_scope_pop. */
static tn_graph *enter(tn_node *x, const char *name)
{
    tn_graph *g = tn_node_graph(x);
    tn_scope_push(g, "%s", name ? name : "layer");
    return g;
}

/* ---- Linear ---------------------------------------------------------------------------------- */

tn_linear tn_linear_new_with(tn_params *p, const char *name, int64_t in, int64_t out,
                             const tn_linear_options *options)
{
    tn_linear_options o = options ? *options : (tn_linear_options){ 0 };
    tn_init           usual = tn_init_linear(in);
    tn_linear         l = { .name = tn__open_layer(p, name) };
    if (!l.name) return l;
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
    if (!l) return tn__no_layer(x, "tn_linear_apply");
    tn_graph *g = enter(x, l->name);
    tn_node  *y = tn_matmul(x, l->w);
    if (l->b) y = tn_add(y, l->b);
    tn_scope_pop(g);
    return y;
}

/* ---- Embedding ------------------------------------------------------------------------------- */

tn_embedding_layer tn_embedding_new(tn_params *p, const char *name, int64_t vocabulary, int64_t d,
                                    const tn_embedding_options *options)
{
    tn_embedding_options o = options ? *options : (tn_embedding_options){ 0 };
    double               root = d > 0 ? sqrt((double)d) : 1;
    double               std = o.std != 0 ? o.std : o.scale_sqrt_d ? 1 / root : 1;
    tn_init              normal = tn_init_normal(0, std);
    tn_embedding_layer   l = { .name = tn__open_layer(p, name), .padding_idx = -1,
                               .scale = o.scale_sqrt_d ? root : 1 };
    if (!l.name) return l;
    if (o.has_padding && (o.padding_idx < 0 || o.padding_idx >= vocabulary))
        tn_fail(tn_params_ctx(p), TN_ERR_ARG, "%s: padding_idx %lld is not in [0, %lld)", name,
                (long long)o.padding_idx, (long long)vocabulary);
    else
        l.w = tn_param(p, "w", TN_SHAPE(vocabulary, d), &normal);
    if (l.w && o.has_padding) {
        size_t row = (size_t)d * tn_dtype_size(tn_node_dtype(l.w));
        l.padding_idx = o.padding_idx;
        memset((char *)tn_variable_data(l.w) + (size_t)o.padding_idx * row, 0, row);
    }
    tn_params_pop(p);
    return l;
}

tn_node *tn_embedding_apply(const tn_embedding_layer *l, tn_node *index)
{
    if (!l) return tn__no_layer(index, "tn_embedding_apply");
    tn_graph *g = enter(index, l->name);
    tn_node  *y = tn_embedding(l->w, index, l->padding_idx);
    if (l->scale != 1) y = tn_scale(y, l->scale);
    tn_scope_pop(g);
    return y;
}

tn_node *tn_embedding_logits(const tn_embedding_layer *l, tn_node *x)
{
    if (!l) return tn__no_layer(x, "tn_embedding_logits");
    tn_graph *g = enter(x, l->name);
    tn_node  *w = x && !g ? l->w : tn_read(g, l->w); /* of variables alone the op says what to do */
    tn_node  *y = tn_matmul(x, tn_transpose(w, 0, 1));
    tn_scope_pop(g);
    return y;
}

/* ---- norms ----------------------------------------------------------------------------------- */

static tn_norm_layer norm_new(tn_params *p, const char *name, int64_t d, bool is_rms)
{
    tn_init       ones = tn_init_ones();
    tn_norm_layer l = { .name = tn__open_layer(p, name), .eps = is_rms ? 1e-6 : 1e-5,
                        .is_rms = is_rms };
    if (!l.name) return l;
    l.gamma = tn_param(p, "gamma", TN_SHAPE(d), &ones);
    if (!is_rms) l.beta = tn_param(p, "beta", TN_SHAPE(d), NULL);
    tn_params_pop(p);
    return l;
}

tn_norm_layer tn_layer_norm_new(tn_params *p, const char *name, int64_t d)
{
    return norm_new(p, name, d, false);
}

tn_norm_layer tn_rms_norm_new(tn_params *p, const char *name, int64_t d)
{
    return norm_new(p, name, d, true);
}

tn_node *tn_norm_apply(const tn_norm_layer *l, tn_node *x)
{
    if (!l) return tn__no_layer(x, "tn_norm_apply");
    if (!l->gamma || (!l->is_rms && !l->beta)) return NULL; /* to the op these would be a choice */
    tn_graph *g = enter(x, l->name);
    tn_node  *y = l->is_rms ? tn_rms_norm(x, l->gamma, l->eps)
                            : tn_layer_norm(x, l->gamma, l->beta, l->eps);
    tn_scope_pop(g);
    return y;
}

tn_node *tn_layer_norm_apply(const tn_norm_layer *l, tn_node *x) { return tn_norm_apply(l, x); }
tn_node *tn_rms_norm_apply(const tn_norm_layer *l, tn_node *x) { return tn_norm_apply(l, x); }

/* ---- batch norm and group norm --------------------------------------------------------------- */

tn_batch_norm tn_batch_norm_new(tn_params *p, const char *name, int64_t d)
{
    tn_init       ones = tn_init_ones();
    tn_batch_norm l = { .name = tn__open_layer(p, name), .eps = 1e-5, .momentum = 0.1 };
    if (!l.name) return l;
    l.gamma = tn_param(p, "gamma", TN_SHAPE(d), &ones);
    l.beta = tn_param(p, "beta", TN_SHAPE(d), NULL);
    l.mean = tn_buffer(p, "mean", tn_params_dtype(p), TN_SHAPE(d));
    l.var = tn_buffer(p, "var", tn_params_dtype(p), TN_SHAPE(d));
    if (l.var) tn_variable_fill(l.var, 1);
    tn_params_pop(p);
    return l;
}

/* Whether x is rows of as many channels as gamma has. */
static bool has_channels(tn_node *x, const tn_node *gamma, const char *name)
{
    if (!x || !tn__is_in_graph(x, name)) return false;
    if (tn_rank(x) >= 2 && tn_dim(x, -1) == tn_dim(gamma, 0)) return true;
    char           text[64];
    const tn_shape s = tn_node_shape(x);
    tn_fail(tn_node_ctx(x), TN_ERR_SHAPE, "%s: x %s is not rows of %lld channels", name,
            tn_shape_text(&s, text, sizeof text), (long long)tn_dim(gamma, 0));
    return false;
}

static tn_node *moved(tn_node *buffer, tn_node *x, double momentum)
{
    x = tn_stop_gradient(tn_reshape(x, TN_SHAPE(-1)));
    return tn_assign(buffer, tn_lerp(tn_read(tn_node_graph(x), buffer), x,
                                     tn_scalar_like(x, momentum)));
}

tn_node *tn_batch_norm_apply(const tn_batch_norm *l, tn_node *x, tn_node *assigns[2])
{
    if (assigns) assigns[0] = assigns[1] = NULL;
    if (!l) return tn__no_layer(x, "tn_batch_norm_apply");
    if (!l->gamma || !l->beta || !l->mean || !l->var) return NULL;
    if (!has_channels(x, l->gamma, l->name ? l->name : "batch norm")) return NULL;
    tn_graph *g = enter(x, l->name);
    tn_node  *mean = tn_read(g, l->mean), *var = tn_read(g, l->var);
    if (tn_graph_mode(g) == TN_TRAIN) {
        const int axes[TN_MAX_RANK] = { 0, 1, 2, 3, 4, 5, 6, 7 }, n = tn_rank(x) - 1;
        mean = tn_mean(x, axes, n, true);
        var = tn_var(x, axes, n, true, 0);
        if (assigns) {
            assigns[0] = moved(l->mean, mean, l->momentum);
            assigns[1] = moved(l->var, tn_var(x, axes, n, true, 1), l->momentum);
        }
    }
    tn_node *scale = tn_mul(tn_rsqrt(tn_add_scalar(var, l->eps)), l->gamma);
    tn_node *y = tn_add(tn_mul(tn_sub(x, mean), scale), l->beta);
    tn_scope_pop(g);
    return y;
}

tn_group_norm tn_group_norm_new(tn_params *p, const char *name, int64_t groups, int64_t d)
{
    tn_init       ones = tn_init_ones();
    tn_group_norm l = { .name = tn__open_layer(p, name), .groups = groups, .eps = 1e-5 };
    if (!l.name) return l;
    if (groups < 1 || d % groups) {
        tn_fail(tn_params_ctx(p), TN_ERR_ARG, "%s: %lld groups do not divide %lld channels", name,
                (long long)groups, (long long)d);
    } else {
        l.gamma = tn_param(p, "gamma", TN_SHAPE(d), &ones);
        l.beta = tn_param(p, "beta", TN_SHAPE(d), NULL);
    }
    tn_params_pop(p);
    return l;
}

tn_node *tn_group_norm_apply(const tn_group_norm *l, tn_node *x)
{
    if (!l) return tn__no_layer(x, "tn_group_norm_apply");
    if (!l->gamma || !l->beta) return NULL;
    if (!has_channels(x, l->gamma, l->name ? l->name : "group norm")) return NULL;
    tn_graph      *g = enter(x, l->name);
    const tn_shape whole = tn_node_shape(x);
    const int64_t  d = tn_dim(x, -1);
    int64_t        rows = 1;
    for (int i = 1; i < whole.rank - 1; i++) rows *= whole.dim[i];
    const tn_shape apart = TN_SHAPE(whole.dim[0], rows, l->groups, l->groups ? d / l->groups : 0);
    const int      axes[] = { 1, 3 };
    tn_node       *parts = tn_reshape(x, apart);
    tn_node       *scale = tn_rsqrt(tn_add_scalar(tn_var(parts, axes, 2, true, 0), l->eps));
    tn_node       *y = tn_mul(tn_sub(parts, tn_mean(parts, axes, 2, true)), scale);
    y = tn_add(tn_mul(tn_reshape(y, whole), l->gamma), l->beta);
    tn_scope_pop(g);
    return y;
}

/* ---- FeedForward ----------------------------------------------------------------------------- */

tn_node *tn_activate(tn_node *x, tn_activation activation)
{
    switch (activation) {
    case TN_ACTIVATION_RELU: return tn_relu(x);
    case TN_ACTIVATION_GELU: return tn_gelu(x);
    case TN_ACTIVATION_GELU_TANH: return tn_gelu_tanh(x);
    case TN_ACTIVATION_SILU: return tn_silu(x);
    }
    if (x) tn_fail(tn_node_ctx(x), TN_ERR_ARG, "no activation has the number %d", (int)activation);
    return NULL;
}

tn_feed_forward tn_feed_forward_new(tn_params *p, const char *name, int64_t d, int64_t d_inner,
                                    const tn_feed_forward_options *options)
{
    tn_feed_forward_options o = options ? *options : (tn_feed_forward_options){ 0 };
    tn_init                 xavier = tn_init_xavier_uniform(), zeros = tn_init_zeros();
    tn_linear_options       linear = { .no_bias = o.no_bias, .w = o.w ? o.w : &xavier,
                                       .b = &zeros };
    tn_feed_forward         l = { .name = tn__open_layer(p, name), .activation = o.activation };
    if (!l.name) return l;
    l.dropout = o.dropout;
    l.in = tn_linear_new_with(p, "in", d, d_inner, &linear);
    if (o.gated) {
        l.gate = tn_linear_new_with(p, "gate", d, d_inner, &linear);
        if (!l.gate.w) l.in.w = NULL; /* rather no layer than one without its gate */
    }
    l.out = tn_linear_new_with(p, "out", d_inner, d, &linear);
    tn_params_pop(p);
    return l;
}

tn_node *tn_feed_forward_apply(const tn_feed_forward *l, tn_node *x)
{
    if (!l) return tn__no_layer(x, "tn_feed_forward_apply");
    tn_graph *g = enter(x, l->name);
    tn_node  *h = tn_activate(tn_linear_apply(&l->in, x), l->activation);
    if (l->gate.w) h = tn_mul(h, tn_linear_apply(&l->gate, x));
    tn_node *y = tn_linear_apply(&l->out, tn_dropout(h, l->dropout));
    tn_scope_pop(g);
    return y;
}

/* ---- positions ------------------------------------------------------------------------------- */

tn_positions tn_positions_sinusoidal(tn_params *p, const char *name, int64_t length, int64_t d)
{
    tn_positions l = { .name = tn__open_layer(p, name), .d = d };
    if (!l.name) return l;
    if (length >= 0 && d > 0 && length <= ((int64_t)1 << 46) / d) l.length = length;
    else
        tn_fail(tn_params_ctx(p), TN_ERR_SHAPE, "%s: there is no table [%lld,%lld]", name,
                (long long)length, (long long)d);
    tn_params_pop(p);
    return l;
}

tn_positions tn_positions_learned(tn_params *p, const char *name, int64_t length, int64_t d)
{
    tn_init      normal = tn_init_normal(0, 0.02);
    tn_positions l = { .name = tn__open_layer(p, name), .d = d };
    if (!l.name) return l;
    l.w = tn_param(p, "w", TN_SHAPE(length, d), &normal);
    if (l.w) l.length = length; /* without it nothing fits: apply must not take it for sinusoidal */
    tn_params_pop(p);
    return l;
}

void tn_sinusoidal_table(int64_t n, int64_t d, tn_dtype dtype, void *out)
{
    for (int64_t i = 0; out && i < d; i += 2) {
        double period = tn__pow(10000.0, (double)i / (double)d);
        for (int64_t t = 0; t < n; t++) {
            double angle = (double)t / period, s = tn__sin(angle), c = tn__cos(angle);
            for (int64_t k = i; k < i + 2 && k < d; k++) {
                double x = k == i ? s : c;
                if (dtype == TN_F32) ((float *)out)[t * d + k] = (float)x;
                else if (dtype == TN_F64) ((double *)out)[t * d + k] = x;
            }
        }
    }
}

static tn_node *sinusoidal(tn_graph *g, int64_t n, int64_t d, tn_dtype dtype)
{
    tn_ctx *ctx = tn_graph_ctx(g);
    void   *table = tn_alloc(ctx, (size_t)(n * d) * tn_dtype_size(dtype) + 1);
    if (!table) return NULL;
    tn_sinusoidal_table(n, d, dtype, table);
    tn_node *x = tn_constant(g, dtype, TN_SHAPE(n, d), table);
    tn_free(ctx, table);
    return x;
}

tn_node *tn_positions_apply(const tn_positions *l, tn_node *x, tn_node *index)
{
    if (!l) return tn__no_layer(x, "tn_positions_apply");
    if (tn_is_variable(x) && tn_node_graph(index)) x = tn_read(tn_node_graph(index), x);
    tn_graph *g = enter(x, l->name);
    int64_t   t = tn_dim(x, -2), n = index ? l->length : t;
    tn_node  *y = NULL;
    if (x && (tn_rank(x) < 2 || tn_dim(x, -1) != l->d || n > l->length)) {
        char     text[96];
        tn_shape s = tn_node_shape(x);
        tn_fail(tn_node_ctx(x), TN_ERR_SHAPE,
                "%s: x %s has not %lld positions of size %lld at most",
                l->name ? l->name : "positions", tn_shape_text(&s, text, sizeof text),
                (long long)l->length, (long long)l->d);
    } else if (x && !tn_dtype_is_float(tn_node_dtype(x))) {
        tn_fail(tn_node_ctx(x), TN_ERR_DTYPE, "%s: x is %s, not f32 or f64",
                l->name ? l->name : "positions", tn_dtype_name(tn_node_dtype(x)));
    } else if (x && tn__is_in_graph(x, l->name)) {
        tn_node *table = l->w ? tn_read(g, l->w) : sinusoidal(g, n, l->d, tn_node_dtype(x));
        y = tn_add(x, index ? tn_embedding(table, index, -1) : tn_slice(table, 0, 0, t, 1));
    }
    tn_scope_pop(g);
    return y;
}

tn_node *tn_rotary(tn_node *x, tn_node *index, double base)
{
    const int64_t half = tn_dim(x, -1) / 2;
    tn_node      *part[2], *turned[2];
    if (!x || !tn__is_in_graph(x, "tn_rotary")) return NULL;
    const bool is_base = base >= 0 && base < INFINITY;
    if (tn_rank(x) < 3 || half < 1 || tn_dim(x, -1) != 2 * half || !is_base) {
        char           text[96];
        const tn_shape s = tn_node_shape(x);
        tn_fail(tn_node_ctx(x), TN_ERR_SHAPE,
                "tn_rotary: x %s, base %g: x is [.., t, h, d], d even",
                tn_shape_text(&s, text, sizeof text), base);
        return NULL;
    }
    tn_graph *g = tn_node_graph(x);
    if (!index) index = tn_arange(g, TN_F64, tn_dim(x, -3), 0, 1);
    const double fall = tn__log(base != 0 ? base : 1e4) / (double)half;
    tn_node     *rate = tn_exp(tn_arange(g, TN_F64, half, 0, -fall));
    tn_node     *angle = tn_mul(tn_unsqueeze(tn_cast(index, TN_F64), -1), rate);
    tn_node     *c = tn_unsqueeze(tn_cast(tn_cos(angle), tn_node_dtype(x)), -2);
    tn_node     *s = tn_unsqueeze(tn_cast(tn_sin(angle), tn_node_dtype(x)), -2);
    if (tn_chunk(x, -1, 2, part) != TN_OK) return NULL;
    turned[0] = tn_sub(tn_mul(part[0], c), tn_mul(part[1], s));
    turned[1] = tn_add(tn_mul(part[1], c), tn_mul(part[0], s));
    return tn_concat(turned, 2, -1);
}
