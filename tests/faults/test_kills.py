# SPDX-License-Identifier: Apache-2.0
"""kill -9 of gantryd, gantry-containerd, both, gantry-proxy or a shim at random moments, while
containers print, publish ports, start, stop, are removed and exec'ed, while images load and are
pulled. After each the state is true, now and then databases, directories and kernel are compared
(harness/fsck.py); at the end every line is in the log once, exits are known, nothing leaked.

The seed is printed; GANTRY_SEED repeats a run. A sample by default, at least 100 points in a soak."""
import contextlib
import json
import os
import random
import subprocess
import threading
import time
from urllib.parse import quote

import pytest

from harness import fsck, places
from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE, IMAGE_TAR

POINTS = 120 if places.SOAK else 12
SECONDS = 3000 if places.SOAK else 110
VICTIMS = [('gantryd',), ('gantry-containerd',), ('gantryd', 'gantry-containerd')]
PROXY, SHIM = ('gantry-proxy',), ('shim',)
PRINTER = 'trap "echo end; exit 7" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done'


@pytest.fixture
def own(home):
    with own_stack(11, home) as client:
        yield client


class Work:
    """Threads that keep the stack busy until told to stop. An engine that was just killed may fail any
    request, but a container that a request said to be there must be there."""

    def __init__(self, client, rng):
        self.client, self.over = client, threading.Event()
        self.finished, self.wrong = {}, []
        self.threads = [threading.Thread(target=self.loop, args=(f, random.Random(rng.random())))
                        for f in (self.run_to_exit, self.start_and_stop, self.removed_at_exit, self.load, self.exec)]
        self.calm = threading.Event()
        self.calm.set()
        self.resting = threading.Semaphore(0)

    def loop(self, function, rng):
        number = 0
        while not self.over.is_set():
            number += 1
            if not self.calm.is_set():
                self.resting.release()
                self.calm.wait()
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

    def removed_at_exit(self, number, rng):
        """--rm: gone in the end, whoever was killed meanwhile, and its name is free again."""
        self.client('run', '--rm', '--name', f'rm{number % 3}', '-p', f'{40000 + number % 3}:80', IMAGE, 'sh', '-c', 'echo x', timeout=40)

    @contextlib.contextmanager
    def at_rest(self):
        """Nobody asks the engine anything meanwhile."""
        self.calm.clear()
        for _ in self.threads:
            assert self.resting.acquire(timeout=120), 'a client hangs'
        try:
            yield
        finally:
            self.calm.set()

    def load(self, number, rng):
        self.client('load', '-i', IMAGE_TAR, timeout=40)
        self.client('tag', IMAGE, f'tagged/again:{number}', timeout=40)
        self.client('rmi', f'tagged/again:{number}', timeout=40)

    def exec(self, number, rng):
        done = self.client('exec', 'printer', 'sh', '-c', 'echo in; exit 3', timeout=40)
        assert done.code != 3 or done.text == 'in', done

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


def kill(client, victims, rng):
    """False when there was nobody to kill."""
    if victims != SHIM:
        client.engine.kill(*victims)
        return True
    for ident in filter(lambda n: n.startswith(('ss', 'victim')), client('ps', '--format', '{{.Names}}', timeout=20).out.split()):
        pid = client('inspect', '-f', '{{.State.Pid}}', ident, timeout=20).text
        shim = parent(int(pid or 0))
        if shim:
            with contextlib.suppress(ProcessLookupError):
                os.kill(shim, 9)
                return True
    return False


def parent(pid):
    """The shim above a container's first process."""
    try:
        above = int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1])
        return above if 'containerd-shim-gantry' in os.readlink(f'/proc/{above}/exe') else 0
    except OSError:
        return 0


