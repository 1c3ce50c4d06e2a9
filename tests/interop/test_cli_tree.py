# SPDX-License-Identifier: Apache-2.0
"""Every command and every flag that Debian's docker lists in its own help is known to ours: no script gets "unknown
flag" or "unknown command" from gantry where it got something else from docker."""
import os
import re
import subprocess

import pytest

from harness.client import programs

# What docker itself has dropped since, and the signing of images, which went to a plugin of its own with docker 29.
GONE = {'trust', 'stack --orchestrator', 'version --kubeconfig', 'context create --default-stack-orchestrator', 'context create --kubernetes', 'context export --kubeconfig',
        'context update --default-stack-orchestrator', 'context update --kubernetes', 'completion powershell',
        # Of the shells' scripts: ours have descriptions as fish and zsh show them.
        'completion bash --no-descriptions', 'completion fish --no-descriptions', 'completion zsh --no-descriptions'}
# Build's are the builder's own.
OTHERS = {'build', 'builder build', 'image build'}


def run(program, *words):
    return subprocess.run([program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
                          env={'PATH': os.environ['PATH'], 'HOME': '/nonexistent', 'DOCKER_HOST': 'unix:///nonexistent.sock',
                               'DOCKER_CLI_EXPERIMENTAL': 'enabled'})


def parse(text):
    """Commands and flags of one page of help; a flag is (name, short, whether it takes a value)."""
    commands, flags, part = [], [], None
    for line in text.splitlines():
        if re.fullmatch(r'(\w.*)?Commands:', line):
            part = commands
        elif re.fullmatch(r'(Global )?Options:', line):
            part = flags
        elif line and not line.startswith(' '):
            part = None
        elif part is commands and (found := re.match(r'  ([a-z][\w-]*)\*? ', line)):
            commands.append(found[1])
        elif part is flags and (found := re.match(r'\s+(?:-(\w), )?--([\w-]+)( [a-zA-Z]\S*)?', line)):
            flags.append((found[2], found[1], bool(found[3])))
    return commands, flags


def tree(program):
    """{words: flags} of all commands that the help lists."""
    found, todo = {}, [()]
    while todo:
        words = todo.pop()
        commands, found[words] = parse(run(program, *words, '--help').stdout)
        todo += [(*words, command) for command in commands if ' '.join((*words, command)) not in GONE]
    return found


@pytest.fixture(scope='module')
def dockers():
    return tree(programs()['docker'])


def test_it_is_the_whole_tree(dockers):
    assert len(dockers) > 150 and sum(map(len, dockers.values())) > 1000


def test_every_command_is_known(dockers):
    missing = []
    for words in dockers:
        done = run(programs()['gantry'], *words, '--help')
        if done.returncode != 0 or 'Usage:' not in done.stdout:
            missing.append(' '.join(words))
    assert missing == []


def test_every_flag_is_known(dockers):
    missing = []
    for words, flags in dockers.items():
        if ' '.join(words) in OTHERS:
            continue
        shown = {name: (short, value) for name, short, value in parse(run(programs()['gantry'], *words, '--help').stdout)[1]}
        for name, short, value in flags:
            if name == 'help' or f'{" ".join(words)} --{name}' in GONE:
                continue
            if name in shown:
                if short and shown[name][0] != short:
                    missing.append(f'{" ".join(words)} -{short}')
                continue
            # One that is taken but not shown: hidden.
            given = [f'--{name}', '1'] if value else [f'--{name}']
            if not words or 'unknown flag' in run(programs()['gantry'], *words, *given).stdout:
                missing.append(f'{" ".join(words)} --{name}')
    assert missing == []


def test_swarm_commands_know_their_flags():
    """Of docker 29's, which is not on this machine: a few of each kind, and that others are refused."""
    def answer(*words):
        return run(programs()['gantry'], *words).stdout
    for words, flag in (('service create', '--max-concurrent uint'), ('service update', '--ulimit-rm list'), ('stack ps', '--no-resolve'),
                        ('volume create', '--topology-required list'), ('volume ls', '--cluster'), ('plugin remove', '-f, --force'),
                        ('swarm init', '--default-addr-pool'), ('node list', '-q, --quiet'), ('volume update', '--availability string')):
        assert flag in answer(*words.split(), '--help'), words
    assert 'unknown flag: --nosuch' in answer('service', 'create', '--nosuch', 'image')
    # Flags behind the image are the command's.
    assert 'unknown flag' not in answer('service', 'create', '--name', 'x', 'image', 'program', '--nosuch')
