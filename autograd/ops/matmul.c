/* The matrix product, batched with broadcasting, and what is written by it: einsum, outer. */
#include "autograd/ops/build.h"
#include "autograd/program.h"

#include "tensor/gemm.h"

#include <string.h>

/* ---- matmul: [.., m, k] x [.., k, n] -> [.., m, n] ------------------------------------------- */

static tn_status matmul_infer(tn_infer *c)
{
    const tn_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    for (int i = 0; i < 2; i++) {
        if (tn_infer_float(c, i) != TN_OK || tn_infer_rank(c, i, 2) != TN_OK)
            return tn_ctx_status(c->ctx);
    }
    if (c->in[0].dtype != c->in[1].dtype)
        return tn_infer_fail(c, TN_ERR_DTYPE, "dtypes differ: tn_cast brings them together");
    int64_t k = a->dim[a->rank - 1], kb = b->dim[b->rank - 2];
    if (k != kb)
        return tn_infer_fail(c, TN_ERR_SHAPE, "inner dimensions %lld and %lld differ", (long long)k,
                             (long long)kb);
    tn_shape x = *a, y = *b, out;
    x.rank -= 2, y.rank -= 2;
    if (!tn_shape_broadcast(&x, &y, &out))
        return tn_infer_fail(c, TN_ERR_SHAPE, "leading dimensions do not broadcast");
    if (out.rank + 2 > TN_MAX_RANK) return tn_infer_fail(c, TN_ERR_SHAPE, "rank over 8");
    out.dim[out.rank++] = a->dim[a->rank - 2];
    out.dim[out.rank++] = b->dim[b->rank - 1];
    c->out[0] = (tn_type){ c->in[0].dtype, out };
    return TN_OK;
}

/* Fills g from the tensors. Leading dimensions of a that lie evenly over rows of a plain b become
 * more rows: [b, t, k] x [k, n] is one product of b t rows. */
static void describe(const tn_exec *e, tn_gemm *g)
{
    const tn_tensor *a = &e->in[0], *b = &e->in[1], *c = &e->out[0];
    int              ra = a->shape.rank, rb = b->shape.rank, rc = c->shape.rank;
    *g = (tn_gemm){ .dtype = a->dtype, .alpha = 1, .beta = 0, .a = a->data, .b = b->data,
                    .c = c->data,
                    .m = c->shape.dim[rc - 2], .n = c->shape.dim[rc - 1], .k = a->shape.dim[ra - 1],
                    .a_row = a->stride[ra - 2], .a_col = a->stride[ra - 1],
                    .b_row = b->stride[rb - 2], .b_col = b->stride[rb - 1],
                    .c_row = c->stride[rc - 2] };
    int  batch = rc - 2;
    bool b_is_plain = true;
    for (int d = 0; d < rb - 2; d++) b_is_plain &= b->shape.dim[d] == 1 || b->stride[d] == 0;
    while (batch > 0 && b_is_plain) {
        int     d = batch - 1, da = d - (rc - ra);
        int64_t rows = c->shape.dim[d];
        if (rows != 1) {
            if (da < 0 || a->shape.dim[da] == 1) break;
            if (g->m != 1 && a->stride[da] != g->a_row * g->m) break;
            if (g->m != 1 && c->stride[d] != g->c_row * g->m) break;
            if (g->m == 1) g->a_row = a->stride[da], g->c_row = c->stride[d];
            g->m *= rows;
        }
        batch--;
    }
    for (int d = 0; d < batch; d++) {
        int da = d - (rc - ra), db = d - (rc - rb);
        g->batch_dim[d] = c->shape.dim[d];
        g->a_batch[d] = da < 0 || a->shape.dim[da] == 1 ? 0 : a->stride[da];
        g->b_batch[d] = db < 0 || b->shape.dim[db] == 1 ? 0 : b->stride[db];
        g->c_batch[d] = c->stride[d];
    }
    g->batch_rank = batch;
    /* a dimension of size 1 has any stride: give the product one that it likes */
    if (g->k == 1) g->a_col = 1, g->b_row = g->n;
    if (g->m == 1 && g->a_col != 1) g->a_row = 1;
    if (g->n == 1 && g->b_row != 1) g->b_col = 1;
}

