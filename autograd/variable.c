/* Variables: state that outlives a run. A variable is a leaf node with memory of its own. */
#include "autograd/internal.h"

#include "tensor/half.h"

#include <string.h>

/* alloc: of its contents. */
static tn_node *variable_new(tn_ctx *ctx, const char *name, tn_dtype dtype, tn_shape shape,
                             void *alloc(tn_ctx *ctx, size_t size))
{
    if (!ctx) return NULL;
    if (!name || !*name || tn_dtype_size(dtype) == 0 || shape.rank < 0 ||
        shape.rank > TN_MAX_RANK) {
        tn_fail(ctx, TN_ERR_ARG, "variable %s: bad name, dtype or rank", name ? name : "(null)");
        return NULL;
    }
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dim[i] >= 0 && shape.dim[i] < ((int64_t)1 << 40)) continue;
        tn_fail(ctx, TN_ERR_SHAPE, "variable %s: dimension %d is %lld", name, i,
                (long long)shape.dim[i]);
        return NULL;
    }
    if (tn_shape_size(&shape) > (int64_t)1 << 46) {
        char text[96];
        tn_fail(ctx, TN_ERR_SHAPE, "variable %s: %s is more than 2^46 elements", name,
                tn_shape_text(&shape, text, sizeof text));
        return NULL;
    }
    tn__variable *v = tn_alloc(ctx, sizeof *v);
    if (!v) return NULL;
    v->ctx = ctx;
    v->leaf.type = (tn_type){ dtype, shape };
    v->bytes = (size_t)tn_shape_size(&shape) * tn_dtype_size(dtype);
    v->name = tn_alloc(ctx, strlen(name) + 1);
    v->data = alloc(ctx, v->bytes ? v->bytes : 1);
    if (!v->name || !v->data) {
        tn_variable_free(&v->leaf);
        return NULL;
    }
    strcpy(v->name, name);
    return &v->leaf;
}

tn_node *tn_variable_new(tn_ctx *ctx, const char *name, tn_dtype dtype, tn_shape shape)
{
    return variable_new(ctx, name, dtype, shape, tn__alloc_touched);
}

tn_node *tn__variable_new_sparse(tn_ctx *ctx, const char *name, tn_dtype dtype, tn_shape shape)
{
    return variable_new(ctx, name, dtype, shape, tn__alloc_sparse);
}

static tn__variable *variable_of(const tn_node *x)
{
    return tn_is_variable(x) ? (tn__variable *)(uintptr_t)x : NULL;
}

void tn_variable_free(tn_node *variable)
{
    tn__variable *v = variable_of(variable);
    if (!v) return;
    tn_ctx *ctx = v->ctx;
    tn_free(ctx, v->name), tn_free(ctx, v->data), tn_free(ctx, v);
}

bool tn_is_variable(const tn_node *x) { return x && !x->graph; }

const char *tn_variable_name(const tn_node *x)
{
    return variable_of(x) ? variable_of(x)->name : "";
}

void *tn_variable_data(const tn_node *x)
{
    return variable_of(x) ? variable_of(x)->data : NULL;
}

size_t tn_variable_bytes(const tn_node *x)
{
    return variable_of(x) ? variable_of(x)->bytes : 0;
}

static tn_status no_variable(const tn_node *x)
{
    return tn_fail(tn_node_ctx(x), TN_ERR_ARG, "what is to be set is not a variable");
}

tn_status tn_variable_set(tn_node *variable, const void *data, size_t bytes)
{
    tn__variable *v = variable_of(variable);
    if (!v) return no_variable(variable);
    if (!data && bytes) return tn_fail(v->ctx, TN_ERR_ARG, "variable %s: no data", v->name);
    if (bytes != v->bytes)
        return tn_fail(v->ctx, TN_ERR_ARG, "variable %s: %zu bytes given, it has %zu", v->name,
                       bytes, v->bytes);
    if (bytes) memcpy(v->data, data, bytes);
    return TN_OK;
}

tn_status tn_variable_fill(tn_node *variable, double value)
{
    tn__variable *v = variable_of(variable);
    if (!v) return no_variable(variable);
    if (!tn__holds(v->leaf.type.dtype, value))
        return tn_fail(v->ctx, TN_ERR_ARG, "variable %s: %s cannot hold %g", v->name,
                       tn_dtype_name(v->leaf.type.dtype), value);
    int64_t n = tn_shape_size(&v->leaf.type.shape);
    for (int64_t i = 0; i < n; i++) tn__store(v->leaf.type.dtype, v->data, i, value);
    return TN_OK;
}

bool tn__holds(tn_dtype dtype, double value)
{
    switch (dtype) {
    case TN_I32: return value >= INT32_MIN && value <= INT32_MAX && value == (double)(int32_t)value;
    case TN_I64: return value >= -0x1p53 && value <= 0x1p53 && value == (double)(int64_t)value;
    case TN_U8: return value >= 0 && value <= UINT8_MAX && value == (double)(uint8_t)value;
    case TN_BOOL: return value == 0 || value == 1;
    default: return true;
    }
}

tn_status tn__cannot_hold(tn_infer *c, tn_dtype dtype, double value)
{
    return tn_infer_fail(c, TN_ERR_ARG, "%s cannot hold %g", tn_dtype_name(dtype), value);
}

void tn__store(tn_dtype dtype, void *data, int64_t i, double value)
{
    switch (dtype) {
    case TN_F32: ((float *)data)[i] = (float)value; break;
    case TN_F64: ((double *)data)[i] = value; break;
    case TN_I32: ((int32_t *)data)[i] = (int32_t)value; break;
    case TN_I64: ((int64_t *)data)[i] = (int64_t)value; break;
    case TN_U8: ((uint8_t *)data)[i] = (uint8_t)value; break;
    case TN_BOOL: ((uint8_t *)data)[i] = value != 0; break;
    case TN_F16: ((uint16_t *)data)[i] = tn_f16_from_f32((float)value); break;
    case TN_BF16: ((uint16_t *)data)[i] = tn_bf16_from_f32((float)value); break;
    default: break;
    }
}

double tn__load(tn_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case TN_F32: return (double)((const float *)data)[i];
    case TN_F64: return ((const double *)data)[i];
    case TN_I32: return ((const int32_t *)data)[i];
    case TN_I64: return (double)((const int64_t *)data)[i];
    case TN_U8:
    case TN_BOOL: return ((const uint8_t *)data)[i];
    case TN_F16: return (double)tn_f32_from_f16(((const uint16_t *)data)[i]);
    case TN_BF16: return (double)tn_f32_from_bf16(((const uint16_t *)data)[i]);
    default: return 0;
    }
}
