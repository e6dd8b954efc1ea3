/* Checkpoints over safetensors. Loading reads everything into memory of its own first, so that a
 * file that fails half-way changes nothing. */
#include "nn/checkpoint.h"

#include "autograd/internal.h"
#include "nn/internal.h"
#include "nn/optimizer_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* All variables of a set and of an optimizer. */
static int count_variables(const tn_params *p, const tn_optimizer *opt)
{
    return tn_params_count(p) + (opt ? tn_optimizer_state_count(opt) : 0);
}

static tn_node *variable_at(const tn_params *p, const tn_optimizer *opt, int i)
{
    int n = tn_params_count(p);
    return i < n ? tn_params_at(p, i) : tn_optimizer_state_at(opt, i - n);
}

static const char *name_at(const tn_params *p, const tn_optimizer *opt, int i)
{
    int n = tn_params_count(p);
    return i < n ? tn_variable_name(tn_params_at(p, i)) : tn_optimizer_state_name(opt, i - n);
}

/* What is saved in the place of v: of an average that no update has reached, the parameter. */
static const tn_node *kept(const tn_optimizer *opt, const tn_node *v)
{
    for (int i = 0; opt && i < opt->n_slots; i++)
        if (opt->slots[i].average == v) return tn__optimizer_kept(opt, &opt->slots[i]);
    return v;
}

/* An optimizer of another set has nothing to do with p. */
static tn_status check_set(const char *call, const tn_params *p, const tn_optimizer *opt)
{
    if (!opt || opt->params == p) return TN_OK;
    return tn_fail(tn_params_ctx(p), TN_ERR_ARG, "%s: the optimizer is of another parameter set",
                   call);
}

/* The text that says what kind of optimizer a state is of. */
static const char kind_key[] = "libtensor.optimizer";

/* The caller's texts and, of a state, the kind of its optimizer. */
static int with_kind(tn_metadata *to, const tn_metadata *metadata, int n, const tn_optimizer *opt)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        if (!metadata[i].key || strcmp(metadata[i].key, kind_key) != 0) to[count++] = metadata[i];
    if (opt) to[count++] = (tn_metadata){ kind_key, tn_optimizer_kind(opt) };
    return count;
}

tn_status tn__check_finite(tn_ctx *ctx, const char *path, const char *name, const tn_node *v,
                           const void *numbers, double most)
{
    const tn_dtype dtype = tn_node_dtype(v);
    const tn_shape s = tn_node_shape(v);
    const int64_t  n = tn_shape_size(&s);
    /* Of most files all is finite: seen in one pass, in integers. To an exponent of ones alone, one
     * more is added, which reaches the sign. */
    uint32_t any = 0;
    for (int64_t i = 0; dtype == TN_F32 && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, (const float *)numbers + i, sizeof bits);
        any |= (bits & 0x7fffffff) + 0x00800000;
    }
    if (dtype == TN_F32 && !(any >> 31)) return TN_OK;
    for (int64_t i = 0; i < n; i++) {
        const double x = tn__load(dtype, numbers, i);
        if (!(fabs(x) <= most))
            return tn_fail(ctx, TN_ERR_FORMAT, "%s: number %lld of %s is %g", path, (long long)i,
                           name, x);
    }
    return TN_OK;
}

/* The most that a number of variable i may be in a file; 0: anything, also none. Buffers are the
 * model's own affair; what is accumulated may overflow, and be cleared; and so may the mean square
 * of gradients, which ends the training of that parameter alone. */
static double most_of(const tn_params *p, const tn_optimizer *opt, int i)
{
    const int      n = tn_params_count(p);
    const tn_node *v = variable_at(p, opt, i);
    if (i < n) return tn_params_is_buffer(p, i) ? 0 : DBL_MAX;
    for (int k = 0; k < opt->n_slots; k++) {
        if (opt->slots[k].accumulated == v) return 0;
        if (opt->slots[k].v == v) return INFINITY;
    }
    return v == opt->accumulated_count ? 0 : DBL_MAX;
}

