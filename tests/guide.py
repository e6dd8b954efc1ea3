"""Makes one C program of the code in docs/guide.md:  guide.py guide.md guide.c

Pieces that define something stand at file level, the others follow each other in main. A comment
of the page that is not seen, <!-- check: expression -->, becomes a test of what the text says."""
import re
import sys

PIECE = re.compile(r'^```c\n(.*?)^```$|^<!-- check: (.*?) -->$', re.M | re.S)
DEFINES = re.compile(r'^(#include|typedef|static)\b', re.M)

page, program = sys.argv[1:]
with open(page, encoding='utf-8') as f:
    text = f.read()
outside, inside = [], []
for piece in PIECE.finditer(text):
    code, check = piece.groups()
    line = text.count('\n', 0, piece.start()) + 1
    if check:
        inside.append(f'#line {line} "guide.md"\n'
                      f'if (!({check})) {{\n'
                      f'    printf("guide.md:{line}: this does not hold; %s\\n", tn_error(ctx));\n'
                      '    return 1;\n}\n')
    else:
        (outside if DEFINES.search(code) else inside).append(f'#line {line + 1} "guide.md"\n{code}')
with open(program, 'w', encoding='utf-8') as f:
    f.write('#include <string.h>\n' + ''.join(outside) + 'int main(void)\n{\n' + ''.join(inside) +
            'return 0;\n}\n')
