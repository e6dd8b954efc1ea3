/* What ops with an index as input share. */
#include "autograd/ops/index_inputs.h"

#include "tensor/copy.h"

#include <stdatomic.h>

enum { CHUNK = 4096 };

static size_t round_up(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

size_t tn__index_bytes(const tn_tensor *t)
{
    return round_up((size_t)tn_shape_size(&t->shape) * sizeof(int64_t));
}

static bool is_ready(const tn_tensor *t)
{
    return t->dtype == TN_I64 && tn_tensor_is_contiguous(t);
}

static size_t plain_bytes(const tn_tensor *t)
{
    return tn_tensor_is_contiguous(t)
        ? 0 : round_up((size_t)tn_shape_size(&t->shape) * tn_dtype_size(t->dtype));
}

const void *tn__plain(tn_exec *e, int k, char **scratch)
{
    if (tn_tensor_is_contiguous(&e->in[k])) return e->in[k].data;
    tn_tensor copy = tn_tensor_of(*scratch, e->in[k].dtype, e->in[k].shape);
    tn__copy(e->ctx, &copy, &e->in[k]);
    *scratch += plain_bytes(&e->in[k]);
    return copy.data;
}

typedef struct index_load {
    const tn_tensor *t;
    int64_t         *out;
    int64_t          n, limit;
    _Atomic int64_t  bad; /* the first position that is out of range */
} index_load;

static void load_task(void *arg, int64_t task, int worker)
{
    index_load *p = arg;
    int64_t     first = task * CHUNK, rest = p->n - first, n = rest < CHUNK ? rest : CHUNK;
    int64_t     bad = INT64_MAX;
    uint64_t    signs = 0;
    int64_t    *out = p->out + first;
    int32_t     small[CHUNK];
    (void)worker;
    if (p->t->dtype == TN_I64) {
        if (p->out != p->t->data) tn__copy_part(p->t, first, n, out);
    } else {
        tn__copy_part(p->t, first, n, small);
        for (int64_t i = 0; i < n; i++) out[i] = small[i];
    }
    for (int64_t i = 0; i < n; i++)
        signs |= (uint64_t)out[i] | ((uint64_t)p->limit - 1 - (uint64_t)out[i]);
    for (int64_t i = n - 1; signs >> 63 && i >= 0; i--)
        if (out[i] < 0 || out[i] >= p->limit) bad = first + i;
    int64_t seen = atomic_load(&p->bad);
    while (bad < seen && !atomic_compare_exchange_weak(&p->bad, &seen, bad)) {
    }
}

tn_status tn__indices(tn_exec *e, int k, int64_t limit, char **scratch, const int64_t **out)
{
    index_load p = { .t = &e->in[k], .out = (int64_t *)(void *)*scratch,
                     .n = tn_shape_size(&e->in[k].shape), .limit = limit, .bad = INT64_MAX };
    if (is_ready(p.t)) p.out = p.t->data;
    else *scratch += tn__index_bytes(p.t);
    tn_parallel_for(e->ctx, (p.n + CHUNK - 1) / CHUNK, load_task, &p);
    *out = p.out;
    int64_t bad = atomic_load(&p.bad);
    if (bad == INT64_MAX) return TN_OK;
    return tn_fail(e->ctx, TN_ERR_INDEX, "%s: index %lld at position %lld is outside [0, %lld)",
                   e->op->name, (long long)p.out[bad], (long long)bad, (long long)limit);
}

size_t tn__take_scratch(const tn_exec *e)
{
    return tn__index_bytes(&e->in[1]) + plain_bytes(&e->in[0]);
}

static double type_bytes(const tn_type *t)
{
    return (double)tn_shape_size(&t->shape) * (double)tn_dtype_size(t->dtype);
}

/* Rows that are moved: what comes out goes in. */
void tn__take_cost(const tn_infer *c, tn_cost *cost)
{
    *cost = (tn_cost){ .bytes = 2 * type_bytes(&c->out[0]) + type_bytes(&c->in[1]) };
}

/* Rows of in[2] that are added into in[0]. */
void tn__index_add_cost(const tn_infer *c, tn_cost *cost)
{
    cost->flops = (double)tn_shape_size(&c->in[2].shape);
    cost->bytes = type_bytes(&c->out[0]) + type_bytes(&c->in[1]) + 3 * type_bytes(&c->in[2]);
}

tn_status tn__infer_addends(tn_infer *c)
{
    if (!tn_dtype_is_float(c->in[0].dtype) && !tn_dtype_is_index(c->in[0].dtype))
        return tn_infer_fail(c, TN_ERR_DTYPE, "not of f32, f64, i32 or i64");
    if (c->in[0].dtype == c->in[2].dtype) return TN_OK;
    return tn_infer_fail(c, TN_ERR_DTYPE, "inputs 0 and 2 differ in dtype");
}

size_t tn__index_add_scratch(const tn_exec *e)
{
    return tn__index_bytes(&e->in[1]) + plain_bytes(&e->in[2]);
}
