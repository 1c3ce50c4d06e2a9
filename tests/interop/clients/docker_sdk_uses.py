# SPDX-License-Identifier: Apache-2.0
"""Uses of docker's SDK for python as its users have them; test_docker_sdk.py runs this file by Debian's version and by the
newest of PyPI, with DOCKER_HOST. The plain ones are in tests/e2e/test_sdk.py."""
import io
import os
import socket
import tarfile
import threading
import time

import docker
import pytest
from docker.types import EndpointConfig, Healthcheck, LogConfig, Mount, NetworkingConfig, Ulimit

IMAGE = 'gantry/busybox:latest'
NAME = f'sdk{os.getpid()}'


@pytest.fixture(scope='module')
def sdk():
    client = docker.from_env(version='auto', timeout=60)
    yield client
    for container in client.containers.list(all=True, filters={'label': f'of={NAME}'}):
        container.remove(force=True, v=True)
    client.close()


@pytest.fixture
def start(sdk):
    def run(command=('sleep', '1000'), **options):
        return sdk.containers.run(IMAGE, list(command), detach=True, labels={'of': NAME}, **options)
    return run


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def test_every_setting_comes_back(sdk, start):
    container = start(
        name=f'{NAME}-set', hostname='host', environment={'A': '1'}, working_dir='/tmp', user='65534', cap_add=['NET_ADMIN'], cap_drop=['CHOWN'],
        mem_limit='64m', memswap_limit='64m', cpu_shares=256, cpu_quota=50000, cpu_period=100000, pids_limit=50, shm_size='8m', tmpfs={'/t': 'size=1m'},
        ulimits=[Ulimit(name='nofile', soft=100, hard=200)], sysctls={'net.ipv4.ip_default_ttl': '33'}, extra_hosts={'other': '1.2.3.4'},
        dns=['9.9.9.9'], dns_search=['example.org'], read_only=True, init=True, stop_signal='SIGINT', oom_score_adj=100,
        restart_policy={'Name': 'on-failure', 'MaximumRetryCount': 2}, log_config=LogConfig(type='json-file', config={'max-size': '1m'}),
        security_opt=['no-new-privileges'], group_add=['7'], mounts=[Mount('/m', None, type='tmpfs', tmpfs_size=1 << 20)], ipc_mode='private')
    host, config = container.attrs['HostConfig'], container.attrs['Config']
    assert (config['Hostname'], config['WorkingDir'], config['User'], config['StopSignal']) == ('host', '/tmp', '65534', 'SIGINT')
    assert (host['Memory'], host['CpuShares'], host['CpuQuota'], host['PidsLimit'], host['ShmSize']) == (64 << 20, 256, 50000, 50, 8 << 20)
    assert host['RestartPolicy'] == {'Name': 'on-failure', 'MaximumRetryCount': 2} and host['ReadonlyRootfs'] and host['Init']
    seen = container.exec_run(['sh', '-c', 'hostname; pwd; id -u; ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl; echo $A; grep -c other /etc/hosts; '
                               'grep -c 9.9.9.9 /etc/resolv.conf; touch /x 2>/dev/null || echo fixed; touch /t/x /m/x && echo free']).output.decode()
    assert seen.split() == ['host', '/tmp', '65534', '100', '33', '1', '1', '1', 'fixed', 'free']
    assert '7' in container.exec_run('id -G').output.decode().split()


def test_life(sdk, start):
    container = start(['sh', '-c', 'trap "exit 3" TERM; echo trapped; while :; do sleep 0.1; done'], name=f'{NAME}-life')
    container.pause()
    container.reload()
    assert container.status == 'paused'
    container.unpause()
    assert any('sleep 0.1' in ' '.join(row) or 'trap' in ' '.join(row) for row in container.top()['Processes'])
    container.rename(f'{NAME}-new')
    assert sdk.containers.get(f'{NAME}-new').id == container.id
    before = sdk.api.inspect_container(container.id)['State']['StartedAt']
    container.restart(timeout=10)
    assert sdk.api.inspect_container(container.id)['State']['StartedAt'] != before
    container.update(mem_limit='96m', memswap_limit='96m', restart_policy={'Name': 'no'})
    container.reload()
    assert container.attrs['HostConfig']['Memory'] == 96 << 20
    # Before the shell has set its trap the first process of a container takes no signal.
    while container.logs().count(b'trapped') < 2:
        pass
    container.stop(timeout=20)
    assert container.wait()['StatusCode'] == 3
    container.start()
    container.kill('SIGKILL')
    assert container.wait(condition='not-running')['StatusCode'] == 137
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        container.reload()


