/* The micro-kernels of the f64 matrix product at this level. */
#define T       double
#define NAME(x) x##_f64
#define F64
#define KERNELS TN_K(gemm_f64)
#include "tensor/kernels/gemm_tile.h"