/* ---- saving ---------------------------------------------------------------------------------- */

tn_status tn_checkpoint_save(const char *path, const tn_params *p, const tn_optimizer *opt,
                             const tn_metadata *metadata, int n_metadata)
{
    if (!p) return TN_ERR_ARG;
    tn_ctx *ctx = tn_params_ctx(p);
    int     n = count_variables(p, opt);
    if (n_metadata < 0 || (n_metadata && !metadata))
        return tn_fail(ctx, TN_ERR_ARG, "tn_checkpoint_save: no list of %d texts", n_metadata);
    if (check_set("tn_checkpoint_save", p, opt) != TN_OK) return TN_ERR_ARG;
    tn_safetensors_entry *entries = tn_alloc(ctx, (size_t)(n + 1) * sizeof *entries);
    tn_metadata          *texts = tn_alloc(ctx, ((size_t)n_metadata + 1) * sizeof *texts);
    tn_status             s = entries && texts ? TN_OK : tn_ctx_status(ctx);
    if (s == TN_OK) n_metadata = with_kind(texts, metadata, n_metadata, opt);
    for (int i = 0; s == TN_OK && i < n; i++) {
        const tn_node *v = variable_at(p, opt, i);
        const void    *numbers = tn_variable_data(kept(opt, v));
        const double   most = most_of(p, opt, i);
        entries[i] = (tn_safetensors_entry){ name_at(p, opt, i), tn_node_type(v), numbers };
        if (most > 0) s = tn__check_finite(ctx, path, entries[i].name, v, numbers, most);
    }
    if (s == TN_OK) s = tn_safetensors_write(ctx, path, entries, n, texts, n_metadata);
    tn_free(ctx, entries), tn_free(ctx, texts);
    return s;
}

/* ---- loading --------------------------------------------------------------------------------- */

static tn_status check_entry(tn_ctx *ctx, const char *path, const tn_safetensors *f, int at,
                             const char *name, const tn_node *v)
{
    if (at < 0) return tn_fail(ctx, TN_ERR_FORMAT, "%s: there is no %s in it", path, name);
    tn_type in = tn_safetensors_type(f, at), want = tn_node_type(v);
    char    a[96], b[96];
    if (!tn_shape_equal(&in.shape, &want.shape))
        return tn_fail(ctx, TN_ERR_SHAPE, "%s: %s is %s there, %s here", path, name,
                       tn_shape_text(&in.shape, a, sizeof a),
                       tn_shape_text(&want.shape, b, sizeof b));
    if (in.dtype != want.dtype && !(tn__is_real(in.dtype) && tn__is_real(want.dtype)))
        return tn_fail(ctx, TN_ERR_DTYPE, "%s: %s is %s there, %s here", path, name,
                       tn__safetensors_dtype(f, at), tn_dtype_name(want.dtype));
    return TN_OK;
}

/* What variable i is in the file, to be freed; NULL with the reason in the context. */
static void *read_variable(const char *path, tn_safetensors *f, const tn_params *p,
                           const tn_optimizer *opt, int i)
{
    tn_ctx        *ctx = tn_params_ctx(p);
    const char    *name = name_at(p, opt, i);
    const tn_node *v = variable_at(p, opt, i);
    const double   most = most_of(p, opt, i);
    void *numbers = tn__safetensors_read_as(f, tn_safetensors_find(f, name), tn_node_dtype(v));
    if (!numbers || most == 0) return numbers;
    if (tn__check_finite(ctx, path, name, v, numbers, most) == TN_OK) return numbers;
    tn_free(ctx, numbers);
    return NULL;
}

static tn_status check_kind(tn_ctx *ctx, const char *path, const tn_safetensors *f,
                            const tn_optimizer *opt)
{
    const char *kind = opt ? tn_safetensors_metadata(f, kind_key) : NULL;
    if (!kind || strcmp(kind, tn_optimizer_kind(opt)) == 0) return TN_OK;
    return tn_fail(ctx, TN_ERR_FORMAT, "%s: its optimizer is %s, not %s", path, kind,
                   tn_optimizer_kind(opt));
}

