/* Parameter sets: a growing list of variables and their names. */
#include "nn/params.h"

#include "autograd/internal.h"
#include "tensor/random.h"
#include "tensor/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 256, MAX_DEPTH = 32 };

typedef struct entry {
    tn_node *variable;
    uint64_t hash;
    int      group;
    bool     is_buffer, is_frozen;
} entry;

typedef struct text {
    struct text *next;
    char         chars[];
} text;

struct tn_params {
    tn_ctx  *ctx;
    tn_dtype dtype;
    entry   *entries;
    int      n, capacity;
    int     *table; /* open addressing over hashes: index + 1; twice the capacity */
    text    *texts;
    char     prefix[MAX_NAME]; /* "encoder.0." */
    int      length[MAX_DEPTH];
    int      depth;
};

tn_params *tn_params_new(tn_ctx *ctx, tn_dtype dtype)
{
    if (!ctx) return NULL;
    if (!tn_dtype_is_float(dtype)) {
        tn_fail(ctx, TN_ERR_DTYPE, "tn_params_new: parameters are f32 or f64, not %s",
                tn_dtype_name(dtype));
        return NULL;
    }
    tn_params *p = tn_alloc(ctx, sizeof *p);
    if (p) p->ctx = ctx, p->dtype = dtype;
    return p;
}

void tn_params_free(tn_params *p)
{
    if (!p) return;
    for (int i = 0; i < p->n; i++) tn_variable_free(p->entries[i].variable);
    for (text *t = p->texts, *next; t; t = next) {
        next = t->next;
        tn_free(p->ctx, t);
    }
    tn_free(p->ctx, p->entries), tn_free(p->ctx, p->table);
    tn_free(p->ctx, p);
}

tn_ctx  *tn_params_ctx(const tn_params *p) { return p ? p->ctx : NULL; }
tn_dtype tn_params_dtype(const tn_params *p) { return p ? p->dtype : TN_F32; }

/* ---- names ----------------------------------------------------------------------------------- */

const char *tn_params_text(tn_params *p, const char *chars)
{
    if (!p || !chars) return NULL;
    for (text *t = p->texts; t; t = t->next)
        if (strcmp(t->chars, chars) == 0) return t->chars;
    text *t = tn_alloc(p->ctx, sizeof *t + strlen(chars) + 1);
    if (!t) return NULL;
    t->next = p->texts, p->texts = t;
    return strcpy(t->chars, chars);
}

void tn_params_push(tn_params *p, const char *format, ...)
{
    if (!p) return;
    if (p->depth >= MAX_DEPTH) { /* its pop is still to come */
        p->depth++;
        tn_fail(p->ctx, TN_ERR_LIMIT, "tn_params_push: over %d prefixes deep", MAX_DEPTH);
        return;
    }
    size_t  used = strlen(p->prefix), room = MAX_NAME - used;
    va_list args;
    p->length[p->depth++] = (int)used;
    va_start(args, format);
    int n = format ? vsnprintf(p->prefix + used, room, format, args) : -1;
    va_end(args);
    if (n < 0 || (size_t)n + 1 >= room) {
        p->prefix[used] = 0;
        tn_fail(p->ctx, TN_ERR_ARG, "tn_params_push: a name is NULL, or over %d characters long",
                MAX_NAME - 1);
    } else if (n > 0) {
        strcat(p->prefix, ".");
    }
}

int tn_params_depth(const tn_params *p) { return p ? p->depth : 0; }

void tn_params_restore(tn_params *p, int depth)
{
    if (!p || depth < 0 || depth >= p->depth) return;
    p->depth = depth;
    if (depth < MAX_DEPTH) p->prefix[p->length[depth]] = 0;
}

void tn_params_pop(tn_params *p) { tn_params_restore(p, tn_params_depth(p) - 1); }

/* ---- finding and adding ---------------------------------------------------------------------- */

static int find(const tn_params *p, const char *name)
{
    if (!p || !name || !p->capacity) return -1;
    uint64_t hash = tn_hash_text(0, name), mask = (uint64_t)(2 * p->capacity - 1);
    for (uint64_t at = hash & mask; p->table[at]; at = (at + 1) & mask) {
        const entry *e = &p->entries[p->table[at] - 1];
        if (e->hash == hash && strcmp(tn_variable_name(e->variable), name) == 0)
            return p->table[at] - 1;
    }
    return -1;
}

