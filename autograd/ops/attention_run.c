/* Running attention: which head, which rows and which mask each task of the kernels
 * (tensor/kernels/attention.h) gets. Memory is linear in the lengths.
 *
 * Every element of an output is made by one task in one order: a task of the forward pass is a
 * chunk of queries of one head; a task of the backward pass is a chunk of keys of one key head,
 * with all queries of the heads that share it. Where batch and heads are too few for that, keys are
 * cut in several chunks, whose parts of dq are added in rising order: the cut depends on shapes
 * alone. */
#include "autograd/ops/attention.h"
#include "tensor/internal.h"

#include <string.h>

enum {
    ALONE_MOST = 1 << 14, /* multiply-adds that are done before another thread has come */
    CHUNK_ROWS = 1024, /* most queries of a forward task, half of them and half again where */
    LEAST_ROWS = 64,   /* tasks are few, but not less than these */
    TASKS_EACH = 8,    /* of a thread: enough to end at the same time */
    CHUNK_KEYS = 512,  /* least keys of a backward task, where keys are cut */
    ENOUGH_TASKS = 16, /* with as many heads and batch rows, keys are not cut */
    MOST_CHUNKS = 8
};

typedef struct call {
    tn_exec                   *e;
    const tn__attention_attrs *attrs;
    tn__attention_at           at;
    tn__attention_sizes        s;
    int64_t                    size;       /* bytes of an element */
    int64_t                    group;      /* heads that share a key head */
    uint64_t                   key;        /* of dropout */
    bool                       is_f32;
    const int32_t             *q_offsets, *k_offsets, *k_lengths;
    char                      *scratch;
    size_t                     per_worker;
    int64_t                    q_chunks, chunk_rows, k_chunks, chunk_keys, n_tasks;
    char                      *parts;      /* of dq: [k_chunks] times dq, where k_chunks > 1 */
} call;

static call call_of(tn_exec *e)
{
    call c = { .e = e, .attrs = e->attrs, .at = tn__attention_inputs(e->attrs) };
    c.s = tn__attention_sizes_of(c.attrs, &e->in[0].shape, &e->in[1].shape, &e->in[2].shape,
                   c.attrs->has_q_offsets ? &e->in[c.at.q_offsets].shape : NULL);
    c.size = (int64_t)tn_dtype_size(e->in[0].dtype);
    c.is_f32 = e->in[0].dtype == TN_F32;
    c.group = c.s.hk > 0 ? c.s.h / c.s.hk : 1;
    c.key = tn__rng_key(e->seed, c.attrs->stream);
    const int64_t heads = c.s.b * c.s.hk;
    int64_t       cuts = heads > 0 ? (ENOUGH_TASKS + heads - 1) / heads : 1;
    cuts = cuts < MOST_CHUNKS ? cuts : MOST_CHUNKS;
    cuts = cuts * CHUNK_KEYS <= c.s.tk ? cuts : (c.s.tk + CHUNK_KEYS - 1) / CHUNK_KEYS;
    cuts = cuts > 0 ? cuts : 1;
    c.chunk_keys = ((c.s.tk + cuts - 1) / cuts + TN_ATTENTION_GRAD_KEYS -
                    1) / TN_ATTENTION_GRAD_KEYS *
                   TN_ATTENTION_GRAD_KEYS;
    c.k_chunks = c.chunk_keys > 0 ? (c.s.tk + c.chunk_keys - 1) / c.chunk_keys : 1;
    return c;
}

/* Points at the data; the first part of the scratch is the workers'. */
static void bind(call *c, size_t per_worker)
{
    const tn_exec *e = c->e;
    c->q_offsets = c->at.q_offsets >= 0 ? e->in[c->at.q_offsets].data : NULL;
    c->k_offsets = c->at.k_offsets >= 0 ? e->in[c->at.k_offsets].data : c->q_offsets;
    c->k_lengths = c->at.k_lengths >= 0 ? e->in[c->at.k_lengths].data : NULL;
    c->per_worker = per_worker;
    c->scratch = e->scratch;
    c->parts = c->scratch + per_worker * (size_t)tn_ctx_threads(e->ctx);
}

