# SPDX-License-Identifier: Apache-2.0
"""`gantry registry serve`: each endpoint of the distribution-spec, first shown on Debian's docker-registry where that has
it; skopeo, buildah and podman push and pull; the spec's own conformance suite where it is at hand."""
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from harness import places
from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE
from harness.registry import OCI, GantryRegistry, Layout, Registry, free_port, layer_tar
from harness.transfers import StoreRegistry
from traces import end

SERVERS = {'docker-registry': Registry, 'gantry': GantryRegistry, 'store': StoreRegistry}
MANIFEST, INDEX = OCI + 'manifest.v1+json', OCI + 'index.v1+json'


class Client:
    def __init__(self, registry, authorization=None):
        self.registry, self.authorization = registry, authorization

    def __call__(self, method, path, body=None, **headers):
        """(status, headers, body); header names with '_' for '-'."""
        if self.registry.tls:
            context = ssl.create_default_context(cafile=self.registry.folder / 'ca.pem')
            connection = http.client.HTTPSConnection('127.0.0.1', self.registry.port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection('127.0.0.1', self.registry.port, timeout=30)
        fields = {name.replace('_', '-'): value for name, value in headers.items()}
        if self.authorization:
            fields['Authorization'] = self.authorization
        with contextlib.closing(connection):
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def begin(self, name, query=''):
        status, headers, _ = self('POST', f'/v2/{name}/blobs/uploads/{query}', Content_Length='0')
        assert status == 202, status
        return headers['Location']

    def blob(self, name, data):
        digest = digest_of(data)
        status, headers, _ = self('PUT', with_query(self.begin(name), f'digest={digest}'), data, Content_Type='application/octet-stream')
        assert status == 201 and headers['Docker-Content-Digest'] == digest
        return digest

    def manifest(self, name, reference, document, kind=MANIFEST):
        text = json.dumps(document).encode()
        status, headers, body = self('PUT', f'/v2/{name}/manifests/{reference}', text, Content_Type=kind)
        assert status == 201, (status, body)
        assert headers['Docker-Content-Digest'] == digest_of(text)
        return digest_of(text), headers

    def image(self, name, tag, **more):
        """A config and one layer; the manifest's digest."""
        config, layer = json.dumps({'architecture': 'amd64', 'os': 'linux', 'tag': tag}).encode(), os.urandom(1000)
        document = image_document(self.blob(name, config), len(config), [(self.blob(name, layer), len(layer))], **more)
        return self.manifest(name, tag, document)[0]


def digest_of(data, algorithm='sha256'):
    return f'{algorithm}:' + hashlib.new(algorithm, data).hexdigest()


def with_query(location, query):
    return location + ('&' if '?' in location else '?') + query


def image_document(config, size, layers, **more):
    return {'schemaVersion': 2, 'mediaType': MANIFEST, 'config': {'mediaType': OCI + 'config.v1+json', 'digest': config, 'size': size},
            'layers': [{'mediaType': OCI + 'layer.v1.tar', 'digest': digest, 'size': size} for digest, size in layers], **more}


def code(body):
    return json.loads(body)['errors'][0]['code']


@pytest.fixture(scope='module', params=SERVERS)
def registry(request):
    made = SERVERS[request.param]()
    made.kind = request.param
    yield made
    made.destroy()


@pytest.fixture
def api(registry):
    return Client(registry)


@pytest.fixture
def ours(registry, api):
    if registry.kind == 'docker-registry':
        pytest.skip("Debian's docker-registry does not have it")
    return api


# --- blobs

def test_the_base_says_that_it_is_a_registry(api):
    status, headers, body = api('GET', '/v2/')
    assert (status, body.strip(), headers['Docker-Distribution-Api-Version']) == (200, b'{}', 'registry/2.0')


def test_a_blob_comes_back(api):
    data = os.urandom(100_000)
    digest = api.blob('a/blob', data)
    path = f'/v2/a/blob/blobs/{digest}'
    status, headers, body = api('GET', path)
    assert (status, body, headers['Docker-Content-Digest'], headers['Content-Length']) == (200, data, digest, '100000')
    status, headers, body = api('HEAD', path)
    assert (status, body, headers['Docker-Content-Digest'], headers['Content-Length']) == (200, b'', digest, '100000')
    for asked, wanted, got in (('bytes=0-9', 'bytes 0-9/100000', data[:10]), ('bytes=99990-', 'bytes 99990-99999/100000', data[-10:]),
                               ('bytes=-5', 'bytes 99995-99999/100000', data[-5:]), ('bytes=99999-200000', 'bytes 99999-99999/100000', data[-1:])):
        status, headers, body = api('GET', path, Range=asked)
        assert (status, headers['Content-Range'], body) == (206, wanted, got), asked
    if api.registry.kind != 'docker-registry':  # docker-registry 2.8 sends a Content-Length that is not true
        status, headers, body = api('GET', path, Range='bytes=100000-')
        assert status == 416 and headers['Content-Range'] == 'bytes */100000'
    assert api('GET', path, If_None_Match=f'"{digest}"')[0] == 304
    # Another repository does not have it; the store of a daemon has no repositories of blobs.
    status, _, body = api('GET', f'/v2/b/blob/blobs/{digest}')
    if api.registry.kind == 'store':
        assert (status, body) == (200, data)
    else:
        assert (status, code(body)) == (404, 'BLOB_UNKNOWN')


def test_chunks_come_in_order(api):
    location = api.begin('chunks')
    data = os.urandom(3000)
    for first in (0, 1000):
        piece = data[first:first + 1000]
        status, headers, _ = api('PATCH', location, piece, Content_Range=f'{first}-{first + 999}', Content_Type='application/octet-stream')
        assert status == 202 and headers['Range'] == f'0-{first + 999}'
        location = headers['Location']
    if api.registry.kind != 'docker-registry':  # docker-registry 2.8 takes any range
        status, headers, _ = api('PATCH', location, data[:1000], Content_Range='0-999', Content_Type='application/octet-stream')
        assert (status, headers['Range'], headers['Location']) == (416, '0-1999', location)
    status, headers, _ = api('GET', location)
    assert (status, headers['Range']) == (204, '0-1999')
    location = headers['Location']
    status, headers, body = api('PUT', with_query(location, 'digest=' + digest_of(b'other')), data[2000:], Content_Range='2000-2999')
    assert (status, code(body)) == (400, 'DIGEST_INVALID')
    digest = api.blob('chunks', data)
    assert api('GET', f'/v2/chunks/blobs/{digest}')[2] == data


def test_a_stream_of_unknown_length_is_taken(api):
    location = api.begin('stream')
    pieces = [os.urandom(10_000) for _ in range(10)]
    connection = http.client.HTTPConnection('127.0.0.1', api.registry.port, timeout=30)
    connection.request('PATCH', location, iter(pieces), {'Content-Type': 'application/octet-stream'}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 202 and answer.getheader('Range') == '0-99999'
    digest = digest_of(b''.join(pieces))
    assert api('PUT', with_query(answer.getheader('Location'), f'digest={digest}'), b'')[0] == 201
    connection.close()


def test_an_upload_is_cancelled(api):
    status, headers, _ = api('PATCH', api.begin('cancel'), b'some', Content_Type='application/octet-stream')
    location = headers['Location']
    assert status == 202
    assert api('DELETE', location)[0] == 204
    status, _, body = api('GET', location)
    assert (status, code(body)) == (404, 'BLOB_UPLOAD_UNKNOWN')
    status, _, body = api('PUT', with_query(location, 'digest=' + digest_of(b'some')), b'')
    assert (status, code(body)) == (404, 'BLOB_UPLOAD_UNKNOWN')


def test_a_blob_is_mounted(api):
    data = os.urandom(1000)
    digest = api.blob('mount/from', data)
    status, headers, _ = api('POST', f'/v2/mount/to/blobs/uploads/?mount={digest}&from=mount/from', Content_Length='0')
    assert status == 201 and headers['Location'].endswith(f'/v2/mount/to/blobs/{digest}')
    assert api('GET', f'/v2/mount/to/blobs/{digest}')[2] == data
    status, headers, _ = api('POST', f'/v2/mount/to/blobs/uploads/?mount={digest_of(b"nosuch")}&from=mount/from', Content_Length='0')
    assert status == 202 and '/blobs/uploads/' in headers['Location']


def test_a_blob_in_one_request(ours):
    data = os.urandom(1000)
    status, headers, _ = ours('POST', f'/v2/single/blobs/uploads/?digest={digest_of(data)}', data, Content_Type='application/octet-stream')
    assert status == 201 and ours('GET', headers['Location'])[2] == data
    status, _, body = ours('POST', f'/v2/single/blobs/uploads/?digest={digest_of(b"x")}', data, Content_Type='application/octet-stream')
    assert (status, code(body)) == (400, 'DIGEST_INVALID')


def test_sha512(ours):
    data = os.urandom(1000)
    digest = digest_of(data, 'sha512')
    for query in ('?digest-algorithm=sha512', ''):
        location = ours.begin('long', query)
        assert ours('PUT', with_query(location, f'digest={digest}'), data)[0] == 201
    assert ours('GET', f'/v2/long/blobs/{digest}')[2] == data
    status, _, body = ours('POST', '/v2/long/blobs/uploads/?digest-algorithm=md5', Content_Length='0')
    assert status == 400


def test_blobs_are_deleted(api, registry):
    data = os.urandom(1000)
    digest = api.blob('gone/one', data)
    assert api('POST', f'/v2/gone/two/blobs/uploads/?mount={digest}&from=gone/one', Content_Length='0')[0] == 201
    assert api('DELETE', f'/v2/gone/one/blobs/{digest}')[0] == 202
    assert api('GET', f'/v2/gone/one/blobs/{digest}')[0] == 404
    assert api('DELETE', f'/v2/gone/one/blobs/{digest}')[0] == 404
    if registry.kind != 'store':
        assert api('GET', f'/v2/gone/two/blobs/{digest}')[2] == data
        assert api('DELETE', f'/v2/gone/two/blobs/{digest}')[0] == 202
    assert api('GET', f'/v2/gone/two/blobs/{digest}')[0] == 404
    if registry.kind == 'store':
        assert digest[7:] not in registry.daemon.blobs()
    if registry.kind == 'gantry':
        assert not list((registry.folder / 'data').rglob(digest[7:]))  # docker-registry's own collection is another program


# --- manifests

def test_a_manifest_comes_back(api):
    digest = api.image('img', 'one')
    for reference in ('one', digest):
        status, headers, body = api('GET', f'/v2/img/manifests/{reference}', Accept=MANIFEST)
        assert (status, headers['Content-Type'], headers['Docker-Content-Digest'], digest_of(body)) == (200, MANIFEST, digest, digest)
        status, head, empty = api('HEAD', f'/v2/img/manifests/{reference}', Accept=MANIFEST)
        assert (status, head['Content-Length'], empty) == (200, str(len(body)), b'')
    for reference in ('two', digest_of(b'x')):
        status, _, body = api('GET', f'/v2/img/manifests/{reference}')
        assert (status, code(body)) == (404, 'MANIFEST_UNKNOWN')


def test_bad_manifests_are_refused(api):
    present = api.blob('bad', b'{}')
    absent = image_document(present, 2, [(digest_of(b'absent'), 6)])
    status, _, body = api('PUT', '/v2/bad/manifests/x', json.dumps(absent), Content_Type=MANIFEST)
    assert status in (400, 404) and code(body) == 'MANIFEST_BLOB_UNKNOWN'
    good = json.dumps(image_document(present, 2, []))
    status, _, body = api('PUT', f'/v2/bad/manifests/{digest_of(b"x")}', good, Content_Type=MANIFEST)
    assert (status, code(body)) == (400, 'DIGEST_INVALID')
    for text in ('', '{', '[]', '"x"'):
        status, _, body = api('PUT', '/v2/bad/manifests/x', text, Content_Type=MANIFEST)
        assert (status, code(body)) == (400, 'MANIFEST_INVALID'), text
    assert api('PUT', '/v2/bad/manifests/x', good, Content_Type=INDEX)[0] == 400
    status, _, body = api('PUT', '/v2/bad/manifests/x', b'{' + b' ' * (5 << 20) + b'}', Content_Type=MANIFEST)
    assert status == 413 if api.registry.kind != 'docker-registry' else status in (400, 413)
    assert api('GET', '/v2/bad/manifests/x')[0] == 404


@pytest.mark.parametrize('path, wanted', [('/v2/UPPER/manifests/x', 400), ('/v2/a..b/manifests/x', 400), ('/v2/' + 'a' * 300 + '/manifests/x', 400),
                                          ('/v2/a/manifests/-x', 404), ('/v2/a/blobs/sha256:00', 400), ('/v2/nothing/tags/list', 404), ('/v2/a/b/c', 404), ('/', 404)])
def test_bad_names(ours, path, wanted):
    status, _, body = ours('GET', path)
    assert status == wanted and code(body)


def test_tags_are_listed_and_paged(api):
    for tag in ('b', 'a', 'c', 'A', '1'):
        api.image('tags', tag)
    listed = json.loads(api('GET', '/v2/tags/tags/list')[2])
    assert listed['name'] == 'tags' and sorted(listed['tags']) == ['1', 'A', 'a', 'b', 'c']
    if api.registry.kind != 'docker-registry':  # docker-registry 2.8 neither sorts nor pages
        assert listed['tags'] == ['1', 'A', 'a', 'b', 'c']
        status, headers, body = api('GET', '/v2/tags/tags/list?n=2')
        assert json.loads(body)['tags'] == ['1', 'A'] and 'rel="next"' in headers['Link']
        follow = headers['Link'].split('<')[1].split('>')[0]
        assert json.loads(api('GET', follow)[2])['tags'] == ['a', 'b']
        assert json.loads(api('GET', '/v2/tags/tags/list?last=b')[2])['tags'] == ['c']
        assert json.loads(api('GET', '/v2/tags/tags/list?n=0')[2])['tags'] == []
    status, _, body = api('GET', '/v2/nosuch/tags/list')
    assert (status, code(body)) == (404, 'NAME_UNKNOWN')
    assert 'tags' in json.loads(api('GET', '/v2/_catalog')[2])['repositories']


def test_tags_move_and_manifests_are_deleted(api):
    first, second = api.image('moves', 'latest'), api.image('moves', 'latest')
    assert api('HEAD', '/v2/moves/manifests/latest', Accept=MANIFEST)[1]['Docker-Content-Digest'] == second != first
    assert api('GET', f'/v2/moves/manifests/{first}', Accept=MANIFEST)[0] == 200
    assert api('DELETE', f'/v2/moves/manifests/{second}')[0] == 202
    for reference in ('latest', second):
        assert api('GET', f'/v2/moves/manifests/{reference}', Accept=MANIFEST)[0] == 404
    assert api('DELETE', f'/v2/moves/manifests/{second}')[0] == 404


def test_a_tag_is_deleted(ours):
    digest = ours.image('untag', 'one')
    assert ours('DELETE', '/v2/untag/manifests/one')[0] == 202
    assert ours('GET', '/v2/untag/manifests/one')[0] == 404 and ours('GET', f'/v2/untag/manifests/{digest}')[0] == 200
    assert ours('DELETE', '/v2/untag/manifests/one')[0] == 404


def test_many_tags_in_one_request(ours):
    config = ours.blob('many', b'{}')
    text = json.dumps(image_document(config, 2, [])).encode()
    path = f'/v2/many/manifests/{digest_of(text)}'
    status, headers, _ = ours('PUT', path + '?tag=1.2&tag=1&tag=latest', text, Content_Type=MANIFEST)
    assert status == 201 and headers['OCI-Tag']
    assert json.loads(ours('GET', '/v2/many/tags/list')[2])['tags'] == ['1', '1.2', 'latest']
    assert ours('PUT', path + '?tag=-', text, Content_Type=MANIFEST)[0] == 400


def test_referrers(ours):
    subject = ours.image('refs', 'subject')
    empty = ours.blob('refs', b'{}')
    pushed = {}
    for kind in ('application/x.sbom', 'application/x.signature'):
        document = image_document(empty, 2, [], subject={'mediaType': MANIFEST, 'digest': subject, 'size': 1}, artifactType=kind, annotations={'a': kind})
        text = json.dumps(document).encode()
        digest, headers = ours.manifest('refs', digest_of(text), document)
        assert headers['OCI-Subject'] == subject
        pushed[digest] = kind
    status, headers, body = ours('GET', f'/v2/refs/referrers/{subject}')
    listed = json.loads(body)
    assert (status, headers['Content-Type'], listed['mediaType'], listed['schemaVersion']) == (200, INDEX, INDEX, 2)
    assert {m['digest']: m['artifactType'] for m in listed['manifests']} == pushed
    assert all(m['annotations'] == {'a': m['artifactType']} and m['mediaType'] == MANIFEST and m['size'] > 0 for m in listed['manifests'])
    status, headers, body = ours('GET', f'/v2/refs/referrers/{subject}?artifactType=application/x.sbom')
    assert headers['OCI-Filters-Applied'] == 'artifactType' and [m['artifactType'] for m in json.loads(body)['manifests']] == ['application/x.sbom']
    for digest in pushed:
        assert ours('DELETE', f'/v2/refs/manifests/{digest}')[0] == 202
    assert json.loads(ours('GET', f'/v2/refs/referrers/{subject}')[2])['manifests'] == []
    assert ours('GET', '/v2/refs/referrers/nosuch')[0] == 400


# --- the process

@pytest.fixture
def own(request):
    """Makes registries of the test's own, over a directory unless it says otherwise."""
    made = []

    def make(*arguments, kind='gantry', **options):
        made.append(SERVERS[kind](*arguments, **options))
        return made[-1]
    yield make
    for one in made:
        one.destroy()


BOTH = pytest.mark.parametrize('kind', ['gantry', 'store'])


@BOTH
@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
def test_an_upload_survives_a_restart(own, how, kind):
    registry = own(kind=kind)
    client, data = Client(registry), os.urandom(200_000)
    kept = client.image('kept', 'x')
    location = client.begin('again')
    assert client('PATCH', location, data[:100_000], Content_Type='application/octet-stream')[0] == 202
    registry.process.send_signal(how)
    assert registry.process.wait(10) == (0 if how == signal.SIGTERM else -how)
    if kind == 'store':
        registry.daemon.restart(how)
    registry.start()
    status, headers, _ = client('GET', location)
    assert (status, headers['Range']) == (204, '0-99999')
    assert client('PATCH', location, data[100_000:], Content_Range='100000-199999')[0] == 202
    digest = digest_of(data)
    assert client('PUT', with_query(location, f'digest={digest}'), b'')[0] == 201
    assert client('GET', f'/v2/again/blobs/{digest}')[2] == data
    assert client('HEAD', '/v2/kept/manifests/x')[1]['Docker-Content-Digest'] == kept


@BOTH
def test_a_client_that_breaks_off_goes_on(own, kind):
    registry = own(kind=kind)
    client, data = Client(registry), os.urandom(100_000)
    location = client.begin('broken')
    with socket.create_connection(('127.0.0.1', registry.port)) as half:
        half.sendall(f'PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n'.encode() + data[:50_000])
        until(lambda: client('GET', location)[1]['Range'] == '0-49999', 10)
        status, _, body = client('PATCH', location, b'x')
        assert (status, code(body)) == (409, 'BLOB_UPLOAD_INVALID')  # one writer at a time
    until(lambda: client('PATCH', location, b'', Content_Type='application/octet-stream')[0] == 202, 10)
    assert client('PUT', with_query(location, 'digest=' + digest_of(data)), data[50_000:], Content_Range='50000-99999')[0] == 201


def test_a_kill_between_loses_nothing(own):
    """Pushes go on while it is killed and started again; what was answered is there, and nothing else is left."""
    registry = own()
    client, answered, over = Client(registry), {}, threading.Event()

    def push():
        while not over.is_set():
            data = os.urandom(5000)
            with contextlib.suppress(OSError, http.client.HTTPException):
                answered[client.blob('killed', data)] = data
    pushers = [threading.Thread(target=push) for _ in range(4)]
    for pusher in pushers:
        pusher.start()
    for _ in range(8):
        time.sleep(0.2)
        registry.process.kill()
        registry.process.wait(10)
        registry.start()
    over.set()
    for pusher in pushers:
        pusher.join()
    assert len(answered) > 8
    for digest, data in answered.items():
        assert client('GET', f'/v2/killed/blobs/{digest}')[2] == data
    registry.stop()
    registry.start()  # sweeps
    for digest in answered:
        assert client('DELETE', f'/v2/killed/blobs/{digest}')[0] == 202
    registry.stop()
    registry.start()
    left = [p for p in (registry.folder / 'data/content/blobs').rglob('*') if p.is_file()]
    assert all(client('HEAD', f'/v2/killed/blobs/sha256:{p.name}')[0] == 200 for p in left)  # pushed, and the answer was lost


def test_passwords(own):
    registry = own('basic')
    status, headers, body = Client(registry)('GET', '/v2/')
    assert (status, code(body)) == (401, 'UNAUTHORIZED') and headers['WWW-Authenticate'].startswith('Basic realm=')
    assert Client(registry, 'Basic dXNlcjp3cm9uZw==')('GET', '/v2/')[0] == 401
    assert Client(registry, 'Basic dXNlcjpwYXNzIHdvcmQ=')('GET', '/v2/')[0] == 200
    assert Client(registry, 'Basic !')('GET', '/v2/')[0] == 401
    assert Client(registry)('PUT', '/v2/x/manifests/y', b'{}')[0] == 401


def test_who_may_read_may_not_write(own):
    registry = own('basic', more=['--anonymous-pull'])
    assert Client(registry)('GET', '/v2/')[0] == 200
    assert Client(registry)('POST', '/v2/x/blobs/uploads/', Content_Length='0')[0] == 401
    assert Client(registry, 'Basic dXNlcjpwYXNzIHdvcmQ=')('POST', '/v2/x/blobs/uploads/', Content_Length='0')[0] == 202
    closed = own(more=['--read-only'])
    status, _, body = Client(closed)('POST', '/v2/x/blobs/uploads/', Content_Length='0')
    assert (status, code(body)) == (405, 'UNSUPPORTED') and Client(closed)('GET', '/v2/')[0] == 200


def test_tls(own):
    registry = own('basic', tls=True)
    client = Client(registry, 'Basic dXNlcjpwYXNzIHdvcmQ=')
    data = os.urandom(3_000_000)
    assert client('GET', '/v2/tls/blobs/' + client.blob('tls', data))[2] == data


@pytest.mark.parametrize('arguments, words', [([], 'a directory or --store'), (['--store', 'd'], 'a directory or --store'), (['--store', '--containerd', '/nosuch'], '/nosuch'), (['--writable', 'd'], 'needs --store'),
                                              (['--store', '--writable', '--read-only'], 'one of the two'), (['--nosuch', 'x'], 'unknown flag'),
                                              (['--tls-cert', 'x', 'd'], 'belong together'), (['--anonymous-pull', 'd'], 'needs --htpasswd'),
                                              (['--htpasswd', '/nosuch', 'd'], '/nosuch'), (['--address', 'nonsense:port', 'd'], 'nonsense')])
def test_bad_calls(tmp_path, arguments, words):
    done = subprocess.run([places.BIN / 'gantry', 'registry', 'serve', *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and words in done.stderr, done.stderr


def test_a_directory_has_one_server(own):
    registry = own()
    done = subprocess.run([*registry.command()[:3], '--address', '127.0.0.1:1', registry.command()[-1]], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and str(registry.process.pid) in done.stderr


# --- a daemon's images

def test_the_images_of_a_daemon(tmp_path):
    """Another host pulls what this one has; skopeo verifies each digest, an engine runs it."""
    with own_stack(21, tmp_path) as client:
        client.ok('tag', IMAGE, 'quay.io/some/one:2')
        client.ok('tag', IMAGE, 'localhost:5001/hidden:1')
        port = free_port()
        name = f'127.0.0.1:{port}'
        command = [str(places.BIN / 'gantry'), 'registry', 'serve', '--store', '--containerd', client.engine.containerd_socket, '--address', name]
        process = client.engine.spawn(command)
        try:
            def get(path):
                return client.engine.inside('curl', '-s', '-w', '\n%{http_code}', f'http://{name}{path}').stdout.rsplit('\n', 1)
            until(lambda: client.engine.inside('curl', '-sf', f'http://{name}/v2/', check=False).returncode == 0, 20)
            assert json.loads(get('/v2/_catalog')[0])['repositories'] == ['gantry/busybox', 'quay.io/some/one']
            assert json.loads(get('/v2/quay.io/some/one/tags/list')[0])['tags'] == ['2']
            assert get('/v2/nosuch/tags/list')[1] == get('/v2/gantry/busybox/manifests/nosuch')[1] == '404'
            manifest = get('/v2/gantry/busybox/manifests/latest')[0]
            assert get('/v2/some/one/manifests/2?ns=quay.io')[0] == manifest != get('/v2/some/one/manifests/2')[0]
            client.engine.inside('skopeo', 'copy', '-q', '--src-tls-verify=false', f'docker://{name}/gantry/busybox:latest', f'dir:{tmp_path}/copy')
            layer = json.loads((tmp_path / 'copy/manifest.json').read_text())['layers'][0]['digest'][7:]
            blob = (tmp_path / 'copy' / layer).read_bytes()
            part = client.engine.inside('curl', '-s', '-r', '100-299', f'http://{name}/v2/x/blobs/sha256:{layer}', '-o', str(tmp_path / 'part'))
            assert part.returncode == 0 and (tmp_path / 'part').read_bytes() == blob[100:300]
            client.ok('pull', f'{name}/quay.io/some/one:2')
            assert client.ok('run', '--rm', f'{name}/quay.io/some/one:2', 'echo', 'runs') == 'runs'
            client.ok('tag', IMAGE, f'{name}/quay.io/some/one:3')
            done = client('push', f'{name}/quay.io/some/one:3')
            assert done.code != 0 and 'read-only' in done.err, done.err
        finally:
            end(process.pid, signal.SIGTERM, 10)
            assert process.wait(10) == 0


@pytest.fixture
def store(own):
    return own(kind='store')


def names_of(registry):
    return {row[0] for row in registry.daemon.rows('SELECT name FROM images')}


def leases_of(registry):
    return [row[0] for row in registry.daemon.rows("SELECT id FROM leases WHERE id LIKE 'registry/%'")]


def test_what_is_pushed_becomes_an_image_of_the_daemon(store):
    client = Client(store)
    first = client.image('team/app', 'one')
    assert names_of(store) == {'docker.io/team/app:one'} and leases_of(store) == []
    # Now it is the images' alone: who deletes them deletes all of it.
    second = client.image('team/app', 'one')
    assert names_of(store) == {'docker.io/team/app:one', f'docker.io/team/app@{first}'}
    assert store.daemon.client.target('docker.io/team/app:one').digest == second
    for name in names_of(store):
        store.daemon.client.remove(name)
    assert store.daemon.blobs() == set()


def test_the_index_keeps_what_it_names(store):
    client = Client(store)
    children = [client.manifest('multi', digest_of(text), document) and digest_of(text) for text, document in (
        (json.dumps(document).encode(), document) for document in (image_document(client.blob('multi', data), len(data), []) for data in (b'{"a":1}', b'{"b":2}')))]
    assert names_of(store) == {f'docker.io/library/multi@{child}' for child in children}
    index, _ = client.manifest('multi', 'all', {'schemaVersion': 2, 'mediaType': INDEX, 'manifests': [{'mediaType': MANIFEST, 'digest': child, 'size': 1} for child in children]}, INDEX)
    assert names_of(store) == {'docker.io/library/multi:all'}
    status, _, body = client('DELETE', f'/v2/multi/manifests/{children[0]}')
    assert (status, code(body)) == (405, 'UNSUPPORTED')
    assert client('DELETE', f'/v2/multi/manifests/{index}')[0] == 202
    assert all(client('GET', f'/v2/multi/manifests/{digest}')[0] == 404 for digest in (index, *children)) and store.daemon.blobs() == set()


def test_a_referrer_lives_as_long_as_its_subject(store):
    client = Client(store)
    subject, empty = client.image('refs', 'it'), client.blob('refs', b'{}')
    document = image_document(empty, 2, [], subject={'mediaType': MANIFEST, 'digest': subject, 'size': 1}, artifactType='application/x.sbom')
    referrer, _ = client.manifest('refs', digest_of(json.dumps(document).encode()), document)
    assert names_of(store) == {'docker.io/library/refs:it'} and leases_of(store) == []
    store.daemon.client.remove('docker.io/library/refs:it')
    assert client('GET', f'/v2/refs/manifests/{referrer}')[0] == 404 and store.daemon.blobs() == set()


def test_a_blob_of_an_image_is_not_deleted(store):
    client = Client(store)
    client.image('whole', 'x')
    layer = json.loads(client('GET', '/v2/whole/manifests/x')[2])['layers'][0]['digest']
    status, _, body = client('DELETE', f'/v2/whole/blobs/{layer}')
    assert (status, code(body)) == (405, 'UNSUPPORTED') and client('HEAD', f'/v2/whole/blobs/{layer}')[0] == 200


def test_pushes_race_with_the_collector_and_kills(store):
    """Images are pushed and removed while the registry is killed; what was answered is whole, and nothing stays in the end."""
    answered, over = {}, threading.Event()

    def push(number):
        client, count = Client(store), 0
        while not over.is_set():
            count += 1
            with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
                answered[number] = None
                answered[number] = client.image(f'race/{number}', 'x')
                if count % 3 == 0:
                    client('DELETE', f'/v2/race/{number}/manifests/{answered[number]}')
    pushers = [threading.Thread(target=push, args=(number,)) for number in range(4)]
    for pusher in pushers:
        pusher.start()
    for _ in range(4):
        time.sleep(0.3)
        store.process.kill()
        store.process.wait(10)
        store.start()
    over.set()
    for pusher in pushers:
        pusher.join()
    client = Client(store)
    for number in range(4):
        digest = client.image(f'race/{number}', 'last')
        for blob in (lambda document: [document['config'], *document['layers']])(json.loads(client('GET', f'/v2/race/{number}/manifests/{digest}')[2])):
            assert digest_of(client('GET', f'/v2/race/{number}/blobs/{blob["digest"]}')[2]) == blob['digest']
    for name in names_of(store):
        digest = store.daemon.client.target(name).digest
        document = json.loads(client('GET', f'/v2/x/manifests/{digest}')[2])
        assert all(client('HEAD', f'/v2/x/blobs/{blob["digest"]}')[0] == 200 for blob in [document['config'], *document['layers']]), name
    for name in names_of(store):
        store.daemon.client.remove(name)
    for lease in leases_of(store):  # of uploads that a kill ended; they expire
        store.daemon.ctr('leases', 'delete', '--sync', lease)
    assert store.daemon.blobs() == set()


def test_a_pushed_image_runs(tmp_path):
    """Another host's skopeo pushes into the daemon, whose engine runs it at once; an artifact beside it is no image."""
    with own_stack(22, tmp_path) as client:
        name = f'127.0.0.1:{free_port()}'
        inside = client.engine.inside
        process = client.engine.spawn([str(places.BIN / 'gantry'), 'registry', 'serve', '--store', '--writable', '--containerd', client.engine.containerd_socket, '--address', name])
        try:
            until(lambda: inside('curl', '-sf', f'http://{name}/v2/', check=False).returncode == 0, 30)
            layout = Layout(tmp_path / 'layout')
            inside('skopeo', 'copy', '-q', '--dest-tls-verify=false', f'docker-archive:{places.IMAGE_TAR}', f'docker://{name}/team/pushed:1')
            artifact = layout.blob(json.dumps({'schemaVersion': 2, 'mediaType': MANIFEST, 'artifactType': 'application/x', 'layers': [],
                                               'config': layout.blob(b'{}', 'x')}).encode(), 'manifest.v1+json')
            inside('skopeo', 'copy', '-q', '--dest-tls-verify=false', layout.add('art', artifact), f'docker://{name}/team/art:1')
            client.ok('rmi', '-f', IMAGE)  # so that nothing is unpacked
            assert client.ok('images', '--format', '{{.Repository}}:{{.Tag}}') == 'team/pushed:1'
            assert client.ok('run', '--rm', 'team/pushed:1', 'echo', 'runs') == 'runs'
            assert client.ok('run', '--rm', '--mount', 'type=image,source=team/pushed:1,target=/i', 'team/pushed:1', 'ls', '/i/bin/busybox') == '/i/bin/busybox'
            client.ok('rmi', 'team/pushed:1')
        finally:
            end(process.pid, signal.SIGTERM, 10)
            assert process.wait(10) == 0


# --- others' clients

@pytest.fixture
def storage():
    """Flags for a store of buildah and podman of the test's own; podman takes no long path."""
    with tempfile.TemporaryDirectory(prefix='gt-') as folder:
        yield ['--storage-driver', 'vfs', '--root', f'{folder}/s', '--runroot', f'{folder}/r']


@pytest.mark.parametrize('tool', ['buildah', 'podman'])
@BOTH
def test_buildah_and_podman(own, storage, tmp_path, tool, kind):
    registry = own('basic', kind=kind)

    def call(*words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout
    (tmp_path / 'l.tar').write_bytes(layer_tar([('file', os.urandom(100_000), 0o644, 0)]))
    call('buildah', *storage, 'from', '--name', 'w', 'scratch')
    call('buildah', *storage, 'add', 'w', tmp_path / 'l.tar', '/')
    call('buildah', *storage, 'commit', '-q', 'w', 'localhost/made:1')
    name, flags = f'{registry.name}/team/made:1', ['--tls-verify=false', '--creds', 'user:pass word']
    call(tool, *storage, 'push', '-q', *flags, 'localhost/made:1', f'docker://{name}')
    call('buildah', *storage, 'rm', 'w')
    call('buildah', *storage, 'rmi', '-f', 'localhost/made:1')
    call(tool, *storage, 'pull', '-q', *flags, name)
    assert name.rsplit(':', 1)[0] in call('buildah', *storage, 'images')
    registry.read_back('team/made:1', tmp_path / 'back')  # skopeo verifies every digest


@BOTH
def test_skopeo_copies_an_index(own, tmp_path, kind):
    registry = own(tls=True, kind=kind)
    client = Client(registry)
    children = []
    for arch in ('amd64', 'arm64'):
        digest = client.image('multi', arch)
        children.append({'mediaType': MANIFEST, 'digest': digest, 'size': len(client('GET', f'/v2/multi/manifests/{digest}')[2]),
                         'platform': {'os': 'linux', 'architecture': arch}})
    index, _ = client.manifest('multi', 'all', {'schemaVersion': 2, 'mediaType': INDEX, 'manifests': children}, INDEX)
    registry.skopeo('copy', '-q', '--all', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false', f'docker://{registry.name}/multi:all', f'docker://{registry.name}/copy:all')
    assert registry.digest('copy:all') == index
    assert {c['digest'] for c in children} == {d for d in (registry.digest(f'copy@{c["digest"]}') for c in children)}


# --- the spec's own suite

@pytest.mark.skipif(not os.environ.get('GANTRY_DISTRIBUTION_CONFORMANCE'), reason='GANTRY_DISTRIBUTION_CONFORMANCE: programs of the distribution-spec\'s suite, ":" between')
@pytest.mark.parametrize('program', os.environ.get('GANTRY_DISTRIBUTION_CONFORMANCE', '').split(':'))
@BOTH
def test_conformance(own, tmp_path, program, kind):
    """`conformance/` of 1.1, by `go test -c`, and of later commits, by `go build`: each reads its own variables."""
    registry = own(kind=kind)
    first = {'OCI_ROOT_URL': f'http://{registry.name}', 'OCI_NAMESPACE': 'conformance/one', 'OCI_CROSSMOUNT_NAMESPACE': 'conformance/two',
             'OCI_AUTOMATIC_CROSSMOUNT': '1', 'OCI_REPORT_DIR': str(tmp_path),
             **{f'OCI_TEST_{part}': '1' for part in ('PULL', 'PUSH', 'CONTENT_DISCOVERY', 'CONTENT_MANAGEMENT')}}
    later = {'OCI_REGISTRY': registry.name, 'OCI_TLS': 'disabled', 'OCI_REPO1': 'conformance/one', 'OCI_REPO2': 'conformance/two'}
    environment = {**os.environ, **(first if program.endswith('.test') else later)}
    done = subprocess.run([program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:]