def test_waits(sdk, start):
    container = start(['sh', '-c', 'sleep 0.5; exit 6'], auto_remove=True)
    assert container.wait(condition='removed')['StatusCode'] == 6
    slow = start()
    with pytest.raises(Exception) as error:
        slow.wait(timeout=1)
    assert 'timed out' in str(error.value).lower()


def test_logs(start):
    container = start(['sh', '-c', 'for i in 1 2 3 4; do echo o$i; echo e$i >&2; done'])
    container.wait()
    assert sorted(container.logs().split()) == [b'e1', b'e2', b'e3', b'e4', b'o1', b'o2', b'o3', b'o4']
    assert container.logs(stderr=False) == b'o1\no2\no3\no4\n' and len(container.logs(tail=2).split()) == 2
    stamp, _, word = container.logs(stderr=False, timestamps=True).splitlines()[-1].partition(b' ')
    assert word == b'o4' and stamp.endswith(b'Z')
    assert container.logs(since=int(time.time()) + 100) == b''
    assert [line for line in container.logs(stream=True, stdout=True, stderr=False)] and container.logs(until=1) == b''


def test_exec(sdk, start):
    container = start()
    assert container.exec_run('cat /nosuch').exit_code == 1
    assert container.exec_run(['sh', '-c', 'echo $A; pwd; id -u'], environment=['A=x'], workdir='/tmp', user='65534').output == b'x\n/tmp\n65534\n'
    assert b''.join(container.exec_run(['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.05; done'], stream=True).output) == b'1\n2\n3\n'
    ident = sdk.api.exec_create(container.id, ['sh', '-c', 'test -t 0 && stty size'], tty=True, stdin=True)['Id']
    raw = sdk.api.exec_start(ident, tty=True, socket=True)
    assert raw and sdk.api.exec_inspect(ident)['ProcessConfig']['tty']
    detached = sdk.api.exec_create(container.id, ['touch', '/done'])['Id']
    sdk.api.exec_start(detached, detach=True)
    until(lambda: container.exec_run('ls /done').exit_code == 0)


def test_attach(sdk):
    made = sdk.api.create_container(IMAGE, ['cat'], stdin_open=True, labels={'of': NAME}, host_config=sdk.api.create_host_config())
    stream = sdk.api.attach_socket(made['Id'], params={'stdin': 1, 'stdout': 1, 'stderr': 1, 'stream': 1})
    sdk.api.start(made['Id'])
    raw = getattr(stream, '_sock', stream)
    raw.sendall(b'word\n')
    raw.shutdown(socket.SHUT_WR)
    data = b''
    while piece := raw.recv(4096):
        data += piece
    assert data[8:] == b'word\n'
    assert sdk.api.wait(made['Id'])['StatusCode'] == 0
    assert sdk.api.logs(made['Id']) == b'word\n'


def test_stats(start):
    container = start()
    first = container.stats(stream=False)
    assert first['id'] == container.id and first['cpu_stats']['cpu_usage']['total_usage'] >= first['precpu_stats']['cpu_usage']['total_usage']
    stream = container.stats(decode=True, stream=True)
    two = [next(stream), next(stream)]
    assert two[1]['precpu_stats']['cpu_usage'] == two[0]['cpu_stats']['cpu_usage'] and two[0]['read'] < two[1]['read']


def test_health(start):
    container = start(['sh', '-c', 'sleep 0.5; touch /up; sleep 1000'],
                      healthcheck=Healthcheck(test=['CMD', 'test', '-f', '/up'], interval=200_000_000, timeout=5_000_000_000, retries=100))
    until(lambda: (container.reload(), container.attrs['State']['Health']['Status'] == 'healthy')[1])


