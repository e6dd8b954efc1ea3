/* A problem of attention as numbers in f64: its sizes and masks, what a naive loop makes of it
 * (values and gradients), and what comes of it through the graph. */
#ifndef TN_TESTS_ATTENTION_CASE_H
#define TN_TESTS_ATTENTION_CASE_H

#include "check.h"
#include "libtensor.h"

#include <math.h>

/* ---- a problem, in f64 ----------------------------------------------------------------------- */

enum { MOST_SEGMENTS = 8 };

/* Sizes and masks. Packed: b segments, tq and tk all rows, offsets from lengths. */
typedef struct problem {
    int64_t b, tq, tk, h, hk, dh, dv;
    bool    causal, has_lengths, is_packed;
    int     keep_rank;                 /* 0: none; 2: [b, tk]; 3: [b, tq, tk]; 4: [b, h, tq, tk] */
    int     bias_rank;                 /* 0: none; 2: [tq, tk]; 3: [h, tq, tk]; 4: [b, 1, 1, tk] */
    double  p, range;
    int32_t lengths[MOST_SEGMENTS];    /* of keys, or of the segments of q */
    int32_t k_lengths[MOST_SEGMENTS];  /* of the segments of k, if they differ */
} problem;

typedef struct numbers {
    double  *q, *k, *v, *dy, *bias, *kept; /* kept: 1 / (1 - p) or 0 of each weight; NULL: all 1 */
    uint8_t *keep;
} numbers;

static double value(uint64_t i) /* in [-1, 1) */
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i ^= i >> 29;
    i *= 0xbf58476d1ce4e5b9u;
    return (double)(float)((double)(int64_t)(i >> 40) / (1 << 23) - 1);
}

static double *fresh(int64_t n, double range, uint64_t salt)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = range * value((uint64_t)i + salt * 1000003);
    return x;
}

static tn_shape keep_shape(const problem *p)
{
    return p->keep_rank == 2 ? TN_SHAPE(p->b, p->tk) : p->keep_rank == 3
        ? TN_SHAPE(p->b, p->tq, p->tk)
                                                      : TN_SHAPE(p->b, p->h, p->tq, p->tk);
}

static tn_shape bias_shape(const problem *p)
{
    return p->bias_rank == 2 ? TN_SHAPE(p->tq, p->tk) : p->bias_rank == 3
        ? TN_SHAPE(p->h, p->tq, p->tk)
                                                      : TN_SHAPE(p->b, 1, 1, p->tk);
}

static int64_t batch(const problem *p) { return p->is_packed ? 1 : p->b; }

static numbers numbers_of(const problem *p)
{
    int64_t b = batch(p);
    numbers n = { .q = fresh(b * p->tq * p->h * p->dh, p->range, 1),
                  .k = fresh(b * p->tk * p->hk * p->dh, p->range, 2),
                  .v = fresh(b * p->tk * p->hk * p->dv, 1, 3),
                  .dy = fresh(b * p->tq * p->h * p->dv, 1, 4) };
    if (p->keep_rank) {
        tn_shape s = keep_shape(p);
        int64_t  size = tn_shape_size(&s), row = p->tk;
        n.keep = malloc((size_t)size + 1);
        for (int64_t i = 0; i < size; i++) n.keep[i] = value((uint64_t)i + 77) > -0.3;
        /* a row with nothing to attend */
        for (int64_t i = 0; i < row && p->keep_rank > 2; i++) n.keep[i] = 0;
        for (int64_t i = 0; i < row && p->keep_rank == 2 && p->b > 1; i++) n.keep[i] = 0;
    }
    if (p->bias_rank) {
        tn_shape s = bias_shape(p);
        int64_t  size = tn_shape_size(&s);
        n.bias = fresh(size, 2, 5);
        for (int64_t i = 0; i < size; i += 11) n.bias[i] = -INFINITY;
    }
    return n;
}

static void numbers_free(numbers *n)
{
    free(n->q), free(n->k), free(n->v), free(n->dy), free(n->bias), free(n->kept), free(n->keep);
}

/* Segment of row r of packed rows, its first row and its length; false if there is none. */
static bool segment(const int32_t *lengths, int64_t n, int64_t r, int64_t *s, int64_t *first)
{
    int64_t at = 0;
    for (*s = 0; *s < n; at += lengths[(*s)++])
        if (r < at + lengths[*s]) {
            *first = at;
            return true;
        }
    return false;
}

