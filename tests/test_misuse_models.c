/* Wrong calls of nn/, models/ and data/: structs that are NULL, names that are none, sizes that
 * overflow, numbers that are not finite. Each gives a status and a message; none ends the
 * process. */
#include "check.h"
#include "libtensor.h"
#include "refused.h"

#include <locale.h>
#include <unistd.h>

typedef struct room {
    tn_params *p;
    tn_graph  *g;
    tn_node   *x, *sequence, *ids; /* f32 [2, 8], [2, 3, 8]; i32 [2, 8] */
} room;

static tn_ctx *new_ctx(room *r)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2, .memory_limit = 64 << 20 });
    r->p = tn_params_new(ctx, TN_F32), r->g = tn_graph_new(ctx, TN_TRAIN);
    r->x = tn_input(r->g, "x", TN_F32, TN_SHAPE(2, 8));
    r->sequence = tn_input(r->g, "sequence", TN_F32, TN_SHAPE(2, 3, 8));
    r->ids = tn_input(r->g, "ids", TN_I32, TN_SHAPE(2, 8));
    return ctx;
}

static void end(room *r, tn_ctx *ctx)
{
    tn_graph_free(r->g), tn_params_free(r->p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* ---- layers ---------------------------------------------------------------------------------- */

TEST(misuse_models, layers_that_are_null)
{
    room              r;
    tn_ctx           *ctx = new_ctx(&r);
    tn_node          *x = r.x, *k, *v, *zero = tn_full(r.g, TN_I32, TN_SCALAR, 0);
    tn_attention_mask mask = { .causal = true };
    REFUSED(tn_linear_apply(NULL, x), TN_ERR_ARG, "tn_linear_apply: the layer is NULL");
    REFUSED(tn_embedding_apply(NULL, r.ids), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_embedding_logits(NULL, x), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_norm_apply(NULL, x), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_layer_norm_apply(NULL, x), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_rms_norm_apply(NULL, x), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_feed_forward_apply(NULL, x), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_positions_apply(NULL, x, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_attention_apply(NULL, x, NULL, &mask), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_attention_apply_weights(NULL, x, NULL, NULL, &k) || k, TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_attention_apply_keys(NULL, x, x, x, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_attention_decode(NULL, x, NULL, zero, NULL, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_attention_keys(NULL, x, &k, &v) == TN_OK, TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_attention_cache_new(r.p, "c", NULL, 1, 1).k, TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_encoder_layer_apply(NULL, x, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_decoder_layer_apply(NULL, x, x, NULL, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_encoder_apply(NULL, x, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_decoder_apply(NULL, x, x, NULL, NULL), TN_ERR_ARG, "layer is NULL");
    REFUSED(tn_block_before(NULL, false, x), TN_ERR_ARG, "layer is NULL");
    CHECK(!tn_linear_apply(NULL, NULL) && !tn_encoder_apply(NULL, NULL, NULL));
    tn_encoder_clear(ctx, NULL), tn_decoder_clear(ctx, NULL);
    CHECK_STR(tn_error(ctx), "");
    end(&r, ctx);
}

/* A name is what tells parameters and scopes apart; "%s" of NULL would be another one. */
TEST(misuse_models, names_that_are_none)
{
    room             r;
    tn_ctx          *ctx = new_ctx(&r);
    tn_block_options o = { .d_model = 8, .n_heads = 2 };
    tn_attention_layer l = tn_attention_new(r.p, "attention", 8, 2, NULL);
    REFUSED(tn_linear_new(r.p, NULL, 2, 2).w, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_attention_new(r.p, NULL, 8, 2, NULL).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_attention_new(r.p, "", 8, 2, NULL).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_attention_cache_new(r.p, NULL, &l, 1, 1).k, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_positions_sinusoidal(r.p, NULL, 4, 4).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_encoder_layer_new(r.p, NULL, &o).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_decoder_layer_new(r.p, "", &o).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_encoder_new(r.p, NULL, 1, &o).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED(tn_decoder_new(r.p, NULL, 1, &o).name, TN_ERR_ARG, "a layer needs a name");
    REFUSED((tn_params_push(r.p, NULL), false), TN_ERR_ARG, "a name is NULL");
    CHECK_INT(tn_params_depth(r.p), 1);
    tn_params_pop(r.p);
    CHECK(!tn_name_matches(NULL, "a") && !tn_name_matches("*", NULL));
    CHECK_INT(tn_params_count(r.p), 4); /* of the one that has a name */
    tn_linear odd = tn_linear_new(r.p, "%s%n", 2, 2);
    CHECK_STR(tn_variable_name(odd.w), "%s%n.w");
    end(&r, ctx);
}

TEST(misuse_models, sizes_that_are_none)
{
    const int64_t    most = INT64_MAX, big = (int64_t)1 << 40;
    room             r;
    tn_ctx          *ctx = new_ctx(&r);
    tn_params       *p = r.p;
    tn_block_options o = { .d_model = 8, .n_heads = 2 };
    REFUSED(tn_linear_new(p, "l", most, most).w, TN_ERR_SHAPE, "9223372036854775807");
    REFUSED(tn_embedding_new(p, "e", most, 8, NULL).w, TN_ERR_SHAPE, "9223372036854775807");
    REFUSED(tn_attention_new(p, "a", 8, big,
                             &(tn_attention_layer_options){ .head_size = big }).out.w, TN_ERR_SHAPE,
            "1099511627776 heads of size 1099511627776");
    REFUSED(tn_attention_new(p, "a", 8, 2, &(tn_attention_layer_options){ .head_size = -4 }).out.w,
            TN_ERR_SHAPE, "size -4");
    REFUSED(tn_attention_new(p, "a", -8, 2, NULL).out.w, TN_ERR_SHAPE, "size -4");
    REFUSED(tn_attention_new(p, "a", 8, 2, &(tn_attention_layer_options){ .n_kv_heads = -2 }).out.w,
            TN_ERR_ARG, "-2 key heads");
    REFUSED(tn_positions_sinusoidal(p, "s", most, 8).length, TN_ERR_SHAPE, "no table");
    REFUSED(tn_positions_sinusoidal(p, "s", -5, 8).length, TN_ERR_SHAPE, "[-5,8]");
    REFUSED(tn_positions_sinusoidal(p, "s", 5, 0).length, TN_ERR_SHAPE, "[5,0]");
    REFUSED(tn_encoder_new(p, "e", -3, &o).layers, TN_ERR_ARG, "-3 layers");
    REFUSED(tn_encoder_new(p, "e", ((int64_t)1 << 61) + 1, &o).layers, TN_ERR_ARG, "layers");
    REFUSED(tn_decoder_new(p, "d", most, &o).layers, TN_ERR_ARG, "layers");
    REFUSED(tn_encoder_new(p, "f", 1, &(tn_block_options){ .d_model = most - 7,
                                                           .n_heads = 1 }).layers, TN_ERR_SHAPE,
                                                           "d_model");
    REFUSED(tn_encoder_new(p, "e", 3, NULL).layers, TN_ERR_ARG, "no options");
    REFUSED(tn_encoder_layer_new(p, "e", NULL).name, TN_ERR_ARG, "no options");
    REFUSED(tn_decoder_layer_new(p, "e", NULL).name, TN_ERR_ARG, "no options");
    REFUSED(tn_gpt_new(p, &(tn_gpt_config){ .d_model = most - 2, .n_heads = 1 }), TN_ERR_ARG,
            "d_model");
    REFUSED(tn_gpt_new(p, &(tn_gpt_config){ .d_model = INT64_MIN, .n_heads = 1 }), TN_ERR_ARG,
            "d_model");
    CHECK_INT(tn_params_depth(p), 0);
    end(&r, ctx);
}

TEST(misuse_models, layers_on_the_wrong_values)
{
    room               r;
    tn_ctx            *ctx = new_ctx(&r);
    tn_attention_layer self = tn_attention_new(r.p, "self", 8, 2, NULL);
    tn_attention_layer cross = tn_attention_new(r.p, "cross", 8, 2,
                                                &(tn_attention_layer_options){ .is_cross = true });
    tn_attention_layer wild = tn_attention_new(r.p, "wild", 8, 2,
                                               &(tn_attention_layer_options){ .dropout = NAN });
    tn_feed_forward    ff = tn_feed_forward_new(r.p, "ff", 8, 8,
                                                &(tn_feed_forward_options){ .activation =
                                                                            (tn_activation)77 });
    tn_positions       positions = tn_positions_sinusoidal(r.p, "positions", 9, 8);
    tn_node *deep = tn_input(r.g, "deep", TN_F32, TN_SHAPE(1, 1, 1, 1, 1, 1, 2, 8));
    tn_node *offsets = tn_input(r.g, "offsets", TN_I32, TN_SHAPE(3)), *k;
    tn_attention_mask  packed = { .q_offsets = offsets };
    REFUSED(tn_attention_apply(&self, deep, deep, &packed), TN_ERR_SHAPE,
            "no room for a dimension");
    REFUSED(tn_attention_apply_keys(&cross, deep, deep, deep, NULL), TN_ERR_SHAPE,
            "no room for a dimension");
    REFUSED(tn_attention_apply(&cross, r.sequence, NULL, NULL), TN_ERR_SHAPE, "needs a memory");
    REFUSED(tn_attention_apply(&wild, r.sequence, NULL, NULL), TN_ERR_ARG, "dropout");
    REFUSED(tn_attention_keys(&cross, r.sequence, NULL, &k) == TN_OK, TN_ERR_ARG, "what it gives");
    REFUSED(tn_attention_decode(&self, r.sequence, NULL, tn_full(r.g, TN_I32, TN_SCALAR, 0), NULL,
                                NULL), TN_ERR_ARG, "its cache");
    REFUSED(tn_feed_forward_apply(&ff, r.x), TN_ERR_ARG, "77");
    REFUSED(tn_positions_apply(&positions, r.ids, NULL), TN_ERR_DTYPE, "i32");
    tn_embedding_layer table = tn_embedding_new(r.p, "table", 9, 8, NULL); /* variables alone */
    tn_positions       learned = tn_positions_learned(r.p, "learned", 9, 8);
    REFUSED(tn_positions_apply(&positions, table.w, NULL), TN_ERR_ARG, "tn_read(g, x)");
    REFUSED(tn_positions_apply(&learned, table.w, NULL), TN_ERR_ARG, "tn_read(g, x)");
    REFUSED(tn_embedding_logits(&table, learned.w), TN_ERR_ARG, "tn_read(g, w)");
    tn_node *places = tn_input(r.g, "places", TN_I64, TN_SHAPE(9));
    CHECK(tn_positions_apply(&positions, table.w, places));
    CHECK(tn_positions_apply(&learned, table.w, places));
    REFUSED(tn_embedding_new(r.p, "e", 8, 8, &(tn_embedding_options){ .has_padding = true,
        .padding_idx = 9 }).w, TN_ERR_ARG, "9");
    end(&r, ctx);
}

/* ---- numbers that are not finite ------------------------------------------------------------- */

TEST(misuse_models, numbers_that_are_not_finite)
{
    static float  out[8];
    const tn_init wild = tn_init_normal(0, NAN), gain = tn_init_orthogonal(INFINITY),
        normal = tn_init_normal(0, 1), turned = tn_init_uniform(2, -1),
        loss = { .kind = TN_INIT_XAVIER_UNIFORM, .gain = -2 };
    tn_shape      absurd = { .rank = 77 }, negative = { .rank = 2, .dim = { -3, -2 } };
    int64_t       in, fan_out;
    room          r;
    tn_ctx       *ctx = new_ctx(&r);
    REQUIRE(tn_param(r.p, "w", TN_SHAPE(2, 8), NULL));
    REFUSED(tn_param(r.p, "v", TN_SHAPE(2, 8), &wild), TN_ERR_ARG, "not finite");
    REFUSED(tn_param(r.p, "v", TN_SHAPE(2, 8), &turned), TN_ERR_ARG, "2 to -1 is no range");
    REFUSED(tn_param(r.p, "v", TN_SHAPE(3, 3), &loss), TN_ERR_ARG, "2 to -2 is no range");
    REFUSED(tn_embedding_new(r.p, "e", 3, 2, &(tn_embedding_options){ .std = -1 }).w, TN_ERR_ARG,
            "a deviation of -1");
    tn_encoder_layer l = tn_encoder_layer_new(r.p, "l", &(tn_block_options){
            .d_model = 4, .n_heads = 1, .norm_eps = -1 });
    tn_graph        *g = tn_graph_new(ctx, TN_EVAL);
    REFUSED(tn_encoder_layer_apply(&l, tn_full(g, TN_F32, TN_SHAPE(3, 4), 1), NULL), TN_ERR_ARG,
            "eps is -1");
    CHECK_INT(tn_scope_depth(g), 0);
    tn_graph_free(g);
    REFUSED(tn_init_fill(ctx, &gain, TN_F32, TN_SHAPE(2, 2), 1, out) == TN_OK, TN_ERR_ARG,
            "not finite");
    REFUSED(tn_init_fill(ctx, &normal, TN_F32, absurd, 1, out) == TN_OK, TN_ERR_SHAPE, "no shape");
    REFUSED(tn_init_fill(ctx, &normal, TN_F32, negative, 1, out) == TN_OK, TN_ERR_SHAPE, "[-3,-2]");
    tn_init_fans(TN_SHAPE(4, 5), NULL, NULL), tn_init_fans(absurd, &in, &fan_out);
    CHECK(in == 1 && fan_out == 1);
    tn_init_fans(TN_SHAPE((int64_t)1 << 40, (int64_t)1 << 40, 0, 3), &in, &fan_out);
    tn_init_fans(TN_SHAPE((int64_t)1 << 40, (int64_t)1 << 40, 2, 3), &in, &fan_out);
    CHECK_INT(in, (int64_t)1 << 62);
    REFUSED(tn_adam_new(r.p, &(tn_adam_options){ .lr = NAN }), TN_ERR_ARG, "lr is nan");
    REFUSED(tn_adam_new(r.p, &(tn_adam_options){ .eps = NAN }), TN_ERR_ARG, "eps is nan");
    REFUSED(tn_sgd_new(r.p, &(tn_sgd_options){ .weight_decay = INFINITY }), TN_ERR_ARG,
            "weight_decay is inf");
    REFUSED(tn_sgd_new(r.p, &(tn_sgd_options){ .lr = -0.5 }), TN_ERR_ARG, "lr is -0.5");
    REFUSED(tn_sgd_new(r.p, &(tn_sgd_options){ .nesterov = true }), TN_ERR_ARG,
            "momentum is 0, not what nesterov needs");
    REFUSED(tn_adamw_new(r.p, &(tn_adamw_options){ .group = { { .lr_scale = NAN } } }), TN_ERR_ARG,
            "lr_scale is nan");
    REFUSED(tn_adamw_new(r.p, &(tn_adamw_options){ .group = { { .decay_scale = NAN } } }),
            TN_ERR_ARG, "decay_scale is nan");
    tn_optimizer *opt = tn_adam_new(r.p, &(tn_adam_options){ .lr = 0.5, .clip_norm = 1,
                                                             .ema_decay = 0.5 });
    REFUSED((tn_optimizer_set_lr(opt, NAN), false), TN_ERR_ARG, "set_lr: nan is not 0 or more");
    REFUSED((tn_optimizer_set_lr(opt, -1), false), TN_ERR_ARG, "set_lr: -1 is not 0 or more");
    CHECK_NEAR(tn_optimizer_lr(opt), 0.5, 0);
    REFUSED((tn_optimizer_set_weight_decay(opt, INFINITY), false), TN_ERR_ARG,
            "set_weight_decay: inf");
    REFUSED(tn_optimizer_set_clip_norm(opt, NAN) == TN_OK, TN_ERR_ARG, "set_clip_norm: nan");
    REFUSED(tn_optimizer_set_ema_decay(opt, 1.5) == TN_OK, TN_ERR_ARG, "set_ema_decay: 1.5");
    REFUSED(tn_optimizer_set_ema_decay(opt, NAN) == TN_OK, TN_ERR_ARG, "set_ema_decay: nan");
    REFUSED(tn_optimizer_bind_average(opt, NULL) == TN_OK, TN_ERR_ARG, "no program");
    CHECK(isnan(tn_schedule_lr(NULL, 1)));
    tn_sinusoidal_table(4, 4, TN_F32, NULL);
    tn_optimizer_free(opt);
    end(&r, ctx);
}

/* ---- models ---------------------------------------------------------------------------------- */

static const tn_transformer_config small = { .src_vocab = 16, .d_model = 8, .n_heads = 2,
                                             .n_encoder = 1, .n_decoder = 1, .max_length = 8 };

TEST(misuse_models, models)
{
    room                  r;
    tn_ctx               *ctx = new_ctx(&r);
    tn_transformer_config c;
    tn_loss_parts         loss;
    char                  text[8] = "?";
    REFUSED(tn_transformer_new(r.p, NULL), TN_ERR_ARG, "no configuration");
    REFUSED(tn_transformer_config_complete(ctx, NULL) == TN_OK, TN_ERR_ARG, "no configuration");
    REFUSED(tn_transformer_config_parse(ctx, NULL, &c) == TN_OK, TN_ERR_ARG, "no text");
    REFUSED(tn_transformer_config_parse(ctx, "", NULL) == TN_OK, TN_ERR_ARG, "no configuration");
    REFUSED(tn_transformer_config_parse(ctx, "src_vocab=9\nd_model=9223372036854775806\n",
                                        &c) == TN_OK, TN_ERR_ARG, "d_model");
    CHECK_INT(tn_transformer_config_text(NULL, text, sizeof text), 0);
    CHECK_STR(text, "");
    CHECK(tn_transformer_config_text(&small, NULL, 0) > 100);
    tn_transformer *m = tn_transformer_new(r.p, &small);
    tn_params_push(r.p, "gpt");
    tn_gpt *gpt = tn_gpt_new(r.p, &(tn_gpt_config){ .vocab = 16, .d_model = 8, .n_heads = 2,
                                                    .n_layers = 1, .max_length = 8 });
    REQUIRE(m && gpt);
    tn_sequence padded = { .ids = r.ids }, packed = { .ids = r.ids, .offsets = tn_input(r.g, "o",
        TN_I32, TN_SHAPE(3)) }, floats = { .ids = r.x };
    REFUSED(tn_transformer_loss(m, &padded, &padded, r.ids, 0, NULL) == TN_OK, TN_ERR_ARG,
            "no room for the loss");
    REFUSED(tn_gpt_loss(gpt, &padded, r.ids, NULL, NULL) == TN_OK, TN_ERR_ARG,
            "no room for the loss");
    REFUSED(tn_transformer_encode(m, &packed), TN_ERR_ARG, "offsets and places");
    REFUSED(tn_gpt_apply(gpt, &packed), TN_ERR_ARG, "offsets and places");
    REFUSED(tn_gpt_apply(gpt, &floats), TN_ERR_DTYPE, "f32");
    REFUSED(tn_gpt_loss(gpt, &padded, r.x, NULL, &loss) == TN_OK, TN_ERR_DTYPE, "f32");
    REFUSED(tn_transformer_loss(m, &padded, &padded, r.ids, NAN, &loss) == TN_OK, TN_ERR_ARG,
            "smoothing");
    CHECK(tn_transformer_loss(NULL, NULL, NULL, NULL, 0, NULL) != TN_OK &&
          tn_gpt_loss(NULL, NULL, NULL, NULL, NULL) != TN_OK);
    tn_transformer_free(m), tn_gpt_free(gpt);
    end(&r, ctx);
}

/* Wrong sources are refused; the translator is as good as before. So is a model of NaNs. */
TEST(misuse_models, translating)
{
    static const int32_t ids[4] = { 5, 6, 3, 99 };
    static const int64_t fine[2] = { 0, 3 }, before[2] = { -4, -1 }, falls[2] = { 3, 0 },
        strange[2] = { 1, 4 };
    room            r;
    tn_ctx         *ctx = new_ctx(&r);
    tn_transformer *m = tn_transformer_new(r.p, &small);
    REQUIRE(m);
    for (int beam = 1; beam <= 3; beam += 2) {
        tn_translator *t = tn_translator_new(m, &(tn_translate_options){ .beam = beam });
        REFUSED(tn_translate(t, ids, before, 1), TN_ERR_ARG, "source 0 is at -4");
        REFUSED(tn_translate(t, ids, falls, 1), TN_ERR_ARG, "source 0 has -3 tokens");
        REFUSED(tn_translate(t, NULL, fine, 1), TN_ERR_ARG, "no sources");
        REFUSED(tn_translate(t, ids, fine, -1), TN_ERR_ARG, "no sources");
        REFUSED(tn_translate(t, ids, strange, 1), TN_ERR_INDEX, "99");
        const tn_translation *y = tn_translate(t, ids, fine, 1);
        CHECK_MSG(y && y->ids && isfinite(y->score), "after refusals: %s", tn_error(ctx));
        tn_translator_free(t);
    }
    for (int i = 0; i < tn_params_count(r.p); i++) tn_variable_fill(tn_params_at(r.p, i), NAN);
    tn_translator *t = tn_translator_new(m, &(tn_translate_options){ .beam = 2 });
    REFUSED(tn_translate(t, ids, fine, 1), TN_ERR_ARG, "the scores of its tokens are not finite");
    tn_translator_free(t);
    tn_transformer_free(m);
    end(&r, ctx);
}

/* A checkpoint's configuration reads the same whatever the program's locale takes for a point. */
TEST(misuse_models, configuration_in_another_locale)
{
    char                  text[2048];
    room                  r;
    tn_ctx               *ctx = new_ctx(&r);
    tn_transformer_config c = small, got;
    c.dropout = 0.25;
    bool is_other = false;
    for (const char *const *l = (const char *const[]){ "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE",
                                                       NULL }; *l && !is_other; l++)
        is_other = setlocale(LC_NUMERIC, *l) && *localeconv()->decimal_point == ',';
    CHECK(tn_transformer_config_text(&c, text, sizeof text) < sizeof text);
    CHECK_CONTAINS(text, "\ndropout=0.25\n");
    CHECK_MSG(tn_transformer_config_parse(ctx, text, &got) == TN_OK, "%s", tn_error(ctx));
    CHECK_NEAR(got.dropout, 0.25, 0);
    setlocale(LC_NUMERIC, "C");
    end(&r, ctx);
    if (!is_other) SKIP("there is no locale with a decimal comma; tried in the C locale alone");
}

/* ---- data ------------------------------------------------------------------------------------ */

TEST(misuse_models, data)
{
    room           r;
    tn_ctx        *ctx = new_ctx(&r);
    const tn_text  one = { "abc", 3 }, none = { NULL, 5 };
    tn_bleu_score  score;
    char           text[4] = "???";
    static int32_t tokens[100];
    REFUSED(tn_tokenizer_train(ctx, &none, 1, NULL), TN_ERR_ARG, "NULL");
    REFUSED(tn_tokenizer_train(ctx, &one, -1, NULL), TN_ERR_ARG, "");
    REFUSED(tn_bleu(ctx, &one, &one, 1, &(tn_metric_options){ .tokenizer = (tn_bleu_tokenizer)9 },
                    &score) == TN_OK, TN_ERR_ARG,
            "no tokenizer has the number 9");
    REFUSED(tn_bleu(ctx, &one, &one, 1, &(tn_metric_options){ .n_refs = -1 }, &score) == TN_OK,
            TN_ERR_ARG, "-1 references");
    CHECK_STR(tn_bleu_text(NULL, text, sizeof text), "");
    CHECK(!tn_text_is_utf8(none));
    CHECK(!tn_bleu_text(&score, NULL, 4));
    tn_windows *w = tn_windows_new(ctx, tokens, 100,
                                   &(tn_windows_options){ .rows = 2, .length = 8 });
    REFUSED(tn_windows_seek(w, (tn_batches_position){ INT64_MAX, 0 }) == TN_OK, TN_ERR_INDEX,
            "9223372036854775807");
    CHECK_INT(tn_windows_next(w)->epoch, 0);
    tn_windows_free(w);
    static const int64_t at[2] = { 0, 3 };
    tn_token_pairs       pairs = { .n = 1, .src = tokens, .tgt = tokens, .src_at = at,
                                   .tgt_at = at };
    for (int prefetch = 0; prefetch < 2; prefetch++) {
        tn_batches *b = tn_batches_new(ctx, &pairs, &(tn_batches_options){ .prefetch = prefetch });
        REFUSED(tn_batches_seek(b, (tn_batches_position){ INT64_MAX, 0 }) == TN_OK, TN_ERR_INDEX,
                "9223372036854775807");
        CHECK_INT(tn_batches_next(b)->epoch, 0);
        tn_batches_free(b);
    }
    end(&r, ctx);
}

/* Places that are no files, and results that have no room. */
TEST(misuse_models, files)
{
    const char *dir = getenv("TMPDIR");
    char        path[256], in_none[280];
    float       numbers[2] = { 1, 2 };
    size_t      length;
    room        r;
    tn_ctx     *ctx = new_ctx(&r);
    if (!dir) dir = "/tmp";
    snprintf(path, sizeof path, "%s/tn_misuse_%ld.safetensors", dir, (long)getpid());
    snprintf(in_none, sizeof in_none, "%s/none/x", path);
    CHECK_INT(tn_safetensors_write(ctx, path, &(tn_safetensors_entry){ "a", { TN_F32, TN_SHAPE(2) },
        numbers }, 1, NULL, 0), TN_OK);
    tn_safetensors *f = tn_safetensors_open(ctx, path);
    REQUIRE(f);
    REFUSED(tn_safetensors_read(f, 0, NULL, 8) == TN_OK, TN_ERR_ARG, "no room for a");
    REFUSED(tn_safetensors_read(f, 1, numbers, 8) == TN_OK, TN_ERR_ARG, "no tensor 1 of 1");
    CHECK(!tn_safetensors_all_metadata(f, NULL));
    tn_safetensors_close(f);
    REFUSED(tn_checkpoint_save(path, r.p, NULL, NULL, 3) == TN_OK, TN_ERR_ARG, "3 texts");
    REFUSED(tn_checkpoint_save(NULL, r.p, NULL, NULL, 0) == TN_OK, TN_ERR_ARG, "no path");
    REFUSED(tn_checkpoint_load(NULL, r.p, NULL) == TN_OK, TN_ERR_ARG, "no path");
    REFUSED(tn_checkpoint_save(in_none, r.p, NULL, NULL, 0) == TN_OK, TN_ERR_IO, "none/x");
    REFUSED(tn_safetensors_open(ctx, dir), TN_ERR_IO, dir);
    REFUSED(tn_corpus_load(ctx, dir, NULL), TN_ERR_IO, dir);
    REFUSED(tn_tokenizer_load(ctx, dir), TN_ERR_IO, dir);
    REFUSED(tn_text_load(ctx, dir, 0, &length), TN_ERR_IO, dir);
    REFUSED(tn_text_load(ctx, path, 0, NULL), TN_ERR_ARG, "NULL length");
    remove(path);
    end(&r, ctx);
}

TEST_MAIN
