/* The op table's row: everything that the library knows about an operation is in one tn_op.
 * Built-in ops and users' ops are the same thing: tn_apply takes any descriptor by pointer.
 *
 * An op must say how it is differentiated: a vjp rule, an expansion, or TN_NOT_DIFFERENTIABLE. */
#ifndef TN_AUTOGRAD_OP_H
#define TN_AUTOGRAD_OP_H

#include "autograd/graph.h"
#include "tensor/span.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_op tn_op;

enum { TN_MAX_OUT = 8, TN_SAMPLE_IN = 8, TN_SAMPLE_RANK = 5 };

/* ---- attributes: a plain struct and the list of its fields ---------------------------------- */

typedef enum tn_attr_kind {
    TN_ATTR_END,
    TN_ATTR_i64,    /* int64_t */
    TN_ATTR_f64,    /* double */
    TN_ATTR_flag,   /* bool */
    TN_ATTR_dtype,  /* tn_dtype */
    TN_ATTR_shape,  /* tn_shape */
    /* uint64_t: which random numbers; 0 is replaced by a stream of the scope's own */
    TN_ATTR_stream,
    TN_ATTR_ptr     /* void *: a user op's own data, compared by address */
} tn_attr_kind;

typedef struct tn_attr_field {
    const char  *name;
    tn_attr_kind kind;
    size_t       offset;
} tn_attr_field;

typedef int64_t  tn_attr_i64;
typedef double   tn_attr_f64;
typedef bool     tn_attr_flag;
typedef tn_dtype tn_attr_dtype;
typedef tn_shape tn_attr_shape;
typedef uint64_t tn_attr_stream;
typedef void    *tn_attr_ptr;

/* From one list, the struct `name_attrs` and its table `name_fields`:
 *     #define CLAMP_ATTRS(F) F(clamp, f64, lo) F(clamp, f64, hi)
 *     TN_ATTRS(clamp, CLAMP_ATTRS) */
#define TN_ATTR_MEMBER(op, kind, field) tn_attr_##kind field;
#define TN_ATTR_FIELD(op, kind, field)  { #field, TN_ATTR_##kind, offsetof(op##_attrs, field) },
#define TN_ATTRS(op, LIST)                                                                         \
    typedef struct op##_attrs {                                                                    \
        LIST(TN_ATTR_MEMBER)                                                                       \
    } op##_attrs;                                                                                  \
    static const tn_attr_field op##_fields[] = { LIST(TN_ATTR_FIELD) { NULL, TN_ATTR_END, 0 } };
/* in the descriptor: TN_ATTRS_OF(clamp) */
#define TN_ATTRS_OF(op) .attrs = op##_fields, .attrs_size = sizeof(op##_attrs)

/* ---- what an op's functions are given ------------------------------------------------------- */

/* Inference: in and attrs are given; fills out (n_out of them) or fails. */
typedef struct tn_infer {
    tn_ctx        *ctx;
    const tn_op   *op;
    const void    *attrs;
    int            n_in, n_out;
    const tn_type *in;
    tn_type       *out;
    const char    *scope;  /* path of the scope being built, "" at the top */
} tn_infer;

/* Fails with "matmul: [2,3] x [4,5]: <message> (scope)"; returns status. */
TN_API tn_status tn_infer_fail(tn_infer *c, tn_status status, const char *format, ...)
    TN_PRINTF(3, 4);

/* A run of the op's kernel. in and out are views; outputs are contiguous (strided only if the op
 * has TN_STRIDED_OUT). Inputs are contiguous unless the op has TN_STRIDED. Returns TN_OK, or
 * tn_fail(e->ctx, ..) for bad data such as an index out of range (the op needs TN_CAN_FAIL
 * then). */
typedef struct tn_exec {
    tn_ctx      *ctx;
    const tn_op *op;
    const void  *attrs;
    int          n_in, n_out;
    tn_tensor   *in, *out;
    void        *scratch;   /* as many bytes as op->scratch asked for, aligned to 64, not zeroed */
    uint64_t     seed, run; /* of random ops */
    /* the library's own: what was fused behind this op; may its last loop be left (TN_LEAVES)? */
    const void  *epilogue;
    bool         leaves;
} tn_exec;

