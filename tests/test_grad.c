/* Gradients: missing paths, orders, edges of domains, 16-bit values, rules of one's own. */
#include "check.h"
#include "libtensor.h"

static tn_ctx *new_ctx(void) { return tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 3 }); }

TEST(grad, missing_paths_are_errors_and_higher_orders_work)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_constant(g, TN_F64, TN_SCALAR, &(double){ 0.7 }),
        *z = tn_full(g, TN_F64, TN_SCALAR, 2);
    tn_node  *y = tn_sin(x), *d1 = NULL, *d2 = NULL, *d3 = NULL;
    CHECK_INT(tn_grad(y, NULL, &z, 1, &d1), TN_ERR_GRAD);
    CHECK(d1 == NULL);
    tn_clear_error(ctx);
    CHECK_INT(tn_grad(tn_stop_gradient(y), NULL, &x, 1, &d1), TN_ERR_GRAD);
    tn_clear_error(ctx);
    CHECK_INT(tn_grad(y, NULL, &x, 1, &d1), TN_OK);
    CHECK_INT(tn_grad(d1, NULL, &x, 1, &d2), TN_OK);
    CHECK_INT(tn_grad(d2, NULL, &x, 1, &d3), TN_OK);
    double v = 0;
    CHECK_INT(tn_eval(d3, &v, sizeof v), TN_OK);
    CHECK_NEAR(v, -cos(0.7), 1e-14);
    tn_node *t = tn_full(g, TN_F64, TN_SCALAR, 3), *j = tn_jvp(tn_mul(x, y), &x, &t, 1);
    CHECK_INT(tn_eval(j, &v, sizeof v), TN_OK);
    CHECK_NEAR(v, 3 * (sin(0.7) + 0.7 * cos(0.7)), 1e-14);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* Probabilities of 0 are common in sums of them: their gradient is a number. */
TEST(grad, atan2_of_the_origin)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *y = tn_constant(g, TN_F64, TN_SHAPE(2), (double[]){ 0, 3 });
    tn_node  *x = tn_constant(g, TN_F64, TN_SHAPE(2), (double[]){ 0, 4 });
    tn_node  *d[2], *dd;
    double    v[2];
    REQUIRE(tn_grad(tn_sum_all(tn_atan2(y, x)), NULL, (tn_node *[]){ y, x }, 2, d) == TN_OK);
    CHECK_INT(tn_eval(d[0], v, sizeof v), TN_OK);
    CHECK_NEAR(v[0], 0, 0);
    CHECK_NEAR(v[1], 4 / 25.0, 1e-16);
    CHECK_INT(tn_eval(d[1], v, sizeof v), TN_OK);
    CHECK_NEAR(v[0], 0, 0);
    CHECK_NEAR(v[1], -3 / 25.0, 1e-16);
    CHECK_INT(tn_grad(tn_sum_all(d[0]), NULL, &x, 1, &dd), TN_OK);
    CHECK_INT(tn_eval(dd, v, sizeof v), TN_OK);
    CHECK(isfinite(v[0]));
    CHECK_NEAR(v[1], (9 - 16) / 625.0, 1e-16);
    tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(grad, logaddexp_of_equal_infinities)
{
    tn_ctx      *ctx = new_ctx();
    tn_graph    *g = tn_graph_new(ctx, TN_TRAIN);
    const double xs[] = { -INFINITY, INFINITY, -INFINITY, NAN, 1 };
    const double ys[] = { -INFINITY, INFINITY, 1, -INFINITY, 1 };
    const double want[] = { 0.5, 0.5, 0, NAN, 0.5 };
    double       got[5];
    tn_node     *x = tn_constant(g, TN_F64, TN_SHAPE(5), xs), *dx = NULL;
    tn_node     *y = tn_constant(g, TN_F64, TN_SHAPE(5), ys);
    CHECK(tn_grad(tn_sum_all(tn_logaddexp(x, y)), NULL, &x, 1, &dx) == TN_OK);
    CHECK(tn_eval(dx, got, sizeof got) == TN_OK);
    for (int i = 0; i < 5; i++)
        CHECK_MSG(got[i] == want[i] || (isnan(got[i]) && isnan(want[i])), "%d: expected %g, got %g",
                  i, want[i], got[i]);
    tn_node *ddx = NULL; /* s (1 - s), of s = sigmoid(x - y) */
    CHECK(tn_grad(tn_sum_all(dx), NULL, &x, 1, &ddx) == TN_OK);
    CHECK(tn_eval(ddx, got, sizeof got) == TN_OK);
    CHECK_NEAR(got[4], 0.25, 0);
    tn_graph_free(g), tn_ctx_free(ctx);
}

/* Of 16-bit values that are used more than once, or repeated: summed in f32. */
TEST(grad, of_16_bit_values)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_constant(g, TN_F32, TN_SHAPE(2), (float[]){ 1, 2 }), *dx = NULL;
    tn_node  *h = tn_cast(x, TN_BF16), *wide = tn_expand(h, TN_SHAPE(3, 2));
    tn_node  *mask = tn_constant(g, TN_BOOL, TN_SHAPE(2), (unsigned char[]){ 1, 0 });
    tn_node  *y = tn_cast(tn_concat((tn_node *[]){ h, h, tn_where(mask, h, tn_flip(h, 0)) }, 3, 0),
                          TN_F32);
    float     got[2];
    y = tn_add(tn_sum_all(y), tn_sum_all(tn_cast(wide, TN_F32)));
    CHECK_MSG(tn_grad(y, NULL, &x, 1, &dx) == TN_OK, "%s", tn_error(ctx));
    CHECK_INT(tn_eval(dx, got, sizeof got), TN_OK);
    CHECK_NEAR(got[0], 2 + 3 + 2, 0); /* h[0] and, in the place of h[1], flipped h[1] = h[0] */
    CHECK_NEAR(got[1], 2 + 3, 0);
    tn_graph_free(g), tn_ctx_free(ctx);
}

