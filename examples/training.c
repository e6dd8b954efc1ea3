/* Training: each shape of batch has its program; packed batches have all the same one. */
#include "training.h"

#include "blame.h"
#include "clock.h"
#include "output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- programs -------------------------------------------------------------------------------- */

/* EVALUATE is of the average of the weights, if there is one; CHECK of the weights. */
enum { TRAIN, ACCUMULATE, EVALUATE, CHECK };

static tn_node *input(tn_graph *g, const char *side, const char *what, tn_shape shape)
{
    char name[40] = "";
    strcat(strcat(name, side), what);
    return tn_input(g, name, TN_I32, shape);
}

static tn_sequence sequence(tn_graph *g, const char *side, bool packed, int64_t rows,
                            int64_t length)
{
    tn_shape    shape = packed ? TN_SHAPE(length) : TN_SHAPE(rows, length);
    tn_sequence s = { .ids = input(g, side, "", shape) };
    if (packed) {
        s.offsets = input(g, side, "_offsets", TN_SHAPE(rows + 1));
        s.places = input(g, side, "_places", TN_SHAPE(length));
    } else if (strcmp(side, "source") == 0) {
        s.lengths = input(g, side, "_lengths", TN_SHAPE(rows));
    }
    return s;
}

/* key: which kind, rows, source length, target length. Outputs: sum, nll, count. */
static tn_program *build(void *user, const int64_t *key, int n, tn_arena *arena)
{
    const training *r = user;
    bool            packed = r->o.packed, evaluates = key[0] == EVALUATE || key[0] == CHECK;
    const translation *t = key[0] == EVALUATE && r->average.model ? &r->average : r->t;
    tn_graph       *g = tn_graph_new(t->ctx, evaluates ? TN_EVAL : TN_TRAIN);
    tn_sequence     source = sequence(g, "source", packed, key[1], key[2]);
    tn_sequence     target = sequence(g, "target", packed, key[1], key[3]);
    tn_node        *next = tn_input(g, "next", TN_I32, tn_node_shape(target.ids));
    tn_loss_parts   loss;
    tn_program     *p = NULL;
    (void)n;
    double smoothing = evaluates ? 0 : r->o.label_smoothing;
    if (tn_transformer_loss(t->model, &source, &target, next, smoothing, &loss) == TN_OK) {
        tn_node              *out[] = { loss.sum, loss.nll, loss.count };
        tn_train_step_options o = { .count = loss.count,
                                    .outputs = out + 1,
                                    .n_outputs = 2,
                                    .arena = arena,
                                    .recompute = r->o.recompute ? "encoder.*, decoder.*" : NULL,
                                    .skip_nonfinite = key[0] == TRAIN };
        if (evaluates) p = tn_compile(g, out, 3, &(tn_compile_options){ .arena = arena });
        else if (key[0] == TRAIN) p = tn_train_step_with(g, loss.sum, r->optimizer, &o);
        else p = tn_accumulate_step(g, loss.sum, r->optimizer, &o);
    }
    tn_graph_free(g);
    if (r->o.profile && !evaluates) tn_program_profile(p, true);
    return p;
}

static void feed(tn_program *p, const char *name, const void *data, int64_t n)
{
    tn_feed_name(p, name, data, (size_t)n * sizeof(int32_t));
}

