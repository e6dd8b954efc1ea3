/* Vector mathematics: what the expressions of span kernels (tensor/span.h) are made of. */
#ifndef TN_TENSOR_VMATH_H
#define TN_TENSOR_VMATH_H

#include "tensor/vmath_base.h"
#include "tensor/vmath_poly.h"

/* ln(2) in two parts, the first of 16 (f32) and 42 (f64) bits. */
#define LN2_HI_F32 0.693145752f
#define LN2_LO_F32 1.42860677e-6f
#define LN2_HI_F64 0.69314718055989033
#define LN2_LO_F64 5.4979230187083712e-14

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

#undef LN2_HI_F32
#undef LN2_LO_F32
#undef LN2_HI_F64
#undef LN2_LO_F64

#include "tensor/vmath_trig.h"

#define TN__BY_TYPE(name, x) _Generic((x), float: tn__##name##_f32, double: tn__##name##_f64)

#define tn__abs(x)         TN__BY_TYPE(abs, x)(x)
#define tn__sign(x)        TN__BY_TYPE(sign, x)(x)
#define tn__isnan(x)       TN__BY_TYPE(isnan, x)(x)
#define tn__isinf(x)       TN__BY_TYPE(isinf, x)(x)
#define tn__isfinite(x)    TN__BY_TYPE(isfinite, x)(x)
#define tn__copysign(x, y) TN__BY_TYPE(copysign, (x) + (y))(x, y)
#define tn__min(x, y)      TN__BY_TYPE(min, (x) + (y))(x, y)
#define tn__max(x, y)      TN__BY_TYPE(max, (x) + (y))(x, y)
#define tn__sqrt(x)        TN__BY_TYPE(sqrt, x)(x)
#define tn__rsqrt(x)       TN__BY_TYPE(rsqrt, x)(x)
#define tn__round(x)       TN__BY_TYPE(round, x)(x, tn__fused)
#define tn__floor(x)       TN__BY_TYPE(floor, x)(x, tn__fused)
#define tn__ceil(x)        TN__BY_TYPE(ceil, x)(x, tn__fused)
#define tn__trunc(x)       TN__BY_TYPE(trunc, x)(x, tn__fused)
#define tn__exp(x)         TN__BY_TYPE(exp, x)(x, tn__fused)
#define tn__expm1(x)       TN__BY_TYPE(expm1, x)(x, tn__fused)
#define tn__tanh(x)        TN__BY_TYPE(tanh, x)(x, tn__fused)
#define tn__sigmoid(x)     TN__BY_TYPE(sigmoid, x)(x, tn__fused)
#define tn__silu(x)        TN__BY_TYPE(silu, x)(x, tn__fused)
#define tn__log(x)         TN__BY_TYPE(log, x)(x, tn__fused)
#define tn__sin(x)         TN__BY_TYPE(sin, x)(x, tn__fused)
#define tn__cos(x)         TN__BY_TYPE(cos, x)(x, tn__fused)
#define tn__erf(x)         TN__BY_TYPE(erf, x)(x, tn__fused)
#define tn__erfc(x)        TN__BY_TYPE(erfc, x)(x, tn__fused)
#define tn__norm_pdf(x)    TN__BY_TYPE(norm_pdf, x)(x, tn__fused)
#define tn__norm_cdf(x)    TN__BY_TYPE(norm_cdf, x)(x, tn__fused)
#define tn__gelu(x)        TN__BY_TYPE(gelu, x)(x, tn__fused)
#define tn__gelu_grad(x)   TN__BY_TYPE(gelu_grad, x)(x, tn__fused)
#define tn__gelu_tanh(x)   TN__BY_TYPE(gelu_tanh, x)(x, tn__fused)

#endif
