# SPDX-License-Identifier: Apache-2.0
"""The same ctr command lines on Debian's containerd and on gantry-containerd, line beside line: what each
prints and how each exits must be the same once times, pids and places are taken out. What differs with a
reason is listed in docs/containerd-differences.md; the few lines concerned name it here."""
import difflib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import places
from harness.containerd import DebianContainerd, GantryContainerd, busybox_root
from harness.engine import until

pytestmark = pytest.mark.skipif(not os.path.exists('/usr/bin/containerd') or os.geteuid() != 0, reason="needs root and Debian's containerd")

REGISTRY = '127.0.0.1:5000'
IMAGE = 'docker.io/gantry/busybox:latest'
PRELUDE = f'''
IMG={IMAGE}; REG={REGISTRY}; set -o pipefail
stopped() {{ for i in $(seq 400); do ctr t ls | grep -q "^$1 .*STOPPED" && return; sleep 0.02; done; echo "$1 does not stop"; }}
gone() {{ for i in $(seq 400); do ctr "$1" ls | grep -q "$2" || return; sleep 0.02; done; echo "$2 is still there"; }}
# No collection is on its way after one that was waited for.
collected() {{ ctr leases create --id sync >/dev/null; ctr leases rm --sync sync >/dev/null; }}
tty() {{ script -qefc "$*" /dev/null </dev/null; }}
'''

