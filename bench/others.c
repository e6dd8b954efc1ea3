/* A training step (forward, backward, Adam) of models other than the Transformer, as people write
 * them from ops and layers:
 *
 *     bench_others --models "mlp;lstm" --threads 2 --json
 *
 * peers/torch_others.py has the same models in PyTorch. The numbers are made up: they do not change
 * what a step costs. */
#include "libtensor.h"
#include "options.h"
#include "peak.h"

#include <stdio.h>
#include <sys/resource.h>

enum { MAX_REPEATS = 101, NAME = 32, MAX_INPUTS = 4, MAX_NORMS = 16 };

typedef struct maker {
    tn_params *params;
    tn_graph  *graph;
    int        n; /* names given so far */
    tn_node   *inputs[MAX_INPUTS];
    int        n_inputs;
    tn_node   *assigns[2 * MAX_NORMS]; /* of batch norms */
    int        n_assigns;              /* pairs of them */
} maker;

/* ---- what models are made of ------------------------------------------------------------- */

static const char *name_of(maker *m, char name[NAME])
{
    snprintf(name, NAME, "n%d", m->n++);
    return name;
}

static tn_node *input(maker *m, tn_shape shape)
{
    char     name[NAME];
    tn_node *x = tn_input(m->graph, name_of(m, name), TN_F32, shape);
    if (m->n_inputs < MAX_INPUTS) m->inputs[m->n_inputs++] = x;
    return x;
}

/* Numbers in [0, limit). */
static tn_node *indices(maker *m, tn_shape shape, int64_t limit)
{
    const int64_t n = tn_shape_size(&shape);
    int32_t      *data = malloc((size_t)n * sizeof *data);
    for (int64_t i = 0; data && i < n; i++) data[i] = (int32_t)(i * 2654435761 % limit);
    tn_node *x = tn_constant(m->graph, TN_I32, shape, data);
    free(data);
    return x;
}

static tn_node *param(maker *m, tn_shape shape)
{
    char          name[NAME];
    const tn_init init = tn_init_normal(0, 0.05);
    return tn_param(m->params, name_of(m, name), shape, &init);
}

static tn_node *linear(maker *m, tn_node *x, int64_t in, int64_t out)
{
    char            name[NAME];
    const tn_linear l = tn_linear_new(m->params, name_of(m, name), in, out);
    return tn_linear_apply(&l, x);
}

static tn_node *normed(maker *m, tn_node *x, int64_t d)
{
    char                name[NAME];
    const tn_norm_layer l = tn_layer_norm_new(m->params, name_of(m, name), d);
    return tn_norm_apply(&l, x);
}

/* A convolution to `out` channels of windows of 3 x 3, without padding. */
static tn_node *convolution(maker *m, tn_node *x, int64_t out)
{
    char          name[NAME];
    const tn_conv l = tn_conv_new(m->params, name_of(m, name), TN_SHAPE(3, 3), tn_dim(x, -1), out,
                                  NULL);
    return tn_conv_apply(&l, x);
}

/* One of size x size in steps, which keeps the places, and the norm of what it gives. */
static tn_node *normed_convolution(maker *m, tn_node *x, int64_t size, int64_t step, int64_t out)
{
    char                  name[NAME];
    const tn_conv_options o = { .stride = { step, step }, .padding = { size / 2, size / 2 },
                                .no_bias = true };
    const tn_conv         l = tn_conv_new(m->params, name_of(m, name), TN_SHAPE(size, size),
                                          tn_dim(x, -1), out, &o);
    const tn_batch_norm   n = tn_batch_norm_new(m->params, name_of(m, name), out);
    return tn_batch_norm_apply(&n, tn_conv_apply(&l, x), m->assigns + m->n_assigns++ * 2);
}

/* The largest of each 2 x 2. */
static tn_node *pool(tn_node *x) { return tn_max_pool(x, TN_SHAPE(2, 2), NULL); }

/* ---- the models: each gives its loss ----------------------------------------------------- */

