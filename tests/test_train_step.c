/* Training programs and what they promise: accumulation, resuming to the bit, freezing, guards,
 * averages. */
#include "check.h"
#include "failing.h"
#include "files.h"
#include "libtensor.h"

static double *numbers(tn_node *variable) { return tn_variable_data(variable); }

/* ---- accumulation ---------------------------------------------------------------------------- */

/* A small regression: x [n, 3] -> [n, 2], sum of squares. */
typedef struct regression {
    tn_ctx    *ctx;
    tn_params *p;
    tn_linear  l1, l2;
    double     dropout;
} regression;

static regression regression_new(tn_ctx *ctx, tn_dtype dtype)
{
    regression r = { .ctx = ctx, .p = tn_params_new(ctx, dtype) };
    r.l1 = tn_linear_new(r.p, "l1", 3, 5), r.l2 = tn_linear_new(r.p, "l2", 5, 2);
    return r;
}

static tn_node *regression_loss(const regression *r, tn_graph *g, int64_t n, tn_reduction reduction)
{
    tn_dtype d = tn_params_dtype(r->p);
    tn_node *x = tn_input(g, "x", d, TN_SHAPE(n, 3)), *y = tn_input(g, "y", d, TN_SHAPE(n, 2));
    tn_node *h = tn_dropout(tn_gelu(tn_linear_apply(&r->l1, x)), r->dropout);
    return tn_mse(tn_linear_apply(&r->l2, h), y, reduction);
}

static void regression_feed(tn_program *step, tn_dtype d, int first, int n)
{
    for (int k = 0; k < 2; k++) {
        int   width = k ? 2 : 3;
        void *to = tn_input_data(step, k ? "y" : "x");
        for (int i = 0; to && i < n * width; i++) {
            double v = sin(1.3 * (first * width + i) + k);
            if (d == TN_F64) ((double *)to)[i] = v;
            else ((float *)to)[i] = (float)v;
        }
    }
}

static const tn_adamw_options accumulating = { .lr = 0.01, .clip_norm = 0.3, .ema_decay = 0.9,
                                               .accumulate = true };

TEST(train_step, two_micro_batches_are_one_batch)
{
    tn_ctx       *ctx = new_ctx(2);
    regression    whole = regression_new(ctx, TN_F64), parts = regression_new(ctx, TN_F64);
    tn_optimizer *a = tn_adamw_new(whole.p, &accumulating),
        *b = tn_adamw_new(parts.p, &accumulating);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN), *g4 = tn_graph_new(ctx, TN_TRAIN),
        *g2 = tn_graph_new(ctx, TN_TRAIN);
    tn_program   *step = tn_train_step(g, regression_loss(&whole, g, 6, TN_MEAN), a);
    tn_node      *sum4 = regression_loss(&parts, g4, 4, TN_SUM),
        *sum2 = regression_loss(&parts, g2, 2, TN_SUM);
    tn_program   *step4 = tn_accumulate_step(g4, sum4, b,
                                             &(tn_train_step_options){ .count = tn_full(g4, TN_F32,
                                             TN_SCALAR, 8) });
    tn_program   *step2 = tn_accumulate_step(g2, sum2, b,
                                             &(tn_train_step_options){ .count = tn_full(g2, TN_F32,
                                             TN_SCALAR, 4) });
    tn_program   *update = tn_update_step(b, NULL);
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(step && step4 && step2 && update);
    for (int s = 0; s < 5; s++) {
        regression_feed(step, TN_F64, 0, 6), regression_feed(step4, TN_F64, 0, 4),
            regression_feed(step2, TN_F64, 4, 2);
        CHECK_INT(tn_run(step), TN_OK);
        CHECK_INT(tn_run(step4), TN_OK);
        CHECK_INT(tn_run(step2), TN_OK);
        CHECK_INT(tn_run(update), TN_OK);
        CHECK_NEAR(tn_optimizer_grad_norm(b), tn_optimizer_grad_norm(a), 1e-12);
        for (int i = 0; i < tn_params_count(whole.p); i++)
            for (size_t k = 0; k < tn_variable_bytes(tn_params_at(whole.p, i)) / 8; k++)
                CHECK_NEAR(numbers(tn_params_at(parts.p, i))[k],
                           numbers(tn_params_at(whole.p, i))[k], 1e-12);
    }
    CHECK_INT(tn_optimizer_steps(b), 5);
    CHECK_INT(tn_optimizer_runs(b), 10); /* micro-batches draw random numbers of their own */
    CHECK_NEAR(numbers(tn_optimizer_state_find(b, "optimizer.accumulated_count"))[0], 0, 0);
    CHECK_NEAR(numbers(tn_optimizer_state_find(b, "accumulated.l1.w"))[0], 0, 0);
    CHECK_NEAR(tn_item(step4, sum4) + tn_item(step2, sum2),
               12 * *(const double *)tn_output(step, 0), 1e-12);
    /* host's clear */
    CHECK_INT(tn_run(step4), TN_OK);
    CHECK(numbers(tn_optimizer_state_find(b, "accumulated.l1.w"))[0] != 0);
    tn_optimizer_clear_accumulated(b);
    CHECK_NEAR(numbers(tn_optimizer_state_find(b, "accumulated.l1.w"))[0], 0, 0);
    tn_program_free(step), tn_program_free(step4), tn_program_free(step2), tn_program_free(update);
    tn_graph_free(g), tn_graph_free(g4), tn_graph_free(g2);
    tn_optimizer_free(a), tn_optimizer_free(b), tn_params_free(whole.p), tn_params_free(parts.p),
        tn_ctx_free(ctx);
}

