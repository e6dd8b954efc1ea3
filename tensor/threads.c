/* Parallel loops on a pool of threads that belongs to one context.
 *
 * A loop is opened by an odd epoch and closed by the next even one. A worker enters (inside++), and
 * only then looks at the epoch again: if it is that loop's, the loop can't end before the worker
 * has left, since its caller closes the epoch first and then waits for inside == 0. A worker that
 * comes too late finds another epoch and leaves without having touched anything. So no loop waits
 * for a worker that has not woken up yet, and fn, arg and n need not be atomic.
 *
 * There are two loops, used by turns: the caller may leave one, once no task of it is left to take,
 * while workers are at their last ones, and open the other. Who is done sooner goes on with that.
 *
 * Each worker has a share of neighbouring tasks, which it works off from the front; when it is
 * done, it takes tasks from the end of the others' shares. So loops over the same rows meet the
 * same workers, and find in their caches what the loop before has left, as long as nobody is late.
 *
 * Waiting is spinning, then yielding, then sleeping; whoever sleeps says so before it looks at what
 * it waits for a last time, and whoever changes that looks for sleepers after: neither can miss the
 * other (both orders are sequentially consistent). */
#if defined __linux__ && !defined _GNU_SOURCE
#  define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "tensor/pool.h"

#include "tensor/internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#if defined TN_OPENMP
#  include <omp.h>
#endif
#if !defined _WIN32
#  include <unistd.h>
#endif

enum { MAX_THREADS = 1024, LINE = 64 };

