# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# build [PRESET]: the programs; build_if_changed builds release only when a source is newer than the
# last build.

build() {
  local preset=$1 directory=build/$1 begin=$SECONDS
  ensure_packages build
  mkdir -p "$directory"
  touch "$directory/.building"
  [ -f "$directory/build.ninja" ] || cmake --preset "$preset" >"$directory/configure.log" ||
    { cat "$directory/configure.log" >&2; return 1; }
  ninja -C "$directory"
  mv "$directory/.building" "$directory/.built"
  echo "built $preset in $((SECONDS - begin)) s"
}

# The stamp is as old as the beginning of the last whole build; directories count too, so that a
# deleted file is noticed.
built() {
  [ -f build/release/.built ] &&
    [ -z "$(find CMakeLists.txt CMakePresets.json cmake src protos tools/protoc-gen-plain \
      -newer build/release/.built -print -quit 2>/dev/null)" ]
}

build_if_changed() { built || build release; }

# The test programs, which nobody needs who only runs the stack.
build_tests() {
  build_if_changed
  ninja -C build/release gantry_tests
}
