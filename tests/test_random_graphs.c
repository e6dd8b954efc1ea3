/* Graphs made by chance: what compile does changes no bit, nor do threads, levels, packed weights,
 * memory past the caches or caches of other sizes. Each seed is a graph of its own, with its
 * gradients. TN_SEEDS=1000-2000 in the environment: those, and none of the usual ones. */
#include "check.h"
#include "libtensor.h"

#include "autograd/program.h"
#include "tensor/internal.h"

enum { SEEDS = 160, OPS = 24, MOST = 64, VARIABLES = 4, LEAVES = VARIABLES + 3, VALUES = 6,
       MOST_OUT = VALUES + LEAVES + 1 + VARIABLES, MOST_SIZE = 1 << 15 };

/* ---- making one ------------------------------------------------------------------------------ */

typedef struct maker {
    tn_graph *g;
    tn_dtype  dtype;
    uint64_t  seed;
    int64_t   draws;
    tn_node  *x[MOST]; /* so far: floats */
    int       n, n_leaves;
    tn_node  *variable[VARIABLES], *value[VARIABLES], *assign[VARIABLES];
    tn_node  *cache, *rows, *guard; /* a variable, what rows made of it */
} maker;

static int64_t draw(maker *m, int64_t n)
{
    return (int64_t)(tn_random_u64((tn_rng){ m->seed, 1, 0 }, m->draws++) % (uint64_t)n);
}

/* Any, or one of the last. */
static tn_node *pick(maker *m)
{
    const int64_t most = m->n > 6 && draw(m, 2) ? 6 : m->n;
    return m->x[m->n - 1 - draw(m, most)];
}

static int64_t pick_dim(maker *m)
{
    static const int64_t dims[] = { 1, 1, 2, 3, 4, 5, 8, 16, 17, 31, 33, 64, 65, 130, 257 };
    return dims[draw(m, sizeof dims / sizeof *dims)];
}

static tn_node *leaf_of(maker *m, tn_shape s)
{
    return tn_sin(tn_reshape(tn_arange(m->g, m->dtype, tn_shape_size(&s), (double)draw(m, 50),
                                       0.37), s));
}

/* Its numbers are kept small: what is not finite has other bits elsewhere. */
static void keep(maker *m, tn_node *x)
{
    const tn_shape s = tn_node_shape(x);
    const int64_t  size = tn_shape_size(&s);
    if (x && size > 0 && size <= MOST_SIZE && s.rank <= 5 && m->n < MOST) m->x[m->n++] = x;
}

static tn_shape pick_shape(maker *m)
{
    tn_shape s = { .rank = (int)draw(m, 5) };
    for (int d = 0; d < s.rank; d++) s.dim[d] = pick_dim(m);
    while (tn_shape_size(&s) > MOST_SIZE) s.dim[draw(m, s.rank)] = 1;
    return s;
}

static void add_leaf(maker *m)
{
    keep(m, leaf_of(m, pick_shape(m)));
    m->n_leaves = m->n;
}

static tn_node *new_variable(maker *m, tn_shape s)
{
    tn_node *v = tn_variable_new(tn_graph_ctx(m->g), "v", m->dtype, s);
    for (int64_t k = 0; k < tn_shape_size(&s); k++)
        if (m->dtype == TN_F32) ((float *)tn_variable_data(v))[k] = (float)(k % 97) / 97;
        else ((double *)tn_variable_data(v))[k] = (double)(k % 97) / 97;
    keep(m, tn_read(m->g, v));
    m->n_leaves = m->n;
    return v;
}

/* One of any shape, matrices, and one number: some of the same shape. */
static void add_variables(maker *m)
{
    const int64_t  n = pick_dim(m), k = draw(m, 2) ? n : pick_dim(m);
    const tn_shape any = pick_shape(m), matrix = TN_SHAPE(n, n * k > MOST_SIZE ? 4 : k);
    m->variable[0] = new_variable(m, any);
    m->variable[1] = new_variable(m, draw(m, 2) ? any : matrix);
    m->variable[2] = new_variable(m, matrix);
    m->variable[3] = new_variable(m, draw(m, 2) ? matrix : TN_SHAPE(1));
    m->cache = new_variable(m, TN_SHAPE(1, 4, pick_dim(m)));
}

