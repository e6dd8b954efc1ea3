/* Attention of one head: softmax(q k^T scale + mask) v by blocks with an online softmax (Milakov and
 * Gimelshein 2018; Dao et al. 2022), and its gradients from the weights made again. Memory is linear
 * in the length. See attention.h for the layout.
 *
 * Scores are kept in units of log 2: log2(e) is multiplied into q with the scale. */
#include "tensor/kernels/attention.h"
#include "tensor/kernels/simd.h"

#ifndef TN_REAL
typedef uint32_t mask_word_f32;
typedef uint64_t mask_word_f64;
#  define TN_REAL f32
#  define TN__P   ps /* for TN__MM and TN__VQ of simd.h */
#  define TN__VQ(name) name##q_f32
#  include "tensor/kernels/attention.c"
#  undef TN_REAL
#  undef TN__P
#  undef TN__VQ
#  define TN_REAL f64
#  define TN__P   pd
#  define TN__VQ(name) name##q_f64
#  include "tensor/kernels/attention.c"
#else

#  include "tensor/kernels/attention_tile.h"
#  include "tensor/kernels/attention_mask.h"

#  define LOG2E ((T)1.4426950408889634)
#  define LN2   ((T)0.69314718055994531)

/* The next n elements of scratch, which starts on a 64-byte boundary; n is rounded up to whole vecs. */
TN_INLINE void *TN_R(carve)(T **scratch, int64_t n)
{
    T *p = *scratch;
    *scratch += (n + v_lanes - 1) / v_lanes * v_lanes;
    return p;
}

/* ---- forward ---------------------------------------------------------------------------------- */

/* What a panel of queries works on. */
typedef struct TN_R(panel) {
    int64_t i0, n, width, end; /* rows; lanes; one past the last key that one of them may attend to */
    T      *qt;                /* [dh][width] queries, turned, times scale log2(e) */
    T      *o;                 /* [n][dv_pad] sums of weights times values */
    T      *m, *l, *rescale;   /* [width]: maximum and sum so far; 2^(old - new maximum) */
    word   *kept;              /* of dropout, all keys */
} TN_R(panel);

/* What they share. */
typedef struct TN_R(forward) {
    const tn__attention *a;
    T      *s;    /* [keys][width] scores, then weights */
    T      *v;    /* [keys][dv_pad] padded copy, if dv needs one */
    word   *mask;
    int64_t dv_pad;
} TN_R(forward);

/* s becomes 2^(s - maximum); m, l are brought up to date. Returns whether a maximum has changed. Rows
 * that no lane of a vec may attend to become 0. */
static bool TN_R(softmax_block)(const TN_R(panel) *p, const TN_R(block) *b)
{
    const vec floor = TN_R(all)(sizeof(T) == 4 ? -(T)3.4e38 : -(T)1.7e308), zero = TN_R(all)(0);
    T         changed = 0;
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const int64_t rows = TN_R(rows_of)(b, l);
        const vec     old = v_load(p->m + l);
        vec           m = old, sum = zero;
        for (int64_t j = 0; j < rows; j++) m = v_max(v_load(b->s + j * b->width + l), m);
        v_store(p->m + l, m);
        const vec from = v_max(m, floor); /* finite, so that -inf gives 0 where all is masked */
        for (int64_t j = 0; j < rows; j++) {
            T        *s = b->s + j * b->width + l;
            const vec e = TN_R(v_exp2)(v_sub(v_load(s), from));
            v_store(s, e);
            sum = v_add(sum, e);
        }
        for (int64_t j = rows; j < b->nj; j++) v_store(b->s + j * b->width + l, zero);
        const vec rescale = TN_R(v_exp2)(v_sub(old, from));
        v_store(p->rescale + l, rescale);
        v_store(p->l + l, v_fma(v_load(p->l + l), rescale, sum));
        changed += v_sum(v_sub(TN_R(all)(1), rescale));
    }
    return changed != 0;
}

