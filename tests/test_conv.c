/* Convolutions, pooling, batch norm and group norm: against PyTorch's numbers, and their gradients
 * against central differences. */
#include "failing.h"
#include "layers.h"

/* ---- PyTorch's numbers (2.15, float64), of what `whole` fills -------------------------------- */

static const double torch_one_dim[] = {
    7, -18, -11, -33, -27, 0, -6, 22, 12, 13, 16, -33, -11, -33, -41, 13,
};
static const double torch_two_dims[] = {
    37, -19, -24, 26, -11, -13, -41, 21, 15, 9, -7, -23, 35, -16, -23, 14, -3, 22, -10, -7, -9,
    -27, 22, 15, 22, 27, -15, 15, -11, -16, -34, -5, 12, -31, 22, 19, -22, 40, 6, 23, 7, -16, 15,
    -36, 6, -11, 14, -10, 8, 20, 6, 21, 10, -15,
};
static const double torch_apart[] = {
    9, 8, 20, 13, 9, -5, 7, 24, 3, -5, -31, 15, -20, 8, 6, -4, -11, 1, -10, 18, 18, -17, -23, -18,
    -15, -19, 7, -11, 18, -6, 7, 2, -7, 0, 13, -19, 18, -14, -13, 10, -4, 17, 6, 6, 14, 21, 7, -3,
    -12, -1, 12, -17, 7, -17, -19, 10, 2, 7, 11, 13, -22, 6, 6, 1,
};
static const double torch_three_dims[] = {
    -54, 4, 16, 18, -10, -12, 1, 24, 16, 18, -2, -23, 1, 24, -10, 71,
};
static const double torch_three_apart[] = {
    18, -28, -2, 44, -20, -32, 15, 7, 25, 26, -17, -12, -2, 44, 0, 17,
};
static const double torch_transposed[] = {
    -2, 1, -20, -19, -2, 1, -29, -28, -2, 1, -12, -9, -2, 1, 4, 4, -2, 1, 17, 17,
};
static const double torch_transposed_two[] = {
    -12, 20, -7, 9, -6, -24, -9, -6, -16, -2, 24, 9, -16, 9, 1, -2, 2, -6, -4, -24, -3, 9, 2, 20,
};
static const double torch_largest[] = {
    2, 2, 5, 5, 4, 3, -1, 2, 5, 5, 5, 4, 3, 3, 2, 5, 5, 1, 4, 4, 3, 2, 5, 5,
};
static const double torch_mean[] = {
    -3, 0, 1, 7, 3, -2, -6, -3, 5, 4, 4, 2, -4, -6, -5, 5, 6, -2, -3, 3, -1, -6, 3, 6,
};
static const double torch_bn_eval[] = {
    -5.499992500014063, -4.9998400047998395, -2.4999962500070314, -10.99972000839972, 0.5,
    4.99996000119996, 3.4999962500070314, -0.9999200023999197, -4.499993750011718,
    -6.9998000059997985, -1.4999975000046875, 8.99988000359988,
};
static const double torch_bn_train[] = {
    -2.0360607060218303, 2.5166319587627504, -0.0513175447873544, 1.6465694845357008,
    1.9334256164471217, 3.9667360824744993, 3.918168777681598, 3.0966736082474497,
    -1.3744796522770049, 2.2266111340204007, 0.610263508957471, 4.546777731959199,
};
static const double torch_bn_mean[] = {
    0.7833333333333333, -1.7666666666666666,
};
static const double torch_bn_var[] = {
    4.696666666666667, 1.651666666666667,
};
static const double torch_gn_pairs[] = {
    -2.692636788683597, 2.243849181627569, -2.290700827035596, 5.3605124055339415,
    1.3401675759693676, 3.9241843335663043, -1.4185983459288076, 1.0, -2.0205027279081027,
    1.907782151239822, -2.145350413517798, -3.3605124055339415, 2.0123016367448616,
    3.5881173031785574, -1.2732479324110098, 1.8721024811067883, -1.3483686671326087,
    1.571715120852075, -2.0, -2.4884099244271534, 2.684435697520356, 3.25205027279081,
    -2.7267520675889902, 2.7442049622135767, -0.6628033081423845, 1.5464958648220193,
    -1.8739748636045948, -2.2766535462805333, 2.825606616284769, 3.0, -2.7141424395739624,
    3.772553000698913, -0.08140165407119226, 4.4535041351779805, -1.705941348410721,
    -1.2684524551172924, 3.4070082703559614, 2.709299172964404, -2.5461089243800887,
    4.780754091862154, 0.5, 4.162803308142385, -1.5379078332168477, -0.26025136395405135,
    -2.4070082703559614, 2.4185983459288076, -2.378075409186215, 5.788955183025395,
};
static const double torch_gn_instance[] = {
    -2.073068752713421, 2.429648586830047, -2.3152961790100557, 5.511160715066954,
    1.7865343763567108, 4.330819964063223, -1.4421682986745163, 1.1455213133892566,
    -1.4298015645350657, 2.049414311383412, -2.1697748656207994, -3.2201180882884413,
    2.429801564535066, 3.950585688616588, -1.2966469852852596, 2.018649193724796,
    -0.7865343763567104, 1.6691800359367768, -2.0242535522315426, -2.346990207952902,
    3.073068752713421, 3.5703514131699525, -2.7518601191778256, 2.891777074060336,
    -0.7611847160402238, 1.4962797616443486, -1.7148242934150237, -2.8596031290701314,
    2.731326805301934, 2.9514928955369144, -2.6654099820316115, 2.9298015645350657,
    -0.1790994624831974, 4.40670602942948, -1.524707155691706, -1.8947023468025985,
    3.313412058858961, 2.6604502687584013, -2.475292844308294, 3.8947023468025987,
    0.4029857910738289, 4.115663402650967, -1.3345900179683885, -0.9298015645350657,
    -2.5074404767113028, 2.369407641979888, -2.2851757065849765, 4.859603129070131,
};

