# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Clients of other people that Debian has no packages of, below build/clients: testcontainers and docker of PyPI (python/),
# dockerode of npm (node/). Each is installed once; another version here installs it anew.
clients_python=(testcontainers==4.15.0 docker==7.1.0)
clients_node=(dockerode@5.0.1)

ensure_clients() {
  local top=build/clients
  command -v npm >/dev/null || install_packages nodejs npm
  if [ "$(cat $top/python/installed 2>/dev/null)" != "${clients_python[*]}" ]; then
    rm -rf $top/python
    /usr/bin/python3 -m venv --system-site-packages $top/python
    $top/python/bin/pip -q --disable-pip-version-check install "${clients_python[@]}"
    echo "${clients_python[*]}" >$top/python/installed
  fi
  if [ "$(cat $top/node/installed 2>/dev/null)" != "${clients_node[*]}" ]; then
    rm -rf $top/node
    mkdir -p $top/node
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix $top/node "${clients_node[@]}"
    echo "${clients_node[*]}" >$top/node/installed
  fi
}
