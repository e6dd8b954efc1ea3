/* The inside of a translator: what decodes one group of sentences at a time. Several may work at
 * once, each with a part of the context (tensor/internal.h): they share the weights alone. */
#ifndef TN_MODELS_DECODE_GROUP_H
#define TN_MODELS_DECODE_GROUP_H

#include "models/beam.h"

#include <stdatomic.h>

enum { TN__DECODE_GROUPS = 8, TN__DECODE_ENCODERS = 8, TN__DECODE_STEPS = 20 };

typedef struct tn__decode_program {
    int64_t     rows, width; /* sentences; tokens of a source, or beams */
    int64_t     used;        /* when, to find the one used longest ago */
    tn_program *program;     /* NULL: there is none */
} tn__decode_program;

/* Caches and programs of one shape. */
typedef struct tn__decode_group {
    int64_t     rows, source, length; /* sentences; room for tokens of a source and of a target */
    int64_t     used;                 /* when, to find the one used longest ago; 0: free */
    tn_params  *set;                  /* of the caches */
    tn_node   **memory_k, **memory_v; /* [n_decoder]: [rows, source, h, dh] */
    tn_attention_cache *cache;        /* [n_decoder]: [rows, length k, h, dh] */
    tn__decode_program  encoders[TN__DECODE_ENCODERS], steps[TN__DECODE_STEPS];
} tn__decode_group;

typedef struct tn__decoder {
    const tn_transformer *m;
    tn_ctx               *ctx; /* the model's, or a part of it */
    tn_translate_options  o;
    tn_panels            *panels;    /* the decoder's weights as its steps read them, for all */
    tn_node              *positions; /* the table of sinusoidal ones, for all; or NULL */
    tn_arena             *arena;
    tn__decode_group      groups[TN__DECODE_GROUPS];
    int64_t               clock;
    int64_t               n_candidates; /* of each beam and step */
    const atomic_int     *status; /* of all that work at once: not TN_OK: stop; NULL: of none */
} tn__decoder;

/* A source and how long it is. */
typedef struct tn__decode_source {
    int64_t index, length;
} tn__decode_source;

/* The group of this shape, made if it is not there; NULL: the decoder's context has the error. */
tn__decode_group *tn__decode_group_for(tn__decoder *d, int64_t rows, int64_t source,
                                       int64_t length);
void              tn__decode_groups_clear(tn__decoder *d);

/* The group's programs for sentences of the caches' first `rows` rows, made if they are not there:
 * for sources of `width` tokens at most, and for a step of so many beams. */
tn_program *tn__decode_encoder_for(tn__decoder *d, tn__decode_group *g, int64_t rows,
                                   int64_t width);
tn_program *tn__decode_step_for(tn__decoder *d, tn__decode_group *g, int64_t rows, int64_t beams);

/* Translates n sources, the longest last, as tn_translate does: those of source `index` come to
 * out[index n_best]. */
tn_status tn__decode_sources(tn__decoder *d, const tn__decode_source *order, int64_t n,
                             const int32_t *ids, const int64_t *at, tn_translation *out);

#endif
