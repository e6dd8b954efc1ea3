/* The driver of reductions: one pass per group of neighbouring axes and per level of blocks. A pass
 * sees its input as [outer.., n, inner..] and reduces n; what it leaves is contiguous. */
#include "tensor/reduce.h"

#include "tensor/copy.h"
#include "tensor/internal.h"

#include <math.h>
#include <string.h>

#define INT       int32_t
#define UINT      uint32_t
#define INT_LEAST INT32_MIN
#define INT_MOST  INT32_MAX
#include "tensor/reduce_int.h"
#undef INT
#undef UINT
#undef INT_LEAST
#undef INT_MOST

#define INT       int64_t
#define UINT      uint64_t
#define INT_LEAST INT64_MIN
#define INT_MOST  INT64_MAX
#include "tensor/reduce_int.h"
#undef INT
#undef UINT
#undef INT_LEAST
#undef INT_MOST

#define INT       uint8_t
#define UINT      uint8_t
#define INT_LEAST 0
#define INT_MOST  UINT8_MAX
#include "tensor/reduce_int.h"

typedef void (*reduce_fn)(int kind, const void *x, int64_t stride, int64_t rows, int64_t n,
                          void *out);

enum {
    COLUMNS = 512,          /* of one unit, where the input is read in place */
    GATHERED_COLUMNS = 128, /* where it is gathered into a buffer first */
    TASK_ELEMENTS = 1 << 15,
    LINE = 64,
    BUFFER_BYTES = TN__ROW_BLOCK * LINE /* of one worker, for what is gathered */
};

/* A tensor without dims of size 1, and which of its dims are to be reduced. */
typedef struct reduce_view {
    tn_tensor t;
    bool      is_reduced[TN_MAX_RANK];
} reduce_view;

typedef struct reduce_pass {
    tn__reduce_kind kind;
    reduce_fn       rows, cols;
    int64_t         size;       /* bytes of an element */
    const char     *x;
    char           *out;        /* [outer.., blocks, inner..] */
    tn__odometer    outer;      /* a_stride: of x, in elements */
    tn_tensor       group, inner; /* shapes and strides of the other two sections; data unused */
    int64_t         n_outer, n, n_inner;
    bool            in_place;   /* the kernel can read x where it is */
    bool            transposed; /* rows (columns) run across memory: gathered by cache lines */
    int64_t         block, blocks;   /* n is cut into blocks of at most `block` */
    int64_t         tile, tiles;     /* and inner into tiles of at most `tile` */
    int64_t         units, per_task; /* units = n_outer * blocks * tiles */
    char           *buffer;     /* BUFFER_BYTES for each worker, if not in_place */
} reduce_pass;

/* ---- planning -------------------------------------------------------------------------------- */

static reduce_view view_of(const tn_tensor *x, unsigned axes)
{
    reduce_view v = { .t = { .dtype = x->dtype, .data = x->data } };
    for (int d = 0; d < x->shape.rank; d++) {
        if (x->shape.dim[d] == 1) continue;
        int k = v.t.shape.rank++;
        v.t.shape.dim[k] = x->shape.dim[d], v.t.stride[k] = x->stride[d];
        v.is_reduced[k] = axes >> d & 1;
    }
    return v;
}

/* The innermost run [*begin, *end) of dims to be reduced; empty and at 0 if there are none. */
static void find_group(const reduce_view *v, int *begin, int *end)
{
    int e = v->t.shape.rank;
    while (e > 0 && !v->is_reduced[e - 1]) e--;
    int b = e;
    while (b > 0 && v->is_reduced[b - 1]) b--;
    *begin = b, *end = e;
}

/* Dims [begin, end) of t, merged where their strides allow. */
static tn_tensor section_of(const tn_tensor *t, int begin, int end)
{
    tn_tensor s = { .dtype = t->dtype };
    for (int d = begin; d < end; d++) {
        int last = s.shape.rank - 1;
        if (last >= 0 && s.stride[last] == t->stride[d] * t->shape.dim[d]) {
            s.shape.dim[last] *= t->shape.dim[d], s.stride[last] = t->stride[d];
        } else {
            s.shape.dim[last + 1] = t->shape.dim[d], s.stride[last + 1] = t->stride[d];
            s.shape.rank++;
        }
    }
    return s;
}

