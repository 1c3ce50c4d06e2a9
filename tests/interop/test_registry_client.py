# SPDX-License-Identifier: Apache-2.0
"""What the client does with registries that are right but out of the ordinary: uploads that break and are gone on with, bodies
that are refused as too large, places at other servers, layers that are at a URL, and servers that ask to wait until a time."""
import email.utils
import hashlib
import http.server
import json
import random
import re
import socket
import threading
import time
import urllib.parse

import grpc
import pytest

from harness.registry import GantryRegistry, Layout, Registry, compressed, layer_tar
from harness.transfers import Containerd

MANIFEST = 'application/vnd.oci.image.manifest.v1+json'


class Scripted(http.server.BaseHTTPRequestHandler):
    """A registry in memory. `script` says what goes wrong, `log` what was asked."""
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def path_of(self):
        parsed = urllib.parse.urlparse(self.path)
        return parsed.path, {k: v[0] for k, v in urllib.parse.parse_qs(parsed.query).items()}

    def handle_one(self):
        server, (path, query) = self.server, self.path_of()
        server.log.append((self.command, path, self.headers.get('Content-Range', ''), dict(self.headers)))
        if '/blobs/uploads/' in path:
            return self.upload(server, path, query)
        kind, what = path.split('/')[-2:]
        found = server.blobs.get(what) if kind == 'blobs' else server.manifests.get(what)
        if self.command == 'PUT':
            text = self.rfile.read(int(self.headers['Content-Length']))
            digest = 'sha256:' + hashlib.sha256(text).hexdigest()
            server.manifests[what] = server.manifests[digest] = text
            return self.answer(201, Docker_Content_Digest=digest, Location=path)
        if found is None:
            return self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"nothing"}]}')
        more = {'Content_Type': json.loads(found)['mediaType'], 'Docker_Content_Digest': 'sha256:' + hashlib.sha256(found).hexdigest()} if kind == 'manifests' else {}
        self.answer(200, found, **more)

    def upload(self, server, path, query):
        session = path.rsplit('/', 1)[1]
        if self.command == 'POST':
            session = f's{len(server.uploads)}'
            server.uploads[session] = b''
            wait = server.script.pop('wait', None)
            if wait:
                return self.answer(429, b'{}', Retry_After=email.utils.formatdate(time.time() + wait, usegmt=True))
            place = server.script.get('other', '') + f'/v2/r/blobs/uploads/{session}?state={len(server.log)}'
            return self.answer(202, Location=place, Range='0-0', **server.script.get('begun', {}))
        if self.command == 'GET':
            have = len(server.uploads[session])
            return self.answer(204, Location=f'/v2/r/blobs/uploads/{session}?state={len(server.log)}', Range=f'0-{max(have - 1, 0)}')
        size = int(self.headers['Content-Length'])
        if 'largest' in server.script and size > server.script['largest']:
            self.close_connection = True
            self.answer(413, b'')
            self.rfile.read(size)  # as servers do that want their answer to be seen: closed at once, it is lost with the connection
            return None
        begin = int((self.headers.get('Content-Range') or f'{len(server.uploads[session]) if not size else 0}-').split('-')[0])
        if begin != len(server.uploads[session]) or server.script.pop('wrong range', 0):
            self.rfile.read(size)
            return self.answer(416, b'')
        while size > 0:
            data = self.rfile.read(min(size, 1 << 18))
            size -= len(data)
            server.uploads[session] += data
            server.cut -= len(data)
            if server.cut <= 0 and server.cuts > 0:
                server.cut, server.cuts = server.script['after'], server.cuts - 1
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return None
        if self.command == 'PATCH':
            return self.answer(202, Location=f'/v2/r/blobs/uploads/{session}?state={len(server.log)}', Range=f'0-{len(server.uploads[session]) - 1}')
        digest = 'sha256:' + hashlib.sha256(server.uploads[session]).hexdigest()
        if digest != query['digest']:
            return self.answer(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}')
        server.blobs[digest] = server.uploads.pop(session)
        server.uploads[f'done {session}'] = b''
        return self.answer(201, Location=f'/v2/r/blobs/{digest}', Docker_Content_Digest=digest)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_one


