/* Optimizers: against PyTorch's numbers, against the textbook in plain C; their state and
 * errors. */
#include "check.h"
#include "libtensor.h"

static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 7 });
}

static double *numbers(tn_node *variable) { return tn_variable_data(variable); }

static void set(tn_node *variable, const double *x)
{
    CHECK_INT(tn_variable_set(variable, x, tn_variable_bytes(variable)), TN_OK);
}

/* sum(a w^2 / 2 + c w), whose gradient is a w + c */
static tn_node *bowl(tn_graph *g, tn_node *w, const double *a, const double *c)
{
    tn_shape s = tn_node_shape(w);
    tn_node *an = tn_constant(g, TN_F64, s, a), *cn = tn_constant(g, TN_F64, s, c);
    return tn_sum_all(tn_add(tn_scale(tn_mul(tn_mul(an, w), w), 0.5), tn_mul(cn, w)));
}

/* ---- against PyTorch ------------------------------------------------------------------------- */

static const double torch_w[3] = { 0.5, -1.25, 2.0 }, torch_a[3] = { 1, 0.3, 2.5 },
    torch_c[3] = { 0.1, -0.7, 0.05 };

/* Ten steps on the bowl; want: torch.optim's weights after them (2.x, float64). */
static void check_torch(const char *name, tn_ctx *ctx, tn_params *p, tn_optimizer *opt,
                        const double want[3])
{
    tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node    *w = tn_params_find(p, "w"), *loss = bowl(g, w, torch_a, torch_c);
    tn_program *step = tn_train_step(g, loss, opt);
    CHECK_MSG(step, "%s: %s", name, tn_error(ctx));
    set(w, torch_w);
    for (int i = 0; step && i < 10; i++) CHECK_INT(tn_run(step), TN_OK);
    for (int i = 0; i < 3; i++)
        CHECK_MSG(check_is_near(numbers(w)[i], want[i], 1e-13),
                  "%s: w[%d]: expected %.17g, got %.17g, tolerance 1e-13",
                  name, i, want[i], numbers(w)[i]);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), tn_params_free(p),
        tn_ctx_free(ctx);
}

#define TORCH(name, maker, ...)                                                                    \
    do {                                                                                           \
        tn_ctx    *ctx = new_ctx(1);                                                               \
        tn_params *p = tn_params_new(ctx, TN_F64);                                                 \
        tn_param(p, "w", TN_SHAPE(3), NULL);                                                       \
        check_torch(name, ctx, p, maker(p, __VA_ARGS__), want);                                    \
    } while (0)

TEST(optimizer, sgd_is_torchs)
{
    {
        const double want[3] = { 0.10920706405999998, -0.309103121373493, 0.09375329971313474 };
        TORCH("sgd", tn_sgd_new, &(tn_sgd_options){ .lr = 0.1 });
    }
    {
        const double want[3] = { -0.4418789669293296, 2.1847294494166456, 0.7277478206019566 };
        TORCH("momentum", tn_sgd_new, &(tn_sgd_options){ .lr = 0.1, .momentum = 0.9,
                                                         .weight_decay = 0.05, .decay_all = true });
    }
    {
        const double want[3] = { -0.2915902522277766, 2.2206555924891034, 0.23359470743442914 };
        TORCH("nesterov", tn_sgd_new, &(tn_sgd_options){ .lr = 0.1, .momentum = 0.9,
                                                         .nesterov = true, .weight_decay = 0.05,
                                                         .decay_all = true });
    }
}

TEST(optimizer, adam_is_torchs)
{
    {
        const double want[3] = { -0.2906895388565621, -0.26134070132725945, 1.0242383720394146 };
        TORCH("adam", tn_adam_new, &(tn_adam_options){ .lr = 0.1 });
    }
    {
        const double want[3] = { -0.22149142228889265, -0.27529286064269365, 1.0352439063438539 };
        TORCH("adam with options", tn_adam_new,
              &(tn_adam_options){ .lr = 0.1, .weight_decay = 0.2, .beta1 = 0.8,
                                                                    .beta2 = 0.95, .eps = 1e-3,
                                                                    .decay_all = true });
    }
    {
        const double want[3] = { -0.2839828905008626, -0.12010575224271462, 0.7551767936881929 };
        TORCH("adamw", tn_adamw_new, &(tn_adamw_options){ .lr = 0.1, .weight_decay = 0.2,
                                                          .decay_all = true });
    }
    {
        const double want[3] = { -0.27249052639072957, -0.09527186921201707, 0.7202245095742986 };
        TORCH("adamw clipped", tn_adamw_new,
              &(tn_adamw_options){ .lr = 0.1, .weight_decay = 0.2, .clip_norm = 0.5,
                                                                  .decay_all = true });
    }
}

