# SPDX-License-Identifier: Apache-2.0
"""Our shim under containerd 1.7 and 2.x, by ctr's command lines, each proven with that containerd's own shim first.
GANTRY_CONTAINERDS names the folders of their binaries (harness/places.py)."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import places
from harness.containerd import NewerContainerd
from harness.engine import until

OURS = str(places.BIN / 'containerd-shim-gantry-v1')
UNIFIED = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
RUNC = shutil.which('runc', path='/usr/sbin:/usr/bin')
# The shim, and options of `ctr run`. ctr gives the name of a runtime's binary to io.containerd.runc.v2 alone, so ours takes its place.
# Debian's crun refuses the version of the specification that newer ones write; test_shim_peers.py has it.
SHIMS = {'own': (None, ['--runtime', 'io.containerd.runc.v2']), 'gantry': (None, ['--runtime', OURS]), 'by name': (None, ['--runtime', 'io.containerd.gantry.v1']),
         **({'runc': (OURS, ['--runc-binary', RUNC])} if RUNC else {})}
SPACE = 'newer'
# The size comes after the start.
SIZE = 'for i in $(seq 100); do stty size | grep "37 91" && break; sleep 0.05; done'
pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
              pytest.mark.skipif(not places.NEWER_CONTAINERDS, reason='GANTRY_CONTAINERDS names no folder with a newer containerd')]


@pytest.fixture(scope='module')
def daemons():
    """Gives the daemon of a folder, with its own shim or with another in its place."""
    made = {}

    def get(folder, shim):
        if (folder, shim) not in made:
            daemon = made[folder, shim] = NewerContainerd(folder, len(made), [SPACE], shim)
            daemon.start()
            ctr(daemon, 'images', 'import', places.IMAGE_TAR)
            daemon.image = ctr(daemon, 'images', 'ls', '-q').splitlines()[0]
        return made[folder, shim]
    try:
        yield get
    finally:
        left = [daemon.destroy() for daemon in made.values()]
    assert left == [[] for _ in made]


def ctr(daemon, *arguments, code=0, **options):
    """What it prints; its words of error when another exit code is expected."""
    done = daemon.ctr(*arguments, space=SPACE, **options)
    assert done.returncode == code, f'ctr {arguments}: {done.returncode} {done.stdout} {done.stderr}'
    return done.stdout if code == 0 else done.stdout + done.stderr


class Side:
    """One shim under one daemon; `name` is free again for each test."""

    def __init__(self, daemon, shim):
        self.daemon, self.shim, self.ours, self.options, self.name = daemon, shim, shim != 'own', SHIMS[shim][1], f'x{os.getpid()}'

    def ctr(self, *arguments, **options):
        return ctr(self.daemon, *arguments, **options)

    def run(self, *arguments, options=(), name=None, **more):
        return self.ctr('run', *self.options, *options, self.daemon.image, name or self.name, *arguments, **more)

    def state(self, name=None):
        rows = [line.split() for line in self.ctr('task', 'ls').splitlines()]
        return next((row[2] for row in rows if row[0] == (name or self.name)), None)

    def pid(self, name=None):
        return int(next(row[1] for row in map(str.split, self.ctr('task', 'ls').splitlines()) if row[0] == (name or self.name)))

    def parent(self, name=None):
        """The shim, which must be the one that was asked for."""
        pid = int(Path(f'/proc/{self.pid(name)}/stat').read_text().rsplit(')', 1)[1].split()[1])
        assert os.readlink(f'/proc/{pid}/exe') == (OURS if self.ours else str(self.daemon.folder / 'containerd-shim-runc-v2'))
        return pid

    def stop(self, name=None):
        self.ctr('task', 'kill', '-s', 'SIGKILL', name or self.name)
        until(lambda: self.state(name) == 'STOPPED', 10)

    def remove(self, name=None, code=137):
        """`code`: how the task must have ended, which ctr says as a warning."""
        done = self.daemon.ctr('task', 'rm', name or self.name, space=SPACE)
        said = re.search(r'exit with non-zero exit code (\d+)', done.stderr)
        assert done.returncode == 0 and int(said.group(1) if said else 0) == code, done.stderr
        self.ctr('containers', 'rm', name or self.name)

    @contextlib.contextmanager
    def events(self):
        """Gives a list of (topic, event) that fills itself."""
        seen = []
        with subprocess.Popen(self.daemon.line('events', space=SPACE), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            import threading

            def read():
                for line in process.stdout:
                    found = re.match(r'\S+ \S+ \S+ \S+ (\S+) (\S+) (.*)', line)
                    if found and found.group(1) == SPACE:
                        seen.append((found.group(2), json.loads(found.group(3))))
            thread = threading.Thread(target=read)
            thread.start()
            try:
                # It has subscribed when it sees what only it can wait for.
                def marked():
                    self.ctr('images', 'label', self.daemon.image, f'mark={time.monotonic_ns()}')
                    return seen
                until(marked, 10)
                yield seen
            finally:
                process.kill()
                thread.join(5)

    def told(self, seen, prefix='/tasks/'):
        return [topic for topic, event in seen if topic.startswith(prefix) and event.get('container_id') == self.name]


PAIRS = [pytest.param((folder, shim), id=f'{NewerContainerd(folder).version()}-{shim}') for folder in places.NEWER_CONTAINERDS for shim in SHIMS]


@pytest.fixture(params=PAIRS or [pytest.param(None, id='none')])
def side(daemons, request):
    folder, shim = request.param
    daemon = daemons(folder, SHIMS[shim][0])
    yield Side(daemon, shim)
    for name in ctr(daemon, 'containers', 'ls', '-q').split():
        daemon.ctr('task', 'rm', '-f', name, space=SPACE)
        daemon.ctr('containers', 'rm', name, space=SPACE)
    assert daemon.settled() == []


def test_run(side):
    done = side.daemon.ctr('run', '--rm', *side.options, side.daemon.image, side.name, 'sh', '-c', 'read x; echo $x; echo err >&2; exit 7', space=SPACE, stdin=None, input='in\n')
    assert (done.returncode, done.stdout) == (7, 'in\n') and 'err\n' in done.stderr
    assert side.name not in side.ctr('containers', 'ls', '-q')
    assert side.daemon.settled() == []


def test_terminal(side):
    line = ' '.join(side.daemon.line('run', '--rm', '-t', *side.options, side.daemon.image, side.name, 'sh', '-c', f"'tty; read x; {SIZE}; echo got $x; exit 3'", space=SPACE))
    done = subprocess.run(['script', '-qefc', f'stty rows 37 cols 91; {line}', '/dev/null'], input='word\n', stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 3 and '/dev/pts/0' in done.stdout and '37 91' in done.stdout and 'got word' in done.stdout


def test_life(side):
    side.run('sleep', '300', options=['-d'])
    assert side.state() == 'RUNNING'
    shim = side.parent()
    assert side.ctr('task', 'exec', '--exec-id', 'e1', side.name, 'echo', 'inside') == 'inside\n'
    assert 'err' in side.ctr('task', 'exec', '--exec-id', 'e1', side.name, 'sh', '-c', 'echo err >&2; exit 5', code=5)
    assert str(side.pid()) in side.ctr('task', 'ps', side.name)
    side.ctr('task', 'pause', side.name)
    assert side.state() == 'PAUSED'
    side.ctr('task', 'resume', side.name)
    assert side.state() == 'RUNNING'
    side.ctr('task', 'rm', side.name, code=1)
    side.stop()
    side.remove()
    until(lambda: not os.path.exists(f'/proc/{shim}'), 10)


def test_exec_with_a_terminal(side):
    side.run('sleep', '300', options=['-d'])
    line = ' '.join(side.daemon.line('task', 'exec', '-t', '--exec-id', 'e1', side.name, 'sh', '-c', f"'read x; {SIZE}; echo got $x; exit 4'", space=SPACE))
    done = subprocess.run(['script', '-qefc', f'stty rows 37 cols 91; {line}', '/dev/null'], input='word\n', stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 4 and '37 91' in done.stdout and 'got word' in done.stdout
    side.stop()


def test_metrics(side):
    if not side.ours and not UNIFIED:
        pytest.skip("containerd's shim finds no cgroup where cpu and cpuacct are apart")
    side.run('sleep', '300', options=['-d', '--memory-limit', str(64 << 20)])
    metrics = side.ctr('task', 'metrics', side.name)
    assert side.name in metrics and re.search(r'memory\.(usage_in_bytes|usage|limit_in_bytes)\s+[1-9]', metrics), metrics
    side.stop()


def test_out_of_memory_is_told(side):
    if not side.ours and not UNIFIED:
        pytest.skip("containerd's shim finds no cgroup where cpu and cpuacct are apart")
    with side.events() as seen:
        side.run('sh', '-c', 'x=$(cat /dev/zero | tr "\\0" a | head -c 200000000); echo ${#x}', options=['-d', '--memory-limit', str(16 << 20)])
        until(lambda: side.state() == 'STOPPED', 20)
        until(lambda: '/tasks/oom' in side.told(seen), 10)


def test_events_keep_their_order(side):
    with side.events() as seen:
        side.run('sleep', '300', options=['-d'])
        side.ctr('task', 'exec', '--exec-id', 'e1', side.name, 'true')
        side.ctr('task', 'pause', side.name)
        side.ctr('task', 'resume', side.name)
        side.stop()
        side.remove()
        # Exits at once: no exit before its start.
        side.run('false', options=['--rm'], code=1)
        want = ['create', 'start', 'exec-added', 'exec-started', 'exit', 'paused', 'resumed', 'exit', 'delete', 'create', 'start', 'exit', 'delete']
        until(lambda: len(side.told(seen)) >= len(want), 10)
        assert side.told(seen) == [f'/tasks/{word}' for word in want]
    exits = [event for topic, event in seen if topic == '/tasks/exit']
    assert [event['id'] for event in exits] == ['e1', side.name, side.name]
    assert [event.get('exit_status', 0) for event in exits] == [0, 137, 1]


def test_file_log(side):
    log = Path(side.daemon.names.state) / 'all.log'
    log.write_text('before\n')
    side.run('sh', '-c', 'echo out; echo err >&2', options=['-d', '--log-uri', f'file://{log}'])
    until(lambda: side.state() == 'STOPPED', 10)
    until(lambda: sorted(log.read_text().split()) == ['before', 'err', 'out'], 10)
    log.unlink()
    side.remove(code=0)


@pytest.mark.parametrize('scheme', ['binary', 'binary-v2'])
def test_binary_log(side, scheme):
    if scheme == 'binary-v2' and side.daemon.version().startswith('v1'):
        pytest.skip('this containerd does not know binary-v2://')
    log, program = Path(side.daemon.names.state) / 'seen', Path(side.daemon.names.state) / 'logger'
    program.write_text(f'#!/bin/sh\ntrap "" TERM\necho >&5; exec 5>&-\n(echo "$@ $CONTAINER_ID $CONTAINER_NAMESPACE"; cat <&3; cat <&4) > {log}.new\nmv {log}.new {log}\n')
    program.chmod(0o755)
    side.run('sh', '-c', 'cat; echo to the program; echo err >&2', options=['-d', '--log-uri', f'{scheme}://{program}?key=value'])
    until(lambda: side.state() == 'STOPPED', 10)
    side.remove(code=0)
    assert log.read_text() == f'key value {side.name} {SPACE}\nto the program\nerr\n'
    log.unlink()


def restart(daemon):
    daemon.kill()
    daemon.start()


def test_containerd_is_killed_and_finds_its_tasks(side):
    side.run('sh', '-c', 'while [ ! -e /stop ]; do sleep 0.05; done; exit 9', options=['-d'])
    pid = side.pid()
    restart(side.daemon)
    assert (side.state(), side.pid()) == ('RUNNING', pid)
    assert side.ctr('task', 'exec', '--exec-id', 'e1', side.name, 'echo', 'after') == 'after\n'
    with side.events() as seen:
        side.ctr('task', 'exec', '--exec-id', 'e2', side.name, 'touch', '/stop')
        until(lambda: side.state() == 'STOPPED', 10)
        until(lambda: [e.get('exit_status') for t, e in seen if t == '/tasks/exit' and e['id'] == side.name] == [9], 10)
    side.remove(code=9)


def test_a_task_that_ends_while_containerd_is_away(side):
    """Ours is found with its exit status. containerd's own shim names no process of it, and containerd takes that for a left-over
    and removes the task."""
    side.run('sh', '-c', 'sleep 1; exit 9', options=['-d'])
    pid = side.pid()
    side.daemon.kill()
    until(lambda: not os.path.exists(f'/proc/{pid}'), 10)
    side.daemon.start()
    if side.ours:
        assert side.state() == 'STOPPED'
        side.remove(code=9)
    else:
        assert side.state() is None


def test_a_killed_shim(side):
    with side.events() as seen:
        side.run('sleep', '300', options=['-d'])
        pid = side.pid()
        os.kill(side.parent(), signal.SIGKILL)
        until(lambda: side.told(seen)[-2:] == ['/tasks/exit', '/tasks/delete'], 15)
        assert [e['exit_status'] for t, e in seen if t == '/tasks/exit'] == [137]
    until(lambda: side.state() is None, 10)
    until(lambda: not os.path.exists(f'/proc/{pid}'), 10)
    side.ctr('containers', 'rm', side.name)


def test_a_shim_that_is_killed_while_containerd_is_away(side):
    side.run('sleep', '300', options=['-d'])
    pid, shim = side.pid(), side.parent()
    side.daemon.kill()
    os.kill(shim, signal.SIGKILL)
    side.daemon.start()
    until(lambda: side.state() is None, 10)
    until(lambda: not os.path.exists(f'/proc/{pid}'), 10)
    side.ctr('containers', 'rm', side.name)


def test_what_cannot_start_leaves_nothing(side):
    assert 'nosuch' in side.run('nosuch', options=['-d'], code=1)
    assert side.state() is None
    side.ctr('containers', 'rm', side.name)
    until(lambda: side.daemon.left() == [], 15)


@pytest.mark.parametrize('label', ['io.containerd.runc.v2.group', 'io.kubernetes.cri.sandbox-id'])
def test_a_group_has_one_shim(side, label):
    names = [f'{side.name}g{i}' for i in range(3)]
    for name in names[:2]:
        side.run('sleep', '300', name=name, options=['-d', '--annotation', f'{label}=pod'])
    side.run('sleep', '300', name=names[2], options=['-d', '--annotation', f'{label}=other'])
    shims = [side.parent(name) for name in names]
    assert shims[0] == shims[1] != shims[2]
    side.stop(names[0])
    side.remove(names[0])
    assert side.ctr('task', 'exec', '--exec-id', 'e1', names[1], 'echo', 'goes on') == 'goes on\n'
    side.run('sleep', '300', name=names[0], options=['-d', '--annotation', f'{label}=pod'])
    assert side.parent(names[0]) == shims[1]
    # Both are lost with their shim, and both are told and cleaned up.
    os.kill(shims[1], signal.SIGKILL)
    until(lambda: [side.state(name) for name in names] == [None, None, 'RUNNING'], 15)
    for name in names[:2]:
        side.ctr('containers', 'rm', name)
    side.stop(names[2])
    side.remove(names[2])


def test_runtime_info(side):
    if side.daemon.version().startswith('v1'):
        pytest.skip('ctr of 1.7 asks for none')
    info = json.loads(side.ctr('plugins', 'inspect-runtime', *side.options))
    assert info['Name'] == ('io.containerd.gantry.v1' if side.ours else 'io.containerd.runc.v2')
    assert info['Features']['linux']['namespaces'] and info['Version']['Version']


def test_sandbox(side):
    """containerd makes a sandbox through our shim, and puts tasks that name it into the same, without another start. Its own
    shim serves no sandboxes."""
    if not side.ours or side.daemon.version().startswith('v1'):
        pytest.skip('no sandboxes here')
    spec, pod = Path(side.daemon.names.state) / 'pod.json', f'{side.name}pod'
    spec.write_text(json.dumps({'ociVersion': '1.0.2', 'annotations': {}}))
    runtime = side.options[:2] if side.options[0] == '--runtime' else []
    with side.events() as seen:
        side.ctr('sandboxes', 'run', *runtime, spec, pod)
        assert pod in side.ctr('sandboxes', 'ls')
        shims = side.daemon.shims()
        side.run('sh', '-c', 'echo $0; exit 3', options=['--rm', '--sandbox', pod], code=3)
        side.run('sleep', '300', options=['-d', '--sandbox', pod])
        assert side.parent() in shims and side.daemon.shims() == shims
        restart(side.daemon)
        assert side.state() == 'RUNNING'
        assert side.ctr('task', 'exec', '--exec-id', 'e1', side.name, 'echo', 'after') == 'after\n'
        side.stop()
        side.remove()
        assert side.daemon.shims() == shims, 'the sandbox ends with its last task'
        side.run('true', options=['--rm', '--sandbox', pod])
        side.ctr('sandboxes', 'rm', pod)
    assert pod not in side.ctr('sandboxes', 'ls')
    assert [topic for topic, _ in seen if topic.startswith('/sandboxes/')][:2] == ['/sandboxes/create', '/sandboxes/start']
    until(lambda: side.daemon.shims() == [], 10)
