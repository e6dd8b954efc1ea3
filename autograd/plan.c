/* Planning memory: when each intermediate is needed, which may take over another's memory in place,
 * and where each lies in the one arena. Offsets are found greedily, the largest first, each in the
 * smallest gap that fits among those alive at the same time. */
#include "autograd/program.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

static size_t round_up(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

static void touch(tn_program *p, int b, int step)
{
    if (b < 0) return;
    tn__buffer *x = &p->buffers[b];
    if (x->first < 0) x->first = step;
    x->last = step;
}

static void find_lifetimes(tn_program *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        const tn__step *s = &p->steps[i];
        for (int k = 0; k < tn__step_tensors(s); k++) touch(p, p->values[s->values[k]].buffer, i);
        touch(p, s->scratch, i), touch(p, s->chain_scratch, i);
    }
    for (int64_t i = 0; i < p->n_commits; i++)
        touch(p, p->values[p->commits[i].value].buffer, (int)p->n_steps);
}

/* ---- in place -------------------------------------------------------------------------------- */

static int times_used(const tn_program *p, const tn__step *s, int root)
{
    int n = 0;
    for (int k = 0; k < tn__step_tensors(s); k++)
        n += tn__buffer_root(p, p->values[s->values[k]].buffer) == root;
    return n;
}

static bool covers_its_buffer(const tn_program *p, int v)
{
    const tn__value *x = &p->values[v];
    size_t bytes = (size_t)tn_shape_size(&x->type.shape) * tn_dtype_size(x->type.dtype);
    return x->layout.offset == 0 && tn__layout_is_contiguous(&x->layout) &&
           p->buffers[x->buffer].bytes == bytes;
}

/* The slot of the chain's input (or output) number `at`. */
static int slot_at(const tn__chain *c, int at, bool output)
{
    for (int s = 0; s < c->n_slots; s++) {
        bool is_out = c->slot[s].kind == TN__SLOT_OUT;
        if (is_out == output && c->slot[s].kind != TN__SLOT_REGISTER && c->slot[s].at == at)
            return s;
    }
    return -1;
}

/* May chain output `out` overwrite chain input `in`? All reads of it must come no later than the
 * write, element for element. */
static bool chain_allows(const tn__chain *c, int in, int out)
{
    int si = slot_at(c, in, false), so = slot_at(c, out, true), last_read = -1, written = -1;
    if (si < 0 || so < 0 || c->slot[si].kind != TN__SLOT_DIRECT ||
        c->slot[si].size != c->slot[so].size)
        return false;
    for (int i = 0; i < c->n_instr; i++) {
        for (int k = 0; k < c->instr[i].n_in; k++)
            if (c->instr[i].in[k] == si) last_read = i;
        for (int k = 0; k < c->instr[i].n_out; k++)
            if (c->instr[i].out[k] == so) written = i;
    }
    return written >= last_read;
}

/* in's memory becomes out's; their lifetimes join. */
static void take_over(tn_program *p, int in, int out)
{
    int a = tn__buffer_root(p, in), b = tn__buffer_root(p, out);
    if (a == b) return;
    if (p->buffers[b].kind != TN__ARENA) { /* into an output that the host reads */
        int t = a;
        a = b, b = t;
    }
    tn__buffer *keep = &p->buffers[a], *give = &p->buffers[b];
    give->alias = a;
    if (give->first < keep->first) keep->first = give->first;
    if (give->last > keep->last) keep->last = give->last;
    if (give->bytes > keep->bytes) keep->bytes = give->bytes;
}

/* Value `in` of step i is not needed afterwards and nothing else of the step touches its memory. */
static bool dies_here(const tn_program *p, int i, int v)
{
    int root = tn__buffer_root(p, p->values[v].buffer);
    return p->buffers[root].kind == TN__ARENA && p->buffers[root].last == i &&
        covers_its_buffer(p, v) &&
           times_used(p, &p->steps[i], root) == 1;
}

static void share_in_chain(tn_program *p, int i)
{
    tn__step  *s = &p->steps[i];
    const int *in = s->values + s->n_in + s->n_out, *out = in + s->n_chain_in;
    for (int o = 0; o < s->n_chain_out; o++) {
        int b = p->values[out[o]].buffer;
        if (p->buffers[b].kind != TN__ARENA && p->buffers[b].kind != TN__OUTPUT) continue;
        if (p->buffers[b].alias >= 0 || p->buffers[b].first != i) continue;
        if (s->kernel) { /* the product is made where the chain's result goes */
            for (int k = 0; k < s->n_chain_in; k++) {
                int v = p->values[in[k]].buffer;
                if (in[k] != s->values[s->n_in] || p->buffers[v].alias >= 0) continue;
                /* another result is there already */
                if (times_used(p, s, tn__buffer_root(p, v)) != 2) continue;
                if (covers_its_buffer(p, in[k]) && p->buffers[v].bytes == p->buffers[b].bytes &&
                    chain_allows(s->chain, k, o))
                    take_over(p, v, b);
            }
            continue;
        }
        if (p->buffers[b].kind != TN__ARENA) continue;
        for (int k = 0; k < s->n_chain_in; k++) {
            int v = in[k];
            if (!dies_here(p, i, v) || p->buffers[p->values[v].buffer].bytes != p->buffers[b].bytes)
                continue;
            if (!chain_allows(s->chain, k, o)) continue;
            take_over(p, p->values[v].buffer, b);
            break;
        }
    }
}

