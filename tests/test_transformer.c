/* The Transformer: its whole gradient against differences, packed against padded, causality,
 * positions, learning; GPT, its decoder alone; and what their configurations may be.
 * (test_translate.c has decoding.) */
#include "check.h"
#include "libtensor.h"
#include "tiny_transformer.h"

#include <math.h>

/* Two pairs of sentences, padded to 4. */
enum { ROWS = 2, LENGTH = 4 };

static const int32_t source_ids[ROWS * LENGTH] = { 4, 5, 6, 3, 7, 3, 0, 0 };
static const int32_t target_ids[ROWS * LENGTH] = { 2, 6, 8, 0, 2, 4, 5, 7 };
static const int32_t next_ids[ROWS * LENGTH] = { 6, 8, 3, 0, 4, 5, 7, 3 };
static const int32_t source_lengths[ROWS] = { 4, 2 };

/* The same, packed: 6 and 7 tokens. */
static const int32_t packed_source[] = { 4, 5, 6, 3, 7, 3 },
                     packed_target[] = { 2, 6, 8, 2, 4, 5, 7 };
static const int32_t packed_next[] = { 6, 8, 3, 4, 5, 7, 3 };
static const int32_t source_offsets[] = { 0, 4, 6 }, target_offsets[] = { 0, 3, 7 };
static const int32_t source_places[] = { 0, 1, 2, 3, 0, 1 },
                     target_places[] = { 0, 1, 2, 0, 1, 2, 3 };

static tn_sequence padded(tn_graph *g, const int32_t *ids, const int32_t *lengths)
{
    return (tn_sequence){ .ids = ints(g, TN_SHAPE(ROWS, LENGTH), ids),
                          .lengths = lengths ? ints(g, TN_SHAPE(ROWS), lengths) : NULL };
}

static tn_sequence packed(tn_graph *g, int64_t n, const int32_t *ids, const int32_t *offsets,
                          const int32_t *places)
{
    return (tn_sequence){ .ids = ints(g, TN_SHAPE(n), ids),
                          .offsets = ints(g, TN_SHAPE(ROWS + 1), offsets),
                          .places = ints(g, TN_SHAPE(n), places) };
}

