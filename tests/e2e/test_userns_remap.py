# SPDX-License-Identifier: Apache-2.0
"""--userns-remap: processes are others on the host, files are the container's own inside, and what can't be is
refused. The daemons get an /etc/subuid of the test, in a mount namespace of their own."""
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from conftest import pairs
from harness import places
from harness.client import Client
from harness.engine import Peer, Stack, ask, until
from harness.places import IMAGE

FIRST = 1200000
WITH_OWN_RANGES = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'


def remapped(kind, ranges):
    """An engine whose root in containers is FIRST; `ranges` is its /etc/subuid."""
    class Remapped(kind):
        def spawn(self, command, **environment):
            inner = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', WITH_OWN_RANGES, str(ranges), *command]
            return super().spawn(inner, **environment)
    return Remapped(25, ['--userns-remap', 'daemon'])


@pytest.fixture(scope='module')
def client(home, tmp_path_factory):
    program, engine_name = pairs()[0].split(':')
    ranges = tmp_path_factory.mktemp('ranges') / 'subuid'
    ranges.write_text(f'daemon:{FIRST}:65536\n')
    engine = remapped(Peer if engine_name == 'peer' else Stack, ranges)
    try:
        engine.start()
        client = Client(program, engine, home)
        if engine_name == 'peer':
            engine.load_image()
        else:
            client.ok('load', '-i', places.IMAGE_TAR)
        yield client
    finally:
        engine.destroy()


@pytest.fixture
def running(client):
    client.ok('run', '-d', '--name', 'runs', '-v', 'data:/data', IMAGE, 'sh', '-c', 'touch /mine; touch /data/mine; chown 7:8 /data/mine; exec sleep 1000')
    until(lambda: client('exec', 'runs', 'test', '-f', '/data/mine').code == 0)
    yield 'runs'
    client.ok('rm', '-f', 'runs')
    client.ok('volume', 'rm', 'data')


def ids(client, name):
    status = Path(f"/proc/{client.inspect(name, '{{.State.Pid}}')}/status").read_text()
    return [line.split()[1:] for line in status.splitlines() if line.startswith(('Uid:', 'Gid:'))]


def test_info_and_places(client):
    info = ask(client.engine, 'GET', '/info')
    assert 'name=userns' in info['SecurityOptions']
    assert info['DockerRootDir'] == f'{client.engine.names.root}/{FIRST}.{FIRST}'


def test_processes_are_others_on_the_host(client, running):
    assert ids(client, running) == [[str(FIRST)] * 4] * 2
    pid = client.inspect(running, '{{.State.Pid}}')
    assert Path(f'/proc/{pid}/uid_map').read_text().split() == ['0', str(FIRST), '65536']
    assert client.ok('exec', running, 'id', '-u') == '0'
    client.ok('run', '-d', '--name', 'user', '-u', '5:6', IMAGE, 'sleep', '1000')
    assert ids(client, 'user') == [[str(FIRST + 5)] * 4, [str(FIRST + 6)] * 4]
    assert client.ok('exec', 'user', 'sh', '-c', 'id -u; echo x > /dev/stdout; echo y > /dev/stderr') == '5\nx'
    client.ok('rm', '-f', 'user')


def test_files_are_the_containers(client, running):
    script = 'stat -c %u:%g /bin /bin/busybox /etc/hosts /etc/hostname /etc/resolv.conf /mine /data /data/mine /tmp; ' \
             'chown 3:4 /mine && mkdir /new && echo more >> /etc/hosts && stat -c %u:%g /mine /new'
    assert client.ok('exec', running, 'sh', '-c', script).split() == ['0:0'] * 7 + ['7:8', '0:0', '3:4', '0:0']
    # The host's root is nobody's in there.
    assert client('exec', running, 'sh', '-c', 'echo 1 > /proc/sys/kernel/panic').code != 0


