# SPDX-License-Identifier: Apache-2.0
"""Volumes: made, filled from the image, shared, mounted with options, removed; docker's words."""
import json
import os
import threading

import pytest

from harness.engine import until
from harness.places import IMAGE

ALONE = ('--network', 'none')


@pytest.fixture
def volume(client):
    """Names for volumes that are removed after the test."""
    given = []

    def name(hint='v'):
        given.append(f't{os.getpid()}-{hint}{len(given)}')
        return given[-1]
    yield name
    for entry in given:
        client('volume', 'rm', '-f', entry)


def documents(client, *arguments):
    return json.loads(client.ok(*arguments))


def mounts(client, name):
    return {m['Destination']: m for m in documents(client, 'inspect', '-f', '{{json .Mounts}}', name)}


def known(client):
    return set(client.ok('volume', 'ls', '-q').split())


def test_create_inspect_remove(client, volume):
    name = volume()
    assert client.ok('volume', 'create', '--label', 'a=b', '--label', 'c', name) == name
    assert client.ok('volume', 'create', '--label', 'other=1', name) == name
    found, = documents(client, 'volume', 'inspect', name)
    assert found['Labels'] == {'a': 'b', 'c': ''} and found['Driver'] == 'local' and found['Scope'] == 'local'
    assert found['Mountpoint'].endswith(f'/volumes/{name}/_data') and os.path.isdir(found['Mountpoint'])
    assert found['CreatedAt'].endswith('Z') and len(found['CreatedAt']) == 20 and not found['Options']  # {} or null, as the client sent it
    assert client.ok('volume', 'rm', name) == name
    assert not os.path.exists(found['Mountpoint'])
    done = client('volume', 'rm', name)
    assert done.code == 1 and 'no such volume' in done.err.lower()
    assert client.ok('volume', 'rm', '-f', name) == name


def test_a_made_up_name(client):
    name = client.ok('volume', 'create')
    assert len(name) == 64 and name in known(client)
    client.ok('volume', 'rm', name)


@pytest.mark.parametrize('arguments,words', [
    (('a',), 'create a: volume name is too short, names should be at least two alphanumeric characters'),
    (('a!b',), 'create a!b: "a!b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
               'If you intended to pass a host directory, use absolute path'),
    (('-d', 'nosuch', 'xx'), 'create xx: error looking up volume plugin nosuch: plugin "nosuch" not found'),
    (('-o', 'foo=bar', 'xx'), 'create xx: invalid option: "foo"'),
    (('-o', 'type=tmpfs', 'xx'), 'create xx: missing required option: "device"'),
    (('-o', 'device=tmpfs', 'xx'), 'create xx: missing required option: "type"'),
])
def test_bad_volumes(client, arguments, words):
    before = known(client)
    done = client('volume', 'create', *arguments)
    assert done.code == 1 and words in done.err and known(client) == before


def test_list_filters(client, volume, names):
    used, free = volume('used'), volume('free')
    client.ok('volume', 'create', '--label', 'k=1', used)
    client.ok('volume', 'create', '--label', 'k=2', free)
    name = names()
    client.ok('create', '--name', name, '-v', f'{used}:/x', IMAGE)

    def listed(*filters):
        return set(client.ok('volume', 'ls', '-q', *[w for f in filters for w in ('-f', f)]).split()) & {used, free}
    assert listed('dangling=true') == {free} and listed('dangling=false') == {used}
    assert listed('label=k') == {used, free} and listed('label=k=1') == {used} and listed('label=k=1', 'label=k=2') == set()
    assert listed('driver=local') == {used, free} and listed('driver=other') == set()
    assert listed(f'name={used}') == {used} and listed(f'name=^{free[:5]}') == {used, free}
    for bad in ('dangling=x', 'bad=x'):
        done = client('volume', 'ls', '-f', bad)
        assert done.code == 1 and f"nvalid filter '{bad.split('=')[0]}" in done.err


def test_data_stays(client, volume):
    name = volume()
    client.ok('run', '--rm', *ALONE, '-v', f'{name}:/data', IMAGE, 'sh', '-c', 'echo kept >/data/f')
    assert client.run(*ALONE, '-v', f'{name}:/other:ro', IMAGE, 'cat', '/other/f').text == 'kept'
    done = client.run(*ALONE, '-v', f'{name}:/data:ro', IMAGE, 'touch', '/data/g')
    assert done.code == 1 and 'Read-only file system' in done.err