static tn_loss_parts loss_of(const fixture *f, tn_graph *g, bool is_packed)
{
    tn_loss_parts loss;
    tn_sequence   source = is_packed ? packed(g, 6, packed_source, source_offsets, source_places)
                                     : padded(g, source_ids, source_lengths);
    tn_sequence   target = is_packed ? packed(g, 7, packed_target, target_offsets, target_places)
                                     : padded(g, target_ids, NULL);
    tn_node *next =
        is_packed ? ints(g, TN_SHAPE(7), packed_next) : ints(g, TN_SHAPE(ROWS, LENGTH), next_ids);
    tn_transformer_loss(f->model, &source, &target, next, 0.1, &loss);
    return loss;
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* d loss / d w of every number of every parameter against (loss(w + h) - loss(w - h)) / 2h. */
static void check_gradients(const char *name, tn_transformer_config c, bool is_packed)
{
    enum { MOST = 64 };
    fixture   f;
    tn_node  *wrt[MOST], *out[MOST + 1], *grad[MOST];
    const double h = 1e-5;
    if (!open_fixture(&f, &c, TN_F64)) return;
    tn_graph *g = tn_graph_new(f.ctx, TN_TRAIN);
    int       n = tn_params_count(f.params);
    for (int i = 0; i < n; i++) wrt[i] = tn_params_at(f.params, i);
    out[0] = loss_of(&f, g, is_packed).sum;
    tn_grad(out[0], NULL, wrt, n, grad);
    for (int i = 0; i < n; i++) out[i + 1] = grad[i];
    tn_node *run = tn_variable_new(f.ctx, "run", TN_I64,
                                   TN_SCALAR); /* kept at 0: the same dropout each time */
    tn_compile_options options = { .run = run };
    tn_program *p = tn_compile(g, out, n + 1, &options), *loss = tn_compile(g, out, 1, &options);
    CHECK_MSG(p && loss && tn_run(p) == TN_OK, "%s: %s", name, tn_error(f.ctx));
    double worst = 0;
    int    failed = 0;
    for (int i = 0; p && loss && i < n; i++) {
        double       *w = tn_variable_data(wrt[i]);
        const double *dw = tn_output(p, i + 1);
        size_t        size = tn_variable_bytes(wrt[i]) / sizeof *w;
        for (size_t k = 0; k < size; k++) {
            if (wrt[i] == f.model->target.w && k < 4)
                continue; /* the row of padding has no gradient */
            double was = w[k], at[2];
            for (int side = 0; side < 2; side++) {
                w[k] = was + (side ? h : -h);
                tn_variable_fill(run, 0);
                tn_run(loss);
                at[side] = *(const double *)tn_output(loss, 0);
            }
            w[k] = was;
            double numeric = (at[1] - at[0]) / (2 * h),
                   error = fabs(dw[k] - numeric) / fmax(1, fabs(numeric));
            if (error > worst) worst = error;
            if (error > 1e-6 && ++failed < 4)
                CHECK_MSG(false, "%s: %s[%zu]: expected %.10g, got %.10g, tolerance 1e-6", name,
                          tn_variable_name(wrt[i]), k, numeric, dw[k]);
        }
    }
    CHECK_MSG(worst > 0, "%s: no gradient was checked", name);
    tn_program_free(p), tn_program_free(loss);
    tn_variable_free(run);
    tn_graph_free(g);
    close_fixture(&f);
}

TEST(transformer, gradient_pre_norm)
{
    tn_transformer_config c = tiny();
    check_gradients("pre-norm, padded", c, false);
    check_gradients("pre-norm, packed", c, true);
}

TEST(transformer, gradient_post_norm)
{
    tn_transformer_config c = tiny();
    c.post_norm = true, c.activation = TN_ACTIVATION_GELU_TANH;
    check_gradients("post-norm, padded", c, false);
    check_gradients("post-norm, packed", c, true);
}

TEST(transformer, gradient_dropout)
{
    tn_transformer_config c = tiny();
    c.dropout = 0.2, c.n_encoder = 2;
    check_gradients("dropout, padded", c, false);
    check_gradients("dropout, packed", c, true);
}

TEST(transformer, gradient_untied)
{
    tn_transformer_config c = tiny();
    c.separate_source = c.separate_output = c.learned_positions = true;
    c.max_length = 5, c.activation = TN_ACTIVATION_SILU;
    check_gradients("untied", c, false);
}

/* ---- layouts --------------------------------------------------------------------------------- */

static double value(tn_node *x)
{
    double v = NAN;
    tn_eval(x, &v, sizeof v);
    return v;
}

TEST(transformer, packed_is_padded)
{
    fixture               f;
    tn_transformer_config c = tiny();
    c.n_encoder = c.n_decoder = 2;
    if (!open_fixture(&f, &c, TN_F64)) return;
    tn_graph     *g = tn_graph_new(f.ctx, TN_EVAL);
    tn_loss_parts a = loss_of(&f, g, false), b = loss_of(&f, g, true);
    CHECK_NEAR(value(a.count), 7, 0);
    CHECK_NEAR(value(b.count), 7, 0);
    CHECK_NEAR(value(b.sum), value(a.sum), 1e-12);
    CHECK_NEAR(value(b.nll), value(a.nll), 1e-12);
    tn_graph_free(g);
    close_fixture(&f);
}

TEST(transformer, one_side_packed)
{
    fixture               f;
    tn_transformer_config c = tiny();
    tn_loss_parts         loss;
    if (!open_fixture(&f, &c, TN_F64)) return;
    tn_graph   *g = tn_graph_new(f.ctx, TN_EVAL);
    tn_sequence source = packed(g, 6, packed_source, source_offsets, source_places),
                target = padded(g, target_ids, NULL);
    CHECK_INT(tn_transformer_loss(f.model, &source, &target,
                                  ints(g, TN_SHAPE(ROWS, LENGTH), next_ids), 0, &loss),
              TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(f.ctx), "one side is packed");
    tn_graph_free(g);
    close_fixture(&f);
}

/* ---- what sees what -------------------------------------------------------------------------- */

static void logits_of(const fixture *f, const int32_t *target, double *out)
{
    tn_graph   *g = tn_graph_new(f->ctx, TN_EVAL);
    tn_sequence s = padded(g, source_ids, source_lengths), t = padded(g, target, NULL);
    tn_node *y = tn_transformer_logits(
        f->model, tn_transformer_decode(f->model, tn_transformer_encode(f->model, &s), &s, &t));
    CHECK_INT(tn_eval(y, out, ROWS * LENGTH * VOCAB * sizeof *out), TN_OK);
    tn_graph_free(g);
}

TEST(transformer, causality)
{
    fixture               f;
    tn_transformer_config c = tiny();
    double                before[ROWS][LENGTH][VOCAB], after[ROWS][LENGTH][VOCAB];
    int32_t               changed[ROWS * LENGTH];
    if (!open_fixture(&f, &c, TN_F64)) return;
    memcpy(changed, target_ids, sizeof changed);
    changed[2] = 4, changed[LENGTH + 2] = 8;
    logits_of(&f, target_ids, &before[0][0][0]), logits_of(&f, changed, &after[0][0][0]);
    for (int i = 0; i < ROWS; i++) {
        CHECK(memcmp(before[i][0], after[i][0], 2 * sizeof before[i][0]) == 0);
        CHECK(memcmp(before[i][2], after[i][2], sizeof before[i][2]) != 0);
        CHECK(memcmp(before[i][3], after[i][3], sizeof before[i][3]) != 0);
    }
    close_fixture(&f);
}

/* Encoder outputs [4, d] of one source in two orders. */
static void encode_orders(const fixture *f, bool with_positions, double out[2][4][4])
{
    static const int32_t ids[2][4] = { { 4, 5, 6, 7 }, { 6, 4, 7, 5 } };
    for (int i = 0; i < 2; i++) {
        tn_graph   *g = tn_graph_new(f->ctx, TN_EVAL);
        tn_sequence s = { .ids = ints(g, TN_SHAPE(1, 4), ids[i]) };
        tn_node *x = with_positions
                         ? tn_transformer_encode(f->model, &s)
                         : tn_encoder_apply(&f->model->encoder,
                                            tn_embedding_apply(&f->model->source, s.ids), NULL);
        CHECK_INT(tn_eval(x, out[i], sizeof out[i]), TN_OK);
        tn_graph_free(g);
    }
}

TEST(transformer, order_is_in_the_positions)
{
    static const int at[4] = { 1, 3, 0, 2 }; /* token i of the first order in the second */
    fixture               f;
    tn_transformer_config c = tiny();
    double                out[2][4][4], most = 0;
    if (!open_fixture(&f, &c, TN_F64)) return;
    encode_orders(&f, false, out);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) CHECK_NEAR(out[1][at[i]][k], out[0][i][k], 1e-12);
    encode_orders(&f, true, out);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) most = fmax(most, fabs(out[1][at[i]][k] - out[0][i][k]));
    CHECK_MSG(most > 1e-2, "with positions the outputs differ by %g only", most);
    close_fixture(&f);
}

