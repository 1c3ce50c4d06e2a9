# SPDX-License-Identifier: Apache-2.0
"""images, tag, rmi, save, load, pull; archives by skopeo and umoci, gzip and zstd layers."""
import hashlib
import json
import re
import subprocess
import tarfile

import pytest

from harness.engine import until
from harness.places import IMAGE, IMAGE_TAR

CONFIG = '''version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: 127.0.0.1:{port}}}
'''


@pytest.fixture(scope='session')
def registry(client, tmp_path_factory):
    """Debian's docker-registry on the loopback of the engine's namespace, filled by skopeo."""
    folder = tmp_path_factory.mktemp('registry')
    (folder / 'config.yml').write_text(CONFIG.format(root=folder / 'data', port=5000))
    process = client.engine.spawn(['docker-registry', 'serve', str(folder / 'config.yml')], OTEL_TRACES_EXPORTER='none')
    try:
        until(lambda: client.engine.inside('curl', '-s', 'http://127.0.0.1:5000/v2/', check=False).returncode == 0, 20)
        layout = folder / 'layout'
        made(layout)
        for tag in ('one', 'zstd', 'docker'):
            extra = {'zstd': ['--dest-compress-format', 'zstd', '--dest-compress'], 'docker': ['--format', 'v2s2'], 'one': []}[tag]
            client.engine.inside('skopeo', 'copy', '--insecure-policy', '-q', '--dest-tls-verify=false', *extra, f'oci:{layout}:one',
                                 f'docker://127.0.0.1:5000/some/image:{tag}')
        yield '127.0.0.1:5000/some/image'
    finally:
        process.terminate()
        process.wait(10)


def made(layout):
    """An image of two layers by umoci: busybox, then a directory with owner and mode of its own."""
    run = lambda *a: subprocess.run(list(map(str, a)), check=True, stdout=subprocess.DEVNULL)
    rootfs = layout.parent / 'bundle' / 'rootfs'
    run('umoci', 'init', '--layout', layout)
    run('umoci', 'new', '--image', f'{layout}:one')
    run('umoci', 'unpack', '--image', f'{layout}:one', layout.parent / 'bundle')
    for folder in ('bin', 'etc', 'tmp', 'var/lib'):
        (rootfs / folder).mkdir(parents=True, exist_ok=True)
    run('cp', '/bin/busybox', rootfs / 'bin/busybox')
    for applet in ('sh', 'cat', 'ls', 'stat', 'echo', 'id', 'true', 'sleep'):
        (rootfs / 'bin' / applet).symlink_to('busybox')
    (rootfs / 'etc/passwd').write_text('root:x:0:0::/root:/bin/sh\napp:x:777:778::/var/lib/app:/bin/sh\n')
    (rootfs / 'etc/group').write_text('root:x:0:\napp:x:778:\nextra:x:900:app\n')
    (rootfs / 'etc/gone').write_text('x')
    run('umoci', 'repack', '--refresh-bundle', '--image', f'{layout}:one', layout.parent / 'bundle')
    run('mkdir', '-p', rootfs / 'var/lib/app')
    run('chown', '777:778', rootfs / 'var/lib/app')
    run('chmod', '2750', rootfs / 'var/lib/app')
    (rootfs / 'var/lib/app/data').write_text('two layers\n')
    (rootfs / 'etc/gone').unlink()
    run('umoci', 'repack', '--image', f'{layout}:one', layout.parent / 'bundle')
    run('umoci', 'config', '--image', f'{layout}:one', '--config.user', 'app', '--config.workingdir', '/var/lib/app', '--config.cmd', 'cat', '--config.cmd',
        'data', '--config.env', 'FROM=image', '--config.label', 'made=here')


def check_image(client, reference):
    assert client.run(reference).text == 'two layers'
    out = client.run(reference, 'sh', '-c', 'id; stat -c "%u %g %a" .; ls /etc/gone; echo $FROM').out
    assert 'uid=777(app) gid=778(app)' in out and 'extra' in out and '777 778 2750' in out and out.split()[-1] == 'image'


def remove(client, *references):
    for reference in references:
        client('rmi', '-f', reference)


def test_list(client):
    shown = client.ok('images')
    assert re.search(r'REPOSITORY\s+TAG\s+IMAGE ID\s+CREATED\s+SIZE', shown) and re.search(r'gantry/busybox\s+latest\s+[0-9a-f]{12}', shown)
    assert client.ok('images', '--format', '{{.Repository}}:{{.Tag}}', 'gantry/busybox') == IMAGE


