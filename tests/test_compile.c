/* What compiling shares, leaves out, writes in place and cuts: the same numbers with less work. */
#include "check.h"
#include "libtensor.h"

static tn_ctx *new_ctx(void) { return tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 3 }); }

TEST(compile, common_subexpressions_and_dead_code_cost_nothing)
{
    tn_ctx     *ctx = new_ctx();
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(4));
    tn_node    *a = tn_exp(x), *b = tn_exp(x), *y = tn_add(a, b);
    tn_node    *dead = tn_matmul(tn_reshape(x, TN_SHAPE(1, 4)), tn_reshape(x, TN_SHAPE(4, 1)));
    tn_program *p = tn_compile(g, &y, 1, NULL);
    REQUIRE(p && dead);
    CHECK_INT(tn_program_stats_of(p).calls, 2);
    float in[4] = { 0, 1, 2, 3 };
    tn_feed(p, x, in, sizeof in);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(((const float *)tn_output(p, 0))[1], 2 * exp(1), 1e-6);
    tn_program_free(p);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(compile, views_are_not_copied)
{
    tn_ctx     *ctx = new_ctx();
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F64, TN_SHAPE(64, 32));
    tn_node    *y = tn_sum_all(tn_slice(tn_transpose(tn_reshape(x, TN_SHAPE(32, 64)), 0, 1), 0, 0,
                                        64, 2));
    tn_program *p = tn_compile(g, &y, 1, NULL);
    REQUIRE(p);
    CHECK_INT(tn_program_stats_of(p).steps, 1); /* the sum: nothing is copied */
    tn_program_free(p);
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

/* Lines of a program's dump with this text. */
static int lines_with(const tn_program *p, const char *text)
{
    char  line[4096];
    int   n = 0;
    FILE *file = tmpfile();
    if (!file) return -1;
    tn_program_dump(p, file);
    rewind(file);
    while (fgets(line, sizeof line, file)) n += strstr(line, text) != NULL;
    fclose(file);
    return n;
}

/* The gradients of q, k and v are written where the gradient of qkv, from which they were cut along
 * `axis`, has them: no copy, the same bits. */
static void check_nested(int axis, int64_t t, const int64_t *size, bool dq_is_read)
{
    double dqkv[2][2 * 1100 * 3 * 4];
    for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
        tn_ctx  *ctx = new_ctx();
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_shape  shape = { .rank = 4, .dim = { 2, t, 3, 4 } };
        shape.dim[axis] = size[0] + size[1] + size[2];
        tn_node *x = tn_input(g, "qkv", TN_F64, shape), *part[3], *d[2] = { NULL };
        REQUIRE(tn_split(x, axis, size, 3, part) == TN_OK);
        tn_node *y = tn_attention(part[0], part[1], part[2], NULL, NULL);
        tn_node *loss = tn_sum_all(tn_mul(y, y));
        REQUIRE(tn_grad(loss, NULL, (tn_node *[]){ x, part[0] }, 2, d) == TN_OK);
        tn_program *p = tn_compile(g, d, dq_is_read ? 2 : 1,
                                   &(tn_compile_options){ .no_fusion = no_fusion });
        REQUIRE(p);
        CHECK_INT(lines_with(p, " concat "), no_fusion || dq_is_read);
        double *in = tn_input_data(p, "qkv");
        const int64_t n = tn_shape_size(&shape);
        REQUIRE(n <= (int64_t)(sizeof dqkv[0] / sizeof dqkv[0][0]));
        for (int64_t i = 0; i < n; i++) in[i] = sin((double)i);
        CHECK_INT(tn_run(p), TN_OK);
        memcpy(dqkv[no_fusion], tn_output(p, 0), (size_t)n * sizeof(double));
        if (no_fusion) CHECK(memcmp(dqkv[0], dqkv[1], (size_t)n * sizeof(double)) == 0);
        tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
    }
}

TEST(compile, parts_of_a_concatenation_are_written_in_place)
{
    check_nested(2, 5, (int64_t[]){ 3, 3, 3 }, false);
    check_nested(2, 5, (int64_t[]){ 4, 2, 2 }, true);
    check_nested(3, 7, (int64_t[]){ 2, 2, 4 }, false);
    check_nested(1, 0, (int64_t[]){ 3, 4, 4 }, false);
    check_nested(2, 1100, (int64_t[]){ 1, 1, 1 }, false); /* dq is a sum of parts, */
    check_nested(3, 1100, (int64_t[]){ 1, 1, 2 }, false); /* and its heads lie apart */
}

/* Three attentions, of which only the first gradients are put together; between them stand ops that
 * cannot write rows apart, and whose results are put together too. */
