/* What the rooms above need from a context and users do not. */
#ifndef TN_TENSOR_INTERNAL_H
#define TN_TENSOR_INTERNAL_H

#include "tensor/context.h"
#include "tensor/kernels/kernels.h"

/* Nanoseconds, of a clock that never goes back. */
int64_t tn__now(void);

/* The kernels of the context's level. */
const tn_kernels *tn__ctx_kernels(const tn_ctx *ctx);

void      tn__fail_in(tn_ctx *ctx, const char *scope); /* where the error at hand was: adds that */

/* Like tn_alloc, but the memory is not zeroed and large blocks ask for large pages: arenas. */
void *tn__alloc_pages(tn_ctx *ctx, size_t size);

/* Like tn_alloc, and every page has been touched, by all threads: later, no page is met for the
 * first time. (The system clears a page when it is touched, and that takes most of a program's
 * start.) */
void *tn__alloc_touched(tn_ctx *ctx, size_t size);

/* Like tn_alloc, in small pages: those that nothing is ever written to take no memory. */
void *tn__alloc_sparse(tn_ctx *ctx, size_t size);

/* tn_parallel_for; where it leaves, it returns as soon as no task is left to take: workers may be
 * at their last ones, and arg and what they work on must stay until a join. Later loops may be
 * opened before that. Tasks must not open loops of their own then. */
void tn__parallel_for(tn_ctx *ctx, int64_t n, tn_task fn, void *arg, bool leaves);

/* A point in the order of the context's loops, and: waits for those that were opened before it and
 * left. TN__ALL: for all. */
#define TN__ALL UINT64_MAX
uint64_t tn__parallel_mark(const tn_ctx *ctx);
void     tn__parallel_join(const tn_ctx *ctx, uint64_t mark);

/* Is a loop of the context running? Then a step's join, in one of its tasks, would wait for it. */
bool tn__parallel_inside(const tn_ctx *ctx);

/* Sends a line to the context's log sink, if it has one. */
void tn__note(tn_ctx *ctx, tn_log_level level, const char *format, ...) TN_PRINTF(3, 4);

/* Marks the context as running a program: false if it already is, or is inside of a loop. */
bool tn__ctx_enter(tn_ctx *ctx);
void tn__ctx_leave(tn_ctx *ctx);

/* Does the pattern match the whole name? A * stands for any text, also none. */
bool tn__matches(const char *pattern, size_t n_pattern, const char *name, size_t n_name);

/* Was tn_cancel called? Asking clears it. */
bool tn__ctx_cancelled(tn_ctx *ctx);

/* Bytes that the memory limit leaves; SIZE_MAX without one. */
size_t tn__ctx_room(tn_ctx *ctx);
size_t tn__block_bytes(size_t size); /* what an allocation of so many counts as */

/* A context for one of several threads that work at once: programs of it run beside those of other
 * parts, with so many threads each, and may read the variables and panels of the whole, which none
 * writes meanwhile. Its memory is the whole's and counts there. Freed by tn_ctx_free, before the
 * whole. NULL: the whole has the error. */
tn_ctx       *tn__ctx_part(tn_ctx *whole, int threads);
const tn_ctx *tn__ctx_whole(const tn_ctx *ctx); /* of which it is a part, or itself */

/* Cache sizes of this machine in bytes, with sane guesses where it does not tell. */
typedef struct tn__caches {
    int64_t l1d, l2, l3;
} tn__caches;
tn__caches tn__ctx_caches(const tn_ctx *ctx);
void       tn__ctx_set_caches(tn_ctx *ctx, tn__caches caches); /* for tests: another machine's */

/* Is a result of so many bytes better written past the caches (tensor/stream.h)? Whoever reads it
 * next would not find it there anyway. */
bool tn__ctx_streams(const tn_ctx *ctx, int64_t bytes);
void tn__ctx_stream_from(tn_ctx *ctx, int64_t bytes); /* for tests: from so many on */

#endif