# One bash line each; a name after '##' begins a group, which shares the daemon's state with those before it.
# '~' before a line: the words differ with a reason (docs/containerd-differences.md), the exit code may not.
# '~~': both may differ, and what ours says matches the expression after '=>'.
LINES = r'''
## images
ctr images import --digests=true image.tar
ctr images ls
ctr images ls -q
ctr images check
ctr images ls name==$IMG
ctr images ls name~=busy
ctr images ls 'labels."nosuch"==x'
~~ ctr images ls 'name===' => 
ctr images label $IMG a=b c=d
ctr images label $IMG a=
ctr images label --replace-all $IMG e=f
ctr images label nosuch a=b
ctr images tag $IMG docker.io/other/name:tag
ctr images tag $IMG docker.io/other/name:tag
ctr images tag --force $IMG docker.io/other/name:tag
ctr images tag nosuch docker.io/x/y:z
ctr images rm docker.io/other/name:tag
ctr images rm --sync nosuch
ctr images export out.tar $IMG
tar tf out.tar | sort
tar xOf out.tar index.json manifest.json
ctr images export nosuch.tar nosuch
ctr images import nosuch.tar
ctr images import /etc/passwd
ctr images import --index-name docker.io/whole/index:1 --all-platforms image.tar
ctr images rm --sync docker.io/whole/index:1
ctr images convert --oci $IMG docker.io/conv/oci:1
ctr images convert --uncompress $IMG docker.io/conv/plain:1
ctr images convert nosuch docker.io/conv/x:1
ctr images ls
ctr images rm --sync docker.io/conv/oci:1 docker.io/conv/plain:1
mkdir -p mnt && ctr images mount $IMG mnt && ls mnt && ! touch mnt/x && ctr images unmount --rm mnt
ctr images mount --rw $IMG mnt && touch mnt/y && ctr images unmount --rm mnt; ls -A mnt
ctr images mount nosuch mnt
ctr images unmount nosuch
ctr snapshots ls | wc -l
## registry
ctr images push --plain-http $REG/a/b:c $IMG
ctr images tag $IMG $REG/a/b:c
ctr images push --plain-http $REG/a/b:c
ctr images rm --sync $REG/a/b:c
ctr images pull --plain-http $REG/a/b:c
ctr images pull --plain-http $REG/a/b:c
ctr images pull --plain-http --print-chainid --label x=y $REG/a/b:c
ctr images ls name~=a/b
ctr images pull --plain-http $REG/no/such:1
ctr images pull --plain-http --platform windows/arm64 $REG/a/b:c
ctr images pull $REG/a/b:c
ctr images pull 127.0.0.1:1/a/b:c
ctr content fetch --plain-http $REG/a/b:c
ctr images rm --sync $REG/a/b:c
## content
ctr content ls
ctr content ls -q
ctr content ls -q 'labels."containerd.io/uncompressed"~=sha256'
ctr content ls 'size==405'
ctr content get $(ctr images ls | awk '/busybox:latest/{print $3}')
ctr content get sha256:0000000000000000000000000000000000000000000000000000000000000000
ctr content get nonsense
echo some text | ctr content ingest --expected-size 10 ref1
ctr content ls -q size==10
ctr content active | sort
echo some text | ctr content ingest --expected-size 10 --expected-digest sha256:0000000000000000000000000000000000000000000000000000000000000000 ref2
echo some text | ctr content ingest --expected-size 11 ref3
ctr content active | sort
ctr content label sha256:a23e5fdcd7b276bdd81aa1a0b7b963101863dd3f61ff57935f8c5ba462681ea6 l=m
ctr content ls 'labels.l==m'
ctr content label sha256:0000000000000000000000000000000000000000000000000000000000000000 l=m
ctr content rm sha256:a23e5fdcd7b276bdd81aa1a0b7b963101863dd3f61ff57935f8c5ba462681ea6
ctr content rm sha256:a23e5fdcd7b276bdd81aa1a0b7b963101863dd3f61ff57935f8c5ba462681ea6
ctr content prune references
## snapshots
ctr snapshots ls
ctr snapshots info $(ctr snapshots ls | awk '/Committed/{print $1}')
ctr snapshots info nosuch
ctr snapshots prepare s1 $(ctr snapshots ls | awk '/Committed/{print $1}')
ctr snapshots prepare s1
ctr snapshots prepare --target mnt s2 nosuchparent
collected; ctr snapshots view v1 $(ctr snapshots ls | awk '/Committed/{print $1}'); ctr snapshots label v1 containerd.io/gc.root=kept
ctr snapshots ls
ctr snapshots tree
ctr snapshots mounts mnt s1
ctr snapshots mounts mnt v1
ctr snapshots mounts mnt nosuch
ctr snapshots label s1 a=b
ctr snapshots ls 'labels.a==b'
ctr snapshots usage -b s1
ctr snapshots usage nosuch
ctr snapshots commit c1 s1
ctr snapshots commit c2 s1
~ ctr snapshots commit c2 v1
ctr snapshots info c1
ctr snapshots prepare s3 c1
ctr snapshots rm c1
ctr snapshots rm s3
ctr snapshots diff c1 | tar t
ctr snapshots rm v1 c1
ctr snapshots rm nosuch
ctr snapshots unpack $(ctr images ls | awk '/busybox:latest/{print $3}')
ctr snapshots --snapshotter nosuch ls
ctr snapshots --snapshotter native ls
ctr snapshots ls | wc -l
## leases
ctr leases create --id l1 a=b
ctr leases create --id l1
ctr leases create --id l2 --expires 10m
ctr leases ls
ctr leases ls -q 'labels.a==b'
ctr leases rm l1
ctr leases rm l1
ctr leases rm --sync l2
ctr leases ls
## namespaces
ctr ns create n1 a=b
ctr ns create n1
ctr ns create 'bad name'
ctr ns ls
ctr ns label n1 c=d a=
ctr ns label nosuch c=d
ctr ns ls
ctr ns rm n1
ctr ns rm n1
ctr ns rm $SPACE
ctr ns ls
## run
ctr run --rm $IMG r1 sh -c 'echo out; echo err >&2; exit 7'
echo to stdin | ctr run --rm $IMG r2 sh -c 'read x; echo got $x'
tty ctr run --rm -t $IMG r3 sh -c 'tty; echo hello'
ctr run --rm $IMG r4 nosuch
ctr run --rm $IMG r5 /etc
ctr run --rm nosuch r6 true
ctr run --rm $IMG 'bad id' true
ctr run -d $IMG r7 sleep 1000
ctr run -d $IMG r7 sleep 1000
ctr run --rm --null-io $IMG r8 echo never
ctr run --rm --env A=1 --cwd /tmp $IMG r9 sh -c 'echo $A; pwd'
ctr run --rm --read-only $IMG r10 touch /x
ctr run --rm --mount type=bind,src=$PWD,dst=/host,options=rbind:ro $IMG r11 sh -c 'ls /host/image.tar; touch /host/x'
~ ctr run --rm --mount type=tmpfs,dst=/t,options=size=64k $IMG r12 sh -c 'grep " /t " /proc/mounts'
~ ctr run --rm --mount type=bind,src=/nosuch,dst=/host,options=rbind $IMG r13 true
ctr run --rm --memory-limit 33554432 --cpu-quota 50000 --cpu-period 100000 $IMG r14 sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us'
~ ctr run --rm --cgroup /$SPACE/own $IMG r15 sh -c 'cat /proc/self/cgroup'
ctr run --rm --cpus 0.5 $IMG r16 cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares
~~ ctr run --rm --uidmap 0:100000:1000 --gidmap 0:100000:1000 $IMG r17 sh -c 'cat /proc/self/uid_map /proc/self/gid_map; id -u' => 0 100000 1000\n *0 100000 1000\n0\n--\n-- 0
~~ ctr run --rm --uidmap 0:100000:1000 --gidmap 0:100000:1000 --remap-labels $IMG r17 sh -c 'cat /proc/self/uid_map; ls -ldn /bin' => 0 100000 1000\n
ctr run --rm --net-host $IMG r18 ip -o -4 addr show lo
ctr run --rm $IMG r18 ip -o link
ctr run --rm --privileged $IMG r19 grep Cap /proc/self/status
ctr run --rm $IMG r20 grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status
ctr run --rm --seccomp $IMG r21 grep Seccomp: /proc/self/status
ctr run --rm --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN $IMG r22 grep CapEff /proc/self/status
ctr run --rm --allow-new-privs $IMG r23 grep NoNew /proc/self/status
ctr run --rm --device /dev/fuse $IMG r24 ls -l /dev/fuse
ctr run --rm --rootfs $PWD/rootfs r25 /bin/echo own root
ctr images import image.tar >/dev/null; ctr run --rm --snapshotter native $IMG r26 echo native
ctr run --rm --log-uri file://$PWD/run.log $IMG r27 sh -c 'echo to file; echo err >&2'; until grep -q err run.log; do sleep 0.02; done; sort run.log
ctr run --rm --log-uri binary://$PWD/logger?a=b $IMG r28 sh -c 'echo to binary'; until test -s binary.log; do sleep 0.02; done; cat binary.log
~ ctr run --rm --log-uri binary:///nosuch $IMG r29 true
~ ctr run --rm --runc-binary /nosuch $IMG r30 true
ctr run --rm --runc-binary /usr/sbin/runc $IMG r31 echo runc
~ ctr run --rm --runtime io.containerd.nosuch.v9 $IMG r32 true
~ ctr run --rm --runtime nonsense $IMG r33 true
ctr run --rm --label a=b --annotation c=d $IMG r34 true
ctr run --rm --pid-file pid $IMG r35 true; test -s pid && echo pid file
~ ctr run --rm $IMG r36 cat /proc/self/mountinfo | awk '{print $5, $6, $(NF-2), $(NF-1)}' | grep -v overlay
ctr run --rm $IMG r37 sh -c 'kill -9 $$'
ctr run --rm --no-pivot $IMG r38 echo no pivot
~ ctr run --rm --rootfs-propagation shared $IMG r39 sh -c "awk '\$5==\"/\" {print \$7}' /proc/self/mountinfo"
ctr run --config config.json --rm r40
ctr containers ls -q
ctr containers info r7 | grep -v -E 'At"|cgroupsPath'
## tasks
ctr t ls
ctr t ls -q
ctr t exec --exec-id e1 r7 sh -c 'echo out; echo err >&2; exit 5'
echo in | ctr t exec --exec-id e2 r7 sh -c 'read x; echo got $x'
tty ctr t exec -t --exec-id e3 r7 tty
ctr t exec --exec-id e4 --cwd /tmp --user nobody r7 sh -c 'id -u; pwd'
ctr t exec --exec-id e5 r7 nosuch
ctr t exec -d --exec-id e6 r7 sleep 1000
ctr t exec -d --exec-id e6 r7 sleep 1000
ctr t ps r7 | sed 's/^[0-9]* */PID /' | sort
ctr t kill --exec-id e6 -s 15 r7
ctr t kill --exec-id nosuch r7
ctr t exec --exec-id e7 nosuch true
ctr t exec --exec-id 'bad id' r7 true
~ ctr t exec --exec-id e8 --cwd /nosuch r7 pwd
ctr t pause r7
ctr t pause r7
ctr t ls
timeout 5 ctr t exec --exec-id e9 r7 true
ctr t kill -s 0 r7
ctr t resume r7
ctr t resume r7
~ ctr t checkpoint r7
ctr t metrics nosuch
ctr t ps nosuch
ctr t pause nosuch
ctr t start r7
ctr t rm r7
ctr containers rm r7
~ ctr t kill -s 999 r7
ctr t kill -s NOSUCH r7
ctr t kill -s 9 r7; stopped r7
ctr t ls
ctr t kill r7
ctr t exec --exec-id e10 r7 true
ctr t pause r7
ctr t rm r7; echo $?
ctr t ls
ctr t start -d r7; ctr t ls
ctr t kill -a -s KILL r7; stopped r7
ctr t rm -f r7
ctr containers rm r7
ctr containers rm r7
ctr containers ls
ctr snapshots ls
## containers
ctr c create --label a=b $IMG c1 sh -c 'echo made; exit 4'
ctr c create $IMG c1 true
ctr c create nosuch c2 true
ctr c ls
ctr c ls 'labels.a==b'
ctr c ls -q 'id==c1' 'id==nosuch'
~ ctr c ls 'id=='
ctr c label c1 d=e a=
ctr c label nosuch a=b
ctr c info nosuch
ctr t start c1
ctr t ls
ctr t start -d c1; stopped c1; ctr t rm c1
ctr t attach nosuch
ctr c rm c1
ctr c checkpoint nosuch ref
## about
~ ctr plugins ls | awk '{print $1, $2}' | sort
~ ctr version | grep -v -E 'Version|Revision|UUID'
ctr events --help | wc -l
~ timeout 1 ctr events 'topic=='
ctr pprof goroutines >/dev/null
'''


