#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stops the daemons of one stack and takes away whatever traces of it are left; used by ./dev down
and by the test harness. Only what can be told to be this stack's is touched (tools/dev/traces.py)."""
import argparse
import contextlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from traces import StackTraces, stop_stack  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--state', required=True)
    parser.add_argument('--root', required=True)
    parser.add_argument('--bridge', required=True)
    given = parser.parse_args()
    traces = StackTraces(state=given.state, root=given.root, bridge=given.bridge)
    stop_stack(traces)
    left = traces.find()
    for trace in left:
        print(f'dev down: still there: {trace}', file=sys.stderr)
    for parent in Path('/sys/fs/cgroup').glob('*/gantry'):
        with contextlib.suppress(OSError):  # another stack's containers are in it
            parent.rmdir()
    state = Path(given.state)
    if not left and state.is_dir():
        for path in sorted(state.rglob('*'), key=lambda p: len(p.parts), reverse=True):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.name != 'dev.lock':
                path.unlink()
    os._exit(bool(left))


if __name__ == '__main__':
    main()
