# SPDX-License-Identifier: Apache-2.0
"""`gantry import-docker`: what Debian's dockerd has made, and left when it stopped, is there afterwards in gantry."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from harness import places
from harness.client import Client
from harness.engine import Peer, Stack
from traces import end

IMAGE = places.IMAGE


def stop(peer):
    """As `systemctl stop docker` does: its data stays."""
    end(peer.process.pid, signal.SIGTERM, 30)
    peer.process.wait(30)


@pytest.fixture(scope='module')
def moved(tmp_path_factory):
    """A dockerd with all kinds of things that was stopped, what it said of them, and an empty gantry."""
    peer, stack = Peer(7), Stack(7)
    try:
        peer.start()
        peer.load_image()
        docker = Client('docker', peer, tmp_path_factory.mktemp('home'))
        # Layers with what a store must keep: a removed file, an opaque directory, links, owners, odd modes.
        docker.ok('run', '--name', 'maker', IMAGE, 'sh', '-c',
                  'mkdir -p /a/b && echo one > /a/b/one && ln /a/b/one /a/hard && ln -s one /a/b/soft && chown 12:34 /a/hard && chmod 4711 /a/hard && '
                  'dd if=/dev/zero of=/a/big bs=1M count=3 && mkfifo /a/pipe')
        docker.ok('commit', '-c', 'ENV SAID=yes', 'maker', 'made:one')
        docker.ok('rm', 'maker')
        docker.ok('run', '--name', 'maker', 'made:one', 'sh', '-c', 'rm /a/big && rm -r /a/b && mkdir /a/b && echo two > /a/b/two')
        docker.ok('commit', 'maker', 'example.test:5000/made/two:2')
        docker.ok('rm', 'maker')
        docker.ok('tag', 'made:one', 'made:again')
        docker.ok('volume', 'create', '--label', 'com.docker.compose.project=p', 'data')
        docker.ok('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'mounted')
        docker.ok('network', 'create', '--subnet', '10.77.0.0/24', '--label', 'x=y', '--internal', 'given')
        docker.ok('network', 'create', 'chosen')
        docker.ok('run', '--name', 'web', '-e', 'A=b', '-v', 'data:/data', '-v', '/anonymous', '--network', 'given', '--network-alias', 'www',
                  '--ip', '10.77.0.9', '--memory', '64m', '--restart', 'on-failure:3', '-p', '18777:80', '--label', 'l=1', 'example.test:5000/made/two:2',
                  'sh', '-c', 'echo kept > /data/file && chown 5:6 /data/file && echo more > /anonymous/file && rm /etc/group && echo written > /written && rm -r /a/b && mkdir /a/b')
        docker.ok('create', '--name', 'plain', '--hostname', 'box', IMAGE, 'hostname')
        said = {'images': {tag: image['Id'] for image in json.loads(peer.api('GET', '/images/json')[1]) for tag in image['RepoTags'] or []},
                'web': json.loads(peer.api('GET', '/containers/web/json')[1]),
                'chosen': json.loads(peer.api('GET', '/networks/chosen')[1]),
                'tree': docker.ok('run', '--rm', 'example.test:5000/made/two:2', 'sh', '-c', TREE)}
        stack.start()
        gantry = Client('gantry', stack, tmp_path_factory.mktemp('ours'))
        said['while it ran'] = gantry('import-docker', '--data-root', peer.names.root)
        stop(peer)
        yield peer, gantry, stack, said
    finally:
        peer.destroy()
        left = stack.destroy()
    assert left == []


# Of /etc only what no engine puts there itself.
TREE = "cd / && find a bin etc/passwd etc/group -xdev -exec stat -c '%n %F %a %u %g %s %h %Y' {} + | sort; cat a/b/*"


def test_it_refuses_while_dockerd_runs(moved):
    peer, _, _, said = moved
    done = said['while it ran']
    assert (done.code, done.err) == (1, f"a dockerd runs on '{peer.names.root}': stop it first\n")


def inventory(stack):
    return {path: json.loads(stack.api('GET', path)[1]) for path in ('/images/json?all=1', '/containers/json?all=1', '/networks', '/volumes')}


def only(root, pattern):
    found = sorted(root.glob(pattern))
    assert found, pattern
    return found[0]


def with_text(pattern, change):
    """Damages the first file of that pattern: `change` makes its new bytes."""
    def damage(root):
        path = only(root, pattern)
        path.write_bytes(change(path.read_bytes()))
    return damage


def without(pattern):
    def damage(root):
        path = only(root, pattern)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return damage


def layer_with(root, name):
    """The directory of the layer that has this file."""
    return next(path for path in root.glob('overlay2/*/diff') if (path / name).exists())


DAMAGES = {
    'names torn': (with_text('image/overlay2/repositories.json', lambda text: text[:40]), r"reading '\S+/repositories.json': "),
    'names no object': (with_text('image/overlay2/repositories.json', lambda text: b'[1, 2'), r"reading '\S+/repositories.json': "),
    'configuration changed': (with_text('image/overlay2/imagedb/content/sha256/*', lambda text: text + b' '), r'the configuration of image sha256:\w{64} is damaged'),
    'no record of a layer': (without('image/overlay2/layerdb/sha256/*'), r'image sha256:\w{64} is damaged: finding layer sha256:\w{64}: '),
    'no cache id': (without('image/overlay2/layerdb/sha256/*/cache-id'), r'image sha256:\w{64} is damaged: finding layer sha256:\w{64}: '),
    'cache id leads out': (with_text('image/overlay2/layerdb/sha256/*/cache-id', lambda text: b'../../../etc'), r"image sha256:\w{64} is damaged: finding layer \S+: '\S+/cache-id' holds no name"),
    'split no gzip': (with_text('image/overlay2/layerdb/sha256/*/tar-split.json.gz', lambda text: b'x' * 100), r"image sha256:\w{64} is damaged: '\S+/tar-split.json.gz' is no gzip file"),
    'split torn': (with_text('image/overlay2/layerdb/sha256/*/tar-split.json.gz', lambda text: text[:-20]), r"image sha256:\w{64} is damaged: '\S+/tar-split.json.gz' is no gzip file"),
    'no files of a layer': (lambda root: shutil.rmtree(layer_with(root, 'bin/busybox')), r'image sha256:\w{64} is damaged: '),
    'a file is missing': (lambda root: (layer_with(root, 'bin/busybox') / 'bin/busybox').unlink(), r"image sha256:\w{64} is damaged: reading '\S+/bin/busybox': opening 'bin/busybox': no such file or directory"),
    'a file is shorter': (lambda root: os.truncate(layer_with(root, 'bin/busybox') / 'bin/busybox', 100), r"image sha256:\w{64} is damaged: '\S+/bin/busybox' is shorter than it was"),
    'container torn': (with_text('containers/*/config.v2.json', lambda text: text[:100]), r"reading '\S+/config.v2.json': "),
    'no host configuration': (without('containers/*/hostconfig.json'), r"opening '\S+/hostconfig.json': no such file or directory"),
    'no layer of a container': (without('image/overlay2/layerdb/mounts/*'), r'finding the layer of container \w{64}: '),
    'layer of a container gone': (lambda root: shutil.rmtree(layer_with(root, 'written')), r"container \w{64} is damaged: its layer '\S+' is not there"),
    'volumes torn': (with_text('volumes/metadata.db', lambda text: text[:5000]), r"reading '\S+/volumes/metadata.db': "),
    'networks no database': (with_text('network/files/local-kv.db', lambda text: b'x' * 40000), r"reading '\S+/network/files/local-kv.db': "),
    'no database of volumes': (without('volumes/metadata.db'), r"opening '\S+/volumes/metadata.db': no such file or directory"),
}


@pytest.mark.parametrize('damage, words', DAMAGES.values(), ids=DAMAGES)
def test_damaged_data_is_one_error_and_changes_nothing(moved, tmp_path, damage, words):
    peer, gantry, stack, _ = moved
    root = tmp_path / 'docker'
    subprocess.run(['cp', '-a', peer.names.root, root], check=True)
    damage(root)
    before = inventory(stack)
    done = gantry('import-docker', '--data-root', str(root), timeout=120)
    assert (done.code, done.out) == (1, '') and re.match(words, done.err), done
    assert done.err.count('\n') == 1, done.err
    assert inventory(stack) == before and not (root / 'gantry-import.json').exists()


def test_everything_comes_over(moved):
    peer, gantry, stack, said = moved
    done = gantry('import-docker', '--data-root', peer.names.root, timeout=120)
    assert done.code == 0, done.err
    ours = {tag: image['Id'] for image in json.loads(stack.api('GET', '/images/json')[1]) for tag in image['RepoTags'] or []}
    assert ours == said['images']
    assert gantry.ok('run', '--rm', 'example.test:5000/made/two:2', 'sh', '-c', TREE) == said['tree']
    assert gantry.ok('run', '--rm', 'made:again', 'sh', '-c', 'echo $SAID') == 'yes'

    volume = json.loads(gantry.ok('volume', 'inspect', 'data'))[0]
    assert volume['Labels'] == {'com.docker.compose.project': 'p'}
    assert gantry.ok('run', '--rm', '-v', 'data:/d', IMAGE, 'stat', '-c', '%u %g %s', '/d/file') == '5 6 5'
    assert json.loads(gantry.ok('volume', 'inspect', 'mounted'))[0]['Options'] == {'type': 'tmpfs', 'device': 'tmpfs'}
    given, chosen = json.loads(gantry.ok('network', 'inspect', 'given', 'chosen'))
    assert (given['IPAM']['Config'][0]['Subnet'], given['Internal'], given['Labels']) == ('10.77.0.0/24', True, {'x': 'y'})
    assert chosen['IPAM']['Config'][0]['Subnet'] == said['chosen']['IPAM']['Config'][0]['Subnet']


def test_containers(moved):
    _, gantry, _, said = moved
    ours, theirs = json.loads(gantry.ok('inspect', 'web'))[0], said['web']
    for path in ('Config.Env', 'Config.Cmd', 'Config.Labels', 'Config.Hostname', 'Config.Image', 'HostConfig.Memory', 'HostConfig.RestartPolicy',
                 'HostConfig.PortBindings', 'HostConfig.NetworkMode', 'Image', 'Name'):
        a, b = ours, theirs
        for key in path.split('.'):
            a, b = a[key], b[key]
        assert a == b, path
    endpoint = ours['NetworkSettings']['Networks']['given']
    assert endpoint['IPAMConfig']['IPv4Address'] == '10.77.0.9' and 'www' in endpoint['Aliases']
    mounts = {m['Destination']: m for m in ours['Mounts']}
    assert mounts['/data']['Name'] == 'data'
    assert mounts['/anonymous']['Name'] == next(m['Name'] for m in theirs['Mounts'] if m['Destination'] == '/anonymous')
    # What it had written and removed, seen in the container itself.
    changes = set(gantry.ok('diff', 'web').split('\n'))
    assert {'A /written', 'D /etc/group'} <= changes, changes
    gantry.ok('commit', 'web', 'seen')
    assert gantry.ok('run', '--rm', 'seen', 'sh', '-c', 'cat /written; ls /etc/group 2>/dev/null; ls -A /a/b') == 'written'
    assert gantry.ok('start', '-a', 'plain') == 'box'


def test_a_second_run_changes_nothing(moved):
    peer, gantry, stack, _ = moved
    gantry.ok('run', '--rm', '-v', 'data:/d', IMAGE, 'sh', '-c', 'echo newer > /d/file')
    done = gantry('import-docker', '--data-root', peer.names.root, timeout=120)
    assert done.code == 0, done.err
    assert gantry.ok('run', '--rm', '-v', 'data:/d', IMAGE, 'cat', '/d/file') == 'newer'


def test_a_killed_run_is_taken_up(moved):
    """As the journal says after `kill -9` in the middle of a copy: what was begun is made anew, what is done is not."""
    peer, gantry, stack, _ = moved
    path = f'{peer.names.root}/gantry-import.json'
    journal = json.loads(open(path).read())
    assert 'volume data' in journal['done']
    gantry.ok('rm', '-f', 'web')
    gantry.ok('volume', 'rm', 'data')
    gantry.ok('volume', 'create', 'data')
    journal['done'].remove('volume data')
    journal['begun'].append('volume data')
    with open(path, 'w') as file:
        json.dump(journal, file)
    done = gantry('import-docker', '--data-root', peer.names.root, timeout=120)
    assert (done.code, [line for line in done.out.split('\n') if line.startswith('volume')]) == (0, ['volume data']), done.err
    assert gantry.ok('run', '--rm', '-v', 'data:/d', IMAGE, 'cat', '/d/file') == 'kept'


def test_others_of_the_same_name_stay(moved):
    peer, gantry, _, _ = moved
    path = f'{peer.names.root}/gantry-import.json'
    os.unlink(path)
    done = gantry('import-docker', '--data-root', peer.names.root, timeout=120)
    assert done.code == 1
    assert 'volume data: the engine has one of that name' in done.err.split('\n')
    assert 'container plain: the engine has one of that name' in done.err.split('\n')


def test_no_data_root(moved, tmp_path):
    _, gantry, _, _ = moved
    done = gantry('import-docker', '--data-root', str(tmp_path))
    assert (done.code, done.err) == (1, f"'{tmp_path}' is no data root of docker with its overlay2 store of images\n")
    assert os.listdir(tmp_path) == []
    (tmp_path / 'rootfs/overlayfs').mkdir(parents=True)  # of a dockerd with containerd's store
    done = gantry('import-docker', '--data-root', str(tmp_path))
    assert done.code == 1 and f"the dockerd of '{tmp_path}' keeps its images in containerd, which can't be read here" in done.err
    assert os.listdir(tmp_path) == ['rootfs']


def test_engines_elsewhere_are_refused():
    done = subprocess.run([places.BIN / 'gantry', '-H', 'tcp://127.0.0.1:1', 'import-docker'], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (1, 'files are copied: the engine must be one of this host\n')
