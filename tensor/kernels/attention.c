/* Attention of one head: softmax(q k^T scale + mask) v by blocks with an online softmax (Milakov
 * and Gimelshein 2018; Dao et al. 2022), and its gradients from the weights made again. Memory is
 * linear in the length. See attention.h for the layout.
 *
 * Scores are kept in units of log 2: log2(e) is multiplied into q with the scale. */
#include "tensor/kernels/attention.h"
#include "tensor/kernels/simd.h"

#include <string.h>

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

#  define reg  TN_CAT(reg, TN_REAL)
#  define ireg TN_CAT(word_reg, TN_REAL)
#  define word TN_CAT(mask_word, TN_REAL) /* an unsigned integer of T's size */
#  define regs TN_R(regs)

typedef word ireg __attribute__((vector_size(TN__BITS / 8)));

#  include "tensor/kernels/attention_product.h"
#  include "tensor/kernels/attention_tile.h"
#  include "tensor/kernels/attention_mask.h"

#  define LOG2E ((T)1.4426950408889634)
#  define LN2   ((T)0.69314718055994531)

/* The maximum that scores are counted from: an integer, unless it is beyond `far`, and when it is
 * set, `room` above the scores, so that it holds for more of them. */
static const T TN_R(far) = 1 << 21;
enum { TN_R(room) = 8, TN_R(most_misses) = 4 };

/* ---- forward --------------------------------------------------------------------------------- */

/* What a panel of queries works on. */
typedef struct TN_R(panel) {
    /* rows; lanes; one past the last key that one of them may attend to */
    int64_t i0, n, width, end;
    T      *qt;                /* [dh][width] queries, turned, times scale log2(e) */
    T      *o;                 /* [n][dv_pad] sums of weights times values */
    T      *m, *l, *rescale;   /* [width]: maximum and sum so far; 2^(old - new maximum) */
    T      *round, *lowest;    /* [width]: of m, for exp2_of; */
    T      *shift;             /* m where it is far, else 0, if is_far: is any? */
    word   *kept;              /* of dropout, all keys */
    bool    is_begun;          /* are there sums? */
    bool    is_far, has_all;   /* has_all: no maximum is -inf any more */
    int     misses;            /* of softmax_tried */
} TN_R(panel);

/* What they share. */
typedef struct TN_R(forward) {
    const tn__attention *a;
    T         *s;     /* [keys][width] scores, then weights */
    TN_R(rows) k, v;  /* of the block */
    word      *mask;
    const TN_R(picked) *picked; /* what is left of the block, or NULL: all of it */
    int64_t    dv_pad;
    TN_R(fetcher) *fetcher;
} TN_R(forward);

/* By lanes, of `rows` rows and of m. Several maxima at once, since each waits for the one
 * before. */
TN_INLINE vec TN_R(largest)(const T *s, int64_t row, int64_t rows, vec m)
{
    vec     m1 = m, m2 = m, m3 = m;
    int64_t j = 0;
    for (; j + 4 <= rows; j += 4) {
        m = v_max(v_load(s + j * row), m);
        m1 = v_max(v_load(s + (j + 1) * row), m1);
        m2 = v_max(v_load(s + (j + 2) * row), m2);
        m3 = v_max(v_load(s + (j + 3) * row), m3);
    }
    ONE_BY_ONE for (; j < rows; j++) m = v_max(v_load(s + j * row), m);
    return v_max(v_max(m, m1), v_max(m2, m3));
}

/* How exponentials are made in one vec of lanes: see exp2_of. kept: NULL, or of dropout. */
typedef struct TN_R(exponent) {
    vec         round, lowest;
    const word *kept;
    ireg       *strange;
} TN_R(exponent);

/* n rows of one vec of lanes become 2^(s - m), those that are not kept 0; adds them all to sum. */
TN_INLINE vec TN_R(exponentials)(const TN_R(exponent) *x, T *s, int64_t row, const int n,
                                 int64_t j, vec sum, const bool drops, const bool is_tried)
{
    vec e[TN_R(at_once)];
    UNROLL for (int i = 0; i < n; i++) e[i] = v_load(s + (j + i) * row);
    TN_R(exp2_of)(e, n, x->round, x->lowest, is_tried ? x->strange : NULL);
    UNROLL for (int i = 0; i < n; i++) {
        sum = v_add(sum, e[i]);
        v_store(s + (j + i) * row,
                drops ? TN_R(v_keep)(x->kept + j / 32 * row, (j & 31) + i, e[i]) : e[i]);
    }
    return sum;
}

/* The same of any number of rows from 0 on; returns the sum. */
TN_INLINE vec TN_R(exponentials_of)(const TN_R(exponent) *by, T *s, int64_t row, int64_t rows,
                                    const bool drops, const bool is_tried)
{
    enum { N = TN_R(at_once) }; /* divides the 32 rows of a word */
    const TN_R(exponent) x = *by;
    vec                  sum = TN_R(all)(0);
    int64_t              j = 0;
    for (; j + N <= rows; j += N)
        sum = TN_R(exponentials)(&x, s, row, N, j, sum, drops, is_tried);
    ONE_BY_ONE for (; j < rows; j++)
        sum = TN_R(exponentials)(&x, s, row, 1, j, sum, drops, is_tried);
    return sum;
}

