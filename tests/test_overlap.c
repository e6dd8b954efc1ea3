/* Steps that begin while the one before them ends: which do, that their memory is apart, and that
 * no bit changes. Runs under the thread sanitizer too. */
#include "check.h"
#include "libtensor.h"

#include "autograd/program.h"

static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 3 });
}

/* A program of these outputs, each shape [40, n]. */
static tn_program *compile(tn_node **y, int n)
{
    return tn_compile(tn_node_graph(y[0]), y, n, NULL);
}

static int overlapping(const tn_program *p)
{
    int n = 0;
    for (int64_t i = 0; i < p->n_steps; i++) n += p->steps[i].overlaps;
    return n;
}

TEST(overlap, independent_products_do_and_dependent_ones_do_not)
{
    tn_ctx     *ctx = new_ctx(2);
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *x = tn_input(g, "x", TN_F32, TN_SHAPE(40, 40));
    tn_node    *beside[] = { tn_matmul(x, x), tn_matmul(tn_transpose(x, 0, 1), x) };
    tn_node    *behind[] = { tn_matmul(tn_matmul(x, x), x) };
    tn_program *p = compile(beside, 2), *q = compile(behind, 1);
    REQUIRE(p && q);
    CHECK_INT(p->n_steps, 2);
    CHECK(!p->steps[0].overlaps && p->steps[1].overlaps);
    CHECK_INT(q->n_steps, 2);
    CHECK_INT(overlapping(q), 0);
    tn_program_free(p), tn_program_free(q), tn_graph_free(g), tn_ctx_free(ctx);
}

/* Two layers with everything that leaves a loop (products with and without a chain, chains,
 * updates), trained some steps. */
typedef struct model {
    tn_ctx       *ctx;
    tn_params    *params;
    tn_linear     in, out;
    tn_optimizer *adam;
    tn_program   *step;
} model;

enum { ROWS = 150, WIDTH = 70, STEPS = 25 };

static bool open_model(model *m, int threads)
{
    *m = (model){ .ctx = new_ctx(threads) };
    m->params = tn_params_new(m->ctx, TN_F32);
    m->in = tn_linear_new(m->params, "in", WIDTH, 2 * WIDTH);
    m->out = tn_linear_new(m->params, "out", 2 * WIDTH, WIDTH);
    m->adam = tn_adamw_new(m->params, &(tn_adamw_options){ .lr = 0.01 });
    tn_graph *g = tn_graph_new(m->ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(ROWS, WIDTH));
    tn_node  *h = tn_dropout(tn_gelu(tn_linear_apply(&m->in, x)), 0.1);
    tn_node  *loss = tn_mse(tn_linear_apply(&m->out, h), x, TN_MEAN);
    m->step = tn_train_step(g, loss, m->adam);
    tn_graph_free(g);
    if (!m->step) return false;
    float *to = tn_input_data(m->step, "x");
    for (int i = 0; i < ROWS * WIDTH; i++) to[i] = (float)sin(0.37 * i);
    return true;
}

static void close_model(model *m)
{
    tn_program_free(m->step), tn_optimizer_free(m->adam), tn_params_free(m->params);
    tn_ctx_free(m->ctx);
}

/* Do two buffers share memory? */
static bool meet(const tn_program *p, int a, int b)
{
    if (a < 0 || b < 0) return false;
    a = tn__buffer_root(p, a), b = tn__buffer_root(p, b);
    const tn__buffer *x = &p->buffers[a], *y = &p->buffers[b];
    if (x->kind != TN__ARENA || y->kind != TN__ARENA) return a == b;
    return x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
}

/* Number k of the buffers of a step, and whether it is written; false behind the last. */
static bool buffer_of(const tn_program *p, const tn__step *s, int k, int *buffer, bool *is_written)
{
    const int n = tn__step_tensors(s), in = s->n_in + s->n_out;
    if (k >= n + 2) return false;
    *is_written = (k >= s->n_in && k < in) || k >= in + s->n_chain_in;
    *buffer = k == n ? s->scratch : k == n + 1 ? s->chain_scratch
                                               : p->values[s->values[k]].buffer;
    return true;
}

static int conflicts(const tn_program *p, const tn__step *s, const tn__step *t)
{
    int  n = 0, a, b;
    bool a_is_written, b_is_written;
    for (int i = 0; buffer_of(p, s, i, &a, &a_is_written); i++)
        for (int k = 0; buffer_of(p, t, k, &b, &b_is_written); k++)
            n += (a_is_written || b_is_written) && meet(p, a, b);
    return n;
}

TEST(overlap, what_overlaps_has_memory_apart)
{
    model m;
    REQUIRE(open_model(&m, 2));
    const tn_program *p = m.step;
    int               products = 0, updates = 0;
    for (int64_t i = 1; i < p->n_steps; i++) {
        const tn__step *s = &p->steps[i];
        if (!s->overlaps) continue;
        CHECK_INT(conflicts(p, s - 1, s), 0);
        products += s->kernel && s->op == &tn_op_matmul;
        updates += i > p->n_compute;
    }
    CHECK(products > 0);
    CHECK(updates > 2); /* of four parameters */
    CHECK(p->n_compute < p->n_steps && !p->steps[p->n_compute].overlaps);
    close_model(&m);
}

TEST(overlap, any_number_of_threads_trains_alike)
{
    double loss[5][STEPS];
    for (int threads = 1; threads <= 5; threads++) {
        model m;
        REQUIRE(open_model(&m, threads));
        for (int i = 0; i < STEPS; i++) {
            CHECK(tn_run(m.step) == TN_OK);
            loss[threads - 1][i] = *(const float *)tn_output(m.step, 0);
        }
        CHECK(memcmp(loss[threads - 1], loss[0], sizeof loss[0]) == 0);
        close_model(&m);
    }
    CHECK(loss[0][STEPS - 1] < loss[0][0]);
}

/* A profile has each step's own time: none begins before the one before it ended. */
TEST(overlap, a_profile_changes_no_bit)
{
    model a, b;
    REQUIRE(open_model(&a, 3) && open_model(&b, 3));
    tn_program_profile(b.step, true);
    for (int i = 0; i < 5; i++) {
        CHECK(tn_run(a.step) == TN_OK && tn_run(b.step) == TN_OK);
        CHECK(*(const float *)tn_output(a.step, 0) == *(const float *)tn_output(b.step, 0));
    }
    close_model(&a), close_model(&b);
}

TEST_MAIN