/* ---- against the textbook -------------------------------------------------------------------- */

enum { N_PARAMS = 3, MOST = 4 };

/* Three parameters: a vector, a matrix in group 1, a vector in group 2. */
typedef struct toy {
    tn_ctx    *ctx;
    tn_params *p;
    tn_node   *w[N_PARAMS];
} toy;

static const int    toy_size[N_PARAMS] = { 3, 4, 2 }, toy_group[N_PARAMS] = { 0, 1, 2 };
static const double toy_w[N_PARAMS][MOST] = { { 0.5, -1.25, 2 }, { 1, -0.5, 0.25, -3 },
                                              { 0.1, 0.7 } };
static const double toy_a[N_PARAMS][MOST] = { { 1, 0.3, 2.5 }, { 0.2, 1.5, 0.7, 0.9 }, { 3, 0.1 } };
static const double toy_c[N_PARAMS][MOST] = { { 0.1, -0.7, 0.05 }, { -0.3, 0.2, 0.6, 0.4 },
                                              { -0.9, 0.8 } };

static toy toy_new(int threads)
{
    static const char *const names[N_PARAMS] = { "w", "m", "b" };
    tn_ctx *ctx = new_ctx(threads);
    toy     t = { ctx, tn_params_new(ctx, TN_F64), { NULL } };
    for (int k = 0; k < N_PARAMS; k++) {
        t.w[k] = tn_param(t.p, names[k], k == 1 ? TN_SHAPE(2, 2) : TN_SHAPE(toy_size[k]), NULL);
        set(t.w[k], toy_w[k]);
        tn_params_set_group(t.p, names[k], toy_group[k]);
    }
    return t;
}

static void toy_free(toy *t) { tn_params_free(t->p), tn_ctx_free(t->ctx); }

static tn_node *toy_loss(const toy *t, tn_graph *g)
{
    tn_node *sum = NULL;
    for (int k = 0; k < N_PARAMS; k++) {
        tn_node *part = bowl(g, t->w[k], toy_a[k], toy_c[k]);
        sum = sum ? tn_add(sum, part) : part;
    }
    return sum;
}

/* What the textbook is told. */
typedef struct recipe {
    bool   is_adam, decoupled, nesterov, ramp, decay_all;
    double lr, b1, b2, eps, momentum, decay, clip, ema, count;
    double lr_scale[N_PARAMS], decay_scale[N_PARAMS];
} recipe;

typedef struct textbook {
    double w[N_PARAMS][MOST], m[N_PARAMS][MOST], v[N_PARAMS][MOST], average[N_PARAMS][MOST], norm;
} textbook;

static void textbook_step(const recipe *r, textbook *s, int t)
{
    double squares = 0;
    for (int k = 0; k < N_PARAMS; k++)
        for (int i = 0; i < toy_size[k]; i++)
            squares += pow((toy_a[k][i] * s->w[k][i] + toy_c[k][i]) / r->count, 2);
    s->norm = sqrt(squares);
    double clip = r->clip > 0 && s->norm + 1e-6 > r->clip ? r->clip / (s->norm + 1e-6) : 1;
    double average = t == 1 ? 0 : r->ramp ? fmin(r->ema, t / (9.0 + t)) : r->ema;
    for (int k = 0; k < N_PARAMS; k++) {
        double lr = r->lr * r->lr_scale[k], decay = r->decay_all ||
            k == 1 ? r->decay * r->decay_scale[k] : 0;
        for (int i = 0; i < toy_size[k]; i++) {
            double *w = &s->w[k][i], *m = &s->m[k][i], *v = &s->v[k][i];
            double  g = (toy_a[k][i] * *w + toy_c[k][i]) / r->count * clip;
            if (r->decoupled) *w -= lr * decay * *w;
            else g += decay * *w;
            if (r->is_adam) {
                *m = r->b1 * *m + (1 - r->b1) * g, *v = r->b2 * *v + (1 - r->b2) * g * g;
                *w -= lr * (*m / (1 - pow(r->b1, t))) / (sqrt(*v / (1 - pow(r->b2, t))) + r->eps);
            } else {
                *m = r->momentum * *m + g;
                *w -= lr * (r->nesterov ? g + r->momentum * *m : *m);
            }
            s->average[k][i] = average * s->average[k][i] + (1 - average) * *w;
        }
    }
}

