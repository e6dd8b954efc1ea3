/* Files of one test program: a directory of its own, and up to four of them in it. */
#ifndef TN_TESTS_FILES_H
#define TN_TESTS_FILES_H

#include "check.h"
#include "libtensor.h"

#include <sys/stat.h>
#include <unistd.h>

static char directory[200], path_text[4][256];

/* The path of one of this test program's files. */
TN_UNUSED static const char *path_of(int i)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/tn_test_%ld", tmp ? tmp : "/tmp",
             (long)getpid());
    mkdir(directory, 0700);
    snprintf(path_text[i], sizeof path_text[i], "%s/%d.safetensors", directory, i);
    return path_text[i];
}

TN_UNUSED static void remove_files(void)
{
    for (int i = 0; i < 4; i++) remove(path_of(i));
    rmdir(directory);
}

/* Writes one of them. */
TN_UNUSED static const char *file_of(int i, const void *bytes, size_t n)
{
    remove(path_of(i)); /* some file systems sync what is written over an older file */
    FILE *f = fopen(path_of(i), "wb");
    if (!f || fwrite(bytes, 1, n, f) != n)
        check_fail(__FILE__, __LINE__, "cannot write %s", path_of(i));
    if (f) fclose(f);
    return path_text[i];
}

/* Header length, header and numbers as one file; gives its size. */
TN_UNUSED static size_t compose(char *file, const char *header, const void *numbers, size_t n)
{
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) file[i] = (char)((uint64_t)length >> 8 * i);
    memcpy(file + 8, header, length);
    if (n) memcpy(file + 8 + length, numbers, n);
    return 8 + length + n;
}

TN_UNUSED static tn_ctx *new_ctx(int threads)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 5 });
}

#endif