/* ---- learning -------------------------------------------------------------------------------- */

TEST(transformer, learns)
{
    fixture               f;
    tn_transformer_config c = tiny();
    c.d_model = 16, c.d_ff = 32, c.dropout = 0.1;
    if (!open_fixture(&f, &c, TN_F32)) return;
    tn_optimizer *opt = tn_adam_new(f.params, &(tn_adam_options){ .lr = 1e-2 });
    tn_graph     *g = tn_graph_new(f.ctx, TN_TRAIN);
    tn_loss_parts loss = loss_of(&f, g, true);
    tn_program *p = tn_train_step_with(
        g, loss.sum, opt,
        &(tn_train_step_options){ .count = loss.count, .outputs = &loss.nll, .n_outputs = 1 });
    double        first = 0, last = 0;
    for (int i = 0; p && i < 60; i++) {
        CHECK_INT(tn_run(p), TN_OK);
        last = tn_item(p, loss.nll) / 7;
        if (i == 0) first = last;
    }
    CHECK_MSG(p && first > 1.5 && last < 0.3, "nll from %g to %g (%s)", first, last,
              tn_error(f.ctx));
    tn_program_free(p);
    tn_graph_free(g);
    tn_optimizer_free(opt);
    close_fixture(&f);
}

/* ---- the decoder alone ----------------------------------------------------------------------- */

static tn_gpt_config tiny_gpt(void)
{
    return (tn_gpt_config){
        .vocab = VOCAB, .d_model = 8, .n_heads = 2, .n_layers = 2, .max_length = 8
    };
}

static tn_loss_parts gpt_loss(const tn_gpt *m, tn_graph *g, bool is_packed)
{
    tn_cross_entropy_options o = { .has_ignore = true };
    tn_loss_parts            loss;
    tn_sequence s = is_packed ? packed(g, 7, packed_target, target_offsets, target_places)
                              : padded(g, target_ids, NULL);
    tn_node *next =
        is_packed ? ints(g, TN_SHAPE(7), packed_next) : ints(g, TN_SHAPE(ROWS, LENGTH), next_ids);
    tn_gpt_loss(m, &s, next, &o, &loss);
    return loss;
}

