/* One header for tests. With Criterion (TN_HAVE_CRITERION) each TEST is a Criterion test; without
 * it the same functions run under the small runner at the end of this file. A check that fails says
 * where, what was expected, what came and the tolerance, and the test goes on; REQUIRE ends it.
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

#ifdef TN_HAVE_CRITERION

#include <criterion/criterion.h>
#define TEST(suite, name) Test(suite, name, .timeout = 600)
#define TEST_MAIN         typedef int check_main_is_criterions;

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

#else

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

/* Runs every test, or those whose "suite/name" contains argv[1]; exits 1 if a check failed. */
static int check_main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    for (check_test *t = check_first; t; t = t->next) {
        char full[256];
        snprintf(full, sizeof full, "%s/%s", t->suite, t->name);
        if (argc > 1 && !strstr(full, argv[1])) continue;
        int before = check_failures;
        t->run();
        bool ok = check_failures == before;
        if (!ok) fprintf(stderr, "FAILED %s\n", full);
        ok ? passed++ : failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
#define TEST_MAIN                                                                                  \
    int main(int argc, char **argv) { return check_main(argc, argv); }

#endif
#endif
