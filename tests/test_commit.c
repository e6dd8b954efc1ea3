/* Commits: variables that are assigned, whole or by rows, and guards, all or nothing. */
#include "check.h"
#include "libtensor.h"

static tn_ctx *new_ctx(void) { return tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 3 }); }

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

TEST_MAIN
