/* Strips by hand: strips.h says of what. A step is the loads of B, a broadcast for each row of A
 * and the multiply-adds; a turn of four steps adds seven instructions, a strip of two vectors about
 * eighty. */
#include "tensor/kernels/strips.h"

#ifdef STRIPS_BY_HAND

#include <stddef.h>

/* The code knows where a strip's members lie. */
_Static_assert(offsetof(tn__strip, step) == 8 && offsetof(tn__strip, turns) == 16 &&
                   offsetof(tn__strip, rest) == 24 && sizeof(tn__strip) == 32,
               "a tn__strip is laid out otherwise");

/* ---- what the code is made of: X(registers of a row's accumulators.., address) ------------ */

#define FIRST_REGISTERS                                                                            \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14"

#ifdef __AVX512F__ /* rows of four vectors, in zmm0 to zmm23 */
#  define R0 "0", "1", "2", "3"
#  define R1 "4", "5", "6", "7"
#  define R2 "8", "9", "10", "11"
#  define R3 "12", "13", "14", "15"
#  define R4 "16", "17", "18", "19"
#  define R5 "20", "21", "22", "23"
#  define CLEAR_ONE(r) "vpxord %%zmm" r ", %%zmm" r ", %%zmm" r "\n\t"
#  define CLEAR(p, q, r, s, at) CLEAR_ONE(p) CLEAR_ONE(q) CLEAR_ONE(r) CLEAR_ONE(s)
#  define LOAD_BETA(at) "vbroadcastss " at ", %%zmm28\n\t"
#  define SCALE(p, q, r, s, at)                                                                    \
      "vmulps " at ", %%zmm28, %%zmm" p "\n\tvmulps 64" at ", %%zmm28, %%zmm" q                    \
      "\n\tvmulps 128" at ", %%zmm28, %%zmm" r "\n\tvmulps 192" at ", %%zmm28, %%zmm" s "\n\t"
#  define STORE(p, q, r, s, at)                                                                    \
      "vmovups %%zmm" p ", " at "\n\tvmovups %%zmm" q ", 64" at "\n\tvmovups %%zmm" r ", 128" at   \
      "\n\tvmovups %%zmm" s ", 192" at "\n\t"
#  define FETCH(p, q, r, s, at)                                                                    \
      "prefetcht0 " at "\n\tprefetcht0 64" at "\n\tprefetcht0 128" at "\n\tprefetcht0 192" at      \
      "\n\t"
#  define LOAD_B(at)                                                                               \
      "vmovups " at ", %%zmm24\n\tvmovups 64" at ", %%zmm25\n\tvmovups 128" at                     \
      ", %%zmm26\n\tvmovups 192" at ", %%zmm27\n\t"
#  define MULTIPLY(p, q, r, s, at)                                                                 \
      "vbroadcastss " at ", %%zmm28\n\tvfmadd231ps %%zmm24, %%zmm28, %%zmm" p                      \
      "\n\tvfmadd231ps %%zmm25, %%zmm28, %%zmm" q "\n\tvfmadd231ps %%zmm26, %%zmm28, %%zmm" r      \
      "\n\tvfmadd231ps %%zmm27, %%zmm28, %%zmm" s "\n\t"
#  define REGISTERS                                                                                \
      FIRST_REGISTERS, "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",     \
          "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28"
#  define FETCH_AHEAD "prefetcht1 (%[line])\n\tprefetcht1 64(%[line])\n\t"
#else /* of two, in ymm0 to ymm11 */
#  define R0 "0", "1"
#  define R1 "2", "3"
#  define R2 "4", "5"
#  define R3 "6", "7"
#  define R4 "8", "9"
#  define R5 "10", "11"
#  define CLEAR(lo, hi, at)                                                                        \
      "vxorps %%xmm" lo ", %%xmm" lo ", %%xmm" lo "\n\tvxorps %%xmm" hi ", %%xmm" hi ", %%xmm" hi  \
      "\n\t"
#  define LOAD_BETA(at) "vbroadcastss " at ", %%ymm12\n\t"
#  define SCALE(lo, hi, at)                                                                        \
      "vmulps " at ", %%ymm12, %%ymm" lo "\n\tvmulps 32" at ", %%ymm12, %%ymm" hi "\n\t"
