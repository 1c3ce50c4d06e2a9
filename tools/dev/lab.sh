# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev lab CMD…: runs a command in the throw-away virtual machine.
ensure_packages build lab
build_if_changed
exec /usr/bin/python3 tests/lab/run "$@"