def test_tag_and_untag(client):
    client.ok('tag', IMAGE, 'other/name:v1')
    ident = client.ok('inspect', '-f', '{{.Id}}', 'other/name:v1')
    assert ident == client.ok('inspect', '-f', '{{.Id}}', IMAGE)
    assert client.run('other/name:v1', 'echo', 'x').text == 'x'
    assert 'Untagged: other/name:v1' in client.ok('rmi', 'other/name:v1')
    assert client('inspect', 'other/name:v1').code == 1 and client.run(IMAGE, 'true').code == 0


def test_rmi_in_use(client, names):
    client.ok('tag', IMAGE, 'only/name:v1')
    client.ok('run', '-d', '--name', names(), 'only/name:v1', 'sleep', '100')
    ident = client.ok('inspect', '-f', '{{.Id}}', IMAGE)
    client.ok('rmi', 'only/name:v1')
    done = client('rmi', ident)
    assert done.code == 1 and 'conflict' in done.err.lower()


def test_save_and_load(client, tmp_path):
    client.ok('tag', IMAGE, 'saved/it:v1')
    client.ok('save', '-o', tmp_path / 'a.tar', 'saved/it:v1')
    with tarfile.open(tmp_path / 'a.tar') as archive:
        manifest = json.load(archive.extractfile('manifest.json'))
        assert manifest[0]['RepoTags'] == ['saved/it:v1'] and manifest[0]['Config'] and manifest[0]['Layers']
        for name in manifest[0]['Layers']:
            assert archive.getmember(name)
    client.ok('rmi', 'saved/it:v1')
    assert 'Loaded image: saved/it:v1' in client.ok('load', '-i', tmp_path / 'a.tar')
    assert client.run('saved/it:v1', 'echo', 'back').text == 'back'
    remove(client, 'saved/it:v1')


def test_save_by_id_or_digest(client, tmp_path):
    """No name goes with what was not asked for by one."""
    client.ok('tag', IMAGE, 'saved/id:v1')
    for reference in (client.ok('inspect', '-f', '{{.Id}}', 'saved/id:v1'), client.ok('inspect', '-f', '{{.Id}}', 'saved/id:v1')[7:19]):
        client.ok('save', '-o', tmp_path / 'a.tar', reference)
        with tarfile.open(tmp_path / 'a.tar') as archive:
            assert not json.load(archive.extractfile('manifest.json'))[0]['RepoTags']
            if 'index.json' in archive.getnames():
                assert 'annotations' not in json.load(archive.extractfile('index.json'))['manifests'][0]
        assert client.ok('load', '-q', '-i', tmp_path / 'a.tar').startswith('Loaded image ID: sha256:')
    assert client.ok('images', '-q', '-f', 'dangling=true', '-f', 'reference=saved/id') == ''
    remove(client, 'saved/id:v1')


def test_tag_that_looks_like_a_digest(client):
    done = client('tag', IMAGE, 'sha256:sometag')
    assert done.code == 1 and 'refusing to create an ambiguous tag using digest algorithm as name' in done.err


def test_save_to_stdout_and_load_from_stdin(client):
    process = client.start('save', IMAGE)
    data, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f'Loaded image: {IMAGE}' in client('load', stdin=data).out


def test_load_without_a_name(client, tmp_path):
    """What `docker save` writes of an image that has no name, or was given by its id."""
    made(tmp_path / 'layout')
    subprocess.run(['skopeo', 'copy', '--insecure-policy', '-q', f'oci:{tmp_path}/layout:one', f'docker-archive:{tmp_path}/a.tar'], check=True)
    out = client.ok('load', '-i', tmp_path / 'a.tar')
    ident = re.fullmatch(r'Loaded image ID: (sha256:[0-9a-f]{64})', out)[1]
    assert client.ok('images', '-q', '--no-trunc', '-f', 'dangling=true').split().count(ident) == 1
    assert json.loads(client.ok('inspect', '-f', '{{json .RepoTags}}', ident)) == []
    client.ok('rmi', ident)
    assert ident not in client.ok('images', '-a', '-q', '--no-trunc')


