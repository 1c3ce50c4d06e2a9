# SPDX-License-Identifier: Apache-2.0
"""Images between Debian's docker-registry and gantry-containerd: through the Transfer service, and through ctr, which pulls
and pushes by itself over Content and Images. skopeo is the judge of what was pushed. A newer ctr, which uses Transfer, is
taken from /usr/local/bin or GANTRY_CTR."""
import hashlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from harness.transfers import Containerd
from harness.engine import until
from harness.registry import OCI, Layout, Registry, ask, layer_tar, put_blob

NEW_CTR = os.environ.get('GANTRY_CTR') or shutil.which('ctr', path='/usr/local/bin')
NOISE = random.Random(1).randbytes(3 << 20)
BASE = [('bin', None, 0o755, 0), ('bin/sh', b'#!shell', 0o755, 0), ('gone', b'x', 0o644, 0), ('etc', None, 0o755, 0), ('etc/link', '../bin/sh', 0o777, 0)]
TARS = [layer_tar(BASE), layer_tar([('data', None, 0o750, 7), ('data/big', NOISE, 0o640, 1234), ('.wh.gone', b'', 0o644, 0)])]


@pytest.fixture(scope='module')
def layout(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp('oci') / 'layout')
    for kind in ('gzip', 'zstd', 'none'):
        layout.image(kind, TARS, compression=kind)
    other = layer_tar([('arm', b'64', 0o644, 0)])
    layout.index('index', {'amd64': TARS, 'arm64': [other]})
    layout.index('three', {'amd64': TARS, 'riscv64': [layer_tar([('riscv', b'64', 0o644, 0)])], 'arm64': [other]})
    return layout


@pytest.fixture(scope='module')
def registry(layout):
    registry = Registry()
    for kind in ('gzip', 'zstd', 'none'):
        registry.put(f'oci:{layout.folder}:{kind}', f'{kind}:1')
    registry.put(f'oci:{layout.folder}:gzip', 'docker:1', '--format', 'v2s2')
    for kind in ('index', 'three'):
        registry.put(f'oci:{layout.folder}:{kind}', f'{kind}:1', '--all')
    yield registry
    registry.destroy()


@pytest.fixture
def daemon():
    daemon = Containerd().start()
    yield daemon
    daemon.destroy()


def files_of(daemon):
    """What the topmost snapshot holds; the layers are known. One that a killed daemon was filling is the collector's."""
    top = [p for k, p in daemon.snapshots().items() if not k.startswith('extract-') and (p / 'data/big').exists()]
    assert len(top) == 1
    big = top[0] / 'data/big'
    assert big.read_bytes() == NOISE and (big.stat().st_mode & 0o7777, big.stat().st_uid) == (0o640, 1234)
    assert (top[0] / 'data').stat().st_mode & 0o7777 == 0o750 and (top[0] / 'gone').is_char_device()


def gone(daemon):
    """Removes all images; then nothing may be left."""
    for name, in daemon.rows('SELECT name FROM images'):
        daemon.client.remove(name)
    assert daemon.settled() == []


@pytest.mark.parametrize('kind', ['gzip', 'zstd', 'none', 'docker', 'index'])
def test_pull(registry, daemon, kind):
    reference = f'{registry.name}/{kind}:1'
    progress = daemon.client.pull(reference)
    assert daemon.client.target(reference).digest == registry.digest(f'{kind}:1')
    assert daemon.damaged() == [] and daemon.ingests() == {}
    files_of(daemon)
    layers = {p.desc.digest for p in progress.of('complete')}
    assert len(layers) >= 3 and {p.name for p in progress.of('extracted')} < layers and len(progress.of('extracted')) == 2
    # The same once more brings nothing.
    before = len(registry.requests())
    again = daemon.client.pull(reference)
    assert not again.of('downloading') and len(again.of('already exists')) >= 2
    assert not [r for r in registry.requests()[before:] if '/blobs/' in r]
    gone(daemon)


def test_an_artifact_comes_and_goes_as_it_is(registry, daemon):
    """A chart, an SBOM: no configuration of an image, no layers of one; nothing is unpacked."""
    config = {'mediaType': 'application/vnd.test.config.v1+json', **put_blob(registry, 'art', b'{"chart":"x"}')}
    text = json.dumps({'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'artifactType': 'application/vnd.test', 'config': config,
                       'layers': [{'mediaType': 'application/vnd.test.chart.v1.tar+gzip', **put_blob(registry, 'art', b'no archive')}]}).encode()
    ask(registry, 'PUT', 'art/manifests/1', text, Content_Type=OCI + 'manifest.v1+json')
    before = daemon.snapshots()
    daemon.client.pull(f'{registry.name}/art:1')
    assert daemon.snapshots() == before and daemon.damaged() == []
    daemon.client.push(f'{registry.name}/art:1', f'{registry.name}/art-again:1')
    assert registry.digest('art-again:1') == registry.digest('art:1') == 'sha256:' + hashlib.sha256(text).hexdigest()
    gone(daemon)


