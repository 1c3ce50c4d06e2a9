#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header of src/ compiles by itself; good ones are remembered by the hash of all they include. One
that its own .cc includes before all else is looked at there, where check_thread_safety.py compiles it."""
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from check_thread_safety import FOLDERS  # noqa: E402
from sources import (SRC, TREE, Verdicts, closure_hash, compile_flags, generate_protos,  # noqa: E402
                     in_parallel, tracked)


def leads_its_source(path):
    source = path.with_suffix('.cc')
    if not str(path.relative_to(SRC)).startswith(tuple(f + '/' for f in FOLDERS)):
        return False
    first = source.is_file() and re.search(r'^#include (.*)$', source.read_text(), re.M)
    return bool(first) and first.group(1) == f'"{path.relative_to(SRC)}"'


def main():
    generate_protos()
    flags = compile_flags()
    by_folder = {}
    for path, words in flags.items():
        by_folder.setdefault(path.parent, words)
    verdicts, todo, count = Verdicts('headers'), [], 0
    for name in tracked('src/*.h'):
        path, count = TREE / name, count + 1
        if leads_its_source(path):
            continue
        words = by_folder.get(path.parent) or ['-std=c++20', f'-I{SRC}']
        key = closure_hash(path, ' '.join(words))
        if not verdicts.good(key):
            todo.append((path, words, key))

    def look(item):
        path, words, key = item
        # clang reads a header as such (no "pragma once in main file" warning) and is twice as fast as g++ here.
        done = subprocess.run(['clang++-19', '-fsyntax-only', *words, '-O0', '-U_FORTIFY_SOURCE', '-w', '-x', 'c++-header', str(path)],
                              stderr=subprocess.PIPE, text=True, cwd=TREE)
        if done.returncode == 0:
            verdicts.keep(key)
            return None
        first = next((l for l in done.stderr.splitlines() if 'error' in l), done.stderr[:200])
        return f'{path.relative_to(TREE)} does not compile alone: {first}'

    wrong = [w for w in in_parallel(look, todo) if w]
    print('\n'.join(wrong + [f'{count} headers, {len(todo)} looked at, {len(wrong)} wrong']))
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
