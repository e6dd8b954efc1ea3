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
#  define MR 3
#  define NV 1
#endif

TN_INLINE vec TN_R(all)(T x)
{
    vec a;
    for (int r = 0; r < regs; r++) a.r[r] = x - (reg){ 0 }; /* x - 0 is x, and costs nothing */
    return a;
}

/* C = A B, or C += A B. C is [rows, 64 cols bytes], B[k, x] at k b_row + x. A[r, k] is at r a_row + k,
 * or with `turned` at k a_row + r. */
typedef struct TN_R(product) {
    T       *c;
    int64_t  c_row;
    const T *a;
    int64_t  a_row;
    const T *b;
    int64_t  b_row;
    int64_t  rows, cols, depth;
    bool     adds;
} TN_R(product);

/* One tile: each element is one chain of fused multiply-adds in rising order of k. */
TN_INLINE void TN_R(tile)(const TN_R(product) *p, T *c, const T *a, const T *b, int mr, int nv,
                          bool turned)
{
    vec           acc[MR][NV];
    const int64_t c_row = p->c_row, a_row = p->a_row, b_row = p->b_row, depth = p->depth;
    for (int r = 0; r < mr; r++)
        for (int x = 0; x < nv; x++)
            acc[r][x] = p->adds ? v_load(c + r * c_row + x * v_lanes) : TN_R(all)(0);
    for (int64_t k = 0; k < depth; k++) {
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
    int64_t       r = 0;
    const int64_t a_step = turned ? 1 : p->a_row;
#define TILE(n)                                                                                    \
    TN_R(tile)(p, p->c + r * p->c_row + x * v_lanes, p->a + r * a_step, p->b + x * v_lanes, n, nv, \
               turned)
    for (; p->rows - r >= MR; r += MR) TILE(MR);
    for (; MR > 4 && p->rows - r >= 4; r += 4) TILE(MR > 4 ? 4 : MR);
    for (; p->rows - r >= 2; r += 2) TILE(2);
    for (; p->rows - r >= 1; r += 1) TILE(1);
#undef TILE
}

TN_INLINE void TN_R(any_product)(const TN_R(product) *p, bool turned)
{
    int64_t x = 0;
    for (; p->cols - x >= NV; x += NV) TN_R(stripe)(p, x, NV, turned);
    for (; p->cols - x >= 1; x += 1) TN_R(stripe)(p, x, 1, turned);
}

__attribute__((noinline)) static void TN_R(multiply)(TN_R(product) p) { TN_R(any_product)(&p, false); }

__attribute__((noinline)) static void TN_R(multiply_turned)(TN_R(product) p)
{
    TN_R(any_product)(&p, true);
}

/* ---- moving ----------------------------------------------------------------------------------- */

/* dst[d, i] = scale src[i, d]; dst has rows of `width` elements, those past n are 0. */
static void TN_R(transpose)(T *dst, int64_t width, const T *src, int64_t row, int64_t n,
                            int64_t depth, T scale)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < depth; d++) dst[d * width + i] = scale * src[i * row + d];
    for (int64_t d = 0; d < depth; d++)
        for (int64_t i = n; i < width; i++) dst[d * width + i] = 0;
}

/* dst[i, :] = src[i, 0 .. depth), then zeros up to dst_row. */
static void TN_R(pad_rows)(T *dst, int64_t dst_row, const T *src, int64_t row, int64_t n,
                           int64_t depth)
{
    for (int64_t i = 0; i < n; i++, dst += dst_row, src += row)
        for (int64_t d = 0; d < dst_row; d += v_lanes)
            v_store(dst + d, v_load_part(src + d, depth - d, 0));
}

static void TN_R(unpad_rows)(T *dst, int64_t row, const T *src, int64_t src_row, int64_t n,
                             int64_t depth)
{
    for (int64_t i = 0; i < n; i++, dst += row, src += src_row)
        for (int64_t d = 0; d < depth; d += v_lanes)
            v_store_part(dst + d, depth - d, v_load(src + d));
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
