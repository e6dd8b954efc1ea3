/* Fusing: items become steps.
 *
 * Elementwise items of one shape that feed each other become one chain, which runs where its last
 * item stood. That is sound if whatever else reads a value of the chain comes later than that. A
 * matrix product whose result only a chain reads moves to it: the chain is then its epilogue. A
 * chain that ends in assigned variables, and feeds nothing else, moves to the commit phase and
 * writes the variables in place: nothing there can fail, and nobody reads the old values after
 * it. What reads a variable that rows are written to (tn_write_rows) is moved by none of this. */
#include "autograd/program.h"

#include <string.h>

/* Who reads a buffer: an item, and through which value. */
typedef struct use {
    int item, value, next;
} use;

typedef struct group {
    int  first;        /* members are a list through fuser.next_member, in rising order */
    int  n;            /* 0: merged into another */
    int  n_in, n_out;  /* of all members */
    int  kernel;       /* item of the matrix product in front; -1 */
    bool commits;
} group;

typedef struct fuser {
    tn__lowered *l;
    tn_program  *p;
    tn_ctx      *ctx;
    use         *uses;
    int64_t      n_uses, cap_uses;
    int         *first_use;   /* by buffer; -1 */
    int         *producer;    /* by value: item; -1 */
    int         *group_of;    /* by item: index into groups; -1 */
    int         *next_member; /* by item; -1 */
    group       *groups;
    bool        *is_fetched;  /* by buffer: an assign reads it */
    int64_t      n_groups;
} fuser;

static tn__value  *value(const fuser *f, int v) { return &f->p->values[v]; }
static tn__buffer *buffer_of(const fuser *f, int v) { return &f->p->buffers[value(f, v)->buffer]; }

static bool same_shape(const fuser *f, int v, int w)
{
    return tn_shape_equal(&value(f, v)->type.shape, &value(f, w)->type.shape);
}

/* ---- uses ------------------------------------------------------------------------------------ */

static tn_status collect_uses(fuser *f)
{
    tn__lowered *l = f->l;
    for (int64_t b = 0; b < f->p->n_buffers; b++) f->first_use[b] = -1;
    for (int64_t v = 0; v < f->p->n_values; v++) f->producer[v] = -1;
    for (int i = 0; i < l->n; i++) {
        const tn__item *it = &l->items[i];
        f->group_of[i] = f->next_member[i] = -1;
        for (int k = 0; k < it->n_out; k++) f->producer[it->out[k]] = i;
        for (int k = 0; k < it->n_in; k++) {
            if (!tn__grow(f->ctx, &f->uses, f->n_uses, &f->cap_uses, sizeof *f->uses))
                return TN_ERR_MEMORY;
            int *head = &f->first_use[value(f, it->in[k])->buffer];
            f->uses[f->n_uses] = (use){ i, it->in[k], *head };
            *head = (int)f->n_uses++;
        }
    }
    for (int64_t i = 0; i < f->p->n_commits; i++)
        f->is_fetched[value(f, f->p->commits[i].value)->buffer] = true;
    return TN_OK;
}

/* Does every reader of item m's results come after position `last`, or stand in one of the groups
 * marked in `in_set` and read the very value? */
