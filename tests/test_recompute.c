/* Recomputing chosen scopes: the same bits as keeping everything, less memory, and what it
 * costs. */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 11 });
}

/* ---- a deep network -------------------------------------------------------------------------- */

enum { DEPTH = 8, WIDTH = 32, ROWS = 64 };

typedef struct deep {
    tn_ctx       *ctx;
    tn_params    *p;
    tn_linear     l[DEPTH];
    tn_optimizer *opt;
} deep;

static deep deep_new(tn_ctx *ctx, tn_dtype dtype, bool accumulates)
{
    deep d = { .ctx = ctx, .p = tn_params_new(ctx, dtype) };
    for (int i = 0; i < DEPTH; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        d.l[i] = tn_linear_new(d.p, name, WIDTH, WIDTH);
    }
    d.opt = tn_adamw_new(d.p, &(tn_adamw_options){ .lr = 0.01, .clip_norm = 1,
                                                   .accumulate = accumulates });
    return d;
}

static void deep_free(deep *d) { tn_optimizer_free(d->opt), tn_params_free(d->p); }

/* Each block is matmul, add, relu, dropout. Gradients need the relu's result, so the first three of
 * them; and the block's input, which is kept. */
enum { AGAIN_IN_A_BLOCK = 3 };

static tn_node *deep_apply(const deep *d, tn_node *x)
{
    for (int i = 0; i < DEPTH; i++)
        TN_SCOPE(tn_node_graph(x), "block.%d", i)
            x = tn_dropout(tn_tanh(tn_linear_apply(&d->l[i], x)), 0.2);
    return x;
}

static tn_node *deep_loss(const deep *d, tn_graph *g, tn_reduction reduction)
{
    tn_dtype dtype = tn_params_dtype(d->p);
    tn_node *x = tn_input(g, "x", dtype, TN_SHAPE(ROWS, WIDTH)),
        *y = tn_input(g, "y", dtype, TN_SHAPE(ROWS, WIDTH));
    return tn_mse(deep_apply(d, x), y, reduction);
}

static void deep_feed(tn_program *step, tn_dtype dtype, int number)
{
    for (int k = 0; k < 2; k++) {
        void *to = tn_input_data(step, k ? "y" : "x");
        for (int i = 0; to && i < ROWS * WIDTH; i++) {
            double v = sin(1.7 * i + k + 3 * number);
            if (dtype == TN_F64) ((double *)to)[i] = v;
            else ((float *)to)[i] = (float)v;
        }
    }
}

static bool same_weights(const tn_params *a, const tn_params *b)
{
    for (int i = 0; i < tn_params_count(a); i++) {
        const tn_node *x = tn_params_at(a, i), *y = tn_params_at(b, i);
        if (memcmp(tn_variable_data(x), tn_variable_data(y), tn_variable_bytes(x)) != 0)
            return false;
    }
    return true;
}

static bool same_state(const tn_optimizer *a, const tn_optimizer *b)
{
    for (int i = 0; i < tn_optimizer_state_count(a); i++) {
        const tn_node *x = tn_optimizer_state_at(a, i), *y = tn_optimizer_state_at(b, i);
        if (memcmp(tn_variable_data(x), tn_variable_data(y), tn_variable_bytes(x)) != 0)
            return false;
    }
    return true;
}

/* Four steps; the losses go to loss[4]. */
static tn_program_stats train(deep *d, const tn_train_step_options *o, double *loss)
{
    tn_graph        *g = tn_graph_new(d->ctx, TN_TRAIN);
    tn_node         *l = deep_loss(d, g, TN_MEAN);
    tn_program      *step = tn_train_step_with(g, l, d->opt, o);
    tn_program_stats s = tn_program_stats_of(step);
    CHECK_MSG(step, "%s", tn_error(d->ctx));
    for (int i = 0; step && i < 4; i++) {
        deep_feed(step, tn_params_dtype(d->p), i);
        CHECK_INT(tn_run(step), TN_OK);
        loss[i] = tn_item(step, l);
    }
    tn_program_free(step), tn_graph_free(g);
    return s;
}

