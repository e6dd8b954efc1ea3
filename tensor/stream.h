/* Data larger than the caches: what is written is written past them, and what is read is asked for
 * before it is needed. A line that is stored to in the ordinary way is read from memory first, only
 * to be overwritten, and then pushes out one that is still wanted; the machine's own prefetching
 * ends at each page and has to learn anew. Both together take off a third to a half of the time.
 *
 * tn__ctx_streams says from where on this pays. Every task that has streamed ends with
 * tn__stream_end, before others may read. */
#ifndef TN_TENSOR_STREAM_H
#define TN_TENSOR_STREAM_H

#include "tensor/base.h"

#include <string.h>
#if defined __x86_64__
#  include <immintrin.h>
#endif

enum {
    TN_LINE = 64,          /* bytes of a cache line, */
    TN_STREAM_BLOCK = 1024 /* of an operand at a time: about the lines that a core can wait for */
};

/* Kernels do it from AVX2 on: narrow stores past the cache gain little. */
#if defined __AVX2__
enum { tn__streams = 1 };
#else
enum { tn__streams = 0 };
#endif

/* Asks for `bytes` at p. */
TN_INLINE void tn__prefetch(const void *p, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += TN_LINE) __builtin_prefetch((const char *)p + i);
}

/* One line past the caches; to is at the start of a line. */
TN_INLINE void tn__stream_line(char *to, const char *from)
{
#if defined __AVX512F__
    _mm512_stream_si512((__m512i *)(void *)to, _mm512_loadu_si512(from));
#elif defined __AVX2__
    for (int i = 0; i < TN_LINE; i += 32)
        _mm256_stream_si256((__m256i *)(void *)(to + i),
                            _mm256_loadu_si256((const __m256i *)(const void *)(from + i)));
#elif defined __x86_64__
    for (int i = 0; i < TN_LINE; i += 16)
        _mm_stream_si128((__m128i *)(void *)(to + i),
                         _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
#else
    memcpy(to, from, TN_LINE);
#endif
}

/* memcpy past the caches, but for the lines at the ends that are not whole; with each line one of
 * each of `ahead` is asked for: into the first cache where it is near, else into the second, which
 * waits for more lines at a time. */
TN_INLINE void tn__stream_to(void *to_, const void *from_, size_t bytes, const char *const *ahead,
                             int n_ahead, const bool is_near)
{
    char       *to = to_;
    const char *from = from_;
    size_t      head = (TN_LINE - (uintptr_t)to % TN_LINE) % TN_LINE, i = head;
    if (head > bytes) head = bytes;
    if (head) memcpy(to, from, head);
    for (; i + TN_LINE <= bytes; i += TN_LINE) {
        for (int a = 0; a < n_ahead; a++) {
            if (is_near)
                __builtin_prefetch(ahead[a] + i);
            else
                __builtin_prefetch(ahead[a] + i, 0, 2);
        }
        tn__stream_line(to + i, from + i);
    }
    if (i < bytes) memcpy(to + i, from + i, bytes - i);
}

TN_INLINE void tn__stream(void *to, const void *from, size_t bytes, const char *const *ahead,
                          int n_ahead)
{
    tn__stream_to(to, from, bytes, ahead, n_ahead, false);
}

/* Lines that go past the caches a few at a time among other work, so that nobody waits for them. */
typedef struct tn__queue {
    char       *to; /* at the start of a line; NULL: there is nothing to write, only to read */
    const char *from, *ahead[2]; /* with each line one of each of ahead is asked for */
    int64_t     lines; /* left */
} tn__queue;

TN_INLINE void tn__queue_run(tn__queue *q, int64_t lines)
{
    if (!tn__streams || q->lines == 0) return;
    if (lines > q->lines) lines = q->lines;
    q->lines -= lines;
    for (; lines > 0; lines--) {
        for (int a = 0; a < 2; a++, q->ahead[a - 1] += TN_LINE) __builtin_prefetch(q->ahead[a]);
        if (!q->to) continue;
        tn__stream_line(q->to, q->from);
        q->to += TN_LINE, q->from += TN_LINE;
    }
}

/* What was streamed is there for all to see. */
TN_INLINE void tn__stream_end(void)
{
#if defined __x86_64__
    _mm_sfence();
#endif
}

/* Rows of a task that streams, `least` or more: about a megabyte, since at its end it waits for all
 * that is on its way, but some tasks for each thread. */
TN_INLINE int64_t tn__stream_rows(int64_t rows, int64_t row_bytes, int threads, int64_t least)
{
    const int64_t want = (1 << 20) / (row_bytes + 1) + 1, most = rows / (8 * threads) + 1;
    const int64_t step = want < most ? want : most;
    return step > least ? step : least;
}

#endif
