/* Layers: against PyTorch's numbers, and their gradients, of parameters too, against central
 * differences. */
#include "failing.h"
#include "layers.h"

/* ---- PyTorch's numbers (2.x, float64) -------------------------------------------------------- */

static const double torch_relu[] = {
    -0.80547769662055557, -1.4785269560838896, -1.4562018854800021, -0.74900231435275277,
    -0.84464949351848773, -1.2433672212611089, -1.0573099166958781, -0.37398323738540301,
};
static const double torch_gelu[] = {
    -0.69608432560595368, -1.3217076612886962, -1.3257112316154702, -0.70621209490408354,
    -0.69944316126496198, -1.099167269121198, -0.98193583534738749, -0.40288463503903738,
};
static const double torch_gelu_tanh[] = {
    -0.69608676751052578, -1.3216182372873817, -1.3255719992133761, -0.70608853727548071,
    -0.69944873140540587, -1.0991448369404047, -0.98189595105049654, -0.40284605683408597,
};
static const double torch_silu[] = {
    -0.67504925661828497, -1.2429674444798064, -1.2262986213004063, -0.63288239507890598,
    -0.68320273352476546, -1.0625312214007718, -0.9421346733436845, -0.37863746715271085,
};
static const double torch_swiglu[] = {
    -0.92719692809777166, -0.91476113756488808, -0.47209889049817966, 0.19259884151847098,
    -0.77014490857970486, -0.91699611317728491, -0.63256971728807254, -0.050635899183795796,
};
static const double torch_layer_norm[] = {
    -0.48086378440966721, 0.60878547975775188, 0.43030617651935971, -0.79940958938474416,
    2.2320755216495498, 0.58570413722042203, -0.81045487524792803, -0.85611997447882049,
};
static const double torch_rms_norm[] = {
    0.11397035852455285, 0.96510935904760287, 0.9140905872007844, 0.045608556907568522,
    0.28386361349473727, -0.6187541059340903, -0.8725607508923181, -0.056220612048783203,
};
static const double torch_pe[] = {
    0, 1, 0, 1, 0, 1, 0.8414709848078965, 0.54030230586813977, 0.046399223464731285,
    0.99892297604063041, 0.0021544330233656045, 0.99999767920648086, 0.90929742682568171,
    -0.41614683654714241, 0.092698500778727252, 0.99569422412373987, 0.0043088560467428125,
    0.99999071683669571,
};

/* ---- Linear, norms, feed-forward ------------------------------------------------------------- */

TEST(linear, is_x_w_plus_b)
{
    bench     b = bench_new();
    tn_linear l = tn_linear_new(b.p, "l", 2, 3),
        no_bias = tn_linear_new_with(b.p, "n", 2, 3, &(tn_linear_options){ .no_bias = true });
    const double w[] = { 1, 2, 3, 4, 5, 6 }, bias[] = { 10, 20, 30 }, x[] = { 1, -1, 2, 0.5 };
    tn_variable_set(l.w, w, sizeof w), tn_variable_set(l.b, bias, sizeof bias),
        tn_variable_set(no_bias.w, w, sizeof w);
    CHECK(no_bias.b == NULL && no_bias.w != NULL);
    tn_node *in = tn_constant(b.g, TN_F64, TN_SHAPE(2, 1, 2), x);
    check_values("linear", tn_linear_apply(&l, in), (const double[]){ 7, 17, 27, 14, 26.5, 39 }, 6,
                 0);
    check_values("no bias", tn_linear_apply(&no_bias, in),
                 (const double[]){ -3, -3, -3, 4, 6.5, 9 }, 6, 0);
    check_values("a vector", tn_linear_apply(&l, tn_reshape(tn_slice(in, 0, 0, 1, 1), TN_SHAPE(2))),
                 (const double[]){ 7, 17, 27 }, 3, 0);
    /* the default is PyTorch's: both within 1 / sqrt(in) */
    tn_linear wide = tn_linear_new(b.p, "wide", 16, 50);
    double    most = 0;
    for (int i = 0; i < 800; i++) most = fmax(most, fabs(((double *)tn_variable_data(wide.w))[i]));
    for (int i = 0; i < 50; i++) most = fmax(most, fabs(((double *)tn_variable_data(wide.b))[i]));
    CHECK(most <= 0.25 && most > 0.24);
    bench_free(&b);
}

