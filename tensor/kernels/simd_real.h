/* The body of simd.h for one dtype: included there twice, never elsewhere. */

#define reg   TN_CAT(reg, TN_REAL)   /* a register of the level, */
#define bits  TN_CAT(bits, TN_REAL)  /* the same as integers, */
#define quad  TN_CAT(quad, TN_REAL)  /* and the 16 bytes that trees end in */

typedef T reg __attribute__((vector_size(TN__BITS / 8)));
typedef TN__INT bits __attribute__((vector_size(TN__BITS / 8)));
typedef T quad __attribute__((vector_size(16)));

/* Of one block: lanes, lanes of a register, registers. */
enum {
    v_lanes = 64 / sizeof(T),
    TN_R(reg_lanes) = TN__BITS / 8 / sizeof(T),
    TN_R(regs) = 512 / TN__BITS
};
#define reg_lanes TN_R(reg_lanes)
#define regs      TN_R(regs)

typedef struct vec {
    reg r[512 / TN__BITS];
} vec;

/* ---- one register ------------------------------------------------------------------------- */

TN_INLINE reg TN_R(reg_set)(T x)
{
    reg a = { 0 };
    return a + x;   /* x + 0 is x; -0 becomes 0 */
}

TN_INLINE reg TN_R(reg_load)(const T *p)
{
    reg a;
    __builtin_memcpy(&a, p, sizeof a);
    return a;
}

TN_INLINE void TN_R(reg_store)(T *p, reg a) { __builtin_memcpy(p, &a, sizeof a); }

TN_INLINE reg TN_R(reg_fma)(reg a, reg b, reg c)
{
#if defined __FMA__
    return (reg)TN__MM(fmadd)(a, b, c);
#elif defined __aarch64__
    return (reg)TN__VQ(vfma)(c, a, b);
#else
    return a * b + c;
#endif
}

TN_INLINE reg TN_R(reg_max)(reg a, reg b)
{
#if defined __x86_64__
    return (reg)TN__MM(max)(a, b);
#elif defined __aarch64__
    return (reg)TN__VQ(vbsl)(TN__VQ(vcgt)(a, b), a, b);
#else
    for (int i = 0; i < reg_lanes; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
#endif
}

TN_INLINE reg TN_R(reg_min)(reg a, reg b)
{
#if defined __x86_64__
    return (reg)TN__MM(min)(a, b);
#elif defined __aarch64__
    return (reg)TN__VQ(vbsl)(TN__VQ(vclt)(a, b), a, b);
#else
    for (int i = 0; i < reg_lanes; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
#endif
}

TN_INLINE reg TN_R(reg_sqrt)(reg a)
{
#if defined __x86_64__
    return (reg)TN__MM(sqrt)(a);
#elif defined __aarch64__
    return (reg)TN__VQ(vsqrt)(a);
#else
    for (int i = 0; i < reg_lanes; i++) a[i] = (T)__builtin_sqrt(a[i]);
    return a;
#endif
}

/* Lanes of y where x is at least `least` or NaN; 0 in the others. */
TN_INLINE reg TN_R(reg_where_from)(reg x, T least, reg y)
{
#if defined __AVX512F__
    return (reg)TN__MM(maskz_mov)(TN_CAT(TN__MM(cmp), mask)(x, TN_R(reg_set)(least), _CMP_NLT_UQ),
                                  y);
#else
    return (reg)((bits)y & ~(bits)(x < TN_R(reg_set)(least)));
#endif
}

/* e^x to about an ulp; 0 below the normal numbers, and of 2^127.. (2^1023..) no more is made than
 * e^88.3 (e^709.4): it is meant for x <= 0, as softmax has it, where it is twice as fast as
 * tn__exp.
 *
 * x = n ln 2 + r, |r| <= ln(2) / 2: adding `round` leaves n and the exponent's bias in the low
 * bits, ln 2 is in two parts so short that n times the first is exact, and e^r = 1 + r + r^2 q(r)
 * with a minimax q (error 5e-9 in f32, 2e-17 in f64). NaN stays NaN. */
TN_INLINE reg TN_R(reg_exp)(reg x0)
{
    static const T q32[] = { (T)0x1.6bbc16p-10, (T)0x1.12424p-7, (T)0x1.555754p-5, (T)0x1.555486p-3,
                             (T)0x1.fffffcp-2 };
    static const T q64[] = { (T)0x1.af38d53857513p-26, (T)0x1.2891a8c1d838dp-22,
                             (T)0x1.71de0d9c145d0p-19, (T)0x1.a019b8ef67c6cp-16,
                             (T)0x1.a01a01a7c8d47p-13, (T)0x1.6c16c17893833p-10,
                             (T)0x1.11111111109adp-7,  (T)0x1.5555555553d4fp-5,
                             (T)0x1.5555555555556p-3,  (T)0x1.0000000000001p-1 };
    enum { f64 = sizeof(T) == 8, degree = f64 ? 9 : 4 };
    const T *c = f64 ? q64 : q32;
    const T  least = f64 ? (T)-708.39 : (T)-87.33, most = f64 ? (T)709.4 : (T)88.3;
    const T  round = f64 ? (T)(0x1.8p52 + 1023) : (T)(0x1.8p23 + 127);
    const T  hi = f64 ? (T)0.69314718055989033 : (T)0.693145752;
    const T  lo = f64 ? (T)5.4979230187083712e-14 : (T)1.42860677e-6;
    reg      x = TN_R(reg_max)(TN_R(reg_set)(least), TN_R(reg_min)(TN_R(reg_set)(most), x0));
    reg      t = TN_R(reg_fma)(x, TN_R(reg_set)((T)1.44269504088896341), TN_R(reg_set)(round));
    reg      n = t - TN_R(reg_set)(round);
    reg      r = TN_R(reg_fma)(n, TN_R(reg_set)(-lo), TN_R(reg_fma)(n, TN_R(reg_set)(-hi), x));
    reg      q = TN_R(reg_set)(c[0]);
    for (int i = 1; i <= degree; i++) q = TN_R(reg_fma)(q, r, TN_R(reg_set)(c[i]));
    reg power = (reg)((bits)t << (f64 ? 52 : 23));
    return TN_R(reg_where_from)(x0, least, TN_R(reg_fma)(TN_R(reg_fma)(r * r, q, r), power, power));
}

/* ---- one block ------------------------------------------------------------------------------ */

TN_INLINE vec v_set(T x)
{
    vec a;
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_set)(x);
    return a;
}

TN_INLINE vec v_load(const T *p)
{
    vec a;
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_load)(p + r * reg_lanes);
    return a;
}

