# SPDX-License-Identifier: Apache-2.0
"""docker cp in both directions, and the archive API under it: names, links, owners, refusals, and a
container that swaps links while files are copied."""
import base64
import gzip
import io
import json
import os
import subprocess
import tarfile
import time
import urllib.parse

import pytest

from harness.places import IMAGE, SOAK

ALONE = ('--network', 'none')
KINDS = ('running', 'created', 'stopped')


@pytest.fixture(params=KINDS)
def box(request, client, names):
    """A container with some files, in each state; its name."""
    name = names()
    make = ('mkdir -p /d/sub && echo one >/d/a && echo two >/d/sub/b && ln -s a /d/link && ln -s /d/sub /dir && ln /d/a /d/hard && '
            'chown 12:34 /d/sub/b && chmod 4750 /d/sub/b; ')
    if request.param == 'running':
        client.ok('run', '-d', '--name', name, *ALONE, IMAGE, 'sh', '-c', make + 'touch /ready; exec sleep 1000')
        while client('exec', name, 'test', '-e', '/ready').code:
            time.sleep(0.02)
    elif request.param == 'stopped':
        client.ok('run', '--name', name, *ALONE, IMAGE, 'sh', '-c', make)
    else:
        client.ok('create', '--name', name, *ALONE, IMAGE, 'sleep', '1000')
        tree = tarfile.open(fileobj=io.BytesIO(), mode='w')
        for entry, kind, text, mode, owner in (('d', '5', '', 0o755, (0, 0)), ('d/sub', '5', '', 0o755, (0, 0)), ('d/a', '0', 'one\n', 0o644, (0, 0)),
                                               ('d/sub/b', '0', 'two\n', 0o4750, (12, 34)), ('d/link', '2', 'a', 0o777, (0, 0)),
                                               ('dir', '2', '/d/sub', 0o777, (0, 0)), ('d/hard', '1', 'd/a', 0o644, (0, 0))):
            item = tarfile.TarInfo(entry)
            item.type, item.mode, (item.uid, item.gid) = kind.encode(), mode, owner
            if kind in '12':
                item.linkname = text
            item.size = len(text) if kind == '0' else 0
            tree.addfile(item, io.BytesIO(text.encode()))
        tree.close()
        client.ok('cp', '-', f'{name}:/', stdin=tree.fileobj.getvalue())
    return name


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [m.name + ('/' if m.isdir() else '') for m in tar]


