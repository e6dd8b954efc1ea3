/* Sums of rows by index, from lists of the sources of each row. */
#include "autograd/ops/row_sums.h"

#include "autograd/ops.h"
#include "tensor/internal.h"
#include "tensor/stream.h"

#include <string.h>

enum {
    PART_BYTES = 2048,
    TASK_BYTES = 1 << 16,
    AHEAD = 8192, /* bytes between what is summed and what is asked for */
    GROUPS = 64   /* of neighbouring rows, whose sources are counted */
};

/* Task t: rows [per_task t', per_task (t' + 1)) of one outer, in tile t % tiles of columns. */
typedef struct job {
    const tn__row_sums *s;
    tn_span_fn          add;
    const tn_kernels   *kernels;
    int64_t             size, part;                          /* bytes; elements at a time */
    int64_t             lead;                                /* rows of AHEAD */
    int64_t             per_task, row_tasks, tiles, tile;    /* tiles of elements */
} job;

/* After this index[i] is the next source of the same row, and first[row] its first; -1: none.
 * Returns how many sources the group has that has most. */
static int64_t link_sources(const tn__row_sums *s)
{
    const int64_t group = s->rows / GROUPS + 1;
    int64_t       count[GROUPS] = { 0 }, most = 0;
    for (int64_t r = 0; r < s->rows; r++) s->first[r] = -1;
    for (int64_t i = s->n - 1; i >= 0; i--) {
        const int64_t row = s->index[i];
        if (row == s->skip) continue;
        s->index[i] = s->first[row], s->first[row] = i;
        count[row / group]++;
    }
    for (int g = 0; g < GROUPS; g++) most = count[g] > most ? count[g] : most;
    return most;
}

/* Source i of outer o, from this column on. */
static const char *source(const job *j, int64_t o, int64_t i, int64_t column)
{
    return (const char *)j->s->src + ((o * j->s->n + i) * j->s->inner + column) * j->size;
}

/* to = n elements of a row that has these base and first source. */
static void sum_part(const job *j, int64_t o, int64_t i, int64_t column, int64_t n,
                     const char *base, char *to)
{
    if (i < 0) memcpy(to, base, (size_t)(n * j->size));
    tn_span_args a = { .n = n, .out = { to } };
    for (int k = 0; k < TN_SPAN_MAX_IN; k++) a.in[k] = base;
    for (; i >= 0; i = j->s->index[i], a.in[0] = to) {
        a.in[1] = source(j, o, i, column);
        j->add(&a);
    }
}

/* Columns [column, end) of a row; a later row's first source is asked for with what is written. */
static void sum_row(const job *j, int64_t o, int64_t row, int64_t column, int64_t end,
                    const char *ones, char *room)
{
    const tn__row_sums *s = j->s;
    const int64_t       i = s->first[row], later = row + j->lead;
    const int64_t       next = later < s->rows ? s->first[later] : -1;
    for (int64_t n; column < end; column += n) {
        n = end - column < j->part ? end - column : j->part;
        const int64_t at = ((o * s->rows + row) * s->inner + column) * j->size;
        const char   *base = s->base_is_one ? ones : (const char *)s->base + at;
        const char   *ahead = next < 0 ? NULL : source(j, o, next, column);
        sum_part(j, o, i, column, n, base, s->is_far ? room : (char *)s->y + at);
        if (s->is_far)
            j->kernels->stream((char *)s->y + at, room, (size_t)(n * j->size), &ahead, !!ahead);
    }
}

/* n copies of one number. */
static void fill(char *to, const void *one, int64_t size, int64_t n)
{
    memcpy(to, one, (size_t)size);
    for (int64_t done = 1, more; done < n; done += more) {
        more = done < n - done ? done : n - done;
        memcpy(to + done * size, to, (size_t)(more * size));
    }
}

static void sum_task(void *arg, int64_t task, int worker)
{
    const job          *j = arg;
    const tn__row_sums *s = j->s;
    const int64_t       t = task / j->tiles, o = t / j->row_tasks;
    const int64_t       row0 = t % j->row_tasks * j->per_task;
    const int64_t       row1 = row0 + j->per_task < s->rows ? row0 + j->per_task : s->rows;
    const int64_t       column = task % j->tiles * j->tile;
    const int64_t       end = column + j->tile < s->inner ? column + j->tile : s->inner;
    _Alignas(TN_LINE) char ones[PART_BYTES], room[PART_BYTES];
    (void)worker;
    if (s->base_is_one) fill(ones, s->base, j->size, j->part < j->tile ? j->part : j->tile);
    for (int64_t row = row0; row < row1; row++) sum_row(j, o, row, column, end, ones, room);
    if (s->is_far) tn__stream_end();
}

void tn__row_sums_run(tn_ctx *ctx, const tn__row_sums *s)
{
    const tn_span_fn *add = tn_op_add.span->fn[s->dtype];
    const int         threads = tn_ctx_threads(ctx);
    const tn_cpu_level level = tn_ctx_cpu(ctx);
    job j = { .s = s, .add = add[level] ? add[level] : add[TN_CPU_BASE],
              .kernels = tn__ctx_kernels(ctx), .size = (int64_t)tn_dtype_size(s->dtype),
              .tiles = 1, .tile = s->inner };
    if (s->rows == 0 || s->inner == 0) return;
    j.part = PART_BYTES / j.size;
    /* some rows may get most */
    if (link_sources(s) > s->n / (2 * threads) && s->inner >= 256 && threads > 1)
        j.tiles = 2, j.tile = tn__row_half(s->inner);
    j.lead = (AHEAD + j.tile * j.size - 1) / (j.tile * j.size);
    const int64_t most = (s->rows + 8 * threads - 1) / (8 * threads);
    j.per_task = TASK_BYTES / (j.tile * j.size) + 1;
    if (j.per_task > most) j.per_task = most;
    if (s->is_far)
        j.per_task = tn__stream_rows(s->rows, j.tile * j.size, threads, j.per_task);
    j.row_tasks = (s->rows + j.per_task - 1) / j.per_task;
    tn_parallel_for(ctx, s->outer * j.row_tasks * j.tiles, sum_task, &j);
}