def test_networks(sdk, start):
    network = sdk.networks.create(f'{NAME}-net', driver='bridge', labels={'of': NAME}, internal=True,
                                  ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet='10.98.3.0/24', gateway='10.98.3.1')]))
    try:
        first = start(name=f'{NAME}-a', network=network.name)
        second = start()
        network.connect(second, aliases=['other'], ipv4_address='10.98.3.77')
        assert first.exec_run(['sh', '-c', 'nslookup other 2>&1']).output.decode().count('10.98.3.77') == 1
        network.reload()
        assert {c.id for c in network.containers} == {first.id, second.id}
        with pytest.raises(docker.errors.APIError):
            network.remove()
        network.disconnect(second, force=True)
        assert [n.name for n in sdk.networks.list(names=[network.name])] == [network.name]
        made = sdk.api.create_container(IMAGE, ['true'], labels={'of': NAME}, networking_config=NetworkingConfig(
            {network.name: EndpointConfig('1.40', aliases=['low'], ipv4_address='10.98.3.9')}), host_config=sdk.api.create_host_config(network_mode=network.name))
        sdk.api.start(made['Id'])
        assert sdk.api.inspect_container(made['Id'])['HostConfig']['NetworkMode'] == network.name
    finally:
        for container in sdk.containers.list(all=True, filters={'label': f'of={NAME}'}):
            container.remove(force=True)
        network.remove()
    assert sdk.networks.list(filters={'label': f'of={NAME}'}) == []


def test_ports(start):
    container = start(['httpd', '-f', '-p', '80', '-h', '/etc'], ports={'80/tcp': ('127.0.0.1', None), '53/udp': None})
    container.reload()
    port = container.ports['80/tcp'][0]
    assert port['HostIp'] == '127.0.0.1' and '53/udp' in container.ports
    with socket.create_connection(('127.0.0.1', int(port['HostPort'])), 10) as connection:
        connection.sendall(b'GET /passwd HTTP/1.0\r\n\r\n')
        assert connection.makefile('rb').read().split()[1] == b'200'


def test_volumes(sdk, start):
    volume = sdk.volumes.create(f'{NAME}-v', labels={'of': NAME})
    try:
        writer = start(volumes={volume.name: {'bind': '/v', 'mode': 'rw'}})
        assert writer.exec_run(['sh', '-c', 'echo kept >/v/f']).exit_code == 0
        reader = start(mounts=[Mount('/v', volume.name, type='volume', read_only=True)])
        assert reader.exec_run('cat /v/f').output == b'kept\n' and reader.exec_run('touch /v/x').exit_code != 0
        with pytest.raises(docker.errors.APIError) as error:
            volume.remove()
        assert error.value.status_code == 409
        follower = start(volumes_from=[writer.id])
        assert follower.exec_run('cat /v/f').output == b'kept\n'
        for container in (writer, reader, follower):
            container.remove(force=True)
        assert not sdk.volumes.prune(filters={'label': ['nosuch']})['VolumesDeleted']
    finally:
        volume.remove(force=True)


def test_lists_and_prunes(sdk, start):
    for container in sdk.containers.list(all=True, filters={'label': f'of={NAME}'}):
        container.remove(force=True)
    running, ended = start(name=f'{NAME}-r'), start(['true'])
    ended.wait()
    ours = {'label': f'of={NAME}'}
    assert [c.id for c in sdk.containers.list(filters=ours)] == [running.id]
    assert {c.id for c in sdk.containers.list(all=True, filters=ours)} == {running.id, ended.id}
    assert [c.id for c in sdk.containers.list(filters={**ours, 'name': f'{NAME}-r'})] == [running.id]
    assert [c.id for c in sdk.containers.list(all=True, filters={**ours, 'status': 'exited'})] == [ended.id]
    assert sdk.containers.prune(filters=ours)['ContainersDeleted'] == [ended.id]
    running.remove(force=True)


