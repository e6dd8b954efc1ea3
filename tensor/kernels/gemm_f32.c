/* The micro-kernels of the f32 matrix product at this level. */
#define T       float
#define NAME(x) x##_f32
#define KERNELS TN_K(gemm_f32)
#include "tensor/kernels/gemm_tile.h"
