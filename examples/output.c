/* Standard output and files of the examples. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

bool output_is_possible(const char *path)
{
    char        beside[4096];
    struct stat now;
    if (stat(path, &now) == 0 && S_ISDIR(now.st_mode)) return errno = EISDIR, false;
    if (snprintf(beside, sizeof beside, "%s.%ld.try", path, (long)getpid()) >= (int)sizeof beside)
        return errno = ENAMETOOLONG, false;
    int file = open(beside, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (file < 0) return false;
    close(file);
    return remove(beside) == 0;
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
