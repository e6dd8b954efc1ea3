/* Rows by index: index_select and embedding take them, index_add adds them (their transpose),
 * one_hot makes them of the index alone. Where several sources meet in one place they are added in
 * rising order of position, whoever adds them, so that the bits are fixed. */
#include "autograd/ops/build.h"
#include "autograd/ops/index_inputs.h"
#include "autograd/ops/row_sums.h"
#include "tensor/copy.h"
#include "tensor/stream.h"

#include <string.h>

enum { TASK_BYTES = 1 << 16, AHEAD = 8192, SOON = 8, CHUNK = 4096, NARROW = 8 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* x seen from its axis: [outer, n, inner]. */
typedef struct axis_view {
    int64_t outer, n, inner;
} axis_view;

static axis_view around_axis(const tn_shape *s, int axis)
{
    axis_view v = { 1, s->dim[axis], 1 };
    for (int d = 0; d < axis; d++) v.outer *= s->dim[d];
    for (int d = axis + 1; d < s->rank; d++) v.inner *= s->dim[d];
    return v;
}

/* ---- index_select, embedding ----------------------------------------------------------------- */

typedef struct take_plan {
    const char    *x;
    char          *y;
    const int64_t *index;
    int64_t n, rows, row_bytes, units, per_task; /* y [outer, n], x [outer, rows], of row_bytes */
    const tn_kernels *streams; /* not NULL: past the caches */
} take_plan;

static const char *row_from(const take_plan *p, int64_t unit)
{
    return p->x + (unit / p->n * p->rows + p->index[unit % p->n]) * p->row_bytes;
}

/* Row by row; with what is written of one, a later one is asked for: AHEAD bytes or a row later. A
 * row lies in a page of its own, which takes time to find: the first line is asked for before. */
static void take_far(const take_plan *p, int64_t unit, int64_t end)
{
    const int64_t lead = (AHEAD + p->row_bytes - 1) / p->row_bytes;
    for (; unit < end; unit++) {
        const char *next = row_from(p, least(unit + lead, p->units - 1));
        __builtin_prefetch(row_from(p, least(unit + SOON * lead, p->units - 1)), 0, 2);
        p->streams->stream(p->y + unit * p->row_bytes, row_from(p, unit), (size_t)p->row_bytes,
                           &next, 1);
    }
    tn__stream_end();
}

static void take_task(void *arg, int64_t task, int worker)
{
    const take_plan *p = arg;
    int64_t          end = least((task + 1) * p->per_task, p->units), bytes = p->row_bytes;
    (void)worker;
    if (p->streams && task * p->per_task < end) {
        take_far(p, task * p->per_task, end);
        return;
    }
    for (int64_t u = task * p->per_task; u < end; u++) {
        const char *from = row_from(p, u);
        char       *to = p->y + u * bytes;
        if (bytes == 4) memcpy(to, from, 4);
        else if (bytes == 8) memcpy(to, from, 8);
        else memcpy(to, from, (size_t)bytes);
    }
}

static tn_status take_run(tn_exec *e, int axis)
{
    axis_view      v = around_axis(&e->in[0].shape, axis);
    char          *scratch = e->scratch;
    const int64_t *index;
    if (tn__indices(e, 1, v.n, &scratch, &index) != TN_OK) return TN_ERR_INDEX;
    take_plan p = { .x = tn__plain(e, 0, &scratch), .y = e->out[0].data, .index = index,
                    .n = tn_shape_size(&e->in[1].shape), .rows = v.n,
                    .row_bytes = v.inner * (int64_t)tn_dtype_size(e->in[0].dtype) };
    p.units = v.outer * p.n;
    if (p.units == 0 || p.row_bytes == 0) return TN_OK;
    if (p.row_bytes >= 2 * TN_LINE && tn__is_far(e)) p.streams = tn__ctx_kernels(e->ctx);
    p.per_task = TASK_BYTES / least(p.row_bytes + 16, TASK_BYTES);
    if (p.streams)
        p.per_task = tn__stream_rows(p.units, p.row_bytes, tn_ctx_threads(e->ctx), p.per_task);
    tn_parallel_for(e->ctx, (p.units + p.per_task - 1) / p.per_task, take_task, &p);
    return TN_OK;
}

/* y[o][i] = x[o][index[i]], rows of inner */
static void take_ref(const tn_ref *r, int axis)
{
    axis_view v = around_axis(&r->in_type[0].shape, axis);
    int64_t   n = tn_shape_size(&r->in_type[1].shape);
    size_t    size = r->in_type[0].dtype == TN_BOOL ? 1 : 8;
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < v.inner; j++)
                memcpy((char *)r->out[0] + (size_t)((o * n + i) * v.inner + j) * size,
                       (const char *)r->in[0] +
                           (size_t)((o * v.n + tn__ref_index(r, 1, i)) * v.inner + j) * size,
                       size);
}

