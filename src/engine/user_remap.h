// SPDX-License-Identifier: Apache-2.0
//
// --userns-remap: the range of the host's ids that ids in containers become, from /etc/subuid and
// /etc/subgid (subuid(5)). Files keep the container's ids on disk, and are shown with the host's by
// idmapped mounts (docs/daemon-config.md). Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/accounts.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

struct UserRemap {
  std::vector<oci::IdMapping> uids;
  std::vector<oci::IdMapping> gids;

  // What root in a container is on the host.
  uint32_t root_uid() const { return uids.front().host_id; }
  uint32_t root_gid() const { return gids.front().host_id; }
};

// Lines as in /proc/PID/uid_map.
std::string MapLines(const std::vector<oci::IdMapping>& mappings);
// "0:100000:65536", with a comma between several: a mount's option uidmap= or gidmap=.
std::string MapOption(const std::vector<oci::IdMapping>& mappings);
// The id in the container of one of the host, and the reverse; none when it is in no range.
std::optional<uint32_t> ToContainer(const std::vector<oci::IdMapping>& mappings, uint32_t id);
std::optional<uint32_t> ToHost(const std::vector<oci::IdMapping>& mappings, uint32_t id);

// What the ranges are read from.
struct SubordinateFiles {
  std::string subuid;
  std::string subgid;
};

// `value`: "default", "USER", "USER:GROUP", each by name or number; both ranges are the user's.
// Root is none: ids stay as they are. Errors: kInvalidArgument.
Result<std::optional<UserRemap>> ParseUserRemap(std::string_view value, const Accounts& accounts,
                                                const SubordinateFiles& files);
// The same with the host's files.
Result<std::optional<UserRemap>> ReadUserRemap(std::string_view value);

}  // namespace gantry::engine
