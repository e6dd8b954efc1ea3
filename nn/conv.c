/* Convolutions and pooling: views of windows, and what is done with them. */
#include "nn/conv.h"

#include "nn/internal.h"

#include <math.h>

/* ---- windows --------------------------------------------------------------------------------- */

static int64_t or_one(int64_t x) { return x ? x : 1; }

/* x with zeros, or another number, around its middle dims. */
static tn_node *padded(tn_node *x, int dims, const int64_t *padding, double value)
{
    for (int i = 0; i < dims; i++)
        if (padding[i]) x = tn_pad(x, 1 + i, padding[i], padding[i], value);
    return x;
}

/* Dim `from` of x becomes dim `to`. */
static tn_node *moved(tn_node *x, int from, int to)
{
    int axes[TN_MAX_RANK], n = 0;
    for (int i = 0; i < tn_rank(x); i++) {
        if (n == to) axes[n++] = from;
        if (i != from) axes[n++] = i;
    }
    if (n == to) axes[n++] = from;
    return tn_permute(x, axes, n);
}

/* [b, n.., c] -> a view [b, m.., size.., c]. Channels stay last on the way: what is made of the
 * gradient of each view has them together in memory. */
static tn_node *windows(tn_node *x, tn_shape size, const int64_t *stride, const int64_t *dilation)
{
    for (int i = size.rank - 1; i >= 0; i--) {
        const int64_t d = dilation ? or_one(dilation[i]) : 1;
        x = tn_unfold(x, 1 + i, (size.dim[i] - 1) * d + 1, or_one(stride[i]));
        if (d > 1) x = tn_slice(x, -1, 0, INT64_MAX, d);
        x = moved(x, tn_rank(x) - 1, 1 + size.rank);
    }
    return x;
}

/* The transpose of that, n: the middle dims. */
static tn_node *folded(tn_node *x, tn_shape size, const int64_t *stride, const int64_t *dilation,
                       const int64_t *n)
{
    for (int i = 0; i < size.rank; i++) {
        const int64_t d = or_one(dilation[i]), width = (size.dim[i] - 1) * d + 1;
        x = moved(x, 1 + size.rank, tn_rank(x) - 1);
        if (d > 1) { /* zeros between */
            x = tn_flatten(tn_pad(tn_unsqueeze(x, -1), -1, 0, d - 1, 0), -2, -1);
            x = tn_slice(x, -1, 0, width, 1);
        }
        x = tn_fold(x, 1 + i, or_one(stride[i]), n[i]);
    }
    return x;
}

/* ---- the layer ------------------------------------------------------------------------------- */

static tn_conv no_conv(tn_params *p, const char *name, const char *why)
{
    if (p) tn_fail(tn_params_ctx(p), TN_ERR_ARG, "%s: %s", name ? name : "a convolution", why);
    return (tn_conv){ 0 };
}

static tn_conv conv_new(tn_params *p, const char *name, tn_shape kernel, int64_t in, int64_t out,
                        const tn_conv_options *options, bool is_transposed)
{
    tn_conv_options o = options ? *options : (tn_conv_options){ 0 };
    const int64_t   groups = or_one(o.groups);
    if (kernel.rank < 1 || kernel.rank > TN_CONV_DIMS)
        return no_conv(p, name, "a kernel has 1 to 3 dims");
    if (groups < 1 || in % groups || out % groups)
        return no_conv(p, name, "groups do not divide the channels");
    for (int i = 0; i < kernel.rank; i++) {
        const int64_t stride = or_one(o.stride[i]), dilation = or_one(o.dilation[i]);
        if (kernel.dim[i] < 1 || stride < 1 || dilation < 1 || o.padding[i] < 0)
            return no_conv(p, name, "a kernel and a stride are at least 1, the rest at least 0");
        if (kernel.dim[i] > INT32_MAX / dilation || stride > INT32_MAX || o.padding[i] > INT32_MAX)
            return no_conv(p, name, "a window, a stride or a padding over 2^31 - 1");
        if (o.extra[i] < 0 || o.extra[i] >= stride || (o.extra[i] && !is_transposed))
            return no_conv(p, name, "extra is for transposed ones, and less than the stride");
    }
    const int64_t seen = (is_transposed ? out : in) / groups; /* PyTorch's fan in, either way */
    const tn_init usual = tn_init_linear(tn_shape_size(&kernel) * seen);
    tn_conv       l = { .name = tn__open_layer(p, name), .is_transposed = is_transposed };
    if (!l.name) return l;
    l.options = o;
    tn_shape shape = kernel;
    shape.dim[shape.rank++] = seen;
    shape.dim[shape.rank++] = is_transposed ? in : out;
    l.w = tn_param(p, "w", shape, o.w ? o.w : &usual);
    if (!o.no_bias && !(l.b = tn_param(p, "b", TN_SHAPE(out), o.b ? o.b : &usual))) l.w = NULL;
    tn_params_pop(p);
    return l;
}