static size_t matmul_scratch(const tn_exec *e)
{
    tn_gemm g;
    describe(e, &g);
    return tn__gemm_scratch(e->ctx, &g);
}

/* Rows i0..i1 and columns j0..j1 of a product are final: the chain behind it runs over them. */
static void run_epilogue(void *arg, int64_t batch, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                         int worker)
{
    const tn__epilogue *x = arg;
    if (j0 == 0 && j1 == x->n) {
        tn__chain_span(&x->run, (batch * x->m + i0) * x->n, (i1 - i0) * x->n, worker);
        return;
    }
    for (int64_t i = i0; i < i1; i++)
        tn__chain_span(&x->run, (batch * x->m + i) * x->n + j0, j1 - j0, worker);
}

static tn_status matmul_run(tn_exec *e)
{
    tn_gemm g;
    describe(e, &g);
    g.leaves = e->leaves;
    if (e->epilogue) {
        tn__epilogue *x = (tn__epilogue *)(uintptr_t)e->epilogue;
        x->m = g.m, x->n = g.n;
        g.epilogue = run_epilogue, g.epilogue_arg = x;
    }
    tn__gemm_run(e->ctx, &g, e->scratch);
    return TN_OK;
}

static void matmul_vjp(tn_vjp *c)
{
    tn_node *a = c->in[0], *b = c->in[1], *dy = c->dout[0];
    if (c->want[0]) c->din[0] = tn_matmul(dy, tn_transpose(b, -1, -2)); /* dy b^T */
    if (!c->want[1]) return;
    /* db = a^T dy, summed over the leading dimensions that b does not have: where b has none, the
     * rows of all products are one long inner dimension */
    int64_t k = tn_dim(a, -1), n = tn_dim(dy, -1);
    if (tn_rank(b) == 2 && tn_rank(a) == tn_rank(dy)) {
        int64_t rows = 1;
        for (int d = 0; d < tn_rank(a) - 1; d++) rows *= tn_dim(a, d);
        a = tn_reshape(a, TN_SHAPE(rows, k));
        dy = tn_reshape(dy, TN_SHAPE(rows, n));
    }
    c->din[1] = tn_matmul(tn_transpose(a, -1, -2), dy);
}

static void matmul_cost(const tn_infer *c, tn_cost *cost)
{
    const tn_shape *a = &c->in[0].shape;
    cost->flops = 2.0 * (double)tn_shape_size(&c->out[0].shape) * (double)a->dim[a->rank - 1];
}

static void matmul_ref(const tn_ref *r)
{
    const tn_shape *a = &r->in_type[0].shape, *b = &r->in_type[1].shape, *y = &r->out_type[0].shape;
    int64_t m = y->dim[y->rank - 2], n = y->dim[y->rank - 1], k = a->dim[a->rank - 1], batches = 1;
    for (int d = 0; d < y->rank - 2; d++) batches *= y->dim[d];
    for (int64_t p = 0; p < batches; p++) {
        int64_t at[2] = { 0, 0 }, step[2] = { 1, 1 }, rest = p;
        for (int d = y->rank - 3; d >= 0; d--) { /* which product of a and b is number p */
            int64_t i = rest % y->dim[d];
            rest /= y->dim[d];
            for (int s = 0; s < 2; s++) {
                const tn_shape *x = s ? b : a;
                int             dx = d - (y->rank - x->rank);
                if (dx < 0) continue;
                if (x->dim[dx] != 1) at[s] += i * step[s];
                step[s] *= x->dim[dx];
            }
        }
        const double *pa = (const double *)r->in[0] + at[0] * m * k,
            *pb = (const double *)r->in[1] + at[1] * k * n;
        double *py = (double *)r->out[0] + p * m * n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double s = 0;
                for (int64_t l = 0; l < k; l++) s += pa[i * k + l] * pb[l * n + j];
                py[i * n + j] = s;
            }
    }
}

