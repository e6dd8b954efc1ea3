/* The parts of attention that know no mask and no softmax: products of small blocks in the caches,
 * transposing and padding of rows, and 2^x. Included by attention.c once per dtype. */

#define reg  TN_CAT(reg, TN_REAL)
#define ireg TN_CAT(word_reg, TN_REAL)
#define word TN_CAT(mask_word, TN_REAL) /* an unsigned integer of T's size */
#define regs TN_R(regs)

typedef word ireg __attribute__((vector_size(TN__BITS / 8)));

/* ---- products -------------------------------------------------------------------------------- */

/* Rows and vecs of the tile that is held in registers. */
#undef MR
#undef NV
#if defined __AVX512F__
#  define MR 8
#  define NV 2
#elif defined __AVX2__ || defined __aarch64__
#  define MR 6
#  define NV 1
#else
#  define MR 4
#  define NV 1
#endif

TN_INLINE vec TN_R(all)(T x)
{
    vec a;
    for (int r = 0; r < regs; r++) a.r[r] = x - (reg){ 0 }; /* x - 0 is x, and costs nothing */
    return a;
}

/* The three shapes of product: what are the rows of C, and what is summed over? Where masks are causal,
 * scores of keys past `first` + the query are known to be masked, and their weights to be 0. */
typedef enum TN_R(kind) {
    TN_R(SCORES),    /* keys by queries as lanes: needs rows <= first + the last lane */
    TN_R(BY_KEY),    /* a row a key, a sum over queries: from row - first on */
    TN_R(BY_QUERY)   /* a row a query, a sum over keys: to first + row */
} TN_R(kind);

/* C = A B, or C += A B. C is [rows, cols vecs], B[k, x] at k b_row + x. A[r, k] is at r a_row + k; of a
 * product BY_QUERY at k a_row + r. */
typedef struct TN_R(product) {
    TN_R(kind) kind;
    T         *c;
    int64_t    c_row;
    const T   *a;
    int64_t    a_row;
    const T   *b;
    int64_t    b_row;
    int64_t    rows, cols, depth, first;
    bool       adds;
} TN_R(product);

/* One tile: each element is one chain of fused multiply-adds in rising order of k in [k0, k1). */
TN_INLINE void TN_R(tile)(const TN_R(product) *p, T *c, const T *a, const T *b, int64_t k0, int64_t k1,
                          int mr, int nv, bool turned)
{
    vec           acc[MR][NV];
    const int64_t c_row = p->c_row, a_row = p->a_row, b_row = p->b_row;
    for (int r = 0; r < mr; r++)
        for (int x = 0; x < nv; x++)
            acc[r][x] = p->adds ? v_load(c + r * c_row + x * v_lanes) : TN_R(all)(0);
#if defined __clang__
#  pragma clang loop unroll_count(4)
#else
#  pragma GCC unroll 4
#endif
    for (int64_t k = k0; k < k1; k++) {
        vec bx[NV];
        for (int x = 0; x < nv; x++) bx[x] = v_load(b + k * b_row + x * v_lanes);
        for (int r = 0; r < mr; r++) {
            const vec ax = TN_R(all)(turned ? a[k * a_row + r] : a[r * a_row + k]);
            for (int x = 0; x < nv; x++) acc[r][x] = v_fma(ax, bx[x], acc[r][x]);
        }
    }
    for (int r = 0; r < mr; r++)
        for (int x = 0; x < nv; x++) v_store(c + r * c_row + x * v_lanes, acc[r][x]);
}

/* All rows of nv vecs of columns: B's columns stay in the cache, A streams by. */
TN_INLINE void TN_R(stripe)(const TN_R(product) *p, int64_t x, int nv, bool turned)
{
    const int64_t a_step = turned ? 1 : p->a_row;
    int64_t       r = 0, rows = p->rows;
    if (p->kind == TN_R(SCORES) && p->first + (x + nv) * v_lanes < rows)
        rows = p->first + (x + nv) * v_lanes;
    while (r < rows) {
        const int64_t left = rows - r;
        const int     n = left >= MR && left != MR + 2 ? MR : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        int64_t       k0 = 0, k1 = p->depth;
        if (p->kind == TN_R(BY_KEY) && r > p->first) k0 = r - p->first;
        if (p->kind == TN_R(BY_QUERY) && p->first + r + n < k1) k1 = p->first + r + n;
#define TILE(mr)                                                                                   \
    TN_R(tile)(p, p->c + r * p->c_row + x * v_lanes, p->a + r * a_step, p->b + x * v_lanes, k0, k1, \
               mr, nv, turned)
        switch (n) {
        case 1: TILE(1); break;
        case 2: TILE(2); break;
        case 4: TILE(MR < 4 ? MR : 4); break;
        default: TILE(MR); break;
        }
#undef TILE
        r += n;
    }
}

