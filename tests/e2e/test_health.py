# SPDX-License-Identifier: Apache-2.0
"""Health checks: states, log, events, filters, time-outs, pauses, restarts of the daemon."""
import json
import time

import pytest

from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE

pytestmark = pytest.mark.engine_alone


def health(client, name):
    return json.loads(client.inspect(name, '{{json .State.Health}}'))


def status(client, name):
    return health(client, name)['Status']


def probed(client, name, command, *options, interval='100ms', script='sleep 1000'):
    client.ok('run', '-d', '--name', name, '--health-cmd', command, '--health-interval', interval, *options, IMAGE, 'sh', '-c', script)


def listed(client, name):
    return client.ok('ps', '-a', '--filter', f'name={name}', '--format', '{{.Status}}')


def actions(client, name, kind):
    lines = client.ok('events', '--since', '0', '--until', str(time.time() + 0.01), '--filter', f'container={name}', '--filter',
                      f'event={kind}', '--format', '{{json .}}').splitlines()
    return [json.loads(line)['Action'] for line in lines]


def test_from_starting_to_healthy_to_unhealthy(client, names):
    name = names()
    probed(client, name, 'echo out; echo err >&2; test -e /good', '--health-retries', '2')
    assert health(client, name) == {'Status': 'starting', 'FailingStreak': 0, 'Log': []}
    assert listed(client, name).endswith('(health: starting)')
    assert name in client.ok('ps', '--filter', 'health=starting', '--format', '{{.Names}}').split()
    client.ok('exec', name, 'touch', '/good')
    until(lambda: status(client, name) == 'healthy')
    assert listed(client, name).endswith('(healthy)')
    assert name in client.ok('ps', '--filter', 'health=healthy', '--format', '{{.Names}}').split()
    client.ok('exec', name, 'rm', '/good')
    until(lambda: status(client, name) == 'unhealthy')
    until(lambda: len(health(client, name)['Log']) == 5 and health(client, name)['FailingStreak'] > 5)
    last = health(client, name)['Log'][-1]
    assert last['ExitCode'] == 1 and sorted(last['Output'].split()) == ['err', 'out'] and last['Start'] < last['End']
    assert listed(client, name).endswith('(unhealthy)')
    client.ok('stop', '-t', '0', name)
    assert status(client, name) == 'unhealthy' and 'health' not in listed(client, name)
    kinds = actions(client, name, 'health_status')
    # Probes may have failed twice before the file was there.
    assert kinds[-2:] == ['health_status: healthy', 'health_status: unhealthy'], kinds
    shell = 'exec_create: /bin/sh -c echo out; echo err >&2; test -e /good'
    assert shell in actions(client, name, 'exec_create')
    client.ok('start', name)
    assert health(client, name)['FailingStreak'] <= 1 and status(client, name) == 'starting'


def test_too_slow(client, names):
    name = names()
    probed(client, name, 'echo begun; exec sleep 1000', '--health-timeout', '300ms', '--health-retries', '1')
    until(lambda: status(client, name) == 'unhealthy')
    last = health(client, name)['Log'][0]
    assert last['ExitCode'] == -1 and last['Output'].startswith('Health check exceeded timeout (300ms)')


@pytest.mark.only('gantry')
def test_one_that_is_too_slow_is_killed(client, names):
    """docker 20.10 lets it run on until the container's end."""
    name = names()
    probed(client, name, 'exec sleep 777', '--health-timeout', '200ms')
    until(lambda: health(client, name)['FailingStreak'] >= 3)
    assert client.ok('top', name).count('sleep 777') <= 1



def test_long_output_is_cut(client, names):
    name = names()
    probed(client, name, 'head -c 10000 /dev/zero | tr "\\0" x')
    until(lambda: status(client, name) == 'healthy')
    assert health(client, name)['Log'][0]['Output'] == 'x' * 4096 + '...'


