# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev up: starts what isn't running; builds and installs only when something changed.
. tools/dev/default_stack.sh

[ "$(id -u)" = 0 ] || { echo "dev up: needs root" >&2; exit 1; }
built || build release
mkdir -p -m 0711 $run_root
mkdir -p -m 0700 $data_root
exec 9>$run_root/dev.lock
flock 9

if ! answers; then
  if ! living_pid gantryd >/dev/null; then
    setsid "$bin/gantryd" --keep --root $data_root --state $run_root -H "unix://$engine_socket" --bridge "$bridge" \
      >>$daemon_log 2>&1 </dev/null 9>&- &
    started=$!
  fi
  if ! wait_until 20 answers; then
    echo "dev up: gantryd doesn't answer on $engine_socket; the end of $daemon_log:" >&2
    tail -n 5 $daemon_log >&2
    [ -z "${started:-}" ] || kill "$started" 2>/dev/null || true
    exit 1
  fi
fi

if ! gantry image inspect $image >/dev/null 2>&1; then
  gantry load -i build/release/share/gantry-busybox.tar
  gantry run --rm $image echo "hello from a container"
  cat <<TEXT

gantry is up. Next:
  $bin/gantry run --rm -it $image sh
  docker -H unix://$engine_socket run --rm $image echo hi
TEXT
fi
