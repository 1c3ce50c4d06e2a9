# SPDX-License-Identifier: Apache-2.0
"""Our command line beside docker's own on one and the same dockerd: what each prints, how each exits,
and what each sends for the same options must be the same. Only the program's name may differ."""
import json
import re
import shlex
import signal
import subprocess
import termios
import time

import pytest

from harness import places
from harness.client import Client, programs

IMAGE = places.IMAGE


@pytest.fixture(scope='module')
def both(peer, home):
    if 'docker-new' not in programs():
        pytest.skip('docker 28, whose wording ours follows, is not on this machine')
    return Client('docker-new', peer, home), Client('gantry', peer, home)


@pytest.fixture(scope='module')
def things(both):
    """One container that runs, one that has exited, a volume."""
    docker, _ = both
    docker.ok('run', '-d', '--name', 'cmpa', '--label', 'a=b', '--label', 'c=d', '-p', '127.0.0.1:18080:80', '-p',
              '18081-18083:81-83', '-p', '9000/udp', '-e', 'X=1', '-v', 'cmpvol:/data', IMAGE, 'sh', '-c',
              'echo out; echo err >&2; exec sleep 1000')
    docker('run', '--name', 'cmpb', IMAGE, 'sh', '-c', 'exit 3')
    yield
    docker('rm', '-fv', 'cmpa', 'cmpb')
    docker('volume', 'rm', 'cmpvol')


def plain(text):
    return re.sub(r'\bdocker\b', 'gantry', text)


def ages(text):
    """A list may be asked for as a second passes, which may make a column wider."""
    text = re.sub(r'(About an? \w+|Less than a second|\d+ \w+)( ago)?(?= {2}|,|"|$)', 'AGE', text, flags=re.M)
    return re.sub(r' {3,}', '   ', text)


REFUSED = """
history --platform linux/amd64 IMAGE
image inspect --platform linux/amd64 IMAGE
save --platform linux/amd64 -o /nonexistent/x IMAGE
rmi --platform linux/amd64 IMAGE
images --tree
images --tree -q
checkpoint ls nosuch
checkpoint create nosuch x
checkpoint rm nosuch x
start --checkpoint x nosuch
start --checkpoint x nosuch nosuch2
commit nosuch 'Bad Name'
update
run --foo
run
run -x img
run --name
run --network
run -m abc IMAGE
run --name a -e
run --name=x=y/z IMAGE
run --pull sometimes IMAGE true
run -p 99999:80 IMAGE
run -p a:80 IMAGE
run -p 80:80:80:80 IMAGE
run --rm -d -a stdout IMAGE
run --rm --restart always IMAGE
run --rm --network=nosuch IMAGE true
run --memory=1k IMAGE true
run --rm -it IMAGE true
run --rm IMAGE nosuch
run --rm IMAGE /etc
run --sig-proxy=maybe IMAGE
ps x
ps -f foo
ps --format '{{.Foo}}'
rm
rm nosuch nosuch2
rm -f nosuch
rm cmpa
foo
container foo
images --foo
start nosuch
start cmpa nosuch
start -a cmpa cmpb
inspect nosuch
inspect cmpa nosuch
inspect --format '{{.Foo}}' cmpa
inspect -f '{{.Id' cmpa
container inspect nosuch
image inspect nosuch
exec nosuch true
exec cmpb true
exec cmpa
exec cmpa nosuch
exec cmpa /etc
exec -it cmpa true
attach cmpb
attach nosuch
logs nosuch
logs --since x cmpa
kill nosuch
kill -s FOO cmpa
stop nosuch
wait nosuch
rename a b
port nosuch
port cmpa 7777
top nosuch
rmi nosuch
tag nosuch a
save nosuch
unpause cmpa
network create clinet2 --subnet x
network connect nosuch cmpa
network disconnect bridge nosuch
volume create --name a b
volume rm nosuch
volume rm cmpvol
diff nosuch
network foo
"""

