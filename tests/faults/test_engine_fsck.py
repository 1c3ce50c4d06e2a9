# SPDX-License-Identifier: Apache-2.0
"""`gantryd fsck`: finds nothing after ordinary work, each kind of damage by its name, and after --repair nothing any more but
what only a person can decide; the daemons then start, and what was written is still there."""
import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from harness.client import Client
from harness.engine import Stack
from harness.fsck import settled_faults
from harness.places import IMAGE, IMAGE_TAR

DOCKERFILE = f'FROM {IMAGE}\nRUN --mount=type=cache,target=/cache echo kept > /cache/f && echo built > /made\n'


class World:
    """A stack with a container that has written, a volume, a network, an image that was built, a cache mount."""

    def __init__(self, folder):
        self.stack = Stack(7).start()
        self.root = Path(self.stack.names.root)
        self.client = Client('gantry', self.stack, folder)
        self.client.ok('load', '-q', '-i', IMAGE_TAR)
        self.client.ok('network', 'create', '--subnet', '10.198.77.0/24', 'net')
        self.client.ok('volume', 'create', '--label', 'a=b', 'data')
        self.client.ok('run', '--name', 'box', '--network', 'net', '-v', 'data:/data', IMAGE, 'sh', '-c', 'echo hours > /work; echo days > /data/f')
        self.client.ok('build', '-t', 'made', '-', stdin=DOCKERFILE)
        self.id = self.client.inspect('box', '{{.Id}}')
        # What tidies up after an answer is through: its rest would be a fault, which the next start mends.
        assert settled_faults(self.stack, 120) == []
        self.stop()

    def stop(self):
        self.stack.kill('gantryd', 'gantry-containerd')

    def fsck(self, *flags):
        done = subprocess.run([str(self.stack.binaries / 'gantryd'), 'fsck', *flags, '--root', str(self.root)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120)
        return done.returncode, done.stdout.splitlines(), done.stderr

    def sql(self, *statement, file='engine/engine.db'):
        with contextlib.closing(sqlite3.connect(self.root / file)) as database:
            rows = database.execute(*statement).fetchall()
            database.commit()
            return rows

    def put(self, table, column, key):
        """A row whose record is no record."""
        columns = [c[1] for c in self.sql(f'PRAGMA table_info({table})')]
        self.sql(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(columns))})", [key if c != column else '{"x' for c in columns])

    def forget_containerd(self, statement, *values):
        self.sql(statement, values, file='containerd/meta.db')


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.stack.destroy()


def cache_directory(world):
    return next((world.root / 'engine/build-caches').iterdir())


def cut_events(world):
    log = world.root / 'engine/events.log'
    lines = log.read_text().splitlines()
    lines[1] = lines[1][:20]
    log.write_text('\n'.join(lines) + '\n')


def add_endpoint(world):
    world.sql('INSERT INTO endpoints SELECT ?, id, ? FROM networks LIMIT 1', ('e' * 64, '{"x'))


# What is done, and the words of the faults that come of it.
REPAIRED = {
    'a directory of no container': (lambda w: (w.root / 'containers' / ('d' * 64) / 'deep').mkdir(parents=True), ['directory of container dddd', 'no record names it']),
    'a lost directory': (lambda w: shutil.rmtree(w.root / 'containers' / w.id), ['its directory .* is missing']),
    'a damaged volume': (lambda w: w.put('volumes', 'record', 'other'), ["volume 'other': its record is damaged"]),
    'a volume without files': (lambda w: w.sql('INSERT INTO volumes SELECT ?, replace(record, ?, ?) FROM volumes', ('lost', '"data"', '"lost"')),
                               ["volume 'lost': '.*' is missing"]),
    'a damaged network': (lambda w: w.put('networks', 'record', 'f' * 64), ['network ffff.*: its record is damaged']),
    'a damaged endpoint': (add_endpoint, ['endpoint of container eeee.*: its record is damaged']),
    'a damaged step': (lambda w: w.put('build_steps', 'record', 'c' * 64), ['build step cccc.*: its record is damaged']),
    'a lost cache': (lambda w: shutil.rmtree(cache_directory(w)), ['build step .*: its directory .* is missing']),
    'a cache of nobody': (lambda w: (w.root / 'engine/build-caches/none/x').mkdir(parents=True), ["build-caches/none': no record names it"]),
    'a lost lease': (lambda w: w.forget_containerd("DELETE FROM leases WHERE id LIKE 'gantry-build-%'"), ["build step .*: its layer's lease .* is missing"]),
    'a damaged event': (lambda w: w.put('untold_events', 'event', 'k'), ["event 'k' that was not told: its record is damaged"]),
    'a line that is no event': (cut_events, ["events.log': 1 lines are no events"]),
    'no id': (lambda w: (w.root / 'engine-id').write_text(''), ["engine-id' has no id in it"]),
    'a blob of nobody': (lambda w: (w.root / 'containerd/content/blobs/sha256' / ('a' * 64)).write_text('x'), ['blob sha256:aaaa', 'no record names it']),
}
NAMED = {
    'a file of somebody': (lambda w: (w.root / 'notes').write_text('mine'), ["/notes' is nothing of ours"]),
    'one beside the records': (lambda w: (w.root / 'engine/notes').write_text('mine'), ["/engine/notes' is nothing of ours"]),
    'a directory that is no volume': (lambda w: (w.root / 'volumes/odd').mkdir(), ["volumes/odd' is nothing of ours"]),
    'a damaged container': (lambda w: w.sql('UPDATE containers SET record = substr(record, 1, 30)'), ['container .*: its record is damaged']),
    'two of one name': (lambda w: w.sql('INSERT INTO containers SELECT ?, replace(record, id, ?) FROM containers', ('b' * 64, 'b' * 64)),
                        ["are both called 'box'"]),
    'a lost volume': (lambda w: shutil.rmtree(w.root / 'volumes/data'), ["container 'box': its volume 'data' is missing"]),
    'a lost layer': (lambda w: w.forget_containerd('DELETE FROM snapshots WHERE key = ?', w.id), ["container 'box': its layer, snapshot .*, is missing"]),
    'a lost image': (lambda w: w.forget_containerd('DELETE FROM content WHERE digest = ?', json.loads(w.sql('SELECT record FROM containers')[0][0])['imageId']),
                     ["container 'box': its image sha256:.* is missing"]),
}


