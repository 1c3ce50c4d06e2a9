# SPDX-License-Identifier: Apache-2.0
"""Many containers on one engine: their life, and a gantryd that is stopped or killed under them, which touches none of
them, while clients that connect again lose no line and no event. 500 in a soak, a sample else."""
import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from harness import places
from harness.client import own_stack
from harness.crowd import Crowd, listed, note
from harness.engine import UnixConnection, until
from harness.places import IMAGE

COUNT = 500 if places.SOAK else 40
RESTARTS = 10 if places.SOAK else 2
COUNTER = ['sh', '-c', 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done']


@pytest.fixture
def own(home):
    with own_stack(14, home) as client:
        yield client


@pytest.fixture
def crowd(own):
    crowd = Crowd(own.engine, COUNT)
    crowd.create()
    crowd.start()
    return crowd


def p50(engine, path, requests=200):
    connection, values = UnixConnection(engine.socket), []
    with contextlib.closing(connection):
        for _ in range(requests):
            begin = time.perf_counter()
            connection.request('GET', path)
            answer = connection.getresponse()
            answer.read()
            values.append(time.perf_counter() - begin)
    return sorted(values)[requests // 2]


def test_their_life(own):
    engine, crowd = own.engine, Crowd(own.engine, COUNT)
    taken = {'create': crowd.create()}
    assert listed(engine) == [] and {c['State'] for c in listed(engine, '?all=1')} == {'created'}
    taken['start'] = crowd.start()
    found = {c['Id']: c for c in listed(engine)}
    assert set(found) == set(crowd.ids) and {c['State'] for c in found.values()} == {'running'}
    addresses = [c['NetworkSettings']['Networks']['bridge']['IPAddress'] for c in found.values()]
    assert len(set(addresses)) == COUNT and all(addresses)
    median = p50(engine, '/containers/json')
    taken['inspect'] = crowd.inspect()
    taken['stop'] = crowd.stop()
    assert listed(engine) == [] and {c['State'] for c in listed(engine, '?all=1')} == {'exited'}
    taken['remove'] = crowd.remove()
    assert listed(engine, '?all=1') == []
    assert [str(t) for t in engine.settled(60)] == []
    note(f'{COUNT} containers by four clients, milliseconds each: ' + ', '.join(f'{verb} {ms:.1f}' for verb, ms in taken.items()) +
         f'; the list of all of them, p50: {median * 1000:.2f} ms')


def test_what_the_list_says_is_always_new(own):
    """Its rows are kept as text: what changes in a container, its networks or its name is in the next list."""
    engine = own.engine

    def row(version=''):
        found = json.loads(engine.api('GET', f'{version}/containers/json?all=1')[1])
        return next(c for c in found if c['Image'] == IMAGE)
    own.ok('create', '--name', 'first', '--label', 'Status=x', IMAGE, 'sleep', '1000')
    assert (row()['State'], row()['Status'], row()['Names'], row()['Labels']) == ('created', 'Created', ['/first'], {'Status': 'x'})
    assert list(row()) == [*list(row())[:9], 'Status', 'Health', 'HostConfig', 'NetworkSettings', 'Mounts']
    assert 'DNSNames' in row('/v1.44')['NetworkSettings']['Networks']['bridge']
    assert 'DNSNames' not in row('/v1.43')['NetworkSettings']['Networks']['bridge']
    own.ok('start', 'first')
    assert row()['Status'].startswith('Up ') and row()['NetworkSettings']['Networks']['bridge']['IPAddress']
    until(lambda: row()['Status'] == 'Up 1 second', 10)
    own.ok('rename', 'first', 'second')
    assert row()['Names'] == ['/second']
    own.ok('network', 'create', 'other')
    own.ok('network', 'connect', 'other', 'second')
    joined = row()['NetworkSettings']['Networks']
    assert set(joined) == {'bridge', 'other'} and joined['other']['IPAddress']
    own.ok('network', 'disconnect', 'bridge', 'second')
    assert set(row()['NetworkSettings']['Networks']) == {'other'}
    own.ok('pause', 'second')
    assert row()['State'] == 'paused' and row()['Status'].endswith('(Paused)')
    own.ok('rm', '-f', 'second')
    own.ok('network', 'rm', 'other')
    assert json.loads(engine.api('GET', '/containers/json?all=1')[1]) == []


def test_their_directories_are_spread(own):
    """On ext4 what is made for one container lies anywhere, not where all that was deleted for others lay (src/kernel/spread.h)."""
    own.ok('run', '-d', '--name', 'spread', IMAGE, 'sleep', '1000')
    names = own.engine.names
    ident = own.inspect('spread', '{{.Id}}')
    parents = [f'{names.root}/containers', f'{names.root}/containerd/snapshots/overlayfs',
               *(path.parent for top in (names.root, names.state) for path in Path(top).glob(f'containerd/io.containerd.runtime.v2.task/*/{ident}')),
               *(path.parent for path in Path(names.state).glob(f'runtime/*/{ident}'))]
    assert len(parents) == 5
    for parent in parents:
        kind = subprocess.run(['stat', '-f', '-c', '%T', parent], capture_output=True, text=True, check=True).stdout.strip()
        said = subprocess.run(['lsattr', '-d', parent], capture_output=True, text=True).stdout
        assert kind != 'ext2/ext3' or 'T' in said.split()[0], (parent, said)
    own.ok('rm', '-f', 'spread')


class Reader(threading.Thread):
    """Reads a stream of lines for as long as it is told to, connecting again whenever it is cut off."""

    def __init__(self, engine):
        super().__init__()
        self.engine, self.over, self.connections, self.wrong = engine, threading.Event(), 0, None
        self.start()

    def run(self):
        try:
            while not self.over.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.read_once()
        except Exception as error:  # noqa: BLE001: the test's failure
            self.wrong = error

    def read_once(self):
        connection = UnixConnection(self.engine.socket, 1)
        with contextlib.closing(connection):
            connection.request('GET', self.path())
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            self.connections += 1
            while not self.over.is_set():
                line = answer.readline()
                if not line:
                    return
                self.take(line)

    def end(self):
        self.over.set()
        self.join(30)
        assert self.wrong is None, self.wrong


class LogReader(Reader):
    """As a careful client does: it asks from the last time it has seen on, and drops what it has."""

    def __init__(self, engine, container):
        self.container, self.last, self.numbers, self.seen = container, '0', [], set()
        super().__init__(engine)

    def path(self):
        return f'/containers/{self.container}/logs?stdout=1&follow=1&timestamps=1&since={self.last}'

    def take(self, line):
        stamp, _, number = line[8:].decode().strip().partition(' ')
        if number in self.seen:
            return
        self.seen.add(number)
        self.numbers.append(int(number))
        self.last = stamp


class EventReader(Reader):
    def __init__(self, engine):
        self.since, self.events = f'{time.time():.9f}', []
        super().__init__(engine)

    def path(self):
        return '/events?' + urllib.parse.urlencode({'since': self.since, 'filters': json.dumps({'type': ['container']})})

    def take(self, line):
        event = json.loads(line)
        if self.events and event['timeNano'] <= self.events[-1]['timeNano']:
            return
        self.events.append(event)
        nanos = event['timeNano']
        self.since = f'{nanos // 10**9}.{nanos % 10**9:09}'


def shims(states):
    """The parent of each container's first process."""
    return {pid: open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1] for _, pid, _ in states.values()}


@pytest.mark.parametrize('how', ['stop', 'kill'])
def test_a_restart_touches_none_of_them(own, crowd, how):
    engine = own.engine
    own.ok('run', '-d', '--name', 'counter', IMAGE, *COUNTER)
    logs, events = LogReader(engine, 'counter'), EventReader(engine)
    until(lambda: len(logs.numbers) > 10)
    before, times, mortal = crowd.states(), [], 0
    parents = shims(before)
    for turn in range(RESTARTS):
        # These end while nobody is there to see it.
        doomed = [own.ok('run', '-d', IMAGE, 'sleep', '1000000') for _ in range(3)]
        pids = [json.loads(engine.api('GET', f'/containers/{ident}/json')[1])['State']['Pid'] for ident in doomed]
        mortal += len(doomed)
        engine.stop() if how == 'stop' else engine.kill('gantryd')
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        begin = time.perf_counter()
        engine.start()
        assert len(listed(engine)) == COUNT + 1
        times.append(time.perf_counter() - begin)
    assert crowd.states() == before and shims(before) == parents
    count = len(logs.numbers)
    until(lambda: len(logs.numbers) > count + 50)
    until(lambda: sum(e['Action'] == 'die' for e in events.events) >= mortal)
    logs.end()
    events.end()
    assert logs.connections > RESTARTS and events.connections > RESTARTS
    assert logs.numbers == list(range(len(logs.numbers))), 'a line is missing or twice'
    seen = [(e['Actor']['ID'], e['Action']) for e in events.events]
    assert len(seen) == len(set(seen)), 'an event was told twice'
    for action in ('create', 'start', 'die'):
        assert sum(a == action for _, a in seen) == mortal, action
    note(f'gantryd ready again after {how} with {COUNT} running: {min(times):.2f} to {max(times):.2f} s in {RESTARTS} restarts; '
         f'{len(logs.numbers)} lines and {len(seen)} events read without a gap by {logs.connections} and {events.connections} connections')
    if places.SOAK:
        assert sorted(times)[len(times) // 2] < 2, times
