/* The foundations: status, dtypes, shapes, views, a context's memory and errors. */
#include "check.h"

#include "tensor/internal.h"

#if defined __linux__
#  include <sys/mman.h>
#  include <unistd.h>
#endif

static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads });
}

/* ---- words ------------------------------------------------------------------------------- */

TEST(base, status_and_dtype_texts)
{
    CHECK_STR(tn_status_text(TN_OK), "ok");
    CHECK_STR(tn_status_text(TN_ERR_MEMORY), "out of memory");
    CHECK_STR(tn_status_text(TN_ERR_UNSUPPORTED), "not supported");
    CHECK_STR(tn_status_text((tn_status)1000), "unknown status");
    CHECK_STR(tn_status_text((tn_status)-1), "unknown status");
    static const struct {
        tn_dtype    dtype;
        size_t      size;
        const char *name;
    } want[] = { { TN_F32, 4, "f32" }, { TN_F64, 8, "f64" }, { TN_I32, 4, "i32" },
                 { TN_I64, 8, "i64" }, { TN_U8, 1, "u8" },   { TN_BOOL, 1, "bool" },
                 { TN_F16, 2, "f16" }, { TN_BF16, 2, "bf16" } };
    CHECK_INT(sizeof want / sizeof want[0], TN_N_DTYPES);
    for (int i = 0; i < TN_N_DTYPES; i++) {
        CHECK_INT(tn_dtype_size(want[i].dtype), want[i].size);
        CHECK_STR(tn_dtype_name(want[i].dtype), want[i].name);
    }
    CHECK_INT(tn_dtype_size(TN_N_DTYPES), 0);
    CHECK_STR(tn_dtype_name((tn_dtype)-1), "?");
    CHECK(tn_dtype_is_float(TN_F64) && !tn_dtype_is_float(TN_BF16));
    CHECK(tn_dtype_is_index(TN_I64) && !tn_dtype_is_index(TN_U8));
}

/* ---- shapes ------------------------------------------------------------------------------ */

TEST(shape, size_and_equality)
{
    tn_shape s = TN_SHAPE(2, 3, 4), same = TN_SHAPE(2, 3, 4), other = TN_SHAPE(2, 3);
    tn_shape scalar = TN_SCALAR, empty = TN_SHAPE(5, 0, 7);
    CHECK_INT(s.rank, 3);
    CHECK_INT(tn_shape_size(&s), 24);
    CHECK_INT(tn_shape_size(&scalar), 1);
    CHECK_INT(tn_shape_size(&empty), 0);
    CHECK(tn_shape_equal(&s, &same));
    CHECK(!tn_shape_equal(&s, &other));
    same.dim[5] = 9; /* beyond the rank: does not count */
    CHECK(tn_shape_equal(&s, &same));
}

TEST(shape, of_bad_rank)
{
    int64_t  dims[TN_MAX_RANK + 1] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    tn_shape s = tn_shape_of(TN_MAX_RANK, dims);
    CHECK_INT(s.rank, TN_MAX_RANK);
    CHECK_INT(tn_shape_size(&s), 40320);
    CHECK_INT(tn_shape_of(TN_MAX_RANK + 1, dims).rank, -1);
    CHECK_INT(tn_shape_of(-1, dims).rank, -1);
    CHECK_INT(tn_shape_of(2, NULL).rank, -1);
    CHECK_INT(tn_shape_of(0, NULL).rank, 0);
    CHECK_INT(tn_shape_of(0x7fffffff, dims).rank, -1);
    s = tn_shape_of(-1, NULL);
    CHECK_INT(tn_shape_size(&s), 0);
}

TEST(shape, size_saturates)
{
    tn_shape s = TN_SHAPE(INT64_C(1) << 40, INT64_C(1) << 40), zero = TN_SHAPE(INT64_MAX, 16, 0);
    CHECK_INT(tn_shape_size(&s), INT64_MAX);
    CHECK_INT(tn_shape_size(&zero), 0);
}

static void check_broadcast(tn_shape a, tn_shape b, const char *want)
{
    char     ta[96], tb[96], text[96];
    tn_shape out = TN_SHAPE(77);
    for (int flip = 0; flip < 2; flip++) {
        bool ok = flip ? tn_shape_broadcast(&b, &a, &out) : tn_shape_broadcast(&a, &b, &out);
        tn_shape_text(&out, text, sizeof text);
        CHECK_MSG(ok == !!want && !strcmp(text, want ? want : "[77]"),
                  "%s with %s: expected %s, got %s", tn_shape_text(&a, ta, sizeof ta),
                  tn_shape_text(&b, tb, sizeof tb), want ? want : "false, untouched", text);
    }
}

