/* What this machine has: instruction sets and caches. */
#ifndef TN_TENSOR_CPU_H
#define TN_TENSOR_CPU_H

#include "tensor/internal.h"

/* The level to use when `wanted` is asked for: never more than the CPU has. */
tn_cpu_level tn__cpu_cap(tn_cpu_level wanted);

const tn_kernels *tn__cpu_kernels(tn_cpu_level level);
tn__caches        tn__cpu_caches(void);

#endif
