/* Safetensors files: round trips, files of other programs, and hostile ones. */
#include "files.h"
#include "tensor/half.h"

/* ---- round trips ----------------------------------------------------------------------------- */

TEST(safetensors, every_dtype_and_rank)
{
    static const unsigned char numbers[64] = { 1, 2, 3, 0x80, 5, 0xff, 7, 0x3f, 9, 0x40 };
    tn_ctx              *ctx = new_ctx(1);
    tn_safetensors_entry e[16];
    char                 name[16][16];
    int                  n = 0;
    for (int d = 0; d < TN_N_DTYPES; d++, n++) {
        snprintf(name[n], sizeof name[n], "t%d", d);
        e[n] = (tn_safetensors_entry){ name[n], { (tn_dtype)d, TN_SHAPE(2, 3) }, numbers };
    }
    e[n++] = (tn_safetensors_entry){ "scalar", { TN_F64, TN_SCALAR }, numbers };
    e[n++] = (tn_safetensors_entry){ "empty", { TN_F32, TN_SHAPE(4, 0, 3) }, NULL };
    e[n++] = (tn_safetensors_entry){ "rank8", { TN_U8, TN_SHAPE(1, 2, 1, 2, 1, 2, 1, 2) },
                                     numbers };
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), e, n, NULL, 0), TN_OK);
    tn_safetensors *f = tn_safetensors_open(ctx, path_of(0));
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(f);
    CHECK_INT(tn_safetensors_count(f), n);
    for (int i = 0; i < n; i++) {
        unsigned char got[64];
        int           at = tn_safetensors_find(f, e[i].name);
        tn_type       t = tn_safetensors_type(f, at);
        size_t        bytes = (size_t)tn_shape_size(&t.shape) * tn_dtype_size(t.dtype);
        CHECK_MSG(at >= 0 && t.dtype == e[i].type.dtype &&
                  tn_shape_equal(&t.shape, &e[i].type.shape),
                  "%s: another type", e[i].name);
        CHECK_STR(tn_safetensors_name(f, at), e[i].name);
        CHECK_INT(tn_safetensors_read(f, at, got, bytes), TN_OK);
        CHECK_MSG(memcmp(got, numbers, bytes) == 0, "%s: other numbers", e[i].name);
        CHECK_INT(tn_safetensors_read(f, at, got, bytes + 1), TN_ERR_ARG);
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_safetensors_find(f, "none"), -1);
    CHECK(!tn_safetensors_name(f, n) && !tn_safetensors_name(f, -1));
    CHECK_INT(tn_safetensors_read(f, -1, NULL, 0), TN_ERR_ARG);
    tn_safetensors_close(f);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST(safetensors, texts)
{
    static const tn_metadata texts[] = {
        { "plain", "text" }, { "quotes \"\\/", "a \"b\" \\ c" },
            { "lines", "one\ntwo\r\n\tthree\x01\x1f" },
        { "unicode \xc3\xa9", "\xe2\x82\xac \xf0\x9f\x98\x80" }, { "", "" },
    };
    tn_ctx *ctx = new_ctx(1);
    float   one = 1;
    tn_safetensors_entry e = { "a \"name\"\n\xc3\xa9", { TN_F32, TN_SCALAR }, &one };
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), &e, 1, texts, 5), TN_OK);
    tn_safetensors *f = tn_safetensors_open(ctx, path_of(0));
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(f);
    for (int i = 0; i < 5; i++) CHECK_STR(tn_safetensors_metadata(f, texts[i].key), texts[i].value);
    CHECK(!tn_safetensors_metadata(f, "none"));
    CHECK_INT(tn_safetensors_find(f, e.name), 0);
    tn_safetensors_close(f);
    /* nothing at all is a file too */
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), NULL, 0, NULL, 0), TN_OK);
    f = tn_safetensors_open(ctx, path_of(0));
    CHECK_STR(tn_error(ctx), "");
    CHECK_INT(tn_safetensors_count(f), 0);
    tn_safetensors_close(f);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

/* As the format's own library writes it: texts first, wide dtypes first, spaces behind; escapes. */
static const char other_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
    "\"b.weight\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
    "\"\\u00e9\\ud83d\\ude00\\n\":"
    "{\"shape\":[], \"data_offsets\":[16,18] ,\"dtype\":\"BF16\"}}     ";
