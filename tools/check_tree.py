#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules on files: at most 800 lines, no folder or file named after nothing, the licence line first."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sources import TREE, tracked  # noqa: E402

FORBIDDEN = re.compile(r'^(utils?|common|helpers?|manager|misc)$')
SPDX = 'SPDX-License-Identifier: Apache-2.0'
SOURCE = {'.cc', '.h', '.py', '.sh', '.cmake', '.proto'}
MOST_LINES = 800
FUNCTION_LINES = 100


def long_functions(name, lines):
    """Bodies that begin with a brace at the end of an unindented line, as clang-format writes them."""
    begin = None
    for number, line in enumerate(lines, 1):
        if begin is None and line and not line[0].isspace() and line.endswith('{') and '(' in line + lines[number - 2]:
            begin = number
        elif begin is not None and line.startswith('}'):
            if number - begin > FUNCTION_LINES and not line.startswith('};'):
                yield f'{name}:{begin}: a function of {number - begin} lines, more than {FUNCTION_LINES}'
            begin = None


def main():
    wrong, names = [], tracked()
    for name in names:
        path = Path(name)
        for part in path.parts:
            if FORBIDDEN.match(part.split('.')[0]):
                wrong.append(f'{name}: a name that says nothing: {part}')
        data = (TREE / name).read_bytes()
        shebang = data.startswith(b'#!')
        if not (path.suffix in SOURCE or path.name == 'CMakeLists.txt' or shebang):
            continue
        lines = data.decode(errors='replace').splitlines()
        if SPDX not in '\n'.join(lines[:3]):
            wrong.append(f'{name}: no line "{SPDX}" at the top')
        if len(lines) > MOST_LINES:
            wrong.append(f'{name}: {len(lines)} lines, more than {MOST_LINES}')
        if path.suffix == '.cc' and name.startswith('src/') and not name.endswith('_test.cc'):
            wrong += long_functions(name, lines)
    print('\n'.join(wrong + [f'{len(names)} files, {len(wrong)} wrong']))
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
