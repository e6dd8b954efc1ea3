/* Wrong calls: NULL everywhere, shapes that are none, numbers out of range, ops on whatever inputs
 * and attributes. Each gives a status and a message; none ends the process. */
#include "check.h"
#include "libtensor.h"
#include "refused.h"

static tn_ctx *new_ctx(void)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = 2, .memory_limit = 64 << 20 });
}

/* ---- NULL ------------------------------------------------------------------------------------ */

typedef tn_node *(*unary)(tn_node *);
typedef tn_node *(*binary)(tn_node *, tn_node *);
typedef tn_node *(*reduction)(tn_node *, const int *, int, bool);

static const unary unaries[] = {
    tn_neg, tn_abs, tn_sign, tn_reciprocal, tn_square, tn_sqrt, tn_rsqrt, tn_cbrt, tn_exp, tn_exp2,
    tn_expm1, tn_log, tn_log2, tn_log10, tn_log1p, tn_sin, tn_cos, tn_tan, tn_asin, tn_acos,
    tn_atan, tn_sinh, tn_cosh, tn_tanh, tn_asinh, tn_acosh, tn_atanh, tn_erf, tn_erfc, tn_floor,
    tn_ceil, tn_round, tn_trunc, tn_frac, tn_relu, tn_relu6, tn_selu, tn_gelu, tn_gelu_tanh,
    tn_sigmoid, tn_log_sigmoid, tn_silu, tn_softplus, tn_mish, tn_hard_sigmoid, tn_hard_swish,
    tn_hard_tanh, tn_softsign, tn_logical_not, tn_isnan, tn_isinf, tn_isfinite, tn_sum_all,
    tn_mean_all, tn_contiguous, tn_stop_gradient, tn_zeros_like,
};
static const binary binaries[] = {
    tn_add, tn_sub, tn_mul, tn_div, tn_pow, tn_atan2, tn_hypot, tn_fmod, tn_remainder,
    tn_floor_divide, tn_maximum, tn_minimum, tn_logaddexp, tn_eq, tn_ne, tn_lt, tn_le, tn_gt, tn_ge,
    tn_logical_and, tn_logical_or, tn_logical_xor, tn_matmul, tn_outer,
};
static const reduction reductions[] = {
    tn_sum, tn_sum_square, tn_mean, tn_prod, tn_max, tn_min, tn_norm, tn_logsumexp, tn_any, tn_all,
};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

TEST(misuse, null_nodes_give_null)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(2, 3)), *out[2], *none = NULL;
    int       axis = 0;
    for (size_t i = 0; i < COUNT(unaries); i++) CHECK_MSG(!unaries[i](NULL), "unary %zu", i);
    for (size_t i = 0; i < COUNT(binaries); i++)
        CHECK_MSG(!binaries[i](NULL, x) && !binaries[i](x, NULL) && !binaries[i](NULL, NULL),
                  "binary %zu", i);
    for (size_t i = 0; i < COUNT(reductions); i++)
        CHECK_MSG(!reductions[i](NULL, &axis, 1, false), "reduction %zu", i);
    CHECK(!tn_var(NULL, NULL, 0, false, 0) && !tn_std(NULL, NULL, 0, false, 0) &&
          !tn_argmax(NULL, 0, false));
    CHECK(!tn_argmin(NULL, 0, false) && !tn_cumsum(NULL, 0) && !tn_sum_to(NULL, TN_SCALAR));
    CHECK(!tn_affine(NULL, 1, 2) && !tn_add_scalar(NULL, 1) && !tn_scale(NULL, 1) &&
          !tn_pow_scalar(NULL, 2));
    CHECK(!tn_scalar_like(NULL, 1) && !tn_full_like(NULL, 1) && !tn_clamp(NULL, 0, 1) &&
          !tn_cast(NULL, TN_F64));
    CHECK(!tn_leaky_relu(NULL, 1) && !tn_elu(NULL, 1) && !tn_celu(NULL, 1) &&
          !tn_activate(NULL, (tn_activation)0));
    CHECK(!tn_where(NULL, x, x) && !tn_where(x, NULL, x) && !tn_masked_fill(NULL, x, 0) &&
          !tn_masked_fill(x, NULL, 0));
    CHECK(!tn_reshape(NULL, TN_SCALAR) && !tn_permute(NULL, &axis, 1) && !tn_transpose(NULL, 0, 1));
    CHECK(!tn_expand(NULL, TN_SCALAR) && !tn_squeeze(NULL, 0) && !tn_unsqueeze(NULL, 0) &&
          !tn_flatten(NULL, 0, 1));
    CHECK(!tn_slice(NULL, 0, 0, 1, 1) && !tn_select(NULL, 0, 0) && !tn_flip(NULL, 0) &&
          !tn_roll(NULL, 0, 1));
    CHECK(!tn_pad(NULL, 0, 1, 1, 0) && !tn_tril(NULL, 0) && !tn_triu(NULL, 0) &&
          !tn_unfold(NULL, 0, 1, 1));
    CHECK(!tn_concat(&none, 1, 0) && !tn_stack(&none, 1, 0) && !tn_einsum("i->i", &none, 1));
    CHECK(!tn_index_select(NULL, 0, x) && !tn_index_select(x, 0, NULL) && !tn_gather(NULL, 0, x) &&
          !tn_gather(x, 0, NULL));
    CHECK(!tn_scatter_add(x, 0, NULL, x) && !tn_index_add(x, 0, x, NULL) &&
          !tn_one_hot(NULL, 3, TN_F32));
    CHECK(!tn_embedding(NULL, x, -1) && !tn_embedding(x, NULL, -1) && !tn_softmax(NULL, 0) &&
          !tn_log_softmax(NULL, 0));
    CHECK(!tn_layer_norm(NULL, x, x, 0) && !tn_rms_norm(NULL, x, 0) && !tn_dropout(NULL, 0.5));
    CHECK(!tn_attention(NULL, x, x, NULL, NULL) && !tn_attention(x, x, NULL, NULL, NULL));
    CHECK(!tn_attention_with_weights(x, NULL, x, NULL, NULL, NULL) && !tn_write_rows(NULL, x, x));
    CHECK(!tn_cross_entropy(NULL, x, NULL) && !tn_cross_entropy(x, NULL, NULL) &&
          !tn_mse(NULL, x, TN_MEAN));
    CHECK(!tn_bce_with_logits(x, NULL, TN_MEAN) && !tn_kl_div(NULL, NULL, TN_MEAN) &&
          !tn_custom_grad(NULL, &none, 0, NULL, NULL));
    CHECK(tn_split(NULL, 0, (const int64_t[]){ 1, 1 }, 2, out) != TN_OK &&
          tn_chunk(NULL, 0, 2, out) != TN_OK);
    CHECK(tn_topk(NULL, 1, 0, &out[0], &out[1]) != TN_OK &&
          tn_sort(NULL, 0, false, &out[0], &out[1]) != TN_OK);
    tn_loss_parts parts;
    CHECK(tn_cross_entropy_parts(NULL, x, NULL, &parts) != TN_OK && !parts.sum);
    CHECK(tn_cross_entropy_parts(NULL, NULL, NULL, NULL) != TN_OK);
    CHECK(tn_linear_cross_entropy(NULL, x, true, NULL, x, NULL, &parts) != TN_OK && !parts.sum);
    CHECK(tn_linear_cross_entropy(NULL, NULL, true, NULL, NULL, NULL, NULL) != TN_OK);
    CHECK_STR(tn_error(ctx), ""); /* whoever made the NULL has said why */
    CHECK(!tn_input(NULL, "x", TN_F32, TN_SCALAR) && !tn_constant(NULL, TN_F32, TN_SCALAR, NULL));
    CHECK(!tn_full(NULL, TN_F32, TN_SCALAR, 0) && !tn_read(NULL, x) && !tn_read(g, NULL) &&
          !tn_arange(NULL, TN_F32, 1, 0, 1));
    CHECK(!tn_random_uniform_node(NULL, TN_F32, TN_SCALAR, 0, 1) &&
          !tn_random_normal_node(NULL, TN_F32, TN_SCALAR, 0, 1));
    CHECK(!tn_assign(NULL, x) && !tn_variable_new(NULL, "v", TN_F32, TN_SCALAR) &&
          !tn_jvp(NULL, &x, &x, 1));
    tn_graph_free(g);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