int tn__cpu_count(void)
{
    long n = 0;
#if defined __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
#if defined _SC_NPROCESSORS_ONLN
    if (n < 1) n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

#if defined TN_OPENMP

struct tn__pool {
    tn_allocator allocator;
    int          threads;
    atomic_bool  is_busy;
};

tn__pool *tn__pool_new(const tn_allocator *allocator, int threads)
{
    if (threads < 1 || threads > MAX_THREADS) return NULL;
    tn__pool *p = allocator->alloc(allocator->user, sizeof *p, LINE);
    if (!p) return NULL;
    *p = (tn__pool){ .allocator = *allocator, .threads = threads };
    return p;
}

void tn__pool_free(tn__pool *p)
{
    if (!p) return;
    tn_allocator a = p->allocator;
    if (a.free) a.free(a.user, p, sizeof *p);
}

int tn__pool_threads(const tn__pool *p) { return p ? p->threads : 0; }

void tn_parallel_for(tn_ctx *ctx, int64_t n, tn_task fn, void *arg)
{
    if (!ctx || !fn || n <= 0) return;
    tn__pool *p = tn__ctx_pool(ctx);
    if (atomic_exchange(&p->is_busy, true)) { /* from inside a task */
        int worker = omp_get_thread_num();
        for (int64_t i = 0; i < n; i++) fn(arg, i, worker);
        return;
    }
    if (n == 1 || p->threads == 1) {
        for (int64_t i = 0; i < n; i++) fn(arg, i, 0);
    } else {
#  pragma omp parallel for schedule(dynamic, 1) num_threads(p->threads)
        for (int64_t i = 0; i < n; i++) fn(arg, i, omp_get_thread_num());
    }
    atomic_store(&p->is_busy, false);
}

void tn__parallel_for(tn_ctx *ctx, int64_t n, tn_task fn, void *arg, bool leaves)
{
    (void)leaves;
    tn_parallel_for(ctx, n, fn, arg);
}

uint64_t tn__parallel_mark(const tn_ctx *ctx)
{
    (void)ctx;
    return 0;
}

void tn__parallel_join(const tn_ctx *ctx, uint64_t mark) { (void)ctx, (void)mark; }

bool tn__parallel_inside(const tn_ctx *ctx) { return atomic_load(&tn__ctx_pool(ctx)->is_busy); }

#else

typedef struct pool_worker {
    tn__pool *pool;
    pthread_t thread;
    int       index;
} pool_worker;

/* What is left of a worker's share: first << 32 | end. */
typedef struct pool_share {
    _Alignas(LINE) atomic_uint_fast64_t left;
} pool_share;

typedef struct pool_loop {
    _Alignas(LINE) atomic_int inside; /* workers between entering and leaving */
    tn_task     fn;
    void       *arg;
    int64_t     n;
    int64_t     each;   /* tasks are handed out by so many, 1 but for absurd numbers of them */
    uint64_t    opened; /* the epoch of it; the caller's */
    pool_share *share;  /* of each thread */
} pool_loop;

struct tn__pool {
    tn_allocator    allocator;
    size_t          size; /* bytes of the pool with its workers */
    int             threads;
    int             n_sleeping; /* of workers; under the lock */
    pthread_mutex_t lock;
    pthread_cond_t  opened, emptied;
    _Alignas(LINE) atomic_uint_fast64_t epoch;
    atomic_bool     has_sleepers, caller_waits, is_quitting;
    atomic_bool     is_busy; /* a loop is running: another one comes from inside of it */
    pool_loop   loop[2];
    _Alignas(LINE) pool_worker worker[]; /* threads - 1; the shares come behind */
};

/* ---- waiting ----------------------------------------------------------------------------- */

/* Waiting is timed, since one pause takes 10 to 150 cycles. A waiter spins for SPIN_NS; then it
 * yields at each look, so that a machine with fewer CPUs than threads goes on; then it sleeps.
 * Waking one takes 15 to 50 us, more than most loops last, hence the long time awake. */
enum { SPIN_NS = 60000, AWAKE_NS = 1000000, AWAKE_NS_MIN = 20000, PAUSES = 16 };

static void pause_cpu(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory"); /* yield is a no-op on most cores */
#endif
}

/* True as soon as ready(p, epoch) holds; false if it does not within awake_ns. */
TN_INLINE bool wait_awake(tn__pool *p, uint64_t epoch, bool (*ready)(tn__pool *, uint64_t),
                          int64_t awake_ns)
{
    for (int i = 0; i < PAUSES; i++) {
        if (ready(p, epoch)) return true;
        pause_cpu();
    }
    for (int64_t start = tn__now(), spent = 0; spent < awake_ns; spent = tn__now() - start) {
        if (spent > SPIN_NS) sched_yield();
        for (int i = 0; i < PAUSES; i++) {
            if (ready(p, epoch)) return true;
            pause_cpu();
        }
    }
    return false;
}

/* A loop that this worker has not been in, or the end of the pool. */
static inline bool is_open(tn__pool *p, uint64_t seen)
{
    uint64_t e = atomic_load(&p->epoch);
    return ((e & 1) && e != seen) || atomic_load_explicit(&p->is_quitting, memory_order_relaxed);
}

/* The loop that was opened at this epoch, or the one in whose place it was. */
static inline pool_loop *loop_of(tn__pool *p, uint64_t epoch) { return &p->loop[epoch >> 1 & 1]; }

static inline bool is_empty(tn__pool *p, uint64_t epoch)
{
    return atomic_load(&loop_of(p, epoch)->inside) == 0;
}

/* ---- workers ----------------------------------------------------------------------------- */

/* The next piece of a share, from its front or its end; -1 if nothing is left. */
static int64_t take(pool_share *share, bool from_end)
{
    uint64_t left = atomic_load_explicit(&share->left, memory_order_relaxed);
    for (;;) {
        const uint64_t first = left >> 32, end = left & UINT32_MAX;
        if (first >= end) return -1;
        const uint64_t rest = from_end ? left - 1 : left + (UINT64_C(1) << 32);
        if (atomic_compare_exchange_weak_explicit(&share->left, &left, rest, memory_order_relaxed,
                                                  memory_order_relaxed))
            return (int64_t)(from_end ? end - 1 : first);
    }
}

static void run_piece(const pool_loop *l, int64_t piece, int worker)
{
    const int64_t end = (piece + 1) * l->each;
    for (int64_t i = piece * l->each; i < end && i < l->n; i++) l->fn(l->arg, i, worker);
}

static void run_tasks(const pool_loop *l, int threads, int worker)
{
    for (int k = 0; k < threads; k++) {
        pool_share *share = &l->share[(worker + k) % threads];
        for (int64_t piece; (piece = take(share, k > 0)) >= 0;) run_piece(l, piece, worker);
    }
}

static void share_out(pool_loop *l, int64_t n, int threads)
{
    l->each = 1 + n / INT32_MAX;
    const int64_t pieces = (n + l->each - 1) / l->each;
    for (int w = 0; w < threads; w++) {
        const uint64_t first = (uint64_t)(pieces * w / threads);
        const uint64_t end = (uint64_t)(pieces * (w + 1) / threads);
        atomic_store_explicit(&l->share[w].left, first << 32 | end, memory_order_relaxed);
    }
}

static void sleep_until_open(tn__pool *p, uint64_t seen)
{
    pthread_mutex_lock(&p->lock);
    p->n_sleeping++;
    atomic_store(&p->has_sleepers, true);
    while (!is_open(p, seen)) pthread_cond_wait(&p->opened, &p->lock);
    p->n_sleeping--;
    atomic_store(&p->has_sleepers, p->n_sleeping > 0);
    pthread_mutex_unlock(&p->lock);
}

static void wake_caller(tn__pool *p)
{
    pthread_mutex_lock(&p->lock); /* past this, a caller that said it would sleep is asleep */
    pthread_mutex_unlock(&p->lock);
    pthread_cond_signal(&p->emptied);
}

/* Waits for a loop. Returns how long to stay awake the next time: the full time if the loop came
 * within it, asleep or not; otherwise staying awake was in vain, and half as long will do. */
static int64_t wait_for_loop(tn__pool *p, uint64_t seen, int64_t awake_ns)
{
    if (wait_awake(p, seen, is_open, awake_ns)) return AWAKE_NS;
    int64_t start = tn__now();
    sleep_until_open(p, seen);
    if (tn__now() - start + awake_ns < AWAKE_NS) return AWAKE_NS;
    return awake_ns / 2 > AWAKE_NS_MIN ? awake_ns / 2 : AWAKE_NS_MIN;
}

static void *worker_main(void *arg)
{
    pool_worker *w = arg;
    tn__pool    *p = w->pool;
    uint64_t     seen = 0;
    int64_t      awake_ns = AWAKE_NS;
    for (;;) {
        awake_ns = wait_for_loop(p, seen, awake_ns);
        if (atomic_load(&p->is_quitting)) return NULL;
        const uint64_t e = atomic_load(&p->epoch);
        if (!(e & 1) || e == seen) continue;
        pool_loop *l = loop_of(p, e);
        atomic_fetch_add(&l->inside, 1);
        if (atomic_load(&p->epoch) == e) {
            run_tasks(l, p->threads, w->index);
            seen = e;
        }
        if (atomic_fetch_sub(&l->inside, 1) == 1 && atomic_load(&p->caller_waits)) wake_caller(p);
    }
}

/* ---- life -------------------------------------------------------------------------------- */

/* Ends and joins the first n workers. */
static void stop_workers(tn__pool *p, int n)
{
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->is_quitting, true);
    pthread_cond_broadcast(&p->opened);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < n; i++) pthread_join(p->worker[i].thread, NULL);
}

