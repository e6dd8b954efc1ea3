/* Reading and writing safetensors. The header is parsed by a strict JSON reader of the subset that
 * the format allows: an object of objects, strings, arrays of integers. */
#include "nn/safetensors.h"

#include "autograd/internal.h"
#include "nn/internal.h"
#include "tensor/file.h"
#include "tensor/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Numbers go between file and memory as they are. */
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#  error "safetensors files are little-endian, and this machine is not"
#endif

enum { HEADER_MOST = 100 << 20, NAME_MOST = 4096 };

static const struct {
    const char *text;
    tn_dtype    dtype;
} dtypes[] = { { "F32", TN_F32 }, { "F64", TN_F64 }, { "I32", TN_I32 }, { "I64", TN_I64 },
               { "U8", TN_U8 },   { "BOOL", TN_BOOL }, { "F16", TN_F16 }, { "BF16", TN_BF16 } };
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

typedef struct file_entry {
    char    *name, *dtype; /* as the file has them */
    tn_type  type;         /* dtype TN_N_DTYPES: one that is not known */
    uint64_t begin, end;
} file_entry;

struct tn_safetensors {
    tn_ctx      *ctx;
    char        *path, *header; /* texts point into the header, unescaped in place */
    FILE        *file;
    uint64_t     data_at, data_size;
    file_entry  *entries;
    int          n;
    int64_t      cap, cap_metadata;
    tn_metadata *metadata;
    int          n_metadata;
};

/* ---- JSON, read ------------------------------------------------------------------------------ */

typedef struct reader {
    tn_safetensors *f;
    char           *at, *end;
} reader;

static bool bad(reader *r, const char *why)
{
    tn_fail(r->f->ctx, TN_ERR_FORMAT, "%s: offset %lld: %s", r->f->path,
            8 + (long long)(r->at - r->f->header), why);
    return false;
}

static void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool take(reader *r, char c)
{
    skip_space(r);
    if (r->at >= r->end || *r->at != c) return false;
    r->at++;
    return true;
}

static bool need(reader *r, char c)
{
    char why[] = "expected 'x'";
    why[10] = c;
    return take(r, c) || bad(r, why);
}

static int hex4(const char *p)
{
    int x = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int  d = -1;
        if (c >= '0' && c <= '9') d = c - '0';
        if (c >= 'a' && c <= 'f') d = c - 'a' + 10;
        if (c >= 'A' && c <= 'F') d = c - 'A' + 10;
        if (d < 0) return -1;
        x = 16 * x + d;
    }
    return x;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) { *to++ = (char)c; return to; }
    if (c < 0x800) *to++ = (char)(0xc0 | c >> 6);
    else {
        if (c < 0x10000) *to++ = (char)(0xe0 | c >> 12);
        else *to++ = (char)(0xf0 | c >> 18), *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
    }
    *to++ = (char)(0x80 | (c & 63));
    return to;
}

/* \uXXXX, or a pair of them; r->at is behind the u. */
static bool read_unicode(reader *r, char **to)
{
    int hi = r->end - r->at >= 4 ? hex4(r->at) : -1;
    if (hi <= 0) return bad(r, hi == 0 ? "a NUL in a text" : "bad \\u escape");
    r->at += 4;
    uint32_t c = (uint32_t)hi;
    if (hi >= 0xd800 && hi < 0xdc00) {
        int lo = r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r->at + 2) : -1;
        if (lo < 0xdc00 || lo > 0xdfff) return bad(r, "half of a surrogate pair");
        r->at += 6;
        c = 0x10000 + (((uint32_t)hi & 0x3ff) << 10) + ((uint32_t)lo & 0x3ff);
    } else if (hi >= 0xdc00 && hi <= 0xdfff) {
        return bad(r, "half of a surrogate pair");
    }
    *to = put_utf8(*to, c);
    return true;
}

