/* A bounded cache of programs, for inputs of many shapes. A key is a list of numbers (a shape, what
 * is frozen, ..); on a miss the caller's function builds the program. All share one arena, so
 * memory is that of the largest and not of all together. */
#ifndef TN_NN_PROGRAM_CACHE_H
#define TN_NN_PROGRAM_CACHE_H

#include "autograd/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_program_cache tn_program_cache;

enum { TN_PROGRAM_KEY = 8 };

/* Builds the program of a key of n numbers: make a graph, compile with `arena` among the options,
 * free the graph. Inputs and outputs are reached by name and position. NULL on failure. */
typedef tn_program *(*tn_program_build)(void *user, const int64_t *key, int n, tn_arena *arena);

/* Holds at most `capacity` programs (0: 32); the one used longest ago makes room for a new one. */
TN_API tn_program_cache *tn_program_cache_new(tn_ctx *ctx, int capacity, tn_program_build build,
                                              void *user);
TN_API void tn_program_cache_free(tn_program_cache *cache); /* and its programs; NULL is fine */

/* The program of the key (n <= 8 numbers), which the cache owns: it lives until `capacity` other
 * keys were asked for since. NULL if it could not be built; TN_ERR_BUSY if a build function asks
 * its own cache for one that is not there. */
TN_API tn_program *tn_program_cache_get(tn_program_cache *cache, const int64_t *key, int n);

TN_API int       tn_program_cache_count(const tn_program_cache *cache);
TN_API int64_t   tn_program_cache_misses(const tn_program_cache *cache); /* programs built so far */
TN_API tn_arena *tn_program_cache_arena(const tn_program_cache *cache);
TN_API void      tn_program_cache_clear(tn_program_cache *cache);        /* frees all programs */

#ifdef __cplusplus
}
#endif
#endif
