/* What the op table drives: for each op and each of its samples, values against the reference, f32
 * against f64, layouts, threads, levels, fusion, gradients of order 1 and 2, and wrong inputs. An
 * op that is added to the table is tested here without an edit. */
#include "check.h"
#include "op_case.h"
#include "tensor/internal.h"

/* "softmax sample 2" */
static const char *title(const tn_op *op, const tn_sample *s)
{
    static char text[96];
    snprintf(text, sizeof text, "%s, sample %d", op->name, (int)(s - op->samples));
    return text;
}

static tn_ctx *new_ctx(int threads, tn_cpu_level cpu)
{
    return tn_ctx_new(&(tn_ctx_options){ .threads = threads, .seed = 7, .cpu = cpu });
}

/* Calls fn for each op's samples that must work. */
static void each_sample(tn_ctx *ctx, void (*fn)(tn_ctx *ctx, op_case *c))
{
    for (int i = 0; i < tn_op_count(); i++) {
        const tn_op *op = tn_op_at(i);
        for (int k = 0; k < op->n_samples; k++) {
            if (op->samples[k].fails != TN_OK) continue;
            op_case c = case_new(op, &op->samples[k]);
            fn(ctx, &c);
            tn_clear_error(ctx);
            case_free(&c);
        }
    }
}

/* Largest |a - b| / max(1, |b|) over output k. */
static double worst_error(const case_result *a, const case_result *b, int k)
{
    double worst = 0;
    for (int64_t e = 0; e < tn_shape_size(&a->type[k].shape); e++) {
        double x = result_at(a, k, e), y = result_at(b, k, e);
        if (x == y || (isnan(x) && isnan(y))) continue;
        double error = fabs(x - y) / fmax(1, fabs(y));
        if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
    }
    return worst;
}

static void check_close(const op_case *c, const char *what, const case_result *got,
                        const case_result *want, double tolerance)
{
    CHECK_MSG(got->status == TN_OK && want->status == TN_OK, "%s: %s: status %s, %s",
              title(c->op, c->sample), what, tn_status_text(got->status),
              tn_status_text(want->status));
    if (got->status != TN_OK || want->status != TN_OK) return;
    CHECK_INT(got->n, want->n);
    for (int k = 0; k < got->n && k < want->n; k++) {
        CHECK_MSG(tn_shape_equal(&got->type[k].shape, &want->type[k].shape),
                  "%s: %s: output %d has another shape",
                  title(c->op, c->sample), what, k);
        double error = worst_error(got, want, k);
        CHECK_MSG(error <= tolerance, "%s: %s: output %d differs by %g, tolerance %g",
                  title(c->op, c->sample), what, k, error, tolerance);
    }
}

static void check_bits(const op_case *c, const char *what, const case_result *got,
                       const case_result *want)
{
    CHECK_MSG(got->status == TN_OK && want->status == TN_OK, "%s: %s: failed",
              title(c->op, c->sample), what);
    for (int k = 0; k < got->n && k < want->n; k++) {
        size_t bytes = (size_t)tn_shape_size(&want->type[k].shape) *
            tn_dtype_size(want->type[k].dtype);
        CHECK_MSG(memcmp(got->data[k], want->data[k], bytes) == 0,
                  "%s: %s: output %d has other bits (by %g)",
                  title(c->op, c->sample), what, k, worst_error(got, want, k));
    }
}

/* ---- the table itself ------------------------------------------------------------------------ */