/* A string, unescaped where it stands (it never grows) and ended by a NUL. */
static bool read_string(reader *r, char **out)
{
    if (!need(r, '"')) return false;
    char *to = *out = r->at;
    while (r->at < r->end && *r->at != '"') {
        unsigned char c = (unsigned char)*r->at++;
        if (c < 0x20) return r->at--, bad(r, "a control character in a text");
        if (c != '\\') { *to++ = (char)c; continue; }
        if (r->at >= r->end) break;
        char e = *r->at++;
        const char *from = "\"\\/bfnrt", *plain = "\"\\/\b\f\n\r\t",
            *k = e ? strchr(from, e) : NULL;
        if (e == 'u') {
            if (!read_unicode(r, &to)) return false;
        } else if (k) *to++ = plain[k - from];
        else return bad(r, "bad escape");
    }
    if (r->at >= r->end) return bad(r, "a text without an end");
    *to = 0;
    if (!tn__is_utf8(*out)) return bad(r, "a text that is not UTF-8");
    r->at++;
    return true;
}

static bool read_integer(reader *r, uint64_t *out)
{
    skip_space(r);
    const bool is_zero = r->at < r->end && *r->at == '0';
    uint64_t   x = 0;
    int        digits = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, digits++) {
        if (x > (UINT64_MAX >> 1) / 10) return bad(r, "a number over 2^63");
        x = 10 * x + (uint64_t)(*r->at - '0');
    }
    if (digits == 0) return bad(r, "expected a number");
    if (is_zero && digits > 1) return bad(r, "a number that begins with 0");
    *out = x;
    return true;
}

/* ---- the header ------------------------------------------------------------------------------ */

static bool read_metadata(reader *r)
{
    tn_safetensors *f = r->f;
    if (!need(r, '{')) return false;
    if (take(r, '}')) return true;
    do {
        if (!tn__grow(f->ctx, &f->metadata, f->n_metadata, &f->cap_metadata, sizeof *f->metadata))
            return false;
        char *key, *text;
        if (!read_string(r, &key) || !need(r, ':') || !read_string(r, &text)) return false;
        f->metadata[f->n_metadata++] = (tn_metadata){ key, text };
    } while (take(r, ','));
    return need(r, '}');
}

static bool read_shape(reader *r, tn_shape *s)
{
    if (!need(r, '[')) return false;
    if (take(r, ']')) return true;
    do {
        uint64_t d;
        if (s->rank == TN_MAX_RANK) return bad(r, "a shape of more than 8 dimensions");
        if (!read_integer(r, &d)) return false;
        if (d > (uint64_t)1 << 46) return bad(r, "a dimension over 2^46");
        s->dim[s->rank++] = (int64_t)d;
    } while (take(r, ','));
    return need(r, ']');
}

/* Bytes of a tensor (of no known dtype: numbers); false if they are past 2^62. */
static bool size_of_type(const tn_type *t, uint64_t *bytes)
{
    uint64_t n = t->dtype == TN_N_DTYPES ? 1 : tn_dtype_size(t->dtype);
    for (int d = 0; d < t->shape.rank; d++)
        if (t->shape.dim[d] == 0) { *bytes = 0; return true; }
    for (int d = 0; d < t->shape.rank; d++) {
        if (n > ((uint64_t)1 << 62) / (uint64_t)t->shape.dim[d]) return false;
        n *= (uint64_t)t->shape.dim[d];
    }
    *bytes = n;
    return true;
}

static bool read_dtype(reader *r, file_entry *e)
{
    if (!read_string(r, &e->dtype)) return false;
    e->type.dtype = TN_N_DTYPES;
    for (int i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].text, e->dtype) == 0) e->type.dtype = dtypes[i].dtype;
    return true;
}

static bool read_entry(reader *r, char *name)
{
    tn_safetensors *f = r->f;
    if (!tn__grow(f->ctx, &f->entries, f->n, &f->cap, sizeof *f->entries)) return false;
    file_entry e = { .name = name };
    unsigned   seen = 0;
    if (!need(r, '{')) return false;
    do {
        char *key;
        if (!read_string(r, &key) || !need(r, ':')) return false;
        unsigned bit = !strcmp(key, "dtype") ? 1 : !strcmp(key, "shape") ? 2
            : !strcmp(key, "data_offsets") ? 4 : 0;
        if (!bit || (seen & bit)) return bad(r, bit ? "a key stands twice" : "an unknown key");
        seen |= bit;
        bool ok = bit == 1   ? read_dtype(r, &e)
                  : bit == 2 ? read_shape(r, &e.type.shape)
                             : need(r, '[') && read_integer(r, &e.begin) && need(r, ',') &&
                             read_integer(r, &e.end) && need(r, ']');
        if (!ok) return false;
    } while (take(r, ','));
    if (!need(r, '}')) return false;
    uint64_t bytes;
    if (seen != 7) return bad(r, "a tensor without dtype, shape or data_offsets");
    if (!size_of_type(&e.type, &bytes)) return bad(r, "a tensor of more than 2^62 bytes");
    if (e.begin > e.end || e.end > f->data_size) return bad(r, "data_offsets outside of the file");
    if (e.end - e.begin != bytes && e.type.dtype != TN_N_DTYPES)
        return bad(r, "data_offsets do not fit dtype and shape");
    f->entries[f->n++] = e;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const file_entry *)a)->name, ((const file_entry *)b)->name);
}