def test_all_platforms_of_an_index(registry, daemon):
    reference = f'{registry.name}/index:1'
    daemon.client.pull(reference, all_platforms=True)
    daemon.client.push(reference, f'{registry.name}/index-again:1')
    assert registry.digest('index-again:1') == registry.digest('index:1')
    daemon.client.push(reference, f'{registry.name}/arm:1', platforms=['arm64'])
    assert registry.digest('arm:1') != registry.digest('index:1')
    daemon.client.push(reference, f'{registry.name}/both:1', platforms=['arm64', 'amd64'])
    assert registry.digest('both:1') == registry.digest('index:1'), 'these are all of them'
    gone(daemon)


def test_push_of_chosen_platforms(registry, daemon, tmp_path):
    """Some of an index: a registry has them with all their layers, and an index that names nothing else."""
    reference = f'{registry.name}/three:1'
    daemon.client.pull(reference, all_platforms=True)
    other = Registry()
    try:
        daemon.client.push(reference, f'{other.name}/two:1', platforms=['arm64', 'amd64'])
        index = json.loads(other.skopeo('inspect', '--raw', *other.credentials(''), f'docker://{other.name}/two:1'))
        whole = json.loads(registry.skopeo('inspect', '--raw', *registry.credentials(''), f'docker://{registry.name}/three:1'))
        assert [m['platform']['architecture'] for m in index['manifests']] == ['amd64', 'arm64']
        assert index['manifests'] == [m for m in whole['manifests'] if m['platform']['architecture'] != 'riscv64']
        other.read_back('two:1', tmp_path / 'back', '--all')
        with pytest.raises(grpc.RpcError) as error:
            daemon.client.push(reference, f'{other.name}/none:1', platforms=['amd64', 's390x'])
        assert error.value.code() == grpc.StatusCode.NOT_FOUND and 'linux/s390x' in error.value.details()
    finally:
        other.destroy()
    gone(daemon)


def test_platform_that_is_not_there(registry, daemon):
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.pull(f'{registry.name}/index:1', platform='s390x')
    assert error.value.code() == grpc.StatusCode.NOT_FOUND and 'linux/s390x' in error.value.details()
    assert daemon.settled() == []


def test_push_checks_mounts_and_uploads(registry, daemon, tmp_path):
    source = f'{registry.name}/gzip:1'
    daemon.client.pull(source)
    # To another repository of the registry it came from: everything is mounted.
    progress = daemon.client.push(source, f'{registry.name}/mounted/a:2')
    assert len(progress.of('mounted')) == 3 and not progress.of('uploading')
    assert registry.digest('mounted/a:2') == registry.digest('gzip:1')
    # Once more: everything is there.
    assert len(daemon.client.push(source, f'{registry.name}/mounted/a:2').of('already exists')) == 4
    # To a registry that knows nothing: everything goes up.
    with_nothing = Registry()
    try:
        progress = daemon.client.push(source, f'{with_nothing.name}/b/c:3')
        assert progress.of('uploading') and not progress.of('mounted')
        with_nothing.read_back('b/c:3', tmp_path / 'back')
        assert with_nothing.digest('b/c:3') == registry.digest('gzip:1')
    finally:
        with_nothing.destroy()


def test_push_of_what_is_not_whole(registry, daemon):
    reference = f'{registry.name}/index:1'
    daemon.client.pull(reference)  # one platform
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.push(reference, f'{registry.name}/part:1')
    assert error.value.code() == grpc.StatusCode.NOT_FOUND and 'content sha256:' in error.value.details()
    assert 'part' not in registry.skopeo('inspect', *registry.credentials(''), f'docker://{registry.name}/part:1', check=False)
    daemon.client.push(reference, f'{registry.name}/part:1', platforms=['amd64'])
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.push('nothing:1', f'{registry.name}/part:2')
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize('auth', ['basic', 'token'])
def test_authentication(layout, daemon, auth, tmp_path):
    registry = Registry(auth)
    try:
        registry.put(f'oci:{layout.folder}:gzip', 'a/b:1')
        reference = f'{registry.name}/a/b:1'
        for credentials in (None, ('user', 'wrong')):
            with pytest.raises(grpc.RpcError) as error:
                daemon.client.pull(reference, credentials=credentials)
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED, error.value.details()
        assert daemon.settled() == []
        daemon.client.pull(reference, credentials=('user', 'pass word'))
        assert daemon.client.asked.host == registry.name and daemon.client.asked.reference == reference
        progress = daemon.client.push(reference, f'{registry.name}/c/d:1', credentials=('user', 'pass word'))
        assert len(progress.of('mounted')) == 3
        registry.read_back('c/d:1', tmp_path / 'back')
        if auth == 'token':
            assert [f'repository:a/b:pull'] in registry.tokens.asked
            assert [f'repository:c/d:pull,push', 'repository:a/b:pull'] in registry.tokens.asked
            gone(daemon)
            daemon.client.pull(reference, credentials=('', 'refresh-1'))
            assert registry.tokens.refreshed == 1 and daemon.damaged() == []
    finally:
        registry.destroy()


