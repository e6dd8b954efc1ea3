/* Parameters from foreign files: rules are matched, every shape is checked, then the numbers are
 * read into memory of their own, and last of all they become the parameters'. */
#include "nn/import.h"

#include "autograd/internal.h"
#include "nn/internal.h"

#include <float.h>
#include <string.h>

enum { STARS = 8, SOURCES = 8, NAME = 512 };

typedef struct texts { /* what the stars of a pattern stood for */
    const char *at[STARS];
    int         length[STARS], n;
} texts;

/* A rule with its tensors, for one parameter. */
typedef struct source {
    const tn_import_rule *rule;
    int                   tensor[SOURCES], n;
    int64_t               ins, outs;    /* rows of the result; outputs of all tensors together */
    int64_t               kernel;       /* transposed: inputs come in so many places each */
    int64_t               first, count; /* of the outputs */
} source;

typedef struct import {
    tn_ctx                  *ctx;
    const char              *path;
    tn_safetensors          *file;
    tn_params               *p;
    const tn_import_rule    *rules;
    int                      n_rules;
    tn_import_options        o;
    source                  *sources; /* of each parameter; no rule: out of scope */
    void                   **values;
    bool                    *is_used; /* of each tensor */
} import;

/* ---- names ----------------------------------------------------------------------------------- */

static bool capture(const char *pattern, const char *name, texts *t)
{
    for (; *pattern && *pattern != '*'; pattern++, name++)
        if (*pattern != *name) return false;
    if (!*pattern) return !*name;
    if (t->n == STARS) return false;
    const int star = t->n++;
    for (int length = 0;; length++) {
        t->at[star] = name, t->length[star] = length;
        t->n = star + 1;
        if (capture(pattern + 1, name + length, t)) return true;
        if (!name[length]) return false;
    }
}

/* One name of `from`, up to a space, with its stars filled in. Returns what is behind it. */
static const char *fill(const char *from, const char *prefix, const texts *t, char *name,
                        bool *fits)
{
    size_t used = 0;
    int    star = 0;
    for (const char *p = prefix; *p && used < NAME; p++) name[used++] = *p;
    for (; *from && *from != ' '; from++) {
        const bool  is_star = *from == '*' && star < t->n;
        const char *text = is_star ? t->at[star] : from;
        const int   length = is_star ? t->length[star++] : 1;
        for (int i = 0; i < length && used < NAME; i++) name[used++] = text[i];
    }
    *fits = used < NAME;
    name[used < NAME ? used : NAME - 1] = 0;
    while (*from == ' ') from++;
    return from;
}

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* ---- matching -------------------------------------------------------------------------------- */

static tn_status check_rule(const import *m, int k)
{
    const tn_import_rule *r = &m->rules[k];
    if (r->from ? !*r->from || *r->from == ' ' : !r->to)
        return tn_fail(m->ctx, TN_ERR_ARG, "tn_import: rule %d names nothing in the file", k);
    if (r->of < 0 || r->first < 0 || r->count < 0 ||
        (r->of > 0 ? r->count == 0 || r->first > r->of - r->count : r->first || r->count))
        return tn_fail(m->ctx, TN_ERR_ARG, "tn_import: rule %d takes %d pieces from piece %d of %d",
                       k, r->count, r->first, r->of);
    return TN_OK;
}

static tn_status find_tensors(import *m, const char *parameter, source *s, const texts *t)
{
    for (const char *from = s->rule->from; *from; s->n++) {
        char name[NAME];
        bool fits;
        from = fill(from, m->o.prefix, t, name, &fits);
        if (!fits || s->n == SOURCES)
            return tn_fail(m->ctx, TN_ERR_ARG,
                           "tn_import: the rule of %s names more than %d tensors"
                           " or a name over %d bytes", parameter, SOURCES, NAME - 1);
        s->tensor[s->n] = tn_safetensors_find(m->file, name);
        if (s->tensor[s->n] < 0)
            return tn_fail(m->ctx, TN_ERR_FORMAT, "%s: there is no %s in it, of which %s is made",
                           m->path, name, parameter);
        m->is_used[s->tensor[s->n]] = true;
    }
    return TN_OK;
}

static bool is_whole(const source *s)
{
    return s->n == 1 && s->rule->of == 0 && !s->rule->transposed;
}

