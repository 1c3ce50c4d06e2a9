# SPDX-License-Identifier: Apache-2.0
"""exec, attach, terminals, detach keys, resize."""
import os
import signal
import subprocess
import time

import pytest

from harness.engine import until
from harness.places import IMAGE


@pytest.fixture
def sleeper(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '-e', 'A=container', IMAGE, 'sleep', '300')
    return name


@pytest.fixture
def terminal(client):
    opened = []

    def give(*arguments):
        opened.append(client.terminal(*arguments))
        return opened[-1]
    yield give
    for one in opened:
        one.close()


def test_exec_streams_and_code(client, sleeper):
    done = client('exec', sleeper, 'sh', '-c', 'echo o; echo e >&2; exit 12')
    assert (done.code, done.out, done.err) == (12, 'o\n', 'e\n')
    assert client('exec', '-i', sleeper, 'cat', stdin='in').out == 'in'


@pytest.mark.parametrize('command, code', [(['nosuchcommand'], 127), (['/etc/passwd'], 126)])
def test_exec_that_cannot_start(client, sleeper, command, code):
    done = client('exec', sleeper, *command)
    if client.engine.kind == 'p':
        code = 126  # dockerd 20.10 says so for both, later ones do not
    assert done.code == code and command[0] in done.out + done.err


def test_exec_options(client, sleeper):
    assert client.ok('exec', '-e', 'B=x', '-w', '/tmp', '-u', 'nobody', sleeper, 'sh', '-c', 'echo $A $B; pwd; id -un').split() == [
        'container', 'x', '/tmp', 'nobody']


def test_exec_detached(client, sleeper):
    client.ok('exec', '-d', sleeper, 'sh', '-c', 'echo made >/tmp/f')
    until(lambda: client('exec', sleeper, 'cat', '/tmp/f').text == 'made')


def test_exec_in_a_stopped_one(client, names):
    name = names()
    client.ok('run', '--name', name, IMAGE, 'true')
    done = client('exec', name, 'true')
    assert done.code == 1 and 'is not running' in done.err


def test_exec_is_in_the_containers_cgroup_and_namespaces(client, sleeper):
    same = 'for n in pid net ipc uts mnt; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done; cat /proc/self/cgroup'
    ours = client.ok('exec', sleeper, 'sh', '-c', same)
    assert ours == client.ok('exec', sleeper, 'cat', '/proc/1/cgroup')


def test_run_on_a_terminal(client, names, terminal):
    t = terminal('run', '--rm', '-it', '--name', names(), IMAGE, 'sh')
    t.expect('# ')
    t.send('tty; stty size; echo $TERM\r')
    t.expect('/dev/pts/0')
    t.expect('24 80')
    t.expect('xterm')
    t.send('exit 5\r')
    assert t.wait() == 5


def test_resize(client, names, terminal):
    t = terminal('run', '--rm', '-it', '--name', names(), IMAGE, 'sh')
    t.expect('# ')
    t.resize(31, 99)
    # docker's client reads the size, then begins to listen for changes: one that comes in between,
    # right after a prompt that was there at once, is lost to it. So the signal is sent until it counts.
    for _ in range(20):
        os.kill(t.process.pid, signal.SIGWINCH)
        t.send('stty size\r')
        if t.expect(r'(\d+ \d+|Interrupted system call)\r').group(1) == '31 99':
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f'the size never came: {t.seen[-300:]!r}')
    t.send('exit\r')
    t.wait()


def test_ctrl_c_reaches_the_process(client, names, terminal):
    t = terminal('run', '--rm', '-it', '--name', names(), IMAGE, 'sh', '-c', 'trap "echo int; exit 3" INT; echo ready; while :; do sleep 0.1; done')
    t.expect('ready')
    t.send('\x03')
    t.expect('int')
    assert t.wait() == 3


def test_detach_keys_and_attach(client, names, terminal):
    name = names()
    t = terminal('run', '-it', '--name', name, IMAGE, 'sh')
    t.expect('# ')
    t.send('\x10\x11')
    assert t.wait() == 0
    assert client.inspect(name, '{{.State.Running}}') == 'true'
    t = terminal('attach', name)
    time.sleep(0.5)
    t.send('echo a$((1+1))b\r')
    t.expect('a2b')
    t.send('exit 4\r')
    assert t.wait() == 4


def test_other_detach_keys(client, names, terminal):
    name = names()
    t = terminal('run', '-it', '--detach-keys', 'ctrl-a,d', '--name', name, IMAGE, 'sh')
    t.expect('# ')
    t.send('\x01d')
    assert t.wait() == 0
    assert client.inspect(name, '{{.State.Running}}') == 'true'


def test_exec_on_a_terminal(client, sleeper, terminal):
    t = terminal('exec', '-it', sleeper, 'sh')
    t.expect('# ')
    t.send('tty; exit 6\r')
    t.expect('/dev/pts/')
    assert t.wait() == 6


def test_attach_without_a_terminal(client, names):
    name = names()
    client.ok('run', '-d', '-i', '--name', name, IMAGE, 'sh', '-c', 'read a; sleep 0.3; echo "got $a"; echo e >&2; exit 8')
    process = client.start('attach', name, stdin=subprocess.PIPE)
    # Docker's attach gives up its output when stdin ends before the container has answered.
    process.stdin.write(b'word\n')
    process.stdin.flush()
    assert (process.stdout.read(), process.stderr.read(), process.wait(20)) == (b'got word\n', b'e\n', 8)
    process.stdin.close()


def test_terminal_needs_a_terminal(client, names):
    done = client('run', '--rm', '-it', '--name', names(), IMAGE, 'true', stdin='')
    assert done.code == 1 and 'the input device is not a TTY' in done.err
