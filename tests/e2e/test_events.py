# SPDX-License-Identifier: Apache-2.0
"""GET /events: which come, filters, times, forms by version, and that none is lost or told twice."""
import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from harness.client import own_stack
from harness.engine import UnixConnection, until
from harness.places import IMAGE

pytestmark = pytest.mark.engine_alone
PATIENT = ['sh', '-c', 'trap "exit 3" TERM; echo up; while :; do sleep 0.05; done']


def read_events(engine, since, until_=None, filters=None, version='', **headers):
    query = {'since': since, 'until': until_ or f'{time.time():.6f}', 'filters': json.dumps(filters or {})}
    status, body, answer = engine.api('GET', f'{version}/events?{urllib.parse.urlencode(query)}', headers=headers)
    assert status == 200, body
    return body, answer


def events(engine, since, filters=None):
    return [json.loads(line) for line in read_events(engine, since, filters=filters)[0].splitlines()]


def actions(engine, since, filters=None):
    return [e['Action'] for e in events(engine, since, filters)]


@pytest.fixture
def begin():
    return f'{time.time():.6f}'


def test_life_of_a_container(client, names, begin):
    engine, name = client.engine, names()
    client.ok('create', '--name', name, '--label', 'k=v', IMAGE, *PATIENT)
    client.ok('start', name)
    until(lambda: client.ok('logs', name).split() == ['up'])
    client.ok('exec', name, 'ls', '/', '/tmp')
    client.ok('top', name)
    client.ok('pause', name)
    client.ok('unpause', name)
    client.ok('rename', name, name + 'x')
    client.ok('rename', name + 'x', name)
    engine.api('POST', f'/containers/{name}/resize?h=3&w=4')
    client.ok('restart', '-t', '60', name)
    until(lambda: client.ok('logs', name).split() == ['up', 'up'])
    client.ok('stop', '-t', '60', name)
    client.ok('rm', name)
    exec_die = [e for e in events(engine, begin, {'container': [name], 'event': ['exec_die']})]
    assert exec_die[0]['Actor']['Attributes']['exitCode'] == '0' and len(exec_die[0]['Actor']['Attributes']['execID']) == 64
    found = actions(engine, begin, {'container': [name]})
    assert [a for a in found if a != 'resize'] == [
        'create', 'start', 'exec_create: ls / /tmp', 'exec_start: ls / /tmp', 'exec_die', 'top', 'pause', 'unpause', 'rename', 'rename',
        'kill', 'die', 'stop', 'start', 'restart', 'kill', 'die', 'stop', 'destroy']
    die = events(engine, begin, {'container': [name], 'event': ['die']})[0]
    attributes = die['Actor']['Attributes']
    assert attributes.pop('execDuration', '0').isdigit()  # not yet in 20.10
    assert attributes == {'k': 'v', 'name': name, 'image': IMAGE, 'exitCode': '3'}
    assert (die['Type'], die['scope'], len(die['Actor']['ID'])) == ('container', 'local', 64)
    assert die['time'] == die['timeNano'] // 10**9
    rename = events(engine, begin, {'event': ['rename']})[0]['Actor']['Attributes']
    assert (rename['name'], rename['oldName']) == (name + 'x', '/' + name)


def test_run_and_prune(client, names, begin):
    engine = client.engine
    client.ok('run', '--rm', '--label', 'ours=1', IMAGE, 'true')
    assert actions(engine, begin, {'label': ['ours=1']}) == ['create', 'attach', 'start', 'die', 'destroy']
    client.ok('container', 'prune', '-f', '--filter', 'label=nobody')
    assert events(engine, begin, {'event': ['prune'], 'type': ['container']})[0]['Actor'] == {'ID': '', 'Attributes': {'reclaimed': '0'}}