static tn_node *mlp(maker *m)
{
    tn_node *x = tn_relu(linear(m, input(m, TN_SHAPE(256, 784)), 784, 512));
    x = tn_relu(linear(m, x, 512, 512));
    return tn_cross_entropy(linear(m, x, 512, 10), indices(m, TN_SHAPE(256), 10), NULL);
}

static tn_node *small_mlp(maker *m)
{
    tn_node *x = input(m, TN_SHAPE(32, 64));
    for (int i = 0; i < 4; i++) x = tn_tanh(linear(m, x, 64, 64));
    return tn_mse(linear(m, x, 64, 1), input(m, TN_SHAPE(32, 1)), TN_MEAN);
}

static tn_node *lstm(maker *m)
{
    enum { B = 32, T = 64, H = 256 };
    tn_node *w = param(m, TN_SHAPE(H, 4 * H)), *h = NULL, *c = NULL, *gate[4];
    tn_node *x = linear(m, input(m, TN_SHAPE(T, B, H)), H, 4 * H); /* of all steps at once */
    for (int t = 0; t < T; t++) {
        tn_node *sum = tn_select(x, 0, t);
        if (h) sum = tn_add(sum, tn_matmul(h, w));
        tn_chunk(sum, 1, 4, gate);
        tn_node *now = tn_mul(tn_sigmoid(gate[0]), tn_tanh(gate[1]));
        c = c ? tn_add(tn_mul(tn_sigmoid(gate[2]), c), now) : now;
        h = tn_mul(tn_sigmoid(gate[3]), tn_tanh(c));
    }
    return tn_cross_entropy(linear(m, h, H, 10), indices(m, TN_SHAPE(B), 10), NULL);
}

static tn_node *gru(maker *m)
{
    enum { B = 32, T = 64, H = 256 };
    tn_node *w = param(m, TN_SHAPE(H, 3 * H)), *bias = param(m, TN_SHAPE(3 * H));
    tn_node *h = tn_full(m->graph, TN_F32, TN_SHAPE(B, H), 0), *own[3], *past[3];
    tn_node *x = linear(m, input(m, TN_SHAPE(T, B, H)), H, 3 * H);
    for (int t = 0; t < T; t++) {
        tn_chunk(tn_select(x, 0, t), 1, 3, own);
        tn_chunk(tn_add(tn_matmul(h, w), bias), 1, 3, past);
        tn_node *keep = tn_sigmoid(tn_add(own[0], past[0]));
        tn_node *reset = tn_sigmoid(tn_add(own[1], past[1]));
        tn_node *now = tn_tanh(tn_add(own[2], tn_mul(reset, past[2])));
        h = tn_lerp(now, h, keep);
    }
    return tn_cross_entropy(linear(m, h, H, 10), indices(m, TN_SHAPE(B), 10), NULL);
}

static tn_node *cnn(maker *m)
{
    tn_node *x = pool(tn_relu(convolution(m, input(m, TN_SHAPE(64, 28, 28, 1)), 32)));
    x = tn_relu(convolution(m, x, 64));
    x = tn_relu(linear(m, tn_flatten(pool(x), 1, -1), 5 * 5 * 64, 128));
    return tn_cross_entropy(linear(m, x, 128, 10), indices(m, TN_SHAPE(64), 10), NULL);
}

static tn_node *resnet(maker *m)
{
    tn_node *x = input(m, TN_SHAPE(32, 32, 32, 3));
    x = tn_relu(normed_convolution(m, x, 3, 1, 32));
    for (int i = 0; i < 3; i++) { /* He et al. 2015: two convolutions and a way past them */
        const int64_t step = i ? 2 : 1, out = (int64_t)32 << i;
        tn_node      *past = i ? normed_convolution(m, x, 1, step, out) : x;
        x = tn_relu(normed_convolution(m, x, 3, step, out));
        x = tn_relu(tn_add(normed_convolution(m, x, 3, 1, out), past));
    }
    x = tn_mean(x, (const int[]){ 1, 2 }, 2, false);
    return tn_cross_entropy(linear(m, x, 128, 10), indices(m, TN_SHAPE(32), 10), NULL);
}

