/* One life of a model, each allocation of which fails once: built, compiled, trained, saved, loaded
 * and used to translate. Every failure gives a status, leaks nothing, and a second try works. */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

#include <unistd.h>

enum { VOCAB = 9 };

static char path[256];

static const char *path_of(void)
{
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/tn_failures_%ld.safetensors", dir ? dir : "/tmp",
             (long)getpid());
    return path;
}

typedef struct life {
    tn_params      *p;
    tn_transformer *model;
    tn_optimizer   *opt;
    tn_program     *step;
    tn_translator  *translator;
} life;

static const int32_t sources[8] = { 4, 5, 6, 3, 7, 8, 3, 0 },
    targets[8] = { 2, 6, 5, 4, 2, 8, 7, 0 },
                     nexts[8] = { 6, 5, 4, 3, 8, 7, 3, 0 }, lengths[2] = { 4, 3 };

static bool train(life *l, tn_ctx *ctx)
{
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_sequence   source = { .ids = tn_input(g, "source", TN_I32, TN_SHAPE(2, 4)),
                             .lengths = tn_input(g, "source_lengths", TN_I32, TN_SHAPE(2)) };
    /* causal: needs no lengths */
    tn_sequence   target = { .ids = tn_input(g, "target", TN_I32, TN_SHAPE(2, 4)) };
    tn_node      *next = tn_input(g, "next", TN_I32, TN_SHAPE(2, 4));
    tn_loss_parts loss = { 0 };
    tn_transformer_loss(l->model, &source, &target, next, 0.1, &loss);
    l->step = tn_train_step_with(g, loss.sum, l->opt,
                                 &(tn_train_step_options){ .count = loss.count });
    tn_graph_free(g);
    bool ok = l->step && tn_feed_name(l->step, "source", sources, sizeof sources) == TN_OK &&
              tn_feed_name(l->step, "source_lengths", lengths, sizeof lengths) == TN_OK &&
              tn_feed_name(l->step, "target", targets, sizeof targets) == TN_OK &&
              tn_feed_name(l->step, "next", nexts, sizeof nexts) == TN_OK;
    for (int i = 0; ok && i < 3; i++) ok = tn_run(l->step) == TN_OK;
    return ok;
}

static bool build(life *l, tn_ctx *ctx)
{
    tn_transformer_config c = { .src_vocab = VOCAB, .d_model = 8, .n_heads = 2, .d_ff = 8,
                                .n_encoder = 1, .n_decoder = 1, .max_length = 8 };
    l->p = tn_params_new(ctx, TN_F32);
    l->model = tn_transformer_new(l->p, &c);
    l->opt = l->model ? tn_adamw_new(l->p, &(tn_adamw_options){ .clip_norm = 1, .ema_decay = 0.9 })
        : NULL;
    return l->opt != NULL;
}

static bool translate(life *l)
{
    static const int64_t at[] = { 0, 4, 7 };
    l->translator = tn_translator_new(
        l->model, &(tn_translate_options){ .max_ratio = TN_NONE, .max_extra = 2 });
    return tn_translate(l->translator, sources, at, 2) != NULL;
}

static bool live(tn_ctx *ctx)
{
    life l = { 0 };
    bool ok = build(&l, ctx) && train(&l, ctx) &&
              tn_checkpoint_save(path_of(), l.p, l.opt, &(tn_metadata){ "kind", "transformer" },
                                 1) == TN_OK &&
              tn_checkpoint_load(path_of(), l.p, l.opt) == TN_OK && translate(&l);
    tn_translator_free(l.translator);
    tn_program_free(l.step);
    tn_optimizer_free(l.opt);
    tn_transformer_free(l.model);
    tn_params_free(l.p);
    return ok;
}

TEST(failures, each_allocation_of_a_life)
{
    check_each_allocation(live);
    remove(path_of());
}

/* Gradients that end where there is no memory for what a rule makes: of an operand that is
 * broadcast and used twice, and of attention with its heads in groups. */
static int padding;

static bool differentiate(tn_ctx *ctx)
{
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(1, 4, 2, 3)), *d = NULL, *e = NULL;
    tn_node  *b = tn_input(g, "b", TN_F32, TN_SHAPE(3)), *k = tn_slice(x, 2, 0, 1, 1);
    for (int i = 0; i < padding; i++) tn_full(g, TN_F32, TN_SCALAR, i);
    tn_grad(tn_sum_all(tn_mul(tn_mul(tn_add(x, b), b), b)), NULL, &b, 1, &d);
    const bool has_first = d != NULL;
    tn_grad(tn_sum_all(tn_attention(x, k, k, NULL, NULL)), NULL, &x, 1, &d);
    tn_grad(tn_sum_all(tn_square(d)), NULL, &x, 1, &e);
    tn_graph_free(g);
    return has_first && e;
}

/* Nodes are made from blocks of memory: with more of them before, these end elsewhere. */
TEST(failures, each_allocation_of_gradients)
{
    for (padding = 0; padding < 120; padding++) check_each_allocation(differentiate);
}

/* The same under limits of memory: refused with what is needed, and nothing stays behind. */
TEST(failures, each_limit_of_a_life)
{
    tn_ctx *free_ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    CHECK_MSG(live(free_ctx), "%s", tn_error(free_ctx));
    size_t need = tn_ctx_memory_peak(free_ctx);
    tn_ctx_free(free_ctx);
    for (size_t limit = need / 16; limit < need; limit += need / 16) {
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .memory_limit = limit });
        CHECK(!live(ctx));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
        CHECK_CONTAINS(tn_error(ctx), "limit");
        CHECK_INT(tn_ctx_memory(ctx), 0);
        tn_ctx_free(ctx);
    }
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .memory_limit = need });
    CHECK(live(ctx));
    tn_ctx_free(ctx);
    remove(path_of());
}

TEST_MAIN
