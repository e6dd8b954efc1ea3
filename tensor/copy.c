/* Strided copies. The dims are put in the order of the destination's strides and merged where both
 * sides allow; then the innermost ones decide: runs of memory, a transpose in blocks of whole cache
 * lines, or single elements. */
#include "tensor/copy.h"

#include "tensor/internal.h"
#include "tensor/stream.h"
#include "tensor/transpose.h"

/* Transposes write past the caches from STREAM_BYTES on: 2 to 3 times as fast, since lines that are
 * written whole need not be read before. Runs do from where tn__ctx_streams says. */
enum {
    TASK_BYTES = 1 << 16,
    PIECE_BYTES = 1 << 15,
    LINE = TN_LINE,
    BAND = 64 * LINE, /* bytes of a source row that a streaming transpose takes in one go: a page,
                         as far as the machine reads ahead; */
    RUN = 2 * LINE,   /* of a destination row; */
    PART = 1 << 20,   /* and of both in a task, about */
    AHEAD = 4096,     /* bytes between what is moved past the caches and what is asked for */
    MAX_ITEM = 16,
    SHORT = 16,       /* items of a row that is copied with its neighbours */
    STREAM_BYTES = 1 << 21
};

/* An item is what is moved at once: an element, or a few that lie together on both sides. Strides
 * are in bytes: a is the destination, b the source. */
typedef struct copy_plan {
    char         *dst;
    const char   *src;
    int64_t       item;
    tn__odometer  outer;            /* the dims that are not the inner ones below */
    int64_t       rows;             /* positions of outer */
    int64_t       n, a, b;          /* inner dim, the destination's fastest */
    int64_t       n2, a2, b2;       /* TRANSPOSE: the source's fastest dim; else so many rows */
    int64_t       pieces;           /* parts that one row is cut into, */
    int64_t       piece;            /* of so many items (TRANSPOSE: of n2), */
    int64_t       parts, part;      /* streaming TRANSPOSE: and those into parts of n */
    int64_t       units, per_task;  /* units = rows * pieces */
    bool          streams;          /* past the caches: RUNS and TRANSPOSE */
    void        (*stream)(void *to, const void *from, size_t bytes, const char *const *ahead,
                          int n_ahead);
    void        (*tile)(void *dst, int64_t a, const void *src, int64_t b); /* 64 by 64 bytes */
    enum { RUNS, TRANSPOSE, ITEMS } mode;
} copy_plan;

/* ---- planning -------------------------------------------------------------------------------- */

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

static void swap_dims(tn__odometer *o, int i, int j)
{
    int64_t n = o->n[i], a = o->a_stride[i], b = o->b_stride[i];
    o->n[i] = o->n[j], o->a_stride[i] = o->a_stride[j], o->b_stride[i] = o->b_stride[j];
    o->n[j] = n, o->a_stride[j] = a, o->b_stride[j] = b;
}

static void drop_dim(tn__odometer *o, int d)
{
    for (; d < o->rank - 1; d++) swap_dims(o, d, d + 1);
    o->rank--;
}

/* Falling strides of the destination, neighbours that continue each other on both sides merged. */
static void simplify(tn__odometer *o)
{
    for (int i = 1; i < o->rank; i++)
        for (int j = i; j > 0 && magnitude(o->a_stride[j - 1]) < magnitude(o->a_stride[j]); j--)
            swap_dims(o, j - 1, j);
    for (int d = o->rank - 2; d >= 0; d--) {
        if (o->a_stride[d] != o->n[d + 1] * o->a_stride[d + 1]) continue;
        if (o->b_stride[d] != o->n[d + 1] * o->b_stride[d + 1]) continue;
        o->n[d + 1] *= o->n[d];
        drop_dim(o, d);
    }
}

static void take_dim(tn__odometer *o, int d, int64_t *n, int64_t *a, int64_t *b)
{
    *n = o->n[d], *a = o->a_stride[d], *b = o->b_stride[d];
    drop_dim(o, d);
}