static tn_node *vit(maker *m)
{
    enum { B = 32, SIDE = 8, PATCH = 4, D = 192, LAYERS = 4 };
    tn_node *x = input(m, TN_SHAPE(B, SIDE, PATCH, SIDE, PATCH, 3));
    x = tn_reshape(tn_permute(x, (const int[]){ 0, 1, 3, 2, 4, 5 }, 6),
                   TN_SHAPE(B, SIDE * SIDE, PATCH * PATCH * 3));
    x = tn_add(linear(m, x, PATCH * PATCH * 3, D), param(m, TN_SHAPE(SIDE * SIDE, D)));
    tn_encoder e = tn_encoder_new(m->params, "encoder", LAYERS,
                                  &(tn_block_options){ .d_model = D, .n_heads = 3,
                                                       .activation = TN_ACTIVATION_GELU });
    x = tn_mean(tn_encoder_apply(&e, x, NULL), (const int[]){ 1 }, 1, false);
    tn_encoder_clear(tn_params_ctx(m->params), &e);
    return tn_cross_entropy(linear(m, x, D, 10), indices(m, TN_SHAPE(B), 10), NULL);
}

static tn_node *graph_network(maker *m)
{
    enum { NODES = 10000, EDGES = 80000, D = 64 };
    tn_node *from = indices(m, TN_SHAPE(EDGES), NODES);
    tn_node *to = indices(m, TN_SHAPE(EDGES), NODES - 3);
    tn_node *x = input(m, TN_SHAPE(NODES, D));
    for (int i = 0; i < 2; i++) {
        tn_node *sent = tn_index_select(linear(m, x, D, D), 0, from);
        x = tn_relu(tn_index_add(tn_full(m->graph, TN_F32, TN_SHAPE(NODES, D), 0), 0, to, sent));
    }
    return tn_cross_entropy(linear(m, x, D, 16), indices(m, TN_SHAPE(NODES), 16), NULL);
}

static tn_node *vae(maker *m)
{
    enum { B = 128, D = 784, H = 400, Z = 20 };
    tn_node *x = input(m, TN_SHAPE(B, D)), *h = tn_relu(linear(m, x, D, H));
    tn_node *mean = linear(m, h, H, Z), *log_var = linear(m, h, H, Z);
    tn_node *noise = tn_random_normal_node(m->graph, TN_F32, TN_SHAPE(B, Z), 0, 1);
    tn_node *z = tn_add(mean, tn_mul(noise, tn_exp(tn_scale(log_var, 0.5))));
    tn_node *out = linear(m, tn_relu(linear(m, z, Z, H)), H, D);
    tn_node *kl = tn_sub(tn_add(tn_square(mean), tn_exp(log_var)), tn_add_scalar(log_var, 1));
    return tn_add(tn_bce_with_logits(out, x, TN_SUM), tn_scale(tn_sum_all(kl), 0.5));
}

static tn_node *factors(maker *m)
{
    enum { USERS = 50000, ITEMS = 10000, D = 64, B = 4096 };
    tn_node *u = tn_embedding(param(m, TN_SHAPE(USERS, D)), indices(m, TN_SHAPE(B), USERS), -1);
    tn_node *v = tn_embedding(param(m, TN_SHAPE(ITEMS, D)), indices(m, TN_SHAPE(B), ITEMS), -1);
    tn_node *score = tn_sum(tn_mul(u, v), (const int[]){ 1 }, 1, false);
    return tn_mse(score, input(m, TN_SHAPE(B)), TN_MEAN);
}

static tn_node *contrast(maker *m)
{
    enum { B = 512, D = 512, OUT = 128 };
    tn_node *side[2];
    for (int i = 0; i < 2; i++) {
        tn_node *x = tn_gelu(linear(m, input(m, TN_SHAPE(B, D)), D, 256));
        x = linear(m, x, 256, OUT);
        side[i] = tn_div(x, tn_norm(x, (const int[]){ 1 }, 1, true));
    }
    tn_node *scores = tn_scale(tn_matmul(side[0], tn_transpose(side[1], 0, 1)), 10);
    tn_node *target = tn_arange(m->graph, TN_I32, B, 0, 1);
    return tn_add(tn_cross_entropy(scores, target, NULL),
                  tn_cross_entropy(tn_transpose(scores, 0, 1), target, NULL));
}

