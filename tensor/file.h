/* Files that are either what they were or complete, at any moment: written beside their place,
 * synced, then renamed onto it. Their place is where the path's symbolic links end, and their mode
 * that of the file they replace. Several may be written for one place at once, also by several
 * processes: that of the last who ends is there. */
#ifndef TN_TENSOR_FILE_H
#define TN_TENSOR_FILE_H

#include "tensor/context.h"

#include <stdio.h>

typedef struct tn__new_file {
    tn_ctx *ctx;
    char   *path, *temporary;
    FILE   *file;
    bool    failed;
} tn__new_file;

/* Makes a file of its own for writing, path.<process>-<n>.tmp. TN_ERR_IO names the path and the
 * system's reason, or says that what is there is a folder, a device, a pipe: only regular files are
 * replaced. */
tn_status tn__new_file_open(tn_ctx *ctx, const char *path, tn__new_file *f);

/* Writes; a failure is remembered and told by the end. */
void tn__new_file_write(tn__new_file *f, const void *data, size_t length);

/* keep: syncs and renames; else, or if anything failed, removes what was written. */
tn_status tn__new_file_end(tn__new_file *f, bool keep);

#endif