TN_INLINE reg TN_R(where)(ireg yes, reg a, reg b)
{
    return (reg)(((ireg)a & yes) | ((ireg)b & ~yes));
}

/* Sets the maxima of the register of lanes from l on. */
TN_INLINE void TN_R(set_maxima)(TN_R(panel) *p, int64_t l, reg m, ireg *far, ireg *none)
{
    const T    most = sizeof(T) == 4 ? (T)3.4e38 : (T)1.7e308;
    const reg  zero = { 0 };
    const ireg is_none = (ireg)(m < -most);
    const ireg is_far = ((ireg)(m >= TN_R(far)) | (ireg)(m <= -TN_R(far))) & ~is_none;
    const reg  from = TN_R(where)(is_far | is_none, zero, m);
    TN_R(reg_store)(p->m + l, m);
    TN_R(reg_store)(p->shift + l, TN_R(where)(is_far, m, zero));
    TN_R(reg_store)(p->round + l, TN_R(magic) - from);
    TN_R(reg_store)(p->lowest + l, TN_R(least) + from);
    *far |= is_far, *none |= is_none;
}

/* The maximum for scores up to `most`, where that exceeds the old one; sets 2^(old - new). */
TN_INLINE reg TN_R(raised)(reg old, reg most, reg *rescale, ireg *risen)
{
    const reg  zero = { 0 };
    const ireg exceeds = (ireg)(most >= old + (T)0.5);
    const ireg is_near = (ireg)(most < TN_R(far)) & (ireg)(most > -TN_R(far));
    const reg  whole = TN_R(where)(is_near, most + ROUND - ROUND, most) + TN_R(room);
    const reg  m = TN_R(where)(exceeds, whole, old);
    *rescale = TN_R(where)((ireg)(m == old), zero, old - m);
    *risen |= exceeds;
    return m;
}

TN_INLINE bool TN_R(is_any)(ireg x)
{
    word any = 0;
    for (int i = 0; i < TN_R(reg_lanes); i++) any |= x[i];
    return any != 0;
}

/* Brings the maxima of a panel up to date, and what was summed up for others. Those that are not
 * exceeded stay as they are. A new one has some room above it, so that next to nothing is ever
 * rescaled. Returns whether a maximum was exceeded. */
static bool TN_R(raise_maxima)(TN_R(panel) *p, const TN_R(block) *b)
{
    ireg risen = { 0 }, far = { 0 }, none = { 0 };
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const vec old = v_load(p->m + l);
        const vec most = TN_R(largest)(b->s + l, b->width, TN_R(rows_seen)(b, l), old);
        vec       rescale;
        for (int r = 0; r < regs; r++)
            TN_R(set_maxima)(p, l + r * TN_R(reg_lanes),
                             TN_R(raised)(old.r[r], most.r[r], &rescale.r[r], &risen), &far, &none);
        v_store(p->rescale + l, rescale);
    }
    if (!TN_R(is_any)(risen)) return false;
    p->is_far = TN_R(is_any)(far), p->has_all = !TN_R(is_any)(none);
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const vec rescale = TN_R(v_exp2)(v_load(p->rescale + l));
        v_store(p->rescale + l, rescale);
        v_store(p->l + l, v_mul(v_load(p->l + l), rescale));
    }
    return true;
}

/* s becomes 2^(s - m), and l is brought up to date. Rows that no lane of a vec may attend to become
 * 0, and so do weights that dropout drops: those kept are divided by 1 - p at the end. */
static void TN_R(softmax_block)(const TN_R(panel) *p, const TN_R(block) *b)
{
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const int64_t rows = TN_R(rows_seen)(b, l);
        const word   *kept = p->kept ? p->kept + b->j0 / 32 * b->width + l : NULL;
        T            *s = b->s + l;
        const TN_R(exponent) by = { v_load(p->round + l), v_load(p->lowest + l), kept, NULL };
        if (p->is_far) {
            const vec shift = v_load(p->shift + l);
            for (int64_t j = 0; j < rows; j++)
                v_store(s + j * b->width, v_sub(v_load(s + j * b->width), shift));
        }
        const vec sum = kept ? TN_R(exponentials_of)(&by, s, b->width, rows, true, false)
                             : TN_R(exponentials_of)(&by, s, b->width, rows, false, false);
        for (int64_t j = rows; j < b->nj; j++) v_store(s + j * b->width, TN_R(all)(0));
        v_store(p->l + l, v_add(v_load(p->l + l), sum));
    }
}

/* The same with no look at the maxima before. False, and nothing was added to l, where one of them
 * is to be raised, or one of 2^(s - m) is too small for its bits. */