TEST(misuse, null_everything_else)
{
    tn_shape s = TN_SHAPE(2);
    char     text[8];
    tn_random_uniform((tn_rng){ 1, 2, 3 }, 0, 4, TN_F32, NULL, 0, 1);
    tn_random_normal((tn_rng){ 1, 2, 3 }, 0, 4, TN_F64, NULL, 0, 1);
    tn_random_bernoulli((tn_rng){ 1, 2, 3 }, 0, 4, NULL, 0.5);
    tn_random_permutation((tn_rng){ 1, 2, 3 }, 4, NULL);
    CHECK(tn_gpt2_rules(NULL) && tn_transformer_rules(NULL));
    CHECK(!tn_graph_new(NULL, TN_TRAIN) && !tn_params_new(NULL, TN_F32) && !tn_arena_new(NULL));
    CHECK(!tn_compile(NULL, NULL, 0, NULL) && !tn_train_step(NULL, NULL, NULL) &&
          !tn_update_step(NULL, NULL));
    CHECK(!tn_train_step_with(NULL, NULL, NULL, NULL) &&
          !tn_accumulate_step(NULL, NULL, NULL, NULL));
    CHECK(!tn_sgd_new(NULL, NULL) && !tn_adam_new(NULL, NULL) && !tn_adamw_new(NULL, NULL));
    CHECK(!tn_transformer_new(NULL, NULL) && !tn_gpt_new(NULL, NULL) &&
          !tn_translator_new(NULL, NULL));
    CHECK(!tn_translate(NULL, NULL, NULL, 0) && !tn_program_cache_new(NULL, 0, NULL, NULL) &&
          !tn_program_cache_get(NULL, NULL, 0));
    CHECK(!tn_safetensors_open(NULL, NULL) && !tn_tokenizer_train(NULL, NULL, 0, NULL) &&
          !tn_tokenizer_load(NULL, NULL));
    CHECK(!tn_corpus_load(NULL, NULL, NULL) && !tn_corpus_parse(NULL, NULL, NULL, 0, NULL) &&
          !tn_text_load(NULL, NULL, 0, NULL));
    CHECK(!tn_batches_new(NULL, NULL, NULL) && !tn_windows_new(NULL, NULL, 0, NULL) &&
          !tn_token_pairs_encode(NULL, NULL, NULL, NULL));
    CHECK(!tn_batches_next(NULL) && !tn_windows_next(NULL) && !tn_alloc(NULL, 1) &&
          !tn_tokenizer_unpack(NULL, NULL, NULL, 0));
    tn_graph_free(NULL), tn_params_free(NULL), tn_arena_free(NULL), tn_program_free(NULL),
        tn_optimizer_free(NULL);
    tn_transformer_free(NULL), tn_gpt_free(NULL), tn_translator_free(NULL),
        tn_program_cache_free(NULL);
    tn_safetensors_close(NULL), tn_tokenizer_free(NULL), tn_corpus_free(NULL),
        tn_batches_free(NULL), tn_windows_free(NULL);
    tn_token_pairs_free(NULL, NULL), tn_variable_free(NULL), tn_ctx_free(NULL), tn_free(NULL, NULL);
    tn_program_cache_clear(NULL), tn_cancel(NULL), tn_clear_error(NULL), tn_scope_push(NULL, "x"),
        tn_scope_pop(NULL);
    tn_params_push(NULL, "x"), tn_params_pop(NULL), tn_optimizer_set_lr(NULL, 1),
        tn_optimizer_set_weight_decay(NULL, 1);
    tn_optimizer_clear_accumulated(NULL), tn_program_profile(NULL, true),
        tn_parallel_for(NULL, 0, NULL, NULL);
    tn_program_dump(NULL, stderr), tn_graph_dump(NULL, stderr), tn_graph_dot(NULL, stderr),
        tn_program_profile_dump(NULL, stderr);
    CHECK(tn_feed(NULL, NULL, NULL, 0) && tn_feed_name(NULL, NULL, NULL, 0) && tn_run(NULL) &&
          tn_fetch(NULL, NULL, NULL, 0));
    CHECK(tn_program_bind(NULL, NULL, 0) && tn_eval(NULL, NULL, 0) &&
          tn_grad(NULL, NULL, NULL, 0, NULL));
    CHECK(tn_variable_set(NULL, NULL, 0) && tn_variable_fill(NULL, 0) &&
          tn_gradcheck(NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL));
    CHECK(tn_params_copy(NULL, NULL) && tn_params_compatible(NULL, NULL) &&
          tn_params_bind(NULL, NULL));
    CHECK(tn_optimizer_set_clip_norm(NULL, 1) && tn_optimizer_set_ema_decay(NULL, 1) &&
          tn_optimizer_bind_average(NULL, NULL));
    CHECK(tn_optimizer_copy_average(NULL, NULL) && tn_checkpoint_average(NULL, NULL, 0, NULL) &&
          tn_init_fill(NULL, NULL, TN_F32, s, 0, NULL));
    CHECK(tn_checkpoint_save_average(NULL, NULL, NULL, NULL, 0) && tn_tokenizer_save(NULL, NULL));
    CHECK(tn_batches_seek(NULL, (tn_batches_position){ 0 }) &&
          tn_windows_seek(NULL, (tn_batches_position){ 0 }));
    CHECK(tn_bleu(NULL, NULL, NULL, 0, NULL, NULL) && tn_chrf(NULL, NULL, NULL, 0, NULL, NULL));
    CHECK(isnan(tn_item(NULL, NULL)) && !tn_output(NULL, 0) && !tn_input_data(NULL, NULL) &&
          !tn_op_find(NULL));
    CHECK(!tn_op_at(-1) && !tn_op_at(1 << 20) && !tn_params_at(NULL, 0) &&
          !tn_params_find(NULL, NULL) && !tn_params_text(NULL, NULL));
    CHECK(!tn_optimizer_state_at(NULL, 0) && !*tn_optimizer_state_name(NULL, 0) &&
          !tn_optimizer_state_find(NULL, NULL));
    CHECK_INT(tn_params_count(NULL) + tn_optimizer_state_count(NULL) + tn_optimizer_steps(NULL) +
              tn_optimizer_runs(NULL), 0);
    CHECK_INT(tn_params_set_trainable(NULL, NULL, true) + tn_params_set_group(NULL, NULL,
        0) + tn_program_cache_count(NULL), 0);
    CHECK_INT(tn_corpus_size(NULL) + tn_tokenizer_vocab(NULL) + tn_batches_pairs(NULL) +
              tn_safetensors_count(NULL), 0);
    CHECK_INT(tn_tokenizer_encode(NULL, NULL, 0, NULL, 0) < 0 ? 0
              : tn_tokenizer_encode(NULL, NULL, 0, NULL, 0), 0);
    CHECK_INT(tn_rank(NULL) + tn_dim(NULL,
                                     0) + (int64_t)tn_graph_calls(NULL) + tn_scope_depth(NULL) +
                                     tn_ctx_threads(NULL), 0);
    CHECK_INT(tn_ctx_status(NULL), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(NULL), "there is no context");
    CHECK_STR(tn_dtype_name((tn_dtype)99), "?");
    CHECK_STR(tn_dtype_name((tn_dtype)-1), "?");
    CHECK_INT(tn_dtype_size((tn_dtype)-1), 0);
    CHECK_STR(tn_status_text((tn_status)-1), "unknown status");
    CHECK_INT(tn_shape_of(9, s.dim).rank, -1);
    CHECK_INT(tn_shape_of(-1, s.dim).rank, -1);
    CHECK_INT(tn_shape_of(2, NULL).rank, -1);
    CHECK_STR(tn_shape_text(&s, text, 3), "[2");
    tn_linear     l = tn_linear_new(NULL, "l", 1, 1);
    tn_norm_layer n = tn_layer_norm_new(NULL, "n", 1);
    CHECK(!l.w && !tn_linear_apply(&l, NULL) && !tn_norm_apply(&n, NULL));
}