def test_images(client, names, begin, tmp_path):
    """Labels of an image go with its events; what is gone has none any more."""
    engine = client.engine
    name, other = names(), names()
    client.ok('create', '--name', name, IMAGE, 'true')
    root, saved = tmp_path / 'root.tar', tmp_path / 'saved.tar'
    client.ok('export', '-o', root, name)
    image = client.ok('import', '-c', 'LABEL k=v', root, f'{name}:1')
    nameless = client.ok('import', root)
    committed = client.ok('commit', '-c', 'LABEL c=d', name, f'{other}:1')
    client.ok('tag', f'{name}:1', f'{name}:2')
    client.ok('save', '-o', saved, f'{name}:2')
    client.ok('load', '-q', '-i', saved)
    client.ok('rmi', f'{name}:2', f'{name}:1')
    client.ok('rmi', nameless, f'{other}:1')
    client.ok('rm', name)
    found = [(e['Action'], e['Actor']['ID'], e['Actor']['Attributes']) for e in events(engine, begin, {'type': ['image']})]
    expect = [('tag', image, {'k': 'v', 'name': f'{name}:1'}), ('import', image, {'k': 'v', 'name': image}),
              ('import', nameless, {'name': nameless}), ('tag', committed, {'c': 'd', 'name': f'{other}:1'}),
              ('tag', image, {'k': 'v', 'name': f'{name}:2'}), ('save', image, {'k': 'v', 'name': image}), ('load', image, {'k': 'v', 'name': image}),
              ('untag', image, {'k': 'v', 'name': image}), ('untag', image, {'k': 'v', 'name': image}), ('delete', image, {'name': image}),
              ('delete', nameless, {'name': nameless}), ('untag', committed, {'c': 'd', 'name': committed}), ('delete', committed, {'name': committed})]
    assert found == expect


def test_detach(client, names, begin):
    """The keys as the engine sees them; docker's program looks for them itself as well."""
    engine, name = client.engine, names()
    client.ok('run', '-dit', '--name', name, IMAGE, 'sh')
    body = {'AttachStdin': True, 'AttachStdout': True, 'Tty': True, 'Cmd': ['sh'], 'DetachKeys': 'ctrl-a,b'}
    exec_id = json.loads(engine.api('POST', f'/containers/{name}/exec', json.dumps(body))[1])['Id']
    for path, start, keys, action in ((f'/containers/{name}/attach?stream=1&stdin=1&stdout=1', None, b'\x10\x11', 'detach'),
                                      (f'/exec/{exec_id}/start', {'Tty': True}, b'\x01b', 'exec_detach')):
        stream, head, text = engine.hijack(path, start)
        assert head.startswith('HTTP/1.1 101 UPGRADED')
        if action == 'exec_detach' and engine.kind == 'p':
            stream.close()
            continue  # 20.10 takes the keys for an error and ends the process
        stream.sendall(b'echo $((40+2))\r')
        while b'42' not in text:
            text += stream.recv(65536)
        stream.sendall(keys[:1])
        time.sleep(0.1)
        stream.sendall(keys[1:])
        while stream.recv(65536):
            pass
        stream.close()
        until(lambda a=action: actions(engine, begin, {'container': [name], 'event': [a]}) == [a])


def test_filters(client, names, begin):
    engine, name = client.engine, names()
    client.ok('run', '-d', '--name', name, '--label', 'k=v', IMAGE, 'sleep', '100')
    client.ok('exec', name, 'true')
    container = client.inspect(name, '{{.Id}}')
    client.ok('tag', IMAGE, 'events/x:y')
    until(lambda: 'exec_die' in actions(engine, begin))
    everything = ['create', 'start', 'exec_create: true ', 'exec_start: true ', 'exec_die']
    for filters, expected in (({'container': [name]}, everything), ({'container': [name[:-1]]}, everything),
                              ({'container': [container[:12]]}, everything),
                              ({'container': {name: True}, 'event': {'start': True, 'create': True}}, ['create', 'start']),
                              ({'container': [name], 'event': ['exec_create']}, ['exec_create: true ']),
                              ({'container': [name], 'event': ['exec_create: true ']}, ['exec_create: true ']),
                              ({'container': [name], 'event': ['exec']}, []), ({'container': [name], 'type': ['network']}, []),
                              ({'label': ['k'], 'event': ['start']}, ['start']), ({'label': ['k=w']}, []),
                              ({'container': [name], 'image': [IMAGE], 'event': ['die', 'start']}, ['start']),
                              ({'container': [name], 'image': [IMAGE.split(':')[0]], 'event': ['start']}, ['start']),
                              ({'type': ['image'], 'image': ['events/x']}, ['tag']), ({'type': ['image'], 'image': ['events/x:y']}, ['tag']),
                              ({'type': ['nothing']}, []), ({'scope': ['swarm']}, []), ({'container': [name], 'scope': ['local']}, everything),
                              ({'container': [name], 'no-such-filter': ['x'], 'event': ['create']}, ['create']),
                              ({'type': ['container'], 'volume': ['x']}, [])):
        assert actions(engine, begin, filters) == expected, filters
    client.ok('rmi', 'events/x:y')


