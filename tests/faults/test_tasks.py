# SPDX-License-Identifier: Apache-2.0
"""Tasks under load and under kill -9, at the container daemon's own API: many at once, many short ones, the
daemon killed at random points, shims killed; no exit code is forgotten, nothing is left, no shim grows.

Samples by default; with GANTRY_SOAK=1 20 rounds of 200 containers, 10,000 tasks, 200 kills, 10,000 execs.
The same on Debian's containerd proves the client (GANTRY_SOAK=1, small)."""
import fcntl
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import places
from harness.containerd import DebianContainerd, GantryContainerd, busybox_root
from harness.engine import until
from harness.grpc import CREATED, Lost, Refused, RUNNING, STOPPED, Tasks, memory, threads
from harness.shim import field

SOAK = places.SOAK
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
OUR_SHIM = str(places.BIN / 'containerd-shim-gantry-v1')
CLIENTS = 8
MB = 1 << 20
# Daemon, its shim by name or path.
DAEMONS = {'gantry': (GantryContainerd, ''), 'our shim under containerd': (DebianContainerd, OUR_SHIM), 'containerd': (DebianContainerd, '')}


@pytest.fixture(scope='module')
def rootfs():
    with tempfile.TemporaryDirectory(prefix='gt-tasks-') as folder:
        yield busybox_root(Path(folder))


