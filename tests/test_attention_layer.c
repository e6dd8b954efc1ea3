/* The attention layer: against PyTorch's numbers, and packed, padded, grouped and cached attention
 * against each other. */
#include "layers.h"

/* ---- PyTorch's numbers (2.x, float64) -------------------------------------------------------- */

static const double torch_self[] = {
    -0.12588081367211884, -0.22526552885395568, -0.21870434594479399, -0.1092830917881239,
    -0.14130069482224156, -0.23329743158496555, -0.21557074090035502, -0.096457762384565132,
    -0.11944687599799825, -0.22259396400106252, -0.22105163260779628, -0.11554526437204579,
    -0.087751766956135818, -0.24554325243795233, -0.2878519095790455, -0.19477931583495581,
    -0.041494057488599606, -0.22818633423944992, -0.3075590124876606, -0.24228188142078971,
    -0.083279835416091352, -0.2427987206515998, -0.28812557372999859, -0.19794246739690105,
};
static const double torch_weights[] = {
    0.27011083095288141, 0.44520769929175191, 0.28468146975536673, 0.35393168712525386,
    0.29900059766965276, 0.34706771520509344, 0.27739923847327619, 0.43211251463495287,
    0.29048824689177088,
};
static const double torch_causal[] = {
    -0.16193051973691969, -0.22828251145615866, -0.18726967102492956, -0.058180978141348871,
    -0.08667775534505788, -0.23887914760486417, -0.27873194415645886, -0.18749275206450389,
    -0.11944687599799825, -0.22259396400106252, -0.22105163260779628, -0.11554526437204579,
    0.049905527623791274, -0.24958989103959142, -0.43169928399742735, -0.41077375820388901,
    -0.076944416816063718, -0.21901796666547879, -0.25808394454198808, -0.17576901062752698,
    -0.083279835416091352, -0.2427987206515998, -0.28812557372999859, -0.19794246739690105,
};
static const double torch_pad[] = {
    -0.07513260519995256, -0.23247278069099972, -0.28047737493567004, -0.19656907716821945,
    -0.08667775534505788, -0.23887914760486417, -0.27873194415645886, -0.18749275206450389,
    -0.070520586438388252, -0.23034325238883349, -0.28183188752820826, -0.20077058221834831,
    -0.087751766956135818, -0.24554325243795233, -0.2878519095790455, -0.19477931583495581,
    -0.041494057488599606, -0.22818633423944992, -0.3075590124876606, -0.24228188142078971,
    -0.083279835416091352, -0.2427987206515998, -0.28812557372999859, -0.19794246739690105,
};
static const double torch_cross[] = {
    -0.29503389996432761, -0.25533505552716657, -0.095548144755281408, 0.10917655147595826,
    0.0041521464309198508, -0.021252343001333579, -0.036661523443040314, -0.034828216557379596,
    -0.55777352285934756, -0.42181033713950855, -0.087463158894631271, 0.28801930962794808,
    0.18716077211779258, 0.0022387340151378832, -0.18373621567601986, -0.28329715217718121,
    -0.63585847177032306, -0.56419942702557346, -0.22718857589146665, 0.2166726124038193,
    0.17053842642830824, -0.018398243761825417, -0.19868193243028343, -0.28552240378594862,
};

/* ---- attention ------------------------------------------------------------------------------- */

static tn_attention_layer self_layer(bench *b)
{
    tn_attention_layer l = tn_attention_new(b->p, "self", 4, 2, NULL);
    CHECK(is_constant(l.qkv.b, 0) && is_constant(l.out.b, 0));
    fill(l.qkv.w, 1, 0.8), fill(l.qkv.b, 2, 0.3), fill(l.out.w, 3, 0.7), fill(l.out.b, 4, 0.2);
    return l;
}

