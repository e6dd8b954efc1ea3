/* Inference that many ops share, and the op table made from op_list.h. */
#include "autograd/internal.h"

#include <string.h>

static tn_status broadcast_all(tn_infer *c, tn_dtype out)
{
    tn_shape s = c->in[0].shape;
    for (int i = 1; i < c->n_in; i++) {
        if (c->in[i].dtype != c->in[0].dtype)
            return tn_infer_fail(c, TN_ERR_DTYPE,
                                 "dtypes %s and %s differ: tn_cast brings them together",
                                 tn_dtype_name(c->in[0].dtype), tn_dtype_name(c->in[i].dtype));
        if (!tn_shape_broadcast(&s, &c->in[i].shape, &s))
            return tn_infer_fail(c, TN_ERR_SHAPE, "shapes do not broadcast");
    }
    for (int i = 0; i < c->n_out; i++) c->out[i] = (tn_type){ out, s };
    return TN_OK;
}

tn_status tn_infer_same(tn_infer *c) { return broadcast_all(c, c->in[0].dtype); }
tn_status tn_infer_test(tn_infer *c) { return broadcast_all(c, TN_BOOL); }

tn_status tn_infer_float(tn_infer *c, int i)
{
    if (tn_dtype_is_float(c->in[i].dtype)) return TN_OK;
    return tn_infer_fail(c, TN_ERR_DTYPE, "input %d is %s, not f32 or f64", i,
                         tn_dtype_name(c->in[i].dtype));
}

tn_status tn_infer_index(tn_infer *c, int i)
{
    if (tn_dtype_is_index(c->in[i].dtype)) return TN_OK;
    return tn_infer_fail(c, TN_ERR_DTYPE, "input %d is %s, not i32 or i64", i,
                         tn_dtype_name(c->in[i].dtype));
}

tn_status tn_infer_rank(tn_infer *c, int i, int least)
{
    if (c->in[i].shape.rank >= least) return TN_OK;
    return tn_infer_fail(c, TN_ERR_SHAPE, "input %d has rank %d, at least %d is needed", i,
                         c->in[i].shape.rank, least);
}

tn_status tn_infer_axis(tn_infer *c, int64_t axis, int rank, int *out)
{
    if (axis >= -rank && axis < rank) {
        *out = (int)(axis < 0 ? axis + rank : axis);
        return TN_OK;
    }
    return tn_infer_fail(c, TN_ERR_ARG, "axis %lld is not in [%d, %d)", (long long)axis, -rank,
                         rank);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static size_t attr_size(tn_attr_kind kind)
{
    switch (kind) {
    case TN_ATTR_i64: return sizeof(int64_t);
    case TN_ATTR_f64: return sizeof(double);
    case TN_ATTR_flag: return sizeof(bool);
    case TN_ATTR_dtype: return sizeof(tn_dtype);
    case TN_ATTR_stream: return sizeof(uint64_t);
    case TN_ATTR_ptr: return sizeof(void *);
    default: return 0;
    }
}

bool tn__attrs_equal(const tn_op *op, const void *a, const void *b)
{
    if (!op->attrs) return op->attrs_size == 0 || memcmp(a, b, op->attrs_size) == 0;
    for (const tn_attr_field *f = op->attrs; f && f->kind != TN_ATTR_END; f++) {
        const char *p = (const char *)a + f->offset, *q = (const char *)b + f->offset;
        bool        same = f->kind == TN_ATTR_shape
                               ? tn_shape_equal((const tn_shape *)(const void *)p,
                                                (const tn_shape *)(const void *)q)
                               : memcmp(p, q, attr_size(f->kind)) == 0;
        if (!same) return false;
    }
    return true;
}

static uint64_t hash_bytes(const char *p, size_t n, uint64_t h)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, n - i < 8 ? n - i : 8);
        h = tn__mix(h, word);
    }
    return h;
}

uint64_t tn__attrs_hash(const tn_op *op, const void *attrs, uint64_t h)
{
    for (const tn_attr_field *f = op->attrs; f && f->kind != TN_ATTR_END; f++) {
        const char *p = (const char *)attrs + f->offset;
        if (f->kind == TN_ATTR_shape) {
            const tn_shape *s = (const tn_shape *)(const void *)p;
            h = hash_bytes((const char *)s->dim, (size_t)s->rank * sizeof s->dim[0],
                           tn__mix(h, (uint64_t)s->rank));
        } else {
            h = hash_bytes(p, attr_size(f->kind), h);
        }
    }
    return h;
}

void tn__attrs_print(const tn_op *op, const void *attrs, FILE *out)
{
    char text[128];
    for (const tn_attr_field *f = op->attrs; f && f->kind != TN_ATTR_END; f++) {
        const char *p = (const char *)attrs + f->offset;
        fprintf(out, "%s%s=", f == op->attrs ? "" : ", ", f->name);
        switch (f->kind) {
        case TN_ATTR_i64: fprintf(out, "%lld", (long long)*(const int64_t *)(const void *)p); break;
        case TN_ATTR_f64: fprintf(out, "%g", *(const double *)(const void *)p); break;
        case TN_ATTR_flag: fprintf(out, "%s", *(const bool *)(const void *)p ? "true" : "false");
            break;
        case TN_ATTR_dtype: fputs(tn_dtype_name(*(const tn_dtype *)(const void *)p), out); break;
        case TN_ATTR_shape:
            fputs(tn_shape_text((const tn_shape *)(const void *)p, text, sizeof text), out);
            break;
        case TN_ATTR_stream:
            fprintf(out, "%016llx", (unsigned long long)*(const uint64_t *)(const void *)p);
            break;
        default: fputs("*", out); break;
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static const tn_op *const table[] = {
#define TN_X(op) &tn_op_##op,
#include "autograd/op_list.h"
#undef TN_X
};

int tn_op_count(void) { return (int)(sizeof table / sizeof table[0]); }

const tn_op *tn_op_at(int i) { return i >= 0 && i < tn_op_count() ? table[i] : NULL; }

const tn_op *tn_op_find(const char *name)
{
    for (int i = 0; name && i < tn_op_count(); i++)
        if (strcmp(table[i]->name, name) == 0) return table[i];
    return NULL;
}
