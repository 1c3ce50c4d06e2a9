# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev down: stops the containers and daemons of the default stack and takes away what a killed
# daemon may have left. Images and stopped containers stay in /var/lib/gantry.
. tools/dev/default_stack.sh

[ "$(id -u)" = 0 ] || { echo "dev down: needs root" >&2; exit 1; }

if [ -d $run_root ]; then
  if answers; then
    mapfile -t running < <(gantry ps -q)
    [ ${#running[@]} = 0 ] || timeout 60 "$bin/gantry" -H "unix://$engine_socket" stop -t 3 "${running[@]}" >/dev/null || true
  fi
  exec python3 tools/dev/sweep.py --state $run_root --root $data_root --bridge "$bridge"
fi