static int by_begin(const void *a, const void *b)
{
    const file_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool check_metadata(reader *r)
{
    const tn_safetensors *f = r->f;
    const char          **key = tn_alloc(f->ctx, (size_t)(f->n_metadata + 1) * sizeof *key);
    bool                  is_twice = false;
    if (!key) return false;
    for (int i = 0; i < f->n_metadata; i++) key[i] = f->metadata[i].key;
    if (f->n_metadata) qsort(key, (size_t)f->n_metadata, sizeof *key, by_text);
    for (int i = 1; i < f->n_metadata; i++) is_twice |= strcmp(key[i - 1], key[i]) == 0;
    tn_free(f->ctx, key);
    return !is_twice || bad(r, "a key of __metadata__ stands twice");
}

static bool parse_header(tn_safetensors *f, size_t length)
{
    reader r = { f, f->header, f->header + length };
    bool   has_metadata = false;
    if (!need(&r, '{')) return false;
    if (!take(&r, '}')) {
        do {
            char *name;
            if (!read_string(&r, &name) || !need(&r, ':')) return false;
            if (strlen(name) > NAME_MOST) return bad(&r, "a name of more than 4,096 bytes");
            const bool is_metadata = strcmp(name, "__metadata__") == 0;
            if (is_metadata && has_metadata) return bad(&r, "__metadata__ stands twice");
            if (is_metadata ? !read_metadata(&r) : !read_entry(&r, name)) return false;
            has_metadata |= is_metadata;
        } while (take(&r, ','));
        if (!need(&r, '}')) return false;
    }
    skip_space(&r);
    if (r.at != r.end) return bad(&r, "something behind the header");
    if (f->n) qsort(f->entries, (size_t)f->n, sizeof *f->entries, by_begin);
    uint64_t at = 0;
    for (int i = 0; i < f->n; i++) {
        if (f->entries[i].begin != at)
            return bad(&r, f->entries[i].begin < at ? "tensors overlap" : "a gap between tensors");
        at = f->entries[i].end;
    }
    if (at != f->data_size) return bad(&r, "bytes that belong to no tensor");
    if (f->n) qsort(f->entries, (size_t)f->n, sizeof *f->entries, by_name);
    for (int i = 1; i < f->n; i++)
        if (strcmp(f->entries[i - 1].name, f->entries[i].name) == 0)
            return bad(&r, "a name stands twice");
    return check_metadata(&r);
}

static tn_status io_fail(const tn_safetensors *f, const char *what)
{
    return tn_fail(f->ctx, TN_ERR_IO, "cannot %s %s: %s", what, f->path,
                   errno ? strerror(errno) : "it ends too early");
}

static bool open_file(tn_safetensors *f)
{
    errno = 0;
    f->file = fopen(f->path, "rb");
    unsigned char head[8];
    if (!f->file) return io_fail(f, "open"), false;
    if (fseek(f->file, 0, SEEK_END) != 0) return io_fail(f, "read"), false;
    long size = ftell(f->file);
    rewind(f->file);
    size_t got = fread(head, 1, 8, f->file);
    if (ferror(f->file)) return io_fail(f, "read"), false; /* a folder, say */
    if (size < 8 || got != 8)
        return tn_fail(f->ctx, TN_ERR_FORMAT, "%s: %ld bytes are no safetensors file", f->path,
                       size), false;
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | head[i];
    if (length > HEADER_MOST || length > (uint64_t)size - 8)
        return tn_fail(f->ctx, TN_ERR_FORMAT,
                       "%s: offset 0: a header of %llu bytes does not fit a file of %ld", f->path,
                       (unsigned long long)length, size), false;
    f->data_at = 8 + length, f->data_size = (uint64_t)size - 8 - length;
    f->header = tn_alloc(f->ctx, (size_t)length + 1);
    if (!f->header) return false;
    if (fread(f->header, 1, (size_t)length, f->file) != length) return io_fail(f, "read"), false;
    return parse_header(f, (size_t)length);
}

tn_safetensors *tn_safetensors_open(tn_ctx *ctx, const char *path)
{
    if (!ctx) return NULL;
    if (!path) return tn_fail(ctx, TN_ERR_ARG, "tn_safetensors_open: no path"), NULL;
    tn_safetensors *f = tn_alloc(ctx, sizeof *f);
    if (!f) return NULL;
    f->ctx = ctx;
    f->path = tn_alloc(ctx, strlen(path) + 1);
    if (f->path && open_file((strcpy(f->path, path), f))) return f;
    tn_safetensors_close(f);
    return NULL;
}

void tn_safetensors_close(tn_safetensors *f)
{
    if (!f) return;
    tn_ctx *ctx = f->ctx;
    if (f->file) fclose(f->file);
    tn_free(ctx, f->path), tn_free(ctx, f->header), tn_free(ctx, f->entries),
        tn_free(ctx, f->metadata);
    tn_free(ctx, f);
}

int tn_safetensors_count(const tn_safetensors *f) { return f ? f->n : 0; }

const char *tn_safetensors_name(const tn_safetensors *f, int i)
{
    return f && i >= 0 && i < f->n ? f->entries[i].name : NULL;
}

tn_type tn_safetensors_type(const tn_safetensors *f, int i)
{
    return f && i >= 0 && i < f->n ? f->entries[i].type : (tn_type){ 0 };
}

const char *tn__safetensors_dtype(const tn_safetensors *f, int i)
{
    const file_entry *e = &f->entries[i];
    return e->type.dtype == TN_N_DTYPES ? e->dtype : tn_dtype_name(e->type.dtype);
}

int tn_safetensors_find(const tn_safetensors *f, const char *name)
{
    int lo = 0, hi = f && name ? f->n : 0;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, order = strcmp(f->entries[mid].name, name);
        if (order == 0) return mid;
        if (order < 0) lo = mid + 1;
        else hi = mid;
    }
    return -1;
}

