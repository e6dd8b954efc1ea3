/* Rows and columns of tensor/reduce.h for one integer type, INT, that wraps around as UINT does:
 * included by reduce.c once per type. Integer arithmetic is the same in any order. */

#define INT_FN(name) TN_CAT(name, INT)

TN_INLINE INT INT_FN(join)(int kind, INT a, INT x)
{
    switch (kind) {
    case TN__SUM: return (INT)((UINT)a + (UINT)x);
    case TN__SUM_SQUARE: return (INT)((UINT)a + (UINT)x * (UINT)x);
    case TN__PROD: return (INT)((UINT)a * (UINT)x);
    case TN__MAX: return x > a ? x : a;
    default: return x < a ? x : a;
    }
}

TN_INLINE void INT_FN(rows_of)(int kind, const INT *x, int64_t stride, int64_t rows, int64_t n,
                               INT *out)
{
    for (int64_t r = 0; r < rows; r++) {
        INT a = kind == TN__PROD ? 1 : kind == TN__MAX ? INT_LEAST : kind == TN__MIN ? INT_MOST : 0;
        for (int64_t i = 0; i < n; i++) a = INT_FN(join)(kind, a, x[r * stride + i]);
        out[r] = a;
    }
}

TN_INLINE void INT_FN(cols_of)(int kind, const INT *x, int64_t stride, int64_t rows, int64_t n,
                               INT *out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = kind == TN__SUM_SQUARE ? INT_FN(join)(kind, 0, x[j]) : x[j];
    for (int64_t r = 1; r < rows; r++)
        for (int64_t j = 0; j < n; j++) out[j] = INT_FN(join)(kind, out[j], x[r * stride + j]);
}

#define INT_KINDS(CASE)                                                                            \
    CASE(TN__SUM)                                                                                  \
    CASE(TN__SUM_SQUARE)                                                                           \
    CASE(TN__PROD)                                                                                 \
    CASE(TN__MAX)                                                                                  \
    CASE(TN__MIN)
#define INT_ROWS(kind) case kind: INT_FN(rows_of)(kind, x, stride, rows, n, out); break;
#define INT_COLS(kind) case kind: INT_FN(cols_of)(kind, x, stride, rows, n, out); break;

static void INT_FN(rows)(int kind, const void *x, int64_t stride, int64_t rows, int64_t n,
                         void *out)
{
    switch (kind) { INT_KINDS(INT_ROWS) }
}

static void INT_FN(cols)(int kind, const void *x, int64_t stride, int64_t rows, int64_t n,
                         void *out)
{
    switch (kind) { INT_KINDS(INT_COLS) }
}

#undef INT_FN
#undef INT_KINDS
#undef INT_ROWS
#undef INT_COLS