TEST(attention, self_is_torchs)
{
    bench              b = bench_new();
    tn_attention_layer l = self_layer(&b);
    tn_node           *x = filled(b.g, TN_SHAPE(2, 3, 4), 0.1), *weights = NULL, *y;
    const uint8_t      keep[] = { 1, 1, 0, 1, 1, 1 };
    const int32_t      lengths[] = { 2, 3 };
    CHECK_TORCH(self, tn_attention_apply(&l, x, x, NULL));
    CHECK_TORCH(self, tn_attention_apply(&l, x, NULL, &(tn_attention_mask){ 0 }));
    CHECK_TORCH(causal, tn_attention_apply(&l, x, x, &(tn_attention_mask){ .causal = true }));
    CHECK_TORCH(pad, tn_attention_apply(&l, x, x, &(tn_attention_mask){ .keep = tn_constant(b.g,
        TN_BOOL, TN_SHAPE(2, 3), keep) }));
    CHECK_TORCH(pad, tn_attention_apply(&l, x, x,
                                        &(tn_attention_mask){ .k_lengths = tn_constant(b.g, TN_I32,
                                        TN_SHAPE(2), lengths) }));
    y = tn_attention_apply_weights(&l, x, x, NULL, &weights);
    CHECK_TORCH(self, y);
    check_values("weights", tn_select(tn_select(weights, 0, 1), 0, 1), torch_weights, 9, 1e-14);
    /* other ranks */
    CHECK_TORCH(self, tn_attention_apply(&l, tn_reshape(x, TN_SHAPE(1, 2, 3, 4)), NULL, NULL));
    check_values("one sequence", tn_attention_apply(&l, tn_select(x, 0, 1), NULL, NULL),
                 torch_self + 12, 12, 1e-14);
    bench_free(&b);
}

TEST(attention, cross_is_torchs)
{
    bench              b = bench_new();
    tn_attention_layer l = tn_attention_new(b.p, "cross", 4, 2,
                                            &(tn_attention_layer_options){ .is_cross = true,
                                                                           .d_memory = 6 });
    fill(l.q.w, 1, 0.8), fill(l.q.b, 2, 0.3), fill(l.kv.w, 1.5, 0.6), fill(l.kv.b, 2.5, 0.3);
    fill(l.out.w, 3, 0.7), fill(l.out.b, 4, 0.2);
    tn_node *x = filled(b.g, TN_SHAPE(2, 3, 4), 0.1), *memory = filled(b.g, TN_SHAPE(2, 4, 6), 0.5),
        *k, *v;
    CHECK_TORCH(cross, tn_attention_apply(&l, x, memory, NULL));
    CHECK_INT(tn_attention_keys(&l, memory, &k, &v), TN_OK);
    CHECK_TORCH(cross, tn_attention_apply_keys(&l, x, k, v, NULL));
    bench_free(&b);
}

TEST(attention, packed_is_padded)
{
    bench              b = bench_new();
    tn_attention_layer l = self_layer(&b);
    const int32_t      offsets[] = { 0, 3, 5, 6 };
    tn_node           *x = filled(b.g, TN_SHAPE(6, 4), 0.3);
    for (int causal = 0; causal < 2; causal++) {
        tn_attention_mask mask = { .causal = causal,
                                   .q_offsets = tn_constant(b.g, TN_I32, TN_SHAPE(4), offsets) };
        tn_node          *y = tn_attention_apply(&l, x, x, &mask);
        for (int s = 0; s < 3; s++)
            check_same("segment", tn_slice(y, 0, offsets[s], offsets[s + 1], 1),
                       tn_attention_apply(&l, tn_slice(x, 0, offsets[s], offsets[s + 1], 1), NULL,
                                          &(tn_attention_mask){ .causal = causal }), 1e-14);
    }
    bench_free(&b);
}

/* Heads that share keys are heads with equal keys. */
TEST(attention, grouped_heads)
{
    bench              b = bench_new();
    tn_attention_layer l = tn_attention_new(b.p, "few", 8, 4,
                                            &(tn_attention_layer_options){ .n_kv_heads = 2 });
    tn_attention_layer m = tn_attention_new(b.p, "all", 8, 4, NULL);
    fill(l.qkv.w, 1, 0.5), fill(l.qkv.b, 2, 0.3), fill(l.out.w, 3, 0.7);
    CHECK_INT(tn_dim(l.qkv.w, 1), 16);
    tn_variable_set(m.out.w, tn_variable_data(l.out.w), tn_variable_bytes(l.out.w));
    for (int row = 0; row < 9; row++) { /* 8 of the weights, and the bias */
        double *to = (double *)tn_variable_data(row < 8 ? m.qkv.w : m.qkv.b) + (row < 8 ? row * 24
                                                                                : 0);
        double *from = (double *)tn_variable_data(row < 8 ? l.qkv.w : l.qkv.b) + (row < 8 ? row * 16
                                                                                  : 0);
        for (int c = 0; c < 24; c++) /* q as it is; head h of k and v is head h / 2 */
            to[c] = c < 8 ? from[c] : from[8 + (c - 8) / 8 * 4 + (c % 8) / 4 * 2 + c % 2];
    }
    tn_node *x = filled(b.g, TN_SHAPE(2, 3, 8), 0.2);
    check_same("grouped", tn_attention_apply(&l, x, x, NULL), tn_attention_apply(&m, x, x, NULL),
               1e-14);
    bench_free(&b);
}

