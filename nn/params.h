/* A parameter set: the variables that a model is made of, enumerable by name. What a layer's `new`
 * function makes is owned by the set; graphs and programs come and go around it.
 *
 * Names are paths, "encoder.0.self.q.w": a name given to tn_param stands behind the prefixes that
 * are pushed at that time. One thread at a time makes parameters. */
#ifndef TN_NN_PARAMS_H
#define TN_NN_PARAMS_H

#include "autograd/graph.h"
#include "nn/init.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_params tn_params;

enum { TN_PARAM_GROUPS = 8 };

/* dtype: of the parameters, TN_F32 or TN_F64. */
TN_API tn_params *tn_params_new(tn_ctx *ctx, tn_dtype dtype);
TN_API void       tn_params_free(tn_params *p); /* with all its variables; NULL is fine */
TN_API tn_ctx    *tn_params_ctx(const tn_params *p);
TN_API tn_dtype   tn_params_dtype(const tn_params *p);

/* A trainable parameter of the set's dtype; init NULL: zeros. TN_ERR_ARG if the name is taken, or
 * cannot stand in a file: it is not UTF-8, over 255 bytes long, or "__metadata__". */
TN_API tn_node *tn_param(tn_params *p, const char *name, tn_shape shape, const tn_init *init);

/* State that is saved with the parameters and never trained; zeros at first. Parts of it that
 * nothing is ever written to, as of a cache for decoding, take no memory. */
TN_API tn_node *tn_buffer(tn_params *p, const char *name, tn_dtype dtype, tn_shape shape);

/* ---- names ----------------------------------------------------------------------------------- */

/* Every name until the pop stands behind this one and a dot. */
TN_API void tn_params_push(tn_params *p, const char *format, ...) TN_PRINTF(2, 3);
TN_API void tn_params_pop(tn_params *p);
TN_API int  tn_params_depth(const tn_params *p);
TN_API void tn_params_restore(tn_params *p, int depth);

/* TN_PARAMS_SCOPE(p, "encoder.%d", i) { .. }: the same for a block, as TN_SCOPE is for graphs. */
#define TN_PARAMS_SCOPE(p, ...)                                                                    \
    for (int tn_params_d_ = tn_params_depth(p), tn_par_1_ = (tn_params_push(p, __VA_ARGS__), 1);   \
         tn_par_1_; tn_params_restore(p, tn_params_d_), tn_par_1_ = 0)

/* A copy of the text that lives as long as the set: what a layer keeps as its name. */
TN_API const char *tn_params_text(tn_params *p, const char *text);

/* ---- looking --------------------------------------------------------------------------------- */

/* parameters and buffers, in order of making */
TN_API int      tn_params_count(const tn_params *p);
TN_API tn_node *tn_params_at(const tn_params *p, int i);
TN_API tn_node *tn_params_find(const tn_params *p, const char *name); /* full name; NULL if none */
TN_API bool     tn_params_is_buffer(const tn_params *p, int i);
TN_API bool     tn_params_is_trainable(const tn_params *p, int i);
TN_API int      tn_params_group(const tn_params *p, int i);
TN_API int64_t  tn_params_size(const tn_params *p);           /* numbers in all parameters */
TN_API int64_t  tn_params_trainable_size(const tn_params *p); /* in those that are trained */

/* ---- freezing and groups ------------------------------------------------------------------------
 * pattern: a full name in which * stands for any text ("encoder.*", "*.b"). They return how many
 * parameters it names, which may be 0. What programs train is settled when they are made. */

TN_API int tn_params_set_trainable(tn_params *p, const char *pattern, bool trainable);
TN_API int tn_params_set_group(tn_params *p, const char *pattern, int group); /* group in [0, 8) */

/* Does `name` match the pattern? */
TN_API bool tn_name_matches(const char *pattern, const char *name);

/* ---- two sets -------------------------------------------------------------------------------- */

/* TN_OK if both have the same names with the same dtypes and shapes; else the first difference is
 * in the context of a. */
TN_API tn_status tn_params_compatible(const tn_params *a, const tn_params *b);

/* The values of from; nothing is changed if the sets are not compatible. */
TN_API tn_status tn_params_copy(tn_params *to, const tn_params *from);

/* Points a program at this set's variables: those that have the names of the program's. */
TN_API tn_status tn_params_bind(const tn_params *p, tn_program *program);

#ifdef __cplusplus
}
#endif
#endif
