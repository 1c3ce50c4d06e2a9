# SPDX-License-Identifier: Apache-2.0
"""What an engine's processes are and what they hold, for the rows about memory."""
import contextlib
import os
from pathlib import Path

from harness.engine import Stack


def pss_kb(pid):
    for line in open(f'/proc/{pid}/smaps_rollup'):
        if line.startswith('Pss:'):
            return int(line.split()[1])
    return 0


def peak_kb(pid):
    return next(int(line.split()[1]) for line in open(f'/proc/{pid}/status') if line.startswith('VmHWM:'))


def children(top):
    parents = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(name)] = int(open(f'/proc/{name}/stat').read().rsplit(')', 1)[1].split()[1])
    return [p for p, parent in parents.items() if parent == top]


def daemons(engine):
    if isinstance(engine, Stack):
        return [p for p in (engine.pid(d) for d in ('gantryd', 'gantry-containerd', 'gantry-proxy')) if p]
    pid = int(Path(f'{engine.names.state}/docker.pid').read_text())
    return [pid, *children(pid)]