def test_times(client, names, begin):
    engine, name = client.engine, names()
    client.ok('run', '--name', name, IMAGE, 'true')
    found = events(engine, begin, {'container': [name]})
    stamps = [e['timeNano'] for e in found]
    assert stamps == sorted(stamps)
    second = stamps[1]

    def text(nanos):
        return f'{nanos // 10**9}.{nanos % 10**9:09}'
    again = [json.loads(line) for line in read_events(engine, text(second), text(stamps[-2]), {'container': [name]})[0].splitlines()]
    assert [e['timeNano'] for e in again] == stamps[1:-1]
    status, body, _ = engine.api('GET', '/events?since=20&until=10')
    assert (status, json.loads(body)['message']) == (400, '`since` time (20) cannot be after `until` time (10)')
    assert engine.api('GET', '/events?since=x')[0] in (400, 500)
    assert engine.api('GET', '/events?until=1')[:2] == (200, b'')
    assert len(client.ok('events', '--since', text(second), '--until', text(stamps[-2]), '--filter', f'container={name}',
                         '--format', '{{.Action}}').split('\n')) == len(stamps) - 2


def test_until_in_the_future_ends_there(client, names):
    engine = client.engine
    start = time.monotonic()
    body, _ = read_events(engine, f'{time.time():.3f}', f'{time.time() + 1:.3f}')
    assert time.monotonic() - start > 0.8


def test_old_form(client, names, begin):
    client.ok('run', '--rm', '--label', 'form=1', IMAGE, 'true')
    body, headers = read_events(client.engine, begin, filters={'label': ['form=1']}, version='/v1.41', Accept='application/jsonl')
    assert headers['Content-Type'] == 'application/json'
    first = json.loads(body.splitlines()[0])
    assert (first['status'], first['id'], first['from']) == ('create', first['Actor']['ID'], IMAGE)


@pytest.mark.only('gantry')
@pytest.mark.parametrize('accept, kind', [('', 'application/jsonl'), ('application/json', 'application/jsonl'),
                                          ('application/x-ndjson', 'application/x-ndjson'),
                                          ('application/json-seq, application/jsonl', 'application/json-seq')])
def test_new_forms(client, names, begin, accept, kind):
    if tuple(map(int, client.engine.api('GET', '/_ping')[2]['Api-Version'].split('.'))) < (1, 52):
        pytest.skip('the engine speaks no API 1.52')
    client.ok('run', '--rm', '--label', 'form=1', IMAGE, 'true')
    headers = {'Accept': accept} if accept else {}
    body, answer = read_events(client.engine, begin, filters={'label': ['form=1']}, **headers)
    assert answer['Content-Type'] == kind
    for line in body.splitlines():
        assert line.startswith(b'\x1e') == (kind == 'application/json-seq')
        assert not {'status', 'id', 'from'} & set(json.loads(line.lstrip(b'\x1e')))


@pytest.fixture
def own(home):
    with own_stack(15, home) as client:
        yield client


class Reader:
    """A client that reconnects whenever its connection breaks, from the nanosecond after the last it saw."""

    def __init__(self, engine):
        self.engine, self.seen, self.over = engine, [], threading.Event()
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self):
        last = 0
        while not self.over.is_set():
            try:
                connection = UnixConnection(self.engine.socket, timeout=1)
                connection.request('GET', f'/events?since={last // 10**9}.{last % 10**9:09}')
                answer = connection.getresponse()
                while not self.over.is_set():
                    line = answer.readline()
                    if not line.endswith(b'\n'):
                        break
                    event = json.loads(line)
                    self.seen.append((event['timeNano'], event['Action'], event['Actor']['ID']))
                    last = event['timeNano'] + 1
            except (OSError, socket.timeout):
                pass
            self.over.wait(0.01)


