/* The words that every other header uses: the export macro, status codes, dtypes, shapes, and a
 * strided view of numbers in memory. Plain values only; nothing here allocates. */
#ifndef TN_TENSOR_BASE_H
#define TN_TENSOR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined _WIN32
#  if defined TN_BUILDING
#    define TN_API __declspec(dllexport)
#  elif defined TN_STATIC
#    define TN_API
#  else
#    define TN_API __declspec(dllimport)
#  endif
#else
#  define TN_API __attribute__((visibility("default")))
#endif

#if defined __GNUC__
#  define TN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#  define TN_UNUSED            __attribute__((unused))
#  define TN_COLD              __attribute__((cold)) /* runs rarely: made small */
#  define TN_INLINE            static inline __attribute__((always_inline, unused))
#else
#  define TN_PRINTF(fmt, args)
#  define TN_UNUSED
#  define TN_COLD
#  define TN_INLINE            static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ------------------------------------------------------------------------------ */

/* Every way in which a call can fail. X(name, what it says) */
#define TN_STATUS_LIST(X)                                                                          \
    X(OK, "ok")                                                                                    \
    X(ERR_MEMORY, "out of memory")                                                                 \
    X(ERR_SHAPE, "shapes do not fit")                                                              \
    X(ERR_DTYPE, "dtypes do not fit")                                                              \
    X(ERR_ARG, "bad argument")                                                                     \
    X(ERR_INDEX, "index out of range")                                                             \
    X(ERR_GRAD, "no gradient")                                                                     \
    X(ERR_BUSY, "the context is running another program")                                          \
    X(ERR_STATE, "called out of order")                                                            \
    X(ERR_IO, "input or output failed")                                                            \
    X(ERR_FORMAT, "malformed file or text")                                                        \
    X(ERR_LIMIT, "over the memory limit")                                                          \
    X(ERR_CANCELLED, "cancelled")                                                                  \
    X(ERR_GUARD, "commit condition is false")                                                      \
    X(ERR_UNSUPPORTED, "not supported")

typedef enum tn_status {
#define TN_X(name, text) TN_##name,
    TN_STATUS_LIST(TN_X)
#undef TN_X
} tn_status;

/* The fixed text of a status, e.g. "out of memory". Never NULL. */
TN_API const char *tn_status_text(tn_status status);

/* ---- dtypes ------------------------------------------------------------------------------ */

/* X(name, bytes, text). f32 and f64 compute; f16 and bf16 are for storage and casts. A bool is 0 or
 * 1: of other bytes, ops may make different things. */
#define TN_DTYPE_LIST(X)                                                                           \
    X(F32, 4, "f32")                                                                               \
    X(F64, 8, "f64")                                                                               \
    X(I32, 4, "i32")                                                                               \
    X(I64, 8, "i64")                                                                               \
    X(U8, 1, "u8")                                                                                 \
    X(BOOL, 1, "bool")                                                                             \
    X(F16, 2, "f16")                                                                               \
    X(BF16, 2, "bf16")

typedef enum tn_dtype {
#define TN_X(name, bytes, text) TN_##name,
    TN_DTYPE_LIST(TN_X)
#undef TN_X
        TN_N_DTYPES
} tn_dtype;

TN_API size_t      tn_dtype_size(tn_dtype d);  /* bytes of one element; 0 for an unknown dtype */
TN_API const char *tn_dtype_name(tn_dtype d);  /* "f32", ...; "?" for an unknown dtype */

TN_INLINE bool tn_dtype_is_float(tn_dtype d) { return d == TN_F32 || d == TN_F64; }
TN_INLINE bool tn_dtype_is_index(tn_dtype d) { return d == TN_I32 || d == TN_I64; }

/* ---- shapes ------------------------------------------------------------------------------ */

enum { TN_MAX_RANK = 8 };

/* Rank 0 is a scalar; a dimension may be 0. Row-major: the last dimension is the fastest. */
typedef struct tn_shape {
    int     rank;
    int64_t dim[TN_MAX_RANK];
} tn_shape;

/* Builds a shape from a list. A rank over TN_MAX_RANK gives rank -1, which every op refuses. */
TN_API tn_shape tn_shape_of(int rank, const int64_t *dims);

#ifdef __cplusplus
} /* extern "C" */
#include <initializer_list>
static inline tn_shape tn_shape_list(std::initializer_list<int64_t> d)
{
    return tn_shape_of((int)d.size(), d.begin());
}
#  define TN_SHAPE(...) tn_shape_list({ __VA_ARGS__ })
#  define TN_SCALAR     tn_shape_of(0, NULL)
extern "C" {
#else
#  define TN_SHAPE(...)                                                                            \
      tn_shape_of((int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                     \
                  (const int64_t[]){ __VA_ARGS__ })
#  define TN_SCALAR ((tn_shape){ 0 })
#endif

/* product of the dims, at most INT64_MAX; 0 of what is none */
TN_API int64_t tn_shape_size(const tn_shape *s);
TN_API bool    tn_shape_equal(const tn_shape *a, const tn_shape *b);

/* NumPy's broadcast of two shapes into *out; false if some pair of dims is neither equal nor 1. */
TN_API bool tn_shape_broadcast(const tn_shape *a, const tn_shape *b, tn_shape *out);

/* Writes "[2,3]" into buf (always terminated, cut where it is too small) and returns buf. */
TN_API const char *tn_shape_text(const tn_shape *s, char *buf, size_t size);

/* Maps axis in [-rank, rank) to [0, rank); -1 if it is out of range. */
TN_API int tn_axis(int axis, int rank);

/* ---- views ------------------------------------------------------------------------------- */

/* Numbers in memory: element (i, j, ..) is at data + (i * stride[0] + j * stride[1] + ..) elements.
 * Strides may be 0 (broadcast) or negative (flip). A view owns nothing. */
typedef struct tn_tensor {
    tn_dtype dtype;
    tn_shape shape;
    int64_t  stride[TN_MAX_RANK];
    void    *data;
} tn_tensor;

/* A contiguous row-major view of data. */
TN_API tn_tensor tn_tensor_of(void *data, tn_dtype dtype, tn_shape shape);
TN_API bool      tn_tensor_is_contiguous(const tn_tensor *t);

/* Row-major strides of a shape, in elements. */
TN_API void tn_shape_strides(const tn_shape *s, int64_t stride[TN_MAX_RANK]);

#ifdef __cplusplus
}
#endif
#endif
