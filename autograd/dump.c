/* Looking at graphs and programs: text, DOT for Graphviz, and the profile by op. */
#include "autograd/program.h"

#include <stdlib.h>
#include <string.h>

static void print_type(FILE *out, const tn_type *t)
{
    char text[128];
    fprintf(out, "%s%s", tn_dtype_name(t->dtype), tn_shape_text(&t->shape, text, sizeof text));
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static const char *call_label(const tn__call *c)
{
    if (c->op == &tn_op_input) return ((const input_attrs *)c->attrs)->name;
    if (c->op == &tn_op_read) return tn_variable_name(((const read_attrs *)c->attrs)->variable);
    if (c->op == &tn_op_assign) return tn_variable_name(((const assign_attrs *)c->attrs)->variable);
    return NULL;
}

void tn_graph_dump(const tn_graph *g, FILE *out)
{
    if (!g || !out) return;
    for (int64_t i = 0; i < g->n_calls; i++) {
        const tn__call *c = g->calls[i];
        for (int k = 0; k < c->n_out; k++)
            fprintf(out, "%s%%%lld", k ? ", " : "", (long long)c->out[k].id);
        fprintf(out, " = %s", c->op->name);
        const char *label = call_label(c);
        if (label) fprintf(out, " %s", label);
        fputc('(', out);
        for (int k = 0; k < c->n_in; k++)
            fprintf(out, "%s%%%lld", k ? ", " : "", (long long)c->in[k]->id);
        fputc(')', out);
        if (c->op->attrs && !label && c->op != &tn_op_constant && c->op != &tn_op_full) {
            fputs(" {", out);
            tn__attrs_print(c->op, c->attrs, out);
            fputc('}', out);
        }
        fputs(" : ", out);
        for (int k = 0; k < c->n_out; k++) {
            if (k) fputs(", ", out);
            print_type(out, &c->out[k].type);
        }
        fprintf(out, "%s%s\n", *c->scope ? "  # " : "", c->scope);
    }
}

/* Within quotes: a name may have anything in it. */
static void print_quoted(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
    }
}

void tn_graph_dot(const tn_graph *g, FILE *out)
{
    if (!g || !out) return;
    fputs("digraph libtensor {\n  node [shape=box, fontname=\"monospace\"];\n", out);
    for (int64_t i = 0; i < g->n_calls; i++) {
        const tn__call *c = g->calls[i];
        const char     *label = call_label(c);
        fprintf(out, "  c%lld [label=\"%s%s", (long long)i, c->op->name, label ? " " : "");
        print_quoted(out, label ? label : "");
        fputs("\\n", out);
        for (int k = 0; k < c->n_out; k++) {
            if (k) fputs("\\n", out);
            print_type(out, &c->out[k].type);
        }
        fprintf(out, "\"%s];\n", c->n_in ? "" : ", style=filled, fillcolor=lightgrey");
        for (int k = 0; k < c->n_in; k++)
            fprintf(out, "  c%lld -> c%lld;\n", (long long)c->in[k]->call->id, (long long)i);
    }
    fputs("}\n", out);
}

/* ---- programs -------------------------------------------------------------------------------- */

static void print_value(const tn_program *p, FILE *out, int v)
{
    static const char *const kinds[] = { "arena", "input", "constant", "variable", "output",
                                         "panels" };
    const int         b = p->values[v].buffer, root = tn__buffer_root(p, b);
    const tn__buffer *x = &p->buffers[root];
    fprintf(out, "%%%d:", v);
    print_type(out, &p->values[v].type);
    if (x->kind == TN__ARENA) fprintf(out, "@%zu", x->offset);
    else if (x->kind == TN__VARIABLE) fprintf(out, "@%s", tn_variable_name(p->slots[x->slot]));
    else fprintf(out, "@%s", kinds[x->kind]);
    if (root != b) fputs(" in place", out);
}

static void print_values(const tn_program *p, FILE *out, const int *values, int n)
{
    for (int k = 0; k < n; k++) {
        if (k) fputs(", ", out);
        print_value(p, out, values[k]);
    }
}

static void print_step_name(const tn__step *s, FILE *out)
{
    if (s->kernel) fputs(s->op->name, out);
    for (int i = 0; s->chain && i < s->chain->n_instr; i++)
        fprintf(out, "%s%s", i || s->kernel ? "+" : "", s->chain->instr[i].op->name);
}