static const unsigned char other_numbers[18] = { 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0,
                                                 0xc0, 0x80, 0x3f };

TEST(safetensors, files_of_others)
{
    char            file[1024];
    tn_ctx         *ctx = new_ctx(1);
    size_t          n = compose(file, other_header, other_numbers, sizeof other_numbers);
    tn_safetensors *f = tn_safetensors_open(ctx, file_of(0, file, n));
    CHECK_STR(tn_error(ctx), "");
    REQUIRE(f);
    CHECK_STR(tn_safetensors_metadata(f, "format"), "pt");
    int64_t  a = 0;
    float    b[2] = { 0 };
    uint16_t c = 0;
    CHECK_INT(tn_safetensors_read(f, tn_safetensors_find(f, "a"), &a, 8), TN_OK);
    CHECK_INT(tn_safetensors_read(f, tn_safetensors_find(f, "b.weight"), b, 8), TN_OK);
    CHECK_INT(tn_safetensors_read(f, tn_safetensors_find(f, "\xc3\xa9\xf0\x9f\x98\x80\n"), &c, 2),
              TN_OK);
    CHECK_INT(a, 7);
    CHECK_NEAR(b[0], 1, 0);
    CHECK_NEAR(b[1], -2, 0);
    CHECK_INT(c, 0x3f80);
    tn_safetensors_close(f);
    tn_ctx_free(ctx);
    remove_files();
}

/* ---- hostile files --------------------------------------------------------------------------- */

/* Opens and reads what it can. A file that is refused must be named, with a reason. */
static bool survives(tn_ctx *ctx, const char *path)
{
    tn_safetensors *f = tn_safetensors_open(ctx, path);
    char            numbers[64];
    for (int i = 0; i < tn_safetensors_count(f); i++) {
        tn_type t = tn_safetensors_type(f, i);
        size_t  bytes = (size_t)tn_shape_size(&t.shape) * tn_dtype_size(t.dtype);
        CHECK(bytes <= sizeof other_numbers);
        if (t.dtype == TN_N_DTYPES) { /* the byte was in its name */
            CHECK_INT(tn_safetensors_read(f, i, numbers, bytes), TN_ERR_DTYPE);
            tn_clear_error(ctx);
        } else if (bytes <= sizeof numbers) {
            CHECK_INT(tn_safetensors_read(f, i, numbers, bytes), TN_OK);
        }
        CHECK(tn_safetensors_find(f, tn_safetensors_name(f, i)) == i);
    }
    bool opened = f != NULL;
    tn_safetensors_close(f);
    if (!opened) {
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        CHECK_CONTAINS(tn_error(ctx), path);
    } else {
        CHECK_STR(tn_error(ctx), "");
    }
    tn_clear_error(ctx);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    return opened;
}

TEST(safetensors, cut_anywhere)
{
    char    file[1024];
    tn_ctx *ctx = new_ctx(1);
    size_t  n = compose(file, other_header, other_numbers, sizeof other_numbers);
    for (size_t i = 0; i < n; i++) CHECK_MSG(!survives(ctx, file_of(0, file, i)), "cut at %zu", i);
    file[n] = 0;
    CHECK(!survives(ctx, file_of(0, file, n + 1))); /* and one byte too many */
    CHECK(survives(ctx, file_of(0, file, n)));
    tn_ctx_free(ctx);
    remove_files();
}

TEST(safetensors, one_byte_changed)
{
    static const char odd[] = "{}[]\",:\\0-9.eun \n\x7f\x80\xff";
    char    file[1024];
    tn_ctx *ctx = new_ctx(1);
    size_t  n = compose(file, other_header, other_numbers, sizeof other_numbers);
    for (size_t i = 0; i < n - sizeof other_numbers; i++) {
        char old = file[i];
        for (int bit = 0; bit < 8; bit++) {
            file[i] = (char)(old ^ 1 << bit);
            survives(ctx, file_of(0, file, n));
        }
        for (size_t k = 0; k < sizeof odd; k++) { /* the NUL too */
            file[i] = odd[k];
            survives(ctx, file_of(0, file, n));
        }
        file[i] = old;
    }
    tn_ctx_free(ctx);
    remove_files();
}