/* Reverse mode: dout[i] is the cotangent of out[i], NULL if it is zero. Sets din[i], if want[i], to
 * a node of in[i]'s shape, or of one that this broadcasts to (the caller sums the rest away), or
 * leaves it NULL for zero. */
typedef struct tn_vjp {
    tn_graph       *graph;
    const tn_op    *op;
    const void     *attrs;
    int             n_in, n_out;
    tn_node *const *in, *const *out, *const *dout;
    const bool     *want;
    tn_node       **din;
} tn_vjp;

/* The composition of other ops that this op equals: fills out from in. */
typedef struct tn_expansion {
    tn_graph       *graph;
    const tn_op    *op;
    const void     *attrs;
    int             n_in, n_out;
    tn_node *const *in;
    tn_node       **out;
} tn_expansion;

/* How a view's input lies in memory (strides and offset in elements), and its output. */
typedef struct tn_layout {
    tn_shape shape;
    int64_t  stride[TN_MAX_RANK];
    int64_t  offset;
} tn_layout;

typedef struct tn_cost {
    double flops;
    double bytes; /* that must move; 0: those of the inputs and outputs, once each */
} tn_cost;

/* Naive reference in f64, for tests: floats are double, integers int64_t, bools uint8_t;
 * contiguous. */
typedef struct tn_ref {
    const void    *attrs;
    int            n_in, n_out;
    const tn_type *in_type, *out_type;
    const void   **in;
    void         **out;
} tn_ref;

/* Inputs for the table-driven tests. A shape is a list of dimensions below 255 that ends at a 0
 * ({0} is a scalar); -1 stands for a dimension of size 0. The struct is small: there are
 * hundreds. */
typedef struct tn_sample {
    uint8_t     in[TN_SAMPLE_IN][TN_SAMPLE_RANK + 1];
    uint8_t     dtype[TN_SAMPLE_IN]; /* TN_F32 (0) stands for the float dtype under test */
    bool        no_grad[TN_SAMPLE_IN]; /* do not gradient-check this input */
    bool        no_second;           /* second order is not checked here; say why beside it */
    bool        distinct;            /* float inputs are distinct by at least 1e-2: max, sort, .. */
    int16_t     n_in;                /* of variadic ops; 0: op->arity */
    int32_t     int_lo, int_hi;      /* range of integer inputs [lo, hi); 0, 0: [0, 2) */
    float       lo, hi;              /* range of float inputs; 0, 0: [-1, 1] */
    tn_status   fails;               /* not TN_OK: building must fail with this status */
    const void *attrs;
    const char *message;             /* where it fails: a part of the message */
} tn_sample;

/* ---- the descriptor ------------------------------------------------------------------------- */

typedef enum tn_op_flags {
    TN_NOT_DIFFERENTIABLE = 1 << 0, /* the explicit mark: asking for its gradient is an error */
    TN_STRIDED            = 1 << 1, /* run takes inputs of any strides */
    TN_INPLACE_OK         = 1 << 2, /* out[i] may be in[i]'s memory where their types are equal */
    TN_CAN_FAIL           = 1 << 3, /* run can fail on its data */
    TN_RANDOM             = 1 << 4, /* has a stream attribute */
    TN_STRIDED_OUT        = 1 << 5, /* run can write outputs whose rows lie apart (last stride 1) */
    TN_PREFIX_STRIDED     = 1 << 6, /* run takes any strides as long as the last one is 1 */
    TN_STOPS_GRADIENT     = 1 << 7, /* its output counts as a constant */
    TN_MATRIX_STRIDED     = 1 << 9, /* run takes any strides as long as one of the last two is 1 */
    /* out[0] is in[0] with some rows written: in place, and at once, where in[0] is a variable
     * (decoding caches) */
    TN_UPDATES            = 1 << 10,
    TN_EPILOGUE           = 1 << 8, /* the library's own: run applies e->epilogue to its output, */
    TN_LEAVES             = 1 << 11 /* and may leave its last loop to the workers if e->leaves */
} tn_op_flags;

struct tn_op {
    const char *name;
    const char *doc;       /* one line: the formula with shapes */
    int         arity;     /* number of inputs; with max_arity > arity, the least number */
    int         max_arity; /* 0: arity; -1: any number */
    int         n_out;     /* 0: 1 */
    unsigned    flags;

