/* What the command lines of benches share: the rows of options that several have, and checks of
 * what is given, which say on stderr what it may be. examples/cli.h reads the lines. */
#ifndef TN_BENCH_OPTIONS_H
#define TN_BENCH_OPTIONS_H

#include "examples/cli.h"
#include "tensor/context.h"

#define TN_BENCH_THREADS(value) { CLI_INT, "threads", value, "N", "of the pool" }
#define TN_BENCH_JSON(value) { CLI_FLAG, "json", value, NULL, "one JSON object a line" }
#define TN_BENCH_TEXT(value)                                                                       \
    { CLI_TEXT, "text", value, "FILE", "pairs: a source, a tab and a target on each line" }
#define TN_BENCH_SENTENCES(value) { CLI_INT, "sentences", value, "N", "of the text; 0: all" }
#define TN_BENCH_LEVEL(name, value)                                                                \
    { CLI_TEXT, name, value, "NAME", "of instructions: base, avx2 or avx512 (the CPU's highest)" }
#define TN_BENCH_SIZE(value)                                                                       \
    { CLI_TEXT, "size", value, "NAME", "of the model: tiny, small, base, gpt8k or gpt2" }
#define TN_BENCH_PAIR_SIZE(value)                                                                  \
    { CLI_TEXT, "size", value, "NAME", "of the model: tiny, small or base" }

/* What a program ends with: code, or 1 if what it printed could not be written. */
int tn_bench_end(int code);

/* Reads the line. GO_ON, or what the program is to end with: 0 after --help, 2 for a wrong line. */
enum { TN_BENCH_GO_ON = -1 };
int tn_bench_parse(int argc, char **argv, const char *about, const cli_option *table, int n);

enum { TN_BENCH_MAX_THREADS = 1024 };
bool tn_bench_is_within(const char *option, int64_t value, int64_t least, int64_t most);
bool tn_bench_is_sample(double ms); /* of --ms: a minute at most */

/* The level of that name; NULL: what the CPU has. */
bool tn_bench_level_of(const char *option, const char *name, tn_cpu_level *level);

/* add(to, part) for each part of a list that semicolons cut, until one is refused: then false, as
 * for a list of nothing. */
bool tn_bench_each_of(const char *option, const char *list,
                      bool (*add)(void *to, const char *part), void *to);

/* Numbers from 1 that commas cut, n at most, whose product is no more than a bench can do (2^50):
 * how many there are. What follows them is in *rest, "" at the end of the list. */
int tn_bench_numbers(const char *list, int64_t *to, int n, const char **rest);

#endif