static tn_node *unary(maker *m, tn_node *x)
{
    switch (draw(m, 12)) {
    case 0: return tn_tanh(x);
    case 1: return tn_gelu(x);
    case 2: return tn_relu(x);
    case 3: return tn_sigmoid(x);
    case 4: return tn_affine(x, -0.5, 0.25);
    case 5: return tn_abs(x);
    case 6: return tn_cos(x);
    case 7: return tn_silu(tn_scale(x, 0.5));
    case 8: return tn_exp(tn_clamp(x, -3, 1));
    case 9: return tn_dropout(x, 0.3);
    case 10: return tn_log(tn_add_scalar(tn_square(x), 0.5));
    default: return tn_softplus(x);
    }
}

/* y has the shape of x, or one that is broadcast to it. */
static tn_node *binary(maker *m, tn_node *x)
{
    tn_shape s = tn_node_shape(x);
    for (int d = 0; d < s.rank; d++)
        if (draw(m, 3) == 0) s.dim[d] = 1;
    tn_node *y = pick(m);
    const tn_shape other = tn_node_shape(y);
    if (!tn_shape_equal(&other, &s)) y = draw(m, 2) ? tn_sum_to(tn_tanh(x), s) : leaf_of(m, s);
    switch (draw(m, 5)) {
    case 0: return tn_add(x, y);
    case 1: return tn_tanh(tn_mul(x, y));
    case 2: return tn_maximum(y, x);
    case 3: return tn_where(tn_gt(x, y), tn_scale(x, 0.5), y);
    default: return tn_sub(tn_tanh(y), x);
    }
}

/* x, read in another order. */
static tn_node *turned(maker *m, tn_node *x)
{
    const int     rank = tn_rank(x), axis = rank ? (int)draw(m, rank) : 0, other = rank - 1 - axis;
    tn_shape      s = tn_node_shape(x);
    const int64_t size = rank ? s.dim[axis] : 1;
    if (rank == 0) return x;
    if (size == s.dim[other] && draw(m, 3)) return tn_transpose(x, axis, other);
    if (draw(m, 2)) return tn_flip(x, axis);
    const int64_t from = draw(m, 2) ? draw(m, size) : 0;
    return tn_expand(tn_slice(x, axis, from, from + 1, 1), s);
}

/* x twice, at times in another order. */
static tn_node *with_itself(maker *m, tn_node *x)
{
    tn_node *y = draw(m, 4) ? turned(m, x) : x;
    if (tn_rank(x) && draw(m, 4) == 0) y = tn_slice(x, (int)draw(m, tn_rank(x)), 0, 1, 1);
    switch (draw(m, 4)) {
    case 0: return tn_sub(tn_scale(x, 0.5), y);
    case 1: return tn_tanh(tn_mul(y, x));
    case 2: return tn_maximum(x, tn_neg(y));
    default: return tn_scale(tn_add(tn_tanh(y), x), 0.5);
    }
}

static tn_node *reduction(maker *m, tn_node *x)
{
    const int  rank = tn_rank(x), axis = rank ? (int)draw(m, rank) : 0;
    const bool keeps = draw(m, 2);
    switch (rank ? draw(m, 7) : 6) {
    case 0: return tn_tanh(tn_sum(x, &axis, 1, keeps));
    case 1: return tn_mean(x, &axis, 1, keeps);
    case 2: return tn_max(x, &axis, 1, keeps);
    case 3: return tn_softmax(x, axis);
    case 4: return tn_scale(tn_log_softmax(x, axis), 0.1);
    case 5: return tn_layer_norm(x, NULL, leaf_of(m, TN_SHAPE(tn_dim(x, -1))), 0.1);
    default: return tn_mean_all(x);
    }
}