static bool TN_R(softmax_tried)(TN_R(panel) *p, const TN_R(block) *b)
{
    vec  sum[TN_ATTENTION_ROWS];
    ireg strange = { 0 };
    int  n = 0;
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const TN_R(exponent) by = { v_load(p->round + l), v_load(p->lowest + l), NULL, &strange };
        sum[n++] = TN_R(exponentials_of)(&by, b->s + l, b->width, b->nj, false, true);
    }
    if (TN_R(is_any)(strange & ~(word)BIAS)) {
        p->misses++;
        return false;
    }
    for (int i = 0; i < n; i++)
        v_store(p->l + i * v_lanes, v_add(v_load(p->l + i * v_lanes), sum[i]));
    return true;
}

static void TN_R(rescale_rows)(const TN_R(panel) *p, int64_t dv_pad)
{
    for (int64_t i = 0; i < p->n; i++) {
        const vec by = TN_R(all)(p->rescale[i]);
        T        *o = p->o + i * dv_pad;
        for (int64_t d = 0; d < dv_pad; d += v_lanes) v_store(o + d, v_mul(by, v_load(o + d)));
    }
}

/* The weights of one block of keys for one panel, and what they add to its sums. */
static void TN_R(forward_weights)(const TN_R(forward) *f, TN_R(panel) *p, const TN_R(block) *b)
{
    const tn__attention *a = f->a;
    const TN_R(product) scores = { .kind = TN_R(SCORES), .c = b->s, .c_row = b->width, .a = f->k.p,
                                   .a_row = f->k.row, .b = p->qt, .b_row = b->width, .rows = b->nj,
                                   .cols = b->width / v_lanes, .depth = a->dh, .first = b->first,
                                   .fetcher = f->fetcher };
    const bool is_masked = TN_R(needs_mask)(a, b);
    TN_R(multiply)(scores);
    const bool is_plain = !a->bias && !is_masked && !p->kept && p->has_all && !p->is_far;
    if (MR > 2 && sizeof(T) == 4 && is_plain && p->misses < TN_R(most_misses)) {
        if (TN_R(softmax_tried)(p, b)) return;
        TN_R(multiply)(scores);
    }
    if (a->bias) TN_R(apply_bias)(a, b);
    if (is_masked) {
        if (!f->picked) TN_R(mask_words)(a, b, f->mask);
        TN_R(apply_mask)(a, b, f->picked ? f->picked->words : f->mask);
    }
    if (TN_R(raise_maxima)(p, b) && p->is_begun) TN_R(rescale_rows)(p, f->dv_pad);
    TN_R(softmax_block)(p, b);
}

static TN_R(block) TN_R(block_of)(const TN_R(forward) *f, const TN_R(panel) *p, int64_t j0,
                                  int64_t nj)
{
    return (TN_R(block)){ f->s, p->width, p->i0, p->n, j0, nj, p->i0 + f->a->diagonal - j0 };
}

static __attribute__((noinline)) void
TN_R(forward_block)(const TN_R(forward) *f, TN_R(panel) *p, int64_t j0, int64_t nj)
{
    const TN_R(block) b = TN_R(block_of)(f, p, j0, nj);
    TN_R(forward_weights)(f, p, &b);
    TN_R(multiply)((TN_R(product)){ .kind = TN_R(BY_QUERY), .c = p->o, .c_row = f->dv_pad,
                                    .a = f->s,
                                    .a_row = b.width, .b = f->v.p, .b_row = f->v.row, .rows = b.n,
                                    .cols = f->dv_pad / v_lanes, .depth = nj, .first = b.first,
                                    .start = p->is_begun ? p->o : NULL,
                                    .start_row = f->dv_pad, .fetcher = f->fetcher });
    p->is_begun = true;
}

/* One past the last key that a query before i may attend to. */
static int64_t TN_R(keys_before)(const tn__attention *a, int64_t i)
{
    const int64_t n = i + a->diagonal;
    return n < 0 ? 0 : n < a->tk ? n : a->tk;
}

static TN_R(panel) TN_R(panel_of)(const tn__attention *a, int64_t i0, int64_t n, int64_t dv_pad,
                                  T **scratch)
{
    const int64_t width = tn__attention_pad(n, sizeof(T));
    TN_R(panel)   p = { .i0 = i0, .n = n, .width = width, .end = TN_R(keys_before)(a, i0 + n) };
    p.qt = TN_R(carve)(scratch, a->dh * width);
    p.o = TN_R(carve)(scratch, n * dv_pad);
    p.m = TN_R(carve)(scratch, width);
    p.l = TN_R(carve)(scratch, width);
    p.rescale = TN_R(carve)(scratch, width);
    p.round = TN_R(carve)(scratch, width);
    p.lowest = TN_R(carve)(scratch, width);
    p.shift = TN_R(carve)(scratch, width);
    TN_R(transpose)(p.qt, width, (const T *)a->q + i0 * a->q_row, a->q_row, n, a->dh,
                    (T)a->scale * LOG2E);
    for (int64_t l = 0; l < width; l++)
        p.m[l] = -(T)__builtin_inf(), p.l[l] = 0;
    if (a->p > 0) {
        p.kept = TN_R(carve)(scratch, (p.end + 31) / 32 * width);
        TN_R(dropout_words)(a, i0, n, width, 0, p.end, p.kept);
    }
    return p;
}

