/* The folder that a training saves to. The lock is on the folder itself, so that nothing is left of
 * it whichever way the process ends. */
#include "folder.h"

#include "output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST = 4096, LONGEST_FILE = 64 };

const char *folder_file(const char *path, const char *file)
{
    static char whole[LONGEST + LONGEST_FILE];
    snprintf(whole, sizeof whole, "%s/%s", path, file);
    return whole;
}

const char *folder_hold(folder *f, const char *path, bool *is_busy)
{
    *is_busy = false;
    if (f->path) return NULL;
    if (strlen(path) >= LONGEST) return strerror(ENAMETOOLONG);
    int handle = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) return strerror(errno);
    bool is_held = flock(handle, LOCK_EX | LOCK_NB) == 0;
    if (!is_held && errno == EWOULDBLOCK) {
        close(handle);
        *is_busy = true;
        return "another training saves there";
    }
    f->path = path, f->handle = handle, f->is_held = is_held;
    return NULL;
}

/* Is it a temporary file of saving `file`: a process's number, a dash and a number behind it? */
static bool is_left(const char *name, const char *file)
{
    size_t n = strlen(file);
    int    end = 0;
    if (strncmp(name, file, n) != 0) return false;
    sscanf(name + n, ".%*[0-9]-%*[0-9].tmp%n", &end);
    return end > 0 && !name[n + (size_t)end];
}

/* What trainings that were killed while they saved have left. Nobody else saves in a folder that is
 * held. */
static void remove_left(const folder *f, const char *const *files, int n)
{
    DIR *all = f->is_held ? opendir(f->path) : NULL;
    for (struct dirent *e; all && (e = readdir(all));)
        for (int i = 0; i < n; i++)
            if (is_left(e->d_name, files[i])) unlinkat(f->handle, e->d_name, 0);
    if (all) closedir(all);
}

static const char *try_file(const char *path, const char *file, bool resumed)
{
    static char why[2 * LONGEST];
    struct stat st;
    const char *refused = output_refused(folder_file(path, file));
    if (refused) snprintf(why, sizeof why, "%s: %s", file, refused);
    else if (!resumed && stat(folder_file(path, file), &st) == 0)
        snprintf(why, sizeof why,
                 "%s is there: go on with --resume %s, save to another folder, or remove it", file,
                 path);
    else return NULL;
    return why;
}

const char *folder_open(folder *f, const char *path, const char *const *files, int n, bool resumed)
{
    bool        is_busy, is_made = mkdir(path, 0777) == 0;
    const char *why = is_made || errno == EEXIST ? NULL : strerror(errno);
    if (!why) why = folder_hold(f, path, &is_busy);
    f->is_made = is_made;
    for (int i = 0; !why && i < n; i++) why = try_file(path, files[i], resumed);
    if (!why) remove_left(f, files, n);
    return why;
}

void folder_close(folder *f)
{
    if (!f->path) return;
    if (f->is_made) rmdir(f->path); /* only if nothing is in it */
    close(f->handle);
    *f = (folder){ 0 };
}
