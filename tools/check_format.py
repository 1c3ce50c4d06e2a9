#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-format on every source file; good ones are remembered by hash."""
import hashlib
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sources import TREE, Verdicts, tracked  # noqa: E402


def main():
    verdicts = Verdicts('format')
    salt = (TREE / '.clang-format').read_bytes()
    keys = {n: hashlib.sha256(salt + (TREE / n).read_bytes()).hexdigest()
            for n in tracked('src/*.h', 'src/*.cc', 'tests/*.cc', 'tests/*.h', 'bench/*.cc')}
    todo = [n for n, k in keys.items() if not verdicts.good(k)]
    wrong = set()
    for begin in range(0, len(todo), 50):
        batch = todo[begin:begin + 50]
        done = subprocess.run(['clang-format-19', '--dry-run', '--ferror-limit=1', *batch], cwd=TREE,
                              stderr=subprocess.PIPE, text=True)
        wrong |= {line.split(':')[0] for line in done.stderr.splitlines() if 'clang-format' in line}
    for name in todo:
        if name not in wrong:
            verdicts.keep(keys[name])
    for name in sorted(wrong):
        print(f'{name}: clang-format-19 -i {name}')
    print(f'{len(keys)} files, {len(todo)} looked at, {len(wrong)} wrong')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
