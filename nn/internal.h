/* What nn/ and models/ share: opening a layer's names, refusing one that is NULL, and reading
 * tensors of a file as what a variable is. */
#ifndef TN_NN_INTERNAL_H
#define TN_NN_INTERNAL_H

#include "nn/params.h"
#include "nn/safetensors.h"

/* The layer's name, kept by the set; what is made until tn_params_pop stands behind it. NULL: there
 * is no layer, and nothing to pop. */
const char *tn__open_layer(tn_params *p, const char *name);

/* NULL, and why in the context of x: a layer itself (its struct, not its parameters) is NULL. */
tn_node *tn__no_layer(const tn_node *x, const char *call);

/* Is x, which is not NULL, of a graph? A variable alone is refused in the layer's name. */
bool tn__is_in_graph(const tn_node *x, const char *name);

/* f64, f32, f16 or bf16: what is converted to what a variable is. */
bool tn__is_real(tn_dtype d);

/* Numbers that v has or is to have: TN_ERR_FORMAT, naming file, variable and place, if one is
 * larger than `most` or NaN. DBL_MAX is for what must be finite, and INFINITY for what may be
 * infinite. */
tn_status tn__check_finite(tn_ctx *ctx, const char *path, const char *name, const tn_node *v,
                           const void *numbers, double most);

/* Tensor i as this dtype, in memory of its own, to be freed. NULL: TN_ERR_IO, TN_ERR_MEMORY. */
void *tn__safetensors_read_as(tn_safetensors *f, int i, tn_dtype dtype);

/* The name of tensor i's dtype, also of one that libtensor does not have. */
const char *tn__safetensors_dtype(const tn_safetensors *f, int i);

#endif