/* Of a part of its rows, or all, with a variable or a part of one. */
static tn_node *product_with_variable(maker *m)
{
    tn_node      *w = tn_read(m->g, m->variable[1 + draw(m, VARIABLES - 1)]);
    const int64_t b = 1 + draw(m, 3), rows = pick_dim(m);
    if (tn_rank(w) != 2) return NULL;
    if (draw(m, 3) == 0) w = tn_slice(w, (int)draw(m, 2), draw(m, 2), INT64_MAX, 1);
    if (draw(m, 3) == 0) w = tn_transpose(w, 0, 1);
    const int64_t k = tn_dim(w, 0);
    if (k < 1 || tn_dim(w, 1) < 1) return NULL;
    tn_node *x = tn_mul(leaf_of(m, TN_SHAPE(b, rows + 1, k)), tn_tanh(tn_mean_all(pick(m))));
    switch (draw(m, 4)) {
    case 0: x = tn_slice(x, 1, 0, rows, 1); break;
    case 1: x = tn_flip(x, (int)draw(m, 2)); break;
    case 2: x = tn_transpose(x, 0, 1); break;
    default: break;
    }
    return tn_tanh(tn_matmul(x, w));
}

static tn_node *product(maker *m, tn_node *x)
{
    tn_shape s = tn_node_shape(x);
    if (s.rank < 2 || draw(m, 3) == 0) return product_with_variable(m);
    const int64_t k = s.dim[s.rank - 1], n = pick_dim(m);
    const bool    is_turned = draw(m, 2);
    if (draw(m, 2) == 0) { /* a batch, some of whose dimensions are broadcast */
        for (int d = 0; d + 2 < s.rank; d++)
            if (draw(m, 2)) s.dim[d] = 1;
        s.dim[s.rank - 2] = is_turned ? n : k, s.dim[s.rank - 1] = is_turned ? k : n;
    } else {
        s = is_turned ? TN_SHAPE(n, k) : TN_SHAPE(k, n);
    }
    tn_node *w = tn_scale(leaf_of(m, s), 1 / (double)k);
    tn_node *y = tn_matmul(x, is_turned ? tn_transpose(w, -2, -1) : w);
    keep(m, draw(m, 3) ? NULL : y);
    if (draw(m, 4) == 0) return with_itself(m, y);
    return draw(m, 2) ? tn_relu(tn_add(y, leaf_of(m, TN_SHAPE(n)))) : y;
}

static tn_node *moved(maker *m, tn_node *x)
{
    const int rank = tn_rank(x), axis = rank ? (int)draw(m, rank) : 0;
    if (rank == 0) return tn_expand(tn_reshape(x, TN_SHAPE(1, 1)), TN_SHAPE(3, 5));
    switch (draw(m, 6)) {
    case 0: return tn_transpose(x, axis, (int)draw(m, rank));
    case 1: return tn_flip(x, axis);
    case 2: return tn_slice(x, axis, draw(m, 2), INT64_MAX, 1 + draw(m, 2));
    case 3: return tn_concat((tn_node *[]){ x, tn_tanh(x) }, 2, axis);
    case 4: return tn_flatten(x, 0, axis);
    default: return tn_unsqueeze(x, axis);
    }
}

static tn_node *indexed(maker *m, tn_node *x)
{
    const int64_t rows = tn_dim(x, 0), n = pick_dim(m);
    if (tn_rank(x) < 1) return NULL;
    tn_node *at = tn_cast(tn_scale(tn_abs(leaf_of(m, TN_SHAPE(n))), (double)rows - 0.5), TN_I32);
    return draw(m, 2) ? tn_index_select(x, 0, at)
                      : tn_index_add(x, 0, at, tn_tanh(tn_index_select(x, 0, at)));
}

