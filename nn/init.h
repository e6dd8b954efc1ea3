/* Initial values of parameters. Numbers are drawn from a stream that is keyed by the context's seed
 * and the parameter's name, so they do not depend on the order in which parameters are made. */
#ifndef TN_NN_INIT_H
#define TN_NN_INIT_H

#include "tensor/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tn_init_kind {
    TN_INIT_CONSTANT,
    TN_INIT_UNIFORM,          /* [a, b) */
    TN_INIT_NORMAL,           /* mean a, standard deviation b */
    TN_INIT_TRUNCATED_NORMAL, /* the same, drawn again outside of a +- 2 b (as PyTorch's, b is not
                                 corrected for what is cut off: the result's deviation is 0.88 b) */
    /* U(-r, r), r = gain sqrt(6 / (fan_in + fan_out)); Glorot & Bengio 2010 */
    TN_INIT_XAVIER_UNIFORM,
    TN_INIT_XAVIER_NORMAL,    /* N(0, gain^2 2 / (fan_in + fan_out)) */
    TN_INIT_KAIMING_UNIFORM,  /* U(-r, r), r = gain sqrt(3 / fan_in); He et al. 2015 */
    TN_INIT_KAIMING_NORMAL,   /* N(0, gain^2 / fan_in) */
    TN_INIT_ORTHOGONAL        /* gain Q with orthonormal rows or columns; Saxe et al. 2013 */
} tn_init_kind;

/* Everything at zero: zeros. */
typedef struct tn_init {
    tn_init_kind kind;
    double       a, b;
    double       gain;            /* of the last five; 0: 1 */
    int64_t      fan_in, fan_out; /* 0: of the shape */
} tn_init;

/* Fans of a shape: matrices are [in, out], as Linear stores them; of more dimensions, [.., in,
 * out], the leading ones multiply both; a vector [n] has n and n. */
TN_API void tn_init_fans(tn_shape shape, int64_t *fan_in, int64_t *fan_out);

TN_API tn_init tn_init_zeros(void);
TN_API tn_init tn_init_ones(void);
TN_API tn_init tn_init_constant(double value);
TN_API tn_init tn_init_uniform(double lo, double hi);
TN_API tn_init tn_init_normal(double mean, double std);
TN_API tn_init tn_init_truncated_normal(double mean, double std);
TN_API tn_init tn_init_xavier_uniform(void);
TN_API tn_init tn_init_xavier_normal(void);
TN_API tn_init tn_init_kaiming_uniform(void); /* gain sqrt(2), for ReLU */
TN_API tn_init tn_init_kaiming_normal(void);
TN_API tn_init tn_init_orthogonal(double gain);

/* PyTorch's default of Linear's weights and bias: U(-1 / sqrt(in), 1 / sqrt(in)). */
TN_API tn_init tn_init_linear(int64_t in);

/* Fills n numbers (contiguous, of the shape) of dtype f32 or f64. stream: of the values, by
 * name. TN_ERR_ARG: a range that falls, a deviation below 0, also by a negative gain. */
TN_API tn_status tn_init_fill(tn_ctx *ctx, const tn_init *init, tn_dtype dtype, tn_shape shape,
                              uint64_t stream, void *out);

#ifdef __cplusplus
}
#endif
#endif