/* Dropped weights become 0; those kept are divided by 1 - p at the end. */
static void TN_R(apply_dropout)(const TN_R(block) *b, const word *kept)
{
    for (int64_t l = 0; l < b->width; l += v_lanes)
        for (int64_t j = 0; j < TN_R(rows_of)(b, l); j++) {
            T *s = b->s + j * b->width + l;
            v_store(s, TN_R(v_pick)(kept + j / 32 * b->width + l, j & 31, v_load(s), TN_R(all)(0)));
        }
}

static void TN_R(rescale_rows)(const TN_R(panel) *p, int64_t dv_pad)
{
    for (int64_t i = 0; i < p->n; i++) {
        const vec by = TN_R(all)(p->rescale[i]);
        T        *o = p->o + i * dv_pad;
        for (int64_t d = 0; d < dv_pad; d += v_lanes) v_store(o + d, v_mul(by, v_load(o + d)));
    }
}

/* One block of keys for one panel. */
static void TN_R(forward_block)(const TN_R(forward) *f, const TN_R(panel) *p, int64_t j0, int64_t nj)
{
    const tn__attention *a = f->a;
    const TN_R(block)    b = { f->s, p->width, p->i0, p->n, j0, nj, p->i0 + a->diagonal - j0 };
    TN_R(multiply)((TN_R(product)){ .kind = TN_R(SCORES), .c = f->s, .c_row = b.width, .a_row = a->k_row,
                                    .a = (const T *)a->k + j0 * a->k_row, .b = p->qt, .b_row = b.width,
                                    .rows = nj, .cols = b.width / v_lanes, .depth = a->dh,
                                    .first = b.first });
    if (a->bias) TN_R(apply_bias)(a, &b);
    if (TN_R(needs_mask)(a, &b)) {
        TN_R(mask_words)(a, &b, f->mask);
        TN_R(apply_mask)(&b, f->mask);
    }
    const bool changed = TN_R(softmax_block)(p, &b);
    if (changed && j0 > 0) TN_R(rescale_rows)(p, f->dv_pad);
    if (a->p > 0) TN_R(apply_dropout)(&b, p->kept + j0 / 32 * b.width);
    TN_R(multiply)((TN_R(product)){ .kind = TN_R(BY_QUERY), .c = p->o, .c_row = f->dv_pad, .a = f->s,
                                    .a_row = b.width, .b = f->v ? f->v : (const T *)a->v + j0 * a->v_row,
                                    .b_row = f->v ? f->dv_pad : a->v_row, .rows = b.n,
                                    .cols = f->dv_pad / v_lanes, .depth = nj, .first = b.first,
                                    .adds = j0 > 0 });
}

/* One past the last key that a query before i may attend to. */
static int64_t TN_R(keys_before)(const tn__attention *a, int64_t i)
{
    const int64_t n = i + a->diagonal;
    return n < 0 ? 0 : n < a->tk ? n : a->tk;
}

static TN_R(panel) TN_R(panel_of)(const tn__attention *a, int64_t i0, int64_t n, int64_t dv_pad, T **scratch)
{
    const int64_t width = tn__attention_pad(n, sizeof(T));
    TN_R(panel)   p = { .i0 = i0, .n = n, .width = width, .end = TN_R(keys_before)(a, i0 + n) };
    p.qt = TN_R(carve)(scratch, a->dh * width);
    p.o = TN_R(carve)(scratch, n * dv_pad);
    p.m = TN_R(carve)(scratch, width);
    p.l = TN_R(carve)(scratch, width);
    p.rescale = TN_R(carve)(scratch, width);
    TN_R(transpose)(p.qt, width, (const T *)a->q + i0 * a->q_row, a->q_row, n, a->dh, (T)a->scale * LOG2E);
    for (int64_t l = 0; l < width; l++) p.m[l] = -(T)__builtin_inf(), p.l[l] = 0;
    if (a->p > 0) {
        p.kept = TN_R(carve)(scratch, (p.end + 31) / 32 * width);
        TN_R(dropout_words)(a, i0, n, width, 0, p.end, p.kept);
    }
    return p;
}