TN_INLINE void TN_R(any_product)(const TN_R(product) *p, bool turned)
{
    int64_t x = 0;
    for (; p->cols - x >= NV; x += NV) TN_R(stripe)(p, x, NV, turned);
    for (; p->cols - x >= 1; x += 1) TN_R(stripe)(p, x, 1, turned);
}

__attribute__((noinline)) static void TN_R(multiply_straight)(const TN_R(product) *p)
{
    TN_R(any_product)(p, false);
}

__attribute__((noinline)) static void TN_R(multiply_turned)(const TN_R(product) *p)
{
    TN_R(any_product)(p, true);
}

static void TN_R(multiply)(TN_R(product) p)
{
    if (p.kind == TN_R(BY_QUERY)) TN_R(multiply_turned)(&p);
    else TN_R(multiply_straight)(&p);
}

/* ---- moving ----------------------------------------------------------------------------------- */

/* Pieces of 16 bytes of the rows at[0], at[step], .. side by side in a register. */
TN_INLINE reg TN_R(pieces)(const T *p, const int64_t *at, int step)
{
    reg a;
#if defined __AVX512F__
    const __m128 *x[4] = { (const void *)(p + at[0]), (const void *)(p + at[step]),
                           (const void *)(p + at[2 * step]), (const void *)(p + at[3 * step]) };
    __m512 z = _mm512_castps128_ps512(_mm_loadu_ps((const float *)x[0]));
    z = _mm512_insertf32x4(z, _mm_loadu_ps((const float *)x[1]), 1);
    z = _mm512_insertf32x4(z, _mm_loadu_ps((const float *)x[2]), 2);
    z = _mm512_insertf32x4(z, _mm_loadu_ps((const float *)x[3]), 3);
    __builtin_memcpy(&a, &z, sizeof a);
#elif defined __AVX2__
    __m256 z = _mm256_castps128_ps256(_mm_loadu_ps((const float *)(const void *)(p + at[0])));
    z = _mm256_insertf128_ps(z, _mm_loadu_ps((const float *)(const void *)(p + at[step])), 1);
    __builtin_memcpy(&a, &z, sizeof a);
#else
    (void)step;
    __builtin_memcpy(&a, p + at[0], sizeof a);
#endif
    return a;
}

/* Interleaves lanes of a and b within each 16 bytes: the lower half of them, or the upper one. */
TN_INLINE reg TN_R(low)(reg a, reg b)
{
#if defined __x86_64__
    return (reg)TN__MM(unpacklo)(a, b);
#elif defined __aarch64__
    return (reg)TN__VQ(vzip1)(a, b);
#else
    return sizeof(T) == 8 ? (reg){ a[0], b[0] } : (reg){ a[0], b[0], a[1], b[1] };
#endif
}

TN_INLINE reg TN_R(high)(reg a, reg b)
{
#if defined __x86_64__
    return (reg)TN__MM(unpackhi)(a, b);
#elif defined __aarch64__
    return (reg)TN__VQ(vzip2)(a, b);
#else
    return sizeof(T) == 8 ? (reg){ a[1], b[1] } : (reg){ a[2], b[2], a[3], b[3] };
#endif
}

/* out[c] = column c of the rows at[0 .. lanes of a register), c < 16 / sizeof(T). */
TN_INLINE void TN_R(columns)(reg *out, const T *p, const int64_t *at)
{
    enum { n = 16 / sizeof(T) };
    reg x[n];
    for (int i = 0; i < n; i++) x[i] = TN_R(pieces)(p, at + i, n);
    if (n == 2) {
        out[0] = TN_R(low)(x[0], x[1]);
        out[1] = TN_R(high)(x[0], x[1]);
    } else { /* rows 0 and 2, 1 and 3, and then those two */
        const reg a = TN_R(low)(x[0], x[n / 2]), b = TN_R(high)(x[0], x[n / 2]);
        const reg c = TN_R(low)(x[1], x[n - 1]), d = TN_R(high)(x[1], x[n - 1]);
        out[0] = TN_R(low)(a, c), out[1] = TN_R(high)(a, c);
        out[n - 2] = TN_R(low)(b, d), out[n - 1] = TN_R(high)(b, d);
    }
}

/* dst[d, i] = scale src[i, d]. dst has rows of `width` elements, whole vecs; those past n repeat the
 * last row of src. */
static void TN_R(transpose)(T *dst, int64_t width, const T *src, int64_t row, int64_t n,
                            int64_t depth, T scale)
{
    enum { step = 16 / sizeof(T), lanes = TN__BITS / 8 / sizeof(T) };
    const reg by = scale - (reg){ 0 };
    for (int64_t l = 0; l < width; l += lanes) {
        int64_t at[lanes], d = 0;
        for (int i = 0; i < lanes; i++) at[i] = (l + i < n ? l + i : n - 1) * row;
        for (; d + step <= depth; d += step) {
            reg out[step];
            TN_R(columns)(out, src + d, at);
            for (int c = 0; c < step; c++) TN_R(reg_store)(dst + (d + c) * width + l, by * out[c]);
        }
        for (; d < depth; d++)
            for (int i = 0; i < lanes; i++) dst[d * width + l + i] = scale * src[at[i] + d];
    }
}

