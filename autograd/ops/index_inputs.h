/* What ops with an index as input share (index.c, gather.c): their inputs as kernels want them,
 * contiguous, and indices as int64 that were checked before anything is read or written by them. */
#ifndef TN_OPS_INDEX_INPUTS_H
#define TN_OPS_INDEX_INPUTS_H

#include "autograd/ops/build.h"

/* The indices of input k, where they lie if they are i64 and contiguous (then they are only to be
 * read), else in scratch; fails if one is not in [0, limit). */
tn_status tn__indices(tn_exec *e, int k, int64_t limit, char **scratch, const int64_t **out);
size_t    tn__index_bytes(const tn_tensor *t); /* of scratch, for that */

/* Input k where it lies if it is contiguous, else its copy in scratch. */
const void *tn__plain(tn_exec *e, int k, char **scratch);

/* Taking: (x, index) -> y. */
size_t tn__take_scratch(const tn_exec *e);
void   tn__take_cost(const tn_infer *c, tn_cost *cost);

/* Adding: (x, index, source) -> x with the sources added. Its numbers are of f32, f64, i32 or i64,
 * and both of one dtype. */
tn_status tn__infer_addends(tn_infer *c);
size_t    tn__index_add_scratch(const tn_exec *e);
void      tn__index_add_cost(const tn_infer *c, tn_cost *cost);

TN_INLINE int64_t tn__ref_index(const tn_ref *r, int k, int64_t i)
{
    return ((const int64_t *)r->in[k])[i];
}

/* Of samples: input k is an index. */
#define INDEX(k)   .dtype = { [k] = TN_I32 }
#define INDEX64(k) .dtype = { [k] = TN_I64 }

#endif