/* ---- leaves, programs, variables ------------------------------------------------------------- */

TN_SPAN(same, x)

static tn_status too_long(tn_infer *c)
{
    c->out[0] = (tn_type){ c->in[0].dtype, TN_SHAPE(1000000) };
    return TN_OK;
}

TEST(misuse, leaves)
{
    static const int64_t nine[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const int64_t        big = (int64_t)1 << 39;
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(2));
    REQUIRE(x);
    REFUSED(tn_graph_new(ctx, (tn_mode)7), TN_ERR_ARG, "mode 7");
    REFUSED(tn_params_new(ctx, TN_I32), TN_ERR_DTYPE, "i32");
    REFUSED(tn_input(g, "x", TN_F32, TN_SHAPE(2)), TN_ERR_ARG, "x");
    REFUSED(tn_input(g, NULL, TN_F32, TN_SHAPE(2)), TN_ERR_ARG, "name");
    REFUSED(tn_input(g, "y", TN_F32, tn_shape_of(9, nine)), TN_ERR_SHAPE, "rank");
    REFUSED(tn_input(g, "y", TN_F32, TN_SHAPE(-1)), TN_ERR_SHAPE, "-1");
    REFUSED(tn_input(g, "y", TN_F32, TN_SHAPE(big, big)), TN_ERR_SHAPE, "2^46");
    REFUSED(tn_input(g, "y", (tn_dtype)42, TN_SHAPE(2)), TN_ERR_DTYPE, "42");
    REFUSED(tn_constant(g, TN_F32, TN_SHAPE(2), NULL), TN_ERR_ARG, "constant");
    CHECK(tn_constant(g, TN_F32, TN_SHAPE(0, 3), NULL)); /* no numbers are no data */
    REFUSED(tn_constant(g, (tn_dtype)-1, TN_SHAPE(2), &big), TN_ERR_DTYPE, "-1");
    REFUSED(tn_constant(g, TN_F64, TN_SHAPE(big, 1 << 23), &big), TN_ERR_SHAPE, "2^46");
    REFUSED(tn_constant(g, TN_F64, tn_shape_of(-1, NULL), &big), TN_ERR_SHAPE, "rank");
    REFUSED(tn_full(g, (tn_dtype)8, TN_SHAPE(2), 0), TN_ERR_DTYPE, "8");
    REFUSED(tn_full(g, TN_F32, TN_SHAPE(-3), 0), TN_ERR_SHAPE, "-3");
    REFUSED(tn_full(g, TN_I32, TN_SHAPE(2), 1e300), TN_ERR_ARG, "i32 cannot hold 1e+300");
    REFUSED(tn_full(g, TN_I64, TN_SHAPE(2), NAN), TN_ERR_ARG, "i64 cannot hold nan");
    REFUSED(tn_full(g, TN_U8, TN_SHAPE(2), 300), TN_ERR_ARG, "u8 cannot hold 300");
    REFUSED(tn_scalar_like(tn_cast(x, TN_I32), 0.5), TN_ERR_ARG, "i32 cannot hold 0.5");
    REFUSED(tn_arange(g, TN_F32, -1, 0, 1), TN_ERR_ARG, "-1");
    REFUSED(tn_random_normal_node(g, TN_I32, TN_SHAPE(2), 0, 1), TN_ERR_DTYPE, "i32");
    REFUSED(tn_variable_new(ctx, "v", TN_F64, TN_SHAPE(big, 1 << 23)), TN_ERR_SHAPE, "2^46");
    REFUSED(tn_variable_new(ctx, "v", TN_F64, TN_SHAPE(-1)), TN_ERR_SHAPE, "-1");
    REFUSED(tn_variable_new(ctx, "", TN_F64, TN_SHAPE(1)), TN_ERR_ARG, "name");
    REFUSED(tn_variable_new(ctx, "v", TN_F64, TN_SHAPE(1 << 20, 64)), TN_ERR_LIMIT, "limit");
    REFUSED(tn_read(g, NULL) || tn_fail(ctx, TN_ERR_ARG, "quiet") != TN_ERR_ARG, TN_ERR_ARG,
            "quiet");
    REFUSED(tn_assign(x, x), TN_ERR_ARG, "variable");
    REFUSED(tn_cast(x, (tn_dtype)77), TN_ERR_DTYPE, "77");
    REFUSED(tn_one_hot(x, -1, TN_F32), TN_ERR_DTYPE, "f32");
    REFUSED(tn_reshape(x, TN_SHAPE(-1, -1)), TN_ERR_SHAPE, "-1");
    REFUSED(tn_expand(x, TN_SHAPE(big, big, 2)), TN_ERR_SHAPE, "2^46");
    REFUSED(tn_sum(x, (const int[]){ 1 }, 1, false), TN_ERR_ARG, "1");
    REFUSED(tn_sum(x, (const int[]){ 0, 0 }, 2, false), TN_ERR_ARG, "0");
    REFUSED(tn_sum(x, (const int[]){ -1, 5 }, 2, false), TN_ERR_ARG, "axis 5 is not in [-1, 1)");
    REFUSED(tn_sum(x, (const int[]){ -1, 0 }, 2, false), TN_ERR_ARG, "axis 0 is listed twice");
    REFUSED(tn_outer(tn_reshape(x, TN_SHAPE(1, 2)), x), TN_ERR_SHAPE, "input 0 has rank 2, not 1");
    for (tn_mode mode = TN_TRAIN; mode <= TN_EVAL; mode++) {
        tn_graph *h = tn_graph_new(ctx, mode);
        tn_node  *v = tn_full(h, TN_F32, TN_SHAPE(1, 1, 1, 2), 0);
        REFUSED(tn_attention(v, v, v, NULL, &(tn_attention_options){ .dropout = 5 }), TN_ERR_ARG,
                "dropout 5 is not in [0, 1)");
        REFUSED(tn_dropout(tn_cast(v, TN_I32), 0.5), TN_ERR_DTYPE, "i32");
        tn_graph_free(h);
    }
    const tn_op grows = { .name = "grows", .arity = 1, .infer = too_long, .span = &same_span };
    REFUSED(tn_apply(&grows, &x, 1, NULL), TN_ERR_SHAPE, "the span's operands make");
    tn_node *label = tn_cast(x, TN_I32), *d = NULL;
    REFUSED(tn_grad(tn_sum_all(tn_one_hot(label, 3, TN_F32)), NULL, &label, 1, &d) == TN_OK,
            TN_ERR_GRAD, "");
    REFUSED(tn_permute(x, (const int[]){ 3 }, 1), TN_ERR_ARG, "3");
    REFUSED(tn_pad(x, 0, big, INT64_MAX, 0), TN_ERR_ARG, "pad");
    REFUSED(tn_dropout(x, 1.5), TN_ERR_ARG, "1.5");
    REFUSED(tn_einsum("q", &x, 1) && tn_einsum("", &x, 1), TN_ERR_ARG, "einsum");
    tn_graph_free(g);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

static void no_rule(tn_graph *g, tn_node *const *x, int n, tn_node *y, tn_node *dy, tn_node **dx,
                    void *user)
{
    (void)g, (void)x, (void)n, (void)y, (void)dy, (void)dx, (void)user;
}

static tn_status no_types(tn_infer *c)
{
    for (int i = 0; i < c->n_out; i++) c->out[i] = c->in[0];
    return TN_OK;
}

static const tn_span spans = { 0 };

static tn_status wide_types(tn_infer *c)
{
    for (int i = 0; i < c->n_out; i++) c->out[i] = (tn_type){ TN_F64, TN_SHAPE(2, 3) };
    return TN_OK;
}

static tn_status no_run(tn_exec *e) { return e->scratch ? TN_ERR_STATE : TN_OK; }

static bool same_view(const void *attrs, const tn_layout *in, tn_layout *out, int index)
{
    (void)attrs, (void)index;
    *out = *in;
    return true;
}

static size_t one_too_few(const tn_exec *e)
{
    return ((size_t)tn_shape_size(&e->in[0].shape) - 1) * sizeof(double);
}

static void expand_to_one(tn_expansion *c) { c->out[0] = tn_sum_all(c->in[0]); }
static void expand_to_none(tn_expansion *c) { (void)c; }

/* A node of another graph, whose number is none of this one's. */
static void expand_elsewhere(tn_expansion *c)
{
    tn_graph *other = *(tn_graph *const *)c->attrs;
    for (int i = 0; i < 5000; i++) c->out[0] = tn_full(other, TN_F32, TN_SHAPE(2, 3), i);
}

/* A view, or what writes rows, of no input or as another type would read and write past it. */
TEST(misuse, ops_that_are_not_what_they_say)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN), *other = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(2, 3)), *empty, *y, *dx;
    const char *memory = "what its first input's memory is not";
    for (int arity = 0; arity < 2; arity++) {
        const tn_op view = { .name = "seen", .arity = arity, .infer = wide_types,
                             .view = same_view },
                    rows = { .name = "written", .arity = arity, .flags = TN_UPDATES,
                             .infer = wide_types, .run = no_run };
        REFUSED(tn_apply_in(g, &view, &x, arity, NULL, NULL), TN_ERR_DTYPE, memory);
        REFUSED(tn_apply_in(g, &rows, &x, arity, NULL, NULL), TN_ERR_DTYPE, memory);
    }
    const tn_op no_name = { .arity = 1, .infer = no_types, .run = no_run };
    REFUSED(tn_apply(&no_name, &x, 1, NULL), TN_ERR_SHAPE, "refused");
    const tn_op scratch = { .name = "scratch", .arity = 1, .infer = no_types, .run = no_run,
                            .scratch = one_too_few };
    empty = tn_full(g, TN_F32, TN_SHAPE(0), 0), y = tn_apply(&scratch, &empty, 1, NULL);
    REFUSED(tn_compile(g, &y, 1, NULL), TN_ERR_LIMIT, "limit");
    void (*const expansions[])(tn_expansion *) = { expand_to_one, expand_to_none,
                                                   expand_elsewhere };
    for (int i = 0; i < 3; i++) {
        const tn_op expands = { .name = "expands", .arity = 1, .infer = no_types, .run = no_run,
                                .attrs_size = sizeof other, .expand = expansions[i] };
        y = tn_sum_all(tn_apply(&expands, &x, 1, &other));
        REFUSED(tn_grad(y, NULL, &x, 1, &dx) == TN_OK, TN_ERR_GRAD,
                "expands: its expansion is another tensor");
    }
    tn_graph_free(g), tn_graph_free(other);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