TN_INLINE void v_store(T *p, vec a)
{
    for (int r = 0; r < regs; r++) TN_R(reg_store)(p + r * reg_lanes, a.r[r]);
}

#if defined __AVX512F__

TN_INLINE __mmask16 TN_R(mask_of)(int64_t n) { return (__mmask16)((1u << n) - 1); }

#elif defined __AVX2__

/* The first n lanes of a register; n <= 0: none. */
TN_INLINE __m256i TN_R(mask_of)(int64_t n)
{
    static const int32_t on[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    const int64_t        words = (n < 0 ? 0 : n > reg_lanes ? reg_lanes
                                  : n) * (int64_t)sizeof(T) / 4;
    return _mm256_loadu_si256((const __m256i *)(const void *)(on + 8 - words));
}

#else

TN_UNUSED __attribute__((noinline)) static vec TN_R(load_few)(const T *p, int64_t n, T fill)
{
    T lane[v_lanes];
    for (int i = 0; i < v_lanes; i++) lane[i] = i < n ? p[i] : fill;
    return v_load(lane);
}

TN_UNUSED __attribute__((noinline)) static void TN_R(store_few)(T *p, int64_t n, vec a)
{
    T lane[v_lanes];
    v_store(lane, a);
    for (int i = 0; i < n; i++) p[i] = lane[i];
}

#endif

TN_INLINE vec v_load_part(const T *p, int64_t n, T fill)
{
    if (n >= v_lanes) return v_load(p);
#if defined __AVX512F__
    vec a = v_set(fill);
    a.r[0] = (reg)TN__MM(mask_loadu)(a.r[0], TN_R(mask_of)(n), p);
    return a;
#elif defined __AVX2__
    vec a = v_set(fill);
    for (int r = 0; r < regs; r++) {
        const __m256i mask = TN_R(mask_of)(n - r * reg_lanes);
        const reg     x = (reg)TN__MM(maskload)(p + r * reg_lanes, mask);
        a.r[r] = (reg)TN__MM(blendv)(a.r[r], x, TN_CAT(_mm256_castsi256, TN__P)(mask));
    }
    return a;
#else
    return TN_R(load_few)(p, n, fill);
#endif
}

TN_INLINE void v_store_part(T *p, int64_t n, vec a)
{
    if (n >= v_lanes) {
        v_store(p, a);
        return;
    }
#if defined __AVX512F__
    TN__MM(mask_storeu)(p, TN_R(mask_of)(n), a.r[0]);
#elif defined __AVX2__
    for (int r = 0; r < regs; r++)
        TN__MM(maskstore)(p + r * reg_lanes, TN_R(mask_of)(n - r * reg_lanes), a.r[r]);
#else
    TN_R(store_few)(p, n, a);
#endif
}

TN_INLINE vec v_add(vec a, vec b)
{
    for (int r = 0; r < regs; r++) a.r[r] += b.r[r];
    return a;
}

TN_INLINE vec v_sub(vec a, vec b)
{
    for (int r = 0; r < regs; r++) a.r[r] -= b.r[r];
    return a;
}

TN_INLINE vec v_mul(vec a, vec b)
{
    for (int r = 0; r < regs; r++) a.r[r] *= b.r[r];
    return a;
}

TN_INLINE vec v_div(vec a, vec b)
{
    for (int r = 0; r < regs; r++) a.r[r] /= b.r[r];
    return a;
}

TN_INLINE vec v_fma(vec a, vec b, vec c)
{
    for (int r = 0; r < regs; r++) c.r[r] = TN_R(reg_fma)(a.r[r], b.r[r], c.r[r]);
    return c;
}

TN_INLINE vec v_max(vec a, vec b)
{
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_max)(a.r[r], b.r[r]);
    return a;
}