/* y = o / l, and the logarithm of the sum of exponentials. */
static void TN_R(finish_panel)(const tn__attention *a, const TN_R(panel) *p, int64_t dv_pad)
{
    const T   kept = (T)(1 - a->p);
    const vec zero = TN_R(all)(0); /* + 0: a zero is positive, with hidden keys or without */
    for (int64_t i = 0; i < p->width; i++) { /* a loop of its own, so that it vectorises */
        const T l = p->l[i], lse = p->m[i] * LN2 + tn__log(l);
        p->m[i] = l == 0 ? 0 : lse;
        p->l[i] = l == 0 ? 0 : 1 / (l * kept);
    }
    memcpy((T *)a->lse + p->i0, p->m, (size_t)p->n * sizeof(T));
    for (int64_t i = 0; i < p->n; i++) {
        const vec by = TN_R(all)(p->l[i]);
        const T  *o = p->o + i * dv_pad;
        T        *y = (T *)a->y + (p->i0 + i) * a->y_row;
        for (int64_t d = 0; d < a->dv; d += v_lanes)
            v_store_part(y + d, a->dv - d, p->is_begun ? v_fma(by, v_load(o + d), zero) : by);
    }
}

/* A block of keys for a few queries, without those that have no weight for any of them. */
static void TN_R(forward_picked)(const TN_R(forward) *f, TN_R(panel) *p, int64_t j0, int64_t nj,
                                 T *scratch)
{
    const tn__attention *a = f->a;
    const TN_R(block)    all = TN_R(block_of)(f, p, j0, nj);
    TN_R(forward) part = *f;
    TN_R(picked)  x;
    TN_R(pick_keys)(a, &all, &x);
    if (x.n == 0) return;
    TN_R(fetch_picked)(&x, a->k, j0, a->k_row, a->dh);
    TN_R(fetch_picked)(&x, a->v, j0, a->v_row, a->dv);
    if (4 * x.n > 3 * nj) { /* copies would take longer */
        part.k = TN_R(rows_of)(a->k, j0, a->k_row, nj, a->dh, false, &scratch);
        part.v = TN_R(rows_of)(a->v, j0, a->v_row, nj, a->dv, false, &scratch);
        TN_R(forward_block)(&part, p, j0, nj);
        return;
    }
    part.k = TN_R(copy_picked)(&x, a->k, j0, a->k_row, a->dh, &scratch);
    part.v = TN_R(copy_picked)(&x, a->v, j0, a->v_row, a->dv, &scratch);
    part.picked = &x;
    TN_R(forward_block)(&part, p, j0, x.n);
}

/* A few panels at a time: each block of keys is used for all of them while it is in the caches. */
static void TN_R(forward_panels)(const tn__attention *a, int64_t i0, int64_t i1,
                                 TN_R(fetcher) *fetcher, T *scratch)
{
    const int64_t rows = TN_ATTENTION_ROWS * v_lanes;
    const bool    copies = i1 - i0 > 2 * rows, picks = tn__attention_picks_keys(a);
    TN_R(forward) f = { .a = a, .dv_pad = tn__attention_pad(a->dv, sizeof(T)),
                        .fetcher = fetcher };
    TN_R(panel)   p[TN_ATTENTION_PANELS];
    int           n = 0;
    int64_t       end = 0, n_rows = i1 - i0;
    tn__attention_fetch next[2]; /* the next block of keys */
    TN_R(fetcher)       ahead;
    f.s = TN_R(carve)(&scratch, TN_ATTENTION_KEYS * rows);
    f.mask = TN_R(carve)(&scratch, TN_ATTENTION_KEYS / 32 * rows);
    for (; i0 < i1; n++, i0 += rows) {
        p[n] = TN_R(panel_of)(a, i0, i1 - i0 < rows ? i1 - i0 : rows, f.dv_pad, &scratch);
        end = p[n].end > end ? p[n].end : end;
    }
    for (int64_t j0 = 0; j0 < end; j0 += TN_ATTENTION_KEYS) {
        const int64_t nj = end - j0 < TN_ATTENTION_KEYS ? end - j0 : TN_ATTENTION_KEYS;
        const int64_t after = end - j0 - nj,
            soon = after < TN_ATTENTION_KEYS ? after : TN_ATTENTION_KEYS;
        T *free = scratch;
        if (picks) { /* of one panel */
            TN_R(forward_picked)(&f, p, j0, nj, scratch);
            continue;
        }
        if (after > 0) {
            next[0] = TN_R(rows_soon)(a->k, j0 + nj, a->k_row, soon, a->dh);
            next[1] = TN_R(rows_soon)(a->v, j0 + nj, a->v_row, soon, a->dv);
            ahead = TN_R(fetcher_of)(next, 2, n_rows * nj * (a->dh + a->dv) / v_lanes);
        }
        f.fetcher = after > 0 ? &ahead : fetcher;
        f.k = TN_R(rows_of)(a->k, j0, a->k_row, nj, a->dh, copies, &free);
        f.v = TN_R(rows_of)(a->v, j0, a->v_row, nj, a->dv, copies, &free);
        for (int i = 0; i < n; i++) {
            const int64_t left = p[i].end - j0;
            if (left > 0) TN_R(forward_block)(&f, &p[i], j0, left < nj ? left : nj);
        }
    }
    for (int i = 0; i < n; i++) TN_R(finish_panel)(a, &p[i], f.dv_pad);
}