static void nested_and_not(tn_ctx *ctx, bool plain, float *out)
{
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *soft[2], *y[4];
    for (int i = 0; i < 3; i++) {
        tn_node *in[4], *d[3];
        for (int j = 0; j < 4; j++)
            in[j] = tn_sin(tn_reshape(tn_arange(g, TN_F32, 128, i + j, .37),
                                      TN_SHAPE(2, 4, 2, 8)));
        tn_node *a = tn_attention(in[0], in[1], in[2], NULL, NULL);
        if (i) soft[i - 1] = tn_softmax(tn_reshape(in[0], TN_SHAPE(16, 8)), -1);
        REQUIRE(tn_grad(a, in[3], in, 3, d) == TN_OK);
        for (int j = 0; j < 3; j++) d[j] = tn_reshape(d[j], TN_SHAPE(8, 16));
        y[i] = i ? d[0] : tn_concat(d, 3, 1);
    }
    y[3] = tn_concat(soft, 2, 1);
    tn_program *p = tn_compile(g, y, 4, &(tn_compile_options){ .no_fusion = plain });
    REQUIRE(p && tn_run(p) == TN_OK);
    memcpy(out, tn_output(p, 3), 256 * sizeof *out);
    tn_program_free(p), tn_graph_free(g);
}

TEST(compile, a_concatenation_that_went_hides_no_other)
{
    tn_ctx *ctx = new_ctx();
    float   fused[256], plain[256];
    nested_and_not(ctx, false, fused), nested_and_not(ctx, true, plain);
    CHECK(memcmp(fused, plain, sizeof fused) == 0);
    tn_ctx_free(ctx);
}

/* Parts that are turned, cut or of another shape before they are put together. */
static tn_node *part_seen(tn_node *x, int way)
{
    switch (way) {
    case 0: return tn_transpose(x, 1, 2);
    case 1: return tn_reshape(x, TN_SHAPE(4, 32));
    case 2: return tn_slice(x, 0, 0, 1, 1);
    case 3: return tn_flip(x, 1);
    default: return tn_expand(tn_slice(x, 3, 0, 1, 1), tn_node_shape(x));
    }
}

TEST(compile, parts_of_a_concatenation_that_are_seen_otherwise)
{
    static const int axis[] = { 0, 1, 2, 0, 3 };
    tn_ctx          *ctx = new_ctx();
    for (int way = 0; way < 5; way++) {
        tn_graph *g = tn_graph_new(ctx, TN_EVAL);
        tn_node  *in[4], *d[3], *y;
        for (int j = 0; j < 4; j++)
            in[j] = tn_sin(tn_reshape(tn_arange(g, TN_F32, 128, j, .37), TN_SHAPE(2, 4, 2, 8)));
        y = tn_attention(in[0], in[1], in[2], NULL, NULL);
        REQUIRE(tn_grad(y, in[3], in, 3, d) == TN_OK);
        for (int j = 0; j < 3; j++) d[j] = part_seen(d[j], way);
        y = tn_concat(d, 3, axis[way]);
        tn_program *p = tn_compile(g, &y, 1, NULL);
        tn_program *plain = tn_compile(g, &y, 1, &(tn_compile_options){ .no_fusion = true });
        REQUIRE(p && plain && tn_run(p) == TN_OK && tn_run(plain) == TN_OK);
        const tn_shape s = tn_output_type(p, 0).shape;
        CHECK_MSG(memcmp(tn_output(p, 0), tn_output(plain, 0),
                         (size_t)tn_shape_size(&s) * sizeof(float)) == 0, "way %d", way);
        tn_program_free(p), tn_program_free(plain), tn_graph_free(g);
    }
    tn_ctx_free(ctx);
}

/* Where each element of the parts goes apart from the next, there are no rows to write in place. */
TEST(compile, interleaved_parts_of_a_concatenation)
{
    enum { N = 2 * 5 * 2 * 4 * 3 };
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_reshape(tn_sin(tn_arange(g, TN_F32, N, 0, 0.37)), TN_SHAPE(2, 5, 2, 4, 3));
    tn_node  *dx = NULL, *y = tn_attention(tn_select(x, 4, 0), tn_select(x, 4, 1),
                                           tn_select(x, 4, 2), NULL, NULL);
    CHECK_INT(tn_grad(tn_sum_all(tn_sin(y)), NULL, &x, 1, &dx), TN_OK);
    tn_program *p = tn_compile(g, &dx, 1, NULL);
    tn_program *plain = tn_compile(g, &dx, 1, &(tn_compile_options){ .no_fusion = true });
    REQUIRE(p && plain);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_INT(tn_run(plain), TN_OK);
    const float *got = tn_output(p, 0), *want = tn_output(plain, 0);
    for (int i = 0; i < N; i++) CHECK_NEAR(got[i], want[i], 0);
    tn_program_free(p), tn_program_free(plain), tn_graph_free(g), tn_ctx_free(ctx);
}