static tn_node *attended(maker *m, tn_node *x)
{
    if (tn_rank(x) != 3 || tn_dim(x, -1) > 65) return NULL;
    x = tn_unsqueeze(x, 2);
    const tn_attention_mask mask = { .causal = draw(m, 2) };
    return tn_attention(x, x, tn_sin(x), &mask, &(tn_attention_options){ .dropout = 0.1 });
}

/* Numbers of their own, through which gradients flow back all the same. */
static tn_node *fed_by(maker *m, tn_node *x, tn_shape s)
{
    return tn_mul(leaf_of(m, s), tn_tanh(tn_mean_all(x)));
}

/* A copy by an op of the user's, which may write in place, and rows that lie apart. */
static tn_status rows_infer(tn_infer *c) { return c->out[0] = c->in[0], TN_OK; }

static tn_status rows_run(tn_exec *e)
{
    const tn_tensor *x = &e->in[0], *y = &e->out[0];
    const int        rank = y->shape.rank;
    const size_t     size = tn_dtype_size(y->dtype);
    const int64_t    width = rank ? y->shape.dim[rank - 1] : 1;
    for (int64_t i = 0; i < tn_shape_size(&y->shape) / width; i++) {
        int64_t at = 0, rest = i;
        for (int d = rank - 2; d >= 0; rest /= y->shape.dim[d--])
            at += rest % y->shape.dim[d] * y->stride[d];
        memmove((char *)y->data + (size_t)at * size,
                (const char *)x->data + (size_t)(i * width) * size, (size_t)width * size);
    }
    return TN_OK;
}

static void rows_vjp(tn_vjp *c) { c->din[0] = c->dout[0]; }

static const tn_op rows_op = { .name = "rows", .doc = "x, by rows", .arity = 1,
                               .flags = TN_STRIDED_OUT | TN_INPLACE_OK, .infer = rows_infer,
                               .run = rows_run, .vjp = rows_vjp };

static tn_node *rows(tn_node *x) { return tn_apply(&rows_op, &x, 1, NULL); }

/* Of shape s: the rows of another tensor as they are, cut, turned or read as another shape. */
static tn_node *rows_as(maker *m, tn_node *x, tn_shape s)
{
    const int a = (int)draw(m, s.rank), b = (int)draw(m, s.rank);
    tn_shape  t = s;
    tn_node  *y;
    switch (draw(m, 12)) {
    case 0: case 1:
        t.dim[a] += 2;
        y = tn_slice(rows(fed_by(m, x, t)), a, draw(m, 3), t.dim[a], 1);
        return tn_slice(y, a, 0, s.dim[a], 1);
    case 2:
        t.dim[a] = s.dim[b], t.dim[b] = s.dim[a];
        return tn_transpose(rows(fed_by(m, x, t)), a, b);
    case 3: return tn_reshape(rows(fed_by(m, x, TN_SHAPE(tn_shape_size(&s)))), s);
    case 4: return tn_flip(rows(fed_by(m, x, s)), a);
    case 5: return tn_softmax(fed_by(m, x, s), -1);
    default: y = rows(fed_by(m, x, s));
    }
    keep(m, draw(m, 6) ? NULL : y); /* others read it, too */
    return y;
}

static tn_node *joined(maker *m, tn_node *x)
{
    const int64_t sizes[] = { 1, 2, 3, 5, 17 };
    tn_shape      s = { .rank = 1 + (int)(draw(m, 4) + 1) / 2 };
    tn_node      *part[3];
    const int     n = 1 + (int)(draw(m, 4) + 1) / 2, axis = (int)draw(m, s.rank);
    for (int d = 0; d < s.rank; d++) s.dim[d] = sizes[draw(m, 5)];
    for (int i = 0; i < n; i++) {
        s.dim[axis] = sizes[draw(m, 5)];
        part[i] = rows_as(m, x, s);
        if (i && draw(m, 8) == 0) part[i] = part[i - 1];
    }
    tn_node *y = tn_concat(part, n, axis);
    return draw(m, 4) ? y : tn_concat((tn_node *[]){ y, rows(tn_tanh(y)) }, 2, 0);
}

