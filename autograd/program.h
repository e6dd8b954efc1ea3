/* A compiled program from inside: what compile.c, fuse.c and plan.c make and program.c runs.
 *
 * Values are what the steps read and write: a type, and a layout over a buffer. Several values may
 * share a buffer (views). A step runs one op's kernel, or a chain: elementwise ops run back to back
 * over blocks that stay in the first-level cache, alone or behind a matrix product. */
#ifndef TN_AUTOGRAD_PROGRAM_H
#define TN_AUTOGRAD_PROGRAM_H

#include "autograd/internal.h"

typedef enum tn__buffer_kind {
    TN__ARENA,    /* an intermediate: planned */
    TN__INPUT,    /* fed by the host */
    TN__CONSTANT, /* numbers of the program's own */
    TN__VARIABLE, /* a slot */
    TN__OUTPUT,   /* fetched by the host */
    TN__PANELS    /* packed weights, which are not the program's */
} tn__buffer_kind;

typedef struct tn__buffer {
    tn__buffer_kind kind;
    size_t          bytes;
    size_t          offset;      /* ARENA: planned */
    int             first, last; /* ARENA: steps between which it is needed */
    int             alias;       /* ARENA: shares this buffer's memory; -1: has its own */
    int             slot;        /* VARIABLE: which */
    void           *data;        /* all but ARENA: where it is */
} tn__buffer;

typedef struct tn__value {
    tn_type   type;
    tn_layout layout;
    int       buffer;
} tn__value;

/* ---- chains ---------------------------------------------------------------------------------- */

enum { TN__CHAIN_IN = 24, TN__CHAIN_OUT = 32, TN__CHAIN_INSTR = 32, TN__CHAIN_SLOTS = 96 };

typedef enum tn__slot_kind {
    TN__SLOT_DIRECT,   /* an input that is contiguous: the block is where it lies */
    TN__SLOT_GATHER,   /* an input of other strides: the block may have to be gathered */
    TN__SLOT_SCALAR,   /* an input that is one number everywhere: a block filled once */
    TN__SLOT_REGISTER, /* a value between two ops: a block of scratch */
    TN__SLOT_OUT       /* a value that is written out */
} tn__slot_kind;

typedef struct tn__slot {
    tn__slot_kind kind;
    uint8_t       size; /* bytes of an element */
    int16_t       at;   /* position among the chain's inputs or outputs */
    int16_t       reg;  /* block of scratch, or -1 */
    bool          is_row; /* GATHER: one row for all */
    int64_t       stride[TN_MAX_RANK]; /* GATHER: over the chain's dims */
} tn__slot;

typedef struct tn__instr {
    const tn_op *op;
    const void  *attrs;
    tn_span_fn   fn;
    int          n_in, n_out;
    int16_t      in[TN_SPAN_MAX_IN], out[TN_SPAN_MAX_OUT]; /* slots */
} tn__instr;

typedef struct tn__chain {
    int       n_instr, n_slots, n_registers;
    int       rank;                /* dims of the result, merged where every input allows */
    int64_t   dim[TN_MAX_RANK];
    int64_t   n;                   /* elements of the result */
    bool      is_far;              /* more than the caches hold */
    void    (*stream)(void *to, const void *from, size_t bytes, const char *const *ahead,
                      int n_ahead); /* past them: tensor/stream.h */
    int64_t   block;               /* elements at a time, */
    int64_t   row;                 /* which do not go beyond the end of such a row; 0: they do */
    size_t    register_bytes;      /* of one block of scratch */
    /* scratch of one worker: a flag (64 bytes), then the registers */
    size_t     worker_bytes;
    tn__slot  *slot;
    tn__instr *instr;
} tn__chain;

/* A chain that is being run: the step's tensors and scratch beside it. */
typedef struct tn__chain_run {
    const tn__chain *chain;
    const tn_tensor *in, *out;
    char            *scratch;
    uint64_t         seed, run;
    bool             is_far;   /* reads ahead, */
    unsigned         streamed; /* and writes these outputs past the caches */
    int64_t          task;     /* elements of one */
} tn__chain_run;

/* Lays out registers and blocks once slots, instructions and dims are there. */
void tn__chain_finish(tn__chain *c, const tn_ctx *ctx);
void tn__chain_prepare(const tn__chain_run *r, int threads); /* before the blocks of a run */
/* [first, first + n) */
void tn__chain_span(const tn__chain_run *r, int64_t first, int64_t n, int worker);
/* All of it; fills in how. leaves: as tn__parallel_for, r stays until a join. */
void tn__chain_run_all(tn_ctx *ctx, tn__chain_run *r, bool leaves);

/* What is fused behind a matrix product (tn_exec.epilogue points here). */
typedef struct tn__epilogue {
    tn__chain_run run;
    int64_t       m, n; /* of one product of the batch */
} tn__epilogue;

/* ---- steps ----------------------------------------------------------------------------------- */

