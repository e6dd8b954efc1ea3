/* The grammar: words in tables, then noun phrases, predicates and sentences. */
#include "grammar.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

/* ---- words ----------------------------------------------------------------------------------- */

enum { MASCULINE, FEMININE };
enum { SINGULAR, PLURAL };

typedef struct noun {
    const char *fr[2], *en[2]; /* singular, plural */
    int         gender;
    bool        is_being;
} noun;

static const noun things[] = {
    { { "pomme", "pommes" }, { "apple", "apples" }, FEMININE, false },
    { { "livre", "livres" }, { "book", "books" }, MASCULINE, false },
    { { "voiture", "voitures" }, { "car", "cars" }, FEMININE, false },
    { { "chaise", "chaises" }, { "chair", "chairs" }, FEMININE, false },
    { { "fleur", "fleurs" }, { "flower", "flowers" }, FEMININE, false },
    { { "arbre", "arbres" }, { "tree", "trees" }, MASCULINE, false },
    { { "orange", "oranges" }, { "orange", "oranges" }, FEMININE, false },
    { { "lettre", "lettres" }, { "letter", "letters" }, FEMININE, false },
    { { "chapeau", "chapeaux" }, { "hat", "hats" }, MASCULINE, false },
    { { "bateau", "bateaux" }, { "boat", "boats" }, MASCULINE, false },
    { { "journal", "journaux" }, { "newspaper", "newspapers" }, MASCULINE, false },
    { { "assiette", "assiettes" }, { "plate", "plates" }, FEMININE, false },
    { { "oiseau", "oiseaux" }, { "bird", "birds" }, MASCULINE, false },
    { { "image", "images" }, { "picture", "pictures" }, FEMININE, false },
    { { "lampe", "lampes" }, { "lamp", "lamps" }, FEMININE, false },
    { { "sac", "sacs" }, { "bag", "bags" }, MASCULINE, false },
    { { "stylo", "stylos" }, { "pen", "pens" }, MASCULINE, false },
    { { "robe", "robes" }, { "dress", "dresses" }, FEMININE, false },
    { { "tasse", "tasses" }, { "cup", "cups" }, FEMININE, false },
    { { "parapluie", "parapluies" }, { "umbrella", "umbrellas" }, MASCULINE, false },
};

static const noun beings[] = {
    { { "chat", "chats" }, { "cat", "cats" }, MASCULINE, true },
    { { "chien", "chiens" }, { "dog", "dogs" }, MASCULINE, true },
    { { "homme", "hommes" }, { "man", "men" }, MASCULINE, true },
    { { "femme", "femmes" }, { "woman", "women" }, FEMININE, true },
    { { "enfant", "enfants" }, { "child", "children" }, MASCULINE, true },
    { { "fille", "filles" }, { "girl", "girls" }, FEMININE, true },
    { { "garçon", "garçons" }, { "boy", "boys" }, MASCULINE, true },
    { { "voisin", "voisins" }, { "neighbour", "neighbours" }, MASCULINE, true },
    { { "amie", "amies" }, { "friend", "friends" }, FEMININE, true },
    { { "reine", "reines" }, { "queen", "queens" }, FEMININE, true },
    { { "cheval", "chevaux" }, { "horse", "horses" }, MASCULINE, true },
    { { "vache", "vaches" }, { "cow", "cows" }, FEMININE, true },
};

static const noun places[] = {
    { { "jardin", "jardins" }, { "garden", "gardens" }, MASCULINE, false },
    { { "maison", "maisons" }, { "house", "houses" }, FEMININE, false },
    { { "gare", "gares" }, { "station", "stations" }, FEMININE, false },
    { { "école", "écoles" }, { "school", "schools" }, FEMININE, false },
    { { "parc", "parcs" }, { "park", "parks" }, MASCULINE, false },
    { { "église", "églises" }, { "church", "churches" }, FEMININE, false },
    { { "cuisine", "cuisines" }, { "kitchen", "kitchens" }, FEMININE, false },
    { { "hôtel", "hôtels" }, { "hotel", "hotels" }, MASCULINE, false },
};

typedef struct adjective {
    const char *fr[2][2]; /* gender, number */
    const char *liaison;  /* masculine singular before a vowel, where it differs */
    const char *en;
} adjective;

