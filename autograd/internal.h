/* The graph from inside: what graph.c makes and grad.c and compile.c walk over. */
#ifndef TN_AUTOGRAD_INTERNAL_H
#define TN_AUTOGRAD_INTERNAL_H

#include "autograd/op.h"
#include "autograd/ops.h"
#include "tensor/internal.h"

/* One application of an op. Inputs always come from calls with lower ids, so the order of ids is a
 * topological order. */
typedef struct tn__call {
    const tn_op *op;
    const void  *attrs;
    int          n_in, n_out;
    tn_node    **in;
    tn_node     *out;   /* n_out nodes */
    int64_t      id;
    const char  *scope; /* "" at the top */
    bool         is_gradient; /* made while differentiating */
} tn__call;

struct tn_node {
    tn_graph *graph;  /* NULL: a variable */
    tn__call *call;   /* NULL: a variable */
    int       index;  /* which of the call's outputs */
    int64_t   id;     /* in the graph, rising */
    tn_type   type;
};

/* A variable is its leaf node (first, so that a pointer to one is a pointer to the other). */
typedef struct tn__variable {
    tn_node  leaf;
    tn_ctx  *ctx;
    char    *name;
    void    *data;
    size_t   bytes;
} tn__variable;

/* Like tn_variable_new; parts of it that nothing is ever written to take no memory. */
tn_node *tn__variable_new_sparse(tn_ctx *ctx, const char *name, tn_dtype dtype, tn_shape shape);

typedef struct tn__scope {
    const char *path;
    uint64_t    hash;
    int64_t     n_random; /* streams handed out so far */
} tn__scope;

typedef struct tn__block {
    struct tn__block *next;
    size_t            used, size;
} tn__block;

struct tn_graph {
    tn_ctx     *ctx;
    tn_mode     mode;
    tn__block  *blocks;           /* nodes, attributes and names live here */
    tn__call  **calls;
    int64_t     n_calls, cap_calls, n_nodes;
    tn_node   **reads;            /* one read of each variable */
    int64_t     n_reads, cap_reads;
    tn_node   **inputs;
    int64_t     n_inputs, cap_inputs;
    tn__scope  *scopes;           /* every path so far; 0 is the top */
    int64_t     n_scopes, cap_scopes;
    int        *stack;            /* indices into scopes */
    int64_t     depth, cap_stack;
    int         differentiating;  /* how many tn__backward are at work */
    const char *null_op, *null_scope; /* the first op that was given a NULL while no error told */
    int         null_in;              /* why, and which input that was */
};

/* Attributes of ops that compile knows. */
#define INPUT_ATTRS(F)                                                                             \
    F(input, i64, index) F(input, ptr, name) F(input, dtype, dtype) F(input, shape, shape)
#define CONSTANT_ATTRS(F) F(constant, ptr, data) F(constant, dtype, dtype) F(constant, shape, shape)
#define FULL_ATTRS(F)     F(full, f64, value) F(full, dtype, dtype) F(full, shape, shape)
#define READ_ATTRS(F)     F(read, ptr, variable)
#define ASSIGN_ATTRS(F)   F(assign, ptr, variable)
#define CONCAT_ATTRS(F)   F(concat, i64, axis)

typedef struct input_attrs { INPUT_ATTRS(TN_ATTR_MEMBER) } input_attrs;
typedef struct constant_attrs { CONSTANT_ATTRS(TN_ATTR_MEMBER) } constant_attrs;
typedef struct full_attrs { FULL_ATTRS(TN_ATTR_MEMBER) } full_attrs;
typedef struct read_attrs { READ_ATTRS(TN_ATTR_MEMBER) } read_attrs;
typedef struct assign_attrs { ASSIGN_ATTRS(TN_ATTR_MEMBER) } assign_attrs;
typedef struct concat_attrs { CONCAT_ATTRS(TN_ATTR_MEMBER) } concat_attrs;

/* Zeroed memory that lives as long as the graph; NULL with the error in the context. */
void *tn__graph_alloc(tn_graph *g, size_t size);

/* x itself, or the graph's read of it if it is a variable; *g is found or checked on the way. */
tn_node *tn__as_value(tn_graph *g, tn_node *x);

/* x as a value in the graph of another, if that has one; else x itself. Either may be NULL. What is
 * composed of several ops asks for it where an op of theirs would get a variable alone. */
tn_node *tn__beside(tn_node *x, const tn_node *other);

/* TN_ERR_ARG: `what` is NULL; and where the first NULL came in that no error explains. */
tn_status tn__fail_null(const tn_graph *g, const char *what);

/* A new node that is x by another name: the expansion of an op is built on aliases of its inputs,
 * so that differentiating it stops there. */
tn_node *tn__alias(tn_node *x);

/* Reverse mode from several roots at once; NULL entries of dy are zero. grad[i] stays NULL where
 * there is no path; depends (or NULL) tells a zero gradient from none. */
tn_status tn__backward(tn_graph *g, tn_node *const *y, tn_node *const *dy, int n_y,
                       tn_node *const *wrt, int n, tn_node **grad, bool *depends);

/* Element i of an array of the dtype becomes value, converted; and back. */
void   tn__store(tn_dtype dtype, void *data, int64_t i, double value);
double tn__load(tn_dtype dtype, const void *data, int64_t i);

/* Can an element of the dtype be this number? (An integer has it exactly.) And what to say if it
 * can't. */
bool      tn__holds(tn_dtype dtype, double value);
tn_status tn__cannot_hold(tn_infer *c, tn_dtype dtype, double value);

/* Equality and hash of attributes, field by field. */
bool     tn__attrs_equal(const tn_op *op, const void *a, const void *b);
uint64_t tn__attrs_hash(const tn_op *op, const void *attrs, uint64_t h);
void     tn__attrs_print(const tn_op *op, const void *attrs, FILE *out);

/* Grows *array (elements of `size` bytes) so that it has room for n + 1. False: out of memory. */
bool tn__grow(tn_ctx *ctx, void *array, int64_t n, int64_t *capacity, size_t size);

TN_INLINE uint64_t tn__mix(uint64_t h, uint64_t x)
{
    h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h ^= h >> 30, h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 27, h *= 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

/* Cost of an op that computes nothing: it moves numbers, or is a view. */
TN_INLINE void tn__no_cost(const tn_infer *c, tn_cost *cost)
{
    (void)c;
    cost->flops = 0;
}

/* One operation for each element read. */
TN_INLINE void tn__cost_of_input(const tn_infer *c, tn_cost *cost)
{
    cost->flops = (double)tn_shape_size(&c->in[0].shape);
}

#endif