void TN_KR(attention)(const tn__attention *a, int64_t i0, int64_t i1, void *scratch)
{
    const int64_t rows = TN_ATTENTION_PANELS * TN_ATTENTION_ROWS * v_lanes;
    /* causal: about half of the products are made */
    const int64_t share = a->diagonal < a->tk ? 2 : 1;
    TN_R(fetcher) fetcher = TN_R(fetcher_of)(a->soon, a->n_soon,
                                             (i1 - i0) * a->tk * (a->dh + a->dv) / v_lanes / share);
    for (; i0 < i1; i0 += rows)
        TN_R(forward_panels)(a, i0, i1 - i0 < rows ? i1 : i0 + rows, &fetcher, (T *)scratch);
}

/* ---- backward ---------------------------------------------------------------------------------
 *
 * With weights w = 2^(s - lse), y_i = sum_j d_ij w_ij v_j and d_ij = (kept or 0) / (1 - p):
 *   dv_j = sum_i d_ij w_ij dy_i          delta_i = dy_i . y_i - dlse_i = sum_j w_ij dw_ij - dlse_i
 *   dw_ij = d_ij dy_i . v_j              ds_ij = w_ij (dw_ij - delta_i)
 *   dq_i = scale sum_j ds_ij k_j         dk_j = scale sum_i ds_ij q_i
 * Each sum is one chain in rising order of its index. */

/* A range of keys, and their gradients so far. */
typedef struct TN_R(grad_keys) {
    int64_t    j0, dh_pad, dv_pad;
    TN_R(rows) k, v, dk, dv;
    int64_t    seen;          /* keys before it have been added to; the others are not set yet */
    TN_R(fetcher) *fetcher;
} TN_R(grad_keys);

/* A block of queries. */
typedef struct TN_R(grad_panel) {
    T         *qt, *dyt;      /* [dh][width] as in forward, [dv][width] scale dy / (1 - p) */
    TN_R(rows) q, dy, dq;
    T         *w, *ds;        /* [keys][width] */
    T         *minus_lse, *minus_delta; /* [width]; lse in units of log 2, delta times scale */
    word      *mask, *kept;   /* kept from key j0 of the range on */
} TN_R(grad_panel);

/* What scores become weights and their gradients by, in one vec of lanes. */
typedef struct TN_R(weights_by) {
    vec  minus_delta, kept_by;
} TN_R(weights_by);

/* n rows of s - lse and scale dw - delta become the weights and ds. With dropout, rows of ds are
 * scale dw, and the weights are dropped out. */
TN_INLINE void TN_R(weights_rows)(const TN_R(weights_by) *by, T *s, T *ds, int64_t row, const int n,
                                  const word *kept, int bit)
{
    vec w[TN_R(at_once)];
    UNROLL for (int i = 0; i < n; i++) w[i] = v_load(s + i * row);
    TN_R(exp2_of)(w, n, TN_R(all)(TN_R(magic)), TN_R(all)(TN_R(least)), NULL);
    UNROLL for (int i = 0; i < n; i++) {
        vec dw = v_load(ds + i * row), dropped = w[i];
        if (kept) {
            dw = v_add(TN_R(v_keep)(kept, bit + i, dw), by->minus_delta);
            dropped = TN_R(v_keep)(kept, bit + i, v_mul(w[i], by->kept_by));
        }
        v_store(s + i * row, dropped);
        v_store(ds + i * row, v_mul(w[i], dw));
    }
}

/* The same of rows [0, rows). */
TN_INLINE void TN_R(weights_of)(const TN_R(weights_by) *by, T *s, T *ds, int64_t row, int64_t rows,
                                const word *kept, bool drops)
{
    enum { N = TN_R(at_once) };
    int64_t j = 0;
    for (; j + N <= rows; j += N)
        TN_R(weights_rows)(by, s + j * row, ds + j * row, row, N,
                           drops ? kept + j / 32 * row : NULL, j & 31);
    ONE_BY_ONE for (; j < rows; j++)
        TN_R(weights_rows)(by, s + j * row, ds + j * row, row, 1,
                           drops ? kept + j / 32 * row : NULL, j & 31);
}

