/* Which steps need not wait for the one before them: neither writes what the other touches. Such a
 * step begins as soon as no task of the last one is left to take, so that workers who are done go
 * on with it while others are still at their last tasks. Only the step right before is still
 * running then: the ones before that have ended. */
#include "autograd/program.h"

/* How many buffers a step touches: its tensors' and its scratch; some of them may be none (-1). */
static int n_touched(const tn__step *s) { return tn__step_tensors(s) + 2; }

static int touched(const tn_program *p, const tn__step *s, int k)
{
    const int n = tn__step_tensors(s);
    return k < n ? p->values[s->values[k]].buffer : k == n ? s->scratch : s->chain_scratch;
}

/* Number k of them is written. */
static bool is_written(const tn__step *s, int k)
{
    const int in = s->n_in, out = in + s->n_out, chain_in = out + s->n_chain_in;
    return (k >= in && k < out) || k >= chain_in;
}

/* Are two buffers the same memory, or parts of it? Of the arena that is known once they have their
 * places; before, two of them are apart unless one uses the other's. */
static bool meet(const tn_program *p, int a, int b, bool is_placed)
{
    if (a < 0 || b < 0) return false;
    a = tn__buffer_root(p, a), b = tn__buffer_root(p, b);
    const tn__buffer *x = &p->buffers[a], *y = &p->buffers[b];
    if (a == b || x->kind != y->kind) return a == b;
    if (x->kind == TN__VARIABLE) return x->slot == y->slot;
    return x->kind == TN__ARENA && is_placed && x->offset < y->offset + y->bytes &&
           y->offset < x->offset + x->bytes;
}

static bool may_leave(const tn__step *s) { return !s->kernel || s->op->flags & TN_LEAVES; }

static bool are_independent(const tn_program *p, const tn__step *s, const tn__step *t,
                            bool is_placed)
{
    for (int i = 0; i < n_touched(s); i++)
        for (int k = 0; k < n_touched(t); k++)
            if ((is_written(s, i) || is_written(t, k)) &&
                meet(p, touched(p, s, i), touched(p, t, k), is_placed))
                return false;
    return true;
}

/* All that step i touches is needed at another one, too. */
static void extend(tn_program *p, int64_t i, int step)
{
    const tn__step *s = &p->steps[i];
    for (int k = 0; k < n_touched(s); k++) {
        const int b = touched(p, s, k);
        if (b < 0) continue;
        tn__buffer *x = &p->buffers[tn__buffer_root(p, b)];
        if (x->first > step) x->first = step;
        if (x->last < step) x->last = step;
    }
}

void tn__overlap(tn_program *p, bool is_placed)
{
    for (int64_t i = 1; i < p->n_steps; i++) {
        tn__step *s = &p->steps[i];
        s->overlaps = i != p->n_compute && may_leave(s - 1) &&
                      are_independent(p, s - 1, s, is_placed);
    }
}

void tn__overlap_apart(tn_program *p)
{
    for (int i = 1; i < p->n_steps; i++)
        if (p->steps[i].overlaps) extend(p, i, i - 1), extend(p, i - 1, i);
}
