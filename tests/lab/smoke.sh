#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole stack's smoke test in the lab machine: tests/lab/run 'sh tests/lab/smoke.sh'.
# Each line of output is a step that held; the first that doesn't ends it.
set -eu
image=gantry/busybox:latest
fail() { echo "not so: $*"; tail -n 20 /var/log/gantryd.log; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1: '$2' instead of '$3'"; echo "ok $1"; }

gantryd --root /var/lib/gantry --state /run/gantry >/var/log/gantryd.log 2>&1 &
tries=0
until gantry version >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 200 ] || fail "no answer from gantryd"
  sleep 0.1
done
gantry load -i /lab/share/gantry-busybox.tar >/dev/null
is run "$(gantry run --rm $image echo hi)" hi
is stdin "$(printf 'a\nb\n' | gantry run -i --rm $image wc -l | tr -d ' ')" 2
set +e
gantry run --rm $image sh -c 'exit 42'; code=$?
set -e
is 'exit code' $code 42
limits=$(gantry run --rm -m 64m --pids-limit 20 --cpus 0.5 $image sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max' | tr '\n' ' ')
is 'cgroup v2 limits' "$limits" '67108864 20 50000 100000 '
is privileged "$(gantry run --rm --privileged $image sh -c 'mkdir /m && mount -t tmpfs none /m && echo yes')" yes
gantry run -d --name web -p 8080:80 $image sh -c 'while :; do echo up | nc -l -p 80; done' >/dev/null
is exec "$(gantry exec web echo in)" in
tries=0
until [ "$(python3 -c 'import socket; s = socket.create_connection(("127.0.0.1", 8080), 3); print(s.recv(99).decode().strip())' 2>/dev/null)" = up ]; do
  tries=$((tries + 1))
  [ $tries -lt 20 ] || fail 'published port'
  sleep 0.2
done
echo 'ok published port'
for daemon in gantryd gantry-containerd; do kill -9 "$(cat /run/gantry/$daemon.pid)"; done
gantryd --root /var/lib/gantry --state /run/gantry >>/var/log/gantryd.log 2>&1 &
tries=0
until gantry exec web true >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail 'the container after kill -9 of both daemons'
  sleep 0.1
done
echo 'ok kill -9 of both daemons'
gantry rm -f web >/dev/null
is 'nothing left' "$(gantry ps -aq)" ''