/* [out, in, kernel..] for [kernel.., in, out] */
static bool takes_transposed(source *s, const tn_shape *d, const tn_shape *parameter)
{
    const int last = d->rank - 1;
    if (last < 1 || d->dim[1] != parameter->dim[last - 1]) return false;
    s->outs += d->dim[0], s->kernel = 1;
    for (int i = 2; i <= last; i++) {
        if (d->dim[i] != parameter->dim[i - 2]) return false;
        s->kernel *= d->dim[i];
    }
    s->ins = d->dim[1] * s->kernel;
    return true;
}

/* Whether a tensor of shape d may be (a part of) the parameter; counts its inputs and outputs. */
static bool takes(source *s, const tn_shape *d, const tn_shape *parameter)
{
    if (is_whole(s)) return tn_shape_equal(d, parameter);
    if (d->rank != parameter->rank) return false;
    if (s->rule->transposed) return takes_transposed(s, d, parameter);
    s->outs += d->dim[d->rank - 1];
    s->ins = d->rank == 2 ? d->dim[0] : 1;
    return d->rank == 1 || (d->rank == 2 && s->ins == parameter->dim[0]);
}

/* What the tensors of a rule are together, against the parameter. */
static tn_status check_shape(import *m, const tn_node *v, source *s)
{
    const tn_import_rule *r = s->rule;
    const tn_type         want = tn_node_type(v);
    char                  a[96], b[96];
    for (int k = 0; k < s->n; k++) {
        const tn_type in = tn_safetensors_type(m->file, s->tensor[k]);
        if (in.dtype != want.dtype && !(tn__is_real(in.dtype) && tn__is_real(want.dtype)))
            return tn_fail(m->ctx, TN_ERR_DTYPE, "%s: %s is %s there, %s is %s", m->path,
                           tn_safetensors_name(m->file, s->tensor[k]),
                           tn__safetensors_dtype(m->file, s->tensor[k]), tn_variable_name(v),
                           tn_dtype_name(want.dtype));
        if (!takes(s, &in.shape, &want.shape))
            return tn_fail(m->ctx, TN_ERR_SHAPE, "%s: %s is %s there%s, %s is %s", m->path,
                           tn_safetensors_name(m->file, s->tensor[k]),
                           tn_shape_text(&in.shape, a, sizeof a),
                           r->transposed ? ", to be transposed" : "",
                           tn_variable_name(v), tn_shape_text(&want.shape, b, sizeof b));
    }
    if (is_whole(s)) return TN_OK;
    const int64_t piece = r->of ? s->outs / r->of : s->outs;
    s->first = r->of ? r->first * piece : 0, s->count = r->of ? r->count * piece : s->outs;
    if ((r->of && s->outs % r->of) || s->count != want.shape.dim[want.shape.rank - 1])
        return tn_fail(m->ctx, TN_ERR_SHAPE,
                       "%s: %lld of the %lld outputs of %s%s do not make %s, which is %s", m->path,
                       (long long)s->count, (long long)s->outs,
                       tn_safetensors_name(m->file, s->tensor[0]), s->n > 1 ? " .." : "",
                       tn_variable_name(v), tn_shape_text(&want.shape, b, sizeof b));
    return TN_OK;
}

static tn_status match(import *m)
{
    tn_status s = TN_OK;
    for (int k = 0; s == TN_OK && k < m->n_rules; k++) s = check_rule(m, k);
    for (int i = 0; s == TN_OK && i < tn_params_count(m->p); i++) {
        const tn_node *v = tn_params_at(m->p, i);
        const char    *name = tn_variable_name(v);
        if (!begins(name, m->o.scope)) continue;
        texts                 t = { 0 };
        const tn_import_rule *rule = NULL;
        for (int k = 0; k < m->n_rules && !rule; k++) {
            t.n = 0;
            if (m->rules[k].to && capture(m->rules[k].to, name + strlen(m->o.scope), &t))
                rule = &m->rules[k];
        }
        if (rule && !rule->from) continue; /* it stays */
        m->sources[i].rule = rule;
        if (!rule)
            return tn_fail(m->ctx, TN_ERR_ARG, "%s: no rule says what %s is made of", m->path,
                           name);
        s = find_tensors(m, name, &m->sources[i], &t);
        if (s == TN_OK) s = check_shape(m, v, &m->sources[i]);
    }
    return s;
}

