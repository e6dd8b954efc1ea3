/* The kernels of optimizer updates, compiled per dtype: R is the type, M(name) the kernel's name.
 * No guard: update.c includes it once for f32 and once for f64. An output may be its input's
 * memory; a scalar operand's block holds one number throughout. */

/* w, m, v, dw, then scale, rate, root, decay -> w, m, v. See update.c for the formula. */
TN_INLINE void M(adam_update)(const tn_span_args *args)
{
    const adam_update_attrs *a = (const adam_update_attrs *)args->attrs;
    const R *w = (const R *)args->in[0], *m = (const R *)args->in[1], *v = (const R *)args->in[2];
    const R *dw = (const R *)args->in[3];
    R       *w_out = (R *)args->out[0], *m_out = (R *)args->out[1], *v_out = (R *)args->out[2];
    if (args->n == 0) return;
    const R b1 = (R)a->beta1, b2 = (R)a->beta2, c1 = (R)(1 - a->beta1), c2 = (R)(1 - a->beta2);
    const R eps = (R)a->eps, scale = *(const R *)args->in[4], rate = *(const R *)args->in[5];
    const R root = *(const R *)args->in[6], decay = *(const R *)args->in[7];
    const R keep = a->decoupled ? 1 - decay : 1, penalty = a->decoupled ? 0 : decay;
    TN_IVDEP
    for (int64_t i = 0; i < args->n; i++) {
        const R g = scale * dw[i] + penalty * w[i];
        const R mi = b1 * m[i] + c1 * g, vi = b2 * v[i] + c2 * (g * g);
        w_out[i] = keep * w[i] - rate * mi / (tn__sqrt(vi) * root + eps);
        m_out[i] = mi;
        v_out[i] = vi;
    }
}

/* w, dw, then scale, rate, decay -> w */
TN_INLINE void M(sgd_update)(const tn_span_args *args)
{
    const R *w = (const R *)args->in[0], *dw = (const R *)args->in[1];
    R       *w_out = (R *)args->out[0];
    if (args->n == 0) return;
    const R scale = *(const R *)args->in[2], rate = *(const R *)args->in[3];
    const R decay = *(const R *)args->in[4];
    TN_IVDEP
    for (int64_t i = 0; i < args->n; i++) w_out[i] = w[i] - rate * (scale * dw[i] + decay * w[i]);
}

/* w, u, dw, then scale, rate, decay -> w, u */
TN_INLINE void M(momentum_update)(const tn_span_args *args)
{
    const momentum_update_attrs *a = (const momentum_update_attrs *)args->attrs;
    const R *w = (const R *)args->in[0], *u = (const R *)args->in[1], *dw = (const R *)args->in[2];
    R       *w_out = (R *)args->out[0], *u_out = (R *)args->out[1];
    if (args->n == 0) return;
    const R scale = *(const R *)args->in[3], rate = *(const R *)args->in[4];
    const R decay = *(const R *)args->in[5], mu = (R)a->momentum;
    const R ahead = a->nesterov ? mu : 1, now = a->nesterov ? 1 : 0;
    TN_IVDEP
    for (int64_t i = 0; i < args->n; i++) {
        const R g = scale * dw[i] + decay * w[i], ui = mu * u[i] + g;
        w_out[i] = w[i] - rate * (now * g + ahead * ui);
        u_out[i] = ui;
    }
}

/* x -> zeros, whatever x and the other operand are */
TN_INLINE void M(clear)(const tn_span_args *args)
{
    R *out = (R *)args->out[0];
    for (int64_t i = 0; i < args->n; i++) out[i] = 0;
}

/* in[0]'s sum of squares to *out[0], a double: in SQUARE_LANES running sums, whatever the vector
 * width */
TN_INLINE void M(sum_squares)(const tn_span_args *args)
{
    const R *x = (const R *)args->in[0];
    double   sum[SQUARE_LANES] = { 0 };
    int64_t  i = 0;
    for (; i + SQUARE_LANES <= args->n; i += SQUARE_LANES)
        for (int l = 0; l < SQUARE_LANES; l++) sum[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i < args->n; i++, l++) sum[l] += (double)x[i] * (double)x[i];
    for (int half = SQUARE_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) sum[l] += sum[l + half];
    *(double *)args->out[0] = sum[0];
}
