/* Command lines of the examples and benches. */
#include "cli.h"

#include <libtensor.h>

#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(char **argv)
{
    return strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
}

static const char *parsed_for = ""; /* the program */

/* ---- values ---------------------------------------------------------------------------------- */

static bool is_int(const cli_option *o) { return o->kind >= CLI_INT && o->kind <= CLI_BEAM; }
static bool is_real(const cli_option *o) { return o->kind >= CLI_REAL; }

static const struct {
    double least, most; /* the largest of its type: there is no most */
} ranges[] = {
    [CLI_INT] = { 0, (double)INT64_MAX }, [CLI_COUNT] = { 1, 1 << 30 },
    [CLI_BATCHES] = { 1, 65536 },         [CLI_THREADS] = { 0, 1024 },
    [CLI_BEAM] = { 1, 32 },
    [CLI_REAL] = { 0, DBL_MAX },          [CLI_POSITIVE] = { DBL_MIN, DBL_MAX },
    [CLI_PART] = { 0, 1 },                [CLI_DECAY] = { 0, 1 - DBL_EPSILON / 2 },
};

static bool is_in_range(const cli_option *o)
{
    double x = 0;
    if (is_int(o)) x = (double)*(int64_t *)o->value;
    else if (is_real(o)) x = *(double *)o->value;
    else return true;
    return x >= ranges[o->kind].least && x <= ranges[o->kind].most;
}

/* On stderr, what it may be; text: NULL where the line ends before it. */
static void tell_wanted(const cli_option *o, const char *program, const char *text)
{
    double least = ranges[o->kind].least, most = ranges[o->kind].most;
    fprintf(stderr, "%s: --%s wants ", program, o->name);
    if (o->kind == CLI_TEXT) fprintf(stderr, "%s", o->unit);
    else fprintf(stderr, "a %snumber ", is_int(o) ? "whole " : "");
    if (o->kind == CLI_POSITIVE) fprintf(stderr, "of more than 0");
    else if (o->kind == CLI_DECAY) fprintf(stderr, "of 0 or more and less than 1");
    else if (o->kind == CLI_INT || o->kind == CLI_REAL) fprintf(stderr, "of 0 or more");
    else if (o->kind != CLI_TEXT) fprintf(stderr, "from %.0f to %.0f", least, most);
    fprintf(stderr, ", not %s\n", text ? text : "the end of the line");
}

/* A value of its type; it may be out of range. */
static bool set(const cli_option *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (o->kind == CLI_TEXT) *(const char **)o->value = text;
    else if (is_real(o)) *(double *)o->value = strtod(text, &end);
    else *(int64_t *)o->value = strtoll(text, &end, 10);
    return o->kind == CLI_TEXT || (end != text && !*end && !errno);
}

/* ---- the command line ------------------------------------------------------------------------ */

static void help(const char *program, const char *about, const cli_option *options, int n)
{
    printf("usage: %s [options]\n\n%s\nDefaults stand in brackets.\n", program, about);
    for (int i = 0; i < n; i++) {
        const cli_option *o = &options[i];
        char              left[48];
        if (o->kind == CLI_HEADING) {
            printf("\n%s\n", o->name);
            continue;
        }
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->unit ? " " : "",
                 o->unit ? o->unit : "");
        printf("  %-24s %s", left, o->help);
        if (is_int(o) && *(int64_t *)o->value > 0)
            printf(" [%lld]", (long long)*(int64_t *)o->value);
        if (is_real(o) && *(double *)o->value > 0) printf(" [%g]", *(double *)o->value);
        if (o->kind == CLI_TEXT && *(const char **)o->value && **(const char **)o->value)
            printf(" [%s]", *(const char **)o->value);
        printf("\n");
    }
    printf("  %-24s %s\n", "--help", "show this");
}

static const cli_option *find(const cli_option *options, int n, const char *name, size_t length)
{
    for (int i = 0; i < n; i++)
        if (options[i].kind != CLI_HEADING && strlen(options[i].name) == length &&
            memcmp(options[i].name, name, length) == 0)
            return &options[i];
    return NULL;
}

cli_result cli_parse(int argc, char **argv, const char *about, const cli_option *options, int n)
{
    const char *program = parsed_for = name_of(argv);
    for (int i = 1; i < argc; i++) {
        const char       *word = argv[i], *value = strchr(word, '=');
        size_t            length = value ? (size_t)(value - word) : strlen(word);
        const cli_option *o =
            strncmp(word, "--", 2) == 0 ? find(options, n, word + 2, length - 2) : NULL;
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            help(program, about, options, n);
            return CLI_HELP;
        }
        if (!o) {
            fprintf(stderr, "%s: there is no option %s; --help lists them\n", program, word);
            return CLI_WRONG;
        }
        if (o->kind == CLI_FLAG) {
            if (value) fprintf(stderr, "%s: --%s takes no value\n", program, o->name);
            if (value) return CLI_WRONG;
            *(bool *)o->value = true;
            continue;
        }
        if (value) value++;
        else if (i + 1 < argc) value = argv[++i];
        if (!value || !set(o, value) || !is_in_range(o))
            return tell_wanted(o, program, value), CLI_WRONG;
    }
    return CLI_GO_ON;
}

