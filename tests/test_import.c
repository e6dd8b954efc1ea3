/* Importing parameters by a map of names: logits of models whose weights were filled in PyTorch
 * (tests/references/import.py), parts and joins of outputs, and files and maps that do not fit. */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

#include <unistd.h>

typedef struct import_tensor {
    const char *name;
    tn_shape    shape;
} import_tensor;

#include "references/import.h"

enum { MOST = 80, VOCAB = 7 };
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

/* ---- files ----------------------------------------------------------------------------------- */

static char path[256];

static const char *file_path(void)
{
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/tn_import_%ld.safetensors", dir ? dir : "/tmp", (long)getpid());
    return path;
}

/* 0.25 sin(1.3 i + 0.37 s), s the sum of the name's bytes; 1 more for the factors of norms. As in
 * import.py. */
static double *numbers_of(const import_tensor *t)
{
    const int64_t n = tn_shape_size(&t->shape);
    const char   *end = t->name + strlen(t->name) - strlen("weight");
    const bool    is_norm = strstr(t->name, "norm") || strstr(t->name, "ln_");
    double       *x = malloc((size_t)n * sizeof *x);
    int           sum = 0;
    for (const char *c = t->name; *c; c++) sum += (unsigned char)*c;
    for (int64_t i = 0; x && i < n; i++)
        x[i] = 0.25 * sin(1.3 * (double)i + 0.37 * sum) + (is_norm && strcmp(end, "weight") == 0);
    return x;
}

/* Writes the tensors, their names behind the prefix, and one more that the prefix leaves out. */
static void write_file(tn_ctx *ctx, const import_tensor *tensors, int n, const char *prefix)
{
    static const double  one = 1;
    tn_safetensors_entry entries[MOST + 1];
    char                 names[MOST][96];
    REQUIRE(n <= MOST);
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "%s%s", prefix, tensors[i].name);
        entries[i] = (tn_safetensors_entry){ names[i], { TN_F64, tensors[i].shape },
                                             numbers_of(&tensors[i]) };
    }
    entries[n] = (tn_safetensors_entry){ "else.weight", { TN_F64, TN_SHAPE(1) }, &one };
    CHECK_INT(tn_safetensors_write(ctx, file_path(), entries, n + (*prefix != 0), NULL, 0), TN_OK);
    for (int i = 0; i < n; i++) free((void *)(uintptr_t)entries[i].data);
}

static tn_node *ids_of(tn_graph *g, tn_shape shape, const int32_t *ids)
{
    return tn_constant(g, TN_I32, shape, ids);
}

static void check_logits(tn_node *y, const double *want, int64_t n, double tolerance)
{
    double got[96];
    REQUIRE(n <= COUNT(got));
    CHECK_INT(tn_eval(y, got, (size_t)n * sizeof *got), TN_OK);
    for (int64_t i = 0; i < n; i++) CHECK_NEAR(got[i], want[i], tolerance);
}

/* ---- our models ------------------------------------------------------------------------------ */

TEST(import, gpt2)
{
    static const int32_t ids[] = { 1, 6, 0, 2, 3, 3, 5, 4 };
    tn_ctx              *ctx = tn_ctx_new(NULL);
    tn_params           *p = tn_params_new(ctx, TN_F64);
    tn_gpt *m = tn_gpt_new(p, &(tn_gpt_config){ .vocab = VOCAB, .d_model = 4, .n_heads = 2,
                                                .d_ff = 6, .n_layers = 2, .max_length = 5 });
    int                   n;
    const tn_import_rule *rules = tn_gpt2_rules(&n);
    REQUIRE(m);
    write_file(ctx, gpt2_tensors, COUNT(gpt2_tensors), "transformer.");
    CHECK_INT(tn_import(path, p, rules, n, &(tn_import_options){ .prefix = "transformer." }),
              TN_OK);
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_sequence tokens = { .ids = ids_of(g, TN_SHAPE(2, 4), ids) };
    check_logits(tn_gpt_logits(m, tn_gpt_apply(m, &tokens)), gpt2_logits, COUNT(gpt2_logits),
                 1e-14);
    remove(path);
    tn_graph_free(g), tn_gpt_free(m), tn_params_free(p), tn_ctx_free(ctx);
}