TEST(shape, broadcast)
{
    check_broadcast(TN_SHAPE(2, 3), TN_SHAPE(2, 3), "[2,3]");
    check_broadcast(TN_SHAPE(2, 1), TN_SHAPE(1, 3), "[2,3]");
    check_broadcast(TN_SHAPE(4, 2, 3), TN_SHAPE(3), "[4,2,3]");
    check_broadcast(TN_SHAPE(4, 2, 3), TN_SCALAR, "[4,2,3]");
    check_broadcast(TN_SCALAR, TN_SCALAR, "[]");
    check_broadcast(TN_SHAPE(0), TN_SHAPE(1), "[0]");
    check_broadcast(TN_SHAPE(0), TN_SHAPE(0), "[0]");
    check_broadcast(TN_SHAPE(2, 0), TN_SHAPE(2, 1), "[2,0]");
    check_broadcast(TN_SHAPE(1, 1, 1, 1, 1, 1, 1, 1), TN_SHAPE(2), "[1,1,1,1,1,1,1,2]");
    check_broadcast(TN_SHAPE(2), TN_SHAPE(3), NULL);
    check_broadcast(TN_SHAPE(0), TN_SHAPE(2), NULL);
    check_broadcast(TN_SHAPE(4), TN_SHAPE(2), NULL); /* a multiple is not a broadcast */
    check_broadcast(TN_SHAPE(2, 3), TN_SHAPE(2), NULL);
    check_broadcast(tn_shape_of(-1, NULL), TN_SHAPE(2), NULL);
}

TEST(shape, broadcast_in_place)
{
    tn_shape a = TN_SHAPE(3, 1), b = TN_SHAPE(5, 1, 4), want = TN_SHAPE(5, 3, 4);
    CHECK(tn_shape_broadcast(&a, &b, &a));
    CHECK(tn_shape_equal(&a, &want));
}

TEST(shape, text)
{
    char     buf[64], tiny[4] = "xxx";
    tn_shape s = TN_SHAPE(2, 3), scalar = TN_SCALAR, bad = tn_shape_of(-1, NULL);
    CHECK_STR(tn_shape_text(&s, buf, sizeof buf), "[2,3]");
    CHECK_STR(tn_shape_text(&scalar, buf, sizeof buf), "[]");
    CHECK_STR(tn_shape_text(&bad, buf, sizeof buf), "[?]");
    CHECK_STR(tn_shape_text(&s, tiny, sizeof tiny), "[2,");
    CHECK_STR(tn_shape_text(&s, tiny, 1), "");
    CHECK_STR(tn_shape_text(&s, NULL, 0), "");
    tn_shape wide = TN_SHAPE(INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
                             INT64_MIN, INT64_MIN);
    for (size_t n = 1; n <= sizeof buf; n++) { /* every cut stays inside and ends in 0 */
        memset(buf, 'x', sizeof buf);
        tn_shape_text(&wide, buf, n);
        CHECK_INT(strlen(buf), n - 1);
    }
}

TEST(shape, axis)
{
    CHECK_INT(tn_axis(0, 3), 0);
    CHECK_INT(tn_axis(2, 3), 2);
    CHECK_INT(tn_axis(-1, 3), 2);
    CHECK_INT(tn_axis(-3, 3), 0);
    CHECK_INT(tn_axis(3, 3), -1);
    CHECK_INT(tn_axis(-4, 3), -1);
    CHECK_INT(tn_axis(0, 0), -1);
    CHECK_INT(tn_axis(-1, 0), -1);
    CHECK_INT(tn_axis(-2147483647 - 1, 8), -1);
}

