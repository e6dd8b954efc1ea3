/* Recomputing: what backward reads of chosen scopes is computed a second time, just before, instead
 * of being kept in memory since the forward pass.
 *
 * The outermost scopes that a pattern names are the regions. A value of a region is kept where
 * anything but a gradient reads it from outside of the region, or the host fetches it. Of all
 * others gradients read copies, made by the same ops of the same attributes (streams of random
 * numbers too) from what is kept: the same bits. A copy stands before the first gradient that needs
 * it. Equal calls have become one before, so nothing makes one of an item and its copy again. */
#include "autograd/program.h"

#include <string.h>

/* ---- patterns -------------------------------------------------------------------------------- */

/* The next of a list that commas and blanks part; false at its end. */
static bool next_pattern(const char **at, const char **pattern, size_t *n)
{
    *pattern = *at + strspn(*at, ", ");
    *n = strcspn(*pattern, ", ");
    *at = *pattern + *n;
    return *n > 0;
}

/* The length of the outermost scope of the path that the pattern names; 0: none of them. */
static size_t named(const char *pattern, size_t n, const char *path)
{
    for (size_t end = strcspn(path, "."); end > 0; end += 1 + strcspn(path + end + 1, ".")) {
        if (tn__matches(pattern, n, path, end)) return end;
        if (!path[end]) return 0;
    }
    return 0;
}

static size_t region_length(const char *patterns, const char *path)
{
    size_t      shortest = 0, n, length;
    const char *pattern;
    while (next_pattern(&patterns, &pattern, &n))
        if ((length = named(pattern, n, path)) > 0 && (!shortest || length < shortest))
            shortest = length;
    return shortest;
}

static tn_status check(const tn_graph *g, const char *patterns)
{
    const char *pattern;
    size_t      n;
    while (next_pattern(&patterns, &pattern, &n)) {
        bool any = false;
        for (int64_t i = 0; i < g->n_scopes && !any; i++)
            any = named(pattern, n, g->scopes[i].path) > 0;
        if (!any)
            return tn_fail(g->ctx, TN_ERR_ARG,
                           "tn_compile: recompute: no scope of the graph is %.*s",
                           n < 200 ? (int)n : 200, pattern);
    }
    return TN_OK;
}

/* ---- copies ---------------------------------------------------------------------------------- */

typedef struct recomputing {
    tn__lowered *l;
    tn_program  *p;
    int64_t      n_buffers;         /* there were before */
    size_t      *region;            /* by item: length of its region's path; 0: none */
    int         *producer;          /* by buffer: the item that writes it; -1 */
    bool        *is_kept;           /* by buffer */
    int         *buffer, *value;    /* by buffer and by value: the copy; -1 */
    bool        *is_wanted;         /* by item: to be copied next */
    bool        *is_copied;         /* by item */
    tn__item    *items;             /* what l->items becomes */
    int         *origin;            /* of those: the item of before that each is, or is a copy of */
    int64_t      n, cap, cap_origin;
} recomputing;

static bool same_region(const recomputing *r, int a, int b)
{
    return r->region[a] && r->region[a] == r->region[b] &&
           memcmp(r->l->items[a].scope, r->l->items[b].scope, r->region[a]) == 0;
}

/* Which buffers stay: those that items other than gradients read from outside of the region. */
static void find_kept(recomputing *r)
{
    const tn__lowered *l = r->l;
    const tn_program  *p = r->p;
    for (int64_t b = 0; b < r->n_buffers; b++) {
        r->producer[b] = r->buffer[b] = -1;
        r->is_kept[b] = p->buffers[b].kind != TN__ARENA;
    }
    for (int64_t v = 0; v < p->n_values; v++) r->value[v] = -1;
    for (int64_t i = 0; i < p->n_commits; i++)
        r->is_kept[p->values[p->commits[i].value].buffer] = true;
    for (int i = 0; i < l->n; i++) {
        const tn__item *it = &l->items[i];
        for (int k = 0; k < it->n_out; k++) {
            int b = p->values[it->out[k]].buffer;
            r->producer[b] = i;
            if (!r->region[i] || it->stays) r->is_kept[b] = true;
        }
        for (int k = 0; k < it->n_in && !it->is_gradient; k++) {
            int b = p->values[it->in[k]].buffer;
            if (r->producer[b] >= 0 && !same_region(r, r->producer[b], i)) r->is_kept[b] = true;
        }
    }
}

