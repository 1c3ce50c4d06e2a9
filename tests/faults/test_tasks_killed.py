# SPDX-License-Identifier: Apache-2.0
"""kill -9 of gantry-containerd at random points during loads: containers started by 8 clients at once, short tasks, each
with a root of its own, and subscribers of events that subscribe again after each kill. Nothing is lost: no container, no
exit code, for one with a cursor no event. Nothing is left: no process, mount, cgroup, bundle, snapshot, and fsck agrees.

The seed is printed; GANTRY_SEED repeats a run. A sample by default; with GANTRY_SOAK=1 20 rounds of 200 containers and
10,000 tasks, with at least 200 kills."""
import os
import random
import subprocess
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from harness import places
from harness.engine import until
from harness.task_load import CLIENTS, Keen, Place, many_at_once, note, short_tasks
from harness.tasks import Lost, Refused

SOAK = places.SOAK
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
ROUNDS, AT_ONCE, SHORT, KILLS = (20, 200, 10000, 200) if SOAK else (1, 32, 120, 6)
LIVERS = 5
LIFE = ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']


class Killer:
    """Kills the daemon and starts a new one until told to stop, at random points."""

    def __init__(self, place, rng):
        self.place, self.rng, self.kills, self.wrong = place, rng, 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.wait(self.rng.random() ** 2 * 2):
            try:
                self.place.restart()
                self.kills += 1
            except Exception as error:  # noqa: BLE001: the test's failure, and its end
                self.wrong.append(f'start after kill {self.kills}: {error}')
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Subscriber:
    """Follows the tasks' events; subscribes again when it was cut off, with the last cursor where it has any."""

    def __init__(self, place, cursor):
        self.client, self.cursor, self.with_cursor = place.client(), cursor, cursor is not None
        self.topics, self.exits, self.wrong, self.connections = defaultdict(list), defaultdict(list), [], 0
        self.over = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while not self.over.is_set():
            try:
                self.connections += 1
                for envelope, event in self.client.events(self.cursor, *(f'topic=="{topic}"' for topic in LIFE)):
                    self.topics[event.container_id].append(envelope.topic)
                    if envelope.topic == '/tasks/exit':
                        self.exits[event.container_id].append(event.exit_status)
                    if self.with_cursor:
                        self.cursor = envelope.cursor
            except Lost:
                time.sleep(0.02)
            except Refused as refused:
                self.wrong.append(str(refused))
                return


@pytest.fixture
def place():
    place = Place('gantry', '', number=19)
    try:
        place.daemon.start()
        place.use_snapshots()
        yield place
    finally:
        left = place.daemon.destroy()
    assert left == []


def fsck(daemon):
    """What is on disk, without a daemon."""
    daemon.kill()
    done = subprocess.run([places.BIN / 'gantry-containerd', 'fsck', '--root', daemon.root], capture_output=True, text=True)
    daemon.start()
    return done.returncode, done.stdout + done.stderr


def leavings(place):
    """Of a daemon that still runs."""
    snapshots = place.client().snapshots()
    trash = [str(p) for p in (Path(place.daemon.root) / 'trash').glob('*')]
    return place.daemon.left() + [f'snapshot {s}' for s in snapshots if not s.startswith('liver')] + trash


def settled(place):
    try:
        until(lambda: not leavings(place), 30)
    except TimeoutError:
        pass
    return leavings(place)


def test_kills_during_the_loads(place):
    seed = int(os.environ.get('GANTRY_SEED', time.time_ns() % 10**9))
    print(f'GANTRY_SEED={seed}')
    rng = random.Random(seed)
    keen = Keen(place)
    followers = [Subscriber(place, 'oldest') for _ in range(2)]
    watchers = [Subscriber(place, None) for _ in range(2)]
    codes, kills, begin = {}, 0, time.monotonic()

    def under_kills(load, least):
        nonlocal kills
        with Killer(place, rng) as killer:
            more, wrong = load()
            # A load that was over too soon leaves the rest of the kills to an idle daemon.
            while killer.kills < least and not wrong and not killer.wrong:
                time.sleep(0.05)
        kills += killer.kills
        assert wrong + killer.wrong == []
        codes.update(more)

    for turn in range(ROUNDS):
        under_kills(lambda: many_at_once(place, f'm{turn}-', AT_ONCE), KILLS // 3 // ROUNDS)
        assert settled(place) == []
    for number in range(LIVERS):
        keen.make(f'liver{number}', 'sleep', '100000')
    born = [keen.state(f'liver{number}') for number in range(LIVERS)]
    under_kills(lambda: short_tasks(place, 's', SHORT, seed), KILLS * 2 // 3)
    assert [keen.state(f'liver{number}') for number in range(LIVERS)] == born
    for number in range(LIVERS):
        name = f'liver{number}'
        keen.kill(name)
        keen.wait(name, 137)
        keen.remove(name, 137)
        codes[name] = 137
    assert settled(place) == []
    assert len(codes) == ROUNDS * AT_ONCE + SHORT + LIVERS and kills >= KILLS

    for follower in followers:
        until(lambda: len(follower.exits) == len(codes), 30, f'{len(follower.exits)} exits of {len(codes)} arrived: {follower.wrong}')
    for one in followers + watchers:
        one.over.set()
        assert one.wrong == [] and one.connections > 1
    for follower in followers:
        assert {name: [code] for name, code in codes.items()} == follower.exits
        lives = Counter(map(tuple, follower.topics.values()))
        assert lives == {tuple(LIFE): len(codes)}
    for watcher in watchers:
        assert watcher.exits
        assert all(seen == [codes[name]] for name, seen in watcher.exits.items())
    code, text = fsck(place.daemon)
    assert code == 0 and ' 0 faults' in text, text
    note(f'{kills} times kill -9 of gantry-containerd in {time.monotonic() - begin:.0f} s, during {ROUNDS} times {AT_ONCE} containers started and ended '
         f'by {CLIENTS} clients at once and {SHORT} short tasks, seed {seed}: every exit code known, every event of every task once and in order for '
         f'2 subscribers with cursors, fsck without a fault, no process, mount, cgroup, bundle or snapshot left')