class Place:
    """One daemon and what specs need."""

    def __init__(self, kind, rootfs):
        cls, self.runtime = DAEMONS[kind]
        self.kind, self.rootfs, self.space = kind, rootfs, f'tasks-{cls.kind}{os.getpid()}'
        self.daemon = cls(number=15, spaces=[self.space])
        self.mutex = threading.Lock()

    def client(self):
        return Tasks(self.daemon, self.space, self.runtime)

    def spec(self, name, *args):
        process = {'user': {'uid': 0, 'gid': 0}, 'args': list(args), 'cwd': '/', 'env': ['PATH=/bin'], 'noNewPrivileges': True}
        return json.dumps({
            'ociVersion': '1.0.2', 'process': process, 'root': {'path': str(self.rootfs), 'readonly': True},
            'mounts': [{'destination': '/proc', 'type': 'proc', 'source': 'proc'}, {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs'}],
            'linux': {'cgroupsPath': f'/{self.space}/{name}', 'namespaces': [{'type': t} for t in ('pid', 'ipc', 'uts', 'mount')]}})

    def run(self, client, name, *args):
        client.make(name, self.spec(name, *args))
        client.create(name)
        client.start(name)

    def process(self, *args):
        return json.dumps({'user': {'uid': 0, 'gid': 0}, 'args': list(args), 'cwd': '/', 'env': ['PATH=/bin']})

    def restart(self):
        """kill -9 of the daemon and a new one, as an init system does."""
        with self.mutex:
            self.daemon.kill()
            self.daemon.start()


@pytest.fixture(scope='module', params=list(DAEMONS) if SOAK else list(DAEMONS)[:2])
def place(request, rootfs):
    if not request.param == 'gantry' and not os.path.exists('/usr/bin/containerd'):
        pytest.skip("Debian's containerd is not here")
    place = Place(request.param, rootfs)
    try:
        place.daemon.start()
        yield place
    finally:
        left = place.daemon.destroy()
    assert left == []


def in_threads(count, function):
    """Runs function(number) in each thread; returns what was raised."""
    wrong = []

    def body(number):
        try:
            function(number)
        except Exception as error:  # noqa: BLE001: whatever it is, it is the test's failure
            wrong.append(f'{type(error).__name__}: {error}')
    running = [threading.Thread(target=body, args=(n,)) for n in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return wrong


def test_many_at_once(place):
    """200 containers started by 8 clients; each is there, each ends; the memory of the shims is looked at."""
    count, rounds = (200, 20 if place.kind == 'gantry' else 2) if SOAK else (56, 1)
    worst = 0
    for turn in range(rounds):
        def start(number):
            client = place.client()
            for index in range(number, count, CLIENTS):
                place.run(client, f'm{turn}-{index}', 'sleep', '1000')
        assert in_threads(CLIENTS, start) == []
        client = place.client()
        assert all(client.state(f'm{turn}-{index}')[0] == RUNNING for index in range(count))
        shims = place.daemon.shims()
        assert len(shims) == count
        if place.runtime or place.kind == 'gantry':
            assert {threads(pid) for pid in shims} == {1}
            worst = max(worst, sum(map(memory, shims)) / count)
            assert worst < 0.7 * MB, f'{worst / MB:.2f} MB a shim'

        def end(number):
            client = place.client()
            for index in range(number, count, CLIENTS):
                name = f'm{turn}-{index}'
                client.kill(name, signal.SIGKILL)
                assert client.wait(name) == 137
                assert client.delete(name) == 137
                client.remove(name)
        assert in_threads(CLIENTS, end) == []
        assert place.daemon.settled(30) == []
    note(f'{rounds} times {count} containers by {CLIENTS} clients on {place.kind}, at most {worst / MB:.2f} MB PSS a shim')


class Short:
    """Tasks that end with a code of their own, through a daemon that may be killed at any point. What was
    answered must be so; what was cut off is asked for."""

    def __init__(self, place, rng):
        self.place, self.rng, self.client = place, rng, place.client()

    def again(self, call, done):
        """`call` until it was answered; after a lost answer `done()` says whether it happened."""
        deadline = time.monotonic() + 60
        lost = False
        while True:
            assert time.monotonic() < deadline, 'the daemon stays away'
            try:
                if lost and done():
                    return None
                return call()
            except Lost:
                lost = True
                time.sleep(0.01)
            except Refused as refused:
                # The call that was cut off is being done by the shim, and the second one is one too many.
                if not lost:
                    raise
                until(done, 5, str(refused))
                return None

    def there(self, name):
        try:
            return self.client.state(name)[0]
        except Refused:
            return None

    def known(self, name):
        try:
            self.client.call('containers.v1.Containers/Get', field(1, name))
            return True
        except Refused:
            return False

    def run(self, name):
        code = self.rng.randrange(1, 120)
        client = self.client
        spec = self.place.spec(name, 'sh', '-c', f'exit {code}')
        self.again(lambda: client.make(name, spec), lambda: self.known(name))
        self.again(lambda: client.create(name), lambda: self.there(name) is not None)
        self.again(lambda: client.start(name), lambda: self.there(name) in (RUNNING, STOPPED))
        found = self.again(lambda: client.wait(name), lambda: False)
        assert found == code, f'{name}: exit code {found}, not {code}'
        deleted = self.again(lambda: client.delete(name), lambda: self.there(name) is None)
        assert deleted in (None, code)
        self.again(lambda: client.remove(name), lambda: not self.known(name))


def short_tasks(place, prefix, count, seed):
    """Threads are given numbers from a counter, so that none is idle at the end."""
    numbers, mutex = iter(range(count)), threading.Lock()

    def body(worker):
        short = Short(place, random.Random(seed * 100 + worker))
        while True:
            with mutex:
                number = next(numbers, None)
            if number is None:
                return
            short.run(f'{prefix}{number}')
    return in_threads(CLIENTS, body)


def test_short_tasks(place):
    count = (10000 if place.kind == 'gantry' else 300) if SOAK else 200
    begin = time.monotonic()
    assert short_tasks(place, 's', count, 1) == []
    seconds = time.monotonic() - begin
    assert place.daemon.settled(30) == []
    note(f'{count} short tasks by {CLIENTS} clients on {place.kind} in {seconds:.0f} s')


def test_kills_of_the_daemon(place):
    """kill -9 at random points while tasks come and go; some live through all of it."""
    if place.kind != 'gantry':
        pytest.skip('containerd 1.6 refuses a Create for ever when it was killed in the middle of the first')
    kills = 210 if SOAK else 8
    seed = int(os.environ.get('GANTRY_SEED', time.time_ns() % 10**9))
    print(f'GANTRY_SEED={seed}')
    rng = random.Random(seed)
    client = place.client()
    for number in range(5):
        place.run(client, f'old{number}', 'sleep', '100000')
    born = [client.state(f'old{number}') for number in range(5)]
    done, wrong, over = [0], [], threading.Event()

    def work():
        while not over.is_set():
            wrong.extend(short_tasks(place, f'k{done[0]}-', 40, seed + done[0]))
            done[0] += 1
    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(kills):
            time.sleep(rng.random() * 0.5)
            place.restart()
    finally:
        over.set()
        worker.join()
    assert not wrong, '\n'.join(wrong)
    client.close()
    assert [client.state(f'old{number}') for number in range(5)] == born
    for number in range(5):
        client.kill(f'old{number}', 15 if number % 2 else 9)
        if number % 2:
            client.kill(f'old{number}', 9)
        assert client.wait(f'old{number}') == 137
        client.delete(f'old{number}')
        client.remove(f'old{number}')
    assert place.daemon.settled(30) == []
    note(f'{kills} times kill -9 of {place.kind} during {40 * done[0]} short tasks, seed {seed}: every code known, nothing left')


def test_an_exit_while_the_daemon_is_away(place):
    """The shim outlives the daemon, and so does what it knows: code and time."""
    client = place.client()
    place.run(client, 'away', 'sh', '-c', 'sleep 0.5; exit 23')
    pid = client.state('away')[2]
    client.exec('away', 'e1', place.process('sh', '-c', 'exit 24'))
    client.start('away', 'e1')
    assert client.wait('away', 'e1') == 24
    place.daemon.kill()
    until(lambda: not os.path.exists(f'/proc/{pid}'), 10)
    time.sleep(0.2)
    place.daemon.start()
    client.close()
    assert client.state('away')[:2] == (STOPPED, 23)
    assert client.wait('away') == 23
    assert client.wait('away', 'e1') == 24
    assert client.delete_exec('away', 'e1') == 24
    assert client.delete('away') == 23
    client.remove('away')
    assert place.daemon.settled() == []


@pytest.mark.parametrize('daemon', ['alive', 'away'])
def test_a_shim_is_killed(place, daemon):
    """Its container ends with it, is told as ended by signal 9, and the task is gone."""
    client = place.client()
    place.run(client, 'orphan', 'sleep', '1000')
    pid = client.state('orphan')[2]
    shim = int(Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[1])
    assert shim in place.daemon.shims()
    codes = []
    if daemon == 'away':
        place.daemon.kill()
    else:
        def wait():
            try:
                codes.append(place.client().wait('orphan'))
            except Refused:
                codes.append('refused')  # containerd 1.6 has no better answer
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.3)
    os.kill(shim, signal.SIGKILL)
    if daemon == 'away':
        until(lambda: shim not in place.daemon.shims(), 10)
        place.daemon.start()
        client.close()
    else:
        waiter.join(20)
        assert codes == [137 if place.kind == 'gantry' else 'refused']
    until(lambda: Short(place, None).there('orphan') is None, 15, 'the task is still there')
    until(lambda: not os.path.exists(f'/proc/{pid}'), 10, "the container's process lives")
    # The container itself is its client's; a new task can be made of it.
    client.create('orphan')
    client.start('orphan')
    client.kill('orphan', 9)
    assert client.wait('orphan') == 137
    client.delete('orphan')
    client.remove('orphan')
    assert place.daemon.settled() == []


def test_a_created_task_outlives_the_daemon(place):
    client = place.client()
    client.make('gate', place.spec('gate', 'sh', '-c', 'exit 6'))
    client.create('gate')
    place.restart()
    client.close()
    assert client.state('gate')[0] == CREATED
    client.start('gate')
    assert client.wait('gate') == 6
    client.delete('gate')
    client.remove('gate')


def test_a_shim_does_not_grow(place):
    """10,000 execs through one shim: memory and descriptors as after the first hundred."""
    if place.kind == 'containerd':
        pytest.skip('it is about our shim')
    count = 10000 if SOAK and place.kind == 'gantry' else 400
    client = place.client()
    place.run(client, 'execs', 'sleep', '100000')
    pid = client.state('execs')[2]
    shim = int(Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[1])
    process = place.process('true')

    def look():
        return memory(shim), len(os.listdir(f'/proc/{shim}/fd')), sorted(p.name for p in Path(place.daemon.bundles()[0]).rglob('*'))
    for number in range(count):
        client.exec('execs', f'e{number}', process)
        client.start('execs', f'e{number}')
        assert client.wait('execs', f'e{number}') == 0
        client.delete_exec('execs', f'e{number}')
        if number == 99:
            first = look()
    last = look()
    assert last[0] <= first[0] + 64 * 1024, f'{first[0]} bytes grew to {last[0]}'
    assert last[1:] == first[1:]
    client.kill('execs', 9)
    client.wait('execs')
    client.delete('execs')
    client.remove('execs')
    assert place.daemon.settled() == []
    note(f'{count} execs through one shim of {place.kind}: {first[0] / MB:.2f} MB PSS after 100, {last[0] / MB:.2f} MB at the end')


def note(text):
    """Kept for docs/soak.md."""
    print(text)
    if SOAK:
        places.RESULTS.mkdir(parents=True, exist_ok=True)
        with open(places.RESULTS / 'soak-tasks.txt', 'a') as file:
            file.write(text + '\n')


def test_the_lock_of_a_dead_daemon(rootfs):
    """A daemon that is killed while it starts a shim leaves a child that shares its lock until it executes:
    the next daemon waits for it, and not for one that lives."""
    daemon = GantryContainerd(number=16)
    daemon.make_places()
    dead = os.posix_spawn('/bin/true', ['true'], {})
    os.waitpid(dead, 0)
    path = Path(daemon.names.state) / 'c.pid'
    try:
        with open(path, 'w') as held:
            held.write(f'{dead}\n')
            held.flush()
            fcntl.flock(held, fcntl.LOCK_EX)
            timer = threading.Timer(0.4, fcntl.flock, (held, fcntl.LOCK_UN))
            timer.start()
            daemon.start()
            timer.join()
        second = subprocess.run(daemon.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        assert second.returncode == 1 and f'process {daemon.process.pid} has it' in second.stdout
    finally:
        if daemon.process:
            daemon.destroy()