#define INDEX_SELECT_ATTRS(F) F(index_select, i64, axis)
TN_ATTRS(index_select, INDEX_SELECT_ATTRS)

static tn_status index_rank_one(tn_infer *c)
{
    if (tn_infer_index(c, 1) != TN_OK) return tn_ctx_status(c->ctx);
    if (c->in[1].shape.rank == 1) return TN_OK;
    return tn_infer_fail(c, TN_ERR_SHAPE, "the index has rank %d, not 1", c->in[1].shape.rank);
}

static tn_status index_select_infer(tn_infer *c)
{
    int axis;
    if (index_rank_one(c) != TN_OK) return tn_ctx_status(c->ctx);
    if (tn_infer_axis(c, ((const index_select_attrs *)c->attrs)->axis, c->in[0].shape.rank,
                      &axis) != TN_OK)
        return tn_ctx_status(c->ctx);
    c->out[0] = c->in[0];
    c->out[0].shape.dim[axis] = c->in[1].shape.dim[0];
    return TN_OK;
}

static int index_select_axis(const void *attrs, const tn_shape *s)
{
    return tn_axis((int)((const index_select_attrs *)attrs)->axis, s->rank);
}

static tn_status index_select_run(tn_exec *e)
{
    return take_run(e, index_select_axis(e->attrs, &e->in[0].shape));
}

static void index_select_vjp(tn_vjp *c)
{
    int axis = (int)((const index_select_attrs *)c->attrs)->axis;
    c->din[0] = tn_index_add(tn_zeros_like(c->in[0]), axis, c->in[1], c->dout[0]);
}

static void index_select_ref(const tn_ref *r)
{
    take_ref(r, index_select_axis(r->attrs, &r->in_type[0].shape));
}

#define SELECT(axis) &(const index_select_attrs){ axis }
TN_OP_DEFINE(index_select,
    .doc = "rows of an axis by index [n]: y[.., i, ..] = x[.., index[i], ..]",
    .arity = 2, .flags = TN_STRIDED | TN_CAN_FAIL, TN_ATTRS_OF(index_select),
    .infer = index_select_infer, .run = index_select_run, .scratch = tn__take_scratch,
    .vjp = index_select_vjp, .ref = index_select_ref, .cost = tn__take_cost,
    TN_SAMPLES({ .in = { { 4, 3 }, { 5 } }, INDEX(1), .int_hi = 4, .attrs = SELECT(0) },
               { .in = { { 2, 3 }, { 4 } }, INDEX64(1), .int_hi = 3, .attrs = SELECT(-1) },
               { .in = { { 2, 3, 2 }, { 2 } }, INDEX(1), .int_hi = 3, .attrs = SELECT(1) },
               { .in = { { 3, 2 }, { -1 } }, INDEX(1), .attrs = SELECT(0) },
               { .in = { { 3, 2 }, { 2, 2 } }, INDEX(1), .attrs = SELECT(0), .fails = TN_ERR_SHAPE,
                 .message = "index_select: [3,2] x [2,2]: the index has rank 2, not 1" },
               { .in = { { 3, 2 }, { 2 } }, .attrs = SELECT(0), .fails = TN_ERR_DTYPE,
                 .message = "input 1 is" }));

tn_node *tn_index_select(tn_node *x, int axis, tn_node *index)
{
    int a = tn_axis(axis, tn_rank(x));
    return tn_apply(&tn_op_index_select, (tn_node *[]){ x, index }, 2,
                    &(index_select_attrs){ a < 0 ? axis : a });
}

#define EMBEDDING_ATTRS(F) F(embedding, i64, padding_idx)
TN_ATTRS(embedding, EMBEDDING_ATTRS)