TEST(shape, views)
{
    float     x[24];
    tn_tensor t = tn_tensor_of(x, TN_F32, TN_SHAPE(2, 3, 4));
    CHECK_INT(t.stride[0], 12);
    CHECK_INT(t.stride[1], 4);
    CHECK_INT(t.stride[2], 1);
    CHECK_INT(t.stride[3], 0);
    CHECK(tn_tensor_is_contiguous(&t));
    t.stride[0] = 4, t.stride[1] = 8;
    CHECK(!tn_tensor_is_contiguous(&t));
    t = tn_tensor_of(x, TN_F32, TN_SHAPE(2, 1, 4));
    t.stride[1] = 0; /* of a dimension of 1: no matter */
    CHECK(tn_tensor_is_contiguous(&t));
    t = tn_tensor_of(x, TN_F32, TN_SHAPE(2, 0));
    t.stride[0] = 99; /* nothing to address */
    CHECK(tn_tensor_is_contiguous(&t));
    t = tn_tensor_of(x, TN_F32, TN_SCALAR);
    CHECK(tn_tensor_is_contiguous(&t));
}

/* ---- a context's memory ------------------------------------------------------------------ */

TEST(context, options_and_defaults)
{
    tn_ctx *ctx = tn_ctx_new(NULL);
    REQUIRE(ctx);
    CHECK(tn_ctx_threads(ctx) >= 1);
    CHECK_INT(tn_ctx_seed(ctx), 0);
    CHECK_INT(tn_ctx_cpu(ctx), tn_cpu_detect());
    CHECK_INT(tn_ctx_memory(ctx), 0);
    CHECK_INT(tn_ctx_status(ctx), TN_OK);
    CHECK_STR(tn_error(ctx), "");
    tn__caches c = tn__ctx_caches(ctx);
    CHECK_MSG(c.l1d >= 16 << 10 && c.l2 >= 128 << 10 && c.l3 >= 1 << 20 && c.l3 <= 64 << 20,
              "caches of %lld, %lld and %lld bytes", (long long)c.l1d, (long long)c.l2,
              (long long)c.l3);
    tn_ctx_free(ctx);
    ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 3, .seed = 42 });
    REQUIRE(ctx);
    CHECK_INT(tn_ctx_threads(ctx), 3);
    CHECK_INT(tn_ctx_seed(ctx), 42);
    tn_ctx_free(ctx);
    tn_ctx_free(NULL);
    CHECK(!tn_ctx_new(&(tn_ctx_options){ .threads = -1 }));
    CHECK(!tn_ctx_new(&(tn_ctx_options){ .threads = 1 << 30 }));
}

TEST(context, cpu_level_is_capped)
{
    for (int level = TN_CPU_AUTO; level < TN_N_CPU_LEVELS; level++) {
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .cpu = (tn_cpu_level)level });
        REQUIRE(ctx);
        int has = tn_cpu_detect(), want = level == TN_CPU_AUTO || level > has ? has : level;
        CHECK_INT(tn_ctx_cpu(ctx), want);
        const tn_kernels *k = tn__ctx_kernels(ctx);
        CHECK((k == &tn__kernels_base) == (want == TN_CPU_BASE));
        tn_ctx_free(ctx);
    }
    CHECK_STR(tn_cpu_level_name(TN_CPU_BASE), "base");
    CHECK_STR(tn_cpu_level_name(TN_CPU_AVX2), "avx2");
    CHECK_STR(tn_cpu_level_name(TN_CPU_AVX512), "avx512");
    CHECK_STR(tn_cpu_level_name(TN_N_CPU_LEVELS), "?");
}

static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

TEST(memory, aligned_zeroed_counted)
{
    static const size_t sizes[] = { 0,    1,      63,              64,      65,
                                    1000, 100000, (4 << 20) - 200, 4 << 20, (9 << 20) + 1 };
    enum { N = sizeof sizes / sizeof sizes[0] };
    tn_ctx *ctx = new_ctx(1);
    char   *block[N];
    size_t  sum = 0;
    REQUIRE(ctx);
    for (int round = 0; round < 2; round++) { /* the second on used memory */
        for (int i = 0; i < N; i++) {
            block[i] = tn_alloc(ctx, sizes[i]);
            REQUIRE(block[i]);
            CHECK_INT((uintptr_t)block[i] % 64, 0);
            CHECK_MSG(is_zero(block[i], sizes[i]), "%zu bytes are not all zero", sizes[i]);
            memset(block[i], 0xff, sizes[i]);
            sum += sizes[i];
        }
        CHECK(tn_ctx_memory(ctx) >= sum / (size_t)(round + 1));
        CHECK(tn_ctx_memory(ctx) < sum + N * 128);
        for (int i = 0; i < N; i++) tn_free(ctx, block[i]);
        CHECK_INT(tn_ctx_memory(ctx), 0);
    }
    CHECK_INT(tn_ctx_allocations(ctx), 2 * N);
    CHECK(tn_ctx_memory_peak(ctx) >= sum / 2);
    tn_free(ctx, NULL);
    tn_ctx_free(ctx);
}

