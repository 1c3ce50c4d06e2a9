# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# skew [COMMIT]: builds the programs of an earlier commit of this repository, in a tree of its own below
# build/previous/, where they stay, and puts today's daemons on what they leave on disk and running.

# The last commit before the container daemon's second schema: its shims, runtime and stores differ from
# today's in the most ways.
previous_commit=0e668b396419a0e9e68b1c8a92c264db5c352d4f

skew() {
  local commit tree
  commit=$(git -c safe.directory='*' rev-parse --verify "${1:-$previous_commit}^{commit}")
  tree=build/previous/$commit
  if [ ! -f "$tree/build/release/.built" ]; then
    git -c safe.directory='*' worktree prune
    [ -e "$tree/dev" ] || git -c safe.directory='*' worktree add --detach "$tree" "$commit"
    # Its own script: it knows its packages. What makes this a tree of its own must not reach it.
    (cd "$tree" && ./dev build)
  fi
  build_if_changed
  GANTRY_PREVIOUS_BIN=$PWD/$tree/build/release/bin /usr/bin/python3 -m pytest -q tests/e2e/test_skew.py
}
