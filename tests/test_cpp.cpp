/* The library from C++: the umbrella header compiles, and a program links, builds a graph and trains. */
#include "libtensor.h"

#include <cmath>
#include <cstdio>

int main()
{
    tn_ctx    *ctx = tn_ctx_new(nullptr);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_linear  l = tn_linear_new(p, "l", 2, 1);
    tn_sgd_options options = {};
    options.lr = 0.1;
    tn_optimizer *opt = tn_sgd_new(p, &options);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node      *x = tn_input(g, "x", TN_F32, TN_SHAPE(4, 2)), *y = tn_input(g, "y", TN_F32, TN_SHAPE(4, 1));
    tn_node      *loss = tn_add(tn_mse(tn_linear_apply(&l, x), y, TN_MEAN), tn_full(g, TN_F32, TN_SCALAR, 0));
    tn_program   *step = tn_train_step(g, loss, opt);
    const float   in[8] = { 0, 0, 0, 1, 1, 0, 1, 1 }, want[4] = { 1, 3, 0, 2 };
    tn_feed(step, x, in, sizeof in), tn_feed(step, y, want, sizeof want);
    for (int i = 0; i < 500; i++) tn_run(step);
    double last = tn_item(step, loss);
    bool   ok = last < 1e-4 && tn_ctx_status(ctx) == TN_OK;
    if (!ok) std::printf("loss: expected under 1e-4, got %g (%s)\n", last, tn_error(ctx));
    tn_program_free(step);
    tn_graph_free(g);
    tn_optimizer_free(opt);
    tn_params_free(p);
    ok = ok && tn_ctx_memory(ctx) == 0;
    tn_ctx_free(ctx);
    return ok ? 0 : 1;
}
