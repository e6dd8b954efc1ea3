/* The graph: values (nodes) made by ops, before anything is computed.
 *
 * Each op function checks shapes and dtypes at once and appends one call to the graph of its
 * inputs. A function that fails gives NULL and leaves its message in the context; NULL inputs give
 * NULL and say nothing, so a whole model can be written without a check on every line and checked
 * once. A graph owns its nodes. One thread at a time builds a graph. */
#ifndef TN_AUTOGRAD_GRAPH_H
#define TN_AUTOGRAD_GRAPH_H

#include "tensor/context.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_graph tn_graph;
typedef struct tn_node  tn_node;

typedef enum tn_mode {
    TN_TRAIN, /* dropout drops */
    TN_EVAL   /* dropout returns its input */
} tn_mode;

/* dtype and shape of a value. */
typedef struct tn_type {
    tn_dtype dtype;
    tn_shape shape;
} tn_type;

TN_API tn_graph *tn_graph_new(tn_ctx *ctx, tn_mode mode);
TN_API void      tn_graph_free(tn_graph *g); /* and all of its nodes; NULL is fine */
TN_API tn_ctx   *tn_graph_ctx(const tn_graph *g);
TN_API tn_mode   tn_graph_mode(const tn_graph *g);
TN_API size_t    tn_graph_calls(const tn_graph *g); /* op calls so far */

/* ---- leaves ------------------------------------------------------------------------------ */

/* A value that the host feeds before a run. The name is copied; it must be new in this graph. */
TN_API tn_node *tn_input(tn_graph *g, const char *name, tn_dtype dtype, tn_shape shape);

/* Numbers known while building; data (contiguous, of the dtype) is copied. */
TN_API tn_node *tn_constant(tn_graph *g, tn_dtype dtype, tn_shape shape, const void *data);

/* One number everywhere; takes no memory however large the shape is. TN_ERR_ARG if the dtype cannot
 * hold it: i32 no 0.5, u8 no 300. Floats round, also to infinity. */
TN_API tn_node *tn_full(tn_graph *g, tn_dtype dtype, tn_shape shape, double value);

/* The value of a variable in this graph. Only needed where all inputs of an op are variables: in
 * any other place a variable may stand for its value. */
TN_API tn_node *tn_read(tn_graph *g, tn_node *variable);

/* ---- looking at nodes --------------------------------------------------------------------- */

TN_API tn_type   tn_node_type(const tn_node *x);  /* {0} of NULL */
TN_API tn_dtype  tn_node_dtype(const tn_node *x);
TN_API tn_shape  tn_node_shape(const tn_node *x);
TN_API int       tn_rank(const tn_node *x);
/* negative axes count from the end; 0 if none */
TN_API int64_t   tn_dim(const tn_node *x, int axis);
TN_API tn_graph *tn_node_graph(const tn_node *x);    /* NULL of a variable */
TN_API tn_ctx   *tn_node_ctx(const tn_node *x);

/* ---- scopes ------------------------------------------------------------------------------- */

/* Names the part of the model that is being built: it stands in error messages and in dumps, and
 * random ops draw from a stream of their scope. The path is "encoder.0.self". */
TN_API void tn_scope_push(tn_graph *g, const char *format, ...) TN_PRINTF(2, 3);
TN_API void tn_scope_pop(tn_graph *g);
TN_API int  tn_scope_depth(const tn_graph *g);
TN_API void tn_scope_restore(tn_graph *g, int depth);

/* TN_SCOPE(g, "encoder.%d", i) { .. }: the block's scope. Leave the block by its end, not by return
 * or break (the next enclosing scope would heal it). g is looked at once: what it is made of, as in
 * tn_node_graph(x), may change in the block, and fail. */
#define TN_SCOPE(g, ...)                                                                           \
    for (tn_graph *tn_scope_g_ = (g), **tn_scope_2_ = &tn_scope_g_; tn_scope_2_; tn_scope_2_ = 0)  \
        for (int tn_scope_d_ = tn_scope_depth(tn_scope_g_),                                        \
                 tn_scope_1_ = (tn_scope_push(tn_scope_g_, __VA_ARGS__), 1);                       \
             tn_scope_1_; tn_scope_restore(tn_scope_g_, tn_scope_d_), tn_scope_1_ = 0)

/* ---- variables: state that outlives a run -------------------------------------------------- */

/* A variable is a node of no graph. Its set (nn/params.h) owns it; tn_variable_new makes one that
 * stands alone. Contents start as zeros. */
TN_API tn_node    *tn_variable_new(tn_ctx *ctx, const char *name, tn_dtype dtype, tn_shape shape);
TN_API void        tn_variable_free(tn_node *variable); /* NULL is fine */
TN_API bool        tn_is_variable(const tn_node *x);
TN_API const char *tn_variable_name(const tn_node *variable);
TN_API void       *tn_variable_data(const tn_node *variable); /* contiguous, row-major */
TN_API size_t      tn_variable_bytes(const tn_node *variable);
TN_API tn_status   tn_variable_set(tn_node *variable, const void *data, size_t bytes);
/* TN_ERR_ARG if the dtype cannot hold the value, as tn_full has it */
TN_API tn_status   tn_variable_fill(tn_node *variable, double value);

