/* Parallel loops: each index once, by a worker of the right number, nested, resting, and in two
 * contexts at once. Runs under the thread sanitizer too. */
#if defined __linux__ && !defined _GNU_SOURCE
#  define _GNU_SOURCE /* CPU_SET */
#endif
#include "check.h"

#include "libtensor.h"
#include "tensor/internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#if defined __linux__
#  include <sched.h>
#  include <sys/resource.h>
#  include <sys/wait.h>
#endif

static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads });
}

enum { MAX_N = 300, MAX_WORKERS = 8 };

/* Hits are plain ints: two workers on one index would be a race that the sanitizer sees. */
typedef struct loop {
    tn_ctx    *ctx;
    int        threads, hits[MAX_N];
    int64_t    busy_ns;
    atomic_int in_use[MAX_WORKERS]; /* a worker runs one task at a time */
    atomic_int bad;
} loop;

static void spend(int64_t ns)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    do clock_gettime(CLOCK_MONOTONIC, &b);
    while ((b.tv_sec - a.tv_sec) * INT64_C(1000000000) + b.tv_nsec - a.tv_nsec < ns);
}

static void rest(int64_t us)
{
    struct timespec t = { 0, us * 1000 };
    nanosleep(&t, NULL);
}

static void hit(void *arg, int64_t i, int worker)
{
    loop *l = arg;
    if (worker < 0 || worker >= l->threads || atomic_exchange(&l->in_use[worker], 1)) {
        atomic_fetch_add(&l->bad, 1);
        return;
    }
    l->hits[i]++;
    if (l->busy_ns) spend(l->busy_ns);
    atomic_store(&l->in_use[worker], 0);
}

/* One loop of n; false if an index was not hit once, or a worker was wrong. */
static bool run_once(loop *l, int64_t n)
{
    memset(l->hits, 0, sizeof l->hits);
    tn_parallel_for(l->ctx, n, hit, l);
    for (int64_t i = 0; i < MAX_N; i++)
        if (l->hits[i] != (i < n)) return false;
    return atomic_load(&l->bad) == 0;
}

TEST(parallel, each_index_once)
{
    for (int threads = 1; threads <= 4; threads++) {
        loop l = { .ctx = new_ctx(threads), .threads = threads };
        REQUIRE(l.ctx);
        CHECK_INT(tn_ctx_threads(l.ctx), threads);
        for (int64_t n = 0; n <= MAX_N; n += n < 20 ? 1 : 70)
            for (int repeat = 0; repeat < 20; repeat++)
                CHECK_MSG(run_once(&l, n), "%d threads, n = %d: not each index once", threads,
                          (int)n);
        CHECK(run_once(&l, 0));
        tn_parallel_for(l.ctx, -5, hit, &l); /* nothing to do */
        CHECK_INT(atomic_load(&l.bad), 0);
        tn_ctx_free(l.ctx);
    }
}

/* Gaps from none to long enough to fall asleep, tasks from nothing to longer than the spinning. */
TEST(parallel, workers_rest_and_wake)
{
    static const int gaps_us[] = { 0, 20, 100, 400, 2000 }, tasks_us[] = { 0, 5, 600 };
    for (int threads = 2; threads <= 4; threads += 2) {
        loop l = { .ctx = new_ctx(threads), .threads = threads };
        REQUIRE(l.ctx);
        for (int g = 0; g < 5; g++)
            for (int t = 0; t < 3; t++)
                for (int repeat = 0; repeat < 15; repeat++) {
                    l.busy_ns = tasks_us[t] * 1000;
                    CHECK_MSG(run_once(&l, threads + 1), "gap %d us, tasks of %d us", gaps_us[g],
                              tasks_us[t]);
                    if (gaps_us[g]) rest(gaps_us[g]);
                }
        tn_ctx_free(l.ctx);
    }
}

/* Loops that are left are done at the join, others at their own end; two are under way at most. */
TEST(parallel, loops_that_are_left)
{
    enum { LOOPS = 7 };
    for (int threads = 1; threads <= 4; threads++) {
        tn_ctx *ctx = new_ctx(threads);
        loop   *l = calloc(LOOPS, sizeof *l);
        REQUIRE(ctx && l);
        for (int repeat = 0; repeat < 60; repeat++) {
            uint64_t mark = 0;
            for (int k = 0; k < LOOPS; k++) {
                const int64_t n = 1 + (repeat + 3 * k) % 9;
                l[k] = (loop){ .ctx = ctx, .threads = threads, .busy_ns = repeat % 3 * 2000 };
                if (k == 3) mark = tn__parallel_mark(ctx);
                tn__parallel_for(ctx, n, hit, &l[k], k % 3 != 1);
                for (int64_t i = 0; k % 3 == 1 && i < n; i++) CHECK_INT(l[k].hits[i], 1);
                if (k == 4) { /* those before the mark */
                    tn__parallel_join(ctx, mark);
                    for (int j = 0; j < 3; j++) CHECK_INT(l[j].hits[(repeat + 3 * j) % 9], 1);
                }
            }
            tn__parallel_join(ctx, TN__ALL);
            for (int k = 0; k < LOOPS; k++) {
                const int64_t n = 1 + (repeat + 3 * k) % 9;
                for (int64_t i = 0; i < 10; i++) CHECK_INT(l[k].hits[i], i < n);
                CHECK_INT(atomic_load(&l[k].bad), 0);
            }
        }
        free(l), tn_ctx_free(ctx);
    }
}