def test_load_of_what_is_no_archive(client, tmp_path):
    """The engine answers and closes long before it has all of it; the client says what the engine said."""
    (tmp_path / 'x.tar').write_bytes(b'no archive ' * 5_000_000)
    done = client('load', '-i', str(tmp_path / 'x.tar'))
    assert done.code == 1 and done.err.strip(), (done.code, done.err)
    with open(tmp_path / 'x.tar') as file:
        done = subprocess.run([*client.command, 'load'], stdin=file, env=client.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.strip(), done


@pytest.mark.parametrize('form', ['docker-archive', 'oci-archive'])
def test_load_from_skopeo(client, tmp_path, form):
    if form == 'oci-archive' and client.engine.kind == 'p':
        pytest.skip('dockerd 20.10 loads no OCI archive')
    made(tmp_path / 'layout')
    name = 'skopeo/made:v1'
    target = f'{form}:{tmp_path}/a.tar:{"docker.io/" if form == "oci-archive" else ""}{name}'
    subprocess.run(['skopeo', 'copy', '--insecure-policy', '-q', f'oci:{tmp_path}/layout:one', target], check=True)
    client.ok('load', '-i', tmp_path / 'a.tar')
    check_image(client, name)
    remove(client, name)


def test_pull(client, registry):
    out = client.ok('pull', f'{registry}:one')
    assert 'Digest: sha256:' in out and 'Status: Downloaded newer image' in out
    check_image(client, f'{registry}:one')
    assert 'Status: Image is up to date' in client.ok('pull', f'{registry}:one')
    remove(client, f'{registry}:one')


def test_what_is_there_is_not_told_of(client, registry):
    """Layers of an image that is here, under whatever name, are no news; of another image with them each is told once."""
    client.ok('pull', f'{registry}:one')
    layers = len(client.inspect(f'{registry}:one', '{{json .RootFS.Layers}}').split(','))
    client.ok('tag', f'{registry}:one', f'{registry}:again')
    client.ok('push', f'{registry}:again')
    client.ok('rmi', f'{registry}:again')
    for name in ('one', 'again'):
        told = client.ok('pull', f'{registry}:{name}').split('\n')
        assert told[0] == f'{name}: Pulling from some/image' and told[1].startswith('Digest: ') and told[2].startswith('Status: '), told
    client.ok('create', '--name', 'changed', f'{registry}:one')
    client.ok('cp', __file__, 'changed:/changed')
    client.ok('commit', 'changed', f'{registry}:changed')
    client.ok('rm', 'changed')
    client.ok('push', f'{registry}:changed')
    client.ok('rmi', f'{registry}:changed')
    told = client.ok('pull', f'{registry}:changed')
    assert told.count('Already exists') == layers and told.count('Pulling fs layer') == 1, told
    for name in ('one', 'again', 'changed'):
        remove(client, f'{registry}:{name}')


@pytest.mark.parametrize('tag', ['zstd', 'docker'])
def test_pull_other_forms(client, registry, tag):
    if tag == 'zstd' and client.engine.kind == 'p':
        pytest.skip('dockerd 20.10 reads no zstd')
    client.ok('pull', f'{registry}:{tag}')
    check_image(client, f'{registry}:{tag}')
    remove(client, f'{registry}:{tag}')


def test_an_artifact_is_no_image(client, registry, tmp_path):
    """It is refused with what it is, and its name stands for what it stood for before."""
    layout = tmp_path / 'layout'
    (layout / 'blobs/sha256').mkdir(parents=True)
    (layout / 'oci-layout').write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (layout / 'blobs/sha256' / digest).write_bytes(data)
        return {'mediaType': kind, 'digest': f'sha256:{digest}', 'size': len(data)}
    manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'config': blob(b'{}', 'application/vnd.test.config.v1+json'),
                'layers': [blob(b'a chart', 'application/vnd.test.chart.v1.tar+gzip')]}
    entry = {**blob(json.dumps(manifest).encode(), manifest['mediaType']), 'annotations': {'org.opencontainers.image.ref.name': 'x'}}
    (layout / 'index.json').write_text(json.dumps({'schemaVersion': 2, 'manifests': [entry]}))
    place = f'{registry.rpartition("/")[0]}/moved:1'
    copy = ['skopeo', 'copy', '--insecure-policy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false']
    words = "an artifact of type 'application/vnd.test.config.v1+json', not an image"
    client.engine.inside(*copy, f'oci:{layout}:x', f'docker://{place}')
    done = client('pull', place)
    assert done.code == 1 and words in done.err, done
    assert client('image', 'inspect', place).code == 1
    client.engine.inside(*copy, f'docker://{registry}:one', f'docker://{place}')
    client.ok('pull', '-q', place)
    image = client.ok('image', 'inspect', '-f', '{{.Id}}', place)
    client.engine.inside(*copy, f'oci:{layout}:x', f'docker://{place}')
    assert words in client('pull', place).err
    assert client.ok('image', 'inspect', '-f', '{{.Id}}', place) == image
    client.ok('rmi', place)


