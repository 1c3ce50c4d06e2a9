# SPDX-License-Identifier: Apache-2.0
"""Containers through the Engine API alone: what a test of one field of a create request needs."""
import contextlib
import json
import urllib.parse

from .places import IMAGE


class Created:
    """A container made from a body; gone when the block ends."""

    def __init__(self, engine, body, query='', version='v1.41'):
        self.engine, self.version = engine, version
        status, text, _ = engine.api('POST', f'/{version}/containers/create{query}', body=json.dumps(body))
        self.status = status
        self.answer = json.loads(text) if text.strip() else {}
        self.id = self.answer.get('Id', '')

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.id:
            self.engine.api('DELETE', f'/containers/{self.id}?force=1&v=1')

    @property
    def message(self):
        return self.answer.get('message', '')

    @property
    def warnings(self):
        return self.answer.get('Warnings')

    def post(self, path, body=None):
        status, text, _ = self.engine.api('POST', f'/{self.version}/containers/{self.id}/{path}',
                                          body=None if body is None else json.dumps(body))
        return status, json.loads(text) if text.strip().startswith(b'{') else text.decode()

    def inspect(self):
        return json.loads(self.engine.api('GET', f'/{self.version}/containers/{self.id}/json')[1])

    def start(self):
        status, answer = self.post('start')
        assert status == 204, answer
        return self

    def wait(self):
        return self.post('wait')[1]['StatusCode']

    def output(self):
        text = self.engine.api('GET', f'/containers/{self.id}/logs?stdout=1&stderr=1')[1]
        if self.inspect()['Config']['Tty']:
            return text.decode()
        out = b''
        while text:
            size = int.from_bytes(text[4:8], 'big')
            out += text[8:8 + size]
            text = text[8 + size:]
        return out.decode()

    def run(self):
        """Starts it, waits for its end: (exit code, what it wrote)."""
        self.start()
        return self.wait(), self.output()


def create(engine, host=None, query='', version='v1.41', **config):
    body = {'Image': IMAGE, 'Cmd': ['true'], **config}
    if host is not None:
        body['HostConfig'] = host
    return Created(engine, body, query, version)


def shell(engine, script, host=None, **config):
    """What a script in a new container writes; it must succeed."""
    with create(engine, host, Cmd=['sh', '-c', script], **config) as container:
        assert container.status == 201, container.message
        code, out = container.run()
        assert code == 0, (code, out)
        return out.strip()


@contextlib.contextmanager
def running(engine, host=None, query='', **config):
    config.setdefault('Cmd', ['sleep', '100'])
    with create(engine, host, query, **config) as container:
        assert container.status == 201, container.message
        yield container.start()


def quote(text):
    return urllib.parse.quote(text, safe='')
