# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev soak: every campaign at full size; the result is kept in docs/soak.md.
ensure_packages build check test peers lab
build_tests
exec /usr/bin/python3 tools/run_tests.py --soak "$@"
