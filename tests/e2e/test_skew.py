# SPDX-License-Identifier: Apache-2.0
"""An upgrade: what the previous release left on disk and running, under today's daemons.

`./dev soak skew [COMMIT]` builds that release's programs and names their folder in GANTRY_PREVIOUS_BIN; without it
only the stores are tried, which the test writes itself as that release did."""
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from harness import places
from harness.client import Client
from harness.containerd import GantryContainerd
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR
from harness.shim import field

PREVIOUS = os.environ.get('GANTRY_PREVIOUS_BIN')
needs_previous = pytest.mark.skipif(not PREVIOUS, reason="GANTRY_PREVIOUS_BIN names no folder with the previous release's programs")

# The container daemon's store as its first release made it (src/containerd/records.cc, kSchema1).
SCHEMA_1 = '''
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE namespaces(name TEXT PRIMARY KEY, labels TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE containers(ns TEXT NOT NULL, id TEXT NOT NULL, snapshotter TEXT NOT NULL, snapshot_key TEXT NOT NULL,
  record BLOB NOT NULL, PRIMARY KEY(ns, id)) STRICT;
CREATE TABLE images(ns TEXT NOT NULL, name TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY(ns, name)) STRICT;
CREATE TABLE content(ns TEXT NOT NULL, digest TEXT NOT NULL, size INT NOT NULL, labels TEXT NOT NULL,
  created_at INT NOT NULL, updated_at INT NOT NULL, PRIMARY KEY(ns, digest)) STRICT;
CREATE INDEX content_by_digest ON content(digest);
CREATE TABLE snapshots(snapshotter TEXT NOT NULL, ns TEXT NOT NULL, key TEXT NOT NULL, parent TEXT NOT NULL,
  kind INT NOT NULL, number INT NOT NULL, labels TEXT NOT NULL, created_at INT NOT NULL, updated_at INT NOT NULL,
  bytes INT NOT NULL, inodes INT NOT NULL, PRIMARY KEY(snapshotter, ns, key), UNIQUE(snapshotter, number)) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots(snapshotter, ns, parent);
CREATE TABLE leases(ns TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, created_at INT NOT NULL, PRIMARY KEY(ns, id)) STRICT;
CREATE TABLE lease_resources(ns TEXT NOT NULL, lease TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
  PRIMARY KEY(ns, lease, type, id)) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
'''


@pytest.fixture
def daemon():
    daemon = GantryContainerd(number=17, spaces=['skew'])
    daemon.make_places()
    try:
        yield daemon
    finally:
        left = daemon.destroy() if daemon.process else []
        subprocess.run(['ip', 'netns', 'del', daemon.names.netns_name], stderr=subprocess.DEVNULL)
        subprocess.run(['rm', '-rf', daemon.names.state, daemon.names.root, daemon.log], check=True)
    assert left == []


def store(daemon):
    folder = Path(daemon.names.root) / 'containerd'
    folder.mkdir(mode=0o700, exist_ok=True)
    return sqlite3.connect(folder / 'meta.db')


def version(daemon):
    database = store(daemon)
    try:
        return database.execute('PRAGMA user_version').fetchone()[0]
    finally:
        database.close()


def test_a_store_of_the_first_schema_goes_on(daemon):
    database = store(daemon)
    database.executescript(SCHEMA_1)
    now = time.time_ns()
    digest = 'sha256:' + 'a' * 64
    image = field(1, 'docker.io/old/image:1') + field(3, field(1, 'application/vnd.oci.image.manifest.v1+json') + field(2, digest) + field(3, 42))
    container = field(1, 'old') + field(2, field(1, 'kept') + field(2, 'label')) + field(4, field(1, 'io.containerd.runc.v2')) + \
        field(5, field(1, 'types.containerd.io/opencontainers/runtime-spec/1/Spec') + field(2, '{}'))
    database.execute("INSERT INTO settings VALUES('uuid', '01234567-89ab-4cde-8f01-23456789abcd')")
    database.execute("INSERT INTO namespaces VALUES('skew', '{\"team\":\"old\"}')")
    database.execute("INSERT INTO images VALUES('skew', 'docker.io/old/image:1', ?)", (image,))
    database.execute("INSERT INTO containers VALUES('skew', 'old', '', '', ?)", (container,))
    database.execute("INSERT INTO leases VALUES('skew', 'lease', '{\"a\":\"b\"}', ?)", (now,))
    database.commit()
    database.close()
    daemon.start()
    ok = lambda *a: daemon.ok(*a, space='skew')
    assert ok('images', 'ls', '-q') == 'docker.io/old/image:1'
    assert ok('containers', 'ls', '-q') == 'old'
    assert '"kept": "label"' in ok('containers', 'info', 'old')
    assert ok('leases', 'ls', '-q') == 'lease'
    assert 'team=old' in ok('namespaces', 'ls')
    assert '01234567-89ab-4cde-8f01-23456789abcd' in ok('version')
    # It works on, and a second start finds nothing to do.
    ok('images', 'import', IMAGE_TAR)
    assert ok('run', '--rm', f'docker.io/{IMAGE}', 's1', 'echo', 'on') == 'on'
    daemon.kill()
    today = version(daemon)
    assert today >= 1
    daemon.start()
    assert version(daemon) == today
    assert 'docker.io/old/image:1' in ok('images', 'ls', '-q')


