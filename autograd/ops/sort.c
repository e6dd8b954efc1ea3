/* sort and topk along an axis: stable (equal values stay in the order of their positions), NaNs
 * last. Values become integers of the same order, so that one merge sort serves every dtype. */
#include "autograd/ops/sort.h"

#include <math.h>
#include <string.h>

/* ---- keys ------------------------------------------------------------------------------------ */

/* A value as an integer: what is to come earlier is smaller. */
typedef struct sort_item {
    uint64_t key;
    int64_t  position;
} sort_item;

enum { HIGH_BIT_SHIFT = 63 };

/* Order of a float: negative numbers have their bits turned over, -0 is 0, NaN is the last. */
static uint64_t float_key(double x, bool descending)
{
    uint64_t bits;
    if (x != x) return UINT64_MAX;
    x += 0.0;
    memcpy(&bits, &x, sizeof bits);
    bits = bits >> HIGH_BIT_SHIFT ? ~bits : bits | (uint64_t)1 << HIGH_BIT_SHIFT;
    return descending ? ~bits : bits;
}

static uint64_t int_key(int64_t x, bool descending)
{
    uint64_t bits = (uint64_t)x ^ (uint64_t)1 << HIGH_BIT_SHIFT;
    return descending ? ~bits : bits;
}

/* Keys of n elements that lie `stride` apart. */
static void make_keys(tn_dtype dtype, const void *x, int64_t stride, int64_t n, bool descending,
                      sort_item *items)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i * stride;
        items[i].position = i;
        switch (dtype) {
        case TN_F32: items[i].key = float_key(((const float *)x)[at], descending); break;
        case TN_F64: items[i].key = float_key(((const double *)x)[at], descending); break;
        case TN_I32: items[i].key = int_key(((const int32_t *)x)[at], descending); break;
        case TN_I64: items[i].key = int_key(((const int64_t *)x)[at], descending); break;
        default: items[i].key = int_key(((const uint8_t *)x)[at], descending); break;
        }
    }
}

/* ---- sorting --------------------------------------------------------------------------------- */

static void insertion_sort(sort_item *a, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        sort_item x = a[i];
        int64_t   j = i;
        for (; j > 0 && a[j - 1].key > x.key; j--) a[j] = a[j - 1];
        a[j] = x;
    }
}

static void merge(const sort_item *a, int64_t na, const sort_item *b, int64_t nb, sort_item *out)
{
    int64_t i = 0, j = 0;
    while (i < na && j < nb) { /* without a branch that cannot be foreseen */
        bool             is_b = b[j].key < a[i].key;
        const sort_item *next = is_b ? b + j : a + i;
        *out++ = *next;
        i += !is_b, j += is_b;
    }
    memcpy(out, a + i, (size_t)(na - i) * sizeof *a);
    memcpy(out + (na - i), b + j, (size_t)(nb - j) * sizeof *b);
}

/* Sorts a, with other as room; returns the one of the two that has the result. */
static sort_item *merge_sort(sort_item *a, sort_item *other, int64_t n)
{
    enum { RUN = 16 };
    for (int64_t i = 0; i < n; i += RUN) insertion_sort(a + i, n - i < RUN ? n - i : RUN);
    for (int64_t width = RUN; width < n; width *= 2) {
        for (int64_t i = 0; i < n; i += 2 * width) {
            int64_t na = n - i < width ? n - i : width,
                    nb = n - i - na < width ? n - i - na : width;
            merge(a + i, na, a + i + na, nb, other + i);
        }
        sort_item *t = a;
        a = other, other = t;
    }
    return a;
}