static void free_memory(tn__pool *p)
{
    tn_allocator a = p->allocator;
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->opened);
    pthread_cond_destroy(&p->emptied);
    if (a.free) a.free(a.user, p, p->size);
}

/* Starts the workers with all signals blocked: handlers run on the user's threads. */
static bool start_workers(tn__pool *p)
{
    int n = 0;
#if !defined _WIN32
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
#endif
    for (; n < p->threads - 1; n++) {
        pool_worker *w = &p->worker[n];
        *w = (pool_worker){ .pool = p, .index = n + 1 };
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break;
    }
#if !defined _WIN32
    pthread_sigmask(SIG_SETMASK, &old, NULL);
#endif
    if (n == p->threads - 1) return true;
    stop_workers(p, n);
    return false;
}

tn__pool *tn__pool_new(const tn_allocator *allocator, int threads)
{
    if (threads < 1 || threads > MAX_THREADS) return NULL;
    size_t    shares = sizeof(tn__pool) + (size_t)(threads - 1) * sizeof(pool_worker);
    shares = (shares + LINE - 1) / LINE * LINE;
    size_t    size = shares + 2 * (size_t)threads * sizeof(pool_share);
    tn__pool *p = allocator->alloc(allocator->user, size, LINE);
    if (!p) return NULL;
    memset(p, 0, size);
    p->allocator = *allocator;
    p->size = size;
    p->threads = threads;
    atomic_init(&p->epoch, 0);
    atomic_init(&p->has_sleepers, false);
    atomic_init(&p->caller_waits, false);
    atomic_init(&p->is_quitting, false);
    atomic_init(&p->is_busy, false);
    for (int l = 0; l < 2; l++) {
        atomic_init(&p->loop[l].inside, 0);
        p->loop[l].share = (pool_share *)((char *)p + shares) + l * threads;
        for (int w = 0; w < threads; w++) atomic_init(&p->loop[l].share[w].left, 0);
    }
    pthread_mutex_init(&p->lock, NULL); /* these can't fail with default attributes on the */
    pthread_cond_init(&p->opened, NULL); /* systems that we know */
    pthread_cond_init(&p->emptied, NULL);
    if (!start_workers(p)) {
        free_memory(p);
        return NULL;
    }
    return p;
}