static void TN_R(weights_grad)(const tn__attention *a, const TN_R(grad_panel) *p,
                               const TN_R(block) *b, int64_t kept_from)
{
    const vec   zero = TN_R(all)(0);
    const word *kept = a->p > 0 ? p->kept + (b->j0 - kept_from) / 32 * b->width : NULL;
    for (int64_t l = 0; l < b->width; l += v_lanes) {
        const TN_R(weights_by) by = { v_load(p->minus_delta + l),
                                      TN_R(all)((T)(1 / (1 - a->p))) };
        const int64_t rows = TN_R(rows_seen)(b, l);
        for (int64_t j = rows; j < b->nj; j++)
            v_store(p->w + j * b->width + l, zero), v_store(p->ds + j * b->width + l, zero);
        if (kept) TN_R(weights_of)(&by, p->w + l, p->ds + l, b->width, rows, kept + l, true);
        else TN_R(weights_of)(&by, p->w + l, p->ds + l, b->width, rows, NULL, false);
    }
}

/* Fills w and ds of one block. */
static void TN_R(grad_scores)(const tn__attention *a, const TN_R(grad_keys) *g,
                              const TN_R(grad_panel) *p,
                              const TN_R(block) *b)
{
    const int64_t at = b->j0 - g->j0;
    const bool    is_masked = TN_R(needs_mask)(a, b), drops = a->p > 0;
    TN_R(product) x = { .kind = TN_R(SCORES), .c = p->w, .c_row = b->width,
                        .a = g->k.p + at * g->k.row,
                        .a_row = g->k.row, .b = p->qt, .b_row = b->width, .rows = b->nj,
                        .cols = b->width / v_lanes, .depth = a->dh, .first = b->first,
                        .start = p->minus_lse, .fetcher = g->fetcher };
    TN_R(multiply)(x);
    x.c = p->ds, x.a = g->v.p + at * g->v.row, x.a_row = g->v.row, x.b = p->dyt, x.depth = a->dv;
    x.start = drops ? NULL : p->minus_delta;
    TN_R(multiply)(x);
    if (a->bias) TN_R(apply_bias)(a, b);
    if (is_masked) {
        TN_R(mask_words)(a, b, p->mask);
        TN_R(apply_mask)(a, b, p->mask);
    }
    TN_R(weights_grad)(a, p, b, g->j0);
}

/* A sum over queries: rows of keys that have been seen are added to, the others set. */
static void TN_R(multiply_by_key)(TN_R(product) x, int64_t n_seen)
{
    const int64_t rows = x.rows;
    n_seen = n_seen < 0 ? 0 : n_seen < rows ? n_seen : rows;
    x.rows = n_seen, x.start = x.c, x.start_row = x.c_row;
    TN_R(multiply)(x);
    x.rows = rows - n_seen, x.first -= n_seen, x.start = NULL;
    x.a += n_seen * x.a_row, x.c += n_seen * x.c_row;
    TN_R(multiply)(x);
}

/* One block's part of dk, dv and dq. */
static void TN_R(grad_block)(const tn__attention *a, const TN_R(grad_keys) *g,
                             const TN_R(grad_panel) *p,
                             const TN_R(block) *b, bool adds_dq)
{
    const int64_t at = b->j0 - g->j0;
    TN_R(grad_scores)(a, g, p, b);
    TN_R(product) x = { .kind = TN_R(BY_KEY), .c = g->dv.p + at * g->dv.row, .c_row = g->dv.row,
                        .a = p->w,
                        .a_row = b->width, .b = p->dy.p, .b_row = p->dy.row, .rows = b->nj,
                        .cols = g->dv_pad / v_lanes, .depth = b->n, .first = b->first,
                        .fetcher = g->fetcher };
    TN_R(multiply_by_key)(x, g->seen - b->j0);
    x.c = g->dk.p + at * g->dk.row, x.c_row = g->dk.row, x.a = p->ds, x.b = p->q.p,
        x.b_row = p->q.row;
    x.cols = g->dh_pad / v_lanes;
    TN_R(multiply_by_key)(x, g->seen - b->j0);
    TN_R(multiply)((TN_R(product)){ .kind = TN_R(BY_QUERY), .c = p->dq.p, .c_row = p->dq.row,
                                    .a = p->ds, .a_row = b->width, .b = g->k.p + at * g->k.row,
                                    .b_row = g->k.row,
                                    .rows = b->n, .cols = g->dh_pad / v_lanes, .depth = b->nj,
                                    .first = b->first, .start = adds_dq ? p->dq.p : NULL,
                                    .start_row = p->dq.row, .fetcher = g->fetcher });
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

/* Prepares queries [i0, i0 + n) for keys [j0, j1) of the range; ds is to be times scale. */
static TN_R(grad_panel) TN_R(grad_panel_of)(const tn__attention *a, const TN_R(grad_keys) *g,
                                            int64_t i0, int64_t n, int64_t j1, double scale,
                                            T *scratch)
{
    const int64_t    width = tn__attention_pad(n, sizeof(T));
    const bool       copies = j1 - g->j0 > TN_ATTENTION_GRAD_KEYS; /* used by more than one block */
    TN_R(grad_panel) p;
    p.qt = TN_R(carve)(&scratch, a->dh * width);
    p.dyt = TN_R(carve)(&scratch, a->dv * width);
    p.w = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS * width);
    p.ds = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS * width);
    p.minus_lse = TN_R(carve)(&scratch, width);
    p.minus_delta = TN_R(carve)(&scratch, width);
    p.mask = TN_R(carve)(&scratch, TN_ATTENTION_GRAD_KEYS / 32 * width);
    p.q = TN_R(rows_of)(a->q, i0, a->q_row, n, a->dh, copies, &scratch);
    p.dy = TN_R(rows_of)(a->dy, i0, a->dy_row, n, a->dv, copies, &scratch);
    p.dq = TN_R(rows_for)((T *)a->dq + i0 * a->dq_row, a->dq_row, n, a->dh, copies, &scratch);
    p.kept = (word *)scratch;
    TN_R(transpose)(p.qt, width, p.q.p, p.q.row, n, a->dh, (T)a->scale * LOG2E);
    TN_R(transpose)(p.dyt, width, p.dy.p, p.dy.row, n, a->dv, (T)(scale / (1 - a->p)));
    for (int64_t l = 0; l < width; l++) {
        p.minus_lse[l] = l < n ? -LOG2E * ((const T *)a->lse)[i0 + l] : 0;
        p.minus_delta[l] = l < n ? (T)-scale * TN_R(row_delta)(a, i0 + l) : 0;
    }
    if (a->p > 0) TN_R(dropout_words)(a, i0, n, width, g->j0, j1 - g->j0, p.kept);
    return p;
}