def test_images(sdk, start):
    image = sdk.images.get(IMAGE)
    assert image.history() and image.attrs['Os'] == 'linux'
    assert image.tag(f'{NAME}/i', tag='one') and f'{NAME}/i:one' in [t for i in sdk.images.list(name=f'{NAME}/i') for t in i.tags]
    saved = b''.join(sdk.images.get(IMAGE).save(named=f'{NAME}/i:one'))
    sdk.images.remove(f'{NAME}/i:one')
    assert f'{NAME}/i:one' in sdk.images.load(saved)[0].tags
    sdk.images.remove(f'{NAME}/i:one')
    container = start(['sh', '-c', 'echo made >/made'])
    container.wait()
    made = container.commit(f'{NAME}/c', 'two', message='m', author='a', conf={'Cmd': ['cat', '/made'], 'Env': ['X=y']})
    try:
        assert sdk.containers.run(made.id, remove=True) == b'made\n'
        assert made.attrs['Author'] == 'a' and 'X=y' in made.attrs['Config']['Env']
    finally:
        container.remove()
        sdk.images.remove(f'{NAME}/c:two', force=True)
    with pytest.raises(docker.errors.ImageNotFound):
        sdk.images.get(f'{NAME}/c:two')


def test_import_of_an_archive(sdk):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        item = tarfile.TarInfo('only')
        item.size = 2
        tar.addfile(item, io.BytesIO(b'me'))
    sdk.api.import_image_from_data(data.getvalue(), repository=f'{NAME}/imported', tag='t')
    try:
        assert sdk.images.get(f'{NAME}/imported:t').attrs['RootFS']['Layers']
    finally:
        sdk.images.remove(f'{NAME}/imported:t')


def test_archives(start):
    container = start()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w:gz') as tar:
        for name in ('d/one', 'd/two'):
            item = tarfile.TarInfo(name)
            item.size, item.mode = 3, 0o640
            tar.addfile(item, io.BytesIO(b'abc'))
    assert container.put_archive('/tmp', data.getvalue())
    assert container.exec_run(['sh', '-c', 'stat -c %a /tmp/d/one; cat /tmp/d/two']).output == b'640\nabc'
    stream, stat = container.get_archive('/tmp/d')
    with tarfile.open(fileobj=io.BytesIO(b''.join(stream))) as tar:
        assert sorted(tar.getnames()) == ['d', 'd/one', 'd/two'] and stat['name'] == 'd'
    with pytest.raises(docker.errors.NotFound):
        container.get_archive('/nosuch')


def test_events_by_filter(sdk, start):
    begin, seen = int(time.time()), []
    stream = sdk.events(decode=True, filters={'label': f'of={NAME}', 'event': ['die', 'destroy']})

    def read():
        for event in stream:
            seen.append(event['Action'])
            if event['Action'] == 'destroy':
                return
    reader = threading.Thread(target=read)
    reader.start()
    container = start(['true'])
    container.wait()
    container.remove()
    reader.join(30)
    assert seen == ['die', 'destroy']
    again = list(sdk.events(decode=True, since=begin, until=int(time.time()) + 1, filters={'container': container.id, 'type': 'container'}))
    assert [e['Action'] for e in again] == ['create', 'start', 'die', 'destroy']


def test_errors(sdk, start):
    with pytest.raises(docker.errors.NotFound):
        sdk.containers.get('nosuch').stop()
    with pytest.raises(docker.errors.APIError) as error:
        start(['nosuch-program'])
    assert 'nosuch-program' in str(error.value)
    taken = start(name=f'{NAME}-taken')
    with pytest.raises(docker.errors.APIError) as error:
        start(name=f'{NAME}-taken')
    assert error.value.status_code == 409 and 'already in use' in error.value.explanation
    with pytest.raises(docker.errors.APIError) as error:
        taken.remove()
    assert error.value.status_code == 409
    with pytest.raises(docker.errors.NullResource):
        sdk.api.inspect_container('')


def test_system(sdk):
    usage = sdk.df()
    assert {'Images', 'Containers', 'Volumes'} <= set(usage) or {'ImageUsage', 'ContainerUsage', 'VolumeUsage'} <= set(usage), 'by API version'
    assert sdk.info()['ContainersRunning'] >= 0 and sdk.version()['ApiVersion']