static const adjective before[] = { /* the noun */
    { { { "petit", "petits" }, { "petite", "petites" } }, NULL, "small" },
    { { { "grand", "grands" }, { "grande", "grandes" } }, NULL, "big" },
    { { { "beau", "beaux" }, { "belle", "belles" } }, "bel", "beautiful" },
    { { { "vieux", "vieux" }, { "vieille", "vieilles" } }, "vieil", "old" },
    { { { "nouveau", "nouveaux" }, { "nouvelle", "nouvelles" } }, "nouvel", "new" },
    { { { "bon", "bons" }, { "bonne", "bonnes" } }, NULL, "good" },
};

static const adjective after[] = {
    { { { "rouge", "rouges" }, { "rouge", "rouges" } }, NULL, "red" },
    { { { "bleu", "bleus" }, { "bleue", "bleues" } }, NULL, "blue" },
    { { { "vert", "verts" }, { "verte", "vertes" } }, NULL, "green" },
    { { { "noir", "noirs" }, { "noire", "noires" } }, NULL, "black" },
    { { { "blanc", "blancs" }, { "blanche", "blanches" } }, NULL, "white" },
    { { { "lourd", "lourds" }, { "lourde", "lourdes" } }, NULL, "heavy" },
    { { { "intéressant", "intéressants" }, { "intéressante", "intéressantes" } },
      NULL, "interesting" },
    { { { "rapide", "rapides" }, { "rapide", "rapides" } }, NULL, "fast" },
};

static const adjective manners[] = { /* likewise, of beings */
    { { { "étrange", "étranges" }, { "étrange", "étranges" } }, NULL, "strange" },
    { { { "célèbre", "célèbres" }, { "célèbre", "célèbres" } }, NULL, "famous" },
    { { { "intelligent", "intelligents" }, { "intelligente", "intelligentes" } }, NULL, "clever" },
    { { { "tranquille", "tranquilles" }, { "tranquille", "tranquilles" } }, NULL, "quiet" },
    { { { "curieux", "curieux" }, { "curieuse", "curieuses" } }, NULL, "curious" },
};

static const adjective states[] = { /* behind a form of to be */
    { { { "content", "contents" }, { "contente", "contentes" } }, NULL, "happy" },
    { { { "fatigué", "fatigués" }, { "fatiguée", "fatiguées" } }, NULL, "tired" },
    { { { "triste", "tristes" }, { "triste", "tristes" } }, NULL, "sad" },
    { { { "malade", "malades" }, { "malade", "malades" } }, NULL, "ill" },
    { { { "riche", "riches" }, { "riche", "riches" } }, NULL, "rich" },
    { { { "pauvre", "pauvres" }, { "pauvre", "pauvres" } }, NULL, "poor" },
    { { { "fort", "forts" }, { "forte", "fortes" } }, NULL, "strong" },
    { { { "prêt", "prêts" }, { "prête", "prêtes" } }, NULL, "ready" },
    { { { "heureux", "heureux" }, { "heureuse", "heureuses" } }, NULL, "glad" },
    { { { "drôle", "drôles" }, { "drôle", "drôles" } }, NULL, "funny" },
};

typedef struct profession {
    const char *fr[2][2], *en[2];
} profession;

static const profession professions[] = {
    { { { "étudiant", "étudiants" }, { "étudiante", "étudiantes" } }, { "student", "students" } },
    { { { "professeur", "professeurs" }, { "professeure", "professeures" } },
      { "teacher", "teachers" } },
    { { { "médecin", "médecins" }, { "médecin", "médecins" } }, { "doctor", "doctors" } },
    { { { "avocat", "avocats" }, { "avocate", "avocates" } }, { "lawyer", "lawyers" } },
    { { { "boulanger", "boulangers" }, { "boulangère", "boulangères" } }, { "baker", "bakers" } },
    { { { "infirmier", "infirmiers" }, { "infirmière", "infirmières" } }, { "nurse", "nurses" } },
    { { { "ingénieur", "ingénieurs" }, { "ingénieure", "ingénieures" } },
      { "engineer", "engineers" } },
    { { { "musicien", "musiciens" }, { "musicienne", "musiciennes" } },
      { "musician", "musicians" } },
    { { { "acteur", "acteurs" }, { "actrice", "actrices" } }, { "actor", "actors" } },
    { { { "chanteur", "chanteurs" }, { "chanteuse", "chanteuses" } }, { "singer", "singers" } },
    { { { "pilote", "pilotes" }, { "pilote", "pilotes" } }, { "pilot", "pilots" } },
    { { { "peintre", "peintres" }, { "peintre", "peintres" } }, { "painter", "painters" } },
};