def test_a_store_of_a_later_schema_is_refused_and_left_alone(daemon):
    daemon.start()
    daemon.stop()
    database = store(daemon)
    database.execute('PRAGMA user_version = 99')
    database.execute("CREATE TABLE later(a TEXT)")
    database.commit()
    database.close()
    with pytest.raises(RuntimeError, match='schema 99 was written by a newer version'):
        daemon.start()
    database = store(daemon)
    assert database.execute('PRAGMA user_version').fetchone()[0] == 99
    assert database.execute("SELECT count(*) FROM later").fetchone()[0] == 0
    database.execute('DROP TABLE later')
    database.close()
    daemon.process = None


@needs_previous
def test_tasks_of_the_previous_release(daemon):
    """Its shims go on with its runtime; today's daemon finds them, runs processes in them, knows their ends."""
    daemon.binaries = Path(PREVIOUS)
    daemon.start()
    ok = lambda *a: daemon.ok(*a, space='skew')
    image = f'docker.io/{IMAGE}'
    ok('images', 'import', IMAGE_TAR)
    ok('run', '-d', image, 'alive', 'sleep', '100000')
    ok('run', '-d', image, 'ends', 'sh', '-c', 'sleep 1; exit 8')
    ok('run', '-d', image, 'paused', 'sleep', '100000')
    ok('t', 'exec', '-d', '--exec-id', 'old', 'alive', 'sleep', '100000')
    ok('t', 'pause', 'paused')
    before = ok('t', 'ls')
    daemon.kill()
    time.sleep(1.2)
    daemon.binaries = places.BIN
    daemon.start()
    rows = {line.split()[0]: line.split()[1:] for line in ok('t', 'ls').splitlines()[1:]}
    assert {name: row[1] for name, row in rows.items()} == {'alive': 'RUNNING', 'ends': 'STOPPED', 'paused': 'PAUSED'}
    assert rows['alive'][0] in before and 'old' in ok('t', 'ps', 'alive')
    assert ok('t', 'exec', '--exec-id', 'new', 'alive', 'echo', 'inside') == 'inside'
    assert daemon.ctr('t', 'exec', '--exec-id', 'new2', 'alive', 'sh', '-c', 'exit 5', space='skew').returncode == 5
    ok('t', 'metrics', 'alive')
    ok('t', 'resume', 'paused')
    ended = daemon.ctr('t', 'rm', 'ends', space='skew')
    assert 'exit code 8' in ended.stderr or ended.returncode == 8, ended
    for name in ('alive', 'paused'):
        ok('t', 'kill', '-s', '9', name)
        until(lambda: f'{name} ' not in ok('t', 'ls') or 'STOPPED' in next(l for l in ok('t', 'ls').splitlines() if l.startswith(name)), 10)
        daemon.ctr('t', 'rm', name, space='skew')
    for name in ('alive', 'ends', 'paused'):
        ok('c', 'rm', name)
    assert ok('run', '--rm', image, 'today', 'echo', 'new shim') == 'new shim'
    assert daemon.settled() == []


@needs_previous
def test_an_engine_of_the_previous_release(home):
    """The whole stack: containers, logs and restart policies live through the upgrade."""
    engine = Stack(number=18)
    engine.binaries = Path(PREVIOUS)
    try:
        engine.start()
        old = Client('gantry', engine, home)
        old.ok('load', '-i', IMAGE_TAR)
        alive = old.ok('run', '-d', '--name', 'alive', '-p', '40900:80', IMAGE, 'sh', '-c', 'echo before; sleep 100000')
        old.ok('run', '-d', '--name', 'ends', IMAGE, 'sh', '-c', 'sleep 1; echo last; exit 8')
        old.ok('create', '--name', 'made', IMAGE, 'echo', 'never before')
        pid = old.inspect('alive', '{{.State.Pid}}')
        engine.kill('gantryd', 'gantry-containerd')
        time.sleep(1.2)
        engine.binaries = places.BIN
        engine.start()
        client = Client('gantry', engine, home)
        assert client.inspect('alive', '{{.Id}} {{.State.Pid}}') == f'{alive} {pid}'
        until(lambda: client.inspect('ends', '{{.State.Status}}') == 'exited', 10)
        assert client.inspect('ends', '{{.State.ExitCode}}') == '8'
        assert client.ok('logs', 'ends') == 'last' and client.ok('logs', 'alive') == 'before'
        assert client.ok('exec', 'alive', 'echo', 'inside') == 'inside'
        assert client.ok('start', '-a', 'made') == 'never before'
        client.ok('restart', '-t', '0', 'alive')
        assert client.inspect('alive', '{{.State.Running}}') == 'true'
        for name in ('alive', 'ends', 'made'):
            client.ok('rm', '-f', name)
        assert [str(t) for t in engine.settled(20)] == []
    finally:
        engine.destroy()