static int64_t at_least_one(int64_t x) { return x < 1 ? 1 : x; }

static void choose_mode(copy_plan *p)
{
    tn__odometer *o = &p->outer;
    int           last = o->rank - 1;
    bool is_run = last >= 0 && o->a_stride[last] == p->item && o->b_stride[last] == p->item;
    int64_t       run = is_run ? o->n[last] * p->item : 0;
    if (is_run && o->rank > 1 && run <= MAX_ITEM) {
        p->item = run;
        drop_dim(o, last--);
        is_run = false;
    }
    p->n = 1, p->a = p->b = p->item;
    p->n2 = 1, p->a2 = p->b2 = 0;
    p->mode = ITEMS;
    if (last < 0) return;
    take_dim(o, last, &p->n, &p->a, &p->b);
    if (is_run) p->mode = RUNS;
    for (int d = o->rank - 1; d >= 0 && p->mode == ITEMS && p->a == p->item; d--) {
        if (o->b_stride[d] != p->item) continue;
        take_dim(o, d, &p->n2, &p->a2, &p->b2);
        p->mode = TRANSPOSE;
        return;
    }
    last = o->rank - 1; /* short rows: a few of them at once */
    const int64_t bytes = p->n * p->item;
    if (last >= 0 && p->n < SHORT && bytes < 2 * LINE && o->n[last] * bytes <= PIECE_BYTES)
        take_dim(o, last, &p->n2, &p->a2, &p->b2);
}

/* A matrix larger than the caches whose destination rows all begin at a cache line. */
static bool can_stream(const copy_plan *p)
{
#if defined __x86_64__
    int64_t lines = (int64_t)((uintptr_t)p->dst % LINE) | p->a2 % LINE;
    for (int d = 0; d < p->outer.rank; d++) lines |= p->outer.a_stride[d] % LINE;
    return lines == 0 && p->n * p->n2 * p->item >= STREAM_BYTES && p->n2 >= LINE &&
           (p->item == 4 || p->item == 8);
#else
    (void)p;
    return false;
#endif
}

static void cut_into_tasks(const tn_ctx *ctx, copy_plan *p)
{
    p->rows = 1;
    for (int d = 0; d < p->outer.rank; d++) p->rows *= p->outer.n[d];
    int64_t bytes; /* of one unit */
    p->part = p->n;
    if (p->mode == TRANSPOSE) {
        p->streams = can_stream(p);
        p->piece = (p->streams ? BAND : LINE * (p->n < LINE ? LINE / p->n : 1)) / p->item;
        if (p->streams) p->part = PART / BAND / (RUN / p->item) * (RUN / p->item);
        p->parts = (p->n + p->part - 1) / p->part;
        p->pieces = (p->n2 + p->piece - 1) / p->piece * p->parts;
        bytes = p->piece * p->part * p->item;
    } else {
        p->piece = PIECE_BYTES / p->item;
        p->pieces = (p->n + p->piece - 1) / p->piece;
        bytes = (p->n < p->piece ? p->n : p->piece) * p->item;
        p->streams = p->mode == RUNS && bytes >= 2 * LINE &&
                     tn__ctx_streams(ctx, p->rows * p->n * p->item);
        bytes *= p->n2;
    }
    p->units = p->rows * p->pieces;
    p->per_task = at_least_one(TASK_BYTES / at_least_one(bytes));
    if (p->streams && p->mode == RUNS)
        p->per_task = tn__stream_rows(p->units, bytes, tn_ctx_threads(ctx), p->per_task);
}