typedef struct setting {
    tn_ctx    *ctx;
    tn_params *p;
    tn_graph  *g;
} setting;

static setting set_up(tn_mode mode)
{
    setting s = { .ctx = new_ctx(2) };
    s.p = tn_params_new(s.ctx, TN_F64);
    s.g = tn_graph_new(s.ctx, mode);
    return s;
}

static void tear_down(setting *s)
{
    CHECK_STR(tn_error(s->ctx), "");
    tn_graph_free(s->g), tn_params_free(s->p);
    CHECK_INT(tn_ctx_memory(s->ctx), 0);
    tn_ctx_free(s->ctx);
}

/* Element i is i a % m - o. */
static void whole(double *x, int64_t n, int64_t a, int64_t m, int64_t o)
{
    for (int64_t i = 0; i < n; i++) x[i] = (double)(i * a % m - o);
}

static tn_node *input_of(tn_graph *g, tn_shape shape)
{
    double        x[512];
    const int64_t n = tn_shape_size(&shape);
    whole(x, n, 7, 11, 5);
    return tn_constant(g, TN_F64, shape, x);
}

static void fill_conv(const tn_conv *l)
{
    whole(tn_variable_data(l->w), (int64_t)tn_variable_bytes(l->w) / 8, 5, 7, 3);
    if (l->b) whole(tn_variable_data(l->b), (int64_t)tn_variable_bytes(l->b) / 8, 3, 5, 2);
}

/* ---- values ---------------------------------------------------------------------------------- */

#define DIMS(...) { sizeof (int64_t[]){ __VA_ARGS__ } / sizeof(int64_t), { __VA_ARGS__ } }

