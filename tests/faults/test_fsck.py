# SPDX-License-Identifier: Apache-2.0
"""`gantry-containerd fsck`: finds nothing after ordinary work, each kind of damage by its name, and after --repair nothing
any more; what was damaged comes again with the next pull."""
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess

import pytest

from harness import places
from harness.transfers import Containerd
from harness.registry import Layout, Registry, layer_tar


@pytest.fixture(scope='module')
def registry(tmp_path_factory):
    registry, layout = Registry(), Layout(tmp_path_factory.mktemp('fsck') / 'layout')
    noise = random.Random(5)
    layout.image('a', [layer_tar([('one', noise.randbytes(90_000), 0o644, 0)]), layer_tar([('two', noise.randbytes(90_000), 0o644, 0)])])
    registry.put(f'oci:{layout.folder}:a', 'a:1')
    yield registry
    registry.destroy()


@pytest.fixture
def daemon(registry):
    daemon = Containerd().start()
    daemon.image = f'{registry.name}/a:1'
    daemon.client.pull(daemon.image)
    daemon.ctr('snapshots', 'prepare', 'mine', next(k for k, p in daemon.snapshots().items() if (p / 'two').exists()))
    yield daemon
    daemon.destroy()


def fsck(daemon, *flags):
    done = subprocess.run([str(places.BIN / 'gantry-containerd'), 'fsck', *flags, '--root', daemon.names.root], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def execute(daemon, sql):
    with contextlib.closing(sqlite3.connect(daemon.root / 'meta.db')) as database:
        database.execute(sql)
        database.commit()


def layer(daemon):
    return max((daemon.root / 'content/blobs/sha256').iterdir(), key=lambda p: p.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def truncate(path):
    path.chmod(0o600)
    os.truncate(path, 100)


def directory(daemon, name):
    return next(p for k, p in daemon.snapshots().items() if (p / name).exists()).parent


# What is done, the words of the faults that come of it.
DAMAGE = {
    'a bit': (lambda d: flip(layer(d)), ['blob sha256:', 'its digest is sha256:']),
    'a short blob': (lambda d: truncate(layer(d)), ['blob sha256:', 'it has 100 bytes']),
    'a lost blob': (lambda d: layer(d).unlink(), ['blob sha256:', 'its file is missing']),
    'a blob of nobody': (lambda d: (d.root / 'content/blobs/sha256' / ('a' * 64)).write_text('x'), ['blob sha256:aaaa', 'no record names it']),
    'a write of nobody': (lambda d: (d.root / 'content/ingest/xyz').mkdir(), ["write 'xyz'"]),
    'a directory of nobody': (lambda d: (d.root / 'snapshots/overlayfs/999/fs/deep').mkdir(parents=True), ["overlayfs/999'", 'no record names it']),
    'a lost snapshot': (lambda d: (execute(d, "DELETE FROM snapshots WHERE key = 'mine'"), shutil.rmtree(directory(d, 'two'))), ['snapshot ', 'is missing']),
    'a lost base': (lambda d: (execute(d, "DELETE FROM snapshots WHERE key = 'mine'"), shutil.rmtree(directory(d, 'one'))), ['snapshot ', 'is missing']),
    'a lost record': (lambda d: execute(d, "DELETE FROM content WHERE digest LIKE '%' AND size > 50000"), ['no record names it']),
    'all records of content': (lambda d: execute(d, 'DELETE FROM content'), ['no record names it', "image '"]),
    'a task of nobody': (lambda d: (d.root / 'io.containerd.runtime.v2.task/ns/gone').mkdir(parents=True), ["work directory of 'gone'"]),
    'a resource of no lease': (lambda d: execute(d, "INSERT INTO lease_resources VALUES('ns', 'l', 'content', 'x')"), ["lease 'l'", "content 'x'"]),
}


def test_in_order(daemon):
    code, lines, error = fsck(daemon)
    assert code == 1 and lines == [] and f'process {daemon.process.pid} has it' in error, 'a daemon that lives is not looked at'
    daemon.end(signal.SIGKILL)
    assert fsck(daemon) == (0, ['4 blobs, 3 snapshots: 0 faults, 0 repaired'], '')
    daemon.start()
    daemon.ctr('snapshots', 'rm', 'mine')
    daemon.client.remove(daemon.image)
    assert daemon.settled() == []
    daemon.end()
    assert fsck(daemon)[:2] == (0, ['0 blobs, 0 snapshots: 0 faults, 0 repaired'])


@pytest.mark.parametrize('what', DAMAGE)
def test_damage(daemon, what):
    damage, words = DAMAGE[what]
    daemon.end(signal.SIGKILL)
    assert fsck(daemon)[0] == 0
    damage(daemon)
    code, lines, _ = fsck(daemon)
    text = '\n'.join(lines)
    import re
    assert code == 1 and all(re.search(w, text) for w in words), text
    assert fsck(daemon)[:2] == (code, lines), 'looking changes nothing'
    if what == 'a bit':
        assert fsck(daemon, '--quick')[0] == 0, 'digests are what --quick leaves out'
    code, lines, error = fsck(daemon, '--repair')
    text = '\n'.join(lines)
    assert code == 0 and '  repaired: ' in text, (lines, error)
    assert fsck(daemon)[0] == 0
    daemon.start()
    daemon.client.pull(daemon.image)
    assert daemon.damaged() == [] and {'one', 'two'} <= {f.name for p in daemon.snapshots().values() for f in p.iterdir()}
    daemon.end()
    assert fsck(daemon)[0] == 0


def test_what_was_written_is_never_removed(daemon):
    mine = daemon.snapshots()['mine']
    (mine / 'work').write_text('hours')
    daemon.end()
    shutil.rmtree(directory(daemon, 'two'))
    code, lines, _ = fsck(daemon, '--repair')
    assert code == 1 and any("snapshot 'mine' of overlayfs" in line and 'its parent' in line for line in lines), lines
    assert (mine / 'work').read_text() == 'hours'


def test_what_only_a_person_can_decide(daemon):
    daemon.end()
    (daemon.root / 'notes').write_text('mine')
    code, lines, _ = fsck(daemon, '--repair')
    assert code == 1 and lines[0].endswith("/notes' is nothing of ours") and lines[-1].endswith('1 faults, 0 repaired')
    assert (daemon.root / 'notes').read_text() == 'mine'


def test_wrong_calls(tmp_path):
    binary = str(places.BIN / 'gantry-containerd')
    done = subprocess.run([binary, 'fsck', '--root', str(tmp_path / 'none')], capture_output=True, text=True)
    assert done.returncode == 1 and 'there is no meta.db' in done.stderr and not (tmp_path / 'none').exists()
    done = subprocess.run([binary, 'fsck', '--fast'], capture_output=True, text=True)
    assert done.returncode == 2 and "'--fast'" in done.stderr
