/* memcpy past the caches, with the widest stores of the level: a line in one store if they can. */
#include "tensor/kernels/kernels.h"
#include "tensor/stream.h"

void TN_K(stream)(void *to, const void *from, size_t bytes, const char *const *ahead, int n_ahead)
{
    tn__stream(to, from, bytes, ahead, n_ahead);
}

void TN_K(stream_near)(void *to, const void *from, size_t bytes, const char *const *ahead,
                       int n_ahead)
{
    tn__stream_to(to, from, bytes, ahead, n_ahead, true);
}
