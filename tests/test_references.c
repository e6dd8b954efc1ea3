/* Against references that none of us wrote: PyTorch's losses over a hundred steps of the same small
 * encoder-decoder, from the same weights on the same batches. tests/references holds the scripts
 * that made the numbers. */
#include "check.h"
#include "libtensor.h"
#include "references/train.h"

/* One op on formula inputs: kind 3 is a float in [a, b], 2 an index below a, 1 a bool. */
typedef struct reference_input {
    int      kind;
    tn_shape shape;
    double   a, b;
} reference_input;

typedef struct reference_case {
    const char     *name;
    tn_node      *(*build)(tn_node *const *x);
    int             n_in;
    reference_input in[4];
    int64_t         n_out;
    const double   *y, *dx; /* gradients of the float inputs, one after another */
    double          tolerance;
} reference_case;

#include "references/ops.h"

enum { V = 20, D = 16, H = 2, FF = 32, L = 2, B = 4, TS = 7, TT = 6, STEPS = 100 };

/* 0.25 sin(1.3 i + 0.37 s), s the sum of the name's bytes; 1 more for gammas. As in train.py. */
static void set_parameters(tn_params *p)
{
    for (int i = 0; i < tn_params_count(p); i++) {
        tn_node    *v = tn_params_at(p, i);
        const char *name = tn_variable_name(v);
        tn_shape    shape = tn_node_shape(v);
        int         sum = 0;
        for (const char *c = name; *c; c++) sum += (unsigned char)*c;
        double plus = strstr(name, "gamma") ? 1 : 0;
        for (int64_t k = 0; k < tn_shape_size(&shape); k++) {
            double x = 0.25 * sin(1.3 * (double)k + 0.37 * sum) + plus;
            if (tn_node_dtype(v) == TN_F64) ((double *)tn_variable_data(v))[k] = x;
            else ((float *)tn_variable_data(v))[k] = (float)x;
        }
    }
}

/* ids [B, t], zeros past the lengths */
static void make_ids(int step, int kind, int t, int32_t *ids, int32_t *lengths)
{
    memset(ids, 0, (size_t)(B * t) * sizeof *ids);
    for (int b = 0; b < B; b++) {
        lengths[b] = 2 + (step * 3 + b * 5 + kind) % (t - 1);
        for (int j = 0; j < lengths[b]; j++)
            ids[b * t + j] = 4 + (step * 7 + b * 13 + j * 29 + kind * 5 + (j * b) % 3) % (V - 4);
    }
}

static void feed_batch(tn_program *p, int step)
{
    int32_t src[B * TS], tgt[B * TT], in[B * TT] = { 0 }, next[B * TT] = { 0 }, src_lengths[B],
        tgt_lengths[B];
    make_ids(step, 0, TS, src, src_lengths);
    make_ids(step, 1, TT, tgt, tgt_lengths);
    for (int b = 0; b < B; b++) {
        int n = tgt_lengths[b];
        in[b * TT] = TN_BOS_ID;
        for (int j = 1; j < n; j++) in[b * TT + j] = tgt[b * TT + j - 1];
        for (int j = 0; j < n - 1; j++) next[b * TT + j] = tgt[b * TT + j];
        next[b * TT + n - 1] = TN_EOS_ID;
    }
    tn_feed_name(p, "src", src, sizeof src),
        tn_feed_name(p, "src_lengths", src_lengths, sizeof src_lengths);
    tn_feed_name(p, "tgt", in, sizeof in), tn_feed_name(p, "tgt_lengths", tgt_lengths,
                                                        sizeof tgt_lengths);
    tn_feed_name(p, "next", next, sizeof next);
}

static void follow_losses(tn_dtype dtype, const double *want, double tolerance)
{
    tn_ctx         *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    tn_params      *p = tn_params_new(ctx, dtype);
    tn_transformer *m = tn_transformer_new(
        p, &(tn_transformer_config){ .src_vocab = V, .d_model = D, .n_heads = H, .d_ff = FF,
                                     .n_encoder = L, .n_decoder = L, .dropout = TN_NONE });
    tn_optimizer *opt = tn_adam_new(p, &(tn_adam_options){ .lr = 1e-3, .beta2 = 0.98,
                                                           .eps = 1e-9 });
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_sequence   source = { .ids = tn_input(g, "src", TN_I32, TN_SHAPE(B, TS)),
                             .lengths = tn_input(g, "src_lengths", TN_I32, TN_SHAPE(B)) };
    tn_sequence   target = { .ids = tn_input(g, "tgt", TN_I32, TN_SHAPE(B, TT)),
                             .lengths = tn_input(g, "tgt_lengths", TN_I32, TN_SHAPE(B)) };
    tn_node      *next = tn_input(g, "next", TN_I32, TN_SHAPE(B, TT));
    tn_loss_parts parts = { 0 };
    tn_transformer_loss(m, &source, &target, next, 0.1, &parts);
    tn_node    *loss = tn_div(parts.sum, parts.count);
    tn_program *step = tn_train_step(g, loss, opt);
    CHECK_STR(tn_error(ctx), "");
    if (step) {
        set_parameters(p);
        double worst = 0;
        for (int i = 0; i < STEPS; i++) {
            feed_batch(step, i);
            CHECK_INT(tn_run(step), TN_OK);
            double got = tn_item(step, loss), error = fabs(got - want[i]) / fabs(want[i]);
            if (!(error <= worst)) worst = error;
            if (!(error <= tolerance)) {
                check_fail(__FILE__, __LINE__,
                           "step %d: expected %.12g, got %.12g, relative tolerance %g", i, want[i],
                           got, tolerance);
                break;
            }
        }
        printf("%s: worst relative difference from PyTorch's losses over %d steps: %.2g\n",
               tn_dtype_name(dtype), STEPS,
               worst);
    }
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt);
    tn_transformer_free(m), tn_params_free(p);
    tn_ctx_free(ctx);
}