/* Three tensors of shape s that are parts of one, one after another or stacked along an axis. */
static bool split_in_three(maker *m, tn_node *x, tn_shape s, int axis, tn_node **part)
{
    const int64_t size = s.dim[axis];
    if (draw(m, 3)) {
        s.dim[axis] *= 3;
        return tn_split(fed_by(m, x, s), axis, (int64_t[]){ size, size, size }, 3, part) == TN_OK;
    }
    axis += (int)draw(m, s.rank - axis + 1);
    for (int d = s.rank++; d > axis; d--) s.dim[d] = s.dim[d - 1];
    s.dim[axis] = 3;
    tn_node *y = fed_by(m, x, s);
    for (int i = 0; i < 3; i++) part[i] = tn_select(y, axis, i);
    return part[2] != NULL;
}

/* q, k and v are parts of one tensor, along any axis, with many keys at times; or rows of sentences
 * that lie end to end, of which the first and the last ones belong to nobody. */
static tn_node *attended_parts(maker *m, tn_node *x)
{
    static const int64_t lengths[] = { 4, 33, 65, 600 };
    const int64_t t = lengths[draw(m, 4)], h = 1 + draw(m, 3), d = 4 * (1 + draw(m, 2));
    const bool    is_packed = draw(m, 3) == 0;
    const int32_t offsets[] = { 1, (int32_t)(t / 2), (int32_t)(t - 1) };
    tn_shape      s = is_packed ? TN_SHAPE(t, h, d) : TN_SHAPE(1 + draw(m, 2), t, h, d);
    tn_node      *part[3];
    const int     first = (int)draw(m, 3);
    if (!split_in_three(m, x, s, (int)draw(m, s.rank), part)) return NULL;
    tn_attention_mask mask = { .causal = draw(m, 2) };
    if (is_packed) mask.q_offsets = tn_constant(m->g, TN_I32, TN_SHAPE(3), offsets);
    return tn_attention(part[first], part[(first + 1) % 3], part[(first + 2) % 3], &mask,
                        &(tn_attention_options){ .dropout = draw(m, 2) ? 0.1 : 0 });
}

static tn_node *loss_of_logits(maker *m, tn_node *x)
{
    static const int64_t counts[] = { 3, 65, 600 }, classes[] = { 2, 17, 130 };
    const int64_t n = counts[draw(m, 3)], d = pick_dim(m), v = classes[draw(m, 3)];
    const bool    by_row = draw(m, 2);
    const tn_cross_entropy_options o = { .label_smoothing = draw(m, 2) ? 0.1 : 0,
                                         .has_ignore = draw(m, 2), .ignore_index = 1,
                                         .reduction = TN_NONE };
    tn_node *at = tn_scale(tn_abs(leaf_of(m, TN_SHAPE(n))), (double)v - 0.5);
    if (draw(m, 2))
        return tn_cross_entropy(fed_by(m, x, TN_SHAPE(n, v)), tn_cast(at, TN_I32), &o);
    tn_node *w = fed_by(m, x, by_row ? TN_SHAPE(v, d) : TN_SHAPE(d, v));
    tn_loss_parts parts;
    if (tn_linear_cross_entropy(fed_by(m, pick(m), TN_SHAPE(n, d)), w, by_row, NULL,
                                tn_cast(at, TN_I32), &o, &parts) != TN_OK)
        return NULL;
    return tn_scale(parts.sum, 1 / (double)n);
}