TEST(import, torch_transformer)
{
    static const int32_t source[] = { 1, 6, 0, 2, 4, 3, 3, 5, 4, 2 },
        target[] = { 2, 8, 1, 2, 4, 7 };
    tn_ctx              *ctx = tn_ctx_new(NULL);
    tn_params           *p = tn_params_new(ctx, TN_F64);
    tn_transformer      *m = tn_transformer_new(
        p, &(tn_transformer_config){ .src_vocab = VOCAB, .tgt_vocab = VOCAB + 2, .d_model = 4,
                                          .n_heads = 2, .d_ff = 6, .n_encoder = 2, .n_decoder = 2,
                                          .max_length = 5, .learned_positions = true,
                                          .separate_source = true, .separate_output = true });
    int                   n;
    const tn_import_rule *rules = tn_transformer_rules(&n);
    REQUIRE(m);
    write_file(ctx, translator_tensors, COUNT(translator_tensors), "");
    CHECK_INT(tn_import(file_path(), p, rules, n, NULL), TN_OK);
    tn_graph   *g = tn_graph_new(ctx, TN_EVAL);
    tn_sequence s = { .ids = ids_of(g, TN_SHAPE(2, 5), source) },
                t = { .ids = ids_of(g, TN_SHAPE(2, 3), target) };
    check_logits(tn_transformer_logits(
                     m, tn_transformer_decode(m, tn_transformer_encode(m, &s), &s, &t)),
                 translator_logits, COUNT(translator_logits), 1e-14);
    remove(path);
    tn_graph_free(g), tn_transformer_free(m), tn_params_free(p), tn_ctx_free(ctx);
}

/* ---- maps of one's own ----------------------------------------------------------------------- */

/* Two parameters in scope, one out of it; a file of the matrices of q, k and v as Linear has
 * them. */
typedef struct fixture {
    tn_ctx    *ctx;
    tn_params *p;
    tn_node   *w, *b, *other;
} fixture;

static const import_tensor qkv[] = { { "0.q.weight", { 2, { 2, 3 } } },
                                     { "0.k.weight", { 2, { 2, 3 } } },
                                     { "0.v.weight", { 2, { 4, 3 } } },
                                     { "0.bias", { 1, { 12 } } } };
#define QKV "*.q.weight *.k.weight *.v.weight"
static const tn_import_rule qkv_rules[] = {
    { .to = "*.w", .from = "*.q.weight *.k.weight  *.v.weight", .transposed = true },
    { .to = "*.b", .from = "*.bias", .first = 1, .count = 2, .of = 3 },
};

static bool open_fixture(fixture *f)
{
    f->ctx = tn_ctx_new(NULL);
    f->p = tn_params_new(f->ctx, TN_F32);
    f->w = tn_param(f->p, "layers.0.w", TN_SHAPE(3, 8), NULL);
    f->b = tn_param(f->p, "layers.0.b", TN_SHAPE(8), NULL);
    f->other = tn_param(f->p, "other", TN_SHAPE(1), NULL);
    if (f->other) write_file(f->ctx, qkv, COUNT(qkv), "model.");
    CHECK(f->other);
    return f->other;
}

static void close_fixture(fixture *f)
{
    remove(path);
    tn_params_free(f->p), tn_ctx_free(f->ctx);
}

static const tn_import_options inside = { .prefix = "model.", .scope = "layers." };

TEST(import, joins_transposes_and_takes_parts)
{
    fixture f;
    if (!open_fixture(&f)) return;
    CHECK_INT(tn_import(path, f.p, qkv_rules, 2, &inside), TN_OK);
    const float *w = tn_variable_data(f.w), *b = tn_variable_data(f.b);
    for (int k = 0, at = 0; k < 3; at += (int)qkv[k++].shape.dim[0]) {
        double *x = numbers_of(&qkv[k]);
        for (int o = 0; o < qkv[k].shape.dim[0]; o++)
            for (int i = 0; i < 3; i++) CHECK_NEAR(w[i * 8 + at + o], x[o * 3 + i], 1e-7);
        free(x);
    }
    double *x = numbers_of(&qkv[3]);
    for (int i = 0; i < 8; i++) CHECK_NEAR(b[i], x[4 + i], 1e-7);
    free(x);
    CHECK_NEAR(*(float *)tn_variable_data(f.other), 0, 0);
    close_fixture(&f);
}