static void enter(tn_params *p, int i)
{
    uint64_t mask = (uint64_t)(2 * p->capacity - 1), at = p->entries[i].hash & mask;
    while (p->table[at]) at = (at + 1) & mask;
    p->table[at] = i + 1;
}

static bool make_room(tn_params *p)
{
    if (p->n < p->capacity) return true;
    int    capacity = p->capacity ? 2 * p->capacity : 32;
    entry *entries = tn_alloc(p->ctx, (size_t)capacity * sizeof *entries);
    int   *table = tn_alloc(p->ctx, (size_t)capacity * 2 * sizeof *table);
    if (!entries || !table) {
        tn_free(p->ctx, entries), tn_free(p->ctx, table);
        return false;
    }
    if (p->n) memcpy(entries, p->entries, (size_t)p->n * sizeof *entries);
    tn_free(p->ctx, p->entries), tn_free(p->ctx, p->table);
    p->entries = entries, p->table = table, p->capacity = capacity;
    for (int i = 0; i < p->n; i++) enter(p, i);
    return true;
}

static entry *add(tn_params *p, const char *name, tn_dtype dtype, tn_shape shape, bool is_buffer)
{
    char full[MAX_NAME];
    if (!p) return NULL;
    if (!name || !*name) {
        tn_fail(p->ctx, TN_ERR_ARG, "a parameter needs a name");
        return NULL;
    }
    int n = snprintf(full, sizeof full, "%s%s", p->prefix, name);
    if (n < 0 || n >= MAX_NAME) {
        tn_fail(p->ctx, TN_ERR_ARG, "parameter %.40s..: the name is over %d characters long", full,
                MAX_NAME - 1);
        return NULL;
    }
    if (strcmp(full, "__metadata__") == 0 || !tn__is_utf8(full)) {
        tn_fail(p->ctx, TN_ERR_ARG, "parameter %s: no file could have it under that name", full);
        return NULL;
    }
    if (find(p, full) >= 0) {
        tn_fail(p->ctx, TN_ERR_ARG, "there is a parameter %s already", full);
        return NULL;
    }
    if (!make_room(p)) return NULL;
    tn_node *v = is_buffer ? tn__variable_new_sparse(p->ctx, full, dtype, shape)
                           : tn_variable_new(p->ctx, full, dtype, shape);
    if (!v) return NULL;
    p->entries[p->n] = (entry){ .variable = v, .hash = tn_hash_text(0, full),
                                .is_buffer = is_buffer };
    enter(p, p->n);
    return &p->entries[p->n++];
}

/* What was added last goes again: nothing in the table stands behind it. */
static void take_back(tn_params *p)
{
    uint64_t mask = (uint64_t)(2 * p->capacity - 1), at = p->entries[p->n - 1].hash & mask;
    while (p->table[at] != p->n) at = (at + 1) & mask;
    p->table[at] = 0;
    tn_variable_free(p->entries[--p->n].variable);
}

tn_node *tn_param(tn_params *p, const char *name, tn_shape shape, const tn_init *init)
{
    entry *e = p ? add(p, name, p->dtype, shape, false) : NULL;
    if (!e) return NULL;
    void *data = tn_variable_data(e->variable);
    if (!init || tn_init_fill(p->ctx, init, p->dtype, shape, e->hash, data) == TN_OK)
        return e->variable;
    take_back(p);
    return NULL;
}

tn_node *tn_buffer(tn_params *p, const char *name, tn_dtype dtype, tn_shape shape)
{
    entry *e = add(p, name, dtype, shape, true);
    return e ? e->variable : NULL;
}

/* ---- looking --------------------------------------------------------------------------------- */

static const entry *at(const tn_params *p, int i)
{
    return p && i >= 0 && i < p->n ? &p->entries[i] : NULL;
}

int tn_params_count(const tn_params *p) { return p ? p->n : 0; }

tn_node *tn_params_at(const tn_params *p, int i) { return at(p, i) ? at(p, i)->variable : NULL; }

tn_node *tn_params_find(const tn_params *p, const char *name)
{
    return tn_params_at(p, find(p, name));
}

bool tn_params_is_buffer(const tn_params *p, int i) { return at(p, i) && at(p, i)->is_buffer; }

bool tn_params_is_trainable(const tn_params *p, int i)
{
    return at(p, i) && !at(p, i)->is_buffer && !at(p, i)->is_frozen;
}

int tn_params_group(const tn_params *p, int i) { return at(p, i) ? at(p, i)->group : 0; }

