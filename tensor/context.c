/* The context: counted memory over the user's allocator or the system's, the first error, and what
 * a context was made with. Memory and options belong to the thread that uses the context; only
 * tn_fail and tn__ctx_enter may be called by several threads at once (tasks fail, users err). */
#include "tensor/internal.h"
#include "tensor/cpu.h"
#include "tensor/pool.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined _WIN32
#  include <malloc.h>
#else
#  include <sys/mman.h>
#  include <unistd.h>
#endif

enum { ERROR_TEXT = 512, BLOCK_ALIGN = 64 };

#define SMALLEST_PAGE ((size_t)4 << 10)
#define HUGE_PAGE     ((size_t)2 << 20)
#define LARGE_BLOCK   ((size_t)4 << 20)   /* from here on blocks are aligned to large pages */
#define MAPPED_BLOCK  ((size_t)256 << 10) /* from here on they are fresh pages, which are zero */
#define PROBED_BLOCK  ((size_t)256 << 20) /* from here on a block tries large pages again */
#define SLOW_PAGE     1.5e-3 /* seconds a large page; its small ones take a third of that */

struct tn_ctx {
    tn_ctx           *whole;     /* of which this is a part; NULL: of none */
    tn_allocator      allocator;
    pthread_mutex_t   lock;      /* of the allocator and of what is counted */
    bool              is_system; /* the allocator is ours */
    uint64_t          seed;
    size_t            limit, held, peak;
    uint64_t          allocations;
    int               n_slow; /* pieces of large pages that came slowly, one after the other */
    void            (*log)(void *user, tn_log_level level, const char *message);
    void             *log_user;
    tn_cpu_level      cpu;
    const tn_kernels *kernels;
    tn__caches        caches;
    int64_t           stream_from; /* bytes */
    tn__pool         *pool;
    atomic_bool       is_running, is_cancelled;
    atomic_bool       has_failed; /* taken by the first error, before its text is written */
    atomic_int        status;     /* set when the text is complete */
    char              error[ERROR_TEXT];
};

/* ---- the system's allocator -------------------------------------------------------------- */

#if defined _WIN32

static void *system_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    return _aligned_malloc(size, align);
}

static void system_free(void *user, void *block, size_t size)
{
    (void)user, (void)size;
    _aligned_free(block);
}

static bool system_is_zeroed(size_t size) { return (void)size, false; }
static void system_advise(char *p, size_t size, bool large) { (void)p, (void)size, (void)large; }
static bool system_populate(char *p, size_t size) { return (void)p, (void)size, false; }

#else

static size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* Fresh zeroed pages, none of which is touched; large blocks start on a large page's boundary: that
 * maps too much and trims both ends. */
