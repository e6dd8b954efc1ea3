/* The examples' grammar: a seed is one corpus, whatever compiled it. */
#include "examples/grammar.h"

#include "check.h"

TEST(grammar, a_seed_is_one_corpus)
{
    static const char *const want[][2] = {
        { "Elle n'attend pas tes lettres", "She does not wait for your letters" },
        { "Elle ne garde pas de livres noirs devant l'église",
          "She does not keep any black books in front of the church" },
        { "Tu achètes la pomme", "You buy the apple" },
        { "Il est riche", "He is rich" },
    };
    uint64_t state = 1, hash = 0xcbf29ce484222325u; /* FNV-1a */
    char     pair[2][GRAMMAR_LINE];
    for (int i = 0; i < 1000; i++) {
        grammar_pair(&state, pair[0], pair[1]);
        for (int side = 0; side < 2; side++) {
            if (i < 4) CHECK_STR(pair[side], want[i][side]);
            for (const char *c = pair[side]; *c; c++)
                hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
        }
    }
    CHECK_MSG(hash == 0xbac2278cec13857bu, "1000 pairs: expected bac2278cec13857b, got %llx",
              (unsigned long long)hash);
}

TEST_MAIN
