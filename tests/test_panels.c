/* Programs whose products read packed weights: the bits of those that do not; what they share, and
 * when they see that a variable has changed. */
#include "check.h"

#include "libtensor.h"

enum { D = 40, H = 70 };

static void fill(tn_node *variable, float from)
{
    float *x = tn_variable_data(variable);
    for (size_t i = 0; i < tn_variable_bytes(variable) / sizeof *x; i++)
        x[i] = (float)((double)((i * 37 + (size_t)(from * 10)) % 101) / 50 - 1);
}

typedef struct model {
    tn_node *up, *down, *bias; /* [D, H], [D, H] used transposed, [H] */
} model;

static model model_new(tn_ctx *ctx)
{
    model m = { tn_variable_new(ctx, "up", TN_F32, TN_SHAPE(D, H)),
                tn_variable_new(ctx, "down", TN_F32, TN_SHAPE(D, H)),
                tn_variable_new(ctx, "bias", TN_F32, TN_SHAPE(H)) };
    fill(m.up, 1), fill(m.down, 2), fill(m.bias, 3);
    return m;
}

static void model_free(model *m)
{
    tn_variable_free(m->up), tn_variable_free(m->down), tn_variable_free(m->bias);
}

/* relu(x up + bias) down^T + x of x [2, rows, D]. */
static tn_program *build(tn_ctx *ctx, const model *m, int64_t rows, tn_panels *panels)
{
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(2, rows, D));
    tn_node    *h = tn_relu(tn_add(tn_matmul(x, m->up), m->bias));
    tn_node    *y = tn_add(tn_matmul(h, tn_transpose(tn_read(g, m->down), 0, 1)), x);
    tn_program *p = tn_compile(g, &y, 1, &(tn_compile_options){ .panels = panels });
    tn_graph_free(g);
    return p;
}

/* With BLIS, panels are the own product's still, and equal but for rounding. */
#if defined TN_BLIS
static const float rounding = 1e-4f;
#else
static const float rounding = 0;
#endif

static bool equal(tn_program *p, tn_program *q, int64_t rows)
{
    float *x = tn_input_data(p, "x"), *y = tn_input_data(q, "x");
    for (int64_t i = 0; i < 2 * rows * D; i++) x[i] = y[i] = (float)(i % 17) / 8 - 1;
    if (tn_run(p) != TN_OK || tn_run(q) != TN_OK) return false;
    const float *a = tn_output(p, 0), *b = tn_output(q, 0);
    for (int64_t i = 0; i < 2 * rows * D; i++)
        if (!(fabsf(a[i] - b[i]) <= rounding * (1 + fabsf(a[i])))) return false;
    return true;
}

TEST(panels, same_bits_shared_and_updated)
{
    tn_ctx    *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    model      m = model_new(ctx);
    tn_panels *panels = tn_panels_new(ctx);
    CHECK_INT(tn_panels_bytes(panels), 0);
    for (int64_t rows = 1; rows < 50; rows += 12) {
        tn_program *p = build(ctx, &m, rows, NULL), *q = build(ctx, &m, rows, panels);
        REQUIRE(p && q);
        CHECK(tn_panels_bytes(panels) >= 2 * D * H * sizeof(float)); /* once, for all programs */
        CHECK(tn_panels_bytes(panels) < 4 * D * H * sizeof(float));
        CHECK(equal(p, q, rows));
        fill(m.up, (float)rows + 0.5f);
        CHECK(!equal(p, q, rows));
        CHECK_INT(tn_panels_update(panels), TN_OK);
        CHECK(equal(p, q, rows));
        tn_program_free(p), tn_program_free(q);
    }
    tn_panels_free(panels), model_free(&m);
    tn_ctx_free(ctx);
}