/* y = o / l, and the logarithm of the sum of exponentials. */
static void TN_R(finish_panel)(const tn__attention *a, const TN_R(panel) *p, int64_t dv_pad)
{
    const T kept = (T)(1 - a->p);
    for (int64_t i = 0; i < p->n; i++) {
        const T   l = p->end == 0 ? 0 : p->l[i];
        const vec by = TN_R(all)(l == 0 ? 0 : 1 / (l * kept));
        const T  *o = p->o + i * dv_pad;
        T        *y = (T *)a->y + (p->i0 + i) * a->y_row;
        for (int64_t d = 0; d < a->dv; d += v_lanes)
            v_store_part(y + d, a->dv - d, l == 0 ? by : v_mul(by, v_load(o + d)));
        ((T *)a->lse)[p->i0 + i] = l == 0 ? 0 : p->m[i] * LN2 + tn__log(l);
    }
}

/* A few panels at a time: each block of keys is used for all of them while it is in the caches. */
void TN_KR(attention)(const tn__attention *a, int64_t i0, int64_t i1, void *space)
{
    const int64_t rows = TN_ATTENTION_ROWS * v_lanes, dv_pad = tn__attention_pad(a->dv, sizeof(T));
    while (i0 < i1) {
        T            *scratch = (T *)space;
        TN_R(forward) f = { .a = a, .dv_pad = dv_pad };
        TN_R(panel)   p[TN_ATTENTION_PANELS];
        int           n = 0;
        int64_t       end = 0;
        f.s = TN_R(carve)(&scratch, TN_ATTENTION_KEYS * rows);
        f.mask = TN_R(carve)(&scratch, TN_ATTENTION_KEYS / 32 * rows);
        f.v = dv_pad == a->dv ? NULL : TN_R(carve)(&scratch, TN_ATTENTION_KEYS * dv_pad);
        for (; n < TN_ATTENTION_PANELS && i0 < i1; n++, i0 += rows) {
            p[n] = TN_R(panel_of)(a, i0, i1 - i0 < rows ? i1 - i0 : rows, dv_pad, &scratch);
            end = p[n].end > end ? p[n].end : end;
        }
        for (int64_t j0 = 0; j0 < end; j0 += TN_ATTENTION_KEYS) {
            const int64_t nj = end - j0 < TN_ATTENTION_KEYS ? end - j0 : TN_ATTENTION_KEYS;
            if (f.v)
                TN_R(pad_rows)(f.v, dv_pad, (const T *)a->v + j0 * a->v_row, a->v_row, nj, a->dv);
            for (int i = 0; i < n; i++) {
                const int64_t left = p[i].end - j0;
                if (left > 0) TN_R(forward_block)(&f, &p[i], j0, left < nj ? left : nj);
            }
        }
        for (int i = 0; i < n; i++) TN_R(finish_panel)(a, &p[i], dv_pad);
    }
}

/* ---- backward ---------------------------------------------------------------------------------
 *
 * With weights w = 2^(s - lse), y_i = sum_j d_ij w_ij v_j and d_ij = (kept or 0) / (1 - p):
 *   dv_j = sum_i d_ij w_ij dy_i          delta_i = dy_i . y_i - dlse_i = sum_j w_ij dw_ij - dlse_i
 *   dw_ij = d_ij dy_i . v_j              ds_ij = w_ij (dw_ij - delta_i)
 *   dq_i = scale sum_j ds_ij k_j         dk_j = scale sum_i ds_ij q_i
 * Each sum is one chain in rising order of its index. */

/* What a block of queries works on. */
typedef struct TN_R(grad_panel) {
    T       *qt, *dyt;       /* [dh][width] as in forward, [dv][width] dy / (1 - p) */
    T       *w, *ds;         /* [keys][width] */
    T       *lse, *delta;    /* [width]; lse in units of log 2 */
    T       *dq;             /* [rows][dh_pad] */
    const T *q, *dy;         /* the rows themselves, or padded copies */
    T       *k;              /* [keys][dh_pad] padded copy, if dh needs one */
    int64_t  q_row, dy_row, width, dh_pad, dv_pad;
    word    *mask, *kept;    /* kept from key kept_from on */
    int64_t  kept_from;
    T        scale;          /* of ds */
} TN_R(grad_panel);