SHOWN = """
ps
ps -a
ps -aq
ps -aq --no-trunc
ps -a --no-trunc
ps -l
ps -n 1 -q
ps -s
ps -a --filter name=cmpa --filter status=running
ps -a --format 'table {{.Names}}\\t{{.Ports}}\\t{{.Label "a"}}'
ps -a --format '{{.ID}}: {{.Names}} {{.Image}} {{.Labels}} {{.Mounts}} {{.Networks}} {{.State}}'
container ls
images
images -q
images --digests
images --no-trunc
images IMAGE
images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
image ls -a
inspect cmpa
inspect cmpa cmpb
inspect IMAGE
inspect cmpvol
inspect -f '{{.State.Status}} {{.Config.Env}} {{.NetworkSettings.IPAddress}}' cmpa
inspect -f '{{json .Config.Labels}}' cmpa
inspect -f '{{range $p, $c := .NetworkSettings.Ports}}{{$p}}->{{(index $c 0).HostPort}} {{end}}' cmpa
inspect -f '{{.HostConfig.Binds}} {{len .Mounts}}' cmpa
inspect -f '{{if .State.Running}}up{{else}}down{{end}} {{index .Config.Labels "a" | upper}}' cmpa
inspect -f '{{join .Config.Cmd "+"}} {{printf "%05d|%-6s|" 7 .State.Status}}' cmpa
inspect -f json IMAGE
inspect -f '{{.ID}} {{.HostConfig.CPUShares}} {{.HostConfig.NanoCPUs}} {{.HostConfig.DNS}}' cmpa
inspect -f '{{.State.PID}}' cmpa
image inspect -f '{{.ID}}' IMAGE
network inspect -f '{{.ID}} {{.Name}}' bridge
volume inspect cmpvol
network inspect bridge
logs cmpa
logs -t cmpa
logs --tail 1 cmpa
logs -n0 cmpa
logs --since 1h cmpa
logs --until 2020-01-01 cmpa
port cmpa
port cmpa 80
port cmpa 81/tcp
top cmpa
top cmpa -o pid,comm
exec cmpa echo hi
exec cmpa sh -c 'echo o; echo e >&2; exit 7'
exec -e A=5 -w /tmp cmpa sh -c 'pwd; echo $A'
exec -d cmpa true
run --rm IMAGE echo hi
run --rm IMAGE sh -c 'echo a; echo b >&2; exit 42'
run --rm IMAGE sh -c 'kill -9 $$'
wait cmpb
start -a cmpb
history IMAGE
history --no-trunc IMAGE
network ls
network ls -q
network ls --no-trunc
network ls --filter driver=bridge --format '{{.Name}} {{.Driver}} {{.Internal}} {{.IPv6}}'
volume ls
volume ls --format '{{.Name}} {{.Driver}} {{.Mountpoint}} {{.Scope}}'
volume create cmpvol
diff cmpa
container prune -f --filter label=nosuchlabel
image prune -f --filter label=nosuchlabel
network prune -f --filter label=nosuchlabel
volume prune -f --filter label=nosuchlabel
container prune
version --format '{{.Server.Version}}'
info --format '{{.ServerVersion}} {{.Driver}} {{.NCPU}}'
"""


def lines(text):
    return [line.replace('IMAGE', IMAGE) for line in text.strip().split('\n')]


@pytest.mark.parametrize('line', lines(REFUSED) + lines(SHOWN))
def test_same_words(both, things, line):
    theirs, ours = (client(*shlex.split(line)) for client in both)
    assert ours.code == theirs.code, (theirs.err, ours.err)
    assert ages(ours.out) == ages(theirs.out)
    assert ages(ours.err) == ages(plain(theirs.err))


@pytest.mark.parametrize('line', ['ps -a --format json', 'images --format json'])
def test_same_objects(both, things, line):
    """Docker writes '<' as an escape in these, which says the same."""
    def objects(client):
        return [{k: v for k, v in json.loads(row).items() if k not in ('RunningFor', 'Status', 'CreatedSince')}
                for row in client.ok(*line.split()).split('\n')]
    theirs, ours = map(objects, both)
    assert ours == theirs


