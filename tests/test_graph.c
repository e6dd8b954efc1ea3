/* The graph and its programs: errors that flow, sharing, fusion, memory, commits, allocations. */
#include "check.h"
#include "libtensor.h"

static tn_ctx *new_ctx(void) { return tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 3 }); }

/* ---- building and errors --------------------------------------------------------------------- */

TEST(graph, first_error_is_kept_and_null_flows)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *a = tn_input(g, "a", TN_F32, TN_SHAPE(2, 3)),
        *b = tn_input(g, "b", TN_F32, TN_SHAPE(4, 5));
    tn_node  *y = NULL;
    TN_SCOPE(g, "encoder.%d", 0)
    {
        TN_SCOPE(g, "ff1") { y = tn_matmul(a, b); }
    }
    CHECK(y == NULL);
    CHECK_STR(tn_error(ctx),
              "matmul: [2,3] x [4,5]: inner dimensions 3 and 4 differ (encoder.0.ff1)");
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_SHAPE);
    tn_node *z = tn_relu(tn_add(y, a));
    CHECK(z == NULL);
    CHECK_CONTAINS(tn_error(ctx), "inner dimensions"); /* still the first */
    CHECK(tn_compile(g, &z, 1, NULL) == NULL);
    tn_clear_error(ctx);
    CHECK(tn_compile(g, &z, 1, NULL) == NULL); /* a NULL that nothing explains */
    CHECK_CONTAINS(tn_error(ctx), "output 0 is NULL");
    tn_clear_error(ctx);
    TN_SCOPE(g, "head") { z = tn_relu(tn_matmul(a, NULL)); } /* a name that a set does not have */
    CHECK(!z && tn_ctx_status(ctx) == TN_OK);
    CHECK(tn_compile(g, &z, 1, NULL) == NULL);
    CHECK_STR(tn_error(ctx), "tn_compile: output 0 is NULL, as input 1 of matmul was (head)");
    tn_clear_error(ctx);
    CHECK(tn_input(g, "a", TN_F32, TN_SHAPE(1)) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "an input a already");
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(graph, dtypes_are_never_promoted)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *a = tn_input(g, "a", TN_F32, TN_SHAPE(2)), *b = tn_input(g, "b", TN_F64, TN_SHAPE(2));
    CHECK(tn_add(a, b) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_DTYPE);
    CHECK_CONTAINS(tn_error(ctx), "f32");
    tn_graph_free(g);
    tn_ctx_free(ctx);
}

TEST(graph, nodes_of_two_graphs_do_not_mix)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL), *h = tn_graph_new(ctx, TN_EVAL);
    tn_node  *a = tn_input(g, "a", TN_F32, TN_SHAPE(2)), *b = tn_input(h, "b", TN_F32, TN_SHAPE(2));
    CHECK(tn_add(a, b) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "different graphs");
    tn_clear_error(ctx);
    tn_node *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(2));
    CHECK(tn_add(w, w) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "tn_read");
    tn_clear_error(ctx);
    CHECK(tn_add(a, w) != NULL);
    tn_variable_free(w);
    tn_graph_free(g), tn_graph_free(h);
    tn_ctx_free(ctx);
}

/* ---- sharing, dead code, views --------------------------------------------------------------- */

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

TEST(compile, views_take_no_memory)
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

/* ---- a program that trains: y = w x, one step of gradient descent ---------------------------- */

typedef struct fit {
    tn_ctx     *ctx;
    tn_graph   *g;
    tn_node    *w, *x, *y, *loss;
    tn_program *p;
} fit;

static fit fit_new(tn_ctx *ctx, tn_node *guard_limit, const tn_compile_options *options)
{
    fit f = { .ctx = ctx };
    f.w = tn_variable_new(ctx, "w", TN_F64, TN_SHAPE(3, 1));
    f.g = tn_graph_new(ctx, TN_TRAIN);
    f.x = tn_input(f.g, "x", TN_F64, TN_SHAPE(8, 3));
    f.y = tn_input(f.g, "y", TN_F64, TN_SHAPE(8, 1));
    f.loss = tn_mean_all(tn_square(tn_sub(tn_matmul(f.x, f.w), f.y)));
    tn_node *dw = NULL;
    tn_grad(f.loss, NULL, &f.w, 1, &dw);
    tn_node *out[2] = { f.loss, tn_assign(f.w, tn_sub(f.w, tn_scale(dw, 0.1))) };
    (void)guard_limit;
    f.p = tn_compile(f.g, out, 2, options);
    return f;
}