static void *map_pages(size_t size)
{
    if (size > SIZE_MAX / 2) return NULL;
    size = round_up(size, (size_t)sysconf(_SC_PAGESIZE));
    size_t more = size >= LARGE_BLOCK ? HUGE_PAGE : 0;
    char  *all = mmap(NULL, size + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (all == MAP_FAILED) return NULL;
    if (!more) return all;
    size_t head = (HUGE_PAGE - (uintptr_t)all % HUGE_PAGE) % HUGE_PAGE, tail = HUGE_PAGE - head;
    if (head) munmap(all, head);
    if (tail) munmap(all + head + size, tail);
    return all + head;
}

static bool system_is_zeroed(size_t size) { return size >= MAPPED_BLOCK; }

/* Pages from p on that are not there yet are to be large ones, or small ones. */
static void system_advise(char *p, size_t size, bool large)
{
#  if defined MADV_HUGEPAGE && defined MADV_NOHUGEPAGE
    madvise(p, size, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#  else
    (void)p, (void)size, (void)large;
#  endif
}

/* Makes all pages be there in one call, which takes two thirds of the time of touching them; false
 * where the system can't. */
static bool system_populate(char *p, size_t size)
{
#  if defined __linux__
    enum { POPULATE_WRITE = 23 }; /* since Linux 5.14; not in every libc's header */
    return madvise(p, size, POPULATE_WRITE) == 0;
#  else
    return (void)p, (void)size, false;
#  endif
}

static void *system_alloc(void *user, size_t size, size_t align)
{
    void *block = NULL;
    (void)user;
    if (size >= MAPPED_BLOCK) return map_pages(size);
    return posix_memalign(&block, align, size) == 0 ? block : NULL;
}

static void system_free(void *user, void *block, size_t size)
{
    (void)user;
    if (size >= MAPPED_BLOCK)
        munmap(block, round_up(size, (size_t)sysconf(_SC_PAGESIZE)));
    else
        free(block);
}

#endif

int64_t tn__now(void)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* Fresh pages that all threads make be there, in pieces as long as a large page. */
typedef struct touching {
    char *begin, *end;
} touching;

static void touch_piece(void *arg, int64_t piece, int worker)
{
    const touching *t = arg;
    char           *p = t->begin + (size_t)piece * HUGE_PAGE;
    size_t          n = (size_t)(t->end - p) < HUGE_PAGE ? (size_t)(t->end - p) : HUGE_PAGE;
    (void)worker;
    if (system_populate(p, n)) return;
    for (size_t i = 0; i < n; i += SMALLEST_PAGE) ((volatile char *)p)[i] = 0;
}

static double touch_pieces(tn_ctx *ctx, char *p, size_t size)
{
    touching t = { p, p + size };
    int64_t  begin = tn__now();
    tn_parallel_for(ctx, (int64_t)((size + HUGE_PAGE - 1) / HUGE_PAGE), touch_piece, &t);
    return 1e-9 * (double)(tn__now() - begin);
}

static bool gives_up_large(const tn_ctx *ctx) { return ctx->n_slow >= 2; }

/* The host of a virtual machine can be ten times slower to find large pages than small ones, which
 * are often there from before. Where they turn out slow, the rest of the block is made of small
 * ones, and later blocks begin with them. */
static void touch(tn_ctx *ctx, char *p, size_t size)
{
    size_t threads = (size_t)tn_ctx_threads(ctx), n = threads * HUGE_PAGE, at = 0;
    bool   large = size >= LARGE_BLOCK && (!gives_up_large(ctx) || size >= PROBED_BLOCK);
    for (; large && at < size; at += n, n = 8 * threads * HUGE_PAGE) {
        if (n > size - at) n = size - at;
        double pages = (double)n / (double)HUGE_PAGE;
        system_advise(p + at, n, true);
        large = touch_pieces(ctx, p + at, n) * (double)threads < SLOW_PAGE * pages || pages < 1;
        ctx->n_slow = large ? 0 : ctx->n_slow + 1;
    }
    if (at >= size) return;
    if (size >= LARGE_BLOCK) system_advise(p + at, size - at, false);
    touch_pieces(ctx, p + at, size - at);
    if (size >= LARGE_BLOCK) system_advise(p + at, size - at, true); /* it may join them later */
}

/* Before each block, in BLOCK_ALIGN bytes: what the allocator was asked for. */
typedef struct block_head {
    size_t size;
} block_head;

/* All but the first are zeros. */
typedef enum block_state { AS_IT_IS, ZEROED, TOUCHED, SPARSE } block_state;

/* What the allocator gives within the limit, counted. */
static char *take_block(tn_ctx *ctx, size_t total, bool is_sparse)
{
    const size_t held = ctx->held, limit = ctx->limit;
    if (limit && (total > limit || held > limit - total)) {
        tn_fail(ctx, TN_ERR_LIMIT, "over the memory limit: %zu bytes held, %zu more needed, "
                "limit %zu", held, total, limit);
        return NULL;
    }
    ctx->allocations++;
    char *raw = ctx->allocator.alloc(ctx->allocator.user, total,
                                     is_sparse || total < LARGE_BLOCK ? BLOCK_ALIGN : HUGE_PAGE);
    if (!raw) {
        tn_fail(ctx, TN_ERR_MEMORY, "out of memory: %zu bytes asked for, %zu held", total, held);
        return NULL;
    }
    ctx->held += total;
    if (ctx->held > ctx->peak) ctx->peak = ctx->held;
    return raw;
}

size_t tn__ctx_room(tn_ctx *ctx)
{
    if (ctx->whole) ctx = ctx->whole;
    pthread_mutex_lock(&ctx->lock);
    const size_t limit = ctx->limit ? ctx->limit : SIZE_MAX;
    const size_t room = limit > ctx->held ? limit - ctx->held : 0;
    pthread_mutex_unlock(&ctx->lock);
    return room;
}

size_t tn__block_bytes(size_t size)
{
    return (size + 2 * BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

static void *alloc_block(tn_ctx *ctx, size_t size, block_state state)
{
    if (size > SIZE_MAX - 2 * BLOCK_ALIGN) {
        tn_fail(ctx, TN_ERR_MEMORY, "out of memory: %zu bytes asked for", size);
        return NULL;
    }
    size_t total = tn__block_bytes(size);
    pthread_mutex_lock(&ctx->lock);
    char *raw = take_block(ctx, total, state == SPARSE);
    pthread_mutex_unlock(&ctx->lock);
    if (!raw) return NULL;
    bool is_fresh = ctx->is_system && system_is_zeroed(total);
    if (is_fresh && state == TOUCHED) touch(ctx, raw, total);
    else if (is_fresh && total >= LARGE_BLOCK)
        system_advise(raw, total, state != SPARSE && !gives_up_large(ctx));
    else if (!is_fresh && state != AS_IT_IS) memset(raw + BLOCK_ALIGN, 0, size);
    ((block_head *)(void *)raw)->size = total;
    return raw + BLOCK_ALIGN;
}

void *tn_alloc(tn_ctx *ctx, size_t size) { return ctx ? alloc_block(ctx, size, ZEROED) : NULL; }

void *tn__alloc_pages(tn_ctx *ctx, size_t size)
{
    return ctx ? alloc_block(ctx, size, AS_IT_IS) : NULL;
}

void *tn__alloc_touched(tn_ctx *ctx, size_t size)
{
    return ctx ? alloc_block(ctx, size, TOUCHED) : NULL;
}

void *tn__alloc_sparse(tn_ctx *ctx, size_t size)
{
    return ctx ? alloc_block(ctx, size, SPARSE) : NULL;
}

void tn_free(tn_ctx *ctx, void *block)
{
    if (!ctx || !block) return;
    char  *raw = (char *)block - BLOCK_ALIGN;
    size_t total = ((block_head *)raw)->size;
    pthread_mutex_lock(&ctx->lock);
    ctx->held -= total;
    if (ctx->allocator.free) ctx->allocator.free(ctx->allocator.user, raw, total);
    pthread_mutex_unlock(&ctx->lock);
}

size_t   tn_ctx_memory(const tn_ctx *ctx) { return ctx ? ctx->held : 0; }
size_t   tn_ctx_memory_peak(const tn_ctx *ctx) { return ctx ? ctx->peak : 0; }
uint64_t tn_ctx_allocations(const tn_ctx *ctx) { return ctx ? ctx->allocations : 0; }

/* ---- life -------------------------------------------------------------------------------- */

tn_ctx *tn_ctx_new(const tn_ctx_options *options)
{
    tn_ctx_options o = options ? *options : (tn_ctx_options){ 0 };
    bool           is_system = !o.allocator.alloc;
    if (is_system) o.allocator = (tn_allocator){ system_alloc, system_free, NULL };
    tn_ctx *ctx = o.allocator.alloc(o.allocator.user, sizeof *ctx, BLOCK_ALIGN);
    if (!ctx) return NULL;
    memset(ctx, 0, sizeof *ctx);
    ctx->allocator = o.allocator;
    ctx->is_system = is_system;
    ctx->seed = o.seed;
    ctx->limit = o.memory_limit;
    ctx->log = o.log;
    ctx->log_user = o.log_user;
    ctx->cpu = tn__cpu_cap(o.cpu);
    ctx->kernels = tn__cpu_kernels(ctx->cpu);
    ctx->caches = tn__cpu_caches();
    ctx->stream_from = ctx->caches.l3 / 2;
    atomic_init(&ctx->is_running, false);
    atomic_init(&ctx->has_failed, false);
    atomic_init(&ctx->status, TN_OK);
    pthread_mutex_init(&ctx->lock, NULL); /* can't fail with default attributes */
    ctx->pool = tn__pool_new(&ctx->allocator, o.threads ? o.threads : tn__cpu_count());
    if (!ctx->pool) {
        tn_ctx_free(ctx);
        return NULL;
    }
    tn__note(ctx, TN_LOG_INFO, "%d threads, %s; caches of %lld, %lld and %lld KiB",
             tn_ctx_threads(ctx), tn_cpu_level_name(ctx->cpu),
             (long long)ctx->caches.l1d >> 10, (long long)ctx->caches.l2 >> 10,
             (long long)ctx->caches.l3 >> 10);
    return ctx;
}

void tn_ctx_free(tn_ctx *ctx)
{
    if (!ctx) return;
    tn__pool_free(ctx->pool);
    pthread_mutex_destroy(&ctx->lock);
    tn_allocator a = ctx->allocator;
    if (a.free) a.free(a.user, ctx, sizeof *ctx);
}

/* ---- parts ------------------------------------------------------------------------------- */

static void *part_alloc(void *user, size_t size, size_t align)
{
    const bool is_sparse = size >= LARGE_BLOCK && align <= BLOCK_ALIGN; /* see take_block */
    return is_sparse ? tn__alloc_sparse(user, size) : tn__alloc_pages(user, size);
}

static void part_free(void *user, void *block, size_t size)
{
    (void)size;
    tn_free(user, block);
}

tn_ctx *tn__ctx_part(tn_ctx *whole, int threads)
{
    const tn_ctx_options o = { .threads = threads, .seed = whole->seed, .cpu = whole->cpu,
                               .allocator = { part_alloc, part_free, whole } };
    tn_ctx *ctx = tn_ctx_new(&o);
    if (!ctx) {
        tn_fail(whole, TN_ERR_MEMORY, "no memory or no threads for a part of the context");
        return NULL;
    }
    ctx->whole = whole, ctx->caches = whole->caches, ctx->stream_from = whole->stream_from;
    ctx->is_system = whole->is_system; /* fresh pages are as zero by way of the whole */
    return ctx;
}

const tn_ctx *tn__ctx_whole(const tn_ctx *ctx) { return ctx->whole ? ctx->whole : ctx; }

/* ---- what it was made with --------------------------------------------------------------- */

int               tn_ctx_threads(const tn_ctx *c) { return c ? tn__pool_threads(c->pool) : 0; }
uint64_t          tn_ctx_seed(const tn_ctx *ctx) { return ctx ? ctx->seed : 0; }
tn_cpu_level      tn_ctx_cpu(const tn_ctx *ctx) { return ctx ? ctx->cpu : TN_CPU_AUTO; }
const tn_kernels *tn__ctx_kernels(const tn_ctx *ctx) { return ctx->kernels; }
tn__caches        tn__ctx_caches(const tn_ctx *ctx) { return ctx->caches; }
void              tn__ctx_set_caches(tn_ctx *ctx, tn__caches caches) { ctx->caches = caches; }

bool tn__ctx_streams(const tn_ctx *ctx, int64_t bytes)
{
    return bytes >= ctx->stream_from;
}

void              tn__ctx_stream_from(tn_ctx *ctx, int64_t bytes) { ctx->stream_from = bytes; }
tn__pool         *tn__ctx_pool(const tn_ctx *ctx) { return ctx->pool; }

bool tn__ctx_enter(tn_ctx *ctx)
{
    return !tn__parallel_inside(ctx) && !atomic_exchange(&ctx->is_running, true);
}

void tn__ctx_leave(tn_ctx *ctx) { atomic_store(&ctx->is_running, false); }

void tn_cancel(tn_ctx *ctx)
{
    if (ctx) atomic_store(&ctx->is_cancelled, true);
}

bool tn__ctx_cancelled(tn_ctx *ctx)
{
    if (!atomic_load_explicit(&ctx->is_cancelled, memory_order_relaxed)) return false;
    return atomic_exchange(&ctx->is_cancelled, false);
}

void tn__note(tn_ctx *ctx, tn_log_level level, const char *format, ...)
{
    char    text[ERROR_TEXT];
    va_list args;
    if (!ctx || !ctx->log) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctx->log(ctx->log_user, level, text);
}

/* ---- errors ------------------------------------------------------------------------------ */

static tn_status vfail(tn_ctx *ctx, tn_status status, const char *format, va_list args)
{
    if (!ctx || status == TN_OK) return status;
    if (atomic_exchange(&ctx->has_failed, true)) return status; /* an earlier error stands */
    if (format)
        vsnprintf(ctx->error, sizeof ctx->error, format, args);
    else
        snprintf(ctx->error, sizeof ctx->error, "%s", tn_status_text(status));
    atomic_store(&ctx->status, (int)status);
    return status;
}

tn_status tn_fail(tn_ctx *ctx, tn_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(ctx, status, format, args);
    va_end(args);
    return status;
}

void tn__fail_in(tn_ctx *ctx, const char *scope)
{
    const size_t n = strlen(ctx->error);
    if (*scope) snprintf(ctx->error + n, sizeof ctx->error - n, " (%s)", scope);
}

tn_status tn_ctx_status(const tn_ctx *ctx)
{
    return ctx ? (tn_status)atomic_load(&ctx->status) : TN_ERR_ARG;
}

const char *tn_error(const tn_ctx *ctx)
{
    if (!ctx) return "there is no context (tn_ctx_new gave NULL: no memory, or no threads)";
    return atomic_load(&ctx->status) == TN_OK ? "" : ctx->error;
}

void tn_clear_error(tn_ctx *ctx)
{
    if (!ctx) return;
    ctx->error[0] = 0;
    atomic_store(&ctx->status, TN_OK);
    atomic_store(&ctx->has_failed, false);
}