/* ---- rotary positions ------------------------------------------------------------------------ */

static tn_attention_layer rotary_layer(bench *b)
{
    const tn_attention_layer_options o = { .n_kv_heads = 1, .rotary = 100 };
    tn_attention_layer               l = tn_attention_new(b->p, "turned", 8, 2, &o);
    fill(l.qkv.w, 1, 0.5), fill(l.qkv.b, 2, 0.3), fill(l.out.w, 3, 0.7);
    return l;
}

TEST(attention, rotary_turns_q_and_k)
{
    bench              b = bench_new();
    tn_attention_layer l = rotary_layer(&b);
    tn_node           *x = filled(b.g, TN_SHAPE(2, 5, 8), 0.2), *part[3];
    tn_split(tn_linear_apply(&l.qkv, x), -1, (const int64_t[]){ 8, 4, 4 }, 3, part);
    tn_node *q = tn_rotary(tn_reshape(part[0], TN_SHAPE(2, 5, 2, 4)), NULL, 100);
    tn_node *k = tn_rotary(tn_reshape(part[1], TN_SHAPE(2, 5, 1, 4)), NULL, 100);
    tn_node *y = tn_attention(q, k, tn_reshape(part[2], TN_SHAPE(2, 5, 1, 4)), NULL, NULL);
    y = tn_linear_apply(&l.out, tn_flatten(y, -2, -1));
    check_same("turned", tn_attention_apply(&l, x, x, NULL), y, 1e-14);
    l.rotary = 0; /* and without it is another one */
    double   apart = 0;
    tn_node *other = tn_sub(y, tn_attention_apply(&l, x, x, NULL));
    CHECK(tn_eval(tn_sum_all(tn_square(other)), &apart, sizeof apart) == TN_OK && apart > 1e-4);
    bench_free(&b);
}

/* Positions of packed sentences go on from one to the next, which changes nothing within them. */
TEST(attention, rotary_of_packed_sentences)
{
    bench                    b = bench_new();
    const tn_attention_layer l = rotary_layer(&b);
    const int32_t            offsets[] = { 0, 3, 5, 6 };
    tn_node                 *x = filled(b.g, TN_SHAPE(6, 8), 0.3);
    const tn_attention_mask  mask = { .causal = true,
                                     .q_offsets = tn_constant(b.g, TN_I32, TN_SHAPE(4), offsets) };
    tn_node *y = tn_attention_apply(&l, x, x, &mask);
    for (int s = 0; s < 3; s++)
        check_same("segment", tn_slice(y, 0, offsets[s], offsets[s + 1], 1),
                   tn_attention_apply(&l, tn_slice(x, 0, offsets[s], offsets[s + 1], 1), NULL,
                                      &(tn_attention_mask){ .causal = true }), 1e-13);
    bench_free(&b);
}

