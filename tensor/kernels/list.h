/* Every kernel of the table, once. X(name, return type, parameters). Included by kernels.h. */
#define TN_KERNEL_LIST(X)                                                                          \
    TN_KERNELS_GEMM(X)                                                                             \
    TN_KERNELS_RANDOM(X)

/* gemm_f32.c, gemm_f64.c: the micro-kernels and packing of tensor/gemm.h */
#define TN_KERNELS_GEMM(X)                                                                         \
    X(gemm_f32, const struct tn__gemm_kernels *, (void))                                           \
    X(gemm_f64, const struct tn__gemm_kernels *, (void))

/* random.c: words [64 group, 64 (group + n)) of the sequence of tensor/philox.h, and the draws */
#define TN_KERNELS_RANDOM(X)                                                                       \
    X(philox_row, void, (uint64_t key, uint64_t run, uint64_t group, int64_t n, uint32_t *w))      \
    X(random_uniform_f32, void, (const struct tn__draw *d))                                        \
    X(random_uniform_f64, void, (const struct tn__draw *d))                                        \
    X(random_normal_f32, void, (const struct tn__draw *d))                                         \
    X(random_normal_f64, void, (const struct tn__draw *d))                                         \
    X(random_bernoulli, void, (const struct tn__draw *d))
