#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The static checks of ./dev check, each a line: what it looked at, what is wrong. No root needed."""
import json
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
CHECKS = ['layers', 'tree', 'docs', 'format', 'headers', 'thread_safety']


def run(names):
    results = {}
    for name in names:
        begin = time.monotonic()
        done = subprocess.run([sys.executable, TREE / 'tools' / f'check_{name}.py'], cwd=TREE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        verdict = 'ok' if done.returncode == 0 else 'FAILED'
        results[name] = done.returncode == 0
        text = done.stdout.strip()
        if done.returncode:
            print(text)
        print(f'check {name}: {verdict} ({time.monotonic() - begin:.1f} s) {text.splitlines()[-1] if text else ""}',
              flush=True)
    return results


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith('--')]
    unknown = set(arguments) - set(CHECKS)
    if unknown:
        sys.exit(f'check: no such check {sorted(unknown)}; there are {CHECKS}')
    results = run(arguments or CHECKS)
    for option in sys.argv[1:]:
        if option.startswith('--json='):
            Path(option[7:]).write_text(json.dumps(results))
    sys.exit(not all(results.values()))


if __name__ == '__main__':
    main()