/* Keys, values and their gradients [j0, j1); with `adds` the gradients have a value already. */
static TN_R(grad_keys) TN_R(grad_keys_of)(const tn__attention *a, int64_t j0, int64_t j1, bool adds,
                                          TN_R(fetcher) *fetcher, T **scratch)
{
    const int64_t   n = j1 - j0;
    /* used by more than one block */
    const bool      copies = a->tq > TN_ATTENTION_GRAD_ROWS * v_lanes;
    T              *dk = (T *)a->dk + j0 * a->dk_row, *dv = (T *)a->dv_out + j0 * a->dv_row;
    TN_R(grad_keys) g = { .j0 = j0, .dh_pad = tn__attention_pad(a->dh, sizeof(T)),
                          .dv_pad = tn__attention_pad(a->dv, sizeof(T)), .seen = adds ? j1 : j0,
                          .fetcher = fetcher };
    g.k = TN_R(rows_of)(a->k, j0, a->k_row, n, a->dh, copies, scratch);
    g.v = TN_R(rows_of)(a->v, j0, a->v_row, n, a->dv, copies, scratch);
    g.dk = TN_R(rows_for)(dk, a->dk_row, n, a->dh, copies, scratch);
    g.dv = TN_R(rows_for)(dv, a->dv_row, n, a->dv, copies, scratch);
    if (adds && g.dk.p != dk) TN_R(pad_rows)(g.dk, dk, a->dk_row, n, a->dh);
    if (adds && g.dv.p != dv) TN_R(pad_rows)(g.dv, dv, a->dv_row, n, a->dv);
    return g;
}

/* Queries [i0, i0 + n) against keys up to j1 of the range; dq is set, or added to. */
static void TN_R(grad_queries)(const tn__attention *a, TN_R(grad_keys) *g, int64_t i0, int64_t n,
                               int64_t j1, bool adds_dq, T *scratch)
{
    const TN_R(grad_panel) p = TN_R(grad_panel_of)(a, g, i0, n, j1, a->scale, scratch);
    const int64_t          width = tn__attention_pad(n, sizeof(T));
    T                     *dq = (T *)a->dq + i0 * a->dq_row;
    if (adds_dq && p.dq.p != dq) TN_R(pad_rows)(p.dq, dq, a->dq_row, n, a->dh);
    for (int64_t j = g->j0; j < j1; j += TN_ATTENTION_GRAD_KEYS) {
        const int64_t nj = j1 - j < TN_ATTENTION_GRAD_KEYS ? j1 - j : TN_ATTENTION_GRAD_KEYS;
        TN_R(grad_block)(a, g, &p, &(TN_R(block)){ p.w, width, i0, n, j, nj, i0 + a->diagonal - j },
                         adds_dq || j > g->j0);
    }
    TN_R(put_rows)(p.dq, a->dq, i0, a->dq_row, n, a->dh);
    g->seen = j1 > g->seen ? j1 : g->seen;
}

