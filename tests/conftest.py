# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all suites: `stack` and `peer` are private engines, `client` is a command line on one.

GANTRY_E2E chooses the pairs program:engine that `client` goes through, for example
GANTRY_E2E=docker:peer proves the compatibility tests on the peer."""
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import places  # noqa: E402
from harness.client import Client, programs  # noqa: E402
from harness.engine import Peer, Stack, until  # noqa: E402


def pairs():
    given = os.environ.get('GANTRY_E2E')
    if given:
        return given.split(',')
    found = ['gantry:gantry', 'docker:gantry']
    if places.SOAK:
        found += ['docker:peer', 'gantry:peer']
        found += ['docker-new:gantry'] if 'docker-new' in programs() else []
    return found


def pytest_generate_tests(metafunc):
    if 'pair' in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker('only')
        chosen = [p for p in pairs() if not marked or p.split(':')[1] == marked.args[0]]
        if metafunc.definition.get_closest_marker('engine_alone') and not places.SOAK:
            chosen = chosen[:1]
        metafunc.parametrize('pair', chosen, scope='session')


def pytest_configure(config):
    config.addinivalue_line('markers', 'engine_alone: about the engine; outside a soak one program is enough')
    config.addinivalue_line('markers', 'only(engine): the peer has no such behaviour')


@pytest.fixture(scope='session')
def home():
    folder = tempfile.mkdtemp(prefix='gt-home-')
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope='session')
def stack(home):
    """The run's own gantry. At the end everything is removed, then nothing of it may be left."""
    engine = Stack()
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', places.IMAGE_TAR)
        yield engine
        assert not_leaking(engine, client) == []
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == [], 'left after the daemons were stopped'


@pytest.fixture
def builder(stack, home):
    """BuildKit's API of the run's own gantry. At the end the last step's container is gone, which is removed beside the answer."""
    from harness.buildkit import BuildKit  # needs gRPC, which the lab machine hasn't
    made = BuildKit(stack.socket)
    yield made
    made.close()
    client = Client('gantry', stack, home)
    until(lambda: client.ok('ps', '-aq') == '')


def not_leaking(engine, client):
    for name in client.ok('ps', '-aq').split():
        client('rm', '-f', name)
    for name in set(client.ok('images', '-q').split()):
        client('rmi', '-f', name)
    client('builder', 'prune', '-af')
    return [str(t) for t in engine.settled(removed_all=True)]


@pytest.fixture(scope='session')
def peer():
    engine = Peer()
    try:
        engine.start()
        engine.load_image()
        yield engine
    finally:
        engine.destroy()


def engines():
    chosen = {pair.split(':')[1] for pair in os.environ.get('GANTRY_E2E', '').split(',') if pair}
    return sorted(chosen) or (['gantry', 'peer'] if places.SOAK else ['gantry'])


@pytest.fixture(params=engines())
def engine(request):
    """The engine alone, for tests that speak the API by themselves."""
    return request.getfixturevalue({'gantry': 'stack', 'peer': 'peer'}[request.param])


@pytest.fixture
def no_other_images(request):
    for name in {'engine', 'stack'} & set(request.fixturenames):
        request.getfixturevalue(name).forget_other_images()


@pytest.fixture(scope='session')
def client(pair, request, home):
    program, kind = pair.split(':')
    engine = request.getfixturevalue({'gantry': 'stack', 'peer': 'peer'}[kind])
    return Client(program, engine, home)


@pytest.fixture
def names(client):
    """Names for containers that are removed after the test."""
    given = []

    class Giver:
        def __call__(self, hint='c'):
            given.append(f't{os.getpid()}-{hint}{len(given)}')
            return given[-1]
    yield Giver()
    if given:
        client('rm', '-f', *given)


@pytest.fixture(autouse=True)
def no_container_left(request):
    """Every test takes its containers away; the leak is found where it was made."""
    yield
    if 'client' in request.fixturenames and 'names' not in request.fixturenames:
        engine = request.getfixturevalue('client')
        left = engine('ps', '-aq').text
        if left:
            engine('rm', '-f', *left.split())
        assert left == '', f'containers left: {left}'