static int64_t size_of(const tn_node *v)
{
    tn_shape s = tn_node_shape(v);
    return tn_shape_size(&s);
}

int64_t tn_params_size(const tn_params *p)
{
    int64_t n = 0;
    for (int i = 0; i < tn_params_count(p); i++)
        if (!p->entries[i].is_buffer) n += size_of(p->entries[i].variable);
    return n;
}

int64_t tn_params_trainable_size(const tn_params *p)
{
    int64_t n = 0;
    for (int i = 0; i < tn_params_count(p); i++)
        if (tn_params_is_trainable(p, i)) n += size_of(p->entries[i].variable);
    return n;
}

/* ---- freezing and groups --------------------------------------------------------------------- */

bool tn_name_matches(const char *pattern, const char *name)
{
    return pattern && name && tn__matches(pattern, strlen(pattern), name, strlen(name));
}

int tn_params_set_trainable(tn_params *p, const char *pattern, bool trainable)
{
    int n = 0;
    for (int i = 0; pattern && i < tn_params_count(p); i++) {
        entry *e = &p->entries[i];
        if (e->is_buffer || !tn_name_matches(pattern, tn_variable_name(e->variable))) continue;
        e->is_frozen = !trainable, n++;
    }
    return n;
}

int tn_params_set_group(tn_params *p, const char *pattern, int group)
{
    int n = 0;
    if (p && (group < 0 || group >= TN_PARAM_GROUPS)) {
        tn_fail(p->ctx, TN_ERR_ARG, "tn_params_set_group: group %d is not in [0, %d)", group,
                TN_PARAM_GROUPS);
        return 0;
    }
    for (int i = 0; pattern && i < tn_params_count(p); i++) {
        entry *e = &p->entries[i];
        if (e->is_buffer || !tn_name_matches(pattern, tn_variable_name(e->variable))) continue;
        e->group = group, n++;
    }
    return n;
}

/* ---- two sets -------------------------------------------------------------------------------- */

tn_status tn_params_compatible(const tn_params *a, const tn_params *b)
{
    if (!a || !b)
        return a || b ? tn_fail((a ? a : b)->ctx, TN_ERR_ARG, "a parameter set is NULL")
            : TN_ERR_ARG;
    if (a->n != b->n)
        return tn_fail(a->ctx, TN_ERR_ARG, "the parameter sets have %d and %d variables", a->n,
                       b->n);
    for (int i = 0; i < a->n; i++) {
        const tn_node *x = a->entries[i].variable, *y = tn_params_find(b, tn_variable_name(x));
        tn_shape       sx = tn_node_shape(x), sy = tn_node_shape(y);
        char           tx[96], ty[96];
        if (!y) return tn_fail(a->ctx, TN_ERR_ARG, "the other set has no %s", tn_variable_name(x));
        if (tn_node_dtype(x) != tn_node_dtype(y))
            return tn_fail(a->ctx, TN_ERR_DTYPE, "%s is %s in one set and %s in the other",
                           tn_variable_name(x), tn_dtype_name(tn_node_dtype(x)),
                           tn_dtype_name(tn_node_dtype(y)));
        if (!tn_shape_equal(&sx, &sy))
            return tn_fail(a->ctx, TN_ERR_SHAPE, "%s is %s in one set and %s in the other",
                           tn_variable_name(x), tn_shape_text(&sx, tx, sizeof tx),
                           tn_shape_text(&sy, ty, sizeof ty));
    }
    return TN_OK;
}

tn_status tn_params_copy(tn_params *to, const tn_params *from)
{
    tn_status s = tn_params_compatible(to, from);
    for (int i = 0; s == TN_OK && i < to->n; i++) {
        tn_node *v = to->entries[i].variable, *w = tn_params_find(from, tn_variable_name(v));
        s = tn_variable_set(v, tn_variable_data(w), tn_variable_bytes(w));
    }
    return s;
}

tn_status tn_params_bind(const tn_params *p, tn_program *program)
{
    if (!p || !program)
        return p ? tn_fail(p->ctx, TN_ERR_ARG, "tn_params_bind: no program") : TN_ERR_ARG;
    tn_node **list = tn_alloc(p->ctx, (size_t)(p->n + 1) * sizeof *list);
    if (!list) return tn_ctx_status(p->ctx);
    for (int i = 0; i < p->n; i++) list[i] = p->entries[i].variable;
    tn_status s = tn_program_bind(program, list, p->n);
    tn_free(p->ctx, list);
    return s;
}