/* Ten steps of both. */
static void check_textbook(const char *name, toy *t, tn_optimizer *opt, const recipe *r,
                           bool averages)
{
    tn_graph   *g = tn_graph_new(t->ctx, TN_TRAIN);
    tn_node    *count = tn_full(g, TN_F32, TN_SCALAR, r->count);
    tn_program *step = tn_train_step_with(g, toy_loss(t, g), opt,
                                          &(tn_train_step_options){ .count = count });
    textbook    book = { .norm = 0 };
    CHECK_MSG(step, "%s: %s", name, tn_error(t->ctx));
    memcpy(book.w, toy_w, sizeof toy_w);
    for (int s = 1; step && s <= 10; s++) {
        CHECK_INT(tn_run(step), TN_OK);
        textbook_step(r, &book, s);
        CHECK_INT(tn_optimizer_steps(opt), s);
        if (r->clip > 0) CHECK_NEAR(tn_optimizer_grad_norm(opt), book.norm, 1e-12);
        for (int k = 0; k < N_PARAMS; k++) {
            char label[32];
            snprintf(label, sizeof label, "ema.%s", tn_variable_name(t->w[k]));
            tn_node *average = tn_optimizer_state_find(opt, label);
            CHECK(!averages == !average);
            for (int i = 0; i < toy_size[k]; i++) {
                CHECK_MSG(check_is_near(numbers(t->w[k])[i], book.w[k][i], 1e-12),
                          "%s: step %d, parameter %d, element %d: expected %.17g, got %.17g, "
                          "tolerance 1e-12",
                          name, s, k, i, book.w[k][i], numbers(t->w[k])[i]);
                if (averages)
                    CHECK_MSG(check_is_near(numbers(average)[i], book.average[k][i], 1e-12),
                              "%s: step %d, average %d, element %d: expected %.17g, got %.17g, "
                              "tolerance 1e-12",
                              name, s, k, i, book.average[k][i], numbers(average)[i]);
            }
        }
    }
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), toy_free(t);
}

#define ONES { 1, 1, 1 }

TEST(optimizer, sgd_is_the_textbooks)
{
    toy t = toy_new(1);
    check_textbook("sgd", &t, tn_sgd_new(t.p, &(tn_sgd_options){ .lr = 0.05, .weight_decay = 0.1 }),
                   &(recipe){ .lr = 0.05, .decay = 0.1, .count = 1, .lr_scale = ONES,
                              .decay_scale = ONES }, false);
    t = toy_new(1);
    check_textbook("nesterov, clipped, averaged", &t,
                   tn_sgd_new(t.p, &(tn_sgd_options){ .lr = 0.05, .weight_decay = 0.1,
                                                      .momentum = 0.9, .nesterov = true,
                                                      .clip_norm = 0.7, .ema_decay = 0.8 }),
                   &(recipe){ .lr = 0.05, .decay = 0.1, .momentum = 0.9, .nesterov = true,
                              .clip = 0.7, .ema = 0.8, .count = 3, .lr_scale = ONES,
                              .decay_scale = ONES }, true);
}