typedef struct tn__step {
    const tn_op *op;      /* of the kernel; of the first instruction if there is only a chain */
    const void  *attrs;
    const char  *scope;
    int          n_in, n_out;             /* the kernel's */
    int          n_chain_in, n_chain_out; /* the chain's follow */
    tn_tensor   *tensors;                 /* in, out, chain in, chain out */
    int         *values;                  /* likewise */
    tn__chain   *chain;                   /* NULL: a kernel alone */
    tn__epilogue epilogue;                /* the run of it at hand */
    bool         overlaps;                /* may begin while the step before it ends */
    bool         kernel;                  /* false: a chain alone */
    int          scratch;                 /* buffer, or -1 */
    int          chain_scratch;
    double       flops, bytes;
    /* of the calls: recomputed ones, and their share of flops */
    int          n_again;
    double       flops_again;
    char         note[48];                /* of the dump: why it was not fused */
    double       seconds;                 /* profile */
    int64_t      runs;
} tn__step;

TN_INLINE int tn__step_tensors(const tn__step *s)
{
    return s->n_in + s->n_out + s->n_chain_in + s->n_chain_out;
}

/* At commit: copy a value into its variable. In-place updates are steps of the commit phase. */
typedef struct tn__commit {
    int value, slot;
} tn__commit;

typedef struct tn__program_input {
    const tn_node *node;
    char          *name;
    tn_type        type;
    int            buffer;
    bool           is_fed;
} tn__program_input;

typedef struct tn__program_output {
    const tn_node *node;
    tn_type        type;
    int            value; /* -1: an assign, whose value is its variable's */
    int            slot;
} tn__program_output;

struct tn_arena {
    tn_ctx  *ctx;
    void    *data;
    size_t   bytes;
    uint64_t version; /* changes when data moves */
};

struct tn_program {
    tn_ctx             *ctx;
    tn__block          *blocks; /* everything small lives here */
    tn__value          *values;
    int64_t             n_values, cap_values;
    tn__buffer         *buffers;
    int64_t             n_buffers, cap_buffers;
    tn__step           *steps;  /* first those that compute, then those that commit */
    int64_t             n_steps, cap_steps, n_compute;
    tn__commit         *commits;
    int64_t             n_commits, cap_commits;
    tn_node           **slots;  /* variables */
    int64_t             n_slots, cap_slots;
    tn__program_input  *inputs;
    int64_t             n_inputs;
    tn__program_input  *known;  /* all inputs of the graph, those that nothing needs too */
    int64_t             n_known;
    tn__program_output *outputs;
    int64_t             n_outputs;
    int                 guard;  /* value, or -1 */
    tn_node            *run_counter;
    uint64_t            run;    /* without a counter */
    tn_arena           *arena;
    bool                owns_arena, is_bound, profiling, has_run;
    uint64_t            arena_version;
    size_t              arena_bytes, no_reuse_bytes;
    size_t              kept_bytes; /* arena_bytes if nothing were recomputed */
    int64_t             n_calls;
};

/* The buffer whose memory b uses. */
TN_INLINE int tn__buffer_root(const tn_program *p, int b)
{
    while (p->buffers[b].alias >= 0) b = p->buffers[b].alias;
    return b;
}

void *tn__program_alloc(tn_program *p, size_t size);
/* -1: memory */
int   tn__value_new(tn_program *p, tn_type type, const tn_layout *layout, int buffer);
int   tn__buffer_new(tn_program *p, tn__buffer_kind kind, size_t bytes);
bool  tn__layout_is_contiguous(const tn_layout *l);
tn_layout tn__layout_of(const tn_shape *s);

/* ---- between the passes of compile ----------------------------------------------------------- */

/* A call after lowering: its inputs and outputs are values. */
typedef struct tn__item {
    const tn_op *op;
    const void  *attrs;
    const char  *scope;
    int          n_in, n_out;
    int         *in, *out;
    const char  *note; /* of the dump */
    bool         is_gradient; /* made while differentiating */
    bool         is_again;    /* runs a second time */
    bool         stays;       /* reads a variable that rows are written to at once: in its turn */
} tn__item;

typedef struct tn__lowered {
    tn_program *p;
    tn__item   *items;
    int64_t     n, cap;
    bool        no_fusion;
} tn__lowered; /* assigns are in p->commits; fuse.c takes out those that it makes steps of */

/* Gradients read copies of what the scopes that the patterns name computed. */
tn_status tn__recompute(tn__lowered *l, const tn_graph *g, const char *patterns);
/* Products with variables that the program does not write become products with packed panels. */
tn_status tn__use_panels(tn__lowered *l, tn_panels *panels);
tn_status tn__pair(tn__lowered *l);  /* cross-entropy and its gradient become one item */
tn_status tn__nest(tn__lowered *l);  /* parts of concatenations are written where they belong */
tn_status tn__fuse(tn__lowered *l);  /* items -> p->steps, in order, commit steps last */
/* Allocates what the program needs outside of the arena, and the arena; points every tensor at
 * it. */
tn_status tn__program_bind_memory(tn_program *p);

/* Lifetimes, aliases, offsets, overlaps; is_tight: no overlap for which the arena must grow. */
tn_status tn__plan(tn_program *p, bool no_reuse, bool is_tight);
/* Finds the steps that may begin while the one before them ends: where memory has its places, those
 * for which it is apart. */
void tn__overlap(tn_program *p, bool is_placed);
void tn__overlap_apart(tn_program *p); /* extends lifetimes so that it will be */

#endif
