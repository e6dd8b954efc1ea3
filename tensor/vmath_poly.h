/* The polynomials of tensor/vmath.h, minimax fits made by scripts/minimax.py: do not edit. The
 * bound beside each is that of its largest error relative to the function made from it. */
#ifndef TN_TENSOR_VMATH_POLY_H
#define TN_TENSOR_VMATH_POLY_H

#include "tensor/vmath_base.h"

/* (e^r - 1 - r) / r^2, |r| <= ln(2) / 2; 2^-28.7 */
TN_INLINE float tn__poly_exp_f32(float t, int fused)
{
    float p = 1.98457157e-4f;
    p = tn__fma_f32(p, t, 1.39406824e-3f, fused);
    p = tn__fma_f32(p, t, 8.33338965e-3f, fused);
    p = tn__fma_f32(p, t, 0.0416663587f, fused);
    p = tn__fma_f32(p, t, 0.166666657f, fused);
    p = tn__fma_f32(p, t, 0.500000000f, fused);
    return p;
}

/* (e^r - 1 - r) / r^2, |r| <= ln(2) / 2; 2^-60.1 */
TN_INLINE double tn__poly_exp_f64(double t, int fused)
{
    const double u = t * t;
    double even = 2.0875462063700897e-9;
    even = tn__fma_f64(even, u, 2.7557402400190663e-7, fused);
    even = tn__fma_f64(even, u, 2.4801587172595636e-5, fused);
    even = tn__fma_f64(even, u, 1.3888888888962468e-3, fused);
    even = tn__fma_f64(even, u, 0.041666666666666512, fused);
    even = tn__fma_f64(even, u, 0.50000000000000000, fused);
    double odd = 2.5109042186993025e-8;
    odd = tn__fma_f64(odd, u, 2.7557244207889678e-6, fused);
    odd = tn__fma_f64(odd, u, 1.9841269886114647e-4, fused);
    odd = tn__fma_f64(odd, u, 8.3333333333216394e-3, fused);
    odd = tn__fma_f64(odd, u, 0.16666666666666677, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* (log(1 + f) - f + f^2 / 2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2); 2^-28.2 */
TN_INLINE float tn__poly_log_f32(float t, int fused)
{
    const float u = t * t;
    float even = 0.0674689561f;
    even = tn__fma_f32(even, u, 0.118881568f, fused);
    even = tn__fma_f32(even, u, 0.142195493f, fused);
    even = tn__fma_f32(even, u, 0.200021192f, fused);
    even = tn__fma_f32(even, u, 0.333333135f, fused);
    float odd = -0.116758332f;
    odd = tn__fma_f32(odd, u, -0.124055624f, fused);
    odd = tn__fma_f32(odd, u, -0.166679963f, fused);
    odd = tn__fma_f32(odd, u, -0.250000089f, fused);
    return tn__fma_f32(odd, t, even, fused);
}

/* (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, |s| <= 3 - 2 sqrt(2); 2^-58.6 */
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

/* (sin(r) - r) / r^3 in r^2, |r| <= pi / 2; 2^-34.9 */
TN_INLINE double tn__poly_sin_f32(double t, int fused)
{
    double p = -2.3888762699513914e-8;
    p = tn__fma_f64(p, t, 2.7525382006168860e-6, fused);
    p = tn__fma_f64(p, t, -1.9840868207153436e-4, fused);
    p = tn__fma_f64(p, t, 8.3333311091086416e-3, fused);
    p = tn__fma_f64(p, t, -0.16666666626184892, fused);
    return p;
}

/* (sin(r) - r) / r^3 in r^2, |r| <= pi / 2; 2^-61.7 */
TN_INLINE double tn__poly_sin_f64(double t, int fused)
{
    const double u = t * t;
    double even = -1.3550538467371370e-18;
    even = tn__fma_f64(even, u, -7.6436473121268195e-13, fused);
    even = tn__fma_f64(even, u, -2.5052107098996118e-8, fused);
    even = tn__fma_f64(even, u, -1.9841269841218165e-4, fused);
    even = tn__fma_f64(even, u, -0.16666666666666666, fused);
    double odd = 2.7357698805336951e-15;
    odd = tn__fma_f64(odd, u, 1.6058955632977547e-10, fused);
    odd = tn__fma_f64(odd, u, 2.7557319213032405e-6, fused);
    odd = tn__fma_f64(odd, u, 8.3333333333332153e-3, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* erf(x) / x - 1 in x^2, |x| <= 1; 2^-29.4 */
TN_INLINE float tn__poly_erf_f32(float t, int fused)
{
    const float u = t * t;
    float even = 7.80692790e-5f;
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
    even = tn__fma_f64(even, u, 1.2055492964787990e-4, fused);
    even = tn__fma_f64(even, u, 5.2239776806674056e-3, fused);
    even = tn__fma_f64(even, u, 0.11283791670977779, fused);
    even = tn__fma_f64(even, u, 0.12837916709551259, fused);
    double odd = -3.6502819522541758e-10;
    odd = tn__fma_f64(odd, u, -8.0383167075843634e-9, fused);
    odd = tn__fma_f64(odd, u, -1.7614767552398690e-7, fused);
    odd = tn__fma_f64(odd, u, -1.4930279819774306e-5, fused);
    odd = tn__fma_f64(odd, u, -8.5483307313317079e-4, fused);
    odd = tn__fma_f64(odd, u, -0.026866170650033657, fused);
    odd = tn__fma_f64(odd, u, -0.37612638903184165, fused);
    return tn__fma_f64(odd, t, even, fused);
}

/* e^(x^2) erfc(x) (x + k), t = (x - k) / (x + k), k = 3.75, 0 <= x <= 10.1; 2^-23.9 */
TN_INLINE float tn__poly_erfcx_f32(float t, int fused)
{
    const float u = t * t;
    float even = 1.13847700e-3f;
    even = tn__fma_f32(even, u, 0.0489962436f, fused);
    even = tn__fma_f32(even, u, 0.279083252f, fused);
    even = tn__fma_f32(even, u, 0.736317813f, fused);
    even = tn__fma_f32(even, u, 1.09192288f, fused);
    float odd = 1.37052988e-3f;
    odd = tn__fma_f32(odd, u, -0.0127755385f, fused);
    odd = tn__fma_f32(odd, u, -0.131922647f, fused);
    odd = tn__fma_f32(odd, u, -0.490472138f, fused);
    odd = tn__fma_f32(odd, u, -0.958741546f, fused);
    return tn__fma_f32(odd, t, even, fused);
}

/* e^(x^2) erfc(x) (x + k), t = (x - k) / (x + k), k = 3.75, 0 <= x <= 27.5; 2^-52.5 */
TN_INLINE double tn__poly_erfcx_f64(double t, int fused)
{
    const double u = t * t;
    double even = -7.9966432476228074e-10;
    even = tn__fma_f64(even, u, 4.7837572000927009e-9, fused);
    even = tn__fma_f64(even, u, -2.9043232367123596e-8, fused);
    even = tn__fma_f64(even, u, 2.8145910939573276e-7, fused);
    even = tn__fma_f64(even, u, -3.2901726393815611e-6, fused);
    even = tn__fma_f64(even, u, 3.7471914511224277e-5, fused);
    even = tn__fma_f64(even, u, -3.4864689085306160e-4, fused);
    even = tn__fma_f64(even, u, 9.8633808401804622e-4, fused);
    even = tn__fma_f64(even, u, 0.049118778614939462, fused);
    even = tn__fma_f64(even, u, 0.27906204903379783, fused);
    even = tn__fma_f64(even, u, 0.73631892522175146, fused);
    even = tn__fma_f64(even, u, 1.0919229095627891, fused);
    double odd = 1.7374901201232056e-10;
    odd = tn__fma_f64(odd, u, -4.7121390943731965e-9, fused);
    odd = tn__fma_f64(odd, u, 3.9707717999490129e-8, fused);
    odd = tn__fma_f64(odd, u, -2.6347073187946109e-7, fused);
    odd = tn__fma_f64(odd, u, 1.6560004317974782e-6, fused);
    odd = tn__fma_f64(odd, u, -8.9039410847604238e-6, fused);
    odd = tn__fma_f64(odd, u, 1.0593991180773632e-5, fused);
    odd = tn__fma_f64(odd, u, 7.9482309933688621e-4, fused);
    odd = tn__fma_f64(odd, u, -0.012535880041056241, fused);
    odd = tn__fma_f64(odd, u, -0.13195540117853180, fused);
    odd = tn__fma_f64(odd, u, -0.49047029120767860, fused);
    odd = tn__fma_f64(odd, u, -0.95874157665290960, fused);
    return tn__fma_f64(odd, t, even, fused);
}

#endif
