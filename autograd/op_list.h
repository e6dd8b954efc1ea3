/* Every built-in op, one line each: TN_X(name). */
/* core */
TN_X(input)
TN_X(constant)
TN_X(full)
TN_X(read)
TN_X(assign)
TN_X(alias)
TN_X(stop_gradient)
TN_X(custom_grad)
TN_X(copy)
/* products */
TN_X(matmul)