TEST(misuse, lists_that_are_not_there)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(2, 3)), *out[2];
    REFUSED(tn_sum(x, NULL, 2, false), TN_ERR_ARG, "");
    REFUSED(tn_permute(x, NULL, 2), TN_ERR_ARG, "");
    REFUSED(tn_custom_grad(x, NULL, 1, no_rule, NULL), TN_ERR_ARG, "a list");
    static tn_node *lots[4097];
    for (int i = 0; i < 4097; i++) lots[i] = x;
    CHECK(tn_concat(lots, 4096, 0) != NULL);
    REFUSED(tn_concat(lots, 4097, 0), TN_ERR_ARG, "concat: 4097 inputs");
    REFUSED(tn_stack(lots, 4097, 0), TN_ERR_ARG, "concat: 4097 inputs");
    REFUSED(tn_concat(NULL, 2, 0), TN_OK, "");
    REFUSED(tn_concat(&x, 0, 0), TN_OK, "");
    REFUSED(tn_stack(NULL, 2, 0), TN_OK, "");
    REFUSED(tn_einsum(NULL, &x, 1), TN_ERR_ARG, "einsum");
    REFUSED(tn_einsum("ij->ij", NULL, 1), TN_OK, "");
    tn_node *pair[] = { x, x }, *many[3];
    REFUSED(tn_einsum("ij,jk->ik", pair, 2), TN_ERR_SHAPE, "label j has dimensions 3 and 2");
    for (int i = 0; i < 3; i++)
        many[i] = tn_full(g, TN_F32, i < 2 ? TN_SHAPE(2, 2, 2, 2, 2, 2)
                          : TN_SHAPE(2, 2, 2, 2, 2, 2, 2, 2), 1);
    REFUSED(tn_einsum("abcdef,ghijkl,abcdghij->efkl", many, 3), TN_ERR_UNSUPPORTED,
            "more than 8 labels");
    REFUSED(tn_einsum("abcdef,ghijkl", many, 2), TN_ERR_ARG, "more than 8 letters");
    const tn_op wide = { .name = "wide", .arity = 1, .n_out = 5, .infer = no_types,
                         .span = &spans };
    REFUSED(tn_apply(&wide, &x, 1, NULL), TN_ERR_ARG, "wide: [2,3]: 1 inputs and 5 outputs");
    REFUSED(tn_split(x, 0, NULL, 2, out) == TN_OK, TN_ERR_ARG, "");
    REFUSED(tn_split(x, 0, (const int64_t[]){ 1, 1 }, 2, NULL) == TN_OK, TN_ERR_ARG, "");
    REFUSED(tn_chunk(x, 1, 2, out) == TN_OK, TN_ERR_SHAPE, "3");
    REFUSED(tn_chunk(x, 0, 0, out) == TN_OK, TN_ERR_SHAPE, "0");
    REFUSED(tn_topk(x, 4, 1, &out[0], &out[1]) == TN_OK, TN_ERR_ARG, "4");
    REFUSED(tn_custom_grad(x, NULL, 1, NULL, NULL), TN_ERR_ARG, "rule");
    REFUSED(tn_apply(NULL, &x, 1, NULL), TN_OK, "");
    REFUSED(tn_apply(&tn_op_relu, NULL, 1, NULL), TN_OK, "");
    CHECK(tn_topk(x, 1, 1, NULL, NULL) == TN_OK && tn_sort(x, 1, true, NULL, NULL) == TN_OK);
    tn_clear_error(ctx);
    tn_graph_free(g);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