static tn_status check_offsets(const call *c, const int32_t *o, int64_t rows, const char *name)
{
    for (int64_t s = 0; o && s <= c->s.b; s++) {
        const int64_t least = s ? o[s - 1] : 0;
        if (o[s] < least || o[s] > rows)
            return tn_fail(c->e->ctx, TN_ERR_INDEX,
                           "attention: %s[%lld] = %d is not in [%lld, %lld]", name,
                           (long long)s, o[s], (long long)least, (long long)rows);
    }
    return TN_OK;
}

static tn_status check_data(const call *c)
{
    tn_status status = check_offsets(c, c->q_offsets, c->s.tq, "q_offsets");
    if (!status) status = check_offsets(c, c->k_offsets, c->s.tk, "k_offsets");
    for (int64_t b = 0; !status && c->k_lengths && b < c->s.b; b++)
        if (c->k_lengths[b] < 0 || c->k_lengths[b] > c->s.tk)
            status = tn_fail(c->e->ctx, TN_ERR_INDEX,
                             "attention: k_lengths[%lld] = %d is not in [0, %lld]",
                             (long long)b, c->k_lengths[b], (long long)c->s.tk);
    return status;
}

/* Element [b, row 0, head, 0] of a tensor with heads, packed or not; *row gets the stride of
 * rows. */
static char *rows_of(const call *c, const tn_tensor *t, int64_t b, int64_t first_row, int64_t head,
                     int64_t *row)
{
    const int64_t *s = t->stride;
    const int64_t  at = c->s.is_packed ? first_row * s[0] + head * s[1] : b * s[0] + head * s[2];
    *row = c->s.is_packed ? s[0] : s[1];
    return (char *)t->data + at * c->size;
}

/* Element [b, head, first_row] of lse or its cotangent, whose rows are contiguous. */
static char *stat_of(const call *c, const tn_tensor *t, int64_t b, int64_t first_row, int64_t head)
{
    const int64_t *s = t->stride;
    return (char *)t->data + ((c->s.is_packed ? head * s[0]
                               : b * s[0] + head * s[1]) + first_row) * c->size;
}

/* Element [b, head, 0, 0] of a mask; strides of broadcast dims are 0. */
static const char *mask_of(const tn_tensor *m, int64_t b, int64_t head, int64_t *row, int64_t *col)
{
    int64_t s[4];
    for (int d = 0; d < 4; d++) s[d] = m->shape.dim[d] == 1 ? 0 : m->stride[d];
    *row = s[2], *col = s[3];
    return (const char *)m->data + (b * s[0] + head * s[1]) * (int64_t)tn_dtype_size(m->dtype);
}

/* Rows of batch row or segment b. */
static void lengths_of(const call *c, int64_t b, int64_t *q0, int64_t *nq, int64_t *k0, int64_t *nk)
{
    *q0 = c->q_offsets ? c->q_offsets[b] : 0,
        *nq = c->q_offsets ? c->q_offsets[b + 1] - *q0 : c->s.tq;
    *k0 = c->k_offsets ? c->k_offsets[b] : 0,
        *nk = c->k_offsets ? c->k_offsets[b + 1] - *k0 : c->s.tk;
    if (c->k_lengths) *nk = c->k_lengths[b];
}

/* Fills in what the kernels need of head `head` of batch row or segment b, gradients aside. */
static void set_head(const call *c, tn__attention *a, int64_t b, int64_t head, const tn_tensor *y,
                     const tn_tensor *lse)
{
    const tn_tensor *in = c->e->in;
    const int64_t    kv = head / c->group;
    int64_t          q0, k0;
    lengths_of(c, b, &q0, &a->tq, &k0, &a->tk);
    a->dh = c->s.dh, a->dv = c->s.dv, a->scale = c->attrs->scale;
    a->q = rows_of(c, &in[0], b, q0, head, &a->q_row);
    a->k = rows_of(c, &in[1], b, k0, kv, &a->k_row);
    a->v = rows_of(c, &in[2], b, k0, kv, &a->v_row);
    a->y = rows_of(c, y, b, q0, head, &a->y_row);
    a->lse = stat_of(c, lse, b, q0, head);
    /* With run-time lengths, the last query stands at the last key, or before it. */
    const bool is_cache = c->k_lengths || c->k_offsets != c->q_offsets;
    a->diagonal = !c->attrs->causal ? a->tk : is_cache && a->tk > a->tq ? a->tk - a->tq : 0;
    a->keep = NULL, a->bias = NULL;
    if (c->at.keep >= 0)
        a->keep = (const uint8_t *)mask_of(&in[c->at.keep], b, head, &a->keep_row, &a->keep_col);
    if (c->at.bias >= 0) a->bias = mask_of(&in[c->at.bias], b, head, &a->bias_row, &a->bias_col);
    a->p = c->attrs->p, a->key = c->key, a->run = c->e->run, a->first_row = c->s.tk;
    a->first = (uint64_t)((((c->s.is_packed ? 0
                             : b) * c->s.h + head) * c->s.tq + q0) * c->s.tk + k0);
    a->dlse = NULL, a->soon = NULL, a->n_soon = 0;
}