static void fit_free(fit *f)
{
    tn_program_free(f->p), tn_graph_free(f->g), tn_variable_free(f->w);
}

static void fit_data(double x[24], double y[8])
{
    tn_random_normal((tn_rng){ 1, 2, 3 }, 0, 24, TN_F64, x, 0, 1);
    for (int i = 0; i < 8; i++) y[i] = x[3 * i] - 2 * x[3 * i + 1] + 0.5 * x[3 * i + 2];
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

TEST(graph, names_are_quoted_in_dot)
{
    char      text[400] = "";
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    FILE     *file = tmpfile();
    REQUIRE(file && tn_input(g, "a\"b\\\n", TN_F32, TN_SHAPE(2)));
    tn_graph_dot(g, file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    CHECK_CONTAINS(text, "[label=\"input a\\\"b\\\\ \\nf32[2]\"");
    fclose(file), tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(program, trains_and_allocates_nothing)
{
    tn_ctx *ctx = new_ctx();
    fit     f = fit_new(ctx, NULL, NULL);
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(f.p);
    double x[24], y[8];
    fit_data(x, y);
    uint64_t before = tn_ctx_allocations(ctx);
    double   first = 0;
    for (int i = 0; i < 400; i++) {
        tn_feed(f.p, f.x, x, sizeof x), tn_feed(f.p, f.y, y, sizeof y);
        REQUIRE(tn_run(f.p) == TN_OK);
        if (i == 0) first = tn_item(f.p, f.loss);
    }
    CHECK_INT(tn_ctx_allocations(ctx), before);
    const double *w = tn_variable_data(f.w);
    CHECK(first > 0.5);
    CHECK_NEAR(w[0], 1, 1e-6);
    CHECK_NEAR(w[1], -2, 1e-6);
    CHECK_NEAR(w[2], 0.5, 1e-6);
    fit_free(&f);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

TEST(program, a_cancelled_run_changes_nothing)
{
    tn_ctx *ctx = new_ctx();
    fit     f = fit_new(ctx, NULL, NULL);
    REQUIRE(f.p);
    double x[24], y[8];
    fit_data(x, y);
    tn_feed(f.p, f.x, x, sizeof x), tn_feed(f.p, f.y, y, sizeof y);
    tn_cancel(ctx);
    CHECK_INT(tn_run(f.p), TN_ERR_CANCELLED);
    CHECK_NEAR(((const double *)tn_variable_data(f.w))[1], 0, 0);
    tn_clear_error(ctx);
    CHECK_INT(tn_run(f.p), TN_OK);
    CHECK(((const double *)tn_variable_data(f.w))[1] != 0);
    fit_free(&f);
    /* and so of one that does nothing but change a variable */
    tn_node  *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(3));
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *next = tn_assign(w, tn_add_scalar(tn_read(g, w), 1));
    tn_program *p = tn_compile(g, &next, 1, NULL);
    tn_cancel(ctx);
    CHECK_INT(tn_run(p), TN_ERR_CANCELLED);
    CHECK_NEAR(*(const float *)tn_variable_data(w), 0, 0);
    tn_clear_error(ctx);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(*(const float *)tn_variable_data(w), 1, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(w);
    tn_ctx_free(ctx);
}

TEST(program, feeding_the_wrong_size_names_the_input)
{
    tn_ctx *ctx = new_ctx();
    fit     f = fit_new(ctx, NULL, NULL);
    REQUIRE(f.p);
    double x[24] = { 0 };
    CHECK_INT(tn_feed(f.p, f.x, x, 8), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), "input x is f64 [8,3], 192 bytes, not 8");
    tn_clear_error(ctx);
    CHECK_INT(tn_feed_name(f.p, "z", x, 8), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), "no input is named z");
    fit_free(&f);
    tn_ctx_free(ctx);
}

/* ---- commits --------------------------------------------------------------------------------- */

TEST(commit, two_variables_swap)
{
    tn_ctx   *ctx = new_ctx();
    tn_node  *a = tn_variable_new(ctx, "a", TN_F32, TN_SHAPE(2)),
        *b = tn_variable_new(ctx, "b", TN_F32, TN_SHAPE(2));
    tn_variable_fill(a, 1), tn_variable_fill(b, 2);
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *out[2] = { tn_assign(a, tn_read(g, b)), tn_assign(b, tn_read(g, a)) };
    tn_program *p = tn_compile(g, out, 2, NULL);
    REQUIRE(p);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(((float *)tn_variable_data(a))[1], 2, 0);
    CHECK_NEAR(((float *)tn_variable_data(b))[1], 1, 0);
    tn_program_free(p), tn_graph_free(g);
    tn_variable_free(a), tn_variable_free(b);
    tn_ctx_free(ctx);
}

TEST(commit, every_read_sees_the_old_value)
{
    tn_ctx  *ctx = new_ctx();
    tn_node *a = tn_variable_new(ctx, "a", TN_F32, TN_SHAPE(3)),
        *b = tn_variable_new(ctx, "b", TN_F32, TN_SHAPE(3));
    tn_variable_fill(a, 1), tn_variable_fill(b, 10);
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *ra = tn_read(g, a);
    tn_node  *out[3] = { tn_assign(a, tn_add_scalar(ra, 1)),
                         tn_assign(b, tn_add(b, tn_scale(ra, 2))), tn_neg(ra) };
    tn_program *p = tn_compile(g, out, 3, NULL);
    REQUIRE(p);
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(tn_run(p), TN_OK);
        CHECK_NEAR(((float *)tn_variable_data(a))[0], 1 + i, 0);
        CHECK_NEAR(((const float *)tn_output(p, 2))[0], -i, 0);
    }
    CHECK_NEAR(((float *)tn_variable_data(b))[2], 10 + 2 * (1 + 2 + 3), 0);
    tn_program_free(p), tn_graph_free(g);
    tn_variable_free(a), tn_variable_free(b);
    tn_ctx_free(ctx);
}

/* What is made of an assign is made of the new value, whether it is committed or not. */
TEST(commit, an_assign_is_the_new_value)
{
    for (int commits = 0; commits < 2; commits++) {
        tn_ctx   *ctx = new_ctx();
        tn_graph *g = tn_graph_new(ctx, TN_EVAL);
        tn_node  *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(2)),
            *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(2));
        tn_node  *a = tn_assign(v, tn_add_scalar(tn_read(g, v), 1));
        tn_node  *out[] = { tn_flip(a, 0), tn_mul(a, tn_read(g, v)), tn_sum_all(a),
                            tn_assign(w, a), a };
        const double want[] = { 11, 110, 22, 11, 11 };
        tn_variable_fill(v, 10), tn_variable_fill(w, 0);
        tn_program *p = tn_compile(g, out, 4 + commits, NULL);
        CHECK_MSG(p && tn_run(p) == TN_OK, "%s", tn_error(ctx));
        for (int k = 0; p && k < 4 + commits; k++)
            CHECK_NEAR(((const float *)tn_output(p, k))[0], want[k], 0);
        CHECK_NEAR(((float *)tn_variable_data(v))[1], commits ? 11 : 10, 0);
        CHECK_NEAR(((float *)tn_variable_data(w))[1], 11, 0);
        tn_program_free(p), tn_graph_free(g), tn_variable_free(v), tn_variable_free(w);
        CHECK_INT(tn_ctx_memory(ctx), 0);
        tn_ctx_free(ctx);
    }
}