/* Tensors that nothing was made of, and that no rule calls unwanted. */
static tn_status check_rest(import *m)
{
    const size_t skip = strlen(m->o.prefix);
    for (int i = 0; i < tn_safetensors_count(m->file); i++) {
        const char *name = tn_safetensors_name(m->file, i);
        bool        known = m->is_used[i] || !begins(name, m->o.prefix);
        for (int k = 0; k < m->n_rules && !known; k++)
            known = !m->rules[k].to && tn_name_matches(m->rules[k].from, name + skip);
        if (!known)
            return tn_fail(m->ctx, TN_ERR_FORMAT, "%s: nothing is made of %s", m->path, name);
    }
    return TN_OK;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Puts the outputs [first, first + count) of a tensor of n outputs that begins at output `at` of
 * all where they belong: out is [ins, count]. */
static void place(const source *s, char *out, const char *in, int64_t at, int64_t n, size_t size)
{
    const int64_t from = at > s->first ? at : s->first, end = s->first + s->count;
    const int64_t kernel = s->kernel, each = kernel ? s->ins / kernel : 0;
    for (int64_t c = from; c < at + n && c < end; c++)
        for (int64_t i = 0; i < s->ins; i++) {
            const int64_t k = kernel ? (c - at) * s->ins + i % each * kernel + i / each
                                     : i * n + c - at;
            memcpy(out + (size_t)(i * s->count + c - s->first) * size, in + (size_t)k * size, size);
        }
}

static void *read_parameter(import *m, const tn_node *v, const source *s)
{
    const tn_dtype dtype = tn_node_dtype(v);
    if (is_whole(s)) return tn__safetensors_read_as(m->file, s->tensor[0], dtype);
    char   *out = tn_alloc(m->ctx, tn_variable_bytes(v) + 1);
    int64_t at = 0;
    for (int k = 0; out && k < s->n; k++) {
        const tn_shape d = tn_safetensors_type(m->file, s->tensor[k]).shape;
        const int64_t  n = d.dim[s->rule->transposed ? 0 : d.rank - 1];
        void          *in = tn__safetensors_read_as(m->file, s->tensor[k], dtype);
        if (!in) {
            tn_free(m->ctx, out);
            return NULL;
        }
        place(s, out, in, at, n, tn_dtype_size(dtype));
        at += n;
        tn_free(m->ctx, in);
    }
    return out;
}

static tn_status read_all(import *m)
{
    const int n = tn_params_count(m->p);
    for (int i = 0; i < n; i++) {
        const tn_node *v = tn_params_at(m->p, i);
        if (!m->sources[i].rule) continue;
        m->values[i] = read_parameter(m, v, &m->sources[i]);
        if (!m->values[i]) return tn_ctx_status(m->ctx);
        if (!tn_params_is_buffer(m->p, i) &&
            tn__check_finite(m->ctx, m->path, tn_variable_name(v), v, m->values[i], DBL_MAX))
            return TN_ERR_FORMAT;
    }
    for (int i = 0; i < n; i++) {
        tn_node *v = tn_params_at(m->p, i);
        if (m->values[i]) memcpy(tn_variable_data(v), m->values[i], tn_variable_bytes(v));
    }
    return TN_OK;
}

/* ---- the call -------------------------------------------------------------------------------- */

static tn_status run(import *m)
{
    const size_t n = (size_t)tn_params_count(m->p) + 1;
    const size_t tensors = (size_t)tn_safetensors_count(m->file) + 1;
    if (!(m->sources = tn_alloc(m->ctx, n * sizeof *m->sources)) ||
        !(m->values = tn_alloc(m->ctx, n * sizeof *m->values)) ||
        !(m->is_used = tn_alloc(m->ctx, tensors * sizeof *m->is_used)))
        return tn_ctx_status(m->ctx);
    tn_status s = match(m);
    if (s == TN_OK) s = check_rest(m);
    return s == TN_OK ? read_all(m) : s;
}

tn_status tn_import(const char *path, tn_params *p, const tn_import_rule *rules, int n,
                    const tn_import_options *options)
{
    if (!p) return TN_ERR_ARG;
    tn_ctx *ctx = tn_params_ctx(p);
    if (!path || !rules || n < 1)
        return tn_fail(ctx, TN_ERR_ARG, "tn_import: there is no %s", path ? "rule" : "path");
    import m = { .ctx = ctx, .path = path, .p = p, .rules = rules, .n_rules = n };
    if (options) m.o = *options;
    if (!m.o.prefix) m.o.prefix = "";
    if (!m.o.scope) m.o.scope = "";
    if (!(m.file = tn_safetensors_open(ctx, path))) return tn_ctx_status(ctx);
    const tn_status s = run(&m);
    for (int i = 0; m.values && i < tn_params_count(p); i++) tn_free(ctx, m.values[i]);
    tn_free(ctx, m.values), tn_free(ctx, m.sources), tn_free(ctx, m.is_used);
    tn_safetensors_close(m.file);
    return s;
}
