/* Chains: elementwise ops run back to back over blocks that stay in the first-level cache.
 *
 * A chain covers the elements of its result in row-major order, block by block. In a block each
 * instruction is one call of a span kernel on contiguous operands: an input's own memory where it
 * is contiguous, else a gathered copy; a register (a block of scratch) for what is used only
 * inside; an output's own memory for what is not. One op alone is a chain of one instruction, so
 * fusing changes no bit: the same kernels see the same numbers.
 *
 * A chain over more than the caches hold takes small blocks, whose outputs are registers too: these
 * are written past the caches, and with each line that goes one of the next inputs' is asked
 * for. */
#include "autograd/program.h"
#include "tensor/stream.h"

#include <string.h>

enum {
    FLAG_BYTES = 64,
    MIN_BLOCK = 256,
    MAX_BLOCK = 2048,
    L1_BUDGET = 20 * 1024,
    TASK_ELEMENTS = 16384,
    SHORT = 32, /* rows of fewer elements are gathered several at once */
    LEAD = 512 /* bytes between the end of a block and what is asked for with its first line */
};

/* ---- laying out ------------------------------------------------------------------------------ */

/* Registers of values that die are used again by later instructions. */
static void assign_registers(tn__chain *c)
{
    int  last[TN__CHAIN_SLOTS] = { 0 };
    bool busy[TN__CHAIN_SLOTS] = { false };
    for (int i = 0; i < c->n_instr; i++)
        for (int k = 0; k < c->instr[i].n_in; k++) last[c->instr[i].in[k]] = i;
    c->n_registers = 0;
    for (int s = 0; s < c->n_slots; s++) {
        tn__slot *slot = &c->slot[s];
        slot->reg = -1;
        bool is_out = slot->kind == TN__SLOT_OUT && c->is_far;
        if (slot->kind == TN__SLOT_GATHER || slot->kind == TN__SLOT_SCALAR || is_out)
            slot->reg = (int16_t)c->n_registers, busy[c->n_registers++] = true;
    }
    for (int i = 0; i < c->n_instr; i++) {
        tn__instr *in = &c->instr[i];
        for (int k = 0; k < in->n_out; k++) {
            tn__slot *slot = &c->slot[in->out[k]];
            if (slot->kind != TN__SLOT_REGISTER) continue;
            int r = 0;
            while (busy[r]) r++;
            slot->reg = (int16_t)r, busy[r] = true;
            if (r >= c->n_registers) c->n_registers = r + 1;
        }
        for (int k = 0; k < in->n_in; k++) {
            tn__slot *slot = &c->slot[in->in[k]];
            if (slot->kind == TN__SLOT_REGISTER && last[in->in[k]] == i) busy[slot->reg] = false;
        }
        for (int k = 0; k < in->n_out; k++) { /* an output that nobody reads */
            tn__slot *slot = &c->slot[in->out[k]];
            if (slot->kind == TN__SLOT_REGISTER && last[in->out[k]] <= i) busy[slot->reg] = false;
        }
    }
}

