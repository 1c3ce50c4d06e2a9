# SPDX-License-Identifier: Apache-2.0
"""kill -9 of gantry-runtime at every system call of create, of run and of delete, and of the process that becomes the
container's at every one of its calls before it is ready: `delete --force` clears what is left, wholly. Each campaign goes
on until the program ends without reaching the call to be killed at; then as many calls were covered as there are."""
import itertools
import subprocess

import pytest

from harness import places, stepper
from harness.bare import Bare

EVERY = 1 if places.SOAK else 7


@pytest.fixture
def bare():
    made = Bare()
    yield made
    made.destroy()


def sleeper(bare):
    config = bare.config()
    config['process']['args'] = ['/bin/sleep', '100']
    return config


def nothing_prepared(bare, name):
    bare.write(sleeper(bare))


def created(bare, name):
    bare.write(sleeper(bare))
    done = bare.call('create', name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0


def running(bare, name):
    created(bare, name)
    assert bare.call('start', name).returncode == 0


def stopped(bare, name):
    running(bare, name)
    assert bare.call('kill', name, 'KILL').returncode == 0
    bare.reap()


def clear(bare, name, number):
    done = bare.call('delete', '--force', name)
    assert done.returncode == 0, f'call {number}: {done.stderr}'
    left = bare.left()
    assert left == [], f'call {number}: {left}'
    if bare.state.exists():
        bare.state.rmdir()  # so that each run has to make it


CAMPAIGNS = [('create', nothing_prepared, ['create'], False), ('create, the child', nothing_prepared, ['create'], True),
             ('run', nothing_prepared, ['run', '--detach'], False), ('start', created, ['start'], False),
             ('delete', stopped, ['delete'], False), ('delete --force', running, ['delete', '--force'], False)]


@pytest.mark.parametrize('what, prepare, words, first_child', CAMPAIGNS, ids=[c[0] for c in CAMPAIGNS])
def test_killed_at_every_call(bare, capsys, what, prepare, words, first_child):
    # How often something is polled for differs between runs: what the last one made, which nobody killed, is covered.
    covered = set()
    for number in itertools.count(EVERY, EVERY):
        name = bare.name()
        prepare(bare, name)
        stepped = stepper.kill_at(number, bare.command(*words, name), bare.folder, bare.folder / 'output', first_child)
        clear(bare, name, number)
        if not stepped.killed:
            break
        covered.add(number)
    assert stepped.code == 0, (bare.folder / 'output').read_text()
    seen = set(range(1, stepped.calls + 1))
    with capsys.disabled():
        print(f'\n{what}: calls covered {len(covered & seen)}, calls seen {len(seen)}' + ('' if EVERY == 1 else f' (a sample: every {EVERY}th)'))
    assert len(seen) > 10 and (covered & seen == seen or EVERY > 1)
