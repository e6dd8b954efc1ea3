/* Parameters from files of other frameworks, by a map of names that says what becomes of each
 * tensor. A map is a list of rules, and nothing is left to guess: a parameter that no rule names, a
 * tensor that nothing was made of, and a shape that does not fit are errors.
 *
 *     int                   n;
 *     const tn_import_rule *rules = tn_gpt2_rules(&n);
 *     tn_import("gpt2/model.safetensors", p, rules, n, NULL);
 *
 * docs/importing.md lists the maps of our models and shows how to write another. */
#ifndef TN_NN_IMPORT_H
#define TN_NN_IMPORT_H

#include "nn/params.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a parameter's numbers come from. Of several rules that name it, the first counts.
 *
 * Outputs are what a layer computes: the rows of PyTorch's Linear.weight [out, in] (transposed; so
 * with its convolutions [out, in, size..], of transposed ones the rows are inputs, here too),
 * the last dimension of what already lies as ours does ([in, out], biases). Several tensors are
 * joined along their outputs, and then a part of these may be taken:
 *   qkv.w from the three matrices of q, k and v:      .from = "*.q.weight *.k.weight *.v.weight"
 *   kv.w from the last two thirds of a fused one:     .first = 1, .count = 2, .of = 3 */
typedef struct tn_import_rule {
    const char *to;   /* parameters: a full name in which * stands for any text. NULL: what `from`
                         names in the file is known, and not wanted */
    const char *from; /* the file's tensors, spaces between them; each * is the text that the one in
                         `to` stood for, in order. NULL: what `to` names stays as it is */
    bool        transposed; /* matrices are [out, in] there, and kernels [out, in, size..]; here
                               [in, out] and [size.., in, out] */
    int         first, count, of; /* `count` pieces from piece `first` on, where the outputs are cut
                                     into `of` equal ones; of 0: all of them */
} tn_import_rule;

typedef struct tn_import_options {
    const char *prefix; /* of the names in the file: what does not begin with it is not looked at */
    const char *scope;  /* of the names in the set, likewise: "encoder." */
} tn_import_options;

/* Fills the parameters and buffers of p from a safetensors file, all or nothing; f64, f32, f16 and
 * bf16 are converted. options may be NULL. TN_ERR_ARG (a bad rule, a parameter that none names),
 * TN_ERR_FORMAT (a tensor is missing, or is left over; a parameter would be infinite or NaN),
 * TN_ERR_SHAPE, TN_ERR_DTYPE, TN_ERR_IO, TN_ERR_MEMORY: the message names the file and the
 * parameter or tensor. */
TN_API tn_status tn_import(const char *path, tn_params *p, const tn_import_rule *rules, int n,
                           const tn_import_options *options);

#ifdef __cplusplus
}
#endif
#endif