/* In one chain too, behind the op whose result goes into the variable. */
TEST(commit, a_chain_that_writes_a_variable_still_reads_the_old_value)
{
    for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
        tn_ctx   *ctx = new_ctx();
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_node  *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(4)),
            *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(4));
        tn_node  *y = tn_sub(w, tn_input(g, "d", TN_F32, TN_SHAPE(4)));
        tn_node  *out[2] = { tn_assign(w, y), tn_assign(v, tn_mul(y, w)) };
        tn_program *p = tn_compile(g, out, 2, &(tn_compile_options){ .no_fusion = no_fusion });
        tn_variable_fill(w, 10);
        REQUIRE(p);
        for (int i = 0; i < 4; i++) ((float *)tn_input_data(p, "d"))[i] = 1;
        CHECK_INT(tn_run(p), TN_OK);
        CHECK_NEAR(((float *)tn_variable_data(w))[3], 9, 0);
        CHECK_NEAR(((float *)tn_variable_data(v))[3], 90, 0);
        tn_program_free(p), tn_graph_free(g), tn_variable_free(w), tn_variable_free(v),
            tn_ctx_free(ctx);
    }
}

/* A chain that also reads other elements of the variable than the one it writes. */
TEST(commit, a_variable_made_of_others_of_its_elements)
{
    enum { N = 70 };
    for (int is_turned = 0; is_turned < 2; is_turned++) {
        tn_ctx   *ctx = new_ctx();
        tn_graph *g = tn_graph_new(ctx, TN_EVAL);
        tn_node  *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(N, N)), *old = tn_read(g, w);
        tn_node  *y = is_turned ? tn_transpose(old, 0, 1) : tn_slice(old, 0, 0, 1, 1);
        tn_node  *out = tn_assign(w, tn_add(old, y));
        float    *data = tn_variable_data(w);
        for (int i = 0; i < N * N; i++) data[i] = (float)i;
        tn_program *p = tn_compile(g, &out, 1, NULL);
        REQUIRE(p);
        CHECK_INT(tn_run(p), TN_OK);
        for (int i = 0; i < N * N; i++)
            CHECK_NEAR(data[i], i + (is_turned ? i % N * N + i / N : i % N), 0);
        tn_program_free(p), tn_graph_free(g), tn_variable_free(w), tn_ctx_free(ctx);
    }
}