def groups():
    found = {}
    for line in LINES.strip().splitlines():
        if line.startswith('## '):
            found[line[3:]] = part = []
        elif line.strip():
            part.append(line)
    return found


class Side:
    """One daemon with a registry, a folder to work in and the lines' answers."""

    def __init__(self, daemon, folder):
        self.daemon, self.folder = daemon, folder
        self.space = daemon.spaces[0]
        (folder / 'image.tar').write_bytes(places.IMAGE_TAR.read_bytes())
        busybox_root(folder / 'rootfs')
        (folder / 'logger').write_text(f'#!/bin/sh\ntrap "" TERM; exec 5>&-; (echo "$@ $CONTAINER_ID $CONTAINER_NAMESPACE"; cat <&3) > {folder}/binary.new\n'
                                       f'mv {folder}/binary.new {folder}/binary.log\n')
        (folder / 'logger').chmod(0o755)
        (folder / 'config.json').write_text(
            '{"ociVersion":"1.0.2","process":{"args":["echo","from a config"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}},'
            f'"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}}],"root":{{"path":"{folder}/rootfs"}},"linux":{{"cgroupsPath":"/{self.space}/r40","namespaces":[{{"type":"mount"}},{{"type":"pid"}}]}}}}')
        (folder / 'bin').mkdir()
        (folder / 'bin/ctr').write_text(f'#!/bin/sh\nexec /usr/bin/ctr -a {daemon.containerd_socket} -n {self.space} "$@"\n')
        (folder / 'bin/ctr').chmod(0o755)
        (folder / 'registry.yml').write_text(f'version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\nhttp: {{addr: {REGISTRY}}}\n')
        self.registry = daemon.spawn(['docker-registry', 'serve', str(folder / 'registry.yml')], OTEL_TRACES_EXPORTER='none')
        until(lambda: daemon.inside('curl', '-s', f'http://{REGISTRY}/v2/', check=False).returncode == 0, 20)
        self.events = daemon.spawn(['sh', '-c', f'exec {folder}/bin/ctr events > {folder}/events'])

    def run(self, line):
        done = subprocess.run(['nsenter', f'--net={self.daemon.names.netns}', 'bash', '-c', PRELUDE + line], cwd=self.folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=40,
                              env={**os.environ, 'PATH': f'{self.folder}/bin:{os.environ["PATH"]}', 'LC_ALL': 'C', 'SPACE': self.space, 'TZ': 'UTC'})
        text = done.stdout.decode(errors='replace') + '--\n' + done.stderr.decode(errors='replace') + f'-- {done.returncode}\n'
        return self.plain(text)

    def plain(self, text):
        for place, word in ((str(self.folder), 'HERE'), (self.daemon.names.state, 'STATE'), (self.daemon.names.root, 'ROOT'),
                            (self.space, 'SPACE')):
            text = text.replace(place, word)
        for pattern, word in SAME:
            text = re.sub(pattern, word, text, flags=re.M)
        # Go prints maps in any order.
        return re.sub(r'\S+=\S*,\S+=\S*', lambda m: ','.join(sorted(m[0].split(','))), text)

    def close(self):
        for process in (self.events, self.registry):
            process.terminate()
            process.wait(10)