def test_in_use(client, volume, names):
    vol, name = volume(), names()
    ident = client.ok('create', '--name', name, '-v', f'{vol}:/x', IMAGE)
    for force in ((), ('-f',)):
        done = client('volume', 'rm', *force, vol)
        assert done.code == 1 and f'remove {vol}: volume is in use - [{ident}]' in done.err
    mount = mounts(client, name)['/x']
    assert mount == {'Type': 'volume', 'Name': vol, 'Source': mount['Source'], 'Destination': '/x', 'Driver': 'local', 'Mode': 'z', 'RW': True,
                     'Propagation': ''}
    assert mount['Source'].endswith(f'/volumes/{vol}/_data')
    client.ok('rm', name)
    client.ok('volume', 'rm', vol)


def test_anonymous_volumes_go_with_rm_v_only(client, names):
    before = known(client)
    name = names()
    client.ok('create', '--name', name, '-v', '/an', '--mount', 'type=volume,target=/other', IMAGE)
    made = known(client) - before
    assert len(made) == 2 and made == {m['Name'] for m in mounts(client, name).values()}
    client.ok('rm', name)
    assert known(client) - before == made
    client.ok('volume', 'rm', *made)
    client.ok('create', '--name', name, '-v', '/an', IMAGE)
    client.ok('rm', '-v', name)
    client.ok('run', '--rm', *ALONE, '-v', '/an', IMAGE, 'touch', '/an/x')
    until(lambda: known(client) == before)


def test_a_named_volume_outlives_rm(client, volume):
    name = volume()
    client.ok('run', '--rm', *ALONE, '-v', f'{name}:/x', IMAGE, 'true')
    assert name in known(client)


def test_copy_up(client, volume):
    name = volume()
    shape = 'cd %s; stat -c "%%n %%a %%u %%g %%s %%F" . passwd group'
    inside = client.run(*ALONE, IMAGE, 'sh', '-c', shape % '/etc').out
    # The container's own hosts, hostname and resolv.conf are no part of the image.
    copied = client.run(*ALONE, '-v', f'{name}:/etc', IMAGE, 'sh', '-c', shape % '/etc').out
    assert copied.splitlines()[1:] == inside.splitlines()[1:]
    elsewhere = client.run(*ALONE, '-v', f'{name}:/x', IMAGE, 'sh', '-c', shape % '/x').out
    assert elsewhere.splitlines()[1:] == inside.splitlines()[1:]
    # What is in it already stays as it is.
    assert 'busybox' not in client.run(*ALONE, '-v', f'{name}:/bin2:ro', '-v', f'{name}:/home', IMAGE, 'ls', '/home').out


def test_copy_up_of_modes_owners_and_links(client, volume, names):
    name, image = volume(), f't{os.getpid()}/copyup'
    box = names()
    client.ok('run', '--name', box, *ALONE, IMAGE, 'sh', '-c',
              'mkdir -p /d/sub && echo one >/d/a && ln /d/a /d/sub/b && ln -s a /d/c && chmod 4751 /d/a && chown -R 12:34 /d/sub && '
              'chmod 1777 /d && chown 5:6 /d && mkfifo /d/p')
    if client('commit', box, image).code != 0:
        pytest.skip('needs commit')
    try:
        look = 'cd %s && stat -c "%%n %%a %%u %%g %%h %%F" . a sub sub/b c p && readlink c && cat sub/b'
        assert client.run(*ALONE, '-v', f'{name}:/d', image, 'sh', '-c', look % '/d').out == client.run(*ALONE, image, 'sh', '-c', look % '/d').out
    finally:
        client('rmi', '-f', image)


def test_nocopy(client, volume):
    one, two = volume(), volume()
    assert client.run(*ALONE, '-v', f'{one}:/etc:nocopy', IMAGE, 'sh', '-c', 'test -e /etc/passwd || echo none').text == 'none'
    assert client.run(*ALONE, '--mount', f'type=volume,source={two},target=/etc,volume-nocopy', IMAGE, 'sh', '-c',
                      'test -e /etc/passwd || echo none').text == 'none'


def test_a_volume_over_a_file(client, names):
    before = known(client)
    done = client('create', '--name', names(), '-v', '/bin/busybox', IMAGE)
    assert done.code == 1 and 'cannot mount volume over existing file, file exists' in done.err
    assert known(client) == before