TEST(ops, every_op_says_how_it_is_differentiated)
{
    for (int i = 0; i < tn_op_count(); i++) {
        const tn_op *op = tn_op_at(i);
        CHECK_MSG(op->vjp || op->expand || (op->flags & TN_NOT_DIFFERENTIABLE),
                  "%s: no rule, no mark", op->name);
        CHECK_MSG(op->doc && *op->doc, "%s: no doc", op->name);
        CHECK_MSG(op->infer, "%s: no inference", op->name);
        bool leaf = op->arity == 0 || op == &tn_op_assign || op == &tn_op_custom_grad;
        CHECK_MSG(leaf || op->n_samples > 0, "%s: no samples", op->name);
        CHECK_MSG(leaf || op->ref || op->expand || op->view || (op->flags & TN_RANDOM),
                  "%s: no reference", op->name);
        CHECK(tn_op_find(op->name) == op);
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

static case_result run_reference(const op_case *c, const case_result *like)
{
    case_result r = { .status = TN_OK, .n = like->n };
    tn_type     in[TN_SAMPLE_IN];
    const void *data[TN_SAMPLE_IN];
    void       *wide[TN_SAMPLE_IN] = { 0 };
    for (int i = 0; i < c->n; i++) {
        in[i] = c->type[i], data[i] = c->data[i];
        if (in[i].dtype != TN_I32) continue; /* references take indices as int64_t */
        int64_t n = tn_shape_size(&in[i].shape);
        wide[i] = calloc((size_t)n + 1, 8);
        for (int64_t e = 0; e < n; e++) ((int64_t *)wide[i])[e] = ((const int32_t *)c->data[i])[e];
        in[i].dtype = TN_I64, data[i] = wide[i];
    }
    for (int k = 0; k < like->n; k++) {
        r.type[k] = like->type[k];
        if (r.type[k].dtype == TN_I32) r.type[k].dtype = TN_I64;
        r.data[k] = calloc((size_t)tn_shape_size(&r.type[k].shape) + 1, 8);
    }
    tn_ref ref = { .attrs = c->sample->attrs, .n_in = c->n, .n_out = like->n, .in_type = in,
                   .out_type = r.type, .in = data, .out = r.data };
    c->op->ref(&ref);
    for (int i = 0; i < c->n; i++) free(wide[i]);
    return r;
}

static void check_reference(tn_ctx *ctx, op_case *c)
{
    double      tolerance = c->op->ref_tolerance ? c->op->ref_tolerance : 1e-12;
    case_result got = case_run(c, ctx, TN_F64, false, NULL);
    CHECK_MSG(got.status == TN_OK, "%s: %s", title(c->op, c->sample), tn_error(ctx));
    if (got.status == TN_OK && c->op->ref) {
        case_result want = run_reference(c, &got);
        check_close(c, "reference", &got, &want, tolerance);
        result_free(&want);
    }
    if (got.status == TN_OK && c->op->expand) {
        case_result want = case_run(c, ctx, TN_F64, true, NULL);
        CHECK_MSG(want.status == TN_OK, "%s: expansion: %s", title(c->op, c->sample),
                  tn_error(ctx));
        check_close(c, "expansion", &got, &want, tolerance > 1e-11 ? tolerance : 1e-11);
        result_free(&want);
    }
    result_free(&got);
}

TEST(ops, values_equal_the_reference)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    each_sample(ctx, check_reference);
    tn_ctx_free(ctx);
}

static void check_f32(tn_ctx *ctx, op_case *c)
{
    case_result wide = case_run(c, ctx, TN_F64, false, NULL),
        narrow = case_run(c, ctx, TN_F32, false, NULL);
    check_close(c, "f32 against f64", &narrow, &wide, 2e-5);
    result_free(&wide), result_free(&narrow);
}

TEST(ops, f32_is_close_to_f64)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    each_sample(ctx, check_f32);
    tn_ctx_free(ctx);
}

static void check_layouts(tn_ctx *ctx, op_case *c)
{
    case_result plain = case_run(c, ctx, TN_F64, false, NULL);
    for (int l = 1; l < N_LAYOUTS; l++) {
        c->layout = (op_layout)l;
        case_result got = case_run(c, ctx, TN_F64, false, NULL);
        check_close(c, op_layout_name[l], &got, &plain, 1e-13);
        result_free(&got);
    }
    c->layout = LAYOUT_PLAIN;
    result_free(&plain);
}

TEST(ops, strides_change_nothing)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    each_sample(ctx, check_layouts);
    tn_ctx_free(ctx);
}

/* ---- the same bits --------------------------------------------------------------------------- */

static tn_ctx *other_ctx;

