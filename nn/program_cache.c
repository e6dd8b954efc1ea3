/* The cache of programs: a short list, looked through in full; the time of last use decides. */
#include "nn/program_cache.h"

#include <string.h>

typedef struct entry {
    int64_t     key[TN_PROGRAM_KEY];
    int         n;
    int64_t     used;
    tn_program *program;
} entry;

struct tn_program_cache {
    tn_ctx          *ctx;
    tn_arena        *arena;
    tn_program_build build;
    void            *user;
    entry           *entries;
    int              n, capacity;
    int64_t          clock, misses;
    bool             is_building;
};

tn_program_cache *tn_program_cache_new(tn_ctx *ctx, int capacity, tn_program_build build,
                                       void *user)
{
    if (!ctx) return NULL;
    if (!build || capacity < 0) {
        tn_fail(ctx, TN_ERR_ARG, "tn_program_cache_new: %s",
                build ? "negative capacity" : "no build function");
        return NULL;
    }
    tn_program_cache *c = tn_alloc(ctx, sizeof *c);
    if (!c) return NULL;
    c->ctx = ctx, c->build = build, c->user = user, c->capacity = capacity ? capacity : 32;
    c->arena = tn_arena_new(ctx);
    c->entries = tn_alloc(ctx, (size_t)c->capacity * sizeof *c->entries);
    if (c->arena && c->entries) return c;
    tn_program_cache_free(c);
    return NULL;
}

void tn_program_cache_clear(tn_program_cache *c)
{
    for (int i = 0; c && i < c->n; i++) tn_program_free(c->entries[i].program);
    if (c) c->n = 0;
}

void tn_program_cache_free(tn_program_cache *c)
{
    if (!c) return;
    tn_program_cache_clear(c);
    tn_arena_free(c->arena);
    tn_free(c->ctx, c->entries), tn_free(c->ctx, c);
}

tn_program *tn_program_cache_get(tn_program_cache *c, const int64_t *key, int n)
{
    if (!c) return NULL;
    if (n < 0 || n > TN_PROGRAM_KEY || (n > 0 && !key)) {
        tn_fail(c->ctx, TN_ERR_ARG, "tn_program_cache_get: a key of %d numbers, at most %d", n,
                TN_PROGRAM_KEY);
        return NULL;
    }
    size_t bytes = (size_t)n * sizeof *key;
    int    oldest = 0;
    for (int i = 0; i < c->n; i++) {
        entry *e = &c->entries[i];
        if (e->n == n && (n == 0 || memcmp(e->key, key, bytes) == 0)) {
            e->used = ++c->clock;
            return e->program;
        }
        if (e->used < c->entries[oldest].used) oldest = i;
    }
    if (c->is_building) {
        tn_fail(c->ctx, TN_ERR_BUSY, "tn_program_cache_get: the cache is building a program");
        return NULL;
    }
    /* the old one goes first: the new one may need its memory */
    if (c->n == c->capacity) {
        tn_program_free(c->entries[oldest].program);
        c->entries[oldest] = c->entries[--c->n];
    }
    c->misses++, c->is_building = true;
    tn_program *p = c->build(c->user, key, n, c->arena);
    c->is_building = false;
    if (!p) {
        if (tn_ctx_status(c->ctx) == TN_OK)
            tn_fail(c->ctx, TN_ERR_ARG, "tn_program_cache_get: the build function gave NULL");
        return NULL;
    }
    entry *e = &c->entries[c->n++];
    *e = (entry){ .n = n, .used = ++c->clock, .program = p };
    if (n) memcpy(e->key, key, bytes);
    return p;
}

int       tn_program_cache_count(const tn_program_cache *c) { return c ? c->n : 0; }
int64_t   tn_program_cache_misses(const tn_program_cache *c) { return c ? c->misses : 0; }
tn_arena *tn_program_cache_arena(const tn_program_cache *c) { return c ? c->arena : NULL; }