/* All queries against a range of keys that stays in the second cache. */
static void TN_R(grad_range)(const tn__attention *a, int64_t j0, int64_t j1, bool adds,
                             bool adds_dq, TN_R(fetcher) *fetcher, T *scratch)
{
    const int64_t   rows = TN_ATTENTION_GRAD_ROWS * v_lanes;
    TN_R(grad_keys) g = TN_R(grad_keys_of)(a, j0, j1, adds, fetcher, &scratch);
    tn__attention_fetch next[4]; /* the next block of queries */
    TN_R(fetcher)       ahead;
    for (int64_t i = 0; i < a->tq; i += rows) {
        const int64_t n = a->tq - i < rows ? a->tq - i : rows, end = TN_R(keys_before)(a, i + n);
        const int64_t left = a->tq - i - n, soon = left < rows ? left : rows;
        if (left > 0) {
            next[0] = TN_R(rows_soon)(a->q, i + n, a->q_row, soon, a->dh);
            next[1] = TN_R(rows_soon)(a->dy, i + n, a->dy_row, soon, a->dv);
            next[2] = TN_R(rows_soon)(a->y, i + n, a->y_row, soon, a->dv);
            next[3] = TN_R(rows_soon)(a->dq, i + n, a->dq_row, soon, a->dh);
            ahead = TN_R(fetcher_of)(next, 4, n * (j1 - j0) * (3 * a->dh + 2 * a->dv) / v_lanes);
        }
        g.fetcher = left > 0 ? &ahead : fetcher;
        if (end > j0) /* or else the causal rule hides all of these keys */
            TN_R(grad_queries)(a, &g, i, n, end < j1 ? end : j1, adds_dq, scratch);
        else if (!adds_dq)
            TN_R(clear_rows)(a->dq, i, a->dq_row, n, a->dh);
    }
    TN_R(put_rows)(g.dk, a->dk, j0, a->dk_row, g.seen - j0, a->dh);
    TN_R(put_rows)(g.dv, a->dv_out, j0, a->dv_row, g.seen - j0, a->dv);
    TN_R(clear_rows)(a->dk, g.seen, a->dk_row, j1 - g.seen, a->dh); /* no query sees them */
    TN_R(clear_rows)(a->dv_out, g.seen, a->dv_row, j1 - g.seen, a->dv);
}

/* The parts of keys [j0, j1) in the gradients. dq of all queries is set; rows [j0, j1) of dk and dv
 * are set, or with `adds` added to. */
void TN_KR(attention_grad)(const tn__attention *a, int64_t j0, int64_t j1, bool adds, void *scratch)
{
    const int64_t share = a->diagonal < a->tk ? 2 : 1, products = 3 * a->dh + 2 * a->dv;
    TN_R(fetcher) fetcher = TN_R(fetcher_of)(a->soon, a->n_soon,
                                             a->tq * (j1 - j0) * products / v_lanes / share);
    int64_t       j = j0;
    do { /* once, where there are no keys: dq is 0 then */
        const int64_t end = j1 - j < TN_ATTENTION_GRAD_RANGE ? j1 : j + TN_ATTENTION_GRAD_RANGE;
        TN_R(grad_range)(a, j, end, adds, j > j0, &fetcher, (T *)scratch);
        j = end;
    } while (j < j1);
}

/* Adds ds of queries [i0, i1) to the gradient of the bias: ds of (i, j) to dbias[i row + j col]. */
void TN_KR(attention_bias_grad)(const tn__attention *a, int64_t i0, int64_t i1, void *dbias,
                                int64_t row, int64_t col, void *space)
{
    const int64_t rows = TN_ATTENTION_GRAD_ROWS * v_lanes;
    TN_R(fetcher) fetcher = { 0 };
    for (int64_t j0 = 0; j0 < a->tk; j0 += TN_ATTENTION_GRAD_RANGE) {
        T              *scratch = (T *)space;
        const int64_t   most = a->tk - j0 < TN_ATTENTION_GRAD_RANGE ? a->tk
            : j0 + TN_ATTENTION_GRAD_RANGE;
        TN_R(grad_keys) g = TN_R(grad_keys_of)(a, j0, most, false, &fetcher, &scratch);
        for (int64_t i = i0; i < i1; i += rows) {
            const int64_t n = i1 - i < rows ? i1 - i : rows,
                width = tn__attention_pad(n, sizeof(T));
            const int64_t before = TN_R(keys_before)(a, i + n), end = before < most ? before : most;
            if (end <= j0) continue;
            const TN_R(grad_panel) p = TN_R(grad_panel_of)(a, &g, i, n, end, 1, scratch);
            for (int64_t j = j0; j < end; j += TN_ATTENTION_GRAD_KEYS) {
                const int64_t     nj = end - j < TN_ATTENTION_GRAD_KEYS ? end - j
                    : TN_ATTENTION_GRAD_KEYS;
                const TN_R(block) b = { p.w, width, i, n, j, nj, i + a->diagonal - j };
                TN_R(grad_scores)(a, &g, &p, &b);
                for (int64_t e = 0; e < nj; e++)
                    for (int64_t l = 0; l < n; l++)
                        ((T *)dbias)[(i + l) * row + (j + e) * col] += p.ds[e * width + l];
            }
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
