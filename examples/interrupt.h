/* Signals that end a training: Ctrl-C, a kill, a terminal or a reader of the output that is gone.
 * The program sees that there was one, keeps what it has, and ends with interrupt_status. */
#ifndef EXAMPLES_INTERRUPT_H
#define EXAMPLES_INTERRUPT_H

#include "libtensor.h"

#include <signal.h>

extern volatile sig_atomic_t interrupted; /* the first signal there was, or 0 */

void interrupt_catch(void);

/* From now on a signal ends at once what the context does; NULL: no more. */
void interrupt_cancels(tn_ctx *ctx);

/* What a shell says of a program that a signal ended: 128 and its number. 0: there was none. */
int interrupt_status(void);

#endif
