/* Wrong calls in tests: the context `ctx` says why, and is clean again for the next. */
#ifndef TN_TESTS_REFUSED_H
#define TN_TESTS_REFUSED_H

#include "check.h"

/* call: what gives true (not NULL, ..) if it was taken. */
#define REFUSED(call, status, message)                                                             \
    do {                                                                                           \
        if (call) check_fail(__FILE__, __LINE__, "%s was taken", #call);                           \
        CHECK_INT(tn_ctx_status(ctx), status);                                                     \
        CHECK_CONTAINS(tn_error(ctx), message);                                                    \
        tn_clear_error(ctx);                                                                       \
    } while (0)

#endif