void tn_program_dump(const tn_program *p, FILE *out)
{
    if (!p || !out) return;
    for (int64_t i = 0; i < p->n_steps; i++) {
        const tn__step *s = &p->steps[i];
        if (i == p->n_compute) fputs("commit:\n", out);
        fprintf(out, "%4lld ", (long long)i);
        print_step_name(s, out);
        fputs("  (", out);
        print_values(p, out, s->values, s->n_in);
        if (s->n_in && s->n_chain_in) fputs("; ", out);
        print_values(p, out, s->values + s->n_in + s->n_out, s->n_chain_in);
        fputs(") -> ", out);
        if (s->n_chain_out)
            print_values(p, out, s->values + s->n_in + s->n_out + s->n_chain_in, s->n_chain_out);
        else print_values(p, out, s->values + s->n_in, s->n_out);
        if (s->scope && *s->scope) fprintf(out, "  # %s", s->scope);
        if (s->overlaps) fputs("  [overlaps]", out);
        if (s->n_again) fputs("  [again]", out);
        if (s->note[0]) fprintf(out, "  [not fused further: %s]", s->note);
        fputc('\n', out);
    }
    for (int64_t i = 0; i < p->n_commits; i++) {
        fprintf(out, "     copy ");
        print_value(p, out, p->commits[i].value);
        fprintf(out, " -> %s\n", tn_variable_name(p->slots[p->commits[i].slot]));
    }
    tn_program_stats st = tn_program_stats_of(p);
    fprintf(out, "arena %zu bytes (%zu without reuse), %lld calls in %lld steps, %.4g GFLOP\n",
            st.arena_bytes,
            st.no_reuse_bytes, (long long)st.calls, (long long)st.steps, st.flops * 1e-9);
    if (st.recomputed_calls)
        fprintf(out,
                "recomputed: %lld calls, %.4g GFLOP (%.1f %% of the program); "
                "the arena has %zu bytes without\n",
                (long long)st.recomputed_calls, st.recomputed_flops * 1e-9,
                100 * st.recomputed_flops / st.flops, st.kept_bytes);
}

/* ---- profile --------------------------------------------------------------------------------- */

void tn_program_profile(tn_program *p, bool on)
{
    if (!p) return;
    p->profiling = on;
    for (int64_t i = 0; on && i < p->n_steps; i++) p->steps[i].seconds = 0, p->steps[i].runs = 0;
}

typedef struct row {
    char    name[96];
    double  seconds, flops, bytes;
    int64_t steps;
} row;

static int by_seconds(const void *a, const void *b)
{
    double x = ((const row *)a)->seconds, y = ((const row *)b)->seconds;
    return (x < y) - (x > y);
}

static void row_name(const tn__step *s, char *name, size_t size)
{
    size_t used = 0;
    name[0] = 0;
    if (s->kernel) used = (size_t)snprintf(name, size, "%s", s->op->name);
    for (int i = 0; s->chain && i < s->chain->n_instr && used < size; i++)
        used += (size_t)snprintf(name + used, size - used, "%s%s", used ? "+" : "",
                                 s->chain->instr[i].op->name);
}

/* Of what did not run, as commits that a guard kept from it, there is no time. */
static double ratio(double x, double y) { return y > 0 ? x / y : 0; }

void tn_program_profile_dump(const tn_program *p, FILE *out)
{
    if (!p || !out) return;
    row    *rows = tn_alloc(p->ctx, (size_t)(p->n_steps + 1) * sizeof *rows);
    int64_t n = 0;
    double  total = 0;
    if (!rows) return;
    for (int64_t i = 0; i < p->n_steps; i++) {
        const tn__step *s = &p->steps[i];
        char            name[sizeof rows->name];
        row_name(s, name, sizeof name);
        int64_t k = 0;
        while (k < n && strcmp(rows[k].name, name) != 0) k++;
        if (k == n) strcpy(rows[n++].name, name);
        rows[k].seconds += s->seconds, total += s->seconds;
        rows[k].flops += s->flops * (double)s->runs, rows[k].bytes += s->bytes * (double)s->runs;
        rows[k].steps++;
    }
    int64_t runs = p->n_steps ? p->steps[0].runs : 0;
    qsort(rows, (size_t)n, sizeof *rows, by_seconds);
    fprintf(out, "%9s %6s %8s %8s %6s  op\n", "ms/run", "share", "GFLOP/s", "GB/s", "steps");
    for (int64_t k = 0; k < n && runs; k++)
        fprintf(out, "%9.3f %5.1f%% %8.1f %8.1f %6lld  %s\n", 1e3 * rows[k].seconds / (double)runs,
                ratio(100 * rows[k].seconds, total), ratio(rows[k].flops * 1e-9, rows[k].seconds),
                ratio(rows[k].bytes * 1e-9, rows[k].seconds), (long long)rows[k].steps,
                rows[k].name);
    fprintf(out, "%9.3f ms a run, %lld runs\n", runs ? 1e3 * total / (double)runs : 0,
            (long long)runs);
    tn_free(p->ctx, rows);
}