static const struct conv_case {
    const char     *name;
    tn_shape        x, y, kernel;
    bool            is_transposed;
    tn_conv_options options;
    const double   *want;
} cases[] = {
    { "one dim", DIMS(2, 9, 3), DIMS(2, 4, 2), DIMS(3), false,
      { .stride = { 2 }, .padding = { 1 }, .dilation = { 2 } }, torch_one_dim },
    { "two dims in groups", DIMS(1, 5, 4, 4), DIMS(1, 3, 3, 6), DIMS(3, 2), false,
      { .stride = { 2, 1 }, .padding = { 1, 0 }, .groups = 2 }, torch_two_dims },
    { "each channel apart", DIMS(1, 4, 4, 2), DIMS(1, 4, 4, 4), DIMS(3, 3), false,
      { .padding = { 1, 1 }, .groups = 2 }, torch_apart },
    { "three dims", DIMS(1, 3, 4, 3, 2), DIMS(1, 2, 2, 2, 2), DIMS(2, 3, 2), false,
      { .stride = { 1, 2, 1 }, .padding = { 0, 1, 0 } }, torch_three_dims },
    { "three dims apart", DIMS(1, 3, 3, 3, 2), DIMS(1, 2, 2, 2, 2), DIMS(2, 2, 2),
      false, { .groups = 2 }, torch_three_apart },
    { "transposed", DIMS(1, 4, 3), DIMS(1, 10, 2), DIMS(3), true,
      { .stride = { 2 }, .padding = { 1 }, .dilation = { 2 }, .extra = { 1 } }, torch_transposed },
    { "transposed in groups", DIMS(1, 2, 3, 4), DIMS(1, 3, 4, 2), DIMS(3, 2), true,
      { .stride = { 2, 1 }, .padding = { 1, 0 }, .groups = 2 }, torch_transposed_two },
};
enum { N_CASES = sizeof cases / sizeof *cases };

static tn_conv make(tn_params *p, const char *name, const struct conv_case *c)
{
    const int64_t in = c->x.dim[c->x.rank - 1], out = c->y.dim[c->y.rank - 1];
    return (c->is_transposed ? tn_conv_transposed_new : tn_conv_new)(p, name, c->kernel, in, out,
                                                                     &c->options);
}

TEST(conv, is_as_pytorchs)
{
    setting s = set_up(TN_EVAL);
    for (int i = 0; i < N_CASES; i++) {
        const struct conv_case *c = &cases[i];
        char                    name[16];
        snprintf(name, sizeof name, "conv%d", i);
        const tn_conv l = make(s.p, name, c);
        fill_conv(&l);
        tn_node       *y = tn_conv_apply(&l, input_of(s.g, c->x));
        const tn_shape got = tn_node_shape(y);
        CHECK_MSG(tn_shape_equal(&got, &c->y), "%s: another shape", c->name);
        check_values(c->name, y, c->want, tn_shape_size(&c->y), 0);
    }
    tear_down(&s);
}

TEST(pool, is_as_pytorchs)
{
    setting               s = set_up(TN_EVAL);
    tn_node              *x = input_of(s.g, TN_SHAPE(1, 5, 6, 2));
    const tn_pool_options o = { .stride = { 2, 2 }, .padding = { 1, 1 } };
    CHECK_TORCH(largest, tn_max_pool(x, TN_SHAPE(3, 2), &o));
    CHECK_TORCH(mean, tn_scale(tn_mean_pool(x, TN_SHAPE(3, 2), &o), 6));
    /* a window's size is the stride that nothing is said of */
    check_same("of pairs", tn_max_pool(x, TN_SHAPE(1, 2), NULL),
               tn_max(tn_reshape(x, TN_SHAPE(1, 5, 3, 2, 2)), (const int[]){ 3 }, 1, false), 0);
    tear_down(&s);
}

TEST(batch_norm, is_as_pytorchs)
{
    const double gamma[] = { 2, -1 }, beta[] = { 0.5, 3 }, mean[] = { 1, -2 }, var[] = { 4, 0.25 };
    for (int train = 0; train < 2; train++) {
        setting             s = set_up(train ? TN_TRAIN : TN_EVAL);
        const tn_batch_norm l = tn_batch_norm_new(s.p, "bn", 2);
        CHECK(*(double *)tn_variable_data(l.var) == 1);
        tn_variable_set(l.gamma, gamma, sizeof gamma), tn_variable_set(l.beta, beta, sizeof beta);
        tn_variable_set(l.mean, mean, sizeof mean), tn_variable_set(l.var, var, sizeof var);
        tn_node *assigns[2];
        tn_node *y = tn_batch_norm_apply(&l, input_of(s.g, TN_SHAPE(2, 3, 2)), assigns);
        if (train) check_values("train", y, torch_bn_train, 12, 1e-14);
        else check_values("eval", y, torch_bn_eval, 12, 1e-14);
        CHECK((assigns[0] != NULL) == train && (assigns[1] != NULL) == train);
        tn_program *p = train ? tn_compile(s.g, assigns, 2, NULL) : NULL;
        if (train) CHECK_INT(tn_run(p), TN_OK);
        const double *m = tn_variable_data(l.mean), *v = tn_variable_data(l.var);
        for (int i = 0; train && i < 2; i++)
            CHECK(check_is_near(m[i], torch_bn_mean[i], 1e-15) &&
                  check_is_near(v[i], torch_bn_var[i], 1e-15));
        tn_program_free(p);
        tear_down(&s);
    }
}