@pytest.fixture
def scripted():
    servers = []

    def make(**script):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Scripted)
        server.script, server.log, server.blobs, server.manifests, server.uploads = script, [], {}, {}, {}
        server.cut, server.cuts = script.get('after', 1 << 60), script.get('times', 0)
        server.name = f'127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server
    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope='module')
def layout(tmp_path_factory):
    layout, noise = Layout(tmp_path_factory.mktemp('client') / 'layout'), random.Random(9)
    layout.image('a', [layer_tar([('large', noise.randbytes(40 << 20), 0o644, 0)])])
    return layout


@pytest.fixture(scope='module')
def daemon(layout):
    daemon = Containerd(9).start()
    registry = Registry()
    registry.put(f'oci:{layout.folder}:a', 'a:1')
    daemon.client.pull(f'{registry.name}/a:1', name='image')
    registry.destroy()
    yield daemon
    daemon.destroy()


@pytest.fixture
def large(layout):
    return max((layout.folder / 'blobs/sha256').iterdir(), key=lambda p: p.stat().st_size)


def uploads(server, method):
    return [ranges for command, path, ranges, _ in server.log if command == method and '/uploads/' in path]


def check(server, large):
    digest = f'sha256:{large.name}'
    assert server.blobs[digest] == large.read_bytes() and '1' in server.manifests


def test_a_broken_upload_goes_on(scripted, daemon, large):
    server = scripted(after=13 << 20, times=2)
    daemon.client.push('image', f'{server.name}/r:1')
    check(server, large)
    [*_] = parts = [r for r in uploads(server, 'PUT') if r]
    assert len(parts) == 2 and all(re.fullmatch(rf'\d+-{large.stat().st_size - 1}', r) for r in parts), parts
    assert 13 << 20 <= int(parts[0].split('-')[0]) < int(parts[1].split('-')[0]), 'nothing is sent twice'
    assert len(uploads(server, 'POST')) == 2, 'no upload was begun anew'


def test_a_registry_that_lost_it_is_begun_anew(scripted, daemon, large):
    """It says that it has nothing of it: the same as before, so the whole is tried once more."""
    server = scripted(after=5 << 20, times=1)
    lost = Scripted.answer

    def forget(self, status, body=b'', **headers):
        if status == 204:
            status, headers = 404, {}
        return lost(self, status, body, **headers)
    Scripted.answer = forget
    try:
        daemon.client.push('image', f'{server.name}/r:1')
    finally:
        Scripted.answer = lost
    check(server, large)
    assert len(uploads(server, 'POST')) == 3


@pytest.mark.parametrize('script', [{}, {'wrong range': 1}, {'after': 25 << 20, 'times': 1}, {'begun': {'OCI-Chunk-Min-Length': str(18 << 20)}, 'large': 18 << 20}])
def test_too_large_for_one_request(scripted, daemon, large, script):
    server = scripted(largest=script.get('large', 16 << 20), **script)
    daemon.client.push('image', f'{server.name}/r:1')
    check(server, large)
    ends = [int(r.split('-')[1]) + 1 for r in uploads(server, 'PATCH')]
    assert ends[-1] == large.stat().st_size and len(ends) >= 3 and '' in uploads(server, 'PUT')


def test_one_that_takes_no_size_is_said(scripted, daemon):
    server = scripted(largest=1000)
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.push('image', f'{server.name}/r:1')
    assert 'status 413' in error.value.details() and len(uploads(server, 'PATCH')) == 1, error.value.details()


