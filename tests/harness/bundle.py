# SPDX-License-Identifier: Apache-2.0
"""A bundle with busybox in it, and an OCI runtime with a state directory of its own. GANTRY_TEST_RUNTIME=runc runs the
tests that use it on another runtime, which is how they are proven on the peers."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import places

OURS = str(Path(places.BIN) / 'gantry-runtime')
RUNTIME = os.environ.get('GANTRY_TEST_RUNTIME') or OURS
PEER = os.path.basename(RUNTIME) if RUNTIME != OURS else ''
APPLETS = ('cat', 'cut', 'date', 'echo', 'env', 'grep', 'hostname', 'id', 'ip', 'kill', 'ls', 'mkdir', 'mount', 'ps', 'readlink', 'rm', 'sh',
           'sleep', 'stat', 'stty', 'tail', 'touch', 'true', 'umount', 'uname', 'yes')


class Bundle:
    def __init__(self):
        self.folder, self.count, self.names = Path(tempfile.mkdtemp(prefix='gt-spec-')), 0, []
        self.root = self.folder / 'rootfs'
        for name in ('bin', 'proc', 'sys', 'dev', 'etc', 'tmp'):
            (self.root / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        shutil.copy('/bin/busybox', self.root / 'bin/busybox')
        for name in APPLETS:
            (self.root / 'bin' / name).symlink_to('busybox')
        subprocess.run([OURS, 'spec'], cwd=self.folder, check=True)
        self.config = json.loads((self.folder / 'config.json').read_text())
        self.config['process'].update(terminal=False, rlimits=[])
        self.config['root']['readonly'] = False
        self.linux = self.config['linux']
        if PEER == 'crun':
            self.config['ociVersion'] = '1.0.2'  # 1.8.1 takes no newer one
        # As one sees it from the host, for what is set there.
        self.linux['namespaces'] = [n for n in self.linux['namespaces'] if n['type'] != 'cgroup']

    def write(self):
        (self.folder / 'config.json').write_text(json.dumps(self.config))

    def command(self, *words):
        return [RUNTIME, '--root', str(self.folder / 'state'), *words]

    def call(self, *words, wrap=(), timeout=30, **more):
        self.write()
        more = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, **more}
        return subprocess.run([*wrap, *self.command(*words)], cwd=self.folder, timeout=timeout, **more)

    def name(self):
        self.count += 1
        self.names.append(f'gt-{os.getpid()}-{self.count}')
        return self.names[-1]

    def run(self, *args, **more):
        self.config['process']['args'] = list(args)
        return self.call('run', self.name(), **more)

    def out(self, *args, **more):
        """The output of a container that must end well."""
        done = self.run(*args, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *args, flags=(), **more):
        """A detached container; its output is nowhere."""
        self.config['process']['args'] = list(args or ('sleep', '100'))
        name = self.name()
        done = self.call('run', '--detach', *flags, name, stdout=subprocess.DEVNULL, stderr=open(self.folder / 'stderr', 'w'), **more)
        assert done.returncode == 0, (self.folder / 'stderr').read_text()
        return name

    def state(self, name):
        return json.loads(self.call('state', name).stdout)

    def namespace(self, kind, path=None):
        """Gives the container a namespace of this kind: a new one, or the one at `path`."""
        others = [n for n in self.linux['namespaces'] if n['type'] != kind]
        self.linux['namespaces'] = others + [{'type': kind, **({'path': path} if path else {})}]

    def capability(self, *names):
        for values in self.config['process']['capabilities'].values():
            values.extend(names)

    def destroy(self):
        for name in self.names:
            subprocess.run(self.command('delete', '--force', name), stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        shutil.rmtree(self.folder)
