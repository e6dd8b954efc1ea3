/* Building graphs: errors that flow, dtypes, scopes, names. */
#include "check.h"
#include "libtensor.h"

#include <math.h>

static tn_ctx *new_ctx(void) { return tn_ctx_new(&(tn_ctx_options){ .threads = 2, .seed = 3 }); }

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

/* A variable beside a node stands for its value, in compositions as in ops. */
TEST(graph, a_variable_stands_for_its_value_in_compositions)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_EVAL);
    tn_node  *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(2, 2)),
        *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(2));
    tn_variable_set(w, (float[]){ 1, 2, 3, 4 }, 4 * sizeof(float));
    tn_variable_set(v, (float[]){ 5, 6 }, 2 * sizeof(float));
    tn_node *x = tn_full(g, TN_F32, TN_SHAPE(2, 2), 1), *r = tn_full(g, TN_F32, TN_SHAPE(2), 1);
    const struct {
        const char *name;
        tn_node    *y;
        double      sum;
    } cases[] = {
        { "einsum ij,kj->ik", tn_einsum("ij,kj->ik", (tn_node *[]){ x, w }, 2), 20 },
        { "einsum ij,j->i", tn_einsum("ij,j->i", (tn_node *[]){ w, r }, 2), 10 },
        { "stack x w", tn_stack((tn_node *[]){ x, w }, 2, 0), 14 },
        { "stack w x", tn_stack((tn_node *[]){ w, x }, 2, 1), 14 },
        { "outer r v", tn_outer(r, v), 22 },
        { "outer v r", tn_outer(v, r), 22 },
        { "matmul x v", tn_matmul(x, v), 22 },
        { "matmul v x", tn_matmul(v, x), 22 },
        { "matmul r v", tn_matmul(r, v), 11 },
        { "bce x w", tn_bce_with_logits(x, w, TN_SUM), 4 * log1p(exp(1)) - 10 },
        { "bce w r", tn_bce_with_logits(w, r, TN_SUM),
          log1p(exp(-1)) + log1p(exp(-2)) + log1p(exp(-3)) + log1p(exp(-4)) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float sum = NAN;
        CHECK_MSG(tn_ctx_status(ctx) == TN_OK, "%s", tn_error(ctx));
        CHECK_MSG(tn_eval(tn_sum_all(cases[i].y), &sum, sizeof sum) == TN_OK &&
                  fabs(sum - cases[i].sum) < 1e-4, "%s: expected %g, got %g, tolerance 1e-4",
                  cases[i].name, cases[i].sum, (double)sum);
    }
    CHECK(!tn_matmul(v, w)); /* variables alone: of no graph */
    CHECK_CONTAINS(tn_error(ctx), "tn_read");
    tn_graph_free(g), tn_variable_free(v), tn_variable_free(w), tn_ctx_free(ctx);
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

TEST_MAIN
