/* Files that are either what they were or complete. */
#include "tensor/file.h"

#include <errno.h>
#include <string.h>
#if !defined _WIN32
#  include <fcntl.h>
#  include <unistd.h>
#endif

static tn_status fail(tn__new_file *f)
{
    return tn_fail(f->ctx, TN_ERR_IO, "cannot write %s: %s", f->path, strerror(errno));
}

tn_status tn__new_file_open(tn_ctx *ctx, const char *path, tn__new_file *f)
{
    size_t n = strlen(path);
    *f = (tn__new_file){ .ctx = ctx };
    char *room = tn_alloc(ctx, 2 * n + 1 + sizeof ".tmp");
    if (!room) return tn_ctx_status(ctx);
    f->path = memcpy(room, path, n + 1);
    f->temporary = room + n + 1;
    memcpy(f->temporary, path, n);
    memcpy(f->temporary + n, ".tmp", sizeof ".tmp");
    f->file = fopen(f->temporary, "wb");
    if (f->file) return TN_OK;
    tn_status s = fail(f);
    tn_free(ctx, room);
    return s;
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
