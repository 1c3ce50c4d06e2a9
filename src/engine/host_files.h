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
#include "engine/links.h"
#include "formats/resolv_conf.h"
#include "networks/records.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

// The container's own sysctls turn IPv6 off, on its loopback too.
bool HasIpv6Off(const HostConfig& host);

struct HostFilesRequest {
  std::string directory;  // ROOT/containers/ID, exists
  const ContainerConfig* config = nullptr;
  const HostConfig* host = nullptr;
  std::string hostname;
  std::vector<networks::Endpoint> endpoints;  // of the container, one a network
  std::vector<LinkedContainer> links;
  std::vector<std::string> gateways;  // what "host-gateway" stands for: the host, by family
};

// Writes the three files. With --network host they are copies of the host's.
Result<> WriteHostFiles(const HostFilesRequest& request);
// The mounts of those in that container's directory.
std::vector<oci::Mount> HostFileMounts(const std::string& directory);

// The container runs and its endpoints are others now: what depends on them, in place.
Result<> ChangeHostFiles(const HostFilesRequest& request);

// The servers of a container's resolv.conf: 127.0.0.11 (docs/resolver.md), or those of the host,
// less the ones on its loopback, which the container can't reach.
enum class Servers { kResolver, kReachable };
// The text of resolv.conf: servers, search domains and options of `host_conf`; the request's own
// come in their place. Pure.
std::string MakeResolvConf(const formats::ResolvConf& host_conf, const HostConfig& host,
                           Servers servers);

}  // namespace gantry::engine
