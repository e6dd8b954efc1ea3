/* Parameter sets and initial values. */
#include "check.h"
#include "failing.h"
#include "libtensor.h"

static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 11 });
}

/* ---- sets ------------------------------------------------------------------------------------ */

TEST(params, names_are_paths)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    for (int i = 0; i < 20; i++) {
        TN_PARAMS_SCOPE(p, "encoder.%d", i)
        {
            tn_params_push(p, "self");
            CHECK(tn_param(p, "w", TN_SHAPE(2, 3), NULL) != NULL);
            tn_params_pop(p);
            CHECK(tn_param(p, "b", TN_SHAPE(3), NULL) != NULL);
        }
    }
    CHECK(tn_buffer(p, "count", TN_I64, TN_SCALAR) != NULL);
    CHECK_INT(tn_params_count(p), 41);
    CHECK_INT(tn_params_size(p), 20 * 9);
    CHECK_STR(tn_variable_name(tn_params_at(p, 2)), "encoder.1.self.w");
    CHECK(tn_params_find(p, "encoder.19.b") == tn_params_at(p, 39));
    CHECK(tn_params_find(p, "encoder.20.b") == NULL);
    CHECK(tn_params_find(p, NULL) == NULL);
    CHECK(tn_params_at(p, 41) == NULL && tn_params_at(p, -1) == NULL);
    CHECK(tn_params_is_buffer(p, 40) && !tn_params_is_trainable(p, 40) &&
          !tn_params_is_buffer(p, 0));
    CHECK_INT(tn_params_depth(p), 0);
    CHECK(tn_params_text(p, "abc") == tn_params_text(p, "abc"));
    tn_params_free(p), tn_ctx_free(ctx);
}

