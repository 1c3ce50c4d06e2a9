#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every path of this tree that README.md or docs/ names exists; every relative link leads somewhere.

A path is text in backquotes, or a link's target, that begins with a folder of this tree. `*` and
braces are expanded; a final `/` means a folder; `file.cc:Name` must contain Name."""
import glob
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sources import TREE, tracked  # noqa: E402

TOP = r'(?:src|docs|tests|tools|bench|packaging|protos|cmake|\.ci)'
QUOTED = re.compile(r'`(\./dev|' + TOP + r'/[^`\s]*)`')
LINK = re.compile(r'\]\(([^)#\s]+)[^)]*\)')


def expand(pattern):
    match = re.search(r'\{([^{}]*)\}', pattern)
    if not match:
        return [pattern]
    return [p for word in match.group(1).split(',')
            for p in expand(pattern[:match.start()] + word + pattern[match.end():])]


def missing(path):
    path, _, symbol = path.partition(':')
    for one in expand(path.rstrip('/.,;')):
        found = glob.glob(str(TREE / one))
        if not found:
            return f'{one} does not exist'
        if symbol and not symbol.isdigit() and not any(symbol in Path(f).read_text() for f in found if Path(f).is_file()):
            return f'{one} does not contain {symbol}'
    return None


def main():
    wrong, looked = [], 0
    for name in tracked('README.md', 'docs/*.md'):
        for number, line in enumerate((TREE / name).read_text().splitlines(), 1):
            for path in QUOTED.findall(line):
                looked += 1
                fault = missing(path)
                if fault:
                    wrong.append(f'{name}:{number}: {fault}')
            for target in LINK.findall(line):
                if '://' in target:
                    continue
                looked += 1
                if not ((TREE / name).parent / target).exists():
                    wrong.append(f'{name}:{number}: the link {target} leads nowhere')
    print('\n'.join(wrong + [f'{looked} paths, {len(wrong)} wrong']))
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