def test_kills(own):
    seed = int(os.environ.get('GANTRY_SEED', time.time_ns() % 10**9))
    print(f'GANTRY_SEED={seed}')
    rng = random.Random(seed)
    client, engine = own, own.engine
    client.ok('run', '-d', '--name', 'printer', '-p', '40100:80', IMAGE, 'sh', '-c', PRINTER)
    born = client.inspect('printer', '{{.State.Pid}} {{.State.StartedAt}}')
    points, looks, begin = {}, 0, time.monotonic()
    with Work(client, rng) as work:
        while sum(points.values()) < POINTS and time.monotonic() - begin < SECONDS:
            time.sleep(rng.random() * 0.8)
            victims = rng.choice([*VICTIMS, *VICTIMS, PROXY, SHIM])
            if not kill(client, victims, rng):
                continue
            points[victims] = points.get(victims, 0) + 1
            time.sleep(rng.random() * 0.1)
            revive(client)
            assert client.inspect('printer', '{{.State.Pid}} {{.State.StartedAt}}') == born, f'after kill {points} of {victims}'
            if sum(points.values()) % 6 == 0:
                with work.at_rest():
                    looks += 1
                    left = fsck.settled_faults(engine)
                    assert not left, f'after kill {points} of {victims}: {left}'
    revive(client)
    assert work.wrong == []
    assert fsck.settled_faults(engine) == []
    check_printer(client)
    check_exits(client, work.finished)
    check_events(client, work.finished)
    check_nothing_left(client)
    engine.kill('gantryd', 'gantry-containerd')
    own_fsck = subprocess.run([places.BIN / 'gantry-containerd', 'fsck', '--root', f'{engine.names.root}/containerd'], stdout=subprocess.PIPE, text=True)
    assert own_fsck.returncode == 0, own_fsck.stdout
    total = sum(points.values())
    assert total >= (100 if places.SOAK else 8), f'only {total} kills in time'
    places.RESULTS.mkdir(parents=True, exist_ok=True)
    (places.RESULTS / 'soak-kills.txt').write_text(
        f'{total} times kill -9 in {time.monotonic() - begin:.0f} s, seed {seed}: ' +
        ', '.join(f'{n} of {" and ".join(v)}' for v, n in sorted(points.items())) +
        f'; {len(work.finished)} containers exited meanwhile with known code and complete log; databases, files and kernel '
        f'compared {looks + 1} times, no difference')


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


def check_events(client, finished):
    """Each was told to be made, started and ended, once, whoever was killed meanwhile."""
    status, text, _ = client.engine.api('GET', f'/events?since=1&until={time.time():.6f}&filters={quote(json.dumps({"type": ["container"]}))}')
    assert status == 200
    events = [json.loads(line) for line in text.splitlines()]
    told = {}
    for event in events:
        told.setdefault(event['Actor']['ID'], []).append(event['Action'])
    for ident in finished:
        if told.get(ident, [''])[0] == 'create' or len(events) < 10000:  # else the log does not reach back
            assert told[ident] == ['create', 'start', 'die'], (ident, told[ident])


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


def test_what_comes_late(own, tmp_path):
    """What a killed gantryd had asked for, and the container daemon did after the next one had compared everything: a container of one
    that does not run."""
    client, engine = own, own.engine
    ident = client.ok('create', '--name', 'late', IMAGE, 'true')
    spec = tmp_path / 'spec.json'
    spec.write_text(json.dumps({'ociVersion': '1.0.0', 'process': {'cwd': '/', 'args': ['true']}, 'root': {'path': 'rootfs'}}))
    ctr = lambda *words: engine.inside('ctr', '-a', engine.containerd_socket, '-n', 'gantry', 'containers', *words)
    engine.kill('gantryd')
    engine.start()
    ctr('create', '--config', str(spec), ident)
    until(lambda: ident not in ctr('list', '-q').stdout.split(), 30)
    assert client.ok('start', '-a', 'late') == ''
    client.ok('rm', 'late')
    assert [str(t) for t in engine.settled(20)] == []