/* ---- resuming, bits -------------------------------------------------------------------------- */

/* n runs of the regression with dropout; its weights go to out. */
static void train(const regression *r, tn_optimizer *opt, const tn_train_step_options *o,
                  int first, int n)
{
    tn_graph   *g = tn_graph_new(r->ctx, TN_TRAIN);
    tn_program *step = tn_train_step_with(g, regression_loss(r, g, 6, TN_MEAN), opt, o);
    tn_dtype    d = tn_params_dtype(r->p);
    CHECK_MSG(step, "%s", tn_error(r->ctx));
    for (int i = first; step && i < first + n; i++) {
        regression_feed(step, d, 5 * i, 6);
        CHECK_INT(tn_run(step), TN_OK);
    }
    tn_program_free(step), tn_graph_free(g);
}

static bool same_bits(const tn_node *a, const tn_node *b)
{
    return tn_variable_bytes(a) == tn_variable_bytes(b) &&
           memcmp(tn_variable_data(a), tn_variable_data(b), tn_variable_bytes(a)) == 0;
}

static bool same_weights(const tn_params *a, const tn_params *b)
{
    bool same = true;
    for (int i = 0; i < tn_params_count(a); i++)
        same &= same_bits(tn_params_at(a, i), tn_params_at(b, i));
    return same;
}

static const tn_adamw_options usual = { .lr = 0.01, .clip_norm = 0.5, .ema_decay = 0.9,
                                        .ema_ramp = true };