def test_a_place_at_another_server(scripted, daemon, large, tmp_path):
    """It gets the bytes, but neither password nor the headers of the configuration."""
    other = scripted()
    server = scripted(other=f'http://{other.name}')
    other.uploads = server.uploads
    hosts = tmp_path / 'certs.d' / server.name
    hosts.mkdir(parents=True)
    (hosts / 'hosts.toml').write_text(f'server = "http://{server.name}"\n[header]\nX-Secret = "mine"\n')
    daemon.client.push('image', f'{server.name}/r:1', hosts=str(tmp_path / 'certs.d'))
    assert other.blobs[f'sha256:{large.name}'] == large.read_bytes()
    assert all(h.get('X-Secret') == 'mine' for *_, h in server.log)
    assert other.log and not any('X-Secret' in h or 'Authorization' in h for *_, h in other.log)


def test_a_time_to_wait_until(scripted, daemon, large):
    server = scripted(wait=3)
    begin = time.monotonic()
    daemon.client.push('image', f'{server.name}/r:1')
    check(server, large)
    assert 1 < time.monotonic() - begin < 30


@pytest.mark.parametrize('kind', ['layer.nondistributable.v1.tar', 'docker'])
def test_a_layer_at_a_url(scripted, daemon, kind):
    """The registry has not got it; the second of two addresses has. It is not pushed anywhere."""
    plain = layer_tar([('foreign', b'far away', 0o644, 0)])
    digest = 'sha256:' + hashlib.sha256(plain).hexdigest()
    media = 'application/vnd.docker.image.rootfs.foreign.diff.tar' if kind == 'docker' else f'application/vnd.oci.image.{kind}'
    server, away = scripted(), scripted()
    away.blobs[digest] = plain
    config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': [digest]}}).encode()
    config_digest = 'sha256:' + hashlib.sha256(config).hexdigest()
    server.blobs[config_digest] = config
    urls = [f'http://{away.name}/v2/x/blobs/sha256:none', f'http://{away.name}/v2/x/blobs/{digest}']
    server.manifests['1'] = json.dumps({
        'schemaVersion': 2, 'mediaType': MANIFEST, 'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': config_digest, 'size': len(config)},
        'layers': [{'mediaType': media, 'digest': digest, 'size': len(plain), 'urls': urls}]}).encode()
    daemon.client.pull(f'{server.name}/f:1')
    assert [(p / 'foreign').read_text() for p in daemon.snapshots().values() if (p / 'foreign').exists()] == ['far away']
    assert [path for _, path, *_ in away.log] == ['/v2/x/blobs/sha256:none', f'/v2/x/blobs/{digest}']
    target = scripted()
    daemon.client.push(f'{server.name}/f:1', f'{target.name}/f:1')
    assert digest not in target.blobs and config_digest in target.blobs
    daemon.client.remove(f'{server.name}/f:1')
    away.blobs.clear()
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.pull(f'{server.name}/f:1')
    assert 'nothing' in error.value.details()


class WithClientCertificates(GantryRegistry):
    def places(self):
        return ['--tls-client-ca', self.folder / 'ca.pem', *super().places()]


@pytest.mark.parametrize('form', ['two files', 'one file', 'docker'])
def test_a_client_certificate(daemon, tmp_path, form):
    registry = WithClientCertificates(tls=True)
    try:
        hosts = tmp_path / registry.name
        hosts.mkdir()
        for name in ('ca.pem', 'tls.pem', 'tls.key'):
            (hosts / name).write_bytes((registry.folder / name).read_bytes())
        (hosts / 'both.pem').write_bytes((hosts / 'tls.pem').read_bytes() + (hosts / 'tls.key').read_bytes())
        head = f'server = "https://{registry.name}"\nca = "ca.pem"\n'
        (hosts / 'hosts.toml').write_text(head)
        with pytest.raises(grpc.RpcError) as error:
            daemon.client.push('image', f'{registry.name}/r:1', hosts=str(tmp_path))
        assert 'certificate' in error.value.details(), error.value.details()
        if form == 'docker':
            (hosts / 'hosts.toml').unlink()
            for old, new in (('ca.pem', 'ca.crt'), ('tls.pem', 'client.cert'), ('tls.key', 'client.key')):
                (hosts / old).rename(hosts / new)
        else:
            client = '[["tls.pem", "tls.key"]]' if form == 'two files' else '"both.pem"'
            (hosts / 'hosts.toml').write_text(f'{head}client = {client}\n')
        daemon.client.push('image', f'{registry.name}/r:1', hosts=str(tmp_path))
        daemon.client.pull(f'{registry.name}/r:1', hosts=str(tmp_path))
        daemon.client.remove(f'{registry.name}/r:1')
    finally:
        registry.destroy()