static bool readers_allow(const fuser *f, int m, int last, const bool *in_set)
{
    const tn__item *it = &f->l->items[m];
    for (int k = 0; k < it->n_out; k++) {
        int v = it->out[k];
        for (int u = f->first_use[value(f, v)->buffer]; u >= 0; u = f->uses[u].next) {
            int reader = f->uses[u].item;
            if (reader > last) continue;
            int  g = f->group_of[reader];
            bool inside = reader == last || (g >= 0 && in_set[g]);
            if (!inside || f->uses[u].value != v) return false;
        }
    }
    return true;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static bool is_elementwise(const tn__item *it) { return it->op->span != NULL; }

/* Would item `extra` and the groups in joined[0..n) still be one chain? Counted generously. */
static bool group_fits(const fuser *f, int extra, const int *joined, int n)
{
    const tn__item *it = &f->l->items[extra];
    int             members = 1, inputs = it->n_in, outputs = it->n_out;
    for (int j = 0; j < n; j++) {
        const group *g = &f->groups[joined[j]];
        members += g->n, inputs += g->n_in, outputs += g->n_out;
    }
    return members <= TN__CHAIN_INSTR && inputs - members < TN__CHAIN_IN &&
           outputs <= TN__CHAIN_OUT && inputs + outputs <= TN__CHAIN_SLOTS;
}

/* The group of the item that makes value v; -1. */
static int group_making(const fuser *f, int v)
{
    return f->producer[v] >= 0 ? f->group_of[f->producer[v]] : -1;
}

/* Why the group joined[n], which makes value v, cannot be one chain with item i and those before
 * it in the list, all of which in_set marks; NULL: it can. */
static const char *why_apart(const fuser *f, int i, int v, const int *joined, int n,
                             const bool *in_set)
{
    const tn__item *it = &f->l->items[i];
    if (it->stays || f->l->items[f->producer[v]].stays) return "rows are written";
    if (!same_shape(f, v, it->out[0])) return "broadcast";
    if (n == TN_SPAN_MAX_IN || !group_fits(f, i, joined, n + 1)) return "chain full";
    for (int m = f->groups[joined[n]].first; m >= 0; m = f->next_member[m])
        if (!readers_allow(f, m, i, in_set)) return "read in between";
    return NULL;
}

/* Lists and marks the groups that feed item i and may join it. What one of them keeps from it may
 * join after it: so all are looked at twice. */
static int find_joining(fuser *f, int i, int *joined, bool *in_set)
{
    tn__item *it = &f->l->items[i];
    int       n = 0;
    for (int k = 0; k < 2 * it->n_in; k++) {
        const int v = it->in[k % it->n_in], g = group_making(f, v);
        if (g < 0 || in_set[g]) continue;
        in_set[g] = true, joined[n] = g;
        const char *why = why_apart(f, i, v, joined, n, in_set);
        if (!why) n++;
        else in_set[g] = false, it->note = why;
    }
    return n;
}

/* All members in rising order of item. */
static void merge_groups(fuser *f, int into, int gone)
{
    group *to = &f->groups[into], *from = &f->groups[gone];
    int    merged = -1, *tail = &merged, a = to->first, b = from->first;
    while (a >= 0 || b >= 0) {
        int *pick = b < 0 || (a >= 0 && a < b) ? &a : &b, member = *pick;
        *pick = f->next_member[member];
        *tail = member, tail = &f->next_member[member];
        f->group_of[member] = into;
    }
    *tail = -1;
    to->first = merged, to->n += from->n, to->n_in += from->n_in, to->n_out += from->n_out;
    from->n = 0, from->first = -1;
}

/* Item i and the groups that feed it, where that is sound, become one. in_set: no group. */
static void join_producers(fuser *f, int i, bool *in_set)
{
    const tn__item *it = &f->l->items[i];
    int             joined[TN_SPAN_MAX_IN + 1];
    const int       n = find_joining(f, i, joined, in_set), own = (int)f->n_groups++;
    f->groups[own] = (group){ .first = i, .n = 1, .n_in = it->n_in, .n_out = it->n_out,
                              .kernel = -1 };
    f->group_of[i] = own;
    for (int j = 0; j < n; j++) {
        merge_groups(f, own, joined[j]);
        in_set[joined[j]] = false;
    }
}

static tn_status make_groups(fuser *f)
{
    bool *in_set = tn_alloc(f->ctx, (size_t)f->l->n + 1);
    if (!in_set) return TN_ERR_MEMORY;
    for (int i = 0; i < f->l->n; i++) {
        tn__item *it = &f->l->items[i];
        if (!is_elementwise(it)) continue;
        if (f->l->no_fusion) {
            f->groups[f->n_groups] = (group){ .first = i, .n = 1, .kernel = -1 };
            f->group_of[i] = (int)f->n_groups++;
        } else {
            join_producers(f, i, in_set);
        }
    }
    tn_free(f->ctx, in_set);
    return TN_OK;
}

/* ---- what goes behind products, and to the commit phase -------------------------------------- */

/* Every reader of value v's buffer is in group g and reads v itself. */
static bool only_read_by(const fuser *f, int v, int g)
{
    bool any = false;
    for (int u = f->first_use[value(f, v)->buffer]; u >= 0; u = f->uses[u].next) {
        if (f->group_of[f->uses[u].item] != g || f->uses[u].value != v) return false;
        any = true;
    }
    return any;
}

static void attach_kernels(fuser *f)
{
    for (int i = 0; i < f->l->n && !f->l->no_fusion; i++) {
        tn__item *it = &f->l->items[i];
        if (!(it->op->flags & TN_EPILOGUE) || it->n_out != 1 || it->stays) continue;
        int v = it->out[0], u = f->first_use[value(f, v)->buffer];
        if (u < 0 || buffer_of(f, v)->kind != TN__ARENA || f->is_fetched[value(f, v)->buffer])
            continue;
        int g = f->group_of[f->uses[u].item];
        if (g < 0 || !only_read_by(f, v, g)) continue;
        if (!same_shape(f, v, f->l->items[f->groups[g].first].out[0]) || f->groups[g].commits)
            continue;
        f->groups[g].kernel = i; /* the last product of several */
    }
}

/* Is slot's old value read by a step that runs at commit, other than group g reading it in order,
 * and no later than item `writer`, which makes the new one? */
static bool read_at_commit(const fuser *f, int slot, int g, int writer)
{
    for (int64_t b = 0; b < f->p->n_buffers; b++) {
        if (f->p->buffers[b].kind != TN__VARIABLE || f->p->buffers[b].slot != slot) continue;
        for (int u = f->first_use[b]; u >= 0; u = f->uses[u].next) {
            int other = f->group_of[f->uses[u].item];
            if (other < 0 || !f->groups[other].commits) continue;
            const tn__value *v = value(f, f->uses[u].value);
            int              out = f->l->items[f->uses[u].item].out[0];
            if (other != g || f->uses[u].item > writer || !tn__layout_is_contiguous(&v->layout) ||
                v->layout.offset != 0 || !same_shape(f, f->uses[u].value, out))
                return true;
        }
    }
    return false;
}

static bool feeds_only_commits(const fuser *f, int g)
{
    bool assigned = false;
    for (int m = f->groups[g].first; m >= 0; m = f->next_member[m]) {
        const tn__item *it = &f->l->items[m];
        if (it->stays) return false;
        for (int k = 0; k < it->n_out; k++) {
            int v = it->out[k];
            if (f->p->guard >= 0 && value(f, f->p->guard)->buffer == value(f, v)->buffer)
                return false;
            assigned |= f->is_fetched[value(f, v)->buffer];
            for (int u = f->first_use[value(f, v)->buffer]; u >= 0; u = f->uses[u].next)
                if (f->group_of[f->uses[u].item] != g) return false;
        }
    }
    return assigned;
}

/* Marks the chains that run at commit, and lets them write into their variables. What cannot be
 * written in place stays a copy in p->commits. */
static void choose_commits(fuser *f)
{
    tn_program *p = f->p;
    for (int64_t g = 0; g < f->n_groups; g++)
        if (f->groups[g].n) f->groups[g].commits = feeds_only_commits(f, (int)g);
    int64_t kept = 0;
    for (int64_t i = 0; i < p->n_commits; i++) {
        tn__commit c = p->commits[i];
        int        item = f->producer[c.value], g = item < 0 ? -1 : f->group_of[item];
        bool       direct = g >= 0 && f->groups[g].commits &&
            buffer_of(f, c.value)->kind == TN__ARENA &&
                      !read_at_commit(f, c.slot, g, item);
        for (int64_t k = 0; direct && k < p->n_commits; k++) /* one value for two variables */
            if (k != i && value(f, p->commits[k].value)->buffer == value(f, c.value)->buffer)
                direct = false;
        if (direct) {
            buffer_of(f, c.value)->kind = TN__VARIABLE;
            buffer_of(f, c.value)->slot = c.slot;
        } else {
            p->commits[kept++] = c;
        }
    }
    p->n_commits = kept;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static tn_tensor tensor_of(const fuser *f, int v)
{
    const tn__value *x = value(f, v);
    tn_tensor        t = { .dtype = x->type.dtype, .shape = x->type.shape };
    memcpy(t.stride, x->layout.stride, sizeof t.stride);
    return t;
}

/* Is the value seen outside of its chain? */
static bool is_written(const fuser *f, int v, int g)
{
    int b = value(f, v)->buffer;
    if (f->p->buffers[b].kind != TN__ARENA || f->is_fetched[b]) return true;
    for (int u = f->first_use[b]; u >= 0; u = f->uses[u].next)
        if (f->group_of[f->uses[u].item] != g) return true;
    return false;
}

typedef struct chain_builder {
    tn__chain  c;
    tn__slot   slot[TN__CHAIN_SLOTS];
    tn__instr  instr[TN__CHAIN_INSTR];
    int        in[TN__CHAIN_IN], out[TN__CHAIN_OUT], slot_value[TN__CHAIN_SLOTS];
    int        n_in, n_out;
    tn_shape   shape;
} chain_builder;

static int find_slot(const chain_builder *b, int v)
{
    for (int s = 0; s < b->c.n_slots; s++)
        if (b->slot_value[s] == v) return s;
    return -1;
}

static int add_slot(const fuser *f, chain_builder *b, int v, tn__slot_kind kind)
{
    int s = b->c.n_slots++;
    b->slot_value[s] = v;
    b->c.slot[s] = (tn__slot){ .kind = kind, .reg = -1,
                               .size = (uint8_t)tn_dtype_size(value(f, v)->type.dtype) };
    return s;
}

/* Strides of value v over the chain's shape: 0 where it is broadcast. */
static void broadcast_strides(const fuser *f, int v, const tn_shape *shape, int64_t *stride)
{
    const tn_layout *l = &value(f, v)->layout;
    int              lead = shape->rank - l->shape.rank;
    for (int d = 0; d < shape->rank; d++)
        stride[d] = d < lead || l->shape.dim[d - lead] == 1 ? 0 : l->stride[d - lead];
}

static int input_slot(const fuser *f, chain_builder *b, int v)
{
    int s = find_slot(b, v);
    if (s >= 0) return s;
    s = add_slot(f, b, v, TN__SLOT_GATHER);
    tn__slot *slot = &b->c.slot[s];
    slot->at = (int16_t)b->n_in;
    b->in[b->n_in++] = v;
    broadcast_strides(f, v, &b->shape, slot->stride);
    tn_layout l = { .shape = b->shape };
    memcpy(l.stride, slot->stride, sizeof l.stride);
    bool scalar = true;
    for (int d = 0; d < b->shape.rank; d++) scalar &= slot->stride[d] == 0 || b->shape.dim[d] == 1;
    if (scalar) slot->kind = TN__SLOT_SCALAR;
    if (tn__layout_is_contiguous(&l)) slot->kind = TN__SLOT_DIRECT;
    return s;
}

/* Drops dims of size 1 and merges neighbours that every gathered input allows. */
static void merge_dims(tn__chain *c, const tn_shape *shape)
{
    c->rank = 0, c->n = 1;
    for (int d = 0; d < shape->rank; d++) {
        c->n *= shape->dim[d];
        if (shape->dim[d] == 1) continue;
        bool merge = c->rank > 0;
        for (int s = 0; merge && s < c->n_slots; s++)
            if (c->slot[s].kind == TN__SLOT_GATHER)
                merge = c->slot[s].stride[c->rank - 1] == c->slot[s].stride[d] * shape->dim[d];
        int to = merge ? c->rank - 1 : c->rank++;
        c->dim[to] = merge ? c->dim[to] * shape->dim[d] : shape->dim[d];
        for (int s = 0; s < c->n_slots; s++) c->slot[s].stride[to] = c->slot[s].stride[d];
    }
    if (c->rank == 0) c->rank = 1, c->dim[0] = 1;
}

/* The program's own, with room for no more than what is there. */
static tn__chain *keep_chain(tn_program *p, const tn__chain *c)
{
    const size_t slots = (size_t)c->n_slots * sizeof *c->slot,
                 instrs = (size_t)c->n_instr * sizeof *c->instr;
    tn__chain   *kept = tn__program_alloc(p, sizeof *c);
    tn__slot    *slot = tn__program_alloc(p, slots);
    tn__instr   *instr = tn__program_alloc(p, instrs);
    if (!kept || !slot || !instr) return NULL;
    *kept = *c, kept->slot = slot, kept->instr = instr;
    memcpy(slot, c->slot, slots), memcpy(instr, c->instr, instrs);
    return kept;
}

static tn__chain *build_chain(fuser *f, int g, chain_builder *b)
{
    tn__chain   *c = &b->c;
    tn_cpu_level level = tn_ctx_cpu(f->ctx);
    c->slot = b->slot, c->instr = b->instr;
    b->shape = value(f, f->l->items[f->groups[g].first].out[0])->type.shape;
    for (int m = f->groups[g].first; m >= 0; m = f->next_member[m]) {
        tn__item  *it = &f->l->items[m];
        tn__instr *in = &c->instr[c->n_instr++];
        tn_dtype   d = value(f, it->in[it->op->span_in])->type.dtype;
        in->op = it->op, in->attrs = it->op->attrs_size ? it->attrs : NULL;
        in->fn = it->op->span->fn[d][level] ? it->op->span->fn[d][level]
            : it->op->span->fn[d][TN_CPU_BASE];
        in->n_in = it->n_in, in->n_out = it->n_out;
        for (int k = 0; k < it->n_in; k++) in->in[k] = (int16_t)input_slot(f, b, it->in[k]);
        for (int k = 0; k < it->n_out; k++) {
            bool written = is_written(f, it->out[k], g);
            int  s = add_slot(f, b, it->out[k], written ? TN__SLOT_OUT : TN__SLOT_REGISTER);
            if (written) c->slot[s].at = (int16_t)b->n_out, b->out[b->n_out++] = it->out[k];
            in->out[k] = (int16_t)s;
        }
    }
    merge_dims(c, &b->shape);
    tn__chain_finish(c, f->ctx);
    return keep_chain(f->p, c);
}

static tn_status add_cost(const fuser *f, tn__step *s, const tn__item *it)
{
    const size_t n = (size_t)(it->n_in + it->n_out);
    tn_type      small[32], *types = n <= 32 ? small : tn_alloc(f->ctx, n * sizeof *types);
    if (!types) return TN_ERR_MEMORY;
    s->n_again += it->is_again;
    for (int k = 0; k < it->n_in; k++) types[k] = value(f, it->in[k])->type;
    for (int k = 0; k < it->n_out; k++) types[it->n_in + k] = value(f, it->out[k])->type;
    tn_infer c = { .ctx = f->ctx, .op = it->op, .attrs = it->attrs, .n_in = it->n_in,
                   .n_out = it->n_out, .in = types, .out = types + it->n_in, .scope = "" };
    tn_cost cost = { 0 };
    if (it->op->cost) it->op->cost(&c, &cost);
    else cost.flops = it->op == &tn_op_copy ? 0 : (double)tn_shape_size(&c.out[0].shape);
    s->flops += cost.flops;
    if (s->kernel && !s->chain) s->bytes = cost.bytes;
    if (it->is_again) s->flops_again += cost.flops;
    if (types != small) tn_free(f->ctx, types);
    return TN_OK;
}

/* Bytes that must move: what the kernel says, or else what the step reads and writes outside of
 * itself, once each. */
static void add_bytes(tn__step *s)
{
    for (int i = s->bytes > 0 ? s->n_in + s->n_out : 0; i < tn__step_tensors(s); i++) {
        const tn_tensor *t = &s->tensors[i];
        double           n = 1;
        for (int d = 0; d < t->shape.rank; d++)
            if (t->stride[d] != 0) n *= (double)t->shape.dim[d];
        bool inside = s->kernel && s->chain && i >= s->n_in && i < s->n_in + s->n_out;
        if (!inside) s->bytes += n * (double)tn_dtype_size(t->dtype);
    }
}

static tn_status add_kernel(const fuser *f, tn__step *s, const tn__item *it)
{
    s->kernel = true, s->op = it->op, s->attrs = it->attrs, s->scope = it->scope;
    s->n_in = it->n_in, s->n_out = it->n_out;
    return add_cost(f, s, it);
}

/* The chain that group g is, alone or behind the step's kernel. */
static tn_status add_chain(fuser *f, tn__step *s, int g, chain_builder *b)
{
    const tn__item *first = &f->l->items[f->groups[g].first];
    s->chain = build_chain(f, g, b);
    if (!s->chain) return TN_ERR_MEMORY;
    if (!s->op) s->op = first->op, s->scope = first->scope;
    s->n_chain_in = b->n_in, s->n_chain_out = b->n_out;
    tn_status status = TN_OK;
    for (int m = f->groups[g].first; status == TN_OK && m >= 0; m = f->next_member[m]) {
        const tn__item *it = &f->l->items[m];
        status = add_cost(f, s, it);
        if (it->note) snprintf(s->note, sizeof s->note, "%s", it->note);
    }
    return status;
}

/* n values from *at on. */
static void put_values(const fuser *f, tn__step *s, int *at, const int *values, int n)
{
    for (int k = 0; k < n; k++, ++*at)
        s->values[*at] = values[k], s->tensors[*at] = tensor_of(f, values[k]);
}

/* Those of the kernel, if it is there, then those of the chain, which may have none. */
static tn_status add_values(fuser *f, tn__step *s, const tn__item *it, const chain_builder *b)
{
    const size_t n = (size_t)tn__step_tensors(s);
    int          at = 0;
    s->tensors = tn__program_alloc(f->p, n * sizeof *s->tensors);
    s->values = tn__program_alloc(f->p, n * sizeof *s->values);
    if (!s->tensors || !s->values) return TN_ERR_MEMORY;
    if (it) put_values(f, s, &at, it->in, it->n_in), put_values(f, s, &at, it->out, it->n_out);
    put_values(f, s, &at, b->in, b->n_in), put_values(f, s, &at, b->out, b->n_out);
    return TN_OK;
}

static tn_status add_scratch(fuser *f, tn__step *s)
{
    if (s->kernel && s->op->scratch) {
        tn_exec e = { .ctx = f->ctx, .op = s->op, .attrs = s->attrs, .n_in = s->n_in,
                      .n_out = s->n_out, .in = s->tensors, .out = s->tensors + s->n_in };
        size_t bytes = s->op->scratch(&e), most = SIZE_MAX / 8; /* rounded up and added, not 0 */
        if (bytes > most) bytes = most;
        if (bytes && (s->scratch = tn__buffer_new(f->p, TN__ARENA, bytes)) < 0)
            return TN_ERR_MEMORY;
    }
    if (s->chain) {
        size_t bytes = (size_t)tn_ctx_threads(f->ctx) * s->chain->worker_bytes;
        if ((s->chain_scratch = tn__buffer_new(f->p, TN__ARENA, bytes)) < 0) return TN_ERR_MEMORY;
    }
    return TN_OK;
}

/* A kernel's item, or -1, and the group behind it, or -1. */
static tn_status add_step(fuser *f, int item, int g)
{
    tn_program *p = f->p;
    if (!tn__grow(f->ctx, &p->steps, p->n_steps, &p->cap_steps, sizeof *p->steps))
        return TN_ERR_MEMORY;
    const tn__item *it = item >= 0 ? &f->l->items[item] : NULL;
    tn__step       *s = &p->steps[p->n_steps];
    *s = (tn__step){ .scratch = -1, .chain_scratch = -1 };
    chain_builder *b = tn_alloc(f->ctx, sizeof *b);
    tn_status      status = b ? TN_OK : TN_ERR_MEMORY;
    if (status == TN_OK && it) status = add_kernel(f, s, it);
    if (status == TN_OK && g >= 0) status = add_chain(f, s, g, b);
    if (status == TN_OK) status = add_values(f, s, it, b);
    tn_free(f->ctx, b);
    if (status == TN_OK) status = add_scratch(f, s);
    if (status != TN_OK) return status;
    add_bytes(s);
    p->n_steps++;
    return TN_OK;
}

static int last_member(const fuser *f, int g)
{
    int m = f->groups[g].first;
    while (f->next_member[m] >= 0) m = f->next_member[m];
    return m;
}

static tn_status make_steps(fuser *f)
{
    tn_status s = TN_OK;
    for (int i = 0; s == TN_OK && i < f->l->n; i++) {
        int g = f->group_of[i];
        if (g < 0) {
            bool moved = false; /* to the chain behind it */
            int  u = f->l->items[i].n_out ? f->first_use[value(f, f->l->items[i].out[0])->buffer]
                : -1;
            if (u >= 0 && f->group_of[f->uses[u].item] >= 0)
                moved = f->groups[f->group_of[f->uses[u].item]].kernel == i;
            if (!moved) s = add_step(f, i, -1);
        } else if (!f->groups[g].commits && last_member(f, g) == i) {
            s = add_step(f, f->groups[g].kernel, g);
        }
    }
    f->p->n_compute = f->p->n_steps;
    for (int i = 0; s == TN_OK && i < f->l->n; i++) {
        int g = f->group_of[i];
        if (g >= 0 && f->groups[g].commits && last_member(f, g) == i) s = add_step(f, -1, g);
    }
    return s;
}

tn_status tn__fuse(tn__lowered *l)
{
    fuser  f = { .l = l, .p = l->p, .ctx = l->p->ctx };
    size_t n = (size_t)l->n + 1;
    f.first_use = tn_alloc(f.ctx, (size_t)(l->p->n_buffers + 1) * sizeof(int));
    f.is_fetched = tn_alloc(f.ctx, (size_t)l->p->n_buffers + 1);
    f.producer = tn_alloc(f.ctx, (size_t)(l->p->n_values + 1) * sizeof(int));
    f.group_of = tn_alloc(f.ctx, n * sizeof(int));
    f.next_member = tn_alloc(f.ctx, n * sizeof(int));
    f.groups = tn_alloc(f.ctx, n * sizeof *f.groups);
    const bool has_room = f.first_use && f.is_fetched && f.producer && f.group_of &&
                          f.next_member && f.groups;
    tn_status  s = has_room ? collect_uses(&f) : TN_ERR_MEMORY;
    if (s == TN_OK) s = make_groups(&f);
    if (s == TN_OK) {
        choose_commits(&f);
        attach_kernels(&f);
        s = make_steps(&f);
    }
    tn_free(f.ctx, f.uses), tn_free(f.ctx, f.first_use), tn_free(f.ctx, f.is_fetched);
    tn_free(f.ctx, f.producer), tn_free(f.ctx, f.group_of), tn_free(f.ctx, f.next_member);
    tn_free(f.ctx, f.groups);
    return s;
}