TN_OP_DEFINE(matmul, .doc = "y = a b: [.., m, k] x [.., k, n] -> [.., m, n]", .arity = 2,
             .flags = TN_MATRIX_STRIDED | TN_EPILOGUE | TN_LEAVES, .infer = matmul_infer,
             .run = matmul_run, .scratch = matmul_scratch, .vjp = matmul_vjp, .cost = matmul_cost,
             .ref = matmul_ref,
             TN_SAMPLES({ .in = { { 2, 3 }, { 3, 4 } } }, { .in = { { 3, 2, 4 }, { 4, 5 } } },
                        { .in = { { 2, 1, 3, 2 }, { 3, 2, 2 } } }, { .in = { { 1, 5 }, { 5, 1 } } },
                        { .in = { { 2, 2, 3 }, { 2, 3, 1 } } },
                        { .in = { { 7, 19 }, { 19, 33 } }, .no_second = true },
                        { .in = { { 3, -1 }, { -1, 2 } } },
                        { .in = { { 2, 3 }, { 4, 5 } }, .fails = TN_ERR_SHAPE,
                          .message = "inner dimensions 3 and 4 differ" },
                        { .in = { { 2, 2, 3 }, { 3, 3, 2 } }, .fails = TN_ERR_SHAPE,
                          .message = "broadcast" },
                        { .in = { { 3 }, { 3, 2 } }, .fails = TN_ERR_SHAPE, .message = "rank 1" },
                        { .in = { { 2, 2 }, { 2, 2 } }, .dtype = { TN_F32, TN_I64 },
                          .fails = TN_ERR_DTYPE, .message = "i64" }));

tn_node *tn_matmul(tn_node *a, tn_node *b)
{
    if (!a || !b) return tn_apply(&tn_op_matmul, (tn_node *[]){ a, b }, 2, NULL);
    bool row = tn_rank(a) == 1, column = tn_rank(b) == 1; /* NumPy: as [1, k] and [k, 1] */
    if (row) a = tn_unsqueeze(tn__beside(a, b), 0);
    if (column) b = tn_unsqueeze(tn__beside(b, a), 1);
    tn_node *y = tn_apply(&tn_op_matmul, (tn_node *[]){ a, b }, 2, NULL);
    if (column) y = tn_squeeze(y, -1);
    if (row) y = tn_squeeze(y, column ? -1 : -2);
    return y;
}

tn_node *tn_outer(tn_node *a, tn_node *b)
{
    if (!a || !b) return NULL;
    for (int i = 0; i < 2; i++)
        if (tn_rank(i ? b : a) != 1)
            return tn__refuse("outer", i ? b : a, TN_ERR_SHAPE, "input %d has rank %d, not 1", i,
                              tn_rank(i ? b : a));
    a = tn__beside(a, b);
    return tn_mul(tn_unsqueeze(a, 1), tn_unsqueeze(tn__beside(b, a), 0));
}

/* ---- einsum: by permutes, broadcast products and matmul -------------------------------------- */

enum { MAX_LABELS = 4 * TN_MAX_RANK };

typedef struct terms {
    int  n;
    char labels[17][TN_MAX_RANK + 1]; /* of each operand; labels[n] of the result */
} terms;