typedef struct factor {
    double k;
} factor;
TN_SPAN_ATTRS(times, factor, (T)attrs.k * x)

/* Attributes without a table of fields are compared as they are. */
TEST(compile, attributes_without_fields_differ)
{
    const tn_op times = { .name = "times", .arity = 1, .flags = TN_NOT_DIFFERENTIABLE,
                          .attrs_size = sizeof(factor), .infer = tn_infer_same,
                          .span = &times_span };
    tn_ctx     *ctx = new_ctx();
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_full(g, TN_F32, TN_SHAPE(2), 1), *y[2];
    for (int i = 0; i < 2; i++) y[i] = tn_apply(&times, &x, 1, &(factor){ i + 2 });
    tn_program *p = tn_compile(g, y, 2, NULL);
    REQUIRE(p && tn_run(p) == TN_OK);
    for (int i = 0; i < 2; i++) CHECK_NEAR(((const float *)tn_output(p, i))[1], i + 2, 0);
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

static tn_status both_infer(tn_infer *c) { return c->out[0] = c->out[1] = c->in[0], TN_OK; }

static void both_f32(const tn_span_args *args)
{
    const float *x = args->in[0];
    float       *next = args->out[0], *half = args->out[1];
    for (int64_t i = 0; i < args->n; i++) {
        const float v = x[i];
        next[i] = v + 1, half[i] = v / 2;
    }
}

/* More results than a chain may have: it is cut. */
TEST(compile, chains_of_many_results)
{
    enum { OPS = 24 };
    tn_span span = { { { NULL } } };
    for (int level = 0; level < TN_N_CPU_LEVELS; level++) span.fn[TN_F32][level] = both_f32;
    const tn_op both = { .name = "both", .arity = 1, .n_out = 2, .flags = TN_NOT_DIFFERENTIABLE,
                         .infer = both_infer, .span = &span };
    tn_ctx     *ctx = new_ctx();
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(1000)), *out[2 * OPS];
    float       numbers[1000];
    for (int i = 0; i < OPS; i++)
        tn_apply_multi(&both, i ? &out[2 * i - 2] : &x, 1, NULL, out + 2 * i);
    tn_program *p = tn_compile(g, out, 2 * OPS, NULL);
    REQUIRE(p);
    for (int i = 0; i < 1000; i++) numbers[i] = (float)i;
    CHECK_INT(tn_feed(p, x, numbers, sizeof numbers), TN_OK);
    CHECK_INT(tn_run(p), TN_OK);
    for (int i = 0; i < 2 * OPS; i++) {
        const float *y = tn_output(p, i);
        for (int k = 0; k < 1000; k++)
            CHECK_NEAR(y[k], i % 2 ? (k + i / 2) / 2.0 : k + i / 2 + 1, 0);
    }
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

/* A recurrence, h = tanh(h w), of x [3, 4]. */
static tn_node *steps_of(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g;
    tn_node *h = in[0];
    for (int i = 0; i < *(int *)user; i++) h = tn_tanh(tn_matmul(h, in[1]));
    return tn_sum_all(h);
}

/* A matrix that many steps are multiplied by has its gradient by one product. */
TEST(compile, gradients_of_a_matrix_of_many_steps)
{
    enum { STEPS = 5 };
    int             steps = STEPS;
    double          x[12], w[16];
    const tn_type   types[2] = { { TN_F64, TN_SHAPE(3, 4) }, { TN_F64, TN_SHAPE(4, 4) } };
    const void     *data[2] = { x, w };
    tn_ctx         *ctx = new_ctx();
    tn_random_normal((tn_rng){ 1, 2, 3 }, 0, 12, TN_F64, x, 0, 1);
    tn_random_normal((tn_rng){ 1, 2, 4 }, 0, 16, TN_F64, w, 0, 0.5);
    CHECK_MSG(tn_gradcheck(ctx, steps_of, &steps, 2, types, data,
                           &(tn_gradcheck_options){ .order = 2 }, NULL) == TN_OK,
              "%s", tn_error(ctx));
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *in[2] = { tn_input(g, "x", TN_F64, types[0].shape),
                        tn_input(g, "w", TN_F64, types[1].shape) };
    tn_node  *dw = NULL;
    CHECK_INT(tn_grad(steps_of(g, in, &steps), NULL, in + 1, 1, &dw), TN_OK);
    tn_program *p = tn_compile(g, &dw, 1, NULL);
    REQUIRE(p);
    CHECK_INT(lines_with(p, " matmul"), STEPS + (STEPS - 1) + 1);
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

TEST_MAIN