/* What the file does not have, and a rule says so, stays as it is. */
TEST(import, leaves_what_a_rule_names_alone)
{
    fixture f;
    if (!open_fixture(&f)) return;
    const tn_import_rule rules[] = { qkv_rules[0], { .to = "*.b" }, { .from = "*.bias" } };
    tn_variable_fill(f.b, 3);
    CHECK_INT(tn_import(path, f.p, rules, 3, &inside), TN_OK);
    CHECK_NEAR(*(float *)tn_variable_data(f.b), 3, 0);
    CHECK(*(float *)tn_variable_data(f.w) != 0);
    close_fixture(&f);
}

/* Kernels of convolutions: [out, in, height, width] there, [height, width, in, out] here. */
TEST(import, moves_kernels)
{
    static const import_tensor  there = { "weight", { 4, { 3, 2, 2, 5 } } };
    static const tn_import_rule rule = { .to = "c.w", .from = "weight", .transposed = true };
    tn_ctx                     *ctx = tn_ctx_new(NULL);
    for (int fits = 0; fits < 2; fits++) {
        tn_params    *p = tn_params_new(ctx, TN_F32);
        const tn_conv c = tn_conv_new(p, "c", fits ? TN_SHAPE(2, 5) : TN_SHAPE(5, 2), 2, 3,
                                      &(tn_conv_options){ .no_bias = true });
        write_file(ctx, &there, 1, "");
        CHECK_INT(tn_import(path, p, &rule, 1, NULL), fits ? TN_OK : TN_ERR_SHAPE);
        if (!fits)
            CHECK_CONTAINS(tn_error(ctx), "weight is [3,2,2,5] there, to be transposed, c.w is "
                                          "[5,2,2,3]");
        const float *w = tn_variable_data(c.w);
        double      *x = numbers_of(&there);
        for (int i = 0; fits && i < 60; i++) {
            const int o = i % 3, in = i / 3 % 2, at = i / 6; /* at: of 2 x 5 */
            CHECK_NEAR(w[i], x[(o * 2 + in) * 10 + at], 1e-7);
        }
        free(x), remove(path), tn_clear_error(ctx), tn_params_free(p);
    }
    tn_ctx_free(ctx);
}

