/* Encoder and decoder layers, and stacks of them. */
#include "models/blocks.h"

#include "nn/internal.h"

#include <stdio.h>
#include <string.h>

/* A layer that could not be made has no name. */
static const char *scope_of(const char *name) { return name ? name : "layer"; }

tn_node *tn_block_before(const tn_norm_layer *norm, bool is_post_norm, tn_node *x)
{
    return is_post_norm ? x : tn_norm_apply(norm, x);
}

tn_node *tn_block_after(const tn_norm_layer *norm, bool is_post_norm, tn_node *x, tn_node *part,
                        double dropout)
{
    x = tn_add(x, tn_dropout(part, dropout));
    return is_post_norm ? tn_norm_apply(norm, x) : x;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static tn_norm_layer norm_new(tn_params *p, const char *name, const tn_block_options *o)
{
    tn_norm_layer norm = tn_layer_norm_new(p, name, o->d_model);
    if (o->norm_eps != 0) norm.eps = o->norm_eps;
    return norm;
}

static tn_attention_layer attention_new(tn_params *p, const char *name, const tn_block_options *o,
                                        bool is_cross)
{
    return tn_attention_new(p, name, o->d_model, o->n_heads,
                            &(tn_attention_layer_options){
                                .is_cross = is_cross, .dropout = o->attention_dropout, .w = o->w });
}

static tn_feed_forward feed_forward_new(tn_params *p, const tn_block_options *o)
{
    return tn_feed_forward_new(p, "ff", o->d_model, o->d_ff ? o->d_ff : 4 * o->d_model,
                               &(tn_feed_forward_options){
                                   .activation = o->activation, .dropout = o->dropout, .w = o->w });
}

/* ---- layers ---------------------------------------------------------------------------------- */

/* As tn__open_layer; the options must be there too. */
static const char *open_block(tn_params *p, const char *name, const tn_block_options *o)
{
    const int64_t most = (int64_t)1 << 40; /* so that 4 d_model is a number */
    if (!p) return NULL;
    if (o && o->d_model >= 0 && o->d_model <= most) return tn__open_layer(p, name);
    if (o)
        tn_fail(tn_params_ctx(p), TN_ERR_SHAPE, "%s: d_model is %lld", name ? name : "a block",
                (long long)o->d_model);
    else
        tn_fail(tn_params_ctx(p), TN_ERR_ARG, "%s: there are no options", name ? name : "a block");
    return NULL;
}

tn_encoder_layer tn_encoder_layer_new(tn_params *p, const char *name, const tn_block_options *o)
{
    tn_encoder_layer l = { .name = open_block(p, name, o) };
    if (!l.name) return l;
    l.dropout = o->dropout, l.is_post_norm = o->is_post_norm;
    l.norm1 = norm_new(p, "norm1", o);
    l.self = attention_new(p, "self", o, false);
    l.norm2 = norm_new(p, "norm2", o);
    l.ff = feed_forward_new(p, o);
    tn_params_pop(p);
    return l;
}

tn_node *tn_encoder_layer_apply(const tn_encoder_layer *l, tn_node *x,
                                const tn_attention_mask *mask)
{
    if (!l) return tn__no_layer(x, "tn_encoder_layer_apply");
    bool post = l->is_post_norm;
    TN_SCOPE(tn_node_graph(x), "%s", scope_of(l->name)) {
        tn_node *h = tn_block_before(&l->norm1, post, x);
        x = tn_block_after(&l->norm1, post, x, tn_attention_apply(&l->self, h, h, mask),
                           l->dropout);
        h = tn_block_before(&l->norm2, post, x);
        x = tn_block_after(&l->norm2, post, x, tn_feed_forward_apply(&l->ff, h), l->dropout);
    }
    return x;
}

tn_decoder_layer tn_decoder_layer_new(tn_params *p, const char *name, const tn_block_options *o)
{
    tn_decoder_layer l = { .name = open_block(p, name, o) };
    if (!l.name) return l;
    l.dropout = o->dropout, l.is_post_norm = o->is_post_norm;
    l.norm1 = norm_new(p, "norm1", o);
    l.self = attention_new(p, "self", o, false);
    l.norm2 = norm_new(p, "norm2", o);
    l.cross = attention_new(p, "cross", o, true);
    l.norm3 = norm_new(p, "norm3", o);
    l.ff = feed_forward_new(p, o);
    tn_params_pop(p);
    return l;
}

tn_node *tn_decoder_layer_apply(const tn_decoder_layer *l, tn_node *x, tn_node *memory,
                                const tn_attention_mask *mask, const tn_attention_mask *memory_mask)
{
    if (!l) return tn__no_layer(x, "tn_decoder_layer_apply");
    bool post = l->is_post_norm;
    TN_SCOPE(tn_node_graph(x), "%s", scope_of(l->name)) {
        tn_node *h = tn_block_before(&l->norm1, post, x);
        x = tn_block_after(&l->norm1, post, x, tn_attention_apply(&l->self, h, h, mask),
                           l->dropout);
        h = tn_block_before(&l->norm2, post, x);
        x = tn_block_after(&l->norm2, post, x,
                           tn_attention_apply(&l->cross, h, memory, memory_mask), l->dropout);
        h = tn_block_before(&l->norm3, post, x);
        x = tn_block_after(&l->norm3, post, x, tn_feed_forward_apply(&l->ff, h), l->dropout);
    }
    return x;
}

/* ---- stacks ---------------------------------------------------------------------------------- */

static const char *number(char text[16], int64_t i)
{
    snprintf(text, 16, "%d", (int)i);
    return text;
}

/* An array for n layers. False if there is none. */
static bool layers_new(tn_params *p, int64_t n, size_t size, void *layers)
{
    enum { MOST = 1 << 20 };
    if (n < 0 || n > MOST)
        return tn_fail(tn_params_ctx(p), TN_ERR_ARG, "a stack of %lld layers: there are 0 to %d",
                       (long long)n, MOST) == TN_OK;
    void *array = tn_alloc(tn_params_ctx(p), (size_t)n * size + 1);
    memcpy(layers, &array, sizeof array); /* *layers is some other type of pointer */
    return array != NULL;
}

tn_encoder tn_encoder_new(tn_params *p, const char *name, int64_t n_layers,
                          const tn_block_options *o)
{
    char       text[16];
    tn_encoder e = { .name = open_block(p, name, o) };
    if (!e.name) return e;
    if (layers_new(p, n_layers, sizeof *e.layers, &e.layers)) e.n_layers = n_layers;
    else e.name = NULL;
    for (int64_t i = 0; i < e.n_layers; i++)
        e.layers[i] = tn_encoder_layer_new(p, number(text, i), o);
    if (!o->is_post_norm) e.norm = norm_new(p, "norm", o);
    tn_params_pop(p);
    return e;
}

tn_decoder tn_decoder_new(tn_params *p, const char *name, int64_t n_layers,
                          const tn_block_options *o)
{
    char       text[16];
    tn_decoder d = { .name = open_block(p, name, o) };
    if (!d.name) return d;
    if (layers_new(p, n_layers, sizeof *d.layers, &d.layers)) d.n_layers = n_layers;
    else d.name = NULL;
    for (int64_t i = 0; i < d.n_layers; i++)
        d.layers[i] = tn_decoder_layer_new(p, number(text, i), o);
    if (!o->is_post_norm) d.norm = norm_new(p, "norm", o);
    tn_params_pop(p);
    return d;
}

void tn_encoder_clear(tn_ctx *ctx, tn_encoder *e)
{
    if (e) tn_free(ctx, e->layers), *e = (tn_encoder){ 0 };
}
void tn_decoder_clear(tn_ctx *ctx, tn_decoder *d)
{
    if (d) tn_free(ctx, d->layers), *d = (tn_decoder){ 0 };
}

tn_node *tn_encoder_apply(const tn_encoder *e, tn_node *x, const tn_attention_mask *mask)
{
    if (!e) return tn__no_layer(x, "tn_encoder_apply");
    if (!e->name) return NULL; /* it could not be made: x as it is would be wrong */
    TN_SCOPE(tn_node_graph(x), "%s", e->name) {
        for (int64_t i = 0; i < e->n_layers; i++)
            x = tn_encoder_layer_apply(&e->layers[i], x, mask);
        if (e->norm.gamma) x = tn_norm_apply(&e->norm, x);
    }
    return x;
}

tn_node *tn_decoder_apply(const tn_decoder *d, tn_node *x, tn_node *memory,
                          const tn_attention_mask *mask, const tn_attention_mask *memory_mask)
{
    if (!d) return tn__no_layer(x, "tn_decoder_apply");
    if (!d->name) return NULL;
    TN_SCOPE(tn_node_graph(x), "%s", d->name) {
        for (int64_t i = 0; i < d->n_layers; i++)
            x = tn_decoder_layer_apply(&d->layers[i], x, memory, mask, memory_mask);
        if (d->norm.gamma) x = tn_norm_apply(&d->norm, x);
    }
    return x;
}