static tn_status embedding_infer(tn_infer *c)
{
    const tn_shape *w = &c->in[0].shape;
    int64_t         padding = ((const embedding_attrs *)c->attrs)->padding_idx;
    if (tn_infer_index(c, 1) != TN_OK) return tn_ctx_status(c->ctx);
    if (w->rank != 2)
        return tn_infer_fail(c, TN_ERR_SHAPE, "the weight has rank %d, not 2", w->rank);
    if (padding < -1 || padding >= w->dim[0])
        return tn_infer_fail(c, TN_ERR_ARG, "padding_idx %lld is not in [-1, %lld)",
                             (long long)padding, (long long)w->dim[0]);
    tn_shape s = c->in[1].shape;
    if (s.rank == TN_MAX_RANK) return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    s.dim[s.rank++] = w->dim[1];
    c->out[0] = (tn_type){ c->in[0].dtype, s };
    return TN_OK;
}

static tn_status embedding_run(tn_exec *e) { return take_run(e, 0); }
static void      embedding_ref(const tn_ref *r) { take_ref(r, 0); }

static tn_node *index_add(tn_node *base, int axis, tn_node *index, tn_node *src, int64_t skip);

static void embedding_vjp(tn_vjp *c)
{
    int64_t  padding = ((const embedding_attrs *)c->attrs)->padding_idx;
    tn_shape s = tn_node_shape(c->in[1]);
    int64_t  n = tn_shape_size(&s);
    tn_node *rows = tn_reshape(c->dout[0], TN_SHAPE(n, tn_dim(c->in[0], 1)));
    c->din[0] =
        index_add(tn_zeros_like(c->in[0]), 0, tn_reshape(c->in[1], TN_SHAPE(n)), rows, padding);
}

#define PADDING(i) &(const embedding_attrs){ i }
TN_OP_DEFINE(embedding,
    .doc = "rows of weight [v, d] by index [..] -> [.., d]; the row padding_idx gets no gradient",
    .arity = 2, .flags = TN_STRIDED | TN_CAN_FAIL, TN_ATTRS_OF(embedding), .infer = embedding_infer,
    .run = embedding_run, .scratch = tn__take_scratch, .vjp = embedding_vjp, .ref = embedding_ref,
    .cost = tn__take_cost,
    TN_SAMPLES({ .in = { { 5, 3 }, { 2, 4 } }, INDEX(1), .int_hi = 5, .attrs = PADDING(-1) },
               { .in = { { 4, 17 }, { 6 } }, INDEX64(1), .int_hi = 3, .attrs = PADDING(3) },
               { .in = { { 3, 2 }, { 0 } }, INDEX(1), .int_hi = 3, .attrs = PADDING(-1) },
               { .in = { { 3, 2 }, { 2, -1 } }, INDEX(1), .attrs = PADDING(-1) },
               { .in = { { 3, 2, 2 }, { 2 } }, INDEX(1), .attrs = PADDING(-1),
                 .fails = TN_ERR_SHAPE,
                 .message = "embedding: [3,2,2] x [2]: the weight has rank 3, not 2" },
               { .in = { { 3, 2 }, { 2 } }, INDEX(1), .attrs = PADDING(3), .fails = TN_ERR_ARG,
                 .message = "padding_idx 3 is not in [-1, 3)" }));

tn_node *tn_embedding(tn_node *weight, tn_node *index, int64_t padding_idx)
{
    return tn_apply(&tn_op_embedding, (tn_node *[]){ weight, index }, 2,
                    &(embedding_attrs){ padding_idx });
}

/* ---- index_add ------------------------------------------------------------------------------- */

/* skip: sources whose index is this are left out (-1: none). */
#define INDEX_ADD_ATTRS(F) F(index_add, i64, axis) F(index_add, i64, skip)
TN_ATTRS(index_add, INDEX_ADD_ATTRS)

static tn_status index_add_infer(tn_infer *c)
{
    const index_add_attrs *a = c->attrs;
    int                    axis;
    if (index_rank_one(c) != TN_OK || tn__infer_addends(c) != TN_OK) return tn_ctx_status(c->ctx);
    if (tn_infer_axis(c, a->axis, c->in[0].shape.rank, &axis) != TN_OK)
        return tn_ctx_status(c->ctx);
    tn_shape s = c->in[0].shape;
    s.dim[axis] = c->in[1].shape.dim[0];
    if (!tn_shape_equal(&s, &c->in[2].shape)) {
        char text[96];
        return tn_infer_fail(c, TN_ERR_SHAPE, "the source is not %s",
                             tn_shape_text(&s, text, sizeof text));
    }
    c->out[0] = c->in[0];
    return TN_OK;
}