const char *tn_safetensors_metadata(const tn_safetensors *f, const char *key)
{
    for (int i = 0; f && key && i < f->n_metadata; i++)
        if (strcmp(f->metadata[i].key, key) == 0) return f->metadata[i].value;
    return NULL;
}

const tn_metadata *tn_safetensors_all_metadata(const tn_safetensors *f, int *n)
{
    if (n) *n = f ? f->n_metadata : 0;
    return f ? f->metadata : NULL;
}

tn_status tn_safetensors_read(tn_safetensors *f, int i, void *out, size_t bytes)
{
    if (!f) return TN_ERR_ARG;
    if (i < 0 || i >= f->n)
        return tn_fail(f->ctx, TN_ERR_ARG, "%s: no tensor %d of %d", f->path, i, f->n);
    const file_entry *e = &f->entries[i];
    if (e->type.dtype == TN_N_DTYPES)
        return tn_fail(f->ctx, TN_ERR_DTYPE, "%s: %s is %s, a dtype that libtensor does not have",
                       f->path, e->name, e->dtype);
    if (bytes != e->end - e->begin)
        return tn_fail(f->ctx, TN_ERR_ARG, "%s: %s has %llu bytes, not %zu", f->path, e->name,
                       (unsigned long long)(e->end - e->begin), bytes);
    if (!out && bytes) return tn_fail(f->ctx, TN_ERR_ARG, "%s: no room for %s", f->path, e->name);
    errno = 0;
    if (fseek(f->file, (long)(f->data_at + e->begin), SEEK_SET) != 0 ||
        fread(out, 1, bytes, f->file) != bytes)
        return io_fail(f, "read");
    return TN_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The header as it grows; `out` NULL: only counted. */
typedef struct writer {
    char  *out;
    size_t n;
} writer;

static void put(writer *w, const char *text)
{
    size_t n = strlen(text);
    if (w->out) memcpy(w->out + w->n, text, n);
    w->n += n;
}

static void put_string(writer *w, const char *text)
{
    put(w, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        char one[8] = { (char)*p, 0 };
        if (*p == '"' || *p == '\\') one[0] = '\\', one[1] = (char)*p, one[2] = 0;
        else if (*p < 0x20) snprintf(one, sizeof one, "\\u%04x", *p);
        put(w, one);
    }
    put(w, "\"");
}

static void put_number(writer *w, uint64_t x)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)x);
    put(w, text);
}