void tn__chain_finish(tn__chain *c, const tn_ctx *ctx)
{
    int64_t size = 1, inner = c->rank ? c->dim[c->rank - 1] : 1;
    for (int s = 0; s < c->n_slots; s++)
        if (c->slot[s].size > size) size = c->slot[s].size;
    for (int s = 0; s < c->n_slots; s++) {
        tn__slot *slot = &c->slot[s];
        slot->is_row = slot->kind == TN__SLOT_GATHER && slot->stride[c->rank - 1] == 1;
        for (int d = 0; d < c->rank - 1; d++) slot->is_row &= slot->stride[d] == 0;
    }
    for (int i = 0; i < c->n_instr; i++) { /* operands that the op does not have */
        tn__instr *in = &c->instr[i];
        for (int k = in->n_in; k < TN_SPAN_MAX_IN; k++) in->in[k] = in->in[in->op->span_in];
    }
    c->is_far = tn__ctx_streams(ctx, c->n * size), c->stream = tn__ctx_kernels(ctx)->stream_near;
    assign_registers(c);
    int64_t block = L1_BUDGET / ((c->n_registers + 2) * size);
    block = block < MIN_BLOCK ? MIN_BLOCK : block > MAX_BLOCK ? MAX_BLOCK : block;
    if (c->is_far) {
        const int64_t most = TN_STREAM_BLOCK / size;
        block = block < most ? block : most;
    }
    /* blocks that end where rows end: broadcast rows are then read where they lie; but far away
     * whole cache lines count for more */
    c->row = inner >= MIN_BLOCK && !(c->is_far && inner % TN_LINE) ? inner : 0;
    if (c->row) {
        int64_t parts = (inner + block - 1) / block;
        block = (inner + parts - 1) / parts;
        block = (block + 63) / 64 * 64;
    } else if (inner > 0 && inner < MIN_BLOCK && !c->is_far) {
        block = block / inner * inner;
    }
    c->block = block;
    c->register_bytes = (size_t)(((block + 63) / 64 * 64) * size);
    c->worker_bytes = FLAG_BYTES + (size_t)c->n_registers * c->register_bytes;
}

/* ---- running --------------------------------------------------------------------------------- */

#define COPY_RUN(T)                                                                                \
    do {                                                                                           \
        T       *d = (T *)to;                                                                      \
        const T *s = (const T *)from;                                                              \
        if (stride == 0 && rows == 1) {                                                            \
            const T x = *s;                                                                        \
            for (int64_t i = 0; i < n; i++) d[i] = x;                                              \
            break;                                                                                 \
        }                                                                                          \
        for (int64_t r = 0; r < rows; r++, s += row_stride)                                        \
            for (int64_t i = 0; i < n; i++) *d++ = s[i * stride];                                  \
    } while (0)

/* n elements of each of so many rows, `stride` elements apart, next to each other. */
static void copy_run(void *to, const void *from, int64_t rows, int64_t row_stride, int64_t n,
                     int64_t stride, int size)
{
    if (stride == 1 && rows == 1) {
        memcpy(to, from, (size_t)(n * size));
        return;
    }
    switch (size) {
    case 1: COPY_RUN(uint8_t); break;
    case 2: COPY_RUN(uint16_t); break;
    case 4: COPY_RUN(uint32_t); break;
    default: COPY_RUN(uint64_t); break;
    }
}

/* Elements [first, first + n) of a strided input: where they lie if they are contiguous there, else
 * copied into `room`. */
static const char *gather(const tn__chain *c, const tn__slot *slot, const char *data, int64_t first,
                          int64_t n, char *room)
{
    int64_t index[TN_MAX_RANK], offset = 0, rest = first;
    for (int d = c->rank - 1; d >= 0; d--) {
        index[d] = rest % c->dim[d];
        rest /= c->dim[d];
        offset += index[d] * slot->stride[d];
    }
    int     in = c->rank - 1, size = slot->size;
    int64_t stride = slot->stride[in], left = c->dim[in] - index[in];
    if (stride == 1 && n <= left) return data + offset * size;
    for (char *to = room; n > 0;) {
        int64_t run = n < left ? n : left, rows = 1;
        int     d = in - 1;
        if (d >= 0 && run == c->dim[in] && run < SHORT) {
            rows = n / run < c->dim[d] - index[d] ? n / run : c->dim[d] - index[d];
            index[d] += rows - 1;
        }
        const int64_t step = d >= 0 ? slot->stride[d] : 0; /* from row to row */
        copy_run(to, data + offset * size, rows, step, run, stride, size);
        offset += (rows - 1) * step;
        to += rows * run * size, n -= rows * run;
        offset -= index[in] * stride, index[in] = 0, left = c->dim[in];
        for (; d >= 0; d--) {
            offset += slot->stride[d];
            if (++index[d] < c->dim[d]) break;
            offset -= c->dim[d] * slot->stride[d], index[d] = 0;
        }
        if (d < 0) break;
    }
    return room;
}