/* Task (o, r, t) adds to rows r, r + classes, .. of outer o, in tile t of columns. */
typedef struct add_plan {
    tn_dtype       dtype;
    char          *y;
    const char    *src;
    const int64_t *index;
    int64_t        skip, n, rows, inner;
    int64_t        classes, tiles, tile; /* classes: a power of 2 */
} add_plan;

#define ADD_ROW(T, U)                                                                              \
    do {                                                                                           \
        T       *restrict y = (T *)(void *)p->y + to;                                              \
        const T *restrict x = (const T *)(const void *)p->src + from;                              \
        for (int64_t j = 0; j < width; j++) y[j] = (T)((U)y[j] + (U)x[j]);                         \
    } while (0)

static void add_task(void *arg, int64_t task, int worker)
{
    const add_plan *p = arg;
    int64_t         first = task % p->tiles * p->tile, width = least(p->inner - first, p->tile);
    int64_t         class = task / p->tiles % p->classes, o = task / p->tiles / p->classes;
    (void)worker;
    for (int64_t i = 0; i < p->n; i++) {
        int64_t row = p->index[i];
        if ((row & (p->classes - 1)) != class || row == p->skip) continue;
        int64_t to = (o * p->rows + row) * p->inner + first,
                from = (o * p->n + i) * p->inner + first;
        switch (p->dtype) {
        case TN_F32: ADD_ROW(float, float); break;
        case TN_F64: ADD_ROW(double, double); break;
        case TN_I32: ADD_ROW(int32_t, uint32_t); break;
        default: ADD_ROW(int64_t, uint64_t); break;
        }
    }
}

/* Enough tasks for all threads: classes of rows, and tiles where rows are wide, since one row may
 * get everything. */
static void divide_adds(add_plan *p, int64_t outer, int threads)
{
    p->classes = p->tiles = 1, p->tile = p->inner;
    if (outer * p->n * p->inner < CHUNK) return;
    while (p->classes < 4 * threads && p->classes < 64 && p->classes < p->rows &&
           outer < 4 * threads)
        p->classes *= 2;
    if (p->inner >= 256 && threads > 1) p->tiles = 2, p->tile = tn__row_half(p->inner);
}

static bool is_one(const tn_tensor *t)
{
    for (int d = 0; d < t->shape.rank; d++)
        if (t->shape.dim[d] != 1 && t->stride[d] != 0) return false;
    return true;
}

/* Into a fresh array: row by row of it. */
static void index_add_fresh(tn_exec *e, axis_view v, char *scratch, const int64_t *index)
{
    int64_t *links = (int64_t *)(void *)scratch;
    if (index == e->in[1].data) { /* where it lies it is not to be overwritten */
        if (links) memcpy(links, index, (size_t)e->in[1].shape.dim[0] * sizeof *links);
        scratch += tn__index_bytes(&e->in[1]);
    } else {
        links = (int64_t *)(uintptr_t)index;
    }
    const void   *src = tn__plain(e, 2, &scratch);
    const int64_t row_bytes = v.inner * (int64_t)tn_dtype_size(e->in[0].dtype);
    tn__row_sums_run(e->ctx, &(tn__row_sums){
        .dtype = e->in[0].dtype, .y = e->out[0].data, .base = e->in[0].data, .src = src,
        .base_is_one = is_one(&e->in[0]), .index = links,
        .first = (int64_t *)(void *)scratch, .skip = ((const index_add_attrs *)e->attrs)->skip,
        .outer = v.outer, .n = e->in[1].shape.dim[0], .rows = v.n, .inner = v.inner,
        .is_far = row_bytes >= 2 * TN_LINE && tn__is_far(e) });
}