/* The next n elements of scratch, which starts on a 64-byte boundary; n is rounded up to whole vecs. */
TN_INLINE void *TN_R(carve)(T **scratch, int64_t n)
{
    T *p = *scratch;
    *scratch += (n + v_lanes - 1) / v_lanes * v_lanes;
    return p;
}

/* Rows of whole vecs: where they lie, or a padded copy side by side. Rows of a projection that are read
 * by many blocks are copied: at their distance they fight for the same lines of the first cache. */
typedef struct TN_R(rows) {
    T      *p;
    int64_t row;
} TN_R(rows);

/* dst[i, :] = src[i, 0 .. depth), then zeros up to dst.row. */
static void TN_R(pad_rows)(TN_R(rows) dst, const T *src, int64_t row, int64_t n, int64_t depth)
{
    for (int64_t i = 0; i < n; i++, dst.p += dst.row, src += row)
        for (int64_t d = 0; d < dst.row; d += v_lanes)
            v_store(dst.p + d, v_load_part(src + d, depth - d, 0));
}

static TN_R(rows) TN_R(rows_for)(const T *at, int64_t row, int64_t n, int64_t depth, bool copies, T **scratch)
{
    const int64_t pad = tn__attention_pad(depth, sizeof(T));
    if (!copies && pad == depth) return (TN_R(rows)){ (T *)(uintptr_t)at, row };
    return (TN_R(rows)){ TN_R(carve)(scratch, n * pad), pad };
}

/* To be read. */
static TN_R(rows) TN_R(rows_of)(const void *base, int64_t first, int64_t row, int64_t n, int64_t depth,
                                bool copies, T **scratch)
{
    const T         *at = (const T *)base + first * row;
    const TN_R(rows) x = TN_R(rows_for)(at, row, n, depth, copies, scratch);
    if (x.p != at) TN_R(pad_rows)(x, at, row, n, depth);
    return x;
}

/* Rows that were written go home, if they are elsewhere. */
static void TN_R(put_rows)(TN_R(rows) x, void *base, int64_t first, int64_t row, int64_t n, int64_t depth)
{
    T *at = (T *)base + first * row;
    for (int64_t i = 0; i < n && x.p != at; i++)
        for (int64_t d = 0; d < depth; d += v_lanes)
            v_store_part(at + i * row + d, depth - d, v_load(x.p + i * x.row + d));
}

static void TN_R(clear_rows)(void *base, int64_t first, int64_t row, int64_t n, int64_t depth)
{
    for (int64_t i = 0; i < n; i++) memset((T *)base + (first + i) * row, 0, (size_t)depth * sizeof(T));
}

/* ---- 2^x --------------------------------------------------------------------------------------- */

/* 2^x for x <= 0 (and NaN); 0 where it would not be a normal number, so for -inf. x = n + f with an
 * integer n and |f| <= 1/2; 2^f by a polynomial whose error is 2^-28 (f32) and 2^-55 (f64) relative,
 * 1 at 0 (Remez). Adding `magic` leaves n + bias in the low bits. */
TN_INLINE reg TN_R(reg_exp2)(reg x)
{
    static const double c32[] = { 0.693147242069244, 0.240226522088051, 0.0555031038820744,
                                  0.00961769279092550, 0.00134066597092897, 1.55947185703553e-4 };
    static const double c64[] = { 0.69314718055994573,     0.24022650695910097,
                                  0.055504108664790372,    0.0096181291076069854,
                                  0.0013333558153444181,   0.00015403530441601037,
                                  1.5252727382615871e-05,  1.3215442657685074e-06,
                                  1.0180648174432433e-07,  7.0725739457588305e-09,
                                  4.0780725444187853e-10 };
    const bool    is_f32 = sizeof(T) == 4;
    const T       magic = is_f32 ? (T)0x1.8p23 + 127 : (T)0x1.8p52 + 1023;
    const double *c = is_f32 ? c32 : c64;
    const int     degree = is_f32 ? 6 : 11;
    const reg     zero = { 0 }, least = (T)(is_f32 ? -127 : -1023) - zero;
    x = TN_R(reg_max)(least, x);
    const reg t = x + magic, f = x - (t - magic);
    reg       y = (T)c[degree - 1] - zero;
    for (int i = degree - 2; i >= 0; i--) y = TN_R(reg_fma)(y, f, (T)c[i] - zero);
    y = TN_R(reg_fma)(y, f, (T)1 - zero);
    return y * (reg)((ireg)t << (is_f32 ? 23 : 52));
}

TN_INLINE vec TN_R(v_exp2)(vec x)
{
    for (int r = 0; r < regs; r++) x.r[r] = TN_R(reg_exp2)(x.r[r]);
    return x;
}