TEST(train_step, a_resumed_training_has_the_same_bits)
{
    for (int d = 0; d < 2; d++) {
        tn_ctx       *one = new_ctx(1), *two = new_ctx(2);
        regression    a = regression_new(one, d ? TN_F64 : TN_F32),
            b = regression_new(one, d ? TN_F64 : TN_F32);
        regression    c = regression_new(two, d ? TN_F64 : TN_F32);
        a.dropout = b.dropout = c.dropout = 0.3;
        tn_optimizer *oa = tn_adamw_new(a.p, &usual), *ob = tn_adamw_new(b.p, &usual),
            *oc = tn_adamw_new(c.p, &usual);
        train(&a, oa, NULL, 0, 10);
        train(&b, ob, NULL, 0, 4);
        CHECK_INT(tn_params_copy(c.p, b.p), TN_OK);
        CHECK_INT(tn_optimizer_state_count(oc), tn_optimizer_state_count(ob));
        for (int i = 0; i < tn_optimizer_state_count(ob); i++) {
            tn_node *to = tn_optimizer_state_find(oc, tn_optimizer_state_name(ob, i)),
                *from = tn_optimizer_state_at(ob, i);
            CHECK_INT(tn_variable_set(to, tn_variable_data(from), tn_variable_bytes(from)), TN_OK);
        }
        train(&c, oc, NULL, 4, 6); /* another context, two threads instead of one */
        CHECK(same_weights(a.p, c.p));
        for (int i = 0; i < tn_optimizer_state_count(oa); i++)
            CHECK_MSG(same_bits(tn_optimizer_state_at(oa, i), tn_optimizer_state_at(oc, i)),
                      "%s differs", tn_optimizer_state_name(oa, i));
        tn_optimizer_free(oa), tn_optimizer_free(ob), tn_optimizer_free(oc);
        tn_params_free(a.p), tn_params_free(b.p), tn_params_free(c.p), tn_ctx_free(one),
            tn_ctx_free(two);
    }
}

/* More gradients than an op has inputs: each is 1, and their norm the root of their number. */
TEST(train_step, clips_any_number_of_gradients)
{
    enum { N = 4100 };
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_graph  *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node   *loss = tn_full(g, TN_F32, TN_SCALAR, 0);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        loss = tn_add(loss, tn_param(p, name, TN_SCALAR, NULL));
    }
    tn_optimizer *opt = tn_sgd_new(p, &(tn_sgd_options){ .lr = 1, .clip_norm = 2 });
    tn_program   *step = tn_train_step(g, loss, opt);
    CHECK_MSG(step && tn_run(step) == TN_OK, "%s", tn_error(ctx));
    CHECK_NEAR(tn_optimizer_grad_norm(opt), sqrt(N), 1e-9);
    CHECK_NEAR(*(const float *)tn_variable_data(tn_params_at(p, N - 1)), -2 / sqrt(N), 1e-6);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), tn_params_free(p);
    tn_ctx_free(ctx);
}

TEST(train_step, fusing_and_reusing_memory_change_no_bit)
{
    tn_ctx    *ctx = new_ctx(2);
    regression all[4];
    for (int i = 0; i < 4; i++) {
        all[i] = regression_new(ctx, TN_F32);
        all[i].dropout = 0.2;
        tn_optimizer *opt = tn_adamw_new(all[i].p, &usual);
        train(&all[i], opt, &(tn_train_step_options){ .no_fusion = i & 1, .no_reuse = i & 2,
                                                      .skip_nonfinite = true }, 0, 6);
        tn_optimizer_free(opt);
    }
    for (int i = 1; i < 4; i++)
        CHECK_MSG(same_weights(all[0].p, all[i].p), "variant %d differs", i);
    for (int i = 0; i < 4; i++) tn_params_free(all[i].p);
    tn_ctx_free(ctx);
}

TEST(train_step, a_steady_step_allocates_nothing)
{
    tn_ctx       *ctx = new_ctx(2);
    regression    r = regression_new(ctx, TN_F32);
    tn_optimizer *opt = tn_adamw_new(r.p, &usual);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_program   *step = tn_train_step(g, regression_loss(&r, g, 6, TN_MEAN), opt);
    REQUIRE(step);
    regression_feed(step, TN_F32, 0, 6);
    CHECK_INT(tn_run(step), TN_OK);
    uint64_t before = tn_ctx_allocations(ctx);
    for (int i = 0; i < 5; i++) CHECK_INT(tn_run(step), TN_OK);
    CHECK_INT(tn_ctx_allocations(ctx) - before, 0);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), tn_params_free(r.p),
        tn_ctx_free(ctx);
}