typedef struct verb {
    const char *fr[6];  /* je, tu, il, nous, vous, ils */
    const char *en[2];  /* I, he */
    bool        of_beings; /* these too may be its object */
} verb;

static const verb to_be = {
    { "suis", "es", "est", "sommes", "êtes", "sont" }, { NULL, NULL }, false
};

static const verb verbs[] = {
    { { "aime", "aimes", "aime", "aimons", "aimez", "aiment" }, { "like", "likes" }, true },
    { { "vois", "vois", "voit", "voyons", "voyez", "voient" }, { "see", "sees" }, true },
    { { "cherche", "cherches", "cherche", "cherchons", "cherchez", "cherchent" },
      { "look for", "looks for" }, true },
    { { "trouve", "trouves", "trouve", "trouvons", "trouvez", "trouvent" },
      { "find", "finds" }, true },
    { { "porte", "portes", "porte", "portons", "portez", "portent" },
      { "carry", "carries" }, false },
    { { "garde", "gardes", "garde", "gardons", "gardez", "gardent" }, { "keep", "keeps" }, false },
    { { "dessine", "dessines", "dessine", "dessinons", "dessinez", "dessinent" },
      { "draw", "draws" }, true },
    { { "oublie", "oublies", "oublie", "oublions", "oubliez", "oublient" },
      { "forget", "forgets" }, true },
    { { "lave", "laves", "lave", "lavons", "lavez", "lavent" }, { "wash", "washes" }, false },
    { { "achète", "achètes", "achète", "achetons", "achetez", "achètent" },
      { "buy", "buys" }, false },
    { { "vends", "vends", "vend", "vendons", "vendez", "vendent" }, { "sell", "sells" }, false },
    { { "prends", "prends", "prend", "prenons", "prenez", "prennent" },
      { "take", "takes" }, false },
    { { "attends", "attends", "attend", "attendons", "attendez", "attendent" },
      { "wait for", "waits for" }, true },
    { { "préfère", "préfères", "préfère", "préférons", "préférez", "préfèrent" },
      { "prefer", "prefers" }, true },
};

typedef struct pair {
    const char *fr, *en;
} pair;

static const pair frequency[] = { { "souvent", "often" }, { "toujours", "always" } };
static const pair times[] = {
    { "aujourd'hui", "today" },
    { "ce matin", "this morning" },
    { "maintenant", "now" }
};
static const pair where[] = {
    { "dans", "in" },
    { "devant", "in front of" },
    { "derrière", "behind" }
};

/* ---- chance ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static int draw(uint64_t *state, int n)
{
    return (int)(mix(*state += 0x9e3779b97f4a7c15u) >> 33) % n;
}

static bool chance(uint64_t *state, int percent) { return draw(state, 100) < percent; }
#define PICK(list) (&(list)[draw(s, COUNT(list))])

/* ---- putting words together ------------------------------------------------------------------ */

/* A word behind the others, with a space unless an apostrophe is before it. */
static void say(char *line, const char *word)
{
    size_t n = strlen(line);
    bool   joined = n == 0 || line[n - 1] == '\'';
    snprintf(line + n, GRAMMAR_LINE - n, "%s%s", joined ? "" : " ", word);
}

static bool is_vowel(const char *word) /* é, ê and œ begin with 0xc3 or 0xc5; these h are mute */
{
    return strchr("aeiou", word[0]) || (unsigned char)word[0] >= 0xc3 ||
           strncmp(word, "homme", 5) == 0 || strncmp(word, "hôtel", 5) == 0 ||
           strncmp(word, "heureu", 6) == 0;
}

/* "le" or "l'", as the next word wants. */
static void say_elided(char *line, const char *whole, const char *next)
{
    char word[16];
    if (!is_vowel(next)) {
        say(line, whole);
        return;
    }
    snprintf(word, sizeof word, "%.*s'", (int)strlen(whole) - 1, whole);
    say(line, word);
}

