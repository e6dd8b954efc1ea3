/* What the layers of nn/ and models/ share: opening a layer's names, and refusing one that is
 * NULL. */
#ifndef TN_NN_INTERNAL_H
#define TN_NN_INTERNAL_H

#include "nn/params.h"

/* The layer's name, kept by the set; what is made until tn_params_pop stands behind it. NULL: there
 * is no layer, and nothing to pop. */
const char *tn__open_layer(tn_params *p, const char *name);

/* NULL, and why in the context of x: a layer itself (its struct, not its parameters) is NULL. */
tn_node *tn__no_layer(const tn_node *x, const char *call);

#endif