TEST(recompute, a_training_has_the_same_bits_in_less_memory)
{
    static const char *const patterns[] = { "", "block.*", "block.3", "block.0, block.1,block.7",
                                            "*" };
    for (int dtype = 0; dtype < 2; dtype++) {
        tn_ctx *ctx = new_ctx(1), *three = new_ctx(3);
        deep    plain = deep_new(ctx, dtype ? TN_F64 : TN_F32, false);
        double  want[4], got[4];
        tn_program_stats all = train(&plain, NULL, want);
        CHECK_INT(all.recomputed_calls, 0);
        CHECK_INT(all.kept_bytes, all.arena_bytes);
        for (int i = 0; i < 5; i++) {
            deep d = deep_new(i & 1 ? three : ctx, dtype ? TN_F64 : TN_F32, false);
            tn_program_stats s = train(&d, &(tn_train_step_options){ .recompute = patterns[i] },
                                       got);
            CHECK_MSG(memcmp(got, want, sizeof got) == 0, "\"%s\": other losses", patterns[i]);
            CHECK_MSG(same_weights(d.p, plain.p) && same_state(d.opt, plain.opt),
                      "\"%s\": other weights", patterns[i]);
            if (!(i & 1)) CHECK_INT(s.kept_bytes, all.arena_bytes); /* threads have scratch */
            CHECK_NEAR(s.flops, all.flops + s.recomputed_flops, 1e-9 * all.flops);
            if (i == 1) {
                CHECK_INT(s.recomputed_calls, AGAIN_IN_A_BLOCK * DEPTH);
                CHECK_NEAR(s.recomputed_flops,
                           DEPTH * (2.0 * ROWS * WIDTH * WIDTH + 2 * ROWS * WIDTH), 0);
            }
            deep_free(&d);
        }
        deep_free(&plain), tn_ctx_free(ctx), tn_ctx_free(three);
    }
}

TEST(recompute, without_fusion_or_reuse_too)
{
    tn_ctx *ctx = new_ctx(2);
    deep    d[4];
    double  loss[4][4];
    for (int i = 0; i < 4; i++) {
        d[i] = deep_new(ctx, TN_F32, false);
        train(&d[i], &(tn_train_step_options){ .no_fusion = i & 1, .no_reuse = i & 2,
                                               .recompute = "block.*" }, loss[i]);
        CHECK_MSG(same_weights(d[i].p, d[0].p) && memcmp(loss[i], loss[0], sizeof loss[0]) == 0,
                  "variant %d differs", i);
    }
    for (int i = 0; i < 4; i++) deep_free(&d[i]);
    tn_ctx_free(ctx);
}

/* What is kept of a block is its input; all else lives no longer than its backward pass. */
static size_t arena_of_gradients(const char *recompute, int depth)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_linear  l = tn_linear_new(p, "l", 4, 4);
    tn_graph  *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node   *x0 = tn_input(g, "x", TN_F32, TN_SHAPE(4096, 4)), *x = x0, *dx;
    for (int i = 0; i < depth; i++) {
        TN_SCOPE(g, "deep.%d", i)
        {
            tn_node *h = tn_linear_apply(&l, x);
            for (int k = 0; k < 6; k++) h = tn_tanh(tn_matmul(h, l.w));
            x = tn_add(x, h);
        }
    }
    CHECK_INT(tn_grad(tn_sum_all(x), NULL, &x0, 1, &dx), TN_OK);
    tn_program *program = tn_compile(g, &dx, 1, &(tn_compile_options){ .recompute = recompute });
    CHECK_MSG(program, "%s", tn_error(ctx));
    size_t bytes = tn_program_stats_of(program).arena_bytes;
    tn_program_free(program), tn_graph_free(g), tn_params_free(p), tn_ctx_free(ctx);
    return bytes;
}

TEST(recompute, memory_grows_by_what_is_kept_alone)
{
    size_t one = 4096 * 4 * sizeof(float); /* of one activation */
    size_t plain = arena_of_gradients(NULL, 10) - arena_of_gradients(NULL, 5);
    size_t again = arena_of_gradients("deep.*", 10) - arena_of_gradients("deep.*", 5);
    CHECK_MSG(plain >= 5 * 6 * one, "5 more blocks: %zu bytes more, at least %zu expected", plain,
              30 * one);
    CHECK_MSG(again <= 5 * one + 4096, "5 more blocks: %zu bytes more, at most %zu expected", again,
              5 * one);
    CHECK(2 * arena_of_gradients("deep.*", 10) < arena_of_gradients(NULL, 10));
}