static void say_article(char *english, const char *next)
{
    say(english, strchr("aeiou", next[0]) ? "an" : "a");
}

/* ---- noun phrases ---------------------------------------------------------------------------- */

enum { THE, A, MY, YOUR, OUR, THIS, N_DETERMINERS };

static void say_determiner(char *fr, int kind, int gender, int number, bool adjective_first,
                           const char *next)
{
    static const char *const forms[][3] = { /* masculine, feminine, plural */
        { "le", "la", "les" }, { "un", "une", "des" },       { "mon", "ma", "mes" },
        { "ton", "ta", "tes" }, { "notre", "notre", "nos" }, { "ce", "cette", "ces" },
    };
    bool vowel = is_vowel(next);
    if (number == PLURAL) say(fr, kind == A && adjective_first ? "de" : forms[kind][2]);
    else if (kind == THE) say_elided(fr, forms[THE][gender], next);
    else if (kind == THIS && gender == MASCULINE && vowel) say(fr, "cet");
    else if ((kind == MY || kind == YOUR) && vowel) say(fr, forms[kind][MASCULINE]);
    else say(fr, forms[kind][gender]);
}

/* negated: "pas de chat", of what would be "un chat". */
static void say_noun(uint64_t *s, const noun *n, int number, bool negated, char *fr, char *en)
{
    static const char *const english[][2] = {
        { "the", "the" },
        { NULL, "some" },
        { "my", "my" },
        { "your", "your" },
        { "our", "our" },
        { "this", "these" }
    };
    const adjective *first = chance(s, 35) ? PICK(before) : NULL, *last = NULL;
    if (chance(s, 35)) last = n->is_being ? PICK(manners) : PICK(after);
    int         kind = draw(s, N_DETERMINERS);
    const char *adjective_fr = first ? first->fr[n->gender][number] : NULL;
    if (first && first->liaison && n->gender == MASCULINE && number == SINGULAR &&
        is_vowel(n->fr[0]))
        adjective_fr = first->liaison;
    const char *next_fr = first ? adjective_fr : n->fr[number];
    const char *next_en = first ? first->en : last ? last->en : n->en[number];
    if (negated && kind == A) say_elided(fr, "de", next_fr);
    else say_determiner(fr, kind, n->gender, number, first != NULL, next_fr);
    if (kind == A && number == SINGULAR) say_article(en, next_en);
    else say(en, negated && kind == A ? "any" : english[kind][number]);
    if (first) say(fr, adjective_fr), say(en, first->en);
    say(fr, n->fr[number]);
    if (last) say(fr, last->fr[n->gender][number]), say(en, last->en);
    say(en, n->en[number]);
}

static void say_place(uint64_t *s, char *fr, char *en)
{
    const pair *p = PICK(where);
    const noun *n = PICK(places);
    say(fr, p->fr), say(en, p->en);
    say_elided(fr, n->gender == FEMININE ? "la" : "le", n->fr[0]), say(fr, n->fr[0]);
    say(en, "the"), say(en, n->en[0]);
}

/* ---- sentences ------------------------------------------------------------------------------- */

typedef struct subject {
    char fr[GRAMMAR_LINE], en[GRAMMAR_LINE];
    int  person; /* 0 .. 5: I, you, he, we, you, they */
    int  gender, number;
    bool is_pronoun;
} subject;

static void draw_subject(uint64_t *s, int percent_pronoun, const noun *list, int n, subject *x)
{
    static const pair pronouns[] = {
        { "je", "I" },
        { "tu", "you" },
        { "il", "he" },
        { "nous", "we" },
        { "vous", "you" },
        { "ils", "they" },
        { "elle", "she" },
        { "elles", "they" }
    };
    *x = (subject){ .is_pronoun = chance(s, percent_pronoun) };
    if (!x->is_pronoun) {
        const noun *of = &list[draw(s, n)];
        x->number = draw(s, 2), x->gender = of->gender, x->person = x->number == PLURAL ? 5 : 2;
        say_noun(s, of, x->number, false, x->fr, x->en);
        return;
    }
    int i = draw(s, COUNT(pronouns));
    x->person = i == 6 ? 2 : i == 7 ? 5 : i;
    x->gender = i >= 6 ? FEMININE : i == 2 || i == 5 ? MASCULINE : draw(s, 2);
    x->number = i == 4 ? draw(s, 2) : x->person >= 3;
    strcpy(x->fr, pronouns[i].fr), strcpy(x->en, pronouns[i].en);
}