def test_tls_and_hosts_toml(layout, daemon, tmp_path, registry):
    secret = Registry(tls=True)
    try:
        secret.put(f'oci:{layout.folder}:gzip', 'a/b:1')
        # A name that is nowhere: everything comes from what hosts.toml says.
        hosts = tmp_path / 'certs.d/nowhere.invalid'
        hosts.mkdir(parents=True)
        reference = 'nowhere.invalid/a/b:1'

        def write(text):
            (hosts / 'hosts.toml').write_text(text)

        def pull():
            return daemon.client.pull(reference, hosts=str(tmp_path / 'certs.d'))

        def refused(*words):
            with pytest.raises(grpc.RpcError) as error:
                pull()
            assert all(w in error.value.details() for w in words), error.value.details()
        refused('nowhere.invalid')
        write(f'server = "https://{secret.name}"\n')
        refused('certificate')
        shutil.copy(secret.folder / 'ca.pem', hosts)
        write(f'server = "https://{secret.name}"\nca = "ca.pem"\n')
        pull()
        assert daemon.client.target(reference).digest == secret.digest('a/b:1')
        gone(daemon)
        write(f'server = "https://{secret.name}"\nskip_verify = true\n')
        pull()
        gone(daemon)
        # The first mirror is down, the second one may not resolve, the third one has it below another path.
        write(f'server = "http://127.0.0.1:1"\n[host."http://127.0.0.1:2"]\n[host."http://{registry.name}"]\ncapabilities = ["pull"]\n'
              f'[host."https://{secret.name}/v2"]\noverride_path = true\nca = "ca.pem"\n')
        before = len(registry.requests())
        pull()
        asked = registry.requests()[before:]
        assert asked and all('?ns=nowhere.invalid' in r and '/manifests/1' not in r for r in asked), asked
        gone(daemon)
        write('[host."https://x"]\ncapabilities = "fly"\n')
        refused('hosts.toml', 'line 2', 'fly')
        # What must not be pushed to is not.
        write(f'server = "http://127.0.0.1:1"\n[host."https://{secret.name}"]\ncapabilities = ["pull", "resolve"]\nca = "ca.pem"\n')
        pull()
        with pytest.raises(grpc.RpcError) as error:
            daemon.client.push(reference, 'nowhere.invalid/a/b:2', hosts=str(tmp_path / 'certs.d'))
        assert '127.0.0.1:1' in error.value.details()
    finally:
        secret.destroy()


class Cutter:
    """A TCP forwarder to the registry that breaks a connection off after so many bytes, `times` times in all."""

    def __init__(self, port, after, times):
        import socket
        self.left, self.after, self.target = times, after, port
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        import socket
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            server = socket.create_connection(('127.0.0.1', self.target))
            threading.Thread(target=self.copy, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, self.after), daemon=True).start()

    def copy(self, source, sink, after):
        import socket
        total = 0
        try:
            while data := source.recv(65536):
                total += len(data)
                if after and total > after and self.left > 0:
                    self.left -= 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.server.close()


def test_connections_that_break(registry, daemon):
    cutter = Cutter(registry.port, 700_000, 3)
    try:
        reference = f'127.0.0.1:{cutter.port}/gzip:1'
        before = len(registry.requests())
        daemon.client.pull(reference)
        assert cutter.left == 0 and daemon.damaged() == []
        files_of(daemon)
        assert len([r for r in registry.requests()[before:] if '/blobs/' in r]) == 6, 'each cut was gone on from'
        gone(daemon)
    finally:
        cutter.close()


