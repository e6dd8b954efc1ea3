/* Reading IDX: every type, and what is no such file. */
#include "failing.h"
#include "files.h"

typedef struct idx_case {
    unsigned char bytes[32];
    size_t        n;
    tn_dtype      dtype;
    double        want[2];
} idx_case;

static const idx_case types[] = {
    { { 0, 0, 0x08, 1, 0, 0, 0, 2, 7, 255 }, 10, TN_U8, { 7, 255 } },
    { { 0, 0, 0x09, 1, 0, 0, 0, 2, 7, 255 }, 10, TN_I32, { 7, -1 } },
    { { 0, 0, 0x0b, 1, 0, 0, 0, 2, 1, 0, 255, 254 }, 12, TN_I32, { 256, -2 } },
    { { 0, 0, 0x0c, 1, 0, 0, 0, 2, 0, 1, 0, 0, 255, 255, 255, 253 }, 16, TN_I32, { 65536, -3 } },
    { { 0, 0, 0x0d, 1, 0, 0, 0, 2, 0x3f, 0xc0, 0, 0, 0xc0, 0, 0, 0 }, 16, TN_F32, { 1.5, -2 } },
    { { 0, 0, 0x0e, 1, 0, 0, 0, 2, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0 }, 24,
      TN_F64, { 1.5, -2 } },
};

static double element(tn_dtype dtype, const void *x, int i)
{
    switch (dtype) {
    case TN_U8: return ((const uint8_t *)x)[i];
    case TN_I32: return ((const int32_t *)x)[i];
    case TN_F32: return ((const float *)x)[i];
    default: return ((const double *)x)[i];
    }
}

TEST(idx, every_type)
{
    tn_ctx *ctx = new_ctx(1);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tn_dtype dtype;
        tn_shape shape;
        void    *x = tn_idx_load(ctx, file_of(0, types[i].bytes, types[i].n), &dtype, &shape);
        CHECK_STR(tn_error(ctx), "");
        CHECK_INT(dtype, types[i].dtype);
        CHECK_INT(shape.rank, 1);
        CHECK_INT(shape.dim[0], 2);
        for (int k = 0; x && k < 2; k++) CHECK_NEAR(element(dtype, x, k), types[i].want[k], 0);
        tn_free(ctx, x);
    }
    CHECK_INT(tn_ctx_memory(ctx), 0);
    remove_files(), tn_ctx_free(ctx);
}

TEST(idx, dims)
{
    static const unsigned char images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3,
                                            1, 2, 3, 4, 5, 6 },
        none[] = { 0, 0, 8, 2, 255, 255, 255, 255, 0, 0, 0, 0 };
    tn_ctx  *ctx = new_ctx(1);
    tn_dtype dtype;
    tn_shape shape, wide = TN_SHAPE(2, 1, 3), empty = TN_SHAPE(UINT32_MAX, 0);
    uint8_t *x = tn_idx_load(ctx, file_of(0, images, sizeof images), &dtype, &shape);
    CHECK(tn_shape_equal(&shape, &wide));
    CHECK(x && x[0] == 1 && x[5] == 6);
    tn_free(ctx, x);
    x = tn_idx_load(ctx, file_of(0, none, sizeof none), &dtype, &shape);
    CHECK(x && tn_shape_equal(&shape, &empty));
    tn_free(ctx, x), remove_files(), tn_ctx_free(ctx);
}

TEST(idx, refuses)
{
    static const struct {
        unsigned char bytes[48];
        size_t        n;
        const char   *why;
    } wrong[] = {
        { { 0 }, 0, "this is no IDX file" },
        { { 0, 0, 8 }, 3, "this is no IDX file" },
        { { 0, 1, 8, 1, 0, 0, 0, 0 }, 8, "this is no IDX file" },
        { { 0, 0, 0x0a, 1, 0, 0, 0, 0 }, 8, "elements of a type that IDX does not have" },
        { { 0, 0, 8, 9 }, 48, "more than 8 dimensions" },
        { { 0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0 }, 11, "it ends in the dimensions" },
        { { 0, 0, 8, 1, 0, 0, 0, 3, 1, 2 }, 10, "fewer bytes than its dimensions say" },
        { { 0, 0, 8, 1, 0, 0, 0, 1, 1, 2 }, 10, "more bytes than its dimensions say" },
        { { 0, 0, 0x0b, 1, 0, 0, 0, 1, 1, 2, 3 }, 11, "more bytes than its dimensions say" },
        { { 0, 0, 0x0e, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1 }, 17,
          "fewer bytes than its dimensions say" },
    };
    tn_ctx  *ctx = new_ctx(1);
    tn_dtype dtype;
    tn_shape shape;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *path = file_of(0, wrong[i].bytes, wrong[i].n);
        CHECK(tn_idx_load(ctx, path, &dtype, &shape) == NULL);
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        CHECK_CONTAINS(tn_error(ctx), path);
        CHECK_CONTAINS(tn_error(ctx), wrong[i].why);
        tn_clear_error(ctx);
    }
    remove_files();
    CHECK(tn_idx_load(ctx, path_of(0), &dtype, &shape) == NULL);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_IO);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    remove_files(), tn_ctx_free(ctx);
}

TEST_MAIN
