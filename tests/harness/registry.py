# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback, with a token server of our own where it wants tokens, and images for it: made
here layer by layer, copied into it by skopeo."""
import base64
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from . import places
from .engine import until

OCI = 'application/vnd.oci.image.'
KINDS = {'gzip': '+gzip', 'zstd': '+zstd', 'none': ''}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def openssl(*arguments, **options):
    return subprocess.run(['openssl', *map(str, arguments)], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options).stdout


def make_authority(folder):
    """ca.pem, and tls.pem with tls.key for 127.0.0.1, in `folder`."""
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=gantry test CA', '-keyout', folder / 'ca.key', '-out', folder / 'ca.pem')
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=127.0.0.1', '-keyout', folder / 'tls.key', '-out', folder / 'tls.csr')
    (folder / 'ext').write_text('subjectAltName=IP:127.0.0.1\n')
    openssl('x509', '-req', '-in', folder / 'tls.csr', '-CA', folder / 'ca.pem', '-CAkey', folder / 'ca.key', '-CAcreateserial', '-days', '2',
            '-extfile', folder / 'ext', '-out', folder / 'tls.pem')


def make_client_certificate(folder):
    """cert.pem with key.pem, of the authority there."""
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=client', '-keyout', folder / 'key.pem', '-out', folder / 'c.csr')
    (folder / 'c.ext').write_text('extendedKeyUsage=clientAuth\n')
    openssl('x509', '-req', '-in', folder / 'c.csr', '-CA', folder / 'ca.pem', '-CAkey', folder / 'ca.key', '-CAcreateserial', '-days', '2',
            '-extfile', folder / 'c.ext', '-out', folder / 'cert.pem')


class TokenServer:
    """Signs what it is asked for, to those who know the password or the refresh token; counts what it is asked."""

    def __init__(self, folder, user='user', password='pass word', refresh='refresh-1', seconds=60):
        self.folder, self.asked, self.refreshed = folder, [], 0
        der = base64.b64encode(openssl('x509', '-in', folder / 'tls.pem', '-outform', 'DER')).decode()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
                if form.get('grant_type') != ['refresh_token'] or form.get('refresh_token') != [refresh]:
                    return self.answer(401, {'details': 'wrong refresh token'})
                server.refreshed += 1
                self.answer(200, {'access_token': server.sign(der, form['service'][0], ' '.join(form.get('scope', [])).split(), user, seconds)})

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                want = 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()
                if self.headers.get('Authorization') != want:
                    return self.answer(401, {'details': 'wrong name or password'})
                server.asked.append(query.get('scope', []))
                self.answer(200, {'token': server.sign(der, query['service'][0], query.get('scope', []), user, seconds), 'expires_in': seconds})
        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.address = f'http://127.0.0.1:{self.http.server_port}/token'

    def sign(self, der, service, scopes, user, seconds):
        def part(value):
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            return base64.urlsafe_b64encode(raw).rstrip(b'=').decode()
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(':', 2)
            access.append({'type': kind, 'name': name, 'actions': actions.split(',')})
        now = int(time.time())
        claims = {'iss': 'gantry', 'sub': user, 'aud': service, 'exp': now + seconds, 'nbf': now - 5, 'iat': now, 'jti': str(time.monotonic_ns()), 'access': access}
        text = part({'typ': 'JWT', 'alg': 'RS256', 'x5c': [der]}) + '.' + part(claims)
        return text + '.' + part(openssl('dgst', '-sha256', '-sign', self.folder / 'tls.key', input=text.encode()))

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class Registry:
    """auth: None, 'basic' or 'token' (user, "pass word"); tls: with a certificate of `folder`/ca.pem."""

    def __init__(self, auth=None, tls=False):
        self.folder = Path(tempfile.mkdtemp(prefix='gt-registry-'))
        self.port, self.tls, self.tokens = free_port(), tls, None
        self.name = f'127.0.0.1:{self.port}'
        config = {'version': '0.1', 'storage': {'filesystem': {'rootdirectory': str(self.folder / 'data')}, 'delete': {'enabled': True}},
                  'log': {'level': 'error', 'accesslog': {'disabled': False}}, 'http': {'addr': self.name}}
        if tls or auth == 'token':
            make_authority(self.folder)
        if tls:
            config['http']['tls'] = {'certificate': str(self.folder / 'tls.pem'), 'key': str(self.folder / 'tls.key')}
        if auth == 'basic':
            # bcrypt of "pass word"
            (self.folder / 'htpasswd').write_text('user:$2y$05$abcdefghijklmnopqrstuuIt/9/tGzLcigNq/.RWIDjeEVR30RSf.\n')
            config['auth'] = {'htpasswd': {'realm': 'gantry', 'path': str(self.folder / 'htpasswd')}}
        if auth == 'token':
            self.tokens = TokenServer(self.folder)
            config['auth'] = {'token': {'realm': self.tokens.address, 'service': 'registry', 'issuer': 'gantry', 'rootcertbundle': str(self.folder / 'ca.pem')}}
        self.auth = auth
        (self.folder / 'config.json').write_text(json.dumps(config))  # JSON is YAML
        self.start()

    def command(self):
        return ['docker-registry', 'serve', str(self.folder / 'config.json')]

    def start(self):
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

        def answers():
            assert self.process.poll() is None, (self.folder / 'log').read_text()[-2000:]
            with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 1):
                return True
        until(answers, 20, f'{self.command()[0]} does not answer')

    def requests(self):
        """The access log's requests so far: 'GET /v2/…'."""
        lines = (self.folder / 'log').read_text(errors='replace').splitlines()
        return [line.split('"')[1].rsplit(' ', 1)[0] for line in lines if '"' in line and ' HTTP/1.1"' in line]

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def destroy(self):
        self.stop()
        if self.tokens:
            self.tokens.close()
        shutil.rmtree(self.folder)

    def skopeo(self, *arguments, check=True):
        done = subprocess.run(['skopeo', *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        assert not check or done.returncode == 0, f'skopeo {arguments}: {done.stderr}'
        return done.stdout.strip()

    def credentials(self, side):
        flags = [f'--{side}tls-verify=false']
        return flags + ([f'--{side}creds=user:pass word'] if self.auth else [])

    def put(self, source, name, *options):
        """Copies `source` ('oci:DIR:TAG') into the registry."""
        self.skopeo('copy', '-q', *options, *self.credentials('dest-'), source, f'docker://{self.name}/{name}')
        return f'{self.name}/{name}'

    def digest(self, name):
        raw = subprocess.run(['skopeo', 'inspect', '--raw', *self.credentials(''), f'docker://{self.name}/{name}'], check=True, stdout=subprocess.PIPE).stdout
        return 'sha256:' + hashlib.sha256(raw).hexdigest()

    def read_back(self, name, folder, *options):
        """skopeo reads the whole image, and so verifies every digest of it."""
        self.skopeo('copy', '-q', *options, *self.credentials('src-'), f'docker://{self.name}/{name}', f'oci:{folder}:back')


def ask(registry, method, path, data=None, **headers):
    """One request to a registry without TLS and passwords: a path below /v2/, one from the root, or what it named itself."""
    place = path if path.startswith('/') else f'/v2/{path}'
    url = path if path.startswith('http') else f'http://{registry.name}{place}'
    request = urllib.request.Request(url, data=data, method=method, headers={name.replace('_', '-'): value for name, value in headers.items()})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


def put_blob(registry, repository, data):
    """Uploads it; what a descriptor says of it but for its kind."""
    place = ask(registry, 'POST', f'{repository}/blobs/uploads/', b'').headers['Location']
    digest = 'sha256:' + hashlib.sha256(data).hexdigest()
    ask(registry, 'PUT', f'{place}{"&" if "?" in place else "?"}digest={digest}', data, Content_Type='application/octet-stream')
    return {'size': len(data), 'digest': digest}


class GantryRegistry(Registry):
    """The same served by gantry-registry; `more`: further flags."""

    def __init__(self, auth=None, tls=False, more=()):
        self.more = list(more)
        super().__init__(auth, tls)

    def command(self):
        tls = ['--tls-cert', self.folder / 'tls.pem', '--tls-key', self.folder / 'tls.key'] if self.tls else []
        auth = ['--htpasswd', self.folder / 'htpasswd'] if self.auth else []
        words = [places.BIN / 'gantry', 'registry', 'serve', '--address', self.name, *tls, *auth, *self.more, *self.places()]
        return [str(word) for word in words]

    def places(self):
        return [self.folder / 'data']


def layer_tar(files):
    """files: (name, contents as bytes, link target as text or None for a directory, mode, uid)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as tar:
        for name, data, mode, uid in files:
            item = tarfile.TarInfo(name)
            item.mode, item.uid = mode, uid
            if isinstance(data, str):
                item.type, item.linkname = tarfile.SYMTYPE, data
            elif data is None:
                item.type = tarfile.DIRTYPE
            else:
                item.size = len(data)
            tar.addfile(item, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


def compressed(data, kind):
    if kind == 'gzip':
        return gzip.compress(data, 1)
    if kind == 'zstd':
        return subprocess.run(['zstd', '-q', '-1', '-c'], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


class Layout:
    """An OCI layout on disk, for skopeo: image(tag, layers…) adds an image."""

    def __init__(self, folder):
        self.folder = Path(folder)
        (self.folder / 'blobs/sha256').mkdir(parents=True)
        (self.folder / 'oci-layout').write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests = []

    def blob(self, data, kind, **more):
        name = hashlib.sha256(data).hexdigest()
        (self.folder / 'blobs/sha256' / name).write_bytes(data)
        return {'mediaType': OCI + kind, 'digest': f'sha256:{name}', 'size': len(data), **more}

    def manifest(self, tars, compression='gzip', architecture='amd64'):
        layers = [self.blob(compressed(t, compression), 'layer.v1.tar' + KINDS[compression]) for t in tars]
        config = {'architecture': architecture, 'os': 'linux', 'config': {'Cmd': ['/bin/sh']},
                  'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(t).hexdigest() for t in tars]}}
        config = self.blob(json.dumps(config).encode(), 'config.v1+json')
        text = {'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'config': config, 'layers': layers}
        return self.blob(json.dumps(text).encode(), 'manifest.v1+json', platform={'os': 'linux', 'architecture': architecture})

    def add(self, tag, descriptor):
        self.manifests.append({**descriptor, 'annotations': {'org.opencontainers.image.ref.name': tag}})
        (self.folder / 'index.json').write_text(json.dumps({'schemaVersion': 2, 'manifests': self.manifests}))
        return f'oci:{self.folder}:{tag}'

    def image(self, tag, tars, **options):
        return self.add(tag, self.manifest(tars, **options))

    def index(self, tag, by_architecture):
        manifests = [self.manifest(tars, architecture=a) for a, tars in by_architecture.items()]
        text = {'schemaVersion': 2, 'mediaType': OCI + 'index.v1+json', 'manifests': manifests}
        return self.add(tag, self.blob(json.dumps(text).encode(), 'index.v1+json'))
