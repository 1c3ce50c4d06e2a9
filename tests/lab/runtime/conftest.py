# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime alone in the lab machine: what the build machine can't show. GANTRY_LAB_RUNTIME names another runtime, by
which the suite is proven first; what only ours promises is marked `ours`."""
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

RUNTIME = os.environ.get('GANTRY_LAB_RUNTIME', 'gantry-runtime')
OURS = RUNTIME == 'gantry-runtime'
CGROUPS = Path('/sys/fs/cgroup')

def also(*peers):
    """For what these peers promise too, and others don't."""
    return pytest.mark.skipif(not OURS and RUNTIME not in peers, reason=f'{RUNTIME} does otherwise')


ours = pytest.mark.skipif(not OURS, reason='only gantry-runtime promises it')
APPLETS = ('sh', 'cat', 'echo', 'id', 'ls', 'mkdir', 'mknod', 'head', 'readlink', 'sleep', 'true', 'grep', 'rmdir', 'ip', 'touch')
USER = 'lab'


def base_config():
    def mount(to, kind, source, *options):
        return {'destination': to, 'type': kind, 'source': source, 'options': list(options)}
    capabilities = ['CAP_KILL', 'CAP_MKNOD', 'CAP_SETUID', 'CAP_SETGID']
    return {
        'ociVersion': '1.0.2', 'hostname': 'lab', 'root': {'path': 'rootfs'},
        'process': {'cwd': '/', 'user': {'uid': 0, 'gid': 0}, 'args': ['true'], 'env': ['PATH=/bin'],
                    'capabilities': {name: capabilities for name in ('bounding', 'effective', 'permitted')}},
        'mounts': [mount('/proc', 'proc', 'proc'), mount('/dev', 'tmpfs', 'tmpfs', 'nosuid', 'mode=755'), mount('/tmp', 'tmpfs', 'tmpfs'),
                   mount('/sys', 'sysfs', 'sysfs', 'nosuid', 'noexec', 'nodev', 'ro'), mount('/sys/fs/cgroup', 'cgroup', 'cgroup', 'nosuid', 'noexec', 'nodev', 'ro')],
        'linux': {'namespaces': [{'type': t} for t in ('pid', 'network', 'ipc', 'uts', 'mount', 'cgroup')],
                  'resources': {'devices': [{'allow': False, 'access': 'rwm'}]}},
    }


class Bundle:
    """A bundle with busybox in it, run by root or (user) through `prefix`, a command that becomes somebody else."""

    def __init__(self, folder, name, options=(), prefix=()):
        self.folder, self.name, self.options, self.prefix, self.pid = folder, name, list(options), list(prefix), 0
        self.config = base_config()
        self.root = folder / 'rootfs'
        for part in ('bin', 'proc', 'sys', 'dev', 'etc', 'tmp'):
            (self.root / part).mkdir(parents=True)
        shutil.copy('/bin/busybox', self.root / 'bin/busybox')
        for applet in APPLETS:
            (self.root / 'bin' / applet).symlink_to('busybox')

    @property
    def linux(self):
        return self.config['linux']

    def write(self):
        (self.folder / 'config.json').write_text(json.dumps(self.config))

    def call(self, *words, check=False, **more):
        out = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **more}
        done = subprocess.run([*self.prefix, RUNTIME, *self.options, *words], cwd=self.folder, text=True, stdin=subprocess.DEVNULL, timeout=60, **out)
        assert not check or done.returncode == 0, (words, done.stderr, done.stdout)
        return done

    def run(self, *args, **more):
        self.config['process']['args'] = list(args)
        self.write()
        return self.call('run', self.name, **more)

    def start(self, *args):
        """Created and started; its first process' number."""
        self.config['process']['args'] = list(args) or ['sleep', '1000']
        self.write()
        # The container keeps these two, so they must not be pipes of ours.
        with open(self.folder / 'output', 'w+') as output:
            done = self.call('create', self.name, stdout=output, stderr=output)
            output.seek(0)
            assert done.returncode == 0, output.read()
        self.call('start', self.name, check=True)
        self.pid = self.state()['pid']
        return self.pid

    def state(self):
        return json.loads(self.call('state', self.name, check=True).stdout)

    def exec(self, *args, **more):
        return self.call('exec', self.name, *args, **more)

    def cgroup(self):
        path = CGROUPS / Path(f'/proc/{self.pid}/cgroup').read_text().strip().split('::/')[1]
        # crun makes one below the scope, without limits of its own.
        return path.parent if RUNTIME == 'crun' and path.name == 'container' else path

    def mount_cgroups(self, mode):
        options = self.config['mounts'][-1]['options']
        options[-1] = mode

    def value(self, file):
        return (self.cgroup() / file).read_text().strip()

    def delete(self):
        return self.call('delete', '--force', self.name)


@pytest.fixture
def make():
    """Makes bundles, and removes what is left of them."""
    made = []

    def maker(options=(), prefix=(), owner=None):
        folder = Path(tempfile.mkdtemp(prefix='lab-', dir='/tmp'))
        bundle = Bundle(folder, f'lab-{os.getpid()}-{len(made)}-{time.monotonic_ns() % 100000}', options, prefix)
        folder.chmod(0o755)
        if owner:
            subprocess.run(['chown', '-R', f'{owner}:{owner}', folder], check=True)
        made.append(bundle)
        return bundle
    yield maker
    for bundle in made:
        bundle.delete()
        left = [str(p) for p in CGROUPS.rglob(f'*{bundle.name}*')]
        shutil.rmtree(bundle.folder)
        assert not left, left


@pytest.fixture
def bundle(make):
    return make()


def until(what, hold, seconds=30):
    end = time.monotonic() + seconds
    while not hold():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def has_ended(pid):
    """Whoever is to reap it may not have done so yet."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(scope='session')
def user():
    """An unprivileged user with a running systemd of its own; its number."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(['useradd', '-m', '-s', '/bin/sh', USER], check=True)
    number = pwd.getpwnam(USER).pw_uid
    subprocess.run(['loginctl', 'enable-linger', USER], check=True)
    until('the bus of the user', Path(f'/run/user/{number}/bus').exists, 60)
    return number


def with_ids(bundle):
    """A user namespace from 100000."""
    bundle.linux['namespaces'].append({'type': 'user'})
    for kind in ('uidMappings', 'gidMappings'):
        bundle.linux[kind] = [{'containerID': 0, 'hostID': 100000, 'size': 1000}]
    subprocess.run(['chown', '-R', '100000:100000', bundle.root], check=True)


def as_user(number, *more):
    """Outside of all that is the user's own: in the cgroup of whoever calls."""
    return ['setpriv', f'--reuid={number}', f'--regid={number}', '--init-groups', 'env', f'HOME=/home/{USER}', f'USER={USER}', f'XDG_RUNTIME_DIR=/run/user/{number}',
            f'DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{number}/bus', *more]


def in_session(number):
    """In a service of the user's own systemd, whose cgroup is delegated."""
    return as_user(number, 'systemd-run', '--user', '--quiet', '--pipe', '--wait', '--collect', '--same-dir', '--')
