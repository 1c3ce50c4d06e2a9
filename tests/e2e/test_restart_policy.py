# SPDX-License-Identifier: Apache-2.0
"""Restart policies: back-off, counting, what ends them, what a start of the daemon brings back."""
import contextlib
import json
import os
import signal
import time

import pytest

from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.places import IMAGE, IMAGE_TAR

pytestmark = pytest.mark.engine_alone
STATE = '{{.State.Status}} {{.State.Running}} {{.State.Restarting}} {{.State.ExitCode}} {{.RestartCount}}'
STAY = ['sh', '-c', 'trap "exit 9" TERM; trap "exit 5" HUP; echo up; while :; do sleep 0.05; done']


def state(client, name):
    return client.inspect(name, STATE)


def ready(client, name, starts):
    """The program has set its traps, in this start."""
    until(lambda: client.ok('logs', name).split().count('up') == starts)


def started_at(client, name):
    """The starts that a container has printed, as seconds."""
    return [float(line) for line in client.ok('logs', name).split()]


def test_delays_double(client, names):
    name = names()
    client.ok('run', '-d', '--restart', 'always', '--name', name, IMAGE, 'sh', '-c', 'cut -d" " -f1 /proc/uptime; exit 3')
    until(lambda: len(started_at(client, name)) >= 5)
    starts = started_at(client, name)
    gaps = [b - a for a, b in zip(starts, starts[1:])]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8)):
        assert gap >= least - 0.02, gaps
    until(lambda: state(client, name).startswith('restarting true true 3 '))
    until(lambda: client.ok('ps', '-a', '--filter', f'name={name}', '--format', '{{.Status}}').startswith('Restarting (3) '))
    client.ok('stop', name)
    assert state(client, name).startswith('exited false false 3 ')


@pytest.mark.parametrize('policy, code, starts', [('on-failure:2', 4, 3), ('on-failure', 0, 1), ('no', 4, 1)])
def test_how_often(client, names, policy, code, starts):
    name = names()
    client.ok('run', '-d', '--restart', policy, '--name', name, IMAGE, 'sh', '-c', f'echo 1; exit {code}')
    until(lambda: client.inspect(name, '{{.State.Status}} {{.RestartCount}}') == f'exited {starts - 1}')
    time.sleep(0.5)
    assert len(client.ok('logs', name).split()) == starts
    assert state(client, name) == f'exited false false {code} {starts - 1}'


@pytest.mark.parametrize('policy', ['always', 'unless-stopped', 'on-failure'])
def test_stop_and_kill_end_it(client, names, policy):
    name = names()
    client.ok('run', '-d', '--restart', policy, '--name', name, IMAGE, *STAY)
    ready(client, name, 1)
    client.ok('stop', '-t', '60', name)
    client.ok('start', name)
    client.ok('kill', name)
    assert state(client, name) == 'exited false false 137 0'
    # Any signal of a user does, when the container has no stop signal of its own.
    client.ok('start', name)
    until(lambda: client.ok('logs', name).split().count('up') >= 2)
    time.sleep(0.3)
    until(lambda: client('kill', '-s', 'HUP', name).code != 0)
    until(lambda: state(client, name) == 'exited false false 5 0')
    time.sleep(0.3)
    assert state(client, name) == 'exited false false 5 0'


def test_other_signals_with_a_stop_signal(client, names):
    name = names()
    client.ok('run', '-d', '--restart', 'always', '--stop-signal', 'TERM', '--name', name, IMAGE, *STAY)
    ready(client, name, 1)
    client.ok('kill', '-s', 'HUP', name)
    until(lambda: state(client, name) == 'running true false 0 1')


def test_kill_and_rm_of_a_waiting_one(client, names):
    name = names()
    client.ok('run', '-d', '--restart', 'always', '--name', name, IMAGE, 'false')
    until(lambda: client.inspect(name, '{{.RestartCount}}') >= '5')
    until(lambda: 'is restarting, wait until the container is running' in client('exec', name, 'true').err)
    done = client('rm', name)
    assert done.code == 1 and 'top the container before' in done.err, done
    client.ok('kill', name)
    assert state(client, name).startswith('exited false false 1')
    client.ok('start', name)
    until(lambda: client.inspect(name, '{{.State.Status}} {{.RestartCount}}') in ('restarting 3', 'restarting 4', 'restarting 5'))
    client.ok('rm', '-f', name)


def end_by_hangup(client, name):
    """The end takes the process that asked for it along, when that is not faster."""
    assert client('exec', name, 'kill', '-HUP', '1').code in (0, 137)


def test_update_while_it_lives(client, names):
    name = names()
    api = client.engine.api
    client.ok('run', '-d', '--name', name, IMAGE, *STAY)
    assert api('POST', f'/containers/{name}/update', json.dumps({'RestartPolicy': {'Name': 'on-failure', 'MaximumRetryCount': 1}}))[0] == 200
    assert client.inspect(name, '{{json .HostConfig.RestartPolicy}}') == '{"Name":"on-failure","MaximumRetryCount":1}'
    ready(client, name, 1)
    end_by_hangup(client, name)
    until(lambda: state(client, name) == 'running true false 0 1')
    ready(client, name, 2)
    end_by_hangup(client, name)
    until(lambda: state(client, name) == 'exited false false 5 1')
    for policy in ({'Name': 'sometimes'}, {'Name': 'always', 'MaximumRetryCount': 3}):
        status, body, _ = api('POST', f'/containers/{name}/update', json.dumps({'RestartPolicy': policy}))
        assert status == 400, body
    assert client.inspect(name, '{{.HostConfig.RestartPolicy.Name}}') == 'on-failure'