static void clear_rows(char *p, int64_t row, int64_t n, int64_t bytes)
{
    for (int64_t i = 0; i < n; i++) memset(p + i * row, 0, (size_t)bytes);
}

/* Zeros in the rows of a packed tensor that no segment has; its heads may lie apart. */
static void clear_outside(const call *c, const tn_tensor *t, const int32_t *offsets)
{
    const int64_t n = t->shape.dim[0], row = t->stride[0] * c->size;
    const int64_t first = c->s.b > 0 ? offsets[0] : n, last = c->s.b > 0 ? offsets[c->s.b] : n;
    for (int64_t head = 0; head < t->shape.dim[1]; head++) {
        char *at = (char *)t->data + head * t->stride[1] * c->size;
        clear_rows(at, row, first, t->shape.dim[2] * c->size);
        clear_rows(at + last * row, row, n - last, t->shape.dim[2] * c->size);
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* One call of a kernel, and the rows that it reads and writes. A worker's next task is most likely
 * the one after its last (tensor/threads.c): its rows are fetched meanwhile. */
typedef struct job {
    int64_t             number; /* 0: none yet */
    tn__attention       a;
    int64_t             from, to, end; /* end: backward, gradients of keys [to, end) are 0 */
    tn__attention_fetch rows[8];
    int                 n_rows;
} job;

enum { JOBS = (2 * sizeof(job) + 63) / 64 * 64 }; /* of a worker: this one and the next */

static void add_rows(const call *c, job *j, const void *at, int64_t row, int64_t first,
                     int64_t last, int64_t n)
{
    const char *begin = (const char *)at + first * row * c->size;
    if (first < last && n > 0)
        j->rows[j->n_rows++] = (tn__attention_fetch){ begin, row * c->size, last - first,
                                                      n * c->size };
}

typedef void (*set_job)(const call *c, int64_t number, job *j);

/* Job `number`, and what to fetch for the one after it, if there is one. */
static job *begin_job(const call *c, char *scratch, int64_t number, int64_t n, set_job set)
{
    job *jobs = (job *)(void *)scratch, *now = &jobs[number & 1], *next = &jobs[~number & 1];
    if (now->number != number + 1) set(c, number, now);
    now->number = 0;
    if (number + 1 == n) return now;
    set(c, number + 1, next);
    next->number = number + 2;
    now->a.soon = next->rows, now->a.n_soon = next->n_rows;
    return now;
}

static char *scratch_of(const call *c, int worker)
{
    return c->scratch + (size_t)worker * c->per_worker;
}

static void clear_jobs(const call *c)
{
    for (int w = 0; w < tn_ctx_threads(c->e->ctx); w++) memset(scratch_of(c, w), 0, JOBS);
}

/* ---- forward --------------------------------------------------------------------------------- */

/* Chunks of one head are neighbours, the last (the longest, where causal) first. */
static void forward_job(const call *c, int64_t number, job *j)
{
    const int64_t chunk = c->q_chunks - 1 - number % c->q_chunks,
        head = number / c->q_chunks % c->s.h;
    tn__attention *a = &j->a;
    set_head(c, a, number / c->q_chunks / c->s.h, head, &c->e->out[0], &c->e->out[1]);
    j->from = chunk * c->chunk_rows, j->n_rows = 0;
    j->to = a->tq - j->from < c->chunk_rows ? a->tq : j->from + c->chunk_rows;
    add_rows(c, j, a->q, a->q_row, j->from, j->to, a->dh);
    /* Of a later chunk the same keys as before; picked ones are fetched once they are picked. */
    if (number % c->q_chunks == 0 && !tn__attention_picks_keys(a)) {
        add_rows(c, j, a->k, a->k_row, 0, a->tk, a->dh);
        add_rows(c, j, a->v, a->v_row, 0, a->tk, a->dv);
    }
    add_rows(c, j, a->y, a->y_row, j->from, j->to, a->dv);
}

static void forward_task(void *arg, int64_t task, int worker)
{
    const call       *c = arg;
    const tn_kernels *k = tn__ctx_kernels(c->e->ctx);
    char             *scratch = scratch_of(c, worker);
    const job        *j = begin_job(c, scratch, task, c->n_tasks, forward_job);
    if (j->from < j->to)
        (c->is_f32 ? k->attention_f32 : k->attention_f64)(&j->a, j->from, j->to, scratch + JOBS);
}

static size_t round_up(size_t n) { return (n + 63) / 64 * 64; }

static tn__attention largest(const call *c)
{
    return (tn__attention){ .tq = c->s.tq, .tk = c->s.tk, .dh = c->s.dh, .dv = c->s.dv,
                            .p = c->attrs->p };
}

static size_t forward_per_worker(const call *c)
{
    const tn__attention a = largest(c);
    return JOBS + round_up(tn__attention_scratch(&a, c->size));
}

size_t tn__attention_run_scratch(const tn_exec *e)
{
    tn_exec    copy = *e;
    const call c = call_of(&copy);
    return forward_per_worker(&c) * (size_t)tn_ctx_threads(e->ctx);
}

static void clear_lse_outside(const call *c, const tn_tensor *lse)
{
    for (int64_t head = 0; head < c->s.h; head++) {
        char         *row = (char *)lse->data + head * c->s.tq * c->size;
        const int64_t first = c->s.b > 0 ? c->q_offsets[0] : c->s.tq;
        const int64_t last = c->s.b > 0 ? c->q_offsets[c->s.b] : c->s.tq;
        memset(row, 0, (size_t)(first * c->size));
        memset(row + last * c->size, 0, (size_t)((c->s.tq - last) * c->size));
    }
}

tn_status tn__attention_run(tn_exec *e)
{
    call c = call_of(e);
    bind(&c, forward_per_worker(&c));
    tn_status status = check_data(&c);
    if (status) return status;
    if (c.s.is_packed)
        clear_outside(&c, &e->out[0], c.q_offsets), clear_lse_outside(&c, &e->out[1]);
    int64_t longest = c.s.is_packed ? 0 : c.s.tq;
    for (int64_t b = 0; c.s.is_packed && b < c.s.b; b++) {
        const int64_t n = c.q_offsets[b + 1] - c.q_offsets[b];
        longest = n > longest ? n : longest;
    }
    const int64_t heads = c.s.b * c.s.h, wanted = TASKS_EACH * tn_ctx_threads(e->ctx);
    c.chunk_rows = CHUNK_ROWS;
    c.q_chunks = (longest + c.chunk_rows - 1) / c.chunk_rows;
    while (heads * c.q_chunks < wanted && c.chunk_rows > LEAST_ROWS) {
        c.chunk_rows /= 2;
        c.q_chunks = (longest + c.chunk_rows - 1) / c.chunk_rows;
    }
    c.n_tasks = heads * c.q_chunks;
    clear_jobs(&c);
    const int64_t work = heads * c.s.tq * c.s.tk * c.s.dh;
    for (int64_t i = 0; work < ALONE_MOST && i < c.n_tasks; i++) forward_task(&c, i, 0);
    if (work >= ALONE_MOST) tn_parallel_for(e->ctx, c.n_tasks, forward_task, &c);
    return TN_OK;
}

/* ---- backward -------------------------------------------------------------------------------- */

/* dq of a chunk of keys: the output itself where there is only one. */
static tn_tensor dq_of(const call *c, int64_t chunk)
{
    tn_tensor dq = c->e->out[0];
    if (c->k_chunks == 1) return dq;
    dq.data = c->parts + chunk * tn_shape_size(&dq.shape) * c->size;
    tn_shape_strides(&dq.shape, dq.stride);
    return dq;
}

/* The head with its gradients' rows; dq is that of a chunk of keys. */
static void set_grad_head(const call *c, tn__attention *a, int64_t b, int64_t head, int64_t chunk)
{
    const tn_exec  *e = c->e;
    const int64_t   kv = head / c->group, q0 = c->q_offsets ? c->q_offsets[b] : 0,
                    k0 = c->k_offsets ? c->k_offsets[b] : 0;
    const tn_tensor dq = dq_of(c, chunk);
    set_head(c, a, b, head, &e->in[c->at.y], &e->in[c->at.lse]);
    a->dy = rows_of(c, &e->in[c->at.dy], b, q0, head, &a->dy_row);
    a->dq = rows_of(c, &dq, b, q0, head, &a->dq_row);
    a->dk = rows_of(c, &e->out[1], b, k0, kv, &a->dk_row);
    a->dv_out = rows_of(c, &e->out[2], b, k0, kv, &a->dv_row);
    if (c->at.dlse >= 0) a->dlse = stat_of(c, &e->in[c->at.dlse], b, q0, head);
}

/* Number: of a task times the heads that share its key head, plus one of these. */
static void backward_job(const call *c, int64_t number, job *j)
{
    const int64_t  task = number / c->group, chunk = task % c->k_chunks, j0 = chunk * c->chunk_keys;
    const int64_t  head = task / c->k_chunks % c->s.hk * c->group;
    tn__attention *a = &j->a;
    set_grad_head(c, a, task / c->k_chunks / c->s.hk, head + number % c->group, chunk);
    const int64_t rows = c->s.is_packed ? a->tk : c->s.tk; /* those past k_lengths are zeros */
    j->end = rows - j0 < c->chunk_keys ? rows : j0 + c->chunk_keys;
    j->from = j0 < j->end ? j0 : j->end;
    j->to = a->tk < j->from ? j->from : a->tk < j->end ? a->tk : j->end;
    j->n_rows = 0;
    add_rows(c, j, a->q, a->q_row, 0, a->tq, a->dh);
    add_rows(c, j, a->dy, a->dy_row, 0, a->tq, a->dv);
    add_rows(c, j, a->y, a->y_row, 0, a->tq, a->dv);
    add_rows(c, j, a->dq, a->dq_row, 0, a->tq, a->dh);
    if (number % c->group > 0) return; /* the same keys as before */
    add_rows(c, j, a->k, a->k_row, j->from, j->to, a->dh);
    add_rows(c, j, a->v, a->v_row, j->from, j->to, a->dv);
    add_rows(c, j, a->dk, a->dk_row, j->from, j->to, a->dh);
    add_rows(c, j, a->dv_out, a->dv_row, j->from, j->to, a->dv);
}

static void backward_task(void *arg, int64_t task, int worker)
{
    const call       *c = arg;
    const tn_kernels *k = tn__ctx_kernels(c->e->ctx);
    char             *scratch = scratch_of(c, worker);
    for (int64_t g = 0; g < c->group; g++) {
        const int64_t        number = task * c->group + g;
        const job           *j = begin_job(c, scratch, number, c->n_tasks * c->group, backward_job);
        const tn__attention *a = &j->a;
        const int64_t        n = j->end - j->to, dk_row = a->dk_row * c->size,
            dv_row = a->dv_row * c->size;
        (c->is_f32 ? k->attention_grad_f32
                   : k->attention_grad_f64)(a, j->from, j->to, g > 0, scratch + JOBS);
        clear_rows((char *)a->dk + j->to * dk_row, dk_row, n, a->dh * c->size);
        clear_rows((char *)a->dv_out + j->to * dv_row, dv_row, n, a->dv * c->size);
    }
}

enum { ADD_ROWS = 64 };

/* One row of one head of dq: the sum of its parts. They are apart by `step` elements. */
static void add_parts(const call *c, char *to, const char *parts, int64_t step)
{
    memcpy(to, parts, (size_t)(c->s.dh * c->size));
    for (int64_t part = 1; part < c->k_chunks; part++) {
        const char *p = parts + part * step * c->size;
        if (c->is_f32)
            for (int64_t i = 0; i < c->s.dh; i++)
                ((float *)(void *)to)[i] += ((const float *)(const void *)p)[i];
        else
            for (int64_t i = 0; i < c->s.dh; i++)
                ((double *)(void *)to)[i] += ((const double *)(const void *)p)[i];
    }
}

/* dq, ADD_ROWS rows [h, dh] of all batch rows a task; its heads may lie apart. */
static void add_task(void *arg, int64_t task, int worker)
{
    const call      *c = arg;
    const tn_tensor *dq = &c->e->out[0];
    const int64_t    n = tn_shape_size(&dq->shape), row = c->s.h * c->s.dh,
        rows = row ? n / row : 0;
    const int64_t    end = (task + 1) * ADD_ROWS < rows ? (task + 1) * ADD_ROWS : rows;
    (void)worker;
    for (int64_t r = task * ADD_ROWS; r < end; r++) {
        const int64_t b = c->s.is_packed ? 0 : r / c->s.tq, i = r - b * c->s.tq;
        for (int64_t head = 0; head < c->s.h; head++) {
            int64_t stride;
            char   *to = rows_of(c, dq, b, c->s.is_packed ? i : 0, head, &stride);
            if (!c->s.is_packed) to += i * stride * c->size;
            add_parts(c, to, c->parts + (r * row + head * c->s.dh) * c->size, n);
        }
    }
}

/* The gradient of the bias: a task has a part of it for itself, ROWS_OF_BIAS rows of one head, and
 * goes through the batch rows, heads and queries that it was broadcast to in their order. */
enum { ROWS_OF_BIAS = 64 };

static void bias_task(void *arg, int64_t task, int worker)
{
    const call       *c = arg;
    const tn_tensor  *d = &c->e->out[3];
    const int64_t    *dim = d->shape.dim;
    const int64_t     chunks = dim[2] == 1 ? 1 : (dim[2] + ROWS_OF_BIAS - 1) / ROWS_OF_BIAS;
    const int64_t     chunk = task % chunks, bh = task / chunks % dim[1],
        bb = task / chunks / dim[1];
    const int64_t     i0 = dim[2] == 1 ? 0 : chunk * ROWS_OF_BIAS;
    const int64_t     i1 = dim[2] == 1 || c->s.tq - i0 < ROWS_OF_BIAS ? c->s.tq : i0 + ROWS_OF_BIAS;
    const tn_kernels *k = tn__ctx_kernels(c->e->ctx);
    int64_t           row, col;
    char             *data = (char *)(uintptr_t)mask_of(d, bb, bh, &row, &col);
    clear_rows(data + i0 * row * c->size, row * c->size, dim[2] == 1 ? 1 : i1 - i0,
               dim[3] * c->size);
    for (int64_t b = bb; b < (dim[0] == 1 ? c->s.b : bb + 1); b++)
        for (int64_t head = bh; head < (dim[1] == 1 ? c->s.h : bh + 1); head++) {
            tn__attention a;
            set_grad_head(c, &a, b, head, 0);
            (c->is_f32 ? k->attention_bias_grad_f32 : k->attention_bias_grad_f64)(
                &a, i0, i1, data, row, col, c->scratch + (size_t)worker * c->per_worker);
        }
}

static size_t backward_per_worker(const call *c)
{
    const tn__attention a = largest(c);
    return JOBS + round_up(tn__attention_grad_scratch(&a, c->size));
}

size_t tn__attention_grad_run_scratch(const tn_exec *e)
{
    tn_exec    copy = *e;
    const call c = call_of(&copy);
    const size_t parts = c.k_chunks > 1
        ? (size_t)(c.k_chunks * tn_shape_size(&e->in[0].shape) * c.size) : 0;
    return backward_per_worker(&c) * (size_t)tn_ctx_threads(e->ctx) + parts;
}

tn_status tn__attention_grad_run(tn_exec *e)
{
    call c = call_of(e);
    bind(&c, backward_per_worker(&c));
    tn_status status = check_data(&c);
    if (status) return status;
    if (c.s.is_packed) {
        for (int64_t i = 0; i < c.k_chunks; i++) {
            const tn_tensor part = dq_of(&c, i);
            clear_outside(&c, &part, c.q_offsets);
        }
        clear_outside(&c, &e->out[1], c.k_offsets), clear_outside(&c, &e->out[2], c.k_offsets);
    }
    c.n_tasks = c.s.b * c.s.hk * c.k_chunks;
    clear_jobs(&c);
    tn_parallel_for(e->ctx, c.n_tasks, backward_task, &c);
    if (c.k_chunks > 1) {
        const int64_t rows = c.s.is_packed ? c.s.tq : c.s.b * c.s.tq;
        tn_parallel_for(e->ctx, (rows + ADD_ROWS - 1) / ADD_ROWS, add_task, &c);
    }
    if (c.attrs->wants_bias && tn_shape_size(&e->out[3].shape) > 0) {
        const int64_t *dim = e->out[3].shape.dim;
        const int64_t  chunks = dim[2] == 1 ? 1 : (dim[2] + ROWS_OF_BIAS - 1) / ROWS_OF_BIAS;
        tn_parallel_for(e->ctx, dim[0] * dim[1] * chunks, bias_task, &c);
    }
    return TN_OK;
}