/* A new value for variable i: of its old one, another's, its new one, or x. */
static tn_node *new_value(maker *m, tn_node *x, int i)
{
    const int      j = (int)draw(m, VARIABLES);
    const tn_shape s = tn_node_shape(m->variable[i]), t = tn_node_shape(m->variable[j]);
    tn_node       *old = tn_read(m->g, m->variable[i]), *other = tn_read(m->g, m->variable[j]);
    const bool     is_square = s.rank == 2 && s.dim[0] == s.dim[1];
    switch (draw(m, 8)) {
    case 0: return turned(m, old);
    case 1: return with_itself(m, old);
    case 2: return is_square ? tn_matmul(tn_scale(tn_tanh(old), 1.0 / (double)s.dim[0]), old)
                             : tn_add(turned(m, old), tn_tanh(tn_mean_all(x)));
    case 3: return rows(tn_scale(old, 0.5));
    case 4: case 5:
        if (!tn_shape_equal(&s, &t)) return tn_cos(old);
        if (m->value[j]) return draw(m, 3) ? m->value[j] : turned(m, m->value[j]);
        return draw(m, 2) ? turned(m, other) : tn_tanh(tn_sub(turned(m, other), old));
    default: return tn_add(tn_scale(old, 0.5), tn_tanh(tn_mean_all(x)));
    }
}

static tn_node *assigned(maker *m, tn_node *x)
{
    const int i = (int)draw(m, VARIABLES);
    if (m->assign[i]) return tn_neg(m->assign[i]);
    m->value[i] = new_value(m, x, i);
    m->assign[i] = tn_assign(m->variable[i], m->value[i]);
    if (tn_shape_size(&m->value[i]->type.shape) == 1 && draw(m, 2))
        m->guard = tn_gt(m->value[i], tn_full(m->g, m->dtype, TN_SCALAR, -0.5));
    switch (draw(m, 4)) {
    case 0: return m->assign[i];
    case 1: return tn_relu(m->value[i]);
    default: return NULL;
    }
}

/* Rows go into the cache, as it is or after those before; what is made of it so far stays. */
static tn_node *written(maker *m, tn_node *x)
{
    const tn_shape s = tn_node_shape(m->cache);
    tn_node       *at = tn_full(m->g, TN_I32, TN_SCALAR, (double)draw(m, 3));
    tn_node       *old = tn_read(m->g, m->cache), *now = m->rows ? m->rows : old;
    tn_node       *y = fed_by(m, x, s);
    keep(m, draw(m, 2) ? tn_add(y, now) : NULL);
    keep(m, draw(m, 2) ? with_itself(m, now) : NULL);
    if (draw(m, 2)) y = turned(m, now);
    now = tn_write_rows(draw(m, 3) ? now : turned(m, now), tn_slice(y, 1, 0, 2, 1), at);
    m->rows = tn_stop_gradient(now);
    keep(m, draw(m, 2) ? tn_scale(y, 2) : NULL); /* y: one of before */
    return m->rows;
}

static tn_node *any_op(maker *m)
{
    tn_node *x = pick(m);
    switch (draw(m, 22)) {
    case 0: case 1: case 2: return unary(m, x);
    case 3: case 4: case 5: return binary(m, x);
    case 6: case 7: return reduction(m, x);
    case 8: case 9: return product(m, x);
    case 10: case 11: return moved(m, x);
    case 12: return indexed(m, x);
    case 13: return attended_parts(m, x);
    case 14: return loss_of_logits(m, x);
    case 15: case 16: return assigned(m, x);
    case 17: return with_itself(m, x);
    case 18: case 19: return joined(m, x);
    case 20: return written(m, x);
    default: return attended(m, x);
    }
}

