# SPDX-License-Identifier: Apache-2.0
"""Paths of a root file system are exchanged (renameat2) with links to a tree of the host while containers are made of it:
whatever the runtime resolves, makes, mounts or masks stays inside. Neither the tree nor the host's mounts change.

A round is a container; each has many exchanges. A sample by default, 20,000 rounds in a soak, bounded in time."""
import ctypes
import hashlib
import os
import signal
import time

import pytest

from harness import places
from harness.bare import Bare

ROUNDS = 20000 if places.SOAK else 400
SECONDS = 1800 if places.SOAK else 40
RENAME_EXCHANGE = 2
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def bare():
    made = Bare()
    yield made
    made.destroy()


def canary_of(bare):
    """What a runtime that leaves the root would change: empty places for mounts, files and directories to be made."""
    canary = bare.folder / 'canary'
    for name in ('target', 'target/inner', 'dev', 'proc', 'sys', 'work', 'work/deep', 'mask'):
        (canary / name).mkdir(parents=True)
    (canary / 'secret').write_text('secret\n')
    (canary / 'target/file').write_text('file\n')
    (canary / 'mask/file').write_text('masked\n')
    return canary


def digest(folder):
    """Names, types, owners, modes, times and contents; and that nothing is mounted there."""
    total = hashlib.sha256()
    for path in sorted([folder, *folder.rglob('*')]):
        info = path.lstat()
        total.update(repr((str(path), info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_nlink, info.st_dev)).encode())
        if path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()


PAIRS = [('a', 'target'), ('dev', 'dev'), ('proc', 'proc'), ('sys', 'sys'), ('w', 'work'), ('m', 'mask'), ('f', 'secret'), ('tmp/x', 'target/inner')]


def prepare(bare, canary):
    """Each of the pairs: the path in the root, and beside it NAME.link to the canary's; both are exchanged all the time."""
    pairs = []
    for name, goal in PAIRS:
        path, link = bare.root / name, bare.root / (name + '.link')
        if name == 'f':
            path.write_text('mine\n')
        else:
            path.mkdir(parents=True, exist_ok=True)
        if name == 'a':
            (path / 'inner').mkdir()
        if name == 'm':
            (path / 'file').write_text('x\n')
        link.symlink_to(canary / goal)
        pairs.append((str(path).encode(), str(link).encode()))
    return pairs


def race(pairs, counter):
    """In a process of its own, until it is ended: exchanges all pairs and counts how often."""
    number = 0
    while True:
        for left, right in pairs:
            if libc.renameat2(-100, left, -100, right, RENAME_EXCHANGE) < 0:
                os._exit(3)
        number += len(pairs)
        os.pwrite(counter, number.to_bytes(8, 'little'), 0)


def configs(bare):
    """Each uses the exchanged paths in other ways."""
    host = bare.folder / 'host'
    host.mkdir()
    (host / 'given').write_text('given\n')
    mounts = [{'destination': '/a/inner', 'type': 'tmpfs', 'source': 'tmpfs'}, {'destination': '/a/made/deep', 'type': 'tmpfs', 'source': 'tmpfs'},
              {'destination': '/a/bound', 'type': 'bind', 'source': str(host), 'options': ['rbind', 'ro']},
              {'destination': '/a/file', 'type': 'bind', 'source': str(host / 'given'), 'options': ['bind']},
              {'destination': '/tmp/x/y', 'type': 'bind', 'source': str(host), 'options': ['bind']}]
    made = []
    for index in range(6):
        config = bare.config()
        # Nothing that costs time and has no path.
        config['linux'].pop('resources')
        config.pop('hostname')
        config['linux']['namespaces'] = [{'type': 'pid'}, {'type': 'mount'}]
        config['mounts'] = [m for m in config['mounts'] if m['destination'] != '/sys/fs/cgroup']
        made.append(config)
    made[0]['mounts'] += mounts
    made[1]['process']['cwd'] = '/w/deep/made'
    made[2]['linux']['maskedPaths'] += ['/m', '/m/file', '/f']
    made[2]['linux']['readonlyPaths'] += ['/a', '/a/inner']
    made[3]['linux']['devices'] = [{'path': '/a/null', 'type': 'c', 'major': 1, 'minor': 3}, {'path': '/w/fifo', 'type': 'p', 'major': 0, 'minor': 0}]
    # The image's own /dev, with links and nodes made in it.
    made[4]['mounts'] = [m for m in made[4]['mounts'] if not m['destination'].startswith('/dev')]
    made[5]['mounts'] = mounts[:2] + made[5]['mounts']
    made[5]['linux']['rootfsPropagation'] = 'rslave'
    return made


def test_racer(bare, capsys):
    canary = canary_of(bare)
    pairs, before = prepare(bare, canary), digest(canary)
    counter = os.open(bare.folder / 'counter', os.O_RDWR | os.O_CREAT)
    racer = os.fork()
    if racer == 0:
        race(pairs, counter)
    bare.others.add(str(racer))
    deadline, outcomes, rounds = time.monotonic() + SECONDS, {}, 0
    try:
        made = configs(bare)
        while rounds < ROUNDS and time.monotonic() < deadline:
            name = bare.name()
            bare.write(made[rounds % len(made)])
            made[rounds % len(made)]['linux'].pop('cgroupsPath')
            done = bare.call('run', name)
            kind = 'ran' if done.returncode == 0 else 'refused'
            assert done.returncode in (0, 1) and (kind == 'ran' or done.stderr.count('\n') == 1), done.stderr
            outcomes[kind] = outcomes.get(kind, 0) + 1
            rounds += 1
            if rounds % 100 == 0:
                assert digest(canary) == before, f'after {rounds} rounds'
                assert bare.left() == []
        assert os.waitpid(racer, os.WNOHANG) == (0, 0), 'the racer has ended'
    finally:
        os.kill(racer, signal.SIGKILL)
        os.waitpid(racer, 0)
        exchanges = int.from_bytes(os.pread(counter, 8, 0), 'little')
        os.close(counter)
    with capsys.disabled():
        print(f'\nracer: {rounds} rounds, {exchanges} exchanges, {outcomes}')
    assert digest(canary) == before
    assert bare.left() == [] and exchanges > rounds and outcomes.get('ran', 0) > 0