/* The global norm squares and adds each of n gradients, however many those are. */
TEST(train_step, the_norm_of_many_gradients_has_its_cost)
{
    enum { N = 40, SIZE = 1000 };
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_graph  *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node   *loss = tn_full(g, TN_F32, TN_SCALAR, 0);
    double     flops[2] = { 0, 0 };
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        loss = tn_add(loss, tn_sum_all(tn_read(g, tn_param(p, name, TN_SHAPE(SIZE), NULL))));
    }
    for (int clips = 0; clips < 2; clips++) {
        tn_optimizer *opt = tn_sgd_new(p, &(tn_sgd_options){ .clip_norm = clips });
        tn_program   *step = tn_train_step(g, loss, opt);
        CHECK_MSG(step, "%s", tn_error(ctx));
        flops[clips] = tn_program_stats_of(step).flops;
        tn_program_free(step), tn_optimizer_free(opt);
    }
    CHECK_NEAR(flops[1] - flops[0], 2 * N * SIZE, 100);
    tn_graph_free(g), tn_params_free(p), tn_ctx_free(ctx);
}

/* ---- what is trained ------------------------------------------------------------------------- */

TEST(train_step, frozen_and_unused_parameters_stay)
{
    tn_ctx    *ctx = new_ctx(1);
    regression r = regression_new(ctx, TN_F32);
    tn_init    ones = tn_init_ones();
    tn_node   *unused = tn_param(r.p, "unused", TN_SHAPE(2, 2), &ones);
    CHECK_INT(tn_params_set_trainable(r.p, "l1.*", false), 2);
    tn_optimizer *opt = tn_adamw_new(r.p, &(tn_adamw_options){ .lr = 0.01, .weight_decay = 0.5,
                                                               .ema_decay = 0.9 });
    CHECK(tn_optimizer_state_find(opt, "adam.m.l1.w") == NULL);
    CHECK(tn_optimizer_state_find(opt, "adam.m.l2.w") != NULL);
    float l1 = *(float *)tn_variable_data(r.l1.w), l2 = *(float *)tn_variable_data(r.l2.w);
    train(&r, opt, NULL, 0, 3);
    CHECK(*(float *)tn_variable_data(r.l1.w) == l1);
    CHECK(*(float *)tn_variable_data(r.l2.w) != l2);
    CHECK(*(float *)tn_variable_data(unused) == 1);
    /* thawed: programs made from now on train it, with moments of its own */
    tn_params_set_trainable(r.p, "l1.*", true);
    train(&r, opt, NULL, 3, 1);
    CHECK(*(float *)tn_variable_data(r.l1.w) != l1);
    CHECK(tn_optimizer_state_find(opt, "adam.m.l1.w") != NULL);
    /* nothing to train */
    tn_params_set_trainable(r.p, "l*", false);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    CHECK(tn_train_step(g, regression_loss(&r, g, 6, TN_MEAN), opt) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_GRAD);
    CHECK_CONTAINS(tn_error(ctx), "none of the optimizer's 1 trainable parameters: unused");
    tn_graph_free(g), tn_optimizer_free(opt), tn_params_free(r.p), tn_ctx_free(ctx);
}

