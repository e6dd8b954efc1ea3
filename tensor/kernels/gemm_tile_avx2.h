/* Strips of five and six rows against a panel of two vectors, f32 with AVX2, by hand. A core that
 * two hardware threads share issues little beside the multiply-adds, and compilers leave a tenth
 * too much there: addresses derived anew, accumulators moved about, and for each tile a call. Here
 * a step is two loads of B, a broadcast for each row of A and the multiply-adds; a turn of four
 * steps adds seven instructions, a strip about seventy. Included by gemm_tile.h; its tile() makes
 * the same elements in the same order. */

/* What a strip fetches: one line of cache a turn, `step` bytes from one to the next. */
typedef struct strip_lines {
    const char *line;
    int64_t     step;
} strip_lines;

/* Strips of as many rows. Steps and strides are in bytes, rest is k % 4. */
typedef struct strips_args {
    int64_t            strips, turns, rest;
    const char        *a_at, *b_at;
    char              *c;
    int64_t            a_step, b_step, c_row;
    int64_t            next_a, next_c; /* from one strip to the next */
    const strip_lines *lines;          /* of each strip */
    float              beta;
} strips_args;

/* ---- what the code is made of: X(registers of the row's two accumulators, address) ----------- */

#define C_ROWS_5(X)                                                                                \
    X("0", "1", "(%[line])") X("2", "3", "(%[line],%[step])") X("4", "5", "(%[line],%[step],2)")   \
    X("6", "7", "(%[n])") X("8", "9", "(%[n],%[step])")
#define C_ROWS_6(X) C_ROWS_5(X) X("10", "11", "(%[n],%[step],2)")
#define CLEAR(lo, hi, at)                                                                          \
    "vxorps %%xmm" lo ", %%xmm" lo ", %%xmm" lo "\n\tvxorps %%xmm" hi ", %%xmm" hi ", %%xmm" hi    \
    "\n\t"
#define SCALE(lo, hi, at)                                                                          \
    "vmulps " at ", %%ymm12, %%ymm" lo "\n\tvmulps 32" at ", %%ymm12, %%ymm" hi "\n\t"
#define STORE(lo, hi, at) "vmovups %%ymm" lo ", " at "\n\tvmovups %%ymm" hi ", 32" at "\n\t"
#define FETCH(lo, hi, at) "prefetcht0 " at "\n\t"
/* A member of *s; named by its offset, as compilers without optimisation take a register for each
 * operand in memory. */
#define OF_S(member)        "%c[" #member "](%[s])"
#define OFFSET(member)      [member] "i"(offsetof(strips_args, member))
/* line = c or, where it is said, the next strip's; step = c_row, n = the fourth row */
#define POINT_AT_C                                                                                 \
    "movq " OF_S(c) ", %[line]\n\tmovq " OF_S(c_row) ", %[step]\n\t"                               \
    "leaq (%[step],%[step],2), %[n]\n\taddq %[line], %[n]\n\t"
#define POINT_AT_NEXT_C                                                                            \
    "movq " OF_S(next_c) ", %[b]\n\taddq %[b], %[line]\n\taddq %[b], %[n]\n\t"

#define A_ROWS_5(X, o)                                                                             \
    X("0", "1", o "(%[a])") X("2", "3", o "(%[a],%[a_step])") X("4", "5", o "(%[a],%[a_step],2)")  \
    X("6", "7", o "(%[a_3])") X("8", "9", o "(%[a_3],%[a_step])")
#define A_ROWS_6(X, o)      A_ROWS_5(X, o) X("10", "11", o "(%[a_3],%[a_step],2)")
#define A_COLS_5(X, stride)                                                                        \
    X("0", "1", "0(%[a]" stride ")") X("2", "3", "4(%[a]" stride ")")                              \
    X("4", "5", "8(%[a]" stride ")") X("6", "7", "12(%[a]" stride ")")                             \
    X("8", "9", "16(%[a]" stride ")")
#define A_COLS_6(X, stride) A_COLS_5(X, stride) X("10", "11", "20(%[a]" stride ")")
#define MULTIPLY(lo, hi, at)                                                                       \
    "vbroadcastss " at ", %%ymm14\n\tvfmadd231ps %%ymm12, %%ymm14, %%ymm" lo                       \
    "\n\tvfmadd231ps %%ymm13, %%ymm14, %%ymm" hi "\n\t"
