/* Files that are either what they were or complete. */
#include "tensor/file.h"

#include <errno.h>
#include <string.h>
#if !defined _WIN32
#  include <fcntl.h>
#  include <sys/stat.h>
#  include <unistd.h>
#endif

enum { LONGEST = 4096, MOST_LINKS = 40 }; /* as Linux has them */
enum { MOST_TRIES = 1000 };

static tn_status fail(tn__new_file *f)
{
    return tn_fail(f->ctx, TN_ERR_IO, "cannot write %s: %s", f->path, strerror(errno));
}

#if !defined _WIN32
/* Where the symbolic links at a path end, be there a file already or not: that is what is replaced,
 * not the link. False: errno says why. */
static bool follow_links(const char *path, char at[LONGEST])
{
    struct stat st;
    char        to[LONGEST];
    size_t      n = strlen(path), folder = 0;
    errno = ENAMETOOLONG;
    if (n >= LONGEST) return false;
    memcpy(at, path, n + 1);
    for (int i = 0; lstat(at, &st) == 0 && S_ISLNK(st.st_mode); i++) {
        ssize_t     length = readlink(at, to, sizeof to);
        const char *slash = strrchr(at, '/');
        if (length < 0) return false;
        folder = to[0] != '/' && slash ? (size_t)(slash + 1 - at) : 0;
        errno = i == MOST_LINKS ? ELOOP : ENAMETOOLONG;
        if (i == MOST_LINKS || folder + (size_t)length >= LONGEST) return false;
        memcpy(at + folder, to, (size_t)length);
        at[folder + (size_t)length] = 0;
    }
    return true;
}

/* The new file may be read by whom the old one might, from its first byte on. A file system without
 * modes is no error. */
static void keep_mode(const char *path, FILE *file)
{
    struct stat old, new;
    if (stat(path, &old) == 0 && fstat(fileno(file), &new) == 0 && S_ISREG(new.st_mode))
        fchmod(fileno(file), old.st_mode & 0777);
}
#endif

/* Copies to `at` the path of the file that a new one takes the place of. */
static tn_status find_target(tn_ctx *ctx, const char *path, char at[LONGEST])
{
#if !defined _WIN32
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return tn_fail(ctx, TN_ERR_IO, "cannot write %s: it is %s", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "no regular file, and is not replaced");
    if (!follow_links(path, at))
        return tn_fail(ctx, TN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
#else
    if (strlen(path) >= LONGEST)
        return tn_fail(ctx, TN_ERR_IO, "cannot write %s: %s", path, strerror(ENAMETOOLONG));
    strcpy(at, path);
#endif
    return TN_OK;
}

/* Makes a file that nobody has: of two writers at once each has its own, so that what is renamed
 * into place is complete. One that a process of the same number left behind is passed by. */
static FILE *make_temporary(const char *at, char *path, size_t room)
{
    long process = 0;
    FILE *file = NULL;
#if !defined _WIN32
    process = getpid();
#endif
    for (int i = 0; !file && i < MOST_TRIES && (i == 0 || errno == EEXIST); i++) {
        snprintf(path, room, "%s.%ld-%d.tmp", at, process, i);
        file = fopen(path, "wbx");
    }
    return file;
}

tn_status tn__new_file_open(tn_ctx *ctx, const char *path, tn__new_file *f)
{
    char at[LONGEST];
    *f = (tn__new_file){ .ctx = ctx };
    tn_status s = find_target(ctx, path, at);
    if (s != TN_OK) return s;
    size_t n = strlen(at) + 1, longer = n + 40; /* two numbers and .tmp */
    char  *room = tn_alloc(ctx, n + longer);
    if (!room) return tn_ctx_status(ctx);
    f->path = memcpy(room, at, n);
    f->temporary = room + n;
    f->file = make_temporary(at, f->temporary, longer);
    if (!f->file) {
        s = fail(f);
        tn_free(ctx, room);
        return s;
    }
#if !defined _WIN32
    keep_mode(f->path, f->file);
#endif
    return TN_OK;
}

void tn__new_file_write(tn__new_file *f, const void *data, size_t length)
{
    if (!f->failed && length && fwrite(data, 1, length, f->file) != length) f->failed = true;
}

static bool sync_file(FILE *file)
{
    if (fflush(file) != 0) return false;
#if !defined _WIN32
    if (fsync(fileno(file)) != 0 && errno != EINVAL && errno != ENOTSUP) return false;
#endif
    return true;
}

/* The new name is on the disk too. A file system that cannot do that is no error. */
static void sync_directory(const char *path, char *room)
{
#if !defined _WIN32
    const char *slash = strrchr(path, '/');
    size_t      n = slash ? (size_t)(slash - path) + (slash == path) : 1;
    memcpy(room, slash ? path : ".", n);
    room[n] = 0;
    int d = open(room, O_RDONLY | O_DIRECTORY);
    if (d < 0) return;
    fsync(d);
    close(d);
#else
    (void)path, (void)room;
#endif
}

tn_status tn__new_file_end(tn__new_file *f, bool keep)
{
    tn_status s = TN_OK;
    bool      ok = keep && !f->failed && sync_file(f->file);
    int       why = errno;
    if (fclose(f->file) != 0 && ok) ok = false, why = errno;
    errno = why;
#if defined _WIN32
    if (ok) remove(f->path);
#endif
    if (ok && rename(f->temporary, f->path) != 0) ok = false;
    if (!ok) {
        if (keep) s = fail(f);
        remove(f->temporary);
    } else {
        sync_directory(f->path, f->temporary);
    }
    tn_free(f->ctx, f->path);
    return s;
}
