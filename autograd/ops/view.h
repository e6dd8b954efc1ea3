/* What ops that only move elements share: their references, each a map of coordinates. */
#ifndef TN_AUTOGRAD_OPS_VIEW_H
#define TN_AUTOGRAD_OPS_VIEW_H

#include "autograd/op.h"

#include <string.h>

/* The transpose of slice, in join.c: zeros of size n along the axis, with x at begin, begin + step,
 * .. */
tn_node *tn__spread(tn_node *x, int64_t axis, int64_t begin, int64_t step, int64_t n);

/* Of a call of slice in steps of 1: where its part is. False: it is another call, or has none. */
bool tn__slice_part(const tn__call *c, int *axis, int64_t *begin, int64_t *count);

/* The coordinates in the input of what stands at `at` of output k; false: it comes from nowhere. */
typedef bool (*tn__ref_map)(const tn_ref *r, int k, const int64_t *at, int64_t *in);

/* Fills output k by the map; elements that come from nowhere are left as they are. */
TN_INLINE void tn__ref_move(const tn_ref *r, int k, tn__ref_map map)
{
    const tn_shape *out = &r->out_type[k].shape, *in = &r->in_type[0].shape;
    size_t          size = r->out_type[k].dtype == TN_BOOL ? 1 : 8;
    int64_t         n = tn_shape_size(out);
    for (int64_t i = 0; i < n; i++) {
        int64_t at[TN_MAX_RANK] = { 0 }, from[TN_MAX_RANK] = { 0 }, j = 0, rest = i;
        for (int d = out->rank - 1; d >= 0; d--) at[d] = rest % out->dim[d], rest /= out->dim[d];
        if (!map(r, k, at, from)) continue;
        for (int d = 0; d < in->rank; d++) j = j * in->dim[d] + from[d];
        memcpy((char *)r->out[k] + (size_t)i * size, (const char *)r->in[0] + (size_t)j * size,
               size);
    }
}

/* op_ref by op_map. */
#define REF_MOVE(op)                                                                               \
    static void op##_ref(const tn_ref *r)                                                          \
    {                                                                                              \
        for (int k = 0; k < r->n_out; k++) tn__ref_move(r, k, op##_map);                           \
    }

#endif
