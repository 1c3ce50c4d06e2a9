# SPDX-License-Identifier: Apache-2.0
"""kill -9 of gantryd, gantry-containerd or both at random moments, while containers print, start,
stop, load; afterwards the state is true, every line is in the log, exits are known, nothing leaked.

The seed is printed; GANTRY_SEED repeats a run. A sample by default, at least 100 points in a soak."""
import contextlib
import json
import os
import random
import threading
import time

import pytest

from harness import places
from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR

POINTS = 120 if places.SOAK else 12
SECONDS = 3000 if places.SOAK else 110
VICTIMS = [('gantryd',), ('gantry-containerd',), ('gantryd', 'gantry-containerd')]
PRINTER = 'trap "echo end; exit 7" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done'


@pytest.fixture
def own(home):
    engine = Stack(number=11)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
    finally:
        engine.destroy()


class Work:
    """Threads that keep the stack busy until told to stop. An engine that was just killed may fail any
    request, but a container that a request said to be there must be there."""

    def __init__(self, client, rng):
        self.client, self.over = client, threading.Event()
        self.finished, self.wrong = {}, []
        self.threads = [threading.Thread(target=self.loop, args=(f, random.Random(rng.random())))
                        for f in (self.run_to_exit, self.start_and_stop, self.load, self.exec)]

    def loop(self, function, rng):
        number = 0
        while not self.over.is_set():
            number += 1
            try:
                function(number, rng)
            except AssertionError as error:
                self.wrong.append(str(error))
            self.over.wait(rng.random() * 0.1)

    def run_to_exit(self, number, rng):
        """A detached run that was answered with an id must exit with just this code."""
        code = rng.randrange(1, 100)
        done = self.client('run', '-d', '--name', f'exit{number}', IMAGE, 'sh', '-c', f'seq 1 50; exit {code}', timeout=40)
        if done.code == 0 and len(done.text) == 64:
            self.finished[done.text] = code

    def start_and_stop(self, number, rng):
        self.client('run', '-d', '--name', f'ss{number}', IMAGE, 'sleep', '1000', timeout=40)
        self.client('stop', '-t', '0', f'ss{number}', timeout=40)
        self.client('rm', '-f', f'ss{number}', timeout=40)

    def load(self, number, rng):
        self.client('load', '-i', IMAGE_TAR, timeout=40)
        self.client('tag', IMAGE, f'tagged/again:{number}', timeout=40)
        self.client('rmi', f'tagged/again:{number}', timeout=40)

    def exec(self, number, rng):
        self.client('exec', 'printer', 'sh', '-c', 'exit 3', timeout=40)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(120)


def revive(client):
    """What an init system does: start gantryd again when it is gone; it starts gantry-containerd."""
    engine = client.engine
    if engine.process.poll() is not None:
        engine.start()
    until(lambda: engine.answers() and engine.pid('gantry-containerd') and client('ps', timeout=20).code == 0, 30, engine.log_end())


def test_kills(own):
    seed = int(os.environ.get('GANTRY_SEED', time.time_ns() % 10**9))
    print(f'GANTRY_SEED={seed}')
    rng = random.Random(seed)
    client, engine = own, own.engine
    client.ok('run', '-d', '--name', 'printer', IMAGE, 'sh', '-c', PRINTER)
    born = client.inspect('printer', '{{.State.Pid}} {{.State.StartedAt}}')
    points, begin = 0, time.monotonic()
    with Work(client, rng) as work:
        while points < POINTS and time.monotonic() - begin < SECONDS:
            time.sleep(rng.random() * 0.8)
            victims = rng.choice(VICTIMS)
            engine.kill(*victims)
            points += 1
            time.sleep(rng.random() * 0.1)
            revive(client)
            assert client.inspect('printer', '{{.State.Pid}} {{.State.StartedAt}}') == born, f'after kill {points} of {victims}'
    revive(client)
    assert work.wrong == []
    places.RESULTS.mkdir(parents=True, exist_ok=True)
    (places.RESULTS / 'soak-kills.txt').write_text(f'{points} kills of gantryd, gantry-containerd or both in {time.monotonic() - begin:.0f} s, seed {seed}, '
                                                   f'{len(work.finished)} containers that exited meanwhile')
    check_printer(client)
    check_exits(client, work.finished)
    check_nothing_left(client)
    assert points >= (100 if places.SOAK else 8), f'only {points} kills in time'