/* What is wrong is named, and nothing is changed. */
TEST(import, what_does_not_fit)
{
    static const struct {
        tn_import_rule    rules[4];
        tn_import_options o;
        tn_status         status;
        const char       *message;
    } wrong[] = {
        { { { .to = "*.w", .from = QKV, .transposed = true } }, { "model.", "layers." }, TN_ERR_ARG,
          "no rule says what layers.0.b is made of" },
        { { { .to = "*.w", .from = "*.q.weight *.u.weight", .transposed = true },
            { .to = "*.b", .from = "*.bias" } },
          { "model.", "layers." }, TN_ERR_FORMAT,
          "there is no model.0.u.weight in it, of which layers.0.w is made" },
        { { { .to = "*.w", .from = "*.q.weight *.v.weight", .transposed = true },
            { .to = "*.b", .from = "*.bias", .first = 0, .count = 2, .of = 3 } },
          { "model.", "layers." }, TN_ERR_SHAPE,
          "6 of the 6 outputs of model.0.q.weight .. do not make layers.0.w, which is [3,8]" },
        { { { .to = "*.w", .from = QKV }, { .to = "*.b", .from = "*.bias" } },
          { "model.", "layers." }, TN_ERR_SHAPE,
          "model.0.q.weight is [2,3] there, layers.0.w is [3,8]" },
        { { { .to = "*.w", .from = QKV, .transposed = true },
            { .to = "*.b", .from = "*.bias", .transposed = true } },
          { "model.", "layers." }, TN_ERR_SHAPE,
          "model.0.bias is [12] there, to be transposed, layers.0.b is [8]" },
        { { { .to = "*.w", .from = QKV, .transposed = true }, { .to = "*.b", .from = "*.bias" } },
          { "model.", "layers." }, TN_ERR_SHAPE, "model.0.bias is [12] there, layers.0.b is [8]" },
        { { { .to = "*.w", .from = QKV, .transposed = true },
            { .to = "*.b", .from = "*.bias", .first = 0, .count = 2, .of = 5 } },
          { "model.", "layers." }, TN_ERR_SHAPE, "do not make layers.0.b" },
        { { { .to = "*.w", .from = "*.q.weight *.q.weight *.k.weight *.k.weight",
              .transposed = true },
            { .to = "*.b", .from = "*.bias", .first = 1, .count = 2, .of = 3 } },
          { "model.", "layers." }, TN_ERR_FORMAT, "nothing is made of model.0.v.weight" },
        { { { .to = "*.w", .from = QKV, .transposed = true },
            { .to = "*.b", .from = "*.bias", .first = 1, .count = 2, .of = 3 } },
          { NULL, NULL }, TN_ERR_FORMAT, "there is no layers.0.q.weight in it" },
        { { { .to = "*.w", .from = QKV },
            { .to = "*.b", .from = "*.bias", .first = 2, .count = 2, .of = 3 } },
          { "model.", "layers." }, TN_ERR_ARG, "rule 1 takes 2 pieces from piece 2 of 3" },
        { { { .to = "*.w", .from = QKV }, { .to = "*.b", .from = "" } }, { "model.", "layers." },
          TN_ERR_ARG, "rule 1 names nothing" },
        { { { .to = "*.w", .from = "a b c d e f g h i" } }, { "model.", "layers." }, TN_ERR_FORMAT,
          "there is no model.a in it" },
    };
    fixture f;
    if (!open_fixture(&f)) return;
    for (int i = 0; i < COUNT(wrong); i++) {
        int n = 0;
        while (n < 4 && wrong[i].rules[n].from) n++;
        CHECK_INT(tn_import(path, f.p, wrong[i].rules, n, &wrong[i].o), wrong[i].status);
        CHECK_CONTAINS(tn_error(f.ctx), wrong[i].message);
        tn_clear_error(f.ctx);
        for (int k = 0; k < 24; k++) CHECK_NEAR(((float *)tn_variable_data(f.w))[k], 0, 0);
    }
    CHECK_INT(tn_import("no/such.safetensors", f.p, qkv_rules, 2, &inside), TN_ERR_IO);
    CHECK_CONTAINS(tn_error(f.ctx), "no/such.safetensors");
    tn_clear_error(f.ctx);
    CHECK_INT(tn_import(NULL, f.p, qkv_rules, 2, &inside), TN_ERR_ARG);
    tn_clear_error(f.ctx);
    CHECK_INT(tn_import(path, f.p, NULL, 2, &inside), TN_ERR_ARG);
    tn_clear_error(f.ctx);
    CHECK_INT(tn_import(path, NULL, qkv_rules, 2, &inside), TN_ERR_ARG);
    close_fixture(&f);
}

static bool import_once(tn_ctx *ctx)
{
    tn_params *p = tn_params_new(ctx, TN_F32);
    bool       ok = tn_param(p, "layers.0.w", TN_SHAPE(3, 8), NULL) &&
              tn_param(p, "layers.0.b", TN_SHAPE(8), NULL) &&
              tn_import(path, p, qkv_rules, 2, &inside) == TN_OK;
    tn_params_free(p);
    return ok;
}

TEST(import, survives_lack_of_memory)
{
    fixture f;
    if (!open_fixture(&f)) return;
    check_each_allocation(import_once);
    close_fixture(&f);
}

TEST(import, unwanted_tensors_are_named)
{
    static const tn_import_rule rules[] = {
        { .to = "*.b", .from = "*.bias", .first = 1, .count = 2, .of = 3 },
        { .to = "*.w", .from = "*.q.weight *.k.weight *.k.weight *.q.weight", .transposed = true },
        { .from = "*.v.weight" },
    };
    fixture f;
    if (!open_fixture(&f)) return;
    CHECK_INT(tn_import(path, f.p, rules, 3, &inside), TN_OK);
    close_fixture(&f);
}

TEST_MAIN