/* Two positions at a time, so that what is turned depends on the place of each. */
TEST(attention, rotary_decoding)
{
    bench                    b = bench_new();
    const tn_attention_layer l = rotary_layer(&b);
    tn_params               *state = tn_params_new(b.ctx, TN_F64);
    const tn_attention_cache cache = tn_attention_cache_new(state, "cache", &l, 2, 6);
    tn_node *position = tn_buffer(state, "position", TN_I32, TN_SCALAR), *out[2];
    tn_node *x = tn_input(b.g, "x", TN_F64, TN_SHAPE(2, 2, 8));
    tn_node *all = filled(b.g, TN_SHAPE(2, 6, 8), 0.1);
    tn_node *whole = tn_attention_apply(&l, all, NULL, &(tn_attention_mask){ .causal = true });
    out[0] = tn_attention_decode(&l, x, &cache, position, NULL, NULL);
    out[1] = tn_assign(position, tn_add_scalar(tn_read(b.g, position), 2));
    tn_program *step = tn_compile(b.g, out, 2, NULL), *once = tn_compile(b.g, &whole, 1, NULL);
    CHECK_STR(tn_error(b.ctx), "");
    REQUIRE(step && once);
    CHECK_INT(tn_run(once), TN_OK);
    const double *want = tn_output(once, 0);
    for (int t = 0; t < 6; t += 2) {
        double rows[32];
        for (int i = 0; i < 32; i++) rows[i] = fill_at(i / 16 * 48 + t * 8 + i % 16, 0.1, 1);
        CHECK_INT(tn_feed(step, x, rows, sizeof rows), TN_OK);
        CHECK_INT(tn_run(step), TN_OK);
        const double *y = tn_output(step, 0);
        for (int i = 0; i < 32; i++) CHECK_NEAR(y[i], want[i / 16 * 48 + t * 8 + i % 16], 1e-13);
    }
    tn_program_free(step), tn_program_free(once), tn_params_free(state), bench_free(&b);
}

TEST(attention, rotary_is_refused)
{
    bench b = bench_new();
    const struct {
        int64_t                    d;
        tn_attention_layer_options o;
    } wrong[] = { { 8, { .rotary = -1 } }, { 8, { .rotary = INFINITY } },
                  { 6, { .rotary = 1e4 } },
                  { 8, { .rotary = 1e4, .is_cross = true } },
                  { 8, { .rotary = 1e4, .d_memory = 4 } } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(tn_attention_new(b.p, "a", wrong[i].d, 2, &wrong[i].o).out.w == NULL);
        CHECK_CONTAINS(tn_error(b.ctx), "it is a base over 0, of self-attention with heads of an");
        tn_clear_error(b.ctx);
    }
    const tn_attention_layer l = rotary_layer(&b);
    const tn_attention_cache cache = tn_attention_cache_new(b.p, "cache", &l, 2, 6);
    tn_node *place = tn_full(b.g, TN_I64, TN_SCALAR, 0), *x = filled(b.g, TN_SHAPE(2, 1, 8), 0.1);
    CHECK(tn_attention_decode(&l, x, &cache, place, NULL, NULL) == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "the position is not an i32 scalar");
    bench_free(&b);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

TEST(attention, wrong_sizes_are_refused)
{
    bench b = bench_new();
    CHECK(tn_attention_new(b.p, "a", 10, 4, NULL).out.w == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "attention a: d_model 10 is not a multiple of 4 heads");
    tn_clear_error(b.ctx);
    CHECK(tn_attention_new(b.p, "a", 8, 4,
                           &(tn_attention_layer_options){ .n_kv_heads = 3 }).out.w == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "3 key heads do not divide 4 heads");
    tn_clear_error(b.ctx);
    tn_attention_layer l = self_layer(&b);
    tn_node           *x = filled(b.g, TN_SHAPE(2, 3, 4), 0.1),
        *other = filled(b.g, TN_SHAPE(2, 3, 4), 0.2);
    CHECK(tn_attention_apply(&l, x, other, NULL) == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), ".is_cross");
    tn_clear_error(b.ctx);
    CHECK(tn_attention_apply(&l, filled(b.g, TN_SHAPE(4), 0), NULL, NULL) == NULL);
    CHECK_CONTAINS(tn_error(b.ctx), "[.., t, d]");
    tn_clear_error(b.ctx);
    tn_node *k, *v;
    CHECK(tn_attention_keys(&l, x, &k, &v) != TN_OK);
    bench_free(&b);
}