/* The item that made value v, if v is not kept; -1. */
static int forgotten(const recomputing *r, int v)
{
    int b = r->p->values[v].buffer;
    return r->is_kept[b] ? -1 : r->producer[b];
}

/* The copy of value v, in the copy of its buffer. */
static int copy_of(recomputing *r, int v)
{
    tn_program *p = r->p;
    if (r->value[v] >= 0) return r->value[v];
    tn__value x = p->values[v];
    int      *b = &r->buffer[x.buffer];
    if (*b < 0) *b = tn__buffer_new(p, TN__ARENA, p->buffers[x.buffer].bytes);
    return r->value[v] = tn__value_new(p, x.type, &x.layout, *b);
}

static tn_status append(recomputing *r, const tn__item *it, int origin)
{
    tn_ctx *ctx = r->p->ctx;
    if (!tn__grow(ctx, &r->items, r->n, &r->cap, sizeof *r->items)) return TN_ERR_MEMORY;
    if (!tn__grow(ctx, &r->origin, r->n, &r->cap_origin, sizeof *r->origin)) return TN_ERR_MEMORY;
    r->items[r->n] = *it, r->origin[r->n] = origin;
    r->n++;
    return TN_OK;
}

static tn_status read_copies(recomputing *r, tn__item *it)
{
    for (int k = 0; k < it->n_in; k++)
        if (forgotten(r, it->in[k]) >= 0 && (it->in[k] = copy_of(r, it->in[k])) < 0)
            return TN_ERR_MEMORY;
    return TN_OK;
}

static tn_status append_copy(recomputing *r, int i)
{
    tn__item it = r->l->items[i];
    int     *room = tn__program_alloc(r->p, (size_t)(it.n_in + it.n_out) * sizeof *room);
    if (!room) return TN_ERR_MEMORY;
    if (it.n_in) memcpy(room, it.in, (size_t)it.n_in * sizeof *room);
    for (int k = 0; k < it.n_out; k++)
        if ((room[it.n_in + k] = copy_of(r, it.out[k])) < 0) return TN_ERR_MEMORY;
    it.in = room, it.out = room + it.n_in, it.is_again = true;
    r->is_copied[i] = true;
    return read_copies(r, &it) == TN_OK ? append(r, &it, i) : TN_ERR_MEMORY;
}

/* Marks what makes the item's inputs and is not copied yet; the least of its numbers and
 * `least`. */
static int want_inputs(recomputing *r, const tn__item *it, int least)
{
    for (int k = 0; k < it->n_in; k++) {
        int i = forgotten(r, it->in[k]);
        if (i < 0 || r->is_copied[i]) continue;
        r->is_wanted[i] = true;
        if (i < least) least = i;
    }
    return least;
}

/* All copies that gradient item i needs and that are not there yet, then the item. */
static tn_status bring_back(recomputing *r, int i)
{
    tn_status s = TN_OK;
    int       first = want_inputs(r, &r->l->items[i], i);
    for (int k = i - 1; k >= first; k--)
        if (r->is_wanted[k]) first = want_inputs(r, &r->l->items[k], first);
    for (int k = first; s == TN_OK && k < i; k++) {
        if (!r->is_wanted[k]) continue;
        r->is_wanted[k] = false;
        s = append_copy(r, k);
    }
    if (s == TN_OK) s = read_copies(r, &r->l->items[i]);
    return s;
}

