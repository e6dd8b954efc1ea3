/* Which steps need not wait for the one before them: neither writes what the other touches. Such a
 * step begins as soon as no task of the last one is left to take, so that workers who are done go
 * on with it while others are still at their last tasks. Only the step right before is still
 * running then: the ones before that have ended. */
#include "autograd/program.h"

/* Tensor k of step s is written. */
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
    const int own[] = { s->scratch, s->chain_scratch, t->scratch, t->chain_scratch };
    for (int i = 0; i < 2; i++) {
        for (int k = 2; k < 4; k++)
            if (meet(p, own[i], own[k], is_placed)) return false;
        for (int k = 0; k < tn__step_tensors(t); k++)
            if (meet(p, own[i], p->values[t->values[k]].buffer, is_placed)) return false;
        for (int k = 0; k < tn__step_tensors(s); k++)
            if (meet(p, own[2 + i], p->values[s->values[k]].buffer, is_placed)) return false;
    }
    for (int i = 0; i < tn__step_tensors(s); i++)
        for (int k = 0; k < tn__step_tensors(t); k++)
            if ((is_written(s, i) || is_written(t, k)) &&
                meet(p, p->values[s->values[i]].buffer, p->values[t->values[k]].buffer, is_placed))
                return false;
    return true;
}

static void extend(tn_program *p, int b, int step)
{
    if (b < 0) return;
    tn__buffer *x = &p->buffers[tn__buffer_root(p, b)];
    if (x->first > step) x->first = step;
    if (x->last < step) x->last = step;
}

/* All that step i touches is needed at another one, too. */
static void extend_all(tn_program *p, int64_t i, int64_t step)
{
    const tn__step *s = &p->steps[i];
    for (int k = 0; k < tn__step_tensors(s); k++)
        extend(p, p->values[s->values[k]].buffer, (int)step);
    extend(p, s->scratch, (int)step), extend(p, s->chain_scratch, (int)step);
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
    for (int64_t i = 1; i < p->n_steps; i++)
        if (p->steps[i].overlaps) extend_all(p, i, i - 1), extend_all(p, i - 1, i);
}
