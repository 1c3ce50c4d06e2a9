# SPDX-License-Identifier: Apache-2.0
"""Requests made from the engine's own description (tools/openapi.py), right and wrong in every part, against one stack: no
answer is a fault of the engine, it never ends, and afterwards it holds no more than before.

The seed is printed; GANTRY_SEED repeats a run. A sample by default, 20,000 requests in a soak."""
import contextlib
import json
import os
import random
import re
import socket
import sys
import urllib.parse
from pathlib import Path

import pytest

from harness import places
from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE, TREE

sys.path.insert(0, str(TREE / 'tools'))
import openapi  # noqa: E402

REQUESTS = 20000 if places.SOAK else 800
# 501: not there; 503: no swarm manager. Anything else from 500 on is a fault.
ANSWERED = {501, 503}
# A registry that can't be found here, as no name can in the stack's network: docker's status for that is 500.
UPSTREAM = re.compile(rb'could not resolve host: [a-z]', re.I)
WORDS = ['', 'a', 'x' * 300, '../../etc/passwd', 'ü\u2028', '%00', '-1', '0', '1', '4294967296', '9' * 30, 'true', 'nosuch', 'a b', '{}', '[]',
         'null', '"', '\\', 'SIGKILL', 'name=x', '1.5', '2026-11-29T00:00:00Z', '10m', 'sha256:' + 'a' * 64]


class Maker:
    def __init__(self, description, seed, known):
        self.random, self.description, self.known = random.Random(seed), description, known
        self.operations = [(method.upper(), path, operation) for path, methods in description['paths'].items() for method, operation in methods.items()]

    def word(self):
        return self.random.choice(WORDS)

    def value(self, schema, depth=0):
        roll = self.random.random()
        if roll < 0.05:
            return self.random.choice([None, True, -1, 2 ** 63, 'x', [], {}, [[]], {'': None}])
        if '$ref' in schema:
            schema = self.description['components']['schemas'][schema['$ref'].rsplit('/', 1)[1]]
        if 'oneOf' in schema:
            schema = self.random.choice(schema['oneOf'])
        kind = schema.get('type')
        if kind == 'object' and depth < 4:
            out = {name: self.value(inner, depth + 1) for name, inner in schema.get('properties', {}).items() if self.random.random() < 0.15}
            if isinstance(schema.get('additionalProperties'), dict):
                out.update({self.word(): self.value(schema['additionalProperties'], depth + 1) for _ in range(self.random.randrange(3))})
            return out
        if kind == 'array':
            return [self.value(schema.get('items', {}), depth + 1) for _ in range(self.random.randrange(3))]
        if kind == 'boolean':
            return self.random.random() < 0.5
        if kind in ('integer', 'number'):
            return self.random.choice([0, 1, -1, 5, 6 << 20, 2 ** 31, 2 ** 63 - 1])
        return self.word()

    def parameter(self, parameter):
        if parameter['name'] == 'filters' and self.random.random() < 0.7:
            keys = parameter['schema'].get('x-filters') or ['label']
            return json.dumps({self.random.choice([*keys, 'nosuch']): self.random.choice([{self.word(): True}, [self.word()], self.word()])})
        value = self.value(parameter['schema'])
        return value if isinstance(value, str) else json.dumps(value)

    def request(self):
        method, path, operation = self.random.choice(self.operations)
        query = []
        for parameter in operation['parameters']:
            if parameter['in'] == 'path':
                name = self.random.choice(self.known) if self.random.random() < 0.5 else self.word() or 'x'
                path = path.replace('{' + parameter['name'] + '}', urllib.parse.quote(name, safe=':/' if self.random.random() < 0.5 else ''))
            elif self.random.random() < 0.4:
                query.append((parameter['name'], self.parameter(parameter)))
        if self.random.random() < 0.5:
            path = f'/v1.{self.random.randrange(22, 58)}' + path
        if query:
            path += '?' + urllib.parse.urlencode(query)
        content = list(operation.get('requestBody', {}).get('content', {}).items())
        body, kind = b'', ''
        if content and self.random.random() < 0.9:
            kind, media = content[0]
            body = json.dumps(self.value(media['schema'])).encode() if kind == 'application/json' else self.random.randbytes(2000)
            if kind == 'application/json' and isinstance(media['schema'].get('$ref'), str) and media['schema']['$ref'].endswith('CreateRequest'):
                value = json.loads(body)
                if isinstance(value, dict):
                    body = json.dumps({'Image': IMAGE, 'Cmd': ['true'], **value}).encode()
            if self.random.random() < 0.05:
                body = body[:-1]
        return method, path.replace('/{*}', '/x'), body, kind


def send(engine, method, path, body, kind):
    """The status; a stream is left after its head, a hijacked connection at once."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(40)
        connection.connect(engine.socket)
        head = f'{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n'
        head += f'Content-Type: {kind}\r\n' if kind else ''
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head.encode() + b'\r\n' + body)
        answer = b''
        while len(answer) < 4096:
            try:
                piece = connection.recv(4096)
            except ConnectionResetError:
                break
            if not piece:
                break
            answer += piece
            if b'\r\n\r\n' in answer and b'Content-Length' not in answer.split(b'\r\n\r\n')[0]:
                break
        return int(answer.split(b' ', 2)[1]) if answer.startswith(b'HTTP/1.') else 0, answer


def held(pid):
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return len(os.listdir(f'/proc/{pid}/fd')), pages * os.sysconf('SC_PAGE_SIZE')


@pytest.fixture
def own(home):
    with own_stack(13, home) as client:
        yield client


def test_every_operation(own):
    engine, seed = own.engine, int(os.environ.get('GANTRY_SEED', random.randrange(1 << 30) if places.SOAK else 1))
    print('seed', seed)
    running = own.ok('run', '-d', IMAGE, 'sleep', '100000')
    made = own.ok('create', IMAGE, 'true')
    maker = Maker(openapi.description(), seed, [running, made, running[:12], IMAGE, 'bridge', 'nosuch'])
    asked = {(method, path) for method, path, _ in maker.operations}
    assert len(asked) > 60
    pid, faults, statuses = engine.pid('gantryd'), [], {}
    before = None
    for number in range(REQUESTS):
        method, path, body, kind = maker.request()
        # What the run itself lives on stays.
        if method == 'DELETE' and (IMAGE in urllib.parse.unquote(path) or running[:12] in path):
            continue
        status, answer = send(engine, method, path, body, kind)
        statuses[status] = statuses.get(status, 0) + 1
        fault = status == 0 or (status >= 500 and status not in ANSWERED and not UPSTREAM.search(answer))
        if fault:
            faults.append((method, path, body[:300], answer[:600]))
        if number == REQUESTS // 4:
            before = held(pid)
    assert engine.pid('gantryd') == pid and engine.process.poll() is None, engine.log_end()
    assert not faults, f'{len(faults)} of {REQUESTS}, seed {seed}: {faults[:5]}'
    assert sum(n for s, n in statuses.items() if s < 400) > REQUESTS // 20, statuses
    for name in own.ok('ps', '-aq').split():
        own('rm', '-f', name)
    until(lambda: held(pid)[0] <= before[0] + 10, 30, f'descriptors: {before[0]} then {held(pid)[0]}')
    assert held(pid)[1] < before[1] + (64 << 20)
