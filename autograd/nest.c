/* Concatenations that are never made: an op that can write rows apart from each other
 * (TN_STRIDED_OUT) puts its result where the concatenation would copy it. All parts of one must
 * come from such ops and have no other reader; then its buffer takes theirs in, and the item
 * goes. */
#include "autograd/program.h"

#include <string.h>

typedef struct part {
    int     buffer;
    /* elements: of a row of the part, of the whole, and where it begins */
    int64_t width, total, first;
} part;

/* Uses of each buffer: items and commits that read it, and the op of the one item that writes
 * it. */
typedef struct use {
    int          n_readers, n_writers;
    const tn_op *writer;
} use;

static void count_uses(const tn__lowered *l, use *uses)
{
    const tn_program *p = l->p;
    for (int64_t i = 0; i < l->n; i++) {
        const tn__item *it = &l->items[i];
        for (int k = 0; k < it->n_in; k++) uses[p->values[it->in[k]].buffer].n_readers++;
        for (int k = 0; k < it->n_out; k++) {
            use *u = &uses[p->values[it->out[k]].buffer];
            u->n_writers++, u->writer = it->op;
        }
    }
    for (int64_t i = 0; i < p->n_commits; i++)
        uses[p->values[p->commits[i].value].buffer].n_readers++;
}

/* The layout of a value in the part's buffer, in the buffer of the whole; false if its rows go
 * across the part's. */
static bool move_layout(const part *x, tn_layout *l)
{
    int64_t reach = l->offset % x->width;
    for (int d = 0; d < l->shape.rank; d++) {
        if (l->shape.dim[d] == 1) continue;
        if (l->stride[d] < 0) return false;
        if (d == l->shape.rank - 1 && x->width == 1) return false; /* elements apart: no rows */
        if (l->stride[d] % x->width == 0)
            l->stride[d] = l->stride[d] / x->width * x->total;
        else
            reach += (l->shape.dim[d] - 1) * l->stride[d];
    }
    l->offset = l->offset / x->width * x->total + l->offset % x->width + x->first;
    return reach < x->width;
}

static bool part_of(const tn__lowered *l, const use *uses, const tn__item *it, int k, int64_t inner,
                    part *x)
{
    const tn_program *p = l->p;
    const tn__value  *v = &p->values[it->in[k]];
    const tn__buffer *b = &p->buffers[v->buffer];
    const use        *u = &uses[v->buffer];
    const size_t bytes = (size_t)tn_shape_size(&v->type.shape) * tn_dtype_size(v->type.dtype);
    *x = (part){ .buffer = v->buffer, .width = inner };
    if (b->kind != TN__ARENA || b->bytes != bytes || bytes == 0) return false;
    if (v->layout.offset != 0 || !tn__layout_is_contiguous(&v->layout)) return false;
    return u->n_readers == 1 && u->n_writers == 1 && (u->writer->flags & TN_STRIDED_OUT);
}

/* Finds the parts of a concatenation; false if one of them has to be copied. */
static bool parts_of(const tn__lowered *l, const use *uses, const tn__item *it, part *parts)
{
    const tn_program *p = l->p;
    const tn_shape   *out = &p->values[it->out[0]].type.shape;
    const int axis = tn_axis((int)((const concat_attrs *)it->attrs)->axis, out->rank);
    int64_t   inner = 1, first = 0;
    for (int d = axis + 1; d < out->rank; d++) inner *= out->dim[d];
    for (int k = 0; k < it->n_in; k++) {
        const int64_t width = p->values[it->in[k]].type.shape.dim[axis] * inner;
        if (!part_of(l, uses, it, k, width, &parts[k])) return false;
        parts[k].total = out->dim[axis] * inner, parts[k].first = first;
        first += width;
        for (int64_t v = 0; v < p->n_values; v++) {
            tn_layout moved = p->values[v].layout;
            if (p->values[v].buffer == parts[k].buffer && !move_layout(&parts[k], &moved))
                return false;
        }
    }
    return true;
}

static void take_in(tn_program *p, const part *x, int whole)
{
    for (int64_t v = 0; v < p->n_values; v++) {
        if (p->values[v].buffer != x->buffer) continue;
        move_layout(x, &p->values[v].layout);
        p->values[v].buffer = whole;
    }
}

tn_status tn__nest(tn__lowered *l)
{
    tn_program *p = l->p;
    int64_t     kept = 0;
    int         most = 0;
    for (int64_t i = 0; i < l->n; i++)
        if (l->items[i].op == &tn_op_concat && l->items[i].n_in > most) most = l->items[i].n_in;
    if (most == 0 || l->no_fusion) return TN_OK;
    use  *uses = tn_alloc(p->ctx, (size_t)p->n_buffers * sizeof *uses);
    part *parts = tn_alloc(p->ctx, (size_t)most * sizeof *parts);
    if (uses && parts) {
        memset(uses, 0, (size_t)p->n_buffers * sizeof *uses);
        count_uses(l, uses);
    }
    for (int64_t i = 0; uses && parts && i < l->n; i++) {
        const tn__item *it = &l->items[i];
        const bool      goes = it->op == &tn_op_concat && parts_of(l, uses, it, parts);
        for (int k = 0; goes && k < it->n_in; k++)
            take_in(p, &parts[k], p->values[it->out[0]].buffer);
        if (!goes) l->items[kept++] = *it;
    }
    const bool failed = !uses || !parts;
    tn_free(p->ctx, uses), tn_free(p->ctx, parts);
    if (failed) return TN_ERR_MEMORY;
    l->n = kept;
    return TN_OK;
}
