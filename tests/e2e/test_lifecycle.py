# SPDX-License-Identifier: Apache-2.0
"""create, start, stop, kill, restart, rm, wait, ps, inspect, rename of states."""
import json
import signal
import time

import pytest

from harness.engine import until
from harness.places import IMAGE
from harness.traps import until_takes

PATIENT = ['sh', '-c', 'trap "exit 7" TERM; trap "exit 8" HUP; while :; do sleep 0.05; done']
DEAF = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done']


def trapped(client, name, number):
    until_takes(int(client.inspect(name, '{{.State.Pid}}')), number)


def state(client, name):
    return client.inspect(name, '{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}')


def test_create_start_wait(client, names):
    name = names()
    client.ok('create', '--name', name, IMAGE, 'sh', '-c', 'exit 3')
    assert state(client, name) == 'created false 0'
    waiter = client.start('wait', name)
    time.sleep(0.3)
    assert client.ok('start', name) == name
    out, err = waiter.communicate(timeout=20)
    # A wait on a container that was never started answers at once on docker, with its exit code so far.
    assert out.strip() in (b'3', b'0'), (out, err)
    until(lambda: state(client, name) == 'exited false 3')
    assert client.ok('wait', name) == '3'


def test_start_attached(client, names):
    name = names()
    client.ok('create', '-i', '--name', name, IMAGE, 'sh', '-c', 'read a; echo "$a"; exit 4')
    done = client('start', '-ai', name, stdin='text\n')
    assert (done.code, done.out) == (4, 'text\n')


def test_stop_and_start_again(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, *PATIENT)
    trapped(client, name, signal.SIGHUP)
    client.ok('stop', name)
    assert state(client, name) == 'exited false 7'
    client.ok('stop', name)
    client.ok('start', name)
    assert state(client, name) == 'running true 0'
    client.ok('start', name)
    client.ok('restart', '-t', '5', name)
    assert state(client, name) == 'running true 0'
    assert client.inspect(name, '{{.RestartCount}}') == '0'


def test_files_stay_over_a_restart(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, 'sh', '-c', 'cat /f 2>/dev/null; echo x >>/f; sleep 100')
    until(lambda: client('exec', name, 'test', '-s', '/f').code == 0)
    client.ok('restart', '-t', '0', name)
    until(lambda: client.ok('logs', name) == 'x')


def test_stop_kills_in_the_end(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, *DEAF)
    trapped(client, name, signal.SIGTERM)
    begin = time.monotonic()
    client.ok('stop', '-t', '1', name)
    assert 0.9 < time.monotonic() - begin < 6
    assert state(client, name) == 'exited false 137'


@pytest.mark.parametrize('argument, code', [([], 137), (['-s', 'HUP'], 8), (['-s', 'SIGHUP'], 8), (['-s', '1'], 8), (['--signal=TERM'], 7)])
def test_kill(client, names, argument, code):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, *PATIENT)
    trapped(client, name, signal.SIGHUP)
    assert client.ok('kill', *argument, name) == name
    until(lambda: state(client, name) == f'exited false {code}')


def test_kill_of_a_stopped_one(client, names):
    name = names()
    client.ok('run', '--name', name, IMAGE, 'true')
    done = client('kill', name)
    assert done.code == 1 and 'is not running' in done.err