TEST(recompute, accumulation_and_shared_arenas)
{
    tn_ctx *ctx = new_ctx(2);
    deep    d[2] = { deep_new(ctx, TN_F32, true), deep_new(ctx, TN_F32, true) };
    for (int i = 0; i < 2; i++) {
        tn_train_step_options o = { .arena = tn_arena_new(ctx), .recompute = i ? "block.*" : NULL,
                                    .skip_nonfinite = true };
        tn_graph   *g = tn_graph_new(ctx, TN_TRAIN), *h = tn_graph_new(ctx, TN_TRAIN);
        tn_program *part = tn_accumulate_step(g, deep_loss(&d[i], g, TN_SUM), d[i].opt, &o);
        tn_program *update = tn_update_step(d[i].opt, &o),
            *whole = tn_train_step_with(h, deep_loss(&d[i], h, TN_MEAN), d[i].opt, &o);
        CHECK_MSG(part && update && whole, "%s", tn_error(ctx));
        for (int k = 0; part && update && whole && k < 3; k++) {
            deep_feed(part, TN_F32, k), deep_feed(whole, TN_F32, 10 + k);
            CHECK_INT(tn_run(part), TN_OK);
            CHECK_INT(tn_run(whole), TN_OK);
            CHECK_INT(tn_run(part), TN_OK);
            CHECK_INT(tn_run(update), TN_OK);
        }
        CHECK_INT(tn_program_stats_of(part).recomputed_calls, i ? AGAIN_IN_A_BLOCK * DEPTH : 0);
        CHECK_INT(tn_program_stats_of(whole).recomputed_calls, i ? AGAIN_IN_A_BLOCK * DEPTH : 0);
        tn_program_free(part), tn_program_free(update), tn_program_free(whole);
        tn_graph_free(g), tn_graph_free(h), tn_arena_free(o.arena);
    }
    CHECK(same_weights(d[0].p, d[1].p) && same_state(d[0].opt, d[1].opt));
    for (int i = 0; i < 2; i++) deep_free(&d[i]);
    tn_ctx_free(ctx);
}

/* ---- a Transformer --------------------------------------------------------------------------- */

enum { BATCH = 3, LENGTH = 7, VOCAB = 19 };

static void feed_ids(tn_program *p, const char *name, int n)
{
    int32_t *ids = tn_input_data(p, name);
    for (int i = 0; ids && i < n; i++) ids[i] = 3 + (i * 7 + (int)name[0]) % (VOCAB - 3);
}

static void train_transformer(tn_ctx *ctx, const char *recompute, bool packed, tn_params *p,
                              double *loss, tn_program_stats *stats)
{
    tn_transformer *m = tn_transformer_new(p, &(tn_transformer_config){
        .src_vocab = VOCAB, .d_model = 16, .n_heads = 2, .d_ff = 32, .n_encoder = 2, .n_decoder = 2,
        .max_length = 64, .dropout = 0.2 });
    tn_optimizer *opt = tn_adam_new(p, &(tn_adam_options){ .lr = 0.01 });
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_shape      shape = packed ? TN_SHAPE(BATCH * LENGTH) : TN_SHAPE(BATCH, LENGTH);
    tn_sequence   s[2] = { { .ids = tn_input(g, "source", TN_I32, shape) },
                           { .ids = tn_input(g, "target", TN_I32, shape) } };
    for (int i = 0; i < 2; i++) {
        char name[2][32];
        snprintf(name[0], 32, "offsets%d", i),
            snprintf(name[1], 32, i || packed ? "places%d" : "lengths", i);
        if (packed)
            s[i].offsets = tn_input(g, name[0], TN_I32, TN_SHAPE(BATCH + 1)),
                s[i].places = tn_input(g, name[1], TN_I32, shape);
        else if (i == 0) s[i].lengths = tn_input(g, name[1], TN_I32, TN_SHAPE(BATCH));
    }
    tn_node      *next = tn_input(g, "next", TN_I32, shape);
    tn_loss_parts parts = { 0 };
    tn_transformer_loss(m, &s[0], &s[1], next, 0.1, &parts);
    tn_program *step = tn_train_step_with(g, parts.sum, opt,
                                          &(tn_train_step_options){ .count = parts.count,
                                                                    .recompute = recompute });
    CHECK_MSG(step, "%s", tn_error(ctx));
    for (int k = 0; step && k < 2; k++) {
        char name[32];
        snprintf(name, sizeof name, "offsets%d", k);
        int32_t *offsets = tn_input_data(step, name);
        for (int i = 0; offsets && i <= BATCH; i++) offsets[i] = i * LENGTH;
        snprintf(name, sizeof name, "places%d", k);
        int32_t *places = tn_input_data(step, name), *lengths = tn_input_data(step, "lengths");
        for (int i = 0; places && i < BATCH * LENGTH; i++) places[i] = i % LENGTH;
        for (int i = 0; lengths && i < BATCH; i++) lengths[i] = LENGTH - i;
    }
    for (int k = 0; step && k < 3; k++) {
        feed_ids(step, "source", BATCH * LENGTH), feed_ids(step, "target", BATCH * LENGTH),
            feed_ids(step, "next", BATCH * LENGTH);
        CHECK_INT(tn_run(step), TN_OK);
        loss[k] = tn_item(step, parts.sum);
    }
    *stats = tn_program_stats_of(step);
    tn_program_free(step), tn_graph_free(g), tn_optimizer_free(opt), tn_transformer_free(m);
}