static tn_node *first_of(tn_graph *g, tn_node *const *in, void *user)
{
    (void)g, (void)user;
    return tn_relu(in[0]);
}

TEST(misuse, programs)
{
    tn_ctx   *ctx = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN), *other = tn_graph_new(ctx, TN_EVAL);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(2)),
        *far = tn_input(other, "x", TN_F32, TN_SHAPE(2));
    tn_node  *w = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(2)),
        *v = tn_variable_new(ctx, "w", TN_F64, TN_SHAPE(2)),
        *byte = tn_variable_new(ctx, "byte", TN_U8, TN_SHAPE(2)),
        *unused = tn_input(g, "unused", TN_F32, TN_SHAPE(2));
    tn_node  *y = tn_mul(x, w), *sum = tn_sum_all(y), *none = NULL, *dx = NULL;
    float     numbers[2] = { 1, 2 };
    REQUIRE(sum && v);
    REFUSED(tn_add(x, far), TN_ERR_ARG, "different graphs");
    REFUSED(tn_apply_in(g, &tn_op_add, (tn_node *[]){ x, far }, 2, NULL, NULL), TN_ERR_ARG,
            "different graphs");
    REFUSED(tn_apply_in(other, &tn_op_add, (tn_node *[]){ x, x }, 2, NULL, NULL), TN_ERR_ARG,
            "different graphs");
    REFUSED(tn_add(w, w), TN_ERR_ARG, "tn_read");
    REFUSED(tn_compile(g, &none, 1, NULL), TN_ERR_ARG, "");
    REFUSED(tn_compile(g, NULL, 1, NULL), TN_ERR_ARG, "");
    REFUSED(tn_compile(g, &sum, 0, NULL), TN_ERR_ARG, "");
    REFUSED(tn_compile(g, &sum, -1, NULL), TN_ERR_ARG, "");
    REFUSED(tn_compile(other, &sum, 1, NULL), TN_ERR_ARG, "graph");
    REFUSED(tn_compile(g, &sum, 1, &(tn_compile_options){ .guard = x }), TN_ERR_ARG, "guard");
    REFUSED(tn_compile(g, &sum, 1, &(tn_compile_options){ .run = w }), TN_ERR_ARG, "run");
    REFUSED(tn_grad(y, NULL, &w, 1, &dx) == TN_OK, TN_ERR_SHAPE,
            "y has 2 elements: it needs a cotangent");
    REFUSED(tn_grad(sum, y, &w, 1, &dx) == TN_OK, TN_ERR_SHAPE, "[2]");
    REFUSED(tn_grad(sum, NULL, &none, 1, &dx) == TN_OK, TN_ERR_ARG, "NULL");
    REFUSED(tn_grad(sum, NULL, &v, 1, &dx) == TN_OK, TN_ERR_GRAD, "w");
    REFUSED(tn_grad(sum, NULL, NULL, 1, &dx) == TN_OK, TN_ERR_ARG, "");
    REFUSED(tn_grad(sum, NULL, &w, 1, NULL) == TN_OK, TN_ERR_ARG, "");
    REFUSED(tn_jvp(sum, NULL, NULL, 1), TN_ERR_ARG, "");
    REFUSED(tn_jvp(sum, &x, &sum, 1), TN_ERR_SHAPE, "tangent 0 is f32 [], x is f32 [2]");
    tn_node *whole = tn_cast(x, TN_I32);
    REFUSED(tn_jvp(sum, &whole, &whole, 1), TN_ERR_GRAD, "x 0 is i32");
    REFUSED(tn_variable_fill(byte, 300) == TN_OK, TN_ERR_ARG, "byte: u8 cannot hold 300");
    REFUSED(tn_eval(x, numbers, sizeof numbers) == TN_OK, TN_ERR_STATE, "input x");
    REFUSED(tn_eval(tn_full_like(x, 1), numbers, 4) == TN_OK, TN_ERR_ARG, "4");
    REFUSED(tn_eval(tn_full_like(x, 1), NULL, 8) == TN_OK, TN_ERR_ARG, "");
    REFUSED(tn_variable_set(w, numbers, 4) == TN_OK, TN_ERR_ARG, "w: 4 bytes given, it has 8");
    REFUSED(tn_variable_set(w, NULL, 8) == TN_OK, TN_ERR_ARG, "w: no data");
    REFUSED(tn_variable_set(x, numbers, 8) == TN_OK, TN_ERR_ARG, "not a variable");
    REFUSED(tn_variable_fill(x, 1) == TN_OK, TN_ERR_ARG, "not a variable");
    REFUSED(tn_train_step(g, sum, NULL), TN_ERR_ARG, "");
    REFUSED(tn_gradcheck(ctx, NULL, NULL, 0, NULL, NULL, NULL, NULL) == TN_OK, TN_ERR_ARG, "");
    const tn_type type = { TN_F64, TN_SHAPE(2) };
    const void   *no_data = NULL, *data = (double[]){ 1, 2 };
    REFUSED(tn_gradcheck(ctx, first_of, NULL, 1, &type, &no_data, NULL, NULL) == TN_OK, TN_ERR_ARG,
            "input 0: no data");
    REFUSED(tn_gradcheck(ctx, first_of, NULL, 1, &type, &data,
                         &(tn_gradcheck_options){ .no_grad = (bool[]){ true } }, NULL) == TN_OK,
            TN_ERR_ARG, "no input");
    tn_node    *two = tn_full(g, TN_F32, TN_SHAPE(2), 1);
    tn_program *p = tn_compile(g, (tn_node *[]){ sum, two }, 2, NULL);
    REQUIRE(p);
    REFUSED(tn_feed(p, x, numbers, 4) == TN_OK, TN_ERR_ARG, "input x is f32 [2], 8 bytes, not 4");
    REFUSED(tn_feed(p, x, NULL, 8) == TN_OK, TN_ERR_ARG, "no data");
    REFUSED(tn_feed(p, NULL, numbers, 8) == TN_OK, TN_ERR_ARG, "NULL");
    REFUSED(tn_feed(p, w, numbers, 8) == TN_OK, TN_ERR_ARG, "not an input");
    REFUSED(tn_feed(p, y, numbers, 8) == TN_OK, TN_ERR_ARG, "not an input");
    REFUSED(tn_feed(p, far, numbers, 8) == TN_OK, TN_ERR_ARG, "not an input");
    CHECK_INT(tn_feed(p, unused, numbers, 8), TN_OK);
    CHECK_INT(tn_feed_name(p, "unused", numbers, 8), TN_OK);
    CHECK_STR(tn_error(ctx), "");
    REFUSED(tn_feed_name(p, "z", numbers, 8) == TN_OK, TN_ERR_ARG, "z");
    REFUSED(!isnan(tn_item(p, sum)), TN_ERR_STATE, "not run to its end");
    REFUSED(tn_program_bind(p, &v, 1) == TN_OK, TN_ERR_DTYPE, "f64");
    REFUSED(tn_program_bind(p, &none, 1) == TN_OK, TN_ERR_ARG, "NULL");
    REFUSED(tn_program_bind(p, NULL, 1) == TN_OK, TN_ERR_ARG, "NULL");
    REFUSED(tn_program_bind(p, &x, 1) == TN_OK, TN_ERR_ARG, "variable");
    REFUSED(tn_run(p) == TN_OK, TN_ERR_STATE, "input x was never fed");
    CHECK_INT(tn_feed(p, x, numbers, 8), TN_OK);
    CHECK_INT(tn_run(p), TN_OK);
    REFUSED(!isnan(tn_item(p, y)), TN_ERR_ARG, "not an output");
    REFUSED(!isnan(tn_item(p, two)), TN_ERR_SHAPE, "not one element");
    REFUSED(tn_fetch(p, sum, numbers, 8) == TN_OK, TN_ERR_ARG, "output 0 has 4 bytes, not 8");
    REFUSED(tn_fetch(p, sum, NULL, 4) == TN_OK, TN_ERR_ARG, "");
    CHECK(!tn_output(p, 2) && !tn_output(p, -1) && !tn_input_data(p, "z") &&
          !tn_input_data(p, NULL));
    tn_program_free(p);
    tn_variable_free(w), tn_variable_free(v), tn_variable_free(byte);
    tn_graph_free(g), tn_graph_free(other);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* A program takes its own context's variables to write to, and which of two of one name is meant
 * cannot be told. */