TEST(layers, errors_name_the_place)
{
    bench           b = bench_new();
    tn_feed_forward ff = tn_feed_forward_new(b.p, "ff", 4, 8, NULL);
    tn_node        *y = NULL;
    TN_SCOPE(b.g, "encoder.%d", 3)
    {
        y = tn_feed_forward_apply(&ff, filled(b.g, TN_SHAPE(2, 5), 0));
    }
    CHECK(y == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "matmul: [2,5] x [4,8]");
    CHECK_CONTAINS(tn_error(b.ctx), "(encoder.3.ff.in)");
    CHECK_INT(tn_scope_depth(b.g), 0);
    tn_clear_error(b.ctx);
    /* a layer that could not be made passes NULL on, and has said why */
    tn_linear again = tn_linear_new(b.p, "ff.in", 4, 8);
    CHECK(again.w == NULL && tn_linear_apply(&again, filled(b.g, TN_SHAPE(2, 4), 0)) == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "there is a parameter ff.in.w already");
    tn_clear_error(b.ctx);
    CHECK(tn_linear_new(b.p, NULL, 2, 3).w == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "needs a name");
    CHECK_INT(tn_params_depth(b.p), 0);
    /* all of them on nothing */
    tn_linear          l = tn_linear_new(NULL, "l", 2, 3);
    tn_norm_layer      n = tn_layer_norm_new(NULL, "n", 3);
    tn_embedding_layer e = tn_embedding_new(NULL, "e", 5, 3, NULL);
    tn_positions       pos = tn_positions_learned(NULL, "pos", 5, 3);
    tn_attention_layer a = tn_attention_new(NULL, "a", 4, 2, NULL);
    CHECK(!tn_linear_apply(&l, NULL) && !tn_norm_apply(&n, NULL) && !tn_embedding_apply(&e, NULL) &&
          !tn_positions_apply(&pos, NULL, NULL) && !tn_attention_apply(&a, NULL, NULL, NULL) &&
          !tn_feed_forward_apply(&ff, NULL));
    bench_free(&b);
}

TEST(layers, norms_are_torchs)
{
    bench         b = bench_new();
    tn_norm_layer ln = tn_layer_norm_new(b.p, "ln", 4), rms = tn_rms_norm_new(b.p, "rms", 4);
    CHECK(is_constant(ln.gamma, 1) && is_constant(ln.beta, 0) && is_constant(rms.gamma, 1) &&
          rms.beta == NULL);
    fill(ln.gamma, 1, 1), fill(ln.beta, 2, 1), fill(rms.gamma, 1, 1);
    tn_node *x = filled(b.g, TN_SHAPE(2, 4), 0.1);
    CHECK_TORCH(layer_norm, tn_layer_norm_apply(&ln, x));
    CHECK_TORCH(rms_norm, tn_rms_norm_apply(&rms, x));
    CHECK_TORCH(rms_norm, tn_norm_apply(&rms, x));
    bench_free(&b);
}

static void fill_linear(const tn_linear *l, double w, double b)
{
    fill(l->w, w, 1), fill(l->b, b, 1);
}

TEST(layers, feed_forward_is_torchs)
{
    bench           b = bench_new();
    tn_node        *x = filled(b.g, TN_SHAPE(2, 4), 0.1);
    tn_feed_forward ff = tn_feed_forward_new(b.p, "ff", 4, 6,
                                             &(tn_feed_forward_options){ .dropout = 0.5 });
    tn_feed_forward gated = tn_feed_forward_new(b.p, "gated", 4, 6,
                                                &(tn_feed_forward_options){ .activation =
                                                TN_ACTIVATION_SILU, .gated = true });
    CHECK(is_constant(ff.in.b, 0) && is_constant(ff.out.b, 0) && ff.gate.w == NULL);
    fill_linear(&ff.in, 1, 2), fill_linear(&ff.out, 3, 4);
    fill_linear(&gated.in, 1, 2), fill_linear(&gated.out, 3, 4), fill_linear(&gated.gate, 5, 6);
    CHECK_TORCH(relu, tn_feed_forward_apply(&ff, x));
    ff.activation = TN_ACTIVATION_GELU;
    CHECK_TORCH(gelu, tn_feed_forward_apply(&ff, x));
    ff.activation = TN_ACTIVATION_GELU_TANH;
    CHECK_TORCH(gelu_tanh, tn_feed_forward_apply(&ff, x));
    ff.activation = TN_ACTIVATION_SILU;
    CHECK_TORCH(silu, tn_feed_forward_apply(&ff, x));
    CHECK_TORCH(swiglu, tn_feed_forward_apply(&gated, x));
    ff.activation = (tn_activation)9;
    CHECK(tn_feed_forward_apply(&ff, x) == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "number 9");
    bench_free(&b);
}

