/* libtensor: tensors, graphs and reverse-mode differentiation in C. The umbrella header. */
#ifndef LIBTENSOR_H
#define LIBTENSOR_H

#include "tensor/base.h"
#include "tensor/context.h"
#include "tensor/random.h"
#include "autograd/graph.h"
#include "autograd/op.h"
#include "autograd/ops.h"

#endif