static void rounded_rule(tn_graph *g, tn_node *const *x, int n, tn_node *y, tn_node *dy,
                         tn_node **dx, void *user)
{
    (void)g, (void)x, (void)n, (void)user;
    dx[0] = tn_mul(dy, y);
}

/* y in a rule has the rule, too: of y' = y the second derivative is y, and not that of round. */
TEST(grad, a_rule_holds_in_second_order)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_constant(g, TN_F64, TN_SHAPE(2), (double[]){ 1.2, 2.9 }), *dx = NULL,
        *ddx = NULL;
    double    v[2];
    tn_node  *y = tn_custom_grad(tn_round(x), &x, 1, rounded_rule, NULL);
    CHECK_INT(tn_grad(tn_sum_all(y), NULL, &x, 1, &dx), TN_OK);
    CHECK_INT(tn_grad(tn_sum_all(dx), NULL, &x, 1, &ddx), TN_OK);
    CHECK_INT(tn_eval(ddx, v, sizeof v), TN_OK);
    CHECK_NEAR(v[0], 1, 0);
    CHECK_NEAR(v[1], 3, 0);
    tn_graph_free(g), tn_ctx_free(ctx);
}

static void twice_rule(tn_graph *g, tn_node *const *x, int n, tn_node *y, tn_node *dy,
                       tn_node **dx, void *user)
{
    (void)g, (void)x, (void)n, (void)y;
    dx[0] = tn_scale(dy, *(double *)user);
}

TEST(grad, a_composition_may_have_a_rule_of_its_own)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_constant(g, TN_F64, TN_SHAPE(2), (double[]){ 1, 2 }), *dx = NULL;
    double    factor = 7, v[2];
    tn_node  *y = tn_custom_grad(tn_square(x), &x, 1, twice_rule, &factor);
    CHECK_INT(tn_grad(tn_sum_all(y), NULL, &x, 1, &dx), TN_OK);
    CHECK_INT(tn_eval(dx, v, sizeof v), TN_OK);
    CHECK_NEAR(v[0], 7, 0);
    CHECK_INT(tn_eval(y, v, sizeof v), TN_OK);
    CHECK_NEAR(v[1], 4, 0);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* A stopped value that is asked for has a gradient, which goes no further to what it is made of. */
TEST(grad, of_parts_of_the_later_parts)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_arange(g, TN_F32, 6, 0, 1), *part[3], *dx = NULL;
    REQUIRE(tn_split(x, 0, (int64_t[]){ 1, 2, 3 }, 3, part) == TN_OK);
    tn_node *y = tn_add(tn_slice(part[1], 0, 1, 2, 1), tn_slice(part[2], 0, 2, 3, 1));
    CHECK_INT(tn_grad(tn_sum_all(tn_square(y)), NULL, &x, 1, &dx), TN_OK);
    tn_program *p = tn_compile(g, &dx, 1, NULL);
    REQUIRE(p && tn_run(p) == TN_OK);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(((const float *)tn_output(p, 0))[i], i == 2 || i == 5 ? 2 * (2 + 5) : 0, 0);
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(grad, of_a_stopped_value_and_of_its_source)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_constant(g, TN_F64, TN_SCALAR, &(double){ 3 }), *s = tn_stop_gradient(x);
    tn_node  *d[2] = { NULL };
    double    v = 0;
    CHECK_MSG(tn_grad(tn_mul(x, tn_square(s)), NULL, (tn_node *[]){ x, s }, 2, d) == TN_OK, "%s",
              tn_error(ctx));
    CHECK_INT(tn_eval(d[0], &v, sizeof v), TN_OK);
    CHECK_NEAR(v, 9, 0);
    CHECK_INT(tn_eval(d[1], &v, sizeof v), TN_OK);
    CHECK_NEAR(v, 18, 0);
    tn_graph_free(g), tn_ctx_free(ctx);
}

/* Of what stands inside of a composition with a rule there is none, and no silent zero. */
TEST(grad, a_rule_has_the_gradients_of_its_inputs_alone)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_constant(g, TN_F64, TN_SHAPE(2), (double[]){ 1, 2 }), *dx = NULL;
    tn_node  *w = tn_sin(x), *z = tn_cos(x);
    double    factor = 7, v[2];
    tn_node  *y = tn_sum_all(tn_custom_grad(tn_mul(z, w), &z, 1, twice_rule, &factor));
    CHECK_INT(tn_grad(y, NULL, &w, 1, &dx), TN_ERR_GRAD);
    tn_clear_error(ctx);
    CHECK_INT(tn_grad_or_none(y, NULL, &w, 1, &dx), TN_OK);
    CHECK(dx == NULL);
    CHECK_INT(tn_grad(y, NULL, &x, 1, &dx), TN_OK);
    CHECK_INT(tn_eval(dx, v, sizeof v), TN_OK);
    CHECK_NEAR(v[1], -7 * sin(2), 1e-14);
    tn_graph_free(g), tn_ctx_free(ctx);
}

TEST_MAIN