/* ---- Embedding, positions -------------------------------------------------------------------- */

TEST(embedding, rows_padding_and_scale)
{
    bench              b = bench_new();
    tn_embedding_layer e = tn_embedding_new(b.p, "e", 5, 4,
                                            &(tn_embedding_options){ .has_padding = true,
                                            .padding_idx = 2, .scale_sqrt_d = true });
    const double      *w = tn_variable_data(e.w);
    const int32_t      index[] = { 4, 2, 0 };
    double             want[12];
    for (int i = 0; i < 12; i++) want[i] = 2 * w[4 * index[i / 4] + i % 4];
    for (int i = 4; i < 8; i++) CHECK_NEAR(want[i], 0, 0);
    tn_node *in = tn_constant(b.g, TN_I32, TN_SHAPE(3, 1), index);
    check_values("rows", tn_embedding_apply(&e, in), want, 12, 0);
    /* tied output: x w^T */
    tn_node *x = filled(b.g, TN_SHAPE(2, 4), 1), *logits = tn_embedding_logits(&e, x);
    double   dots[10] = { 0 };
    for (int i = 0; i < 40; i++) dots[i / 4] += fill_at(i / 20 * 4 + i % 4, 1, 1) * w[i % 20];
    check_values("logits", logits, dots, 10, 1e-15);
    /* the padding row gets no gradient */
    tn_node *dw = NULL;
    CHECK_INT(tn_grad(tn_sum_all(tn_square(tn_add_scalar(tn_embedding_apply(&e, in), 1))), NULL,
                      &e.w, 1, &dw), TN_OK);
    double got[20];
    CHECK_INT(tn_eval(dw, got, sizeof got), TN_OK);
    for (int k = 0; k < 20; k++) {
        int row = k / 4;
        CHECK_NEAR(got[k], row == 4 || row == 0 ? 4 * (2 * w[k] + 1) : 0, 1e-14);
    }
    CHECK(tn_embedding_new(b.p, "bad", 5, 4, &(tn_embedding_options){ .has_padding = true,
        .padding_idx = 5 }).w == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "padding_idx 5 is not in [0, 5)");
    bench_free(&b);
}

TEST(positions, sinusoidal)
{
    bench  b = bench_new();
    double table[18], big[300 * 64], worst = 0;
    tn_sinusoidal_table(3, 6, TN_F64, table);
    for (int i = 0; i < 18; i++) CHECK_NEAR(table[i], torch_pe[i], 1e-15);
    tn_sinusoidal_table(300, 64, TN_F64, big);
    for (int t = 0; t < 300; t++)
        for (int i = 0; i < 64; i += 2) {
            double angle = t / pow(10000, i / 64.0);
            worst = fmax(worst, fmax(fabs(big[t * 64 + i] - sin(angle)),
                                     fabs(big[t * 64 + i + 1] - cos(angle))));
        }
    CHECK_MSG(worst < 2e-13, "sinusoidal: expected libm's within 2e-13, got %g", worst);
    tn_positions l = tn_positions_sinusoidal(b.p, "pos", 3, 6);
    CHECK_TORCH(pe, tn_positions_apply(&l, tn_full(b.g, TN_F64, TN_SHAPE(3, 6), 0), NULL));
    /* by index: packed rows, in any order */
    const int32_t index[] = { 2, 0, 1, 1 };
    double        want[24];
    for (int i = 0; i < 24; i++) want[i] = torch_pe[6 * index[i / 6] + i % 6] + 1;
    check_values("by index", tn_positions_apply(&l, tn_full(b.g, TN_F64, TN_SHAPE(4, 6), 1),
                                                tn_constant(b.g, TN_I32, TN_SHAPE(4), index)), want,
                                                24, 1e-15);
    CHECK(tn_positions_apply(&l, tn_full(b.g, TN_F64, TN_SHAPE(4, 6), 1), NULL) == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "pos: x [4,6] has not 3 positions of size 6 at most");
    bench_free(&b);
}

TEST(positions, learned)
{
    bench         b = bench_new();
    tn_positions  l = tn_positions_learned(b.p, "pos", 5, 2);
    const int64_t index[] = { 4, 3 };
    fill(l.w, 1, 1);
    double want[12], rows[4];
    for (int i = 0; i < 12; i++) want[i] = fill_at(i % 6, 1, 1) + 3;
    for (int i = 0; i < 4; i++) rows[i] = fill_at(2 * index[i / 2] + i % 2, 1, 1);
    check_values("learned", tn_positions_apply(&l, tn_full(b.g, TN_F64, TN_SHAPE(2, 3, 2), 3),
                                               NULL), want, 12, 0);
    check_values("by index", tn_positions_apply(&l, tn_full(b.g, TN_F64, TN_SHAPE(2, 1, 2), 0),
                                                tn_constant(b.g, TN_I64, TN_SHAPE(2, 1), index)),
                                                rows, 4, 0);
    bench_free(&b);
}

