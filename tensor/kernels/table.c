/* The kernel table of one level. Compiled once per level. */
#include "tensor/kernels/kernels.h"

const tn_kernels TN_K(kernels) = {
#define TN_X(name, ret, params) .name = TN_K(name),
    TN_KERNEL_LIST(TN_X)
#undef TN_X
};
