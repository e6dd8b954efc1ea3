/* The thread pool, as the context sees it. */
#ifndef TN_TENSOR_POOL_H
#define TN_TENSOR_POOL_H

#include "tensor/context.h"

typedef struct tn__pool tn__pool;

/* A pool of threads - 1 workers; the caller of tn_parallel_for is the remaining one. Its memory
 * comes from `allocator`. NULL if memory or a thread cannot be had; nothing stays behind then. */
tn__pool *tn__pool_new(const tn_allocator *allocator, int threads);

/* Joins the workers. No loop may be running. */
void tn__pool_free(tn__pool *pool);

int       tn__pool_threads(const tn__pool *pool);
tn__pool *tn__ctx_pool(const tn_ctx *ctx);

/* CPUs that this process may run on, at least 1. */
int tn__cpu_count(void);

#endif
