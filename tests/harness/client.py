# SPDX-License-Identifier: Apache-2.0
"""Command lines that drive an engine: our `gantry`, Debian's docker, another docker of the machine."""
import contextlib
import dataclasses
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

from . import places
from .engine import Stack, until


def programs():
    found = {'gantry': str(places.BIN / 'gantry'), 'docker': '/usr/bin/docker'}
    other = shutil.which('docker', path='/usr/local/bin')
    if other:
        found['docker-new'] = other
    return found


@dataclasses.dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def text(self):
        return self.out.strip()


class Client:
    def __init__(self, name, engine, home):
        self.name, self.engine = name, engine
        self.command = [programs()[name], '-H', engine.host]
        self.environment = {'PATH': os.environ['PATH'], 'HOME': str(home), 'DOCKER_CONFIG': str(home), 'TERM': 'xterm',
                            'DOCKER_CLI_HINTS': 'false'}

    def __call__(self, *arguments, stdin=None, timeout=60, environment=None):
        """Runs to its end; text or bytes in, text out."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        process = self.start(*arguments, stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL, environment=environment)
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f'{arguments} did not end in {timeout} s; out {out[-500:]!r} err {err[-500:]!r}') from None
        return Done(process.returncode, out.decode(errors='replace'), err.decode(errors='replace'))

    def ok(self, *arguments, **options):
        """Must succeed; returns the stripped output."""
        done = self(*arguments, **options)
        assert done.code == 0, f'{self.name} {" ".join(map(str, arguments))}: {done.code}: {done.err.strip()} {done.text[-300:]}'
        return done.text

    def start(self, *arguments, stdin=subprocess.DEVNULL, environment=None):
        return subprocess.Popen([*self.command, *map(str, arguments)], stdin=stdin, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env={**self.environment, **(environment or {})})

    def run(self, *arguments, **options):
        return self('run', '--rm', *arguments, **options)

    def inspect(self, name, template):
        return self.ok('inspect', '-f', template, name)

    def terminal(self, *arguments):
        return Terminal([*self.command, *map(str, arguments)], self.environment)


class Terminal:
    """A program on a pseudo-terminal; every wait is bounded."""

    def __init__(self, command, environment, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.seen = ''
        self.resize(rows, columns)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                        start_new_session=True, preexec_fn=lambda: control(0))
        os.close(slave)

    def resize(self, rows, columns):
        import fcntl
        import struct
        import termios
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def send(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, seconds=15):
        deadline = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            left = deadline - time.monotonic()
            if left <= 0 or not self.read(left):
                raise AssertionError(f'{pattern!r} did not come; seen {self.seen[-500:]!r}')

    def read(self, seconds):
        if not select.select([self.master], [], [], max(0, seconds))[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data.decode(errors='replace')
        return bool(data)

    def wait(self, seconds=15):
        def ended():
            self.read(0)
            return self.process.poll() is not None
        try:
            until(ended, seconds)
        except TimeoutError:
            raise AssertionError(f'did not end; seen {self.seen[-500:]!r}') from None
        while self.read(0):
            pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)


def control(descriptor):
    import fcntl
    import termios
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def own_stack(number, home):
    """A client of a stack that is nobody else's, with the image in it."""
    engine = Stack(number=number)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', places.IMAGE_TAR)
        yield client
    finally:
        engine.destroy()
