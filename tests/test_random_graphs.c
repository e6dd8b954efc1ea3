/* Graphs made by chance: what compile does changes no bit, nor do threads, levels, memory past the
 * caches or caches of other sizes. Each seed is a graph of its own, with its gradients. */
#include "check.h"
#include "libtensor.h"

#include "autograd/program.h"
#include "tensor/internal.h"

enum { SEEDS = 120, OPS = 24, MOST = 64, VARIABLES = 2, MOST_OUT = 11 + VARIABLES,
       MOST_SIZE = 1 << 15 };

/* ---- making one ------------------------------------------------------------------------------ */

typedef struct maker {
    tn_graph *g;
    tn_dtype  dtype;
    uint64_t  seed;
    int64_t   draws;
    tn_node  *x[MOST]; /* so far: floats */
    int       n, n_leaves;
    tn_node  *variable[VARIABLES], *assign[VARIABLES];
} maker;

static int64_t draw(maker *m, int64_t n)
{
    return (int64_t)(tn_random_u64((tn_rng){ m->seed, 1, 0 }, m->draws++) % (uint64_t)n);
}

static tn_node *pick(maker *m) { return m->x[draw(m, m->n)]; }

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

static void add_variable(maker *m, int i)
{
    const tn_shape s = i && draw(m, 2) ? tn_node_shape(m->variable[0]) : pick_shape(m);
    tn_node       *v = tn_variable_new(tn_graph_ctx(m->g), "v", m->dtype, s);
    for (int64_t k = 0; k < tn_shape_size(&s); k++)
        if (m->dtype == TN_F32) ((float *)tn_variable_data(v))[k] = (float)(k % 97) / 97;
        else ((double *)tn_variable_data(v))[k] = (double)(k % 97) / 97;
    m->variable[i] = v;
    keep(m, tn_read(m->g, v));
    m->n_leaves = m->n;
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

static tn_node *product(maker *m, tn_node *x)
{
    tn_shape s = tn_node_shape(x);
    if (s.rank < 2) return NULL;
    const int64_t k = s.dim[s.rank - 1], n = pick_dim(m);
    const bool    is_turned = draw(m, 2);
    if (draw(m, 2) == 0) { /* a batch, some of whose dimensions are broadcast */
        for (int d = 0; d + 2 < s.rank; d++)
            if (draw(m, 2)) s.dim[d] = 1;
        s.dim[s.rank - 2] = is_turned ? n : k, s.dim[s.rank - 1] = is_turned ? k : n;
    } else {
        s = is_turned ? TN_SHAPE(n, k) : TN_SHAPE(k, n);
    }
    tn_node *w = leaf_of(m, s), *y = tn_matmul(x, is_turned ? tn_transpose(w, -2, -1) : w);
    y = tn_scale(y, 1 / (double)k);
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

/* q, k and v are parts of one tensor, along any axis, with many keys at times; or rows of sentences
 * that lie end to end, of which the first and the last ones belong to nobody. */
static tn_node *attended_parts(maker *m, tn_node *x)
{
    static const int64_t lengths[] = { 4, 33, 65, 600 };
    const int64_t t = lengths[draw(m, 4)], h = 1 + draw(m, 3), d = 4 * (1 + draw(m, 2));
    const bool    is_packed = draw(m, 3) == 0;
    const int32_t offsets[] = { 1, (int32_t)(t / 2), (int32_t)(t - 1) };
    const int     axis = is_packed ? 1 + (int)draw(m, 2) : 1 + (int)draw(m, 3);
    tn_shape      s = is_packed ? TN_SHAPE(t, h, d) : TN_SHAPE(1 + draw(m, 2), t, h, d);
    tn_node      *part[3];
    const int64_t size = s.dim[axis];
    s.dim[axis] *= 3;
    if (tn_split(fed_by(m, x, s), axis, (int64_t[]){ size, size, size }, 3, part) != TN_OK)
        return NULL;
    tn_attention_mask mask = { .causal = draw(m, 2) };
    if (is_packed) mask.q_offsets = tn_constant(m->g, TN_I32, TN_SHAPE(3), offsets);
    return tn_attention(part[0], part[1], part[2], &mask,
                        &(tn_attention_options){ .dropout = draw(m, 2) ? 0.1 : 0 });
}

static tn_node *loss_of_logits(maker *m, tn_node *x)
{
    static const int64_t counts[] = { 3, 65, 600 }, classes[] = { 2, 17, 130 };
    const int64_t n = counts[draw(m, 3)], d = pick_dim(m), v = classes[draw(m, 3)];
    const bool    by_row = draw(m, 2);
    const tn_cross_entropy_options o = { .label_smoothing = draw(m, 2) ? 0.1 : 0,
                                         .has_ignore = draw(m, 2), .ignore_index = 1 };
    tn_node *at = tn_scale(tn_abs(leaf_of(m, TN_SHAPE(n))), (double)v - 0.5);
    tn_node *w = fed_by(m, x, by_row ? TN_SHAPE(v, d) : TN_SHAPE(d, v));
    tn_loss_parts parts;
    if (tn_linear_cross_entropy(fed_by(m, pick(m), TN_SHAPE(n, d)), w, by_row, NULL,
                                tn_cast(at, TN_I32), &o, &parts) != TN_OK)
        return NULL;
    return tn_scale(parts.sum, 1 / (double)n);
}

/* The new value of a variable, made of its old one, of another's, or of x. */
static tn_node *assigned(maker *m, tn_node *x)
{
    const int i = (int)draw(m, VARIABLES);
    tn_node  *v = m->variable[i], *other = m->variable[(i + 1) % VARIABLES];
    tn_node  *old = tn_read(m->g, v), *value = tn_read(m->g, other);
    if (m->assign[i]) return tn_neg(m->assign[i]);
    const tn_shape s = tn_node_shape(v), t = tn_node_shape(other);
    if (!tn_shape_equal(&s, &t) || draw(m, 2)) {
        value = tn_add(tn_scale(old, 0.5), tn_tanh(tn_mean_all(x)));
        if (s.rank > 0 && draw(m, 2)) value = tn_flip(draw(m, 2) ? old : value, 0);
    }
    return m->assign[i] = tn_assign(v, value);
}

static tn_node *any_op(maker *m)
{
    tn_node *x = pick(m);
    switch (draw(m, 17)) {
    case 0: case 1: case 2: return unary(m, x);
    case 3: case 4: case 5: return binary(m, x);
    case 6: case 7: return reduction(m, x);
    case 8: case 9: return product(m, x);
    case 10: case 11: return moved(m, x);
    case 12: return indexed(m, x);
    case 13: return attended_parts(m, x);
    case 14: return loss_of_logits(m, x);
    case 15: return assigned(m, x);
    default: return attended(m, x);
    }
}

/* Values, gradients and assigns (of those that there are, not all); how many. */
static int make(maker *m, tn_node **out)
{
    tn_node *loss = NULL, *grad[4] = { NULL };
    int      n = 0;
    for (int i = 0; i < VARIABLES; i++) add_variable(m, i);
    while (m->n < 4) add_leaf(m);
    for (int i = 0; i < OPS; i++) {
        tn_scope_push(m->g, i % 3 ? "kept.%d" : "again.%d", i);
        keep(m, any_op(m));
        tn_scope_pop(m->g);
    }
    for (int i = m->n_leaves; i < m->n; i++) {
        tn_node *sum = tn_mean_all(tn_tanh(m->x[i]));
        loss = loss ? tn_add(loss, sum) : sum;
        if (i >= m->n - 6) out[n++] = m->x[i];
    }
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
    const char  *recompute;
    tn_cpu_level below; /* the highest level at most; AUTO: the CPU's */
} way;

static void add_bytes(char **all, size_t *size, const void *data, size_t bytes)
{
    *all = realloc(*all, *size + bytes + 1);
    memcpy(*all + *size, data, bytes);
    *size += bytes;
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
    tn_program *p = tn_compile(g, out, n, &(tn_compile_options){ .no_fusion = w->is_plain,
                                                                 .no_reuse = w->is_plain,
                                                                 .recompute = w->recompute });
    char       *all = NULL;
    *size = 0;
    CHECK_MSG(p != NULL, "seed %d, %s: %s", (int)seed, w->name, tn_error(ctx));
    for (int run = 0; p && run < 2; run++) {
        if (p->arena->data) memset(p->arena->data, 0xff, p->arena->bytes);
        CHECK_MSG(tn_run(p) == TN_OK, "seed %d, %s: %s", (int)seed, w->name, tn_error(ctx));
        for (int k = 0; k < n; k++) {
            const tn_type t = tn_output_type(p, k);
            add_bytes(&all, size, tn_output(p, k),
                      (size_t)tn_shape_size(&t.shape) * tn_dtype_size(t.dtype));
        }
    }
    for (int i = 0; i < VARIABLES; i++)
        add_bytes(&all, size, tn_variable_data(m.variable[i]), tn_variable_bytes(m.variable[i]));
    tn_program_free(p), tn_graph_free(g);
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
#endif
        { "lower level", .threads = 3, .streams = true, .recompute = "again.*",
          .below = TN_CPU_AVX2 },
    };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        check_ways(seed, tn_cpu_detect(), ways, sizeof ways / sizeof *ways);
        if (seed % 4 == 0) check_ways(seed, TN_CPU_BASE, ways, sizeof ways / sizeof *ways);
    }
}

TEST_MAIN