static void late_task(void *arg, int64_t i, int worker)
{
    (void)worker;
    if (i == 1) rest(3000);
    ((int *)arg)[i]++;
}

/* The caller runs out of tasks, sleeps, and is woken by the last worker. */
TEST(parallel, caller_sleeps_for_a_slow_task)
{
    tn_ctx *ctx = new_ctx(2);
    REQUIRE(ctx);
    for (int repeat = 0; repeat < 40; repeat++) {
        int done[2] = { 0 };
        tn_parallel_for(ctx, 2, late_task, done);
        CHECK(done[0] == 1 && done[1] == 1);
    }
    tn_ctx_free(ctx);
}

/* ---- nested ------------------------------------------------------------------------------ */

typedef struct nest {
    tn_ctx    *ctx;
    int        hits[20][10];
    int        outer_worker[MAX_WORKERS]; /* by worker: where it is */
    atomic_int bad;
} nest;

typedef struct nest_row {
    nest   *n;
    int64_t row;
    int     worker;
} nest_row;

static void inner_task(void *arg, int64_t j, int worker)
{
    nest_row *r = arg;
    if (worker != r->worker) atomic_fetch_add(&r->n->bad, 1);
    r->n->hits[r->row][j]++;
}

static void outer_task(void *arg, int64_t i, int worker)
{
    nest    *n = arg;
    nest_row r = { n, i, worker };
    spend(2000);
    tn_parallel_for(n->ctx, 10, inner_task, &r);
}

TEST(parallel, nested_runs_on_its_worker)
{
    for (int threads = 1; threads <= 4; threads++)
        for (int rows = 1; rows <= 20; rows += 19) { /* a loop of one task counts as a loop */
            nest n = { .ctx = new_ctx(threads) };
            REQUIRE(n.ctx);
            for (int repeat = 1; repeat <= 10; repeat++) {
                tn_parallel_for(n.ctx, rows, outer_task, &n);
                for (int i = 0; i < 20; i++)
                    for (int j = 0; j < 10; j++) CHECK_INT(n.hits[i][j], i < rows ? repeat : 0);
            }
            CHECK_INT(atomic_load(&n.bad), 0);
            tn_ctx_free(n.ctx);
        }
}

/* ---- contexts beside each other ---------------------------------------------------------- */

static void *own_context(void *arg)
{
    int *ok = arg;
    for (int round = 0; round < 5; round++) {
        loop l = { .ctx = new_ctx(2), .threads = 2 };
        if (!l.ctx) return NULL;
        for (int n = 0; n < 150; n++)
            if (!run_once(&l, n)) return NULL;
        tn_fail(l.ctx, TN_ERR_ARG, "round %d", round);
        tn_ctx_free(l.ctx);
    }
    *ok = 1;
    return NULL;
}

TEST(parallel, two_contexts_in_two_threads)
{
    pthread_t t[2];
    int       ok[2] = { 0 };
    for (int i = 0; i < 2; i++) REQUIRE(pthread_create(&t[i], NULL, own_context, &ok[i]) == 0);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    CHECK(ok[0] && ok[1]);
}

static void inner_of_other(void *arg, int64_t i, int worker)
{
    (void)worker;
    ((int *)arg)[i]++;
}

typedef struct across {
    tn_ctx *ctx[2]; /* one for each of the outer tasks */
    int     hits[2][30];
} across;

static void outer_of_other(void *arg, int64_t i, int worker)
{
    across *a = arg;
    (void)worker;
    tn_parallel_for(a->ctx[i], 30, inner_of_other, a->hits[i]);
}

/* A loop of one context inside a task of another is not nested: contexts do not know each other. */
TEST(parallel, a_context_inside_a_task_of_another)
{
    tn_ctx *outer = new_ctx(2);
    across  a = { { new_ctx(2), new_ctx(2) }, { { 0 } } };
    REQUIRE(outer && a.ctx[0] && a.ctx[1]);
    for (int repeat = 1; repeat <= 20; repeat++) {
        tn_parallel_for(outer, 2, outer_of_other, &a);
        for (int i = 0; i < 60; i++) CHECK_INT(a.hits[i / 30][i % 30], repeat);
    }
    tn_ctx_free(outer), tn_ctx_free(a.ctx[0]), tn_ctx_free(a.ctx[1]);
}

