/* The packing of one dtype at one level, in the layouts of gemm_kernels.h. Included by
 * gemm_tile.h. */

enum {
    PIECE = 16 / (int)sizeof(T), /* elements in 16 bytes */
    SOON = 16 /* rows ahead are fetched: strides beyond a page are nothing that hardware foresees */
};

/* A pack is dst[p][l] = scale * src[l line + p step] for l < n_lines, p < k, where dst has rows of
 * `width` elements; those past n_lines are finite. It may write up to LANES - 1 elements too many
 * at the end, which the next one in rising order mends. */

/* n contiguous elements. */
TN_INLINE void NAME(copy)(T *dst, const T *src, int64_t n, VEC by)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(dst + i, v_mul(by, v_load(src + i)));
    if (i < n) v_store_part(dst + i, v_part(n - i), v_mul(by, v_load_part(src + i, v_part(n - i))));
}

/* Lines side by side in memory: k rows are copied. */
static void NAME(pack_rows)(T *dst, const T *src, int64_t step, int64_t n_lines, int64_t width,
                            int64_t k, VEC by)
{
    for (int64_t p = 0; p < k; p++) NAME(copy)(dst + p * width, src + p * step, n_lines, by);
}

/* The same for n_panels whole panels of nv vectors, one row of all of them after the other: long
 * runs of memory are kinder than many short ones. */
TN_INLINE void NAME(pack_slab)(T *dst, const T *src, int64_t step, int64_t n_panels, int64_t k,
                               VEC by, const int nv)
{
    for (int64_t p = 0; p < k; p++)
        for (int64_t q = 0; q < n_panels; q++) {
            UNROLL for (int v = 0; v < nv; v += 64 / (LANES * (int)sizeof(T)))
                __builtin_prefetch(src + (p + SOON) * step + (q * nv + v) * LANES);
            UNROLL for (int v = 0; v < nv; v++)
                v_store(dst + (q * k + p) * nv * LANES + v * LANES,
                        v_mul(by, v_load(src + p * step + (q * nv + v) * LANES)));
        }
}

/* LANES lines x PIECE values of k, transposed. p[q] is the first of PIECE neighbouring lines; what
 * v_quads puts side by side comes from lines PIECE apart. */
TN_INLINE void NAME(pack_square)(T *dst, const T *const *p, int64_t line, int64_t width, VEC by,
                                 const bool is_scaled)
{
    VEC r[PIECE];
    UNROLL for (int i = 0; i < PIECE; i++) {
        r[i] = v_quads(p, i * line);
        if (is_scaled) r[i] = v_mul(by, r[i]);
    }
#ifdef F64
    v_store(dst, v_lo(r[0], r[1]));
    v_store(dst + width, v_hi(r[0], r[1]));
#else
    const VEC a = v_lo(r[0], r[1]), b = v_hi(r[0], r[1]);
    const VEC c = v_lo(r[2], r[3]), d = v_hi(r[2], r[3]);
    v_store(dst, v_lo2(a, c));
    v_store(dst + width, v_hi2(a, c));
    v_store(dst + 2 * width, v_lo2(b, d));
    v_store(dst + 3 * width, v_hi2(b, d));
#endif
}

/* LANES lines along all k. */
TN_INLINE void NAME(pack_band)(T *dst, const T *src, int64_t line, int64_t width, int64_t k, VEC by,
                               const bool is_scaled)
{
    const T *p[LANES / PIECE];
    for (int q = 0; q < LANES / PIECE; q++) p[q] = src + q * PIECE * line;
    for (; k >= PIECE; k -= PIECE) {
        NAME(pack_square)(dst, p, line, width, by, is_scaled);
        dst += PIECE * width;
        UNROLL for (int q = 0; q < LANES / PIECE; q++) {
            p[q] += PIECE;
            HIDE(p[q]);
        }
    }
    for (const T *rest = p[0]; k > 0; k--, rest++, dst += width) {
        T row[LANES];
        for (int i = 0; i < LANES; i++) row[i] = rest[i * line];
        v_store(dst, v_mul(by, v_load(row)));
    }
}

/* Fewer than LANES lines, through a copy in which the last is repeated. */
static void NAME(pack_few)(T *dst, const T *src, int64_t line, int64_t n_lines, int64_t width,
                           int64_t k, VEC by)
{
    enum { RUN = 64 };
    T some[LANES * RUN];
    for (int64_t p = 0; p < k; p += RUN) {
        const int64_t n = k - p < RUN ? k - p : RUN;
        for (int64_t i = 0; i < LANES; i++) {
            const T *from = src + (i < n_lines ? i : n_lines - 1) * line + p;
            memcpy(some + i * RUN, from, (size_t)n * sizeof(T));
        }
        NAME(pack_band)(dst + p * width, some, RUN, width, n, by, true);
    }
}

/* Lines along k in memory: transposed, LANES lines at a time. Where the last of them would reach
 * past the row, they begin earlier; a row shorter than LANES is mended by the one after it. */