def check_printer(client):
    client.ok('stop', '-t', '10', 'printer')
    assert client.inspect('printer', '{{.State.ExitCode}}') == '7'
    lines = client('logs', 'printer', timeout=120).out.split()
    assert lines[-1] == 'end' and lines[:-1] == [str(n) for n in range(1, len(lines))]


def check_exits(client, finished):
    for ident, code in finished.items():
        until(lambda: client.inspect(ident, '{{.State.Running}}') == 'false', 20)
        found = json.loads(client.ok('inspect', ident))[0]['State']
        assert (found['Status'], found['ExitCode']) == ('exited', code), (ident, found)
        assert found['FinishedAt'] > found['StartedAt'] > '2'
        assert client('logs', ident).out.split() == [str(n) for n in range(1, 51)], ident


def check_nothing_left(client):
    """What inspect says to run runs, and after removal there is no trace."""
    for name in client.ok('ps', '-aq', '--no-trunc').split():
        found = json.loads(client.ok('inspect', name))[0]['State']
        alive = found['Pid'] > 0 and os.path.exists(f'/proc/{found["Pid"]}')
        assert found['Running'] == alive, (name, found)
        client.ok('rm', '-f', name)
    for name in set(client.ok('images', '-q').split()):
        client('rmi', '-f', name)
    assert [str(t) for t in client.engine.settled(30, removed_all=True)] == []


@pytest.mark.parametrize('victims', VICTIMS, ids=['gantryd', 'gantry-containerd', 'both'])
def test_exit_while_nobody_watches(own, victims):
    """The container ends while the daemons are dead; code and time are known afterwards."""
    client, engine = own, own.engine
    name = client.ok('run', '-d', '--name', 'short', IMAGE, 'sh', '-c', 'echo first; sleep 1; echo last; exit 9')
    pid = int(client.inspect(name, '{{.State.Pid}}'))
    engine.kill(*victims)
    until(lambda: not os.path.exists(f'/proc/{pid}'), 10)
    ended = time.time()
    time.sleep(1)
    revive(client)
    until(lambda: client.inspect(name, '{{.State.Status}}') == 'exited', 10)
    assert client.inspect(name, '{{.State.ExitCode}}') == '9'
    assert client.ok('logs', name).split() == ['first', 'last']
    if 'gantry-containerd' in victims and 'gantryd' in victims:
        from datetime import datetime
        finished = datetime.fromisoformat(client.inspect(name, '{{.State.FinishedAt}}')[:26].rstrip('Z') + '+00:00').timestamp()
        assert abs(finished - ended) < 0.7


def test_rm_of_the_daemons_while_following(own):
    """A follower is cut, but the log goes on; a new follower sees all of it."""
    client, engine = own, own.engine
    client.ok('run', '-d', '--name', 'printer', IMAGE, 'sh', '-c', PRINTER)
    follower = client.start('logs', '-f', 'printer')
    assert follower.stdout.readline() == b'1\n'
    engine.kill('gantryd', 'gantry-containerd')
    with contextlib.suppress(Exception):
        follower.communicate(timeout=10)
    revive(client)
    client.ok('stop', '-t', '5', 'printer')
    check_printer_lines(client)


def check_printer_lines(client):
    lines = client('logs', 'printer').out.split()
    assert lines[-1] == 'end' and lines[:-1] == [str(n) for n in range(1, len(lines))]


def test_shim_killed(own):
    """kill -9 of a shim ends its container; the engine says so and nothing is left."""
    client, engine = own, own.engine
    ident = client.ok('run', '-d', '--name', 'victim', IMAGE, 'sleep', '1000')
    shim = int(open(f"/proc/{client.inspect(ident, '{{.State.Pid}}')}/stat").read().rsplit(')', 1)[1].split()[1])
    assert 'containerd-shim-gantry' in os.readlink(f'/proc/{shim}/exe')
    os.kill(shim, 9)
    until(lambda: client.inspect(ident, '{{.State.Status}}') == 'exited', 20)
    assert client.inspect(ident, '{{.State.ExitCode}}') in ('137', '255')
    client.ok('rm', 'victim')
    assert [str(t) for t in engine.settled(20)] == []