TEST(optimizer, adam_is_the_textbooks)
{
    toy t = toy_new(1);
    check_textbook("adam", &t,
                   tn_adam_new(t.p, &(tn_adam_options){ .lr = 0.02, .weight_decay = 0.3,
                                                        .decay_all = true }),
                   &(recipe){ .is_adam = true, .lr = 0.02, .b1 = 0.9, .b2 = 0.999, .eps = 1e-8,
                              .decay = 0.3, .decay_all = true, .count = 1, .lr_scale = ONES,
                              .decay_scale = ONES }, false);
    t = toy_new(2);
    check_textbook("adamw with groups, clipped, averaged with a ramp", &t,
                   tn_adamw_new(t.p, &(tn_adamw_options){
                       .lr = 0.02, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-4, .clip_norm = 1.5,
                       .ema_decay = 0.5, .ema_ramp = true, .decay_all = true,
                       .group = { [1] = { .lr_scale = 2, .decay_scale = 0.5 },
                                  [2] = { .lr_scale = 3, .decay_scale = TN_NONE } } }),
                   &(recipe){ .is_adam = true, .decoupled = true, .lr = 0.02, .b1 = 0.8, .b2 = 0.9,
                              .eps = 1e-4, .decay = 0.01, .decay_all = true, .clip = 1.5,
                              .ema = 0.5, .ramp = true, .count = 2, .lr_scale = { 1, 2, 3 },
                              .decay_scale = { 1, 0.5, 0 } }, true);
    t = toy_new(1);
    check_textbook("adam without memory", &t,
                   tn_adamw_new(t.p, &(tn_adamw_options){ .lr = 0.02, .beta1 = TN_NONE,
                                                          .beta2 = TN_NONE,
                                                          .weight_decay = TN_NONE }),
                   &(recipe){ .is_adam = true, .decoupled = true, .lr = 0.02, .eps = 1e-8,
                              .count = 1, .lr_scale = ONES, .decay_scale = ONES }, false);
}

/* Weights that are loaded after the optimizer was made are what their averages begin with,
 * whichever of two programs runs first. */
TEST(optimizer, averages_begin_with_the_weights)
{
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_params    *p = tn_params_new(ctx, TN_F64);
    tn_node      *w[2] = { tn_param(p, "a", TN_SHAPE(1), NULL),
                           tn_param(p, "b", TN_SHAPE(1), NULL) };
    tn_optimizer *opt = tn_sgd_new(p, &(tn_sgd_options){ .lr = 0.1, .ema_decay = 0.9 });
    tn_program   *step[2];
    for (int i = 0; i < 2; i++) tn_variable_fill(w[i], 5);
    for (int i = 0; i < 2; i++) {
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        step[i] = tn_train_step(g, tn_sum_all(tn_square(tn_read(g, w[i]))), opt);
        tn_graph_free(g);
    }
    for (int i = 1; i >= 0; i--) CHECK_INT(tn_run(step[i]), TN_OK);
    CHECK_NEAR(numbers(w[0])[0], 4, 1e-15);
    CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "ema.a"))[0], 0.9 * 5 + 0.1 * 4, 1e-15);
    for (int i = 0; i < 2; i++) tn_program_free(step[i]);
    tn_optimizer_free(opt), tn_params_free(p), tn_ctx_free(ctx);
}

/* What a step would have trained that was not to be had is its own average still. */
TEST(optimizer, a_step_that_fails_trains_nothing)
{
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_params    *p = tn_params_new(ctx, TN_F64), *q = tn_params_new(ctx, TN_F64);
    tn_node      *w = tn_param(p, "w", TN_SHAPE(1), NULL), *v = tn_param(p, "v", TN_SHAPE(1), NULL);
    tn_optimizer *opt = tn_sgd_new(p, &(tn_sgd_options){ .lr = 0.1, .ema_decay = 0.9 });
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node      *loss = tn_sum_all(tn_square(tn_add(tn_read(g, w), v)));
    CHECK(!tn_train_step_with(g, loss, opt, &(tn_train_step_options){ .recompute = "nothing" }));
    tn_clear_error(ctx);
    tn_variable_fill(w, 5);
    tn_program *step = tn_train_step(g, tn_sum_all(tn_square(tn_read(g, v))), opt);
    REQUIRE(step && tn_run(step) == TN_OK);
    tn_node *copy = tn_param(q, "w", TN_SHAPE(1), NULL);
    tn_param(q, "v", TN_SHAPE(1), NULL);
    CHECK_INT(tn_optimizer_copy_average(opt, q), TN_OK);
    CHECK_NEAR(numbers(copy)[0], 5, 0);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt);
    tn_params_free(p), tn_params_free(q), tn_ctx_free(ctx);
}