#define LOAD_B(at) "vmovups " at ", %%ymm12\n\tvmovups 32" at ", %%ymm13\n\t"

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
    static void strips_##KIND##_##mr(strips_args *s)                                               \
    {                                                                                              \
        const char *a, *b, *line;                                                                  \
        int64_t     a_3, step, n;                                                                  \
        __asm__ volatile(                                                                          \
            "1:\n\t" /* a strip */                                                                 \
            C_ROWS_##mr(CLEAR) POINT_AT_C                                                          \
            "testl $0x7fffffff, " OF_S(beta) "\n\tjz 2f\n\t" /* 0 or -0 */                         \
            "vbroadcastss " OF_S(beta) ", %%ymm12\n\t" C_ROWS_##mr(SCALE)                          \
            "2:\n\t" POINT_AT_NEXT_C C_ROWS_##mr(FETCH)                                            \
            "movq " OF_S(lines) ", %[n]\n\tmovq (%[n]), %[line]\n\tmovq 8(%[n]), %[step]\n\t"      \
            "addq $16, " OF_S(lines) "\n\t"                                                        \
            "movq " OF_S(a_at) ", %[a]\n\tmovq " OF_S(b_at) ", %[b]\n\t" BEGIN_##KIND              \
            "movq " OF_S(turns) ", %[n]\n\ttestq %[n], %[n]\n\tjz 4f\n\t.p2align 5\n\t"            \
            "3:\n\t" /* a turn */                                                                  \
            "prefetcht1 (%[line])\n\t" TURN_##KIND(mr)                                             \
            "addq %[step], %[line]\n\tsubq $1, %[n]\n\tjnz 3b\n\t"                                 \
            "4:\n\tmovq " OF_S(rest) ", %[n]\n\ttestq %[n], %[n]\n\tjz 6f\n\t"                     \
            "5:\n\t" STEP_##KIND(mr) "subq $1, %[n]\n\tjnz 5b\n\t"                                 \
            "6:\n\t" POINT_AT_C C_ROWS_##mr(STORE)                                                 \
            "movq " OF_S(next_a) ", %[n]\n\taddq %[n], " OF_S(a_at) "\n\t"                         \
            "movq " OF_S(next_c) ", %[n]\n\taddq %[n], " OF_S(c) "\n\t"                            \
            "subq $1, " OF_S(strips) "\n\tjnz 1b\n\tvzeroupper"                                    \
            : [a] "=&r"(a), [a_3] "=&r"(a_3), [b] "=&r"(b), [line] "=&r"(line),                    \
              [step] "=&r"(step), [n] "=&r"(n)                                                     \
            : [s] "r"(s), [a_step] "r"(s->a_step), [b_step] "r"(s->b_step),                        \
              [b_3] "r"(3 * s->b_step), OFFSET(strips), OFFSET(turns), OFFSET(rest),               \
              OFFSET(a_at), OFFSET(b_at), OFFSET(c), OFFSET(c_row), OFFSET(next_a),                \
              OFFSET(next_c), OFFSET(lines), OFFSET(beta)                                          \
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",      \
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");               \
    }

STRIPS_FN(5, ROWS)
STRIPS_FN(6, ROWS)
STRIPS_FN(5, COLS)
STRIPS_FN(6, COLS)

/* Lines down one column of cache lines of what is ahead, as many as a strip has turns: where there
 * are fewer rows, those after them too. */
static strip_lines lines_of(NAME(ahead) *ahead, const void *none, int64_t turns)
{
    if (ahead->n <= 0 || ahead->cols <= 0) return (strip_lines){ none, 0 };
    const T *line = ahead->src + ahead->row_now * ahead->row;
    ahead->n--, ahead->row_now += turns;
    if (ahead->row_now >= ahead->n_rows) ahead->row_now = 0, ahead->cols--, ahead->src += IN_LINE;
    return (strip_lines){ (const char *)line, ahead->row * (int64_t)sizeof(T) };
}

/* Of strips [s, to) against a panel of two vectors those of five and six rows, which come first;
 * the one after them is returned. */
static int64_t strips_by_hand(const tn__gemm_block *g, const NAME(strips) *x,
                              const NAME(tile_args) *t, NAME(ahead) *even, NAME(ahead) *odd,
                              int64_t s, int64_t to)
{
    static void (*const fn[2][2])(strips_args *) = { { strips_COLS_5, strips_COLS_6 },
                                                     { strips_ROWS_5, strips_ROWS_6 } };
    enum { SIZE = (int)sizeof(T), MOST = 32 };
    strip_lines lines[MOST];
    while (s < to) { /* strips of as many rows, as far as there is room for lines */
        const int64_t same = s < x->cut.more && to > x->cut.more ? x->cut.more : to;
        const int64_t n = same - s < MOST ? same - s : MOST, i = tn__gemm_strip(&x->cut, s);
        const int64_t rows = x->cut.least + (s < x->cut.more);
        if (rows < 5) return s;
        strips_args y = { .strips = n, .turns = g->k / 4, .rest = g->k % 4,
                          .a_at = (const char *)(x->a + i * x->a_row),
                          .b_at = (const char *)t->b, .a_step = NAME(a_step)(g, x, rows) * SIZE,
                          .c = (char *)(x->c + i * g->c_row), .c_row = g->c_row * SIZE,
                          .b_step = t->b_step * SIZE, .next_a = rows * x->a_row * SIZE,
                          .next_c = rows * g->c_row * SIZE, .lines = lines, .beta = t->beta };
        for (int64_t q = 0; q < n; q++)
            lines[q] = lines_of((s + q) % 2 ? odd : even, y.a_at, y.turns);
        fn[x->by_rows][rows - 5](&y);
        s += n;
    }
    return s;
}

#undef C_ROWS_5
#undef C_ROWS_6
#undef CLEAR
#undef SCALE
#undef STORE
#undef FETCH
#undef OF_S
#undef OFFSET
#undef POINT_AT_C
#undef POINT_AT_NEXT_C
#undef A_ROWS_5
#undef A_ROWS_6
#undef A_COLS_5
#undef A_COLS_6
#undef MULTIPLY
#undef LOAD_B
#undef BEGIN_ROWS
#undef BEGIN_COLS
#undef TURN_ROWS
#undef STEP_ROWS
#undef TURN_COLS
#undef STEP_COLS
#undef STRIPS_FN
