/* Parts of attention that know no mask and no softmax: transposing and padding of rows.
 * Included by attention.c once per dtype. */

/* ---- moving ---------------------------------------------------------------------------------- */

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

/* dst[d, i] = scale src[i, d]. dst has rows of `width` elements, whole vecs; those past n repeat
 * the last row of src. */
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

/* The next n elements of scratch, which starts on a 64-byte boundary; n is rounded up to whole
 * vecs. */
TN_INLINE void *TN_R(carve)(T **scratch, int64_t n)
{
    T *p = *scratch;
    *scratch += (n + v_lanes - 1) / v_lanes * v_lanes;
    return p;
}

/* Rows of whole vecs: where they lie, or a padded copy side by side. Rows of a projection that are
 * read by many blocks are copied: at their distance they fight for the same lines of the first
 * cache. */
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

static TN_R(rows) TN_R(rows_for)(const T *at, int64_t row, int64_t n, int64_t depth, bool copies,
                                 T **scratch)
{
    const int64_t pad = tn__attention_pad(depth, sizeof(T));
    if (!copies && pad == depth) return (TN_R(rows)){ (T *)(uintptr_t)at, row };
    return (TN_R(rows)){ TN_R(carve)(scratch, n * pad), pad };
}

/* To be read. */
static __attribute__((noinline)) TN_R(rows)
TN_R(rows_of)(const void *base, int64_t first, int64_t row, int64_t n, int64_t depth, bool copies,
              T **scratch)
{
    const T         *at = (const T *)base + first * row;
    const TN_R(rows) x = TN_R(rows_for)(at, row, n, depth, copies, scratch);
    if (x.p != at) TN_R(pad_rows)(x, at, row, n, depth);
    return x;
}

/* Rows that were written go home, if they are elsewhere. */
static void TN_R(put_rows)(TN_R(rows) x, void *base, int64_t first, int64_t row, int64_t n,
                           int64_t depth)
{
    T *at = (T *)base + first * row;
    for (int64_t i = 0; i < n && x.p != at; i++)
        for (int64_t d = 0; d < depth; d += v_lanes)
            v_store_part(at + i * row + d, depth - d, v_load(x.p + i * x.row + d));
}

static void TN_R(clear_rows)(void *base, int64_t first, int64_t row, int64_t n, int64_t depth)
{
    for (int64_t i = 0; i < n; i++)
        memset((T *)base + (first + i) * row, 0, (size_t)depth * sizeof(T));
}