TEST(memory, pages)
{
    tn_ctx *ctx = new_ctx(1);
    REQUIRE(ctx);
    for (size_t size = 1; size < 20 << 20; size = size * 5 + 3) {
        char *p = tn__alloc_pages(ctx, size);
        REQUIRE(p);
        CHECK_INT((uintptr_t)p % 64, 0);
        if (size >= 4 << 20) CHECK_INT((uintptr_t)(p - 64) % (2 << 20), 0); /* 64: the head */
        memset(p, 1, size);
        tn_free(ctx, p);
    }
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* Pages of the block, and how many of them are in memory; none where the system does not tell. */
static size_t pages_of(const char *p, size_t size, size_t *there)
{
    size_t n = *there = 0;
#if defined __linux__
    static unsigned char pages[80 << 20 >> 12];
    const size_t         page = (size_t)sysconf(_SC_PAGESIZE), into = (uintptr_t)p % page;
    if (page < 4096 || mincore((char *)(uintptr_t)(p - into), size + into, pages) != 0) return 0;
    n = (size + into + page - 1) / page;
    for (size_t i = 0; i < n; i++) *there += pages[i] & 1;
#else
    (void)p, (void)size;
#endif
    return n;
}

/* Emulators of a user's programs take the request to make pages be there, and do nothing. */
static bool populates(void)
{
    bool is_honest = true;
#if defined __linux__ && defined MADV_POPULATE_WRITE
    unsigned char there = 0;
    const size_t  page = (size_t)sysconf(_SC_PAGESIZE);
    void         *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return true;
    if (madvise(p, page, MADV_POPULATE_WRITE) == 0 && mincore(p, page, &there) == 0)
        is_honest = there & 1;
    munmap(p, page);
#endif
    return is_honest;
}

TEST(memory, touched)
{
    if (!populates()) SKIP("the system does not make pages be there, and says that it does");
    for (int threads = 1; threads <= 3; threads++) {
        tn_ctx *ctx = new_ctx(threads);
        REQUIRE(ctx);
        for (size_t size = 1; size < 80 << 20; size = size < 16 << 20 ? size * 5 + 3 : size * 4) {
            char  *p = tn__alloc_touched(ctx, size);
            size_t there;
            REQUIRE(p);
            CHECK_MSG(pages_of(p, size, &there) == there, "%zu bytes: %zu pages are touched", size,
                      there);
            CHECK_MSG(is_zero(p, size), "%zu bytes are not all zero", size);
            tn_free(ctx, p);
        }
        CHECK_INT(tn_ctx_memory(ctx), 0);
        CHECK(!tn__alloc_touched(ctx, SIZE_MAX / 2));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_MEMORY);
        tn_ctx_free(ctx);
    }
    CHECK(!tn__alloc_touched(NULL, 1));
}

/* What nothing is written to takes no memory, in a part of a context either. */
TEST(memory, sparse)
{
    const size_t size = 24 << 20, step = 4 << 20;
    tn_ctx      *whole = new_ctx(2), *part = whole ? tn__ctx_part(whole, 1) : NULL;
    REQUIRE(part);
    for (int i = 0; i < 2; i++) {
        tn_ctx *ctx = i ? part : whole;
        char   *p = tn__alloc_sparse(ctx, size);
        size_t  there;
        REQUIRE(p);
        for (size_t at = 0; at < size; at += step) p[at] = 1;
        const size_t n = pages_of(p, size, &there);
        CHECK_MSG(there <= size / step + 2, "of %zu pages %zu are there", n, there);
        for (size_t at = 0; at < size; at += step) p[at] = 0;
        CHECK(is_zero(p, size));
        tn_free(ctx, p);
        CHECK((p = tn__alloc_sparse(ctx, 100)) && is_zero(p, 100));
        tn_free(ctx, p);
        CHECK(!tn__alloc_sparse(ctx, SIZE_MAX / 2));
    }
    CHECK(!tn__alloc_sparse(NULL, 1));
    tn_ctx_free(part), tn_ctx_free(whole);
}