/* With attention, norms, linear with cross-entropy, tied embeddings; "*" has all of the loss in
 * it. */
TEST(recompute, a_transformer_has_the_same_bits)
{
    static const char *const patterns[] = { "encoder.*, decoder.*", "decoder", "*.ff*", "*" };
    for (int packed = 0; packed < 2; packed++) {
        tn_ctx          *ctx = new_ctx(2);
        tn_params       *plain = tn_params_new(ctx, TN_F32);
        double           want[3], got[3];
        tn_program_stats all, s;
        train_transformer(ctx, NULL, packed, plain, want, &all);
        CHECK(want[0] > 0 && want[0] != want[2]);
        for (int i = 0; i < 4; i++) {
            tn_params *p = tn_params_new(ctx, TN_F32);
            train_transformer(ctx, patterns[i], packed, p, got, &s);
            CHECK_MSG(memcmp(want, got, sizeof want) == 0 && same_weights(plain, p),
                      "\"%s\" differs", patterns[i]);
            CHECK_MSG(s.recomputed_calls > 0, "\"%s\": nothing is recomputed", patterns[i]);
            CHECK_INT(s.kept_bytes, all.arena_bytes);
            if (i == 0) CHECK(s.arena_bytes < all.arena_bytes);
            tn_params_free(p);
        }
        tn_params_free(plain), tn_ctx_free(ctx);
    }
}

/* ---- what is copied and what is not ---------------------------------------------------------- */

/* Gradients of sum(f(x)^2) and, order 2, of the sum of their squares; f in a scope. */
static tn_node *some_gradient(tn_graph *g, int order, tn_node **value)
{
    tn_node *x = tn_input(g, "x", TN_F64, TN_SHAPE(5, 3)), *y = NULL, *dx = NULL;
    TN_SCOPE(g, "f")
        y = tn_softmax(tn_mul(tn_dropout(tn_tanh(tn_matmul(x, tn_transpose(x, 0, 1))), 0.3),
                              tn_exp(tn_matmul(x, tn_transpose(x, 0, 1)))), -1);
    *value = y = tn_sum_all(tn_square(y));
    for (int i = 0; i < order; i++) {
        if (tn_grad(y, NULL, &x, 1, &dx) != TN_OK) return NULL;
        y = tn_sum_all(tn_square(dx));
    }
    return dx;
}

TEST(recompute, gradients_of_any_order_have_the_same_bits)
{
    for (int order = 1; order <= 3; order++) {
        tn_ctx *ctx = new_ctx(1);
        double  value[2][15];
        for (int k = 0; k < 2; k++) {
            tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
            tn_node    *out[2] = { NULL }, *dx = out[1] = some_gradient(g, order, out);
            tn_program *p = tn_compile(g, out, 2,
                                       &(tn_compile_options){ .recompute = k ? "f" : NULL });
            CHECK_MSG(p, "%s", tn_error(ctx));
            double *x = tn_input_data(p, "x");
            for (int i = 0; x && i < 15; i++) x[i] = cos(2 + 5 * i);
            CHECK_INT(tn_run(p), TN_OK);
            CHECK_INT(tn_fetch(p, dx, value[k], sizeof value[k]), TN_OK);
            CHECK(k == 0 || tn_program_stats_of(p).recomputed_calls >= 3); /* matmul, tanh, exp */
            tn_program_free(p), tn_graph_free(g);
        }
        CHECK_MSG(memcmp(value[0], value[1], sizeof value[0]) == 0, "order %d differs", order);
        tn_ctx_free(ctx);
    }
}

