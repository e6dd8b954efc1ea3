/* Checkpoints: parameters, or the complete state of a training, in one safetensors file each.
 *
 * A model is its parameters under their names, and whatever texts a program wants beside them (its
 * config, its tokenizer). A training state is the same file with the optimizer's variables in it
 * too ("optimizer.step", "adam.m.<name>", ..): one file, renamed into place, so that a kill at any
 * moment leaves weights, moments and position of one and the same step. */
#ifndef TN_NN_CHECKPOINT_H
#define TN_NN_CHECKPOINT_H

#include "nn/optimizer.h"
#include "nn/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Saves the parameters and buffers of p, with texts; opt (NULL: a model alone) with all its state,
 * and its kind as the text "libtensor.optimizer". TN_ERR_ARG here and below: opt is not of p.
 * TN_ERR_FORMAT: a number is infinite or NaN, as after a training that diverged, so that it could
 * not be loaded again. An older file is as it was then. */
TN_API tn_status tn_checkpoint_save(const char *path, const tn_params *p, const tn_optimizer *opt,
                                    const tn_metadata *metadata, int n_metadata);

/* Loads into p, and opt if it is not NULL, all or nothing. Every variable must be in the file with
 * its shape; f32, f64, f16 and bf16 are converted to what the variable is. What else is in the file
 * is left alone. An optimizer's learning rate, weight decay, clipping norm and decay of averages
 * are variables too, and become those of the file: set what is to be different afterwards. Its
 * betas and eps are not, and remain those that it was made with. TN_ERR_FORMAT (also of another
 * kind of optimizer, and where a number is infinite or NaN, as after a training that diverged),
 * _SHAPE or _DTYPE name the file and the variable. Buffers and accumulated gradients may be
 * anything. The context's seed is in no file: dropout of a resumed training has the bits of one
 * that was not interrupted if the seed is the same. */
TN_API tn_status tn_checkpoint_load(const char *path, tn_params *p, tn_optimizer *opt);

/* Saves the optimizer's averages of the weights as a model. TN_ERR_STATE if it keeps none; what is
 * not finite is refused as above. */
TN_API tn_status tn_checkpoint_save_average(const char *path, const tn_params *p,
                                            const tn_optimizer *opt,
                                            const tn_metadata *metadata, int n_metadata);

/* Writes the arithmetic mean of the models at n paths: checkpoint averaging. Integers, bools and
 * texts are the last one's. */
TN_API tn_status tn_checkpoint_average(tn_ctx *ctx, const char *const *paths, int n,
                                       const char *out);

#ifdef __cplusplus
}
#endif
#endif
