# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime of an unprivileged user, with one id and no cgroup of its own; the rest is tests/lab/runtime."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import places
from test_runtime_alone import Bundle

RUNTIME = str(Path(places.BIN) / 'gantry-runtime')
USER = 54321  # nobody's


class Rootless(Bundle):
    """The same, run by a user without a name and with a runtime directory."""

    def __init__(self, folder):
        super().__init__(folder)
        platform = self.config['linux']
        platform['namespaces'] = [{'type': t} for t in ('pid', 'ipc', 'uts', 'mount', 'cgroup', 'user')]
        for kind in ('uidMappings', 'gidMappings'):
            platform[kind] = [{'containerID': 0, 'hostID': USER, 'size': 1}]
        del platform['resources']
        for mount in self.config['mounts']:
            mount['options'] = [o for o in mount.get('options', []) if not o.startswith('gid=')]
            if mount['destination'] == '/sys':
                mount.update(type='none', source='/sys', options=['rbind', 'nosuid', 'noexec', 'nodev', 'ro'])
        (folder / 'run').mkdir()
        # The tree may lie where this user may not go.
        shutil.copy(RUNTIME, folder / 'gantry-runtime')
        folder.chmod(0o755)

    def call(self, *words, **more):
        (self.folder / 'config.json').write_text(json.dumps(self.config))
        subprocess.run(['chown', '-R', f'{USER}:{USER}', self.folder], check=True)
        out = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **more}
        become = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups', 'env', f'XDG_RUNTIME_DIR={self.folder}/run']
        return subprocess.run([*become, str(self.folder / 'gantry-runtime'), *words], cwd=self.folder, text=True, stdin=subprocess.DEVNULL, timeout=30, **out)


@pytest.fixture
def rootless():
    folder = Path(tempfile.mkdtemp(prefix='gt-rootless-'))
    yield Rootless(folder)
    shutil.rmtree(folder)


def test_one_id(rootless):
    done = rootless.run('sh', '-c', 'id; cat /proc/self/uid_map /proc/self/setgroups; echo x >/dev/null && ls -l /dev/null')
    lines = done.stdout.split('\n')
    assert lines[0].startswith('uid=0') and lines[1].split() == ['0', str(USER), '1'] and lines[2] == 'deny', done.stderr
    assert '1,   3' in lines[3]


def test_life_cycle(rootless):
    name = f'gt-{os.getpid()}-rootless'
    rootless.config['process']['args'] = ['sleep', '100']
    assert rootless.call('create', name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    place = rootless.folder / 'run/gantry-runtime'
    try:
        assert (place / name / 'state.json').exists() and place.stat().st_mode & 0o7777 == 0o1700
        assert rootless.call('start', name).returncode == 0
        pid = json.loads(rootless.call('state', name).stdout)['pid']
        assert os.stat(f'/proc/{pid}').st_uid == USER
        assert rootless.call('exec', name, 'sh', '-c', 'id -u; exit 7').stdout == '0\n'
        assert rootless.call('exec', name, 'sh', '-c', 'exit 7').returncode == 7
        for words, text in ((['update', '--memory', '1000000', name], 'no cgroup'), (['kill', '--all', name, 'HUP'], 'no cgroup')):
            done = rootless.call(*words)
            assert done.returncode == 1 and text in done.stderr, done.stderr
        assert rootless.call('kill', '--all', name, 'KILL').returncode == 0
    finally:
        assert rootless.call('delete', '--force', name).returncode == 0
    assert list(place.iterdir()) == []


def test_limits_need_delegation(rootless):
    for change in ({'resources': {'memory': {'limit': 1 << 26}}}, {'cgroupsPath': '/gt-rootless'}):
        rootless.config['linux'].pop('resources', None)
        rootless.config['linux'].update(change)
        done = rootless.run('echo', 'ran')
        assert done.returncode == 1 and not done.stdout and 'delegated' in done.stderr, done.stderr


def test_only_without_cgroups_where_that_is_said(rootless):
    assert rootless.call('--rootless=false', 'run', 'gt-x').returncode == 1
    done = rootless.call('--rootless=maybe', 'run', 'gt-x')
    assert done.returncode == 1 and '--rootless' in done.stderr


def test_the_caller_s_cgroup_is_read_only(rootless):
    """CVE-2023-25809: also where the container asks for it writable."""
    for mount in rootless.config['mounts']:
        if mount['type'] == 'cgroup':
            mount['options'].remove('ro')
    done = rootless.run('sh', '-c', 'for d in /sys/fs/cgroup/*; do echo x >$d/cgroup.procs; done; echo end')
    assert done.stdout == 'end\n' and done.stderr.count('Read-only') > 1, done.stderr


def test_ids_of_others(rootless):
    rootless.config['linux']['uidMappings'].append({'containerID': 1, 'hostID': 5, 'size': 1})
    done = rootless.run('echo', 'ran')
    assert done.returncode == 1 and 'newuidmap' in done.stderr and not done.stdout


def test_no_manager(rootless):
    """--cgroup-manager=disabled: the container stays where its caller is."""
    rootless.config['process']['args'] = ['cat', '/proc/1/cgroup']
    done = rootless.call('--cgroup-manager=disabled', 'run', 'gt-disabled')
    assert done.returncode == 0, done.stderr
    done = rootless.call('--systemd-cgroup', 'run', 'gt-systemd')
    if not Path('/sys/fs/cgroup/cgroup.controllers').exists():
        assert done.returncode == 1 and 'needs cgroup version 2' in done.stderr