def look(world, words):
    assert world.fsck()[0] == 0, world.fsck()
    words[0](world)
    code, lines, error = world.fsck()
    text = '\n'.join(lines)
    assert code == 1 and all(re.search(w, text) for w in words[1]), (text, error)
    assert world.fsck()[:2] == (code, lines), 'looking changes nothing'
    return text


def test_in_order(world):
    code, lines, error = world.fsck()
    assert code == 0 and lines[-1] == '1 containers, 1 volumes, 2 networks: 0 faults, 0 repaired', (lines, error)
    world.stack.start()
    code, lines, error = world.fsck()
    assert code == 1 and lines == [] and 'has it' in error, 'a daemon that lives is not looked at'
    other = subprocess.run([str(world.stack.binaries / 'gantryd'), '--root', str(world.root), '--state', f'{world.stack.names.state}/other',
                            '-H', f'unix://{world.stack.names.state}/other.sock'], capture_output=True, text=True, timeout=60)
    assert other.returncode == 1 and 'engine/lock' in other.stderr and 'has it' in other.stderr, 'two daemons never share a root'
    world.stack.kill('gantryd')
    code, lines, error = world.fsck()
    assert code == 1 and 'has it' in error, 'the container daemon lives'


@pytest.mark.parametrize('what', REPAIRED)
def test_repaired(world, what):
    look(world, REPAIRED[what])
    code, lines, error = world.fsck('--repair')
    assert code == 0 and any(line.startswith('  repaired: ') for line in lines), (lines, error)
    assert world.fsck()[0] == 0
    world.stack.start()
    assert world.client.ok('cp', 'box:/work', '-')
    assert world.client.ok('run', '--rm', '-v', 'data:/data', IMAGE, 'cat', '/data/f') == 'days'
    assert world.client.inspect('data', '{{.Labels}}') == 'map[a:b]'
    world.client.ok('start', '-a', 'box')
    assert 'built' in world.client.ok('run', '--rm', 'made', 'cat', '/made')
    world.client.ok('build', '-t', 'made', '-', stdin=DOCKERFILE)


@pytest.mark.parametrize('what', NAMED)
def test_named(world, what):
    """What only a person can decide is left as it is."""
    before = look(world, NAMED[what])
    code, lines, _ = world.fsck('--repair')
    assert code == 1 and all(re.search(w, '\n'.join(lines)) for w in NAMED[what][1]), (before, lines)
    volume = world.root / 'volumes/data/_data/f'
    assert what == 'a lost volume' or volume.read_text() == 'days\n'
    assert len(world.sql('SELECT id FROM containers')) >= 1


def test_wrong_calls(tmp_path):
    binary = str(Stack(7).binaries / 'gantryd')
    done = subprocess.run([binary, 'fsck', '--root', str(tmp_path / 'none')], capture_output=True, text=True)
    assert done.returncode == 1 and "there is no engine's data" in done.stderr and not (tmp_path / 'none').exists()
    done = subprocess.run([binary, 'fsck', '--fast'], capture_output=True, text=True)
    assert done.returncode == 1 and '--fast' in done.stderr
