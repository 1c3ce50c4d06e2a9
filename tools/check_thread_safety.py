#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang's thread-safety analysis over the folders that run threads; good ones are remembered."""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sources import SRC, TREE, Verdicts, closure_hash, compile_flags, generate_protos, in_parallel  # noqa: E402

FOLDERS = ('base', 'wire', 'client', 'content', 'snapshots', 'registry', 'networks', 'volumes', 'logs', 'images',
           'containerd', 'buildkit', 'engine', 'portproxy', 'cmd/gantryd', 'cmd/gantry-containerd')


def main():
    generate_protos()
    verdicts, todo, count = Verdicts('thread_safety'), [], 0
    for path, words in sorted(compile_flags().items()):
        if not path.is_relative_to(SRC) or not path.is_file():
            continue
        if not str(path.relative_to(SRC)).startswith(tuple(f + '/' for f in FOLDERS)) or path.name.endswith('_test.cc'):
            continue
        count += 1
        key = closure_hash(path, ' '.join(words))
        if not verdicts.good(key):
            todo.append((path, words, key))

    def look(item):
        path, words, key = item
        done = subprocess.run(['clang++-19', '-fsyntax-only', *words, '-O0', '-U_FORTIFY_SOURCE', '-w', '-Wthread-safety',
                               '-Wthread-safety-beta', '-Werror=thread-safety', str(path)],
                              stderr=subprocess.PIPE, text=True, cwd=TREE)
        if done.returncode == 0:
            verdicts.keep(key)
            return None
        return '\n'.join(l for l in done.stderr.splitlines() if 'error' in l) or done.stderr[-300:]

    wrong = [w for w in in_parallel(look, todo) if w]
    print('\n'.join(wrong + [f'{count} files, {len(todo)} looked at, {len(wrong)} wrong']))
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
