/* A small grammar of French sentences and their English translations: millions of pairs from some
 * two hundred words, with what makes translating more than replacing words: agreement of gender and
 * number, elision, adjectives behind the noun, negation around the verb, do-support, questions. */
#ifndef EXAMPLES_GRAMMAR_H
#define EXAMPLES_GRAMMAR_H

#include <stdint.h>

enum { GRAMMAR_LINE = 256 };

/* One pair, drawn with the random state. The English one is a function of the French one. */
void grammar_pair(uint64_t *state, char french[GRAMMAR_LINE], char english[GRAMMAR_LINE]);

/* The fixed part of all sentences to which a sentence belongs, 0 .. 15: what is kept out of
 * training is a part, so that no sentence is in both. "Je suis étudiant" is in part 0. */
int grammar_part(const char *french);

#endif
