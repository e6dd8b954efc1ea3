/* The context: threads, allocator, log sink, seed and limits. Nothing in the library is global, so
 * two contexts never meet; one context is used by one thread at a time. It keeps the first error
 * of all the calls made with it until tn_clear_error. After fork() a child may only exec or _exit:
 * the threads of its contexts are not there. */
#ifndef TN_TENSOR_CONTEXT_H
#define TN_TENSOR_CONTEXT_H

#include "tensor/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_ctx tn_ctx;

typedef enum tn_log_level { TN_LOG_INFO, TN_LOG_WARNING } tn_log_level;

/* Instruction-set levels, in rising order. AUTO picks the highest that the CPU has. */
typedef enum tn_cpu_level {
    TN_CPU_AUTO,
    TN_CPU_BASE,   /* x86-64 (SSE2), or NEON on AArch64 */
    TN_CPU_AVX2,   /* AVX2 + FMA */
    TN_CPU_AVX512, /* AVX-512 F, BW, DQ, VL */
    TN_N_CPU_LEVELS
} tn_cpu_level;

/* alloc returns memory aligned to `align` (a power of two) or NULL; free takes what alloc gave. */
typedef struct tn_allocator {
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*free)(void *user, void *block, size_t size);
    void *user;
} tn_allocator;

typedef struct tn_ctx_options {
    int          threads;      /* 1 to 1,024; 0: one per CPU that this process may run on */
    uint64_t     seed;         /* of initialisers and random ops */
    size_t       memory_limit; /* bytes that the context may hold at once; 0: no limit */
    tn_allocator allocator;    /* .alloc NULL: the system's */
    /* is told, by the thread that calls, what the context runs on, when it is made, and what each
     * program comes to that is compiled; NULL: nobody */
    void (*log)(void *user, tn_log_level level, const char *message);
    void        *log_user;
    tn_cpu_level cpu;          /* highest level to use; AUTO: what the CPU has */
} tn_ctx_options;

/* A new context; options may be NULL. NULL only if memory or threads cannot be had: over 1,024 of
 * them, or less than 0, cannot. */
TN_API tn_ctx *tn_ctx_new(const tn_ctx_options *options);

/* Frees the context. Graphs, programs and parameter sets made with it must be gone. NULL is
 * fine. */
TN_API void tn_ctx_free(tn_ctx *ctx);

TN_API int          tn_ctx_threads(const tn_ctx *ctx);
TN_API uint64_t     tn_ctx_seed(const tn_ctx *ctx);
TN_API tn_cpu_level tn_ctx_cpu(const tn_ctx *ctx);
TN_API size_t       tn_ctx_memory(const tn_ctx *ctx);      /* bytes that its blocks hold now */
TN_API size_t       tn_ctx_memory_peak(const tn_ctx *ctx); /* the most so far */
TN_API uint64_t     tn_ctx_allocations(const tn_ctx *ctx); /* blocks asked for so far */
TN_API const char  *tn_cpu_level_name(tn_cpu_level level);  /* "base", "avx2", "avx512" */
/* the highest level that this CPU has */
TN_API tn_cpu_level tn_cpu_detect(void);

/* ---- errors ------------------------------------------------------------------------------ */

TN_API tn_status   tn_ctx_status(const tn_ctx *ctx); /* of the first error since the last clear */
TN_API const char *tn_error(const tn_ctx *ctx);      /* its message; "" if there is none */
TN_API void        tn_clear_error(tn_ctx *ctx);

/* Keeps this error if it is the first, and returns status. Never allocates. Tasks of a parallel
 * loop may call it at the same time: one whole message stays. */
TN_API tn_status tn_fail(tn_ctx *ctx, tn_status status, const char *format, ...) TN_PRINTF(3, 4);

/* Ends the program that the context is running (or runs next) at its next step, with
 * TN_ERR_CANCELLED. Safe in a signal handler and from another thread. */
TN_API void tn_cancel(tn_ctx *ctx);

/* ---- memory ------------------------------------------------------------------------------ */

/* size bytes, zeroed, aligned to 64; NULL with TN_ERR_MEMORY (or TN_ERR_LIMIT) in the context. */
TN_API void *tn_alloc(tn_ctx *ctx, size_t size);
TN_API void  tn_free(tn_ctx *ctx, void *block); /* NULL is fine */

/* ---- threads ----------------------------------------------------------------------------- */

/* One task of a parallel loop: task in [0, n), worker in [0, threads). */
typedef void (*tn_task)(void *arg, int64_t task, int worker);

/* Calls fn(arg, i, worker) once for each i in [0, n), on the context's threads, the caller's among
 * them, and returns when all are done. Which worker takes which task is not fixed: results must
 * not depend on it. Called from inside a task, it runs the loop on that worker alone; programs of
 * the context do not run there (TN_ERR_BUSY), those of another one do. */
TN_API void tn_parallel_for(tn_ctx *ctx, int64_t n, tn_task fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