TEST(group_norm, is_as_pytorchs)
{
    const double gamma[] = { 2, -1, 0.5, 3 }, beta[] = { 0.5, 3, -2, 1 };
    setting      s = set_up(TN_TRAIN);
    for (int groups = 2; groups <= 4; groups += 2) {
        const tn_group_norm l = tn_group_norm_new(s.p, groups == 2 ? "pairs" : "each", groups, 4);
        CHECK(*(double *)tn_variable_data(l.gamma) == 1);
        CHECK(*(double *)tn_variable_data(l.beta) == 0);
        tn_variable_set(l.gamma, gamma, sizeof gamma), tn_variable_set(l.beta, beta, sizeof beta);
        tn_node *y = tn_group_norm_apply(&l, input_of(s.g, TN_SHAPE(2, 3, 2, 4)));
        check_values(l.name, y, groups == 2 ? torch_gn_pairs : torch_gn_instance, 48, 1e-14);
    }
    /* one group of a row is layer norm, and of nothing there is nothing */
    const tn_group_norm one = tn_group_norm_new(s.p, "one", 1, 4);
    const tn_norm_layer layer = tn_layer_norm_new(s.p, "layer", 4);
    tn_node            *x = input_of(s.g, TN_SHAPE(5, 4));
    check_same("layer norm", tn_group_norm_apply(&one, x), tn_layer_norm_apply(&layer, x), 1e-14);
    tn_node       *none = tn_group_norm_apply(&one, input_of(s.g, TN_SHAPE(0, 3, 4)));
    const tn_shape shape = tn_node_shape(none), want = TN_SHAPE(0, 3, 4);
    CHECK(none && tn_shape_equal(&shape, &want));
    tear_down(&s);
}

/* ---- gradients ------------------------------------------------------------------------------- */

static tn_node *build_conv(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g;
    tn_conv l = *(const tn_conv *)user;
    l.w = in[1], l.b = in[2];
    return tn_conv_apply(&l, in[0]);
}

TEST(conv, gradients)
{
    for (int i = 0; i < N_CASES; i++) {
        setting s = set_up(TN_TRAIN);
        tn_conv l = make(s.p, "conv", &cases[i]);
        double  x[512];
        whole(x, 512, 7, 11, 5), fill_conv(&l);
        const tn_type types[] = { { TN_F64, cases[i].x }, { TN_F64, tn_node_shape(l.w) },
                                  { TN_F64, tn_node_shape(l.b) } };
        const void *const  data[] = { x, tn_variable_data(l.w), tn_variable_data(l.b) };
        tn_gradcheck_report r;
        CHECK_MSG(tn_gradcheck(s.ctx, build_conv, &l, 3, types, data,
                               &(tn_gradcheck_options){ .order = 2 }, &r) == TN_OK,
                  "%s: %s", cases[i].name, tn_error(s.ctx));
        tear_down(&s);
    }
}

static tn_node *build_pools(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g, (void)user;
    const tn_pool_options o = { .stride = { 2, 1 }, .padding = { 1, 0 } };
    return tn_add(tn_max_pool(in[0], TN_SHAPE(3, 2), &o), tn_mean_pool(in[0], TN_SHAPE(3, 2), &o));
}

static tn_node *build_batch_norm(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g;
    tn_batch_norm l = *(const tn_batch_norm *)user;
    l.gamma = in[1], l.beta = in[2];
    tn_node *y = tn_batch_norm_apply(&l, in[0], NULL);
    return tn_mul(y, y); /* the sum of y itself does not depend on x */
}