static tn_status index_add_run(tn_exec *e)
{
    const index_add_attrs *a = e->attrs;
    axis_view v = around_axis(&e->in[0].shape, tn_axis((int)a->axis, e->in[0].shape.rank));
    char                  *scratch = e->scratch;
    const int64_t         *index;
    if (tn__indices(e, 1, v.n, &scratch, &index) != TN_OK) return TN_ERR_INDEX;
    if (e->in[0].data != e->out[0].data) {
        /* but not element by element, where outer ones are enough for all threads */
        const bool is_wide = v.inner >= NARROW || v.outer < 4 * tn_ctx_threads(e->ctx);
        if (is_wide && (is_one(&e->in[0]) || tn_tensor_is_contiguous(&e->in[0]))) {
            index_add_fresh(e, v, scratch, index);
            return TN_OK;
        }
        tn__copy(e->ctx, &e->out[0], &e->in[0]);
    }
    add_plan p = { .dtype = e->in[0].dtype, .y = e->out[0].data, .src = tn__plain(e, 2, &scratch),
                   .index = index, .skip = a->skip, .n = e->in[1].shape.dim[0], .rows = v.n,
                   .inner = v.inner };
    if (p.n == 0 || v.inner == 0) return TN_OK;
    divide_adds(&p, v.outer, tn_ctx_threads(e->ctx));
    tn_parallel_for(e->ctx, v.outer * p.classes * p.tiles, add_task, &p);
    return TN_OK;
}

static size_t index_add_scratch(const tn_exec *e)
{
    const int axis = (int)((const index_add_attrs *)e->attrs)->axis;
    return tn__index_add_scratch(e) + sizeof(int64_t) *
        (size_t)e->in[0].shape.dim[tn_axis(axis, e->in[0].shape.rank)];
}

static void index_add_vjp(tn_vjp *c)
{
    const index_add_attrs *a = c->attrs;
    if (c->want[0]) c->din[0] = c->dout[0];
    if (!c->want[2]) return;
    tn_node *dy = tn_index_select(c->dout[0], (int)a->axis, c->in[1]);
    if (a->skip >= 0) { /* zeros for the sources that were left out */
        tn_shape s = { .rank = tn_rank(c->in[2]) };
        for (int d = 0; d < s.rank; d++) s.dim[d] = d == a->axis ? -1 : 1;
        tn_node *is_skipped = tn_eq(c->in[1], tn_scalar_like(c->in[1], (double)a->skip));
        dy = tn_masked_fill(dy, tn_reshape(is_skipped, s), 0);
    }
    c->din[2] = dy;
}

static void index_add_ref(const tn_ref *r)
{
    const index_add_attrs *a = r->attrs;
    axis_view v =
        around_axis(&r->in_type[0].shape, tn_axis((int)a->axis, r->in_type[0].shape.rank));
    int64_t   n = r->in_type[1].shape.dim[0];
    bool      is_float = tn_dtype_is_float(r->in_type[0].dtype);
    memcpy(r->out[0], r->in[0], (size_t)(v.outer * v.n * v.inner) * 8);
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < v.inner; j++) {
                int64_t to = (o * v.n + tn__ref_index(r, 1, i)) * v.inner + j,
                        from = (o * n + i) * v.inner + j;
                if (tn__ref_index(r, 1, i) == a->skip) continue;
                if (is_float) ((double *)r->out[0])[to] += ((const double *)r->in[2])[from];
                else ((int64_t *)r->out[0])[to] += ((const int64_t *)r->in[2])[from];
            }
}

#define ADD(...) &(const index_add_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(index_add,
    .doc = "x with src[.., i, ..] added at row index[i] of an axis, in rising order of i",
    .arity = 3, .flags = TN_STRIDED | TN_CAN_FAIL | TN_INPLACE_OK, TN_ATTRS_OF(index_add),
    .infer = index_add_infer, .run = index_add_run, .scratch = index_add_scratch,
    .vjp = index_add_vjp, .ref = index_add_ref, .cost = tn__index_add_cost,
    TN_SAMPLES({ .in = { { 4, 3 }, { 5 }, { 5, 3 } }, INDEX(1), .int_hi = 4, .attrs = ADD(0, -1) },
               { .in = { { 4, 3 }, { 5 }, { 5, 3 } }, INDEX64(1), .int_hi = 3, .attrs = ADD(0, 1) },
               { .in = { { 2, 3, 2 }, { 4 }, { 2, 4, 2 } }, INDEX(1), .int_hi = 3,
                 .attrs = ADD(1, 0) },
               { .in = { { 3 }, { -1 }, { -1 } }, INDEX(1), .attrs = ADD(0, -1) },
               { .in = { { 4, 3 }, { 5 }, { 4, 3 } }, INDEX(1), .attrs = ADD(0, -1),
                 .fails = TN_ERR_SHAPE,
                 .message = "index_add: [4,3] x [5] x [4,3]: the source is not [5,3]" }));