/* False if there is nothing to copy. */
static bool make_plan(const tn_ctx *ctx, copy_plan *p, const tn_tensor *dst, const tn_tensor *src)
{
    int64_t size = (int64_t)tn_dtype_size(dst->dtype);
    *p = (copy_plan){ .dst = dst->data, .src = src->data, .item = size,
                      .stream = tn__ctx_kernels(ctx)->stream,
                      .tile = tn__ctx_kernels(ctx)->transpose_32 };
    for (int d = 0; d < dst->shape.rank; d++) {
        int64_t n = dst->shape.dim[d];
        if (n == 0) return false;
        if (n == 1) continue;
        int k = p->outer.rank++;
        p->outer.n[k] = n;
        p->outer.a_stride[k] = dst->stride[d] * size, p->outer.b_stride[k] = src->stride[d] * size;
    }
    simplify(&p->outer);
    choose_mode(p);
    cut_into_tasks(ctx, p);
    return true;
}

/* ---- items ----------------------------------------------------------------------------------- */

typedef struct bytes16 {
    uint64_t w[2];
} bytes16;

typedef struct bytes12 {
    uint32_t w[3];
} bytes12;

/* n items of type T from src, b bytes apart, to dst, a bytes apart. */
#define COPY_ITEMS(T)                                                                              \
    if (b == 0 && a == sizeof(T)) {                                                                \
        T x;                                                                                       \
        memcpy(&x, src, sizeof x);                                                                 \
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * (int64_t)sizeof x, &x, sizeof x);         \
        break;                                                                                     \
    }                                                                                              \
    if (b == -(int64_t)sizeof(T) && a == sizeof(T)) {                                              \
        const char *last = src - (n - 1) * (int64_t)sizeof(T);                                     \
        for (int64_t i = 0; i < n; i++)                                                            \
            memcpy(dst + i * (int64_t)sizeof(T), last + (n - 1 - i) * (int64_t)sizeof(T),          \
                   sizeof(T));                                                                     \
        break;                                                                                     \
    }                                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
        T x;                                                                                       \
        memcpy(&x, src + i * b, sizeof x);                                                         \
        memcpy(dst + i * a, &x, sizeof x);                                                         \
    }                                                                                              \
    break

static void copy_items(char *restrict dst, int64_t a, const char *restrict src, int64_t b,
                       int64_t n, int64_t item)
{
    switch (item) {
    case 1: COPY_ITEMS(uint8_t);
    case 2: COPY_ITEMS(uint16_t);
    case 4: COPY_ITEMS(uint32_t);
    case 8: COPY_ITEMS(uint64_t);
    case 12: COPY_ITEMS(bytes12);
    case 16: COPY_ITEMS(bytes16);
    default:
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * a, src + i * b, (size_t)item);
    }
}

/* ---- transposing ----------------------------------------------------------------------------- */

/* A block of n2 rows of dst (a2 apart) by n items, from n rows of src (b apart) by n2 items. */
static void transpose_block(char *dst, int64_t a2, int64_t n2, const char *src, int64_t b,
                            int64_t n, int64_t item)
{
    const int64_t i = item == 4 ? n2 / 4 * 4 : 0;
    int64_t       j = 0;
    for (; i > 0 && j + 4 <= n; j += 4)
        for (int64_t k = 0; k < i; k += 4)
            tn__transpose_4x4(dst + k * a2 + j * 4, a2, src + j * b + k * 4, b);
    if (j == 0 && n >= n2) { /* what these left over, along the longer side */
        for (int64_t k = 0; k < n2; k++)
            copy_items(dst + k * a2, item, src + k * item, b, n, item);
        return;
    }
    for (int64_t k = i; j > 0 && k < n2; k++)
        copy_items(dst + k * a2, item, src + k * item, b, j, item);
    for (; j < n; j++) copy_items(dst + j * item, a2, src + j * b, item, n2, item);
}

/* A block of a plan: whole ones by the kernel. */
static void transpose_some(const copy_plan *p, char *dst, int64_t a2, int64_t n2, const char *src,
                           int64_t n)
{
    if (p->item == 4 && n2 == LINE / 4 && n == LINE / 4)
        p->tile(dst, a2, src, p->b);
    else
        transpose_block(dst, a2, n2, src, p->b, n, p->item);
}

