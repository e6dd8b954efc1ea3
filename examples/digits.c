/* A convolutional network that reads digits: of MNIST, or of other images in IDX files.
 *
 *     build/examples/digits --train train-images.gz --train-labels train-labels.gz \
 *         --test test-images.gz --test-labels test-labels.gz
 */
#include "libtensor.h"
#include "cli.h"
#include "clock.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *train_path, *train_labels, *test_path, *test_labels, *load_path, *save_path;
static int64_t     epochs = 5, batch = 64, channels = 32, seed = 1, threads;
static double      lr = 2e-3, dropout = 0.2;

static const cli_option options[] = {
    { CLI_TEXT, "train", &train_path, "FILE", "images to train on: IDX, also .gz" },
    { CLI_TEXT, "train-labels", &train_labels, "FILE", "what they show" },
    { CLI_TEXT, "test", &test_path, "FILE", "images that it is tried on" },
    { CLI_TEXT, "test-labels", &test_labels, "FILE", "what those show" },
    { CLI_INT, "epochs", &epochs, "N", "how often it sees each image" },
    { CLI_BATCHES, "batch", &batch, "N", "images of a step" },
    { CLI_BATCHES, "channels", &channels, "N", "of the first convolution" },
    OPTION_LR(&lr, " at first; it falls to 0"),
    OPTION_DROPOUT(&dropout, ""),
    OPTION_SEED(&seed),
    { CLI_TEXT, "load", &load_path, "FILE", "begin with weights that --save wrote" },
    { CLI_TEXT, "save", &save_path, "FILE", "keep the weights" },
    OPTION_THREADS(&threads),
};

/* ---- data ------------------------------------------------------------------------------------ */

typedef struct pictures {
    uint8_t *pixel, *label;
    int64_t  n, height, width;
} pictures;

static const char *why_not(tn_dtype images, const tn_shape *is, tn_dtype labels, const tn_shape *ls)
{
    if (images != TN_U8 || is->rank != 3) return "images are bytes [n, height, width]";
    if (labels != TN_U8 || ls->rank != 1) return "labels are bytes [n]";
    if (is->dim[0] != ls->dim[0]) return "there are not as many labels as images";
    return tn_shape_size(is) ? NULL : "there is no image";
}

static bool load(tn_ctx *ctx, const char *images, const char *labels, pictures *p)
{
    tn_dtype    image_type = TN_U8, label_type = TN_U8;
    tn_shape    is = { 0 }, ls = { 0 };
    p->pixel = tn_idx_load(ctx, images, &image_type, &is);
    p->label = p->pixel ? tn_idx_load(ctx, labels, &label_type, &ls) : NULL;
    const char *why = p->label ? why_not(image_type, &is, label_type, &ls) : NULL;
    if (why) tn_fail(ctx, TN_ERR_FORMAT, "%s, %s: %s", images, labels, why);
    p->n = is.dim[0], p->height = is.dim[1], p->width = is.dim[2];
    return tn_ctx_status(ctx) == TN_OK;
}

static void unload(tn_ctx *ctx, pictures *p) { tn_free(ctx, p->pixel), tn_free(ctx, p->label); }

/* ---- the model ------------------------------------------------------------------------------- */

typedef struct model {
    tn_conv       conv[2];
    tn_batch_norm norm[2];
    tn_linear     out;
} model;

static model make_model(tn_params *p, int64_t height, int64_t width, int64_t classes)
{
    model         m;
    const int64_t c[] = { 1, channels, 2 * channels };
    const tn_conv_options same = { .padding = { 1, 1 }, .no_bias = true };
    for (int i = 0; i < 2; i++) {
        char conv[] = "conv0", norm[] = "norm0";
        conv[4] = norm[4] = (char)('0' + i);
        m.conv[i] = tn_conv_new(p, conv, TN_SHAPE(3, 3), c[i], c[i + 1], &same);
        m.norm[i] = tn_batch_norm_new(p, norm, c[i + 1]);
    }
    m.out = tn_linear_new(p, "out", (height / 4) * (width / 4) * c[2], classes);
    return m;
}

