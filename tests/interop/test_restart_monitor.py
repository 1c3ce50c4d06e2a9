# SPDX-License-Identifier: Apache-2.0
"""Containers with labels `containerd.io/restart.*`, as nerdctl's --restart sets them: Debian's containerd and gantry-containerd
start and stop their tasks alike."""
import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness import places
from harness.containerd import DebianContainerd, GantryContainerd
from harness.engine import until

pytestmark = pytest.mark.skipif(not os.path.exists('/usr/bin/containerd') or os.geteuid() != 0, reason="needs root and Debian's containerd")

IMAGE = 'docker.io/gantry/busybox:latest'
LABEL = 'containerd.io/restart.'
# containerd 1.6's name of the plugin, read by newer ones too.
INTERVAL = '[plugins."io.containerd.internal.v1.restart"]\ninterval = "300ms"\n'


class Gantry(GantryContainerd):
    def command(self):
        config = Path(self.names.state) / 'restart.toml'
        config.write_text('version = 2\n' + INTERVAL)
        return [*super().command(), '--config', str(config)]


class Debian(DebianContainerd):
    def command(self):
        line = super().command()
        with open(line[-1], 'a') as config:
            config.write(INTERVAL)
        return line


@pytest.fixture(scope='module', params=[Debian, Gantry], ids=['containerd', 'gantry'])
def daemon(request):
    made = request.param(spaces=['default'])
    try:
        made.start()
        made.ok('images', 'import', places.IMAGE_TAR)
        yield made
    finally:
        left = made.destroy()
    assert left == []


def labels(daemon, name):
    return json.loads(daemon.ok('c', 'info', name))['Labels']


def task(daemon, name):
    """(status, pid) of a task, or nothing."""
    for line in daemon.ok('t', 'ls').splitlines()[1:]:
        found, pid, status = line.split()[:3]
        if found == name:
            return status, int(pid)
    return None


def run(daemon, name, *command, **wanted):
    """Labelled once it runs: otherwise the monitor and the client both make its task."""
    daemon.ok('run', '-d', IMAGE, name, *command)
    daemon.ok('c', 'label', name, *(f'{LABEL}{key.replace("_", "-")}={value}' for key, value in wanted.items()))


def remove(daemon, name):
    """First of all nobody may start it again."""
    daemon.ok('c', 'label', name, f'{LABEL}status=')
    time.sleep(0.5)  # a round that had begun before
    daemon.ctr('t', 'rm', '-f', name)
    daemon.ok('c', 'rm', name)


def test_always(daemon, tmp_path):
    log = tmp_path / 'log'
    run(daemon, 'always', 'sh', '-c', 'echo up; exec sleep 1000', status='running', loguri=f'file://{log}')
    first = task(daemon, 'always')
    os.kill(first[1], signal.SIGKILL)
    until(lambda: (task(daemon, 'always') or first)[1] not in (0, first[1]) and task(daemon, 'always')[0] == 'RUNNING', 20)
    assert daemon.kind == 'd' or labels(daemon, 'always')[LABEL + 'count'] == '1'  # containerd 1.6 does not count
    until(lambda: log.exists() and log.read_text() == 'up\n', 5)  # the first one had no log
    second = task(daemon, 'always')
    if daemon.kind == 'c':  # containerd 1.6 starts a paused one anew, later ones do not
        daemon.ok('t', 'pause', 'always')
        time.sleep(1)  # two rounds and more
        assert task(daemon, 'always') == ('PAUSED', second[1])
        daemon.ok('t', 'resume', 'always')
    daemon.ok('c', 'label', 'always', f'{LABEL}status=stopped')
    until(lambda: task(daemon, 'always') is None, 20)
    time.sleep(1)
    assert task(daemon, 'always') is None
    remove(daemon, 'always')


def test_one_that_never_ran_is_started(daemon):
    daemon.ok('c', 'create', '--label', f'{LABEL}status=running', IMAGE, 'made', 'sleep', '1000')
    until(lambda: (task(daemon, 'made') or ('',))[0] == 'RUNNING', 20)
    remove(daemon, 'made')


def test_policies(daemon):
    if daemon.kind == 'd':
        pytest.skip("Debian's containerd 1.6 has no policies")
    run(daemon, 'failing', 'sh', '-c', 'exit 3', status='running', policy='on-failure:2')
    run(daemon, 'ending', 'true', status='running', policy='on-failure')
    run(daemon, 'no', 'true', status='running', policy='no')
    run(daemon, 'wrong', 'true', status='running', policy='sometimes')
    run(daemon, 'unless', 'true', status='running', policy='unless-stopped', explicitly_stopped='true')
    run(daemon, 'again', 'true', status='running', policy='unless-stopped')
    until(lambda: labels(daemon, 'failing').get(LABEL + 'count') == '2', 20)
    until(lambda: int(labels(daemon, 'again').get(LABEL + 'count', '0')) > 3, 20)
    assert labels(daemon, 'failing')[LABEL + 'count'] == '2'
    for name in ('ending', 'no', 'wrong', 'unless'):
        assert LABEL + 'count' not in labels(daemon, name) and task(daemon, name)[0] == 'STOPPED', name
    assert 'restart policy "sometimes" not supported' in daemon.log.read_text()
    for name in ('failing', 'ending', 'no', 'wrong', 'unless', 'again'):
        remove(daemon, name)


def test_after_the_daemon_was_killed(daemon):
    run(daemon, 'kept', 'sleep', '1000', status='running')
    before = task(daemon, 'kept')
    daemon.kill()
    os.kill(before[1], signal.SIGKILL)
    daemon.start()
    until(lambda: (task(daemon, 'kept') or ('', 0))[0] == 'RUNNING' and task(daemon, 'kept')[1] != before[1], 20)
    remove(daemon, 'kept')


def test_the_plugin_says_what_it_can(daemon):
    listed = [line for line in daemon.ok('plugins', 'ls', 'id==restart').splitlines()[1:]]
    assert len(listed) == 1 and listed[0].split()[1:] == ['restart', '-', 'ok']


def test_a_hook_with_templates(daemon, tmp_path):
    """`containerd oci-hook` fills a hook's arguments and environment."""
    program = str(places.BIN / 'gantry-containerd') if daemon.kind == 'c' else '/usr/bin/containerd'
    bundle, out = tmp_path / 'bundle', tmp_path / 'out'
    bundle.mkdir()
    (bundle / 'config.json').write_text(json.dumps({'root': {'path': 'rootfs'}}))
    state = json.dumps({'ociVersion': '1.0.2', 'id': 'one', 'status': 'created', 'pid': 42, 'bundle': str(bundle), 'annotations': {'a.b': 'x y'}})
    done = daemon.inside('env', '-i', 'PLACE={{rootfs}}', 'PATH=/bin', program, 'oci-hook', '--', '/bin/sh', '-c',
                         f'echo "$1|$PLACE" > {out}', 'sh', '{{id}} {{pid}} {{status}} {{bundle}} {{annotation "a.b"}}{{annotation "none"}}', input=state)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == f'one 42 created {bundle} x y|{bundle}/rootfs\n'
    done = daemon.inside(program, 'oci-hook', '--', '/bin/sh', '{{nosuch}}', input=state, check=False)
    assert done.returncode == 1 and 'function "nosuch" not defined' in done.stderr