def test_rm_of_a_running_one(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    done = client('rm', name)
    assert done.code == 1 and 'running' in done.err and 'force remove' in done.err
    assert client.ok('rm', '-f', name) == name
    assert client('inspect', name).code == 1


def test_several_names_and_one_wrong(client, names):
    a, b = names(), names()
    for name in (a, b):
        client.ok('create', '--name', name, IMAGE, 'true')
    done = client('rm', a, 'no-such-name', b)
    assert done.code == 1 and done.out.split() == [a, b] and 'No such container: no-such-name' in done.err


def test_ps(client, names):
    a, b = names('up'), names('down')
    ida = client.ok('run', '-d', '--name', a, IMAGE, 'sleep', '100')
    client('run', '--name', b, IMAGE, 'sh', '-c', 'exit 5')
    assert client.ok('ps', '-q', '--filter', f'name={a}') == ida[:12]
    shown = client.ok('ps', '-a', '--filter', f'name={b}')
    assert 'CONTAINER ID' in shown and 'Exited (5)' in shown and IMAGE.split(':')[0] in shown and b in shown
    assert client.ok('ps', '-a', '--filter', f'name={a}', '--format', '{{.Names}} {{.Image}} {{.State}}') == f'{a} {IMAGE} running'
    assert b in client.ok('ps', '-a', '--filter', 'status=exited', '--format', '{{.Names}}').split()
    assert b in client.ok('ps', '-a', '--filter', 'exited=5', '--format', '{{.Names}}').split()
    assert a not in client.ok('ps', '-a', '--filter', 'status=exited', '--format', '{{.Names}}').split()


def test_id_prefix(client, names):
    name = names()
    ident = client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    assert client.ok('inspect', '-f', '{{.Name}}', ident[:10]) == f'/{name}'
    assert client.ok('exec', ident[:12], 'echo', 'in') == 'in'


def test_inspect_json(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '-m', '64m', '-e', 'A=b', '--label', 'l=v', IMAGE, 'sleep', '100')
    found = json.loads(client.ok('inspect', name))
    assert len(found) == 1
    one = found[0]
    assert one['Name'] == f'/{name}' and one['Path'] == 'sleep' and one['Args'] == ['100']
    assert one['State']['Running'] and one['State']['Pid'] > 1 and one['HostConfig']['Memory'] == 64 << 20
    assert 'A=b' in one['Config']['Env'] and one['Config']['Labels'] == {'l': 'v'} and one['Config']['Image'] == IMAGE
    assert one['Image'].startswith('sha256:') and one['State']['StartedAt'].startswith('20')
    address = one['NetworkSettings']['Networks']['bridge']['IPAddress']
    assert address.startswith('10.21') and one['NetworkSettings']['Networks']['bridge']['MacAddress']


def test_inspect_of_nothing(client):
    done = client('inspect', 'no-such-thing')
    assert done.code == 1 and done.out.strip() == '[]' and 'No such object: no-such-thing' in done.err


def test_wait_for_several(client, names):
    a, b = names(), names()
    client.ok('run', '-d', '--name', a, IMAGE, 'sh', '-c', 'sleep 0.5; exit 1')
    client.ok('run', '-d', '--name', b, IMAGE, 'sh', '-c', 'sleep 0.2; exit 2')
    assert client.ok('wait', a, b).split() == ['1', '2']


def test_container_that_cannot_start_leaves_no_process(client, names):
    name = names()
    client.ok('create', '--name', name, IMAGE, 'nosuchcommand')
    done = client('start', name)
    assert done.code == 1 and 'nosuchcommand' in done.err
    assert client.inspect(name, '{{.State.Running}} {{.State.ExitCode}}') == 'false 127'
    client.ok('rm', name)


def test_version_and_info(client):
    assert client.ok('version', '--format', '{{.Server.APIVersion}}').startswith('1.')
    info = json.loads(client.ok('info', '--format', '{{json .}}'))
    assert info['OSType'] == 'linux' and info['NCPU'] >= 1 and info['MemTotal'] > 0


def test_events(client, names):
    name = names()
    begin = str(time.time() - 0.01)
    client('run', '--name', name, IMAGE, 'sh', '-c', 'exit 6')
    client.ok('rm', name)
    shown = client.ok('events', '--since', begin, '--until', str(time.time() + 0.1), '--filter', f'container={name}', '--format',
                      '{{.Type}} {{.Action}} {{index .Actor.Attributes "exitCode"}}')
    actions = [line.split()[1] for line in shown.splitlines()]
    assert [a for a in actions if a in ('create', 'attach', 'start', 'die', 'destroy')] == ['create', 'attach', 'start', 'die', 'destroy']
    assert 'container die 6' in shown