static tn_status einsum_fail(tn_ctx *ctx, const char *equation, const char *why)
{
    return tn_fail(ctx, TN_ERR_ARG, "einsum: \"%s\": %s", equation, why);
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Dimensions under ".." get the labels '0'.., right-aligned over all operands. */
static tn_status parse_term(tn_ctx *ctx, const char *equation, const char *begin, const char *end,
                            int rank, int ellipsis, char *out)
{
    int letters = 0, at = 0;
    for (const char *p = begin; p < end; p++) letters += is_letter(*p);
    for (const char *p = begin; p < end; p++) {
        if (*p == ' ') continue;
        if (is_letter(*p)) {
            if (at == TN_MAX_RANK)
                return einsum_fail(ctx, equation, "more than 8 letters in a term");
            out[at++] = *p;
        } else if (p[0] == '.' && p + 1 < end && p[1] == '.') {
            int n = rank >= 0 ? rank - letters : ellipsis;
            if (n < 0 || at + n > TN_MAX_RANK)
                return einsum_fail(ctx, equation, "more letters than dimensions");
            for (int i = 0; i < n; i++) out[at++] = (char)('0' + ellipsis - n + i);
            while (p + 1 < end && p[1] == '.') p++;
        } else {
            return einsum_fail(ctx, equation,
                               "a character that is not a letter, '..', ',' or '->'");
        }
    }
    out[at] = 0;
    if (rank >= 0 && at != rank)
        return einsum_fail(ctx, equation, "letters and dimensions of an operand differ in number");
    return TN_OK;
}

static tn_status parse_equation(tn_ctx *ctx, const char *equation, tn_node *const *x, int n,
                                terms *t)
{
    const char *arrow = strstr(equation, "->"), *end = arrow ? arrow : equation + strlen(equation),
        *p = equation;
    int         ellipsis = 0;
    for (int i = 0; i < n; i++) { /* the widest ".." first */
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        if (!comma != (i == n - 1))
            return einsum_fail(ctx, equation, "terms and operands differ in number");
        int  letters = 0;
        bool dots = false;
        for (const char *q = p; q < stop; q++) letters += is_letter(*q), dots |= *q == '.';
        if (dots && tn_rank(x[i]) - letters > ellipsis) ellipsis = tn_rank(x[i]) - letters;
        p = comma ? comma + 1 : end;
    }
    p = equation;
    t->n = n;
    for (int i = 0; i < n; i++) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        tn_status   s = parse_term(ctx, equation, p, stop, tn_rank(x[i]), ellipsis, t->labels[i]);
        if (s != TN_OK) return s;
        p = comma ? comma + 1 : end;
    }
    char *out = t->labels[n];
    if (arrow)
        return parse_term(ctx, equation, arrow + 2, equation + strlen(equation), -1, ellipsis, out);
    int at = 0; /* implicit: ellipsis, then the letters that occur once, in alphabetical order */
    for (int i = 0; i < ellipsis; i++) out[at++] = (char)('0' + i);
    for (char c = 'A'; c <= 'z'; c++) {
        int times = 0;
        for (int i = 0; i < n; i++)
            for (const char *q = t->labels[i]; *q; q++) times += *q == c;
        if (times != 1 || !is_letter(c)) continue;
        if (at == TN_MAX_RANK) return einsum_fail(ctx, equation, "more than 8 letters in a term");
        out[at++] = c;
    }
    out[at] = 0;
    return TN_OK;
}

static bool appears(const char *labels, char c) { return strchr(labels, c) != NULL; }

/* The diagonal over a repeated label: x with x[.., i, .., i, ..] taken. */
static tn_node *take_diagonals(tn_node *x, char *labels)
{
    for (int i = 0; labels[i]; i++) {
        char *twin = strchr(labels + i + 1, labels[i]);
        if (!twin) continue;
        int j = (int)(twin - labels), r = tn_rank(x);
        if (tn_dim(x, i) != tn_dim(x, j)) {
            tn_fail(tn_node_ctx(x), TN_ERR_SHAPE, "einsum: label %c has dimensions %lld and %lld",
                    labels[i], (long long)tn_dim(x, i), (long long)tn_dim(x, j));
            return NULL;
        }
        /* put i and j last, flatten, and take every (d + 1)-th element */
        int axes[TN_MAX_RANK], n = 0;
        for (int d = 0; d < r; d++)
            if (d != i && d != j) axes[n++] = d;
        axes[n++] = i, axes[n++] = j;
        int64_t d = tn_dim(x, i);
        x = tn_flatten(tn_permute(x, axes, r), r - 2, r - 1);
        x = tn_slice(x, -1, 0, INT64_MAX, d + 1);
        char label = labels[i], *to = labels;
        for (char *from = labels; *from; from++)
            if (from != labels + i && from != labels + j) *to++ = *from;
        *to++ = label, *to = 0;
        i = -1;
    }
    return x;
}