static bool is_one_run(const tn_tensor *section)
{
    return section->shape.rank == 0 || (section->shape.rank == 1 && section->stride[0] == 1);
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void plan_pass(reduce_pass *p, const reduce_view *v, int begin, int end)
{
    const tn_tensor *t = &v->t;
    tn_tensor        outer = section_of(t, 0, begin);
    p->group = section_of(t, begin, end);
    p->inner = section_of(t, end, t->shape.rank);
    p->size = (int64_t)tn_dtype_size(t->dtype);
    p->x = t->data;
    p->outer.rank = outer.shape.rank;
    for (int d = 0; d < outer.shape.rank; d++)
        p->outer.n[d] = outer.shape.dim[d], p->outer.a_stride[d] = outer.stride[d];
    p->n_outer = tn_shape_size(&outer.shape);
    p->n = tn_shape_size(&p->group.shape), p->n_inner = tn_shape_size(&p->inner.shape);

    bool is_rows = p->n_inner == 1;
    p->in_place =
        is_rows ? is_one_run(&p->group) : p->group.shape.rank <= 1 && is_one_run(&p->inner);
    p->transposed = !p->in_place && p->group.shape.rank == 1 &&
                    (is_rows ? outer.shape.rank > 0 && outer.stride[outer.shape.rank - 1] == 1
                             : p->group.stride[0] == 1 && p->inner.shape.rank == 1);
    p->block = is_rows ? TN__ROW_BLOCK : TN__COL_BLOCK;
    p->blocks = ceil_div(p->n, p->block);
    p->tile = least(p->n_inner, p->in_place ? COLUMNS : GATHERED_COLUMNS);
    p->tiles = ceil_div(p->n_inner, p->tile);
    p->units = p->n_outer * p->blocks * p->tiles;
    p->per_task = TASK_ELEMENTS / (least(p->n, p->block) * p->tile);
    if (p->per_task < 1) p->per_task = 1;
}

/* What the pass leaves: contiguous, with a dim of blocks to be reduced if there are several. */
static reduce_view result_of(const reduce_view *v, int begin, int end, int64_t blocks, void *data)
{
    reduce_view r = { .t = { .dtype = v->t.dtype, .data = data } };
    for (int d = 0; d < v->t.shape.rank; d++) {
        if (d >= begin && d < end && (d > begin || blocks == 1)) continue;
        int k = r.t.shape.rank++;
        r.t.shape.dim[k] = d == begin && end > begin ? blocks : v->t.shape.dim[d];
        r.is_reduced[k] = v->is_reduced[d];
    }
    tn_shape_strides(&r.t.shape, r.t.stride);
    return r;
}

static bool has_work_left(const reduce_view *v)
{
    for (int d = 0; d < v->t.shape.rank; d++)
        if (v->is_reduced[d]) return true;
    return false;
}

/* ---- one pass -------------------------------------------------------------------------------- */

enum { FEW = 32, ROWS_AT_ONCE = 64 };

/* Elements from here and there are nothing for vectors: clang's would be a kilobyte. */
#if defined __clang__
#  define ONE_BY_ONE _Pragma("clang loop vectorize(disable)")
#else
#  define ONE_BY_ONE
#endif

#define GATHER(type)                                                                               \
    for (int64_t i = 0; i < p->n; i++)                                                             \
        ONE_BY_ONE for (int64_t r = 0; r < rows; r++)                                              \
            ((type *)buffer)[r * row + i * column] = ((const type *)x)[r * stride + offset[i]]

/* Rows of few elements, as a pooling's windows: `rows` of them, one stride apart. They go to rows
 * of the buffer, or to its columns. */
static void gather_rows(const reduce_pass *p, const char *x, int64_t stride, int64_t rows,
                        bool to_columns, char *buffer)
{
    const int64_t row = to_columns ? 1 : p->n, column = to_columns ? rows : 1;
    int64_t      offset[FEW];
    tn__odometer e = { .rank = p->group.shape.rank };
    memcpy(e.n, p->group.shape.dim, sizeof e.n);
    memcpy(e.a_stride, p->group.stride, sizeof e.a_stride);
    tn__odometer_set(&e, 0);
    for (int64_t i = 0; i < p->n; i++, tn__odometer_next(&e)) offset[i] = e.a;
    if (p->size == 4) GATHER(uint32_t);
    else if (p->size == 8) GATHER(uint64_t);
    else GATHER(uint8_t);
}
#undef GATHER

/* Rows of n, as many at once as lie one stride apart. Unit u: block u % blocks, row u / blocks. */
static void run_rows(const reduce_pass *p, int64_t u, int64_t end, char *buffer)
{
    tn__odometer at = p->outer;
    int64_t      last = at.rank - 1;
    const bool   is_short = (p->kind == TN__MAX || p->kind == TN__MIN) && p->n <= FEW &&
        p->n * p->size < LINE;
    _Alignas(LINE) char columns[LINE * ROWS_AT_ONCE];
    while (u < end) {
        int64_t b = u % p->blocks, count = 1, stride = p->block,
                n = least(p->n - b * p->block, p->block);
        tn__odometer_set(&at, u / p->blocks);
        const char *x = p->x + at.a * p->size;
        if (is_short && last >= 0) { /* side by side: of an extreme any order will do */
            count = least(least(end - u, at.n[last] - at.at[last]), ROWS_AT_ONCE);
            gather_rows(p, x, at.a_stride[last], count, true, columns);
            p->cols((int)p->kind, columns, count, n, count, p->out + u * p->size);
            u += count;
            continue;
        }
        if (!p->in_place && p->n <= FEW && last >= 0) {
            count = least(least(end - u, at.n[last] - at.at[last]), ROWS_AT_ONCE), stride = n;
            gather_rows(p, x, at.a_stride[last], count, false, buffer);
            x = buffer;
        } else if (!p->in_place) {
            tn_tensor group = p->group;
            group.data = (void *)(uintptr_t)x;
            tn__copy_part(&group, b * p->block, n, buffer);
            x = buffer;
        } else if (p->blocks > 1) {
            x += b * p->block * p->size;
            if (n == p->block) count = least(end - u, p->n / p->block - b);
        } else if (last >= 0) {
            count = least(end - u, at.n[last] - at.at[last]), stride = at.a_stride[last];
        }
        p->rows((int)p->kind, x, stride, count, n, p->out + u * p->size);
        u += count;
    }
}

/* The same where neighbouring rows are neighbours in memory: a cache line's worth of them at a
 * time, turned into rows of the buffer. Unit u is block u / n_outer of row u % n_outer. */
static void run_rows_transposed(const reduce_pass *p, int64_t u, int64_t end, char *buffer)
{
    tn__odometer at = p->outer;
    int64_t      last = at.rank - 1;
    _Alignas(LINE) char results[LINE];
    while (u < end) {
        int64_t b = u / p->n_outer, row = u % p->n_outer, n = least(p->n - b * p->block, p->block);
        tn__odometer_set(&at, row);
        int64_t count = least(least(end - u, LINE / p->size), at.n[last] - at.at[last]);
        int64_t stride = p->group.stride[0];
        tn__transpose(buffer, n * p->size, count, p->x + (at.a + b * p->block * stride) * p->size,
                      stride * p->size, n, p->size);
        p->rows((int)p->kind, buffer, n, count, n, results);
        for (int64_t i = 0; i < count; i++)
            memcpy(p->out + ((row + i) * p->blocks + b) * p->size, results + i * p->size,
                   (size_t)p->size);
        u += count;
    }
}

/* Copies rows [first, first + rows) of the group, columns [j, j + n) of inner, to buffer. */
static void gather_columns(const reduce_pass *p, const char *x, int64_t first, int64_t rows,
                           int64_t j, int64_t n, char *buffer)
{
    if (p->transposed) {
        int64_t stride = p->inner.stride[0];
        tn__transpose(buffer, n * p->size, rows, x + (first + j * stride) * p->size,
                      stride * p->size, n, p->size);
        return;
    }
    tn__odometer row = { .rank = p->group.shape.rank };
    memcpy(row.n, p->group.shape.dim, sizeof row.n);
    memcpy(row.a_stride, p->group.stride, sizeof row.a_stride);
    tn__odometer_set(&row, first);
    tn_tensor inner = p->inner;
    for (int64_t r = 0; r < rows; r++) {
        inner.data = (void *)(uintptr_t)(x + row.a * p->size);
        tn__copy_part(&inner, j, n, buffer + r * n * p->size);
        tn__odometer_next(&row);
    }
}

/* Unit u is tile u % tiles of block u / tiles % blocks of outer u / tiles / blocks. */
static void run_columns(const reduce_pass *p, int64_t u, int64_t end, char *buffer)
{
    tn__odometer at = p->outer;
    int64_t      row_stride = p->group.shape.rank ? p->group.stride[0] : 0;
    for (; u < end; u++) {
        int64_t j = u % p->tiles * p->tile, ob = u / p->tiles, first = ob % p->blocks * p->block;
        int64_t n = least(p->n_inner - j, p->tile), rows = least(p->n - first, p->block);
        char   *out = p->out + (ob * p->n_inner + j) * p->size;
        tn__odometer_set(&at, ob / p->blocks);
        const char *x = p->x + at.a * p->size;
        if (p->in_place) {
            p->cols((int)p->kind, x + (first * row_stride + j) * p->size, row_stride, rows, n, out);
        } else {
            gather_columns(p, x, first, rows, j, n, buffer);
            p->cols((int)p->kind, buffer, n, rows, n, out);
        }
    }
}

static void pass_task(void *arg, int64_t task, int worker)
{
    const reduce_pass *p = arg;
    int64_t            first = task * p->per_task, end = least(first + p->per_task, p->units);
    char              *buffer = p->buffer ? p->buffer + (int64_t)worker * BUFFER_BYTES : NULL;
    if (p->n_inner > 1)
        run_columns(p, first, end, buffer);
    else if (p->transposed)
        run_rows_transposed(p, first, end, buffer);
    else
        run_rows(p, first, end, buffer);
}

/* ---- all passes ------------------------------------------------------------------------------ */

static void pick_kernels(const tn_kernels *k, tn_dtype dtype, reduce_pass *p)
{
    switch (dtype) {
    case TN_F32: p->rows = k->reduce_rows_f32, p->cols = k->reduce_cols_f32; break;
    case TN_F64: p->rows = k->reduce_rows_f64, p->cols = k->reduce_cols_f64; break;
    case TN_I32: p->rows = rows_int32_t, p->cols = cols_int32_t; break;
    case TN_I64: p->rows = rows_int64_t, p->cols = cols_int64_t; break;
    default: p->rows = rows_uint8_t, p->cols = cols_uint8_t; break;
    }
}

static size_t round_up(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

/* Runs the passes (out NULL: only counts), and returns the bytes of scratch that they take. */
static size_t all_passes(tn_ctx *ctx, int threads, tn__reduce_kind kind, reduce_view v, void *out,
                         char *scratch)
{
    size_t used = 0;
    do {
        int         begin, end;
        reduce_pass p = { .kind = kind, .out = out };
        find_group(&v, &begin, &end);
        plan_pass(&p, &v, begin, end);
        if (!p.in_place) {
            p.buffer = out ? scratch + used : NULL;
            used += (size_t)threads * BUFFER_BYTES;
        }
        reduce_view result = result_of(&v, begin, end, p.blocks, NULL);
        if (has_work_left(&result)) {
            p.out = out ? scratch + used : NULL;
            used += round_up((size_t)(tn_shape_size(&result.t.shape) * p.size));
        }
        if (out) {
            pick_kernels(tn__ctx_kernels(ctx), v.t.dtype, &p);
            tn_parallel_for(ctx, ceil_div(p.units, p.per_task), pass_task, &p);
        }
        result.t.data = p.out;
        v = result;
        if (kind == TN__SUM_SQUARE) kind = TN__SUM;
    } while (has_work_left(&v));
    return used;
}

bool tn__reduce_takes(tn__reduce_kind kind, tn_dtype dtype)
{
    if (dtype == TN_U8 || dtype == TN_BOOL) return kind == TN__MAX || kind == TN__MIN;
    return tn_dtype_is_float(dtype) || tn_dtype_is_index(dtype);
}

size_t tn__reduce_scratch(const tn_ctx *ctx, const tn_tensor *x, unsigned axes)
{
    if (tn_shape_size(&x->shape) == 0) return 0;
    return all_passes(NULL, tn_ctx_threads(ctx), TN__SUM, view_of(x, axes), NULL, NULL);
}

/* Writes the reduction of nothing to n elements. */
static void fill_neutral(tn_ctx *ctx, tn__reduce_kind kind, tn_dtype dtype, int64_t n, void *out)
{
    union {
        float   f32;
        double  f64;
        int32_t i32;
        int64_t i64;
        uint8_t u8;
    } value = { .i64 = 0 };
    bool   is_max = kind == TN__MAX, is_min = kind == TN__MIN;
    double real = is_max ? -INFINITY : is_min ? INFINITY : kind == TN__PROD;
    switch (dtype) {
    case TN_F32: value.f32 = (float)real; break;
    case TN_F64: value.f64 = real; break;
    case TN_I32: value.i32 = is_max ? INT32_MIN : is_min ? INT32_MAX : (int32_t)real; break;
    case TN_I64: value.i64 = is_max ? INT64_MIN : is_min ? INT64_MAX : (int64_t)real; break;
    default: value.u8 = is_min ? (dtype == TN_BOOL ? 1 : UINT8_MAX) : 0; break;
    }
    tn__fill(ctx, out, n, tn_dtype_size(dtype), &value);
}

void tn__reduce(tn_ctx *ctx, tn__reduce_kind kind, const tn_tensor *x, unsigned axes, void *out,
                void *scratch)
{
    if (tn_shape_size(&x->shape) == 0) {
        int64_t n = 1;
        for (int d = 0; d < x->shape.rank; d++)
            if (!(axes >> d & 1)) n *= x->shape.dim[d];
        fill_neutral(ctx, kind, x->dtype, n, out);
        return;
    }
    all_passes(ctx, tn_ctx_threads(ctx), kind, view_of(x, axes), out, scratch);
}