TEST(train_step, a_false_guard_changes_nothing)
{
    for (int kind = 0; kind < 2; kind++) { /* an infinite input; a guard of the caller's */
        tn_ctx       *ctx = new_ctx(1);
        regression    r = regression_new(ctx, TN_F32), copy = regression_new(ctx, TN_F32);
        tn_optimizer *opt = tn_adamw_new(r.p, &usual), *other = tn_adamw_new(copy.p, &usual);
        tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
        tn_node      *loss = regression_loss(&r, g, 6, TN_MEAN),
            *ok = tn_input(g, "ok", TN_BOOL, TN_SCALAR);
        tn_program   *step = tn_train_step_with(g, loss, opt, &(tn_train_step_options){ .guard = ok,
            .skip_nonfinite = true });
        CHECK_MSG(step, "%s", tn_error(ctx));
        if (!step) return;
        regression_feed(step, TN_F32, 0, 6);
        *(uint8_t *)tn_input_data(step, "ok") = kind == 0;
        if (kind == 0) *(float *)tn_input_data(step, "x") = INFINITY;
        CHECK_INT(tn_run(step), TN_ERR_GUARD);
        CHECK(same_weights(r.p, copy.p));
        for (int i = 0; i < tn_optimizer_state_count(opt); i++)
            CHECK(same_bits(tn_optimizer_state_at(opt, i), tn_optimizer_state_at(other, i)));
        tn_clear_error(ctx);
        regression_feed(step, TN_F32, 0, 6);
        *(uint8_t *)tn_input_data(step, "ok") = 1;
        CHECK_INT(tn_run(step), TN_OK);
        CHECK_INT(tn_optimizer_steps(opt), 1);
        tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), tn_optimizer_free(other);
        tn_params_free(r.p), tn_params_free(copy.p), tn_ctx_free(ctx);
    }
}

TEST(train_step, a_nonfinite_micro_batch_is_not_accumulated)
{
    tn_ctx       *ctx = new_ctx(1);
    regression    r = regression_new(ctx, TN_F32);
    tn_optimizer *opt = tn_adamw_new(r.p, &accumulating);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    CHECK(tn_update_step(opt, NULL) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "no program accumulates gradients");
    tn_clear_error(ctx);
    tn_program *step = tn_accumulate_step(g, regression_loss(&r, g, 6, TN_SUM), opt,
                                          &(tn_train_step_options){ .skip_nonfinite = true });
    tn_program *update = tn_update_step(opt, &(tn_train_step_options){ .skip_nonfinite = true });
    REQUIRE(step && update);
    regression_feed(step, TN_F32, 0, 6);
    *(float *)tn_input_data(step, "y") = NAN;
    CHECK_INT(tn_run(step), TN_ERR_GUARD);
    CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "optimizer.accumulated_count"))[0], 0, 0);
    tn_clear_error(ctx);
    regression_feed(step, TN_F32, 0, 6);
    CHECK_INT(tn_run(step), TN_OK);
    CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "optimizer.accumulated_count"))[0], 1, 0);
    CHECK_INT(tn_run(update), TN_OK);
    tn_program_free(step), tn_program_free(update), tn_graph_free(g), tn_optimizer_free(opt);
    tn_params_free(r.p), tn_ctx_free(ctx);
}

/* ---- averages -------------------------------------------------------------------------------- */

