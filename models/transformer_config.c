/* What a Transformer is, checked and as text. */
#include "models/transformer.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- defaults and checks --------------------------------------------------------------------- */

static tn_status check_sizes(tn_ctx *ctx, const tn_transformer_config *c)
{
    const struct {
        const char *name;
        int64_t     value, most;
    } sizes[] = {
        { "src_vocab", c->src_vocab, INT32_MAX }, { "tgt_vocab", c->tgt_vocab, INT32_MAX },
        { "d_model", c->d_model, 1 << 20 },       { "n_heads", c->n_heads, 1 << 20 },
        { "d_ff", c->d_ff, 1 << 24 },             { "n_encoder", c->n_encoder, 10000 },
        { "n_decoder", c->n_decoder, 10000 },     { "max_length", c->max_length, 1 << 24 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return tn_fail(ctx, TN_ERR_ARG, "transformer: %s %lld is not in [1, %lld]",
                           sizes[i].name, (long long)sizes[i].value, (long long)sizes[i].most);
    if (c->d_model % c->n_heads != 0)
        return tn_fail(ctx, TN_ERR_ARG, "transformer: d_model %lld is not a multiple of %lld heads",
                       (long long)c->d_model, (long long)c->n_heads);
    return TN_OK;
}

static tn_status check_ids(tn_ctx *ctx, const tn_transformer_config *c)
{
    const struct {
        const char *name;
        int64_t     value;
    } ids[] = { { "pad_id", c->pad_id }, { "bos_id", c->bos_id }, { "eos_id", c->eos_id } };
    int64_t most = c->src_vocab < c->tgt_vocab ? c->src_vocab : c->tgt_vocab;
    for (int i = 0; i < 3; i++)
        if (ids[i].value < 0 || ids[i].value >= most)
            return tn_fail(ctx, TN_ERR_ARG, "transformer: %s %lld is not in [0, %lld)", ids[i].name,
                           (long long)ids[i].value, (long long)most);
    if (c->pad_id == c->eos_id)
        return tn_fail(ctx, TN_ERR_ARG, "transformer: pad_id and eos_id are both %lld: no sentence "
                       "would learn to end", (long long)c->pad_id);
    if (!c->separate_source && c->src_vocab != c->tgt_vocab)
        return tn_fail(ctx, TN_ERR_ARG,
                       "transformer: src_vocab %lld and tgt_vocab %lld differ: one embedding for "
                       "both needs the same, or separate_source",
                       (long long)c->src_vocab, (long long)c->tgt_vocab);
    return TN_OK;
}

static tn_status check_rates(tn_ctx *ctx, const tn_transformer_config *c)
{
    if (!((c->dropout >= 0 && c->dropout < 1) || c->dropout == TN_NONE))
        return tn_fail(ctx, TN_ERR_ARG, "transformer: dropout %g is not in [0, 1)", c->dropout);
    if (!((c->attention_dropout >= 0 && c->attention_dropout < 1) ||
          c->attention_dropout == TN_NONE))
        return tn_fail(ctx, TN_ERR_ARG, "transformer: attention_dropout %g is not in [0, 1)",
                       c->attention_dropout);
    if (!(c->norm_eps > 0 && c->norm_eps < INFINITY))
        return tn_fail(ctx, TN_ERR_ARG, "transformer: norm_eps %g is not positive", c->norm_eps);
    if ((int)c->activation < 0 || c->activation > TN_ACTIVATION_SILU)
        return tn_fail(ctx, TN_ERR_ARG, "transformer: no activation has the number %d",
                       (int)c->activation);
    return TN_OK;
}

/* Complete once, complete always: TN_NONE stays as it is. */
static tn_status complete(tn_ctx *ctx, tn_transformer_config *c)
{
#define DEFAULT(kind, field, value)                                                                \
    if (c->field == 0) c->field = (TN_CONFIG_##kind)(value);
    TN_TRANSFORMER_FIELDS(DEFAULT)
#undef DEFAULT
    if (c->tgt_vocab == 0) c->tgt_vocab = c->src_vocab;
    if (c->d_ff == 0 && c->d_model > 0 && c->d_model <= 1 << 24) c->d_ff = 4 * c->d_model;
    if (c->attention_dropout == 0) c->attention_dropout = c->dropout;
    tn_status s = check_sizes(ctx, c);
    if (s == TN_OK) s = check_ids(ctx, c);
    return s == TN_OK ? check_rates(ctx, c) : s;
}

tn_status tn_transformer_config_complete(tn_ctx *ctx, tn_transformer_config *config)
{
    if (!config) return tn_fail(ctx, TN_ERR_ARG, "transformer: there is no configuration");
    tn_transformer_config c = *config;
    tn_status             s = complete(ctx, &c);
    if (s == TN_OK) *config = c;
    return s;
}

/* ---- as text --------------------------------------------------------------------------------- */

static const char *const activations[] = { "relu", "gelu", "gelu_tanh", "silu" };

static void write_i64(char *out, size_t size, int64_t v)
{
    snprintf(out, size, "%lld", (long long)v);
}

static void write_flag(char *out, size_t size, bool v) { snprintf(out, size, "%d", (int)v); }

/* With a point, whatever the program's locale writes. */
static void write_f64(char *out, size_t size, double v)
{
    char   local[40];
    size_t n = 0;
    snprintf(local, sizeof local, "%.17g", v);
    for (const char *p = local; *p && n + 1 < size;) {
        size_t plain = strspn(p, "+-0123456789einfa"), other = strcspn(p, "+-0123456789einfa");
        if (plain > size - 1 - n) plain = size - 1 - n;
        memcpy(out + n, p, plain), n += plain, p += plain;
        if (plain == 0) out[n++] = '.', p += other;
    }
    out[n] = 0;
}

static void write_activation(char *out, size_t size, tn_activation v)
{
    snprintf(out, size, "%s", (unsigned)v < 4 ? activations[v] : "?");
}

size_t tn_transformer_config_text(const tn_transformer_config *config, char *text, size_t size)
{
    size_t n = 0;
    char   value[40];
    if (!text) size = 0;
    if (!config) return size ? (text[0] = 0) : 0;
#define WRITE(kind, field, zero)                                                                   \
    write_##kind(value, sizeof value, config->field);                                              \
    n += (size_t)snprintf(n < size ? text + n : NULL, n < size ? size - n : 0, "%s=%s\n", #field,  \
                          value);
    TN_TRANSFORMER_FIELDS(WRITE)
#undef WRITE
    return n;
}

static bool read_i64(const char *s, int64_t *v)
{
    char *end;
    *v = strtoll(s, &end, 10);
    return end != s && !*end && *v != INT64_MIN && *v != INT64_MAX;
}

static bool read_flag(const char *s, bool *v)
{
    *v = strcmp(s, "1") == 0;
    return *v || strcmp(s, "0") == 0;
}

/* strtod wants the point of the program's locale. */
static bool read_f64(const char *s, double *v)
{
    char        local[160] = "", *end;
    const char *point = strchr(s, '.');
    int         n = point ? (int)(point - s) : (int)strlen(s);
    int         length = snprintf(local, sizeof local, "%.*s%s%s", n, s,
                                  point ? localeconv()->decimal_point : "", point ? point + 1 : "");
    if (length < 0 || (size_t)length >= sizeof local) return false;
    *v = strtod(local, &end);
    return end != local && !*end && isfinite(*v);
}

static bool read_activation(const char *s, tn_activation *v)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(s, activations[i]) == 0) return *v = (tn_activation)i, true;
    return false;
}

static bool read_field(tn_transformer_config *c, const char *name, const char *value)
{
#define READ(kind, field, zero)                                                                    \
    if (strcmp(name, #field) == 0) return read_##kind(value, &c->field);
    TN_TRANSFORMER_FIELDS(READ)
#undef READ
    return false;
}

tn_status tn_transformer_config_parse(tn_ctx *ctx, const char *text, tn_transformer_config *config)
{
    tn_transformer_config c = { 0 };
    if (!text || !config)
        return tn_fail(ctx, TN_ERR_ARG, "transformer: there is no text, or no configuration");
    for (int line = 1; *text; line++) {
        char   copy[128];
        size_t n = strcspn(text, "\n");
        int    shown = n < 60 ? (int)n : 60;
        if (n < sizeof copy) memcpy(copy, text, n);
        copy[n < sizeof copy ? n : 0] = 0;
        char *value = strchr(copy, '=');
        if (value) *value++ = 0;
        if (n > 0 && (!value || !read_field(&c, copy, value)))
            return tn_fail(ctx, TN_ERR_FORMAT,
                           "transformer config, line %d: \"%.*s\" is no field=value that is known",
                           line, shown, text);
        text += n + (text[n] == '\n');
    }
    tn_status s = complete(ctx, &c);
    if (s == TN_OK) *config = c;
    return s;
}
