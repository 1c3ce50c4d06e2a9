# SPDX-License-Identifier: Apache-2.0
"""CLI plugins: docker's command line and ours find the same ones, run them with the same words and pass on what they
say. The plugin is a program of the tests."""
import json
import re
import shlex
import stat

import pytest

from harness.client import Client, Terminal, programs

PLUGIN = """#!/usr/bin/env python3
import json, os, signal, sys, time
words = sys.argv[1:]
if words[:1] == ['docker-cli-plugin-metadata']:
    print(json.dumps({'SchemaVersion': '0.1.0', 'Vendor': 'the tests', 'Version': 'v1', 'ShortDescription': 'Says hello NUMBER'}))
elif words[1:2] == ['docker-cli-plugin-hooks']:
    asked = json.loads(words[2])
    print(json.dumps({'Type': 0, 'Template': f"hint for {asked['RootCmd']} {sorted(asked['Flags'].items())} {asked['CommandError']!r}"}))
elif words[:1] == ['__complete']:
    print('completed', *words[1:], sep='+')
    print(':4')
else:
    if 'fail' in words:
        sys.exit(5)
    if 'wait' in words:
        signal.signal(signal.SIGINT, lambda *_: sys.exit(9))
        print('WAITING', flush=True)
        time.sleep(20)
    print(json.dumps(words), 'NUMBER')
    print('stdin', sys.stdin.read().strip())
    for name in ('DOCKER_HOST', 'DOCKER_CONTEXT', 'DOCKER_CONFIG'):
        print(name, os.environ.get(name), file=sys.stderr)
    print(os.path.basename(os.environ['DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND']).replace('gantry', 'docker'), file=sys.stderr)
"""


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Nowhere:
    host = 'unix:///nonexistent.sock'


@pytest.fixture
def both(tmp_path):
    if 'docker-new' not in programs():
        pytest.skip('docker 28, whose wording ours follows, is not on this machine')
    clients = []
    for name in ('docker-new', 'gantry'):
        home = tmp_path / 'home'
        client = Client(name, Nowhere, home)
        clients.append(client)
    put(tmp_path / 'home/cli-plugins/docker-hello', PLUGIN.replace('NUMBER', '1'))
    put(tmp_path / 'extra/docker-hello', PLUGIN.replace('NUMBER', '2'))
    put(tmp_path / 'extra/docker-other', PLUGIN.replace('NUMBER', '3'))
    put(tmp_path / 'home/cli-plugins/docker-broken', '#!/bin/sh\nexit 1\n')
    put(tmp_path / 'home/cli-plugins/docker-Bad', PLUGIN)
    (tmp_path / 'home/cli-plugins/docker-plain').write_text('not a program')
    return clients, tmp_path


@pytest.mark.parametrize('line', ['hello', 'hello a b --flag -x', '--debug hello a', 'hello fail', 'other', 'plain', 'Bad', 'hello --help',
                                  'help hello', '__complete hello a ""', '__complete hello ""', '__complete other x'])
@pytest.mark.parametrize('extra', [False, True])
def test_same_plugin_same_words(both, line, extra):
    clients, folder = both
    config = {'cliPluginsExtraDirs': [str(folder / 'extra')]} if extra else {}
    (folder / 'home/config.json').write_text(json.dumps(config))
    theirs, ours = (client(*shlex.split(line), stdin='typed\n') for client in clients)
    assert ours.code == theirs.code, (theirs.err, ours.err)
    assert ours.out == theirs.out
    if '__complete' not in line:
        assert ours.err == re.sub(r'\bdocker: |docker (?=plain|Bad|other|--help)', lambda m: m.group().replace('docker', 'gantry'), theirs.err)


def test_a_plugin_gets_the_engine_that_we_would_use(both):
    """docker's plugins know docker's default socket only."""
    (_, ours), folder = both
    ours.command = [programs()['gantry']]
    assert 'DOCKER_HOST unix:///run/gantry/gantry.sock' in ours('hello').err
    assert 'DOCKER_HOST tcp://x:1' in ours('hello', environment={'GANTRY_HOST': 'tcp://x:1'}).err
    ours.ok('context', 'create', 'far', '--docker', 'host=tcp://y:2')
    assert 'DOCKER_CONTEXT far' in ours('hello', environment={'GANTRY_CONTEXT': 'far'}).err
    assert f'DOCKER_CONFIG {folder}/home' in ours('hello', environment={'DOCKER_CONFIG': '', 'GANTRY_CONFIG': str(folder / 'home')}).err


def test_help_lists_them(both):
    for client in both[0]:
        lines = client('--help').out.splitlines()
        assert [line.split()[1:] for line in lines if line.split()[:1] == ['hello*']] == [['Says', 'hello', '1']] or \
            any(line.startswith('  hello*') and 'Says hello 1' in line for line in lines)


def test_build_is_buildx_where_that_is(both):
    (_, ours), folder = both
    nothing = folder / 'nothing'
    nothing.mkdir()
    assert 'Dockerfile' in ours('build', nothing).err
    put(folder / 'home/cli-plugins/docker-buildx', PLUGIN)
    for line in ('build -t x .', 'image build -t x .', 'builder build -t x .', 'buildx build -t x .'):
        words = json.loads(ours(*line.split()).out.rsplit(' ', 1)[0].split(' NUMBER')[0].split('\n')[0])
        assert words[-4:] == ['build', '-t', 'x', '.'] and 'buildx' in words, words
    assert 'Dockerfile' in ours('build', nothing, environment={'DOCKER_BUILDKIT': '0'}).err


def test_keys_reach_the_plugin(both):
    for client in both[0]:
        terminal = client.terminal('hello', 'wait')
        terminal.expect('WAITING')
        terminal.send('\x03')
        assert terminal.wait() == 9
        terminal.close()


@pytest.mark.parametrize('enabled', [True, False])
def test_hints_on_a_terminal(both, enabled):
    clients, folder = both
    (folder / 'home/config.json').write_text(json.dumps({'plugins': {'hello': {'hooks': 'context ls,hello'}}}))
    for client in clients:
        client.environment['DOCKER_CLI_HINTS'] = 'true' if enabled else 'false'
        terminal = client.terminal('context', 'ls', '-q')
        terminal.wait()
        assert ("hint for context ls [('quiet', 'true')] ''" in terminal.seen) == enabled, terminal.seen
        assert ('next:' in terminal.seen) == enabled
        terminal.close()
        assert 'hint' not in client('context', 'ls').err  # no terminal
