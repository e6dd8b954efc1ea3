/* Does the gradient check catch what it is there for? Deliberately wrong rules, each a mistake that
 * people make: a wrong sign, a wrong factor, a sum over the broadcast dimension left out, the rule
 * of one operand given to the other, a second derivative that is wrong where the first is right. */
#include "check.h"
#include "libtensor.h"

static tn_status same(tn_infer *c) { return tn_infer_same(c); }

TN_SPAN(cube, x *x *x)
TN_SPAN(product, x *y)

static void right_rule(tn_vjp *c)
{
    c->din[0] = tn_mul(c->dout[0], tn_scale(tn_square(c->in[0]), 3));
}

static void sign_rule(tn_vjp *c)
{
    c->din[0] = tn_mul(c->dout[0], tn_scale(tn_square(c->in[0]), -3));
}

static void factor_rule(tn_vjp *c)
{
    c->din[0] = tn_mul(c->dout[0], tn_scale(tn_square(c->in[0]), 3.001));
}

static void zero_rule(tn_vjp *c) { (void)c; }

/* Right at order 1; but 3 x^2 is taken as a constant, so that order 2 is zero. */
static void second_rule(tn_vjp *c)
{
    c->din[0] = tn_mul(c->dout[0], tn_stop_gradient(tn_scale(tn_square(c->in[0]), 3)));
}

static void right_product(tn_vjp *c)
{
    if (c->want[0]) c->din[0] = tn_mul(c->dout[0], c->in[1]);
    if (c->want[1]) c->din[1] = tn_mul(c->dout[0], c->in[0]);
}

static void swapped_product(tn_vjp *c)
{
    if (c->want[0]) c->din[0] = tn_mul(c->dout[0], c->in[0]);
    if (c->want[1]) c->din[1] = tn_mul(c->dout[0], c->in[1]);
}
/* y is [3] under x [2, 3]: the first row alone instead of the sum over rows. */
static void unsummed_product(tn_vjp *c)
{
    if (c->want[0]) c->din[0] = tn_mul(c->dout[0], c->in[1]);
    if (c->want[1]) c->din[1] = tn_select(tn_mul(c->dout[0], c->in[0]), 0, 0);
}
/* The whole sum in every element: right for a scalar only. */
static void oversummed_product(tn_vjp *c)
{
    if (c->want[0]) c->din[0] = tn_mul(c->dout[0], c->in[1]);
    if (c->want[1])
        c->din[1] = tn_expand(tn_sum_all(tn_mul(c->dout[0], c->in[0])), tn_node_shape(c->in[1]));
}

static tn_node *apply_one(tn_graph *g, tn_node *const *in, void *op)
{
    (void)g;
    return tn_apply(op, in, ((const tn_op *)op)->arity, NULL);
}

/* The status of checking an op with this rule, and the message. */
static tn_status check_rule(const char *name, int arity, void (*vjp)(tn_vjp *), int order,
                            char *message, size_t size)
{
    tn_op op = { .name = name, .doc = "of a test", .arity = arity, .infer = same, .vjp = vjp,
                 .span = arity == 1 ? &cube_span : &product_span };
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    double  x[6] = { 0.5, -1.25, 2, 0.75, -0.3, 1.1 }, y[3] = { 0.7, -0.2, 1.3 };
    tn_type types[2] = { { TN_F64, TN_SHAPE(2, 3) }, { TN_F64, TN_SHAPE(3) } };
    const void *data[2] = { x, y };
    tn_status s = tn_gradcheck(ctx, apply_one, &op, arity, types, data,
                               &(tn_gradcheck_options){ .order = order }, NULL);
    snprintf(message, size, "%s", tn_error(ctx));
    tn_ctx_free(ctx);
    return s;
}

TEST(gradcheck, right_rules_pass)
{
    char message[600];
    CHECK_INT(check_rule("cube", 1, right_rule, 2, message, sizeof message), TN_OK);
    CHECK_STR(message, "");
    CHECK_INT(check_rule("product", 2, right_product, 2, message, sizeof message), TN_OK);
    CHECK_STR(message, "");
}

