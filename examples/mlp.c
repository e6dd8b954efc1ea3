/* A network that reads digits: the whole of a small training program. The digits are drawn here, so
 * it runs anywhere: a seven-segment figure, shifted, scaled in brightness and covered with noise,
 * 28 x 28.
 *
 *     build/examples/mlp [steps]
 */
#include "libtensor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE, BATCH = 64 };

/* ---- data ------------------------------------------------------------------------------------ */

/* Which of the segments a digit lights: top, upper left, upper right, middle, lower left, lower
 * right, bottom. */
static const unsigned char segments[10] = { 0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f,
                                            0x6f };

/* x, y, width and height of each segment in a figure of 12 x 20. */
static const int box[7][4] = { { 0, 0, 12, 2 },  { 0, 0, 2, 10 },  { 10, 0, 2, 10 },
                               { 0, 9, 12, 2 },
                               { 0, 10, 2, 10 }, { 10, 10, 2, 10 }, { 0, 18, 12, 2 } };

/* Batch number i of a stream: 64 images and what they show. */
static void next_batch(uint64_t stream, uint64_t i, float *images, int32_t *labels)
{
    tn_rng rng = { .seed = 1, .stream = stream, .run = i };
    tn_random_normal(rng, 0, BATCH * PIXELS, TN_F32, images, 0, 0.3);
    rng.stream++;
    for (int64_t n = 0; n < BATCH; n++) {
        uint64_t bits = tn_random_u64(rng, n);
        int      digit = (int)(bits % 10), left = (int)(bits >> 8 & 15),
            top = (int)(bits >> 16 & 7);
        float    light = 0.5f + (float)(bits >> 24 & 255) / 256;
        for (int s = 0; s < 7; s++)
            for (int p = 0; (segments[digit] >> s & 1) && p < box[s][2] * box[s][3]; p++)
                images[n * PIXELS + (top + box[s][1] + p / box[s][2]) * SIDE + left + box[s][0] +
                       p % box[s][2]] += light;
        labels[n] = digit;
    }
}

/* ---- the model ------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    char *end = NULL;
    errno = 0; /* a number that is too large is told by this alone */
    long  steps = argc > 1 ? strtol(argv[1], &end, 10) : 500;
    if (argc > 2 || (end && (end == argv[1] || *end || steps < 0 || errno))) {
        fprintf(stderr, "usage: mlp [steps]\n");
        return 2;
    }

    tn_ctx       *ctx = tn_ctx_new(NULL); /* threads, allocator, log, seed: defaults at zero */
    tn_params    *p = tn_params_new(ctx, TN_F32);
    tn_linear     l1 = tn_linear_new(p, "l1", PIXELS, 128), l2 = tn_linear_new(p, "l2", 128, 10);
    tn_optimizer *opt = tn_adamw_new(p, &(tn_adamw_options){ .lr = 1e-3 });

    tn_graph *g = tn_graph_new(ctx, TN_TRAIN);
    tn_node  *x = tn_input(g, "x", TN_F32, TN_SHAPE(BATCH, PIXELS));
    tn_node  *y = tn_input(g, "y", TN_I32, TN_SHAPE(BATCH));
    tn_node  *logits = tn_linear_apply(&l2, tn_relu(tn_linear_apply(&l1, x)));
    tn_node  *loss = tn_cross_entropy(logits, y, NULL);
    tn_node  *right = tn_eq(tn_argmax(logits, -1, false), tn_cast(y, TN_I64));
    tn_node  *accuracy = tn_mean_all(tn_cast(right, TN_F32));

    /* forward, backward, update: one program; and one that only looks */
    tn_program *train = tn_train_step_with(g, loss, opt,
                                           &(tn_train_step_options){ .outputs = &accuracy,
                                                                     .n_outputs = 1 });
    tn_program *test = tn_compile(g, &accuracy, 1, NULL);
    if (!train || !test) { /* the first error of all the lines above */
        fprintf(stderr, "mlp: %s\n", ctx ? tn_error(ctx) : "no context");
        return 1;
    }

    static float   images[BATCH * PIXELS];
    static int32_t labels[BATCH];
    double         right_of_all = 0;
    printf("%lld parameters\n", (long long)tn_params_size(p));
    for (long i = 0; i < steps; i++) {
        next_batch(2, (uint64_t)i, images, labels);
        tn_feed(train, x, images, sizeof images), tn_feed(train, y, labels, sizeof labels);
        if (tn_run(train) != TN_OK) break;
        if (i % 50 == 0 || i == steps - 1)
            printf("step %4ld  loss %.4f  accuracy %.3f\n", i, tn_item(train, loss),
                   tn_item(train, accuracy));
    }
    for (int i = 0; i < 20; i++) { /* digits that it has not seen */
        next_batch(4, (uint64_t)i, images, labels);
        tn_feed(test, x, images, sizeof images), tn_feed(test, y, labels, sizeof labels);
        if (tn_run(test) != TN_OK) break;
        right_of_all += tn_item(test, accuracy) / 20;
    }
    int failed = tn_ctx_status(ctx) != TN_OK;
    if (failed) fprintf(stderr, "mlp: %s\n", tn_error(ctx));
    else printf("new digits: accuracy %.3f\n", right_of_all);
    if (ferror(stdout) || fflush(stdout) != 0) {
        fprintf(stderr, "mlp: the output cannot be written\n");
        failed = 1;
    }

    tn_program_free(train), tn_program_free(test), tn_graph_free(g);
    tn_optimizer_free(opt), tn_params_free(p), tn_ctx_free(ctx);
    return failed;
}
