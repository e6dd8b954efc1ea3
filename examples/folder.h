/* The folder that a training saves to: tried before the training, and held against another one. */
#ifndef EXAMPLES_FOLDER_H
#define EXAMPLES_FOLDER_H

#include <stdbool.h>

typedef struct folder {
    const char *path;    /* NULL: none */
    int         handle;
    bool        is_held; /* false where the file system has no locks */
    bool        is_made; /* by this program */
} folder;

/* A file's path in it; overwritten by the next call. */
const char *folder_file(const char *path, const char *file);

/* Keeps other trainings out until the process ends, however it does. NULL, or why it is not held:
 * *is_busy if there is another training. */
const char *folder_hold(folder *f, const char *path, bool *is_busy);

/* Makes the folder if there is none, holds it and tries whether these n files can be saved there.
 * One that is there already is not to be lost: resumed is false for a training that begins. What a
 * kill while saving has left of them is removed. NULL, or why not. */
const char *folder_open(folder *f, const char *path, const char *const *files, int n, bool resumed);

/* Lets others in; one that was made for nothing is removed. */
void folder_close(folder *f);

#endif