static const char *dtype_text(tn_dtype d)
{
    for (int i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == d) return dtypes[i].text;
    return "F32";
}

static uint64_t entry_bytes(const tn_safetensors_entry *e)
{
    return (uint64_t)tn_shape_size(&e->type.shape) * tn_dtype_size(e->type.dtype);
}

static void put_header(writer *w, const tn_safetensors_entry *entries, int n,
                       const tn_metadata *metadata, int n_metadata)
{
    uint64_t at = 0;
    put(w, "{");
    if (n_metadata) put(w, "\"__metadata__\":{");
    for (int i = 0; i < n_metadata; i++) {
        if (i) put(w, ",");
        put_string(w, metadata[i].key), put(w, ":"), put_string(w, metadata[i].value);
    }
    if (n_metadata) put(w, "}");
    for (int i = 0; i < n; i++) {
        const tn_safetensors_entry *e = &entries[i];
        if (i || n_metadata) put(w, ",");
        put_string(w, e->name), put(w, ":{\"dtype\":\""), put(w, dtype_text(e->type.dtype)),
            put(w, "\",\"shape\":[");
        for (int d = 0; d < e->type.shape.rank; d++) {
            if (d) put(w, ",");
            put_number(w, (uint64_t)e->type.shape.dim[d]);
        }
        put(w, "],\"data_offsets\":["), put_number(w, at), put(w, ",");
        at += entry_bytes(e);
        put_number(w, at), put(w, "]}");
    }
    put(w, "}");
    while (w->n % 8) put(w, " "); /* the numbers start aligned */
}

/* A tensor that a reader would take. */
static tn_status check_tensor(tn_ctx *ctx, const tn_safetensors_entry *e, int i)
{
    const char *call = "tn_safetensors_write";
    tn_type     t = e->type;
    uint64_t    bytes;
    char        text[96];
    if (!e->name) return tn_fail(ctx, TN_ERR_ARG, "%s: tensor %d has no name", call, i);
    if (strcmp(e->name, "__metadata__") == 0 || strlen(e->name) > NAME_MOST ||
        !tn__is_utf8(e->name))
        return tn_fail(ctx, TN_ERR_ARG, "%s: tensor %d: %.40s cannot be a name", call, i, e->name);
    if (tn_dtype_size(t.dtype) == 0)
        return tn_fail(ctx, TN_ERR_ARG, "%s: %s: dtype %d", call, e->name, (int)t.dtype);
    if (t.shape.rank < 0 || t.shape.rank > TN_MAX_RANK)
        return tn_fail(ctx, TN_ERR_ARG, "%s: %s: rank %d", call, e->name, t.shape.rank);
    bool ok = true;
    for (int d = 0; d < t.shape.rank; d++) ok = ok && t.shape.dim[d] >= 0;
    if (!ok || !size_of_type(&t, &bytes))
        return tn_fail(ctx, TN_ERR_ARG, "%s: %s: %s is no shape", call, e->name,
                       tn_shape_text(&t.shape, text, sizeof text));
    if (bytes && !e->data) return tn_fail(ctx, TN_ERR_ARG, "%s: %s has no data", call, e->name);
    return TN_OK;
}

static tn_status check_text(tn_ctx *ctx, const tn_metadata *m, int i)
{
    const char *call = "tn_safetensors_write";
    if (!m->key || !m->value)
        return tn_fail(ctx, TN_ERR_ARG, "%s: text %d has no key or value", call, i);
    if (!tn__is_utf8(m->key) || !tn__is_utf8(m->value))
        return tn_fail(ctx, TN_ERR_ARG, "%s: text %d, %.40s, is not UTF-8", call, i, m->key);
    return TN_OK;
}

