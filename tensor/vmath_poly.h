/* The polynomials and constants of tensor/vmath.h, made by scripts/minimax.py: do not edit. The
 * bound beside a polynomial is that of its largest error relative to the function made from it. */
#ifndef TN_TENSOR_VMATH_POLY_H
#define TN_TENSOR_VMATH_POLY_H

#include "tensor/vmath_base.h"

/* log(2), the first part short */
#define TN__LN2_HI_F32 0.693145752f
#define TN__LN2_LO_F32 1.42860677e-6f
#define TN__LN2_HI_F64 0.69314718055989033
#define TN__LN2_LO_F64 5.4979230187083712e-14
/* 1 / log(2), the first part short */
#define TN__LOG2E_HI_F32 1.44287109f
#define TN__LOG2E_LO_F32 -1.76052854e-4f
#define TN__LOG2E_HI_F64 1.4426950514316559
#define TN__LOG2E_LO_F64 -1.0542692476429138e-8
/* 1 / log(10), the first part short */
#define TN__LOG10E_HI_F32 0.434326172f
#define TN__LOG10E_LO_F32 -3.16899714e-5f
#define TN__LOG10E_HI_F64 0.43429448455572128
#define TN__LOG10E_LO_F64 -2.6524694553078553e-9
/* log10(2), the first part short */
#define TN__LOG10_2_HI_F32 0.301025391f
#define TN__LOG10_2_LO_F32 4.60503907e-6f
#define TN__LOG10_2_HI_F64 0.30102999566395283
#define TN__LOG10_2_LO_F64 2.8363394551044964e-14
/* 1 / log(2) */
#define TN__LOG2E_F32 1.44269502f
#define TN__LOG2E_F64 1.4426950408889634
/* log(2) */
#define TN__LN2_F32 0.693147182f
#define TN__LN2_REST_F32 -1.90465421e-9f
#define TN__LN2_F64 0.69314718055994529
#define TN__LN2_REST_F64 2.3190468138462996e-17
/* pi / 2 */
#define TN__HALF_PI_F32 1.57079637f
#define TN__HALF_PI_REST_F32 -4.37113883e-8f
#define TN__HALF_PI_F64 1.5707963267948966
#define TN__HALF_PI_REST_F64 6.1232339957367660e-17
/* pi / 4, the first part short */
#define TN__QUARTER_PI_HI_F32 0.785398006f
#define TN__QUARTER_PI_LO_F32 1.56958237e-7f
#define TN__QUARTER_PI_HI_F64 0.78539816339744828
#define TN__QUARTER_PI_LO_F64 3.0616169978683830e-17
/* 1 / sqrt(2 pi) */
#define TN__INV_ROOT_2PI_F32 0.398942292f
#define TN__INV_ROOT_2PI_F64 0.39894228040143270
/* sqrt(pi) */
#define TN__ROOT_PI_F32 1.77245390f
#define TN__ROOT_PI_F64 1.7724538509055161
/* sqrt(2 pi) */
#define TN__ROOT_2PI_F32 2.50662827f
#define TN__ROOT_2PI_F64 2.5066282746310007
/* sqrt(8 / pi) */
#define TN__ROOT_8_PI_F32 1.59576917f
#define TN__ROOT_8_PI_F64 1.5957691216057308
/* 0.044715 sqrt(8 / pi) */
#define TN__GELU_CUBE_F32 0.0713548139f
#define TN__GELU_CUBE_F64 0.071354816272600249
/* sqrt(8 / pi) / log(2) */
#define TN__ROOT_8_PI_LOG2E_F32 2.30220819f
/* 0.044715 sqrt(8 / pi) / log(2) */
#define TN__GELU_CUBE_LOG2E_F32 0.102943242f
/* 2/3 */
#define TN__TWO_THIRDS_F64 0.66666666666666663
#define TN__TWO_THIRDS_REST_F64 3.7007434154171883e-17
/* 1 / pi */
#define TN__INV_PI_F64 0.31830988618379069
/* 2 / pi */
#define TN__TWO_OVER_PI_F64 0.63661977236758138
/* pi / 2, all but the last short */
#define TN__HALF_PI_1_F64 1.5707963267948966
#define TN__HALF_PI_2_F64 6.1232339957367673e-17
#define TN__HALF_PI_3_F64 -1.3823336548937480e-32
/* 2 / pi in binary, from the first bit after the point; a word of zeros before it */
#define TN__TWO_OVER_PI_BITS \
    0, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, \
    0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, \
    0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, \
    0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, \
    0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d