/* s and dw become the weights (dropped out) and scale ds. */
static void TN_R(weights_grad)(const tn__attention *a, const TN_R(grad_panel) *p, const TN_R(block) *b)
{
    const vec   scale = TN_R(all)(p->scale), zero = TN_R(all)(0), kept_by = TN_R(all)((T)(1 / (1 - a->p)));
    const word *kept = a->p > 0 ? p->kept + (b->j0 - p->kept_from) / 32 * b->width : NULL;
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const vec     lse = v_load(p->lse + l), delta = v_load(p->delta + l);
        const int64_t rows = TN_R(rows_of)(b, l);
        for (int64_t j = rows; j < b->nj; j++)
            v_store(p->w + j * b->width + l, zero), v_store(p->ds + j * b->width + l, zero);
        for (int64_t j = 0; j < rows; j++) {
            T  *s = p->w + j * b->width + l, *ds = p->ds + j * b->width + l;
            vec w = TN_R(v_exp2)(v_sub(v_load(s), lse)), dw = v_load(ds);
            if (kept) {
                const word *k = kept + j / 32 * b->width + l;
                dw = TN_R(v_pick)(k, j & 31, dw, zero);
                v_store(s, TN_R(v_pick)(k, j & 31, v_mul(w, kept_by), zero));
            } else {
                v_store(s, w);
            }
            v_store(ds, v_mul(v_mul(w, scale), v_sub(dw, delta)));
        }
    }
}

/* Fills w and ds of one block. */
static void TN_R(grad_scores)(const tn__attention *a, const TN_R(grad_panel) *p, const TN_R(block) *b)
{
    TN_R(product) x = { .kind = TN_R(SCORES), .c = p->w, .c_row = b->width, .a_row = a->k_row,
                        .a = (const T *)a->k + b->j0 * a->k_row, .b = p->qt, .b_row = b->width,
                        .rows = b->nj, .cols = b->width / v_lanes, .depth = a->dh, .first = b->first };
    TN_R(multiply)(x);
    x.c = p->ds, x.a = (const T *)a->v + b->j0 * a->v_row, x.a_row = a->v_row, x.b = p->dyt, x.depth = a->dv;
    TN_R(multiply)(x);
    if (a->bias) TN_R(apply_bias)(a, b);
    if (TN_R(needs_mask)(a, b)) {
        TN_R(mask_words)(a, b, p->mask);
        TN_R(apply_mask)(b, p->mask);
    }
    TN_R(weights_grad)(a, p, b);
}

/* Adds one block's part to dk and dv (from row j0 on) and to dq. */
static void TN_R(grad_block)(const tn__attention *a, const TN_R(grad_panel) *p, const TN_R(block) *b,
                             T *dk, int64_t dk_row, T *dv, int64_t dv_row, bool adds_dq)
{
    const T *k = (const T *)a->k + b->j0 * a->k_row;
    int64_t  k_row = a->k_row;
    TN_R(grad_scores)(a, p, b);
    TN_R(product) x = { .kind = TN_R(BY_KEY), .c = dv, .c_row = dv_row, .a = p->w, .a_row = b->width,
                        .b = p->dy, .b_row = p->dy_row, .rows = b->nj, .cols = p->dv_pad / v_lanes,
                        .depth = b->n, .first = b->first, .adds = true };
    TN_R(multiply)(x);
    x.c = dk, x.c_row = dk_row, x.a = p->ds, x.b = p->q, x.b_row = p->q_row, x.cols = p->dh_pad / v_lanes;
    TN_R(multiply)(x);
    if (p->k) {
        TN_R(pad_rows)(p->k, p->dh_pad, k, k_row, b->nj, a->dh);
        k = p->k, k_row = p->dh_pad;
    }
    TN_R(multiply)((TN_R(product)){ .kind = TN_R(BY_QUERY), .c = p->dq, .c_row = p->dh_pad, .a = p->ds,
                                    .a_row = b->width, .b = k, .b_row = k_row, .rows = b->n,
                                    .cols = p->dh_pad / v_lanes, .depth = b->nj, .first = b->first,
                                    .adds = adds_dq });
}