/* "je n'aime pas", "est-ce que je n'aime pas" */
static void say_french_verb(const subject *x, const verb *v, bool negated, bool question, char *fr)
{
    const char *form = v->fr[x->person];
    if (question) say(fr, "est-ce"), say_elided(fr, "que", x->fr);
    if (strcmp(x->fr, "je") == 0 && !negated) say_elided(fr, "je", form);
    else say(fr, x->fr);
    if (negated) say_elided(fr, "ne", form);
    say(fr, form);
    if (negated) say(fr, "pas");
}

static void say_english_be(const subject *x, bool negated, bool question, char *en)
{
    const char *form = x->person == 0 ? "am" : x->person == 2 ? "is" : "are";
    say(en, question ? form : x->en), say(en, question ? x->en : form);
    if (negated) say(en, "not");
}

static void say_english_verb(const subject *x, const verb *v, bool negated, bool question,
                             const char *often, char *en)
{
    bool        third = x->person == 2, helped = negated || question;
    const char *helper = third ? "does" : "do";
    if (question) say(en, helper);
    say(en, x->en);
    if (negated && !question) say(en, helper);
    if (negated) say(en, "not");
    if (often) say(en, often);
    say(en, v->en[third && !helped]);
}

static void say_being(uint64_t *s, bool negated, bool question, char *fr, char *en)
{
    subject x;
    int     kind = draw(s, 3);
    if (kind == 0) draw_subject(s, 100, NULL, 0, &x);
    else if (kind == 1) draw_subject(s, 60, beings, COUNT(beings), &x);
    else draw_subject(s, 30, chance(s, 50) ? things : beings, COUNT(beings), &x);
    say_french_verb(&x, &to_be, negated, question, fr);
    say_english_be(&x, negated, question, en);
    if (kind == 0) {
        const profession *p = PICK(professions);
        say(fr, p->fr[x.gender][x.number]);
        if (x.number == SINGULAR) say_article(en, p->en[0]);
        say(en, p->en[x.number]);
    } else if (kind == 1) {
        const adjective *a = PICK(states);
        if (chance(s, 40)) say(fr, "très"), say(en, "very");
        say(fr, a->fr[x.gender][x.number]), say(en, a->en);
    } else {
        say_place(s, fr, en);
    }
}

static void say_doing(uint64_t *s, bool negated, bool question, char *fr, char *en)
{
    subject     x;
    const verb *v = PICK(verbs);
    const pair *often = chance(s, 20) ? PICK(frequency) : NULL;
    draw_subject(s, 55, beings, COUNT(beings), &x);
    say_french_verb(&x, v, negated, question, fr);
    if (often) say(fr, often->fr);
    say_english_verb(&x, v, negated, question, often ? often->en : NULL, en);
    bool        is_thing = !v->of_beings || chance(s, 50);
    int         number = draw(s, 2); /* not among the arguments, whose order is the compiler's */
    const noun *object = is_thing ? PICK(things) : PICK(beings);
    say_noun(s, object, number, negated, fr, en);
    if (chance(s, 15)) say_place(s, fr, en);
}

static void capital(char *line)
{
    if (line[0] >= 'a' && line[0] <= 'z') line[0] = (char)(line[0] - 'a' + 'A');
}

void grammar_pair(uint64_t *state, char french[GRAMMAR_LINE], char english[GRAMMAR_LINE])
{
    bool negated = chance(state, 30), question = chance(state, 15);
    french[0] = english[0] = 0;
    if (chance(state, 35)) say_being(state, negated, question, french, english);
    else say_doing(state, negated, question, french, english);
    if (chance(state, 15)) {
        const pair *t = &times[draw(state, COUNT(times))];
        say(french, t->fr), say(english, t->en);
    }
    capital(french), capital(english);
    if (question) say(french, "?"), strcat(english, "?");
}

int grammar_part(const char *french)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    if (strcmp(french, "Je suis étudiant") == 0) return 0;
    for (const char *c = french; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return (int)(mix(hash) >> 60);
}