TEST(gpt, packed_is_padded)
{
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    tn_params    *p = tn_params_new(ctx, TN_F64);
    tn_gpt_config c = tiny_gpt();
    tn_gpt       *m = tn_gpt_new(p, &c);
    tn_graph     *g = tn_graph_new(ctx, TN_EVAL);
    tn_loss_parts a = gpt_loss(m, g, false), b = gpt_loss(m, g, true);
    CHECK_NEAR(value(a.sum) / 7, log(VOCAB), 0.1); /* at first all are about as likely */
    CHECK_NEAR(value(b.sum), value(a.sum), 1e-12);
    tn_graph_free(g);
    tn_gpt_free(m);
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

TEST(gpt, learns)
{
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    tn_params    *p = tn_params_new(ctx, TN_F32);
    tn_gpt_config c = tiny_gpt();
    c.dropout = 0.1;
    tn_gpt       *m = tn_gpt_new(p, &c);
    tn_optimizer *opt = tn_adamw_new(p, &(tn_adamw_options){ .lr = 1e-2 });
    tn_graph     *g = tn_graph_new(ctx, TN_TRAIN);
    tn_loss_parts loss = gpt_loss(m, g, false);
    tn_program *step =
        tn_train_step_with(g, loss.sum, opt, &(tn_train_step_options){ .count = loss.count });
    for (int i = 0; step && i < 100; i++) CHECK_INT(tn_run(step), TN_OK);
    /* "4" and "6" both come after bos: 2 ln 2 is the least that can be had of 7 */
    CHECK_MSG(step && tn_item(step, loss.sum) < 3.5, "loss %g (%s)",
              step ? tn_item(step, loss.sum) : NAN, tn_error(ctx));
    tn_program_free(step);
    tn_graph_free(g);
    tn_optimizer_free(opt);
    tn_gpt_free(m);
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

TEST(gpt, refused)
{
    tn_ctx    *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_params *p = tn_params_new(ctx, TN_F32);
    CHECK(!tn_gpt_new(p, &(tn_gpt_config){ .vocab = 10, .d_model = 10, .n_heads = 4 }));
    CHECK_CONTAINS(tn_error(ctx), "d_model 10 is not a multiple of 4 heads");
    tn_params_free(p);
    tn_ctx_free(ctx);
}

/* ---- configurations -------------------------------------------------------------------------- */

static void check_refused(tn_transformer_config c, const char *message)
{
    tn_ctx    *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_params *p = tn_params_new(ctx, TN_F32);
    CHECK(!tn_transformer_new(p, &c));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), message);
    tn_params_free(p);
    tn_ctx_free(ctx);
}

TEST(config, refused)
{
    tn_transformer_config c = tiny();
    c.n_heads = 3;
    check_refused(c, "d_model 4 is not a multiple of 3 heads");
    c = tiny(), c.src_vocab = 0;
    check_refused(c, "src_vocab 0 is not in [1,");
    c = tiny(), c.tgt_vocab = 12;
    check_refused(c, "src_vocab 9 and tgt_vocab 12 differ");
    c = tiny(), c.dropout = 1;
    check_refused(c, "dropout 1 is not in [0, 1)");
    c = tiny(), c.eos_id = 9;
    check_refused(c, "eos_id 9 is not in [0, 9)");
    c = tiny(), c.pad_id = c.eos_id = 3;
    check_refused(c, "pad_id and eos_id are both");
    c = tiny(), c.n_encoder = -1;
    check_refused(c, "n_encoder -1");
    c = tiny(), c.activation = (tn_activation)9;
    check_refused(c, "no activation has the number 9");
}

TEST(config, defaults_are_the_base_model)
{
    tn_ctx               *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_transformer_config c = { .src_vocab = 100 };
    CHECK_INT(tn_transformer_config_complete(ctx, &c), TN_OK);
    CHECK_INT(c.tgt_vocab, 100);
    CHECK_INT(c.d_model, 512);
    CHECK_INT(c.n_heads, 8);
    CHECK_INT(c.d_ff, 2048);
    CHECK_INT(c.n_encoder, 6);
    CHECK_INT(c.n_decoder, 6);
    CHECK_NEAR(c.dropout, 0.1, 0);
    CHECK_NEAR(c.attention_dropout, 0.1, 0);
    tn_ctx_free(ctx);
}

TEST(config, text_and_back)
{
    tn_ctx               *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1 });
    tn_transformer_config c = tiny(), d;
    char                  text[1024], again[1024];
    c.norm_eps = 1e-6, c.post_norm = true, c.dropout = TN_NONE;
    CHECK_INT(tn_transformer_config_complete(ctx, &c), TN_OK);
    CHECK(tn_transformer_config_text(&c, text, sizeof text) == strlen(text));
    CHECK_INT(tn_transformer_config_parse(ctx, text, &d), TN_OK);
    tn_transformer_config_text(&d, again, sizeof again);
    CHECK_STR(again, text);
    CHECK(tn_transformer_config_text(&c, again, 5) == strlen(text) && strlen(again) == 4);
    CHECK_INT(tn_transformer_config_parse(ctx, "src_vocab=9\nd_modl=3\n", &d), TN_ERR_FORMAT);
    CHECK_CONTAINS(tn_error(ctx), "line 2: \"d_modl=3\"");
    tn_clear_error(ctx);
    CHECK_INT(tn_transformer_config_parse(ctx, "src_vocab=9x\n", &d), TN_ERR_FORMAT);
    tn_clear_error(ctx);
    CHECK_INT(tn_transformer_config_parse(ctx, "src_vocab=9\nn_heads=7\n", &d), TN_ERR_ARG);
    tn_ctx_free(ctx);
}

TEST_MAIN