tn_conv tn_conv_new(tn_params *p, const char *name, tn_shape kernel, int64_t in, int64_t out,
                    const tn_conv_options *options)
{
    return conv_new(p, name, kernel, in, out, options, false);
}

tn_conv tn_conv_transposed_new(tn_params *p, const char *name, tn_shape kernel, int64_t in,
                               int64_t out, const tn_conv_options *options)
{
    return conv_new(p, name, kernel, in, out, options, true);
}

/* w [kernel.., in, out] */
static tn_node *convolved(tn_node *x, tn_node *w, tn_shape kernel, const tn_conv_options *o)
{
    const int dims = kernel.rank;
    x = windows(padded(x, dims, o->padding, 0), kernel, o->stride, o->dilation);
    return tn_matmul(tn_flatten(x, -dims - 1, -1), tn_flatten(w, 0, dims));
}

/* w [kernel.., 1, out]: each channel with kernels of its own. */
static tn_node *convolved_apart(tn_node *x, tn_node *w, tn_shape kernel, const tn_conv_options *o)
{
    const int     dims = kernel.rank, axes[] = { -2, -3, -4 };
    const int64_t each = tn_dim(w, -1) / tn_dim(x, -1);
    if (each > 1) {
        tn_shape shape = tn_node_shape(x);
        shape.dim[shape.rank++] = each;
        x = tn_flatten(tn_expand(tn_unsqueeze(x, -1), shape), -2, -1);
    }
    x = windows(padded(x, dims, o->padding, 0), kernel, o->stride, o->dilation);
    return tn_sum(tn_mul(x, tn_squeeze(w, -2)), axes, dims, false);
}

/* w [kernel.., out, in] */
static tn_node *spread(tn_node *x, tn_node *w, tn_shape kernel, const tn_conv_options *o)
{
    const int     dims = kernel.rank;
    const int64_t out = tn_dim(w, -2);
    int64_t       n[TN_CONV_DIMS];
    tn_shape      shape = tn_node_shape(x);
    for (int i = 0; i < dims; i++) {
        const int64_t steps = (shape.dim[1 + i] - 1) * or_one(o->stride[i]);
        n[i] = steps + (kernel.dim[i] - 1) * or_one(o->dilation[i]) + 1;
        shape.dim[1 + dims + i] = kernel.dim[i];
    }
    shape.dim[1 + 2 * dims] = out, shape.rank = 2 + 2 * dims;
    x = tn_matmul(x, tn_transpose(tn_flatten(w, 0, dims), 0, 1));
    x = folded(tn_reshape(x, shape), kernel, o->stride, o->dilation, n);
    for (int i = 0; i < dims; i++) {
        if (o->extra[i]) x = tn_pad(x, 1 + i, 0, o->extra[i], 0);
        if (o->padding[i]) x = tn_slice(x, 1 + i, o->padding[i], -o->padding[i], 1);
    }
    return x;
}

