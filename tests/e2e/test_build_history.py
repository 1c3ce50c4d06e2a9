# SPDX-License-Identifier: Apache-2.0
"""The history of builds: `gantry builder history`, and Control.ListenBuildHistory as BuildKit's clients call it. Debian's dockerd is
older than it: what is expected is from BuildKit's messages and from buildx's `history` commands."""
import json
import re
import threading
from pathlib import Path

import grpc
import pytest

from harness.buildkit import BuildKit
from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR

STARTED, COMPLETE, DELETED = range(3)


@pytest.fixture(scope='module')
def stack(home):
    engine = Stack(1)
    try:
        engine.start()
        Client('gantry', engine, home).ok('load', '-i', IMAGE_TAR)
        yield engine
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def history(client):
    def run(*arguments, **options):
        return client.ok('builder', 'history', *arguments, **options)
    client('builder', 'history', 'rm', '--all')
    yield run


@pytest.fixture
def build(client, tmp_path):
    def run(text, *flags, name='thing'):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / 'Dockerfile').write_text(text.replace('@', IMAGE))
        return client('build', *flags, folder, environment={'BUILDKIT_PROGRESS': 'plain'})
    return run


def rows(history):
    return [json.loads(line) for line in history('ls', '--format', 'json').splitlines()]


def test_list_and_inspect(history, build, client):
    assert history('ls') == 'BUILD ID   NAME      STATUS    CREATED AT   DURATION'
    assert build('FROM @ AS t\nARG A\nRUN echo said $A\n', '--target', 't', '--build-arg', 'A=value', '-t', 'own/h').code == 0
    assert build('FROM @\nRUN echo why; exit 3\n', name='bad').code == 1
    bad, good = rows(history)
    assert (good['Name'], good['Status'], good['Steps']) == ('thing (t)', 'Completed', '6/6')
    assert (bad['Name'], bad['Status']) == ('bad', 'Error')
    assert re.fullmatch(r'\d+\.\ds', good['Duration']) and 'ago' in good['CreatedAt']
    assert history('ls', '-q').split() == [bad['Ref'], good['Ref']]
    text = history('inspect', good['Ref'][:10])
    for line in ('Name:           thing (t)', 'Target:         t', 'Build Steps:    6/6 (0% cached)', 'Status:         Completed', 'A\tvalue'):
        assert line in text.splitlines(), text
    assert client.inspect('own/h', '{{.Id}}') in text
    text = history('inspect')
    assert 'Error:          process "/bin/sh -c echo why; exit 3" did not complete successfully: exit code: 3' in text.splitlines()
    assert json.loads(history('inspect', '--format', 'json', '^1'))['FrontendAttrs']['target'] == 't'
    for wrong in ('nope', '^7', '^x'):
        assert client('builder', 'history', 'inspect', wrong).code == 1


def test_logs(history, build, client):
    built = build('FROM @\nRUN echo "said $((2 + 3))"\n', '--no-cache')
    told = client('builder', 'history', 'logs')
    assert told.code == 0 and re.search(r'^#\d \d\.\d{3} said 5$', told.err, re.M), told.err
    drop_times = re.compile(r'\d+\.\d+')
    assert sorted(drop_times.sub('T', told.err).split('\n')) == sorted(drop_times.sub('T', built.err).split('\n'))
    raw = client('builder', 'history', 'logs', '--progress', 'rawjson').err.splitlines()
    assert any('logs' in json.loads(line) for line in raw)


def test_remove(history, build, client, stack):
    for name in ('a', 'b', 'c'):
        assert build('FROM @\n', name=name).code == 0
    refs = history('ls', '-q').split()
    assert history('rm', refs[1]) == refs[1]
    assert history('ls', '-q').split() == [refs[0], refs[2]]
    assert client('builder', 'history', 'rm').code == 1 and client('builder', 'history', 'rm', refs[1]).code == 1
    assert history('rm', '--all').split() == [refs[0], refs[2]]
    assert history('ls', '-q') == '' and list(Path(stack.names.root, 'engine/build-history').iterdir()) == []


def listen(builder, **fields):
    return builder.control('ListenBuildHistory', 'BuildHistoryEvent', streams=True, kind='BuildHistoryRequest', **fields)


def test_listen(history, build, stack, client):
    assert build('FROM @\n').code == 0
    builder = BuildKit(stack.socket)
    try:
        (event,) = listen(builder, EarlyExit=True)
        assert event.type == COMPLETE and event.record.HasField('CompletedAt')
        first = event.record.Ref
        assert list(listen(builder, EarlyExit=True, ActiveOnly=True)) == []
        events = listen(builder)
        assert next(events).record.Ref == first
        assert build('FROM @\nRUN echo more\n', '--no-cache').code == 0
        started, complete = next(events), next(events)
        assert (started.type, complete.type) == (STARTED, COMPLETE) and started.record.Ref == complete.record.Ref != first
        assert complete.record.numCompletedSteps == complete.record.numTotalSteps > 0
        history('rm', first)
        gone = next(events)
        assert (gone.type, gone.record.Ref) == (DELETED, first)
        events.cancel()
        with pytest.raises(grpc.RpcError) as refused:
            list(listen(builder, EarlyExit=True, Filter=['x==y']))
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    finally:
        builder.close()


def test_newest_and_pinned_are_kept(history, build, stack):
    assert build('FROM @\n', name='pinned').code == 0
    (pinned,) = history('ls', '-q').split()
    builder = BuildKit(stack.socket)
    try:
        builder.control('UpdateBuildHistory', Ref=pinned, Pinned=True).result()
    finally:
        builder.close()
    for number in range(55):
        assert build('FROM @\n', name=f'n{number}').code == 0
    names = [row['Name'] for row in rows(history)]
    assert len(names) == 51 and names[0] == 'n54' and names[-1] == 'pinned' and 'n4' not in names and 'n5' in names


def test_over_kills_of_the_daemon(history, build, stack, client, tmp_path):
    assert build('FROM @\nRUN echo kept\n', '--no-cache').code == 0
    thread = threading.Thread(target=lambda: build('FROM @\nRUN sleep 60\n', '--no-cache', name='slow'))
    thread.start()
    until(lambda: client.ok('ps', '-q') != '')
    running = rows(history)[0]
    assert running['Status'] == 'Running' and client('builder', 'history', 'rm', running['Ref']).code == 1
    stack.kill('gantryd')
    stack.start()
    thread.join()
    lost, kept = rows(history)
    assert (lost['Ref'], lost['Status'], kept['Status']) == (running['Ref'], 'Error', 'Completed')
    assert 'the daemon ended before the build did' in history('inspect')
    assert 'kept' in client('builder', 'history', 'logs', kept['Ref']).err
    assert client('builder', 'history', 'logs', lost['Ref']).code == 0
    until(lambda: client.ok('ps', '-aq') == '')


def test_output_is_clipped(history, build, client):
    """As BuildKit has it: 200 KiB in the first second of a step; a command that fails shows its end."""
    flood = "RUN head -c 300000 /dev/zero | tr '\\0' 'x'; echo; echo the $((1 + 1)) end"
    built = build(f'FROM @\n{flood}; exit 3\n', '--no-cache')
    assert built.code == 1
    clipped = '[output clipped, log limit 200KiB/s reached]'
    assert clipped in built.err and 'the 2 end' in built.err
    built = build(f'FROM @\n{flood}\n', '--no-cache')
    assert built.code == 0 and clipped in built.err and 'the 2 end' not in built.err