TEST(memory, limit)
{
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .memory_limit = 10000 });
    REQUIRE(ctx);
    void *a = tn_alloc(ctx, 6000), *b = tn_alloc(ctx, 6000);
    CHECK(a && !b);
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    CHECK_CONTAINS(tn_error(ctx), "limit 10000");
    CHECK_CONTAINS(tn_error(ctx), "6080 more needed"); /* 6000 and the head, in lines of 64 */
    CHECK_CONTAINS(tn_error(ctx), "6080 bytes held");
    CHECK_INT(tn_ctx_allocations(ctx), 1); /* the allocator was not asked */
    tn_clear_error(ctx);
    tn_free(ctx, a);
    b = tn_alloc(ctx, 9000);
    CHECK(b);
    CHECK(tn_ctx_memory_peak(ctx) <= 10000);
    CHECK(!tn_alloc(ctx, SIZE_MAX / 2));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_LIMIT);
    tn_free(ctx, b);
    tn_ctx_free(ctx);
}

TEST(memory, absurd_sizes)
{
    tn_ctx *ctx = new_ctx(1);
    REQUIRE(ctx);
    for (size_t back = 0; back < 200; back += 7) {
        CHECK(!tn_alloc(ctx, SIZE_MAX - back));
        CHECK(!tn__alloc_pages(ctx, SIZE_MAX / 2 + back));
        CHECK_INT(tn_ctx_status(ctx), TN_ERR_MEMORY);
        tn_clear_error(ctx);
    }
    CHECK_INT(tn_ctx_memory(ctx), 0);
    CHECK(!tn_alloc(NULL, 1));
    tn_ctx_free(ctx);
}

/* An allocator that keeps books and fails the call numbered fail_at (from 1). */
typedef struct books {
    int    calls, fail_at, live;
    size_t bytes;
    bool   was_wrong;
} books;

static void *books_alloc(void *user, size_t size, size_t align)
{
    books *b = user;
    void  *p = NULL;
    if (++b->calls == b->fail_at) return NULL;
    if (posix_memalign(&p, align, size) != 0) return NULL;
    memset(p, 0xa5, size); /* not zeroed: a context must not take that for granted */
    b->live++;
    b->bytes += size;
    return p;
}

static void books_free(void *user, void *block, size_t size)
{
    books *b = user;
    if (!block || size > b->bytes) b->was_wrong = true;
    b->live--;
    b->bytes -= size;
    free(block);
}

TEST(memory, users_allocator_failing_each_call)
{
    enum { BLOCKS = 6 };
    for (int fail_at = 0; fail_at <= BLOCKS + 2; fail_at++) { /* 0: never; 1, 2: context, pool */
        books   b = { .fail_at = fail_at };
        tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){
            .threads = 2, .allocator = { books_alloc, books_free, &b } });
        void   *block[BLOCKS] = { 0 };
        int     failed = 0;
        if (!ctx) {
            CHECK_MSG(fail_at == 1 || fail_at == 2, "fail at %d: no context", fail_at);
            CHECK_INT(b.live, 0);
            continue;
        }
        for (int i = 0; i < BLOCKS; i++) {
            size_t size = i == 3 ? 5 << 20 : (size_t)(100 * i);
            block[i] = i == 4 ? tn__alloc_pages(ctx, size) : tn_alloc(ctx, size);
            failed += !block[i];
            if (block[i] && i != 4) CHECK(is_zero(block[i], size));
        }
        CHECK_INT(failed, fail_at > 0);
        CHECK_INT(tn_ctx_status(ctx), failed ? TN_ERR_MEMORY : TN_OK);
        if (failed) CHECK_CONTAINS(tn_error(ctx), "out of memory");
        tn_clear_error(ctx);
        void *again = tn_alloc(ctx, 10); /* usable after */
        CHECK(again);
        tn_free(ctx, again);
        for (int i = 0; i < BLOCKS; i++) tn_free(ctx, block[i]);
        CHECK_INT(tn_ctx_memory(ctx), 0);
        CHECK_INT(tn_ctx_allocations(ctx), BLOCKS + 1);
        tn_ctx_free(ctx);
        CHECK_INT(b.live, 0);
        CHECK_INT(b.bytes, 0);
        CHECK(!b.was_wrong);
    }
}

