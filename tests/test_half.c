/* 16-bit floats: every pattern widens to its value, and narrowing rounds to nearest even. */
#include "check.h"

#include "libtensor.h"

/* The value of a finite f16 by its definition. */
static double f16_value(uint32_t h)
{
    int    e = (int)(h >> 10 & 31), f = (int)(h & 1023);
    double v = e ? ldexp(1024 + f, e - 25) : ldexp(f, -24);
    return h & 0x8000 ? -v : v;
}

static double bf16_value(uint32_t h)
{
    int    e = (int)(h >> 7 & 255), f = (int)(h & 127);
    double v = e ? ldexp(128 + f, e - 134) : ldexp(f, -133);
    return h & 0x8000 ? -v : v;
}

TEST(half, f16_widens_every_pattern)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float x = tn_f32_from_f16((uint16_t)h);
        bool  special = (h & 0x7c00) == 0x7c00, nan = special && (h & 0x3ff);
        if (nan)
            CHECK_MSG(isnan(x) && (tn__f32_bits(x) & 0x400000),
                      "f16 %04x: expected a quiet NaN, got %g", h, x);
        else if (special)
            CHECK_MSG(isinf(x) && !signbit(x) == !(h & 0x8000),
                      "f16 %04x: expected inf, got %g", h, x);
        else
            CHECK_MSG((double)x == f16_value(h) && !signbit(x) == !(h & 0x8000),
                      "f16 %04x: expected %.9g, got %.9g", h, f16_value(h), (double)x);
        uint16_t back = tn_f16_from_f32(x);
        uint32_t want = nan ? h | 0x200 : h;
        CHECK_MSG(back == want, "f16 %04x there and back: expected %04x, got %04x", h, want, back);
    }
}

TEST(half, bf16_widens_every_pattern)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float x = tn_f32_from_bf16((uint16_t)h);
        bool  special = (h & 0x7f80) == 0x7f80, nan = special && (h & 0x7f);
        CHECK_MSG(tn__f32_bits(x) == h << 16, "bf16 %04x: expected %08x, got %08x", h, h << 16,
                  tn__f32_bits(x));
        if (!special)
            CHECK_MSG((double)x == bf16_value(h), "bf16 %04x: expected %.9g, got %.9g", h,
                      bf16_value(h), (double)x);
        uint16_t back = tn_bf16_from_f32(x);
        uint32_t want = nan ? h | 0x40 : h;
        CHECK_MSG(back == want, "bf16 %04x there and back: expected %04x, got %04x", h, want, back);
    }
}

/* Between each number and the next: below the middle goes down, above goes up, the middle itself
 * to the even one; the same with the sign. */
static void check_rounding(uint16_t (*narrow)(float), double (*value)(uint32_t), uint32_t infinite,
                           const char *name)
{
    for (uint32_t h = 0; h < infinite; h++) {
        double lo = value(h), hi = value(h + 1); /* past the largest: what would be next */
        float  middle = (float)((lo + hi) / 2);
        struct {
            float    x;
            uint32_t want;
        } c[] = { { middle, h & 1 ? h + 1 : h },
                  { nextafterf(middle, 0), h },
                  { nextafterf(middle, INFINITY), h + 1 } };
        if ((double)middle != (lo + hi) / 2) continue; /* below the f32's own subnormals */
        for (int i = 0; i < 3; i++)
            for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
                uint32_t got = narrow(sign ? -c[i].x : c[i].x);
                CHECK_MSG(got == (c[i].want | sign), "%s of %.12g: expected %04x, got %04x", name,
                          (double)(sign ? -c[i].x : c[i].x), c[i].want | sign, got);
            }
    }
}

static uint16_t narrow_f16(float x) { return tn_f16_from_f32(x); }
static uint16_t narrow_bf16(float x) { return tn_bf16_from_f32(x); }

TEST(half, narrowing_rounds_to_nearest_even)
{
    check_rounding(narrow_f16, f16_value, 0x7c00, "f16");
    check_rounding(narrow_bf16, bf16_value, 0x7f80, "bf16");
}

TEST(half, narrowing_the_ends)
{
    CHECK_INT(tn_f16_from_f32(65519.996f), 0x7bff);
    CHECK_INT(tn_f16_from_f32(65520), 0x7c00);
    CHECK_INT(tn_f16_from_f32(1e30f), 0x7c00);
    CHECK_INT(tn_f16_from_f32(-INFINITY), 0xfc00);
    CHECK_INT(tn_f16_from_f32(1e-40f), 0);
    CHECK_INT(tn_f16_from_f32(-0.0f), 0x8000);
    CHECK_INT(tn_f16_from_f32(NAN) & 0x7e00, 0x7e00);
    CHECK_INT(tn_f16_from_f32(tn__f32_of_bits(0x7f800001)), 0x7e00); /* loses its payload only */
    CHECK_INT(tn_bf16_from_f32(3.4028235e38f), 0x7f80);
    CHECK_INT(tn_bf16_from_f32(-INFINITY), 0xff80);
    CHECK_INT(tn_bf16_from_f32(tn__f32_of_bits(0x7f800001)), 0x7fc0);
    CHECK_INT(tn_bf16_from_f32(tn__f32_of_bits(0xffffffff)), 0xffff);
}

/* Casts of whole rows, and of what is left at their ends, at each level: every f16, and every
 * 65,521st f32. */
TEST(half, casts_give_the_same_bits)
{
    enum { N = 1 << 16 };
    static uint16_t narrow[N], back[N];
    static float    wide[N], many[N];
    for (uint32_t i = 0; i < N; i++) narrow[i] = (uint16_t)i, many[i] = tn__f32_of_bits(i * 65521u);
    for (int level = TN_CPU_BASE; level <= (int)tn_cpu_detect(); level++)
        for (int64_t n = N; n >= N - 9; n -= 9) {
            tn_ctx   *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1,
                                                          .cpu = (tn_cpu_level)level });
            tn_graph *g = tn_graph_new(ctx, TN_EVAL);
            tn_node  *h = tn_constant(g, TN_F16, TN_SHAPE(n), narrow + (N - n));
            tn_node  *x = tn_constant(g, TN_F32, TN_SHAPE(n), many + (N - n));
            CHECK_INT(tn_eval(tn_cast(h, TN_F32), wide, (size_t)n * sizeof *wide), TN_OK);
            CHECK_INT(tn_eval(tn_cast(x, TN_F16), back, (size_t)n * sizeof *back), TN_OK);
            for (int64_t i = 0; i < n; i++) {
                REQUIRE(tn__f32_bits(wide[i]) == tn__f32_bits(tn_f32_from_f16(narrow[N - n + i])));
                REQUIRE(back[i] == tn_f16_from_f32(many[N - n + i]));
            }
            tn_graph_free(g), tn_ctx_free(ctx);
        }
}

TEST_MAIN
