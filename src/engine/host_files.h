// SPDX-License-Identifier: Apache-2.0
//
// The files that the engine puts over a container's own: /etc/hosts, /etc/hostname and
// /etc/resolv.conf, written into the container's directory and bound into it. Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

struct HostFilesRequest {
  std::string directory;  // ROOT/containers/ID, exists
  const ContainerConfig* config = nullptr;
  const HostConfig* host = nullptr;
  std::string hostname;
  std::string address;  // of the container on its network; "" without one
  std::string gateway;  // of the host, for "host-gateway"; "" when there is none
};

// Writes the three files and returns their mounts. With --network host they are copies of the
// host's.
Result<std::vector<oci::Mount>> WriteHostFiles(const HostFilesRequest& request);

// The text of resolv.conf for a container with a network of its own: name servers, search domains
// and options of `host`'s file, less those on the loopback, which the container can't reach; the
// request's own come in their place. Pure.
std::string MakeResolvConf(std::string_view host_file, const HostConfig& host);

}  // namespace gantry::engine