    const tn_attr_field *attrs; /* every field of them (NULL: they are compared as bytes) */
    size_t               attrs_size;

    tn_status (*infer)(tn_infer *c);
    /* variable number of outputs (split); or NULL */
    int (*count_out)(const void *attrs, int n_in);

    /* How it is computed, one of: */
    const tn_span *span;                             /* elementwise, over broadcast operands */
    int            span_in;                          /* the operand whose dtype picks the kernel */
    tn_status (*run)(tn_exec *e);                    /* a kernel of its own */
    bool (*view)(const void *attrs, const tn_layout *in, tn_layout *out, int index);
                                                     /* output `index` is a view of in[0]; false: a
                                                        contiguous copy of in[0] is needed first */
    size_t (*scratch)(const tn_exec *e);
        /* bytes of scratch of run; or NULL. Data pointers
                                                        are not there yet, only types and strides */

    /* How it is differentiated: vjp, or the vjp of its expansion, or TN_NOT_DIFFERENTIABLE. */
    void (*vjp)(tn_vjp *c);
    void (*expand)(tn_expansion *c);                    /* also its reference in tests */

    void (*cost)(const tn_infer *c, tn_cost *cost);  /* NULL: one flop for each element of out[0] */
    void (*ref)(const tn_ref *r);
    double           ref_tolerance;                  /* relative, of f64 against ref; 0: 1e-12 */
    const tn_sample *samples;
    int              n_samples;
};

#define TN_SAMPLES(...)                                                                            \
    .samples = (const tn_sample[]){ __VA_ARGS__ },                                                 \
    .n_samples = (int)(sizeof((const tn_sample[]){ __VA_ARGS__ }) / sizeof(tn_sample))

/* TN_OP_DEFINE(tanh, .doc = .., ..): the descriptor tn_op_tanh, in a program of its file alone. */
#if defined TN_INSIDE
#  define TN_OP_DEFINE(op, ...) const tn_op tn_op_##op = { .name = #op, __VA_ARGS__ }
#else
#  define TN_OP_DEFINE(op, ...) static const tn_op tn_op_##op = { .name = #op, __VA_ARGS__ }
#endif

/* ---- calling --------------------------------------------------------------------------------- */

/* Applies an op to n inputs; attrs (of op->attrs_size bytes) is copied, NULL if it has none.
 * Returns the first output, or fills out[] with all (out may be NULL). NULL on failure, or if an
 * input is. */
TN_API tn_node *tn_apply(const tn_op *op, tn_node *const *in, int n, const void *attrs);
TN_API tn_node *tn_apply_multi(const tn_op *op, tn_node *const *in, int n, const void *attrs,
                               tn_node **out);
/* For ops without inputs. */
TN_API tn_node *tn_apply_in(tn_graph *g, const tn_op *op, tn_node *const *in, int n,
                            const void *attrs, tn_node **out);

/* The built-in ops, in the order of docs/ops.md. */
TN_API int          tn_op_count(void);
TN_API const tn_op *tn_op_at(int i);
TN_API const tn_op *tn_op_find(const char *name); /* NULL if there is none */

/* ---- inference that many ops share ----------------------------------------------------------- */

TN_API tn_status tn_infer_same(tn_infer *c);  /* one dtype, shapes broadcast, out likewise */
TN_API tn_status tn_infer_test(tn_infer *c);  /* the same, out is bool */
TN_API tn_status tn_infer_float(tn_infer *c, int i);                /* in[i] is f32 or f64 */
TN_API tn_status tn_infer_index(tn_infer *c, int i);                /* in[i] is i32 or i64 */
/* in[i] has at least this rank */
TN_API tn_status tn_infer_rank(tn_infer *c, int i, int least);
/* in [-rank, rank) */
TN_API tn_status tn_infer_axis(tn_infer *c, int64_t axis, int rank, int *out);

/* The built-in ops of the table, within the library; a program finds them by tn_op_find. */
#if defined TN_INSIDE
#  define TN_X(op) extern const tn_op tn_op_##op;
#  include "autograd/op_list.h"
#  undef TN_X
#endif

#ifdef __cplusplus
}
#endif
#endif
