/* Lets every allocation fail once, in turn: a call that runs out of memory must say so, leak
 * nothing and leave the context usable. */
#ifndef TN_TESTS_FAILING_H
#define TN_TESTS_FAILING_H

#include "check.h"
#include "tensor/context.h"

typedef struct failing {
    long until; /* allocations that still succeed; below 0: all do */
    long live;  /* blocks not freed */
} failing;

static void *failing_alloc(void *user, size_t size, size_t align)
{
    failing *f = user;
    if (f->until >= 0 && f->until-- == 0) return NULL;
    void *block = aligned_alloc(align, (size + align - 1) / align * align);
    if (block) f->live++;
    return block;
}

static void failing_free(void *user, void *block, size_t size)
{
    (void)size;
    if (block) ((failing *)user)->live--;
    free(block);
}

/* body frees what it makes and returns whether all of it succeeded. Checks that it fails, with a
 * memory error and nothing leaked, for as many k as it makes allocations, and then succeeds. */
static void check_each_allocation_of(bool (*body)(tn_ctx *ctx), int threads)
{
    failing f = { .until = -1 };
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){
        .threads = threads, .allocator = { failing_alloc, failing_free, &f } });
    REQUIRE(ctx);
    long live = f.live;
    for (long k = 0;; k++) {
        f.until = k;
        bool ok = body(ctx), failed = f.until < 0;
        CHECK_MSG(f.live == live, "allocation %ld fails: %ld blocks leaked", k, f.live - live);
        CHECK_MSG(ok != failed, "allocation %ld fails: expected %s", k,
                  failed ? "an error" : "none");
        CHECK_MSG(!failed || tn_ctx_status(ctx) == TN_ERR_MEMORY,
                  "allocation %ld fails: expected \"out of memory\", got \"%s\"", k, tn_error(ctx));
        f.until = -1;
        tn_clear_error(ctx);
        if (!failed) break;
    }
    CHECK(body(ctx));
    tn_ctx_free(ctx);
    CHECK_INT(f.live, 0);
}

TN_UNUSED static void check_each_allocation(bool (*body)(tn_ctx *ctx))
{
    check_each_allocation_of(body, 1);
}

#endif
