/* Errors of the library, with the option or the file that they are about. */
#ifndef EXAMPLES_BLAME_H
#define EXAMPLES_BLAME_H

#include "libtensor.h"

#include <stdio.h>

/* Puts "what: " before the message at hand, if there is one. */
static inline tn_status blame(tn_ctx *ctx, const char *what)
{
    const tn_status status = tn_ctx_status(ctx);
    char            message[1024];
    if (status == TN_OK) return status;
    snprintf(message, sizeof message, "%s", tn_error(ctx));
    tn_clear_error(ctx);
    return tn_fail(ctx, status, "%s: %s", what, message);
}

#endif
