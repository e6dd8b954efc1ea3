/* The table of CPU kernels, one per instruction-set level. Each file beside this one is a template
 * source that the build compiles once per level, with TN_LEVEL set to base, avx2 or avx512 (NEON is
 * AArch64's base), and once or twice inside for its dtypes. The table of a level is made in table.c
 * from TN_KERNEL_LIST; a context holds the one that it was made with. */
#ifndef TN_TENSOR_KERNELS_H
#define TN_TENSOR_KERNELS_H

#include "tensor/base.h"
#include "tensor/kernels/attention.h"
#include "tensor/philox.h"
#include "tensor/random.h"

/* Whether a sanitizer looks on, which needs address space and does not see what assembly does. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#  define TN__SANITIZED 1
#elif defined __has_feature
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                       \
       __has_feature(memory_sanitizer)
#    define TN__SANITIZED 1
#  endif
#endif
#ifndef TN__SANITIZED
#  define TN__SANITIZED 0
#endif

#define TN_CAT_(a, b)  a##_##b
#define TN_CAT(a, b)   TN_CAT_(a, b)
#define TN_K(name)     TN_CAT(tn__##name, TN_LEVEL) /* at this level: tn__gemm_f32_avx2 */

#include "tensor/kernels/list.h"

typedef struct tn_kernels {
#define TN_X(name, ret, params) ret(*name) params;
    TN_KERNEL_LIST(TN_X)
#undef TN_X
} tn_kernels;

#define TN_X(name, ret, params)                                                                    \
    ret tn__##name##_base params;                                                                  \
    ret tn__##name##_avx2 params;                                                                  \
    ret tn__##name##_avx512 params;
TN_KERNEL_LIST(TN_X)
#undef TN_X

extern const tn_kernels tn__kernels_base, tn__kernels_avx2, tn__kernels_avx512;

#endif
