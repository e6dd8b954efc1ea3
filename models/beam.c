/* Beam search over the candidates of each step. A hypothesis that ends among the k best leaves the
 * beam; the k best of the others go on. The search is over when nothing that goes on can still come
 * before the n_best that have ended: a log probability only falls, and its penalty is at most that
 * of the greatest length. */
#include "models/beam.h"

#include <math.h>

static double penalty(const tn__beam *b, int64_t length)
{
    return pow((5.0 + (double)length) / 6.0, b->alpha);
}

static void end_hypothesis(tn__beam *b, tn__ended e, int64_t length)
{
    e.score = e.log_prob / penalty(b, length);
    int64_t i = b->n_ended;
    if (i == b->n_best) {
        if (e.score <= b->ended[i - 1].score) return;
        i--;
    } else {
        b->n_ended++;
    }
    for (; i > 0 && b->ended[i - 1].score < e.score; i--) b->ended[i] = b->ended[i - 1];
    b->ended[i] = e;
}

/* Where there is room behind those that ended, what is left in step t fills it: it has not paid for
 * its end, so its score is compared with theirs by nobody. */
static void cut_hypotheses(tn__beam *b, int64_t t)
{
    const int64_t n = b->n_ended;
    for (int64_t j = 0; j < b->k && b->n_ended < b->n_best; j++) {
        bool is_left = b->log_prob[j] > -INFINITY; /* and has not ended just now */
        for (int64_t i = 0; i < n; i++) is_left &= b->ended[i].step != t || b->ended[i].beam != j;
        if (!is_left) continue;
        b->ended[b->n_ended++] = (tn__ended){ .log_prob = b->log_prob[j], .step = t, .beam = j,
                                              .score = b->log_prob[j] / penalty(b, t),
                                              .is_cut = true };
    }
}

/* The best candidate that was not taken yet; those of beam j begin at next[j]. A beam that is not
 * there may have none. */
static int64_t best_beam(const tn__beam *b, const double *p, int64_t n, const int64_t *next)
{
    int64_t best = -1;
    double  most = -INFINITY;
    for (int64_t j = 0; j < b->k; j++) {
        if (b->log_prob[j] == -INFINITY || next[j] == n) continue;
        double sum = b->log_prob[j] + p[j * n + next[j]];
        if (sum > most) best = j, most = sum;
    }
    return best;
}

static bool can_still_win(const tn__beam *b)
{
    double best = -INFINITY;
    for (int64_t j = 0; j < b->k; j++) best = fmax(best, b->log_prob[j]);
    if (best == -INFINITY) return false;
    if (b->n_ended < b->n_best) return true;
    return best / penalty(b, b->limit + 1) > b->ended[b->n_best - 1].score;
}

/* Some token always follows: where nothing does, logits were infinite or NaN. */
static bool all_go_on(const tn__beam *b, const double *p, int64_t n)
{
    for (int64_t j = 0; j < b->k; j++)
        if (b->log_prob[j] > -INFINITY && !(p[j * n] > -INFINITY)) return false;
    return true;
}

bool tn__beam_advance(tn__beam *b, int64_t t, const int64_t *id, const double *p, int64_t n)
{
    enum { MOST = 64 };
    int64_t  next[MOST] = { 0 }, live = 0;
    int32_t *token = b->token + t * b->k, *parent = b->parent + t * b->k;
    bool     is_last = t == b->limit;
    if (!all_go_on(b, p, n)) return false;
    for (int64_t rank = 0; live < b->k; rank++) {
        int64_t j = best_beam(b, p, n, next);
        if (j < 0) break;
        int64_t at = j * n + next[j]++;
        double  sum = b->log_prob[j] + p[at];
        if (id[at] == b->eos) {
            if (rank < b->k || is_last)
                end_hypothesis(b, (tn__ended){ .log_prob = sum, .step = t, .beam = j }, t + 1);
            if (b->k == 1) b->is_done = true;
            if (b->k == 1) return true;
        } else if (is_last) { /* no room for the token; greedy search asks for nothing else */
            if (b->k == 1) break;
        } else {
            b->room[live] = sum, token[live] = (int32_t)id[at], parent[live++] = (int32_t)j;
        }
    }
    if (is_last) {
        cut_hypotheses(b, t);
        b->is_done = true;
        return true;
    }
    for (int64_t j = 0; j < b->k; j++) {
        b->log_prob[j] = j < live ? b->room[j] : -INFINITY;
        if (j >= live) token[j] = b->eos, parent[j] = 0;
    }
    b->is_done = !can_still_win(b);
    return true;
}

void tn__beam_trace(const tn__beam *b, const tn__ended *e, int32_t *out)
{
    int64_t beam = e->beam;
    for (int64_t t = e->step - 1; t >= 0; t--) {
        out[t] = b->token[t * b->k + beam];
        beam = b->parent[t * b->k + beam];
    }
}