OPTIONS = """
-t -i -e X=1 -e HOME -e NOPE --env-file ENV -w /tmp -u 1:2 --hostname h --domainname d
-v /tmp:/a:ro -v vol1:/b -v /anon --mount type=bind,source=/tmp,target=/c,readonly --tmpfs /e:size=2m --tmpfs /f
--mount type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1770 --mount 'type=volume,src=v,dst=/v,volume-label=a=b,volume-nocopy'
-p 80 -p 8080:80/udp -p 127.0.0.1::81 -p 127.0.0.1:9000-9002:90-92 -p [::1]:99:99 -p 7000-7010:70
--expose 60-62 -P --expose 5/udp
--network none
--network host --uts host --pid host --ipc host --userns host --cgroupns host
--network clinet --network-alias al --ip 172.30.1.2
--network name=clinet,alias=b,alias=c
--network container:cmpa
--entrypoint /bin/echo --label a=b --label c --label-file LABELS
--entrypoint= -m 64m --memory-swap -1 --memory-reservation 32m --memory-swappiness 5 --cpus 1.5 --cpu-shares 100
--cpuset-cpus 0 --cpuset-mems 0 --pids-limit 50 --shm-size 10m
--cpu-quota 50000 --cpu-period 100000 --blkio-weight 500 --oom-score-adj 5 --oom-kill-disable
--ulimit nofile=10:20 --ulimit core=-1 --privileged --cap-add NET_ADMIN --cap-drop all --read-only --init
--security-opt seccomp=PROFILE --security-opt no-new-privileges --security-opt systempaths=unconfined
--device /dev/null --device /dev/zero:/dev/z:r --device /dev/full:rw --device-cgroup-rule 'c 1:3 rw' --group-add audio
--stop-signal INT --stop-timeout 3 --log-driver json-file --log-opt max-size=1m --sysctl net.ipv4.ip_forward=1
--dns 1.1.1.1 --dns-search x.y --dns-option ndots:2 --add-host a:1.2.3.4 --add-host b=host-gateway --restart always
--health-cmd 'true' --health-interval 5s --health-timeout 1m --health-retries 3 --health-start-period 1s
--no-healthcheck --rm -a stdout -a STDERR --volumes-from cmpa --volume-driver local --runtime runc
--rm -i --isolation default --device-read-bps /dev/null:1mb --device-write-iops /dev/null:10 --restart on-failure:3
"""


@pytest.fixture(scope='module')
def network(both):
    docker, _ = both
    docker.ok('network', 'create', '--subnet', '172.30.1.0/24', 'clinet')
    yield
    docker('network', 'rm', 'clinet')


@pytest.mark.parametrize('options', OPTIONS.strip().split('\n'))
def test_same_container(both, things, network, options, tmp_path):
    (tmp_path / 'env').write_text('# c\nA=1\nHOME\nNOPE\n  B=2 3\n')
    (tmp_path / 'labels').write_text('l1=v\nl2\n')
    (tmp_path / 'profile').write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    for word, name in (('ENV', 'env'), ('LABELS', 'labels'), ('PROFILE', 'profile')):
        options = options.replace(word, str(tmp_path / name))
    made = []
    for client in both:
        done = client('create', *shlex.split(options), IMAGE, 'sh', '-c', 'x')
        if done.code:
            made.append((done.code, plain(done.err)))
            continue
        inspected = json.loads(client.ok('inspect', done.text))[0]
        client.ok('rm', '-fv', done.text)
        made.append((done.err, settings(inspected, done.text)))
    assert made[1] == made[0]


