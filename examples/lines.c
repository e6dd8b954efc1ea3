/* Lines as they come. What was read is kept here, and not by stdio: poll knows nothing of what
 * lies there. */
#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A pipe that was full has been emptied by the read before, and who writes to it needs a moment. */
enum { MOMENT = 2 /* milliseconds */ };

/* Is there something to read, or the end? Waits so many milliseconds for it; -1: for ever. */
static bool is_ready(int fd, int wait)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, wait) > 0;
}

static bool read_more(lines *l, int fd)
{
    ssize_t n;
    if (l->used == l->room) {
        size_t room = l->room ? 2 * l->room : 1 << 16;
        char  *bytes = realloc(l->bytes, room);
        if (!bytes) return false;
        l->bytes = bytes, l->room = room;
    }
    do n = read(fd, l->bytes + l->used, l->room - l->used);
    while (n < 0 && (errno == EINTR || (errno == EAGAIN && is_ready(fd, -1))));
    if (n < 0) return false;
    l->used += (size_t)n, l->is_over = n == 0;
    return true;
}

/* The first n lines of what was read. */
static void cut(lines *l, int64_t n)
{
    const char *at = l->bytes, *last = l->bytes + l->used;
    for (l->n = 0; l->n < n; l->n++) {
        const char *end = memchr(at, '\n', (size_t)(last - at)), *next = end ? end + 1 : last;
        if (!end) end = last;
        while (end > at && end[-1] == '\r') end--;
        l->text[l->n] = (tn_text){ at, (size_t)(end - at) };
        at = next;
    }
    l->given = (size_t)(at - l->bytes);
}

bool lines_next(lines *l, int fd)
{
    size_t  begin = 0, seen = 0; /* of the line after n lines; of what is there */
    int64_t n = 0;
    if (!l->bytes && !read_more(l, fd)) return false;
    l->used -= l->given;
    memmove(l->bytes, l->bytes + l->given, l->used);
    for (int wait = MOMENT;; wait = 0) {
        const char *end = l->bytes;
        while (n < LINES_MOST && (end = memchr(l->bytes + seen, '\n', l->used - seen)))
            n++, begin = seen = (size_t)(end - l->bytes) + 1;
        if (!end) seen = l->used;
        if (n == LINES_MOST || l->is_over || (n > 0 && !is_ready(fd, wait))) break;
        if (!read_more(l, fd)) {
            if (n == 0) return false;
            break; /* the next call says it */
        }
    }
    if (l->is_over && n < LINES_MOST && begin < l->used) n++; /* without an end */
    cut(l, n);
    return true;
}

void lines_free(lines *l)
{
    free(l->bytes);
    *l = (lines){ 0 };
}