TEST(references, a_hundred_steps_follow_pytorch_in_f64)
{
    follow_losses(TN_F64, train_losses_f64, 1e-9);
}

TEST(references, a_hundred_steps_follow_pytorch_in_f32)
{
    follow_losses(TN_F32, train_losses_f32, 1e-3);
}

/* ---- op by op -------------------------------------------------------------------------------- */

static tn_node *make_input(tn_graph *g, const reference_input *in, int k)
{
    int64_t  n = tn_shape_size(&in->shape);
    double   x[512];
    int64_t  index[512];
    uint8_t  flag[512];
    for (int64_t i = 0; i < n; i++) {
        x[i] = in->a + (in->b - in->a) * (1 + sin(1.7 * (double)i + 2.3 * k + 0.9)) / 2;
        index[i] = in->kind == 2 ? (7 * i + 3 + k) % (int64_t)in->a : 0;
        flag[i] = (7 * i + 3 + k) % 3 != 0;
    }
    if (in->kind == 3) return tn_constant(g, TN_F64, in->shape, x);
    if (in->kind == 2) return tn_constant(g, TN_I64, in->shape, index);
    return tn_constant(g, TN_BOOL, in->shape, flag);
}

static double worst_op;

static void compare(const reference_case *c, const char *what, const double *got,
                    const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(got[i] - want[i]) / fmax(1, fabs(want[i]));
        if (error > worst_op && c->tolerance < 1e-9) worst_op = error;
        if (error <= c->tolerance) continue;
        check_fail(__FILE__, __LINE__,
                   "%s: %s, element %d: expected %.17g, got %.17g, tolerance %g", c->name, what,
                   (int)i, want[i], got[i], c->tolerance);
        return;
    }
}

static void check_case(tn_ctx *ctx, const reference_case *c)
{
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x[4] = { 0 }, *floats[4], *out[5] = { 0 };
    double    dy[512];
    int       n = 0;
    for (int k = 0; k < c->n_in; k++) {
        x[k] = make_input(g, &c->in[k], k);
        if (c->in[k].kind == 3) floats[n++] = x[k];
    }
    for (int i = 0; i < c->n_out; i++) dy[i] = cos(0.7 * i + 0.3);
    out[0] = c->build(x);
    tn_grad_or_none(out[0], tn_constant(g, TN_F64, tn_node_shape(out[0]), dy), floats, n, out + 1);
    for (int i = 0; i < n; i++)
        if (!out[i + 1]) out[i + 1] = tn_zeros_like(floats[i]);
    tn_program *p = tn_ctx_status(ctx) == TN_OK ? tn_compile(g, out, n + 1, NULL) : NULL;
    CHECK_MSG(p && tn_run(p) == TN_OK, "%s: %s", c->name, tn_error(ctx));
    if (p && tn_ctx_status(ctx) == TN_OK) {
        tn_type t = tn_output_type(p, 0);
        CHECK_INT(tn_shape_size(&t.shape), c->n_out);
        compare(c, "value", tn_output(p, 0), c->y, c->n_out);
        const double *want = c->dx;
        for (int i = 0; i < n; i++) {
            t = tn_output_type(p, i + 1);
            compare(c, "gradient", tn_output(p, i + 1), want, tn_shape_size(&t.shape));
            want += tn_shape_size(&t.shape);
        }
    }
    tn_program_free(p), tn_graph_free(g);
    tn_clear_error(ctx);
}

TEST(references, values_and_gradients_equal_pytorchs)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    size_t  n = sizeof reference_cases / sizeof reference_cases[0];
    for (size_t i = 0; i < n; i++) check_case(ctx, &reference_cases[i]);
    printf("%d cases, worst relative difference from PyTorch %.2g\n", (int)n, worst_op);
    tn_ctx_free(ctx);
}

TEST_MAIN
