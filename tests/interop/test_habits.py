# SPDX-License-Identifier: Apache-2.0
"""Whole scripts as docker's users have them (habits/*.sh): what they print, and how they end, with docker on Debian's dockerd and with
gantry linked as `docker` on gantryd. `python3 tests/interop/test_habits.py [NAME…]` shows the differences."""
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import cli_script  # noqa: E402
from harness import places  # noqa: E402
from harness.client import programs  # noqa: E402
from harness.engine import Peer, Stack  # noqa: E402

SCRIPTS = {path.stem: path for path in sorted(Path(__file__).with_name('habits').glob('*.sh'))}
SAMPLE = ['copy', 'templates']
SECONDS = 240
# docker's own advice of BuildKit, and its progress on standard error.
ADVICE = r'DEPRECATED: The legacy builder.*\n.*BuildKit.*\n.*environment-variable.\n+|Sending build context to Docker daemon .*\n+'


def play(program, engine, script):
    """The lines that the script prints, both streams in one."""
    cli_script.clean(engine)
    if engine.api('GET', f'/images/{places.IMAGE}/json')[0] != 200:
        engine.load_image()
    folder = tempfile.mkdtemp(prefix='gt-habit-')
    try:
        for name in ('bin', 'home', 'work'):
            os.mkdir(f'{folder}/{name}')
        os.symlink(program, f'{folder}/bin/docker')
        environment = {'PATH': f'{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': f'{folder}/home', 'DOCKER_HOST': engine.host,
                       'IMAGE': places.IMAGE, 'DOCKER_CLI_HINTS': 'false', 'LC_ALL': 'C'}
        process = subprocess.Popen(['bash', str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment, cwd=f'{folder}/work', start_new_session=True)
        try:
            out = process.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out = process.communicate()[0] + b'did not end\n'
        text = re.sub(ADVICE, '', out.decode(errors='replace'))
        return cli_script.shape(text, folder).splitlines()
    finally:
        cli_script.clean(engine)
        shutil.rmtree(folder, ignore_errors=True)


def differences(name, engines):
    docker = programs().get('docker-new', programs()['docker'])
    theirs = play(docker, engines['peer'], SCRIPTS[name])
    ours = play(programs()['gantry'], engines['stack'], SCRIPTS[name])
    return [line for line in difflib.unified_diff(theirs, ours, 'docker', 'gantry', n=2, lineterm='')]


@pytest.fixture(scope='module')
def engines():
    made = {'peer': Peer(6), 'stack': Stack(6)}
    try:
        for engine in made.values():
            engine.start()
            engine.load_image()
        yield made
    finally:
        left = [engine.destroy() for engine in made.values()]
    assert [str(trace) for traces in left for trace in traces or []] == []


@pytest.mark.parametrize('name', SCRIPTS if places.SOAK else SAMPLE)
def test_same_as_docker(engines, name):
    if 'docker-new' not in programs():
        pytest.skip('docker 28, whose wording ours follows, is not on this machine')
    assert differences(name, engines) == []


if __name__ == '__main__':
    shown = {'peer': Peer(6), 'stack': Stack(6)}
    try:
        for one in shown.values():
            one.start()
            one.load_image()
        for chosen in sys.argv[1:] or SCRIPTS:
            print(f'#### {chosen}', *differences(chosen, shown), sep='\n', flush=True)
    finally:
        for one in shown.values():
            one.destroy()