/* Which averages a file has: before the first update none; then one that no update had reached is
 * in it as the parameter (see kept). Where one equals it for another reason, nothing is lost: it
 * begins with the parameter again. */
static void note_trained(tn_optimizer *opt)
{
    for (int i = 0; tn_optimizer_steps(opt) > 0 && i < opt->n_slots; i++) {
        tn__slot_state *s = &opt->slots[i];
        if (s->average && memcmp(tn_variable_data(s->average), tn_variable_data(s->param),
                                 tn_variable_bytes(s->param)) != 0)
            s->is_trained = true;
    }
}

tn_status tn_checkpoint_load(const char *path, tn_params *p, tn_optimizer *opt)
{
    if (!p) return TN_ERR_ARG;
    if (check_set("tn_checkpoint_load", p, opt) != TN_OK) return TN_ERR_ARG;
    tn_ctx         *ctx = tn_params_ctx(p);
    tn_safetensors *f = tn_safetensors_open(ctx, path);
    if (!f) return tn_ctx_status(ctx);
    int       n = count_variables(p, opt);
    void    **values = tn_alloc(ctx, (size_t)(n + 1) * sizeof *values);
    tn_status s = values ? check_kind(ctx, path, f, opt) : tn_ctx_status(ctx);
    for (int i = 0; s == TN_OK && i < n; i++)
        s = check_entry(ctx, path, f, tn_safetensors_find(f, name_at(p, opt, i)),
                        name_at(p, opt, i), variable_at(p, opt, i));
    for (int i = 0; s == TN_OK && i < n; i++) {
        values[i] = read_variable(path, f, p, opt, i);
        if (!values[i]) s = tn_ctx_status(ctx);
    }
    for (int i = 0; s == TN_OK && i < n; i++) {
        tn_node *v = variable_at(p, opt, i);
        memcpy(tn_variable_data(v), values[i], tn_variable_bytes(v));
    }
    if (s == TN_OK && opt) note_trained(opt);
    for (int i = 0; values && i < n; i++) tn_free(ctx, values[i]);
    tn_free(ctx, values);
    tn_safetensors_close(f);
    return s;
}

/* ---- averages -------------------------------------------------------------------------------- */

tn_status tn_checkpoint_save_average(const char *path, const tn_params *p, const tn_optimizer *opt,
                                     const tn_metadata *metadata, int n_metadata)
{
    if (!p || check_set("tn_checkpoint_save_average", p, opt) != TN_OK) return TN_ERR_ARG;
    tn_ctx *ctx = tn_params_ctx(p);
    if (!opt) return tn_fail(ctx, TN_ERR_ARG, "tn_checkpoint_save_average: no optimizer");
    int     n = tn_params_count(p), averaged = 0;
    tn_safetensors_entry *entries = tn_alloc(ctx, (size_t)(n + 1) * sizeof *entries);
    tn_status             s = entries ? TN_OK : tn_ctx_status(ctx);
    for (int i = 0; s == TN_OK && i < n; i++) {
        tn_node    *v = tn_params_at(p, i), *average = NULL;
        const char *name = tn_variable_name(v);
        for (int k = 0; opt->averages && !average && k < opt->n_slots; k++)
            if (opt->slots[k].index == i) average = tn__optimizer_average(opt, &opt->slots[k]);
        averaged += average != NULL;
        const void *numbers = tn_variable_data(average ? average : v);
        entries[i] = (tn_safetensors_entry){ name, tn_node_type(v), numbers };
        if (!tn_params_is_buffer(p, i))
            s = tn__check_finite(ctx, path, name, v, numbers, DBL_MAX);
    }
    if (s == TN_OK)
        s = averaged ? tn_safetensors_write(ctx, path, entries, n, metadata, n_metadata)
                     : tn_fail(ctx, TN_ERR_STATE,
                               "tn_checkpoint_save_average: the optimizer keeps no averages");
    tn_free(ctx, entries);
    return s;
}