static tn_node *in_groups(const tn_conv *l, tn_node *x, tn_node *w, tn_shape kernel, int64_t groups)
{
    tn_node *(*one)(tn_node *, tn_node *, tn_shape, const tn_conv_options *) =
        l->is_transposed ? spread : convolved;
    if (groups == 1) return one(x, w, kernel, &l->options);
    if (groups == tn_dim(x, -1) && !l->is_transposed)
        return convolved_apart(x, w, kernel, &l->options);
    tn_ctx   *ctx = tn_node_ctx(x);
    tn_node **part = tn_alloc(ctx, 2 * (size_t)groups * sizeof *part), *y = NULL;
    if (!part) return NULL;
    tn_node **of_w = part + groups;
    if (tn_chunk(x, -1, (int)groups, part) == TN_OK &&
        tn_chunk(w, -1, (int)groups, of_w) == TN_OK) {
        for (int64_t i = 0; i < groups; i++) part[i] = one(part[i], of_w[i], kernel, &l->options);
        y = tn_concat(part, (int)groups, -1);
    }
    tn_free(ctx, part);
    return y;
}

static bool fits(const tn_conv *l, const tn_node *x)
{
    const tn_shape w = tn_node_shape(l->w), shape = tn_node_shape(x);
    const int      dims = w.rank - 2;
    const int64_t  in = l->is_transposed ? tn_dim(l->w, -1)
                                         : tn_dim(l->w, -2) * or_one(l->options.groups);
    bool fits = dims >= 1 && dims <= TN_CONV_DIMS && shape.rank == w.rank && tn_dim(x, -1) == in;
    for (int i = 1; fits && i <= dims; i++) fits = shape.dim[i] <= INT32_MAX;
    if (fits) return true;
    char a[64], b[64];
    tn_fail(tn_node_ctx(x), TN_ERR_SHAPE,
            "conv %s: x %s is not a batch of %d dims and %lld channels, as w %s needs it",
            l->name ? l->name : "?", tn_shape_text(&shape, a, sizeof a), dims, (long long)in,
            tn_shape_text(&w, b, sizeof b));
    return false;
}

tn_node *tn_conv_apply(const tn_conv *l, tn_node *x)
{
    if (!l) return tn__no_layer(x, "tn_conv_apply");
    if (!x || !l->w || !tn__is_in_graph(x, l->name)) return NULL;
    tn_graph *g = tn_node_graph(x);
    tn_scope_push(g, "%s", l->name ? l->name : "conv");
    tn_node *y = NULL;
    if (fits(l, x)) {
        tn_shape kernel = tn_node_shape(l->w);
        kernel.rank -= 2;
        y = in_groups(l, x, tn_read(g, l->w), kernel, or_one(l->options.groups));
        if (l->b) y = tn_add(y, l->b);
    }
    tn_scope_pop(g);
    return y;
}

/* ---- pooling --------------------------------------------------------------------------------- */

static tn_node *pooled(tn_node *x, tn_shape size, const tn_pool_options *options, bool is_max)
{
    if (!x) return NULL;
    tn_pool_options o = options ? *options : (tn_pool_options){ 0 };
    const int       axes[] = { -2, -3, -4 };
    bool            fits = size.rank >= 1 && size.rank <= TN_CONV_DIMS;
    fits = fits && tn_rank(x) == size.rank + 2;
    for (int i = 0; fits && i < size.rank; i++) {
        if (!o.stride[i]) o.stride[i] = size.dim[i];
        fits = size.dim[i] >= 1 && o.padding[i] >= 0 && o.padding[i] <= size.dim[i] / 2;
    }
    if (!fits) {
        tn_fail(tn_node_ctx(x), TN_ERR_SHAPE,
                "pool: x [b, n.., c] and a window of its n.. are needed, padded by half at most");
        return NULL;
    }
    x = windows(padded(x, size.rank, o.padding, is_max ? -INFINITY : 0), size, o.stride, NULL);
    return is_max ? tn_max(x, axes, size.rank, false) : tn_mean(x, axes, size.rank, false);
}

tn_node *tn_max_pool(tn_node *x, tn_shape size, const tn_pool_options *options)
{
    return pooled(x, size, options, true);
}

tn_node *tn_mean_pool(tn_node *x, tn_shape size, const tn_pool_options *options)
{
    return pooled(x, size, options, false);
}