/* As transformers' Llama turns q and k. */
static const double torch_rotary[] = {
    0.29552020666133955, 0.8414709848078965, 0.9916648104524686, 0.6754631805511513,
    0.041580662433290935, -0.6118578909427189, -0.9775301176650969, -0.8834546557201536,
    -0.9176241647950841, 0.3016323690009935, 0.14488650176893048, 0.9924241408351148,
    0.8841826182314334, 0.03458338550451884, 0.22014225800726916, -0.9806394335383937,
    0.06654498818581828, -0.37533972953949896, -0.9323238616503359, 0.8518258802059473,
    -0.417882933852183, 0.662919069779345, 0.8939553542372681, -0.624974175495436,
};

TEST(positions, rotary)
{
    bench         b = bench_new();
    tn_node      *x = filled(b.g, TN_SHAPE(1, 3, 2, 4), 0.3);
    tn_node      *rows = tn_reshape(x, TN_SHAPE(3, 2, 4));
    const int32_t index[] = { 0, 1, 2 };
    CHECK_TORCH(rotary, tn_rotary(x, NULL, 0));
    CHECK_TORCH(rotary, tn_rotary(rows, tn_constant(b.g, TN_I32, TN_SHAPE(3), index), 1e4));
    /* What q and k come to depends on how far apart they are alone. */
    tn_node *far = tn_rotary(rows, tn_full(b.g, TN_I64, TN_SHAPE(3), 1000), 500);
    check_same("moved", tn_sum_all(tn_mul(far, far)), tn_sum_all(tn_mul(x, x)), 1e-12);
    CHECK(!tn_rotary(tn_reshape(x, TN_SHAPE(3, 8)), NULL, 0));
    CHECK_CONTAINS(tn_error(b.ctx), "tn_rotary: x [3,8], base 0: x is [.., t, h, d], d even");
    tn_clear_error(b.ctx);
    CHECK(!tn_rotary(x, NULL, INFINITY));
    CHECK_CONTAINS(tn_error(b.ctx), "base inf");
    bench_free(&b);
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* Two layers of one shape and names apart drop other elements; evaluation drops none. */
TEST(layers, dropout_differs_by_scope_and_mode)
{
    bench           b = bench_new();
    tn_graph       *g = tn_graph_new(b.ctx, TN_TRAIN);
    tn_node        *x = tn_full(g, TN_F64, TN_SHAPE(1, 4), 1), *y[3];
    tn_feed_forward ff = tn_feed_forward_new(b.p, "ff", 4, 64,
                                             &(tn_feed_forward_options){ .dropout = 0.5 }),
                                             other = ff;
    double          got[3][4];
    fill_linear(&ff.in, 1, 2);
    other.name = "other";
    y[0] = tn_feed_forward_apply(&ff, x), y[1] = tn_feed_forward_apply(&other, x);
    y[2] = tn_feed_forward_apply(&ff, tn_full(b.g, TN_F64, TN_SHAPE(1, 4), 1));
    for (int i = 0; i < 3; i++) CHECK_INT(tn_eval(y[i], got[i], sizeof got[i]), TN_OK);
    CHECK(memcmp(got[0], got[1], sizeof got[0]) != 0 && memcmp(got[0], got[2], sizeof got[0]) != 0);
    tn_graph_free(g), bench_free(&b);
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Layers are open: here their parameters are the check's inputs. */
static tn_node *build_encoder(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g, (void)user;
    tn_norm_layer      norm1 = { "norm1", in[1], in[2], 1e-5, false },
        norm2 = { "norm2", in[3], NULL, 1e-6, true };
    tn_attention_layer self = { .name = "self", .qkv = { "qkv", in[4], in[5] },
                                .out = { "out", in[6], in[7] },
                                .n_heads = 2, .n_kv_heads = 2, .head_size = 2, .dropout = 0.25 };
    tn_feed_forward    ff = { .name = "ff", .in = { "in", in[8], in[9] },
                              .out = { "out", in[10], NULL }, .gate = { "gate", in[11], NULL },
                              .activation = TN_ACTIVATION_SILU, .dropout = 0.25 };
    tn_node *x = in[0], *h = tn_layer_norm_apply(&norm1, x);
    x = tn_add(x, tn_attention_apply(&self, h, h, &(tn_attention_mask){ .causal = true }));
    return tn_add(x, tn_feed_forward_apply(&ff, tn_rms_norm_apply(&norm2, x)));
}

/* Embedding with a tied output, learned positions and cross-attention. */
static tn_node *build_decoder(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g, (void)user;
    tn_embedding_layer e = { "e", in[1], -1, 2 };
    tn_positions       pos = { "pos", in[2], 4, 4 };
    tn_attention_layer cross = { .name = "cross", .q = { "q", in[3], NULL },
                                 .kv = { "kv", in[4], in[5] }, .out = { "out", in[6], NULL },
                                 .n_heads = 2, .n_kv_heads = 1, .head_size = 2 };
    tn_node *x = tn_positions_apply(&pos, tn_embedding_apply(&e, in[0]), NULL);
    return tn_embedding_logits(&e, tn_attention_apply(&cross, x, in[7], NULL));
}

static void check_gradients(tn_build build, const tn_type *types, int n)
{
    double      data[16][64];
    int32_t     index[64];
    const void *list[16];
    tn_ctx     *ctx = new_ctx(1);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 64; k++) data[i][k] = fill_at(k, 0.4 * i, 0.9), index[k] = k * 7 % 5;
        list[i] = types[i].dtype == TN_I32 ? (void *)index : data[i];
    }
    for (int order = 1; order <= 2; order++) {
        tn_gradcheck_report report = { 0 };
        CHECK_MSG(tn_gradcheck(ctx, build, NULL, n, types, list,
                               &(tn_gradcheck_options){ .order = order, .mode = TN_TRAIN },
                               &report) == TN_OK, "order %d: %s", order, tn_error(ctx));
        CHECK_MSG(report.worst < 1e-6, "order %d: worst relative error %g, expected under 1e-6",
                  order, report.worst);
        tn_clear_error(ctx);
    }
    tn_ctx_free(ctx);
}