static tn_status run_batch(training *r, int kind, const tn_batch *b)
{
    int64_t     rows = r->o.packed ? 1 : b->rows;
    tn_program *p = tn_program_cache_get(
        r->programs, (int64_t[]){ kind, b->rows, b->src_length, b->tgt_length }, 4);
    if (!p) return tn_ctx_status(r->t->ctx);
    feed(p, "source", b->src, rows * b->src_length);
    feed(p, "target", b->tgt_in, rows * b->tgt_length);
    feed(p, "next", b->tgt_out, rows * b->tgt_length);
    if (r->o.packed) {
        feed(p, "source_offsets", b->src_offsets, b->rows + 1);
        feed(p, "target_offsets", b->tgt_offsets, b->rows + 1);
        feed(p, "source_places", b->src_places, b->src_length);
        feed(p, "target_places", b->tgt_places, b->tgt_length);
    } else {
        feed(p, "source_lengths", b->src_lengths, b->rows);
    }
    if (kind == TRAIN || kind == ACCUMULATE) r->last = p;
    tn_status s = tn_ctx_status(r->t->ctx);
    if (s == TN_OK) s = tn_run(p);
    if (s != TN_OK) return s;
    r->sum += *(const float *)tn_output(p, 0), r->nll += *(const float *)tn_output(p, 1);
    r->count += *(const float *)tn_output(p, 2);
    r->tokens += (double)(b->src_tokens + b->tgt_tokens);
    return TN_OK;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static tn_batches *batches_of(training *r, const tn_corpus *corpus, bool ordered,
                              tn_token_pairs **pairs)
{
    const training_options *o = &r->o;
    *pairs = tn_token_pairs_encode(r->t->ctx, corpus, r->t->tokenizer, r->t->tokenizer);
    return tn_batches_new(
        r->t->ctx, *pairs,
        &(tn_batches_options){ .layout = o->packed ? TN_BATCH_PACKED : TN_BATCH_PADDED,
                               .tokens = o->tokens,
                               .max_length = o->max_length,
                               .fixed_shapes = true, /* so that few programs are made */
                               .source_eos = true,
                               .ordered = ordered,
                               .crop = ordered,
                               .prefetch = !ordered,
                               .seed = o->seed });
}

/* A model of the same shape, for the average of the weights. */
static tn_status make_average(training *r)
{
    r->average = (translation){ .ctx = r->t->ctx,
                                .params = tn_params_new(r->t->ctx, TN_F32),
                                .tokenizer = r->t->tokenizer };
    r->average.model = tn_transformer_new(r->average.params, &r->t->model->config);
    return r->average.model ? TN_OK : tn_ctx_status(r->t->ctx);
}

static tn_optimizer *make_optimizer(const training *r, const training_options *o)
{
    return tn_adamw_new(
        r->t->params,
        &(tn_adamw_options){ .lr = o->lr,
                             .beta2 = o->beta2 > 0 ? o->beta2 : TN_NONE,
                             .eps = 1e-9,
                             .weight_decay = o->weight_decay > 0 ? o->weight_decay : TN_NONE,
                             .clip_norm = o->clip,
                             .ema_decay = o->ema,
                             .ema_ramp = true,
                             .accumulate = o->accumulate > 1 });
}

tn_status training_begin(training *r, translation *t, const tn_corpus *train,
                         const tn_corpus *valid, const training_options *o)
{
    *r = (training){ .t = t, .o = *o, .best = INFINITY };
    if (r->o.accumulate < 1) r->o.accumulate = 1;
    r->batches = batches_of(r, train, false, &r->pairs);
    if (r->batches && o->epochs) {
        r->per_epoch = tn_batches_next(r->batches)->n_batches;
        tn_batches_seek(r->batches, (tn_batches_position){ 0, 0 });
    }
    if (valid && r->batches) r->valid = batches_of(r, valid, true, &r->valid_pairs);
    if (r->valid) r->best_of = tn_batches_fingerprint(r->valid);
    r->optimizer = make_optimizer(r, &r->o);
    r->programs = tn_program_cache_new(t->ctx, 64, build, r);
    if (o->ema > 0 && tn_ctx_status(t->ctx) == TN_OK) make_average(r);
    return tn_ctx_status(t->ctx);
}

void training_end(training *r)
{
    if (!r->t) return;
    tn_program_free(r->update);
    tn_program_cache_free(r->programs);
    tn_optimizer_free(r->optimizer);
    tn_batches_free(r->batches), tn_batches_free(r->valid);
    tn_token_pairs_free(r->t->ctx, r->pairs), tn_token_pairs_free(r->t->ctx, r->valid_pairs);
    r->average.tokenizer = NULL;
    translation_free(&r->average);
}

/* ---- steps ----------------------------------------------------------------------------------- */

bool training_is_over(const training *r)
{
    return (r->o.steps && r->step >= r->o.steps) ||
           (r->o.epochs && tn_batches_tell(r->batches).epoch >= r->o.epochs) ||
           (r->o.seconds > 0 && r->spent >= r->o.seconds) ||
           (r->o.patience && r->stale >= r->o.patience);
}

int64_t training_steps(const training *r)
{
    const training_options   *o = &r->o;
    const tn_batches_position at = tn_batches_tell(r->batches);
    if (!o->epochs) return o->steps;
    if (at.epoch >= o->epochs) return r->step;
    const int64_t most = INT64_MAX / 4 / r->per_epoch, epochs = o->epochs - at.epoch;
    const int64_t left = (epochs < most ? epochs : most) * r->per_epoch - at.batch;
    return r->step + ((left > 1 ? left : 1) + o->accumulate - 1) / o->accumulate;
}

/* Where time is the limit, linear and cosine fall with the time that is left, and the warm-up is
 * over after a tenth of it at the latest. */
double training_rate(const training *r)
{
    const training_options *o = &r->o;
    double   done = o->seconds > 0 ? r->spent / o->seconds : 0;
    bool     falls = o->schedule == TN_SCHEDULE_LINEAR || o->schedule == TN_SCHEDULE_COSINE;
    int64_t  s = r->step + 1, steps = training_steps(r);
    if (falls && o->seconds > 0) {
        double most = o->schedule == TN_SCHEDULE_LINEAR
                          ? 1 - done
                          : 0.5 + 0.5 * cos(3.14159265358979 * fmin(done, 1));
        double up = o->warmup > 0 ? (double)s / (double)o->warmup : 1;
        return o->lr * fmax(fmin(fmax(up, 10 * done), most), 0);
    }
    tn_schedule schedule = { .kind = o->schedule,
                             .lr = o->lr,
                             .warmup = o->warmup,
                             .total = steps + (steps < INT64_MAX), /* the last one learns, too */
                             .d_model = r->t->model->config.d_model };
    return tn_schedule_lr(&schedule, s);
}

static bool is_to_end(const training *r, double start)
{
    return (r->o.interrupted && *r->o.interrupted) ||
           (r->o.seconds > 0 && r->spent + now() - start >= r->o.seconds);
}

/* Back to before an update: the same batches come again, with the same dropout. */
static tn_status give_up(training *r, const training *was, tn_batches_position at, int64_t runs)
{
    tn_node *counter = tn_optimizer_state_find(r->optimizer, "optimizer.run");
    r->sum = was->sum, r->nll = was->nll, r->count = was->count, r->tokens = was->tokens;
    tn_optimizer_clear_accumulated(r->optimizer);
    tn_variable_set(counter, &runs, sizeof runs);
    return tn_batches_seek(r->batches, at);
}

static tn_status accumulate_and_update(training *r, double start, bool *is_given_up)
{
    const training            was = *r;
    const tn_batches_position at = tn_batches_tell(r->batches);
    const int64_t             runs = tn_optimizer_runs(r->optimizer);
    for (int64_t i = 0; i < r->o.accumulate; i++) {
        if (i > 0 && is_to_end(r, start))
            return *is_given_up = true, give_up(r, &was, at, runs);
        tn_status s = run_batch(r, ACCUMULATE, tn_batches_next(r->batches));
        if (s != TN_OK) return s;
    }
    if (!r->update)
        r->update =
            tn_update_step(r->optimizer, &(tn_train_step_options){ .skip_nonfinite = true });
    return r->update ? tn_run(r->update) : tn_ctx_status(r->t->ctx);
}

/* Weights that are spoilt stay so: no batch has finite gradients any more. */
enum { MOST_SKIPPED = 50 };

static tn_status diverged(training *r, const char *what)
{
    return tn_fail(r->t->ctx, TN_ERR_STATE,
                   "the training has diverged: after step %lld %s. A lower --lr than %g may help, "
                   "or more --warmup, or a --clip of 1 or less",
                   (long long)r->step, what, r->o.lr);
}

tn_status training_step(training *r)
{
    double start = now();
    bool   is_given_up = false;
    tn_optimizer_set_lr(r->optimizer, training_rate(r));
    tn_status s = r->o.accumulate > 1 ? accumulate_and_update(r, start, &is_given_up)
                                      : run_batch(r, TRAIN, tn_batches_next(r->batches));
    if (is_given_up) return r->spent += now() - start, s;
    bool is_skipped = s == TN_ERR_GUARD;
    if (is_skipped) { /* something is not finite: the weights are as they were */
        tn_clear_error(r->t->ctx);
        tn_optimizer_clear_accumulated(r->optimizer);
        r->skipped++, s = TN_OK;
    }
    r->skipped_now = is_skipped ? r->skipped_now + 1 : 0;
    double seconds = now() - start;
    r->step++, r->reported++, r->spent += seconds, r->seconds += seconds;
    return r->skipped_now < MOST_SKIPPED ? s : diverged(r, "no gradients are finite");
}

void training_report(training *r)
{
    const int64_t steps = training_steps(r);
    double        left = 5999999; /* whose minutes have 5 digits */
    if (r->o.seconds > 0) left = fmin(left, r->o.seconds - r->spent);
    if (steps) left = fmin(left, (double)(steps - r->step) * r->seconds / (double)r->reported);
    left = fmax(0, left);
    printf("step %lld", (long long)r->step);
    if (steps) printf("/%lld", (long long)steps);
    printf("  loss "), output_number(r->sum / r->count, 3);
    printf("  perplexity "), output_number(exp(r->nll / r->count), 3);
    printf("  %.0f tokens/s  lr %.2e", r->tokens / r->seconds, tn_optimizer_lr(r->optimizer));
    if (r->o.clip > 0) printf("  norm "), output_number(tn_optimizer_grad_norm(r->optimizer), 2);
    if (r->skipped) printf("  skipped %lld", (long long)r->skipped);
    printf("  left %d:%02d\n", (int)left / 60, (int)left % 60);
    fflush(stdout);
    r->sum = r->nll = r->count = r->tokens = r->seconds = 0;
    r->reported = 0;
}

/* ---- going on later -------------------------------------------------------------------------- */

void training_tell(const training *r, char *text, size_t size)
{
    tn_batches_position at = tn_batches_tell(r->batches);
    snprintf(text, size,
             "step=%lld\nepoch=%lld\nbatch=%lld\nfingerprint=%llx\nspent=%.6f\nbest=%.17g\n"
             "valid=%llx\nstale=%lld\n",
             (long long)r->step, (long long)at.epoch, (long long)at.batch,
             (unsigned long long)tn_batches_fingerprint(r->batches), r->spent, r->best,
             (unsigned long long)r->best_of, (long long)r->stale);
}

typedef struct place {
    long long          step, epoch, batch, stale;
    double             spent, best;
    unsigned long long fingerprint, valid;
} place;

/* A step takes a batch or more, and they are of an epoch each at most. */
static bool is_likely(const place *p)
{
    const double most_batches = 65536; /* of an update */
    return p->step >= 0 && p->step < (long long)1 << 53 && p->epoch >= 0 && p->batch >= 0 &&
           (double)p->epoch <= (double)p->step * most_batches && isfinite(p->spent) &&
           p->spent >= 0 && p->best > 0 && p->stale >= 0;
}

/* What training_tell wrote; older files have no valid= or stale=, and the options may follow. */
static bool read_place(const char *text, place *p)
{
    int n = 0;
    *p = (place){ 0 };
    if (sscanf(text,
               "step=%lld\nepoch=%lld\nbatch=%lld\nfingerprint=%llx\nspent=%lf\nbest=%lf%n",
               &p->step, &p->epoch, &p->batch, &p->fingerprint, &p->spent, &p->best, &n) != 6)
        return false;
    text += n;
    if (sscanf(text, "\nvalid=%llx%n", &p->valid, &n) == 1) text += n;
    if (sscanf(text, "\nstale=%lld%n", &p->stale, &n) == 1) text += n;
    return (strcmp(text, "\n") == 0 || strncmp(text, "\noptions\n", 9) == 0) && is_likely(p);
}

static tn_status seek(training *r, const char *path, const char *text)
{
    place p;
    if (!read_place(text, &p))
        return tn_fail(r->t->ctx, TN_ERR_FORMAT,
                       "%s: where the training was is not in it, or damaged", path);
    if (p.fingerprint != tn_batches_fingerprint(r->batches))
        return tn_fail(r->t->ctx, TN_ERR_STATE,
                       "%s: the corpus or the options of its batches have changed", path);
    r->step = p.step, r->spent = p.spent;
    r->is_best_other = r->valid && p.valid && p.valid != r->best_of && isfinite(p.best);
    if (!r->is_best_other) r->best = p.best, r->stale = p.stale;
    if (!r->valid) r->best_of = p.valid;
    tn_batches_seek(r->batches, (tn_batches_position){ p.epoch, p.batch });
    return blame(r->t->ctx, path);
}

/* The options, without those whose state is not in the file: they begin now. */
static training_options options_in(const tn_safetensors *file, training_options o)
{
    if (tn_safetensors_find(file, "optimizer.ema_decay") < 0) o.ema = 0;
    if (tn_safetensors_find(file, "optimizer.clip_norm") < 0) o.clip = 0;
    if (tn_safetensors_find(file, "optimizer.accumulated_count") < 0) o.accumulate = 1;
    return o;
}

/* The state of one optimizer to another of the same parameters, which may keep more or less. */
static void copy_state(const tn_optimizer *from, tn_optimizer *to)
{
    for (int i = 0; i < tn_optimizer_state_count(from); i++) {
        tn_node *v = tn_optimizer_state_at(from, i),
                *w = tn_optimizer_state_find(to, tn_optimizer_state_name(from, i));
        if (w) tn_variable_set(w, tn_variable_data(v), tn_variable_bytes(v));
    }
}

/* Weights and optimizer of a file. It is loaded into an optimizer that keeps no more than is in the
 * file; the one that goes on is made behind that, so that an average that begins now begins with
 * the weights of the file. */
static tn_status load(training *r, const char *path)
{
    tn_safetensors *file = tn_safetensors_open(r->t->ctx, path);
    if (!file) return tn_ctx_status(r->t->ctx);
    const training_options in = options_in(file, r->o);
    tn_safetensors_close(file);
    tn_optimizer_free(r->optimizer);
    r->optimizer = NULL;
    tn_optimizer *loaded = make_optimizer(r, &in);
    if (loaded && tn_checkpoint_load(path, r->t->params, loaded) == TN_OK)
        r->optimizer = make_optimizer(r, &r->o);
    if (r->optimizer) copy_state(loaded, r->optimizer);
    tn_optimizer_free(loaded);
    return tn_ctx_status(r->t->ctx);
}

tn_status training_resume(training *r, const char *path, const char *text)
{
    const training_options *o = &r->o;
    tn_status s = load(r, path);
    if (s == TN_OK) tn_optimizer_set_weight_decay(r->optimizer, o->weight_decay);
    if (s == TN_OK && o->clip > 0) s = tn_optimizer_set_clip_norm(r->optimizer, o->clip);
    if (s == TN_OK && o->ema > 0) s = tn_optimizer_set_ema_decay(r->optimizer, o->ema);
    return s == TN_OK ? seek(r, path, text) : s;
}

/* ---- validation ------------------------------------------------------------------------------ */

const translation *training_model(training *r)
{
    if (!r->average.model) return r->t;
    tn_optimizer_copy_average(r->optimizer, r->average.params);
    return &r->average;
}

/* The mean loss of a token, of the next batch or of an epoch's rest. The sums since the last report
 * stay as they are. */
static tn_status evaluate(training *r, int kind, tn_batches *batches, bool whole, double *nll)
{
    training        kept = *r;
    tn_status       s = TN_OK;
    const tn_batch *b = NULL;
    r->nll = r->count = 0;
    do {
        b = tn_batches_next(batches);
        s = run_batch(r, kind, b);
    } while (s == TN_OK && whole && !b->is_last);
    *nll = r->nll / r->count;
    r->sum = kept.sum, r->nll = kept.nll, r->count = kept.count, r->tokens = kept.tokens;
    return s;
}

tn_status training_validate(training *r, double *perplexity)
{
    double nll;
    training_model(r);
    tn_status s = evaluate(r, EVALUATE, r->valid, true, &nll);
    *perplexity = exp(nll);
    if (s != TN_OK || isfinite(*perplexity)) return s;
    return diverged(r, "the perplexity of the validation is not finite");
}

tn_status training_check(training *r)
{
    double              nll;
    tn_batches_position at = tn_batches_tell(r->batches);
    tn_status           s = evaluate(r, CHECK, r->batches, false, &nll);
    if (s == TN_OK) s = tn_batches_seek(r->batches, at);
    return s != TN_OK || isfinite(nll) ? s : diverged(r, "the loss is not finite");
}