TEST(optimizer, what_the_host_sets_counts_from_the_next_run)
{
    toy           t = toy_new(1);
    tn_optimizer *opt = tn_sgd_new(t.p, &(tn_sgd_options){ .lr = 0.5, .clip_norm = 1,
                                                           .ema_decay = 0.9 });
    tn_graph     *g = tn_graph_new(t.ctx, TN_TRAIN);
    tn_program   *step = tn_train_step(g, toy_loss(&t, g), opt);
    REQUIRE(step);
    tn_optimizer_set_lr(opt, 0.125);
    CHECK_NEAR(tn_optimizer_lr(opt), 0.125, 0);
    CHECK_INT(tn_optimizer_set_clip_norm(opt, 0), TN_OK); /* no clipping */
    CHECK_INT(tn_run(step), TN_OK);
    CHECK_NEAR(numbers(t.w[0])[0], 0.5 - 0.125 * (0.5 + 0.1), 1e-15);
    CHECK_INT(tn_optimizer_set_ema_decay(opt, 0.25), TN_OK);
    double before = numbers(t.w[0])[0];
    CHECK_INT(tn_run(step), TN_OK);
    CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "ema.w"))[0],
               0.25 * before + 0.75 * numbers(t.w[0])[0], 1e-15);
    tn_optimizer_set_weight_decay(opt, 0.5);
    before = numbers(t.w[1])[0]; /* a matrix: it decays */
    CHECK_INT(tn_run(step), TN_OK);
    CHECK_NEAR(numbers(t.w[1])[0], before - 0.125 * (0.2 * before - 0.3 + 0.5 * before), 1e-15);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt);
    opt = tn_sgd_new(t.p, NULL);
    CHECK_NEAR(tn_optimizer_lr(opt), 1e-3, 0);
    CHECK_INT(tn_optimizer_set_clip_norm(opt, 1), TN_ERR_STATE);
    CHECK_CONTAINS(tn_error(t.ctx), "clip_norm");
    tn_optimizer_free(opt), toy_free(&t);
}

/* ---- state and errors ------------------------------------------------------------------------ */

TEST(optimizer, state_is_enumerable_by_name)
{
    toy           t = toy_new(1);
    tn_optimizer *opt = tn_adamw_new(t.p, &(tn_adamw_options){ .clip_norm = 1, .ema_decay = 0.9,
                                                               .accumulate = true });
    static const char *const want[] = { "optimizer.step", "optimizer.run", "optimizer.lr",
                                        "optimizer.weight_decay",
        "optimizer.clip_norm", "optimizer.ema_decay", "optimizer.accumulated_count", "adam.m.w",
        "adam.v.w", "accumulated.w",
        "ema.w", "adam.m.m", "adam.v.m", "accumulated.m", "ema.m", "adam.m.b", "adam.v.b",
        "accumulated.b", "ema.b" };
    CHECK_INT(tn_optimizer_state_count(opt), sizeof want / sizeof want[0]);
    for (int i = 0; i < (int)(sizeof want / sizeof want[0]); i++)
        CHECK_STR(tn_optimizer_state_name(opt, i), want[i]);
    CHECK_STR(tn_optimizer_kind(opt), "adamw");
    CHECK(isnan(tn_optimizer_grad_norm(opt)));
    tn_optimizer_free(opt);
    opt = tn_sgd_new(t.p, &(tn_sgd_options){ .momentum = 0.9 });
    CHECK(tn_optimizer_state_find(opt, "sgd.momentum.m") != NULL);
    tn_optimizer_free(opt), toy_free(&t);
}