static void NAME(pack_lines)(T *dst, const T *src, int64_t line, int64_t n_lines, int64_t width,
                             int64_t k, T scale)
{
    const VEC by = v_all(scale);
    for (int64_t next = 0; next < n_lines; next += LANES) {
        const int64_t l = next + LANES > width && width >= LANES ? width - LANES : next;
        if (l + LANES > n_lines)
            NAME(pack_few)(dst + l, src + l * line, line, n_lines - l, width, k, by);
        else if (scale == 1)
            NAME(pack_band)(dst + l, src + l * line, line, width, k, by, false);
        else
            NAME(pack_band)(dst + l, src + l * line, line, width, k, by, true);
    }
}

static void NAME(pack)(T *dst, const T *src, int64_t line, int64_t step, int64_t n_lines,
                       int64_t width, int64_t k, T scale)
{
    if (line == 1)
        NAME(pack_rows)(dst, src, step, n_lines, width, k, v_all(scale));
    else if (step == 1)
        NAME(pack_lines)(dst, src, line, n_lines, width, k, scale);
    else
        for (int64_t p = 0; p < k; p++)
            for (int64_t l = 0; l < width; l++)
                dst[p * width + l] = scale * src[(l < n_lines ? l : n_lines - 1) * line + p * step];
}

/* How many panels of w columns the n that are left begin with, up to a slab of them. */
static int64_t NAME(equal_panels)(int64_t n, int64_t w, int64_t width)
{
    int64_t q = 0;
    while (q < TN__GEMM_SLAB && n >= w && tn__gemm_panel(n, width, NV_WIDE * LANES, LANES) == w)
        q++, n -= w;
    return q;
}

static void NAME(pack_b)(void *dst, const void *b, int64_t b_row, int64_t b_col, int64_t n,
                         int64_t k, int64_t width, double scale)
{
    T       *to = dst;
    const T *from = b;
    int64_t  j = 0;
    for (int64_t w, q; j < n; j += q * w) {
        w = tn__gemm_panel(n - j, width, NV_WIDE * LANES, LANES), q = 1;
        if (b_col == 1 && (w == 2 * LANES || w == 4 * LANES)) {
            q = NAME(equal_panels)(n - j, w, width);
            if (w == 2 * LANES)
                NAME(pack_slab)(to + j * k, from + j, b_row, q, k, v_all((T)scale), 2);
            else
                NAME(pack_slab)(to + j * k, from + j, b_row, q, k, v_all((T)scale), 4);
        } else {
            NAME(pack)(to + j * k, from + j * b_col, b_col, b_row, w,
                       (w + LANES - 1) / LANES * LANES, k, (T)scale);
        }
    }
}

enum { STRIPS = 4 }; /* of A, packed together */

/* Strips of A of which each k is contiguous, one k of all of them after the other. Of a strip that
 * is no whole vector too much is written, as masked stores are slow with AVX2: its next k mends it,
 * and the last ones are copied with care. */
static void NAME(pack_cols)(T *dst, const T *a, int64_t step, const int64_t *i, int n, int64_t k,
                            VEC by)
{
    const int64_t first = i[1] - i[0];
    int64_t       done = 0;
    if (n == STRIPS && i[STRIPS] - i[0] == STRIPS * first && first < LANES) { /* nearly always */
        const PART part = v_part(first);
        const T   *from = a + i[0];
        T         *to = dst + i[0] * k;
        for (; (k - 1 - done) * first >= LANES; done++, from += step, to += first) {
            __builtin_prefetch(from + SOON * step);
            __builtin_prefetch(from + SOON * step + (STRIPS - 1) * first);
            UNROLL for (int s = 0; s < STRIPS; s++)
                v_store(to + s * first * k, v_mul(by, v_load_part(from + s * first, part)));
        }
    }
    for (int64_t p = done; p < k; p++)
        for (int s = 0; s < n; s++) {
            const int64_t rows = i[s + 1] - i[s];
            const T      *from = a + i[s] + p * step;
            T            *to = dst + i[s] * k + p * rows;
            __builtin_prefetch(from + SOON * step);
            if (rows < LANES && (k - 1 - p) * rows >= LANES)
                v_store(to, v_mul(by, v_load_part(from, v_part(rows))));
            else
                NAME(copy)(to, from, rows, by);
        }
}

/* Strips [s, end) of A, in the form that tn__gemm_block says. */
static void NAME(pack_strips)(const tn__gemm_block *g, bool by_rows, const tn__gemm_cut *cut,
                              int64_t s, int64_t end)
{
    const T  *a = g->a;
    T        *dst = g->a_packed;
    const VEC by = v_all((T)g->a_scale);
    int64_t   i[STRIPS + 1];
    for (int q = 0; q <= end - s; q++) i[q] = tn__gemm_strip(cut, s + q);
    if (by_rows) {
        const int64_t row = tn__gemm_a_row(g->k, sizeof(T)), last = i[end - s];
        NAME(pack_rows)(dst + i[0] * row, a + i[0] * g->a_row, g->a_row, g->k, row, last - i[0],
                        by);
    } else if (g->a_row == 1) {
        NAME(pack_cols)(dst, a, g->a_col, i, (int)(end - s), g->k, by);
    } else {
        for (int q = 0; q < end - s; q++)
            NAME(pack)(dst + i[q] * g->k, a + i[q] * g->a_row, g->a_row, g->a_col, i[q + 1] - i[q],
                       i[q + 1] - i[q], g->k, (T)g->a_scale);
    }
}