/* Hands out pieces of one array and takes nothing back. */
typedef struct bump {
    _Alignas(64) char room[1 << 16];
    size_t used;
} bump;

static void *bump_alloc(void *user, size_t size, size_t align)
{
    bump  *b = user;
    size_t at = (b->used + align - 1) / align * align;
    if (at > sizeof b->room || size > sizeof b->room - at) return NULL;
    b->used = at + size;
    return b->room + at;
}

TEST(memory, allocator_without_free)
{
    static bump b;
    tn_ctx     *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 2,
                                                    .allocator = { bump_alloc, NULL, &b } });
    REQUIRE(ctx);
    void *p = tn_alloc(ctx, 1000);
    CHECK(p);
    CHECK(!tn_alloc(ctx, sizeof b.room));
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_MEMORY);
    tn_free(ctx, p);
    CHECK_INT(tn_ctx_memory(ctx), 0);
    tn_ctx_free(ctx);
}

/* ---- errors ------------------------------------------------------------------------------ */

TEST(error, first_one_stays)
{
    tn_ctx *ctx = new_ctx(1);
    REQUIRE(ctx);
    CHECK_INT(tn_fail(ctx, TN_OK, "nothing"), TN_OK);
    CHECK_INT(tn_ctx_status(ctx), TN_OK);
    CHECK_INT(tn_fail(ctx, TN_ERR_SHAPE, "matmul: inner dimensions %d and %d differ", 3, 4),
              TN_ERR_SHAPE);
    CHECK_INT(tn_fail(ctx, TN_ERR_ARG, "a later one"), TN_ERR_ARG); /* returns its own status */
    CHECK_INT(tn_ctx_status(ctx), TN_ERR_SHAPE);
    CHECK_STR(tn_error(ctx), "matmul: inner dimensions 3 and 4 differ");
    tn_clear_error(ctx);
    CHECK_INT(tn_ctx_status(ctx), TN_OK);
    CHECK_STR(tn_error(ctx), "");
    tn_fail(ctx, TN_ERR_ARG, "a later one");
    CHECK_STR(tn_error(ctx), "a later one");
    tn_ctx_free(ctx);
}

TEST(error, long_and_missing_messages)
{
    char   *text = malloc(5001);
    tn_ctx *ctx = new_ctx(1);
    REQUIRE(ctx && text);
    memset(text, 'y', 5000), text[5000] = 0;
    tn_fail(ctx, TN_ERR_IO, "%s", text);
    CHECK_INT(strlen(tn_error(ctx)), 511);
    CHECK_INT(tn_ctx_allocations(ctx), 0);
    tn_clear_error(ctx);
    tn_status (*fail)(tn_ctx *, tn_status, const char *, ...) = tn_fail; /* no format check */
    fail(ctx, TN_ERR_FORMAT, NULL);
    CHECK_STR(tn_error(ctx), "malformed file or text");
    tn_ctx_free(ctx);
    free(text);
}

TEST(error, without_a_context)
{
    CHECK_INT(tn_fail(NULL, TN_ERR_ARG, "nobody hears this"), TN_ERR_ARG);
    CHECK_CONTAINS(tn_error(NULL), "no context");
    CHECK_INT(tn_ctx_status(NULL), TN_ERR_ARG);
    CHECK_INT(tn_ctx_threads(NULL), 0);
    CHECK_INT(tn_ctx_memory(NULL), 0);
    tn_clear_error(NULL);
    tn_free(NULL, NULL);
}

static void keep_line(void *user, tn_log_level level, const char *message)
{
    snprintf(user, 64, "%d %s", (int)level, message);
}

TEST(context, log_and_entering)
{
    char    line[64] = "";
    tn_ctx *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = 1, .log = keep_line, .log_user = line });
    REQUIRE(ctx);
    CHECK_CONTAINS(line, "0 1 threads, ");
    tn__note(ctx, TN_LOG_WARNING, "%d rows", 3);
    CHECK_STR(line, "1 3 rows");
    tn__note(NULL, TN_LOG_INFO, "nobody");
    CHECK(tn__ctx_enter(ctx));
    CHECK(!tn__ctx_enter(ctx));
    tn__ctx_leave(ctx);
    CHECK(tn__ctx_enter(ctx));
    tn_ctx_free(ctx);
}

TEST_MAIN
