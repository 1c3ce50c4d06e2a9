# SPDX-License-Identifier: Apache-2.0
"""Where things are: the tree, its binaries, and names that are private to this test run."""
import os
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get('GANTRY_BIN', TREE / 'build/release/bin'))
IMAGE_TAR = TREE / 'build/release/share/gantry-busybox.tar'
IMAGE = 'gantry/busybox:latest'
SOAK = bool(os.environ.get('GANTRY_SOAK'))
RESULTS = TREE / 'build/results'
# Folders, with ':' between, that have containerd, ctr and containerd-shim-runc-v2 of versions newer than Debian's.
NEWER_CONTAINERDS = [Path(folder) for folder in os.environ.get('GANTRY_CONTAINERDS', '').split(':') if folder]

sys.path.insert(0, str(TREE / 'tools/dev'))
sys.dont_write_bytecode = True


class Names:
    """Paths and names of one private stack. They are short: a unix socket's path has 107 bytes."""

    def __init__(self, kind, number=0):
        # A letter each: two numbers with the same one would take each other's daemons away.
        assert 0 <= number < 26, number
        letter = chr(97 + number)
        self.token = f'{kind}{os.getpid()}{letter}'
        self.state = f'/run/gt-{self.token}'
        self.root = f'/var/lib/gt-{self.token}'
        self.bridge = f'gt{os.getpid() % 100000}{kind[0]}{letter}'
        self.cgroup_parent = f'/gt-{self.token}'
        self.netns_name = f'gt-{self.token}'
        self.netns = f'/run/netns/{self.netns_name}'
