/* Cross-entropy and its gradient in one reading of the logits: where the cotangent of the losses
 * does not depend on them, as that of a mean or a sum does not, both items become one. It stands
 * before whatever reads the losses, so such items that stood before the gradient are moved behind
 * it. */
#include "autograd/program.h"

#include <string.h>

static bool reads_any(const tn_program *p, const tn__item *it, const bool *made)
{
    for (int k = 0; k < it->n_in; k++)
        if (made[p->values[it->in[k]].buffer]) return true;
    return false;
}

static void mark_outputs(const tn_program *p, const tn__item *it, bool *made)
{
    for (int k = 0; k < it->n_out; k++) made[p->values[it->out[k]].buffer] = true;
}

/* `grad` is of the rows that `rows` has seen. */
static bool is_pair(const tn__item *rows, const tn__item *grad)
{
    return grad->op == &tn_op_cross_entropy_rows_grad && grad->in[0] == rows->in[0] &&
        grad->in[1] == rows->in[1] && grad->in[2] == rows->out[2] && grad->in[3] == rows->out[3];
}

/* Items first .. last, the pair, in order but for what reads the losses: room for that many. */
static void merge(tn__lowered *l, int64_t first, int64_t last, const tn__item *both, bool *made,
                  tn__item *room)
{
    const tn_program *p = l->p;
    int64_t           at = first, n = 0;
    mark_outputs(p, &l->items[first], made);
    for (int64_t i = first + 1; i < last; i++) {
        const tn__item it = l->items[i];
        if (!reads_any(p, &it, made)) {
            l->items[at++] = it;
            continue;
        }
        mark_outputs(p, &it, made);
        room[n++] = it;
    }
    l->items[at++] = *both;
    memcpy(&l->items[at], room, (size_t)n * sizeof *room), at += n;
    memmove(&l->items[at], &l->items[last + 1], (size_t)(l->n - last - 1) * sizeof *l->items);
    l->n--;
}

/* Does what the gradient reads besides depend on the losses, or does an item between write where
 * others may have read? */
static bool is_free(const tn__lowered *l, int64_t first, int64_t last, bool *made)
{
    const tn_program *p = l->p;
    memset(made, 0, (size_t)p->n_buffers);
    mark_outputs(p, &l->items[first], made);
    for (int64_t i = first + 1; i < last; i++) {
        if (l->items[i].op->flags & TN_UPDATES) return false;
        if (reads_any(p, &l->items[i], made)) mark_outputs(p, &l->items[i], made);
    }
    for (int k = 4; k < 7; k++)
        if (made[p->values[l->items[last].in[k]].buffer]) return false;
    memset(made, 0, (size_t)p->n_buffers);
    return true;
}

static tn_status make_both(tn_program *p, const tn__item *rows, const tn__item *grad,
                           tn__item *both)
{
    int *room = tn__program_alloc(p, 10 * sizeof *room);
    if (!room) return TN_ERR_MEMORY;
    *both = *grad;
    both->op = &tn_op_cross_entropy_both, both->n_in = both->n_out = 5;
    both->in = room, both->out = room + 5;
    memcpy(both->in, rows->in, 2 * sizeof *room);
    memcpy(both->in + 2, grad->in + 4, 3 * sizeof *room);
    both->out[0] = grad->out[0];
    memcpy(both->out + 1, rows->out, 4 * sizeof *room);
    return TN_OK;
}

tn_status tn__pair(tn__lowered *l)
{
    tn_program *p = l->p;
    tn_status   s = TN_OK;
    bool        any = false;
    for (int64_t i = 0; i < l->n; i++) any |= l->items[i].op == &tn_op_cross_entropy_rows_grad;
    if (!any || l->no_fusion) return TN_OK;
    bool     *made = tn_alloc(p->ctx, (size_t)p->n_buffers);
    tn__item *room = tn_alloc(p->ctx, (size_t)l->n * sizeof *room);
    if (!made || !room) s = TN_ERR_MEMORY;
    for (int64_t i = 0; s == TN_OK && i < l->n; i++) {
        if (l->items[i].op != &tn_op_cross_entropy_rows) continue;
        int64_t k = i + 1;
        while (k < l->n && !is_pair(&l->items[i], &l->items[k])) k++;
        tn__item both;
        if (k == l->n || !is_free(l, i, k, made)) continue;
        s = make_both(p, &l->items[i], &l->items[k], &both);
        if (s == TN_OK) merge(l, i--, k, &both, made, room); /* what stands there now comes next */
    }
    tn_free(p->ctx, made), tn_free(p->ctx, room);
    return s;
}