def test_rm_goes_with_no_policy(client, names):
    done = client('run', '--rm', '--restart', 'always', IMAGE, 'true')
    assert done.code == 125 and 'onflicting options' in done.err
    body = {'Image': IMAGE, 'HostConfig': {'AutoRemove': True, 'RestartPolicy': {'Name': 'always'}}}
    status, answer, _ = client.engine.api('POST', '/containers/create', json.dumps(body))
    assert (status, json.loads(answer)['message']) == (400, "can't create 'AutoRemove' container with restart policy")
    name = names()
    client.ok('run', '-d', '--rm', '--name', name, IMAGE, *STAY)
    status, answer, _ = client.engine.api('POST', f'/containers/{name}/update', json.dumps({'RestartPolicy': {'Name': 'always'}}))
    assert status == 409 and b'Restart policy cannot be updated because AutoRemove is enabled' in answer


def test_restart_keeps_one_that_is_removed_at_its_end(client, names):
    name = names()
    client.ok('run', '-d', '--rm', '--name', name, IMAGE, *STAY)
    client.ok('restart', '-t', '0', name)
    assert state(client, name) == 'running true false 0 0'
    client.ok('stop', '-t', '0', name)
    until(lambda: client('inspect', name).code == 1)


class Machine:
    """An engine and what a reboot of its machine does to it: nothing that ran is there afterwards."""

    def __init__(self, engine, program, home):
        self.engine, self.client = engine, Client(program, engine, home)

    def start(self):
        self.engine.start()
        if isinstance(self.engine, Peer):
            self.engine.load_image()
        else:
            self.client.ok('load', '-i', IMAGE_TAR)

    def reboot(self):
        engine = self.engine
        if isinstance(engine, Peer):
            engine.process.send_signal(signal.SIGTERM)
            engine.process.wait(30)
        else:
            engine.kill('gantryd', 'gantry-containerd')
            engine.traces.learn_ids()
            for trace in engine.traces.find(every=True):
                if trace.kind == 'process' and trace.pid != engine.pid('gantry-proxy'):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(trace.pid, signal.SIGKILL)
        engine.start()


@pytest.fixture
def machine(pair, home):
    program, kind = pair.split(':')
    machine = Machine({'gantry': Stack, 'peer': Peer}[kind](number=12), program, home)
    try:
        machine.start()
        yield machine
    finally:
        machine.engine.destroy()


def test_after_a_reboot(machine):
    client = machine.client
    for name, policy in (('a', 'always'), ('u', 'unless-stopped'), ('f', 'on-failure'), ('n', 'no')):
        client.ok('run', '-d', '--restart', policy, '--name', f'{name}-ran', IMAGE, *STAY)
        if name != 'f':  # docker 20.10 starts it, later ones don't
            client.ok('run', '-d', '--restart', policy, '--name', f'{name}-stopped', IMAGE, *STAY)
            client.ok('stop', '-t', '0', f'{name}-stopped')
    client.ok('create', '--restart', 'always', '--name', 'never', IMAGE, *STAY)
    client.ok('run', '-d', '--rm', '--name', 'removed', IMAGE, *STAY)
    machine.reboot()
    running = {'a-ran', 'a-stopped', 'u-ran', 'f-ran'}

    def alive():
        return set(client.ok('ps', '--format', '{{.Names}}').split())
    until(lambda: alive() == running, what=alive)
    until(lambda: client('inspect', 'removed').code == 1)
    time.sleep(0.5)
    assert alive() == running
    assert state(client, 'never') == 'created false false 0 0'
    assert state(client, 'u-stopped').startswith('exited false false ')


@pytest.fixture
def own(home):
    machine = Machine(Stack(number=13), 'gantry', home)
    try:
        machine.start()
        yield machine
    finally:
        machine.engine.destroy()


def test_killed_daemon_forgets_no_restart_and_no_removal(own):
    """kill -9 of gantryd at moments all over a restart, and of a removal at the container's end."""
    client, engine = own.client, own.engine
    client.ok('run', '-d', '--restart', 'always', '--name', 'loop', IMAGE, 'sh', '-c', 'echo 1; sleep 0.2; exit 3')
    client.ok('run', '-d', '--restart', 'always', '--name', 'stays', IMAGE, *STAY)
    pid = client.inspect('stays', '{{.State.Pid}}')
    for point in range(5):
        client.ok('run', '-d', '--rm', '--name', f'gone{point}', IMAGE, 'sleep', '0.2')
        time.sleep(0.17 + 0.02 * point)
        engine.kill('gantryd')
        engine.start()
        seen = len(client.ok('logs', 'loop').split())
        until(lambda: len(client.ok('logs', 'loop').split()) > seen + 1)
        until(lambda: client('inspect', f'gone{point}').code == 1)
    assert client.inspect('stays', '{{.State.Pid}} {{.RestartCount}}') == f'{pid} 0'
    client.ok('rm', '-f', 'loop', 'stays')
    assert [str(t) for t in engine.settled()] == []