# What legitimately differs from run to run.
SAME = [
    (r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)?( m=\S+)?', 'TIME'),
    (r'elapsed: *[\d.]+ *s', 'elapsed: N s'), (r'\(?[\d.]+ ?[KM]?i?B/s\)?', 'SPEED'), (r'\b[\d.]+(m|µ)?s\b', 'N s'),
    (r'\b(\d+ (seconds?|minutes?)|Less than a second|About a minute)( ago)?', 'AGE'),
    (r'^(\w+ +)\d+( +(RUNNING|STOPPED|PAUSED|CREATED))', r'\1PID\2'), (r'pid \d+', 'pid N'),
    (r'(io.containerd.snapshotter.v1.(\w+)/snapshots|snapshots/(\w+))/\d+', r'snapshots/\2\3/N'),
    # The kind of runtime; ctr's terminal, which asks the size of a process that has just ended.
    ('OCI runtime create failed: runc create failed: ', 'OCI runtime create failed: '), (r'^.*resize pty.*\n', ''), (r'\0|\^@', ''), (r'extract-\S+', 'extract-N'),
    # What ctr's own progress asked when its work was over.
    (r'^.*level=error.*context canceled.*\n', ''),
    # The rows of a progress display show a moment.
    (r'^.*\|.*[-+]{20}.*\n', ''), (r'^elapsed: .*\n', ''), (r'[ \t]+', ' '), (r' +$', ''),
]