/* Permutes x so that its labels stand in the order of `order`; those missing become size 1. */
static tn_node *align(tn_node *x, const char *labels, const char *order)
{
    int axes[TN_MAX_RANK], n = 0;
    for (const char *c = order; *c; c++)
        if (appears(labels, *c)) axes[n++] = (int)(strchr(labels, *c) - labels);
    x = tn_permute(x, axes, n);
    for (int i = 0; order[i]; i++)
        if (!appears(labels, order[i])) x = tn_unsqueeze(x, i);
    return x;
}

static int64_t label_dim(tn_node *x, const char *labels, char c)
{
    const char *at = strchr(labels, c);
    return at ? tn_dim(x, (int)(at - labels)) : 1;
}

/* Sums away the labels of x that nothing needs any more. */
static tn_node *sum_unneeded(tn_node *x, char *labels, const char *needed)
{
    int axes[TN_MAX_RANK], n = 0, at = 0;
    for (int i = 0; labels[i]; i++)
        if (!appears(needed, labels[i])) axes[n++] = i;
    if (n == 0) return x;
    for (int i = 0; labels[i]; i++)
        if (appears(needed, labels[i])) labels[at++] = labels[i];
    labels[at] = 0;
    return tn_sum(x, axes, n, false);
}

/* x and y contracted to the labels that are still needed: [batch.., m, k] x [batch.., k, n]. */
static tn_node *contract(tn_node *x, const char *lx, tn_node *y, const char *ly,
                         const char *needed, char *lout)
{
    char batch[2 * TN_MAX_RANK + 1] = "", m[TN_MAX_RANK + 1] = "", n[TN_MAX_RANK + 1] = "",
        k[TN_MAX_RANK + 1] = "";
    for (const char *c = lx; *c; c++) {
        char *to = !appears(ly, *c) ? m : appears(needed, *c) ? batch : k;
        to[strlen(to) + 1] = 0, to[strlen(to)] = *c;
    }
    for (const char *c = ly; *c; c++)
        if (!appears(lx, *c)) n[strlen(n) + 1] = 0, n[strlen(n)] = *c;
    char ox[64], oy[64];
    snprintf(ox, sizeof ox, "%s%s%s", batch, m, k);
    snprintf(oy, sizeof oy, "%s%s%s", batch, k, n);
    int64_t size_m = 1, size_n = 1, size_k = 1;
    for (const char *c = m; *c; c++) size_m *= label_dim(x, lx, *c);
    for (const char *c = n; *c; c++) size_n *= label_dim(y, ly, *c);
    for (const char *c = k; *c; c++) {
        int64_t a = label_dim(x, lx, *c), b = label_dim(y, ly, *c);
        if (a != b && a != 1 && b != 1) {
            tn_fail(tn_node_ctx(x), TN_ERR_SHAPE, "einsum: label %c has dimensions %lld and %lld",
                    *c, (long long)a, (long long)b);
            return NULL;
        }
        if (a != b) { /* broadcast inside the sum */
            tn_shape s = tn_node_shape(a == 1 ? x : y);
            s.dim[strchr(a == 1 ? lx : ly, *c) - (a == 1 ? lx : ly)] = a == 1 ? b : a;
            if (a == 1) x = tn_expand(x, s);
            else y = tn_expand(y, s);
        }
        size_k *= a == 1 ? b : a;
    }
    /* where a product of matrices would read nothing twice: element by element, then summed */
    if (*k ? !*m && !*n : !*m || !*n) {
        strcpy(lout, *n ? ly : lx); /* which has the labels of the other one, too */
        return sum_unneeded(tn_mul(align(x, lx, lout), align(y, ly, lout)), lout, needed);
    }
    x = align(x, lx, ox), y = align(y, ly, oy);
    tn_shape sx = { 0 }, sy = { 0 }, so = { 0 };
    int      nb = (int)strlen(batch);
    if (nb + 2 > TN_MAX_RANK || nb + (int)strlen(m) + (int)strlen(n) > TN_MAX_RANK) {
        if (x)
            tn_fail(tn_node_ctx(x), TN_ERR_UNSUPPORTED,
                    "einsum: of two operands, more than %d labels are wanted further on, or more "
                    "than %d of both of them", TN_MAX_RANK, TN_MAX_RANK - 2);
        return NULL;
    }
    for (int i = 0; i < nb; i++) {
        sx.dim[sx.rank++] = tn_dim(x, i), sy.dim[sy.rank++] = tn_dim(y, i);
        so.dim[so.rank++] = tn_dim(x, i) == 1 ? tn_dim(y, i) : tn_dim(x, i);
    }
    for (int i = 0; m[i]; i++) so.dim[so.rank++] = tn_dim(x, nb + i);
    for (int i = 0; n[i]; i++) so.dim[so.rank++] = tn_dim(y, nb + (int)strlen(k) + i);
    sx.dim[sx.rank++] = size_m, sx.dim[sx.rank++] = size_k;
    sy.dim[sy.rank++] = size_k, sy.dim[sy.rank++] = size_n;
    strcat(strcat(strcpy(lout, batch), m), n); /* no more labels than dimensions */
    return tn_reshape(tn_matmul(tn_reshape(x, sx), tn_reshape(y, sy)), so);
}