/* Adds tensor `name` of one file to sum[0..n). type: what it is in the last one. */
static tn_status add_tensor(tn_ctx *ctx, const char *path, const char *name, const tn_type *type,
                            double *sum)
{
    tn_safetensors *f = tn_safetensors_open(ctx, path);
    if (!f) return tn_ctx_status(ctx);
    int       at = tn_safetensors_find(f, name);
    tn_type   t = tn_safetensors_type(f, at);
    int64_t   n = tn_shape_size(&type->shape);
    size_t    bytes = (size_t)n * tn_dtype_size(t.dtype);
    tn_status s = TN_OK;
    void     *raw = NULL;
    char      a[96], b[96];
    if (at < 0) s = tn_fail(ctx, TN_ERR_FORMAT, "%s: there is no %s in it", path, name);
    else if (!tn_shape_equal(&t.shape, &type->shape))
        s = tn_fail(ctx, TN_ERR_SHAPE, "%s: %s is %s there, %s in the last file", path, name,
                    tn_shape_text(&t.shape, a, sizeof a), tn_shape_text(&type->shape, b, sizeof b));
    else if (!(raw = tn_alloc(ctx, bytes + 1))) s = tn_ctx_status(ctx);
    else s = tn_safetensors_read(f, at, raw, bytes);
    for (int64_t i = 0; s == TN_OK && i < n; i++) sum[i] += tn__load(t.dtype, raw, i);
    tn_free(ctx, raw);
    tn_safetensors_close(f);
    return s;
}

tn_status tn_checkpoint_average(tn_ctx *ctx, const char *const *paths, int n, const char *out)
{
    if (!ctx) return TN_ERR_ARG;
    if (n < 1 || !paths || !out) return tn_fail(ctx, TN_ERR_ARG, "tn_checkpoint_average: no files");
    tn_safetensors *last = tn_safetensors_open(ctx, paths[n - 1]);
    if (!last) return tn_ctx_status(ctx);
    int                   count = tn_safetensors_count(last);
    tn_safetensors_entry *entries = tn_alloc(ctx, (size_t)(count + 1) * sizeof *entries);
    tn_status             s = entries ? TN_OK : tn_ctx_status(ctx);
    for (int k = 0; s == TN_OK && k < count; k++) {
        tn_safetensors_entry *e = &entries[k];
        *e = (tn_safetensors_entry){ .name = tn_safetensors_name(last, k),
                                     .type = tn_safetensors_type(last, k) };
        int64_t size = tn_shape_size(&e->type.shape);
        double *sum = tn_alloc(ctx, (size_t)size * sizeof *sum + 8);
        void   *data = tn_alloc(ctx, (size_t)size * tn_dtype_size(e->type.dtype) + 1);
        e->data = data;
        if (!sum || !data) s = tn_ctx_status(ctx);
        bool is_mean = tn__is_real(e->type.dtype); /* counters and flags are the last file's */
        for (int i = 0; is_mean && s == TN_OK && i < n; i++)
            s = add_tensor(ctx, paths[i], e->name, &e->type, sum);
        for (int64_t i = 0; is_mean && s == TN_OK && i < size; i++)
            tn__store(e->type.dtype, data, i, sum[i] / n);
        if (!is_mean && s == TN_OK)
            s = tn_safetensors_read(last, k, data, (size_t)size * tn_dtype_size(e->type.dtype));
        tn_free(ctx, sum);
    }
    int                n_metadata = 0;
    const tn_metadata *metadata = tn_safetensors_all_metadata(last, &n_metadata);
    if (s == TN_OK) s = tn_safetensors_write(ctx, out, entries, count, metadata, n_metadata);
    for (int k = 0; entries && k < count; k++) tn_free(ctx, (void *)(uintptr_t)entries[k].data);
    tn_free(ctx, entries);
    tn_safetensors_close(last);
    return s;
}
