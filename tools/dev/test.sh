# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev test [SUITE…]: ends with one line "N passed, N failed, N skipped".
ensure_packages build check test peers
build_tests
ensure_clients
exec /usr/bin/python3 tools/run_tests.py "$@"