TEST(train_step, averages_stand_in_for_weights)
{
    tn_ctx       *ctx = new_ctx(1);
    regression    r = regression_new(ctx, TN_F32), twin = regression_new(ctx, TN_F32);
    tn_optimizer *opt = tn_adamw_new(r.p, &(tn_adamw_options){ .lr = 0.05, .ema_decay = 0.7 });
    train(&r, opt, NULL, 0, 5);
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL), *h = tn_graph_new(ctx, TN_EVAL);
    tn_node    *loss = regression_loss(&r, g, 6, TN_MEAN),
        *twin_loss = regression_loss(&twin, h, 6, TN_MEAN);
    tn_program *eval = tn_compile(g, &loss, 1, NULL),
        *twin_eval = tn_compile(h, &twin_loss, 1, NULL);
    REQUIRE(eval && twin_eval);
    regression_feed(eval, TN_F32, 0, 6), regression_feed(twin_eval, TN_F32, 0, 6);
    CHECK_INT(tn_run(eval), TN_OK);
    double of_weights = tn_item(eval, loss);
    CHECK_INT(tn_optimizer_bind_average(opt, eval), TN_OK);
    CHECK_INT(tn_run(eval), TN_OK);
    double of_average = tn_item(eval, loss);
    CHECK(of_average != of_weights);
    CHECK_INT(tn_optimizer_copy_average(opt, twin.p), TN_OK);
    CHECK_INT(tn_run(twin_eval), TN_OK);
    CHECK_NEAR(tn_item(twin_eval, twin_loss), of_average, 0);
    CHECK_INT(tn_params_bind(r.p, eval), TN_OK);
    CHECK_INT(tn_run(eval), TN_OK);
    CHECK_NEAR(tn_item(eval, loss), of_weights, 0);
    tn_program_free(eval), tn_program_free(twin_eval), tn_graph_free(g), tn_graph_free(h),
        tn_optimizer_free(opt);
    opt = tn_sgd_new(r.p, NULL);
    CHECK_INT(tn_optimizer_copy_average(opt, twin.p), TN_ERR_STATE);
    tn_optimizer_free(opt), tn_params_free(r.p), tn_params_free(twin.p), tn_ctx_free(ctx);
}

/* The average of what no update reaches is the weight, whatever that has been set to. */
static void check_averages(const tn_optimizer *opt, const tn_params *p, const bool is_weight[5])
{
    static const char *const names[] = { "l1.w", "l1.b", "l2.w", "l2.b", "other" };
    tn_ctx    *ctx = tn_params_ctx(p);
    regression copy = regression_new(ctx, TN_F64);
    CHECK(tn_param(copy.p, "other", TN_SHAPE(2), NULL) != NULL);
    CHECK_INT(tn_optimizer_copy_average(opt, copy.p), TN_OK);
    for (int i = 0; i < 5; i++)
        CHECK_MSG((numbers(tn_params_find(copy.p, names[i]))[0] ==
                   numbers(tn_params_find(p, names[i]))[0]) == is_weight[i], "%s", names[i]);
    tn_params_free(copy.p);
}

TEST(train_step, what_is_not_trained_has_no_average)
{
    tn_ctx       *ctx = new_ctx(1);
    regression    r = regression_new(ctx, TN_F64);
    tn_node      *other = tn_param(r.p, "other", TN_SHAPE(2), NULL);
    tn_optimizer *opt = tn_adamw_new(r.p, &(tn_adamw_options){ .lr = 0.05, .ema_decay = 0.7 });
    REQUIRE(opt && other);
    for (int i = 0; i < tn_params_count(r.p); i++) tn_variable_fill(tn_params_at(r.p, i), 0.25);
    check_averages(opt, r.p, (const bool[]){ true, true, true, true, true }); /* no update yet */
    train(&r, opt, NULL, 0, 3);
    tn_variable_fill(other, 0.5);
    check_averages(opt, r.p, (const bool[]){ false, false, false, false, true });
    /* nor has it one after saving and loading; the trained ones have theirs */
    regression    later = regression_new(ctx, TN_F64);
    tn_param(later.p, "other", TN_SHAPE(2), NULL);
    tn_optimizer *resumed = tn_adamw_new(later.p, &(tn_adamw_options){ .ema_decay = 0.7 });
    CHECK_INT(tn_checkpoint_save(path_of(0), r.p, opt, NULL, 0), TN_OK);
    CHECK_INT(tn_checkpoint_load(path_of(0), later.p, resumed), TN_OK);
    check_averages(resumed, later.p, (const bool[]){ false, false, false, false, true });
    tn_variable_fill(tn_params_find(later.p, "other"), 0.75); /* as another optimizer may */
    check_averages(resumed, later.p, (const bool[]){ false, false, false, false, true });
    tn_optimizer_free(resumed), tn_params_free(later.p), remove_files();
    CHECK_INT(tn_params_set_trainable(r.p, "l1.*", false), 2);
    train(&r, opt, NULL, 3, 3);
    check_averages(opt, r.p, (const bool[]){ true, true, false, false, true });
    tn_optimizer_free(opt), tn_params_free(r.p), tn_ctx_free(ctx);
}