/* Values, gradients and assigns (of those that there are, not all); how many. */
static int make(maker *m, tn_node **out)
{
    tn_node *loss = NULL, *grad[LEAVES] = { NULL };
    int      n = 0;
    add_variables(m);
    while (m->n < LEAVES) add_leaf(m);
    for (int i = 0; i < OPS; i++) {
        tn_scope_push(m->g, i % 3 ? "kept.%d" : "again.%d", i);
        keep(m, any_op(m));
        tn_scope_pop(m->g);
    }
    for (int i = m->n_leaves; i < m->n; i++) {
        if (i < m->n - 1 && draw(m, 3)) continue; /* read by nothing more */
        tn_node *sum = tn_mean_all(draw(m, 2) ? tn_tanh(m->x[i]) : m->x[i]);
        loss = loss ? tn_add(loss, sum) : sum;
    }
    for (int i = 0; i < VALUES; i++) out[n++] = draw(m, 2) ? pick(m) : m->x[m->n - 1 - i];
    tn_grad_or_none(loss, NULL, m->x, m->n_leaves, grad);
    for (int i = 0; i < m->n_leaves; i++)
        if (grad[i]) out[n++] = grad[i];
    out[n++] = loss;
    for (int i = 0; i < VARIABLES; i++)
        if (m->assign[i] && draw(m, 3)) out[n++] = m->assign[i];
    return n;
}

/* ---- running it ------------------------------------------------------------------------------ */

typedef struct way {
    const char  *name;
    int          threads;
    bool         is_plain, streams, has_small_caches; /* plain: each op alone, in its own memory */
    bool         has_panels;
    const char  *recompute;
    tn_cpu_level below; /* the highest level at most; AUTO: the CPU's */
} way;

static void add_bytes(char **all, size_t *size, const void *data, size_t bytes)
{
    *all = realloc(*all, *size + bytes + 1);
    memcpy(*all + *size, data, bytes);
    *size += bytes;
}

typedef struct extent {
    const char *from, *to; /* of the memory between its first and its last element */
    bool        is_written;
} extent;

/* Number k of what a step touches; false behind the last. */
static bool extent_of(const tn_program *p, const tn__step *s, int k, extent *x)
{
    const int n = tn__step_tensors(s), out = s->n_in + s->n_out, scratch[] = { s->scratch,
                                                                               s->chain_scratch };
    if (k >= n + 2) return false;
    *x = (extent){ .is_written = (k >= s->n_in && k < out) || k >= out + s->n_chain_in };
    if (k < n) {
        const tn_tensor *t = &s->tensors[k];
        const int64_t    size = (int64_t)tn_dtype_size(t->dtype);
        x->from = t->data, x->to = x->from + size;
        for (int d = 0; d < t->shape.rank; d++) {
            const int64_t reach = (t->shape.dim[d] - 1) * t->stride[d] * size;
            if (reach < 0) x->from += reach;
            else x->to += reach;
        }
    } else if (scratch[k - n] >= 0) {
        const tn__buffer *b = &p->buffers[scratch[k - n]];
        x->from = (const char *)p->arena->data + b->offset, x->to = x->from + b->bytes;
    }
    return true;
}

/* May steps s and t run beside each other? */
static bool are_apart(const tn_program *p, const tn__step *s, const tn__step *t)
{
    extent x, y;
    for (int i = 0; extent_of(p, s, i, &x); i++)
        for (int k = 0; extent_of(p, t, k, &y); k++)
            if ((x.is_written || y.is_written) && x.from < y.to && y.from < x.to) return false;
    return true;
}

/* Two runs, with the results of both one after the other, and what the variables are then; freed by
 * the caller. No number that a run did not make is one. */