static tn_status copy_items(recomputing *r)
{
    tn_status s = TN_OK;
    for (int i = 0; s == TN_OK && i < r->l->n; i++) {
        if (r->l->items[i].is_gradient) s = bring_back(r, i);
        if (s == TN_OK) s = append(r, &r->l->items[i], i);
    }
    return s;
}

/* Drops items that nothing reads any more: what the forward pass made for gradients alone. Their
 * copies are then the only ones. */
static tn_status drop_unread(recomputing *r)
{
    tn_program *p = r->p;
    bool       *is_read = tn_alloc(p->ctx, (size_t)p->n_buffers + 1), *is_dropped = r->is_wanted;
    if (!is_read) return TN_ERR_MEMORY;
    memset(is_dropped, 0, (size_t)r->l->n);
    for (int64_t b = 0; b < p->n_buffers; b++) is_read[b] = p->buffers[b].kind != TN__ARENA;
    for (int64_t i = 0; i < p->n_commits; i++)
        is_read[p->values[p->commits[i].value].buffer] = true;
    for (int64_t i = r->n - 1; i >= 0; i--) {
        tn__item *it = &r->items[i];
        bool      any = false;
        for (int k = 0; k < it->n_out; k++) any |= is_read[p->values[it->out[k]].buffer];
        for (int k = 0; any && k < it->n_in; k++) is_read[p->values[it->in[k]].buffer] = true;
        if (!any && !it->is_again) is_dropped[r->origin[i]] = true;
    }
    int64_t kept = 0;
    for (int64_t i = 0; i < r->n; i++) {
        bool is_first = !is_dropped[r->origin[i]], is_copy = r->items[i].is_again;
        if (!is_first && !is_copy) continue;
        r->items[kept] = r->items[i];
        r->items[kept++].is_again = is_copy && is_first;
    }
    r->n = kept;
    tn_free(p->ctx, is_read);
    return TN_OK;
}

tn_status tn__recompute(tn__lowered *l, const tn_graph *g, const char *patterns)
{
    tn_ctx     *ctx = l->p->ctx;
    tn_status   s = check(g, patterns);
    recomputing r = { .l = l, .p = l->p, .n_buffers = l->p->n_buffers };
    size_t      n = (size_t)l->n + 1, buffers = (size_t)r.n_buffers + 1;
    r.region = tn_alloc(ctx, n * sizeof *r.region);
    r.producer = tn_alloc(ctx, buffers * sizeof *r.producer);
    r.is_kept = tn_alloc(ctx, buffers);
    r.buffer = tn_alloc(ctx, buffers * sizeof *r.buffer);
    r.value = tn_alloc(ctx, (size_t)(l->p->n_values + 1) * sizeof *r.value);
    r.is_wanted = tn_alloc(ctx, n), r.is_copied = tn_alloc(ctx, n);
    bool ok = r.region && r.producer && r.is_kept && r.buffer && r.value && r.is_wanted;
    if (s == TN_OK && !(ok && r.is_copied)) s = TN_ERR_MEMORY;
    for (int64_t i = 0; s == TN_OK && i < l->n; i++) {
        const tn__item *it = &l->items[i];
        bool may = !it->is_gradient && !(it->op->flags & TN_UPDATES); /* caches are written once */
        r.region[i] = may ? region_length(patterns, it->scope) : 0;
    }
    if (s == TN_OK) {
        find_kept(&r);
        s = copy_items(&r);
    }
    if (s == TN_OK) s = drop_unread(&r);
    if (s == TN_OK) {
        tn__item *old = l->items;
        l->items = r.items, l->n = r.n, l->cap = r.cap;
        r.items = old;
    }
    tn_free(ctx, r.region), tn_free(ctx, r.producer), tn_free(ctx, r.is_kept);
    tn_free(ctx, r.buffer), tn_free(ctx, r.value), tn_free(ctx, r.is_wanted),
        tn_free(ctx, r.is_copied);
    tn_free(ctx, r.items), tn_free(ctx, r.origin);
    return s;
}
