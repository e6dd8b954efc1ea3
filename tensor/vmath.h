/* Vector mathematics: what the expressions of span kernels (tensor/span.h) are made of. */
#ifndef TN_TENSOR_VMATH_H
#define TN_TENSOR_VMATH_H

#include "tensor/vmath_base.h"
#include "tensor/vmath_poly.h"

#define R          float
#define U          uint32_t
#define M(name)    tn__##name##_f32
#define PICK(a, b) a
#define MANTISSA   23
#define BIAS       127
#include "tensor/vmath_real.h"
#undef R
#undef U
#undef M
#undef PICK
#undef MANTISSA
#undef BIAS

#define R          double
#define U          uint64_t
#define M(name)    tn__##name##_f64
#define PICK(a, b) b
#define MANTISSA   52
#define BIAS       1023
#include "tensor/vmath_real.h"
#undef R
#undef U
#undef M
#undef PICK
#undef MANTISSA
#undef BIAS

#include "tensor/vmath_trig.h"
#include "tensor/vmath_erf.h"
#include "tensor/vmath_pow.h"
#include "tensor/vmath_wide.h"

#define TN__BY_TYPE(name, x) _Generic((x), float: tn__##name##_f32, double: tn__##name##_f64)

#define tn__abs(x)            TN__BY_TYPE(abs, x)(x)
#define tn__sign(x)           TN__BY_TYPE(sign, x)(x)
#define tn__isnan(x)          TN__BY_TYPE(isnan, x)(x)
#define tn__isinf(x)          TN__BY_TYPE(isinf, x)(x)
#define tn__isfinite(x)       TN__BY_TYPE(isfinite, x)(x)
#define tn__sqrt(x)           TN__BY_TYPE(sqrt, x)(x)
#define tn__rsqrt(x)          TN__BY_TYPE(rsqrt, x)(x)
#define tn__copysign(x, y)    TN__BY_TYPE(copysign, (x) + (y))(x, y)
#define tn__min(x, y)         TN__BY_TYPE(min, (x) + (y))(x, y)
#define tn__max(x, y)         TN__BY_TYPE(max, (x) + (y))(x, y)
#define tn__exp(x)            TN__BY_TYPE(exp, x)(x, tn__fused)
#define tn__exp2(x)           TN__BY_TYPE(exp2, x)(x, tn__fused)
#define tn__expm1(x)          TN__BY_TYPE(expm1, x)(x, tn__fused)
#define tn__log(x)            TN__BY_TYPE(log, x)(x, tn__fused)
#define tn__log2(x)           TN__BY_TYPE(log2, x)(x, tn__fused)
#define tn__log10(x)          TN__BY_TYPE(log10, x)(x, tn__fused)
#define tn__log1p(x)          TN__BY_TYPE(log1p, x)(x, tn__fused)
#define tn__sin(x)            TN__BY_TYPE(sin, x)(x, tn__fused)
#define tn__cos(x)            TN__BY_TYPE(cos, x)(x, tn__fused)
#define tn__tan(x)            TN__BY_TYPE(tan, x)(x, tn__fused)
#define tn__asin(x)           TN__BY_TYPE(asin, x)(x, tn__fused)
#define tn__acos(x)           TN__BY_TYPE(acos, x)(x, tn__fused)
#define tn__atan(x)           TN__BY_TYPE(atan, x)(x, tn__fused)
#define tn__sinh(x)           TN__BY_TYPE(sinh, x)(x, tn__fused)
#define tn__cosh(x)           TN__BY_TYPE(cosh, x)(x, tn__fused)
#define tn__tanh(x)           TN__BY_TYPE(tanh, x)(x, tn__fused)
#define tn__asinh(x)          TN__BY_TYPE(asinh, x)(x, tn__fused)
#define tn__acosh(x)          TN__BY_TYPE(acosh, x)(x, tn__fused)
#define tn__atanh(x)          TN__BY_TYPE(atanh, x)(x, tn__fused)
#define tn__sigmoid(x)        TN__BY_TYPE(sigmoid, x)(x, tn__fused)
#define tn__erf(x)            TN__BY_TYPE(erf, x)(x, tn__fused)
#define tn__erfc(x)           TN__BY_TYPE(erfc, x)(x, tn__fused)
#define tn__cbrt(x)           TN__BY_TYPE(cbrt, x)(x, tn__fused)
#define tn__softplus(x)       TN__BY_TYPE(softplus, x)(x, tn__fused)
#define tn__log_sigmoid(x)    TN__BY_TYPE(log_sigmoid, x)(x, tn__fused)
#define tn__silu(x)           TN__BY_TYPE(silu, x)(x, tn__fused)
#define tn__silu_grad(x)      TN__BY_TYPE(silu_grad, x)(x, tn__fused)
#define tn__norm_pdf(x)       TN__BY_TYPE(norm_pdf, x)(x, tn__fused)
#define tn__norm_cdf(x)       TN__BY_TYPE(norm_cdf, x)(x, tn__fused)
#define tn__gelu(x)           TN__BY_TYPE(gelu, x)(x, tn__fused)
#define tn__gelu_grad(x)      TN__BY_TYPE(gelu_grad, x)(x, tn__fused)
#define tn__gelu_tanh(x)      TN__BY_TYPE(gelu_tanh, x)(x, tn__fused)
#define tn__gelu_tanh_grad(x) TN__BY_TYPE(gelu_tanh_grad, x)(x, tn__fused)
#define tn__round(x)          TN__BY_TYPE(round, x)(x, tn__fused)
#define tn__floor(x)          TN__BY_TYPE(floor, x)(x, tn__fused)
#define tn__ceil(x)           TN__BY_TYPE(ceil, x)(x, tn__fused)
#define tn__trunc(x)          TN__BY_TYPE(trunc, x)(x, tn__fused)
#define tn__pow(x, y)         TN__BY_TYPE(pow, (x) + (y))(x, y, tn__fused)
#define tn__atan2(x, y)       TN__BY_TYPE(atan2, (x) + (y))(x, y, tn__fused)
#define tn__hypot(x, y)       TN__BY_TYPE(hypot, (x) + (y))(x, y, tn__fused)
#define tn__logaddexp(x, y)   TN__BY_TYPE(logaddexp, (x) + (y))(x, y, tn__fused)
#define tn__fmod(x, y)        TN__BY_TYPE(fmod, (x) + (y))(x, y, tn__fused)
#define tn__remainder(x, y)   TN__BY_TYPE(remainder, (x) + (y))(x, y, tn__fused)

/* What sin, cos, tan and fmod, remainder need where their argument is far: see TN_SPAN_RARE. */
#define tn__trig_is_far(x)      TN__BY_TYPE(trig_is_far, x)(x)
#define tn__sin_far(x)          TN__BY_TYPE(sin_far, x)(x)
#define tn__cos_far(x)          TN__BY_TYPE(cos_far, x)(x)
#define tn__tan_far(x)          TN__BY_TYPE(tan_far, x)(x)
#define tn__fmod_is_far(x, y)   TN__BY_TYPE(fmod_is_far, (x) + (y))(x, y, tn__fused)
#define tn__fmod_far(x, y)      TN__BY_TYPE(fmod_far, (x) + (y))(x, y)
#define tn__remainder_far(x, y) TN__BY_TYPE(remainder_far, (x) + (y))(x, y)

#endif