def test_zstd_chunked(scripted, daemon):
    """zstd with skippable frames (RFC 8878 section 3.1.2) between and behind, in which `zstd:chunked` keeps its table of contents;
    docker and containerd read it as any zstd."""
    plain = layer_tar([(f'file{i}', bytes([i]) * 50_000, 0o644, 0) for i in range(8)])
    skipped = b'\x50\x2a\x4d\x18' + (9).to_bytes(4, 'little') + b'contents!'
    pieces = [compressed(plain[i:i + 100_000], 'zstd') for i in range(0, len(plain), 100_000)]
    blob = skipped.join(pieces) + skipped + skipped
    server = scripted()
    name = lambda data: 'sha256:' + hashlib.sha256(data).hexdigest()
    config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': [name(plain)]}}).encode()
    server.blobs.update({name(blob): blob, name(config): config})
    server.manifests['1'] = json.dumps({
        'schemaVersion': 2, 'mediaType': MANIFEST, 'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': name(config), 'size': len(config)},
        'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar+zstd', 'digest': name(blob), 'size': len(blob),
                    'annotations': {'io.github.containers.zstd-chunked.manifest-position': '1:2:3:4'}}]}).encode()
    daemon.client.pull(f'{server.name}/z:1')
    [root] = [p for p in daemon.snapshots().values() if (p / 'file7').exists()]
    assert [(root / f'file{i}').read_bytes() == bytes([i]) * 50_000 for i in range(8)] == [True] * 8
    daemon.client.remove(f'{server.name}/z:1')


@pytest.mark.parametrize('asked, got', [('v6', 'v6'), ('v7', 'v7'), ('v5', 'v5'), ('', 'v7'), ('v8', 'v7')])
def test_variants(scripted, daemon, asked, got):
    """The nearest variant that the processor can run (containerd's platforms: arm without a variant is v7)."""
    server, manifests = scripted(), []
    name = lambda data: 'sha256:' + hashlib.sha256(data).hexdigest()
    for variant in ('v5', 'v6', 'v7'):
        plain = layer_tar([(variant, b'x', 0o644, 0)])
        config = json.dumps({'architecture': 'arm', 'variant': variant, 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': [name(plain)]}}).encode()
        manifest = json.dumps({'schemaVersion': 2, 'mediaType': MANIFEST,
                               'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': name(config), 'size': len(config)},
                               'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar', 'digest': name(plain), 'size': len(plain)}]}).encode()
        server.blobs.update({name(plain): plain, name(config): config})
        server.manifests[name(manifest)] = manifest
        manifests.append({'mediaType': MANIFEST, 'digest': name(manifest), 'size': len(manifest), 'platform': {'os': 'linux', 'architecture': 'arm', 'variant': variant}})
    server.manifests['1'] = json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.index.v1+json', 'manifests': manifests}).encode()
    wanted = {'os': 'linux', 'architecture': 'arm', 'variant': asked}
    store = daemon.client.store('arm', platforms=[wanted], unpacks=[{'snapshotter': 'overlayfs', 'platform': wanted}])
    daemon.client.transfer(daemon.client.registry(f'{server.name}/m:1', ''), store)
    found = {v for p in daemon.snapshots().values() for v in ('v5', 'v6', 'v7') if (p / v).exists()}
    daemon.client.remove('arm')
    assert found == {got}
