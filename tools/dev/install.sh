# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev install PREFIX: the binaries (which find each other in one folder), the embedded image, the
# systemd units with PREFIX filled in. DESTDIR is put before every path.
prefix=${1:?usage: ./dev install PREFIX}
build_if_changed
to=${DESTDIR:-}$prefix
install -d "$to/bin" "$to/share/gantry" "$to/lib/systemd/system" "$to/share/doc/gantry"
install -m 0755 build/release/bin/* "$to/bin/"
install -m 0644 build/release/share/gantry-busybox.tar "$to/share/gantry/"
for unit in packaging/systemd/*; do
  sed "s|@PREFIX@|$prefix|g" "$unit" >"$to/lib/systemd/system/$(basename "$unit")"
done
install -m 0644 packaging/gantry.default "$to/share/gantry/"
install -m 0644 LICENSE README.md "$to/share/doc/gantry/"
echo "installed in $to"