/* x u8 [b, height, width] -> logits; assigns: what the norms remember */
static tn_node *apply_model(const model *m, tn_node *x, tn_node *assigns[4])
{
    x = tn_affine(tn_cast(tn_unsqueeze(x, -1), TN_F32), 2. / 255, -1);
    for (int i = 0; i < 2; i++) {
        x = tn_batch_norm_apply(&m->norm[i], tn_conv_apply(&m->conv[i], x), assigns + 2 * i);
        x = tn_max_pool(tn_relu(x), TN_SHAPE(2, 2), NULL);
    }
    return tn_linear_apply(&m->out, tn_dropout(tn_flatten(x, 1, -1), dropout));
}

/* One batch size, forward alone or a step of training. */
typedef struct pass {
    int64_t     n;
    tn_graph   *graph;
    tn_program *program;
    tn_node    *loss, *right; /* right: how many are */
} pass;

static pass make_pass(const model *m, tn_params *p, tn_optimizer *opt, const pictures *of,
                      int64_t n)
{
    pass     r = { .n = n, .graph = tn_graph_new(tn_params_ctx(p), opt ? TN_TRAIN : TN_EVAL) };
    tn_node *assigns[4], *outputs[5];
    tn_node *x = tn_input(r.graph, "x", TN_U8, TN_SHAPE(n, of->height, of->width));
    tn_node *y = tn_cast(tn_input(r.graph, "y", TN_U8, TN_SHAPE(n)), TN_I64);
    tn_node *logits = apply_model(m, x, assigns);
    r.loss = tn_cross_entropy(logits, y, NULL);
    r.right = tn_sum_all(tn_cast(tn_eq(tn_argmax(logits, -1, false), y), TN_F32));
    outputs[0] = r.right;
    if (opt) {
        memcpy(outputs + 1, assigns, sizeof assigns);
        const tn_train_step_options o = { .outputs = outputs, .n_outputs = 5 };
        r.program = tn_train_step_with(r.graph, r.loss, opt, &o);
    } else {
        r.program = tn_compile(r.graph, outputs, 1, NULL);
    }
    return r;
}

static void free_pass(pass *p) { tn_program_free(p->program), tn_graph_free(p->graph); }

/* Runs it on n pictures: those that `order` names from `first` on (NULL: just those from there). */
static tn_status run_pass(const pass *p, const pictures *of, const int64_t *order, int64_t first)
{
    const size_t size = (size_t)(of->height * of->width);
    uint8_t     *x = tn_input_data(p->program, "x"), *y = tn_input_data(p->program, "y");
    for (int64_t i = 0; x && y && i < p->n; i++) {
        const int64_t k = order ? order[first + i] : first + i;
        memcpy(x + (size_t)i * size, of->pixel + (size_t)k * size, size);
        y[i] = of->label[k];
    }
    return tn_run(p->program);
}

/* ---- training -------------------------------------------------------------------------------- */

typedef struct work {
    tn_ctx       *ctx;
    pictures      train, test;
    tn_params    *p;
    tn_optimizer *opt;
    model         m;
} work;

/* How many of the n pictures from `first` on it reads right, n of them at a time as long as they
 * last. */
static double count_right(work *w, int64_t first, int64_t n, int64_t end)
{
    double right = 0;
    pass   p = make_pass(&w->m, w->p, NULL, &w->test, n);
    for (; p.program && first + n <= end; first += n) {
        if (run_pass(&p, &w->test, NULL, first) != TN_OK) break;
        right += tn_item(p.program, p.right);
    }
    free_pass(&p);
    return right;
}

static bool test(work *w)
{
    const int64_t n = w->test.n, whole = n - n % batch;
    if (!n) return true;
    double right = whole ? count_right(w, 0, batch, whole) : 0;
    if (n > whole) right += count_right(w, whole, n - whole, n);
    if (tn_ctx_status(w->ctx) != TN_OK) return false;
    printf("test: %lld of %lld right, %.2f %%\n", (long long)right, (long long)n,
           100 * right / (double)n);
    return true;
}

