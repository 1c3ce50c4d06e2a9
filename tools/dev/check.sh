# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev check: static checks; clang needs generated protobuf headers, so the configure step and the
# protos target come first.
ensure_packages build check
[ -f build/release/build.ninja ] || cmake --preset release >/dev/null
exec python3 tools/check.py "$@"