static void fill_scalars(const tn__chain_run *r, char *scratch)
{
    const tn__chain *c = r->chain;
    for (int s = 0; s < c->n_slots; s++) {
        const tn__slot *slot = &c->slot[s];
        if (slot->kind != TN__SLOT_SCALAR) continue;
        char *room = scratch + FLAG_BYTES + (size_t)slot->reg * c->register_bytes;
        copy_run(room, r->in[slot->at].data, 1, 0, c->block, 0, slot->size);
    }
}

/* A walk over blocks: where the operands of each are. Of most slots that is found once. */
typedef struct walk {
    const tn__chain_run *run;
    int                  n_moving, n_ahead, n_streamed;
    int16_t              moving[TN__CHAIN_SLOTS];  /* slots whose place depends on the block, */
    int16_t              ahead[TN__CHAIN_IN];      /* inputs to be asked for before their block, */
    int16_t              streamed[TN__CHAIN_OUT];  /* and registers to be written past the caches */
    const char          *base[TN__CHAIN_SLOTS];    /* of moving slots: element 0 */
    const char          *at[TN__CHAIN_SLOTS];      /* of all: this block */
    char                *registers;
} walk;

static char *room_of(const walk *w, const tn__slot *slot)
{
    return w->registers + (size_t)slot->reg * w->run->chain->register_bytes;
}

static void walk_begin(walk *w, const tn__chain_run *r, char *scratch)
{
    const tn__chain *c = r->chain;
    w->run = r, w->registers = scratch + FLAG_BYTES;
    w->n_moving = w->n_ahead = w->n_streamed = 0;
    for (int s = 0; s < c->n_slots; s++) {
        const tn__slot *slot = &c->slot[s];
        const bool      is_in = slot->kind == TN__SLOT_DIRECT || slot->kind == TN__SLOT_GATHER;
        const bool      is_out = slot->kind == TN__SLOT_OUT;
        const bool      is_streamed = is_out && r->streamed >> slot->at & 1;
        if (slot->kind == TN__SLOT_DIRECT) w->ahead[w->n_ahead++] = (int16_t)s;
        if (is_streamed) w->streamed[w->n_streamed++] = (int16_t)s;
        if (is_in || (is_out && !is_streamed)) {
            w->base[s] = is_in ? r->in[slot->at].data : r->out[slot->at].data;
            w->moving[w->n_moving++] = (int16_t)s;
        } else {
            w->at[s] = room_of(w, slot);
        }
    }
}

/* To the block of elements [first, first + n), the first of them in this column. */
static void walk_to(walk *w, int64_t first, int64_t column, int64_t n)
{
    const tn__chain *c = w->run->chain;
    for (int m = 0; m < w->n_moving; m++) {
        const int       s = w->moving[m];
        const tn__slot *slot = &c->slot[s];
        if (slot->kind != TN__SLOT_GATHER)
            w->at[s] = w->base[s] + first * slot->size;
        else if (slot->is_row && column + n <= c->dim[c->rank - 1])
            w->at[s] = w->base[s] + column * slot->size;
        else
            w->at[s] = gather(c, slot, w->base[s], first, n, room_of(w, slot));
    }
}

/* Writes this block's outputs past the caches, and asks for the inputs' next blocks meanwhile. */
static void stream_outputs(const walk *w, int64_t first, int64_t n)
{
    const tn__chain *c = w->run->chain;
    const char      *ahead[TN__CHAIN_IN];
    int              n_ahead = w->n_ahead;
    for (int a = 0; a < n_ahead; a++)
        ahead[a] = w->at[w->ahead[a]] + n * c->slot[w->ahead[a]].size + LEAD;
    for (int o = 0; o < w->n_streamed; o++, n_ahead = 0) {
        const tn__slot *slot = &c->slot[w->streamed[o]];
        c->stream((char *)w->run->out[slot->at].data + first * slot->size, w->at[w->streamed[o]],
                  (size_t)(n * slot->size), ahead, n_ahead);
    }
    for (int a = 0; a < n_ahead; a++) tn__prefetch(ahead[a], TN_STREAM_BLOCK); /* all in place */
}