/* What is assigned, or asked for, is the product and not what a chain makes of it. */
TEST(commit, a_product_that_is_assigned)
{
    tn_ctx     *ctx = new_ctx();
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(2, 2)), *old = tn_read(g, w);
    tn_node    *y = tn_matmul(old, old), *z = tn_matmul(old, tn_add(old, old));
    tn_node    *out[] = { tn_assign(w, y), tn_neg(y), z, tn_neg(z) };
    tn_program *p = tn_compile(g, out, 4, NULL);
    tn_variable_fill(w, 1);
    REQUIRE(p);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(((float *)tn_variable_data(w))[0], 2, 0);
    for (int k = 1; k < 4; k++)
        CHECK_NEAR(((const float *)tn_output(p, k))[0], k == 1 ? -2 : k == 2 ? 4 : -4, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(w), tn_ctx_free(ctx);
}

TEST(commit, a_false_guard_changes_nothing)
{
    tn_ctx     *ctx = new_ctx();
    tn_node    *a = tn_variable_new(ctx, "a", TN_F32, TN_SHAPE(1));
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(1));
    tn_node    *out = tn_assign(a, tn_add(a, x));
    tn_program *p = tn_compile(g, &out, 1, &(tn_compile_options){ .guard = tn_isfinite(x) });
    REQUIRE(p);
    float in = NAN;
    tn_feed(p, x, &in, sizeof in);
    CHECK_INT(tn_run(p), TN_ERR_GUARD);
    CHECK_NEAR(((float *)tn_variable_data(a))[0], 0, 0);
    tn_clear_error(ctx);
    in = 3;
    tn_feed(p, x, &in, sizeof in);
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(((float *)tn_variable_data(a))[0], 3, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(a);
    tn_ctx_free(ctx);
}