void tn__pool_free(tn__pool *p)
{
    if (!p) return;
    stop_workers(p, p->threads - 1);
    free_memory(p);
}

int tn__pool_threads(const tn__pool *p) { return p ? p->threads : 0; }

/* ---- loops ------------------------------------------------------------------------------- */

/* The worker that this thread is in the running loop. Only nested loops ask. */
static int worker_of_this_thread(const tn__pool *p)
{
    pthread_t self = pthread_self();
    for (int i = 0; i < p->threads - 1; i++)
        if (pthread_equal(p->worker[i].thread, self)) return p->worker[i].index;
    return 0;
}

static void wake_workers(tn__pool *p, int64_t n)
{
    pthread_mutex_lock(&p->lock); /* past this, a worker that said it would sleep is asleep */
    int64_t sleeping = p->n_sleeping;
    pthread_mutex_unlock(&p->lock);
    if (n >= sleeping)
        pthread_cond_broadcast(&p->opened);
    else
        for (; n > 0; n--) pthread_cond_signal(&p->opened);
}

/* Waits until no worker is in the loop of this epoch. */
static void wait_until_empty(tn__pool *p, uint64_t epoch)
{
    if (wait_awake(p, epoch, is_empty, AWAKE_NS)) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_waits, true);
    while (!is_empty(p, epoch)) pthread_cond_wait(&p->emptied, &p->lock);
    atomic_store(&p->caller_waits, false);
    pthread_mutex_unlock(&p->lock);
}

static void run_parallel(tn__pool *p, int64_t n, tn_task fn, void *arg, bool leaves)
{
    const uint64_t epoch = atomic_load(&p->epoch) + 1;
    pool_loop     *l = loop_of(p, epoch);
    wait_until_empty(p, epoch); /* it may have been left */
    l->fn = fn, l->arg = arg, l->n = n, l->opened = epoch;
    share_out(l, n, p->threads);
    atomic_store(&p->epoch, epoch); /* opens; publishes the lines above */
    if (atomic_load(&p->has_sleepers)) wake_workers(p, n - 1);
    run_tasks(l, p->threads, 0);
    atomic_store(&p->epoch, epoch + 1); /* closes: from here on nobody enters */
    if (!leaves) wait_until_empty(p, epoch);
}

void tn__parallel_for(tn_ctx *ctx, int64_t n, tn_task fn, void *arg, bool leaves)
{
    if (!ctx || !fn || n <= 0) return;
    tn__pool *p = tn__ctx_pool(ctx);
    if (p->threads == 1) {
        for (int64_t i = 0; i < n; i++) fn(arg, i, 0);
        return;
    }
    if (atomic_load_explicit(&p->is_busy, memory_order_relaxed)) {
        int worker = worker_of_this_thread(p);
        for (int64_t i = 0; i < n; i++) fn(arg, i, worker);
        return;
    }
    atomic_store_explicit(&p->is_busy, true, memory_order_relaxed);
    if (n == 1)
        fn(arg, 0, 0);
    else
        run_parallel(p, n, fn, arg, leaves);
    atomic_store_explicit(&p->is_busy, false, memory_order_relaxed);
}

void tn_parallel_for(tn_ctx *ctx, int64_t n, tn_task fn, void *arg)
{
    tn__parallel_for(ctx, n, fn, arg, false);
}

uint64_t tn__parallel_mark(const tn_ctx *ctx) { return atomic_load(&tn__ctx_pool(ctx)->epoch); }

bool tn__parallel_inside(const tn_ctx *ctx)
{
    return atomic_load_explicit(&tn__ctx_pool(ctx)->is_busy, memory_order_relaxed);
}

void tn__parallel_join(const tn_ctx *ctx, uint64_t mark)
{
    tn__pool *p = tn__ctx_pool(ctx);
    for (int l = 0; l < 2; l++)
        if (p->loop[l].opened < mark) wait_until_empty(p, p->loop[l].opened);
}

#endif