def test_volumes_from(client, volume, names, tmp_path):
    vol, source, other = volume(), names(), names()
    client.ok('create', '--name', source, '-v', f'{vol}:/named', '-v', '/an', '-v', f'{tmp_path}:/host', IMAGE)
    anonymous = mounts(client, source)['/an']['Name']
    assert client.run(*ALONE, '--volumes-from', source, IMAGE, 'sh', '-c', 'echo 1 >/named/f && echo 2 >/an/f && echo 3 >/host/f && echo ok').text == 'ok'
    assert (tmp_path / 'f').read_text() == '3\n'
    out = client.run(*ALONE, '--volumes-from', f'{source}:ro', IMAGE, 'sh', '-c', 'cat /named/f /an/f; touch /named/g || touch /host/g')
    assert out.out == '1\n2\n' and out.err.count('Read-only') == 2
    client.ok('create', '--name', other, '--volumes-from', source, '-v', f'{tmp_path}:/named', IMAGE)
    assert mounts(client, other)['/named']['Type'] == 'bind' and mounts(client, other)['/an']['Name'] == anonymous
    # The anonymous volume lives as long as one of them.
    client.ok('rm', '-v', source)
    assert anonymous in known(client)
    client.ok('rm', '-v', other)
    assert anonymous not in known(client) and vol in known(client)


@pytest.mark.parametrize('arguments,words', [
    (('-v', 'vv:/x:nosuch'), 'invalid mode: nosuch'),
    (('-v', '/a:rel'), "invalid volume specification: '/a:rel': invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute"),
    (('-v', 'vv:/'), "invalid volume specification: 'vv:/': invalid mount config for type \"volume\": invalid specification: destination can't be '/'"),
    (('-v', 'v!v:/x'), 'create v!v: "v!v" includes invalid characters for a local volume name'),
    (('-v', '/a:/x', '-v', '/b:/x'), 'Duplicate mount point: /x'),
    (('-v', '/a:/x', '--mount', 'type=tmpfs,target=/x'), 'Duplicate mount point: /x'),
    (('-v', '/a:/x', '--tmpfs', '/x'), 'Duplicate mount point: /x'),
    (('--mount', 'type=bind,source=/no/such,target=/x'), 'invalid mount config for type "bind": bind source path does not exist: /no/such'),
    (('--mount', 'type=bind,target=/x'), 'invalid mount config for type "bind": field Source must not be empty'),
    (('--mount', 'type=bind,source=/tmp,target=/x,bind-propagation=nosuch'), 'invalid mount config for type "bind": invalid propagation mode: nosuch'),
    (('--mount', 'type=tmpfs,source=x,target=/x'), 'invalid mount config for type "tmpfs": field Source must not be specified'),
    (('--mount', 'type=nosuch,source=x,target=/x'), 'invalid mount config for type "nosuch": mount type unknown'),
    (('--mount', 'type=volume,source=vv,target=x'), 'invalid mount config for type "volume": invalid mount path: \'x\' mount path must be absolute'),
    (('--volumes-from', 'nosuch'), 'No such container: nosuch'),
    (('--volumes-from', 'nosuch:bad'), 'invalid mode: bad'),
])
def test_bad_mounts(client, names, arguments, words):
    before = known(client)
    done = client('create', '--name', names(), *arguments, IMAGE)
    assert done.code == 1 and words in done.err and known(client) == before, done.err


def test_prune(client, volume, names):
    named, used, name = volume('named'), volume('used'), names()
    client.ok('volume', 'create', '--label', 'keep=1', named)
    client.ok('create', '--name', name, '-v', f'{used}:/x', IMAGE)
    anonymous = client.ok('volume', 'create')
    path = documents(client, 'volume', 'inspect', anonymous)[0]['Mountpoint']
    with open(f'{path}/f', 'w', encoding='ascii') as file:
        file.write('x' * 2000)
    newer = client.name == 'gantry' and client.engine.kind == 's'
    if newer:
        # Since API 1.42: only anonymous ones unless all are asked for.
        out = client.ok('volume', 'prune', '-f')
        assert anonymous in out and 'Total reclaimed space: 2kB' in out and named in known(client)
    out = client('volume', 'prune', '-f', '--all', '--filter', 'label!=keep')
    if newer:
        assert out.code == 0 and named in known(client)
        assert named in client.ok('volume', 'prune', '-f', '--filter', 'all=1')
    else:
        client.ok('volume', 'prune', '-f')
    assert named not in known(client) and anonymous not in known(client) and used in known(client)
    done = client('volume', 'prune', '-f', '--filter', 'until=1h')
    assert done.code == 1 and "nvalid filter 'until'" in done.err


