/* Products of few rows with a large matrix, as decoding makes them: bound by how fast the matrix
 * comes from memory, so it is neither packed nor cut, but read once in the order in which it
 * lies. */
#ifndef TN_TENSOR_GEMM_STREAM_H
#define TN_TENSOR_GEMM_STREAM_H

#include "tensor/gemm.h"

/* Whether this is the way for a product; the bits are the same as by any other. */
bool tn__gemm_streams(const tn_ctx *ctx, const tn_gemm *g);

/* Bytes of scratch; no less for larger sizes of the same strides, whichever way they go. */
size_t tn__gemm_stream_scratch(const tn_ctx *ctx, const tn_gemm *g);

void tn__gemm_stream_run(tn_ctx *ctx, const tn_gemm *g, void *scratch);

#endif