/* A band of the transpose past the caches: n2 by n items, in blocks of RUN / item rows of the
 * source. A line of each of them makes runs of a few rows of the destination, in the first cache,
 * and these go to memory; each asks for as much of the next block. */
static void stream_band(const copy_plan *p, char *dst, const char *src, int64_t n2, int64_t all)
{
    _Alignas(LINE) char room[LINE / 4 * RUN];
    const int64_t       most = RUN / p->item, step = LINE / p->item;
    for (int64_t j = 0; j < all; j += most) {
        const int64_t n = all - j < most ? all - j : most;
        const char   *from = src + j * p->b;
        /* rows of the destination for one of the source */
        const int64_t per_row = n2 / n > 0 ? n2 / n : 1;
        for (int64_t i = 0; i < n2; i++) {
            for (int64_t k = 0; i % step == 0 && k < n; k += step)
                transpose_some(p, room + k * p->item, RUN, n2 - i < step ? n2 - i : step,
                               from + k * p->b + i * p->item, n - k < step ? n - k : step);
            const char *ahead = from + (most + i / per_row) * p->b + i % per_row * RUN;
            p->stream(dst + i * p->a2 + j * p->item, room + i % step * RUN, (size_t)(n * p->item),
                      &ahead, j + most + i / per_row < all);
        }
    }
}

/* One band of the transpose: n2 items of the source's fastest dim by n of the destination's, in
 * blocks of whole cache lines. */
static void transpose_band(const copy_plan *p, char *dst, const char *src, int64_t n2, int64_t n)
{
    const int64_t side = LINE / p->item; /* of a block; a narrow one is as much longer */
    const int64_t step = n2 < side ? side * side / n2 : side;
    const int64_t step2 = n < side ? side * side / n : side;
    for (int64_t j = 0; j < n; j += step)
        for (int64_t i = 0; i < n2; i += step2)
            transpose_some(p, dst + j * p->item + i * p->a2, p->a2, n2 - i < step2 ? n2 - i : step2,
                           src + j * p->b + i * p->item, n - j < step ? n - j : step);
}

void tn__transpose(void *dst, int64_t dst_stride, int64_t rows, const void *src, int64_t src_stride,
                   int64_t n, int64_t item)
{
    int64_t step = LINE / item;
    for (int64_t i = 0; i < rows; i += step)
        for (int64_t j = 0; j < n; j += step)
            transpose_block((char *)dst + i * dst_stride + j * item, dst_stride,
                            rows - i < step ? rows - i : step,
                            (const char *)src + j * src_stride + i * item, src_stride,
                            n - j < step ? n - j : step, item);
}

/* ---- running --------------------------------------------------------------------------------- */

/* A piece of a row; `next` is where the source goes on after a few more. */
static void copy_piece(const copy_plan *p, char *dst, const char *src, const char *next,
                       int64_t piece)
{
    if (p->mode == TRANSPOSE) {
        int64_t first = piece / p->parts * p->piece,
            n2 = p->n2 - first < p->piece ? p->n2 - first : p->piece;
        int64_t j = piece % p->parts * p->part, n = p->n - j < p->part ? p->n - j : p->part;
        (p->streams ? stream_band : transpose_band)(p, dst + first * p->a2 + j * p->a,
                                                    src + first * p->b2 + j * p->b, n2, n);
        return;
    }
    int64_t first = piece * p->piece;
    int64_t n = p->n - first < p->piece ? p->n - first : p->piece;
    dst += first * p->a, src += first * p->b;
    for (int64_t i = 0; i < p->n2; i++, dst += p->a2, src += p->b2) {
        if (p->streams)
            p->stream(dst, src, (size_t)(n * p->item), &next, 1);
        else if (p->mode == RUNS)
            memcpy(dst, src, (size_t)(n * p->item));
        else
            copy_items(dst, p->a, src, p->b, n, p->item);
    }
}

