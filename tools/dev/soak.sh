# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev soak: every campaign at full size; the result is kept in docs/soak.md. ./dev soak skew [COMMIT]
# tries an upgrade from an earlier commit alone.
ensure_packages build check test peers lab
if [ "${1:-}" = skew ]; then
  . tools/dev/previous.sh
  skew "${2:-}"
  exit
fi
build_tests
ensure_clients
exec /usr/bin/python3 tools/run_tests.py --soak "$@"