def test_network_belongs_to_the_container(client, running):
    assert client.ok('exec', running, 'ls', '/sys/class/net').split() == ['eth0', 'lo']
    flags = client.ok('exec', running, 'cat', '/sys/class/net/lo/flags')
    assert int(flags, 16) & 1, 'loopback is up'
    client.ok('run', '--rm', '--cap-add', 'NET_ADMIN', IMAGE, 'ip', 'link', 'set', 'eth0', 'mtu', '1400')
    assert client.ok('run', '--rm', '--network', 'none', IMAGE, 'ls', '/sys/class/net') == 'lo'
    mine = client.ok('exec', running, 'readlink', '/proc/self/ns/user')
    for mode in ('--network', '--pid'):
        assert client.ok('run', '--rm', mode, f'container:{running}', IMAGE, 'readlink', '/proc/self/ns/user') == mine
    assert 'eth0' in client.ok('run', '--rm', '--network', f'container:{running}', IMAGE, 'ls', '/sys/class/net')


def test_cp(client, running, tmp_path):
    (tmp_path / 'in').write_text('in')
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        for name, uid in (('zero', 0), ('seven', 7)):
            item = tarfile.TarInfo(name)
            item.uid = item.gid = uid
            item.size = 2
            tar.addfile(item, io.BytesIO(b'ab'))
    client.ok('create', '--name', 'made', '-v', 'data:/data', IMAGE, 'stat', '-c', '%u:%g', '/zero', '/seven', '/data/zero', '/data/seven')
    for name in (running, 'made'):
        for place in ('/', '/data'):
            ask_put = client.engine.api('PUT', f'/containers/{name}/archive?path={place}', archive.getvalue(), {'Content-Type': 'application/x-tar'})
            assert ask_put[0] == 200, ask_put
    stat = ('stat', '-c', '%u:%g', '/zero', '/seven', '/data/zero', '/data/seven')
    assert client.ok('exec', running, *stat).split() == ['0:0', '7:7'] * 2
    assert client.ok('start', '-a', 'made').split() == ['0:0', '7:7'] * 2
    client.ok('rm', 'made')
    for path, owners in (('/seven', (7, 7)), ('/data/mine', (7, 8)), ('/bin/busybox', (0, 0))):
        status, body, _ = client.engine.api('GET', f'/containers/{running}/archive?path={path}')
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            item = tar.getmembers()[0]
            # dockerd shows the host's here, but the container's in an export.
            host = tuple(FIRST + n for n in owners)
            assert status == 200 and (item.uid, item.gid) == (host if client.engine.kind == 'p' else owners), path
    with tarfile.open(fileobj=io.BytesIO(client.engine.api('GET', f'/containers/{running}/export')[1])) as tar:
        assert {tar.getmember(n).uid for n in ('zero', 'mine', 'bin/busybox')} == {0} and tar.getmember('seven').uid == 7
    client.ok('cp', str(tmp_path / 'in'), f'{running}:/tmp/in')
    assert client.ok('exec', running, 'cat', '/tmp/in') == 'in'


def test_commit_and_build(client, running, tmp_path):
    client.ok('exec', running, 'chown', '9:10', '/mine')
    client.ok('commit', running, 'committed')
    assert client.ok('run', '--rm', 'committed', 'stat', '-c', '%u:%g', '/mine') == '9:10'
    (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN touch /made && chown 5:6 /made && cat /proc/self/uid_map > /map\n'
                                         'COPY --chown=3:4 file /copied\nRUN echo more >> /copied\n')
    (tmp_path / 'file').write_text('text\n')
    status, answer, _ = client.engine.api('POST', '/build?t=built&networkmode=none', context(tmp_path), {'Content-Type': 'application/x-tar'}, 120)
    assert status == 200 and b'Successfully built' in answer, answer
    lines = client.ok('run', '--rm', 'built', 'sh', '-c', 'stat -c %u:%g /made /copied; cat /copied /map').split()
    assert lines[:4] == ['5:6', '3:4', 'text', 'more'] and lines[4:6] == ['0', str(FIRST)]
    client.ok('rmi', 'built', 'committed')


def context(folder):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return archive.getvalue()


