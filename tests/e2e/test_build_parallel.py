# SPDX-License-Identifier: Apache-2.0
"""Stages of one build at the same time, by `gantry build` over BuildKit's API; over POST /build they are made one after the other, as
docker's classic builder makes them."""
import os
import re
import signal
import time
import uuid
from pathlib import Path

import pytest

from harness.client import Client
from harness.engine import until
from harness.places import IMAGE


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def write(tmp_path):
    def run(text):
        (tmp_path / 'Dockerfile').write_text(text.replace('@', IMAGE))
        return tmp_path
    return run


@pytest.fixture
def build(client, stack, write):
    def run(text, *flags, environment=None):
        return client('build', *flags, write(text), environment={'BUILDKIT_PROGRESS': 'plain', **(environment or {})})
    yield run
    until(lambda: client.ok('ps', '-aq') == '')
    assert list(Path(stack.names.root, 'engine/builds').glob('*')) == []


def names_of(text):
    return dict(re.findall(r'^#(\d+) (\[.*)$', text, re.M))


# Three stages that meet: each waits until it sees the others' marks in a cache that all share.
MEET = ('RUN --mount=type=cache,target=/m,id={0} touch /m/{1}; i=0; while [ $(ls /m | wc -l) -lt 3 ]; do '
        'i=$((i+1)); [ $i -lt 100 ] || exit 9; sleep 0.1; done; echo {1} >/{1}\n')


def test_independent_stages_run_at_the_same_time(build, client):
    mark = uuid.uuid4().hex
    done = build(''.join(f'FROM @ AS {s}\n' + MEET.format(mark, s) for s in 'abc')
                 + 'FROM @\nCOPY --from=a /a /a\nCOPY --from=b /b /b\nCOPY --from=c /c /c\n', '-t', 'own/meet')
    assert done.code == 0, done.err
    assert client.run('own/meet', 'cat', '/a', '/b', '/c').out == 'a\nb\nc\n'
    # Each step is told whole, whatever else was told between.
    for number, name in names_of(done.err).items():
        assert re.search(rf'^#{number} (DONE \d+\.\ds|CACHED)$', done.err, re.M), (name, done.err)


def test_a_stage_goes_on_until_it_needs_another(build):
    mark = uuid.uuid4().hex
    done = build('FROM @ AS a\n' + MEET.format(mark, 'a') + 'FROM @ AS c\n' + MEET.format(mark, 'c')
                 + 'FROM @\n' + MEET.format(mark, 'b') + 'COPY --from=a /a /a\nRUN --mount=from=c,target=/x cat /a /b /x/c\n')
    assert done.code == 0 and all(re.search(rf'^#\d+ \d\.\d{{3}} {s}$', done.err, re.M) for s in 'abc'), done.err


def test_the_first_failure_stops_the_others(build, client):
    begun = time.monotonic()
    done = build('FROM @ AS a\nRUN sleep 100\nFROM @ AS b\nRUN sleep 1; echo why; exit 3\nFROM @ AS d\nCOPY --from=b /x /x\n'
                 'FROM @\nCOPY --from=a /x /x\nCOPY --from=d /x /x\n', '--no-cache')
    assert time.monotonic() - begun < 20 and done.code == 1
    assert 'ERROR: failed to build: failed to solve: process "/bin/sh -c sleep 1; echo why; exit 3" did not complete ' \
        'successfully: exit code: 3\n' in done.err, done.err
    names = names_of(done.err)
    sleeping = next(number for number, name in names.items() if 'sleep 100' in name)
    assert re.search(rf'^#{sleeping} CANCELED$', done.err, re.M), done.err
    assert done.err.count('------\n > ') == 1 and '> [b 2/2] RUN sleep 1' in done.err
    assert not any('COPY' in name for name in names.values())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_cancel_stops_all(client, write, build, number):
    path = write('FROM @ AS a\nRUN sleep 100\nFROM @ AS b\nRUN sleep 101\nFROM @\nCOPY --from=a / /\nCOPY --from=b / /\n')
    process = client.start('build', '--no-cache', path)
    until(lambda: len(client.ok('ps', '-q').split()) == 2)
    process.send_signal(number)
    assert process.wait(20) == 1
    until(lambda: client.ok('ps', '-aq') == '')