static tn_node *index_add(tn_node *base, int axis, tn_node *index, tn_node *src, int64_t skip)
{
    int a = tn_axis(axis, tn_rank(base));
    return tn_apply(&tn_op_index_add, (tn_node *[]){ base, index, src }, 3,
                    &(index_add_attrs){ a < 0 ? axis : a, skip });
}

tn_node *tn_index_add(tn_node *x, int axis, tn_node *index, tn_node *src)
{
    return index_add(x, axis, index, src, -1);
}

/* ---- one_hot --------------------------------------------------------------------------------- */

#define ONE_HOT_ATTRS(F) F(one_hot, i64, n) F(one_hot, dtype, dtype)
TN_ATTRS(one_hot, ONE_HOT_ATTRS)

static tn_status one_hot_infer(tn_infer *c)
{
    const one_hot_attrs *a = c->attrs;
    tn_shape             s = c->in[0].shape;
    if (tn_infer_index(c, 0) != TN_OK) return tn_ctx_status(c->ctx);
    if (a->n < 0) return tn_infer_fail(c, TN_ERR_ARG, "%lld classes", (long long)a->n);
    if (tn_dtype_size(a->dtype) == 0) return tn_infer_fail(c, TN_ERR_DTYPE, "unknown dtype");
    if (s.rank == TN_MAX_RANK) return tn_infer_fail(c, TN_ERR_SHAPE, "rank over %d", TN_MAX_RANK);
    s.dim[s.rank++] = a->n;
    c->out[0] = (tn_type){ a->dtype, s };
    return TN_OK;
}

static tn_status one_hot_run(tn_exec *e)
{
    const one_hot_attrs *a = e->attrs;
    char                *scratch = e->scratch;
    int64_t              n = tn_shape_size(&e->in[0].shape), zero = 0;
    const int64_t       *index;
    if (tn__indices(e, 0, a->n, &scratch, &index) != TN_OK) return TN_ERR_INDEX;
    tn__fill(e->ctx, e->out[0].data, n * a->n, tn_dtype_size(a->dtype), &zero);
    for (int64_t i = 0; i < n; i++) tn__store(a->dtype, e->out[0].data, i * a->n + index[i], 1);
    return TN_OK;
}

static size_t one_hot_scratch(const tn_exec *e) { return tn__index_bytes(&e->in[0]); }

static void one_hot_ref(const tn_ref *r)
{
    const one_hot_attrs *a = r->attrs;
    for (int64_t i = 0; i < tn_shape_size(&r->in_type[0].shape); i++)
        for (int64_t j = 0; j < a->n; j++) {
            bool is_it = tn__ref_index(r, 0, i) == j;
            if (a->dtype == TN_BOOL) ((uint8_t *)r->out[0])[i * a->n + j] = is_it;
            else if (tn_dtype_is_float(a->dtype)) ((double *)r->out[0])[i * a->n + j] = is_it;
            else ((int64_t *)r->out[0])[i * a->n + j] = is_it;
        }
}

#define CLASSES(...) &(const one_hot_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(one_hot,
    .doc = "1 at the index, 0 elsewhere: [..] -> [.., n]",
    .arity = 1, .flags = TN_NOT_DIFFERENTIABLE | TN_STRIDED | TN_CAN_FAIL, TN_ATTRS_OF(one_hot),
    .infer = one_hot_infer, .run = one_hot_run, .scratch = one_hot_scratch, .ref = one_hot_ref,
    TN_SAMPLES({ .in = { { 4 } }, INDEX(0), .int_hi = 3, .attrs = CLASSES(3, TN_F64) },
               { .in = { { 2, 3 } }, INDEX64(0), .int_hi = 5, .attrs = CLASSES(5, TN_BOOL) },
               { .in = { { 0 } }, INDEX(0), .int_hi = 2, .attrs = CLASSES(2, TN_I32) },
               { .in = { { -1 } }, INDEX(0), .attrs = CLASSES(2, TN_F32) },
               { .in = { { 2 } }, INDEX(0), .attrs = CLASSES(-1, TN_F32), .fails = TN_ERR_ARG,
                 .message = "one_hot: [2]: -1 classes" }));

tn_node *tn_one_hot(tn_node *index, int64_t n_classes, tn_dtype dtype)
{
    return tn_apply(&tn_op_one_hot, &index, 1, &(one_hot_attrs){ n_classes, dtype });
}
