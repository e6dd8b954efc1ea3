/* Weights that are packed once for many runs. The matrices that products of a program read from
 * variables, as they lie or transposed, are packed in panels (tensor/gemm_panels.h) in memory that
 * programs share; tn_panels_update packs them again. The products become matmul_panels, of the same
 * bits.
 *
 * Memory comes in one block for all that a program brings, for the sake of large pages. */
#include "autograd/panels.h"

#include "autograd/program.h"
#include "tensor/gemm_panels.h"
#include "tensor/internal.h"

#include <pthread.h>

typedef struct packed {
    tn_node *variable;
    bool     is_transposed; /* the variable is [n, k] */
    int64_t  k, n;
    void    *data; /* [panels, k, width]; NULL: not yet */
} packed;

struct tn_panels {
    tn_ctx  *ctx;
    pthread_mutex_t lock; /* of all below: parts of the context may compile at once */
    packed  *items;
    int64_t  n, cap;
    void   **blocks;
    int64_t  n_blocks, cap_blocks;
    size_t   bytes;
};

tn_panels *tn_panels_new(tn_ctx *ctx)
{
    tn_panels *s = ctx ? tn_alloc(ctx, sizeof *s) : NULL;
    if (s) s->ctx = ctx, pthread_mutex_init(&s->lock, NULL);
    return s;
}

void tn_panels_free(tn_panels *s)
{
    if (!s) return;
    tn_ctx *ctx = s->ctx;
    pthread_mutex_destroy(&s->lock);
    for (int64_t i = 0; i < s->n_blocks; i++) tn_free(ctx, s->blocks[i]);
    tn_free(ctx, s->blocks), tn_free(ctx, s->items), tn_free(ctx, s);
}

size_t tn_panels_bytes(const tn_panels *s) { return s ? s->bytes : 0; }

tn_ctx *tn__panels_ctx(const tn_panels *s) { return s->ctx; }

static void pack(const tn_panels *s, const packed *x)
{
    const tn_gemm g = { .dtype = x->variable->type.dtype, .n = x->n, .k = x->k,
                        .b = tn_variable_data(x->variable), .b_row = x->is_transposed ? 1 : x->n,
                        .b_col = x->is_transposed ? x->k : 1 };
    tn__gemm_panels_make(s->ctx, x->data, &g);
}

tn_status tn_panels_update(tn_panels *s)
{
    if (!s) return TN_ERR_ARG;
    if (!tn__ctx_enter(s->ctx))
        return tn_fail(s->ctx, TN_ERR_BUSY, "tn_panels_update: the context is running a program");
    for (int64_t i = 0; i < s->n; i++) pack(s, &s->items[i]);
    tn__ctx_leave(s->ctx);
    return TN_OK;
}

/* ---- the pass of compile --------------------------------------------------------------------- */

static int64_t width_of(const tn_panels *s, const packed *x)
{
    return tn__gemm_panel_width(s->ctx, x->variable->type.dtype);
}

static int64_t count_of(const tn_panels *s, const packed *x)
{
    return (x->n + width_of(s, x) - 1) / width_of(s, x);
}

static size_t bytes_of(const tn_panels *s, const packed *x)
{
    const size_t size = tn_dtype_size(x->variable->type.dtype);
    const size_t bytes = (size_t)(count_of(s, x) * x->k * width_of(s, x)) * size;
    return (bytes + 63) / 64 * 64;
}

static bool is_written(const tn__lowered *l, int slot)
{
    const tn_program *p = l->p;
    for (int64_t i = 0; i < p->n_commits; i++)
        if (p->commits[i].slot == slot) return true;
    for (int64_t i = 0; i < l->n; i++)
        for (int k = 0; k < l->items[i].n_out; k++) {
            const tn__buffer *b = &p->buffers[p->values[l->items[i].out[k]].buffer];
            if (b->kind == TN__VARIABLE && b->slot == slot) return true;
        }
    return false;
}

/* Rows of A that lie evenly, so that leading dimensions are but more rows. */
static bool is_even(const tn_layout *a)
{
    int64_t next = 0;
    bool    any = false; /* rows so far; they may lie backwards */
    if (a->shape.rank < 1 || tn_shape_size(&a->shape) == 0) return false;
    for (int d = a->shape.rank - 2; d >= 0; d--) {
        if (a->shape.dim[d] == 1) continue;
        if (any && a->stride[d] != next) return false;
        next = a->stride[d] * a->shape.dim[d], any = true;
    }
    return true;
}