/* Position by position with a cache, and all at once. */
TEST(attention, decoding_is_causal_attention)
{
    bench              b = bench_new();
    tn_attention_layer l = self_layer(&b);
    tn_params         *state = tn_params_new(b.ctx, TN_F64);
    tn_attention_cache cache = tn_attention_cache_new(state, "self", &l, 2, 3);
    tn_node           *position = tn_buffer(state, "position", TN_I32, TN_SCALAR), *out[2];
    tn_node           *x = tn_input(b.g, "x", TN_F64, TN_SHAPE(2, 1, 4));
    out[0] = tn_attention_decode(&l, x, &cache, position, NULL, NULL);
    out[1] = tn_assign(position, tn_add_scalar(tn_read(b.g, position), 1));
    tn_program *step = tn_compile(b.g, out, 2, NULL);
    CHECK_STR(tn_error(b.ctx), "");
    REQUIRE(step);
    for (int t = 0; t < 3; t++) {
        double row[8];
        for (int i = 0; i < 8; i++) row[i] = fill_at(i / 4 * 12 + t * 4 + i % 4, 0.1, 1);
        CHECK_INT(tn_feed(step, x, row, sizeof row), TN_OK);
        CHECK_INT(tn_run(step), TN_OK);
        const double *y = tn_output(step, 0);
        for (int i = 0; i < 8; i++)
            CHECK_NEAR(y[i], torch_causal[i / 4 * 12 + t * 4 + i % 4], 1e-14);
    }
    CHECK_INT(tn_run(step), TN_ERR_INDEX); /* the cache is full */
    tn_clear_error(b.ctx);
    tn_program_free(step), tn_params_free(state), bench_free(&b);
}

/* Rows of a cache may be written to other places of it: they are read before. */
TEST(attention, rows_of_the_cache_itself)
{
    enum { T = 50000 };
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2 });
    for (int32_t at = 0; at < 2; at++) { /* all of them reversed, or moved on by one */
        tn_params *p = tn_params_new(ctx, TN_F32);
        tn_node   *cache = tn_buffer(p, "cache", TN_F32, TN_SHAPE(1, T, 4));
        tn_graph  *g = tn_graph_new(ctx, TN_EVAL);
        tn_node   *x = tn_read(g, cache), *place = tn_constant(g, TN_I32, TN_SCALAR, &at);
        tn_node   *y = tn_write_rows(x, at ? tn_slice(x, 1, 0, T - 1, 1) : tn_flip(x, 1), place);
        y = tn_sum_all(y);
        float *data = tn_variable_data(cache);
        for (int i = 0; i < 4 * T; i++) data[i] = (float)i;
        tn_program *program = tn_compile(g, &y, 1, NULL);
        CHECK_MSG(program && tn_run(program) == TN_OK, "%s", tn_error(ctx));
        int wrong = 0;
        for (int i = 0; i < T; i++)
            wrong += data[4 * i] != (float)(4 * (at ? (i ? i - 1 : 0) : T - 1 - i));
        CHECK_INT(wrong, 0);
        tn_program_free(program), tn_graph_free(g), tn_params_free(p);
    }
    tn_ctx_free(ctx);
}

/* The first sentences of a cache get rows; of more than there are, or of more tokens, there is no
 * place. */
