/* What a program leaves behind: its standard output, and files. */
#ifndef EXAMPLES_OUTPUT_H
#define EXAMPLES_OUTPUT_H

#include <stdbool.h>

/* The last call of a program: closes the standard output. Gives status, or 1 instead of 0, said on
 * stderr, where something could not be written. */
int output_end(const char *program, int status);

/* Why no file can be kept at path, which the library's saving would replace; NULL: one can. Found
 * out by making one beside it, which is removed. */
const char *output_refused(const char *path);

/* Prints x with so many digits behind the point; one that is very large, as of a training that goes
 * wrong, by a power of ten. */
void output_number(double x, int digits);

/* "" for one, "s" for any other number of them. */
static inline const char *output_s(long long n) { return n == 1 ? "" : "s"; }

/* Prints a word of a command to copy, such as a path: in a shell's quotes where it needs them. */
void output_word(const char *word);

#endif
