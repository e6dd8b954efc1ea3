/* Plain values: status and dtype texts, shapes, axes, views. */
#include "tensor/internal.h"

#include <stdio.h>
#include <string.h>

const char *tn_status_text(tn_status status)
{
    static const char *const text[] = {
#define TN_X(name, t) [TN_##name] = t,
        TN_STATUS_LIST(TN_X)
#undef TN_X
    };
    unsigned i = (unsigned)status;
    return i < sizeof text / sizeof text[0] ? text[i] : "unknown status";
}

size_t tn_dtype_size(tn_dtype d)
{
    static const uint8_t size[] = {
#define TN_X(name, bytes, text) [TN_##name] = bytes,
        TN_DTYPE_LIST(TN_X)
#undef TN_X
    };
    return (unsigned)d < TN_N_DTYPES ? size[d] : 0;
}

const char *tn_dtype_name(tn_dtype d)
{
    static const char *const name[] = {
#define TN_X(name, bytes, text) [TN_##name] = text,
        TN_DTYPE_LIST(TN_X)
#undef TN_X
    };
    return (unsigned)d < TN_N_DTYPES ? name[d] : "?";
}

tn_shape tn_shape_of(int rank, const int64_t *dims)
{
    tn_shape s = { 0 };
    if (rank < 0 || rank > TN_MAX_RANK || (rank > 0 && !dims)) {
        s.rank = -1;
        return s;
    }
    s.rank = rank;
    for (int i = 0; i < rank; i++) s.dim[i] = dims[i];
    return s;
}

/* A struct that someone filled in may have any rank. */
static int rank_of(const tn_shape *s)
{
    return s && s->rank >= 0 && s->rank <= TN_MAX_RANK ? s->rank : -1;
}

int64_t tn_shape_size(const tn_shape *s)
{
    int64_t size = 1;
    bool    overflow = false;
    if (rank_of(s) < 0) return 0;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] == 0) return 0;
        overflow |= __builtin_mul_overflow(size, s->dim[i], &size);
    }
    return overflow ? INT64_MAX : size;
}

bool tn_shape_equal(const tn_shape *a, const tn_shape *b)
{
    if (!a || !b || a->rank != b->rank) return false;
    if (rank_of(a) < 0) return true; /* both are none */
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

bool tn_shape_broadcast(const tn_shape *a, const tn_shape *b, tn_shape *out)
{
    if (rank_of(a) < 0 || rank_of(b) < 0 || !out) return false;
    tn_shape s = { .rank = a->rank > b->rank ? a->rank : b->rank };
    for (int i = 0; i < s.rank; i++) {
        int     ia = i - (s.rank - a->rank), ib = i - (s.rank - b->rank);
        int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) return false;
        s.dim[i] = da == 1 ? db : da;
    }
    *out = s; /* last, so that out may be a or b */
    return true;
}

const char *tn_shape_text(const tn_shape *s, char *buf, size_t size)
{
    if (!buf || size == 0) return "";
    size_t used = (size_t)snprintf(buf, size, rank_of(s) < 0 ? "[?" : "[");
    for (int i = 0; i < rank_of(s) && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, i ? ",%lld" : "%lld",
                                 (long long)s->dim[i]);
    if (used < size) snprintf(buf + used, size - used, "]");
    return buf;
}

int tn_axis(int axis, int rank)
{
    if (axis < 0) axis += rank;
    return axis >= 0 && axis < rank ? axis : -1;
}

void tn_shape_strides(const tn_shape *s, int64_t stride[TN_MAX_RANK])
{
    uint64_t step = 1; /* unsigned: an absurd shape wraps, and is refused where it is allocated */
    memset(stride, 0, TN_MAX_RANK * sizeof *stride);
    for (int i = rank_of(s) - 1; i >= 0; i--) {
        stride[i] = (int64_t)step;
        step *= (uint64_t)s->dim[i];
    }
}

tn_tensor tn_tensor_of(void *data, tn_dtype dtype, tn_shape shape)
{
    tn_tensor t = { .dtype = dtype, .shape = shape, .data = data };
    tn_shape_strides(&shape, t.stride);
    return t;
}

bool tn_tensor_is_contiguous(const tn_tensor *t)
{
    int64_t want[TN_MAX_RANK];
    if (tn_shape_size(&t->shape) == 0) return true;
    tn_shape_strides(&t->shape, want);
    for (int i = 0; i < t->shape.rank; i++)
        if (t->shape.dim[i] != 1 && t->stride[i] != want[i]) return false;
    return true;
}

bool tn__matches(const char *pattern, size_t n_pattern, const char *name, size_t n_name)
{
    const char *p = pattern, *p_end = p + n_pattern, *end = name + n_name;
    const char *star = NULL, *resume = NULL; /* the last * and where its text may end next */
    while (name < end) {
        if (p < p_end && *p == '*') star = p++, resume = name;
        else if (p < p_end && *p == *name) p++, name++;
        else if (star) p = star + 1, name = ++resume;
        else return false;
    }
    while (p < p_end && *p == '*') p++;
    return p == p_end;
}
