/* Safetensors files: named tensors and a map of texts. Eight bytes of header length, a JSON header,
 * then the numbers, little-endian. https://github.com/huggingface/safetensors#format
 *
 * Files are hostile: every offset, shape and length is checked when a file is opened, and refused
 * with the file, the place and the reason. Writing leaves either the old file or the whole new
 * one. */
#ifndef TN_NN_SAFETENSORS_H
#define TN_NN_SAFETENSORS_H

#include "autograd/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_safetensors tn_safetensors;

/* A tensor to write: contiguous numbers of its type. */
typedef struct tn_safetensors_entry {
    const char *name;
    tn_type     type;
    const void *data;
} tn_safetensors_entry;

/* A text of the header's __metadata__. */
typedef struct tn_metadata {
    const char *key, *value;
} tn_metadata;

/* Writes path. TN_ERR_ARG (a name or a key twice; one, or a text, that is not UTF-8), TN_ERR_IO,
 * TN_ERR_MEMORY; then an older file is as it was. */
TN_API tn_status tn_safetensors_write(tn_ctx *ctx, const char *path,
                                      const tn_safetensors_entry *entries,
                                      int n, const tn_metadata *metadata, int n_metadata);

/* Opens a file and checks its header. NULL: TN_ERR_IO, TN_ERR_FORMAT ("m.safetensors: offset 57:
 * .."). */
TN_API tn_safetensors *tn_safetensors_open(tn_ctx *ctx, const char *path);
TN_API void            tn_safetensors_close(tn_safetensors *f); /* NULL is fine */

TN_API int         tn_safetensors_count(const tn_safetensors *f);
TN_API const char *tn_safetensors_name(const tn_safetensors *f, int i);
/* dtype TN_N_DTYPES: one that libtensor does not have; such a tensor cannot be read */
TN_API tn_type     tn_safetensors_type(const tn_safetensors *f, int i);
TN_API int         tn_safetensors_find(const tn_safetensors *f, const char *name); /* -1: none */
/* NULL: none */
TN_API const char *tn_safetensors_metadata(const tn_safetensors *f, const char *key);
TN_API const tn_metadata *tn_safetensors_all_metadata(const tn_safetensors *f, int *n);

/* Reads tensor i; bytes must be its size. TN_ERR_ARG, TN_ERR_DTYPE, TN_ERR_IO. */
TN_API tn_status tn_safetensors_read(tn_safetensors *f, int i, void *out, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
