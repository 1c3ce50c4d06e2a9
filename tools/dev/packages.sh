# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian packages by purpose, and ensure_packages, which installs only what is missing.

packages_build=(
  ca-certificates git g++ cmake ninja-build ccache mold pkg-config python3 python3-protobuf
  libfmt-dev rapidjson-dev libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libsqlite3-dev libcurl4-openssl-dev libssl-dev libisal-dev libzstd-dev zlib1g-dev
  libbz2-dev liblzma-dev libnghttp2-dev libseccomp-dev
  libgtest-dev libgmock-dev
  busybox-static iproute2 nftables procps)
packages_check=(clang-19 clang-format-19 libclang-rt-19-dev)
packages_test=(containernetworking-plugins xfsprogs python3-pytest python3-docker python3-websocket python3-grpcio python3-venv docker-compose openssl zstd curl iptables strace uidmap e2fsprogs btrfs-progs
  openssh-client openssh-server zsh fish groff-base)
packages_peers=(docker.io containerd runc crun podman conmon buildah skopeo umoci docker-registry etcd-server etcd-client)
packages_lab=(mmdebstrap qemu-system-x86 e2fsprogs)

missing_packages() {
  local have
  have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
  comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$have")
}

# ensure_packages GROUP…: one query; apt only when something is missing.
ensure_packages() {
  local group list wanted=() missing
  for group in "$@"; do
    list="packages_$group[@]"
    wanted+=("${!list}")
  done
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  [ ${#missing[@]} = 0 ] && return 0
  if [ "$(id -u)" != 0 ]; then
    echo "dev: packages are missing, install them as root: apt-get install ${missing[*]}" >&2
    return 1
  fi
  echo "installing: ${missing[*]}"
  install_packages "${missing[@]}" || { apt-get -q update && install_packages "${missing[@]}"; }
}

# Debian starts a daemon of docker.io and containerd at installation where systemd runs; policy-rc.d
# (exit 101) keeps them off, since the tests start private ones.
install_packages() {
  local policy=/usr/sbin/policy-rc.d made= status=0
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; }
  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" \
    </dev/null >/tmp/gantry-apt.$$ 2>&1 || status=$?
  [ $status = 0 ] || tail -5 /tmp/gantry-apt.$$ >&2
  rm -f /tmp/gantry-apt.$$
  [ -z "$made" ] || rm -f $policy
  return $status
}
