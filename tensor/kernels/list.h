/* Every kernel of the table, once. X(name, return type, parameters). Included by kernels.h. */
#define TN_KERNEL_LIST(X)                                                                          \
    TN_KERNELS_GEMM(X)

/* gemm.c: the micro-kernels and packing of tensor/gemm.h */
#define TN_KERNELS_GEMM(X)
