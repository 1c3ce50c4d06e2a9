# SPDX-License-Identifier: Apache-2.0
"""A registry that lies. What it sends is either refused, with one line that says why, or kept inside the snapshot as
containerd keeps it; neither leaves anything behind, and the daemon goes on."""
import gzip
import hashlib
import http.server
import io
import json
import os
import re
import tarfile
import threading
import time
import urllib.parse

import grpc
import pytest

from harness.transfers import Containerd

OCI = 'application/vnd.oci.image.'
MAX_LAYER = 8 << 20


def sha(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def tar(*items, format=tarfile.PAX_FORMAT):
    """items: (name, {attribute: value}, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=format) as archive:
        for name, more, data in items:
            item = tarfile.TarInfo(name)
            for key, value in more.items():
                setattr(item, key, value)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return out.getvalue()


def file(name, data=b'x', **more):
    return name, more, data


def link(name, target, kind=tarfile.SYMTYPE):
    return name, {'type': kind, 'linkname': target}, b''


def raw_header(name, size, kind, data=b''):
    item = tarfile.TarInfo(name)
    item.size, item.type = size, kind
    return item.tobuf(tarfile.GNU_FORMAT) + data


class Image:
    """One layer. What is said of it and what is sent can be told apart."""

    def __init__(self, plain=None, **lies):
        plain = tar(file('good')) if plain is None else plain
        self.lies, blob = lies, lies.get('blob', gzip.compress(plain, 1))
        self.blob = lies.get('send', blob)
        config = {'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': [lies.get('diff_id', sha(plain))] * lies.get('diff_ids', 1)}}
        self.config = json.dumps(config).encode()
        layer = {'mediaType': OCI + 'layer.v1.tar+gzip', 'digest': sha(blob), 'size': lies.get('size', len(blob))}
        manifest = {'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'layers': [layer], **lies.get('manifest', {}),
                    'config': {'mediaType': OCI + 'config.v1+json', 'digest': sha(self.config), 'size': len(self.config)}}
        self.manifest = lies.get('manifest_text', json.dumps(manifest).encode())
        self.blobs = {sha(self.config): self.config, sha(blob): self.blob, sha(self.manifest): self.manifest}
        self.layer = sha(blob)


class Liar(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    images = {}

    def log_message(self, *_):
        pass

    def send(self, status, body=b'', **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def endless(self, chunk=b'\0' * 65536, pause=0):
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        try:
            while True:
                self.wfile.write(b'%x\r\n%s\r\n' % (len(chunk), chunk))
                time.sleep(pause)
        except OSError:
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        _, _, name, kind, what = urllib.parse.unquote(self.path).split('?')[0].split('/', 4)
        image = self.images[name]
        lies = image.lies
        if 'auth' in lies:
            return self.send(401, b'{}', WWW_Authenticate=lies['auth'])
        if kind == 'token':
            return self.endless()
        if lies.get('busy', {}).get(kind):
            lies['busy'][kind] -= 1
            return self.send(lies['status'], b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slower"}]}', **lies['answers'])
        if kind == 'manifests':
            if lies.get('endless') == 'manifest':
                return self.endless()
            if lies.get('loop') == 'manifest':
                return self.send(307, Location=f'/v2/{name}/manifests/{what}')
            headers = {'Docker_Content_Digest': lies['says']} if 'says' in lies else {}
            return self.send(200, image.manifest, Content_Type=lies.get('type', OCI + 'manifest.v1+json'), **headers)
        if what == image.layer:
            if lies.get('endless') == 'layer':
                return self.endless()
            if lies.get('slow'):
                return self.endless(b'x', 0.05)
            if lies.get('loop') == 'layer':
                return self.send(307, Location=f'/v2/{name}/blobs/{what}')
            if 'location' in lies:
                return self.send(307, Location=lies['location'])
        self.send(200, image.blobs[what])


@pytest.fixture(scope='module')
def liar():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


@pytest.fixture(scope='module')
def daemon():
    daemon = Containerd(arguments=['--max-layer-bytes', str(MAX_LAYER), '--registry-stall', '1']).start()
    yield daemon
    daemon.destroy()


GOOD = gzip.compress(tar(file('good')), 1)
HALF = gzip.compress(tar(file('good', os.urandom(50_000))), 1)
PAX = b'%d path=%s\n'
NEST = {'schemaVersion': 2, 'mediaType': OCI + 'index.v1+json', 'manifests': [], 'layers': []}

REFUSED = {
    'a wrong digest': (dict(send=GOOD[:-1] + bytes([GOOD[-1] ^ 1])), ['fetching sha256:', 'unexpected commit digest sha256:.*, expected sha256:']),
    'another body': (dict(send=gzip.compress(tar(file('evil')), 1)), ['fetching sha256:', 'digest|bytes']),
    'too short': (dict(send=GOOD[:-10]), ['fetching sha256:', f'expected {len(GOOD)} bytes, got {len(GOOD) - 10}']),
    'too long': (dict(send=GOOD + b'more'), ['fetching sha256:', f'more than the {len(GOOD)} bytes']),
    'an endless layer': (dict(endless='layer'), ['fetching sha256:', f'more than the {len(GOOD)} bytes']),
    'an endless manifest': (dict(endless='manifest'), ['more than 8388608 bytes']),
    'a layer of an exabyte': (dict(size=1 << 60), ['size: 1152921504606846976 is out of range']),
    'a layer larger than is allowed': (dict(size=1 << 40, endless='layer'), ['fetching sha256:', f'{1 << 40} bytes, more than the {MAX_LAYER}']),
    'a negative size': (dict(size=-5), ['size|-5']),
    'a slow layer': (dict(slow=True, size=1 << 20), ['fetching sha256:', 'too slow|stall|less than']),
    'a loop for the manifest': (dict(loop='manifest'), ['redirect']),
    'a loop for the layer': (dict(loop='layer'), ['redirect']),
    'a redirect to a file': (dict(location='file:///etc/passwd'), ['fetching sha256:', 'protocol']),
    'half a gzip': (dict(blob=HALF[:-20_000]), ['unpacking layer', 'unexpected end of gzip']),
    'damaged gzip': (dict(blob=HALF[:20_000] + b'\xff' * 200 + HALF[20_200:]), ['unpacking layer', 'gzip']),
    'no gzip and no tar': (dict(blob=b'nonsense' * 1000), ['unpacking layer', 'tar']),
    'a bomb': (dict(plain=tar(file('zeros', bytes(MAX_LAYER + 1)))), ['unpacking layer', f'more than {MAX_LAYER} bytes']),
    'a bomb of entries': (dict(plain=tar(*[file(f'f{i}', b'') for i in range(20_000)])), ['unpacking layer', f'more than {MAX_LAYER} bytes']),
    'a wrong diff id': (dict(diff_id='sha256:' + '0' * 64), ['unpacking layer', 'uncompressed digest']),
    'too many diff ids': (dict(diff_ids=3), ['1 layers', 'names 3']),
    'an announced digest that is another': (dict(says='sha256:' + '1' * 64), ['announced sha256:1111']),
    'a manifest that is an index too': (dict(manifest={'manifests': []}), ['members of an index too']),
    'no manifest': (dict(manifest_text=b'<html>', type='text/html'), ['text/html', 'no manifest']),
    'schema 1': (dict(manifest_text=b'{"schemaVersion": 1}', type='application/json'), ['schema 1']),
    'an endless pax record': (dict(blob=gzip.compress(raw_header('x', 1 << 40, b'x', bytes(4096)))), ['unpacking layer', 'larger than']),
    'a huge pax record': (dict(plain=raw_header('x', 2 << 20, b'x', PAX % (2 << 20, b'a' * ((2 << 20) - 14)))), ['unpacking layer', 'larger than']),
    'pax records without end': (dict(plain=raw_header('x', 512, b'x', b'10 a=bcde\n'.ljust(512, b'\0')) * 100), ['unpacking layer', 'pax|extended|tar']),
    'a huge name': (dict(plain=raw_header('x', 100_352, b'L', b'n' * 100_352) + raw_header('y', 0, b'0')), ['unpacking layer', 'name']),
    'a file longer than the archive': (dict(plain=raw_header('x', 1 << 30, b'0', b'y' * 512)), ['unpacking layer', 'unexpected end']),
    'an unknown kind of entry': (dict(plain=raw_header('x', 0, b'Z')), ['unpacking layer', "'x'|type"]),
    'a whiteout of nothing': (dict(plain=tar(file('a/.wh.', b''))), ['unpacking layer', 'whiteout']),
    'a whiteout of .': (dict(plain=tar(file('a/.wh..', b''))), ['unpacking layer', 'whiteout']),
    'a whiteout of ..': (dict(plain=tar(file('a/.wh...', b''))), ['unpacking layer', 'whiteout']),
    'a hard link out': (dict(plain=tar(link('a', '../../../../etc/passwd', tarfile.LNKTYPE))), ['unpacking layer', "linking to|'a'"]),
    'a hard link through a link out': (dict(plain=tar(link('out', '/etc'), link('a', 'out/hostname', tarfile.LNKTYPE))), ['unpacking layer', 'linking to']),
    'a hard link to a directory': (dict(plain=tar(('d', {'type': tarfile.DIRTYPE}, b''), link('a', 'd', tarfile.LNKTYPE))), ['unpacking layer', 'directory']),
    'an unsafe token server': (dict(auth='Bearer realm="gopher://x/token",service="s"'), ['gopher', 'not safe']),
    'an unknown challenge': (dict(auth='Magic wand="1"'), ['401']),
}


@pytest.mark.parametrize('what', REFUSED)
def test_refused(liar, daemon, what):
    lies, words = REFUSED[what]
    lies = dict(lies)
    Liar.images['x'] = Image(lies.pop('plain', None), **lies)
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.pull(f'{liar}/x:1', timeout=60)
    details = error.value.details()
    assert f"pulling '{liar}/x:1'" in details and '\n' not in details and len(details) < 600, details
    assert all(re.search(w, details) for w in words), details
    assert error.value.code() not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED), error.value.code()
    assert daemon.settled() == []


@pytest.mark.parametrize('status', [429, 503])
def test_one_that_asks_for_patience_gets_it(liar, daemon, status):
    Liar.images['x'] = image = Image(busy={'manifests': 1, 'blobs': 2}, status=status, answers={'Retry_After': '1'})
    begin = time.monotonic()
    daemon.client.pull(f'{liar}/x:1')
    assert image.lies['busy'] == {'manifests': 0, 'blobs': 0} and time.monotonic() - begin >= 2
    daemon.client.remove(f'{liar}/x:1')
    assert daemon.settled() == []


@pytest.mark.parametrize('answers', [{}, {'Retry_After': '86400'}, {'Retry_After': 'soon'}])
def test_one_that_has_enough_is_left_alone(liar, daemon, answers):
    Liar.images['x'] = Image(busy={'manifests': 1000}, status=429, answers=answers)
    begin = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.pull(f'{liar}/x:1')
    assert 'toomanyrequests: slower' in error.value.details() and time.monotonic() - begin < 20
    assert daemon.settled() == []


def test_an_endless_token(liar, daemon):
    Liar.images['x'] = Image(auth=f'Bearer realm="http://{liar}/v2/y/token/1",service="s"')
    Liar.images['y'] = Image()
    with pytest.raises(grpc.RpcError) as error:
        daemon.client.pull(f'{liar}/x:1')
    assert 'fetching a token' in error.value.details() and 'more than' in error.value.details()
    assert daemon.settled() == []


CONTAINED = {
    'dots up': (tar(file('../../../../gt-hostile'), file('a/../../../gt-hostile2')), ['gt-hostile', 'gt-hostile2']),
    'an absolute name': (tar(file('/gt-hostile')), ['gt-hostile']),
    'a link out and a file through it': (tar(link('out', '/tmp'), file('out/gt-hostile')), ['tmp/gt-hostile']),
    'a link up and a file through it': (tar(link('out', '../../../../../../tmp'), file('out/gt-hostile')), ['tmp/gt-hostile']),
    'a link that is replaced': (tar(link('d', '/tmp'), ('d', {'type': tarfile.DIRTYPE}, b''), file('d/gt-hostile')), ['d/gt-hostile']),
    'a whiteout through a link out': (tar(link('out', '/etc'), file('out/.wh.passwd', b'')), ['etc']),
    'an opaque root': (tar(file('.wh..wh..opq', b''), file('gt-hostile')), ['gt-hostile']),
    'a device of the host': (tar(('disk', {'type': tarfile.BLKTYPE, 'devmajor': 259, 'devminor': 0}, b'')), ['disk']),
    'attributes of overlay': (tar(('d', {'type': tarfile.DIRTYPE, 'pax_headers': {'SCHILY.xattr.trusted.overlay.redirect': '/etc'}}, b'')), ['d']),
}


@pytest.mark.parametrize('what', CONTAINED)
def test_contained(liar, daemon, what):
    plain, names = CONTAINED[what]
    Liar.images['x'] = Image(plain)
    passwd = os.stat('/etc/passwd')
    daemon.client.pull(f'{liar}/x:1')
    [root] = daemon.snapshots().values()
    for name in names:
        assert os.path.lexists(root / name), sorted(str(p) for p in root.rglob('*'))
    assert [t for t in ('/', '/tmp', '/etc', '/var', '/var/lib', str(daemon.root), str(root.parent)) if os.path.lexists(f'{t}/gt-hostile')] == []
    assert os.stat('/etc/passwd') == passwd
    if what == 'attributes of overlay':
        assert os.listxattr(root / 'd') == []
    daemon.client.remove(f'{liar}/x:1')
    assert daemon.settled() == []


def test_good_image_still_comes(liar, daemon):
    Liar.images['x'] = Image()
    daemon.client.pull(f'{liar}/x:1')
    assert daemon.damaged() == [] and len(daemon.snapshots()) == 1
    daemon.client.remove(f'{liar}/x:1')
    assert daemon.settled() == []