static char *results(uint64_t seed, const way *w, tn_cpu_level level, size_t *size)
{
    tn_ctx   *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = w->threads, .seed = seed,
                                                  .cpu = level });
    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *out[MOST_OUT];
    if (w->has_small_caches)
        tn__ctx_set_caches(ctx, (tn__caches){ .l1d = 4096, .l2 = 16384, .l3 = 65536 });
    tn__ctx_stream_from(ctx, w->streams ? 0 : INT64_MAX);
    maker       m = { .g = g, .seed = seed, .dtype = seed % 3 ? TN_F32 : TN_F64 };
    const int   n = make(&m, out);
    tn_panels  *panels = w->has_panels ? tn_panels_new(ctx) : NULL;
    tn_program *p = tn_compile(g, out, n, &(tn_compile_options){ .no_fusion = w->is_plain,
                                                                 .no_reuse = w->is_plain,
                                                                 .recompute = w->recompute,
                                                                 .panels = panels,
                                                                 .guard = m.guard });
    char       *all = NULL;
    *size = 0;
    CHECK_MSG(p != NULL, "seed %d, %s: %s", (int)seed, w->name, tn_error(ctx));
    for (int64_t i = 1; p && i < p->n_steps; i++)
        CHECK_MSG(!p->steps[i].overlaps || are_apart(p, &p->steps[i - 1], &p->steps[i]),
                  "seed %d, %s: step %d overlaps", (int)seed, w->name, (int)i);
    for (int run = 0; p && run < 2; run++) {
        if (p->arena->data) memset(p->arena->data, 0xff, p->arena->bytes);
        const tn_status s = tn_run(p);
        CHECK_MSG(s == TN_OK || (m.guard && s == TN_ERR_GUARD), "seed %d, %s: %s", (int)seed,
                  w->name, tn_error(ctx));
        add_bytes(&all, size, &s, sizeof s);
        tn_clear_error(ctx);
        if (s != TN_OK) break;
        for (int k = 0; k < n; k++) {
            const tn_type t = tn_output_type(p, k);
            add_bytes(&all, size, tn_output(p, k),
                      (size_t)tn_shape_size(&t.shape) * tn_dtype_size(t.dtype));
        }
    }
    for (int i = 0; i < VARIABLES; i++)
        add_bytes(&all, size, tn_variable_data(m.variable[i]), tn_variable_bytes(m.variable[i]));
    add_bytes(&all, size, tn_variable_data(m.cache), tn_variable_bytes(m.cache));
    tn_program_free(p), tn_graph_free(g), tn_panels_free(panels), tn_variable_free(m.cache);
    for (int i = 0; i < VARIABLES; i++) tn_variable_free(m.variable[i]);
    tn_ctx_free(ctx);
    return all;
}

static void check_ways(uint64_t seed, tn_cpu_level level, const way *ways, int n)
{
    const way plain = { "plain", .threads = 1, .is_plain = true };
    size_t    size, other;
    char     *want = results(seed, &plain, level, &size);
    for (int i = 0; i < n; i++) {
        if (ways[i].below && ways[i].below >= level) continue;
        char *got = results(seed, &ways[i], ways[i].below ? ways[i].below : level, &other);
        CHECK_MSG(size == other && memcmp(want, got, size) == 0,
                  "seed %d, %s, %s: other bits than plainly", (int)seed, ways[i].name,
                  tn_cpu_level_name(level));
        free(got);
    }
    free(want);
}

TEST(random_graphs, compiling_changes_no_bit)
{
    static const way ways[] = {
        { "fused", .threads = 1 },
        { "many threads", .threads = 7 },
        { "three threads, recomputed", .threads = 3, .recompute = "again.*" },
        { "past the caches", .threads = 2, .streams = true },
#if !defined TN_BLIS /* which products are BLIS's depends on the caches */
        { "small caches", .threads = 2, .has_small_caches = true },
        { "panels", .threads = 2, .has_panels = true },
#endif
        { "lower level", .threads = 3, .streams = true, .recompute = "again.*",
          .below = TN_CPU_AVX2 },
    };
    unsigned    from = 1, to = SEEDS;
    const char *seeds = getenv("TN_SEEDS");
    if (seeds) REQUIRE(sscanf(seeds, "%u-%u", &from, &to) == 2);
    for (uint64_t seed = from; seed <= to; seed++) {
        check_ways(seed, tn_cpu_detect(), ways, sizeof ways / sizeof *ways);
        if (seed % 4 == 0) check_ways(seed, TN_CPU_BASE, ways, sizeof ways / sizeof *ways);
    }
}

TEST_MAIN