/* Puts n more items among the k best so far, of which there are `have`; how many there are then. */
static int64_t pick(const sort_item *a, int64_t n, int64_t k, sort_item *best, int64_t have)
{
    for (int64_t i = 0; i < n; i++) {
        if (have == k && a[i].key >= best[k - 1].key) continue;
        int64_t j = have < k ? have++ : k - 1;
        for (; j > 0 && best[j - 1].key > a[i].key; j--) best[j] = best[j - 1];
        best[j] = a[i];
    }
    return have;
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct sort_plan {
    const tn_kernels *kernels;
    tn_dtype    dtype;
    const char *x;
    char       *values;
    int64_t    *positions;
    sort_item  *room;      /* 2 n for each task */
    int64_t     n, k, inner, lines, tasks;
    bool        descending;
} sort_plan;

enum { PICK_MOST = 64, PICK_BLOCK = 64 };

/* The k best of those that were found. */
static void pick_found(const tn__top *t, tn_dtype dtype, int64_t found, sort_item *best)
{
    for (int64_t i = 0, have = 0; i < found; i++) {
        const double x = dtype == TN_F32 ? (double)((const float *)t->y)[t->at[i]]
                                         : ((const double *)t->y)[t->at[i]];
        sort_item    item = { float_key(x, true), t->at[i] };
        have = pick(&item, 1, t->k, best, have);
    }
}

/* The first k items, to the line at `to`, of the one at `from`. */
static void put_first(const sort_plan *p, const sort_item *a, int64_t from, int64_t to)
{
    const int64_t size = (int64_t)tn_dtype_size(p->dtype);
    for (int64_t r = 0; r < p->k; r++) {
        memcpy(p->values + (to + r * p->inner) * size,
               p->x + (from + a[r].position * p->inner) * size, (size_t)size);
        p->positions[to + r * p->inner] = a[r].position;
    }
}

void tn__topk_row(const tn_kernels *kernels, const tn__top *t, tn_dtype dtype, int64_t found,
                  void *values, int64_t *positions, void *room)
{
    sort_plan  p = { .dtype = dtype, .x = t->y, .values = values, .positions = positions, .n = t->n,
                     .k = t->k, .inner = 1, .descending = true };
    sort_item *best = room;
    if (found >= 0 && found <= TN_TOP_FOUND) {
        (dtype == TN_F32 ? kernels->top_pick_f32 : kernels->top_pick_f64)(t, found, values,
                                                                          positions);
        return;
    }
    if (found >= 0) {
        pick_found(t, dtype, found, best);
    } else {
        make_keys(dtype, t->y, 1, t->n, true, best);
        best = merge_sort(best, best + t->n, t->n);
    }
    put_first(&p, best, 0, 0);
}

/* The k largest of a line of floats, in order, put where they go; false if too few are numbers. */
static bool pick_largest(const sort_plan *p, const char *x, int64_t to, sort_item *room)
{
    const tn_kernels *k = p->kernels;
    const bool        is_f32 = p->dtype == TN_F32;
    tn__top           t = { .n = p->n, .k = p->k, .x = x, .y = (void *)(uintptr_t)x,
                            .at = &(room + p->n)->position };
    (is_f32 ? k->top_lanes_f32 : k->top_lanes_f64)(&t);
    if (t.least == -INFINITY) return false;
    const int64_t found = (is_f32 ? k->top_find_f32 : k->top_find_f64)(&t);
    tn__topk_row(k, &t, p->dtype, found, p->values + to * (int64_t)tn_dtype_size(p->dtype),
                 p->positions + to, room);
    return true;
}

/* The k first of a line in order, in a or b (room for n each), for k much smaller than n. Where k
 * is large, what may be one of them is kept, and of that, whenever there is enough, the k first. */
static sort_item *pick_first(const sort_plan *p, const char *x, sort_item *a, sort_item *b)
{
    int64_t   size = (int64_t)tn_dtype_size(p->dtype), have = 0;
    uint64_t  limit = UINT64_MAX;
    bool      is_full = false;
    sort_item block[PICK_BLOCK];
    for (int64_t i = 0; i < p->n; i += PICK_BLOCK) {
        int64_t n = p->n - i < PICK_BLOCK ? p->n - i : PICK_BLOCK;
        make_keys(p->dtype, x + i * p->inner * size, p->inner, n, p->descending, block);
        for (int64_t j = 0; j < n; j++) block[j].position += i;
        if (p->k <= PICK_MOST) {
            have = pick(block, n, p->k, a, have);
            continue;
        }
        for (int64_t j = 0; j < n; j++)
            if (!is_full || block[j].key < limit) a[have++] = block[j];
        if (have < 2 * p->k + PICK_BLOCK && i + n < p->n) continue;
        sort_item *sorted = merge_sort(a, b, have);
        if (sorted == b) b = a, a = sorted;
        is_full = have >= p->k;
        if (is_full) have = p->k, limit = a[p->k - 1].key;
    }
    return a;
}

static void sort_line(const sort_plan *p, int64_t line, sort_item *room)
{
    int64_t size = (int64_t)tn_dtype_size(p->dtype), outer = line / p->inner, i = line % p->inner;
    int64_t    from = outer * p->n * p->inner + i, to = outer * p->k * p->inner + i;
    sort_item *a = room, *b = room + p->n;
    if (8 * p->k <= p->n) {
        const bool are_floats = tn_dtype_is_float(p->dtype) && p->inner == 1 && p->descending;
        if (are_floats && p->k <= PICK_MOST &&
            pick_largest(p, p->x + from * size, to, room)) return;
        a = pick_first(p, p->x + from * size, a, b);
    } else {
        make_keys(p->dtype, p->x + from * size, p->inner, p->n, p->descending, a);
        a = merge_sort(a, b, p->n);
    }
    put_first(p, a, from, to);
}

static void sort_task(void *arg, int64_t task, int worker)
{
    const sort_plan *p = arg;
    int64_t          first = p->lines * task / p->tasks, end = p->lines * (task + 1) / p->tasks;
    (void)worker;
    for (int64_t line = first; line < end; line++) sort_line(p, line, p->room + 2 * p->n * task);
}

static int64_t task_count(const tn_exec *e, int64_t lines)
{
    int64_t threads = tn_ctx_threads(e->ctx);
    return lines < threads ? lines : threads;
}

static int64_t lines_of(const tn_shape *s, int axis)
{
    int64_t n = 1;
    for (int d = 0; d < s->rank; d++)
        if (d != axis) n *= s->dim[d];
    return n;
}

static tn_status run_sort(tn_exec *e, int64_t axis, int64_t k, bool descending)
{
    const tn_shape *s = &e->in[0].shape;
    int             a = tn_axis((int)axis, s->rank);
    sort_plan p = { .dtype = e->in[0].dtype, .x = e->in[0].data, .values = e->out[0].data,
                    .positions = e->out[1].data, .room = e->scratch, .n = s->dim[a], .k = k,
                    .inner = 1, .lines = lines_of(s, a), .descending = descending,
                    .kernels = tn__ctx_kernels(e->ctx) };
    for (int d = a + 1; d < s->rank; d++) p.inner *= s->dim[d];
    p.tasks = task_count(e, p.lines);
    if (k > 0) tn_parallel_for(e->ctx, p.tasks, sort_task, &p);
    return TN_OK;
}

static size_t scratch_of(const tn_exec *e, int64_t axis)
{
    const tn_shape *s = &e->in[0].shape;
    int             a = tn_axis((int)axis, s->rank);
    return 2 * (size_t)(task_count(e, lines_of(s, a)) * s->dim[a]) * sizeof(sort_item);
}

static tn_status infer_sort(tn_infer *c, int64_t axis, int64_t k)
{
    tn_dtype d = c->in[0].dtype;
    int      a;
    if (!tn_dtype_is_float(d) && !tn_dtype_is_index(d) && d != TN_U8)
        return tn_infer_fail(c, TN_ERR_DTYPE, "not of f32, f64, i32, i64 or u8");
    if (tn_infer_axis(c, axis, c->in[0].shape.rank, &a) != TN_OK) return tn_ctx_status(c->ctx);
    c->out[0] = c->in[0];
    if (k >= 0) c->out[0].shape.dim[a] = k;
    c->out[1] = (tn_type){ TN_I64, c->out[0].shape };
    return TN_OK;
}

/* dy back to where the values came from. */
static void vjp_of_sort(tn_vjp *c, int64_t axis)
{
    if (c->dout[0])
        c->din[0] = tn_scatter_add(tn_zeros_like(c->in[0]), (int)axis, c->out[1], c->dout[0]);
}

/* Selection, one place after another: the best of those not taken yet, the first of equals. */
static void ref_of_sort(const tn_ref *r, int64_t axis, int64_t k, bool descending)
{
    const tn_shape *s = &r->in_type[0].shape;
    int             a = tn_axis((int)axis, s->rank);
    int64_t         n = s->dim[a], inner = 1, lines = lines_of(s, a);
    bool            is_float = tn_dtype_is_float(r->in_type[0].dtype);
    for (int d = a + 1; d < s->rank; d++) inner *= s->dim[d];
    for (int64_t line = 0; line < lines; line++)
        for (int64_t place = 0; place < k; place++) {
            int64_t from = line / inner * n * inner + line % inner,
                    to = line / inner * k * inner + line % inner;
            int64_t best = -1;
            double  best_x = 0;
            for (int64_t i = 0; i < n; i++) {
                bool is_taken = false;
                for (int64_t p = 0; p < place; p++)
                    is_taken |= ((int64_t *)r->out[1])[to + p * inner] == i;
                double x = is_float ? ((const double *)r->in[0])[from + i * inner]
                                    : (double)((const int64_t *)r->in[0])[from + i * inner];
                if (!is_taken && (best < 0 || (descending ? x > best_x : x < best_x)))
                    best = i, best_x = x;
            }
            ((int64_t *)r->out[1])[to + place * inner] = best;
            memcpy((char *)r->out[0] + (to + place * inner) * 8,
                   (const char *)r->in[0] + (from + best * inner) * 8, 8);
        }
}

/* ---- sort ------------------------------------------------------------------------------------ */

#define SORT_ATTRS(F) F(sort, i64, axis) F(sort, flag, descending)
TN_ATTRS(sort, SORT_ATTRS)

static tn_status sort_infer(tn_infer *c)
{
    return infer_sort(c, ((const sort_attrs *)c->attrs)->axis, -1);
}

static tn_status sort_run(tn_exec *e)
{
    const sort_attrs *a = e->attrs;
    return run_sort(e, a->axis, e->in[0].shape.dim[tn_axis((int)a->axis, e->in[0].shape.rank)],
                    a->descending);
}

static size_t sort_scratch(const tn_exec *e)
{
    return scratch_of(e, ((const sort_attrs *)e->attrs)->axis);
}

static void   sort_vjp(tn_vjp *c) { vjp_of_sort(c, ((const sort_attrs *)c->attrs)->axis); }

static void sort_ref(const tn_ref *r)
{
    const sort_attrs *a = r->attrs;
    ref_of_sort(r, a->axis,
                r->in_type[0].shape.dim[tn_axis((int)a->axis, r->in_type[0].shape.rank)],
                a->descending);
}

#define SORT(...) &(const sort_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(sort,
    .doc = "x in order along an axis, stable, NaNs last; and where each value came from",
    .arity = 1, .n_out = 2, TN_ATTRS_OF(sort), .infer = sort_infer, .run = sort_run,
    .scratch = sort_scratch, .vjp = sort_vjp, .ref = sort_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 7 } }, .attrs = SORT(0, false), .distinct = true },
               { .in = { { 2, 5 } }, .attrs = SORT(1, true), .distinct = true },
               { .in = { { 2, 4, 3 } }, .attrs = SORT(-2, false), .distinct = true },
               { .in = { { 40 } }, .attrs = SORT(0, true), .distinct = true },
               { .in = { { 9 } }, .dtype = { TN_I32 }, .int_hi = 4, .attrs = SORT(0, true) },
               { .in = { { 3, -1 } }, .attrs = SORT(1, false) },
               { .in = { { 0 } }, .attrs = SORT(0, false), .fails = TN_ERR_ARG,
                 .message = "sort: []: axis 0 is not in" }));