/* The matrix of a product that may be packed; false: none. */
static bool matrix_of(const tn__lowered *l, const tn__item *it, packed *x)
{
    const tn_program *p = l->p;
    if (it->op != &tn_op_matmul || !is_even(&p->values[it->in[0]].layout)) return false;
    const tn__value  *v = &p->values[it->in[1]];
    const tn__buffer *b = &p->buffers[v->buffer];
    const tn_shape   *s = &v->type.shape;
    if (b->kind != TN__VARIABLE || s->rank != 2 || v->layout.offset || is_written(l, b->slot))
        return false;
    *x = (packed){ .variable = p->slots[b->slot], .k = s->dim[0], .n = s->dim[1] };
    x->is_transposed = v->layout.stride[1] != 1;
    const int64_t *stride = v->layout.stride, k = x->k, n = x->n;
    if (k < 2 || n < 2 || tn_shape_size(&x->variable->type.shape) != k * n) return false;
    return x->is_transposed ? stride[0] == 1 && stride[1] == k : stride[0] == n;
}

static packed *find(tn_panels *s, const packed *x)
{
    for (int64_t i = 0; i < s->n; i++) {
        packed *y = &s->items[i];
        if (y->variable == x->variable && y->is_transposed == x->is_transposed && y->k == x->k)
            return y;
    }
    return NULL;
}

/* Memory for those that have none yet, which are the last of all, and packs them. */
static tn_status settle(tn_panels *s, int64_t first)
{
    size_t bytes = 0;
    for (int64_t i = first; i < s->n; i++) bytes += bytes_of(s, &s->items[i]);
    if (!bytes) return TN_OK;
    if (!tn__grow(s->ctx, &s->blocks, s->n_blocks, &s->cap_blocks, sizeof *s->blocks))
        return TN_ERR_MEMORY;
    char *at = s->blocks[s->n_blocks] = tn__alloc_touched(s->ctx, bytes);
    if (!at) return TN_ERR_MEMORY;
    s->n_blocks++, s->bytes += bytes;
    for (int64_t i = first; i < s->n; i++) {
        s->items[i].data = at, at += bytes_of(s, &s->items[i]);
        pack(s, &s->items[i]);
    }
    return TN_OK;
}

static tn_status use(tn__lowered *l, tn__item *it, const tn_panels *s, const packed *x)
{
    tn_program          *p = l->p;
    matmul_panels_attrs *attrs = tn__program_alloc(p, sizeof *attrs);
    const tn_type        type = { x->variable->type.dtype,
                                  TN_SHAPE(count_of(s, x), x->k, width_of(s, x)) };
    const tn_layout      layout = tn__layout_of(&type.shape);
    int b = tn__buffer_new(p, TN__PANELS, bytes_of(s, x)), v = tn__value_new(p, type, &layout, b);
    if (!attrs || v < 0) return TN_ERR_MEMORY;
    p->buffers[b].data = x->data;
    attrs->n = x->n;
    it->op = &tn_op_matmul_panels, it->attrs = attrs, it->in[1] = v;
    return TN_OK;
}

/* Packs what is new among the matrices of products. */
static tn_status gather(const tn__lowered *l, tn_panels *s)
{
    const int64_t first = s->n;
    packed        x;
    tn_status     status = TN_OK;
    for (int64_t i = 0; i < l->n; i++) {
        if (!matrix_of(l, &l->items[i], &x) || find(s, &x)) continue;
        if (!tn__grow(s->ctx, &s->items, s->n, &s->cap, sizeof *s->items)) status = TN_ERR_MEMORY;
        else s->items[s->n++] = x;
    }
    if (status == TN_OK) status = settle(s, first);
    if (status != TN_OK) s->n = first;
    return status;
}

tn_status tn__use_panels(tn__lowered *l, tn_panels *s)
{
    packed x;
    pthread_mutex_lock(&s->lock);
    tn_status status = gather(l, s);
    for (int64_t i = 0; status == TN_OK && i < l->n; i++)
        if (matrix_of(l, &l->items[i], &x)) status = use(l, &l->items[i], s, find(s, &x));
    pthread_mutex_unlock(&s->lock);
    return status;
}
