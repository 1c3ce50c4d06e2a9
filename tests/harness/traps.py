# SPDX-License-Identifier: Apache-2.0
"""Waits until a process takes or ignores a signal: the first process of a container gets none before."""
import signal as signals

from .engine import until


def takes(pid, signal):
    """Whether it has a handler for that signal, or ignores it (proc(5), SigCgt and SigIgn)."""
    for line in open(f'/proc/{pid}/status'):
        name, _, value = line.partition(':')
        if name in ('SigCgt', 'SigIgn') and int(value, 16) >> (signal - 1) & 1:
            return True
    return False


def until_takes(pid, signal=signals.SIGTERM):
    until(lambda: takes(pid, signal))