#  define STORE(lo, hi, at) "vmovups %%ymm" lo ", " at "\n\tvmovups %%ymm" hi ", 32" at "\n\t"
#  define FETCH(lo, hi, at) "prefetcht0 " at "\n\t"
#  define LOAD_B(at)        "vmovups " at ", %%ymm12\n\tvmovups 32" at ", %%ymm13\n\t"
#  define MULTIPLY(lo, hi, at)                                                                     \
      "vbroadcastss " at ", %%ymm14\n\tvfmadd231ps %%ymm12, %%ymm14, %%ymm" lo                     \
      "\n\tvfmadd231ps %%ymm13, %%ymm14, %%ymm" hi "\n\t"
#  define FETCH_AHEAD "prefetcht1 (%[line])\n\t"
#  define REGISTERS   FIRST_REGISTERS
#endif
#define OF(x, ...) x(__VA_ARGS__)

#define C_ROWS_5(X)                                                                                \
    OF(X, R0, "(%[line])") OF(X, R1, "(%[line],%[step])") OF(X, R2, "(%[line],%[step],2)")         \
    OF(X, R3, "(%[n])") OF(X, R4, "(%[n],%[step])")
#define C_ROWS_6(X) C_ROWS_5(X) OF(X, R5, "(%[n],%[step],2)")
/* A member of *s; named by its offset, as compilers without optimisation take a register for each
 * operand in memory. */
#define OF_S(member)        "%c[" #member "](%[s])"
#define OFFSET(member)      [member] "i"(offsetof(tn__strips, member))
/* line = at, or, where it is said, the next strip's c; step = row, n = the fourth row */
#define POINT_AT(at, row)                                                                          \
    "movq " OF_S(at) ", %[line]\n\tmovq " OF_S(row) ", %[step]\n\t"                                \
    "leaq (%[step],%[step],2), %[n]\n\taddq %[line], %[n]\n\t"
#define ADVANCE(at, by) "movq " OF_S(by) ", %[n]\n\taddq %[n], " OF_S(at) "\n\t"
#define POINT_AT_NEXT_C                                                                            \
    "movq " OF_S(next_c) ", %[b]\n\taddq %[b], %[line]\n\taddq %[b], %[n]\n\t"

#define A_ROWS_5(X, o)                                                                             \
    OF(X, R0, o "(%[a])") OF(X, R1, o "(%[a],%[a_step])") OF(X, R2, o "(%[a],%[a_step],2)")        \
    OF(X, R3, o "(%[a_3])") OF(X, R4, o "(%[a_3],%[a_step])")
#define A_ROWS_6(X, o)      A_ROWS_5(X, o) OF(X, R5, o "(%[a_3],%[a_step],2)")
#define A_COLS_5(X, stride)                                                                        \
    OF(X, R0, "0(%[a]" stride ")") OF(X, R1, "4(%[a]" stride ")")                                  \
    OF(X, R2, "8(%[a]" stride ")") OF(X, R3, "12(%[a]" stride ")")                                 \
    OF(X, R4, "16(%[a]" stride ")")
#define A_COLS_6(X, stride) A_COLS_5(X, stride) OF(X, R5, "20(%[a]" stride ")")

/* A by rows: a_3 is the fourth of them. By columns: it is three steps. */
#define BEGIN_ROWS "leaq (%[a_step],%[a_step],2), %[a_3]\n\taddq %[a], %[a_3]\n\t"
#define BEGIN_COLS "leaq (%[a_step],%[a_step],2), %[a_3]\n\t"
#define TURN_ROWS(mr)                                                                              \
    LOAD_B("(%[b])") A_ROWS_##mr(MULTIPLY, "0")                                                    \
    LOAD_B("(%[b],%[b_step])") A_ROWS_##mr(MULTIPLY, "4")                                          \
    LOAD_B("(%[b],%[b_step],2)") A_ROWS_##mr(MULTIPLY, "8")                                        \
    LOAD_B("(%[b],%[b_3])") A_ROWS_##mr(MULTIPLY, "12")                                            \
    "leaq (%[b],%[b_step],4), %[b]\n\taddq $16, %[a]\n\taddq $16, %[a_3]\n\t"
#define STEP_ROWS(mr)                                                                              \
    LOAD_B("(%[b])") A_ROWS_##mr(MULTIPLY, "0")                                                    \
    "addq %[b_step], %[b]\n\taddq $4, %[a]\n\taddq $4, %[a_3]\n\t"