def test_mount_options(client, volume, names, tmp_path):
    """type, device and o: a tmpfs, a bind; mounted while somebody runs with it, no longer."""
    tmpfs, bind, name = volume('t'), volume('b'), names()
    client.ok('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m,uid=7', tmpfs)
    client.ok('volume', 'create', '-o', 'type=none', '-o', f'device={tmp_path}', '-o', 'o=bind', bind)
    (tmp_path / 'f').write_text('host')
    found, = documents(client, 'volume', 'inspect', tmpfs)
    assert found['Options'] == {'type': 'tmpfs', 'device': 'tmpfs', 'o': 'size=1m,uid=7'}
    client.ok('run', '-d', '--name', name, *ALONE, '-v', f'{tmpfs}:/t', '-v', f'{bind}:/b', IMAGE, 'sleep', '1000')
    assert client.ok('exec', name, 'sh', '-c', 'df -k /t | tail -1; stat -c %u /t; cat /b/f').split()[1:2] == ['1024']
    client.ok('exec', name, 'touch', '/t/shared')
    # Another container has the same instance.
    assert client.run(*ALONE, '-v', f'{tmpfs}:/x', IMAGE, 'ls', '/x').text == 'shared'
    assert os.path.ismount(found['Mountpoint'])
    client.ok('rm', '-f', name)
    assert not os.path.ismount(found['Mountpoint'])
    assert client.run(*ALONE, '-v', f'{tmpfs}:/x', IMAGE, 'ls', '/x').text == ''


def test_mount_that_fails(client, volume, names):
    vol, name = volume(), names()
    client.ok('volume', 'create', '-o', 'type=nfs', '-o', 'o=addr=127.0.0.1,nolock,password=secret', '-o', 'device=:/none', vol)
    done = client('run', '--name', name, *ALONE, '-v', f'{vol}:/x:nocopy', IMAGE, 'echo', 'ran')
    assert done.code == 125 and done.out == ''
    assert f"/volumes/{vol}/_data': failed to mount local volume: mount :/none:" in done.err
    assert client.engine.kind == 'p' or 'secret' not in done.err  # 20.10 shows it
    assert client.ok('inspect', '-f', '{{.State.Status}}', name) == 'created'


def test_events(client, volume, names):
    vol, name = volume(), names()
    feed = client.start('events', '--filter', 'type=volume', '--format', '{{.Action}} {{.Actor.ID}}')
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(iter(feed.stdout.readline, b'')))
    reader.start()
    try:
        def has(action, who):
            return f'{action} {who}\n'.encode() in seen
        probe = volume('probe')

        def listening():
            client.ok('volume', 'create', probe)
            client.ok('volume', 'rm', probe)
            return has('destroy', probe)
        until(listening, 10)
        client.ok('run', '--name', name, *ALONE, '-v', f'{vol}:/x', IMAGE, 'true')
        client.ok('rm', name)
        client.ok('volume', 'rm', vol)
        until(lambda: has('destroy', vol), 10)
        assert [s.decode().split()[0] for s in seen if vol.encode() in s] == ['create', 'mount', 'unmount', 'destroy']
    finally:
        feed.kill()
        reader.join(10)
        feed.communicate()


def test_tmpfs_options_of_mount(client):
    out = client.run(*ALONE, '--mount', 'type=tmpfs,target=/t,tmpfs-size=1048576,tmpfs-mode=1770', IMAGE, 'sh', '-c',
                     'df -k /t | tail -1; stat -c %a /t').out
    assert out.split()[1] == '1024' and out.split()[-1] == '1770'