static void check_same_bits(tn_ctx *ctx, op_case *c)
{
#if defined TN_BLIS /* which multiplies panels of another level's width */
    if (c->op == &tn_op_matmul_panels) return;
#endif
    for (int d = 0; d < 2; d++) {
        tn_dtype    dtype = d ? TN_F32 : TN_F64;
        case_result a = case_run(c, ctx, dtype, false, NULL),
            b = case_run(c, other_ctx, dtype, false, NULL);
        check_bits(c, d ? "f32" : "f64", &b, &a);
        result_free(&a), result_free(&b);
    }
    tn_clear_error(other_ctx);
}

TEST(ops, threads_change_no_bit)
{
    tn_ctx *ctx = new_ctx(1, TN_CPU_AUTO);
    other_ctx = new_ctx(3, TN_CPU_AUTO);
    each_sample(ctx, check_same_bits);
    tn_ctx_free(other_ctx), tn_ctx_free(ctx);
}

TEST(ops, writing_past_the_caches_changes_no_bit)
{
    tn_ctx *ctx = new_ctx(1, TN_CPU_AUTO);
    other_ctx = new_ctx(2, TN_CPU_AUTO);
    tn__ctx_stream_from(other_ctx, 0);
    each_sample(ctx, check_same_bits);
    tn_ctx_free(other_ctx), tn_ctx_free(ctx);
}

TEST(ops, avx2_and_avx512_give_the_same_bits)
{
    if (tn_cpu_detect() < TN_CPU_AVX512) SKIP("this CPU has no AVX-512");
    tn_ctx *ctx = new_ctx(2, TN_CPU_AVX2);
    other_ctx = new_ctx(2, TN_CPU_AVX512);
    each_sample(ctx, check_same_bits);
    tn_ctx_free(other_ctx), tn_ctx_free(ctx);
}

static void check_base(tn_ctx *ctx, op_case *c)
{
    case_result a = case_run(c, ctx, TN_F64, false, NULL),
        b = case_run(c, other_ctx, TN_F64, false, NULL);
    check_close(c, "base level", &b, &a, 1e-11);
    result_free(&a), result_free(&b);
    tn_clear_error(other_ctx);
}

TEST(ops, the_base_level_agrees)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    other_ctx = new_ctx(2, TN_CPU_BASE);
    each_sample(ctx, check_base);
    tn_ctx_free(other_ctx), tn_ctx_free(ctx);
}

static void check_compile_options(tn_ctx *ctx, op_case *c)
{
    case_result plain = case_run(c, ctx, TN_F32, false, NULL);
    case_result apart = case_run(c, ctx, TN_F32, false,
                                 &(tn_compile_options){ .no_fusion = true, .no_reuse = true });
    check_bits(c, "without fusion and reuse", &apart, &plain);
    result_free(&plain), result_free(&apart);
    if (!c->op->expand) return;
    plain = case_run(c, ctx, TN_F32, true, NULL);
    apart = case_run(c, ctx, TN_F32, true, &(tn_compile_options){ .no_fusion = true,
                                                                  .no_reuse = true });
    check_bits(c, "expansion without fusion and reuse", &apart, &plain);
    result_free(&plain), result_free(&apart);
}

TEST(ops, compile_changes_no_bit)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    each_sample(ctx, check_compile_options);
    tn_ctx_free(ctx);
}

/* ---- gradients ------------------------------------------------------------------------------- */

static bool has_float_output(const op_case *c)
{
    case_result r = { 0 };
    tn_ctx     *ctx = new_ctx(1, TN_CPU_AUTO);
    bool        any = false;
    r = case_run(c, ctx, TN_F64, false, NULL);
    for (int k = 0; k < r.n; k++) any |= r.type[k].dtype == TN_F64;
    result_free(&r);
    tn_ctx_free(ctx);
    return any;
}

static double worst_gradient;
static char   worst_where[128];
static int    n_checked;