#define TURN_COLS(mr)                                                                              \
    LOAD_B("(%[b])") A_COLS_##mr(MULTIPLY, "")                                                     \
    LOAD_B("(%[b],%[b_step])") A_COLS_##mr(MULTIPLY, ",%[a_step]")                                 \
    LOAD_B("(%[b],%[b_step],2)") A_COLS_##mr(MULTIPLY, ",%[a_step],2")                             \
    LOAD_B("(%[b],%[b_3])") A_COLS_##mr(MULTIPLY, ",%[a_3]")                                       \
    "leaq (%[b],%[b_step],4), %[b]\n\tleaq (%[a],%[a_step],4), %[a]\n\t"
#define STEP_COLS(mr)                                                                              \
    LOAD_B("(%[b])") A_COLS_##mr(MULTIPLY, "")                                                     \
    "addq %[b_step], %[b]\n\taddq %[a_step], %[a]\n\t"

#define STRIPS_FN(mr, KIND)                                                                        \
    void TN_K(strips_##KIND##_##mr)(tn__strips *s)                                                 \
    {                                                                                              \
        const char *a, *b, *line;                                                                  \
        int64_t     a_3, step, n;                                                                  \
        __asm__ volatile(                                                                          \
            "1:\n\t" /* a strip */                                                                 \
            C_ROWS_##mr(CLEAR)                                                                     \
            "testl $0x7fffffff, " OF_S(beta) "\n\tjz 2f\n\t" /* 0 or -0 */                         \
            POINT_AT(start, start_row) LOAD_BETA(OF_S(beta))                                       \
            C_ROWS_##mr(SCALE)                                                                     \
            "2:\n\ttestl $1, " OF_S(fetches) "\n\tjz 8f\n\t"                                       \
            POINT_AT(c, c_row) POINT_AT_NEXT_C C_ROWS_##mr(FETCH)                                  \
            "8:\n\tmovq " OF_S(a_at) ", %[a]\n\tmovq " OF_S(b_at) ", %[b]\n\t" BEGIN_##KIND        \
            "9:\n\tmovq " OF_S(each) ", %[n]\n\tmovq (%[n]), %[line]\n\tmovq 8(%[n]), %[step]\n\t" \
            "movq 16(%[n]), %[n]\n\ttestq %[n], %[n]\n\tjz 4f\n\t.p2align 5\n\t"                   \
            "3:\n\t" /* a turn */                                                                  \
            FETCH_AHEAD TURN_##KIND(mr)                                                            \
            "addq %[step], %[line]\n\tsubq $1, %[n]\n\tjnz 3b\n\t"                                 \
            "4:\n\tmovq " OF_S(each) ", %[n]\n\taddq $32, " OF_S(each) "\n\t"                      \
            "movq 24(%[n]), %[n]\n\ttestq %[n], %[n]\n\tjz 6f\n\tjs 9b\n\t"                        \
            "5:\n\t" STEP_##KIND(mr) "subq $1, %[n]\n\tjnz 5b\n\t"                                 \
            "6:\n\t" POINT_AT(c, c_row) C_ROWS_##mr(STORE)                                         \
            "subq $1, " OF_S(strips) "\n\tjz 7f\n\t"                                               \
            ADVANCE(a_at, next_a) ADVANCE(b_at, next_b) ADVANCE(c, next_c)                         \
            ADVANCE(start, next_start)                                                             \
            "jmp 1b\n\t7:\n\tvzeroupper"                                                           \
            : [a] "=&r"(a), [a_3] "=&r"(a_3), [b] "=&r"(b), [line] "=&r"(line),                    \
              [step] "=&r"(step), [n] "=&r"(n)                                                     \
            : [s] "r"(s), [a_step] "r"(s->a_step), [b_step] "r"(s->b_step),                        \
              [b_3] "r"(3 * s->b_step), OFFSET(strips), OFFSET(a_at), OFFSET(b_at), OFFSET(c),     \
              OFFSET(c_row), OFFSET(start), OFFSET(start_row), OFFSET(next_a), OFFSET(next_b),     \
              OFFSET(next_c), OFFSET(next_start), OFFSET(each), OFFSET(beta), OFFSET(fetches)      \
            : REGISTERS, "memory", "cc");                                                          \
    }

STRIPS_FN(5, ROWS)
STRIPS_FN(6, ROWS)
STRIPS_FN(5, COLS)
STRIPS_FN(6, COLS)

#endif