TEST(gradcheck, wrong_rules_are_caught)
{
    static const struct {
        const char *name;
        int         arity, order;
        void      (*vjp)(tn_vjp *);
    } wrong[] = {
        { "sign", 1, 1, sign_rule },           { "factor", 1, 1, factor_rule },
        { "zero", 1, 1, zero_rule },           { "second", 1, 2, second_rule },
        { "swapped", 2, 1, swapped_product },  { "unsummed", 2, 1, unsummed_product },
        { "oversummed", 2, 1, oversummed_product },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char      message[600];
        tn_status s = check_rule(wrong[i].name, wrong[i].arity, wrong[i].vjp, wrong[i].order,
                                 message, sizeof message);
        CHECK_MSG(s == TN_ERR_GRAD, "the rule with a wrong %s was not caught (%s)", wrong[i].name,
                  message);
        CHECK_CONTAINS(message, "central differences give");
        printf("%-10s caught: %s\n", wrong[i].name, message);
    }
}

TEST(gradcheck, the_second_order_mistake_passes_the_first)
{
    char message[600];
    CHECK_INT(check_rule("second", 1, second_rule, 1, message, sizeof message), TN_OK);
}

/* Reads of a node in parts: step by step, with gaps, overlapping, along two axes, of a leaf. */
static tn_node *parts(tn_graph *g, tn_node *const *in, void *user)
{
    static const struct {
        int     axis;
        int64_t begin, end, step;
    } part[4][8] = {
        { { 0, 0, 1, 1 }, { 0, 1, 2, 1 }, { 0, 2, 3, 1 }, { 0, 3, 4, 1 }, { 0, 4, 5, 1 },
          { 0, 5, 6, 1 } },
        { { 0, 4, 5, 1 }, { 0, 1, 2, 1 } },
        { { 0, 0, 3, 1 }, { 0, 2, 5, 1 }, { 0, 4, 6, 1 }, { 1, 1, 2, 1 }, { 1, 3, 4, 1 },
          { 0, 5, 0, -2 }, { 0, 0, 6, 1 } },
        { { 0, 3, 3, 1 }, { -1, 2, 3, 1 }, { 0, 2, 3, 1 }, { 0, 2, 3, 1 }, { 1, 0, 1, 1 } },
    };
    const int k = *(const int *)user;
    tn_node  *x = k == 1 ? in[0] : tn_square(in[0]), *sum = tn_full(g, TN_F64, TN_SCALAR, 0);
    for (int i = 0; part[k][i].step; i++) {
        tn_node *y = tn_slice(x, part[k][i].axis, part[k][i].begin, part[k][i].end,
                              part[k][i].step);
        y = tn_sum_all(tn_tanh(tn_mul(y, tn_sin(y))));
        sum = tn_add(tn_mul(sum, y), y);
    }
    return sum;
}

TEST(gradcheck, parts_of_a_node)
{
    tn_ctx       *ctx = tn_ctx_new(NULL);
    double        x[24];
    const void   *data = x;
    const tn_type type = { TN_F64, TN_SHAPE(6, 4) };
    tn_random_normal((tn_rng){ 1, 2, 3 }, 0, 24, TN_F64, x, 0, 1);
    for (int k = 0; k < 4; k++) {
        tn_gradcheck_report report;
        CHECK_MSG(tn_gradcheck(ctx, parts, &k, 1, &type, &data,
                               &(tn_gradcheck_options){ .order = 2, .tolerance = 1e-5 },
                               &report) == TN_OK, "%d: %s", k, tn_error(ctx));
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

TEST(gradcheck, f32_is_refused)
{
    tn_ctx     *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    float       x[2] = { 1, 2 };
    tn_type     type = { TN_F32, TN_SHAPE(2) };
    const void *data = x;
    tn_op       op = { .name = "cube", .arity = 1, .infer = same, .vjp = right_rule,
                       .span = &cube_span };
    CHECK_INT(tn_gradcheck(ctx, apply_one, &op, 1, &type, &data, NULL, NULL), TN_ERR_DTYPE);
    CHECK_CONTAINS(tn_error(ctx), "input 0 is f32");
    tn_ctx_free(ctx);
}

TEST_MAIN