static void check_gradients(tn_ctx *ctx, op_case *c)
{
    if (c->op->flags & TN_NOT_DIFFERENTIABLE) return;
    bool any = false;
    for (int i = 0; i < c->n; i++) any |= c->type[i].dtype == TN_F64 && !c->sample->no_grad[i];
    if (!any || !has_float_output(c)) return;
    for (int l = 0; l < N_LAYOUTS; l++) {
        tn_type     types[TN_SAMPLE_IN];
        const void *data[TN_SAMPLE_IN];
        void       *stored[TN_SAMPLE_IN];
        c->layout = (op_layout)l;
        for (int i = 0; i < c->n; i++)
            types[i] = stored_type(c, i), data[i] = stored[i] = stored_data(c, i);
        tn_gradcheck_report  report;
        tn_gradcheck_options o = { .order = c->sample->no_second || l > 1 ? 1 : 2,
                                   .no_grad = c->sample->no_grad, .seed = 5 };
        tn_status s = tn_gradcheck(ctx, case_build, c, c->n, types, data, &o, &report);
        CHECK_MSG(s == TN_OK, "%s, %s: %s", title(c->op, c->sample), op_layout_name[l],
                  tn_error(ctx));
        n_checked++;
        if (report.worst > worst_gradient) {
            worst_gradient = report.worst;
            snprintf(worst_where, sizeof worst_where, "%s, %s", title(c->op, c->sample),
                     op_layout_name[l]);
        }
        tn_clear_error(ctx);
        for (int i = 0; i < c->n; i++) free(stored[i]);
    }
    c->layout = LAYOUT_PLAIN;
}

TEST(ops, gradients_equal_central_differences)
{
    tn_ctx *ctx = new_ctx(1, TN_CPU_AUTO);
    each_sample(ctx, check_gradients);
    printf("%d gradient checks, worst relative error %.2g (%s)\n", n_checked, worst_gradient,
           worst_where);
    tn_ctx_free(ctx);
}

/* ---- sizes of zero, and wrong inputs --------------------------------------------------------- */

/* Each distinct dimension of the sample becomes 0 in turn, everywhere: it runs, or it is
 * refused. */
static void check_zero_sizes(tn_ctx *ctx, op_case *c)
{
    for (int i = 0; i < c->n; i++) {
        for (int d = 0; d < c->type[i].shape.rank; d++) {
            int64_t size = c->type[i].shape.dim[d];
            op_case z = { .op = c->op, .sample = c->sample, .n = c->n };
            for (int k = 0; k < c->n; k++) {
                z.type[k] = c->type[k];
                for (int e = 0; e < z.type[k].shape.rank; e++)
                    if (z.type[k].shape.dim[e] == size) z.type[k].shape.dim[e] = 0;
                case_fill(&z, k);
            }
            case_result r = case_run(&z, ctx, TN_F64, false, NULL);
            CHECK_MSG(r.status == TN_OK || *tn_error(ctx), "%s: size 0: failed without a message",
                      title(c->op, c->sample));
            result_free(&r);
            tn_clear_error(ctx);
            case_free(&z);
        }
    }
}

TEST(ops, sizes_of_zero_are_fine)
{
    tn_ctx *ctx = new_ctx(2, TN_CPU_AUTO);
    each_sample(ctx, check_zero_sizes);
    tn_ctx_free(ctx);
}

TEST(ops, wrong_inputs_are_refused_with_a_message)
{
    tn_ctx *ctx = new_ctx(1, TN_CPU_AUTO);
    for (int i = 0; i < tn_op_count(); i++) {
        const tn_op *op = tn_op_at(i);
        for (int k = 0; k < op->n_samples; k++) {
            const tn_sample *s = &op->samples[k];
            if (s->fails == TN_OK) continue;
            op_case     c = case_new(op, s);
            case_result r = case_run(&c, ctx, TN_F64, false, NULL);
            CHECK_MSG(r.status == s->fails, "%s: expected %s, got %s", title(op, s),
                      tn_status_text(s->fails),
                      tn_status_text(r.status));
            if (s->message)
                CHECK_MSG(strstr(tn_error(ctx), s->message), "%s: expected \"%s\" in \"%s\"",
                          title(op, s), s->message, tn_error(ctx));
            result_free(&r);
            tn_clear_error(ctx);
            case_free(&c);
        }
    }
    tn_ctx_free(ctx);
}

TEST_MAIN