TEST(params, wrong_names_are_refused)
{
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    char       text[400];
    tn_param(p, "l1.w", TN_SHAPE(2), NULL);
    tn_params_push(p, "l1");
    CHECK(tn_param(p, "w", TN_SHAPE(2), NULL) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "there is a parameter l1.w already");
    tn_clear_error(ctx);
    CHECK(tn_param(p, "", TN_SHAPE(2), NULL) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    tn_clear_error(ctx);
    memset(text, 'a', sizeof text), text[sizeof text - 1] = 0;
    CHECK(tn_param(p, text, TN_SHAPE(2), NULL) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "characters long");
    tn_clear_error(ctx);
    CHECK(tn_param(p, "caf\xe9", TN_SHAPE(2), NULL) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "parameter l1.caf\xe9: no file could have it under that name");
    tn_clear_error(ctx);
    CHECK(tn_param(p, "__metadata__", TN_SHAPE(2), NULL) != NULL); /* behind l1. */
    const tn_init none = tn_init_normal(0, NAN);
    CHECK(tn_param(p, "x", TN_SHAPE(2), &none) == NULL);
    tn_clear_error(ctx);
    CHECK(tn_param(p, "x", TN_SHAPE(2), NULL) != NULL); /* its name was not taken */
    for (int i = 0; i < 40; i++) tn_params_push(p, "d");
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    tn_clear_error(ctx);
    for (int i = 0; i < 40; i++) tn_params_pop(p);
    CHECK_STR(tn_variable_name(tn_param(p, "y", TN_SHAPE(2), NULL)), "l1.y");
    tn_params_push(p, "%s", text);
    CHECK_CONTAINS(tn_error(ctx), "characters long");
    tn_clear_error(ctx);
    tn_params_pop(p);
    tn_params_restore(p, 0);
    CHECK(tn_param(p, "__metadata__", TN_SHAPE(2), NULL) == NULL);
    CHECK_CONTAINS(tn_error(ctx), "parameter __metadata__: no file could");
    tn_clear_error(ctx);
    CHECK(tn_buffer(p, "__metadata__", TN_F32, TN_SHAPE(2)) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    tn_clear_error(ctx);
    CHECK(tn_param(p, "v", TN_SHAPE(-2), NULL) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_SHAPE);
    tn_clear_error(ctx);
    for (int i = 0; i < 40; i++) tn_params_push(p, "a");
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    tn_clear_error(ctx);
    for (int i = 0; i < 50; i++) tn_params_pop(p);
    CHECK(tn_params_new(ctx, TN_I32) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_DTYPE);
    CHECK(tn_param(NULL, "x", TN_SHAPE(1), NULL) == NULL && tn_params_count(NULL) == 0);
    tn_params_free(p), tn_ctx_free(ctx);
}

TEST(params, patterns)
{
    static const struct {
        const char *pattern, *name;
        bool        match;
    } cases[] = { { "a.b", "a.b", true },      { "a.b", "a.bc", false },  { "*", "", true },
                  { "*.b", "x.y.b", true },    { "*.b", "x.y.bc", false }, { "", "", true },
                  { "enc.*", "enc.1.w", true }, { "enc.*", "enc", false }, { "", "a", false },
                  { "a*c*e", "abcde", true },  { "a*c*e", "abcd", false }, { "*ab", "aab", true },
                  { "**", "abc", true },       { "a*", "ba", false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_MSG(tn_name_matches(cases[i].pattern, cases[i].name) == cases[i].match,
                  "\"%s\" and \"%s\": expected %s",
                  cases[i].pattern, cases[i].name, cases[i].match ? "a match" : "none");
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_linear_new(p, "a", 2, 3), tn_linear_new(p, "b", 3, 2);
    CHECK_INT(tn_params_set_trainable(p, "*.b", false), 2);
    CHECK(tn_params_is_trainable(p, 0) && !tn_params_is_trainable(p, 1));
    CHECK_INT(tn_params_trainable_size(p), 12);
    CHECK_INT(tn_params_set_trainable(p, "none", false), 0);
    CHECK_INT(tn_params_set_group(p, "a.*", 3), 2);
    CHECK_INT(tn_params_group(p, 1), 3);
    CHECK_INT(tn_params_group(p, 2), 0);
    CHECK_INT(tn_params_set_group(p, "a.*", 8), 0);
    CHECK_CONTAINS(tn_error(ctx), "group 8 is not in [0, 8)");
    tn_params_free(p), tn_ctx_free(ctx);
}

TEST(params, copies_between_sets)
{
    tn_ctx    *ctx = new_ctx(1), *other = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .seed = 12 });
    tn_params *a = tn_params_new(ctx, TN_F32), *b = tn_params_new(other, TN_F32),
        *c = tn_params_new(ctx, TN_F32),
              *d = tn_params_new(ctx, TN_F64);
    tn_linear x = tn_linear_new(a, "x", 2, 3), y = tn_linear_new(b, "x", 2, 3);
    tn_linear_new(c, "x", 3, 3), tn_linear_new(d, "x", 2, 3);
    /* other seeds */
    CHECK(memcmp(tn_variable_data(x.w), tn_variable_data(y.w), tn_variable_bytes(x.w)) != 0);
    CHECK_INT(tn_params_copy(a, b), TN_OK);
    CHECK(memcmp(tn_variable_data(x.w), tn_variable_data(y.w), tn_variable_bytes(x.w)) == 0);
    CHECK_INT(tn_params_copy(a, c), TN_ERR_SHAPE);
    CHECK_CONTAINS(tn_error(ctx), "x.w is [2,3] in one set and [3,3] in the other");
    tn_clear_error(ctx);
    CHECK_INT(tn_params_compatible(a, d), TN_ERR_DTYPE);
    tn_clear_error(ctx);
    tn_buffer(a, "n", TN_I32, TN_SCALAR);
    CHECK_INT(tn_params_compatible(a, b), TN_ERR_ARG);
    tn_params_free(a), tn_params_free(b), tn_params_free(c), tn_params_free(d), tn_ctx_free(ctx),
        tn_ctx_free(other);
}

/* ---- initial values -------------------------------------------------------------------------- */

enum { N = 200000 };

typedef struct moments {
    double mean, std, lo, hi;
} moments;

static moments moments_of(tn_node *v)
{
    const double *x = tn_variable_data(v);
    int64_t       n = (int64_t)(tn_variable_bytes(v) / sizeof *x);
    moments       m = { 0, 0, x[0], x[0] };
    for (int64_t i = 0; i < n; i++)
        m.mean += x[i] / (double)n, m.lo = fmin(m.lo, x[i]), m.hi = fmax(m.hi, x[i]);
    for (int64_t i = 0; i < n; i++) m.std += (x[i] - m.mean) * (x[i] - m.mean) / (double)n;
    m.std = sqrt(m.std);
    return m;
}

TEST(init, distributions_have_their_moments)
{
    tn_ctx    *ctx = new_ctx(2);
    tn_params *p = tn_params_new(ctx, TN_F64);
    tn_init    gain3 = tn_init_xavier_uniform(), fans = tn_init_xavier_normal();
    gain3.gain = 3, fans.fan_in = 100, fans.fan_out = 300;
    /* [400, 500]: fan_in 400, fan_out 500. Uniform: std = range / sqrt(12). Truncated at 2 std:
     * 0.8796 */
    const struct {
        const char *name;
        tn_init     init;
        double      mean, std, lo, hi;
    } cases[] = {
        { "uniform", tn_init_uniform(-1, 3), 1, 4 / sqrt(12), -1, 3 },
        { "normal", tn_init_normal(2, 0.5), 2, 0.5, -INFINITY, INFINITY },
        { "truncated", tn_init_truncated_normal(1, 0.5), 1, 0.5 * 0.87962566, 0, 2 },
        { "xavier_uniform", tn_init_xavier_uniform(), 0, sqrt(2.0 / 900), -sqrt(6.0 / 900),
          sqrt(6.0 / 900) },
        { "xavier_uniform, gain 3", gain3, 0, 3 * sqrt(2.0 / 900), -3 * sqrt(6.0 / 900),
          3 * sqrt(6.0 / 900) },
        { "xavier_normal", tn_init_xavier_normal(), 0, sqrt(2.0 / 900), -INFINITY, INFINITY },
        { "xavier_normal, fans", fans, 0, sqrt(2.0 / 400), -INFINITY, INFINITY },
        { "kaiming_uniform", tn_init_kaiming_uniform(), 0, sqrt(2.0 / 400), -sqrt(6.0 / 400),
          sqrt(6.0 / 400) },
        { "kaiming_normal", tn_init_kaiming_normal(), 0, sqrt(2.0 / 400), -INFINITY, INFINITY },
        { "linear", tn_init_linear(400), 0, 1 / sqrt(1200.0), -0.05, 0.05 },
        { "constant", tn_init_constant(2.5), 2.5, 0, 2.5, 2.5 },
        { "ones", tn_init_ones(), 1, 0, 1, 1 },
        { "zeros", tn_init_zeros(), 0, 0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moments m = moments_of(tn_param(p, cases[i].name, TN_SHAPE(400, 500), &cases[i].init));
        double  slack = 5 * cases[i].std / sqrt(N) + 1e-11;
        CHECK_MSG(fabs(m.mean - cases[i].mean) < slack, "%s: mean %g, expected %g +- %g",
                  cases[i].name, m.mean, cases[i].mean, slack);
        CHECK_MSG(fabs(m.std - cases[i].std) < slack, "%s: std %g, expected %g +- %g",
                  cases[i].name, m.std, cases[i].std, slack);
        CHECK_MSG(m.lo >= cases[i].lo && m.hi <= cases[i].hi,
                  "%s: in [%g, %g], expected in [%g, %g]", cases[i].name,
                  m.lo, m.hi, cases[i].lo, cases[i].hi);
    }
    tn_params_free(p), tn_ctx_free(ctx);
}

TEST(init, orthogonal_rows_or_columns)
{
    static const int64_t dims[][3] = { { 5, 8, 0 }, { 8, 5, 0 }, { 6, 6, 0 }, { 1, 4, 0 },
                                       { 2, 3, 4 } };
    tn_ctx    *ctx = new_ctx(1);
    tn_params *p = tn_params_new(ctx, TN_F64);
    tn_init    init = tn_init_orthogonal(2);
    for (int k = 0; k < 5; k++) {
        char name[8] = { (char)('a' + k), 0 };
        int  rank = dims[k][2] ? 3 : 2;
        const double *q = tn_variable_data(tn_param(p, name, tn_shape_of(rank, dims[k]), &init));
        int64_t rows = rank == 3 ? dims[k][0] * dims[k][1] : dims[k][0], cols = dims[k][rank - 1];
        bool    wide = rows <= cols;
        int64_t n = wide ? rows : cols, m = wide ? cols : rows;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                double s = 0;
                for (int64_t l = 0; l < m; l++)
                    s += wide ? q[i * cols + l] * q[j * cols + l]
                        : q[l * cols + i] * q[l * cols + j];
                CHECK_NEAR(s, i == j ? 4 : 0, 1e-13);
            }
    }
    CHECK(tn_param(p, "v", TN_SHAPE(3), &init) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_SHAPE);
    tn_params_free(p), tn_ctx_free(ctx);
}

TEST(init, values_depend_on_seed_and_name_alone)
{
    tn_ctx    *one = new_ctx(1), *two = new_ctx(2);
    tn_params *a = tn_params_new(one, TN_F32), *b = tn_params_new(two, TN_F32);
    tn_init    normal = tn_init_truncated_normal(0, 1);
    tn_node   *x = tn_param(a, "x", TN_SHAPE(300, 700), &normal),
        *y = tn_param(a, "y", TN_SHAPE(300, 700), &normal);
    tn_node   *v = tn_param(b, "y", TN_SHAPE(300, 700), &normal),
        *u = tn_param(b, "x", TN_SHAPE(300, 700), &normal);
    CHECK(memcmp(tn_variable_data(x), tn_variable_data(u), tn_variable_bytes(x)) == 0);
    CHECK(memcmp(tn_variable_data(y), tn_variable_data(v), tn_variable_bytes(y)) == 0);
    CHECK(memcmp(tn_variable_data(x), tn_variable_data(y), tn_variable_bytes(x)) != 0);
    tn_params_free(a), tn_params_free(b), tn_ctx_free(one), tn_ctx_free(two);
}

static bool make_set(tn_ctx *ctx)
{
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_init    orthogonal = tn_init_orthogonal(1);
    bool       ok = p != NULL;
    for (int i = 0; ok && i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        ok = tn_linear_new(p, name, 2, 3).w != NULL;
    }
    ok = ok && tn_param(p, "q", TN_SHAPE(3, 3), &orthogonal) && tn_params_text(p, "name");
    tn_params_free(p);
    return ok;
}

TEST(params, every_allocation_may_fail) { check_each_allocation(make_set); }

TEST_MAIN