/* It is looked at before what is committed is made. */
TEST(commit, a_guard_of_what_is_committed)
{
    tn_ctx     *ctx = new_ctx();
    tn_node    *a = tn_variable_new(ctx, "a", TN_F32, TN_SHAPE(1));
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *next = tn_add(a, tn_full(g, TN_F32, TN_SCALAR, 1)), *out = tn_assign(a, next);
    tn_node    *guard = tn_lt(next, tn_full(g, TN_F32, TN_SCALAR, 2.5));
    tn_program *p = tn_compile(g, &out, 1, &(tn_compile_options){ .guard = guard });
    REQUIRE(p);
    for (int i = 0; i < 4; i++) CHECK_INT(tn_run(p), i < 2 ? TN_OK : TN_ERR_GUARD);
    CHECK_NEAR(((float *)tn_variable_data(a))[0], 2, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(a);
    tn_ctx_free(ctx);
}

/* Rows go into a variable at once. What reads it before does so whatever is fused with it, put
 * behind a product, moved to the end or made again. */
static void around_written_rows(tn_ctx *ctx, const tn_compile_options *o, float *out)
{
    tn_node *c = tn_variable_new(ctx, "c", TN_F32, TN_SHAPE(1, 4, 3));
    tn_node *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(1, 4, 3));
    tn_node *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(3, 3));
    tn_variable_fill(c, 0.5), tn_variable_fill(v, 0.5), tn_variable_fill(w, 1);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *h = NULL, *row = tn_full(g, TN_F32, TN_SHAPE(1, 1, 3), 5), *dv = NULL;
    TN_SCOPE(g, "again") h = tn_square(tn_sin(tn_tanh(tn_mul(tn_read(g, c), v))));
    tn_node *old = tn_matmul(c, tn_read(g, w)), *x = tn_scale(tn_read(g, c), 10);
    tn_node *half = tn_cos(tn_read(g, v)), *early = tn_add(half, c);
    tn_node *third = tn_scale(tn_read(g, c), 3);
    tn_node *new = tn_write_rows(c, row, tn_full(g, TN_I32, TN_SCALAR, 0));
    tn_node *y = tn_add(old, new), *z = tn_matmul(new, w);
    tn_node *last = tn_write_rows(new, row, tn_full(g, TN_I32, TN_SCALAR, 1));
    tn_node *sum = tn_add(tn_sum_all(h), tn_sum_all(tn_add(z, last)));
    REQUIRE(tn_grad(sum, NULL, &v, 1, &dv) == TN_OK);
    tn_node    *all[] = { y, sum, dv, tn_assign(v, x), early, tn_neg(half), tn_neg(third) };
    tn_program *p = tn_compile(g, all, 7, o);
    REQUIRE(p && tn_run(p) == TN_OK);
    memcpy(out, tn_output(p, 0), 48), out[12] = *(const float *)tn_output(p, 1);
    memcpy(out + 13, tn_output(p, 2), 48), memcpy(out + 25, tn_variable_data(v), 48);
    for (int i = 0; i < 3; i++) memcpy(out + 37 + 12 * i, tn_output(p, 4 + i), 48);
    tn_program_free(p), tn_graph_free(g);
    tn_variable_free(c), tn_variable_free(v), tn_variable_free(w);
}

TEST(commit, what_reads_written_rows_keeps_its_turn)
{
    tn_ctx *ctx = new_ctx();
    float   plain[73], fused[73], again[73];
    around_written_rows(ctx, &(tn_compile_options){ .no_fusion = true }, plain);
    around_written_rows(ctx, NULL, fused);
    around_written_rows(ctx, &(tn_compile_options){ .recompute = "again" }, again);
    CHECK_NEAR(plain[0], 1.5 + 5, 1e-6);
    CHECK_NEAR(plain[3], 1.5 + 0.5, 1e-6);
    CHECK_NEAR(plain[25], 5, 1e-6);
    CHECK(memcmp(plain, fused, sizeof plain) == 0 && memcmp(plain, again, sizeof plain) == 0);
    tn_ctx_free(ctx);
}