/* May query i of batch row b attend to key j? */
static bool may_attend(const problem *p, const numbers *n, int64_t b, int64_t h, int64_t i,
                       int64_t j)
{
    int64_t nq = p->tq, nk = p->tk;
    bool    is_cache = p->has_lengths;
    if (p->is_packed) {
        int64_t        qs, ks, q0, k0;
        const int32_t *k_lengths = p->k_lengths[0] ? p->k_lengths : p->lengths;
        if (!segment(p->lengths, p->b, i, &qs, &q0) || !segment(k_lengths, p->b, j, &ks, &k0) ||
            qs != ks) return false;
        i -= q0, j -= k0, nq = p->lengths[qs], nk = k_lengths[qs], is_cache = true;
    }
    if (p->has_lengths) nk = p->lengths[b];
    if (j >= nk) return false;
    if (p->causal && j > i + (is_cache && nk > nq ? nk - nq : 0)) return false;
    if (p->keep_rank == 2 && !n->keep[b * p->tk + j]) return false;
    if (p->keep_rank == 3 && !n->keep[(b * p->tq + i) * p->tk + j]) return false;
    if (p->keep_rank == 4 && !n->keep[((b * p->h + h) * p->tq + i) * p->tk + j]) return false;
    return true;
}

static int64_t bias_index(const problem *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return p->bias_rank == 2 ? i * p->tk + j : p->bias_rank == 3 ? (h * p->tq + i) * p->tk + j
        : b * p->tk + j;
}

/* ---- the naive loop -------------------------------------------------------------------------- */

typedef struct results {
    double *out[5]; /* y, dq, dk, dv, dbias */
    int64_t size[5];
} results;

static results results_new(const problem *p)
{
    int64_t  b = batch(p);
    tn_shape bias = bias_shape(p);
    results  r = { .size = { b * p->tq * p->h * p->dv, b * p->tq * p->h * p->dh,
                             b * p->tk * p->hk * p->dh,
                             b * p->tk * p->hk * p->dv, p->bias_rank ? tn_shape_size(&bias) : 0 } };
    for (int i = 0; i < 5; i++) r.out[i] = calloc((size_t)r.size[i] + 1, sizeof(double));
    return r;
}

static void results_free(results *r)
{
    for (int i = 0; i < 5; i++) free(r->out[i]);
}

static double dot(const double *a, const double *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static void add(double *a, double c, const double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) a[i] += c * b[i];
}

/* One query of one head. */
static void naive_row(const problem *p, const numbers *n, results *r, int64_t b, int64_t h,
                      int64_t i, double *w)
{
    const double  scale = 1 / sqrt((double)p->dh);
    const int64_t kv = h / (p->h / p->hk), qi = ((b * p->tq + i) * p->h + h);
    const double *q = n->q + qi * p->dh, *dy = n->dy + qi * p->dv;
    double        most = -INFINITY, sum = 0, delta = 0;
    for (int64_t j = 0; j < p->tk; j++) {
        w[j] = may_attend(p, n, b, h, i, j)
                   ? scale * dot(q, n->k + ((b * p->tk + j) * p->hk + kv) * p->dh, p->dh) +
                         (p->bias_rank ? n->bias[bias_index(p, b, h, i, j)] : 0)
                   : -INFINITY;
        most = fmax(most, w[j]);
    }
    if (most == -INFINITY) return;
    for (int64_t j = 0; j < p->tk; j++) sum += w[j] = exp(w[j] - most);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < p->tk; j++) {
            const int64_t kj = (b * p->tk + j) * p->hk + kv;
            const double  kept = n->kept ? n->kept[((b * p->h + h) * p->tq + i) * p->tk + j] : 1;
            const double *v = n->v + kj * p->dv, dw = kept * dot(dy, v, p->dv);
            if (pass == 0) {
                w[j] /= sum;
                delta += w[j] * dw;
                add(r->out[0] + qi * p->dv, w[j] * kept, v, p->dv);
                add(r->out[3] + kj * p->dv, w[j] * kept, dy, p->dv);
            } else {
                const double ds = w[j] * (dw - delta);
                add(r->out[1] + qi * p->dh, ds * scale, n->k + kj * p->dh, p->dh);
                add(r->out[2] + kj * p->dh, ds * scale, q, p->dh);
                if (p->bias_rank) r->out[4][bias_index(p, b, h, i, j)] += ds;
            }
        }
}

static results naive(const problem *p, const numbers *n)
{
    results r = results_new(p);
    double *w = malloc((size_t)(p->tk + 1) * sizeof *w);
    for (int64_t b = 0; b < batch(p); b++)
        for (int64_t h = 0; h < p->h; h++)
            for (int64_t i = 0; i < p->tq; i++) naive_row(p, n, &r, b, h, i, w);
    free(w);
    return r;
}

/* ---- through the graph ----------------------------------------------------------------------- */

static tn_node *constant(tn_graph *g, tn_dtype dtype, tn_shape s, const double *x)
{
    int64_t n = tn_shape_size(&s);
    if (dtype == TN_F64) return tn_constant(g, TN_F64, s, x);
    float *y = malloc((size_t)(n + 1) * sizeof *y);
    for (int64_t i = 0; i < n; i++) y[i] = (float)x[i];
    tn_node *node = tn_constant(g, TN_F32, s, y);
    free(y);
    return node;
}

