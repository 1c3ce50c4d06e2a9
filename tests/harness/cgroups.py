# SPDX-License-Identifier: Apache-2.0
"""Hierarchies of cgroups version 1 that the host has not mounted, for the time of a test."""
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path('/sys/fs/cgroup')
v1_only = pytest.mark.skipif((TOP / 'cgroup.controllers').exists(), reason='needs cgroup v1')


@contextlib.contextmanager
def hierarchy(controller):
    """Skips the test where the kernel has not got it."""
    place = TOP / controller
    if os.path.ismount(place):
        yield place
        return
    made = not place.exists()
    place.mkdir(exist_ok=True)
    done = subprocess.run(['mount', '-t', 'cgroup', '-o', controller, 'cgroup', str(place)], capture_output=True, text=True)
    try:
        if done.returncode != 0:
            pytest.skip(f'no {controller} hierarchy: {done.stderr}')
        yield place
    finally:
        if done.returncode == 0:
            subprocess.run(['umount', str(place)], check=True)
        if made:
            place.rmdir()