/* Equal writes are not one: another lies between. */
TEST(commit, rows_are_written_as_often_as_asked_for)
{
    tn_ctx   *ctx = new_ctx();
    tn_node  *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(1, 2));
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *row[2], *y[3], *at = tn_full(g, TN_I32, TN_SCALAR, 0);
    for (int i = 0; i < 2; i++) row[i] = tn_full(g, TN_F32, TN_SHAPE(1, 1), i + 1);
    for (int i = 0; i < 3; i++) y[i] = tn_sum_all(tn_write_rows(v, row[i % 2], at));
    tn_program *p = tn_compile(g, y, 3, NULL);
    REQUIRE(p && tn_run(p) == TN_OK);
    for (int i = 0; i < 3; i++) CHECK_NEAR(((const float *)tn_output(p, i))[0], i % 2 + 1, 0);
    CHECK_NEAR(((float *)tn_variable_data(v))[0], 1, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(v);
    tn_ctx_free(ctx);
}

/* Where an element of a variable stands for several, rows go into a copy. */
TEST(commit, rows_of_what_repeats)
{
    tn_ctx     *ctx = new_ctx();
    tn_node    *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(1, 1, 2));
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_expand(tn_read(g, v), TN_SHAPE(1, 3, 2));
    tn_node    *y = tn_write_rows(x, tn_full(g, TN_F32, TN_SHAPE(1, 1, 2), 5),
                                  tn_full(g, TN_I32, TN_SCALAR, 1));
    tn_program *p = tn_compile(g, &y, 1, NULL);
    REQUIRE(p && tn_run(p) == TN_OK);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(((const float *)tn_output(p, 0))[i], i / 2 == 1 ? 5 : 0, 0);
    CHECK_NEAR(((float *)tn_variable_data(v))[0], 0, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(v);
    tn_ctx_free(ctx);
}

TEST(commit, a_variable_is_assigned_once)
{
    tn_ctx   *ctx = new_ctx();
    tn_node  *a = tn_variable_new(ctx, "a", TN_F32, TN_SHAPE(1));
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *out[2] = { tn_assign(a, tn_neg(tn_read(g, a))),
                         tn_assign(a, tn_square(tn_read(g, a))) };
    CHECK(tn_compile(g, out, 2, NULL) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "variable a is assigned twice");
    tn_graph_free(g), tn_variable_free(a);
    tn_ctx_free(ctx);
}

/* ---- memory ---------------------------------------------------------------------------------- */

TEST(memory, a_limit_is_honoured_by_refusing_to_compile)
{
    tn_ctx   *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .memory_limit = 4 << 20 });
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_full(g, TN_F32, TN_SHAPE(1024, 1024), 1);
    tn_node  *y = tn_matmul(tn_exp(x), tn_sin(x));
    CHECK(tn_compile(g, &y, 1, NULL) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    CHECK_CONTAINS(tn_error(ctx), "the program needs ");
    CHECK_CONTAINS(tn_error(ctx), "the memory limit leaves 4");
    tn_graph_free(g);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* With as much more as is named, and no less, it compiles. */
TEST(memory, what_a_program_needs_is_named_exactly)
{
    size_t limit = 400000;
    for (int i = 0; i < 3; i++) {
        tn_ctx     *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .memory_limit = limit });
        tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
        tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(300, 300));
        tn_node    *y = tn_softmax(tn_matmul(tn_matmul(x, x), x), 0);
        tn_program *p = tn_compile(g, &y, 1, NULL);
        size_t      need = 0, arena = 0, left = 0;
        CHECK((p != NULL) == (i == 1));
        const char *named = strstr(tn_error(ctx), "needs ");
        if (!p) {
            REQUIRE(named && sscanf(named, "needs %zu bytes, %zu of them for intermediates; the "
                                    "memory limit leaves %zu", &need, &arena, &left) == 3);
            CHECK(i == 0 || need - left == 1);
        }
        limit += i == 0 ? need - left : (size_t)-1;
        tn_program_free(p), tn_graph_free(g);
        CHECK_INT(tn_ctx_memory(ctx), 0);
        tn_ctx_free(ctx);
    }
}

static tn_status turned_infer(tn_infer *c)
{
    c->out[0] = (tn_type){ TN_F32, TN_SHAPE(c->in[0].shape.dim[1], c->in[0].shape.dim[0]) };
    return TN_OK;
}

static tn_status turned_run(tn_exec *e)
{
    const float  *x = e->in[0].data;
    float        *y = e->out[0].data;
    const int64_t n = e->in[0].shape.dim[0], m = e->in[0].shape.dim[1];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) y[j * n + i] = x[i * m + j];
    return TN_OK;
}