/* The variable's new value, to be committed when a run that has this node among its outputs ends
 * well; every read in that run sees the old one, and what is made of this node the new. One assign
 * a variable in a program.
 *   value: the variable's shape and dtype  ->  the same, the new value */
TN_API tn_node *tn_assign(tn_node *variable, tn_node *value);

/* ---- differentiation ----------------------------------------------------------------------- */

/* Appends to the graph the gradients of y with respect to n nodes (variables, inputs, or any node
 * on the way) and puts them in grad[0..n). dy is the cotangent, of y's type; NULL means 1, and y
 * must be a scalar then. A gradient is a node like any other, and can be differentiated again.
 * TN_ERR_GRAD if y does not depend on some wrt[i] through differentiable ops. */
TN_API tn_status tn_grad(tn_node *y, tn_node *dy, tn_node *const *wrt, int n, tn_node **grad);

/* Like tn_grad, but where y does not depend on wrt[i], grad[i] is NULL and that is no error. */
TN_API tn_status tn_grad_or_none(tn_node *y, tn_node *dy, tn_node *const *wrt, int n,
                                 tn_node **grad);

/* Jacobian-vector product: the derivative of y along tangents dx of the nodes x, each of its node's
 * type (TN_ERR_SHAPE), which is of real numbers (TN_ERR_GRAD); NULL is a tangent of zeros. */
TN_API tn_node *tn_jvp(tn_node *y, tn_node *const *x, tn_node *const *dx, int n);

/* ---- programs ------------------------------------------------------------------------------ */

typedef struct tn_program tn_program;
typedef struct tn_arena   tn_arena;
typedef struct tn_panels  tn_panels;

typedef struct tn_compile_options {
    tn_node    *guard;     /* bool scalar: a run commits only if it is true (TN_ERR_GUARD if not) */
    /* i64 scalar variable: the run counter of random ops; advanced by each run that commits */
    tn_node    *run;
    tn_arena   *arena;     /* shared with other programs of the context; NULL: one of its own */
    bool        no_fusion; /* run each op alone (the same bits; for tests and for looking) */
    bool        no_reuse;  /* give every intermediate memory of its own (likewise) */
    const char *recompute; /* scopes, "encoder.*, decoder.*": see below; NULL: nothing */
    tn_panels  *panels;    /* for weights that stay the same: see tn_panels_new; NULL: none */
} tn_compile_options;

/* Recomputing: what gradients read of the scopes that are named is computed a second time, just
 * before, instead of being kept since the forward pass: less memory for more time, the same bits.
 * A list of patterns, in which * stands for any text; each of the outermost scopes that match is a
 * region. Kept is what a region takes from outside, and what others than gradients take from it:
 * with a region for each layer ("encoder.*"), the layers' inputs. tn_program_stats tells what it
 * saves and costs. TN_ERR_ARG if a pattern names no scope of the graph. */

/* Compiles what the outputs need into a program. options may be NULL. The graph may be freed
 * afterwards; then inputs and outputs are reached by name or by position. NULL with the message in
 * the context: TN_ERR_LIMIT if the memory needed (named) is over the context's limit. */
TN_API tn_program *tn_compile(tn_graph *g, tn_node *const *outputs, int n,
                              const tn_compile_options *options);
TN_API void        tn_program_free(tn_program *p); /* NULL is fine */

/* Copies an input's numbers in: bytes must be those of its type. TN_ERR_ARG names the input, or
 * says that it is none of the graph. What the outputs do not need is passed over, whatever its
 * size. */
TN_API tn_status tn_feed(tn_program *p, const tn_node *input, const void *data, size_t bytes);
TN_API tn_status tn_feed_name(tn_program *p, const char *name, const void *data, size_t bytes);

/* The memory of an input, to be written in place before a run (it counts as fed, and starts as
 * zeros); NULL if the program does not use it. */
TN_API void *tn_input_data(tn_program *p, const char *name);

/* One run: compute first, commit last. An error, a cancellation or a false guard changes no
 * variable. */
TN_API tn_status tn_run(tn_program *p);

/* Outputs of the last run, by node or by position in the list given to tn_compile. Of an assign:
 * what its variable holds now. tn_output: NULL if there is none at index; before the first run what
 * it points at is not an output yet, which tn_fetch and tn_item refuse (TN_ERR_STATE). tn_fetch: of
 * bytes that differ from the output's, or a node that is no output, TN_ERR_ARG. */
