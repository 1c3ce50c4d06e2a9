# SPDX-License-Identifier: Apache-2.0
"""`run`: exit codes, streams, environment, identity, the command line's own words."""
import re
import signal
import time

import pytest

from harness.places import IMAGE
from harness.traps import until_takes


@pytest.mark.parametrize('command, code', [
    (['true'], 0), (['false'], 1), (['sh', '-c', 'exit 42'], 42), (['sh', '-c', "sh -c 'kill -9 $$'; exit $?"], 137),
    (['sh', '-c', 'exit 255'], 255), (['nosuchcommand'], 127), (['/etc/passwd'], 126), (['/nosuch/file'], 127), (['/etc'], 126),
])
def test_exit_code(client, command, code):
    assert client.run(IMAGE, *command).code == code


@pytest.mark.parametrize('command, words', [
    (['nosuchcommand'], ['nosuchcommand', 'executable file not found in $PATH']),
    (['/etc/passwd'], ['/etc/passwd', 'permission denied']),
    (['/nosuch/file'], ['/nosuch/file', 'no such file or directory']),
])
def test_message_when_it_cannot_start(client, command, words):
    done = client.run(IMAGE, *command)
    for word in words:
        assert word in done.err, done.err
    assert done.out == ''


def test_signal_death_of_init(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '--init', IMAGE, 'sh', '-c', 'kill -TERM $$')
    assert client.ok('wait', name) == '143'


def test_streams_are_apart(client):
    done = client.run(IMAGE, 'sh', '-c', 'echo out; echo err >&2')
    assert (done.out, done.err) == ('out\n', 'err\n')


def test_stdin_to_the_end(client):
    text = 'line of text\n' * 20000
    assert client.run('-i', IMAGE, 'cat', stdin=text).out == text


def test_stdin_is_closed_for_a_reader_to_its_end(client):
    assert client.run('-i', IMAGE, 'wc', '-c', stdin='12345').text == '5'


def test_without_i_stdin_is_empty(client):
    assert client.run(IMAGE, 'wc', '-c', stdin='12345').text == '0'


def test_binary_output(client):
    done = client.run('-i', IMAGE, 'md5sum', stdin=bytes(range(256)) * 4096)
    assert done.text.split()[0] == 'c35cc7d8d91728a0cb052831bc4ef372'


def test_large_output(client):
    done = client.run(IMAGE, 'sh', '-c', 'head -c 8000000 /dev/zero | tr "\\0" x')
    assert len(done.out) == 8000000 and set(done.out) == {'x'}


def test_environment(client, tmp_path):
    file = tmp_path / 'env'
    file.write_text('# a comment\nA=from file\nB=two=parts\nHOSTS\n\n')
    done = client.run('--env-file', file, '-e', 'C=c d', '-e', 'FROMHERE', '-e', 'UNSET', IMAGE, 'env',
                      environment={'HOSTS': 'h', 'FROMHERE': 'x y'})
    lines = done.out.splitlines()
    for line in ('A=from file', 'B=two=parts', 'HOSTS=h', 'C=c d', 'FROMHERE=x y', 'HOME=/root'):
        assert line in lines, lines
    assert not [l for l in lines if l.startswith('UNSET')]
    assert [l for l in lines if l.startswith('PATH=/usr/local/sbin:')]
    assert [l for l in lines if re.fullmatch('HOSTNAME=[0-9a-f]{12}', l)]


@pytest.mark.parametrize('user, expect', [
    ('0', 'uid=0(root) gid=0(root)'), ('nobody', 'uid=65534(nobody) gid=65534'), ('1234', 'uid=1234 gid=0(root)'),
    ('1234:4321', 'uid=1234 gid=4321'), ('nobody:root', 'uid=65534(nobody) gid=0(root)'),
])
def test_user(client, user, expect):
    assert client.run('-u', user, IMAGE, 'id').text.startswith(expect)


@pytest.mark.parametrize('user', ['nosuchuser', '0:nosuchgroup', '-1', '4294967296', '2147483648'])
def test_bad_user(client, user):
    done = client.run(f'--user={user}', IMAGE, 'id')
    assert done.code in (125, 126) and done.out == '' and done.err


def test_workdir(client):
    assert client.run('-w', '/var/made/here', IMAGE, 'pwd').text == '/var/made/here'
    assert client.run('-w', 'relative', IMAGE, 'pwd').code == 125


def test_entrypoint(client):
    assert client.run('--entrypoint', 'echo', IMAGE, 'a', 'b').text == 'a b'


def test_hostname(client):
    done = client.run('--hostname', 'some.where', IMAGE, 'sh', '-c', 'hostname; cat /etc/hostname; grep -c some.where /etc/hosts')
    assert done.out.split() == ['some.where', 'some.where', '1']


def test_label_and_name(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '--label', 'a=b=c', '--label', 'alone', IMAGE, 'sleep', '100')
    assert client.inspect(name, '{{index .Config.Labels "a"}}|{{index .Config.Labels "alone"}}|{{.Name}}') == f'b=c||/{name}'
    assert client.ok('ps', '-q', '--no-trunc', '--filter', 'label=a=b=c') == client.inspect(name, '{{.Id}}')
    again = client('run', '--name', name, IMAGE, 'true')
    assert again.code == 125 and name in again.err and 'already in use' in again.err


def test_detached_prints_the_id(client, names):
    name = names()
    shown = client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    assert re.fullmatch('[0-9a-f]{64}', shown) and client.inspect(name, '{{.Id}}') == shown


def test_rm_takes_it_away(client, names):
    name = names()
    client.ok('run', '--rm', '--name', name, IMAGE, 'true')
    assert client('inspect', name).code == 1


def test_rm_detached(client, names):
    name = names()
    client.ok('run', '-d', '--rm', '--name', name, IMAGE, 'sleep', '0.2')
    deadline = time.monotonic() + 10
    while client('inspect', name).code == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_signals_are_forwarded(client, names):
    name = names()
    process = client.start('run', '--rm', '--name', name, IMAGE, 'sh', '-c', 'trap "echo got; exit 9" TERM; echo on; while :; do sleep 0.1; done')
    assert process.stdout.readline() == b'on\n'
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert out == b'got\n' and process.returncode == 9


def test_init_reaps(client):
    script = '(sleep 0.1 & exec true); (true &) ; sleep 0.5; ps -o stat,comm | grep -c "^Z" || true; ps -o pid,comm | head -2'
    done = client.run('--init', IMAGE, 'sh', '-c', script)
    assert done.out.split()[0] == '0'
    assert done.out.splitlines()[2].split()[0] == '1' and 'sh' not in done.out.splitlines()[2].split()[1:2]


def test_stop_signal(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '--stop-signal', 'SIGUSR1', IMAGE, 'sh', '-c',
              'trap "exit 5" USR1; while :; do sleep 0.05; done')
    until_takes(int(client.inspect(name, '{{.State.Pid}}')), signal.SIGUSR1)
    client.ok('stop', '-t', '10', name)
    assert client.inspect(name, '{{.State.ExitCode}}') == '5'


def test_hundred_at_once(client):
    if client.name != 'gantry' or client.engine.kind == 'p':
        pytest.skip('one pair is enough')
    many = [client.start('run', '--rm', '--network', 'none', IMAGE, 'echo', i) for i in range(40)]
    outs = [p.communicate(timeout=120) for p in many]
    assert [o[0].decode().strip() for o in outs] == [str(i) for i in range(40)], [o[1] for o in outs if o[1]][:3]
    assert {p.returncode for p in many} == {0}