TEST(attention, rows_of_fewer_sentences)
{
    bench              b = bench_new();
    const int32_t      at = 1;
    const double       x[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    tn_params         *p = tn_params_new(b.ctx, TN_F64);
    tn_node           *cache = tn_buffer(p, "cache", TN_F64, TN_SHAPE(3, 4, 2));
    tn_node           *rows = tn_constant(b.g, TN_F64, TN_SHAPE(2, 2, 2), x);
    tn_node           *place = tn_constant(b.g, TN_I32, TN_SCALAR, &at);
    tn_node           *y = tn_slice(tn_write_rows(cache, rows, place), 0, 0, 2, 1);
    tn_program        *program = tn_compile(b.g, &y, 1, NULL);
    CHECK_MSG(program && tn_run(program) == TN_OK, "%s", tn_error(b.ctx));
    const double *data = tn_variable_data(cache), *out = program ? tn_output(program, 0) : data;
    for (int i = 0; i < 24; i++) {
        const int sentence = i / 8, token = i / 2 % 4;
        const bool is_new = sentence < 2 && (token == 1 || token == 2);
        CHECK(data[i] == (is_new ? x[sentence * 4 + i % 8 - 2] : 0));
        CHECK(i >= 16 || out[i] == data[i]);
    }
    tn_program_free(program);
    const tn_shape wrong[] = { TN_SHAPE(4, 2, 2), TN_SHAPE(3, 5, 2), TN_SHAPE(2, 2, 1) };
    for (int i = 0; i < 3; i++) {
        CHECK(!tn_write_rows(cache, tn_full(b.g, TN_F64, wrong[i], 0), place));
        CHECK(strstr(tn_error(b.ctx), "do not fit"));
        tn_clear_error(b.ctx);
    }
    tn_params_free(p), bench_free(&b);
}

/* Rows of a cache that are one and the same, by way of expand, cannot be written in place. */
TEST(attention, rows_that_share_memory)
{
    bench         b = bench_new();
    const int32_t at = 1;
    const double  x[] = { 1, 2, 3 };
    tn_params    *p = tn_params_new(b.ctx, TN_F64);
    tn_node      *one = tn_buffer(p, "cache", TN_F64, TN_SHAPE(1, 4));
    tn_node      *y = tn_write_rows(tn_expand(tn_read(b.g, one), TN_SHAPE(3, 4)),
                                    tn_constant(b.g, TN_F64, TN_SHAPE(3, 1), x),
                                    tn_constant(b.g, TN_I32, TN_SCALAR, &at));
    tn_program   *program = tn_compile(b.g, &y, 1, NULL);
    CHECK_MSG(program && tn_run(program) == TN_OK, "%s", tn_error(b.ctx));
    const double *out = tn_output(program, 0), *data = tn_variable_data(one);
    for (int i = 0; i < 12; i++) CHECK(out[i] == (i % 4 == 1 ? x[i / 4] : 0));
    for (int i = 0; i < 4; i++) CHECK(data[i] == 0);
    tn_program_free(program), tn_params_free(p), bench_free(&b);
}

/* Beams change places between positions: each row continues the cache of its parent. */
static void follow_parents(double rotary)
{
    bench              b = bench_new();
    tn_attention_layer l = self_layer(&b);
    l.rotary = rotary;
    tn_params         *state = tn_params_new(b.ctx, TN_F64);
    tn_attention_cache cache = tn_attention_cache_new(state, "self", &l, 2, 4);
    tn_node           *position = tn_buffer(state, "position", TN_I32, TN_SCALAR), *out[4];
    tn_node           *x = tn_input(b.g, "x", TN_F64, TN_SHAPE(2, 1, 4)),
        *parents = tn_input(b.g, "parents", TN_I32, TN_SHAPE(2));
    out[0] = tn_attention_decode(&l, x, &cache, position, parents, out + 1);
    out[3] = tn_assign(position, tn_add_scalar(tn_read(b.g, position), 1));
    tn_program *step = tn_compile(b.g, out, 4, NULL);
    CHECK_STR(tn_error(b.ctx), "");
    REQUIRE(step);
    CHECK(!tn_attention_decode(&l, x, &cache, position, parents, NULL)); /* the order would go */
    CHECK_CONTAINS(tn_error(b.ctx), "parents need assigns");
    tn_clear_error(b.ctx);
    static const int32_t parent[4][2] = { { 0, 1 }, { 1, 1 }, { 1, 0 }, { 0, 0 } };
    double               seen[2][4][4]; /* the inputs that each row has come by */
    for (int t = 0; t < 4; t++) {
        double row[8], before[2][4][4];
        for (int i = 0; i < 8; i++) row[i] = fill_at(8 * t + i, 0.9, 1);
        memcpy(before, seen, sizeof seen);
        for (int r = 0; r < 2; r++) {
            memcpy(seen[r], before[parent[t][r]], sizeof seen[r]);
            memcpy(seen[r][t], row + 4 * r, sizeof seen[r][t]);
        }
        tn_feed(step, x, row, sizeof row), tn_feed(step, parents, parent[t], sizeof parent[t]);
        CHECK_INT(tn_run(step), TN_OK);
    }
    tn_graph *g = tn_graph_new(b.ctx, TN_EVAL);
    tn_node  *all = tn_constant(g, TN_F64, TN_SHAPE(2, 4, 4), seen);
    tn_node  *y = tn_attention_apply(&l, all, all, &(tn_attention_mask){ .causal = true });
    check_values("the last position", tn_contiguous(tn_select(y, 1, 3)), tn_output(step, 0), 8,
                 1e-14);
    tn_program_free(step), tn_graph_free(g), tn_params_free(state), bench_free(&b);
}

TEST(attention, decoding_follows_parents)
{
    follow_parents(0);
    follow_parents(100);
}

TEST_MAIN