/* What was saved before anything was trained holds no averages. */
TEST(train_step, what_was_saved_at_first_has_no_average)
{
    tn_ctx    *ctx = new_ctx(1);
    regression r[2] = { regression_new(ctx, TN_F64), regression_new(ctx, TN_F64) };
    for (int i = 0; i < 2; i++) {
        tn_node      *other = tn_param(r[i].p, "other", TN_SHAPE(2), NULL);
        tn_optimizer *opt = tn_adamw_new(r[i].p, &(tn_adamw_options){ .lr = 0.05,
                                                                      .ema_decay = 0.7 });
        REQUIRE(other && opt);
        tn_variable_fill(other, 0.5 + i); /* read from elsewhere, say */
        if (i == 0) CHECK_INT(tn_checkpoint_save(path_of(0), r[0].p, opt, NULL, 0), TN_OK);
        else CHECK_INT(tn_checkpoint_load(path_of(0), r[1].p, opt), TN_OK);
        if (i == 1) train(&r[1], opt, NULL, 0, 3);
        if (i == 1) check_averages(opt, r[1].p, (const bool[]){ false, false, false, false, true });
        tn_optimizer_free(opt);
    }
    remove_files();
    tn_params_free(r[0].p), tn_params_free(r[1].p), tn_ctx_free(ctx);
}

/* An average begins with the weight, when that is first trained; one that was set by hand stays. */
TEST(train_step, averages_begin_when_training_does)
{
    tn_ctx       *ctx = new_ctx(1);
    regression    r = regression_new(ctx, TN_F64);
    tn_optimizer *opt = tn_adamw_new(r.p, &(tn_adamw_options){ .lr = 1e-9, .ema_decay = 0.5 });
    CHECK_INT(tn_params_set_trainable(r.p, "l1.*", false), 2);
    train(&r, opt, NULL, 0, 2);
    tn_variable_fill(tn_params_find(r.p, "l1.w"), 3);
    CHECK_INT(tn_params_set_trainable(r.p, "l1.*", true), 2);
    train(&r, opt, NULL, 2, 1);
    CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "ema.l1.w"))[0], 3, 1e-6);
    tn_optimizer_free(opt);
    opt = tn_adamw_new(r.p, &(tn_adamw_options){ .lr = 1e-9, .ema_decay = 0.5 });
    tn_variable_fill(tn_optimizer_state_find(opt, "ema.l1.w"), 7);
    *(int64_t *)tn_variable_data(tn_optimizer_state_find(opt, "optimizer.step")) = 5;
    train(&r, opt, NULL, 0, 1);
    CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "ema.l1.w"))[0], 5, 1e-6);
    tn_optimizer_free(opt), tn_params_free(r.p), tn_ctx_free(ctx);
}

/* A parameter that can be trained later gets all of its state, or none of it. */
static bool unfreeze(tn_ctx *ctx)
{
    regression    r = regression_new(ctx, TN_F32);
    tn_params_set_trainable(r.p, "l1.*", false);
    tn_optimizer *opt = tn_adamw_new(r.p, &accumulating);
    tn_params_set_trainable(r.p, "l1.*", true);
    tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node    *loss = opt ? regression_loss(&r, g, 4, TN_MEAN) : NULL;
    tn_program *step = loss ? tn_train_step(g, loss, opt) : NULL;
    const bool  ok = step != NULL;
    for (int i = 0; i < tn_optimizer_state_count(opt); i++)
        for (int k = 0; k < i; k++)
            CHECK(strcmp(tn_optimizer_state_name(opt, i), tn_optimizer_state_name(opt, k)) != 0);
    if (opt && !ok) { /* another try, with memory */
        const tn_status status = tn_ctx_status(ctx);
        tn_clear_error(ctx);
        tn_graph *h = tn_graph_new(ctx, TN_TRAIN);
        step = h ? tn_train_step(h, regression_loss(&r, h, 4, TN_MEAN), opt) : NULL;
        for (int i = 0; i < tn_optimizer_state_count(opt); i++)
            CHECK(tn_optimizer_state_find(opt, tn_optimizer_state_name(opt, i)) ==
                  tn_optimizer_state_at(opt, i));
        tn_graph_free(h);
        tn_clear_error(ctx), tn_fail(ctx, status, NULL);
    }
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), tn_params_free(r.p);
    return ok;
}