/* In place is only what has the input's type, though it has as many bytes. */
TEST(memory, a_turned_matrix_is_another_type)
{
    const tn_op turned = { .name = "turned", .arity = 1, .infer = turned_infer, .run = turned_run,
                           .flags = TN_INPLACE_OK | TN_NOT_DIFFERENTIABLE };
    tn_ctx     *ctx = new_ctx();
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_reshape(tn_arange(g, TN_F32, 6, 0, 1), TN_SHAPE(2, 3));
    tn_node    *h = tn_add_scalar(x, 1), *y = tn_neg(tn_apply(&turned, &h, 1, NULL));
    const float want[6] = { -1, -4, -2, -5, -3, -6 };
    float       got[6];
    CHECK_MSG(tn_eval(y, got, sizeof got) == TN_OK, "%s", tn_error(ctx));
    for (int i = 0; i < 6; i++) CHECK_NEAR(got[i], want[i], 0);
    tn_graph_free(g), tn_ctx_free(ctx);
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

/* A program bound to another counter of runs counts on that. */
TEST(program, binds_its_counter_of_runs)
{
    tn_ctx   *ctx = new_ctx();
    tn_node  *run[2], *strange = tn_variable_new(ctx, "run", TN_F32, TN_SCALAR);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_random_uniform_node(g, TN_F32, TN_SHAPE(2), 0, 1);
    for (int i = 0; i < 2; i++) run[i] = tn_variable_new(ctx, "run", TN_I64, TN_SCALAR);
    tn_program *p = tn_compile(g, &x, 1, &(tn_compile_options){ .run = run[0] });
    REQUIRE(p && tn_run(p) == TN_OK);
    CHECK_INT(tn_program_bind(p, &strange, 1), TN_ERR_DTYPE);
    tn_clear_error(ctx);
    CHECK_INT(tn_program_bind(p, &run[1], 1), TN_OK);
    for (int i = 0; i < 2; i++) CHECK_INT(tn_run(p), TN_OK);
    for (int i = 0; i < 2; i++) CHECK_INT(*(int64_t *)tn_variable_data(run[i]), i + 1);
    tn_program_free(p), tn_graph_free(g);
    tn_variable_free(run[0]), tn_variable_free(run[1]), tn_variable_free(strange);
    tn_ctx_free(ctx);
}

/* Where there is no graph, or no set, a block of a scope runs all the same, once. */
TEST(graph, scopes_without_a_graph)
{
    int n = 0;
    TN_SCOPE(NULL, "a") n++;
    TN_PARAMS_SCOPE(NULL, "a") n++;
    CHECK_INT(n, 2);
}

/* A scope ends with its block, also where the node that it took its graph from is none any more. */
TEST(graph, a_scope_ends_when_its_node_fails)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_full(g, TN_F32, TN_SHAPE(2, 3), 1);
    TN_SCOPE(tn_node_graph(x), "a") x = tn_matmul(x, x);
    CHECK(!x);
    CHECK_INT(tn_scope_depth(g), 0);
    tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(memory, planning_reuses_memory)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(64, 64));
    tn_node  *w = tn_input(g, "w", TN_F32, TN_SHAPE(64, 64));
    for (int i = 0; i < 12; i++) x = tn_tanh(tn_matmul(x, w));
    tn_program      *p = tn_compile(g, &x, 1, NULL);
    tn_program_stats s = tn_program_stats_of(p);
    CHECK_MSG(s.arena_bytes * 3 < s.no_reuse_bytes, "arena %zu, without reuse %zu", s.arena_bytes,
              s.no_reuse_bytes);
    CHECK_INT(s.steps, 12); /* each tanh behind its product */
    tn_program_free(p), tn_graph_free(g);
    tn_ctx_free(ctx);
}


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

static void twice_rule(tn_graph *g, tn_node *const *x, int n, tn_node *y, tn_node *dy,
                       tn_node **dx, void *user)
{
    (void)g, (void)x, (void)n, (void)y;
    dx[0] = tn_scale(dy, *(double *)user);
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