/* ---- kept in a file -------------------------------------------------------------------------- */

/* So many that the number comes back as it is: 0.1 as 0.1. */
static int digits(double x)
{
    char text[40];
    snprintf(text, sizeof text, "%.15g", x);
    return strtod(text, NULL) == x ? 15 : 17;
}

/* False: not all of it. A stream in memory that cannot grow says so here, and not when it ends. */
static bool write_value(FILE *to, const cli_option *o)
{
    int n = 0;
    if (o->kind == CLI_FLAG) n = fprintf(to, "%s=%d\n", o->name, *(bool *)o->value);
    if (is_int(o)) n = fprintf(to, "%s=%lld\n", o->name, (long long)*(int64_t *)o->value);
    if (is_real(o))
        n = fprintf(to, "%s=%.*g\n", o->name, digits(*(double *)o->value), *(double *)o->value);
    if (o->kind == CLI_TEXT && *(const char **)o->value)
        n = fprintf(to, "%s=%s\n", o->name, *(const char **)o->value);
    return n >= 0;
}

char *cli_write(const char *before, const cli_option *options, int n)
{
    char  *text = NULL;
    size_t size = 0;
    FILE  *to = open_memstream(&text, &size);
    bool   ok = to && fputs(before, to) >= 0;
    for (int i = 0; ok && i < n; i++) ok = write_value(to, &options[i]);
    if (to && fclose(to) == 0 && ok) return text;
    return free(text), NULL;
}

bool cli_can_write(const char *program, const cli_option *options, int n)
{
    for (int i = 0; i < n; i++) {
        const cli_option *o = &options[i];
        const char       *text = o->kind == CLI_TEXT ? *(const char **)o->value : NULL;
        if (!text || (!strchr(text, '\n') && tn_text_is_utf8(tn_text_of(text)))) continue;
        fprintf(stderr, "%s: --%s: a name %s cannot be saved\n", program, o->name,
                strchr(text, '\n') ? "with a line break" : "that is not UTF-8");
        return false;
    }
    return true;
}

bool cli_read(char *text, const cli_option *options, int n)
{
    while (*text) {
        char  *line = text, *value = strchr(line, '=');
        size_t length = strcspn(line, "\n");
        text += length + (line[length] == '\n');
        line[length] = 0;
        const cli_option *o = value ? find(options, n, line, (size_t)(value - line)) : NULL;
        if (o && o->kind == CLI_FLAG) *(bool *)o->value = strcmp(value + 1, "1") == 0;
        else if (!o || !set(o, value + 1) || !is_in_range(o)) return false;
    }
    return true;
}

/* The lines of the options that `names` has. */
static char *write_named(const cli_option *options, int n, const char *names)
{
    char  *text = NULL;
    size_t size = 0, length;
    FILE  *to = open_memstream(&text, &size);
    bool   ok = to != NULL;
    for (; ok && *names; names += length + (names[length] == '|')) {
        length = strcspn(names, "|");
        const cli_option *o = find(options, n, names, length);
        if (o) ok = write_value(to, o);
    }
    if (to && fclose(to) == 0 && ok) return text;
    return free(text), NULL;
}

cli_result cli_parse_over(int argc, char **argv, const cli_option *options, int n,
                          const char *fixed, const char *file)
{
    size_t     line = 0, at = 0;
    char      *was = write_named(options, n, fixed);
    cli_result r = cli_parse(argc, argv, "", options, n);
    char      *is = write_named(options, n, fixed);
    if (!was || !is) {
        fprintf(stderr, "%s: no memory\n", name_of(argv));
        r = CLI_WRONG;
    } else if (r == CLI_GO_ON && strcmp(was, is) != 0) {
        for (; was[at] == is[at]; at++)
            if (was[at] == '\n') line = at + 1;
        fprintf(stderr, "%s: --%.*s cannot change any more: %s has %.*s\n", name_of(argv),
                (int)strcspn(was + line, "="), was + line, file, (int)strcspn(was + line, "\n"),
                was + line);
        r = CLI_WRONG;
    }
    free(was), free(is);
    return r;
}

/* ---- choices --------------------------------------------------------------------------------- */

int cli_choice(const char *name, const char *text, const char *choices)
{
    int i = 0;
    for (const char *c = choices; *c; i++) {
        size_t n = strcspn(c, "|");
        if (strlen(text) == n && memcmp(c, text, n) == 0) return i;
        c += n + (c[n] == '|');
    }
    fprintf(stderr, "%s%s--%s %s: it is one of %s\n", parsed_for, *parsed_for ? ": " : "", name,
            text, choices);
    return -1;
}
