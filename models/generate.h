/* Text from a language model: continuing a prompt token by token, with a cache of keys and values.
 *
 *     tn_generator        *g = tn_generator_new(m, &(tn_generate_options){ .max_tokens = 40 });
 *     const tn_generation *y = tn_generate(g, prompt, n);    // y[0].ids
 */
#ifndef TN_MODELS_GENERATE_H
#define TN_MODELS_GENERATE_H

#include "models/gpt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_generate_options {
    int64_t  n;           /* continuations of a prompt, made together; at most 1024; 0: 1 */
    int64_t  max_tokens;  /* of each; 0: 64. Never more than there are positions */
    double   temperature; /* p is softmax(logits / temperature); 0: 1; TN_NONE: the likeliest token
                             each time, nothing is drawn */
    int64_t  top_k;       /* drawn from the k likeliest alone; 0: from all */
    double   top_p;       /* drawn from the fewest that together have this probability (the nucleus
                             of Holtzman et al. 2020, 3.1), after top_k; 0: 1, all */
    bool     has_end;     /* a continuation ends with the id `end` */
    int32_t  end;
    uint64_t seed;        /* of what is drawn; 0: the context's */
} tn_generate_options;

typedef struct tn_generation {
    const int32_t *ids; /* what follows the prompt, without `end` */
    int64_t        n;
    double         log_prob; /* of the ids (and `end`), by the model: temperature 1, all tokens */
    bool           is_cut;   /* it reached the most tokens and did not end */
} tn_generation;

typedef struct tn_generator tn_generator;

/* Programs and caches for the model, which must stay until the generator is freed. It reads the
 * parameters as they are at each call. options may be NULL. NULL: TN_ERR_ARG, TN_ERR_MEMORY. */
TN_API tn_generator *tn_generator_new(const tn_gpt *m, const tn_generate_options *options);
TN_API void          tn_generator_free(tn_generator *g); /* NULL is fine */

/* Continues a prompt of n >= 1 ids: options.n continuations, valid until the next call. The k-th
 * continuation of the same prompt in the same call of two generators is the same, however many are
 * beside it and whatever the threads. NULL: TN_ERR_ARG (an empty or too long prompt, an id out of
 * range; scores that are not finite, as of huge weights), TN_ERR_MEMORY, TN_ERR_CANCELLED. */
TN_API const tn_generation *tn_generate(tn_generator *g, const int32_t *prompt, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