static tn_node *offsets_of(tn_graph *g, const int32_t *lengths, int64_t n)
{
    int32_t o[MOST_SEGMENTS + 1] = { 0 };
    for (int64_t i = 0; i < n; i++) o[i + 1] = o[i] + lengths[i];
    return tn_constant(g, TN_I32, TN_SHAPE(n + 1), o);
}

/* The inputs of the op: q, k, v, then what the mask has. */
typedef struct built {
    tn_node *q, *k, *v, *dy, *y;
    tn_attention_mask mask;
} built;

static built build(const problem *p, const numbers *n, tn_graph *g, tn_dtype dtype, bool composed)
{
    built    x = { .mask.causal = p->causal };
    int64_t  b = p->b;
    tn_shape q = TN_SHAPE(b, p->tq, p->h, p->dh), k = TN_SHAPE(b, p->tk, p->hk, p->dh),
             v = TN_SHAPE(b, p->tk, p->hk, p->dv), y = TN_SHAPE(b, p->tq, p->h, p->dv);
    if (p->is_packed) {
        q = TN_SHAPE(p->tq, p->h, p->dh), k = TN_SHAPE(p->tk, p->hk, p->dh),
            v = TN_SHAPE(p->tk, p->hk, p->dv);
        y = TN_SHAPE(p->tq, p->h, p->dv);
        x.mask.q_offsets = offsets_of(g, p->lengths, b);
        if (p->k_lengths[0]) x.mask.k_offsets = offsets_of(g, p->k_lengths, b);
    }
    x.q = constant(g, dtype, q, n->q), x.k = constant(g, dtype, k, n->k),
        x.v = constant(g, dtype, v, n->v);
    x.dy = constant(g, dtype, y, n->dy);
    if (p->keep_rank) x.mask.keep = tn_constant(g, TN_BOOL, keep_shape(p), n->keep);
    if (p->bias_rank) x.mask.bias = constant(g, dtype, bias_shape(p), n->bias);
    if (p->has_lengths) x.mask.k_lengths = tn_constant(g, TN_I32, TN_SHAPE(b), p->lengths);
    const tn_attention_options o = { .dropout = p->p };
    x.y = composed ? tn_attention_with_weights(x.q, x.k, x.v, &x.mask, &o, NULL)
                   : tn_attention(x.q, x.k, x.v, &x.mask, &o);
    return x;
}

static void to_double(double *out, const void *x, int64_t n, tn_dtype dtype)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = dtype == TN_F32 ? ((const float *)x)[i] : ((const double *)x)[i];
}

/* y, dq, dk, dv and dbias; with `composed`, of the composition. */
static tn_status run(const problem *p, const numbers *n, tn_ctx *ctx, tn_dtype dtype,
                     bool composed, results *r)
{
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    built     x = build(p, n, g, dtype, composed);
    tn_node  *wrt[4] = { x.q, x.k, x.v, x.mask.bias }, *out[5] = { x.y };
    int       n_out = p->bias_rank ? 5 : 4;
    *r = results_new(p);
    if (x.y) tn_grad(x.y, x.dy, wrt, n_out - 1, out + 1);
    tn_program *program = tn_ctx_status(ctx) == TN_OK ? tn_compile(g, out, n_out, NULL) : NULL;
    tn_status   status = program ? tn_run(program) : tn_ctx_status(ctx);
    for (int i = 0; status == TN_OK && i < n_out; i++)
        to_double(r->out[i], tn_output(program, i), r->size[i], dtype);
    tn_program_free(program);
    tn_graph_free(g);
    return status;
}

static void check_close(const char *what, const results *got, const results *want, double tolerance)
{
    static const char *const name[] = { "y", "dq", "dk", "dv", "dbias" };
    for (int k = 0; k < 5; k++) {
        double worst = 0, most = 1;
        for (int64_t i = 0; i < want->size[k]; i++) most = fmax(most, fabs(want->out[k][i]));
        for (int64_t i = 0; i < want->size[k]; i++) {
            double e = fabs(got->out[k][i] - want->out[k][i]) / most;
            if (!(e <= worst)) worst = isnan(e) ? INFINITY : e;
        }
        CHECK_MSG(worst <= tolerance, "%s: %s differs by %g of the largest, tolerance %g", what,
                  name[k], worst, tolerance);
    }
}

static bool same_bits(const results *a, const results *b)
{
    for (int k = 0; k < 5; k++)
        if (memcmp(a->out[k], b->out[k], (size_t)a->size[k] * sizeof(double)) != 0) return false;
    return true;
}

#endif
