# SPDX-License-Identifier: Apache-2.0
"""`logs` with its options, and that the log is whole."""
import re
import time

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
