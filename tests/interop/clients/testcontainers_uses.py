# SPDX-License-Identifier: Apache-2.0
"""Uses of testcontainers as its users have them; test_testcontainers.py runs this file by the python that has the library,
in the engine's network namespace, with DOCKER_HOST. The reaper is off: its image can't be had."""
import os
import socket
import time
import urllib.request

import docker
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs

IMAGE = 'gantry/busybox:latest'
SOCKET = os.environ['DOCKER_HOST'].removeprefix('unix://')


def get(container, port, path='/'):
    """The server says that it serves a moment before it listens."""
    url = f'http://{container.get_container_host_ip()}:{container.get_exposed_port(port)}{path}'
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def server(text):
    return DockerContainer(IMAGE).with_command(['sh', '-c', f'mkdir /www; echo {text} >/www/index.html; echo serving; exec httpd -f -p 80 -h /www'])


def test_a_service_with_a_port():
    with server('page').with_exposed_ports(80) as container:
        wait_for_logs(container, 'serving', timeout=20)
        assert get(container, 80) == 'page\n'
        ident = container.get_wrapped_container().id
    with pytest.raises(docker.errors.NotFound):
        docker.from_env().containers.get(ident)


def test_environment_name_and_logs():
    with DockerContainer(IMAGE).with_env('WHO', 'me').with_name(f'tc-{os.getpid()}').with_command(
            ['sh', '-c', 'echo out $WHO; echo err >&2; sleep 1000']) as container:
        wait_for_logs(container, 'err', timeout=20)
        out, err = container.get_logs()
        assert (out, err) == (b'out me\n', b'err\n')
        assert container.get_wrapped_container().name == f'tc-{os.getpid()}'
        assert container.get_wrapped_container().labels['org.testcontainers'] == 'true'


def test_exec():
    with DockerContainer(IMAGE).with_command('sleep 1000') as container:
        assert tuple(container.exec(['sh', '-c', 'echo x; exit 3'])) == (3, b'x\n')
        assert container.exec('cat /etc/hostname').output.decode().strip() == container.get_wrapped_container().id[:12]


def test_volume(tmp_path):
    (tmp_path / 'file').write_text('given')
    with DockerContainer(IMAGE).with_volume_mapping(str(tmp_path), '/given', 'ro').with_command('sleep 1000') as container:
        assert container.exec('cat /given/file').output == b'given'
        assert container.exec('touch /given/x').exit_code != 0


def test_two_on_a_network():
    with Network() as network:
        with server('inside').with_network(network).with_network_aliases('pages') as first:
            wait_for_logs(first, 'serving', timeout=20)
            with DockerContainer(IMAGE).with_network(network).with_command('sleep 1000') as second:
                assert second.exec('wget -qO- http://pages/').output == b'inside\n'
                assert network.name in second.get_wrapped_container().attrs['NetworkSettings']['Networks']


def test_keyword_arguments():
    with DockerContainer(IMAGE).with_kwargs(mem_limit='32m', working_dir='/tmp', user='65534').with_command('sleep 1000') as container:
        assert container.exec('sh -c "pwd; id -u"').output == b'/tmp\n65534\n'
        assert container.get_wrapped_container().attrs['HostConfig']['Memory'] == 32 << 20


def test_a_failing_container():
    with DockerContainer(IMAGE).with_command(['sh', '-c', 'echo no >&2; exit 9']) as container:
        assert container.get_wrapped_container().wait()['StatusCode'] == 9
        with pytest.raises((TimeoutError, RuntimeError)):
            wait_for_logs(container, 'yes', timeout=2)


def test_the_engine_from_inside():
    """In the reaper's place: a container with the engine's socket bound in drives the engine's API through it."""
    # Not by `with`, whose end would miss it.
    ident = DockerContainer(IMAGE).with_command('sleep 1000').start().get_wrapped_container().id
    reaper = DockerContainer(IMAGE).with_command('sleep 1000').with_volume_mapping(SOCKET, '/var/run/docker.sock', 'rw')
    reaper = reaper.with_volume_mapping(os.environ['PROGRAM'], '/program')
    for libraries in ('/usr', '/lib', '/lib64'):
        reaper = reaper.with_volume_mapping(libraries, libraries)
    with reaper:
        def ask(*words):
            code, out = reaper.exec(['/program', '-H', 'unix:///var/run/docker.sock', *words])
            assert code == 0, out
            return out.decode().split()
        assert ident in ask('ps', '-q', '--no-trunc', '--filter', 'label=org.testcontainers=true')
        assert ask('rm', '-f', ident) == [ident]
    with pytest.raises(docker.errors.NotFound):
        docker.from_env().containers.get(ident)


def test_the_client_beneath():
    client = DockerClient()
    assert client.client.ping()
    with DockerContainer(IMAGE).with_command('sleep 1000') as container:
        ident = container.get_wrapped_container().id
        assert client.bridge_ip(ident).count('.') == 3
        assert socket.inet_aton(client.gateway_ip(ident))
        assert client.network_name(ident) == 'bridge'