TEST(pool, gradients)
{
    setting s = set_up(TN_TRAIN);
    double  x[24];
    for (int i = 0; i < 24; i++) x[i] = fill_at(i, 0.3, 2); /* no two alike */
    const tn_type       type = { TN_F64, TN_SHAPE(1, 4, 3, 2) };
    tn_gradcheck_report r;
    CHECK_MSG(tn_gradcheck(s.ctx, build_pools, NULL, 1, &type, (const void *const[]){ x }, NULL,
                           &r) == TN_OK, "%s", tn_error(s.ctx));
    tear_down(&s);
}

TEST(batch_norm, gradients)
{
    setting             s = set_up(TN_TRAIN);
    const tn_batch_norm l = tn_batch_norm_new(s.p, "bn", 2);
    double              x[12], gamma[] = { 2, -1 }, beta[] = { 0.5, 3 };
    for (int i = 0; i < 12; i++) x[i] = fill_at(i, 0.3, 2);
    const tn_type       types[] = { { TN_F64, TN_SHAPE(2, 3, 2) }, { TN_F64, TN_SHAPE(2) },
                                    { TN_F64, TN_SHAPE(2) } };
    const void *const   data[] = { x, gamma, beta };
    tn_gradcheck_report r;
    CHECK_MSG(tn_gradcheck(s.ctx, build_batch_norm, (void *)&l, 3, types, data,
                           &(tn_gradcheck_options){ .order = 2 }, &r) == TN_OK, "%s",
              tn_error(s.ctx));
    tear_down(&s);
}

static tn_node *build_group_norm(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g;
    tn_group_norm l = *(const tn_group_norm *)user;
    l.gamma = in[1], l.beta = in[2];
    tn_node *y = tn_group_norm_apply(&l, in[0]);
    return tn_mul(y, y);
}

TEST(group_norm, gradients)
{
    setting             s = set_up(TN_TRAIN);
    const tn_group_norm l = tn_group_norm_new(s.p, "gn", 2, 4);
    double              x[24], gamma[] = { 2, -1, 0.5, 3 }, beta[] = { 0.5, 3, -2, 1 };
    for (int i = 0; i < 24; i++) x[i] = fill_at(i, 0.3, 2);
    const tn_type       types[] = { { TN_F64, TN_SHAPE(2, 3, 4) }, { TN_F64, TN_SHAPE(4) },
                                    { TN_F64, TN_SHAPE(4) } };
    const void *const   data[] = { x, gamma, beta };
    tn_gradcheck_report r;
    CHECK_MSG(tn_gradcheck(s.ctx, build_group_norm, (void *)&l, 3, types, data,
                           &(tn_gradcheck_options){ .order = 2 }, &r) == TN_OK, "%s",
              tn_error(s.ctx));
    tear_down(&s);
}

/* ---- training -------------------------------------------------------------------------------- */