/* exp in region r; compiled for its gradient and for `also`. */
static int64_t calls_again(tn_ctx *ctx, const char *pattern, int which)
{
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(100)), *inner = NULL, *y = NULL,
        *out[3] = { NULL };
    tn_node  *v = tn_variable_new(ctx, "v", TN_F32, TN_SHAPE(100));
    int       n = 2;
    TN_SCOPE(g, "r")
    {
        inner = tn_tanh(x);
        y = tn_sin(inner);
        if (which == 3) out[n++] = inner; /* the host fetches it */
        if (which == 4) out[n++] = tn_assign(v, inner);
    }
    if (which == 1) y = tn_add(y, inner);      /* the forward pass goes on with it */
    if (which == 2) y = tn_add(y, tn_tanh(x)); /* an equal call outside is the same one */
    out[0] = tn_sum_all(y);
    CHECK_INT(tn_grad(out[0], NULL, &x, 1, &out[1]), TN_OK);
    tn_program *p = tn_compile(g, out, n, &(tn_compile_options){ .recompute = pattern });
    CHECK_MSG(p, "%s", tn_error(ctx));
    int64_t again = tn_program_stats_of(p).recomputed_calls;
    tn_program_free(p), tn_graph_free(g), tn_variable_free(v);
    return again;
}

TEST(recompute, what_others_read_is_kept)
{
    tn_ctx *ctx = new_ctx(1);
    CHECK_INT(calls_again(ctx, NULL, 0), 0);
    CHECK_INT(calls_again(ctx, "r", 0), 1); /* tanh; sin's own result is read by the sum alone */
    for (int which = 1; which <= 4; which++) CHECK_INT(calls_again(ctx, "r", which), 0);
    tn_ctx_free(ctx);
}

/* What is made in the forward pass for a gradient alone is made once, and late. */
TEST(recompute, what_only_gradients_read_is_not_made_twice)
{
    tn_ctx   *ctx = new_ctx(1);
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(8)), *dy = NULL, *dx = NULL;
    TN_SCOPE(g, "cotangent") dy = tn_exp(tn_sin(x));
    CHECK_INT(tn_grad(tn_square(x), dy, &x, 1, &dx), TN_OK);
    tn_program *p = tn_compile(g, &dx, 1, &(tn_compile_options){ .recompute = "cotangent" });
    tn_program *plain = tn_compile(g, &dx, 1, NULL);
    REQUIRE(p && plain);
    CHECK_INT(tn_program_stats_of(p).recomputed_calls, 0);
    CHECK_NEAR(tn_program_stats_of(p).flops, tn_program_stats_of(plain).flops, 0);
    for (int i = 0; i < 8; i++)
        ((float *)tn_input_data(p, "x"))[i] = ((float *)tn_input_data(plain, "x"))[i] = (float)i;
    CHECK(tn_run(p) == TN_OK && tn_run(plain) == TN_OK);
    CHECK(memcmp(tn_output(p, 0), tn_output(plain, 0), 8 * sizeof(float)) == 0);
    tn_program_free(p), tn_program_free(plain), tn_graph_free(g), tn_ctx_free(ctx);
}

TEST(recompute, a_program_without_gradients_stays)
{
    tn_ctx     *ctx = new_ctx(1);
    deep        d = deep_new(ctx, TN_F32, false);
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_node    *loss = deep_loss(&d, g, TN_MEAN);
    tn_program *p = tn_compile(g, &loss, 1, &(tn_compile_options){ .recompute = "block.*" });
    REQUIRE(p);
    tn_program_stats s = tn_program_stats_of(p);
    CHECK_INT(s.recomputed_calls, 0);
    CHECK_INT(s.kept_bytes, s.arena_bytes);
    tn_program_free(p), tn_graph_free(g), deep_free(&d), tn_ctx_free(ctx);
}

