/* 2^x for attention. Included by attention_product.h once per dtype.
 *
 * x = n + r with an integer n and |r| <= 1/2; 2^r by a polynomial, 1 at 0 (Remez), whose error is
 * 2^-23.4 (f32; 1.7e-7 at most with its roundings) and 2^-55 (f64) relative. Adding `magic` leaves
 * n + bias in the low bits, from where it is shifted into an exponent. Where x is counted from an
 * integer m, as scores are from a maximum, adding magic - m subtracts that too, with r exact. */

#undef BIAS
#define BIAS (sizeof(T) == 4 ? 127 : 1023)

/* Adding it rounds to an integer; its bits, where the integer is 0. */
#undef ROUND
#define ROUND (sizeof(T) == 4 ? (T)0x1.8p23 : (T)0x1.8p52)
static const word TN_R(round_bits) = (word)(sizeof(T) == 4 ? 0x4b400000 : 0x4338000000000000);

static const T TN_R(magic) = ROUND + BIAS;
static const T TN_R(least) = -BIAS; /* 2^x is 0 there, and would not be a normal number */

/* x becomes 2^(x - m), where round is magic - m and x - m is in [least, bias]. power is the sum
 * with n + bias in its low bits. */
TN_INLINE void TN_R(exp2_regs)(reg *x, reg *power, const reg *round, const int n)
{
    static const T c32[] = { (T)0x1.62e42ap-1, (T)0x1.ebf9bcp-3, (T)0x1.c6b752p-5,
                             (T)0x1.3cea88p-7, (T)0x1.5bba14p-10 };
    static const T c64[] = { (T)0.69314718055994573,     (T)0.24022650695910097,
                             (T)0.055504108664790372,    (T)0.0096181291076069854,
                             (T)0.0013333558153444181,   (T)0.00015403530441601037,
                             (T)1.5252727382615871e-05,  (T)1.3215442657685074e-06,
                             (T)1.0180648174432433e-07,  (T)7.0725739457588305e-09,
                             (T)4.0780725444187853e-10 };
    enum { is_f32 = sizeof(T) == 4, degree = is_f32 ? 5 : 11, most = 8 };
    const T  *c = is_f32 ? c32 : c64;
    const reg zero = { 0 };
    reg       y[most];
    UNROLL for (int i = 0; i < n; i++) power[i] = x[i] + round[i];
    UNROLL for (int i = 0; i < n; i++) x[i] -= power[i] - round[i];
    UNROLL for (int i = 0; i < n; i++) y[i] = (T)c[degree - 1] - zero;
    UNROLL for (int d = degree - 2; d >= 0; d--)
        UNROLL for (int i = 0; i < n; i++) y[i] = TN_R(reg_fma)(y[i], x[i], c[d] - zero);
    UNROLL for (int i = 0; i < n; i++) y[i] = TN_R(reg_fma)(y[i], x[i], (T)1 - zero);
    UNROLL for (int i = 0; i < n; i++)
        x[i] = y[i] * (reg)((ireg)power[i] << (is_f32 ? 23 : 52));
}

/* Vecs whose exponentials are made together, since each waits for its own steps; one on the
 * baseline, whose code is to be small. */
enum { TN_R(at_once) = TN__BITS == 512 ? 4 : MR > 2 ? 2 : 1 };

/* 2^(x - m) for x - m <= 0 (and NaN), where round is magic - m and lowest is m + least; 0 where it
 * would not be a normal number, so for -inf. With `strange` there is no bound: instead, other bits
 * than the low ones are set there where x - m, rounded, is not in [least, 0]. */
TN_INLINE void TN_R(exp2_of)(vec *v, const int n, vec round, vec lowest, ireg *strange)
{
    reg       x[TN_R(at_once) * regs], power[TN_R(at_once) * regs], rounds[TN_R(at_once) * regs];
    const int m = n * regs;
    UNROLL for (int i = 0; i < m; i++) rounds[i] = round.r[i % regs];
    UNROLL for (int i = 0; i < m; i++)
        x[i] = strange ? v[i / regs].r[i % regs]
            : TN_R(reg_max)(lowest.r[i % regs], v[i / regs].r[i % regs]);
    TN_R(exp2_regs)(x, power, rounds, m);
    if (strange)
        UNROLL for (int i = 0; i < m; i++) *strange |= (ireg)power[i] ^ TN_R(round_bits);
    UNROLL for (int i = 0; i < m; i++) v[i / regs].r[i % regs] = x[i];
}

TN_INLINE vec TN_R(v_exp2)(vec x)
{
    TN_R(exp2_of)(&x, 1, TN_R(all)(TN_R(magic)), TN_R(all)(TN_R(least)), NULL);
    return x;
}