/* What a batch norm assigns is committed by the step that trains. */
TEST(batch_norm, moves_in_a_training_step)
{
    setting             s = set_up(TN_TRAIN);
    const tn_batch_norm l = tn_batch_norm_new(s.p, "bn", 2);
    tn_optimizer       *opt = tn_sgd_new(s.p, &(tn_sgd_options){ .lr = 0.1 });
    tn_node            *assigns[2];
    tn_node *y = tn_batch_norm_apply(&l, input_of(s.g, TN_SHAPE(2, 3, 2)), assigns);
    tn_program *step = tn_train_step_with(s.g, tn_mean_all(tn_square(y)), opt,
                                          &(tn_train_step_options){ .outputs = assigns,
                                                                    .n_outputs = 2 });
    CHECK_INT(tn_run(step), TN_OK);
    const double *mean = tn_variable_data(l.mean), *gamma = tn_variable_data(l.gamma);
    CHECK(mean[0] != 0 && gamma[0] != 1);
    tn_program_free(step), tn_optimizer_free(opt);
    tear_down(&s);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static void check_refused(setting *s, const tn_node *y, const char *why)
{
    CHECK(y == NULL);
    CHECK_CONTAINS(tn_error(s->ctx), why);
    tn_clear_error(s->ctx);
}

TEST(conv, refuses)
{
    setting        s = set_up(TN_EVAL);
    const tn_shape k = TN_SHAPE(3, 3);
    const struct {
        tn_shape        kernel;
        int64_t         in, out;
        tn_conv_options o;
        const char     *why;
    } wrong[] = {
        { TN_SCALAR, 2, 2, .why = "c: a kernel has 1 to 3 dims" },
        { TN_SHAPE(1, 1, 1, 1), 2, 2, .why = "c: a kernel has 1 to 3 dims" },
        { TN_SHAPE(3, 0), 2, 2, .why = "c: a kernel and a stride are at least 1" },
        { k, 3, 2, { .groups = 2 }, "c: groups do not divide the channels" },
        { k, 2, 2, { .groups = -2 }, "c: groups do not divide the channels" },
        { k, 2, 2, { .stride = { 1, -1 } }, "c: a kernel and a stride are at least 1" },
        { k, 2, 2, { .padding = { -1 } }, "the rest at least 0" },
        { k, 2, 2, { .dilation = { 1, INT64_MAX } }, "c: a window, a stride or a padding over" },
        { k, 2, 2, { .extra = { 0, 1 } }, "c: extra is for transposed ones" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const tn_conv l = tn_conv_new(s.p, "c", wrong[i].kernel, wrong[i].in, wrong[i].out,
                                      &wrong[i].o);
        check_refused(&s, l.w, wrong[i].why);
    }
    const tn_conv l = tn_conv_new(s.p, "c", k, 2, 4, NULL);
    tn_node      *x = input_of(s.g, TN_SHAPE(1, 4, 4, 3));
    check_refused(&s, tn_conv_apply(&l, x), "conv c: x [1,4,4,3] is not a batch of 2 dims and 2");
    tn_conv flat = l;
    flat.w = tn_param(s.p, "flat", TN_SHAPE(4), NULL);
    check_refused(&s, tn_conv_apply(&flat, x), "channels, as w [4] needs it");
    check_refused(&s, tn_conv_apply(&l, tn_flatten(x, 1, 2)), "conv c: x [1,16,3] is not a batch");
    check_refused(&s, tn_conv_apply(&l, input_of(s.g, TN_SHAPE(1, 2, 4, 2))), "windows of 3");
    check_refused(&s, tn_conv_apply(&l, l.w), "c: x is a variable: give it by tn_read(g, x)");
    check_refused(&s, tn_conv_apply(NULL, x), "tn_conv_apply: the layer is NULL");
    check_refused(&s, tn_max_pool(x, TN_SHAPE(2), NULL), "pool: x [b, n.., c] and a window");
    check_refused(&s, tn_mean_pool(x, k, &(tn_pool_options){ .padding = { 2 } }), "half at most");
    check_refused(&s, tn_max_pool(x, TN_SHAPE(2, INT64_MIN), NULL), "pool: x [b, n.., c]");
    check_refused(&s, tn_max_pool(x, k, &(tn_pool_options){ .stride = { -1 } }), "unfold");
    const tn_batch_norm n = tn_batch_norm_new(s.p, "n", 2);
    check_refused(&s, tn_batch_norm_apply(&n, l.w, NULL), "n: x is a variable");
    check_refused(&s, tn_batch_norm_apply(&n, x, NULL), "n: x [1,4,4,3] is not rows of 2 channels");
    const tn_group_norm odd = tn_group_norm_new(s.p, "odd", 2, 3);
    check_refused(&s, odd.gamma, "odd: 2 groups do not divide 3 channels");
    CHECK(tn_group_norm_apply(&odd, x) == NULL);
    tn_group_norm three = tn_group_norm_new(s.p, "three", 3, 3);
    check_refused(&s, tn_group_norm_apply(&three, input_of(s.g, TN_SHAPE(4, 2))), "three: x [4,2]");
    check_refused(&s, tn_group_norm_apply(NULL, x), "tn_group_norm_apply: the layer is NULL");
    three.groups = 2;
    check_refused(&s, tn_group_norm_apply(&three, x), "reshape");
    tear_down(&s);
}

TEST_MAIN