@pytest.mark.only('gantry')
class TestNewer:
    """What Debian's dockerd and docker 20.10 do not have yet."""

    @pytest.fixture(autouse=True)
    def newer(self, client):
        if client.name != 'gantry':
            pytest.skip('an older client')

    def test_subpath(self, client, volume):
        vol = volume()
        client.ok('run', '--rm', *ALONE, '-v', f'{vol}:/v', IMAGE, 'sh', '-c', 'mkdir -p /v/a/b && echo deep >/v/a/b/f && ln -s a/b /v/in && ln -s / /v/out')
        mount = f'type=volume,source={vol},target=/x,volume-subpath='
        assert client.run(*ALONE, '--mount', f'{mount}a/b', IMAGE, 'cat', '/x/f').text == 'deep'
        assert client.run(*ALONE, '--mount', f'{mount}a/b/f', IMAGE, 'cat', '/x').text == 'deep'
        assert client.run(*ALONE, '--mount', f'{mount}in', IMAGE, 'cat', '/x/f').text == 'deep'
        for bad, words in (('nosuch', 'cannot access path'), ('out/etc', 'escapes the base directory'), ('../..', 'subpath must be a relative path within')):
            done = client.run(*ALONE, '--mount', f'{mount}{bad}', IMAGE, 'echo', 'ran')
            assert done.code in (125, 127) and words in done.err and done.out == '', done.err
        done = client.run(*ALONE, '--mount', 'type=volume,target=/x,volume-subpath=a', IMAGE, 'true')
        assert done.code == 125 and 'must not set Subpath when using anonymous volumes' in done.err
        assert os.listdir(f'{client.engine.names.state}/mounts') == []

    def test_image_mount(self, client, names):
        name = names()
        client.ok('run', '-d', '--name', name, *ALONE, '--mount', f'type=image,source={IMAGE},target=/img', IMAGE, 'sleep', '1000')
        assert client.ok('exec', name, 'sh', '-c', 'cat /img/etc/passwd | head -1; touch /img/x 2>&1 || true').startswith('root:')
        assert 'Read-only' in client('exec', name, 'touch', '/img/x').err
        assert mounts(client, name)['/img']['Type'] == 'image' and not mounts(client, name)['/img']['RW']
        assert client.run(*ALONE, '--mount', f'type=image,source={IMAGE},target=/img,image-subpath=etc', IMAGE, 'head', '-1', '/img/passwd').text.startswith('root:')
        client.ok('rm', '-f', name)

    def test_create_mountpoint(self, client, tmp_path):
        assert client.run(*ALONE, '--mount', f'type=bind,source={tmp_path}/made,target=/x,bind-create-src=true', IMAGE, 'touch', '/x/f').code == 0
        assert (tmp_path / 'made/f').exists()

    def test_read_only_below(self, client, names, tmp_path):
        """API 1.44: what is mounted below a read-only bind is read-only too, unless told otherwise."""
        (tmp_path / 'sub').mkdir()
        vol_options = {'Image': IMAGE, 'Cmd': ['sh', '-c', 'touch /x/sub/f && echo wrote'], 'HostConfig': {'NetworkMode': 'none', 'Mounts': [
            {'Type': 'bind', 'Source': str(tmp_path), 'Target': '/x', 'ReadOnly': True, 'BindOptions': {'ReadOnlyForceRecursive': True}},
            {'Type': 'tmpfs', 'Target': '/x/sub'}]}}
        for field, status in (('ReadOnlyForceRecursive', 201), ('ReadOnlyNonRecursive', 201)):
            vol_options['HostConfig']['Mounts'][0]['BindOptions'] = {field: True}
            got, body, _ = client.engine.api('POST', '/containers/create', json.dumps(vol_options))
            assert got == status, body
            client.ok('rm', json.loads(body)['Id'])
        vol_options['HostConfig']['Mounts'][0]['ReadOnly'] = False
        got, body, _ = client.engine.api('POST', '/containers/create', json.dumps(vol_options))
        assert got == 400 and b'mount options conflict' in body

    def test_a_mount_of_a_dead_engine_is_taken_over(self, client, volume, names):
        vol, name = volume(), names()
        client.ok('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', vol)
        client.ok('run', '-d', '--name', name, *ALONE, '-v', f'{vol}:/t', IMAGE, 'sleep', '1000')
        client.ok('exec', name, 'touch', '/t/f')
        point = documents(client, 'volume', 'inspect', vol)[0]['Mountpoint']
        client.engine.kill('gantryd')
        client.engine.start()
        assert client.run(*ALONE, '-v', f'{vol}:/t', IMAGE, 'ls', '/t').text == 'f'
        client.engine.kill('gantryd')
        os.makedirs(f'{client.engine.names.state}/mounts/left', exist_ok=True)
        client.engine.start()
        assert os.path.ismount(point) and os.listdir(f'{client.engine.names.state}/mounts') == []
        client.ok('rm', '-f', name)
        assert not os.path.exists(point)