/* Dilated convolutions over time, as sums of products of shifted rows. */
static tn_node *temporal(maker *m)
{
    enum { B = 16, T = 512, C = 64 };
    tn_node *x = input(m, TN_SHAPE(B, T, C));
    for (int i = 0; i < 4; i++) {
        const int64_t d = (int64_t)1 << i;
        tn_node      *late = tn_pad(x, 1, 2 * d, 0, 0), *y = param(m, TN_SHAPE(C));
        for (int k = 0; k < 3; k++)
            y = tn_add(y, tn_matmul(tn_slice(late, 1, k * d, k * d + T, 1),
                                    param(m, TN_SHAPE(C, C))));
        x = tn_add(x, tn_relu(y));
    }
    return tn_mse(x, input(m, TN_SHAPE(B, T, C)), TN_MEAN);
}

/* Rows mixed across places and across channels. */
static tn_node *mixer(maker *m)
{
    enum { B = 16, P = 196, D = 256 };
    tn_node *x = input(m, TN_SHAPE(B, P, D));
    for (int i = 0; i < 2; i++) {
        tn_node *h = tn_transpose(normed(m, x, D), 1, 2);
        h = linear(m, tn_gelu(linear(m, h, P, 128)), 128, P);
        x = tn_add(x, tn_transpose(h, 1, 2));
        x = tn_add(x, linear(m, tn_gelu(linear(m, normed(m, x, D), D, 512)), 512, D));
    }
    return tn_mean_all(tn_square(x));
}

static const struct model {
    const char *name, *what;
    tn_node *(*loss)(maker *m);
} models[] = {
    { "mlp", "256 x 784, 512, 512, 10", mlp },
    { "small_mlp", "32 x 64, four layers of 64", small_mlp },
    { "lstm", "64 steps of 32 x 256", lstm },
    { "gru", "64 steps of 32 x 256", gru },
    { "cnn", "64 x 28 x 28, 3 x 3 x 32, 3 x 3 x 64, 128, 10", cnn },
    { "resnet", "32 x 32 x 32 x 3, three blocks of 32, 64, 128", resnet },
    { "vit", "32 x 64 patches, 192, 4 layers", vit },
    { "graph", "10,000 nodes, 80,000 edges, 64, 2 layers", graph_network },
    { "vae", "128 x 784, 400, 20", vae },
    { "factors", "50,000 and 10,000 rows of 64, 4,096 pairs", factors },
    { "contrast", "512 pairs, 512, 256, 128", contrast },
    { "temporal", "16 x 512 x 64, 4 dilated layers", temporal },
    { "mixer", "16 x 196 x 256, 2 layers", mixer },
};
enum { N_MODELS = sizeof models / sizeof *models };

/* ---- measuring --------------------------------------------------------------------------- */

typedef struct options {
    int64_t     threads, repeats;
    const char *list;
    double      ms;
    bool        json, profile, dump;
    bool        wanted[N_MODELS];
} options;

static bool add_model(void *to, const char *name)
{
    options *o = to;
    bool     is_known = false;
    for (int i = 0; i < N_MODELS; i++)
        if (!strcmp(name, models[i].name) || !strcmp(name, "all"))
            is_known = o->wanted[i] = true;
    if (!is_known) fprintf(stderr, "--models %s: there is no such model\n", name);
    return is_known;
}

static void feed(tn_program *p, const tn_node *x)
{
    const tn_shape shape = tn_node_shape(x);
    const size_t   n = (size_t)tn_shape_size(&shape);
    float         *data = malloc(n * sizeof *data);
    for (size_t k = 0; data && k < n; k++) data[k] = (float)(k * 7919 % 1009) / 1009;
    if (data) tn_feed(p, x, data, n * sizeof *data);
    free(data);
}

