# SPDX-License-Identifier: Apache-2.0
"""Tasks under load, at the container daemon's own API: many at once, many short ones, daemon and shims killed
between calls; no exit code is forgotten, nothing is left, no shim grows. (test_tasks_killed.py kills during the loads.)

Samples by default; with GANTRY_SOAK=1 20 rounds of 200 containers, 10,000 tasks, 10,000 execs.
The same on Debian's containerd proves the client (GANTRY_SOAK=1, small)."""
import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import places
from harness.containerd import GantryContainerd, busybox_root
from harness.engine import until
from harness.task_load import CLIENTS, DAEMONS, Place, many_at_once, note, short_tasks
from harness.tasks import CREATED, STOPPED, Refused, memory, threads

SOAK = places.SOAK
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
MB = 1 << 20


@pytest.fixture(scope='module')
def rootfs():
    with tempfile.TemporaryDirectory(prefix='gt-tasks-') as folder:
        yield busybox_root(Path(folder))


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


def test_many_at_once(place):
    """200 containers started by 8 clients; each is there, each ends; the memory of the shims is looked at."""
    count, rounds = (200, 20 if place.kind == 'gantry' else 2) if SOAK else (56, 1)
    each = []

    def look():
        shims = place.daemon.shims()
        assert len(shims) == count
        if place.runtime or place.kind == 'gantry':
            assert {threads(pid) for pid in shims} == {1}
            each.append(sum(map(memory, shims)) / count)
            assert each[-1] < 0.7 * MB, f'{each[-1] / MB:.2f} MB a shim'
    for turn in range(rounds):
        assert many_at_once(place, f'm{turn}-', count, look)[1] == []
        assert place.daemon.settled(30) == []
    note(f'{rounds} times {count} containers by {CLIENTS} clients on {place.kind}, at most {max(each, default=0) / MB:.2f} MB PSS a shim')


def test_short_tasks(place):
    count = (10000 if place.kind == 'gantry' else 300) if SOAK else 200
    begin = time.monotonic()
    assert short_tasks(place, 's', count, 1)[1] == []
    seconds = time.monotonic() - begin
    assert place.daemon.settled(30) == []
    note(f'{count} short tasks by {CLIENTS} clients on {place.kind} in {seconds:.0f} s')


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
    until(lambda: client.status('orphan') is None, 15, 'the task is still there')
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


def test_checkpoints_name_criu(place):
    """What isn't there says what is missing."""
    if place.kind != 'gantry':
        pytest.skip('containerd asks criu')
    client = place.client()
    client.make('frozen', place.spec('frozen', 'true'))
    with pytest.raises(Refused, match='UNIMPLEMENTED.*criu'):
        client.call('Tasks/Create', container_id='frozen', checkpoint={'digest': 'sha256:' + '0' * 64})
    client.create('frozen')
    with pytest.raises(Refused, match='UNIMPLEMENTED.*criu'):
        client.call('Tasks/Checkpoint', container_id='frozen')
    client.delete('frozen')
    client.remove('frozen')


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