def test_pull_goes_on_after_the_daemon_was_killed(registry, daemon):
    """Cut in the middle of the large layer for good; the next daemon asks for the rest only."""
    cutter = Cutter(registry.port, 1_500_000, 1000)
    reference = f'127.0.0.1:{cutter.port}/none:1'
    try:
        worker = threading.Thread(target=lambda: pytest.raises(grpc.RpcError, daemon.client.pull, reference))
        worker.start()
        until(lambda: sum(p.stat().st_size for p in (daemon.root / 'content/ingest').glob('*/data')) > 1_000_000, 20)
        daemon.restart()
        worker.join(30)
        partial = sum(p.stat().st_size for p in (daemon.root / 'content/ingest').glob('*/data'))
        assert partial > 1_000_000
        cutter.left = 0
        progress = daemon.client.pull(reference)
        resumed = [p.progress for p in progress.of('downloading') if p.total > 3_000_000]
        assert resumed[0] >= 1_000_000, resumed
        files_of(daemon)
        assert daemon.damaged() == [] and daemon.ingests() == {}
        gone(daemon)
    finally:
        cutter.close()


def test_cancel(registry, daemon):
    """The client goes in the middle: nothing but what can be resumed stays, and the next pull works."""
    cutter = Cutter(registry.port, 0, 0)
    reference = f'127.0.0.1:{cutter.port}/none:1'
    with pytest.raises(grpc.FutureCancelledError):
        daemon.client.pull(reference, on_progress=lambda step: 'cancel' if step.event == 'downloading' else None)
    until(lambda: all(i.split('/', 1)[1].startswith('layer-') for i in daemon.ingests().values()) and not daemon.snapshots(), 10)
    until(lambda: not daemon.blobs() and not daemon.rows('SELECT 1 FROM leases'), 10)
    assert not daemon.rows('SELECT 1 FROM images')
    daemon.client.pull(reference)
    files_of(daemon)
    cutter.close()


def test_large_layer_in_parts(layout, tmp_path):
    big = random.Random(2).randbytes(80 << 20)
    own = Layout(tmp_path / 'layout')
    own.image('big', [layer_tar([('big', big, 0o644, 0)])], compression='none')
    registry, daemon = Registry(), Containerd(1, ['--parallel-parts', '3'])
    try:
        daemon.start()
        registry.put(f'oci:{own.folder}:big', 'big:1')
        daemon.client.pull(f'{registry.name}/big:1')
        assert daemon.damaged() == []
        assert any((p / 'big').read_bytes() == big for p in daemon.snapshots().values())
        assert len([r for r in registry.requests() if r.startswith('GET') and '/blobs/' in r]) == 12, 'a config, and 11 parts of 8 MiB'
        gone(daemon)
    finally:
        daemon.destroy()
        registry.destroy()


def test_tag_export_import(registry, daemon, tmp_path):
    reference = f'{registry.name}/docker:1'
    daemon.client.pull(reference)
    daemon.client.tag(reference, 'example.org/x:1')
    assert daemon.client.target('example.org/x:1').digest == registry.digest('docker:1')
    daemon.ctr('images', 'export', tmp_path / 'x.tar', 'example.org/x:1')
    gone(daemon)
    daemon.ctr('images', 'import', tmp_path / 'x.tar')
    assert daemon.client.target('example.org/x:1').digest == registry.digest('docker:1')
    gone(daemon)


def test_umocis_image(daemon, tmp_path):
    registry, layout = Registry(), tmp_path / 'layout'
    try:
        def umoci(*words):
            subprocess.run(['umoci', *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        umoci('init', '--layout', layout)
        umoci('new', '--image', f'{layout}:u')
        (tmp_path / 'file').write_text('from umoci')
        umoci('insert', '--image', f'{layout}:u', tmp_path / 'file', '/deep/file')
        registry.put(f'oci:{layout}:u', 'u:1')
        daemon.client.pull(f'{registry.name}/u:1')
        assert [(p / 'deep/file').read_text() for p in daemon.snapshots().values()] == ['from umoci']
        gone(daemon)
    finally:
        registry.destroy()


CTRS = [('ctr', ['--plain-http'])] + ([(NEW_CTR, ['--plain-http', '--local']), (NEW_CTR, [])] if NEW_CTR else [])


@pytest.mark.parametrize('program, options', CTRS, ids=[f'{Path(p).name}{i}' for i, (p, _) in enumerate(CTRS)])
@pytest.mark.parametrize('kind', ['gzip', 'docker', 'index'])
def test_ctr(registry, daemon, program, options, kind, tmp_path):
    """Debian's ctr 1.6 and, where there is one, a newer ctr with and without Transfer."""
    reference, pushed = f'{registry.name}/{kind}:1', f'{registry.name}/ctr/{kind}:{time.monotonic_ns()}'
    daemon.ctr('images', 'pull', *options, reference, program=program)
    files_of(daemon)
    if kind != 'index':
        daemon.ctr('images', 'push', *options, pushed, reference, program=program)
        registry.read_back(pushed.split('/', 1)[1], tmp_path / 'back')
        assert registry.digest(pushed.split('/', 1)[1]) == registry.digest(f'{kind}:1')
    assert daemon.damaged() == []
    gone(daemon)