TEST(train_step, unfreezing_may_run_out_of_memory) { check_each_allocation(unfreeze); }

/* An update that is made after freezing leaves the frozen weights and drops their gradients. */
TEST(train_step, an_update_leaves_what_is_frozen_since)
{
    tn_ctx       *ctx = new_ctx(1);
    regression    r = regression_new(ctx, TN_F64);
    tn_optimizer *opt = tn_adamw_new(r.p, &accumulating);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_program   *part = tn_accumulate_step(g, regression_loss(&r, g, 6, TN_SUM), opt, NULL),
        *update = tn_update_step(opt, NULL);
    REQUIRE(part && update);
    const double *frozen = numbers(tn_params_find(r.p, "l1.w")),
        *free = numbers(tn_params_find(r.p, "l2.w"));
    for (int round = 0; round < 2; round++) {
        const double before = frozen[0], free_before = free[0];
        regression_feed(part, TN_F64, 0, 6);
        CHECK_INT(tn_run(part), TN_OK);
        CHECK(numbers(tn_optimizer_state_find(opt, "accumulated.l1.w"))[0] != 0);
        CHECK_INT(tn_run(update), TN_OK);
        CHECK((frozen[0] == before) == (round == 1));
        CHECK(free[0] != free_before);
        CHECK_NEAR(numbers(tn_optimizer_state_find(opt, "accumulated.l1.w"))[0], 0, 0);
        CHECK_INT(tn_params_set_trainable(r.p, "l1.*", false), 2);
        tn_program_free(update);
        update = tn_update_step(opt, NULL);
        REQUIRE(update);
    }
    CHECK_INT(tn_params_set_trainable(r.p, "*", false), 4);
    CHECK(!tn_update_step(opt, NULL));
    CHECK_CONTAINS(tn_error(ctx), "of what is trainable now");
    tn_program_free(part), tn_program_free(update), tn_graph_free(g);
    tn_optimizer_free(opt), tn_params_free(r.p), tn_ctx_free(ctx);
}

static bool make_and_run(tn_ctx *ctx)
{
    regression    r = regression_new(ctx, TN_F32);
    tn_optimizer *opt = tn_adamw_new(r.p, &accumulating);
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN), *h = tn_graph_new(ctx, TN_TRAIN);
    tn_program   *step = tn_train_step_with(g, regression_loss(&r, g, 4, TN_MEAN), opt,
                                            &(tn_train_step_options){ .skip_nonfinite = true });
    tn_program   *part = tn_accumulate_step(h, regression_loss(&r, h, 4, TN_SUM), opt, NULL),
        *update = tn_update_step(opt, NULL);
    regression_feed(step, TN_F32, 0, 4), regression_feed(part, TN_F32, 0, 4);
    bool ok = step && part && update && tn_run(step) == TN_OK && tn_run(part) == TN_OK &&
        tn_run(update) == TN_OK;
    tn_program_free(step), tn_program_free(part), tn_program_free(update), tn_graph_free(g),
        tn_graph_free(h);
    tn_optimizer_free(opt), tn_params_free(r.p);
    return ok;
}

TEST(train_step, every_allocation_may_fail) { check_each_allocation(make_and_run); }

TEST_MAIN