def test_all_tags(client, registry):
    name = registry.replace('some/image', 'some/all')
    tags = {f'{name}:{tag}' for tag in ('a', 'b', 'c')}
    for tag in tags:
        client.ok('tag', IMAGE, tag)
    client.ok('push', '--all-tags', name)
    there = json.loads(client.engine.inside('curl', '-s', f'http://{name.replace("/some", "/v2/some", 1)}/tags/list').stdout)
    assert set(there['tags']) == {'a', 'b', 'c'}
    client.ok('rmi', *tags)
    client.ok('pull', '--all-tags', name)
    assert set(client.ok('images', '--format', '{{.Repository}}:{{.Tag}}', name).split()) == tags
    client.ok('rmi', *tags)
    assert client('pull', '-a', f'{name}:a').code != 0


PAGES = '''
import http.server, sys
class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, file=open(sys.argv[1], 'a'), flush=True)
        last = 'last=a' in self.path
        body = b'{"tags": ["b"]}' if last else b'{"tags": ["a"]}' if '/tags/list' in self.path else b''
        self.send_response(200 if body else 404)
        if body and not last:
            self.send_header('Link', '</v2/in/pages/tags/list?n=1&last=a>; rel="next"')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
http.server.HTTPServer(('127.0.0.1', 5017), Pages).serve_forever()
'''


def test_tags_come_in_pages(client, tmp_path):
    log = tmp_path / 'log'
    process = client.engine.spawn(['python3', '-c', PAGES, str(log)])
    try:
        until(lambda: client.engine.inside('curl', '-s', 'http://127.0.0.1:5017/', check=False).returncode == 0, 20)
        assert client('pull', '-a', '127.0.0.1:5017/in/pages').code != 0  # there is nothing behind the tags
        asked = [line for line in log.read_text().splitlines() if '/tags/list' in line]
        assert len(asked) == 2 and 'last=a' in asked[1], asked
    finally:
        process.terminate()
        process.wait(10)


def test_pull_by_digest(client, registry):
    out = client.ok('pull', f'{registry}:one')
    digest = re.search(r'Digest: (sha256:[0-9a-f]{64})', out).group(1)
    remove(client, f'{registry}:one')
    client.ok('pull', f'{registry}@{digest}')
    check_image(client, f'{registry}@{digest}')
    remove(client, f'{registry}@{digest}')


def test_run_pulls(client, registry):
    assert client.run(f'{registry}:one').text == 'two layers'
    remove(client, f'{registry}:one')


@pytest.mark.parametrize('reference, words', [('{r}:nosuch', ['nosuch', 'unknown']), ('127.0.0.1:5000/no/such:x', ['unknown']),
                                              ('127.0.0.1:9/some/image:x', ['connect']), ('some/UPPER:x', ['reference']), ('a:b:c', ['reference']),
                                              ('{r}@sha256:12', ['reference'])])
def test_bad_pull(client, registry, reference, words):
    before = client.ok('images', '-q')
    done = client('pull', reference.format(r=registry))
    assert done.code == 1 and all(w in done.err for w in words), done.err
    assert client.ok('images', '-q') == before


def test_run_of_an_image_that_is_nowhere(client):
    done = client.run('127.0.0.1:9/nowhere:x', 'true')
    assert done.code == 125 and 'connect' in done.err and "Unable to find image '127.0.0.1:9/nowhere:x' locally" in done.err


def test_progress_is_lines_in_a_pipe(client, registry):
    out = client.ok('pull', f'{registry}:one')
    assert 'Pulling from some/image' in out and '\x1b' not in out
    # A layer may still be held by a container of an earlier test that is being removed.
    assert 'Pull complete' in out or 'Already exists' in out
    remove(client, f'{registry}:one')


def test_the_list_follows_every_change(client, tmp_path):
    """The answer is kept as text: names that come and go, containers, and a restart of the engine show in the next one."""
    def listed():
        return {tag for line in json.loads(client.engine.api('GET', '/images/json')[1]) for tag in line['RepoTags']}
    before = listed()
    client.ok('tag', IMAGE, 'kept/list:1')
    assert listed() == before | {'kept/list:1'} == listed()
    (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN echo list >/list\n')
    client.ok('build', '-q', '-t', 'kept/built:1', tmp_path)
    assert listed() == before | {'kept/list:1', 'kept/built:1'}
    client.ok('rmi', 'kept/list:1')
    assert listed() == before | {'kept/built:1'}
    client.ok('rmi', 'kept/built:1')
    assert listed() == before == listed()