static bool same_type(const tn_type *a, const tn_type *b)
{
    return a->dtype == b->dtype && tn_shape_equal(&a->shape, &b->shape);
}

static void share_in_kernel(tn_program *p, int i)
{
    tn__step *s = &p->steps[i];
    if (!(s->op->flags & TN_INPLACE_OK)) return;
    for (int o = 0; o < s->n_out && o < s->n_in; o++) {
        int v = s->values[o], b = p->values[s->values[s->n_in + o]].buffer;
        if (p->buffers[b].kind != TN__ARENA || p->buffers[b].alias >= 0 || !dies_here(p, i, v))
            continue;
        /* a part of a concatenation (nest.c) is not alone in its buffer */
        if (p->buffers[b].first == i && covers_its_buffer(p, s->values[s->n_in + o]) &&
            same_type(&p->values[v].type, &p->values[s->values[s->n_in + o]].type))
            take_over(p, p->values[v].buffer, b);
    }
}

/* ---- offsets --------------------------------------------------------------------------------- */

typedef struct placed {
    size_t offset, bytes;
    int    first, last, buffer;
} placed;

static int by_size(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->buffer < y->buffer ? -1 : 1;
}

/* Where x goes among those already placed (sorted by offset): the smallest gap that fits. */
static size_t best_offset(const placed *at, int64_t n, const placed *x)
{
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (int64_t i = 0; i < n; i++) {
        if (at[i].last < x->first || at[i].first > x->last) continue;
        if (at[i].offset >= end + x->bytes && at[i].offset - end < best_gap)
            best = end, best_gap = at[i].offset - end;
        if (at[i].offset + at[i].bytes > end) end = at[i].offset + at[i].bytes;
    }
    return best == SIZE_MAX ? end : best;
}

static tn_status place(tn_program *p)
{
    placed *all = tn_alloc(p->ctx, (size_t)(2 * p->n_buffers + 1) * sizeof *all);
    if (!all) return TN_ERR_MEMORY;
    placed *at = all + p->n_buffers;
    int64_t n = 0, n_at = 0;
    for (int i = 0; i < p->n_buffers; i++) {
        const tn__buffer *b = &p->buffers[i];
        if (b->kind == TN__ARENA && b->alias < 0 && b->first >= 0)
            all[n++] = (placed){ .bytes = round_up(b->bytes), .first = b->first, .last = b->last,
                                 .buffer = i };
    }
    qsort(all, (size_t)n, sizeof *all, by_size);
    p->arena_bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        placed x = all[i];
        x.offset = best_offset(at, n_at, &x);
        int64_t k = n_at++;
        for (; k > 0 && at[k - 1].offset > x.offset; k--) at[k] = at[k - 1];
        at[k] = x;
        p->buffers[x.buffer].offset = x.offset;
        if (x.offset + x.bytes > p->arena_bytes) p->arena_bytes = x.offset + x.bytes;
    }
    tn_free(p->ctx, all);
    return TN_OK;
}

/* Steps that could begin while the one before them ends get memory apart from it, unless that makes
 * the arena grow by more than a GROWTH-th, and more than SLACK bytes. */
enum { GROWTH = 16, SLACK = 4 << 20 };

static tn_status place_steps_apart(tn_program *p)
{
    const size_t bytes = (size_t)(p->n_buffers + 1) * sizeof *p->buffers;
    tn__buffer  *tight = tn_alloc(p->ctx, bytes);
    tn_status    s = tight ? place(p) : TN_ERR_MEMORY;
    const size_t least = p->arena_bytes;
    const size_t most = least + (least / GROWTH > SLACK ? least / GROWTH : SLACK);
    if (s == TN_OK) {
        memcpy(tight, p->buffers, (size_t)p->n_buffers * sizeof *tight);
        tn__overlap(p, false);
        tn__overlap_apart(p);
        s = place(p);
    }
    if (s == TN_OK && p->arena_bytes > most) {
        memcpy(p->buffers, tight, (size_t)p->n_buffers * sizeof *tight);
        p->arena_bytes = least;
    }
    tn_free(p->ctx, tight);
    return s;
}

/* With memory of its own each: one after another. */
static void place_apart(tn_program *p)
{
    for (int i = 0; i < p->n_buffers; i++) {
        tn__buffer *b = &p->buffers[i];
        if (b->kind != TN__ARENA) continue;
        b->offset = p->arena_bytes;
        p->arena_bytes += round_up(b->bytes);
    }
}

tn_status tn__plan(tn_program *p, bool no_reuse, bool is_tight)
{
    find_lifetimes(p);
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].kind == TN__ARENA && p->buffers[i].first >= 0)
            p->no_reuse_bytes += round_up(p->buffers[i].bytes);
    for (int i = 0; !no_reuse && i < p->n_steps; i++) {
        if (p->steps[i].chain) share_in_chain(p, i);
        else share_in_kernel(p, i);
    }
    tn_status s = TN_OK;
    if (no_reuse) place_apart(p);
    else s = is_tight ? place(p) : place_steps_apart(p);
    if (s == TN_OK) tn__overlap(p, true);
    return s;
}
