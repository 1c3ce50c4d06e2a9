# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev bench [FIGURE…]: each figure beside the peer in the same run.
ensure_packages build test peers
build_if_changed
exec /usr/bin/python3 bench/run.py "$@"