#define F(...) { TN_F64, TN_SHAPE(__VA_ARGS__) }

TEST(layers, gradients_of_an_encoder_layer)
{
    const tn_type types[] = { F(2, 3, 4), F(4), F(4), F(4), F(4, 12), F(12), F(4, 4), F(4), F(4, 5),
                              F(5), F(5, 4), F(4, 5) };
    check_gradients(build_encoder, types, 12);
}

TEST(layers, gradients_of_a_decoder)
{
    const tn_type types[] = { { TN_I32, TN_SHAPE(2, 3) }, F(5, 4), F(4, 4), F(4, 4), F(3, 4), F(4),
                              F(4, 4), F(2, 3, 3) };
    check_gradients(build_decoder, types, 8);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool make_layers(tn_ctx *ctx)
{
    tn_params         *p = tn_params_new(ctx, TN_F32);
    tn_graph          *g = tn_graph_new(ctx, TN_TRAIN);
    tn_embedding_layer e = tn_embedding_new(p, "e", 5, 4, NULL);
    tn_positions       pos = tn_positions_sinusoidal(p, "pos", 8, 4),
        learned = tn_positions_learned(p, "learned", 8, 4);
    tn_norm_layer      norm = tn_layer_norm_new(p, "norm", 4);
    tn_attention_layer self = tn_attention_new(p, "self", 4, 2, NULL),
        cross = tn_attention_new(p, "cross", 4, 2,
                                 &(tn_attention_layer_options){ .is_cross = true });
    tn_feed_forward    ff = tn_feed_forward_new(p, "ff", 4, 8,
                                                &(tn_feed_forward_options){ .gated = true });
    tn_node *x = tn_embedding_apply(&e, tn_input(g, "x", TN_I32, TN_SHAPE(2, 3)));
    x = tn_norm_apply(&norm, tn_positions_apply(&learned, tn_positions_apply(&pos, x, NULL), NULL));
    x = tn_attention_apply(&cross, tn_attention_apply(&self, x, x, NULL), x, NULL);
    x = tn_embedding_logits(&e, tn_feed_forward_apply(&ff, x));
    tn_program *program = x ? tn_compile(g, &x, 1, NULL) : NULL;
    bool        ok = tn_input_data(program, "x") && tn_run(program) == TN_OK;
    tn_program_free(program), tn_graph_free(g), tn_params_free(p);
    return ok;
}

TEST(layers, every_allocation_may_fail) { check_each_allocation(make_layers); }

TEST_MAIN
