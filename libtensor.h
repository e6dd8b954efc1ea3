/* libtensor: tensors, graphs and reverse-mode differentiation in C. The umbrella header. */
#ifndef LIBTENSOR_H
#define LIBTENSOR_H

#include "tensor/base.h"
#include "tensor/context.h"
#include "tensor/half.h"
#include "tensor/random.h"
#include "autograd/graph.h"
#include "autograd/op.h"
#include "autograd/ops.h"
#include "nn/attention.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/checkpoint.h"
#include "nn/import.h"
#include "nn/optimizer.h"
#include "nn/params.h"
#include "nn/program_cache.h"
#include "nn/schedule.h"
#include "data/text.h"
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "data/token_pairs.h"
#include "data/batches.h"
#include "data/windows.h"
#include "data/metrics.h"
#include "models/blocks.h"
#include "models/decode.h"
#include "models/generate.h"
#include "models/gpt.h"
#include "models/transformer.h"

#endif
