#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole stack's smoke test in the lab machine: tests/lab/run 'sh tests/lab/smoke.sh'.
# Each line of output is a step that held; the first that doesn't ends it.
set -eu
image=gantry/busybox:latest
group=/sys/fs/cgroup/gantry
fail() { echo "not so: $*"; tail -n 20 /var/log/gantryd.log; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1: '$2' instead of '$3'"; echo "ok $1"; }
# The exit code of a command, its output thrown away.
code() { set +e; "$@" >/dev/null 2>&1 </dev/null; code=$?; set -e; echo $code; }
# Asks up to 20 s until the command holds.
await() {
  what=$1; shift
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || fail "$what"
    sleep 0.1
  done
  echo "ok $what"
}
engine() {
  gantryd --root /var/lib/gantry --state /run/gantry >>/var/log/gantryd.log 2>&1 &
  await 'gantryd answers' gantry version
}
api() { path=$1; shift; curl -sS --unix-socket /run/gantry/gantry.sock "$@" "http://gantry$path"; }
field() { gantry inspect -f "$2" "$1"; }

[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || fail 'this machine has no pure cgroup v2'
engine
gantry load -i /lab/share/gantry-busybox.tar >/dev/null
mounts=$(wc -l </proc/self/mountinfo)

# Running, and what comes back.
is run "$(gantry run --rm $image echo hi)" hi
is stdin "$(printf 'a\nb\n' | gantry run -i --rm $image wc -l | tr -d ' ')" 2
is 'exit code' "$(code gantry run --rm $image sh -c 'exit 42')" 42
is 'exit code of a program that is not there' "$(code gantry run --rm $image nosuch)" 127
is 'exit code of a directory' "$(code gantry run --rm $image /etc)" 126
is 'network none' "$(gantry run --rm --network none $image sh -c 'ls /sys/class/net | wc -l')" 1
is 'network host' "$(gantry run --rm --network host $image readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"
is 'network bridge' "$(gantry run --rm $image sh -c 'ip route | grep -c default; ping -c 1 -W 5 "$(ip route | sed -n "s/^default via \([^ ]*\).*/\1/p")" >/dev/null && echo up' | tr '\n' ' ')" '1 up '
is privileged "$(gantry run --rm --privileged $image sh -c 'mkdir /m && mount -t tmpfs none /m && echo yes')" yes

# AppArmor: the engine makes and loads its profile itself.
is 'default profile' "$(gantry run --rm $image cat /proc/self/attr/current)" 'docker-default (enforce)'
try='mount -t tmpfs none /mnt 2>/dev/null && echo mounted || echo denied'
is 'profile bites' "$(gantry run --rm --cap-add SYS_ADMIN $image sh -c "mkdir -p /mnt; $try")" denied
is 'without a profile' "$(gantry run --rm --cap-add SYS_ADMIN --security-opt apparmor=unconfined $image sh -c "mkdir -p /mnt; $try")" mounted
is 'privileged has none' "$(gantry run --rm --privileged $image cat /proc/self/attr/current)" unconfined
gantry run -d --name confined $image sleep 1000 >/dev/null
is 'exec has the profile' "$(gantry exec confined cat /proc/self/attr/current)" 'docker-default (enforce)'
is 'profile is told' "$(field confined '{{.AppArmorProfile}}')" docker-default
is 'signals stay inside' "$(gantry exec confined sh -c 'kill -0 1 && echo yes')" yes
gantry rm -f confined >/dev/null
is 'profile that is not loaded' "$(gantry run --rm --security-opt apparmor=nosuch $image echo ran 2>/dev/null)" ''

# Limits, as the container and the host see them.
limits=$(gantry run --rm -m 64m --pids-limit 20 --cpus 0.5 --cpu-shares 512 $image sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max cpu.weight' | tr '\n' ' ')
is 'cgroup v2 limits' "$limits" '67108864 20 50000 100000 20 '
is 'pids limit bites' "$(gantry run --rm --pids-limit 4 $image sh -c 'for i in 1 2 3 4 5 6; do sleep 1 & done 2>&1; wait' 2>&1 | grep -c -i fork)" 1
is 'memory limit bites' "$(code gantry run --name big -m 16m --memory-swap 16m $image sh -c 'tail -c 64m /dev/zero')" 137
is 'killed for memory' "$(field big '{{.State.OOMKilled}}')" true
gantry rm big >/dev/null
is 'own cgroup namespace' "$(gantry run --rm $image cat /proc/self/cgroup)" 0::/
is 'cgroups read-only inside' "$(code gantry run --rm $image mkdir /sys/fs/cgroup/x)" 1

# Device rules are a BPF program of the cgroup: making a node is allowed, opening it is not.
is 'denied device' "$(gantry run --rm $image sh -c 'mknod /tmp/disk b 254 0 && { head -c 1 /tmp/disk >/dev/null; } 2>&1 | grep -c -i "not permitted"')" 1
is 'allowed device' "$(gantry run --rm --device-cgroup-rule 'b 254:0 r' $image sh -c 'mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk | wc -c | tr -d " "')" 1
is 'null device' "$(gantry run --rm $image sh -c 'echo x >/dev/null && mknod /tmp/null c 1 3 && echo x >/tmp/null && echo yes')" yes

# A long-lived one: exec, logs, freeze, statistics, ports.
gantry run -d --name web -p 8080:80 -m 128m $image sh -c 'echo begun; while :; do echo up | nc -l -p 80; done' >/dev/null
pid=$(field web '{{.State.Pid}}')
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/"$pid"/cgroup)
is 'place of the cgroup' "$own" "$group/$(field web '{{.Id}}')"
is 'limit on the host' "$(cat "$own/memory.max")" 134217728
is exec "$(gantry exec web echo in)" in
is "exec's cgroup" "$(gantry exec web cat /proc/self/cgroup)" 0::/
is 'exit code of exec' "$(code gantry exec web sh -c 'exit 7')" 7
is 'exec of a program that is not there' "$(code gantry exec web nosuch)" 127
is 'exec of a directory' "$(code gantry exec web /etc)" 126
is logs "$(gantry logs web)" begun
answer() { [ "$(python3 -c 'import socket; s = socket.create_connection(("127.0.0.1", 8080), 3); print(s.recv(99).decode().strip())')" = up ]; }
await 'published port' answer
gantry pause web >/dev/null
is 'frozen' "$(sed -n 's/^frozen //p' "$own/cgroup.events") $(field web '{{.State.Status}}')" '1 paused'
gantry unpause web >/dev/null
is 'thawed' "$(sed -n 's/^frozen //p' "$own/cgroup.events") $(field web '{{.State.Status}}')" '0 running'
api '/containers/web/stats?stream=false&one-shot=true' >/tmp/stats
is statistics "$(python3 -c 'import json; s = json.load(open("/tmp/stats")); print(s["memory_stats"]["limit"], s["memory_stats"]["usage"] > 0, s["cpu_stats"]["cpu_usage"]["total_usage"] > 0, s["pids_stats"]["current"] > 0)')" '134217728 True True True'
is 'update' "$(api '/containers/web/update' -X POST -H 'Content-Type: application/json' -d '{"Memory": 201326592, "MemorySwap": -1}' >/dev/null; cat "$own/memory.max")" 201326592

# `/` is shared under systemd: what is mounted inside stays inside, unless it is asked for.
is 'mount propagation of /' "$(findmnt -no PROPAGATION /)" shared
mkdir -p /tmp/to
gantry run --rm --privileged -v /tmp/to:/to $image mount -t tmpfs none /to
if mountpoint -q /tmp/to; then fail 'private bind'; fi
echo 'ok private bind'
gantry run -d --name share --privileged -v /tmp/to:/to:rshared $image sh -c 'mkdir /to/a && mount -t tmpfs none /to/a && sleep 100' >/dev/null
await 'shared bind' mountpoint -q /tmp/to/a
mountpoint -q /proc || fail "the host's mounts after a shared root"
umount /tmp/to/a
gantry rm -f share >/dev/null

# Daemons that are killed; the container doesn't notice.
for daemon in gantryd gantry-containerd; do kill -9 "$(cat /run/gantry/$daemon.pid)"; done
engine
await 'exec after kill -9 of both daemons' gantry exec web true
is 'adopted' "$(field web '{{.State.Pid}} {{.State.Running}}')" "$pid true"
await 'published port after kill -9' answer
is 'stop' "$(gantry stop -t 1 web) $(field web '{{.State.ExitCode}}')" 'web 137'
gantry rm web >/dev/null
is 'nothing left' "$(gantry ps -aq)" ''
is 'no cgroup left' "$(find $group -mindepth 1 -type d 2>/dev/null)" ''
is 'no mount left' "$(wc -l </proc/self/mountinfo)" "$mounts"