def test_a_killed_client_stops_all(client, write, build):
    path = write('FROM @ AS a\nRUN sleep 100\nFROM @ AS b\nRUN sleep 101\nFROM @\nCOPY --from=a / /\nCOPY --from=b / /\n')
    process = client.start('build', '--no-cache', path)
    until(lambda: len(client.ok('ps', '-q').split()) == 2)
    process.kill()
    process.wait()
    until(lambda: client.ok('ps', '-aq') == '')


def test_the_same_digests_as_one_after_the_other(build, client):
    text = ('ARG V=1\nFROM @ AS a\nRUN echo a >/a\nFROM @ AS b\nARG V\nCOPY Dockerfile /d\nRUN echo b$V >/b\n'
            'FROM a AS c\nWORKDIR /w/x\nFROM b\nENV X=y\nCOPY --from=c /w /w\nCOPY --from=a /a /a\nLABEL l=m\n')
    epoch = ['--build-arg', 'SOURCE_DATE_EPOCH=1700000000', '-q']
    ids = {build(text, *epoch, '--no-cache', environment={'DOCKER_BUILDKIT': way}).text for way in '010101'}
    assert len(ids) == 1 and ids.pop().startswith('sha256:')


def test_a_step_of_two_stages_is_made_once(build, client):
    mark = uuid.uuid4().hex
    step = f'RUN : {mark}; sleep 0.3; cat /proc/sys/kernel/random/uuid >/u\n'
    done = build(f'FROM @ AS a\n{step}FROM @ AS b\n{step}FROM @\nCOPY --from=a /u /a\nCOPY --from=b /u /b\n', '-t', 'own/once')
    assert done.code == 0, done.err
    one, two = client.run('own/once', 'cat', '/a', '/b').out.split()
    assert one == two and done.err.count(' CACHED') >= 1


def test_many_stages(build, client):
    count = 40
    done = build(''.join(f'FROM @ AS s{i}\nRUN echo {i} {os.getpid()} >/f{i}\n' for i in range(count)) + 'FROM @\n'
                 + ''.join(f'COPY --from=s{i} /f{i} /\n' for i in range(count)), '-t', 'own/many')
    assert done.code == 0, done.err[-500:]
    told = client.run('own/many', 'sh', '-c', 'cat /f*').out
    assert sorted(int(line.split()[0]) for line in told.splitlines()) == list(range(count))


def test_more_stages_than_are_made_at_once(build, client):
    """Each needs the one before it, and all of them the first; none waits for one that is not begun."""
    stages = ['FROM @ AS s0\nRUN echo 0 >/n\n']
    stages += [f'FROM scratch AS s{i}\nCOPY --from=s{i - 1} /n /n\nCOPY --from=s0 /n /first{i}\n' for i in range(1, 150)]
    done = build(''.join(stages) + 'FROM @\nCOPY --from=s149 / /all\nRUN ls /all | wc -l >/count\n', '-t', 'stages')
    assert done.code == 0, done.err
    try:
        assert client.run('--network', 'none', 'stages', 'sh', '-c', 'cat /all/n /count').out == '0\n2\n'
    finally:
        client.ok('rmi', 'stages')


def test_a_failure_among_more_stages_than_are_made_at_once(build):
    stages = [f'FROM @ AS s{i}\nRUN [ {i} != 70 ] || exit 7\n' for i in range(100)]
    done = build(''.join(stages) + 'FROM scratch\n' + ''.join(f'COPY --from=s{i} /bin/busybox /b{i}\n' for i in range(100)))
    assert done.code == 1 and 'exit code: 7' in done.err, done.err