def settings(value, own_id):
    """What was asked for: without what each container has of its own."""
    own = ('Id', 'Created', 'Name', 'State', 'GraphDriver', 'LogPath', 'ResolvConfPath', 'HostnamePath', 'HostsPath')
    if isinstance(value, dict):
        return {re.sub('[0-9a-f]{64}', 'ID', k): settings(v, own_id) for k, v in value.items() if k not in own}
    if isinstance(value, list):
        return sorted((settings(v, own_id) for v in value), key=json.dumps)
    if isinstance(value, str):
        return re.sub('[0-9a-f]{64}', 'ID', value.replace(own_id, 'OWN').replace(own_id[:12], 'OWN'))
    return value


def mode(terminal):
    return termios.tcgetattr(terminal.master)


def ask_until(terminal, wanted):
    """The size arrives some time after the start or the change, so it is asked for until it is there."""
    for _ in range(100):
        terminal.send('\n')
        if terminal.expect(r'\d+ \d+\r|standard input').group() == wanted + '\r':
            return
        time.sleep(0.05)
    raise AssertionError(f'{wanted} did not come')


def test_terminal(both):
    """Size, its change, exit code; the terminal is as it was afterwards."""
    for client in both:
        terminal = client.terminal('run', '--rm', '-it', IMAGE, 'sh', '-c', 'while read x; do stty size; done; exit 5')
        before = mode(terminal)
        ask_until(terminal, '24 80')
        terminal.resize(30, 90)
        terminal.process.send_signal(signal.SIGWINCH)
        ask_until(terminal, '30 90')
        terminal.send('\x04')
        assert terminal.wait() == 5
        assert mode(terminal) == before
        terminal.close()


@pytest.mark.parametrize('command, keys, code, said', [
    (['exec', '-it', 'cmpa', 'sh'], '\x10\x11', 1, 'read escape sequence'),
    (['run', '--name', 'cmpd', '-it', IMAGE, 'sh'], '\x10\x11', 0, ''),
    (['exec', '-it', '--detach-keys', 'ctrl-x,q', 'cmpa', 'sh'], '\x10\x11\x18q', 1, 'read escape sequence'),
])
def test_detach_keys(both, things, command, keys, code, said):
    for client in both:
        terminal = client.terminal(*command)
        terminal.expect('#')
        terminal.send(keys)
        assert terminal.wait() == code
        assert said in terminal.seen
        terminal.close()
        client('rm', '-f', 'cmpd')


def test_signals_are_handed_on(both):
    for client in both:
        process = client.start('run', '--rm', IMAGE, 'sh', '-c',
                               'trap "echo GOT; exit 9" TERM; echo UP; while :; do sleep 0.1; done')
        assert process.stdout.readline() == b'UP\n'
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b'GOT\n'
        assert process.wait(20) == 9


def test_streams(both):
    """Megabytes through standard input and back, and its end."""
    data = bytes(range(256)) * 8192
    for client in both:
        process = client.start('run', '--rm', '-i', IMAGE, 'cat', stdin=subprocess.PIPE)
        out, _ = process.communicate(data, 60)
        assert process.returncode == 0
        assert out == data


def test_save_and_load(both, tmp_path):
    theirs, ours = both
    ours.ok('save', '-o', tmp_path / 'ours.tar', IMAGE)
    assert (tmp_path / 'ours.tar').stat().st_size > 1_000_000
    assert ours.ok('load', '-q', '-i', tmp_path / 'ours.tar') == theirs.ok('load', '-q', '-i', tmp_path / 'ours.tar')
    with open(tmp_path / 'ours.tar', 'rb') as archive:
        done = subprocess.run([*ours.command, 'load'], stdin=archive, capture_output=True, env=ours.environment)
    assert done.returncode == 0, done.stderr
    assert b'Loaded image' in done.stdout


def test_copy_into_a_directory(both, things, tmp_path):
    """The first request of it is a HEAD, whose refusal of our version has no words."""
    (tmp_path / 'file').write_text('x')
    for client in both:
        client.ok('cp', tmp_path / 'file', 'cmpa:/tmp')
        assert client.ok('exec', 'cmpa', 'cat', '/tmp/file') == 'x'
        client.ok('exec', 'cmpa', 'rm', '/tmp/file')