def out_of(client, where):
    done = subprocess.run([*client.command, 'cp', where, '-'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=client.environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_out(client, box, tmp_path):
    client.ok('cp', f'{box}:/d/a', tmp_path)
    client.ok('cp', f'{box}:d/a', tmp_path / 'other')
    client.ok('cp', f'{box}:/dir/b', f'{tmp_path}/')
    assert (tmp_path / 'a').read_text() == (tmp_path / 'other').read_text() == 'one\n' and (tmp_path / 'b').read_text() == 'two\n'
    assert (tmp_path / 'b').stat().st_mode & 0o7777 == 0o4750


def test_a_directory_out(client, box, tmp_path):
    (tmp_path / 'there').mkdir()
    client.ok('cp', f'{box}:/d', tmp_path / 'there')      # into one that is there
    client.ok('cp', f'{box}:/d', tmp_path / 'new')        # becomes it
    client.ok('cp', f'{box}:/d/.', tmp_path / 'there')    # what is in it
    assert sorted(os.listdir(tmp_path / 'there')) == ['a', 'd', 'hard', 'link', 'sub']
    for top in (tmp_path / 'there/d', tmp_path / 'new', tmp_path / 'there'):
        assert (top / 'sub/b').read_text() == 'two\n' and os.readlink(top / 'link') == 'a'
        assert (top / 'a').stat().st_ino == (top / 'hard').stat().st_ino


def test_links_out(client, box, tmp_path):
    client.ok('cp', f'{box}:/d/link', tmp_path / 'l')
    assert os.readlink(tmp_path / 'l') == 'a'
    client.ok('cp', '-L', f'{box}:/d/link', tmp_path / 'f')
    client.ok('cp', '-L', f'{box}:/d/link', tmp_path)
    assert (tmp_path / 'f').read_text() == 'one\n' and not (tmp_path / 'link').is_symlink() and (tmp_path / 'link').read_text() == 'one\n'
    client.ok('cp', f'{box}:/dir/', tmp_path / 'entered')
    assert (tmp_path / 'entered/b').read_text() == 'two\n'


def test_names_in_archives(client, box):
    assert names_in(out_of(client, f'{box}:/d')) == ['d/', 'd/a', 'd/hard', 'd/link', 'd/sub/', 'd/sub/b']
    assert names_in(out_of(client, f'{box}:/d/sub/'))[0] == 'sub/'
    assert names_in(out_of(client, f'{box}:/d/sub/.')) == ['./', './b'] or names_in(out_of(client, f'{box}:/d/sub/.')) == ['.', './b']
    assert names_in(out_of(client, f'{box}:/d/link')) == ['link']
    for dots in ('/d/sub/./', '/d/sub/.//', '/d/./sub/.'):
        assert names_in(out_of(client, f'{box}:{dots}'))[-1] == './b'


def test_files_in(client, box, tmp_path):
    (tmp_path / 'src/deep').mkdir(parents=True)
    (tmp_path / 'src/f').write_text('host')
    (tmp_path / 'src/deep/g').write_text('deep')
    os.symlink('f', tmp_path / 'src/s')
    os.chmod(tmp_path / 'src/f', 0o600)
    client.ok('cp', tmp_path / 'src/f', f'{box}:/d/')            # into a directory
    client.ok('cp', tmp_path / 'src/f', f'{box}:/d/a')           # over a file
    client.ok('cp', tmp_path / 'src', f'{box}:/d')               # a directory into one that is there
    client.ok('cp', tmp_path / 'src', f'{box}:/d/renamed')       # becomes it
    client.ok('cp', f'{tmp_path}/src/.', f'{box}:/d/sub')        # what is in it
    client.ok('cp', tmp_path / 'src/f', f'{box}:/dir')           # through a link to a directory
    client.ok('cp', '-L', tmp_path / 'src/s', f'{box}:/d/followed')
    found = names_in(out_of(client, f'{box}:/d'))
    for wanted in ('d/f', 'd/src/deep/g', 'd/renamed/deep/g', 'd/sub/deep/g', 'd/sub/f', 'd/renamed/s'):
        assert wanted in found, wanted
    with tarfile.open(fileobj=io.BytesIO(out_of(client, f'{box}:/d'))) as tar:
        assert tar.extractfile('d/a').read() == b'host' and tar.getmember('d/a').mode & 0o777 == 0o600
        assert tar.getmember('d/followed').isfile() and tar.getmember('d/renamed/s').issym()


def test_a_stream_in(client, box):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w:gz') as tar:
        item = tarfile.TarInfo('x/y/z')
        item.size, item.uid, item.gid = 3, 7, 8
        tar.addfile(item, io.BytesIO(b'abc'))
    client.ok('cp', '-', f'{box}:/d', stdin=data.getvalue())
    with tarfile.open(fileobj=io.BytesIO(out_of(client, f'{box}:/d/x'))) as tar:
        assert tar.extractfile('x/y/z').read() == b'abc' and (tar.getmember('x/y/z').uid, tar.getmember('x/y/z').gid) == (7, 8)
    done = client('cp', '-', f'{box}:/d/a', stdin=data.getvalue())
    assert done.code == 1 and f'destination "{box}:/d/a" must be a directory' in done.err


def test_refusals(client, box, tmp_path):
    (tmp_path / 'dir').mkdir()
    (tmp_path / 'f').write_text('x')
    for arguments, words in (
            ((f'{box}:/nosuch', tmp_path), '/nosuch'),
            ((f'{box}:/d/a', '/no/such/dir/x'), 'no/such/dir'),
            ((f'{box}:/d', tmp_path / 'f'), 'cannot copy directory'),
            ((tmp_path / 'nosuch', f'{box}:/d'), 'nosuch: no such file or directory'),
            ((tmp_path / 'dir', f'{box}:/d/a'), 'cannot copy directory'),
            ((tmp_path / 'f', f'{box}:/d/nosuch/'), 'no such directory'),
            ((tmp_path / 'f', f'{box}:/no/such/x'), '/no/such'),
            ((f'{box}:/d', f'{box}:/e'), 'copying between containers is not supported'),
            ((tmp_path, tmp_path), 'must specify at least one container source'),
            (('nosuch:/x', tmp_path), 'no such container')):
        done = client('cp', *arguments)
        assert done.code == 1 and words.lower() in done.err.lower(), (arguments, done.err)


def stat_of(client, name, path):
    status, _, headers = client.engine.api('HEAD', f'/containers/{name}/archive?path={urllib.parse.quote(path)}')
    return status, json.loads(base64.b64decode(headers['X-Docker-Container-Path-Stat'])) if status == 200 else None


def test_path_stat(client, box):
    status, stat = stat_of(client, box, '/d/a')
    assert status == 200 and (stat['name'], stat['size'], stat['mode'], stat['linkTarget']) == ('a', 4, 0o644, '')
    assert 'T' in stat['mtime']
    assert stat_of(client, box, '/d')[1]['mode'] == 1 << 31 | 0o755
    assert stat_of(client, box, '/d/sub/b')[1]['mode'] == 1 << 23 | 0o750
    link = stat_of(client, box, '/d/link')[1]
    assert link['mode'] == 1 << 27 | 0o777 and link['linkTarget'] == '/d/a'
    assert stat_of(client, box, '/dir')[1]['linkTarget'] == '/d/sub' and stat_of(client, box, '/dir/')[1]['mode'] >> 31
    assert stat_of(client, box, '/tmp')[1]['mode'] == 1 << 31 | 1 << 20 | 0o777
    assert stat_of(client, box, '/nosuch')[0] == 404
    assert client.engine.api('HEAD', f'/containers/{box}/archive')[0] == 400


def test_the_body_is_compressed_when_asked(client, box):
    status, body, headers = client.engine.api('GET', f'/containers/{box}/archive?path=/d/a', headers={'Accept-Encoding': 'gzip'})
    assert status == 200 and headers['Content-Encoding'] == 'gzip' and names_in(gzip.decompress(body)) == ['a']
    assert headers['Content-Type'] == 'application/x-tar' and 'X-Docker-Container-Path-Stat' in headers


def tar_of(*entries):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        for name, kind, link in entries:
            item = tarfile.TarInfo(name)
            item.type, item.linkname = kind, link
            tar.addfile(item)
    return data.getvalue()


def put(client, name, path, data, **more):
    query = urllib.parse.urlencode({'path': path, **more})
    return client.engine.api('PUT', f'/containers/{name}/archive?{query}', body=data, headers={'Content-Type': 'application/x-tar'})[:2]


def test_kinds_are_kept_when_asked(client, box):
    over_directory = tar_of(('sub', tarfile.REGTYPE, ''))
    status, body = put(client, box, '/d', over_directory, noOverwriteDirNonDir='true')
    assert status in (400, 500) and b'cannot overwrite directory' in body
    status, body = put(client, box, '/d', tar_of(('a', tarfile.DIRTYPE, '')), noOverwriteDirNonDir='1')
    assert status in (400, 500) and b'cannot overwrite non-directory' in body
    assert put(client, box, '/d', over_directory)[0] == 200
    assert stat_of(client, box, '/d/sub')[1]['mode'] >> 31 == 0


def test_bad_destinations(client, box):
    data = tar_of(('x', tarfile.REGTYPE, ''))
    assert put(client, box, '/nosuch', data)[0] == 404
    status, body = put(client, box, '/d/a', data)
    assert status in (400, 500) and b'extraction point is not a directory' in body


def test_archives_that_lead_out(client, box):
    status, _ = put(client, box, '/d/sub', tar_of(('../../escaped', tarfile.REGTYPE, '')))
    assert status in (400, 500) and stat_of(client, box, '/escaped')[0] == 404
    put(client, box, '/d/sub', tar_of(('h', tarfile.LNKTYPE, '../../../etc/passwd')))
    assert stat_of(client, box, '/d/sub/h')[0] == 404


def test_read_only(client, names, tmp_path):
    name = names()
    (tmp_path / 'f').write_text('x')
    client.ok('create', '--name', name, '--read-only', '-v', f'{tmp_path}:/ro:ro', '-v', f'{tmp_path}:/rw', *ALONE, IMAGE, 'sleep', '1000')
    for state in ('created', 'running'):
        done = client('cp', tmp_path / 'f', f'{name}:/x')
        assert done.code == 1 and 'container rootfs is marked read-only' in done.err, done.err
        done = client('cp', tmp_path / 'f', f'{name}:/ro/x')
        assert done.code == 1 and 'mounted volume is marked read-only' in done.err
        client.ok('cp', tmp_path / 'f', f'{name}:/rw/{state}')
        assert (tmp_path / state).read_text() == 'x'
        client.ok('start', name)


def test_volumes_as_the_container_sees_them(client, names, tmp_path):
    name, vol = names(), f't{os.getpid()}-cp'
    (tmp_path / 'host').write_text('host')
    client.ok('create', '--name', name, '-v', f'{vol}:/vol', '-v', f'{tmp_path}:/bind', *ALONE, IMAGE, 'sleep', '1000')
    try:
        for _ in ('created', 'running'):
            client.ok('cp', tmp_path / 'host', f'{name}:/vol/f')
            assert 'bind/host' in names_in(out_of(client, f'{name}:/bind')) and names_in(out_of(client, f'{name}:/vol')) == ['vol/', 'vol/f']
            client.ok('start', name)
        assert client.ok('exec', name, 'cat', '/vol/f') == 'host'
        # Nothing is left mounted, nor is the volume held.
        client.ok('rm', '-f', name)
        client.ok('volume', 'rm', vol)
    finally:
        client('rm', '-f', name)
        client('volume', 'rm', '-f', vol)


def test_files_of_the_engine(client, names, tmp_path):
    """/etc/hosts and the others as they were in a container that has ended."""
    name = names()
    client.ok('run', '--name', name, '--hostname', 'me', '--add-host', 'you:192.0.2.7', '--dns', '192.0.2.9', IMAGE, 'true')
    for file, words in (('hosts', '192.0.2.7\tyou'), ('hostname', 'me\n'), ('resolv.conf', 'nameserver 192.0.2.9')):
        client.ok('cp', f'{name}:/etc/{file}', str(tmp_path / file))
        assert words in (tmp_path / file).read_text()


def test_owner_of_the_containers_user(client, names, tmp_path):
    name = names()
    (tmp_path / 'f').write_text('x')
    client.ok('create', '--name', name, '--user', 'nobody', *ALONE, IMAGE, 'sleep', '1000')
    client.ok('cp', '-a', tmp_path / 'f', f'{name}:/tmp/f')
    with tarfile.open(fileobj=io.BytesIO(out_of(client, f'{name}:/tmp/f'))) as tar:
        assert (tar.getmember('f').uid, tar.getmember('f').gid) == (65534, 65534)


def test_large_and_sparse(client, box, tmp_path):
    big = tmp_path / 'big'
    with open(big, 'wb') as file:
        file.write(os.urandom(3 << 20))
        file.seek(64 << 20)
        file.write(b'end')
    client.ok('cp', big, f'{box}:/d/big')
    client.ok('cp', f'{box}:/d/big', tmp_path / 'back')
    assert subprocess.run(['cmp', big, tmp_path / 'back'], check=False).returncode == 0


def test_whiteouts_are_not_special(client, box):
    put(client, box, '/d', tar_of(('.wh.a', tarfile.REGTYPE, '')))
    assert stat_of(client, box, '/d/a')[0] == 200


@pytest.mark.only('gantry')
def test_a_container_that_swaps_links(client, names, tmp_path):
    """While its links and directories change places without pause, nothing of the host is read or
    written: the class of CVE-2018-15664."""
    name = names()
    canary = tmp_path / 'canary'
    canary.mkdir()
    (canary / 'secret').write_text('host secret')
    inside = str(canary).lstrip('/')
    client.ok('run', '-d', '--name', name, *ALONE, IMAGE, 'sh', '-c',
              f'mkdir -p /a/dir /{inside} && echo inside >/a/dir/secret && echo inside >/{inside}/secret && ln -s {canary} /a/link && touch /ready; '
              'while :; do mv /a/dir /a/tmp; mv /a/link /a/dir; mv /a/dir /a/link; mv /a/tmp /a/dir; done')
    while client('exec', name, 'test', '-e', '/ready').code:
        time.sleep(0.02)
    source = tmp_path / 'in'
    source.mkdir()
    (source / 'new').write_text('x')
    deadline = time.monotonic() + (60 if SOAK else 3)
    read = 0
    while time.monotonic() < deadline:
        status, body, _ = client.engine.api('GET', f'/containers/{name}/archive?path=/a/dir/secret')
        assert status in (200, 404) and b'host secret' not in body
        read += status == 200
        status, body, _ = client.engine.api('GET', f'/containers/{name}/archive?path=/a')
        assert b'host secret' not in body
        put(client, name, '/a/dir', tar_of(('x/y', tarfile.REGTYPE, ''), ('secret', tarfile.REGTYPE, '')))
        put(client, name, '/a', tar_of(('dir/new', tarfile.REGTYPE, ''), ('link/new', tarfile.REGTYPE, '')))
    assert read and os.listdir(canary) == ['secret'] and (canary / 'secret').read_text() == 'host secret'