TEST(misuse, variables_of_others)
{
    tn_ctx   *ctx = new_ctx(), *elsewhere = new_ctx();
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *w[3], *theirs = tn_variable_new(elsewhere, "w", TN_F32, TN_SHAPE(2));
    for (int i = 0; i < 3; i++) w[i] = tn_variable_new(ctx, "w", TN_F32, TN_SHAPE(2));
    tn_node *sum = tn_add(tn_read(g, w[0]), w[1]);
    REQUIRE(sum && theirs);
    REFUSED(tn_assign(theirs, sum), TN_ERR_ARG, "w belongs to another context");
    REFUSED(tn_read(g, theirs), TN_ERR_ARG, "w belongs to another context");
    tn_program *p = tn_compile(g, &sum, 1, NULL);
    REQUIRE(p);
    REFUSED(tn_program_bind(p, &w[2], 1) == TN_OK, TN_ERR_ARG,
            "two variables of the program are named w");
    tn_program_free(p), tn_graph_free(g);
    for (int i = 0; i < 3; i++) tn_variable_free(w[i]);
    tn_variable_free(theirs);
    tn_ctx_free(ctx), tn_ctx_free(elsewhere);
}

static tn_program *build_of_two(void *user, const int64_t *key, int n, tn_arena *arena)
{
    const int64_t next = *key + 1;
    (void)n, (void)arena;
    return tn_program_cache_get(*(tn_program_cache **)user, &next, 1);
}