/* A cache that is written in a region is written once. */
TEST(recompute, rows_of_a_cache_are_written_once)
{
    tn_ctx   *ctx = new_ctx(1);
    tn_node  *cache = tn_variable_new(ctx, "cache", TN_F32, TN_SHAPE(1, 4, 2));
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(1, 1, 2)),
        *at = tn_input(g, "at", TN_I32, TN_SCALAR);
    tn_node  *y = tn_input(g, "y", TN_F32, TN_SHAPE(1, 4, 2)), *out[2] = { NULL };
    TN_SCOPE(g, "r") out[0] = tn_sum_all(tn_mul(tn_write_rows(cache, tn_exp(x), at), y));
    CHECK_INT(tn_grad(out[0], NULL, &y, 1, &out[1]), TN_OK);
    tn_program *p = tn_compile(g, out, 2, &(tn_compile_options){ .recompute = "r" });
    CHECK_MSG(p, "%s", tn_error(ctx));
    CHECK_INT(tn_program_stats_of(p).recomputed_calls, 0);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(cache), tn_ctx_free(ctx);
}

/* ---- told and refused ------------------------------------------------------------------------ */

TEST(recompute, the_dump_tells_saving_and_price)
{
    tn_ctx     *ctx = new_ctx(1);
    deep        d = deep_new(ctx, TN_F32, false);
    tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
    tn_program *p = tn_train_step_with(g, deep_loss(&d, g, TN_MEAN), d.opt,
                                       &(tn_train_step_options){ .recompute = "block.*" });
    FILE       *f = tmpfile();
    char        text[65536], line[200];
    REQUIRE(p && f);
    tn_program_dump(p, f);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    tn_program_stats s = tn_program_stats_of(p);
    snprintf(line, sizeof line,
             "recomputed: 24 calls, %.4g GFLOP (%.1f %% of the program); "
             "the arena has %zu bytes without",
             s.recomputed_flops * 1e-9, 100 * s.recomputed_flops / s.flops, s.kept_bytes);
    CHECK_CONTAINS(text, line);
    CHECK_CONTAINS(text, "# block.7.l7  [again]");
    tn_program_free(p), tn_graph_free(g), deep_free(&d), tn_ctx_free(ctx);
}

TEST(recompute, patterns_that_name_nothing_are_refused)
{
    static const struct {
        const char *patterns, *message;
    } cases[] = {
        { "blok.*", "no scope of the graph is blok.*" },
        { "block.*, layer.3", "no scope of the graph is layer.3" },
        { "block.8", "no scope of the graph is block.8" },
        { "bloc", "no scope of the graph is bloc" },
    };
    tn_ctx *ctx = new_ctx(1);
    deep    d = deep_new(ctx, TN_F32, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        CHECK(!tn_train_step_with(g, deep_loss(&d, g, TN_MEAN), d.opt,
                                  &(tn_train_step_options){ .recompute = cases[i].patterns }));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
        CHECK_CONTAINS(tn_error(ctx), cases[i].message);
        tn_clear_error(ctx);
        tn_graph_free(g);
    }
    deep_free(&d), tn_ctx_free(ctx);
}

static bool make_and_run(tn_ctx *ctx)
{
    deep        d = deep_new(ctx, TN_F32, false);
    tn_graph   *g = tn_graph_new(ctx, TN_TRAIN);
    tn_program *p = tn_train_step_with(g, deep_loss(&d, g, TN_MEAN), d.opt,
                                       &(tn_train_step_options){ .recompute = "block.*" });
    bool        ok = tn_input_data(p, "x") && tn_input_data(p, "y") && tn_run(p) == TN_OK;
    tn_program_free(p), tn_graph_free(g), deep_free(&d);
    return ok;
}

TEST(recompute, every_allocation_may_fail) { check_each_allocation(make_and_run); }

/* What layers of one weight multiply is joined a few layers at a time: not all of it is kept. */
TEST(recompute, of_layers_that_share_a_weight)
{
    enum { N = 256 };
    tn_ctx   *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(N, N)), *dw = NULL;
    tn_node  *h = tn_input(g, "x", TN_F32, TN_SHAPE(N, N));
    for (int i = 0; i < 40; i++)
        TN_SCOPE(g, "layer.%d", i / 8) h = tn_tanh(tn_matmul(h, w));
    CHECK_INT(tn_grad(tn_sum_all(h), NULL, &w, 1, &dw), TN_OK);
    tn_program *p = tn_compile(g, &dw, 1, &(tn_compile_options){ .recompute = "layer.*" });
    REQUIRE(p);
    const size_t one = N * N * sizeof(float), bytes = tn_program_stats_of(p).arena_bytes;
    CHECK_MSG(bytes <= 64 * one, "expected at most 64 matrices, got %g", (double)bytes / one);
    tn_program_free(p), tn_graph_free(g), tn_variable_free(w), tn_ctx_free(ctx);
}

TEST_MAIN
