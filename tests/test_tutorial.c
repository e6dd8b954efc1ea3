/* What tutorials on the Transformer say of positions and dot products, as tests. */
#include "check.h"
#include "libtensor.h"

enum { POSITIONS = 128, D = 512 };

static double table[POSITIONS * D];

TEST(tutorial, sinusoidal_positions_begin_as_printed)
{
    static const double want[4][4] = { { 0, 1, 0, 1 },
                                       { 0.84147098, 0.54030231, 0.82185619, 0.56969501 },
                                       { 0.90929743, -0.41614684, 0.93641474, -0.35089519 },
                                       { 0.14112001, -0.9899925, 0.24508542, -0.96950149 } };
    tn_sinusoidal_table(POSITIONS, D, TN_F64, table);
    for (int pos = 0; pos < 4; pos++)
        for (int i = 0; i < 4; i++) CHECK_NEAR(table[pos * D + i], want[pos][i], 1e-8);
}

TEST(tutorial, every_position_lies_in_the_unit_interval)
{
    tn_sinusoidal_table(POSITIONS, D, TN_F64, table);
    for (int i = 0; i < POSITIONS * D; i++) REQUIRE(table[i] >= -1 && table[i] <= 1);
}

/* PE(pos + k) = R_k PE(pos): for each pair of columns a rotation by k times its frequency. */
TEST(tutorial, a_step_is_the_same_rotation_everywhere)
{
    tn_sinusoidal_table(POSITIONS, D, TN_F64, table);
    for (int k = 1; k < 20; k += 6)
        for (int i = 0; i < D; i += 2) {
            /* PE(k) holds sin and cos of k w */
            double s = table[k * D + i], c = table[k * D + i + 1];
            for (int pos = 0; pos + k < POSITIONS; pos += 13) {
                const double *at = &table[pos * D + i], *then = &table[(pos + k) * D + i];
                CHECK_NEAR(then[0], at[0] * c + at[1] * s, 1e-12);
                CHECK_NEAR(then[1], at[1] * c - at[0] * s, 1e-12);
            }
        }
}

/* Independent components of variance s^2: q . k has mean 0 and variance d_k s^4, which is why
 * scores are divided by sqrt(d_k). 20,000 products; the sample variance's own deviation is about 1
 * %. */
TEST(tutorial, the_variance_of_a_dot_product_grows_with_its_length)
{
    enum { N = 20000, MOST = 64 };
    static double q[N * MOST], k[N * MOST];
    for (int d = 16; d <= MOST; d *= 4) {
        double s = d == 16 ? 1 : 0.5, sum = 0, squares = 0;
        tn_random_normal((tn_rng){ 1, (uint64_t)d, 0 }, 0, (int64_t)N * d, TN_F64, q, 0, s);
        tn_random_normal((tn_rng){ 2, (uint64_t)d, 0 }, 0, (int64_t)N * d, TN_F64, k, 0, s);
        for (int n = 0; n < N; n++) {
            double dot = 0;
            for (int i = 0; i < d; i++) dot += q[n * d + i] * k[n * d + i];
            sum += dot, squares += dot * dot;
        }
        double mean = sum / N, variance = squares / N - mean * mean, want = d * s * s * s * s;
        CHECK_NEAR(mean, 0, 4 * sqrt(want / N));
        CHECK_NEAR(variance / want, 1, 0.05);
    }
}

TEST(tutorial, heads_that_do_not_divide_the_model_are_refused)
{
    tn_ctx    *ctx = tn_ctx_new(NULL);
    tn_params *p = tn_params_new(ctx, TN_F32);
    tn_attention_new(p, "self", 10, 3, NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), "10");
    CHECK_CONTAINS(tn_error(ctx), "3");
    tn_params_free(p);
    tn_ctx_free(ctx);
}

TEST_MAIN