static bool train(work *w)
{
    const int64_t     n = w->train.n, at_once = n < batch ? n : batch, steps = n / at_once;
    const tn_schedule falling = { .kind = TN_SCHEDULE_LINEAR, .lr = lr,
                                  .total = epochs * steps + 1 };
    int64_t          *order = tn_alloc(w->ctx, (size_t)n * sizeof *order);
    pass              p = make_pass(&w->m, w->p, w->opt, &w->train, at_once);
    printf("%lld images of %lld x %lld, %lld parameters\n", (long long)n,
           (long long)w->train.height, (long long)w->train.width,
           (long long)tn_params_size(w->p));
    for (int64_t e = 0; e < epochs && order && p.program && !interrupted; e++) {
        const double begin = now();
        double       loss = 0, right = 0;
        int64_t      i = 0;
        tn_random_permutation((tn_rng){ .seed = (uint64_t)seed, .stream = 1, .run = (uint64_t)e },
                              n, order);
        for (; i < steps && !interrupted; i++) {
            tn_optimizer_set_lr(w->opt, tn_schedule_lr(&falling, e * steps + i + 1));
            if (run_pass(&p, &w->train, order, i * at_once) != TN_OK) break;
            loss += tn_item(p.program, p.loss), right += tn_item(p.program, p.right);
        }
        if (tn_ctx_status(w->ctx) != TN_OK) break;
        const double took = now() - begin, seen = i ? (double)(i * at_once) : 1;
        printf("epoch %lld of %lld: loss ", (long long)e + 1, (long long)epochs);
        output_number(i ? loss / (double)i : 0, 4);
        printf(", right %.2f %%, %.0f images/s, %.0f s left\n", 100 * right / seen, seen / took,
               interrupted ? 0 : took * (double)(epochs - e - 1));
        fflush(stdout);
    }
    free_pass(&p), tn_free(w->ctx, order);
    return tn_ctx_status(w->ctx) == TN_OK;
}

static bool load_all(work *w)
{
    if (!load(w->ctx, train_path, train_labels, &w->train)) return false;
    if (test_path && !load(w->ctx, test_path, test_labels, &w->test)) return false;
    if (test_path && (w->test.height != w->train.height || w->test.width != w->train.width))
        tn_fail(w->ctx, TN_ERR_FORMAT, "%s has images of another size than %s", test_path,
                train_path);
    return tn_ctx_status(w->ctx) == TN_OK;
}

static int64_t classes_of(const work *w)
{
    int most = 1;
    for (int64_t i = 0; i < w->train.n; i++)
        if (w->train.label[i] > most) most = w->train.label[i];
    for (int64_t i = 0; i < w->test.n; i++)
        if (w->test.label[i] > most) most = w->test.label[i];
    return most + 1;
}

static bool work_on(work *w)
{
    if (!load_all(w)) return false;
    w->p = tn_params_new(w->ctx, TN_F32);
    w->m = make_model(w->p, w->train.height, w->train.width, classes_of(w));
    w->opt = tn_adam_new(w->p, &(tn_adam_options){ .lr = lr });
    if (load_path && tn_checkpoint_load(load_path, w->p, NULL) != TN_OK) return false;
    return (!epochs || train(w)) && test(w) &&
           (!save_path || tn_checkpoint_save(save_path, w->p, NULL, NULL, 0) == TN_OK);
}

static bool is_missing(const char *name, const char *value)
{
    if (!value) fprintf(stderr, "digits: --%s is missing; see --help\n", name);
    return !value;
}

int main(int argc, char **argv)
{
    switch (cli_parse(argc, argv, "Trains a convolutional network to read digits.", options,
                      sizeof options / sizeof *options)) {
    case CLI_HELP: return output_end("digits", 0);
    case CLI_WRONG: return 2;
    default: break;
    }
    if (is_missing("train", train_path) || is_missing("train-labels", train_labels) ||
        (test_path && is_missing("test-labels", test_labels)) ||
        (test_labels && is_missing("test", test_path)))
        return 2;
    const char *why = save_path ? output_refused(save_path) : NULL;
    if (why) {
        fprintf(stderr, "digits: --save %s: %s\n", save_path, why);
        return 1;
    }
    work w = { .ctx = tn_ctx_new(&(tn_ctx_options){ .threads = (int)threads,
                                                    .seed = (uint64_t)seed }) };
    if (!w.ctx) {
        fprintf(stderr, "digits: no memory for a context\n");
        return 1;
    }
    interrupt_catch();
    const bool ok = work_on(&w);
    if (!ok) fprintf(stderr, "digits: %s\n", tn_error(w.ctx));
    tn_optimizer_free(w.opt), tn_params_free(w.p);
    unload(w.ctx, &w.train), unload(w.ctx, &w.test), tn_ctx_free(w.ctx);
    return output_end("digits", ok ? interrupt_status() : 1);
}
