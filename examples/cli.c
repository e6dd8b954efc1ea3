/* Command lines of the examples and benches. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void help(const char *program, const char *about, const cli_option *options, int n)
{
    printf("usage: %s [options]\n\n%s\n", program, about);
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
        if (o->kind == CLI_INT && *(int64_t *)o->value > 0)
            printf(" [%lld]", (long long)*(int64_t *)o->value);
        if (o->kind == CLI_REAL && *(double *)o->value > 0) printf(" [%g]", *(double *)o->value);
        if (o->kind == CLI_TEXT && *(const char **)o->value)
            printf(" [%s]", *(const char **)o->value);
        printf("\n");
    }
    printf("  %-24s %s\n", "--help", "show this");
}

static bool set(const cli_option *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (o->kind == CLI_TEXT) *(const char **)o->value = text;
    else if (o->kind == CLI_REAL) *(double *)o->value = strtod(text, &end);
    else *(int64_t *)o->value = strtoll(text, &end, 10);
    return o->kind == CLI_TEXT || (end != text && !*end && !errno);
}

/* No option of these programs means anything by a number below zero. */
static bool is_below_zero(const cli_option *o)
{
    return (o->kind == CLI_INT && *(int64_t *)o->value < 0) ||
           (o->kind == CLI_REAL && !(*(double *)o->value >= 0));
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
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
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
        if (!value || !set(o, value)) {
            fprintf(stderr, "%s: --%s wants %s, not %s\n", program, o->name, o->unit,
                    value ? value : "the end of the line");
            return CLI_WRONG;
        }
        if (is_below_zero(o)) {
            fprintf(stderr, "%s: --%s wants %s of 0 or more, not %s\n", program, o->name, o->unit,
                    value);
            return CLI_WRONG;
        }
    }
    return CLI_GO_ON;
}

void cli_write(const cli_option *options, int n, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < n; i++) {
        const cli_option *o = &options[i];
        char             *to = text + used;
        size_t            room = size - used;
        int               wrote = 0;
        if (o->kind == CLI_FLAG) wrote = snprintf(to, room, "%s=%d\n", o->name, *(bool *)o->value);
        if (o->kind == CLI_INT)
            wrote = snprintf(to, room, "%s=%lld\n", o->name, (long long)*(int64_t *)o->value);
        if (o->kind == CLI_REAL)
            wrote = snprintf(to, room, "%s=%.17g\n", o->name, *(double *)o->value);
        if (o->kind == CLI_TEXT && *(const char **)o->value)
            wrote = snprintf(to, room, "%s=%s\n", o->name, *(const char **)o->value);
        used += wrote < (int)room ? (size_t)wrote : 0;
        text[used] = 0;
    }
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
        else if (!o || !set(o, value + 1)) return false;
    }
    return true;
}

int cli_choice(const char *name, const char *text, const char *choices)
{
    int i = 0;
    for (const char *c = choices; *c; i++) {
        size_t n = strcspn(c, "|");
        if (strlen(text) == n && memcmp(c, text, n) == 0) return i;
        c += n + (c[n] == '|');
    }
    fprintf(stderr, "--%s %s: it is one of %s\n", name, text, choices);
    return -1;
}