/* The status of an op with two outputs, of which the caller wants some. */
static tn_status two_outputs(const tn_op *op, tn_node *x, const void *attrs, tn_node **values,
                             tn_node **positions)
{
    tn_node *out[2] = { NULL, NULL };
    if (values) *values = NULL;
    if (positions) *positions = NULL;
    if (!x) return TN_ERR_ARG;
    if (!tn_apply_multi(op, &x, 1, attrs, out)) return tn_ctx_status(tn_node_ctx(x));
    if (values) *values = out[0];
    if (positions) *positions = out[1];
    return TN_OK;
}

tn_status tn_sort(tn_node *x, int axis, bool descending, tn_node **values, tn_node **indices)
{
    int a = tn_axis(axis, tn_rank(x));
    return two_outputs(&tn_op_sort, x, &(sort_attrs){ a < 0 ? axis : a, descending }, values,
                       indices);
}

/* ---- topk ------------------------------------------------------------------------------------ */

#define TOPK_ATTRS(F) F(topk, i64, axis) F(topk, i64, k)
TN_ATTRS(topk, TOPK_ATTRS)

static tn_status topk_infer(tn_infer *c)
{
    const topk_attrs *a = c->attrs;
    if (infer_sort(c, a->axis, -1) != TN_OK) return tn_ctx_status(c->ctx);
    int64_t n = c->in[0].shape.dim[tn_axis((int)a->axis, c->in[0].shape.rank)];
    if (a->k < 0 || a->k > n)
        return tn_infer_fail(c, TN_ERR_ARG, "k is %lld, the axis has %lld", (long long)a->k,
                             (long long)n);
    return infer_sort(c, a->axis, a->k);
}

