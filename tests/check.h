/* One header for tests, with a small runner at its end. With Criterion (TN_HAVE_CRITERION) each
 * TEST is a Criterion test instead. A check that fails says where, what was expected, what came and
 * the tolerance, and the test goes on; REQUIRE ends it.
 *
 *     #include "check.h"
 *     TEST(shape, broadcast) { CHECK(ok); CHECK_INT(n, 6); CHECK_NEAR(y, 0.5, 1e-12); }
 *     TEST_MAIN
 */
#ifndef TN_TESTS_CHECK_H
#define TN_TESTS_CHECK_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures;

__attribute__((format(printf, 3, 4), unused)) static void check_fail(const char *file, int line,
                                                                     const char *format, ...);

/* Bitwise-equal values, NaNs, and infinities of one sign are near each other. */
__attribute__((unused)) static bool check_is_near(double got, double want, double tolerance)
{
    if (got == want || (isnan(got) && isnan(want))) return true;
    return fabs(got - want) <= tolerance;
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) check_fail(__FILE__, __LINE__, "expected: %s", #condition);              \
    } while (0)

/* CHECK with a message of its own: CHECK_MSG(n == 3, "%s: %d rows", name, n). */
#define CHECK_MSG(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) check_fail(__FILE__, __LINE__, __VA_ARGS__);                             \
    } while (0)

#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        long long check_g = (long long)(got), check_w = (long long)(want);                         \
        if (check_g != check_w)                                                                    \
            check_fail(__FILE__, __LINE__, "%s: expected %lld, got %lld", #got, check_w, check_g); \
    } while (0)

#define CHECK_NEAR(got, want, tolerance)                                                           \
    do {                                                                                           \
        double check_g = (got), check_w = (want), check_t = (tolerance);                           \
        if (!check_is_near(check_g, check_w, check_t))                                             \
            check_fail(__FILE__, __LINE__, "%s: expected %.17g, got %.17g, tolerance %g", #got,    \
                       check_w, check_g, check_t);                                                 \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        const char *check_g = (got), *check_w = (want);                                            \
        if (!check_g || strcmp(check_g, check_w) != 0)                                             \
            check_fail(__FILE__, __LINE__, "%s: expected \"%s\", got \"%s\"", #got, check_w,       \
                       check_g ? check_g : "(null)");                                              \
    } while (0)

/* got contains part: for error messages. */
#define CHECK_CONTAINS(got, part)                                                                  \
    do {                                                                                           \
        const char *check_g = (got), *check_p = (part);                                            \
        if (!check_g || !strstr(check_g, check_p))                                                 \
            check_fail(__FILE__, __LINE__, "%s: expected something with \"%s\", got \"%s\"", #got, \
                       check_p, check_g ? check_g : "(null)");                                     \
    } while (0)

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_fail(__FILE__, __LINE__, "required: %s", #condition);                            \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* Says why a test cannot run here, and ends it: data that is missing, an instruction set. */
#define SKIP(...)                                                                                  \
    do {                                                                                           \
        printf("skipped: ");                                                                       \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        return;                                                                                    \
    } while (0)

/* part: of "suite/name"; NULL: every test is wanted. */
static bool check_is_wanted(const char *suite, const char *name, const char *part)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", suite, name);
    return !part || strstr(full, part);
}

/* A run of no test is an error: nothing failed in it, but nothing was tested. */
static int check_none(const char *program, const char *part)
{
    fprintf(stderr, "%s: there is no test %s\n", program, part ? part : "at all");
    return 2;
}

/* The command line's one word, a part of the names of the tests to run. */
static bool check_reads(int argc, char **argv, const char **part)
{
    *part = argc > 1 ? argv[1] : NULL;
    if (argc > 2) fprintf(stderr, "usage: %s [PART OF A TEST'S NAME]\n", argv[0]);
    return argc <= 2;
}

#ifdef TN_HAVE_CRITERION

#include <criterion/criterion.h>
#include <criterion/internal/ordered-set.h>
#define TEST(suite, name) Test(suite, name, .timeout = 600)

static void check_fail(const char *file, int line, const char *format, ...)
{
    char    text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check_failures++;
    cr_expect(false, "%s:%d: %s", file, line, text);
}

/* A line that begins with an option is Criterion's own. */
static int check_main(int argc, char **argv)
{
    const char *part = NULL;
    int         status = 0, wanted = 0;
    bool        is_criterions = argc > 1 && argv[1][0] == '-';
    if (!is_criterions && !check_reads(argc, argv, &part)) return 2;
    struct criterion_test_set *set = criterion_initialize();
    if (!is_criterions || criterion_handle_args(argc, argv, true)) {
        FOREACH_SET(struct criterion_suite_set *s, set->suites)
            FOREACH_SET(struct criterion_test *t, s->tests)
                if (check_is_wanted(t->category, t->name, part)) wanted++;
                else t->data->disabled = true;
        status = wanted > 0 ? !criterion_run_all_tests(set) : check_none(argv[0], part);
    }
    criterion_finalize(set);
    return status;
}

#else

#if !defined _WIN32
#  include <sys/wait.h>
#  include <unistd.h>
#endif

static void check_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    check_failures++;
}

typedef struct check_test {
    const char        *suite, *name;
    void             (*run)(void);
    struct check_test *next;
} check_test;
static check_test *check_first, **check_last = &check_first;

#define TEST(suite_, name_)                                                                        \
    static void suite_##_##name_##_test(void);                                                     \
    __attribute__((constructor)) static void suite_##_##name_##_register(void)                     \
    {                                                                                              \
        static check_test t = { #suite_, #name_, suite_##_##name_##_test, NULL };                  \
        *check_last = &t, check_last = &t.next;                                                    \
    }                                                                                              \
    static void suite_##_##name_##_test(void)

/* In a process of its own, so that one that crashes is named and hides no other; in this one with
 * TN_NO_FORK in the environment, for debuggers and whoever looks at one process alone. */
static bool check_passes(const check_test *t)
{
#if !defined _WIN32
    if (!getenv("TN_NO_FORK")) {
        int status = 0;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            t->run();
            exit(check_failures > 0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child) perror("a process for a test");
        else if (WIFSIGNALED(status))
            fprintf(stderr, "%s/%s died of signal %d, %s\n", t->suite, t->name, WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
        else if (WEXITSTATUS(status) > 1)
            fprintf(stderr, "%s/%s ended with status %d\n", t->suite, t->name,
                    WEXITSTATUS(status));
        return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
#endif
    int before = check_failures;
    t->run();
    return check_failures == before;
}

/* Runs every test, or those that are named; exits 1 if one failed, 2 if there is none. */
static int check_main(int argc, char **argv)
{
    const char *part;
    int         passed = 0, failed = 0;
    if (!check_reads(argc, argv, &part)) return 2;
    for (check_test *t = check_first; t; t = t->next) {
        if (!check_is_wanted(t->suite, t->name, part)) continue;
        bool ok = check_passes(t);
        if (!ok) fprintf(stderr, "FAILED %s/%s\n", t->suite, t->name);
        ok ? passed++ : failed++;
    }
    if (passed + failed == 0) return check_none(argv[0], part);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}

#endif

#define TEST_MAIN                                                                                  \
    int main(int argc, char **argv) { return check_main(argc, argv); }

#endif
