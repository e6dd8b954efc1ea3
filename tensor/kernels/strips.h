/* Strips of five and six rows against STRIPS_NV vectors of B, f32 with AVX2 and AVX-512, by hand,
 * for matrix products and attention. A core that two hardware threads share issues little beside
 * the multiply-adds, and compilers leave a tenth too much there (a quarter with AVX-512): addresses
 * derived anew, accumulators moved about, and for each tile a call. The elements are those of the
 * compilers' tiles: one chain of fused multiply-adds each, in rising order. STRIPS_BY_HAND says
 * that there are any at this level. Sanitizers do not see what they load, and so have none. */
#ifndef TN_KERNELS_STRIPS_H
#define TN_KERNELS_STRIPS_H

#include "tensor/kernels/kernels.h"

#if defined __AVX2__ && defined __FMA__ && !TN__SANITIZED
#  define STRIPS_BY_HAND
#  ifdef __AVX512F__
#    define STRIPS_NV 4
#    define STRIPS_LINES 2
#  else
#    define STRIPS_NV 2
#    define STRIPS_LINES 1
#  endif

/* A strip's sum is over 4 turns + rest, and with a rest below 0 goes on in the next tn__strip. In
 * each turn it fetches STRIPS_LINES neighbouring lines of cache, `step` bytes from one turn to the
 * next. */
typedef struct tn__strip {
    const char *line;
    int64_t     step, turns, rest;
} tn__strip;

/* Strips of as many rows, C = beta start + A B; where beta is 0, start is not read. a_step is from
 * one row of A to the next (ROWS: steps of k are neighbours), or from one step of k to the next
 * (COLS: rows are). Steps, strides and what lies between one strip and the next are in bytes. */
typedef struct tn__strips {
    int64_t          strips;
    const char      *a_at, *b_at, *start;
    char            *c;
    int64_t          a_step, b_step, c_row, start_row;
    int64_t          next_a, next_b, next_c, next_start;
    const tn__strip *each;
    float            beta;
    int32_t          fetches; /* 1: where the next strip's result goes, before a strip's sum */
} tn__strips;

void TN_K(strips_ROWS_5)(tn__strips *s);
void TN_K(strips_ROWS_6)(tn__strips *s);
void TN_K(strips_COLS_5)(tn__strips *s);
void TN_K(strips_COLS_6)(tn__strips *s);

/* *s is used up. rows: 5 or 6. */
TN_INLINE void tn__strips_run(tn__strips *s, bool by_rows, int64_t rows)
{
    if (rows == 6) (by_rows ? TN_K(strips_ROWS_6) : TN_K(strips_COLS_6))(s);
    else (by_rows ? TN_K(strips_ROWS_5) : TN_K(strips_COLS_5))(s);
}

#endif

#endif