static void run_block(const walk *w, tn_span_args *a)
{
    const tn__chain *c = w->run->chain;
    for (int i = 0; i < c->n_instr; i++) {
        const tn__instr *in = &c->instr[i];
        for (int k = 0; k < TN_SPAN_MAX_IN; k++) a->in[k] = w->at[in->in[k]];
        for (int k = 0; k < in->n_out; k++) a->out[k] = (void *)(uintptr_t)w->at[in->out[k]];
        a->attrs = in->attrs;
        in->fn(a);
    }
}

void tn__chain_prepare(const tn__chain_run *r, int threads)
{
    for (int w = 0; w < threads; w++) r->scratch[(size_t)w * r->chain->worker_bytes] = 0;
}

void tn__chain_span(const tn__chain_run *r, int64_t first, int64_t n, int worker)
{
    const tn__chain *c = r->chain;
    char            *scratch = r->scratch + (size_t)worker * c->worker_bytes;
    if (!scratch[0]) {
        fill_scalars(r, scratch);
        scratch[0] = 1;
    }
    walk w;
    walk_begin(&w, r, scratch);
    tn_span_args  a = { .seed = r->seed, .run = r->run };
    const int64_t inner = c->rank ? c->dim[c->rank - 1] : 1;
    for (int64_t column = first % inner; n > 0;) {
        int64_t step = n < c->block ? n : c->block;
        if (c->row && step > c->row - column) step = c->row - column;
        walk_to(&w, first, column, step);
        a.n = step, a.first = first;
        run_block(&w, &a);
        if (r->is_far) stream_outputs(&w, first, step);
        first += step, n -= step, column += step;
        if (column >= inner) column = first % inner;
    }
}

static void run_task(void *arg, int64_t task, int worker)
{
    const tn__chain_run *r = arg;
    const int64_t        first = task * r->task, n = r->chain->n - first;
    tn__chain_span(r, first, n < r->task ? n : r->task, worker);
    if (r->streamed) tn__stream_end();
}

/* The outputs that do not take the place of an input: that one's lines are in the cache. */
static unsigned streamed_outputs(const tn__chain_run *r)
{
    unsigned all = 0;
    for (int s = 0; s < r->chain->n_slots; s++)
        if (r->chain->slot[s].kind == TN__SLOT_OUT) all |= 1u << r->chain->slot[s].at;
    for (int o = 0; o < TN__CHAIN_OUT; o++)
        for (int s = 0; all >> o & 1 && s < r->chain->n_slots; s++) {
            const tn__slot *slot = &r->chain->slot[s];
            if (slot->kind == TN__SLOT_DIRECT && r->in[slot->at].data == r->out[o].data)
                all &= ~(1u << o);
        }
    return all;
}

void tn__chain_run_all(tn_ctx *ctx, tn__chain_run *r, bool leaves)
{
    const tn__chain *c = r->chain;
    int              threads = tn_ctx_threads(ctx);
    if (c->n == 0) return;
    r->is_far = c->is_far;
    r->streamed = c->is_far ? streamed_outputs(r) : 0;
    tn__chain_prepare(r, threads);
    int64_t task = TASK_ELEMENTS, most = (c->n + 4 * threads - 1) / (4 * threads);
    if (task < most) task = most;
    int64_t unit = c->row ? c->row : c->block;
    r->task = unit < 2 * task ? (task + unit - 1) / unit * unit : task;
    tn__parallel_for(ctx, (c->n + r->task - 1) / r->task, run_task, r, leaves);
}
