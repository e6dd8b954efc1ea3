/* A model that libtensor does not have, with an op that it does not have: a recurrent network that
 * tells whether the highest point of a sequence comes before its lowest. It is written against the
 * installed library alone:
 *
 *     cc -O2 recurrent.c $(pkg-config --cflags --libs libtensor) -lm -o recurrent && ./recurrent
 */
#include <libtensor.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 64, STEPS = 12, HIDDEN = 32 };

/* ---- an op of our own ------------------------------------------------------------------------ */

/* y = x / sqrt(1 + x^2), which saturates like tanh and needs no exponential. */
TN_SPAN(soft_clip, x * tn__rsqrt(1 + x * x))

static void soft_clip_vjp(tn_vjp *c) /* dy (1 + x^2)^(-3/2) */
{
    tn_node *r = tn_rsqrt(tn_add_scalar(tn_square(c->in[0]), 1));
    c->din[0] = tn_mul(c->dout[0], tn_mul(r, tn_square(r)));
}

static const tn_op op_soft_clip = { .name = "soft_clip", .doc = "x / sqrt(1 + x^2)", .arity = 1,
                                    .infer = tn_infer_same,
                                    .span = &soft_clip_span, .vjp = soft_clip_vjp };

static tn_node *soft_clip(tn_node *x) { return tn_apply(&op_soft_clip, &x, 1, NULL); }

/* ---- the model: h = soft_clip(x_t w_x + h w_h + b), step by step; the last h is classified --- */

typedef struct classifier {
    tn_linear in, hidden, out;
} classifier;

static tn_node *classify(const classifier *m, tn_node *x) /* x [b, t] -> logits [b, 2] */
{
    tn_node *h = NULL;
    for (int t = 0; t < STEPS; t++) { /* the loop is unrolled into the graph */
        tn_node *now = tn_linear_apply(&m->in, tn_slice(x, 1, t, t + 1, 1));
        h = soft_clip(h ? tn_add(now, tn_linear_apply(&m->hidden, h)) : now);
    }
    return tn_linear_apply(&m->out, h);
}

static void next_batch(uint64_t number, float *x, int32_t *y)
{
    tn_random_normal((tn_rng){ .seed = 7, .run = number }, 0, BATCH * STEPS, TN_F32, x, 0, 1);
    for (int b = 0; b < BATCH; b++) {
        int high = 0, low = 0;
        for (int t = 1; t < STEPS; t++) {
            if (x[b * STEPS + t] > x[b * STEPS + high]) high = t;
            if (x[b * STEPS + t] < x[b * STEPS + low]) low = t;
        }
        y[b] = high < low;
    }
}

/* ---- does the op have the gradient that it says? --------------------------------------------- */

static tn_node *build_soft_clip(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g, (void)user;
    return soft_clip(in[0]);
}

static tn_status check_gradient(tn_ctx *ctx)
{
    double              x[6] = { -3, -0.5, 0, 0.2, 1.5, 30 };
    tn_type             type = { TN_F64, TN_SHAPE(2, 3) };
    const void         *data = x;
    tn_gradcheck_report report;
    tn_status s = tn_gradcheck(ctx, build_soft_clip, NULL, 1, &type, &data,
                               &(tn_gradcheck_options){ .order = 2 }, &report);
    if (s == TN_OK)
        printf("gradients of soft_clip, first and second order: relative error at most %.1e\n",
               report.worst);
    return s;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    errno = 0; /* a number that is too large is told by this alone */
    long  steps = argc > 1 ? strtol(argv[1], &end, 10) : 3000;
    if (argc > 2 || (end && (end == argv[1] || *end || steps < 0 || errno))) {
        fprintf(stderr, "usage: recurrent [steps]\n");
        return 2;
    }
    tn_ctx *ctx = tn_ctx_new(NULL);
    if (!ctx || check_gradient(ctx) != TN_OK) {
        fprintf(stderr, "recurrent: %s\n", ctx ? tn_error(ctx) : "no context");
        return 1;
    }
    tn_params  *p = tn_params_new(ctx, TN_F32);
    classifier  m = { tn_linear_new(p, "in", 1, HIDDEN), tn_linear_new(p, "hidden", HIDDEN, HIDDEN),
                      tn_linear_new(p, "out", HIDDEN, 2) };
    tn_optimizer *opt = tn_adam_new(p, &(tn_adam_options){ .lr = 3e-3, .clip_norm = 1 });

    tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(BATCH, STEPS)),
        *y = tn_input(g, "y", TN_I32, TN_SHAPE(BATCH));
    tn_node    *logits = classify(&m, x), *loss = tn_cross_entropy(logits, y, NULL);
    tn_node    *right = tn_cast(tn_eq(tn_argmax(logits, -1, false), tn_cast(y, TN_I64)), TN_F32);
    tn_node    *accuracy = tn_mean_all(right);
    tn_program *train = tn_train_step(g, loss, opt), *test = tn_compile(g, &accuracy, 1, NULL);
    if (!train || !test) {
        fprintf(stderr, "recurrent: %s\n", tn_error(ctx));
        return 1;
    }
    float   values[BATCH * STEPS];
    int32_t labels[BATCH];
    for (long i = 0; i < steps; i++) {
        next_batch((uint64_t)i, values, labels);
        tn_feed(train, x, values, sizeof values), tn_feed(train, y, labels, sizeof labels);
        if (tn_run(train) != TN_OK) break;
        if (i % 250 == 0) printf("step %4ld  loss %.4f\n", i, tn_item(train, loss));
    }
    double sum = 0;
    for (int i = 0; i < 20; i++) { /* sequences that it has not seen */
        next_batch(1000000 + (uint64_t)i, values, labels);
        tn_feed(test, x, values, sizeof values), tn_feed(test, y, labels, sizeof labels);
        if (tn_run(test) == TN_OK) sum += tn_item(test, accuracy) / 20;
    }
    bool ok = tn_ctx_status(ctx) == TN_OK;
    if (!ok) fprintf(stderr, "recurrent: %s\n", tn_error(ctx));
    else printf("accuracy on new sequences: %.3f\n", sum);
    if (ferror(stdout) || fflush(stdout) != 0) {
        fprintf(stderr, "recurrent: the output cannot be written\n");
        ok = false;
    }
    tn_program_free(train), tn_program_free(test), tn_graph_free(g);
    tn_optimizer_free(opt), tn_params_free(p), tn_ctx_free(ctx);
    return ok ? 0 : 1;
}