TEST(misuse, a_cache_that_asks_itself)
{
    tn_ctx           *ctx = new_ctx();
    tn_program_cache *cache = NULL;
    cache = tn_program_cache_new(ctx, 2, build_of_two, &cache);
    REFUSED(tn_program_cache_get(cache, &(int64_t){ 1 }, 1), TN_ERR_BUSY, "is building");
    tn_program_cache_free(cache), tn_ctx_free(ctx);
}

TEST(misuse, parameters_and_optimizers)
{
    tn_ctx    *ctx = new_ctx();
    tn_params *p = tn_params_new(ctx, TN_F32);
    REFUSED(tn_param(p, "w", TN_SHAPE(-1), NULL), TN_ERR_SHAPE, "-1");
    REFUSED(tn_param(p, NULL, TN_SHAPE(1), NULL), TN_ERR_ARG, "name");
    REFUSED(tn_buffer(p, "b", (tn_dtype)99, TN_SHAPE(1)), TN_ERR_ARG, "b");
    REFUSED(tn_linear_new(p, "l", -1, 2).w, TN_ERR_SHAPE, "-1");
    REFUSED(tn_embedding_new(p, "e", 0, -2, NULL).w, TN_ERR_SHAPE, "-2");
    REFUSED(tn_layer_norm_new(p, "n", -3).gamma, TN_ERR_SHAPE, "-3");
    CHECK(tn_param(p, "v", TN_SHAPE(2), NULL) != NULL);
    REFUSED(tn_param(p, "v", TN_SHAPE(2), NULL), TN_ERR_ARG, "there is a parameter v already");
    REFUSED(tn_params_set_group(p, "v", 8), TN_ERR_ARG, "group 8");
    REFUSED(tn_params_bind(p, NULL) == TN_OK, TN_ERR_ARG, "program");
    REFUSED(tn_adam_new(p, &(tn_adam_options){ .beta1 = 2 }), TN_ERR_ARG, "2");
    REFUSED(tn_adam_new(p, &(tn_adam_options){ .ema_decay = 1.5 }), TN_ERR_ARG, "1.5");
    REFUSED(tn_sgd_new(p, &(tn_sgd_options){ .clip_norm = INFINITY }), TN_ERR_ARG,
            "clip_norm is inf");
    REFUSED(tn_adam_new(p, &(tn_adam_options){ .eps = -1e-8 }), TN_ERR_ARG, "eps is -1e-08");
    REFUSED(tn_adam_new(p, &(tn_adam_options){ .beta2 = -2 }), TN_ERR_ARG, "beta2 is -2");
    REFUSED(tn_adamw_new(p, &(tn_adamw_options){ .weight_decay = -0.01 }), TN_ERR_ARG,
            "weight_decay is -0.01");
    REFUSED(tn_sgd_new(p, &(tn_sgd_options){ .group[1].lr_scale = -2 }), TN_ERR_ARG,
            "lr_scale is -2");
    REFUSED(tn_sgd_new(p, &(tn_sgd_options){ .ema_decay = -0.5 }), TN_ERR_ARG, "ema_decay is -0.5");
    REFUSED(tn_sgd_new(p, &(tn_sgd_options){ .momentum = TN_NONE, .nesterov = true }), TN_ERR_ARG,
            "what nesterov needs");
    REFUSED(tn_checkpoint_save_average("no", p, NULL, NULL, 0) == TN_OK, TN_ERR_ARG,
            "no optimizer");
    tn_optimizer *opt = tn_sgd_new(p, NULL);
    REQUIRE(opt);
    REFUSED(tn_optimizer_set_clip_norm(opt, 1) == TN_OK, TN_ERR_STATE, "clip");
    REFUSED(tn_optimizer_set_ema_decay(opt, 0.5) == TN_OK, TN_ERR_STATE, "ema_decay");
    REFUSED(tn_train_step(NULL, NULL, opt), TN_ERR_ARG, "");
    tn_optimizer_free(opt);
    tn_params_free(p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* An error of a run says where in the model it was, as one of building does. */
TEST(misuse, errors_of_a_run_name_the_scope)
{
    const int32_t places[2] = { 1, 9 };
    tn_ctx       *ctx = new_ctx();
    tn_graph     *g = tn_graph_new(ctx, TN_EVAL);
    tn_node      *x = tn_full(g, TN_F32, TN_SHAPE(2, 3), 1),
        *at = tn_input(g, "at", TN_I32, TN_SHAPE(2)), *y = NULL;
    TN_SCOPE(g, "encoder.%d", 3) y = tn_index_select(x, 0, at);
    tn_program *p = tn_compile(g, &y, 1, NULL);
    REQUIRE(p);
    CHECK_INT(tn_feed(p, at, places, sizeof places), TN_OK);
    REFUSED(tn_run(p) == TN_OK, TN_ERR_INDEX,
            "index 9 at position 1 is outside [0, 2) (encoder.3)");
    tn_fail(ctx, TN_ERR_ARG, "first");
    CHECK_INT(tn_run(p), TN_ERR_INDEX);
    CHECK_STR(tn_error(ctx), "first"); /* an earlier error stands */
    tn_program_free(p), tn_graph_free(g), tn_ctx_free(ctx);
}

/* One element, or none, may be taken in steps of any size: nothing is multiplied by them. */
TEST(misuse, steps_that_are_not_taken)
{
    static const float   numbers[4] = { 1, 2, 3, 4 };
    static const int64_t steps[] = { INT64_MAX, INT64_MIN, -1, (int64_t)1 << 62 };
    tn_ctx *ctx = new_ctx();
    for (int i = 0; i < 4; i++) {
        tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
        tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(2, 2)), *out[2], *dx = NULL;
        struct { int64_t axis, begin, count, step; } slice = { 0, 1, 1, steps[i] };
        struct { int64_t axis, begin, step, n; double value; } pad = { 0, 1, steps[i], 3, 0 };
        struct { int64_t axis, size, step; } unfold = { 1, 2, steps[i] > 0 ? steps[i] : 1 };
        tn_node *y = tn_apply(&tn_op_pad, (tn_node *[]){ tn_apply(&tn_op_slice, &x, 1, &slice) }, 1,
                              &pad);
        tn_node *w = tn_apply(&tn_op_unfold, &x, 1, &unfold);
        out[0] = tn_add(tn_sum_all(y), tn_sum_all(w));
        CHECK_MSG(tn_grad(tn_add(tn_sum_all(tn_square(y)), tn_sum_all(w)), NULL, &x, 1,
                          &dx) == TN_OK, "%s", tn_error(ctx));
        out[1] = dx;
        tn_program *p = tn_compile(g, out, 2, NULL);
        CHECK_MSG(p && tn_feed(p, x, numbers, sizeof numbers) == TN_OK && tn_run(p) == TN_OK, "%s",
                  tn_error(ctx));
        CHECK_NEAR(tn_item(p, out[0]), 7 + 10, 0);
        CHECK(p && ((const float *)tn_output(p, 1))[3] == 2 * 4 + 1);
        tn_program_free(p), tn_graph_free(g);
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* ---- any op on anything ---------------------------------------------------------------------- */

static uint64_t random_state;

static int64_t below(int64_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((random_state >> 33) % (uint64_t)n);
}

static tn_shape some_shape(void)
{
    tn_shape s = { .rank = (int)below(below(8) ? 5 : 9) };
    for (int i = 0; i < s.rank; i++) s.dim[i] = below(12) ? 1 + below(3) : 0;
    return s;
}

static int64_t some_integer(void)
{
    static const int64_t odd[] = { INT64_MAX, INT64_MIN, (int64_t)1 << 40, -((int64_t)1 << 40),
                                   INT32_MAX, INT32_MIN };
    return below(6) ? below(8) - 3 : odd[below(6)];
}

static double some_number(void)
{
    static const double odd[] = { INFINITY, -INFINITY, NAN, 1e300, -1e300, 1e-300 };
    return below(6) ? (double)below(9) / 4 - 1 : odd[below(6)];
}

/* Attributes of whatever values their kinds allow; false where an op holds an address. */
static bool some_attrs(const tn_op *op, char *attrs)
{
    for (const tn_attr_field *f = op->attrs; f && f->kind != TN_ATTR_END; f++) {
        int64_t  i = some_integer();
        double   x = some_number();
        bool     b = below(2);
        tn_dtype d = (tn_dtype)(below(20) ? below(TN_N_DTYPES) : some_integer());
        tn_shape s = some_shape();
        if (!below(20)) s.rank = (int)some_integer();
        if (s.rank > 0 && !below(5)) s.dim[0] = some_integer();
        switch (f->kind) {
        case TN_ATTR_i64: memcpy(attrs + f->offset, &i, sizeof i); break;
        case TN_ATTR_f64: memcpy(attrs + f->offset, &x, sizeof x); break;
        case TN_ATTR_flag: memcpy(attrs + f->offset, &b, sizeof b); break;
        case TN_ATTR_dtype: memcpy(attrs + f->offset, &d, sizeof d); break;
        case TN_ATTR_shape: memcpy(attrs + f->offset, &s, sizeof s); break;
        case TN_ATTR_stream: break;
        default: return false;
        }
    }
    return true;
}

static void feed_anything(tn_program *p, const char *name, const tn_type *t)
{
    char *data = tn_input_data(p, name);
    for (int64_t i = 0, n = tn_shape_size(&t->shape); data && i < n; i++) {
        double  x = some_number();
        float   f = (float)x;
        int64_t k = some_integer();
        int32_t k32 = (int32_t)k;
        uint8_t b = (uint8_t)below(2);
        size_t  size = tn_dtype_size(t->dtype);
        const void *from = t->dtype == TN_F64 ? (void *)&x : t->dtype == TN_F32 ? (void *)&f
            : t->dtype == TN_I64 ? (void *)&k
                         : t->dtype == TN_BOOL ? (void *)&b : (void *)&k32;
        memcpy(data + (size_t)i * size, from, size);
    }
}

/* Builds one call of op on random inputs and attributes; runs it, and its gradients, if it is
 * taken. */
static void try_op(tn_ctx *ctx, const tn_op *op, long *taken)
{
    _Alignas(16) char attrs[1024] = { 0 };
    static const char *const names[6] = { "a", "b", "c", "d", "e", "f" };
    tn_node *in[6], *out[64] = { 0 }, *outputs[8], *wrt[6], *grad[6] = { 0 };
    tn_type  type[6];
    int      most = op->max_arity < 0 ? op->arity + 2 : op->max_arity ? op->max_arity : op->arity,
        n, n_out = 0, n_wrt = 0;
    if (op->attrs_size > sizeof attrs || !some_attrs(op, attrs) || most > 6) return;
    n = op->arity + (int)below(most - op->arity + 1);
    tn_graph *g = tn_graph_new(ctx, below(2) ? TN_TRAIN : TN_EVAL);
    tn_shape  s = some_shape();
    tn_dtype  d = below(3) ? TN_F32 : (tn_dtype)below(TN_N_DTYPES);
    for (int i = 0; i < n; i++) {
        type[i] = (tn_type){ below(4) ? d : below(2) ? TN_I32 : (tn_dtype)below(TN_N_DTYPES),
                             below(3) ? s : some_shape() };
        in[i] = tn_input(g, names[i], type[i].dtype, type[i].shape);
    }
    int count = op->count_out ? op->count_out(attrs, n) : 1;
    tn_node *first = count <= 64 ? tn_apply_in(g, op, in, n, attrs, count > 0 ? out : NULL) : NULL;
    CHECK_MSG(first || count < 1 || count > 64 || *tn_error(ctx), "%s: refused without a message",
              op->name);
    for (int i = 0; first && i < 64 && i < 4 && out[i]; i++) outputs[n_out++] = out[i];
    for (int i = 0; first && i < n; i++)
        if (tn_dtype_is_float(type[i].dtype)) wrt[n_wrt++] = in[i];
    if (first && tn_dtype_is_float(tn_node_dtype(first)) && n_wrt) {
        tn_grad_or_none(tn_sum_all(first), NULL, wrt, n_wrt, grad);
        for (int i = 0; i < n_wrt && n_out < 8; i++)
            if (grad[i]) outputs[n_out++] = grad[i];
    }
    tn_clear_error(ctx);
    tn_program *p = first ? tn_compile(g, outputs, n_out, NULL) : NULL;
    if (first && !p) CHECK_MSG(*tn_error(ctx), "%s: not compiled, without a message", op->name);
    for (int i = 0; p && i < n; i++) feed_anything(p, names[i], &type[i]);
    if (p && tn_run(p) != TN_OK)
        CHECK_MSG(*tn_error(ctx), "%s: failed without a message", op->name);
    *taken += p != NULL;
    tn_clear_error(ctx);
    tn_program_free(p);
    tn_graph_free(g);
}

TEST(misuse, any_op_on_anything)
{
    tn_ctx *ctx = new_ctx();
    long    taken = 0;
    for (int i = 0; i < tn_op_count(); i++) {
        random_state = (uint64_t)i;
        for (int k = 0; k < 150; k++) try_op(ctx, tn_op_at(i), &taken);
        CHECK_MSG(tn_ctx_memory(ctx) == 0, "%s: leaked", tn_op_at(i)->name);
    }
    CHECK_MSG(taken > 1000, "only %ld calls were taken", taken);
    tn_ctx_free(ctx);
}

TEST_MAIN
