/* Arrays in the IDX format, in which MNIST and its relatives come: two zero bytes, one for the
 * type, one for the rank, the dimensions, and the elements, all big-endian. */
#ifndef TN_DATA_IDX_H
#define TN_DATA_IDX_H

#include "tensor/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A whole file, plain or gzip (see tn_text_load). *dtype is u8, i32, f32 or f64: IDX's 16-bit
 * integers and signed bytes become i32. The elements, contiguous and in this machine's order, are
 * freed by tn_free(ctx, ..).
 * NULL: TN_ERR_IO, TN_ERR_FORMAT (not IDX, a rank over 8, more or fewer bytes than the dims say),
 * TN_ERR_LIMIT (over 16 GiB), TN_ERR_UNSUPPORTED (gzip without zlib), TN_ERR_MEMORY. */
TN_API void *tn_idx_load(tn_ctx *ctx, const char *path, tn_dtype *dtype, tn_shape *shape);

#ifdef __cplusplus
}
#endif
#endif
