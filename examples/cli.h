/* Command lines of the examples and benches: --name value, --name=value, --flag, and --help made of
 * the same table. */
#ifndef EXAMPLES_CLI_H
#define EXAMPLES_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cli_kind { CLI_HEADING, CLI_FLAG, CLI_INT, CLI_REAL, CLI_TEXT } cli_kind;

typedef struct cli_option {
    cli_kind    kind;
    const char *name;  /* without dashes; of a heading, its text */
    void       *value; /* bool, int64_t, double, const char * */
    const char *unit;  /* of the value: "N", "FILE" */
    const char *help;
} cli_option;

typedef enum cli_result { CLI_GO_ON, CLI_HELP, CLI_WRONG } cli_result;

/* Sets the values of what is given. Help goes to stdout, what is wrong to stderr: numbers below
 * zero too. */
cli_result cli_parse(int argc, char **argv, const char *about, const cli_option *options, int n);

/* All values as lines "name=value", cut to size; and values from such lines, whose texts stay where
 * they are: text must live on. False: a line is wrong. */
void cli_write(const cli_option *options, int n, char *text, size_t size);
bool cli_read(char *text, const cli_option *options, int n);

/* Is text one of the choices ("a|b|c")? Says on stderr what they are if not. Its number, or -1. */
int cli_choice(const char *name, const char *text, const char *choices);

#endif