def test_what_the_user_binds_keeps_its_owners(client, tmp_path):
    (tmp_path / 'root').write_text('x')
    (tmp_path / 'mapped').write_text('x')
    subprocess.run(['chown', f'{FIRST + 3}:{FIRST + 4}', tmp_path / 'mapped'], check=True)
    for path in (tmp_path, *tmp_path.parents):
        path.chmod(path.stat().st_mode | 0o011)
        if path == Path('/tmp'):
            break
    stat = client.ok('run', '--rm', '-v', f'{tmp_path}:/b', IMAGE, 'stat', '-c', '%u:%g', '/b/root', '/b/mapped')
    assert stat.split() == ['65534:65534', '3:4']


def test_the_hosts_namespace_for_one_container(client):
    client.ok('run', '-d', '--name', 'host', '--userns', 'host', IMAGE, 'sleep', '1000')
    assert ids(client, 'host') == [['0'] * 4] * 2
    assert client.inspect('host', '{{.HostConfig.UsernsMode}}') == 'host'
    client.ok('rm', '-f', 'host')
    client.ok('create', '--name', 'host', '--userns', 'host', '--privileged', '--network', 'host', IMAGE, 'true')
    client.ok('rm', 'host')


@pytest.mark.parametrize('options, words', [
    (['--privileged'], 'privileged mode is incompatible with user namespaces'),
    (['--network', 'host'], "cannot share the host's network namespace when user namespaces are enabled"),
    (['--pid', 'host'], 'cannot share the host PID namespace when user namespaces are enabled')])
def test_what_cannot_be(client, options, words):
    done = client('create', *options, IMAGE, 'true')
    assert done.code != 0 and words in done.err


def test_more_of_a_container(client):
    """What makes mounts or files of its own."""
    assert client.ok('run', '--rm', '--read-only', '--tmpfs', '/t', '--init', '--shm-size', '1m', '--ipc', 'shareable', IMAGE, 'sh', '-c',
                     'touch /t/a /dev/shm/b && stat -c %u /t/a /dev/shm/b && ls /dev/null && tty || true').split()[:3] == ['0', '0', '/dev/null']
    assert client.ok('run', '--rm', '-m', '64m', '--pids-limit', '20', '--sysctl', 'net.ipv4.ip_forward=0', IMAGE, 'cat', '/proc/sys/net/ipv4/ip_forward') == '0'
    client.ok('run', '-d', '--name', 'again', IMAGE, 'sh', '-c', 'touch /kept; exec sleep 1000')
    client.ok('restart', '-t', '0', 'again')
    until(lambda: client('exec', 'again', 'stat', '-c', '%u', '/kept').out == '0\n')
    client.ok('rm', '-f', 'again')


@pytest.mark.parametrize('value, words', [('nosuchuser', 'nosuchuser'), ('daemon', 'no subuid ranges found for user'), ('a:b:c', 'a:b:c')])
def test_bad_ranges_begin_nothing(value, words, tmp_path):
    for program in (str(places.BIN / 'gantryd'), '/usr/sbin/dockerd'):
        done = subprocess.run([program, f'--userns-remap={value}', f'--data-root={tmp_path}/root', f'--exec-root={tmp_path}/run',
                               f'--pidfile={tmp_path}/pid', '-H', f'unix://{tmp_path}/sock'],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        assert done.returncode == 1 and words in done.stdout, (program, done.stdout)


def test_another_mapping_is_no_taking_over(client):
    """What runs with one mapping is not served with another; afterwards all is as before. Last: it restarts the daemon."""
    engine = client.engine
    if engine.kind == 'p':
        pytest.skip('dockerd ends its containers with itself')
    client.ok('run', '-d', '--name', 'stays', IMAGE, 'sleep', '1000')
    engine.stop()
    arguments, engine.arguments = engine.arguments, []
    with pytest.raises(RuntimeError, match='before data-root or userns-remap change'):
        engine.start()
    engine.arguments = arguments
    engine.start()
    assert client.ok('exec', 'stays', 'id', '-u') == '0' and ids(client, 'stays') == [[str(FIRST)] * 4] * 2
    client.ok('rm', '-f', 'stays')
    assert [p.name for p in Path(engine.names.root).iterdir() if p.name[0].isdigit()] == [f'{FIRST}.{FIRST}']
