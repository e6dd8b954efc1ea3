/* The examples' lines: what is there is given at once, however it comes. */
#include "examples/lines.h"

#include "check.h"

#include <unistd.h>

static void check_next(lines *l, int fd, int n, const char *first, const char *last)
{
    REQUIRE(lines_next(l, fd));
    CHECK_INT(l->n, n);
    if (l->n != n || n == 0) return;
    const tn_text *a = &l->text[0], *b = &l->text[n - 1];
    CHECK_INT(a->length, strlen(first));
    CHECK(a->length == strlen(first) && memcmp(a->bytes, first, a->length) == 0);
    CHECK_INT(b->length, strlen(last));
    CHECK(b->length == strlen(last) && memcmp(b->bytes, last, b->length) == 0);
}

static void say(int fd, const char *text)
{
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

TEST(lines, none_waits_for_another)
{
    static lines l;
    int          fd[2];
    REQUIRE(pipe(fd) == 0);
    say(fd[1], "one\n");
    check_next(&l, fd[0], 1, "one", "one");
    say(fd[1], "two\n\nthree\r\nfo");
    check_next(&l, fd[0], 3, "two", "three");
    CHECK_INT(l.text[1].length, 0);
    say(fd[1], "ur\n");
    check_next(&l, fd[0], 1, "four", "four");
    say(fd[1], "the last, without an end");
    close(fd[1]);
    check_next(&l, fd[0], 1, "the last, without an end", "the last, without an end");
    check_next(&l, fd[0], 0, NULL, NULL);
    check_next(&l, fd[0], 0, NULL, NULL);
    close(fd[0]);
    lines_free(&l);
    CHECK(!lines_next(&l, fd[0]));
    lines_free(&l);
}

/* More lines than are given at once, and lines of any length, one of which the buffer grows for. */
TEST(lines, many_and_long)
{
    enum { N = 3 * LINES_MOST / 2, LONG = 200000 };
    static lines l;
    char         text[16], line[16];
    FILE        *f = tmpfile();
    REQUIRE(f);
    for (int i = 0; i < N; i++) fprintf(f, "line %d\n", i);
    for (int i = 0; i < LONG; i++) fputc('x', f);
    fputs("\nend\n", f);
    REQUIRE(fflush(f) == 0 && lseek(fileno(f), 0, SEEK_SET) == 0);
    snprintf(text, sizeof text, "line %d", LINES_MOST - 1);
    check_next(&l, fileno(f), LINES_MOST, "line 0", text);
    snprintf(line, sizeof line, "line %d", LINES_MOST);
    check_next(&l, fileno(f), N - LINES_MOST + 2, line, "end");
    CHECK_INT(l.text[l.n - 2].length, LONG);
    check_next(&l, fileno(f), 0, NULL, NULL);
    fclose(f), lines_free(&l);
}

TEST_MAIN