TN_INLINE vec v_min(vec a, vec b)
{
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_min)(a.r[r], b.r[r]);
    return a;
}

TN_INLINE vec v_exp(vec a)
{
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_exp)(a.r[r]);
    return a;
}

TN_INLINE vec v_drop_below(vec a, T least)
{
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_where_from)(a.r[r], least, a.r[r]);
    return a;
}

TN_INLINE vec v_sqrt(vec a)
{
    for (int r = 0; r < regs; r++) a.r[r] = TN_R(reg_sqrt)(a.r[r]);
    return a;
}

/* The 16 bytes number i of a block. */
TN_INLINE quad TN_R(quad_of)(vec a, int i)
{
    quad q;
    __builtin_memcpy(&q, (const char *)&a + 16 * i, sizeof q);
    return q;
}

/* The same with the 16 bytes that trees end in. */
TN_INLINE quad TN_R(quad_max)(quad a, quad b)
{
#if defined __x86_64__
    return (quad)TN_CAT(_mm_max, TN__P)(a, b);
#elif defined __aarch64__
    return (quad)TN__VQ(vbsl)(TN__VQ(vcgt)(a, b), a, b);
#else
    for (int i = 0; i < 16 / (int)sizeof(T); i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
#endif
}

TN_INLINE quad TN_R(quad_min)(quad a, quad b)
{
#if defined __x86_64__
    return (quad)TN_CAT(_mm_min, TN__P)(a, b);
#elif defined __aarch64__
    return (quad)TN__VQ(vbsl)(TN__VQ(vclt)(a, b), a, b);
#else
    for (int i = 0; i < 16 / (int)sizeof(T); i++) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
#endif
}

/* Lanes half a vector apart are combined until one is left. */
TN_INLINE T v_sum(vec a)
{
    quad q = (TN_R(quad_of)(a, 0) + TN_R(quad_of)(a, 2)) + (TN_R(quad_of)(a, 1) + TN_R(quad_of)(a,
                                                                                                3));
    enum { half = v_lanes / 8 }; /* of the lanes of a quad */
    return half == 1 ? q[0] + q[1] : (q[0] + q[half]) + (q[1] + q[2 * half - 1]);
}

TN_INLINE T TN_R(larger)(T a, T b) { return a > b ? a : b; }
TN_INLINE T TN_R(smaller)(T a, T b) { return a < b ? a : b; }

TN_INLINE T v_hmax(vec a)
{
    quad q = TN_R(quad_max)(TN_R(quad_max)(TN_R(quad_of)(a, 0), TN_R(quad_of)(a, 2)),
                            TN_R(quad_max)(TN_R(quad_of)(a, 1), TN_R(quad_of)(a, 3)));
    enum { half = v_lanes / 8 };
    return half == 1 ? TN_R(larger)(q[0], q[1])
                     : TN_R(larger)(TN_R(larger)(q[0], q[half]),
                                    TN_R(larger)(q[1], q[2 * half - 1]));
}

TN_INLINE T v_hmin(vec a)
{
    quad q = TN_R(quad_min)(TN_R(quad_min)(TN_R(quad_of)(a, 0), TN_R(quad_of)(a, 2)),
                            TN_R(quad_min)(TN_R(quad_of)(a, 1), TN_R(quad_of)(a, 3)));
    enum { half = v_lanes / 8 };
    return half == 1 ? TN_R(smaller)(q[0], q[1])
                     : TN_R(smaller)(TN_R(smaller)(q[0], q[half]),
                                     TN_R(smaller)(q[1], q[2 * half - 1]));
}

#undef reg
#undef bits
#undef quad
#undef reg_lanes
#undef regs
