# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Where the default stack lives, and how to ask whether it does. The three variables put another one
# beside it.

run_root=${GANTRY_STATE:-/run/gantry}
data_root=${GANTRY_ROOT:-/var/lib/gantry}
bridge=${GANTRY_BRIDGE:-gantry0}
engine_socket=$run_root/gantry.sock
bin=$PWD/build/release/bin
image=gantry/busybox:latest
daemon_log=${GANTRY_STATE:-/var/log}/gantryd.log

gantry() { "$bin/gantry" -H "unix://$engine_socket" "$@"; }
answers() { gantry version >/dev/null 2>&1 </dev/null; }

# A pid file counts only while its owner holds the lock on it, so a reused pid is never touched.
living_pid() {
  local file=$run_root/$1.pid
  [ -s "$file" ] && ! flock -n -s "$file" true && cat "$file"
}

# wait_until SECONDS COMMAND…
wait_until() {
  local tries=$(($1 * 50))
  shift
  while ! "$@"; do
    ((tries-- > 0)) || return 1
    sleep 0.02
  done
}