/* What a program writes it reads as it is. */
TEST(panels, not_of_what_is_written)
{
    tn_ctx     *ctx = tn_ctx_new(NULL);
    model       m = model_new(ctx);
    tn_panels  *panels = tn_panels_new(ctx);
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(3, D));
    tn_node    *out[2] = { tn_matmul(x, m.up), tn_assign(m.up, tn_affine(tn_read(g, m.up), 2, 0)) };
    tn_program *p = tn_compile(g, out, 2, &(tn_compile_options){ .panels = panels });
    REQUIRE(p);
    CHECK_INT(tn_panels_bytes(panels), 0);
    float *in = tn_input_data(p, "x");
    for (int i = 0; i < 3 * D; i++) in[i] = 1;
    CHECK_INT(tn_run(p), TN_OK);
    const float first = ((const float *)tn_output(p, 0))[0];
    CHECK_INT(tn_run(p), TN_OK);
    CHECK_NEAR(((const float *)tn_output(p, 0))[0], 2 * first, 0);
    tn_program_free(p), tn_graph_free(g), tn_panels_free(panels), model_free(&m);
    tn_ctx_free(ctx);
}

TEST(panels, of_another_context_are_refused)
{
    tn_ctx    *ctx = tn_ctx_new(NULL), *other = tn_ctx_new(NULL);
    model      m = model_new(ctx);
    tn_panels *panels = tn_panels_new(other);
    CHECK(!build(ctx, &m, 2, panels));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    CHECK(strstr(tn_error(ctx), "panels are of another context") != NULL);
    CHECK(!tn_panels_new(NULL));
    CHECK_INT(tn_panels_update(NULL), TN_ERR_ARG);
    CHECK_INT(tn_panels_bytes(NULL), 0);
    tn_panels_free(NULL), tn_panels_free(panels), model_free(&m);
    tn_ctx_free(ctx), tn_ctx_free(other);
}

/* Rows that lie backwards within a batch are not the rows of one matrix. */
TEST(panels, rows_that_lie_backwards)
{
    tn_ctx    *ctx = tn_ctx_new(NULL);
    model      m = model_new(ctx);
    tn_panels *panels = tn_panels_new(ctx);
    for (int axis = 0; axis < 2; axis++) {
        tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
        tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(2, 3, D));
        tn_node    *y = tn_flip(tn_matmul(tn_flip(x, axis), m.up), axis), *z = tn_matmul(x, m.up);
        tn_program *p = tn_compile(g, (tn_node *[]){ y, z }, 2,
                                   &(tn_compile_options){ .panels = panels });
        REQUIRE(p);
        float *in = tn_input_data(p, "x");
        for (int i = 0; i < 2 * 3 * D; i++) in[i] = (float)(i % 17) / 8 - 1;
        CHECK_INT(tn_run(p), TN_OK);
        const float *got = tn_output(p, 0), *want = tn_output(p, 1);
        for (int i = 0; i < 2 * 3 * H; i++) CHECK_NEAR(got[i], want[i], rounding * 50);
        tn_program_free(p), tn_graph_free(g);
    }
    tn_panels_free(panels), model_free(&m);
    tn_ctx_free(ctx);
}

/* A part of a matrix is not packed in the place of the whole. */
TEST(panels, of_whole_variables)
{
    tn_ctx    *ctx = tn_ctx_new(NULL);
    model      m = model_new(ctx);
    tn_panels *panels = tn_panels_new(ctx);
    tn_graph  *g = tn_graph_new(ctx, TN_EVAL);
    tn_node   *x = tn_sin(tn_reshape(tn_arange(g, TN_F32, 3 * H, 1, 0.37), TN_SHAPE(3, H)));
    tn_node   *w = tn_transpose(tn_read(g, m.up), 0, 1);
    tn_node   *y[] = { tn_matmul(x, tn_slice(w, 1, 0, 5, 1)), tn_matmul(x, w) };
    tn_program *p = tn_compile(g, y, 2, &(tn_compile_options){ .panels = panels });
    tn_program *q = tn_compile(g, y, 2, NULL);
    REQUIRE(p && q && tn_run(p) == TN_OK && tn_run(q) == TN_OK);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 3 * (k ? D : 5); i++)
            CHECK_NEAR(((const float *)tn_output(p, k))[i], ((const float *)tn_output(q, k))[i],
                       rounding * 50);
    tn_program_free(p), tn_program_free(q), tn_graph_free(g);
    tn_panels_free(panels), model_free(&m), tn_ctx_free(ctx);
}

TEST_MAIN