TEST(optimizer, wrong_arguments_are_refused)
{
    toy t = toy_new(1);
    CHECK(tn_adam_new(t.p, &(tn_adam_options){ .beta1 = 1 }) == NULL);
    CHECK_CONTAINS(tn_error(t.ctx), "beta1 is 1, not in [0, 1)");
    tn_clear_error(t.ctx);
    CHECK(tn_sgd_new(t.p, &(tn_sgd_options){ .momentum = 1.5 }) == NULL);
    tn_clear_error(t.ctx);
    CHECK(tn_sgd_new(t.p, &(tn_sgd_options){ .lr = NAN }) == NULL);
    tn_clear_error(t.ctx);
    CHECK(tn_adamw_new(NULL, NULL) == NULL);
    tn_optimizer *opt = tn_sgd_new(t.p, NULL);
    tn_graph     *g = tn_graph_new(t.ctx, TN_TRAIN), *h = tn_graph_new(t.ctx, TN_TRAIN);
    tn_node      *loss = toy_loss(&t, g);
    CHECK(tn_train_step(g, NULL, opt) == NULL);
    CHECK_CONTAINS(tn_error(t.ctx), "the loss is NULL");
    tn_clear_error(t.ctx);
    CHECK(tn_train_step(g, loss, NULL) == NULL);
    CHECK_CONTAINS(tn_error(t.ctx), "the optimizer is NULL");
    tn_clear_error(t.ctx);
    CHECK(tn_train_step(h, loss, opt) == NULL);
    CHECK_CONTAINS(tn_error(t.ctx), "another graph");
    tn_clear_error(t.ctx);
    CHECK(tn_train_step(g, tn_read(g, t.w[0]), opt) == NULL); /* no scalar */
    CHECK_CONTAINS(tn_error(t.ctx), "the loss is [3], not one number");
    tn_clear_error(t.ctx);
    CHECK(tn_train_step_with(g, loss, opt, &(tn_train_step_options){ .count = tn_full(g, TN_F32,
        TN_SHAPE(2), 1) }) == NULL);
    CHECK_CONTAINS(tn_error(t.ctx), "rank 1");
    tn_clear_error(t.ctx);
    CHECK(tn_accumulate_step(g, loss, opt, NULL) == NULL);
    CHECK_STR(tn_error(t.ctx), "the optimizer was made without .accumulate");
    tn_clear_error(t.ctx);
    /* an error while building the model is the one that is told */
    tn_node *bad = tn_matmul(tn_read(g, t.w[0]), t.w[1]);
    CHECK(tn_train_step(g, bad, opt) == NULL);
    CHECK_CONTAINS(tn_error(t.ctx), "matmul");
    tn_graph_free(g), tn_graph_free(h), tn_optimizer_free(opt), toy_free(&t);
}

TEST(optimizer, a_count_of_zero_is_no_gradient)
{
    toy           t = toy_new(1);
    tn_optimizer *opt = tn_sgd_new(t.p, &(tn_sgd_options){ .lr = 1 });
    tn_graph     *g = tn_graph_new(t.ctx, TN_TRAIN);
    tn_program   *step = tn_train_step_with(g, toy_loss(&t, g), opt,
                                            &(tn_train_step_options){ .count = tn_full(g, TN_F64,
                                            TN_SCALAR, 0) });
    REQUIRE(step);
    CHECK_INT(tn_run(step), TN_OK);
    CHECK_NEAR(numbers(t.w[0])[0], toy_w[0][0], 0);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), toy_free(&t);
}

/* It is none to divide by: the weights tell, or skip_nonfinite keeps them. */
TEST(optimizer, a_count_that_is_no_number_is_no_count)
{
    for (int skips = 0; skips < 2; skips++) {
        toy           t = toy_new(1);
        tn_optimizer *opt = tn_adamw_new(t.p, &(tn_adamw_options){ .accumulate = true });
        tn_program   *step[2];
        for (int i = 0; i < 2; i++) {
            tn_graph *g = tn_graph_new(t.ctx, TN_TRAIN);
            tn_train_step_options o = { .count = tn_full(g, TN_F64, TN_SCALAR, NAN),
                                        .skip_nonfinite = skips };
            step[i] = i ? tn_accumulate_step(g, toy_loss(&t, g), opt, &o)
                        : tn_train_step_with(g, toy_loss(&t, g), opt, &o);
            tn_graph_free(g);
            REQUIRE(step[i]);
            CHECK_INT(tn_run(step[i]), skips ? TN_ERR_GUARD : TN_OK);
            tn_program_free(step[i]);
            tn_clear_error(t.ctx);
        }
        CHECK_NEAR(numbers(t.w[0])[0], skips ? toy_w[0][0] : NAN, 0);
        CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "optimizer.accumulated_count"))[0],
                   skips ? 0 : NAN, 0);
        tn_optimizer_free(opt), toy_free(&t);
    }
}

TEST_MAIN