@pytest.fixture(scope='module')
def sides():
    made = []
    with tempfile.TemporaryDirectory(prefix='gt-side-') as folder:
        try:
            for cls in (DebianContainerd, GantryContainerd):
                # Namespaces of their own: the cgroups of equal ids would be the same ones.
                daemon = cls(number=7, spaces=[f'side-{cls.kind}'])
                made.append([daemon])
                daemon.start()
                place = Path(folder) / daemon.kind
                place.mkdir()
                made[-1].append(Side(daemon, place))
            yield [m[1] for m in made]
        finally:
            left = {}
            for one in made:
                for side in one[1:]:
                    side.close()
                left[one[0].kind] = one[0].destroy()
    assert left == {'d': [], 'c': []}


@pytest.mark.parametrize('group', groups())
def test_ctr(sides, group):
    different = []
    for line in groups()[group]:
        wanted = None
        if line.startswith('~~ '):
            line, wanted = line[3:].split(' => ')
        known, line = line.startswith('~ '), line.removeprefix('~ ')
        theirs, ours = (side.run(line) for side in sides)
        if wanted is not None:
            same = re.search(wanted, ours)
        elif known:
            same = theirs.splitlines()[-1] == ours.splitlines()[-1]
        else:
            same = theirs == ours
        if not same:
            different += [f'$ {line}', *list(difflib.unified_diff(theirs.splitlines(), ours.splitlines(), 'theirs', 'ours', lineterm='', n=0))[2:], '']
    assert not different, '\n' + '\n'.join(different)


def test_events(sides):
    """What the run group did was told in the same order, about each container."""
    seen = []
    for side in sides:
        side.run(r"ctr run --rm $IMG ev1 true; ctr run -d $IMG ev2 sleep 100; ctr t exec --exec-id x ev2 true; ctr t pause ev2; ctr t resume ev2; ctr t kill -s 9 ev2; "
                 r"stopped ev2; ctr t rm ev2; ctr c label ev2 a=b; ctr c rm ev2; ctr images tag $IMG docker.io/ev/ents:1; ctr images label docker.io/ev/ents:1 a=b; "
                 r"ctr images rm docker.io/ev/ents:1; ctr ns create evns; ctr ns label evns a=b; ctr ns rm evns; ctr snapshots prepare evsn; ctr snapshots rm evsn")
        file = side.folder / 'events'
        until(lambda: 'evsn' in (text := file.read_text()) and '/snapshot/remove' in text.split('evsn')[-2] + text, 10)
        seen.append([e for e in map(event, file.read_text().splitlines()) if 'ev' in e])
    theirs, ours = seen
    assert len(theirs) > 20
    for topic in {l.split()[0].split('/')[1] for l in theirs}:
        assert [l for l in ours if l.startswith('/' + topic)] == [l for l in theirs if l.startswith('/' + topic)]


KEPT = ('container_id', 'id', 'exec_id', 'exit_status', 'image', 'key', 'parent', 'snapshotter', 'name', 'labels', 'snapshot_key')


def event(line):
    """Topic and content of one line, without what names this run."""
    topic, _, content = line.partition(' {')[0].split()[-1], *line.partition(' {')[1:]
    content = json.loads('{' + content)
    return f'{topic} {json.dumps({key: content[key] for key in KEPT if key in content}, sort_keys=True)}'