def test_none_is_lost_or_told_twice(own):
    engine = own.engine
    reader = Reader(engine)
    try:
        for point in range(5):
            workers = [own.start('run', '--rm', '--name', f'e{point}-{n}', IMAGE, 'true') for n in range(3)]
            time.sleep(0.03 + point * 0.02)
            engine.kill('gantryd')
            engine.start()
            for worker in workers:
                worker.communicate(timeout=30)
        until(lambda: own.ok('ps', '-aq') == '' or own('rm', '-f', *own.ok('ps', '-aq').split()) is None)
        own.ok('run', '--name', 'last-one', IMAGE, 'true')
        own.ok('rm', 'last-one')
        until(lambda: reader.seen and reader.seen[-1][1] == 'destroy' and
              reader.seen[-1][0] == json.loads(read_events(engine, '1')[0].splitlines()[-1])['timeNano'])
    finally:
        reader.over.set()
        reader.thread.join(10)
    truth = [(e['timeNano'], e['Action'], e['Actor']['ID']) for e in events(engine, '1')]
    assert reader.seen == truth and len({t for t, _, _ in truth}) == len(truth)
    files = sorted(p.name for p in os.scandir(f'{engine.names.root}/engine') if p.name.startswith('events'))
    assert files == ['events.log']


def test_what_a_killed_engine_has_not_told(own):
    """kill -9 between a record and its event: on disk that is a record without the last lines of the log. The next start tells
    them, the same and once; and none that was told is told again."""
    engine = own.engine
    log = f'{engine.names.root}/engine/events.log'

    def told():
        return [(e['Type'], e['Action'], e['Actor']) for e in events(engine, '1') if e['Action'] != 'reload']

    def restart(lost=0):
        engine.kill('gantryd')
        lines = open(log, 'rb').read().splitlines(keepends=True)
        with open(log, 'wb') as file:
            file.writelines(lines[:len(lines) - lost])
        engine.start()

    steps = (('create', '--name', 'box', '--label', 'k=v w', IMAGE, 'sleep', '1000'), ('start', 'box'), ('pause', 'box'),
             ('unpause', 'box'), ('rename', 'box', 'ship'), ('update', '--restart', 'unless-stopped', 'ship'),
             ('network', 'create', 'pond'), ('network', 'connect', 'pond', 'ship'), ('network', 'disconnect', 'pond', 'ship'),
             ('network', 'rm', 'pond'), ('volume', 'create', 'hold'), ('volume', 'rm', 'hold'), ('tag', IMAGE, 'events/lost:1'),
             ('rmi', 'events/lost:1'))
    for lost in (1, 0):
        for words in (*steps, ('kill', '-s', 'WINCH', 'ship'), ('kill', '-s', 'URG', 'ship')):
            before = told()
            own.ok(*words)
            whole = told()
            assert len(whole) > len(before), words
            restart(lost)
            assert told() == whole, (words, lost)
        restart()
        assert told() == whole
        own.ok('rm', '-f', 'ship')
        whole = told()
    # An intent that did not come true is nothing to tell.
    assert own('network', 'create', 'host').code and own('volume', 'rm', 'nosuch').code and own('network', 'rm', 'nosuch').code
    restart()
    assert told() == whole


def test_a_signal_that_a_killed_engine_has_sent(own):
    """gantryd is killed while the shim has its signal and has not answered: the signal comes, and the next start tells it. One that was
    refused is none."""
    engine = own.engine
    own.ok('run', '-d', '--name', 'box', IMAGE, 'sh', '-c', 'trap "echo got" USR1; trap "exit 3" TERM; echo up; while :; do sleep 0.05; done')
    until(lambda: own.ok('logs', 'box').split() == ['up'])

    def signals():
        return [e['Actor']['Attributes']['signal'] for e in events(engine, '1') if e['Action'] == 'kill']

    def cut_off(*words):
        init = own.inspect('box', '{{.State.Pid}}')
        shim = int(Path(f'/proc/{init}/stat').read_text().rsplit(')', 1)[1].split()[1])

        def has_got_it():
            rows = [row for row in engine.inside('ss', '-xHp').stdout.splitlines() if f'pid={shim},' in row]
            return sum(int(row.split()[2]) for row in rows)
        os.kill(shim, signal.SIGSTOP)
        try:
            asking = own.start(*words)
            until(has_got_it)
            engine.kill('gantryd')
            asking.communicate(timeout=20)
        finally:
            os.kill(shim, signal.SIGCONT)
        engine.start()
    cut_off('kill', '-s', 'USR1', 'box')
    until(lambda: 'got' in own.ok('logs', 'box'))
    assert signals() == ['10']
    cut_off('stop', 'box')
    until(lambda: own.inspect('box', '{{.State.Status}}') == 'exited')
    assert signals() == ['10', '15'] and own('kill', 'box').code
    engine.kill('gantryd')
    engine.start()
    assert signals() == ['10', '15']