/* (e^r - 1 - r) / r^2, |r| <= log(2) / 2; 2^-30.3 */
TN_INLINE float tn__poly_exp_f32(float t, int fused)
{
    float p = 1.98457128e-4f;
    p = tn__fma_f32(p, t, 1.39406847e-3f, fused);
    p = tn__fma_f32(p, t, 8.33346322e-3f, fused);
    p = tn__fma_f32(p, t, 0.0416664183f, fused);
    p = tn__fma_f32(p, t, 0.166666657f, fused);
    p = tn__fma_f32(p, t, 0.500000000f, fused);
    return p;
}

/* (e^r - 1 - r) / r^2, |r| <= log(2) / 2; 2^-61.0 */
TN_INLINE double tn__poly_exp_f64(double t, int fused)
{
    const double u = t * t;
    double even = 2.0875462063700897e-9;
    even = tn__fma_f64(even, u, 2.7557402400190663e-7, fused);
    even = tn__fma_f64(even, u, 2.4801587172595636e-5, fused);
    even = tn__fma_f64(even, u, 1.3888888888962479e-3, fused);
    even = tn__fma_f64(even, u, 0.041666666666666519, fused);
    even = tn__fma_f64(even, u, 0.50000000000000000, fused);
    double odd = 2.5109042186993025e-8;
    odd = tn__fma_f64(odd, u, 2.7557244207889678e-6, fused);
    odd = tn__fma_f64(odd, u, 1.9841269886114647e-4, fused);
    odd = tn__fma_f64(odd, u, 8.3333333333216169e-3, fused);
    odd = tn__fma_f64(odd, u, 0.16666666666666677, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (e^r - 1 - r) / r^2, |r| <= log(2) / 2; 2^-37.5 */
TN_INLINE double tn__poly_exp_f32_wide(double t, int fused)
{
    const double u = t * t;
    double even = 2.4796473194984509e-5;
    even = tn__fma_f64(even, u, 1.3888985132412262e-3, fused);
    even = tn__fma_f64(even, u, 0.041666665953591267, fused);
    even = tn__fma_f64(even, u, 0.50000000001051026, fused);
    double odd = 1.9904926761556203e-4;
    odd = tn__fma_f64(odd, u, 8.3332890305295310e-3, fused);
    odd = tn__fma_f64(odd, u, 0.16666666754202011, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (2^f - 1) / f, |f| <= 1/2; 2^-27.6 */
TN_INLINE float tn__poly_exp2_f32(float t, int fused)
{
    float p = 1.53536501e-4f;
    p = tn__fma_f32(p, t, 1.33989076e-3f, fused);
    p = tn__fma_f32(p, t, 9.61854123e-3f, fused);
    p = tn__fma_f32(p, t, 0.0555034503f, fused);
    p = tn__fma_f32(p, t, 0.240226462f, fused);
    p = tn__fma_f32(p, t, 0.693147182f, fused);
    return p;
}

/* (log(1 + f) - f + f^2 / 2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2); 2^-29.9 */
TN_INLINE float tn__poly_log_f32(float t, int fused)
{
    const float u = t * t;
    float even = 0.0674689561f;
    even = tn__fma_f32(even, u, 0.118881464f, fused);
    even = tn__fma_f32(even, u, 0.142194897f, fused);
    even = tn__fma_f32(even, u, 0.200021133f, fused);
    even = tn__fma_f32(even, u, 0.333333135f, fused);
    float odd = -0.116758339f;
    odd = tn__fma_f32(odd, u, -0.124055527f, fused);
    odd = tn__fma_f32(odd, u, -0.166679606f, fused);
    odd = tn__fma_f32(odd, u, -0.250000119f, fused);
    return tn__fma_f32(odd, t, even, fused);
}

/* (log(1 + e) - e) / e^2 in e - 1/2, 0 <= e <= 1; 2^-27.0 */
TN_INLINE float tn__poly_log1p_unit_f32(float t, int fused)
{
    const float u = t * t;
    float even = -3.31856497e-3f;
    even = tn__fma_f32(even, u, -0.0101777017f, fused);
    even = tn__fma_f32(even, u, -0.0289049968f, fused);
    even = tn__fma_f32(even, u, -0.0932318568f, fused);
    even = tn__fma_f32(even, u, -0.378139555f, fused);
    float odd = 6.93075359e-3f;
    odd = tn__fma_f32(odd, u, 0.0166569781f, fused);
    odd = tn__fma_f32(odd, u, 0.0510890596f, fused);
    odd = tn__fma_f32(odd, u, 0.179224879f, fused);
    return tn__fma_f32(odd, t, even, fused);
}

/* (log(1 + e) - e) / e^2 in e - 1/2, 0 <= e <= 1; 2^-56.8 */
TN_INLINE double tn__poly_log1p_unit_f64(double t, int fused)
{
    const double u = t * t;
    double even = -2.1943586756641727e-5;
    even = tn__fma_f64(even, u, -2.7296620887921942e-5, fused);
    even = tn__fma_f64(even, u, -8.1957047462179099e-5, fused);
    even = tn__fma_f64(even, u, -2.0217268042240524e-4, fused);
    even = tn__fma_f64(even, u, -5.1693943120131294e-4, fused);
    even = tn__fma_f64(even, u, -1.3444953091382495e-3, fused);
    even = tn__fma_f64(even, u, -3.5856666760051654e-3, fused);
    even = tn__fma_f64(even, u, -9.9099007111791426e-3, fused);
    even = tn__fma_f64(even, u, -0.028943183165203546, fused);
    even = tn__fma_f64(even, u, -0.093230366363665149, fused);
    even = tn__fma_f64(even, u, -0.37813956756734246, fused);
    double odd = 1.0900176201264844e-5;
    odd = tn__fma_f64(odd, u, 2.1104966514017711e-5, fused);
    odd = tn__fma_f64(odd, u, 4.9973246295375781e-5, fused);
    odd = tn__fma_f64(odd, u, 1.2777750922536986e-4, fused);
    odd = tn__fma_f64(odd, u, 3.2276750799269756e-4, fused);
    odd = tn__fma_f64(odd, u, 8.3145458866428488e-4, fused);
    odd = tn__fma_f64(odd, u, 2.1876373346207617e-3, fused);
    odd = tn__fma_f64(odd, u, 5.9290120964451028e-3, fused);
    odd = tn__fma_f64(odd, u, 0.016788742476463985, fused);
    odd = tn__fma_f64(odd, u, 0.051083446105582665, fused);
    odd = tn__fma_f64(odd, u, 0.17922493693603653, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (tanh(x) - x) / x^3 in x^2, |x| <= 0.6; 2^-28.3 */
TN_INLINE float tn__poly_tanh_f32(float t, int fused)
{
    float p = -5.89674246e-3f;
    p = tn__fma_f32(p, t, 0.0207981188f, fused);
    p = tn__fma_f32(p, t, -0.0537846796f, fused);
    p = tn__fma_f32(p, t, 0.133319363f, fused);
    p = tn__fma_f32(p, t, -0.333332986f, fused);
    return p;
}

/* (2 atanh(s) - 2 s) / s^3 in s^2, |s| <= 3 - 2 sqrt(2); 2^-58.6 */
TN_INLINE double tn__poly_atanh_f64(double t, int fused)
{
    const double u = t * t;
    double even = 0.14796601078243357;
    even = tn__fma_f64(even, u, 0.18183564185771794, fused);
    even = tn__fma_f64(even, u, 0.28571428742077332, fused);
    even = tn__fma_f64(even, u, 0.66666666666667340, fused);
    double odd = 0.15314027346714632;
    odd = tn__fma_f64(odd, u, 0.22222198589785142, fused);
    odd = tn__fma_f64(odd, u, 0.39999999999416752, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (2 atanh(s) - 2 s) / s^3 in s^2, |s| <= 3 - 2 sqrt(2); 2^-37.6 */
TN_INLINE double tn__poly_atanh_f32_wide(double t, int fused)
{
    double p = 0.23581748644662209;
    p = tn__fma_f64(p, t, 0.28537336090158344, fused);
    p = tn__fma_f64(p, t, 0.40000334640633473, fused);
    p = tn__fma_f64(p, t, 0.66666665648398671, fused);
    return p;
}

/* (2 atanh(s) - 2 s - 2 s^3 / 3) / s^5 in s^2, |s| <= 3 - 2 sqrt(2); 2^-66.1 */
TN_INLINE double tn__poly_atanh5_f64(double t, int fused)
{
    const double u = t * t;
    double even = 0.13196303268000228;
    even = tn__fma_f64(even, u, 0.15386756588671427, fused);
    even = tn__fma_f64(even, u, 0.22222222519585061, fused);
    even = tn__fma_f64(even, u, 0.40000000000002250, fused);
    double odd = 0.13256827808318747;
    odd = tn__fma_f64(odd, u, 0.18181784390046635, fused);
    odd = tn__fma_f64(odd, u, 0.28571428570101820, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (sin(x) - x) / x^3 in x^2, |x| <= 1.6; 2^-35.0 */
TN_INLINE double tn__poly_sin_f32_wide(double t, int fused)
{
    double p = -2.3845460944555653e-8;
    p = tn__fma_f64(p, t, 2.7522931413527701e-6, fused);
    p = tn__fma_f64(p, t, -1.9840820787586579e-4, fused);
    p = tn__fma_f64(p, t, 8.3333307500795244e-3, fused);
    p = tn__fma_f64(p, t, -0.16666666617799902, fused);
    return p;
}

/* (sin(x) - x) / x^3 in x^2, |x| <= 0.8; 2^-37.2 */
TN_INLINE double tn__poly_sin_quarter_f32_wide(double t, int fused)
{
    double p = 2.7167134124226696e-6;
    p = tn__fma_f64(p, t, -1.9839162568790632e-4, fused);
    p = tn__fma_f64(p, t, 8.3333288334363747e-3, fused);
    p = tn__fma_f64(p, t, -0.16666666636681457, fused);
    return p;
}

/* (sin(x) - x) / x^3 in x^2, |x| <= 0.8; 2^-63.0 */
TN_INLINE double tn__poly_sin_quarter_f64(double t, int fused)
{
    const double u = t * t;
    double even = -7.4224861285335142e-13;
    even = tn__fma_f64(even, u, -2.5052074971436771e-8, fused);
    even = tn__fma_f64(even, u, -1.9841269840980316e-4, fused);
    even = tn__fma_f64(even, u, -0.16666666666666666, fused);
    double odd = 1.6054908168746798e-10;
    odd = tn__fma_f64(odd, u, 2.7557319086661315e-6, fused);
    odd = tn__fma_f64(odd, u, 8.3333333333330505e-3, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (cos(x) - 1 + x^2 / 2) / x^4 in x^2, |x| <= 0.8; 2^-42.6 */
TN_INLINE double tn__poly_cos_quarter_f32_wide(double t, int fused)
{
    double p = -2.7192437630103531e-7;
    p = tn__fma_f64(p, t, 2.4799295366040241e-5, fused);
    p = tn__fma_f64(p, t, -1.3888882860087592e-3, fused);
    p = tn__fma_f64(p, t, 0.041666666611856425, fused);
    return p;
}

/* (cos(x) - 1 + x^2 / 2) / x^4 in x^2, |x| <= 0.8; 2^-68.8 */
TN_INLINE double tn__poly_cos_quarter_f64(double t, int fused)
{
    const double u = t * t;
    double even = 4.6210390752773793e-14;
    even = tn__fma_f64(even, u, 2.0876726375734531e-9, fused);
    even = tn__fma_f64(even, u, 2.4801587301208193e-5, fused);
    even = tn__fma_f64(even, u, 0.041666666666666664, fused);
    double odd = -1.1467429938613023e-11;
    odd = tn__fma_f64(odd, u, -2.7557319076635926e-7, fused);
    odd = tn__fma_f64(odd, u, -1.3888888888888406e-3, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (atan(x) - x) / x^3 in x^2, |x| <= 0.5; 2^-27.4 */
TN_INLINE float tn__poly_atan_f32(float t, int fused)
{
    float p = -0.0513022132f;
    p = tn__fma_f32(p, t, 0.101579584f, fused);
    p = tn__fma_f32(p, t, -0.141744241f, fused);
    p = tn__fma_f32(p, t, 0.199941665f, fused);
    p = tn__fma_f32(p, t, -0.333332330f, fused);
    return p;
}

/* (atan(x) - x) / x^3 in x^2, |x| <= 0.5; 2^-61.1 */
TN_INLINE double tn__poly_atan_f64(double t, int fused)
{
    const double u = t * t;
    double even = -8.2290509298212772e-3;
    even = tn__fma_f64(even, u, -0.036982696528439891, fused);
    even = tn__fma_f64(even, u, -0.052287770888543868, fused);
    even = tn__fma_f64(even, u, -0.066662033980301627, fused);
    even = tn__fma_f64(even, u, -0.090909076408552961, fused);
    even = tn__fma_f64(even, u, -0.14285714284983420, fused);
    even = tn__fma_f64(even, u, -0.33333333333333315, fused);
    double odd = 0.023448920001638840;
    odd = tn__fma_f64(odd, u, 0.045842929811926295, fused);
    odd = tn__fma_f64(odd, u, 0.058776126746085990, fused);
    odd = tn__fma_f64(odd, u, 0.076922761405827406, fused);
    odd = tn__fma_f64(odd, u, 0.11111111068509745, fused);
    odd = tn__fma_f64(odd, u, 0.19999999999993776, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (asin(x) - x) / x^3 in x^2, |x| <= 0.5; 2^-31.6 */
TN_INLINE float tn__poly_asin_f32(float t, int fused)
{
    float p = 0.0376489572f;
    p = tn__fma_f32(p, t, 0.0143404454f, fused);
    p = tn__fma_f32(p, t, 0.0318349525f, fused);
    p = tn__fma_f32(p, t, 0.0445135571f, fused);
    p = tn__fma_f32(p, t, 0.0750052184f, fused);
    p = tn__fma_f32(p, t, 0.166666597f, fused);
    return p;
}

/* (asin(x) - x) / x^3 in x^2, |x| <= 0.5; 2^-59.6 */
TN_INLINE double tn__poly_asin_f64(double t, int fused)
{
    const double u = t * t;
    double even = 0.032678778062172988;
    even = tn__fma_f64(even, u, 0.021744865907707748, fused);
    even = tn__fma_f64(even, u, 0.010782515646947474, fused);
    even = tn__fma_f64(even, u, 0.013980840729699434, fused);
    even = tn__fma_f64(even, u, 0.022372215002692614, fused);
    even = tn__fma_f64(even, u, 0.044642857174577354, fused);
    even = tn__fma_f64(even, u, 0.16666666666666760, fused);
    double odd = -0.021065309210025356;
    odd = tn__fma_f64(odd, u, 3.6946230657318472e-3, fused);
    odd = tn__fma_f64(odd, u, 0.011398640281744981, fused);
    odd = tn__fma_f64(odd, u, 0.017351611150261279, fused);
    odd = tn__fma_f64(odd, u, 0.030381942708237318, fused);
    odd = tn__fma_f64(odd, u, 0.074999999999708661, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* y^(-1/3), 1/2 <= y <= 4; 2^-8.38 */
TN_INLINE float tn__poly_icbrt_f32(float t, int fused)
{
    float p = -5.61986817e-3f;
    p = tn__fma_f32(p, t, 0.0745025203f, fused);
    p = tn__fma_f32(p, t, -0.389160752f, fused);
    p = tn__fma_f32(p, t, 1.02720416f, fused);
    p = tn__fma_f32(p, t, -1.50351763f, fused);
    p = tn__fma_f32(p, t, 1.79526424f, fused);
    return p;
}

/* y^(-1/3), 1/2 <= y <= 4; 2^-8.38 */
TN_INLINE double tn__poly_icbrt_f64(double t, int fused)
{
    double p = -5.6198666808714801e-3;
    p = tn__fma_f64(p, t, 0.074502476651859079, fused);
    p = tn__fma_f64(p, t, -0.38916061675550406, fused);
    p = tn__fma_f64(p, t, 1.0272040875931296, fused);
    p = tn__fma_f64(p, t, -1.5035173907186454, fused);
    p = tn__fma_f64(p, t, 1.7952642175481717, fused);
    return p;
}

/* erf(x) / x - 1 in x^2, |x| <= 1; 2^-29.4 */
TN_INLINE float tn__poly_erf_f32(float t, int fused)
{
    const float u = t * t;
    float even = 7.80693299e-5f;
    even = tn__fma_f32(even, u, 5.18716220e-3f, fused);
    even = tn__fma_f32(even, u, 0.112835787f, fused);
    even = tn__fma_f32(even, u, 0.128379166f, fused);
    float odd = -7.99785543e-4f;
    odd = tn__fma_f32(odd, u, -0.0268533472f, fused);
    odd = tn__fma_f32(odd, u, -0.376126260f, fused);
    return tn__fma_f32(odd, t, even, fused);
}

/* erf(x) / x - 1 in x^2, |x| <= 1; 2^-56.2 */
TN_INLINE double tn__poly_erf_f64(double t, int fused)
{
    const double u = t * t;
    double even = 2.4454697577642181e-9;
    even = tn__fma_f64(even, u, 2.6288029572999706e-8, fused);
    even = tn__fma_f64(even, u, 1.6553864585437569e-6, fused);
    even = tn__fma_f64(even, u, 1.2055492964787987e-4, fused);
    even = tn__fma_f64(even, u, 5.2239776806674056e-3, fused);
    even = tn__fma_f64(even, u, 0.11283791670977779, fused);
    even = tn__fma_f64(even, u, 0.12837916709551259, fused);
    double odd = -3.6502819522541758e-10;
    odd = tn__fma_f64(odd, u, -8.0383167075843634e-9, fused);
    odd = tn__fma_f64(odd, u, -1.7614767552398690e-7, fused);
    odd = tn__fma_f64(odd, u, -1.4930279819774306e-5, fused);
    odd = tn__fma_f64(odd, u, -8.5483307313317101e-4, fused);
    odd = tn__fma_f64(odd, u, -0.026866170650033657, fused);
    odd = tn__fma_f64(odd, u, -0.37612638903184165, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* g in erfc(x) = e^(-x^2) / (sqrt(pi) x + g), 0 <= x <= 10.25; 2^-28.0. The numerator */
TN_INLINE float tn__poly_erfc_num_f32(float t, int fused)
{
    float p = 9.66715720e-3f;
    p = tn__fma_f32(p, t, 0.0811564475f, fused);
    p = tn__fma_f32(p, t, 0.317325801f, fused);
    p = tn__fma_f32(p, t, 0.675823629f, fused);
    p = tn__fma_f32(p, t, 0.750000000f, fused);
    return p;
}

/* Its denominator */
TN_INLINE float tn__poly_erfc_den_f32(float t, int fused)
{
    float p = 0.0109078279f;
    p = tn__fma_f32(p, t, 0.0916010588f, fused);
    p = tn__fma_f32(p, t, 0.368500262f, fused);
    p = tn__fma_f32(p, t, 0.858800232f, fused);
    p = tn__fma_f32(p, t, 1.15887976f, fused);
    p = tn__fma_f32(p, t, 0.750000000f, fused);
    return p;
}

/* g in erfc(x) = e^(-x^2) / (sqrt(pi) x + g), 0 <= x <= 27.5; 2^-56.5. The numerator */
TN_INLINE double tn__poly_erfc_num_f64(double t, int fused)
{
    const double u = t * t;
    double even = 2.5873562507978113e-4;
    even = tn__fma_f64(even, u, 0.017937036466077892, fused);
    even = tn__fma_f64(even, u, 0.28014646521550768, fused);
    even = tn__fma_f64(even, u, 1.1759200387054554, fused);
    even = tn__fma_f64(even, u, 0.75000000000000000, fused);
    double odd = 1.2195046123786489e-5;
    odd = tn__fma_f64(odd, u, 2.6980921634629619e-3, fused);
    odd = tn__fma_f64(odd, u, 0.083323801210782936, fused);
    odd = tn__fma_f64(odd, u, 0.68355588942066836, fused);
    odd = tn__fma_f64(odd, u, 1.3132432290200953, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* Its denominator */
TN_INLINE double tn__poly_erfc_den_f64(double t, int fused)
{
    const double u = t * t;
    double even = 1.3760635988981138e-5;
    even = tn__fma_f64(even, u, 3.0582316332896848e-3, fused);
    even = tn__fma_f64(even, u, 0.097044679767586836, fused);
    even = tn__fma_f64(even, u, 0.86083869671331781, fused);
    even = tn__fma_f64(even, u, 2.1279412463945824, fused);
    even = tn__fma_f64(even, u, 0.75000000000000000, fused);
    double odd = 2.9195188897429005e-4;
    odd = tn__fma_f64(odd, u, 0.020531729822622701, fused);
    odd = tn__fma_f64(odd, u, 0.33591313432207698, fused);
    odd = tn__fma_f64(odd, u, 1.6141454221435365, fused);
    odd = tn__fma_f64(odd, u, 1.7962992418775974, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* g in P(X > x) = e^(-x^2 / 2) / (sqrt(2 pi) x + g), 0 <= x <= 14.5; 2^-29.0. The numerator */
TN_INLINE float tn__poly_normal_num_f32(float t, int fused)
{
    float p = 4.67017619e-3f;
    p = tn__fma_f32(p, t, 0.0559330173f, fused);
    p = tn__fma_f32(p, t, 0.311697751f, fused);
    p = tn__fma_f32(p, t, 0.944313407f, fused);
    p = tn__fma_f32(p, t, 1.50000000f, fused);
    return p;
}

/* Its denominator */
TN_INLINE float tn__poly_normal_den_f32(float t, int fused)
{
    float p = 1.86294422e-3f;
    p = tn__fma_f32(p, t, 0.0223234091f, fused);
    p = tn__fma_f32(p, t, 0.127870813f, fused);
    p = tn__fma_f32(p, t, 0.423979789f, fused);
    p = tn__fma_f32(p, t, 0.813728929f, fused);
    p = tn__fma_f32(p, t, 0.750000000f, fused);
    return p;
}

/* g in P(X > x) = e^(-x^2 / 2) / (sqrt(2 pi) x + g), 0 <= x <= 38.75; 2^-56.7. The numerator */
TN_INLINE double tn__poly_normal_num_f64(double t, int fused)
{
    const double u = t * t;
    double even = 3.2310651457046864e-5;
    even = tn__fma_f64(even, u, 4.4811550372742780e-3, fused);
    even = tn__fma_f64(even, u, 0.14000826829068974, fused);
    even = tn__fma_f64(even, u, 1.1756243731664182, fused);
    even = tn__fma_f64(even, u, 1.5000000000000000, fused);
    double odd = 1.0766702199352591e-6;
    odd = tn__fma_f64(odd, u, 4.7656793447522822e-4, fused);
    odd = tn__fma_f64(odd, u, 0.029442496556483004, fused);
    odd = tn__fma_f64(odd, u, 0.48317417302550819, fused);
    odd = tn__fma_f64(odd, u, 1.8569474123201928, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* Its denominator */
TN_INLINE double tn__poly_normal_den_f64(double t, int fused)
{
    const double u = t * t;
    double even = 4.2952927281732270e-7;
    even = tn__fma_f64(even, u, 1.9098215766892598e-4, fused);
    even = tn__fma_f64(even, u, 0.012123526785842048, fused);
    even = tn__fma_f64(even, u, 0.21512814710320977, fused);
    even = tn__fma_f64(even, u, 1.0637638184790090, fused);
    even = tn__fma_f64(even, u, 0.75000000000000000, fused);
    double odd = 1.2890084966759142e-5;
    odd = tn__fma_f64(odd, u, 1.8135023495605938e-3, fused);
    odd = tn__fma_f64(odd, u, 0.059353294863471524, fused);
    odd = tn__fma_f64(odd, u, 0.57052367647849433, fused);
    odd = tn__fma_f64(odd, u, 1.2700458885445722, fused);
    return tn__fma_f64(odd, t, even, fused);
}

#endif
