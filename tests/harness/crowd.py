# SPDX-License-Identifier: Apache-2.0
"""Many containers and many clients on one engine, gantry's or the peer's: for tests and bench/many.py."""
import json
import threading
import time

from . import places
from .places import IMAGE

# Ends at once on the first signal: stop then measures the engine, not the program.
SLEEPER = {'Image': IMAGE, 'Cmd': ['sleep', '1000000'], 'StopSignal': 'SIGKILL'}


def in_threads(count, clients, work):
    """Calls work(number) for each number by so many threads; seconds for all, and what was raised."""
    numbers, mutex, wrong = iter(range(count)), threading.Lock(), []

    def body():
        while True:
            with mutex:
                number = next(numbers, None)
            if number is None or wrong:
                return
            try:
                work(number)
            except Exception as error:  # noqa: BLE001: whatever it is, it is the caller's failure
                wrong.append(f'{type(error).__name__}: {error}')
    threads = [threading.Thread(target=body) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin, wrong


def answered(engine, wanted, method, path, body=None):
    status, text, _ = engine.api(method, path, body if body is None else json.dumps(body), timeout=120)
    assert status == wanted, f'{method} {path}: {status} {text[:300]}'
    return text


class Crowd:
    """`count` containers, through the API by some clients at once; each step gives milliseconds a container."""

    def __init__(self, engine, count, prefix='crowd', clients=4):
        self.engine, self.count, self.prefix, self.clients = engine, count, prefix, clients
        self.ids = [None] * count

    def each(self, work):
        seconds, wrong = in_threads(self.count, self.clients, work)
        assert wrong == [], wrong
        return seconds / self.count * 1000

    def create(self, body=SLEEPER):
        def one(number):
            text = answered(self.engine, 201, 'POST', f'/containers/create?name={self.prefix}-{number}', body)
            self.ids[number] = json.loads(text)['Id']
        return self.each(one)

    def start(self):
        return self.each(lambda n: answered(self.engine, 204, 'POST', f'/containers/{self.ids[n]}/start'))

    def inspect(self):
        return self.each(lambda n: answered(self.engine, 200, 'GET', f'/containers/{self.ids[n]}/json'))

    def stop(self):
        return self.each(lambda n: answered(self.engine, 204, 'POST', f'/containers/{self.ids[n]}/stop'))

    def remove(self):
        return self.each(lambda n: answered(self.engine, 204, 'DELETE', f'/containers/{self.ids[n]}?force=1'))

    def states(self):
        """What must not change while only the daemon is restarted: by id, the pid and the start's time."""
        out = {}
        for ident in self.ids:
            state = json.loads(answered(self.engine, 200, 'GET', f'/containers/{ident}/json'))['State']
            out[ident] = (state['Status'], state['Pid'], state['StartedAt'])
        return out


def listed(engine, query=''):
    return json.loads(answered(engine, 200, 'GET', f'/containers/json{query}'))


def runs_at_once(client, clients, seconds):
    """So many clients do `run --rm` for so long; how many runs a second, and what went wrong."""
    deadline, mutex, done, wrong = time.monotonic() + seconds, threading.Lock(), [0], []

    def body(worker):
        number = 0
        while time.monotonic() < deadline and not wrong:
            word = f'w{worker}-{number}'
            number += 1
            try:
                ran = client('run', '--rm', IMAGE, 'echo', word, timeout=120)
                fault = None if ran.code == 0 and ran.text == word else f'{word}: {ran.code} {ran.text!r} {ran.err.strip()!r}'
            except AssertionError as error:
                fault = str(error)
            with mutex:
                if fault:
                    wrong.append(fault)
                else:
                    done[0] += 1
    threads = [threading.Thread(target=body, args=(worker,)) for worker in range(clients)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done[0] / (time.monotonic() - begin), wrong


def note(text):
    """Kept for docs/soak.md."""
    print(text)
    if places.SOAK:
        places.RESULTS.mkdir(parents=True, exist_ok=True)
        with open(places.RESULTS / 'soak-load.txt', 'a') as file:
            file.write(text + '\n')