/* Runs of a far copy that lie between what is moved and what is asked for. */
static int64_t runs_ahead(const copy_plan *p)
{
    const int64_t run = p->n * p->item;
    return (AHEAD + run - 1) / run;
}

static void copy_task(void *arg, int64_t task, int worker)
{
    const copy_plan *p = arg;
    int64_t          u = task * p->per_task, end = u + p->per_task;
    if (end > p->units) end = p->units;
    (void)worker;
    tn__odometer at = p->outer, ahead = p->outer;
    tn__odometer_set(&at, u / p->pieces);
    if (p->streams) tn__odometer_set(&ahead, u / p->pieces + (p->pieces > 1 ? 0 : runs_ahead(p)));
    int64_t piece = u % p->pieces;
    for (; u < end; u++) {
        const int64_t lead = p->pieces > 1 ? piece * p->piece * p->item + AHEAD : 0;
        copy_piece(p, p->dst + at.a, p->src + at.b, p->src + ahead.b + lead, piece);
        if (++piece < p->pieces) continue;
        piece = 0;
        tn__odometer_next(&at);
        if (p->streams) tn__odometer_next(&ahead);
    }
    if (p->streams) tn__stream_end();
}

void tn__copy(tn_ctx *ctx, const tn_tensor *dst, const tn_tensor *src)
{
    copy_plan p;
    if (!make_plan(ctx, &p, dst, src)) return;
    tn_parallel_for(ctx, (p.units + p.per_task - 1) / p.per_task, copy_task, &p);
}

/* ---- filling --------------------------------------------------------------------------------- */

typedef struct fill_plan {
    char       *dst;
    int64_t     n, per_task, item;
    const void *value;
} fill_plan;

static void fill_task(void *arg, int64_t task, int worker)
{
    const fill_plan *p = arg;
    int64_t          first = task * p->per_task, n = p->n - first;
    if (n > p->per_task) n = p->per_task;
    (void)worker;
    copy_items(p->dst + first * p->item, p->item, p->value, 0, n, p->item);
}

static void zero_task(void *arg, int64_t task, int worker)
{
    const fill_plan *p = arg;
    int64_t          first = task * p->per_task, n = p->n - first;
    if (n > p->per_task) n = p->per_task;
    (void)worker;
    memset(p->dst + first * p->item, 0, (size_t)(n * p->item));
}

void tn__fill(tn_ctx *ctx, void *dst, int64_t n, size_t element, const void *value)
{
    static const char zeros[MAX_ITEM];
    fill_plan p = { dst, n, 2 * TASK_BYTES / (int64_t)element, (int64_t)element, value };
    bool      is_zero = memcmp(value, zeros, element) == 0;
    if (n > 0)
        tn_parallel_for(ctx, (n + p.per_task - 1) / p.per_task, is_zero ? zero_task : fill_task,
                        &p);
}

void tn__copy_part(const tn_tensor *src, int64_t first, int64_t count, void *dst)
{
    int64_t      size = (int64_t)tn_dtype_size(src->dtype);
    int          last = src->shape.rank - 1;
    int64_t      n = last < 0 ? 1 : src->shape.dim[last], b = last < 0 ? 1 : src->stride[last];
    tn__odometer o = { .rank = last < 0 ? 0 : last };
    if (count <= 0) return;
    for (int d = 0; d < o.rank; d++) o.n[d] = src->shape.dim[d], o.b_stride[d] = src->stride[d];
    tn__odometer_set(&o, first / n);
    char   *out = dst;
    int64_t i = first % n;
    while (count > 0) {
        int64_t     run = n - i < count ? n - i : count;
        const char *p = (const char *)src->data + (o.b + i * b) * size;
        if (b == 1)
            memcpy(out, p, (size_t)(run * size));
        else
            copy_items(out, size, p, b * size, run, size);
        out += run * size, count -= run, i = 0;
        tn__odometer_next(&o);
    }
}
