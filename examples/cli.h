/* Command lines of the examples and benches: --name value, --name=value, --flag, and --help made of
 * the same table. */
#ifndef EXAMPLES_CLI_H
#define EXAMPLES_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value is, and what it may be. */
typedef enum cli_kind {
    CLI_HEADING,
    CLI_FLAG,
    CLI_TEXT,
    CLI_INT,      /* 0 or more */
    CLI_COUNT,    /* 1 to 2^30 */
    CLI_BATCHES,  /* 1 to 65,536 */
    CLI_THREADS,  /* 0 to 1024, the most of a context */
    CLI_BEAM,     /* 1 to 32, the most of a translator */
    CLI_REAL,     /* 0 or more */
    CLI_POSITIVE, /* a real number of more than 0 */
    CLI_PART,     /* 0 to 1 */
    CLI_DECAY     /* 0 or more, and less than 1 */
} cli_kind;

typedef struct cli_option {
    cli_kind    kind;
    const char *name;  /* without dashes; of a heading, its text */
    void       *value; /* bool, const char *, int64_t (INT .. BEAM), double (REAL .. DECAY) */
    const char *unit;  /* of the value: "N", "FILE" */
    const char *help;
} cli_option;

typedef enum cli_result { CLI_GO_ON, CLI_HELP, CLI_WRONG } cli_result;

/* Sets the values of what is given. Help goes to stdout, what is wrong to stderr: numbers that are
 * out of range too. */
cli_result cli_parse(int argc, char **argv, const char *about, const cli_option *options, int n);

/* A text, and behind it all values as lines "name=value"; to be freed (NULL: no memory). And values
 * from such lines, whose texts stay where they are: text must live on. False: a line is wrong. */
char *cli_write(const char *before, const cli_option *options, int n);
bool  cli_read(char *text, const cli_option *options, int n);

/* Is every value a line of UTF-8? Says on stderr which does not. */
bool cli_can_write(const char *program, const cli_option *options, int n);

/* What is given, over what was read of a file: it counts more. But what made the file's model is as
 * it was: the options that `fixed` names ("a|b|c") may be given with the file's value alone. */
cli_result cli_parse_over(int argc, char **argv, const cli_option *options, int n,
                          const char *fixed, const char *file);

/* Is text one of the choices ("a|b|c")? Says on stderr what they are if not, after the name of the
 * program whose options were parsed. Its number, or -1. */
int cli_choice(const char *name, const char *text, const char *choices);

#endif
