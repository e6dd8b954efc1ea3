/* The 16-bit floats, which are for storage: f16 (IEEE 754 binary16) and bf16 (the upper half of an
 * f32). Widening is exact; narrowing rounds to nearest, ties to even, over the range to infinity.
 * A NaN stays a NaN, with its upper payload bits; f16 conversions make it quiet, as hardware does.
 * Without branches, so that loops vectorise. */
#ifndef TN_TENSOR_HALF_H
#define TN_TENSOR_HALF_H

#include "tensor/base.h"

#include <string.h>

TN_INLINE uint32_t tn__f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

TN_INLINE float tn__f32_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* f16: 1 sign, 5 exponent (bias 15), 10 fraction bits. f32: 1, 8 (bias 127), 23. */
TN_INLINE float tn_f32_from_f16(uint16_t h)
{
    uint32_t mag = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t normal = (mag << 13) + ((127u - 15u) << 23);
    uint32_t special = 0x7f800000u | mag << 13 | (mag > 0x7c00u ? 0x400000u : 0); /* inf, NaN */
    uint32_t subnormal = tn__f32_bits((float)(int32_t)mag / 16777216); /* and zero */
    uint32_t bits = mag < 0x400u ? subnormal : mag >= 0x7c00u ? special : normal;
    return tn__f32_of_bits(sign | bits);
}

TN_INLINE uint16_t tn_f16_from_f32(float x)
{
    uint32_t bits = tn__f32_bits(x), mag = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    /* Adding just under half a unit, and one more if the last bit kept is odd, rounds to even; a
     * carry goes into the exponent, and from the largest number to infinity, as it should. */
    uint32_t normal = (mag - ((127u - 15u) << 23) + 0xfffu + (mag >> 13 & 1)) >> 13;
    /* The unit of subnormals, 2^-24, is the last place of an f32 in [1/2, 1): the sum rounds. */
    uint32_t subnormal = tn__f32_bits(tn__f32_of_bits(mag) + 0.5f) - 0x3f000000u;
    uint32_t special = mag > 0x7f800000u ? 0x7e00u | (mag >> 13 & 0x3ffu) : 0x7c00u;
    uint32_t h = mag < 0x38800000u ? subnormal : mag >= 0x47800000u ? special : normal;
    return (uint16_t)(sign | h);
}

TN_INLINE float tn_f32_from_bf16(uint16_t h) { return tn__f32_of_bits((uint32_t)h << 16); }

TN_INLINE uint16_t tn_bf16_from_f32(float x)
{
    uint32_t bits = tn__f32_bits(x);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    uint32_t nan = bits >> 16 | 0x40u; /* quiet, so that dropping bits can't make it infinite */
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

#endif