TN_API const void *tn_output(const tn_program *p, int index); /* contiguous */
TN_API tn_type     tn_output_type(const tn_program *p, int index);
TN_API tn_status   tn_fetch(tn_program *p, const tn_node *output, void *data, size_t bytes);
/* of one element, as a double; NaN on error */
TN_API double      tn_item(tn_program *p, const tn_node *output);

/* What a program needs, known before it runs. */
typedef struct tn_program_stats {
    size_t  arena_bytes;    /* of all intermediates, planned */
    size_t  no_reuse_bytes; /* what they would take with memory of their own each */
    size_t  input_bytes, output_bytes, constant_bytes, variable_bytes;
    double  flops;          /* of one run */
    int64_t calls;          /* op calls, after dead code and common subexpressions are gone */
    int64_t steps;          /* kernels that run: fused calls count once */
    size_t  kept_bytes;     /* arena_bytes if nothing were recomputed */
    int64_t recomputed_calls; /* that run twice, beyond calls */
    double  recomputed_flops; /* of flops, what is done again */
} tn_program_stats;
TN_API tn_program_stats tn_program_stats_of(const tn_program *p);

/* An arena that several programs of a context share; they run one at a time anyway. */
TN_API tn_arena *tn_arena_new(tn_ctx *ctx);
TN_API void      tn_arena_free(tn_arena *arena); /* after its programs */
TN_API size_t    tn_arena_bytes(const tn_arena *arena);

/* Weights that stay the same from run to run are packed once, in the form that products want: worth
 * it where a run has few rows for them, as decoding has. Programs of the context that are compiled
 * with the same panels share one packed copy of each matrix that a product of theirs reads from a
 * variable, and that they do not write. It is made as they are compiled; a later change of the
 * variable is not seen before tn_panels_update, and tn_program_bind does not reach it. The bits are
 * the same. Variables and panels must stay until the programs are freed. NULL: TN_ERR_MEMORY. */
TN_API tn_panels *tn_panels_new(tn_ctx *ctx);
TN_API tn_status  tn_panels_update(tn_panels *panels); /* TN_ERR_BUSY: a program is running */
TN_API size_t     tn_panels_bytes(const tn_panels *panels);
TN_API void       tn_panels_free(tn_panels *panels); /* after its programs; NULL is fine */

/* Points the program at other variables: each of its variables whose name is that of variables[i]
 * is replaced by it. TN_ERR_SHAPE or _DTYPE if their types differ; then nothing has changed. The
 * variables may be of another context, so that threads with a context each share one set of weights
 * (which must then outlive the programs, and which nobody may write while one of them runs). */
TN_API tn_status tn_program_bind(tn_program *p, tn_node *const *variables, int n);

/* Text: a line a step, with shapes, fusion (and why not), offsets. DOT: the graph for Graphviz. */
TN_API void tn_program_dump(const tn_program *p, FILE *out);
TN_API void tn_graph_dump(const tn_graph *g, FILE *out);
TN_API void tn_graph_dot(const tn_graph *g, FILE *out);

/* Per-op times of the runs since profiling was switched on: time, share, GFLOP/s, GB/s. */
TN_API void tn_program_profile(tn_program *p, bool on);
TN_API void tn_program_profile_dump(const tn_program *p, FILE *out);

/* Computes one node at once into out (bytes of its type): for tests, small scripts, debuggers. It
 * may depend on variables and constants, not on inputs. */
TN_API tn_status tn_eval(tn_node *x, void *out, size_t bytes);

/* ---- checking gradients --------------------------------------------------------------------- */

/* Builds a value from inputs: what tn_gradcheck differentiates. */
typedef tn_node *(*tn_build)(tn_graph *g, tn_node *const *in, void *user);

typedef struct tn_gradcheck_options {
    double      step;        /* of the central differences, relative to max(1, |x|); 0: 1e-5 */
    double      tolerance;   /* of |analytic - numeric| / max(1, |numeric|); 0: 1e-6 */
    int         order;       /* 1, or 2: the gradients' own gradients too; 0: 1 */
    uint64_t    seed;        /* of the cotangent (and tangent) */
    const bool *no_grad;     /* by input: true leaves it out; NULL: every float input is checked */
    tn_mode     mode;
} tn_gradcheck_options;

typedef struct tn_gradcheck_report {
    double  worst;       /* largest relative error */
    int     order, input; /* where: order 1 or 2, input number, element */
    int64_t element;
    double  analytic, numeric;
} tn_gradcheck_report;

/* Compares gradients with signed central differences in f64: of every element of every float input.
 *   types[n], data[n]: 1 to 64 inputs (f64, or integers for indices), contiguous.
 * TN_ERR_GRAD, with the place and both numbers in the context's message, if they differ. */
TN_API tn_status tn_gradcheck(tn_ctx *ctx, tn_build build, void *user, int n, const tn_type *types,
                              const void *const *data, const tn_gradcheck_options *options,
                              tn_gradcheck_report *report);

#ifdef __cplusplus
}
#endif
#endif