tn_node *tn_einsum(const char *equation, tn_node *const *x, int n)
{
    const tn_node *other = NULL; /* one of the operands that are no variables */
    for (int i = 0; x && i < n; i++) {
        if (!x[i]) return NULL;
        if (tn_node_graph(x[i])) other = x[i];
    }
    if (!x || n < 1) return NULL;
    tn_ctx *ctx = tn_node_ctx(x[0]);
    if (n > 16 || !equation) {
        tn_fail(ctx, TN_ERR_ARG, "einsum: %d operands, or no equation", n);
        return NULL;
    }
    terms   t;
    memset(&t, 0, sizeof t);
    if (parse_equation(ctx, equation, x, n, &t) != TN_OK) return NULL;
    for (const char *c = t.labels[n]; *c; c++) {
        bool known = false;
        for (int i = 0; i < n; i++) known |= appears(t.labels[i], *c);
        if (!known || appears(c + 1, *c)) {
            einsum_fail(ctx, equation, known ? "a label stands twice in the result"
                        : "a label of the result is in no operand");
            return NULL;
        }
    }
    char     labels[MAX_LABELS] = "";
    tn_node *y = NULL;
    for (int i = 0; i < n; i++) { /* from the left; what later terms and the result need stays */
        char needed[18 * TN_MAX_RANK] = "";
        for (int j = i + 1; j <= n; j++) strcat(needed, t.labels[j]);
        tn_node *xi = take_diagonals(tn__beside(x[i], other), t.labels[i]);
        if (!xi) return NULL;
        char alone[24 * TN_MAX_RANK];
        snprintf(alone, sizeof alone, "%s%s", needed, labels);
        xi = sum_unneeded(xi, t.labels[i], alone);
        if (!y) {
            y = xi;
            strcpy(labels, t.labels[i]);
        } else {
            char out[MAX_LABELS];
            y = contract(sum_unneeded(y, labels, strcat(strcpy(alone, needed), t.labels[i])),
                         labels, xi, t.labels[i], needed, out);
            if (!y) return NULL;
            strcpy(labels, out);
        }
    }
    y = sum_unneeded(y, labels, t.labels[n]);
    return align(y, labels, t.labels[n]);
}
