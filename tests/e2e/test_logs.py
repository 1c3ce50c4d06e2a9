# SPDX-License-Identifier: Apache-2.0
"""`logs` with its options, and that the log is whole."""
import gzip
import json
import os
import re
import select
import time
from pathlib import Path

import pytest

from harness.engine import until
from harness.places import IMAGE


def printed(client, names, script, *options):
    name = names()
    client.ok('run', '-d', '--name', name, *options, IMAGE, 'sh', '-c', script)
    return name


def ended(client, name):
    until(lambda: client.inspect(name, '{{.State.Running}}') == 'false')


def test_both_streams(client, names):
    name = printed(client, names, 'echo a; echo b >&2; echo c')
    ended(client, name)
    done = client('logs', name)
    assert (done.out, done.err) == ('a\nc\n', 'b\n')


def test_tail(client, names):
    name = printed(client, names, 'seq 1 1000')
    ended(client, name)
    assert client.ok('logs', '--tail', '3', name).split() == ['998', '999', '1000']
    assert client.ok('logs', '-n', '0', name) == ''
    assert len(client.ok('logs', '--tail', 'all', name).split()) == 1000
    assert len(client.ok('logs', '--tail', '5000', name).split()) == 1000


def test_timestamps_since_until(client, names):
    name = printed(client, names, 'echo one; sleep 1.2; echo two')
    ended(client, name)
    lines = client.ok('logs', '-t', name).splitlines()
    stamps = [line.split(' ')[0] for line in lines]
    assert all(re.fullmatch(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z', s) for s in stamps), lines
    assert client.ok('logs', '--since', stamps[1], name) == 'two'
    assert client.ok('logs', '--until', stamps[0], name) == 'one'
    assert client.ok('logs', '--since', '1h', name) == 'one\ntwo'


def test_follow_to_the_end(client, names):
    name = printed(client, names, 'for i in 1 2 3 4 5; do echo $i; sleep 0.1; done')
    assert client.ok('logs', '-f', name).split() == ['1', '2', '3', '4', '5']


def test_follow_comes_live(client, names):
    name = printed(client, names, 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done')
    process = client.start('logs', '-f', '--tail', '1', name)
    first = int(process.stdout.readline())
    assert [int(process.stdout.readline()) for _ in range(5)] == list(range(first + 1, first + 6))
    process.kill()
    process.communicate()


def test_long_lines_and_no_newline(client, names):
    name = printed(client, names, 'head -c 100000 /dev/zero | tr "\\0" y; echo; printf end')
    ended(client, name)
    assert client('logs', name).out == 'y' * 100000 + '\nend'


def test_follow_over_rotation(client, names):
    name = printed(client, names, 'seq 1 20000; echo done', '--log-opt', 'max-size=50k', '--log-opt', 'max-file=3')
    ended(client, name)
    lines = client.ok('logs', name).split()
    assert lines[-1] == 'done' and 1000 < len(lines) < 15000
    assert lines[:-1] == [str(n) for n in range(int(lines[0]), 20001)]


@pytest.mark.parametrize('driver', ['json-file', 'local'])
def test_rotated_files_are_compressed(client, names, driver):
    name = printed(client, names, 'seq 1 20000; echo done', '--log-driver', driver, '--log-opt', 'max-size=50k', '--log-opt', 'max-file=4',
                   '--log-opt', 'compress=true')
    followed = client.ok('logs', '-f', '--tail', '1', name).split()
    ended(client, name)
    # Files may be rotated away before the follower comes to them.
    assert followed.pop() == 'done' and followed == sorted(set(followed), key=int)
    lines = client.ok('logs', name).split()
    assert lines[-1] == 'done' and 1500 < len(lines) < 15000
    assert lines[:-1] == [str(n) for n in range(int(lines[0]), 20001)]
    for tail in (1, 700, 1400, len(lines) - 1):
        assert client.ok('logs', '--tail', str(tail), name).split() == lines[-tail:]
    if driver == 'local':
        return  # docker's is no text
    path = Path(client.inspect(name, '{{.LogPath}}'))
    # Compressed beside the container's work, and a moment after it.
    until(lambda: sorted(p.name for p in path.parent.glob(f'{path.name}*')) == [path.name + e for e in ('', '.1.gz', '.2.gz', '.3.gz')], 20)
    with gzip.open(f'{path}.1.gz', 'rt') as file:
        packed = [json.loads(line)['log'].strip() for line in file]
    assert packed == lines[-len(packed) - len(path.read_text().splitlines()):][:len(packed)]
    # A restart goes on in the same files.
    client.ok('start', '-a', name)
    assert client.ok('logs', '--tail', '2', name).split() == ['20000', 'done']


def test_attributes_of_lines(client, names):
    name = names()
    client.ok('run', '--name', name, '--log-opt', 'labels=a', '--log-opt', 'labels-regex=^x', '--log-opt', 'env=E', '--log-opt', 'env-regex=^F',
              '--log-opt', 'tag={{.Name}}/<x>', '--label', 'a="q"', '--label', 'xy=1', '--label', 'c=3', '-e', 'E=v=w', '-e', 'FF=', IMAGE,
              'sh', '-c', 'echo hi; echo no >&2')
    lines = sorted(Path(client.inspect(name, '{{.LogPath}}')).read_text().splitlines())
    attributes = {'a': '"q"', 'xy': '1', 'E': 'v=w', 'FF': '', 'tag': f'{name}/<x>'}
    for line, text, stream in zip(lines, ('hi\n', 'no\n'), ('stdout', 'stderr'), strict=True):
        record = json.loads(line)
        assert list(record) == ['log', 'stream', 'attrs', 'time']
        assert (record['log'], record['stream'], record['attrs']) == (text, stream, attributes)
    assert (client('logs', name).out, client('logs', name).err) == ('hi\n', 'no\n')
    plain = printed(client, names, 'echo hi')
    ended(client, plain)
    assert list(json.loads(Path(client.inspect(plain, '{{.LogPath}}')).read_text())) == ['log', 'stream', 'time']


@pytest.mark.parametrize('option, words', [('tag={{.Nope}}', "can't evaluate field Nope"), ('env-regex=[', 'error parsing regexp: ')])
def test_attributes_that_fail_at_the_start(client, names, option, words):
    name = names()
    client.ok('create', '--name', name, '--log-opt', option, IMAGE, 'true')
    status, answer, _ = client.engine.api('POST', f'/containers/{name}/start')
    message = json.loads(answer)['message']
    assert status == 500 and message.startswith('failed to initialize logging driver: ') and words in message, answer
    assert client.inspect(name, '{{.State.Status}} {{.State.ExitCode}}') == 'created 128'


def test_log_of_a_terminal(client, names):
    name = names()
    client.ok('run', '-d', '-t', '--name', name, IMAGE, 'echo', 'tty')
    ended(client, name)
    assert client('logs', name).out == 'tty\r\n'


def test_logs_of_nothing(client):
    done = client('logs', 'no-such-container')
    assert done.code == 1 and 'No such container: no-such-container' in done.err


def test_driver_none(client, names):
    name = printed(client, names, 'echo x', '--log-driver', 'none')
    ended(client, name)
    done = client('logs', name)
    assert done.code == 1 and 'does not support reading' in done.err


def test_no_line_is_lost_under_load(client, names):
    name = printed(client, names, 'seq 1 300000')
    begin = time.monotonic()
    out = client('logs', '-f', name, timeout=120).out
    assert out == ''.join(f'{n}\n' for n in range(1, 300001)), (len(out), time.monotonic() - begin)


class Follower:
    """`logs -f` whose lines come one by one, each within a bound."""
    def __init__(self, client, name, *options):
        self.process = client.start('logs', '-f', *options, name)

    def lines(self, count):
        found = []
        while len(found) < count:
            assert select.select([self.process.stdout], [], [], 20)[0], f'after {found} nothing comes'
            line = self.process.stdout.readline()
            assert line, f'ended after {found}'
            found.append(int(line))
        return found

    def end(self):
        return self.process.communicate(timeout=20)[0]


# Says 1, 2, 3 …, one at each signal, so that the test knows what has been said.
AT_A_SIGNAL = 'i=0; trap "i=\\$((i+1)); echo \\$i" USR1; echo 0; while :; do sleep 0.02; done'


def say(client, name):
    client.ok('kill', '-s', 'USR1', name)


def test_follow_over_a_file_that_is_cut_off(client, names):
    """Rotation from outside: `logrotate` with copytruncate, or `: > file`."""
    name = printed(client, names, AT_A_SIGNAL)
    follower = Follower(client, name)
    assert follower.lines(1) == [0]
    for number in (1, 2, 3):
        say(client, name)
        assert follower.lines(1) == [number]
    os.truncate(client.inspect(name, '{{.LogPath}}'), 0)
    for number in (4, 5):
        say(client, name)
        assert follower.lines(1) == [number]
    assert client.ok('logs', name).split() == ['4', '5']
    client.ok('rm', '-f', name)
    assert follower.end() == b''


def test_follow_over_a_file_that_is_taken_away(client, names):
    """Who follows reads on what is written to it, new readers find nothing; a container that is started again has a new one."""
    name = printed(client, names, AT_A_SIGNAL)
    follower = Follower(client, name)
    assert follower.lines(1) == [0]
    path = client.inspect(name, '{{.LogPath}}')
    os.unlink(path)
    say(client, name)
    assert follower.lines(1) == [1]
    client.ok('restart', '-t', '0', name)
    assert follower.end() == b'', 'a log ends with the run of its container'
    until(lambda: client.ok('logs', name).split() == ['0'])
    assert os.path.exists(path)


@pytest.mark.parametrize('words', [('rm', '-f'), ('kill',), ('stop', '-t', '0')])
def test_follow_ends_with_the_container(client, names, words):
    name = printed(client, names, AT_A_SIGNAL)
    follower = Follower(client, name)
    assert follower.lines(1) == [0]
    client.ok(*words, name)
    assert follower.end() == b'' and follower.process.returncode == 0