def test_who_attaches_and_detaches_finds_the_event(own):
    """The log has it when the client sees the answer, or the end of its stream: a kill -9 then comes too late to lose it."""
    engine = own.engine
    log = Path(f'{engine.names.root}/engine/events.log')

    def counted(action):
        return log.read_text().count(f'"action":"{action}"')
    own.ok('run', '-dit', '--name', 'box', IMAGE, 'sh')
    tty = {'AttachStdin': True, 'AttachStdout': True, 'Tty': True, 'Cmd': ['sh']}
    for n in range(1, 21):
        stream, head, _ = engine.hijack('/containers/box/attach?stream=1&stdin=1&stdout=1', None)
        assert counted('attach') == n and head.startswith('HTTP/1.1 101')
        stream.sendall(b'\x10\x11')
        while stream.recv(65536):
            pass
        assert counted('detach') == n
        exec_id = json.loads(engine.api('POST', '/containers/box/exec', json.dumps(tty))[1])['Id']
        stream, _, _ = engine.hijack(f'/exec/{exec_id}/start', {'Tty': True})
        stream.sendall(b'\x10\x11')
        while stream.recv(65536):
            pass
        assert counted('exec_detach') == n


def test_a_reader_that_sleeps(own):
    """It costs a bounded queue, and is told everything when it wakes up."""
    engine = own.engine
    sleeper = socket.socket(socket.AF_UNIX)
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.connect(engine.socket)
    sleeper.sendall(b'GET /events HTTP/1.0\r\n\r\n')
    until(lambda: sleeper.recv(12, socket.MSG_PEEK))
    own.ok('create', '--name', 'busy', '--label', 'fill=' + 'x' * 3000, IMAGE, 'true')
    for n in range(300):
        assert engine.api('POST', f'/containers/busy/rename?name=busy{n % 2}')[0] in (204, 400, 404, 409)
        assert engine.api('POST', f'/containers/busy{n % 2}/rename?name=busy')[0] in (204, 404)
    own.ok('rm', 'busy')
    sleeper.settimeout(10)
    text = b''
    while b'"Action":"destroy"' not in text:
        text += sleeper.recv(65536)
    assert text.count(b'"Action":"rename"') == 600
    sleeper.close()


def test_the_end_of_an_exec_over_restarts(own):
    """An exec outlives gantryd. Its end is told by the gantryd that runs then, or by the next one, once and with its code; also when
    that was killed between the end and its event."""
    engine = own.engine
    own.ok('run', '-d', '--name', 'box', IMAGE, 'sleep', '1000')
    pid = int(own.inspect('box', '{{.State.Pid}}'))
    log = f'{engine.names.root}/engine/events.log'

    def begin(word):
        """An exec that ends with 7 when the file of that name is there."""
        own.ok('exec', '-d', 'box', 'sh', '-c', f'while [ ! -e /{word} ]; do sleep 0.02; done; exit 7')

    def let_end(word):
        open(f'/proc/{pid}/root/{word}', 'w').close()

    def ends():
        return [e['Actor']['Attributes']['exitCode'] for e in events(engine, '1') if e['Action'] == 'exec_die']

    def runs(word):
        for process in Path(f'/proc/{pid}/root/proc').glob('[0-9]*/cmdline'):
            with contextlib.suppress(OSError):
                if word in process.read_text():
                    return True
        return False

    def sockets():
        """The shim's for attaching: one of the container, one of each exec."""
        return len(os.listdir(f'{engine.names.state}/io'))
    begin('while-it-is-away')
    begin('after-its-return')
    engine.kill('gantryd')
    let_end('while-it-is-away')
    until(lambda: not runs('while-it-is-away'))
    engine.start()
    until(lambda: ends() == ['7'])
    let_end('after-its-return')
    until(lambda: ends() == ['7', '7'])
    until(lambda: sockets() == 1)
    # What the log has was told; what it has not is told again.
    own.ok('exec', '-d', 'box', 'sh', '-c', 'exit 9')
    until(lambda: ends() == ['7', '7', '9'])
    for lost in (1, 0):
        engine.kill('gantryd')
        lines = open(log, 'rb').read().splitlines(keepends=True)
        with open(log, 'wb') as file:
            file.writelines(lines[:len(lines) - lost])
        engine.start()
        # Nobody knows any more how it ended.
        until(lambda: ends() == ['7', '7', '255'])
    own.ok('rm', '-f', 'box')
    restart_count = len(ends())
    engine.kill('gantryd')
    engine.start()
    assert len(ends()) == restart_count