typedef struct program_inside {
    tn_program *program;
    tn_status   status[30];
} program_inside;

static void run_inside(void *arg, int64_t i, int worker)
{
    program_inside *in = arg;
    (void)worker;
    in->status[i] = tn_run(in->program);
}

/* It would wait for the loop that it is in. */
TEST(parallel, a_program_inside_a_task_is_refused)
{
    tn_ctx        *ctx = new_ctx(2), *other = new_ctx(2);
    tn_graph      *g = tn_graph_new(ctx, TN_EVAL);
    tn_node       *y = tn_exp(tn_arange(g, TN_F32, 9, 0, 1));
    program_inside in = { .program = tn_compile(g, &y, 1, NULL) };
    REQUIRE(other && in.program);
    tn_parallel_for(ctx, 30, run_inside, &in);
    for (int i = 0; i < 30; i++) CHECK_INT(in.status[i], TN_ERR_BUSY);
    tn_clear_error(ctx);
    tn_parallel_for(other, 1, run_inside, &in);
    CHECK_INT(in.status[0], TN_OK);
    CHECK_INT(tn_run(in.program), TN_OK);
    tn_program_free(in.program), tn_graph_free(g), tn_ctx_free(ctx), tn_ctx_free(other);
}

static void fail_task(void *arg, int64_t i, int worker)
{
    (void)worker;
    tn_fail(arg, TN_ERR_INDEX, "row %d of %s", (int)i, "table");
}

/* Tasks may fail: one whole message stays. */
TEST(parallel, tasks_fail)
{
    tn_ctx *ctx = new_ctx(4);
    REQUIRE(ctx);
    for (int repeat = 0; repeat < 50; repeat++) {
        int row = -1;
        tn_parallel_for(ctx, 16, fail_task, ctx);
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_INDEX);
        CHECK_MSG(sscanf(tn_error(ctx), "row %d of table", &row) == 1 && row >= 0 && row < 16,
                  "message \"%s\"", tn_error(ctx));
        tn_clear_error(ctx);
    }
    tn_ctx_free(ctx);
}

TEST(parallel, many_contexts_come_and_go)
{
    for (int i = 0; i < 100; i++) {
        loop l = { .threads = 1 + i % 4 };
        l.ctx = new_ctx(l.threads);
        REQUIRE(l.ctx);
        if (i % 3) CHECK(run_once(&l, i));
        tn_ctx_free(l.ctx);
    }
}

#if defined __linux__

TEST(threads, default_is_the_affinity_mask)
{
    cpu_set_t *old = malloc(sizeof *old), one;
    REQUIRE(old && sched_getaffinity(0, sizeof *old, old) == 0);
    tn_ctx *ctx = tn_ctx_new(NULL);
    REQUIRE(ctx);
    CHECK_INT(tn_ctx_threads(ctx), CPU_COUNT(old));
    tn_ctx_free(ctx);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, old)) CPU_SET(i, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    ctx = tn_ctx_new(NULL);
    CHECK(ctx && tn_ctx_threads(ctx) == 1);
    tn_ctx_free(ctx);
    loop l = { .ctx = new_ctx(4), .threads = 4, .busy_ns = 1000 };
    REQUIRE(l.ctx); /* four threads on one CPU still get along */
    for (int n = 0; n < 60; n++) CHECK(run_once(&l, n));
    tn_ctx_free(l.ctx);
    sched_setaffinity(0, sizeof *old, old);
    free(old);
}

/* Address space for some threads' stacks and not for all: no context, and those that were started
 * are gone. In a child, which gives its verdict as exit status. */
TEST(threads, creation_fails_cleanly)
{
#if defined TN_OPENMP
    SKIP("OpenMP makes its threads later");
#endif
    if (TN__SANITIZED) SKIP("a sanitizer needs the address space");
    fflush(NULL);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        struct rlimit limit = { (rlim_t)2 << 30, (rlim_t)2 << 30 };
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
        if (new_ctx(1000)) _exit(3);
        loop l = { .ctx = new_ctx(4), .threads = 4 };
        if (!l.ctx) _exit(4);
        bool ok = run_once(&l, 100);
        tn_ctx_free(l.ctx);
        _exit(ok ? 0 : 5);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK_MSG(WIFEXITED(status), "the child died of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == 3) SKIP("the limit does nothing: all 1000 threads were created");
    CHECK_INT(WEXITSTATUS(status), 0);
}

#endif

TEST_MAIN
