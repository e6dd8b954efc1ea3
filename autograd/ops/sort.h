/* The k largest of one row, for ops that look at rows in passes of their own: what comes after the
 * two passes of tensor/kernels/top.h. */
#ifndef TN_AUTOGRAD_OPS_SORT_H
#define TN_AUTOGRAD_OPS_SORT_H

#include "autograd/ops/build.h"
#include "tensor/internal.h"
#include "tensor/kernels/top.h"

/* The t->k largest of t->y, as topk gives them, of the `found` at t->at; found < 0: nobody has
 * looked. room: for 2 n of TN__TOPK_ITEM bytes. */
enum { TN__TOPK_ITEM = 16 };
void tn__topk_row(const tn_kernels *kernels, const tn__top *t, tn_dtype dtype, int64_t found,
                  void *values, int64_t *positions, void *room);

#endif
