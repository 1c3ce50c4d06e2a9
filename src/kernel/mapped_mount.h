// SPDX-License-Identifier: Apache-2.0
//
// A file system whose files have other owners on disk than processes see: idmapped mounts
// (mount_setattr(2), Linux 5.12; below an overlay 5.19). Any thread; may use one of its own, which
// ends.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// Lines as in /proc/PID/uid_map: what ids on disk are shown as.
struct IdMaps {
  std::string uids;
  std::string gids;
};

// As MountDetached. An overlay can't be mapped itself: each of its layers is, and what is written
// through it lies in the upper directory with the owners that a plain mount would show.
Result<UniqueFd> MountMapped(const std::string& type, const std::string& source,
                             const std::vector<std::string>& options, const IdMaps& maps);

// Whether the file system that holds `path` can be mapped.
Result<> CheckMapping(const std::string& path, const IdMaps& maps);

}  // namespace gantry::kernel