/* delta_i, by fixed lanes. */
static T TN_R(row_delta)(const tn__attention *a, int64_t i)
{
    const T *y = (const T *)a->y + i * a->y_row, *dy = (const T *)a->dy + i * a->dy_row;
    vec      sum = TN_R(all)(0);
    for (int64_t d = 0; d < a->dv; d += v_lanes)
        sum = v_fma(v_load_part(y + d, a->dv - d, 0), v_load_part(dy + d, a->dv - d, 0), sum);
    return v_sum(sum) - (a->dlse ? ((const T *)a->dlse)[i] : 0);
}

/* Prepares queries [i0, i0 + n) and what is made of them; the rest of scratch is returned. */
static T *TN_R(grad_panel_of)(const tn__attention *a, TN_R(grad_panel) *p, int64_t i0, int64_t n,
                              T *scratch)
{
    const int64_t width = (n + v_lanes - 1) / v_lanes * v_lanes;
    *p = (TN_R(grad_panel)){ .width = width, .dh_pad = tn__attention_pad(a->dh, sizeof(T)),
                             .dv_pad = tn__attention_pad(a->dv, sizeof(T)), .scale = (T)a->scale };
    p->qt = TN_R(carve)(&scratch, a->dh * width);
    p->dyt = TN_R(carve)(&scratch, a->dv * width);
    p->w = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS * width);
    p->ds = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS * width);
    p->lse = TN_R(carve)(&scratch, width);
    p->delta = TN_R(carve)(&scratch, width);
    p->mask = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS / 32 * width);
    p->dq = TN_R(carve)(&scratch, n * p->dh_pad);
    const T *q = (const T *)a->q + i0 * a->q_row, *dy = (const T *)a->dy + i0 * a->dy_row;
    TN_R(transpose)(p->qt, width, q, a->q_row, n, a->dh, (T)(a->scale * 1.4426950408889634));
    TN_R(transpose)(p->dyt, width, dy, a->dy_row, n, a->dv, (T)(1 / (1 - a->p)));
    for (int64_t l = 0; l < width; l++) {
        p->lse[l] = l < n ? LOG2E * ((const T *)a->lse)[i0 + l] : 0;
        p->delta[l] = l < n ? TN_R(row_delta)(a, i0 + l) : 0;
    }
    p->q = q, p->q_row = a->q_row, p->dy = dy, p->dy_row = a->dy_row;
    if (p->dh_pad != a->dh) {
        T *copy = TN_R(carve)(&scratch, n * p->dh_pad);
        TN_R(pad_rows)(copy, p->dh_pad, q, a->q_row, n, a->dh);
        p->q = copy, p->q_row = p->dh_pad;
        p->k = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS * p->dh_pad);
    }
    if (p->dv_pad != a->dv) {
        T *copy = TN_R(carve)(&scratch, n * p->dv_pad);
        TN_R(pad_rows)(copy, p->dv_pad, dy, a->dy_row, n, a->dv);
        p->dy = copy, p->dy_row = p->dv_pad;
    }
    return scratch;
}

/* The parts of keys [j0, j1) in the gradients. dq of all queries is set to its part; rows [j0, j1) of
 * dk and dv are added to. */
