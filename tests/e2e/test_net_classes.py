# SPDX-License-Identifier: Apache-2.0
"""The class and the priority of what a container's sockets send: --net-class by a rule that drops one class, --net-priority by the map of its cgroup. Own engine: it looks for hierarchies when it starts."""
import contextlib
import json
import os
from pathlib import Path

import pytest

from harness import cgroups, packets, places
from harness.client import Client
from harness.engine import Stack
from harness.places import IMAGE

CLASS = 0x00100001
WORDS = ('--net-class', '10:1')


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    with contextlib.ExitStack() as mounted:
        for controller in ('net_cls', 'net_prio'):
            mounted.enter_context(cgroups.hierarchy(controller))
        engine = Stack(number=4)
        try:
            engine.start()
            client = Client('gantry', engine, tmp_path_factory.mktemp('own'))
            client.ok('load', '-i', places.IMAGE_TAR)
            yield client
        finally:
            assert engine.destroy() == []


def cgroup_file(client, name, controller, file):
    pid = client.inspect(name, '{{.State.Pid}}')
    for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if controller in controllers.split(','):
            return (cgroups.TOP / controller / path.lstrip('/') / file).read_text()
    raise AssertionError(f'{name} has no cgroup of {controller}')


def host_config(client, name):
    return json.loads(client.ok('inspect', name))[0]['HostConfig']


@pytest.mark.skipif(os.path.ismount(cgroups.TOP / 'net_cls'), reason='the host has it')
def test_without_the_hierarchies(stack, home):
    """As with any limit that the kernel lacks: a warning, and none in `inspect`."""
    client = Client('gantry', stack, home)
    done = client('create', '--name', 'lacking', *WORDS, '--net-priority', 'lo=5', IMAGE)
    assert done.code == 0 and 'Class discarded' in done.err and 'Priorities discarded' in done.err
    assert not {'NetClass', 'NetPriorities'} & set(host_config(client, 'lacking'))
    client.ok('rm', 'lacking')


@cgroups.v1_only
def test_a_class_by_packets(own):
    rule = ('OUTPUT', '-p', 'tcp', '-m', 'cgroup', '--cgroup', hex(CLASS), '-j', 'DROP')
    own.engine.inside('iptables-legacy', '-A', *rule)
    servers = packets.Servers()
    try:
        servers.listen(own.engine.names.netns, 'host', (7001,))
        ask = ('--network', 'host', IMAGE, 'nc', '-w', '2', '127.0.0.1', '7001')
        assert own('run', '--rm', *WORDS, *ask).code == 1
        assert own.ok('run', '--rm', '--net-class', '10:2', *ask) == own.ok('run', '--rm', *ask) == 'host 127.0.0.1'
    finally:
        servers.close()
    own.engine.inside('iptables-legacy', '-D', *rule)


@cgroups.v1_only
def test_they_are_kept_and_shown(own):
    own.ok('run', '-d', '--name', 'kept', *WORDS, '--net-priority', 'lo=5', '--net-priority', 'eth0=7', IMAGE, 'sleep', '100000')

    def look():
        host = host_config(own, 'kept')
        assert host['NetClass'] == CLASS and host['NetPriorities'] == [{'Name': 'lo', 'Priority': 5}, {'Name': 'eth0', 'Priority': 7}]
        assert int(cgroup_file(own, 'kept', 'net_cls', 'net_cls.classid')) == CLASS
        assert {'lo 5', 'eth0 7'} <= set(cgroup_file(own, 'kept', 'net_prio', 'net_prio.ifpriomap').splitlines())
    look()
    own.engine.kill('gantryd')
    own.engine.start()
    look()
    own.ok('restart', '-t', '0', 'kept')
    look()
    own.ok('update', '--pids-limit', '50', 'kept')
    look()
    own.ok('run', '-d', '--name', 'without', IMAGE, 'sleep', '100000')
    assert not {'NetClass', 'NetPriorities'} & set(host_config(own, 'without'))
    assert int(cgroup_file(own, 'without', 'net_cls', 'net_cls.classid')) == 0
    own.ok('rm', '-f', 'kept', 'without')


@cgroups.v1_only
def test_bad_input(own):
    for words, said in ((('--net-class', '10'), 'invalid class'), (('--net-class', '0:0'), 'invalid class'), (('--net-class', '10000:1'), 'invalid class'),
                        (('--net-priority', 'eth0'), 'invalid priority'), (('--net-priority', '=1'), 'invalid priority')):
        done = own('create', *words, IMAGE)
        assert done.code == 125 and said in done.err and 'Usage:' in done.err, done.err
    status, body, _ = own.engine.api('POST', '/containers/create', json.dumps({'Image': IMAGE, 'HostConfig': {'NetPriorities': [{'Name': 'a b', 'Priority': 1}]}}))
    assert status == 400 and 'NetPriorities' in json.loads(body)['message']
    done = own('run', '--name', 'nosuch', '--net-priority', 'nosuch0=1', IMAGE, 'true')
    assert done.code == 125 and 'nosuch0' in done.err, done.err
    own.ok('rm', 'nosuch')
    assert own.ok('ps', '-aq') == ''
