# SPDX-License-Identifier: Apache-2.0
"""What the daemon's configuration names and a container asks for: devices by CDI specifications, OCI runtimes."""
import json
import os
import pathlib
import shutil
import signal

import pytest
from conftest import pairs

from harness.client import Client
from harness.created import create, running, shell
from harness.engine import until
from harness.places import IMAGE

KIND = f'gt{os.getpid()}.example.com/thing'.replace('gt', 'gt-', 1)
pytestmark = pytest.mark.skipif(not any(pair.endswith(':gantry') for pair in pairs()), reason="dockerd 20.10 has no CDI, and its /dev/shm is its own affair")


@pytest.fixture(scope='module')
def specs(tmp_path_factory):
    """A specification in the directory that is for transient ones, under a vendor of this run alone."""
    folder = tmp_path_factory.mktemp('cdi')
    (folder / 'data').mkdir()
    (folder / 'data' / 'file').write_text('from the host')
    path = pathlib.Path(f'/var/run/cdi/gt-{os.getpid()}.json')
    made = not path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({
        'cdiVersion': '0.6.0', 'kind': KIND, 'containerEdits': {'env': ['EVERY=1']},
        'devices': [{'name': 'one', 'containerEdits': {
            'env': ['THING=one', 'PATH=/bin'], 'deviceNodes': [{'path': '/dev/thing', 'hostPath': '/dev/zero', 'permissions': 'rw'}],
            'mounts': [{'hostPath': str(folder / 'data'), 'containerPath': '/data', 'options': ['ro', 'nosuid', 'nodev', 'bind']}],
            'hooks': [{'hookName': 'createRuntime', 'path': '/bin/touch', 'args': ['touch', str(folder / 'hooked')]}], 'additionalGids': [77]}},
            {'name': 'broken', 'containerEdits': {'deviceNodes': [{'path': '/dev/nosuch-device'}]}}]}))
    yield folder
    path.unlink()
    if made:
        path.parent.rmdir()


@pytest.fixture(scope='module')
def gantry(stack, home):
    return Client('gantry', stack, home)


def request(*names, **more):
    return {'DeviceRequests': [{'Driver': 'cdi', 'DeviceIDs': list(names), **more}]}


def test_device_is_injected(stack, specs):
    out = shell(stack, 'echo $THING $EVERY; stat -c "%t:%T" /dev/thing; head -c 2 /dev/thing | wc -c; cat /data/file; echo x 2>/dev/null >/data/file || echo read-only; id -G',
                request(f'{KIND}=one'))
    assert out.splitlines() == ['one 1', '1:5', '2', 'from the hostread-only', '0 77']
    assert (specs / 'hooked').exists()


def test_command_line(gantry, specs):
    assert gantry.run('--device', f'{KIND}=one', IMAGE, 'sh', '-c', 'echo $THING').text == 'one'


@pytest.mark.parametrize('host, words', [
    (request(f'{KIND}=nosuch', 'a.b/c=d'), 'CDI device injection failed: unresolvable CDI devices '
     f'{KIND}=nosuch, a.b/c=d'),
    (request(f'{KIND}=broken'), '/dev/nosuch-device'), (request(f'{KIND}=one', Count=1), 'unexpected count in CDI device request'),
    (request(f'{KIND}=one', Options={'a': 'b'}), 'unexpected options in CDI device request')])
def test_what_is_not_there(stack, specs, host, words):
    with create(stack, host) as container:
        status, answer = container.post('start')
        assert status == 400 and words in answer['message'], answer


@pytest.mark.parametrize('name', ['gantry', 'runc'])
def test_runtime(stack, name):
    if name == 'runc' and not shutil.which('runc', path='/usr/sbin:/usr/bin'):
        pytest.skip('runc is not installed')
    with create(stack, {'Runtime': name}, Cmd=['echo', 'ran']) as container:
        assert container.run() == (0, 'ran\n')
        assert container.inspect()['HostConfig']['Runtime'] == name
    with running(stack, {'Runtime': name, 'IpcMode': 'shareable'}) as container:
        assert container.post('update', {'PidsLimit': 9})[0] == 200


def test_unknown_runtime(stack, gantry):
    with create(stack, {'Runtime': 'nosuch'}) as container:
        assert container.status == 400 and container.message == 'unknown or invalid runtime name: nosuch'
    done = gantry.run('--runtime', 'nosuch', IMAGE)
    assert done.code == 125 and 'unknown or invalid runtime name: nosuch' in done.err


def test_shared_memory_of_a_killed_daemon(stack):
    """What a crash leaves of a container that ended meanwhile goes with the next start; one that runs keeps it."""
    mounts = lambda: [line.split()[4] for line in open('/proc/self/mountinfo') if f'{stack.names.state}/shm/' in line]  # noqa: E731
    with running(stack, {'IpcMode': 'shareable'}) as alive, running(stack, {'IpcMode': 'shareable'}) as ends:
        assert len(mounts()) == 2
        pid = ends.inspect()['State']['Pid']
        stack.kill('gantryd')
        os.kill(pid, signal.SIGKILL)
        stack.start()
        until(lambda: len(mounts()) == 1, 10, 'the mount of the dead container stays')
        assert shell(stack, 'df -k /dev/shm | tail -1', {'IpcMode': f'container:{alive.id}'}).split()[1] == '65536'
    until(lambda: mounts() == [], 10, 'a mount stays')
