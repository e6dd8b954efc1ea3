/* Lines of a file or pipe, as they come: those that are there are given at once, and none waits for
 * others behind it. */
#ifndef EXAMPLES_LINES_H
#define EXAMPLES_LINES_H

#include "libtensor.h"

enum { LINES_MOST = 1024 };

/* All zeros at first. */
typedef struct lines {
    tn_text text[LINES_MOST]; /* without their ends; until the next call */
    int64_t n;
    char   *bytes;            /* what was read */
    size_t  room, used, given; /* given: in lines */
    bool    is_over;
} lines;

/* The next lines, LINES_MOST or fewer: waits for the first of them alone. None: the end. False:
 * they cannot be read, and errno says why. */
bool lines_next(lines *l, int fd);
void lines_free(lines *l);

#endif