static double seconds(tn_program *p, int n)
{
    const double begin = tn_bench_now();
    for (int i = 0; i < n; i++) tn_run(p);
    return (tn_bench_now() - begin) / n;
}

static bool measure(const options *o, const struct model *model)
{
    static double samples[MAX_REPEATS];
    tn_ctx       *ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)o->threads, .seed = 1 });
    maker         m = { .params = tn_params_new(ctx, TN_F32),
                        .graph = tn_graph_new(ctx, TN_TRAIN) };
    tn_optimizer *opt = tn_adam_new(m.params, &(tn_adam_options){ .lr = 1e-4 });
    const double  begin = tn_bench_now();
    tn_node      *loss = model->loss(&m);
    tn_program   *step = tn_train_step_with(m.graph, loss, opt, &(tn_train_step_options){
                                                .outputs = m.assigns,
                                                .n_outputs = 2 * m.n_assigns });
    const double  made = tn_bench_now() - begin;
    if (!step) {
        fprintf(stderr, "bench_others: %s: %s\n", model->name, tn_error(ctx));
        return false;
    }
    for (int i = 0; i < m.n_inputs; i++) feed(step, m.inputs[i]);
    if (o->dump) tn_program_dump(step, stdout);
    seconds(step, 2);
    tn_program_profile(step, o->profile);
    const int n = (int)(1e-3 * o->ms / seconds(step, 1)) + 1;
    for (int64_t r = 0; r < o->repeats; r++) samples[r] = seconds(step, n);
    if (o->profile) tn_program_profile_dump(step, stdout);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    const double ms = 1e3 * tn_bench_median(samples, (int)o->repeats);
    const double arena = (double)tn_program_stats_of(step).arena_bytes / 1048576;
    const double rss = (double)use.ru_maxrss / 1024;
    if (o->json)
        printf("{\"model\":\"%s\",\"what\":\"%s\",\"threads\":%lld,\"step_ms\":%.4f,"
               "\"compile_ms\":%.1f,\"arena_mib\":%.1f,\"rss_mib\":%.1f}\n", model->name,
               model->what, (long long)o->threads, ms, 1e3 * made, arena, rss);
    else
        printf("%-10s %9.3f ms  made in %7.1f ms  arena %7.1f MiB  %s\n", model->name, ms,
               1e3 * made, arena, model->what);
    fflush(stdout);
    const bool ok = tn_ctx_status(ctx) == TN_OK;
    if (!ok) fprintf(stderr, "bench_others: %s: %s\n", model->name, tn_error(ctx));
    tn_program_free(step), tn_graph_free(m.graph), tn_optimizer_free(opt);
    tn_params_free(m.params), tn_ctx_free(ctx);
    return ok;
}

int main(int argc, char **argv)
{
    options o = { .threads = 2, .repeats = 11, .ms = 50, .list = "all" };
    const cli_option table[] = {
        { CLI_TEXT, "models", &o.list, "LIST", "of models, ';' between them" },
        TN_BENCH_THREADS(&o.threads),
        { CLI_INT, "repeats", &o.repeats, "N", "samples of each, median taken" },
        { CLI_REAL, "ms", &o.ms, "X", "least length of a sample" },
        { CLI_FLAG, "profile", &o.profile, NULL, "the time of each op" },
        { CLI_FLAG, "dump", &o.dump, NULL, "the program" },
        TN_BENCH_JSON(&o.json),
    };
    int end = tn_bench_parse(argc, argv, "A training step of models other than the Transformer.",
                             table, sizeof table / sizeof *table);
    if (end != TN_BENCH_GO_ON) return end;
    if (!tn_bench_is_within("threads", o.threads, 1, TN_BENCH_MAX_THREADS) ||
        !tn_bench_is_within("repeats", o.repeats, 1, MAX_REPEATS) || !tn_bench_is_sample(o.ms) ||
        !tn_bench_each_of("models", o.list, add_model, &o))
        return 2;
    bool ok = true;
    for (int i = 0; i < N_MODELS; i++)
        if (o.wanted[i]) ok &= measure(&o, &models[i]);
    return tn_bench_end(!ok);
}
