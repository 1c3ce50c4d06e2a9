# SPDX-License-Identifier: Apache-2.0
"""The engine's disk budget (docs/garbage-collection.md): what goes and why, that it goes, and a race with builds and runs."""
import contextlib
import json
import threading

import pytest

from harness import places
from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE
from harness.registry import free_port
from traces import end

MEGA = 1000000


@pytest.fixture
def own(tmp_path, request):
    """A client of a own of its own; images that were just used may go."""
    engine = Stack(number=25, arguments=['--disk-budget-keep', '0', *getattr(request, 'param', ())])
    try:
        engine.start()
        client = Client('gantry', engine, tmp_path)
        client.ok('load', '-i', places.IMAGE_TAR)
        yield client
    finally:
        engine.destroy()


def make(client, folder, *names):
    """Images of 4 MB each, that share the base, one after the other."""
    (folder / 'Dockerfile').write_text(f'FROM {IMAGE}\nARG name\nRUN head -c 2000000 /dev/urandom >/$name')
    for name in names:
        client.ok('build', '-q', '-t', name, '--build-arg', f'name={name}', folder, timeout=120)
    client.ok('builder', 'prune', '-af')


def plan(client, budget=None, method='GET'):
    status, text, _ = client.engine.api(method, '/system/budget' + ('' if budget is None else f'?bytes={budget}'))
    assert status == 200, text
    return json.loads(text)


def going(plan):
    return [one['Name'] for one in plan['Decisions'] if one['Goes']]


def reasons(plan):
    return {one['Name']: one['Reason'] for one in plan['Decisions']}


def images(client):
    return set(client.ok('images', '--format', '{{.Repository}}').split())


def test_what_goes_and_why(own, tmp_path):
    done = own('system', 'prune', '--explain')
    assert done.code == 1 and 'no disk budget is configured' in done.err
    make(own, tmp_path, 'one', 'two', 'three')
    own.ok('run', '--rm', 'one', 'true')  # the one that was used last
    own.ok('create', '--name', 'holder', 'two')
    # The base, which is the oldest, frees nothing until the others are gone.
    order = ['three:latest', 'one:latest', f'{IMAGE}']
    until(lambda: going(plan(own, 1)) == order, 30)  # a use is noted when the container is gone for good
    now = plan(own, 1)
    assert 'container holder has it' == reasons(now)['two:latest']
    assert now['Used'] > 3 * 4 * MEGA and now['Used'] - now['After'] == sum(one['Freed'] for one in now['Decisions'] if one['Goes']) > 2 * 4 * MEGA
    # One is enough: the least recently used.
    some = plan(own, now['Used'] - 1)
    assert going(some) == ['three:latest'] and 'there is room' in reasons(some)['one:latest']
    assert going(plan(own, now['Used'])) == []
    text = own.ok('system', 'prune', '--explain', '--budget', '1')
    assert 'three:latest' in text and 'container holder has it' in text and "It can't be kept" in text
    assert images(own) == {'one', 'two', 'three', 'gantry/busybox'}  # nothing was done so far
    for wrong in (['--budget', 'x'], ['--budget', '1', '-a'], ['--explain', '--volumes']):
        assert own('system', 'prune', '-f', *wrong).code != 0
    assert own.engine.api('GET', '/system/budget?bytes=-1')[0] == 400
    own.ok('system', 'prune', '-f', '--budget', str(now['Used'] - 1))
    assert images(own) == {'one', 'two', 'gantry/busybox'}
    after = plan(own, now['Used'])
    assert abs(after['Used'] - some['After']) < 8192
    # The order outlives the engine.
    own.ok('rm', 'holder')
    own.engine.restart()
    assert going(plan(own, 1))[:2] == ['one:latest', 'two:latest']


def test_the_build_cache_goes_too(own, tmp_path):
    (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN head -c 2000000 /dev/urandom >/own')
    own.ok('build', '-q', '-t', 'built', tmp_path, timeout=120)
    all_of_it = plan(own, 1)
    kinds = {one['Type'] for one in all_of_it['Decisions']}
    assert kinds == {'image', 'build-cache'} and all(one['Goes'] for one in all_of_it['Decisions']) and all_of_it['After'] == 0
    plan(own, 1, 'POST')
    assert images(own) == set() and plan(own, 1)['Used'] == 0
    until(lambda: own.engine.settled(removed_all=True, seconds=1) == [], 30)


@pytest.mark.parametrize('own', [['--disk-budget', '14MB']], indirect=True)
def test_the_engine_keeps_its_budget(own, tmp_path):
    make(own, tmp_path, 'one')
    own.ok('create', '--name', 'holder', 'one')
    make(own, tmp_path, 'two', 'three')
    make(own, tmp_path, 'four')
    until(lambda: 'two' not in images(own) and 'four' in images(own) and 'one' in images(own), 30)
    assert plan(own)['Used'] <= 14 << 20 and plan(own)['Budget'] == 14 << 20


def test_builds_and_runs_race_with_it(own, tmp_path):
    """All that is not needed at the moment goes, over and over; who needs an image has it or gets it again."""
    name = f'127.0.0.1:{free_port()}'
    registry = own.engine.spawn([str(places.BIN / 'gantry'), 'registry', 'serve', '--address', name, str(tmp_path / 'registry')])
    over, failures, rounds = threading.Event(), [], [0, 0]

    def prune():
        while not over.is_set():
            plan(own, 1, 'POST')
            rounds[0] += 1

    def gone(done):
        # Pulled and removed again before anybody said that it is needed, which a budget of nothing may do.
        return done.code != 0 and 'No such image' in done.err

    def work(number):
        folder = tmp_path / f'context{number}'
        folder.mkdir()
        dockerfile = f'FROM {name}/base:1\nRUN echo {number} >/one\nRUN cat /one\nFROM {name}/base:1\nCOPY --from=0 /one /two\nCOPY --from={name}/base:1 /bin/busybox /b\n'
        (folder / 'Dockerfile').write_text(dockerfile)
        built = ran = 0
        for _ in range(100):
            if built >= 2 and ran >= 2:
                break
            made = own('build', '-t', f'made{number}', folder, timeout=180)
            run = own('run', '--rm', f'{name}/base:1', 'true', timeout=120)
            failures.extend((done.out[-300:], done.err) for done in (made, run) if done.code and not gone(done))
            built, ran = built + (made.code == 0), ran + (run.code == 0)
        rounds[1] += built >= 2 and ran >= 2
    try:
        until(lambda: own.engine.inside('curl', '-sf', f'http://{name}/v2/', check=False).returncode == 0, 30)
        own.ok('tag', IMAGE, f'{name}/base:1')
        own.ok('push', f'{name}/base:1')
        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        pruner = threading.Thread(target=prune)
        pruner.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        pruner.join()
        assert failures == [] and rounds[1] == 3 and rounds[0] > 3, (rounds, failures)
        plan(own, 1, 'POST')
        assert plan(own, 1)['Used'] == 0
        until(lambda: own.engine.settled(removed_all=True, seconds=1) == [], 30)
    finally:
        over.set()
        with contextlib.suppress(ProcessLookupError):
            end(registry.pid, 15, 10)
        registry.wait(10)
