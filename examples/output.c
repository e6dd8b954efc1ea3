/* Standard output and files of the examples. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_end(const char *program, int status)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) != 0) failed = true;
    if (!failed) return status;
    fprintf(stderr, "%s: the standard output cannot be written: %s\n", program,
            errno ? strerror(errno) : "some of it is lost");
    return status ? status : 1;
}

/* Where the links at a path end: what is replaced is there. A link that leads to no file yet is
 * followed by making one. */
static bool follow(const char *path, char at[PATH_MAX])
{
    struct stat st;
    if (realpath(path, at)) return true;
    if (errno != ENOENT) return false;
    if (lstat(path, &st) != 0) { /* no link: the folder will tell */
        if (strlen(path) >= PATH_MAX) return errno = ENAMETOOLONG, false;
        return strcpy(at, path), true;
    }
    int file = open(path, O_WRONLY | O_CREAT, 0666);
    if (file < 0) return false;
    close(file);
    return realpath(path, at) && remove(at) == 0;
}

const char *output_refused(const char *path)
{
    char        at[PATH_MAX], beside[PATH_MAX + 40];
    struct stat now;
    if (!*path) return strerror(ENOENT);
    if (stat(path, &now) == 0 && S_ISDIR(now.st_mode)) return strerror(EISDIR);
    if (stat(path, &now) == 0 && !S_ISREG(now.st_mode)) return "it is no regular file";
    if (!follow(path, at)) return strerror(errno);
    snprintf(beside, sizeof beside, "%s.%ld-try.tmp", at, (long)getpid());
    int file = open(beside, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (file < 0) return strerror(errno);
    close(file);
    return remove(beside) == 0 ? NULL : strerror(errno);
}

void output_number(double x, int digits)
{
    if (x < 1e9) printf("%.*f", digits, x);
    else printf("%.*e", digits, x);
}

/* What no shell changes stays as it is. All else goes between single quotes, which hold everything
 * but themselves: one of those is outside of them, behind a backslash. */
void output_word(const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "%+,-./:=@_";
    if (*word && !word[strspn(word, plain)]) {
        printf("%s", word);
        return;
    }
    putchar('\'');
    for (; *word; word++) {
        if (*word == '\'') printf("'\\''");
        else putchar(*word);
    }
    putchar('\'');
}
