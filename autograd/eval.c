/* One node at once: a graph's node compiled, run and thrown away. */
#include "autograd/internal.h"

#include <string.h>

tn_status tn_eval(tn_node *x, void *out, size_t bytes)
{
    if (!x) return TN_ERR_ARG;
    if (!out && bytes) return tn_fail(tn_node_ctx(x), TN_ERR_ARG, "tn_eval: no room for the value");
    if (tn_is_variable(x)) {
        if (bytes != tn_variable_bytes(x))
            return tn_fail(tn_node_ctx(x), TN_ERR_ARG, "tn_eval: %s has %zu bytes, not %zu",
                           tn_variable_name(x), tn_variable_bytes(x), bytes);
        if (bytes) memcpy(out, tn_variable_data(x), bytes);
        return TN_OK;
    }
    tn_program *p = tn_compile(x->graph, &x, 1, NULL);
    if (!p) return tn_ctx_status(x->graph->ctx);
    tn_status s = TN_OK;
    for (int64_t i = 0; s == TN_OK && i < x->graph->n_inputs; i++) {
        const char *name = ((const input_attrs *)x->graph->inputs[i]->call->attrs)->name;
        if (tn_input_data(p, name))
            s = tn_fail(x->graph->ctx, TN_ERR_STATE, "tn_eval: the value depends on input %s",
                        name);
    }
    if (s == TN_OK) s = tn_run(p);
    if (s == TN_OK) s = tn_fetch(p, x, out, bytes);
    tn_program_free(p);
    return s;
}