TEST(safetensors, bytes_moved)
{
    char     file[1024], changed[1024];
    tn_ctx  *ctx = new_ctx(1);
    size_t   n = compose(file, other_header, other_numbers, sizeof other_numbers);
    uint64_t random = 1;
    for (int i = 0; i < 3000; i++) {
        memcpy(changed, file, n);
        for (int k = 0; k < 1 + i % 4; k++) { /* copies a piece of the header over another */
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t from = 8 + (random >> 20) % 200, to = 8 + (random >> 36) % 200,
                length = 1 + (random >> 54) % 40;
            memmove(changed + to, changed + from, length);
        }
        survives(ctx, file_of(0, changed, n));
    }
    tn_ctx_free(ctx);
    remove_files();
}

TEST(safetensors, refused_with_a_reason)
{
#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{" ENTRY("x", dtype, shape, offsets) "}"
#define X(name, shape, offsets)    ENTRY(name, "U8", shape, offsets)
    static const struct {
        const char *header;
        int         bytes;
        const char *reason;
    } cases[] = {
        { "", 0, "expected '{'" },
        { "[]", 0, "expected '{'" },
        { "{", 0, "expected '\"'" },
        { "{} x", 0, "something behind the header" },
        { "{\"x", 0, "a text without an end" },
        { "{\"x\\q\":1}", 0, "bad escape" },
        { "{\"\\ud800x\":1}", 0, "half of a surrogate pair" },
        { "{\"\\u0000\":1}", 0, "a NUL in a text" },
        { "{\"x\":5}", 0, "expected '{'" },
        { "{\"x\":{}}", 0, "expected '\"'" },
        { "{\"x\":{\"dtype\":\"U8\"}}", 0, "without dtype, shape or data_offsets" },
        { "{\"x\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "a key stands twice" },
        { "{\"x\":{\"y\":1}}", 0, "an unknown key" },
        { "{\"x\":{\"shape\":[[[[[[[[[[1]]]]]]]]]]}}", 0, "expected a number" },
        { "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "expected '\"'" },
        { "{\"__metadata__\":{\"a\":\"\xff\"}}", 0, "a text that is not UTF-8" },
        { "{\"__metadata__\":{\"b\":\"\",\"a\":\"\",\"b\":\"c\"}}", 0,
          "a key of __metadata__ stands twice" },
        { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ stands twice" },
        { ONE("U8", "[01]", "[0,1]"), 1, "a number that begins with 0" },
        { ONE("F8_E4M3", "[1]", "[0,2]"), 1, "data_offsets outside of the file" },
        { ONE("U8", "[-1]", "[0,1]"), 1, "expected a number" },
        { ONE("U8", "[1.0]", "[0,1]"), 1, "expected ']'" },
        { ONE("U8", "[1]", "[0,2]"), 2, "data_offsets do not fit dtype and shape" },
        { ONE("F32", "[2]", "[0,4]"), 4, "data_offsets do not fit dtype and shape" },
        { ONE("U8", "[1]", "[1,0]"), 1, "data_offsets outside of the file" },
        { ONE("U8", "[9]", "[0,9]"), 8, "data_offsets outside of the file" },
        { ONE("U8", "[1]", "[9223372036854775807,9223372036854775808]"), 1,
          "data_offsets outside" },
        { ONE("U8", "[1]", "[0,99999999999999999999]"), 1, "a number over 2^63" },
        { ONE("U8", "[99999999999999999999]", "[0,1]"), 1, "a number over 2^63" },
        { ONE("U8", "[140737488355328]", "[0,1]"), 1, "a dimension over 2^46" },
        { ONE("F64", "[4294967296,4294967296,4294967296]", "[0,0]"), 0, "more than 2^62 bytes" },
        { ONE("F64", "[4294967296,536870912]", "[0,0]"), 0, "more than 2^62 bytes" }, /* 2^64 */
        { ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "more than 8 dimensions" },
        { "{" X("x", "[2]", "[0,2]") "," X("y", "[2]", "[1,3]") "}", 3, "tensors overlap" },
        { "{" X("x", "[2]", "[0,2]") "," X("y", "[2]", "[3,5]") "}", 5, "a gap between tensors" },
        { "{" X("x", "[1]", "[1,2]") "}", 2, "a gap between tensors" },
        { "{" X("x", "[1]", "[0,1]") "," X("x", "[1]", "[1,2]") "}", 2, "a name stands twice" },
        { "{" X("x", "[1]", "[0,1]") "}", 2, "bytes that belong to no tensor" },
        { "{" X("x", "[1]", "[0,1]") ",}", 1, "expected '\"'" },
    };
    char    file[1024], numbers[16] = { 0 };
    tn_ctx *ctx = new_ctx(1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = compose(file, cases[i].header, numbers, (size_t)cases[i].bytes);
        CHECK_MSG(!tn_safetensors_open(ctx, file_of(0, file, n)), "%s was read", cases[i].header);
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_FORMAT);
        CHECK_CONTAINS(tn_error(ctx), cases[i].reason);
        CHECK_CONTAINS(tn_error(ctx), path_text[0]);
        CHECK_CONTAINS(tn_error(ctx), "offset ");
        tn_clear_error(ctx);
    }
    static const uint64_t lengths[] = { 1, 100, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63,
                                        101 << 20 };
    /* of the header, in a file of 8 */
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int k = 0; k < 8; k++) file[k] = (char)(lengths[i] >> 8 * k);
        CHECK(!tn_safetensors_open(ctx, file_of(0, file, 8)));
        CHECK_CONTAINS(tn_error(ctx), "does not fit a file of 8");
        tn_clear_error(ctx);
    }
    CHECK(!tn_safetensors_open(ctx, "/no/such/file"));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_IO);
    CHECK_CONTAINS(tn_error(ctx), "/no/such/file");
    tn_clear_error(ctx);
    CHECK(!tn_safetensors_open(ctx, directory));
    CHECK_CONTAINS(tn_error(ctx), directory);
    tn_clear_error(ctx);
    CHECK(!tn_safetensors_open(ctx, NULL));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_ARG);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST(safetensors, refused_to_write)
{
    float   x[2] = { 1, 2 };
    tn_ctx *ctx = new_ctx(1);
    const tn_safetensors_entry good = { "x", { TN_F32, TN_SHAPE(2) }, x };
    const struct {
        tn_safetensors_entry e[2];
        int                  n;
        const char          *message;
    } cases[] = {
        { { good, good }, 2, "the name x stands twice" },
        { { { NULL, good.type, x } }, 1, "tensor 0 has no name" },
        { { { "__metadata__", good.type, x } }, 1, "__metadata__" },
        { { good, { "caf\xe9", good.type, x } }, 2, "tensor 1: caf\xe9 cannot be a name" },
        { { good, { "y", good.type, NULL } }, 2, "y has no data" },
        { { { "x", { (tn_dtype)99, good.type.shape }, x } }, 1, "x: dtype 99" },
        { { { "x", { TN_F32, { .rank = 9 } }, x } }, 1, "x: rank 9" },
        { { { "x", { TN_F32, TN_SHAPE(2, -1) }, x } }, 1, "x: [2,-1]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(tn_safetensors_write(ctx, path_of(0), cases[i].e, cases[i].n, NULL, 0),
                  TN_ERR_ARG);
        CHECK_CONTAINS(tn_error(ctx), cases[i].message);
        CHECK_MSG(access(path_of(0), F_OK) != 0, "case %zu left a file", i);
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), NULL, 1, NULL, 0), TN_ERR_ARG);
    tn_clear_error(ctx);
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), &good, 1, NULL, 1), TN_ERR_ARG);
    tn_clear_error(ctx);
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), &good, 1, &(tn_metadata){ "key", NULL }, 1),
              TN_ERR_ARG);
    tn_clear_error(ctx);
    const tn_metadata twice[] = { { "a", "1" }, { "key", "2" }, { "a", "3" } };
    CHECK_INT(tn_safetensors_write(ctx, path_of(0), &good, 1, twice, 3), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(ctx), "the text a stands twice");
    tn_clear_error(ctx);
    const tn_metadata latin[] = { { "k\xe9y", "1" }, { "key", "\xc3\xa9, not \xe9" } };
    for (int i = 0; i < 2; i++) {
        CHECK_INT(tn_safetensors_write(ctx, path_of(0), &good, 1, &latin[i], 1), TN_ERR_ARG);
        CHECK_CONTAINS(tn_error(ctx), i ? "text 0, key, is not UTF-8" : "is not UTF-8");
        CHECK(access(path_of(0), F_OK) != 0);
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_safetensors_write(ctx, NULL, &good, 1, NULL, 0), TN_ERR_ARG);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
    remove_files();
}

TEST_MAIN