def test_command_that_is_not_there(client, names):
    name = names()
    api = client.engine.api
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'Healthcheck': {'Test': ['CMD', '/nope'], 'Interval': 100_000_000, 'Retries': 1}}
    assert api('POST', f'/containers/create?name={name}', json.dumps(body))[0] == 201
    client.ok('start', name)
    until(lambda: status(client, name) == 'unhealthy')
    last = health(client, name)['Log'][0]
    assert last['ExitCode'] == -1 and 'no such file or directory' in last['Output']


def test_start_period(client, names):
    name = names()
    api = client.engine.api
    check = {'Test': ['CMD', 'false'], 'Interval': 100_000_000, 'StartInterval': 100_000_000, 'StartPeriod': 1_500_000_000, 'Retries': 1}
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'Healthcheck': check}
    assert api('POST', f'/containers/create?name={name}', json.dumps(body))[0] == 201
    client.ok('start', name)
    until(lambda: len(health(client, name)['Log']) >= 2)
    assert (status(client, name), health(client, name)['FailingStreak']) == ('starting', 0)
    until(lambda: status(client, name) == 'unhealthy')


def test_no_probe_while_paused(client, names):
    name = names()
    probed(client, name, 'true')
    until(lambda: status(client, name) == 'healthy')
    client.ok('pause', name)
    before = health(client, name)
    # docker says so of whom it does not look at.
    assert before['Status'] == 'unhealthy' and listed(client, name).endswith('(Paused)')
    time.sleep(0.4)
    assert health(client, name) == before
    client.ok('unpause', name)
    until(lambda: status(client, name) == 'healthy')


@pytest.mark.parametrize('check, message', [
    ({'Test': ['CMD', 'true'], 'Interval': 1000}, 'Interval in Healthcheck cannot be less than 1ms'),
    ({'Test': ['CMD', 'true'], 'Timeout': -5}, 'Timeout in Healthcheck cannot be less than 1ms'),
    ({'Test': ['CMD', 'true'], 'StartPeriod': 10}, 'StartPeriod in Healthcheck cannot be less than 1ms'),
    ({'Test': ['CMD', 'true'], 'Retries': -1}, 'Retries in Healthcheck cannot be negative')])
def test_bad_ones(client, check, message):
    body = {'Image': IMAGE, 'Cmd': ['true'], 'Healthcheck': check}
    status_code, answer, _ = client.engine.api('POST', '/containers/create', json.dumps(body))
    assert (status_code, json.loads(answer)['message']) == (400, message)


def test_none_and_flags(client, names):
    name = names()
    client.ok('run', '-d', '--no-healthcheck', '--name', name, IMAGE, 'sleep', '1000')
    assert client.inspect(name, '{{json .Config.Healthcheck}}') == '{"Test":["NONE"]}'
    assert '"Health"' not in client.inspect(name, '{{json .State}}')
    assert name in client.ok('ps', '--filter', 'health=none', '--format', '{{.Names}}').split()
    done = client('run', '--no-healthcheck', '--health-cmd', 'x', IMAGE, 'true')
    assert done.code == 125 and '--no-healthcheck conflicts with --health-* options' in done.err
    done = client('ps', '--filter', 'health=foo')
    assert done.code == 1 and 'foo' in done.err and 'health' in done.err


@pytest.fixture
def own(home):
    with own_stack(14, home) as client:
        yield client


def test_probes_go_on_after_a_kill(own):
    probed(own, 'one', 'test ! -e /bad', '--health-retries', '2')
    until(lambda: status(own, 'one') == 'healthy')
    own.engine.kill('gantryd')
    own.engine.start()
    assert status(own, 'one') == 'healthy'
    own.ok('exec', 'one', 'touch', '/bad')
    until(lambda: status(own, 'one') == 'unhealthy')
    assert actions(own, 'one', 'health_status') == ['health_status: healthy', 'health_status: unhealthy']
    own.ok('rm', '-f', 'one')
    assert [str(t) for t in own.engine.settled()] == []
