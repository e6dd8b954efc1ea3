/* Signals that end a training. */
#include "interrupt.h"

#include <unistd.h>

volatile sig_atomic_t   interrupted;
static tn_ctx *volatile cancelled;

/* Who presses Ctrl-C again does not want to wait. The others come twice by themselves: to a process
 * and to its group. */
static void on_signal(int number)
{
    if (interrupted && number == SIGINT) _exit(128 + number);
    if (!interrupted) interrupted = number;
    if (cancelled) tn_cancel(cancelled);
}

void interrupt_catch(void)
{
    signal(SIGINT, on_signal), signal(SIGTERM, on_signal), signal(SIGPIPE, on_signal);
    if (signal(SIGHUP, on_signal) == SIG_IGN) signal(SIGHUP, SIG_IGN); /* as nohup has it */
}

void interrupt_cancels(tn_ctx *ctx) { cancelled = ctx; }

int interrupt_status(void) { return interrupted ? 128 + interrupted : 0; }
