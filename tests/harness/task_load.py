# SPDX-License-Identifier: Apache-2.0
"""Loads of tasks at a container daemon's own API, whose calls may be cut off at any point by a kill of the daemon: what
was answered must be so, what was cut off is asked for."""
import json
import os
import random
import signal
import threading
import time

from . import places
from .containerd import DebianContainerd, GantryContainerd
from .engine import until
from .tasks import RUNNING, STOPPED, Lost, Refused, Tasks

CLIENTS = 8
OUR_SHIM = str(places.BIN / 'containerd-shim-gantry-v1')
# Daemon, its shim by name or path.
DAEMONS = {'gantry': (GantryContainerd, ''), 'our shim under containerd': (DebianContainerd, OUR_SHIM), 'containerd': (DebianContainerd, '')}


class Place:
    """One daemon and what specs need."""

    def __init__(self, kind, rootfs, number=15):
        cls, self.runtime = DAEMONS[kind]
        self.kind, self.rootfs, self.space = kind, rootfs, f'tasks-{cls.kind}{os.getpid()}'
        self.daemon = cls(number=number, spaces=[self.space])
        self.mutex, self.parent = threading.Lock(), ''

    def client(self):
        return Tasks(self.daemon, self.space, self.runtime)

    def spec(self, name, *args):
        process = {'user': {'uid': 0, 'gid': 0}, 'args': list(args), 'cwd': '/', 'env': ['PATH=/bin'], 'noNewPrivileges': True}
        return json.dumps({
            'ociVersion': '1.0.2', 'process': process, 'root': {'path': str(self.rootfs), 'readonly': not self.parent},
            'mounts': [{'destination': '/proc', 'type': 'proc', 'source': 'proc'}, {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs'}],
            'linux': {'cgroupsPath': f'/{self.space}/{name}', 'namespaces': [{'type': t} for t in ('pid', 'ipc', 'uts', 'mount')]}})

    def run(self, client, name, *args):
        client.make(name, self.spec(name, *args))
        client.create(name)
        client.start(name)

    def process(self, *args):
        return json.dumps({'user': {'uid': 0, 'gid': 0}, 'args': list(args), 'cwd': '/', 'env': ['PATH=/bin']})

    def use_snapshots(self):
        """Each container of a Keen gets a root of its own above an image."""
        self.daemon.ok('images', 'import', places.IMAGE_TAR, space=self.space)
        self.parent, self.rootfs = self.client().top_snapshot(), 'rootfs'

    def restart(self):
        """kill -9 of the daemon and a new one, as an init system does."""
        with self.mutex:
            self.daemon.kill()
            self.daemon.start()


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


class Keen:
    """A client that does not give up: a call is made until it was answered, and after a lost answer it is asked whether
    it happened."""

    def __init__(self, place):
        self.place, self.client = place, place.client()

    def again(self, call, done):
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
                self.until(done, str(refused))
                return None

    def until(self, done, message):
        """As `until`, also while the daemon is away."""
        def so():
            try:
                return done()
            except Lost:
                return False
        until(so, 15, message)

    def make(self, name, *args):
        client, place = self.client, self.place
        rootfs, more = (), {}
        if place.parent:
            rootfs = self.again(lambda: client.prepare(name, place.parent), lambda: name in client.snapshots())
            if rootfs is None:
                rootfs = self.again(lambda: client.mounts(name), lambda: False)
            more = {'snapshotter': 'overlayfs', 'snapshot_key': name}
        self.again(lambda: client.make(name, place.spec(name, *args), **more), lambda: client.known(name))
        self.again(lambda: client.create(name, rootfs), lambda: client.status(name) is not None)
        self.again(lambda: client.start(name), lambda: client.status(name) in (RUNNING, STOPPED))

    def wait(self, name, code):
        found = self.again(lambda: self.client.wait(name), lambda: False)
        assert found == code, f'{name}: exit code {found}, not {code}'

    def state(self, name):
        return self.again(lambda: self.client.state(name), lambda: False)

    def kill(self, name):
        self.again(lambda: self.client.kill(name, signal.SIGKILL), lambda: self.client.status(name) == STOPPED)

    def remove(self, name, code):
        client = self.client
        deleted = self.again(lambda: client.delete(name), lambda: client.status(name) is None)
        assert deleted in (None, code), f'{name}: deleted with {deleted}, not {code}'
        self.again(lambda: client.remove(name), lambda: not client.known(name))
        if self.place.parent:
            self.again(lambda: client.remove_snapshot(name), lambda: name not in client.snapshots())


def short_tasks(place, prefix, count, seed):
    """Tasks that end with a code of their own; name to code, and what was wrong. Threads are given numbers from a
    counter, so that none is idle at the end."""
    numbers, mutex, codes = iter(range(count)), threading.Lock(), {}

    def body(worker):
        keen, rng = Keen(place), random.Random(seed * 100 + worker)
        while True:
            with mutex:
                number = next(numbers, None)
            if number is None:
                return
            name, code = f'{prefix}{number}', rng.randrange(1, 120)
            keen.make(name, 'sh', '-c', f'exit {code}')
            keen.wait(name, code)
            keen.remove(name, code)
            codes[name] = code
    return codes, in_threads(CLIENTS, body)


def many_at_once(place, prefix, count, look=lambda: None):
    """Containers that stay, started by all clients, then looked at, then killed by all clients; name to code, and what
    was wrong."""
    names = [f'{prefix}{index}' for index in range(count)]

    def start(number):
        keen = Keen(place)
        for name in names[number::CLIENTS]:
            keen.make(name, 'sleep', '1000')
    wrong = in_threads(CLIENTS, start)
    if wrong:
        return {}, wrong
    keen = Keen(place)
    wrong = [f'{name} does not run' for name in names if keen.state(name)[0] != RUNNING]
    look()

    def end(number):
        keen = Keen(place)
        for name in names[number::CLIENTS]:
            keen.kill(name)
            keen.wait(name, 137)
            keen.remove(name, 137)
    return dict.fromkeys(names, 137), wrong + in_threads(CLIENTS, end)


def note(text):
    """Kept for docs/soak.md."""
    print(text)
    if places.SOAK:
        places.RESULTS.mkdir(parents=True, exist_ok=True)
        with open(places.RESULTS / 'soak-tasks.txt', 'a') as file:
            file.write(text + '\n')
