# SPDX-License-Identifier: Apache-2.0
"""docker-py, Debian's python3-docker, as a third kind of client."""
import io
import os
import tarfile
import threading

import docker
import pytest

from harness.places import IMAGE


@pytest.fixture
def sdk(client):
    if client.name != 'docker':
        pytest.skip('the SDK is its own client')
    api = docker.DockerClient(base_url=client.engine.host, version='auto', timeout=30)
    yield api
    api.close()


@pytest.fixture
def sleeper(sdk, names):
    return sdk.containers.run(IMAGE, ['sleep', '300'], detach=True, name=names())


def test_version(sdk):
    assert sdk.ping() and sdk.version()['Os'] == 'linux' and sdk.info()['OSType'] == 'linux'


def test_run(sdk):
    assert sdk.containers.run(IMAGE, 'echo hi', remove=True) == b'hi\n'
    with pytest.raises(docker.errors.ContainerError) as error:
        sdk.containers.run(IMAGE, ['sh', '-c', 'echo no >&2; exit 3'], remove=True)
    assert error.value.exit_status == 3 and b'no' in error.value.stderr


def test_exec(sleeper):
    code, (out, err) = sleeper.exec_run(['sh', '-c', 'echo o; echo e >&2; exit 4'], demux=True)
    assert (code, out, err) == (4, b'o\n', b'e\n')


def test_exec_socket(sleeper, sdk):
    ident = sdk.api.exec_create(sleeper.id, ['cat'], stdin=True)['Id']
    sock = sdk.api.exec_start(ident, socket=True)
    sock._sock.sendall(b'word')
    import socket
    sock._sock.shutdown(socket.SHUT_WR)
    from docker.utils.socket import frames_iter
    assert list(frames_iter(sock, tty=False)) == [(1, b'word')]
    assert sdk.api.exec_inspect(ident)['ExitCode'] == 0


def test_logs_stream(sdk, names):
    container = sdk.containers.run(IMAGE, ['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.1; done'], detach=True, name=names())
    assert b''.join(container.logs(stream=True, follow=True)) == b'1\n2\n3\n'
    assert container.wait()['StatusCode'] == 0


def test_wait_and_reload(sdk, sleeper):
    got = []
    waiter = threading.Thread(target=lambda: got.append(sleeper.wait(timeout=20)))
    waiter.start()
    sleeper.kill()
    waiter.join(20)
    assert got[0]['StatusCode'] == 137
    sleeper.reload()
    assert sleeper.status == 'exited'


def test_errors(sdk):
    with pytest.raises(docker.errors.NotFound):
        sdk.containers.get('nosuch')
    with pytest.raises(docker.errors.ImageNotFound):
        sdk.images.get('no/such')


def test_images(sdk):
    image = sdk.images.get(IMAGE)
    assert IMAGE in image.tags and image.tag('sdk/name', 'v')
    data = b''.join(sdk.images.get('sdk/name:v').save(named=True))
    sdk.images.remove('sdk/name:v')
    assert len(data) > 100000 and sdk.images.load(data)
    sdk.images.remove('sdk/name:v', force=True) if any('sdk/name:v' in i.tags for i in sdk.images.list()) else None


def test_events(sdk, names):
    stream = sdk.events(decode=True, filters={'type': 'container'})
    container = sdk.containers.run(IMAGE, 'true', detach=True, name=names())
    seen = []
    for event in stream:
        if event['Actor']['ID'] == container.id:
            seen.append(event['Action'])
            if event['Action'] == 'die':
                break
    assert seen == ['create', 'start', 'die']


def test_old_api_version(client):
    if client.name != 'docker':
        pytest.skip('the SDK is its own client')
    api = docker.APIClient(base_url=client.engine.host, version='1.40')
    assert api.ping()
    api.close()
    assert os.path.exists(client.engine.socket)


def test_archives(sdk, sleeper):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        item = tarfile.TarInfo('f.txt')
        item.size = 3
        tar.addfile(item, io.BytesIO(b'abc'))
    assert sleeper.put_archive('/tmp', data.getvalue())
    stream, stat = sleeper.get_archive('/tmp/f.txt')
    assert b'abc' in b''.join(stream) and stat['name'] == 'f.txt' and stat['size'] == 3
    assert {'Path': '/tmp/f.txt', 'Kind': 1} in sleeper.diff()
    assert b'bin/busybox' in b''.join(sleeper.export())


def test_commit_and_save(sdk, sleeper):
    name = f't{os.getpid()}-sdk'
    made = sleeper.commit(repository=name, tag='x', changes='ENV A=1\nCMD ["true"]')
    try:
        assert sdk.images.get(made.id).attrs['Config']['Cmd'] == ['true'] and f'{name}:x' in made.tags
        assert len(b''.join(made.save())) > 100000
    finally:
        sdk.images.remove(f'{name}:x', force=True)


def test_volumes(sdk):
    volume = sdk.volumes.create(f't{os.getpid()}-sdk', labels={'a': 'b'})
    try:
        assert sdk.containers.run(IMAGE, ['sh', '-c', 'echo v >/v/a; cat /v/a'], remove=True, volumes={volume.name: {'bind': '/v'}}) == b'v\n'
        assert [v.name for v in sdk.volumes.list(filters={'label': 'a=b'})] == [volume.name]
    finally:
        volume.remove()


def test_attach_to_the_log_of_one_that_ended(sdk, names):
    """The SDK reads the head of the answer through a buffer and the stream past it: the log must not come with the head."""
    container = sdk.containers.run(IMAGE, ['echo', 'hello'], detach=True, name=names())
    container.wait()
    for _ in range(20):
        assert container.attach(stream=False, logs=True) == b'hello\n'


def test_detach_keys_of_exec(sdk, sleeper):
    """`detachKeys` as the SDK spells it: a member's name is read in any case."""
    ident = sdk.api.exec_create(sleeper.id, ['cat'], stdin=True, tty=True, detach_keys='ctrl-p')
    assert sdk.api.exec_inspect(ident)['DetachKeys'] == 'ctrl-p'
    stream = sdk.api.exec_start(ident, tty=True, socket=True)
    stream._sock.settimeout(10)
    stream._sock.sendall(b'\x10')
    end = b''
    while piece := stream._sock.recv(128):
        end += piece
    assert end == b'' or end.startswith(b'exec attach failed: error on attach stdin: read escape sequence')
    stream.close()


def test_commit_of_one_that_ends(sdk, names):
    """A commit pauses its container; one that ends at that moment is committed all the same."""
    for _ in range(10):
        container = sdk.containers.run(IMAGE, ['touch', '/new'], detach=True, name=names())
        image = container.commit(repository=names())
        container.remove(force=True)
        sdk.images.remove(image.id, force=True)