static tn_status topk_run(tn_exec *e)
{
    const topk_attrs *a = e->attrs;
    return run_sort(e, a->axis, a->k, true);
}

static size_t topk_scratch(const tn_exec *e)
{
    return scratch_of(e, ((const topk_attrs *)e->attrs)->axis);
}

static void   topk_vjp(tn_vjp *c) { vjp_of_sort(c, ((const topk_attrs *)c->attrs)->axis); }

static void topk_ref(const tn_ref *r)
{
    const topk_attrs *a = r->attrs;
    ref_of_sort(r, a->axis, a->k, true);
}

#define TOPK(...) &(const topk_attrs){ __VA_ARGS__ }
TN_OP_DEFINE(topk,
    .doc = "the k largest along an axis, falling, NaNs last; and where each came from",
    .arity = 1, .n_out = 2, TN_ATTRS_OF(topk), .infer = topk_infer, .run = topk_run,
    .scratch = topk_scratch, .vjp = topk_vjp, .ref = topk_ref, .cost = tn__no_cost,
    TN_SAMPLES({ .in = { { 7 } }, .attrs = TOPK(0, 3), .distinct = true },
               { .in = { { 2, 5 } }, .attrs = TOPK(-1, 5), .distinct = true },
               { .in = { { 2, 4, 3 } }, .attrs = TOPK(1, 2), .distinct = true },
               { .in = { { 2, 30 } }, .attrs = TOPK(1, 3), .distinct = true },
               { .in = { { 20 } }, .dtype = { TN_I64 }, .int_hi = 4, .attrs = TOPK(0, 2) },
               { .in = { { 2, 3 } }, .attrs = TOPK(0, 0) },
               { .in = { { 2, 3 } }, .attrs = TOPK(1, 4), .fails = TN_ERR_ARG,
                 .message = "topk: [2,3]: k is 4, the axis has 3" }));

tn_status tn_topk(tn_node *x, int64_t k, int axis, tn_node **values, tn_node **indices)
{
    int a = tn_axis(axis, tn_rank(x));
    return two_outputs(&tn_op_topk, x, &(topk_attrs){ a < 0 ? axis : a, k }, values, indices);
}