/* Sorts n names, and refuses one that is there twice. */
static tn_status check_twice(tn_ctx *ctx, const char *what, const char **names, int n)
{
    if (n) qsort(names, (size_t)n, sizeof *names, by_text);
    for (int i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return tn_fail(ctx, TN_ERR_ARG, "tn_safetensors_write: the %s %s stands twice", what,
                           names[i]);
    return TN_OK;
}

static tn_status check_names(tn_ctx *ctx, const tn_safetensors_entry *entries, int n,
                             const tn_metadata *metadata, int n_metadata)
{
    const size_t most = (size_t)(n > n_metadata ? n : n_metadata);
    const char **names = tn_alloc(ctx, (most + 1) * sizeof *names);
    if (!names) return tn_ctx_status(ctx);
    for (int i = 0; i < n; i++) names[i] = entries[i].name;
    tn_status s = check_twice(ctx, "name", names, n);
    for (int i = 0; i < n_metadata; i++) names[i] = metadata[i].key;
    if (s == TN_OK) s = check_twice(ctx, "text", names, n_metadata);
    tn_free(ctx, names);
    return s;
}

tn_status tn_safetensors_write(tn_ctx *ctx, const char *path, const tn_safetensors_entry *entries,
                               int n, const tn_metadata *metadata, int n_metadata)
{
    if (!ctx) return TN_ERR_ARG;
    if (!path || n < 0 || (n && !entries) || n_metadata < 0 || (n_metadata && !metadata))
        return tn_fail(ctx, TN_ERR_ARG,
                       "tn_safetensors_write: no path, or no list of %d tensors and %d texts", n,
                       n_metadata);
    tn_status s = TN_OK;
    for (int i = 0; s == TN_OK && i < n; i++) s = check_tensor(ctx, &entries[i], i);
    for (int i = 0; s == TN_OK && i < n_metadata; i++) s = check_text(ctx, &metadata[i], i);
    if (s == TN_OK) s = check_names(ctx, entries, n, metadata, n_metadata);
    if (s != TN_OK) return s;
    writer w = { NULL, 0 };
    put_header(&w, entries, n, metadata, n_metadata);
    if (w.n > HEADER_MOST)
        return tn_fail(ctx, TN_ERR_ARG,
                       "tn_safetensors_write: names and texts take %zu bytes, over %d", w.n,
                       HEADER_MOST);
    w = (writer){ tn_alloc(ctx, w.n + 1), 0 };
    if (!w.out) return tn_ctx_status(ctx);
    put_header(&w, entries, n, metadata, n_metadata);
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)w.n >> 8 * i);
    tn__new_file f;
    s = tn__new_file_open(ctx, path, &f);
    if (s == TN_OK) {
        tn__new_file_write(&f, head, 8);
        tn__new_file_write(&f, w.out, w.n);
        for (int i = 0; i < n; i++)
            tn__new_file_write(&f, entries[i].data, (size_t)entry_bytes(&entries[i]));
        s = tn__new_file_end(&f, true);
    }
    tn_free(ctx, w.out);
    return s;
}

bool tn__is_real(tn_dtype d)
{
    return d == TN_F32 || d == TN_F64 || d == TN_F16 || d == TN_BF16;
}

void *tn__safetensors_read_as(tn_safetensors *f, int i, tn_dtype dtype)
{
    const tn_type in = tn_safetensors_type(f, i);
    const int64_t n = tn_shape_size(&in.shape);
    const size_t  bytes = (size_t)n * tn_dtype_size(in.dtype);
    void         *raw = tn_alloc(f->ctx, bytes + 1);
    if (!raw) return NULL;
    if (tn_safetensors_read(f, i, raw, bytes) != TN_OK) {
        tn_free(f->ctx, raw);
        return NULL;
    }
    if (in.dtype == dtype) return raw;
    void *out = tn_alloc(f->ctx, (size_t)n * tn_dtype_size(dtype) + 1);
    for (int64_t k = 0; out && k < n; k++) tn__store(dtype, out, k, tn__load(in.dtype, raw, k));
    tn_free(f->ctx, raw);
    return out;
}