void TN_KR(attention_grad)(const tn__attention *a, int64_t j0, int64_t j1, void *space)
{
    const int64_t rows = TN_ATTENTION_GRAD_ROWS * v_lanes, dh_pad = tn__attention_pad(a->dh, sizeof(T)),
                  dv_pad = tn__attention_pad(a->dv, sizeof(T));
    T      *scratch = (T *)space, *dk = (T *)a->dk + j0 * a->dk_row, *dv = (T *)a->dv_out + j0 * a->dv_row;
    T      *dk_to = dk, *dv_to = dv;
    int64_t dk_row = a->dk_row, dv_row = a->dv_row;
    if (dh_pad != a->dh) {
        dk_to = TN_R(carve)(&scratch, (j1 - j0) * dh_pad), dk_row = dh_pad;
        TN_R(pad_rows)(dk_to, dh_pad, dk, a->dk_row, j1 - j0, a->dh);
    }
    if (dv_pad != a->dv) {
        dv_to = TN_R(carve)(&scratch, (j1 - j0) * dv_pad), dv_row = dv_pad;
        TN_R(pad_rows)(dv_to, dv_pad, dv, a->dv_row, j1 - j0, a->dv);
    }
    for (int64_t i0 = 0; i0 < a->tq; i0 += rows) {
        const int64_t n = a->tq - i0 < rows ? a->tq - i0 : rows;
        int64_t       end = TN_R(keys_before)(a, i0 + n);
        T            *dq = (T *)a->dq + i0 * a->dq_row;
        end = end < j1 ? end : j1;
        if (end <= j0) { /* the causal rule hides all of these keys */
            for (int64_t i = 0; i < n; i++)
                for (int64_t d = 0; d < a->dh; d++) dq[i * a->dq_row + d] = 0;
            continue;
        }
        TN_R(grad_panel) p;
        p.kept = NULL;
        T *rest = TN_R(grad_panel_of)(a, &p, i0, n, scratch);
        p.kept = (word *)rest, p.kept_from = j0;
        if (a->p > 0) TN_R(dropout_words)(a, i0, n, p.width, j0, end - j0, p.kept);
        for (int64_t j = j0; j < end; j += TN_ATTENTION_GRAD_KEYS) {
            const int64_t nj = end - j < TN_ATTENTION_GRAD_KEYS ? end - j : TN_ATTENTION_GRAD_KEYS;
            TN_R(grad_block)(a, &p, &(TN_R(block)){ p.w, p.width, i0, n, j, nj, i0 + a->diagonal - j },
                             dk_to + (j - j0) * dk_row, dk_row, dv_to + (j - j0) * dv_row, dv_row, j > j0);
        }
        TN_R(unpad_rows)(dq, a->dq_row, p.dq, dh_pad, n, a->dh);
    }
    if (dk_to != dk) TN_R(unpad_rows)(dk, a->dk_row, dk_to, dh_pad, j1 - j0, a->dh);
    if (dv_to != dv) TN_R(unpad_rows)(dv, a->dv_row, dv_to, dv_pad, j1 - j0, a->dv);
}

/* Adds ds of queries [i0, i1) to the gradient of the bias: ds of (i, j) to dbias[i row + j col]. */
void TN_KR(attention_bias_grad)(const tn__attention *a, int64_t i0, int64_t i1, void *dbias, int64_t row,
                                int64_t col, void *space)
{
    const int64_t rows = TN_ATTENTION_GRAD_ROWS * v_lanes;
    for (int64_t i = i0; i < i1; i += rows) {
        const int64_t    n = i1 - i < rows ? i1 - i : rows, end = TN_R(keys_before)(a, i + n);
        TN_R(grad_panel) p;
        T               *rest = TN_R(grad_panel_of)(a, &p, i, n, (T *)space);
        p.kept = (word *)rest, p.scale = 1;
        if (a->p > 0) TN_R(dropout_words)(a, i, n, p.width, 0, end, p.kept);
        for (int64_t j0 = 0; j0 < end; j0 += TN_ATTENTION_GRAD_KEYS) {
            const int64_t nj = end - j0 < TN_ATTENTION_GRAD_KEYS ? end - j0 : TN_ATTENTION_GRAD_KEYS;
            TN_R(grad_scores)(a, &p, &(TN_R(block)){ p.w, p.width, i, n, j0, nj, i + a->diagonal - j0 });
            for (int64_t j = 0; j < nj; j++)
                for (int64_t l = 0; l < n; l++)
                    ((T *)dbias)[(i + l) * row + (j0 + j) * col] += p.ds[j * p.width + l];
        }
    }
}

#  undef LOG2E
#  undef LN2
#  undef reg
#  undef ireg
#  undef word
#  undef regs
#endif
