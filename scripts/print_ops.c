/* Prints docs/ops.md from the op table:  ninja -C build docs */
#include "libtensor.h"

#include <stdio.h>

static const char *gradient_of(const tn_op *op)
{
    if (op->flags & TN_NOT_DIFFERENTIABLE) return "none";
    if (op->vjp && op->expand) return "rule; second order by expansion";
    return op->vjp ? "rule" : "expansion";
}

static const char *kernel_of(const tn_op *op)
{
    return op->span ? "elementwise" : op->view ? "view" : op->run ? "kernel" : "leaf";
}

static void print_dtypes(const tn_op *op)
{
    const char *comma = "";
    if (!op->span) {
        printf(" ");
        return;
    }
    for (int d = 0; d < TN_N_DTYPES; d++) {
        if (!op->span->fn[d][TN_CPU_BASE]) continue;
        printf("%s%s", comma, tn_dtype_name((tn_dtype)d));
        comma = ", ";
    }
}

static void print_attributes(const tn_op *op)
{
    static const char *const kinds[] = { "", "int", "float", "flag", "dtype", "shape", "stream",
                                         "pointer" };
    for (const tn_attr_field *f = op->attrs; f && f->kind != TN_ATTR_END; f++)
        printf("%s%s (%s)", f == op->attrs ? "" : ", ", f->name, kinds[f->kind]);
}

int main(void)
{
    printf("# The ops\n\n"
           "Printed from the op table by `ninja -C build docs`: do not edit. An op's inputs, "
           "shapes and errors are told beside its\n"
           "function in `autograd/ops.h`; ops whose names end in `_grad` are the backward halves "
           "of others.\n\n"
           "| op | what it computes | inputs | computed as | dtypes | gradient | attributes | "
           "samples |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < tn_op_count(); i++) {
        const tn_op *op = tn_op_at(i);
        printf("| %s | ", op->name);
        for (const char *c = op->doc ? op->doc : ""; *c; c++) {
            if (*c == '|') putchar('\\');
            putchar(*c);
        }
        if (op->max_arity < 0) printf(" | %d or more", op->arity);
        else if (op->max_arity > op->arity) printf(" | %d to %d", op->arity, op->max_arity);
        else printf(" | %d", op->arity);
        printf(" | %s | ", kernel_of(op));
        print_dtypes(op);
        printf(" | %s | ", gradient_of(op));
        print_attributes(op);
        printf(" | %d |\n", op->n_samples);
    }
    printf("\n%d ops.\n", tn_op_count());
    return 0;
}
