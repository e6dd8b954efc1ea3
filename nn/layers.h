/* Layers: parameters in an open struct, computation in a line. `new` makes the parameters in a set,
 * under the layer's name; `apply` builds the computation on a node, in a scope of the same name.
 *
 * Like all of building: a failure gives NULL parameters, NULL passes through, and the context has the
 * first error. Structs are plain values; their nodes belong to the set and may be shared (tied). */
#ifndef TN_NN_LAYERS_H
#define TN_NN_LAYERS_H

#include "autograd/ops.h"
#include "nn/params.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Linear: y = x w + b -------------------------------------------------------------------------- */

typedef struct tn_linear {
    const char *name;
    tn_node    *w; /* [in, out] */
    tn_node    *b; /* [out], or NULL */
} tn_linear;

typedef struct tn_linear_options {
    bool           no_bias;
    const tn_init *w, *b; /* initial values; NULL: PyTorch's, U(-1 / sqrt(in), 1 / sqrt(in)) */
} tn_linear_options;

TN_API tn_linear tn_linear_new(tn_params *p, const char *name, int64_t in, int64_t out);
TN_API tn_linear tn_linear_new_with(tn_params *p, const char *name, int64_t in, int64_t out,
                                    const tn_linear_options *options);
TN_API tn_node  *tn_linear_apply(const tn_linear *l, tn_node *x); /* x [.., in] -> [.., out] */

#ifdef __cplusplus
}
#endif
#endif
