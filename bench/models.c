/* The models that benchmarks run, and how they are fed. */
#include "models.h"

#include "examples/cli.h"
#include "peak.h"

static const tn_bench_size sizes[] = {
    { "tiny", false, 128, 4, 512, 2, 32, 32, 32, 8000, NULL },
    { "small", false, 256, 4, 1024, 3, 32, 48, 48, 8000, NULL },
    { "base", false, 512, 8, 2048, 6, 16, 64, 64, 8000, NULL },
    { "gpt8k", true, 384, 6, 1536, 6, 8, 0, 256, 8000, NULL },
    { "gpt2", true, 768, 12, 3072, 12, 4, 0, 64, 50257, NULL },
};
enum { N_PAIR_SIZES = 3, N_SIZES = sizeof sizes / sizeof *sizes }; /* pairs: the first */

static const tn_bench_size *find(const char *name, int n)
{
    char names[64] = "";
    for (int i = 0; i < n; i++) strcat(strcat(names, i ? "|" : ""), sizes[i].name);
    int which = cli_choice("size", name, names);
    return which < 0 ? NULL : &sizes[which];
}

const tn_bench_size *tn_bench_size_of(const char *name) { return find(name, N_SIZES); }
const tn_bench_size *tn_bench_pair_size_of(const char *name) { return find(name, N_PAIR_SIZES); }

double tn_bench_step_gflop(const tn_bench_size *c)
{
    double ns = (double)(c->batch * c->src), nt = (double)(c->batch * c->tgt), d = (double)c->d;
    double ff = (double)c->ff, l = (double)c->layers, b = (double)c->batch, ts = (double)c->src;
    double tt = (double)c->tgt, v = (double)c->vocab;
    double linear = l * nt * (4 * d * d + 2 * d * ff) + nt * d * v,
        attention = l * b * d * 2 * tt * tt;
    if (!c->is_gpt) {
        linear += l * (ns * (4 * d * d + 2 * d * ff) + nt * 2 * d * d + ns * 2 * d * d);
        attention += l * b * d * (2 * ts * ts + 2 * tt * ts);
    }
    return 6e-9 * (linear + attention);
}

tn_transformer_config tn_bench_transformer(const tn_bench_size *c, double dropout)
{
    return (tn_transformer_config){ .src_vocab = c->vocab,
                                    .d_model = c->d,
                                    .n_heads = c->heads,
                                    .d_ff = c->ff,
                                    .n_encoder = c->layers,
                                    .n_decoder = c->layers,
                                    .dropout = dropout > 0 ? dropout : TN_NONE };
}

static tn_loss_parts gpt_loss(const tn_bench_size *c, double dropout, tn_bench_model *m)
{
    tn_loss_parts parts = { 0 };
    m->gpt = tn_gpt_new(m->p, &(tn_gpt_config){ .vocab = c->vocab,
                                                .d_model = c->d,
                                                .n_heads = c->heads,
                                                .n_layers = c->layers,
                                                .d_ff = c->ff,
                                                .max_length = c->d == 768 ? 1024 : c->tgt,
                                                .dropout = dropout,
                                                .attention_dropout = dropout });
    m->opt = tn_adamw_new(
        m->p,
        &(tn_adamw_options){ .lr = 1e-4, .beta2 = 0.95, .weight_decay = 0.1, .decay_all = true });
    tn_gpt_loss(m->gpt, &(tn_sequence){ .ids = m->tgt }, m->next, NULL, &parts);
    return parts;
}

static tn_loss_parts transformer_loss(const tn_bench_size *c, double dropout, tn_bench_model *m)
{
    tn_loss_parts         parts = { 0 };
    tn_transformer_config config = tn_bench_transformer(c, dropout);
    m->transformer = tn_transformer_new(m->p, &config);
    m->opt = tn_adam_new(m->p, &(tn_adam_options){ .lr = 1e-4, .beta2 = 0.98, .eps = 1e-9 });
    m->src = tn_input(m->g, "src", TN_I32, TN_SHAPE(c->batch, c->src));
    tn_node    *ls = tn_input(m->g, "src_lengths", TN_I32, TN_SHAPE(c->batch));
    tn_node    *lt = tn_input(m->g, "tgt_lengths", TN_I32, TN_SHAPE(c->batch));
    tn_sequence source = { .ids = m->src, .lengths = ls },
        target = { .ids = m->tgt, .lengths = lt };
    tn_transformer_loss(m->transformer, &source, &target, m->next, 0.1, &parts);
    return parts;
}

tn_status tn_bench_model_new(tn_ctx *ctx, const tn_bench_size *c, double dropout, tn_bench_model *m)
{
    *m = (tn_bench_model){ .p = tn_params_new(ctx, TN_F32), .g = tn_graph_new(ctx, TN_TRAIN) };
    if (dropout < 0) dropout = c->is_gpt ? 0 : 0.1;
    m->tgt = tn_input(m->g, "tgt", TN_I32, TN_SHAPE(c->batch, c->tgt));
    m->next = tn_input(m->g, "next", TN_I32, TN_SHAPE(c->batch, c->tgt));
    tn_loss_parts parts = c->is_gpt ? gpt_loss(c, dropout, m) : transformer_loss(c, dropout, m);
    m->loss = tn_div(parts.sum, parts.count);
    double begin = tn_bench_now();
    m->step = tn_train_step_with(m->g, m->loss, m->opt,
                                 &(tn_train_step_options){ .recompute = c->recompute });
    m->compile_seconds = tn_bench_now() - begin;
    return m->step ? TN_OK : tn_ctx_status(ctx);
}

void tn_bench_model_clear(tn_bench_model *m)
{
    tn_program_free(m->step), tn_graph_free(m->g), tn_optimizer_free(m->opt);
    tn_transformer_free(m->transformer), tn_gpt_free(m->gpt), tn_params_free(m->p);
    *m = (tn_bench_model){ 0 };
}

void tn_bench_feed_random(tn_bench_model *m, const tn_bench_size *c, int64_t number)
{
    static const char *const names[] = { "src", "tgt", "next" };
    tn_rng                   rng = { 2, 5, (uint64_t)number };
    for (int k = 0; k < 3; k++) {
        int64_t  n = c->batch * (k == 0 ? c->src : c->tgt);
        int32_t *ids = tn_input_data(m->step, names[k]);
        for (int64_t i = 0; ids && i < n; i++)
            ids[i] = 1 + (int32_t)(tn_random_u64(rng, i + k * 1000000) % (uint64_t)(c->vocab - 1));
    }
    for (int k = 0; k < 2; k++) {
        int32_t *lengths = tn_input_data(m->step, k ? "tgt_lengths" : "src_lengths");
        for (int64_t i = 0; lengths && i < c->batch; i++)
            lengths[i] = (int32_t)(k ? c->tgt : c->src);
    }
}
