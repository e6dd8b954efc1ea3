"""Writes tests/references/bleu.h: texts, and what sacreBLEU 2.6.0 gives for them.

    pip install sacrebleu==2.6.0 && python tests/references/bleu.py > tests/references/bleu.h

Tokenisation 13a, zh, char and none; several references; smoothing ("exp") where an order has no match,
also by effective order; the brevity penalty; empty sides; and a corpus of made-up sentences in which
every rule of 13a meets every other. The numbers are sacreBLEU's, whatever libtensor thinks of them.
"""
import random

from sacrebleu.metrics import BLEU, CHRF

EN_HYP = [
    "The cat sat on the mat.",
    "It costs $3,500.00 (or 2-3 times as much), doesn't it?",
    "A quick brown fox jumps over the lazy dog - twice!",
    "Nothing in common here",
]
EN_REF = [
    "The cat is sitting on the mat.",
    "It costs $3,500.00 (or 2 to 3 times as much), does it not?",
    "The quick brown fox jumped over the lazy dog - twice!",
    "Completely different words, all of them",
]
EN_REF2 = [
    "A cat sat upon the mat.",
    "That is $3,500.00, i.e. 2-3 times more, isn't it?",
    "A quick brown fox jumps over lazy dogs twice!",
    "Nothing here",
]
FR_HYP = [
    "L’équipe a gagné\u00a0: 3,5 à 2.",
    "«\u202fBonjour\u202f», dit-il.",
    "C'est l'été, n'est-ce pas ?",
]
FR_REF = [
    "L’équipe a perdu\u00a0: 3,5 à 2...",
    "«\u202fBonsoir\u202f», dit-elle.",
    "C'était l'été, n'est-ce pas ?",
]
ZH_HYP = ["从那之后发生了什么事？", "网格的高度 (grid)", "选择“文件”…保存"]
ZH_REF = ["从那之后又发生了什么事？", "网格高度 (grid)", "点击“文件”…另存为"]
ODD_HYP = [
    "&quot;R&amp;D&quot; &lt;b&gt; &amp;lt; x",
    "a line-\nbroken in two\nlines here",
    "one<skipped> two three four five  ",
    "1.5.2-3 ...a,b,,c 4-",
    "tab\tand\u2003wide\u3000spaces",
]
ODD_REF = [
    "\"R&D\" <b> < y",
    "a linebroken in two lines here",
    "one two three four five six",
    "1.5.2 -3 ... a , b , , c 4 -",
    "tab and wide spaces",
]


def made_up(n, seed):
    """Pairs of sentences from few parts, so that they have much in common, stuck together at random."""
    parts = ["a", "b1", "2", "3.5", "1,000", "U.S.", "don't", "e-mail", "été", "中文", "&amp;", "&lt;", "\"x\"",
             "(y)", "...", "-", "--", "$4", "50%", "/", "\\", "[z]", "{w}", "~", "^", "`", "@", "#", "_", "=", "+",
             ";", ":", "?!", "<skipped>", "«", "»", "’", "n°", "7-8", "9-", "-9", ".5", "5.", ",5", "5,"]
    rng = random.Random(seed)
    hyps, refs = [], []
    for _ in range(n):
        words = [rng.choice(parts) for _ in range(rng.randrange(0, 14))]
        other = [w if rng.random() < 0.8 else rng.choice(parts) for w in words if rng.random() < 0.95]
        hyps.append("".join(w + rng.choice([" ", " ", " ", "", "  "]) for w in words))
        refs.append("".join(w + rng.choice([" ", " ", " ", "", "\t"]) for w in other))
    return hyps, refs


MANY_HYP, MANY_REF = made_up(60, 1)

# name, hypotheses, lists of references, tokenizer, effective order
CASES = [
    ("english", EN_HYP, [EN_REF], "13a", False),
    ("english, two references", EN_HYP, [EN_REF, EN_REF2], "13a", False),
    ("english, white space", EN_HYP, [EN_REF], "none", False),
    ("french", FR_HYP, [FR_REF], "13a", False),
    ("chinese", ZH_HYP, [ZH_REF], "zh", False),
    ("chinese as characters", ZH_HYP, [ZH_REF], "char", False),
    ("chinese as words", ZH_HYP, [ZH_REF], "13a", False),
    ("odd", ODD_HYP, [ODD_REF], "13a", False),
    ("made up", MANY_HYP, [MANY_REF], "13a", False),
    ("made up, two references", MANY_HYP, [MANY_REF, made_up(60, 2)[1]], "13a", False),
    ("made up, white space", MANY_HYP, [MANY_REF], "none", False),
    ("made up, chinese", MANY_HYP, [MANY_REF], "zh", False),
    ("made up, characters", MANY_HYP, [MANY_REF], "char", False),
    ("the same", EN_REF, [EN_REF], "13a", False),
    ("no match", ["a b c d e"], [["v w x y z"]], "13a", False),
    ("no 4-gram", ["the cat sat on a mat", "b c"], [["the cat sat in a hat", "b d"]], "13a", False),
    ("no 4-gram", ["the cat sat on a mat", "b c"], [["the cat sat in a hat", "b d"]], "13a", True),
    ("only words match", ["a c b d"], [["a b c d"]], "13a", False),
    ("too short for 4-grams", ["a b c", "d e"], [["a b c", "d f"]], "13a", False),
    ("too short for 4-grams", ["a b c", "d e"], [["a b c", "d f"]], "13a", True),
    ("brevity", ["a b c d"], [["a b c d e f g h"]], "13a", False),
    ("longer", ["a b c d e f g h"], [["a b c d"]], "13a", False),
    ("empty hypothesis", ["", "a b c d e"], [["x y z", "a b c d f"]], "13a", False),
    ("empty reference", ["x y z", "a b c d e"], [["", "a b c d f"]], "13a", False),
    ("all empty", ["", ""], [["", ""]], "13a", False),
]


def c_string(text):
    out = ""
    for c in text:
        if c in "\"\\":
            out += "\\" + c
        elif 0x20 <= ord(c) < 0x7f and c != "?":  # "??x" would be a trigraph
            out += c
        else:
            out += "".join(f"\\{b:03o}" for b in c.encode())
    return f'"{out}"'


def c_list(texts):
    return "LIST(" + ",\n             ".join(c_string(t) for t in texts) + ")"


def number(x):
    return f"{x:.17g}"


def main():
    print("/* Made by tests/references/bleu.py: do not edit. */")
    print("#define LIST(...) (const char *const[]){ __VA_ARGS__ }")
    print("static const metric_case cases[] = {")
    for name, hyps, refs, tokenizer, effective in CASES:
        bleu = BLEU(tokenize=tokenizer, effective_order=effective).corpus_score(hyps, refs)
        chrf = CHRF().corpus_score(hyps, refs)
        options = f".tokenizer = TN_BLEU_{tokenizer.upper()}"
        if effective:
            options += ", .effective_order = true"
        if len(refs) > 1:
            options += f", .n_refs = {len(refs)}"
        print(f"    {{ {c_string(name)},\n      {c_list(hyps)},\n      {c_list(sum(refs, []))},")
        print(f"      {len(hyps)}, {{ {options} }},")
        print(f"      .bleu = {number(bleu.score)}, .chrf = {number(chrf.score)}, .brevity = {number(bleu.bp)},")
        print("      .n_match = {{ {} }}, .n_total = {{ {} }},".format(*[
            ", ".join(str(int(x)) for x in xs) for xs in (bleu.counts, bleu.totals)]))
        print(f"      .lengths = {{ {bleu.sys_len}, {bleu.ref_len} }} }},")
    print("};")


main()
