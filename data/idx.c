/* Reading IDX files. */
#include "data/idx.h"

#include "data/internal.h"

#include <string.h>

/* What a type is in the file, and what it becomes. */
static const struct kind {
    unsigned char code, size;
    tn_dtype      dtype;
} kinds[] = {
    { 0x08, 1, TN_U8 }, { 0x09, 1, TN_I32 }, { 0x0b, 2, TN_I32 },
    { 0x0c, 4, TN_I32 }, { 0x0d, 4, TN_F32 }, { 0x0e, 8, TN_F64 },
};

static uint64_t big_endian(const unsigned char *bytes, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++) x = x << 8 | bytes[i];
    return x;
}

/* NULL, or why the bytes are no such array. */
static const char *read_header(const unsigned char *bytes, size_t length, const struct kind **kind,
                               tn_shape *shape)
{
    if (length < 4 || bytes[0] || bytes[1]) return "this is no IDX file";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !*kind; i++)
        if (kinds[i].code == bytes[2]) *kind = &kinds[i];
    if (!*kind) return "elements of a type that IDX does not have";
    if (bytes[3] > TN_MAX_RANK) return "more than 8 dimensions";
    const size_t begin = 4 + 4 * (size_t)bytes[3];
    if (length < begin) return "it ends in the dimensions";
    for (int d = 0; d < bytes[3]; d++)
        shape->dim[shape->rank++] = (int64_t)big_endian(bytes + 4 + 4 * d, 4);
    const uint64_t n = (uint64_t)tn_shape_size(shape), is = (length - begin) / (*kind)->size;
    if (is < n) return "fewer bytes than its dimensions say";
    return is > n || (length - begin) % (*kind)->size ? "more bytes than its dimensions say" : NULL;
}

static void read_element(void *out, int64_t i, const unsigned char *bytes, const struct kind *kind)
{
    const uint64_t x = big_endian(bytes + i * kind->size, kind->size);
    const uint32_t half = (uint32_t)x;
    switch (kind->code) {
    case 0x08: ((uint8_t *)out)[i] = (uint8_t)x; break;
    case 0x09: ((int32_t *)out)[i] = (int8_t)x; break;
    case 0x0b: ((int32_t *)out)[i] = (int16_t)x; break;
    case 0x0e: memcpy((double *)out + i, &x, sizeof x); break;
    default: memcpy((float *)out + i, &half, sizeof half); break;
    }
}

void *tn_idx_load(tn_ctx *ctx, const char *path, tn_dtype *dtype, tn_shape *shape)
{
    size_t             length;
    unsigned char     *bytes = (unsigned char *)tn__file_read(ctx, path, 0, &length);
    const struct kind *kind = NULL;
    if (!bytes) return NULL;
    *shape = (tn_shape){ 0 };
    const char *why = read_header(bytes, length, &kind, shape);
    void       *out = NULL;
    if (why) {
        tn_fail(ctx, TN_ERR_FORMAT, "%s: %s", path, why);
    } else {
        const int64_t n = tn_shape_size(shape);
        *dtype = kind->dtype;
        out = tn__array_new(ctx, n, tn_dtype_size(kind->dtype));
        for (int64_t i = 0; out && i < n; i++)
            read_element(out, i, bytes + 4 + 4 * shape->rank, kind);
    }
    tn_free(ctx, bytes);
    return out;
}
