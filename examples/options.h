/* Rows of options that several examples have: name, unit and what is said alike, once. `more` is
 * what a program adds to that text: a default, or a remark. */
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

#include "cli.h"

#define OPTION_VOCAB(value, more)                                                                  \
    { CLI_COUNT, "vocab", value, "N", "tokens of the vocabulary" more }
#define OPTION_D_MODEL(value, more) { CLI_COUNT, "d-model", value, "N", "width of the model" more }
#define OPTION_HEADS(value, more) { CLI_COUNT, "heads", value, "N", "of attention" more }
#define OPTION_LAYERS(value, more) { CLI_COUNT, "layers", value, "N", "of the model" more }
#define OPTION_DROPOUT(value, more)                                                                \
    { CLI_DECAY, "dropout", value, "P", "share of values set to 0 " more }
#define OPTION_MINUTES(value, more) { CLI_REAL, "minutes", value, "X", "time for training" more }
#define OPTION_LR(value, more) { CLI_POSITIVE, "lr", value, "X", "highest learning rate" more }
#define OPTION_SEED(value) { CLI_INT, "seed", value, "N", "of weights, batches and dropout" }
#define OPTION_THREADS(value) { CLI_THREADS, "threads", value, "N", "[one for each CPU]" }

#endif
